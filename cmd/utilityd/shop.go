package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newShopCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "shop", Short: "Shops", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newShopAddCommand(o))
	return cmd
}

func newShopAddCommand(o *office) *cobra.Command {
	var ceiling yuan
	cmd := &cobra.Command{
		Use:   "add SHOP NAME",
		Short: "Add a shop, or change its name and ceiling",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseShopID(args[0])
			if err != nil {
				return err
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.AddShop(ctx, id, args[1], money.Fen(ceiling)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "shop %s: %s, ceiling %s\n", id, args[1], money.Fen(ceiling))
				return nil
			})
		},
	}
	cmd.Flags().Var(&ceiling, "ceiling", "how far the float may go below zero")
	return cmd
}
