package ledger

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

func item(k Kind) Item {
	return Item{Name: journal.Name{Terminal: money.TerminalID{1}, Epoch: 1, Seq: 7}, Kind: k, Shop: 10000001, Card: money.CardNumber{9: 1}, Account: 1000000001, Amount: 500}
}

// TestApply lists every row of a top-up with cash, a top-up without, and a
// redemption: events, and where the value is after them.
func TestApply(t *testing.T) {
	const shop, card, customer, held, claim = "shop/10000001", "card/00000000000000000001", "customer/1000000001", "held/010000000000-1-7", "claim/010000000000-1-7"
	for _, row := range []struct {
		kind   Kind
		cash   bool
		events []Event
		at     string // where the value is, "" when it never left the giver
		late   bool
		err    error // of the last event
	}{
		{TopUp, true, []Event{MAC2Given}, "", false, nil},
		{TopUp, true, []Event{MAC2Given, Proved}, card, false, nil},
		{TopUp, true, []Event{Proved, Proved}, card, false, nil},
		{TopUp, true, []Event{SaidDone}, held, false, nil},
		{TopUp, true, []Event{SaidUnknown}, held, false, nil},
		{TopUp, true, []Event{SaidUnknown, SaidDone}, held, false, nil},
		{TopUp, true, []Event{SaidUnknown, Proved}, card, false, nil},
		{TopUp, true, []Event{SaidNotDone}, claim, false, nil},
		{TopUp, true, []Event{SaidUnknown, SaidNotDone}, claim, false, nil},
		{TopUp, true, []Event{SaidNotDone, CashReturned}, "", false, nil},
		{TopUp, true, []Event{SaidNotDone, CashReturned, CashReturned}, "", false, ErrNotOwed},
		{TopUp, true, []Event{CashReturned}, "", false, ErrNotOwed},
		{TopUp, true, []Event{SaidNotDone, Proved}, card, false, nil},
		{TopUp, true, []Event{SaidNotDone, CashReturned, Proved}, card, true, nil},
		{TopUp, true, []Event{SaidUnknown, Disproved}, claim, false, nil},
		{TopUp, true, []Event{Disproved, SaidUnknown}, claim, false, nil},
		{TopUp, true, []Event{Disproved, SaidDone}, "", false, ErrContradiction},
		{TopUp, true, []Event{Disproved, Proved}, "", false, ErrContradiction},
		{TopUp, true, []Event{Proved, SaidNotDone}, card, false, ErrContradiction},
		{TopUp, true, []Event{Proved, SaidUnknown}, card, false, ErrContradiction},
		{TopUp, true, []Event{Proved, Disproved}, card, false, ErrContradiction},
		{TopUp, true, []Event{SaidNotDone, SaidDone}, claim, false, ErrContradiction},
		{TopUp, false, []Event{SaidNotDone}, "", false, nil},
		{TopUp, false, []Event{SaidUnknown, SaidNotDone}, "", false, nil},
		{TopUp, false, []Event{SaidUnknown, Disproved}, "", false, nil},
		{Redemption, false, []Event{Proved}, customer, false, nil},
		{Redemption, false, []Event{SaidUnknown}, held, false, nil},
		{Redemption, false, []Event{SaidUnknown, Proved}, customer, false, nil},
		{Redemption, false, []Event{SaidUnknown, SaidNotDone}, "", false, nil},
		{Redemption, false, []Event{SaidUnknown, SaidNotDone, Proved}, customer, true, nil},
		{Redemption, false, []Event{SaidUnknown, Disproved}, "", false, nil},
		{Redemption, false, []Event{SaidNotDone}, "", false, nil},
		{VoidDebit, false, []Event{Proved}, shop, false, nil},
		{Emptied, false, []Event{Proved}, claim, false, nil},
		{Emptied, false, []Event{Proved, Proved}, claim, false, nil},
		{Emptied, false, []Event{Proved, SaidDone}, claim, false, nil},
		{Emptied, false, []Event{Proved, SaidNotDone}, claim, false, ErrContradiction},
		{Emptied, false, []Event{Proved, Disproved}, claim, false, ErrContradiction},
		{Emptied, false, []Event{Proved, CashReturned}, claim, false, ErrContradiction},
		{Emptied, false, []Event{SaidDone}, held, false, nil},
		{Emptied, false, []Event{SaidUnknown, Proved}, claim, false, nil},
		{Emptied, false, []Event{SaidUnknown, SaidNotDone}, "", false, nil},
		{Emptied, false, []Event{SaidUnknown, SaidNotDone, Proved}, claim, true, nil},
		{Emptied, false, []Event{SaidUnknown, Disproved}, "", false, nil},
	} {
		it := item(row.kind)
		it.Cash = row.cash
		book := map[string]money.Fen{}
		var late bool
		for i, e := range row.events {
			before := it
			set, l, err := it.Apply(e)
			late = late || l
			var sum money.Fen
			for _, p := range set {
				book[p.Account.String()] += p.Amount
				sum += p.Amount
			}
			if sum != 0 {
				t.Errorf("%v: the set of %d does not balance", row.events, e)
			}
			want := error(nil)
			if i == len(row.events)-1 {
				want = row.err
			}
			if !errors.Is(err, want) || err != nil && (it != before || set != nil) {
				t.Errorf("%v: event %d: %v, want %v; changed %v", row.events, e, err, want, it != before)
			}
		}
		giver := map[bool]string{true: shop, false: card}[row.kind == TopUp]
		for account, v := range book {
			want := money.Fen(0)
			if row.at != "" && account == giver {
				want = -500
			} else if account == row.at {
				want = 500
			}
			if v != want {
				t.Errorf("kind %d cash %v %v: %s has %d, want %d", row.kind, row.cash, row.events, account, v, want)
			}
		}
		if row.at != "" && book[row.at] != 500 || late != row.late {
			t.Errorf("kind %d %v: %v, late %v", row.kind, row.events, book, late)
		}
	}
}

