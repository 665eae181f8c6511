package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/purse"
)

func newPurseLogCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Read the card's own log, newest first; nothing in it is proved",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPurse(cmd.Context(), name, func(ctx context.Context, app *purse.Application) error {
				list, err := app.Log(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "date and time\ttype\tcounter\tyuan\tterminal")
				for _, r := range list {
					fmt.Fprintf(w, "%X\t%02X\t%d\t%s\t%s\n", r.Stamp[:], r.TxType, r.Counter, r.Amount, r.Terminal)
				}
				return w.Flush()
			})
		},
	}
	readerFlag(cmd, &name)
	return cmd
}
