// Package profiles holds what differs between card operating systems and
// between readers, as data: card profiles for the purse, SAM profiles for the
// terminal's secure modules (purse.md sections 1 and 9), reader profiles
// (readers.md sections 5 and 7). A profile is a YAML file, with a recorded
// transcript beside it; the ones in cards/, sams/ and readers/ are built in, and
// a folder of a machine may have more, or others in their place.
//
// It may import apdu, suite and money. It must never speak to a card, and no
// key, PIN or password may ever be in a profile.
package profiles

import (
	"bytes"
	"path"
	"slices"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
)

// Card is the profile of one kind of purse card. Slices in it are shared by
// all copies: read them, never write.
type Card struct {
	Name        string // as in the file's name
	Description string
	TestOnly    bool // for benches and simulations; a real configuration refuses it

	AID  []byte       // name of the purse application, 5..16 bytes
	ATRs []ATRPattern // answers to reset for which the profile is meant; empty = any

	Suite            string // name of the cipher suite, "3des" (suite.Suite.Name)
	ED               bool   // the electronic deposit, P2 = 01, instead of the electronic purse, P2 = 02
	LoadKeyIndex     byte   // key index in INITIALIZE FOR LOAD
	PurchaseKeyIndex byte   // key index in INITIALIZE FOR PURCHASE

	// InfoSFI, HolderSFI and LogSFI are the short file identifiers of the
	// public application information, the holder's and the log (purse.md
	// section 3.1), 1..30.
	InfoSFI, HolderSFI, LogSFI byte
	InfoLayout                 InfoLayout

	// LoadLevels, PurchaseLevels and TACLevels are how many times each key
	// is diversified: 0 the card's own key is used directly (TestOnly
	// profiles only), 1 by the card's serial, 2 by Region and then by the
	// serial (purse.md section 1, setting 8).
	LoadLevels, PurchaseLevels, TACLevels int
	Region                                [8]byte // factor of the first of two levels; zero when there is none
	RegionFirst                           bool    // order of the factors in 80 70; false = serial first (setting 9)

	PINForLoad bool // VERIFY is needed before a load (setting 1)
	PINASCII   bool // PIN as ASCII digits; false = BCD padded with F (setting 14)

	LogCounterPost  bool // the log holds the counter after the increment (setting 2)
	UnifiedCounters bool // one counter for load and purchase (setting 3)
	ProofTACFirst   bool // GET TRANSACTION PROVE answers TAC ‖ MAC2; false = MAC2 ‖ TAC (setting 4)
	ProofSingleSlot bool // the card keeps one proof for all types; false = one for each type (section 7.10). For information: terminals ask before any new transaction either way

	StatusWords apdu.Dialect // settings 5 to 7
	BalanceMax  money.Fen    // most that the purse may hold, in fen, 1..money.MaxPurse
	Facts
}

// Facts are what people should know of a profile, sentences each.
type Facts struct {
	Known    []string // and from where
	NotKnown []string
}

// InfoLayout is the layout of the public application information, EF 15
// (purse.md sections 3.3 and 3.6). All have the card's serial at 12 and the
// validity at 20 and 24.
type InfoLayout string

// Layouts of EF 15.
const (
	LayoutPBOC30 InfoLayout = "pboc30" // 30 bytes
	LayoutMoHURD InfoLayout = "mohurd" // housing ministry's city cards, 30 bytes
	LayoutETC43  InfoLayout = "etc43"  // expressway cards, 43 bytes
)

// Size is the length of EF 15 in bytes.
func (l InfoLayout) Size() int {
	if l == LayoutETC43 {
		return 43
	}
	return 30
}

// Factors gives the diversification factors for a key of so many levels, in
// the order in which they are applied: region before card (purse.md section
// 4.4). levels is LoadLevels, PurchaseLevels or TACLevels; serial is the
// rightmost 8 bytes of the application serial number.
func (c Card) Factors(levels int, serial [8]byte) [][8]byte {
	switch levels {
	case 1:
		return [][8]byte{serial}
	case 2:
		return [][8]byte{c.Region, serial}
	}
	return nil
}

// SAMFactors gives the same factors as they stand in the data of 80 70, one
// after another in the profile's order (purse.md section 9.2).
func (c Card) SAMFactors(levels int, serial [8]byte) []byte {
	list := c.Factors(levels, serial)
	if !c.RegionFirst {
		slices.Reverse(list)
	}
	var b []byte
	for _, f := range list {
		b = append(b, f[:]...)
	}
	return b
}

