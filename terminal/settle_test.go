package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// TestTakings: whatever happens in a shift, its takings by kind add up to the
// cash that came in less what went out.
func TestTakings(t *testing.T) {
	w := newWorld(t)
	l := wire.DefaultLimits()
	l.CardDeposit = 20_00
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: l})
	w.shift()
	check := func(what string, want Takings) {
		t.Helper()
		r, err := w.term.Report()
		if err != nil || r.Takings != want || want.Net() != r.CashIn-r.CashOut {
			t.Errorf("%s: %+v, in %s, out %s, %v; want %+v", what, r.Takings, r.CashIn, r.CashOut, err, want)
		}
	}
	must := func(rc Receipt, err error) Receipt {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return rc
	}
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	top := must(w.topUp(n, 20_00))
	must(w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, Second: 8, TopUp: top.Name}))
	must(w.redeem(n, 5_00))
	sum := Takings{TopUps: 120_00, Voids: 20_00}
	check("top-up, void and redemption", sum)
	fresh := mustCard(t, "5001")
	w.slot.Remove()
	w.slot.Insert(newCard(t, fresh))
	w.term.openCard(w.ctx)
	must(w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: fresh, Amount: 30_00, Tendered: 50_00}))
	sum.TopUps, sum.Deposits = 150_00, 20_00
	check("sale with a first load", sum)
	w.host.refuse = wire.CodeNoRoom
	not := must(w.topUp(fresh, 40_00))
	sum.TopUps = 190_00
	check("a top-up that was not done, its cash is owed", sum)
	r := bill()
	r.Again = account
	refused := must(w.term.PayBill(w.ctx, r))
	sum.Bills = 80_00
	check("a bill that was not done", sum)
	must(w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: refused.Name}))
	sum.Bills = 0
	check("its cash went back", sum)
	w.host.refuse, w.host.lose = "", 2
	r.Token = token()
	unknown := must(w.term.PayBill(w.ctx, r))
	if unknown.Result != journal.Unknown {
		t.Fatal(unknown.Result)
	}
	sum.Bills = 80_00
	check("a bill that is not certain", sum)
	claim := journal.Name{Terminal: money.TerminalID{1}, Epoch: 1, Seq: 9}
	w.host.claims[claim] = 15_00
	must(w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: claim, Amount: 15_00}))
	sum.Claims = 15_00
	check("a claim in cash", sum)
	w.host.claims[claim] = 25_00
	must(w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: claim, Amount: 25_00, Load: true, Card: fresh}))
	sum.Claims, sum.TopUps = 40_00, 215_00
	check("a claim that was put on a card", sum)
	must(w.term.EmptyCard(w.ctx, emptyOf(fresh, 55_00)))
	check("a card was emptied", sum)
	x, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 100_00 + sum.Net()})
	if err != nil || x.Takings != sum || x.Difference() != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	// The next shift gives back what this one had taken.
	w.shift()
	must(w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: not.Name}))
	must(w.term.AskAgain(w.ctx, unknown.Name))
	check("the next shift", Takings{Returned: 40_00})
	if z, err := w.term.ReportOf(1); err != nil || z.Takings != sum {
		t.Errorf("the first shift later: %+v, %v", z.Takings, err)
	}
	w.clean()
}

// TestSettlePrints: the first print of a settlement is the slip, the others are
// copies, after a restart too; reprints of the Z count for themselves.
func TestSettlePrints(t *testing.T) {
	w := newWorld(t)
	w.shift()
	x, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 100_00})
	if err != nil {
		t.Fatal(err)
	}
	for i, restart := range []bool{false, false, true} {
		if restart {
			w.restart()
		}
		if n, err := w.term.Settle(w.ctx, clerk, x.Closing); err != nil || n != uint32(i+1) {
			t.Errorf("print %d: %d, %v", i+1, n, err)
		}
	}
	if n, err := w.term.Reprint(w.ctx, clerk, x.Closing); err != nil || n != 1 {
		t.Errorf("the Z: %d, %v", n, err)
	}
	acts, err := w.term.StaffActs(2)
	if err != nil || len(acts) != 2 || journal.Deed(acts[1]) != "settlement" || acts[1].Actor != clerk {
		t.Errorf("%v, %v", acts, err)
	}
}
