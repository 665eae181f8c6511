package utility_test

import (
	"context"
	"crypto/ed25519"
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

var ctx = context.Background()

// balances of a table row: account → fen. Accounts not named are not checked,
// the audit checks them all.
type balances map[string]money.Fen

const (
	shopAcc = "shop/10000001"
	custAcc = "customer/1000000001"
)

func cardAcc(c *Card) string { return "card/" + c.Number.String() }

// done makes the outcome of a redemption with the card's cryptograms.
func done(tac, mac2 suite.MAC) func(journal.Evidence) *journal.PurchaseOutcome {
	return func(ev journal.Evidence) *journal.PurchaseOutcome { return doneWith(tac, mac2, ev) }
}

func pay(r journal.Result) *journal.PurchaseOutcome {
	return &journal.PurchaseOutcome{Result: r, After: journal.NoBalance}
}

func loaded(tac suite.MAC) *journal.LoadOutcome {
	return &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true, TAC: tac, After: journal.NoBalance}
}

func load(r journal.Result) *journal.LoadOutcome {
	return &journal.LoadOutcome{Result: r, After: journal.NoBalance}
}

// TestRedemptionPostings has a row for each posting of a redemption.
func TestRedemptionPostings(t *testing.T) {
	type step struct {
		w    *World
		t, u *Terminal // u is another terminal of the shop
		c    *Card
	}
	for _, row := range []struct {
		name string
		do   func(s step) journal.Name
		want balances // of card, customer, suspense, held/E as "held"
		held []string // reasons in quarantine
		late bool
	}{
		{name: "done", do: func(s step) journal.Name { return s.t.Redeem(s.c, Account, 10_00) },
			want: balances{"card": -10_00, custAcc: 10_00}},
		{name: "done to an account that nobody knows", do: func(s step) journal.Name { return s.t.Redeem(s.c, Unknown, 10_00) },
			want: balances{"card": -10_00, "suspense": 10_00}},
		{name: "intent only", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			return s.t.Add(journal.Name{}, &in)
		}, want: balances{"card": 0, custAcc: 0}},
		{name: "not done", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.NotDone))
			return n
		}, want: balances{"card": 0, custAcc: 0}},
		{name: "unknown", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			return n
		}, want: balances{"card": -10_00, "held": 10_00}},
		{name: "done without a cryptogram", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceLog, After: journal.NoBalance})
			return n
		}, want: balances{"card": -10_00, "held": 10_00}},
		{name: "unknown, then the card's proof", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.t.Add(n, done(s.c.Debit(s.t.ID, in))(journal.EvidenceProof))
			return n
		}, want: balances{"card": -10_00, custAcc: 10_00, "held": 0}},
		{name: "proof with TAC and MAC2 the other way round", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			tac, mac2 := s.c.Debit(s.t.ID, in)
			s.t.Add(n, doneWith(mac2, tac, journal.EvidenceProof))
			return n
		}, want: balances{"card": -10_00, custAcc: 10_00}},
		{name: "proof without MAC2", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			tac, _ := s.c.Debit(s.t.ID, in)
			s.t.Add(n, doneWith(tac, suite.MAC{}, journal.EvidenceProof))
			return n
		}, want: balances{"card": -10_00, custAcc: 0, "held": 10_00}},
		{name: "unknown, then not done: provisionally back", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.t.Add(n, pay(journal.NotDone))
			return n
		}, want: balances{"card": 0, "held": 0}},
		{name: "unknown, not done, then proved: posted, with an alarm", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.t.Add(n, pay(journal.NotDone))
			s.t.Add(n, done(s.c.Debit(s.t.ID, in))(journal.EvidenceProof))
			return n
		}, want: balances{"card": -10_00, custAcc: 10_00}, late: true},
		{name: "unknown, proved by another terminal", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.w.Sync(s.t)
			tac, mac2 := s.c.Debit(s.t.ID, in)
			s.u.Add(journal.Name{}, &journal.Observation{Item: n, Card: s.c.Number, TxType: in.TxType, Counter: in.Counter, HasTAC: true, TAC: tac, MAC2: mac2, Now: s.c.Offline, Balance: s.c.Balance})
			return n
		}, want: balances{"card": -10_00, custAcc: 10_00, "held": 0}},
		{name: "unknown, unmoved counter seen by another terminal", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.w.Sync(s.t)
			s.u.Add(journal.Name{}, &journal.Observation{Item: n, Card: s.c.Number, TxType: in.TxType, Counter: in.Counter, Now: in.Counter, Balance: s.c.Balance})
			return n
		}, want: balances{"card": 0, custAcc: 0, "held": 0}},
		{name: "an observation that is not of the item", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.w.Sync(s.t)
			o := journal.Observation{Item: n, Card: s.c.Number, TxType: in.TxType, Counter: in.Counter + 1, Now: in.Counter + 1, Balance: s.c.Balance}
			s.u.Add(journal.Name{}, &o)
			o.Counter, o.Now, o.Card = in.Counter, in.Counter, CardNumber(10002)
			s.u.Add(journal.Name{}, &o)
			o.Item.Seq += 100
			s.u.Add(journal.Name{}, &o)
			return n
		}, want: balances{"card": -10_00, "held": 10_00}, held: []string{record.HeldMismatch, record.HeldMismatch, record.HeldUnknownItem}},
		{name: "unknown, then another redemption bears its counter", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			s.t.Add(n, pay(journal.Unknown))
			s.u.Redeem(s.c, Account+1, 3_00)
			return n
		}, want: balances{"card": -3_00, custAcc: 0, "customer/1000000002": 3_00, "held": 0}},
		{name: "wrong TAC", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			tac, mac2 := s.c.Debit(s.t.ID, in)
			tac[0] ^= 1
			s.t.Add(n, doneWith(tac, mac2, journal.EvidenceAnswer))
			return n
		}, want: balances{"card": 0, custAcc: 0}, held: []string{record.HeldBadTAC}},
		{name: "wrong MAC2", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			n := s.t.Add(journal.Name{}, &in)
			tac, mac2 := s.c.Debit(s.t.ID, in)
			mac2[0] ^= 1
			s.t.Add(n, doneWith(tac, mac2, journal.EvidenceAnswer))
			return n
		}, want: balances{"card": 0, custAcc: 0}, held: []string{record.HeldBadMAC2}},
		{name: "a counter proved twice is a clone", do: func(s step) journal.Name {
			twin := *s.c
			s.t.Redeem(s.c, Account, 10_00)
			return s.u.Redeem(&twin, Account, 10_00)
		}, want: balances{"card": -10_00, custAcc: 10_00}, held: []string{record.HeldTwice}},
		{name: "unknown card", do: func(s step) journal.Name { return s.t.Redeem(NewCard(500000), Account, 10_00) },
			want: balances{custAcc: 0}, held: []string{record.HeldUnknownCard, record.HeldIntent}},
		{name: "another PSAM", do: func(s step) journal.Name {
			s.t.PSAM[9] = 0xEE
			return s.t.Redeem(s.c, Account, 10_00)
		}, want: balances{custAcc: 0}, held: []string{record.HeldPSAM, record.HeldIntent}},
		{name: "transaction type of a deposit", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 10_00)
			in.TxType = suite.TypeEDPurchase
			return s.t.Add(journal.Name{}, &in)
		}, want: balances{custAcc: 0}, held: []string{record.HeldTxType}},
		{name: "an outcome of nothing", do: func(s step) journal.Name {
			return s.t.Add(journal.Name{Epoch: 1, Seq: 77}, pay(journal.Done))
		}, want: balances{custAcc: 0}, held: []string{record.HeldNoIntent}},
		{name: "done, then not done", do: func(s step) journal.Name {
			n := s.t.Redeem(s.c, Account, 10_00)
			s.t.Add(n, pay(journal.NotDone))
			return n
		}, want: balances{"card": -10_00, custAcc: 10_00}, held: []string{record.HeldContradiction}},
		{name: "an amount of nothing", do: func(s step) journal.Name {
			in := s.c.InitPurchase(s.t, Account, 0)
			return s.t.Add(journal.Name{}, &in)
		}, held: []string{record.HeldAmount}},
		{name: "a type that a newer program knows", do: func(s step) journal.Name {
			s.t.Add(journal.Name{}, &journal.Unrecognised{Kind: 999, Bytes: []byte{1}})
			return s.t.Redeem(s.c, Account, 10_00)
		}, want: balances{custAcc: 10_00}, held: []string{record.HeldUnknownType}},
		{name: "bytes that are no entry", do: func(s step) journal.Name {
			s.t.AddBytes([]byte{1, 1, 3})
			return s.t.Redeem(s.c, Account, 10_00)
		}, want: balances{custAcc: 10_00}, held: []string{record.HeldMalformed}},
		{name: "an entry in another's place", do: func(s step) journal.Name {
			s.t.AddBytes(journal.Entry{Name: journal.Name{Terminal: s.t.ID, Epoch: 1, Seq: 9}, Body: &journal.ShiftOpen{}}.Bytes())
			return s.t.Redeem(s.c, Account, 10_00)
		}, want: balances{custAcc: 10_00}, held: []string{record.HeldName}},
	} {
		for _, mode := range []string{"one batch", "one by one"} {
			t.Run(row.name+"/"+mode, func(t *testing.T) {
				w := NewWorld(t)
				s := step{w, w.Terminal(1), w.Terminal(2), NewCard(10001)}
				s.c.Balance = 100_00
				n := row.do(s)
				for _, x := range []*Terminal{s.t, s.u} {
					if mode == "one by one" {
						for x.Sent < len(x.Entries) {
							if _, err := w.Service.Intake(ctx, x.ID, x.Batch(x.Sent, x.Sent+1)); err != nil {
								t.Fatal(err)
							}
							x.Sent++
						}
					}
					w.Sync(x)
				}
				check(t, w, row.want, s.c, n)
				checkHeld(t, w, row.held)
				alarms, _ := w.Service.Alarms(ctx)
				late := false
				for _, a := range alarms {
					late = late || a.Kind == record.AlarmLate
				}
				if late != row.late {
					t.Errorf("late alarm %v, want %v", late, row.late)
				}
				w.Audit()
			})
		}
	}
}

