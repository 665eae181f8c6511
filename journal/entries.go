package journal

import (
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Type is the kind of an entry. Numbers are never reused.
type Type uint16

// Types of entry.
const (
	TypeStart           Type = 1  // the daemon started
	TypeShiftOpen       Type = 2  // a clerk opened a shift
	TypeShiftClose      Type = 3  // a clerk closed it
	TypePurchaseIntent  Type = 10 // the card is about to be debited
	TypePurchaseOutcome Type = 11 // what came of it
	TypeBillIntent      Type = 12 // the utility is about to be asked to take a bill paid in cash
	TypeBillOutcome     Type = 13 // what came of it
	TypeLoadIntent      Type = 20 // the card is about to be loaded
	TypeLoadAuthorised  Type = 21 // the authority gave MAC2
	TypeLoadOutcome     Type = 22 // what came of it
	TypeCashReturned    Type = 23 // the clerk gave the cash of a load back
	TypeClaimIntent     Type = 24 // the utility is about to be asked to let a claim be paid out
	TypeClaimOutcome    Type = 25 // what came of it
	TypeCardSale        Type = 30 // a card from stock was activated
	TypeCardRequest     Type = 32 // the utility is about to be asked to block or replace a card
	TypeCardAnswer      Type = 33 // what it said
	TypeShiftTally      Type = 34 // under which token a shift was closed, and what it left to do
	TypeShiftDifference Type = 35 // why the cash was not what it should be
	TypeStockReceipt    Type = 36 // a pack of cards came into stock
	TypeStockCount      Type = 37 // how many cards of a pack are there
	TypeVoidRequest     Type = 40 // a clerk asks to void a top-up
	TypeVoidAnswer      Type = 41 // what the utility said
	TypeSAMReport       Type = 50 // the load SAM's own counters under its MAC
	TypeObservation     Type = 51 // a card's proof about another terminal's item
	TypePSAMSequence    Type = 52 // the PSAM's sequence where no PurchaseIntent bears it
	TypeStaff           Type = 60 // what a person of the staff did that moves no value
)

// Body is what an entry of one type carries besides the header.
type Body interface {
	Type() Type
	canon.Record
}

func newBody(t Type) Body {
	switch t {
	case TypeStart:
		return &Start{}
	case TypeShiftOpen:
		return &ShiftOpen{}
	case TypeShiftClose:
		return &ShiftClose{}
	case TypePurchaseIntent:
		return &PurchaseIntent{}
	case TypePurchaseOutcome:
		return &PurchaseOutcome{}
	case TypeBillIntent:
		return &BillIntent{}
	case TypeBillOutcome:
		return &BillOutcome{}
	case TypeLoadIntent:
		return &LoadIntent{}
	case TypeLoadAuthorised:
		return &LoadAuthorised{}
	case TypeLoadOutcome:
		return &LoadOutcome{}
	case TypeCashReturned:
		return &CashReturned{}
	case TypeClaimIntent:
		return &ClaimIntent{}
	case TypeClaimOutcome:
		return &ClaimOutcome{}
	case TypeCardSale:
		return &CardSale{}
	case TypeCardRequest:
		return &CardRequest{}
	case TypeCardAnswer:
		return &CardAnswer{}
	case TypeVoidRequest:
		return &VoidRequest{}
	case TypeVoidAnswer:
		return &VoidAnswer{}
	case TypeSAMReport:
		return &SAMReport{}
	case TypeObservation:
		return &Observation{}
	case TypePSAMSequence:
		return &PSAMSequence{}
	case TypeStaff:
		return &Staff{}
	case TypeShiftTally:
		return &ShiftTally{}
	case TypeShiftDifference:
		return &ShiftDifference{}
	case TypeStockReceipt:
		return &StockReceipt{}
	case TypeStockCount:
		return &StockCount{}
	}
	return nil
}

func marshalBody(b Body) []byte {
	if u, ok := b.(*Unrecognised); ok {
		return u.Bytes
	}
	return canon.Marshal(b)
}

func unmarshalBody(t Type, b []byte) (Body, error) {
	body := newBody(t)
	if body == nil {
		return &Unrecognised{Kind: t, Bytes: b}, nil
	}
	if err := canon.Unmarshal(b, body); err != nil {
		return nil, fmt.Errorf("body of type %d: %w", t, err)
	}
	return body, nil
}

// Unrecognised is the body of an entry whose type this program does not know. It
// is kept and forwarded, never dropped.
type Unrecognised struct {
	Kind  Type
	Bytes []byte
}

// Type is the number found.
func (b *Unrecognised) Type() Type { return b.Kind }

// Fields is never walked: the bytes are kept as they came.
func (b *Unrecognised) Fields(*canon.Codec) {}

// Result is how a value-moving exchange ended (DESIGN law 2).
type Result uint8

// Results.
const (
	Done    Result = 1 // the card moved the value
	NotDone Result = 2 // the card did not
	Pending Result = 0 // no outcome written yet: as unknown until settled
	Unknown Result = 3 // settled later by evidence
)

// Evidence is what an outcome rests on.
type Evidence uint8

// Kinds of evidence, strongest first for done.
const (
	EvidenceNone    Evidence = 0
	EvidenceAnswer  Evidence = 1 // the card's own answer to the command
	EvidenceProof   Evidence = 2 // GET TRANSACTION PROVE (purse.md section 7.10)
	EvidenceLog     Evidence = 3 // the card's log record
	EvidenceCounter Evidence = 4 // counter and balance read from the card
	EvidenceNotSent Evidence = 5 // the executing command was never sent
	EvidenceRefusal Evidence = 6 // the card answered with a status word that executes nothing
	EvidenceUtility Evidence = 7 // the utility said so: a cryptogram that came in elsewhere settled it
)

// Reason says why an outcome is not done or unknown. Numbers are never
// reused.
type Reason uint16

// Reasons.
const (
	ReasonNone            Reason = 0
	ReasonCardRemoved     Reason = 1  // the card left
	ReasonCardMute        Reason = 2  // the card or reader stopped answering
	ReasonCardRefused     Reason = 3  // status word in SW
	ReasonCardMemory      Reason = 4  // 6581: the card could not write; outcome unknown
	ReasonHostRefused     Reason = 5  // the authority refused
	ReasonHostUnreachable Reason = 6  // the authority did not answer
	ReasonSAMRefused      Reason = 7  // the load SAM refused
	ReasonPower           Reason = 8  // the terminal stopped in between
	ReasonCancelled       Reason = 9  // a person stopped it before the card moved
	ReasonForeign         Reason = 10 // another card was in the reader
	ReasonStore           Reason = 11 // the terminal could not write its file
	ReasonBadMAC          Reason = 12 // MAC1 or MAC2 refused: a security event
)

// Start is written when the daemon starts, first in every epoch.
type Start struct {
	Shop      money.ShopID
	Software  string      // version of the program, at most 64 bytes
	PSAM      money.SAMID // zero when none answered
	LoadSAM   money.SAMID // zero when none answered
	PrevEpoch uint32      // for the first entry of an epoch after the first
	PrevSeq   uint64
	PrevHash  Hash
}

func (*Start) Type() Type { return TypeStart }
func (b *Start) Fields(c *canon.Codec) {
	canon.U32(c, &b.Shop)
	canon.String(c, &b.Software, 64)
	canon.Fixed(c, b.PSAM[:])
	canon.Fixed(c, b.LoadSAM[:])
	canon.U32(c, &b.PrevEpoch)
	canon.U64(c, &b.PrevSeq)
	canon.Fixed(c, b.PrevHash[:])
}

// ShiftOpen begins a shift; the actor is its clerk.
type ShiftOpen struct {
	Number uint32    // counts shifts of this terminal from 1
	Cash   money.Fen // counted in the drawer
}

func (*ShiftOpen) Type() Type { return TypeShiftOpen }
func (b *ShiftOpen) Fields(c *canon.Codec) {
	canon.U32(c, &b.Number)
	canon.I64(c, &b.Cash)
}

// ShiftClose ends a shift; Ref is its ShiftOpen.
type ShiftClose struct {
	Number   uint32
	Counted  money.Fen // cash counted before Expected was shown
	Expected money.Fen // by the journal
	Unsent   uint32    // entries not yet acknowledged
	Unknown  uint32    // transactions still unknown
}

func (*ShiftClose) Type() Type { return TypeShiftClose }
func (b *ShiftClose) Fields(c *canon.Codec) {
	canon.U32(c, &b.Number)
	canon.I64(c, &b.Counted)
	canon.I64(c, &b.Expected)
	canon.U32(c, &b.Unsent)
	canon.U32(c, &b.Unknown)
}

// Purpose is what a debit of the purse is for.
type Purpose uint8

// Purposes.
const (
	PurposeRedeem    Purpose = 1 // value goes to an account
	PurposeVoidTopUp Purpose = 2 // value goes back to the shop; Ref is the VoidRequest
	PurposeTopUp     Purpose = 3 // cash becomes value
	PurposeFirstLoad Purpose = 4 // as top-up; Ref is the CardSale
	PurposeEmpty     Purpose = 5 // the whole balance of a damaged card that still reads becomes a claim under the intent's name
)

// AccountSeen tells how sure the terminal was of the account's number.
type AccountSeen uint8

// Ways of knowing an account.
const (
	AccountNone   AccountSeen = 0
	AccountOnline AccountSeen = 1 // the utility answered for it just now
	AccountCached AccountSeen = 2 // it was in the signed cache
	AccountTyped  AccountSeen = 3 // typed twice, not verified; the slip says so
)

// PurchaseIntent is written and synced before DEBIT FOR PURCHASE is sent
// (purse.md sections 7.3, 7.4, 9.2 and 12.2).
type PurchaseIntent struct {
	Token      Token
	Purpose    Purpose
	Card       money.CardNumber
	Account    money.AccountNumber // of PurposeRedeem, else zero
	Seen       AccountSeen
	Amount     money.Fen
	Before     money.Fen // balance that the card showed
	Counter    uint16    // offline counter that the card showed
	TxType     uint8     // transaction type, 06 EP purchase (purse.md section 2)
	KeyIndex   uint8
	KeyVersion uint8
	Algorithm  uint8
	Random     [4]byte // the card's
	PSAM       money.SAMID
	PSAMSeq    uint32 // terminal transaction sequence
	Stamp      money.Stamp
	MAC1       suite.MAC // the PSAM's
	Online     bool      // the link was up
}

func (*PurchaseIntent) Type() Type { return TypePurchaseIntent }
func (b *PurchaseIntent) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U8(c, &b.Purpose)
	canon.Fixed(c, b.Card[:])
	canon.U64(c, &b.Account)
	canon.U8(c, &b.Seen)
	canon.I64(c, &b.Amount)
	canon.I64(c, &b.Before)
	canon.U16(c, &b.Counter)
	canon.U8(c, &b.TxType)
	canon.U8(c, &b.KeyIndex)
	canon.U8(c, &b.KeyVersion)
	canon.U8(c, &b.Algorithm)
	canon.Fixed(c, b.Random[:])
	canon.Fixed(c, b.PSAM[:])
	canon.U32(c, &b.PSAMSeq)
	canon.Fixed(c, b.Stamp[:])
	canon.Fixed(c, b.MAC1[:])
	canon.Bool(c, &b.Online)
}

