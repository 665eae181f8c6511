package serialreader

import (
	"errors"
	"sync"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader/virtual"
)

// bench calls chips, each from one goroutine at a time and in the order of the
// calls, whatever seat they are in and however long they take.
type bench struct {
	mu     sync.Mutex
	queues map[virtual.Chip][]func()
}

func (b *bench) do(c virtual.Chip, f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, busy := b.queues[c]
	b.queues[c] = append(q, f)
	if !busy {
		go b.work(c)
	}
}

func (b *bench) work(c virtual.Chip) {
	for {
		b.mu.Lock()
		q := b.queues[c]
		if len(q) == 0 {
			delete(b.queues, c)
			b.mu.Unlock()
			return
		}
		b.queues[c] = q[1:]
		b.mu.Unlock()
		q[0]()
	}
}

// card is one stay of a chip in a slot, as the contacts of a reader see it.
type card struct {
	chip virtual.Chip
	left chan struct{} // closed when it left
	atr  apdu.ATR
	on   bool
	fidi byte // the speed that the card speaks, by TA1's coding
	used bool // something other than a PPS was said since reset
	t1   *blocks
}

// power resets the chip. nil: it is mute.
func (c *card) power() []byte {
	atr, err := c.chip.PowerOn()
	if err != nil {
		return nil
	}
	c.atr, _ = apdu.ParseATR(atr) // what can be read of a bad one is what the terminal reads of it
	c.on, c.used, c.t1, c.fidi = true, false, nil, slow
	if c.atr.Specific && !c.atr.Implicit { // at once as TA1 says
		if ta := c.atr.Groups[0].TA; ta != nil {
			c.fidi = *ta
		}
	}
	if c.isT1() {
		c.t1 = newBlocks(c.atr.CRC)
	}
	return atr
}

func (c *card) isT1() bool {
	if c.atr.Specific {
		return c.atr.SpecificT == 1
	}
	return len(c.atr.Protocols) > 0 && c.atr.Protocols[0] == 1
}

// fate is what became of a card in an exchange.
type fate struct {
	silent bool         // it says nothing, until the host's patience ends
	mute   bool         // it says nothing, and the reader says so
	gone   bool         // it left
	to     virtual.Chip // and this one came
}

// exchange carries a TPDU to the card: T=0, a block of T=1, or a PPS.
func (c *card) exchange(tpdu []byte) ([]byte, fate) {
	if !c.used && isPPS(tpdu) && !c.atr.Specific {
		if ta := c.atr.Groups[0].TA; tpdu[1]&0x10 != 0 && ta != nil && tpdu[2] == *ta {
			c.fidi = *ta
		}
		return tpdu, fate{}
	}
	c.used = true
	var f fate
	run := func(command []byte) []byte {
		r, err := c.chip.Transmit(command)
		var swapped *virtual.Swapped
		switch {
		case err == nil:
			return r
		case errors.Is(err, virtual.ErrGone):
			f.gone = true
		case errors.As(err, &swapped):
			f.gone, f.to = true, swapped.To
		default:
			f.silent = true
		}
		return nil
	}
	var r []byte
	if c.t1 != nil {
		r = c.t1.take(tpdu, run)
	} else {
		r = run(tpdu)
	}
	return r, f
}

// slow is F=372, D=1.
const slow = 0x11

// isPPS: ISO/IEC 7816-3 clause 9.2.
func isPPS(b []byte) bool {
	if len(b) < 3 || b[0] != 0xFF {
		return false
	}
	want, x := 3, byte(0)
	for bit := byte(0x10); bit <= 0x40; bit <<= 1 {
		if b[1]&bit != 0 {
			want++
		}
	}
	for _, v := range b {
		x ^= v
	}
	return len(b) == want && x == 0
}
