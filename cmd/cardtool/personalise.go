package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/personalise"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
)

type checkJSON struct {
	What    string `json:"what"`
	Verdict string `json:"verdict"`
	Says    string `json:"says"`
}

type madeJSON struct {
	Number   string      `json:"number,omitempty"`
	Terminal string      `json:"terminal,omitempty"`
	Outcome  string      `json:"outcome"`
	Found    int         `json:"found"` // steps that were done before
	Used     bool        `json:"used"`
	Checks   []checkJSON `json:"checks"`
	Error    *fault      `json:"error,omitempty"`
}

type personaliseJSON struct {
	Kind        string     `json:"kind"`
	Description string     `json:"description"`
	Cards       []madeJSON `json:"cards"`
	Open        []string   `json:"open"` // begun and not finished
	Free        int        `json:"free"`
}

// cardMaker makes cards from a description.
type cardMaker struct {
	t *tool
	guard
	example, number, numbers, list, terminal string
	keys, vault, passphrase, journal         string
	erase                                    bool
}

func newPersonaliseCommand(t *tool) *cobra.Command {
	m := &cardMaker{t: t}
	cmd := &cobra.Command{
		Use:   "personalise FILE",
		Short: "Make purse cards, PSAMs and load SAMs from a description",
		Long: "Makes the card that a YAML description tells, of a blank FMCOS-type chip or of one\n" +
			"with its maker's transport key, and reads it back: files byte for byte, keys by\n" +
			"what the card makes with them as far as no value moves. --example prints a\n" +
			"description to begin with: purse, psam, load-sam or sam (both in one).\n\n" +
			"Keys have names in the description and stand in the utility's vault (--vault) or\n" +
			"in a file of test keys (--keys), lines of `name: key`: 32 or 16 hexadecimal\n" +
			"digits, 4 to 12 decimal ones of a PIN. With --vault, --keys adds what no vault\n" +
			"has: transport key and PIN. Real keys leave the vault enciphered only, under the\n" +
			"transport key and then under the card's own control key.\n\n" +
			"A card that was pulled out half-written is gone on with: put it in again with the\n" +
			"same command. What is another's or in use is not touched. --erase takes away what\n" +
			"is on a test card or on one that was never finished.\n\n" +
			"--numbers FROM-TO or --list FILE (a number a line, of a SAM its terminal's behind)\n" +
			"makes a tray of cards, one after another; Ctrl-C ends it. --journal FOLDER keeps\n" +
			"which number went to which card: after a crash call it again with the same folder.\n" +
			"No number is given twice.",
		Example: "  cardtool personalise --example purse\n" +
			"  cardtool personalise purse.yaml --number 17 --keys test.keys --dry-run\n" +
			"  cardtool personalise purse.yaml --number 17 --keys test.keys --reader sim:blank --yes\n" +
			"  cardtool personalise purse.yaml --numbers 17-20 --journal tray --keys test.keys --dry-run",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if m.example != "" {
				b := personalise.Example(personalise.Kind(m.example))
				if b == nil {
					return fmt.Errorf("%w: no example %q; there are purse, psam, load-sam and sam", cli.ErrUsage, m.example)
				}
				_, err := cmd.OutOrStdout().Write(b)
				return err
			}
			if len(args) == 0 {
				return fmt.Errorf("%w: the file of a description is wanted", cli.ErrUsage)
			}
			return m.run(cmd, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.example, "example", "", "print the description of a test card: purse, psam, load-sam or sam")
	f.StringVar(&m.number, "number", "", "the number of the card or SAM")
	f.StringVar(&m.numbers, "numbers", "", "the numbers of a tray of cards, FROM-TO")
	f.StringVar(&m.list, "list", "", "file with the numbers of a tray of cards")
	f.StringVar(&m.terminal, "terminal", "", "the terminal's number, of a SAM")
	f.StringVar(&m.keys, "keys", "", "file of test keys; with --vault of transport key and PIN")
	f.StringVar(&m.vault, "vault", "", "the utility's vault, a file")
	f.StringVar(&m.passphrase, "passphrase-file", "", "file with the vault's passphrase")
	f.StringVar(&m.journal, "journal", "", "folder of the tray's journal")
	f.BoolVar(&m.erase, "erase", false, "erase first what is on the card: a test card, or one never finished")
	cmd.MarkFlagsMutuallyExclusive("number", "numbers", "list", "example")
	cmd.MarkFlagsMutuallyExclusive("erase", "numbers")
	cmd.MarkFlagsMutuallyExclusive("erase", "list")
	cmd.MarkFlagsRequiredTogether("vault", "passphrase-file")
	m.guard.flags(cmd)
	return cmd
}

func (m *cardMaker) run(cmd *cobra.Command, file string) error {
	text, err := readInput(cmd, file, personalise.MaxDescription+1)
	if err != nil {
		return err
	}
	d, err := personalise.Parse(text)
	if err != nil {
		return &cli.Error{Err: fmt.Errorf("%s: %w", file, err), Code: classConfig.Exit, Next: "correct the description; cardtool personalise --example purse shows one"}
	}
	orders, err := m.orders(d)
	if err != nil {
		return err
	}
	ring, err := m.ring(d)
	if err != nil {
		return err
	}
	tray := &personalise.Tray{Description: d, Keys: ring, Profiles: profiles.Builtin(), Orders: orders}
	if err := tray.Check(); err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	first, err := personalise.NewPlan(d, orders[0], ring, profiles.Builtin())
	if err != nil {
		return err
	}
	if done, err := m.preview(cmd, first, len(orders)); done || err != nil {
		return err
	}
	if m.journal != "" {
		if tray.Journal, err = personalise.OpenJournal(m.journal, d, text); err != nil {
			if errors.Is(err, filelock.ErrHeld) {
				err = &cli.Error{Err: err, Code: classInUse.Exit, Next: "another cardtool works on this tray"}
			}
			return err
		}
		defer tray.Journal.Close()
		for _, n := range tray.Journal.Open() {
			m.t.remark(cmd, "%s was begun and is not finished: put its card in", n)
		}
	}
	m.t.remark(cmd, "control key: %s", triesUnknown)
	return m.t.withCard(cmd, func(ctx context.Context, l *line) error { return m.cards(ctx, cmd, l, file, tray, first) })
}

// orders are the numbers that are asked for.
func (m *cardMaker) orders(d *personalise.Description) ([]personalise.Order, error) {
	usage := func(err error) ([]personalise.Order, error) { return nil, fmt.Errorf("%w: %w", cli.ErrUsage, err) }
	var terminal money.TerminalID
	var err error
	if m.terminal != "" {
		if terminal, err = money.ParseTerminalID(m.terminal); err != nil {
			return usage(fmt.Errorf("--terminal: %w", err))
		}
	}
	var list []personalise.Order
	switch {
	case m.numbers != "":
		list, err = personalise.ParseRange(d.Kind, m.numbers, terminal)
	case m.list != "":
		b, rerr := os.ReadFile(m.list)
		if rerr != nil {
			return usage(rerr)
		}
		if list, err = personalise.ParseList(d.Kind, b); err != nil {
			return nil, &cli.Error{Err: fmt.Errorf("%s: %w", m.list, err), Code: classConfig.Exit, Next: "correct the list"}
		}
	case m.number != "":
		list = make([]personalise.Order, 1)
		list[0].Terminal = terminal
		list[0].Number, err = personalise.ParseNumber(d.Kind, m.number)
	default:
		err = errors.New("a number is wanted: --number, --numbers or --list")
	}
	if err == nil && len(list) == 0 {
		err = errors.New("there is no number in the list")
	}
	if err == nil && m.number == "" && m.journal == "" && !m.dryRun {
		err = errors.New("a tray needs a --journal, so that no number is given twice")
	}
	if err != nil {
		return usage(err)
	}
	return list, nil
}

// ring gives the keys by their names.
func (m *cardMaker) ring(d *personalise.Description) (*suite.Ring, error) {
	var file *suite.Ring
	var err error
	if m.keys != "" {
		if file, err = readKeys(m.keys); err != nil {
			return nil, err
		}
	}
	if m.vault == "" {
		if file == nil {
			return nil, fmt.Errorf("%w: keys are wanted: --keys or --vault", cli.ErrUsage)
		}
		return file, nil
	}
	pass, err := readPrivate(m.passphrase)
	if err != nil {
		return nil, err
	}
	test := bytes.Equal(d.Issuer[:4], suite.TestIssuer[:4])
	v, err := vault.Open(m.vault, bytes.TrimRight(pass, "\r\n"), test, profiles.Builtin())
	clear(pass)
	if err != nil {
		return nil, &cli.Error{Err: err, Code: classConfig.Exit, Next: "see --vault and --passphrase-file; test keys go with the test issuer, and only with it"}
	}
	ring := v.Ring()
	if file != nil {
		for _, name := range file.Names() {
			if slices.Contains(ring.Names(), name) {
				return nil, fmt.Errorf("%w: %q is the vault's and stands in %s as well", cli.ErrUsage, name, m.keys)
			}
		}
		ring = ring.With(file)
	}
	return ring, nil
}

// readPrivate reads a file that nobody but its owner may read. It fails with
// config.ErrFile when others may.
func readPrivate(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%w: %s: it may be read by others: allow its owner only (chmod 600)", config.ErrFile, path)
	}
	return os.ReadFile(path)
}

