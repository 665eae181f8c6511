package money

import (
	"errors"
	"fmt"
	"time"
)

// CST is China Standard Time, UTC+8 without daylight saving. Dates in MACs
// and on slips are in CST whatever the host's zone.
var CST = time.FixedZone("CST", 8*60*60)

// ErrStamp means that seven bytes are not a BCD date and time.
var ErrStamp = errors.New("not a BCD date and time")

// Stamp is a date and time as a purse carries it: BCD YYYYMMDDHHMMSS in CST,
// 7 bytes (purse.md section 2). The zero value means none.
type Stamp [7]byte

// StampOf gives the stamp of t, cut to the second.
func StampOf(t time.Time) Stamp {
	t = t.In(CST)
	bcd := func(v int) byte { return byte(v/10<<4 | v%10) }
	y := t.Year()
	return Stamp{bcd(y / 100 % 100), bcd(y % 100), bcd(int(t.Month())), bcd(t.Day()), bcd(t.Hour()), bcd(t.Minute()), bcd(t.Second())}
}

// Date is the first four bytes, YYYYMMDD.
func (s Stamp) Date() [4]byte { return [4]byte(s[:4]) }

// Clock is the last three bytes, HHMMSS.
func (s Stamp) Clock() [3]byte { return [3]byte(s[4:]) }

// Time reads the stamp back. It fails with ErrStamp on nibbles that are not
// digits and on dates that do not exist.
func (s Stamp) Time() (time.Time, error) {
	t, err := time.ParseInLocation("20060102150405", fmt.Sprintf("%x", s[:]), CST)
	if err != nil {
		return time.Time{}, fmt.Errorf("%x: %w", s[:], ErrStamp)
	}
	return t, nil
}
