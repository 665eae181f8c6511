package kiosk

import (
	"context"
	"net/http"
	"strconv"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// shiftAPI registers the calls about shifts but the opening.
func (s *Server) shiftAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/shift/report", s.getReport)
	mux.HandleFunc("POST /api/v1/shift/close", settleCall(s, s.closeShift))
	mux.HandleFunc("GET /api/v1/shifts", s.getShifts)
	mux.HandleFunc("GET /api/v1/shifts/{number}", s.getShift)
	mux.HandleFunc("POST /api/v1/shifts/{number}/difference", settleCall(s, s.explain))
	mux.HandleFunc("GET /api/v1/shift/report/slip.svg", s.getShiftSlip)
	mux.HandleFunc("POST /api/v1/shift/report/print", s.postShiftPrint)
	mux.HandleFunc("GET /api/v1/shifts/{number}/slip.svg", s.getShiftSlip)
	mux.HandleFunc("POST /api/v1/shifts/{number}/print", s.postShiftPrint)
}

// causes are the stable words of what a person says of a difference.
var causes = map[journal.Cause]string{
	journal.CauseUnknown:  "not_known",
	journal.CauseCounted:  "counted_wrong",
	journal.CauseChange:   "wrong_change",
	journal.CauseTaken:    "taken_out",
	journal.CauseNotTaken: "not_paid",
	journal.CauseFalse:    "false_note",
	journal.CauseOther:    "other",
}

// settled is what a call brings that settles shifts or stock.
type settled struct {
	who   terminal.Who
	token journal.Token
	r     *http.Request
}

// settleCall wraps a call that writes what shop and head office settle by.
// What it began is finished even when the browser goes away.
func settleCall[T any](s *Server, do func(context.Context, settled, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.allowed(r, RightSettle)
		if err == nil && !goodKey(r.Header.Get("Idempotency-Key")) {
			err = refusal(CodeNoKey)
		}
		var b T
		if err == nil {
			err = readBody(w, r, &b)
		}
		if err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		defer s.door.hold(c.s)()
		v, err := do(context.WithoutCancel(r.Context()), settled{c.who(), journal.TokenOf(r.Header.Get("Idempotency-Key")), r}, b)
		if err != nil {
			s.refuse(w, r, err, CodeUncertain)
			return
		}
		writeJSON(w, http.StatusOK, v)
	}
}

type causeView struct {
	Code  string `json:"code"`
	Words Words  `json:"words"`
}

type kindSumView struct {
	Kind          string    `json:"kind"`
	Words         Words     `json:"words"`
	Done          uint32    `json:"done"`
	NotDone       uint32    `json:"not_done"`
	Unknown       uint32    `json:"unknown"`
	Amount        money.Fen `json:"amount"` // of those done
	UnknownAmount money.Fen `json:"unknown_amount"`
}

type clerkSumView struct {
	Staff        string            `json:"staff"`
	Name         string            `json:"name"` // "" for somebody who is gone
	Count        uint32            `json:"count"`
	TopUps       uint32            `json:"topups"`
	TopUpAmount  money.Fen         `json:"topup_amount"`
	Voids        uint32            `json:"voids"`
	VoidAmount   money.Fen         `json:"void_amount"`
	CashReturned uint32            `json:"cash_returned"`
	Refused      uint32            `json:"refused"`
	Acts         map[string]uint32 `json:"acts"`
}

type owedView struct {
	Count uint32    `json:"count"`
	Cash  money.Fen `json:"cash"`
}

// attentionView is what needs a person now, at most 100 of each.
type attentionView struct {
	Unknown []receiptView `json:"unknown"`
	Owed    []receiptView `json:"owed"`
	Unsent  []receiptView `json:"unsent"`
}

