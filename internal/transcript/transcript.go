// Package transcript plays what was recorded of a card, a SAM or a reader
// against the code, by its profile: the code must send what was sent then, and
// make of the answers what was made of them. So a profile proves itself, and a
// change of the code that a card would not have liked is seen.
//
// A transcript is a trace (apdu.Reader) in whose remarks stands what is done:
//
//	# do select 31010000000000004821
//	# do balance 30.00
//	# do log 2
//	# do load 50.00 310100001234        with stamp and MAC2 as recorded
//	# do debit 4.00 310100001234        with PSAM sequence, stamp and MAC1 as recorded
//	# do psam 310100001234
//	# do load-sam 310100001234
//	# do match name Virtual PCD 00 00   or usb, firmware, default; of a reader
//
// It may import apdu, suite, purse, firmware-profiles and money. It moves nothing: no
// card is there.
package transcript

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/suite"
)

// ErrTranscript means that the code does otherwise than was recorded, or that
// the transcript can't be read. It comes with the line.
var ErrTranscript = errors.New("transcript")

// ErrNone means that a profile has no transcript.
var ErrNone = errors.New("no transcript")

type turn struct {
	line              int
	command, response []byte
}

type step struct {
	line  int
	words []string
	turns []turn
}

func fail(line int, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrTranscript, line, fmt.Errorf(format, args...))
}

func parse(b []byte) ([]step, error) {
	r := apdu.NewReader(bytes.NewReader(b))
	var steps []step
	var command []byte
	at := 0
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTranscript, err)
		}
		switch l.Kind {
		case apdu.LineRemark:
			if w := strings.Fields(l.Remark); len(w) > 1 && w[0] == "do" {
				steps = append(steps, step{line: r.Line(), words: w[1:]})
			}
		case apdu.LineCommand:
			if command != nil {
				return nil, fail(at, "a command without its answer")
			}
			command, at = l.Data, r.Line()
		case apdu.LineResponse:
			if command == nil || len(steps) == 0 {
				return nil, fail(r.Line(), "an answer to no command, or before anything is done")
			}
			s := &steps[len(steps)-1]
			s.turns = append(s.turns, turn{at, command, l.Data})
			command = nil
		}
	}
	if command != nil {
		return nil, fail(at, "a command without its answer")
	}
	if len(steps) == 0 {
		return nil, fail(1, "nothing is done: `# do …` is missing")
	}
	return steps, nil
}

// card answers as recorded, and to nothing else.
type card struct {
	turns []turn
	line  int
	wrong error
}

// Transmit is of purse.Card.
func (c *card) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if len(c.turns) == 0 {
		c.wrong = fail(c.line, "the code sends %X more than was recorded", command)
		return nil, c.wrong
	}
	t := c.turns[0]
	if !bytes.Equal(t.command, command) {
		c.wrong = fail(t.line, "the code sends %X, recorded is %X", command, t.command)
		return nil, c.wrong
	}
	c.turns = c.turns[1:]
	return t.response, nil
}

// Play plays the transcript of a profile. It fails with ErrNone or
// ErrTranscript.
func Play(ctx context.Context, set *profiles.Set, kind profiles.Kind, name string) error {
	b := set.Transcript(kind, name)
	if b == nil {
		return ErrNone
	}
	return play(ctx, set, kind, name, b)
}

func play(ctx context.Context, set *profiles.Set, kind profiles.Kind, name string, b []byte) error {
	steps, err := parse(b)
	if err != nil {
		return err
	}
	p := player{set: set, kind: kind, name: name}
	for _, s := range steps {
		c := &card{turns: s.turns, line: s.line}
		err := p.do(ctx, c, s)
		switch {
		case c.wrong != nil:
			return c.wrong
		case errors.Is(err, ErrTranscript):
			return err
		case err != nil:
			return fail(s.line, "%s: %w", strings.Join(s.words, " "), err)
		case len(c.turns) > 0:
			return fail(c.turns[0].line, "recorded is %X, which the code does not send", c.turns[0].command)
		}
	}
	return nil
}

type player struct {
	set  *profiles.Set
	kind profiles.Kind
	name string
	c    card // of the application, which each step gives its turns
	app  *purse.Application
}

// word gives the nth word after the first, or an error that says what it is for.
func (s step) word(n int, what string) (string, error) {
	if len(s.words) <= n {
		return "", fail(s.line, "%s is missing", what)
	}
	return s.words[n], nil
}

func (s step) is(n int, what, got string) error {
	want, err := s.word(n, what)
	if err == nil && want != got {
		err = fail(s.line, "%s is %s, recorded is %s", what, got, want)
	}
	return err
}

