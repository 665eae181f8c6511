package terminal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/wire"
)

// TestTokens: a token is one wish. The same wish again answers the first
// result, another wish is refused.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n, stock := mustCard(t, "1001"), mustCard(t, "5001")
	w.slot.Insert(newCard(t, stock))
	sale := SellRequest{Token: token(), Who: clerk, Card: stock}
	sold, err := w.term.Sell(w.ctx, sale)
	if err != nil {
		t.Fatal(err)
	}
	w.loaded(n, 100_00)
	top := TopUpRequest{Token: token(), Who: clerk, Card: n, Amount: 20_00, Tendered: 20_00}
	topped, err := w.term.TopUp(w.ctx, top)
	if err != nil {
		t.Fatal(err)
	}
	red := RedeemRequest{Token: token(), Who: customer, Card: n, Account: account, Amount: 20_00}
	redeemed, err := w.term.Redeem(w.ctx, red)
	if err != nil {
		t.Fatal(err)
	}
	void := VoidRequest{Token: token(), Who: clerk, TopUp: topped.Name}
	voided, err := w.term.Void(w.ctx, void)
	if err != nil {
		t.Fatal(err)
	}
	w.host.refuse = wire.CodeNoRoom
	failed, err := w.topUp(n, 30_00)
	if err != nil {
		t.Fatal(err)
	}
	failedToo, err := w.topUp(n, 30_00)
	if err != nil {
		t.Fatal(err)
	}
	w.host.refuse = ""
	back := ReturnCashRequest{Token: token(), Who: clerk, TopUp: failedToo.Name}
	if _, err := w.term.ReturnCash(w.ctx, back); err != nil {
		t.Fatal(err)
	}

	topUp := func(f func(*TopUpRequest)) func() (Receipt, error) {
		r := top
		f(&r)
		return func() (Receipt, error) { return w.term.TopUp(w.ctx, r) }
	}
	redeem := func(f func(*RedeemRequest)) func() (Receipt, error) {
		r := red
		f(&r)
		return func() (Receipt, error) { return w.term.Redeem(w.ctx, r) }
	}
	sell := func(f func(*SellRequest)) func() (Receipt, error) {
		r := sale
		f(&r)
		return func() (Receipt, error) { return w.term.Sell(w.ctx, r) }
	}
	for _, c := range []struct {
		name string
		do   func() (Receipt, error)
		same journal.Name // zero: refused
	}{
		{"top-up", topUp(func(r *TopUpRequest) {}), topped.Name},
		{"top-up of whatever card is in", topUp(func(r *TopUpRequest) { r.Card = money.CardNumber{} }), topped.Name},
		{"top-up of another card", topUp(func(r *TopUpRequest) { r.Card = stock }), journal.Name{}},
		{"top-up of another amount", topUp(func(r *TopUpRequest) { r.Amount, r.Tendered = 21_00, 21_00 }), journal.Name{}},
		{"top-up by the token of a redemption", topUp(func(r *TopUpRequest) { r.Token = red.Token }), journal.Name{}},
		{"redemption", redeem(func(r *RedeemRequest) {}), redeemed.Name},
		{"redemption of whatever card is in", redeem(func(r *RedeemRequest) { r.Card = money.CardNumber{} }), redeemed.Name},
		{"redemption of another card", redeem(func(r *RedeemRequest) { r.Card = stock }), journal.Name{}},
		{"redemption of another amount", redeem(func(r *RedeemRequest) { r.Amount = 1 }), journal.Name{}},
		{"redemption to another account", redeem(func(r *RedeemRequest) { r.Account++ }), journal.Name{}},
		{"redemption by the token of a top-up", redeem(func(r *RedeemRequest) { r.Token, r.Account = top.Token, 0 }), journal.Name{}},
		{"sale", sell(func(r *SellRequest) {}), sold.Name},
		{"sale of another card", sell(func(r *SellRequest) { r.Card = mustCard(t, "5002") }), journal.Name{}},
		{"sale by the token of a top-up", sell(func(r *SellRequest) { r.Token, r.Card = top.Token, n }), journal.Name{}},
		{"void", func() (Receipt, error) { return w.term.Void(w.ctx, void) }, voided.Name},
		{"void of another", func() (Receipt, error) {
			return w.term.Void(w.ctx, VoidRequest{Token: void.Token, Who: clerk, TopUp: failed.Name})
		}, journal.Name{}},
		{"void by the token of its top-up", func() (Receipt, error) {
			return w.term.Void(w.ctx, VoidRequest{Token: top.Token, Who: clerk, TopUp: topped.Name})
		}, journal.Name{}},
		{"cash back by the token of its top-up", func() (Receipt, error) {
			return w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: failed.Token, Who: clerk, TopUp: failed.Name})
		}, journal.Name{}},
		{"cash back", func() (Receipt, error) { return w.term.ReturnCash(w.ctx, back) }, failedToo.Name},
		{"cash back by the token of another cash back", func() (Receipt, error) {
			return w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: back.Token, Who: clerk, TopUp: failed.Name})
		}, journal.Name{}},
		{"cash back by the token of another", func() (Receipt, error) {
			return w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: top.Token, Who: clerk, TopUp: failed.Name})
		}, journal.Name{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := w.st.Head().Seq
			rc, err := c.do()
			if c.same == (journal.Name{}) {
				wantRefusal(t, err, CodeTokenReused)
			} else if err != nil || rc.Name != c.same {
				t.Fatalf("%v %v, want %v", rc.Name, err, c.same)
			}
			if got := w.st.Head().Seq; got != head {
				t.Errorf("%d entries were written", got-head)
			}
		})
	}
	top.Token = journal.Token{}
	if _, err := w.term.TopUp(w.ctx, top); err == nil {
		t.Error("a request without a token was served")
	}
}

