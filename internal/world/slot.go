package world

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/reader"
)

// slot is a reader's slot whose card a hand puts in and pulls out between and
// in the middle of commands.
type slot struct {
	st    *station
	name  string
	chip  *chip
	count uint32
	open  *seat
	tear  tear
	told  uint32 // count of the last event that was handed over
}

// tear is what happens to the card at a command.
type tear struct {
	in   int  // at the in-th command from now; 0: never
	at   byte // only commands of this INS count; 0: all
	how  int  // tearBefore …
	page int  // of tearMid: the page write at which the power fails
	then int  // index of the chip that is put in instead, -1: none
}

const (
	tearBefore   = iota // pulled before the command
	tearMid             // power fails at a page write
	tearAfter           // pulled after it acted, before the answer
	muteBefore          // does not act and says nothing
	muteAfter           // acts and says nothing
	refuseMemory        // pulled out of its memory: 6581 without acting
	tears
)

var tearNames = [...]string{"card pulled before a command", "power fails in the card's memory", "card pulled before the answer", "card mute, not acting", "card mute after acting", "card answers 6581"}

func (s *slot) put(c *chip) {
	s.pull()
	s.chip = c
	c.in = s
	s.count++
}

func (s *slot) pull() {
	if s.chip == nil {
		return
	}
	s.kill(reader.ErrRemoved)
	s.chip.PowerOff()
	s.chip.in, s.chip = nil, nil
	s.count++
}

func (s *slot) kill(kind error) {
	if s.open != nil {
		s.open.dead = kind
		s.open = nil
	}
}

func (s *slot) event() reader.Event {
	e := reader.Event{Slot: s.name, State: reader.StateEmpty, Count: s.count, At: s.st.w.now()}
	if s.chip != nil {
		e.State = reader.StateCard
	}
	return e
}

func (s *slot) errorf(op string, kind error, executed bool) error {
	return &reader.Error{Slot: s.name, Op: op, Kind: kind, Executed: executed}
}

// Name implements reader.Slot.
func (s *slot) Name() string { return s.name }

// Events is never asked: the world hands events over itself.
func (s *slot) Events(context.Context) <-chan reader.Event { panic("world: events are handed over") }

// Close implements reader.Slot.
func (s *slot) Close() error { return nil }

// Open implements reader.Slot.
func (s *slot) Open(context.Context) (reader.Card, error) {
	s.st.effect()
	switch {
	case s.chip == nil:
		return nil, s.errorf("open", reader.ErrNoCard, false)
	case s.open != nil:
		return nil, s.errorf("open", reader.ErrBusy, false)
	}
	atr, err := s.chip.PowerOn()
	if err != nil {
		return nil, s.errorf("open", reader.ErrMute, false)
	}
	s.open = &seat{slot: s, chip: s.chip, atr: atr, count: s.count}
	return s.open, nil
}

// seat is one card that was opened.
type seat struct {
	slot  *slot
	chip  *chip
	atr   []byte
	count uint32
	dead  error
}

func (c *seat) ATR() []byte               { return append([]byte(nil), c.atr...) }
func (c *seat) Protocol() reader.Protocol { return reader.T1 }
func (c *seat) Count() uint32             { return c.count }

func (c *seat) Close() error {
	if c.slot.open == c {
		c.slot.open = nil
		c.chip.PowerOff()
	}
	if c.dead == nil {
		c.dead = reader.ErrClosed
	}
	return nil
}

var errSilent = errors.New("world: the chip says nothing")

// Transmit implements reader.Card.
func (c *seat) Transmit(_ context.Context, cmd []byte) ([]byte, error) {
	s := c.slot
	if s.st.dead {
		panic(killed{})
	}
	if s.st.strike() {
		if b := s.st.bomb; b.power && b.how>>5%2 == 0 && c.dead == nil { // the chip's power too
			c.note(cmd, tearMid)
			c.chip.TearAfter(1 + int(b.how>>6%4))
			_, _ = c.chip.Transmit(cmd)
			c.chip.TearAfter(0)
		}
		panic(killed{})
	}
	if c.dead != nil {
		return nil, s.errorf("transmit", c.dead, false)
	}
	t := &s.tear
	hit := false
	if t.in > 0 && (t.at == 0 || t.at == cmd[1]) {
		t.in--
		hit = t.in == 0
	}
	if !hit {
		r, err := c.chip.Transmit(cmd)
		s.st.effect()
		if err != nil {
			return nil, c.gone(false)
		}
		return r, nil
	}
	s.st.w.fault(tearNames[t.how])
	c.note(cmd, t.how)
	switch t.how {
	case tearBefore:
	case tearMid:
		c.chip.TearAfter(t.page)
		_, _ = c.chip.Transmit(cmd)
		c.chip.TearAfter(0)
	case tearAfter:
		_, _ = c.chip.Transmit(cmd)
	case muteBefore:
		return nil, c.mute()
	case muteAfter:
		_, _ = c.chip.Transmit(cmd)
		return nil, c.mute()
	case refuseMemory:
		s.st.effect()
		return []byte{0x65, 0x81}, nil
	}
	s.st.effect()
	return nil, c.gone(true)
}

// note counts at which command something happened.
func (c *seat) note(cmd []byte, how int) {
	c.slot.st.w.figures.Torn[instruction(cmd)+": "+tearNames[how]]++
}

// instruction names a command of a card or SAM.
func instruction(cmd []byte) string {
	name, ok := instructions[cmd[1]]
	switch {
	case !ok:
		return fmt.Sprintf("INS %02X", cmd[1])
	case cmd[1] == 0x50 && cmd[2] == 0:
		return "INITIALIZE FOR LOAD"
	case cmd[1] == 0x70 && cmd[2] == 1:
		return "INIT SAM FOR LOAD"
	case cmd[1] == 0x72 && cmd[2] == 1:
		return "CREDIT SAM FOR LOAD"
	}
	return name
}

// Commands that plans aim at, by INS.
const (
	insCredit = 0x52
	insDebit  = 0x54
	insProof  = 0x5A
	insRecord = 0xB2
)

// instructions are the commands by INS.
var instructions = map[byte]string{
	0x20: "VERIFY", 0x50: "INITIALIZE FOR PURCHASE", insCredit: "CREDIT FOR LOAD", insDebit: "DEBIT FOR PURCHASE", insProof: "GET TRANSACTION PROVE", 0x5C: "GET BALANCE",
	0x70: "INIT SAM FOR PURCHASE", 0x72: "CREDIT SAM FOR PURCHASE", 0x74: "LOAD SAM STATE", 0x76: "LOAD SAM ALLOWANCE",
	0x84: "GET CHALLENGE", 0xA4: "SELECT", 0xB0: "READ BINARY", insRecord: "READ RECORD",
}

// mute is a card that is still in its slot and does not answer: the reader
// gives up and the handle is dead.
func (c *seat) mute() error {
	c.slot.kill(reader.ErrDeadline)
	c.chip.PowerOff()
	c.slot.st.effect()
	return c.slot.errorf("transmit", reader.ErrDeadline, true)
}

// gone is a card that leaves in the middle; perhaps another comes at once.
func (c *seat) gone(hit bool) error {
	s := c.slot
	then := s.tear.then
	s.pull()
	if w := s.st.w; hit && then >= 0 && w.chips[then].in == nil && w.chips[then] != c.chip {
		w.fault("another card put in at once")
		s.put(w.chips[then])
	}
	return s.errorf("transmit", reader.ErrRemoved, true)
}
