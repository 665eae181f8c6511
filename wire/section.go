package wire

import (
	"fmt"
	"sort"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// SectionKind is one part of what comes down from the utility. Each part is
// sealed and versioned by itself, replaceable, and no part of the journal.
type SectionKind uint8

// Kinds of section.
const (
	SectionHotlist  SectionKind = 1 // cards that may not be used
	SectionLimits   SectionKind = 2 // what this terminal may do
	SectionRanges   SectionKind = 3 // cards that this shop may sell
	SectionAccounts SectionKind = 4 // bills of the neighbourhood
	SectionItems    SectionKind = 5 // open items: ask these cards for proof
	SectionFloat    SectionKind = 6 // what this terminal's shop may still give out; sent only to who names it in Hello, with version 0 at first
)

// LastSection is the highest kind that this program knows.
const LastSection = SectionFloat

// Section heads every section; What of its Sealed is "section".
type Section struct {
	Kind     SectionKind
	Version  uint64           // grows; a terminal never takes an older one
	Terminal money.TerminalID // whom it is for; zero means everybody
	Issued   int64            // ms since 1970, for the age that a screen shows
	Hotlist  Hotlist
	Limits   Limits
	Ranges   []Range
	Accounts []Bill
	Items    []Item
	Float    Float
}

func (m *Section) Fields(c *canon.Codec) {
	canon.U8(c, &m.Kind)
	canon.U64(c, &m.Version)
	canon.Fixed(c, m.Terminal[:])
	canon.I64(c, &m.Issued)
	switch m.Kind {
	case SectionHotlist:
		canon.List(c, (*[]money.CardNumber)(&m.Hotlist), MaxHotlist, 10, func(c *canon.Codec, n *money.CardNumber) { canon.Fixed(c, n[:]) })
		if c.Reading() && !m.Hotlist.sorted() {
			c.Fail(fmt.Errorf("%w: the hotlist is not sorted", ErrMessage)) // Has would miss blocked cards
		}
	case SectionLimits:
		m.Limits.fields(c)
	case SectionRanges:
		canon.List(c, &m.Ranges, MaxRanges, 29, func(c *canon.Codec, r *Range) { r.fields(c) })
	case SectionAccounts:
		canon.List(c, &m.Accounts, MaxAccounts, 26, func(c *canon.Codec, b *Bill) { b.fields(c) })
	case SectionItems:
		canon.List(c, &m.Items, MaxOpenItems, 40, func(c *canon.Codec, i *Item) { i.fields(c) })
	case SectionFloat:
		m.Float.fields(c)
	default:
		c.Fail(ErrMessage)
	}
}

// Float is what a shop may still give out, in fen (DESIGN section 4), as of
// the last entry of the terminal that the utility had stored then.
type Float struct {
	Balance  money.Fen // prepaid; negative: on credit
	Ceiling  money.Fen // how far below zero the utility lets it go
	Reserved money.Fen // MAC2 given on line, not paid yet
	Allowed  money.Fen // allowances outstanding of all load SAMs of the shop
	Own      money.Fen // of those, that of this terminal
	Epoch    uint32    // of the terminal's last entry in these figures
	Seq      uint64    // 0: none of that epoch
}

// Left is what this terminal alone could still sell: the shop's room, and the
// allowance that was taken out of the room for it.
func (m Float) Left() money.Fen { return m.Balance + m.Ceiling - m.Reserved - m.Allowed + m.Own }

func (m *Float) fields(c *canon.Codec) {
	for _, f := range []*money.Fen{&m.Balance, &m.Ceiling, &m.Reserved, &m.Allowed, &m.Own} {
		canon.I64(c, f)
	}
	canon.U32(c, &m.Epoch)
	canon.U64(c, &m.Seq)
}

// Hotlist is a list of blocked cards, in ascending order without repetitions;
// in any other order it is not decoded.
type Hotlist []money.CardNumber

func (h Hotlist) sorted() bool {
	for i := 1; i < len(h); i++ {
		if string(h[i-1][:]) >= string(h[i][:]) {
			return false
		}
	}
	return true
}

// Has reports whether the card is blocked.
func (h Hotlist) Has(n money.CardNumber) bool {
	i := sort.Search(len(h), func(i int) bool { return string(h[i][:]) >= string(n[:]) })
	return i < len(h) && h[i] == n
}

// Limits are what a terminal may do, signed by the utility. Amounts in fen,
// ages in seconds; a zero amount forbids. Defaults: field.md section 2.1.
type Limits struct {
	TopUpMin        money.Fen // of any top-up
	TopUpMax        money.Fen // of an on-line top-up
	OfflineTopUpMax money.Fen // of an off-line top-up, default 100.00 yuan
	CardDayMax      money.Fen // cash top-ups of one card in one day at this terminal, default 200.00 yuan
	UnnamedMax      money.Fen // balance of an unnamed card, default 1000.00 yuan
	NamedMax        money.Fen // balance of a named card, default 5000.00 yuan
	RedeemMax       money.Fen // of one redemption
	UnsentMax       money.Fen // value of unsent top-ups, default 2000.00 yuan
	UnsentWarn      uint32    // unsent entries to warn at, default 500
	UnsentStop      uint32    // unsent entries to stop at, default 1000
	UnsentAgeWarn   uint32    // seconds, default 24 h
	UnsentAgeStop   uint32    // seconds, default 72 h
	CardOfflineSoft uint32    // consecutive off-line loads of one card: go on line if possible, default 1
	CardOfflineHard uint32    // refuse beyond, default 2
	HotlistWarn     uint32    // seconds, default 24 h
	HotlistStop     uint32    // seconds, default 72 h: stop redeeming
	VoidWindow      uint32    // seconds, default 30 min
	CardDeposit     money.Fen // price of a card, default 0
}

func (m *Limits) fields(c *canon.Codec) {
	for _, f := range []*money.Fen{&m.TopUpMin, &m.TopUpMax, &m.OfflineTopUpMax, &m.CardDayMax, &m.UnnamedMax, &m.NamedMax, &m.RedeemMax, &m.UnsentMax} {
		canon.I64(c, f)
	}
	for _, u := range []*uint32{&m.UnsentWarn, &m.UnsentStop, &m.UnsentAgeWarn, &m.UnsentAgeStop, &m.CardOfflineSoft, &m.CardOfflineHard, &m.HotlistWarn, &m.HotlistStop, &m.VoidWindow} {
		canon.U32(c, u)
	}
	canon.I64(c, &m.CardDeposit)
}

// DefaultLimits are those of field.md sections 0 and 2.1.
func DefaultLimits() Limits {
	return Limits{
		TopUpMin: 10_00, TopUpMax: 1000_00, OfflineTopUpMax: 100_00, CardDayMax: 200_00,
		UnnamedMax: 1000_00, NamedMax: 5000_00, RedeemMax: 5000_00,
		UnsentMax: 2000_00, UnsentWarn: 500, UnsentStop: 1000,
		UnsentAgeWarn: 24 * 3600, UnsentAgeStop: 72 * 3600,
		CardOfflineSoft: 1, CardOfflineHard: 2,
		HotlistWarn: 24 * 3600, HotlistStop: 72 * 3600,
		VoidWindow: 30 * 60,
	}
}

// Range is a run of card numbers, both ends included, that a shop may sell.
type Range struct {
	From, To money.CardNumber
	Named    bool  // the cards of this range are named cards
	Until    int64 // ms since 1970: may not refuse a recorded sale, only a new one; 0 = open
}

func (m *Range) fields(c *canon.Codec) {
	canon.Fixed(c, m.From[:])
	canon.Fixed(c, m.To[:])
	canon.Bool(c, &m.Named)
	canon.I64(c, &m.Until)
}

// Has reports whether n lies in the range.
func (m Range) Has(n money.CardNumber) bool {
	return string(m.From[:]) <= string(n[:]) && string(n[:]) <= string(m.To[:])
}

// Item is a transaction of some terminal that is not settled, so that
// whichever terminal sees the card asks it for the proof.
type Item struct {
	Name    journal.Name
	Card    money.CardNumber
	TxType  uint8
	Counter uint16 // before its increment
	Amount  money.Fen
	// Doubted says that the utility has it as not done, on a terminal's word
	// alone: the card's proof is worth a word, its silence is not.
	Doubted bool
}

func (m *Item) fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	canon.Fixed(c, m.Card[:])
	canon.U8(c, &m.TxType)
	canon.U16(c, &m.Counter)
	canon.I64(c, &m.Amount)
	canon.Bool(c, &m.Doubted)
}
