package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/internal/terminalaudit"
	"github.com/dianka/dianka/store"
)

func newAuditCommand() *cobra.Command {
	var path, state string
	var quick bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Recompute everything that the terminal's file says from its journal, and compare",
		Long: "Verifies the chain of hashes over every entry and everything made from it, then\n" +
			"recomputes with code of its own what each card got and paid, each kind of\n" +
			"transaction, the drawer and what is unknown. The daemon must not run meanwhile.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, second := filepath.Join(state, "terminal"), ""
			if path != "" {
				c, err := loadConfig(path)
				if err != nil {
					return err
				}
				dir, second = c.State, c.Copy
			}
			return audit(cmd, dir, second, quick)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file of the terminal")
	cmd.Flags().StringVar(&state, "state", "", "state folder of a kioskd --sim")
	cmd.Flags().BoolVar(&quick, "quick", false, "only the end of the chain and what is open, in time that does not grow with the journal")
	cmd.MarkFlagsOneRequired("config", "state")
	cmd.MarkFlagsMutuallyExclusive("config", "state")
	return cmd
}

func audit(cmd *cobra.Command, dir, second string, quick bool) (err error) {
	if !quick { // which must not read the whole file
		err = station.Self()(cmd.Context(), station.StorePath(dir))
	}
	var st *store.Store
	if err == nil {
		st, err = store.Open(station.StorePath(dir), store.Options{Copy: second})
	}
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("the terminal's file in %s is %w: the daemon is running; stop it first", dir, cli.ErrInUse)
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; `kioskd enrol` makes the terminal's file", err)
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if quick {
		return quickAudit(cmd, st)
	}
	if _, err := st.Check(cmd.Context()); errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	} else if err != nil {
		return err
	}
	report, err := terminalaudit.Run(cmd.Context(), st)
	if err != nil && !errors.Is(err, terminalaudit.ErrDifference) {
		return err
	}
	if werr := report.Write(cmd.OutOrStdout()); werr != nil {
		return werr
	}
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrDifference, err)
	}
	return nil
}

// quickAudit rests on what store.Open has verified.
func quickAudit(cmd *cobra.Command, st *store.Store) error {
	open, err := st.OpenTransactions()
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	}
	if err != nil {
		return err
	}
	head := st.Head()
	fmt.Fprintf(cmd.OutOrStdout(), "terminal %s, epoch %d, %d entries, %d not acknowledged, %d unknown; the end of the chain verifies\n",
		head.Terminal, head.Epoch, head.Seq, st.Unsent().Count, len(open))
	for _, t := range open {
		fmt.Fprintf(cmd.OutOrStdout(), "  unknown %s %s\n", t.Name, t.Amount)
	}
	return nil
}
