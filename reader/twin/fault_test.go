//go:build linux

package twin_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/twin"
	"github.com/dianka/dianka/simcard/serialreader"
)

const xfr = 0x6F // the message that carries an exchange

func until(t *testing.T, events <-chan reader.Event, want reader.State) reader.Event {
	t.Helper()
	for late := time.After(15 * time.Second); ; {
		select {
		case e := <-events:
			if e.State == want {
				return e
			}
		case <-late:
			t.Fatalf("no event with state %d", want)
		}
	}
}

var echo = apdu.Command{CLA: 0x80, INS: readertest.InsEcho, Data: []byte{1, 2, 3}, Ne: 256}

// sends sends an echo and reports whether the right answer came.
func sends(t *testing.T, card reader.Card) error {
	t.Helper()
	r, err := apdu.Send(t.Context(), card, echo)
	if err == nil && (!bytes.Equal(r.Data, echo.Data) || !r.SW.OK()) {
		t.Fatalf("a wrong answer: %X", r.Bytes())
	}
	return err
}

func TestFaults(t *testing.T) {
	type outcome struct {
		err      error // nil: the right answer all the same
		executed bool  // what the error says
		did      int   // commands that the chip carried out
		lives    bool  // the card goes on
	}
	right := outcome{nil, false, 1, true}
	for _, c := range []struct {
		name   string
		fault  serialreader.Fault
		t0, t1 outcome
	}{
		{"NAK", serialreader.Fault{Kind: serialreader.NAK}, outcome{reader.ErrGarbled, false, 0, true}, right},
		{"bad LRC", serialreader.Fault{Kind: serialreader.BadLRC}, outcome{reader.ErrGarbled, true, 1, true}, right},
		{"lost answer", serialreader.Fault{Kind: serialreader.LostAnswer}, outcome{reader.ErrDeadline, true, 1, false}, right},
		{"garbage", serialreader.Fault{Kind: serialreader.Garbage, N: 5}, right, right},
		{"time request", serialreader.Fault{Kind: serialreader.TimeRequest, N: 3}, right, right},
		{"more time by frame", serialreader.Fault{Kind: serialreader.Extension, N: 3}, right, right},
		// T=0 fetches the answer by a second command, for which there is no card any more.
		{"movement", serialreader.Fault{Kind: serialreader.Movement}, outcome{reader.ErrRemoved, true, 1, false}, outcome{nil, false, 1, false}},
		{"echo only", serialreader.Fault{Kind: serialreader.EchoOnly}, outcome{reader.ErrDeadline, true, 1, false}, right},
		{"slot busy", serialreader.Fault{Kind: serialreader.Failure, N: 0xE0}, outcome{reader.ErrGarbled, false, 0, true}, outcome{reader.ErrGarbled, true, 0, false}},
		{"parity", serialreader.Fault{Kind: serialreader.CardError, N: 0xFD}, outcome{reader.ErrGarbled, true, 1, true}, right},
		{"mute", serialreader.Fault{Kind: serialreader.CardError, N: 0xFE}, outcome{reader.ErrDeadline, true, 1, false}, right},
		{"unplugged", serialreader.Fault{Kind: serialreader.HangUp}, outcome{reader.ErrLost, true, 1, false}, outcome{reader.ErrLost, true, 1, false}},
	} {
		for _, t0 := range []bool{true, false} {
			for _, m := range []serialreader.Model{serialreader.GemPCTwin, serialreader.GemCoreSIMPro} {
				want := c.t1
				if t0 {
					want = c.t0
				}
				t.Run(fmt.Sprintf("%s/T=%d/echo %v", c.name, map[bool]int{true: 0, false: 1}[t0], m.Echo), func(t *testing.T) {
					t.Parallel()
					model := ""
					if m.Slots > 1 {
						model = ":GemCoreSIMPro"
						if c.fault.Kind == serialreader.Movement {
							t.Skip("it does not say in which slot")
						}
					}
					line := newCable(t, m)
					deadline := 5 * time.Second // T=1 asks for an answer again when the card's time is over
					if t0 {
						deadline = time.Second
					}
					s := line.slot(twin.Options{Deadline: deadline, Poll: 50 * time.Millisecond}, model)
					events := s.Events(t.Context())
					chip := readertest.NewChip(1, t0)
					line.sim.Insert(0, chip)
					until(t, events, reader.StateCard)
					card, err := s.Open(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					fault := c.fault
					fault.On = xfr
					line.sim.Fail(fault)
					err = sends(t, card)
					if !errors.Is(err, want.err) || apdu.MayHaveExecuted(err) != want.executed {
						t.Errorf("got %v, executed %v; want %v, %v", err, apdu.MayHaveExecuted(err), want.err, want.executed)
					}
					if got := chip.Executed(); got != want.did {
						t.Errorf("the chip did %d commands, want %d", got, want.did)
					}
					if want.lives {
						if err := sends(t, card); err != nil {
							t.Errorf("the next exchange: %v", err)
						}
						return
					}
					// However it ended, the next opening works.
					card.Close()
					if c.fault.Kind == serialreader.HangUp {
						line.plug()
					}
					for late := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the slot says nothing when only the old card has its end
						if card, err = s.Open(t.Context()); err == nil {
							break
						}
						if time.Now().After(late) {
							t.Fatalf("opened again: %v", err)
						}
					}
					if err := sends(t, card); err != nil {
						t.Errorf("after opening again: %v", err)
					}
				})
			}
		}
	}
}

