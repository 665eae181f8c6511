package journal

import (
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
)

// What shop and head office settle by: shifts beyond their opening and close,
// and cards in stock. None of it moves value.

// ShiftTally stands right before a ShiftClose, in one commit with it; Ref is
// the ShiftOpen. It says under which token the shift was closed, so that a
// close that is asked for again is the same close, and what it left for a
// person to do.
type ShiftTally struct {
	Token Token
	Owed  uint32    // top-ups of the shift that were not done and whose cash was not given back
	Value money.Fen // cash of those
}

func (*ShiftTally) Type() Type { return TypeShiftTally }
func (b *ShiftTally) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U32(c, &b.Owed)
	canon.I64(c, &b.Value)
}

// Cause is what a person says of cash that is not what it should be. Numbers
// are never reused.
type Cause uint8

// Causes of a difference.
const (
	CauseUnknown  Cause = 1 // the person does not know
	CauseCounted  Cause = 2 // the opening or this count was wrong
	CauseChange   Cause = 3 // wrong change was given
	CauseTaken    Cause = 4 // cash was taken out or put in for the shop
	CauseNotTaken Cause = 5 // a customer left without paying
	CauseFalse    Cause = 6 // a note was false
	CauseOther    Cause = 7 // as the note says
)

// MaxNote is the most characters of a ShiftDifference's Note.
const MaxNote = 120

// ShiftDifference says why the cash counted at a ShiftClose (Ref) was not the
// cash expected. The first of a close stands.
type ShiftDifference struct {
	Token      Token
	Difference money.Fen // counted less expected, never 0
	Cause      Cause
	Note       string // free text, at most MaxNote characters
}

func (*ShiftDifference) Type() Type { return TypeShiftDifference }
func (b *ShiftDifference) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.I64(c, &b.Difference)
	canon.U8(c, &b.Cause)
	canon.String(c, &b.Note, 4*MaxNote)
}

// MaxPack is the most cards of a StockReceipt.
const MaxPack = 1000

// MaxMissing is the most numbers of a StockCount, which keeps it within MaxBody.
const MaxMissing = 400

// StockReceipt says that a sealed pack of cards came into the shop's stock:
// all numbers From to To, as they are printed on it.
type StockReceipt struct {
	Token Token
	From  money.CardNumber
	To    money.CardNumber
	Cards uint32 // how many numbers that is, 1 to MaxPack
}

func (*StockReceipt) Type() Type { return TypeStockReceipt }
func (b *StockReceipt) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.Fixed(c, b.From[:])
	canon.Fixed(c, b.To[:])
	canon.U32(c, &b.Cards)
}

// StockCount says how many cards of a pack (Ref is its StockReceipt) a person
// found, beside how many there should be by the sales of this terminal.
type StockCount struct {
	Token    Token
	Found    uint32
	Expected uint32 // received less sold
	// Missing are the numbers that were not found, at most 400. It is empty when
	// the cards were only counted, not read.
	Missing []money.CardNumber
}

func (*StockCount) Type() Type { return TypeStockCount }
func (b *StockCount) Fields(c *canon.Codec) {
	canon.Fixed(c, b.Token[:])
	canon.U32(c, &b.Found)
	canon.U32(c, &b.Expected)
	canon.List(c, &b.Missing, MaxMissing, len(money.CardNumber{}), func(c *canon.Codec, n *money.CardNumber) { canon.Fixed(c, n[:]) })
}

// MarkOf gives the token of an entry that one wish of a person made and that
// begins no transaction; zero for every other.
func MarkOf(e Entry) Token {
	switch b := e.Body.(type) {
	case *ShiftTally:
		return b.Token
	case *ShiftDifference:
		return b.Token
	case *StockReceipt:
		return b.Token
	case *StockCount:
		return b.Token
	}
	return Token{}
}
