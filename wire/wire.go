// Package wire defines what terminal and utility say to each other: batches
// of journal entries and their acknowledgements, questions of the moment
// (load, void, allowance, account) with their signed answers, and the signed
// sections that come down. Everything is canonical bytes; JSON is for people.
//
// It may import journal, money, suite and internal/canon. It does no I/O.
package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Limits of the protocol (storage-sync.md section 4).
const (
	MaxBatch      = 1000      // entries in a batch
	MaxBatchBytes = 1 << 20   // bytes of a batch on the wire
	MaxHotlist    = 2_000_000 // cards
	MaxAccounts   = 200_000   // accounts in a section
	MaxOpenItems  = 200_000
	MaxRanges     = 10_000
	MaxSection    = 32 << 20 // bytes of a section
)

// Errors of reading and checking.
var (
	ErrMessage   = errors.New("wire: bytes are not that message")
	ErrSignature = errors.New("wire: not signed by the utility")
)

// Version is the protocol version, sent in Hello.
const Version = 1

// Hello opens every conversation: who the terminal is and how far its own
// journal goes, so that a restored or cloned disk shows at once.
type Hello struct {
	Version  uint16
	Head     journal.Head
	Software string // at most 64 bytes
	Wall     int64  // the terminal's clock, ms since 1970
	Have     []SectionVersion
}

// SectionVersion says which version of a section the terminal holds.
type SectionVersion struct {
	Kind    SectionKind
	Version uint64
}

func (m *Hello) Fields(c *canon.Codec) {
	canon.U16(c, &m.Version)
	HeadFields(c, &m.Head)
	canon.String(c, &m.Software, 64)
	canon.I64(c, &m.Wall)
	canon.List(c, &m.Have, 64, 9, func(c *canon.Codec, v *SectionVersion) {
		canon.U8(c, &v.Kind)
		canon.U64(c, &v.Version)
	})
}

// HeadFields walks a head inside another record.
func HeadFields(c *canon.Codec, h *journal.Head) {
	canon.Fixed(c, h.Terminal[:])
	canon.U32(c, &h.Epoch)
	canon.U64(c, &h.Seq)
	canon.Fixed(c, h.Hash[:])
}

// Standing is what the utility thinks of a terminal's journal.
type Standing uint8

// Standings.
const (
	StandingGood     Standing = 1 // go on
	StandingBehind   Standing = 2 // the utility holds more than the terminal: restored from an old disk
	StandingForked   Standing = 3 // same sequence, other hash: a clone or an altered disk
	StandingBlocked  Standing = 4 // selling right withdrawn; entries are still taken
	StandingReenrol  Standing = 5 // enrol again: a new epoch is needed
	StandingOldEpoch Standing = 6 // entries of this epoch are taken, new ones belong to the next
)

// HelloAnswer answers Hello. Signed as every answer is (Sealed).
type HelloAnswer struct {
	Standing Standing
	Stored   journal.Head // the last entry that the utility holds
	Server   int64        // the utility's clock, ms since 1970
	Sections [][]byte     // Sealed sections newer than what the terminal has
}

func (m *HelloAnswer) Fields(c *canon.Codec) {
	canon.U8(c, &m.Standing)
	HeadFields(c, &m.Stored)
	canon.I64(c, &m.Server)
	canon.List(c, &m.Sections, 64, 4, func(c *canon.Codec, b *[]byte) { canon.Long(c, b, MaxSection) })
}

// Batch carries entries From, From+1, … of one epoch, exactly the bytes that
// were hashed, under one signature of the head after the last of them.
type Batch struct {
	Terminal  money.TerminalID
	Epoch     uint32
	From      uint64       // sequence of the first entry
	Prev      journal.Hash // hash before it
	Entries   [][]byte
	Head      journal.Hash // hash after the last
	Signature journal.Signature
}

func (m *Batch) Fields(c *canon.Codec) {
	canon.Fixed(c, m.Terminal[:])
	canon.U32(c, &m.Epoch)
	canon.U64(c, &m.From)
	canon.Fixed(c, m.Prev[:])
	canon.List(c, &m.Entries, MaxBatch, 2, func(c *canon.Codec, b *[]byte) { canon.Bytes(c, b, journal.MaxEntry) })
	canon.Fixed(c, m.Head[:])
	canon.Fixed(c, m.Signature[:])
}

// End is the head that the signature covers.
func (m *Batch) End() journal.Head {
	return journal.Head{Terminal: m.Terminal, Epoch: m.Epoch, Seq: m.From + uint64(len(m.Entries)) - 1, Hash: m.Head}
}

// Verify recomputes the chain over the entries and checks the signature. A
// batch that fails is refused whole; nothing of it counts.
func (m *Batch) Verify(key ed25519.PublicKey) error {
	if len(m.Entries) == 0 || m.From == 0 || m.From+uint64(len(m.Entries)) < m.From {
		return fmt.Errorf("%w: empty or numbered wrongly", ErrMessage)
	}
	h := m.Prev
	for _, e := range m.Entries {
		h = journal.Link(h, e)
	}
	if h != m.Head {
		return fmt.Errorf("batch from %d: %w", m.From, journal.ErrChain)
	}
	return m.End().Verify(key, m.Signature)
}

