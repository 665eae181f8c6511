// Package evidence makes evidence bundles (journal.Bundle) of a terminal's
// file and tells people what one shows and proves.
//
// It may import money, journal, wire and store (to read). It must never write
// to the journal, put a private key or a whole card or account number where a
// person reads it, or call proven what a signature does not prove.
package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// Errors of making a bundle. Nothing was written.
var (
	ErrNothing = errors.New("evidence: the journal holds no such entries")
	ErrNoKey   = errors.New("evidence: the key file holds no record key of that epoch, so that nothing can be signed")
	ErrTooMuch = errors.New("evidence: more entries than one bundle may hold; ask for fewer")
)

// Journal is what a bundle is made of. A *store.Store is one.
type Journal interface {
	Identity() store.Identity
	Epochs() []store.Epoch
	EntriesOf(epoch uint32, from uint64, max, maxBytes int) (prev journal.Hash, entries [][]byte, err error)
	AcksOf(epoch uint32, from, to uint64) (sealed [][]byte, through uint64, err error)
}

// Keys sign a bundle, and say whose acknowledgements count.
type Keys struct {
	Signer  func(epoch uint32) ed25519.PrivateKey // nil for an epoch that it has no record key of
	Utility ed25519.PublicKey
}

// Selection says which entries are wanted; it is asked about every entry in
// order. A bundle holds of each epoch what lies from the first to the last of
// them, so that nobody can say that something was left out between.
type Selection func(journal.Entry) bool

// Between selects the entries from one to another, both included. The zero
// Ref as the end means to the end of the journal.
func Between(from, to journal.Ref) Selection {
	before := func(a, b journal.Ref) bool { return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Seq < b.Seq }
	return func(e journal.Entry) bool {
		r := e.Name.Ref()
		return !before(r, from) && (to.IsZero() || !before(to, r))
	}
}

// Within selects the entries of a time by the terminal's clock, the end
// excluded. The clock may have been wrong: names are exact, times are not.
func Within(from, to time.Time) Selection {
	return func(e journal.Entry) bool { return e.Wall >= from.UnixMilli() && e.Wall < to.UnixMilli() }
}

// Transaction selects what belongs to a transaction: its entries, and those
// of what continues it, as the first load of a sale or the void of a top-up.
func Transaction(n journal.Name) Selection {
	family := map[journal.Ref]bool{n.Ref(): true}
	return func(e journal.Entry) bool {
		r := e.Name.Ref()
		if family[e.Ref] && e.Body.Type().Begins() {
			family[r] = true
		}
		return family[r] || family[e.Ref]
	}
}

// piece is how many entries are read at a time, so that nothing is held up.
const (
	piece      = 1000
	pieceBytes = 1 << 20
)

// Export makes a bundle and verifies it. A run goes on to where the utility
// acknowledged it, since the acknowledgement could not be checked without the
// entries up to there. It fails with ErrNothing, ErrNoKey, ErrTooMuch, or as
// the journal does.
func Export(j Journal, keys Keys, wanted Selection) (journal.Bundle, journal.Proof, error) {
	no := func(err error) (journal.Bundle, journal.Proof, error) { return journal.Bundle{}, journal.Proof{}, err }
	b := journal.Bundle{Terminal: j.Identity().Terminal}
	witness := wire.Witness(keys.Utility)
	size := 0
	for _, ep := range j.Epochs() {
		first, last := uint64(0), uint64(0)
		if err := each(j, ep.Head.Epoch, 1, ep.Head.Seq, func(seq uint64, raw []byte) error {
			e, err := journal.Parse(raw)
			if err == nil && wanted(e) {
				if last = seq; first == 0 {
					first = seq
				}
			}
			return err
		}); err != nil {
			return no(err)
		}
		if first == 0 {
			continue
		}
		key := keys.Signer(ep.Head.Epoch)
		if key == nil {
			return no(noKey(ep.Head.Epoch))
		}
		r := journal.Run{Epoch: ep.Head.Epoch, From: first}
		copy(r.Key[:], key.Public().(ed25519.PublicKey))
		acks, _, err := j.AcksOf(r.Epoch, first, last)
		if err != nil {
			return no(err)
		}
		for _, a := range acks {
			// One that was sealed with an earlier key of the utility proves
			// nothing to somebody who has the present one.
			if s, err := witness(a); err == nil && s.Head.Seq <= ep.Head.Seq {
				r.Acks, last = append(r.Acks, a), max(last, s.Head.Seq)
				copy(b.Utility[:], keys.Utility)
			}
		}
		if last-first >= journal.MaxRunEntries {
			return no(ErrTooMuch)
		}
		if r.Before, _, err = j.EntriesOf(r.Epoch, first, 1, 1); err != nil {
			return no(err)
		}
		if err := each(j, r.Epoch, first, last, func(_ uint64, raw []byte) error {
			if size += len(raw) + 2; size > journal.MaxBundle/2 {
				return ErrTooMuch
			}
			r.Entries = append(r.Entries, raw)
			return nil
		}); err != nil {
			return no(err)
		}
		r.Signature = r.Head(b.Terminal).Sign(key)
		b.Runs = append(b.Runs, r)
	}
	if len(b.Runs) == 0 {
		return no(ErrNothing)
	}
	return proven(b, witness)
}

// proven verifies what was made.
func proven(b journal.Bundle, witness journal.Witness) (journal.Bundle, journal.Proof, error) {
	p, err := b.Verify(witness)
	if err != nil {
		return journal.Bundle{}, journal.Proof{}, fmt.Errorf("evidence: what was made does not verify: %w", err)
	}
	return b, p, nil
}

func noKey(epoch uint32) error { return fmt.Errorf("epoch %d: %w", epoch, ErrNoKey) }

// each hands over the entries from first to last of an epoch.
func each(j Journal, epoch uint32, first, last uint64, do func(seq uint64, raw []byte) error) error {
	for seq := first; seq <= last; {
		_, entries, err := j.EntriesOf(epoch, seq, int(min(piece, last-seq+1)), pieceBytes)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return fmt.Errorf("entry %d-%d: %w", epoch, seq, store.ErrNotFound)
		}
		for _, raw := range entries {
			if err := do(seq, bytes.Clone(raw)); err != nil {
				return err
			}
			seq++
		}
	}
	return nil
}
