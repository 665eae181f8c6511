package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
)

// guard stands before commands that can cost a try, move money or write.
type guard struct {
	yes, dryRun bool
	reads       bool // the card is read before the commands are known
}

func (g *guard) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&g.yes, "yes", false, "also what can cost a try of a PIN or key, move money or write")
	cmd.Flags().BoolVar(&g.dryRun, "dry-run", false, "show the exact commands and send nothing")
}

// triesUnknown is what can be said of tries before one is spent: purse cards
// tell only in the answer to a wrong PIN (purse.md section 6), and an empty
// VERIFY, which asks by ISO/IEC 7816-4, may count as a wrong one on them.
const triesUnknown = "how many tries are left the card tells only in the answer to a wrong one"

// check is called with the commands before anything is sent. done means that
// this was a dry run.
func (g *guard) check(t *tool, cmd *cobra.Command, commands [][]byte) (done bool, err error) {
	if g.dryRun {
		if t.json {
			out := apduJSON{Exchanges: []exchangeJSON{}}
			for _, c := range commands {
				out.Exchanges = append(out.Exchanges, exchangeJSON{Command: plainHex(redacted(c)), Meaning: explain.Name(c)})
			}
			return true, t.emit(cmd, out)
		}
		for _, c := range commands {
			l := redacted(c)
			l.Remark = explain.Name(c)
			if r := explain.RiskOf(c); r != explain.RiskNone {
				l.Remark += "; " + r.String()
			}
			fmt.Fprintln(cmd.OutOrStdout(), l)
		}
		if g.reads {
			t.remark(cmd, "the card was only read; of these nothing was sent")
		} else {
			t.remark(cmd, "nothing was sent")
		}
		return true, nil
	}
	for i, c := range commands {
		if err := g.permit(c); err != nil {
			if explain.RiskOf(c) == explain.RiskTries {
				t.remark(cmd, triesUnknown)
			}
			return false, fmt.Errorf("command %d: %w", i+1, err)
		}
	}
	return false, nil
}

// permit refuses a risky command without --yes.
func (g *guard) permit(command []byte) error {
	r := explain.RiskOf(command)
	if r == explain.RiskNone || g.yes {
		return nil
	}
	return &cli.Error{Err: fmt.Errorf("%s %s", explain.Name(command), r), Code: classUsage.Exit,
		Next: "nothing of it was sent; --dry-run shows what would be, --yes sends it"}
}

func redacted(c []byte) apdu.Line {
	return apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: c}, nil)
}
