package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestMayAsk(t *testing.T) {
	groups := func(uid int) []string {
		if uid == 7 {
			return []string{"7", "50"}
		}
		return nil
	}
	for _, c := range []struct {
		who             string
		uid, gid, group int
		want            bool
	}{
		{"root", 0, 0, 50, true}, {"the daemon's user", 5, 5, 50, true}, {"a member", 7, 7, 50, true},
		{"of that group first", 8, 50, 50, true}, {"a stranger", 8, 8, 50, false}, {"a stranger, no group", 8, 8, -1, false}, {"a member, no group", 7, 50, -1, false},
	} {
		if got := mayAsk(c.uid, c.gid, 5, c.group, groups); got != c.want {
			t.Errorf("%s: %t", c.who, got)
		}
	}
}

const strangerEnv = "DIANKA_LOCAL_STRANGER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(strangerEnv); dir != "" {
		c, err := Dial(context.Background(), dir)
		if err == nil {
			_, err = c.State(context.Background())
		}
		fmt.Println("was let in:", err == nil, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A user who is neither the daemon's, nor root, nor of its group gets nothing,
// even where the modes of folder and socket would let him.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := serve(t, source{})
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "stranger")
	if err := errors.Join(os.WriteFile(program, self, 0o755), os.Chmod(dir, 0o755), os.Chmod(Path(dir), 0o666)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir, cmd.Env = dir, []string{strangerEnv + "=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skip("nobody can be somebody else here: ", err)
	}
	if !strings.Contains(string(out), "was let in: false") {
		t.Errorf("%s", out)
	}
}

// The kernel says who is there, not the peer.
func TestAllowed(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	if err := allowed(s, 1, -1); err != nil && !errors.Is(err, ErrPeer) {
		t.Errorf("%v", err)
	}
	if err := allowed(s, os.Getuid(), -1); err != nil {
		t.Errorf("this user itself: %v", err)
	}
}
