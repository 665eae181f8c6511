// Package terminalaudit recomputes what a terminal's file says of itself from
// the raw bytes of its journal, and compares. It asks of every entry what it
// changed and adds up; it shares the format of the entries with the terminal
// and none of the code that folds them into transactions, shifts and sums, so
// that one mistake does not hide in both.
//
// It may import money, journal (to parse and to hash) and store (to read). It
// must never use journal.Begin or Add, or store's projections other than as
// what is under audit, and it writes nothing.
package terminalaudit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// ErrDifference means that the file is not what its journal says.
var ErrDifference = errors.New("terminalaudit: the file is not clean")

// Reader is what the audit reads. A *store.Store is one.
type Reader interface {
	Identity() store.Identity
	Epochs() []store.Epoch
	EntriesOf(epoch uint32, from uint64, max, maxBytes int) (prev journal.Hash, entries [][]byte, err error)
	Shift() (store.Shift, bool, error)
	OpenTransactions() ([]journal.Transaction, error)
	Unsent() store.Unsent
}

// Sum adds up transactions.
type Sum struct {
	Done, NotDone, Unknown                   uint64
	DoneAmount, NotDoneAmount, UnknownAmount money.Fen
}

// Card adds up what this terminal did to a card.
type Card struct {
	Number  money.CardNumber
	Loaded  money.Fen // certainly
	Debited money.Fen // certainly
	Unknown money.Fen // loaded or debited, nobody knows
}

// Open is a transaction whose outcome nobody knows.
type Open struct {
	Name   journal.Name
	Kind   string
	Card   money.CardNumber
	Amount money.Fen
}

// Report is what an audit found.
type Report struct {
	Terminal money.TerminalID
	Heads    []journal.Head
	Entries  uint64
	Kinds    map[string]Sum
	Cards    []Card
	Open     []Open
	Shift    store.Shift // the latest, recomputed; Number 0: none yet
	Unsent   store.Unsent
	Problems []string // differences; empty means clean
}

// Clean is the verdict.
func (r *Report) Clean() bool { return len(r.Problems) == 0 }

// Kinds of transaction, in the order in which a report shows them.
const (
	TopUp      = "top-up"
	FirstLoad  = "first load"
	Redemption = "redemption"
	Sale       = "card sale"
	VoidAsked  = "void asked"
	VoidDebit  = "void debit"
	Bill       = "bill in cash"
	Claim      = "claim paid out"
	Block      = "card block"
	Replace    = "card replacement"
	Emptied    = "damaged card emptied"
)

var kinds = []string{TopUp, FirstLoad, Redemption, Sale, VoidAsked, VoidDebit, Bill, Claim, Block, Replace, Emptied}

// move is one transaction as its entries tell it.
type move struct {
	name       journal.Name
	kind       string
	load       bool // of value onto the card
	card       money.CardNumber
	amount     money.Fen
	before     money.Fen
	counter    uint16
	tendered   bool
	authorised bool
	result     journal.Result
	cash       bool // in a drawer, by what is known so far
	returned   bool
	shift      uint32 // in which it began
}

func (m *move) open() bool { return m.result == journal.Pending || m.result == journal.Unknown }

// step is one step of one of a card's two counters: it can happen once.
type step struct {
	card    money.CardNumber
	load    bool
	counter uint16
}

type auditor struct {
	Report
	bases map[uint32]uint64 // by epoch: the last sequence that is not in the file
	moves map[journal.Ref]*move
	order []*move
	steps map[step]journal.Name
	last  uint32 // number of the latest shift

	closes map[journal.Ref]money.Fen // counted less expected, not yet explained
	packs  []pack
}

// Run audits. It gives the report, and ErrDifference when anything is not as
// the journal says; another error means that the audit could not be made.
// Nothing else may write to the file meanwhile.
func Run(ctx context.Context, r Reader) (*Report, error) {
	a := &auditor{bases: map[uint32]uint64{}, moves: map[journal.Ref]*move{}, steps: map[step]journal.Name{}, closes: map[journal.Ref]money.Fen{}}
	a.Terminal = r.Identity().Terminal
	var before journal.Head
	for _, ep := range r.Epochs() {
		if err := a.epoch(ctx, r, ep, before); err != nil {
			return &a.Report, err
		}
		before = ep.Head
		a.Heads = append(a.Heads, ep.Head)
	}
	a.addUp()
	if err := a.compare(r); err != nil {
		return &a.Report, err
	}
	if !a.Clean() {
		return &a.Report, fmt.Errorf("%w: %s", ErrDifference, a.Problems[0])
	}
	return &a.Report, nil
}

