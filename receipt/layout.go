package receipt

import (
	"strings"
	"unicode"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/dianka/dianka/journal"
)

// Widths of paper in half-width characters: a Chinese character takes two.
const (
	Columns58 = 32 // 58 mm paper, 384 dots
	Columns80 = 48 // 80 mm paper, 576 dots
)

// dotsPerColumn of a printer of 203 dpi with 12 × 24 dots for a half-width
// character.
const dotsPerColumn = 12

// clean makes text from outside printable: what could be a command to a
// printer, break a line or turn its direction becomes a blank; so does what
// is not text at all.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar, unicode.Is(unicode.C, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		case r == '¥': // not in the GB 2312 set of small printers, the full-width one is
			return '￥'
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}

// columns a character takes on the printer: what is one byte in GB 18030 is
// half as wide as the rest.
func columns(r rune) int {
	if r < 0x80 {
		return 1
	}
	return 2
}

func width(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// wrap breaks text into lines of at most w columns, between words of Latin
// script where there is one.
func wrap(s string, w int) (lines []string) {
	var line []rune
	used, space := 0, -1 // space: where the last blank stands in line
	for _, r := range s {
		if r == ' ' && used == 0 && len(lines) > 0 {
			continue
		}
		for used+columns(r) > w && len(line) > 0 {
			cut, rest := len(line), []rune(nil)
			if r == ' ' { // the line is full: the blank goes with the break
				break
			}
			if space > 0 && r < 0x80 && line[len(line)-1] < 0x80 {
				cut, rest = space, append(rest, line[space+1:]...)
			} else if strings.ContainsRune("，。；：！？、）", r) && cut > 1 && line[cut-1] >= 0x80 {
				cut, rest = cut-1, append(rest, line[cut-1:]...) // no line begins with a full stop
			}
			lines = append(lines, strings.TrimRight(string(line[:cut]), " "))
			line, used, space = rest, width(string(rest)), -1
		}
		if r == ' ' {
			if used+1 > w {
				lines = append(lines, string(line))
				line, used, space = nil, 0, -1
				continue
			}
			space = len(line)
		}
		line, used = append(line, r), used+columns(r)
	}
	return append(lines, string(line))
}

type align uint8

const (
	left align = iota
	centre
)

type rowKind uint8

const (
	rowText rowKind = iota
	rowLogo
	rowQR
)

// row is one line of the paper, as both renderings draw it.
type row struct {
	kind    rowKind
	text    string // as wide as the paper at most, in its size
	align   align
	double  bool // twice as high and wide
	bold    bool
	inverse bool // white on black
}

// layout sets a document for paper of so many columns.
func layout(d Doc, cols int) (rows []row) {
	set := func(s string, r row) {
		w := cols
		if r.double {
			w /= 2
		}
		for _, l := range wrap(clean(s), w) {
			r.text = l
			rows = append(rows, r)
		}
	}
	for _, l := range d.Lines {
		switch l.Role {
		case RoleLogo:
			rows = append(rows, row{kind: rowLogo, align: centre})
		case RoleShop:
			set(l.Text, row{align: centre, bold: true})
		case RoleTitle:
			set(l.Text, row{align: centre, bold: true, double: true})
		case RoleMark:
			set(" "+l.Text+" ", row{align: centre, bold: true, inverse: true})
		case RoleVerdict:
			rows = append(rows, verdict(l, cols)...)
		case RoleAmount:
			set(l.Text, row{align: centre, bold: true, double: true})
		case RoleFact:
			rows = append(rows, fact(clean(l.Text), clean(l.Value), cols)...)
		case RoleRule:
			rows = append(rows, row{text: strings.Repeat("-", cols)})
		case RoleNotice:
			set(l.Text, row{bold: true})
		case RoleText:
			set(l.Text, row{})
		case RoleHash:
			rows = append(rows, row{text: clean(l.Text)})
			for v := clean(l.Value); v != ""; {
				n := min(32, len(v))
				rows = append(rows, row{text: v[:n], align: centre})
				v = v[n:]
			}
		case RoleQR:
			rows = append(rows, row{kind: rowQR, text: clean(l.Value), align: centre})
		}
	}
	return rows
}

// verdict draws an outcome so that no two look alike even to who can't read:
// a plain frame, a frame of crosses, or a black bar.
func verdict(l Line, cols int) []row {
	frame, sign := "=", "√"
	bar := false
	switch l.Result {
	case journal.NotDone:
		frame, sign = "x ", "×"
	case journal.Done:
	default:
		frame, sign, bar = "? ", "？", true
	}
	edge := row{text: strings.Repeat(frame, cols/len(frame)), align: centre, bold: true, inverse: bar}
	zh, en := clean(sign+" "+l.Text), clean(l.Value)
	if bar { // the bar goes from edge to edge
		zh, en = pad(zh, cols/2), pad(en, cols/2)
	}
	return []row{edge,
		{text: zh, align: centre, double: true, bold: true, inverse: bar},
		{text: en, align: centre, double: true, bold: true, inverse: bar},
		edge}
}

func pad(s string, w int) string {
	n := max(0, w-width(s))
	return strings.Repeat(" ", n/2) + s + strings.Repeat(" ", n-n/2)
}

// fact sets a name at the left edge and its value at the right one, on a line
// of its own when both don't fit.
func fact(name, value string, cols int) (rows []row) {
	if n := cols - width(name) - width(value); n >= 1 {
		return []row{{text: name + strings.Repeat(" ", n) + value}}
	}
	for _, l := range wrap(name, cols) {
		rows = append(rows, row{text: l})
	}
	for _, l := range wrap(value, cols) {
		rows = append(rows, row{text: strings.Repeat(" ", max(0, cols-width(l))) + l})
	}
	return rows
}

// gb encodes cleaned text in GB 18030, which has every character of Unicode;
// no byte of it is below 20.
func gb(s string) []byte {
	b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(s))
	if err != nil { // clean left nothing that it can't encode
		return []byte(strings.Repeat("?", width(s)))
	}
	return b
}
