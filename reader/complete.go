package reader

import "github.com/dianka/dianka/apdu"

// Complete makes t, which carries single commands to a card of protocol p,
// into a Transmitter that takes commands in the T=1 form and gives whole
// responses: T=0 shaping, 61xx and 6Cxx are dealt with inside. Backends put it
// under every Card unless they were asked for bytes as they are.
func Complete(t apdu.Transmitter, p Protocol) apdu.Transmitter {
	if p == T0 {
		t = apdu.ShapeT0(t)
	}
	return apdu.GetResponse(t)
}

// OfferedProtocol is the protocol that a card with this answer to reset
// speaks when nothing is negotiated: the specific mode of TA2, else the first
// one offered, else T=0 (ISO/IEC 7816-3 clauses 6.3.1 and 8.2.3).
func OfferedProtocol(atr []byte) Protocol {
	a, _ := apdu.ParseATR(atr) // what can be read of a bad one is still the best guess
	if a.Specific && a.SpecificT == 1 || !a.Specific && len(a.Protocols) > 0 && a.Protocols[0] == 1 {
		return T1
	}
	return T0
}
