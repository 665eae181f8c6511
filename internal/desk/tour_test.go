package desk

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// TestTour is the five-minute tour of the README: insert, top up, pay, cut
// the link, pay, restore, see both payments at the utility.
func TestTour(t *testing.T) {
	t.Run("in process T=1", func(t *testing.T) { tour(t, Options{}) })
	t.Run("in process T=0", func(t *testing.T) { tour(t, Options{T0: true}) })
	t.Run("on serial lines T=1", func(t *testing.T) { tour(t, Options{Serial: true}) })
	t.Run("on serial lines T=0", func(t *testing.T) { tour(t, Options{Serial: true, T0: true}) })
}

func tour(t *testing.T, o Options) {
	r := start(t, o)
	term := r.Station.Terminal
	r.until("the link and the limits", func(s terminal.Status) bool {
		return s.Online && !s.LimitsAt.IsZero() && s.Allowance.Amount > 0
	})
	if _, err := term.OpenShift(r.ctx, clerk, 200_00); err != nil {
		t.Fatal(err)
	}
	account := accounts[0].Number

	for _, id := range []string{"zhang", "li"} { // two profiles, no restart between
		r.insert(id)
		r.want("top-up", r.topUp(id, 100_00), journal.Done)
		rc := r.redeem(id, account, 30_00)
		r.want("payment", rc, journal.Done)
		if rc.After != 70_00 {
			t.Errorf("%s holds %s after the payment", id, rc.After)
		}

		r.LinkUp(false)
		r.until("the link to be down", func(s terminal.Status) bool { return !s.Online })
		r.want("payment off line", r.redeem(id, account, 20_00), journal.Done)
		r.want("top-up off line", r.topUp(id, 50_00), journal.Done)
		if u := r.Station.Store.Unsent(); u.Count == 0 {
			t.Error("nothing waits to be sent while the link is down")
		}
		r.LinkUp(true)
		r.synced()
		r.pull()

		chip, aid := r.Chip(id)
		holds, err := Balance(chip, aid)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.balance(ledger.Card(r.Number(id))); got != 100_00 || holds != got {
			t.Errorf("%s: the ledger has %s, the chip %s", id, got, holds)
		}
	}
	if got := r.balance(ledger.Customer(account)); got != -accounts[0].Owes+100_00 {
		t.Errorf("the account stands at %s", got)
	}
	if held, err := r.Utility.Service.Quarantine(r.ctx); err != nil || len(held) != 0 {
		t.Errorf("in quarantine: %v %v", held, err)
	}

	// A card from stock, sold with its first load, and a void.
	r.insert("stock1")
	sale, err := term.Sell(r.ctx, terminal.SellRequest{Token: token(), Who: clerk, Card: r.Number("stock1"), Amount: 50_00, Tendered: 50_00})
	if err != nil || sale.Child == nil || sale.Child.Result != journal.Done {
		t.Fatalf("sale: %v %+v", err, sale.Child)
	}
	r.synced()
	void, err := term.Void(r.ctx, terminal.VoidRequest{Token: token(), Who: clerk, TopUp: sale.Child.Name})
	if err != nil || void.Child == nil || void.Child.Result != journal.Done {
		t.Fatalf("void: %v %+v", err, void)
	}
	r.synced()
	if got := r.balance(ledger.Card(r.Number("stock1"))); got != 0 {
		t.Errorf("after the void the ledger has %s on the card", got)
	}
	sh, err := term.CloseShift(r.ctx, terminal.CloseRequest{Who: clerk, Counted: 200_00 + 300_00})
	if err != nil || sh.Expected != money.Fen(500_00) {
		t.Fatalf("close: %v, expected %s", err, sh.Expected)
	}
}
