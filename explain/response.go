package explain

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

// Response explains a response APDU as the answer to command, which may be
// nil when it is not known.
func (e Explainer) Response(command, b []byte) Note {
	n := Note{What: "response", Hex: hexOf(apdu.Line{Kind: apdu.LineResponse, Data: b})}
	r, err := apdu.ParseResponse(b)
	if err != nil {
		n.Says = "not a response: " + err.Error()
		return n
	}
	n.Says = r.SW.Meaning()
	if len(r.Data) > 0 {
		var s string
		s, n.Parts = e.answer(command, r)
		if s != "" {
			n.Says = s
			if !r.SW.OK() {
				n.Says += "; " + r.SW.Meaning()
			}
		}
	}
	n.Parts = append(n.Parts, e.Status(r.SW))
	return n
}

// answer explains the data of a response.
func (e Explainer) answer(command []byte, r apdu.Response) (string, []Note) {
	c, err := apdu.ParseCommand(command)
	d := r.Data
	if err != nil {
		return e.unasked(d)
	}
	purse := c.CLA >= 0x80 && c.CLA < 0xE0
	switch {
	case c.INS == 0xA4 && !purse:
		if list, err := apdu.ParseTLV(d); err == nil && len(list) > 0 {
			return e.selected(list), TLV(list)
		}
	case c.INS == 0x84:
		return fmt.Sprintf("a challenge of %d bytes", len(d)), []Note{field("challenge", d, "")}
	case c.INS == 0xB0 && !purse:
		return e.fileData(c, d)
	case c.INS == 0xB2 && !purse:
		return records(c, d)
	case c.INS == 0x88 && !purse:
		return "the result of the authentication", []Note{field("result", d, "")}
	case purse && c.INS == 0x50:
		switch {
		case c.P1 == 0x00 && len(d) == 16 || c.P1 == 0x05 && len(d) == 16:
			return fmt.Sprintf("balance %s yuan, on-line counter %s", fen(d), counter(d[4:])), split(d, part{"balance", 4, yuan}, part{"on-line counter", 2, counter},
				part{"key version", 1, nil}, part{"algorithm", 1, algorithm}, part{"random", 4, nil}, part{"MAC1", 4, says("the card's proof")})
		case (c.P1 == 0x01 || c.P1 == 0x02 || c.P1 == 0x03) && len(d) == 15:
			return fmt.Sprintf("balance %s yuan, off-line counter %s", fen(d), counter(d[4:])), split(d, part{"balance", 4, yuan}, part{"off-line counter", 2, counter},
				part{"overdraft limit", 3, limit}, part{"key version", 1, nil}, part{"algorithm", 1, algorithm}, part{"random", 4, nil})
		case c.P1 == 0x04 && len(d) == 19:
			return fmt.Sprintf("balance %s yuan, overdraft limit %s yuan", fen(d), limit(d[6:9])), split(d, part{"balance", 4, yuan}, part{"on-line counter", 2, counter},
				part{"overdraft limit", 3, limit}, part{"key version", 1, nil}, part{"algorithm", 1, algorithm}, part{"random", 4, nil}, part{"MAC1", 4, nil})
		}
	case purse && (c.INS == 0x52 || c.INS == 0x58) && len(d) == 4:
		return "done, with TAC", split(d, part{"TAC", 4, says("the card's cryptogram of the transaction")})
	case purse && c.INS == 0x54 && c.P1 == 0x03 && len(d) == 4:
		return "done, with MAC3", split(d, part{"MAC3", 4, says("the card's proof to the host")})
	case purse && c.INS == 0x54 && len(d) == 8:
		return "done, with TAC and MAC2", split(d, part{"TAC", 4, says("the card's cryptogram of the transaction")}, part{"MAC2", 4, says("the card's proof to the PSAM")})
	case purse && c.INS == 0x5A && len(d) == 8:
		return "the card proves that transaction", split(d, part{"MAC2", 4, says("or TAC: card systems differ in the order")}, part{"TAC", 4, says("or MAC2")})
	case purse && c.INS == 0x5C && len(d) >= 4:
		return "balance " + yuan(d[:4]), split(d, part{"balance", 4, yuan})
	case purse && c.INS == 0x70 && len(d) == 8:
		mac := "MAC1"
		if c.P1 == 0x01 {
			mac = "MAC2"
		}
		return "the SAM grants it with " + mac, split(d, part{"sequence", 4, number}, part{mac, 4, nil})
	case purse && c.INS == 0x74:
		if st, _, err := suite.DecodeLoadSAMState(d); err == nil {
			return fmt.Sprintf("load SAM %s gave %s yuan in %d loads; it may give %s yuan and %d loads in all", st.SAM, st.Total, st.Count, st.CeilingAmount, st.CeilingCount),
				split(d, part{"SAM", 10, nil}, part{"allowance", 4, number}, part{"ceiling in fen", 8, number}, part{"ceiling of loads", 4, number}, part{"given in fen", 8, number}, part{"loads given", 4, number}, part{"MAC", 4, nil})
		}
	case purse && c.INS == 0xFA:
		return "the result", []Note{field("result", d, "")}
	case c.INS == 0xC0:
		return e.unasked(d)
	case c.INS == 0xCA || c.INS == 0xCB:
		if list, err := apdu.ParseTLV(d); err == nil && len(list) > 0 {
			return "data objects", TLV(list)
		}
		return fmt.Sprintf("%d bytes of data", len(d)), []Note{field("data", d, "%s", text(d))}
	}
	return fmt.Sprintf("%d bytes that this command does not usually answer", len(d)), []Note{field("data", d, "%s", text(d))}
}

