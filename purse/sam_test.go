package purse

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

const (
	samInit   = "80700000 1C 9B2E4471 0012 000001F4 06 20250901 094501 01 00 3310088812345678 08 = "
	samGrant  = "0000A1B7 48E0288F 9000"
	samCredit = "80720000 04 580CAD42 = "
	selectMF  = "00A40000 02 3F00 00 = 9000\n"
	selectApp = "00A40000 02 3F01 00 = 9000\n"
	selectLSA = "00A40400 0B 4449414E4B412E4C53414D 00 = 9000\n"
)

var (
	samCard     = money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0x12, 0x34, 0x56, 0x78}
	samPurchase = PurchaseInit{Before: 3000, Counter: 0x12, Random: [4]byte{0x9B, 0x2E, 0x44, 0x71}, Amount: 500, Terminal: terminalID, TxType: 6, KeyVersion: 1}
	cardMAC2    = suite.MAC{0x58, 0x0C, 0xAD, 0x42}
)

func combined() []profiles.SAM {
	list := psamProfile()
	list[1].LoadSAM = list[0].LoadSAM
	return list[1:]
}

// openBoth opens both applications on one Card value.
func openBoth(t *testing.T, lines ...string) (*PSAM, *LoadSAM) {
	t.Helper()
	c := scripted(t, append([]string{psamOpen,
		selectMF, "00B0960006 = 310100001234 9000", "00B095000E = 11223344556677889900 01 00 0000 9000",
		selectLSA, "00B0970019 = 01 FFFFFFFF00000001 0000000000000000 20240101 20301231 9000"}, lines...)...)
	p, err := OpenPSAM(background, c, combined())
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLoadSAM(background, c, combined())
	if err != nil {
		t.Fatal(err)
	}
	return p, l
}

func TestOpenSAM(t *testing.T) {
	mf := "00A40000 02 3F00 00 = 9000\n"
	for name, c := range map[string]struct {
		script string
		is     error
	}{
		"no master file":   {"00A40000 02 3F00 00 = 6A82", ErrNotPSAM},
		"a purse card":     {mf + "00B0960006 = 6A82", ErrNotPSAM},
		"no serial":        {mf + "00B0960006 = 310100001234 9000\n00B095000E = 6982", ErrNotPSAM},
		"terminal zero":    {mf + "00B0960006 = 000000000000 9000\n00B095000E = 11223344556677889900 01 00 0000 9000", ErrNotPSAM},
		"terminal short":   {mf + "00B0960006 = 3101 9000", ErrNotPSAM},
		"no application":   {mf + "00B0960006 = 310100001234 9000\n00B095000E = 11223344556677889900 01 00 0000 9000\n00A40000 02 3F01 00 = 6A82", ErrNotPSAM},
		"no information":   {mf + "00B0960006 = 310100001234 9000\n00B095000E = 11223344556677889900 01 00 0000 9000\n00A40000 02 3F01 00 = 9000\n00B0970019 = 6A82", ErrNotPSAM},
		"gone":             {mf + "00B0960006 = -", errTransport},
		"gone at the last": {mf + "00B0960006 = 310100001234 9000\n00B095000E = 11223344556677889900 01 00 0000 9000\n00A40000 02 3F01 00 = 9000\n00B0970019 = -", errTransport},
	} {
		_, err := OpenPSAM(background, scripted(t, c.script), psamProfile())
		if !errors.Is(err, c.is) || errors.Is(err, ErrNotPSAM) != (c.is == ErrNotPSAM) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenLoadSAM(background, scripted(t), psamProfile()[1:]); !errors.Is(err, ErrNotLoadSAM) {
		t.Error(err)
	}
}

// TestSharedSAM: each of two applications on one card selects itself again
// when the other was used, and the PSAM is not selected needlessly.
func TestSharedSAM(t *testing.T) {
	p, l := openBoth(t,
		samInit+"6D00", selectMF, selectApp, samInit+samGrant, samCredit+"9000", // the load SAM had been opened last
		samInit+samGrant, samCredit+"9000", // still selected
		selectLSA, "80740000 08 0102030405060708 2A = 6F00",
		samInit+"6D00", selectMF, selectApp, samInit+samGrant)
	buy := func() {
		t.Helper()
		if g, err := p.InitPurchase(background, ep(), samCard, samPurchase, stampA); err != nil || g != grant {
			t.Fatalf("%+v, %v", g, err)
		}
	}
	buy()
	if err := p.Credit(background, cardMAC2); err != nil {
		t.Fatal(err)
	}
	buy()
	if err := p.Credit(background, cardMAC2); err != nil {
		t.Fatal(err)
	}
	if err := p.Credit(background, cardMAC2); !errors.Is(err, ErrSAMSession) { // one MAC2 per grant
		t.Fatal(err)
	}
	if _, _, err := l.State(background, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}); !errors.Is(err, apdu.SWUnspecified) {
		t.Fatal(err)
	}
	buy()
}

