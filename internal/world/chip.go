package world

import (
	"encoding/binary"
	"io"
	"math/rand/v2"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/simcard"
)

// chip is a card or a SAM as a thing of the world. What it did is known by
// looking into it, not by what it answered.
type chip struct {
	*simcard.Card
	w       *world
	options simcard.Options
	name    string
	number  money.CardNumber
	profile string
	aid     []byte
	clone   *chip // of a forged card: the one it was copied from
	in      *slot // where it is, nil: in a pocket

	allowances [][]byte // of a load SAM: the commands that installed one

	init    move // what the last INITIALIZE was for
	holds   money.Fen
	initial money.Fen
}

// move is a value movement that a chip really made.
type move struct {
	chip     *chip
	load     bool
	counter  uint16 // before
	amount   money.Fen
	terminal money.TerminalID
	tx       journal.Transaction // the intent that was durable when it happened
	at       int                 // step
}

// random makes the numbers of a chip repeatable.
type random struct{ *rand.Rand }

func (r random) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

var _ io.Reader = random{}

// balance looks into the chip: what it holds when its memory has recovered.
func (c *chip) balance() money.Fen {
	probe, err := simcard.FromImage(c.Image(), c.options)
	c.w.must(err, "look into "+c.name)
	_, err = probe.PowerOn()
	c.w.must(err, "look into "+c.name)
	if _, err := probe.Transmit(append([]byte{0x00, 0xA4, 0x04, 0x00, byte(len(c.aid))}, c.aid...)); err != nil {
		c.w.must(err, "look into "+c.name)
	}
	b, err := probe.Transmit([]byte{0x80, 0x5C, 0x00, 0x02, 0x04})
	if err != nil || len(b) != 6 {
		c.w.fail("look into %s: %X %v", c.name, b, err)
	}
	return money.FromPurse([4]byte(b))
}

// Transmit is the chip's, watched: INITIALIZE tells what may come, and after
// CREDIT FOR LOAD and DEBIT FOR PURCHASE the chip is looked into.
func (c *chip) Transmit(cmd []byte) ([]byte, error) {
	value := c.number != (money.CardNumber{}) && len(cmd) > 4 && cmd[0] == 0x80 && (cmd[1] == 0x52 || cmd[1] == 0x54)
	r, err := c.Card.Transmit(cmd)
	if len(cmd) > 4 && cmd[0] == 0x80 && cmd[1] == 0x76 && err == nil && len(c.allowances) < 3 {
		c.allowances = append(c.allowances, append([]byte(nil), cmd...))
	}
	if c.number == (money.CardNumber{}) || len(cmd) < 5 {
		return r, err
	}
	if cmd[0] == 0x80 && cmd[1] == 0x50 && err == nil && len(r) >= 8 && len(cmd) >= 16 {
		c.init = move{
			chip: c, load: cmd[2] == 0, counter: binary.BigEndian.Uint16(r[4:]),
			amount: money.FromPurse([4]byte(cmd[6:])), terminal: money.TerminalID(cmd[10:]),
		}
	}
	if value {
		c.watch()
	}
	return r, err
}

// watch books what the chip did.
func (c *chip) watch() {
	now := c.balance()
	if now == c.holds {
		return
	}
	m := c.init
	want := c.holds - m.amount
	if m.load {
		want = c.holds + m.amount
	}
	if now != want {
		c.w.fail("the chip of %s went from %s to %s, asked to move %s", c.name, c.holds, now, m.amount)
	}
	c.holds, m.at = now, c.w.at
	c.w.moves = append(c.w.moves, &m)
	c.w.moved(&m)
}

// options gives the simulated operating system that a profile describes.
func options(p profiles.Card) simcard.Options {
	o := simcard.Options{
		PINForLoad: p.PINForLoad, LogPost: p.LogCounterPost, UnifiedCounter: p.UnifiedCounters,
		ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot,
	}
	for word, m := range p.StatusWords {
		if m.Means == 0x9401 {
			o.BalanceSW = word
		}
	}
	return o
}
