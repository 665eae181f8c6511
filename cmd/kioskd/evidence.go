package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
)

func newEvidenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Export what the terminal did as a file that proves itself, or verify such a file",
		Args:  cobra.NoArgs,
		RunE:  cli.Group,
	}
	cmd.AddCommand(newEvidenceExportCommand(), newEvidenceVerifyCommand())
	return cmd
}

func newEvidenceExportCommand() *cobra.Command {
	var path, state, out string
	var want evidence.Wish
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write entries of the journal, signed, with the utility's acknowledgements",
		Long: "Writes entries of the terminal's journal as they were hashed, the terminal's\n" +
			"signature and the utility's acknowledgements of them into one file that\n" +
			"`kioskd evidence verify` checks on any machine. The file holds no key and no\n" +
			"PIN, but whole card and account numbers: give it only to who may see them.\n" +
			"--from and --to are transaction numbers as on slips, or days by the terminal's\n" +
			"clock. The daemon must not run meanwhile.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, second := filepath.Join(state, "terminal"), ""
			if path != "" {
				c, err := loadConfig(path)
				if err != nil {
					return err
				}
				dir, second = c.State, c.Copy
			}
			return exportEvidence(cmd, dir, second, want, out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "config", "", "configuration file of the terminal")
	f.StringVar(&state, "state", "", "state folder of a kioskd --sim")
	f.StringVar(&want.From, "from", "", "first entry: a transaction number, or a day as 2026-11-25")
	f.StringVar(&want.To, "to", "", "last entry, of the same kind as --from; empty: to the end")
	f.StringVar(&want.Transaction, "transaction", "", "a transaction number: all that belongs to it")
	f.StringVar(&out, "out", "", "file to write; it must not exist")
	cmd.MarkFlagsOneRequired("config", "state")
	cmd.MarkFlagsMutuallyExclusive("config", "state")
	cmd.MarkFlagsOneRequired("from", "transaction")
	cmd.MarkFlagsMutuallyExclusive("from", "transaction")
	cmd.MarkFlagsMutuallyExclusive("to", "transaction")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is there
	}
	return cmd
}

func exportEvidence(cmd *cobra.Command, dir, second string, want evidence.Wish, out string) error {
	b, proof, err := station.Evidence(cmd.Context(), station.Config{Dir: dir, Copy: second, Check: station.Self()}, want)
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("the terminal's file in %s is %w: the daemon is running; stop it first", dir, cli.ErrInUse)
	case errors.Is(err, evidence.ErrWish):
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; `kioskd enrol` makes the terminal's file", err)
	case err != nil:
		return err
	}
	if err := evidence.WriteFile(out, b); err != nil {
		return err
	}
	for _, r := range proof.Runs {
		fmt.Fprintf(cmd.OutOrStdout(), "epoch %d: %d entries, up to %d; acknowledged by the utility up to %d\n", r.Head.Epoch, len(r.Entries), r.Head.Seq, r.Through)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "written to %s; `kioskd evidence verify` and `cardtool journal verify` check it on any machine\n", out)
	return nil
}

func newEvidenceVerifyCommand() *cobra.Command {
	var trusted evidence.Trusted
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a file that evidence export wrote, and say what happened and what is proven",
		Long: "Needs nothing but the file: no terminal, no network, no secret. With the keys\n" +
			"that the terminal and the utility are known by it also proves whose they are.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := evidence.ReadFile(args[0])
			if errors.Is(err, journal.ErrBundle) {
				return fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
			}
			if err != nil {
				return err
			}
			proof, err := trusted.Check(b)
			switch {
			case errors.Is(err, evidence.ErrWish):
				return fmt.Errorf("%w: %w", cli.ErrUsage, err)
			case err != nil:
				return fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
			}
			return evidence.Write(cmd.OutOrStdout(), b, proof, trusted.Known())
		},
	}
	cmd.Flags().StringSliceVar(&trusted.Terminal, "terminal-key", nil, "record key by which the terminal is known, 64 hexadecimal digits; once for each epoch")
	cmd.Flags().StringSliceVar(&trusted.Utility, "utility-key", nil, "key by which the utility is known, 64 hexadecimal digits")
	return cmd
}
