package personalise

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Verdict is what was found out of one thing that a card should hold.
type Verdict string

// Verdicts, the good ones first.
const (
	Proved   Verdict = "proved"   // by a cryptogram of the card, or byte for byte
	Present  Verdict = "present"  // it is there; what it is, the card does not show
	Unproved Verdict = "unproved" // nothing that the card does without moving value tells
	Missing  Verdict = "missing"
	Wrong    Verdict = "wrong"
)

// Check is one thing that was looked at.
type Check struct {
	What    string
	Verdict Verdict
	Says    string
}

// Findings is what reading a card back gave.
type Findings struct {
	Checks []Check
	// Used: the card has counted transactions, or holds value.
	Used bool
}

// Whole reports that nothing is missing or wrong.
func (f Findings) Whole() bool { return f.has(Missing) == nil && f.has(Wrong) == nil }

func (f Findings) has(v Verdict) *Check {
	for i := range f.Checks {
		if f.Checks[i].Verdict == v {
			return &f.Checks[i]
		}
	}
	return nil
}

func (f *Findings) add(v Verdict, what, format string, args ...any) {
	f.Checks = append(f.Checks, Check{what, v, fmt.Sprintf(format, args...)})
}

// Seen is what is on a card before anything is written to it.
type Seen struct {
	Blank  bool    // no file at all
	Named  bool    // it has a number, at the place of the description
	Number Number  // when Named
	Issued bool    // it has an issuer, at the place of the description
	Issuer [8]byte // when Issued
}

// Test reports whether the card says of itself that it is a test card.
func (s Seen) Test() bool {
	return s.Issued && [4]byte(s.Issuer[:4]) == [4]byte(suite.TestIssuer[:4])
}

// Look reads who a card is. It writes nothing and costs no try. It fails with
// ErrBlocked.
func (d *Description) Look(ctx context.Context, c apdu.Transmitter) (Seen, error) {
	var s Seen
	r, err := apdu.Send(ctx, c, apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}, Ne: apdu.MaxShortNe})
	if err != nil {
		return s, fmt.Errorf("select the master file: %w", err)
	}
	switch {
	case r.SW == apdu.SWFunctionNotSupported, r.SW == apdu.SWFileNotFound:
		// A blocked card answers so as well, and to everything (purse.md
		// section 6 rule 9).
		if r, err = apdu.Send(ctx, c, apdu.Command{INS: 0x84, Ne: 4}); err == nil && !r.SW.OK() {
			err = ErrBlocked
		}
		s.Blank = true
		return s, err
	case !r.SW.OK():
		return s, fmt.Errorf("select the master file: the card answered %w", r.SW)
	}
	if at, ok := d.numberAt(); ok {
		b, err := d.read(ctx, c, at, len(s.Number))
		if err != nil {
			return s, err
		}
		if n := Number(append(b, make([]byte, len(s.Number))...)[:len(s.Number)]); len(b) == len(n) && n != (Number{}) {
			s.Named, s.Number = true, n
		}
	}
	if at, ok := d.issuerAt(); ok {
		b, err := d.read(ctx, c, at, len(s.Issuer))
		if err != nil {
			return s, err
		}
		if len(b) == len(s.Issuer) && bytes.Count(b, []byte{0}) != len(b) {
			s.Issued, s.Issuer = true, [8]byte(b)
		}
	}
	return s, nil
}

// issuerAt is where a card's issuer can be read.
func (d *Description) issuerAt() (where, bool) {
	for i, a := range d.Applications {
		for _, f := range a.Files {
			if at := f.Content.offset("issuer"); at >= 0 && f.Read.open() {
				return where{i, f.ID[1], at}, true
			}
		}
	}
	return where{}, false
}

// read gives what stands at a place, or nothing when the card refuses.
func (d *Description) read(ctx context.Context, c apdu.Transmitter, at where, n int) ([]byte, error) {
	sel := apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}, Ne: apdu.MaxShortNe}
	if at.dir != mf {
		sel = apdu.Command{INS: 0xA4, P1: 0x04, Data: d.Applications[at.dir].Name, Ne: apdu.MaxShortNe}
	}
	r, err := apdu.Send(ctx, c, sel)
	if err != nil || !r.SW.OK() {
		return nil, err
	}
	r, err = apdu.Send(ctx, c, apdu.Command{INS: 0xB0, P1: 0x80 | at.sfi, P2: byte(at.offset), Ne: n})
	if err != nil || !r.SW.OK() {
		return nil, err
	}
	return r.Data, nil
}

