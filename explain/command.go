package explain

import (
	"encoding/binary"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

// Risk is what a command can cost.
type Risk uint8

// Risks, the greatest last.
const (
	RiskNone  Risk = iota // reads, or cannot do harm as far as is known
	RiskTries             // a wrong one costs a try of a PIN or key
	RiskWrite             // changes what the card holds
	RiskMoney             // moves value, or spends a SAM's allowance
)

func (r Risk) String() string {
	return [...]string{"nothing", "can cost a try of a PIN or key", "writes to the card", "moves money"}[r]
}

// instruction is what is known of an instruction byte in one kind of class.
type instruction struct {
	name string
	risk Risk
}

// Instructions of ISO/IEC 7816-4 table 4 and -8, -9, class 0x and 4x.
var iso = map[byte]instruction{
	0x04: {"DEACTIVATE FILE", RiskWrite}, 0x0C: {"ERASE RECORD", RiskWrite}, 0x0E: {"ERASE BINARY", RiskWrite}, 0x0F: {"ERASE BINARY", RiskWrite},
	0x10: {"PERFORM SCQL OPERATION", RiskWrite}, 0x12: {"PERFORM TRANSACTION OPERATION", RiskWrite}, 0x14: {"PERFORM USER OPERATION", RiskWrite},
	0x20: {"VERIFY", RiskTries}, 0x21: {"VERIFY", RiskTries}, 0x22: {"MANAGE SECURITY ENVIRONMENT", RiskNone},
	0x24: {"CHANGE REFERENCE DATA", RiskTries}, 0x25: {"CHANGE REFERENCE DATA", RiskTries},
	0x26: {"DISABLE VERIFICATION REQUIREMENT", RiskTries}, 0x28: {"ENABLE VERIFICATION REQUIREMENT", RiskTries},
	0x2A: {"PERFORM SECURITY OPERATION", RiskNone}, 0x2C: {"RESET RETRY COUNTER", RiskTries}, 0x2D: {"RESET RETRY COUNTER", RiskTries},
	0x44: {"ACTIVATE FILE", RiskWrite}, 0x46: {"GENERATE KEY PAIR", RiskWrite}, 0x47: {"GENERATE KEY PAIR", RiskWrite},
	0x70: {"MANAGE CHANNEL", RiskNone}, 0x82: {"EXTERNAL AUTHENTICATE", RiskTries}, 0x84: {"GET CHALLENGE", RiskNone},
	0x86: {"GENERAL AUTHENTICATE", RiskTries}, 0x87: {"GENERAL AUTHENTICATE", RiskTries}, 0x88: {"INTERNAL AUTHENTICATE", RiskNone},
	0xA0: {"SEARCH BINARY", RiskNone}, 0xA1: {"SEARCH BINARY", RiskNone}, 0xA2: {"SEARCH RECORD", RiskNone}, 0xA4: {"SELECT", RiskNone},
	0xB0: {"READ BINARY", RiskNone}, 0xB1: {"READ BINARY", RiskNone}, 0xB2: {"READ RECORD", RiskNone}, 0xB3: {"READ RECORD", RiskNone},
	0xC0: {"GET RESPONSE", RiskNone}, 0xC2: {"ENVELOPE", RiskNone}, 0xC3: {"ENVELOPE", RiskNone}, 0xCA: {"GET DATA", RiskNone}, 0xCB: {"GET DATA", RiskNone},
	0xD0: {"WRITE BINARY", RiskWrite}, 0xD1: {"WRITE BINARY", RiskWrite}, 0xD2: {"WRITE RECORD", RiskWrite},
	0xD6: {"UPDATE BINARY", RiskWrite}, 0xD7: {"UPDATE BINARY", RiskWrite}, 0xDA: {"PUT DATA", RiskWrite}, 0xDB: {"PUT DATA", RiskWrite},
	0xDC: {"UPDATE RECORD", RiskWrite}, 0xDD: {"UPDATE RECORD", RiskWrite}, 0xE0: {"CREATE FILE", RiskWrite}, 0xE2: {"APPEND RECORD", RiskWrite},
	0xE4: {"DELETE FILE", RiskWrite}, 0xE6: {"TERMINATE DF", RiskWrite}, 0xE8: {"TERMINATE EF", RiskWrite}, 0xFE: {"TERMINATE CARD USAGE", RiskWrite},
}

// Instructions of purse cards and SAMs in class 8x (purse.md sections 6, 7, 9
// and 11). What is not here falls back on the table above.
var own = map[byte]instruction{
	0x0E: {"ERASE DIRECTORY", RiskWrite}, 0x16: {"CARD BLOCK", RiskWrite}, 0x18: {"APPLICATION UNBLOCK", RiskTries}, 0x1E: {"APPLICATION BLOCK", RiskWrite},
	0x1A: {"INIT FOR DESCRYPT (delivery key)", RiskNone}, 0x1C: {"END ISSUE", RiskWrite},
	0x24: {"PIN UNBLOCK", RiskTries}, 0x2C: {"UNBLOCK", RiskTries}, 0x30: {"vendor pull", RiskMoney}, 0x32: {"vendor charge", RiskMoney},
	0x50: {"INITIALIZE", RiskNone}, 0x52: {"CREDIT FOR LOAD", RiskMoney}, 0x54: {"DEBIT", RiskMoney}, 0x58: {"UPDATE OVERDRAFT LIMIT", RiskMoney},
	0x5A: {"GET TRANSACTION PROVE", RiskNone}, 0x5C: {"GET BALANCE", RiskNone}, 0x5E: {"CHANGE or RELOAD PIN", RiskTries},
	0x70: {"INIT SAM", RiskNone}, 0x72: {"CREDIT SAM", RiskTries}, 0x74: {"LOAD SAM STATE", RiskNone}, 0x76: {"INSTALL ALLOWANCE", RiskMoney},
	0x80: {"CREATE FILE (PSAM)", RiskWrite}, 0x8A: {"CREATE MF or ERASE (PSAM)", RiskWrite}, 0x8C: {"SET SERIAL (PSAM)", RiskWrite},
	0xD2: {"WRITE RSA KEY (PSAM)", RiskWrite}, 0xD4: {"WRITE KEY", RiskWrite}, 0xD8: {"UPDATE KEY (PSAM)", RiskWrite}, 0xDC: {"UPDATE CAPP RECORD", RiskWrite},
	0xE0: {"CREATE FILE", RiskWrite}, 0xE8: {"WRITE KEY (SmartCOS)", RiskWrite}, 0xFA: {"DES CRYPT", RiskNone}, 0xFC: {"CALCULATE KEY (PSAM)", RiskNone},
}

// Instructions of class E0: grey-locked fuel purses (purse.md section 7.11).
var grey = map[byte]instruction{
	0x7A: {"INITIALIZE GREY LOCK or ON-LINE UNLOCK", RiskNone}, 0x7C: {"GREY LOCK or ON-LINE UNLOCK", RiskMoney}, 0x7E: {"DEBIT OF A LOCKED PURSE", RiskMoney},
}

func find(cla, ins byte) (instruction, bool) {
	if cla >= 0xE0 && cla != 0xFF {
		if i, ok := grey[ins]; ok {
			return i, true
		}
	}
	if cla >= 0x80 {
		if i, ok := own[ins]; ok {
			return i, true
		}
	}
	i, ok := iso[ins]
	return i, ok
}

// RiskOf tells what a command can cost, by its class, instruction and
// parameters. Of an instruction that is not known here it cannot know more
// than RiskNone.
func RiskOf(command []byte) Risk {
	if len(command) < 4 {
		return RiskNone
	}
	cla, ins, p1 := command[0], command[1], command[2]
	i, _ := find(cla, ins)
	switch {
	case ins == 0x20 && len(command) == 4:
		return RiskTries // by ISO/IEC 7816-4 it only asks; card systems older than that count it
	case cla >= 0x80 && ins == 0x70 && p1 == 0x01:
		return RiskMoney // the load SAM counts it against its allowance
	}
	return i.risk
}

// Name is the name of a command with what its parameters make of it, without
// its data.
func Name(command []byte) string {
	if len(command) < 2 {
		return "not a command"
	}
	cla, ins := command[0], command[1]
	var p1, p2 byte
	if len(command) >= 4 {
		p1, p2 = command[2], command[3]
	}
	i, ok := find(cla, ins)
	if !ok {
		return fmt.Sprintf("instruction %02X of class %02X, not known here", ins, cla)
	}
	if cla >= 0x80 && cla < 0xE0 {
		switch ins {
		case 0x50:
			switch {
			case p1 == 0x00:
				return "INITIALIZE FOR LOAD"
			case p1 == 0x01:
				return "INITIALIZE FOR PURCHASE"
			case p1 == 0x02:
				return "INITIALIZE FOR CASH WITHDRAW"
			case p1 == 0x03:
				return "INITIALIZE FOR CAPP PURCHASE"
			case p1 == 0x04:
				return "INITIALIZE FOR UPDATE"
			case p1 == 0x05:
				return "INITIALIZE FOR UNLOAD"
			}
		case 0x54:
			switch p1 {
			case 0x01:
				return "DEBIT FOR PURCHASE"
			case 0x03:
				return "DEBIT FOR UNLOAD"
			}
		case 0x5E:
			if p1 == 0x01 {
				return "CHANGE PIN"
			}
			return "RELOAD PIN"
		case 0x70:
			if p1 == 0x01 {
				return "INIT SAM FOR LOAD"
			}
			return "INIT SAM FOR PURCHASE"
		case 0x72:
			if p1 == 0x01 {
				return "CREDIT SAM FOR LOAD"
			}
			return "CREDIT SAM FOR PURCHASE"
		case 0x1E:
			if p2 == 0x01 {
				return "APPLICATION BLOCK, for ever"
			}
		}
	}
	return i.name
}

// maced reports whether the class says that a line MAC ends the data
// (purse.md section 4.8).
func maced(cla byte) bool { return (cla < 0x40 || cla >= 0x80 && cla < 0xE0) && cla&0x0C == 0x04 }

// Command explains a command APDU. Bytes that are none are shown, with what
// is wrong with them.
func (e Explainer) Command(b []byte) Note {
	n := Note{What: "command", Hex: hexOf(apdu.Line{Kind: apdu.LineCommand, Data: b})}
	c, err := apdu.ParseCommand(b)
	if err != nil {
		if len(b) < 4 {
			n.Says = "not a command: " + err.Error()
			return n
		}
		n.Says = Name(b) + "; its lengths are wrong: " + err.Error()
		n.Parts = append(n.Parts, field("header", b[:4], ""))
		if len(b) > 4 {
			n.Parts = append(n.Parts, Note{What: "rest", Hex: fmt.Sprintf("%d bytes", len(b)-4)})
			if apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: b}, nil).Redacted == nil {
				n.Parts[1] = field("rest", b[4:], "")
			}
		}
		return n
	}
	n.Says, n.Parts = e.command(c)
	n.Parts = append([]Note{classNote(c.CLA), field("instruction", []byte{c.INS}, "%s", Name(b)), field("parameters", []byte{c.P1, c.P2}, "%s", parameters(c))}, n.Parts...)
	switch {
	case c.Ne > 0 && c.Extended():
		n.Parts = append(n.Parts, Note{What: "expects", Says: fmt.Sprintf("up to %d bytes, extended length", c.Ne)})
	case c.Ne > 0:
		n.Parts = append(n.Parts, Note{What: "expects", Says: fmt.Sprintf("%d bytes", c.Ne)})
	}
	if r := RiskOf(b); r != RiskNone {
		n.Parts = append(n.Parts, Note{What: "careful", Says: r.String()})
	}
	return n
}

