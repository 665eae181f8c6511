package apdu

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// MaxATR is the longest answer to reset, TS and 32 characters (ISO/IEC
// 7816-3 clause 8.2.1).
const MaxATR = 33

// Errors of ParseATR. No command has been sent when they occur.
var (
	ErrATRLength = errors.New("apdu: answer to reset has a wrong length")
	ErrATRTS     = errors.New("apdu: answer to reset starts with neither 3B nor 3F")
	ErrATRCheck  = errors.New("apdu: answer to reset has a wrong check byte TCK")
	ErrATRValue  = errors.New("apdu: answer to reset has a reserved value")
)

// Convention is the coding that TS announces. Readers deliver decoded bytes,
// so it changes nothing for those who read them.
type Convention byte

// Conventions (ISO/IEC 7816-3 clause 8.1).
const (
	Direct  Convention = 0x3B
	Inverse Convention = 0x3F
)

// InterfaceGroup is TAi, TBi, TCi and TDi of one i. A nil pointer is a byte
// that the card did not send.
type InterfaceGroup struct {
	// T is the protocol to which the bytes belong: the one that TD of the
	// group before names; 0 in group 1 and irrelevant there, 15 for global
	// bytes. In group 2 TA and TB are global whatever T is.
	T              byte
	TA, TB, TC, TD *byte
}

// ATR is a decoded answer to reset (ISO/IEC 7816-3 clause 8). Parameters that
// the card does not send have their default.
type ATR struct {
	Raw        []byte
	Convention Convention
	Groups     []InterfaceGroup
	// Protocols are the protocols offered, in the card's order, the first
	// one being the default; 0 alone when the card names none. 15 is no
	// protocol and not among them.
	Protocols []byte

	F, D   int  // clock rate conversion and baud rate adjustment of TA1, default 372 and 1; 0 = reserved
	FMax   int  // highest clock of TA1 in kHz, default 5000; 0 = reserved
	N      byte // extra guard time of TC1 in etu; 255 has a meaning of its own in T=0 and T=1
	WI     byte // waiting time integer of T=0, default 10
	IFSC   byte // information field size of T=1, default 32
	BWI    byte // block waiting time integer of T=1, default 4
	CWI    byte // character waiting time integer of T=1, default 13
	CRC    bool // T=1 checks by CRC; false = LRC
	Global struct {
		Present   bool
		ClockStop byte // 0 not supported, 1 state L, 2 state H, 3 either
		Classes   byte // bit 1 class A 5 V, bit 2 class B 3 V, bit 3 class C 1.8 V
	} // first TA after T=15

	// Specific is set in specific mode (TA2 present): the card speaks
	// SpecificT at once. In negotiable mode a PPS may choose.
	Specific    bool
	SpecificT   byte
	CanChange   bool // TA2: a warm reset may change to negotiable mode
	Implicit    bool // TA2: F and D are not those of TA1 but implicit
	Historical  []byte
	TCK         *byte        // nil when the card sends none, as with T=0 only
	Objects     []CompactTLV // of the historical bytes; nil when they are proprietary or not well-formed
	StatusBytes []byte       // status indicator of the historical bytes, 1..3 bytes: life cycle, SW1, SW2
}

// CompactTLV is a data object of the historical bytes (ISO/IEC 7816-4 clause
// 12.1.1).
type CompactTLV struct {
	Tag   byte   // 1..15
	Value []byte // 0..15 bytes
}

// TA1: F and highest clock in kHz by the high nibble, D by the low one
// (ISO/IEC 7816-3 tables 7 and 8). 0 = reserved.
var (
	atrF    = [16]int{372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048, 0, 0}
	atrFMax = [16]int{4000, 5000, 6000, 8000, 12000, 16000, 20000, 0, 0, 5000, 7500, 10000, 15000, 20000, 0, 0}
	atrD    = [16]int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0}
)

