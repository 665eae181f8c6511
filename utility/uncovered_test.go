package utility_test

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestClaimsBeyondTheShopsMoney: a terminal's bare word makes a claim on its
// shop, for the customer's sake. It is no way past the shop's ceiling: what the
// shop has no money for it pays itself, out of the drawer in which the cash
// lies, and no other shop pays it with the utility's.
func TestClaimsBeyondTheShopsMoney(t *testing.T) {
	const each = 400_00
	w := NewWorld(t) // the shop has 1000.00 and no ceiling
	x, x2, y := w.Terminal(1), w.Terminal(2), otherShop(t, w)
	reserved, _, _ := owed(t, w, x, NewCard(10001)) // MAC2 was given for it, in the shop's room
	bill := func() journal.Name {
		in := billOf(each)
		n := x.Add(journal.Name{}, &in)
		x.Add(n, &journal.BillOutcome{Decided: decided(journal.NotDone)})
		return n
	}
	load := func() journal.Name { // for which nobody asked for MAC2
		in := NewCard(10002).InitLoad(x.ID, each)
		n := x.Add(journal.Name{}, &in)
		x.Add(n, &journal.LoadOutcome{Result: journal.NotDone, Reason: journal.ReasonHostUnreachable, Evidence: journal.EvidenceNotSent})
		return n
	}
	claims := []journal.Name{bill(), load(), bill(), load()}
	if v := w.Sync(x); len(v) > 0 {
		t.Fatal(v)
	}
	look := func(at *Terminal, n journal.Name) wire.Code {
		t.Helper()
		a, err := w.Service.LookUpClaim(ctx, at.ID, wire.ClaimQuestion{Claim: n})
		if err != nil {
			t.Fatal(err)
		}
		if a.Refused != wire.OK && a.Amount != 0 {
			t.Errorf("%+v", a)
		}
		return a.Refused
	}
	pay := func(at *Terminal, n journal.Name, amount money.Fen, want wire.Code) {
		t.Helper()
		if c := look(at, n); c != want {
			t.Errorf("looked up: %q, want %q", c, want)
		}
		in := journal.ClaimIntent{Claim: n, Amount: amount, How: journal.PayoutCash}
		if c := collect(t, w, at, at.Next(), in, false); c != want {
			t.Errorf("paid out: %q, want %q", c, want)
		}
		at.Add(journal.Name{}, &in)
	}
	for _, n := range claims {
		pay(y, n, each, wire.CodeUncovered)
	}
	pay(y, reserved, 100_00, wire.OK) // what was promised at every counter is kept
	if got := w.Balance("shop/10000002"); got != 100_00 {
		t.Errorf("the other shop got %s", got)
	}
	pay(x2, claims[0], each, wire.OK) // at its own shop
	w.Audit()
	if err := w.Service.PayFloat(ctx, Shop, 400_00, "paid in"); err != nil {
		t.Fatal(err)
	}
	pay(y, claims[1], each, wire.OK) // as soon as there is money for all of it
	w.Sync(x2)
	w.Sync(y)
	w.Audit()
	if room := roomOf(t, w); room < 0 {
		t.Errorf("the shop is %s beyond its ceiling", room)
	}
}
