package wire

import (
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// What the counter asks on line. Each question bears the name of its intent,
// which is durable at the terminal. The first answer under a name stands, a
// refusal too, so that a question which arrives late can't do what the
// terminal has written off.

// BillQuestion asks the utility to take a bill that was paid in cash: shop →
// customer. Its answer is an Agreement.
type BillQuestion struct {
	Name   journal.Name // of the BillIntent
	Intent journal.BillIntent
	// Withdraw asks how it ended, and ends it: what the utility has not
	// decided until now is refused for ever (CodeWithdrawn).
	Withdraw bool
}

func (m *BillQuestion) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	m.Intent.Fields(c)
	canon.Bool(c, &m.Withdraw)
}

// ClaimQuestion looks up what waits under the number of a slip. Rate-limited
// per terminal.
type ClaimQuestion struct{ Claim journal.Name }

func (m *ClaimQuestion) Fields(c *canon.Codec) { journal.NameFields(c, &m.Claim) }

// ClaimKind is what a claim comes from.
type ClaimKind uint8

// Kinds of claim.
const (
	ClaimTopUp   ClaimKind = 1 // a top-up that was not done
	ClaimBill    ClaimKind = 2 // a bill that was not taken
	ClaimReplace ClaimKind = 3 // the value of a damaged card
)

// ClaimAnswer answers a ClaimQuestion. Whoever has the slip learns no more of
// a card or an account than its last four digits.
type ClaimAnswer struct {
	Claim   journal.Name
	Refused Code // OK: the amount waits and may be paid out
	Kind    ClaimKind
	Amount  money.Fen
	Last4   string // of the card, or of the account for a bill
}

func (m *ClaimAnswer) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Claim)
	code(c, &m.Refused)
	canon.U8(c, &m.Kind)
	canon.I64(c, &m.Amount)
	canon.String(c, &m.Last4, 64)
}

// CollectQuestion asks the utility to let the asking shop pay a claim out:
// claim → shop. Its answer is an Agreement.
type CollectQuestion struct {
	Name   journal.Name // of the ClaimIntent
	Intent journal.ClaimIntent
	// Withdraw says that nothing was paid out because no answer came, and
	// that nothing will be: the claim waits again, whatever was agreed.
	Withdraw bool
}

func (m *CollectQuestion) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	m.Intent.Fields(c)
	canon.Bool(c, &m.Withdraw)
}

// CardQuestion asks the utility to block a card, or to block and replace it.
// Its answer is an Agreement. Asked again after an answer was lost, it may be
// carried out then: no money moves by it.
type CardQuestion struct {
	Name    journal.Name // of the CardRequest
	Request journal.CardRequest
}

func (m *CardQuestion) Fields(c *canon.Codec) {
	journal.NameFields(c, &m.Name)
	m.Request.Fields(c)
}
