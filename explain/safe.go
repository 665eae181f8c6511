package explain

import (
	"encoding/hex"
	"regexp"
	"strings"
	"sync"

	"github.com/dianka/dianka/apdu"
)

// The text of a file is not only bytes: there are remarks, and lines that are
// none of a trace. Both may hold a PIN and what a terminal would obey.
// Made when they are needed: most runs of a program never meet such a text.
var (
	// The short form without a class, which begins a line.
	short = lazy(`(?i)^[ \t>]*((?:20|21|24|25|2C|2D|5E|D4|E8)(?:[0-9A-F]{4})?)[ \t]*:.*$`)
	// A PIN told in words.
	inWords = lazy(`(?i)((?:\bPINs?\b|\bpassword\b|\bpasswd\b|\bpasscode\b|密码|口令)[^0-9A-Za-z]{0,3}(?:(?:is|was|=|是|为)[^0-9A-Za-z]{0,3})?)[0-9A-F]{4,}`)
)

func lazy(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// Safe gives a text that may be shown: one line, harmless on a screen, without
// the data of commands that carry a PIN or a key.
func Safe(s string) string {
	s = apdu.CleanText(s)
	s = short().ReplaceAllString(s, "$1: **")
	if at, ok := secretAt(s); ok {
		s = strings.TrimRight(s[:at], " ") + " **" // whatever the rest is mixed with
	}
	return inWords().ReplaceAllString(s, "$1**")
}

// secretAt finds the first run of hex that is a command with a PIN or a key,
// and where its data begins. Clocks, dates and numbers are not taken for one.
func secretAt(s string) (at int, ok bool) {
	for i := range len(s) {
		if isHex(s[i]) && (i == 0 || !isAlnum(s[i-1])) && strings.IndexByte("0189Aa", s[i]) >= 0 {
			if n, ok := dataAt(s[i:]); ok {
				return i + n, true
			}
		}
	}
	return 0, false
}

// dataAt gives where the data of a secret command begins that s may begin
// with: its header and a length follow each other, or have one and the same
// sign between them, or it is of the short form, with a colon before the data.
func dataAt(s string) (at int, ok bool) {
	var header []byte // digits
	var sign byte
	for i := 0; i < len(s) && i < 64; i++ {
		c := s[i]
		switch {
		case isHex(c):
			if len(header) == 8 {
				at = i
			}
			if header = append(header, c); len(header) == 10 {
				return at, hidden(header[:8])
			}
		case c == ':' && (len(header) == 4 || len(header) == 8) && i+3 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) && isHex(s[i+3]):
			return i + 1, hidden(header)
		case strings.IndexByte(" \t:,-", c) < 0 || sign != 0 && c != sign:
			return 0, false
		default:
			sign = c
		}
	}
	return 0, false
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// hidden reports a header, in digits, whose data is never shown.
func hidden(digits []byte) bool {
	b := make([]byte, 4, 6)
	if _, err := hex.Decode(b, digits); err != nil {
		return false
	}
	b = append(b, 1, 0) // one byte of data
	return apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: b}, nil).Redacted != nil
}
