package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
)

// TestNote: what staff does is an entry of the chain, also while a card is in
// a transaction, and booked on the one who did it.
func TestNote(t *testing.T) {
	w := newWorld(t)
	if err := w.term.acquire(w.ctx); err != nil { // a transaction runs
		t.Fatal(err)
	}
	if err := w.term.Note(w.ctx, clerk, journal.Staff{Act: journal.ActLogin, Staff: clerk.ID}); err != nil {
		t.Fatal(err)
	}
	w.term.release()
	w.shift()
	if err := w.term.Note(w.ctx, journal.System, journal.Staff{Act: journal.ActLoginFailed, Staff: 999999, Count: 8}); err != nil {
		t.Fatal(err)
	}
	n := mustCard(t, "1001")
	w.loaded(n, 20_00)
	if _, err := w.redeem(n, 1_00); err != nil { // the customer's own: nobody of the staff
		t.Fatal(err)
	}
	list, err := w.term.StaffActs(100)
	if err != nil {
		t.Fatal(err)
	}
	var got []journal.Type
	for _, e := range list {
		got = append(got, e.Body.Type())
	}
	want := []journal.Type{journal.TypeLoadIntent, journal.TypeStaff, journal.TypeShiftOpen, journal.TypeStaff}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if s := list[1].Body.(*journal.Staff); list[1].Actor != journal.System || s.Staff != 999999 || s.Count != 8 {
		t.Fatalf("%+v %+v", list[1], s)
	}
	if s := list[3].Body.(*journal.Staff); list[3].Actor != clerk || s.Count != 1 {
		t.Fatalf("%+v %+v", list[3], s)
	}
	if list, err := w.term.StaffActs(2); err != nil || len(list) != 2 || list[0].Body.Type() != journal.TypeLoadIntent {
		t.Fatalf("%v, %v", list, err)
	}
}

// TestTypesOfStaff: whatever type an entry of a person has is among those that
// the list looks for.
func TestTypesOfStaff(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	w.host.refuse = "no_room"
	rc, err := w.topUp(n, 20_00)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name}); err != nil {
		t.Fatal(err)
	}
	w.host.refuse = ""
	top, err := w.topUp(n, 20_00)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, Second: 8, TopUp: top.Name}); err != nil {
		t.Fatal(err)
	}
	s := mustCard(t, "5001")
	w.slot.Swap(newCard(t, s))
	if _, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: s}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 0}); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, e := range w.entries() {
		if e.Actor.Kind == journal.ActorClerk {
			want++
		}
	}
	list, err := w.term.StaffActs(1000)
	if err != nil || len(list) != want {
		t.Fatalf("%d acts of staff, %d entries bear a person, %v", len(list), want, err)
	}
}

// TestSecondPersonOfAVoid: who agreed is an entry of their own, right before
// the request and in one commit with it.
func TestSecondPersonOfAVoid(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.slot.Insert(newCard(t, n))
	top, err := w.topUp(n, 20_00)
	if err != nil {
		t.Fatal(err)
	}
	head := w.st.Head().Seq
	_, err = w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, Second: clerk.ID, TopUp: top.Name})
	wantRefusal(t, err, CodeNotAllowed)
	if w.st.Head().Seq != head {
		t.Fatal("a refusal wrote something")
	}
	tok := token()
	for range 2 { // the second is a double click
		rc, err := w.term.Void(w.ctx, VoidRequest{Token: tok, Who: clerk, Second: 8, TopUp: top.Name})
		if err != nil || rc.Child == nil || rc.Child.Result != journal.Done {
			t.Fatalf("%v %+v", err, rc)
		}
	}
	agreed := 0
	all := w.entries()
	for i, e := range all {
		b, ok := e.Body.(*journal.Staff)
		if !ok {
			continue
		}
		agreed++
		next := all[i+1]
		if b.Act != journal.ActAgree || b.Staff != 8 || e.Actor != (journal.Actor{Kind: journal.ActorClerk, ID: 8}) || e.Ref != top.Name.Ref() ||
			next.Body.Type() != journal.TypeVoidRequest || next.Actor != clerk || next.Ref != e.Ref || next.Mono != e.Mono {
			t.Fatalf("%+v %+v, then %+v", e, b, next)
		}
	}
	if agreed != 1 {
		t.Fatalf("%d agreements", agreed)
	}
}
