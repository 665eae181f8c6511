package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newAccountCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "Electricity accounts", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newAccountAddCommand(o))
	return cmd
}

func newAccountAddCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "add ACCOUNT OWNER",
		Short: "Open an account, or change its owner's masked name (张*)",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseAccountNumber(args[0])
			if err != nil {
				return err
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.AddAccount(ctx, id, args[1]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "account %s: %s\n", id, args[1])
				return nil
			})
		},
	}
}
