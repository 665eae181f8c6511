package journal

import (
	"errors"
	"fmt"

	"github.com/dianka/dianka/money"
)

// ErrThread means that entries do not belong together, or contradict each
// other, as an outcome that changes one that was definitive.
var ErrThread = errors.New("journal: entries do not form one transaction")

// Kind is what a transaction is to a person.
type Kind uint8

// Kinds of transaction.
const (
	KindRedemption Kind = 1
	KindTopUp      Kind = 2
	KindSale       Kind = 3
	KindVoid       Kind = 4 // the VoidRequest; its debit is KindVoidDebit
	KindVoidDebit  Kind = 5
	KindBill       Kind = 6  // paid in cash
	KindClaim      Kind = 7  // paid out; a load with the money is a KindTopUp whose Parent it is
	KindBlock      Kind = 8  // of a lost card
	KindReplace    Kind = 9  // of a damaged card: the request
	KindEmptied    Kind = 10 // the debit that takes the balance off a damaged card that still reads
)

// Begins reports whether an entry of this type begins a transaction.
func (t Type) Begins() bool {
	switch t {
	case TypePurchaseIntent, TypeLoadIntent, TypeCardSale, TypeVoidRequest, TypeBillIntent, TypeClaimIntent, TypeCardRequest:
		return true
	}
	return false
}

// Continues reports whether an entry of this type belongs to the transaction
// that its Ref begins.
func (t Type) Continues() bool {
	switch t {
	case TypePurchaseOutcome, TypeLoadAuthorised, TypeLoadOutcome, TypeCashReturned, TypeVoidAnswer, TypeBillOutcome, TypeClaimOutcome, TypeCardAnswer:
		return true
	}
	return false
}

// Transaction is what the entries of one transaction say together.
type Transaction struct {
	Name    Name
	Kind    Kind
	Began   int64 // Wall of the first entry
	Ended   int64 // Wall of the last
	Actor   Actor // who began it
	Parent  Ref   // the entry that the first one continues: a sale's, a void request's, a voided top-up's, a claim's
	Token   Token
	Card    money.CardNumber
	Account money.AccountNumber
	Amount  money.Fen

	Result     Result
	Reason     Reason
	Evidence   Evidence
	After      money.Fen // NoBalance when not read
	WasUnknown bool      // an unknown outcome was written, or the terminal stopped before the first one

	Purchase        *PurchaseIntent
	PurchaseOutcome *PurchaseOutcome // the latest
	Load            *LoadIntent
	Authorised      *LoadAuthorised
	LoadOutcome     *LoadOutcome // the latest
	Sale            *CardSale
	Void            *VoidRequest
	VoidAnswer      *VoidAnswer
	CashReturned    bool
	Bill            *BillIntent
	Claim           *ClaimIntent
	Request         *CardRequest
	Decided         *Decided // of Bill, Claim or Request: the latest

	boot [8]byte // of the first entry: another start of the daemon means that it stopped in between
}

// Open reports whether the card or the utility may have moved value without
// our knowing: no outcome yet, or an unknown one.
func (t Transaction) Open() bool { return t.Result == Pending || t.Result == Unknown }

// Begin makes a transaction of its first entry. It fails with ErrThread when
// the entry begins none.
func Begin(e Entry) (Transaction, error) {
	t := Transaction{Name: e.Name, Began: e.Wall, Ended: e.Wall, Actor: e.Actor, Parent: e.Ref, After: NoBalance, boot: e.Boot}
	switch b := e.Body.(type) {
	case *PurchaseIntent:
		t.Kind, t.Token, t.Card, t.Account, t.Amount, t.Purchase = KindRedemption, b.Token, b.Card, b.Account, b.Amount, b
		if b.Purpose == PurposeVoidTopUp {
			t.Kind = KindVoidDebit
		} else if b.Purpose == PurposeEmpty {
			t.Kind = KindEmptied
		}
	case *LoadIntent:
		t.Kind, t.Token, t.Card, t.Amount, t.Load = KindTopUp, b.Token, b.Card, b.Amount, b
	case *CardSale:
		t.Kind, t.Token, t.Card, t.Amount, t.Sale = KindSale, b.Token, b.Card, b.Deposit, b
		t.Result = Done // durable is done: nothing moves on the card
	case *VoidRequest:
		t.Kind, t.Token, t.Card, t.Amount, t.Void = KindVoid, b.Token, b.Card, b.Amount, b
	case *BillIntent:
		t.Kind, t.Token, t.Account, t.Amount, t.Bill = KindBill, b.Token, b.Account, b.Amount, b
	case *ClaimIntent:
		t.Kind, t.Token, t.Card, t.Amount, t.Claim = KindClaim, b.Token, b.Card, b.Amount, b
	case *CardRequest:
		t.Kind, t.Token, t.Card, t.Request = KindBlock, b.Token, b.Card, b
		if b.Wish == WishReplace {
			t.Kind = KindReplace
		}
	default:
		return Transaction{}, fmt.Errorf("%w: %s begins none", ErrThread, e.Name)
	}
	return t, nil
}

