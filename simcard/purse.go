package simcard

import (
	"crypto/des"
	"encoding/binary"
	"math"
	"slices"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// pending is what an INITIALIZE leaves for its execute (purse.md section
// 8.1).
type pending struct {
	purse    *file
	typ      byte
	key      *key
	amount   money.Fen
	terminal money.TerminalID
	rnd      [4]byte
	counter  uint16
	session  []byte // of a load
}

// kinds maps P1 P2 of INITIALIZE to the transaction type (purse.md section
// 2). Unload, overdraft and compound purchase are not simulated.
var kinds = map[[2]byte]byte{
	{0x00, 0x01}: suite.TypeEDLoad, {0x00, 0x02}: suite.TypeEPLoad,
	{0x01, 0x01}: suite.TypeEDPurchase, {0x01, 0x02}: suite.TypeEPPurchase,
	{0x02, 0x01}: suite.TypeEDCash,
}

func isLoad(typ byte) bool { return typ <= suite.TypeEPLoad }

// usePurse finds EF 0001 (ED) or 0002 (EP) and checks its use right; the ED
// shows and moves nothing without the PIN (purse.md section 2).
func (c *Card) usePurse(id byte) (*file, apdu.SW) {
	f := c.dir.file(uint16(id))
	if f == nil || f.kind != kindPurse {
		return nil, apdu.SWFileNotFound
	}
	if !c.may(f.read) || (id == 1 && !c.pinOK) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	return f, apdu.SWOK
}

// initialize is INITIALIZE FOR LOAD, PURCHASE and CASH WITHDRAW (purse.md
// sections 7.1, 7.3, 7.5).
func (c *Card) initialize(cmd apdu.Command) ([]byte, apdu.SW) {
	typ, ok := kinds[[2]byte{cmd.P1, cmd.P2}]
	if !ok {
		return nil, apdu.SWWrongP1P2
	}
	keyType, n := byte(keyPurchase), 15
	if isLoad(typ) {
		keyType, n = keyLoad, 16
	}
	if len(cmd.Data) != 11 || !fits(cmd, n) {
		return nil, apdu.SWWrongLength
	}
	f, sw := c.usePurse(cmd.P2)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if isLoad(typ) && c.opts.PINForLoad && !c.pinOK {
		return nil, apdu.SWSecurityNotSatisfied
	}
	p := &pending{
		purse: f, typ: typ,
		key:      c.dir.key(keyType, cmd.Data[0]),
		amount:   money.FromPurse([4]byte(cmd.Data[1:])),
		terminal: money.TerminalID(cmd.Data[5:]),
		counter:  f.purse.offline,
	}
	if isLoad(typ) {
		p.counter = f.purse.online
	}
	before := money.Fen(f.purse.balance)
	switch {
	case p.key == nil:
		return nil, apdu.SWKeyIndexNotSupported
	case !c.may(p.key.use):
		return nil, apdu.SWSecurityNotSatisfied
	case p.counter == math.MaxUint16:
		return nil, c.opts.CounterSW
	case isLoad(typ) && before+p.amount > money.MaxPurse:
		return nil, apdu.SWConditionsNotMet
	case !isLoad(typ) && p.amount > before && !c.opts.LateBalance:
		return nil, c.opts.BalanceSW
	}
	if !c.random(p.rnd[:]) {
		return nil, apdu.SWUnspecified
	}
	out := binary.BigEndian.AppendUint32(nil, f.purse.balance)
	out = binary.BigEndian.AppendUint16(out, p.counter)
	if !isLoad(typ) {
		out = append(out, f.purse.overdraft[:]...)
		out = append(out, p.key.b3, p.key.b4)
		c.pending = p
		return append(out, p.rnd[:]...), apdu.SWOK
	}
	var err error
	if p.session, err = c.des.SessionKey(p.key.value, suite.LoadSession(p.rnd, p.counter)); err != nil {
		return nil, apdu.SWUnspecified
	}
	mac1, err := c.transactionMAC(p.session)(suite.LoadMAC1(before, p.amount, typ, p.terminal))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	out = append(append(out, p.key.b3, p.key.b4), p.rnd[:]...)
	c.pending = p
	return append(out, mac1[:]...), apdu.SWOK
}

// transactionMAC takes what a function of suite's field orders gives.
func (c *Card) transactionMAC(session []byte) func(fields []byte, err error) (suite.MAC, error) {
	return func(fields []byte, err error) (suite.MAC, error) {
		if err != nil {
			return suite.MAC{}, err
		}
		return c.des.TransactionMAC(session, fields)
	}
}

func (c *Card) tac(f *file, fields []byte, err error) (suite.MAC, error) {
	if err != nil {
		return suite.MAC{}, err
	}
	k := c.dir.key(keyTAC, f.purse.tacKey)
	if k == nil { // t05 of the published traces issues the only TAC key as number 01
		k = c.dir.only(keyTAC)
	}
	if k == nil {
		return suite.MAC{}, suite.ErrKeyLength
	}
	return c.des.TAC(k.value, fields)
}

// credit is CREDIT FOR LOAD (purse.md section 7.2).
func (c *Card) credit(cmd apdu.Command, p *pending) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 11 || !fits(cmd, 4):
		return nil, apdu.SWWrongLength
	case p == nil || !isLoad(p.typ):
		return nil, c.opts.StateSW
	}
	at, mac2 := money.Stamp(cmd.Data), suite.MAC(cmd.Data[7:])
	want, err := c.transactionMAC(p.session)(suite.LoadMAC2(p.amount, p.typ, p.terminal, at))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	if !want.Equal(mac2) {
		return nil, apdu.SWMACInvalid
	}
	after := money.Fen(p.purse.purse.balance) + p.amount
	fields, err := suite.LoadTAC(after, p.counter, p.amount, p.typ, p.terminal, at)
	tac, err := c.tac(p.purse, fields, err)
	if err != nil {
		return nil, apdu.SWReferenceNotFound
	}
	if sw, ok := c.commitTransaction(p, after, at, mac2, tac); !ok {
		return nil, sw
	}
	return tac[:], apdu.SWOK
}

