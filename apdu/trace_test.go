package apdu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func loadTrace(t testing.TB, name string) Trace {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "traces", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := ParseTrace(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tr
}

func TestTraceRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d traces, %v", len(files), err)
	}
	for _, f := range files {
		tr := loadTrace(t, filepath.Base(f))
		back, err := ParseTrace(strings.NewReader(tr.String()))
		if err != nil || !reflect.DeepEqual(tr, back) {
			t.Errorf("%s: printing and reading again gives another trace: %v", f, err)
		}
		for i, l := range tr.Lines {
			if l.Kind != LineCommand || l.Unknown != "" {
				continue
			}
			if _, err := ParseCommand(l.Data); err != nil {
				t.Errorf("%s line %d: %v", f, i+1, err)
			}
		}
	}
}

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Line
		out  string
	}{
		{"", Line{}, ""},
		{"  \t\r\n", Line{}, ""},
		{"#", Line{Kind: LineRemark}, "#"},
		{"#  ATR 3B00 \r\n", Line{Kind: LineRemark, Remark: "ATR 3B00"}, "# ATR 3B00"},
		{"> 0084000004", Line{Kind: LineCommand, Data: []byte{0, 0x84, 0, 0, 4}}, "> 0084000004"},
		{">00 a4 00 00 02 3f 00 00 # select MF # twice", Line{Kind: LineCommand, Data: []byte{0, 0xA4, 0, 0, 2, 0x3F, 0, 0}, Remark: "select MF # twice"}, "> 00A4000002 3F00 00  # select MF # twice"},
		{"< 0102 9000 # 12ms", Line{Kind: LineResponse, Data: []byte{1, 2, 0x90, 0}, Remark: "12ms"}, "< 0102 9000  # 12ms"},
		{"> 0020000002 ****", Line{Kind: LineCommand, Data: []byte{0, 0x20, 0, 0, 2, 0, 0}, Redacted: []bool{5: true, 6: true}}, "> 0020000002 ****"},
		{"< (4-byte TAC)", Line{Kind: LineResponse, Unknown: "4-byte TAC"}, "< (4-byte TAC)"},
		{"<", Line{Kind: LineResponse, Data: []byte{}}, "<"},
	} {
		l, err := ParseLine(c.in)
		if err != nil || !reflect.DeepEqual(l, c.want) {
			t.Errorf("%q: %+v, %v", c.in, l, err)
		}
		if l.String() != c.out {
			t.Errorf("%q prints as %q", c.in, l.String())
		}
	}
	for _, in := range []string{"0084000004", "> 008", "> 00 8G", "> *0", "> 0*", "> (", "> ()", "> (a # b)", "> 0084\x000004", "> ０", "= 9000"} {
		if _, err := ParseLine(in); !errors.Is(err, ErrTraceLine) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParseTraceNamesTheLine(t *testing.T) {
	_, err := ParseTrace(strings.NewReader("# t11 holds records, not a trace\n\n0392 000000\n"))
	if !errors.Is(err, ErrTraceLine) || !strings.Contains(err.Error(), "line 3") {
		t.Error(err)
	}
	if _, err := ParseTrace(strings.NewReader("> " + strings.Repeat("00", maxTraceLine))); err == nil {
		t.Error("a line without bound is read")
	}
}

// Whatever carries a PIN or a key leaves nothing of it in the trace.
func TestWriterRedacts(t *testing.T) {
	secret := []byte{0xC0, 0xFF, 0xEE, 0x12, 0x34, 0x56, 0x78, 0x9A}
	with := func(header ...byte) []byte {
		return append(append(header, byte(len(secret))), secret...)
	}
	for _, c := range []struct {
		name    string
		command []byte
		keeps   Redaction // the first redaction under which the data is seen
	}{
		{"VERIFY", with(0x00, 0x20, 0, 0), RedactNothing},
		{"VERIFY with MAC", with(0x04, 0x20, 0, 0), RedactNothing},
		{"VERIFY on channel 1", with(0x01, 0x20, 0, 0), RedactNothing},
		{"VERIFY with Le", append(with(0x00, 0x20, 0, 0), 0), RedactNothing},
		{"VERIFY without Lc", append([]byte{0x00, 0x20, 0, 0}, secret...), RedactNothing},
		{"VERIFY with a wrong Lc", append([]byte{0x00, 0x20, 0, 0, 3}, secret...), RedactNothing},
		{"VERIFY extended", append([]byte{0x00, 0x20, 0, 0, 0, 0, 8}, secret...), RedactNothing},
		{"CHANGE PIN", with(0x80, 0x5E, 1, 0), RedactNothing},
		{"RELOAD PIN", with(0x80, 0x5E, 0, 0), RedactNothing},
		{"PIN UNBLOCK", with(0x84, 0x24, 0, 0), RedactNothing},
		{"WRITE KEY", with(0x80, 0xD4, 1, 0), RedactNothing},
		{"WRITE KEY enciphered", with(0x84, 0xD4, 0x39, 0), RedactNothing},
		{"WRITE KEY SmartCOS", with(0x80, 0xE8, 0, 0), RedactNothing},
		{"PSAM crypt", with(0x80, 0xFA, 5, 0), RedactSecrets},
		{"EXTERNAL AUTHENTICATE", with(0x00, 0x82, 0, 0), RedactSecrets},
		{"UPDATE BINARY", with(0x00, 0xD6, 0x95, 0), RedactMACInputs},
	} {
		for _, r := range []Redaction{RedactSecrets, RedactMACInputs, RedactNothing} {
			var out bytes.Buffer
			w := NewWriter(&out)
			w.Redaction = r
			w.Command(c.command)
			shown := strings.Contains(out.String(), "C0FFEE")
			want := r == RedactNothing || c.keeps == RedactMACInputs || c.keeps == RedactSecrets && r == RedactSecrets
			if shown != want {
				t.Errorf("%s under %d: %s", c.name, r, out.String())
			}
			if !shown && strings.Contains(out.String(), "9A") {
				t.Errorf("%s under %d: a part is left: %s", c.name, r, out.String())
			}
			l, err := ParseLine(out.String())
			if err != nil || len(l.Data) != len(c.command) {
				t.Errorf("%s under %d: %q does not parse to %d bytes: %v", c.name, r, out.String(), len(c.command), err)
			}
			if shown != (l.Redacted == nil) {
				t.Errorf("%s under %d: redaction is not marked", c.name, r)
			}
		}
	}
}

func TestTracedSessionReplays(t *testing.T) {
	tr := loadTrace(t, "t03-fm1208-ep-load-2017.txt")
	var out bytes.Buffer
	w := NewWriter(&out)
	session := func(t *testing.T, tx Transmitter) {
		t.Helper()
		r, err := Send(t.Context(), tx, Command{CLA: 0x80, INS: 0x50, P2: 2, Data: unhex(t, "0100000001112233445566"), Ne: 16})
		if err != nil || !r.SW.OK() || len(r.Data) != 16 {
			t.Fatalf("%+v %v", r, err)
		}
		r, err = Send(t.Context(), tx, Command{CLA: 0x80, INS: 0x52, Data: unhex(t, "201703101107349C8A0625"), Ne: 4})
		if err != nil || !bytes.Equal(r.Data, unhex(t, "16EAD516")) {
			t.Fatalf("%+v %v", r, err)
		}
	}
	first := NewReplay(tr)
	session(t, Traced(first, w))
	if first.Remaining() != 0 || w.Err() != nil {
		t.Fatal(first.Remaining(), w.Err())
	}
	written, err := ParseTrace(&out)
	if err != nil {
		t.Fatal(err)
	}
	session(t, NewReplay(written))
}

func TestReplay(t *testing.T) {
	parse := func(s string) Trace {
		tr, err := ParseTrace(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	for _, c := range []struct {
		name, trace, send string
		ok                bool
		want              string // of the error
	}{
		{"equal", "> 805C000204\n< 000000019000", "805C000204", true, ""},
		{"Le left out in the trace", "> 8050000203 010203\n< 9000", "805000020301020310", true, ""},
		{"Le left out when sent", "> 8050000203 010203 10\n< 9000", "8050000203010203", true, ""},
		{"header only", "> 00840000\n< 9000", "0084000004", true, ""},
		{"P3 of T=0", "> 8416000000\n< 9000", "84160000", true, ""},
		{"another Le", "> 0084000004\n< 9000", "0084000008", false, "differs from line 1 of the trace at byte 5: trace has 04, sent 08"},
		{"another data byte", "# x\n> 8050000203 010203\n< 9000", "805000020301FF03", false, "line 2 of the trace at byte 7: trace has 02, sent FF"},
		{"shorter", "> 8050000203 010203\n< 9000", "80500002020102", false, "at byte 5: trace has 03, sent 02"},
		{"redacted", "> 0020000003 ******\n< 9000", "0020000003123456", true, ""},
		{"redacted, other length", "> 0020000003 ******\n< 9000", "00200000021234", false, "at byte 5: trace has 03, sent 02"},
		{"secret not shown", "> 0020000003 123456\n< 9000", "0020000003123556", false, "at byte 7: trace has **, sent **"},
		{"unknown command", "> (key)\n< 9000", "0084000004", false, "does not hold"},
		{"unknown answer", "> 0084000004\n< (random)", "0084000004", false, "does not hold"},
		{"redacted answer", "> 0084000004\n< ******** 9000", "0084000004", false, "does not hold"},
		{"no answer, then another command", "> 0084000004\n# removed\n> 0084000004\n< 9000", "0084000004", false, "does not hold"},
		{"no answer at the end", "> 0084000004", "0084000004", false, "does not hold"},
		{"end", "# nothing", "0084000004", false, "no further command"},
		{"malformed both", "> 00A40000053F00\n< 6700", "00A40000053F00", true, ""},
	} {
		r := NewReplay(parse(c.trace))
		_, err := r.Transmit(t.Context(), unhex(t, c.send))
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			if _, again := r.Transmit(t.Context(), unhex(t, c.send)); !errors.Is(again, err) {
				t.Errorf("%s: the second exchange gives %v", c.name, again)
			}
		}
	}
	_, err := NewReplay(parse("> 0084000004")).Transmit(t.Context(), unhex(t, "0084000004"))
	if !MayHaveExecuted(err) {
		t.Error("a recorded tear must count as may have executed")
	}
	_, err = NewReplay(parse("> 0084000004")).Transmit(t.Context(), unhex(t, "0084000008"))
	if MayHaveExecuted(err) {
		t.Error("a mismatch touched no card")
	}
}

func TestTracedKeepsFailuresAndTimes(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	broken := errors.New("cable\npulled")
	fail := Traced(transmitFunc(func(context.Context, []byte) ([]byte, error) { return nil, broken }), w)
	if _, err := fail.Transmit(t.Context(), []byte{0, 0x84, 0, 0, 4}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	w.Response([]byte{0, 0xA4, 0, 0}, []byte{0x6A, 0x82}, 12345*time.Microsecond)
	tr, err := ParseTrace(&out)
	if err != nil || len(tr.Lines) != 3 {
		t.Fatalf("%v: %s", err, tr)
	}
	if l := tr.Lines[1]; l.Kind != LineRemark || !strings.HasSuffix(l.Remark, "cable pulled") {
		t.Errorf("%+v", l)
	}
	if l := tr.Lines[2]; l.Remark != "12.3ms file or application not found" {
		t.Errorf("%+v", l)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestTraceThatCannotBeWrittenDisturbsNothing(t *testing.T) {
	w := NewWriter(fullDisk{})
	ok := Traced(transmitFunc(func(context.Context, []byte) ([]byte, error) { return []byte{0x90, 0}, nil }), w)
	if _, err := ok.Transmit(t.Context(), []byte{0, 0x84, 0, 0, 4}); err != nil || w.Err() == nil {
		t.Error(err, w.Err())
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add("# remark\n> 00A40000 02 3F00  # select\n< 9000\n\n> (x)\n< ** 9000\n")
	f.Add("> 0020000003 ******\n<\n>\n")
	f.Add("#\r\n>0\n")
	f.Fuzz(func(t *testing.T, s string) {
		tr, err := ParseTrace(strings.NewReader(s))
		if err != nil {
			return
		}
		text := tr.String()
		back, err := ParseTrace(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again := back.String(); again != text {
			t.Fatalf("%q and %q", text, again)
		}
		if a, b := fmt.Sprintf("%+v", tr), fmt.Sprintf("%+v", back); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
		for _, l := range tr.Lines {
			RedactMACInputs.Redact(l, l.Data)
		}
	})
}
