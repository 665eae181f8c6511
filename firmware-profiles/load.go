package profiles

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
)

//go:embed cards/* sams/* readers/*
var builtin embed.FS

// Builtin gives the profiles that are built in. They are read once; the Set
// is shared and must not be changed. Should they be broken, which a test
// excludes, it is empty.
func Builtin() *Set { return builtinSet() }

var builtinSet = sync.OnceValue(func() *Set {
	s, err := Load(builtin)
	if err != nil {
		return &Set{}
	}
	return s
})

// maxFile bounds a profile file, in bytes.
const maxFile = 64 << 10

// Error is what is wrong with a profile file, and where.
type Error struct {
	File string
	Line int // from 1; 0 when it concerns the whole file
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// Kind is what a profile is of. It is the name of the folder of its files.
type Kind string

// Kinds of profiles.
const (
	KindCard   Kind = "cards"
	KindSAM    Kind = "sams"
	KindReader Kind = "readers"
)

// Kinds lists them.
var Kinds = []Kind{KindCard, KindSAM, KindReader}

// BuiltIn is the Origin of a profile that is part of the program.
const BuiltIn = "built in"

// source is a profile as it was written.
type source struct {
	origin     string // BuiltIn, or the path of the file
	text       []byte
	transcript []byte // nil when there is none
}

// Load reads cards/*.yaml, sams/*.yaml and readers/*.yaml, in the order of
// their names; a file takes the place of one of the same name in a layer before
// it. Beside x.yaml may lie its transcript, x.trace. It is strict: unknown,
// repeated and missing keys, values out of range, files with another ending,
// and two card profiles of one AID are errors, all of them told, each as an
// *Error.
func Load(layers ...fs.FS) (*Set, error) {
	s := &Set{sources: map[string]source{}}
	var errs []error
	for _, kind := range Kinds {
		for _, layer := range layers {
			if err := s.collect(layer, string(kind)); err != nil {
				return nil, err
			}
		}
	}
	aids := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(s.sources)) {
		src := s.sources[key]
		name := key + ".yaml"
		if src.origin != BuiltIn {
			name = src.origin
		}
		if src.text == nil {
			errs = append(errs, &Error{File: strings.TrimSuffix(name, ".yaml") + ".trace", Err: errors.New("a transcript without its profile")})
			continue
		}
		var problems []problem
		var loc location
		var err error
		switch Kind(path.Dir(key)) {
		case KindCard:
			var f cardFile
			if loc, err = decode(name, src.text, &f); err == nil {
				c := f.card()
				problems = f.check(name)
				if first, ok := aids[string(c.AID)]; ok {
					problems = append(problems, problem{"$.aid", "the AID is that of " + first})
				}
				aids[string(c.AID)] = name
				s.Cards = append(s.Cards, c)
			}
		case KindSAM:
			var f samFile
			if loc, err = decode(name, src.text, &f); err == nil {
				problems = f.check(name)
				s.SAMs = append(s.SAMs, f.sam())
			}
		case KindReader:
			var f readerFile
			if loc, err = decode(name, src.text, &f); err == nil {
				problems = f.check(name)
				s.Readers = append(s.Readers, f.reader())
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, loc.errors(problems)...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// collect adds the files of one folder of a layer.
func (s *Set) collect(layer fs.FS, dir string) error {
	where := func(name string) string {
		if f, ok := layer.(folder); ok {
			return filepath.Join(f.dir, filepath.FromSlash(name))
		}
		return name
	}
	entries, err := fs.ReadDir(layer, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	fresh := map[string]source{}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		ext := path.Ext(name)
		if ext != ".yaml" && ext != ".trace" || e.IsDir() {
			return &Error{File: where(name), Err: errors.New("neither a .yaml file nor the .trace of one")}
		}
		b, err := readFile(layer, name)
		if err != nil {
			var own *Error
			if errors.As(err, &own) {
				own.File = where(name)
			}
			return err
		}
		key := strings.TrimSuffix(name, ext)
		src := fresh[key]
		if src.origin == "" {
			src.origin = BuiltIn
			if _, ok := layer.(folder); ok {
				src.origin = where(key + ".yaml")
			}
		}
		if ext == ".yaml" {
			src.text = b
		} else {
			src.transcript = b
		}
		fresh[key] = src
	}
	maps.Copy(s.sources, fresh)
	return nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("profiles: %s: %w", name, err)
	}
	if len(b) > maxFile {
		return nil, &Error{File: name, Err: fmt.Errorf("longer than %d bytes", maxFile)}
	}
	return b, nil
}

// location finds the line of a path such as "$.files.log".
type location struct {
	name string
	file *ast.File
}

// decode reads one YAML document into v.
func decode(name string, b []byte, v any) (location, error) {
	file, err := parser.ParseBytes(b, 0)
	if err == nil && len(file.Docs) != 1 {
		err = errors.New("one YAML document is wanted")
	}
	if err == nil && file.Docs[0].Body == nil {
		err = errors.New("the file is empty")
	}
	if err == nil {
		err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(v)
	}
	if err == nil {
		return location{name, file}, nil
	}
	var value *valueError
	if errors.As(err, &value) {
		return location{}, &Error{File: name, Line: value.line, Err: errors.New(value.text)}
	}
	var y yaml.Error
	if errors.As(err, &y) {
		line := 0
		if t := y.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
		return location{}, &Error{File: name, Line: line, Err: errors.New(y.GetMessage())}
	}
	return location{}, &Error{File: name, Err: err}
}

// problem is a value that YAML accepts and we don't.
type problem struct{ path, text string }

// errors gives the problems their lines; a key that is missing has the line
// of the nearest one that holds it.
func (l location) errors(list []problem) []error {
	var errs []error
	for _, p := range list {
		line := 0
		for at := p.path; at != "$" && line == 0; at = at[:strings.LastIndexAny(at, ".[")] {
			if yp, err := yaml.PathString(at); err == nil {
				if n, err := yp.FilterFile(l.file); err == nil && n.GetToken() != nil {
					line = n.GetToken().Position.Line
				}
			}
		}
		line = max(line, 1) // a key missing at the top
		text := p.text
		if key := strings.TrimPrefix(strings.TrimPrefix(p.path, "$"), "."); key != "" {
			text = key + ": " + text
		}
		errs = append(errs, &Error{File: l.name, Line: line, Err: errors.New(text)})
	}
	return errs
}

// valueError carries a line out of the decoder.
type valueError struct {
	line int
	text string
}

func (e *valueError) Error() string { return e.text }

// hexBytes is a string of hex digits in YAML. It is read from the text as
// written, so that 0015 and 1E02 are not taken for numbers.
type hexBytes []byte

func (h *hexBytes) UnmarshalYAML(n ast.Node) error {
	t := n.GetToken()
	b, err := hex.DecodeString(strings.ReplaceAll(t.Value, " ", ""))
	if _, scalar := n.(ast.ScalarNode); !scalar || err != nil {
		return &valueError{t.Position.Line, fmt.Sprintf("%q is not an even number of hex digits", t.Value)}
	}
	*h = b
	return nil
}

// word is a status word, four hex digits.
type word apdu.SW

func (w *word) UnmarshalYAML(n ast.Node) error {
	var h hexBytes
	if err := h.UnmarshalYAML(n); err != nil {
		return err
	}
	if len(h) != 2 {
		return &valueError{n.GetToken().Position.Line, "a status word has four hex digits"}
	}
	*w = word(h[0])<<8 | word(h[1])
	return nil
}

// whole is an integer. The YAML library by itself cuts 1.5 down to 1.
type whole int64

func (w *whole) UnmarshalYAML(n ast.Node) error {
	t := n.GetToken()
	i, ok := n.(*ast.IntegerNode)
	if ok {
		switch v := i.Value.(type) {
		case int64:
			*w = whole(v)
			return nil
		case uint64:
			if v <= math.MaxInt64 {
				*w = whole(v)
				return nil
			}
		}
	}
	return &valueError{t.Position.Line, fmt.Sprintf("%q is not a whole number", t.Value)}
}

type patternFile struct {
	Value hexBytes `yaml:"value"`
	Mask  hexBytes `yaml:"mask"`
}

// cardFile is a card profile as written. Choices are words, so that a file
// reads as a description; where zero is a value, a pointer tells omission.
type cardFile struct {
	Name        string        `yaml:"name"`
	Description string        `yaml:"description"`
	TestOnly    bool          `yaml:"test_only"`
	AID         hexBytes      `yaml:"aid"`
	ATR         []patternFile `yaml:"atr"`
	Suite       string        `yaml:"suite"`
	Purse       string        `yaml:"purse"`
	Files       struct {
		Info   whole      `yaml:"public_info"`
		Holder whole      `yaml:"holder"`
		Log    whole      `yaml:"log"`
		Layout InfoLayout `yaml:"public_info_layout"`
	} `yaml:"files"`
	Keys struct {
		Load     *whole `yaml:"load"`
		Purchase *whole `yaml:"purchase"`
	} `yaml:"key_index"`
	Levels struct {
		Load     *whole   `yaml:"load"`
		Purchase *whole   `yaml:"purchase"`
		TAC      *whole   `yaml:"tac"`
		Region   hexBytes `yaml:"region"`
		Order    string   `yaml:"factor_order"`
	} `yaml:"diversification"`
	PINForLoad  *bool  `yaml:"pin_for_load"`
	PINEncoding string `yaml:"pin_encoding"`
	LogCounter  string `yaml:"log_counter"`
	Counters    string `yaml:"counters"`
	ProofOrder  string `yaml:"proof_order"`
	ProofSlots  string `yaml:"proof_slots"`
	StatusWords []struct {
		Word  word   `yaml:"word"`
		Means word   `yaml:"means"`
		Text  string `yaml:"text"`
	} `yaml:"status_words"`
	BalanceMax whole    `yaml:"balance_max_fen"`
	Known      []string `yaml:"known"`
	NotKnown   []string `yaml:"not_known"`
}

// suites are the cipher suites that a profile may name (suite.Suite.Name).
var suites = []string{"3des"}

// check gives what is wrong with the values.
func (f *cardFile) check(file string) (list []problem) {
	bad := func(path, format string, args ...any) {
		list = append(list, problem{path, fmt.Sprintf(format, args...)})
	}
	choice := func(path, v string, of ...string) {
		if !slices.Contains(of, v) {
			bad(path, "it is %q and must be one of %s", v, strings.Join(of, ", "))
		}
	}
	checkName(bad, file, f.Name, f.Description)
	if n := len(f.AID); n < 5 || n > 16 { // ISO/IEC 7816-4 clause 12.2.3
		bad("$.aid", "%d bytes, an AID has 5 to 16", n)
	}
	for i, p := range f.ATR {
		at := fmt.Sprintf("$.atr[%d]", i)
		if n := len(p.Value); n < 2 || n > apdu.MaxATR {
			bad(at, "%d bytes, an answer to reset has 2 to %d", n, apdu.MaxATR)
		}
		if p.Mask != nil && len(p.Mask) != len(p.Value) {
			bad(at, "mask and value differ in length")
		}
	}
	choice("$.suite", f.Suite, suites...)
	choice("$.purse", f.Purse, "ep", "ed")
	for _, s := range []struct {
		path string
		sfi  whole
	}{{"$.files.public_info", f.Files.Info}, {"$.files.holder", f.Files.Holder}, {"$.files.log", f.Files.Log}} {
		if s.sfi < 1 || s.sfi > 30 {
			bad(s.path, "%d, a short file identifier is 1 to 30", s.sfi)
		}
	}
	choice("$.files.public_info_layout", string(f.Files.Layout), string(LayoutPBOC30), string(LayoutMoHURD), string(LayoutETC43))
	for _, k := range []struct {
		path  string
		index *whole
	}{{"$.key_index.load", f.Keys.Load}, {"$.key_index.purchase", f.Keys.Purchase}} {
		if k.index == nil {
			bad(k.path, "it is missing")
		} else if *k.index < 0 || *k.index > 0xFF {
			bad(k.path, "%d, a key index is 0 to 255", *k.index)
		}
	}
	most := whole(0)
	for _, l := range []struct {
		path   string
		levels *whole
	}{{"$.diversification.load", f.Levels.Load}, {"$.diversification.purchase", f.Levels.Purchase}, {"$.diversification.tac", f.Levels.TAC}} {
		switch {
		case l.levels == nil:
			bad(l.path, "it is missing")
		case *l.levels < 0 || *l.levels > 2:
			bad(l.path, "%d, 0 to 2 levels are possible", *l.levels)
		case *l.levels == 0 && !f.TestOnly:
			bad(l.path, "keys that are not diversified are for test_only profiles")
		default:
			most = max(most, *l.levels)
		}
	}
	if n := len(f.Levels.Region); most == 2 && n != 8 {
		bad("$.diversification.region", "%d bytes, the factor of two levels has 8", n)
	} else if most < 2 && n != 0 {
		bad("$.diversification.region", "no key has two levels")
	}
	choice("$.diversification.factor_order", f.Levels.Order, "serial-first", "region-first")
	if f.PINForLoad == nil {
		bad("$.pin_for_load", "it is missing")
	}
	choice("$.pin_encoding", f.PINEncoding, "bcd", "ascii")
	choice("$.log_counter", f.LogCounter, "pre", "post")
	choice("$.counters", f.Counters, "separate", "unified")
	choice("$.proof_order", f.ProofOrder, "mac2-tac", "tac-mac2")
	choice("$.proof_slots", f.ProofSlots, "per-type", "single")
	seen := map[word]bool{}
	for i, s := range f.StatusWords {
		at := fmt.Sprintf("$.status_words[%d]", i)
		switch {
		case s.Word == 0:
			bad(at, "word is missing")
		case seen[s.Word]:
			bad(at, "%04X is there twice", s.Word)
		case s.Word == word(apdu.SWOK):
			bad(at, "9000 is the same in every dialect")
		case s.Means == word(apdu.SWOK):
			bad(at+".means", "9000 is the same in every dialect")
		case s.Means == 0 && s.Text == "":
			bad(at, "neither means nor text")
		}
		seen[s.Word] = true
	}
	if f.BalanceMax < 1 || f.BalanceMax > whole(money.MaxPurse) {
		bad("$.balance_max_fen", "%d, a purse holds 1 to %d fen", f.BalanceMax, int64(money.MaxPurse))
	}
	return list
}

// card gives the profile; of one that check refuses, something.
func (f *cardFile) card() Card {
	c := Card{
		Name: f.Name, Description: f.Description, TestOnly: f.TestOnly,
		AID:              f.AID,
		Suite:            f.Suite,
		ED:               f.Purse == "ed",
		LoadKeyIndex:     byte(orZero(f.Keys.Load)),
		PurchaseKeyIndex: byte(orZero(f.Keys.Purchase)),
		InfoSFI:          byte(f.Files.Info), HolderSFI: byte(f.Files.Holder), LogSFI: byte(f.Files.Log),
		InfoLayout: f.Files.Layout,
		LoadLevels: int(orZero(f.Levels.Load)), PurchaseLevels: int(orZero(f.Levels.Purchase)), TACLevels: int(orZero(f.Levels.TAC)),
		RegionFirst:     f.Levels.Order == "region-first",
		PINForLoad:      orZero(f.PINForLoad),
		PINASCII:        f.PINEncoding == "ascii",
		LogCounterPost:  f.LogCounter == "post",
		UnifiedCounters: f.Counters == "unified",
		ProofTACFirst:   f.ProofOrder == "tac-mac2",
		ProofSingleSlot: f.ProofSlots == "single",
		BalanceMax:      money.Fen(f.BalanceMax),
		Facts:           Facts{f.Known, f.NotKnown},
	}
	copy(c.Region[:], f.Levels.Region)
	for _, p := range f.ATR {
		c.ATRs = append(c.ATRs, ATRPattern{Value: p.Value, Mask: p.Mask})
	}
	if len(f.StatusWords) > 0 {
		c.StatusWords = apdu.Dialect{}
	}
	for _, s := range f.StatusWords {
		c.StatusWords[apdu.SW(s.Word)] = apdu.Meaning{Means: apdu.SW(s.Means), Text: s.Text}
	}
	return c
}

type fileFile struct {
	SFI    whole `yaml:"sfi"`
	Length whole `yaml:"length"`
}

type samApplicationFile struct {
	FID    hexBytes `yaml:"fid"`
	AID    hexBytes `yaml:"aid"`
	Info   fileFile `yaml:"info"`
	Levels []whole  `yaml:"levels"`
}

type samFile struct {
	Name        string              `yaml:"name"`
	Description string              `yaml:"description"`
	TestOnly    bool                `yaml:"test_only"`
	Serial      fileFile            `yaml:"serial"`
	Terminal    fileFile            `yaml:"terminal"`
	PSAM        *samApplicationFile `yaml:"psam"`
	LoadSAM     *samApplicationFile `yaml:"load_sam"`
	Known       []string            `yaml:"known"`
	NotKnown    []string            `yaml:"not_known"`
}

// The lengths are those of purse.md section 9.1; they are in the profile so
// that a file tells what it reads, and a length that the terminal could not
// parse is refused here.
const (
	samSerialLen   = 14
	samTerminalLen = 6
	samInfoLen     = 25
)

func (f *samFile) check(file string) (list []problem) {
	bad := func(path, format string, args ...any) {
		list = append(list, problem{path, fmt.Sprintf(format, args...)})
	}
	checkFile := func(path string, v fileFile, want whole) {
		if v.SFI < 1 || v.SFI > 30 {
			bad(path+".sfi", "%d, a short file identifier is 1 to 30", v.SFI)
		}
		if v.Length != want {
			bad(path+".length", "%d, it has %d bytes", v.Length, want)
		}
	}
	checkName(bad, file, f.Name, f.Description)
	checkFile("$.serial", f.Serial, samSerialLen)
	checkFile("$.terminal", f.Terminal, samTerminalLen)
	if f.PSAM == nil && f.LoadSAM == nil {
		bad("$", "neither psam nor load_sam")
	}
	for _, a := range []struct {
		path string
		app  *samApplicationFile
	}{{"$.psam", f.PSAM}, {"$.load_sam", f.LoadSAM}} {
		if a.app == nil {
			continue
		}
		switch {
		case (a.app.FID == nil) == (a.app.AID == nil):
			bad(a.path, "either fid or aid")
		case a.app.FID != nil && (len(a.app.FID) != 2 || a.app.FID[0] == 0 && a.app.FID[1] == 0):
			bad(a.path+".fid", "a file identifier has 2 bytes and is not 0000")
		case a.app.AID != nil && (len(a.app.AID) < 5 || len(a.app.AID) > 16):
			bad(a.path+".aid", "%d bytes, an AID has 5 to 16", len(a.app.AID))
		}
		checkFile(a.path+".info", a.app.Info, samInfoLen)
		if len(a.app.Levels) == 0 {
			bad(a.path+".levels", "it is missing")
		}
		for i, n := range a.app.Levels {
			at := fmt.Sprintf("%s.levels[%d]", a.path, i)
			switch {
			case n < 0 || n > 2:
				bad(at, "%d, 0 to 2 levels are possible", n)
			case n == 0 && !f.TestOnly:
				bad(at, "keys that are not diversified are for test_only profiles")
			case i > 0 && n <= a.app.Levels[i-1]:
				bad(at, "levels must ascend")
			}
		}
	}
	return list
}

func (f *samFile) sam() SAM {
	application := func(a *samApplicationFile) *SAMApplication {
		if a == nil {
			return nil
		}
		out := &SAMApplication{AID: a.AID, Info: a.Info.file()}
		for _, n := range a.Levels {
			out.Levels = append(out.Levels, int(n))
		}
		if len(a.FID) == 2 {
			out.FID = uint16(a.FID[0])<<8 | uint16(a.FID[1])
		}
		return out
	}
	return SAM{
		Name: f.Name, Description: f.Description, TestOnly: f.TestOnly,
		Serial: f.Serial.file(), Terminal: f.Terminal.file(),
		PSAM: application(f.PSAM), LoadSAM: application(f.LoadSAM), Facts: Facts{f.Known, f.NotKnown},
	}
}

func (f fileFile) file() File { return File{SFI: byte(f.SFI), Len: int(f.Length)} }

func checkName(bad func(path, format string, args ...any), file, name, description string) {
	if want := strings.TrimSuffix(path.Base(filepath.ToSlash(file)), ".yaml"); name != want {
		bad("$.name", "it is %q and must be the file's name, %q", name, want)
	}
	if description == "" {
		bad("$.description", "it is missing")
	}
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
