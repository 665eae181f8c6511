package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
)

// Sight is a file as Look finds it.
type Sight struct {
	Head    journal.Head // of the current epoch
	Unsent  Unsent
	Last    int64 // Wall of the last entry, ms since 1970; 0 when there is none
	Remade  bool  // made anew from the second copy, and takes nothing new until the terminal is enrolled again
	Free    uint64
	Reserve int64 // bytes below which nothing new begins
	FreeErr error // why Free is not known
	Ballast bool
	Copy    CopyStatus // Problem also when Open would put it right
}

// ErrCopyBehind says that the second copy is sound and not as far as the file,
// or further; the next Open puts that right.
var ErrCopyBehind = errors.New("the second copy and the file do not end at the same entry")

// Look reads what Open would tell of a file and changes nothing: neither the
// file, which it opens for reading, nor the second copy, nor the folder. It
// fails with fs.ErrNotExist, ErrInUse, ErrSchema or ErrCorrupt. As with
// Verify, a damaged file may kill the process; verify first.
func Look(path string, o Options) (v Sight, err error) {
	defer guard(&err)()
	if o.Disk == nil {
		o.Disk = Machine{}
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	if o.Ballast == 0 {
		o.Ballast = defaultBallast
	}
	if _, err := os.Stat(path); err != nil { // bbolt says less
		return v, err
	}
	b := o.bolt()
	b.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, b)
	if err != nil {
		return v, opening(err)
	}
	defer db.Close()
	s := &Store{path: path, opts: o, db: db}
	var m *memory
	if err := db.View(func(tx *bbolt.Tx) (err error) {
		if err := checkLength(path, tx); err != nil {
			return err
		}
		unfinished := beforeLater(tx)
		if meta := tx.Bucket(bucketMeta); meta != nil {
			unfinished = unfinished || meta.Get(keyRebuild) != nil
		}
		if err := checkSchema(tx, unfinished, beforeLater(tx)); err != nil {
			return err
		}
		if m, err = load(tx, unfinished); err != nil {
			return err
		}
		last := m.last()
		if last.IsZero() {
			return nil
		}
		e, err := readEntry(tx, m.id.Terminal, last)
		v.Last = e.Wall
		return err
	}); err != nil {
		return v, err
	}
	s.now.Store(m)
	v.Head, v.Unsent = s.Head(), s.Unsent()
	_, v.Remade = s.Remade()
	v.Free, v.Reserve, v.FreeErr = s.Room()
	if st, err := os.Stat(s.ballastPath()); err == nil {
		v.Ballast = st.Size() >= o.Ballast
	}
	v.Copy = CopyStatus{Path: o.copyPath(path)}
	v.Copy.Problem = s.lookAtCopy()
	return v, nil
}

// lookAtCopy says what is wrong with the second copy, held against the file.
func (s *Store) lookAtCopy() error {
	f, err := openCopy(s.opts.Disk, s.opts.copyPath(s.path), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		if s.now.Load().backlog() == 0 {
			return nil // there is nothing that it would have to hold
		}
		if _, err := os.Stat(filepath.Dir(s.opts.copyPath(s.path))); err == nil {
			return ErrCopyBehind
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	got, beyond, err := s.compare(reader(f))
	m := s.now.Load()
	switch {
	case err != nil:
		return err
	case got.torn, len(beyond) > 0, got.id != m.id, !got.covers(m):
		return ErrCopyBehind
	}
	for _, c := range m.chains {
		if p := got.part(c.epoch); c.acked < c.seq && (p == nil || p.last.seq < c.seq) {
			return ErrCopyBehind
		}
	}
	return nil
}
