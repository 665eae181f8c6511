package twin

import (
	"errors"
	"time"

	"github.com/dianka/dianka/internal/line"
)

const (
	sending = time.Second            // for a frame to leave: at 9600 baud the longest takes 0.3 s
	settle  = 250 * time.Millisecond // for a good answer to come behind a damaged one
)

// port is a line with a reader at its end: one command at a time, and its
// answer. It does not allocate once it is made.
type port struct {
	wire *line.Wire
	move func(in bool) // told at once when the reader says that a card moved

	seq    byte
	echoes bool // the reader sends every command back first
	out    [maxFrame]byte
	in     [2 * maxFrame]byte
	n      int // bytes of in
	used   int // of these, the answer given last

	noise, damaged, naks int
}

// status is the lower half of an answer's status byte.
type status byte

const (
	active   status = 0
	inactive status = 1
	absent   status = 2

	failed   = 0x40
	extended = 0x80
)

func (m message) status() status { return status(m.p[0] & 3) }

// drop takes what the reader said since the last answer: movements count, the
// rest is late.
func (p *port) drop() {
	p.n = copy(p.in[:], p.in[p.used:p.n])
	p.used = 0
	for {
		p.n += p.wire.Take(p.in[p.n:])
		t, n, _ := scan(p.in[:p.n])
		if t == incomplete {
			p.n = 0
			return
		}
		p.movement(t)
		p.n = copy(p.in[:], p.in[n:p.n])
	}
}

func (p *port) movement(t token) {
	if (t == movedOut || t == movedIn) && p.move != nil {
		p.move(t == movedIn)
	}
}

// command sends one command and gives its answer, whose data are good until
// the next command. wait is the reader's own time for it, which time requests
// start anew; deadline is ours. It fails with ErrNAK, ErrDamaged, ErrSilent, a
// Code, with which the message is given as well, or with what the line says.
func (p *port) command(stop <-chan struct{}, deadline time.Time, wait time.Duration, m message) (message, error) {
	p.drop()
	p.seq++
	m.seq = p.seq
	if _, err := p.wire.SendWithin(stop, appendFrame(p.out[:0], m), sending); err != nil {
		return message{}, err
	}
	echoed, hurt := false, false
	until := time.Now().Add(wait)
	for {
		t, n, a := scan(p.in[p.used:p.n])
		if t == incomplete {
			p.n = copy(p.in[:], p.in[p.used:p.n])
			p.used = 0
			end := until
			if deadline.Before(end) {
				end = deadline
			}
			k, err := p.wire.Read(stop, p.in[p.n:], max(time.Until(end), 0))
			p.n += k
			if errors.Is(err, line.ErrTime) {
				if hurt || p.n > 0 { // half an answer
					p.n = 0
					p.damaged++
					return message{}, ErrDamaged
				}
				return message{}, ErrSilent
			}
			if err != nil {
				return message{}, err
			}
			continue
		}
		p.used += n
		switch t {
		case movedOut, movedIn:
			p.movement(t)
		case patience:
			until = time.Now().Add(wait)
		case noise:
			p.noise++
		case refused:
			p.naks++
			return message{}, ErrNAK
		case damaged:
			if p.echoes && !echoed { // the answer is still to come
				echoed = true
				break
			}
			hurt = true
			if soon := time.Now().Add(settle); soon.Before(until) {
				until = soon
			}
		case frame:
			switch {
			case a.seq != m.seq || a.slot != m.slot: // late
			case a.kind < dataBlock:
				echoed = true
				p.echoes = true
			case a.p[0]&extended != 0:
				until = time.Now().Add(wait * time.Duration(max(a.p[1], 1)))
			case a.p[0]&failed != 0:
				return a, Code(a.p[1])
			case a.kind != answers(m.kind):
				hurt = true
			default:
				return a, nil
			}
		}
	}
}

// answers is the kind of message that answers a command.
func answers(command byte) byte {
	switch command {
	case setParameters:
		return parameters
	case escape:
		return escaped
	case iccPowerOff, getSlotStatus:
		return slotStatus
	}
	return dataBlock
}