// TestMoreRefusals are those of TestRefusals that need more than a card.
func TestMoreRefusals(t *testing.T) {
	n, stock := mustCard(t, "1001"), mustCard(t, "5001")
	limits := func(w *world, f func(*wire.Limits)) {
		l := wire.DefaultLimits()
		f(&l)
		w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	}
	topUp := func(a money.Fen) func(*world) error {
		return func(w *world) error { _, err := w.topUp(n, a); return err }
	}
	redeem := func(a money.Fen) func(*world) error {
		return func(w *world) error { _, err := w.redeem(n, a); return err }
	}
	sell := func(amount, tendered money.Fen) func(*world) error {
		return func(w *world) error {
			_, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: stock, Amount: amount, Tendered: tendered})
			return err
		}
	}
	card := func(w *world) { w.shift(); w.loaded(n, 50_00) }
	fresh := func(w *world) { w.shift(); w.slot.Insert(newCard(w, stock)) }
	last := func(w *world) journal.Name {
		r, err := w.term.Transactions(1, journal.Ref{})
		if err != nil || len(r) != 1 {
			w.Fatal(err)
		}
		return r[0].Name
	}
	void := func(w *world) error {
		_, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: last(w)})
		return err
	}
	cashBack := func(w *world) error {
		_, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: last(w)})
		return err
	}
	refused := func(w *world) { card(w); w.host.refuse = wire.CodeNoRoom; w.topUp(n, 50_00); w.host.refuse = "" }
	type row struct {
		name  string
		want  Code
		ready func(*world)
		do    func(*world) error
	}
	rows := []row{
		{"pay nothing", CodeAmount, card, redeem(0)},
		{"pay less than nothing", CodeAmount, card, redeem(-1)},
		{"load less than nothing", CodeAmount, card, func(w *world) error {
			limits(w, func(l *wire.Limits) { l.TopUpMin = -100_00 })
			return topUp(-1)(w)
		}},
		{"pay too much", CodeRedeemMax, func(w *world) { card(w); limits(w, func(l *wire.Limits) { l.RedeemMax = 10_00 }) }, redeem(10_01)},
		{"clerk pays without a shift", CodeNoShift, func(w *world) {
			card(w)
			w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0})
		}, func(w *world) error {
			_, err := w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: clerk, Card: n, Account: account, Amount: 1})
			return err
		}},
		{"pay, queue too long", CodeUnsentCount, func(w *world) { card(w); limits(w, func(l *wire.Limits) { l.UnsentStop = 3 }) }, redeem(1)},
		{"load off line, queue too long", CodeUnsentCount, func(w *world) { card(w); w.offline(); limits(w, func(l *wire.Limits) { l.UnsentStop = 3 }) }, topUp(10_00)},
		{"load off line, queue too old", CodeUnsentAge, func(w *world) { card(w); w.offline(); w.now = w.now.Add(73 * time.Hour) }, topUp(10_00)},
		{"load off line, too much unsent", CodeUnsentValue, func(w *world) { card(w); w.offline(); limits(w, func(l *wire.Limits) { l.UnsentMax = 59_99 }) }, topUp(10_00)},
		{"load off line, no load SAM configured", CodeNoLink, func(w *world) {
			w.more = func(c *Config) { c.LoadSAM = nil }
			w.restart()
			card(w)
			w.host.online = false
		}, topUp(10_00)},
		{"load off line, SAM gone", CodeNoLoadSAM, func(w *world) { card(w); w.offline(); w.sam.Remove(); w.term.sams.close() }, topUp(10_00)},
		{"load off line, allowance too small", CodeAllowance, func(w *world) {
			limits(w, func(l *wire.Limits) { l.OfflineTopUpMax, l.CardDayMax = 900_00, 900_00 })
			card(w)
			w.offline()
		}, topUp(500_01)},
		{"load off line, allowance used up", CodeAllowance, func(w *world) { card(w); w.offline(); w.term.sams.state.CeilingCount = 0 }, topUp(10_00)},
		{"not valid yet", CodeCardExpired, func(w *world) { card(w); w.now = time.Date(2019, 12, 31, 23, 0, 0, 0, money.CST) }, topUp(10_00)},
		{"sale without a shift", CodeNoShift, func(w *world) { w.slot.Insert(newCard(w, stock)) }, sell(0, 0)},
		{"sale of less than nothing", CodeTendered, fresh, sell(-10_00, 0)},
		{"sale for too little", CodeTendered, func(w *world) { fresh(w); limits(w, func(l *wire.Limits) { l.CardDeposit = 20_00 }) }, sell(50_00, 69_99)},
		{"sale of too much", CodeTopUpMax, fresh, sell(1000_01, 1000_01)},
		{"sale after the range ended", CodeCardNotOurs, func(w *world) {
			fresh(w)
			w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: stock, To: stock, Until: w.now.UnixMilli() - 1}}})
		}, sell(0, 0)},
		{"sale of a card that is not empty", CodeCardNotEmpty, func(w *world) {
			w.section(wire.Section{Kind: wire.SectionRanges})
			w.shift()
			w.loaded(stock, 10_00)
			w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: stock, To: stock}}})
		}, sell(0, 0)},
		{"sale off line, queue too long", CodeUnsentCount, func(w *world) { fresh(w); w.host.online = false; limits(w, func(l *wire.Limits) { l.UnsentStop = 2 }) }, sell(0, 0)},
		{"sale off line without allowance", CodeAllowance, func(w *world) { fresh(w); w.host.online = false }, sell(50_00, 50_00)},
		{"shift of a customer", CodeNotAllowed, func(*world) {}, func(w *world) error { _, err := w.term.OpenShift(w.ctx, customer, 0); return err }},
		{"shift with negative cash", CodeAmount, func(*world) {}, func(w *world) error { _, err := w.term.OpenShift(w.ctx, clerk, -1); return err }},
		{"close by a customer", CodeNotAllowed, func(w *world) { w.shift() }, func(w *world) error {
			_, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: customer, Counted: 0})
			return err
		}},
		{"close with negative cash", CodeAmount, func(w *world) { w.shift() }, func(w *world) error {
			_, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: -1})
			return err
		}},
		{"transaction of nobody", CodeNotFound, func(*world) {}, func(w *world) error {
			_, err := w.term.Transaction(journal.Ref{Epoch: 1, Seq: 77}.Of(testTerminal))
			return err
		}},
		{"transaction of another terminal", CodeNotFound, card, func(w *world) error {
			_, err := w.term.Transaction(last(w).Ref().Of(money.TerminalID{0x31, 1, 0, 0, 0x12, 0x35}))
			return err
		}},
		{"void of a payment", CodeNotVoidable, func(w *world) { card(w); w.redeem(n, 1) }, void},
		{"void of a top-up that was not done", CodeNotVoidable, refused, void},
		{"void of an earlier shift's", CodeNotVoidable, func(w *world) {
			card(w)
			w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0})
			w.shift()
		}, void},
		{"void after the shift", CodeNoShift, func(w *world) {
			card(w)
			w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0})
		}, void},
		{"void off line", CodeNoLink, func(w *world) { card(w); w.host.online = false }, void},
		{"void without a PSAM", CodeNoPSAM, func(w *world) { card(w); w.sam.Remove(); w.term.sams.close() }, void},
		{"void of what was spent", CodeBalanceLow, func(w *world) { card(w); w.redeem(n, 1) }, func(w *world) error {
			r, err := w.term.Transactions(2, journal.Ref{})
			if err != nil {
				return err
			}
			_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: r[1].Name})
			return err
		}},
		{"cash back of a payment", CodeCashNotOwed, func(w *world) { card(w); w.redeem(n, 1) }, cashBack},
		{"cash back of a top-up that was done", CodeCashNotOwed, card, cashBack},
		{"cash back after the shift", CodeNoShift, func(w *world) {
			refused(w)
			w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0})
		}, cashBack},
	}
	for name, s := range map[string]wire.Standing{"blocked": wire.StandingBlocked, "behind": wire.StandingBehind, "forked": wire.StandingForked, "to be enrolled anew": wire.StandingReenrol} {
		rows = append(rows,
			row{"load at a terminal " + name, CodeStanding, func(w *world) { card(w); w.host.standing = s }, topUp(10_00)},
			row{"pay at a terminal " + name, CodeStanding, func(w *world) { card(w); w.host.standing = s }, redeem(1)},
			row{"sale at a terminal " + name, CodeStanding, func(w *world) { fresh(w); w.host.standing = s }, sell(0, 0)})
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.ready(w)
			head := w.st.Head().Seq
			wantRefusal(t, c.do(w), c.want)
			for _, e := range w.entries()[head:] {
				if e.Body.Type().Begins() {
					t.Errorf("a refusal began %T", e.Body)
				}
			}
		})
	}
}

// TestNothingIsSoldWithoutLimits: a terminal that never heard of the utility
// serves no value.
func TestNothingIsSoldWithoutLimits(t *testing.T) {
	w := bareWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.slot.Insert(newCard(t, n))
	_, err := w.topUp(n, 50_00)
	wantRefusal(t, err, CodeNoLimits)
	_, err = w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n})
	wantRefusal(t, err, CodeNoLimits)
	_, err = w.redeem(n, 0)
	wantRefusal(t, err, CodeNoLimits)
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: wire.DefaultLimits()})
	_, err = w.redeem(n, 0)
	wantRefusal(t, err, CodeAmount)
	w.section(wire.Section{Kind: wire.SectionAccounts})
	_, err = w.redeem(n, 1)
	wantRefusal(t, err, CodeHotlistOld)
}

// TestWhatCountsAgainstACard: top-ups that came to nothing, or of yesterday,
// leave today's room as it was, and a load on line ends a row of loads off
// line.
func TestWhatCountsAgainstACard(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 200_00)
	w.now = w.now.AddDate(0, 0, 1)
	w.host.refuse = wire.CodeNoRoom
	if rc, err := w.topUp(n, 200_00); err != nil || rc.Result != journal.NotDone {
		t.Fatal(err)
	}
	w.host.refuse = ""
	w.offline()
	off := func(want Code) {
		t.Helper()
		_, err := w.topUp(n, 20_00)
		if want == "" {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		wantRefusal(t, err, want)
	}
	off("")
	off("")
	off(CodeCardOffline)
	w.host.online = true
	off("")
	w.host.online = false
	off("")
	off("")
	off(CodeCardOffline)
}

