package intake

import (
	"context"
	"fmt"
	"sort"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
)

// view is the stored state as far as it was asked for, with the changes that
// the lines judged so far make. What was prefetched is answered from memory;
// the rest is fetched when it is needed.
type view struct {
	ctx   context.Context
	store storage.Storage
	line  uint64

	items    map[journal.Name]*ledger.Item // nil: does not exist
	dirty    map[*ledger.Item]bool
	chain    map[storage.Counter][]*ledger.Item
	raw      map[journal.Name]journal.Body
	accounts map[money.AccountNumber]bool
	sales    map[money.CardNumber]*storage.Sale
	loads    map[journal.Name][]record.Load
	voids    map[journal.Name]*record.Void
	counter  map[journal.Name][]canon.Record
	sams     map[money.SAMID]*storage.SAM
	psams    map[storage.PSAMOf][]*storage.PSAM // of every epoch
	moved    map[*storage.PSAM]bool
	held     map[journal.Name]string
	change   storage.Change
}

func newView(ctx context.Context, s storage.Storage, line record.Line) *view {
	return &view{
		ctx: ctx, store: s, line: line.ID,
		items: map[journal.Name]*ledger.Item{}, dirty: map[*ledger.Item]bool{},
		chain: map[storage.Counter][]*ledger.Item{}, raw: map[journal.Name]journal.Body{},
		accounts: map[money.AccountNumber]bool{}, sales: map[money.CardNumber]*storage.Sale{},
		loads: map[journal.Name][]record.Load{}, voids: map[journal.Name]*record.Void{}, counter: map[journal.Name][]canon.Record{},
		sams: map[money.SAMID]*storage.SAM{}, psams: map[storage.PSAMOf][]*storage.PSAM{}, moved: map[*storage.PSAM]bool{}, held: map[journal.Name]string{},
		change: storage.Change{From: line.ID - 1, To: line.ID},
	}
}

// fetch asks the storage and remembers the answer, also that something does
// not exist. What the view holds already stands.
func (v *view) fetch(w storage.Want) error {
	h, err := v.store.Fetch(v.ctx, w)
	if err != nil {
		return err
	}
	for _, it := range h.Items {
		v.see(it)
	}
	for _, n := range w.Items {
		if _, ok := v.items[n]; !ok {
			v.items[n] = nil
		}
	}
	// The list of a counter is complete once it was asked for; items that the
	// view made itself join it.
	for _, k := range w.Chain {
		if _, ok := v.chain[k]; !ok {
			v.chain[k] = []*ledger.Item{}
		}
	}
	if len(w.Chain) > 0 {
		for _, it := range v.items {
			if it != nil {
				v.join(it)
			}
		}
	}
	for n, b := range h.Raw {
		if _, ok := v.raw[n]; !ok {
			if e, err := journal.Parse(b); err == nil {
				v.raw[n] = e.Body
			}
		}
	}
	for _, a := range w.Accounts {
		_, ok := h.Accounts[a]
		v.accounts[a] = v.accounts[a] || ok
	}
	for _, c := range w.Sales {
		if _, ok := v.sales[c]; !ok {
			v.sales[c] = nil
			if s, ok := h.Sales[c]; ok {
				v.sales[c] = &s
			}
		}
	}
	for _, n := range w.Loads {
		v.loads[n] = h.Loads[n]
	}
	for _, n := range w.Voids {
		v.voids[n] = nil
		if d, ok := h.Voids[n]; ok {
			v.voids[n] = &d
		}
	}
	for _, n := range w.Counter {
		v.counter[n] = h.Counter[n]
	}
	for _, s := range w.SAMs {
		if v.sams[s] == nil {
			x := h.SAMs[s]
			x.SAM = s
			v.sams[s] = &x
		}
	}
	for _, k := range w.PSAMs {
		if _, ok := v.psams[k]; ok {
			continue
		}
		v.psams[k] = []*storage.PSAM{}
		for _, p := range h.PSAMs {
			if p.Terminal == k.Terminal && p.PSAM == k.PSAM {
				v.psams[k] = append(v.psams[k], &p)
			}
		}
	}
	for _, n := range w.Held {
		if v.held[n] == "" {
			v.held[n] = h.Held[n]
		}
	}
	return nil
}

func (v *view) see(it ledger.Item) {
	if v.items[it.Name] == nil {
		v.items[it.Name] = &it
		v.join(&it)
	}
}

