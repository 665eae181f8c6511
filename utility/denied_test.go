package utility_test

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestDenied: a terminal that says that nothing happened, where the card has
// been loaded and debited, is found out by the next terminal that sees the
// card. What it denied is asked for by name; the shop pays for the load, the
// customer's account gets the payment, and the shop is named.
func TestDenied(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	c := NewCard(10001)
	w.TopUp(x, c, 100_00)

	denied := c.InitLoad(x.ID, 50_00)
	nl := x.Next()
	ans := w.Authorise(x, nl, denied)
	x.Add(journal.Name{}, &denied)
	ltac, ok := c.Credit(x.ID, denied, ans.Stamp, ans.MAC2)
	if !ok {
		t.Fatal("not loaded")
	}
	x.Add(nl, load(journal.NotDone))
	x.Add(nl, &journal.CashReturned{Amount: 50_00})
	pin := c.InitPurchase(x, Account, 20_00)
	np := x.Add(journal.Name{}, &pin)
	ptac, pmac := c.Debit(x.ID, pin)
	x.Add(np, pay(journal.NotDone))
	refused := NewCard(10002).InitLoad(x.ID, 10_00) // never authorised: nothing to ask for, its cash is a claim
	nr := x.Add(journal.Name{}, &refused)
	x.Add(nr, load(journal.NotDone))
	w.Sync(x)

	a, err := w.Service.Hello(ctx, y.ID, wire.Hello{Version: wire.Version, Head: y.Head()})
	if err != nil {
		t.Fatal(err)
	}
	asked := map[journal.Name]bool{}
	for _, b := range a.Sections {
		var s wire.Section
		if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
			t.Fatal(err)
		}
		for _, it := range s.Items {
			asked[it.Name] = it.Doubted
		}
	}
	if len(asked) != 2 || !asked[nl] || !asked[np] {
		t.Fatalf("terminals are asked for %v, want %s and %s", asked, nl, np)
	}

	y.Add(journal.Name{}, &journal.Observation{Item: nl, Card: c.Number, TxType: denied.TxType, Counter: denied.Counter, HasTAC: true, TAC: ltac, Now: c.Online, Balance: c.Balance})
	y.Add(journal.Name{}, &journal.Observation{Item: np, Card: c.Number, TxType: pin.TxType, Counter: pin.Counter, HasTAC: true, TAC: ptac, MAC2: pmac, Now: c.Offline, Balance: c.Balance})
	w.Sync(y)
	for account, want := range (balances{cardAcc(c): 130_00, custAcc: 20_00, shopAcc: 1000_00 - 150_00 - 10_00}) {
		if got := w.Balance(account); got != want {
			t.Errorf("%s stands at %s, want %s", account, got, want)
		}
	}
	al, err := w.Service.Alarms(ctx)
	if err != nil || len(al) != 2 || al[0].Kind != record.AlarmLate || al[1].Kind != record.AlarmLate || al[0].Name.Terminal != x.ID {
		t.Errorf("alarms %v, %v", al, err)
	}
	w.Audit()
}

// TestEndOfAnother: a load was authorised under a name whose entry was lost
// with the disk; the restored terminal signs a debit under that name, which is
// held. How the load ended says nothing of the debit.
func TestEndOfAnother(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	loadedThere, debited := NewCard(10001), NewCard(10002)
	w.TopUp(y, debited, 100_00)
	w.Sync(y)
	n := x.Next()
	w.Authorise(x, n, loadedThere.InitLoad(x.ID, 30_00))
	w.TopUp(y, loadedThere, 30_00) // at the same step of its counter
	w.Sync(y)
	in := debited.InitPurchase(x, Account, 20_00)
	if got := x.Add(journal.Name{}, &in); got != n {
		t.Fatalf("%s, not %s", got, n)
	}
	debited.Debit(x.ID, in)
	x.Add(n, pay(journal.Unknown))
	w.Sync(x)
	if a, err := w.Service.Ask(ctx, x.ID, wire.Question{Name: n}); err != nil || !a.Held || a.Ended != 0 {
		t.Errorf("the debit happened, and the terminal is told %+v, %v", a, err)
	}
}

// TestOvertaken: two terminals asked a card at the same step of its counters.
// The one where it acted is quicker on the line; the other learns, when it
// asks, that nothing happened there, whether it came before or after, and
// whoever asks under a name that stands for another entry is told its hash.
func TestOvertaken(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	c := NewCard(10001)
	w.TopUp(x, c, 100_00)
	w.Sync(x)

	pin := c.InitPurchase(x, Account, 20_00)
	np := x.Add(journal.Name{}, &pin)
	x.Add(np, pay(journal.Unknown))
	lin := c.InitLoad(x.ID, 30_00)
	nl := x.Next()
	w.Authorise(x, nl, lin)
	x.Add(journal.Name{}, &lin)
	x.Add(nl, load(journal.Unknown))
	y.Redeem(c, Account, 20_00)
	w.TopUp(y, c, 30_00)
	w.Sync(y)
	w.Sync(x)
	late := NewCard(10002)
	w.TopUp(y, late, 50_00)
	intent := late.InitPurchase(x, Account, 1_00)
	ny := x.Add(journal.Name{}, &intent)
	w.Sync(x)
	done := y.Redeem(late, Account, 1_00)
	w.Sync(y)

	for _, q := range []struct {
		at    *Terminal
		name  journal.Name
		ended journal.Result
	}{{x, np, journal.NotDone}, {x, nl, journal.NotDone}, {x, ny, journal.NotDone}, {y, done, journal.Done}} {
		a, err := w.Service.Ask(ctx, q.at.ID, wire.Question{Name: q.name})
		if err != nil || !a.Stored || a.Ended != q.ended || a.Hash != q.at.Hashes[q.name.Seq] {
			t.Errorf("%s: %+v, %v", q.name, a, err)
		}
	}
	x.Add(np, &journal.PurchaseOutcome{Result: journal.NotDone, Evidence: journal.EvidenceUtility, After: journal.NoBalance})
	x.Add(nl, &journal.LoadOutcome{Result: journal.NotDone, Evidence: journal.EvidenceUtility, After: journal.NoBalance})
	w.Sync(x)
	if list, err := w.Service.OpenItems(ctx); err != nil || len(list) != 0 {
		t.Errorf("held: %v, %v", list, err)
	}
	if list, err := w.Service.Quarantine(ctx); err != nil || len(list) != 0 {
		t.Errorf("quarantine: %v, %v", list, err)
	}
	for account, want := range (balances{cardAcc(c): 110_00, custAcc: 21_00, "claim/" + nl.String(): 30_00}) {
		if got := w.Balance(account); got != want {
			t.Errorf("%s stands at %s, want %s", account, got, want)
		}
	}
	w.Audit()
}
