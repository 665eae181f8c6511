// Package ledger holds the posting rules: which balanced set of postings each
// verified event makes (DESIGN section 4). It is pure: no I/O, no clock, no
// keys; whoever calls it has verified cryptograms and stored the records.
//
// It may import journal and money. It must never be imported by the audit,
// which recomputes the same table with code of its own.
package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Class is the kind of an account; its number is the first byte of the
// account's stored form and is never reused.
type Class uint8

// Classes of account.
const (
	ClassCustomer   Class = 1  // an electricity account: credit = paid ahead
	ClassCard       Class = 2  // the value on a purse
	ClassShop       Class = 3  // a shop's prepaid float
	ClassHeld       Class = 4  // value whose fate is unknown
	ClassClaim      Class = 5  // what a customer is owed
	ClassDeposit    Class = 6  // card prices
	ClassCommission Class = 7  // what shops earn
	ClassBank       Class = 8  // counter-account of float
	ClassSuspense   Class = 9  // paid to an account that nobody knows
	ClassRevenue    Class = 10 // counter-account of bills
)

var classes = map[Class]struct {
	name string
	key  int // bytes of the key
}{
	ClassCustomer: {"customer", 8}, ClassCard: {"card", 10}, ClassShop: {"shop", 4},
	ClassHeld: {"held", 18}, ClassClaim: {"claim", 18},
	ClassDeposit: {"deposit", 0}, ClassCommission: {"commission", 0}, ClassBank: {"bank", 0},
	ClassSuspense: {"suspense", 0}, ClassRevenue: {"revenue", 0},
}

// Account names an account of value. + is credit: owed to the owner. It is
// comparable; the zero value names none.
type Account struct {
	class Class
	key   [18]byte
}

// Accounts of which there is one.
var (
	Deposit    = Account{class: ClassDeposit}
	Commission = Account{class: ClassCommission}
	Bank       = Account{class: ClassBank}
	Suspense   = Account{class: ClassSuspense}
	Revenue    = Account{class: ClassRevenue}
)

// Customer is "customer/<10 digits>".
func Customer(n money.AccountNumber) Account {
	a := Account{class: ClassCustomer}
	binary.BigEndian.PutUint64(a.key[:], uint64(n))
	return a
}

// Card is "card/<20 digits>".
func Card(n money.CardNumber) Account {
	a := Account{class: ClassCard}
	copy(a.key[:], n[:])
	return a
}

// Shop is "shop/<8 digits>".
func Shop(n money.ShopID) Account {
	a := Account{class: ClassShop}
	binary.BigEndian.PutUint32(a.key[:], uint32(n))
	return a
}

// Held is "held/<name of the intent>".
func Held(n journal.Name) Account { return named(ClassHeld, n) }

// Claim is "claim/<name of the intent>".
func Claim(n journal.Name) Account { return named(ClassClaim, n) }

func named(c Class, n journal.Name) Account {
	a := Account{class: c}
	copy(a.key[:], n.Terminal[:])
	binary.BigEndian.PutUint32(a.key[6:], n.Epoch)
	binary.BigEndian.PutUint64(a.key[10:], n.Seq)
	return a
}

// Class gives the kind of account.
func (a Account) Class() Class { return a.class }

// Number is the customer's account number, 0 for other classes.
func (a Account) Number() money.AccountNumber {
	if a.class != ClassCustomer {
		return 0
	}
	return money.AccountNumber(binary.BigEndian.Uint64(a.key[:]))
}

// String gives the name that people read.
func (a Account) String() string {
	c := classes[a.class]
	switch a.class {
	case ClassCustomer:
		return c.name + "/" + a.Number().String()
	case ClassCard:
		return c.name + "/" + hex.EncodeToString(a.key[:10])
	case ClassShop:
		return c.name + "/" + money.ShopID(binary.BigEndian.Uint32(a.key[:])).String()
	case ClassHeld, ClassClaim:
		n := journal.Name{Terminal: money.TerminalID(a.key[:6]), Epoch: binary.BigEndian.Uint32(a.key[6:]), Seq: binary.BigEndian.Uint64(a.key[10:])}
		return c.name + "/" + n.String()
	}
	return c.name
}

// MarshalText gives JSON what String gives.
func (a Account) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// ErrAccount means that a text or bytes name no account.
var ErrAccount = errors.New("ledger: not an account")

// ParseAccount reads what String writes.
func ParseAccount(s string) (Account, error) {
	head, key, keyed := strings.Cut(s, "/")
	var err error
	bad := func() (Account, error) { return Account{}, fmt.Errorf("%q: %w", s, ErrAccount) }
	for class, c := range classes {
		if c.name != head {
			continue
		}
		switch class {
		case ClassCustomer:
			var n money.AccountNumber
			if n, err = money.ParseAccountNumber(key); err == nil {
				return Customer(n), nil
			}
		case ClassCard:
			var n money.CardNumber
			if n, err = money.ParseCardNumber(key); err == nil {
				return Card(n), nil
			}
		case ClassShop:
			var n money.ShopID
			if n, err = money.ParseShopID(key); err == nil {
				return Shop(n), nil
			}
		case ClassHeld, ClassClaim:
			var n journal.Name
			if n, err = journal.ParseName(key); err == nil {
				return named(class, n), nil
			}
		default:
			if !keyed {
				return Account{class: class}, nil
			}
		}
	}
	return bad()
}

// Bytes is the stored form: class, then the key.
func (a Account) Bytes() []byte {
	return append([]byte{byte(a.class)}, a.key[:classes[a.class].key]...)
}

// AccountFromBytes reads what Bytes writes. It fails with ErrAccount.
func AccountFromBytes(b []byte) (Account, error) {
	if len(b) == 0 {
		return Account{}, ErrAccount
	}
	c, ok := classes[Class(b[0])]
	if !ok || len(b) != 1+c.key {
		return Account{}, fmt.Errorf("%x: %w", b, ErrAccount)
	}
	a := Account{class: Class(b[0])}
	copy(a.key[:], b[1:])
	return a, nil
}

// Posting moves an amount into (+) or out of (-) an account.
type Posting struct {
	Account Account
	Amount  money.Fen
}

// move takes a from one account and gives it to another: a balanced set.
func move(a money.Fen, from, to Account) []Posting {
	return []Posting{{from, -a}, {to, a}}
}
