package explain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/dianka/dianka/apdu"
)

func hexes(s string) []byte {
	b, err := ParseHex(s)
	if err != nil {
		panic(err)
	}
	return b
}

func told(t *testing.T, trace string) Conversation {
	t.Helper()
	text, err := ParseText(trace)
	if err != nil {
		t.Fatal(err)
	}
	return Explainer{}.Conversation(text.Trace, text.Bare)
}

const initLoad = "> 805000020B 01 00002710 310100001234 10\n< 00000BB8 0004 01 00 5A17C3E9 8B1F5FA7 9000\n"
const credit = "> 805200000B 20250901 093015 4E6FEA26 04\n"

// TestMoves holds the three outcomes of what moves value.
func TestMoves(t *testing.T) {
	for _, c := range []struct{ name, trace, want string }{
		{"done", initLoad + credit + "< B038A41C 9000", "of 100.00 yuan: done, balance 30.00 → 130.00 yuan"},
		{"refused", initLoad + credit + "< 9302", "of 100.00 yuan: not done (the card said 9302 MAC invalid)"},
		{"memory failed", initLoad + credit + "< 6581", "of 100.00 yuan: unknown (the card said 6581"},
		{"no word known", initLoad + credit + "< 9F00", "of 100.00 yuan: unknown (the card said 9F00"},
		{"no answer", initLoad + credit, "of 100.00 yuan: unknown (no answer is recorded)"},
		{"answer not recorded", initLoad + credit + "< (torn)", "of 100.00 yuan: unknown (the answer is not recorded)"},
		{"a remark between", initLoad + credit + "# slow\n< B038A41C 9000", "of 100.00 yuan: done"},
		{"more data waits", initLoad + credit + "< 6104\n> 00C0000004\n< B038A41C 9000", "of 100.00 yuan: done, balance 30.00 → 130.00 yuan"},
		{"initialised over T=0", "> 805000020B 01 00002710 310100001234\n< 6110\n> 00C0000010\n< 00000BB8 0004 01 00 5A17C3E9 8B1F5FA7 9000\n" + credit + "< B038A41C 9000", "of 100.00 yuan: done, balance 30.00 → 130.00 yuan"},
		{"wrong length told", initLoad + credit + "< 6C04", "unknown (a wrong length told to a command with data"},
		{"selected between", initLoad + "> 00A40000023F01\n< 9000\n" + credit + "< B038A41C 9000", "CREDIT FOR LOAD without its INITIALIZE, amount not in the trace: done"},
		{"proved later", initLoad + credit + "# answer to reset 3B00\n> 805A000202 0005 08\n< 00000000 B038A41C 9000", "of 100.00 yuan: done, balance 30.00 → 130.00 yuan (proved in line 5)"},
		{"another proved", initLoad + credit + "> 805A000202 0006 08\n< 00000000 B038A41C 9000", "of 100.00 yuan: unknown (no answer is recorded)"},
		{"not proved", initLoad + credit + "> 805A000202 0005 08\n< 9406", "unknown (no answer is recorded; the card has no proof of it in line 4)"},
	} {
		conv := told(t, c.trace)
		if len(conv.Moves) != 1 || !strings.Contains(conv.Moves[0].String(), c.want) {
			t.Errorf("%s: %v, not %q", c.name, conv.Moves, c.want)
		}
	}
	if conv := told(t, initLoad); len(conv.Moves) != 0 {
		t.Errorf("INITIALIZE alone moved %v", conv.Moves)
	}
}

