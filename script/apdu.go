// Package script is what a technician types to a card: single commands in a
// grammar of one line, and scripts of them with variables, expectations,
// resets and loops over a tray of cards.
//
// It may import apdu and the standard library. It does no I/O of its own: the
// card is a Bench, and what is to be shown goes to the caller's functions. It
// sends exactly the bytes that were written, once, and stops at the first
// answer that is not the expected one.
package script

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dianka/dianka/apdu"
)

// Errors of what was typed. No command has been sent when they occur.
var (
	ErrAPDU   = errors.New("script: not a command")
	ErrScript = errors.New("script: not a line of a script")
)

// APDU is one command as typed.
type APDU struct {
	Bytes []byte // what is sent, 4 bytes at least
	Want  *SWMask
}

// SWMask is an expected status word; a nibble of which the mask is zero may be
// anything.
type SWMask struct{ Value, Mask apdu.SW }

// Match reports whether sw is expected.
func (m SWMask) Match(sw apdu.SW) bool { return (sw^m.Value)&m.Mask == 0 }

// String gives four digits, X for any.
func (m SWMask) String() string {
	s := []byte(fmt.Sprintf("%04X", uint16(m.Value)))
	for i := range s {
		if m.Mask>>(12-4*i)&0xF == 0 {
			s[i] = 'X'
		}
	}
	return string(s)
}

// ParseSW reads four hex digits, in which X and ? are any digit. It fails with
// ErrAPDU.
func ParseSW(s string) (SWMask, error) {
	var m SWMask
	if len(s) != 4 {
		return m, fmt.Errorf("%w: a status word has four digits, %q has not", ErrAPDU, s)
	}
	for i := range 4 {
		m.Value <<= 4
		m.Mask <<= 4
		if c := s[i]; c == 'X' || c == 'x' || c == '?' {
			continue
		}
		d, ok := digit(s[i])
		if !ok {
			return SWMask{}, fmt.Errorf("%w: %q is no status word", ErrAPDU, s)
		}
		m.Value |= apdu.SW(d)
		m.Mask |= 0xF
	}
	return m, nil
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// blanks are allowed anywhere between digits.
var blanks = strings.NewReplacer(" ", "", "\t", "")

// ParseAPDU reads one command: plain hex, or
//
//	[CLA]INS[P1P2][:DATA][/LE][=SW]
//
// in which CLA, P1 and P2 are 00 when left out; LE is two digits, or four for
// the extended form, and 00 (0000) when nothing follows the stroke; SW is what
// the card must answer, 9000 when nothing follows the sign, X for any digit.
// Plain hex may have =SW too. Nothing is added: without LE there is no Le. It
// fails with ErrAPDU; the message does not quote the data, which may be a PIN.
func ParseAPDU(s string) (APDU, error) {
	s = blanks.Replace(s)
	var a APDU
	if head, want, ok := strings.Cut(s, "="); ok {
		if want == "" {
			want = "9000"
		}
		m, err := ParseSW(want)
		if err != nil {
			return APDU{}, err
		}
		s, a.Want = head, &m
	}
	s, le, hasLe := strings.Cut(s, "/")
	s, data, hasData := strings.Cut(s, ":")
	head, err := hex.DecodeString(s)
	if err != nil {
		return APDU{}, fmt.Errorf("%w: %s", ErrAPDU, plain(err))
	}
	if len(head) > 4 {
		if hasLe || hasData {
			return APDU{}, fmt.Errorf("%w: %d bytes stand before the data, a header has 4 at most", ErrAPDU, len(head))
		}
		a.Bytes = head
		return a, nil
	}
	header := make([]byte, 4)
	switch len(head) {
	case 1:
		header[1] = head[0]
	case 2:
		copy(header, head)
	case 3:
		copy(header[1:], head)
	case 4:
		copy(header, head)
	default:
		return APDU{}, fmt.Errorf("%w: no instruction", ErrAPDU)
	}
	body, err := hex.DecodeString(data)
	switch {
	case err != nil:
		return APDU{}, fmt.Errorf("%w: data: %s", ErrAPDU, plain(err))
	case hasData && len(body) == 0:
		return APDU{}, fmt.Errorf("%w: no data after the colon", ErrAPDU)
	case len(body) > apdu.MaxExtendedData:
		return APDU{}, fmt.Errorf("%w: %d bytes of data, %d are possible", ErrAPDU, len(body), apdu.MaxExtendedData)
	}
	if hasLe && le == "" {
		le = "00"
	}
	ne, err := hex.DecodeString(le)
	if err != nil || hasLe && len(ne) != 1 && len(ne) != 2 {
		return APDU{}, fmt.Errorf("%w: the expected length has two or four hex digits", ErrAPDU)
	}
	if len(body) > apdu.MaxShortData && len(ne) == 1 { // the short form of it does not go with long data
		ne = []byte{0, ne[0]}
		if ne[1] == 0 {
			ne[0] = 1
		}
	}
	a.Bytes = header
	extended := len(body) > apdu.MaxShortData || len(ne) == 2
	if extended {
		a.Bytes = append(a.Bytes, 0)
	}
	if n := len(body); n > 0 {
		if extended {
			a.Bytes = append(a.Bytes, byte(n>>8))
		}
		a.Bytes = append(append(a.Bytes, byte(n)), body...)
	}
	a.Bytes = append(a.Bytes, ne...)
	return a, nil
}

// plain words for what hex says, without the digits themselves.
func plain(err error) string {
	if errors.Is(err, hex.ErrLength) {
		return "half a byte"
	}
	return "not hexadecimal"
}

// Mask is expected data: bytes of which each nibble may be left open, and
// perhaps more after them.
type Mask struct {
	value, mask []byte
	more        bool
}

// ParseMask reads hex digits with blanks, ? for any digit, and * at the end
// for anything that follows. It fails with ErrScript.
func ParseMask(s string) (Mask, error) {
	s = blanks.Replace(s)
	var m Mask
	s, m.more = strings.CutSuffix(s, "*")
	if len(s)%2 != 0 {
		return Mask{}, fmt.Errorf("%w: expected data: half a byte", ErrScript)
	}
	for i := 0; i < len(s); i += 2 {
		var v, k byte
		for _, c := range []byte(s[i : i+2]) {
			v, k = v<<4, k<<4
			if c == '?' {
				continue
			}
			d, ok := digit(c)
			if !ok {
				return Mask{}, fmt.Errorf("%w: expected data: not hexadecimal", ErrScript)
			}
			v, k = v|d, k|0xF
		}
		m.value, m.mask = append(m.value, v), append(m.mask, k)
	}
	return m, nil
}

// Differs gives the place of the first byte of b that is not the expected
// one, counted from 0.
func (m Mask) Differs(b []byte) (at int, differs bool) {
	for i, v := range m.value {
		if i >= len(b) || (b[i]^v)&m.mask[i] != 0 {
			return i, true
		}
	}
	if len(b) > len(m.value) && !m.more {
		return len(m.value), true
	}
	return 0, false
}

// String gives the mask as it is written, a blank between bytes.
func (m Mask) String() string {
	var parts []string
	for i, v := range m.value {
		p := []byte(fmt.Sprintf("%02X", v))
		if m.mask[i]>>4 == 0 {
			p[0] = '?'
		}
		if m.mask[i]&0xF == 0 {
			p[1] = '?'
		}
		parts = append(parts, string(p))
	}
	if m.more {
		parts = append(parts, "*")
	}
	return strings.Join(parts, " ")
}
