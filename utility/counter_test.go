package utility_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/ledger"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

func billOf(a money.Fen) journal.BillIntent {
	return journal.BillIntent{Token: journal.Token{1}, Account: Account, Seen: journal.AccountOnline, Amount: a, Tendered: a}
}

func take(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.BillIntent, withdraw bool) wire.Code {
	t.Helper()
	a, err := w.Service.TakeBill(ctx, x.ID, wire.BillQuestion{Name: n, Intent: in, Withdraw: withdraw})
	if err != nil || a.Name != n {
		t.Fatal(err)
	}
	return a.Refused
}

func decided(r journal.Result) journal.Decided { return journal.Decided{Result: r} }

func customer(n money.AccountNumber) string { return "customer/" + n.String() }

// TestBill: a bill is taken once under its name, whenever it is asked again and
// in whichever order its entries come, and what was withdrawn or refused never
// is, however late a question arrives.
func TestBill(t *testing.T) {
	type step func(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.BillIntent)
	ask := func(want wire.Code) step {
		return func(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.BillIntent) {
			t.Helper()
			if c := take(t, w, x, n, in, false); c != want {
				t.Fatalf("answered %q, want %q", c, want)
			}
		}
	}
	withdraw := func(want wire.Code) step {
		return func(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.BillIntent) {
			t.Helper()
			if c := take(t, w, x, n, in, true); c != want {
				t.Fatalf("withdrawn: answered %q, want %q", c, want)
			}
		}
	}
	intent := func(t *testing.T, w *World, x *Terminal, _ journal.Name, in journal.BillIntent) {
		x.Add(journal.Name{}, &in)
		w.Sync(x)
	}
	outcome := func(r journal.Result, held string) step {
		return func(t *testing.T, w *World, x *Terminal, n journal.Name, _ journal.BillIntent) {
			t.Helper()
			x.Add(n, &journal.BillOutcome{Decided: decided(r)})
			v := w.Sync(x)
			if held == "" && len(v) > 0 || held != "" && (len(v) != 1 || v[0].Reason != held) {
				t.Fatalf("verdicts %v, want %q", v, held)
			}
		}
	}
	back := func(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.BillIntent) {
		x.Add(n, &journal.CashReturned{Amount: in.Amount})
		w.Sync(x)
	}
	for name, c := range map[string]struct {
		steps                       []step
		customer, shop, held, claim money.Fen
	}{
		"taken":                          {[]step{intent, ask(""), outcome(journal.Done, "")}, 80_00, -80_00, 0, 0},
		"taken before the entry came":    {[]step{ask(""), intent, outcome(journal.Done, "")}, 80_00, -80_00, 0, 0},
		"asked again":                    {[]step{ask(""), ask(""), withdraw(""), intent, ask("")}, 80_00, -80_00, 0, 0},
		"answer lost":                    {[]step{intent, ask(""), outcome(journal.Unknown, ""), withdraw(""), outcome(journal.Done, "")}, 80_00, -80_00, 0, 0},
		"never arrived":                  {[]step{intent, outcome(journal.Unknown, ""), withdraw(wire.CodeWithdrawn), outcome(journal.NotDone, "")}, 0, -80_00, 0, 80_00},
		"arrived after it was withdrawn": {[]step{intent, outcome(journal.Unknown, ""), withdraw(wire.CodeWithdrawn), ask(wire.CodeWithdrawn), outcome(journal.NotDone, ""), ask(wire.CodeWithdrawn)}, 0, -80_00, 0, 80_00},
		"withdrawn before the entry":     {[]step{withdraw(wire.CodeWithdrawn), intent, outcome(journal.NotDone, "")}, 0, -80_00, 0, 80_00},
		"unknown":                        {[]step{intent, outcome(journal.Unknown, "")}, 0, -80_00, 80_00, 0},
		"unknown, then taken":            {[]step{intent, outcome(journal.Unknown, ""), ask("")}, 80_00, -80_00, 0, 0},
		"cash given back":                {[]step{intent, withdraw(wire.CodeWithdrawn), outcome(journal.NotDone, ""), back}, 0, 0, 0, 0},
		"said not done, asked later":     {[]step{intent, outcome(journal.NotDone, ""), ask(wire.CodeWithdrawn)}, 0, -80_00, 0, 80_00},
		"done, which nobody agreed to":   {[]step{intent, outcome(journal.Done, "not_agreed")}, 0, 0, 0, 0},
		"not done, which was taken":      {[]step{intent, ask(""), outcome(journal.NotDone, "contradiction")}, 80_00, -80_00, 0, 0},
		"cash back of what was taken":    {[]step{intent, ask(""), outcome(journal.Done, ""), back}, 80_00, -80_00, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t)
			x := w.Terminal(1)
			x.Starts(1)
			n, in := x.Next(), billOf(80_00)
			for _, s := range c.steps {
				s(t, w, x, n, in)
				w.Audit()
			}
			for acc, want := range map[string]money.Fen{customer(Account): c.customer, shopAcc: 1000_00 + c.shop, "held/" + n.String(): c.held, "claim/" + n.String(): c.claim} {
				if got := w.Balance(acc); got != want {
					t.Errorf("%s holds %s, want %s", acc, got, want)
				}
			}
		})
	}
}

