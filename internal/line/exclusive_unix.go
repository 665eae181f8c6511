//go:build unix

package line

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const noTerminal = unix.O_NOCTTY

// guard keeps other programs off a serial line through a descriptor of its
// own, since the library does not show its one.
type guard struct{ f *os.File }

// guardSerial holds a serial line against our own programs by an advisory
// lock, which holds against root as well. It fails with ErrInUse.
func guardSerial(device string) (*guard, error) {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err == nil {
		if err = lock(f); err == nil {
			return &guard{f}, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s: %w", device, busy(err))
}

// seal holds the line, which is open now, against all others.
func (g *guard) seal() { unix.IoctlSetInt(int(g.f.Fd()), unix.TIOCEXCL, 0) } // what is no terminal needs none

func (g *guard) Close() error {
	unix.IoctlSetInt(int(g.f.Fd()), unix.TIOCNXCL, 0) // the next open may be ours
	return g.f.Close()
}

// SetRTS and SetDTR implement Modem. The wires belong to the line, not to the
// descriptor.
func (g *guard) SetRTS(on bool) error { return g.wire(unix.TIOCM_RTS, on) }

func (g *guard) SetDTR(on bool) error { return g.wire(unix.TIOCM_DTR, on) }

func (g *guard) wire(bit int, on bool) error {
	request := uint(unix.TIOCMBIC)
	if on {
		request = unix.TIOCMBIS
	}
	if err := unix.IoctlSetPointerInt(int(g.f.Fd()), request, bit); err != nil {
		return fmt.Errorf("%w: %w", ErrNoModem, err)
	}
	return nil
}

// lock takes the advisory lock of an open device.
func lock(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	return busy(failed)
}

func busy(err error) error {
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EBUSY) {
		return ErrInUse
	}
	return err
}