// verifier reads a card back.
type verifier struct {
	*writer
	f      Findings
	pinned bool // PINs were written in this call, so that they are the ones named
}

// Verify reads a card back, after a reset: names, files, contents, balance and
// counters; keys by what the card makes with them, as far as no value moves.
// It writes nothing; a PSAM's sequence goes on by one for each of its master
// keys. new says that the card was written just now, so that nobody has
// changed its PIN. An error means that the card was not asked to the end.
func (p *Plan) Verify(ctx context.Context, c apdu.Transmitter, new bool) (Findings, error) {
	v := verifier{writer: p.writer(ctx, c), pinned: new}
	for i := mf; i < len(p.d.Applications); i++ {
		if err := v.dir(i); err != nil {
			return v.f, err
		}
	}
	return v.f, nil
}

func (v *verifier) dir(i int) error {
	m := v.d.dirAt(i)
	cmd := apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}, Ne: apdu.MaxShortNe}
	if i != mf {
		cmd = apdu.Command{INS: 0xA4, P1: 0x04, Data: m.Name, Ne: apdu.MaxShortNe}
	}
	r, err := v.send("select "+v.dirName(i), cmd, shown)
	if err != nil {
		return err
	}
	if !r.SW.OK() {
		v.f.add(Missing, v.dirName(i), "the card answered %v", r.SW)
		return nil
	}
	v.entered(i)
	v.answer(i, r.Data)
	for j := range m.Files {
		if err := v.file(i, &m.Files[j]); err != nil {
			return err
		}
	}
	for j := range m.Keys {
		if err := v.keyOf(i, &m.Keys[j]); err != nil {
			return err
		}
	}
	for j := range m.Masters {
		if err := v.masterOf(i, &m.Masters[j]); err != nil {
			return err
		}
	}
	return nil
}

// answer looks at the answer to SELECT (purse.md section 3.2).
func (v *verifier) answer(i int, fci []byte) {
	what := "answer to select " + v.dirName(i)
	if i == mf {
		v.f.add(Present, v.dirName(i), "it is there")
		return
	}
	list, err := apdu.ParseTLV(fci)
	if err != nil {
		v.f.add(Wrong, what, "not to be read: %v", err)
		return
	}
	m := v.d.dirAt(i)
	if t, ok := apdu.FindTLV(list, 0x6F, 0x84); !ok || !bytes.Equal(t.Value, m.Name) {
		v.f.add(Wrong, what, "it bears another name")
		return
	}
	t, ok := apdu.FindTLV(list, 0x6F, 0xA5, 0x9F0C)
	for _, f := range m.Files {
		if f.ID[1] != m.Quotes[0]&0x1F || f.Content == nil {
			continue
		}
		want := v.bytes(f.Content)
		switch {
		case !ok: // some card systems quote nothing; the file itself is read below
			v.f.add(Present, what, "its name is right; it quotes no file")
			return
		case len(t.Value) < len(want) || !bytes.Equal(t.Value[:len(want)], want):
			v.f.add(Missing, what, "it quotes another content of file %X", []byte(f.ID))
			return
		}
	}
	v.f.add(Proved, what, "name, and what it quotes")
}