func doneWith(tac, mac2 suite.MAC, ev journal.Evidence) *journal.PurchaseOutcome {
	return &journal.PurchaseOutcome{Result: journal.Done, Evidence: ev, HasTAC: true, TAC: tac, MAC2: mac2, After: journal.NoBalance}
}

func check(t *testing.T, w *World, want balances, c *Card, n journal.Name) {
	t.Helper()
	for name, v := range want {
		switch name {
		case "card":
			name = cardAcc(c)
		case "held", "claim":
			name += "/" + n.String()
		case "shop":
			name, v = shopAcc, v+1000_00
		}
		if got := w.Balance(name); got != v {
			t.Errorf("%s has %s, want %s", name, got, v)
		}
	}
}

func checkHeld(t *testing.T, w *World, want []string) {
	t.Helper()
	q, err := w.Service.Quarantine(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range q {
		got = append(got, h.Reason)
	}
	if len(got) != len(want) {
		t.Fatalf("quarantine %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("quarantine %q, want %q", got, want)
		}
	}
}

// TestTopUpPostings has a row for each posting of an on-line top-up.
func TestTopUpPostings(t *testing.T) {
	type step struct {
		w    *World
		t, u *Terminal
		c    *Card
		in   journal.LoadIntent
		n    journal.Name
		ans  wire.LoadAnswer
	}
	const a = 50_00
	for _, row := range []struct {
		name string
		cash money.Fen
		do   func(s step)
		want balances
		room money.Fen // beside the float
		held []string
		late bool
	}{
		{name: "authorised", cash: a, do: func(s step) {}, want: balances{"shop": 0, "card": 0}, room: -a},
		{name: "done", cash: a, do: func(s step) {
			tac, _ := s.c.Credit(s.t.ID, s.in, s.ans.Stamp, s.ans.MAC2)
			s.t.Add(s.n, loaded(tac))
		}, want: balances{"shop": -a, "card": a}, room: -a},
		{name: "wrong TAC", cash: a, do: func(s step) { s.t.Add(s.n, loaded(suite.MAC{1})) },
			want: balances{"shop": 0, "card": 0}, room: -a, held: []string{record.HeldBadTAC}},
		{name: "done without a cryptogram", cash: a, do: func(s step) { s.t.Add(s.n, load(journal.Done)) },
			want: balances{"shop": -a, "card": 0, "held": a}, room: -a},
		{name: "unknown", cash: a, do: func(s step) { s.t.Add(s.n, load(journal.Unknown)) },
			want: balances{"shop": -a, "held": a}, room: -a},
		{name: "unknown, then proved by another terminal", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.Unknown))
			s.w.Sync(s.t)
			tac, _ := s.c.Credit(s.t.ID, s.in, s.ans.Stamp, s.ans.MAC2)
			s.u.Add(journal.Name{}, &journal.Observation{Item: s.n, Card: s.c.Number, TxType: s.in.TxType, Counter: s.in.Counter, HasTAC: true, TAC: tac, Now: s.c.Online, Balance: s.c.Balance})
		}, want: balances{"shop": -a, "card": a, "held": 0}, room: -a},
		{name: "not done, cash taken", cash: a, do: func(s step) { s.t.Add(s.n, load(journal.NotDone)) },
			want: balances{"shop": -a, "claim": a}, room: -a},
		{name: "unknown, then not done, cash taken", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.Unknown))
			s.t.Add(s.n, load(journal.NotDone))
		}, want: balances{"shop": -a, "held": 0, "claim": a}, room: -a},
		{name: "not done, no cash: a guard", do: func(s step) { s.t.Add(s.n, load(journal.NotDone)) },
			want: balances{"shop": 0, "claim": 0}, room: -a},
		{name: "unknown, then not done, no cash: back, a guard", do: func(s step) {
			s.t.Add(s.n, load(journal.Unknown))
			s.t.Add(s.n, load(journal.NotDone))
		}, want: balances{"shop": 0, "held": 0}, room: -a},
		{name: "cash returned: a guard", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.NotDone))
			s.t.Add(s.n, &journal.CashReturned{Amount: a})
		}, want: balances{"shop": 0, "claim": 0}, room: -a},
		{name: "cash returned twice", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.NotDone))
			s.t.Add(s.n, &journal.CashReturned{Amount: a})
			s.t.Add(s.n, &journal.CashReturned{Amount: a})
		}, want: balances{"shop": 0, "claim": 0}, room: -a, held: []string{record.HeldNotOwed}},
		{name: "cash returned, then another load bears the counter: the guard ends", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.NotDone))
			s.t.Add(s.n, &journal.CashReturned{Amount: a})
			s.w.TopUp(s.t, s.c, 20_00)
		}, want: balances{"shop": -20_00, "card": 20_00}, room: -20_00},
		{name: "not done, then proved: claim to card", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.NotDone))
			tac, _ := s.c.Credit(s.t.ID, s.in, s.ans.Stamp, s.ans.MAC2)
			s.t.Add(s.n, loaded(tac))
		}, want: balances{"shop": -a, "claim": 0, "card": a}, room: -a},
		{name: "cash returned, then proved: the shop pays, with an alarm", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.NotDone))
			s.t.Add(s.n, &journal.CashReturned{Amount: a})
			tac, _ := s.c.Credit(s.t.ID, s.in, s.ans.Stamp, s.ans.MAC2)
			s.t.Add(s.n, loaded(tac))
		}, want: balances{"shop": -a, "claim": 0, "card": a}, room: -a, late: true},
		{name: "unknown, then another load bears the counter", cash: a, do: func(s step) {
			s.t.Add(s.n, load(journal.Unknown))
			s.w.TopUp(s.u, s.c, 20_00)
		}, want: balances{"shop": -a - 20_00, "claim": a, "card": 20_00, "held": 0}, room: -a - 20_00},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := NewWorld(t)
			s := step{w: w, t: w.Terminal(1), u: w.Terminal(2), c: NewCard(10001)}
			s.in = s.c.InitLoad(s.t.ID, a)
			s.in.Tendered = row.cash
			s.n = s.t.Add(journal.Name{}, &s.in)
			s.ans = w.Authorise(s.t, s.n, s.in)
			if s.ans.Refused != wire.OK {
				t.Fatal(s.ans.Refused)
			}
			s.t.Add(s.n, &journal.LoadAuthorised{Stamp: s.ans.Stamp, MAC2: s.ans.MAC2})
			row.do(s)
			w.Sync(s.t)
			w.Sync(s.u)
			check(t, w, row.want, s.c, s.n)
			checkHeld(t, w, row.held)
			room, err := w.Service.ShopRoom(ctx, Shop)
			if err != nil || room.Room != 1000_00+row.room {
				t.Errorf("room %s, want %s (%v)", room.Room, 1000_00+row.room, err)
			}
			alarms, _ := w.Service.Alarms(ctx)
			late := false
			for _, x := range alarms {
				late = late || x.Kind == record.AlarmLate
			}
			if late != row.late {
				t.Errorf("late alarm %v, want %v", late, row.late)
			}
			w.Audit()
		})
	}
}

