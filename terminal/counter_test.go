package terminal

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/terminalaudit"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

var slip = journal.Name{Terminal: money.TerminalID{0x31, 0x01, 0, 0, 0x99, 0x99}, Epoch: 1, Seq: 7}

// clean holds the file against its own journal.
func (w *world) clean() {
	w.Helper()
	if _, err := terminalaudit.Run(w.ctx, w.st); err != nil {
		w.Error(err)
	}
}

func (w *world) till() (in, out money.Fen) {
	w.Helper()
	sh, _, err := w.st.Shift()
	if err != nil {
		w.Fatal(err)
	}
	return sh.CashIn, sh.CashOut
}

func (w *world) maintain() {
	w.Helper()
	w.term.inquiredAt = time.Time{} // the pace is another test's
	if err := w.term.Maintain(w.ctx); err != nil {
		w.Fatal(err)
	}
}

func (w *world) transaction(n journal.Name) Receipt {
	w.Helper()
	rc, err := w.term.Transaction(n)
	if err != nil {
		w.Fatal(err)
	}
	return rc
}

func bill() BillRequest {
	return BillRequest{Token: token(), Who: clerk, Account: account, Amount: 80_00, Tendered: 100_00}
}

// pendingBill is a terminal that stopped after the intent of a bill.
func (w *world) pending(b journal.Body) journal.Name {
	w.Helper()
	e, err := w.st.Append(w.ctx, store.Draft{Actor: clerk, Body: b})
	if err != nil {
		w.Fatal(err)
	}
	return e[0].Name
}

// TestUnansweredIsAskedAtOnce: what a customer waits for at the counter is asked
// as soon as it can be, whatever was asked shortly before; but only once, then
// at the pace of all others.
func TestUnansweredIsAskedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.shift()
	for range 2 {
		w.host.fail = errors.New("the line is cut")
		r := bill()
		r.Again = account
		rc, err := w.term.PayBill(w.ctx, r)
		if err != nil || rc.Result != journal.Unknown {
			t.Fatalf("%+v, %v", rc.Transaction, err)
		}
		w.host.fail = nil
		if err := w.term.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		if rc = w.transaction(rc.Name); rc.Result != journal.NotDone {
			t.Errorf("%s is %d", rc.Name, rc.Result)
		}
	}
	w.host.fail = errors.New("the line is cut")
	r := bill()
	r.Again = account
	if _, err := w.term.PayBill(w.ctx, r); err != nil {
		t.Fatal(err)
	}
	asked := len(w.host.asks)
	w.host.fail, w.host.lose = nil, 9
	for range 3 {
		w.term.Maintain(w.ctx)
	}
	if n := len(w.host.asks) - asked; n != 1 {
		t.Errorf("asked %d times in a moment", n)
	}
}

