package kiosk

import (
	"context"
	"net/http"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/receipt"
	"github.com/dianka/dianka/terminal"
)

// shiftKey names the slip of a report: that of a close, or that of what the
// journal holds now.
func (s *Server) shiftKey(r terminal.ShiftReport) slipKey {
	k := slipKey{name: r.Closing, report: true}
	if !r.Closed {
		st := s.cfg.Terminal.Status()
		k.name = journal.Name{Terminal: st.Terminal, Epoch: st.Head.Epoch, Seq: st.Head.Seq}
	}
	return k
}

// shiftSlip makes the document of an X or a Z. What is unsent and what needs a
// person is listed as it is now, so not on a copy.
func (s *Server) shiftSlip(r terminal.ShiftReport, lang string, copy uint32) (receipt.Doc, error) {
	st := s.cfg.Terminal.Status()
	d := receipt.Report{
		Head: s.head(st), Lang: s.slipLang(lang), Final: r.Closed, Number: r.Number, Clerk: s.staffName(r.Clerk),
		Opened: time.UnixMilli(r.Opened).In(money.CST), At: s.cfg.Clock().In(money.CST), OpeningCash: r.OpeningCash, CashIn: r.CashIn, CashOut: r.CashOut,
		TopUps: r.TopUps, Redemptions: r.Redemptions, Deposits: r.Deposits, Voids: r.Voids, Bills: r.Bills, Claims: r.Claims,
		Count: r.Count, Unknown: r.Unknown, Unsent: uint32(r.Unsent), Hash: st.Head.Hash, Slip: s.shiftKey(r).name, Copy: int(copy),
	}
	if r.Closed {
		d.At, d.Counted, d.Expected = time.UnixMilli(r.ClosedAt).In(money.CST), &r.Counted, &r.Expected
		if r.Explained != nil {
			d.Reason = s.words.in(d.Lang, "difference."+causes[r.Explained.Cause])
			if r.Explained.Note != "" {
				d.Reason += " · " + r.Explained.Note
			}
		}
	}
	if copy == 0 {
		a, err := s.cfg.Terminal.Attention()
		if err != nil {
			return receipt.Doc{}, err
		}
		d.UnsentSlips, d.AttentionSlips = names(a.Unsent), names(a.Unknown, a.Owed)
	}
	return receipt.OfShift(d), nil
}

func names(lists ...[]terminal.Receipt) []journal.Name {
	out := []journal.Name{}
	for _, l := range lists {
		for _, rc := range l {
			out = append(out, rc.Name)
		}
	}
	return out
}

// staffName is a person as printed.
func (s *Server) staffName(id money.StaffID) string {
	if p := s.door.current(id); p != nil {
		return id.String() + " " + p.Name
	}
	return id.String()
}

// printClose prints the Z of a shift that was just closed, where slips are
// printed unasked. The close stands whatever becomes of the paper.
func (s *Server) printClose(r terminal.ShiftReport) {
	k := s.shiftKey(r)
	if s.cfg.Printer == nil || s.cfg.Slips.Counter != SlipAlways {
		return
	}
	s.spool.one.Lock()
	defer s.spool.one.Unlock()
	if _, known := s.spool.get(k); known {
		return
	}
	doc, err := s.shiftSlip(r, "", 0)
	if err != nil {
		s.log.Error("the slip of a close", "shift", r.Number, "err", err)
		return
	}
	s.print(k, slipRecord{at: time.Now(), settled: true}, doc)
}

// shiftOf is the report that a path names.
func (s *Server) shiftOf(r *http.Request) (terminal.ShiftReport, error) {
	if r.PathValue("number") == "" {
		return s.cfg.Terminal.Report()
	}
	n, err := shiftNumber(r)
	if err != nil {
		return terminal.ShiftReport{}, err
	}
	return s.cfg.Terminal.ReportOf(n)
}

// getShiftSlip shows an X or a Z as a picture.
func (s *Server) getShiftSlip(w http.ResponseWriter, r *http.Request) {
	_, err := s.allowed(r, RightSettle)
	var rep terminal.ShiftReport
	if err == nil {
		rep, err = s.shiftOf(r)
	}
	var doc receipt.Doc
	if err == nil {
		doc, err = s.shiftSlip(rep, r.URL.Query().Get("lang"), 0)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeSVG(w, doc.SVG(s.cfg.Slips.Paper))
}

// postShiftPrint prints an X or a Z. A Z that may have come out before is
// marked and counted, as the slip of a transaction is.
func (s *Server) postShiftPrint(w http.ResponseWriter, r *http.Request) {
	v, err := s.shiftPrintCall(w, r)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) shiftPrintCall(w http.ResponseWriter, r *http.Request) (*slipView, error) {
	c, err := s.allowed(r, RightSettle)
	if err != nil {
		return nil, err
	}
	var b printBody
	if err := readBody(w, r, &b); err != nil {
		return nil, err
	}
	rep, err := s.shiftOf(r)
	if err != nil {
		return nil, err
	}
	if s.cfg.Printer == nil {
		return nil, &terminal.Refusal{Code: CodePrinter, Detail: "none"}
	}
	k := s.shiftKey(rep)
	s.spool.one.Lock()
	done, err := s.printShiftNow(context.WithoutCancel(r.Context()), c, k, rep, b.Lang)
	s.spool.one.Unlock()
	if err != nil {
		return nil, err
	}
	awaitPaper(done)
	return s.fate(k), nil
}

func (s *Server) printShiftNow(ctx context.Context, c caller, k slipKey, rep terminal.ShiftReport, lang string) (<-chan struct{}, error) {
	rec, known := s.spool.get(k)
	if rec.state == "printing" {
		return rec.done, nil
	}
	if st := s.checkPrinter(ctx); !st.Good() {
		return nil, &terminal.Refusal{Code: CodePrinter, Detail: string(st.State())}
	}
	if rep.Closed && (!known || rec.came()) {
		n, err := s.cfg.Terminal.Reprint(ctx, c.who(), rep.Closing)
		if err != nil {
			return nil, err
		}
		rec.copy = n
	}
	doc, err := s.shiftSlip(rep, lang, rec.copy)
	if err != nil {
		return nil, err
	}
	return s.print(k, slipRecord{copy: rec.copy, at: time.Now(), settled: true}, doc), nil
}
