package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// view runs a short read. Nothing that fn was given of the file may outlive
// it, and fn waits for nothing.
func (s *Store) view(fn func(tx *bbolt.Tx) error) (err error) {
	if err := s.usable(); err != nil {
		return err
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	defer guard(&err)()
	if err := s.db.View(fn); !errors.Is(err, bolterr.ErrDatabaseNotOpen) {
		return err
	}
	return ErrClosed
}

func (s *Store) terminal() money.TerminalID { return s.now.Load().id.Terminal }

// Entries gives the bytes of the current epoch's entries from, from+1, … and
// the hash before them, verified: at most max entries and maxBytes bytes, but
// at least one entry when there is one.
func (s *Store) Entries(from uint64, max, maxBytes int) (prev journal.Hash, entries [][]byte, err error) {
	return s.EntriesOf(s.Head().Epoch, from, max, maxBytes)
}

// EntriesOf gives what Entries gives, of any epoch.
func (s *Store) EntriesOf(epoch uint32, from uint64, max, maxBytes int) (prev journal.Hash, entries [][]byte, err error) {
	m := s.now.Load() // before the transaction, which then holds all that m speaks of
	err = s.view(func(tx *bbolt.Tx) error {
		first := journal.Ref{Epoch: epoch, Seq: from}
		ch := m.chain(epoch)
		if ch == nil || from <= ch.base || from > ch.seq+1 {
			return fmt.Errorf("%d-%d: %w", epoch, from, ErrNotFound)
		}
		var err error
		if prev, err = hashBefore(tx, m.id.Terminal, first); err != nil {
			return err
		}
		hash, size := prev, 0
		c := tx.Bucket(bucketJournal).Cursor()
		k, v := c.Seek(refKey(first))
		for seq := from; seq <= ch.seq && len(entries) < max; seq++ {
			ref := journal.Ref{Epoch: epoch, Seq: seq}
			if !bytes.Equal(k, refKey(ref)) {
				return fmt.Errorf("%w: entry %d-%d is missing", ErrCorrupt, epoch, seq)
			}
			h, b, err := stored(v, ref)
			if err != nil {
				return err
			}
			if hash = journal.Link(hash, b); hash != h {
				return fmt.Errorf("%w: entry %d-%d is not what was written", ErrCorrupt, epoch, seq)
			}
			if size += len(b); size > maxBytes && len(entries) > 0 {
				break
			}
			entries = append(entries, bytes.Clone(b))
			k, v = c.Next()
		}
		return nil
	})
	if err != nil {
		return journal.Hash{}, nil, err
	}
	return prev, entries, nil
}

// Entry reads one entry. It fails with ErrNotFound or ErrCorrupt.
func (s *Store) Entry(ref journal.Ref) (e journal.Entry, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		e, err = readEntry(tx, s.terminal(), ref)
		return err
	})
	return e, err
}

// Transaction folds the entries of the transaction that ref begins. It fails
// with ErrNotFound or ErrCorrupt.
func (s *Store) Transaction(ref journal.Ref) (t journal.Transaction, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		t, err = fold(tx, s.terminal(), ref, journal.Ref{})
		return err
	})
	return t, err
}

// ByToken finds the transaction that a caller's token began, or whose cash
// was returned under it. When several carry the same token it is the first.
func (s *Store) ByToken(token journal.Token) (t journal.Transaction, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketToken).Get(token[:])
		if v == nil {
			return nil
		}
		ok = true
		ref, err := getRef(v)
		if err == nil {
			t, err = fold(tx, s.terminal(), ref, journal.Ref{})
		}
		return damaged(err)
	})
	return t, ok && err == nil, err
}

// collect folds the transactions that next names until it names none or there
// are max.
func (s *Store) collect(max int, start func(tx *bbolt.Tx) (next func() []byte)) (out []journal.Transaction, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		next := start(tx)
		for len(out) < max {
			k := next()
			if k == nil {
				return nil
			}
			ref, err := getRef(k)
			if err != nil {
				return err
			}
			t, err := fold(tx, s.terminal(), ref, journal.Ref{})
			if err != nil {
				return damaged(err)
			}
			out = append(out, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

const all = int(^uint(0) >> 1)

// forward names what follows prefix in the keys of a bucket.
func forward(bucket, prefix []byte) func(*bbolt.Tx) func() []byte {
	return func(tx *bbolt.Tx) func() []byte {
		c := tx.Bucket(bucket).Cursor()
		k, _ := c.Seek(prefix)
		return func() []byte {
			if k == nil || !bytes.HasPrefix(k, prefix) {
				return nil
			}
			out := k[len(prefix):]
			k, _ = c.Next()
			return out
		}
	}
}

// OpenTransactions gives those whose card may have moved value without our
// knowing, oldest first.
func (s *Store) OpenTransactions() ([]journal.Transaction, error) {
	return s.collect(all, forward(bucketOpen, nil))
}

// CountOpen counts them, without reading them.
func (s *Store) CountOpen() (n int, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOpen).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			n++
		}
		return nil
	})
	return n, err
}

