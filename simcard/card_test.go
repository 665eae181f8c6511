package simcard

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

func TestTour(t *testing.T) {
	for _, level := range []int{0, 1, 2} {
		r := testCard()
		r.Levels, r.Region, r.ED = level, region, true
		_, b := issue(t, r, Options{}, "1PAY")
		fci := b.selectApp(PurseAID)
		if !bytes.Contains(fci, append(append(suite.TestIssuer[:], 2, 1), cardNo[:]...)) {
			t.Errorf("the FCI does not quote EF 15: %X", fci)
		}
		if level != 1 { // the bench's keys are of level 1
			continue
		}
		b.load(10000)
		b.load(1)
		b.purchase(501)
		if b.balance() != 9500 {
			t.Errorf("balance %v", b.balance())
		}
		equalHex(t, "newest log", b.ok("00B201C417"), "0000 000000 000001F5 06 310100001234 20250901094501")
		equalHex(t, "log 2", b.ok("00B202C400"), "0001 000000 00000001 02 310100001234 20250901094501")
		b.want(apdu.SWRecordNotFound, "00B204C417")
		b.want(0x6C17, "00B201C416")
		b.want(apdu.SWSecurityNotSatisfied, "00DC01C417", make([]byte, 23))
		b.want(apdu.SWSecurityNotSatisfied, "805C000104")
		b.ok("0020000003 12345F")
		b.ok("805C000104")
	}
}

func TestLogIsARing(t *testing.T) {
	_, b := issue(t, testCard(), Options{LogPost: true}, PurseAID)
	for i := range 13 {
		b.load(money.Fen(i))
	}
	for n := range byte(10) {
		r := b.ok("00B2", []byte{n + 1, 0xC4, 23})
		if want := 13 - uint16(n); be16(r) != want { // post-increment counter
			t.Errorf("record %d has counter %d, want %d", n+1, be16(r), want)
		}
	}
	b.want(apdu.SWRecordNotFound, "00B20BC417")
}

func TestProof(t *testing.T) {
	tests := []struct {
		name string
		opts Options
		test func(b bench, answer []byte, credit []byte, tac []byte)
	}{
		{"default", Options{}, func(b bench, tacMAC2, credit, tac []byte) {
			equalHex(b.t, "proof", b.ok("805A000602 0001 08"), hexOf(tacMAC2[4:])+hexOf(tacMAC2[:4]))
			equalHex(b.t, "load", b.ok("805A000202 0001 08"), hexOf(credit[7:])+hexOf(tac))
			b.want(apdu.SWProofNotAvailable, "805A000602 0002 08")
			b.want(apdu.SWProofNotAvailable, "805A000602 0000 08")
			b.want(apdu.SWProofNotAvailable, "805A000502 0001 08")
			b.initPurchase(1) // a later INITIALIZE leaves it
			b.ok("805A000602 0001 08")
			b.PowerOff()
			b.on().selectApp(PurseAID)
			b.ok("805A000602 0001 08")
		}},
		{"TAC first", Options{ProofTACFirst: true}, func(b bench, tacMAC2, credit, tac []byte) {
			equalHex(b.t, "proof", b.ok("805A000602 0001 08"), hexOf(tacMAC2))
		}},
		{"single slot", Options{SingleProof: true}, func(b bench, tacMAC2, credit, tac []byte) {
			b.ok("805A000602 0001 08")
			b.want(apdu.SWProofNotAvailable, "805A000202 0001 08")
		}},
		{"none", Options{NoProof: true}, func(b bench, tacMAC2, credit, tac []byte) {
			b.want(apdu.SWINSNotSupported, "805A000602 0001 08")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, b := issue(t, testCard(), tt.opts, PurseAID)
			_, credit := b.initLoad(5000)
			tac := b.ok("805200000B", credit, "04")
			tt.test(bench{t, b.Chip}, b.purchase(100), credit, tac)
		})
	}
}

