package printertest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// PTY plugs the printer into a pseudo-terminal and gives the path of the
// device that the driver opens. Unplug ends it; what Read gives the driver then
// is what a serial adapter pulled out of its socket gives.
func (p *Printer) PTY() (device string, err error) {
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	fail := func(err error) (string, error) { m.Close(); return "", fmt.Errorf("pty: %w", err) }
	c, err := m.SyscallConn()
	if err != nil {
		return fail(err)
	}
	var n int
	var failed error
	if err := c.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			n, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || failed != nil {
		return fail(fmt.Errorf("%w %w", err, failed))
	}
	device = fmt.Sprintf("/dev/pts/%d", n)
	// One descriptor stays open, so that the other end does not hang up between
	// two opens of the driver, and sets the line raw.
	s, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fail(err)
	}
	sc, err := s.SyscallConn()
	if err == nil {
		err = sc.Control(func(fd uintptr) {
			t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
			if err != nil {
				failed = err
				return
			}
			t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
			failed = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
		})
	}
	if err != nil || failed != nil {
		s.Close()
		return fail(fmt.Errorf("%w %w", err, failed))
	}
	go p.Serve(both{m, s})
	return device, nil
}

// both is the master, which takes the held slave with it.
type both struct {
	*os.File
	slave *os.File
}

func (b both) Close() error { b.slave.Close(); return b.File.Close() }
