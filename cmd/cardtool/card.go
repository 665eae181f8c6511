package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/dump"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
)

func newCardCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{Use: "card", Short: "A card of any kind: what is on it, and what changed", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newCardDumpCommand(t), newCardDiffCommand(t))
	return cmd
}

// dumped is a card as dump wants it.
type dumped struct {
	*line
}

func (d dumped) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return d.whole().Transmit(ctx, command)
}

var _ apdu.Transmitter = dumped{}

func newCardDumpCommand(t *tool) *cobra.Command {
	var out string
	var o dump.Options
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Take down what a card holds, known or not",
		Long: "Goes through a card of any kind: the purse of a known profile with balance,\n" +
			"counters and log; then directories and files by the usual identifiers, short\n" +
			"identifiers, and the names that profiles and the card itself give. What is found is\n" +
			"shown, what is refused is said. It presents no PIN and no key, writes nothing and\n" +
			"moves nothing (the counters are read by an INITIALIZE of zero yuan), and ends after\n" +
			"a number of exchanges and a time.\n\n" +
			"The JSON, with --json or in the file of --out, is:\n\n" +
			"  {format: 1, taken, atr, protocol, whole, asked,\n" +
			"   purse: {profile, number, valid_from, valid_to, balance_fen, load_counter,\n" +
			"           purchase_counter, log: [{type, amount_fen, counter, terminal, stamp}]},\n" +
			"   tree: [{id, sfi, name, kind, fci, data, records, refused, children}],\n" +
			"   refused: [{what, sw, means, count}], notes}",
		Example: "  cardtool card dump\n" +
			"  cardtool card dump --out card.json\n" +
			"  cardtool card dump --reader sim:plain --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				o.T0, o.Profiles = l.card.Protocol() == reader.T0, t.profiles()
				d, err := dump.Take(ctx, dumped{l}, o)
				if out != "" {
					if werr := writeDump(out, d); werr != nil {
						return errors.Join(err, werr)
					}
				}
				switch {
				case t.json && err == nil:
					return t.emit(cmd, d)
				case t.json:
					return errors.Join(t.emit(cmd, d), t.silent(err))
				}
				lines(cmd.OutOrStdout(), d.Lines())
				if out != "" {
					t.remark(cmd, "written to %s", out)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "write the dump as JSON to this file, which must not be there yet")
	f.BoolVar(&o.All, "all", false, "try every file identifier; takes long")
	f.DurationVar(&o.Limit, "limit", 2*time.Minute, "end after this time")
	return cmd
}

// silent lets an error be the exit code's and standard error's alone, when
// the one value on standard output has been written.
func (t *tool) silent(err error) error {
	t.json = false
	return err
}

// writeDump never replaces a file: a dump before is worth more than one after.
func writeDump(name string, d *dump.Dump) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	return errors.Join(d.Write(f), f.Close())
}

func newCardDiffCommand(t *tool) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:     "diff BEFORE AFTER",
		Short:   "Tell two dumps apart in words",
		Long:    "Tells what is different between two files of `cardtool card dump --out`, the purse\nfirst: balance, counters, new log records, then files. With --check it ends with\nexit code 4 when anything is.",
		Example: "  cardtool card diff before.json after.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d [2]*dump.Dump
			for i, name := range args {
				f, err := os.Open(name)
				if err != nil {
					return fmt.Errorf("%w: %w", cli.ErrUsage, err)
				}
				d[i], err = dump.Read(f)
				f.Close()
				if err != nil {
					return fmt.Errorf("%w: %s: %w", cli.ErrUsage, name, err)
				}
			}
			list := dump.Diff(d[0], d[1])
			if list == nil {
				list = []dump.Change{}
			}
			if t.json {
				if err := t.emit(cmd, list); err != nil {
					return err
				}
			} else {
				for _, c := range list {
					fmt.Fprintln(cmd.OutOrStdout(), c)
				}
				if len(list) == 0 {
					t.remark(cmd, "no difference")
				}
			}
			if check && len(list) > 0 {
				return t.silent(fmt.Errorf("%w: %d differences", cli.ErrDifference, len(list)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "exit code 4 when there is a difference")
	return cmd
}
