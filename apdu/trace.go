package apdu

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The trace format is text for people, logs, replays and golden tests alike:
//
//	# a remark; what a person wrote, the ATR, an error
//	> 805000020B 0100002000001122334455 10   # remark
//	< 00000000 0000 01 00 C903814D 03976C22 9000
//	> 0020000003 ******
//	< 9000
//	> (key id 00 with version 01)
//
// One line is one command (">"), one response with its status word ("<"), a
// remark or blank. Hex may be of either case and have blanks anywhere; a
// redacted byte is "**"; text in brackets in the place of bytes says that
// the bytes are not known. A command without a response is one to which no
// answer was recorded.

// maxTraceLine is the longest line that is read: an extended command of
// 65544 bytes with a blank after every byte, and a long remark.
const maxTraceLine = 256 << 10

// Errors of traces. No card is touched when they occur.
var (
	ErrTraceLine     = errors.New("apdu: not a line of a trace")
	ErrReplayEnd     = errors.New("apdu: the trace has no further command")
	ErrReplayUnknown = errors.New("apdu: the trace does not hold these bytes")
)

// LineKind is what a line of a trace holds.
type LineKind uint8

// Kinds of lines.
const (
	LineBlank LineKind = iota
	LineRemark
	LineCommand
	LineResponse
)

// Line is one line of a trace.
type Line struct {
	Kind LineKind
	// Data is the command, or the response with its status word. Redacted
	// bytes are 00 here.
	Data []byte
	// Redacted marks the bytes of Data that are not known because they were
	// taken out; nil when there are none, else as long as Data.
	Redacted []bool
	// Unknown stands in the place of the bytes when the trace has none, e.g.
	// "4-byte TAC".
	Unknown string
	// Remark is the text of a remark line, or after the bytes. No line
	// breaks, no blanks around it.
	Remark string
}

// isRedacted reports whether byte i has been taken out.
func (l Line) isRedacted(i int) bool { return i < len(l.Redacted) && l.Redacted[i] }

// ParseLine reads one line of a trace, with or without its line break. It
// fails with ErrTraceLine; the message doesn't quote the line, which may
// hold anything.
func ParseLine(s string) (Line, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Line{}, nil
	}
	if s[0] == '#' {
		return Line{Kind: LineRemark, Remark: CleanText(s[1:])}, nil
	}
	var l Line
	switch s[0] {
	case '>':
		l.Kind = LineCommand
	case '<':
		l.Kind = LineResponse
	default:
		return Line{}, fmt.Errorf("%w: it starts with neither >, < nor #", ErrTraceLine)
	}
	body, remark, _ := strings.Cut(s[1:], "#")
	l.Remark = CleanText(remark)
	body = strings.TrimSpace(body)
	if strings.HasPrefix(body, "(") {
		text, ok := strings.CutSuffix(body[1:], ")")
		if text = CleanText(text); !ok || text == "" {
			return Line{}, fmt.Errorf("%w: no text between brackets", ErrTraceLine)
		}
		l.Unknown = text
		return l, nil
	}
	digits := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, body)
	if len(digits)%2 != 0 {
		return Line{}, fmt.Errorf("%w: half a byte", ErrTraceLine)
	}
	l.Data = make([]byte, len(digits)/2)
	for i := range l.Data {
		pair := digits[2*i : 2*i+2]
		if pair == "**" {
			if l.Redacted == nil {
				l.Redacted = make([]bool, len(l.Data))
			}
			l.Redacted[i] = true
			continue
		}
		if _, err := hex.Decode(l.Data[i:i+1], []byte(pair)); err != nil {
			return Line{}, fmt.Errorf("%w: byte %d is not hexadecimal", ErrTraceLine, i+1)
		}
	}
	return l, nil
}

