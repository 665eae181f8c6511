//go:build linux && amd64

package diskcalls

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	Inside()
	if dir := os.Getenv("DIANKA_DISKCALLS_PROGRAM"); dir != "" {
		program(dir)
		return
	}
	os.Exit(m.Run())
}

const records = 40

// program is what is watched: told to go, it writes a file from many threads,
// says what failed, and gives an HTTP answer.
func program(dir string) {
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}
	elsewhere, err := os.Create(filepath.Join(filepath.Dir(dir), "elsewhere"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var wg sync.WaitGroup
	for i := range records {
		wg.Go(func() {
			elsewhere.WriteAt([]byte("not watched"), int64(i)*16)
			if _, err := f.WriteAt([]byte(fmt.Sprintf("record %02d", i)), int64(i)*16); err != nil {
				fmt.Println("failed:", err)
			}
		})
	}
	wg.Wait()
	if err := f.Sync(); err != nil {
		fmt.Println("failed:", err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("the answer")) }))
	if r, err := http.Get(s.URL); err == nil {
		io.Copy(io.Discard, r.Body)
	}
	os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "renamed"))
	fmt.Println("done")
	select {}
}

// watched runs the program with a fault, and gives what it said and did.
func watched(t *testing.T, f Fault) (said string, calls []Call, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "watched")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, in := io.Pipe()
	fifo := filepath.Join(t.TempDir(), "go")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Start(in, os.Stderr, "/bin/sh", "-c", "exec env DIANKA_DISKCALLS_PROGRAM="+dir+" "+self+" < "+fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	start, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer start.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatal(lines.Text())
	}
	if err := p.Watch(f, dir); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(start, "go")
	end := make(chan struct{})
	var b strings.Builder
	go func() {
		defer close(end)
		for lines.Scan() && lines.Text() != "done" {
			fmt.Fprintln(&b, lines.Text())
		}
	}()
	select {
	case <-end:
	case <-p.Gone():
		in.Close()
		<-end
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Gone()
	return b.String(), p.Calls(), dir
}

// Every call of every thread is told, once, with its bytes; calls elsewhere
// are not.
func TestEveryCallIsTold(t *testing.T) {
	said, calls, _ := watched(t, Fault{})
	if said != "" {
		t.Errorf("it said %q", said)
	}
	seen := map[int64]string{}
	var names []string
	for i, c := range calls {
		if c.Name == "pwrite64" {
			seen[c.Offset] = string(c.Data)
		} else {
			names = append(names, c.Name)
		}
		if c.Began > i || c.Errno != 0 || c.Injected {
			t.Errorf("call %d: %+v", i, c)
		}
		if c.Name == Answer && !strings.Contains(string(c.Data), "the answer") {
			t.Errorf("the answer is %q", c.Data)
		}
	}
	for i := range records {
		if want := fmt.Sprintf("record %02d", i); seen[int64(i)*16] != want {
			t.Errorf("%q, want %q", seen[int64(i)*16], want)
		}
	}
	if got := strings.Join(names, " "); len(seen) != records || got != "open fsync answer rename" {
		t.Errorf("%d writes, and %s", len(seen), got)
	}
	if r := calls[len(calls)-1]; !strings.HasSuffix(r.Path, "/watched/file") || !strings.HasSuffix(r.To, "/watched/renamed") {
		t.Errorf("%+v", r)
	}
}

// The n-th call of the whole program fails, whatever thread makes it, and is
// not done.
func TestOneCallFails(t *testing.T) {
	for _, at := range []int{2, 20, records + 1, records + 2} {
		said, calls, dir := watched(t, Fault{At: at, Errno: syscall.ENOSPC})
		if strings.Count(said, "failed:") != 1 || !strings.Contains(said, "no space left") {
			t.Errorf("at %d it said %q", at, said)
		}
		failed := 0
		for _, c := range calls {
			if c.Injected && c.Errno == syscall.ENOSPC {
				failed++
				b, err := os.ReadFile(filepath.Join(dir, "renamed"))
				if want := fmt.Sprintf("record %02d", c.Offset/16); c.Name == "pwrite64" && (err != nil || strings.Contains(string(b), want)) {
					t.Errorf("at %d: what failed was written all the same (%v)", at, err)
				}
			}
		}
		if failed != 1 || len(calls) != records+4 {
			t.Errorf("at %d: %d failed of %d calls", at, failed, len(calls))
		}
	}
}

// A kill comes before its call is done.
func TestKilledAtACall(t *testing.T) {
	const last = records + 3 // the rename, after which nothing else happens
	_, calls, dir := watched(t, Fault{At: last})
	if c := calls[len(calls)-1]; !c.Injected || c.Name != "rename" {
		t.Errorf("the last call is %+v", c)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Error("the call was done:", err)
	}
}
