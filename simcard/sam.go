package simcard

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// maxTotal bounds what a load SAM may give in its life, in fen.
const maxTotal = uint64(money.MaxFen)

// samSession is what 80 70 leaves for 80 72. It ends at reset, SELECT and a
// right answer; a wrong one may be followed by another, since a terminal that
// does not know the order of a card's proof tries both halves (purse.md
// section 1 setting 4).
type samSession struct {
	load bool
	want suite.MAC // MAC2 of the purchase, or TAC of the load
}

// samKey finds a master key by type and version.
func (d *dir) samKey(typ, version byte) *samKey {
	for _, k := range d.samKeys {
		if k.usage&0x1F == typ && k.version == version {
			return k
		}
	}
	return nil
}

// anySAMKey finds a master key by type, whatever its version.
func (d *dir) anySAMKey(typ byte) *samKey {
	for _, k := range d.samKeys {
		if k.usage&0x1F == typ {
			return k
		}
	}
	return nil
}

// diversify derives the card's key: factors come card serial first, and are
// applied upper level first (purse.md section 9.2). The number of factors
// must be the key's.
func (c *Card) diversify(k *samKey, factors [][8]byte) ([]byte, bool) {
	if len(factors) != int(k.usage>>5) {
		return nil, false
	}
	order := slices.Clone(factors)
	if !c.opts.RegionFirst {
		slices.Reverse(order)
	}
	out := k.value
	for _, f := range order {
		var err error
		if out, err = c.des.Diversify(out, f); err != nil {
			return nil, false
		}
	}
	return out, true
}

// samFile reads a file of the MF, where a SAM keeps its number (EF 15) and
// its terminal's (EF 16), purse.md section 9.1.
func (c *Card) samFile(id uint16, n int) []byte {
	f := c.nv.dirs[0].file(id)
	if f == nil || f.kind != kindBinary || len(f.data) < n {
		return nil
	}
	return f.data[:n]
}

// samReady answers 6D00 in an application that holds no key of that use: it
// is no such SAM.
func (c *Card) samReady(typ byte) apdu.SW {
	switch {
	case c.dir.anySAMKey(typ) == nil:
		return apdu.SWINSNotSupported
	case c.dir.samFails >= c.opts.SAMTries:
		return apdu.SWMethodBlocked
	case c.samFile(0x15, 10) == nil || c.samFile(0x16, 6) == nil:
		return apdu.SWConditionsNotMet
	}
	return apdu.SWOK
}

func factorsOf(b []byte) [][8]byte {
	var f [][8]byte
	for ; len(b) > 0; b = b[8:] {
		f = append(f, [8]byte(b))
	}
	return f
}

// samPurchase is INIT SAM FOR PURCHASE (purse.md section 9.2).
func (c *Card) samPurchase(cmd apdu.Command) ([]byte, apdu.SW) {
	c.sam = nil
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	d := cmd.Data
	if len(d) < 20 || len(d) > 20+24 || (len(d)-20)%8 != 0 || !fits(cmd, 8) {
		return nil, apdu.SWWrongLength
	}
	if sw := c.samReady(usagePurchase); sw != apdu.SWOK {
		return nil, sw
	}
	counterFile := c.dir.file(0x18)
	if counterFile == nil || counterFile.kind != kindBinary || len(counterFile.data) != 4 {
		return nil, apdu.SWFileNotFound
	}
	typ, version := d[10], d[18]
	switch typ {
	case suite.TypeEDLoad, suite.TypeEPLoad, suite.TypeEDUnload, suite.TypeOverdraft:
		return nil, apdu.SWWrongData // section 9.6: no MAC1 for these
	}
	k := c.dir.samKey(usagePurchase, version)
	if k == nil {
		return nil, apdu.SWKeyIndexNotSupported
	}
	dpk, ok := c.diversify(k, factorsOf(d[20:]))
	if !ok {
		return nil, apdu.SWWrongData
	}
	seq := binary.BigEndian.Uint32(counterFile.data)
	if seq == math.MaxUint32 {
		return nil, c.opts.CounterSW
	}
	seq++
	amount, at := money.FromPurse([4]byte(d[6:])), money.Stamp(d[11:])
	session, err := c.des.SessionKey(dpk, suite.PurchaseSession([4]byte(d), binary.BigEndian.Uint16(d[4:]), seq))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	mac1, err := c.transactionMAC(session)(suite.PurchaseMAC1(amount, typ, money.TerminalID(c.samFile(0x16, 6)), at))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	mac2, err := c.transactionMAC(session)(suite.PurchaseMAC2(amount))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	if !c.opts.LateSequence { // durable before MAC1 leaves (section 9.6)
		binary.BigEndian.PutUint32(counterFile.data, seq)
		if sw, ok := c.commit(); !ok {
			return nil, sw
		}
	}
	c.sam = &samSession{want: mac2}
	return append(binary.BigEndian.AppendUint32(nil, seq), mac1[:]...), apdu.SWOK
}

