package terminal

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// cutter is a disk whose power fails at one commit.
type cutter struct {
	store.Machine
	left int  // commits until then; 0: never
	kept bool // the commit is on the disk, and nobody hears of it
	cut  bool
}

var errCut = errors.New("the power failed")

func (d *cutter) Commit(tx *bbolt.Tx) error {
	if d.cut {
		return errors.Join(errCut, tx.Rollback())
	}
	if d.left > 0 {
		if d.left--; d.left == 0 {
			d.cut = true
			if d.kept {
				return errors.Join(errCut, tx.Commit())
			}
			return errors.Join(errCut, tx.Rollback())
		}
	}
	return tx.Commit()
}

// TestCounterCutAtEveryCommit cuts the power at each commit of each flow of the
// counter, before it is on the disk and after, with and without the utility's
// answer lost on the way. After the restart what a person was told is what the
// journal says, the utility and the chip agree with it, and the drawer holds
// what was taken less what was given.
func TestCounterCutAtEveryCommit(t *testing.T) {
	mine := mustCard(t, "4821")
	type flow struct {
		prepare func(w *world)
		do      func(w *world, tok journal.Token) (Receipt, error)
		// drawer is what the flow makes of the cash, by how it ended; tx is
		// nil when it never began.
		drawer func(w *world, tx *journal.Transaction, load *journal.Transaction) money.Fen
		truth  func(w *world, n journal.Name) bool // whether it happened at the utility
	}
	nothing := func(*world, *journal.Transaction, *journal.Transaction) money.Fen { return 0 }
	var owes journal.Name
	agreed := func(w *world, n journal.Name) bool { c, ok := w.host.decisions[n]; return ok && c == wire.OK }
	flows := map[string]flow{
		"bill": {func(*world) {}, func(w *world, tok journal.Token) (Receipt, error) {
			r := bill()
			r.Token = tok
			return w.term.PayBill(w.ctx, r)
		}, func(_ *world, tx, _ *journal.Transaction) money.Fen {
			if tx == nil {
				return 0
			}
			return 80_00 // paid, or owed
		}, agreed},
		"claim": {func(w *world) { w.host.claims[slip] = 50_00 }, func(w *world, tok journal.Token) (Receipt, error) {
			r := claim(false)
			r.Token = tok
			return w.term.CollectClaim(w.ctx, r)
		}, func(_ *world, tx, _ *journal.Transaction) money.Fen {
			if tx == nil || tx.Result != journal.Done {
				return 0
			}
			return -50_00
		}, func(w *world, _ journal.Name) bool { return w.host.claims[slip] == 0 }},
		"claim onto a card": {func(w *world) { w.host.claims[slip] = 50_00 }, func(w *world, tok journal.Token) (Receipt, error) {
			r := claim(true)
			r.Token, r.Card = tok, mine
			return w.term.CollectClaim(w.ctx, r)
		}, func(_ *world, tx, load *journal.Transaction) money.Fen {
			switch {
			case tx == nil || tx.Result != journal.Done:
				return 0
			case load == nil:
				return -50_00 // the customer's, in cash
			}
			return 0 // on the card, or owed
		}, func(w *world, _ journal.Name) bool { return w.host.claims[slip] == 0 }},
		"cash that the utility knows of": {func(w *world) {
			w.host.refuse = wire.CodeNoRoom
			rc, err := w.term.PayBill(w.ctx, bill())
			if err != nil || rc.Owed != rc.Name {
				w.Fatal(err)
			}
			w.host.refuse, owes = "", rc.Name
			w.host.claims[owes] = 80_00
			w.ack()
		}, func(w *world, tok journal.Token) (Receipt, error) {
			return w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: tok, Who: clerk, TopUp: owes})
		}, func(_ *world, tx, _ *journal.Transaction) money.Fen {
			if tx == nil || tx.Result != journal.Done {
				return 80_00
			}
			return 0
		}, func(w *world, _ journal.Name) bool { return w.host.claims[owes] == 0 }},
		"block": {func(*world) {}, func(w *world, tok journal.Token) (Receipt, error) {
			return w.term.BlockCard(w.ctx, CardRequest{Token: tok, Who: clerk, Card: mine, Why: journal.WhyLost})
		}, nothing, agreed},
		"replacement": {func(*world) {}, func(w *world, tok journal.Token) (Receipt, error) {
			return w.term.ReplaceCard(w.ctx, CardRequest{Token: tok, Who: clerk, Card: mine, Why: journal.WhyDamaged})
		}, nothing, agreed},
	}
	for name, f := range flows {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			for at, going := 1, true; going; at++ {
				for i := range 4 {
					kept, lost := i%2 == 1, i/2
					where := fmt.Sprintf("commit %d, on the disk %t, %d answers lost", at, kept, 2*lost)
					w := newWorld(t)
					w.shift()
					f.prepare(w)
					d := &cutter{}
					w.disk = d
					w.restart()
					chip := newCard(t, mine)
					w.slot.Insert(chip)
					w.term.openCard(w.ctx)
					d.left, d.kept = at, kept
					w.host.lose = 2 * lost
					tok := token()
					told, err := f.do(w, tok)
					going = d.cut
					if !d.cut {
						if err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						break
					}
					cuts++
					var sure *Refusal
					uncertain := errors.As(err, new(*UncertainError))
					if err == nil || !uncertain && !errors.As(err, &sure) {
						t.Errorf("%s: told %+v, %v", where, told.Transaction, err)
					}

					d.left, d.cut = 0, false // the power is back
					w.term.closeAll()
					w.st.Close()
					w.host.lose = 0
					w.open()
					w.slot.Insert(chip)
					w.term.openCard(w.ctx)
					for range 3 {
						w.maintain()
					}
					tx, began, err := w.st.ByToken(tok)
					if err != nil {
						t.Fatal(err)
					}
					var of, load *journal.Transaction
					if began {
						of = &tx
						kids, err := w.st.Children(tx.Name.Ref())
						if err != nil {
							t.Fatal(err)
						}
						if len(kids) > 0 {
							load = &kids[0]
						}
						if tx.Open() || load != nil && load.Open() {
							t.Errorf("%s: never ends: %+v", where, tx)
						}
						// A request about a card moves no money: it may be carried out.
						if sure != nil && !uncertain && tx.Result == journal.Done && tx.Request == nil {
							t.Errorf("%s: refused, and yet %+v", where, tx)
						}
						if f.truth(w, tx.Name) != (tx.Result == journal.Done) {
							t.Errorf("%s: the journal says %d, the utility %t", where, tx.Result, f.truth(w, tx.Name))
						}
					} else if f.truth(w, journal.Name{}) {
						t.Errorf("%s: it happened, and the journal knows nothing", where)
					}
					if want := map[bool]money.Fen{true: 50_00}[load != nil && load.Result == journal.Done]; value(t, chip) != want {
						t.Errorf("%s: the chip holds %s, want %s", where, value(t, chip), want)
					}
					if in, out := w.till(); in-out != f.drawer(w, of, load) {
						t.Errorf("%s: the drawer has %s, want %s", where, in-out, f.drawer(w, of, load))
					}
					// The screen that lost its answer asks again: never a second one.
					again, err := f.do(w, tok)
					if began && (err != nil || again.Name != tx.Name) {
						t.Errorf("%s: asked again: %+v, %v", where, again.Transaction, err)
					} else if !began && (err != nil || again.Result != journal.Done) {
						t.Errorf("%s: begun now: %+v, %v", where, again.Transaction, err)
					}
					w.clean()
				}
			}
			if cuts < 8 { // two commits at least, on both sides, with and without answer
				t.Errorf("%d cuts", cuts)
			}
			t.Log(cuts, "cuts")
		})
	}
}
