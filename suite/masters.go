package suite

import (
	"bytes"
	"encoding/hex"
	"log/slog"
)

// Masters is the issuer's set of master keys, 16 bytes each (purse.md section
// 4.3). A nil key means that the set lacks it. It never formats a key.
type Masters struct {
	Purchase   []byte // MPK: debit, in PSAMs
	Load       []byte // MLK: credit, in the vault and in load SAMs
	TAC        []byte // MTK: transaction cryptograms
	Line       []byte // MAMK: file maintenance, application and card block
	PINUnblock []byte // MPUK
	PINReload  []byte // MRPK
	Control    []byte // external authentication that opens issuing
	Allowance  []byte // load SAM allowances and state reports
}

// String shows nothing.
func (Masters) String() string { return "[master keys]" }

// GoString shows nothing.
func (Masters) GoString() string { return "[master keys]" }

// LogValue shows nothing.
func (Masters) LogValue() slog.Value { return slog.StringValue("[master keys]") }

// MarshalText refuses nothing and shows nothing, so that no encoder of text
// or JSON can write a key by mistake.
func (Masters) MarshalText() ([]byte, error) { return []byte("[master keys]"), nil }

// TestIssuer is the issuer identifier of every test card (the first 8 bytes
// of EF 15, purse.md section 3.3) and of every test SAM (EF 17, section 9.1).
// FF is no BCD, so no real institution has it. Simulated keys must be used
// with cards and SAMs that carry it, and real ones never.
var TestIssuer = [8]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x01}

// TestMasters gives the well-known TEST keys. They are public and protect
// nothing. The first three are those of the published test vectors.
func TestMasters() Masters {
	k := func(s string) []byte {
		b, _ := hex.DecodeString(s) // constants below
		return b
	}
	return Masters{
		Purchase:   k("2A4C6E80A2C4E6083B5D7F91B3D5F719"),
		Load:       k("6A0D3C5F7E9182B4C6D8EAFC0E203142"),
		TAC:        k("91A3B5C7D9EBFD0F21334557697B8D9F"),
		Line:       k("36363636363636361122334455667788"),
		PINUnblock: k("37373737373737371122334455667788"),
		PINReload:  k("38383838383838381122334455667788"),
		Control:    k("39393939393939391122334455667788"),
		Allowance:  k("A1A1A1A1A1A1A1A11122334455667788"),
	}
}

// IsTest reports whether any key of the set is one of the well-known test
// keys: a real configuration refuses such a set, a simulated one refuses any
// other.
func (m Masters) IsTest() bool {
	t := TestMasters().all()
	for _, k := range m.all() {
		for _, tk := range t {
			if len(k) > 0 && bytes.Equal(k, tk) {
				return true
			}
		}
	}
	return false
}

func (m Masters) all() [][]byte {
	return [][]byte{m.Purchase, m.Load, m.TAC, m.Line, m.PINUnblock, m.PINReload, m.Control, m.Allowance}
}
