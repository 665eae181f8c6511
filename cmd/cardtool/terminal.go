package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/money"
)

func newTerminalCommand(t *tool) *cobra.Command {
	var dir, wish, staff string
	cmd := &cobra.Command{
		Use:   "terminal",
		Short: "Ask the terminal that runs on this machine how it stands",
		Long: "Asks the running kioskd over the socket in its state folder: its journal, the line,\n" +
			"what is unsent and unknown, the readers that it holds. Its file is not opened.\n" +
			"The socket answers the daemon's own user, its group and root. With --wish it says\n" +
			"what became of a load or debit --through the terminal whose answer was lost; one\n" +
			"that had not begun will not begin any more.",
		Example: "  cardtool terminal --state live",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wish != "" {
				return t.tellWish(cmd, dir, staff, wish)
			}
			c, err := dialTerminal(cmd.Context(), dir)
			if err != nil {
				return err
			}
			s, err := c.State(cmd.Context())
			if err != nil {
				return daemonError(err)
			}
			if t.json {
				return t.emit(cmd, s)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			row := func(what, format string, args ...any) { fmt.Fprintf(w, what+"\t"+format+"\n", args...) }
			row("terminal", "%s of shop %s, %s", s.Terminal, s.Shop, s.Program)
			row("journal", "epoch %d, %d entries", s.Epoch, s.Entries)
			line := "off line"
			if s.Online {
				line = "on line"
			}
			if s.Standing != "" {
				line += ", the utility says: " + s.Standing
			}
			row("line", "%s", line)
			oldest := ""
			if s.Oldest > 0 {
				oldest = ", the oldest of " + time.UnixMilli(s.Oldest).In(money.CST).Format(time.DateTime)
			}
			row("unsent", "%d entries%s", s.Unsent, oldest)
			row("unknown", "%d transactions", s.Unknown)
			if s.Shift > 0 {
				row("shift", "%d is open", s.Shift)
			}
			if !s.LastSync.IsZero() {
				row("last sync", "%s, clocks %s apart", s.LastSync.In(money.CST).Format(time.DateTime), (time.Duration(s.Skew) * time.Millisecond).Abs())
			}
			if !s.Certificate.IsZero() {
				row("certificate", "until %s", s.Certificate.In(money.CST).Format(time.DateOnly))
			}
			if s.Allowance.Known {
				row("allowance", "%s yuan in %d loads off line", money.Fen(s.Allowance.Amount), s.Allowance.Count)
			}
			row("card", "%s", s.Card)
			for _, r := range s.Readers {
				row("holds", "%s for %s", r.Name, r.Role)
			}
			for _, x := range s.Warnings {
				row("warning", "%s", x)
			}
			if s.Copy {
				row("warning", "the second copy of unsent entries is not whole")
			}
			if s.Busy {
				row("warning", "value is moving now: touch nothing")
			}
			if s.Stopped {
				row("warning", "it could not write its file and serves nothing until it is restarted")
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&dir, "state", stateDir(), "state folder of the terminal (default $"+stateEnv+")")
	cmd.Flags().StringVar(&wish, "wish", "", "name of a wish whose answer was lost")
	cmd.Flags().StringVar(&staff, "staff", "", "with --wish: your staff number; the PIN is asked for")
	cmd.MarkFlagsRequiredTogether("wish", "staff")
	return cmd
}
