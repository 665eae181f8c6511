package personalise

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recorded is a card that is nothing but a published trace: it fails the test
// at the first byte that differs from what was sent then.
type recorded struct {
	t     *testing.T
	lines []apdu.Line
	sent  int
}

func readTrace(t *testing.T, file string) *recorded {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := apdu.ParseTrace(f)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{t: t}
	for _, l := range tr.Lines {
		if l.Kind == apdu.LineCommand || l.Kind == apdu.LineResponse {
			r.lines = append(r.lines, l)
		}
	}
	return r
}

func (r *recorded) Transmit(_ context.Context, command []byte) ([]byte, error) {
	r.t.Helper()
	if len(r.lines) == 0 {
		r.t.Fatalf("%X is sent after the end of the trace", command)
	}
	if want := r.lines[0].Data; !bytes.Equal(command, want) {
		r.t.Fatalf("command %d is %X, in the trace %X", r.sent+1, command, want)
	}
	r.sent++
	r.lines = r.lines[1:]
	if len(r.lines) > 0 && r.lines[0].Kind == apdu.LineResponse {
		answer := r.lines[0].Data
		r.lines = r.lines[1:]
		return answer, nil
	}
	return []byte{0x90, 0x00}, nil
}

// t05Keys are the keys of that card, which are published with it.
func t05Keys(t testing.TB) *suite.Ring {
	k := func(s string) []byte { return unhex(t, s) }
	return suite.TestRing(map[string][]byte{
		"mf-line": k("FFFFFFFFFFFFFFFF"), "mf-control": bytes.Repeat([]byte{0xFF}, 16),
		"tac": bytes.Repeat([]byte{0x34}, 16), "line": bytes.Repeat([]byte{0x36}, 16), "pin-unblock": bytes.Repeat([]byte{0x37}, 16),
		"pin-reload": bytes.Repeat([]byte{0x38}, 16), "control": bytes.Repeat([]byte{0x39}, 16),
		"purchase-1": bytes.Repeat(k("3E01"), 8), "purchase-2": bytes.Repeat(k("3E02"), 8), "load-1": bytes.Repeat(k("3F01"), 8), "load-2": bytes.Repeat(k("3F02"), 8),
		"unload-1": bytes.Repeat(k("3D01"), 8), "unload-2": bytes.Repeat(k("3D02"), 8), "overdraft-1": bytes.Repeat(k("3C01"), 8), "overdraft-2": bytes.Repeat(k("3C02"), 8),
		"pin": k("12345F"),
	})
}

// TestPublishedPersonalisation: the plan of that card is the published list of
// commands, byte for byte and MAC for MAC.
func TestPublishedPersonalisation(t *testing.T) {
	b, err := os.ReadFile("testdata/t05.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	p := &Plan{d: d, o: Order{Number: Number(unhex(t, "00002200000000000006"))}, keys: t05Keys(t)}
	r := readTrace(t, "t05-fmcos-personalise-2016.txt")
	w := p.writer(t.Context(), r)
	if err := w.do("erase", eraseCommand, shown); err != nil {
		t.Fatal(err)
	}
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if len(r.lines) > 0 || r.sent != 37 {
		t.Errorf("%d commands; left over: %v", r.sent, r.lines)
	}
	// What is shown beforehand is the same, without keys and MACs.
	steps, err := p.Preview(true)
	if err != nil || len(steps) != 37 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for i, want := range map[int]string{
		3:  "> 80D401000D 36F0F0FF33****************",
		5:  "> 80E0000107 2A0213F000FFFF",
		16: "> 80D4010115 3EF0020001********************************",
		24: "> 80D401000D 3AF0EF0133****************",
		33: "> 04D6850034 000122000001FFFF22000000000000060001201610280000000000010001000000000000000000000000000020501231********",
	} {
		if got := steps[i].Line.String(); !strings.HasPrefix(got, want[:len(want)-8]) || !strings.HasSuffix(got, want[len(want)-8:]) {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
	}
}

// TestPublishedSecuredKeys: keys that are added and replaced under the control
// key are those of the trace.
func TestPublishedSecuredKeys(t *testing.T) {
	keys := suite.TestRing(map[string][]byte{"master": bytes.Repeat([]byte{0xFF}, 8), "new": unhex(t, "1122334455667788")})
	p := &Plan{d: &Description{}, keys: keys}
	r := readTrace(t, "t13-fmcos-key-change-enc-mac.txt")
	key := func(id byte) *Key {
		return &Key{Type: "control", ID: id, Key: "new", Use: Right{true, 0xF0}, Change: Right{true, 0xF0}, State: Hex{0xAA}, Tries: 15}
	}
	for _, c := range []struct {
		challenge string
		p1, id    byte
	}{{"4C45BAB9", 0x01, 2}, {"EF364818", 0x39, 1}} {
		w := p.writer(t.Context(), challenged{r, unhex(t, c.challenge)})
		if err := w.writeKey(mf, key(c.id), c.p1, suite.Derived{Name: "master"}); err != nil {
			t.Fatal(err)
		}
	}
}

// challenged gives the challenge of the trace's remark.
type challenged struct {
	apdu.Transmitter
	challenge []byte
}

func (c challenged) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[1] == 0x84 {
		return append(bytes.Clone(c.challenge), 0x90, 0x00), nil
	}
	return c.Transmitter.Transmit(ctx, command)
}
