package journal

import (
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
)

// Act is what a person of the staff did. Numbers are never reused.
type Act uint8

// Acts.
const (
	ActLogin       Act = 1 // with number and PIN; Detail "unlock" when it opened the person's own locked screen
	ActLoginFailed Act = 2 // number or PIN was wrong, or too many were before; nobody is known to have been there: the actor is the system
	ActLock        Act = 3 // the screen locked itself; the actor is the system
	ActLogout      Act = 4
	ActAgree       Act = 5 // agreed as second person to the void of the top-up Ref; the VoidRequest is the next entry
	ActRefused     Act = 6 // wanted what the person has no right to; Detail is the right
	ActReprint     Act = 7 // printed the slip of the transaction Ref again; Detail is which reprint of it, from 1
	ActSettle      Act = 8 // printed the settlement slip of the shift that Ref closed; Detail is which print of it, from 1

	// Of a person with the right to configure, about another or about itself.
	ActAdd       Act = 20 // put a person on the terminal's list; Detail is the person's rights, with commas
	ActResetPIN  Act = 21 // set a PIN that the person must change at the next login
	ActChangePIN Act = 22 // chose a new PIN; of the person itself
	ActLockOut   Act = 23 // lets the person in no more
	ActLetIn     Act = 24 // takes an ActLockOut back
	ActRemove    Act = 25 // took a person off the list
	ActTieCard   Act = 26 // Detail is the number of the card that names the person at the login, "" for none
)

// Staff is what a person of the staff did that moves no value. What moves
// value, and shifts, carry their Actor themselves.
type Staff struct {
	Act    Act
	Staff  money.StaffID // the person concerned; for ActLoginFailed the number that was typed, perhaps nobody's
	Count  uint32        // how many such acts the entry stands for since the last one that was written, at least 1
	Detail string        // a stable word, at most 64 bytes; never a PIN
}

func (*Staff) Type() Type { return TypeStaff }
func (b *Staff) Fields(c *canon.Codec) {
	canon.U8(c, &b.Act)
	canon.U32(c, &b.Staff)
	canon.U32(c, &b.Count)
	canon.String(c, &b.Detail, 64)
}

var acts = map[Act]string{
	ActLogin: "login", ActLoginFailed: "login_failed", ActLock: "lock", ActLogout: "logout", ActAgree: "agree", ActRefused: "refused", ActReprint: "reprint", ActSettle: "settlement",
	ActAdd: "staff_add", ActResetPIN: "pin_reset", ActChangePIN: "pin_change", ActLockOut: "staff_lock", ActLetIn: "staff_unlock", ActRemove: "staff_remove", ActTieCard: "staff_card",
}

// String gives a stable word: "login", "login_failed", "lock", "logout",
// "agree", "refused", "reprint", "settlement", "staff_add", "pin_reset", "pin_change",
// "staff_lock", "staff_unlock", "staff_remove", "staff_card", or the number of an act that
// this program does not know.
func (a Act) String() string {
	if s, ok := acts[a]; ok {
		return s
	}
	return fmt.Sprintf("act_%d", uint8(a))
}

// OfStaff reports whether an entry holds a person of the staff to account: a
// Staff entry, or any other that such a person caused.
func OfStaff(e Entry) bool {
	if e.Body.Type() == TypeStaff {
		return true
	}
	switch e.Actor.Kind {
	case ActorClerk, ActorTechnician, ActorHeadOffice:
		return true
	}
	return false
}

// TypesOfStaff are the types of which OfStaff entries can be.
func TypesOfStaff() []Type {
	return []Type{TypeStaff, TypeShiftOpen, TypeShiftClose, TypePurchaseIntent, TypeLoadIntent, TypeCashReturned, TypeCardSale, TypeVoidRequest,
		TypeBillIntent, TypeClaimIntent, TypeCardRequest,
		TypeShiftTally, TypeShiftDifference, TypeStockReceipt, TypeStockCount}
}

// Deed is a stable word for what the person of an OfStaff entry did: that of
// its Act, or "shift_open", "shift_close", "topup", "first_load",
// "redemption", "void_debit", "cash_returned", "sale", "void", "bill", "claim",
// "block", "replace", "emptied", "shift_tally", "shift_difference", "stock_receipt",
// "stock_count"; "" for an entry of another kind.
func Deed(e Entry) string {
	switch b := e.Body.(type) {
	case *Staff:
		return b.Act.String()
	case *ShiftOpen:
		return "shift_open"
	case *ShiftClose:
		return "shift_close"
	case *LoadIntent:
		if b.Purpose == PurposeFirstLoad {
			return "first_load"
		}
		return "topup"
	case *PurchaseIntent:
		switch b.Purpose {
		case PurposeVoidTopUp:
			return "void_debit"
		case PurposeEmpty:
			return "emptied"
		}
		return "redemption"
	case *CashReturned:
		return "cash_returned"
	case *CardSale:
		return "sale"
	case *VoidRequest:
		return "void"
	case *BillIntent:
		return "bill"
	case *ClaimIntent:
		return "claim"
	case *CardRequest:
		if b.Wish == WishReplace {
			return "replace"
		}
		return "block"
	case *ShiftTally:
		return "shift_tally"
	case *ShiftDifference:
		return "shift_difference"
	case *StockReceipt:
		return "stock_receipt"
	case *StockCount:
		return "stock_count"
	}
	return ""
}
