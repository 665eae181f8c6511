package dump

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/money"
)

// Change is one difference between two dumps.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before,omitempty"` // empty for what came
	After  string `json:"after,omitempty"`  // empty for what went
}

// String tells it in words: "balance 30.00 → 80.00 yuan".
func (c Change) String() string {
	switch {
	case c.Before == "" && c.After == "":
		return c.What
	case c.Before == "":
		return c.What + " new: " + c.After
	case c.After == "":
		return c.What + " gone: " + c.Before
	}
	return fmt.Sprintf("%s %s → %s", c.What, c.Before, c.After)
}

func fen(v int64) string { return money.Fen(v).String() }

// Diff tells what is different in b from a, the purse first.
func Diff(a, b *Dump) []Change {
	d := &differ{}
	d.text("answer to reset", a.ATR, b.ATR)
	d.text("protocol", a.Protocol, b.Protocol)
	switch {
	case a.Purse == nil && b.Purse != nil:
		d.add("purse", "", b.Purse.Number)
	case a.Purse != nil && b.Purse == nil:
		d.add("purse", a.Purse.Number, "")
	case a.Purse != nil:
		d.purse(a.Purse, b.Purse)
	}
	d.nodes("", a.Tree, b.Tree)
	if a.Whole != b.Whole {
		d.add("one of the dumps is not whole", "", "")
	}
	return d.list
}

type differ struct{ list []Change }

func (d *differ) add(what, before, after string) {
	d.list = append(d.list, Change{what, before, after})
}

func (d *differ) text(what, before, after string) {
	if before != after {
		d.add(what, before, after)
	}
}

func (d *differ) purse(a, b *Purse) {
	if a.Number != b.Number {
		d.add("these are two cards: number", a.Number, b.Number)
	}
	d.text("profile", a.Profile, b.Profile)
	d.text("valid from", a.ValidFrom, b.ValidFrom)
	d.text("valid to", a.ValidTo, b.ValidTo)
	amount := func(v *int64) string {
		if v == nil {
			return "not shown"
		}
		return fen(*v)
	}
	if x, y := amount(a.Balance), amount(b.Balance); x != y {
		d.add("balance", x, y+" yuan")
	}
	count := func(v *uint16) string {
		if v == nil {
			return "not shown"
		}
		return strconv.Itoa(int(*v))
	}
	d.text("on-line counter", count(a.LoadCounter), count(b.LoadCounter))
	d.text("off-line counter", count(a.PurchaseCounter), count(b.PurchaseCounter))
	known := map[Record]bool{}
	for _, r := range a.Log {
		known[r] = true
	}
	for _, r := range b.Log {
		if !known[r] {
			typ, _ := strconv.ParseUint(r.Type, 16, 8)
			d.add("log record", "", fmt.Sprintf("%s of %s yuan at terminal %s, %s", explain.TxName(byte(typ)), fen(r.Amount), r.Terminal, r.Stamp))
		}
	}
}

// nodes compares the files of a directory, by their names.
func (d *differ) nodes(path string, a, b []*Node) {
	after := map[string]*Node{}
	for _, n := range b {
		after[n.Label()] = n
	}
	before := map[string]bool{}
	for _, n := range a {
		before[n.Label()] = true
		m := after[n.Label()]
		where := path + n.Label()
		if m == nil {
			d.add("file "+where, n.Kind, "")
			continue
		}
		d.text("kind of "+where, n.Kind, m.Kind)
		d.text("name of "+where, n.Name, m.Name)
		if n.Refused != m.Refused {
			d.add("reading of "+where, orFree(n.Refused), orFree(m.Refused))
		}
		d.bytes(where, n.Data, m.Data)
		for i := range max(len(n.Records), len(m.Records)) {
			what := fmt.Sprintf("%s record %d", where, i+1)
			switch {
			case i >= len(m.Records):
				d.add(what, n.Records[i], "")
			case i >= len(n.Records):
				d.add(what, "", m.Records[i])
			default:
				d.bytes(what, n.Records[i], m.Records[i])
			}
		}
		d.nodes(where+"/", n.Children, m.Children)
	}
	for _, m := range b {
		if !before[m.Label()] {
			d.add("file "+path+m.Label(), "", m.Kind)
		}
	}
}

func orFree(s string) string {
	if s == "" {
		return "free"
	}
	return s
}

// bytes tells the first stretch that differs, and how many bytes do.
func (d *differ) bytes(where, a, b string) {
	if a == b {
		return
	}
	x, errX := hex.DecodeString(a)
	y, errY := hex.DecodeString(b)
	if errX != nil || errY != nil {
		d.add(where, a, b)
		return
	}
	first, count := -1, 0
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i] != y[i] {
			if first < 0 {
				first = i
			}
			count++
		}
	}
	part := func(v []byte) string {
		v = v[min(first, len(v)):min(first+8, len(v))]
		if len(v) == 0 {
			return "nothing"
		}
		return fmt.Sprintf("% X", v)
	}
	what := fmt.Sprintf("%s from byte %d", where, first)
	if count > 1 {
		what += fmt.Sprintf(", %d bytes differ:", count)
	}
	d.add(what, part(x), part(y))
}
