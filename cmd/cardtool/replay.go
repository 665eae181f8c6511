package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/script"
)

func newReplayCommand(t *tool) *cobra.Command {
	var g guard
	var quiet bool
	cmd := &cobra.Command{
		Use:   "replay TRACE",
		Short: "Run a recorded session again and show the first byte that differs",
		Long: "Sends the commands of a trace, as they stand, to the card in the reader or to a\n" +
			"simulated one, and compares each answer with the recorded one, up to the first\n" +
			"byte that differs; exit code 4. Answers with random numbers differ by nature. A\n" +
			"command of which bytes were taken out, or that is not recorded, cannot be sent\n" +
			"again: nothing is.",
		Example: "  cardtool replay session.trace\n" +
			"  cardtool replay --dry-run session.trace",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readInput(cmd, args[0], maxTrace)
			if err != nil {
				return err
			}
			text, err := replayable(args[0], string(b))
			if err != nil {
				return err
			}
			s, err := script.Parse(args[0], text)
			if err != nil {
				return err
			}
			if done, err := g.script(t, cmd, s, nil); done || err != nil {
				return err
			}
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				return t.runScript(ctx, cmd, l, s, script.Options{Permit: g.permit}, quiet)
			})
		},
	}
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show the first difference only, not each exchange")
	g.flags(cmd)
	return cmd
}

// replayable makes the script of a trace: its commands, its recorded answers,
// its resets, line for line.
func replayable(name, text string) (string, error) {
	var out strings.Builder
	r := apdu.NewReader(strings.NewReader(text))
	commands := 0
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%w: %s: %w", cli.ErrUsage, name, err)
		}
		switch {
		case l.Kind == apdu.LineCommand && (l.Unknown != "" || l.Redacted != nil):
			return "", fmt.Errorf("%w: %s:%d: bytes of this command are not in the trace; it cannot be sent again", cli.ErrUsage, name, r.Line())
		case l.Kind == apdu.LineCommand:
			commands++
			l.Remark = ""
			out.WriteString(l.String())
		case l.Kind == apdu.LineResponse && l.Unknown == "":
			l.Remark = ""
			out.WriteString(l.String())
		case l.Kind == apdu.LineRemark && l.Remark == "reset":
			out.WriteString("reset")
		}
		out.WriteByte('\n')
	}
	if commands == 0 {
		return "", fmt.Errorf("%w: %s: there is no command in it", cli.ErrUsage, name)
	}
	return out.String(), nil
}
