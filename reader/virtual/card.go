package virtual

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

// card is one opening of a chip.
type card struct {
	slot     *Slot
	seat     *seat
	count    uint32
	atr      []byte
	protocol reader.Protocol
	complete apdu.Transmitter // over exchange
	turn     chan struct{}    // capacity 1; held during an exchange

	mu    sync.Mutex
	kind  error // why it is dead, nil while it lives
	cause error
	dead  chan struct{}
}

// ATR implements reader.Card.
func (c *card) ATR() []byte { return clone(c.atr) }

// Protocol implements reader.Card.
func (c *card) Protocol() reader.Protocol { return c.protocol }

// Count implements reader.Card.
func (c *card) Count() uint32 { return c.count }

// Transmit implements reader.Card.
func (c *card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.dead:
		return nil, c.err(false)
	case <-ctx.Done():
		return nil, c.slot.errorf("transmit", ctx.Err(), nil)
	}
	return c.complete.Transmit(ctx, command)
}

// exchange is one command to the chip and its answer, without completion.
type exchange struct{ *card }

func (c exchange) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	select {
	case <-c.dead:
		return nil, c.err(false)
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, c.slot.errorf("transmit", err, nil)
	}
	if len(command) < 4 {
		return nil, apdu.ErrCommandMalformed
	}
	command = clone(command)
	done := make(chan []byte, 1)
	go func() {
		<-c.seat.lock
		select {
		case <-c.dead: // gone before it could be sent
			c.seat.lock <- struct{}{}
			return
		default:
		}
		response, err := transmit(c.seat.chip, command)
		c.seat.lock <- struct{}{}
		var swapped *Swapped
		switch {
		case err == nil:
			done <- clone(response)
		case errors.Is(err, ErrGone):
			c.slot.depart(c.seat, nil)
		case errors.As(err, &swapped):
			c.slot.depart(c.seat, swapped.To)
		}
		// Any other error is silence: the deadline will tell.
	}()
	timer := time.NewTimer(c.slot.deadline())
	defer timer.Stop()
	select {
	case r := <-done:
		if len(r) < 2 {
			// The chip acted and is alive, but what it said is no response.
			e := c.slot.errorf("transmit", reader.ErrGarbled, apdu.ErrResponseShort)
			e.Executed = true
			return nil, e
		}
		return r, nil
	case <-c.dead:
	case <-timer.C:
		c.slot.release(c.card, reader.ErrDeadline, nil)
	case <-ctx.Done():
		c.slot.release(c.card, reader.ErrDeadline, ctx.Err())
	}
	return nil, c.err(true)
}

// die ends the card; only the first reason counts.
func (c *card) die(kind, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind == nil {
		c.kind, c.cause = kind, cause
		close(c.dead)
	}
}

func (c *card) err(executed bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.slot.errorf("transmit", c.kind, c.cause)
	e.Executed = executed && !errors.Is(c.kind, reader.ErrReset)
	return e
}

// Close implements reader.Card.
func (c *card) Close() error {
	c.slot.release(c, reader.ErrClosed, nil)
	return nil
}
