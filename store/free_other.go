//go:build !linux && !darwin && !windows

package store

import (
	"errors"
	"math"
	"syscall"
)

// diskFull reports whether an error is for want of room.
func diskFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// freeSpace is not known on this system: nothing is refused for want of room.
func freeSpace(string) (uint64, error) { return math.MaxUint64, nil }
