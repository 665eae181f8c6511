package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// chunk is how many entries one transaction of a walk covers, so that neither
// the writer nor memory waits for a long journal.
const chunk = 2048

// scan verifies and hands over the entries of one chain from seq on, at most
// n of them, hash being the chain's hash before. It gives the hash after.
func scan(tx *bbolt.Tx, t money.TerminalID, c chain, seq uint64, n int, hash journal.Hash, fn func(journal.Entry, journal.Hash) error) (journal.Hash, error) {
	cur := tx.Bucket(bucketJournal).Cursor()
	k, v := cur.Seek(refKey(journal.Ref{Epoch: c.epoch, Seq: seq}))
	for ; n > 0 && seq <= c.seq; n, seq = n-1, seq+1 {
		ref := journal.Ref{Epoch: c.epoch, Seq: seq}
		if !bytes.Equal(k, refKey(ref)) {
			return hash, fmt.Errorf("%w: entry %d-%d is missing", ErrCorrupt, ref.Epoch, ref.Seq)
		}
		h, b, err := stored(v, ref)
		if err != nil {
			return hash, err
		}
		if hash = journal.Link(hash, b); hash != h {
			return hash, fmt.Errorf("%w: entry %d-%d is not what was written", ErrCorrupt, ref.Epoch, ref.Seq)
		}
		e, err := parse(b, t, ref)
		if err != nil {
			return hash, err
		}
		if err := fn(e, h); err != nil {
			return hash, err
		}
		k, v = cur.Next()
	}
	return hash, nil
}

// walk scans all chains of m from the positions at, in short transactions
// that with opens, and moves the positions.
func (m *memory) walk(ctx context.Context, at map[uint32]chain, with func(func(*bbolt.Tx) error) error, fn func(*bbolt.Tx, journal.Entry, journal.Hash) error) error {
	for _, c := range m.chains {
		p, ok := at[c.epoch]
		if !ok {
			if err := with(func(tx *bbolt.Tx) (err error) {
				p, err = getBase(tx, m.id.Terminal, c.epoch)
				return err
			}); err != nil {
				return err
			}
		}
		for p.seq < c.seq {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := with(func(tx *bbolt.Tx) (err error) {
				p.hash, err = scan(tx, m.id.Terminal, c, p.seq+1, chunk, p.hash, func(e journal.Entry, h journal.Hash) error {
					return fn(tx, e, h)
				})
				return err
			}); err != nil {
				return err
			}
			p.seq = min(p.seq+chunk, c.seq)
		}
		at[c.epoch] = p
	}
	return nil
}

// Check verifies everything: the chain over all entries, every projection
// against the journal, the checksums of what came from the utility, and
// bbolt's own structure. It reads in short transactions beside the writer,
// but for the last comparison. The error names the first fault.
func (s *Store) Check(ctx context.Context) (Report, error) {
	now := s.now.Load()
	k := checker{absent: now.absent, rows: map[string]int{}, live: map[journal.Ref]journal.Transaction{}}
	at := map[uint32]chain{}
	if err := now.walk(ctx, at, s.view, k.entry); err != nil {
		return k.report, err
	}
	err := s.view(func(tx *bbolt.Tx) error {
		m, err := load(tx, false)
		if err != nil {
			return err
		}
		same := func(fn func(*bbolt.Tx) error) error { return fn(tx) }
		if err := m.walk(ctx, at, same, k.entry); err != nil {
			return err
		}
		for _, c := range m.chains {
			k.report.Heads = append(k.report.Heads, c.head(m.id.Terminal))
			if c.hash != at[c.epoch].hash {
				return fmt.Errorf("%w: head of epoch %d", ErrCorrupt, c.epoch)
			}
		}
		k.report.Open, k.report.Bytes = uint64(len(k.live)), tx.Size()
		return k.finish(tx, m)
	})
	if err != nil {
		return k.report, err
	}
	return k.report, s.view(func(tx *bbolt.Tx) error {
		if err := checkTree(s.path, tx); err != nil {
			return err
		}
		return structure(tx)
	})
}

// checkExtents refuses a page that says that it goes on beyond the file.
// bbolt's own check would name each of the pages that are not there, two
// thousand million of them, and cannot be told to stop.
func checkExtents(tx *bbolt.Tx) error {
	pages := int(tx.Size() / int64(tx.DB().Info().PageSize))
	for id := 0; id < pages; id++ {
		p, err := tx.Page(id)
		if err != nil {
			return err
		}
		if p == nil || p.Type == "free" {
			continue
		}
		if p.OverflowCount >= pages-id {
			return fmt.Errorf("%w: page %d goes on for %d pages, the file has %d", ErrCorrupt, id, p.OverflowCount, pages)
		}
		id += p.OverflowCount
	}
	return nil
}

// checker makes the projections anew in memory, as far as they are small, and
// looks the rows of the large ones up.
type checker struct {
	report Report
	absent func(journal.Ref) bool
	rows   map[string]int // rows that each index must have
	live   map[journal.Ref]journal.Transaction
	totals totals
}

