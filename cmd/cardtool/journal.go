package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
)

func newJournalCommand(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "What a terminal did: list it, export it as evidence, verify evidence",
		Long: "An evidence bundle is a file with entries of a terminal's journal in the very\n" +
			"bytes that were hashed, the terminal's signature and the utility's\n" +
			"acknowledgements. It verifies with no network and no secret. It holds no key and no\n" +
			"PIN, but whole card and account numbers: give it only to who may see them.",
		Args: cobra.NoArgs, RunE: cli.Group,
	}
	cmd.AddCommand(newJournalListCommand(t), newJournalShowCommand(t), newJournalVerifyCommand(t), newJournalExportCommand(t))
	return cmd
}

// folder is where a terminal that is not running keeps its file.
type folder struct{ dir, second string }

func (f *folder) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "state", "", "folder of the terminal, with terminal.db and terminal.keys; a daemon that runs there is asked")
	cmd.Flags().StringVar(&f.second, "copy", "", "second copy of unsent entries; empty: beside the file")
}

// bundle makes a bundle of the terminal's journal.
func (f *folder) bundle(cmd *cobra.Command, want evidence.Wish) (journal.Bundle, journal.Proof, error) {
	switch c, err := local.Dial(cmd.Context(), f.dir); {
	case err == nil:
		return f.asked(cmd, c, want)
	case errors.Is(err, local.ErrVersion), errors.Is(err, local.ErrPeer):
		return journal.Bundle{}, journal.Proof{}, daemonError(err)
	}
	b, p, err := station.Evidence(cmd.Context(), station.Config{Dir: f.dir, Copy: f.second, Check: station.Self()}, want)
	switch {
	case errors.Is(err, store.ErrInUse):
		err = &cli.Error{Err: fmt.Errorf("%s is %w", f.dir, cli.ErrInUse), Code: classInUse.Exit, Next: "its daemon is running, and nothing was opened; stop it first: systemctl stop kioskd"}
	case errors.Is(err, evidence.ErrWish):
		err = fmt.Errorf("%w: %w", cli.ErrUsage, err)
	case errors.Is(err, store.ErrCorrupt):
		err = &cli.Error{Err: err, Code: classFailed.Exit, Next: "the file is damaged; nothing was changed: cardtool rescue takes out what the utility does not have"}
	}
	return b, p, err
}

// asked asks the daemon that runs.
func (f *folder) asked(cmd *cobra.Command, c *local.Client, want evidence.Wish) (journal.Bundle, journal.Proof, error) {
	b, err := c.Evidence(cmd.Context(), want)
	if errors.Is(err, evidence.ErrWish) {
		err = fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	if err != nil {
		return b, journal.Proof{}, daemonError(err)
	}
	p, err := evidence.Trusted{}.Check(b)
	return b, p, err
}

// daemonError gives what a daemon said no to its class of fault.
func daemonError(err error) error {
	next := ""
	switch {
	case errors.Is(err, cli.ErrUsage), errors.Is(err, evidence.ErrNothing), errors.Is(err, evidence.ErrTooMuch):
		return err
	case errors.Is(err, local.ErrVersion):
		next = "use the cardtool that came with this kioskd"
	case errors.Is(err, local.ErrPeer):
		next = "run this as a member of the daemon's group, as its user or as root: sudo -u kiosk cardtool ..."
	}
	code := classHost.Exit
	var no *local.Refusal
	if errors.As(err, &no) {
		switch no.Code {
		case "no_card":
			code, next = classNoCard.Exit, "put the card into the terminal's reader"
		case "card_unreadable":
			code, next = classLost.Exit, "take the card out, look at its contacts, and put it in again"
		case "card_blocked", "card_expired", "test_card", "real_card":
			code, next = classRefused.Exit, "the terminal's screen says what to do with such a card"
		}
	}
	return &cli.Error{Err: err, Code: code, Next: next}
}

// proven reads a bundle and verifies it.
func proven(path string, trusted evidence.Trusted) (journal.Bundle, journal.Proof, error) {
	b, err := evidence.ReadFile(path)
	if errors.Is(err, journal.ErrBundle) {
		return b, journal.Proof{}, fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	}
	if err != nil {
		return b, journal.Proof{}, err
	}
	p, err := trusted.Check(b)
	switch {
	case errors.Is(err, evidence.ErrWish):
		err = fmt.Errorf("%w: %w", cli.ErrUsage, err)
	case err != nil:
		err = fmt.Errorf("verdict: %w: %w", cli.ErrDifference, err)
	}
	return b, p, err
}

func newJournalListCommand(t *tool) *cobra.Command {
	var f folder
	cmd := &cobra.Command{
		Use:   "list [FILE]",
		Short: "List the entries of an evidence bundle, or of a terminal",
		Long: "Lists the entries, oldest first, after verifying them. A card or an account is\n" +
			"shown by its last four digits.",
		Example: "  cardtool journal list shop.evidence",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.rows(cmd, &f, args, "")
		},
	}
	f.flags(cmd)
	return cmd
}

func newJournalShowCommand(t *tool) *cobra.Command {
	var f folder
	cmd := &cobra.Command{
		Use:     "show NUMBER [FILE]",
		Short:   "Show a transaction by its number on the slip, with all that belongs to it",
		Example: "  cardtool journal show 310100001234-1-2 shop.evidence",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.rows(cmd, &f, args[1:], args[0])
		},
	}
	f.flags(cmd)
	return cmd
}

