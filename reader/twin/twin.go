// Package twin is the backend for serial card readers of the GemPC Twin
// family, without PC/SC: the terminal itself speaks to them over a serial
// line (readers.md section 5).
//
// It may import apdu, reader, reader/t1 and internal/line. It must never send
// a command to a card a second time: what a reader refused before the card saw
// it is told as "not executed", everything else as "unknown".
//
// How it is built: one goroutine for each line (unit.go) starts the reader,
// asks it what moved, powers cards and carries out what slots and cards
// (slot.go) want of it, one command at a time, as these readers ask for. What
// a caller no longer waits for is broken off by the card's own end; a late
// answer is known by its sequence number and thrown away.
//
// The readers work at TPDU level: PPS, parameters, and T=0 shaping or the
// blocks of T=1 are ours.
package twin

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/reader"
)

// Model is a reader of the family.
type Model struct {
	Name    string // as libccid's configuration calls it
	Slots   int    // 1 to 5
	Clock   int    // of the card, in kHz
	MaxRate int    // of the card, in bit/s
	Slow    bool   // wakes up at 9600 baud
	Hello   byte   // the escape that asks for the firmware
	Silent  bool   // can't be made to tell movements
}

// Models are the readers of the family (readers.md section 5.4).
var Models = []Model{
	{Name: "GemPCTwin", Slots: 1, Clock: 4000, MaxRate: 344086, Hello: 0x02},
	{Name: "GemPCPinPad", Slots: 1, Clock: 4000, MaxRate: 500000, Hello: 0x02},
	{Name: "GemCorePOSPro", Slots: 5, Clock: 4000, MaxRate: 500000, Hello: 0x02},
	{Name: "GemCoreSIMPro", Slots: 2, Clock: 4000, MaxRate: 500000, Hello: 0x02},
	{Name: "GemCoreSIMPro2", Slots: 2, Clock: 4800, MaxRate: 500000, Slow: true, Hello: 0x02},
	{Name: "SEC1210URT", Slots: 1, Clock: 4800, MaxRate: 500000, Hello: 0x06, Silent: true},
	{Name: "SEC1210UR2", Slots: 2, Clock: 4800, MaxRate: 500000, Hello: 0x06, Silent: true},
}

// DefaultDeadline is the deadline of an exchange when Options.Deadline is
// zero. The protocols would allow minutes; a person at a counter does not.
const DefaultDeadline = 5 * time.Second

// Options of a Service. The zero value is right for a terminal.
type Options struct {
	// Deadline of each exchange and each opening; zero means DefaultDeadline.
	Deadline time.Duration
	// Poll is how often a slot is asked what is in it while nothing else is
	// said; zero means 400 ms.
	Poll time.Duration
	// Raw makes Card.Transmit pass bytes as they are: no T=0 shaping, no
	// GET RESPONSE, no 6Cxx.
	Raw bool
	// Log gets what happens on the line, never what is said; nil: nothing.
	Log *slog.Logger
}

// Service holds the readers that are in use.
type Service struct {
	o Options

	mu     sync.Mutex
	units  map[string]*unit
	closed bool
}

// New makes a service that has no reader yet.
func New(o Options) *Service {
	if o.Deadline <= 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Poll <= 0 {
		o.Poll = 400 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, units: map[string]*unit{}}
}

// Address names a slot of a reader on a line, "/dev/ttyS0",
// "/dev/ttyS0:GemCorePOSPro" or "/dev/ttyS0:GemCorePOSPro:2": device, model,
// slot from 1. Without a model it is a GemPC Twin.
type Address struct {
	Device string
	Model  Model
	Slot   int // 0 to Model.Slots-1
}

// ParseAddress reads an Address. The error tells what would be right.
func ParseAddress(s string) (Address, error) {
	a := Address{Device: s, Model: Models[0]}
	for _, m := range Models {
		device, rest, ok := cutLast(s, ":"+m.Name)
		if !ok {
			continue
		}
		a.Device, a.Model = device, m
		if rest != "" {
			n, err := strconv.Atoi(rest[1:])
			if rest[0] != ':' || err != nil || n < 1 || n > m.Slots {
				return Address{}, fmt.Errorf("%s has slots 1 to %d, not %q", m.Name, m.Slots, rest)
			}
			a.Slot = n - 1
		}
	}
	if a.Device == "" {
		return Address{}, fmt.Errorf("%q names no line: it is /dev/ttyS0, or /dev/ttyS0:<model>:<slot>", s)
	}
	return a, nil
}

// cutLast cuts s at the last sep that ends it or stands before a colon.
func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", "", false
	}
	after = s[i+len(sep):]
	if after != "" && after[0] != ':' {
		return "", "", false
	}
	return s[:i], after, true
}

// Slot gives the slot at an address as ParseAddress reads it, and waits a
// little until it is known what is in it. The reader need not be there: the
// slot is lost until it is. It fails with reader.ErrSlotName,
// or with reader.ErrBusy when the slot, or the line as another model, is in use
// here. name is what Slot.Name says.
func (s *Service) Slot(name, address string) (reader.Slot, error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, &reader.Error{Slot: name, Op: "open", Kind: reader.ErrSlotName, Cause: err}
	}
	sl, err := s.take(name, a)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(helloTime + statusTime)
	defer wait.Stop()
	select {
	case <-sl.known:
	case <-wait.C:
	}
	return sl, nil
}

func (s *Service) take(name string, a Address) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &reader.Error{Slot: name, Op: "open", Kind: reader.ErrClosed}
	}
	u := s.units[a.Device]
	if u == nil {
		u = newUnit(s.o, a)
		s.units[a.Device] = u
		go u.run()
	}
	if u.model != a.Model || u.slots[a.Slot] != nil {
		return nil, &reader.Error{Slot: name, Op: "open", Kind: reader.ErrBusy, Cause: fmt.Errorf("%s is in use as %s", a.Device, u.model.Name),
			Hint: "each slot of a reader is named once, and all with the same model"}
	}
	sl := newSlot(s, u, a.Slot, name)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.slots[a.Slot] = sl
	u.poke()
	return sl, nil
}

// release forgets a slot, and with its last slot the reader.
func (s *Service) release(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := sl.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slots[sl.n] == sl {
		u.slots[sl.n] = nil
	}
	if !slices.ContainsFunc(u.slots, func(o *slot) bool { return o != nil }) && s.units[u.device] == u {
		delete(s.units, u.device)
		close(u.stop)
	}
}

// Close closes all slots.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []*slot
	for _, u := range s.units {
		for _, sl := range u.slots {
			if sl != nil {
				all = append(all, sl)
			}
		}
	}
	s.mu.Unlock()
	for _, sl := range all {
		sl.Close()
	}
	return nil
}

func openLine(device string, baud int) (line.Line, error) {
	return line.OpenSerial(line.Serial{Device: device, Baud: baud, Stop2: true})
}
