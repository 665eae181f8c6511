package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

func newATRCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "atr [HEX...]",
		Short: "Explain an answer to reset, given or of the card in the reader",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(strings.Join(args, "")))
				if err != nil {
					return fmt.Errorf("not hexadecimal: %w", err)
				}
				return explainATR(cmd, b)
			}
			return withCard(cmd.Context(), name, func(_ context.Context, c reader.Card) error { return explainATR(cmd, c.ATR()) })
		},
	}
	readerFlag(cmd, &name)
	return cmd
}

// explainATR shows also what is wrong, as far as it can be read.
func explainATR(cmd *cobra.Command, b []byte) error {
	a, err := apdu.ParseATR(b)
	fmt.Fprintln(cmd.OutOrStdout(), a)
	for _, line := range a.Explain() {
		fmt.Fprintln(cmd.OutOrStdout(), line)
	}
	return err
}