func TestRisk(t *testing.T) {
	for c, want := range map[string]Risk{
		"00A40000023F00": RiskNone, "00B0950000": RiskNone, "00B201C400": RiskNone, "805C000204": RiskNone, "805000020B": RiskNone, "805A000202": RiskNone,
		"0084000004": RiskNone, "00880000": RiskNone, "80700000": RiskNone, "00C0000010": RiskNone, "00CA9F7F00": RiskNone,
		"0020000003123456": RiskTries, "00200000": RiskTries, "00820000": RiskTries, "805E0100": RiskTries, "84240000": RiskTries, "80720000": RiskTries, "84180000": RiskTries,
		"04200000": RiskTries, "01200000": RiskTries,
		"00D6950001": RiskWrite, "04D69500": RiskWrite, "00DC0100": RiskWrite, "00E20000": RiskWrite, "80E00000": RiskWrite, "80D40100": RiskWrite, "84D40100": RiskWrite, "841E0001": RiskWrite, "84160000": RiskWrite, "800E0000": RiskWrite,
		"80520000": RiskMoney, "80540100": RiskMoney, "80540300": RiskMoney, "80580000": RiskMoney, "80700100": RiskMoney, "80760000": RiskMoney, "E07E0801": RiskMoney,
	} {
		if got := RiskOf(hexes(c)); got != want {
			t.Errorf("%s: %v, not %v", c, got, want)
		}
	}
}

func TestGuess(t *testing.T) {
	for in, want := range map[string]string{
		"9000": "status word", "63C1": "status word", "6104": "status word",
		"3B6E00000031C071C66501000000000000 00": "answer to reset",
		"6F2E8409A00000000386980701A5219F0C1E111122223333000603010006199808170000003019980815199812155566":     "data objects",
		"6F2E8409A00000000386980701A5219F0C1E1111222233330006030100061998081700000030199808151998121555669000": "response",
		"111122223333000603010006199808170000003019980815199812155566":                                         "public information",
		"0012000000000001F40631010000123420250901094501":                                                       "log record",
		"00A40000023F00": "command", "805C000204": "command", "00000BB89000": "response",
		"00A400000500": "command", // its lengths are wrong, which is said
		"C0FFEE":       "bytes",
	} {
		if n := (Explainer{}).Guess(hexes(in)); n.What != want {
			t.Errorf("%s is said to be %q, not %q:\n%s", in, n.What, want, strings.Join(n.Lines(), "\n"))
		}
	}
}

func TestDialects(t *testing.T) {
	n := Explainer{}.Status(0x9301)
	if len(n.Parts) == 0 || n.Parts[0].What != "profile dianka-ep2" || !strings.Contains(n.Parts[0].Says, "as 9401") {
		t.Errorf("%+v", n)
	}
	if n := (Explainer{}).Status(apdu.SWOK); len(n.Parts) != 0 {
		t.Errorf("%+v", n)
	}
}

func TestText(t *testing.T) {
	text, err := ParseText("> 00A40000023F00\nrubbish (of which nothing is lost)\n< 9000\n")
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(Explainer{}.Conversation(text.Trace, text.Bare).Lines(false), "\n")
	if !strings.Contains(said, "not understood: rubbish (of which nothing is lost)") || !strings.Contains(said, "SELECT file 3F00, the MF") {
		t.Error(said)
	}
	if _, err := ParseText("no bytes here\n"); err == nil {
		t.Error("words alone were taken for bytes")
	}
}

// A trace from which a PIN was taken out is read, and the PIN is not called
// zeros.
func TestRedacted(t *testing.T) {
	conv := told(t, "> 0020000003 ******\n< 63C2\n")
	said := strings.Join(conv.Lines(true), "\n")
	if !strings.Contains(said, "******") || strings.Contains(said, "0020000003 00") || !strings.Contains(said, "a try was spent, 2 left") {
		t.Error(said)
	}
}

func FuzzExplain(f *testing.F) {
	files, _ := filepath.Glob("testdata/traces/*.txt")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := ParseText(s)
		if err != nil {
			return
		}
		var e Explainer
		c := e.Conversation(text.Trace, text.Bare)
		for _, l := range c.Lines(true) {
			if strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("a screen would obey %q", l)
			}
		}
		for _, m := range c.Moves {
			if m.Outcome != Done && m.Outcome != NotDone && m.Outcome != Unknown {
				t.Errorf("outcome %q", m.Outcome)
			}
		}
		for _, b := range text.Bare {
			for _, k := range append([]string{""}, Kinds...) {
				if n, err := e.As(Kind(k), b); err == nil {
					n.Lines()
				}
			}
		}
	})
}

