package terminal

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// TestReports: what the X says while the shift is open is what the Z says of
// it, and the Z says the same for ever.
func TestReports(t *testing.T) {
	w := newWorld(t)
	if _, err := w.term.Report(); !errors.Is(err, refuse(CodeNoShift)) {
		t.Fatal(err)
	}
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	top, err := w.topUp(n, 20_00)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.term.Void(w.ctx, VoidRequest{Token: token(), Who: clerk, Second: 8, TopUp: top.Name}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.redeem(n, 5_00); err != nil {
		t.Fatal(err)
	}
	w.host.refuse = "no_room"
	not, err := w.topUp(n, 30_00)
	if err != nil || not.Result != journal.NotDone {
		t.Fatalf("%v %+v", err, not)
	}
	w.host.refuse = ""
	if err := w.term.Note(w.ctx, clerk, journal.Staff{Act: journal.ActRefused, Staff: clerk.ID, Count: 3, Detail: "void"}); err != nil {
		t.Fatal(err)
	}
	x, err := w.term.Report()
	if err != nil {
		t.Fatal(err)
	}
	kept, _, _ := w.st.Shift()
	if x.Shift != kept || x.Closed || x.Difference() != 0 || x.Owed != 1 || x.OwedCash != 30_00 || x.Acts[journal.ActRefused] != 3 {
		t.Errorf("X %+v", x)
	}
	wantKinds := []KindSum{
		{Kind: journal.KindRedemption, Done: 1, Amount: 5_00},
		{Kind: journal.KindTopUp, Done: 2, NotDone: 1, Amount: 120_00},
		{Kind: journal.KindVoid, Done: 1, Amount: 20_00},
		{Kind: journal.KindVoidDebit, Done: 1, Amount: 20_00},
	}
	if !reflect.DeepEqual(x.Kinds, wantKinds) {
		t.Errorf("kinds %+v", x.Kinds)
	}
	if len(x.Clerks) != 2 || x.Clerks[0].Clerk != clerk.ID || x.Clerks[0].Voids != 1 || x.Clerks[0].VoidAmount != 20_00 || x.Clerks[0].TopUps != 2 || x.Clerks[0].Refused != 3 {
		t.Errorf("clerks %+v", x.Clerks)
	}
	at, err := w.term.Attention()
	if err != nil || len(at.Owed) != 1 || at.Owed[0].Name != not.Name || len(at.Unknown) != 0 || len(at.Unsent) != 6 {
		t.Errorf("%v %+v", err, at)
	}

	tok := token()
	req := CloseRequest{Token: tok, Who: clerk, Counted: 225_00}
	z, err := w.term.CloseShift(w.ctx, req)
	if err != nil || !z.Closed || z.Expected != 230_00 || z.Difference() != -5_00 || z.Explained != nil || z.Owed != 1 || !reflect.DeepEqual(z.Kinds, wantKinds) {
		t.Fatalf("%v Z %+v", err, z)
	}
	var tally *journal.ShiftTally
	all := w.entries()
	if b, ok := all[len(all)-2].Body.(*journal.ShiftTally); ok {
		tally = b
	}
	if tally == nil || tally.Token != tok || tally.Owed != 1 || tally.Value != 30_00 {
		t.Errorf("before the close: %+v", all[len(all)-2])
	}
	// What comes later is of another shift.
	if _, err := w.term.OpenShift(w.ctx, clerk, 200_00); err != nil {
		t.Fatal(err)
	}
	if _, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: not.Name}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	head := w.st.Head().Seq
	again, err := w.term.CloseShift(w.ctx, req)
	if err != nil || !reflect.DeepEqual(again, z) {
		t.Errorf("%v the same close again\n%+v, want\n%+v", err, again, z)
	}
	if of, err := w.term.ReportOf(1); err != nil || !reflect.DeepEqual(of, z) {
		t.Errorf("%v Z of shift 1\n%+v, want\n%+v", err, of, z)
	}
	_, err = w.term.CloseShift(w.ctx, CloseRequest{Token: tok, Who: clerk, Counted: 230_00})
	wantRefusal(t, err, CodeTokenReused)
	_, err = w.term.CloseShift(w.ctx, CloseRequest{Token: top.Token, Who: clerk, Counted: 230_00})
	wantRefusal(t, err, CodeTokenReused)
	_, err = w.term.ReportOf(2)
	wantRefusal(t, err, CodeNotFound)
	if w.st.Head().Seq != head {
		t.Error("looking wrote something")
	}
	if at, _ := w.term.Attention(); len(at.Owed) != 0 {
		t.Errorf("given back and still owed: %+v", at.Owed)
	}
}

