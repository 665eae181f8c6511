package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// ErrPerson means that a Person can't be kept as it is.
var ErrPerson = errors.New("store: a person needs a number, and a name, hash and rights that fit; nothing was written")

// Limits of a Person.
const (
	MaxName   = 64 // bytes
	maxHash   = 200
	maxRights = 16
	maxRight  = 32
)

// Person is somebody on the terminal's own list of staff. The list is kept,
// not projected: a hash of a PIN must not go into the journal, which goes to
// the utility, since a PIN has few digits. So a file that was made anew from
// its second copy begins with an empty list, and everybody who is in the
// configuration can still log in.
type Person struct {
	ID      money.StaffID
	Name    string   // at most MaxName bytes
	PINHash string   // never a PIN
	Rights  []string // stable words of whoever judges them
	Locked  bool     // is let in no more
	Change  bool     // somebody else chose the PIN: it must be changed at the next login
	Card    money.CardNumber
	// Config says that name, hash and rights are in the configuration and those
	// here mean nothing.
	Config bool
}

// Fields walks the row of a person.
func (p *Person) Fields(c *canon.Codec) {
	canon.U32(c, &p.ID)
	canon.String(c, &p.Name, MaxName)
	canon.String(c, &p.PINHash, maxHash)
	canon.List(c, &p.Rights, maxRights, 2, func(c *canon.Codec, r *string) { canon.String(c, r, maxRight) })
	canon.Bool(c, &p.Locked)
	canon.Bool(c, &p.Change)
	canon.Fixed(c, p.Card[:])
	canon.Bool(c, &p.Config)
}

func staffKey(id money.StaffID) []byte { return binary.BigEndian.AppendUint32(nil, uint32(id)) }

// Staff lists the people, by number. It fails with ErrCorrupt.
func (s *Store) Staff() (list []Person, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketStaff).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			b, err := openRow(bucketStaff, k, v)
			if err != nil {
				return err
			}
			var p Person
			if err := canon.Unmarshal(b, &p); err != nil {
				return fmt.Errorf("%w: a person of the staff: %w", ErrCorrupt, err)
			}
			if !bytes.Equal(k, staffKey(p.ID)) {
				return fmt.Errorf("%w: person %s lies where another belongs", ErrCorrupt, p.ID)
			}
			list = append(list, p)
		}
		return nil
	})
	return list, err
}

// PutStaff writes an entry and, in one commit with it, the person as it is
// from then on, or that the list has it no more. So there is no change without
// its signed entry and no entry without its change. It fails as Append does.
func (s *Store) PutStaff(ctx context.Context, d Draft, p Person, gone bool) (journal.Entry, error) {
	if d.Body == nil || d.Body.Type().Begins() {
		return journal.Entry{}, fmt.Errorf("%w: a person is no transaction", ErrDraft)
	}
	if p.ID == 0 || len(p.Name) > MaxName || len(p.PINHash) > maxHash || len(p.Rights) > maxRights {
		return journal.Entry{}, ErrPerson
	}
	for _, r := range p.Rights {
		if len(r) > maxRight {
			return journal.Entry{}, ErrPerson
		}
	}
	var e journal.Entry
	err := s.submit(ctx, func(tx *bbolt.Tx, m *memory) (bool, error) {
		if m.remade == m.id.Epoch {
			return false, ErrRemade
		}
		steps, raws, err := s.number(tx, m, []Draft{d})
		if err != nil {
			return false, err
		}
		if err := record(tx, m, steps[0], raws[0]); err != nil {
			return false, fatal{err}
		}
		e = steps[0].e
		if gone {
			err = tx.Bucket(bucketStaff).Delete(staffKey(p.ID))
		} else {
			err = putRow(tx, bucketStaff, staffKey(p.ID), canon.Marshal(&p))
		}
		if err != nil {
			return false, fatal{err}
		}
		return true, nil
	})
	return e, err
}
