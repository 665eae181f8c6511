package apdu

import "fmt"

// SW is a status word, SW1 in the high byte. It is an error value, so
// errors.Is(err, apdu.SWFileNotFound) works through wrapping; a command that
// answered with it has been processed, so an SW never means "may have
// executed without our knowing".
type SW uint16

// Status words of ISO/IEC 7816-4 table 6 and of PBOC ED/EP cards
// (reference: purse.md section 5).
const (
	SWOK                    SW = 0x9000
	SWNoInformation         SW = 0x6200
	SWDataMayBeCorrupt      SW = 0x6281
	SWEndOfFile             SW = 0x6282
	SWSelectedInvalidated   SW = 0x6283
	SWFCIFormat             SW = 0x6284
	SWAuthenticationFailed  SW = 0x6300
	SWExecutionError        SW = 0x6400
	SWMemoryFailure         SW = 0x6581
	SWWrongLength           SW = 0x6700
	SWSMNotSupported        SW = 0x6882
	SWClassMismatch         SW = 0x6900
	SWNotInThisState        SW = 0x6901
	SWIncompatibleFile      SW = 0x6981
	SWSecurityNotSatisfied  SW = 0x6982
	SWMethodBlocked         SW = 0x6983
	SWReferenceInvalid      SW = 0x6984
	SWConditionsNotMet      SW = 0x6985
	SWNoCurrentEF           SW = 0x6986
	SWSMMissing             SW = 0x6987
	SWSMIncorrect           SW = 0x6988
	SWWrongData             SW = 0x6A80
	SWFunctionNotSupported  SW = 0x6A81
	SWFileNotFound          SW = 0x6A82
	SWRecordNotFound        SW = 0x6A83
	SWNoSpace               SW = 0x6A84
	SWWrongP1P2             SW = 0x6A86
	SWReferenceNotFound     SW = 0x6A88
	SWWrongOffset           SW = 0x6B00
	SWINSNotSupported       SW = 0x6D00
	SWCLANotSupported       SW = 0x6E00
	SWUnspecified           SW = 0x6F00
	SWBalanceLowAlternative SW = 0x9301 // as 9401 on some card operating systems
	SWMACInvalid            SW = 0x9302
	SWApplicationLocked     SW = 0x9303
	SWBalanceLow            SW = 0x9401
	SWCounterExhausted      SW = 0x9402
	SWKeyIndexNotSupported  SW = 0x9403
	SWProofNotAvailable     SW = 0x9406
)

// SW1 and SW2 are the two bytes of the status word.
func (s SW) SW1() byte { return byte(s >> 8) }

// SW2 is the low byte.
func (s SW) SW2() byte { return byte(s) }

// OK reports 9000.
func (s SW) OK() bool { return s == SWOK }

// MoreData reports 61xx and the number of bytes waiting (256 for 6100).
func (s SW) MoreData() (n int, ok bool) {
	if s.SW1() != 0x61 {
		return 0, false
	}
	return int(s.SW2()-1) + 1, true
}

// RightLength reports 6Cxx and the length that the card wants (256 for 6C00).
func (s SW) RightLength() (n int, ok bool) {
	if s.SW1() != 0x6C {
		return 0, false
	}
	return int(s.SW2()-1) + 1, true
}

// TriesLeft reports 63CX and X.
func (s SW) TriesLeft() (n int, ok bool) {
	if s&0xFFF0 != 0x63C0 {
		return 0, false
	}
	return int(s & 0xF), true
}

// MayHaveExecuted is always false: the card answered, its answer is known.
func (s SW) MayHaveExecuted() bool { return false }

// Error gives the four hex digits and the generic meaning.
func (s SW) Error() string { return fmt.Sprintf("%04X %s", uint16(s), s.Meaning()) }