func classNote(cla byte) Note {
	n := field("class", []byte{cla}, "interindustry")
	if cla >= 0x80 {
		n.Says = "proprietary"
	}
	switch {
	case cla == 0xFF:
		n.Says = "not valid; readers take it for themselves"
	case maced(cla):
		n.Says += ", with a line MAC"
	case cla < 0x40 && cla&0x0C != 0:
		n.Says += ", secure messaging"
	}
	if cla < 0x40 && cla&0x10 != 0 {
		n.Says += ", more of this command follows"
	}
	if cla < 0x40 && cla&0x03 != 0 {
		n.Says += fmt.Sprintf(", channel %d", cla&0x03)
	}
	return n
}

func parameters(c apdu.Command) string {
	switch c.INS {
	case 0xA4:
		s := map[byte]string{0x00: "by file identifier", 0x01: "a directory below", 0x02: "a file below", 0x03: "the directory above", 0x04: "by name", 0x08: "by path from the MF", 0x09: "by path from here"}[c.P1]
		if s == "" {
			s = "not known"
		}
		switch c.P2 & 0x03 {
		case 2:
			s += ", the next one of that name"
		case 1:
			s += ", the last one"
		case 3:
			s += ", the one before"
		}
		if c.P2&0x0C == 0x0C {
			s += ", no answer wanted"
		}
		return s
	case 0xB0, 0xD6, 0xD0:
		if c.CLA&0xE0 == 0xE0 {
			break
		}
		if c.P1&0x80 != 0 {
			return fmt.Sprintf("file %02X (%s), from byte %d", c.P1&0x1F, sfiName(c.P1&0x1F), c.P2)
		}
		return fmt.Sprintf("the current file, from byte %d", int(c.P1)<<8|int(c.P2))
	case 0xB2, 0xDC, 0xE2, 0xD2:
		file := "the current file"
		if sfi := c.P2 >> 3; sfi != 0 {
			file = fmt.Sprintf("file %02X (%s)", sfi, sfiName(sfi))
		}
		switch {
		case c.INS == 0xE2:
			return file
		case c.P2&0x07 == 4:
			return fmt.Sprintf("record %d of %s", c.P1, file)
		case c.P2&0x07 == 5:
			return fmt.Sprintf("records from %d on of %s", c.P1, file)
		case c.P2&0x07 == 0:
			return fmt.Sprintf("record with identifier %02X of %s", c.P1, file)
		}
		return fmt.Sprintf("record %d of %s, mode %d", c.P1, file, c.P2&0x07)
	case 0x20, 0x5E, 0x24:
		return fmt.Sprintf("PIN %02X", c.P2)
	case 0x82, 0x88:
		s := fmt.Sprintf("key %02X", c.P2)
		if c.INS == 0x88 {
			s += map[byte]string{0: ", encrypt", 1: ", decrypt", 2: ", MAC"}[c.P1]
		}
		return s
	}
	if c.CLA >= 0x80 {
		purse := map[byte]string{0x01: "the deposit (ED)", 0x02: "the purse (EP)"}[c.P2]
		switch c.INS {
		case 0x50, 0x5C:
			return purse
		case 0x5A:
			return TxName(c.P2)
		case 0xE0:
			return fmt.Sprintf("file %02X%02X", c.P1, c.P2)
		case 0xD4:
			if c.P1 == 0x01 {
				return fmt.Sprintf("add key %02X", c.P2)
			}
			return fmt.Sprintf("replace key %02X of type %02X", c.P2, c.P1)
		case 0x1A:
			return fmt.Sprintf("%d levels, usage %s, version %02X", c.P1>>5, usage(c.P1), c.P2)
		case 0xFA:
			return map[byte]string{0: "encrypt", 1: "MAC, last part", 2: "encrypt, more follows", 3: "MAC, next part", 5: "MAC", 7: "MAC, first part"}[c.P1]
		}
	}
	return ""
}

