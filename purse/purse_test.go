package purse

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

const (
	initPurchase = "80500102 0B 01 000001F4 310100001234 0F = 00000BB8 0012 000000 01 00 9B2E4471 9000"
	debitCommand = "80540100 0F 0000A1B7 20250901 094501 48E0288F 08 = "
	initLoad     = "80500002 0B 01 00002710 310100001234 10 = 00000BB8 0004 01 00 5A17C3E9 8B1F5FA7 9000"
	creditLoad   = "80520000 0B 20250901 094501 4E6FEA26 04 = "
)

var grant = Grant{0xA1B7, suite.MAC{0x48, 0xE0, 0x28, 0x8F}}

// TestExecuteAnswers: every answer to a command that moves value is done, not
// done, or honestly doubtful.
func TestExecuteAnswers(t *testing.T) {
	const done, refused, doubt = 0, 1, 2
	answers := map[string]int{
		"TAC 9000": done,
		// Words that say that nothing changed (purse.md sections 5, 7.2, 7.4).
		"9302": refused, "9401": refused, "9301": refused, "6901": refused, "6985": refused, "6982": refused,
		"6700": refused, "6A81": refused, "6A86": refused, "6D00": refused, "6E00": refused, "9303": refused, "9402": refused, "9403": refused, "6400": refused,
		// All others may come from a card that did it.
		"6581": doubt, "6F00": doubt, "6100": doubt, "6108": doubt, "6C08": doubt, "6200": doubt, "63C0": doubt, "6300": doubt, "6501": doubt,
		"9406": doubt, "9123": doubt, "0000": doubt, "FFFF": doubt,
		"": doubt, "90": doubt, "9000": doubt, "01 9000": doubt, "00 TAC 9000": doubt, "TAC 9302": doubt, "01 9401": doubt,
	}
	for answer, want := range answers {
		for _, load := range []bool{false, true} {
			init, cmd, tac := initPurchase, debitCommand, "1A567AF6 580CAD42"
			if load {
				init, cmd, tac = initLoad, creditLoad, "B038A41C"
			}
			a := selected(t, ep(), init, cmd+strings.ReplaceAll(answer, "TAC", tac))
			var err error
			if load {
				_, err = a.InitLoad(background, 10000, terminalID)
			} else {
				_, err = a.InitPurchase(background, 500, terminalID)
			}
			if err != nil {
				t.Fatal(err)
			}
			run := func() error {
				if load {
					_, err := a.CreditLoad(background, stampA, suite.MAC{0x4E, 0x6F, 0xEA, 0x26})
					return err
				}
				_, _, err := a.DebitPurchase(background, grant, stampA)
				return err
			}
			err = run()
			var e *ExecuteError
			switch {
			case want == done:
				if err != nil {
					t.Errorf("%q: %v", answer, err)
				}
			case !errors.As(err, &e):
				t.Errorf("%q: %v", answer, err)
			case e.Executed != (want == doubt) || apdu.MayHaveExecuted(err) != (want == doubt):
				t.Errorf("%q: %v", answer, err)
			}
			// Whatever came: the command is never sent twice.
			if err := run(); !errors.Is(err, ErrNoInit) || apdu.MayHaveExecuted(err) {
				t.Errorf("%q: second time: %v", answer, err)
			}
		}
	}
}

