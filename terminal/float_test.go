package terminal

import (
	"slices"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// float is what the utility says of the shop as of what the terminal has
// written.
func (w *world) float(f wire.Float) {
	w.Helper()
	h := w.st.Head()
	f.Epoch, f.Seq = h.Epoch, h.Seq
	w.section(wire.Section{Kind: wire.SectionFloat, Float: f})
}

// TestFloatBindsOffLine: off line nothing is sold past what the utility said
// last less what was sold since, whatever the allowance would give; on line the
// utility decides.
func TestFloatBindsOffLine(t *testing.T) {
	w := newWorld(t)
	w.shift()
	a, b := mustCard(t, "1001"), mustCard(t, "1002")
	chipB := w.loaded(b, 10_00)
	w.loaded(a, 10_00)
	w.offline()
	if f := w.term.Status().Float; f.Known {
		t.Errorf("known before it was told: %+v", f)
	}
	if rc, err := w.topUp(a, 10_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("never told: %v, %v", rc.Result, err)
	}
	w.float(wire.Float{Balance: 20_00, Ceiling: 30_00, Reserved: 10_00, Allowed: 90_00, Own: 80_00}) // 30.00 here
	at := w.now
	w.now = w.now.Add(time.Hour)
	left := func(want money.Fen) {
		t.Helper()
		if f := w.term.Status().Float; !f.Known || f.Left != want || f.Ceiling != 30_00 || !f.At.Equal(at) {
			t.Errorf("%+v, want %s left", f, want)
		}
	}
	left(30_00)
	_, err := w.topUp(a, 30_01)
	wantRefusal(t, err, CodeFloat)
	if r := err.(*Refusal); r.Limit != 30_00 {
		t.Errorf("the refusal says %s", r.Limit)
	}
	if rc, err := w.topUp(a, 18_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v, %v", rc.Result, err)
	}
	left(12_00)
	w.slot.Remove()
	w.slot.Insert(chipB)
	w.term.openCard(w.ctx)
	_, err = w.topUp(b, 13_00)
	wantRefusal(t, err, CodeFloat)
	w.restart()
	w.host.online = false
	w.slot.Insert(chipB)
	w.term.openCard(w.ctx)
	left(12_00)
	_, err = w.topUp(b, 13_00)
	wantRefusal(t, err, CodeFloat)
	if rc, err := w.topUp(b, 12_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v, %v", rc.Result, err)
	}
	left(0)
	if !slices.Contains(w.term.Status().Warnings, WarnFloat) {
		t.Errorf("no warning: %v", w.term.Status().Warnings)
	}
	// The word that comes with the link counts from what it has seen.
	w.float(wire.Float{Balance: 500_00, Ceiling: 30_00})
	at = w.now
	left(530_00)
	w.float(wire.Float{Balance: -30_00, Ceiling: 30_00})
	w.host.online = true
	if rc, err := w.topUp(b, 50_00); err != nil || rc.Result != journal.Done {
		t.Errorf("on line the utility decides: %v, %v", rc.Result, err)
	}
	left(-50_00)
	w.clean()
}

// TestFloatOfSale: the deposit of a card is out of the float too, and nobody
// else is asked about it.
func TestFloatOfSale(t *testing.T) {
	w := newWorld(t)
	w.shift()
	l := wire.DefaultLimits()
	l.CardDeposit = 20_00
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	n := mustCard(t, "5001")
	w.slot.Insert(newCard(t, n))
	w.term.openCard(w.ctx)
	w.float(wire.Float{Balance: 19_99})
	sell := func() error {
		_, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n, Tendered: 20_00})
		return err
	}
	wantRefusal(t, sell(), CodeFloat)
	w.float(wire.Float{Balance: 20_00})
	if err := sell(); err != nil {
		t.Fatal(err)
	}
	if f := w.term.Status().Float; f.Left != 0 {
		t.Errorf("%s is left", f.Left)
	}
	w.clean()
}

// TestFloatTaken: what is not certain and what is owed counts as taken; what
// was given back or paid out does not.
func TestFloatTaken(t *testing.T) {
	w := newWorld(t)
	w.shift()
	w.float(wire.Float{Balance: 1000_00})
	left := func(what string, want money.Fen) {
		t.Helper()
		if f := w.term.Status().Float; f.Left != want {
			t.Errorf("%s: %s is left, want %s", what, f.Left, want)
		}
	}
	r := bill()
	r.Again = account
	w.host.lose = 2
	rc, err := w.term.PayBill(w.ctx, r)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatal(rc.Result, err)
	}
	left("a bill that is not certain", 920_00)
	w.host.refuse = wire.CodeNoRoom
	r.Token = token()
	rc, err = w.term.PayBill(w.ctx, r)
	if err != nil || rc.Result != journal.NotDone {
		t.Fatal(rc.Result, err)
	}
	left("a bill that was not done, whose cash is owed", 840_00)
	if _, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name}); err != nil {
		t.Fatal(err)
	}
	left("and given back", 920_00)
	w.host.refuse = wire.OK
	claim := journal.Name{Terminal: money.TerminalID{1}, Epoch: 1, Seq: 9}
	w.host.claims[claim] = 50_00
	if rc, err := w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: claim, Amount: 50_00}); err != nil || rc.Result != journal.Done {
		t.Fatal(rc.Result, err)
	}
	left("a claim was paid out", 970_00)
	w.loaded(mustCard(t, "1001"), 100_00)
	left("a top-up", 870_00)
	// More than one page of the journal, and the figure is of all of it.
	for range 120 {
		if _, err := w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: customer, Card: mustCard(t, "1001"), Account: account, Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	left("payments with cards cost the shop nothing", 870_00)
}