// Without an authorisation under the name nothing guards: the card can't have
// been loaded.
func TestNotAuthorisedLeavesNoGuard(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	in := c.InitLoad(x.ID, 50_00)
	n := x.Add(journal.Name{}, &in)
	x.Add(n, load(journal.NotDone))
	x.Add(n, &journal.CashReturned{Amount: 50_00})
	w.Sync(x)
	if r, _ := w.Service.ShopRoom(ctx, Shop); r.Room != 1000_00 {
		t.Errorf("room %s", r.Room)
	}
	// And no MAC2 is given under that name any more.
	if a := w.Authorise(x, n, in); a.Refused != wire.CodeTwice {
		t.Errorf("authorised: %q", a.Refused)
	}
	w.Audit()
}

func TestAuthoriseLoad(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	in := c.InitLoad(x.ID, 50_00)
	n := x.Next()
	first := w.Authorise(x, n, in)
	if first.Refused != wire.OK {
		t.Fatal(first.Refused)
	}
	w.Time = w.Time.Add(time.Minute)
	w.Open() // the answer survives a restart
	if again := w.Authorise(x, n, in); again != first {
		t.Errorf("asked again: %+v, first %+v", again, first)
	}
	other := in
	other.Amount++
	if a := w.Authorise(x, n, other); a.Refused != wire.CodeMismatch {
		t.Errorf("another amount: %q", a.Refused)
	}
	// A new INITIALIZE supersedes, and takes no more room.
	in2 := c.InitLoad(x.ID, 50_00)
	second := w.Authorise(x, n, in2)
	if second.Refused != wire.OK || second.MAC2 == first.MAC2 {
		t.Errorf("superseding: %+v", second)
	}
	if r, _ := w.Service.ShopRoom(ctx, Shop); r.Reserved != 50_00 {
		t.Errorf("reserved %s", r.Reserved)
	}
	// The card was loaded with the second answer; the journal has the first
	// intent.
	x.Add(journal.Name{}, &in)
	tac, ok := c.Credit(x.ID, in2, second.Stamp, second.MAC2)
	if !ok {
		t.Fatal("the card refuses")
	}
	moved := c.InitLoad(x.ID, 50_00)
	if a := w.Authorise(x, n, moved); a.Refused != wire.CodeMoved {
		t.Errorf("moved counter: %q", a.Refused)
	}
	x.Add(n, loaded(tac))
	w.Sync(x)
	if got := w.Balance(cardAcc(c)); got != 50_00 {
		t.Errorf("card has %s", got)
	}
	// An old INITIALIZE can't be used under a new name either.
	if a := w.Authorise(x, x.Next(), in); a.Refused != wire.CodeMoved {
		t.Errorf("replayed INITIALIZE: %q", a.Refused)
	}
	w.Audit()
}

