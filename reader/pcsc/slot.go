package pcsc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/internal/feed"
)

// slot is one reader, found by name or fragment.
//
// Locks are taken in the order service, hub, slot, card.
type slot struct {
	service  *Service
	name     string // what Name says, for ever
	fragment string
	feed     feed.Feed

	mu      sync.Mutex
	bound   string // the reader it stands for now; "" when none was ever found
	offset  uint32 // added to the reader's count so that ours never runs back
	last    reader.Event
	open    *card         // alive, or nil
	former  *card         // the one before, whose clean-up may be under way
	pending chan struct{} // closed when the connect under way has returned
	closed  bool
}

var _ reader.Slot = (*slot)(nil)

// Name implements reader.Slot.
func (s *slot) Name() string { return s.name }

// Events implements reader.Slot.
func (s *slot) Events(ctx context.Context) <-chan reader.Event { return s.feed.Subscribe(ctx) }

// observe takes the news from the hub, whose mu is held.
func (s *slot) observe(h *hub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	k := h.known[s.bound]
	if k == nil || !k.there {
		name, err := reader.Match(s.fragment, h.names())
		switch {
		case err == nil:
			if name != s.bound {
				s.bound = name
				s.offset = 0
				if !s.last.At.IsZero() { // another reader: whatever was in the old one is gone
					s.offset = s.last.Count + 2 - h.known[name].status.count
				}
			}
			k = h.known[name]
		case h.down != nil:
			s.news(status{state: reader.StateLost, count: s.last.Count, cause: h.down, at: time.Now()})
			return
		case k == nil:
			s.news(status{state: reader.StateLost, count: s.last.Count, cause: err, at: time.Now()})
			return
		}
	}
	st := k.status
	st.count += s.offset
	if st.state == reader.StateLost && h.down != nil {
		st.cause = h.down // it says more than what was first seen to fail
	}
	s.news(st)
}

// news publishes a change and ends the card that it concerns.
func (s *slot) news(st status) {
	e := reader.Event{Slot: s.name, State: st.state, ATR: st.atr, Count: st.count, At: st.at, Cause: st.cause}
	if !s.last.At.IsZero() && e.State == s.last.State && e.Count == s.last.Count {
		s.last.Cause = e.Cause
		return // use by another program, power saving and the like are not ours to tell
	}
	s.last = e
	s.feed.Publish(e)
	if s.open == nil {
		return
	}
	switch {
	case e.State == reader.StateLost:
		s.open.leaves(reader.ErrLost, e.Cause)
	case e.Count != s.open.count:
		s.open.leaves(reader.ErrRemoved, nil)
	}
}

func (s *slot) errorf(op string, kind, cause error, hint string) *reader.Error {
	return &reader.Error{Slot: s.name, Op: op, Kind: kind, Cause: cause, Hint: hint}
}

// Open implements reader.Slot. A ctx that ends first gives an error whose
// kind is ctx's.
func (s *slot) Open(ctx context.Context) (reader.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.errorf("open", err, nil, "")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(s.service.opt.Deadline, func() { cancel(errSlow) })
	defer timer.Stop()

	s.mu.Lock()
	if err := s.openable(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	former, pending, at := s.former, s.pending, s.last
	s.mu.Unlock()

	// The same insertion as before: its old handle must be gone first, or its
	// late power-down would reset the new card.
	if former != nil && former.count == at.Count {
		if err := s.await(ctx, former.cleaned); err != nil {
			return nil, err
		}
	}
	// A connect that hangs is never doubled.
	if pending != nil {
		if err := s.await(ctx, pending); err != nil {
			return nil, err
		}
	}

	s.mu.Lock()
	if err := s.openable(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	if s.pending != pending {
		s.mu.Unlock()
		return nil, s.errorf("open", reader.ErrBusy, errors.New("being opened already"), "")
	}
	at, bound := s.last, s.bound
	mine := make(chan struct{})
	s.pending = mine
	s.mu.Unlock()

	type answer struct {
		session session
		handle  handle
		err     error
	}
	got := make(chan answer)
	go func() {
		defer close(mine)
		var a answer
		a.session, a.err = s.service.hub.drv.establish()
		if a.err == nil {
			a.handle, a.err = a.session.connect(bound, s.service.opt.Exclusive)
			if a.err != nil {
				a.session.release()
			}
		}
		select {
		case got <- a:
		case <-ctx.Done(): // nobody waits any more
			if a.err == nil {
				a.handle.disconnect(true)
				a.session.release()
			}
		}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		return nil, s.ended(ctx)
	}
	<-mine
	if a.err != nil {
		kind, hint := explain(a.err, reader.ErrLost)
		switch kind {
		case reader.ErrRemoved:
			kind = reader.ErrNoCard
		case reader.ErrReset, reader.ErrGarbled, reader.ErrDeadline:
			kind = reader.ErrMute
		}
		return nil, s.errorf("open", kind, a.err, hint)
	}
	c := newCard(s, a.session, a.handle, at.Count)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openable(); err != nil || s.last.Count != at.Count {
		// The card that was connected may be the old one or the new one.
		c.dieOf(reader.ErrClosed, nil, "")
		if err == nil {
			err = s.errorf("open", reader.ErrNoCard, nil, "the card was moved while it was opened; open it again")
		}
		return nil, err
	}
	s.open = c
	return c, nil
}

// errSlow is the cause of a context that our own deadline ended.
var errSlow = errors.New("no answer in time")

func (s *slot) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return s.ended(ctx)
	}
}

// ended is what Open says when it can't wait any longer. Nothing was sent to
// the card; that PC/SC hangs in a connect means that somebody else is in an
// exchange, for as long as that lasts (readers.md section 0, finding 4).
func (s *slot) ended(ctx context.Context) error {
	if context.Cause(ctx) != errSlow {
		return s.errorf("open", ctx.Err(), nil, "")
	}
	return s.errorf("open", reader.ErrBusy, errSlow,
		"another program, or an earlier exchange, still occupies the reader; take the card out and put it in again")
}

// openable is called with mu held.
func (s *slot) openable() error {
	if s.open != nil && s.open.isDead() {
		s.former, s.open = s.open, nil
	}
	switch {
	case s.closed:
		return s.errorf("open", reader.ErrClosed, nil, "")
	case s.open != nil:
		return s.errorf("open", reader.ErrBusy, errors.New("opened already"), "")
	case s.last.State == reader.StateEmpty:
		return s.errorf("open", reader.ErrNoCard, nil, meanings[codeNoSmartcard].hint)
	case s.last.State == reader.StateCard, s.last.State == reader.StateMute: // connecting powers a mute card once more
		return nil
	}
	_, hint := explain(s.last.Cause, nil)
	return s.errorf("open", reader.ErrLost, s.last.Cause, hint)
}

// Close implements reader.Slot.
func (s *slot) Close() error {
	v := s.service
	v.mu.Lock()
	delete(v.slots, s)
	v.mu.Unlock()
	v.hub.mu.Lock()
	delete(v.hub.slots, s)
	v.hub.mu.Unlock()
	s.mu.Lock()
	s.closed = true
	c := s.open
	s.mu.Unlock()
	s.feed.Close()
	if c != nil {
		return c.Close()
	}
	return nil
}
