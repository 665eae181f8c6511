package ledger

import (
	"errors"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Kind is what an item is.
type Kind uint8

// Kinds of item.
const (
	TopUp      Kind = 1 // shop → card
	Redemption Kind = 2 // card → customer, or suspense
	VoidDebit  Kind = 3 // card → shop
	CashBill   Kind = 4 // shop → customer: paid in cash. No card moves: what the utility decided is the proof
	Carried    Kind = 5 // the value of a card that can't be read: card → claim, named by the request for its replacement
	Emptied    Kind = 6 // the value of a damaged card that still reads: card → claim, by a debit that the card proves
)

// State is where the item's value stands in the ledger.
type State uint8

// States of an item.
const (
	Open      State = 0 // an intent or an authorisation; nothing posted
	InHeld    State = 1 // unknown: the value is in held/<name>
	Done      State = 2 // the receiver has it
	NotDone   State = 3 // nothing moved, or it moved back
	InClaim   State = 4 // not done and the cash was taken, or off a card that is replaced: the customer is owed it
	Returned  State = 5 // the shop that owed the claim paid it out in cash, by its own word
	Collected State = 6 // a shop, any, was agreed to pay the claim out, and has its value
)

// Event is a verified fact about an item.
type Event uint8

// Events.
const (
	Proved       Event = 1 // the card's cryptogram shows that it happened
	SaidDone     Event = 2 // the terminal read it from counter or log: no cryptogram
	SaidUnknown  Event = 3
	SaidNotDone  Event = 4
	Disproved    Event = 5 // another transaction's cryptogram bears this item's counter: it never happened
	CashReturned Event = 6 // the clerk gave the cash back
	MAC2Given    Event = 7 // the authority gave MAC2: the card may carry the value
	MAC2Seen     Event = 8 // so, and MAC2 was verified: the load SAM counted the amount
)

// Errors of Apply. The entry goes to quarantine; nothing is posted.
var (
	ErrContradiction = errors.New("ledger: contradicts what stands")
	ErrNotOwed       = errors.New("ledger: no cash is owed")
)

// Item is one movement of card value, or of a bill paid in cash, named by its
// intent.
type Item struct {
	Name      journal.Name
	Kind      Kind
	State     State
	Shop      money.ShopID
	Card      money.CardNumber
	Account   money.AccountNumber // of a redemption or a bill
	Amount    money.Fen
	Cash      bool // of a top-up or a bill: cash was taken
	TxType    uint8
	Counter   uint16      // of the card, before its increment
	SAM       money.SAMID // of an off-line top-up
	Stamp     money.Stamp // of an off-line top-up: what its TAC covers
	Intent    bool        // the intent was accepted; false while only the question for MAC2 is known
	Gave      bool        // the authority gave MAC2
	Vouched   bool        // of an off-line top-up: not only said, MAC2 was verified
	Final     bool        // settled by a cryptogram, one way or the other
	Nameless  bool        // the account was unknown when the redemption was posted: suspense has it
	Void      journal.Ref // of a top-up: the request for its void that was agreed last
	VoidDebit journal.Ref // of a top-up: the debit that carries the void out
}

// Load tells which of the card's two counters the item moves: true the online
// one, false the offline one.
func (it *Item) Load() bool { return it.Kind == TopUp }

// Paid reports whether the shop's float has paid for a top-up.
func (it *Item) Paid() bool {
	return it.Kind == TopUp && (it.State == InHeld || it.State == Done || it.State == InClaim)
}

// Released reports that MAC2 was certainly given and certainly never used.
func (it *Item) Released() bool {
	return it.Kind == TopUp && it.Vouched && it.Final && !it.Paid()
}

// Exposed is what counts against the shop's room for an on-line top-up: MAC2
// was given, the float has not paid, and nothing proves that the card never
// took it. As a reservation before the outcome, as a guard after it. It never
// ends by time.
func (it *Item) Exposed() money.Fen {
	if it.Kind == TopUp && it.SAM.IsZero() && it.Gave && !it.Paid() && !it.Final {
		return it.Amount
	}
	return 0
}

// OfCard reports whether a card moves by the item, at a step of one of its
// counters.
func (it *Item) OfCard() bool { return it.Kind != CashBill && it.Kind != Carried }

// Happened reports whether the card's cryptogram shows that it moved the value:
// no other item of that step of its counter can have.
func (it *Item) Happened() bool {
	return it.Final && (it.State == Done || it.Kind == Emptied && (it.State == InClaim || it.State == Collected))
}

func (it *Item) giver() Account {
	if it.Kind == TopUp || it.Kind == CashBill {
		return Shop(it.Shop)
	}
	return Card(it.Card)
}

func (it *Item) receiver() Account {
	switch {
	case it.Kind == TopUp:
		return Card(it.Card)
	case it.Kind == VoidDebit:
		return Shop(it.Shop)
	case it.Kind == Emptied:
		return Claim(it.Name)
	case it.Nameless:
		return Suspense
	}
	return Customer(it.Account)
}

// holder is the account that has the value now, in place of the giver.
func (it *Item) holder() Account {
	switch it.State {
	case InHeld:
		return Held(it.Name)
	case InClaim:
		return Claim(it.Name)
	}
	return it.giver()
}

// Apply takes a verified event. It changes the item and gives the balanced
// set to post, which may be empty. late reports that a proof came after the
// value was given back: the giver pays twice or the shop did wrong, an alarm.
// On an error the item is unchanged.
func (it *Item) Apply(e Event) (set []Posting, late bool, err error) {
	to := func(s State, a Account) []Posting {
		from := it.holder()
		it.State = s
		if from == a {
			return nil
		}
		return move(it.Amount, from, a)
	}
	if it.Kind == Emptied && it.Happened() {
		// The claim lives on by itself: what is told once more of the debit
		// neither makes it again after it was paid out nor takes it back.
		if e == Proved || e == SaidDone {
			return nil, false, nil
		}
		return nil, false, ErrContradiction
	}
	switch e {
	case MAC2Given, MAC2Seen:
		it.Gave, it.Vouched = true, it.Vouched || e == MAC2Seen
		return nil, false, nil

	case Proved:
		if it.State == Done {
			it.Final = true
			return nil, false, nil
		}
		if it.Final {
			return nil, false, ErrContradiction // two cryptograms against each other: a cloned card
		}
		late = it.State == Returned || it.State == NotDone || it.State == Collected
		it.Final, it.Gave = true, true
		if it.Kind == Emptied {
			return to(InClaim, it.receiver()), late, nil
		}
		return to(Done, it.receiver()), late, nil

	case SaidDone, SaidUnknown:
		switch it.State {
		case Open:
			if it.Final && e == SaidUnknown { // what nobody saw, a cryptogram told
				return it.back(to), false, nil
			}
			if !it.Final {
				return to(InHeld, Held(it.Name)), false, nil
			}
		case InHeld:
			return nil, false, nil
		case Done:
			if e == SaidDone {
				return nil, false, nil
			}
		}
		return nil, false, ErrContradiction

	case SaidNotDone:
		switch it.State {
		case Open, InHeld:
			return it.back(to), false, nil
		case Done:
			return nil, false, ErrContradiction
		}
		return nil, false, nil

	case Disproved:
		if it.State == Done && it.Final {
			return nil, false, ErrContradiction
		}
		it.Final = true
		if it.State == InHeld {
			return it.back(to), false, nil
		}
		return nil, false, nil

	case CashReturned:
		if it.State != InClaim {
			return nil, false, ErrNotOwed
		}
		return to(Returned, it.giver()), false, nil
	}
	return nil, false, ErrContradiction
}

// back is where the value of something not done goes: to the customer's claim
// when cash was taken for it, else to the giver.
func (it *Item) back(to func(State, Account) []Posting) []Posting {
	if (it.Kind == TopUp || it.Kind == CashBill) && it.Cash {
		return to(InClaim, Claim(it.Name))
	}
	return to(NotDone, it.giver())
}

// Collect lets a shop pay a claim out: it gets the claim's value and the
// customer its cash. At most once: it fails with ErrNotOwed when nothing waits.
func (it *Item) Collect(by money.ShopID) ([]Posting, error) {
	if it.State != InClaim {
		return nil, ErrNotOwed
	}
	it.State = Collected
	return move(it.Amount, Claim(it.Name), Shop(by)), nil
}

// Uncollect takes Collect back: nothing was paid out, and the claim waits
// again. When a card's proof came in between, nothing is owed any more and the
// value goes to who paid for it.
func (it *Item) Uncollect(by money.ShopID) []Posting {
	if it.State != Collected {
		return move(it.Amount, Shop(by), it.giver())
	}
	it.State = InClaim
	return move(it.Amount, Shop(by), Claim(it.Name))
}

// Carry makes the value of a card that can't be read the claim of the item's
// name.
func (it *Item) Carry() []Posting {
	it.State, it.Final = InClaim, true
	return move(it.Amount, Card(it.Card), Claim(it.Name))
}

// The sets of what is not an item.

// PayFloat is float paid in at the bank; a negative amount pays out.
func PayFloat(shop money.ShopID, a money.Fen) []Posting { return move(a, Bank, Shop(shop)) }

// PayCommission books a shop's commission into its float.
func PayCommission(shop money.ShopID, a money.Fen) []Posting {
	return move(a, Commission, Shop(shop))
}

// Bill books what a customer owes; a negative amount takes it back.
func Bill(n money.AccountNumber, a money.Fen) []Posting { return move(a, Customer(n), Revenue) }

// Sale books the deposit of a card; none for a free card.
func Sale(shop money.ShopID, a money.Fen) []Posting {
	if a == 0 {
		return nil
	}
	return move(a, Shop(shop), Deposit)
}

// Resolve names the account of what suspense holds.
func Resolve(n money.AccountNumber, a money.Fen) []Posting { return move(a, Suspense, Customer(n)) }
