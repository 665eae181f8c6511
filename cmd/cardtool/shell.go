package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/dump"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/script"
)

const shellHelp = `ls            what is in this directory
cd DIR        into a directory; .. up, / to the top
cat FILE      a file or its records, decoded where it is known
rec FILE N    one record
again         take the card down again; ls, cat and rec show what was read then
apdu COMMAND  send a command, as in cardtool apdu, and explain the exchange
atr           explain the answer to reset
reset         power off and on
explain HEX   explain bytes, without the card
exit          end; so does Ctrl-D
`

func newShellCommand(t *tool) *cobra.Command {
	var g guard
	cmd := &cobra.Command{
		Use:   "shell",
		Short: "Look around on a card, interactively",
		Long: "Takes the card down once, as cardtool card dump does, and lets you go through its\n" +
			"files; commands can be sent, and are explained as they go. The keyboard has\n" +
			"history (arrow up) and completion (tab). From a pipe it reads a command a line.\n\n" + shellHelp,
		Example: "  cardtool shell --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.json {
				return fmt.Errorf("%w: a shell has no --json; cardtool card dump and cardtool apdu have", cli.ErrUsage)
			}
			s := &shell{t: t, cmd: cmd, guard: &g, out: cmd.OutOrStdout()}
			if g.dryRun {
				s.say("a dry run: nothing is sent, and the card is not even powered")
				return s.run(cmd.Context(), cmd.InOrStdin())
			}
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				s.line = l
				return s.run(ctx, cmd.InOrStdin())
			})
		},
	}
	g.flags(cmd)
	return cmd
}

// shell is one sitting at a card.
type shell struct {
	t     *tool
	cmd   *cobra.Command
	line  *line // nil in a dry run
	guard *guard
	out   io.Writer
	card  *dump.Dump   // nil until it is needed
	path  []*dump.Node // the directories on the way to the current one
}

var shellCommands = []string{"again", "apdu", "atr", "cat", "cd", "exit", "explain", "help", "ls", "rec", "reset"}

func (s *shell) run(ctx context.Context, in io.Reader) error {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if done, err := s.do(ctx, lines.Text()); done || err != nil {
				return err
			}
		}
		return lines.Err()
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(f.Fd()), old)
	keyboard := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, s.out}, "")
	keyboard.AutoCompleteCallback = func(text string, pos int, key rune) (string, int, bool) {
		if key != '\t' || pos != len(text) {
			return "", 0, false
		}
		text = s.complete(text)
		return text, len(text), true
	}
	s.cmd.SetOut(keyboard)
	s.out = keyboard // in raw mode it alone knows how to end a line
	fmt.Fprintln(s.out, "# help lists the commands, exit or Ctrl-D ends")
	for {
		keyboard.SetPrompt(s.where() + "> ")
		text, err := keyboard.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if done, err := s.do(ctx, text); done || err != nil {
			return err
		}
	}
}

// complete adds what follows without doubt.
func (s *shell) complete(text string) string {
	word, candidates := text, shellCommands
	if i := strings.LastIndexByte(text, ' '); i >= 0 {
		word, candidates = text[i+1:], nil
		if s.card != nil { // completion does not make the card be read
			for _, n := range s.here() {
				candidates = append(candidates, n.Label())
			}
		}
	}
	var fit []string
	for _, c := range candidates {
		if strings.HasPrefix(strings.ToLower(c), strings.ToLower(word)) {
			fit = append(fit, c)
		}
	}
	if len(fit) != 1 {
		return text
	}
	return text[:len(text)-len(word)] + fit[0] + " "
}

func (s *shell) where() string {
	w := "/"
	for _, n := range s.path {
		w += n.Label() + "/"
	}
	return w
}

// here are the files of the current directory.
func (s *shell) here() []*dump.Node {
	if len(s.path) == 0 {
		return s.card.Tree
	}
	return s.path[len(s.path)-1].Children
}

func (s *shell) find(name string) *dump.Node {
	for _, n := range s.here() {
		if strings.EqualFold(n.Label(), name) || n.Name != "" && strings.EqualFold(n.Name, name) {
			return n
		}
	}
	s.say("no %s here; ls shows what is", name)
	return nil
}

func (s *shell) say(format string, args ...any) { fmt.Fprintf(s.out, "# "+format+"\n", args...) }

// do carries out a line. What goes wrong with it is said, and the shell goes
// on; the error is that of a card that is gone.
func (s *shell) do(ctx context.Context, text string) (done bool, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.TrimSpace(rest)
	if s.line == nil && slices.Contains([]string{"atr", "reset", "ls", "cd", "cat", "rec", "again"}, word) {
		s.say("%s would power and read the card, which a dry run does not", word)
		return false, nil
	}
	switch word {
	case "":
	case "exit", "quit":
		return true, nil
	case "help", "?":
		fmt.Fprint(s.out, shellHelp)
	case "atr":
		lines(s.out, s.t.explainer().ATR(s.line.ATR()).Lines())
	case "reset":
		return false, s.line.Reset(ctx)
	case "explain":
		b, err := explain.ParseHex(rest)
		if err != nil {
			s.say("%v", err)
			return false, nil
		}
		lines(s.out, s.t.explainer().Guess(b).Lines())
	case "apdu":
		return false, s.send(ctx, rest)
	case "ls", "cd", "cat", "rec", "again":
		if s.card == nil || word == "again" {
			if err := s.take(ctx); err != nil {
				return false, err
			}
		}
		s.files(word, rest)
	default:
		s.say("%s is not a command; help lists them", word)
	}
	return false, nil
}