// TestApplyAlways: whatever comes in whichever order, every set balances, the
// value is in one place, and a proof is never undone.
func TestApplyAlways(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		it := item(rapid.SampledFrom([]Kind{TopUp, Redemption, VoidDebit, Emptied}).Draw(r, "kind"))
		it.Cash = rapid.Bool().Draw(r, "cash")
		if rapid.Bool().Draw(r, "off line") {
			it.SAM = money.SAMID{1}
		}
		book := map[Account]money.Fen{}
		proved := false
		for _, e := range rapid.SliceOfN(rapid.SampledFrom([]Event{Proved, SaidDone, SaidUnknown, SaidNotDone, Disproved, CashReturned, MAC2Given}), 1, 10).Draw(r, "events") {
			set, _, err := it.Apply(e)
			if err != nil && set != nil {
				r.Fatal("an error posts")
			}
			for _, p := range set {
				book[p.Account] += p.Amount
			}
			if e == Proved && err == nil {
				proved = true
			}
			plus := 0
			for _, v := range book {
				if v > 0 {
					plus++
				}
				if v != 0 && v != it.Amount && v != -it.Amount {
					r.Fatalf("an account has %d", v)
				}
			}
			if plus > 1 {
				r.Fatal("the value is in two places")
			}
			if proved && (!it.Happened() || book[it.receiver()] != it.Amount) {
				r.Fatal("a proof was undone")
			}
			if it.Exposed() > 0 && (it.Paid() || !it.Gave) {
				r.Fatal("counted against the room twice, or without MAC2")
			}
		}
	})
}

func TestAccounts(t *testing.T) {
	n := journal.Name{Terminal: money.TerminalID{0x31, 5: 9}, Epoch: 3, Seq: 1 << 40}
	for _, a := range []Account{Customer(1000000001), Card(money.CardNumber{1}), Shop(7), Held(n), Claim(n), Deposit, Commission, Bank, Suspense, Revenue} {
		if b, err := ParseAccount(a.String()); err != nil || b != a {
			t.Errorf("%s: %v, %v", a, b, err)
		}
		if b, err := AccountFromBytes(a.Bytes()); err != nil || b != a {
			t.Errorf("%s: %v, %v", a, b, err)
		}
	}
	for _, s := range []string{"", "bank/1", "shop", "shop/1", "card/", "customer/12", "held/1-2-3", "revenue/"} {
		if a, err := ParseAccount(s); err == nil && a.String() != s {
			t.Errorf("%q was read as %s", s, a)
		}
	}
}

func FuzzAccountFromBytes(f *testing.F) {
	f.Add(Shop(7).Bytes())
	f.Add([]byte{4, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := AccountFromBytes(b); err == nil && string(a.Bytes()) != string(b) {
			t.Errorf("%x became %x", b, a.Bytes())
		}
	})
}
