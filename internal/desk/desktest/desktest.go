// Package desktest makes desks in the states that tests of several programs
// begin with. It is for tests only, and may import what package desk may.
package desktest

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

// CutOff is a desk in a folder, running, that was cut off: a top-up of 50.00
// onto the card zhang is at the utility, two payments of 12.00 are not. Stop
// ends it and closes it.
func CutOff(ctx context.Context, dir string) (d *desk.Desk, stop func() error, err error) {
	d, err = desk.Open(ctx, desk.Options{Dir: dir, Software: "test"})
	if err != nil {
		return nil, nil, err
	}
	life, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(life) }()
	stop = func() error { end(); return errors.Join(<-done, d.Close()) }
	term := d.Station.Terminal
	changes := term.Changes(ctx)
	until := func(ok func() bool) error {
		for !ok() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changes:
			case <-time.After(100 * time.Millisecond): // some of it announces less
			}
		}
		return nil
	}
	clerk := journal.Actor{Kind: journal.ActorClerk, ID: 1}
	steps := []func() error{
		func() error {
			return until(func() bool { s := term.Status(); return s.Online && !s.LimitsAt.IsZero() })
		},
		func() error { _, err := term.OpenShift(ctx, clerk, 100_00); return err },
		func() error { return d.Put("zhang") },
		func() error { return until(func() bool { return term.Status().Card.State == terminal.CardReady }) },
		func() error {
			_, err := term.TopUp(ctx, terminal.TopUpRequest{Token: journal.TokenOf("1"), Who: clerk, Card: d.Number("zhang"), Amount: 50_00, Tendered: 50_00})
			return err
		},
		func() error { return until(func() bool { return d.Station.Store.Unsent().Count == 0 }) },
		func() error { d.LinkUp(false); return nil },
		func() error { return until(func() bool { return !term.Status().Online }) },
	}
	for _, token := range []string{"2", "3"} {
		steps = append(steps, func() error {
			_, err := term.Redeem(ctx, terminal.RedeemRequest{Token: journal.TokenOf(token), Who: clerk, Card: d.Number("zhang"), Account: 100000017, Amount: 12_00})
			return err
		})
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, nil, errors.Join(err, stop())
		}
	}
	return d, stop, nil
}
