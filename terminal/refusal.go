package terminal

import (
	"fmt"

	"github.com/dianka/dianka/money"
)

// Code is a stable word for a refusal or a warning. The screens hold a
// sentence for each in every language; a test keeps them complete.
type Code string

// Codes of refusal: nothing was written, nothing was taken from the card.
const (
	CodeNoCard          Code = "no_card"            // no card in the reader
	CodeOtherCard       Code = "other_card"         // not the card that the screen showed
	CodeUnreadable      Code = "card_unreadable"    // mute, no purse, or garbled
	CodeCardBlocked     Code = "card_blocked"       // on the hotlist, or locked by its issuer
	CodeCardExpired     Code = "card_expired"       // outside its validity
	CodeCardNotActive   Code = "card_not_activated" // stock that nobody sold
	CodeCardActive      Code = "card_already_sold"
	CodeCardNotOurs     Code = "card_not_in_stock" // outside this shop's ranges
	CodeCardNotEmpty    Code = "card_not_empty"    // stock must carry a zero purse
	CodeTestCard        Code = "test_card"         // a test card at a real terminal
	CodeRealCard        Code = "real_card"         // a real card at a terminal with test keys
	CodePINWrong        Code = "pin_wrong"
	CodePINBlocked      Code = "pin_blocked"
	CodePINNeeded       Code = "pin_needed"
	CodeBalanceLow      Code = "balance_low"
	CodeBalanceMoved    Code = "balance_moved" // the card holds something else than the screen showed
	CodeCardEmpty       Code = "card_empty"    // nothing is on the card
	CodeAmount          Code = "amount"        // zero, negative or beyond any limit
	CodeTendered        Code = "tendered"      // less cash than the amount
	CodeTopUpMin        Code = "topup_min"
	CodeTopUpMax        Code = "topup_max"
	CodeOfflineMax      Code = "offline_max" // one off-line top-up
	CodeCardDayMax      Code = "card_day_max"
	CodePurseMax        Code = "purse_max" // the card would hold too much
	CodeRedeemMax       Code = "redeem_max"
	CodeUnsentValue     Code = "unsent_value" // unsent top-ups over their limit
	CodeUnsentCount     Code = "unsent_count"
	CodeUnsentAge       Code = "unsent_age"
	CodeCardOffline     Code = "card_offline_loads" // too many off-line loads of this card in a row
	CodeFloat           Code = "float"              // the shop's float and ceiling are used up, by what is known here
	CodeAllowance       Code = "allowance"          // the load SAM's allowance is used up
	CodeHotlistOld      Code = "hotlist_old"
	CodeNoLimits        Code = "no_limits" // the utility never sent limits
	CodeNoLink          Code = "no_link"   // this can only be done on line
	CodeNoAnswer        Code = "no_answer" // the utility did not answer: what was not certain still is not
	CodeNoPSAM          Code = "no_psam"
	CodeNoLoadSAM       Code = "no_load_sam"
	CodeSAMSwapped      Code = "sam_swapped"      // not the SAM that this terminal was enrolled with
	CodeJournalOld      Code = "journal_old"      // the PSAM is further on than this journal: a restored or copied disk
	CodePSAMTwin        Code = "psam_twin"        // the PSAM is not beyond this journal: another under the same number
	CodeNoShift         Code = "no_shift"         // no shift is open
	CodeShiftOpen       Code = "shift_open"       // one is open already
	CodeShiftClosed     Code = "shift_closed"     // it was closed already
	CodeNoDifference    Code = "no_difference"    // the cash was what it should be: there is nothing to explain
	CodeExplained       Code = "explained"        // the difference was explained already
	CodeNote            Code = "note"             // the note is too long, or the cause needs one
	CodeStockRange      Code = "stock_range"      // first and last number are no pack: backwards, or too many
	CodeStockOverlap    Code = "stock_overlap"    // a card of the pack was received before
	CodeStockCount      Code = "stock_count"      // more cards than the pack has, or one of another pack
	CodeNotAllowed      Code = "not_allowed"      // this person may not do that
	CodeAccountAgain    Code = "account_again"    // unknown account: type it a second time
	CodeAccountMismatch Code = "account_mismatch" // the two differ
	CodeAccountUnknown  Code = "account_unknown"  // the utility says that it does not exist
	CodeTokenReused     Code = "token_reused"     // same token, other wish
	CodeBusy            Code = "busy"             // another transaction has the card
	CodeNotFound        Code = "not_found"
	CodeNotVoidable     Code = "not_voidable" // not a done top-up of this shift
	CodeVoided          Code = "already_voided"
	CodeHostRefused     Code = "host_refused" // Detail has the utility's code
	CodeCashNotOwed     Code = "cash_not_owed"
	CodeNoClaim         Code = "no_claim" // nothing waits under that number; Detail has the utility's code
	CodeStanding        Code = "standing" // the utility withdrew the right to sell, or the journal must be enrolled anew
	CodeStopped         Code = "stopped"  // the terminal's file could not be written
	CodeFull            Code = "disk_full"
	CodeRemade          Code = "remade" // the terminal's file was made anew and must be enrolled again
)

// Warnings in Status.Warnings.
const (
	WarnUnsentCount Code = "warn_unsent_count"
	WarnUnsentAge   Code = "warn_unsent_age"
	WarnHotlistOld  Code = "warn_hotlist_old"
	WarnOpen        Code = "warn_open"
	WarnAllowance   Code = "warn_allowance"    // off-line allowance below one top-up
	WarnFloat       Code = "warn_float"        // the shop's float and ceiling do not cover one top-up
	WarnCopy        Code = "warn_copy"         // the second copy of unsent entries is not whole
	WarnNotReceived Code = "warn_not_received" // the card in the reader was never received into stock; it may be sold
	WarnClock       Code = "warn_clock"        // the clock stands before what the utility signed last, or before an entry: it was set back
)

// Refusal says that nothing was done and why. The money is where it was.
type Refusal struct {
	Code   Code
	Limit  money.Fen // the limit met, when Code names one
	Left   int       // tries left, for CodePINWrong
	Detail string    // the utility's code or another stable word, may be empty
	Cause  error     // for the log, may be nil
}

// Error gives the code and the cause, for logs.
func (r *Refusal) Error() string {
	s := "refused: " + string(r.Code)
	if r.Detail != "" {
		s += " (" + r.Detail + ")"
	}
	if r.Cause != nil {
		s += fmt.Sprintf(": %v", r.Cause)
	}
	return s
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Is makes errors.Is(err, &Refusal{Code: c}) compare codes.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code
}

// MayHaveExecuted is false: a refusal comes before the card moves value.
func (r *Refusal) MayHaveExecuted() bool { return false }

func refuse(c Code) *Refusal { return &Refusal{Code: c} }

func refuseLimit(c Code, limit money.Fen) *Refusal { return &Refusal{Code: c, Limit: limit} }

func refuseCause(c Code, err error) *Refusal { return &Refusal{Code: c, Cause: err} }