// usage names the low five bits of a SAM key's usage byte (purse.md section
// 9.4).
func usage(b byte) string {
	u, ok := map[byte]string{0: "control", 2: "purchase", 4: "TAC", 0x0C: "TAC", 5: "maintenance", 6: "MAC", 7: "encrypt", 8: "MAC and encrypt",
		9: "load", 0x0D: "PIN", 0x0E: "external authentication", 0x0F: "internal authentication", 0x13: "control", 0x1E: "export"}[b&0x1F]
	if !ok {
		return fmt.Sprintf("%02X, not known", b&0x1F)
	}
	return u
}

func sfiName(sfi byte) string {
	n, ok := map[byte]string{0x01: "directory or ED purse", 0x02: "EP purse", 0x05: "card data", 0x15: "public information; of a SAM its number",
		0x16: "holder; of a SAM the terminal number", 0x17: "SAM information or free", 0x18: "transaction log; of a SAM its sequence", 0x19: "compound purchase records"}[sfi]
	if !ok {
		return "not a file of the purse"
	}
	return n
}

// command gives the sentence and the parts of the data field.
func (e Explainer) command(c apdu.Command) (string, []Note) {
	data := c.Data
	var mac []Note
	if maced(c.CLA) && len(data) >= 4 {
		mac = []Note{field("line MAC", data[len(data)-4:], "")}
		data = data[:len(data)-4]
	}
	name := Name([]byte{c.CLA, c.INS, c.P1, c.P2})
	sentence, parts := e.dataOf(c, data, name)
	if parts == nil && len(data) > 0 {
		if hides(c) {
			parts = []Note{secret("data", len(data))}
		} else {
			parts = []Note{field("data", data, "%s", text(data))}
		}
	}
	if sentence == "" {
		sentence = name
		if p := parameters(c); p != "" {
			sentence += ", " + p
		}
	}
	return sentence, append(parts, mac...)
}

