package terminalaudit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

var (
	terminalID = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}
	clerk      = journal.Actor{Kind: journal.ActorClerk, ID: 7}
)

// day writes entries as a terminal does, with the rules of none.
type day struct {
	drafts []store.Draft
	shift  uint32
	open   bool
	opened journal.Ref
	cash   money.Fen
	next   uint16        // counter of the only card
	holds  money.Fen     // by the card
	owed   []journal.Ref // loads not done whose cash is here
	done   []journal.Ref // loads done
	amount map[journal.Ref]money.Fen
}

func (d *day) put(ref journal.Ref, b journal.Body) journal.Ref {
	d.drafts = append(d.drafts, store.Draft{Actor: clerk, Ref: ref, Body: b})
	return journal.Ref{Epoch: 1, Seq: uint64(len(d.drafts))}
}

var card = money.CardNumber{0, 0, 0x33, 0x10, 9: 0x17}

func (d *day) step(t *rapid.T) {
	amount := money.Fen(rapid.IntRange(1, 5000).Draw(t, "amount"))
	end := rapid.SampledFrom([]string{"done", "not done", "unknown", "unknown, done", "unknown, not done", "pending"}).Draw(t, "end")
	switch rapid.SampledFrom([]string{"load", "load", "pay", "pay", "shift", "sale", "return", "void"}).Draw(t, "kind") {
	case "load":
		tendered := money.Fen(0)
		if rapid.Bool().Draw(t, "tendered") {
			tendered = amount + 100
		}
		purpose := rapid.SampledFrom([]journal.Purpose{journal.PurposeTopUp, journal.PurposeFirstLoad}).Draw(t, "purpose")
		at := d.put(journal.Ref{}, &journal.LoadIntent{Purpose: purpose, Card: card, Amount: amount, Tendered: tendered, Before: d.holds, Counter: d.next})
		d.next++
		d.amount[at] = amount
		in := tendered > 0
		if in {
			d.move(amount)
		}
		if end != "pending" && end != "not done" || rapid.Bool().Draw(t, "authorised") {
			d.put(at, &journal.LoadAuthorised{})
		}
		d.outcomes(end, func(r journal.Result) {
			after := d.holds
			if r == journal.Done {
				after += amount
				d.holds = after
				d.done = append(d.done, at)
			}
			if r != journal.NotDone && !in {
				in = true
				d.move(amount)
			}
			d.put(at, &journal.LoadOutcome{Result: r, Evidence: journal.EvidenceAnswer, After: after})
			if r == journal.NotDone && tendered > 0 {
				d.owed = append(d.owed, at)
			}
		})
	case "pay":
		amount = min(amount, d.holds)
		if amount == 0 {
			return
		}
		at := d.put(journal.Ref{}, &journal.PurchaseIntent{Purpose: journal.PurposeRedeem, Card: card, Amount: amount, Before: d.holds, Counter: d.next})
		d.next++
		d.outcomes(end, func(r journal.Result) {
			if r == journal.Done {
				d.holds -= amount
			}
			d.put(at, &journal.PurchaseOutcome{Result: r, Evidence: journal.EvidenceAnswer, After: d.holds})
		})
	case "shift":
		if d.open {
			d.put(d.opened, &journal.ShiftClose{Number: d.shift, Counted: d.cash, Expected: d.cash})
			d.open = false
			return
		}
		d.shift++
		d.cash, d.open = 200_00, true
		d.opened = d.put(journal.Ref{}, &journal.ShiftOpen{Number: d.shift, Cash: d.cash})
	case "sale":
		d.put(journal.Ref{}, &journal.CardSale{Card: card, Deposit: amount})
		d.move(amount)
	case "return":
		if len(d.owed) == 0 {
			return
		}
		at := d.owed[0]
		d.owed = d.owed[1:]
		d.put(at, &journal.CashReturned{Amount: d.amount[at]})
		d.move(-d.amount[at])
	case "void":
		if len(d.done) == 0 || d.amount[d.done[0]] > d.holds {
			return
		}
		of := d.done[0]
		d.done = d.done[1:]
		q := d.put(of, &journal.VoidRequest{Card: card, Amount: d.amount[of]})
		if rapid.Bool().Draw(t, "answered") {
			d.put(q, &journal.VoidAnswer{Agreed: true})
			at := d.put(q, &journal.PurchaseIntent{Purpose: journal.PurposeVoidTopUp, Card: card, Amount: d.amount[of], Before: d.holds, Counter: d.next})
			d.next++
			d.outcomes(end, func(r journal.Result) {
				if r == journal.Done {
					d.holds -= d.amount[of]
					d.move(-d.amount[of])
				}
				d.put(at, &journal.PurchaseOutcome{Result: r, Evidence: journal.EvidenceAnswer, After: d.holds})
			})
		}
	}
}

