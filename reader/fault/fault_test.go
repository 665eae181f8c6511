package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/fault"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/virtual"
)

// With nothing planned, a decorated slot and a slot with decorated chips
// behave as any.
func TestConformance(t *testing.T) {
	bench := func(s *virtual.Slot, as reader.Slot) readertest.Bench {
		s.Deadline = 500 * time.Millisecond
		return readertest.Bench{
			Slot: as, Deadline: s.Deadline, Insert: s.Insert, Remove: s.Remove, Swap: s.Swap,
			Lose: func() { s.Lose(nil) }, Restore: func() { s.Remove(); s.Restore() },
		}
	}
	t.Run("Slot", func(t *testing.T) {
		readertest.Run(t, func(t *testing.T) readertest.Bench {
			s := virtual.New("sim:test")
			return bench(s, fault.NewSlot(s, fault.NewPlan(1)))
		})
	})
	t.Run("Chip", func(t *testing.T) {
		readertest.Run(t, func(t *testing.T) readertest.Bench {
			s := virtual.New("sim:test")
			b := bench(s, s)
			wrapped := map[virtual.Chip]virtual.Chip{} // the same chip stays the same
			wrap := func(c virtual.Chip) virtual.Chip {
				if wrapped[c] == nil {
					wrapped[c] = fault.Chip(c, fault.NewPlan(1))
				}
				return wrapped[c]
			}
			b.Insert = func(c virtual.Chip) { s.Insert(wrap(c)) }
			b.Swap = func(c virtual.Chip) { s.Swap(wrap(c)) }
			return b
		})
	})
}

// tearing is a chip that knows of its own tears.
type tearing struct {
	*readertest.Chip
	after int
}

func (c *tearing) TearAfterWrites(n int) { c.after = n }

var echo = []byte{0x80, readertest.InsEcho, 0, 0, 2, 0xCA, 0xFE, 0}

// Every kind, around a chip and around a slot: what the card executed, what
// the terminal is told, and what the slot says.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    fault.Fault
		executed int // by the card, of the second command
		kind     error
		state    reader.State // next event; StateUnknown = none
		more     uint32       // of Count
	}{
		{"tear before", fault.Fault{Kind: fault.TearBefore, At: 2}, 0, reader.ErrRemoved, reader.StateEmpty, 1},
		{"tear during, not executed", fault.Fault{Kind: fault.TearDuring, At: 2}, 0, reader.ErrRemoved, reader.StateEmpty, 1},
		{"tear during, executed", fault.Fault{Kind: fault.TearDuring, At: 2, Executed: true}, 1, reader.ErrRemoved, reader.StateEmpty, 1},
		{"tear after", fault.Fault{Kind: fault.TearAfter, At: 2}, 1, reader.ErrRemoved, reader.StateEmpty, 1},
		{"mute, not executed", fault.Fault{Kind: fault.Mute, At: 2}, 0, reader.ErrDeadline, reader.StateUnknown, 0},
		{"mute, executed", fault.Fault{Kind: fault.Mute, At: 2, Executed: true}, 1, reader.ErrDeadline, reader.StateUnknown, 0},
		{"swap", fault.Fault{Kind: fault.Swap, At: 2}, 0, reader.ErrRemoved, reader.StateCard, 2},
		{"garbage", fault.Fault{Kind: fault.Garbage, At: 2, Answer: []byte{1, 2, 3}}, 1, nil, reader.StateUnknown, 0},
	} {
		for _, around := range []string{"chip", "slot"} {
			t.Run(c.name+" around a "+around, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := context.Background()
					v := virtual.New("sim:test")
					chip := readertest.NewChip(1, false)
					plan := fault.NewPlan(1, c.fault)
					var slot reader.Slot = v
					putBack := func() { v.Insert(chip) }
					if around == "chip" {
						v.Insert(fault.Chip(chip, plan))
					} else {
						v.Insert(chip)
						s := fault.NewSlot(v, plan)
						slot, putBack = s, s.PutBack
					}
					defer slot.Close()
					events := slot.Events(ctx)
					first := <-events
					card, err := slot.Open(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := card.Transmit(ctx, echo); err != nil {
						t.Fatal(err)
					}
					answer, err := card.Transmit(ctx, echo)
					if got := chip.Executed() - 1; got != c.executed {
						t.Errorf("executed %d times, want %d", got, c.executed)
					}
					if got := plan.Fired(); !slices.Equal(got, []fault.Kind{c.fault.Kind}) {
						t.Errorf("fired %v", got)
					}
					synctest.Wait()
					select {
					case e := <-events:
						if e.State != c.state || e.Count != first.Count+c.more {
							t.Errorf("event %+v after %+v", e, first)
						}
					default:
						if c.state != reader.StateUnknown {
							t.Error("no event")
						}
					}
					if c.kind == nil {
						if err != nil || !bytes.Equal(answer, c.fault.Answer) {
							t.Errorf("%x, %v", answer, err)
						}
						return
					}
					if !errors.Is(err, c.kind) || !apdu.MayHaveExecuted(err) {
						t.Errorf("%v: the terminal must be told that it can't know", err)
					}
					if _, on := chip.Powered(); on {
						t.Error("the chip kept its power")
					}
					if _, err := card.Transmit(ctx, echo); !errors.Is(err, c.kind) || apdu.MayHaveExecuted(err) {
						t.Errorf("afterwards: %v", err)
					}
					card.Close()
					if c.state == reader.StateEmpty {
						if _, err := slot.Open(ctx); !errors.Is(err, reader.ErrNoCard) {
							t.Errorf("open of a torn card: %v", err)
						}
						putBack()
						synctest.Wait()
						if e := <-events; e.State != reader.StateCard || e.Count != first.Count+2 {
							t.Errorf("put back: %+v", e)
						}
					}
					again, err := slot.Open(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := again.Transmit(ctx, echo); err != nil {
						t.Errorf("a fault happens once: %v", err)
					}
				})
			})
		}
	}
}

