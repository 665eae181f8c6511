package money

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of reading numbers.
var (
	ErrCardNumber     = errors.New("not a card number: 20 digits (leading zeros may be left out)")
	ErrAccountNumber  = errors.New("not an account number: 10 digits")
	ErrTerminalID     = errors.New("not a terminal number: 12 hexadecimal digits")
	ErrShopID         = errors.New("not a shop number: 8 digits")
	ErrStaffID        = errors.New("not a staff number: 1 to 6 digits")
	ErrSAMID          = errors.New("not a SAM number: 20 hexadecimal digits")
	ErrNumberAllZeros = errors.New("the number is all zeros")
)

// CardNumber is the application serial number of a purse card: 10 bytes BCD,
// 20 decimal digits, right-aligned (purse.md section 2). The zero value names
// no card.
type CardNumber [10]byte

// ParseCardNumber reads 1 to 20 decimal digits; blanks between groups are
// allowed, leading zeros may be left out.
func ParseCardNumber(s string) (CardNumber, error) {
	s = strings.ReplaceAll(s, " ", "")
	if len(s) == 0 || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return CardNumber{}, fmt.Errorf("%q: %w", s, ErrCardNumber)
	}
	var n CardNumber
	hex.Decode(n[:], []byte(strings.Repeat("0", 20-len(s))+s)) // digits only: cannot fail
	if n.IsZero() {
		return CardNumber{}, fmt.Errorf("%q: %w", s, ErrNumberAllZeros)
	}
	return n, nil
}

// CardNumberFromBCD takes the 10 bytes of the public information file. It
// fails with ErrCardNumber when a nibble is not a digit.
func CardNumberFromBCD(b []byte) (CardNumber, error) {
	if len(b) != 10 {
		return CardNumber{}, fmt.Errorf("%d bytes: %w", len(b), ErrCardNumber)
	}
	return ParseCardNumber(hex.EncodeToString(b))
}

// IsZero reports whether n names no card.
func (n CardNumber) IsZero() bool { return n == CardNumber{} }

// String gives all 20 digits.
func (n CardNumber) String() string { return hex.EncodeToString(n[:]) }

// Last4 gives the last four digits, which is all that a screen or a slip
// shows of a card.
func (n CardNumber) Last4() string { return n.String()[16:] }

// Factor is the diversification factor: the rightmost 16 digits, 8 bytes
// (purse.md section 4.4).
func (n CardNumber) Factor() [8]byte { return [8]byte(n[2:]) }

// MarshalText and UnmarshalText give JSON and YAML the 20 digits.
func (n CardNumber) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseCardNumber reads.
func (n *CardNumber) UnmarshalText(b []byte) (err error) {
	*n, err = ParseCardNumber(string(b))
	return err
}

// AccountNumber names an electricity account: 10 decimal digits, the first
// of which may be zero. The zero value names none.
type AccountNumber uint64

// ParseAccountNumber reads exactly ten digits.
func ParseAccountNumber(s string) (AccountNumber, error) {
	v, err := digits(s, 10, 10, ErrAccountNumber)
	return AccountNumber(v), err
}

// String gives the ten digits.
func (n AccountNumber) String() string { return fmt.Sprintf("%010d", uint64(n)) }

// MarshalText gives the ten digits.
func (n AccountNumber) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseAccountNumber reads.
func (n *AccountNumber) UnmarshalText(b []byte) (err error) {
	*n, err = ParseAccountNumber(string(b))
	return err
}

// TerminalID is the 6-byte terminal number that the PSAM carries in EF 16
// and that enters every MAC and TAC (purse.md sections 2 and 9.1). The zero
// value names none.
type TerminalID [6]byte

// ParseTerminalID reads 12 hexadecimal digits.
func ParseTerminalID(s string) (TerminalID, error) {
	b, err := fixedHex(s, 6, ErrTerminalID)
	if err != nil {
		return TerminalID{}, err
	}
	return TerminalID(b), nil
}

// String gives 12 upper-case hexadecimal digits.
func (n TerminalID) String() string { return fmt.Sprintf("%X", n[:]) }

// IsZero reports whether n names no terminal.
func (n TerminalID) IsZero() bool { return n == TerminalID{} }

// MarshalText gives the 12 digits.
func (n TerminalID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseTerminalID reads.
func (n *TerminalID) UnmarshalText(b []byte) (err error) {
	*n, err = ParseTerminalID(string(b))
	return err
}

// SAMID is the 10-byte serial number of a PSAM or load SAM, EF 15 of its MF
// (purse.md section 9.1). The zero value names none.
type SAMID [10]byte

// ParseSAMID reads 20 hexadecimal digits.
func ParseSAMID(s string) (SAMID, error) {
	b, err := fixedHex(s, 10, ErrSAMID)
	if err != nil {
		return SAMID{}, err
	}
	return SAMID(b), nil
}

// String gives 20 upper-case hexadecimal digits.
func (n SAMID) String() string { return fmt.Sprintf("%X", n[:]) }

// IsZero reports whether n names no SAM.
func (n SAMID) IsZero() bool { return n == SAMID{} }

// Factor is the diversification factor of the SAM's own keys: the last 8
// bytes.
func (n SAMID) Factor() [8]byte { return [8]byte(n[2:]) }

// MarshalText gives the 20 digits.
func (n SAMID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseSAMID reads.
func (n *SAMID) UnmarshalText(b []byte) (err error) {
	*n, err = ParseSAMID(string(b))
	return err
}

// ShopID names a shop: 8 decimal digits. Zero names none.
type ShopID uint32

// ParseShopID reads exactly eight digits.
func ParseShopID(s string) (ShopID, error) {
	v, err := digits(s, 8, 8, ErrShopID)
	return ShopID(v), err
}

// String gives the eight digits.
func (n ShopID) String() string { return fmt.Sprintf("%08d", uint32(n)) }

// MarshalText gives the eight digits.
func (n ShopID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseShopID reads.
func (n *ShopID) UnmarshalText(b []byte) (err error) {
	*n, err = ParseShopID(string(b))
	return err
}

// StaffID names a person who works a terminal, within the shop or the
// utility: 1..999999. Zero names nobody.
type StaffID uint32

// ParseStaffID reads one to six digits.
func ParseStaffID(s string) (StaffID, error) {
	v, err := digits(s, 1, 6, ErrStaffID)
	return StaffID(v), err
}

// String gives the digits without leading zeros.
func (n StaffID) String() string { return strconv.FormatUint(uint64(n), 10) }

func digits(s string, min, max int, kind error) (uint64, error) {
	if len(s) < min || len(s) > max || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("%q: %w", s, kind)
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", s, kind)
	}
	if v == 0 {
		return 0, fmt.Errorf("%q: %w", s, ErrNumberAllZeros)
	}
	return v, nil
}

func fixedHex(s string, n int, kind error) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("%q: %w", s, kind)
	}
	for _, c := range b {
		if c != 0 {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%q: %w", s, ErrNumberAllZeros)
}
