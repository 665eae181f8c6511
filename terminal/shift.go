package terminal

import (
	"context"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// byClerk lets through a clerk who has a number.
func byClerk(who Who) error {
	if who.Kind != journal.ActorClerk || who.ID == 0 {
		return refuse(CodeNotAllowed)
	}
	return nil
}

// clerkInShift lets through a clerk while a shift is open.
func (t *Terminal) clerkInShift(who Who) error {
	if err := byClerk(who); err != nil {
		return err
	}
	return t.inShift()
}

// staffInShift lets through a clerk, or a technician who has a number, while a
// shift is open: cash that a technician takes lies in the same drawer.
func (t *Terminal) staffInShift(who Who) error {
	if who.Kind != journal.ActorTechnician || who.ID == 0 {
		return t.clerkInShift(who)
	}
	return t.inShift()
}

func (t *Terminal) inShift() error {
	sh, ok, err := t.cfg.Store.Shift()
	if err != nil {
		return err
	}
	if !ok || sh.Closed {
		return refuse(CodeNoShift)
	}
	return nil
}

// OpenShift begins a shift with the cash counted in the drawer.
func (t *Terminal) OpenShift(ctx context.Context, who Who, cash money.Fen) (store.Shift, error) {
	if err := t.begin(ctx); err != nil {
		return store.Shift{}, err
	}
	defer t.release()
	if err := byClerk(who); err != nil {
		return store.Shift{}, err
	}
	if cash < 0 || cash > money.MaxFen {
		return store.Shift{}, refuse(CodeAmount)
	}
	sh, ok, err := t.cfg.Store.Shift()
	if err != nil {
		return store.Shift{}, err
	}
	if ok && !sh.Closed {
		return sh, refuse(CodeShiftOpen)
	}
	_, err = t.append(ctx, store.Draft{Actor: who, Body: &journal.ShiftOpen{Number: sh.Number + 1, Cash: cash}})
	if err != nil {
		return store.Shift{}, err
	}
	sh, _, err = t.cfg.Store.Shift()
	return sh, err
}

// CloseRequest asks to close the open shift.
type CloseRequest struct {
	Token   journal.Token // zero: the close can't be asked for again
	Who     Who
	Number  uint32    // of the shift that was counted; 0: whichever is open
	Counted money.Fen // in the drawer, before anybody was shown what should be there
}

// CloseShift ends the open shift and gives its report. The cash was counted
// before the expected sum was shown; both are written. It works without a
// network. The same request again gives the same report and writes nothing;
// another for a shift that is closed answers CodeShiftClosed.
func (t *Terminal) CloseShift(ctx context.Context, r CloseRequest) (ShiftReport, error) {
	if err := t.begin(ctx); err != nil {
		return ShiftReport{}, err
	}
	defer t.release()
	if err := byClerk(r.Who); err != nil {
		return ShiftReport{}, err
	}
	if e, ok, err := t.marked(r.Token); err != nil {
		return ShiftReport{}, err
	} else if ok {
		if e.Body.Type() != journal.TypeShiftTally {
			return ShiftReport{}, refuse(CodeTokenReused)
		}
		rep, err := t.reportOf(journal.Ref{Epoch: e.Name.Epoch, Seq: e.Name.Seq + 1}) // the close, in one commit with it
		if err == nil && (rep.Counted != r.Counted || r.Number != 0 && r.Number != rep.Number) {
			err = refuse(CodeTokenReused)
		}
		return rep, err
	}
	sh, ok, err := t.cfg.Store.Shift()
	switch {
	case err != nil:
		return ShiftReport{}, err
	case !ok:
		return ShiftReport{}, refuse(CodeNoShift)
	case sh.Closed, r.Number != 0 && r.Number != sh.Number:
		return ShiftReport{}, refuse(CodeShiftClosed)
	case r.Counted < 0 || r.Counted > money.MaxFen:
		return ShiftReport{}, refuse(CodeAmount)
	}
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return ShiftReport{}, err
	}
	var drafts []store.Draft
	if r.Token != (journal.Token{}) {
		rep, err := t.openReport(sh)
		if err != nil {
			return ShiftReport{}, err
		}
		drafts = append(drafts, store.Draft{Actor: r.Who, Ref: sh.Open, Body: &journal.ShiftTally{Token: r.Token, Owed: rep.Owed, Value: rep.OwedCash}})
	}
	e, err := t.append(ctx, append(drafts, store.Draft{Actor: r.Who, Ref: sh.Open, Body: &journal.ShiftClose{
		Number: sh.Number, Counted: r.Counted, Expected: sh.OpeningCash + sh.CashIn - sh.CashOut,
		Unsent: uint32(t.cfg.Store.Unsent().Count), Unknown: uint32(len(open)),
	}})...)
	if err != nil {
		return ShiftReport{}, err
	}
	return t.reportOf(e[len(e)-1].Name.Ref())
}
