package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// maxGroup is how many requests one commit takes at most.
const maxGroup = 256

// request is one caller's wish. plan reads and writes through tx and m; it
// refuses before it changes either, so that a refusal leaves its neighbours
// in the commit alone.
type request struct {
	plan  func(tx *bbolt.Tx, m *memory) (wrote bool, err error)
	alone func() error // instead of plan: runs by itself in the writer's place
	err   error
	done  chan struct{}
}

// fatal is an error after a plan began to write: the group is rolled back.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// submit waits until the plan is durable or refused. ctx counts until the
// writer has taken the request; from then on the answer is worth waiting for.
func (s *Store) submit(ctx context.Context, plan func(*bbolt.Tx, *memory) (bool, error)) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: nothing was written: %w", err)
	}
	return s.send(ctx, &request{plan: plan})
}

func (s *Store) send(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return fmt.Errorf("store: nothing was written: %w", ctx.Err())
	case <-s.quit:
		return ErrClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-s.gone:
	}
	select {
	case <-r.done:
		return r.err
	default:
		return ErrClosed
	}
}

// write is the one writer: it takes whatever waits, commits it at once and
// answers. There is no timer; callers group by waiting for the disk.
func (s *Store) write() {
	defer close(s.gone)
	debug.SetPanicOnFault(true)
	for {
		var group []*request
		select {
		case r := <-s.queue:
			group = append(group, r)
		case <-s.quit:
			return
		}
	drain:
		for len(group) < maxGroup {
			select {
			case r := <-s.queue:
				group = append(group, r)
			default:
				break drain
			}
		}
		for len(group) > 0 {
			n := 0
			for n < len(group) && group[n].alone == nil {
				n++
			}
			if n > 0 {
				s.commitGroup(group[:n])
			} else {
				n = 1
				if group[0].err = s.usable(); group[0].err == nil {
					group[0].err = group[0].alone()
				}
			}
			for _, r := range group[:n] {
				close(r.done)
			}
			group = group[n:]
		}
	}
}

func (s *Store) commitGroup(group []*request) {
	failAll := func(err error) {
		for _, r := range group {
			if r.err == nil {
				r.err = err
			}
		}
	}
	if err := s.usable(); err != nil {
		failAll(err)
		return
	}
	start := time.Now()
	defer func() { s.writing.Add(int64(time.Since(start))) }()
	var m *memory
	for {
		m = s.now.Load().clone()
		tx, wrote, err := s.plan(group, m)
		if err != nil {
			failAll(err)
			return
		}
		if !wrote {
			tx.Rollback()
			return
		}
		id := tx.ID()
		err = s.finish(tx, m)
		if err == nil {
			break
		}
		tx.Rollback() // where the commit did not end it
		// For want of room, and certainly not in the file: with the room of
		// the ballast it may be written. There is one, so this ends.
		if !diskFull(err) || !s.unwritten(id) || !s.dropBallast() {
			failAll(s.stop(err))
			return
		}
		// The copy has the entries of this try; those of the next, as long,
		// take their place.
		for _, r := range group {
			r.err = nil
		}
	}
	s.commits.Add(1)
	before := s.now.Swap(m)
	s.keepCopy(before, m)
	s.holdBallast()
}

// plan runs the plans of the group in one transaction. It gives an error only
// when nothing of the group may be committed.
func (s *Store) plan(group []*request, m *memory) (tx *bbolt.Tx, wrote bool, err error) {
	tx, err = s.db.Begin(true)
	if err != nil {
		return nil, false, fmt.Errorf("store: nothing was written: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w; nothing was written: %v", ErrCorrupt, p)
		}
		if err != nil {
			tx.Rollback()
		}
	}()
	appending(tx)
	for _, r := range group {
		w, err := r.plan(tx, m)
		var f fatal
		if errors.As(err, &f) {
			return tx, false, fmt.Errorf("store: nothing was written: %w", f.error)
		}
		if err != nil {
			r.err = err
			continue
		}
		wrote = wrote || w
	}
	if wrote {
		if err := putRow(tx, bucketMeta, keyTotals, canon.Marshal(&m.totals)); err != nil {
			return tx, false, fmt.Errorf("store: nothing was written: %w", err)
		}
	}
	return tx, wrote, nil
}

