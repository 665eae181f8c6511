// Package virtual is a slot without a reader: whatever answers APDUs in this
// process can be put into it and pulled out of it by calls. Tests, the desk
// of kioskd --sim and fault injection stand on it; to the rest of the product
// it is a slot like any other.
//
// It may import apdu and reader, and must never import a simulator: what is
// in the slot is known to it as a Chip only.
package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/internal/feed"
)

// DefaultDeadline is how long an exchange may take when Slot.Deadline is
// zero: as long as a person at a counter will wait.
const DefaultDeadline = 5 * time.Second

// Chip is an integrated circuit card as its reader sees it. It must be
// comparable (a pointer). A slot never calls a chip from two goroutines at
// once.
type Chip interface {
	// PowerOn resets the chip and gives its answer to reset. An error means
	// that it stays mute. It may be called when power is on: a warm reset.
	PowerOn() (atr []byte, err error)
	// PowerOff takes power away; what is not durable in the chip is gone.
	PowerOff()
	// Transmit gives the answer to one command, bytes as they are. ErrGone
	// means that the chip left its reader during the command, a *Swapped
	// that another one is in its place, and ErrNoAnswer, like every other
	// error, that it says nothing, until the reader's patience ends.
	Transmit(command []byte) (response []byte, err error)
}

// What a Chip's Transmit may say instead of answering.
var (
	ErrGone     = errors.New("virtual: the chip left its reader")
	ErrNoAnswer = errors.New("virtual: the chip does not answer")
)

// Swapped says that the chip was taken out and To put in, faster than the
// reader could see.
type Swapped struct{ To Chip }

// Error implements error.
func (*Swapped) Error() string { return "virtual: the chip was swapped" }

// Slot is a reader.Slot whose card is a Chip.
type Slot struct {
	// Deadline of one exchange; zero means DefaultDeadline. It may be
	// changed until the slot is first used.
	Deadline time.Duration
	// Raw makes Card.Transmit pass bytes as they are: no T=0 shaping, no
	// GET RESPONSE, no 6Cxx. It may be changed until the slot is first used.
	Raw bool

	name string
	feed feed.Feed

	mu     sync.Mutex
	seat   *seat // nil when empty
	lost   error // not nil while the reader is gone
	count  uint32
	open   *card
	closed bool
	locks  map[Chip]chan struct{} // see lock
}

// seat is one stay of a chip in the slot.
type seat struct {
	chip Chip
	atr  []byte
	mute error
	lock chan struct{} // holds one token; whoever has it may call the chip
	left bool          // no longer in the slot; under Slot.mu
}

var _ reader.Slot = (*Slot)(nil)

// New gives an empty slot. The name is what Slot.Name says, for example
// "sim:desk".
func New(name string) *Slot {
	s := &Slot{name: name, locks: make(map[Chip]chan struct{})}
	s.publish()
	return s
}

// Name implements reader.Slot.
func (s *Slot) Name() string { return s.name }

// Events implements reader.Slot.
func (s *Slot) Events(ctx context.Context) <-chan reader.Event { return s.feed.Subscribe(ctx) }

// Insert puts a chip in, after taking out the one that may be there. Like a
// reader it resets the chip once, to learn its answer to reset; it waits for
// an exchange that this same chip still has in flight from before.
func (s *Slot) Insert(c Chip) {
	n := s.prepare(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave(reader.ErrRemoved, nil) {
		s.publish()
	}
	s.enter(n)
	s.publish()
}

// Remove takes the chip out. A command in flight ends with ErrRemoved.
func (s *Slot) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave(reader.ErrRemoved, nil) {
		s.publish()
	}
}

// Swap takes the chip out and puts another (or the same) in, unseen: there is
// one event whose Count is two higher.
func (s *Slot) Swap(c Chip) {
	n := s.prepare(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(reader.ErrRemoved, nil)
	s.enter(n)
	s.publish()
}

// Lose makes the reader vanish, with the chip in it, because of cause.
func (s *Slot) Lose(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return
	}
	if cause == nil {
		cause = errors.New("unplugged")
	}
	s.lost = cause
	s.kill(reader.ErrLost, cause)
	if s.seat != nil {
		s.powerOff(s.seat)
		s.count++
	}
	s.publish()
}

// Restore brings the reader back, with the chip that was left in it.
func (s *Slot) Restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		return
	}
	s.lost = nil
	if s.seat != nil {
		s.count++
	}
	s.publish()
}

// prepare resets a chip once, outside the slot's lock, since a chip may take
// its time.
func (s *Slot) prepare(c Chip) *seat {
	s.mu.Lock()
	lock := s.locks[c]
	if lock == nil {
		lock = make(chan struct{}, 1)
		lock <- struct{}{}
		s.locks[c] = lock
	}
	s.mu.Unlock()
	n := &seat{chip: c, lock: lock}
	<-lock
	n.atr, n.mute = powerOn(c)
	c.PowerOff()
	lock <- struct{}{}
	return n
}

// enter, leave, kill and publish are called with mu held.

func (s *Slot) enter(n *seat) {
	s.seat = n
	s.locks[n.chip] = n.lock
	if s.lost == nil {
		s.count++
	}
}

func (s *Slot) leave(kind, cause error) bool {
	if s.seat == nil {
		return false
	}
	old := s.seat
	s.seat = nil
	if s.lost == nil {
		s.count++
	}
	old.left = true
	s.kill(kind, cause)
	s.powerOff(old)
	return true
}