func (p *player) do(ctx context.Context, c *card, s step) error {
	if p.kind == profiles.KindReader {
		return p.match(s)
	}
	p.c = *c
	defer func() { *c = p.c }()
	if p.kind == profiles.KindSAM {
		return p.sam(ctx, s)
	}
	profile, ok := p.set.Card(p.name)
	if !ok {
		return fmt.Errorf("no profile %s", p.name)
	}
	if s.words[0] == "select" {
		app, err := purse.Select(ctx, &p.c, []profiles.Card{profile})
		if err != nil {
			return err
		}
		p.app = app
		return s.is(1, "the number", app.Info().Number.String())
	}
	if p.app == nil {
		return fail(s.line, "nothing was selected before")
	}
	switch s.words[0] {
	case "balance":
		b, err := p.app.Balance(ctx)
		if err != nil {
			return err
		}
		return s.is(1, "the balance", b.String())
	case "log":
		list, err := p.app.Log(ctx)
		if err != nil {
			return err
		}
		return s.is(1, "the number of records", fmt.Sprint(len(list)))
	case "load", "debit":
		return p.move(ctx, s)
	}
	return fail(s.line, "%q is nothing that can be done with a card", s.words[0])
}

// move carries out a load or a debit with the cryptogram of the recording.
func (p *player) move(ctx context.Context, s step) error {
	text, err := s.word(1, "the amount")
	if err != nil {
		return err
	}
	amount, err := money.ParseYuan(text)
	if err != nil {
		return err
	}
	if text, err = s.word(2, "the terminal"); err != nil {
		return err
	}
	terminal, err := money.ParseTerminalID(text)
	if err != nil {
		return err
	}
	if len(s.turns) != 2 {
		return fail(s.line, "a movement has two commands")
	}
	exec := s.turns[1].command
	if s.words[0] == "load" {
		if _, err := p.app.InitLoad(ctx, amount, terminal); err != nil {
			return err
		}
		if len(exec) < 5+7+4 {
			return fail(s.turns[1].line, "no CREDIT FOR LOAD")
		}
		_, err := p.app.CreditLoad(ctx, money.Stamp(exec[5:12]), suite.MAC(exec[12:16]))
		return err
	}
	if _, err := p.app.InitPurchase(ctx, amount, terminal); err != nil {
		return err
	}
	if len(exec) < 5+4+7+4 {
		return fail(s.turns[1].line, "no DEBIT FOR PURCHASE")
	}
	seq := uint32(exec[5])<<24 | uint32(exec[6])<<16 | uint32(exec[7])<<8 | uint32(exec[8])
	_, _, err = p.app.DebitPurchase(ctx, purse.Grant{Seq: seq, MAC1: suite.MAC(exec[16:20])}, money.Stamp(exec[9:16]))
	return err
}

func (p *player) sam(ctx context.Context, s step) error {
	profile, ok := p.set.SAM(p.name)
	if !ok {
		return fmt.Errorf("no profile %s", p.name)
	}
	switch s.words[0] {
	case "psam":
		m, err := purse.OpenPSAM(ctx, &p.c, []profiles.SAM{profile})
		if err != nil {
			return err
		}
		return s.is(1, "the terminal", m.Terminal().String())
	case "load-sam":
		m, err := purse.OpenLoadSAM(ctx, &p.c, []profiles.SAM{profile})
		if err != nil {
			return err
		}
		return s.is(1, "the terminal", m.Terminal().String())
	}
	return fail(s.line, "%q is nothing that can be done with a SAM", s.words[0])
}

func (p *player) match(s step) error {
	if s.words[0] != "match" {
		return fail(s.line, "%q is nothing that can be done with a reader", s.words[0])
	}
	by, err := s.word(1, "by what it matches")
	if err != nil {
		return err
	}
	what, id := strings.Join(s.words[2:], " "), profiles.ReaderID{}
	switch by {
	case profiles.ByName, profiles.ByDefault:
		id.Name = what
	case profiles.ByUSB:
		id.USB = what
	case profiles.ByFirmware:
		id.Firmware = what
	default:
		return fail(s.line, "%q: name, usb, firmware or default", by)
	}
	got, how, ok := p.set.MatchReader(id)
	if !ok || got.Name != p.name || how != by {
		return fail(s.line, "%s %q is matched by %s, %s", by, what, got.Name, how)
	}
	return nil
}

// Record does what is wanted with a card that is there, and gives the
// transcript of it. What was done before an error is in it.
func Record(ctx context.Context, c purse.Card, about string, do func(ctx context.Context, c purse.Card, note func(format string, args ...any)) error) ([]byte, error) {
	var b bytes.Buffer
	w := apdu.NewWriter(&b)
	w.Remark(about)
	var held []apdu.Line
	note := func(format string, args ...any) { // what came of it is known afterwards, and stands before
		w.Remark("do " + fmt.Sprintf(format, args...))
		for _, l := range held {
			fmt.Fprintln(&b, l)
		}
		held = nil
	}
	err := do(ctx, recorder{c, &held}, note)
	return b.Bytes(), errors.Join(err, w.Err())
}

type recorder struct {
	c    purse.Card
	held *[]apdu.Line
}

// Transmit is of purse.Card.
func (r recorder) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := r.c.Transmit(ctx, command)
	if err == nil {
		*r.held = append(*r.held, apdu.Line{Kind: apdu.LineCommand, Data: bytes.Clone(command)}, apdu.Line{Kind: apdu.LineResponse, Data: bytes.Clone(answer)})
	}
	return answer, err
}
