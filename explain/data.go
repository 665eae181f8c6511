package explain

import (
	"encoding/binary"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Lengths of the purse's structures (purse.md sections 3.3 to 3.5).
const (
	infoLen   = 30
	holderLen = 39
	recordLen = 23
	shortLog  = 16 // a log record without its date and time, as some dumps have it
)

// txNames are the transaction types of purse.md section 2.
var txNames = map[byte]string{
	suite.TypeEDLoad: "load of the deposit (ED)", suite.TypeEPLoad: "load of the purse (EP)",
	suite.TypeEDUnload: "unload of the deposit (ED)", suite.TypeEDCash: "cash withdrawal from the deposit (ED)",
	suite.TypeEDPurchase: "purchase from the deposit (ED)", suite.TypeEPPurchase: "purchase from the purse (EP)",
	suite.TypeOverdraft: "change of the overdraft limit (ED)", suite.TypeEPCompound: "compound purchase from the purse (EP)",
	0x08: "credit purchase", 0x30: "vendor pull", 0x32: "vendor charge",
	0x91: "grey lock (ED)", 0x92: "grey lock (EP)", 0x93: "debit of a locked purse (ED)", 0x94: "debit of a locked purse (EP)",
	0x95: "on-line unlock (ED)", 0x96: "on-line unlock (EP)",
}

// TxName names a transaction type of the purse.
func TxName(typ byte) string {
	if n, ok := txNames[typ]; ok {
		return n
	}
	return fmt.Sprintf("transaction type %02X, not known", typ)
}

func bcdDate(b []byte) string {
	if t, err := (money.Stamp{b[0], b[1], b[2], b[3]}).Time(); err == nil {
		return t.Format("2006-01-02")
	}
	return "not a date"
}

func stampText(b []byte) string {
	if t, err := money.Stamp(b).Time(); err == nil {
		return t.Format("2006-01-02 15:04:05")
	}
	return "not a date and time"
}

func fen(b []byte) money.Fen { return money.FromPurse([4]byte(b)) }

// split cuts b into fields of the given widths and explains each; what is
// left over is shown as such.
func split(b []byte, fields ...part) []Note {
	var out []Note
	for _, f := range fields {
		if len(b) < f.n {
			if len(b) > 0 {
				out = append(out, field(f.what, b, "cut short, %d bytes are wanted", f.n))
			} else {
				out = append(out, Note{What: f.what, Says: "missing"})
			}
			return out
		}
		n := field(f.what, b[:f.n], "")
		if f.says != nil {
			n.Says = f.says(b[:f.n])
		}
		out = append(out, n)
		b = b[f.n:]
	}
	if len(b) > 0 {
		out = append(out, field("more", b, "%d bytes that are not expected here", len(b)))
	}
	return out
}

type part struct {
	what string
	n    int
	says func([]byte) string
}

func yuan(b []byte) string { return fen(b).String() + " yuan" }
func counter(b []byte) string {
	return fmt.Sprintf("%d", binary.BigEndian.Uint16(b))
}
func number(b []byte) string {
	v := uint64(0)
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return fmt.Sprint(v)
}
func txType(b []byte) string { return TxName(b[0]) }
func limit(b []byte) string  { return suite.Limit(b).Fen().String() + " yuan" }
func asText(b []byte) string { return text(b) }
func algorithm(b []byte) string {
	switch b[0] {
	case 0x00:
		return "nominally 3DES; the key's length decides"
	case 0x01:
		return "nominally DES; the key's length decides"
	case 0x04:
		return "SM4"
	}
	return "not known"
}

func says(s string) func([]byte) string { return func([]byte) string { return s } }

// PublicInfo explains the public application information, EF 15 (purse.md
// sections 3.3 and 3.6).
func PublicInfo(b []byte) Note {
	n := Note{What: "public information", Hex: fmt.Sprintf("%X", b), Says: "EF 15"}
	fields := []part{
		{"issuer", 8, func(b []byte) string {
			if [4]byte(b[:4]) == [4]byte(suite.TestIssuer[:4]) {
				return "the test issuer: this is a test card"
			}
			return ""
		}},
		{"application type", 1, func(b []byte) string {
			switch b[0] {
			case 1:
				return "ED"
			case 2:
				return "EP"
			case 3:
				return "ED and EP"
			case 0x16:
				return "expressway stored value card"
			case 0x17:
				return "expressway account card"
			}
			return "not known"
		}},
		{"application version", 1, func(b []byte) string {
			if b[0]>>4 >= 5 && b[0] != 0xFF {
				return "high nibble of 5 or more: perhaps an SM4 card"
			}
			return ""
		}},
		{"serial number", 10, func(b []byte) string {
			if c, err := money.CardNumberFromBCD(b); err == nil && !c.IsZero() {
				return "card " + c.String()
			}
			return "no card number"
		}},
		{"valid from", 4, bcdDate},
		{"valid to", 4, bcdDate},
	}
	if len(b) == 43 || len(b) == 50 { // expressway cards
		fields = append(fields, part{"plate", 12, asText}, part{"user type", 1, nil}, part{"plate colour", 1, nil})
		if rest := len(b) - 42; rest > 0 {
			fields = append(fields, part{"more", rest, says("of the issuer")})
		}
	} else {
		fields = append(fields, part{"issuer's data", 2, nil})
	}
	n.Parts = split(b, fields...)
	return n
}

// LogRecord explains a record of the transaction log, EF 18 (purse.md section
// 3.5). Nothing in it is proved.
func LogRecord(b []byte) Note {
	n := Note{What: "log record", Hex: fmt.Sprintf("%X", b)}
	fields := []part{{"counter", 2, counter}, {"overdraft limit", 3, limit}, {"amount", 4, yuan}, {"type", 1, txType}, {"terminal", 6, nil}}
	if len(b) != shortLog {
		fields = append(fields, part{"date and time", 7, stampText})
	}
	n.Parts = split(b, fields...)
	switch {
	case len(b) >= recordLen && (b[9] == 0x00 || b[9] == 0xFF):
		n.Says = "never written"
	case len(b) >= recordLen:
		n.Says = fmt.Sprintf("%s of %s yuan at terminal %X, %s, counter %d", TxName(b[9]), fen(b[5:]), b[10:16], stampText(b[16:23]), binary.BigEndian.Uint16(b))
	case len(b) == shortLog:
		n.Says = fmt.Sprintf("%s of %s yuan at terminal %X, counter %d; date and time are not given", TxName(b[9]), fen(b[5:]), b[10:16], binary.BigEndian.Uint16(b))
	default:
		n.Says = "too short for a record"
	}
	return n
}

// holder explains EF 16 of a card (purse.md section 3.4).
func holder(b []byte) Note {
	id := 16
	if len(b) == 55 {
		id = 32
	}
	return Note{What: "holder", Hex: fmt.Sprintf("%X", b), Says: "EF 16", Parts: split(b,
		part{"card type", 1, nil}, part{"issuer's staff", 1, nil}, part{"name", 20, asText}, part{"document number", id, asText},
		part{"document type", 1, func(b []byte) string {
			return map[byte]string{0: "identity card", 1: "military", 2: "passport", 3: "entry permit", 4: "temporary identity card"}[b[0]]
		}})}
}

// samInfo explains EF 17 of a SAM application (purse.md section 9.1).
func samInfo(b []byte) Note {
	return Note{What: "SAM information", Hex: fmt.Sprintf("%X", b), Says: "EF 17", Parts: split(b,
		part{"key index", 1, nil}, part{"issuer", 8, nil}, part{"user", 8, nil}, part{"valid from", 4, bcdDate}, part{"valid to", 4, bcdDate})}
}

// tags that cards of this family send (ISO/IEC 7816-4 clauses 5.3.3, 8.2.1;
// purse.md section 3.2).
var tags = map[uint32]string{
	0x6F: "file control information", 0x62: "file control parameters", 0x64: "file management data",
	0x80: "file size", 0x81: "total size", 0x82: "file descriptor", 0x83: "file identifier", 0x84: "name of the directory",
	0x85: "proprietary", 0x86: "security attributes", 0x87: "file with more control information", 0x88: "short file identifier",
	0x8A: "life cycle", 0x8C: "security attributes", 0xA5: "proprietary data", 0x9F08: "application version", 0x9F0C: "issuer's data (EF 15)",
	0xBF0C: "issuer's discretionary data", 0x61: "application", 0x4F: "application identifier", 0x50: "label", 0x51: "path",
	0x52: "command to perform", 0x53: "discretionary data", 0x73: "discretionary data", 0x5F50: "address", 0x70: "record",
	0x9F38: "PDOL", 0x5F2D: "languages", 0x9F11: "code table", 0x9F12: "preferred name", 0x5A: "account number", 0x57: "track 2",
	0x5F20: "holder's name", 0x5F24: "expires", 0x5F25: "valid from", 0x5F28: "country", 0x77: "response", 0x7C: "authentication data",
}

// TLV explains data objects.
func TLV(list []apdu.TLV) []Note {
	var out []Note
	for _, t := range list {
		name, ok := tags[t.Tag]
		if !ok {
			name = "tag not known here"
		}
		n := Note{What: fmt.Sprintf("%X", t.Tag), Hex: fmt.Sprintf("%X", t.Value), Says: name}
		if t.Constructed() {
			n.Hex = ""
			n.Parts = TLV(t.Children)
			out = append(out, n)
			continue
		}
		switch {
		case t.Tag == 0x9F0C && len(t.Value) >= infoLen:
			n.Parts = PublicInfo(t.Value).Parts
		case t.Tag == 0x82 && len(t.Value) > 0:
			n.Says += ": " + Descriptor(t.Value[0])
		case t.Tag == 0x80 || t.Tag == 0x81:
			n.Says += ": " + number(t.Value) + " bytes"
		case t.Tag == 0x84 || t.Tag == 0x4F:
			if k := applications[string(t.Value)]; k != "" {
				n.Says += ": " + k
			} else if s := text(t.Value); s != "" {
				n.Says += " " + s
			}
		case text(t.Value) != "" && len(t.Value) > 1:
			n.Says += " " + text(t.Value)
		}
		out = append(out, n)
	}
	return out
}

// applications by name (purse.md section 3.1).
var applications = map[string]string{
	"\xA0\x00\x00\x00\x03\x86\x98\x07\x01": "PBOC electronic deposit and purse",
	"1PAY.SYS.DDF01":                       "payment system environment",
	"2PAY.SYS.DDF01":                       "contactless payment system environment",
	suite.LoadSAMName:                      "load SAM",
	"\xA0\x00\x00\x06\x32\x01\x01\x05":     "transport purse (T-Union)",
	"\xA0\x00\x00\x06\x32\x01\x01\x06":     "transport purse (T-Union)",
}

// Descriptor names a file descriptor byte (ISO/IEC 7816-4 table 14).
func Descriptor(b byte) string {
	if b&0x80 != 0 {
		return "proprietary"
	}
	kind := b >> 3 & 0x07
	if kind == 7 && b&0x07 == 0 {
		return "directory"
	}
	var s string
	switch b & 0x07 {
	case 1:
		s = "transparent"
	case 2:
		s = "linear fixed records"
	case 3:
		s = "linear fixed records, TLV"
	case 4:
		s = "linear variable records"
	case 5:
		s = "linear variable records, TLV"
	case 6:
		s = "cyclic records"
	case 7:
		s = "cyclic records, TLV"
	default:
		s = "structure not given"
	}
	switch kind {
	case 0:
		return s
	case 1:
		return s + ", internal"
	}
	return s + ", proprietary"
}
