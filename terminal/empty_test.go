package terminal

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/wire"
)

func emptyOf(n money.CardNumber, a money.Fen) EmptyRequest {
	return EmptyRequest{Token: token(), Who: clerk, Card: n, Amount: a}
}

// TestReplaceReadable: the balance of a damaged card that reads goes to the new
// one by way of a claim, and the drawer is as it was.
func TestReplaceReadable(t *testing.T) {
	w := newWorld(t)
	w.shift()
	old, fresh := mustCard(t, "1001"), mustCard(t, "1002")
	chip := w.loaded(old, 80_00)
	in, out := w.till()
	r := emptyOf(old, 80_00)
	rc, err := w.term.EmptyCard(w.ctx, r)
	if err != nil || rc.Kind != journal.KindEmptied || rc.Result != journal.Done || rc.Amount != 80_00 || rc.Account != 0 || rc.After != 0 {
		t.Fatalf("%+v, %v", rc.Transaction, err)
	}
	if p := rc.Purchase; p.Purpose != journal.PurposeEmpty || !rc.PurchaseOutcome.HasTAC {
		t.Errorf("%+v", p)
	}
	if again, err := w.term.EmptyCard(w.ctx, r); err != nil || again.Name != rc.Name {
		t.Errorf("asked again: %s, %v", again.Name, err)
	}
	r.Amount = 70_00
	_, err = w.term.EmptyCard(w.ctx, r)
	wantRefusal(t, err, CodeTokenReused)
	_, err = w.term.EmptyCard(w.ctx, emptyOf(old, 80_00))
	wantRefusal(t, err, CodeCardEmpty)
	if value(t, chip) != 0 {
		t.Errorf("%s is left on the old card", value(t, chip))
	}
	w.host.claims[rc.Name] = 80_00 // what the utility makes of it
	w.slot.Remove()
	next := newCard(t, fresh)
	w.slot.Insert(next)
	w.term.openCard(w.ctx)
	c, err := w.term.CollectClaim(w.ctx, ClaimRequest{Token: token(), Who: clerk, Claim: rc.Name, Amount: 80_00, Load: true, Card: fresh})
	if err != nil || c.Result != journal.Done || c.Child == nil || c.Child.Result != journal.Done {
		t.Fatalf("%+v, %v", c.Transaction, err)
	}
	if value(t, next) != 80_00 || value(t, chip) != 0 {
		t.Errorf("the new card holds %s, the old one %s", value(t, next), value(t, chip))
	}
	if i, o := w.till(); i-o != in-out {
		t.Errorf("the drawer went from %s to %s", in-out, i-o)
	}
	rep, err := w.term.Report()
	if err != nil || rep.Redemptions != 0 {
		t.Errorf("it counts as a payment: %s, %v", rep.Redemptions, err)
	}
	acts, err := w.term.StaffActs(10)
	if err != nil || len(acts) < 3 || journal.Deed(acts[2]) != "emptied" {
		t.Errorf("acts %v, %v", acts, err)
	}
	w.clean()
}

// TestEmptyRefused: nothing is begun for a card that holds something else than
// the screen showed, that is blocked, or without the link.
func TestEmptyRefused(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	chip := w.loaded(n, 80_00)
	for _, row := range []struct {
		code Code
		ask  func(*EmptyRequest)
	}{
		{CodeBalanceMoved, func(r *EmptyRequest) { r.Amount = 79_99 }},
		{CodeBalanceMoved, func(r *EmptyRequest) { r.Amount = 80_01 }},
		{CodeOtherCard, func(r *EmptyRequest) { r.Card = mustCard(t, "1002") }},
		{CodeNotAllowed, func(r *EmptyRequest) { r.Who = customer }},
		{CodeNoLink, func(*EmptyRequest) { w.host.online = false }},
		{CodeStanding, func(*EmptyRequest) { w.host.standing = wire.StandingBlocked }},
		{CodeCardBlocked, func(*EmptyRequest) { w.section(wire.Section{Kind: wire.SectionHotlist, Hotlist: wire.Hotlist{n}}) }},
	} {
		r := emptyOf(n, 80_00)
		row.ask(&r)
		_, err := w.term.EmptyCard(w.ctx, r)
		wantRefusal(t, err, row.code)
		w.host.online, w.host.standing = true, wire.StandingGood
	}
	if value(t, chip) != 80_00 || w.wrote(journal.TypePurchaseIntent) != 0 {
		t.Errorf("%s is left, %d intents", value(t, chip), w.wrote(journal.TypePurchaseIntent))
	}
	w.clean()
}

// TestEmptyTorn: whatever becomes of the debit, the card settles it when it is
// back, and no other way.
func TestEmptyTorn(t *testing.T) {
	for _, moved := range []bool{true, false} {
		w := newWorld(t)
		w.shift()
		n := mustCard(t, "1001")
		chip := w.loaded(n, 80_00)
		w.slot.Remove()
		w.slot.Insert(at(chip, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if moved {
				if _, err := next(cmd); err != nil {
					t.Error(err)
				}
			}
			w.slot.Remove()
			return nil, virtual.ErrGone
		}))
		w.term.openCard(w.ctx)
		rc, err := w.term.EmptyCard(w.ctx, emptyOf(n, 80_00))
		if err != nil || rc.Result != journal.Unknown {
			t.Fatalf("moved %v: %+v, %v", moved, rc.Transaction, err)
		}
		w.restart()
		if rc, err := w.term.Transaction(rc.Name); err != nil || rc.Result != journal.Unknown {
			t.Errorf("after a restart: %v, %v", rc.Result, err)
		}
		w.slot.Insert(chip)
		w.term.openCard(w.ctx)
		want, left := journal.NotDone, money.Fen(80_00)
		if moved {
			want, left = journal.Done, 0
		}
		rc, err = w.term.Transaction(rc.Name)
		if err != nil || rc.Result != want || value(t, chip) != left {
			t.Errorf("moved %v: %v, %s left, %v", moved, rc.Result, value(t, chip), err)
		}
		if moved != (rc.PurchaseOutcome.HasTAC) {
			t.Errorf("moved %v, proven %v", moved, rc.PurchaseOutcome.HasTAC)
		}
		w.clean()
	}
}