// readKeys reads a file of test keys. It fails with config.ErrFile.
func readKeys(path string) (*suite.Ring, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	r, err := personalise.ParseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// preview shows the commands of a dry run, and wants --yes otherwise.
func (m *cardMaker) preview(cmd *cobra.Command, p *personalise.Plan, n int) (done bool, err error) {
	if !m.dryRun {
		if !m.yes {
			m.t.remark(cmd, triesUnknown)
			return false, &cli.Error{Err: errors.New("to make a card writes to it"), Code: classUsage.Exit,
				Next: "nothing was sent; --dry-run shows what would be, --yes sends it"}
		}
		return false, nil
	}
	steps, err := p.Preview(m.erase)
	if err != nil {
		return false, err
	}
	out := apduJSON{Exchanges: []exchangeJSON{}}
	for _, s := range steps {
		if m.t.json {
			out.Exchanges = append(out.Exchanges, exchangeJSON{Command: plainHex(s.Line), Meaning: s.What})
			continue
		}
		s.Line.Remark = s.What
		fmt.Fprintln(cmd.OutOrStdout(), s.Line)
	}
	if n > 1 {
		m.t.remark(cmd, "this is the first of %d cards", n)
	}
	m.t.remark(cmd, "nothing was sent; ** are keys, and what the card's challenge decides")
	if m.t.json {
		return true, m.t.emit(cmd, out)
	}
	return true, nil
}

// bench is the card in the reader, which must stay the same through a reset.
type benchCard struct{ *line }

// Transmit hides T=0 and its 61xx and 6Cxx.
func (b benchCard) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return b.whole().Transmit(ctx, command)
}

