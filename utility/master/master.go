// Package master is what the utility knows of its shops, cards and terminals:
// a fold of the head-office records of its log, kept in memory. It holds no
// balance.
//
// It may import record, journal, money and wire. It does no I/O.
package master

import (
	"crypto/ed25519"
	"maps"
	"sort"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/wire"
)

// Kinds are the kinds of record that Apply takes.
var Kinds = []record.Kind{
	record.KindEnrolled, record.KindShop, record.KindFloat, record.KindCommission, record.KindBill,
	record.KindCards, record.KindBlockCard, record.KindCode, record.KindPolicy, record.KindLimits,
	record.KindBlockTerminal, record.KindSuspense, record.KindFork, record.KindCardAsked, record.KindReplaced,
}

// Terminal is an enrolled terminal.
type Terminal struct {
	ID      money.TerminalID
	Current uint32            // the epoch that new entries belong to
	Epochs  map[uint32]*Epoch // every epoch's entries are still taken
	Blocked bool
}

// Now is the current epoch.
func (t *Terminal) Now() *Epoch { return t.Epochs[t.Current] }

// Epoch is one enrolment.
type Epoch struct {
	Shop          money.ShopID
	PSAM, LoadSAM money.SAMID
	Key           ed25519.PublicKey // of its records
}

// Replacement is a request to replace a card that can't be read.
type Replacement struct {
	Name journal.Name // of the CardRequest: the number on the customer's slip
	Card money.CardNumber
	Shop money.ShopID
	At   int64 // when it was asked for, ms since 1970
}

// Data is the fold. Its zero value is empty. It is guarded by its owner.
type Data struct {
	Shops     map[money.ShopID]record.Shop
	Ranges    []record.Cards // sorted, never overlapping
	Blocked   map[money.CardNumber]bool
	Codes     map[record.Hash]record.Code // not yet used
	Terminals map[money.TerminalID]*Terminal
	Policies  map[money.TerminalID]record.Policy
	Limits    map[money.TerminalID]wire.Limits // zero terminal: all others
	Frozen    map[money.TerminalID]bool        // two entries of one name were signed
	Forks     map[journal.Hash]bool            // heads of such batches
	Number    uint64                           // of the last head-office record that posts

	Replacements map[journal.Name]Replacement // asked for and not yet carried out

	// Versions of what goes down: the line that last changed it.
	HotlistAt, LimitsAt, RangesAt uint64
	HotlistTime                   int64 // of that line, ms since 1970
}

// New gives an empty fold.
func New() *Data {
	return &Data{
		Shops: map[money.ShopID]record.Shop{}, Blocked: map[money.CardNumber]bool{},
		Codes: map[record.Hash]record.Code{}, Terminals: map[money.TerminalID]*Terminal{},
		Policies: map[money.TerminalID]record.Policy{}, Limits: map[money.TerminalID]wire.Limits{},
		Frozen: map[money.TerminalID]bool{}, Forks: map[journal.Hash]bool{},
		Replacements: map[journal.Name]Replacement{},
	}
}

