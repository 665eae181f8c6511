package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// TestClaimOfNoTransaction: a slip's number is typed by a person or sent by
// whoever calls the API. One that is this terminal's and yet names nothing, or
// something on which no cash was taken, is no claim; above all it is not what
// stops the terminal.
func TestClaimOfNoTransaction(t *testing.T) {
	for name, of := range map[string]func(w *world) journal.Name{
		"beyond the journal": func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 999_999}.Of(w.term.id()) },
		"the next entry": func(w *world) journal.Name {
			h := w.st.Head()
			return journal.Ref{Epoch: 1, Seq: h.Seq + 1}.Of(w.term.id())
		},
		"an epoch to come":     func(w *world) journal.Name { return journal.Ref{Epoch: 9, Seq: 1}.Of(w.term.id()) },
		"the start":            func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 1}.Of(w.term.id()) },
		"the largest sequence": func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 1<<64 - 1}.Of(w.term.id()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := of(w)
			r := ClaimRequest{Token: token(), Who: clerk, Claim: n, Amount: 50_00}
			if rc, err := w.term.CollectClaim(w.ctx, r); err == nil && rc.Result != journal.NotDone {
				t.Errorf("%+v", rc.Transaction)
			} else if err != nil {
				wantRefusal(t, err, CodeNoClaim)
			}
			if _, err := w.term.Claim(w.ctx, n); err == nil {
				t.Error("something waits")
			} else {
				wantRefusal(t, err, CodeNoClaim)
			}
			if w.term.Status().Stopped {
				t.Fatal("the terminal stopped")
			}
			w.slot.Insert(newCard(t, mustCard(t, "4821")))
			if _, err := w.topUp(money.CardNumber{}, 100_00); err != nil {
				t.Error(err)
			}
			w.clean()
		})
	}
}
