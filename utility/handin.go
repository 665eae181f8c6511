package utility

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// ErrMissing means that entries before those handed in are not there, so that
// these can't be taken. Nothing of them was stored; hand them in again behind
// the missing ones.
var ErrMissing = errors.New("utility: entries before these are missing")

// HandedIn says what became of one piece of a bundle.
type HandedIn struct {
	From, Through journal.Name // the piece
	New           uint64       // entries that were not stored before
	Stored        uint64       // how far the epoch is stored now, at most Through
	Verdicts      []wire.Verdict
}

// HandIn takes the entries of an evidence bundle that a terminal's disk was
// rescued into, piece by piece, as Intake takes batches: what was stored
// before is not stored again, and nothing is posted twice. It goes on after
// what can't be taken, and gives the error of the first such piece with all
// that it did: ErrMissing, or as Intake fails. The keys in the bundle are not
// believed; the utility knows its terminals' own.
func (s *Service) HandIn(ctx context.Context, b journal.Bundle) (done []HandedIn, failed error) {
	for i := range b.Runs {
		r := &b.Runs[i]
		if len(r.Entries) == 0 || len(r.Entries) > wire.MaxBatch {
			failed = errors.Join(failed, refused("a piece of %d entries; `cardtool rescue` makes pieces that can be handed in", len(r.Entries)))
			continue
		}
		head := r.Head(b.Terminal)
		batch := wire.Batch{Terminal: b.Terminal, Epoch: r.Epoch, From: r.From, Prev: r.Before, Entries: r.Entries, Head: head.Hash, Signature: r.Signature}
		s.mu.Lock()
		before := s.head(b.Terminal, r.Epoch).Seq
		s.mu.Unlock()
		ack, err := s.Intake(ctx, b.Terminal, batch)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("entries %d-%d to %d-%d: %w", r.Epoch, r.From, r.Epoch, head.Seq, err))
			continue
		}
		x := HandedIn{
			From: journal.Ref{Epoch: r.Epoch, Seq: r.From}.Of(b.Terminal), Through: journal.Ref{Epoch: r.Epoch, Seq: head.Seq}.Of(b.Terminal),
			Stored: ack.Through, Verdicts: ack.Verdicts,
		}
		if ack.Through > before {
			x.New = ack.Through - before
		}
		done = append(done, x)
		if ack.Through < r.From-1 {
			failed = errors.Join(failed, fmt.Errorf("%w: entries %d-%d to %d-%d", ErrMissing, r.Epoch, ack.Through+1, r.Epoch, r.From-1))
		}
	}
	return done, failed
}
