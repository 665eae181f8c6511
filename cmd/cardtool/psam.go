package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
)

func newPSAMCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{Use: "psam", Short: "The terminal's secure module", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newPSAMInfoCommand(t))
	return cmd
}

type loadSAMJSON struct {
	Allowance uint32 `json:"allowance"`
	Ceiling   int64  `json:"ceiling_fen"`
	Loads     uint32 `json:"ceiling_loads"`
	Given     int64  `json:"given_fen"`
	Count     uint32 `json:"loads"`
}

type samJSON struct {
	Profile   string       `json:"profile"`
	SAM       string       `json:"sam"`
	Terminal  string       `json:"terminal"`
	KeyIndex  byte         `json:"key_index"`
	ValidFrom string       `json:"valid_from"`
	ValidTo   string       `json:"valid_to"`
	Test      bool         `json:"test"`
	PSAM      bool         `json:"psam"`
	LoadSAM   *loadSAMJSON `json:"load_sam,omitempty"`
}

func newPSAMInfoCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show number, terminal, key index and limits of a SAM",
		Long: "Finds out by its files whether the card is a PSAM, a load SAM or both, and shows\n" +
			"its number, the terminal number that it puts into every MAC, the index of the\n" +
			"card key that fits it, and its validity; of a load SAM what it gave and may give.\n" +
			"It uses up no sequence number.",
		Example: "  cardtool psam info --reader sim:sam",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.sam = true
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				out, err := readSAM(ctx, l.whole(), t.profiles().SAMs)
				if err != nil {
					return err
				}
				if t.json {
					return t.emit(cmd, out)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintf(w, "SAM\t%s\n", out.SAM)
				fmt.Fprintf(w, "profile\t%s\n", out.Profile)
				fmt.Fprintf(w, "terminal\t%s\n", out.Terminal)
				fmt.Fprintf(w, "key index\t%02X\n", out.KeyIndex)
				fmt.Fprintf(w, "valid\t%s to %s\n", out.ValidFrom, out.ValidTo)
				fmt.Fprintf(w, "test SAM\t%t\n", out.Test)
				fmt.Fprintf(w, "PSAM\t%t\n", out.PSAM)
				if s := out.LoadSAM; s != nil {
					fmt.Fprintf(w, "load SAM\tallowance %d, gave %s of %s yuan in %d of %d loads\n", s.Allowance, money.Fen(s.Given), money.Fen(s.Ceiling), s.Count, s.Loads)
				} else {
					fmt.Fprintf(w, "load SAM\tfalse\n")
				}
				return w.Flush()
			})
		},
	}
}

// readSAM finds out what a SAM is. It fails with purse.ErrNotPSAM when it is
// none.
func readSAM(ctx context.Context, c purse.Card, known []profiles.SAM) (*samJSON, error) {
	out := &samJSON{}
	fill := func(s *purse.SAM) {
		out.SAM, out.Terminal, out.KeyIndex, out.Test = s.Serial().String(), s.Terminal().String(), s.KeyIndex(), s.Test()
		out.ValidFrom, out.ValidTo = s.ValidFrom().String(), s.ValidTo().String()
	}
	// One profile at a time, so that the one that fits has a name; the ones
	// with both applications first, since the others fit their cards too.
	var none error = purse.ErrNotPSAM
	for _, both := range []bool{true, false} {
		for _, p := range known {
			if (p.PSAM != nil && p.LoadSAM != nil) != both {
				continue
			}
			one := []profiles.SAM{p}
			found := true
			if p.LoadSAM != nil {
				s, err := purse.OpenLoadSAM(ctx, c, one)
				switch {
				case errors.Is(err, purse.ErrNotLoadSAM):
					found = false
				case err != nil:
					return nil, err
				default:
					fill(s.SAM)
					st, _, err := s.State(ctx, [8]byte{})
					if err != nil {
						return nil, err
					}
					out.LoadSAM = &loadSAMJSON{st.Sequence, int64(st.CeilingAmount), st.CeilingCount, int64(st.Total), st.Count}
				}
			}
			if p.PSAM != nil && found {
				s, err := purse.OpenPSAM(ctx, c, one)
				switch {
				case errors.Is(err, purse.ErrNotPSAM):
					found, none = false, err
				case err != nil:
					return nil, err
				default:
					fill(s.SAM)
					out.PSAM = true
				}
			}
			if found {
				out.Profile = p.Name
				return out, nil
			}
			*out = samJSON{}
		}
	}
	return nil, none
}
