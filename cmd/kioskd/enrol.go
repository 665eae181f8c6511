package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/store"
)

func newEnrolCommand() *cobra.Command {
	var path, code string
	cmd := &cobra.Command{
		Use:   "enrol",
		Short: "Become a terminal of the utility, with a one-time code from its office",
		Long: "Reads who the terminal is out of its SAMs, makes the terminal's keys, has the\nutility take them under the code, and makes the terminal's file. A terminal\n" +
			"that is enrolled again keeps its file and gets a new epoch in it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(path)
			if err != nil {
				return err
			}
			log, err := c.Log.New(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			sc, free, err := c.station(log)
			if err != nil {
				return err
			}
			defer free()
			err = station.Enrol(cmd.Context(), sc, code)
			if errors.Is(err, store.ErrInUse) {
				return fmt.Errorf("the terminal's file in %s is %w: stop the kioskd that runs on it", c.State, cli.ErrInUse)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "enrolled; the terminal's file and keys are in %s\n", c.State)
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&code, "code", "", "the one-time code")
	if err := cmd.MarkFlagRequired("code"); err != nil {
		panic(err) // the flag is there
	}
	return cmd
}
