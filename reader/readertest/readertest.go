// Package readertest is the suite that every reader backend passes. A backend
// says in a Bench how a chip is put into its slot and taken out; Run does the
// rest.
//
// It may import apdu, reader and reader/virtual (for the shape of a chip),
// and is imported by tests only. It must never know a backend.
package readertest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
)

// Bench is one slot under test, empty when it is handed over, and the hands
// that act on it.
type Bench struct {
	Slot reader.Slot
	// Insert puts a chip in. It may return before the slot has seen it.
	Insert func(virtual.Chip)
	// Remove takes the chip out; it may return before the slot has seen it.
	Remove func()
	// Swap takes the chip out and puts another in; whether the slot sees it
	// empty in between is left open. Its Count must tell.
	Swap func(virtual.Chip)
	// Lose makes the reader vanish and Restore brings it back, empty. Nil
	// when the backend can't be made to.
	Lose, Restore func()
	// Deadline is the deadline of an exchange that the slot was made with.
	Deadline time.Duration
}

// patience is how long anything that must happen may take. It only bounds
// failing tests.
const patience = 15 * time.Second

// Run runs the suite. fresh makes a bench for one test, and registers its own
// clean-up with t; the slot is closed by the suite.
func Run(t *testing.T, fresh func(t *testing.T) Bench) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"StateAtSubscribe", stateAtSubscribe},
		{"InsertAndRemove", insertAndRemove},
		{"SubscriptionsEnd", subscriptionsEnd},
		{"OpenEmpty", openEmpty},
		{"OpenBusyClose", openBusyClose},
		{"OpenCancelled", openCancelled},
		{"CloseCutsPower", closeCutsPower},
		{"Echo/T1", func(b *bench) { echo(b, false) }},
		{"Echo/T0", func(b *bench) { echo(b, true) }},
		{"LongResponse/T1", func(b *bench) { longResponse(b, false) }},
		{"LongResponse/T0", func(b *bench) { longResponse(b, true) }},
		{"ConcurrentTransmit", concurrentTransmit},
		{"MalformedCommand", malformedCommand},
		{"RemovedIdle", removedIdle},
		{"RemovedDuringExchange", removedDuringExchange},
		{"Swapped", swapped},
		{"Deadline", deadline},
		{"ContextShortensDeadline", contextShortensDeadline},
		{"CancelledBeforeSending", cancelledBeforeSending},
		{"CloseDuringExchange", closeDuringExchange},
		{"SlotCloseEndsAll", slotCloseEndsAll},
		{"Lost", lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Run("", func(t *testing.T) {
				b := &bench{T: t, Bench: fresh(t)}
				ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
				t.Cleanup(cancel)
				b.ctx = ctx
				defer b.Slot.Close()
				c.test(b)
			})
			if !t.Skipped() {
				noLeak(t, before)
			}
		})
	}
}

// noLeak waits for the goroutines of a test to end; a late result that is
// discarded ends its goroutine when the bench goes.
func noLeak(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			return
		}
		time.Sleep(5 * time.Millisecond) // polling a counter of the runtime, which announces nothing
	}
}

type bench struct {
	*testing.T
	Bench
	ctx    context.Context
	events <-chan reader.Event
	last   reader.Event
}

// next is the next event.
func (b *bench) next() reader.Event {
	b.Helper()
	if b.events == nil {
		b.events = b.Slot.Events(b.ctx)
	}
	select {
	case e, ok := <-b.events:
		if !ok {
			b.Fatal("the channel of events is closed")
		}
		if e.Slot != b.Slot.Name() {
			b.Fatalf("event names slot %q, the slot is %q", e.Slot, b.Slot.Name())
		}
		b.last = e
		return e
	case <-time.After(patience):
		b.Fatalf("no event; the last was %+v", b.last)
	}
	panic("unreachable")
}

// until reads events until one fits.
func (b *bench) until(s reader.State) reader.Event {
	b.Helper()
	for {
		if e := b.next(); e.State == s {
			return e
		}
	}
}