// ATRPattern matches answers to reset of its own length: byte for byte where
// Mask has ones.
type ATRPattern struct {
	Value []byte
	Mask  []byte // as long as Value; nil = all ones
}

// Match reports whether atr fits the pattern.
func (p ATRPattern) Match(atr []byte) bool {
	if len(atr) != len(p.Value) {
		return false
	}
	for i, v := range p.Value {
		m := byte(0xFF)
		if p.Mask != nil {
			m = p.Mask[i]
		}
		if (atr[i]^v)&m != 0 {
			return false
		}
	}
	return true
}

// File is an elementary file read with READ BINARY by its short identifier.
type File struct {
	SFI byte // 1..30
	Len int  // bytes, 1..255
}

// SAM is the profile of one kind of secure module. One SAM card may carry
// both applications.
type SAM struct {
	Name        string
	Description string
	TestOnly    bool

	Serial   File            // in the MF: serial number, version, type, issuer data (purse.md section 9.1)
	Terminal File            // in the MF: the terminal number
	PSAM     *SAMApplication // nil when the card has none
	LoadSAM  *SAMApplication // nil when the card has none
	Facts
}

// SAMApplication is where a SAM keeps one of its applications.
type SAMApplication struct {
	FID    uint16 // file identifier to select, 0 when AID is set
	AID    []byte // name to select, nil when FID is set
	Info   File   // key index, issuer, user, validity (purse.md section 9.1)
	Levels []int  // the levels for which it holds a master key (usage byte, section 9.4); ascending
}

// Select is the command that selects the application.
func (a SAMApplication) Select() apdu.Command {
	if a.AID != nil {
		return apdu.Command{INS: 0xA4, P1: 0x04, Data: a.AID, Ne: apdu.MaxShortNe}
	}
	return apdu.Command{INS: 0xA4, Data: []byte{byte(a.FID >> 8), byte(a.FID)}, Ne: apdu.MaxShortNe}
}

// Set is all profiles that a terminal knows, by file name.
type Set struct {
	Cards   []Card
	SAMs    []SAM
	Readers []Reader

	sources map[string]source // by kind/name
}

// Current is the set itself, so that it can stand where a Folder does.
func (s *Set) Current() *Set { return s }

// Names lists the profiles of a kind.
func (s *Set) Names(k Kind) []string {
	var list []string
	for key := range s.sources {
		if path.Dir(key) == string(k) {
			list = append(list, path.Base(key))
		}
	}
	slices.Sort(list)
	return list
}

// Origin tells where a profile comes from: BuiltIn or the path of its file; ""
// when there is none of that name.
func (s *Set) Origin(k Kind, name string) string { return s.sources[path.Join(string(k), name)].origin }

// Text is a profile as it was written, nil when there is none of that name.
func (s *Set) Text(k Kind, name string) []byte { return s.sources[path.Join(string(k), name)].text }

// Transcript is what was recorded of one that a profile is for, in the trace
// format; nil when nothing was.
func (s *Set) Transcript(k Kind, name string) []byte {
	return s.sources[path.Join(string(k), name)].transcript
}

// Card gives the card profile of that name.
func (s *Set) Card(name string) (Card, bool) {
	return find(s.Cards, func(c Card) bool { return c.Name == name })
}

// CardByAID gives the card profile for a purse application; no two profiles
// of a set have the same.
func (s *Set) CardByAID(aid []byte) (Card, bool) {
	return find(s.Cards, func(c Card) bool { return bytes.Equal(c.AID, aid) })
}

// SAM gives the SAM profile of that name.
func (s *Set) SAM(name string) (SAM, bool) {
	return find(s.SAMs, func(p SAM) bool { return p.Name == name })
}

// MatchCards gives the profiles to probe on a card with that answer to
// reset, by selecting their applications in this order: first those that
// name such an answer, then those that name none. Profiles that name other
// answers only are left out.
func (s *Set) MatchCards(atr []byte) []Card {
	var named, any []Card
	for _, c := range s.Cards {
		switch {
		case len(c.ATRs) == 0:
			any = append(any, c)
		case slices.ContainsFunc(c.ATRs, func(p ATRPattern) bool { return p.Match(atr) }):
			named = append(named, c)
		}
	}
	return append(named, any...)
}

func find[T any](list []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], true
	}
	var none T
	return none, false
}
