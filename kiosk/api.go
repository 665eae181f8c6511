package kiosk

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// api registers the local API; docs/api.md describes it by examples.
func (s *Server) api(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/status", s.getStatus)
	mux.HandleFunc("GET /api/v1/card", s.getCard)
	mux.HandleFunc("GET /api/v1/card/history", s.getHistory)
	mux.HandleFunc("GET /api/v1/card/accounts", s.getPaid)
	mux.HandleFunc("GET /api/v1/accounts/{number}", s.getAccount)
	mux.HandleFunc("GET /api/v1/transactions", s.getTransactions)
	mux.HandleFunc("GET /api/v1/transactions/{id}", s.getTransaction)
	mux.HandleFunc("GET /api/v1/acts", s.getActs)
	mux.HandleFunc("GET /api/v1/events", s.getEvents)

	mux.HandleFunc("POST /api/v1/login", s.login)
	mux.HandleFunc("POST /api/v1/logout", s.logout)
	mux.HandleFunc("POST /api/v1/touch", s.touch)

	mux.HandleFunc("POST /api/v1/topups", moneyCall(s, RightTopUp, s.topUp))
	mux.HandleFunc("POST /api/v1/redemptions", moneyCall(s, RightRedeem, s.redeem))
	mux.HandleFunc("POST /api/v1/sales", moneyCall(s, RightSell, s.sell))
	mux.HandleFunc("POST /api/v1/transactions/{id}/void", moneyCall(s, RightVoid, s.void))
	mux.HandleFunc("POST /api/v1/transactions/{id}/cash-returned", moneyCall(s, RightTopUp, s.returnCash))

	mux.HandleFunc("POST /api/v1/bills", moneyCall(s, RightRedeem, s.payBill))
	mux.HandleFunc("GET /api/v1/claims/{id}", s.getClaim)
	mux.HandleFunc("POST /api/v1/claims/{id}/payout", moneyCall(s, RightTopUp, s.collectClaim))
	mux.HandleFunc("POST /api/v1/blocks", moneyCall(s, RightReplace, s.blockCard))
	mux.HandleFunc("POST /api/v1/replacements", moneyCall(s, RightReplace, s.replaceCard))
	mux.HandleFunc("POST /api/v1/card/empty", moneyCall(s, RightReplace, s.emptyCard))
	mux.HandleFunc("POST /api/v1/transactions/{id}/ask", s.askAgain)
	mux.HandleFunc("POST /api/v1/transactions/{id}/print", s.postPrint)
	mux.HandleFunc("GET /api/v1/transactions/{id}/slip.svg", s.getSlip)

	mux.HandleFunc("POST /api/v1/shift/open", s.openShift)

	s.staffAPI(mux)
	s.shiftAPI(mux)
	s.settlementAPI(mux)
	s.stockAPI(mux)

	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, refusal(CodeNoPage), "") })
}

// readBody reads the request's JSON into v.
func readBody(w http.ResponseWriter, r *http.Request, v any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &terminal.Refusal{Code: CodeBadRequest, Detail: "Content-Type must be application/json"}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return refusal(CodeTooLarge)
		}
		return &terminal.Refusal{Code: CodeBadRequest, Detail: "the body did not come whole"}
	}
	if err := decode(b, v); err != nil {
		return &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error(), Cause: err}
	}
	return nil
}

// allowed finds the caller and refuses one that may not do that. The
// kiosk's own session may redeem and nothing else.
func (s *Server) allowed(r *http.Request, right string) (caller, error) {
	c := s.door.caller(r, true)
	switch {
	case c.s == nil:
		return c, refusal(CodeLoginNeeded)
	case c.locked:
		return c, refusal(CodeLocked)
	case c.staff != nil && c.staff.change:
		return c, refusal(CodePINChange)
	case right == "" || (c.kiosk && right == RightRedeem) || (c.staff != nil && slices.Contains(c.staff.Rights, right)):
		return c, nil
	}
	if c.staff != nil {
		s.denied(r.Context(), c.s, c.staff, right)
	}
	return c, refusal(terminal.CodeNotAllowed)
}