func (d *day) move(a money.Fen) {
	if d.open {
		d.cash += a
	}
}

func (d *day) outcomes(end string, f func(journal.Result)) {
	for _, r := range map[string][]journal.Result{
		"done": {journal.Done}, "not done": {journal.NotDone}, "unknown": {journal.Unknown},
		"unknown, done": {journal.Unknown, journal.Done}, "unknown, not done": {journal.Unknown, journal.NotDone},
	}[end] {
		f(r)
	}
}

// TestAgreesWithStore holds the two ways of adding up against each other on
// random days, and then lies to the audit in each way there is.
func TestAgreesWithStore(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		d := &day{amount: map[journal.Ref]money.Fen{}, next: 1}
		d.put(journal.Ref{}, &journal.Start{Shop: 1})
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			d.step(rt)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n)) // each with a second copy beside it
		o := store.Options{Reserve: 1}
		if err := store.Create(path, store.Identity{Terminal: terminalID, Shop: 1, Epoch: 1}, o); err != nil {
			rt.Fatal(err)
		}
		st, err := store.Open(path, o)
		if err != nil {
			rt.Fatal(err)
		}
		defer st.Close()
		if _, err := st.Append(rt.Context(), d.drafts...); err != nil {
			rt.Fatal(err)
		}
		if through := uint64(rapid.IntRange(0, len(d.drafts)).Draw(rt, "acknowledged")); through > 0 {
			hash, _, err := st.EntriesOf(1, through+1, 0, 0)
			if err != nil {
				rt.Fatal(err)
			}
			if err := st.PutAck(nil, wire.Ack{Terminal: terminalID, Epoch: 1, Through: through, Hash: hash}); err != nil {
				rt.Fatal(err)
			}
		}
		report, err := Run(rt.Context(), st)
		if err != nil {
			rt.Fatalf("%v\n%v", err, report.Problems)
		}
		if report.Entries != uint64(len(d.drafts)) {
			rt.Fatalf("%d entries of %d", report.Entries, len(d.drafts))
		}
		if d.open && report.Shift.Expected != d.cash {
			rt.Fatalf("expected %s in the drawer, the day had %s", report.Shift.Expected, d.cash)
		}
		if len(report.Cards) == 1 && report.Cards[0].Unknown == 0 {
			if c := report.Cards[0]; c.Loaded-c.Debited != d.holds {
				rt.Fatalf("the card holds %s, the report makes %s", d.holds, c.Loaded-c.Debited)
			}
		}
		for name, lie := range lies {
			l := &liar{Store: st}
			lie(l)
			if _, err := Run(rt.Context(), l); l.lied() && !errors.Is(err, ErrDifference) {
				rt.Fatalf("%s: %v", name, err)
			}
		}
	})
}

// liar is a store whose projections are wrong.
type liar struct {
	*store.Store
	shift  func(*store.Shift)
	unsent func(*store.Unsent)
	open   func([]journal.Transaction) []journal.Transaction
	heads  func([]store.Epoch)
}

func (l *liar) lied() bool {
	_, ok, _ := l.Store.Shift()
	list, _ := l.Store.OpenTransactions()
	return (l.shift == nil || ok) && (l.open == nil || len(list) > 0)
}

func (l *liar) Shift() (store.Shift, bool, error) {
	s, ok, err := l.Store.Shift()
	if l.shift != nil {
		l.shift(&s)
	}
	return s, ok, err
}

