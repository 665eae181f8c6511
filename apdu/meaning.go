package apdu

import "fmt"

// meanings are the generic meanings of purse.md section 5. What a card
// operating system means beyond them is a Dialect's business.
var meanings = map[SW]string{
	SWOK:                    "done",
	SWNoInformation:         "no information given",
	SWDataMayBeCorrupt:      "returned data may be corrupt",
	SWEndOfFile:             "end of file before the expected length",
	SWSelectedInvalidated:   "selected file invalidated",
	SWFCIFormat:             "file control information format not supported",
	SWAuthenticationFailed:  "authentication failed",
	SWExecutionError:        "execution error, state unchanged",
	SWMemoryFailure:         "memory failure, state of the card unknown",
	SWWrongLength:           "wrong length",
	SWSMNotSupported:        "secure messaging not supported",
	SWClassMismatch:         "class does not fit the protection of the file or key",
	SWNotInThisState:        "command not accepted in this state",
	SWIncompatibleFile:      "command incompatible with file type",
	SWSecurityNotSatisfied:  "security status not satisfied",
	SWMethodBlocked:         "key or PIN blocked",
	SWReferenceInvalid:      "referenced data invalid or no challenge outstanding",
	SWConditionsNotMet:      "conditions of use not satisfied",
	SWNoCurrentEF:           "no current file",
	SWSMMissing:             "secure messaging MAC missing",
	SWSMIncorrect:           "secure messaging MAC wrong",
	SWWrongData:             "wrong data",
	SWFunctionNotSupported:  "function not supported, or card or application blocked",
	SWFileNotFound:          "file or application not found",
	SWRecordNotFound:        "record not found",
	SWNoSpace:               "no space in file",
	SWWrongP1P2:             "wrong P1 P2",
	SWReferenceNotFound:     "referenced key or data not found",
	SWWrongOffset:           "offset beyond the end",
	SWINSNotSupported:       "instruction not supported",
	SWCLANotSupported:       "class not supported",
	SWUnspecified:           "no precise diagnosis",
	SWBalanceLowAlternative: "balance insufficient",
	SWMACInvalid:            "MAC invalid",
	SWApplicationLocked:     "application permanently locked",
	SWBalanceLow:            "balance insufficient",
	SWCounterExhausted:      "transaction counter exhausted",
	SWKeyIndexNotSupported:  "key index not supported",
	SWProofNotAvailable:     "requested MAC or TAC not available",
}

// Meaning is the generic meaning of the status word (purse.md section 5; the
// classes of ISO/IEC 7816-4 table 5 for words that have none there). It is
// for technicians and logs: no trailing stop, lower case, English.
func (s SW) Meaning() string {
	if m, ok := meanings[s]; ok {
		return m
	}
	if n, ok := s.MoreData(); ok {
		return fmt.Sprintf("%d bytes of response waiting", n)
	}
	if n, ok := s.RightLength(); ok {
		return fmt.Sprintf("wrong expected length, the right one is %d", n)
	}
	if n, ok := s.TriesLeft(); ok {
		return fmt.Sprintf("verification failed, %d tries left", n)
	}
	switch s.SW1() { // ISO/IEC 7816-4 table 5
	case 0x62:
		return "warning, state unchanged"
	case 0x63:
		return "warning, state changed"
	case 0x64:
		return "execution error, state unchanged"
	case 0x65:
		return "execution error, state changed"
	case 0x66:
		return "security issue"
	case 0x67:
		return "wrong length"
	case 0x68:
		return "function in class byte not supported"
	case 0x69:
		return "command not allowed"
	case 0x6A:
		return "wrong parameters"
	case 0x6B:
		return "wrong parameters P1 P2"
	case 0x6D:
		return "instruction not supported"
	case 0x6E:
		return "class not supported"
	case 0x6F:
		return "no precise diagnosis"
	}
	return "meaning not known"
}
