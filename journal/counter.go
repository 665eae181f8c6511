package journal

import (
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
)

// What the counter does with the utility's word alone, on line: no card
// answers, so the utility's decision under the name of the intent is the
// evidence (DESIGN section 4).

// BillIntent is written and synced before the utility is asked to take a bill
// that the customer pays in cash.
type BillIntent struct {
	Token    Token
	Account  money.AccountNumber
	Seen     AccountSeen // AccountCached, AccountTyped: typed twice
	Amount   money.Fen
	Tendered money.Fen // cash taken from the customer, at least Amount
}

func (*BillIntent) Type() Type { return TypeBillIntent }
func (b *BillIntent) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U64(c, &b.Account)
	canon.U8(c, &b.Seen)
	canon.I64(c, &b.Amount)
	canon.I64(c, &b.Tendered)
}

// Decided is what the utility said to an intent, or that no answer came.
type Decided struct {
	Result Result // Unknown: no answer came
	Reason Reason
	Code   string // the utility's code of refusal, at most 64 bytes
}

func (b *Decided) fields(c *canon.Codec) {
	canon.U8(c, &b.Result)
	canon.U16(c, &b.Reason)
	canon.String(c, &b.Code, 64)
}

// BillOutcome is what came of a BillIntent (Ref). The first one that is done
// or not done stands for ever.
type BillOutcome struct{ Decided }

func (*BillOutcome) Type() Type              { return TypeBillOutcome }
func (b *BillOutcome) Fields(c *canon.Codec) { b.fields(c) }

// Payout is how a claim is paid out.
type Payout uint8

// Payouts.
const (
	PayoutCash Payout = 1
	PayoutLoad Payout = 2 // the customer turns the cash into value at once: the load is a LoadIntent whose Ref is the ClaimIntent
)

// ClaimIntent is written and synced before the utility is asked to let a
// claim be paid out here. The drawer pays when the answer is written.
type ClaimIntent struct {
	Token  Token
	Claim  Name // the number on the customer's slip; of any terminal
	Amount money.Fen
	How    Payout
	Card   money.CardNumber // the card to be loaded, for PayoutLoad
}

func (*ClaimIntent) Type() Type { return TypeClaimIntent }
func (b *ClaimIntent) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	b.Claim.fields(c)
	canon.I64(c, &b.Amount)
	canon.U8(c, &b.How)
	canon.Fixed(c, b.Card[:])
}

// ClaimOutcome is what came of a ClaimIntent (Ref).
type ClaimOutcome struct{ Decided }

func (*ClaimOutcome) Type() Type              { return TypeClaimOutcome }
func (b *ClaimOutcome) Fields(c *canon.Codec) { b.fields(c) }

// CardWish is what a CardRequest asks for.
type CardWish uint8

// Wishes about a card.
const (
	WishBlock   CardWish = 1 // of a named card that is lost
	WishReplace CardWish = 2 // of a card that can't be read: it is blocked, and its value becomes a claim once every terminal must have reported
)

// CardWhy is why a card is blocked or replaced.
type CardWhy uint8

// Reasons of a CardRequest.
const (
	WhyLost    CardWhy = 1
	WhyStolen  CardWhy = 2
	WhyDamaged CardWhy = 3 // no card, and a chip that does not answer
)

// CardRequest is written and synced before the utility is asked to block a
// card that is not in the reader.
type CardRequest struct {
	Token Token
	Wish  CardWish
	Card  money.CardNumber // typed from the card's face or the customer's papers
	Why   CardWhy
}

func (*CardRequest) Type() Type { return TypeCardRequest }
func (b *CardRequest) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U8(c, &b.Wish)
	canon.Fixed(c, b.Card[:])
	canon.U8(c, &b.Why)
}

// CardAnswer is what came of a CardRequest (Ref).
type CardAnswer struct{ Decided }

func (*CardAnswer) Type() Type              { return TypeCardAnswer }
func (b *CardAnswer) Fields(c *canon.Codec) { b.fields(c) }