// ParseATR decodes an answer to reset. It fails with one of the ErrATR
// errors; with ErrATRCheck and ErrATRValue the ATR is decoded all the same,
// because a technician wants to see it.
func ParseATR(b []byte) (ATR, error) {
	a := ATR{F: 372, D: 1, FMax: 5000, WI: 10, IFSC: 32, BWI: 4, CWI: 13}
	if len(b) < 2 || len(b) > MaxATR {
		return a, fmt.Errorf("%w: %d bytes, 2 to %d are possible", ErrATRLength, len(b), MaxATR)
	}
	a.Raw = append([]byte(nil), b...)
	a.Convention = Convention(b[0])
	if a.Convention != Direct && a.Convention != Inverse {
		return a, fmt.Errorf("%w but with %02X", ErrATRTS, b[0])
	}
	rest := a.Raw[2:]
	take := func() *byte {
		if len(rest) == 0 {
			return nil
		}
		v := rest[0]
		rest = rest[1:]
		return &v
	}
	checked := false // TCK is there as soon as anything but T=0 is named
	for y, t := b[1]>>4, byte(0); ; {
		g := InterfaceGroup{T: t}
		for i, p := range []**byte{&g.TA, &g.TB, &g.TC, &g.TD} {
			if y>>i&1 == 0 {
				continue
			}
			if *p = take(); *p == nil {
				return a, fmt.Errorf("%w: T%c%d is announced and absent", ErrATRLength, 'A'+i, len(a.Groups)+1)
			}
		}
		a.Groups = append(a.Groups, g)
		if g.TD == nil {
			break
		}
		y, t = *g.TD>>4, *g.TD&0x0F
		checked = checked || t != 0
		if t != 15 && bytes.IndexByte(a.Protocols, t) < 0 {
			a.Protocols = append(a.Protocols, t)
		}
	}
	if len(a.Protocols) == 0 {
		a.Protocols = []byte{0}
	}
	k := int(b[1] & 0x0F)
	if k > len(rest) {
		return a, fmt.Errorf("%w: %d historical bytes are announced, %d are there", ErrATRLength, k, len(rest))
	}
	a.Historical, rest = rest[:k:k], rest[k:]
	if checked {
		if a.TCK = take(); a.TCK == nil {
			return a, fmt.Errorf("%w: TCK is absent", ErrATRLength)
		}
	}
	if len(rest) != 0 {
		return a, fmt.Errorf("%w: %d bytes too many", ErrATRLength, len(rest))
	}
	a.history()
	err := a.values()
	if checked {
		var x byte
		for _, v := range a.Raw[1:] {
			x ^= v
		}
		if x != 0 {
			err = fmt.Errorf("%w: it is %02X and should be %02X", ErrATRCheck, *a.TCK, *a.TCK^x)
		}
	}
	return a, err
}

// values takes the parameters out of the interface bytes.
func (a *ATR) values() error {
	var err error
	reserved := func(name string, v byte) {
		if err == nil {
			err = fmt.Errorf("%w: %s is %02X", ErrATRValue, name, v)
		}
	}
	seen1, seen15 := false, false
	for i, g := range a.Groups {
		switch {
		case i == 0:
			if g.TA != nil {
				a.F, a.FMax, a.D = atrF[*g.TA>>4], atrFMax[*g.TA>>4], atrD[*g.TA&0x0F]
				if a.F == 0 || a.D == 0 {
					reserved("TA1", *g.TA)
				}
			}
			if g.TC != nil {
				a.N = *g.TC
			}
			if g.TD != nil && *g.TD&0x0F == 15 {
				reserved("TD1", *g.TD) // T=15 is no protocol that could come first
			}
		case i == 1:
			if g.TA != nil {
				a.Specific, a.SpecificT = true, *g.TA&0x0F
				a.CanChange, a.Implicit = *g.TA&0x80 == 0, *g.TA&0x10 != 0
				if a.SpecificT == 15 {
					reserved("TA2", *g.TA)
				}
			}
			if g.TC != nil { // specific to T=0 wherever it stands
				if a.WI = *g.TC; a.WI == 0 {
					reserved("TC2", 0)
				}
			}
		case g.T == 1 && !seen1:
			seen1 = true
			if g.TA != nil {
				if a.IFSC = *g.TA; a.IFSC == 0 || a.IFSC == 0xFF {
					reserved(fmt.Sprintf("TA%d", i+1), *g.TA)
				}
			}
			if g.TB != nil {
				if a.BWI, a.CWI = *g.TB>>4, *g.TB&0x0F; a.BWI > 9 {
					reserved(fmt.Sprintf("TB%d", i+1), *g.TB)
				}
			}
			if g.TC != nil {
				a.CRC = *g.TC&1 != 0
			}
		case g.T == 15 && !seen15:
			seen15 = true
			if g.TA != nil {
				a.Global.Present = true
				a.Global.ClockStop, a.Global.Classes = *g.TA>>6, *g.TA&0x3F
				switch a.Global.Classes {
				case 1, 2, 3, 4, 6, 7: // ISO/IEC 7816-3 table 10
				default:
					reserved(fmt.Sprintf("TA%d", i+1), *g.TA)
				}
			}
		}
	}
	return err
}