// reportView is an X or a Z.
type reportView struct {
	shiftView
	ID           string            `json:"id"` // of the close, the number on the slip; "" while the shift is open
	ClosedBy     string            `json:"closed_by"`
	Difference   *money.Fen        `json:"difference"` // counted less expected; null while open
	Reason       *causeView        `json:"reason"`     // why, when somebody said so
	Note         string            `json:"note"`
	ReasonNeeded bool              `json:"reason_needed"`
	Reasons      []causeView       `json:"reasons"` // to choose from, when one is needed
	Unsent       uint64            `json:"unsent"`  // entries; at the close, or now
	Owed         owedView          `json:"owed"`    // top-ups of the shift not done, their cash not given back
	Kinds        []kindSumView     `json:"kinds"`
	Clerks       []clerkSumView    `json:"clerks"`
	Acts         map[string]uint32 `json:"acts"`    // what staff did that moves no value, reprints among it
	Partial      bool              `json:"partial"` // the terminal's file was made anew since: only what the close itself says is left
	Attention    *attentionView    `json:"attention,omitempty"`
	Slip         *slipView         `json:"slip"` // what became of the paper; null without a printer
}

func actWords(m map[journal.Act]uint32) map[string]uint32 {
	out := make(map[string]uint32, len(m))
	for a, n := range m {
		out[a.String()] = n
	}
	return out
}

func (s *Server) cause(c journal.Cause) causeView {
	return causeView{causes[c], s.words.words("difference." + causes[c])}
}

func (s *Server) reportView(r terminal.ShiftReport) reportView {
	v := reportView{
		shiftView: *viewShift(r.Shift, !r.Closed), Unsent: r.Unsent, Owed: owedView{r.Owed, r.OwedCash},
		Reasons: []causeView{}, Kinds: []kindSumView{}, Clerks: []clerkSumView{}, Acts: actWords(r.Acts), Partial: r.Partial,
	}
	v.Slip = s.fate(s.shiftKey(r))
	if r.Closed {
		d := r.Difference()
		v.ID, v.ClosedBy, v.Difference = r.Closing.String(), r.ClosedBy.String(), &d
		switch {
		case r.Explained != nil:
			c := s.cause(r.Explained.Cause)
			v.Reason, v.Note = &c, r.Explained.Note
		case d != 0:
			v.ReasonNeeded = true
			for c := journal.CauseUnknown; c <= journal.CauseOther; c++ {
				v.Reasons = append(v.Reasons, s.cause(c))
			}
		}
	}
	for _, k := range r.Kinds {
		v.Kinds = append(v.Kinds, kindSumView{kinds[k.Kind], s.words.words("kind." + kinds[k.Kind]), k.Done, k.NotDone, k.Unknown, k.Amount, k.UnknownAmount})
	}
	for _, c := range r.Clerks {
		x := clerkSumView{c.Clerk.String(), "", c.Count, c.TopUps, c.TopUpAmount, c.Voids, c.VoidAmount, c.CashReturned, c.Refused, actWords(c.Acts)}
		if p := s.door.current(c.Clerk); p != nil {
			x.Name = p.Name
		}
		v.Clerks = append(v.Clerks, x)
	}
	return v
}

// withAttention is a report with what needs a person now.
func (s *Server) withAttention(r terminal.ShiftReport) (any, error) {
	v := s.reportView(r)
	a, err := s.cfg.Terminal.Attention()
	if err != nil {
		return nil, err
	}
	list := func(rs []terminal.Receipt) []receiptView {
		out := make([]receiptView, 0, len(rs))
		for _, rc := range rs {
			out = append(out, s.receiptView(rc, 0))
		}
		return out
	}
	v.Attention = &attentionView{list(a.Unknown), list(a.Owed), list(a.Unsent)}
	return v, nil
}

// getReport is the X report, at any time and as often as wanted.
func (s *Server) getReport(w http.ResponseWriter, r *http.Request) {
	s.settleView(w, r, func() (any, error) {
		rep, err := s.cfg.Terminal.Report()
		if err != nil {
			return nil, err
		}
		return s.withAttention(rep)
	})
}

