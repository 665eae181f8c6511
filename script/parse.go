package script

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dianka/dianka/apdu"
)

// Bounds of a script.
const (
	MaxSize  = 1 << 20 // bytes of text
	maxDepth = 8       // loops within loops
	maxLoop  = 1_000_000
)

// Help tells the language, for the help of a program.
const Help = `One step a line; # begins a remark, \ at the end continues a line.

  00A40400:A00000000386980701/00 = 9000
                        a command: [CLA]INS[P1P2][:DATA][/LE][=SW] or plain
                        hex; $name is replaced
  > 00A40000023F00      the same, so that a trace can be run
  < 6F15 ... 9000       the whole answer that must have come; ** is any byte
  expect sw 61XX        of the last answer: the status word, X is any digit
  expect length 16      of the data, in bytes; or 10..20
  expect data 6F??84*   the data; ? is any digit, * anything that follows
  expect match ^6F      the data in upper-case hex, by a regular expression
  expect atr 3B*        the answer to reset
  let aid = A000000003  a variable, also: let x = data 12 8 (from byte 12 of
                        the last answer 8 bytes), let x = sw, let x = atr
  auto on               fetch 61xx and repeat 6Cxx, each exchange shown; off
  reset                 power off and on; also the remark "# reset" of a trace
  print TEXT            $name is replaced
  repeat 3 ... end      a loop
  each card ... end     for every card of a tray: waits until the next is in;
  each card 10 ... end  for ten of them
  exit                  ends the script, with success
`

type kind uint8

const (
	kindCommand kind = iota
	kindAnswer
	kindSW
	kindLength
	kindData
	kindMatch
	kindATR
	kindLet
	kindAuto
	kindReset
	kindPrint
	kindRepeat
	kindCards
	kindExit
)

type step struct {
	kind kind
	line int
	text string // as written, for kindCommand, kindPrint, kindData, kindLet
	name string // of a variable
	lo   int    // length, offset, count of a loop
	hi   int
	on   bool
	sw   SWMask
	mask Mask
	re   *regexp.Regexp
	body []step
}

// Script is a script that was read.
type Script struct {
	Name  string // for messages, a file's name
	steps []step
}

// SyntaxError is a line that cannot be understood. Nothing has been sent.
type SyntaxError struct {
	Name string
	Line int
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Name, e.Line, e.Err) }

// Unwrap gives the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Parse reads a script whole. vars are the names that the caller will give it.
// It fails with a *SyntaxError around ErrScript or ErrAPDU.
func Parse(name, text string, vars ...string) (*Script, error) {
	if len(text) > MaxSize {
		return nil, &SyntaxError{name, 1, fmt.Errorf("%w: longer than %d bytes", ErrScript, MaxSize)}
	}
	p := parser{lines: strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n"), known: map[string]bool{"atr": true}}
	for _, v := range vars {
		p.known[v] = true
	}
	steps, err := p.block(0)
	if err != nil {
		return nil, &SyntaxError{name, max(1, p.at), err}
	}
	return &Script{Name: name, steps: steps}, nil
}

type parser struct {
	lines []string
	at    int // line read last, from 1
	known map[string]bool
}

func (p *parser) next() (string, int, bool) {
	for p.at < len(p.lines) {
		line := strings.TrimRight(p.lines[p.at], "\r")
		p.at++
		first := p.at
		for strings.HasSuffix(line, "\\") && p.at < len(p.lines) {
			line = strings.TrimSuffix(line, "\\") + " " + strings.TrimRight(p.lines[p.at], "\r")
			p.at++
		}
		line = strings.TrimSpace(line)
		if line == "# reset" { // as a trace has it
			return "reset", first, true
		}
		if !strings.HasPrefix(line, "print ") && !strings.HasPrefix(line, "expect match ") {
			line, _, _ = strings.Cut(line, "#")
		} else if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		if line = strings.TrimSpace(line); line != "" {
			return line, first, true
		}
	}
	return "", p.at, false
}

// block reads until end, or in the outermost one until the text is over.
func (p *parser) block(depth int) ([]step, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: loops nested too deep", ErrScript)
	}
	var steps []step
	begun := p.at
	for {
		line, n, ok := p.next()
		if !ok {
			if depth > 0 {
				p.at = begun
				return nil, fmt.Errorf("%w: the loop that begins here has no end", ErrScript)
			}
			return steps, nil
		}
		if line == "end" {
			if depth == 0 {
				return nil, fmt.Errorf("%w: end without a loop", ErrScript)
			}
			return steps, nil
		}
		s, err := p.step(line, depth)
		if err != nil {
			return nil, err
		}
		s.line = n
		steps = append(steps, s)
	}
}