// history decodes the historical bytes by their category indicator (ISO/IEC
// 7816-4 clause 12.1.1): 00 is compact TLV followed by three status bytes, 80
// is compact TLV in which the status may be the last object. Others are
// proprietary.
func (a *ATR) history() {
	h := a.Historical
	if len(h) == 0 {
		return
	}
	switch h[0] {
	case 0x00:
		if len(h) < 4 {
			return
		}
		if list, ok := compactTLV(h[1 : len(h)-3]); ok {
			a.Objects, a.StatusBytes = list, h[len(h)-3:]
		}
	case 0x80:
		list, ok := compactTLV(h[1:])
		if !ok {
			return
		}
		a.Objects = list
		if n := len(list); n > 0 && list[n-1].Tag == 8 && len(list[n-1].Value) >= 1 && len(list[n-1].Value) <= 3 {
			a.StatusBytes = list[n-1].Value
		}
	}
}

func compactTLV(b []byte) ([]CompactTLV, bool) {
	list := []CompactTLV{}
	for len(b) > 0 {
		n := int(b[0] & 0x0F)
		if b[0]>>4 == 0 || n > len(b)-1 {
			return nil, false
		}
		list = append(list, CompactTLV{Tag: b[0] >> 4, Value: b[1 : 1+n : 1+n]})
		b = b[1+n:]
	}
	return list, true
}

// Offers reports whether the card offers protocol t.
func (a ATR) Offers(t byte) bool {
	return bytes.IndexByte(a.Protocols, t) >= 0
}

// String gives the bytes in upper-case hex.
func (a ATR) String() string { return fmt.Sprintf("%X", a.Raw) }

