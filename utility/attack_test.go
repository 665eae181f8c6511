package utility_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// The tests of this file are a dishonest terminal: it has valid keys, signs
// what it likes, and wants value that nobody pays for.

func roomOf(t *testing.T, w *World) money.Fen {
	t.Helper()
	r, err := w.Service.ShopRoom(ctx, Shop)
	if err != nil {
		t.Fatal(err)
	}
	return r.Room
}

// TestNameOfAuthorisedLoad: an entry that takes the name of a load for which
// MAC2 was given must not erase what that load reserved, and a person is told:
// it may be an honest entry, and the load that of a copy of the keys.
func TestNameOfAuthorisedLoad(t *testing.T) {
	for name, hide := range map[string]func(*Terminal) journal.Body{
		"a purchase":          func(x *Terminal) journal.Body { in := NewCard(10002).InitPurchase(x, Account, 1); return &in },
		"a load by the SAM":   func(x *Terminal) journal.Body { in := x.InitSAMLoad(NewCard(10002), 1); return &in },
		"a load of its own":   func(x *Terminal) journal.Body { in := NewCard(10002).InitLoad(x.ID, 1); return &in },
		"the same, less cash": func(x *Terminal) journal.Body { in := NewCard(10001).InitLoad(x.ID, 1); return &in },
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t)
			x := w.Terminal(1)
			c := NewCard(10001)
			before := roomOf(t, w)
			in := c.InitLoad(x.ID, 500_00)
			a := w.Authorise(x, x.Next(), in)
			if _, ok := c.Credit(x.ID, in, a.Stamp, a.MAC2); !ok {
				t.Fatal("the card refuses MAC2")
			}
			n := x.Add(journal.Name{}, hide(x))
			x.Add(n, pay(journal.NotDone))
			w.Sync(x)
			if got := roomOf(t, w); got != before-500_00 {
				t.Errorf("the card carries 500.00, the shop's room is %s as if it did not", got)
			}
			if al, err := w.Service.Alarms(ctx); err != nil || len(al) != 1 || al[0].Kind != record.AlarmName || al[0].Name != n {
				t.Errorf("alarms %+v, %v; want one about %s", al, err, n)
			}
			w.Audit()
		})
	}
}

// TestTACTwice: one debit of the card, told twice. A TAC does not cover the
// card's counter, so without MAC2 it proves no second one.
func TestTACTwice(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	c := NewCard(10001)
	in := c.InitPurchase(x, Account, 10_00)
	tac, mac2 := c.Debit(x.ID, in)
	x.Add(x.Add(journal.Name{}, &in), doneWith(tac, mac2, journal.EvidenceAnswer))
	for range 3 {
		in.Counter++
		in.Account++
		n := x.Add(journal.Name{}, &in)
		x.Add(n, doneWith(tac, suite.MAC{}, journal.EvidenceProof))
	}
	w.Sync(x)
	sum := money.Fen(0)
	for i := range money.AccountNumber(4) {
		sum += w.Balance("customer/" + (Account + i).String())
	}
	if sum != 10_00 {
		t.Errorf("the card paid 10.00, customers were credited %s", sum)
	}
	w.Audit()
}

