package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newFloatCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "float", Short: "The prepaid float of shops", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newFloatPayCommand(o))
	return cmd
}

func newFloatPayCommand(o *office) *cobra.Command {
	var reference string
	var out bool
	cmd := &cobra.Command{
		Use:   "pay SHOP YUAN",
		Short: "Book float that a shop paid in at the bank",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseShopID(args[0])
			if err != nil {
				return err
			}
			amount, err := money.ParseYuan(args[1])
			if err != nil {
				return err
			}
			if out {
				amount = -amount
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.PayFloat(ctx, id, amount, reference); err != nil {
					return err
				}
				r, err := n.Service.ShopRoom(ctx, id)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "shop %s: float %s, room %s\n", id, r.Float, r.Room)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&out, "out", false, "the shop took it out")
	referenceFlag(cmd, &reference)
	return cmd
}

// referenceFlag adds the reference by which a booking is found again.
func referenceFlag(cmd *cobra.Command, s *string) {
	cmd.Flags().StringVar(s, "reference", "", "the bank's or the bill's number, by which it is found again")
	if err := cmd.MarkFlagRequired("reference"); err != nil {
		panic(err) // the flag is there
	}
}
