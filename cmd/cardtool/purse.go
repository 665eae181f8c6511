package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/purse"
)

func newPurseCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{Use: "purse", Short: "The purse on the card in the reader", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newPurseInfoCommand(t), newPurseBalanceCommand(t), newPurseLogCommand(t), newPurseProveCommand(t), newPurseVerifyCommand(t), newPurseLoadCommand(t), newPurseDebitCommand(t))
	return cmd
}

// withPurse selects the purse of the card in a reader.
func (t *tool) withPurse(cmd *cobra.Command, f func(context.Context, *purse.Application) error) error {
	return t.withCard(cmd, func(ctx context.Context, l *line) error {
		app, err := t.selectPurse(ctx, l)
		if err != nil {
			return err
		}
		return f(ctx, app)
	})
}

// selectPurse finds the purse by the profiles that the answer to reset allows.
func (t *tool) selectPurse(ctx context.Context, l *line) (*purse.Application, error) {
	app, err := purse.Select(ctx, l.whole(), t.profiles().MatchCards(l.ATR()))
	if errors.Is(err, purse.ErrNoPurse) && checkup.KindOf(ctx, whole{l}, t.profiles()) == checkup.KindSAM {
		return nil, &cli.Error{Err: fmt.Errorf("%s: this is a SAM: %w", l.slot.Name(), err), Code: classRefused.Exit,
			Next: "put the customer's card in, or choose its reader by --reader; cardtool psam info is for a SAM"}
	}
	return app, err
}
