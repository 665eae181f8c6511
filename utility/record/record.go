// Package record defines the utility's log: everything that it was sent, told
// or that it decided, in the order in which it was stored, as canonical bytes
// under a hash chain. The ledger and every table are functions of this log.
//
// It may import journal, wire, money and internal/canon. It does no I/O and
// posts no money, so that the posting side and the audit can share it.
package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/wire"
)

// Errors of reading the log.
var (
	ErrRecord = errors.New("record: bytes are not a record of that kind")
	ErrChain  = errors.New("record: the log's hash chain is broken")
)

// Kind is what a record is. Numbers are never reused.
type Kind uint8

// Kinds of record.
const (
	KindEntries   Kind = 1 // wire.Batch: new entries of a terminal, as it signed them
	KindFork      Kind = 2 // wire.Batch: signed entries that contradict stored ones
	KindLoad      Kind = 3 // Load: MAC2 was given
	KindVoid      Kind = 4 // Void: a void was agreed or refused
	KindAllowance Kind = 5 // Allowance: a load SAM's allowance was signed
	KindEnrolled  Kind = 6 // Enrolled: a terminal began an epoch
	KindBillPaid  Kind = 7 // BillPaid: a bill paid in cash was taken, or not
	KindCollected Kind = 8 // Collected: a claim may be paid out by a shop, or not, or not any more
	KindCardAsked Kind = 9 // CardAsked: a card was blocked at a counter, or not

	KindShop          Kind = 20
	KindFloat         Kind = 21
	KindAccount       Kind = 22
	KindBill          Kind = 23
	KindCards         Kind = 24
	KindBlockCard     Kind = 25
	KindCode          Kind = 26
	KindPolicy        Kind = 27
	KindLimits        Kind = 28
	KindBlockTerminal Kind = 29
	KindSuspense      Kind = 30
	KindCommission    Kind = 31
	KindReplaced      Kind = 32 // Replaced: the value of a card that can't be read became a claim
)

// Hash is SHA-256.
type Hash = journal.Hash

// Line is one record of the log.
type Line struct {
	ID   uint64 // from 1 without gaps
	At   int64  // ms since 1970 by the utility's clock
	Kind Kind
	Body []byte // canonical bytes of the kind's type
	Hash Hash   // of the log up to and with this line
}

// Genesis is the hash before the first line.
var Genesis = Hash(sha256.Sum256([]byte("dianka/log/genesis/1")))

// Link is the hash after a line.
func Link(prev Hash, l Line) Hash {
	h := sha256.New()
	h.Write([]byte("dianka/log/1\x00"))
	h.Write(prev[:])
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], l.ID)
	binary.BigEndian.PutUint64(b[8:], uint64(l.At))
	b[16] = byte(l.Kind)
	h.Write(b[:])
	h.Write(l.Body)
	return Hash(h.Sum(nil))
}

// Load is an authorisation: the question, and the answer byte for byte.
type Load struct {
	Request wire.LoadRequest
	Answer  wire.LoadAnswer
	Shop    money.ShopID
}

func (r *Load) Fields(c *canon.Codec) {
	r.Request.Fields(c)
	r.Answer.Fields(c)
	canon.U32(c, &r.Shop)
}

// Void is the answer to a question about a void, agreed or refused.
type Void struct {
	Question wire.VoidQuestion
	Answer   wire.Agreement
}

func (r *Void) Fields(c *canon.Codec) {
	r.Question.Fields(c)
	r.Answer.Fields(c)
}

// BillPaid is the answer to a question about a bill paid in cash.
type BillPaid struct {
	Question wire.BillQuestion
	Answer   wire.Agreement
	Shop     money.ShopID
}

func (r *BillPaid) Fields(c *canon.Codec) {
	r.Question.Fields(c)
	r.Answer.Fields(c)
	canon.U32(c, &r.Shop)
}

// Collected is the answer to a question about a claim. Undo takes back what
// was agreed before under the same name.
type Collected struct {
	Question wire.CollectQuestion
	Answer   wire.Agreement
	Shop     money.ShopID // that pays out
	Undo     bool
}