// Explain says in English what each byte means, one line per byte or field,
// for technicians.
func (a ATR) Explain() []string {
	if len(a.Raw) < 2 {
		return nil
	}
	var out []string
	say := func(name string, v byte, format string, args ...any) {
		out = append(out, fmt.Sprintf("%-3s %02X  ", name, v)+fmt.Sprintf(format, args...))
	}
	switch a.Convention {
	case Direct:
		say("TS", a.Raw[0], "direct convention")
	case Inverse:
		say("TS", a.Raw[0], "inverse convention")
	default:
		say("TS", a.Raw[0], "not a convention")
	}
	say("T0", a.Raw[1], "%d historical bytes", a.Raw[1]&0x0F)
	seen1, seen15 := false, false
	for i, g := range a.Groups {
		n := i + 1
		first1 := i > 1 && g.T == 1 && !seen1
		first15 := i > 1 && g.T == 15 && !seen15
		seen1, seen15 = seen1 || first1, seen15 || first15
		if g.TA != nil {
			name := fmt.Sprintf("TA%d", n)
			switch {
			case i == 0:
				say(name, *g.TA, "F=%s D=%s, at most %s kHz", orReserved(a.F), orReserved(a.D), orReserved(a.FMax))
			case i == 1:
				say(name, *g.TA, "specific mode, T=%d%s%s", a.SpecificT, choose(a.CanChange, ", may change", ", can't change"), choose(a.Implicit, ", F and D implicit", ""))
			case first1:
				say(name, *g.TA, "T=1 information field size %d", a.IFSC)
			case first15:
				say(name, *g.TA, "clock stop %s; supply classes %s", clockStops[a.Global.ClockStop], supplyClasses(a.Global.Classes))
			default:
				say(name, *g.TA, "for T=%d", g.T)
			}
		}
		if g.TB != nil {
			name := fmt.Sprintf("TB%d", n)
			switch {
			case i <= 1:
				say(name, *g.TB, "programming voltage, obsolete")
			case first1:
				say(name, *g.TB, "T=1 block waiting integer %d, character waiting integer %d", a.BWI, a.CWI)
			case first15:
				say(name, *g.TB, "use of contact C6: %s", choose(*g.TB == 0, "none", choose(*g.TB&0x80 != 0, "proprietary", "standard")))
			default:
				say(name, *g.TB, "for T=%d", g.T)
			}
		}
		if g.TC != nil {
			name := fmt.Sprintf("TC%d", n)
			switch {
			case i == 0 && a.N == 255:
				say(name, *g.TC, "guard time 255: the least that the protocol allows")
			case i == 0:
				say(name, *g.TC, "extra guard time %d etu", a.N)
			case i == 1:
				say(name, *g.TC, "T=0 waiting integer %d", a.WI)
			case first1:
				say(name, *g.TC, "T=1 check by %s", choose(a.CRC, "CRC", "LRC"))
			default:
				say(name, *g.TC, "for T=%d", g.T)
			}
		}
		if g.TD != nil {
			if t := *g.TD & 0x0F; t == 15 {
				say(fmt.Sprintf("TD%d", n), *g.TD, "global bytes follow")
			} else {
				say(fmt.Sprintf("TD%d", n), *g.TD, "protocol T=%d", t)
			}
		}
	}
	if len(a.Historical) > 0 {
		out = append(out, fmt.Sprintf("historical %X%s", a.Historical, printable(a.Historical)))
	}
	for _, o := range a.Objects {
		out = append(out, fmt.Sprintf("  %X %s: %X%s", o.Tag, compactNames[o.Tag&0x0F], o.Value, printable(o.Value)))
	}
	if len(a.StatusBytes) > 0 {
		out = append(out, fmt.Sprintf("  status %X", a.StatusBytes))
	}
	if a.TCK != nil {
		var x byte
		for _, v := range a.Raw[1:] {
			x ^= v
		}
		say("TCK", *a.TCK, "%s", choose(x == 0, "right", "wrong"))
	}
	return out
}

var clockStops = [4]string{"not supported", "in state L", "in state H", "in either state"}

// Names of ISO/IEC 7816-4 table 118 and clause 12.1.1.
var compactNames = [16]string{
	1: "country code", 2: "issuer identification number", 3: "card service data",
	4: "initial access data", 5: "card issuer's data", 6: "pre-issuing data",
	7: "card capabilities", 8: "status information", 15: "application identifier",
	0: "reserved", 9: "reserved", 10: "reserved", 11: "reserved", 12: "reserved", 13: "reserved", 14: "reserved",
}

func choose(c bool, yes, no string) string {
	if c {
		return yes
	}
	return no
}

func orReserved(v int) string {
	if v == 0 {
		return "reserved"
	}
	return fmt.Sprint(v)
}

func supplyClasses(v byte) string {
	var s []string
	for i, name := range []string{"A 5 V", "B 3 V", "C 1.8 V"} {
		if v>>i&1 != 0 {
			s = append(s, name)
		}
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

// printable adds the text of bytes that are text.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q", b)
}