// An intent that is not what MAC2 was asked for under its name is not posted;
// the reservation stays.
func TestIntentDiffersFromAuthorised(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	in := c.InitLoad(x.ID, 50_00)
	if a := w.Authorise(x, x.Next(), in); a.Refused != wire.OK {
		t.Fatal(a.Refused)
	}
	in.Amount = 20_00
	n := x.Add(journal.Name{}, &in)
	x.Add(n, load(journal.NotDone))
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldMismatch, record.HeldIntent})
	if r, _ := w.Service.ShopRoom(ctx, Shop); r.Reserved != 50_00 {
		t.Errorf("reserved %s", r.Reserved)
	}
	w.Audit()
}

func TestAuthoriseLoadRefuses(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	old := w.Terminal(2)
	w.Enrol(old)
	for _, row := range []struct {
		name string
		card int
		do   func(*journal.LoadIntent)
		want wire.Code
	}{
		{"fine", 10001, func(*journal.LoadIntent) {}, wire.OK},
		{"unknown card", 500000, func(*journal.LoadIntent) {}, wire.CodeUnknownCard},
		{"stock", 5, func(*journal.LoadIntent) {}, wire.CodeNotActivated},
		{"first load of stock", 6, func(in *journal.LoadIntent) { in.Purpose = journal.PurposeFirstLoad }, wire.OK},
		{"forged MAC1", 10002, func(in *journal.LoadIntent) { in.MAC1[0] ^= 1 }, wire.CodeBadMAC},
		{"MAC1 of another amount", 10003, func(in *journal.LoadIntent) { in.Amount += 100 }, wire.CodeBadMAC},
		{"too little", 10004, func(in *journal.LoadIntent) { in.Amount = 1 }, wire.CodeLimit},
		{"too much", 10004, func(in *journal.LoadIntent) { in.Amount = 1000_01 }, wire.CodeLimit},
		{"too full", 10004, func(in *journal.LoadIntent) { in.Before = 5000_00 }, wire.CodeLimit},
		{"deposit purse", 10005, func(in *journal.LoadIntent) { in.TxType = suite.TypeEDLoad }, wire.CodeMismatch},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := NewCard(row.card).InitLoad(x.ID, 50_00)
			row.do(&in)
			if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), in); a.Refused != row.want {
				t.Errorf("%q, want %q", a.Refused, row.want)
			}
		})
	}
	t.Run("blocked card", func(t *testing.T) {
		c := NewCard(10006)
		w.Service.BlockCard(ctx, c.Number)
		if a := w.Authorise(x, x.Next(), c.InitLoad(x.ID, 50_00)); a.Refused != wire.CodeBlockedCard {
			t.Errorf("%q", a.Refused)
		}
	})
	t.Run("no room", func(t *testing.T) {
		for i := range 9 { // 100.00 are reserved above
			if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), NewCard(10010+i).InitLoad(x.ID, 100_00)); a.Refused != wire.OK {
				t.Fatal(a.Refused)
			}
		}
		if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), NewCard(10030).InitLoad(x.ID, 10_00)); a.Refused != wire.CodeNoRoom {
			t.Errorf("%q", a.Refused)
		}
		w.Service.AddShop(ctx, Shop, "corner shop", 10_00)
		if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), NewCard(10030).InitLoad(x.ID, 10_00)); a.Refused != wire.OK {
			t.Errorf("with a ceiling: %q", a.Refused)
		}
	})
	t.Run("blocked terminal", func(t *testing.T) {
		w.Service.BlockTerminal(ctx, x.ID, true)
		if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), NewCard(10001).InitLoad(x.ID, 50_00)); a.Refused != wire.CodeTerminal {
			t.Errorf("%q", a.Refused)
		}
	})
	t.Run("old epoch", func(t *testing.T) {
		n := old.Next()
		n.Epoch = 1
		if a := w.Authorise(old, n, NewCard(10001).InitLoad(old.ID, 50_00)); a.Refused != wire.CodeTerminal {
			t.Errorf("%q", a.Refused)
		}
	})
	t.Run("another's name", func(t *testing.T) {
		_, err := w.Service.AuthoriseLoad(ctx, x.ID, wire.LoadRequest{Name: old.Next(), Intent: NewCard(10001).InitLoad(x.ID, 50_00)})
		if !errors.Is(err, utility.ErrRefused) {
			t.Error(err)
		}
	})
	t.Run("guessing cards", func(t *testing.T) {
		y := w.Terminal(3)
		var last wire.Code
		for i := range 100 {
			last = w.Authorise(y, y.Next(), NewCard(600000+i).InitLoad(y.ID, 50_00)).Refused
		}
		if last != wire.CodeRate {
			t.Errorf("after a hundred guesses: %q", last)
		}
	})
	w.Sync(x)
	w.Audit()
}

