package store

import (
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// The ballast is a file of some MiB whose room is really taken. It is given
// back to the disk when an outcome cannot be written otherwise, so that what
// was begun can be ended on a disk that something else has filled.

const defaultBallast = 8 << 20 // bytes

// Ballast reports whether the ballast is in its place.
func (s *Store) Ballast() bool { return s.ballast.Load() }

// Room is the space on the file's disk that this process may still use, and
// the reserve below which nothing new begins, in bytes.
func (s *Store) Room() (free uint64, reserve int64, err error) {
	free, err = s.opts.Disk.Free(filepath.Dir(s.path))
	return free, s.opts.Reserve, err
}

func (s *Store) ballastPath() string { return beside(s.path, ".ballast") }

// holdBallast makes the ballast when it is not there and the disk has room
// for it beyond the reserve. Without room for it the terminal works all the
// same: nothing new begins then anyway.
func (s *Store) holdBallast() {
	if s.opts.Ballast < 0 || s.ballast.Load() {
		return
	}
	d, path, n := s.opts.Disk, s.ballastPath(), s.opts.Ballast
	if f, err := d.OpenFile(path, os.O_RDONLY, 0); err == nil {
		_, err = f.ReadAt(make([]byte, 1), n-1)
		f.Close()
		if err == nil {
			s.ballast.Store(true)
			return
		}
	}
	free, err := d.Free(filepath.Dir(path))
	if err != nil || free < uint64(s.opts.Reserve+n) {
		return
	}
	if err := d.Allocate(path, n); err != nil {
		d.Remove(path)
		return
	}
	s.ballast.Store(true)
}

// dropBallast gives the room of the ballast back. It reports whether there
// was any.
func (s *Store) dropBallast() bool {
	if !s.ballast.Swap(false) {
		return false
	}
	d := s.opts.Disk
	return errors.Join(d.Remove(s.ballastPath()), d.SyncDir(filepath.Dir(s.path))) == nil
}

// unwritten reports whether a transaction whose commit failed is certainly not
// in the file: bbolt writes its meta page last, and what readers see is still
// the one before (storage-sync.md section 1.3).
func (s *Store) unwritten(id int) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	err := s.db.View(func(tx *bbolt.Tx) error {
		yes = tx.ID() < id
		return nil
	})
	return yes && err == nil
}
