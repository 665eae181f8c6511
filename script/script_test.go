package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
)

func TestParseAPDU(t *testing.T) {
	for in, want := range map[string]string{
		"A4":                     "00A40000",
		"80CA":                   "80CA0000",
		"A40400":                 "00A40400",
		"80CA9F7F":               "80CA9F7F",
		"80CA9F7F/":              "80CA9F7F00",
		"80CA9F7F/10":            "80CA9F7F10",
		"80CA9F7F/0010":          "80CA9F7F000010",
		"80CA9F7F/0000":          "80CA9F7F000000",
		"A4:3F00":                "00A40000023F00",
		"A4:3F00/00":             "00A40000023F0000",
		"A4:3F00/0100":           "00A400000000023F000100",
		"00 A4 00 00 02 3F 00":   "00A40000023F00",
		"a40400:a0 00/":          "00A4040002A00000",
		"00A40000053F00":         "00A40000053F00", // not well-formed, and sent as it is
		"805C000204=9000":        "805C000204 9000",
		"805C0002/04=":           "805C000204 9000",
		"805C0002/04=61xx":       "805C000204 61XX",
		"805C0002 / 04 = 63C?":   "805C000204 63CX",
		"D6:" + long(256):        "00D60000000100" + long(256),
		"D6:" + long(256) + "/":  "00D60000000100" + long(256) + "0100",
		"D6:" + long(256) + "/0": "error",
		"":                       "error", "=9000": "error", "A": "error", "A4:": "error", "A4:3": "error", "A4:ZZ": "error", "A4/123": "error", "A4/112233": "error",
		"00A4000002:3F00": "error", "00A40000023F00/00": "error", "A4=900": "error", "A4=90G0": "error", "A4 # x": "error",
	} {
		a, err := ParseAPDU(in)
		got := fmt.Sprintf("%X", a.Bytes)
		if a.Want != nil {
			got += " " + a.Want.String()
		}
		if err != nil {
			got = "error"
			if !errors.Is(err, ErrAPDU) {
				t.Errorf("%q: %v", in, err)
			}
		}
		if got != want {
			t.Errorf("%q is %s, not %s", in, got, want)
		}
	}
	if _, err := ParseAPDU("0020:12345G"); err == nil || strings.Contains(err.Error(), "12345") {
		t.Errorf("an error shows what may be a PIN: %v", err)
	}
}

func long(n int) string { return strings.Repeat("5A", n) }

// bench is a card that answers by a table, and a tray of them.
type bench struct {
	answers map[string]string
	sent    []string
	resets  int
	tray    int // cards in all
	atr     []byte
}

func (b *bench) Transmit(_ context.Context, c []byte) ([]byte, error) {
	k := fmt.Sprintf("%X", c)
	b.sent = append(b.sent, k)
	a, ok := b.answers[k]
	if !ok {
		a = "6D00"
	}
	if a == "gone" {
		return nil, errors.New("gone")
	}
	var r []byte
	fmt.Sscanf(a, "%X", &r)
	return r, nil
}

func (b *bench) ATR() []byte { return b.atr }

func (b *bench) Reset(context.Context) error {
	b.resets++
	return nil
}

func (b *bench) Next(_ context.Context, n int) error {
	if n > b.tray {
		return io.EOF
	}
	return nil
}

func newBench() *bench {
	return &bench{tray: 3, atr: []byte{0x3B, 0x00}, answers: map[string]string{
		"00A40000": "6F0283009000", "805C000204": "00000BB89000", "00B0950000": "6C02", "00B0950002": "ABCD9000", "00A4000002": "6110", "00C0000010": "11229000", "00EE0000": "gone",
	}}
}