func (a *auditor) problem(format string, args ...any) {
	if len(a.Problems) < 1000 {
		a.Problems = append(a.Problems, fmt.Sprintf(format, args...))
	}
}

// epoch walks one chain.
func (a *auditor) epoch(ctx context.Context, r Reader, ep store.Epoch, before journal.Head) error {
	hash := journal.Genesis(a.Terminal, ep.Head.Epoch)
	if a.bases[ep.Head.Epoch] = ep.Base; ep.Base > 0 { // the beginning is at the utility only
		var err error
		if hash, _, err = r.EntriesOf(ep.Head.Epoch, ep.Base+1, 1, 1); err != nil {
			return err
		}
	}
	for seq := ep.Base + 1; seq <= ep.Head.Seq; {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, list, err := r.EntriesOf(ep.Head.Epoch, seq, 1000, 1<<20)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			a.problem("entry %s is missing", journal.Ref{Epoch: ep.Head.Epoch, Seq: seq}.Of(a.Terminal))
			return nil
		}
		for _, b := range list {
			hash = journal.Link(hash, b)
			e, err := journal.Parse(b)
			if err != nil {
				a.problem("entry %d of epoch %d can't be read: %v", seq, ep.Head.Epoch, err)
			} else {
				if want := (journal.Ref{Epoch: ep.Head.Epoch, Seq: seq}).Of(a.Terminal); e.Name != want {
					a.problem("entry %s lies where %s belongs", e.Name, want)
				}
				if seq == 1 {
					a.first(e, before)
				}
				a.entry(e)
				if seq > ep.Acked {
					a.Unsent.Count++
					if a.Unsent.Oldest == 0 {
						a.Unsent.Oldest = e.Wall
					}
				}
			}
			a.Entries++
			seq++
		}
	}
	if hash != ep.Head.Hash {
		a.problem("the chain of epoch %d ends in another hash than the file says", ep.Head.Epoch)
	}
	if ep.Acked > ep.Head.Seq {
		a.problem("the utility holds %d entries of epoch %d, which has %d", ep.Acked, ep.Head.Epoch, ep.Head.Seq)
	}
	return nil
}

// first checks that an epoch begins where the one before it ended.
func (a *auditor) first(e journal.Entry, before journal.Head) {
	s, ok := e.Body.(*journal.Start)
	if !ok {
		a.problem("epoch %d does not begin with a start", e.Name.Epoch)
		return
	}
	if before.Epoch != 0 && (s.PrevEpoch != before.Epoch || s.PrevSeq != before.Seq || s.PrevHash != before.Hash) {
		a.problem("epoch %d follows entry %d of epoch %d by its first entry, but entry %d of epoch %d lies before it",
			e.Name.Epoch, s.PrevSeq, s.PrevEpoch, before.Seq, before.Epoch)
	}
}