// TestNamedCardsHoldMore: by the shop's range, else by the card's own word.
func TestNamedCardsHoldMore(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 600_00)
	w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: n, To: n, Named: true}}})
	if !w.term.named(w.term.session.app.Info()) {
		t.Error("the range names the card")
	}
	info := w.term.session.app.Info()
	info.Number, info.IssuerData[0] = mustCard(t, "1002"), 1
	if !w.term.named(info) || w.term.purseMax(info, wire.DefaultLimits()) != 5000_00 {
		t.Error("the card says that it is named")
	}
	info.IssuerData[0] = 2
	if w.term.named(info) || w.term.purseMax(info, wire.DefaultLimits()) != 1000_00 {
		t.Error("a card without a name counts as named")
	}
}

// TestSoldHereLoadsOffLine: a card that this terminal sold is no stolen
// stock, even when its first load failed.
func TestSoldHereLoadsOffLine(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "5001")
	card := newCard(t, n)
	w.slot.Insert(card)
	w.host.refuse = wire.CodeNoRoom
	rc, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 50_00})
	if err != nil || rc.Result != journal.Done || rc.Child == nil || rc.Child.Result != journal.NotDone {
		t.Fatalf("%v %+v", err, rc)
	}
	if w.term.Status().Card.Stock {
		t.Error("the screen shows a sold card as stock")
	}
	w.host.refuse = ""
	w.offline()
	if rc, err := w.topUp(n, 50_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v %v", err, rc.Result)
	}
	if got := value(t, card); got != 50_00 {
		t.Fatalf("the card holds %s", got)
	}
}

// TestFirstLoadFallsBack: a utility that does not take the sale cannot load
// the card; the load SAM does, and only the load's cash counts for the load.
func TestFirstLoadFallsBack(t *testing.T) {
	w := newWorld(t)
	l := wire.DefaultLimits()
	l.CardDeposit = 20_00
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	w.shift()
	if err := w.term.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	n := mustCard(t, "5001")
	w.slot.Insert(newCard(t, n))
	w.host.fail = errors.New("no route")
	rc, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 100_00})
	if err != nil || rc.Child == nil || rc.Child.Result != journal.Done || rc.Child.Load.Authority != journal.AuthoritySAM || rc.Child.Load.Tendered != 80_00 {
		t.Fatalf("%v %+v", err, rc.Child)
	}
}

// TestPIN: a profile that wants a PIN for loads gets it before anything is
// written.
func TestPIN(t *testing.T) {
	w := newWorld(t)
	set := *profiles.Builtin()
	set.Cards = append([]profiles.Card(nil), set.Cards...)
	for i := range set.Cards {
		set.Cards[i].PINForLoad = true
	}
	w.more = func(c *Config) { c.Profiles = &set }
	w.restart()
	w.shift()
	n, stock := mustCard(t, "1001"), mustCard(t, "5001")
	card := simcard.New(simcard.Options{PINForLoad: true})
	if err := simcard.Personalise(card, simcard.TestCard(n)); err != nil {
		t.Fatal(err)
	}
	w.slot.Insert(card)
	try := func(pin string) (Receipt, error) {
		return w.term.TopUp(w.ctx, TopUpRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 50_00, PIN: pin})
	}
	_, err := try("")
	wantRefusal(t, err, CodePINNeeded)
	_, err = try("54321")
	wantRefusal(t, err, CodePINWrong)
	var r *Refusal
	if errors.As(err, &r); r.Left != 2 {
		t.Errorf("%d tries left, want 2", r.Left)
	}
	if w.wrote(journal.TypeLoadIntent) != 0 {
		t.Error("an intent was written before the PIN was right")
	}
	if rc, err := try("12345"); err != nil || rc.Result != journal.Done {
		t.Fatalf("%v %v", err, rc.Result)
	}
	for range 3 {
		_, err = try("54321")
	}
	wantRefusal(t, err, CodePINBlocked)
	_, err = try("12345")
	wantRefusal(t, err, CodePINBlocked)

	w.slot.Insert(newCard(t, stock))
	_, err = w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: stock, Amount: 50_00, Tendered: 50_00})
	wantRefusal(t, err, CodePINNeeded)
	if w.wrote(journal.TypeCardSale) != 0 {
		t.Error("a sale was left half done for a PIN that nobody asked for")
	}
}

// TestMACThatThePSAMDoubts: the card may be forged. What it says of itself
// settles nothing, then or later; its proof goes to the utility.
func TestMACThatThePSAMDoubts(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	forged := at(card, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		b, err := next(cmd)
		if len(b) == 10 {
			b[4] ^= 1 // the first byte of MAC2
		}
		return b, err
	})
	w.slot.Insert(forged)
	rc, err := w.redeem(n, 20_00)
	if err != nil || rc.Result != journal.Unknown || rc.Reason != journal.ReasonBadMAC || rc.PurchaseOutcome.MAC2Said != journal.MAC2Bad || !rc.PurchaseOutcome.HasTAC {
		t.Fatalf("%v %+v", err, rc.PurchaseOutcome)
	}
	w.restart()
	w.section(wire.Section{Kind: wire.SectionItems, Items: []wire.Item{{Name: rc.Name, Card: n, TxType: rc.Purchase.TxType, Counter: rc.Purchase.Counter, Amount: 20_00}}})
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.Unknown {
		t.Fatalf("the card's own word made it %v", got.Result)
	}
	if w.wrote(journal.TypeObservation) != 1 {
		t.Error("the card's proof was not kept for the utility")
	}
}

// TestObserve asks a card for the proof of what another terminal left open,
// once per insertion.
func TestObserve(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	rc, err := w.redeem(n, 20_00)
	if err != nil {
		t.Fatal(err)
	}
	other := money.TerminalID{0x31, 1, 0, 0, 0x12, 0x35}
	item := wire.Item{Name: rc.Name.Ref().Of(other), Card: n, TxType: rc.Purchase.TxType, Counter: rc.Purchase.Counter, Amount: 20_00}
	elsewhere, mine := item, item
	elsewhere.Card, elsewhere.Name.Seq = mustCard(t, "1002"), 900
	mine.Name = rc.Name // settled here: its outcome is on its way
	w.section(wire.Section{Kind: wire.SectionItems, Items: []wire.Item{elsewhere, mine, item}})
	for i := range 3 {
		w.slot.Insert(card)
		w.term.openCard(w.ctx)
		if i == 1 { // asked once for each insertion
			if err := w.term.observe(w.ctx, w.term.session.app); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.wrote(journal.TypeObservation); got != i+1 {
			t.Fatalf("%d observations after %d insertions", got, i+1)
		}
	}
	for _, e := range w.entries() {
		if o, ok := e.Body.(*journal.Observation); ok {
			if o.Item != item.Name || !o.HasTAC || o.TAC != rc.PurchaseOutcome.TAC || o.Balance != 80_00 || e.Actor != journal.System {
				t.Errorf("%+v by %v", o, e.Actor)
			}
		}
	}
}

// TestWhoDidIt: the wish is the person's, what the machine did is the
// machine's.
func TestWhoDidIt(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 50_00)
	if _, err := w.redeem(n, 10_00); err != nil {
		t.Fatal(err)
	}
	lost := at(card, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		next(cmd)
		return nil, virtual.ErrGone
	})
	w.slot.Insert(lost)
	if rc, err := w.redeem(n, 10_00); err != nil || rc.Result != journal.Unknown {
		t.Fatal(err)
	}
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if w.wrote(journal.TypePurchaseOutcome) != 3 {
		t.Error("the card's return settled nothing")
	}
	want := map[journal.Type]journal.Actor{
		journal.TypeLoadIntent: clerk, journal.TypeLoadAuthorised: journal.System, journal.TypeLoadOutcome: journal.System,
		journal.TypePurchaseIntent: customer, journal.TypePurchaseOutcome: journal.System,
	}
	for _, e := range w.entries() {
		if a, ok := want[e.Body.Type()]; ok && e.Actor != a {
			t.Errorf("%T is booked on %v, want %v", e.Body, e.Actor, a)
		}
	}
}

