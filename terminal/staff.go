package terminal

import (
	"context"
	"errors"

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
