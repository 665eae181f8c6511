// Package reader is the one contract by which the rest of the product sees
// card readers: a Slot announces what happens in it and opens the card that
// it holds; a Card exchanges APDUs until it leaves. The backends are
// reader/pcsc, reader/twin and reader/virtual;
// reader/readertest is the suite that all of them pass.
//
// It may import apdu and the standard library. It must never know what a
// purse is, never resend a command, and never let a card that left be
// replaced by another behind the same Card.
package reader

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/apdu"
)

// State is what a slot holds.
type State uint8

// States of a slot.
const (
	StateUnknown State = iota // not yet reported
	StateEmpty                // reader is there, no card
	StateCard                 // a card is in
	StateMute                 // something is in, but it does not answer reset
	StateLost                 // the reader or its service is gone
)

// Event is one change of a slot. Events of one slot are in order and none is
// lost; when a subscriber is slow, changes are folded into one event whose
// Count tells that more than one happened.
type Event struct {
	Slot  string    // Slot.Name
	State State     // the state after the change
	ATR   []byte    // answer to reset when State is StateCard, else nil
	Count uint32    // insertions and removals seen in this slot since the reader appeared; a change by more than one between two StateCard events means that the card was swapped unseen
	At    time.Time // when the backend saw it
	Cause error     // why, for StateLost and StateMute
}

// Slot is one place where a card can be. All methods may be called from any
// goroutine.
type Slot interface {
	// Name is the slot's name on command lines and in configuration:
	// "pcsc:<reader name>", "sim:<card>".
	Name() string
	// Events gives the current state at once and then every change, until
	// ctx ends; then the channel is closed. A lost reader is an event, not
	// the end: when the reader is back, events go on.
	Events(ctx context.Context) <-chan Event
	// Open powers the card and gives it to the caller. It fails with
	// ErrNoCard, ErrMute, ErrBusy or ErrLost. A slot may be opened once at a
	// time; a second Open before Close fails with ErrBusy.
	Open(ctx context.Context) (Card, error)
	// Close ends the slot and everything that came from it.
	Close() error
}

// Protocol is the transmission protocol in use.
type Protocol uint8

// Protocols of ISO/IEC 7816-3.
const (
	T0 Protocol = iota
	T1
)

// Card is one card between its insertion and its removal. After ErrRemoved,
// ErrReset, ErrDeadline or ErrLost it is dead for ever: every later call
// answers the same error and the caller must Open again and find out which
// card that is.
type Card interface {
	apdu.Transmitter // each exchange has a deadline of the backend's own; ctx can only shorten it
	// ATR is the answer to reset of this card.
	ATR() []byte
	// Protocol is the protocol in use.
	Protocol() Protocol
	// Count is the slot's Event.Count of the insertion that this card is.
	Count() uint32
	// Close gives the card back and powers it down. It never blocks on a
	// stuck exchange.
	Close() error
}

// Error kinds. Each says whether the command in flight may have executed;
// apdu.MayHaveExecuted reads it from any error that wraps one of them in an
// *Error.
var (
	ErrNoCard   = errors.New("no card in the reader")                 // before sending
	ErrMute     = errors.New("the card does not answer")              // before sending
	ErrBusy     = errors.New("the reader is in use by another")       // before sending
	ErrRemoved  = errors.New("the card was removed")                  // unknown
	ErrReset    = errors.New("the card was reset by another program") // not executed
	ErrDeadline = errors.New("the card did not answer in time")       // unknown
	ErrLost     = errors.New("the reader or its service is gone")     // unknown
	ErrGarbled  = errors.New("the card's answer was not understood")  // unknown
	ErrClosed   = errors.New("the card or the slot was closed by us") // before sending
	ErrSlotName = errors.New("no reader of that name")                // before sending
	ErrKind     = errors.New("unknown kind of reader")                // before sending
)

// Error is an error of a slot or card with what it means for the command in
// flight.
type Error struct {
	Slot     string // Slot.Name
	Op       string // "open", "transmit", "watch"
	Kind     error  // one of the Err… above
	Executed bool   // the command may have reached the card and executed
	Cause    error  // what the driver said; may be nil
	Hint     string // what a person can do next; may be empty
}

// Error names the slot, the operation, the kind and the cause.
func (e *Error) Error() string {
	s := e.Slot + ": " + e.Op + ": " + e.Kind.Error()
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Unwrap makes errors.Is work for kind and cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// MayHaveExecuted is read by apdu.MayHaveExecuted.
func (e *Error) MayHaveExecuted() bool { return e.Executed }