func hides(c apdu.Command) bool {
	b, err := c.Bytes()
	return err == nil && apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: b}, nil).Redacted != nil
}

func (e Explainer) dataOf(c apdu.Command, data []byte, name string) (string, []Note) {
	purse := map[byte]string{0x01: "the deposit (ED)", 0x02: "the purse (EP)"}[c.P2]
	switch {
	case c.INS == 0xA4 && c.CLA < 0x80:
		if len(data) == 0 {
			return "SELECT the MF", nil
		}
		if c.P1 == 0x04 {
			what := text(data)
			if k := e.application(data); k != "" {
				what = k
			}
			if what == "" {
				what = fmt.Sprintf("%X", data)
			}
			return "SELECT application " + what, []Note{field("name", data, "%s", what)}
		}
		what := ""
		if len(data) == 2 {
			what = map[uint16]string{0x3F00: ", the MF", 0x3F01: ", an application", 0x0015: ", public information", 0x2F00: ", the directory of applications"}[binary.BigEndian.Uint16(data)]
		}
		return fmt.Sprintf("SELECT file %X%s", data, what), []Note{field("file", data, "")}
	case c.CLA < 0x80 && (c.INS == 0xD6 || c.INS == 0xDC || c.INS == 0xE2 || c.INS == 0xD0 || c.INS == 0xD2):
		s := fmt.Sprintf("%s, %s: %d bytes", name, parameters(c), len(data))
		switch {
		case c.INS == 0xD6 && c.P1 == 0x95 && c.P2 == 0 && len(data) >= infoLen:
			return s, PublicInfo(data).Parts
		case c.INS == 0xD6 && c.P1 == 0x96 && c.P2 == 0 && (len(data) == holderLen || len(data) == 55):
			return s, holder(data).Parts
		}
		if list, err := apdu.ParseTLV(data); err == nil && len(list) > 0 && list[0].Constructed() {
			return s, TLV(list)
		}
		return s, nil
	case c.INS == 0x20 && c.CLA < 0x80:
		if len(data) == 0 {
			return fmt.Sprintf("VERIFY, PIN %02X: asks for the tries left", c.P2), nil
		}
		return fmt.Sprintf("VERIFY, PIN %02X", c.P2), []Note{secret("PIN", len(data))}
	case c.INS == 0x82 && c.CLA < 0x80:
		return fmt.Sprintf("EXTERNAL AUTHENTICATE with key %02X", c.P2), []Note{field("cryptogram", data, "of the challenge")}
	case c.INS == 0x88 && c.CLA < 0x80:
		return fmt.Sprintf("INTERNAL AUTHENTICATE with %s", parameters(c)), []Note{field("data", data, "")}
	case c.CLA < 0x80 || c.CLA >= 0xE0:
		return "", nil
	}
	// The purse and the SAMs.
	switch c.INS {
	case 0x50:
		if c.P1 == 0x04 {
			return "INITIALIZE FOR UPDATE of the overdraft limit of " + purse, split(data, part{"key index", 1, nil}, part{"terminal", 6, nil})
		}
		parts := split(data, part{"key index", 1, nil}, part{"amount", 4, yuan}, part{"terminal", 6, nil})
		if len(data) != 11 {
			return name + ", wrong length", parts
		}
		return fmt.Sprintf("%s of %s yuan, %s, terminal %X", name, fen(data[1:]), purse, data[5:11]), parts
	case 0x52:
		s := name
		if len(data) == 11 {
			s += ", dated " + stampText(data)
		}
		return s, split(data, part{"date and time", 7, stampText}, part{"MAC2", 4, says("the authority's proof")})
	case 0x54:
		if c.P1 == 0x03 {
			return name, split(data, part{"date and time", 7, stampText}, part{"MAC2", 4, says("the authority's proof")})
		}
		s := name
		if len(data) == 15 {
			s += ", dated " + stampText(data[4:])
		}
		return s, split(data, part{"terminal sequence", 4, number}, part{"date and time", 7, stampText}, part{"MAC1", 4, says("the PSAM's proof")})
	case 0x58:
		return name, split(data, part{"new limit", 3, limit}, part{"date and time", 7, stampText}, part{"MAC2", 4, nil})
	case 0x5A:
		s := name
		if len(data) == 2 {
			s = fmt.Sprintf("GET TRANSACTION PROVE: %s that left the counter at %s", TxName(c.P2), counter(data))
		}
		return s, split(data, part{"counter after", 2, counter})
	case 0x5C:
		return "GET BALANCE of " + purse, nil
	case 0x70:
		if c.P1 == 0x01 {
			return e.samLoad(data)
		}
		fields := []part{{"card's random", 4, nil}, {"card's counter", 2, counter}, {"amount", 4, yuan}, {"type", 1, txType}, {"date and time", 7, stampText}, {"key version", 1, nil}, {"algorithm", 1, algorithm}}
		return samSentence(name, data, 6, 10, 11), split(data, append(fields, factors(len(data)-20)...)...)
	case 0x72:
		what := "MAC2"
		if c.P1 == 0x01 {
			what = "TAC"
		}
		return name + ": is the card's " + what + " right?", split(data, part{what, 4, nil})
	case 0x74:
		return "LOAD SAM STATE: what was given, and what may be", split(data, part{"challenge", 8, nil})
	case 0x76:
		a, _, err := suite.DecodeAllowance(data)
		if err != nil {
			return name + ", not of the form that it has", nil
		}
		return fmt.Sprintf("INSTALL ALLOWANCE %d: %s yuan and %d loads in all", a.Sequence, a.CeilingAmount, a.CeilingCount),
			split(data, part{"sequence", 4, number}, part{"ceiling in fen", 8, number}, part{"ceiling of loads", 4, number}, part{"MAC", 4, nil})
	case 0x1A:
		return fmt.Sprintf("%s: derive a key, %s", name, parameters(c)), split(data, factors(len(data))...)
	case 0xFA:
		if c.P1&0x05 == 0x05 && len(data) > 8 {
			parts := []Note{field("initial value", data[:8], "")}
			in := data[8:]
			// The 22 bytes under a purchase's TAC, padded (purse.md section 4.6).
			if len(in) == 24 && in[22] == 0x80 && in[23] == 0 {
				return "DES CRYPT: the MAC over the fields of a TAC", append(parts, split(in, part{"amount", 4, yuan}, part{"type", 1, txType}, part{"terminal", 6, nil},
					part{"terminal sequence", 4, number}, part{"date and time", 7, stampText}, part{"padding", 2, nil})...)
			}
			return "DES CRYPT: " + parameters(c), append(parts, field("data", in, ""))
		}
		return "DES CRYPT: " + parameters(c), nil
	case 0xD4:
		return e.writeKey(c, data)
	case 0xE0:
		return createFile(c, data)
	case 0x5E:
		what := "old and new PIN"
		var parts []Note
		if c.P1 == 0x00 && len(data) > 4 {
			what = "new PIN"
			parts = []Note{secret(what, len(data)-4), secret("MAC", 4)}
		} else {
			parts = []Note{secret(what, len(data))}
		}
		return fmt.Sprintf("%s, PIN %02X", name, c.P2), parts
	case 0x0E:
		return "ERASE everything in the current directory", nil
	case 0xDC:
		return fmt.Sprintf("UPDATE CAPP RECORD, %s: written when the debit is", parameters(c)), []Note{field("record", data, "")}
	}
	return "", nil
}

