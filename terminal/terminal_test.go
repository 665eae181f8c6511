package terminal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

func TestTopUpAndRedeemOnLine(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := newCard(t, n)
	w.slot.Insert(card)

	before := w.st.Commits()
	rc, err := w.topUp(n, 50_00)
	if err != nil || rc.Result != journal.Done || rc.After != 50_00 || rc.Load.Authority != journal.AuthorityHost {
		t.Fatalf("top up: %v %+v", err, rc)
	}
	if got := w.st.Commits() - before; got != 3 {
		t.Errorf("%d commits for an on-line top-up, want 3: intent, authorised, outcome", got)
	}
	before = w.st.Commits()
	rc, err = w.redeem(n, 20_50)
	if err != nil || rc.Result != journal.Done || rc.After != 29_50 {
		t.Fatalf("redeem: %v %+v", err, rc)
	}
	if got := w.st.Commits() - before; got != 2 {
		t.Errorf("%d commits for a redemption, want 2: intent, outcome", got)
	}
	if rc.PurchaseOutcome.MAC2Said != journal.MAC2Good || !rc.PurchaseOutcome.HasTAC {
		t.Errorf("outcome %+v", rc.PurchaseOutcome)
	}
	if got := value(t, card); got != 29_50 {
		t.Errorf("the card holds %s", got)
	}
	if v := w.term.Status().Card; v.Balance != 29_50 || v.State != CardReady {
		t.Errorf("the screen shows %+v", v)
	}
}

func TestSameTokenIsOneSale(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := newCard(t, n)
	w.slot.Insert(card)
	req := TopUpRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 50_00}
	first, err := w.term.TopUp(w.ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.term.TopUp(w.ctx, req)
	if err != nil || again.Name != first.Name {
		t.Fatalf("second call: %v %v", again.Name, err)
	}
	if got := value(t, card); got != 50_00 {
		t.Fatalf("a double click loaded %s", got)
	}
	req.Amount, req.Tendered = 60_00, 60_00
	_, err = w.term.TopUp(w.ctx, req)
	wantRefusal(t, err, CodeTokenReused)
}

