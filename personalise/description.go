package personalise

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/dianka/dianka/internal/config"
)

// Kind is what a description makes.
type Kind string

// Kinds of cards. KindSAM is a PSAM and a load SAM on one card.
const (
	KindPurse   Kind = "purse"
	KindPSAM    Kind = "psam"
	KindLoadSAM Kind = "load-sam"
	KindSAM     Kind = "sam"
)

// MaxDescription bounds a description, in bytes.
const MaxDescription = 64 << 10

// Description is a card as data: directories, files and the names of keys.
// It holds no key.
type Description struct {
	Kind Kind `yaml:"kind"`
	// Profile is the card profile of a purse card, by which terminals and the
	// vault derive its keys. Other kinds have none.
	Profile string `yaml:"profile"`
	// Issuer is the institution code, 8 bytes; that of suite.TestIssuer with
	// test keys, and only with them.
	Issuer Hex `yaml:"issuer"`
	// Transport names the key that the maker has put into the card as its
	// control key. Without it the chip is blank.
	Transport string `yaml:"transport"`
	// Diversify are the factors of all keys, upper level first: "number" is
	// the right half of the card's or SAM's own number, 16 hex digits are
	// themselves.
	Diversify []Factor `yaml:"diversify"`
	MF        Dir      `yaml:"mf"`
	// Applications stand under the MF.
	Applications []Dir `yaml:"applications"`
}

// Dir is the MF or an application (purse.md section 11.1).
type Dir struct {
	ID     Hex   `yaml:"id"`   // of an application, 2 bytes
	Name   Hex   `yaml:"name"` // AID or name, 5 to 16 bytes; of the MF its transfer code
	Space  Hex   `yaml:"space"`
	Create Right `yaml:"create"`
	Erase  Right `yaml:"erase"`
	// Quotes is the application file id: of an application 80 + the file that
	// the answer to SELECT quotes, of the MF the file that lists them.
	Quotes  Hex      `yaml:"quotes"`
	KeyFile KeyFile  `yaml:"key_file"`
	Keys    []Key    `yaml:"keys"`
	Masters []Master `yaml:"masters"`
	Files   []File   `yaml:"files"`
}

// KeyFile holds the keys of a directory.
type KeyFile struct {
	Space Hex   `yaml:"space"`
	SFI   Hex   `yaml:"sfi"` // 1 byte, as in purse.md section 11.1
	Add   Right `yaml:"add"`
}

// Key is a key or PIN of a directory (purse.md section 11.3). Key names it;
// its bytes are elsewhere.
type Key struct {
	Type      string    `yaml:"type"`
	ID        byte      `yaml:"id"`
	Key       string    `yaml:"key"`
	Use       Right     `yaml:"use"`
	Change    Right     `yaml:"change"`
	Version   Hex       `yaml:"version"`
	Algorithm Hex       `yaml:"algorithm"`
	State     Hex       `yaml:"state"` // security state after it was used
	Tries     byte      `yaml:"tries"`
	Diversify *[]Factor `yaml:"diversify"`
}

// Master is a master key of a SAM application (purse.md section 9.4).
type Master struct {
	Use       string    `yaml:"use"`
	Levels    byte      `yaml:"levels"` // of the cards that it serves
	Version   Hex       `yaml:"version"`
	Algorithm Hex       `yaml:"algorithm"`
	Key       string    `yaml:"key"`
	Diversify *[]Factor `yaml:"diversify"` // default none: a master is written as it is
}

// File is an elementary file (purse.md section 11.1).
type File struct {
	ID      Hex    `yaml:"id"` // 2 bytes
	Type    string `yaml:"type"`
	Protect string `yaml:"protect"` // mac, or both for enciphered as well; of writes
	Size    int    `yaml:"size"`    // bytes; of a record file what its records need
	Count   byte   `yaml:"count"`
	Length  byte   `yaml:"length"`
	Read    Right  `yaml:"read"`
	Write   Right  `yaml:"write"`
	KeyByte Hex    `yaml:"key_byte"`
	TACKey  byte   `yaml:"tac_key"` // of a purse
	Log     byte   `yaml:"log"`     // of a purse, SFI of its log
	// Content is hex digits with {number}, {terminal} and {issuer} among
	// them. A file without content is left as the card makes it.
	Content Content   `yaml:"content"`
	Records []Content `yaml:"records"`
	// Counter means that the content is a number which only grows, so that a
	// card in service may hold a larger one.
	Counter bool `yaml:"counter"`
}

