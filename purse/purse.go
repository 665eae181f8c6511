// Package purse speaks the ED/EP protocol of purse.md to a customer's card
// and to the SAMs of a terminal: it selects, reads, initialises, loads,
// debits, asks for proof, and judges from what the card shows how a broken
// exchange ended.
//
// It may import apdu, suite, money, journal and firmware-profiles. It knows
// no reader, shop, account or disk, holds no key, writes no log, and never
// sends a command that moves value twice.
package purse

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
)

// Card is all that this package asks of a card: one command, one response,
// 61xx and 6Cxx already handled by apdu.GetResponse where the protocol needs
// it. What an error says about execution is read by apdu.MayHaveExecuted.
type Card interface {
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// notice is an error of this package. None leaves a command that moves value
// in doubt; only *ExecuteError may.
type notice string

func (n notice) Error() string { return "purse: " + string(n) }

// MayHaveExecuted is read by apdu.MayHaveExecuted.
func (notice) MayHaveExecuted() bool { return false }

// Errors of this package. errors.Is compares by value, and no two are equal.
const (
	ErrNoPurse          = notice("no purse application on this card")
	ErrBlocked          = notice("the card or its application is blocked")
	ErrPublicInfo       = notice("the public information file is not readable as one")
	ErrAnswer           = notice("the card's answer has not the form that the protocol gives it")
	ErrAmount           = notice("the amount does not fit this purse")
	ErrPIN              = notice("a PIN is 4 to 12 decimal digits")
	ErrNoInit           = notice("no transaction of that kind is initialised")
	ErrNoProof          = notice("the card holds no proof of that transaction")
	ErrProofUnsupported = notice("the card gives no transaction proofs")
	ErrType             = notice("not a transaction type of this purse")
)

// ExecuteError is the failure of a command that moves value: CREDIT FOR LOAD
// and DEBIT FOR PURCHASE on the card, INIT FOR LOAD in the load SAM, which
// lowers what that may still give.
type ExecuteError struct {
	SW       apdu.SW // the card's word, 0 when none came
	Cause    error   // a status word error, a transport error, or ErrAnswer
	Executed bool    // value may have moved; of a card, find out by Judge
}

// Error says what happened and whether value may have moved.
func (e *ExecuteError) Error() string {
	if e.Executed {
		return fmt.Sprintf("purse: value may have moved: %v", e.Cause)
	}
	return fmt.Sprintf("purse: value has not moved: %v", e.Cause)
}

// Unwrap gives the cause, so that errors.Is(err, apdu.SWBalanceLow) holds
// also for a card that says it in its dialect.
func (e *ExecuteError) Unwrap() error { return e.Cause }

// MayHaveExecuted is read by apdu.MayHaveExecuted.
func (e *ExecuteError) MayHaveExecuted() bool { return e.Executed }

// TriesError is a wrong or blocked PIN.
type TriesError struct {
	Left int // tries left, 0 = blocked
}

func (e *TriesError) Error() string {
	if e.Left == 0 {
		return "purse: PIN blocked"
	}
	return fmt.Sprintf("purse: wrong PIN, %d tries left", e.Left)
}

// MayHaveExecuted is always false: VERIFY moves no value.
func (e *TriesError) MayHaveExecuted() bool { return false }

// ask sends a command that moves no value and gives the data of a 9000
// answer of exactly want bytes.
func ask(ctx context.Context, c Card, d apdu.Dialect, what string, cmd apdu.Command, want int) ([]byte, error) {
	r, err := apdu.Send(ctx, c, cmd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := status(d, r.SW); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(r.Data) != want {
		return nil, fmt.Errorf("%s: %w: %d bytes, not %d", what, ErrAnswer, len(r.Data), want)
	}
	return r.Data, nil
}

// status is Dialect.Err, with 9301 meaning 9401 on every card, since no card
// uses both (purse.md section 1, setting 7).
func status(d apdu.Dialect, sw apdu.SW) error {
	if d.Normal(sw) == apdu.SWBalanceLowAlternative {
		return &apdu.StatusError{SW: sw, Means: apdu.SWBalanceLow}
	}
	return d.Err(sw)
}

// word gives the standard status word that the card answered, if err is one.
func word(err error) (apdu.SW, bool) {
	var sw apdu.SW
	return sw, errors.As(err, &sw)
}

// answered reports whether err came with a complete answer of the card, so
// that the card is still there.
func answered(err error) bool {
	_, ok := word(err)
	return ok || errors.Is(err, ErrAnswer)
}

// execute sends a command that moves value, once, and tells honestly what
// may have come of it.
func execute(ctx context.Context, c Card, d apdu.Dialect, what string, cmd apdu.Command, want int) ([]byte, error) {
	b, err := cmd.Bytes()
	if err == nil {
		err = ctx.Err() // too late to begin: nothing has been sent
	}
	if err != nil {
		return nil, &ExecuteError{Cause: fmt.Errorf("%s: %w", what, err)}
	}
	raw, err := c.Transmit(ctx, b)
	if err != nil {
		return nil, &ExecuteError{Cause: fmt.Errorf("%s: %w", what, err), Executed: apdu.MayHaveExecuted(err)}
	}
	r, err := apdu.ParseResponse(raw)
	if err != nil {
		return nil, &ExecuteError{Cause: fmt.Errorf("%s: %w", what, err), Executed: true}
	}
	if err := status(d, r.SW); err != nil {
		sw, _ := word(err)
		return nil, &ExecuteError{
			SW:       r.SW,
			Cause:    fmt.Errorf("%s: %w", what, err),
			Executed: !refusal(sw) || len(r.Data) != 0, // a refusal carries no data
		}
	}
	if len(r.Data) != want {
		return nil, &ExecuteError{SW: r.SW, Cause: fmt.Errorf("%s: %w: %d bytes, not %d", what, ErrAnswer, len(r.Data), want), Executed: true}
	}
	return r.Data, nil
}

// refusal reports whether a standard word says that an execute command has
// changed nothing (purse.md sections 5 and 8.4: errors of the check order
// leave non-volatile state untouched). What is not listed may have executed:
// 6581 and 6F00, warnings, 61xx and 6Cxx that nobody resolved, and every word
// whose meaning is not known.
func refusal(sw apdu.SW) bool {
	switch sw {
	case apdu.SWExecutionError, apdu.SWWrongLength, apdu.SWSMNotSupported,
		apdu.SWClassMismatch, apdu.SWNotInThisState,
		apdu.SWIncompatibleFile, apdu.SWSecurityNotSatisfied, apdu.SWMethodBlocked, apdu.SWReferenceInvalid,
		apdu.SWConditionsNotMet, apdu.SWNoCurrentEF, apdu.SWSMMissing, apdu.SWSMIncorrect,
		apdu.SWWrongData, apdu.SWFunctionNotSupported, apdu.SWFileNotFound, apdu.SWWrongP1P2, apdu.SWReferenceNotFound,
		apdu.SWINSNotSupported, apdu.SWCLANotSupported,
		apdu.SWMACInvalid, apdu.SWApplicationLocked,
		apdu.SWBalanceLow, apdu.SWCounterExhausted, apdu.SWKeyIndexNotSupported:
		return true
	}
	return false
}