// TestPayBill: every way in which a bill ends, and what the drawer holds then.
func TestPayBill(t *testing.T) {
	gone := errors.New("the line is cut")
	for name, c := range map[string]struct {
		before      func(w *world)
		first, last journal.Result // told at once, and after the utility was asked again
		code        string
		in          money.Fen
		asks        []string
	}{
		"done":                            {func(w *world) {}, journal.Done, journal.Done, "", 80_00, []string{"bill"}},
		"refused":                         {func(w *world) { w.host.refuse = wire.CodeNoRoom }, journal.NotDone, journal.NotDone, "no_room", 80_00, []string{"bill"}},
		"one answer lost":                 {func(w *world) { w.host.lose = 1 }, journal.Done, journal.Done, "", 80_00, []string{"bill", "bill"}},
		"every answer lost":               {func(w *world) { w.host.lose = 2 }, journal.Unknown, journal.Done, "", 80_00, []string{"bill", "bill", "bill settled"}},
		"the question never arrived":      {func(w *world) { w.host.fail = gone }, journal.Unknown, journal.NotDone, "withdrawn", 80_00, []string{"bill settled"}},
		"the utility is down for a while": {func(w *world) { w.host.fail, w.host.lose = gone, 1 }, journal.Unknown, journal.NotDone, "withdrawn", 80_00, []string{"bill settled", "bill settled"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			c.before(w)
			r := bill()
			r.Again = account
			w.host.onAsk = func(context.Context) error {
				if n := w.wrote(journal.TypeBillIntent); n != 1 {
					t.Errorf("asked with %d intents on disk", n)
				}
				return nil
			}
			rc, err := w.term.PayBill(w.ctx, r)
			if err != nil || rc.Result != c.first || rc.Account != account || rc.Kind != journal.KindBill {
				t.Fatalf("%+v, %v", rc.Transaction, err)
			}
			w.clean()
			w.host.fail = nil
			for range 3 {
				w.term.inquiredAt = time.Time{}
				w.term.Maintain(w.ctx)
			}
			if again, err := w.term.PayBill(w.ctx, r); err != nil || again.Name != rc.Name {
				t.Errorf("pressed twice: %+v, %v", again.Transaction, err)
			}
			if rc = w.transaction(rc.Name); rc.Result != c.last || rc.Decided.Code != c.code || rc.WasUnknown != (c.first == journal.Unknown) {
				t.Errorf("%+v %+v", rc.Transaction, rc.Decided)
			}
			if !slices.Equal(w.host.asks, c.asks) {
				t.Errorf("asked %q, want %q", w.host.asks, c.asks)
			}
			if in, out := w.till(); in != c.in || out != 0 {
				t.Errorf("in %s, out %s", in, out)
			}
			back := ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name}
			_, err = w.term.ReturnCash(w.ctx, back)
			if c.last == journal.Done {
				wantRefusal(t, err, CodeCashNotOwed)
			} else if err != nil {
				t.Error(err)
			} else if in, _ := w.till(); in != 0 {
				t.Errorf("the cash went back, and %s is in the drawer", in)
			}
			sh, _, _ := w.st.Shift()
			if want := map[bool]money.Fen{true: 80_00}[c.last == journal.Done]; sh.Bills != want || sh.Unknown != 0 {
				t.Errorf("the shift has bills of %s, %d unknown", sh.Bills, sh.Unknown)
			}
			w.clean()
		})
	}
}

// TestStoppedAtTheCounter: the terminal stopped between intent and outcome.
// Nobody guesses: it is unknown until the utility says how it ended.
func TestStoppedAtTheCounter(t *testing.T) {
	for name, c := range map[string]struct {
		body    journal.Body
		decided bool
		want    journal.Result
	}{
		"bill taken":     {&journal.BillIntent{Token: journal.Token{1}, Account: account, Amount: 5_00, Tendered: 5_00}, true, journal.Done},
		"bill not asked": {&journal.BillIntent{Token: journal.Token{1}, Account: account, Amount: 5_00, Tendered: 5_00}, false, journal.NotDone},
		// Nothing was paid out, whatever was agreed: the claim waits.
		"claim agreed":    {&journal.ClaimIntent{Token: journal.Token{1}, Claim: slip, Amount: 5_00, How: journal.PayoutCash}, true, journal.NotDone},
		"claim not asked": {&journal.ClaimIntent{Token: journal.Token{1}, Claim: slip, Amount: 5_00, How: journal.PayoutCash}, false, journal.NotDone},
		"card blocked":    {&journal.CardRequest{Token: journal.Token{1}, Wish: journal.WishBlock, Card: mustCard(t, "4821")}, true, journal.Done},
		"card not asked":  {&journal.CardRequest{Token: journal.Token{1}, Wish: journal.WishBlock, Card: mustCard(t, "4821")}, false, journal.Done},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.host.claims[slip] = 5_00
			n := w.pending(c.body)
			if c.decided {
				if _, err := w.term.question(w.ctx, n, c.body, false); err != nil {
					t.Fatal(err)
				}
			}
			w.host.online = false
			w.restart()
			w.maintain()
			if rc := w.transaction(n); rc.Result != journal.Unknown || rc.Reason != journal.ReasonPower || w.term.Status().Open != 1 {
				t.Fatalf("%+v", rc.Transaction)
			}
			w.clean()
			w.host.online = true
			w.maintain()
			if rc := w.transaction(n); rc.Result != c.want || !rc.WasUnknown || w.term.Status().Open != 0 {
				t.Errorf("%+v", rc.Transaction)
			}
			if w.host.claims[slip] != 5_00 {
				t.Error("the claim is gone and nobody got it")
			}
			w.clean()
		})
	}
}

func TestPayBillRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, r *BillRequest)
		want   Code
	}{
		"off line":              {func(w *world, _ *BillRequest) { w.host.online = false }, CodeNoLink},
		"no cash":               {func(_ *world, r *BillRequest) { r.Tendered = 79_99 }, CodeTendered},
		"nothing":               {func(_ *world, r *BillRequest) { r.Amount = 0 }, CodeAmount},
		"less than nothing":     {func(_ *world, r *BillRequest) { r.Amount = -1 }, CodeAmount},
		"more than may be":      {func(_ *world, r *BillRequest) { r.Amount, r.Tendered = 5000_01, 5000_01 }, CodeRedeemMax},
		"no such account":       {func(_ *world, r *BillRequest) { r.Account++ }, CodeAccountUnknown},
		"not looked up":         {func(w *world, _ *BillRequest) { w.host.account = wire.CodeRate }, CodeAccountAgain},
		"typed otherwise":       {func(w *world, r *BillRequest) { w.host.account, r.Again = wire.CodeRate, r.Account+1 }, CodeAccountMismatch},
		"by a customer":         {func(_ *world, r *BillRequest) { r.Who = customer }, CodeNotAllowed},
		"at a blocked terminal": {func(w *world, _ *BillRequest) { w.host.standing = wire.StandingBlocked }, CodeStanding},
		"shift closed":          {func(w *world, _ *BillRequest) { w.term.CloseShift(w.ctx, CloseRequest{Who: clerk}) }, CodeNoShift},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			r := bill()
			c.change(w, &r)
			before := w.wrote(journal.TypeBillIntent)
			_, err := w.term.PayBill(w.ctx, r)
			wantRefusal(t, err, c.want)
			if w.wrote(journal.TypeBillIntent) != before || len(w.host.asks) != 0 {
				t.Error("something was begun")
			}
		})
	}
	w := newWorld(t)
	w.shift()
	r := bill()
	w.host.account, r.Again = wire.CodeRate, r.Account
	if rc, err := w.term.PayBill(w.ctx, r); err != nil || rc.Bill.Seen == journal.AccountOnline {
		t.Errorf("typed twice: %+v, %v", rc.Bill, err)
	}
	r.Amount--
	_, err := w.term.PayBill(w.ctx, r)
	wantRefusal(t, err, CodeTokenReused)
}

func claim(load bool) ClaimRequest {
	return ClaimRequest{Token: token(), Who: clerk, Claim: slip, Amount: 50_00, Load: load}
}

func TestCollectClaim(t *testing.T) {
	w := newWorld(t)
	w.shift()
	w.host.claims[slip] = 50_00
	if v, err := w.term.Claim(w.ctx, slip); err != nil || v.Amount != 50_00 || v.Last4 != "4821" {
		t.Fatalf("%+v, %v", v, err)
	}
	r := claim(false)
	rc, err := w.term.CollectClaim(w.ctx, r)
	if err != nil || rc.Result != journal.Done || rc.Claim.Claim != slip {
		t.Fatalf("%+v, %v", rc.Transaction, err)
	}
	if in, out := w.till(); in != 0 || out != 50_00 {
		t.Errorf("in %s, out %s", in, out)
	}
	if again, err := w.term.CollectClaim(w.ctx, r); err != nil || again.Name != rc.Name {
		t.Errorf("pressed twice: %v", err)
	}
	if rc, err := w.term.CollectClaim(w.ctx, claim(false)); err != nil || rc.Result != journal.NotDone || rc.Decided.Code != "already_done" {
		t.Errorf("a second time: %+v, %v", rc.Transaction, err)
	}
	_, err = w.term.Claim(w.ctx, slip)
	wantRefusal(t, err, CodeNoClaim)
	if _, out := w.till(); out != 50_00 {
		t.Errorf("out %s", out)
	}
	w.clean()
}