func TestPSAMCredit(t *testing.T) {
	for answer, is := range map[string]error{
		"9302": ErrMAC2, "6901": ErrSAMSession, "6D00": ErrSAMSession, "6983": apdu.SWMethodBlocked, "-": errTransport, "00 9000": ErrAnswer,
	} {
		p, err := OpenPSAM(background, scripted(t, psamOpen, samInit+samGrant, samCredit+answer), psamProfile())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.InitPurchase(background, ep(), samCard, samPurchase, stampA); err != nil {
			t.Fatal(err)
		}
		if err := p.Credit(background, cardMAC2); !errors.Is(err, is) || (is != ErrMAC2 && errors.Is(err, ErrMAC2)) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	// Not after another grant was asked for and refused.
	q, err := OpenPSAM(background, scripted(t, psamOpen, samInit+samGrant, samInit+"-"), psamProfile())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = q.InitPurchase(background, ep(), samCard, samPurchase, stampA)
	}
	if !errors.Is(err, errTransport) {
		t.Fatal(err)
	}
	if err := q.Credit(background, cardMAC2); !errors.Is(err, ErrSAMSession) {
		t.Error(err)
	}
	// Not without a grant, and a grant for another terminal is none.
	p, err := OpenPSAM(background, scripted(t, psamOpen), psamProfile())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Credit(background, cardMAC2); !errors.Is(err, ErrSAMSession) {
		t.Error(err)
	}
	in := samPurchase
	in.Terminal[5]++
	if _, err := p.InitPurchase(background, ep(), samCard, in, stampA); !errors.Is(err, ErrTerminal) || apdu.MayHaveExecuted(err) {
		t.Error(err)
	}
}

