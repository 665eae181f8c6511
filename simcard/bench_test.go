package simcard

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

var (
	alg      suite.DES3
	cardNo   = money.CardNumber(unhex("00003310088812345678"))
	terminal = money.TerminalID(unhex("310100001234"))
	samID    = money.SAMID(unhex("00000000000000004711"))
	stamp    = money.Stamp(unhex("20250901094501"))
	region   = [8]byte(unhex("3101000031010000"))
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// bench drives a chip from the other side, with the masters at hand.
type bench struct {
	t testing.TB
	Chip
}

func (b bench) send(parts ...any) ([]byte, apdu.SW) {
	b.t.Helper()
	d, sw, err := b.try(parts...)
	if err != nil {
		b.t.Fatal(err)
	}
	return d, sw
}

// try sends hex strings, bytes, MACs and amounts put together.
func (b bench) try(parts ...any) ([]byte, apdu.SW, error) {
	var cmd []byte
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			cmd = append(cmd, unhex(v)...)
		case []byte:
			cmd = append(cmd, v...)
		case suite.MAC:
			cmd = append(cmd, v[:]...)
		case money.Fen:
			a, _ := v.Purse()
			cmd = append(cmd, a[:]...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	r, err := b.Transmit(cmd)
	if err != nil {
		return nil, 0, err
	}
	p, err := apdu.ParseResponse(r)
	return p.Data, p.SW, err
}

func (b bench) ok(parts ...any) []byte {
	b.t.Helper()
	d, sw := b.send(parts...)
	if sw != apdu.SWOK {
		b.t.Fatalf("%v: %04X", parts[0], uint16(sw))
	}
	return d
}

func (b bench) want(sw apdu.SW, parts ...any) {
	b.t.Helper()
	if _, got := b.send(parts...); got != sw {
		b.t.Errorf("%v: %04X, want %04X", parts[0], uint16(got), uint16(sw))
	}
}

func (b bench) on() bench {
	b.t.Helper()
	if _, err := b.PowerOn(); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func testCard() CardRecipe { return TestCard(cardNo) }
func testSAM() SAMRecipe   { return TestSAM(samID, terminal) }

// issue personalises a new chip and powers it on with application app selected.
func issue(t testing.TB, r Recipe, opts Options, app string) (*Card, bench) {
	t.Helper()
	c := New(opts)
	if err := Personalise(c, r); err != nil {
		t.Fatal(err)
	}
	b := bench{t, c}.on()
	b.selectApp(app)
	return c, b
}

func (b bench) selectApp(app string) []byte {
	b.t.Helper()
	return b.ok("00A40400", []byte{byte(len(app))}, []byte(app), "00")
}

func div(master []byte, factors ...[8]byte) []byte {
	for _, f := range factors {
		master, _ = alg.Diversify(master, f)
	}
	return master
}

func must(m suite.MAC, err error) suite.MAC {
	if err != nil {
		panic(err)
	}
	return m
}

func transMAC(session []byte) func([]byte, error) suite.MAC {
	return func(f []byte, err error) suite.MAC {
		if err != nil {
			panic(err)
		}
		return must(alg.TransactionMAC(session, f))
	}
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func (b bench) balance() money.Fen {
	b.t.Helper()
	return money.FromPurse([4]byte(b.ok("805C000204")))
}

// initLoad gives the answer of INITIALIZE and the right data of CREDIT.
func (b bench) initLoad(amount money.Fen) (answer, credit []byte) {
	b.t.Helper()
	r := b.ok("805000020B01", amount, terminal[:], "10")
	ses, _ := alg.SessionKey(div(TestKeys().Load, cardNo.Factor()), suite.LoadSession([4]byte(r[8:]), be16(r[4:])))
	if m := transMAC(ses)(suite.LoadMAC1(money.FromPurse([4]byte(r)), amount, 2, terminal)); m != suite.MAC(r[12:]) {
		b.t.Fatal("MAC1 of the card is wrong")
	}
	mac2 := transMAC(ses)(suite.LoadMAC2(amount, 2, terminal, stamp))
	return r, append(stamp[:len(stamp):len(stamp)], mac2[:]...)
}

func (b bench) load(amount money.Fen) {
	b.t.Helper()
	r, credit := b.initLoad(amount)
	tac := b.ok("805200000B", credit, "04")
	f, _ := suite.LoadTAC(money.FromPurse([4]byte(r))+amount, be16(r[4:]), amount, 2, terminal, stamp)
	if must(alg.TAC(div(TestKeys().TAC, cardNo.Factor()), f)) != suite.MAC(tac) {
		b.t.Fatal("TAC of the load is wrong")
	}
}

// initPurchase gives the right data of DEBIT for sequence 7.
func (b bench) initPurchase(amount money.Fen) (answer, debit []byte) {
	b.t.Helper()
	r := b.ok("805001020B01", amount, terminal[:], "0F")
	ses, _ := alg.SessionKey(div(TestKeys().Purchase, cardNo.Factor()), suite.PurchaseSession([4]byte(r[11:]), be16(r[4:]), 7))
	mac1 := transMAC(ses)(suite.PurchaseMAC1(amount, 6, terminal, stamp))
	d := append(unhex("00000007"), stamp[:]...)
	return r, append(d, mac1[:]...)
}

func (b bench) purchase(amount money.Fen) []byte {
	b.t.Helper()
	_, d := b.initPurchase(amount)
	return b.ok("805401000F", d, "08")
}

// line sends a command with line MAC under key.
func (b bench) line(key []byte, cla, ins, p1, p2 byte, data []byte) apdu.SW {
	b.t.Helper()
	ch := b.ok("0084000004")
	f := suite.LineFields(cla, ins, p1, p2, data)
	_, sw := b.send(f, must(alg.LineMAC(key, ch, f)))
	return sw
}

func equalHex(t testing.TB, what string, got []byte, want string) {
	t.Helper()
	if !bytes.Equal(got, unhex(want)) {
		t.Errorf("%s = %X, want %s", what, got, want)
	}
}

// randoms gives these bytes and then fails, so a test sees every draw.
func randoms(h ...string) *bytes.Reader { return bytes.NewReader(unhex(strings.Join(h, ""))) }
