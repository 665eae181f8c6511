package money

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseYuan(t *testing.T) {
	for in, want := range map[string]Fen{
		"0": 0, "50": 50_00, "50.5": 50_50, "50.05": 50_05, "0.01": 1, "007": 7_00, "10000000000": MaxFen,
	} {
		if got, err := ParseYuan(in); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": ErrAmountSyntax, ".5": ErrAmountSyntax, "5.": ErrAmountSyntax, "0.001": ErrAmountSyntax, "-1": ErrAmountSyntax,
		"+1": ErrAmountSyntax, "1e3": ErrAmountSyntax, "1,000": ErrAmountSyntax, " 1": ErrAmountSyntax, "１": ErrAmountSyntax,
		"1.2.3": ErrAmountSyntax, "0x10": ErrAmountSyntax, "1\x00": ErrAmountSyntax,
		"10000000000.01": ErrAmountRange, "99999999999999999999": ErrAmountRange,
	} {
		if got, err := ParseYuan(in); !errors.Is(err, want) {
			t.Errorf("%q: %d %v, want %v", in, got, err, want)
		}
	}
}

func TestYuanRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Fen(rapid.Int64Range(0, int64(MaxFen)).Draw(t, "fen"))
		if back, err := ParseYuan(f.String()); err != nil || back != f {
			t.Fatalf("%d is written %s and read %d, %v", f, f, back, err)
		}
	})
	if got := Fen(math.MinInt64).String(); got != "-92233720368547758.08" {
		t.Error(got)
	}
	if got := Fen(-5).String(); got != "-0.05" {
		t.Error(got)
	}
}

func TestPurse(t *testing.T) {
	for _, f := range []Fen{-1, MaxPurse + 1, math.MaxInt64, math.MinInt64} {
		if _, err := f.Purse(); !errors.Is(err, ErrAmountRange) {
			t.Errorf("%d fits four bytes: %v", f, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := Fen(rapid.Int64Range(0, int64(MaxPurse)).Draw(t, "fen"))
		if b, err := f.Purse(); err != nil || FromPurse(b) != f {
			t.Fatalf("%d becomes %X and %d, %v", f, b, FromPurse(b), err)
		}
	})
}

// TestNumbers holds that every number validates, and is written as it is read.
func TestNumbers(t *testing.T) {
	parsers := map[string]func(string) (string, error){
		"card":     func(s string) (string, error) { n, err := ParseCardNumber(s); return n.String(), err },
		"account":  func(s string) (string, error) { n, err := ParseAccountNumber(s); return n.String(), err },
		"terminal": func(s string) (string, error) { n, err := ParseTerminalID(s); return n.String(), err },
		"sam":      func(s string) (string, error) { n, err := ParseSAMID(s); return n.String(), err },
		"shop":     func(s string) (string, error) { n, err := ParseShopID(s); return n.String(), err },
		"staff":    func(s string) (string, error) { n, err := ParseStaffID(s); return n.String(), err },
	}
	for _, c := range []struct {
		kind, in, out string
		err           error
	}{
		{"card", "3310088800000017", "00003310088800000017", nil},
		{"card", "3310 0888 0000 0017", "00003310088800000017", nil},
		{"card", "00000000000000000000", "", ErrNumberAllZeros},
		{"card", "", "", ErrCardNumber},
		{"card", "123456789012345678901", "", ErrCardNumber},
		{"card", "12a4", "", ErrCardNumber},
		{"account", "0100000017", "0100000017", nil},
		{"account", "100000017", "", ErrAccountNumber},
		{"account", "01000000170", "", ErrAccountNumber},
		{"account", "0000000000", "", ErrNumberAllZeros},
		{"account", "-100000017", "", ErrAccountNumber},
		{"terminal", "31010000123f", "31010000123F", nil},
		{"terminal", "3101000012", "", ErrTerminalID},
		{"terminal", "000000000000", "", ErrNumberAllZeros},
		{"sam", "00000000310100000001", "00000000310100000001", nil},
		{"sam", "xx", "", ErrSAMID},
		{"shop", "10000001", "10000001", nil},
		{"shop", "1", "", ErrShopID},
		{"staff", "7", "7", nil},
		{"staff", "0", "", ErrNumberAllZeros},
		{"staff", "1234567", "", ErrStaffID},
	} {
		out, err := parsers[c.kind](c.in)
		if !errors.Is(err, c.err) || (c.err == nil && out != c.out) {
			t.Errorf("%s %q: %q %v, want %q %v", c.kind, c.in, out, err, c.out, c.err)
		}
	}
	if _, err := CardNumberFromBCD([]byte{0, 0, 0x3A, 0, 0, 0, 0, 0, 0, 1}); !errors.Is(err, ErrCardNumber) {
		t.Errorf("a nibble that is no digit: %v", err)
	}
}

func TestCardNumberParts(t *testing.T) {
	n, err := ParseCardNumber("00003310088812345678")
	if err != nil {
		t.Fatal(err)
	}
	if n.Factor() != [8]byte{0x33, 0x10, 0x08, 0x88, 0x12, 0x34, 0x56, 0x78} || n.Last4() != "5678" {
		t.Errorf("%X %s", n.Factor(), n.Last4())
	}
	b, err := json.Marshal(struct{ N CardNumber }{n})
	var back struct{ N CardNumber }
	if err != nil || json.Unmarshal(b, &back) != nil || back.N != n {
		t.Errorf("%s %v", b, err)
	}
}

// TestStamp holds that a stamp is China Standard Time whatever the zone.
func TestStamp(t *testing.T) {
	at := time.Date(2025, 8, 31, 16, 45, 1, 999, time.UTC)
	s := StampOf(at)
	if s != (Stamp{0x20, 0x25, 0x09, 0x01, 0x00, 0x45, 0x01}) {
		t.Errorf("%X", s)
	}
	if back, err := s.Time(); err != nil || !back.Equal(at.Truncate(time.Second)) {
		t.Errorf("%v %v", back, err)
	}
	for _, bad := range []Stamp{{}, {0x20, 0x25, 0x02, 0x30}, {0x20, 0x25, 0x0A, 0x01}, {0x20, 0x25, 0x01, 0x01, 0x24}} {
		if _, err := bad.Time(); !errors.Is(err, ErrStamp) {
			t.Errorf("%X is a time: %v", bad, err)
		}
	}
}

func FuzzParseYuan(f *testing.F) {
	for _, s := range []string{"50", "0.01", "1e9", "-0", "99999999999999", "1.234", "１２"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseYuan(s)
		if err == nil && (v < 0 || v > MaxFen) {
			t.Fatalf("%q is %d", s, v)
		}
	})
}