func (k *checker) entry(tx *bbolt.Tx, e journal.Entry, h journal.Hash) error {
	k.report.Entries++
	x := step{e: e, hash: h}
	ref := e.Name.Ref()
	switch {
	case e.Body.Type().Begins():
		k.report.Transactions++
		t, err := journal.Begin(e)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		x.after = &t
	case e.Body.Type().Continues() && !k.absent(e.Ref):
		before, ok := k.live[e.Ref]
		if !ok {
			var err error
			if before, err = fold(tx, e.Name.Terminal, e.Ref, ref); err != nil {
				return damaged(err)
			}
		}
		after := before
		if err := after.Add(e); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		x.before, x.after = &before, &after
	}
	if t := x.after; t != nil {
		if t.Open() {
			k.live[t.Name.Ref()] = *t
		} else {
			delete(k.live, t.Name.Ref())
		}
	}
	k.totals.apply(x, func(journal.Ref) bool { return false }) // Unsent is summed at the end
	for _, r := range rows(x) {
		v := tx.Bucket(r.bucket).Get(r.key)
		switch {
		case v == nil:
			return fmt.Errorf("%w: index %s lacks entry %s", ErrCorrupt, r.bucket, e.Name)
		case bytes.Equal(v, r.value):
			if _, returned := e.Body.(*journal.CashReturned); returned && r.value != nil && bytes.Equal(r.key, x.after.Token[:]) {
				continue // the row of the beginning itself
			}
			k.rows[string(r.bucket)]++
		case bytes.Compare(v, refKey(ref)) >= 0:
			return fmt.Errorf("%w: index %s is wrong about entry %s", ErrCorrupt, r.bucket, e.Name)
		}
	}
	return nil
}

// finish compares what is left with what the file says, in one transaction.
func (k *checker) finish(tx *bbolt.Tx, m *memory) error {
	for _, b := range indexBuckets {
		n := 0
		c := tx.Bucket(b).Cursor()
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			n++
		}
		if n != k.rows[string(b)] {
			return fmt.Errorf("%w: index %s has %d rows, the journal makes %d", ErrCorrupt, b, n, k.rows[string(b)])
		}
	}
	open := 0
	c := tx.Bucket(bucketOpen).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		ref, err := getRef(key)
		if err != nil {
			return err
		}
		if _, ok := k.live[ref]; !ok {
			return fmt.Errorf("%w: transaction %d-%d is settled and listed as open", ErrCorrupt, ref.Epoch, ref.Seq)
		}
		open++
	}
	if open != len(k.live) {
		return fmt.Errorf("%w: %d transactions are open, %d are listed", ErrCorrupt, len(k.live), open)
	}
	var err error
	if k.totals.Unsent, err = unsentValue(tx, m); err != nil {
		return err
	}
	if k.totals != m.totals {
		return fmt.Errorf("%w: the totals are %+v, the journal makes %+v", ErrCorrupt, m.totals, k.totals)
	}
	for _, b := range [][]byte{bucketAcks, bucketSections, bucketStaff} {
		c := tx.Bucket(b).Cursor()
		for key, v := c.First(); key != nil; key, v = c.Next() {
			if _, err := openRow(b, key, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func unsentValue(tx *bbolt.Tx, m *memory) (sum money.Fen, err error) {
	for _, c := range m.chains {
		hash, err := hashBefore(tx, m.id.Terminal, journal.Ref{Epoch: c.epoch, Seq: c.acked + 1})
		if err != nil {
			return 0, err
		}
		if _, err := scan(tx, m.id.Terminal, c, c.acked+1, all, hash, func(e journal.Entry, _ journal.Hash) error {
			if e.Body.Type() != journal.TypeLoadIntent {
				return nil
			}
			t, err := fold(tx, m.id.Terminal, e.Name.Ref(), journal.Ref{})
			sum += exposure(&t)
			return damaged(err)
		}); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// Rebuild verifies the journal, then makes all projections anew from it. The
// writer and readers wait meanwhile. Interrupted, it is done again by the
// next Open.
func (s *Store) Rebuild(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.send(ctx, &request{alone: func() error { return s.rebuild(ctx) }})
}

// rebuild runs before the writer starts, or in its place. The mark that it
// leaves while it works makes Open begin again after a stop. It writes in
// chunks, since one transaction over a long journal would not fit in memory.
func (s *Store) rebuild(ctx context.Context) (err error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	defer guard(&err)()
	m := s.now.Load().clone()
	if err := m.walk(ctx, map[uint32]chain{}, s.db.View, func(*bbolt.Tx, journal.Entry, journal.Hash) error { return nil }); err != nil {
		return err
	}
	m.totals = totals{}
	if err := s.update(func(tx *bbolt.Tx) error {
		for _, b := range projectionBuckets() {
			if err := tx.DeleteBucket(b); err != nil && !errors.Is(err, bolterr.ErrBucketNotFound) {
				return err
			}
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		if _, err := tx.CreateBucketIfNotExists(bucketStaff); err != nil { // a file of an earlier program
			return err
		}
		if err := putRow(tx, bucketMeta, keyTotals, canon.Marshal(&m.totals)); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyRebuild, []byte{1})
	}); err != nil {
		return err
	}
	// From here on the file has no complete projections until the end.
	if err := m.walk(context.WithoutCancel(ctx), map[uint32]chain{}, s.update, func(tx *bbolt.Tx, e journal.Entry, h journal.Hash) error {
		x, err := m.follow(tx, e, h)
		if err != nil {
			return err
		}
		m.totals.apply(x, m.unsent)
		return putProjections(tx, x)
	}); err != nil {
		return s.stop(err)
	}
	if err := s.update(func(tx *bbolt.Tx) error {
		if err := putRow(tx, bucketMeta, keyTotals, canon.Marshal(&m.totals)); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Delete(keyRebuild)
	}); err != nil {
		return s.stop(err)
	}
	s.now.Store(m)
	return nil
}

// update runs fn in a write transaction and commits it; a failed commit stops
// the store.
func (s *Store) update(fn func(*bbolt.Tx) error) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			tx.Rollback()
		}
	}()
	appending(tx)
	if err := fn(tx); err != nil {
		return err
	}
	done = true
	if err := s.commit(tx); err != nil {
		return s.stop(err)
	}
	s.commits.Add(1)
	return nil
}
