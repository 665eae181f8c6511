package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
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

// ack has the utility acknowledge all that was written.
func (w *world) ack() {
	w.Helper()
	h := w.st.Head()
	a := wire.Ack{Terminal: h.Terminal, Epoch: h.Epoch, Through: h.Seq, Hash: h.Hash, Server: w.now.UnixMilli()}
	if err := w.st.PutAck(wire.Seal("ack", &a, sealKey), a); err != nil {
		w.Fatal(err)
	}
}

// TestCashOwedIsPaidOnceOfAllTerminals: what the utility has heard of waits at
// every terminal under its number. Whoever was paid at another one and then
// comes back with the slip to where it began gets nothing.
func TestCashOwedIsPaidOnceOfAllTerminals(t *testing.T) {
	owing := func(w *world) journal.Name {
		w.host.refuse = wire.CodeNoRoom
		rc, err := w.term.PayBill(w.ctx, bill())
		if err != nil || rc.Owed != rc.Name {
			t.Fatal(err)
		}
		w.host.refuse = ""
		return rc.Name
	}
	for name, c := range map[string]struct {
		prepare func(w *world, n journal.Name)
		want    journal.Result // of the answer; 0: refused
		code    Code
		left    money.Fen // of the customer's cash in the drawer, at once
		last    money.Fen // and once the utility has answered
	}{
		"only this terminal knows": {func(w *world, n journal.Name) { w.host.online = false }, journal.NotDone, "", 0, 0},
		"not heard of yet":         {func(w *world, n journal.Name) {}, journal.NotDone, "", 0, 0},
		"waits":                    {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00 }, journal.Done, "", 0, 0},
		"waits, one answer lost":   {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00; w.host.lose = 1 }, journal.Done, "", 0, 0},
		"waits, no answer":         {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00; w.host.lose = 2 }, journal.Unknown, "", 80_00, 0},
		"paid elsewhere":           {func(w *world, n journal.Name) { w.ack() }, journal.NotDone, "", 80_00, 80_00},
		"paid elsewhere, off line": {func(w *world, n journal.Name) { w.ack(); w.host.online = false }, 0, CodeNoLink, 80_00, 80_00},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := owing(w)
			c.prepare(w, n)
			r := ReturnCashRequest{Token: token(), Who: clerk, TopUp: n}
			rc, err := w.term.ReturnCash(w.ctx, r)
			if c.want == 0 {
				wantRefusal(t, err, c.code)
			} else if err != nil || rc.Result != c.want {
				t.Fatalf("%+v, %v", rc.Transaction, err)
			}
			drawer := func() money.Fen { in, out := w.till(); return in - out }
			if got := drawer(); got != c.left {
				t.Errorf("%s of the customer is in the drawer", got)
			}
			if c.want != 0 {
				if again, err := w.term.ReturnCash(w.ctx, r); err != nil || again.Name != rc.Name {
					t.Errorf("pressed twice: %+v, %v", again.Transaction, err)
				}
			}
			w.host.online = true
			w.maintain()
			// Another wish, whenever it comes, pays only what was not paid.
			_, err = w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: n})
			if c.last == 0 && c.left == 0 {
				wantRefusal(t, err, CodeCashNotOwed)
			} else if err != nil {
				t.Error(err)
			}
			if got := drawer(); got != c.last {
				t.Errorf("afterwards %s of the customer is in the drawer", got)
			}
			w.clean()
		})
	}
}
