package terminal

import (
	"context"
	"errors"
	"strconv"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
)

// Note writes what a person of the staff did that moves no value. It waits
// for no transaction and touches no card, only for Start: an epoch begins with
// its start entry. It fails with a Refusal when it could not be written; the
// caller decides whether the person may go on.
func (t *Terminal) Note(ctx context.Context, who Who, s journal.Staff) error {
	select {
	case <-t.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.isStopped() {
		return refuse(CodeStopped)
	}
	s.Count = max(1, s.Count)
	_, err := t.append(context.WithoutCancel(ctx), store.Draft{Actor: who, Body: &s})
	return err
}

// Staff is the terminal's own list of people, by number.
func (t *Terminal) Staff() ([]store.Person, error) { return t.cfg.Store.Staff() }

// ChangeStaff writes an act and, in one commit with it, the person as it is
// from then on, or that the list has it no more. Unlike Note's, an act that
// could not be written did not happen: it fails with a Refusal, and with
// store.ErrPerson for a person that does not fit.
func (t *Terminal) ChangeStaff(ctx context.Context, who Who, a journal.Staff, p store.Person, gone bool) error {
	if t.isStopped() {
		return refuse(CodeStopped)
	}
	a.Count = max(1, a.Count)
	ctx = context.WithoutCancel(ctx)
	e, err := t.cfg.Store.PutStaff(ctx, store.Draft{Actor: who, Body: &a}, p, gone)
	if errors.Is(err, store.ErrPerson) {
		return err
	}
	if err := t.written(ctx, err); err != nil {
		return err
	}
	t.seenWall(e)
	t.changed()
	return nil
}

// StaffActs lists the newest entries by which the staff of this epoch can be
// held to account, at most max, newest first: logins, refusals, shifts, and
// everything else that a person of the staff caused.
func (t *Terminal) StaffActs(max int) (list []journal.Entry, err error) {
	err = t.cfg.Store.Backwards(func(e journal.Entry) bool {
		if len(list) < max && journal.OfStaff(e) {
			list = append(list, e)
		}
		return len(list) < max
	}, journal.TypesOfStaff()...)
	return list, err
}

// Reprint writes that a person of the staff prints the slip of a transaction
// again, and gives which reprint of it this is, from 1. It counts those of this
// epoch, whether paper came out or not. It fails with a Refusal when it could
// not be written: then nothing may be printed.
func (t *Terminal) Reprint(ctx context.Context, who Who, name journal.Name) (n uint32, err error) {
	return t.countPrint(ctx, who, name, journal.ActReprint)
}

// Settle writes that a person of the staff prints the settlement slip of a
// shift, named by its close, and gives which print of it this is, from 1: the
// first is the slip, every other a copy. Otherwise it is as Reprint.
func (t *Terminal) Settle(ctx context.Context, who Who, closing journal.Name) (n uint32, err error) {
	return t.countPrint(ctx, who, closing, journal.ActSettle)
}

// Settled tells how often Settle was called for a close, in this epoch.
func (t *Terminal) Settled(closing journal.Name) (uint32, error) {
	return t.printed(closing, journal.ActSettle)
}

func (t *Terminal) printed(name journal.Name, act journal.Act) (n uint32, err error) {
	err = t.cfg.Store.Backwards(func(e journal.Entry) bool {
		if b, ok := e.Body.(*journal.Staff); ok && b.Act == act && e.Ref == name.Ref() {
			n++
		}
		return true
	}, journal.TypeStaff)
	return n, err
}

func (t *Terminal) countPrint(ctx context.Context, who Who, name journal.Name, act journal.Act) (n uint32, err error) {
	if t.isStopped() {
		return 0, refuse(CodeStopped)
	}
	t.reprints.Lock() // two at a time would both be the same
	defer t.reprints.Unlock()
	if n, err = t.printed(name, act); err != nil {
		return 0, err
	}
	n++
	_, err = t.append(context.WithoutCancel(ctx), store.Draft{Actor: who, Ref: name.Ref(),
		Body: &journal.Staff{Act: act, Staff: who.ID, Count: 1, Detail: strconv.FormatUint(uint64(n), 10)}})
	return n, err
}

// ByToken gives what a token began, and false when it began nothing. It asks
// the journal only; a call under way may begin something yet.
func (t *Terminal) ByToken(tok journal.Token) (Receipt, bool, error) {
	tx, ok, err := t.cfg.Store.ByToken(tok)
	if err != nil || !ok {
		return Receipt{}, false, err
	}
	rc, err := t.receipt(tx)
	return rc, err == nil, err
}

// Known reports whether a token began a transaction, or the return of its
// cash, here before.
func (t *Terminal) Known(tok journal.Token) (bool, error) {
	_, ok, err := t.cfg.Store.ByToken(tok)
	return ok, err
}