// file reads a file back.
func (v *verifier) file(i int, f *File) error {
	what := fmt.Sprintf("file %X of %s", []byte(f.ID), v.dirName(i))
	switch {
	case f.Type == "purse":
		return v.purse(i, f)
	case f.Content != nil && f.Read.open():
		ok, err := v.holds(what, f, v.bytes(f.Content))
		switch {
		case err != nil:
			return err
		case ok:
			v.f.add(Proved, what, "its content, byte for byte")
		default:
			v.f.add(Missing, what, "it has another content, or is not there")
		}
		return nil
	case f.Records != nil && f.Read.open():
		for n, c := range f.Records {
			want := v.bytes(c)
			r, err := v.send(what, apdu.Command{INS: 0xB2, P1: byte(n + 1), P2: f.ID[1]<<3 | 4, Ne: len(want)}, shown)
			if err != nil {
				return err
			}
			if !r.SW.OK() || !bytes.Equal(r.Data, want) {
				v.f.add(Missing, what, "its record %d is another, or is not there", n+1)
				return nil
			}
		}
		v.f.add(Proved, what, "its records, byte for byte")
		return nil
	}
	r, err := v.send(what, apdu.Command{INS: 0xA4, Data: f.ID}, shown)
	if err != nil {
		return err
	}
	if r.SW.OK() {
		v.f.add(Present, what, "it is there")
	} else {
		v.f.add(Missing, what, "the card answered %v", r.SW)
	}
	return nil
}

// purse looks at a purse: its balance, and by an INITIALIZE of no fen, which
// changes nothing, counters and keys.
func (v *verifier) purse(i int, f *File) error {
	p2 := f.ID[1] // 01 ED, 02 EP (purse.md section 7)
	what := fmt.Sprintf("purse %X of %s", []byte(f.ID), v.dirName(i))
	r, err := v.send(what+": balance", apdu.Command{CLA: 0x80, INS: 0x5C, P2: p2, Ne: 4}, shown)
	switch {
	case err != nil:
		return err
	case r.SW == apdu.SWSecurityNotSatisfied:
		v.f.add(Present, what, "its balance wants the PIN")
		return nil
	case !r.SW.OK() || len(r.Data) != 4:
		v.f.add(Missing, what, "the card answered %v", r.SW)
		return nil
	}
	if balance := money.FromPurse([4]byte(r.Data)); balance != 0 {
		v.f.Used = true
		v.f.add(Present, what, "it holds value")
		return nil
	}
	v.f.add(Proved, what, "it is there, and empty")
	return nil
}

// terminal is nobody's: it stands in INITIALIZE when no value is to move.
var nobody money.TerminalID

func (v *verifier) keyOf(i int, k *Key) error {
	what := fmt.Sprintf("%s key %02X of %s", k.Type, k.ID, v.dirName(i))
	switch k.Type {
	case "control":
		left, err := v.authenticate(i, v.key(k), k.ID)
		switch {
		case err != nil && absent(err):
			v.f.add(Missing, what, "there is none")
		case err != nil && !refused(err):
			return err
		case err != nil:
			v.f.add(Unproved, what, "%v", err)
		case left >= 0:
			v.f.add(Wrong, what, "the card refuses it; tries left: %d", left)
		default:
			v.f.add(Proved, what, "by EXTERNAL AUTHENTICATE")
		}
		return nil
	case "line":
		return v.lineKey(i, what, k)
	case "load", "purchase":
		return v.transactionKey(i, what, k)
	case "pin":
		if !v.pinned || !k.Use.open() || !v.keys.Test() {
			v.f.add(Unproved, what, "to present it could cost its holder a try")
			return nil
		}
		pin, err := v.keys.Plain(v.key(k))
		if err != nil {
			return err
		}
		r, err := v.send("verify the PIN", apdu.Command{INS: 0x20, P2: k.ID, Data: pin}, 0)
		switch {
		case err != nil:
			return err
		case r.SW.OK():
			v.f.add(Proved, what, "by VERIFY")
		default:
			v.f.add(Wrong, what, "the card answered %v", r.SW)
		}
		return nil
	}
	v.f.add(Unproved, what, "written; only its use proves it")
	return nil
}

// refused reports that the card said no.
func refused(err error) bool {
	var sw apdu.SW
	return errors.As(err, &sw)
}