// stop makes the store refuse everything. After a failed commit the meta page
// may be on disk although its sync failed: what was being written is neither
// done nor undone until the file is read again (storage-sync.md section 1.3).
func (s *Store) stop(err error) error {
	if errors.Is(err, ErrStopped) {
		return err
	}
	stopped := fmt.Errorf("%w: %w", ErrStopped, err)
	s.stopped.Store(&stopped)
	return stopped
}

// finish commits and writes the second copy, one beside the other: both are
// durable before anybody is answered, so that an intent is in both before a
// card is asked. A copy that cannot be written does not fail the commit.
func (s *Store) finish(tx *bbolt.Tx, m *memory) (err error) {
	start := time.Now()
	defer func() { s.disk.Add(int64(time.Since(start))) }()
	if len(m.frames) == 0 || s.second.file == nil {
		return s.commit(tx)
	}
	copied := make(chan error, 1)
	go func() { copied <- s.second.append(m.frames) }()
	err = s.commit(tx)
	switch cerr := <-copied; {
	case err != nil:
	case cerr != nil:
		if diskFull(cerr) && s.dropBallast() {
			cerr = s.second.append(m.frames)
		}
		if cerr != nil {
			s.breakCopy(cerr)
			break
		}
		s.second.advance(m.frames, m.framed)
	default:
		s.second.advance(m.frames, m.framed)
	}
	m.frames, m.framed = nil, 0
	return err
}

func (s *Store) commit(tx *bbolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return s.opts.Disk.Commit(tx)
}