func TestSaleAndFirstLoad(t *testing.T) {
	w := NewWorld(t)
	x, c, d := w.Terminal(1), NewCard(1), NewCard(2)
	sale := x.Add(journal.Name{}, &journal.CardSale{Card: c.Number, Deposit: 20_00})
	x.Add(journal.Name{}, &journal.CardSale{Card: d.Number})
	x.Add(journal.Name{}, &journal.CardSale{Card: c.Number, Deposit: 20_00})
	x.Add(journal.Name{}, &journal.CardSale{Card: CardNumber(10001)})
	x.Add(journal.Name{}, &journal.CardSale{Card: CardNumber(500000)})
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldSold, record.HeldNotInRange, record.HeldUnknownCard})
	check(t, w, balances{"shop": -20_00, "deposit": 20_00}, c, sale)
	w.TopUp(x, c, 30_00)
	w.Sync(x)
	check(t, w, balances{"shop": -50_00, "card": 30_00}, c, sale)
	w.Audit()
}

func TestVoid(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	top := w.TopUp(x, c, 50_00)
	ask := func(n journal.Name) wire.Code {
		t.Helper()
		a, err := w.Service.AgreeVoid(ctx, x.ID, wire.VoidQuestion{Name: n, TopUp: top, Request: journal.VoidRequest{Card: c.Number, Amount: 50_00}})
		if err != nil {
			t.Fatal(err)
		}
		return a.Refused
	}
	debit := func(request journal.Name) (journal.Name, journal.PurchaseIntent) {
		in := c.InitPurchase(x, 0, 50_00)
		in.Purpose = journal.PurposeVoidTopUp
		return x.Add(request, &in), in
	}
	r1 := x.Add(top, &journal.VoidRequest{Card: c.Number, Amount: 50_00})
	if got := ask(r1); got != wire.CodeUnknownItem {
		t.Errorf("before the top-up is here: %q", got)
	}
	w.Sync(x)
	if got := ask(r1); got != wire.OK {
		t.Fatal(got)
	}
	if got := ask(r1); got != wire.OK {
		t.Errorf("asked again: %q", got)
	}
	// The debit does not happen: another request may be agreed then, not before.
	d1, _ := debit(r1)
	w.Sync(x)
	r2 := x.Add(top, &journal.VoidRequest{Card: c.Number, Amount: 50_00})
	if got := ask(r2); got != wire.CodeTwice {
		t.Errorf("while the first debit is open: %q", got)
	}
	x.Add(d1, pay(journal.NotDone))
	w.Sync(x)
	if got := ask(r2); got != wire.OK {
		t.Errorf("after the first debit was not done: %q", got)
	}
	d2, in := debit(r2)
	tac, mac2 := c.Debit(x.ID, in)
	x.Add(d2, doneWith(tac, mac2, journal.EvidenceAnswer))
	w.Sync(x)
	check(t, w, balances{"shop": 0, "card": 0}, c, top)
	// Once is enough, whatever the shop's terminal signs.
	d3, in := debit(r2)
	tac, mac2 = c.Proof(x.ID, in)
	x.Add(d3, doneWith(tac, mac2, journal.EvidenceAnswer))
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldNotAgreed, record.HeldIntent})
	check(t, w, balances{"shop": 0, "card": 0}, c, top)
	w.Audit()

	// Too late, by the time of the authorisation.
	c.Balance, c.Offline = 0, 50
	top = w.TopUp(x, c, 50_00)
	w.Sync(x)
	w.Time = w.Time.Add(31 * time.Minute)
	if got := ask(x.Next()); got != wire.CodeWindow {
		t.Errorf("after 31 minutes: %q", got)
	}
	w.Service.BlockCard(ctx, c.Number)
	if got := ask(x.Next()); got != wire.CodeBlockedCard {
		t.Errorf("blocked card: %q", got)
	}
}

