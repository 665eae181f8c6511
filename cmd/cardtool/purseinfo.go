package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/purse"
)

func newPurseInfoCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show what the card says of itself",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPurse(cmd.Context(), name, func(_ context.Context, app *purse.Application) error {
				i := app.Info()
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintf(w, "number\t%s\n", i.Number)
				fmt.Fprintf(w, "profile\t%s\n", app.Profile().Name)
				fmt.Fprintf(w, "issuer\t%X\n", i.Issuer)
				fmt.Fprintf(w, "test card\t%t\n", i.Test())
				fmt.Fprintf(w, "application\ttype %02X version %02X\n", i.AppType, i.AppVersion)
				fmt.Fprintf(w, "valid\t%s to %s\n", i.ValidFrom, i.ValidTo)
				fmt.Fprintf(w, "public file\t%X\n", i.Raw)
				return w.Flush()
			})
		},
	}
	readerFlag(cmd, &name)
	return cmd
}
