package simcard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// ErrRecipe means that a recipe is incomplete or contradicts itself; no
// command has been sent.
var ErrRecipe = errors.New("simcard: incomplete recipe")

// Names and file identifiers of our applications (purse.md sections 3.1, 9.1).
const (
	PurseAID  = "\xA0\x00\x00\x00\x03\x86\x98\x07\x01" // PBOC ED/EP
	PSAMName  = "DIANKA.PSAM"                          // also by its FID 3F01
	appID     = 0x3F01
	loadAppID = 0x3F02
)

// TestKeys gives the well-known TEST master keys, suite.TestMasters.
func TestKeys() suite.Masters { return suite.TestMasters() }

// TestCard is the recipe of a test purse card: one level of diversification,
// key index and version 01, PIN 12345, valid 2020 to 2049.
func TestCard(n money.CardNumber) CardRecipe {
	return CardRecipe{
		Number: n, Issuer: suite.TestIssuer, AppType: 2, AppVersion: 1, From: testFrom, To: testTo,
		Keys: TestKeys(), Levels: 1, KeyIndex: 1, KeyVersion: 1,
	}
}

// TestSAM is the recipe of a test SAM for such cards, with PSAM and load SAM
// application and no allowance yet.
func TestSAM(id money.SAMID, terminal money.TerminalID) SAMRecipe {
	return SAMRecipe{
		ID: id, Terminal: terminal, Issuer: suite.TestIssuer, From: testFrom, To: testTo, Version: 1,
		Purchase: true, Load: true, Keys: TestKeys(), Levels: []int{1}, KeyIndex: 1, KeyVersion: 1,
	}
}

var (
	testFrom = [4]byte{0x20, 0x20, 0x01, 0x01}
	testTo   = [4]byte{0x20, 0x49, 0x12, 0x31}
)

// Test keys in a real issuer's card would be open to anyone, and real keys in
// a test card would be out of the vault.
var errMixed = fmt.Errorf("%w: test keys go with the test issuer, and only with it", ErrRecipe)

// Recipe is a card to be made: CardRecipe or SAMRecipe.
type Recipe interface {
	issue(*issuer) error
}

// CardRecipe makes a purse card: the file system of purse.md section 3 with
// an EP, and keys diversified from masters.
type CardRecipe struct {
	Number     money.CardNumber
	Issuer     [8]byte // suite.TestIssuer on test cards
	AppType    byte    // EF 15 byte 8: 02 = EP, 03 = ED and EP
	AppVersion byte
	From, To   [4]byte // validity, BCD YYYYMMDD
	FCI        [2]byte // issuer's own

	Keys       suite.Masters // Purchase, Load, TAC, Line, PINUnblock, PINReload, Control
	Levels     int           // of diversification: 0 the masters themselves, 1 card, 2 region then card
	Region     [8]byte       // factor of level 2
	KeyIndex   byte          // of purchase and load key
	KeyVersion byte
	Algorithm  byte // informational (purse.md section 4.2)

	AID string // 5..16 bytes; empty means PurseAID
	PIN []byte // BCD filled with F, 2..6 bytes; empty means 12 34 5F
	ED  bool   // an ED beside the EP
}

// SAMRecipe makes a SAM card with a PSAM application, a load SAM application
// or both.
type SAMRecipe struct {
	ID       money.SAMID
	Terminal money.TerminalID
	Issuer   [8]byte // suite.TestIssuer on test SAMs
	From, To [4]byte // validity, BCD YYYYMMDD
	Version  byte

	Purchase bool // PSAM application
	Load     bool // load SAM application

	Keys       suite.Masters // Line and Control; Purchase of a PSAM; Load, TAC and Allowance of a load SAM
	Levels     []int         // 0..3, of the cards that it serves: one set of keys for each
	KeyIndex   byte
	KeyVersion byte   // of the first set; each further one has the next version
	Sequence   uint32 // of the PSAM: the last one used
}

