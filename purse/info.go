package purse

import (
	"fmt"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Date is a BCD date YYYYMMDD in China Standard Time (purse.md section 2).
// What a card carries need not be a date that exists.
type Date [4]byte

// Time gives the first moment of the day, or the zero time for a date that
// does not exist.
func (d Date) Time() time.Time {
	t, err := money.Stamp{d[0], d[1], d[2], d[3]}.Time()
	if err != nil {
		return time.Time{}
	}
	return t
}

// Before reports whether the day, as the first of a validity, has begun at
// t. A date that does not exist never has.
func (d Date) Before(t time.Time) bool {
	first := d.Time()
	return !first.IsZero() && !t.Before(first)
}

// Covers reports whether the day, as the last of a validity, is not over at
// t. A date that does not exist covers nothing.
func (d Date) Covers(t time.Time) bool {
	last := d.Time()
	return !last.IsZero() && t.Before(last.AddDate(0, 0, 1))
}

// String gives the eight digits as they stand.
func (d Date) String() string { return fmt.Sprintf("%X", d[:]) }

// publicInfoLen is the length of EF 15 that all sectors share; some cards
// have more (purse.md sections 3.3 and 3.6).
const publicInfoLen = 30

// PublicInfo is the public application information of the card, EF 15
// (purse.md section 3.3).
type PublicInfo struct {
	Issuer     [8]byte // institution code, BCD on real cards
	AppType    byte    // 03 = ED and EP is the usual reading
	AppVersion byte
	Number     money.CardNumber
	ValidFrom  Date
	ValidTo    Date
	IssuerData [2]byte
	Raw        []byte // the whole file as read, at least 30 bytes
}

// Test reports whether this is a test card: its issuer begins with that of
// suite.TestIssuer, which is no BCD and so belongs to no institution.
func (p PublicInfo) Test() bool { return testIssuer(p.Issuer) }

func testIssuer(issuer [8]byte) bool {
	return [4]byte(issuer[:4]) == [4]byte(suite.TestIssuer[:4])
}

// Covers reports whether t is within the card's validity, both days
// included (purse.md section 3.3). A date that does not exist covers
// nothing.
func (p PublicInfo) Covers(t time.Time) bool { return p.ValidFrom.Before(t) && p.ValidTo.Covers(t) }

// parsePublicInfo reads EF 15. It fails with ErrPublicInfo when it is too
// short or carries no card number.
func parsePublicInfo(b []byte) (PublicInfo, error) {
	if len(b) < publicInfoLen {
		return PublicInfo{}, fmt.Errorf("%w: %d bytes", ErrPublicInfo, len(b))
	}
	number, err := money.CardNumberFromBCD(b[10:20])
	if err != nil {
		return PublicInfo{}, fmt.Errorf("%w: %w", ErrPublicInfo, err)
	}
	return PublicInfo{
		Issuer:     [8]byte(b),
		AppType:    b[8],
		AppVersion: b[9],
		Number:     number,
		ValidFrom:  Date(b[20:]),
		ValidTo:    Date(b[24:]),
		IssuerData: [2]byte(b[28:]),
		Raw:        append([]byte(nil), b...),
	}, nil
}

// quotedInfo gives EF 15 as the answer to SELECT quotes it, 9F0C within A5
// (purse.md section 3.2), or nil when it does not.
func quotedInfo(fci []byte) []byte {
	list, err := apdu.ParseTLV(fci)
	if err != nil {
		return nil
	}
	t, ok := apdu.FindTLV(list, 0x6F, 0xA5, 0x9F0C)
	if !ok || len(t.Value) < publicInfoLen {
		return nil
	}
	return t.Value
}

// logRecordLen is the length of a record of EF 18 (purse.md section 3.5).
const logRecordLen = 23

// maxLog is the number of records of EF 18 (purse.md section 3.5).
const maxLog = 10

// LogRecord is one record of the card's own log (purse.md section 3.5).
// Nothing in it is proved.
type LogRecord struct {
	Counter   uint16 // before the transaction, by the profile's word on how the card counts; for display only
	Overdraft suite.Limit
	Amount    money.Fen
	TxType    byte
	Terminal  money.TerminalID
	Stamp     money.Stamp // as it stands, need not exist
}

func parseLogRecord(b [logRecordLen]byte, post bool) LogRecord {
	counter := uint16(b[0])<<8 | uint16(b[1])
	if post {
		counter--
	}
	return LogRecord{
		Counter:   counter,
		Overdraft: suite.Limit(b[2:]),
		Amount:    money.FromPurse([4]byte(b[5:])),
		TxType:    b[9],
		Terminal:  money.TerminalID(b[10:]),
		Stamp:     money.Stamp(b[16:]),
	}
}
