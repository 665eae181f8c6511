package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newCardCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "card", Short: "One card", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(
		newCardBlockCommand(o, true, "block", "Put a card on the hotlist"),
		newCardBlockCommand(o, false, "unblock", "Take a card from the hotlist"),
	)
	return cmd
}

func newCardBlockCommand(o *office, block bool, use, short string) *cobra.Command {
	return &cobra.Command{
		Use:   use + " CARD",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseCardNumber(args[0])
			if err != nil {
				return err
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				do := n.Service.UnblockCard
				if block {
					do = n.Service.BlockCard
				}
				if err := do(ctx, id); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "card %s: %sed; terminals learn it with their next sync\n", id, use)
				return nil
			})
		},
	}
}
