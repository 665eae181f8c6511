package receipt

import "bytes"

// Paper is what a document is printed on.
type Paper struct {
	Columns int   // Columns58 or Columns80; 0: Columns58
	Logo    *Logo // nil: none, even where the document has a place for it
	NoCut   bool  // the printer has no cutter
}

func (p Paper) columns() int {
	if p.Columns <= 0 {
		return Columns58
	}
	return p.Columns
}

// Commands of ESC/POS, by Epson's names.
const (
	escInit    = "\x1b@"
	escChinese = "\x1c&"      // FS &: text is GB 18030
	escAlign   = "\x1ba"      // + 0 left, 1 centre
	escBold    = "\x1bE"      // + 0, 1
	escSize    = "\x1d!"      // + 00, 11: twice high and wide
	escInverse = "\x1dB"      // + 0, 1
	escFeed    = "\x1bd"      // + lines
	escCut     = "\x1dVB\x00" // feed to the cutter, cut all but a point
	escRaster  = "\x1dv0\x00" // + width in bytes and height in dots, 2 bytes each
	escQR      = "\x1d(k"     // + length, function
	qrModel    = "\x04\x001A2\x00"
	qrSize     = "\x03\x001C"  // + dots a module
	qrLevel    = "\x03\x001E1" // M: 15 % may be damaged
	qrPrint    = "\x03\x001Q0"
)

// ESCPOS gives the bytes that print the document: text in GB 18030, the QR
// code by the printer's own command, and a cut.
func (d Doc) ESCPOS(p Paper) []byte {
	var b bytes.Buffer
	b.WriteString(escInit + escChinese)
	flag := func(cmd string, on bool, yes byte) {
		b.WriteString(cmd)
		if !on {
			yes = 0
		}
		b.WriteByte(yes)
	}
	var now row
	for _, r := range layout(d, p.columns()) {
		if r.align != now.align {
			flag(escAlign, r.align == centre, 1)
		}
		if r.double != now.double {
			flag(escSize, r.double, 0x11)
		}
		if r.bold != now.bold {
			flag(escBold, r.bold, 1)
		}
		if r.inverse != now.inverse {
			flag(escInverse, r.inverse, 1)
		}
		now = r
		switch r.kind {
		case rowLogo:
			if p.Logo != nil {
				b.WriteString(escRaster)
				b.Write([]byte{byte(p.Logo.stride()), byte(p.Logo.stride() >> 8), byte(p.Logo.Height), byte(p.Logo.Height >> 8)})
				b.Write(p.Logo.bits)
			}
		case rowQR:
			qr := gb(r.text)
			b.WriteString(escQR + qrModel)
			b.WriteString(escQR + qrSize + string(rune(qrDots)))
			b.WriteString(escQR + qrLevel)
			n := len(qr) + 3
			b.WriteString(escQR)
			b.Write([]byte{byte(n), byte(n >> 8)})
			b.WriteString("1P0")
			b.Write(qr)
			b.WriteString(escQR + qrPrint + "\n")
		default:
			b.Write(gb(r.text))
			b.WriteByte('\n')
		}
	}
	b.WriteString(escAlign + "\x00" + escSize + "\x00" + escBold + "\x00" + escInverse + "\x00")
	if p.NoCut {
		b.WriteString(escFeed + "\x04")
	} else {
		b.WriteString(escCut)
	}
	return b.Bytes()
}

// qrDots is the width of a module of a QR code in dots, 0.5 mm: a code of our
// length then takes 25 mm, and a simple telephone reads it.
const qrDots = 4
