package fault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/internal/feed"
)

// ErrPlanned is the cause of every error that a plan made around a slot.
var ErrPlanned = errors.New("fault: as planned")

// Slot is a reader.Slot with a plan around it. After a tear it says that it
// is empty, until PutBack.
type Slot struct {
	// Deadline is how long a muted card stays silent; zero means 5 s. It may
	// be changed until the slot is first opened.
	Deadline time.Duration

	inner  reader.Slot
	plan   *Plan
	feed   feed.Feed
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	last  reader.Event // of the inner slot
	extra uint32       // insertions and removals that only the plan made
	out   bool
}

var _ reader.Slot = (*Slot)(nil)

// NewSlot puts a plan around a slot, whose only user it is from then on.
func NewSlot(s reader.Slot, p *Plan) *Slot {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Slot{inner: s, plan: p, cancel: cancel, done: make(chan struct{})}
	events := s.Events(ctx)
	if e, ok := <-events; ok {
		w.last = e
		w.feed.Publish(e)
	}
	go func() {
		defer close(w.done)
		for e := range events {
			w.mu.Lock()
			w.last = e
			if !w.out {
				w.publish()
			}
			w.mu.Unlock()
		}
	}()
	return w
}

// publish tells the inner slot's state with the plan's insertions and
// removals counted. mu is held.
func (s *Slot) publish() {
	e := s.last
	e.Count += s.extra
	if s.out {
		e.State, e.ATR, e.Cause, e.At = reader.StateEmpty, nil, nil, time.Now()
	}
	s.feed.Publish(e)
}

// PutBack puts the card in again after a tear.
func (s *Slot) PutBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out {
		s.out = false
		s.extra++
		s.publish()
	}
}

// Name implements reader.Slot.
func (s *Slot) Name() string { return s.inner.Name() }

// Events implements reader.Slot.
func (s *Slot) Events(ctx context.Context) <-chan reader.Event { return s.feed.Subscribe(ctx) }

// Open implements reader.Slot.
func (s *Slot) Open(ctx context.Context) (reader.Card, error) {
	s.mu.Lock()
	out := s.out
	s.mu.Unlock()
	if out {
		return nil, &reader.Error{Slot: s.Name(), Op: "open", Kind: reader.ErrNoCard, Cause: ErrPlanned}
	}
	inner, err := s.inner.Open(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &card{Card: inner, slot: s, count: inner.Count() + s.extra}, nil
}

// Close implements reader.Slot.
func (s *Slot) Close() error {
	err := s.inner.Close()
	s.cancel()
	<-s.done
	s.feed.Close()
	return err
}

type card struct {
	reader.Card
	slot  *Slot
	count uint32

	turn sync.Mutex // one exchange at a time, as below
	mu   sync.Mutex
	dead error // the kind, nil while the plan has not killed it
}

// Count implements reader.Card.
func (c *card) Count() uint32 { return c.count }

// Transmit implements reader.Card.
func (c *card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead != nil {
		return nil, c.fail(dead, false)
	}
	f := c.slot.plan.meet(command)
	if f == nil {
		return c.Card.Transmit(ctx, command)
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	switch executed := f.Executed; f.Kind {
	case Garbage:
		if _, err := c.Card.Transmit(ctx, command); err != nil {
			return nil, err
		}
		return f.Answer, nil
	case Mute:
		if executed {
			c.Card.Transmit(ctx, command)
		}
		d := c.slot.Deadline
		if d <= 0 {
			d = 5 * time.Second
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		c.kill(reader.ErrDeadline)
		return nil, c.fail(reader.ErrDeadline, true)
	case TearAfter:
		executed = true
		fallthrough
	case TearDuring:
		if executed {
			c.Card.Transmit(ctx, command)
		}
	}
	c.kill(reader.ErrRemoved)
	s := c.slot
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Kind == Swap {
		s.extra += 2
	} else {
		s.out = true
		s.extra++
	}
	s.publish()
	// The terminal can't know what the card saw, whatever we know.
	return nil, c.fail(reader.ErrRemoved, true)
}

// kill ends the card and takes its power.
func (c *card) kill(kind error) {
	c.mu.Lock()
	c.dead = kind
	c.mu.Unlock()
	c.Card.Close()
}

func (c *card) fail(kind error, executed bool) error {
	return &reader.Error{Slot: c.slot.Name(), Op: "transmit", Kind: kind, Executed: executed, Cause: ErrPlanned}
}