// Personalise makes a blank chip a card by commands alone: reset, issue,
// power off. On a chip with files it needs the right to erase them. It fails
// with ErrRecipe before the first command, else with the step that the card
// refused; a card left half-made must be erased.
func Personalise(chip Chip, r Recipe) error {
	if _, err := chip.PowerOn(); err != nil {
		return err
	}
	defer chip.PowerOff()
	is := &issuer{chip: chip}
	if err := r.issue(is); err != nil {
		return err
	}
	return is.err
}

// Access rights (purse.md section 11.2) and the follow-on state of the
// control key that opens them.
const (
	always   = 0xF0
	never    = 0xEF
	issuing  = 0xFA // after EXTERNAL AUTHENTICATE with the control key
	control  = 0x0A
	afterPIN = 0xF1
)

func (r CardRecipe) issue(is *issuer) error {
	m := r.Keys
	for _, k := range [][]byte{m.Purchase, m.Load, m.TAC, m.Line, m.PINUnblock, m.PINReload, m.Control} {
		if len(k) != 16 {
			return fmt.Errorf("%w: a card needs seven master keys of 16 bytes", ErrRecipe)
		}
	}
	if m.IsTest() != (r.Issuer == suite.TestIssuer) {
		return errMixed
	}
	if r.Number.IsZero() || r.Levels < 0 || r.Levels > 2 {
		return fmt.Errorf("%w: card number, or levels outside 0..2", ErrRecipe)
	}
	var factors [][8]byte
	switch r.Levels {
	case 1:
		factors = [][8]byte{r.Number.Factor()}
	case 2:
		factors = [][8]byte{r.Region, r.Number.Factor()}
	}
	aid, pin := r.AID, r.PIN
	if aid == "" {
		aid = PurseAID
	}
	if len(pin) == 0 {
		pin = []byte{0x12, 0x34, 0x5F}
	}
	if len(aid) < 5 || len(aid) > 16 || len(pin) < 2 || len(pin) > 6 {
		return fmt.Errorf("%w: AID has 5..16 bytes, PIN 2..6", ErrRecipe)
	}
	line, ctl := is.derive(m.Line, factors), is.derive(m.Control, factors)

	is.masterFile(line, ctl)
	is.file(0x0001, kindFixed, 2, 0x13, always, issuing) // DIR
	dir := append([]byte{0x61, byte(len(aid) + 8), 0x4F, byte(len(aid))}, aid...)
	dir = append(dir, 0x50, 0x04, 'P', 'B', 'O', 'C')
	if n := 0x13 - len(dir); n > 0 {
		dir = append(dir, make([]byte, n)...)
	}
	if len(dir) == 0x13 {
		is.do(0x00, 0xE2, 0, 0x01<<3|4, dir)
	}
	is.application(appID, aid, line, ctl)
	is.counted(keyPINUnblock, 0, 0xFF, 0x33, is.derive(m.PINUnblock, factors))
	is.counted(keyPINReload, 0, 0xFF, 0x33, is.derive(m.PINReload, factors))
	is.key(keyTAC, 0, 0, r.Algorithm, is.derive(m.TAC, factors))
	is.key(keyPurchase, r.KeyIndex, r.KeyVersion, r.Algorithm, is.derive(m.Purchase, factors))
	is.key(keyLoad, r.KeyIndex, r.KeyVersion, r.Algorithm, is.derive(m.Load, factors))
	padded := append([]byte(nil), pin...)
	for len(padded) < 8 {
		padded = append(padded, 0xFF)
	}
	is.do(0x80, 0xD4, 0x01, 0x00, append([]byte{keyPIN, always, never, 0x01, 0x33}, padded...))
	is.file(0x0015, kindBinary|0x80, 0, 30, always, always)
	is.file(0x0016, kindBinary|0x80, 0, 39, always, always)
	is.file(0x0018, kindCyclic, 10, 23, always, never)
	if r.ED {
		is.do(0x80, 0xE0, 0x00, 0x01, []byte{kindPurse, 0x02, 0x08, afterPIN, 0x00, 0xFF, 0x18})
	}
	is.do(0x80, 0xE0, 0x00, 0x02, []byte{kindPurse, 0x02, 0x08, always, 0x00, 0xFF, 0x18})

	info := append(r.Issuer[:], r.AppType, r.AppVersion) // purse.md section 3.3
	info = append(info, r.Number[:]...)
	info = append(info, r.From[:]...)
	info = append(info, r.To[:]...)
	is.writeMACed(0x15, append(info, r.FCI[:]...), line)
	is.writeMACed(0x16, make([]byte, 39), line)
	return nil
}

