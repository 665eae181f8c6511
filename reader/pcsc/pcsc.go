// Package pcsc is the backend for readers behind a PC/SC service: pcscd on
// Linux, the system's own on Windows and macOS.
//
// It may import apdu, reader and github.com/ebfe/scard, the last in
// driver_scard.go only, so that everything builds without cgo. It must never
// call SCardReconnect, which may hand over another card; never trust
// SCardIsValidContext; never use a handle again after an exchange on it timed
// out; and never have two goroutines in SCardGetStatusChange.
//
// How it is built: one watcher in the process owns SCardGetStatusChange
// (hub.go); every open card has a context of its own, because a context is
// one lock; every call that may hang runs in a goroutine of its own under our
// deadline, and what comes back late is thrown away.
package pcsc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dianka/dianka/reader"
)

// DefaultDeadline is the deadline of an exchange when Options.Deadline is
// zero. PC/SC itself would wait for minutes (readers.md section 0, finding
// 4); a person at a counter will not.
const DefaultDeadline = 5 * time.Second

// Options of a Service. The zero value is right for a terminal.
type Options struct {
	// Deadline of each exchange and each opening; zero means DefaultDeadline.
	Deadline time.Duration
	// Exclusive keeps other programs away from an open card.
	Exclusive bool
	// Raw makes Card.Transmit pass bytes as they are: no T=0 shaping, no
	// GET RESPONSE, no 6Cxx. For a technician who wants to see them.
	Raw bool
	// Wait makes Slot accept a name that no reader has yet, and work without
	// the service: the slot is lost until a reader of that name appears. For
	// a daemon that starts before its readers.
	Wait bool
}

// Service is the PC/SC service of this machine. It need not run: its slots
// are lost until it does.
type Service struct {
	hub *hub
	opt Options

	mu     sync.Mutex
	slots  map[*slot]struct{}
	closed bool
}

// New starts watching. It fails only when PC/SC was not built in. Several
// services share one watcher.
func New(o Options) (*Service, error) {
	h, err := processHub()
	if err != nil {
		return nil, &reader.Error{Slot: "pcsc:", Op: "open", Kind: reader.ErrKind, Cause: err}
	}
	return newService(h, o), nil
}

func newService(h *hub, o Options) *Service {
	if o.Deadline <= 0 {
		o.Deadline = DefaultDeadline
	}
	h.acquire()
	return &Service{hub: h, opt: o, slots: make(map[*slot]struct{})}
}

// List gives the names of the readers that are there, sorted. It fails with
// reader.ErrLost, and a hint, when the service can't be reached.
func (v *Service) List(ctx context.Context) ([]string, error) {
	names, err := v.hub.list(ctx)
	if err != nil {
		return nil, v.unreachable("pcsc:", err)
	}
	return names, nil
}

func (v *Service) unreachable(name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &reader.Error{Slot: name, Op: "open", Kind: err}
	}
	err, hint := refine(err)
	return &reader.Error{Slot: name, Op: "open", Kind: reader.ErrLost, Cause: err, Hint: hint}
}

// Slot gives the slot of the reader whose name is, or contains, fragment; see
// reader.Match. If that reader goes and another comes that alone fits
// fragment, as when it was plugged in again elsewhere, the slot goes on with
// it. It fails with reader.ErrSlotName, reader.ErrAmbiguous or
// reader.ErrLost; with Options.Wait only with reader.ErrAmbiguous.
func (v *Service) Slot(fragment string) (reader.Slot, error) {
	full := "pcsc:" + fragment
	names, err := v.hub.list(context.Background()) // bounded: a hanging service is lost after stallAfter
	if err != nil && !v.opt.Wait {
		return nil, v.unreachable(full, err)
	}
	bound, err := reader.Match(fragment, names)
	switch {
	case err == nil:
		full = "pcsc:" + bound
	case errors.Is(err, reader.ErrAmbiguous):
		return nil, &reader.Error{Slot: full, Op: "open", Kind: err, Hint: "name the reader so that only one fits"}
	case !v.opt.Wait:
		return nil, &reader.Error{Slot: full, Op: "open", Kind: err, Hint: "check the cable of the reader, and the name"}
	}
	s := &slot{service: v, name: full, fragment: fragment, bound: bound}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, &reader.Error{Slot: full, Op: "open", Kind: reader.ErrClosed}
	}
	v.slots[s] = struct{}{}
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.hub.slots[s] = struct{}{}
	s.observe(v.hub)
	return s, nil
}

// Close closes all slots and ends the watcher if nobody else uses it.
func (v *Service) Close() error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	v.closed = true
	var slots []*slot
	for s := range v.slots {
		slots = append(slots, s)
	}
	v.mu.Unlock()
	for _, s := range slots {
		s.Close()
	}
	v.hub.leave()
	return nil
}
