package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/station"
)

func newRootCommand() *cobra.Command {
	var s sim
	cmd := &cobra.Command{
		Use:     "kioskd",
		Short:   "The terminal's daemon",
		Long:    "kioskd is the daemon of a terminal. `kioskd --sim` is the whole system on one\ndesk: utility, terminal, and simulated cards, with nothing to install.\n\n" + cli.ExitCodes,
		Version: version,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !s.on {
				return fmt.Errorf("%w: say what to do: `kioskd --sim` for a desk to try, `kioskd serve` for a shop, `kioskd --help` for the rest", cli.ErrUsage)
			}
			return s.run(cmd)
		},
	}
	s.flags(cmd.Flags())
	cmd.AddCommand(newServeCommand(), newEnrolCommand(), newAuditCommand(), newRecoverCommand(), newEvidenceCommand(), station.NewCheckCommand(), newDoctorCommand(), newConfigCommand(), newHashPINCommand(), newReadersCommand())
	return cmd
}
