package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/reader"
)

func newDoctorCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say in a minute what is wrong between card and computer, and what to do",
		Long: "Looks from the bottom up: the USB bus, the PC/SC service and the way to it, the\n" +
			"programs that use it, each reader, the card in it and what that is: purse, SAM,\n" +
			"blocked, expired, unknown. One line for each, ok, warning or problem, and the next\n" +
			"step. It presents no PIN and moves nothing. The terminal's disk, clock, keys and\n" +
			"journal are looked at by `kioskd doctor`. Exits with 1 when there is a problem.",
		Example: "  cardtool doctor --reader sim:card",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := t.machine()
			if full, err := t.choose(cmd.Context()); err == nil && isSim(full) {
				m = t.simMachine(full)
			}
			list := checkup.Examine(cmd.Context(), m)
			n := 0
			for _, f := range list {
				if f.State == checkup.Problem {
					n++
				}
			}
			if t.json {
				if err := t.emit(cmd, list); err != nil {
					return err
				}
			} else {
				for _, f := range list {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-10s %s\n", f.State, f.Check, f.Says)
					if f.Next != "" {
						fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-10s → %s\n", "", "", f.Next)
					}
				}
			}
			if n > 0 {
				return t.silent(fmt.Errorf("problems: %d", n))
			}
			return nil
		},
	}
}

// machine is this one.
func (t *tool) machine() checkup.Machine {
	m := hostMachine()
	m.Readers = t.names
	m.State = t.state
	m.Open = func(ctx context.Context, name string) (checkup.Card, error) {
		slot, err := t.pcscSlot(strings.TrimPrefix(name, "pcsc:"))
		if err != nil {
			return nil, err
		}
		return t.openIn(ctx, slot)
	}
	m.Programs = func() []string {
		var names []string
		for _, p := range pcscPrograms() {
			names = append(names, p.Name)
		}
		return names
	}
	return m
}

// simMachine is one with a simulated reader only.
func (t *tool) simMachine(full string) checkup.Machine {
	var slot reader.Slot
	return checkup.Machine{
		Readers: func(ctx context.Context) (_ []string, err error) {
			slot, err = t.slot(ctx)
			return []string{full}, err
		},
		State: func(ctx context.Context, _ string) reader.Event {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return <-slot.Events(ctx)
		},
		Open: func(ctx context.Context, _ string) (checkup.Card, error) { return t.openIn(ctx, slot) },
	}
}

// openIn opens the card in a slot, 61xx and 6Cxx dealt with.
func (t *tool) openIn(ctx context.Context, slot reader.Slot) (checkup.Card, error) {
	l := &line{slot: slot}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	return whole{l}, nil
}

// whole is a line that hides T=0.
type whole struct{ *line }

// Transmit sends a command in the form of T=1.
func (w whole) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return w.whole().Transmit(ctx, command)
}

// Protocol is the protocol in use.
func (w whole) Protocol() reader.Protocol { return w.card.Protocol() }

// Close gives the card back.
func (w whole) Close() error { return w.card.Close() }
