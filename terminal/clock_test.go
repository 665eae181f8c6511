package terminal

import (
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// The tests of this file set the terminal's clock, as whoever holds the
// terminal can, and want more than the limits give.

// acked lets the utility acknowledge everything, at its own time.
func (w *world) acked(at time.Time) {
	w.Helper()
	h := w.st.Head()
	a := wire.Ack{Terminal: testTerminal, Epoch: h.Epoch, Through: h.Seq, Hash: h.Hash, Server: at.UnixMilli()}
	if err := w.st.PutAck(wire.Seal("ack", &a, sealKey), a); err != nil {
		w.Fatal(err)
	}
}

var past = time.Date(1970, 1, 1, 8, 0, 1, 0, money.CST)

// TestHotlistAgesByTheUtilitysTime: a link that lets acknowledgements through
// and no hotlist, and a clock that stands still or was set back.
func TestHotlistAgesByTheUtilitysTime(t *testing.T) {
	for name, back := range map[string]bool{"stands still": false, "1970": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := mustCard(t, "1001")
			w.loaded(n, 100_00)
			if back {
				w.now = past
			}
			hotlist, _ := w.term.section(wire.SectionHotlist)
			issued := time.UnixMilli(hotlist.Issued)
			if back {
				_, err := w.redeem(n, 1_00)
				wantRefusal(t, err, CodeCardExpired) // not yet valid, by that clock
				w.now = time.Date(2020, 6, 1, 0, 0, 0, 0, money.CST)
			}
			w.acked(issued.Add(71 * time.Hour))
			if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.Done {
				t.Fatal(err)
			}
			w.acked(issued.Add(73 * time.Hour))
			_, err := w.redeem(n, 1_00)
			wantRefusal(t, err, CodeHotlistOld)
			w.restart()
			_, err = w.redeem(n, 1_00)
			wantRefusal(t, err, CodeHotlistOld)
			w.section(wire.Section{Kind: wire.SectionHotlist})
			// The section bears the clock of the test's utility, which is the
			// terminal's: the acknowledgement stands above it.
			_, err = w.redeem(n, 1_00)
			wantRefusal(t, err, CodeHotlistOld)
		})
	}
}

// TestSetBackAfterTheStop: once something was too old by an entry that waits,
// setting the clock back makes it no younger, also over restarts that write
// entries with the wrong time.
func TestSetBackAfterTheStop(t *testing.T) {
	for name, back := range map[string]time.Duration{"an hour": time.Hour, "three days": 72 * time.Hour, "five years": 5 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := mustCard(t, "1001")
			w.loaded(n, 100_00)
			w.offline()
			began := w.now
			w.now = began.Add(74 * time.Hour)
			stopped := func() {
				t.Helper()
				_, err := w.topUp(n, 20_00)
				wantRefusal(t, err, CodeUnsentAge)
				_, err = w.redeem(n, 1_00)
				wantRefusal(t, err, CodeHotlistOld)
			}
			stopped()
			if err := w.term.Note(w.ctx, clerk, journal.Staff{Act: journal.ActLogin, Staff: clerk.ID}); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(-back)
			stopped()
			for range 3 {
				w.restart()
				stopped()
			}
			warned := false
			for _, c := range w.term.Status().Warnings {
				warned = warned || c == WarnClock
			}
			if !warned {
				t.Error("nobody is told that the clock was set back")
			}
			// When the utility has taken what bears the later time, its own
			// time is what counts.
			w.now = began.Add(2 * time.Hour)
			w.acked(w.now)
			if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.Done {
				t.Fatal(err)
			}
		})
	}
}

// TestCountsStopWithoutAClock: the clock stands still and the link is down for
// ever: a count ends it.
func TestCountsStopWithoutAClock(t *testing.T) {
	w := newWorld(t)
	w.shift()
	l := wire.DefaultLimits()
	l.UnsentStop = uint32(w.st.Unsent().Count) + 12
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	n := mustCard(t, "1001")
	w.loaded(n, 100_00) // three entries
	w.offline()         // one
	done := 0
	for ; done < 100; done++ {
		if _, err := w.redeem(n, 1_00); err != nil {
			wantRefusal(t, err, CodeUnsentCount)
			break
		}
	}
	if done != 4 {
		t.Fatalf("%d redemptions on one hotlist", done)
	}
}

