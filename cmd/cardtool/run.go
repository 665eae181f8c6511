package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/script"
)

type failureJSON struct {
	Line int    `json:"line"`
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	At   int    `json:"at"`
}

// refusedJSON is a refusal of which the script expected nothing.
type refusedJSON struct {
	Line int    `json:"line"`
	SW   string `json:"sw"`
}

type printJSON struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

type runJSON struct {
	Script    string        `json:"script"`
	Exchanges int           `json:"exchanges"`
	Cards     int           `json:"cards"`
	Failures  []failureJSON `json:"failures"`
	Refused   []refusedJSON `json:"refused"`
	Prints    []printJSON   `json:"prints"`
	Error     *fault        `json:"error,omitempty"`
}

func newRunCommand(t *tool) *cobra.Command {
	var set []string
	var auto, keepGoing, quiet bool
	var g guard
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a script of commands and expectations",
		Long: "Runs a script (- is standard input) and stops at the first answer that is not the\n" +
			"expected one, showing where it differs; exit code 4. --trace keeps a transcript,\n" +
			"which is a script itself.\n\n" + script.Help,
		Example: "  cardtool run select.apdu\n" +
			"  cardtool run --set aid=A00000000386980701 balance.apdu\n" +
			"  cardtool run --dry-run select.apdu",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			vars, names, err := variables(set)
			if err != nil {
				return err
			}
			text, err := readInput(cmd, args[0], script.MaxSize+1)
			if err != nil {
				return err
			}
			s, err := script.Parse(args[0], string(text), names...)
			if err != nil {
				return err
			}
			if done, err := g.script(t, cmd, s, vars); done || err != nil {
				return err
			}
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				return t.runScript(ctx, cmd, l, s, script.Options{Vars: vars, Auto: auto, KeepGoing: keepGoing, Permit: g.permit}, quiet)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&set, "set", nil, "a variable, NAME=HEX")
	f.BoolVar(&auto, "auto", false, "begin with auto on")
	f.BoolVar(&keepGoing, "keep-going", false, "in a tray, go on with the next card after a failure")
	f.BoolVar(&quiet, "quiet", false, "show what the script prints and what fails, not each exchange")
	g.flags(cmd)
	return cmd
}

func variables(set []string) (map[string][]byte, []string, error) {
	vars := map[string][]byte{}
	var names []string
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
		if !ok || err != nil {
			return nil, nil, fmt.Errorf("%w: --set takes NAME=HEX", cli.ErrUsage)
		}
		vars[name] = b
		names = append(names, name)
	}
	return vars, names, nil
}

// mark is a byte order mark, with which some editors begin a text.
const mark = "\ufeff"

// readInput reads a text, or standard input for "-", up to a limit in bytes.
func readInput(cmd *cobra.Command, name string, limit int64) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", cli.ErrUsage, err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, limit))
	return bytes.TrimPrefix(b, []byte(mark)), err
}

// script checks a script before anything of it is sent. What depends on
// answers is asked for when it is known.
func (g *guard) script(t *tool, cmd *cobra.Command, s *script.Script, vars map[string][]byte) (bool, error) {
	var commands [][]byte
	for _, p := range s.Preview(vars) {
		switch {
		case p.Bytes != nil:
			commands = append(commands, p.Bytes)
		case g.dryRun:
			t.remark(cmd, "line %d depends on an answer: %s", p.Line, p.Text)
		}
	}
	return g.check(t, cmd, commands)
}

func (t *tool) runScript(ctx context.Context, cmd *cobra.Command, l *line, s *script.Script, o script.Options, quiet bool) error {
	out := runJSON{Script: s.Name, Failures: []failureJSON{}, Refused: []refusedJSON{}, Prints: []printJSON{}}
	var broken error
	o.Exchanged = func(_ int, command, response []byte, took time.Duration, err error) {
		if err != nil {
			broken = sent(command, err)
			return
		}
		if !t.json && !quiet {
			t.showExchange(cmd, command, response, took, false, nil)
		}
	}
	o.Print = func(n int, text string) {
		out.Prints = append(out.Prints, printJSON{n, text})
		if !t.json {
			fmt.Fprintln(cmd.OutOrStdout(), text)
		}
	}
	o.Card = func(n int, atr []byte) { t.remark(cmd, "card %d, answer to reset %X", n, atr) }
	res, err := s.Run(ctx, &tray{t: t, cmd: cmd, line: l}, o)
	out.Exchanges, out.Cards = res.Exchanges, res.Cards
	for _, r := range res.Refused {
		out.Refused = append(out.Refused, refusedJSON{r.Line, fmt.Sprintf("%04X", uint16(r.SW))})
	}
	for _, f := range res.Failures {
		out.Failures = append(out.Failures, failureJSON{f.Line, f.What, f.Want, f.Got, f.At})
		if !t.json {
			t.remark(cmd, "%v", f)
			for _, d := range f.Lines() {
				t.remark(cmd, "%s", d)
			}
		}
	}
	if l.log != nil && err != nil {
		l.log.Remark(err.Error())
	}
	var u *unknownOutcome
	if errors.As(broken, &u) {
		err = &unknownOutcome{err, u.command}
	}
	if err == nil && len(res.Refused) > 0 {
		r := res.Refused[0]
		err = fmt.Errorf("%s:%d: the card answered %w, of which nothing was expected", s.Name, r.Line, r.SW)
	}
	if t.json {
		out.Error = faultOf(err)
		return errors.Join(t.emit(cmd, out), t.silent(err))
	}
	verdict := "all as expected"
	switch {
	case err != nil && len(res.Refused) > 0 && len(res.Failures) == 0:
		verdict = fmt.Sprintf("%d refused, of which nothing was expected", len(res.Refused))
	case ctx.Err() != nil:
		verdict = "interrupted"
	case err != nil:
		verdict = "not as expected"
	case res.Exchanges == 0:
		verdict = "nothing was sent: there is no command in the script, or none was reached"
	}
	t.remark(cmd, "%d exchanges, %s", res.Exchanges, verdict)
	return err
}

// tray is the bench of a script: the card in the reader, and the next one when
// it was changed.
type tray struct {
	t   *tool
	cmd *cobra.Command
	*line
}

// Next implements script.Bench: the first card is the one that is in; for each
// further one it waits until that was taken out and another put in.
func (y *tray) Next(ctx context.Context, n int) error {
	if n == 1 {
		return nil
	}
	count := y.card.Count()
	y.card.Close()
	y.t.remark(y.cmd, "next card, please (Ctrl-C ends)")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ev := range y.slot.Events(ctx) {
		if ev.State == reader.StateCard && ev.Count != count {
			return y.line.open(ctx)
		}
	}
	return ctx.Err()
}