// Append writes entries, all of them in one commit, in order and next to each
// other, and gives them back with their names. When it gives nil they are
// durable. It refuses, with nothing written: with ErrRemade until a terminal
// whose file was made anew is enrolled again, with journal.ErrThread what does
// not continue its transaction, with ErrDraft a reference to nothing, with
// ErrFull a beginning for which the disk has no room, with ctx's error when
// ctx ended before the writer took the request. With ErrStopped it is unknown
// whether they are on disk.
func (s *Store) Append(ctx context.Context, d ...Draft) ([]journal.Entry, error) {
	if len(d) == 0 {
		return nil, nil
	}
	begins := false
	for _, x := range d {
		if x.Body == nil {
			return nil, fmt.Errorf("%w: no body", ErrDraft)
		}
		begins = begins || x.Body.Type().Begins()
	}
	if begins {
		// Outcomes are never refused for want of room: the reserve is theirs.
		if free, err := s.opts.Disk.Free(filepath.Dir(s.path)); err == nil && free < uint64(s.opts.Reserve) {
			return nil, fmt.Errorf("%w (%d bytes free)", ErrFull, free)
		}
	}
	var out []journal.Entry
	err := s.submit(ctx, func(tx *bbolt.Tx, m *memory) (bool, error) {
		if m.remade == m.id.Epoch {
			return false, ErrRemade
		}
		steps, raws, err := s.number(tx, m, d)
		if err != nil {
			return false, err
		}
		out = out[:0]
		for i, x := range steps {
			if err := record(tx, m, x, raws[i]); err != nil {
				return false, fatal{err}
			}
			out = append(out, x.e)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// number turns drafts into entries: names from memory, never from the file,
// so that no name depends on how often bbolt was asked. It writes nothing.
func (s *Store) number(tx *bbolt.Tx, m *memory, d []Draft) (steps []step, raws [][]byte, err error) {
	next := *m.current()
	touched := map[journal.Ref]*journal.Transaction{}
	wall, mono := s.opts.clock().UnixMilli(), uint64(time.Since(s.up).Milliseconds())
	for _, x := range d {
		next.seq++
		ref := journal.Ref{Epoch: next.epoch, Seq: next.seq}
		e := journal.Entry{Name: ref.Of(m.id.Terminal), Wall: wall, Mono: mono, Boot: s.boot, Actor: x.Actor, Ref: x.Ref, Body: x.Body}
		if tx.Bucket(bucketJournal).Get(refKey(ref)) != nil {
			return nil, nil, fmt.Errorf("%w: entry %s exists beyond the head", ErrCorrupt, e.Name)
		}
		if !x.Ref.IsZero() && !m.has(x.Ref) && !(x.Ref.Epoch == ref.Epoch && x.Ref.Seq > 0 && x.Ref.Seq < ref.Seq) {
			return nil, nil, fmt.Errorf("%w: %d-%d is not in this journal", ErrDraft, x.Ref.Epoch, x.Ref.Seq)
		}
		st := step{e: e}
		switch {
		case e.Body.Type().Begins():
			t, err := journal.Begin(e)
			if err != nil {
				return nil, nil, err
			}
			st.after, touched[ref] = &t, &t
		case e.Body.Type().Continues():
			before := touched[x.Ref]
			if before == nil {
				t, err := fold(tx, m.id.Terminal, x.Ref, journal.Ref{})
				if errors.Is(err, ErrNotFound) {
					return nil, nil, fmt.Errorf("%w: %d-%d begins no transaction", ErrDraft, x.Ref.Epoch, x.Ref.Seq)
				}
				if err != nil {
					return nil, nil, err
				}
				before = &t
			}
			after := *before
			if err := after.Add(e); err != nil {
				return nil, nil, fmt.Errorf("nothing was written: %w", err)
			}
			st.before, st.after, touched[x.Ref] = before, &after, &after
		}
		raw := e.Bytes()
		next.hash = journal.Link(next.hash, raw)
		st.hash = next.hash
		steps, raws = append(steps, st), append(raws, raw)
	}
	return steps, raws, nil
}

// record writes one entry and what follows from it.
func record(tx *bbolt.Tx, m *memory, x step, raw []byte) error {
	ref := x.e.Name.Ref()
	if err := tx.Bucket(bucketJournal).Put(refKey(ref), join(x.hash[:], raw)); err != nil {
		return err
	}
	m.frames, m.framed = appendFrame(m.frames, frame{ref, x.hash, raw}), m.framed+1
	if err := putProjections(tx, x); err != nil {
		return err
	}
	if m.backlog() == 0 {
		m.oldest = x.e.Wall
	}
	c := m.current()
	c.seq, c.hash = ref.Seq, x.hash
	m.totals.apply(x, m.unsent)
	return nil
}

// PutAck keeps an acknowledgement whose signature the caller has checked, and
// moves the cursor forward. One that says nothing new changes nothing. It
// fails with ErrAck when the utility holds another chain than ours: a sign of
// a restored or copied disk.
func (s *Store) PutAck(sealed []byte, a wire.Ack) error {
	return s.submit(context.Background(), func(tx *bbolt.Tx, m *memory) (bool, error) {
		if a.Terminal != m.id.Terminal {
			return false, fmt.Errorf("%w: it is for terminal %s", ErrAck, a.Terminal)
		}
		c := m.chain(a.Epoch)
		if c == nil || a.Through > c.seq {
			return false, fmt.Errorf("%w: %d-%d was never written here", ErrAck, a.Epoch, a.Through)
		}
		if a.Through < c.base {
			return false, nil // acknowledged before this file was made
		}
		h, err := hashBefore(tx, m.id.Terminal, journal.Ref{Epoch: a.Epoch, Seq: a.Through + 1})
		if err != nil {
			return false, err
		}
		if h != a.Hash {
			return false, fmt.Errorf("%w: another hash at %d-%d", ErrAck, a.Epoch, a.Through)
		}
		return advance(tx, m, a.Epoch, a.Through, sealed)
	})
}

// PutHeld keeps an acknowledgement, whose signature the caller has checked,
// that says of every entry of an earlier epoch through a sequence: the utility
// has others of these names and holds ours as evidence. A person must look at
// them; there is nothing left to send. It fails with ErrAck for the present
// epoch, and when an entry before them was never acknowledged.
func (s *Store) PutHeld(sealed []byte, epoch uint32, from, through uint64) error {
	return s.submit(context.Background(), func(tx *bbolt.Tx, m *memory) (bool, error) {
		c := m.chain(epoch)
		if c == nil || epoch == m.id.Epoch || through > c.seq || from > c.acked+1 {
			return false, fmt.Errorf("%w: held from %d-%d through %d", ErrAck, epoch, from, through)
		}
		return advance(tx, m, epoch, through, sealed)
	})
}

// advance moves the cursor of an epoch forward.
func advance(tx *bbolt.Tx, m *memory, epoch uint32, through uint64, sealed []byte) (bool, error) {
	c := m.chain(epoch)
	if through <= c.acked {
		return false, nil
	}
	next := m.clone()
	next.frames, next.framed = m.frames, m.framed
	for seq := c.acked + 1; seq <= through; seq++ {
		ref := journal.Ref{Epoch: epoch, Seq: seq}
		e, err := readEntry(tx, m.id.Terminal, ref)
		if err != nil {
			return false, damaged(err)
		}
		if e.Body.Type() == journal.TypeLoadIntent {
			t, err := fold(tx, m.id.Terminal, ref, journal.Ref{})
			if err != nil {
				return false, damaged(err)
			}
			next.totals.Unsent -= exposure(&t)
		}
	}
	next.chain(epoch).acked = through
	var err error
	if next.oldest, err = oldest(tx, next); err != nil {
		return false, err
	}
	if err := putRow(tx, bucketAcks, ackKey(epoch, through), bytes.Clone(sealed)); err != nil {
		return false, fatal{err}
	}
	*m = *next
	return true, nil
}

// PutSection keeps a section whose signature the caller has checked; sec is
// what sealed decodes to, and its lists are the store's from now on. The
// version held already changes nothing; an older one fails with ErrSection,
// and one for which the disk has no room beyond the reserve with ErrFull.
func (s *Store) PutSection(sealed []byte, sec wire.Section) error {
	if free, err := s.opts.Disk.Free(filepath.Dir(s.path)); err == nil && free < uint64(s.opts.Reserve) {
		return fmt.Errorf("%w (%d bytes free)", ErrFull, free)
	}
	wrote := false
	err := s.submit(context.Background(), func(tx *bbolt.Tx, m *memory) (bool, error) {
		if !sec.Terminal.IsZero() && sec.Terminal != m.id.Terminal {
			return false, fmt.Errorf("%w: it is for terminal %s", ErrSection, sec.Terminal)
		}
		have, _, err := sectionRow(tx, sec.Kind)
		if err != nil && !errors.Is(err, ErrCorrupt) { // a damaged one may be replaced by any
			return false, err
		}
		if have == sec.Version && have != 0 {
			return false, nil
		}
		if have > sec.Version {
			return false, fmt.Errorf("%w: version %d, held %d", ErrSection, sec.Version, have)
		}
		if err := putRow(tx, bucketSections, []byte{byte(sec.Kind)}, sectionValue(sec.Version, sealed)); err != nil {
			return false, fatal{err}
		}
		wrote = true
		return true, nil
	})
	if err != nil {
		return err
	}
	if !wrote {
		return nil
	}
	// What the caller decoded goes into the cache: a hotlist takes a tenth of a
	// second to decode, which the next customer would wait for.
	s.cacheLock.Lock()
	defer s.cacheLock.Unlock()
	if s.cache[sec.Kind].Version > sec.Version {
		delete(s.cache, sec.Kind) // another was quicker, or the damaged one was replaced: read it
		return nil
	}
	s.cache[sec.Kind] = sec
	return nil
}

// Renew begins the chain of a new epoch after a re-enrolment. The same
// terminal gets a higher epoch; what it names as the epoch before is the head
// held here, whatever id says. Earlier entries, open transactions and what is
// unsent stay.
func (s *Store) Renew(id Identity) error {
	return s.submit(context.Background(), func(tx *bbolt.Tx, m *memory) (bool, error) {
		if id.Terminal != m.id.Terminal || id.Epoch <= m.id.Epoch {
			return false, fmt.Errorf("%w: epoch %d of %s after epoch %d of %s", ErrIdentity, id.Epoch, id.Terminal, m.id.Epoch, m.id.Terminal)
		}
		c := *m.current()
		id.PrevEpoch, id.PrevSeq, id.PrevHash = c.epoch, c.seq, c.hash
		if err := putRow(tx, bucketMeta, keyIdentity, canon.Marshal(&id)); err != nil {
			return false, fatal{err}
		}
		m.renew(id)
		return true, nil
	})
}

// renew begins the chain of the epoch of id.
func (m *memory) renew(id Identity) {
	fresh := chain{epoch: id.Epoch, hash: journal.Genesis(id.Terminal, id.Epoch)}
	if m.current().seq == 0 {
		m.chains[len(m.chains)-1] = fresh // an epoch without entries leaves no trace
	} else {
		m.chains = append(m.chains, fresh)
	}
	m.id = id
}