func (r *Collected) Fields(c *canon.Codec) {
	r.Question.Fields(c)
	r.Answer.Fields(c)
	canon.U32(c, &r.Shop)
	canon.Bool(c, &r.Undo)
}

// CardAsked is the answer to a request about a card.
type CardAsked struct {
	Question wire.CardQuestion
	Answer   wire.Agreement
	Shop     money.ShopID
}

func (r *CardAsked) Fields(c *canon.Codec) {
	r.Question.Fields(c)
	r.Answer.Fields(c)
	canon.U32(c, &r.Shop)
}

// DecidedName is the name under which a bill, a claim or a card was decided;
// the zero name for any other record.
func DecidedName(r canon.Record) journal.Name {
	switch r := r.(type) {
	case *BillPaid:
		return r.Question.Name
	case *Collected:
		return r.Question.Name
	case *CardAsked:
		return r.Question.Name
	}
	return journal.Name{}
}

// Replaced makes the value of a card a claim under the name of the request
// for its replacement.
type Replaced struct {
	No      uint64
	Request journal.Name
	Card    money.CardNumber
	Shop    money.ShopID // at which it was asked for
	Amount  money.Fen
}

func (r *Replaced) Fields(c *canon.Codec) {
	canon.U64(c, &r.No)
	journal.NameFields(c, &r.Request)
	canon.Fixed(c, r.Card[:])
	canon.U32(c, &r.Shop)
	canon.I64(c, &r.Amount)
}

// Allowance is an allowance as it was signed.
type Allowance struct {
	Terminal  money.TerminalID
	Challenge [8]byte
	State     []byte // what the SAM had reported
	Answer    wire.AllowanceAnswer
}

func (r *Allowance) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Terminal[:])
	canon.Fixed(c, r.Challenge[:])
	canon.Bytes(c, &r.State, 128)
	r.Answer.Fields(c)
}

// Enrolled begins an epoch of a terminal.
type Enrolled struct {
	Terminal      money.TerminalID
	Shop          money.ShopID
	Epoch         uint32
	Key           []byte // Ed25519 public key of the terminal's records
	PSAM, LoadSAM money.SAMID
	CodeHash      Hash // of the code that was used up
	PrevEpoch     uint32
	PrevSeq       uint64
	PrevHash      Hash
}

func (r *Enrolled) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Terminal[:])
	canon.U32(c, &r.Shop)
	canon.U32(c, &r.Epoch)
	canon.Bytes(c, &r.Key, 32)
	canon.Fixed(c, r.PSAM[:])
	canon.Fixed(c, r.LoadSAM[:])
	canon.Fixed(c, r.CodeHash[:])
	canon.U32(c, &r.PrevEpoch)
	canon.U64(c, &r.PrevSeq)
	canon.Fixed(c, r.PrevHash[:])
}

// Shop adds a shop or changes its name and ceiling.
type Shop struct {
	Shop    money.ShopID
	Name    string
	Ceiling money.Fen // how far the float may go below zero
}

func (r *Shop) Fields(c *canon.Codec) {
	canon.U32(c, &r.Shop)
	canon.String(c, &r.Name, 128)
	canon.I64(c, &r.Ceiling)
}

// Float is float paid in (+) or out (-), or commission for KindCommission.
// No numbers the records of head office that post, from 1: their postings are
// named by it.
type Float struct {
	No        uint64
	Shop      money.ShopID
	Amount    money.Fen
	Reference string
}

func (r *Float) Fields(c *canon.Codec) {
	canon.U64(c, &r.No)
	canon.U32(c, &r.Shop)
	canon.I64(c, &r.Amount)
	canon.String(c, &r.Reference, 128)
}

// Account opens an electricity account or changes its owner.
type Account struct {
	Account money.AccountNumber
	Owner   string // masked
}

func (r *Account) Fields(c *canon.Codec) {
	canon.U64(c, &r.Account)
	canon.String(c, &r.Owner, 64)
}

