package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/reader"
)

// states are the words for what a slot holds.
var states = map[reader.State]string{reader.StateUnknown: "unknown", reader.StateEmpty: "empty", reader.StateCard: "card", reader.StateMute: "mute", reader.StateLost: "lost"}

type readerJSON struct {
	Number   int      `json:"number"`
	Name     string   `json:"name"`
	Alias    string   `json:"alias,omitempty"`
	State    string   `json:"state"`
	ATR      string   `json:"atr,omitempty"`
	Profiles []string `json:"profiles,omitempty"`
	Event    uint32   `json:"event"`
	Cause    string   `json:"cause,omitempty"`
}

func newReadersCommand(t *tool) *cobra.Command {
	var sim bool
	cmd := &cobra.Command{
		Use:   "readers",
		Short: "List the readers and what is in them",
		Long: "Lists the readers with the numbers and names that --reader takes, and what is\n" +
			"in each: empty, card (with its answer to reset), mute (something is in, but it\n" +
			"does not answer), lost.",
		Example: "  cardtool readers --sim\n" +
			"  cardtool readers --sim --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			list := []readerJSON{}
			names := simNames()
			if !sim {
				var err error
				if names, err = t.names(ctx); err != nil {
					return err
				}
			}
			aliases, err := readAliases()
			if err != nil {
				return err
			}
			for i, n := range names {
				r := readerJSON{Number: i + 1, Name: n}
				var ev reader.Event
				if sim {
					slot, err := simSlot(strings.TrimPrefix(n, "sim:"))
					if err != nil {
						return err
					}
					ev = <-slot.Events(ctx)
					slot.Close()
				} else {
					ev = t.state(ctx, n)
				}
				for a, target := range aliases {
					if m, err := match(strings.TrimPrefix(target, "pcsc:"), names); err == nil && m == n || target == n {
						r.Alias = a
					}
				}
				r.State, r.Event = states[ev.State], ev.Count
				if len(ev.ATR) > 0 {
					r.ATR, r.Profiles = fmt.Sprintf("%X", ev.ATR), explain.Explainer{}.ProfilesOf(ev.ATR)
				}
				if ev.Cause != nil {
					r.Cause = ev.Cause.Error()
				}
				list = append(list, r)
			}
			if t.json {
				return t.emit(cmd, list)
			}
			if len(list) == 0 {
				t.remark(cmd, "no reader: plug it in; lsusb shows whether the computer sees it")
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range list {
				name := r.Name
				if r.Alias != "" {
					name += " (" + r.Alias + ")"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", r.Number, name, r.State, strings.TrimSpace(r.ATR+" "+r.Cause))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&sim, "sim", false, "list the simulated readers instead")
	return cmd
}
