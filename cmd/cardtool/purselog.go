package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
)

type logJSON struct {
	Stamp    string `json:"stamp"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	Counter  uint16 `json:"counter"`
	Amount   int64  `json:"amount_fen"`
	Terminal string `json:"terminal"`
}

func newPurseLogCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:     "log",
		Short:   "Read the card's own log, newest first; nothing in it is proved",
		Example: "  cardtool purse log",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := func(out []logJSON) error {
				if t.json {
					return t.emit(cmd, out)
				}
				if len(out) == 0 {
					t.remark(cmd, "the log is empty")
					return nil
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "date and time\ttype\tcounter\tyuan\tterminal\t")
				for _, r := range out {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", r.Stamp, r.Type, r.Counter, money.Fen(r.Amount), r.Terminal, r.Name)
				}
				return w.Flush()
			}
			return t.orAsk(cmd, func() error {
				return t.withPurse(cmd, func(ctx context.Context, app *purse.Application) error {
					list, err := app.Log(ctx)
					if err != nil {
						return err
					}
					out := []logJSON{}
					for _, r := range list {
						out = append(out, logJSON{fmt.Sprintf("%X", r.Stamp[:]), fmt.Sprintf("%02X", r.TxType), explain.TxName(r.TxType), r.Counter, int64(r.Amount), r.Terminal.String()})
					}
					return show(out)
				})
			}, func(ctx context.Context, c *local.Client) error {
				list, err := c.Log(ctx)
				if err != nil {
					return err
				}
				out := []logJSON{}
				for _, r := range list {
					out = append(out, logJSON{r.Stamp, fmt.Sprintf("%02X", r.TxType), explain.TxName(r.TxType), r.Counter, r.Amount, r.Terminal})
				}
				return show(out)
			})
		},
	}
}