// MAC2Check tells what the PSAM said of the card's MAC2.
type MAC2Check uint8

// Answers of CREDIT SAM FOR PURCHASE (purse.md section 9.3).
const (
	MAC2Unchecked MAC2Check = 0 // the PSAM's session was gone
	MAC2Good      MAC2Check = 1
	MAC2Bad       MAC2Check = 2 // a security event: the card may be forged
)

// NoBalance stands for a balance that was not read.
const NoBalance money.Fen = -1

// PurchaseOutcome is what came of a PurchaseIntent (Ref). The first one that
// is done or not done stands for ever; an unknown one is followed by another
// when evidence comes.
type PurchaseOutcome struct {
	Result   Result
	Reason   Reason
	Evidence Evidence
	SW       uint16 // last status word of the card, 0 when none
	HasTAC   bool   // TAC and MAC2 below are the card's
	TAC      suite.MAC
	MAC2     suite.MAC
	MAC2Said MAC2Check
	After    money.Fen // balance read afterwards, NoBalance when not read
	Counter  uint16    // offline counter read afterwards, when Evidence is EvidenceCounter
}

func (*PurchaseOutcome) Type() Type { return TypePurchaseOutcome }
func (b *PurchaseOutcome) Fields(c *canon.Codec) {
	canon.U8(c, &b.Result)
	canon.U16(c, &b.Reason)
	canon.U8(c, &b.Evidence)
	canon.U16(c, &b.SW)
	canon.Bool(c, &b.HasTAC)
	canon.Fixed(c, b.TAC[:])
	canon.Fixed(c, b.MAC2[:])
	canon.U8(c, &b.MAC2Said)
	canon.I64(c, &b.After)
	canon.U16(c, &b.Counter)
}

