package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// backwardsStep is how many entries are looked at in one read transaction, so that none is
// held long however far back the search goes.
const backwardsStep = 4096

// Backwards calls f for the entries of the current epoch that are of one of the
// types, newest first, until f gives false or what is here of the epoch ends. Entries of other
// types cost their type's two bytes only and are not verified. f runs outside of
// any read transaction.
func (s *Store) Backwards(f func(journal.Entry) bool, types ...journal.Type) error {
	now := s.now.Load()
	head, base := now.current().head(now.id.Terminal), now.current().base
	for next := head.Seq; next > base; {
		var found []journal.Entry
		err := s.view(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketJournal).Cursor()
			k, v := c.Seek(refKey(journal.Ref{Epoch: head.Epoch, Seq: next}))
			for n := 0; n < backwardsStep && next > base; n++ {
				ref := journal.Ref{Epoch: head.Epoch, Seq: next}
				if string(k) != string(refKey(ref)) {
					return fmt.Errorf("%w: entry %d-%d is missing", ErrCorrupt, ref.Epoch, ref.Seq)
				}
				_, b, err := stored(v, ref)
				if err != nil {
					return err
				}
				if len(b) >= 4 && slices.Contains(types, journal.Type(binary.BigEndian.Uint16(b[2:]))) {
					e, err := readEntry(tx, s.terminal(), ref)
					if err != nil {
						return damaged(err)
					}
					found = append(found, e)
				}
				next--
				k, v = c.Prev()
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, e := range found {
			if !f(e) {
				return nil
			}
		}
	}
	return nil
}

// Heard is the utility's own time when it last signed something that is held
// here: an acknowledgement of the current epoch or a section. It is zero when
// there is none. No clock of this machine can make it earlier.
func (s *Store) Heard() (time.Time, error) {
	var latest int64
	m := s.now.Load()
	err := s.view(func(tx *bbolt.Tx) error {
		ch := m.current()
		b, err := getRow(tx, bucketAcks, ackKey(ch.epoch, ch.acked))
		if err != nil || b == nil {
			return err
		}
		var sealed wire.Sealed
		var a wire.Ack
		if err := canon.Unmarshal(b, &sealed); err != nil {
			return fmt.Errorf("%w: the last acknowledgement: %w", ErrCorrupt, err)
		}
		if err := canon.Unmarshal(sealed.Body, &a); err != nil {
			return fmt.Errorf("%w: the last acknowledgement: %w", ErrCorrupt, err)
		}
		latest = a.Server
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	for _, k := range []wire.SectionKind{wire.SectionHotlist, wire.SectionLimits, wire.SectionRanges, wire.SectionAccounts, wire.SectionItems, wire.SectionFloat} {
		sec, _, err := s.Section(k)
		if err != nil {
			return time.Time{}, err
		}
		latest = max(latest, sec.Issued)
	}
	if latest == 0 {
		return time.Time{}, nil
	}
	return time.UnixMilli(latest), nil
}
