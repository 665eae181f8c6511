package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
)

// reconcile brings the file and its second copy together at Open. What the
// copy has beyond the end of the file and follows from it is taken into the
// file: a commit that was cut off, or a file restored from an older disk. What
// the file has and the copy lacks goes into the copy. A copy of something else
// is put aside, and one that cannot be read or written does not keep the shop
// closed. It fails with ErrBehind when the copy goes on from a place that the
// file never reached: then only the copy knows what the utility lacks.
func (s *Store) reconcile() (err error) {
	c := &copyFile{disk: s.opts.Disk, path: s.opts.copyPath(s.path)}
	s.second = c
	s.copy.Store(&CopyStatus{Path: c.path})
	f, err := openCopy(c.disk, c.path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return s.remake()
	}
	if err != nil {
		s.breakCopy(err)
		return nil
	}
	c.file = f
	got, beyond, err := s.compare(reader(f))
	switch {
	case errors.Is(err, ErrCopy):
		return s.putAside(err)
	case errors.Is(err, ErrBehind), errors.Is(err, ErrCorrupt):
		return err
	case err != nil:
		s.breakCopy(err)
		return nil
	}
	if len(beyond) > 0 || got.id.Epoch > s.now.Load().id.Epoch {
		if err := s.takeIn(got, beyond); errors.Is(err, ErrCopy) {
			return s.putAside(err)
		} else if err != nil {
			return err
		}
	}
	m := s.now.Load()
	if got.torn {
		lost, err := s.wholeBehind(f, got)
		if err != nil {
			s.breakCopy(err)
			return nil
		}
		if lost {
			return s.putAside(fmt.Errorf("%w: it is damaged in its middle", ErrCopy))
		}
	}
	if got.id != m.id || !got.covers(m) {
		return s.remake()
	}
	return s.complete(got, m)
}

// compare reads a second copy beside the file. It gives what the copy has
// beyond the file's chains, and fails with ErrCopy when the copy is no
// continuation, no beginning and no part of them.
func (s *Store) compare(r io.Reader) (got copied, beyond []frame, err error) {
	m := s.now.Load()
	common := map[uint32]chain{} // by epoch: the last entry of the copy that the file must have
	got, err = scanCopy(r, func(f frame, _ journal.Hash) error {
		if c := m.chain(f.ref.Epoch); c != nil && f.ref.Seq <= c.seq {
			common[c.epoch] = chain{epoch: c.epoch, seq: f.ref.Seq, hash: f.hash}
			return nil
		}
		f.entry = bytes.Clone(f.entry)
		beyond = append(beyond, f)
		return nil
	})
	if err != nil {
		return got, nil, err
	}
	if got.id.Terminal != m.id.Terminal {
		return got, nil, fmt.Errorf("%w: it is terminal %s's", ErrCopy, got.id.Terminal)
	}
	err = s.view(func(tx *bbolt.Tx) error {
		for _, p := range got.parts {
			c := m.chain(p.base.epoch)
			if c == nil {
				if p.base.epoch < m.id.Epoch && p.last.seq > p.base.seq {
					return fmt.Errorf("%w: it has entries of epoch %d, of which the file knows nothing", ErrCopy, p.base.epoch)
				}
				continue
			}
			if p.base.seq > c.seq {
				return fmt.Errorf("%w: the copy goes on after entry %d-%d, the file ends at %d-%d", ErrBehind, c.epoch, p.base.seq, c.epoch, c.seq)
			}
			if c.epoch < m.id.Epoch && p.last.seq > c.seq {
				return fmt.Errorf("%w: it has more of epoch %d, which has ended", ErrCopy, c.epoch)
			}
			at := []chain{p.base}
			if l, ok := common[c.epoch]; ok {
				at = append(at, l)
			}
			for _, x := range at {
				h, err := hashBefore(tx, m.id.Terminal, journal.Ref{Epoch: x.epoch, Seq: x.seq + 1})
				if err != nil {
					return err
				}
				if h != x.hash {
					return fmt.Errorf("%w: it is of another chain than the file at %d-%d", ErrCopy, x.epoch, x.seq)
				}
			}
		}
		return nil
	})
	return got, beyond, err
}

