package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/utility/node"
)

func newEvidenceCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "evidence", Short: "Entries that did not come over the line", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newEvidenceTakeCommand(o))
	return cmd
}

func newEvidenceTakeCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "take FILE",
		Short: "Take in what `cardtool rescue` found on a dead terminal's disk",
		Long: "Takes the entries through the same intake as those that a terminal sends: chain,\n" +
			"signature and cryptograms are verified, what can't be accepted is held with its\n" +
			"reason. What the utility has is not taken again: a second hand-in posts nothing.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := evidence.ReadFile(args[0])
			if errors.Is(err, journal.ErrBundle) {
				return fmt.Errorf("%w: %w; nothing was taken", cli.ErrDifference, err)
			}
			if err != nil {
				return err
			}
			if _, err := (evidence.Trusted{}).Check(b); err != nil {
				return fmt.Errorf("%w: %w; nothing was taken", cli.ErrDifference, err)
			}
			return o.change(cmd, func(ctx context.Context, n *node.Node) error {
				done, err := n.Service.HandIn(ctx, b)
				for _, d := range done {
					fmt.Fprintf(cmd.OutOrStdout(), "entries %s to %s: %d new; stored up to entry %d\n", d.From, d.Through, d.New, d.Stored)
					for _, v := range d.Verdicts {
						fmt.Fprintf(cmd.OutOrStdout(), "  entry %d was stored and not posted: %s\n", v.Seq, v.Reason)
					}
				}
				if err != nil {
					return fmt.Errorf("%w: %w", cli.ErrDifference, err)
				}
				return nil
			})
		},
	}
}