func runText(t *testing.T, b *bench, text string, o Options) (Result, error) {
	t.Helper()
	s, err := Parse("s", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Run(t.Context(), b, o)
}

// TestExpectations runs scripts that must end well, and the same with one
// thing wrong, which must be found, and where.
func TestExpectations(t *testing.T) {
	for _, c := range []struct{ good, bad, what string }{
		{"A4 = 9000", "A4 = 6A82", "status word"},
		{"A4 = 90XX", "A4 = 91XX", "status word"},
		{"A4\nexpect sw 9000", "A4\nexpect sw 61XX", "status word"},
		{"A4\nexpect length 4", "A4\nexpect length 5", "length"},
		{"A4\nexpect length 1..4", "A4\nexpect length 5..9", "length"},
		{"A4\nexpect data 6F 02 83 00", "A4\nexpect data 6F 02 84 00", "data"},
		{"A4\nexpect data 6F ?? 8? *", "A4\nexpect data 6F ?? 9? *", "data"},
		{"A4\nexpect data *", "A4\nexpect data", "data"},
		{"A4\nexpect match ^6F..83", "A4\nexpect match ^6F..84", "data"},
		{"A4\n< 6F0283009000", "A4\n< 6F0283006A82", "answer"},
		{"> 00A40000\n< 6F**83** 9000", "> 00A40000\n< 6F**84** 9000", "answer"},
		{"expect atr 3B*", "expect atr 3F*", "answer to reset"},
		{"let x = 6F\nA4\nexpect data $x*", "let x = 70\nA4\nexpect data ${x}02*", "data"},
		{"805C000204\nlet x = data 2 2\n805C000204\nexpect data 0000$x", "805C000204\nlet x = data 0 2\n805C000204\nexpect data 0000$x", "data"},
		{"A4\nlet x = sw\nA4\nexpect data *\nlet y = atr\nexpect atr $y", "A4\nlet x = data 3 2", "length"},
	} {
		if _, err := runText(t, newBench(), c.good, Options{}); err != nil {
			t.Errorf("%q: %v", c.good, err)
		}
		res, err := runText(t, newBench(), c.bad, Options{})
		var f *Failure
		if !errors.As(err, &f) || !errors.Is(err, ErrExpected) || f.What != c.what || f.Line != strings.Count(c.bad, "\n")+1 || len(res.Failures) != 1 {
			t.Errorf("%q: %v, not a wrong %s", c.bad, err, c.what)
		}
	}
}

func TestFirstDifference(t *testing.T) {
	_, err := runText(t, newBench(), "805C000204\nexpect data 00 00 0C B8", Options{})
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	want := []string{"expected  00 00 0C B8", "got       00 00 0B B8", "                ^^"}
	if f.At != 2 || fmt.Sprint(f.Lines()) != fmt.Sprint(want) {
		t.Errorf("%d\n%s", f.At, strings.Join(f.Lines(), "\n"))
	}
	far := &Failure{At: 40, Want: strings.Repeat("AA ", 60), Got: strings.Repeat("AA ", 40) + "BB"}
	l := far.Lines()
	if at := strings.Index(l[2], "^^"); at < 0 || !strings.HasPrefix(l[1][at:], "BB") {
		t.Errorf("the mark does not point at it:\n%s", strings.Join(l, "\n"))
	}
}

func TestFlow(t *testing.T) {
	b := newBench()
	var printed []string
	res, err := runText(t, b, "# remark\nrepeat 2\n  A4 = 9000  # two times\nend\nreset\n# reset\neach card\n  805C \\\n 000204\n  let b = data\n  print card has $b\nend\nexit\nA4 = 6A82\n",
		Options{Print: func(_ int, s string) { printed = append(printed, s) }})
	if err != nil || res.Cards != 3 || b.resets != 2 || len(b.sent) != 5 || len(printed) != 3 || printed[0] != "card has 00000BB8" {
		t.Errorf("%v %+v %d resets, sent %v, printed %v", err, res, b.resets, b.sent, printed)
	}
	// Auto shows every exchange that it adds; without it there is none.
	for auto, want := range map[string]string{"on": "[00B0950000 00B0950002 00A4000002 00C0000010]", "off": "[00B0950000 00A4000002]"} {
		b := newBench()
		n := 0
		if _, err := runText(t, b, "auto "+auto+"\n00B0950000\n00A4000002", Options{Exchanged: func(int, []byte, []byte, time.Duration, error) { n++ }}); err != nil || fmt.Sprint(b.sent) != want || n != len(b.sent) {
			t.Errorf("auto %s: %v, sent %v, told of %d", auto, err, b.sent, n)
		}
	}
	// A tray goes on after a failure only when it is told to.
	text := "each card\n  A4 = 6A82\nend"
	if res, err := runText(t, newBench(), text, Options{}); res.Cards != 1 || err == nil {
		t.Errorf("%+v %v", res, err)
	}
	if res, err := runText(t, newBench(), text, Options{KeepGoing: true}); res.Cards != 3 || len(res.Failures) != 3 || !errors.Is(err, ErrExpected) {
		t.Errorf("%+v %v", res, err)
	}
}

// What is not permitted is not sent, and an exchange that failed is not sent
// again.
func TestStops(t *testing.T) {
	b := newBench()
	stop := errors.New("not that")
	_, err := runText(t, b, "A4\n0020:1234\nA4", Options{Permit: func(c []byte) error {
		if c[1] == 0x20 {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) || len(b.sent) != 1 {
		t.Errorf("%v, sent %v", err, b.sent)
	}
	b = newBench()
	if _, err := runText(t, b, "00EE0000\nA4", Options{}); err == nil || len(b.sent) != 1 || !strings.HasPrefix(err.Error(), "s:1: ") {
		t.Errorf("%v, sent %v", err, b.sent)
	}
	if _, err := runText(t, newBench(), "repeat 1000000\nend", Options{MaxSteps: 1000}); !errors.Is(err, ErrTooLong) {
		t.Errorf("an empty loop: %v", err)
	}
	if _, err := runText(t, newBench(), "repeat 1000000\nrepeat 1000000\nend\nend", Options{MaxSteps: 1000}); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ := Parse("s", "A4")
	if _, err := s.Run(ctx, newBench(), Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Lines that are none are found before anything is sent, by their number.
func TestSyntax(t *testing.T) {
	for text, line := range map[string]int{
		"A4\nB": 2, "expect": 1, "expect sw": 1, "A4\n\nexpect length x": 3, "expect length 5..1": 1, "expect data 6": 1, "expect match (": 1, "expect atr G?": 1,
		"let = 1": 1, "let x": 1, "let 1x = 00": 1, "let atr = 00": 1, "let x = 0": 1, "let x = data -1 2": 1, "A4\nlet x = $y": 2, "$head": 1, "print $x": 1, "print ${x": 1, "print $": 1,
		"repeat\nend": 1, "repeat 0\nend": 1, "repeat 1\nA4": 1, "end": 1, "each\nend": 1, "each cards 0\nend": 1, "repeat 1\neach card\nend\nend": 2,
		"auto": 1, "reset now": 1, "exit 1": 1, "< (gone)": 1, "< 9": 1, "> (key id 00)": 1, "A4 \\\n= 90": 1, strings.Repeat("repeat 1\n", 10): 9,
	} {
		s, err := Parse("s", text)
		var e *SyntaxError
		if err == nil || !errors.As(err, &e) {
			t.Errorf("%q: %v %v", text, s, err)
			continue
		}
		if e.Line < line || e.Line > line+1 {
			t.Errorf("%q: line %d, not %d: %v", text, e.Line, line, err)
		}
	}
	if _, err := Parse("s", strings.Repeat("A4\n", MaxSize)); err == nil {
		t.Error("a script without end was read")
	}
}

func TestPreview(t *testing.T) {
	s, err := Parse("s", "let a = 3F00\nA4:$a\nrepeat 2\n  let b = sw\n  20:$b\nend\n20:$c", "c")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Preview(map[string][]byte{"c": {0x12}})
	if len(p) != 3 || fmt.Sprintf("%X", p[0].Bytes) != "00A40000023F00" || p[1].Bytes != nil || p[1].Line != 5 || fmt.Sprintf("%X", p[2].Bytes) != "002000000112" {
		t.Errorf("%+v", p)
	}
}

var _ apdu.Transmitter = (*bench)(nil)

func FuzzParseAPDU(f *testing.F) {
	for _, s := range []string{"A4", "80CA9F7F/", "A40400:A00000000386980701/00=9000", "00A40000023F00", "D6:" + long(300) + "/0000=61XX", "=", "/", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAPDU(s)
		if err != nil {
			if !errors.Is(err, ErrAPDU) {
				t.Errorf("%v", err)
			}
			return
		}
		if len(a.Bytes) < 4 {
			t.Fatalf("%q: %d bytes", s, len(a.Bytes))
		}
		again := fmt.Sprintf("%X", a.Bytes)
		if a.Want != nil {
			again += "=" + a.Want.String()
		}
		if b, err := ParseAPDU(again); err != nil || fmt.Sprintf("%X", b.Bytes) != fmt.Sprintf("%X", a.Bytes) || (a.Want == nil) != (b.Want == nil) || a.Want != nil && *a.Want != *b.Want {
			t.Errorf("%q gave %s, which gives %X %v", s, again, b.Bytes, err)
		}
	})
}

func FuzzScript(f *testing.F) {
	for _, s := range []string{
		"A4 = 9000\nexpect data 6F*\n", "repeat 3\nlet x = data 0 2\nprint $x\nend", "each card 2\nreset\nauto on\n00B0950000\nend", "> 00A40000\n< 6F**83009000", "let x = ${y}", "A4 \\\n:3F00", "exit",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("s", text)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Line < 1 {
				t.Errorf("%v", err)
			}
			return
		}
		s.Preview(nil)
		permitted := 0
		b := newBench()
		_, err = s.Run(t.Context(), b, Options{MaxSteps: 2000, Permit: func([]byte) error { permitted++; return nil }})
		if permitted != len(b.sent) {
			t.Errorf("%d sent, %d permitted", len(b.sent), permitted)
		}
		var fail *Failure
		if errors.As(err, &fail) {
			fail.Lines()
		}
	})
}
