package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
)

func newPurseBalanceCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:     "balance",
		Short:   "Read the balance, in yuan",
		Example: "  cardtool purse balance",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := func(number string, b money.Fen) error {
				if t.json {
					return t.emit(cmd, struct {
						Number  string `json:"number"`
						Balance int64  `json:"balance_fen"`
					}{number, int64(b)})
				}
				fmt.Fprintln(cmd.OutOrStdout(), b)
				return nil
			}
			return t.orAsk(cmd, func() error {
				return t.withPurse(cmd, func(ctx context.Context, app *purse.Application) error {
					b, err := app.Balance(ctx)
					if err != nil {
						return err
					}
					return show(app.Info().Number.String(), b)
				})
			}, func(ctx context.Context, c *local.Client) error {
				card, err := c.Card(ctx)
				if err != nil {
					return err
				}
				return show(card.Number, money.Fen(card.Balance))
			})
		},
	}
}
