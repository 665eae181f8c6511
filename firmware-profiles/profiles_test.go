package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
)

func TestBuiltin(t *testing.T) {
	s, err := Load(builtin)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, Builtin()) {
		t.Error("Builtin is not what is embedded")
	}
	var names []string
	for _, c := range s.Cards {
		names = append(names, c.Name)
	}
	for _, p := range s.SAMs {
		names = append(names, p.Name)
	}
	for _, p := range s.Readers {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "dianka-ep dianka-ep2 fmcos-bench transit load-sam psam sam-combined ccid gempc-pinpad gempc-twin phoenix vpcd" {
		t.Error(got)
	}
}

func TestBuiltinCards(t *testing.T) {
	s := Builtin()
	ep, _ := s.Card("dianka-ep")
	want := Card{
		Name: "dianka-ep", Description: ep.Description,
		AID: []byte{0xA0, 0, 0, 0, 3, 0x86, 0x98, 7, 1}, Suite: "3des",
		LoadKeyIndex: 1, PurchaseKeyIndex: 1,
		InfoSFI: 0x15, HolderSFI: 0x16, LogSFI: 0x18, InfoLayout: LayoutPBOC30,
		LoadLevels: 1, PurchaseLevels: 1, TACLevels: 1,
		BalanceMax: 500000, Facts: ep.Facts,
	}
	if !reflect.DeepEqual(ep, want) {
		t.Errorf("dianka-ep is %+v", ep)
	}
	ep2, ok := s.CardByAID([]byte{0xA0, 0, 0, 0, 3, 0x86, 0x98, 7, 2})
	if !ok || ep2.Name != "dianka-ep2" || !ep2.ProofTACFirst || !ep2.LogCounterPost || ep2.RegionFirst || ep2.PurchaseLevels != 2 {
		t.Errorf("%+v", ep2)
	}
	if err := ep2.StatusWords.Err(0x9301); !errors.Is(err, apdu.SWBalanceLow) {
		t.Error(err)
	}
	if err := ep2.StatusWords.Err(0x6985); !errors.Is(err, apdu.SWConditionsNotMet) || !strings.Contains(err.Error(), "counter") {
		t.Error(err)
	}
	if err := ep.StatusWords.Err(0x9301); errors.Is(err, apdu.SWBalanceLow) {
		t.Error("the dialect of one profile is heard in another")
	}
	if bench, ok := s.Card("fmcos-bench"); !ok || !bench.TestOnly || bench.LoadLevels != 0 {
		t.Errorf("%+v", bench)
	}
	if _, ok := s.Card("no such"); ok {
		t.Error("found")
	}
	if _, ok := s.CardByAID(nil); ok {
		t.Error("found")
	}
}

func TestBuiltinSAMs(t *testing.T) {
	p, ok := Builtin().SAM("sam-combined")
	if !ok || p.PSAM == nil || p.LoadSAM == nil {
		t.Fatalf("%+v", p)
	}
	for _, c := range []struct {
		app  *SAMApplication
		want string
	}{{p.PSAM, "00A40000023F0100"}, {p.LoadSAM, fmt.Sprintf("00A404000B%X00", "DIANKA.LSAM")}} {
		b, err := c.app.Select().Bytes()
		if err != nil || fmt.Sprintf("%X", b) != c.want {
			t.Errorf("%X %v, want %s", b, err, c.want)
		}
		if c.app.Info != (File{SFI: 0x17, Len: 25}) || !reflect.DeepEqual(c.app.Levels, []int{1, 2}) {
			t.Errorf("%+v", c.app)
		}
	}
	if p.Serial != (File{0x15, 14}) || p.Terminal != (File{0x16, 6}) {
		t.Errorf("%+v", p)
	}
	if one, _ := Builtin().SAM("psam"); one.PSAM == nil || one.LoadSAM != nil {
		t.Errorf("%+v", one)
	}
}

func TestFactors(t *testing.T) {
	region, serial := [8]byte{0xD1}, [8]byte{0x12, 0x34}
	c := Card{Region: region}
	if f := c.Factors(0, serial); len(f) != 0 {
		t.Error(f)
	}
	if f := c.Factors(1, serial); !reflect.DeepEqual(f, [][8]byte{serial}) {
		t.Error(f)
	}
	// Derivation is region before card whatever the order in 80 70.
	for _, first := range []bool{false, true} {
		c.RegionFirst = first
		if f := c.Factors(2, serial); !reflect.DeepEqual(f, [][8]byte{region, serial}) {
			t.Error(first, f)
		}
	}
	if b := c.SAMFactors(2, serial); !bytes.Equal(b, append(region[:], serial[:]...)) {
		t.Errorf("region first: %X", b)
	}
	c.RegionFirst = false
	if b := c.SAMFactors(2, serial); !bytes.Equal(b, append(serial[:], region[:]...)) {
		t.Errorf("serial first: %X", b)
	}
	if b := c.SAMFactors(1, serial); !bytes.Equal(b, serial[:]) {
		t.Errorf("%X", b)
	}
}