func TestBillRefused(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	n := x.Next()
	in := billOf(1000_01)
	if c := take(t, w, x, n, in, false); c != wire.CodeNoRoom {
		t.Errorf("over the shop's room: %q", c)
	}
	if err := w.Service.PayFloat(ctx, Shop, 500_00, "more"); err != nil {
		t.Fatal(err)
	}
	if c := take(t, w, x, n, in, false); c != wire.CodeNoRoom {
		t.Errorf("refused, and then not: %q", c)
	}
	x.Add(journal.Name{}, &in)
	other := billOf(1000_01)
	other.Account++
	for what, in := range map[string]journal.BillIntent{"another account": other, "another amount": billOf(1), "another wish": {Account: Account, Amount: 1000_01}} {
		if c := take(t, w, x, n, in, false); c != wire.CodeMismatch {
			t.Errorf("%s under the same name: %q", what, c)
		}
	}
	if c := take(t, w, x, x.Next(), billOf(wire.DefaultLimits().RedeemMax+1), false); c != wire.CodeLimit {
		t.Errorf("over the terminal's limit: %q", c)
	}
	y := billOf(wire.DefaultLimits().RedeemMax + 1)
	x.Add(journal.Name{}, &y)
	other.Account = Unknown
	if c := take(t, w, x, x.Next(), other, false); c != wire.CodeUnknownAccount {
		t.Errorf("an account that nobody knows: %q", c)
	}
	x.Add(journal.Name{}, &other)
	if err := w.Service.BlockTerminal(ctx, x.ID, true); err != nil {
		t.Fatal(err)
	}
	if c := take(t, w, x, x.Next(), billOf(1), false); c != wire.CodeTerminal {
		t.Errorf("a blocked terminal: %q", c)
	}
	for _, in := range []journal.BillIntent{billOf(0), billOf(-5), billOf(money.MaxPurse + 1), {Amount: 1}} {
		if _, err := w.Service.TakeBill(ctx, x.ID, wire.BillQuestion{Name: x.Next(), Intent: in}); !errors.Is(err, utility.ErrRefused) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if _, err := w.Service.TakeBill(ctx, w.Terminal(2).ID, wire.BillQuestion{Name: n, Intent: in}); !errors.Is(err, utility.ErrRefused) {
		t.Errorf("another terminal's name: %v", err)
	}
	// Whoever asks without end gets no answer, and nothing is stored.
	line := tail(t, w)
	var later *utility.LaterError
	for i := range uint64(200) {
		_, err := w.Service.TakeBill(ctx, x.ID, wire.BillQuestion{Name: journal.Name{Terminal: x.ID, Epoch: x.Epoch, Seq: 1000 + i}, Intent: billOf(1)})
		if err != nil && !errors.As(err, &later) {
			t.Fatal(err)
		}
	}
	if stored := tail(t, w) - line; later == nil || stored > 60 {
		t.Errorf("%d refusals were stored", stored)
	}
	w.Audit()
}

// TestBillName: the name of a bill is no load's, and a load's no bill's.
func TestBillName(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	n := x.Next()
	take(t, w, x, n, billOf(5), false)
	in := card.InitLoad(x.ID, 10_00)
	if a := w.Authorise(x, n, in); a.Refused != wire.CodeMismatch {
		t.Errorf("a load under the name of a bill: %q", a.Refused)
	}
	x.Add(journal.Name{}, &in)
	if v := w.Sync(x); len(v) != 1 || v[0].Reason != "mismatch" {
		t.Errorf("a load's entry under the name of a bill: %v", v)
	}
	n = x.Next()
	if a := w.Authorise(x, n, in); a.Refused != wire.OK {
		t.Fatal(a.Refused)
	}
	if c := take(t, w, x, n, billOf(10_00), false); c != wire.CodeMismatch {
		t.Errorf("a bill under the name of a load: %q", c)
	}
	if c := collect(t, w, x, n, journal.ClaimIntent{Claim: n, Amount: 10_00, How: journal.PayoutCash}, false); c != wire.CodeMismatch {
		t.Errorf("a claim under the name of a load: %q", c)
	}
	w.Audit()
}

func collect(t *testing.T, w *World, x *Terminal, n journal.Name, in journal.ClaimIntent, withdraw bool) wire.Code {
	t.Helper()
	a, err := w.Service.Collect(ctx, x.ID, wire.CollectQuestion{Name: n, Intent: in, Withdraw: withdraw})
	if err != nil || a.Name != n {
		t.Fatal(err)
	}
	return a.Refused
}

// owed makes a claim of 100.00: a top-up that was not done after its cash was
// taken.
func owed(t *testing.T, w *World, x *Terminal, card *Card) (journal.Name, journal.LoadIntent, wire.LoadAnswer) {
	t.Helper()
	in := card.InitLoad(x.ID, 100_00)
	n := x.Add(journal.Name{}, &in)
	a := w.Authorise(x, n, in)
	x.Add(n, &journal.LoadAuthorised{Stamp: a.Stamp, MAC2: a.MAC2})
	x.Add(n, load(journal.NotDone))
	w.Sync(x)
	if got := w.Balance("claim/" + n.String()); got != 100_00 {
		t.Fatalf("the claim holds %s", got)
	}
	return n, in, a
}

// otherShop is a terminal of a shop without float.
func otherShop(t *testing.T, w *World) *Terminal {
	t.Helper()
	if err := w.Service.AddShop(ctx, 10000002, "the other corner", 0); err != nil {
		t.Fatal(err)
	}
	x := &Terminal{ID: money.TerminalID{0x31, 2}, Shop: 10000002, PSAM: money.SAMID{0x0C}, LoadSAM: money.SAMID{0x0D}, Now: func() time.Time { return w.Time }}
	w.Enrol(x)
	return x
}

// TestCollect: a claim is paid out once, at any terminal of any shop.
func TestCollect(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), otherShop(t, w)
	claim, _, _ := owed(t, w, x, NewCard(10001))
	look := func(n journal.Name) wire.ClaimAnswer {
		t.Helper()
		a, err := w.Service.LookUpClaim(ctx, y.ID, wire.ClaimQuestion{Claim: n})
		if err != nil || a.Claim != n {
			t.Fatal(err)
		}
		return a
	}
	if a := look(claim); a.Refused != wire.OK || a.Kind != wire.ClaimTopUp || a.Amount != 100_00 || a.Last4 != "0001" {
		t.Fatalf("%+v", a)
	}
	in := journal.ClaimIntent{Token: journal.Token{9}, Claim: claim, Amount: 100_00, How: journal.PayoutCash}
	wrong := in
	wrong.Amount = 100_01
	if c := collect(t, w, y, y.Next(), wrong, false); c != wire.CodeMismatch {
		t.Errorf("another amount: %q", c)
	}
	y.Add(journal.Name{}, &wrong)
	n := y.Add(journal.Name{}, &in)
	if c := collect(t, w, y, n, in, false); c != wire.OK {
		t.Fatal(c)
	}
	if c := collect(t, w, y, n, in, false); c != wire.OK {
		t.Errorf("asked again: %q", c)
	}
	if c := collect(t, w, x, x.Next(), in, false); c != wire.CodeTwice {
		t.Errorf("at another terminal: %q", c)
	}
	x.Add(journal.Name{}, &in)
	if a := look(claim); a.Refused != wire.CodeTwice || a.Amount != 0 || a.Last4 != "" {
		t.Errorf("looked up afterwards: %+v", a)
	}
	y.Add(n, &journal.ClaimOutcome{Decided: decided(journal.Done)})
	if v := w.Sync(y); len(v) > 0 {
		t.Error(v)
	}
	// The clerk of the first shop gives the cash back a second time.
	x.Add(claim, &journal.CashReturned{Amount: 100_00})
	if v := w.Sync(x); len(v) != 1 || v[0].Reason != "not_owed" {
		t.Errorf("cash returned of a claim that was collected: %v", v)
	}
	for acc, want := range map[string]money.Fen{"shop/10000001": 900_00, "shop/10000002": 100_00, "claim/" + claim.String(): 0} {
		if got := w.Balance(acc); got != want {
			t.Errorf("%s holds %s, want %s", acc, got, want)
		}
	}
	w.Audit()
}

