package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/node"
)

func newTerminalCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "terminal", Short: "Terminals", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(
		newTerminalCodeCommand(o), newTerminalPolicyCommand(o),
		newTerminalBlockCommand(o, true, "block", "Withdraw a terminal's selling right; its entries are still taken"),
		newTerminalBlockCommand(o, false, "unblock", "Give a terminal its selling right back"),
	)
	return cmd
}

func newTerminalCodeCommand(o *office) *cobra.Command {
	var psam, loadSAM string
	cmd := &cobra.Command{
		Use:   "code TERMINAL SHOP",
		Short: "Print a one-time code with which a terminal of a shop is enrolled",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseTerminalID(args[0])
			if err != nil {
				return err
			}
			shop, err := money.ParseShopID(args[1])
			if err != nil {
				return err
			}
			sams := [2]money.SAMID{}
			for i, s := range []string{psam, loadSAM} {
				if s == "" {
					continue
				}
				if sams[i], err = money.ParseSAMID(s); err != nil {
					return err
				}
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				code, err := n.EnrolmentCode(ctx, id, shop, sams[0], sams[1])
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), code)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&psam, "psam", "", "number of the PSAM that the terminal must have; empty: any")
	cmd.Flags().StringVar(&loadSAM, "load-sam", "", "number of the load SAM that the terminal must have; empty: any")
	return cmd
}

func newTerminalPolicyCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "policy TERMINAL YUAN COUNT",
		Short: "Say how much unspent allowance, in yuan and in loads, its load SAM may hold",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseTerminalID(args[0])
			if err != nil {
				return err
			}
			amount, err := money.ParseYuan(args[1])
			if err != nil {
				return err
			}
			count, err := strconv.ParseUint(args[2], 10, 16)
			if err != nil {
				return fmt.Errorf("%q: not a number of loads", args[2])
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.SetAllowancePolicy(ctx, id, amount, uint32(count)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "terminal %s: up to %s in %d loads off line\n", id, amount, count)
				return nil
			})
		},
	}
}

func newTerminalBlockCommand(o *office, block bool, use, short string) *cobra.Command {
	return &cobra.Command{
		Use:   use + " TERMINAL",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := money.ParseTerminalID(args[0])
			if err != nil {
				return err
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				if err := n.Service.BlockTerminal(ctx, id, block); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "terminal %s: %sed\n", id, use)
				return nil
			})
		},
	}
}