// TestPSAMRefuses: a refusal is asked for once more after SELECT, a line that
// broke is not.
func TestPSAMRefuses(t *testing.T) {
	for script, is := range map[string]error{
		samInit + "9403\n" + selectMF + selectApp + samInit + "9403":          apdu.SWKeyIndexNotSupported,
		samInit + "9000\n" + selectMF + selectApp + samInit + "0000A1B7 9000": ErrAnswer,
		samInit + "-": errTransport,
		samInit + "6D00\n00A40000 02 3F00 00 = -":                 errTransport,
		samInit + "6D00\n" + selectMF + "00A40000023F0100 = 6A81": apdu.SWFunctionNotSupported,
	} {
		p, err := OpenPSAM(background, scripted(t, psamOpen, script), psamProfile())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.InitPurchase(background, ep(), samCard, samPurchase, stampA); !errors.Is(err, is) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestLoadSAM(t *testing.T) {
	in := LoadInit{Before: 3000, Counter: 4, Random: [4]byte{0x5A, 0x17, 0xC3, 0xE9}, Amount: 10000, Terminal: terminalID, TxType: 2, KeyVersion: 1, MAC1: suite.MAC{0x8B, 0x1F, 0x5F, 0xA7}}
	const authorise = "80700100 24 5A17C3E9 0004 00000BB8 00002710 02 01 00 8B1F5FA7 20250901094501 3310088812345678 08 = "
	const confirm = "80720100 04 B038A41C = "
	state := suite.LoadSAMState{SAM: money.SAMID{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99}, Allowance: suite.Allowance{Sequence: 7, CeilingAmount: 100000, CeilingCount: 9}, Total: 10000, Count: 1}
	mac := suite.MAC{1, 2, 3, 4}
	allow := suite.Allowance{Sequence: 8, CeilingAmount: 200000, CeilingCount: 19}
	_, l := openBoth(t,
		selectLSA, authorise+"00000001 4E6FEA26 9000", confirm+"9302", confirm+"9000",
		selectLSA, fmt.Sprintf("80740000 08 0102030405060708 2A = %X 9000", state.Signed(mac)),
		selectLSA, "0084000008 = A1A2A3A4A5A6A7A8 9000", fmt.Sprintf("80760000 14 %X = 9000", allow.Signed(mac)),
		selectLSA, "0084000008 = A1A2A3A4A5A6A7A8 9000", fmt.Sprintf("80760000 14 %X = 6984", allow.Signed(mac)),
		selectLSA, "0084000008 = A1A2A3A4A5A6A7A8 9000", fmt.Sprintf("80760000 14 %X = 9302", allow.Signed(mac)),
	)
	a, err := l.Authorise(background, ep(), samCard, in, stampA)
	if err != nil || a != (Authorisation{stampA, suite.MAC{0x4E, 0x6F, 0xEA, 0x26}, 1}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := l.Confirm(background, suite.MAC{0xB0, 0x38, 0xA4, 0x1C}); !errors.Is(err, ErrTAC) {
		t.Error(err)
	}
	if err := l.Confirm(background, suite.MAC{0xB0, 0x38, 0xA4, 0x1C}); err != nil {
		t.Error(err)
	}
	if err := l.Confirm(background, suite.MAC{0xB0, 0x38, 0xA4, 0x1C}); !errors.Is(err, ErrSAMSession) {
		t.Error(err)
	}
	if st, m, err := l.State(background, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}); err != nil || st != state || m != mac {
		t.Errorf("%+v %X, %v", st, m, err)
	}
	if err := l.Install(background, allow, mac); !errors.Is(err, ErrSAMSession) { // no challenge
		t.Error(err)
	}
	for _, is := range []error{nil, ErrSAMSession, apdu.SWMACInvalid} {
		if ch, err := l.Challenge(background); err != nil || ch != [8]byte{0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8} {
			t.Error(ch, err)
		}
		if err := l.Install(background, allow, mac); !errors.Is(err, is) {
			t.Error(err)
		}
		if err := l.Install(background, allow, mac); !errors.Is(err, ErrSAMSession) { // a challenge serves once
			t.Error(err)
		}
	}

	for answer, c := range map[string]struct {
		is       error
		executed bool
	}{
		"9401": {apdu.SWBalanceLow, false}, "9402": {apdu.SWCounterExhausted, false}, "9302": {apdu.SWMACInvalid, false},
		"6581": {apdu.SWMemoryFailure, true}, "00000001 9000": {ErrAnswer, true}, "-": {errTransport, true},
	} {
		_, l := openBoth(t, selectLSA, authorise+answer)
		if _, err := l.Authorise(background, ep(), samCard, in, stampA); !errors.Is(err, c.is) || apdu.MayHaveExecuted(err) != c.executed {
			t.Errorf("%s: %v", answer, err)
		}
	}
	_, l = openBoth(t, "00A40400 0B 4449414E4B412E4C53414D 00 = -")
	if _, err := l.Authorise(background, ep(), samCard, in, stampA); apdu.MayHaveExecuted(err) { // gone before it was asked
		t.Error(err)
	}
	in.Terminal[0]++
	_, l = openBoth(t)
	if _, err := l.Authorise(background, ep(), samCard, in, stampA); !errors.Is(err, ErrTerminal) || apdu.MayHaveExecuted(err) {
		t.Error(err)
	}
	other := state
	other.SAM[0]++
	_, l = openBoth(t, selectLSA, fmt.Sprintf("80740000 08 0000000000000000 2A = %X 9000", other.Signed(mac)))
	if _, _, err := l.State(background, [8]byte{}); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
}
