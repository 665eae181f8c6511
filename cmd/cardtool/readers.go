package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/local"
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
	Terminal string   `json:"terminal_has_it_for,omitempty"` // card, psam, load_sam
}

func newReadersCommand(t *tool) *cobra.Command {
	var sim bool
	cmd := &cobra.Command{
		Use:   "readers",
		Short: "List the readers and what is in them",
		Long: "Lists the readers with the numbers and names that --reader takes, and what is\n" +
			"in each: empty, card (with its answer to reset), mute (something is in, but it\n" +
			"does not answer), lost. Those that the terminal which runs here has are said to be\n" +
			"its; what only it can see stands at the end, without a number, and is named\n" +
			"terminal for purse info, balance and log.",
		Example: "  cardtool readers --sim\n" +
			"  cardtool readers --sim --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			list := []readerJSON{}
			names := simNames()
			var held []local.Reader
			if !sim {
				var err error
				held = heldReaders(ctx)
				if names, err = t.names(ctx); err != nil && len(held) == 0 {
					return err
				} else if err != nil {
					t.remark(cmd, "%v", err)
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
					r.ATR, r.Profiles = fmt.Sprintf("%X", ev.ATR), t.explainer().ProfilesOf(ev.ATR)
				}
				if ev.Cause != nil {
					r.Cause = ev.Cause.Error()
				}
				held = slices.DeleteFunc(held, func(h local.Reader) bool {
					if !sameReader(h.Name, n) {
						return false
					}
					r.Terminal = strings.TrimPrefix(r.Terminal+", "+h.Role, ", ") // one slot may be for both SAMs
					return true
				})
				list = append(list, r)
			}
			for _, h := range held {
				if i := slices.IndexFunc(list, func(r readerJSON) bool { return r.Name == h.Name }); i >= 0 {
					list[i].Terminal += ", " + h.Role
					continue
				}
				list = append(list, readerJSON{Name: h.Name, State: h.Holds, Terminal: h.Role})
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
				number := "-"
				if r.Number > 0 {
					number = strconv.Itoa(r.Number)
				}
				about := strings.TrimSpace(r.ATR + " " + r.Cause)
				if r.Terminal != "" {
					about = strings.TrimSpace(about + " the terminal has it for " + r.Terminal)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", number, name, r.State, about)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&sim, "sim", false, "list the simulated readers instead")
	return cmd
}