// put inserts a chip, waits until the slot says so, and opens it.
func (b *bench) put(c virtual.Chip) reader.Card {
	b.Helper()
	if b.events == nil {
		b.until(reader.StateEmpty)
	}
	b.Insert(c)
	b.until(reader.StateCard)
	return b.open()
}

func (b *bench) open() reader.Card {
	b.Helper()
	card, err := b.Slot.Open(b.ctx)
	if err != nil {
		b.Fatalf("open: %v", err)
	}
	return card
}

// want checks an error's kind and what it says of the command in flight.
func (b *bench) want(err error, executed bool, kinds ...error) {
	b.Helper()
	var e *reader.Error
	if !errors.As(err, &e) {
		b.Fatalf("got error %v, want a *reader.Error of kind %v", err, kinds)
	}
	ok := false
	for _, k := range kinds {
		ok = ok || errors.Is(err, k)
	}
	if !ok {
		b.Fatalf("got %v, want kind %v", err, kinds)
	}
	if got := apdu.MayHaveExecuted(err); got != executed {
		b.Fatalf("%v: may have executed = %v, want %v", err, got, executed)
	}
	if e.Slot != b.Slot.Name() {
		b.Errorf("error names slot %q, want %q", e.Slot, b.Slot.Name())
	}
}

func (b *bench) send(card apdu.Transmitter, c apdu.Command) apdu.Response {
	b.Helper()
	r, err := apdu.Send(b.ctx, card, c)
	if err != nil {
		b.Fatalf("transmit %02X: %v", c.INS, err)
	}
	return r
}

func (b *bench) who(card apdu.Transmitter) byte {
	b.Helper()
	r := b.send(card, apdu.Command{CLA: 0x80, INS: InsWho, Ne: 256})
	if !r.SW.OK() || len(r.Data) != 1 {
		b.Fatalf("who: %x %v", r.Data, r.SW)
	}
	return r.Data[0]
}

// hold starts a command that the chip does not answer, and returns when the
// chip has it.
func (b *bench) hold(ctx context.Context, card reader.Card, c *Chip) <-chan error {
	b.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := card.Transmit(ctx, []byte{0x80, InsHold, 0, 0})
		result <- err
	}()
	select {
	case <-c.Holding():
	case err := <-result:
		b.Fatalf("the exchange ended before the chip had the command: %v", err)
	case <-time.After(patience):
		b.Fatal("the chip never got the command")
	}
	return result
}

func (b *bench) result(r <-chan error) error {
	b.Helper()
	select {
	case err := <-r:
		return err
	case <-time.After(patience):
		b.Fatal("the exchange never ended")
	}
	return nil
}

func (b *bench) deadAs(card reader.Card, kind error) {
	b.Helper()
	for range 2 {
		_, err := card.Transmit(b.ctx, []byte{0x80, InsWho, 0, 0, 0})
		b.want(err, false, kind)
	}
}

func stateAtSubscribe(b *bench) {
	if e := b.next(); e.State != reader.StateEmpty || e.ATR != nil {
		b.Fatalf("first event of an empty slot: %+v", e)
	}
	b.Insert(NewChip(1, false))
	seen := b.until(reader.StateCard)
	second := b.Slot.Events(b.ctx)
	if e := <-second; e.State != reader.StateCard || e.Count != seen.Count || !bytes.Equal(e.ATR, seen.ATR) {
		b.Fatalf("a late subscriber sees %+v, an early one saw %+v", e, seen)
	}
}

func insertAndRemove(b *bench) {
	e := b.until(reader.StateEmpty)
	for i := range byte(2) {
		b.Insert(NewChip(i, false))
		in := b.next()
		if in.State != reader.StateCard || in.Count != e.Count+1 || !bytes.Equal(in.ATR, atr(false, i)) {
			b.Fatalf("after insertion: %+v, before: %+v", in, e)
		}
		if in.At.IsZero() {
			b.Error("event without a time")
		}
		b.Remove()
		e = b.next()
		if e.State != reader.StateEmpty || e.Count != in.Count+1 || e.ATR != nil {
			b.Fatalf("after removal: %+v, before: %+v", e, in)
		}
	}
}

