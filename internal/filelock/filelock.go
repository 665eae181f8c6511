// Package filelock keeps two processes from working on one folder. The lock
// is the operating system's and ends with the process, however that ends.
//
// It imports the standard library and golang.org/x/sys only.
package filelock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrHeld means that another process works on the folder. Nothing was
// touched.
var ErrHeld = errors.New("another process uses this folder")

// Acquire locks the folder, which it makes when it is not there. It does not
// wait: it fails with ErrHeld. Closing the result lets go.
func Acquire(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := try(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return f, nil // the file stays: removing it would let two lock two files of one name
}

// Held fails with ErrHeld while another process holds the folder. It makes
// and keeps nothing.
func Held(dir string) error {
	f, err := os.Open(filepath.Join(dir, "lock")) // to read, since the disk may be mounted so
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // and lets go
	if err := try(f); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// FileHeld fails with ErrHeld while another process has a lock of its own on a
// file, as one has that opened a database and knows nothing of this package. It
// does not wait, and keeps nothing.
func FileHeld(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := try(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