// rows shows entries, all or those of a transaction.
func (t *tool) rows(cmd *cobra.Command, f *folder, args []string, transaction string) error {
	if (len(args) == 1) == (f.dir != "") {
		return fmt.Errorf("%w: give a FILE, or --state with the folder of a terminal", cli.ErrUsage)
	}
	var p journal.Proof
	var err error
	var b journal.Bundle
	if f.dir != "" {
		b, p, err = f.bundle(cmd, evidence.Wish{})
	} else {
		b, p, err = proven(args[0], evidence.Trusted{})
	}
	if err != nil {
		return err
	}
	var wanted evidence.Selection
	if transaction != "" {
		if wanted, err = (evidence.Wish{Transaction: transaction}).Selection(b.Terminal); err != nil {
			return fmt.Errorf("%w: %w", cli.ErrUsage, err)
		}
	}
	list := evidence.Rows(p, wanted)
	if len(list) == 0 {
		return fmt.Errorf("%w: %w", cli.ErrDifference, evidence.ErrNothing)
	}
	if t.json {
		return t.emit(cmd, list)
	}
	for _, r := range list {
		fmt.Fprintln(cmd.OutOrStdout(), r)
	}
	return nil
}

// provenJSON is what is proven of a run of entries.
type provenJSON struct {
	Epoch     uint32 `json:"epoch"`
	From      uint64 `json:"from"`
	Through   uint64 `json:"through"`
	Key       string `json:"terminal_key"`
	Head      string `json:"head"`
	Acked     uint64 `json:"acknowledged_through"`
	AckedAt   int64  `json:"acknowledged_at_ms,omitempty"`
	Withheld  int    `json:"not_posted"`
	SeenByKey string `json:"utility_key,omitempty"`
}

func newJournalVerifyCommand(t *tool) *cobra.Command {
	var trusted evidence.Trusted
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify an evidence bundle, and say what is proven and what is not",
		Long: "Needs nothing but the file. With the public keys that terminal and utility are\n" +
			"known by it also proves whose they are. What was altered, cut or put in another\n" +
			"order is named as exactly as the signatures allow, and then nothing is proven.",
		Example: "  cardtool journal verify shop.evidence",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, p, err := proven(args[0], trusted)
			if err != nil {
				return err
			}
			if !t.json {
				return evidence.Write(cmd.OutOrStdout(), b, p, trusted.Known())
			}
			out := []provenJSON{}
			for i, r := range p.Runs {
				j := provenJSON{Epoch: r.Head.Epoch, From: b.Runs[i].From, Through: r.Head.Seq, Key: fmt.Sprintf("%x", b.Runs[i].Key), Head: r.Head.Hash.String(), Acked: r.Through, AckedAt: r.At, Withheld: len(r.Held)}
				if r.Through > 0 {
					j.SeenByKey = fmt.Sprintf("%x", b.Utility)
				}
				out = append(out, j)
			}
			return t.emit(cmd, map[string]any{"terminal": b.Terminal.String(), "known": trusted.Known(), "runs": out})
		},
	}
	cmd.Flags().StringSliceVar(&trusted.Terminal, "terminal-key", nil, "public key by which the terminal is known, 64 hexadecimal digits; once for each epoch")
	cmd.Flags().StringSliceVar(&trusted.Utility, "utility-key", nil, "public key by which the utility is known, 64 hexadecimal digits")
	return cmd
}

func newJournalExportCommand(t *tool) *cobra.Command {
	var f folder
	var want evidence.Wish
	cmd := &cobra.Command{
		Use:   "export --state FOLDER FILE",
		Short: "Write entries of a terminal into an evidence bundle",
		Long: "--from and --to are transaction numbers as on slips, or days by the terminal's\n" +
			"clock; without them all entries are written. An existing file is never replaced.\n" +
			"A daemon that runs is asked for them: its file is not opened, and nothing is\n" +
			"waited for.",
		Example: "  cardtool journal export --state terminal all.evidence\n" +
			"  cardtool journal export --state terminal --from 2026-01-01 days.evidence",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, p, err := f.bundle(cmd, want)
			if err != nil {
				return err
			}
			if err := evidence.WriteFile(args[0], b); err != nil {
				return err
			}
			n := 0
			for _, r := range p.Runs {
				n += len(r.Entries)
			}
			if t.json {
				return t.emit(cmd, map[string]any{"file": args[0], "terminal": b.Terminal.String(), "entries": n})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d entries of terminal %s written to %s\n", n, b.Terminal, args[0])
			t.remark(cmd, "cardtool journal verify %s checks it on any machine", args[0])
			return nil
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&want.From, "from", "", "first entry: a transaction number, or a day as 2026-11-25")
	cmd.Flags().StringVar(&want.To, "to", "", "last entry, of the same kind as --from; empty: to the end")
	cmd.Flags().StringVar(&want.Transaction, "transaction", "", "a transaction number: all that belongs to it")
	cmd.MarkFlagsMutuallyExclusive("from", "transaction")
	cmd.MarkFlagsMutuallyExclusive("to", "transaction")
	if err := cmd.MarkFlagRequired("state"); err != nil {
		panic(err) // the flag is there
	}
	return cmd
}
