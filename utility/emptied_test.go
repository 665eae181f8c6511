package utility_test

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// empties writes the intent of a debit that takes a card's balance off it.
func empties(x *Terminal, c *Card, a money.Fen) (journal.Name, journal.PurchaseIntent) {
	in := c.InitPurchase(x, 0, a)
	in.Purpose = journal.PurposeEmpty
	return x.Add(journal.Name{}, &in), in
}

// TestEmptied: what a damaged card proves to have paid waits under the number
// of the debit and is paid out once, however often the card tells of it.
func TestEmptied(t *testing.T) {
	w := NewWorld(t)
	x, y, c := w.Terminal(1), w.Terminal(2), NewCard(10001)
	w.TopUp(x, c, 80_00)
	n, in := empties(x, c, 80_00)
	w.Sync(x)
	look := func() wire.Code {
		t.Helper()
		a, err := w.Service.LookUpClaim(ctx, y.ID, wire.ClaimQuestion{Claim: n})
		if err != nil {
			t.Fatal(err)
		}
		if a.Refused == wire.OK && (a.Kind != wire.ClaimReplace || a.Amount != 80_00 || a.Last4 != "0001") {
			t.Errorf("%+v", a)
		}
		return a.Refused
	}
	out := journal.ClaimIntent{Claim: n, Amount: 80_00, How: journal.PayoutCash}
	if got := look(); got != wire.CodeNotSettled {
		t.Errorf("before the card proved it: %q", got)
	}
	if got := collect(t, w, y, y.Next(), out, false); got != wire.CodeNotSettled {
		t.Errorf("paid out before the card proved it: %q", got)
	}
	y.Add(journal.Name{}, &out)
	y.Add(journal.Name{Terminal: y.ID, Epoch: 1, Seq: y.Next().Seq - 1}, &journal.ClaimOutcome{Decided: decided(journal.NotDone)})
	w.Sync(y)
	tac, mac2 := c.Debit(x.ID, in)
	x.Add(n, pay(journal.Unknown)) // the answer was lost
	w.Sync(x)
	check(t, w, balances{"shop": -80_00, "card": 0, "held": 80_00, "claim": 0}, c, n)
	if got := look(); got != wire.CodeNotSettled {
		t.Errorf("while it is unknown: %q", got)
	}
	// The card turns up at another terminal and proves it.
	proof := &journal.Observation{Item: n, Card: c.Number, TxType: in.TxType, Counter: in.Counter, HasTAC: true, TAC: tac, MAC2: mac2, Now: in.Counter + 1}
	y.Add(journal.Name{}, proof)
	w.Sync(y)
	check(t, w, balances{"shop": -80_00, "card": 0, "held": 0, "claim": 80_00}, c, n)
	if got := look(); got != wire.OK {
		t.Errorf("proven: %q", got)
	}
	if a, err := w.Service.Ask(ctx, x.ID, wire.Question{Name: n}); err != nil || a.Ended != journal.Done {
		t.Errorf("asked how it ended: %+v, %v", a, err)
	}
	w.Audit()
	if got := collect(t, w, y, y.Next(), out, false); got != wire.OK {
		t.Fatalf("pay out: %q", got)
	}
	p := y.Add(journal.Name{}, &out)
	y.Add(p, &journal.ClaimOutcome{Decided: decided(journal.Done)})
	w.Sync(y)
	check(t, w, balances{"shop": 0, "card": 0, "claim": 0}, c, n)
	// The old card turns up again and again, here and there.
	x.Add(n, doneWith(tac, mac2, journal.EvidenceAnswer))
	y.Add(journal.Name{}, proof)
	for _, at := range []*Terminal{x, y} {
		if v := w.Sync(at); len(v) != 0 {
			t.Errorf("held %v", v)
		}
	}
	check(t, w, balances{"shop": 0, "card": 0, "claim": 0}, c, n)
	if got := collect(t, w, x, x.Next(), out, false); got != wire.CodeTwice {
		t.Errorf("paid out again: %q", got)
	}
	w.Open() // made anew of the log
	w.Audit()
}

// TestEmptiedNotDone: a debit that did not happen leaves the value on the card
// and owes nothing.
func TestEmptiedNotDone(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	w.TopUp(x, c, 80_00)
	n, _ := empties(x, c, 80_00)
	x.Add(n, pay(journal.Unknown))
	x.Add(n, pay(journal.NotDone))
	w.Sync(x)
	check(t, w, balances{"shop": -80_00, "card": 80_00, "claim": 0, "held": 0}, c, n)
	a, err := w.Service.LookUpClaim(ctx, x.ID, wire.ClaimQuestion{Claim: n})
	if err != nil || a.Refused != wire.CodeUnknownItem {
		t.Errorf("%+v, %v", a, err)
	}
	// Whichever terminal sees the card asks it once more.
	h, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: x.Head()})
	if err != nil {
		t.Fatal(err)
	}
	var items []wire.Item
	for _, b := range h.Sections {
		var s wire.Section
		if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
			t.Fatal(err)
		}
		items = append(items, s.Items...)
	}
	if len(items) != 1 || items[0].Name != n || !items[0].Doubted {
		t.Errorf("asked of cards: %+v", items)
	}
	// Another debit of that step of the counter proves that it never happened.
	m, in := empties(x, c, 80_00)
	tac, mac2 := c.Debit(x.ID, in)
	x.Add(m, doneWith(tac, mac2, journal.EvidenceAnswer))
	w.Sync(x)
	check(t, w, balances{"shop": -80_00, "card": 0, "claim": 80_00}, c, m)
	w.Audit()
}

// TestEmptiedClone: two chips of one number can't both be emptied at one step
// of the counter, not even after the first claim was paid out.
func TestEmptiedClone(t *testing.T) {
	for _, collected := range []bool{false, true} {
		w := NewWorld(t)
		x, y, c := w.Terminal(1), w.Terminal(2), NewCard(10001)
		w.TopUp(x, c, 80_00)
		other := c.Clone()
		n, in := empties(x, c, 80_00)
		tac, mac2 := c.Debit(x.ID, in)
		x.Add(n, doneWith(tac, mac2, journal.EvidenceAnswer))
		w.Sync(x)
		if collected {
			out := journal.ClaimIntent{Claim: n, Amount: 80_00, How: journal.PayoutCash}
			if got := collect(t, w, x, x.Next(), out, false); got != wire.OK {
				t.Fatal(got)
			}
			x.Add(journal.Name{}, &out)
			w.Sync(x)
		}
		m, in := empties(y, other, 80_00)
		tac, mac2 = other.Debit(y.ID, in)
		y.Add(m, doneWith(tac, mac2, journal.EvidenceAnswer))
		w.Sync(y)
		checkHeld(t, w, []string{record.HeldTwice})
		if got := w.Balance("claim/" + m.String()); got != 0 || w.Balance(cardAcc(c)) != 0 {
			t.Errorf("collected %v: the second chip has a claim of %s, the card %s", collected, got, w.Balance(cardAcc(c)))
		}
		if a, err := w.Service.LookUpClaim(ctx, y.ID, wire.ClaimQuestion{Claim: m}); err != nil || a.Refused == wire.OK {
			t.Errorf("collected %v: the second chip's claim waits: %+v, %v", collected, a, err)
		}
		w.Audit()
	}
}

// TestEmptiedToAccount: a debit has one receiver.
func TestEmptiedToAccount(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	w.TopUp(x, c, 80_00)
	in := c.InitPurchase(x, Account, 80_00)
	in.Purpose = journal.PurposeEmpty
	x.Add(journal.Name{}, &in)
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldMalformed})
	w.Audit()
}
