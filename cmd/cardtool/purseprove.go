package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
)

type proofJSON struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Counter uint16 `json:"counter_after"`
	Proved  bool   `json:"proved"`
	TAC     string `json:"tac,omitempty"`
	MAC2    string `json:"mac2,omitempty"`
	Says    string `json:"says"`
}

func newPurseProveCommand(t *tool) *cobra.Command {
	var typ, after string
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Ask the card for the proof of its last transactions",
		Long: "Asks the card for its certificate of the last load and of the last purchase, or of\n" +
			"the transaction that --type and --counter name (the counter after it). The\n" +
			"counters of now are read by an INITIALIZE of zero yuan, which moves nothing. What\n" +
			"the card proves happened; that it has no proof means that the transaction did not\n" +
			"happen, or that the card keeps the proof of another one.",
		Example: "  cardtool purse prove\n" +
			"  cardtool purse prove --type 02 --counter 1",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			one, err := strconv.ParseUint(typ, 16, 8)
			if typ != "" && err != nil {
				return fmt.Errorf("%w: --type has two hex digits", cli.ErrUsage)
			}
			counter, err := strconv.ParseUint(after, 0, 16)
			if (after != "" && err != nil) || (typ == "") != (after == "") {
				return fmt.Errorf("%w: --type and --counter go together; the counter is 0 to 65535", cli.ErrUsage)
			}
			return t.withPurse(cmd, func(ctx context.Context, app *purse.Application) error {
				out := []proofJSON{}
				if typ != "" {
					p, err := prove(ctx, app, byte(one), uint16(counter))
					if err != nil {
						return err
					}
					out = append(out, p)
				} else {
					in, err := app.InitLoad(ctx, 0, money.TerminalID{})
					if err = t.noteRefusal(cmd, "the load counter", err); err != nil {
						return err
					} else if in.TxType != 0 {
						p, err := prove(ctx, app, in.TxType, in.Counter)
						if err != nil {
							return err
						}
						out = append(out, p)
					}
					buy, err := app.InitPurchase(ctx, 0, money.TerminalID{})
					if err = t.noteRefusal(cmd, "the purchase counter", err); err != nil {
						return err
					} else if buy.TxType != 0 {
						p, err := prove(ctx, app, buy.TxType, buy.Counter)
						if err != nil {
							return err
						}
						out = append(out, p)
					}
				}
				if t.json {
					return t.emit(cmd, out)
				}
				for _, p := range out {
					fmt.Fprintf(cmd.OutOrStdout(), "%s, counter after it %d: %s\n", p.Name, p.Counter, p.Says)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&typ, "type", "", "transaction type, two hex digits: 02 load, 06 purchase")
	cmd.Flags().StringVar(&after, "counter", "", "the counter after the transaction; 0x for hex")
	return cmd
}

// noteRefusal lets a refusal of the card be a remark.
func (t *tool) noteRefusal(cmd *cobra.Command, what string, err error) error {
	var sw apdu.SW
	if err != nil && errors.As(err, &sw) {
		t.remark(cmd, "%s cannot be read: %v", what, err)
		return nil
	}
	return err
}

func prove(ctx context.Context, app *purse.Application, typ byte, after uint16) (proofJSON, error) {
	out := proofJSON{Type: fmt.Sprintf("%02X", typ), Name: explain.TxName(typ), Counter: after}
	if after == 0 {
		out.Says = "there was none yet"
		return out, nil
	}
	p, err := app.Prove(ctx, typ, after)
	switch {
	case errors.Is(err, purse.ErrNoProof):
		out.Says = "the card has no proof of it"
		return out, nil
	case err != nil:
		return out, err
	}
	out.Proved, out.TAC = true, fmt.Sprintf("%X", p.TAC)
	out.Says = "proved, TAC " + out.TAC
	if typ == app.PurchaseType() {
		out.MAC2 = fmt.Sprintf("%X", p.MAC2)
		out.Says += ", MAC2 " + out.MAC2
	}
	return out, nil
}
