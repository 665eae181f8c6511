// Package fault makes cards fail on purpose: torn out before, during or after
// a command, silent, swapped, or talking nonsense. Tests prove with it that no
// money is lost, and trainers show with it what a shop may meet.
//
// A Plan goes around a chip (Chip), where a tear takes the chip's power as a
// hand would, on every backend that serves chips; or around any slot (NewSlot),
// real readers included, where the card is cut off by powering it down.
//
// It may import apdu, reader and reader/virtual, and must never be part of a
// real terminal.
package fault

import (
	"math/rand/v2"
	"sync"

	"github.com/dianka/dianka/reader/virtual"
)

// Kind is what goes wrong.
type Kind uint8

// Kinds of faults.
const (
	// TearBefore: the card is out before it sees the command.
	TearBefore Kind = iota + 1
	// TearDuring: the card is torn in the middle of the command. A chip that
	// is a Tearer loses power after Fault.Writes durable writes; any other
	// card has executed the command or not as Fault.Executed says.
	TearDuring
	// TearAfter: the card has executed the command, its answer is lost.
	TearAfter
	// Mute: the card says nothing; it has executed the command or not as
	// Fault.Executed says.
	Mute
	// Swap: the card has not seen the command; another one is in the slot,
	// and the slot was never seen empty.
	Swap
	// Garbage: the card has executed the command; the answer is Fault.Answer,
	// or random bytes.
	Garbage
)

// Tearer is a chip that can lose power in the middle of a command.
type Tearer interface {
	// TearAfterWrites lets power fail during the next command, when n of its
	// durable writes are done. A command with fewer writes is torn at its end.
	TearAfterWrites(n int)
}

// Fault is one thing that goes wrong, once.
type Fault struct {
	Kind Kind
	// At is the command that meets the fault, counted from 1 since the plan
	// began, and only over those that When accepts; 0 means 1. A chip counts
	// GET RESPONSE and repetitions for 6Cxx too, a slot does not.
	At int
	// When accepts a command, bytes as they are; nil accepts every one.
	When func(command []byte) bool

	Writes   int          // TearDuring, on a Tearer
	Executed bool         // TearDuring elsewhere, and Mute
	To       virtual.Chip // Swap around a chip; nil puts the same chip in again
	Answer   []byte       // Garbage; nil means 2 to 17 random bytes
}

// Plan is what will go wrong. The faults are independent of each other; when
// two meet in one command, the first in the list happens and the other is
// over too. A plan may be used by one chip or slot.
type Plan struct {
	mu     sync.Mutex
	faults []planned
	random *rand.Rand
	fired  []Kind
}

type planned struct {
	Fault
	left int // accepted commands until it happens, 0 = over
}

// NewPlan makes a plan; the same seed gives the same garbage.
func NewPlan(seed uint64, faults ...Fault) *Plan {
	p := &Plan{random: rand.New(rand.NewPCG(seed, 0))}
	p.Add(faults...)
	return p
}

// Add adds faults, which count from now on.
func (p *Plan) Add(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range faults {
		p.faults = append(p.faults, planned{f, max(f.At, 1)})
	}
}

// Fired are the kinds that have happened, in order. A test asks, so that it
// knows that it tested something.
func (p *Plan) Fired() []Kind {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Kind(nil), p.fired...)
}

// meet is the fault that a command meets, with its answer chosen, or nil.
func (p *Plan) meet(command []byte) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var hit *Fault
	for i := range p.faults {
		f := &p.faults[i]
		if f.left == 0 || f.When != nil && !f.When(command) {
			continue
		}
		if f.left--; f.left == 0 && hit == nil {
			hit = &f.Fault
		}
	}
	if hit == nil {
		return nil
	}
	p.fired = append(p.fired, hit.Kind)
	f := *hit
	if f.Kind == Garbage && f.Answer == nil {
		f.Answer = make([]byte, 2+p.random.IntN(16))
		for i := range f.Answer {
			f.Answer[i] = byte(p.random.Uint32())
		}
	}
	return &f
}

// Chip puts a plan around a chip.
func Chip(c virtual.Chip, p *Plan) virtual.Chip { return &chip{c, p} }

type chip struct {
	virtual.Chip
	plan *Plan
}

// Transmit implements virtual.Chip.
func (c *chip) Transmit(command []byte) ([]byte, error) {
	f := c.plan.meet(command)
	if f == nil {
		return c.Chip.Transmit(command)
	}
	switch f.Kind {
	case TearDuring:
		if t, ok := c.Chip.(Tearer); ok {
			t.TearAfterWrites(f.Writes)
			c.Chip.Transmit(command)
		} else if f.Executed {
			c.Chip.Transmit(command)
		}
	case TearAfter:
		c.Chip.Transmit(command)
	case Mute:
		if f.Executed {
			c.Chip.Transmit(command)
		}
		return nil, virtual.ErrNoAnswer
	case Garbage:
		c.Chip.Transmit(command)
		return f.Answer, nil
	case Swap:
		to := f.To
		if to == nil {
			to = c
		}
		return nil, &virtual.Swapped{To: to}
	}
	return nil, virtual.ErrGone // whoever serves the chip takes its power
}