// TestReleaseOfWhatTheSAMNeverGave: a load that was proven shows that others
// of the same counter never happened, but not that the SAM ever gave MAC2 for
// them.
func TestReleaseOfWhatTheSAMNeverGave(t *testing.T) {
	type world struct {
		*World
		x  *Terminal
		c  *Card
		in journal.LoadIntent // the real one
		m  suite.MAC
	}
	for name, lie := range map[string]func(w *world){
		"only said": func(w *world) {
			in := w.in
			in.Amount, in.Tendered = 200_00, 0
			w.x.Add(w.x.Add(journal.Name{}, &in), &journal.LoadOutcome{Result: journal.NotDone, SAMGave: true, After: journal.NoBalance})
		},
		"with an invented MAC2": func(w *world) {
			in := w.in
			in.Amount, in.Tendered = 200_00, 0
			n := w.x.Add(journal.Name{}, &in)
			w.x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: suite.MAC{1, 2, 3, 4}})
			w.x.Add(n, load(journal.NotDone))
		},
		"with a MAC2 guessed at the second try": func(w *world) {
			in := w.x.InitSAMLoad(w.c, 200_00)
			in.Tendered = 0
			n := w.x.Add(journal.Name{}, &in)
			w.x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: suite.MAC{1, 2, 3, 4}})
			w.x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: w.c.MAC2(w.x.ID, in, in.Stamp)})
			w.x.Add(n, load(journal.NotDone))
		},
		"with the MAC2 of the real load": func(w *world) {
			in := w.in
			in.Tendered = 0
			n := w.x.Add(journal.Name{}, &in)
			w.x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: w.m})
			w.x.Add(n, load(journal.NotDone))
		},
		"with the MAC2 of the utility": func(w *world) {
			in := w.c.InitLoad(w.x.ID, 10_00)
			in.Tendered = 0
			a := w.Authorise(w.x, w.x.Add(journal.Name{}, &in), in)
			in.Authority, in.SAM, in.Stamp = journal.AuthoritySAM, w.x.LoadSAM, a.Stamp
			n := w.x.Add(journal.Name{}, &in)
			w.x.Add(n, &journal.LoadAuthorised{Stamp: a.Stamp, MAC2: a.MAC2})
			w.x.Add(n, load(journal.NotDone))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{World: NewWorld(t), c: NewCard(10001)}
			w.x = w.Terminal(1)
			w.Service.SetAllowancePolicy(ctx, w.x.ID, 300_00, 10)
			a, err := w.Service.IssueAllowance(ctx, w.x.ID, wire.AllowanceRequest{SAM: w.x.LoadSAM, Challenge: [8]byte{1}, State: w.x.State([8]byte{1}, suite.Allowance{})})
			if err != nil || a.Refused != wire.OK {
				t.Fatal(a, err)
			}
			w.in = w.x.InitSAMLoad(w.c, 10_00)
			w.m = w.x.SAMGive(w.c, w.in)
			n := w.x.Add(journal.Name{}, &w.in)
			w.x.Add(n, &journal.LoadAuthorised{Stamp: w.in.Stamp, MAC2: w.m})
			lie(w)
			tac, ok := w.c.Credit(w.x.ID, w.in, w.in.Stamp, w.m)
			if !ok {
				t.Fatal("the card refuses MAC2")
			}
			w.x.Add(n, loaded(tac))
			w.Sync(w.x)
			// 1000 − 10 paid − 290 that the SAM may still give, or gave.
			if got := roomOf(t, w.World); got != 700_00 {
				t.Errorf("room %s, want 700.00", got)
			}
			w.Audit()
		})
	}
}

// TestForeignSAM: a terminal without a load SAM of its own can't book loads
// on another's.
func TestForeignSAM(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	y := &Terminal{ID: money.TerminalID{0x31, 9}, Shop: Shop, PSAM: money.SAMID{0x0A, 9: 9}, Now: x.Now}
	w.Enrol(y)
	in := NewCard(10001).InitLoad(y.ID, 500_00)
	in.Authority, in.SAM, in.Stamp = journal.AuthoritySAM, x.LoadSAM, money.StampOf(w.Time)
	y.Add(y.Add(journal.Name{}, &in), &journal.LoadOutcome{Result: journal.Unknown, SAMGave: true, After: journal.NoBalance})
	w.Sync(y)
	checkHeld(t, w, []string{record.HeldSAM, record.HeldIntent})
	w.Audit()
}