// lineKey reads under a MAC, which the card checks and answers with one of its
// own (purse.md section 4.8).
func (v *verifier) lineKey(i int, what string, k *Key) error {
	for _, f := range v.d.dirAt(i).Files {
		if f.Type != "binary" || !f.Read.open() {
			continue
		}
		challenge, err := v.challenge(what, 4)
		if err != nil {
			return err
		}
		cmd := apdu.Command{CLA: 0x04, INS: 0xB0, P1: 0x80 | f.ID[1]}
		mac, err := v.keys.LineMAC(v.key(k), challenge, suite.LineFields(cmd.CLA, cmd.INS, cmd.P1, cmd.P2, nil))
		if err != nil {
			return err
		}
		cmd.Data = mac[:]
		r, err := v.send("read file "+fmt.Sprintf("%X", []byte(f.ID))+" under a MAC", cmd, 0)
		if err != nil {
			return err
		}
		switch {
		case r.SW == apdu.SWSMIncorrect, r.SW == apdu.SWApplicationLocked:
			v.f.add(Wrong, what, "the card refuses its MAC: %v", r.SW)
		case r.SW == apdu.SWReferenceNotFound:
			v.f.add(Missing, what, "there is none")
		case r.SW == apdu.SWFileNotFound:
			continue
		case !r.SW.OK() || len(r.Data) <= len(suite.MAC{}):
			v.f.add(Unproved, what, "the card does not read under a MAC: %v", r.SW)
		default:
			n := len(r.Data) - len(suite.MAC{})
			good, err := v.keys.VerifyLine(v.key(k), challenge, r.Data[:n], suite.MAC(r.Data[n:]))
			switch {
			case err != nil:
				return err
			case good:
				v.f.add(Proved, what, "by a MAC each way")
			default:
				v.f.add(Wrong, what, "the card's MAC is made with another")
			}
		}
		return nil
	}
	v.f.add(Unproved, what, "there is no file to read with it")
	return nil
}

// transactionKey sends INITIALIZE with an amount of zero, which a card takes
// (purse.md section 7.1) and which changes nothing.
func (v *verifier) transactionKey(i int, what string, k *Key) error {
	p1, ne := byte(0x00), 16
	if k.Type == "purchase" {
		p1, ne = 0x01, 15
	}
	for _, f := range v.d.dirAt(i).Files {
		if f.Type != "purse" {
			continue
		}
		data := append([]byte{k.ID, 0, 0, 0, 0}, nobody[:]...)
		r, err := v.send("initialize for "+k.Type+" of no fen", apdu.Command{CLA: 0x80, INS: 0x50, P1: p1, P2: f.ID[1], Data: data, Ne: ne}, shown)
		if err != nil {
			return err
		}
		switch {
		case r.SW == apdu.SWKeyIndexNotSupported, r.SW == apdu.SWReferenceNotFound, r.SW == apdu.SWFileNotFound:
			v.f.add(Missing, what, "the card answered %v", r.SW)
			return nil
		case r.SW == apdu.SWSecurityNotSatisfied: // wants the PIN; another purse may not
			continue
		case !r.SW.OK() || len(r.Data) != ne:
			v.f.add(Missing, what, "the card answered %v", r.SW)
			return nil
		}
		if counter := binary.BigEndian.Uint16(r.Data[4:]); counter != 0 {
			v.f.Used = true
		}
		at := 6
		if k.Type == "purchase" {
			at = 9
		}
		if r.Data[at] != k.Version[0] || r.Data[at+1] != k.Algorithm[0] {
			v.f.add(Wrong, what, "version %02X and algorithm %02X, not %02X and %02X", r.Data[at], r.Data[at+1], k.Version[0], k.Algorithm[0])
			return nil
		}
		if k.Type == "purchase" {
			v.f.add(Present, what, "its version; only a payment proves it")
			return nil
		}
		typ := byte(suite.TypeEPLoad)
		if f.ID[1] == 0x01 {
			typ = suite.TypeEDLoad
		}
		fields, err := suite.LoadMAC1(money.FromPurse([4]byte(r.Data)), 0, typ, nobody)
		if err != nil {
			return err
		}
		good, err := v.keys.VerifyTransaction(v.key(k), suite.LoadSession([4]byte(r.Data[8:]), binary.BigEndian.Uint16(r.Data[4:])), fields, suite.MAC(r.Data[12:]))
		switch {
		case err != nil:
			return err
		case good:
			v.f.add(Proved, what, "by MAC1 of an INITIALIZE of no fen, and its version")
		default:
			v.f.add(Wrong, what, "MAC1 is made with another")
		}
		return nil
	}
	v.f.add(Unproved, what, "no purse tells without a PIN")
	return nil
}