func TestTearerIsToldWhere(t *testing.T) {
	c := &tearing{Chip: readertest.NewChip(1, false)}
	f := fault.Chip(c, fault.NewPlan(1, fault.Fault{Kind: fault.TearDuring, Writes: 3}))
	f.PowerOn()
	if _, err := f.Transmit(echo); !errors.Is(err, virtual.ErrGone) || c.after != 3 {
		t.Errorf("%v, torn after %d writes", err, c.after)
	}
}

func TestSwapToAnother(t *testing.T) {
	ctx := context.Background()
	v := virtual.New("sim:test")
	defer v.Close()
	other := readertest.NewChip(2, false)
	v.Insert(fault.Chip(readertest.NewChip(1, false), fault.NewPlan(1, fault.Fault{Kind: fault.Swap, To: other})))
	card, err := v.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := card.Transmit(ctx, echo); !errors.Is(err, reader.ErrRemoved) {
		t.Error(err)
	}
	again, err := v.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := again.Transmit(ctx, []byte{0x80, readertest.InsWho, 0, 0, 0})
	if err != nil || r[0] != 2 {
		t.Errorf("%x, %v", r, err)
	}
}

func TestPlan(t *testing.T) {
	isB := func(c []byte) bool { return c[1] == 'B' }
	for _, c := range []struct {
		faults []fault.Fault
		want   string // kinds met by the commands A B A B A B
	}{
		{nil, "0 0 0 0 0 0"},
		{[]fault.Fault{{Kind: fault.Mute}}, "4 0 0 0 0 0"},
		{[]fault.Fault{{Kind: fault.Mute, At: 3}}, "0 0 4 0 0 0"},
		{[]fault.Fault{{Kind: fault.Mute, When: isB}}, "0 4 0 0 0 0"},
		{[]fault.Fault{{Kind: fault.Mute, When: isB, At: 2}}, "0 0 0 4 0 0"},
		{[]fault.Fault{{Kind: fault.Garbage, At: 2}, {Kind: fault.Mute, When: isB}, {Kind: fault.TearAfter, At: 4}}, "0 6 0 3 0 0"},
	} {
		p := fault.NewPlan(7, c.faults...)
		chip := fault.Chip(readertest.NewChip(1, false), p)
		got := ""
		for _, ins := range "ABABAB" {
			n := len(p.Fired())
			chip.PowerOn()
			chip.Transmit([]byte{0x80, byte(ins), 0, 0})
			k := fault.Kind(0)
			if f := p.Fired(); len(f) > n {
				k = f[n]
			}
			got += fmt.Sprintf(" %d", k)
		}
		if got[1:] != c.want {
			t.Errorf("%+v: met %s, want %s", c.faults, got[1:], c.want)
		}
	}
}

func TestGarbageRepeats(t *testing.T) {
	var answers [2][]byte
	for i := range answers {
		c := fault.Chip(readertest.NewChip(1, false), fault.NewPlan(42, fault.Fault{Kind: fault.Garbage}))
		c.PowerOn()
		answers[i], _ = c.Transmit(echo)
	}
	if len(answers[0]) < 2 || !bytes.Equal(answers[0], answers[1]) {
		t.Errorf("%x and %x of one seed", answers[0], answers[1])
	}
}