// debit is DEBIT FOR PURCHASE and CASH WITHDRAW (purse.md section 7.4).
func (c *Card) debit(cmd apdu.Command, p *pending) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0x01 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 15 || !fits(cmd, 8):
		return nil, apdu.SWWrongLength
	case p == nil || isLoad(p.typ):
		return nil, c.opts.StateSW
	}
	seq, at := binary.BigEndian.Uint32(cmd.Data), money.Stamp(cmd.Data[4:])
	before := money.Fen(p.purse.purse.balance)
	if p.amount > before {
		return nil, c.opts.BalanceSW
	}
	session, err := c.des.SessionKey(p.key.value, suite.PurchaseSession(p.rnd, p.counter, seq))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	want, err := c.transactionMAC(session)(suite.PurchaseMAC1(p.amount, p.typ, p.terminal, at))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	if !want.Equal(suite.MAC(cmd.Data[11:])) {
		return nil, apdu.SWMACInvalid
	}
	mac2, err := c.transactionMAC(session)(suite.PurchaseMAC2(p.amount))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	fields, err := suite.PurchaseTAC(p.amount, p.typ, p.terminal, seq, at)
	tac, err := c.tac(p.purse, fields, err)
	if err != nil {
		return nil, apdu.SWReferenceNotFound
	}
	if sw, ok := c.commitTransaction(p, before-p.amount, at, mac2, tac); !ok {
		return nil, sw
	}
	return append(tac[:], mac2[:]...), apdu.SWOK
}

// commitTransaction changes balance, counter, log and proof together
// (purse.md section 8.3).
func (c *Card) commitTransaction(p *pending, after money.Fen, at money.Stamp, mac2, tac suite.MAC) (apdu.SW, bool) {
	pu := &p.purse.purse
	pu.balance = uint32(after)
	next := p.counter + 1
	if isLoad(p.typ) || c.opts.UnifiedCounter {
		pu.online = next
	}
	if !isLoad(p.typ) || c.opts.UnifiedCounter {
		pu.offline = next
	}
	if f := c.dir.sfi(pu.logSFI); f != nil && f.kind == kindCyclic && f.reclen == 23 {
		counter := p.counter
		if c.opts.LogPost {
			counter = next
		}
		rec := binary.BigEndian.AppendUint16(nil, counter) // section 3.5
		rec = append(rec, pu.overdraft[:]...)
		rec = binary.BigEndian.AppendUint32(rec, uint32(p.amount))
		rec = append(rec, p.typ)
		rec = append(rec, p.terminal[:]...)
		f.add(append(rec, at[:]...))
	}
	*c.proofSlot(p.typ) = proof{p.typ, next, mac2, tac}
	return c.commit()
}

func (c *Card) proofSlot(typ byte) *proof {
	if c.opts.SingleProof {
		typ = 0
	}
	return &c.dir.proofs[typ]
}

// getProof is GET TRANSACTION PROVE (purse.md section 7.10).
func (c *Card) getProof(cmd apdu.Command) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0 || cmd.P2 == 0 || cmd.P2 > suite.TypeEPCompound:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 2 || !fits(cmd, 8):
		return nil, apdu.SWWrongLength
	}
	p := c.proofSlot(cmd.P2)
	if p.typ != cmd.P2 || p.counter != binary.BigEndian.Uint16(cmd.Data) {
		return nil, apdu.SWProofNotAvailable
	}
	if c.opts.ProofTACFirst {
		return append(p.tac[:4:4], p.mac2[:]...), apdu.SWOK
	}
	return append(p.mac2[:4:4], p.tac[:]...), apdu.SWOK
}

// getBalance is purse.md section 7.9.
func (c *Card) getBalance(cmd apdu.Command) ([]byte, apdu.SW) {
	if cmd.P1 != 0 || (cmd.P2 != 1 && cmd.P2 != 2) {
		return nil, apdu.SWWrongP1P2
	}
	if len(cmd.Data) != 0 {
		return nil, apdu.SWWrongLength
	}
	f, sw := c.usePurse(cmd.P2)
	if sw != apdu.SWOK {
		return nil, sw
	}
	return answer(cmd, binary.BigEndian.AppendUint32(nil, f.purse.balance))
}

// decipher is the block of INTERNAL AUTHENTICATE that goes the other way.
func decipher(key []byte, b [8]byte) ([]byte, error) {
	k := slices.Concat(key, key, key)[:24] // K1 K2 K1, or three times the same
	c, err := des.NewTripleDESCipher(k)
	if err != nil {
		return nil, err
	}
	c.Decrypt(b[:], b[:])
	return b[:], nil
}