func TestVoidWithoutAgreement(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	top := w.TopUp(x, c, 50_00)
	r := x.Add(top, &journal.VoidRequest{Card: c.Number, Amount: 50_00})
	in := c.InitPurchase(x, 0, 50_00)
	in.Purpose = journal.PurposeVoidTopUp
	d := x.Add(r, &in)
	tac, mac2 := c.Debit(x.ID, in)
	x.Add(d, doneWith(tac, mac2, journal.EvidenceAnswer))
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldNotAgreed, record.HeldIntent})
	check(t, w, balances{"shop": -50_00, "card": 50_00}, c, top)
	w.Audit()
}

func TestSuspense(t *testing.T) {
	w := NewWorld(t)
	x, c := w.Terminal(1), NewCard(10001)
	c.Balance = 100_00
	n := x.Redeem(c, Unknown, 10_00)
	w.Sync(x)
	if err := w.Service.ResolveSuspense(ctx, n, Unknown); !errors.Is(err, utility.ErrInput) {
		t.Errorf("to an unknown account: %v", err)
	}
	w.Service.AddAccount(ctx, Unknown, "L**")
	if list, _ := w.Service.Suspense(ctx); len(list) != 1 || list[0].Name != n {
		t.Errorf("suspense %v", list)
	}
	if err := w.Service.ResolveSuspense(ctx, n, Unknown); err != nil {
		t.Fatal(err)
	}
	if err := w.Service.ResolveSuspense(ctx, n, Unknown); !errors.Is(err, utility.ErrInput) {
		t.Errorf("twice: %v", err)
	}
	check(t, w, balances{"suspense": 0, "customer/4000000000": 10_00}, c, n)
	w.Audit()
}