// TestConcurrentCloses: however many screens close at once, there is one close,
// and whoever asked under its token gets its report.
func TestConcurrentCloses(t *testing.T) {
	w := newWorld(t)
	w.shift()
	mine := CloseRequest{Token: token(), Who: clerk, Counted: 100_00}
	var wg sync.WaitGroup
	errs, reports := make([]error, 16), make([]ShiftReport, 16)
	for i := range errs {
		req := mine
		if i%2 == 1 {
			req = CloseRequest{Token: token(), Who: clerk, Counted: money.Fen(i)}
		}
		wg.Go(func() { reports[i], errs[i] = w.term.CloseShift(w.ctx, req) })
	}
	wg.Wait()
	closes, winners := 0, map[money.Fen]bool{}
	for _, e := range w.entries() {
		if e.Body.Type() == journal.TypeShiftClose {
			closes++
		}
	}
	for i, err := range errs {
		if err == nil {
			winners[reports[i].Counted] = true
		} else {
			wantRefusal(t, err, CodeShiftClosed)
		}
	}
	if closes != 1 || len(winners) != 1 {
		t.Errorf("%d closes, answers %v", closes, winners)
	}
}

// TestExplain: a difference has one reason, from the list, in an entry of its
// own.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	for _, counted := range []money.Fen{100_00, 99_00} {
		w.shift()
		if _, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: counted}); err != nil {
			t.Fatal(err)
		}
	}
	head := w.st.Head().Seq
	good := ExplainRequest{Token: token(), Who: clerk, Number: 2, Cause: journal.CauseChange, Note: "找零多给了一元"}
	for what, c := range map[string]struct {
		change func(*ExplainRequest)
		want   Code
	}{
		"no difference": {func(r *ExplainRequest) { r.Number = 1 }, CodeNoDifference},
		"no shift":      {func(r *ExplainRequest) { r.Number = 3 }, CodeNotFound},
		"a customer":    {func(r *ExplainRequest) { r.Who = customer }, CodeNotAllowed},
		"no cause":      {func(r *ExplainRequest) { r.Cause = 0 }, CodeNote},
		"unknown cause": {func(r *ExplainRequest) { r.Cause = journal.CauseOther + 1 }, CodeNote},
		"other, no why": {func(r *ExplainRequest) { r.Cause, r.Note = journal.CauseOther, " " }, CodeNote},
		"long":          {func(r *ExplainRequest) { r.Note = strings.Repeat("元", journal.MaxNote+1) }, CodeNote},
		"two lines":     {func(r *ExplainRequest) { r.Note = "a\nb" }, CodeNote},
		"turned text":   {func(r *ExplainRequest) { r.Note = "a\u202eb" }, CodeNote},
		"not UTF-8":     {func(r *ExplainRequest) { r.Note = "\xff" }, CodeNote},
	} {
		r := good
		r.Token = token()
		c.change(&r)
		_, err := w.term.Explain(w.ctx, r)
		if !errors.Is(err, refuse(c.want)) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
	if w.st.Head().Seq != head {
		t.Fatal("a refusal wrote something")
	}
	good.Note = strings.Repeat("元", journal.MaxNote)
	for range 2 {
		z, err := w.term.Explain(w.ctx, good)
		if err != nil || z.Explained == nil || z.Explained.Cause != journal.CauseChange || z.Explained.Difference != -1_00 || z.Explained.Note != good.Note {
			t.Fatalf("%v %+v", err, z.Explained)
		}
	}
	other := good
	other.Note = "a"
	_, err := w.term.Explain(w.ctx, other)
	wantRefusal(t, err, CodeTokenReused)
	other.Token = token()
	_, err = w.term.Explain(w.ctx, other)
	wantRefusal(t, err, CodeExplained)
	if w.st.Head().Seq != head+1 {
		t.Errorf("%d entries", w.st.Head().Seq-head)
	}
	list, err := w.term.Reports(10)
	if err != nil || len(list) != 2 || list[0].Number != 2 || list[0].Explained == nil || list[0].OpeningCash != 100_00 || list[1].Explained != nil {
		t.Errorf("%v %+v", err, list)
	}
}

