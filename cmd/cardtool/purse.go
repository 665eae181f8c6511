package main

import (
	"context"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
)

func newPurseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "purse", Short: "The purse on the card in the reader", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newPurseInfoCommand(), newPurseBalanceCommand(), newPurseLogCommand())
	return cmd
}

// withPurse selects the purse of the card in a reader.
func withPurse(ctx context.Context, name string, f func(context.Context, *purse.Application) error) error {
	return withCard(ctx, name, func(ctx context.Context, c reader.Card) error {
		app, err := purse.Select(ctx, c, profiles.Builtin().MatchCards(c.ATR()))
		if err != nil {
			return err
		}
		return f(ctx, app)
	})
}