// TestCallerGoesAway: from the intent on a transaction is the terminal's.
func TestCallerGoesAway(t *testing.T) {
	n, stock := mustCard(t, "1001"), mustCard(t, "5001")
	for _, c := range []struct {
		name string
		do   func(w *world, ctx context.Context) (Receipt, error)
	}{
		{"top-up", func(w *world, ctx context.Context) (Receipt, error) {
			return w.term.TopUp(ctx, TopUpRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 50_00})
		}},
		{"redemption", func(w *world, ctx context.Context) (Receipt, error) {
			return w.term.Redeem(ctx, RedeemRequest{Token: token(), Who: customer, Card: n, Account: account, Amount: 20_00})
		}},
		{"void", func(w *world, ctx context.Context) (Receipt, error) {
			r, _ := w.term.Transactions(1, journal.Ref{})
			return w.term.Void(ctx, VoidRequest{Token: token(), Who: clerk, TopUp: r[0].Name})
		}},
		{"first load", func(w *world, ctx context.Context) (Receipt, error) {
			w.slot.Insert(at(newCard(w, stock), 0x50, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				b, err := next(cmd)
				w.left() // between the sale and its first load
				return b, err
			}))
			return w.term.Sell(ctx, SellRequest{Token: token(), Who: clerk, Card: stock, Amount: 50_00, Tendered: 50_00})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			card := w.loaded(n, 50_00)
			ctx, leave := context.WithCancel(w.ctx)
			w.left = leave
			w.host.onAsk = func(ask context.Context) error {
				if d, ok := ask.Deadline(); !ok || time.Until(d) > 8*time.Second {
					t.Errorf("the utility was given until %v", d)
				}
				leave()
				return ask.Err()
			}
			w.slot.Insert(at(card, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				leave()
				return next(cmd)
			}))
			rc, err := c.do(w, ctx)
			if err != nil || rc.Result != journal.Done || ((rc.Kind == journal.KindVoid || rc.Kind == journal.KindSale) && (rc.Child == nil || rc.Child.Result != journal.Done)) {
				t.Fatalf("%v %+v", err, rc)
			}
			if ctx.Err() == nil {
				t.Fatal("the caller never left")
			}
		})
	}
}

// TestLostAnswerIsAskedForAgain under the same name.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.slot.Insert(newCard(t, n))
	w.host.onAsk = func(context.Context) error {
		if w.host.asked == 1 {
			return errors.New("the answer was lost")
		}
		return nil
	}
	if rc, err := w.topUp(n, 50_00); err != nil || rc.Result != journal.Done || w.host.asked != 2 {
		t.Fatalf("%v %v, asked %d times", err, rc.Result, w.host.asked)
	}
}

// TestFileFails closes the file at each step, which stops the terminal, and
// starts again: no value moves that is not on disk, and the start classifies
// what was left.
func TestFileFails(t *testing.T) {
	n := mustCard(t, "1001")
	whole := func(w *world, ins byte, after bool) {
		w.slot.Insert(at(w.card, ins, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if !after {
				w.st.Close()
			}
			b, err := next(cmd)
			w.st.Close()
			return b, err
		}))
	}
	for _, c := range []struct {
		name      string
		when      func(w *world)
		do        func(w *world) error
		uncertain bool
		started   journal.Result // as the start classifies it
		evidence  journal.Evidence
		final     journal.Result // after the card was seen
		holds     money.Fen
	}{
		{"load, before MAC2 is written", func(w *world) {
			w.host.onAsk = func(context.Context) error { w.st.Close(); return nil }
		}, func(w *world) error { _, err := w.topUp(n, 30_00); return err }, false, journal.NotDone, journal.EvidenceNotSent, journal.NotDone, 100_00},
		{"load, before the outcome is written", func(w *world) { whole(w, 0x52, true) },
			func(w *world) error { _, err := w.topUp(n, 30_00); return err }, true, journal.Unknown, journal.EvidenceNone, journal.Done, 130_00},
		{"debit, before the outcome is written", func(w *world) { whole(w, 0x54, true) },
			func(w *world) error { _, err := w.redeem(n, 30_00); return err }, true, journal.Unknown, journal.EvidenceNone, journal.Done, 70_00},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.card = w.loaded(n, 100_00)
			c.when(w)
			err := c.do(w)
			var u *UncertainError
			if errors.As(err, &u) != c.uncertain {
				t.Fatalf("the caller was told %v", err)
			}
			wantRefusal(t, err, CodeStopped)
			if !w.term.Status().Stopped {
				t.Error("Status does not say that the terminal stopped")
			}
			_, err = w.topUp(n, 30_00)
			wantRefusal(t, err, CodeStopped)

			w.host.onAsk = nil
			w.term.closeAll()
			w.open()
			r, err := w.term.Transactions(1, journal.Ref{})
			if err != nil || r[0].Result != c.started || r[0].Evidence != c.evidence {
				t.Fatalf("%v: the start made it %v by %v", err, r[0].Result, r[0].Evidence)
			}
			w.slot.Insert(w.card)
			w.term.openCard(w.ctx)
			r, err = w.term.Transactions(1, journal.Ref{})
			if err != nil || r[0].Result != c.final || w.term.Status().Card.Balance != c.holds {
				t.Fatalf("%v: the card made it %v and holds %s", err, r[0].Result, w.term.Status().Card.Balance)
			}
			if c.final == journal.Done && r[0].Reason != journal.ReasonNone {
				t.Errorf("done, because of %v", r[0].Reason)
			}
			for _, e := range w.entries() {
				if e.Body.Type() == journal.TypeLoadOutcome && e.Actor != journal.System {
					t.Errorf("recovery is booked on %v", e.Actor)
				}
			}
			w.restart() // what has an outcome is not classified again
			if got := w.wrote(journal.TypeLoadOutcome) + w.wrote(journal.TypePurchaseOutcome); got > 3 {
				t.Errorf("%d outcomes", got)
			}
		})
	}
}

// TestFileFailsElsewhere: while the load SAM gives, and while a void is asked
// for, which nobody agreed to then.
func TestFileFailsElsewhere(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	top, err := w.term.Transactions(1, journal.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	w.host.onAsk = func(context.Context) error { w.st.Close(); return nil }
	_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name})
	wantRefusal(t, err, CodeStopped)
	w.term.closeAll()
	w.open()
	if r, err := w.term.Transactions(1, journal.Ref{}); err != nil || r[0].Kind != journal.KindVoid || r[0].Result != journal.NotDone || r[0].VoidAnswer.Agreed {
		t.Fatalf("%v %+v", err, r[0])
	}
	w.host.onAsk = nil
	w.offline()
	w.sam.Insert(at(w.samc, 0x70, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		w.st.Close()
		return next(cmd)
	}))
	w.term.reopenSAMs(w.ctx)
	w.slot.Insert(card)
	_, err = w.topUp(n, 20_00)
	wantRefusal(t, err, CodeStopped)
	w.term.closeAll()
	w.sam.Insert(w.samc)
	w.open()
	if r, err := w.term.Transactions(1, journal.Ref{}); err != nil || r[0].Result != journal.NotDone || !r[0].LoadOutcome.SAMGave || r[0].LoadOutcome.SAMCount != 1 {
		t.Fatalf("%v %+v", err, r[0].LoadOutcome)
	}
}

// TestCardWithoutProof is settled by its log, or not at all.
func TestCardWithoutProof(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := simcard.New(simcard.Options{NoProof: true})
	if err := simcard.Personalise(card, simcard.TestCard(n)); err != nil {
		t.Fatal(err)
	}
	w.fill(card, n, 100_00)
	w.offline()
	w.now = w.now.Add(time.Hour)
	lose := func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		next(cmd)
		return nil, virtual.ErrGone
	}
	w.slot.Insert(at(card, 0x52, lose))
	rc, err := w.topUp(n, 20_00)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%v %v", err, rc.Result)
	}
	w.now = w.now.Add(time.Hour)
	// First it tells a balance that fits nothing, and keeps its log to itself.
	outcomes := w.wrote(journal.TypeLoadOutcome)
	w.section(wire.Section{Kind: wire.SectionItems, Items: []wire.Item{{Name: rc.Name, Card: n, TxType: rc.Load.TxType, Counter: rc.Load.Counter, Amount: 20_00}}})
	w.slot.Insert(&meddler{card, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		b, err := next(cmd)
		switch {
		case cmd[1] == 0x50 && len(b) > 4:
			b[3] ^= 1
		case cmd[1] == 0xB2:
			return []byte{0x6A, 0x83}, nil
		}
		return b, err
	}})
	w.term.openCard(w.ctx)
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.Unknown || w.wrote(journal.TypeLoadOutcome) != outcomes {
		t.Fatalf("%v, %d outcomes more", got.Result, w.wrote(journal.TypeLoadOutcome)-outcomes)
	}
	if w.wrote(journal.TypeObservation) != 0 {
		t.Error("a card without a proof was reported as if it had told something new")
	}
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.Done || got.Evidence != journal.EvidenceLog || got.LoadOutcome.SAMGave {
		t.Fatalf("%+v", got.LoadOutcome)
	}
	// The second never reached the card: what the SAM gave is lost.
	w.slot.Insert(at(card, 0x52, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return nil, virtual.ErrGone }))
	rc, err = w.topUp(n, 20_00)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%v %v", err, rc.Result)
	}
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.NotDone || !got.LoadOutcome.SAMGave {
		t.Fatalf("%+v", got.LoadOutcome)
	}
}

