package terminal

import (
	"context"
	"errors"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
)

// TestAskAgain: whoever waits may ask at once how something ended. It is the
// same name, nothing is begun, and whatever the answer is it stands.
func TestAskAgain(t *testing.T) {
	gone := errors.New("the line is cut")
	block := func(w *world) (Receipt, error) {
		return w.term.BlockCard(w.ctx, CardRequest{Token: token(), Who: clerk, Card: mustCard(t, "1001"), Why: journal.WhyLost})
	}
	pay := func(w *world) (Receipt, error) {
		r := bill()
		r.Again = account
		return w.term.PayBill(w.ctx, r)
	}
	collect := func(w *world) (Receipt, error) {
		n := journal.Name{Terminal: money.TerminalID{1}, Epoch: 1, Seq: 9}
		w.host.claims[n] = 50_00
		return w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: n, Amount: 50_00})
	}
	for name, c := range map[string]struct {
		do   func(*world) (Receipt, error)
		lost bool // the utility decided, and its answers were lost; else it was never reached
		want journal.Result
	}{
		"a bill that was taken":        {pay, true, journal.Done},
		"a bill that never arrived":    {pay, false, journal.NotDone},
		"a claim that was agreed":      {collect, true, journal.NotDone}, // nothing was paid out: it waits again
		"a claim that never arrived":   {collect, false, journal.NotDone},
		"a block that was carried out": {block, true, journal.Done},
		"a block that never arrived":   {block, false, journal.Done},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			if c.lost {
				w.host.lose = 2
			} else {
				w.host.fail = gone
			}
			rc, err := c.do(w)
			if err != nil || rc.Result != journal.Unknown {
				t.Fatalf("%+v, %v", rc.Transaction, err)
			}
			head := w.st.Head().Seq
			w.host.fail = gone
			_, err = w.term.AskAgain(w.ctx, rc.Name)
			wantRefusal(t, err, CodeNoAnswer)
			w.host.online = false
			_, err = w.term.AskAgain(w.ctx, rc.Name)
			wantRefusal(t, err, CodeNoLink)
			if w.st.Head().Seq != head || w.transaction(rc.Name).Result != journal.Unknown {
				t.Error("something was written although nobody answered")
			}
			w.host.fail, w.host.online = nil, true
			names := map[journal.Name]bool{}
			// A second click while the first question is under way.
			first := true
			w.host.onAsk = func(context.Context) error {
				if first {
					first = false
					again, err := w.term.AskAgain(w.ctx, rc.Name)
					if err != nil || again.Result != c.want {
						t.Errorf("the second click: %v, %v", again.Result, err)
					}
				}
				return nil
			}
			for range 3 {
				again, err := w.term.AskAgain(w.ctx, rc.Name)
				if err != nil || again.Result != c.want {
					t.Errorf("%v, %v", again.Result, err)
				}
				names[again.Name] = true
			}
			if len(names) != 1 || !names[rc.Name] || len(w.host.decisions) != 1 {
				t.Errorf("names %v, decided %v", names, w.host.decisions)
			}
			if n := w.st.Head().Seq - head; n != 1 {
				t.Errorf("%d entries were written", n)
			}
			asked := len(w.host.asks)
			if _, err := w.term.AskAgain(w.ctx, rc.Name); err != nil || len(w.host.asks) != asked {
				t.Errorf("what is settled was asked about: %v, %v", w.host.asks, err)
			}
			w.clean()
		})
	}
}

// TestAskAgainOfCard: of a card the utility says what some other terminal sent
// it; when it knows nothing, it stays unknown.
func TestAskAgainOfCard(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	chip := w.loaded(n, 80_00)
	w.slot.Insert(at(chip, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		w.slot.Remove()
		return nil, virtual.ErrGone
	}))
	w.term.openCard(w.ctx)
	rc, err := w.redeem(n, 30_00)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%+v, %v", rc.Transaction, err)
	}
	sent := w.host.flushed
	if again, err := w.term.AskAgain(w.ctx, rc.Name); err != nil || again.Result != journal.Unknown || w.host.flushed == sent {
		t.Errorf("%v, %v, sent %d times", again.Result, err, w.host.flushed-sent)
	}
	hash, err := w.term.hashAfter(rc.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	w.host.ends.Hash, w.host.ends.Ended = journal.Hash{1}, journal.Done // another entry of that name
	if again, err := w.term.AskAgain(w.ctx, rc.Name); err != nil || again.Result != journal.Unknown {
		t.Errorf("%v, %v", again.Result, err)
	}
	w.host.ends.Hash = hash
	if again, err := w.term.AskAgain(w.ctx, rc.Name); err != nil || again.Result != journal.Done || again.Evidence != journal.EvidenceUtility {
		t.Errorf("%v, %v", again.Result, err)
	}
	_, err = w.term.AskAgain(w.ctx, journal.Name{Terminal: testTerminal, Epoch: 1, Seq: 9999})
	wantRefusal(t, err, CodeNotFound)
	w.clean()
}