// Apply takes the next record; kinds that are not master data change nothing.
func (d *Data) Apply(l record.Line) error {
	rec, err := record.Decode(l)
	if err != nil {
		return err
	}
	switch r := rec.(type) {
	case *record.Shop:
		d.Shops[r.Shop] = *r
	case *record.Float:
		d.Number = r.No
	case *record.Bill:
		d.Number = r.No
	case *record.Suspense:
		d.Number = r.No
	case *record.Cards:
		d.Ranges = append(d.Ranges, *r)
		sort.Slice(d.Ranges, func(i, j int) bool { return string(d.Ranges[i].From[:]) < string(d.Ranges[j].From[:]) })
		d.RangesAt = l.ID
	case *record.BlockCard:
		if r.Blocked {
			d.Blocked[r.Card] = true
		} else {
			delete(d.Blocked, r.Card)
			maps.DeleteFunc(d.Replacements, func(_ journal.Name, x Replacement) bool { return x.Card == r.Card })
		}
		d.HotlistAt, d.HotlistTime = l.ID, l.At
	case *record.CardAsked:
		if q := &r.Question; r.Answer.Refused == wire.OK {
			if !d.Blocked[q.Request.Card] {
				d.Blocked[q.Request.Card] = true
				d.HotlistAt, d.HotlistTime = l.ID, l.At
			}
			if q.Request.Wish == journal.WishReplace {
				d.Replacements[q.Name] = Replacement{Name: q.Name, Card: q.Request.Card, Shop: r.Shop, At: l.At}
			}
		}
	case *record.Replaced:
		d.Number = r.No
		delete(d.Replacements, r.Request)
	case *record.Code:
		d.Codes[r.Hash] = *r
	case *record.Policy:
		d.Policies[r.Terminal] = *r
	case *record.Limits:
		d.Limits[r.Terminal] = r.Limits
		d.LimitsAt = l.ID
	case *record.BlockTerminal:
		if t := d.Terminals[r.Terminal]; t != nil {
			t.Blocked = r.Blocked
		}
		if !r.Blocked {
			delete(d.Frozen, r.Terminal)
		}
		d.LimitsAt = l.ID
	case *record.Enrolled:
		delete(d.Codes, r.CodeHash)
		t := d.Terminals[r.Terminal]
		if t == nil {
			t = &Terminal{ID: r.Terminal, Epochs: map[uint32]*Epoch{}}
			d.Terminals[r.Terminal] = t
		}
		t.Current = r.Epoch
		t.Epochs[r.Epoch] = &Epoch{r.Shop, r.PSAM, r.LoadSAM, r.Key}
		delete(d.Frozen, r.Terminal) // head office gave a new code: reviewed
		d.RangesAt, d.LimitsAt = l.ID, l.ID
	case *wire.Batch:
		if l.Kind == record.KindFork {
			d.Forks[r.Head] = true
			// What contradicts an earlier epoch was reviewed when head office
			// gave the code for the present one.
			if t := d.Terminals[r.Terminal]; t != nil && t.Current == r.Epoch {
				d.Frozen[r.Terminal] = true
				d.LimitsAt = l.ID
			}
		}
	}
	return nil
}

// Range finds the run that a card belongs to.
func (d *Data) Range(n money.CardNumber) (record.Cards, bool) {
	i := sort.Search(len(d.Ranges), func(i int) bool { return string(d.Ranges[i].To[:]) >= string(n[:]) })
	if i < len(d.Ranges) && string(d.Ranges[i].From[:]) <= string(n[:]) {
		return d.Ranges[i], true
	}
	return record.Cards{}, false
}

// Overlaps reports whether a run shares a card with one that is known.
func (d *Data) Overlaps(from, to money.CardNumber) bool {
	for _, r := range d.Ranges {
		if string(r.From[:]) <= string(to[:]) && string(from[:]) <= string(r.To[:]) {
			return true
		}
	}
	return false
}

// LimitsOf gives the limits of a terminal; one without its selling right gets
// limits of nothing, which outlast a restart without a link.
func (d *Data) LimitsOf(t money.TerminalID, otherwise wire.Limits) wire.Limits {
	if !d.MaySell(t) {
		return wire.Limits{}
	}
	if l, ok := d.Limits[t]; ok {
		return l
	}
	if l, ok := d.Limits[money.TerminalID{}]; ok {
		return l
	}
	return otherwise
}

// MaySell reports whether the terminal has its selling right.
func (d *Data) MaySell(t money.TerminalID) bool {
	x := d.Terminals[t]
	return x != nil && !x.Blocked && !d.Frozen[t]
}

// Epoch gives an epoch of a terminal; false when it was never issued.
func (d *Data) Epoch(t money.TerminalID, epoch uint32) (*Epoch, bool) {
	x := d.Terminals[t]
	if x == nil {
		return nil, false
	}
	e, ok := x.Epochs[epoch]
	return e, ok
}