func TestTopUpOffLine(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	w.now = w.now.AddDate(0, 0, 1)
	if err := w.term.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if a := w.term.Status().Allowance; a.Amount != 500_00 || a.Count != 5 {
		t.Fatalf("allowance %+v", a)
	}
	w.host.online = false
	for i := range 2 {
		rc, err := w.topUp(n, 50_00)
		if err != nil || rc.Result != journal.Done || rc.Load.Authority != journal.AuthoritySAM || rc.Authorised.SAMCount != uint32(i+1) {
			t.Fatalf("off-line top-up %d: %v %+v", i, err, rc)
		}
	}
	// Two in a row is the hard limit.
	_, err := w.topUp(n, 50_00)
	wantRefusal(t, err, CodeCardOffline)
	if got := value(t, card); got != 200_00 {
		t.Fatalf("the card holds %s", got)
	}
	if a := w.term.Status().Allowance; a.Amount != 400_00 || a.Count != 3 {
		t.Fatalf("allowance %+v", a)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		want Code
		do   func(*world) error
	}{
		{"no shift", CodeNoShift, func(w *world) error { _, err := w.topUp(mustCard(w, "1001"), 50_00); return err }},
		{"no card", CodeNoCard, func(w *world) error { w.shift(); _, err := w.topUp(mustCard(w, "1001"), 50_00); return err }},
		{"customer tops up", CodeNotAllowed, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.term.TopUp(w.ctx, TopUpRequest{Token: token(), Who: customer, Amount: 50_00, Tendered: 50_00})
			return err
		}},
		{"other card", CodeOtherCard, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.topUp(mustCard(w, "1002"), 50_00)
			return err
		}},
		{"too little cash", CodeTendered, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.term.TopUp(w.ctx, TopUpRequest{Token: token(), Who: clerk, Amount: 50_00, Tendered: 49_99})
			return err
		}},
		{"below the least", CodeTopUpMin, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.topUp(mustCard(w, "1001"), 9_99)
			return err
		}},
		{"over the most", CodeTopUpMax, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.topUp(mustCard(w, "1001"), 1000_01)
			return err
		}},
		{"purse would hold too much", CodePurseMax, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 600_00)
			_, err := w.topUp(mustCard(w, "1001"), 400_01)
			return err
		}},
		{"stock that nobody sold", CodeCardNotActive, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "5001")))
			_, err := w.topUp(mustCard(w, "5001"), 50_00)
			return err
		}},
		{"never loaded, off line", CodeCardNotActive, func(w *world) error {
			w.shift()
			if err := w.term.Maintain(w.ctx); err != nil {
				return err
			}
			w.host.online = false
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.topUp(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"off line without allowance", CodeAllowance, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.online = false
			_, err := w.topUp(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"off line, one too large", CodeOfflineMax, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.online = false
			_, err := w.topUp(mustCard(w, "1001"), 100_01)
			return err
		}},
		{"off line, too much in a day", CodeCardDayMax, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 150_00)
			w.host.online = false
			_, err := w.topUp(mustCard(w, "1001"), 50_01)
			return err
		}},
		{"hotlist too old", CodeHotlistOld, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.now = w.now.Add(73 * time.Hour)
			_, err := w.redeem(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"blocked card", CodeCardBlocked, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.section(wire.Section{Kind: wire.SectionHotlist, Hotlist: wire.Hotlist{mustCard(w, "1001")}})
			_, err := w.redeem(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"selling right withdrawn", CodeStanding, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.standing = wire.StandingBlocked
			_, err := w.topUp(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"journal not recognised", CodeStanding, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.standing = wire.StandingForked
			_, err := w.redeem(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"balance too low", CodeBalanceLow, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			_, err := w.redeem(mustCard(w, "1001"), 50_01)
			return err
		}},
		{"account unknown on line", CodeAccountUnknown, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			_, err := w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: customer, Account: 42, Amount: 1})
			return err
		}},
		{"account unknown off line", CodeAccountAgain, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.online = false
			_, err := w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: customer, Account: 42, Amount: 1})
			return err
		}},
		{"account typed differently", CodeAccountMismatch, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.host.online = false
			_, err := w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: customer, Account: 42, Again: 43, Amount: 1})
			return err
		}},
		{"expired", CodeCardExpired, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.now = time.Date(2050, 1, 1, 0, 0, 0, 0, money.CST)
			_, err := w.topUp(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"no PSAM", CodeNoPSAM, func(w *world) error {
			w.shift()
			w.loaded(mustCard(w, "1001"), 50_00)
			w.sam.Remove()
			w.term.sams.close()
			_, err := w.redeem(mustCard(w, "1001"), 50_00)
			return err
		}},
		{"sold twice", CodeCardActive, func(w *world) error {
			w.shift()
			n := mustCard(w, "5001")
			w.slot.Insert(newCard(w, n))
			if rc, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n}); err != nil || rc.Result != journal.Done {
				w.Fatalf("sell: %v", err)
			}
			_, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n})
			return err
		}},
		{"not our stock", CodeCardNotOurs, func(w *world) error {
			w.shift()
			w.slot.Insert(newCard(w, mustCard(w, "1001")))
			_, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: mustCard(w, "1001")})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			err := c.do(w)
			wantRefusal(t, err, c.want)
			open, err := w.st.OpenTransactions()
			if err != nil || len(open) != 0 {
				t.Fatalf("a refusal left %d transactions open, %v", len(open), err)
			}
		})
	}
}

func TestSellWithFirstLoad(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "5001")
	card := newCard(t, n)
	w.slot.Insert(card)
	rc, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 50_00})
	if err != nil || rc.Kind != journal.KindSale || rc.Child == nil || rc.Child.Result != journal.Done {
		t.Fatalf("%v %+v", err, rc)
	}
	if w.host.flushed == 0 {
		t.Error("the vault was asked before it could know of the sale")
	}
	if got := value(t, card); got != 50_00 {
		t.Errorf("the card holds %s", got)
	}
	// From now on it is a card like any other.
	w.slot.Insert(card)
	if rc, err := w.topUp(n, 10_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v %+v", err, rc)
	}
}

func TestHostRefusesOrIsSilent(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*testHost)
		want journal.Reason
	}{
		{"refuses", func(h *testHost) { h.refuse = wire.CodeNoRoom }, journal.ReasonHostRefused},
		{"is silent", func(h *testHost) { h.fail = errors.New("no route") }, journal.ReasonHostUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := mustCard(t, "1001")
			card := newCard(t, n)
			w.slot.Insert(card)
			c.set(w.host)
			rc, err := w.topUp(n, 50_00)
			if err != nil || rc.Result != journal.NotDone || rc.Reason != c.want || rc.Evidence != journal.EvidenceNotSent {
				t.Fatalf("%v %+v", err, rc.Transaction)
			}
			if got := value(t, card); got != 0 {
				t.Fatalf("the card holds %s", got)
			}
			ret := ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name}
			got, err := w.term.ReturnCash(w.ctx, ret)
			if err != nil || !got.CashReturned {
				t.Fatalf("return the cash: %v", err)
			}
			if again, err := w.term.ReturnCash(w.ctx, ret); err != nil || again.Name != rc.Name {
				t.Fatalf("the same token again: %v", err)
			}
			_, err = w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name})
			wantRefusal(t, err, CodeCashNotOwed)
		})
	}
}

