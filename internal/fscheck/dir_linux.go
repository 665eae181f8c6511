package fscheck

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir judges the filesystem of a folder.
func Dir(dir string) (Verdict, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return Verdict{}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return Verdict{}, err
	}
	return judge(os.DirFS("/"), abs, uint32(st.Type)), nil
}

// SameDisk reports whether two folders lie on one filesystem.
func SameDisk(a, b string) (bool, error) {
	var x, y unix.Stat_t
	if err := unix.Stat(a, &x); err != nil {
		return false, err
	}
	if err := unix.Stat(b, &y); err != nil {
		return false, err
	}
	return x.Dev == y.Dev, nil
}