// TestValueWaitsForTheFile: MAC2 is on disk when CREDIT goes out, the intent
// when DEBIT does.
func TestValueWaitsForTheFile(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	check := func(what string, ok func(journal.Transaction) bool) func([]byte, func([]byte) ([]byte, error)) ([]byte, error) {
		return func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			open, err := w.st.OpenTransactions()
			if err != nil || len(open) != 1 || !ok(open[0]) {
				t.Errorf("%s went out before the file knew: %+v %v", what, open, err)
			}
			if !w.term.Status().Busy {
				t.Errorf("%s went out and Status does not say busy", what)
			}
			return next(cmd)
		}
	}
	w.slot.Insert(at(at(card, 0x52, check("CREDIT", func(tx journal.Transaction) bool { return tx.Authorised != nil })),
		0x54, check("DEBIT", func(tx journal.Transaction) bool { return tx.Purchase != nil })))
	if _, err := w.topUp(n, 30_00); err != nil {
		t.Fatal(err)
	}
	if _, err := w.redeem(n, 30_00); err != nil {
		t.Fatal(err)
	}
	if w.term.Status().Busy {
		t.Error("busy for ever")
	}
}

// TestFailure sorts what an executing command may answer.
func TestFailure(t *testing.T) {
	executed := func(kind error, yes bool) error {
		return &reader.Error{Slot: "x", Op: "transmit", Kind: kind, Executed: yes}
	}
	for _, c := range []struct {
		err    error
		result journal.Result
		why    journal.Reason
		by     journal.Evidence
		word   uint16
	}{
		{executed(reader.ErrRemoved, true), journal.Unknown, journal.ReasonCardRemoved, journal.EvidenceNone, 0},
		{executed(reader.ErrRemoved, false), journal.NotDone, journal.ReasonCardRemoved, journal.EvidenceNotSent, 0},
		{executed(reader.ErrReset, false), journal.NotDone, journal.ReasonCardRemoved, journal.EvidenceNotSent, 0},
		{executed(reader.ErrDeadline, true), journal.Unknown, journal.ReasonCardMute, journal.EvidenceNone, 0},
		{errors.New("who knows"), journal.Unknown, journal.ReasonCardMute, journal.EvidenceNone, 0},
		{&purse.ExecuteError{SW: 0x6581, Cause: apdu.SWMemoryFailure, Executed: true}, journal.Unknown, journal.ReasonCardMemory, journal.EvidenceNone, 0x6581},
		{&purse.ExecuteError{SW: 0x9302, Cause: apdu.SWMACInvalid}, journal.NotDone, journal.ReasonBadMAC, journal.EvidenceRefusal, 0x9302},
		{&purse.ExecuteError{SW: 0x6985, Cause: apdu.SW(0x6985)}, journal.NotDone, journal.ReasonCardRefused, journal.EvidenceRefusal, 0x6985},
	} {
		if r, why, by, word := failure(c.err); r != c.result || why != c.why || by != c.by || word != c.word {
			t.Errorf("%v: %v %v %v %04X", c.err, r, why, by, word)
		}
	}
}

// TestCardRefusesTheLoad: a refusal is certain, and the balance was read.
func TestCardRefusesTheLoad(t *testing.T) {
	for _, off := range []bool{false, true} {
		w := newWorld(t)
		w.shift()
		n := mustCard(t, "1001")
		card := w.loaded(n, 100_00)
		if off {
			w.offline()
		}
		w.slot.Insert(at(card, 0x52, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return []byte{0x93, 0x02}, nil }))
		rc, err := w.topUp(n, 50_00)
		if err != nil || rc.Result != journal.NotDone || rc.Evidence != journal.EvidenceRefusal || rc.After != 100_00 || rc.LoadOutcome.SAMGave != off {
			t.Fatalf("off line %v: %v %+v", off, err, rc.LoadOutcome)
		}
		if off && rc.LoadOutcome.SAMCount != 1 {
			t.Errorf("SAM count %d", rc.LoadOutcome.SAMCount)
		}
	}
}

// TestCardRefusesTheDebit likewise.
func TestCardRefusesTheDebit(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.slot.Insert(at(w.loaded(n, 100_00), 0x54, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return []byte{0x93, 0x02}, nil }))
	rc, err := w.redeem(n, 50_00)
	if err != nil || rc.Result != journal.NotDone || rc.Evidence != journal.EvidenceRefusal || rc.After != 100_00 {
		t.Fatalf("%v %+v", err, rc.PurchaseOutcome)
	}
}

// TestCardThatStays: a session without a certain answer is dead, and the card
// in the slot is read again and settled at once.
func TestCardThatStays(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	w.slot = virtual.New("sim:card")
	w.slot.Deadline = 20 * time.Millisecond
	w.restart()
	w.slot.Insert(at(card, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		next(cmd)
		return nil, virtual.ErrNoAnswer
	}))
	rc, err := w.redeem(n, 20_00)
	if err != nil || rc.Result != journal.Done || !rc.WasUnknown || rc.Evidence != journal.EvidenceProof {
		t.Fatalf("%v %+v", err, rc.Transaction)
	}
	if v := w.term.Status().Card; v.Balance != 80_00 || len(v.Settled) != 1 || v.Settled[0] != rc.Name {
		t.Errorf("%+v", v)
	}
}

// TestCardLeavesBeforeDebit: nothing was sent, the reader shows what is in it
// now, and no cash is owed for what took none.
func TestCardLeavesBeforeDebit(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n, other := mustCard(t, "1001"), mustCard(t, "1002")
	w.loaded(n, 100_00)
	w.sam.Insert(at(w.samc, 0x70, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		w.slot.Swap(newCard(w, other))
		return next(cmd)
	}))
	w.term.reopenSAMs(w.ctx)
	rc, err := w.redeem(n, 20_00)
	if err != nil || rc.Result != journal.NotDone || rc.Evidence != journal.EvidenceNotSent {
		t.Fatalf("%v %+v", err, rc.Transaction)
	}
	if v := w.term.Status().Card; v.Number != other {
		t.Errorf("the screen shows %+v", v)
	}
	_, err = w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name})
	wantRefusal(t, err, CodeCashNotOwed)
}

// TestCardContradictsItself: two commands tell two balances. Nothing begins.
func TestCardContradictsItself(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	w.slot.Insert(at(card, 0x5C, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		b, err := next(cmd)
		if len(b) == 6 {
			b[3] ^= 1
		}
		return b, err
	}))
	before := w.wrote(journal.TypeLoadIntent)
	_, err := w.topUp(n, 20_00)
	wantRefusal(t, err, CodeUnreadable)
	if w.wrote(journal.TypeLoadIntent) != before {
		t.Error("an intent was written")
	}
}

// TestLoadSAMHearsTheTAC of each load that it gave.
func TestLoadSAMHearsTheTAC(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	w.offline()
	heard := 0
	w.sam.Insert(at(w.samc, 0x72, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		heard++
		b, err := next(cmd)
		if len(b) != 2 || b[0] != 0x90 {
			t.Errorf("the SAM answered %X %v", b, err)
		}
		return b, err
	}))
	w.term.reopenSAMs(w.ctx)
	if rc, err := w.topUp(n, 20_00); err != nil || rc.Result != journal.Done || heard != 1 {
		t.Fatalf("%v %v, heard %d", err, rc.Result, heard)
	}
}