// TestCablePulledAtEveryByte: wherever the cable is pulled, in the command or
// in what comes back, the exchange ends as lost, "not executed" is said only
// when the chip did nothing, and a reader that is plugged in again serves.
func TestCablePulledAtEveryByte(t *testing.T) {
	for _, t0 := range []bool{true, false} {
		for _, kind := range []serialreader.FaultKind{serialreader.HangUpIn, serialreader.HangUp} {
			t.Run(fmt.Sprintf("T0 %v, in the answer %v", t0, kind == serialreader.HangUp), func(t *testing.T) {
				t.Parallel()
				line := newCable(t, serialreader.GemPCTwin)
				s := line.slot(twin.Options{Poll: 50 * time.Millisecond}, "")
				events := s.Events(t.Context())
				chip := readertest.NewChip(1, t0)
				line.sim.Insert(0, chip)
				// 13 of frame, 8 to 12 of command, and as many again for the echo.
				size := 13 + 8
				if kind == serialreader.HangUp {
					size += 13 + 2
				}
				for n := range size {
					if kind == serialreader.HangUpIn && n < 3 {
						continue // the simulated reader knows the command by its third byte
					}
					until(t, events, reader.StateCard)
					card, err := s.Open(t.Context())
					if err != nil {
						t.Fatalf("before byte %d: %v", n, err)
					}
					before := chip.Executed()
					line.sim.Fail(serialreader.Fault{Kind: kind, On: xfr, N: n})
					err = sends(t, card)
					if !errors.Is(err, reader.ErrLost) {
						t.Fatalf("byte %d: %v", n, err)
					}
					if did := chip.Executed() - before; did > 1 || did > 0 && !apdu.MayHaveExecuted(err) {
						t.Errorf("byte %d: %v, and the chip did %d", n, err, did)
					}
					card.Close()
					until(t, events, reader.StateLost)
					line.plug()
				}
			})
		}
	}
}

// TestBroken: what is at the end of the line, or is not, is told with a next
// step.
func TestBroken(t *testing.T) {
	for name, path := range map[string]string{"no line": "/dev/does-not-exist", "nothing that answers": newCable(t, serialreader.Model{Slots: 1}).path} {
		t.Run(name, func(t *testing.T) {
			if name == "nothing that answers" {
				path += ":SEC1210URT" // whose escape the simulated one does not know; it says so
			}
			v := twin.New(twin.Options{})
			defer v.Close()
			s, err := v.Slot("serial:x", path)
			if err != nil {
				t.Fatal(err)
			}
			if e := until(t, s.Events(t.Context()), reader.StateLost); e.Cause == nil {
				t.Error("lost without a cause")
			}
			_, err = s.Open(t.Context())
			var e *reader.Error
			if !errors.Is(err, reader.ErrLost) || !errors.As(err, &e) || apdu.MayHaveExecuted(err) {
				t.Errorf("%v", err)
			}
		})
	}
}