func (p *parser) step(line string, depth int) (step, error) {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	bad := func(format string, args ...any) (step, error) {
		return step{}, fmt.Errorf("%w: "+format, append([]any{ErrScript}, args...)...)
	}
	none := func(k kind) (step, error) {
		if rest != "" {
			return bad("%s stands alone", word)
		}
		return step{kind: k}, nil
	}
	switch word {
	case "reset":
		return none(kindReset)
	case "exit":
		return none(kindExit)
	case "print":
		if err := p.uses(rest); err != nil {
			return step{}, err
		}
		return step{kind: kindPrint, text: rest}, nil
	case "auto":
		if rest != "on" && rest != "off" {
			return bad("auto is on or off")
		}
		return step{kind: kindAuto, on: rest == "on"}, nil
	case "let":
		return p.let(rest)
	case "expect":
		return p.expect(rest)
	case "repeat":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > maxLoop {
			return bad("repeat 1 to %d times", maxLoop)
		}
		body, err := p.block(depth + 1)
		return step{kind: kindRepeat, lo: n, body: body}, err
	case "each":
		if depth > 0 {
			return bad("each card cannot stand in a loop")
		}
		count, ok := strings.CutPrefix(rest, "card")
		n := 0
		if count = strings.TrimSpace(count); count != "" {
			var err error
			if n, err = strconv.Atoi(count); err != nil || n < 1 || n > maxLoop {
				return bad("each card, or each card and how many")
			}
		}
		if !ok {
			return bad("each card, or each card and how many")
		}
		body, err := p.block(depth + 1)
		return step{kind: kindCards, lo: n, body: body}, err
	}
	if strings.HasPrefix(line, "<") {
		l, err := apdu.ParseLine(line)
		if err != nil {
			return step{}, fmt.Errorf("%w: %w", ErrScript, err)
		}
		if l.Unknown != "" {
			return bad("an answer that is not recorded cannot be expected")
		}
		m := Mask{value: l.Data, mask: make([]byte, len(l.Data))}
		for i := range m.mask {
			if i >= len(l.Redacted) || !l.Redacted[i] {
				m.mask[i] = 0xFF
			}
		}
		return step{kind: kindAnswer, mask: m}, nil
	}
	line = strings.TrimSpace(strings.TrimPrefix(line, ">"))
	if strings.Contains(line, "$") {
		if err := p.uses(line); err != nil {
			return step{}, err
		}
		return step{kind: kindCommand, text: line}, nil
	}
	a, err := ParseAPDU(line)
	if err == nil && len(a.Bytes) < 4 {
		err = ErrAPDU
	}
	return step{kind: kindCommand, text: line}, err
}

func (p *parser) let(rest string) (step, error) {
	name, value, ok := strings.Cut(rest, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || !isName(name) || name == "atr" {
		return step{}, fmt.Errorf("%w: let NAME = VALUE, with a name of letters, digits and _", ErrScript)
	}
	s := step{kind: kindLet, name: name, text: value}
	switch f := strings.Fields(value); {
	case len(f) == 3 && f[0] == "data":
		var err1, err2 error
		s.lo, err1 = strconv.Atoi(f[1])
		s.hi, err2 = strconv.Atoi(f[2])
		if err1 != nil || err2 != nil || s.lo < 0 || s.hi < 1 || s.lo > apdu.MaxExtendedNe || s.hi > apdu.MaxExtendedNe {
			return step{}, fmt.Errorf("%w: let NAME = data OFFSET LENGTH", ErrScript)
		}
		s.text = "data"
	case value == "sw" || value == "atr" || value == "data":
		s.hi = -1 // to the end
	default:
		if err := p.uses(value); err != nil {
			return step{}, err
		}
		if !strings.Contains(value, "$") {
			if _, err := hex.DecodeString(blanks.Replace(value)); err != nil {
				return step{}, fmt.Errorf("%w: the value is %s", ErrScript, plain(err))
			}
		}
		s.on = true // an expression
	}
	p.known[name] = true
	return s, nil
}

func (p *parser) expect(rest string) (step, error) {
	word, rest, _ := strings.Cut(rest, " ")
	rest = strings.TrimSpace(rest)
	var s step
	var err error
	switch word {
	case "sw":
		s.kind = kindSW
		s.sw, err = ParseSW(rest)
	case "length":
		s.kind = kindLength
		lo, hi, ok := strings.Cut(rest, "..")
		if !ok {
			hi = lo
		}
		var err2 error
		s.lo, err = strconv.Atoi(lo)
		if s.hi, err2 = strconv.Atoi(hi); err != nil || err2 != nil || s.lo < 0 || s.hi < s.lo {
			err = fmt.Errorf("%w: expect length N, or N..M", ErrScript)
		}
	case "data", "atr":
		s.kind, s.text = kindData, rest
		if word == "atr" {
			s.kind = kindATR
		}
		if strings.Contains(rest, "$") {
			err = p.uses(rest)
		} else {
			_, err = ParseMask(rest)
		}
	case "match":
		s.kind = kindMatch
		if s.re, err = regexp.Compile(rest); err != nil {
			err = fmt.Errorf("%w: %w", ErrScript, err)
		}
	default:
		err = fmt.Errorf("%w: expect sw, length, data, match or atr", ErrScript)
	}
	return s, err
}

// uses checks that every variable in a text is known by then.
func (p *parser) uses(text string) error {
	_, err := expand(text, func(name string) (string, error) {
		if !p.known[name] {
			return "", fmt.Errorf("%w: $%s is not set above", ErrScript, name)
		}
		return "", nil
	})
	return err
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// expand replaces $name and ${name}.
func expand(text string, value func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, "$")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		n := 0
		for n < len(after) && isName("a"+after[n:n+1]) {
			n++
		}
		name := after[:n]
		text = after[n:]
		if strings.HasPrefix(after, "{") {
			if name, text, ok = strings.Cut(after[1:], "}"); !ok {
				return "", fmt.Errorf("%w: ${ without }", ErrScript)
			}
		}
		if !isName(name) {
			return "", fmt.Errorf("%w: no name after $", ErrScript)
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
}