// Bill books what a customer owes.
type Bill struct {
	No        uint64
	Account   money.AccountNumber
	Amount    money.Fen
	Reference string
}

func (r *Bill) Fields(c *canon.Codec) {
	canon.U64(c, &r.No)
	canon.U64(c, &r.Account)
	canon.I64(c, &r.Amount)
	canon.String(c, &r.Reference, 128)
}

// Cards makes a run of cards known, both ends included. Shop may sell them;
// with no shop they are in the hands of customers already, active and empty.
type Cards struct {
	From, To money.CardNumber
	Profile  string // name of the card's firmware profile
	Named    bool
	Shop     money.ShopID
}

func (r *Cards) Fields(c *canon.Codec) {
	canon.Fixed(c, r.From[:])
	canon.Fixed(c, r.To[:])
	canon.String(c, &r.Profile, 64)
	canon.Bool(c, &r.Named)
	canon.U32(c, &r.Shop)
}

// BlockCard blocks a card or takes the block back.
type BlockCard struct {
	Card    money.CardNumber
	Blocked bool
}

func (r *BlockCard) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Card[:])
	canon.Bool(c, &r.Blocked)
}

// Code is an enrolment code, stored hashed, for one terminal and its SAMs. A
// zero SAM number accepts any.
type Code struct {
	Hash          Hash
	Terminal      money.TerminalID
	Shop          money.ShopID
	PSAM, LoadSAM money.SAMID
}

func (r *Code) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Hash[:])
	canon.Fixed(c, r.Terminal[:])
	canon.U32(c, &r.Shop)
	canon.Fixed(c, r.PSAM[:])
	canon.Fixed(c, r.LoadSAM[:])
}

// HashCode is how a code is stored.
func HashCode(code string) Hash {
	return sha256.Sum256([]byte("dianka/code/1\x00" + code))
}

// Policy is how much unspent allowance the load SAM of a terminal may hold.
type Policy struct {
	Terminal money.TerminalID
	Amount   money.Fen
	Count    uint32
}

func (r *Policy) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Terminal[:])
	canon.I64(c, &r.Amount)
	canon.U32(c, &r.Count)
}

// Limits sets the limits of one terminal, or of all without their own when
// Terminal is zero. They travel as a wire section.
type Limits struct {
	Terminal money.TerminalID
	Limits   wire.Limits
}

func (r *Limits) Fields(c *canon.Codec) {
	s := wire.Section{Kind: wire.SectionLimits, Terminal: r.Terminal, Limits: r.Limits}
	s.Fields(c)
	if s.Kind != wire.SectionLimits || s.Version != 0 || s.Issued != 0 {
		c.Fail(ErrRecord)
		return
	}
	r.Terminal, r.Limits = s.Terminal, s.Limits
}

// BlockTerminal withdraws a terminal's selling right or gives it back.
type BlockTerminal struct {
	Terminal money.TerminalID
	Blocked  bool
}

func (r *BlockTerminal) Fields(c *canon.Codec) {
	canon.Fixed(c, r.Terminal[:])
	canon.Bool(c, &r.Blocked)
}

// Suspense names the account of a redemption that suspense holds.
type Suspense struct {
	No      uint64
	Item    journal.Name
	Account money.AccountNumber
}

func (r *Suspense) Fields(c *canon.Codec) {
	canon.U64(c, &r.No)
	journal.NameFields(c, &r.Item)
	canon.U64(c, &r.Account)
}

