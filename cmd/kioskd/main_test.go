package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/station"
)

func TestMain(m *testing.M) {
	insideNamespace()
	if len(os.Args) > 1 && os.Args[1] == station.CheckName { // as serve runs itself
		main()
	}
	testscript.Main(m, map[string]func(){"kioskd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"desk":  deskCommand,
			"alter": alterCommand,
			"loop":  loopCommand,
		},
	})
}

// alterCommand is `alter FILE OLD NEW`: it changes bytes of a file in place.
func alterCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: alter file old new, of one length")
	}
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	if !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(file, bytes.ReplaceAll(b, []byte(args[1]), []byte(args[2])), 0o600))
}

// loopCommand is `loop FILE`: it makes the root of the journal its own child,
// in a terminal's file.
func loopCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: loop file")
	}
	file := ts.MkAbs(args[0])
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true})
	ts.Check(err)
	root := 0
	ts.Check(db.View(func(tx *bbolt.Tx) error {
		root = int(tx.Bucket([]byte("journal")).Root())
		return nil
	}))
	size := db.Info().PageSize
	ts.Check(db.Close())
	if root == 0 {
		ts.Fatalf("the journal has no page of its own")
	}
	b, err := os.ReadFile(file)
	ts.Check(err)
	e, page := binary.NativeEndian, b[root*size:]
	e.PutUint16(page[8:], 1)             // a branch
	e.PutUint16(page[10:], 1)            // of one child
	e.PutUint64(page[16:], 0)            // whose key is empty
	e.PutUint64(page[24:], uint64(root)) // and which is the page itself
	ts.Check(os.WriteFile(file, b, 0o600))
}

// deskCommand is `desk STATE`: a short day on kioskd --sim, by its HTTP API.
// What happened is its standard output.
func deskCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: desk state")
	}
	state := ts.MkAbs(args[0])
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--sim", "--state", state, "--listen", "127.0.0.1:0"}, in, &stderr)
		in.Close()
	}()
	url := ""
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(ts.Stdout(), lines.Text())
		if s := strings.TrimSpace(lines.Text()); strings.HasPrefix(s, "http://") {
			url = strings.TrimSuffix(s, "/")
		}
		if strings.HasPrefix(lines.Text(), "stop") {
			break
		}
	}
	if url == "" {
		ts.Fatalf("no address was printed, exit code %d: %s", <-code, stderr.String())
	}
	go io.Copy(io.Discard, out)

	// A second one on the same state says what to do.
	var second bytes.Buffer
	if c := run(ctx, []string{"--sim", "--state", state, "--listen", "127.0.0.1:0"}, io.Discard, &second); c != 5 || !strings.Contains(second.String(), "--state") {
		ts.Fatalf("a second kioskd ended with %d: %s", c, second.String())
	}

	shop := &screen{ts: ts, url: url}
	shop.jar, _ = cookiejar.New(nil)
	shop.call("POST", "/api/v1/login", `{"staff":"1","pin":"1234"}`)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s := shop.call("GET", "/api/v1/status", "")
		if link, _ := s["link"].(map[string]any); link["online"] == true {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never on line: %v", s)
		}
	}
	if till, _ := shop.call("GET", "/api/v1/status", "")["till"].(map[string]any); till["shift"] == nil {
		shop.call("POST", "/api/v1/shift/open", `{"cash":20000}`)
	}
	shop.call("POST", "/sim/put", `{"card":"zhang"}`)
	number := ""
	for deadline := time.Now().Add(20 * time.Second); number == ""; time.Sleep(20 * time.Millisecond) {
		if c := shop.call("GET", "/api/v1/card", ""); c["state"] == "ready" {
			number = c["number"].(string)
		} else if time.Now().After(deadline) {
			ts.Fatalf("the card was not read: %v", c)
		}
	}
	for _, c := range []struct{ path, body string }{
		{"/api/v1/topups", `{"card":%q,"amount":5000,"tendered":5000}`},
		{"/api/v1/redemptions", `{"card":%q,"account":"0100000017","amount":1200}`},
	} {
		r := shop.call("POST", c.path, fmt.Sprintf(c.body, number))
		fmt.Fprintf(ts.Stdout(), "%s: %v\n", c.path, r["result"])
	}
	stop()
	if c := <-code; c != 0 {
		ts.Fatalf("ended with %d: %s", c, stderr.String())
	}
}

// screen is a clerk's browser.
type screen struct {
	ts  *testscript.TestScript
	url string
	jar http.CookieJar
	n   int
}

func (s *screen) call(method, path, body string) map[string]any {
	s.n++
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	s.ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", fmt.Sprintf("test-%d-%d", time.Now().UnixNano(), s.n))
	resp, err := (&http.Client{Jar: s.jar, Timeout: 30 * time.Second}).Do(req)
	s.ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	s.ts.Check(err)
	var v map[string]any
	if resp.StatusCode >= 300 || len(b) > 0 && json.Unmarshal(b, &v) != nil {
		s.ts.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return v
}

// TestReference keeps docs/kioskd.md current; `go run ./cmd/kioskd config
// --markdown > docs/kioskd.md` makes it.
func TestReference(t *testing.T) {
	want, err := os.ReadFile("../../docs/kioskd.md")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	reference(&got)
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("docs/kioskd.md is not current, it should be:\n%s", got.String())
	}
}