// Add takes the next entry of the transaction. It fails with ErrThread and
// leaves the transaction as it was when the entry does not fit.
func (t *Transaction) Add(e Entry) error {
	if e.Name.Terminal != t.Name.Terminal || e.Ref != t.Name.Ref() {
		return fmt.Errorf("%w: %s does not continue %s", ErrThread, e.Name, t.Name)
	}
	settled := func(old, new Result) error {
		if new != Done && new != NotDone && new != Unknown {
			return fmt.Errorf("%w: %s has result %d, which is none", ErrThread, e.Name, new)
		}
		if (old == Done || old == NotDone) && old != new {
			return fmt.Errorf("%w: %s changes an outcome that stands", ErrThread, e.Name)
		}
		return nil
	}
	decided := func(mine bool, d *Decided) error {
		if !mine {
			return fmt.Errorf("%w: %s decides something of another kind", ErrThread, e.Name)
		}
		if err := settled(t.Result, d.Result); err != nil {
			return err
		}
		t.WasUnknown = t.WasUnknown || d.Result == Unknown || t.Result == Pending && e.Boot != t.boot
		t.Decided, t.Result, t.Reason, t.Evidence = d, d.Result, d.Reason, EvidenceUtility
		if d.Result == Unknown {
			t.Evidence = EvidenceNone
		}
		return nil
	}
	switch b := e.Body.(type) {
	case *BillOutcome:
		if err := decided(t.Bill != nil, &b.Decided); err != nil {
			return err
		}
	case *ClaimOutcome:
		if err := decided(t.Claim != nil, &b.Decided); err != nil {
			return err
		}
	case *CardAnswer:
		if err := decided(t.Request != nil, &b.Decided); err != nil {
			return err
		}
	case *PurchaseOutcome:
		if t.Purchase == nil {
			return fmt.Errorf("%w: %s is the outcome of a debit", ErrThread, e.Name)
		}
		if err := settled(t.Result, b.Result); err != nil {
			return err
		}
		t.WasUnknown = t.WasUnknown || b.Result == Unknown || t.Result == Pending && e.Boot != t.boot
		t.PurchaseOutcome, t.Result, t.Reason, t.Evidence, t.After = b, b.Result, b.Reason, b.Evidence, b.After
	case *LoadAuthorised:
		if t.Load == nil || t.Authorised != nil || t.LoadOutcome != nil {
			return fmt.Errorf("%w: %s authorises nothing", ErrThread, e.Name)
		}
		t.Authorised = b
	case *LoadOutcome:
		if t.Load == nil {
			return fmt.Errorf("%w: %s is the outcome of a load", ErrThread, e.Name)
		}
		if err := settled(t.Result, b.Result); err != nil {
			return err
		}
		t.WasUnknown = t.WasUnknown || b.Result == Unknown || t.Result == Pending && e.Boot != t.boot
		t.LoadOutcome, t.Result, t.Reason, t.Evidence, t.After = b, b.Result, b.Reason, b.Evidence, b.After
	case *CashReturned:
		if t.Load == nil && t.Bill == nil || t.Result != NotDone || t.CashReturned {
			return fmt.Errorf("%w: %s returns cash that is not owed", ErrThread, e.Name)
		}
		t.CashReturned = true
	case *VoidAnswer:
		if t.Void == nil || t.VoidAnswer != nil {
			return fmt.Errorf("%w: %s answers no request", ErrThread, e.Name)
		}
		t.VoidAnswer, t.Reason, t.Result = b, b.Reason, NotDone
		if b.Agreed {
			t.Result = Done // agreed; the debit is a transaction of its own
		}
	default:
		return fmt.Errorf("%w: %s continues none", ErrThread, e.Name)
	}
	t.Ended = e.Wall
	return nil
}