// TestCollectWithdrawn: no answer came, nothing was paid out, the claim waits.
func TestCollectWithdrawn(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), otherShop(t, w)
	claim, _, _ := owed(t, w, x, NewCard(10001))
	in := journal.ClaimIntent{Claim: claim, Amount: 100_00, How: journal.PayoutCash}
	n := y.Add(journal.Name{}, &in)
	for _, lost := range []bool{true, false} { // the answer, or the question
		if lost {
			collect(t, w, y, n, in, false)
		}
		y.Add(n, &journal.ClaimOutcome{Decided: decided(journal.Unknown)})
		for range 2 {
			if c := collect(t, w, y, n, in, true); c != wire.CodeWithdrawn {
				t.Errorf("withdrawn: %q", c)
			}
			if c := collect(t, w, y, n, in, false); c != wire.CodeWithdrawn {
				t.Errorf("the question arrives late: %q", c)
			}
			w.Audit()
		}
		y.Add(n, &journal.ClaimOutcome{Decided: decided(journal.NotDone)})
		if v := w.Sync(y); len(v) > 0 {
			t.Error(v)
		}
		if got := w.Balance("claim/" + claim.String()); got != 100_00 {
			t.Fatalf("the claim holds %s", got)
		}
		n = y.Add(journal.Name{}, &in)
	}
	y.Add(n, &journal.ClaimOutcome{Decided: decided(journal.Done)})
	if v := w.Sync(y); len(v) != 1 || v[0].Reason != "not_agreed" {
		t.Errorf("paid out, and nobody agreed: %v", v)
	}
	w.Audit()
}