func (s *Slot) kill(kind, cause error) {
	if s.open != nil {
		s.open.die(kind, cause)
		s.open = nil
	}
}

// powerOff takes power from a chip: at once, or when its exchange in flight
// is over, because a chip is called by one goroutine at a time.
func (s *Slot) powerOff(st *seat) {
	select {
	case <-st.lock:
		st.chip.PowerOff()
		st.lock <- struct{}{}
		if st.left {
			delete(s.locks, st.chip)
		}
	default:
		go func() {
			<-st.lock
			s.mu.Lock()
			again := s.seat != nil && s.seat != st && s.seat.chip == st.chip
			reopened := s.open != nil && s.open.seat == st
			if !again && !reopened { // else it has been, or will be, reset since
				st.chip.PowerOff()
			}
			if st.left && !again {
				delete(s.locks, st.chip)
			}
			s.mu.Unlock()
			st.lock <- struct{}{}
		}()
	}
}

func (s *Slot) publish() {
	e := reader.Event{Slot: s.name, Count: s.count, At: time.Now()}
	switch {
	case s.lost != nil:
		e.State, e.Cause = reader.StateLost, s.lost
	case s.seat == nil:
		e.State = reader.StateEmpty
	case s.seat.mute != nil:
		e.State, e.Cause = reader.StateMute, s.seat.mute
	default:
		e.State, e.ATR = reader.StateCard, s.seat.atr
	}
	s.feed.Publish(e)
}

// Close implements reader.Slot.
func (s *Slot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.leave(reader.ErrClosed, nil)
	s.feed.Close()
	return nil
}

func (s *Slot) deadline() time.Duration {
	if s.Deadline > 0 {
		return s.Deadline
	}
	return DefaultDeadline
}

func (s *Slot) errorf(op string, kind, cause error) *reader.Error {
	return &reader.Error{Slot: s.name, Op: op, Kind: kind, Cause: cause}
}

// Open implements reader.Slot. A ctx that ends first gives an error whose
// kind is ctx's.
func (s *Slot) Open(ctx context.Context) (reader.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.errorf("open", err, nil)
	}
	s.mu.Lock()
	if err := s.openable(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	st := s.seat
	c := &card{slot: s, seat: st, count: s.count, atr: st.atr, dead: make(chan struct{}), turn: make(chan struct{}, 1)}
	s.open = c // reserved while the chip resets
	s.mu.Unlock()

	type answer struct {
		atr []byte
		err error
	}
	done := make(chan answer, 1)
	go func() {
		<-st.lock
		atr, err := powerOn(st.chip)
		select {
		case <-c.dead: // nobody waits any more
			st.chip.PowerOff()
		default:
		}
		st.lock <- struct{}{}
		done <- answer{atr, err}
	}()
	timer := time.NewTimer(s.deadline())
	defer timer.Stop()
	fail := func(kind, cause error) (reader.Card, error) {
		s.release(c, kind, cause)
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, s.errorf("open", c.kind, c.cause) // the reason that came first
	}
	select {
	case a := <-done:
		if a.err != nil {
			return fail(reader.ErrMute, a.err)
		}
		c.atr = a.atr
	case <-c.dead:
		return fail(reader.ErrRemoved, nil)
	case <-timer.C:
		return fail(reader.ErrMute, errors.New("no answer to reset in time"))
	case <-ctx.Done():
		return fail(ctx.Err(), nil)
	}
	select {
	case <-c.dead:
		return fail(reader.ErrRemoved, nil)
	default:
	}
	c.protocol = reader.OfferedProtocol(c.atr)
	c.complete = exchange{c}
	if !s.Raw {
		c.complete = reader.Complete(c.complete, c.protocol)
	}
	return c, nil
}

func (s *Slot) openable() error {
	switch {
	case s.closed:
		return s.errorf("open", reader.ErrClosed, nil)
	case s.lost != nil:
		return s.errorf("open", reader.ErrLost, s.lost)
	case s.seat == nil:
		return s.errorf("open", reader.ErrNoCard, nil)
	case s.seat.mute != nil:
		return s.errorf("open", reader.ErrMute, s.seat.mute)
	case s.open != nil:
		return s.errorf("open", reader.ErrBusy, errors.New("opened already"))
	}
	return nil
}

// release ends a card that was open, and takes power from its chip.
func (s *Slot) release(c *card, kind, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.die(kind, cause)
	if s.open == c {
		s.open = nil
		if s.seat == c.seat {
			s.powerOff(c.seat)
		}
	}
}

// depart is the chip's own word that it left, or that another is in.
func (s *Slot) depart(st *seat, to Chip) {
	var n *seat
	if to != nil {
		n = s.prepare(to)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seat != st {
		return
	}
	s.leave(reader.ErrRemoved, nil)
	if n != nil {
		s.enter(n)
	}
	s.publish()
}

// powerOn and transmit let no panic of a chip out: a fault in a simulated
// card is a mute card, not the end of the terminal.

func powerOn(c Chip) (atr []byte, err error) {
	defer recovered(&err)
	return c.PowerOn()
}

func transmit(c Chip, command []byte) (response []byte, err error) {
	defer recovered(&err)
	return c.Transmit(command)
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("virtual: the chip panicked: %v", p)
	}
}

// clone keeps a chip's buffers and a caller's apart.
func clone(b []byte) []byte { return bytes.Clone(b) }