// TestCardFailed says in the customer's words what a card refused before
// anything began.
func TestCardFailed(t *testing.T) {
	w := newWorld(t)
	n := mustCard(t, "1001")
	w.slot.Insert(newCard(t, n))
	w.term.openCard(w.ctx)
	for _, c := range []struct {
		err  error
		want Code
		live bool // the session goes on
	}{
		{&purse.TriesError{Left: 2}, CodePINWrong, true},
		{&purse.TriesError{}, CodePINBlocked, true},
		{fmt.Errorf("x: %w", apdu.SWMethodBlocked), CodePINBlocked, true},
		{fmt.Errorf("x: %w", apdu.SWBalanceLow), CodeBalanceLow, true},
		{fmt.Errorf("x: %w", apdu.SWSecurityNotSatisfied), CodePINNeeded, true},
		{purse.ErrBlocked, CodeCardBlocked, true},
		{fmt.Errorf("x: %w", apdu.SW(0x6985)), CodeUnreadable, true},
		{errors.New("silence"), CodeUnreadable, false},
	} {
		before := w.term.session
		wantRefusal(t, w.term.cardFailed(w.ctx, c.err), c.want)
		if (w.term.session == before) != c.live {
			t.Errorf("%v: session kept %v", c.err, !c.live)
		}
	}
	w.slot.Remove()
	wantRefusal(t, w.term.cardFailed(w.ctx, errors.New("silence")), CodeNoCard)
}

// TestSAMMayHaveGiven: what the load SAM cannot deny, it may have done.
func TestSAMMayHaveGiven(t *testing.T) {
	w := newWorld(t)
	w.shift()
	other := money.SAMID{9}
	for _, c := range []struct {
		name string
		in   journal.LoadIntent
		sams func(*sams)
		want bool
	}{
		{"the host was asked", journal.LoadIntent{Authority: journal.AuthorityHost, SAMCount: 9}, nil, false},
		{"count unmoved", journal.LoadIntent{Authority: journal.AuthoritySAM, SAM: testPSAM}, nil, false},
		{"count moved", journal.LoadIntent{Authority: journal.AuthoritySAM, SAM: testPSAM, SAMCount: 9}, nil, true},
		{"another SAM", journal.LoadIntent{Authority: journal.AuthoritySAM, SAM: other}, nil, true},
		{"no SAM", journal.LoadIntent{Authority: journal.AuthoritySAM, SAM: testPSAM}, func(s *sams) { s.load = nil }, true},
		{"count not read", journal.LoadIntent{Authority: journal.AuthoritySAM, SAM: testPSAM}, func(s *sams) { s.known = false }, true},
	} {
		kept := w.term.sams
		if c.sams != nil {
			c.sams(&w.term.sams)
		}
		if got := w.term.samMayHaveGiven(&c.in); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		w.term.sams = kept
	}
}

// TestSAMFails at its own command, before or after it acted, and serves the
// next customer.
func TestSAMFails(t *testing.T) {
	n := mustCard(t, "1001")
	for _, acted := range []bool{false, true} {
		w := newWorld(t)
		w.shift()
		w.loaded(n, 100_00)
		w.offline()
		once := true
		silent := func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if !once {
				return next(cmd)
			}
			once = false
			if acted {
				next(cmd)
			}
			return nil, virtual.ErrNoAnswer
		}
		w.sam.Deadline = 10 * time.Millisecond
		w.sam.Insert(at(w.samc, 0x70, silent))
		w.term.samEvent(w.ctx, reader.Event{Slot: w.sam.Name(), State: reader.StateCard, Count: 99})
		rc, err := w.topUp(n, 20_00)
		if err != nil || rc.Result != journal.NotDone || rc.Reason != journal.ReasonSAMRefused || !rc.LoadOutcome.SAMGave {
			t.Fatalf("acted %v: %v %+v", acted, err, rc.LoadOutcome)
		}
		if got := rc.LoadOutcome.SAMCount; (got == 1) != acted {
			t.Errorf("acted %v: the outcome says count %d", acted, got)
		}
		if rc, err := w.topUp(n, 20_00); err != nil || rc.Result != journal.Done {
			t.Fatalf("the next: %v %v", err, rc.Result)
		}
		once = true
		if _, err := w.redeem(n, 1_00); !errors.Is(err, &Refusal{Code: CodeNoPSAM}) {
			t.Fatalf("debit: %v", err)
		}
		if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.Done {
			t.Fatalf("the next debit: %v %v", err, rc.Result)
		}
	}
	t.Run("after the debit", func(t *testing.T) {
		w := newWorld(t)
		w.shift()
		w.loaded(n, 100_00)
		w.sam.Insert(at(w.samc, 0x72, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return nil, virtual.ErrGone }))
		w.term.reopenSAMs(w.ctx)
		rc, err := w.redeem(n, 1_00)
		if err != nil || rc.Result != journal.Done || rc.PurchaseOutcome.MAC2Said != journal.MAC2Unchecked {
			t.Fatalf("%v %+v", err, rc.PurchaseOutcome)
		}
		if w.term.Status().PSAM.Present {
			t.Error("the screen shows a PSAM that left")
		}
	})
}

// TestWrongSAMs: a SAM that is not ours is shown and not used.
func TestWrongSAMs(t *testing.T) {
	for _, c := range []struct {
		name       string
		more       func(*Config)
		recipe     func(*simcard.SAMRecipe)
		psam, load Code
	}{
		{"ours", nil, nil, "", ""},
		{"another PSAM", func(c *Config) { c.SAMs.PSAM = money.SAMID{8} }, nil, CodeSAMSwapped, ""},
		{"another load SAM", func(c *Config) { c.SAMs.LoadSAM = money.SAMID{8} }, nil, "", CodeSAMSwapped},
		{"of another terminal", nil, func(r *simcard.SAMRecipe) { r.Terminal[5]++ }, CodeSAMSwapped, CodeSAMSwapped},
		{"with test keys", func(c *Config) { c.TestKeys = false }, nil, CodeTestCard, CodeTestCard},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.recipe != nil {
				r := simcard.TestSAM(testPSAM, testTerminal)
				c.recipe(&r)
				s := simcard.New(simcard.Options{})
				if err := simcard.Personalise(s, r); err != nil {
					t.Fatal(err)
				}
				w.sam.Insert(s)
			}
			w.more = c.more
			w.restart()
			if s := w.term.Status(); s.PSAM.Problem != c.psam || s.LoadSAM.Problem != c.load || !s.PSAM.Present || !s.LoadSAM.Present {
				t.Errorf("%+v %+v", s.PSAM, s.LoadSAM)
			}
			if err := w.term.needPSAM(w.ctx); (err == nil) != (c.psam == "") {
				t.Errorf("PSAM: %v", err)
			}
			err := w.term.checkAllowance(w.ctx, 1)
			if c.load == "" {
				c.load = CodeAllowance // ours, which has none yet
			}
			wantRefusal(t, err, c.load)
		})
	}
	w := newWorld(t)
	if w.term.otherKeys() != CodeRealCard {
		t.Error("real keys at a terminal with test keys")
	}
}

// TestSAMsOfTheirOwnReaders: each serves without the other, and one that
// failed once is opened again.
func TestSAMsOfTheirOwnReaders(t *testing.T) {
	w := newWorld(t)
	second := virtual.New("sim:load")
	w.more = func(c *Config) { c.LoadSAM = second }
	w.restart()
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	if s := w.term.Status(); !s.PSAM.Present || s.LoadSAM.Problem != CodeNoLoadSAM {
		t.Fatalf("%+v %+v", s.PSAM, s.LoadSAM)
	}
	if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.Done {
		t.Fatal(err)
	}
	second.Insert(newSAM(t))
	_ = w.term.checkAllowance(w.ctx, 1) // looks again
	if s := w.term.Status(); !s.PSAM.Present || !s.LoadSAM.Present {
		t.Fatalf("%+v %+v", s.PSAM, s.LoadSAM)
	}
	w.offline()
	w.sam.Remove()
	w.term.samEvent(w.ctx, reader.Event{Slot: w.sam.Name(), State: reader.StateEmpty})
	if s := w.term.Status(); s.PSAM.Present || !s.LoadSAM.Present {
		t.Fatalf("%+v %+v", s.PSAM, s.LoadSAM)
	}
	if rc, err := w.topUp(n, 20_00); err != nil || rc.Result != journal.Done {
		t.Fatalf("the load SAM needs no PSAM: %v", err)
	}
}