func (l *liar) Unsent() store.Unsent {
	u := l.Store.Unsent()
	if l.unsent != nil {
		l.unsent(&u)
	}
	return u
}

func (l *liar) OpenTransactions() ([]journal.Transaction, error) {
	list, err := l.Store.OpenTransactions()
	if l.open != nil {
		list = l.open(list)
	}
	return list, err
}

func (l *liar) Epochs() []store.Epoch {
	e := l.Store.Epochs()
	if l.heads != nil {
		l.heads(e)
	}
	return e
}

var lies = map[string]func(*liar){
	"a fen of the drawer":    func(l *liar) { l.shift = func(s *store.Shift) { s.Expected++ } },
	"a fen of takings":       func(l *liar) { l.shift = func(s *store.Shift) { s.CashIn--; s.CashOut-- } },
	"a fen of top-ups":       func(l *liar) { l.shift = func(s *store.Shift) { s.TopUps++ } },
	"a transaction too many": func(l *liar) { l.shift = func(s *store.Shift) { s.Count++ } },
	"another clerk":          func(l *liar) { l.shift = func(s *store.Shift) { s.Clerk++ } },
	"a fen unsent":           func(l *liar) { l.unsent = func(u *store.Unsent) { u.Value++ } },
	"an entry unsent":        func(l *liar) { l.unsent = func(u *store.Unsent) { u.Count-- } },
	"an unknown forgotten": func(l *liar) {
		l.open = func(t []journal.Transaction) []journal.Transaction { return t[:max(0, len(t)-1)] }
	},
	"an unknown of less": func(l *liar) {
		l.open = func(t []journal.Transaction) []journal.Transaction {
			if len(t) > 0 {
				t[0].Amount--
			}
			return t
		}
	},
	"an unknown of one more": func(l *liar) {
		l.open = func(t []journal.Transaction) []journal.Transaction {
			return append(t, journal.Transaction{Name: journal.Name{Seq: 999}})
		}
	},
	"another head":            func(l *liar) { l.heads = func(e []store.Epoch) { e[0].Head.Hash[0] ^= 1 } },
	"an acknowledged too far": func(l *liar) { l.heads = func(e []store.Epoch) { e[0].Acked = e[0].Head.Seq + 1 } },
}

// journalOf is a Reader of bare entries, which a store would not have taken.
type journalOf struct {
	Reader
	entries []journal.Entry
}

func (j journalOf) Identity() store.Identity { return store.Identity{Terminal: terminalID, Epoch: 1} }
func (j journalOf) Epochs() []store.Epoch {
	h := journal.Genesis(terminalID, 1)
	for _, e := range j.entries {
		h = journal.Link(h, e.Bytes())
	}
	return []store.Epoch{{Head: journal.Head{Terminal: terminalID, Epoch: 1, Seq: uint64(len(j.entries)), Hash: h}}}
}
func (j journalOf) EntriesOf(_ uint32, from uint64, _, _ int) (journal.Hash, [][]byte, error) {
	var out [][]byte
	for _, e := range j.entries[from-1:] {
		out = append(out, e.Bytes())
	}
	return journal.Hash{}, out, nil
}
func (j journalOf) Shift() (store.Shift, bool, error)                { return store.Shift{}, false, nil }
func (j journalOf) OpenTransactions() ([]journal.Transaction, error) { return nil, nil }
func (j journalOf) Unsent() store.Unsent                             { return store.Unsent{} }

