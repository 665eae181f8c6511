// Package storage is the one interface between the utility and its database.
// Its verbs are whole batches, so that each engine does its own set
// operations; the conformance suite storagetest runs on every engine, and all
// of them agree on the canonical hash of the ledger.
//
// It may import the value packages of the utility (record, ledger) and floor
// 0. It judges nothing: what to post is decided before it is called.
package storage

import (
	"context"
	"errors"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
)

// Errors of a storage. After any other error of Append or Post it is not
// known whether the change is durable: read Tail.
var (
	// ErrConflict means that the log or the postings are not where the
	// caller thought: another writer was faster. Nothing was changed.
	ErrConflict = errors.New("storage: another writer was faster")
	// ErrSchema means that the database was made by another version.
	ErrSchema = errors.New("storage: unknown schema version")
)

// Storage keeps the log and what was made from it.
type Storage interface {
	// Tail says where the log ends and how far it was posted.
	Tail(ctx context.Context) (Tail, error)
	// Append makes lines durable; the first one's ID follows the tail. It
	// fails with ErrConflict.
	Append(ctx context.Context, lines []record.Line) error
	// Post makes a change durable, all of it or nothing. It fails with
	// ErrConflict when From is not the present cursor or Lines do not follow
	// the tail.
	Post(ctx context.Context, c Change) error
	// Lines gives lines in order, after the given ID, at most limit, of the
	// given kinds or of all.
	Lines(ctx context.Context, after uint64, limit int, kinds ...record.Kind) ([]record.Line, error)
	// Fetch gives everything that posting a batch needs, in few statements.
	Fetch(ctx context.Context, w Want) (Have, error)
	// Heads gives the end of every stored epoch.
	Heads(ctx context.Context) ([]journal.Head, error)
	// EntryLine gives the line whose batch carries an entry; false when it
	// is not stored.
	EntryLine(ctx context.Context, n journal.Name) (record.Line, bool, error)

	// Balances calls f for the accounts of a class (0: all) in order of
	// their bytes.
	Balances(ctx context.Context, class ledger.Class, f func(ledger.Account, money.Fen) error) error
	// Balance is 0 for an account without postings.
	Balance(ctx context.Context, a ledger.Account) (money.Fen, error)
	// Postings calls f for the postings of an account (the zero account: all)
	// in order of account, line and place.
	Postings(ctx context.Context, a ledger.Account, f func(Posted) error) error
	// Items calls f for items in order of name.
	Items(ctx context.Context, q ItemQuery, f func(ledger.Item) error) error
	// Exposed is what counts against a shop's room for on-line top-ups.
	Exposed(ctx context.Context, shop money.ShopID) (money.Fen, error)
	// SAMs gives all load SAMs.
	SAMs(ctx context.Context) ([]SAM, error)
	// PSAMs gives the books of all PSAMs in order of terminal, epoch and PSAM.
	PSAMs(ctx context.Context) ([]PSAM, error)
	// Held and Alarms give quarantine and alarms in order of name.
	Held(ctx context.Context, f func(Held) error) error
	Alarms(ctx context.Context, f func(Alarm) error) error
	// Accounts calls f for electricity accounts in order of number.
	Accounts(ctx context.Context, f func(Account) error) error
	// Sales calls f for activated cards in order of number.
	Sales(ctx context.Context, f func(Sale) error) error

	Close() error
}

// Tail is the end of the log.
type Tail struct {
	ID     uint64 // of the last line, 0 when empty
	Hash   record.Hash
	Cursor uint64 // the last line whose postings are made
}

// Change is what posting some lines makes.
type Change struct {
	Lines    []record.Line // to be appended with it, may be none
	From, To uint64        // the cursor moves from From to To
	Items    []ledger.Item // new state
	Postings []Posted
	Held     []Held
	Alarms   []Alarm
	Sales    []Sale
	SAMs     []SAM
	PSAMs    []PSAM
	Accounts []Account
}