// Reset takes power away and gives it back.
func (b benchCard) Reset(ctx context.Context) error {
	count := b.card.Count()
	if err := b.line.Reset(ctx); err != nil {
		return err
	}
	if b.card.Count() != count {
		return &reader.Error{Slot: b.slot.Name(), Op: "reset", Kind: reader.ErrRemoved, Cause: errors.New("another card may be in"), Hint: "leave the card in until it is told that it is done"}
	}
	return nil
}

// cards makes the card that is in, or one after another.
func (m *cardMaker) cards(ctx context.Context, cmd *cobra.Command, l *line, file string, t *personalise.Tray, only *personalise.Plan) error {
	report := personaliseJSON{Kind: string(t.Description.Kind), Description: file, Cards: []madeJSON{}, Open: []string{}}
	var errs []error
	y := &tray{t: m.t, cmd: cmd, line: l}
	for n := 1; ; n++ {
		o := personalise.Options{Erase: m.erase}
		var res personalise.Result
		var err error
		switch {
		case m.number == "":
			res, err = t.Next(ctx, benchCard{l}, o)
		case t.Journal != nil:
			res, err = t.One(ctx, benchCard{l}, only.Order(), o)
		default:
			res, err = only.Make(ctx, benchCard{l}, o)
		}
		err = m.explained(res, err)
		report.Cards = append(report.Cards, m.tell(cmd, res, err))
		if err != nil {
			errs = append(errs, err)
		}
		if m.number != "" || errors.Is(err, personalise.ErrJournal) || errors.Is(err, personalise.ErrNoMore) || ctx.Err() != nil {
			break
		}
		if t.Free() == 0 && len(t.Journal.Open()) == 0 {
			break
		}
		if err := m.next(ctx, y, n+1); err != nil {
			errs = append(errs, err)
			break
		}
	}
	if t.Journal != nil {
		for _, n := range t.Journal.Open() {
			report.Open = append(report.Open, n.String())
		}
		report.Free = t.Free()
	}
	err := errors.Join(errs...)
	if len(errs) == 1 {
		err = errs[0]
	}
	if m.t.json {
		return errors.Join(m.t.emit(cmd, report), m.t.silent(err))
	}
	if m.number == "" {
		count := map[string]int{}
		for _, c := range report.Cards {
			count[c.Outcome]++
		}
		var words []string
		for _, o := range []personalise.Outcome{personalise.Made, personalise.Resumed, personalise.Already, personalise.Left, personalise.Waste, personalise.Refused} {
			if k := count[string(o)]; k > 0 {
				words = append(words, fmt.Sprintf("%d %s", k, o))
			}
		}
		m.t.remark(cmd, "%s; %d numbers are free", strings.Join(words, ", "), report.Free)
		for _, n := range report.Open {
			m.t.remark(cmd, "%s was begun and is not finished: put its card in, with the same command", n)
		}
	}
	return err
}

