package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/reader/pcsc"
)

func newReadersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "readers",
		Short: "List the readers, by the names that --reader and configurations take",
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
