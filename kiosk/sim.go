package kiosk

import (
	"fmt"
	"net/http"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// sim registers the desk's control panel. It exists only in --sim, where all
// money is play money, and so needs no login.
func (s *Server) sim(mux *http.ServeMux) {
	d := s.cfg.Desk
	mux.HandleFunc("GET /sim", s.getDesk)
	mux.HandleFunc("POST /sim/put", deskCall(s, func(b deskCardBody) error { return d.Put(b.Card) }))
	mux.HandleFunc("POST /sim/take", deskCall(s, func(struct{}) error { return d.Take() }))
	mux.HandleFunc("POST /sim/swap", deskCall(s, func(b deskCardBody) error { return d.Swap(b.Card) }))
	mux.HandleFunc("POST /sim/tear", deskCall(s, func(b tearBody) error {
		switch b.When {
		case "", TearBefore, TearDuring, TearAfter:
			return d.Tear(b.When)
		}
		return fmt.Errorf("when is before, during, after or empty, not %q", b.When)
	}))
	mux.HandleFunc("POST /sim/link", deskCall(s, func(b linkBody) error { d.LinkUp(b.Up); return nil }))
	mux.HandleFunc("POST /sim/clock", deskCall(s, func(b clockBody) error {
		const most = 10 * 366 * 24 * 3600
		if b.Seconds < -most || b.Seconds > most {
			return fmt.Errorf("a jump is at most ten years")
		}
		d.ClockJump(time.Duration(b.Seconds) * time.Second)
		return nil
	}))
	if p, ok := d.(PaperDesk); ok {
		mux.HandleFunc("GET /sim/paper", func(w http.ResponseWriter, r *http.Request) { writeSVG(w, p.Paper()) })
		mux.HandleFunc("POST /sim/printer", deskCall(s, func(b deskPrinterBody) error { return p.SetPrinter(b.State) }))
	}
	mux.HandleFunc("/sim/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, refusal(CodeNoPage), "") })
}

type deskCardBody struct {
	Card string `json:"card"`
}

type tearBody struct {
	When string `json:"when"`
}

type linkBody struct {
	Up bool `json:"up"`
}

type clockBody struct {
	Seconds int64 `json:"seconds"`
}

type deskView struct {
	Cards   []deskCardView  `json:"cards"`
	Link    bool            `json:"link"`
	Tear    string          `json:"tear"`    // armed
	Printer string          `json:"printer"` // "ok", "paper_out", "cover_open", "offline", "unplugged"; "" without one
	Clock   when            `json:"clock"`
	Ledger  []ledgerAccount `json:"ledger"`
}

type deskCardView struct {
	Card    string    `json:"card"`
	Label   Words     `json:"label"`
	Number  string    `json:"number"`
	Last4   string    `json:"last4"`
	Balance money.Fen `json:"balance"`
	In      bool      `json:"in"`
}

type ledgerAccount struct {
	Name    string       `json:"name"`
	Owner   string       `json:"owner"`
	Balance money.Fen    `json:"balance"`
	Lines   []ledgerLine `json:"lines"`
}

type ledgerLine struct {
	At     when      `json:"at"`
	Amount money.Fen `json:"amount"`
	What   string    `json:"what"`
	Slip   string    `json:"slip"`
}

func (s *Server) getDesk(w http.ResponseWriter, r *http.Request) {
	d := s.cfg.Desk
	state := d.State()
	v := deskView{Cards: []deskCardView{}, Link: state.LinkUp, Tear: state.Tear, Clock: when(d.Clock()), Ledger: []ledgerAccount{}}
	if p, ok := d.(PaperDesk); ok {
		v.Printer = p.PrinterCondition()
	}
	for _, c := range d.Cards() {
		v.Cards = append(v.Cards, deskCardView{c.ID, c.Label, c.Number.String(), c.Number.Last4(), c.Balance, c.In})
	}
	for _, a := range d.Ledger() {
		l := ledgerAccount{a.Name, a.Owner, a.Balance, []ledgerLine{}}
		for _, p := range a.Lines {
			l.Lines = append(l.Lines, ledgerLine{when(p.At), p.Amount, p.What, p.Slip})
		}
		v.Ledger = append(v.Ledger, l)
	}
	writeJSON(w, http.StatusOK, v)
}

func deskCall[T any](s *Server, do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b T
		if err := readBody(w, r, &b); err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		if err := do(b); err != nil {
			s.refuse(w, r, &terminal.Refusal{Code: CodeDesk, Detail: err.Error()}, CodeInternal)
			return
		}
		s.getDesk(w, r)
	}
}