func TestVoid(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := newCard(t, n)
	w.slot.Insert(card)
	top, err := w.topUp(n, 50_00)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top.Name})
	if err != nil || rc.Kind != journal.KindVoid || rc.Child == nil || rc.Child.Result != journal.Done {
		t.Fatalf("%v %+v", err, rc)
	}
	if got := value(t, card); got != 0 {
		t.Fatalf("the card holds %s", got)
	}
	w.slot.Insert(card)
	_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top.Name})
	wantRefusal(t, err, CodeVoided)
	sh, _, _ := w.st.Shift()
	if sh.CashIn != 50_00 || sh.CashOut != 50_00 {
		t.Errorf("drawer: in %s out %s", sh.CashIn, sh.CashOut)
	}
}

func TestShift(t *testing.T) {
	w := newWorld(t)
	w.shift()
	_, err := w.term.OpenShift(w.ctx, clerk, 0)
	wantRefusal(t, err, CodeShiftOpen)
	w.loaded(mustCard(t, "1001"), 50_00)
	sh, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 149_00})
	if err != nil || !sh.Closed || sh.Expected != 150_00 || sh.Counted != 149_00 {
		t.Fatalf("%v %+v", err, sh)
	}
	_, err = w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 149_00})
	wantRefusal(t, err, CodeShiftClosed)
	if sh, err := w.term.OpenShift(w.ctx, clerk, 1); err != nil || sh.Number != 2 {
		t.Fatalf("%v %+v", err, sh)
	}
}

func TestRealAndTestKeysStayApart(t *testing.T) {
	w := newWorld(t)
	w.term.cfg.TestKeys = false
	w.shift()
	w.slot.Insert(newCard(t, mustCard(t, "1001")))
	_, err := w.topUp(mustCard(t, "1001"), 50_00)
	wantRefusal(t, err, CodeTestCard)
}

func TestRunFollowsTheSlot(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	changes := w.term.Changes(ctx)
	go func() { done <- w.term.Run(ctx) }()
	wait := func(s CardState) CardView {
		t.Helper()
		for {
			if v := w.term.Status().Card; v.State == s {
				return v
			}
			select {
			case <-changes:
			case <-time.After(10 * time.Second):
				t.Fatalf("the card slot never became %s, it is %+v", s, w.term.Status().Card)
			}
		}
	}
	wait(CardNone)
	w.slot.Insert(newCard(t, mustCard(t, "1001")))
	if v := wait(CardReady); v.Number != mustCard(t, "1001") || v.Balance != 0 {
		t.Fatalf("%+v", v)
	}
	w.slot.Remove()
	wait(CardNone)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestCachedBillKnowsOwnPayments pays off line and looks the bill up again:
// what was paid here is not asked for a second time.
func TestCachedBillKnowsOwnPayments(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	w.host.online = false
	owes := func() money.Fen {
		t.Helper()
		a, err := w.term.Account(w.ctx, account)
		if err != nil || a.Seen != journal.AccountCached {
			t.Fatalf("%v %+v", err, a)
		}
		return -a.Balance
	}
	if got := owes(); got != 123_45 {
		t.Fatalf("owes %s", got)
	}
	if rc, err := w.redeem(n, 23_45); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v %v", err, rc.Result)
	}
	if got := owes(); got != 100_00 {
		t.Errorf("owes %s after paying 23.45", got)
	}
}

// TestNobodyBeforeTheStart: a wish that comes while the terminal starts waits
// for the start entry, which must be the first of its epoch.
func TestNobodyBeforeTheStart(t *testing.T) {
	w := newWorld(t)
	cfg := w.term.cfg
	early, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := w.st.Head().Seq
	opened := make(chan error, 1)
	go func() {
		_, err := early.OpenShift(w.ctx, clerk, 0)
		opened <- err
	}()
	login := journal.Staff{Act: journal.ActLogin, Staff: clerk.ID}
	noted := make(chan error, 1)
	go func() { noted <- early.Note(w.ctx, clerk, login) }()
	gone, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := early.Note(gone, clerk, login); err == nil || w.st.Head().Seq != before {
		t.Fatalf("a login was written before the start: %v", err)
	}
	if _, err := early.OpenShift(gone, clerk, 0); err == nil || w.st.Head().Seq != before {
		t.Fatalf("served before the start: %v", err)
	}
	w.term.closeAll() // the SAMs are the new one's
	if err := early.Start(w.ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-opened, <-noted); err != nil {
		t.Fatal(err)
	}
	if e, err := w.st.Entry(journal.Ref{Epoch: 1, Seq: before + 1}); err != nil || e.Body.Type() != journal.TypeStart {
		t.Errorf("the first entry of the start is %T, %v", e.Body, err)
	}
}
