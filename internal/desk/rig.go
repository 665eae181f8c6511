package desk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
)

// rig is the pair of readers of a desk: one for the customer's card, one for
// the SAM.
type rig interface {
	slots() (card, sam reader.Slot)
	put(ctx context.Context, c virtual.Chip) error
	take() error
	swap(ctx context.Context, c virtual.Chip) error
	putSAM(ctx context.Context, c virtual.Chip) error
	close() error
}

// ErrSeat means that the reader is empty or taken, other than a move needs.
var ErrSeat = errors.New("the reader is not as it must be for that")

// inProcess is a rig of virtual slots.
type inProcess struct {
	mu   sync.Mutex
	card *virtual.Slot
	sam  *virtual.Slot
}

func newInProcess() *inProcess {
	return &inProcess{card: virtual.New("sim:card"), sam: virtual.New("sim:sam")}
}

func (r *inProcess) slots() (reader.Slot, reader.Slot) { return r.card, r.sam }

func (r *inProcess) put(_ context.Context, c virtual.Chip) error {
	r.card.Insert(c)
	return nil
}

func (r *inProcess) take() error {
	r.card.Remove()
	return nil
}

func (r *inProcess) swap(_ context.Context, c virtual.Chip) error {
	r.card.Swap(c)
	return nil
}

func (r *inProcess) putSAM(_ context.Context, c virtual.Chip) error {
	r.sam.Insert(c)
	return nil
}

func (r *inProcess) close() error { return errors.Join(r.card.Close(), r.sam.Close()) }

func seatError(what string) error { return fmt.Errorf("%w: %s", ErrSeat, what) }