// Hex is bytes written as hex digits.
type Hex []byte

// UnmarshalYAML reads the text as written, so that 0015 and 1E02 are no
// numbers.
func (h *Hex) UnmarshalYAML(n ast.Node) error {
	t, err := scalar(n)
	if err != nil {
		return err
	}
	b, err := hex.DecodeString(strings.ReplaceAll(t, " ", ""))
	if err != nil || len(b) == 0 {
		return bad(n, "%q is not an even number of hex digits", t)
	}
	*h = b
	return nil
}

// Right is an access right XY (purse.md section 11.2): a security state s
// satisfies it when Y ≤ s ≤ X.
type Right struct {
	Given bool
	Byte  byte
}

// UnmarshalYAML reads two hex digits, or "always" and "never".
func (r *Right) UnmarshalYAML(n ast.Node) error {
	t, err := scalar(n)
	if err != nil {
		return err
	}
	switch t {
	case "always":
		*r = Right{true, 0xF0}
		return nil
	case "never":
		*r = Right{true, 0xEF}
		return nil
	}
	b, err := hex.DecodeString(t)
	if err != nil || len(b) != 1 {
		return bad(n, "%q is no access right: two hex digits, always or never", t)
	}
	*r = Right{true, b[0]}
	return nil
}

// open reports a right that a card grants without any authentication, and
// never one that it grants to nobody.
func (r Right) open() bool  { return r.Byte&0x0F == 0 }
func (r Right) never() bool { return r.Byte&0x0F > r.Byte>>4 }

// Factor is one level of diversification.
type Factor struct {
	Number bool
	Fixed  [8]byte
}

// UnmarshalYAML reads "number" or 16 hex digits.
func (f *Factor) UnmarshalYAML(n ast.Node) error {
	t, err := scalar(n)
	if err != nil {
		return err
	}
	if t == "number" {
		*f = Factor{Number: true}
		return nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(t, " ", ""))
	if err != nil || len(b) != 8 {
		return bad(n, "%q is no factor: number, or 16 hex digits", t)
	}
	*f = Factor{Fixed: [8]byte(b)}
	return nil
}

// Content is a template of bytes.
type Content []part

// part is bytes, or the name of what stands there.
type part struct {
	bytes []byte
	name  string
}

// fields are what a content may name, with lengths in bytes.
var fields = map[string]int{"number": 10, "terminal": 6, "issuer": 8}

var fieldAt = regexp.MustCompile(`\{[^{}]*\}`)

// UnmarshalYAML reads hex digits and fields.
func (c *Content) UnmarshalYAML(n ast.Node) error {
	t, err := scalar(n)
	if err != nil {
		return err
	}
	*c = Content{}
	add := func(s string) error {
		b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
		if err != nil {
			return bad(n, "%q is not an even number of hex digits, {number}, {terminal} or {issuer}", strings.TrimSpace(s))
		}
		if len(b) > 0 {
			*c = append(*c, part{bytes: b})
		}
		return nil
	}
	at := 0
	for _, m := range fieldAt.FindAllStringIndex(t, -1) {
		if err := add(t[at:m[0]]); err != nil {
			return err
		}
		name := t[m[0]+1 : m[1]-1]
		if fields[name] == 0 {
			return bad(n, "there is no field {%s}: {number}, {terminal} and {issuer} are", name)
		}
		*c = append(*c, part{name: name})
		at = m[1]
	}
	if err := add(t[at:]); err != nil {
		return err
	}
	if len(*c) == 0 {
		return bad(n, "a content of no bytes")
	}
	return nil
}

func (c Content) len() (n int) {
	for _, p := range c {
		n += len(p.bytes) + fields[p.name]
	}
	return n
}

