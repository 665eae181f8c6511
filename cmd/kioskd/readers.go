package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/reader/pcsc"
)

func newReadersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "readers",
		Short: "List the card readers of this machine, as the configuration names them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			service, err := pcsc.New(pcsc.Options{})
			if err != nil {
				return err
			}
			defer service.Close()
			names, err := service.List(cmd.Context())
			for _, n := range names {
				fmt.Fprintf(cmd.OutOrStdout(), "pcsc:%s\n", n)
			}
			return err
		},
	}
}
