package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal gives both ends of a pty.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// started starts the tool with a keyboard.
func started(t *testing.T, slave *os.File, args ...string) *exec.Cmd {
	t.Helper()
	self, err := exec.LookPath("cardtool") // made by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+filepath.Join(t.TempDir(), "none"), readerEnv+"=sim:card", aliasesEnv+"="+filepath.Join(t.TempDir(), "aliases"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}

// screen reads until the text stands there.
func screen(t *testing.T, master *os.File, want string) string {
	t.Helper()
	var all bytes.Buffer
	b := make([]byte, 4096)
	master.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !strings.Contains(all.String(), want) {
		n, err := master.Read(b)
		all.Write(b[:n])
		if err != nil {
			t.Fatalf("%v; on the screen is %q, not %q", err, all.String(), want)
		}
	}
	return all.String()
}

// TestShellAtKeyboard types at a real terminal: completion, history, Ctrl-D.
func TestShellAtKeyboard(t *testing.T) {
	master, slave := terminal(t)
	cmd := started(t, slave, "shell")
	screen(t, master, "/> ")
	fmt.Fprint(master, "exp\t9302\r")
	screen(t, master, "MAC invalid")
	fmt.Fprint(master, "ls\r")
	screen(t, master, "directory, 2 files")
	fmt.Fprint(master, "cd 3\t\r") // the one directory that begins so
	screen(t, master, "/3F00/> ")
	fmt.Fprint(master, "\x1b[A\x1b[A\x1b[A\r") // three up: explain again
	screen(t, master, "MAC invalid")
	fmt.Fprint(master, "\x04")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestPINIsNotEchoed types a PIN, which must never stand on the screen.
func TestPINIsNotEchoed(t *testing.T) {
	master, slave := terminal(t)
	cmd := started(t, slave, "purse", "verify-pin", "--yes")
	said := screen(t, master, "PIN: ")
	fmt.Fprint(master, "12345\r")
	said += screen(t, master, "the PIN is right")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Contains(said, "12345") {
		t.Errorf("the PIN stands on the screen: %q", said)
	}
}
