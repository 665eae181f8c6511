package kiosk

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// Codes of refusal that the screens' own server adds to the terminal's. All
// but CodeUncertain mean that nothing was done.
const (
	CodeBadRequest  terminal.Code = "bad_request"   // not the JSON of this call; Detail says what
	CodeTooLarge    terminal.Code = "too_large"     // the body is too long
	CodeNoKey       terminal.Code = "no_key"        // a money call without Idempotency-Key
	CodeLoginNeeded terminal.Code = "login_needed"  // no session
	CodeLocked      terminal.Code = "locked"        // the clerk's session locked itself
	CodeLoginFailed terminal.Code = "login_failed"  // number or PIN wrong
	CodeLoginWait   terminal.Code = "login_wait"    // too many wrong PINs; Left is the seconds to wait
	CodeSecond      terminal.Code = "second_person" // a void wants a second person's PIN
	CodeCrossSite   terminal.Code = "cross_site"    // another web site's page called
	CodeWrongHost   terminal.Code = "wrong_host"    // called by a name that is not this terminal's
	CodeScreens     terminal.Code = "too_many_screens"
	CodeTooMany     terminal.Code = "too_many_questions"
	CodeNoPage      terminal.Code = "no_page"
	CodePrinter     terminal.Code = "printer"      // no slip can be printed; Detail is the printer's state, or "none"
	CodeNotOffered  terminal.Code = "not_offered"  // a screen that this terminal does not have
	CodeCardChanged terminal.Code = "card_changed" // the card holds something else than the customer's screen shows
	CodeDesk        terminal.Code = "desk"         // the simulated desk can't do that now
	CodeStaffLocked terminal.Code = "staff_locked" // the manager lets this person in no more
	CodePINChange   terminal.Code = "pin_change"   // somebody else chose the PIN: it must be changed first
	CodePINWeak     terminal.Code = "pin_weak"     // a PIN that is guessed first, or no PIN at all
	CodePINAgain    terminal.Code = "pin_again"    // the two differ
	CodePINSame     terminal.Code = "pin_same"     // the new PIN is the old one
	CodeStaffExists terminal.Code = "staff_exists" // the number is somebody's
	CodeStaffConfig terminal.Code = "staff_config" // is in the configuration, which the screens do not change
	CodeStaffRights terminal.Code = "staff_rights" // more rights than the manager has
	CodeStaffLast   terminal.Code = "staff_last"   // nobody would be left who may change the list
	CodeStaffFull   terminal.Code = "staff_full"   // the list is as long as it may be
	CodeCardTaken   terminal.Code = "card_taken"   // the card names somebody else
	CodeNotBegun    terminal.Code = "not_begun"    // the wish that was asked about began nothing, and will not
	CodeInternal    terminal.Code = "internal"     // a question failed; no money was asked to move
	CodeUncertain   terminal.Code = "uncertain"    // a money call failed inside: it is not known whether anything happened
)

// statuses are the HTTP statuses of codes; a code that is not here conflicts
// with the state of card, shift or journal: 409.
var statuses = map[terminal.Code]int{
	CodeBadRequest: http.StatusBadRequest, CodeNoKey: http.StatusBadRequest,
	CodeTooLarge:    http.StatusRequestEntityTooLarge,
	CodeLoginNeeded: http.StatusUnauthorized, CodeLocked: http.StatusUnauthorized, CodeLoginFailed: http.StatusUnauthorized,
	CodeLoginWait: http.StatusTooManyRequests, CodeTooMany: http.StatusTooManyRequests,
	CodeSecond: http.StatusForbidden, CodeCrossSite: http.StatusForbidden, terminal.CodeNotAllowed: http.StatusForbidden,
	CodeWrongHost: http.StatusMisdirectedRequest,
	CodeNotBegun:  http.StatusGone,
	CodeNoPage:    http.StatusNotFound, CodeNotOffered: http.StatusNotFound, terminal.CodeNotFound: http.StatusNotFound, terminal.CodeAccountUnknown: http.StatusNotFound, terminal.CodeNoClaim: http.StatusNotFound,
	CodeInternal: http.StatusInternalServerError, CodeUncertain: http.StatusInternalServerError,
	CodeStaffLocked: http.StatusForbidden, CodePINChange: http.StatusForbidden, CodeStaffRights: http.StatusForbidden,
	CodePINWeak: http.StatusUnprocessableEntity, CodePINAgain: http.StatusUnprocessableEntity, CodePINSame: http.StatusUnprocessableEntity,
	terminal.CodeNote: http.StatusUnprocessableEntity, terminal.CodeStockRange: http.StatusUnprocessableEntity, terminal.CodeStockCount: http.StatusUnprocessableEntity,
	CodeScreens: http.StatusServiceUnavailable, CodePrinter: http.StatusServiceUnavailable,
	terminal.CodeNoLink: http.StatusServiceUnavailable, terminal.CodeNoAnswer: http.StatusServiceUnavailable, terminal.CodeNoPSAM: http.StatusServiceUnavailable,
	terminal.CodeNoLoadSAM: http.StatusServiceUnavailable, terminal.CodeSAMSwapped: http.StatusServiceUnavailable,
	terminal.CodeJournalOld: http.StatusServiceUnavailable, terminal.CodePSAMTwin: http.StatusServiceUnavailable,
	terminal.CodeNoLimits: http.StatusServiceUnavailable, terminal.CodeStopped: http.StatusServiceUnavailable,
	terminal.CodeFull: http.StatusInsufficientStorage, terminal.CodeStanding: http.StatusForbidden,
	terminal.CodeRemade: http.StatusServiceUnavailable,
	terminal.CodeAmount: http.StatusUnprocessableEntity, terminal.CodeTendered: http.StatusUnprocessableEntity,
	terminal.CodeTopUpMin: http.StatusUnprocessableEntity, terminal.CodeTopUpMax: http.StatusUnprocessableEntity,
	terminal.CodeOfflineMax: http.StatusUnprocessableEntity, terminal.CodeCardDayMax: http.StatusUnprocessableEntity,
	terminal.CodePurseMax: http.StatusUnprocessableEntity, terminal.CodeRedeemMax: http.StatusUnprocessableEntity,
	terminal.CodeUnsentValue: http.StatusUnprocessableEntity, terminal.CodeBalanceLow: http.StatusUnprocessableEntity,
	terminal.CodeAccountMismatch: http.StatusUnprocessableEntity, terminal.CodeAccountAgain: http.StatusUnprocessableEntity,
	terminal.CodePINWrong: http.StatusUnprocessableEntity, terminal.CodePINNeeded: http.StatusUnprocessableEntity,
}