// wish is what every money call brings.
type wish struct {
	who    terminal.Who
	staff  *Staff // nil at the kiosk
	s      *session
	token  journal.Token
	name   journal.Name // of the transaction in the path
	wanted money.Fen    // set by sell
}

// moneyCall wraps a call that moves value. What it began is finished even
// when the browser goes away.
func moneyCall[T hasSlip](s *Server, right string, do func(context.Context, *wish, T) (terminal.Receipt, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.allowed(r, right)
		if err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		key := r.Header.Get("Idempotency-Key")
		if !goodKey(key) {
			s.refuse(w, r, refusal(CodeNoKey), CodeInternal)
			return
		}
		m := wish{who: c.who(), staff: c.staff, s: c.s, token: journal.TokenOf(key)}
		if id := r.PathValue("id"); id != "" {
			if m.name, err = journal.ParseName(id); err != nil {
				s.refuse(w, r, refusal(terminal.CodeNotFound), CodeInternal)
				return
			}
		}
		var body T
		if err := readBody(w, r, &body); err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		defer s.door.hold(c.s)()
		ctx := context.WithoutCancel(r.Context())
		over, err := s.wishes.begin(m.token)
		if err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		defer over()
		known, end, err := s.mayPrint(ctx, m.token, body.slips())
		defer end()
		if err != nil {
			s.refuse(w, r, err, CodeUncertain)
			return
		}
		defer s.holders.add(c.screen())()
		rc, err := do(ctx, &m, body)
		if err != nil {
			// The card may have moved although nobody could write it down:
			// the intent on disk has a number, and that is what we tell.
			if u := new(terminal.UncertainError); errors.As(err, &u) {
				s.log.Error("an outcome is not certain", "name", u.Name, "err", err)
				if rc, err = s.cfg.Terminal.Transaction(u.Name); err != nil {
					s.refuse(w, r, &terminal.Refusal{Code: CodeUncertain, Detail: u.Name.String()}, CodeUncertain)
					return
				}
			} else {
				s.refuse(w, r, err, CodeUncertain)
				return
			}
		}
		v := s.receiptView(rc, m.wanted)
		s.printAfter(&m, rc, v.Overall, body.slips(), known)
		v.Slip = s.slipView(rc)
		writeJSON(w, http.StatusOK, v)
	}
}

