package script

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dianka/dianka/apdu"
)

// Bench is the card on which a script runs, and the tray from which the next
// one comes.
type Bench interface {
	apdu.Transmitter // bytes as they are
	// ATR is the answer to reset of the card that is in.
	ATR() []byte
	// Reset takes power away and gives it back.
	Reset(ctx context.Context) error
	// Next waits until the n-th card of a tray, counted from 1, is in; the
	// first may be in already. It gives io.EOF when there is none any more.
	Next(ctx context.Context, n int) error
}

// Options of a run. The zero value shows nothing and forbids nothing.
type Options struct {
	Vars map[string][]byte
	// Auto starts with auto on.
	Auto bool
	// KeepGoing goes on with the next card of a tray after a failure.
	KeepGoing bool
	// Permit is asked before each command is sent; its error ends the run.
	Permit func(command []byte) error
	// Exchanged is told of each exchange, also of one that failed.
	Exchanged func(line int, command, response []byte, took time.Duration, err error)
	// Print is told what the script prints, and Card which card begins.
	Print func(line int, text string)
	Card  func(n int, atr []byte)
	// MaxSteps ends a run that goes on and on; 0 means ten million.
	MaxSteps int
}

// Failure is an answer that is not the expected one. The card is as the
// script left it.
type Failure struct {
	Name string
	Line int
	What string // "status word", "data", ...
	Want string
	Got  string
	At   int // index of the first byte that differs, -1 when that means nothing
}

// ErrExpected is wrapped by every *Failure.
var ErrExpected = errors.New("the card's answer is not the expected one")

func (f *Failure) Error() string {
	s := fmt.Sprintf("%s:%d: %s: expected %s, got %s", f.Name, f.Line, f.What, f.Want, f.Got)
	if f.At >= 0 {
		s = fmt.Sprintf("%s:%d: %s differs at byte %d", f.Name, f.Line, f.What, f.At+1)
	}
	return s
}

// Unwrap gives ErrExpected.
func (f *Failure) Unwrap() error { return ErrExpected }

// Lines shows both sides, and the first byte that differs.
func (f *Failure) Lines() []string {
	if f.At < 0 {
		return []string{"expected  " + f.Want, "got       " + f.Got}
	}
	from := max(0, f.At-15) // a long answer is shown around the difference
	cut := func(s string) string {
		parts := strings.Fields(s)
		lead := ""
		if from > 0 {
			lead = ".. "
		}
		return lead + strings.Join(parts[min(from, len(parts)):min(f.At+17, len(parts))], " ")
	}
	mark := strings.Repeat(" ", 3*(f.At-from)) + "^^"
	if from > 0 {
		mark = "   " + mark
	}
	return []string{"expected  " + cut(f.Want), "got       " + cut(f.Got), "          " + mark}
}

// Refusal is a status word by which the card said no, and of which the script
// expected nothing, neither that nor another.
type Refusal struct {
	Line int
	SW   apdu.SW
}

// Refuses reports a status word that is neither success, nor a warning, nor a
// step of T=0 (61xx, 6Cxx).
func Refuses(sw apdu.SW) bool {
	return !sw.OK() && sw.SW1() != 0x61 && sw.SW1() != 0x62 && sw.SW1() != 0x6C
}

// Result counts what a run did.
type Result struct {
	Exchanges int        `json:"exchanges"`
	Cards     int        `json:"cards"`    // of a tray
	Failures  []*Failure `json:"failures"` // more than one only with KeepGoing
	Refused   []Refusal  `json:"refused"`
}

// errExit is the script's exit.
var errExit = errors.New("exit")

// ErrTooLong ends a run after Options.MaxSteps.
var ErrTooLong = errors.New("script: too many steps; is a loop without end?")

type run struct {
	*Script
	bench Bench
	opt   Options
	vars  map[string][]byte
	auto  bool
	last  apdu.Response
	asked bool     // last holds an answer
	said  *Refusal // by the last answer, as long as nothing was expected of it
	steps int
	res   Result
}

// Run runs the script. It fails with a *Failure, with what Permit said, with
// ErrScript for a line that makes no command once its variables are in, or
// with the error of the bench.
func (s *Script) Run(ctx context.Context, b Bench, o Options) (Result, error) {
	if o.MaxSteps <= 0 {
		o.MaxSteps = 10_000_000
	}
	r := &run{Script: s, bench: b, opt: o, vars: map[string][]byte{}, auto: o.Auto}
	for k, v := range o.Vars {
		r.vars[k] = v
	}
	err := r.block(ctx, s.steps)
	r.settle()
	if errors.Is(err, errExit) {
		err = nil
	}
	var f *Failure
	if errors.As(err, &f) && (len(r.res.Failures) == 0 || r.res.Failures[len(r.res.Failures)-1] != f) {
		r.res.Failures = append(r.res.Failures, f)
	}
	if err == nil && len(r.res.Failures) > 0 {
		err = r.res.Failures[0]
	}
	return r.res, err
}