// TestClaimOfWhatHappened: the terminal said that the load did not happen, its
// claim was paid out, and then the card proves that it did. The shop that said
// so bears it, an alarm tells, and the books still add up; also when the
// payment is taken back afterwards.
func TestClaimOfWhatHappened(t *testing.T) {
	for _, undo := range []bool{false, true} {
		w := NewWorld(t)
		x, y := w.Terminal(1), otherShop(t, w)
		card := NewCard(10001)
		claim, in, a := owed(t, w, x, card)
		pay := journal.ClaimIntent{Claim: claim, Amount: 100_00, How: journal.PayoutCash}
		n := y.Add(journal.Name{}, &pay)
		collect(t, w, y, n, pay, false)
		w.Audit()
		tac, _ := card.Credit(x.ID, in, a.Stamp, a.MAC2)
		y.Add(journal.Name{}, &journal.Observation{Item: claim, Card: card.Number, TxType: in.TxType, Counter: in.Counter, HasTAC: true, TAC: tac, Now: card.Online, Balance: card.Balance})
		w.Sync(y)
		w.Audit()
		want := map[string]money.Fen{"shop/10000001": 800_00, "shop/10000002": 100_00, cardAcc(card): 100_00, "claim/" + claim.String(): 0}
		if undo {
			if c := collect(t, w, y, n, pay, true); c != wire.CodeWithdrawn {
				t.Error(c)
			}
			want["shop/10000001"], want["shop/10000002"] = 900_00, 0
			w.Audit()
		}
		for acc, v := range want {
			if got := w.Balance(acc); got != v {
				t.Errorf("undo %v: %s holds %s, want %s", undo, acc, got, v)
			}
		}
		if len(alarms(t, w, "late_proof")) != 1 {
			t.Error("nobody is told")
		}
	}
}

func TestNothingWaits(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	done := w.TopUp(x, card, 10_00)
	in := billOf(10)
	unknown := x.Add(journal.Name{}, &in)
	x.Add(unknown, &journal.BillOutcome{Decided: decided(journal.Unknown)})
	redeemed := x.Redeem(card, Account, 1_00)
	w.Sync(x)
	for n, want := range map[journal.Name]wire.Code{
		done: wire.CodeMoved, unknown: wire.CodeNotSettled, redeemed: wire.CodeUnknownItem, x.Next(): wire.CodeUnknownItem,
	} {
		a, err := w.Service.LookUpClaim(ctx, x.ID, wire.ClaimQuestion{Claim: n})
		if err != nil || a.Refused != want || a.Amount != 0 {
			t.Errorf("%s: %+v, %v", n, a, err)
		}
		pay := journal.ClaimIntent{Claim: n, Amount: 10, How: journal.PayoutCash}
		if c := collect(t, w, x, x.Next(), pay, false); c != want {
			t.Errorf("%s is paid out: %q", n, c)
		}
		x.Add(journal.Name{}, &pay)
	}
	w.Audit()
}

