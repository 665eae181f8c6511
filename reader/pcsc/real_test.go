//go:build cgo && linux

package pcsc_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/fault"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/pcsc/pcscdtest"
	"github.com/dianka/dianka/reader/readertest"
)

// What only a real service shows.

func service(t *testing.T, o pcsc.Options) *pcsc.Service {
	t.Helper()
	v, err := pcsc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func slotOf(t *testing.T, v *pcsc.Service, name string) reader.Slot {
	t.Helper()
	s, err := v.Slot(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func until(t *testing.T, events <-chan reader.Event, want reader.State) reader.Event {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case e := <-events:
			if e.State == want {
				return e
			}
		case <-timeout:
			t.Fatalf("no event with state %d", want)
		}
	}
}

// cardIn puts a chip in and opens it in the first reader of each service.
func cardIn(t *testing.T, d *pcscdtest.Service, c *readertest.Chip, services ...*pcsc.Service) []reader.Card {
	t.Helper()
	d.Insert(0, c)
	var cards []reader.Card
	for _, v := range services {
		s := slotOf(t, v, pcscdtest.Readers[0])
		until(t, s.Events(t.Context()), reader.StateCard)
		card, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cards = append(cards, card)
	}
	return cards
}

var who = []byte{0x80, readertest.InsWho, 0, 0, 0}

func TestAnotherProgram(t *testing.T) {
	d := pcscdtest.Start(t)
	t.Run("shares and resets", func(t *testing.T) {
		chip := readertest.NewChip(1, false)
		cards := cardIn(t, d, chip, service(t, pcsc.Options{}), service(t, pcsc.Options{}))
		for _, c := range cards {
			if _, err := c.Transmit(t.Context(), who); err != nil {
				t.Fatal(err)
			}
		}
		cards[1].Close() // takes the power
		before := chip.Executed()
		_, err := cards[0].Transmit(t.Context(), who)
		if !errors.Is(err, reader.ErrReset) || apdu.MayHaveExecuted(err) || chip.Executed() != before {
			t.Errorf("%v, executed %d", err, chip.Executed()-before)
		}
		_, err = cards[0].Transmit(t.Context(), who) // and not by itself connected again
		if !errors.Is(err, reader.ErrReset) || chip.Executed() != before {
			t.Errorf("%v, executed %d", err, chip.Executed()-before)
		}
	})
	t.Run("is kept out", func(t *testing.T) {
		chip := readertest.NewChip(1, false)
		cardIn(t, d, chip, service(t, pcsc.Options{Exclusive: true}))
		_, err := slotOf(t, service(t, pcsc.Options{}), pcscdtest.Readers[0]).Open(t.Context())
		var e *reader.Error
		if !errors.Is(err, reader.ErrBusy) || !errors.As(err, &e) || e.Hint == "" || apdu.MayHaveExecuted(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestRaw(t *testing.T) {
	d := pcscdtest.Start(t)
	card := cardIn(t, d, readertest.NewChip(9, true), service(t, pcsc.Options{Raw: true}))[0]
	for _, c := range []struct{ command, want []byte }{
		{[]byte{0x80, readertest.InsEcho, 0, 0, 1, 0xAB}, []byte{0x61, 0x01}},
		{[]byte{0x80, 0xC0, 0, 0, 1}, []byte{0xAB, 0x90, 0x00}},
		{who, []byte{0x6C, 0x01}},
	} {
		if r, err := card.Transmit(t.Context(), c.command); err != nil || !bytes.Equal(r, c.want) {
			t.Errorf("%x: got %x, %v; want %x", c.command, r, err, c.want)
		}
	}
}

// Two slots at a time, as customer card and PSAM: one that hangs does not
// hold the other up, and the watcher none of them.
func TestSlotsAreIndependent(t *testing.T) {
	d := pcscdtest.Start(t)
	v := service(t, pcsc.Options{Deadline: 10 * time.Second})
	names, err := v.List(t.Context())
	if err != nil || len(names) != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	var cards [2]reader.Card
	var chips [2]*readertest.Chip
	for i, n := range pcscdtest.Readers {
		chips[i] = readertest.NewChip(byte(i), i == 1)
		d.Insert(i, chips[i])
		s := slotOf(t, v, n)
		until(t, s.Events(t.Context()), reader.StateCard)
		if cards[i], err = s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := cards[0].Transmit(context.Background(), []byte{0x80, readertest.InsHold, 0, 0})
		done <- err
	}()
	<-chips[0].Holding()
	start := time.Now()
	for range 100 {
		if _, err := cards[1].Transmit(t.Context(), who); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("100 exchanges (T=0, each two by 6Cxx) beside a hanging one and the watcher: %v", time.Since(start))
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
	chips[0].Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// pcscd killed under an open card, twice: the card is dead, the slot comes
// back by itself, and opens again.
func TestServiceKilled(t *testing.T) {
	d := pcscdtest.Start(t)
	v := service(t, pcsc.Options{})
	chip := readertest.NewChip(1, false)
	s := slotOf(t, v, pcscdtest.Readers[0])
	events := s.Events(t.Context())
	count := uint32(0)
	for range 2 {
		d.Insert(0, chip)
		e := until(t, events, reader.StateCard)
		if e.Count <= count {
			t.Errorf("count %d after %d", e.Count, count)
		}
		count = e.Count
		card, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.Stop()
		if _, err = card.Transmit(t.Context(), who); !errors.Is(err, reader.ErrLost) {
			t.Errorf("%v", err)
		}
		until(t, events, reader.StateLost)
		if _, err := v.List(t.Context()); !errors.Is(err, reader.ErrLost) {
			t.Errorf("list: %v", err)
		}
		d.Run()
		until(t, events, reader.StateEmpty)
		card.Close()
	}
}

// pcscd stands still, as with a hanging USB stack: the exchange ends at our
// deadline, and everything works when it goes on.
func TestServiceFrozen(t *testing.T) {
	d := pcscdtest.Start(t)
	v := service(t, pcsc.Options{Deadline: time.Second})
	d.Insert(0, readertest.NewChip(1, false))
	s := slotOf(t, v, pcscdtest.Readers[0])
	events := s.Events(t.Context())
	until(t, events, reader.StateCard)
	card, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Freeze()
	start := time.Now()
	_, err = card.Transmit(t.Context(), who)
	took := time.Since(start)
	if !errors.Is(err, reader.ErrDeadline) || !apdu.MayHaveExecuted(err) || took > 4*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	start = time.Now()
	card.Close()
	if took := time.Since(start); took > time.Second {
		t.Errorf("close took %v", took)
	}
	d.Thaw()
	for end := time.Now().Add(15 * time.Second); ; {
		again, err := s.Open(t.Context())
		if err == nil {
			if _, err = again.Transmit(t.Context(), who); err == nil {
				break
			}
			again.Close()
		}
		if time.Now().After(end) {
			t.Fatalf("not whole again: %v", err)
		}
	}
}

// A tear by the chip's own word goes through the real service.
func TestTearThroughTheService(t *testing.T) {
	d := pcscdtest.Start(t)
	v := service(t, pcsc.Options{})
	chip, other := readertest.NewChip(1, false), readertest.NewChip(2, false)
	plan := fault.NewPlan(1, fault.Fault{Kind: fault.Swap, At: 2, To: other})
	d.Insert(0, fault.Chip(chip, plan))
	s := slotOf(t, v, pcscdtest.Readers[0])
	events := s.Events(t.Context())
	first := until(t, events, reader.StateCard)
	card, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := card.Transmit(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	if _, err = card.Transmit(t.Context(), who); !errors.Is(err, reader.ErrRemoved) || !apdu.MayHaveExecuted(err) {
		t.Errorf("%v", err)
	}
	card.Close()
	if e := until(t, events, reader.StateCard); e.Count != first.Count+2 {
		t.Errorf("before %+v, after %+v", first, e)
	}
	again, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := again.Transmit(t.Context(), who); err != nil || r[0] != 2 {
		t.Errorf("%x, %v", r, err)
	}
}

// Collections while the watcher sits in C must not take its strings away
// (readers.md section 0, finding 1).
func TestWatcherSurvivesCollection(t *testing.T) {
	d := pcscdtest.Start(t)
	v, w := service(t, pcsc.Options{}), service(t, pcsc.Options{})
	s := slotOf(t, v, pcscdtest.Readers[0])
	slotOf(t, w, pcscdtest.Readers[0])
	events := s.Events(t.Context())
	until(t, events, reader.StateEmpty)
	for range 50 {
		runtime.GC()
		if _, err := w.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.Insert(0, readertest.NewChip(1, false))
	select {
	case e := <-events:
		if e.State != reader.StateCard {
			t.Errorf("%+v", e)
		}
	case <-time.After(15 * time.Second):
		t.Error("no event")
	}
}

func BenchmarkExchange(b *testing.B) {
	d := pcscdtest.Start(b)
	v, err := pcsc.New(pcsc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	d.Insert(0, readertest.NewChip(1, false))
	s, err := v.Slot(pcscdtest.Readers[0])
	if err != nil {
		b.Fatal(err)
	}
	for e := range s.Events(b.Context()) {
		if e.State == reader.StateCard {
			break
		}
	}
	card, err := s.Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := card.Transmit(b.Context(), who); err != nil {
			b.Fatal(err)
		}
	}
}
