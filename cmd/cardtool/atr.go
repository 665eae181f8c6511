package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
)

type atrJSON struct {
	ATR        string   `json:"atr"`
	Valid      bool     `json:"valid"`
	Error      string   `json:"error,omitempty"`
	Protocols  []string `json:"protocols"`
	Historical string   `json:"historical"`
	Profiles   []string `json:"profiles"`
	Explained  []string `json:"explained"`
}

func newATRCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "atr [HEX...]",
		Short: "Explain an answer to reset, given or of the card in the reader",
		Long: "Explains every byte of an answer to reset, given in hex or that of the card in\n" +
			"the reader, with its historical bytes and the profiles that are meant for it.",
		Example: "  cardtool atr 3B 6E 00 00 00 31 C0 71 C6 65 01 00 00 00 00 00 00 00\n" +
			"  cardtool atr",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				b, err := explain.ParseHex(strings.Join(args, ""))
				if err != nil {
					return fmt.Errorf("%w: not hexadecimal", cli.ErrUsage)
				}
				return t.explainATR(cmd, b)
			}
			return t.withCard(cmd, func(_ context.Context, l *line) error { return t.explainATR(cmd, l.ATR()) })
		},
	}
}

// explainATR shows also what is wrong, as far as it can be read.
func (t *tool) explainATR(cmd *cobra.Command, b []byte) error {
	a, err := apdu.ParseATR(b)
	out := atrJSON{ATR: fmt.Sprintf("%X", b), Valid: err == nil, Protocols: protocols(a), Historical: fmt.Sprintf("%X", a.Historical), Profiles: t.explainer().ProfilesOf(b), Explained: a.Explain()}
	if err != nil {
		out.Error = err.Error()
	}
	if t.json {
		if out.Profiles == nil {
			out.Profiles = []string{}
		}
		return t.emit(cmd, out)
	}
	fmt.Fprintln(cmd.OutOrStdout(), out.ATR)
	lines(cmd.OutOrStdout(), out.Explained)
	if len(b) >= 2 {
		t.remark(cmd, "%s", summary(a, out.Profiles))
	}
	return err
}
