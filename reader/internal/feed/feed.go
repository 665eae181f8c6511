// Package feed hands the events of one slot to any number of subscribers,
// each at its own pace. It is what every backend's Events is made of.
//
// It may import reader only, and must never make a backend wait for a
// subscriber.
package feed

import (
	"context"
	"slices"
	"sync"

	"github.com/dianka/dianka/reader"
)

// depth is how many events a subscriber may lag before later ones are folded
// into the last: enough for a person playing with a card, and bounded.
const depth = 32

// Feed is the current state of a slot and its subscribers. The zero value is
// a slot whose state is not known yet.
type Feed struct {
	mu     sync.Mutex
	last   reader.Event
	subs   map[*sub]struct{}
	closed bool
}

type sub struct {
	queue []reader.Event
	wake  chan struct{} // capacity 1
	done  chan struct{} // closed by Feed.Close
	out   chan reader.Event
}

// Publish makes e the current state and gives it to every subscriber.
func (f *Feed) Publish(e reader.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.last = e
	for s := range f.subs {
		if len(s.queue) >= depth {
			s.queue[depth-1] = e
		} else {
			s.queue = append(s.queue, e)
		}
		s.poke()
	}
}

func (s *sub) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Last is the current state.
func (f *Feed) Last() reader.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Subscribe is reader.Slot.Events.
func (f *Feed) Subscribe(ctx context.Context) <-chan reader.Event {
	s := &sub{wake: make(chan struct{}, 1), done: make(chan struct{}), out: make(chan reader.Event)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(s.out)
		return s.out
	}
	if f.subs == nil {
		f.subs = make(map[*sub]struct{})
	}
	f.subs[s] = struct{}{}
	s.queue = append(s.queue, f.last)
	s.poke()
	go f.pump(ctx, s)
	return s.out
}

func (f *Feed) pump(ctx context.Context, s *sub) {
	defer close(s.out)
	for {
		f.mu.Lock()
		var e reader.Event
		have := len(s.queue) > 0
		if have {
			e, s.queue = s.queue[0], s.queue[1:]
		}
		f.mu.Unlock()
		out, wake := s.out, s.wake
		if have {
			e.ATR = slices.Clone(e.ATR) // a subscriber may do with it what it likes
			wake = nil                  // first deliver what we hold
		} else {
			out = nil
		}
		select {
		case out <- e:
		case <-wake:
		case <-s.done:
			return
		case <-ctx.Done():
			f.mu.Lock()
			delete(f.subs, s)
			f.mu.Unlock()
			return
		}
	}
}

// Close ends every subscription.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		delete(f.subs, s)
		close(s.done)
	}
}
