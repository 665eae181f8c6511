package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/node"
)

func newReplaceCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "replace", Short: "Replacement of cards that can't be read", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newReplaceListCommand(o), newReplaceApproveCommand(o))
	return cmd
}

func newReplaceListCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "What counters asked for, with the evidence of each card's chain",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.read(cmd, func(ctx context.Context, s *utility.Service) error {
				list, err := s.Replacements(ctx)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				if len(list) == 0 {
					fmt.Fprintln(out, "nothing is asked for")
				}
				for _, r := range list {
					kind := "unnamed"
					if r.Named {
						kind = "named"
					}
					fmt.Fprintf(out, "%s  card %s (%s)  asked for %s at shop %s\n", r.Name, r.Card, kind, time.UnixMilli(r.At).In(money.CST).Format(time.DateTime), r.Shop)
					fmt.Fprintf(out, "  by the records it holds %s; besides, %d movements are unknown and %d are not done by a terminal's word alone\n", r.Balance, r.Unknown, r.Doubted)
					for _, t := range r.Silent {
						fmt.Fprintf(out, "  terminal %s has sent nothing since\n", t)
					}
					if why := r.Ready(time.Now()); why != "" {
						fmt.Fprintf(out, "  not yet: %s\n", why)
					} else {
						fmt.Fprintf(out, "  ready: utilityd replace approve %s\n", r.Name)
					}
				}
				return nil
			})
		},
	}
}

func newReplaceApproveCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "approve SLIP",
		Short: "Let the value that a card's chain proves wait under the number of the request",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			slip, err := journal.ParseName(args[0])
			if err != nil {
				return err
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				a, err := n.Service.Replace(ctx, slip)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s waits under %s at any counter\n", a, slip)
				return nil
			})
		},
	}
}