func (s *shell) take(ctx context.Context) error {
	s.say("reading the card")
	d, err := dump.Take(ctx, dumped{s.line}, dump.Options{T0: s.line.card.Protocol() == reader.T0, Profiles: s.t.profiles()})
	s.card, s.path = d, nil
	for _, n := range d.Notes {
		s.say("%s", n)
	}
	if err == nil {
		s.say("%d exchanges", d.Asked)
	}
	return err
}

func (s *shell) files(word, rest string) {
	switch word {
	case "ls":
		for _, n := range s.here() {
			text := n.Kind
			switch {
			case n.Refused != "":
				text += ", refused: " + n.Refused
			case n.Data != "":
				text += fmt.Sprintf(", %d bytes", len(n.Data)/2)
			case len(n.Records) > 0:
				text += fmt.Sprintf(", %d", len(n.Records))
			case len(n.Children) > 0:
				text += fmt.Sprintf(", %d files  %s", len(n.Children), n.Name)
			}
			fmt.Fprintf(s.out, "%-8s  %s\n", n.Label(), strings.TrimSpace(text))
		}
	case "cd":
		switch {
		case rest == "" || rest == "/":
			s.path = nil
		case rest == "..":
			s.path = s.path[:max(0, len(s.path)-1)]
		default:
			n := s.find(rest)
			if n != nil && n.Kind != "directory" {
				s.say("%s is no directory", rest)
			} else if n != nil {
				s.path = append(slices.Clone(s.path), n)
			}
		}
	case "cat":
		if n := s.find(rest); n != nil {
			s.cat(n)
		}
	case "rec":
		name, number, _ := strings.Cut(rest, " ")
		i, err := strconv.Atoi(strings.TrimSpace(number))
		n := s.find(name)
		switch {
		case n == nil:
		case err != nil || i < 1 || i > len(n.Records):
			s.say("rec FILE N; %s has %d records", name, len(n.Records))
		default:
			s.record(n, i)
		}
	}
}

func (s *shell) cat(n *dump.Node) {
	switch {
	case n.Refused != "":
		s.say("refused: %s", n.Refused)
	case n.Kind == "directory":
		s.say("a directory; cd goes in")
	case len(n.Records) > 0:
		for i := range n.Records {
			s.record(n, i+1)
		}
	default:
		b, _ := hex.DecodeString(n.Data)
		for from := 0; from < len(b); from += 16 {
			row := b[from:min(from+16, len(b))]
			chars := strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '.'
				}
				return r
			}, string(latin(row)))
			fmt.Fprintf(s.out, "%04X  %-47s  %s\n", from, fmt.Sprintf("% X", row), chars)
		}
		if note := s.t.explainer().Guess(b); note.What == "public information" || note.What == "data objects" {
			lines(s.out, note.Lines()[1:])
		}
	}
}

// latin takes each byte for a character.
func latin(b []byte) []rune {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return r
}

func (s *shell) record(n *dump.Node, i int) {
	fmt.Fprintf(s.out, "%d  %s\n", i, n.Records[i-1])
	b, _ := hex.DecodeString(n.Records[i-1])
	if note := s.t.explainer().Guess(b); note.What == "log record" {
		if strings.HasSuffix(n.Label(), "18") { // where purses have their log
			note = explain.LogRecord(b)
		}
		s.say("%s", note.Says)
	} else if note.What == "data objects" {
		lines(s.out, note.Lines()[1:])
	}
}

// send sends one command bit for bit, and explains the exchange.
func (s *shell) send(ctx context.Context, text string) error {
	a, err := script.ParseAPDU(text)
	if err == nil && s.guard.dryRun {
		_, err := s.guard.check(s.t, s.cmd, [][]byte{a.Bytes})
		return err
	}
	if err == nil {
		err = s.guard.permit(a.Bytes)
	}
	if err != nil {
		s.say("%v", err)
		if _, next := classify(err); next != "" {
			s.say("begin the shell with --yes to send it")
		}
		return nil
	}
	start := time.Now()
	r, err := s.line.Transmit(ctx, a.Bytes)
	if err != nil {
		return sent(a.Bytes, err)
	}
	e := s.t.explainer()
	c := e.Command(a.Bytes)
	fmt.Fprintf(s.out, "%s  # %s\n", redacted(a.Bytes), c.Says)
	fmt.Fprintf(s.out, "%s  # %v\n", apdu.Line{Kind: apdu.LineResponse, Data: r}, time.Since(start).Round(100*time.Microsecond))
	lines(s.out, e.Response(a.Bytes, r).Lines()[1:])
	return nil
}