// TestExecuteTransport: an error of the line means what it says of itself.
func TestExecuteTransport(t *testing.T) {
	for _, executed := range []bool{false, true} {
		c := scripted(t, initPurchase, debitCommand+"-")
		c.errs = []error{transportError{executed}}
		a := on(c, ep())
		if _, err := a.InitPurchase(background, 500, terminalID); err != nil {
			t.Fatal(err)
		}
		_, _, err := a.DebitPurchase(background, grant, stampA)
		if apdu.MayHaveExecuted(err) != executed || !errors.As(err, new(transportError)) {
			t.Errorf("%v: %v", executed, err)
		}
	}
	// The data were there, 61xx said, but could not be fetched.
	c := scripted(t, initPurchase, debitCommand+"6108", "80C0000008 = 6F00")
	a := on(apdu.GetResponse(c), ep())
	if _, err := a.InitPurchase(background, 500, terminalID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.DebitPurchase(background, grant, stampA); !apdu.MayHaveExecuted(err) {
		t.Error(err)
	}
	// Nothing is sent once the caller gave up.
	a = on(scripted(t, initPurchase), ep())
	if _, err := a.InitPurchase(background, 500, terminalID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, _, err := a.DebitPurchase(ctx, grant, stampA); !errors.Is(err, context.Canceled) || apdu.MayHaveExecuted(err) {
		t.Error(err)
	}
}

// mover is a chip that does what moves value once, answers with a word of its
// own, and refuses what comes after; the rest it lets a script answer.
type mover struct {
	Card
	word  string
	moves int
}

func (m *mover) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if ins := command[1]; ins != 0x52 && ins != 0x54 && ins != 0x70 {
		return m.Card.Transmit(ctx, command)
	}
	if m.moves++; m.moves > 1 {
		return []byte{0x69, 0x85}, nil
	}
	return hex.DecodeString(m.word)
}

// TestExecuteWrongLength: a chip may answer 6Cxx to a command that moves value
// although it did it. Sent again, the command would be refused, and the
// refusal taken for the answer.
func TestExecuteWrongLength(t *testing.T) {
	for name, over := range map[string]func(apdu.Transmitter) apdu.Transmitter{
		"T=1": apdu.GetResponse,
		"T=0": func(c apdu.Transmitter) apdu.Transmitter { return apdu.GetResponse(apdu.ShapeT0(c)) },
	} {
		for _, word := range []string{"6C00", "6C02", "6C04", "6C08", "6CFF"} {
			check := func(what string, m *mover, err error) {
				t.Helper()
				var e *ExecuteError
				if !errors.As(err, &e) || !e.Executed || m.moves != 1 {
					t.Errorf("%s, %s to %s: %v, sent %d times", name, word, what, err, m.moves)
				}
			}
			m := &mover{Card: scripted(t, shaped(name, initPurchase)), word: word}
			a := on(over(m), ep())
			if _, err := a.InitPurchase(background, 500, terminalID); err != nil {
				t.Fatal(err)
			}
			_, _, err := a.DebitPurchase(background, grant, stampA)
			check("a debit", m, err)

			m = &mover{Card: scripted(t, shaped(name, initLoad)), word: word}
			a = on(over(m), ep())
			if _, err := a.InitLoad(background, 10000, terminalID); err != nil {
				t.Fatal(err)
			}
			_, err = a.CreditLoad(background, stampA, suite.MAC{})
			check("a credit", m, err)

			m = &mover{Card: scripted(t, shaped(name, selectLSA)), word: word}
			l := &LoadSAM{SAM: &SAM{card: over(m), app: *combined()[0].LoadSAM, terminal: terminalID}}
			_, err = l.Authorise(background, ep(), samCard, LoadInit{Amount: 10000, Terminal: terminalID, TxType: 2}, stampA)
			check("a load SAM", m, err)
		}
	}
}

// shaped is a line of a script whose command has data, as it goes over a line
// of that protocol: under T=0 without the last byte of the command.
func shaped(protocol, line string) string {
	if command, answer, _ := strings.Cut(strings.TrimSpace(line), "="); protocol == "T=0" {
		return strings.TrimSpace(command)[:len(strings.TrimSpace(command))-2] + " = " + answer
	}
	return line
}

// TestExecuteNeedsInit: a strict card drops a pending INITIALIZE at any other
// command, so a debit after one is not sent at all.
func TestExecuteNeedsInit(t *testing.T) {
	a := selected(t, ep(), initPurchase, "805C0002 04 = 00000BB8 9000", initLoad)
	if _, err := a.CreditLoad(background, stampA, suite.MAC{}); !errors.Is(err, ErrNoInit) {
		t.Error(err)
	}
	if _, err := a.InitPurchase(background, 500, terminalID); err != nil {
		t.Fatal(err)
	}
	if b, err := a.Balance(background); b != 3000 || err != nil {
		t.Error(b, err)
	}
	if _, _, err := a.DebitPurchase(background, grant, stampA); !errors.Is(err, ErrNoInit) || apdu.MayHaveExecuted(err) {
		t.Error(err)
	}
	if _, err := a.InitLoad(background, 10000, terminalID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.DebitPurchase(background, grant, stampA); !errors.Is(err, ErrNoInit) { // initialised for a load
		t.Error(err)
	}
}

func TestInitRefusals(t *testing.T) {
	dialect := apdu.Dialect{0x9801: {Means: apdu.SWBalanceLow, Text: "too little money"}}
	const cmd = "80500102 0B 01 000001F4 310100001234 0F = "
	for _, c := range []struct {
		answer string
		is     error
	}{
		{"9401", apdu.SWBalanceLow},
		{"9301", apdu.SWBalanceLow}, // setting 7, on every card
		{"9801", apdu.SWBalanceLow}, // a dialect's word
		{"9801", apdu.SW(0x9801)},
		{"9402", apdu.SWCounterExhausted},
		{"9403", apdu.SWKeyIndexNotSupported},
		{"00000001 0012 000000 01 00 9B2E4471 9000", apdu.SWBalanceLow},       // says so only when debited
		{"00000BB8 FFFF 000000 01 00 9B2E4471 9000", apdu.SWCounterExhausted}, // would wrap
		{"00000BB8 0012 000000 01 00 9B2E44 9000", ErrAnswer},
		{"00000BB8 0012 000000 01 00 9B2E4471 00 9000", ErrAnswer},
		{"9000", ErrAnswer},
	} {
		p := ep()
		p.StatusWords = dialect
		if _, err := selected(t, p, cmd+c.answer).InitPurchase(background, 500, terminalID); !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.answer, err)
		}
	}
	full := "80500002 0B 01 00002710 310100001234 10 = FFFFFF00 0004 01 00 5A17C3E9 8B1F5FA7 9000"
	if _, err := selected(t, ep(), full).InitLoad(background, 10000, terminalID); !errors.Is(err, ErrAmount) {
		t.Errorf("overflow: %v", err)
	}
	for _, amount := range []money.Fen{-1, money.MaxPurse + 1} {
		_, err1 := selected(t, ep()).InitLoad(background, amount, terminalID)
		_, err2 := selected(t, ep()).InitPurchase(background, amount, terminalID)
		if !errors.Is(err1, ErrAmount) || !errors.Is(err2, ErrAmount) {
			t.Errorf("%d: %v, %v", amount, err1, err2)
		}
	}
}