// settleView answers a question of somebody who may settle.
func (s *Server) settleView(w http.ResponseWriter, r *http.Request, ask func() (any, error)) {
	_, err := s.allowed(r, RightSettle)
	if err == nil {
		var v any
		if v, err = ask(); err == nil {
			writeJSON(w, http.StatusOK, v)
			return
		}
	}
	s.refuse(w, r, err, CodeInternal)
}

type closeShiftBody struct {
	Counted money.Fen `json:"counted"`
	Number  uint32    `json:"number,omitempty"` // of the shift that the person counted for
}

func (s *Server) closeShift(ctx context.Context, c settled, b closeShiftBody) (any, error) {
	rep, err := s.cfg.Terminal.CloseShift(ctx, terminal.CloseRequest{Token: c.token, Who: c.who, Number: b.Number, Counted: b.Counted})
	if err != nil {
		return nil, err
	}
	// The shift is closed whatever becomes of the rest.
	if rep.Difference() == 0 {
		s.printClose(rep)
	}
	v, err := s.withAttention(rep)
	if err != nil {
		s.log.Error("what needs attention after a close can't be read", "err", err)
		return s.reportView(rep), nil
	}
	return v, nil
}

func (s *Server) getShifts(w http.ResponseWriter, r *http.Request) {
	s.settleView(w, r, func() (any, error) {
		list, err := s.cfg.Terminal.Reports(terminal.MaxReports)
		if err != nil {
			return nil, err
		}
		type line struct {
			Number       uint32     `json:"number"`
			ID           string     `json:"id"`
			Clerk        string     `json:"clerk"`
			ClosedBy     string     `json:"closed_by"`
			Opened       when       `json:"opened"`
			Closed       when       `json:"closed"`
			Counted      money.Fen  `json:"counted"`
			Expected     money.Fen  `json:"expected"`
			Difference   money.Fen  `json:"difference"`
			Reason       *causeView `json:"reason"`
			ReasonNeeded bool       `json:"reason_needed"`
		}
		v := struct {
			Shifts []line `json:"shifts"` // newest first, at most 50
		}{[]line{}}
		for _, rep := range list {
			x := s.reportView(rep)
			v.Shifts = append(v.Shifts, line{
				rep.Number, x.ID, rep.Clerk.String(), x.ClosedBy, x.Opened, x.Closed, rep.Counted, rep.Expected, rep.Difference(), x.Reason, x.ReasonNeeded,
			})
		}
		return v, nil
	})
}

func shiftNumber(r *http.Request) (uint32, error) {
	n, err := strconv.ParseUint(r.PathValue("number"), 10, 32)
	if err != nil {
		return 0, refusal(terminal.CodeNotFound)
	}
	return uint32(n), nil
}

// getShift is the Z report of a past shift.
func (s *Server) getShift(w http.ResponseWriter, r *http.Request) {
	s.settleView(w, r, func() (any, error) {
		n, err := shiftNumber(r)
		if err != nil {
			return nil, err
		}
		rep, err := s.cfg.Terminal.ReportOf(n)
		if err != nil {
			return nil, err
		}
		return s.reportView(rep), nil
	})
}

type explainBody struct {
	Reason string `json:"reason"`
	Note   string `json:"note,omitempty"`
}

func (s *Server) explain(ctx context.Context, c settled, b explainBody) (any, error) {
	n, err := shiftNumber(c.r)
	if err != nil {
		return nil, err
	}
	req := terminal.ExplainRequest{Token: c.token, Who: c.who, Number: n, Note: b.Note}
	for cause, word := range causes {
		if word == b.Reason {
			req.Cause = cause
		}
	}
	if req.Cause == 0 {
		return nil, &terminal.Refusal{Code: CodeBadRequest, Detail: "reason is none of the list"}
	}
	rep, err := s.cfg.Terminal.Explain(ctx, req)
	if err != nil {
		return nil, err
	}
	s.printClose(rep)
	return s.reportView(rep), nil
}