// masterOf has a SAM work with a master key (purse.md section 9; of a load SAM
// suite/loadsam.go).
func (v *verifier) masterOf(i int, k *Master) error {
	what := fmt.Sprintf("%s master key %X of %s", k.Use, []byte(k.Version), v.dirName(i))
	switch k.Use {
	case "purchase":
		return v.purchaseMaster(what, k)
	case "allowance":
		challenge := make([]byte, 8)
		rand.Read(challenge) // crypto/rand never fails
		const want = suite.LoadSAMStateLen + len(suite.MAC{})
		r, err := v.send("ask for the SAM's state", apdu.Command{CLA: 0x80, INS: 0x74, Data: challenge, Ne: want}, shown)
		if err != nil {
			return err
		}
		if !r.SW.OK() || len(r.Data) != want {
			v.f.add(Missing, what, "the card answered %v", r.SW)
			return nil
		}
		st, mac, err := suite.DecodeLoadSAMState(r.Data)
		good := false
		if err == nil {
			good, err = v.keys.VerifyLine(v.master(k), challenge, st.Encode(), mac)
		}
		v.f.Used = v.f.Used || err == nil && (st.Count != 0 || st.Allowance.Sequence != 0)
		if err == nil && good && Number(st.SAM) == v.o.Number {
			v.f.add(Proved, what, "by the MAC of the SAM's state")
		} else {
			v.f.add(Wrong, what, "the SAM's state is not made with it")
		}
		return nil
	case "load":
		// Without an allowance the SAM gives nothing; that it says so, and not
		// that it has no such key, is all that can be seen.
		l := suite.SAMLoad{Type: suite.TypeEPLoad, KeyVersion: k.Version[0], Algorithm: k.Algorithm[0], Factors: make([][8]byte, k.Levels)}
		data, err := l.Encode()
		if err != nil {
			return err
		}
		r, err := v.send("ask the SAM for a load of no fen under no MAC", apdu.Command{CLA: 0x80, INS: 0x70, P1: 0x01, Data: data, Ne: 8}, shown)
		switch {
		case err != nil:
			return err
		case r.SW == apdu.SWCounterExhausted, r.SW == apdu.SWBalanceLow, r.SW == apdu.SWMACInvalid:
			v.f.add(Present, what, "its version and levels, and that of the TAC master; only a load proves them")
		default:
			v.f.add(Missing, what, "the card answered %v", r.SW)
		}
		return nil
	}
	v.f.add(Unproved, what, "written; only a load proves it")
	return nil
}

// purchaseMaster has the PSAM make MAC1 for a card that does not exist.
func (v *verifier) purchaseMaster(what string, k *Master) error {
	data := make([]byte, 20+8*int(k.Levels))
	rand.Read(data[:4])
	stamp := money.Stamp{0x20, 0x00, 0x01, 0x01}
	data[10] = suite.TypeEPPurchase
	copy(data[11:], stamp[:])
	data[18], data[19] = k.Version[0], k.Algorithm[0]
	r, err := v.send("ask the PSAM for MAC1 of no fen", apdu.Command{CLA: 0x80, INS: 0x70, Data: data, Ne: 8}, shown)
	if err != nil {
		return err
	}
	if !r.SW.OK() || len(r.Data) != 8 {
		v.f.add(Missing, what, "the card answered %v", r.SW)
		return nil
	}
	seq := binary.BigEndian.Uint32(r.Data)
	d := v.master(k)
	d.Factors = append(d.Factors, make([][8]byte, k.Levels)...)
	fields, err := suite.PurchaseMAC1(0, suite.TypeEPPurchase, v.o.Terminal, stamp)
	if err != nil {
		return err
	}
	good, err := v.keys.VerifyTransaction(d, suite.PurchaseSession([4]byte(data), 0, seq), fields, suite.MAC(r.Data[4:]))
	switch {
	case err != nil:
		return err
	case good:
		v.f.add(Proved, what, "by MAC1 of no fen, with the terminal's number")
	default:
		v.f.add(Wrong, what, "MAC1 is made with another, or for another terminal")
	}
	return nil
}
