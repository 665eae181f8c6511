package twin

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/internal/feed"
	"github.com/dianka/dianka/reader/t1"
)

// slot is one slot of a reader.
//
// Locks are taken in the order service, unit, slot, card.
type slot struct {
	service *Service
	unit    *unit
	n       int
	name    string
	feed    feed.Feed

	mu     sync.Mutex
	last   reader.Event
	open   *card // alive, or being opened, or nil
	off    bool  // power is to be taken from the card
	closed bool

	known chan struct{} // closed with the first news

	// Of the unit's goroutine only.
	present bool
	powered bool
	fresh   bool      // present, and its answer to reset not told yet
	voltage byte      // that this card answered at; 0: none yet
	heard   time.Time // when the reader last said what is in
}

var _ reader.Slot = (*slot)(nil)

func newSlot(s *Service, u *unit, n int, name string) *slot {
	sl := &slot{service: s, unit: u, n: n, name: name, last: reader.Event{Slot: name}, known: make(chan struct{})}
	sl.feed.Publish(sl.last)
	return sl
}

// Name implements reader.Slot.
func (s *slot) Name() string { return s.name }

// Events implements reader.Slot.
func (s *slot) Events(ctx context.Context) <-chan reader.Event { return s.feed.Subscribe(ctx) }

// news publishes a change. Of the unit's goroutine.
func (s *slot) news(state reader.State, atr []byte, cause error, steps uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.State == reader.StateUnknown {
		close(s.known)
	}
	s.last.Count += steps
	s.last.State, s.last.ATR, s.last.Cause, s.last.At = state, atr, cause, time.Now()
	s.feed.Publish(s.last)
}

func (s *slot) errorf(op string, kind, cause error) *reader.Error {
	return &reader.Error{Slot: s.name, Op: op, Kind: kind, Cause: cause, Hint: hint(cause)}
}

// Explain makes what went wrong with a line into an error of a reader, with
// what a person can do next.
func Explain(name, op string, cause error) *reader.Error {
	kind := reader.ErrLost
	if errors.Is(cause, line.ErrInUse) {
		kind = reader.ErrBusy
	}
	return &reader.Error{Slot: name, Op: op, Kind: kind, Cause: cause, Hint: hint(cause)}
}

func hint(cause error) string {
	switch {
	case errors.Is(cause, line.ErrInUse):
		return "another program, perhaps pcscd, holds the line; stop it, or use the reader through PC/SC"
	case errors.Is(cause, fs.ErrNotExist):
		return "there is no such line; check the cable, and the name"
	case errors.Is(cause, fs.ErrPermission):
		return "this user may not use the line; add it to the group that owns it (dialout)"
	case errors.Is(cause, ErrNoReader), errors.Is(cause, ErrSilent):
		return "check that the reader is plugged in, has power, and is of this model; cardtool reader test tells what answers"
	}
	return ""
}

// Open implements reader.Slot. A ctx that ends first gives an error whose kind
// is ctx's.
func (s *slot) Open(ctx context.Context) (reader.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.errorf("open", err, nil)
	}
	s.mu.Lock()
	if err := s.openable(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	c := &card{slot: s, count: s.last.Count, turn: make(chan struct{}, 1), dead: make(chan struct{}), timer: time.NewTimer(time.Hour)}
	c.job = job{card: c, opening: true, done: make(chan struct{}, 1)}
	s.open = c
	s.mu.Unlock()

	fail := func(kind, cause error) (reader.Card, error) {
		s.release(c, kind, cause)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.kind == reader.ErrRemoved {
			return nil, s.errorf("open", reader.ErrNoCard, errors.New("the card was moved while it was opened"))
		}
		return nil, s.errorf("open", c.kind, c.cause) // the reason that came first
	}
	c.job.deadline = time.Now().Add(s.service.o.Deadline)
	c.timer.Reset(s.service.o.Deadline)
	defer c.timer.Stop()
	jobs := s.unit.jobs
	for {
		select {
		case jobs <- &c.job:
			jobs = nil
		case <-c.job.done:
			if e := c.job.err; e != nil {
				return fail(e.Kind, e.Cause)
			}
			c.job.opening = false
			c.outer = exchange{c}
			if !s.service.o.Raw {
				c.outer = reader.Complete(c.outer, c.protocol)
			}
			return c, nil
		case <-c.dead:
			return fail(reader.ErrRemoved, nil)
		case <-c.timer.C:
			return fail(reader.ErrMute, errors.New("no answer in time"))
		case <-ctx.Done():
			return fail(ctx.Err(), nil)
		}
	}
}