// selected tells in a sentence what SELECT found.
func (e Explainer) selected(list []apdu.TLV) string {
	name, ok := apdu.FindTLV(list, 0x6F, 0x84)
	if !ok {
		if name, ok = apdu.FindTLV(list, 0x62, 0x84); !ok {
			return "selected"
		}
	}
	what := e.application(name.Value)
	if what == "" {
		what = text(name.Value)
	}
	if what == "" {
		what = fmt.Sprintf("%X", name.Value)
	}
	switch info, ok := apdu.FindTLV(list, 0x6F, 0xA5, 0x9F0C); {
	case ok && len(bytes.Trim(info.Value, "\x00")) == 0:
		what += ", public information still empty"
	case ok && len(info.Value) >= infoLen:
		what += fmt.Sprintf(", card %X, valid %s to %s", info.Value[10:20], bcdDate(info.Value[20:]), bcdDate(info.Value[24:]))
	}
	return "selected: " + what
}

// fileData explains what READ BINARY brought. With a line MAC the last four
// bytes are the card's.
func (e Explainer) fileData(c apdu.Command, d []byte) (string, []Note) {
	var mac []Note
	if maced(c.CLA) && len(d) > 4 {
		mac = []Note{field("line MAC", d[len(d)-4:], "the card's")}
		d = d[:len(d)-4]
	}
	s := fmt.Sprintf("%d bytes", len(d))
	if c.P2 == 0 && !maced(c.CLA) {
		switch {
		case c.P1 == 0x95 && (len(d) == 30 || len(d) == 43 || len(d) == 50):
			return "public information", []Note{PublicInfo(d)}
		case c.P1 == 0x95 && len(d) == 14:
			return fmt.Sprintf("SAM number %X", d[:10]), split(d, part{"SAM number", 10, nil}, part{"version", 1, nil}, part{"type", 1, nil}, part{"issuer's data", 2, nil})
		case c.P1 == 0x96 && len(d) == 6:
			return fmt.Sprintf("terminal number %X", d), []Note{field("terminal", d, "")}
		case c.P1 == 0x96 && (len(d) == holderLen || len(d) == 55):
			return "holder's information", []Note{holder(d)}
		case c.P1 == 0x97 && len(d) == 25:
			return "SAM information", []Note{samInfo(d)}
		case c.P1 == 0x98 && len(d) == 4:
			return "terminal sequence " + number(d), []Note{field("sequence", d, "%s", number(d))}
		}
	}
	return s, append([]Note{field("data", d, "%s", text(d))}, mac...)
}

// records explains what READ RECORD brought.
func records(c apdu.Command, d []byte) (string, []Note) {
	log := c.P2>>3 == 0x18 && !maced(c.CLA)
	switch {
	case log && len(d) == recordLen:
		n := LogRecord(d)
		return n.Says, n.Parts
	case log && c.P2&0x07 == 5 && len(d)%recordLen == 0:
		var list []Note
		for ; len(d) > 0; d = d[recordLen:] {
			list = append(list, LogRecord(d[:recordLen]))
		}
		return fmt.Sprintf("%d log records", len(list)), list
	}
	if list, err := apdu.ParseTLV(d); err == nil && len(list) > 0 && (list[0].Constructed() || list[0].Tag == 0x4F) {
		return "a record of data objects", TLV(list)
	}
	return fmt.Sprintf("a record of %d bytes", len(d)), []Note{field("record", d, "%s", text(d))}
}

// plausibleInit reports bytes that can be what INITIALIZE answers: a balance
// that a purse can have, and an algorithm that there is.
func plausibleInit(d []byte, algorithm byte) bool {
	return fen(d) <= logMost && algorithm <= 0x04
}

// unasked explains data to which no command is known.
func (e Explainer) unasked(d []byte) (string, []Note) {
	if list, err := apdu.ParseTLV(d); err == nil && len(list) > 0 && list[0].Constructed() {
		return e.selected(list), TLV(list)
	}
	var likely string
	switch len(d) {
	case 16:
		if !plausibleInit(d, d[7]) {
			break
		}
		likely = fmt.Sprintf("if this answers INITIALIZE FOR LOAD: balance %s yuan, on-line counter %d, key version %02X, algorithm %02X", fen(d), binary.BigEndian.Uint16(d[4:]), d[6], d[7])
	case 15:
		if !plausibleInit(d, d[10]) {
			break
		}
		likely = fmt.Sprintf("if this answers INITIALIZE FOR PURCHASE: balance %s yuan, off-line counter %d", fen(d), binary.BigEndian.Uint16(d[4:]))
	case recordLen:
		if isRecord(d) {
			return "if this is a log record: " + LogRecord(d).Says, LogRecord(d).Parts
		}
	}
	if likely == "" {
		likely = fmt.Sprintf("%d bytes; the command is not known", len(d))
	}
	return likely, []Note{field("data", d, "%s", text(d))}
}