func TestMatchCards(t *testing.T) {
	s := &Set{Cards: []Card{
		{Name: "any"},
		{Name: "masked", ATRs: []ATRPattern{{Value: []byte{0x3B, 0x02, 0xAA, 0x00}, Mask: []byte{0xFF, 0xFF, 0xFF, 0xF0}}}},
		{Name: "exact", ATRs: []ATRPattern{{Value: []byte{0x3B, 0x00}}}},
	}}
	for _, c := range []struct {
		atr  []byte
		want string
	}{
		{[]byte{0x3B, 0x02, 0xAA, 0x05}, "masked any"},
		{[]byte{0x3B, 0x02, 0xAA, 0x15}, "any"},
		{[]byte{0x3B, 0x02, 0xAA}, "any"},
		{[]byte{0x3B, 0x00}, "exact any"},
		{nil, "any"},
	} {
		var names []string
		for _, p := range s.MatchCards(c.atr) {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%X: %s", c.atr, got)
		}
	}
}

// Every mistake is told with the file and the line on which it stands.
func TestLoadRefuses(t *testing.T) {
	good, err := fs.ReadFile(builtin, "cards/dianka-ep2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	goodSAM, err := fs.ReadFile(builtin, "sams/sam-combined.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"suite: 3des", "suit: 3des", `unknown field "suit"`},
		{"suite: 3des", "suite: sm4", "suite: it is \"sm4\" and must be one of 3des"},
		{"suite: 3des", "suite: 3des\nsuite: 3des", "already defined"},
		{"suite: 3des", "suite: [", ""},
		{"suite: 3des", "", "suite: it is \"\""},
		{"name: dianka-ep2", "name: other", "must be the file's name"},
		{`aid: "A00000000386980702"`, `aid: "A0000000038698070"`, "hex digits"},
		{`aid: "A00000000386980702"`, `aid: "A000"`, "an AID has 5 to 16"},
		{`aid: "A00000000386980702"`, `aid: [1]`, "hex digits"},
		{"log: 24", "log: 31", "files.log: 31, a short file identifier is 1 to 30"},
		{"log: 24", "log: 300", "1 to 30"},
		{"log: 24", "log: x", "not a whole number"},
		{"log: 24", `log: "24"`, "not a whole number"},
		{"  purchase: 1", "  purchase: 256", "a key index is 0 to 255"},
		{"  log: 24", "", "files.log: 0, a short"},
		{"  tac: 2", "", "diversification.tac: it is missing"},
		{"  tac: 2", "  tac: 3", "0 to 2 levels"},
		{"  tac: 2", "  tac: 0", "test_only"},
		{`region: "D1A2CA01D1A2CA01"`, `region: "D1A2CA01"`, "has 8"},
		{"log_counter: post", "log_counter: later", "pre, post"},
		{"proof_order: tac-mac2", "proof_order: mac-tac", "mac2-tac, tac-mac2"},
		{"pin_for_load: false", "", "pin_for_load: it is missing"},
		{`means: "9401"`, `means: "94"`, "four hex digits"},
		{`means: "9401"`, `means: "9000"`, "the same in every dialect"},
		{`- word: "6985"`, `- word: "9301"`, "twice"},
		{`- word: "6985"`, `- word: "9000"`, "the same in every dialect"},
		{"balance_max_fen: 500000", "balance_max_fen: -1", "a purse holds"},
		{"balance_max_fen: 500000", "balance_max_fen: 4294967296", "a purse holds"},
		{"balance_max_fen: 500000", "balance_max_fen: 1000.5", "not a whole number"},
	} {
		text := strings.Replace(string(good), c.old, c.new, 1)
		if text == string(good) {
			t.Fatalf("%q is not in the file", c.old)
		}
		line := 1 + strings.Count(string(good)[:strings.Index(string(good), c.old)], "\n")
		_, err := Load(fstest.MapFS{"cards/dianka-ep2.yaml": {Data: []byte(text)}})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.new, err)
			continue
		}
		if e.File != "cards/dianka-ep2.yaml" || e.Line < 1 || c.new != "" && (e.Line < line || e.Line > line+1 && c.new != "suite: [") {
			t.Errorf("%q stands on line %d: %v", c.new, line, err)
		}
	}
	for _, c := range []struct{ old, new, want string }{
		{"serial: {sfi: 21, length: 14}", "serial: {sfi: 21, length: 10}", "serial.length: 10, it has 14"},
		{"serial: {sfi: 21, length: 14}", "serial: {sfi: 21, size: 14}", "unknown field"},
		{`fid: "3F01"`, `fid: "3F"`, "psam.fid"},
		{`fid: "3F01"`, `fid: "0000"`, "psam.fid"},
		{`fid: "3F01"`, `aid: "3F"`, "psam.aid"},
		{"levels: [1, 2]", "levels: [2, 1]", "ascend"},
		{"levels: [1, 2]", "levels: [0]", "test_only"},
		{"levels: [1, 2]", "levels: []", "missing"},
	} {
		text := strings.Replace(string(goodSAM), c.old, c.new, 1)
		_, err := Load(fstest.MapFS{"sams/sam-combined.yaml": {Data: []byte(text)}})
		line := 1 + strings.Count(string(goodSAM)[:strings.Index(string(goodSAM), c.old)], "\n")
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Line != line {
			t.Errorf("%q: %v", c.new, err)
		}
	}
	for name, files := range map[string]fstest.MapFS{
		"another ending": {"cards/x.yml": {Data: good}},
		"an empty file":  {"cards/x.yaml": {}},
		"two documents":  {"cards/dianka-ep2.yaml": {Data: append(append([]byte{}, good...), "---\nname: x\n"...)}},
		"a long file":    {"cards/dianka-ep2.yaml": {Data: append(append([]byte{}, good...), bytes.Repeat([]byte("#"), maxFile)...)}},
		"no SAM at all":  {"sams/x.yaml": {Data: []byte("name: x\ndescription: x\nserial: {sfi: 21, length: 14}\nterminal: {sfi: 22, length: 6}\n")}},
		"not even a map": {"cards/x.yaml": {Data: []byte("- 1\n")}},
		"the same AID": {
			"cards/dianka-ep2.yaml": {Data: good},
			"cards/dianka-ep3.yaml": {Data: bytes.Replace(good, []byte("name: dianka-ep2"), []byte("name: dianka-ep3"), 1)},
		},
	} {
		_, err := Load(files)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := Load(fstest.MapFS{}); err != nil || len(s.Cards)+len(s.SAMs) != 0 {
		t.Error(s, err)
	}
}