// offset is where a field stands, or -1.
func (c Content) offset(name string) int {
	n := 0
	for _, p := range c {
		if p.name == name {
			return n
		}
		n += len(p.bytes) + fields[p.name]
	}
	return -1
}

// scalar gives the text of a value as it was written.
func scalar(n ast.Node) (string, error) {
	switch v := n.(type) {
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode:
		return "", bad(n, "tags, anchors and aliases have no place here")
	case *ast.LiteralNode:
		return strings.TrimSpace(v.Value.Value), nil
	}
	if _, ok := n.(ast.ScalarNode); !ok || n.GetToken() == nil {
		return "", bad(n, "one value is wanted here")
	}
	return strings.TrimSpace(n.GetToken().Value), nil
}

// bad is an error with the line of its value.
func bad(n ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: n.GetToken()}
}

// Parse reads a description: strictly, with line and column of what is wrong.
// It fails with config.ErrFile, wrapped.
func Parse(b []byte) (*Description, error) {
	if len(b) > MaxDescription {
		return nil, fmt.Errorf("%w: longer than %d bytes", config.ErrFile, MaxDescription)
	}
	d := &Description{}
	if err := config.Parse(b, d); err != nil {
		return nil, err
	}
	tree, err := parser.ParseBytes(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")), 0)
	if err != nil || len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, fmt.Errorf("%w: one YAML document is wanted", config.ErrFile)
	}
	c := checker{tree: tree}
	c.description(d)
	if len(c.errs) > 0 {
		return nil, fmt.Errorf("%w: %w", config.ErrFile, errors.Join(c.errs...))
	}
	return d, nil
}

// Types of keys (purse.md section 4.3), and what stands behind their rights.
type keyType struct {
	code    byte
	counted bool // an error counter
	state   bool // a follow-on state
}

var keyTypes = map[string]keyType{
	"internal": {code: 0x30}, "internal-decrypt": {code: 0x31}, "internal-mac": {code: 0x32},
	"tac": {code: 0x34}, "line": {code: 0x36, counted: true}, "pin-unblock": {code: 0x37, counted: true}, "pin-reload": {code: 0x38, counted: true},
	"control": {code: 0x39, counted: true, state: true}, "pin": {code: 0x3A, counted: true, state: true},
	"overdraft": {code: 0x3C}, "unload": {code: 0x3D}, "purchase": {code: 0x3E}, "load": {code: 0x3F},
}

// Uses of master keys (purse.md section 9.4); allowance is ours
// (suite/loadsam.go).
var masterUses = map[string]byte{"purchase": 0x02, "tac": 0x04, "allowance": 0x06, "load": 0x09}

var fileTypes = map[string]byte{"binary": 0x28, "fixed": 0x2A, "variable": 0x2C, "cyclic": 0x2E, "purse": 0x2F}

// noKeyName quotes nothing: what stands there may be a key.
const noKeyName = "no name of a key; keys are named here, small letters, digits and hyphens, and stand in the vault or in a file of keys"

var keyName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// checker collects what is wrong with values that YAML accepts.
type checker struct {
	tree *ast.File
	errs []error
}

// bad notes a value at a path such as "$.mf.keys[0]".
func (c *checker) bad(path, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("line %d: %s: %s", c.line(path), strings.TrimPrefix(path, "$."), fmt.Sprintf(format, args...)))
}

// line finds the line of a path; what is missing has the line of the nearest
// that would hold it.
func (c *checker) line(path string) int {
	for at := path; at != "$"; at = at[:strings.LastIndexAny(at, ".[")] {
		p, err := yaml.PathString(at)
		if err != nil {
			continue
		}
		if n, err := p.FilterFile(c.tree); err == nil && n != nil && n.GetToken() != nil {
			return n.GetToken().Position.Line
		}
	}
	return 1
}

