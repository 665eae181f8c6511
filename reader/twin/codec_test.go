package twin

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/line"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors of readers.md section 5.2.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		hex string
		m   message
	}{
		{"03 06 65 00 00 00 00 00 00 00 00 00 60", message{kind: getSlotStatus}},
		{"03 06 6B 01 00 00 00 00 00 00 00 00 02 6D", message{kind: escape, data: []byte{2}}},
		{"03 06 6B 03 00 00 00 00 01 00 00 00 01 01 01 6D", message{kind: escape, seq: 1, data: []byte{1, 1, 1}}},
		{"03 06 62 00 00 00 00 00 02 01 00 00 64", message{kind: iccPowerOn, seq: 2, p: [3]byte{1}}},
		{"03 06 6F 07 00 00 00 00 03 00 00 00 00 A4 00 00 02 3F 00 F7", message{kind: xfrBlock, seq: 3, data: []byte{0, 0xA4, 0, 0, 2, 0x3F, 0}}},
	} {
		raw := unhex(t, c.hex)
		if got := appendFrame(nil, c.m); !bytes.Equal(got, raw) {
			t.Errorf("%+v: %X, want %X", c.m, got, raw)
		}
		tok, n, m := scan(append(bytes.Clone(raw), 0xAA))
		if tok != frame || n != len(raw) || m.kind != c.m.kind || m.seq != c.m.seq || m.p != c.m.p || !bytes.Equal(m.data, c.m.data) {
			t.Errorf("%X: %v, %d, %+v", raw, tok, n, m)
		}
		for i := range raw { // every part is incomplete, every damage is seen
			if tok, n, _ := scan(raw[:i]); tok != incomplete || n != 0 {
				t.Errorf("%X: %v, %d", raw[:i], tok, n)
			}
			hurt := bytes.Clone(raw)
			hurt[i] ^= 0x44
			if tok, _, _ := scan(hurt); tok == frame {
				t.Errorf("%X passes", hurt)
			}
		}
	}
	for s, want := range map[string]struct {
		t token
		n int
	}{
		"03 15 16":                            {refused, 3},
		"03 15 17":                            {damaged, 3},
		"03 15":                               {incomplete, 0},
		"50 02 03":                            {movedOut, 2},
		"50 03":                               {movedIn, 2},
		"50":                                  {incomplete, 0},
		"50 04":                               {noise, 1},
		"80":                                  {patience, 1},
		"FF 03":                               {patience, 1},
		"31":                                  {noise, 1},
		"03 03 06":                            {damaged, 1},
		"03 06 80 06 01 00 00 00 00 00 00 00": {damaged, 1}, // longer than any
	} {
		if tok, n, _ := scan(unhex(t, s)); tok != want.t || n != want.n {
			t.Errorf("%s: %v, %d; want %v, %d", s, tok, n, want.t, want.n)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"03 06 65 00 00 00 00 00 00 00 00 00 60", "03 15 16", "50 02 50 03", "80 80 03 06 81 00 00 00 00 00 00 02 00 00 86", "03 06 6F FF FF FF FF 00"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			tok, n, m := scan(b)
			if tok == incomplete {
				if n != 0 || len(b) >= maxFrame {
					t.Fatalf("%X waits for more", b)
				}
				return
			}
			if n < 1 || n > len(b) {
				t.Fatalf("%X: length %d", b, n)
			}
			if tok == frame && !bytes.Equal(appendFrame(nil, m), b[:n]) {
				t.Fatalf("%X is not %+v", b[:n], m)
			}
			b = b[n:]
		}
	})
}

// answering is a line with a reader that gives the same answer to everything,
// after an echo, at once. It takes frames that the line hands over whole.
type answering struct {
	data []byte
	out  chan []byte
	buf  [2 * maxFrame]byte
	rest []byte
}

func (a *answering) Write(b []byte) (int, error) {
	n := copy(a.buf[:], b)
	a.out <- appendFrame(a.buf[:n], message{kind: answers(b[2]), seq: b[8], data: a.data})
	return len(b), nil
}

