package terminalaudit

import (
	"bytes"
	"fmt"
	"io"
)

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("terminal %s, %d entries", r.Terminal, r.Entries)
	for _, h := range r.Heads {
		p("epoch %d ends at %d, hash %s", h.Epoch, h.Seq, h.Hash)
	}
	p("\n%-12s %8s %14s %9s %14s %8s %14s", "kind", "done", "yuan", "not done", "yuan", "unknown", "yuan")
	for _, k := range kinds {
		s, ok := r.Kinds[k]
		if !ok {
			continue
		}
		p("%-12s %8d %14s %9d %14s %8d %14s", k, s.Done, s.DoneAmount, s.NotDone, s.NotDoneAmount, s.Unknown, s.UnknownAmount)
	}
	p("\n%-22s %14s %14s %14s", "card", "loaded", "debited", "unknown")
	for _, c := range r.Cards {
		p("%-22s %14s %14s %14s", c.Number, c.Loaded, c.Debited, c.Unknown)
	}
	if s := r.Shift; s.Number != 0 {
		state := "open"
		if s.Closed {
			state = fmt.Sprintf("closed, counted %s", s.Counted)
		}
		p("\nshift %d of clerk %s: opened with %s, in %s, out %s, expected %s; %s", s.Number, s.Clerk, s.OpeningCash, s.CashIn, s.CashOut, s.Expected, state)
	}
	p("\nnot acknowledged by the utility: %d entries, top-ups of %s", r.Unsent.Count, r.Unsent.Value)
	if len(r.Open) == 0 {
		p("unknown: nothing")
	} else {
		p("unknown:")
	}
	for _, o := range r.Open {
		p("  %-28s %-12s card …%s %14s", o.Name, o.Kind, o.Card.Last4(), o.Amount)
	}
	if r.Clean() {
		p("\nverdict: clean")
	} else {
		p("\nverdict: NOT CLEAN")
		for _, s := range r.Problems {
			p("  %s", s)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