// CleanText keeps a text on one line and harmless on a screen: what is not
// printed (line breaks, the escape character of terminals, marks that turn
// the direction of writing) becomes a blank.
func CleanText(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

// String gives the line in the canonical form: upper-case hex, a command
// split into header, data and Le, a response into data and status word.
func (l Line) String() string {
	var b strings.Builder
	switch l.Kind {
	case LineBlank:
		return ""
	case LineRemark:
		return strings.TrimRight("# "+CleanText(l.Remark), " ")
	case LineCommand:
		b.WriteString(">")
	case LineResponse:
		b.WriteString("<")
	}
	if l.Unknown != "" {
		// Brackets and # would end the text early when it is read again.
		fmt.Fprintf(&b, " (%s)", strings.NewReplacer("#", " ", "(", "[", ")", "]").Replace(CleanText(l.Unknown)))
	} else {
		breaks := l.groups()
		for i, v := range l.Data {
			if i == 0 || i == breaks[0] || i == breaks[1] {
				b.WriteByte(' ')
			}
			if l.isRedacted(i) {
				b.WriteString("**")
			} else {
				fmt.Fprintf(&b, "%02X", v)
			}
		}
	}
	if r := CleanText(l.Remark); r != "" {
		b.WriteString("  # " + r)
	}
	return b.String()
}

// groups gives the two offsets at which a blank helps the reader.
func (l Line) groups() [2]int {
	if l.Kind == LineResponse {
		return [2]int{len(l.Data) - 2}
	}
	start, end := commandData(l.Data)
	return [2]int{start, end}
}

// commandData gives the place of the data field in the bytes of a command.
// Of bytes that are no command it is everything after the header, because
// somebody may have forgotten Lc.
func commandData(b []byte) (start, end int) {
	c, err := ParseCommand(b)
	if err != nil {
		return min(4, len(b)), len(b)
	}
	start = 5
	if len(b) > 7 && b[4] == 0 { // extended Lc
		start = 7
	}
	if len(c.Data) == 0 {
		return len(b), len(b)
	}
	return start, start + len(c.Data)
}

// Trace is a whole recorded session.
type Trace struct {
	Lines []Line
}

// ParseTrace reads a trace to its end. It fails with ErrTraceLine and the
// line's number, or with the error of r.
func ParseTrace(r io.Reader) (Trace, error) {
	var t Trace
	tr := NewReader(r)
	for {
		l, err := tr.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return Trace{}, err
		}
		t.Lines = append(t.Lines, l)
	}
}

// String gives the canonical text; ParseTrace reads it back to the same
// lines.
func (t Trace) String() string {
	var b strings.Builder
	for _, l := range t.Lines {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Reader reads a trace line by line.
type Reader struct {
	lines *bufio.Scanner
	n     int
}

// NewReader gives a Reader on r.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxTraceLine)
	return &Reader{lines: s}
}

// Line is the number of the line that Next gave last, counted from 1.
func (r *Reader) Line() int { return r.n }

// Next gives the next line, io.EOF after the last, ErrTraceLine with the
// line's number, or the error of the underlying reader.
func (r *Reader) Next() (Line, error) {
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil {
			return Line{}, fmt.Errorf("line %d: %w", r.n+1, err)
		}
		return Line{}, io.EOF
	}
	r.n++
	l, err := ParseLine(r.lines.Text())
	if err != nil {
		return Line{}, fmt.Errorf("line %d: %w", r.n, err)
	}
	return l, nil
}

// Redaction says what a Writer takes out of a trace.
type Redaction uint8

// Redactions. The zero value is the default of a Writer.
const (
	// RedactSecrets takes out PINs and keys: the data of VERIFY, CHANGE
	// REFERENCE DATA, CHANGE PIN, RELOAD PIN, PIN UNBLOCK, UNBLOCK and WRITE
	// KEY (purse.md sections 6, 9.4 and 11.3), enciphered or not.
	RedactSecrets Redaction = iota
	// RedactMACInputs takes out in addition what goes through a key: the
	// data of EXTERNAL and INTERNAL AUTHENTICATE, of the PSAM's crypt
	// command 80 FA and of INIT SAM FOR PURCHASE 80 70, and the answers of
	// INTERNAL AUTHENTICATE and 80 FA.
	RedactMACInputs
	// RedactNothing is for test cards with published keys only.
	RedactNothing
)

