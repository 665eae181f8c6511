package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"
)

// Verify reads a file without changing it or its second copy: bbolt's
// structure, which is on every page, the end of the chains and of the
// projections, and when full is set the chains from their beginning, which
// takes a second or more for a million entries. It gives nil or an ErrCorrupt,
// or another error when the file could not be looked at. A file may be damaged
// so that reading it kills the process (storage-sync.md section 1.4): run it in
// one that may die.
func Verify(ctx context.Context, path string, o Options, full bool) (err error) {
	defer guard(&err)()
	b := o.bolt()
	b.ReadOnly, b.PreLoadFreelist = true, true // the check of pages asks which are free
	db, err := bbolt.Open(path, 0o600, b)
	if err != nil {
		return opening(err)
	}
	defer db.Close()
	var m *memory
	if err := db.View(func(tx *bbolt.Tx) (err error) {
		if err := checkLength(path, tx); err != nil {
			return err
		}
		if err := checkTree(path, tx); err != nil {
			return err
		}
		unfinished := false
		if meta := tx.Bucket(bucketMeta); meta != nil {
			unfinished = meta.Get(keyRebuild) != nil
		}
		if err := checkSchema(tx, unfinished, beforeLater(tx)); err != nil {
			return err
		}
		if m, err = load(tx, unfinished); err != nil || unfinished {
			return err
		}
		return m.agrees()
	}); err != nil {
		return err
	}
	if err := db.View(structure); err != nil || !full {
		return err
	}
	return db.View(func(tx *bbolt.Tx) error {
		for _, c := range m.chains {
			b, err := getBase(tx, m.id.Terminal, c.epoch)
			if err != nil {
				return err
			}
			if err := frames(tx, c, b.seq+1, b.hash, func(frame) error { return ctx.Err() }); err != nil {
				return err
			}
		}
		return nil
	})
}

// structure is bbolt's own check.
func structure(tx *bbolt.Tx) (first error) {
	if err := checkExtents(tx); err != nil {
		return err
	}
	for err := range tx.Check() { // to the end, or bbolt's goroutine stays
		if first == nil {
			first = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return first
}

// agrees checks that the projections end where the journal does.
func (m *memory) agrees() error {
	last := m.last()
	if th := m.totals.Through; th != last || !last.IsZero() && m.totals.Hash != m.chain(last.Epoch).hash {
		return fmt.Errorf("%w: the projections end at %d-%d, the journal at %d-%d", ErrCorrupt, th.Epoch, th.Seq, last.Epoch, last.Seq)
	}
	return nil
}

// opening says in this package's words why bbolt does not open a file.
func opening(err error) error {
	switch {
	case errors.Is(err, bolterr.ErrTimeout):
		return ErrInUse
	case errors.Is(err, bolterr.ErrInvalid), errors.Is(err, bolterr.ErrChecksum), errors.Is(err, bolterr.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
