package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// settling gives the rows of an entry that shop and head office settle by, nil
// for every other.
func settling(e journal.Entry) []row {
	at := refKey(e.Name.Ref())
	var out []row
	switch b := e.Body.(type) {
	case *journal.ShiftClose:
		out = append(out, row{bucket: bucketShifts, key: at})
	case *journal.ShiftTally, *journal.ShiftDifference, *journal.StockCount:
		out = append(out, row{bucket: bucketAbout, key: join(refKey(e.Ref), at)})
	case *journal.StockReceipt:
		out = append(out, row{bucketStock, join(b.From[:], b.To[:]), at})
	}
	if m := journal.MarkOf(e); m != (journal.Token{}) {
		out = append(out, row{bucketMark, bytes.Clone(m[:]), at})
	}
	return out
}

// ByMark finds the entry that bears a token and begins no transaction, the
// first. It fails with ErrCorrupt.
func (s *Store) ByMark(token journal.Token) (e journal.Entry, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketMark).Get(token[:])
		if v == nil {
			return nil
		}
		ok = true
		e, err = s.entryAt(tx, v)
		return err
	})
	return e, ok && err == nil, err
}

// entryAt reads the entry that a row's reference names.
func (s *Store) entryAt(tx *bbolt.Tx, ref []byte) (e journal.Entry, err error) {
	at, err := getRef(ref)
	if err == nil {
		e, err = readEntry(tx, s.terminal(), at)
	}
	return e, damaged(err)
}

// Closes gives the last max closes of shifts, of all epochs, newest first.
func (s *Store) Closes(max int) (list []journal.Entry, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketShifts).Cursor()
		for k, _ := c.Last(); k != nil && len(list) < max; k, _ = c.Prev() {
			e, err := s.entryAt(tx, k)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// About gives the entries about a ShiftOpen (its ShiftTally), a ShiftClose or a
// StockReceipt, oldest first.
func (s *Store) About(ref journal.Ref) (list []journal.Entry, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		prefix := refKey(ref)
		c := tx.Bucket(bucketAbout).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			e, err := s.entryAt(tx, k[len(prefix):])
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// Packs gives the receipts of stock, by card number, at most max of those that
// end at or after a number.
func (s *Store) Packs(from money.CardNumber, max int) (list []journal.Entry, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketStock).Cursor()
		// Packs do not overlap: of those that begin before, the last alone may
		// reach from.
		k, v := c.Seek(from[:])
		if back, old := before(c, from[:]), k; back != nil && bytes.Compare(back[len(from):], from[:]) >= 0 {
			k, v = c.Seek(back)
		} else if old != nil {
			k, v = c.Seek(old)
		} else {
			k = nil
		}
		for ; k != nil && len(list) < max; k, v = c.Next() {
			e, err := s.entryAt(tx, v)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// SoldIn lists the cards from one number to another that this terminal sold.
func (s *Store) SoldIn(from, to money.CardNumber) (list []money.CardNumber, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketSold).Cursor()
		for k, _ := c.Seek(from[:]); k != nil && bytes.Compare(k, to[:]) <= 0; k, _ = c.Next() {
			list = append(list, money.CardNumber(k))
		}
		return nil
	})
	return list, err
}

// Replay makes a shift anew from the journal, as it stood after the entry end,
// and hands over each entry from its opening on with the transaction it
// belongs to before and after it, both nil for one of none. It says false when
// the file does not have the opening any more. fn runs inside a read
// transaction and waits for nothing. It fails with ErrCorrupt.
func (s *Store) Replay(open, end journal.Ref, fn func(e journal.Entry, before, after *journal.Transaction)) (sh Shift, ok bool, err error) {
	m := s.now.Load()
	if !m.has(open) || m.absent(open) {
		return sh, false, nil
	}
	at := map[uint32]chain{}
	for _, c := range m.chains {
		if c.epoch < open.Epoch || c.epoch > end.Epoch {
			at[c.epoch] = c // nothing of it
		}
	}
	first := chain{epoch: open.Epoch, seq: open.Seq - 1}
	if err := s.view(func(tx *bbolt.Tx) (err error) {
		first.hash, err = hashBefore(tx, m.id.Terminal, open)
		return err
	}); err != nil {
		return sh, false, err
	}
	at[open.Epoch] = first
	// The transactions of the shift, so that none is folded again and again.
	live := map[journal.Ref]journal.Transaction{}
	err = m.walk(context.Background(), at, s.view, func(tx *bbolt.Tx, e journal.Entry, h journal.Hash) error {
		if less(end, e.Name.Ref()) {
			return errEnd
		}
		x := step{e: e, hash: h}
		if before, known := live[e.Ref]; known && e.Body.Type().Continues() {
			after := before
			if err := after.Add(e); err != nil {
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			x.before, x.after = &before, &after
		} else if x, err = m.follow(tx, e, h); err != nil {
			return err
		}
		if x.after != nil {
			live[x.after.Name.Ref()] = *x.after
		}
		sh.apply(x)
		fn(e, x.before, x.after)
		return nil
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	return sh, err == nil && sh.Number != 0, err
}

// errEnd ends a walk before the end of the journal.
var errEnd = errors.New("store: seen what was asked for")