// Redact marks the secret bytes of a command line and of the response line
// that belongs to it, and sets them to 00. The lengths stay, so a redacted
// line still parses. Lines of other kinds are given back as they are. For a
// response, command is the command that it answers; it may be nil for a
// command line.
func (r Redaction) Redact(l Line, command []byte) Line {
	var start, end int
	switch {
	case l.Kind == LineCommand && r.hidesData(l.Data):
		start, end = commandData(l.Data)
	case l.Kind == LineResponse && r.hidesAnswer(command):
		start, end = 0, max(0, len(l.Data)-2)
	}
	if start >= end {
		return l
	}
	l.Data = append([]byte(nil), l.Data...)
	l.Redacted = append(make([]bool, 0, len(l.Data)), l.Redacted...)
	l.Redacted = append(l.Redacted, make([]bool, len(l.Data)-len(l.Redacted))...)
	for i := start; i < end; i++ {
		l.Data[i], l.Redacted[i] = 0, true
	}
	return l
}

// hidesData looks at the instruction; the class only where the instruction
// has a harmless meaning in another class. Classes of secure messaging and
// of logical channels are thereby included.
func (r Redaction) hidesData(c []byte) bool {
	if r == RedactNothing || len(c) < 2 {
		return false
	}
	proprietary := c[0] >= 0x80
	switch c[1] {
	case 0x20, 0x21, // VERIFY
		0x24, 0x25, // CHANGE REFERENCE DATA; PIN UNBLOCK of PBOC (84 24)
		0x2C, 0x2D, // RESET RETRY COUNTER; UNBLOCK of FMCOS (80 2C)
		0x5E,       // CHANGE PIN, RELOAD PIN
		0xD4, 0xE8: // WRITE KEY of FMCOS and of SmartCOS
		return true
	case 0xD2, 0xD8: // WRITE RSA, UPDATE KEY of one PSAM; 00 D2 is UPDATE RECORD
		return proprietary
	case 0x82, 0x88:
		return r == RedactMACInputs
	case 0xFA, 0x70:
		return r == RedactMACInputs && proprietary
	}
	return false
}

func (r Redaction) hidesAnswer(c []byte) bool {
	return r == RedactMACInputs && len(c) >= 2 && (c[1] == 0x88 || c[1] == 0xFA && c[0] >= 0x80)
}

// Writer writes a trace. It is safe for concurrent use, but the lines of two
// cards in one trace can't be told apart: use one Writer per slot.
type Writer struct {
	// Redaction is RedactSecrets unless set before the first line.
	Redaction Redaction

	mu  sync.Mutex
	w   io.Writer
	err error
}

// NewWriter gives a Writer on w that takes out PINs and keys.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Err is the first error of the underlying writer. After it nothing is
// written.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Remark writes a remark line. It must not hold a key or a PIN.
func (w *Writer) Remark(text string) { w.line(Line{Kind: LineRemark, Remark: text}) }

// Command writes a command line.
func (w *Writer) Command(command []byte) {
	w.line(w.Redaction.Redact(Line{Kind: LineCommand, Data: command}, nil))
}

// Response writes the answer to command, how long it took, and what the
// status word means when it isn't 9000.
func (w *Writer) Response(command, response []byte, took time.Duration) {
	remark := roundDuration(took).String()
	if r, err := ParseResponse(response); err != nil {
		remark += " no status word"
	} else if !r.SW.OK() {
		remark += " " + r.SW.Meaning()
	}
	w.line(w.Redaction.Redact(Line{Kind: LineResponse, Data: response, Remark: remark}, command))
}

func (w *Writer) line(l Line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		_, w.err = io.WriteString(w.w, l.String()+"\n")
	}
}

// roundDuration keeps what a technician reads: a tenth of a millisecond.
func roundDuration(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
