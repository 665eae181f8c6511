package world

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

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
}

var _ store.Disk = (*disk)(nil)

// Ways in which a commit fails.
const (
	failData = "I/O error on the data sync" // nothing is there
	failMeta = "I/O error on the meta sync" // all is there, and nobody was told
	failFull = "no space left for a commit"
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

// image is the disk of a terminal as somebody copied it.
type image struct {
	file []byte
	seq  uint64
	told int
}

// copy copies the file while the process is down or between two commits.
func (d *disk) copy() image {
	b, err := os.ReadFile(d.st.path())
	d.st.w.must(err, "copy a disk")
	return image{file: b, told: len(d.st.told)}
}