// TestCollectedAtOnce: many terminals of two shops ask at the same time; one
// gets it.
func TestCollectedAtOnce(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	claim, _, _ := owed(t, w, x, NewCard(10001))
	tills := []*Terminal{x, otherShop(t, w), w.Terminal(2), w.Terminal(3)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[wire.Code]int{}
	for _, x := range tills {
		for i := range uint64(4) {
			wg.Go(func() {
				n := journal.Name{Terminal: x.ID, Epoch: x.Epoch, Seq: 50 + i}
				a, err := w.Service.Collect(ctx, x.ID, wire.CollectQuestion{Name: n, Intent: journal.ClaimIntent{Claim: claim, Amount: 100_00, How: journal.PayoutCash}})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				got[a.Refused]++
			})
		}
	}
	wg.Wait()
	if got[wire.OK] != 1 || got[wire.CodeTwice] != 15 {
		t.Errorf("%v", got)
	}
	if v := w.Balance("shop/10000001") + w.Balance("shop/10000002"); v != 1000_00 {
		t.Errorf("the shops have %s", v)
	}
	w.Audit()
}

func askCard(t *testing.T, w *World, x *Terminal, r journal.CardRequest) (journal.Name, wire.Code) {
	t.Helper()
	n := x.Add(journal.Name{}, &r)
	a, err := w.Service.AskCard(ctx, x.ID, wire.CardQuestion{Name: n, Request: r})
	if err != nil || a.Name != n {
		t.Fatal(err)
	}
	return n, a.Refused
}

func TestBlockAtTheCounter(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	named := NewCard(10001)
	for _, c := range []struct {
		card money.CardNumber
		wish journal.CardWish
		want wire.Code
	}{
		{named.Number, journal.WishBlock, wire.OK},
		{named.Number, journal.WishBlock, wire.OK}, // lost again
		{CardNumber(5), journal.WishBlock, wire.CodeNotActivated},
		{money.CardNumber{9: 9}, journal.WishBlock, wire.CodeUnknownCard},
		{CardNumber(10002), 9, wire.CodeMismatch},
	} {
		if _, code := askCard(t, w, x, journal.CardRequest{Wish: c.wish, Card: c.card, Why: journal.WhyLost}); code != c.want {
			t.Errorf("card %s: %q, want %q", c.card, code, c.want)
		}
	}
	// An unnamed card that was sold.
	x.Add(journal.Name{}, &journal.CardSale{Card: CardNumber(5)})
	w.Sync(x)
	if _, code := askCard(t, w, x, journal.CardRequest{Wish: journal.WishBlock, Card: CardNumber(5), Why: journal.WhyLost}); code != wire.CodeUnnamed {
		t.Errorf("an unnamed card is blocked: %q", code)
	}
	w.Sync(x)
	on := func() bool {
		t.Helper()
		in := named.InitLoad(x.ID, 10_00)
		n := journal.Name{Terminal: x.ID, Epoch: x.Epoch, Seq: 500}
		return w.Authorise(x, n, in).Refused == wire.CodeBlockedCard
	}
	if !on() {
		t.Error("a blocked card is loaded")
	}
	h, err := w.Service.Hello(ctx, x.ID, wire.Hello{Version: wire.Version, Head: x.Head()})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, b := range h.Sections {
		var s wire.Section
		if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
			t.Fatal(err)
		}
		found = found || s.Hotlist.Has(named.Number)
	}
	w.Open() // it outlasts a restart
	if !found || !on() {
		t.Error("the card is not on the hotlist")
	}
	w.Audit()
}