func TestSelect(t *testing.T) {
	second := ep()
	second.Name, second.AID = "second", []byte{0xA0, 0, 0, 0, 3, 0x86, 0x98, 7, 2}
	const select2 = "00A40400 09 A00000000386980702 00"
	both := []profiles.Card{ep(), second}
	for name, c := range map[string]struct {
		script []string
		is     error
		found  string
	}{
		"first":                      {[]string{selectEP + "=" + fciHex + "9000"}, nil, "test"},
		"second":                     {[]string{selectEP + "= 6A82", select2 + "=" + fciHex + "9000"}, nil, "second"},
		"first blocked, second good": {[]string{selectEP + "= 6A81", select2 + "=" + fciHex + "9000"}, nil, "second"},
		"no FCI data":                {[]string{selectEP + "= 6F0B8409A00000000386980701 9000", "00B095001E =" + infoHex + "9000"}, nil, "test"},
		"FCI is not TLV":             {[]string{selectEP + "= 6FFF 9000", "00B095001E =" + infoHex + "9000"}, nil, "test"},
		"none":                       {[]string{selectEP + "= 6A82", select2 + "= 6A82"}, ErrNoPurse, ""},
		"mute words":                 {[]string{selectEP + "= 6E00", select2 + "= 6D00"}, ErrNoPurse, ""},
		"blocked 6A81":               {[]string{selectEP + "= 6A81", select2 + "= 6A82"}, ErrBlocked, ""},
		"blocked 6283":               {[]string{selectEP + "=" + fciHex + "6283", select2 + "= 6A82"}, ErrBlocked, ""},
		"blocked 9303":               {[]string{selectEP + "= 6A82", select2 + "= 9303"}, ErrBlocked, ""},
		"information closed":         {[]string{selectEP + "= 9000", "00B095001E = 6982"}, ErrPublicInfo, ""},
		"information short":          {[]string{selectEP + "= 9000", "00B095001E = 00 9000"}, ErrPublicInfo, ""},
		"number all zeros":           {[]string{selectEP + "= 9000", "00B095001E =" + strings.Replace(infoHex, "00003310088812345678", "00000000000000000000", 1) + "9000"}, ErrPublicInfo, ""},
		"number no BCD":              {[]string{selectEP + "= 9000", "00B095001E =" + strings.Replace(infoHex, "00003310088812345678", "0000331008881234567A", 1) + "9000"}, ErrPublicInfo, ""},
		"gone":                       {[]string{selectEP + "= -"}, errTransport, ""},
		"gone later":                 {[]string{selectEP + "= 9000", "00B095001E = -"}, errTransport, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := Select(background, scripted(t, c.script...), both)
			if !errors.Is(err, c.is) {
				t.Fatal(err)
			}
			if c.is != nil && c.is != errTransport && apdu.MayHaveExecuted(err) {
				t.Error("nothing was to be executed")
			}
			if c.is == nil && (a.Profile().Name != c.found || a.Info().Number.String() != "00003310088812345678" || !a.Info().Test()) {
				t.Errorf("%+v", a)
			}
		})
	}
	if _, err := parsePublicInfo(unhex(t, infoHex)[:29]); !errors.Is(err, ErrPublicInfo) {
		t.Error(err)
	}
	if _, err := Select(background, scripted(t), nil); !errors.Is(err, ErrNoPurse) {
		t.Error(err)
	}
}