// openable is called with mu held.
func (s *slot) openable() error {
	switch {
	case s.closed:
		return s.errorf("open", reader.ErrClosed, nil)
	case s.open != nil:
		return s.errorf("open", reader.ErrBusy, errors.New("opened already"))
	case s.last.State == reader.StateEmpty:
		return s.errorf("open", reader.ErrNoCard, nil)
	case s.last.State == reader.StateCard, s.last.State == reader.StateMute: // a mute one is powered once more
		return nil
	}
	return s.errorf("open", reader.ErrLost, s.last.Cause)
}

// release ends a card, and has power taken from it.
func (s *slot) release(c *card, kind, cause error) {
	s.mu.Lock()
	c.die(kind, cause)
	if s.open == c {
		s.open, s.off = nil, true
	}
	s.mu.Unlock()
	s.unit.poke()
}

// Close implements reader.Slot.
func (s *slot) Close() error {
	s.mu.Lock()
	closed, c := s.closed, s.open
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	if c != nil {
		s.release(c, reader.ErrClosed, nil)
	}
	s.feed.Close()
	s.service.release(s)
	return nil
}

// job is what a card wants of the reader. Each card has one, which the unit
// uses until it has sent on done; a card that ends before never uses it again.
type job struct {
	card     *card
	opening  bool
	command  []byte
	deadline time.Time
	answer   []byte
	err      *reader.Error
	done     chan struct{}
}

// card is one opening of a card.
type card struct {
	slot     *slot
	count    uint32
	atr      []byte
	protocol reader.Protocol
	outer    apdu.Transmitter // over exchange
	turn     chan struct{}    // capacity 1; held during a Transmit
	timer    *time.Timer
	job      job
	link     *t1.Link      // T=1; of the unit's goroutine
	wait     time.Duration // that the reader may take for an exchange

	mu    sync.Mutex
	kind  error // why it is dead, nil while it lives
	cause error
	dead  chan struct{}
}

// ATR implements reader.Card.
func (c *card) ATR() []byte { return bytes.Clone(c.atr) }

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
	case <-c.dead:
		return nil, c.err(false)
	case <-ctx.Done():
		return nil, c.slot.errorf("transmit", ctx.Err(), nil)
	}
	return c.outer.Transmit(ctx, command)
}

// exchange is one command and its answer, without completion.
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
	j := &c.job
	j.command = append(j.command[:0], command...)
	j.deadline = time.Now().Add(c.slot.service.o.Deadline)
	c.timer.Reset(c.slot.service.o.Deadline)
	defer c.timer.Stop()
	sent := false
	jobs := c.slot.unit.jobs
	for {
		select {
		case jobs <- j:
			sent, jobs = true, nil
		case <-j.done:
			return c.took(j)
		case <-c.dead:
			select {
			case <-j.done: // answered, and then pulled
				return c.took(j)
			default:
			}
			return nil, c.err(sent)
		case <-c.timer.C:
			c.slot.release(c.card, reader.ErrDeadline, nil)
			return nil, c.err(sent)
		case <-ctx.Done():
			if !sent {
				return nil, c.slot.errorf("transmit", ctx.Err(), nil)
			}
			c.slot.release(c.card, reader.ErrDeadline, ctx.Err())
			return nil, c.err(true)
		}
	}
}

func (c *card) took(j *job) ([]byte, error) {
	switch {
	case j.err != nil && errors.Is(j.err, line.ErrStopped): // by the card's end
		return nil, c.err(j.err.Executed)
	case j.err != nil:
		return nil, j.err
	}
	return bytes.Clone(j.answer), nil
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
	e.Executed = executed
	return e
}

// Close implements reader.Card.
func (c *card) Close() error {
	c.slot.release(c, reader.ErrClosed, nil)
	return nil
}
