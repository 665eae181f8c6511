package pcsc

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

// settle is how long a failed exchange waits for the watcher to say why: the
// service tells a card that was pulled from one that stutters only by its
// next look at the slot (every 400 ms in pcscd).
const settle = 1500 * time.Millisecond

// card is one connection, with a context of its own. It is never connected
// again.
type card struct {
	slot     *slot
	session  session
	handle   handle
	count    uint32
	answer   []byte
	protocol reader.Protocol
	outer    apdu.Transmitter // over exchange
	turn     chan struct{}    // capacity 1; held during a Transmit
	cleaned  chan struct{}    // closed when handle and context are given back

	mu       sync.Mutex
	inflight bool
	fate     error // why it will die when the exchange in flight is over
	fated    chan struct{}
	kind     error // why it is dead, nil while it lives
	cause    error
	hint     string
	ended    chan struct{} // closed when dead
}

var _ reader.Card = (*card)(nil)

func newCard(s *slot, ses session, h handle, count uint32) *card {
	c := &card{slot: s, session: ses, handle: h, count: count, answer: h.atr(), protocol: reader.T1,
		turn: make(chan struct{}, 1), cleaned: make(chan struct{}), fated: make(chan struct{}), ended: make(chan struct{})}
	if h.t0() {
		c.protocol = reader.T0
	}
	c.outer = exchange{c}
	if !s.service.opt.Raw {
		c.outer = reader.Complete(c.outer, c.protocol)
	}
	return c
}

// ATR implements reader.Card.
func (c *card) ATR() []byte { return bytes.Clone(c.answer) }

// Protocol implements reader.Card.
func (c *card) Protocol() reader.Protocol { return c.protocol }

// Count implements reader.Card.
func (c *card) Count() uint32 { return c.count }

// Transmit implements reader.Card. A ctx that is over before anything is sent
// gives an error whose kind is ctx's, and the card lives on.
func (c *card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.ended:
		return nil, c.err(false)
	case <-ctx.Done():
		return nil, c.slot.errorf("transmit", ctx.Err(), nil, "")
	}
	return c.outer.Transmit(ctx, command)
}

// exchange is one command and its answer, bytes as they are.
type exchange struct{ *card }

func (c exchange) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 { // an empty one makes the library panic
		return nil, apdu.ErrCommandMalformed
	}
	if err := ctx.Err(); err != nil {
		return nil, c.slot.errorf("transmit", err, nil, "")
	}
	c.mu.Lock()
	if c.kind != nil {
		c.mu.Unlock()
		return nil, c.err(false)
	}
	c.inflight = true
	c.mu.Unlock()

	type answer struct {
		response []byte
		err      error
	}
	got := make(chan answer, 1) // what comes late stays in it, unread
	sent := bytes.Clone(command)
	go func() {
		r, err := c.handle.transmit(sent)
		clear(sent) // it may have held a PIN
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inflight = false
		got <- answer{r, err} // before the card may end, so that a good answer is not lost
		if c.kind != nil {
			go c.clean()
		} else if c.fate != nil {
			c.end(c.fate, nil, "")
		}
	}()
	timer := time.NewTimer(c.slot.service.opt.Deadline)
	defer timer.Stop()
	select {
	case a := <-got:
		return c.took(a.response, a.err)
	case <-c.ended: // closed by us, or answered and then pulled
		select {
		case a := <-got:
			return c.took(a.response, a.err)
		default:
		}
	case <-timer.C:
		c.expire(nil)
	case <-ctx.Done():
		c.expire(ctx.Err())
	}
	return nil, c.err(true)
}

func (c *card) took(response []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, c.failed(err)
	}
	if len(response) < 2 {
		return nil, c.failed(apdu.ErrResponseShort) // some drivers say so when the card is pulled
	}
	return response, nil
}

// failed gives the error for what the service said, and ends the card: after
// any failure its state is unknown, and another card may be in its place.
func (c *card) failed(err error) error {
	kind, hint := explain(err, reader.ErrGarbled)
	if kind == reader.ErrGarbled || kind == reader.ErrMute {
		// Pulled, or a bad contact? Either way it may have executed; wait a
		// little to tell the right story.
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-c.fated:
		case <-c.ended:
		case <-timer.C:
		}
	}
	c.mu.Lock()
	if c.fate != nil && kind != reader.ErrReset {
		kind = c.fate
		hint = ""
	}
	c.mu.Unlock()
	if kind == reader.ErrNoCard {
		kind = reader.ErrRemoved
	}
	c.dieOf(kind, err, hint)
	return c.err(kind != reader.ErrReset) // a reset is reported before the command is sent
}

// expire ends a card whose exchange took too long.
func (c *card) expire(cause error) {
	c.mu.Lock()
	kind := c.fate
	c.mu.Unlock()
	if kind == nil {
		kind = reader.ErrDeadline
	}
	c.dieOf(kind, cause, meanings[codeTimeout].hint)
}

// leaves is the watcher's word that the card, or its reader, is gone. An
// exchange in flight may still end by itself, even well. The slot's mu is
// held.
func (c *card) leaves(kind, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fate == nil {
		c.fate = kind
		close(c.fated)
	}
	if !c.inflight {
		c.end(kind, cause, "")
	}
}

func (c *card) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kind != nil
}

// dieOf ends the card; only the first reason counts.
func (c *card) dieOf(kind, cause error, hint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(kind, cause, hint)
}

// end is called with mu held.
func (c *card) end(kind, cause error, hint string) {
	if c.kind != nil {
		return
	}
	c.kind, c.cause, c.hint = kind, cause, hint
	close(c.ended)
	if !c.inflight {
		go c.clean()
	}
}

// clean gives handle and context back. It runs once, and never while the
// handle is in an exchange.
func (c *card) clean() {
	c.mu.Lock()
	kind := c.kind
	c.mu.Unlock()
	// Power is not taken from a card that left: another may be in its place.
	c.handle.disconnect(kind != reader.ErrRemoved && kind != reader.ErrLost && kind != reader.ErrReset)
	c.session.release()
	close(c.cleaned)
}

func (c *card) err(executed bool) error {
	c.mu.Lock()
	e := c.slot.errorf("transmit", c.kind, c.cause, c.hint)
	c.mu.Unlock()
	e.Executed = executed
	return e
}

// Close implements reader.Card.
func (c *card) Close() error {
	c.dieOf(reader.ErrClosed, nil, "")
	c.mu.Lock()
	stuck := c.inflight
	c.mu.Unlock()
	if stuck {
		return nil // the goroutine of the exchange cleans up, whenever it ends
	}
	timer := time.NewTimer(c.slot.service.opt.Deadline)
	defer timer.Stop()
	select {
	case <-c.cleaned:
	case <-timer.C:
	}
	return nil
}