func TestValidity(t *testing.T) {
	at := func(s string) time.Time {
		tm, err := time.ParseInLocation("2006-01-02 15:04:05", s, money.CST)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	from, to := Date{0x20, 0x24, 0x01, 0x01}, Date{0x20, 0x24, 0x02, 0x29}
	for s, want := range map[string]bool{
		"2023-12-31 23:59:59": false, "2024-01-01 00:00:00": true, "2024-02-29 23:59:59": true, "2024-03-01 00:00:00": false,
	} {
		i := PublicInfo{ValidFrom: from, ValidTo: to}
		if i.Covers(at(s)) != want || i.Covers(at(s).UTC()) != want {
			t.Error(s)
		}
	}
	for _, d := range []Date{{}, {0xFF, 0xFF, 0xFF, 0xFF}, {0x20, 0x23, 0x02, 0x29}, {0x20, 0x24, 0x13, 0x01}} {
		if d.Before(at("2024-01-01 00:00:00")) || d.Covers(at("0001-01-01 00:00:00")) || !d.Time().IsZero() {
			t.Error(d)
		}
	}
}

func TestLog(t *testing.T) {
	const first = "0392 000000 0000001E 06 0000000046CB 20250901 094501"
	p := ep()
	l, err := selected(t, p, logs(first, rec(10000, 2, foreignTerminal, foreignStamp), "end")).Log(background)
	if err != nil || len(l) != 2 || l[0].Counter != 0x0392 || l[0].Amount != 30 || l[0].TxType != 6 || l[0].Stamp != stampA || l[1].Terminal.String() != foreignTerminal {
		t.Errorf("%+v, %v", l, err)
	}
	p.LogCounterPost = true
	if l, err = selected(t, p, logs(first, "end")).Log(background); err != nil || l[0].Counter != 0x0391 {
		t.Errorf("%+v, %v", l, err)
	}
	ten := slices.Repeat([]string{first}, 10)
	if l, err = selected(t, p, logs(ten...)).Log(background); err != nil || len(l) != 10 {
		t.Errorf("%d, %v", len(l), err)
	}
	for _, blank := range []string{"00", "FF"} {
		if l, err = selected(t, p, logs(first, strings.Repeat(blank, 23))).Log(background); err != nil || len(l) != 1 {
			t.Errorf("%+v, %v", l, err)
		}
	}
	if _, err = selected(t, p, logs("6982")).Log(background); !errors.Is(err, apdu.SWSecurityNotSatisfied) {
		t.Error(err)
	}
	if _, err = selected(t, p, logs("0102 9000")).Log(background); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
}

func TestVerifyPIN(t *testing.T) {
	ascii := ep()
	ascii.PINASCII = true
	for _, c := range []struct {
		p      profiles.Card
		pin    string
		script string
	}{
		{ep(), "123456", "00200000 03 123456 = 9000"},
		{ep(), "12345", "00200000 03 12345F = 9000"},
		{ep(), "123456789012", "00200000 06 123456789012 = 9000"},
		{ascii, "1234", "00200000 04 31323334 = 9000"},
	} {
		if err := selected(t, c.p, c.script).VerifyPIN(background, c.pin); err != nil {
			t.Errorf("%s: %v", c.script, err)
		}
	}
	for _, pin := range []string{"", "123", "1234567890123", "12 34", "12a4", "１２３４"} {
		if err := selected(t, ep()).VerifyPIN(background, pin); !errors.Is(err, ErrPIN) {
			t.Errorf("%q: %v", pin, err)
		}
	}
	for answer, left := range map[string]int{"63C2": 2, "63C0": 0, "6983": 0} {
		var tries *TriesError
		err := selected(t, ep(), "00200000 02 9876 = "+answer).VerifyPIN(background, "9876")
		if !errors.As(err, &tries) || tries.Left != left || strings.Contains(err.Error(), "9876") || apdu.MayHaveExecuted(err) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestProve(t *testing.T) {
	for answer, is := range map[string]error{
		"9406": ErrNoProof, "0102030400000000 9000": ErrNoProof,
		"6D00": ErrProofUnsupported, "6E00": ErrProofUnsupported,
		"6982": apdu.SWSecurityNotSatisfied, "01020304 9000": ErrAnswer, "-": errTransport,
	} {
		if _, err := selected(t, ep(), askProof+answer).Prove(background, suite.TypeEPPurchase, 0x13); !errors.Is(err, is) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}
