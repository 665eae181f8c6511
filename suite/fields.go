package suite

import (
	"encoding/binary"
	"errors"

	"github.com/dianka/dianka/money"
)

// Transaction types, the byte that enters every MAC and the log (purse.md
// section 2). It is not P1 or P2 of the command.
const (
	TypeEDLoad     byte = 0x01
	TypeEPLoad     byte = 0x02
	TypeEDUnload   byte = 0x03
	TypeEDCash     byte = 0x04
	TypeEDPurchase byte = 0x05
	TypeEPPurchase byte = 0x06
	TypeOverdraft  byte = 0x07
	TypeEPCompound byte = 0x09
)

// Limit is an overdraft limit: 3 bytes unsigned big-endian, fen (purse.md
// section 2).
type Limit [3]byte

// Fen gives the limit as an amount.
func (l Limit) Fen() money.Fen { return money.Fen(l[0])<<16 | money.Fen(l[1])<<8 | money.Fen(l[2]) }

// LoadSession is the session key input of load, unload and overdraft update:
// random, online counter before increment, 80 00 (purse.md section 4.5).
func LoadSession(rnd [4]byte, counter uint16) [8]byte {
	return [8]byte{rnd[0], rnd[1], rnd[2], rnd[3], byte(counter >> 8), byte(counter), 0x80, 0}
}

// PurchaseSession is the session key input of purchase, cash and compound
// purchase: random, offline counter before increment, the low two bytes of
// the terminal sequence (purse.md section 4.5).
func PurchaseSession(rnd [4]byte, counter uint16, terminalSeq uint32) [8]byte {
	return [8]byte{rnd[0], rnd[1], rnd[2], rnd[3], byte(counter >> 8), byte(counter), byte(terminalSeq >> 8), byte(terminalSeq)}
}

// The functions below put the fields of a MAC in order (purse.md section
// 4.6). They fail with money.ErrAmountRange when an amount does not fit a
// purse, and never otherwise.

// LoadMAC1 is what the card proves in INITIALIZE FOR LOAD, 15 bytes; also of
// unload.
func LoadMAC1(before, amount money.Fen, typ byte, terminal money.TerminalID) ([]byte, error) {
	var f fields
	f.fen(before)
	f.fen(amount)
	f.add(typ)
	f.add(terminal[:]...)
	return f.done()
}

// LoadMAC2 is what the authority proves in CREDIT FOR LOAD, 18 bytes; also of
// unload. The stamp is the authority's.
func LoadMAC2(amount money.Fen, typ byte, terminal money.TerminalID, at money.Stamp) ([]byte, error) {
	var f fields
	f.fen(amount)
	f.add(typ)
	f.add(terminal[:]...)
	f.add(at[:]...)
	return f.done()
}

// LoadTAC is the card's cryptogram of a load, 24 bytes; with the session key
// in place of the TAC key it is MAC3 of unload. The counter is the online
// counter before increment.
func LoadTAC(after money.Fen, counter uint16, amount money.Fen, typ byte, terminal money.TerminalID, at money.Stamp) ([]byte, error) {
	var f fields
	f.fen(after)
	f.add(byte(counter>>8), byte(counter))
	f.fen(amount)
	f.add(typ)
	f.add(terminal[:]...)
	f.add(at[:]...)
	return f.done()
}

// PurchaseMAC1 is what the PSAM proves in DEBIT FOR PURCHASE, 18 bytes. It
// has the fields of LoadMAC2; the stamp is the terminal's.
func PurchaseMAC1(amount money.Fen, typ byte, terminal money.TerminalID, at money.Stamp) ([]byte, error) {
	return LoadMAC2(amount, typ, terminal, at)
}

// PurchaseMAC2 is what the card proves to the PSAM, 4 bytes.
func PurchaseMAC2(amount money.Fen) ([]byte, error) {
	var f fields
	f.fen(amount)
	return f.done()
}

// PurchaseTAC is the card's cryptogram of a purchase, 22 bytes.
func PurchaseTAC(amount money.Fen, typ byte, terminal money.TerminalID, terminalSeq uint32, at money.Stamp) ([]byte, error) {
	var f fields
	f.fen(amount)
	f.add(typ)
	f.add(terminal[:]...)
	f.b = binary.BigEndian.AppendUint32(f.b, terminalSeq)
	f.add(at[:]...)
	return f.done()
}

// OverdraftMAC1 is what the card proves before its limit changes, 14 bytes.
func OverdraftMAC1(before money.Fen, old Limit, terminal money.TerminalID) ([]byte, error) {
	var f fields
	f.fen(before)
	f.add(old[:]...)
	f.add(TypeOverdraft)
	f.add(terminal[:]...)
	return f.done()
}

// OverdraftMAC2 is what the authority proves, 17 bytes.
func OverdraftMAC2(limit Limit, terminal money.TerminalID, at money.Stamp) []byte {
	var f fields
	f.add(limit[:]...)
	f.add(TypeOverdraft)
	f.add(terminal[:]...)
	f.add(at[:]...)
	return f.b
}

// OverdraftTAC is the card's cryptogram of a changed limit, 23 bytes.
func OverdraftTAC(after money.Fen, counter uint16, limit Limit, terminal money.TerminalID, at money.Stamp) ([]byte, error) {
	var f fields
	f.fen(after)
	f.add(byte(counter>>8), byte(counter))
	f.b = append(f.b, OverdraftMAC2(limit, terminal, at)...)
	return f.done()
}

// LineFields is what a line MAC covers: the header, Lc with the four bytes of
// the MAC counted in, and the data as sent (purse.md section 4.8).
func LineFields(cla, ins, p1, p2 byte, data []byte) []byte {
	return append([]byte{cla, ins, p1, p2, byte(len(data) + len(MAC{}))}, data...)
}

type fields struct {
	b   []byte
	err error
}

func (f *fields) add(b ...byte) { f.b = append(f.b, b...) }

func (f *fields) fen(v money.Fen) {
	b, err := v.Purse()
	f.err = errors.Join(f.err, err)
	f.add(b[:]...)
}

func (f *fields) done() ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.b, nil
}