// TestADayPerLink: a new day by the clock, forward or back, gives a card
// nothing more off line; word from the utility does.
func TestADayPerLink(t *testing.T) {
	for name, jump := range map[string]time.Duration{"a day on": 24 * time.Hour, "a day back": -24 * time.Hour, "a year back": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			l := wire.DefaultLimits()
			l.CardOfflineHard = 10
			w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
			w.offline()
			n := mustCard(t, "1001")
			w.sold(n)
			for range 2 {
				if rc, err := w.topUp(n, 100_00); err != nil || rc.Result != journal.Done {
					t.Fatal(err)
				}
			}
			_, err := w.topUp(n, 20_00)
			wantRefusal(t, err, CodeCardDayMax)
			today := w.now
			w.now = today.Add(jump)
			_, err = w.topUp(n, 20_00)
			wantRefusal(t, err, CodeCardDayMax)
			w.now = today.Add(24 * time.Hour)
			w.acked(w.now)
			if rc, err := w.topUp(n, 20_00); err != nil || rc.Result != journal.Done {
				t.Fatal(err)
			}
		})
	}
}

// sold inserts a card that was loaded before, empty, on line at another
// terminal, and for which the load SAM may load.
func (w *world) sold(n money.CardNumber) {
	w.Helper()
	c := newCard(w, n)
	w.slot.Insert(c)
	w.host.online = true
	if rc, err := w.topUp(n, 20_00); err != nil || rc.Result != journal.Done {
		w.Fatal(err)
	}
	w.host.online = false
	w.acked(w.now)
	w.now = w.now.Add(24 * time.Hour)
}

// TestAgesFarAhead: 2038, 2106 and the last year that a card can write. What
// is old stays old, and nothing overflows into young.
func TestAgesFarAhead(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(9999, 12, 31, 15, 59, 59, 0, time.UTC),
	} {
		w := newWorld(t)
		w.shift()
		l := wire.DefaultLimits()
		w.loaded(mustCard(t, "1001"), 20_00)
		w.now = at
		wantRefusal(t, w.term.checkRedeem(1_00), CodeHotlistOld)
		wantRefusal(t, w.term.checkQueue(l), CodeUnsentAge)
		for _, limit := range []uint32{0, 1, 72 * 3600, 1 << 31} {
			if older(at, at.Add(-time.Minute), 61) || !older(at, time.UnixMilli(0), min(limit, 1<<30)) || older(at, at, limit) {
				t.Errorf("%s with a limit of %d s", at, limit)
			}
		}
	}
	// A day in China has no hour that comes twice or is missing, whatever the
	// zone of the machine.
	for _, zone := range []string{"America/New_York", "Asia/Shanghai", "UTC"} {
		l, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip("no time zones on this machine")
		}
		for _, day := range []time.Time{time.Date(2024, 2, 29, 0, 0, 0, 0, money.CST), time.Date(1991, 4, 14, 0, 0, 0, 0, money.CST), time.Date(2026, 11, 1, 0, 0, 0, 0, money.CST), time.Date(2016, 12, 31, 0, 0, 0, 0, money.CST)} {
			first, last, next := day.In(l), day.Add(24*time.Hour-time.Millisecond).In(l), day.Add(24*time.Hour).In(l)
			if !sameDay(first, last) || sameDay(last, next) {
				t.Errorf("%s in %s", day, zone)
			}
		}
	}
}

// TestSetBackBeforeADate: a card that has expired and a range that has ended
// by the utility's time are not opened again by the clock.
func TestSetBackBeforeADate(t *testing.T) {
	w := newWorld(t)
	w.shift()
	until := w.now.Add(time.Hour)
	w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: mustCard(t, "5000"), To: mustCard(t, "5999"), Until: until.UnixMilli()}}})
	w.acked(until.Add(time.Minute))
	n := mustCard(t, "5001")
	w.slot.Insert(newCard(t, n))
	_, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n})
	wantRefusal(t, err, CodeCardNotOurs)
	w.acked2050()
	_, err = w.topUp(n, 20_00)
	wantRefusal(t, err, CodeCardExpired)
}

func (w *world) acked2050() {
	w.Helper()
	w.term.Note(w.ctx, clerk, journal.Staff{Act: journal.ActLogin, Staff: clerk.ID})
	w.acked(time.Date(2050, 1, 2, 0, 0, 0, 0, money.CST))
}
