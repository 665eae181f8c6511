package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
)

func newReaderCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{Use: "reader", Short: "A reader itself, whatever is in it", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newReaderInfoCommand(t), newReaderTestCommand(t))
	return cmd
}

type attributeJSON struct {
	Name string `json:"name"`
	Hex  string `json:"hex"`
	Text string `json:"text"`
}

type featureJSON struct {
	Tag     byte   `json:"tag"`
	Name    string `json:"name"`
	Control uint32 `json:"control"`
}

type readerInfoJSON struct {
	Name       string          `json:"name"`
	State      string          `json:"state"`
	InUse      bool            `json:"in_use"`
	Exclusive  bool            `json:"exclusive"`
	Attributes []attributeJSON `json:"attributes"`
	Features   []featureJSON   `json:"features"`
	Programs   []program       `json:"programs"`
}

func newReaderInfoCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show attributes, features and firmware of a reader, and who uses it",
		Long: "Shows what the driver says of a reader: maker, model, driver version, serial\n" +
			"number, protocols, speeds, and features such as a PIN pad; whether its card is\n" +
			"in use, and by one program alone; and the programs of this machine that have\n" +
			"PC/SC open, one of which it must be. (Programs of other users are seen by root\n" +
			"only.)",
		Example: "  cardtool reader info",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			full, err := t.choose(cmd.Context())
			if err != nil {
				return err
			}
			i := pcsc.Info{Name: full}
			if isSim(full) || strings.HasPrefix(full, "serial:") {
				slot, err := t.slot(cmd.Context())
				if err != nil {
					return err
				}
				i.State = (<-slot.Events(cmd.Context())).State
				if isSim(full) {
					t.remark(cmd, "a simulated reader has no driver to ask")
				} else {
					t.remark(cmd, "cardtool reader test tells what is on a serial line")
				}
			} else {
				s, err := t.pcscService()
				if err != nil {
					return err
				}
				i, err = s.Info(cmd.Context(), strings.TrimPrefix(full, "pcsc:"))
				if errors.Is(err, reader.ErrBusy) { // then above all one wants to know by whom
					t.remark(cmd, "the driver cannot be asked while another program holds the reader")
				} else if err != nil {
					return err
				}
				i.Name = "pcsc:" + i.Name
			}
			out := readerInfoJSON{Name: i.Name, State: states[i.State], InUse: i.InUse, Exclusive: i.Exclusive, Attributes: []attributeJSON{}, Features: []featureJSON{}, Programs: pcscPrograms()}
			for _, a := range i.Attributes {
				out.Attributes = append(out.Attributes, attributeJSON{a.Name, fmt.Sprintf("%X", a.Value), a.Text()})
			}
			for _, f := range i.Features {
				out.Features = append(out.Features, featureJSON(f))
			}
			if t.json {
				return t.emit(cmd, out)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "name\t%s\n", out.Name)
			fmt.Fprintf(w, "state\t%s\n", out.State)
			use := "by nobody"
			if out.InUse {
				use = "shared"
			}
			if out.Exclusive {
				use = "by one program alone"
			}
			fmt.Fprintf(w, "card in use\t%s\n", use)
			for _, a := range out.Attributes {
				fmt.Fprintf(w, "%s\t%s\n", a.Name, a.Text)
			}
			for _, f := range out.Features {
				fmt.Fprintf(w, "feature %02X\t%s, control code %08X\n", f.Tag, f.Name, f.Control)
			}
			if len(out.Attributes) == 0 {
				fmt.Fprintf(w, "driver\tsays nothing more of itself\n")
			}
			if len(out.Programs) == 0 && (out.InUse || out.Exclusive) {
				fmt.Fprintf(w, "PC/SC open in\ta program of another user, which root sees: sudo cardtool reader info\n")
			}
			for _, p := range out.Programs {
				fmt.Fprintf(w, "PC/SC open in\t%s (process %d)\n", p.Name, p.PID)
			}
			return w.Flush()
		},
	}
}
