package terminal

import (
	"context"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// clerkInShift lets through a clerk while a shift is open.
func (t *Terminal) clerkInShift(who Who) error {
	if who.Kind != journal.ActorClerk || who.ID == 0 {
		return refuse(CodeNotAllowed)
	}
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
	if who.Kind != journal.ActorClerk || who.ID == 0 {
		return store.Shift{}, refuse(CodeNotAllowed)
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

// CloseShift ends the open shift. The cash was counted before the expected
// sum was shown; both are written. It works without a network. Closing a
// shift that is closed answers CodeNoShift and writes nothing.
func (t *Terminal) CloseShift(ctx context.Context, who Who, counted money.Fen) (store.Shift, error) {
	if err := t.begin(ctx); err != nil {
		return store.Shift{}, err
	}
	defer t.release()
	if err := t.clerkInShift(who); err != nil {
		return store.Shift{}, err
	}
	if counted < 0 || counted > money.MaxFen {
		return store.Shift{}, refuse(CodeAmount)
	}
	sh, _, err := t.cfg.Store.Shift()
	if err != nil {
		return store.Shift{}, err
	}
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return store.Shift{}, err
	}
	_, err = t.append(ctx, store.Draft{Actor: who, Ref: sh.Open, Body: &journal.ShiftClose{
		Number: sh.Number, Counted: counted, Expected: sh.OpeningCash + sh.CashIn - sh.CashOut,
		Unsent: uint32(t.cfg.Store.Unsent().Count), Unknown: uint32(len(open)),
	}})
	if err != nil {
		return store.Shift{}, err
	}
	sh, _, err = t.cfg.Store.Shift()
	return sh, err
}
