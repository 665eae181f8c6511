package apdu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestCommandBytes(t *testing.T) {
	for _, c := range []struct {
		name  string
		c     Command
		bytes string
		kase  int
	}{
		{"case 1", Command{CLA: 0x84, INS: 0x16}, "84160000", 1},
		{"case 2", Command{INS: 0x84, Ne: 4}, "0084000004", 2},
		{"case 2 of 256", Command{INS: 0xB0, Ne: 256}, "00B0000000", 2},
		{"case 2 extended", Command{INS: 0xB0, Ne: 257}, "00B00000000101", 2},
		{"case 2 of 65536", Command{INS: 0xB0, Ne: 65536}, "00B00000000000", 2},
		{"case 3", Command{INS: 0xD6, Data: []byte{1}}, "00D600000101", 3},
		{"case 4", Command{INS: 0xA4, Data: []byte{0x3F, 0}, Ne: 256}, "00A40000023F0000", 4},
		{"case 4 extended by Ne", Command{INS: 0xA4, Data: []byte{0x3F, 0}, Ne: 300}, "00A400000000023F00012C", 4},
	} {
		b, err := c.c.Bytes()
		if err != nil || fmt.Sprintf("%X", b) != c.bytes || c.c.Case() != c.kase {
			t.Errorf("%s: %X %v, case %d", c.name, b, err, c.c.Case())
		}
	}
	if _, err := (Command{Data: make([]byte, 65536)}).Bytes(); !errors.Is(err, ErrCommandTooLong) || MayHaveExecuted(err) {
		t.Error(err)
	}
	for _, ne := range []int{-1, 65537} {
		if _, err := (Command{Ne: ne}).Bytes(); !errors.Is(err, ErrNeRange) || MayHaveExecuted(err) {
			t.Error(ne, err)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	for _, s := range []string{"", "00", "00A400", "00A400000102 03 04", "00A4000005 3F00", "00A40000 00 01", "00A40000 00 0000 01", "00A40000 00 0002 01"} {
		if _, err := ParseCommand(unhex(t, s)); !errors.Is(err, ErrCommandMalformed) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 255, 256, 65535}).Draw(t, "length")
		want := Command{
			CLA: rapid.Byte().Draw(t, "CLA"), INS: rapid.Byte().Draw(t, "INS"), P1: rapid.Byte().Draw(t, "P1"), P2: rapid.Byte().Draw(t, "P2"),
			Data: bytes.Repeat([]byte{0xA5}, n),
			Ne:   rapid.SampledFrom([]int{0, 1, 255, 256, 257, 65535, 65536}).Draw(t, "Ne"),
		}
		b, err := want.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCommand(b)
		if err != nil || got.Ne != want.Ne || !bytes.Equal(got.Data, want.Data) || got.CLA != want.CLA || got.P2 != want.P2 {
			t.Fatalf("%+v %v", got, err)
		}
	})
}

func TestResponse(t *testing.T) {
	for _, b := range [][]byte{nil, {0x90}} {
		if _, err := ParseResponse(b); !errors.Is(err, ErrResponseShort) || !MayHaveExecuted(err) {
			t.Errorf("%X: %v", b, err)
		}
	}
	if _, err := ParseResponse(make([]byte, MaxExtendedNe+3)); !errors.Is(err, ErrResponseLong) || !MayHaveExecuted(err) {
		t.Error(err)
	}
	r, err := ParseResponse([]byte{1, 2, 0x63, 0xC2})
	if n, ok := r.SW.TriesLeft(); err != nil || !ok || n != 2 || !bytes.Equal(r.Data, []byte{1, 2}) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestStatusWordClasses(t *testing.T) {
	if n, ok := SW(0x6100).MoreData(); !ok || n != 256 {
		t.Error("6100", n, ok)
	}
	if n, ok := SW(0x6CFF).RightLength(); !ok || n != 255 {
		t.Error("6CFF", n, ok)
	}
	for _, sw := range []SW{0x6300, 0x63D1, 0x6C00, 0x9000} {
		if _, ok := sw.TriesLeft(); ok {
			t.Errorf("%04X counts tries", uint16(sw))
		}
	}
	err := fmt.Errorf("select: %w", SWFileNotFound)
	if !errors.Is(err, SWFileNotFound) || errors.Is(err, SWRecordNotFound) || MayHaveExecuted(err) {
		t.Error(err)
	}
}

func TestMayHaveExecuted(t *testing.T) {
	if MayHaveExecuted(nil) {
		t.Error("nil")
	}
	if !MayHaveExecuted(errors.New("unplugged")) {
		t.Error("an error that says nothing must count as may have executed")
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "00A40000", "0084000004", "00A40000023F00", "00A40000023F0000", "00B00000000101", "00A400000000023F000100", "00A400000000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		out, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseCommand(out)
		if err != nil || again.Ne != c.Ne || !bytes.Equal(again.Data, c.Data) || len(out) > len(b) {
			t.Fatalf("%X gives %X: %+v %v", b, out, again, err)
		}
	})
}

// FuzzGetResponse answers a command with whatever comes: it must end.
func FuzzGetResponse(f *testing.F) {
	for _, s := range []string{"", "90", "9000", "6101 6101", "6CFF 6CFF", "6100 6C00 6E00 9000", "6104 01029000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		card := &chunkCard{script: script}
		r, err := GetResponse(card).Transmit(t.Context(), []byte{0x80, 0x5C, 0, 2, 4})
		if card.n > MaxGetResponseRounds+2 {
			t.Fatalf("%d exchanges", card.n)
		}
		if err == nil && (len(r) < 2 || r[len(r)-2] == 0x61) {
			t.Fatalf("%X", r)
		}
	})
}

// chunkCard answers by four bytes of its script at a time, over and over.
type chunkCard struct {
	script []byte
	n      int
}

func (c *chunkCard) Transmit(context.Context, []byte) ([]byte, error) {
	at := 0
	if len(c.script) > 0 {
		at = c.n * 4 % len(c.script)
	}
	c.n++
	return c.script[at:min(at+4, len(c.script))], nil
}
