package explain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Kind is what bytes may be said to be.
type Kind string

// Kinds of bytes.
const (
	KindGuess    Kind = ""
	KindCommand  Kind = "command"
	KindResponse Kind = "response"
	KindStatus   Kind = "sw"
	KindATR      Kind = "atr"
	KindTLV      Kind = "tlv"
	KindInfo     Kind = "info"
	KindLog      Kind = "log"
	KindTrace    Kind = "trace"
)

// Kinds lists them for help and completion.
var Kinds = []string{"command", "response", "sw", "atr", "tlv", "info", "log", "trace"}

// ErrInput means that text holds no bytes.
var ErrInput = errors.New("neither hexadecimal nor a trace")

// As explains bytes as what they are said to be. It fails with ErrInput for a
// kind that does not exist, or that bytes alone cannot be.
func (e Explainer) As(k Kind, b []byte) (Note, error) {
	switch k {
	case KindGuess:
		return e.Guess(b), nil
	case KindCommand:
		return e.Command(b), nil
	case KindResponse:
		return e.Response(nil, b), nil
	case KindStatus:
		if len(b) != 2 {
			return Note{}, fmt.Errorf("%w: a status word has 2 bytes, these are %d", ErrInput, len(b))
		}
		return e.Status(apdu.SW(b[0])<<8 | apdu.SW(b[1])), nil
	case KindATR:
		return e.ATR(b), nil
	case KindTLV:
		return e.tlv(b), nil
	case KindInfo:
		return PublicInfo(b), nil
	case KindLog:
		return LogRecord(b), nil
	}
	return Note{}, fmt.Errorf("%w: %q is none of %s", ErrInput, k, strings.Join(Kinds, ", "))
}

func (e Explainer) tlv(b []byte) Note {
	n := Note{What: "data objects", Hex: fmt.Sprintf("%X", b)}
	list, err := apdu.ParseTLV(b)
	if err != nil {
		n.Says = "not whole: " + strings.TrimPrefix(err.Error(), "apdu: ")
		return n
	}
	n.Parts = TLV(list)
	return n
}

// Guess explains bytes of which nothing is said, as what they most likely
// are. What it does not recognise it shows.
func (e Explainer) Guess(b []byte) Note {
	if len(b) == 0 {
		return Note{What: "nothing", Says: "no bytes"}
	}
	if len(b) == 2 && knownStatus(b) {
		return e.Status(apdu.SW(b[0])<<8 | apdu.SW(b[1]))
	}
	if b[0] == 0x3B || b[0] == 0x3F {
		if _, err := apdu.ParseATR(b); err == nil || errors.Is(err, apdu.ErrATRCheck) || errors.Is(err, apdu.ErrATRValue) {
			return e.ATR(b)
		}
	}
	switch {
	case isInfo(b):
		return PublicInfo(b)
	case isRecord(b):
		n := LogRecord(b)
		n.Says = "if it is one: " + n.Says // nothing in the bytes says so
		return n
	case isTemplate(b):
		return e.tlv(b)
	case len(b) > 2 && isTemplate(b[:len(b)-2]) && knownStatus(b):
		return e.Response(nil, b)
	}
	if c, err := apdu.ParseCommand(b); err == nil {
		if _, ok := find(c.CLA, c.INS); ok && c.CLA != 0xFF {
			return e.Command(b)
		}
	}
	if knownStatus(b) {
		return e.Response(nil, b)
	}
	if len(b) >= 4 {
		if _, ok := find(b[0], b[1]); ok && (b[0] < 0x10 || b[0]&0xF0 == 0x80) {
			return e.Command(b) // says what is wrong with its lengths
		}
	}
	if c, err := apdu.ParseCommand(b); err == nil && c.CLA != 0xFF {
		return e.Command(b)
	}
	if len(b) == 15 || len(b) == 16 {
		n := Note{What: "bytes", Hex: fmt.Sprintf("%X", b)}
		n.Says, _ = e.unasked(b)
		return n
	}
	return Note{What: "bytes", Hex: fmt.Sprintf("%X", b), Says: strings.TrimSpace(fmt.Sprintf("%d bytes, not recognised %s", len(b), text(b)))}
}

// knownStatus reports whether bytes end in a status word that fits what is
// before it: data come with success or a warning only.
func knownStatus(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	sw := apdu.SW(b[len(b)-2])<<8 | apdu.SW(b[len(b)-1])
	if len(b) == 2 {
		return sw.SW1()>>4 == 9 || sw.SW1()>>4 == 6 && sw.SW1() != 0x60
	}
	_, more := sw.MoreData()
	return sw.OK() || more || sw == apdu.SWDataMayBeCorrupt || sw == apdu.SWEndOfFile || sw == apdu.SWSelectedInvalidated
}