func subscriptionsEnd(b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	ch := b.Slot.Events(ctx)
	<-ch
	cancel()
	select {
	case _, ok := <-ch:
		if ok {
			b.Fatal("an event out of nothing")
		}
	case <-time.After(patience):
		b.Fatal("channel not closed at the end of its context")
	}
}

func openEmpty(b *bench) {
	b.until(reader.StateEmpty)
	_, err := b.Slot.Open(b.ctx)
	b.want(err, false, reader.ErrNoCard)
}

func openBusyClose(b *bench) {
	card := b.put(NewChip(1, false))
	if card.Count() != b.last.Count {
		b.Errorf("card's count %d, event's %d", card.Count(), b.last.Count)
	}
	if !bytes.Equal(card.ATR(), b.last.ATR) || card.Protocol() != reader.T1 {
		b.Errorf("ATR %x protocol %d", card.ATR(), card.Protocol())
	}
	_, err := b.Slot.Open(b.ctx)
	b.want(err, false, reader.ErrBusy)
	if err := card.Close(); err != nil {
		b.Fatal(err)
	}
	b.deadAs(card, reader.ErrClosed)
	if err := card.Close(); err != nil {
		b.Errorf("second close: %v", err)
	}
	if got := b.who(b.open()); got != 1 {
		b.Errorf("opened again, chip says %d", got)
	}
}

func openCancelled(b *bench) {
	b.put(NewChip(1, false)).Close()
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.Slot.Open(ctx)
	b.want(err, false, context.Canceled)
	b.who(b.open())
}

func closeCutsPower(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	b.who(card)
	before, _ := c.Powered()
	card.Close()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // a chip announces nothing
		if _, on := c.Powered(); !on {
			break
		}
		if time.Now().After(end) {
			b.Fatal("a closed card keeps its power, and with it what its last user verified")
		}
	}
	b.who(b.open())
	if after, _ := c.Powered(); after <= before {
		b.Error("the chip was not reset between two openings")
	}
}

func echo(b *bench, t0 bool) {
	c := NewChip(7, t0)
	card := b.put(c)
	if want := map[bool]reader.Protocol{false: reader.T1, true: reader.T0}[t0]; card.Protocol() != want {
		b.Errorf("protocol %d, want %d", card.Protocol(), want)
	}
	for i, n := range []int{0, 1, 2, 16, 254, 255} {
		data := Pattern(n)
		cmd := apdu.Command{CLA: 0x80, INS: InsEcho, Data: data}
		if n > 0 {
			cmd.Ne = 256
		}
		r := b.send(card, cmd)
		if !r.SW.OK() || !bytes.Equal(r.Data, data) {
			b.Fatalf("echo of %d bytes: %d bytes, %v", n, len(r.Data), r.SW)
		}
		if got := c.Executed(); got != i+1 {
			b.Fatalf("%d commands sent, %d executed", i+1, got)
		}
	}
	if r := b.send(card, apdu.Command{CLA: 0x80, INS: 0x02}); r.SW != apdu.SWINSNotSupported {
		b.Errorf("unknown instruction: %v", r.SW)
	}
}

func longResponse(b *bench, t0 bool) {
	card := b.put(NewChip(7, t0))
	sizes := []int{1, 255, 256}
	if !t0 {
		sizes = append(sizes, 257, 4000)
	}
	for _, n := range sizes {
		ne := 256
		if n > 256 {
			ne = 65536
		}
		r := b.send(card, apdu.Command{CLA: 0x80, INS: InsLong, P1: byte(n >> 8), P2: byte(n), Ne: ne})
		if !r.SW.OK() || !bytes.Equal(r.Data, Pattern(n)) {
			b.Fatalf("asked for %d bytes: got %d, %v", n, len(r.Data), r.SW)
		}
	}
	if !t0 {
		return
	}
	// More than one GET RESPONSE can bring.
	r := b.send(card, apdu.Command{CLA: 0x80, INS: InsLong, P1: 0x02, P2: 0x58, Ne: 256})
	if !r.SW.OK() || !bytes.Equal(r.Data, Pattern(600)) {
		b.Fatalf("600 bytes in pieces: got %d, %v", len(r.Data), r.SW)
	}
}

