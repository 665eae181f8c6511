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
	ActAgree       Act = 5  // agreed as second person to the void of the top-up Ref; the VoidRequest is the next entry
	ActRefused     Act = 6  // wanted what the person has no right to; Detail is the right
	ActReprint     Act = 20 // printed the slip of the transaction Ref again; Detail is which reprint of it, from 1
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
	ActLogin: "login", ActLoginFailed: "login_failed", ActLock: "lock", ActLogout: "logout", ActAgree: "agree", ActRefused: "refused", ActReprint: "reprint",
}

// String gives a stable word: "login", "login_failed", "lock", "logout",
// "agree", "refused", "reprint", or the number of an act that this program does not know.
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
	return []Type{TypeStaff, TypeShiftOpen, TypeShiftClose, TypePurchaseIntent, TypeLoadIntent, TypeCashReturned, TypeCardSale, TypeVoidRequest}
}

// Deed is a stable word for what the person of an OfStaff entry did: that of
// its Act, or "shift_open", "shift_close", "topup", "first_load",
// "redemption", "void_debit", "cash_returned", "sale", "void"; "" for an entry
// of another kind.
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
		if b.Purpose == PurposeVoidTopUp {
			return "void_debit"
		}
		return "redemption"
	case *CashReturned:
		return "cash_returned"
	case *CardSale:
		return "sale"
	case *VoidRequest:
		return "void"
	}
	return ""
}