// isTemplate holds for one constructed object that fills the bytes.
func isTemplate(b []byte) bool {
	if len(b) < 2 || !bytes.ContainsAny(b[:1], "\x6F\x62\x64\x61\x70\x77\x7C") {
		return false
	}
	list, err := apdu.ParseTLV(b)
	return err == nil && len(list) == 1 && list[0].Constructed() && len(list[0].Children) > 0
}

func isInfo(b []byte) bool {
	if len(b) != 30 && len(b) != 43 && len(b) != 50 {
		return false
	}
	for _, d := range [][]byte{b[20:24], b[24:28]} {
		if _, err := (money.Stamp{d[0], d[1], d[2], d[3]}).Time(); err != nil {
			return false
		}
	}
	return true
}

// logMost is the greatest amount of a record that is taken for one, in fen: ten
// times what a named card may hold (field.md section 0, finding 3).
const logMost = 10 * 5_000_00

// isRecord is strict, since a record has no mark of its own, and money that
// never moved is worse than bytes that are not recognised: a transaction that
// is logged, of an amount that a purse can move, at a terminal, and a date.
func isRecord(b []byte) bool {
	if len(b) != recordLen && len(b) != shortLog {
		return false
	}
	switch b[9] {
	case suite.TypeEDLoad, suite.TypeEPLoad, suite.TypeEDUnload, suite.TypeEDCash, suite.TypeEDPurchase, suite.TypeEPPurchase, suite.TypeEPCompound:
	default:
		return false
	}
	if b[2] != 0 || b[3] != 0 || b[4] != 0 || fen(b[5:]) == 0 || fen(b[5:]) > logMost { // no overdraft on these cards
		return false
	}
	if t := b[10:16]; bytes.Count(t, []byte{0}) == len(t) || bytes.Count(t, []byte{0xFF}) == len(t) {
		return false
	}
	if len(b) == recordLen {
		t, err := money.Stamp(b[16:23]).Time()
		return err == nil && t.Year() >= 1997 // the year of the specification
	}
	return true
}

// ParseHex reads hexadecimal as people paste it: blanks, colons, dashes, 0x
// and commas between the bytes. It fails with ErrInput.
func ParseHex(s string) ([]byte, error) {
	s = strings.NewReplacer("0x", "", "0X", "", " ", "", "\t", "", ":", "", "-", "", ",", "", "\n", "", "\r", "").Replace(s)
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrInput)
	}
	return b, nil
}

// Text is a file or a paste, read.
type Text struct {
	Trace apdu.Trace
	Bare  map[int][]byte // lines that are hex alone, by number from 1
}

// IsTrace reports whether there is a command or a response in it.
func (t Text) IsTrace() bool {
	for _, l := range t.Trace.Lines {
		if l.Kind == apdu.LineCommand || l.Kind == apdu.LineResponse {
			return true
		}
	}
	return false
}

// HasRemarks reports whether there are remarks, or lines that were not
// understood, beside the bytes.
func (t Text) HasRemarks() bool {
	for _, l := range t.Trace.Lines {
		if l.Kind == apdu.LineRemark {
			return true
		}
	}
	return false
}

// ParseText reads a trace, or lines of bare hex, with remarks. Lines that are
// neither are kept as remarks, so that a file with one bad line is still
// read; it fails with ErrInput when there is no byte in it at all.
func ParseText(s string) (Text, error) {
	t := Text{Bare: map[int][]byte{}}
	any := false
	s = strings.TrimPrefix(s, "\ufeff")
	for i, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		l, err := apdu.ParseLine(line)
		if err == nil {
			l.Remark, l.Unknown = Safe(l.Remark), Safe(l.Unknown)
			any = any || l.Kind == apdu.LineCommand || l.Kind == apdu.LineResponse
			t.Trace.Lines = append(t.Trace.Lines, l)
			continue
		}
		body, _, _ := strings.Cut(line, "#")
		if b, err := ParseHex(body); err == nil {
			any = true
			t.Bare[i+1] = b
			t.Trace.Lines = append(t.Trace.Lines, apdu.Line{})
			continue
		}
		t.Trace.Lines = append(t.Trace.Lines, apdu.Line{Kind: apdu.LineRemark, Remark: "not understood: " + Safe(line)})
	}
	if !any {
		return Text{}, ErrInput
	}
	return t, nil
}

// IsCommand reports bytes that have the form of a command with an instruction
// that is known here.
func (e Explainer) IsCommand(b []byte) bool {
	c, err := apdu.ParseCommand(b)
	if err != nil || c.CLA == 0xFF {
		return false
	}
	_, ok := find(c.CLA, c.INS)
	return ok
}

// EndsInStatus reports bytes that can be a response.
func (e Explainer) EndsInStatus(b []byte) bool { return knownStatus(b) }
