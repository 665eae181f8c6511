package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/node"
)

func newBillCommand(o *office) *cobra.Command {
	var reference string
	var back bool
	cmd := &cobra.Command{
		Use:   "bill ACCOUNT YUAN",
		Short: "Book what a customer owes",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseAccountNumber(args[0])
			if err != nil {
				return err
			}
			amount, err := money.ParseYuan(args[1])
			if err != nil {
				return err
			}
			if back {
				amount = -amount
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.Bill(ctx, id, amount, reference); err != nil {
					return err
				}
				b, err := n.Service.Balance(ctx, ledger.Customer(id))
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "account %s: balance %s\n", id, b)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&back, "back", false, "take it back")
	referenceFlag(cmd, &reference)
	return cmd
}