// factors gives the fields of n bytes of diversification factors.
func factors(n int) []part {
	var list []part
	for i := 0; i < n/8; i++ {
		list = append(list, part{fmt.Sprintf("factor %d", i+1), 8, nil})
	}
	return list
}

func samSentence(name string, data []byte, amount, typ, stamp int) string {
	if len(data) < stamp+7 {
		return name + ", wrong length"
	}
	return fmt.Sprintf("%s: %s of %s yuan, dated %s", name, TxName(data[typ]), fen(data[amount:]), stampText(data[stamp:stamp+7]))
}

func (e Explainer) samLoad(data []byte) (string, []Note) {
	fields := []part{{"card's random", 4, nil}, {"card's counter", 2, counter}, {"balance", 4, yuan}, {"amount", 4, yuan}, {"type", 1, txType},
		{"key version", 1, nil}, {"algorithm", 1, algorithm}, {"MAC1", 4, says("the card's proof")}, {"date and time", 7, stampText}}
	return samSentence("INIT SAM FOR LOAD", data, 10, 14, 21), split(data, append(fields, factors(len(data)-28)...)...)
}

// keyTypes of FMCOS (purse.md section 4.3).
var keyTypes = map[byte]string{0x30: "internal authentication", 0x31: "internal authentication", 0x32: "internal authentication", 0x34: "TAC", 0x36: "line (maintenance)", 0x37: "PIN unblock",
	0x38: "PIN reload", 0x39: "external authentication", 0x3A: "PIN", 0x3C: "overdraft", 0x3D: "unload", 0x3E: "purchase", 0x3F: "load"}