// settle keeps a refusal of which nothing was expected before the next
// command.
func (r *run) settle() {
	if r.said != nil && len(r.res.Refused) < maxRefused {
		r.res.Refused = append(r.res.Refused, *r.said)
	}
	r.said = nil
}

// maxRefused bounds what a loop can collect.
const maxRefused = 1000

func (r *run) block(ctx context.Context, steps []step) error {
	for i := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.steps++; r.steps > r.opt.MaxSteps {
			return ErrTooLong
		}
		if err := r.step(ctx, &steps[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) step(ctx context.Context, s *step) error {
	switch s.kind {
	case kindCommand:
		return r.command(ctx, s)
	case kindReset:
		r.asked = false
		return r.bench.Reset(ctx)
	case kindAuto:
		r.auto = s.on
	case kindExit:
		return errExit
	case kindPrint:
		text, err := r.expand(s)
		if err == nil && r.opt.Print != nil {
			r.opt.Print(s.line, text)
		}
		return err
	case kindLet:
		return r.let(s)
	case kindRepeat:
		for range s.lo {
			if err := r.block(ctx, s.body); err != nil {
				return err
			}
			if r.steps++; r.steps > r.opt.MaxSteps { // also of an empty loop
				return ErrTooLong
			}
		}
	case kindCards:
		return r.cards(ctx, s)
	default:
		return r.expect(s)
	}
	return nil
}

func (r *run) cards(ctx context.Context, s *step) error {
	for n := 1; s.lo == 0 || n <= s.lo; n++ {
		err := r.bench.Next(ctx, n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.res.Cards++
		r.asked = false
		if r.opt.Card != nil {
			r.opt.Card(n, r.bench.ATR())
		}
		err = r.block(ctx, s.body)
		var f *Failure
		if errors.As(err, &f) && r.opt.KeepGoing {
			r.res.Failures = append(r.res.Failures, f)
			continue
		}
		if err != nil {
			return err
		}
		if r.steps++; r.steps > r.opt.MaxSteps {
			return ErrTooLong
		}
	}
	return nil
}

func (r *run) expand(s *step) (string, error) {
	text, err := expand(s.text, r.value)
	if err != nil {
		return "", &SyntaxError{r.Name, s.line, err}
	}
	return text, nil
}

func (r *run) value(name string) (string, error) {
	if name == "atr" {
		return fmt.Sprintf("%X", r.bench.ATR()), nil
	}
	v, ok := r.vars[name]
	if !ok {
		return "", fmt.Errorf("%w: $%s has no value", ErrScript, name)
	}
	return fmt.Sprintf("%X", v), nil
}

func (r *run) command(ctx context.Context, s *step) error {
	text, err := r.expand(s)
	if err != nil {
		return err
	}
	a, err := ParseAPDU(text)
	if err != nil {
		return &SyntaxError{r.Name, s.line, err}
	}
	r.settle()
	r.asked = false
	var t apdu.Transmitter = &line{r, s.line}
	if r.auto {
		t = apdu.GetResponse(t)
	}
	b, err := t.Transmit(ctx, a.Bytes)
	if err != nil {
		return fmt.Errorf("%s:%d: %w", r.Name, s.line, err)
	}
	if r.last, err = apdu.ParseResponse(b); err != nil {
		return fmt.Errorf("%s:%d: %w", r.Name, s.line, err)
	}
	r.asked = true
	if a.Want != nil && !a.Want.Match(r.last.SW) {
		return r.failed(s, "status word", a.Want.String(), r.last.SW.Error(), -1)
	}
	if a.Want == nil && Refuses(r.last.SW) {
		r.said = &Refusal{s.line, r.last.SW}
	}
	return nil
}

// line sends for one line of the script, and tells of it.
type line struct {
	r *run
	n int
}

func (l *line) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if l.r.opt.Permit != nil {
		if err := l.r.opt.Permit(command); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	response, err := l.r.bench.Transmit(ctx, command)
	l.r.res.Exchanges++
	if l.r.opt.Exchanged != nil {
		l.r.opt.Exchanged(l.n, command, response, time.Since(start), err)
	}
	return response, err
}

func (r *run) let(s *step) error {
	var v []byte
	switch {
	case s.on:
		text, err := r.expand(s)
		if err == nil {
			if v, err = hex.DecodeString(blanks.Replace(text)); err != nil {
				err = &SyntaxError{r.Name, s.line, fmt.Errorf("%w: the value is %s", ErrScript, plain(err))}
			}
		}
		if err != nil {
			return err
		}
	case s.text == "atr":
		v = r.bench.ATR()
	case !r.asked:
		return &SyntaxError{r.Name, s.line, fmt.Errorf("%w: there is no answer yet", ErrScript)}
	case s.text == "sw":
		v = []byte{r.last.SW.SW1(), r.last.SW.SW2()}
	default:
		d, n := r.last.Data, s.hi
		if n < 0 {
			n = len(d)
		}
		if s.lo+n > len(d) {
			return r.failed(s, "length", fmt.Sprintf("%d bytes at least", s.lo+n), fmt.Sprintf("%d bytes", len(d)), -1)
		}
		v = append([]byte(nil), d[s.lo:s.lo+n]...)
	}
	r.vars[s.name] = v
	return nil
}

func (r *run) failed(s *step, what, want, got string, at int) error {
	return &Failure{Name: r.Name, Line: s.line, What: what, Want: want, Got: got, At: at}
}

func (r *run) expect(s *step) error {
	if s.kind == kindATR {
		return r.compare(s, "answer to reset", r.bench.ATR())
	}
	if !r.asked {
		return &SyntaxError{r.Name, s.line, fmt.Errorf("%w: there is no answer yet of which to expect anything", ErrScript)}
	}
	d := r.last.Data
	switch s.kind {
	case kindSW, kindAnswer:
		r.said = nil // the script speaks of it
	}
	switch s.kind {
	case kindSW:
		if !s.sw.Match(r.last.SW) {
			return r.failed(s, "status word", s.sw.String(), r.last.SW.Error(), -1)
		}
	case kindLength:
		if len(d) < s.lo || len(d) > s.hi {
			want := fmt.Sprint(s.lo)
			if s.hi != s.lo {
				want = fmt.Sprintf("%d to %d", s.lo, s.hi)
			}
			return r.failed(s, "length", want+" bytes", fmt.Sprintf("%d bytes", len(d)), -1)
		}
	case kindMatch:
		if text := fmt.Sprintf("%X", d); !s.re.MatchString(text) {
			return r.failed(s, "data", "a match of "+s.re.String(), text, -1)
		}
	case kindAnswer:
		return r.masked(s, "answer", s.mask, r.last.Bytes())
	case kindData:
		return r.compare(s, "data", d)
	}
	return nil
}

func (r *run) compare(s *step, what string, got []byte) error {
	text, err := r.expand(s)
	if err != nil {
		return err
	}
	m, err := ParseMask(text)
	if err != nil {
		return &SyntaxError{r.Name, s.line, err}
	}
	return r.masked(s, what, m, got)
}

func (r *run) masked(s *step, what string, m Mask, got []byte) error {
	if at, differs := m.Differs(got); differs {
		return r.failed(s, what, m.String(), fmt.Sprintf("% X", got), at)
	}
	return nil
}

// Preview is a command that a run would send.
type Preview struct {
	Line  int
	Bytes []byte // nil when it depends on an answer
	Text  string // as written
}

// Preview gives the commands of the script, without loops, as far as they can
// be known before it runs.
func (s *Script) Preview(vars map[string][]byte) []Preview {
	known := map[string]string{}
	for k, v := range vars {
		known[k] = fmt.Sprintf("%X", v)
	}
	value := func(name string) (string, error) {
		if v, ok := known[name]; ok {
			return v, nil
		}
		return "", ErrScript
	}
	var out []Preview
	var walk func([]step)
	walk = func(steps []step) {
		for i := range steps {
			switch st := &steps[i]; st.kind {
			case kindLet:
				delete(known, st.name)
				if st.on {
					if v, err := expand(st.text, value); err == nil {
						known[st.name] = blanks.Replace(v)
					}
				}
			case kindCommand:
				p := Preview{Line: st.line, Text: st.text}
				if text, err := expand(st.text, value); err == nil {
					if a, err := ParseAPDU(text); err == nil {
						p.Bytes = a.Bytes
					}
				}
				out = append(out, p)
			default:
				walk(st.body)
			}
		}
	}
	walk(s.steps)
	return out
}
