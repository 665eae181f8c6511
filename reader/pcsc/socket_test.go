//go:build linux

package pcsc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSocket finds out at real sockets why nobody answers.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	t.Setenv("PCSCLITE_CSOCK_NAME", path)
	if at, err := Socket(); !errors.Is(err, fs.ErrNotExist) || at != path {
		t.Errorf("nothing there: %s %v", at, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Socket(); err != nil {
		t.Errorf("somebody listens: %v", err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Socket(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("left behind: %v", err)
	}
	if os.Geteuid() != 0 { // nothing is forbidden to root
		os.Chmod(path, 0)
		if _, err := Socket(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("forbidden: %v", err)
		}
	}
}

// TestRefined holds what is said of each: what is forbidden or left behind is
// never called "not running" alone.
func TestRefined(t *testing.T) {
	for why, want := range map[error][2]string{
		fs.ErrNotExist:       {"not running", "start the PC/SC service"},
		syscall.EACCES:       {"this user may not use the PC/SC service's socket /x", "user of the terminal"},
		syscall.ECONNREFUSED: {"left its socket /x behind", "systemctl restart"},
	} {
		err, hint := refined(codeNoService, func() (string, error) { return "/x", why })
		if !strings.Contains(err.Error(), want[0]) || !strings.Contains(hint, want[1]) {
			t.Errorf("%v: %v; %s", why, err, hint)
		}
	}
}