func TestEnrol(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	w.TopUp(x, NewCard(10001), 50_00)
	w.Sync(x)
	before := x.Head()
	pub, _, _ := ed25519.GenerateKey(nil)
	code, err := w.Service.NewEnrolmentCode(ctx, x.ID, Shop, x.PSAM, x.LoadSAM)
	if err != nil {
		t.Fatal(err)
	}
	good := utility.Enrolment{Code: code, RecordKey: pub, PSAM: x.PSAM, LoadSAM: x.LoadSAM, Terminal: x.ID}
	for name, spoil := range map[string]func(*utility.Enrolment){
		"wrong code":       func(e *utility.Enrolment) { e.Code = "AAAA" },
		"another terminal": func(e *utility.Enrolment) { e.Terminal[0]++ },
		"another PSAM":     func(e *utility.Enrolment) { e.PSAM[0]++ },
		"another load SAM": func(e *utility.Enrolment) { e.LoadSAM[0]++ },
	} {
		e := good
		spoil(&e)
		if _, err := w.Service.Enrol(ctx, e); !errors.Is(err, utility.ErrCode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, err := w.Service.Enrol(ctx, good)
	if err != nil || e.Epoch != 2 || e.PrevEpoch != 1 || e.PrevSeq != before.Seq || e.PrevHash != before.Hash {
		t.Fatalf("%+v, %v; head was %+v", e, err, before)
	}
	if _, err := w.Service.Enrol(ctx, good); !errors.Is(err, utility.ErrCode) {
		t.Errorf("the code a second time: %v", err)
	}
	// Entries of the old epoch are still taken, under its key.
	x.Redeem(NewCard(10002), Account, 1_00)
	w.Sync(x)
	a, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: x.Head()})
	if err != nil || a.Standing != wire.StandingOldEpoch {
		t.Errorf("standing %d, %v", a.Standing, err)
	}
	w.Audit()
}
