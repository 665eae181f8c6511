package simcard

import (
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// samData is the data of 80 70 for a card's INITIALIZE answer.
func samData(init []byte, amount money.Fen, factors ...[8]byte) []byte {
	a, _ := amount.Purse()
	d := append(append(append([]byte{}, init[11:15]...), init[4:6]...), a[:]...)
	d = append(append(append(d, 6), stamp[:]...), init[9], init[10])
	for _, f := range factors {
		d = append(d, f[:]...)
	}
	return d
}

func (b bench) lc(head string, data []byte, le string) ([]byte, apdu.SW) {
	b.t.Helper()
	return b.send(head, []byte{byte(len(data))}, data, le)
}

// TestCardAndPSAM is the worked purchase of purse.md section 7.12 with 0, 1
// and 2 levels of diversification.
func TestCardAndPSAM(t *testing.T) {
	for level, factors := range [][][8]byte{{}, {cardNo.Factor()}, {cardNo.Factor(), region}} {
		r, s := testCard(), testSAM()
		r.Levels, r.Region, s.Levels = level, region, []int{level}
		c, card := issue(t, r, Options{}, PurseAID)
		c.dir.file(2).purse.balance = 1000
		_, psam := issue(t, s, Options{}, PSAMName)
		init := card.ok("805001020B01", money.Fen(300), terminal[:], "0F")
		if _, sw := psam.lc("80700000", samData(init, 300, append(factors, region)...), "08"); sw != apdu.SWWrongData {
			t.Errorf("level %d: a factor too many: %04X", level, uint16(sw))
		}
		got, sw := psam.lc("80700000", samData(init, 300, factors...), "08")
		if sw != apdu.SWOK {
			t.Fatalf("level %d: %04X", level, uint16(sw))
		}
		tacMAC2 := card.ok("805401000F", got[:4], stamp[:], got[4:], "08")
		psam.want(apdu.SWMACInvalid, "8072000004", tacMAC2[:4]) // a terminal that tries the other order first
		psam.ok("8072000004", tacMAC2[4:])
		psam.want(apdu.SWNotInThisState, "8072000004", tacMAC2[4:])
		if card.balance() != 700 {
			t.Errorf("level %d: balance %v", level, card.balance())
		}
	}
}

func TestPSAM(t *testing.T) {
	init := unhex("00001000 0012 000000 01 00 9B2E4471")
	data := samData(init, 500, cardNo.Factor())
	c, b := issue(t, testSAM(), Options{SAMTries: 3}, "1PAY")
	equalHex(t, "SAM number", b.ok("00B095000E"), hexOf(samID[:])+"01000000")
	equalHex(t, "terminal", b.ok("00B0960006"), hexOf(terminal[:]))
	b.ok("00A40000023F01")
	equalHex(t, "EF 17", b.ok("00B0970019"), "01 FFFFFFFF00000001 0000000000000000 20200101 20491231")

	next := uint32(0)
	advance := func() {
		t.Helper()
		r, sw := b.lc("80700000", data, "08")
		if next++; sw != apdu.SWOK || beUint(hexOf(r[:4])) != next {
			t.Fatalf("sequence %X, want %d, %04X", r, next, uint16(sw))
		}
	}
	advance()
	advance()
	b.on().ok("00A40000023F01") // over a reset, and no session left
	b.want(apdu.SWNotInThisState, "8072000004 00000000")
	advance()
	b.want(apdu.SWSecurityNotSatisfied, "00D6980004 00000000") // the sequence is the COS's own

	for typ, want := range map[byte]apdu.SW{1: 0x6A80, 2: 0x6A80, 3: 0x6A80, 7: 0x6A80, 5: 0x9000, 9: 0x9000} {
		d := append([]byte{}, data...)
		d[10] = typ
		if _, sw := b.lc("80700000", d, "08"); sw != want {
			t.Errorf("type %d: %04X", typ, uint16(sw))
		}
	}
	d := append([]byte{}, data...)
	d[18] = 9
	if _, sw := b.lc("80700000", d, "08"); sw != apdu.SWKeyIndexNotSupported {
		t.Errorf("key version: %04X", uint16(sw))
	}
	b.want(apdu.SWWrongLength, "80700000 05 0000000000 08")
	b.want(apdu.SWWrongP1P2, "80700001 00")
	b.want(apdu.SWFileNotFound, "805001020B01", money.Fen(1), terminal[:], "0F") // no purse here

	// Wrong MAC2s lock it, over resets; the issuer unlocks it.
	next = beUint(hexOf(c.dir.file(0x18).data))
	advance()
	for range 3 {
		b.want(apdu.SWMACInvalid, "8072000004 00000000")
	}
	b.want(apdu.SWMethodBlocked, "8072000004 00000000")
	b.on().ok("00A40000023F01")
	if _, sw := b.lc("80700000", data, "08"); sw != apdu.SWMethodBlocked {
		t.Errorf("locked PSAM: %04X", uint16(sw))
	}
	if sw := b.line(div(TestKeys().Line, samID.Factor()), 0x84, 0x18, 0, 0, nil); sw != apdu.SWOK {
		t.Fatalf("unlock: %04X", uint16(sw))
	}
	advance()
}

func TestPSAMOptions(t *testing.T) {
	init := unhex("00001000 0012 000000 01 00 9B2E4471")
	s := testSAM()
	s.Levels = []int{2}
	_, a := issue(t, s, Options{LateSequence: true}, PSAMName)
	_, b := issue(t, s, Options{RegionFirst: true}, PSAMName)
	one := a.ok("80700000", "24", samData(init, 500, cardNo.Factor(), region), "08")
	two := b.ok("80700000", "24", samData(init, 500, region, cardNo.Factor()), "08")
	equalHex(t, "region first", two, hexOf(one))
	again := a.ok("80700000", "24", samData(init, 500, cardNo.Factor(), region), "08")
	equalHex(t, "late sequence", again, hexOf(one))
	ses, _ := alg.SessionKey(div(TestKeys().Purchase, region, cardNo.Factor()), suite.PurchaseSession([4]byte(init[11:]), 0x12, 1))
	a.ok("8072000004", transMAC(ses)(suite.PurchaseMAC2(500)))
	again = a.ok("80700000", "24", samData(init, 500, cardNo.Factor(), region), "08")
	equalHex(t, "advanced", again[:4], "00000002")
}

// allowanceKey is what the utility's vault derives.
func allowanceKey(t testing.TB) []byte {
	k, err := suite.AllowanceKey(alg, TestKeys().Allowance, samID)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (b bench) allow(a suite.Allowance) apdu.SW {
	b.t.Helper()
	ch := b.ok("0084000008")
	_, sw := b.send("8076000014", a.Signed(must(a.MAC(alg, allowanceKey(b.t), [8]byte(ch), samID))))
	return sw
}

func (b bench) samState() suite.LoadSAMState {
	b.t.Helper()
	ch := [8]byte(unhex("0102030405060708"))
	st, mac, err := suite.DecodeLoadSAMState(b.ok("8074000008", ch[:], "2A"))
	if err != nil {
		b.t.Fatal(err)
	}
	if !must(st.MAC(alg, allowanceKey(b.t), ch)).Equal(mac) || st.SAM != samID {
		b.t.Fatal("the state is not signed by this SAM")
	}
	return st
}

// samLoad is the data of INIT SAM FOR LOAD for a card's INITIALIZE answer.
func samLoad(t testing.TB, init []byte, amount money.Fen, factors ...[8]byte) []byte {
	d, err := suite.SAMLoad{
		Rnd: [4]byte(init[8:]), Counter: be16(init[4:]), Before: money.FromPurse([4]byte(init)), Amount: amount,
		Type: 2, KeyVersion: init[6], Algorithm: init[7], MAC1: suite.MAC(init[12:]), At: stamp, Factors: factors,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLoadSAM(t *testing.T) {
	_, card := issue(t, testCard(), Options{}, PurseAID)
	_, sam := issue(t, testSAM(), Options{}, suite.LoadSAMName)

	offline := func(amount money.Fen) apdu.SW {
		t.Helper()
		init := card.ok("805000020B01", amount, terminal[:], "10")
		got, sw := sam.lc("80700100", samLoad(t, init, amount, cardNo.Factor()), "08")
		if sw != apdu.SWOK {
			return sw
		}
		if n := beUint(hexOf(got[:4])); n != sam.samState().Count {
			t.Errorf("sequence %d is not the lifetime count", n)
		}
		tac := card.ok("805200000B", stamp[:], got[4:], "04")
		sam.want(apdu.SWMACInvalid, "8072010004 00000000")
		sam.ok("8072010004", tac)
		return sw
	}
	if sw := offline(100); sw != apdu.SWCounterExhausted {
		t.Errorf("without an allowance: %04X", uint16(sw))
	}
	first := suite.Allowance{Sequence: 5, CeilingAmount: 1000, CeilingCount: 3}
	if sw := sam.allow(first); sw != apdu.SWOK {
		t.Fatalf("allowance: %04X", uint16(sw))
	}
	for i, step := range []struct {
		amount money.Fen
		want   apdu.SW
	}{{600, 0x9000}, {401, 0x9401}, {400, 0x9000}, {1, 0x9401}, {0, 0x9000}, {0, 0x9402}} {
		if sw := offline(step.amount); sw != step.want {
			t.Errorf("step %d: %04X, want %04X", i, uint16(sw), uint16(step.want))
		}
	}
	want := suite.LoadSAMState{SAM: samID, Allowance: first, Total: 1000, Count: 3}
	if st := sam.samState(); st != want {
		t.Errorf("state %+v", st)
	}
	if card.balance() != 1000 {
		t.Errorf("card has %v", card.balance())
	}
	// Repeated, older and foreign allowances add nothing.
	for _, a := range []suite.Allowance{first, {Sequence: 4, CeilingAmount: 9999, CeilingCount: 9}} {
		if sw := sam.allow(a); sw != apdu.SWConditionsNotMet {
			t.Errorf("%+v: %04X", a, uint16(sw))
		}
	}
	next := suite.Allowance{Sequence: 6, CeilingAmount: 500, CeilingCount: 9}
	ch := sam.ok("0084000008")
	mac := must(next.MAC(alg, allowanceKey(t), [8]byte(ch), samID))
	sam.samState() // any other command spends the challenge
	sam.want(apdu.SWReferenceInvalid, "8076000014", next.Signed(mac))
	sam.ok("0084000004")
	sam.want(apdu.SWReferenceInvalid, "8076000014", next.Signed(mac)) // a challenge of 4
	sam.ok("0084000008")
	sam.want(apdu.SWMACInvalid, "8076000014", next.Signed(mac)) // of another challenge
	sam.want(apdu.SWReferenceInvalid, "8076000014", next.Signed(mac))
	if st := sam.samState(); st != want {
		t.Errorf("state %+v", st)
	}
	// A ceiling below what was given stops loading.
	if sw := sam.allow(next); sw != apdu.SWOK {
		t.Fatalf("%04X", uint16(sw))
	}
	if sw := offline(0); sw != apdu.SWBalanceLow {
		t.Errorf("%04X", uint16(sw))
	}
	// Over a reset.
	sam.on().selectApp(suite.LoadSAMName)
	want.Allowance = next
	if st := sam.samState(); st != want {
		t.Errorf("state %+v", st)
	}
}

func TestLoadSAMRefuses(t *testing.T) {
	_, card := issue(t, testCard(), Options{}, PurseAID)
	_, sam := issue(t, testSAM(), Options{}, suite.LoadSAMName)
	sam.allow(suite.Allowance{Sequence: 1, CeilingAmount: 1000, CeilingCount: 10})
	init := card.ok("805000020B01", money.Fen(100), terminal[:], "10")
	good := samLoad(t, init, 100, cardNo.Factor())
	before := sam.samState()
	for name, tt := range map[string]struct {
		at   int
		to   byte
		want apdu.SW
	}{
		"MAC1":    {17, good[17] ^ 1, apdu.SWMACInvalid},
		"amount":  {13, good[13] ^ 1, apdu.SWMACInvalid},
		"before":  {9, good[9] ^ 1, apdu.SWMACInvalid},
		"random":  {0, good[0] ^ 1, apdu.SWMACInvalid},
		"type":    {14, 6, apdu.SWWrongData},
		"version": {15, 7, apdu.SWKeyIndexNotSupported},
	} {
		d := append([]byte{}, good...)
		d[tt.at] = tt.to
		if _, sw := sam.lc("80700100", d, "08"); sw != tt.want {
			t.Errorf("%s: %04X, want %04X", name, uint16(sw), uint16(tt.want))
		}
	}
	if sam.samState() != before {
		t.Error("a refusal used the allowance")
	}
	psam := bench{t, sam.Chip}
	psam.selectApp(PSAMName)
	if _, sw := psam.lc("80700100", good, "08"); sw != apdu.SWINSNotSupported {
		t.Errorf("load at the PSAM application: %04X", uint16(sw))
	}
	psam.want(apdu.SWINSNotSupported, "8074000008 0000000000000000 2A")
}