// Posted is one posting with what names and orders it.
type Posted struct {
	ledger.Posting
	Line uint64       // of the log
	N    uint32       // place within the line
	Name journal.Name // the entry, or record.MasterName, that made it
}

// Held is an entry in quarantine.
type Held struct {
	Name   journal.Name
	Reason string
	Line   uint64
}

// Alarm is something that a person must look at. The same alarm twice is one.
type Alarm struct {
	Kind   string
	Name   journal.Name // the entry or item concerned
	Detail string
	Line   uint64
}

// Sale says that a card was activated, and by which entry.
type Sale struct {
	Card money.CardNumber
	Shop money.ShopID
	Name journal.Name
}

// Account is an electricity account.
type Account struct {
	Number money.AccountNumber
	Owner  string
}

// SAM is a load SAM's book: lifetime totals.
type SAM struct {
	SAM        money.SAMID
	Shop       money.ShopID // that bears it
	Sequence   uint32
	Ceiling    money.Fen // the largest that was signed
	MaxCount   uint32
	Gave       money.Fen // by the journal
	GaveCount  uint32
	Doubt      money.Fen // of Gave: only said by the terminal, no MAC2 was seen
	DoubtCount uint32
	Covered    money.Fen // of Gave: paid by a float
	Released   money.Fen // of Gave: certainly never used
	Challenge  [8]byte   // of the last allowance
	Answer     []byte    // the last allowance's answer
}

// Outstanding is what the SAM may have given and no float has paid.
func (s SAM) Outstanding() money.Fen { return max(0, s.Ceiling-s.Covered-s.Released) }

// PSAM is the book of one PSAM in one epoch of a terminal.
type PSAM struct {
	Terminal money.TerminalID
	Epoch    uint32
	PSAM     money.SAMID
	Seq      uint32 // the newest purchase sequence that an entry bears, 0: none yet
	Proven   uint32 // the largest under a card's proof, 0: none yet
	Slack    uint32 // how many more may have been given unseen since: one a start, one a lost answer
}

// PSAMOf names a PSAM of a terminal, in whatever epoch.
type PSAMOf struct {
	Terminal money.TerminalID
	PSAM     money.SAMID
}

// Counter names one step of one of a card's two counters.
type Counter struct {
	Card  money.CardNumber
	Load  bool // the online counter
	Value uint16
}

// Want is what posting needs to see.
type Want struct {
	Raw      []journal.Name // entries' bytes
	Items    []journal.Name
	Chain    []Counter // all items of these counters
	Accounts []money.AccountNumber
	Sales    []money.CardNumber
	Loads    []journal.Name // authorisations under these names
	Voids    []journal.Name // answers to void requests
	Counter  []journal.Name // decisions under these names about bills, claims and cards
	SAMs     []money.SAMID
	PSAMs    []PSAMOf
	Held     []journal.Name
}

// Have answers Want; what does not exist is missing.
type Have struct {
	Raw      map[journal.Name][]byte
	Items    map[journal.Name]ledger.Item // wanted by name or by counter
	Accounts map[money.AccountNumber]string
	Sales    map[money.CardNumber]Sale
	Loads    map[journal.Name][]record.Load // in order of issue
	Voids    map[journal.Name]record.Void
	Counter  map[journal.Name][]canon.Record // *record.BillPaid, *record.Collected, *record.CardAsked in order of issue
	SAMs     map[money.SAMID]SAM
	PSAMs    []PSAM // of every epoch
	Held     map[journal.Name]string
}

// ItemQuery selects items: those that fit every field that is set.
type ItemQuery struct {
	State    *ledger.State
	Card     *money.CardNumber
	Exposed  bool // only those that count against a shop's room
	Nameless bool // only those that suspense holds
	// Doubted selects what is not done on a terminal's word alone, and where
	// the card may have the value all the same: no cryptogram has settled it.
	Doubted bool
}
