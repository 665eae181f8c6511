package terminal

import (
	"context"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// EmptyRequest asks to take the whole balance off the damaged card in the
// reader.
type EmptyRequest struct {
	Token  journal.Token
	Who    Who
	Card   money.CardNumber // that the person saw on the screen
	Amount money.Fen        // its whole balance, as the screen showed it
}

// EmptyCard is the first half of the replacement of a damaged card that still
// reads: a debit of its whole balance, whose cryptogram is the evidence on
// which the balance is carried over (DESIGN section 4). What the card proves to
// have paid waits as a claim under the receipt's name, and CollectClaim puts it
// on the new card: a card and its replacement never both hold it, since the
// claim is only there once the old card's debit is proven. Power may fail at
// any step; the debit is then settled as every other, the claim waits, and the
// load is one of a claim. The old card is left worth nothing; turning up later
// it can only prove the same debit once more.
//
// On line only: what it begins can't be finished off line, and a block of the
// card is heard of. It answers a Refusal when nothing was begun; otherwise the
// receipt says done, not done or unknown. A repeated token answers the first
// result.
func (t *Terminal) EmptyCard(ctx context.Context, r EmptyRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == journal.KindEmptied && asked(r.Card, tx) && tx.Amount == r.Amount
	}); ok || err != nil {
		return rc, err
	}
	if err := t.atCounter(r.Who); err != nil {
		return Receipt{}, err
	}
	l, _, ok := t.limits()
	if !ok {
		return Receipt{}, refuse(CodeNoLimits)
	}
	if err := t.checkDebit(l); err != nil {
		return Receipt{}, err
	}
	s, balance, err := t.ready(ctx, r.Card)
	switch {
	case err != nil:
		return Receipt{}, err
	case balance <= 0:
		return Receipt{}, refuse(CodeCardEmpty)
	case balance != r.Amount: // no part of it stays behind, and no part unseen is taken
		return Receipt{}, refuseLimit(CodeBalanceMoved, balance)
	}
	ref, err := t.debit(ctx, s, debit{Token: r.Token, Who: r.Who, Purpose: journal.PurposeEmpty, Amount: balance})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}