// Children gives the transactions whose Parent is ref, oldest first: the
// first load of a sale, the debit of a void, the voids of a top-up.
func (s *Store) Children(ref journal.Ref) ([]journal.Transaction, error) {
	return s.collect(all, forward(bucketChild, refKey(ref)))
}

// ByCard gives the last max transactions of a card, newest first.
func (s *Store) ByCard(n money.CardNumber, max int) ([]journal.Transaction, error) {
	return s.collect(max, func(tx *bbolt.Tx) func() []byte {
		c := tx.Bucket(bucketCard).Cursor()
		k := before(c, join(n[:], bytes.Repeat([]byte{0xFF}, refLen)))
		return func() []byte {
			if k == nil || !bytes.HasPrefix(k, n[:]) {
				return nil
			}
			out := k[len(n):]
			k, _ = c.Prev()
			return out
		}
	})
}

// Recent gives the last max transactions that began before the entry before,
// newest first; before zero means from the end.
func (s *Store) Recent(max int, end journal.Ref) ([]journal.Transaction, error) {
	return s.collect(max, func(tx *bbolt.Tx) func() []byte {
		c := tx.Bucket(bucketThread).Cursor()
		bound := bytes.Repeat([]byte{0xFF}, 2*refLen)
		if !end.IsZero() {
			bound = refKey(end)
		}
		return func() []byte {
			k := before(c, bound)
			if k == nil || len(k) < refLen {
				return nil
			}
			bound = bytes.Clone(k[:refLen]) // before every row of this transaction
			return bound
		}
	})
}

// before gives the last key less than bound.
func before(c *bbolt.Cursor, bound []byte) []byte {
	if k, _ := c.Seek(bound); k == nil {
		k, _ = c.Last()
		return k
	}
	k, _ := c.Prev()
	return k
}

// Sold gives the CardSale by which this terminal sold a card, the first.
func (s *Store) Sold(n money.CardNumber) (ref journal.Ref, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketSold).Get(n[:])
		if v == nil {
			return nil
		}
		ok = true
		ref, err = getRef(v)
		return err
	})
	return ref, ok && err == nil, err
}

// Shift gives the latest shift, open or closed, and whether there was one.
func (s *Store) Shift() (Shift, bool, error) {
	if err := s.usable(); err != nil {
		return Shift{}, false, err
	}
	sh := s.now.Load().totals.Shift
	return sh, sh.Number != 0, nil
}

func sectionValue(version uint64, sealed []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, version), sealed...)
}

// sectionRow gives version 0 when there is none. The bytes lie in the file.
func sectionRow(tx *bbolt.Tx, k wire.SectionKind) (version uint64, sealed []byte, err error) {
	v, err := getRow(tx, bucketSections, []byte{byte(k)})
	if err != nil || v == nil {
		return 0, nil, err
	}
	if len(v) < 8 {
		return 0, nil, fmt.Errorf("%w: section %d", ErrCorrupt, k)
	}
	return binary.BigEndian.Uint64(v), v[8:], nil
}

// Section gives what the utility last sent of a kind, and whether it sent
// any. It is decoded once; its lists are shared by all callers and must not
// be changed.
func (s *Store) Section(k wire.SectionKind) (sec wire.Section, ok bool, err error) {
	// The lock is held while reading, so that a section that was replaced
	// meanwhile is not put back into the cache.
	s.cacheLock.Lock()
	defer s.cacheLock.Unlock()
	if err := s.usable(); err != nil {
		return sec, false, err
	}
	if sec, ok = s.cache[k]; ok {
		return sec, true, nil
	}
	err = s.view(func(tx *bbolt.Tx) error {
		version, b, err := sectionRow(tx, k)
		if err != nil || b == nil {
			return err
		}
		var sealed wire.Sealed
		if err := canon.Unmarshal(b, &sealed); err != nil {
			return fmt.Errorf("%w: section %d: %w", ErrCorrupt, k, err)
		}
		if err := canon.Unmarshal(sealed.Body, &sec); err != nil {
			return fmt.Errorf("%w: section %d: %w", ErrCorrupt, k, err)
		}
		if sec.Kind != k || sec.Version != version {
			return fmt.Errorf("%w: section %d is another", ErrCorrupt, k)
		}
		ok = true
		return nil
	})
	if err != nil {
		return wire.Section{}, false, err
	}
	if ok {
		s.cache[k] = sec
	}
	return sec, ok, nil
}