func (r SAMRecipe) issue(is *issuer) error {
	m := r.Keys
	need := [][]byte{m.Line, m.Control}
	if r.Purchase {
		need = append(need, m.Purchase)
	}
	if r.Load {
		need = append(need, m.Load, m.TAC, m.Allowance)
	}
	for _, k := range need {
		if len(k) != 16 {
			return fmt.Errorf("%w: a master key is missing or not of 16 bytes", ErrRecipe)
		}
	}
	if m.IsTest() != (r.Issuer == suite.TestIssuer) {
		return errMixed
	}
	if r.ID.IsZero() || r.Terminal.IsZero() || len(r.Levels) == 0 || slices.Min(r.Levels) < 0 || slices.Max(r.Levels) > 3 || (!r.Purchase && !r.Load) {
		return fmt.Errorf("%w: SAM number, terminal number, levels in 0..3 and an application are needed", ErrRecipe)
	}
	factors := [][8]byte{r.ID.Factor()}
	line, ctl := is.derive(m.Line, factors), is.derive(m.Control, factors)

	is.masterFile(line, ctl)
	is.file(0x0015, kindBinary, 0, 14, always, issuing)
	is.file(0x0016, kindBinary, 0, 6, always, issuing)
	is.write(0x15, append(append([]byte{}, r.ID[:]...), r.Version, 0x00, 0x00, 0x00)) // purse.md section 9.1
	is.write(0x16, r.Terminal[:])
	// The load application must be created while the MF is still current and
	// empty at entry, so both directories come before either is entered.
	if r.Purchase {
		is.createDir(appID, PSAMName)
	}
	if r.Load {
		is.createDir(loadAppID, suite.LoadSAMName)
	}
	if r.Purchase {
		is.enter(appID, line, ctl)
		is.info(r)
		is.file(0x0018, kindBinary, 0, 4, always, never)
		is.write(0x18, binary.BigEndian.AppendUint32(nil, r.Sequence))
		for i, l := range r.Levels {
			is.samKey(byte(l)<<5|usagePurchase, r.KeyVersion+byte(i), m.Purchase, ctl)
		}
	}
	if r.Load {
		is.enter(loadAppID, line, ctl)
		is.info(r)
		for i, l := range r.Levels {
			is.samKey(byte(l)<<5|usageLoad, r.KeyVersion+byte(i), m.Load, ctl)
			is.samKey(byte(l)<<5|usageTAC, r.KeyVersion+byte(i), m.TAC, ctl)
		}
		is.samKey(usageAllowance, 0, is.derive(m.Allowance, factors), ctl)
	}
	return nil
}

// info writes EF 17 of a SAM application: key index, issuer, application,
// validity (purse.md section 9.1).
func (is *issuer) info(r SAMRecipe) {
	is.file(0x0017, kindBinary, 0, 25, always, issuing)
	b := append([]byte{r.KeyIndex}, r.Issuer[:]...)
	b = append(b, make([]byte, 8)...)
	b = append(b, r.From[:]...)
	is.write(0x17, append(b, r.To[:]...))
}

// issuer sends issuing commands (purse.md section 11) until one fails; the
// rest are then left out and err says which.
type issuer struct {
	chip Chip
	des  suite.DES3
	err  error
}

func (is *issuer) send(cmd apdu.Command) []byte {
	if is.err != nil {
		return nil
	}
	b, err := cmd.Bytes()
	if err == nil {
		b, err = is.chip.Transmit(b)
	}
	var r apdu.Response
	if err == nil {
		r, err = apdu.ParseResponse(b)
	}
	if n, ok := r.SW.MoreData(); err == nil && ok { // T=0
		return is.send(apdu.Command{INS: 0xC0, Ne: n})
	}
	if err == nil && r.SW != apdu.SWOK {
		err = r.SW
	}
	if err != nil {
		// The data of an issuing command may be a key: name the header only.
		is.err = fmt.Errorf("issuing command %02X %02X %02X %02X: %w", cmd.CLA, cmd.INS, cmd.P1, cmd.P2, err)
		return nil
	}
	return r.Data
}