// TestOrderOfChecks: each case has the named fault and every fault that is
// checked later (purse.md section 8.4).
func TestOrderOfChecks(t *testing.T) {
	r := testCard()
	r.ED = true
	wrongMAC := "00000007 20250901094501 00000000"
	tests := []struct {
		name string
		set  func(c *Card, b bench)
		cmd  string
		want apdu.SW
	}{
		{"class", nil, "90500000 00", 0x6E00},
		{"class of this command", nil, "00500000 00", 0x6E00},
		{"instruction", nil, "80990000 00", 0x6D00},
		{"class before instruction", nil, "90990000 00", 0x6E00},
		{"card blocked", func(c *Card, b bench) { c.nv.blocked = true }, "80500909 00", 0x6A81},
		{"application blocked", func(c *Card, b bench) { c.dir.blocked = blockedTemp }, "80500909 00", 0x6A81},
		{"instruction before block", func(c *Card, b bench) { c.nv.blocked = true }, "80990000 00", 0x6D00},
		{"P1 P2", nil, "80500009 00", 0x6A86},
		{"length", nil, "80500001 05 0900000000", 0x6700},
		{"Le", nil, "80500002 0B 09 FFFFFFFF 310100001234 05", 0x6700},
		{"state of CREDIT", nil, "80520000 0B 20250901094501 00000000 04", 0x6901},
		{"state of DEBIT", nil, "80540100 0F" + wrongMAC + "08", 0x6901},
		{"DEBIT length before state", nil, "80540100 04 00000000", 0x6700},
		{"DEBIT P1 before length", nil, "80540900 04 00000000", 0x6A86},
		{"PIN", nil, "80500101 0B 09 FFFFFFFF 310100001234 0F", 0x6982},
		{"key", func(c *Card, b bench) { c.dir.file(2).purse.offline = 0xFFFF }, "80500102 0B 09 FFFFFFFF 310100001234 0F", 0x9403},
		{"counter", func(c *Card, b bench) { c.dir.file(2).purse.offline = 0xFFFF }, "80500102 0B 01 FFFFFFFF 310100001234 0F", 0x9402},
		{"balance", nil, "80500102 0B 01 FFFFFFFF 310100001234 0F", 0x9401},
		{"load counter", func(c *Card, b bench) { c.dir.file(2).purse.online = 0xFFFF }, "80500002 0B 01 FFFFFFFF 310100001234 10", 0x9402},
		{"load overflow", nil, "80500002 0B 01 FFFFFFFF 310100001234 10", 0x6985},
		{"MAC1 of DEBIT", func(c *Card, b bench) { b.initPurchase(1) }, "80540100 0F" + wrongMAC + "08", 0x9302},
		{"MAC2 of CREDIT", func(c *Card, b bench) { b.initLoad(1) }, "80520000 0B 20250901094501 00000000 04", 0x9302},
		{"DEBIT after load INIT", func(c *Card, b bench) { b.initLoad(1) }, "80540100 0F" + wrongMAC + "08", 0x6901},
		{"CREDIT after purchase INIT", func(c *Card, b bench) { b.initPurchase(1) }, "80520000 0B 20250901094501 00000000 04", 0x6901},
		{"SELECT of nothing", nil, "00A40000 02 1234", 0x6A82},
		{"no extended length", nil, "00B09500 000010", 0x6700},
		{"offset", nil, "00B0951E 01", 0x6B00},
		{"binary of the purse", nil, "00B08200 04", 0x6981},
		{"record of a binary", nil, "00B201AC 04", 0x6981},
		{"right Le", nil, "00B09510 30", 0x6C0E},
		{"clear write", nil, "00D69500 01 00", 0x6987},
		{"no challenge", nil, "04D69500 05 00 00000000", 0x6984},
		{"SAM command", nil, "80700000 1C" + "00000000 0000 00000001 06 20250901094501 0101 3310088812345678" + "08", 0x6D00},
		{"no EF", nil, "00B00000 01", 0x6986},
		{"create", nil, "80E00019 07 280001F0F0FFFF", 0x6982},
		{"erase", nil, "800E0000 00", 0x6982},
		{"write key", nil, "80D40102 15 3EF0F00100 00000000000000000000000000000000", 0x6982},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, b := issue(t, r, Options{}, PurseAID)
			b.load(1000)
			if tt.set != nil {
				tt.set(c, b)
				c.commit()
			}
			before := c.nv.encode()
			bench{t, c}.want(tt.want, tt.cmd)
			if !bytes.Equal(before, c.nv.encode()) {
				t.Error("the refusal changed the memory")
			}
		})
	}
}