// TestForksOfMany: however many forks one terminal signs, another's first is
// seen; and what is no longer kept is not told to be held.
func TestForksOfMany(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	fork := func(x *Terminal, i int) error {
		f := *x
		f.Entries, f.Hashes = nil, x.Hashes[:1:1]
		f.Add(journal.Name{}, &journal.ShiftOpen{Number: uint32(i) + 2})
		_, err := w.Service.Intake(ctx, f.ID, f.Batch(0, 1))
		return err
	}
	for _, z := range []*Terminal{x, y} {
		z.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
		w.Sync(z)
	}
	for i := range 70 {
		if err := fork(x, i); (err != nil) != (i >= 64) || err != nil && !errors.Is(err, utility.ErrRefused) {
			t.Errorf("fork %d: %v", i, err)
		}
	}
	if err := fork(y, 0); err != nil {
		t.Error(err)
	}
	if a := w.Authorise(y, y.Next(), NewCard(10001).InitLoad(y.ID, 10_00)); a.Refused != wire.CodeTerminal {
		t.Errorf("it signed two entries of one name and may sell: %q", a.Refused)
	}
	w.Audit()
}

// TestForkOfAnEarlierEpoch: a terminal that was enrolled again after a review
// hands over what contradicts its earlier epoch. That is kept and raises the
// alarm, and does not take away the selling right that it was given anew.
func TestForkOfAnEarlierEpoch(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	x.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
	w.Sync(x)
	f := *x
	f.Entries, f.Hashes = nil, x.Hashes[:1:1]
	f.Add(journal.Name{}, &journal.ShiftOpen{Number: 2})
	w.Enrol(x)
	if _, err := w.Service.Intake(ctx, f.ID, f.Batch(0, 1)); err != nil {
		t.Fatal(err)
	}
	if al, err := w.Service.Alarms(ctx); err != nil || len(al) != 1 || al[0].Kind != record.AlarmEquivocation {
		t.Errorf("alarms %v, %v", al, err)
	}
	if a := w.Authorise(x, x.Next(), NewCard(10001).InitLoad(x.ID, 10_00)); a.Refused != wire.OK {
		t.Errorf("refused with %q", a.Refused)
	}
	w.Audit()
}

// TestCashReturnedOfAnotherAmount: the claim is paid out whole or not at all.
func TestCashReturnedOfAnotherAmount(t *testing.T) {
	for _, a := range []money.Fen{1, 9_99, 10_01, 0, -10_00} {
		w := NewWorld(t)
		x := w.Terminal(1)
		in := NewCard(10001).InitLoad(x.ID, 10_00)
		n := x.Add(journal.Name{}, &in)
		x.Add(n, load(journal.NotDone))
		x.Add(n, &journal.CashReturned{Amount: a})
		w.Sync(x)
		checkHeld(t, w, []string{record.HeldAmount})
		if got := w.Balance("claim/" + n.String()); got != 10_00 {
			t.Errorf("%s said to be returned: the claim is %s", a, got)
		}
		w.Audit()
	}
}

// TestHotlistStaysFresh: a hotlist in which nobody was entered for weeks must
// not stop redemptions at terminals that ask for it every day.
func TestHotlistStaysFresh(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	var have wire.Section
	hello := func() (got bool) {
		t.Helper()
		h := wire.Hello{Head: x.Head(), Have: []wire.SectionVersion{{Kind: wire.SectionHotlist, Version: have.Version}}}
		a, err := w.Service.Hello(ctx, x.ID, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range a.Sections {
			var s wire.Section
			if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
				t.Fatal(err)
			}
			if s.Kind == wire.SectionHotlist {
				have, got = s, true
			}
		}
		return got
	}
	for day := range 30 {
		if day == 10 {
			w.Service.BlockCard(ctx, CardNumber(7))
		}
		hello()
		if hello() {
			t.Fatal("the same hotlist came twice at once")
		}
		if age := w.Time.Sub(time.UnixMilli(have.Issued)); age > 24*time.Hour {
			t.Fatalf("day %d: on line, and the hotlist is %s old", day, age)
		}
		if have.Hotlist.Has(CardNumber(7)) != (day >= 10) {
			t.Fatalf("day %d: blocked cards %v", day, have.Hotlist)
		}
		w.Time = w.Time.Add(24 * time.Hour)
	}
}