// entry says what one entry changed.
func (a *auditor) entry(e journal.Entry) {
	s := &a.Shift
	running := s.Number != 0 && !s.Closed
	if a.settling(e) {
		return
	}
	switch b := e.Body.(type) {
	case *journal.ShiftOpen:
		if running || b.Number != a.last+1 && !(a.last == 0 && a.cut()) {
			a.problem("%s opens shift %d after shift %d (closed: %t)", e.Name, b.Number, a.last, s.Closed)
		}
		a.last = b.Number
		*s = store.Shift{Number: b.Number, Open: e.Name.Ref(), Clerk: e.Actor.ID, Opened: e.Wall, OpeningCash: b.Cash, Expected: b.Cash}
	case *journal.ShiftClose:
		a.closes[e.Name.Ref()] = b.Counted - b.Expected
		if a.absent(e.Ref) {
			return
		}
		if !running || b.Number != s.Number || e.Ref != s.Open {
			a.problem("%s closes shift %d, which is not open", e.Name, b.Number)
			return
		}
		if b.Expected != s.Expected {
			a.problem("%s closes shift %d with %s expected in the drawer, the entries make %s", e.Name, b.Number, b.Expected, s.Expected)
		}
		s.Closed, s.Close, s.ClosedAt, s.Counted, s.Expected = true, e.Name.Ref(), e.Wall, b.Counted, b.Expected

	case *journal.LoadIntent:
		kind := TopUp
		if b.Purpose == journal.PurposeFirstLoad {
			kind = FirstLoad
		}
		m := a.begin(e, &move{kind: kind, load: true, card: b.Card, amount: b.Amount, before: b.Before, counter: b.Counter, tendered: b.Tendered > 0})
		if m.tendered {
			a.taken(m)
		}
	case *journal.LoadAuthorised:
		m := a.find(e, func(m *move) bool { return m.load })
		if m == nil {
			return
		}
		if m.authorised || m.result != journal.Pending {
			a.problem("%s authorises %s too late or twice", e.Name, m.name)
		}
		m.authorised = true
	case *journal.LoadOutcome:
		m := a.find(e, func(m *move) bool { return m.load })
		if m == nil {
			return
		}
		a.settle(e, m, b.Result, b.Evidence, b.After)
		if b.Result == journal.Done && !m.authorised {
			a.problem("%s says that %s was loaded, which nobody authorised", e.Name, m.name)
		}
		if b.Result == journal.Done || b.Result == journal.Unknown {
			a.taken(m)
		}
	case *journal.BillIntent:
		a.taken(a.begin(e, &move{kind: Bill, amount: b.Amount, tendered: true}))
		if b.Tendered < b.Amount {
			a.problem("%s takes %s for a bill of %s", e.Name, b.Tendered, b.Amount)
		}
	case *journal.BillOutcome:
		if m := a.find(e, func(m *move) bool { return m.kind == Bill }); m != nil && a.decide(e, m, b.Result) && running {
			s.Bills += m.amount
		}
	case *journal.ClaimIntent:
		a.begin(e, &move{kind: Claim, card: b.Card, amount: b.Amount})
	case *journal.ClaimOutcome:
		if m := a.find(e, func(m *move) bool { return m.kind == Claim }); m != nil && a.decide(e, m, b.Result) && running {
			s.Claims += m.amount
			s.CashOut += m.amount
		}
	case *journal.CardRequest:
		kind := Block
		if b.Wish == journal.WishReplace {
			kind = Replace
		}
		a.begin(e, &move{kind: kind, card: b.Card})
	case *journal.CardAnswer:
		if m := a.find(e, func(m *move) bool { return m.kind == Block || m.kind == Replace }); m != nil {
			a.decide(e, m, b.Result)
		}

	case *journal.CashReturned:
		m := a.find(e, func(m *move) bool { return m.load || m.kind == Bill })
		if m == nil {
			return
		}
		if m.result != journal.NotDone || m.returned || b.Amount != m.amount {
			a.problem("%s returns %s for %s, which does not owe it", e.Name, b.Amount, m.name)
		}
		m.returned = true
		switch {
		case !running:
		case m.tendered && m.shift == s.Number:
			s.CashIn -= b.Amount // never was takings of this shift
		default:
			s.CashOut += b.Amount
		}

	case *journal.PurchaseIntent:
		kind := Redemption
		switch b.Purpose {
		case journal.PurposeVoidTopUp:
			kind = VoidDebit
		case journal.PurposeEmpty:
			kind = Emptied
		}
		a.begin(e, &move{kind: kind, card: b.Card, amount: b.Amount, before: b.Before, counter: b.Counter})
	case *journal.PurchaseOutcome:
		m := a.find(e, func(m *move) bool { return m.kind == Redemption || m.kind == VoidDebit || m.kind == Emptied })
		if m == nil {
			return
		}
		was := m.result
		a.settle(e, m, b.Result, b.Evidence, b.After)
		if running && b.Result == journal.Done && was != journal.Done {
			switch m.kind {
			case VoidDebit:
				s.Voids += m.amount
				s.CashOut += m.amount
			case Redemption:
				s.Redemptions += m.amount
			}
		}

	case *journal.CardSale:
		m := a.begin(e, &move{kind: Sale, card: b.Card, amount: b.Deposit})
		m.result = journal.Done
		if running {
			s.Unknown-- // begin counted it
			s.CashIn += b.Deposit
			s.Deposits += b.Deposit
		}
	case *journal.VoidRequest:
		m := a.begin(e, &move{kind: VoidAsked, card: b.Card, amount: b.Amount})
		if of := a.moves[e.Ref]; !a.absent(e.Ref) && (of == nil || !of.load || of.card != b.Card || of.amount != b.Amount) {
			a.problem("%s asks for the void of what is not such a top-up", m.name)
		}
	case *journal.VoidAnswer:
		m := a.find(e, func(m *move) bool { return m.kind == VoidAsked })
		if m == nil {
			return
		}
		if m.result != journal.Pending {
			a.problem("%s answers %s a second time", e.Name, m.name)
		}
		result := journal.NotDone
		if b.Agreed {
			result = journal.Done
		}
		a.known(m, result)
	}
	if running := s.Number != 0 && !s.Closed; running {
		s.Expected = s.OpeningCash + s.CashIn - s.CashOut
	}
}

