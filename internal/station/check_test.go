//go:build linux

package station

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// childEnv makes this test binary the child that looks at a file.
const childEnv = "DIANKA_STATION_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "killed":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "hangs":
		select {}
	case "fails":
		os.Stderr.WriteString("no such page\nmore\n")
		os.Exit(3)
	}
	if err := Here(context.Background(), os.Args[len(os.Args)-1]); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// A child that dies by a signal, fails or hangs has met a damaged file; one
// that looks at a sound file says nothing.
func TestInChild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "terminal.db")
	check := inChild(20*time.Second, os.Args[0])
	if err := check(t.Context(), path); err != nil {
		t.Errorf("a file that is not there: %v", err)
	}
	id := store.Identity{Terminal: money.TerminalID{1}, Epoch: 1}
	if err := store.Create(path, id, store.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env, says string
		deadline  time.Duration
	}{
		{"looks", "", 20 * time.Second},
		{"killed", "signal", 20 * time.Second},
		{"hangs", "deadline", 200 * time.Millisecond},
		{"fails", "no such page", 20 * time.Second},
	} {
		t.Setenv(childEnv, c.env)
		err := inChild(c.deadline, os.Args[0])(t.Context(), path)
		if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("a child that %s: %v", c.env, err)
		}
	}
	t.Setenv(childEnv, "looks")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[:8192])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), path); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := InChild("/no/such/program")(t.Context(), path); err == nil || errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a child that cannot be started says nothing of the file: %v", err)
	}
}
