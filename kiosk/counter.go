package kiosk

import (
	"context"
	"net/http"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/wire"
)

type billBody struct {
	slipBody
	Account  money.AccountNumber `json:"account"`
	Again    money.AccountNumber `json:"again,omitempty"`
	Amount   money.Fen           `json:"amount"`
	Tendered money.Fen           `json:"tendered"`
}

// payBill is the clerk's: a kiosk may redeem, but takes no cash.
func (s *Server) payBill(ctx context.Context, m *wish, b billBody) (terminal.Receipt, error) {
	if m.staff == nil {
		return terminal.Receipt{}, refusal(terminal.CodeNotAllowed)
	}
	return s.cfg.Terminal.PayBill(ctx, terminal.BillRequest{
		Token: m.token, Who: m.who, Account: b.Account, Again: b.Again, Amount: b.Amount, Tendered: b.Tendered,
	})
}

type collectBody struct {
	slipBody
	Amount money.Fen        `json:"amount"`
	Load   bool             `json:"load,omitempty"`
	Card   money.CardNumber `json:"card,omitempty"` // with load
	PIN    string           `json:"pin,omitempty"`
}

func (s *Server) collectClaim(ctx context.Context, m *wish, b collectBody) (terminal.Receipt, error) {
	if b.Load == b.Card.IsZero() {
		return terminal.Receipt{}, &terminal.Refusal{Code: CodeBadRequest, Detail: "card goes with load"}
	}
	return s.cfg.Terminal.CollectClaim(ctx, terminal.ClaimRequest{
		Token: m.token, Who: m.who, Claim: m.name, Amount: b.Amount, Load: b.Load, Card: b.Card, PIN: b.PIN,
	})
}

type cardBody struct {
	slipBody
	Card   money.CardNumber `json:"card"`
	Reason string           `json:"reason"`
}

func (s *Server) blockCard(ctx context.Context, m *wish, b cardBody) (terminal.Receipt, error) {
	why := map[string]journal.CardWhy{"lost": journal.WhyLost, "stolen": journal.WhyStolen}[b.Reason]
	if why == 0 || b.Card.IsZero() {
		return terminal.Receipt{}, &terminal.Refusal{Code: CodeBadRequest, Detail: "reason is lost or stolen"}
	}
	return s.cfg.Terminal.BlockCard(ctx, terminal.CardRequest{Token: m.token, Who: m.who, Card: b.Card, Why: why})
}

func (s *Server) replaceCard(ctx context.Context, m *wish, b cardBody) (terminal.Receipt, error) {
	if b.Reason != "damaged" || b.Card.IsZero() {
		return terminal.Receipt{}, &terminal.Refusal{Code: CodeBadRequest, Detail: "reason is damaged"}
	}
	return s.cfg.Terminal.ReplaceCard(ctx, terminal.CardRequest{Token: m.token, Who: m.who, Card: b.Card, Why: journal.WhyDamaged})
}

type emptyBody struct {
	slipBody
	Card   money.CardNumber `json:"card"`
	Amount money.Fen        `json:"amount"` // all that is on it, as the screen shows it
}

func (s *Server) emptyCard(ctx context.Context, m *wish, b emptyBody) (terminal.Receipt, error) {
	if b.Card.IsZero() {
		return terminal.Receipt{}, &terminal.Refusal{Code: CodeBadRequest, Detail: "which card"}
	}
	return s.cfg.Terminal.EmptyCard(ctx, terminal.EmptyRequest{Token: m.token, Who: m.who, Card: b.Card, Amount: b.Amount})
}

type askBody struct{}

// askAgain asks the utility at once how something ended. It takes no key of a
// wish: nothing is begun, and asked twice it is the same question.
func (s *Server) askAgain(w http.ResponseWriter, r *http.Request) {
	rc, err := s.askAgainCall(w, r)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, s.receiptView(rc, 0))
}

func (s *Server) askAgainCall(w http.ResponseWriter, r *http.Request) (terminal.Receipt, error) {
	c, err := s.allowed(r, "")
	if err == nil && c.staff == nil {
		err = refusal(terminal.CodeNotAllowed)
	}
	if err != nil {
		return terminal.Receipt{}, err
	}
	n, err := journal.ParseName(r.PathValue("id"))
	if err != nil {
		return terminal.Receipt{}, refusal(terminal.CodeNotFound)
	}
	var b askBody
	if err := readBody(w, r, &b); err != nil {
		return terminal.Receipt{}, err
	}
	defer s.door.hold(c.s)()
	return s.cfg.Terminal.AskAgain(context.WithoutCancel(r.Context()), n)
}

type claimView struct {
	Claim  string    `json:"claim"` // the number on the slip
	Kind   string    `json:"kind"`  // "topup", "cash_bill" or "replace": what it comes from
	Amount money.Fen `json:"amount"`
	Last4  string    `json:"last4"` // of the card, or of the account for a bill
}

var claimKinds = map[wire.ClaimKind]string{wire.ClaimTopUp: "topup", wire.ClaimBill: "cash_bill", wire.ClaimReplace: "replace"}

func (s *Server) getClaim(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, RightTopUp)
	if err == nil && c.staff == nil {
		err = refusal(terminal.CodeNotAllowed)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	n, err := journal.ParseName(r.PathValue("id"))
	if err != nil {
		s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}, CodeInternal)
		return
	}
	v, err := s.cfg.Terminal.Claim(r.Context(), n)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, claimView{n.String(), claimKinds[v.Kind], v.Amount, v.Last4})
}
