package kiosk

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/receipt"
	"github.com/dianka/dianka/terminal"
)

// settlementAPI registers the calls about the settlement of a closed shift.
func (s *Server) settlementAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/shifts/{number}/settlement", s.getSettlement)
	mux.HandleFunc("GET /api/v1/shifts/{number}/settlement/slip.svg", s.getSettlementSlip)
	mux.HandleFunc("POST /api/v1/shifts/{number}/settlement/print", s.postSettlementPrint)
}

// settlementNumber names the settlement of a shift: the same for the same
// shift, however often and by whomever it is asked for.
func settlementNumber(r terminal.ShiftReport) string {
	return fmt.Sprintf("S-%s-%d-%d", r.Closing.Terminal, r.Closing.Epoch, r.Number)
}

// settlementView is what a shift took and gave out, and so owes.
type settlementView struct {
	Number   string    `json:"number"` // of the settlement
	Shift    uint32    `json:"shift"`
	ID       string    `json:"id"` // of the close
	Clerk    string    `json:"clerk"`
	Opened   when      `json:"opened"`
	Closed   when      `json:"closed"`
	TopUps   money.Fen `json:"topups"` // cash taken for them, also not certain or owed back
	Bills    money.Fen `json:"bills"`
	Deposits money.Fen `json:"deposits"`
	Voids    money.Fen `json:"voids"` // cash given out
	Claims   money.Fen `json:"claims"`
	Returned money.Fen `json:"returned"` // for what an earlier shift had taken
	Net      money.Fen `json:"net"`      // what the drawer owes the float
	Unknown  sumView   `json:"unknown"`  // of what was taken: not certain at the close
	Owed     sumView   `json:"owed"`     // and owed to customers
	Unsent   uint64    `json:"unsent"`   // entries at the close
	Prints   uint32    `json:"prints"`   // of the slip so far; the first is no copy
	Slip     *slipView `json:"slip"`     // null without a printer
}

type sumView struct {
	Count  uint32    `json:"count"`
	Amount money.Fen `json:"amount"`
}

// unknownCash is what was taken for what was not certain at the close.
func unknownCash(r terminal.ShiftReport) (v sumView) {
	for _, k := range r.Kinds {
		if k.Kind == journal.KindTopUp || k.Kind == journal.KindBill {
			v.Count += k.Unknown
			v.Amount += k.UnknownAmount
		}
	}
	return v
}

func settlementKey(r terminal.ShiftReport) slipKey {
	return slipKey{name: r.Closing, settlement: true}
}

// settlementOf is the closed shift that a path names, for who may settle. One
// of which the file kept no more than its close can't be settled here.
func (s *Server) settlementOf(r *http.Request) (c caller, rep terminal.ShiftReport, err error) {
	if c, err = s.allowed(r, RightSettle); err != nil {
		return c, rep, err
	}
	n, err := shiftNumber(r)
	if err != nil {
		return c, rep, err
	}
	if rep, err = s.cfg.Terminal.ReportOf(n); err == nil && rep.Partial {
		err = refusal(terminal.CodeNotFound)
	}
	return c, rep, err
}

func (s *Server) settlementView(r terminal.ShiftReport) (settlementView, error) {
	n, err := s.cfg.Terminal.Settled(r.Closing)
	if err != nil {
		return settlementView{}, err
	}
	k := r.Takings
	v := settlementView{
		Number: settlementNumber(r), Shift: r.Number, ID: r.Closing.String(), Clerk: r.Clerk.String(), Opened: whenMS(r.Opened), Closed: whenMS(r.ClosedAt),
		TopUps: k.TopUps, Bills: k.Bills, Deposits: k.Deposits, Voids: k.Voids, Claims: k.Claims, Returned: k.Returned, Net: k.Net(),
		Unknown: unknownCash(r), Owed: sumView{r.Owed, r.OwedCash}, Unsent: r.Unsent, Prints: n, Slip: s.fate(settlementKey(r)),
	}
	if v.Slip != nil && v.Slip.State == "unknown" && n == 0 {
		v.Slip.State, v.Slip.Words = "none", s.words.words("slip_state.none")
	}
	return v, nil
}

func (s *Server) settlementSlip(r terminal.ShiftReport, lang string, copy uint32) receipt.Doc {
	st, k, unknown := s.cfg.Terminal.Status(), r.Takings, unknownCash(r)
	return receipt.OfSettlement(receipt.Settlement{
		Head: s.head(st), Lang: s.slipLang(lang), Number: settlementNumber(r), Shift: r.Number, Clerk: s.staffName(r.Clerk),
		Opened: time.UnixMilli(r.Opened), Closed: time.UnixMilli(r.ClosedAt),
		TopUps: k.TopUps, Bills: k.Bills, Deposits: k.Deposits, Voids: k.Voids, Claims: k.Claims, Returned: k.Returned, Net: k.Net(),
		Unknown: unknown.Amount, UnknownCount: unknown.Count, Owed: r.OwedCash, OwedCount: r.Owed,
		Unsent: uint32(r.Unsent), Hash: st.Head.Hash, Slip: r.Closing, Copy: int(copy),
	})
}

func (s *Server) getSettlement(w http.ResponseWriter, r *http.Request) {
	_, rep, err := s.settlementOf(r)
	var v settlementView
	if err == nil {
		v, err = s.settlementView(rep)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// getSettlementSlip shows the slip as a picture, which is no print of it.
func (s *Server) getSettlementSlip(w http.ResponseWriter, r *http.Request) {
	_, rep, err := s.settlementOf(r)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeSVG(w, s.settlementSlip(rep, r.URL.Query().Get("lang"), 0).SVG(s.cfg.Slips.Paper))
}

// postSettlementPrint prints the slip. Each print is in the journal before it is
// sent; all but the first are marked as copies, but for one that certainly did
// not come out and is printed once more.
func (s *Server) postSettlementPrint(w http.ResponseWriter, r *http.Request) {
	v, err := s.settlementPrintCall(w, r)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) settlementPrintCall(w http.ResponseWriter, r *http.Request) (v settlementView, err error) {
	c, rep, err := s.settlementOf(r)
	if err != nil {
		return v, err
	}
	var b printBody
	if err := readBody(w, r, &b); err != nil {
		return v, err
	}
	if s.cfg.Printer == nil {
		return v, &terminal.Refusal{Code: CodePrinter, Detail: "none"}
	}
	s.spool.one.Lock()
	done, err := s.printSettlement(context.WithoutCancel(r.Context()), c, rep, b.Lang)
	s.spool.one.Unlock()
	if err != nil {
		return v, err
	}
	awaitPaper(done)
	return s.settlementView(rep)
}

func (s *Server) printSettlement(ctx context.Context, c caller, rep terminal.ShiftReport, lang string) (<-chan struct{}, error) {
	k := settlementKey(rep)
	rec, known := s.spool.get(k)
	if rec.state == "printing" {
		return rec.done, nil
	}
	if st := s.checkPrinter(ctx); !st.Good() {
		return nil, &terminal.Refusal{Code: CodePrinter, Detail: string(st.State())}
	}
	if !known || rec.came() {
		n, err := s.cfg.Terminal.Settle(ctx, c.who(), rep.Closing)
		if err != nil {
			return nil, err
		}
		rec.copy = n - 1
	}
	return s.print(k, slipRecord{copy: rec.copy, at: time.Now(), settled: true}, s.settlementSlip(rep, lang, rec.copy)), nil
}
