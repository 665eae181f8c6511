package main

import (
	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
)

func newRootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cardtool",
		Short:   "The technician's tool for cards and readers",
		Long:    "cardtool shows what a reader and a card say. Nothing here moves value.\n\n" + cli.ExitCodes,
		Version: version,
		Args:    cobra.NoArgs,
		RunE:    cli.Group,
	}
	cmd.AddCommand(newReadersCommand(), newATRCommand(), newPurseCommand())
	return cmd
}
