package desk

import (
	"context"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
)

// byHand is a rig whose customer's reader is a real one, which a hand serves;
// the SAM is simulated.
type byHand struct {
	*inProcess
	real reader.Slot
}

func newByHand(card reader.Slot) *byHand { return &byHand{newInProcess(), card} }

const useHand = "the reader is a real one: put cards in and take them out by hand"

func (r *byHand) slots() (reader.Slot, reader.Slot)            { return r.real, r.sam }
func (r *byHand) put(context.Context, virtual.Chip) error      { return seatError(useHand) }
func (r *byHand) take() error                                  { return seatError(useHand) }
func (r *byHand) swap(_ context.Context, _ virtual.Chip) error { return seatError(useHand) }
