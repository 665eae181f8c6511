package printertest

import (
	"encoding/xml"
	"fmt"
	"strings"

	"rsc.io/qr"
)

// SVG draws the newest slips one below the other, at most so many, on paper
// of so many half-width characters: what came out, by the bytes that came in.
func (p *Printer) SVG(most, columns int) []byte {
	slips := p.Slips()
	slips = slips[max(0, len(slips)-most):]
	const dot, high, edge = 12, 32, 24
	width := columns*dot + 2*edge
	var b strings.Builder
	y := edge
	for _, s := range slips {
		for _, l := range s.Lines {
			if l.QR {
				c, err := qr.Encode(l.Text, qr.M)
				if err != nil {
					continue
				}
				const m = 4
				x := (width - c.Size*m) / 2
				b.WriteString(`<path d="`)
				for j := range c.Size {
					for i := range c.Size {
						if c.Black(i, j) {
							fmt.Fprintf(&b, "M%d %dh%dv%dh-%dz", x+i*m, y+j*m+2*m, m, m, m)
						}
					}
				}
				b.WriteString(`"/>` + "\n")
				y += (c.Size + 4) * m
				continue
			}
			k := 1
			if l.Double {
				k = 2
			}
			w := 0
			for _, r := range l.Text {
				if w++; r >= 0x80 {
					w++
				}
			}
			w *= dot * k
			x := edge
			if l.Centre {
				x = max(edge, (width-w)/2)
			}
			fill, weight := "#000", ""
			if l.Inverse {
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d"/>`+"\n", x, y, w, high*k)
				fill = "#fff"
			}
			if l.Bold {
				weight = ` font-weight="bold"`
			}
			if w > 0 {
				fmt.Fprintf(&b, `<text xml:space="preserve" x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs" font-size="%d" fill="%s"%s>`, x, y+24*k, w, 24*k, fill, weight)
				xml.EscapeText(&b, []byte(l.Text))
				b.WriteString("</text>\n")
			}
			y += high * k
		}
		if s.Cut {
			fmt.Fprintf(&b, `<path d="M0 %dh%d" stroke="#888" stroke-dasharray="6 6"/>`+"\n", y+edge, width)
			y += 2 * edge
		}
	}
	y += edge
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img"><title>%d</title>`+"\n"+
		`<rect width="%d" height="%d" fill="#fff"/>`+"\n"+`<g font-family="'Noto Sans Mono CJK SC','Sarasa Mono SC',SimSun,monospace">`+"\n%s</g></svg>\n",
		width, y, width, y, len(slips), width, y, b.String())
}