// Decode reads the body of a line: *wire.Batch, *Load, *Shop, …
func Decode(l Line) (canon.Record, error) {
	var r canon.Record
	switch l.Kind {
	case KindEntries, KindFork:
		r = &wire.Batch{}
	case KindLoad:
		r = &Load{}
	case KindVoid:
		r = &Void{}
	case KindBillPaid:
		r = &BillPaid{}
	case KindCollected:
		r = &Collected{}
	case KindCardAsked:
		r = &CardAsked{}
	case KindReplaced:
		r = &Replaced{}
	case KindAllowance:
		r = &Allowance{}
	case KindEnrolled:
		r = &Enrolled{}
	case KindShop:
		r = &Shop{}
	case KindFloat, KindCommission:
		r = &Float{}
	case KindAccount:
		r = &Account{}
	case KindBill:
		r = &Bill{}
	case KindCards:
		r = &Cards{}
	case KindBlockCard:
		r = &BlockCard{}
	case KindCode:
		r = &Code{}
	case KindPolicy:
		r = &Policy{}
	case KindLimits:
		r = &Limits{}
	case KindBlockTerminal:
		r = &BlockTerminal{}
	case KindSuspense:
		r = &Suspense{}
	default:
		return nil, fmt.Errorf("%w: kind %d", ErrRecord, l.Kind)
	}
	if err := canon.Unmarshal(l.Body, r); err != nil {
		return nil, fmt.Errorf("line %d: %w: %w", l.ID, ErrRecord, err)
	}
	return r, nil
}

// MasterName names the postings of a head-office record.
func MasterName(no uint64) journal.Name { return journal.Name{Seq: no} }

// Reasons why a signed entry is in quarantine: stable words, in verdicts and
// reports.
const (
	HeldMalformed     = "malformed"     // header or body cannot be read
	HeldName          = "name"          // the entry's name is not its place in the chain
	HeldUnknownType   = "unknown_type"  // a newer program may know it
	HeldUnknownCard   = "unknown_card"  // no such card was issued
	HeldTxType        = "tx_type"       // not an EP load or purchase
	HeldAmount        = "amount"        // zero, negative, more than a purse holds, or not what is owed
	HeldPSAM          = "psam"          // not the PSAM that the terminal is enrolled with
	HeldPSAMSeq       = "psam_sequence" // the PSAM's sequence repeats or falls: a copy of the terminal, or another PSAM
	HeldSAM           = "sam"           // not its load SAM, or it has none
	HeldBadTAC        = "bad_tac"       // the card's cryptogram is wrong
	HeldOtherProof    = "other_proof"   // an observation shows the proof of some other transaction: it says nothing of its item
	HeldBadMAC2       = "bad_mac2"      // the card's proof of its counter is wrong
	HeldBadState      = "bad_state"     // the load SAM's report is not under its MAC
	HeldNoIntent      = "no_intent"     // the entry it continues is not there
	HeldIntent        = "intent_held"   // the entry it continues is in quarantine
	HeldMismatch      = "mismatch"      // differs from what the utility authorised under that name
	HeldContradiction = "contradiction" // against an outcome that stands
	HeldTwice         = "counter_twice" // the card's counter was proven by another entry: a clone
	HeldNotInRange    = "not_in_range"  // the shop may not sell this card
	HeldSold          = "already_sold"
	HeldNotAgreed     = "not_agreed"   // the utility agreed to no such void, bill or payment of a claim
	HeldNotOwed       = "not_owed"     // no cash is owed for that load or bill
	HeldUnknownItem   = "unknown_item" // an observation of nothing we know
)

// Alarms.
const (
	AlarmEquivocation = "equivocation" // a terminal signed two entries of one name
	AlarmClone        = "counter_twice"
	AlarmLate         = "late_proof" // proved after it was said not to have happened and the value went back
	AlarmSAMTotal     = "sam_total"  // a load SAM gave more, or less, than the journal says
	AlarmUnauthorised = "unauthorised_load"
	AlarmBadMAC       = "bad_mac"         // a cryptogram was wrong
	AlarmName         = "name_taken"      // a load was authorised under a name that the terminal signed otherwise: a copy of its keys asked, or its disk was put back
	AlarmPSAM         = "psam_sequence"   // a PSAM's sequence repeats or falls, or its terminal does not recognise it
	AlarmMissing      = "records_missing" // a PSAM made payments that its terminal never sent
)

// Session is the cryptographic part of an authorisation, for checking the TAC
// of the load that used it.
type Session struct {
	Random [4]byte
	Before money.Fen
	Stamp  money.Stamp
	MAC2   suite.MAC
}
