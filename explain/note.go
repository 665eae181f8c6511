// Package explain puts the bytes that travel between a terminal and a card
// into words, for the technician who reads them: commands, responses, status
// words, answers to reset, TLV, the purse's files and log, and a whole trace
// as a conversation with the money that it moved.
//
// It may import apdu, money, suite and firmware-profiles, and does no I/O. It
// never speaks to a card, never needs a key, hides no byte but those of PINs
// and keys, and never fails on bytes that it does not know: it shows them and
// says so.
package explain

import (
	"fmt"
	"strings"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
)

// Note is one thing in words, with the things that it consists of.
type Note struct {
	What  string `json:"what"`           // "command", "status word", the name of a field
	Hex   string `json:"hex,omitempty"`  // the bytes; "**" for one that is secret
	Says  string `json:"says,omitempty"` // what they mean, in English
	Parts []Note `json:"parts,omitempty"`
}

// Lines gives the note as text, parts indented below it.
func (n Note) Lines() []string { return n.lines("") }

func (n Note) lines(indent string) []string {
	head := indent + n.What
	if n.Hex != "" {
		head += strings.Repeat(" ", max(1, 24-len([]rune(head)))) + n.Hex
	}
	if n.Says != "" {
		if n.Hex == "" {
			head += strings.Repeat(" ", max(0, 23-len([]rune(head))))
		}
		head += "  " + n.Says
	}
	out := []string{strings.TrimRight(head, " ")}
	for _, p := range n.Parts {
		out = append(out, p.lines(indent+"  ")...)
	}
	return out
}

// Explainer knows the profiles whose card operating systems may be speaking.
type Explainer struct {
	// Profiles are those whose status words and names are told; nil means
	// the built-in ones.
	Profiles *profiles.Set
}

func (e Explainer) set() *profiles.Set {
	if e.Profiles != nil {
		return e.Profiles
	}
	return profiles.Builtin()
}

func field(what string, b []byte, format string, args ...any) Note {
	n := Note{What: what, Hex: fmt.Sprintf("%X", b)}
	if format != "" {
		n.Says = fmt.Sprintf(format, args...)
	}
	return n
}

// secret stands for bytes that are not shown.
func secret(what string, n int) Note {
	return Note{What: what, Hex: strings.Repeat("**", n), Says: fmt.Sprintf("%d bytes, not shown", n)}
}

// text adds the characters of bytes that are printable.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return fmt.Sprintf("%q", b)
}

// Status explains a status word: what it means in general, and what it means
// to the profiles that say otherwise.
func (e Explainer) Status(sw apdu.SW) Note {
	n := Note{What: "status word", Hex: fmt.Sprintf("%04X", uint16(sw)), Says: sw.Meaning()}
	for _, p := range e.set().Cards {
		m, ok := p.StatusWords[sw]
		if !ok {
			continue
		}
		says := m.Text
		if std := p.StatusWords.Normal(sw); std != sw {
			if says == "" {
				says = std.Meaning()
			}
			says += fmt.Sprintf(" (as %04X)", uint16(std))
		}
		n.Parts = append(n.Parts, Note{What: "profile " + p.Name, Says: says})
	}
	return n
}

// ATR explains an answer to reset, also one that is wrong as far as it can be
// read, and names the profiles that are meant for it.
func (e Explainer) ATR(b []byte) Note {
	a, err := apdu.ParseATR(b)
	n := Note{What: "answer to reset", Hex: fmt.Sprintf("%X", b)}
	for _, l := range a.Explain() {
		n.Parts = append(n.Parts, Note{What: strings.TrimRight(l, " ")})
	}
	if err != nil {
		n.Parts = append(n.Parts, Note{What: "wrong", Says: strings.TrimPrefix(err.Error(), "apdu: ")})
	}
	n.Parts = append(n.Parts, Note{What: "profile", Says: e.profileOf(b)})
	return n
}

// ProfilesOf names the profiles that name this answer to reset.
func (e Explainer) ProfilesOf(atr []byte) []string {
	var names []string
	for _, p := range e.set().Cards {
		for _, a := range p.ATRs {
			if a.Match(atr) {
				names = append(names, p.Name)
				break
			}
		}
	}
	return names
}

func (e Explainer) profileOf(atr []byte) string {
	if names := e.ProfilesOf(atr); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "no profile names this answer; the application on the card tells (cardtool purse info)"
}