func (a *auditor) begin(e journal.Entry, m *move) *move {
	m.name = e.Name
	if m.amount < 0 || m.amount == 0 && m.kind != Sale && m.kind != Block && m.kind != Replace {
		a.problem("%s moves %s", e.Name, m.amount)
	}
	a.moves[e.Name.Ref()] = m
	a.order = append(a.order, m)
	if s := &a.Shift; s.Number != 0 && !s.Closed {
		m.shift = s.Number
		s.Count++
		s.Unknown++
	}
	return m
}

// absent reports whether an entry lies before what the file has of its epoch:
// one that was made anew begins where the utility's acknowledgement ended.
func (a *auditor) absent(r journal.Ref) bool {
	base, listed := a.bases[r.Epoch]
	return !r.IsZero() && (r.Seq <= base || !listed && r.Epoch < a.earliest())
}

// cut reports whether the file lacks the beginning of any of its chains, or
// begins with a later epoch than the first.
func (a *auditor) cut() bool {
	for _, base := range a.bases {
		if base > 0 {
			return true
		}
	}
	return a.earliest() > 1
}

// earliest is the first epoch of the file.
func (a *auditor) earliest() uint32 {
	least := ^uint32(0)
	for e := range a.bases {
		least = min(least, e)
	}
	return least
}

// find gives the transaction that an entry continues.
func (a *auditor) find(e journal.Entry, fits func(*move) bool) *move {
	m := a.moves[e.Ref]
	if m == nil && a.absent(e.Ref) {
		return nil
	}
	if m == nil || !fits(m) {
		a.problem("%s continues nothing of its kind", e.Name)
		return nil
	}
	return m
}

// settle takes an outcome of a movement of card value.
func (a *auditor) settle(e journal.Entry, m *move, r journal.Result, ev journal.Evidence, after money.Fen) {
	if r != journal.Done && r != journal.NotDone && r != journal.Unknown {
		a.problem("%s says result %d, which is none", e.Name, r)
		return
	}
	if !m.open() && m.result != r {
		a.problem("%s changes the outcome of %s, which stands", e.Name, m.name)
		return
	}
	first := m.result != journal.Done && r == journal.Done
	a.known(m, r)
	if !first {
		return
	}
	k := step{m.card, m.load, m.counter}
	if other, taken := a.steps[k]; taken {
		a.problem("%s and %s are the same step of the counter of card …%s", other, m.name, m.card.Last4())
	}
	a.steps[k] = m.name
	want := m.before - m.amount
	if m.load {
		want = m.before + m.amount
		if s := &a.Shift; s.Number != 0 && !s.Closed {
			s.TopUps += m.amount
		}
	}
	// Later evidence may read the card after something else has happened to it.
	if ev == journal.EvidenceAnswer && after != journal.NoBalance && after != want {
		a.problem("%s: the card held %s, moved %s, and holds %s", m.name, m.before, m.amount, after)
	}
}