// TestStock: packs within the shop's signed range, none twice, counted by
// number or by card; the sales of this terminal are taken off by themselves.
func TestStock(t *testing.T) {
	w := newWorld(t)
	c := func(n string) money.CardNumber { return mustCard(t, n) }
	good := ReceiveRequest{Token: token(), Who: clerk, From: c("5010"), To: c("5019")}
	var pack Pack
	for range 2 {
		p, err := w.term.Receive(w.ctx, good)
		if err != nil || p.Cards != 10 || p.Sold != 0 || p.Count != nil {
			t.Fatalf("%v %+v", err, p)
		}
		pack = p
	}
	head := w.st.Head().Seq
	refused := func(what string, want Code, change func(*ReceiveRequest)) {
		t.Helper()
		r := good
		r.Token = token()
		change(&r)
		if _, err := w.term.Receive(w.ctx, r); !errors.Is(err, refuse(want)) {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	span := func(from, to string) func(*ReceiveRequest) {
		return func(r *ReceiveRequest) { r.From, r.To = c(from), c(to) }
	}
	refused("the same", CodeStockOverlap, func(*ReceiveRequest) {})
	refused("its first", CodeStockOverlap, span("5001", "5010"))
	refused("its last", CodeStockOverlap, span("5019", "5030"))
	refused("within", CodeStockOverlap, span("5013", "5014"))
	refused("around", CodeStockOverlap, span("5000", "5100"))
	refused("backwards", CodeStockRange, span("5030", "5029"))
	refused("too many", CodeStockRange, span("4000", "5000"))
	refused("another shop's", CodeCardNotOurs, span("6000", "6009"))
	refused("half another shop's", CodeCardNotOurs, span("5990", "6009"))
	refused("half another shop's, before", CodeCardNotOurs, span("4990", "5009"))
	refused("a customer", CodeNotAllowed, func(r *ReceiveRequest) { r.Who = customer })
	refused("same token, other pack", CodeTokenReused, func(r *ReceiveRequest) { r.Token, r.To = good.Token, c("5018") })
	if w.st.Head().Seq != head {
		t.Fatal("a refusal wrote something")
	}
	if _, err := w.term.Receive(w.ctx, ReceiveRequest{Token: token(), Who: clerk, From: c("5020"), To: c("5020")}); err != nil {
		t.Errorf("a pack of one right behind: %v", err)
	}

	// A card outside every pack is sold, with a warning.
	w.shift()
	warned := func() bool {
		for _, x := range w.term.Status().Warnings {
			if x == WarnNotReceived {
				return true
			}
		}
		return false
	}
	for _, x := range []struct {
		n    string
		warn bool
	}{{"5012", false}, {"5500", true}, {"5009", true}} {
		w.slot.Swap(newCard(t, c(x.n)))
		w.term.cardEvent(w.ctx, reader.Event{Slot: w.slot.Name(), State: reader.StateCard, Count: 1000})
		if got := warned(); got != x.warn {
			t.Errorf("card %s: warning %t", x.n, got)
		}
		if _, err := w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: c(x.n)}); err != nil {
			t.Errorf("card %s: %v", x.n, err)
		}
	}
	list, err := w.term.Stock()
	if err != nil || len(list) != 2 || list[0].Sold != 1 || list[0].Left() != 9 || list[1].Left() != 1 {
		t.Fatalf("%v %+v", err, list)
	}

	// Counts.
	count := func(want Code, r CountRequest) Pack {
		t.Helper()
		p, err := w.term.CountStock(w.ctx, r)
		if want == "" && err != nil || want != "" && !errors.Is(err, refuse(want)) {
			t.Errorf("%v, want %q", err, want)
		}
		return p
	}
	name := pack.Receipt.Name
	count(CodeStockCount, CountRequest{Token: token(), Who: clerk, Pack: name, Found: 11})
	count(CodeStockCount, CountRequest{Token: token(), Who: clerk, Pack: name, Read: true, Cards: []money.CardNumber{c("5012")}}) // sold
	count(CodeStockCount, CountRequest{Token: token(), Who: clerk, Pack: name, Read: true, Cards: []money.CardNumber{c("5020")}}) // of another pack
	count(CodeNotAllowed, CountRequest{Token: token(), Who: customer, Pack: name})
	count(CodeNotFound, CountRequest{Token: token(), Who: clerk, Pack: journal.Name{Terminal: testTerminal, Epoch: 1, Seq: 1}})
	count(CodeNotFound, CountRequest{Token: token(), Who: clerk, Pack: journal.Name{Terminal: testTerminal, Epoch: 1, Seq: 9999}})
	count(CodeNotFound, CountRequest{Token: token(), Who: clerk, Pack: journal.Name{Epoch: 1, Seq: name.Seq}})
	p := count("", CountRequest{Token: token(), Who: clerk, Pack: name, Found: 9})
	if b := p.Count.Body.(*journal.StockCount); b.Found != 9 || b.Expected != 9 || b.Missing != nil {
		t.Errorf("%+v", b)
	}
	req := CountRequest{Token: token(), Who: clerk, Pack: name, Read: true, Cards: []money.CardNumber{c("5010"), c("5011"), c("5011"), c("5013"), c("5014"), c("5015"), c("5016"), c("5018")}}
	head = w.st.Head().Seq
	for range 2 {
		p = count("", req)
		if b := p.Count.Body.(*journal.StockCount); b.Found != 7 || b.Expected != 9 || !reflect.DeepEqual(b.Missing, []money.CardNumber{c("5017"), c("5019")}) {
			t.Errorf("%+v", b)
		}
	}
	// The token of a count is not that of another: a person who was told the
	// old one again would believe that the new one is written.
	other := func(change func(r *CountRequest)) CountRequest {
		r := req
		change(&r)
		return r
	}
	count(CodeTokenReused, other(func(r *CountRequest) { r.Read, r.Cards, r.Found = false, nil, 7 }))
	count(CodeTokenReused, other(func(r *CountRequest) { r.Cards = r.Cards[1:] }))
	count(CodeTokenReused, other(func(r *CountRequest) { r.Cards = append([]money.CardNumber{c("5017")}, r.Cards[1:]...) }))
	if w.st.Head().Seq != head+1 {
		t.Errorf("the same count again wrote %d entries", w.st.Head().Seq-head)
	}
	p = count("", CountRequest{Token: token(), Who: clerk, Pack: name, Read: true})
	if b := p.Count.Body.(*journal.StockCount); b.Found != 0 || len(b.Missing) != 9 {
		t.Errorf("%+v", b)
	}
}

