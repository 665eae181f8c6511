package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/utility/audit"
	"github.com/dianka/dianka/utility/node"
)

func newAuditCommand(o *office) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Recompute the ledger from the raw records, and compare",
		Long: "Recomputes every account of value from the raw records with code of its own, and\n" +
			"compares. It works on a copy, also while the daemon runs.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" {
				// The passphrase of a desk protects test keys, which are public.
				return runAudit(cmd, node.Config{Dir: filepath.Join(state, "utility"), Passphrase: []byte("desk"), TestKeys: true})
			}
			_, nc, err := o.node(cmd)
			if err != nil {
				return err
			}
			return runAudit(cmd, nc)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "instead of --config: state folder of a kioskd --sim")
	return cmd
}

func runAudit(cmd *cobra.Command, nc node.Config) (err error) {
	c, err := node.OpenCopy(cmd.Context(), nc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	report, err := audit.Run(cmd.Context(), c.Storage, c.Vault, profiles.Builtin())
	if err != nil && !errors.Is(err, audit.ErrDifference) {
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
