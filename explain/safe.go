package explain

import (
	"regexp"
	"strings"
	"sync"

	"github.com/dianka/dianka/apdu"
)

// The text of a file is not only bytes: there are remarks, and lines that are
// none of a trace. Both may hold a PIN and what a terminal would obey.
// Made when they are needed: most runs of a program never meet such a text.
var (
	// A header in hex, with blanks or not, followed by more.
	header = lazy(`(?i)(?:^|[^0-9A-Za-z])([0189][0-9A-F](?:[ \t:,-]*[0-9A-F]){2,})`)
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
	for _, m := range header().FindAllStringSubmatchIndex(s, -1) {
		if b := firstBytes(s[m[2]:]); hidden(b) {
			// What follows the header is the secret, whatever it is mixed with.
			s = strings.TrimRight(s[:m[2]]+cutDigits(s[m[2]:], 8), " ") + " **"
			break
		}
	}
	return inWords().ReplaceAllString(s, "$1**")
}

// hidden reports a header whose data is never shown.
func hidden(b []byte) bool {
	probe := append(append([]byte(nil), b...), make([]byte, max(0, 4-len(b)))...)
	probe = append(probe[:4], 1, 0)
	return apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: probe}, nil).Redacted != nil
}

// firstBytes reads the first two bytes of hex with blanks in it.
func firstBytes(s string) []byte {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t:,-", r) {
			return -1
		}
		return r
	}, s)
	b, _ := ParseHex(digits[:min(4, len(digits))])
	return b
}

// cutDigits gives the text up to its n-th hex digit, or to what is none.
func cutDigits(s string, n int) string {
	for i, r := range s {
		if strings.ContainsRune("0123456789abcdefABCDEF", r) {
			if n--; n < 0 {
				return s[:i]
			}
		} else if !strings.ContainsRune(" \t:,-", r) {
			return s[:i]
		}
	}
	return s
}
