package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/journal"
)

type source struct{ err error }

func (s source) State() State { return State{Terminal: "310100001234", Unsent: 3} }
func (s source) Evidence(w evidence.Wish) (journal.Bundle, error) {
	return journal.Bundle{Terminal: [6]byte{1}}, s.err
}

func (s source) Card(context.Context) (Card, error) {
	return Card{Number: "17"}, s.err
}
func (s source) Log(context.Context) ([]Record, error) { return []Record{{Amount: 5}}, s.err }

func serve(t *testing.T, src Source) (dir string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("nobody is let in")
	}
	dir, err := os.MkdirTemp("", "local") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(Path(dir), nil, 0o600); err != nil { // one that was left behind
		t.Fatal(err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, src, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/lost" {
				panic(http.ErrAbortHandler)
			}
			b, _ := io.ReadAll(r.Body)
			http.SetCookie(w, &http.Cookie{Name: "s", Value: "1"})
			fmt.Fprint(w, r.Method, r.URL.Path, string(b), r.Header.Get("Idempotency-Key"), r.Header.Get("Cookie"))
		}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAsk(t *testing.T) {
	dir := serve(t, source{})
	if st, err := os.Stat(Path(dir)); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.State(t.Context()); err != nil || s.Unsent != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	if b, err := c.Evidence(t.Context(), evidence.Wish{From: "x"}); err != nil || b.Terminal != [6]byte{1} {
		t.Errorf("%+v, %v", b, err)
	}
}

// What the daemon says no to keeps its meaning, and what it does not know is
// a refusal.
func TestRefusals(t *testing.T) {
	for _, want := range []error{evidence.ErrNothing, evidence.ErrWish, evidence.ErrTooMuch, evidence.ErrNoKey, ErrRefused} {
		given := want
		if want == ErrRefused {
			given = errors.New("the disk is gone")
		}
		c, err := Dial(t.Context(), serve(t, source{fmt.Errorf("wrapped: %w", given)}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Evidence(t.Context(), evidence.Wish{}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNone) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := Dial(t.Context(), dir+"/none"); !errors.Is(err, ErrNone) {
		t.Errorf("no folder: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: Path(dir)})
	if err != nil {
		t.Skip(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNone) {
		t.Errorf("a socket that was left: %v", err)
	}
}

func TestAnotherVersion(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nobody is let in")
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", Path(dir))
	if err != nil {
		t.Skip(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, hello{Version + 1}) })}
	go s.Serve(l)
	defer s.Close()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrVersion) {
		t.Errorf("%v", err)
	}
}

// The card, or the terminal's own word why not.
func TestCard(t *testing.T) {
	for _, no := range []error{nil, &Refusal{Code: "no_card"}} {
		c, err := Dial(t.Context(), serve(t, source{no}))
		if err != nil {
			t.Fatal(err)
		}
		card, err := c.Card(t.Context())
		list, lerr := c.Log(t.Context())
		var r *Refusal
		switch {
		case no == nil && (err != nil || lerr != nil || card.Number != "17" || len(list) != 1 || list[0].Amount != 5):
			t.Errorf("%+v %v, %v %v", card, err, list, lerr)
		case no != nil && (!errors.As(err, &r) || r.Code != "no_card" || !errors.Is(lerr, ErrRefused)):
			t.Errorf("%v, %v", err, lerr)
		}
	}
}

// Calls that do something go on, with their session; an answer that does not
// come is told apart from a call that was not sent.
func TestDo(t *testing.T) {
	dir := serve(t, source{})
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`POST/api/x{"a":1}k`, `POST/api/x{"a":1}ks=1`} {
		if code, b, err := c.Do(t.Context(), "/api/x", map[string]int{"a": 1}, "Idempotency-Key", "k"); err != nil || code != 200 || string(b) != want {
			t.Errorf("%d %s, %v", code, b, err)
		}
	}
	if _, _, err := c.Do(t.Context(), "/api/lost", 1); !errors.Is(err, ErrLost) {
		t.Errorf("lost: %v", err)
	}
	if err := os.Remove(Path(dir)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Do(t.Context(), "/api/x", 1); !errors.Is(err, ErrNone) {
		t.Errorf("not sent: %v", err)
	}
}

// The socket of the package's terminal is where its group can get at it.
func TestPlaces(t *testing.T) {
	if got := places("/var/lib/dianka/", StateDir, RuntimeDir); !slices.Equal(got, []string{RuntimeDir, "/var/lib/dianka/"}) {
		t.Error(got)
	}
	if got := places("st", StateDir, RuntimeDir); !slices.Equal(got, []string{"st"}) {
		t.Error(got)
	}
}