// advice is what a refusal or an outcome says to a person (DESIGN law 10).
type advice struct {
	Sentence Words `json:"sentence"`
	Money    Words `json:"money"` // what happened to the money
	Next     Words `json:"next"`  // what to do next
}

func (m *messages) advice(key string, fill ...string) advice {
	return advice{m.words(key+".sentence", fill...), m.words(key+".money", fill...), m.words(key+".next", fill...)}
}

type refusalView struct {
	Code terminal.Code `json:"code"`
	advice
	Limit  money.Fen `json:"limit,omitempty"`
	Left   int       `json:"left,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Why    Words     `json:"why,omitempty"` // the utility's reason, when Detail is a code of the utility; the printer's state for CodePrinter
}

func (s *Server) refusalView(r *terminal.Refusal) refusalView {
	v := refusalView{
		Code: r.Code, Limit: r.Limit, Left: r.Left, Detail: r.Detail,
		advice: s.words.advice("refusal."+string(r.Code), "{limit}", r.Limit.Yuan(), "{left}", strconv.Itoa(r.Left)),
	}
	if key := "utility." + r.Detail; r.Detail != "" && s.words.has(key) {
		v.Why = s.words.words(key)
	} else if r.Code == CodePrinter {
		v.Why = s.words.words("printer." + r.Detail + ".sentence")
	}
	return v
}

// refuse answers with a refusal. An error that is none becomes fallback.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error, fallback terminal.Code) {
	var ref *terminal.Refusal
	if !errors.As(err, &ref) {
		s.log.Error("a call failed", "call", r.Method+" "+r.URL.Path, "err", err)
		ref = &terminal.Refusal{Code: fallback}
	}
	status, ok := statuses[ref.Code]
	if !ok {
		status = http.StatusConflict
	}
	if ref.Code == CodeLoginWait {
		w.Header().Set("Retry-After", strconv.Itoa(ref.Left))
	}
	writeJSON(w, status, s.refusalView(ref))
}

func refusal(c terminal.Code) *terminal.Refusal { return &terminal.Refusal{Code: c} }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only values of this package come here
		status, b = http.StatusInternalServerError, []byte(`{"code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}

// reasons are the stable words of the journal's reasons.
var reasons = map[journal.Reason]string{
	journal.ReasonNone:            "none",
	journal.ReasonCardRemoved:     "card_removed",
	journal.ReasonCardMute:        "card_mute",
	journal.ReasonCardRefused:     "card_refused",
	journal.ReasonCardMemory:      "card_memory",
	journal.ReasonHostRefused:     "host_refused",
	journal.ReasonHostUnreachable: "host_unreachable",
	journal.ReasonSAMRefused:      "sam_refused",
	journal.ReasonPower:           "power",
	journal.ReasonCancelled:       "cancelled",
	journal.ReasonForeign:         "foreign",
	journal.ReasonStore:           "store",
	journal.ReasonBadMAC:          "bad_mac",
}

var kinds = map[journal.Kind]string{
	journal.KindRedemption: "redemption",
	journal.KindTopUp:      "topup",
	journal.KindSale:       "sale",
	journal.KindVoid:       "void",
	journal.KindVoidDebit:  "void_debit",
	journal.KindBill:       "cash_bill",
	journal.KindClaim:      "claim",
	journal.KindBlock:      "block",
	journal.KindReplace:    "replace",
	journal.KindEmptied:    "emptied",
}

var results = map[journal.Result]string{
	journal.Done:    "done",
	journal.NotDone: "not_done",
	journal.Pending: "unknown", // until an outcome is written nobody knows
	journal.Unknown: "unknown",
}

var actors = map[journal.ActorKind]string{
	journal.ActorSystem:     "system",
	journal.ActorClerk:      "clerk",
	journal.ActorCustomer:   "customer",
	journal.ActorTechnician: "technician",
	journal.ActorHeadOffice: "head_office",
}

var seens = map[journal.AccountSeen]string{
	journal.AccountNone:   "",
	journal.AccountOnline: "online",
	journal.AccountCached: "cached",
	journal.AccountTyped:  "typed",
}