// samCredit is CREDIT SAM FOR PURCHASE (purse.md section 9.3) with P1 00, and
// the load SAM's check of a TAC with P1 01 (suite/loadsam.go).
func (c *Card) samCredit(cmd apdu.Command) ([]byte, apdu.SW) {
	load := cmd.P1 == 0x01
	switch {
	case cmd.P1 > 1 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 4:
		return nil, apdu.SWWrongLength
	case c.sam == nil || c.sam.load != load:
		return nil, c.opts.StateSW
	case !load && c.dir.samFails >= c.opts.SAMTries:
		return nil, apdu.SWMethodBlocked
	}
	right := c.sam.want.Equal(suite.MAC(cmd.Data))
	if load {
		if !right {
			return nil, apdu.SWMACInvalid
		}
		c.sam = nil
		return nil, apdu.SWOK
	}
	if !right {
		c.dir.samFails++
		if sw, ok := c.commit(); !ok {
			return nil, sw
		}
		return nil, apdu.SWMACInvalid
	}
	c.dir.samFails = 0
	if c.opts.LateSequence {
		f := c.dir.file(0x18)
		binary.BigEndian.PutUint32(f.data, binary.BigEndian.Uint32(f.data)+1)
	}
	if sw, ok := c.commit(); !ok {
		return nil, sw
	}
	c.sam = nil
	return nil, apdu.SWOK
}

// samLoad is INIT SAM FOR LOAD (suite/loadsam.go): the raised totals are
// durable before MAC2 leaves.
func (c *Card) samLoad(cmd apdu.Command) ([]byte, apdu.SW) {
	c.sam = nil
	if cmd.P2 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	l, err := suite.DecodeSAMLoad(cmd.Data)
	if err != nil || !fits(cmd, 8) {
		return nil, apdu.SWWrongLength
	}
	if sw := c.samReady(usageLoad); sw != apdu.SWOK {
		return nil, sw
	}
	if !isLoad(l.Type) || l.Type == 0 {
		return nil, apdu.SWWrongData
	}
	k, tk := c.dir.samKey(usageLoad, l.KeyVersion), c.dir.samKey(usageTAC, l.KeyVersion)
	if k == nil || tk == nil {
		return nil, apdu.SWKeyIndexNotSupported
	}
	dlk, ok := c.diversify(k, l.Factors)
	dtk, okTAC := c.diversify(tk, l.Factors)
	after := l.Before + l.Amount
	if !ok || !okTAC || after > money.MaxPurse {
		return nil, apdu.SWWrongData
	}
	d := c.dir
	switch {
	case d.count >= d.allowance.CeilingCount:
		return nil, apdu.SWCounterExhausted
	case d.total+uint64(l.Amount) > uint64(d.allowance.CeilingAmount):
		return nil, apdu.SWBalanceLow
	}
	session, err := c.des.SessionKey(dlk, suite.LoadSession(l.Rnd, l.Counter))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	terminal := money.TerminalID(c.samFile(0x16, 6))
	mac1, err := c.transactionMAC(session)(suite.LoadMAC1(l.Before, l.Amount, l.Type, terminal))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	if !mac1.Equal(l.MAC1) {
		return nil, apdu.SWMACInvalid
	}
	mac2, err := c.transactionMAC(session)(suite.LoadMAC2(l.Amount, l.Type, terminal, l.At))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	fields, err := suite.LoadTAC(after, l.Counter, l.Amount, l.Type, terminal, l.At)
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	tac, err := c.des.TAC(dtk, fields)
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	d.total += uint64(l.Amount)
	d.count++
	if sw, ok := c.commit(); !ok {
		return nil, sw
	}
	c.sam = &samSession{load: true, want: tac}
	return append(binary.BigEndian.AppendUint32(nil, d.count), mac2[:]...), apdu.SWOK
}

// samState is STATE of the load SAM (suite/loadsam.go).
func (c *Card) samState(cmd apdu.Command) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 8 || !fits(cmd, suite.LoadSAMStateLen+4):
		return nil, apdu.SWWrongLength
	}
	if sw := c.samReady(usageAllowance); sw != apdu.SWOK {
		return nil, sw
	}
	st := suite.LoadSAMState{
		SAM:       money.SAMID(c.samFile(0x15, 10)),
		Allowance: c.dir.allowance,
		Total:     money.Fen(c.dir.total),
		Count:     c.dir.count,
	}
	mac, err := st.MAC(c.des, c.dir.anySAMKey(usageAllowance).value, [8]byte(cmd.Data))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	return st.Signed(mac), apdu.SWOK
}

// samAllowance is INSTALL ALLOWANCE of the load SAM (suite/loadsam.go).
func (c *Card) samAllowance(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != suite.AllowanceLen+4:
		return nil, apdu.SWWrongLength
	}
	if sw := c.samReady(usageAllowance); sw != apdu.SWOK {
		return nil, sw
	}
	if len(challenge) != 8 {
		return nil, apdu.SWReferenceInvalid
	}
	a, mac, err := suite.DecodeAllowance(cmd.Data)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	want, err := a.MAC(c.des, c.dir.anySAMKey(usageAllowance).value, [8]byte(challenge), money.SAMID(c.samFile(0x15, 10)))
	if err != nil {
		return nil, apdu.SWUnspecified
	}
	if !want.Equal(mac) {
		return nil, apdu.SWMACInvalid
	}
	if a.Sequence <= c.dir.allowance.Sequence {
		return nil, apdu.SWConditionsNotMet
	}
	c.dir.allowance = a
	sw, _ := c.commit()
	return nil, sw
}
