package pcsc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultSocket is compiled into pcscd and its client library; the client's
// can be changed by the environment.
const defaultSocket = "/run/pcscd/pcscd.comm"

// Socket tries the way to the PC/SC service, which the client library does
// without saying why it failed. It gives the path, and nil, or an error that
// is fs.ErrNotExist (nobody listens and nobody did), fs.ErrPermission, or
// syscall.ECONNREFUSED (the socket was left behind by a service that is gone).
func Socket() (path string, err error) {
	path = os.Getenv("PCSCLITE_CSOCK_NAME")
	if path == "" {
		path = defaultSocket
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return path, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil && !errors.Is(err, unix.EAGAIN) { // EAGAIN: its queue is full, so it is there
		return path, err
	}
	return path, nil
}

// refine says why the service cannot be reached, where the library only says
// that it cannot.
func refine(err error) (cause error, hint string) {
	if err != codeNoService {
		_, hint = explain(err, nil)
		return err, hint
	}
	return refined(err, Socket)
}

func refined(err error, socket func() (string, error)) (cause error, hint string) {
	_, hint = explain(err, nil)
	switch path, why := socket(); {
	case errors.Is(why, fs.ErrPermission):
		return fmt.Errorf("this user may not use the PC/SC service's socket %s: %w", path, why),
			"run this as the user of the terminal, or as root; if that user is refused too: systemctl restart pcscd.socket makes the socket anew"
	case errors.Is(why, syscall.ECONNREFUSED):
		return fmt.Errorf("the PC/SC service left its socket %s behind and does not run: %w", path, why),
			"systemctl restart pcscd.socket pcscd makes it anew; journalctl -u pcscd tells why it ended"
	}
	return err, hint
}
