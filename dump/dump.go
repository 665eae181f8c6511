// Package dump takes down what a card holds, of whatever kind it is, and tells
// two such dumps apart in words.
//
// It may import apdu, explain, purse, money and firmware-profiles. It never
// presents a PIN or a key, writes nothing, moves nothing, and ends: it bounds
// what it asks by number and time, and what a card refuses it notes.
package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is the version of the file format. Fields are only ever added within
// a version.
const Format = 1

// MaxSize bounds a dump file, in bytes.
const MaxSize = 16 << 20

// ErrFormat means that a file is not a dump, or one of a later version.
var ErrFormat = errors.New("dump: not a dump of this version")

// Dump is what was found on a card. Bytes are upper-case hex.
type Dump struct {
	Format   int       `json:"format"`
	Taken    time.Time `json:"taken"`
	ATR      string    `json:"atr"`
	Protocol string    `json:"protocol"`
	Purse    *Purse    `json:"purse,omitempty"` // of a card that a profile knows
	Tree     []*Node   `json:"tree"`            // the MF, or what is reachable without it; then applications found by name only
	Refused  []Refusal `json:"refused"`         // what the card does not show
	Notes    []string  `json:"notes"`           // what else is to be known of it
	Asked    int       `json:"asked"`           // exchanges
	Whole    bool      `json:"whole"`           // false when it was stopped by a bound or by the card
}

// Purse is the purse of a known profile.
type Purse struct {
	Profile         string   `json:"profile"`
	Number          string   `json:"number"`
	ValidFrom       string   `json:"valid_from"`
	ValidTo         string   `json:"valid_to"`
	Balance         *int64   `json:"balance_fen,omitempty"`      // nil when the card refuses it
	LoadCounter     *uint16  `json:"load_counter,omitempty"`     // on-line counter
	PurchaseCounter *uint16  `json:"purchase_counter,omitempty"` // off-line counter
	Log             []Record `json:"log"`                        // newest first
}

// Record is a record of the purse's own log.
type Record struct {
	Type     string `json:"type"` // transaction type, two hex digits
	Amount   int64  `json:"amount_fen"`
	Counter  uint16 `json:"counter"`
	Terminal string `json:"terminal"`
	Stamp    string `json:"stamp"`
}

// Node is a directory or a file.
type Node struct {
	ID       string   `json:"id,omitempty"`   // file identifier, four hex digits
	SFI      byte     `json:"sfi,omitempty"`  // short identifier, when it was found by it only
	Name     string   `json:"name,omitempty"` // of a directory, as far as the card tells it
	Kind     string   `json:"kind"`           // "directory", "transparent", "records", or what the card says of records, "unknown"
	FCI      string   `json:"fci,omitempty"`  // what SELECT answered
	Data     string   `json:"data,omitempty"`
	Records  []string `json:"records,omitempty"`
	Refused  string   `json:"refused,omitempty"` // status word and meaning, when it cannot be read
	Children []*Node  `json:"children,omitempty"`
}

// Label is how a node is called among its siblings.
func (n *Node) Label() string {
	switch {
	case n.ID != "":
		return n.ID
	case n.SFI != 0:
		return fmt.Sprintf("SFI %02X", n.SFI)
	}
	return n.Name
}

// Refusal is a status word by which the card refused something, how often, and
// the first thing that it was.
type Refusal struct {
	What  string `json:"what"`
	SW    string `json:"sw"`
	Means string `json:"means"`
	Count int    `json:"count"`
}

// Write writes a dump as JSON.
func (d *Dump) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// Read reads what Write writes. It fails with ErrFormat.
func Read(r io.Reader) (*Dump, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrFormat, MaxSize)
	}
	d := &Dump{}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if d.Format < 1 || d.Format > Format {
		return nil, fmt.Errorf("%w: format %d", ErrFormat, d.Format)
	}
	if err := check(d.Tree, 0); err != nil {
		return nil, err
	}
	return d, nil
}

// check refuses what would make later code stumble.
func check(list []*Node, depth int) error {
	if depth > 2*maxDepth {
		return fmt.Errorf("%w: nested too deep", ErrFormat)
	}
	for _, n := range list {
		if n == nil {
			return fmt.Errorf("%w: a node is null", ErrFormat)
		}
		if err := check(n.Children, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Lines gives the tree as text, for people.
func (d *Dump) Lines() []string {
	out := []string{fmt.Sprintf("answer to reset %s, %s", d.ATR, d.Protocol)}
	if p := d.Purse; p != nil {
		out = append(out, fmt.Sprintf("purse %s, profile %s, valid %s to %s", p.Number, p.Profile, p.ValidFrom, p.ValidTo))
		s := "balance not shown"
		if p.Balance != nil {
			s = "balance " + fen(*p.Balance) + " yuan"
		}
		if p.LoadCounter != nil {
			s += fmt.Sprintf(", on-line counter %d", *p.LoadCounter)
		}
		if p.PurchaseCounter != nil {
			s += fmt.Sprintf(", off-line counter %d", *p.PurchaseCounter)
		}
		out = append(out, fmt.Sprintf("%s, %d log records", s, len(p.Log)))
	}
	for _, n := range d.Tree {
		out = n.lines(out, "")
	}
	for _, r := range d.Refused {
		s := fmt.Sprintf("refused: %s: %s %s", r.What, r.SW, r.Means)
		if r.Count > 1 {
			s += fmt.Sprintf(" (and %d more)", r.Count-1)
		}
		out = append(out, s)
	}
	for _, n := range d.Notes {
		out = append(out, "note: "+n)
	}
	return out
}

func (n *Node) lines(out []string, indent string) []string {
	s := indent + n.Label() + "  " + n.Kind
	if n.Name != "" && n.Name != n.Label() {
		s += "  " + n.Name
	}
	if n.Refused != "" {
		s += "  refused: " + n.Refused
	}
	switch {
	case n.Data != "":
		s += fmt.Sprintf("  %d bytes  %s", len(n.Data)/2, short(n.Data))
	case n.Kind == "transparent" && n.Refused == "":
		s += "  empty"
	case len(n.Records) > 0:
		s += fmt.Sprintf("  %d records", len(n.Records))
	}
	out = append(out, s)
	for i, r := range n.Records {
		out = append(out, fmt.Sprintf("%s  %d  %s", indent, i+1, short(r)))
	}
	for _, c := range n.Children {
		out = c.lines(out, indent+"  ")
	}
	return out
}

// short cuts long data for the eye; the file has all of it.
func short(s string) string {
	const most = 96
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
