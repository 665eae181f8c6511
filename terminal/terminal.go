// Package terminal is the business of a terminal: sale and activation of a
// card, top-up on line and off line, redemption to an account, void, shift,
// limits, and the recovery of whatever was not certain. It ends every
// value-moving exchange as done, not done or unknown, writes the intent
// before the card is asked and the outcome before anyone is told.
//
// It may import floors 0 and 1: purse, reader, store and the values. It must
// never draw a screen, speak HTTP, or resend a command that moves value.
package terminal

import (
	"context"
	"log/slog"
	"time"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// Host is the utility as a terminal sees it. Every method but Online and
// Standing may block until its ctx ends; an error means that no answer came, and a
// question may be asked again under the same name.
type Host interface {
	// AuthoriseLoad asks the vault for MAC2.
	AuthoriseLoad(ctx context.Context, r wire.LoadRequest) (wire.LoadAnswer, error)
	// AgreeVoid asks whether a top-up may be voided.
	AgreeVoid(ctx context.Context, q wire.VoidQuestion) (wire.Agreement, error)
	// IssueAllowance asks for a larger allowance for the load SAM.
	IssueAllowance(ctx context.Context, r wire.AllowanceRequest) (wire.AllowanceAnswer, error)
	// Account looks an account up.
	Account(ctx context.Context, a money.AccountNumber) (wire.AccountAnswer, error)
	// TakeBill asks the utility to take a bill paid in cash.
	TakeBill(ctx context.Context, q wire.BillQuestion) (wire.Agreement, error)
	// LookUpClaim asks what waits under the number of a slip.
	LookUpClaim(ctx context.Context, n journal.Name) (wire.ClaimAnswer, error)
	// Collect asks whether a claim may be paid out here.
	Collect(ctx context.Context, q wire.CollectQuestion) (wire.Agreement, error)
	// AskCard asks the utility to block or replace a card.
	AskCard(ctx context.Context, q wire.CardQuestion) (wire.Agreement, error)
	// Ask asks what the utility knows of an entry of this terminal.
	Ask(ctx context.Context, n journal.Name) (wire.QuestionAnswer, error)
	// Online tells whether the link is believed to be up; it never blocks.
	Online() bool
	// Standing is what the utility last said of this terminal's journal, 0
	// before it said anything; it never blocks.
	Standing() wire.Standing
	// Flush sends everything unsent and waits for the acknowledgement.
	Flush(ctx context.Context) error
}

// Config is what a Terminal is made of. Store, Card, PSAM, Profiles and Host
// must be set.
type Config struct {
	Store    *store.Store
	Card     reader.Slot // the customer's card
	PSAM     reader.Slot
	LoadSAM  reader.Slot // may be the PSAM's slot; nil: no top-up off line
	Profiles Profiles
	Host     Host
	Software string           // version, at most 64 bytes
	TestKeys bool             // the SAMs hold test keys: only test cards are served; false: test cards are refused
	SAMs     SAMPair          // the SAMs that this terminal was enrolled with; a zero id accepts any
	Clock    func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: discard
	HostWait time.Duration    // how long a customer waits for the utility; 0: 8 s
}

// Profiles gives the profiles in force. It is asked at each card and each SAM,
// so that one which was added serves the next.
type Profiles interface{ Current() *profiles.Set }

// SAMPair names the SAMs of a terminal.
type SAMPair struct{ PSAM, LoadSAM money.SAMID }

// Who is the person at the terminal. The machine's own deeds are booked on
// journal.System, never on a person.
type Who = journal.Actor

// TopUpRequest asks to turn cash into value on the card in the reader.
type TopUpRequest struct {
	Token    journal.Token
	Who      Who
	Card     money.CardNumber // the card that the person saw on the screen; another card in the reader is refused
	Amount   money.Fen
	Tendered money.Fen // cash taken, at least Amount
	PIN      string    // only when the card's profile wants one; never stored
}

// RedeemRequest asks to pay an account with the card in the reader.
type RedeemRequest struct {
	Token   journal.Token
	Who     Who
	Card    money.CardNumber
	Account money.AccountNumber
	Again   money.AccountNumber // typed a second time when the account could not be verified
	Amount  money.Fen
}

// SellRequest asks to activate a card from stock and, when Amount is not 0,
// to load it.
type SellRequest struct {
	Token    journal.Token
	Who      Who
	Card     money.CardNumber
	Amount   money.Fen // first load, 0 for none
	Tendered money.Fen // cash taken, at least Amount and the deposit
	PIN      string
}

// VoidRequest asks to void a top-up of this shift; the card must be in the
// reader.
type VoidRequest struct {
	Token  journal.Token
	Who    Who
	Second money.StaffID // who agreed, another person than Who; 0: the shop has nobody to
	TopUp  journal.Name
}

// ReturnCashRequest books that the cash of a top-up or a bill that was not done
// went back to the customer.
type ReturnCashRequest struct {
	Token journal.Token
	Who   Who
	TopUp journal.Name
}

// Receipt is a transaction with what belongs to it: for a sale its first
// load, for a void its debit, for a claim the load that it was turned into.
type Receipt struct {
	journal.Transaction
	Child *journal.Transaction // first load of a sale, debit of a void, load of a claim; nil when there is none
	Owed  journal.Name         // this or the child when its cash lies in the drawer for nothing, else zero
	Hash  journal.Hash         // head of the chain when the receipt was made: it covers this transaction and all before, so a printed slip proves itself
}

// CardState is what the terminal makes of the card slot.
type CardState string

// States of the card slot.
const (
	CardNone       CardState = "none"
	CardReading    CardState = "reading"    // a card is being read or settled
	CardReady      CardState = "ready"      // a purse that can be used
	CardRefused    CardState = "refused"    // a purse that may not be used; Problem says why
	CardUnreadable CardState = "unreadable" // no purse, mute, or not understood; Problem says why
	CardNoReader   CardState = "no_reader"
)

// CardView is the card in the reader.
type CardView struct {
	State     CardState
	Problem   Code // for CardRefused and CardUnreadable
	Number    money.CardNumber
	Balance   money.Fen
	Named     bool
	Stock     bool // a card of this shop's stock that was not activated
	Profile   string
	ValidFrom time.Time
	ValidTo   time.Time
	Settled   []journal.Name // transactions of this card that were unknown and that its return settled
}

// SAMView is a SAM as the terminal sees it.
type SAMView struct {
	Present bool
	Serial  money.SAMID
	Problem Code
}

// AllowanceView is what the load SAM may still load off line.
type AllowanceView struct {
	Known  bool
	Amount money.Fen
	Count  uint32
}

// Status is everything that a screen shows of the terminal itself.
type Status struct {
	Terminal   money.TerminalID
	Shop       money.ShopID
	Epoch      uint32
	Head       journal.Head
	Card       CardView
	PSAM       SAMView
	LoadSAM    SAMView
	Allowance  AllowanceView
	Float      FloatView
	Online     bool
	Unsent     store.Unsent
	Open       int // transactions that are unknown
	Shift      store.Shift
	ShiftOpen  bool
	Limits     wire.Limits
	LimitsAt   time.Time // when the utility signed them; zero: never received, built-in defaults that forbid top-ups
	HotlistAt  time.Time
	Busy       bool // a value-moving exchange is in flight: no screen may time out or navigate
	Stopped    bool // the terminal could not write its file and serves nothing until it was restarted
	CopyBroken bool // the second copy of unsent entries is not whole
	Warnings   []Code
}

// AccountView is a bill with its age and where it comes from.
type AccountView struct {
	wire.Bill
	Seen journal.AccountSeen // AccountTyped: nothing is known of this number
}

var _ purse.Card = reader.Card(nil)