// TestPendingIsStrict: one other command between INITIALIZE and execute ends
// it, unless the chip is tolerant (purse.md section 8.1).
func TestPendingIsStrict(t *testing.T) {
	for _, between := range []string{"805C000204", "00B0950000", "0084000004", "805A0006020001 08", "8099000000"} {
		for _, tolerant := range []bool{false, true} {
			_, b := issue(t, testCard(), Options{Tolerant: tolerant}, PurseAID)
			b.load(1000)
			_, debit := b.initPurchase(100)
			b.send(between)
			want := apdu.SWNotInThisState
			if tolerant {
				want = apdu.SWOK
			}
			b.want(want, "805401000F", debit, "08")
			b.want(apdu.SWNotInThisState, "805401000F", debit, "08") // once only
		}
	}
	for name, end := range map[string]func(b bench){
		"SELECT":  func(b bench) { b.selectApp(PurseAID) },
		"reset":   func(b bench) { b.on().selectApp(PurseAID) },
		"INIT":    func(b bench) { b.initPurchase(1) },
		"bad MAC": func(b bench) { b.want(0x9302, "805401000F00000007 20250901094501 00000000 08") },
	} {
		_, b := issue(t, testCard(), Options{Tolerant: true}, PurseAID)
		b.load(1000)
		_, debit := b.initPurchase(100)
		end(b)
		if _, sw := b.send("805401000F", debit, "08"); sw == apdu.SWOK {
			t.Errorf("%s did not end the pending purchase", name)
		}
	}
}

func TestDialects(t *testing.T) {
	_, b := issue(t, testCard(), Options{BalanceSW: 0x9301, StateSW: 0x6985, LateBalance: true, PINForLoad: true, UnifiedCounter: true}, PurseAID)
	b.want(0x6982, "805000020B01 00000001 310100001234 10")
	b.ok("0020000003 12345F")
	b.load(100)
	_, d := b.initPurchase(101)
	b.want(0x9301, "805401000F", d, "08")
	b.want(0x6985, "805401000F", d, "08")
	if r, _ := b.initPurchase(1); be16(r[4:]) != 1 {
		t.Error("counters are not unified")
	}
}

func TestPIN(t *testing.T) {
	_, b := issue(t, testCard(), Options{}, PurseAID)
	b.ok("0020000003 12345F")
	b.want(0x63C2, "0020000003 11111F")
	b.ok("805E0100 06 12345F FF 6543")
	b.want(0x63C2, "0020000003 12345F")
	b.want(0x63C1, "0020000003 12345F")
	b.ok("0020000004 6543FFFF")
	for _, sw := range []apdu.SW{0x63C2, 0x63C1, 0x63C0, 0x6983} {
		b.want(sw, "0020000002 1111")
	}
	b.want(0x6983, "0020000002 6543")
	b.want(0x6A88, "0020000902 6543")
	// The issuer brings it back; the wrong MAC counts against the issuer's key.
	pin := unhex("7777")
	mac := must(alg.TAC(div(TestKeys().PINReload, cardNo.Factor()), pin))
	b.want(apdu.SWMACInvalid, "805E000006", pin, "00000000")
	b.ok("805E000006", pin, mac)
	b.ok("0020000002 7777")
}