// TestClaimWithoutAnswer: what the clerk does not know to be agreed is not paid
// out, and waits again for the customer, here or elsewhere.
func TestClaimWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	w.shift()
	w.host.claims[slip] = 50_00
	w.host.lose = 2
	rc, err := w.term.CollectClaim(w.ctx, claim(false))
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%+v, %v", rc.Transaction, err)
	}
	if _, out := w.till(); out != 0 || w.host.claims[slip] != 0 {
		t.Fatalf("out %s", out)
	}
	w.maintain()
	if rc := w.transaction(rc.Name); rc.Result != journal.NotDone || w.host.claims[slip] != 50_00 {
		t.Errorf("%+v, the claim holds %s", rc.Transaction, w.host.claims[slip])
	}
	if rc, err := w.term.CollectClaim(w.ctx, claim(false)); err != nil || rc.Result != journal.Done {
		t.Errorf("%+v, %v", rc.Transaction, err)
	}
	if _, out := w.till(); out != 50_00 {
		t.Errorf("out %s", out)
	}
	w.clean()
}

// TestClaimOntoACard: the claim is paid out and becomes an ordinary top-up with
// that cash; the drawer ends where it was.
func TestClaimOntoACard(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "4821")
	chip := newCard(t, n)
	w.host.claims[slip] = 50_00
	_, err := w.term.CollectClaim(w.ctx, claim(true))
	wantRefusal(t, err, CodeNoCard)
	w.slot.Insert(chip)
	r := claim(true)
	r.Card = mustCard(t, "4822")
	_, err = w.term.CollectClaim(w.ctx, r)
	wantRefusal(t, err, CodeOtherCard)
	r.Card = n
	r.Amount = 1000_01
	_, err = w.term.CollectClaim(w.ctx, r)
	wantRefusal(t, err, CodeTopUpMax)
	if len(w.host.asks) != 0 {
		t.Fatal("the claim was touched for a load that could not be")
	}
	r = claim(true)
	r.Card = n
	rc, err := w.term.CollectClaim(w.ctx, r)
	if err != nil || rc.Result != journal.Done || rc.Child == nil || rc.Child.Result != journal.Done || rc.Child.Amount != 50_00 {
		t.Fatalf("%+v, %v", rc, err)
	}
	if in, out := w.till(); in != 50_00 || out != 50_00 {
		t.Errorf("in %s, out %s", in, out)
	}
	if again, err := w.term.CollectClaim(w.ctx, r); err != nil || again.Child == nil || value(t, chip) != 50_00 {
		t.Errorf("pressed twice: %v", err)
	}
	w.clean()

	// The vault refuses the load: the cash is the customer's, as with any
	// top-up that was not done.
	w.host.claims[slip] = 50_00
	asked := 0
	w.host.onAsk = func(context.Context) error {
		if asked++; asked == 2 { // the claim first, then the load
			w.host.refuse = wire.CodeLimit
		}
		return nil
	}
	w.slot.Insert(chip)
	r = claim(true)
	r.Card = n
	rc, err = w.term.CollectClaim(w.ctx, r)
	if err != nil || rc.Result != journal.Done || rc.Child == nil || rc.Child.Result != journal.NotDone {
		t.Fatalf("%+v, %v", rc, err)
	}
	if _, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Child.Name}); err != nil {
		t.Error(err)
	}
	if in, out := w.till(); in-out != -50_00 {
		t.Errorf("in %s, out %s", in, out)
	}
	w.clean()
}

