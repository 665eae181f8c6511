package receipt

import (
	"encoding/xml"
	"fmt"
	"strings"

	"rsc.io/qr"
)

// Measures of a picture, in dots of the printer.
const (
	rowHeight = 32
	fontSize  = 24
	margin    = 24
)

// fonts in which a half-width character is half a full one.
const fonts = `'Noto Sans Mono CJK SC','Sarasa Mono SC','WenQuanYi Zen Hei Mono',SimSun,monospace`

// SVG draws the document as the printer would print it, one unit a dot. It is
// a picture without script, style sheet or reference to anything outside.
func (d Doc) SVG(p Paper) []byte {
	cols := p.columns()
	inner := cols * dotsPerColumn
	var b strings.Builder
	y := margin
	for _, r := range layout(d, cols) {
		switch r.kind {
		case rowLogo:
			if p.Logo != nil {
				x := margin + (inner-p.Logo.Width)/2
				fmt.Fprintf(&b, `<path d="%s"/>`+"\n", dots(x, y, 1, p.Logo.Width, p.Logo.Height, p.Logo.black))
				y += p.Logo.Height + rowHeight/2
			}
		case rowQR:
			code, err := qr.Encode(r.text, qr.M)
			if err != nil { // longer than a code holds: ours never are
				continue
			}
			n := code.Size
			fmt.Fprintf(&b, `<path d="%s"/>`+"\n", dots(margin+(inner-n*qrDots)/2, y+2*qrDots, qrDots, n, n, code.Black))
			y += (n + 4) * qrDots
		default:
			y += r.draw(&b, y, inner)
		}
	}
	y += margin
	w := inner + 2*margin
	title := escape(clean(d.Title()))
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s" lang="%s">`+"\n"+
		`<title>%s</title>`+"\n"+`<rect width="%d" height="%d" fill="#fff"/>`+"\n"+`<g font-family="%s" font-size="%d" fill="#000">`+"\n%s</g>\n</svg>\n",
		w, y, w, y, title, d.Lang, title, w, y, fonts, fontSize, b.String())
}

// draw draws a row of text at y and gives its height.
func (r row) draw(b *strings.Builder, y, inner int) int {
	scale := 1
	if r.double {
		scale = 2
	}
	w, h := width(r.text)*dotsPerColumn*scale, rowHeight*scale
	x := margin
	if r.align == centre {
		x += max(0, inner-w) / 2
	}
	if r.text != "" && strings.Trim(r.text, "-") == "" {
		fmt.Fprintf(b, `<path d="M%d %dh%d" stroke="#000" stroke-width="2" stroke-dasharray="8 4"/>`+"\n", x, y+h/2, w)
		return h
	}
	fill := ""
	if r.inverse {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d"/>`+"\n", x, y, w, h)
		fill = ` fill="#fff"`
	}
	attrs := fill
	if r.bold {
		attrs += ` font-weight="bold"`
	}
	if r.double {
		attrs += fmt.Sprintf(` font-size="%d"`, 2*fontSize)
	}
	// Each run between blanks stands where the printer would put it, whatever
	// the font.
	for _, run := range runs(r.text) {
		fmt.Fprintf(b, `<text x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs"%s>%s</text>`+"\n",
			x+run.at*dotsPerColumn*scale, y+24*scale, width(run.text)*dotsPerColumn*scale, attrs, escape(run.text))
	}
	return h
}

type run struct {
	at   int // columns
	text string
}

// runs splits text where two blanks or more stand.
func runs(s string) (out []run) {
	at := 0
	for s != "" {
		trimmed := strings.TrimLeft(s, " ")
		at += len(s) - len(trimmed)
		text, rest, more := strings.Cut(trimmed, "  ")
		if text = strings.TrimRight(text, " "); text != "" {
			out = append(out, run{at, text})
		}
		if !more {
			break
		}
		at += width(trimmed) - width(rest)
		s = rest
	}
	return out
}

// dots draws black squares of so many units as one path, a run of a line at a
// time.
func dots(x0, y0, unit, w, h int, black func(x, y int) bool) string {
	var b strings.Builder
	for y := range h {
		for x := 0; x < w; x++ {
			n := 0
			for x+n < w && black(x+n, y) {
				n++
			}
			if n > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv%dh-%dz", x0+x*unit, y0+y*unit, n*unit, unit, n*unit)
				x += n
			}
		}
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
