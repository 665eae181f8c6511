//go:build linux || darwin

package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// diskFull reports whether an error is for want of room.
func diskFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// freeSpace is the disk space that this process may still use, in bytes.
func freeSpace(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