// VerdictCode is what the utility did with an entry that it did not post.
type VerdictCode uint8

// Verdicts. An entry without a verdict was accepted.
const (
	VerdictHeld  VerdictCode = 1 // in quarantine: stored, not posted, with the reason
	VerdictEarly VerdictCode = 2 // stored, waits for an entry before it
)

// ReasonEquivocation is the reason of VerdictHeld for entries whose names are
// taken by others that the terminal signed before: the utility holds both.
const ReasonEquivocation = "equivocation"

// Verdict names an entry that was not simply accepted.
type Verdict struct {
	Seq    uint64
	Code   VerdictCode
	Reason string // stable code, at most 64 bytes
}

// Ack acknowledges what the utility has stored; the terminal keeps it before
// it prunes anything. A repeated batch gets the same Through again or a later
// one.
type Ack struct {
	Terminal money.TerminalID
	Epoch    uint32
	Through  uint64       // every entry up to this one is stored
	Hash     journal.Hash // the chain's hash after it
	Server   int64        // ms since 1970
	Verdicts []Verdict    // of the entries of this batch
}

func (m *Ack) Fields(c *canon.Codec) {
	canon.Fixed(c, m.Terminal[:])
	canon.U32(c, &m.Epoch)
	canon.U64(c, &m.Through)
	canon.Fixed(c, m.Hash[:])
	canon.I64(c, &m.Server)
	canon.List(c, &m.Verdicts, MaxBatch, 11, func(c *canon.Codec, v *Verdict) {
		canon.U64(c, &v.Seq)
		canon.U8(c, &v.Code)
		canon.String(c, &v.Reason, 64)
	})
}

// Question asks whether the utility holds an entry, after a time-out.
type Question struct{ Name journal.Name }

func (m *Question) Fields(c *canon.Codec) { journal.NameFields(c, &m.Name) }

// QuestionAnswer says what the utility knows of the entry.
type QuestionAnswer struct {
	Name   journal.Name
	Stored bool
	Held   bool // in quarantine
	Reason string
	// Hash is that of the chain after the entry. Another one than the asking
	// terminal's is another entry of that name: a disk was restored or copied.
	Hash journal.Hash
	// Ended is how the movement that the entry begins ended, Done or NotDone,
	// when a cryptogram settled it; 0 while it is open, or settled by mere word.
	Ended journal.Result
}

func (m *QuestionAnswer) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	canon.Bool(c, &m.Stored)
	canon.Bool(c, &m.Held)
	canon.String(c, &m.Reason, 64)
	canon.Fixed(c, m.Hash[:])
	canon.U8(c, &m.Ended)
}

// LoadRequest asks the vault for MAC2 under the intent's name. The same name
// with the same INITIALIZE answers the same; with a new INITIALIZE of the
// same card, amount and counter it supersedes the earlier MAC2.
type LoadRequest struct {
	Name   journal.Name // of the LoadIntent, already durable at the terminal
	Intent journal.LoadIntent
}

func (m *LoadRequest) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	m.Intent.Fields(c)
}

// Code is a stable word for a refusal; "" means agreed.
type Code string

// Codes of refusal. Screens turn them into sentences.
const (
	OK                 Code = ""
	CodeUnknownCard    Code = "unknown_card"
	CodeBlockedCard    Code = "blocked_card"
	CodeNotActivated   Code = "not_activated"
	CodeNotInRange     Code = "not_in_range"
	CodeBadMAC         Code = "bad_mac"
	CodeNoRoom         Code = "no_room"          // the shop's float and ceiling are used up
	CodeLimit          Code = "limit"            // over a limit of card, shop or terminal
	CodeMoved          Code = "already_happened" // the counter moved: the earlier load under this name happened
	CodeMismatch       Code = "mismatch"         // same name, other card or amount
	CodeTerminal       Code = "terminal_blocked"
	CodeUnknownItem    Code = "unknown_item"
	CodeWindow         Code = "too_late"
	CodeTwice          Code = "already_done"
	CodeUnknownAccount Code = "unknown_account"
	CodeRate           Code = "too_many_questions"
	CodeSAM            Code = "unknown_sam"
	CodeWithdrawn      Code = "withdrawn"   // the terminal took its question back before it was decided
	CodeNotSettled     Code = "not_settled" // nobody knows yet whether it happened: nothing waits under that number
	CodeUnnamed        Code = "unnamed"     // an unnamed card can't be blocked: nobody can show that it is theirs
	CodeUncovered      Code = "uncovered"   // the shop that owes a claim on its bare word has no money for it: it pays that itself
)

func code(c *canon.Codec, v *Code) {
	s := string(*v)
	canon.String(c, &s, 64)
	*v = Code(s)
}