// TestNoStockNoWarning: a shop that does not keep its stock here is not warned
// at every sale.
func TestNoStockNoWarning(t *testing.T) {
	w := newWorld(t)
	if w.term.notReceived(mustCard(t, "5001")) {
		t.Error("warned")
	}
}

// TestLargestPack: at the end of what a card number can be, and with as many
// missing as an entry holds.
func TestLargestPack(t *testing.T) {
	w := newWorld(t)
	from, to := mustCard(t, "99999999999999999000"), mustCard(t, "99999999999999999999")
	w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: from, To: to}}})
	p, err := w.term.Receive(w.ctx, ReceiveRequest{Token: token(), Who: clerk, From: from, To: to})
	if err != nil || p.Cards != 1000 {
		t.Fatalf("%v %+v", err, p)
	}
	p, err = w.term.CountStock(w.ctx, CountRequest{Token: token(), Who: clerk, Pack: p.Receipt.Name, Read: true})
	if err != nil || len(p.Count.Body.(*journal.StockCount).Missing) != journal.MaxMissing {
		t.Fatalf("%v %+v", err, p)
	}
}

// TestChangeStaff: the act and the list are one; a person that does not fit
// does not stop the terminal.
func TestChangeStaff(t *testing.T) {
	w := newWorld(t)
	add := journal.Staff{Act: journal.ActAdd, Staff: 9, Detail: "sell"}
	if err := w.term.ChangeStaff(w.ctx, clerk, add, store.Person{ID: 9, Name: strings.Repeat("x", store.MaxName+1)}, false); !errors.Is(err, store.ErrPerson) {
		t.Error(err)
	}
	if err := w.term.ChangeStaff(w.ctx, clerk, add, store.Person{ID: 9, Name: "a"}, false); err != nil {
		t.Fatal(err)
	}
	if list, err := w.term.Staff(); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	acts, err := w.term.StaffActs(1)
	if err != nil || len(acts) != 1 || acts[0].Actor != clerk || *acts[0].Body.(*journal.Staff) != (journal.Staff{Act: journal.ActAdd, Staff: 9, Count: 1, Detail: "sell"}) {
		t.Errorf("%v %+v", err, acts)
	}
}
