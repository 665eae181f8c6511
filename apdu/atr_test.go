package apdu

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// withTCK appends the check byte.
func withTCK(t testing.TB, s string) string {
	var x byte
	for _, v := range unhex(t, s)[1:] {
		x ^= v
	}
	return fmt.Sprintf("%s%02X", s, x)
}

func TestParseATR(t *testing.T) {
	for _, c := range []struct {
		name, atr string
		check     func(ATR) bool
	}{
		{"the shortest", "3B00", func(a ATR) bool {
			return a.F == 372 && a.D == 1 && a.FMax == 5000 && reflect.DeepEqual(a.Protocols, []byte{0}) && a.TCK == nil && !a.Specific
		}},
		{"inverse convention", "3F00", func(a ATR) bool { return a.Convention == Inverse }},
		{"T=0, historical bytes, no TCK", "3B6D00000031C071D66438D00300849000", func(a ATR) bool {
			return a.TCK == nil && len(a.Historical) == 13 && a.Offers(0) && !a.Offers(1) && a.N == 0 &&
				len(a.Objects) == 3 && bytes.Equal(a.StatusBytes, []byte{0x84, 0x90, 0})
		}},
		{"T=1 and global bytes, an OpenPGP card", "3BDA18FF81B1FE751F030031F573C001600090001C", func(a ATR) bool {
			return a.F == 372 && a.D == 12 && a.N == 255 && reflect.DeepEqual(a.Protocols, []byte{1}) &&
				a.IFSC == 0xFE && a.BWI == 7 && a.CWI == 5 && !a.CRC && *a.TCK == 0x1C &&
				a.Global.Present && a.Global.Classes == 3 && a.Global.ClockStop == 0 &&
				len(a.Objects) == 2 && bytes.Equal(a.StatusBytes, []byte{0, 0x90, 0})
		}},
		{"T=1, a JCOP card", "3BF81300008131FE454A434F5076323431B7", func(a ATR) bool {
			return a.F == 372 && a.D == 4 && string(a.Historical) == "JCOPv241" && a.IFSC == 0xFE && a.BWI == 4 && a.CWI == 5 && a.Objects == nil
		}},
		{"T=0 and T=15", withTCK(t, "3B9096801FC7"), func(a ATR) bool {
			return a.F == 512 && a.D == 32 && a.Global.ClockStop == 3 && a.Global.Classes == 7 && reflect.DeepEqual(a.Protocols, []byte{0}) && a.TCK != nil
		}},
		{"T=0 and T=1", withTCK(t, "3B808001"), func(a ATR) bool {
			return reflect.DeepEqual(a.Protocols, []byte{0, 1}) && a.IFSC == 32 && a.BWI == 4 && a.CWI == 13
		}},
		{"specific mode, CRC", withTCK(t, "3B9011918171204501"), func(a ATR) bool {
			return a.Specific && a.SpecificT == 1 && !a.CanChange && !a.Implicit && a.CRC && a.IFSC == 0x20
		}},
		{"specific mode that may change, implicit", withTCK(t, "3B801111"), func(a ATR) bool {
			return a.Specific && a.SpecificT == 1 && a.CanChange && a.Implicit && a.IFSC == 32
		}},
		{"waiting integer", "3B804014", func(a ATR) bool { return a.WI == 20 }},
		{"status as an object", "3B058031808105", func(a ATR) bool {
			return len(a.Objects) == 2 && a.Objects[0].Tag == 3 && bytes.Equal(a.StatusBytes, []byte{5})
		}},
		{"historical object too long", "3B03803F00", func(a ATR) bool { return a.Objects == nil && len(a.Historical) == 3 }},
	} {
		a, err := ParseATR(unhex(t, c.atr))
		if err != nil {
			t.Errorf("%s: %s: %v", c.name, c.atr, err)
			continue
		}
		if !c.check(a) {
			t.Errorf("%s: %s: %+v", c.name, c.atr, a)
		}
		if a.String() != c.atr {
			t.Errorf("%s: String gives %s", c.name, a)
		}
	}
}

func TestParseATRRefuses(t *testing.T) {
	for _, c := range []struct {
		name, atr string
		want      error
	}{
		{"empty", "", ErrATRLength},
		{"one byte", "3B", ErrATRLength},
		{"neither convention", "0300", ErrATRTS},
		{"34 bytes", "3B" + strings.Repeat("00", 33), ErrATRLength},
		{"33 bytes, too many for T0", "3B" + strings.Repeat("00", 32), ErrATRLength},
		{"T0 promises absent bytes", "3BF0", ErrATRLength},
		{"historical bytes absent", "3B02AA", ErrATRLength},
		{"TD chain without end", "3B" + strings.Repeat("80", 32), ErrATRLength},
		{"TCK missing", "3B8001", ErrATRLength},
		{"TCK wrong", "3B800180", ErrATRCheck},
		{"TCK although T=0 only", "3B000000", ErrATRLength},
		{"TA1 reserved", "3B1071", ErrATRValue},
		{"T=15 first", withTCK(t, "3B800F"), ErrATRValue},
		{"IFSC of 0", withTCK(t, "3B80811100"), ErrATRValue},
		{"WI of 0", "3B804000", ErrATRValue},
		{"no supply class", withTCK(t, "3B80801F00"), ErrATRValue},
	} {
		if _, err := ParseATR(unhex(t, c.atr)); !errors.Is(err, c.want) {
			t.Errorf("%s: %s: %v, want %v", c.name, c.atr, err, c.want)
		}
	}
	// Decoded all the same, for the technician.
	a, _ := ParseATR(unhex(t, "3B800180"))
	if !a.Offers(1) || !strings.Contains(strings.Join(a.Explain(), "\n"), "wrong") {
		t.Errorf("wrong TCK: %v", a.Explain())
	}
}

func TestExplainATR(t *testing.T) {
	a, err := ParseATR(unhex(t, "3BDA18FF81B1FE751F030031F573C001600090001C"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"TS  3B  direct convention",
		"T0  DA  10 historical bytes",
		"TA1 18  F=372 D=12, at most 5000 kHz",
		"TC1 FF  guard time 255: the least that the protocol allows",
		"TD1 81  protocol T=1",
		"TD2 B1  protocol T=1",
		"TA3 FE  T=1 information field size 254",
		"TB3 75  T=1 block waiting integer 7, character waiting integer 5",
		"TD3 1F  global bytes follow",
		"TA4 03  clock stop not supported; supply classes A 5 V, B 3 V",
		"historical 0031F573C00160009000",
		"  3 card service data: F5",
		"  7 card capabilities: C00160",
		"  status 009000",
		"TCK 1C  right",
	}
	if got := a.Explain(); !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

func FuzzParseATR(f *testing.F) {
	for _, s := range []string{"", "3B", "3B00", "3F00", "3BF0", "3B02AA", "3B8001", "3B800180", "3B6D00000031C071D66438D00300849000", "3BDA18FF81B1FE751F030031F573C001600090001C", "3BF81300008131FE454A434F5076323431B7", "3B" + strings.Repeat("80", 32), "3B" + strings.Repeat("FF", 40)} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseATR(b)
		a.Explain()
		if err != nil {
			return
		}
		// What was decoded accounts for every byte.
		n := 2 + len(a.Historical)
		for _, g := range a.Groups {
			for _, p := range []*byte{g.TA, g.TB, g.TC, g.TD} {
				if p != nil {
					n++
				}
			}
		}
		if a.TCK != nil {
			n++
		}
		if n != len(b) || len(a.Protocols) == 0 || a.F == 0 || a.D == 0 {
			t.Fatalf("%X: %+v", b, a)
		}
	})
}
