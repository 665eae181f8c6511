package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newCardsCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "cards", Short: "Runs of cards", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newCardsAddCommand(o))
	return cmd
}

func newCardsAddCommand(o *office) *cobra.Command {
	var profile, shop string
	var named bool
	cmd := &cobra.Command{
		Use:   "add FROM [TO]",
		Short: "Make a run of cards known, both ends included",
		Long: "Makes a run of cards known, both ends included. With --shop they are that shop's\n" +
			"stock; without it they are in customers' hands, active and empty.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := money.ParseCardNumber(args[0])
			if err != nil {
				return err
			}
			to := from
			if len(args) == 2 {
				if to, err = money.ParseCardNumber(args[1]); err != nil {
					return err
				}
			}
			var at money.ShopID
			if shop != "" {
				if at, err = money.ParseShopID(shop); err != nil {
					return err
				}
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.AddCards(ctx, from, to, profile, named, at); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "cards %s to %s\n", from, to)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "dianka-ep", "card profile")
	cmd.Flags().BoolVar(&named, "named", false, "named cards")
	cmd.Flags().StringVar(&shop, "shop", "", "the shop that may sell them")
	return cmd
}