func (is *issuer) do(cla, ins, p1, p2 byte, data []byte) {
	is.send(apdu.Command{CLA: cla, INS: ins, P1: p1, P2: p2, Data: data})
}

func (is *issuer) derive(master []byte, factors [][8]byte) []byte {
	k := master
	for _, f := range factors {
		var err error
		if k, err = is.des.Diversify(k, f); err != nil {
			is.err = errors.Join(is.err, err)
			return make([]byte, 16)
		}
	}
	return k
}

func (is *issuer) masterFile(line, ctl []byte) {
	is.do(0x80, 0x0E, 0, 0, nil)
	is.do(0x80, 0xE0, 0x3F, 0x00, append([]byte{0x38, 0xFF, 0xFF, issuing, issuing, 0x01, 0xFF, 0xFF}, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF))
	is.keyFile(0x01, line, ctl)
}

// application creates a directory and enters it.
func (is *issuer) application(id uint16, name string, line, ctl []byte) {
	is.createDir(id, name)
	is.enter(id, line, ctl)
}

func (is *issuer) createDir(id uint16, name string) {
	is.do(0x80, 0xE0, byte(id>>8), byte(id), append([]byte{0x38, 0x03, 0x6F, issuing, issuing, 0x95, 0xFF, 0xFF}, name...))
}

func (is *issuer) enter(id uint16, line, ctl []byte) {
	is.do(0x00, 0xA4, 0, 0, []byte{byte(id >> 8), byte(id)})
	is.keyFile(0x95, line, ctl)
}

func (is *issuer) keyFile(sfi byte, line, ctl []byte) {
	is.do(0x80, 0xE0, 0, 0, []byte{0x3F, 0x01, 0x8F, sfi, issuing, 0xFF, 0xFF})
	is.counted(keyLine, 0, 0xFF, 0x33, line)
	is.counted(keyExternal, 0, control, 0x33, ctl)
}

func (is *issuer) key(typ, id, version, algorithm byte, value []byte) {
	is.do(0x80, 0xD4, 0x01, id, append([]byte{typ, always, issuing, version, algorithm}, value...))
}

func (is *issuer) counted(typ, id, follow, tries byte, value []byte) {
	is.do(0x80, 0xD4, 0x01, id, append([]byte{typ, always, issuing, follow, tries}, value...))
}

// file creates a file of a size, or of count and record length.
func (is *issuer) file(id uint16, kind, hi, lo, read, write byte) {
	is.do(0x80, 0xE0, byte(id>>8), byte(id), []byte{kind, hi, lo, read, write, 0xFF, 0xFF})
}

func (is *issuer) write(sfi byte, data []byte) { is.do(0x00, 0xD6, 0x80|sfi, 0, data) }

func (is *issuer) writeMACed(sfi byte, data, line []byte) {
	is.secured(0x04, 0xD6, 0x80|sfi, 0, data, line)
}

// samKey writes a master key under the control key (purse.md section 9.4).
func (is *issuer) samKey(usage, version byte, value, ctl []byte) {
	text, err := is.des.LineEncrypt(ctl, append([]byte{usage, version, 0x00}, value...))
	if err != nil {
		is.err = errors.Join(is.err, err)
		return
	}
	is.secured(0x84, 0xD4, 0, 0, text, ctl)
}

func (is *issuer) secured(cla, ins, p1, p2 byte, data, key []byte) {
	challenge := is.send(apdu.Command{INS: 0x84, Ne: 4})
	if is.err != nil {
		return
	}
	mac, err := is.des.LineMAC(key, challenge, suite.LineFields(cla, ins, p1, p2, data))
	if err != nil {
		is.err = errors.Join(is.err, err)
		return
	}
	is.do(cla, ins, p1, p2, append(append([]byte{}, data...), mac[:]...))
}