func keyType(t byte) string {
	plain, ok := keyTypes[t&0x3F]
	if !ok {
		plain = "not known"
	}
	if t&0xC0 == 0xC0 {
		plain += ", by MAC and encryption"
	}
	return plain
}

func (e Explainer) writeKey(c apdu.Command, data []byte) (string, []Note) {
	if maced(c.CLA) { // enciphered
		return fmt.Sprintf("WRITE KEY, enciphered: %s", parameters(c)), []Note{secret("enciphered key", len(data))}
	}
	if len(data) < 5 {
		return "WRITE KEY, wrong length", []Note{secret("data", len(data))}
	}
	t := data[0] & 0x3F
	names := [2]string{"version", "algorithm"}
	switch t {
	case 0x39, 0x3A:
		names = [2]string{"follow-on state", "tries"}
	case 0x36, 0x37, 0x38:
		names = [2]string{"reserved", "tries"}
	}
	what := "key"
	if t == 0x3A {
		what = "PIN"
	}
	return fmt.Sprintf("WRITE KEY: %s, type %s, number %02X", map[bool]string{true: "add", false: "replace"}[c.P1 == 0x01], keyType(data[0]), c.P2), []Note{
		field("type", data[:1], "%s", keyType(data[0])), field("right of use", data[1:2], "%s", right(data[1])), field("right of change", data[2:3], "%s", right(data[2])),
		field(names[0], data[3:4], ""), field(names[1], data[4:5], ""), secret(what, len(data)-5)}
}