func TestBlockAndReplace(t *testing.T) {
	w := newWorld(t)
	w.shift()
	r := CardRequest{Token: token(), Who: clerk, Card: mustCard(t, "4821"), Why: journal.WhyLost}
	rc, err := w.term.BlockCard(w.ctx, r)
	if err != nil || rc.Result != journal.Done || rc.Kind != journal.KindBlock || rc.Request.Why != journal.WhyLost || rc.Card != r.Card {
		t.Fatalf("%+v, %v", rc.Transaction, err)
	}
	_, err = w.term.ReplaceCard(w.ctx, r)
	wantRefusal(t, err, CodeTokenReused)
	w.host.refuse = wire.CodeUnnamed
	r.Token = token()
	if rc, err := w.term.BlockCard(w.ctx, r); err != nil || rc.Result != journal.NotDone || rc.Decided.Code != "unnamed" {
		t.Errorf("%+v, %v", rc.Transaction, err)
	}
	w.host.refuse = ""
	r.Token, r.Why = token(), journal.WhyDamaged
	if rc, err := w.term.ReplaceCard(w.ctx, r); err != nil || rc.Result != journal.Done || rc.Kind != journal.KindReplace {
		t.Errorf("%+v, %v", rc.Transaction, err)
	}
	r.Token, w.host.online = token(), false
	_, err = w.term.BlockCard(w.ctx, r)
	wantRefusal(t, err, CodeNoLink)
	r.Who, w.host.online = customer, true
	_, err = w.term.BlockCard(w.ctx, r)
	wantRefusal(t, err, CodeNotAllowed)
	acts, err := w.term.StaffActs(10)
	if err != nil || len(acts) < 3 || journal.Deed(acts[0]) != "replace" || journal.Deed(acts[1]) != "block" || acts[0].Actor != clerk {
		t.Errorf("acts %v, %v", acts, err)
	}
	w.clean()
}

// TestCardOfRefusedRequest: what the utility refused to do about a card says
// nothing that the card itself could be asked about.
func TestCardOfRefusedRequest(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	w.slot.Remove()
	w.host.refuse = wire.CodeUnnamed
	for _, ask := range []func(context.Context, CardRequest) (Receipt, error){w.term.BlockCard, w.term.ReplaceCard} {
		if rc, err := ask(w.ctx, CardRequest{Token: token(), Who: clerk, Card: n, Why: journal.WhyLost}); err != nil || rc.Result != journal.NotDone {
			t.Fatal(rc.Result, err)
		}
	}
	w.host.refuse = ""
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if c := w.term.Status().Card; c.State != CardReady || c.Balance != 100_00 {
		t.Errorf("the card is %s, %s, with %s on it", c.State, c.Problem, c.Balance)
	}
	if rc, err := w.topUp(n, 50_00); err != nil || rc.Result != journal.Done {
		t.Errorf("%v, %v", rc.Result, err)
	}
	w.clean()
}

// TestOwedOnce: what this terminal owes is given back or collected, not both,
// whatever the utility knows of it yet.
func TestOwedOnce(t *testing.T) {
	for _, collectFirst := range []bool{true, false} {
		w := newWorld(t)
		w.shift()
		w.host.refuse = wire.CodeNoRoom
		rc, err := w.term.PayBill(w.ctx, bill())
		if err != nil || rc.Result != journal.NotDone {
			t.Fatal(err)
		}
		w.host.refuse = ""
		w.host.claims[rc.Name] = 80_00 // the utility has not heard that the cash went back
		collect := func() error {
			_, err := w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: rc.Name, Amount: 80_00})
			return err
		}
		giveBack := func() error {
			_, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name})
			return err
		}
		if collectFirst {
			if err := collect(); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, giveBack(), CodeCashNotOwed)
			if rc, err := w.term.Transaction(rc.Name); err != nil || !rc.Owed.IsZero() {
				t.Errorf("cash that was collected is owed still: %v, %v", rc.Owed, err)
			}
			if a, err := w.term.Attention(); err != nil || len(a.Owed) != 0 {
				t.Errorf("owed at the close of the shift: %v, %v", a.Owed, err)
			}
			if x, err := w.term.Report(); err != nil || x.Owed != 0 || x.OwedCash != 0 {
				t.Errorf("the report owes %d, %s, %v", x.Owed, x.OwedCash, err)
			}
		} else {
			if rc, err := w.term.Transaction(rc.Name); err != nil || rc.Owed != rc.Name {
				t.Errorf("cash is owed for %v, %v", rc.Owed, err)
			}
			if err := giveBack(); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, collect(), CodeNoClaim)
			_, err := w.term.Claim(w.ctx, rc.Name)
			wantRefusal(t, err, CodeNoClaim)
		}
		if in, out := w.till(); in-out != 0 {
			t.Errorf("in %s, out %s", in, out)
		}
		w.clean()
	}
}