// Authority is who gives MAC2 for a load.
type Authority uint8

// Authorities.
const (
	AuthorityHost Authority = 1 // the utility's key vault, on line
	AuthoritySAM  Authority = 2 // the terminal's load SAM under a signed allowance
)

// LoadIntent is written and synced before the authority is asked for MAC2
// (purse.md sections 7.1, 10 and 12.2).
type LoadIntent struct {
	Token      Token
	Purpose    Purpose // PurposeTopUp or PurposeFirstLoad
	Card       money.CardNumber
	Amount     money.Fen
	Tendered   money.Fen // cash taken from the customer, at least Amount; 0 when not yet taken
	Before     money.Fen
	Counter    uint16 // online counter that the card showed
	TxType     uint8  // 02 EP load
	KeyIndex   uint8
	KeyVersion uint8
	Algorithm  uint8
	Random     [4]byte
	MAC1       suite.MAC // the card's
	Authority  Authority
	SAM        money.SAMID // the load SAM, for AuthoritySAM
	SAMCount   uint32      // its lifetime count before this load
	Stamp      money.Stamp // the terminal's, for AuthoritySAM; the host gives its own
}

func (*LoadIntent) Type() Type { return TypeLoadIntent }
func (b *LoadIntent) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U8(c, &b.Purpose)
	canon.Fixed(c, b.Card[:])
	canon.I64(c, &b.Amount)
	canon.I64(c, &b.Tendered)
	canon.I64(c, &b.Before)
	canon.U16(c, &b.Counter)
	canon.U8(c, &b.TxType)
	canon.U8(c, &b.KeyIndex)
	canon.U8(c, &b.KeyVersion)
	canon.U8(c, &b.Algorithm)
	canon.Fixed(c, b.Random[:])
	canon.Fixed(c, b.MAC1[:])
	canon.U8(c, &b.Authority)
	canon.Fixed(c, b.SAM[:])
	canon.U32(c, &b.SAMCount)
	canon.Fixed(c, b.Stamp[:])
}

