package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/purse"
)

type purseInfoJSON struct {
	Number     string `json:"number"`
	Profile    string `json:"profile"`
	Issuer     string `json:"issuer"`
	Test       bool   `json:"test"`
	AppType    byte   `json:"app_type"`
	AppVersion byte   `json:"app_version"`
	ValidFrom  string `json:"valid_from"`
	ValidTo    string `json:"valid_to"`
	Raw        string `json:"raw"`
}

func newPurseInfoCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:     "info",
		Short:   "Show what the card says of itself",
		Long:    "Finds the purse by the profiles, and shows the public information file: number,\nissuer, validity.",
		Example: "  cardtool purse info",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := func(out purseInfoJSON) error {
				if t.json {
					return t.emit(cmd, out)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintf(w, "number\t%s\n", out.Number)
				fmt.Fprintf(w, "profile\t%s\n", out.Profile)
				fmt.Fprintf(w, "issuer\t%s\n", out.Issuer)
				fmt.Fprintf(w, "test card\t%t\n", out.Test)
				fmt.Fprintf(w, "application\ttype %02X version %02X\n", out.AppType, out.AppVersion)
				fmt.Fprintf(w, "valid\t%s to %s\n", out.ValidFrom, out.ValidTo)
				fmt.Fprintf(w, "public file\t%s\n", out.Raw)
				return w.Flush()
			}
			return t.orAsk(cmd, func() error {
				return t.withPurse(cmd, func(_ context.Context, app *purse.Application) error {
					i := app.Info()
					return show(purseInfoJSON{i.Number.String(), app.Profile().Name, fmt.Sprintf("%X", i.Issuer), i.Test(), i.AppType, i.AppVersion, i.ValidFrom.String(), i.ValidTo.String(), fmt.Sprintf("%X", i.Raw)})
				})
			}, func(ctx context.Context, c *local.Client) error {
				i, err := c.Card(ctx)
				if err != nil {
					return err
				}
				return show(purseInfoJSON{i.Number, i.Profile, i.Issuer, i.Test, i.AppType, i.AppVersion, i.ValidFrom, i.ValidTo, i.Raw})
			})
		},
	}
}