// goodKey: 8 to 128 visible ASCII characters.
func goodKey(k string) bool {
	if len(k) < 8 || len(k) > 128 {
		return false
	}
	for _, c := range []byte(k) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

type topUpBody struct {
	Card     money.CardNumber `json:"card"`
	Amount   money.Fen        `json:"amount"`
	Tendered money.Fen        `json:"tendered"`
	PIN      string           `json:"pin,omitempty"`
	slipBody
}

func (s *Server) topUp(ctx context.Context, m *wish, b topUpBody) (terminal.Receipt, error) {
	return s.cfg.Terminal.TopUp(ctx, terminal.TopUpRequest{
		Token: m.token, Who: m.who, Card: b.Card, Amount: b.Amount, Tendered: b.Tendered, PIN: b.PIN,
	})
}

type redeemBody struct {
	Card    money.CardNumber    `json:"card"`
	Account money.AccountNumber `json:"account"`
	Again   money.AccountNumber `json:"again,omitempty"`
	Amount  money.Fen           `json:"amount"`
	Balance *money.Fen          `json:"balance,omitempty"` // what the customer's screen shows of the card
	slipBody
}

func (s *Server) redeem(ctx context.Context, m *wish, b redeemBody) (terminal.Receipt, error) {
	if m.staff == nil && b.Balance != nil {
		s.paying <- struct{}{}
		defer func() { <-s.paying }()
		if err := s.unchanged(m.token, b); err != nil {
			return terminal.Receipt{}, err
		}
	}
	return s.cfg.Terminal.Redeem(ctx, terminal.RedeemRequest{
		Token: m.token, Who: m.who, Card: b.Card, Account: b.Account, Again: b.Again, Amount: b.Amount,
	})
}

type sellBody struct {
	Card     money.CardNumber `json:"card"`
	Amount   money.Fen        `json:"amount"`
	Tendered money.Fen        `json:"tendered"`
	PIN      string           `json:"pin,omitempty"`
	slipBody
}

func (s *Server) sell(ctx context.Context, m *wish, b sellBody) (terminal.Receipt, error) {
	m.wanted = b.Amount
	return s.cfg.Terminal.Sell(ctx, terminal.SellRequest{
		Token: m.token, Who: m.who, Card: b.Card, Amount: b.Amount, Tendered: b.Tendered, PIN: b.PIN,
	})
}

type voidBody struct {
	Second    string `json:"second,omitempty"` // staff number of the second person
	SecondPIN string `json:"second_pin,omitempty"`
	slipBody
}

// void wants a second person where the shop has one.
func (s *Server) void(ctx context.Context, m *wish, b voidBody) (terminal.Receipt, error) {
	var second money.StaffID
	if seconds := s.door.seconds(m.staff); len(seconds) > 0 {
		id, err := money.ParseStaffID(b.Second)
		if err != nil {
			return terminal.Receipt{}, refusal(CodeSecond)
		}
		p, err := s.check(ctx, id, b.SecondPIN, RightVoid)
		if err != nil {
			return terminal.Receipt{}, err
		}
		if !slices.ContainsFunc(seconds, func(q *Staff) bool { return q.ID == p.ID }) {
			s.denied(ctx, m.s, p, "second_person")
			return terminal.Receipt{}, refusal(CodeSecond)
		}
		second = p.ID
	}
	return s.cfg.Terminal.Void(ctx, terminal.VoidRequest{Token: m.token, Who: m.who, Second: second, TopUp: m.name})
}

type returnCashBody struct{ slipBody }

func (s *Server) returnCash(ctx context.Context, m *wish, _ returnCashBody) (terminal.Receipt, error) {
	return s.cfg.Terminal.ReturnCash(ctx, terminal.ReturnCashRequest{Token: m.token, Who: m.who, TopUp: m.name})
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.statusView(s.door.caller(r, false)))
}

func (s *Server) getCard(w http.ResponseWriter, r *http.Request) {
	c := s.door.caller(r, false)
	writeJSON(w, http.StatusOK, s.cardView(s.cfg.Terminal.Status().Card, c.kiosk || c.clerk()))
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	if _, err := s.allowed(r, ""); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	records, err := s.cfg.Terminal.History(r.Context())
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	here := s.cfg.Terminal.Status().Terminal
	v := struct {
		Records []logView `json:"records"` // newest first
	}{make([]logView, 0, len(records))}
	for _, rec := range records {
		v.Records = append(v.Records, viewLog(rec, here))
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) getAccount(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, "")
	if err == nil && c.kiosk && !s.lookups.Allow() {
		err = refusal(CodeTooMany)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	n, err := money.ParseAccountNumber(r.PathValue("number"))
	if err != nil {
		s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}, CodeInternal)
		return
	}
	a, err := s.cfg.Terminal.Account(r.Context(), n)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, viewAccount(a))
}

// staffOnly lets any clerk through.
func (s *Server) staffOnly(r *http.Request) error {
	c, err := s.allowed(r, "")
	if err == nil && c.kiosk {
		return refusal(terminal.CodeNotAllowed)
	}
	return err
}

