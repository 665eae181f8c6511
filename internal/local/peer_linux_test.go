package local

import (
	"errors"
	"net"
	"os"
	"path/filepath"
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
