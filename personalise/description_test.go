package personalise

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/config"
)

// TestDescriptionErrors: what is wrong is told with its line.
func TestDescriptionErrors(t *testing.T) {
	base := string(Example(KindPurse))
	sam := string(Example(KindSAM))
	lineOf := func(s, part string) int { return strings.Count(s[:strings.Index(s, part)], "\n") + 1 }
	for _, tt := range []struct{ base, old, new, says string }{
		{base, "kind: purse\n", "kind: bank\n", "is none of purse"},
		{base, "kind: purse\n", "kind: purse\nkeys: []\n", "unknown field"},
		{base, "profile: dianka-ep\n", "", "needs the name of its card profile"},
		{base, "issuer: FFFFFFFF00000001", "issuer: FFFF", "8 bytes"},
		{base, "issuer: FFFFFFFF00000001", "issuer: ZZ", "hex digits"},
		{base, "diversify: [number]", "diversify: [card]", "is no factor"},
		{base, "  create: FA                   #", "  create: sometimes #", "is no access right"},
		{base, "{type: line, key: line, use: always, change: FA, tries: 3}\n  files", "{type: line, key: 2A4C6E80A2C4E6083B5D7F91B3D5F719, use: always, change: FA, tries: 3}\n  files", "keys are named here"},
		{base, "{type: line, key: line, use: always, change: FA, tries: 3}\n  files", "{type: lines, key: line, use: always, change: FA, tries: 3}\n  files", "no type of key"},
		{base, "{type: line, key: line, use: always, change: FA, tries: 3}\n  files", "{type: line, key: line, use: always, tries: 3}\n  files", "use and change"},
		{base, "{type: line, key: line, use: always, change: FA, tries: 3}\n  files", "{type: line, key: line, use: always, change: FA, tries: 16}\n  files", "1 to 15"},
		{base, `version: "01", algorithm: "00"}` + "\n      - {type: load", `version: "0101", algorithm: "00"}` + "\n      - {type: load", "one byte each"},
		{base, "{type: pin, key: pin", "{type: purchase, id: 1, key: pin", "a second key"},
		{base, "length: 23", "size: 23", "count and length"},
		{base, `id: "0018"`, `id: "0118"`, "0001 to 001E"},
		{base, `id: "0018"`, `id: "0016"`, "a second file"},
		{base, `content: "{number}"`, `content: "{serial}"`, "no field {serial}"},
		{base, `content: "{number}"`, `content: "{number}12345"`, "hex digits"},
		{base, `size: 48, read: always, write: FA, content: "{number}"`, `size: 8, read: always, write: FA, content: "{number}"`, "fills it at most"},
		{base, "protect: mac, size: 30", "protect: clear, size: 30", "mac or both"},
		{base, "records: [\"61", "records: [\"", "18 bytes, not 19"},
		{base, "{issuer} 02 01", "FFFFFFFF00000001 02 01", "the {issuer} at the beginning"},
		{sam, "use: allowance", "use: allow", "is none of purchase, load, tac, allowance"},
		{sam, "kind: sam\n", "kind: sam\nprofile: dianka-ep\n", "no card profile"},
		{sam, "levels: 2, version: \"02\"", "levels: 2, version: \"01\"", "a second master key"},
	} {
		if !strings.Contains(tt.base, tt.old) {
			t.Fatalf("%q is not in the example", tt.old)
		}
		s := strings.Replace(tt.base, tt.old, tt.new, 1)
		_, err := Parse([]byte(s))
		if !errors.Is(err, config.ErrFile) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v", tt.new, err)
			continue
		}
		if strings.Contains(err.Error(), "2A4C6E80") {
			t.Errorf("%q: the error shows a key: %v", tt.new, err)
		}
		if strings.Contains(tt.says, "needs") || strings.Contains(tt.says, "{issuer}") || tt.new == "" || strings.Contains(tt.new, "keys: []") || strings.Contains(tt.new, "profile:") {
			continue // of what is missing, or stands a line further
		}
		n := lineOf(tt.base, tt.old)
		if !strings.Contains(err.Error(), fmt.Sprintf("line %d:", n)) && !strings.Contains(err.Error(), fmt.Sprintf("[%d:", n)) {
			t.Errorf("%q: line %d is wanted: %v", tt.new, n, err)
		}
	}
	for _, s := range []string{"", "{}", "- a", "kind: purse\n---\nkind: purse\n", "\xEF\xBB\xBF", strings.Repeat("#", MaxDescription+1)} {
		if _, err := Parse([]byte(s)); !errors.Is(err, config.ErrFile) {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}
