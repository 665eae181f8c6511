package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/wire"
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

// wish is which entries an export is asked for.
type wish struct{ from, to, transaction string }

func newEvidenceExportCommand() *cobra.Command {
	var path, state, out string
	var want wish
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
	f.StringVar(&want.from, "from", "", "first entry: a transaction number, or a day as 2026-11-25")
	f.StringVar(&want.to, "to", "", "last entry, of the same kind as --from; empty: to the end")
	f.StringVar(&want.transaction, "transaction", "", "a transaction number: all that belongs to it")
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

// selection reads what is wanted of terminal t.
func (w wish) selection(t money.TerminalID) (evidence.Selection, error) {
	name := func(s string) (journal.Name, error) {
		n, err := journal.ParseName(s)
		if err == nil && n.Terminal != t {
			err = fmt.Errorf("%s is of another terminal; this is %s", s, t)
		}
		return n, err
	}
	usage := func(err error) (evidence.Selection, error) { return nil, fmt.Errorf("%w: %w", cli.ErrUsage, err) }
	if w.transaction != "" {
		n, err := name(w.transaction)
		if err != nil {
			return usage(err)
		}
		return evidence.Transaction(n), nil
	}
	if from, err := day(w.from); err == nil {
		to := time.UnixMilli(1<<62 - 1)
		if w.to != "" {
			if to, err = day(w.to); err != nil {
				return usage(fmt.Errorf("--to is a day when --from is one, not %q", w.to))
			}
			to = to.AddDate(0, 0, 1)
		}
		return evidence.Within(from, to), nil
	}
	from, err := name(w.from)
	if err != nil {
		return usage(fmt.Errorf("%w, nor a day", err))
	}
	var to journal.Ref
	if w.to != "" {
		n, err := name(w.to)
		if err != nil {
			return usage(err)
		}
		to = n.Ref()
	}
	return evidence.Between(from.Ref(), to), nil
}

func day(s string) (time.Time, error) { return time.ParseInLocation(time.DateOnly, s, money.CST) }

func exportEvidence(cmd *cobra.Command, dir, second string, want wish, out string) (err error) {
	if err := checkInChild()(cmd.Context(), station.StorePath(dir)); err != nil {
		return err
	}
	st, err := store.Open(station.StorePath(dir), store.Options{Copy: second})
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("the terminal's file in %s is %w: the daemon is running; stop it first", dir, cli.ErrInUse)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; `kioskd enrol` makes the terminal's file", err)
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	keys, err := uplink.LoadKeys(station.KeysPath(dir))
	if err != nil {
		return err
	}
	selected, err := want.selection(st.Identity().Terminal)
	if err != nil {
		return err
	}
	b, proof, err := evidence.Export(st, evidence.Keys{Signer: keys.Signer, Utility: keys.Utility[:]}, selected)
	if err != nil {
		return err
	}
	if err := writeNew(out, b.Bytes()); err != nil {
		return err
	}
	for _, r := range proof.Runs {
		fmt.Fprintf(cmd.OutOrStdout(), "epoch %d: %d entries, up to %d; acknowledged by the utility up to %d\n", r.Head.Epoch, len(r.Entries), r.Head.Seq, r.Through)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "written to %s; `kioskd evidence verify` checks it on any machine\n", out)
	return nil
}

// writeNew makes a file whole and on disk, or none, and never replaces one.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func newEvidenceVerifyCommand() *cobra.Command {
	var terminal, utility []string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a file that evidence export wrote, and say what happened and what is proven",
		Long: "Needs nothing but the file: no terminal, no network, no secret. With the keys\n" +
			"that the terminal and the utility are known by it also proves whose they are.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readBundle(args[0])
			if err != nil {
				return err
			}
			proof, err := b.Verify(wire.Witness(b.Utility[:]))
			if err != nil {
				return fmt.Errorf("verdict: %w: nothing in this file is proven: %w", cli.ErrDifference, err)
			}
			if err := known(b, terminal, utility); err != nil {
				return err
			}
			return evidence.Write(cmd.OutOrStdout(), b, proof, evidence.Known{Terminal: len(terminal) > 0, Utility: len(utility) > 0})
		},
	}
	cmd.Flags().StringSliceVar(&terminal, "terminal-key", nil, "record key by which the terminal is known, 64 hexadecimal digits; once for each epoch")
	cmd.Flags().StringSliceVar(&utility, "utility-key", nil, "key by which the utility is known, 64 hexadecimal digits")
	return cmd
}

func readBundle(path string) (journal.Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return journal.Bundle{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, journal.MaxBundle+1))
	if err != nil {
		return journal.Bundle{}, err
	}
	if len(raw) > journal.MaxBundle {
		return journal.Bundle{}, fmt.Errorf("verdict: %w: %w: longer than a bundle may be", cli.ErrDifference, journal.ErrBundle)
	}
	b, err := journal.ParseBundle(raw)
	if err != nil {
		return journal.Bundle{}, fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	}
	return b, nil
}

// known makes sure that a bundle names no key but those got otherwise.
func known(b journal.Bundle, terminal, utility []string) error {
	for _, k := range []struct {
		flag  string
		known []string
		have  [][ed25519.PublicKeySize]byte
	}{{"terminal-key", terminal, recordKeys(b)}, {"utility-key", utility, [][ed25519.PublicKeySize]byte{b.Utility}}} {
		var known [][]byte
		for _, s := range k.known {
			key, err := hex.DecodeString(s)
			if err != nil || len(key) != ed25519.PublicKeySize {
				return fmt.Errorf("%w: --%s is 64 hexadecimal digits", cli.ErrUsage, k.flag)
			}
			known = append(known, key)
		}
		for _, have := range k.have {
			if len(known) > 0 && !slices.ContainsFunc(known, func(x []byte) bool { return bytes.Equal(x, have[:]) }) {
				return fmt.Errorf("verdict: %w: the file names the key %x, which is not --%s", cli.ErrDifference, have, k.flag)
			}
		}
	}
	return nil
}

func recordKeys(b journal.Bundle) (out [][ed25519.PublicKeySize]byte) {
	for _, r := range b.Runs {
		out = append(out, r.Key)
	}
	return out
}