// TestTriesAreSpentFirst: the right PIN and a wrong one write before anything
// is compared, so who cuts the power at the first write learns nothing.
func TestTriesAreSpentFirst(t *testing.T) {
	c, b := issue(t, testCard(), Options{}, PurseAID)
	image := c.Image()
	for _, pin := range []string{"12345F", "11111F"} {
		c, err := FromImage(image, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := bench{t, c}.on()
		b.selectApp(PurseAID)
		c.TearAfter(1)
		if _, _, err := b.try("0020000003", pin); !errors.Is(err, ErrTorn) {
			t.Errorf("%s was compared before a try was spent: %v", pin, err)
		}
	}
	b.want(0x63C2, "0020000003 11111F")
	b.on().selectApp(PurseAID)
	b.want(0x63C1, "0020000003 11111F")
}

func TestExternalAuthenticateOpensIssuing(t *testing.T) {
	c, b := issue(t, testCard(), Options{}, PurseAID)
	key := div(TestKeys().Control, cardNo.Factor())
	b.want(0x6984, "0082000008", make([]byte, 8))
	b.ok("0084000008")
	b.want(0x63C2, "0082000008", make([]byte, 8))
	b.want(0x6984, "0082000008", make([]byte, 8)) // the challenge is spent
	for _, n := range []byte{4, 8} {
		b.want(0x6982, "80E00019 07 280001F0F0FFFF")
		ch := b.ok("00840000", []byte{n})
		crypt, _ := alg.Authenticate(key, ch)
		b.ok("0082000008", crypt)
		b.ok("80E00019 07 280001F0F0FFFF")
		b.want(apdu.SWWrongP1P2, "80E00019 07 280001F0F0FFFF") // exists
		b.ok("800E000000")
		b.want(apdu.SWFileNotFound, "805C000204")
		c2, _ := FromImage(c.Image(), Options{})
		if c2 == nil {
			t.Fatal("image after erase")
		}
		b.PowerOff()
		_, b = issue(t, testCard(), Options{}, PurseAID)
	}
}

// TestThreeStrikes: three wrong line MACs in a row lock the application for
// ever, over resets, and a right one ends the row (purse.md section 3.3).
func TestThreeStrikes(t *testing.T) {
	_, b := issue(t, testCard(), Options{BlockedSW: 0x9303}, PurseAID)
	key := div(TestKeys().Line, cardNo.Factor())
	bad := func() apdu.SW { return b.line(make([]byte, 16), 0x04, 0xD6, 0x96, 0, []byte{1}) }
	for _, step := range []struct {
		got, want apdu.SW
	}{
		{bad(), 0x6988}, {bad(), 0x6988},
		{b.line(key, 0x04, 0xD6, 0x96, 0, []byte{1}), 0x9000},
		{bad(), 0x6988}, {bad(), 0x6988},
	} {
		if step.got != step.want {
			t.Errorf("%04X, want %04X", uint16(step.got), uint16(step.want))
		}
	}
	b.on().selectApp(PurseAID)
	if sw := bad(); sw != 0x9303 {
		t.Errorf("%04X", uint16(sw))
	}
	b.on()
	b.want(0x9303, "00A4040009", []byte(PurseAID))
	if sw := b.line(key, 0x84, 0x18, 0, 0, nil); sw != 0x9303 {
		t.Errorf("UNBLOCK of a locked application: %04X", uint16(sw))
	}
}

func TestBlockAndUnblock(t *testing.T) {
	_, b := issue(t, testCard(), Options{BlockedSW: 0x6283}, PurseAID)
	key := div(TestKeys().Line, cardNo.Factor())
	b.load(100)
	if sw := b.line(key, 0x84, 0x1E, 0, 0, nil); sw != apdu.SWOK {
		t.Fatalf("%04X", uint16(sw))
	}
	if fci, sw := b.send("00A4040009", []byte(PurseAID)); sw != 0x6283 || len(fci) == 0 {
		t.Errorf("SELECT: %X %04X", fci, uint16(sw))
	}
	b.want(0x6283, "805C000204")
	if sw := b.line(key, 0x84, 0x18, 0, 0, nil); sw != apdu.SWOK {
		t.Fatalf("%04X", uint16(sw))
	}
	if b.balance() != 100 {
		t.Error("balance after unblock")
	}
}

func TestProtectedRead(t *testing.T) {
	_, b := issue(t, testCard(), Options{}, PurseAID)
	key := div(TestKeys().Line, cardNo.Factor())
	ch := b.ok("0084000004")
	mac := must(alg.LineMAC(key, ch, suite.LineFields(0x04, 0xB0, 0x96, 0, nil)))
	r := b.ok("04B0960004", mac, "05")
	if must(alg.LineMAC(key, ch, r[:5])) != suite.MAC(r[5:]) {
		t.Error("MAC of the answer is wrong")
	}
}

func TestPersonaliseRefuses(t *testing.T) {
	r := testCard()
	r.Keys.Load = nil
	if err := Personalise(New(Options{}), r); !errors.Is(err, ErrRecipe) {
		t.Error(err)
	}
	r = testCard()
	r.Issuer[0] = 0x33
	if err := Personalise(New(Options{}), r); !errors.Is(err, ErrRecipe) {
		t.Errorf("test keys for another issuer: %v", err)
	}
	real := testSAM()
	for _, k := range []*[]byte{&real.Keys.Line, &real.Keys.Control, &real.Keys.Purchase, &real.Keys.Load, &real.Keys.TAC, &real.Keys.Allowance, &real.Keys.PINReload, &real.Keys.PINUnblock} {
		*k = bytes.Repeat([]byte{0x42}, 16)
	}
	if err := Personalise(New(Options{}), real); !errors.Is(err, ErrRecipe) {
		t.Errorf("other keys for the test issuer: %v", err)
	}
	s := testSAM()
	s.Purchase, s.Load = false, false
	if err := Personalise(New(Options{}), s); !errors.Is(err, ErrRecipe) {
		t.Error(err)
	}
	c, _ := issue(t, testCard(), Options{}, PurseAID)
	if err := Personalise(c, testCard()); !errors.Is(err, apdu.SWSecurityNotSatisfied) {
		t.Errorf("an issued card lets itself be issued again: %v", err)
	}
}

func TestMemoryFull(t *testing.T) {
	_, b := issue(t, testCard(), Options{}, "1PAY")
	key := div(TestKeys().Control, cardNo.Factor())
	ch := b.ok("0084000008")
	crypt, _ := alg.Authenticate(key, ch)
	b.ok("0082000008", crypt)
	b.want(apdu.SWNoSpace, "80E00009 07 283F00F0F0FFFF")
	b.selectApp(PurseAID)
	b.load(5)
	if b.balance() != 5 {
		t.Error("a refused file hurt the card")
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "card.bin")
	c, err := Open(path, Options{})
	if err != nil || !c.Blank() {
		t.Fatal(err)
	}
	if err := Personalise(c, testCard()); err != nil {
		t.Fatal(err)
	}
	b := bench{t, c}.on()
	b.selectApp(PurseAID)
	b.load(777)
	// The process is killed here: nothing is closed.
	c, err = Open(path, Options{})
	if err != nil || c.Blank() {
		t.Fatal(err)
	}
	b = bench{t, c}.on()
	b.selectApp(PurseAID)
	if b.balance() != 777 {
		t.Errorf("balance %v", b.balance())
	}
}

// TestTornMemoryIsKept: what a chip shows after a torn write is in its file,
// so a process killed then cannot take it back.
func TestTornMemoryIsKept(t *testing.T) {
	for at := 1; at <= 10; at++ {
		path := filepath.Join(t.TempDir(), "card.bin")
		c, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Personalise(c, testCard()); err != nil {
			t.Fatal(err)
		}
		b := bench{t, c}.on()
		b.selectApp(PurseAID)
		_, credit := b.initLoad(500)
		c.TearAfter(at)
		if _, _, err := b.try("805200000B", credit); !errors.Is(err, ErrTorn) {
			t.Fatal(err)
		}
		b.on().selectApp(PurseAID)
		shown := b.balance()
		c, err = Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b = bench{t, c}.on()
		b.selectApp(PurseAID)
		if b.balance() != shown {
			t.Errorf("write %d: the card showed %v and its file holds %v", at, shown, b.balance())
		}
	}
}

func TestSaveFails(t *testing.T) {
	full := errors.New("disk full")
	fail := false
	c, b := issue(t, testCard(), Options{Save: func([]byte) error {
		if fail {
			return full
		}
		return nil
	}}, PurseAID)
	_, credit := b.initLoad(500)
	fail = true
	if _, _, err := b.try("805200000B", credit); !errors.Is(err, ErrTorn) || !errors.Is(err, full) {
		t.Error(err)
	}
	if _, err := c.PowerOn(); !errors.Is(err, full) {
		t.Errorf("the chip shows what was not kept: %v", err)
	}
	fail = false
	b.on().selectApp(PurseAID)
	if b.balance() != 500 {
		t.Error("balance")
	}
}

func TestStrikesAtTheMF(t *testing.T) {
	_, b := issue(t, testCard(), Options{}, "1PAY")
	for _, want := range []apdu.SW{0x6988, 0x6988, 0x6988, 0x6983} {
		if sw := b.line(make([]byte, 16), 0x84, 0x16, 0, 0, nil); sw != want {
			t.Errorf("%04X, want %04X", uint16(sw), uint16(want))
		}
	}
	if sw := b.line(div(TestKeys().Line, cardNo.Factor()), 0x84, 0x16, 0, 0, nil); sw != apdu.SWMethodBlocked {
		t.Errorf("the right key after that: %04X", uint16(sw))
	}
	b.selectApp(PurseAID) // the application is not hurt
}

func TestNoPower(t *testing.T) {
	c := New(Options{})
	if _, err := c.Transmit(unhex("00A4040000")); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	b := bench{t, c}.on()
	b.want(apdu.SWFunctionNotSupported, "00A40000023F00") // no MF
	atr, _ := c.PowerOn()
	if a, err := apdu.ParseATR(atr); err != nil {
		t.Errorf("%+v %v", a, err)
	}
}

// BenchmarkPurchase is INITIALIZE and DEBIT with one commit, the bench's own
// cryptography included.
func BenchmarkPurchase(b *testing.B) {
	c, bb := issue(b, testCard(), Options{}, PurseAID)
	for b.Loop() {
		pu := &c.dir.file(2).purse
		pu.balance, pu.offline = 100, 0
		bb.purchase(1)
	}
}