func (a *answering) Read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		var ok bool
		if a.rest, ok = <-a.out; !ok {
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *answering) Close() error { close(a.out); return nil }

func command(t testing.TB, data []byte) (func(), *line.Wire) {
	a := &answering{data: data, out: make(chan []byte, 1)}
	p := &port{wire: line.NewWire(line.Line{ReadWriteCloser: a})}
	return func() {
		m, err := p.command(nil, time.Now().Add(time.Minute), time.Minute, message{kind: xfrBlock, data: data})
		if err != nil || len(m.data) != len(data) {
			t.Fatalf("%X, %v", m.data, err)
		}
	}, p.wire
}

func TestNoAllocation(t *testing.T) {
	run, w := command(t, make([]byte, 240))
	defer w.Close()
	if n := testing.AllocsPerRun(200, run); n != 0 {
		t.Errorf("%v allocations in an exchange", n)
	}
}

// late is a line on which the answer to an earlier command, and one of another
// slot, come before the right one.
type late struct{ *answering }

func (l *late) Write(b []byte) (int, error) {
	var out []byte
	out = appendFrame(out, message{kind: answers(b[2]), seq: b[8] - 1, slot: b[7], data: []byte("late")})
	out = appendFrame(out, message{kind: answers(b[2]), seq: b[8], slot: b[7] + 1, data: []byte("other")})
	l.out <- appendFrame(out, message{kind: answers(b[2]), seq: b[8], slot: b[7], data: []byte("right")})
	return len(b), nil
}

// The answer to another question is no answer: it would be taken for what a
// card said to a command that moves value.
func TestLateAnswer(t *testing.T) {
	p := &port{wire: line.NewWire(line.Line{ReadWriteCloser: &late{&answering{out: make(chan []byte, 1)}}})}
	defer p.wire.Close()
	for range 3 {
		m, err := p.command(nil, time.Now().Add(time.Minute), time.Minute, message{kind: xfrBlock, data: []byte{1}})
		if err != nil || string(m.data) != "right" {
			t.Errorf("%q, %v", m.data, err)
		}
	}
}

// At 115200 baud, 8 bits and two stop bits, a line carries 10,472 bytes a
// second each way.
func BenchmarkCommand(b *testing.B) {
	run, w := command(b, make([]byte, 240))
	defer w.Close()
	b.SetBytes(3 * (240 + 13)) // out, echo, answer
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkScan(b *testing.B) {
	raw := appendFrame(nil, message{kind: dataBlock, data: make([]byte, 240)})
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if t, _, _ := scan(raw); t != frame {
			b.Fatal(t)
		}
	}
}

func TestAddress(t *testing.T) {
	for s, want := range map[string]struct {
		device, model string
		slot          int
	}{
		"/dev/ttyS0":                        {"/dev/ttyS0", "GemPCTwin", 0},
		"/dev/ttyS0:GemPCPinPad":            {"/dev/ttyS0", "GemPCPinPad", 0},
		"/dev/ttyS0:GemCorePOSPro:5":        {"/dev/ttyS0", "GemCorePOSPro", 4},
		"/dev/ttyS0:GemCoreSIMPro":          {"/dev/ttyS0", "GemCoreSIMPro", 0},
		"/dev/ttyS0:GemCoreSIMPro2:2":       {"/dev/ttyS0", "GemCoreSIMPro2", 1},
		"/dev/serial/by-path/pci-0:1:1.0":   {"/dev/serial/by-path/pci-0:1:1.0", "GemPCTwin", 0},
		"/dev/by-path/pci-0:1:SEC1210UR2:1": {"/dev/by-path/pci-0:1", "SEC1210UR2", 0},
		"COM3":                              {"COM3", "GemPCTwin", 0},
	} {
		a, err := ParseAddress(s)
		if err != nil || a.Device != want.device || a.Model.Name != want.model || a.Slot != want.slot {
			t.Errorf("%s: %+v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", ":GemPCTwin", "/dev/ttyS0:GemCorePOSPro:6", "/dev/ttyS0:GemPCTwin:0", "/dev/ttyS0:GemPCTwin:x"} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%q: %+v", s, a)
		}
	}
}
