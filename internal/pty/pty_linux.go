// Package pty gives pseudo-terminals, the serial lines of tests and of
// simulated devices.
//
// It may import the standard library and golang.org/x/sys, and must never be
// part of a real terminal.
package pty

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Device is the end of a line at which a simulated device sits. Reading and
// writing it ends with Close, which is what pulling the plug is: the program at
// the other end sees a hang-up.
type Device struct {
	// Path is what the program at the other end opens.
	Path string

	*os.File // the master
	slave    *os.File
	once     sync.Once
	err      error
}

// Open makes a line, raw, without echo.
func Open() (*Device, error) {
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &Device{File: m}
	var n int
	if err := control(m, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	}); err != nil {
		m.Close()
		return nil, fmt.Errorf("pty: %w", err)
	}
	d.Path = fmt.Sprintf("/dev/pts/%d", n)
	// One descriptor stays open, so that the other end does not hang up between
	// two opens of the program, and sets the line raw.
	if d.slave, err = os.OpenFile(d.Path, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		m.Close()
		return nil, fmt.Errorf("pty: %w", err)
	}
	if err := control(d.slave, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		return unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}); err != nil {
		d.Close()
		return nil, fmt.Errorf("pty: %w", err)
	}
	return d, nil
}

// Speed gives the speed in baud that the program at the other end has set.
func (d *Device) Speed() (int, error) {
	var baud int
	err := control(d.slave, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		baud = speeds[t.Cflag&unix.CBAUD]
		return nil
	})
	return baud, err
}

var speeds = map[uint32]int{unix.B4800: 4800, unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200}

// Close ends the line.
func (d *Device) Close() error {
	d.once.Do(func() { d.err = errors.Join(d.slave.Close(), d.File.Close()) })
	return d.err
}

func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