// LoadAnswer answers a LoadRequest.
type LoadAnswer struct {
	Name    journal.Name
	Refused Code
	Stamp   money.Stamp // the host's date and time, under MAC2
	MAC2    suite.MAC
	Server  int64
}

func (m *LoadAnswer) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	code(c, &m.Refused)
	canon.Fixed(c, m.Stamp[:])
	canon.Fixed(c, m.MAC2[:])
	canon.I64(c, &m.Server)
}

// VoidQuestion asks the utility to agree to a void under the request's name.
type VoidQuestion struct {
	Name    journal.Name // of the VoidRequest
	TopUp   journal.Name // of the LoadIntent
	Request journal.VoidRequest
}

func (m *VoidQuestion) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	journal.NameFields(c, &m.TopUp)
	m.Request.Fields(c)
}

// Agreement answers a VoidQuestion.
type Agreement struct {
	Name    journal.Name
	Refused Code
}

func (m *Agreement) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	code(c, &m.Refused)
}

// AllowanceRequest asks for a larger allowance for the load SAM.
type AllowanceRequest struct {
	SAM       money.SAMID
	Challenge [8]byte // GET CHALLENGE of the load SAM, for the answer's MAC
	State     []byte  // suite.LoadSAMState with its MAC, canonical, at most 128 bytes
}

func (m *AllowanceRequest) Fields(c *canon.Codec) {
	canon.Fixed(c, m.SAM[:])
	canon.Fixed(c, m.Challenge[:])
	canon.Bytes(c, &m.State, 128)
}

// AllowanceAnswer carries the allowance for the load SAM; ceilings are
// lifetime totals, so that a repetition can never add.
type AllowanceAnswer struct {
	SAM           money.SAMID
	Refused       Code
	Sequence      uint32
	CeilingAmount money.Fen
	CeilingCount  uint32
	MAC           suite.MAC
}

func (m *AllowanceAnswer) Fields(c *canon.Codec) {
	canon.Fixed(c, m.SAM[:])
	code(c, &m.Refused)
	canon.U32(c, &m.Sequence)
	canon.I64(c, &m.CeilingAmount)
	canon.U32(c, &m.CeilingCount)
	canon.Fixed(c, m.MAC[:])
}

// AccountQuestion looks one account up. Rate-limited per terminal.
type AccountQuestion struct{ Account money.AccountNumber }

func (m *AccountQuestion) Fields(c *canon.Codec) { canon.U64(c, &m.Account) }

// Bill is what a customer owes or has paid ahead.
type Bill struct {
	Account money.AccountNumber
	Owner   string    // masked name, at most 64 bytes UTF-8
	Balance money.Fen // positive = paid ahead, negative = arrears
	AsOf    int64     // ms since 1970
}

func (m *Bill) fields(c *canon.Codec) {
	canon.U64(c, &m.Account)
	canon.String(c, &m.Owner, 64)
	canon.I64(c, &m.Balance)
	canon.I64(c, &m.AsOf)
}

// AccountAnswer answers an AccountQuestion.
type AccountAnswer struct {
	Refused Code
	Bill    Bill
}

func (m *AccountAnswer) Fields(c *canon.Codec) {
	code(c, &m.Refused)
	m.Bill.fields(c)
}

// Sealed is an answer or a section as it travels: the canonical bytes of the
// message and the utility's signature over what it is and what it says.
type Sealed struct {
	What      string // "ack", "load", "section", …
	Body      []byte
	Signature journal.Signature
}

func (m *Sealed) Fields(c *canon.Codec) {
	canon.String(c, &m.What, 32)
	canon.Long(c, &m.Body, MaxSection)
	canon.Fixed(c, m.Signature[:])
}

func (m *Sealed) signed() []byte {
	return append([]byte("dianka/sealed/1\x00"+m.What+"\x00"), m.Body...)
}

// Seal signs a message with the utility's key.
func Seal(what string, r canon.Record, key ed25519.PrivateKey) []byte {
	s := Sealed{What: what, Body: canon.Marshal(r)}
	s.Signature = journal.Signature(ed25519.Sign(key, s.signed()))
	return canon.Marshal(&s)
}

// Unseal checks the signature and reads the message into r. It fails with
// ErrMessage or ErrSignature.
func Unseal(b []byte, what string, key ed25519.PublicKey, r canon.Record) error {
	var s Sealed
	if err := canon.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if s.What != what {
		return fmt.Errorf("%w: %q where %q was asked", ErrMessage, s.What, what)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.signed(), s.Signature[:]) {
		return ErrSignature
	}
	if err := canon.Unmarshal(s.Body, r); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

// Marshal and Unmarshal give a message its canonical bytes and back.
func Marshal(r canon.Record) []byte { return canon.Marshal(r) }

// Unmarshal fails with ErrMessage.
func Unmarshal(b []byte, r canon.Record) error {
	if err := canon.Unmarshal(b, r); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}