// decide takes an outcome that the utility decided, and reports whether it is
// the first that says done.
func (a *auditor) decide(e journal.Entry, m *move, r journal.Result) bool {
	if r != journal.Done && r != journal.NotDone && r != journal.Unknown {
		a.problem("%s says result %d, which is none", e.Name, r)
		return false
	}
	if !m.open() && m.result != r {
		a.problem("%s changes the outcome of %s, which stands", e.Name, m.name)
		return false
	}
	first := m.result != journal.Done && r == journal.Done
	a.known(m, r)
	return first
}

// known notes what is known of a transaction now.
func (a *auditor) known(m *move, r journal.Result) {
	was := m.open()
	m.result = r
	if s := &a.Shift; was && !m.open() && m.shift != 0 && m.shift == s.Number && !s.Closed {
		s.Unknown--
	}
}

// taken puts the cash of a load into the drawer, once.
func (a *auditor) taken(m *move) {
	if m.cash {
		return
	}
	m.cash = true
	if s := &a.Shift; s.Number != 0 && !s.Closed {
		s.CashIn += m.amount
	}
}

func (a *auditor) addUp() {
	a.Kinds = map[string]Sum{}
	cards := map[money.CardNumber]*Card{}
	for _, m := range a.order {
		s := a.Kinds[m.kind]
		switch {
		case m.open():
			s.Unknown++
			s.UnknownAmount += m.amount
			a.Open = append(a.Open, Open{m.name, m.kind, m.card, m.amount})
		case m.result == journal.Done:
			s.Done++
			s.DoneAmount += m.amount
		default:
			s.NotDone++
			s.NotDoneAmount += m.amount
		}
		a.Kinds[m.kind] = s
		switch m.kind {
		case Sale, VoidAsked, Bill, Claim, Block, Replace:
			continue // no value of the card moves
		}
		c := cards[m.card]
		if c == nil {
			c = &Card{Number: m.card}
			cards[m.card] = c
		}
		switch {
		case m.open():
			c.Unknown += m.amount
		case m.result != journal.Done:
		case m.load:
			c.Loaded += m.amount
		default:
			c.Debited += m.amount
		}
	}
	for _, c := range cards {
		a.Cards = append(a.Cards, *c)
	}
	slices.SortFunc(a.Cards, func(x, y Card) int { return cmp.Compare(x.Number.String(), y.Number.String()) })
}

// compare holds the projections against what the entries say.
func (a *auditor) compare(r Reader) error {
	shift, ok, err := r.Shift()
	if err != nil {
		return err
	}
	if ok != (a.Shift.Number != 0) || ok && shift != a.Shift {
		a.problem("the latest shift is %+v in the file, the entries make %+v", shift, a.Shift)
	}
	open, err := r.OpenTransactions()
	if err != nil {
		return err
	}
	listed := map[journal.Name]journal.Transaction{}
	for _, t := range open {
		listed[t.Name] = t
	}
	for _, o := range a.Open {
		t, ok := listed[o.Name]
		switch {
		case !ok:
			a.problem("%s is open and not listed as open", o.Name)
		case t.Amount != o.Amount || t.Card != o.Card:
			a.problem("%s is listed as open with %s", o.Name, t.Amount)
		}
		delete(listed, o.Name)
	}
	for n := range listed {
		a.problem("%s is settled and listed as open", n)
	}
	acked := map[uint32]uint64{}
	for _, ep := range r.Epochs() {
		acked[ep.Head.Epoch] = ep.Acked
	}
	for _, m := range a.order {
		if m.load && m.result != journal.NotDone && m.name.Seq > acked[m.name.Epoch] {
			a.Unsent.Value += m.amount
		}
	}
	if got := r.Unsent(); got != a.Unsent {
		a.problem("unsent: the file says %d entries and %s, the entries make %d and %s (oldest %d and %d)",
			got.Count, got.Value, a.Unsent.Count, a.Unsent.Value, got.Oldest, a.Unsent.Oldest)
	}
	return nil
}
