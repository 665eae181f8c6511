package kiosk

import (
	"net/http"
	"slices"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// What the terminal's own journal remembers of the card in the reader.
const (
	lookBack    = 1000             // transactions searched
	maxAccounts = 3                // accounts offered again
	lastFor     = 10 * time.Minute // how long a payment is told to whoever brings its card
)

// paidView is an account that this card paid at this terminal.
type paidView struct {
	Account string    `json:"account"`
	At      when      `json:"at"`     // the last time
	Amount  money.Fen `json:"amount"` // then
}

// getPaid tells which accounts the card in the reader paid here, and its last
// payment: a browser that was killed or loaded anew in the middle of one
// learns its end from here and nowhere else.
func (s *Server) getPaid(w http.ResponseWriter, r *http.Request) {
	if _, err := s.allowed(r, RightRedeem); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	card := s.cfg.Terminal.Status().Card
	if card.State != terminal.CardReady {
		s.refuse(w, r, refusal(terminal.CodeNoCard), CodeInternal)
		return
	}
	list, err := s.cfg.Terminal.Transactions(lookBack, journal.Ref{})
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	v := struct {
		Accounts []paidView   `json:"accounts"` // newest first, at most 3
		Last     *receiptView `json:"last"`     // the customer's last payment with this card, null when it is older than 10 minutes
	}{Accounts: []paidView{}}
	for _, rc := range list {
		if rc.Kind != journal.KindRedemption || rc.Card != card.Number {
			continue
		}
		if v.Last == nil && rc.Actor.Kind == journal.ActorCustomer && s.cfg.Clock().Sub(time.UnixMilli(rc.Ended)) < lastFor {
			last := s.receiptView(rc, 0)
			v.Last = &last
		}
		known := func(p paidView) bool { return p.Account == rc.Account.String() }
		if rc.Result == journal.Done && len(v.Accounts) < maxAccounts && !slices.ContainsFunc(v.Accounts, known) {
			v.Accounts = append(v.Accounts, paidView{rc.Account.String(), whenMS(rc.Ended), rc.Amount})
		}
	}
	writeJSON(w, http.StatusOK, v)
}

// unchanged fails with CodeCardChanged when the card no longer holds what the
// customer's screen showed: a second tab, or the counter, was faster. A wish
// that was begun already is none of its business; the caller has s.paying,
// so that two screens cannot both find the card unchanged.
func (s *Server) unchanged(token journal.Token, b redeemBody) error {
	c := s.cfg.Terminal.Status().Card
	if c.State != terminal.CardReady || c.Number != b.Card || c.Balance == *b.Balance {
		return nil // or the terminal refuses with a better word
	}
	list, err := s.cfg.Terminal.Transactions(20, journal.Ref{})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(rc terminal.Receipt) bool { return rc.Token == token }) {
		return nil
	}
	return refusal(CodeCardChanged)
}
