package main

import (
	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
)

func newRootCommand() *cobra.Command {
	o := new(office)
	cmd := &cobra.Command{
		Use:   "utilityd",
		Short: "The utility's side",
		Long: "utilityd keeps the ledger and the keys of a utility, and lets its terminals in.\n" +
			"What changes something besides `serve` needs the daemon stopped; what only reads\n" +
			"works on a copy while the daemon runs.\n\n" + cli.ExitCodes,
		Version: version,
		Args:    cobra.NoArgs,
		RunE:    cli.Group,
	}
	cmd.PersistentFlags().StringVar(&o.path, "config", "", "configuration file")
	cmd.AddCommand(
		newServeCommand(o), newVaultCommand(o), newShopCommand(o), newFloatCommand(o), newAccountCommand(o), newBillCommand(o),
		newCardsCommand(o), newCardCommand(o), newReplaceCommand(o), newTerminalCommand(o), newEvidenceCommand(o), newReportCommand(o), newAuditCommand(o), newConfigCommand(),
	)
	return cmd
}