func (s *Server) getTransactions(w http.ResponseWriter, r *http.Request) {
	if err := s.staffOnly(r); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	limit, before := 20, journal.Name{}
	q := r.URL.Query()
	var err error
	if v := q.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 100 {
			s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: "limit is 1 to 100"}, CodeInternal)
			return
		}
	}
	if v := q.Get("before"); v != "" {
		if before, err = journal.ParseName(v); err != nil {
			s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}, CodeInternal)
			return
		}
	}
	list, err := s.cfg.Terminal.Transactions(limit, before.Ref())
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	v := struct {
		Transactions []receiptView `json:"transactions"` // newest first
		Next         string        `json:"next"`         // ask on with before=; "" at the end
	}{Transactions: make([]receiptView, 0, len(list))}
	for _, rc := range list {
		v.Transactions = append(v.Transactions, s.receiptView(rc, 0))
	}
	if len(list) == limit {
		v.Next = list[len(list)-1].Name.String()
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) getTransaction(w http.ResponseWriter, r *http.Request) {
	n, err := journal.ParseName(r.PathValue("id"))
	// The kiosk is told of what the card in the reader just settled, since who
	// holds the card holds the slip, and of nothing else.
	mine := err == nil && s.door.caller(r, false).kiosk && slices.Contains(s.settled(s.cfg.Terminal.Status().Card), n)
	if err := s.staffOnly(r); err != nil && !mine {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	if err != nil {
		s.refuse(w, r, refusal(terminal.CodeNotFound), CodeInternal)
		return
	}
	rc, err := s.cfg.Terminal.Transaction(n)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, s.receiptView(rc, 0))
}

type loginBody struct {
	Staff string `json:"staff"`
	PIN   string `json:"pin"`
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	tool := byTool(r)
	if !tool && !s.cfg.Mode.offers("clerk") {
		s.refuse(w, r, refusal(CodeNotOffered), CodeInternal)
		return
	}
	var b loginBody
	if err := readBody(w, r, &b); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	id, err := money.ParseStaffID(b.Staff)
	if err != nil {
		s.refuse(w, r, refusal(CodeLoginFailed), CodeInternal)
		return
	}
	p, err := s.check(r.Context(), id, b.PIN, "")
	if err == nil && !s.logins.Allow() {
		err = refusal(CodeTooMany)
	}
	if err != nil {
		s.log.Warn("login refused", "staff", id, "err", err)
		s.refuse(w, r, err, CodeInternal)
		return
	}
	if tool && !slices.Contains(p.Rights, RightService) {
		s.note(r.Context(), actorOf(p, tool), journal.Staff{Act: journal.ActRefused, Staff: p.ID, Count: 1, Detail: RightService})
		s.refuse(w, r, refusal(terminal.CodeNotAllowed), CodeInternal)
		return
	}
	act := journal.Staff{Act: journal.ActLogin, Staff: p.ID}
	if old, err := r.Cookie(clerkCookie); err == nil {
		was, locked := s.door.close(old.Value, tool)
		s.noteLocks(r.Context())
		switch {
		case was != nil && was.ID == p.ID && locked:
			act.Detail = "unlock"
		case was != nil:
			s.noteLogout(r.Context(), was, tool)
		}
	}
	session, ok := s.door.open(p, tool)
	if !ok { // locked between the PIN and here
		s.refuse(w, r, refusal(CodeLoginFailed), CodeInternal)
		return
	}
	s.note(r.Context(), actorOf(p, tool), act)
	http.SetCookie(w, cookie(clerkCookie, session))
	writeJSON(w, http.StatusOK, s.sessionView(caller{staff: p, left: IdleLock}))
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(clerkCookie); err == nil {
		if p, _ := s.door.close(c.Value, byTool(r)); p != nil {
			s.noteLocks(r.Context())
			s.noteLogout(r.Context(), p, byTool(r))
		}
	}
	http.SetCookie(w, cookie(clerkCookie, ""))
	writeJSON(w, http.StatusOK, s.sessionView(caller{}))
}

// touch keeps a clerk's session open while the person types.
func (s *Server) touch(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, "")
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, s.sessionView(c))
}

type openShiftBody struct {
	Cash money.Fen `json:"cash"`
}

func (s *Server) openShift(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, RightSettle)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	var b openShiftBody
	if err := readBody(w, r, &b); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	defer s.door.hold(c.s)()
	sh, err := s.cfg.Terminal.OpenShift(context.WithoutCancel(r.Context()), c.who(), b.Cash)
	if err != nil {
		s.refuse(w, r, err, CodeUncertain)
		return
	}
	writeJSON(w, http.StatusOK, viewShift(sh, true))
}