func counterOf(it *ledger.Item) storage.Counter {
	return storage.Counter{Card: it.Card, Load: it.Load(), Value: it.Counter}
}

// join puts an item into its counter's list when that list was asked for.
func (v *view) join(it *ledger.Item) {
	if !it.OfCard() {
		return
	}
	k := counterOf(it)
	list, ok := v.chain[k]
	if !ok {
		return
	}
	for _, x := range list {
		if x == it {
			return
		}
	}
	v.chain[k] = append(list, it)
}

func (v *view) item(n journal.Name) (*ledger.Item, error) {
	if it, ok := v.items[n]; ok {
		return it, nil
	}
	err := v.fetch(storage.Want{Items: []journal.Name{n}})
	return v.items[n], err
}

// add takes a new item.
func (v *view) add(it *ledger.Item) {
	v.items[it.Name] = it
	v.dirty[it] = true
	v.join(it)
}

// begin takes a new item. When a cryptogram bears its counter already, of a
// terminal that was quicker on the line, it never happened.
func (v *view) begin(it *ledger.Item) error {
	v.add(it)
	list, err := v.siblings(it)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.Happened() {
			return v.apply(it.Name, it, ledger.Disproved)
		}
	}
	return nil
}

// siblings are the other items of the same step of the card's counter.
func (v *view) siblings(it *ledger.Item) ([]*ledger.Item, error) {
	k := counterOf(it)
	if _, ok := v.chain[k]; !ok {
		if err := v.fetch(storage.Want{Chain: []storage.Counter{k}}); err != nil {
			return nil, err
		}
	}
	var list []*ledger.Item
	for _, x := range v.chain[k] {
		if x != it {
			list = append(list, x)
		}
	}
	sort.Slice(list, func(a, b int) bool { return list[a].Name.String() < list[b].Name.String() })
	return list, nil
}

// body is the body of a stored entry, nil when there is none.
func (v *view) body(n journal.Name) (journal.Body, error) {
	if b, ok := v.raw[n]; ok {
		return b, nil
	}
	err := v.fetch(storage.Want{Raw: []journal.Name{n}})
	return v.raw[n], err
}

func (v *view) authorisations(n journal.Name) ([]record.Load, error) {
	if l, ok := v.loads[n]; ok {
		return l, nil
	}
	err := v.fetch(storage.Want{Loads: []journal.Name{n}})
	return v.loads[n], err
}

func (v *view) void(n journal.Name) (*record.Void, error) {
	if d, ok := v.voids[n]; ok {
		return d, nil
	}
	err := v.fetch(storage.Want{Voids: []journal.Name{n}})
	return v.voids[n], err
}

// decided gives the last decision of the counter under a name, nil when there
// is none.
func (v *view) decided(n journal.Name) (canon.Record, error) {
	if _, ok := v.counter[n]; !ok {
		if err := v.fetch(storage.Want{Counter: []journal.Name{n}}); err != nil {
			return nil, err
		}
	}
	if list := v.counter[n]; len(list) > 0 {
		return list[len(list)-1], nil
	}
	return nil, nil
}

func (v *view) heldReason(n journal.Name) (string, error) {
	if r, ok := v.held[n]; ok {
		return r, nil
	}
	err := v.fetch(storage.Want{Held: []journal.Name{n}})
	return v.held[n], err
}

func (v *view) known(a money.AccountNumber) (bool, error) {
	if ok, asked := v.accounts[a]; asked {
		return ok, nil
	}
	err := v.fetch(storage.Want{Accounts: []money.AccountNumber{a}})
	return v.accounts[a], err
}

func (v *view) sale(c money.CardNumber) (*storage.Sale, error) {
	if s, ok := v.sales[c]; ok {
		return s, nil
	}
	err := v.fetch(storage.Want{Sales: []money.CardNumber{c}})
	return v.sales[c], err
}

func (v *view) sam(n money.SAMID) (*storage.SAM, error) {
	if s := v.sams[n]; s != nil {
		return s, nil
	}
	err := v.fetch(storage.Want{SAMs: []money.SAMID{n}})
	return v.sams[n], err
}