// TestReplace: the value of a card that can't be read waits under the number of
// the request, but not before every terminal must have reported.
func TestReplace(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	card := NewCard(10001)
	w.TopUp(x, card, 100_00)
	w.Sync(x)
	y.Redeem(card, Account, 30_00) // off line, not yet sent
	n, code := askCard(t, w, x, journal.CardRequest{Wish: journal.WishReplace, Card: card.Number, Why: journal.WhyDamaged})
	if code != wire.OK {
		t.Fatal(code)
	}
	if _, code := askCard(t, w, x, journal.CardRequest{Wish: journal.WishReplace, Card: card.Number, Why: journal.WhyDamaged}); code != wire.CodeTwice {
		t.Errorf("asked for a second time: %q", code)
	}
	w.Sync(x)
	if _, err := w.Service.Replace(ctx, n); !errors.Is(err, utility.ErrInput) || !strings.Contains(err.Error(), "not before") {
		t.Errorf("approved at once: %v", err)
	}
	w.Sync(y)
	l := wire.DefaultLimits()
	w.Time = w.Time.Add(time.Duration(l.HotlistStop+l.UnsentAgeStop)*time.Second - time.Second)
	if _, err := w.Service.Replace(ctx, n); !errors.Is(err, utility.ErrInput) {
		t.Errorf("approved a second too early: %v", err)
	}
	w.Time = w.Time.Add(time.Second)
	w.Open()
	list, err := w.Service.Replacements(ctx)
	if err != nil || len(list) != 1 || list[0].Balance != 70_00 || list[0].Name != n || !list[0].Named || list[0].Ready(w.Time) != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	if a, err := w.Service.Replace(ctx, n); err != nil || a != 70_00 {
		t.Fatal(a, err)
	}
	if _, err := w.Service.Replace(ctx, n); !errors.Is(err, utility.ErrInput) {
		t.Errorf("approved twice: %v", err)
	}
	w.Audit()
	if got := w.Balance("claim/" + n.String()); got != 70_00 || w.Balance(cardAcc(card)) != 0 {
		t.Errorf("claim %s, card %s", got, w.Balance(cardAcc(card)))
	}
	// Nothing but a payment of the claim may touch it.
	y.Add(n, &journal.CashReturned{Amount: 70_00})
	y.Add(journal.Name{}, &journal.Observation{Item: n, Card: card.Number, Now: 0, Balance: journal.NoBalance})
	if v := w.Sync(y); len(v) != 2 {
		t.Errorf("verdicts %v", v)
	}
	a, err := w.Service.LookUpClaim(ctx, y.ID, wire.ClaimQuestion{Claim: n})
	if err != nil || a.Refused != wire.OK || a.Kind != wire.ClaimReplace || a.Last4 != "0001" {
		t.Fatalf("%+v, %v", a, err)
	}
	pay := journal.ClaimIntent{Claim: n, Amount: 70_00, How: journal.PayoutCash}
	if c := collect(t, w, y, y.Next(), pay, false); c != wire.OK {
		t.Fatal(c)
	}
	y.Add(journal.Name{}, &pay)
	w.Sync(y)
	w.Audit()
	if list, _ := w.Service.Claims(ctx); len(list) != 0 {
		t.Errorf("still owed: %+v", list)
	}
	state := ledger.Collected
	if list, _ := w.Service.CardItems(ctx, card.Number); len(list) != 3 || list[2].State != state && list[0].State != state && list[1].State != state {
		t.Errorf("items %+v", list)
	}
}

// TestReplacedForGood: a card whose value was carried over still has it on its
// chip, and never comes back; and a block that was taken back in between
// proves nothing of what terminals may hold.
func TestReplacedForGood(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	w.TopUp(x, card, 100_00)
	w.Sync(x)
	n, code := askCard(t, w, x, journal.CardRequest{Wish: journal.WishReplace, Card: card.Number, Why: journal.WhyDamaged})
	if code != wire.OK {
		t.Fatal(code)
	}
	wait := time.Duration(wire.DefaultLimits().HotlistStop+wire.DefaultLimits().UnsentAgeStop) * time.Second
	w.Time = w.Time.Add(wait)
	for _, change := range []func(context.Context, money.CardNumber) error{w.Service.UnblockCard, w.Service.BlockCard} {
		if err := change(ctx, card.Number); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := w.Service.Replace(ctx, n); !errors.Is(err, utility.ErrInput) {
		t.Errorf("%s carried over at once after it was blocked anew: %v", a, err)
	}
	w.Time = w.Time.Add(wait)
	w.Open()
	if a, err := w.Service.Replace(ctx, n); err != nil || a != 100_00 {
		t.Fatal(a, err)
	}
	if err := w.Service.UnblockCard(ctx, card.Number); !errors.Is(err, utility.ErrInput) {
		t.Errorf("it is let back: %v", err)
	}
	w.Open()
	if err := w.Service.UnblockCard(ctx, card.Number); !errors.Is(err, utility.ErrInput) {
		t.Errorf("after a restart it is let back: %v", err)
	}
}
