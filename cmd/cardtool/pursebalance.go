package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/purse"
)

func newPurseBalanceCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "balance",
		Short: "Read the balance, in yuan",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPurse(cmd.Context(), name, func(ctx context.Context, app *purse.Application) error {
				b, err := app.Balance(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), b)
				return nil
			})
		},
	}
	readerFlag(cmd, &name)
	return cmd
}