// TestImpossible shows entries that no honest terminal writes.
func TestImpossible(t *testing.T) {
	ref := func(seq uint64) journal.Ref { return journal.Ref{Epoch: 1, Seq: seq} }
	pay := &journal.PurchaseIntent{Purpose: journal.PurposeRedeem, Card: card, Amount: 100, Before: 500, Counter: 3}
	load := &journal.LoadIntent{Purpose: journal.PurposeTopUp, Card: card, Amount: 100, Before: 500, Counter: 3, Tendered: 100}
	for _, c := range []struct {
		want    string
		entries []store.Draft
	}{
		{"moved 1.00, and holds 4.01", []store.Draft{{Body: pay}, {Ref: ref(2), Body: &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, After: 401}}}},
		{"changes the outcome", []store.Draft{{Body: pay}, {Ref: ref(2), Body: &journal.PurchaseOutcome{Result: journal.Done, After: -1}}, {Ref: ref(2), Body: &journal.PurchaseOutcome{Result: journal.NotDone, After: -1}}}},
		{"same step of the counter", []store.Draft{
			{Body: pay}, {Ref: ref(2), Body: &journal.PurchaseOutcome{Result: journal.Done, After: -1}},
			{Body: pay}, {Ref: ref(4), Body: &journal.PurchaseOutcome{Result: journal.Done, After: -1}},
		}},
		{"which nobody authorised", []store.Draft{{Body: load}, {Ref: ref(2), Body: &journal.LoadOutcome{Result: journal.Done, After: -1}}}},
		{"does not owe it", []store.Draft{{Body: load}, {Ref: ref(2), Body: &journal.LoadOutcome{Result: journal.Unknown, After: -1}}, {Ref: ref(2), Body: &journal.CashReturned{Amount: 100}}}},
		{"does not owe it", []store.Draft{{Body: load}, {Ref: ref(2), Body: &journal.LoadOutcome{Result: journal.NotDone, After: -1}}, {Ref: ref(2), Body: &journal.CashReturned{Amount: 101}}}},
		{"continues nothing", []store.Draft{{Ref: ref(1), Body: &journal.LoadOutcome{Result: journal.Done, After: -1}}}},
		{"expected in the drawer", []store.Draft{{Body: &journal.ShiftOpen{Number: 1, Cash: 100}}, {Ref: ref(2), Body: &journal.ShiftClose{Number: 1, Counted: 100, Expected: 101}}}},
		{"opens shift 3 after shift 0", []store.Draft{{Body: &journal.ShiftOpen{Number: 3}}}},
		{"tallies a shift that is not open", []store.Draft{{Ref: ref(1), Body: &journal.ShiftTally{}}}},
		{"explains a difference of 0.02, the close makes 0.01", []store.Draft{
			{Body: &journal.ShiftOpen{Number: 1}}, {Ref: ref(2), Body: &journal.ShiftClose{Number: 1, Counted: 1}}, {Ref: ref(3), Body: &journal.ShiftDifference{Difference: 2}},
		}},
		{"explains a difference of 0.01, the close makes 0.00", []store.Draft{ // a second time
			{Body: &journal.ShiftOpen{Number: 1}}, {Ref: ref(2), Body: &journal.ShiftClose{Number: 1, Counted: 1}},
			{Ref: ref(3), Body: &journal.ShiftDifference{Difference: 1}}, {Ref: ref(3), Body: &journal.ShiftDifference{Difference: 1}},
		}},
		{"receives 3 cards", []store.Draft{{Body: &journal.StockReceipt{From: card, To: card, Cards: 3}}}},
		{"again", []store.Draft{{Body: &journal.StockReceipt{From: card, To: card, Cards: 1}}, {Body: &journal.StockReceipt{From: card, To: card, Cards: 1}}}},
		{"finds 2 of 1 cards", []store.Draft{{Body: &journal.StockReceipt{From: card, To: card, Cards: 1}}, {Ref: ref(2), Body: &journal.StockCount{Found: 2, Expected: 1}}}},
		{"nobody received", []store.Draft{{Ref: ref(1), Body: &journal.StockCount{}}}},
		{"not such a top-up", []store.Draft{{Body: &journal.VoidRequest{Card: card, Amount: 5}}}},
		{"moves -1.00", []store.Draft{{Body: &journal.PurchaseIntent{Card: card, Amount: -100}}}},
	} {
		t.Run(c.want, func(t *testing.T) {
			j := journalOf{entries: []journal.Entry{{Name: ref(1).Of(terminalID), Body: &journal.Start{}}}}
			for i, d := range c.entries {
				j.entries = append(j.entries, journal.Entry{Name: ref(uint64(i + 2)).Of(terminalID), Ref: d.Ref, Body: d.Body})
			}
			report, err := Run(t.Context(), j)
			var text bytes.Buffer
			report.Write(&text)
			if !errors.Is(err, ErrDifference) || !strings.Contains(text.String(), c.want) {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
}