func concurrentTransmit(b *bench) {
	c := NewChip(3, true)
	card := b.put(c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 20)
			for range 5 {
				r, err := apdu.Send(b.ctx, card, apdu.Command{CLA: 0x80, INS: InsEcho, Data: data, Ne: 256})
				if err != nil || !bytes.Equal(r.Data, data) {
					b.Errorf("got %x, %v; want %x", r.Data, err, data)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := c.Executed(); got != 40 {
		b.Errorf("40 commands sent, %d executed", got)
	}
}

func malformedCommand(b *bench) {
	c := NewChip(3, false)
	card := b.put(c)
	for _, cmd := range [][]byte{nil, {}, {0x80}, {0x80, InsEcho, 0}} {
		_, err := card.Transmit(b.ctx, cmd)
		if !errors.Is(err, apdu.ErrCommandMalformed) || apdu.MayHaveExecuted(err) {
			b.Errorf("transmit %x: %v", cmd, err)
		}
	}
	if c.Executed() != 0 {
		b.Error("the chip saw a malformed command")
	}
	b.who(card)
}

func removedIdle(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	b.Remove()
	b.until(reader.StateEmpty)
	// Whether the backend has told the card already is left open; the first
	// answer must be ErrRemoved in any case.
	_, err := card.Transmit(b.ctx, []byte{0x80, InsWho, 0, 0, 0})
	if !errors.Is(err, reader.ErrRemoved) {
		b.Fatalf("removed card: %v", err)
	}
	b.Insert(c) // the very same chip
	b.until(reader.StateCard)
	n := c.Executed()
	b.deadAs(card, reader.ErrRemoved)
	if c.Executed() != n {
		b.Fatal("a dead card reached the chip")
	}
	card.Close()
	again := b.open()
	if again.Count() == card.Count() {
		b.Error("two insertions with one count")
	}
	b.who(again)
	card.Close() // closing the dead one must not hurt the living one
	b.who(again)
}

func removedDuringExchange(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	r := b.hold(b.ctx, card, c)
	b.Remove()
	b.want(b.result(r), true, reader.ErrRemoved)
	c.Release()
	b.deadAs(card, reader.ErrRemoved)
	b.until(reader.StateEmpty)
	card.Close()
	b.Insert(NewChip(2, false))
	b.until(reader.StateCard)
	if got := b.who(b.open()); got != 2 {
		b.Errorf("chip %d answers, 2 is in", got)
	}
}

func swapped(b *bench) {
	card := b.put(NewChip(1, false))
	b.who(card)
	in := b.last
	b.Swap(NewChip(2, false))
	var e reader.Event
	for e = b.next(); e.State != reader.StateCard || e.Count == in.Count; e = b.next() {
	}
	if e.Count != in.Count+2 {
		b.Errorf("count %d before the swap, %d after; want two more", in.Count, e.Count)
	}
	if !bytes.Equal(e.ATR, atr(false, 2)) {
		b.Errorf("ATR %x", e.ATR)
	}
	_, err := card.Transmit(b.ctx, []byte{0x80, InsWho, 0, 0, 0})
	if !errors.Is(err, reader.ErrRemoved) {
		b.Fatalf("the card of before the swap: %v", err)
	}
	card.Close()
	if got := b.who(b.open()); got != 2 {
		b.Errorf("chip %d answers, 2 is in", got)
	}
}

func deadline(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	start := time.Now()
	r := b.hold(b.ctx, card, c)
	b.want(b.result(r), true, reader.ErrDeadline)
	if d := time.Since(start); d < b.Bench.Deadline*9/10 || d > b.Bench.Deadline+5*time.Second {
		b.Errorf("took %v with a deadline of %v", d, b.Bench.Deadline)
	}
	b.deadAs(card, reader.ErrDeadline)
	start = time.Now()
	card.Close()
	if d := time.Since(start); d > 2*time.Second {
		b.Errorf("close of a stuck card took %v", d)
	}
	// A new card makes the slot whole again, while the old one is still
	// stuck; and its late answer goes nowhere.
	fresh := NewChip(2, false)
	b.Swap(fresh)
	for b.last.Count == card.Count() || b.last.State != reader.StateCard {
		b.next()
	}
	again := b.open()
	if got := b.who(again); got != 2 {
		b.Errorf("chip %d answers, 2 is in", got)
	}
	c.Release()
	b.deadAs(card, reader.ErrDeadline)
	b.who(again)
}

func contextShortensDeadline(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	ctx, cancel := context.WithCancel(b.ctx)
	r := b.hold(ctx, card, c)
	cancel()
	err := b.result(r)
	b.want(err, true, reader.ErrDeadline)
	if !errors.Is(err, context.Canceled) {
		b.Errorf("%v does not name its cause", err)
	}
	b.deadAs(card, reader.ErrDeadline)
	c.Release()
}

func cancelledBeforeSending(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := card.Transmit(ctx, []byte{0x80, InsWho, 0, 0, 0})
	b.want(err, false, context.Canceled)
	if c.Executed() != 0 {
		b.Error("the chip executed a cancelled command")
	}
	b.who(card) // nothing was sent, so the card lives
}

func closeDuringExchange(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	r := b.hold(b.ctx, card, c)
	var wg sync.WaitGroup
	start := time.Now()
	for range 4 {
		wg.Go(func() { card.Close() })
	}
	wg.Wait()
	if d := time.Since(start); d > 2*time.Second {
		b.Errorf("close waited %v for a stuck exchange", d)
	}
	b.want(b.result(r), true, reader.ErrClosed)
	b.deadAs(card, reader.ErrClosed)
	c.Release()
}

func slotCloseEndsAll(b *bench) {
	c := NewChip(1, false)
	card := b.put(c)
	r := b.hold(b.ctx, card, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { b.Slot.Close() })
	}
	wg.Wait()
	b.want(b.result(r), true, reader.ErrClosed)
	b.deadAs(card, reader.ErrClosed)
	_, err := b.Slot.Open(b.ctx)
	b.want(err, false, reader.ErrClosed)
	for range b.events { // ends
	}
	if _, ok := <-b.Slot.Events(b.ctx); ok {
		b.Error("a closed slot gives events")
	}
	c.Release()
}

func lost(b *bench) {
	if b.Lose == nil {
		b.Skip("this backend's reader can't be taken away")
	}
	card := b.put(NewChip(1, false))
	b.who(card)
	in := b.last
	b.Lose()
	e := b.until(reader.StateLost)
	if e.Cause == nil || strings.TrimSpace(e.Cause.Error()) == "" {
		b.Error("lost without a cause")
	}
	_, err := card.Transmit(b.ctx, []byte{0x80, InsWho, 0, 0, 0})
	if !errors.Is(err, reader.ErrLost) {
		b.Fatalf("card of a lost reader: %v", err)
	}
	_, err = b.Slot.Open(b.ctx)
	b.want(err, false, reader.ErrLost)
	b.Restore()
	b.until(reader.StateEmpty)
	b.deadAs(card, reader.ErrLost)
	card.Close()
	b.Insert(NewChip(2, false))
	back := b.until(reader.StateCard)
	if back.Count <= in.Count {
		b.Errorf("count %d before the loss, %d after: it must not run back", in.Count, back.Count)
	}
	if got := b.who(b.open()); got != 2 {
		b.Errorf("chip %d answers, 2 is in", got)
	}
}
