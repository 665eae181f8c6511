package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
)

// A technician loads and pays in the shift, as a person with a number, and
// does nothing else of the counter's.
func TestTechnician(t *testing.T) {
	w := newWorld(t)
	number := mustCard(t, "0017")
	technician := journal.Actor{Kind: journal.ActorTechnician, ID: 9}
	top := func(who Who, token string) (Receipt, error) {
		return w.term.TopUp(w.ctx, TopUpRequest{Token: journal.TokenOf(token), Who: who, Card: number, Amount: 50_00, Tendered: 50_00})
	}
	w.slot.Insert(newCard(w, number))
	_, err := top(technician, "a")
	wantRefusal(t, err, CodeNoShift)
	w.shift()
	_, err = top(journal.Actor{Kind: journal.ActorTechnician}, "b")
	wantRefusal(t, err, CodeNotAllowed)
	_, err = w.term.CloseShift(w.ctx, CloseRequest{Who: technician})
	wantRefusal(t, err, CodeNotAllowed)
	if rc, err := top(technician, "c"); err != nil || rc.Result != journal.Done || rc.Actor != technician {
		t.Fatalf("%+v, %v", rc, err)
	}
	r, ok, err := w.term.ByToken(journal.TokenOf("c"))
	if err != nil || !ok || r.Amount != 50_00 {
		t.Errorf("%+v %t, %v", r, ok, err)
	}
	if _, ok, err := w.term.ByToken(journal.TokenOf("a")); err != nil || ok {
		t.Errorf("a wish that was refused began something: %v", err)
	}
	rep, err := w.term.Report()
	if err != nil || len(rep.Clerks) != 1 || rep.Clerks[0].Clerk != technician.ID || rep.CashIn != 50_00 {
		t.Errorf("%+v, %v", rep, err)
	}
	if c, err := w.term.ReadCard(w.ctx); err != nil || c.Balance != 50_00 || c.Info.Number != number || len(c.ATR) == 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
