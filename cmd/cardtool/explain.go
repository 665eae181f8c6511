package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/explain"
)

// maxTrace bounds a file to explain, in bytes.
const maxTrace = 64 << 20

func newExplainCommand(t *tool) *cobra.Command {
	var as string
	var brief bool
	cmd := &cobra.Command{
		Use:   "explain FILE|HEX...|-",
		Short: "Put commands, answers, traces and files into words, without a card",
		Long: "Explains, without a card and without a reader, what is given as a file, as\n" +
			"arguments or on standard input: commands, responses, status words (also as the\n" +
			"profiles mean them), answers to reset, TLV and what SELECT answers, the public\n" +
			"information file, log records, and a whole trace as a conversation with the money\n" +
			"that it moved. Two arguments, a command and an answer, are explained together. What it is,\n" +
			"is found out; --as says it: " + strings.Join(explain.Kinds, ", ") + ".\n\n" +
			"Bytes that mean nothing to it are shown. PINs and keys are not.",
		Example: "  cardtool explain 805000020B010000271031010000123410\n" +
			"  cardtool explain 9302\n" +
			"  cardtool explain session.trace\n" +
			"  cardtool explain 805C000204 00000BB89000\n" +
			"  cardtool explain --as log 00120000000000271002310100001234202509010945010000",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e := t.explainer()
			if joined, ok := bytesOf(args); ok {
				return t.explainText(cmd, e, strings.Join(joined, "\n"), explain.Kind(as), brief, "arguments")
			}
			if t.json && len(args) > 1 {
				return fmt.Errorf("%w: one file at a time with --json", explain.ErrInput)
			}
			for _, a := range args {
				b, err := readInput(cmd, a, maxTrace)
				if err != nil {
					return fmt.Errorf("%w: neither hexadecimal nor a file that can be read: %w", explain.ErrInput, err)
				}
				if err := t.explainText(cmd, e, string(b), explain.Kind(as), brief, a); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "what it is: "+strings.Join(explain.Kinds, ", "))
	cmd.Flags().BoolVar(&brief, "brief", false, "of a trace, sentences only, not every field")
	cmd.RegisterFlagCompletionFunc("as", cobra.FixedCompletions(explain.Kinds, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// bytesOf tells arguments that are bytes from names of files: a file of that
// name wins. Single bytes as separate arguments are one string of them.
func bytesOf(args []string) ([]string, bool) {
	single := len(args) > 2
	for _, a := range args {
		if _, err := os.Stat(a); a == "-" || err == nil || !errors.Is(err, fs.ErrNotExist) && strings.Contains(a, "/") {
			return nil, false
		}
		if _, err := explain.ParseHex(a); err != nil {
			return nil, false
		}
		single = single && len(a) == 2
	}
	if single {
		return []string{strings.Join(args, "")}, true
	}
	return args, true
}

func (t *tool) explainText(cmd *cobra.Command, e explain.Explainer, text string, as explain.Kind, brief bool, name string) error {
	parsed, err := explain.ParseText(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	bare := make([][]byte, 0, len(parsed.Bare))
	for i := range parsed.Trace.Lines {
		if b, ok := parsed.Bare[i+1]; ok {
			bare = append(bare, b)
		}
	}
	pair := as == explain.KindGuess && len(bare) == 2 && !parsed.IsTrace() && e.IsCommand(bare[0]) && e.EndsInStatus(bare[1]) && !e.IsCommand(bare[1])
	if pair {
		return t.notes(cmd, []explain.Note{e.Command(bare[0]), e.Response(bare[0], bare[1])})
	}
	if parsed.IsTrace() || as == explain.KindTrace || as == explain.KindGuess && parsed.HasRemarks() {
		c := e.Conversation(parsed.Trace, parsed.Bare)
		if t.json {
			return t.emit(cmd, c)
		}
		lines(cmd.OutOrStdout(), c.Lines(!brief))
		return nil
	}
	var notes []explain.Note
	for _, b := range bare {
		n, err := e.As(as, b)
		if err != nil {
			return err
		}
		notes = append(notes, n)
	}
	return t.notes(cmd, notes)
}

func (t *tool) notes(cmd *cobra.Command, notes []explain.Note) error {
	if t.json {
		return t.emit(cmd, notes)
	}
	for _, n := range notes {
		lines(cmd.OutOrStdout(), n.Lines())
	}
	return nil
}
