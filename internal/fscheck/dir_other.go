//go:build !linux

package fscheck

import (
	"path/filepath"
	"strings"
)

// Dir judges the filesystem of a folder.
func Dir(string) (Verdict, error) {
	return Verdict{State: Warning, Type: "unknown", Says: "this system's filesystems are not looked at"}, nil
}

// SameDisk reports whether two folders lie on one filesystem, by the names of
// their volumes.
func SameDisk(a, b string) (bool, error) {
	a, err := filepath.Abs(a)
	if err != nil {
		return false, err
	}
	b, err = filepath.Abs(b)
	return strings.EqualFold(filepath.VolumeName(a), filepath.VolumeName(b)), err
}