// TestMaintain: one report for each move of the counters, one question a
// while, and only when the allowance runs low.
func TestMaintain(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	maintain := func(asked, reports int) {
		t.Helper()
		if err := w.term.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		if got := w.wrote(journal.TypeSAMReport); w.host.issued != asked || got != reports {
			t.Fatalf("asked %d times, %d reports; want %d, %d", w.host.issued, got, asked, reports)
		}
	}
	later := func() { w.term.sams.asked = w.term.sams.asked.Add(-MaintainEvery) }
	w.host.online = false
	maintain(0, 1)
	w.host.online = true
	w.host.allow = wire.CodeNoRoom
	maintain(1, 1)
	w.term.reopenSAMs(w.ctx) // which is no news
	maintain(1, 1)           // too soon
	later()
	w.host.allow = ""
	flushed := w.host.flushed
	maintain(2, 1)
	if w.host.flushed == flushed {
		t.Error("the utility was asked before it had what the allowance counts against")
	}
	if a := w.term.Status().Allowance; !a.Known || a.Amount != 500_00 {
		t.Errorf("%+v", a)
	}
	later()
	maintain(3, 1) // 500 is less than half of 2000
	l := wire.DefaultLimits()
	l.UnsentMax = 900_00
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	later()
	maintain(3, 1) // enough
	w.loaded(n, 50_00)
	w.host.online = false
	if _, err := w.topUp(n, 20_00); err != nil {
		t.Fatal(err)
	}
	maintain(3, 2)
	maintain(3, 2)
	w.host.online = true
	later()
	w.term.sams.state.CeilingCount = w.term.sams.state.Count + 1
	if !w.term.wantsAllowance() {
		t.Error("one load is left and no more is asked for")
	}
	l.OfflineTopUpMax = 0
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	if w.term.wantsAllowance() {
		t.Error("nothing may be loaded off line here")
	}
}

// TestWarnings each have their cause.
func TestWarnings(t *testing.T) {
	w := newWorld(t)
	l := wire.DefaultLimits()
	now := w.term.now()
	calm := Status{Limits: l, HotlistAt: now}
	for _, c := range []struct {
		name string
		set  func(*Status)
		want Code
	}{
		{"nothing", func(*Status) {}, ""},
		{"queue", func(s *Status) { s.Unsent.Count, s.Unsent.Oldest = 500, now.UnixMilli() }, WarnUnsentCount},
		{"old queue", func(s *Status) { s.Unsent.Count, s.Unsent.Oldest = 1, now.Add(-25*time.Hour).UnixMilli() }, WarnUnsentAge},
		{"old hotlist", func(s *Status) { s.HotlistAt = now.Add(-25 * time.Hour) }, WarnHotlistOld},
		{"no hotlist", func(s *Status) { s.HotlistAt = time.Time{} }, WarnHotlistOld},
		{"unknown", func(s *Status) { s.Open = 1 }, WarnOpen},
		{"second copy", func(s *Status) { s.CopyBroken = true }, WarnCopy},
		{"allowance low", func(s *Status) { s.Allowance = AllowanceView{true, 9_99, 5} }, WarnAllowance},
		{"allowance used", func(s *Status) { s.Allowance = AllowanceView{true, 99_00, 0} }, WarnAllowance},
	} {
		s := calm
		c.set(&s)
		got := w.term.warnings(s)
		if (c.want == "" && len(got) != 0) || (c.want != "" && (len(got) != 1 || got[0] != c.want)) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	w.now = w.now.Add(-6 * time.Minute)
	calm.HotlistAt = w.now
	if got := w.term.warnings(calm); len(got) != 1 || got[0] != WarnClock {
		t.Errorf("clock set back: %v", got)
	}
}

// TestVoidNotAgreed leaves the card as it was.
func TestVoidNotAgreed(t *testing.T) {
	n := mustCard(t, "1001")
	for name, set := range map[string]func(*testHost){
		"refused": func(h *testHost) { h.refuse = wire.CodeNoRoom },
		"silent":  func(h *testHost) { h.fail = errors.New("no route") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.loaded(n, 50_00)
			top, err := w.term.Transactions(1, journal.Ref{})
			if err != nil {
				t.Fatal(err)
			}
			set(w.host)
			rc, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name})
			if err != nil || rc.Result != journal.NotDone || rc.Child != nil || w.term.Status().Card.Balance != 50_00 {
				t.Fatalf("%v %+v", err, rc)
			}
			w.host.refuse, w.host.fail = "", nil
			flushed := w.host.flushed
			defer func() {
				if w.wrote(journal.TypeVoidRequest) != 2 || w.host.flushed == flushed {
					t.Error("the card was debited without a new agreement, or before the utility had the top-up")
				}
			}()
			if rc, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name}); err != nil || rc.Child == nil {
				t.Fatalf("again: %v", err)
			}
		})
	}
}

// TestVoidGoesOn: the card left after the utility had agreed, which it does
// once; the next try needs no second agreement.
func TestVoidGoesOn(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 50_00)
	top, err := w.term.Transactions(1, journal.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	w.host.onAsk = func(context.Context) error { w.slot.Remove(); return nil }
	_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name})
	wantRefusal(t, err, CodeNoCard)
	w.host.onAsk, w.host.refuse = nil, wire.CodeTwice
	w.restart()
	w.slot.Insert(card)
	second := VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name}
	rc, err := w.term.Void(w.ctx, second)
	if err != nil || rc.Child == nil || rc.Child.Result != journal.Done || w.wrote(journal.TypeVoidRequest) != 1 {
		t.Fatalf("%v %+v", err, rc)
	}
	again, err := w.term.Void(w.ctx, second) // a double click
	if err != nil || again.Name != rc.Name || again.Child == nil || again.Child.Name != rc.Child.Name {
		t.Fatalf("the same wish again: %v %+v", err, again)
	}
	if got := value(t, card); got != 0 {
		t.Errorf("the card holds %s", got)
	}
	w.slot.Insert(card)
	_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name})
	wantRefusal(t, err, CodeVoided)
}

// TestEverybodyAtOnce: transactions, events of the slots, the care for the
// load SAM and screens meet; afterwards nothing is unknown and the card holds
// what the record says.
func TestEverybodyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 500_00)
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.term.Run(ctx) })
	wg.Go(func() {
		for range w.term.Changes(ctx) {
			w.term.Status()
		}
	})
	tried := make(chan struct{}, 1)
	wg.Go(func() { // a restless hand
		for i := 0; ; i++ {
			if _, ok := <-tried; !ok {
				return
			}
			switch i % 4 {
			case 0:
				w.slot.Remove()
				w.slot.Insert(card)
			case 1:
				w.term.LinkUp()
			case 2:
				w.slot.Swap(card)
			case 3:
				w.sam.Insert(w.samc)
			}
		}
	})
	var redeem sync.WaitGroup
	for range 2 {
		redeem.Go(func() {
			for range 15 {
				if _, err := w.redeem(n, 1_00); err != nil && !errors.As(err, new(*Refusal)) {
					t.Error(err)
				}
				select {
				case tried <- struct{}{}:
				default:
				}
			}
		})
	}
	redeem.Wait()
	close(tried)
	cancel()
	wg.Wait()
	w.sam.Insert(w.samc)
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	r, err := w.term.Transactions(100, journal.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	var want money.Fen
	for _, rc := range r {
		switch {
		case rc.Open():
			t.Errorf("%v is unknown", rc.Name)
		case rc.Result == journal.Done && rc.Kind == journal.KindRedemption:
			want -= rc.Amount
		case rc.Result == journal.Done:
			want += rc.Amount
		}
	}
	if got := w.term.Status().Card.Balance; got != want {
		t.Errorf("the card holds %s, the record says %s", got, want)
	}
	t.Log(len(r)-1, "redemptions began;", want, "left")
}