// psam gives the book of a PSAM in an epoch, the newest one before it that
// bears a sequence, nil when there is none, and the largest that was proven in
// either or before.
func (v *view) psam(k storage.PSAMOf, epoch uint32) (book, before *storage.PSAM, proven uint32, err error) {
	list, ok := v.psams[k]
	if !ok {
		if err := v.fetch(storage.Want{PSAMs: []storage.PSAMOf{k}}); err != nil {
			return nil, nil, 0, err
		}
		list = v.psams[k]
	}
	for _, p := range list {
		if p.Epoch <= epoch {
			proven = max(proven, p.Proven)
		}
		switch {
		case p.Epoch == epoch:
			book = p
		case p.Epoch < epoch && p.Seq != 0 && (before == nil || p.Epoch > before.Epoch):
			before = p
		}
	}
	if book == nil {
		book = &storage.PSAM{Terminal: k.Terminal, Epoch: epoch, PSAM: k.PSAM}
		v.psams[k] = append(list, book)
	}
	v.moved[book] = true
	return book, before, proven, nil
}

// post adds a balanced set, named by what caused it.
func (v *view) post(by journal.Name, set []ledger.Posting) {
	for _, p := range set {
		v.change.Postings = append(v.change.Postings, storage.Posted{Posting: p, Line: v.line, N: uint32(len(v.change.Postings)), Name: by})
	}
}

func (v *view) hold(n journal.Name, reason string) {
	v.held[n] = reason
	v.change.Held = append(v.change.Held, storage.Held{Name: n, Reason: reason, Line: v.line})
}

func (v *view) alarm(kind string, n journal.Name, detail string) {
	if len(detail) > 200 {
		detail = detail[:200]
	}
	v.change.Alarms = append(v.change.Alarms, storage.Alarm{Kind: kind, Name: n, Detail: detail, Line: v.line})
}

// apply lets the ledger take a fact about an item, posts what follows, and
// keeps the load SAM's book in step.
func (v *view) apply(by journal.Name, it *ledger.Item, e ledger.Event) error {
	before := *it
	set, late, err := it.Apply(e)
	if err != nil {
		return err
	}
	v.dirty[it] = true
	v.post(by, set)
	if late {
		v.alarm(record.AlarmLate, it.Name, fmt.Sprintf("shop %s, proved by %s", it.Shop, by))
	}
	return v.rebook(&before, it)
}

// rebook keeps the load SAM's book in step with an item.
func (v *view) rebook(before, it *ledger.Item) error {
	if it.SAM.IsZero() {
		return nil
	}
	s, err := v.sam(it.SAM)
	if err != nil {
		return err
	}
	if s.Shop == 0 {
		s.Shop = it.Shop
	}
	bookSAM(s, before, -1)
	bookSAM(s, it, +1)
	return nil
}

// bookSAM adds what an item contributes to its SAM's totals, or takes it away.
func bookSAM(s *storage.SAM, it *ledger.Item, sign money.Fen) {
	if !it.Gave {
		return
	}
	s.Gave += sign * it.Amount
	s.GaveCount += uint32(sign)
	if !it.Vouched {
		s.Doubt += sign * it.Amount
		s.DoubtCount += uint32(sign)
	}
	if it.Paid() {
		s.Covered += sign * it.Amount
	}
	if it.Released() {
		s.Released += sign * it.Amount
	}
}

// done gives the change.
func (v *view) done() storage.Change {
	for it := range v.dirty {
		v.change.Items = append(v.change.Items, *it)
	}
	sort.Slice(v.change.Items, func(a, b int) bool { return less(v.change.Items[a].Name, v.change.Items[b].Name) })
	for _, s := range v.sams {
		if s.Shop != 0 {
			v.change.SAMs = append(v.change.SAMs, *s)
		}
	}
	for p := range v.moved {
		v.change.PSAMs = append(v.change.PSAMs, *p)
	}
	sort.Slice(v.change.PSAMs, func(a, b int) bool {
		x, y := v.change.PSAMs[a], v.change.PSAMs[b]
		if x.Epoch != y.Epoch {
			return x.Epoch < y.Epoch
		}
		return string(x.PSAM[:]) < string(y.PSAM[:])
	})
	return v.change
}

func less(a, b journal.Name) bool {
	if a.Terminal != b.Terminal {
		return string(a.Terminal[:]) < string(b.Terminal[:])
	}
	if a.Epoch != b.Epoch {
		return a.Epoch < b.Epoch
	}
	return a.Seq < b.Seq
}