func TestLoadTellsAllMistakes(t *testing.T) {
	_, err := Load(fstest.MapFS{"cards/x.yaml": {Data: []byte("name: x\ndescription: x\naid: \"A00000000386980702\"\n")}})
	if err == nil || strings.Count(err.Error(), "\n") < 10 {
		t.Error(err)
	}
}

// A pattern and its digits may look like numbers to YAML.
func TestUnquotedHex(t *testing.T) {
	good, err := fs.ReadFile(builtin, "cards/dianka-ep2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`"9301"`, "9301", `"9401"`, "9401", `"D1A2CA01D1A2CA01"`, "0011223344556677").Replace(string(good)) +
		"atr:\n  - value: 3B0231E2\n    mask: FFFFFF00\n  - value: 0011\n"
	s, err := Load(fstest.MapFS{"cards/dianka-ep2.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Cards[0]
	if c.Region != [8]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77} || c.StatusWords.Normal(0x9301) != apdu.SWBalanceLow {
		t.Errorf("%+v", c)
	}
	if !c.ATRs[0].Match([]byte{0x3B, 0x02, 0x31, 0x07}) || !c.ATRs[1].Match([]byte{0x00, 0x11}) {
		t.Errorf("%+v", c.ATRs)
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"cards/dianka-ep2.yaml", "cards/fmcos-bench.yaml", "sams/sam-combined.yaml", "readers/gempc-twin.yaml", "readers/phoenix.yaml"} {
		b, err := fs.ReadFile(builtin, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("name: &a x\ndescription: *a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Load(fstest.MapFS{"cards/x.yaml": {Data: b}})
		if err != nil {
			s = &Set{}
		}
		Load(fstest.MapFS{"sams/x.yaml": {Data: b}})
		if r, err := Load(fstest.MapFS{"readers/x.yaml": {Data: b}}); err == nil {
			for _, r := range r.Readers {
				if r.Serial != nil && len(r.Serial.Baud) == 0 || r.DelayMS < 0 || r.DelayMS > maxTiming || r.Slots > maxSlots {
					t.Fatalf("%+v", r)
				}
			}
		}
		for _, c := range s.Cards {
			if len(c.AID) < 5 || c.BalanceMax < 1 || c.BalanceMax > money.MaxPurse || c.LoadLevels == 0 && !c.TestOnly {
				t.Fatalf("%+v", c)
			}
		}
	})
}
