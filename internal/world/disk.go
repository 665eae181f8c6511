package world

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/store"
)

// disk is the disk of a terminal. bbolt writes to a real file, which a power
// cut then turns into what a disk may hold at that moment.
type disk struct {
	st    *station
	full  bool
	fail  string // what the next commit fails with: one of the names below
	crash []byte // the file after the power came back
	hurt  bool   // a commit failed since the process started
	lame  bool   // the medium of the second copy does not write
	lamed bool   // it did not at some time

	// The second copy is written beside a commit, on a goroutine of its own,
	// so what a death in the middle of a commit leaves of it is drawn, not
	// raced for: undo is how the file was before the last group of writes.
	mu     sync.Mutex
	armed  bool              // the process may die before it is started again
	undo   map[string][]byte // by name
	synced bool              // the group of writes is over
	torn   uint64            // what a death in a commit makes of the group; 0: no death in a commit
}

var _ store.Disk = (*disk)(nil)

// Ways in which a commit fails.
const (
	failData = "I/O error on the data sync" // nothing is there
	failMeta = "I/O error on the meta sync" // all is there, and nobody was told
	failFull = "no space left for a commit"
	failCopy = "I/O errors on the second copy" // until the next fault of the disk
)

var errDisk = errors.New("world: input/output error")

// Free implements store.Disk.
func (d *disk) Free(string) (uint64, error) {
	if d.full {
		return 1000, nil
	}
	return 1 << 40, nil
}

// Commit implements store.Disk. It is called on the store's own goroutine,
// so a death shows as an error here and unwinds the process at its next
// effect.
func (d *disk) Commit(tx *bbolt.Tx) error {
	s := d.st
	power := s.bomb.power
	if s.strike() {
		d.torn = s.bomb.how | 1
		defer tx.Rollback()
		if power {
			return d.cut(tx)
		}
		return errDead
	}
	fail := d.fail
	d.fail = ""
	switch fail {
	case failData, failFull:
		s.w.fault(fail)
		d.hurt = true
		tx.Rollback()
		return fmt.Errorf("%w: %s", errDisk, fail)
	case failMeta:
		s.w.fault(fail)
		d.hurt = true
		if err := tx.Commit(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", errDisk, fail)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if s.strike() { // on disk, and nobody was told
		d.torn = s.bomb.how | 1
		return errDead
	}
	return nil
}

const (
	page   = 4096
	sector = 512
)

// cut commits and makes of the file what a power failure in the middle of it
// may leave: bbolt writes data pages, syncs, writes one meta page, syncs
// (storage-sync.md section 1.1). Before the first sync any sector of the data
// may be there or not; after it all of them are, and the meta page may be.
func (d *disk) cut(tx *bbolt.Tx) error {
	before, err := os.ReadFile(d.st.path())
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	after, err := os.ReadFile(d.st.path())
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(d.st.bomb.how, 1))
	stage := r.IntN(3)
	img := bytes.Clone(after) // growth is synced before anything is written
	for p := 0; p < len(img); p += page {
		old := make([]byte, page)
		if p < len(before) {
			copy(old, before[p:])
		}
		switch meta := p < 2*page; {
		case meta && stage < 2, !meta && stage == 0 && r.IntN(4) == 0:
			copy(img[p:], old)
		case !meta && stage == 0:
			for q := 0; q < page; q += sector {
				if r.IntN(2) == 0 {
					copy(img[p+q:], old[q:q+sector])
				}
			}
		}
	}
	d.crash = img
	return errDead
}

// excuse accepts an error that a failing disk explains.
func (d *disk) excuse(w *world, err error, what string) {
	if d.hurt || d.full {
		return
	}
	w.must(err, what)
}

// bury makes of the second copy what a death in a commit may leave of it:
// nothing of the last group of writes, all of it, or, when the power failed,
// a part.
func (d *disk) bury(power bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rand.New(rand.NewPCG(d.torn, 2))
	for name, old := range d.undo {
		if d.torn == 0 {
			break
		}
		now, err := os.ReadFile(name)
		d.st.w.must(err, "read the second copy")
		switch n := len(now) - len(old); {
		case r.IntN(3) == 0:
		case power && n > 0 && r.IntN(2) == 0:
			now = now[:len(old)+r.IntN(n)]
			for i := len(old); i < len(now); i++ {
				if r.IntN(8) == 0 {
					now[i] = 0
				}
			}
			d.st.w.must(os.WriteFile(name, now, 0o600), "tear the second copy")
		default:
			d.st.w.must(os.WriteFile(name, old, 0o600), "take the last writes from the second copy")
		}
	}
	d.undo, d.torn, d.synced, d.armed = nil, 0, false, false
}

// OpenFile implements store.Disk.
func (d *disk) OpenFile(name string, flag int, perm fs.FileMode) (store.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{f, name, d}, nil
}

// Rename implements store.Disk.
func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.undo, from)
	delete(d.undo, to)
	return os.Rename(from, to)
}

// Remove implements store.Disk.
func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.undo, name)
	return os.Remove(name)
}

// SyncDir implements store.Disk.
func (d *disk) SyncDir(string) error { return nil }

// Allocate implements store.Disk. The world has no need of the room.
func (d *disk) Allocate(name string, _ int64) error { return os.WriteFile(name, nil, 0o600) }

// file is the second copy, or what it is made anew in.
type file struct {
	*os.File
	name string
	d    *disk
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lame {
		return 0, errDisk
	}
	if d.synced || d.undo == nil {
		d.undo, d.synced = map[string][]byte{}, false
	}
	if _, ok := d.undo[f.name]; !ok && d.armed {
		old, err := os.ReadFile(f.name)
		if err != nil {
			return 0, err
		}
		d.undo[f.name] = old
	}
	return f.File.WriteAt(b, at)
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.lame {
		return errDisk
	}
	f.d.synced = true
	return nil
}

// image is the disk of a terminal as somebody copied it.
type image struct {
	file, copy []byte
	told       []told // what people had been told
}

func (s *station) copyPath() string { return filepath.Join(s.dir, "terminal.copy") }

// copy copies the files while the process is down or between two commits.
func (d *disk) copy() image {
	b, err := os.ReadFile(d.st.path())
	d.st.w.must(err, "copy a disk")
	c, err := os.ReadFile(d.st.copyPath())
	if !errors.Is(err, fs.ErrNotExist) {
		d.st.w.must(err, "copy a disk")
	}
	return image{file: b, copy: c, told: slices.Clone(d.st.told)}
}
