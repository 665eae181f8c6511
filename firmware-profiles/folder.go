package profiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// DefaultDir is the folder of a machine's own profiles, where it is there.
const DefaultDir = "/etc/dianka/profiles"

// folder is a layer on a disk.
type folder struct {
	fs.FS
	dir string
}

// ReadDir lets embed and disk be read alike.
func (f folder) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.FS, name) }

// LoadDir reads the profiles that are built in and those of a folder, which
// take their place where they have their names. A folder that is not there has
// none.
func LoadDir(dir string) (*Set, error) {
	st, err := os.Stat(dir)
	if dir == "" || errors.Is(err, fs.ErrNotExist) {
		return Builtin(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	if st.Mode().Perm()&0o002 != 0 && runtime.GOOS != "windows" {
		return nil, &Error{File: dir, Err: errors.New("everybody may write into it: chmod o-w")}
	}
	return Load(builtin, folder{os.DirFS(dir), dir})
}

// Folder gives the profiles in force while a folder changes: those of the
// folder as it was last found whole. Its methods may be called from any
// goroutine.
type Folder struct {
	dir string

	mu    sync.Mutex
	stamp string
	set   *Set
	err   error
}

// Watch begins with what is in a folder; "" is none. One that is broken leaves
// what is built in in force, and Err says why.
func Watch(dir string) *Folder {
	f := &Folder{dir: dir, set: Builtin(), stamp: "never"}
	f.Current()
	return f
}

// Current gives the profiles in force. It looks whether the folder has
// changed, and then reads it; a folder that is broken changes nothing.
func (f *Folder) Current() *Set {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return f.set
}

// Err tells why the folder as it is now is not in force, nil when it is.
func (f *Folder) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	return f.err
}

// look is called with mu held.
func (f *Folder) look() {
	stamp := stampOf(f.dir)
	if stamp == f.stamp {
		return
	}
	set, err := LoadDir(f.dir)
	f.err = err
	if err == nil {
		f.set = set
	}
	if stampOf(f.dir) == stamp { // else it changed meanwhile, and is read again
		f.stamp = stamp
	}
}

// stampOf changes when a file of the folder does: names, sizes, times.
func stampOf(dir string) string {
	if dir == "" {
		return ""
	}
	var b strings.Builder
	note := func(path string) {
		st, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s %v\n", path, err)
			return
		}
		fmt.Fprintf(&b, "%s %d %d %v\n", path, st.Size(), st.ModTime().UnixNano(), st.Mode())
	}
	note(dir)
	for _, k := range Kinds {
		entries, err := os.ReadDir(filepath.Join(dir, string(k)))
		if err != nil {
			continue
		}
		for _, e := range entries {
			note(filepath.Join(dir, string(k), e.Name()))
		}
	}
	return b.String()
}
