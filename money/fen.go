// Package money holds amounts and the numbers that name cards, accounts,
// terminals, shops and staff. Each number is a type of its own that
// validates, so that none can be passed where another is meant.
//
// It imports the standard library only and does no I/O.
package money

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Fen is an amount of money: 1 fen = 0.01 yuan. It is never a float. Its
// JSON form is a plain integer.
type Fen int64

// MaxFen is the largest amount accepted from outside, 10 billion yuan: far
// below the range of int64, so that sums of such amounts cannot overflow.
const MaxFen Fen = 1_000_000_000_000

// MaxPurse is the largest amount that a purse can carry: 4 bytes unsigned
// big-endian (purse.md section 2).
const MaxPurse Fen = math.MaxUint32

// Errors of reading amounts.
var (
	ErrAmountSyntax = errors.New("not an amount of yuan with at most two decimals")
	ErrAmountRange  = errors.New("amount out of range")
)

// ParseYuan reads a decimal amount of yuan as a person types it: "50",
// "50.5", "50.05". It takes no sign, exponent, separator or third decimal.
func ParseYuan(s string) (Fen, error) {
	whole, frac, hasFrac := strings.Cut(s, ".")
	if whole == "" || (hasFrac && (frac == "" || len(frac) > 2)) {
		return 0, fmt.Errorf("%q: %w", s, ErrAmountSyntax)
	}
	if len(whole) > 12 {
		return 0, fmt.Errorf("%q: %w", s, ErrAmountRange)
	}
	for len(frac) < 2 {
		frac += "0"
	}
	var v Fen
	for _, c := range whole + frac {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q: %w", s, ErrAmountSyntax)
		}
		v = v*10 + Fen(c-'0')
	}
	if v > MaxFen {
		return 0, fmt.Errorf("%q: %w", s, ErrAmountRange)
	}
	return v, nil
}

// Yuan writes yuan as people read them: "¥1,234.56", "-¥5.00".
func (f Fen) Yuan() string {
	sign, s := "", f.String()
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 6; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + "¥" + s
}

// String writes yuan with two decimals and no separators: "-1234.05".
func (f Fen) String() string {
	sign, u := "", uint64(f)
	if f < 0 {
		sign, u = "-", -u
	}
	return fmt.Sprintf("%s%d.%02d", sign, u/100, u%100)
}

// Purse gives the amount as the 4 bytes big-endian of a purse command. It
// fails with ErrAmountRange outside 0..MaxPurse.
func (f Fen) Purse() ([4]byte, error) {
	if f < 0 || f > MaxPurse {
		return [4]byte{}, fmt.Errorf("%s yuan: %w", f, ErrAmountRange)
	}
	return [4]byte{byte(f >> 24), byte(f >> 16), byte(f >> 8), byte(f)}, nil
}

// FromPurse reads the 4 bytes big-endian of a purse.
func FromPurse(b [4]byte) Fen {
	return Fen(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
}