// next waits for another card; one that went away while it was reset counts as
// taken out.
func (m *cardMaker) next(ctx context.Context, y *tray, n int) error {
	for {
		err := y.Next(ctx, n)
		if err == nil || ctx.Err() != nil || !errors.Is(err, reader.ErrNoCard) && !errors.Is(err, reader.ErrMute) && !errors.Is(err, reader.ErrRemoved) {
			return err
		}
	}
}

// tell tells what became of a card.
func (m *cardMaker) tell(cmd *cobra.Command, res personalise.Result, err error) madeJSON {
	out := madeJSON{Outcome: string(res.Outcome), Found: res.Found, Used: res.Findings.Used, Checks: []checkJSON{}, Error: faultOf(err)}
	if res.Order.Number != (personalise.Number{}) {
		out.Number = res.Order.Number.String()
	}
	if !res.Order.Terminal.IsZero() {
		out.Terminal = res.Order.Terminal.String()
	}
	for _, c := range res.Findings.Checks {
		out.Checks = append(out.Checks, checkJSON{c.What, string(c.Verdict), c.Says})
	}
	if m.t.json {
		return out
	}
	if m.number != "" {
		for _, c := range out.Checks {
			m.t.remark(cmd, "%s: %s, %s", c.What, c.Verdict, c.Says)
		}
	}
	says := map[personalise.Outcome]string{
		personalise.Made: "made and read back", personalise.Resumed: "was half-written; finished and read back", personalise.Already: "was made before, and holds what it should; nothing was written",
		personalise.Left: "half-written: put the same card in again", personalise.Waste: "waste: destroy it", personalise.Refused: "refused",
	}[res.Outcome]
	if res.Outcome == personalise.Already && out.Used {
		says += "; it is in use"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", strings.TrimSpace("card "+out.Number), says)
	if err != nil && m.number == "" {
		m.t.remark(cmd, "%v", err)
	}
	return out
}

// explained gives the failure of a card its class and the next step.
func (m *cardMaker) explained(res personalise.Result, err error) error {
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	as := func(c class, next string) error { return &cli.Error{Err: err, Code: c.Exit, Next: next} }
	switch {
	case err == nil:
		return nil
	case is(personalise.ErrJournal):
		return as(classFailed, "see to the folder of the journal before anything else: the card may hold what it does not say")
	case res.Outcome == personalise.Left && apdu.MayHaveExecuted(err):
		return as(classUnknown, "nothing is lost: put the same card in again and call the same command, which goes on where it stopped")
	case res.Outcome == personalise.Left:
		return as(classLost, "put the same card in again and call the same command, which goes on where it stopped")
	case is(personalise.ErrDeadEnd):
		return as(classRefused, "of a test card: --erase; when that is refused too, destroy the card")
	case is(personalise.ErrOther):
		return as(classRefused, "it was not touched; a test card can be erased first: --number N --erase")
	case is(personalise.ErrForeign):
		return as(classRefused, "do not try again with it: at no tries left it is locked for ever. Are these its keys, and is this its number?")
	case is(personalise.ErrGiven):
		return as(classRefused, "take the next number, or put in the card that has it")
	case is(personalise.ErrInUse, personalise.ErrErase, personalise.ErrBlocked):
		return as(classRefused, "it was not touched")
	case is(personalise.ErrNoMore):
		return as(classRefused, "the card was not touched")
	case is(personalise.ErrDiffers):
		return as(classDifference, "do not hand it out; of a test card: --erase")
	case is(personalise.ErrOrder):
		return as(classRefused, "see the description's transport")
	}
	return err
}