// TestTextIsSafe holds that neither a PIN nor an order to the screen gets out
// by way of remarks and of lines that are not understood, and that what is
// harmless stays.
func TestTextIsSafe(t *testing.T) {
	for _, line := range []string{
		"> 0020000003 12345G", "> 00200000 03 12 34 5", "0020000003123459 # typed\x1b[2J", "00 20 00 00 03 12 34 59 oops", "0020:123459X", "20:123459Z", "# > 0020000003123459",
		"# sent 00-20-00-00-03-12-34-59 by hand", "# the PIN is 123459", "# password: 123459", "# 密码是123459", "80 5E 01 00 06 12 34 59 FF 12 34 5", "> 84D4010018 00112233123459", "< 9000 # PIN 123459",
		"> (the PIN was 123459)", "00 20 00 00 03 31 32 33 34 35 9", "# 9000 0020000003123459", "# it said 0020:123459", "# 00:20:00:00:03:12:34:59", "84 24 00 01 03 12 34 59 x",
	} {
		text, err := ParseText("> 00A40000023F00\n< 9000\n" + line + "\n")
		if err != nil {
			t.Fatal(err)
		}
		told := strings.Join(Explainer{}.Conversation(text.Trace, text.Bare).Lines(true), "\n")
		for _, secret := range []string{"12345", "1234", "12 34", "12-34", "12:34", "31 32"} {
			if strings.Contains(told, secret) {
				t.Errorf("%q shows %q:\n%s", line, secret, told)
			}
		}
	}
	text, err := ParseText("> 00A40000023F00\n< 9000 # ok \x1b]0;x\x07 \u202eevil\n# \u2066turned \u009b31m\nrubbish \x1b[31m \u202e here\n")
	if err != nil {
		t.Fatal(err)
	}
	told := strings.Join(Explainer{}.Conversation(text.Trace, text.Bare).Lines(true), "\n")
	if i := strings.IndexFunc(told, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("not printable at %d: %q", i, told)
	}
	for _, s := range []string{"2020-01-01 12:00:00 the card was put in", "PIN 00 of the profile", "answer to reset 3B86014449414E4B418F", "00A40000023F00 by hand", "口令错误", "12 ms", "Jan 20 10:24:05 host kioskd[25]: card is in", "2026-01-20 10:24:05", "01-20 10:24:05 x", "card 00003310088800000017", "3B24000000112233"} {
		if got := Safe(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

// TestMoneyIsNotGuessed holds that bytes are taken for a log record only when
// all of them can be one.
func TestMoneyIsNotGuessed(t *testing.T) {
	for hex, want := range map[string]bool{
		"00120000000000271002310100001234202509010945010000"[:46]:            true,
		"0392000000" + "0000001E" + "06" + "0000000046CB":                    true,
		"0392000000" + "7FFFFFFF" + "06" + "0000000046CB":                    false, // twenty million yuan
		"0392000000" + "00000000" + "06" + "0000000046CB":                    false,
		"0392000000" + "0000001E" + "06" + "FFFFFFFFFFFF":                    false,
		"0392000000" + "0000001E" + "91" + "0000000046CB":                    false,
		"00010203040000001E06000000000001":                                   false, // with an overdraft
		"0392000000" + "0000001E" + "06" + "0000000046CB" + "19010901094501": false, // of 1901
		"10111213141516171819060102030405":                                   false,
	} {
		b, err := ParseHex(hex)
		if err != nil {
			t.Fatal(err)
		}
		n := Explainer{}.Guess(b)
		if (n.What == "log record") != want || !want && strings.Contains(n.Says, "purchase") {
			t.Errorf("%s is said to be %s: %s", hex, n.What, n.Says)
		}
	}
}
