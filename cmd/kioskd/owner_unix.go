//go:build unix

package main

import (
	"os"
	"syscall"
)

// foreign reports whether the folder belongs to another user than the one who
// runs this: files made now would be out of the daemon's reach.
func foreign(dir string) bool {
	st, err := os.Stat(dir)
	if err != nil {
		return false
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) != os.Geteuid()
}
