//go:build linux

package desk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// TestTourOffLine cuts the link before the terminal starts and restores it
// after the shift has ended: a terminal boots, serves and closes its shift
// with no network at all (DESIGN law 7).
func TestTourOffLine(t *testing.T) {
	base, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tempDir(t), "desk")
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	restrict(t, dir)
	r := start(t, Options{Dir: dir, Cut: true})
	term := r.Station.Terminal
	account := accounts[0].Number

	// The shift of the day before is still open: it is closed and the next
	// one opened, all without a word from the utility.
	if _, err := term.CloseShift(r.ctx, terminal.CloseRequest{Who: clerk, Counted: 100_00}); err != nil {
		t.Fatal(err)
	}
	if _, err := term.OpenShift(r.ctx, clerk, 0); err != nil {
		t.Fatal(err)
	}
	r.insert("zhang")
	r.want("top-up", r.topUp("zhang", 50_00), journal.Done)
	r.want("payment", r.redeem("zhang", account, 70_00), journal.Done)
	r.pull()
	r.insert("stock1")
	sale, err := term.Sell(r.ctx, terminal.SellRequest{Token: token(), Who: clerk, Card: r.Number("stock1"), Amount: 60_00, Tendered: 60_00})
	if err != nil || sale.Child == nil || sale.Child.Result != journal.Done || sale.Child.Load.Authority != journal.AuthoritySAM {
		t.Fatalf("sale: %v %+v", err, sale.Child)
	}
	if _, err := term.Void(r.ctx, terminal.VoidRequest{Token: token(), Who: clerk, TopUp: sale.Child.Name}); !isRefusal(err, terminal.CodeNoLink) {
		t.Fatalf("a void off line: %v", err)
	}
	r.pull()
	sh, err := term.CloseShift(r.ctx, terminal.CloseRequest{Who: clerk, Counted: 110_00})
	if err != nil || sh.Expected != 110_00 {
		t.Fatalf("close: %v, expected %s", err, sh.Expected)
	}
	s := term.Status()
	if s.Online || s.Unsent.Count < 10 || s.Unsent.Value != 110_00 {
		t.Fatalf("online %v, unsent %+v", s.Online, s.Unsent)
	}

	r.LinkUp(true)
	r.synced()
	for a, want := range map[ledger.Account]int64{
		ledger.Card(r.Number("zhang")):  80_00,
		ledger.Card(r.Number("stock1")): 60_00,
		ledger.Customer(account):        int64(-accounts[0].Owes) + 70_00,
	} {
		if got := r.balance(a); int64(got) != want {
			t.Errorf("%s stands at %s", a, got)
		}
	}
	if held, err := r.Utility.Service.Quarantine(r.ctx); err != nil || len(held) != 0 {
		t.Errorf("in quarantine: %v %v", held, err)
	}
	r.audited()
}

func isRefusal(err error, c terminal.Code) bool {
	var r *terminal.Refusal
	return asRefusal(err, &r) && r.Code == c
}