// LoadAuthorised is written and synced before CREDIT FOR LOAD is sent; Ref is
// the LoadIntent.
type LoadAuthorised struct {
	Stamp    money.Stamp // date and time under MAC2 and TAC
	MAC2     suite.MAC
	SAMCount uint32 // the load SAM's lifetime count after this load, 0 for the host
}

func (*LoadAuthorised) Type() Type { return TypeLoadAuthorised }
func (b *LoadAuthorised) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Stamp[:])
	canon.Fixed(c, b.MAC2[:])
	canon.U32(c, &b.SAMCount)
}

// LoadOutcome is what came of a LoadIntent (Ref).
type LoadOutcome struct {
	Result   Result
	Reason   Reason
	Evidence Evidence
	SW       uint16
	HasTAC   bool
	TAC      suite.MAC
	After    money.Fen
	Counter  uint16 // online counter read afterwards, when Evidence is EvidenceCounter
	SAMGave  bool   // not done, yet the load SAM had given MAC2 (its count moved): the allowance is spent until the utility releases it
	SAMCount uint32 // the load SAM's lifetime count known when this was written
}

func (*LoadOutcome) Type() Type { return TypeLoadOutcome }
func (b *LoadOutcome) Fields(c *canon.Codec) {
	canon.U8(c, &b.Result)
	canon.U16(c, &b.Reason)
	canon.U8(c, &b.Evidence)
	canon.U16(c, &b.SW)
	canon.Bool(c, &b.HasTAC)
	canon.Fixed(c, b.TAC[:])
	canon.I64(c, &b.After)
	canon.U16(c, &b.Counter)
	canon.Bool(c, &b.SAMGave)
	canon.U32(c, &b.SAMCount)
}

// CashReturned says that the clerk gave the cash of a load or a bill that was
// not done back to the customer; Ref is the LoadIntent or the BillIntent.
type CashReturned struct {
	Token  Token
	Amount money.Fen
}

func (*CashReturned) Type() Type { return TypeCashReturned }
func (b *CashReturned) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.I64(c, &b.Amount)
}

// CardSale activates a card from the shop's stock. Its first load is a
// LoadIntent of its own whose Ref is this entry.
type CardSale struct {
	Token   Token
	Card    money.CardNumber
	Deposit money.Fen // price of the card, a deposit; may be 0
}