func (c *checker) description(d *Description) {
	switch d.Kind {
	case KindPurse:
		if d.Profile == "" {
			c.bad("$.profile", "a purse card needs the name of its card profile")
		}
	case KindPSAM, KindLoadSAM, KindSAM:
		if d.Profile != "" {
			c.bad("$.profile", "a SAM has no card profile")
		}
	default:
		c.bad("$.kind", "%q is none of purse, psam, load-sam, sam", d.Kind)
	}
	if len(d.Issuer) != 8 {
		c.bad("$.issuer", "it has 8 bytes")
	}
	if d.Transport != "" && !keyName.MatchString(d.Transport) {
		c.bad("$.transport", noKeyName)
	}
	if len(d.Diversify) > 3 {
		c.bad("$.diversify", "there are at most three levels")
	}
	c.mf(d)
	if len(d.Applications) == 0 || len(d.Applications) > 7 {
		c.bad("$.applications", "one to seven are wanted")
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for i := range d.Applications {
		at := fmt.Sprintf("$.applications[%d]", i)
		a := &d.Applications[i]
		if len(a.ID) != 2 || a.ID[0] == 0x3F && a.ID[1] == 0x00 || ids[string(a.ID)] {
			c.bad(at+".id", "an application has a file identifier of its own, 2 bytes")
		}
		if len(a.Name) < 5 || len(a.Name) > 16 || names[string(a.Name)] {
			c.bad(at+".name", "an application has a name of its own, 5 to 16 bytes")
		}
		ids[string(a.ID)], names[string(a.Name)] = true, true
		c.made(at, a)
		c.dir(at, a)
	}
	if _, ok := d.numberAt(); !ok {
		c.bad("$.applications", "{number} must stand in a binary file that everybody may read: by it a half-written card is known")
	}
	c.kind(d)
}

// mf checks the master file, which a card with a transport key has already.
func (c *checker) mf(d *Description) {
	m := &d.MF
	if len(m.ID) != 0 {
		c.bad("$.mf.id", "the master file's is 3F00")
	}
	if len(m.Masters) > 0 {
		c.bad("$.mf.masters", "master keys stand in applications")
	}
	if d.Transport == "" {
		if len(m.Name) < 5 || len(m.Name) > 16 {
			c.bad("$.mf.name", "the master file has a transfer code of 5 to 16 bytes")
		}
		c.made("$.mf", m)
	} else {
		if m.Name != nil || m.Space != nil || m.Create.Given || m.Erase.Given || m.Quotes != nil || m.KeyFile.Space != nil {
			c.bad("$.mf", "with a transport key the maker has made the master file and its key file: only keys and files are told here")
		}
		if m.control() == nil {
			c.bad("$.mf.keys", "with a transport key a control key of number 0 must take its place")
		}
	}
	c.dir("$.mf", m)
}

// made checks what CREATE FILE of a directory and of its key file needs.
func (c *checker) made(at string, m *Dir) {
	if len(m.Space) != 2 {
		c.bad(at+".space", "it has 2 bytes")
	}
	if len(m.Quotes) != 1 {
		c.bad(at+".quotes", "it has 1 byte")
	}
	for _, r := range []struct {
		name  string
		right Right
	}{{"create", m.Create}, {"erase", m.Erase}, {"key_file.add", m.KeyFile.Add}} {
		if !r.right.Given {
			c.bad(at+"."+r.name, "the right is missing")
		}
	}
	if len(m.KeyFile.Space) != 2 || len(m.KeyFile.SFI) != 1 {
		c.bad(at+".key_file", "space has 2 bytes and sfi 1")
	}
}

func (c *checker) dir(at string, m *Dir) {
	seen := map[string]bool{}
	for i := range m.Keys {
		k, at := &m.Keys[i], fmt.Sprintf("%s.keys[%d]", at, i)
		t, ok := keyTypes[k.Type]
		if !ok {
			c.bad(at+".type", "%q is no type of key", k.Type)
			continue
		}
		id := fmt.Sprint(t.code, k.ID)
		if k.Type == "line" || k.Type == "pin-reload" {
			id = k.Type // one of them in a directory
		}
		if seen[id] {
			c.bad(at, "a second key of this type and number")
		}
		seen[id] = true
		if !keyName.MatchString(k.Key) {
			c.bad(at+".key", noKeyName)
		}
		if !k.Use.Given || (!k.Change.Given && k.Type != "pin") {
			c.bad(at, "the rights use and change are wanted")
		}
		if t.counted != (k.Tries != 0) || k.Tries > 15 {
			c.bad(at, "tries are 1 to 15, of control, line, pin-unblock, pin-reload and pin only")
		}
		if t.state != (len(k.State) == 1) {
			c.bad(at, "control and pin have a state of one byte, and no others")
		}
		if t.counted == (len(k.Version) == 1) || t.counted == (len(k.Algorithm) == 1) {
			c.bad(at, "version and algorithm are one byte each, and keys with tries have none")
		}
		if k.Diversify != nil && (len(*k.Diversify) > 3 || k.Type == "pin") {
			c.bad(at+".diversify", "there are at most three levels, and a PIN has none")
		}
	}
	for i := range m.Masters {
		k, at := &m.Masters[i], fmt.Sprintf("%s.masters[%d]", at, i)
		if masterUses[k.Use] == 0 {
			c.bad(at+".use", "%q is none of purchase, load, tac, allowance", k.Use)
		}
		if k.Levels > 3 {
			c.bad(at+".levels", "there are at most three levels")
		}
		if len(k.Version) != 1 || len(k.Algorithm) != 1 {
			c.bad(at, "version and algorithm are one byte each")
		}
		if !keyName.MatchString(k.Key) {
			c.bad(at+".key", noKeyName)
		}
		if id := fmt.Sprint("m", k.Use, k.Version); seen[id] {
			c.bad(at, "a second master key of this use and version")
		} else {
			seen[id] = true
		}
	}
	if len(m.Masters) > 0 && m.control() == nil {
		c.bad(at+".masters", "master keys are written under a control key of number 0, which is missing here")
	}
	ids := map[string]bool{}
	for i := range m.Files {
		f, at := &m.Files[i], fmt.Sprintf("%s.files[%d]", at, i)
		c.file(at, m, f)
		if ids[string(f.ID)] {
			c.bad(at+".id", "a second file of this identifier")
		}
		ids[string(f.ID)] = true
	}
}

func (c *checker) file(at string, m *Dir, f *File) {
	if len(f.ID) != 2 || binary.BigEndian.Uint16(f.ID) == 0 || f.ID[0] != 0 || f.ID[1] > 0x1E {
		c.bad(at+".id", "files have the identifiers 0001 to 001E, which are short ones too")
	}
	if fileTypes[f.Type] == 0 {
		c.bad(at+".type", "%q is none of binary, fixed, variable, cyclic, purse", f.Type)
		return
	}
	records, purse := f.Type == "fixed" || f.Type == "cyclic", f.Type == "purse"
	if !f.Read.Given || f.Write.Given == purse {
		c.bad(at, "the rights read and write are wanted, of a purse read alone")
	}
	if !slices.Contains([]string{"", "mac", "both"}, f.Protect) || purse && f.Protect != "" {
		c.bad(at+".protect", "it is mac or both, and not of a purse")
	}
	if f.Protect != "" && m.line() == nil {
		c.bad(at+".protect", "the directory has no line key")
	}
	if len(f.KeyByte) > 1 || f.KeyByte != nil && purse {
		c.bad(at+".key_byte", "it has 1 byte, and a purse has none")
	}
	if records != (f.Count != 0 && f.Length != 0) || records == (f.Size != 0) && !purse || purse && (f.Size != 0 || f.Count != 0) {
		c.bad(at, "binary and variable files have a size, fixed and cyclic ones count and length")
	}
	if f.Size < 0 || f.Size > math.MaxUint16 {
		c.bad(at+".size", "1 to 65535 bytes")
	}
	if !purse && (f.TACKey != 0 || f.Log != 0) || f.Log > 30 {
		c.bad(at, "tac_key and log are of a purse, log 1 to 30")
	}
	if f.Content != nil && (f.Type != "binary" || f.Content.len() > f.Size || f.Content.len() > 0xFF-8) {
		c.bad(at+".content", "%d bytes; it stands in a binary file, fills it at most, and has 247 bytes at most", f.Content.len())
	}
	if f.Counter && (f.Content.len() == 0 || f.Content.len() > 8) {
		c.bad(at+".counter", "a counter has a content of 1 to 8 bytes")
	}
	if f.Records != nil && (f.Type != "fixed" || len(f.Records) > int(f.Count)) {
		c.bad(at+".records", "records stand in a fixed file, no more than it has room for")
	}
	for i, r := range f.Records {
		if r.len() != int(f.Length) {
			c.bad(fmt.Sprintf("%s.records[%d]", at, i), "%d bytes, not %d", r.len(), f.Length)
		}
	}
}

// kind holds what a kind must have, so that it can be told and proved.
func (c *checker) kind(d *Description) {
	has := func(what string, test func(*Dir) bool) {
		if !slices.ContainsFunc(d.Applications, func(a Dir) bool { return test(&a) }) {
			c.bad("$.applications", "a %s needs %s", d.Kind, what)
		}
	}
	// issued reports a file with the issuer at its place: by it real cards
	// and test cards are told from each other.
	issued := func(a *Dir, id byte, at int) bool {
		return slices.ContainsFunc(a.Files, func(f File) bool { return len(f.ID) == 2 && f.ID[1] == id && f.Content.offset("issuer") == at })
	}
	master := func(a *Dir, use string) bool {
		return slices.ContainsFunc(a.Masters, func(m Master) bool { return m.Use == use })
	}
	switch d.Kind {
	case KindPurse:
		has("an application with a purse, and the {issuer} at the beginning of the file that it quotes", func(a *Dir) bool {
			return len(a.Quotes) == 1 && issued(a, a.Quotes[0]&0x1F, 0) && slices.ContainsFunc(a.Files, func(f File) bool { return f.Type == "purse" })
		})
	case KindPSAM, KindLoadSAM, KindSAM:
		if d.Kind != KindLoadSAM {
			has("an application with a purchase master, and the {issuer} behind the first byte of its file 0017", func(a *Dir) bool { return master(a, "purchase") && issued(a, 0x17, 1) })
		}
		if d.Kind != KindPSAM {
			has("an application with load, tac and allowance masters, and the {issuer} behind the first byte of its file 0017", func(a *Dir) bool {
				return master(a, "load") && master(a, "tac") && master(a, "allowance") && issued(a, 0x17, 1)
			})
		}
	}
}

func (m *Dir) control() *Key { return m.key("control") }
func (m *Dir) line() *Key    { return m.key("line") }

// key gives the key of a type that the card uses by itself: the control key of
// number 0, the only line key.
func (m *Dir) key(typ string) *Key {
	i := slices.IndexFunc(m.Keys, func(k Key) bool { return k.Type == typ && (k.ID == 0 || typ == "line") })
	if i < 0 {
		return nil
	}
	return &m.Keys[i]
}

// where is a place in a file. dir is -1 for the MF, else an application.
type where struct {
	dir    int
	sfi    byte
	offset int
}

// numberAt is where a card's own number can be read: in the MF when it stands
// there too, since that is written first.
func (d *Description) numberAt() (where, bool) {
	for i := -1; i < len(d.Applications); i++ {
		for _, f := range d.dirAt(i).Files {
			if at := f.Content.offset("number"); at >= 0 && f.Read.open() && len(f.ID) == 2 {
				return where{i, f.ID[1] & 0x1F, at}, true
			}
		}
	}
	return where{}, false
}

// dirAt is the MF for -1, else an application.
func (d *Description) dirAt(i int) *Dir {
	if i < 0 {
		return &d.MF
	}
	return &d.Applications[i]
}

// Terminal reports whether a card of this description carries a terminal
// number.
func (d *Description) Terminal() bool {
	for i := -1; i < len(d.Applications); i++ {
		for _, f := range d.dirAt(i).Files {
			for _, c := range append([]Content{f.Content}, f.Records...) {
				if c.offset("terminal") >= 0 {
					return true
				}
			}
		}
	}
	return false
}