// right explains an access right (purse.md section 11.2).
func right(b byte) string {
	switch {
	case b == 0xF0:
		return "always"
	case b&0x0F > b>>4:
		return "never"
	}
	return fmt.Sprintf("in states %X to %X", b&0x0F, b>>4)
}

// createFile explains CREATE FILE of FMCOS (purse.md section 11.1).
func createFile(c apdu.Command, data []byte) (string, []Note) {
	if len(data) == 0 {
		return "CREATE FILE, no data", nil
	}
	kinds := map[byte]string{0x38: "directory", 0x3F: "key file", 0x28: "transparent", 0x2A: "fixed records", 0x2C: "variable records", 0x2E: "cyclic records", 0x2F: "purse"}
	base := data[0]
	if base&0x3F != 0x3F && base&0x3F != 0x38 {
		base = base & 0x2F
	} else {
		base = base & 0x3F
	}
	kind, ok := kinds[base]
	if !ok {
		kind = "not known"
	}
	switch data[0] & 0xC0 {
	case 0x80:
		kind += ", written with MAC"
	case 0x40:
		kind += ", written enciphered"
	case 0xC0:
		kind += ", written enciphered with MAC"
	}
	parts := []Note{field("kind", data[:1], "%s", kind)}
	rest := data[1:]
	size := func(b []byte) string { return number(b) + " bytes" }
	access := func(b []byte) string { return right(b[0]) }
	switch base {
	case 0x38:
		name := max(0, len(rest)-7)
		parts = append(parts, split(rest, part{"space", 2, size}, part{"right of creating", 1, access}, part{"right of erasing", 1, access}, part{"quoted file", 1, nil}, part{"reserved", 2, nil}, part{"name", name, asText})...)
	case 0x2A, 0x2E:
		parts = append(parts, split(rest, part{"records", 1, number}, part{"record length", 1, number}, part{"right of reading", 1, access}, part{"right of writing", 1, access}, part{"reserved", 1, nil}, part{"keys", 1, nil})...)
	case 0x28, 0x2C:
		parts = append(parts, split(rest, part{"space", 2, size}, part{"right of reading", 1, access}, part{"right of writing", 1, access}, part{"reserved", 1, nil}, part{"keys", 1, nil})...)
	case 0x3F:
		parts = append(parts, split(rest, part{"space", 2, size}, part{"short identifier", 1, nil}, part{"right of adding", 1, access}, part{"reserved", 2, nil})...)
	case 0x2F:
		parts = append(parts, split(rest, part{"size", 2, nil}, part{"right of use", 1, access}, part{"TAC key", 1, nil}, part{"reserved", 1, nil}, part{"log file", 1, nil})...)
	default:
		parts = append(parts, field("data", rest, ""))
	}
	return fmt.Sprintf("CREATE FILE %02X%02X: %s", c.P1, c.P2, kind), parts
}

// application names an application by the profiles, or by what is known of
// names.
func (e Explainer) application(name []byte) string {
	if p, ok := e.set().CardByAID(name); ok {
		if k := applications[string(name)]; k != "" {
			return k + ", profile " + p.Name
		}
		return "purse, profile " + p.Name
	}
	return applications[string(name)]
}

// hexOf gives the bytes of a line with its blanks, PINs and keys taken out.
func hexOf(l apdu.Line) string {
	s := apdu.RedactSecrets.Redact(l, nil).String()
	if len(s) > 2 {
		return s[2:]
	}
	return ""
}