func (*CardSale) Type() Type { return TypeCardSale }
func (b *CardSale) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.Fixed(c, b.Card[:])
	canon.I64(c, &b.Deposit)
}

// VoidRequest asks the utility to agree to the void of a top-up; Ref is the
// LoadIntent of that top-up. A second person who agreed is in the Staff entry
// before it.
type VoidRequest struct {
	Token  Token
	Card   money.CardNumber
	Amount money.Fen
}

func (*VoidRequest) Type() Type { return TypeVoidRequest }
func (b *VoidRequest) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.Fixed(c, b.Card[:])
	canon.I64(c, &b.Amount)
}

// VoidAnswer is what the utility said to a VoidRequest (Ref), or that it
// could not be asked. The debit that follows an agreement is a
// PurchaseIntent whose Ref is the VoidRequest.
type VoidAnswer struct {
	Agreed bool
	Reason Reason
	Code   string // the utility's code of refusal, at most 64 bytes
}

func (*VoidAnswer) Type() Type { return TypeVoidAnswer }
func (b *VoidAnswer) Fields(c *canon.Codec) {
	canon.Bool(c, &b.Agreed)
	canon.U16(c, &b.Reason)
	canon.String(c, &b.Code, 64)
}

// SAMReport is the load SAM's statement of its own counters, as it answered
// it (suite.LoadSAMState), so that allowance given but not loaded is seen.
type SAMReport struct {
	SAM   money.SAMID
	State []byte // canonical bytes of the answer with its challenge and MAC, at most 128
}

func (*SAMReport) Type() Type { return TypeSAMReport }
func (b *SAMReport) Fields(c *canon.Codec) {
	canon.Fixed(c, b.SAM[:])
	canon.Bytes(c, &b.State, 128)
}

// Observation is what a card proved about an item of any terminal that came
// down as open (DESIGN section 4, what counts as evidence).
type Observation struct {
	Item    Name // the intent that is unknown
	Card    money.CardNumber
	TxType  uint8
	Counter uint16 // the counter of the item, before its increment
	HasTAC  bool   // the card proved that it happened
	TAC     suite.MAC
	MAC2    suite.MAC // of a purchase
	Now     uint16    // the counter that the card shows now
	Balance money.Fen // NoBalance when not read
}

func (*Observation) Type() Type { return TypeObservation }
func (b *Observation) Fields(c *canon.Codec) {
	b.Item.fields(c)
	canon.Fixed(c, b.Card[:])
	canon.U8(c, &b.TxType)
	canon.U16(c, &b.Counter)
	canon.Bool(c, &b.HasTAC)
	canon.Fixed(c, b.TAC[:])
	canon.Fixed(c, b.MAC2[:])
	canon.U16(c, &b.Now)
	canon.I64(c, &b.Balance)
}

// Sequence tells why a PSAMSequence was written.
type Sequence uint8

// Kinds of PSAMSequence.
const (
	SequenceUnused Sequence = 1 // the PSAM gave it and no intent could be written, or the person left
	SequenceLost   Sequence = 2 // the PSAM was asked and its answer was lost: it may have gone on by one
	SequenceAhead  Sequence = 3 // further on than this journal explains: the journal is older than the PSAM, a restored or copied disk
	SequenceBehind Sequence = 4 // not beyond what this journal bears: another PSAM under the same number
)

// PSAMSequence says where the PSAM's purchase sequence stood when no
// PurchaseIntent bears it. The sequence only goes up, and every grant of the
// PSAM is in the journal, but for at most one at each start of the daemon: what
// is missing between two entries is missing in the journal.
type PSAMSequence struct {
	PSAM money.SAMID
	Why  Sequence
	Seq  uint32 // what the PSAM gave; 0 for SequenceLost
	Last uint32 // the newest that this epoch's journal bore before; 0: none
	Most uint32 // the largest that the journal explains; 0: none was known
}

func (*PSAMSequence) Type() Type { return TypePSAMSequence }
func (b *PSAMSequence) Fields(c *canon.Codec) {
	canon.Fixed(c, b.PSAM[:])
	canon.U8(c, &b.Why)
	canon.U32(c, &b.Seq)
	canon.U32(c, &b.Last)
	canon.U32(c, &b.Most)
}