// takeIn writes into the file what only the copy has, in one commit. It fails
// with ErrCopy or ErrBehind, with nothing written, when that does not follow.
func (s *Store) takeIn(got copied, beyond []frame) (err error) {
	defer guard(&err)()
	m := s.now.Load().clone()
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	appending(tx)
	n := uint64(0)
	for i := 0; i <= len(beyond); i++ {
		if i == len(beyond) || beyond[i].ref.Epoch != m.id.Epoch {
			// The copy saw an enrolment that the file did not.
			if c := m.current(); got.id.Epoch > m.id.Epoch {
				if got.id.PrevEpoch != c.epoch || got.id.PrevSeq != c.seq || got.id.PrevHash != c.hash {
					return fmt.Errorf("%w: the copy is of epoch %d, which follows entry %d-%d; the file ends at %d-%d",
						ErrBehind, got.id.Epoch, got.id.PrevEpoch, got.id.PrevSeq, c.epoch, c.seq)
				}
				if err := putRow(tx, bucketMeta, keyIdentity, canon.Marshal(&got.id)); err != nil {
					return err
				}
				m.renew(got.id)
			}
			if i == len(beyond) {
				break
			}
		}
		f := beyond[i]
		c := m.current()
		if f.ref.Epoch != c.epoch || f.ref.Seq != c.seq+1 || journal.Link(c.hash, f.entry) != f.hash {
			return fmt.Errorf("%w: its entry %d-%d does not follow from the file", ErrCopy, f.ref.Epoch, f.ref.Seq)
		}
		e, err := parse(f.entry, m.id.Terminal, f.ref)
		if err != nil {
			return err
		}
		x, err := m.follow(tx, e, f.hash)
		if err != nil {
			return err
		}
		if err := record(tx, m, x, f.entry); err != nil {
			return err
		}
		n++
	}
	if err := putRow(tx, bucketMeta, keyTotals, canon.Marshal(&m.totals)); err != nil {
		return err
	}
	if err := s.commit(tx); err != nil {
		return fmt.Errorf("take entries of the second copy into the file: %w", err)
	}
	m.frames, m.framed = nil, 0
	s.now.Store(m)
	s.setCopy(func(c *CopyStatus) { c.Taken = n })
	return nil
}

// covers reports whether the copy has, of every chain, what is unsent up to
// some place, and of all but the present one up to the end.
func (c *copied) covers(m *memory) bool {
	for i, ch := range m.chains {
		p, present := c.part(ch.epoch), i == len(m.chains)-1
		switch {
		case p == nil && (present || ch.acked < ch.seq):
			return false
		case p != nil && p.base.seq > ch.acked:
			return false
		case p != nil && !present && p.last.seq < ch.seq:
			return false
		}
	}
	return true
}

// complete cuts a torn end off the copy and writes behind it what the file
// has and the copy lacks.
func (s *Store) complete(got copied, m *memory) error {
	c := s.second
	c.size, c.held = got.good, got.held
	err := func() error {
		if got.torn {
			if err := errors.Join(c.file.Truncate(c.size), c.file.Sync()); err != nil {
				return err
			}
		}
		last := got.part(m.id.Epoch).last
		var buf []byte
		n := uint64(0)
		if err := s.view(func(tx *bbolt.Tx) error {
			return frames(tx, *m.current(), last.seq+1, last.hash, func(f frame) error {
				buf, n = appendFrame(buf, f), n+1
				return nil
			})
		}); err != nil || n == 0 {
			return err
		}
		if err := c.append(buf); err != nil {
			return err
		}
		c.advance(buf, n)
		return nil
	}()
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	if err != nil {
		s.breakCopy(err)
	}
	return nil
}

// wholeBehind reports whether behind what is no frame there are frames that
// the file has not. Then it is not the end that was torn in a power cut.
func (s *Store) wholeBehind(f File, got copied) (lost bool, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, got.good, tailSearched))
	if err != nil {
		return false, err
	}
	m := s.now.Load()
	err = s.view(func(tx *bbolt.Tx) error {
		for i := 0; i+frameHeadLen <= len(b); i++ {
			n := binary.BigEndian.Uint32(b[i:])
			if n == 0 || n > journal.MaxEntry || i+frameHeadLen+int(n) > len(b) {
				continue
			}
			f, ok := parseFrame(b[i : i+frameHeadLen+int(n)])
			if !ok {
				continue
			}
			h, _, err := stored(tx.Bucket(bucketJournal).Get(refKey(f.ref)), f.ref)
			if c := m.chain(f.ref.Epoch); c != nil && f.ref.Seq <= c.acked {
				continue
			}
			if err != nil || h != f.hash {
				lost = true
				return nil
			}
		}
		return nil
	})
	return lost, err
}

// putAside keeps a copy that is no use under another name and makes a new one.
func (s *Store) putAside(why error) error {
	s.second.close()
	name, err := s.second.aside()
	if err != nil {
		s.breakCopy(errors.Join(why, err)) // it stays where it is, untouched
		return nil
	}
	if err := s.remake(); err != nil {
		return err
	}
	s.setCopy(func(c *CopyStatus) {
		c.Aside, c.Problem = name, errors.Join(c.Problem, fmt.Errorf("%w; it was kept as %s and a new one made", why, name))
	})
	return nil
}

// remake makes the copy anew out of the file.
func (s *Store) remake() error {
	m := s.now.Load()
	err := s.view(func(tx *bbolt.Tx) error { return s.second.rewrite(tx, m) })
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	if err != nil {
		s.breakCopy(err)
	}
	return nil
}

// keepCopy makes the copy anew after a new enrolment, and when most of it is
// acknowledged.
func (s *Store) keepCopy(before, m *memory) {
	if s.second.file != nil && (before.id != m.id || s.second.due(m)) {
		if err := s.remake(); err != nil {
			s.breakCopy(err) // the next read of the file says so too
		}
	}
}

// breakCopy gives the copy up until the next Open. What is written from now
// on is in the file alone.
func (s *Store) breakCopy(err error) {
	s.second.close()
	s.setCopy(func(c *CopyStatus) { c.Problem = fmt.Errorf("%w: %w", ErrCopy, err) })
}

func (s *Store) setCopy(change func(*CopyStatus)) {
	c := *s.copy.Load()
	change(&c)
	s.copy.Store(&c)
}
