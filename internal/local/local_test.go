package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"

	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/journal"
)

type source struct{ err error }

func (s source) State() State { return State{Terminal: "310100001234", Unsent: 3} }
func (s source) Evidence(w evidence.Wish) (journal.Bundle, error) {
	return journal.Bundle{Terminal: [6]byte{1}}, s.err
}

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
	go func() { done <- Serve(ctx, l, src) }()
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