// TestSlotStates: each state of the slot has its view, and a card that could
// not be read leaves the slot free.
func TestSlotStates(t *testing.T) {
	w := newWorld(t)
	n := mustCard(t, "1001")
	view := func(name string, want CardState, problem Code) {
		t.Helper()
		if v := w.term.Status().Card; v.State != want || v.Problem != problem {
			t.Errorf("%s: %+v", name, v)
		}
	}
	event := func(s reader.State) {
		w.term.cardEvent(w.ctx, reader.Event{Slot: w.slot.Name(), State: s, Count: 1000})
	}
	card := newCard(t, n)
	w.slot.Insert(card)
	event(reader.StateCard)
	view("a card", CardReady, "")
	s := w.term.session
	w.term.cardEvent(w.ctx, reader.Event{State: reader.StateCard, Count: s.card.Count()})
	if w.term.session != s {
		t.Error("the event of a card that is open already opened it again")
	}
	for state, want := range map[reader.State]CardView{
		reader.StateEmpty: {State: CardNone}, reader.StateMute: {State: CardUnreadable, Problem: CodeUnreadable}, reader.StateLost: {State: CardNoReader},
	} {
		w.term.openCard(w.ctx)
		event(state)
		view(fmt.Sprint(state), want.State, want.Problem)
		if w.term.session != nil {
			t.Errorf("state %v kept the session", state)
		}
	}
	for word, want := range map[uint16]CardView{
		0x6A82: {State: CardUnreadable, Problem: CodeUnreadable}, 0x6A81: {State: CardRefused, Problem: CodeCardBlocked},
	} {
		w.slot.Insert(&meddler{card, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if cmd[1] == 0xA4 {
				return []byte{byte(word >> 8), byte(word)}, nil
			}
			return next(cmd)
		}})
		w.term.openCard(w.ctx)
		view(fmt.Sprintf("%04X", word), want.State, want.Problem)
		c, err := w.slot.Open(w.ctx)
		if err != nil {
			t.Fatalf("%04X: the card was kept: %v", word, err)
		}
		c.Close()
	}
	w.slot.Lose(nil)
	w.term.openCard(w.ctx)
	view("reader gone", CardNoReader, "")
	w.slot.Restore()
	w.slot.Insert(card)
	w.section(wire.Section{Kind: wire.SectionHotlist, Hotlist: wire.Hotlist{n}})
	w.term.openCard(w.ctx)
	view("on the hotlist", CardRefused, CodeCardBlocked)
}

// TestRealCard is refused where the SAMs hold test keys.
func TestRealCard(t *testing.T) {
	w := newWorld(t)
	if p := w.term.keysProblem(purse.PublicInfo{}); p != CodeRealCard {
		t.Errorf("%q", p)
	}
	if p := w.term.keysProblem(purse.PublicInfo{Issuer: suite.TestIssuer}); p != "" {
		t.Errorf("%q", p)
	}
}

// TestShiftCounts what came in and went out, and what is unsent and unknown.
func TestShiftCounts(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 50_00)
	top, err := w.term.Transactions(1, journal.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if rc, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name}); err != nil || rc.Child == nil {
		t.Fatal(err)
	}
	w.loaded(n, 30_00)
	w.slot.Insert(at(w.loaded(n, 20_00), 0x54, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return nil, virtual.ErrGone }))
	if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%v %v", err, rc.Result)
	}
	unsent := w.st.Unsent().Count
	if _, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0}); err != nil {
		t.Fatal(err)
	}
	e := w.entries()
	b := e[len(e)-1].Body.(*journal.ShiftClose)
	if b.Expected != 150_00 || uint64(b.Unsent) != unsent || b.Unknown != 1 { // 100 + 50 - 50 + 30 + 20
		t.Errorf("%+v, %d unsent", b, unsent)
	}
}

// TestAppendSorts what the file says: no room and a caller who left refuse
// this wish only, all else stops the terminal.
func TestAppendSorts(t *testing.T) {
	w := newWorld(t)
	w.shift()
	gone, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := w.term.append(gone, store.Draft{Actor: journal.System, Body: &journal.Observation{}}); !errors.Is(err, context.Canceled) || w.term.isStopped() {
		t.Fatalf("%v, stopped %v", err, w.term.isStopped())
	}
	w.term.closeAll()
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	full, err := store.Open(filepath.Join(w.dir, "terminal.db"), store.Options{Clock: w.clock, Reserve: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	w.st, w.term.cfg.Store = full, full
	n := mustCard(t, "1001")
	w.slot.Insert(newCard(t, n))
	_, err = w.topUp(n, 50_00)
	wantRefusal(t, err, CodeFull)
	if w.term.isStopped() {
		t.Error("a full disk stopped the terminal, which could not write an outcome then")
	}
}

// TestAccountFallsBack to what is known here when the utility will not say.
func TestAccountFallsBack(t *testing.T) {
	w := newWorld(t)
	w.host.account = wire.CodeRate
	if v, err := w.term.Account(w.ctx, account); err != nil || v.Seen != journal.AccountCached || v.Balance != -12345 {
		t.Errorf("%v %+v", err, v)
	}
	if v, err := w.term.Account(w.ctx, 42); err != nil || v.Seen != journal.AccountTyped {
		t.Errorf("%v %+v", err, v)
	}
}

// TestRunLooksAfterTheSAM when the link is back, keeps SAMs that are open
// already, and puts everything away at its end.
func TestRunLooksAfterTheSAM(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(w.ctx)
	changes := w.term.Changes(ctx)
	done := make(chan error)
	go func() { done <- w.term.Run(ctx) }()
	w.term.LinkUp()
	for w.term.Status().Allowance.Amount != 500_00 {
		if _, ok := <-changes; !ok {
			t.Fatal("no allowance")
		}
	}
	cancel()
	<-done
	for range changes { // ends with its context
	}
	c, err := w.sam.Open(w.ctx)
	if err != nil {
		t.Fatalf("Run kept the SAM: %v", err)
	}
	c.Close()

	w.term.reopenSAMs(w.ctx)
	kept := w.term.sams.psam
	w.term.samEvent(w.ctx, reader.Event{Slot: w.sam.Name(), State: reader.StateCard, Count: w.term.sams.cards[0].Count()})
	if w.term.sams.psam != kept {
		t.Error("SAMs that were open already were opened again")
	}
	w.term.samEvent(w.ctx, reader.Event{Slot: w.sam.Name(), State: reader.StateCard, Count: 99})
	if w.term.sams.psam == kept {
		t.Error("another SAM was taken for the one that was open")
	}
}

// TestTwinSettlesNothing: another card whose counters and balance are the same
// says nothing about the one that is away.
func TestTwinSettlesNothing(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n, twin := mustCard(t, "1001"), mustCard(t, "1002")
	other := w.loaded(twin, 100_00)
	w.slot.Insert(at(w.loaded(n, 100_00), 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		next(cmd)
		return nil, virtual.ErrGone
	}))
	rc, err := w.redeem(n, 20_00)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%v %v", err, rc.Result)
	}
	w.slot.Insert(other)
	w.term.openCard(w.ctx)
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.Unknown || len(w.term.Status().Card.Settled) != 0 {
		t.Fatalf("another card made it %v", got.Result)
	}
}

// TestVoidAgainAfterARefusal of the card: its debit was not done.
func TestVoidAgainAfterARefusal(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 50_00)
	top, err := w.term.Transactions(1, journal.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	void := func() (Receipt, error) {
		return w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, TopUp: top[0].Name})
	}
	w.slot.Insert(at(card, 0x54, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return []byte{0x93, 0x02}, nil }))
	if rc, err := void(); err != nil || rc.Child == nil || rc.Child.Result != journal.NotDone {
		t.Fatalf("%v %+v", err, rc)
	}
	w.slot.Insert(card)
	if rc, err := void(); err != nil || rc.Child == nil || rc.Child.Result != journal.Done {
		t.Fatalf("%v %+v", err, rc)
	}
}
