package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// Memory is a storage that says what the others must do, in the plainest way:
// tables as maps, every question answered by looking at all of one. It keeps
// nothing when the process ends and is used by one goroutine at a time, in
// tests and simulations.
type Memory struct {
	log      []record.Line
	cursor   uint64
	items    map[journal.Name]ledger.Item
	postings []storage.Posted
	balances map[ledger.Account]money.Fen
	held     map[journal.Name]storage.Held
	alarms   map[alarmKey]storage.Alarm
	sales    map[money.CardNumber]storage.Sale
	sams     map[money.SAMID]storage.SAM
	psams    map[psamKey]storage.PSAM
	accounts map[money.AccountNumber]string
	batches  map[*byte]*wire.Batch // decoded, by the first byte of the line's body
}

type alarmKey struct {
	name journal.Name
	kind string
}

type psamKey struct {
	terminal money.TerminalID
	epoch    uint32
	psam     money.SAMID
}

var _ storage.Storage = (*Memory)(nil)

// NewMemory gives an empty one.
func NewMemory() *Memory {
	return &Memory{
		items: map[journal.Name]ledger.Item{}, balances: map[ledger.Account]money.Fen{},
		held: map[journal.Name]storage.Held{}, alarms: map[alarmKey]storage.Alarm{},
		sales: map[money.CardNumber]storage.Sale{}, sams: map[money.SAMID]storage.SAM{},
		psams: map[psamKey]storage.PSAM{}, accounts: map[money.AccountNumber]string{},
		batches: map[*byte]*wire.Batch{},
	}
}

// Clone gives another with the same content.
func (m *Memory) Clone() *Memory {
	return &Memory{
		log: slices.Clone(m.log), cursor: m.cursor, items: maps.Clone(m.items), postings: slices.Clone(m.postings),
		balances: maps.Clone(m.balances), held: maps.Clone(m.held), alarms: maps.Clone(m.alarms), sales: maps.Clone(m.sales),
		sams: maps.Clone(m.sams), psams: maps.Clone(m.psams), accounts: maps.Clone(m.accounts), batches: maps.Clone(m.batches),
	}
}

// Close is of storage.Storage. It forgets nothing.
func (m *Memory) Close() error { return nil }

// Tail is of storage.Storage.
func (m *Memory) Tail(context.Context) (storage.Tail, error) {
	t := storage.Tail{Hash: record.Genesis, Cursor: m.cursor}
	if n := len(m.log); n > 0 {
		t.ID, t.Hash = m.log[n-1].ID, m.log[n-1].Hash
	}
	return t, nil
}

// Append is of storage.Storage.
func (m *Memory) Append(ctx context.Context, lines []record.Line) error {
	t, _ := m.Tail(ctx)
	for _, l := range lines {
		if l.ID != t.ID+1 || record.Link(t.Hash, l) != l.Hash {
			return storage.ErrConflict
		}
		t.ID, t.Hash = l.ID, l.Hash
	}
	m.log = append(m.log, lines...)
	return nil
}

// Post is of storage.Storage.
func (m *Memory) Post(ctx context.Context, c storage.Change) error {
	if c.From != m.cursor || c.To < c.From || c.To > uint64(len(m.log)+len(c.Lines)) {
		return storage.ErrConflict
	}
	for _, h := range c.Held {
		if _, twice := m.held[h.Name]; twice {
			return fmt.Errorf("storagetest: %s is in quarantine already", h.Name)
		}
	}
	for _, s := range c.Sales {
		if _, twice := m.sales[s.Card]; twice {
			return fmt.Errorf("storagetest: card %s is sold already", s.Card)
		}
	}
	if err := m.Append(ctx, c.Lines); err != nil {
		return err
	}
	m.cursor = c.To
	for _, it := range c.Items {
		m.items[it.Name] = it
	}
	m.postings = append(m.postings, c.Postings...)
	for _, p := range c.Postings {
		m.balances[p.Account] += p.Amount
	}
	for _, h := range c.Held {
		m.held[h.Name] = h
	}
	for _, a := range c.Alarms {
		if k := (alarmKey{a.Name, a.Kind}); m.alarms[k] == (storage.Alarm{}) {
			m.alarms[k] = a
		}
	}
	for _, s := range c.Sales {
		m.sales[s.Card] = s
	}
	for _, s := range c.SAMs {
		m.sams[s.SAM] = s
	}
	for _, p := range c.PSAMs {
		m.psams[psamKey{p.Terminal, p.Epoch, p.PSAM}] = p
	}
	for _, a := range c.Accounts {
		m.accounts[a.Number] = a.Owner
	}
	return nil
}

// Lines is of storage.Storage.
func (m *Memory) Lines(_ context.Context, after uint64, limit int, kinds ...record.Kind) (out []record.Line, err error) {
	for _, l := range m.log[min(after, uint64(len(m.log))):] {
		if len(out) == limit {
			break
		}
		if len(kinds) == 0 || slices.Contains(kinds, l.Kind) {
			out = append(out, l)
		}
	}
	return out, nil
}

// batch decodes a line of entries, once.
func (m *Memory) batch(l record.Line) (*wire.Batch, error) {
	k := &l.Body[0]
	if b := m.batches[k]; b != nil {
		return b, nil
	}
	rec, err := record.Decode(l)
	if err != nil {
		return nil, err
	}
	b := rec.(*wire.Batch)
	m.batches[k] = b
	return b, nil
}

// Heads is of storage.Storage.
func (m *Memory) Heads(context.Context) ([]journal.Head, error) {
	type epoch struct {
		t money.TerminalID
		n uint32
	}
	heads := map[epoch]journal.Head{}
	for _, l := range m.log {
		if l.Kind != record.KindEntries {
			continue
		}
		b, err := m.batch(l)
		if err != nil {
			return nil, err
		}
		heads[epoch{b.Terminal, b.Epoch}] = b.End()
	}
	return slices.SortedFunc(maps.Values(heads), func(a, b journal.Head) int {
		return byName(journal.Name{Terminal: a.Terminal, Epoch: a.Epoch}, journal.Name{Terminal: b.Terminal, Epoch: b.Epoch})
	}), nil
}

// EntryLine is of storage.Storage.
func (m *Memory) EntryLine(_ context.Context, n journal.Name) (record.Line, bool, error) {
	for i := len(m.log) - 1; i >= 0; i-- {
		if m.log[i].Kind != record.KindEntries {
			continue
		}
		b, err := m.batch(m.log[i])
		if err != nil {
			return record.Line{}, false, err
		}
		if b.Terminal == n.Terminal && b.Epoch == n.Epoch && b.From <= n.Seq && n.Seq <= b.End().Seq {
			return m.log[i], true, nil
		}
	}
	return record.Line{}, false, nil
}

func pick[K comparable, V any](keys []K, from map[K]V) map[K]V {
	out := map[K]V{}
	for _, k := range keys {
		if v, ok := from[k]; ok {
			out[k] = v
		}
	}
	return out
}

// Fetch is of storage.Storage.
func (m *Memory) Fetch(ctx context.Context, w storage.Want) (storage.Have, error) {
	h := storage.Have{
		Raw: map[journal.Name][]byte{}, Items: pick(w.Items, m.items), Accounts: pick(w.Accounts, m.accounts),
		Sales: pick(w.Sales, m.sales), SAMs: pick(w.SAMs, m.sams),
		Loads: map[journal.Name][]record.Load{}, Voids: map[journal.Name]record.Void{}, Counter: map[journal.Name][]canon.Record{}, Held: map[journal.Name]string{},
	}
	for n, x := range pick(w.Held, m.held) {
		h.Held[n] = x.Reason
	}
	if len(w.Chain) > 0 {
		for n, it := range m.items {
			if it.OfCard() && slices.Contains(w.Chain, storage.Counter{Card: it.Card, Load: it.Load(), Value: it.Counter}) {
				h.Items[n] = it
			}
		}
	}
	for _, n := range w.Raw {
		l, ok, err := m.EntryLine(ctx, n)
		if err != nil {
			return h, err
		}
		if ok {
			b, err := m.batch(l)
			if err != nil {
				return h, err
			}
			h.Raw[n] = b.Entries[n.Seq-b.From]
		}
	}
	for _, p := range m.psams {
		for _, k := range w.PSAMs {
			if k.PSAM == p.PSAM && k.Terminal == p.Terminal {
				h.PSAMs = append(h.PSAMs, p)
			}
		}
	}
	if len(w.Loads)+len(w.Voids)+len(w.Counter) == 0 {
		return h, nil
	}
	for _, l := range m.log {
		switch l.Kind {
		case record.KindLoad, record.KindVoid, record.KindBillPaid, record.KindCollected, record.KindCardAsked:
		default:
			continue
		}
		rec, err := record.Decode(l)
		if err != nil {
			return h, err
		}
		switch r := rec.(type) {
		case *record.Load:
			if n := r.Request.Name; slices.Contains(w.Loads, n) {
				h.Loads[n] = append(h.Loads[n], *r)
			}
		case *record.Void:
			if n := r.Question.Name; slices.Contains(w.Voids, n) {
				h.Voids[n] = *r
			}
		default:
			if n := record.DecidedName(rec); slices.Contains(w.Counter, n) {
				h.Counter[n] = append(h.Counter[n], rec)
			}
		}
	}
	return h, nil
}

// each calls f for the values of a table, in order.
func each[K comparable, V any](table map[K]V, order func(a, b V) int, f func(V) error) error {
	for _, v := range slices.SortedFunc(maps.Values(table), order) {
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func byName(a, b journal.Name) int {
	return cmp.Or(bytes.Compare(a.Terminal[:], b.Terminal[:]), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
}

// Balances is of storage.Storage.
func (m *Memory) Balances(_ context.Context, class ledger.Class, f func(ledger.Account, money.Fen) error) error {
	for _, a := range slices.SortedFunc(maps.Keys(m.balances), func(a, b ledger.Account) int { return bytes.Compare(a.Bytes(), b.Bytes()) }) {
		if class == 0 || a.Class() == class {
			if err := f(a, m.balances[a]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Balance is of storage.Storage.
func (m *Memory) Balance(_ context.Context, a ledger.Account) (money.Fen, error) {
	return m.balances[a], nil
}

// Postings is of storage.Storage.
func (m *Memory) Postings(_ context.Context, a ledger.Account, f func(storage.Posted) error) error {
	list := slices.Clone(m.postings)
	slices.SortStableFunc(list, func(a, b storage.Posted) int {
		return cmp.Or(bytes.Compare(a.Account.Bytes(), b.Account.Bytes()), cmp.Compare(a.Line, b.Line), cmp.Compare(a.N, b.N))
	})
	for _, p := range list {
		if a == (ledger.Account{}) || p.Account == a {
			if err := f(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Items is of storage.Storage.
func (m *Memory) Items(_ context.Context, q storage.ItemQuery, f func(ledger.Item) error) error {
	return each(m.items, func(a, b ledger.Item) int { return byName(a.Name, b.Name) }, func(it ledger.Item) error {
		doubted := (it.State == ledger.NotDone || it.State == ledger.InClaim || it.State == ledger.Returned || it.State == ledger.Collected) &&
			it.OfCard() && it.Intent && !it.Final && (!it.Load() || it.Gave || !it.SAM.IsZero())
		if q.State != nil && it.State != *q.State || q.Card != nil && it.Card != *q.Card ||
			q.Exposed && it.Exposed() <= 0 || q.Nameless && !it.Nameless || q.Doubted && !doubted {
			return nil
		}
		return f(it)
	})
}

// Exposed is of storage.Storage.
func (m *Memory) Exposed(_ context.Context, shop money.ShopID) (sum money.Fen, err error) {
	for _, it := range m.items {
		if it.Shop == shop {
			sum += it.Exposed()
		}
	}
	return sum, nil
}

// SAMs is of storage.Storage.
func (m *Memory) SAMs(context.Context) (list []storage.SAM, err error) {
	err = each(m.sams, func(a, b storage.SAM) int { return bytes.Compare(a.SAM[:], b.SAM[:]) }, func(s storage.SAM) error { list = append(list, s); return nil })
	return list, err
}

// PSAMs is of storage.Storage.
func (m *Memory) PSAMs(context.Context) (list []storage.PSAM, err error) {
	order := func(a, b storage.PSAM) int {
		return cmp.Or(bytes.Compare(a.Terminal[:], b.Terminal[:]), cmp.Compare(a.Epoch, b.Epoch), bytes.Compare(a.PSAM[:], b.PSAM[:]))
	}
	err = each(m.psams, order, func(p storage.PSAM) error { list = append(list, p); return nil })
	return list, err
}

// Held is of storage.Storage.
func (m *Memory) Held(_ context.Context, f func(storage.Held) error) error {
	return each(m.held, func(a, b storage.Held) int { return byName(a.Name, b.Name) }, f)
}

// Alarms is of storage.Storage.
func (m *Memory) Alarms(_ context.Context, f func(storage.Alarm) error) error {
	return each(m.alarms, func(a, b storage.Alarm) int { return cmp.Or(byName(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) }, f)
}

// Accounts is of storage.Storage.
func (m *Memory) Accounts(_ context.Context, f func(storage.Account) error) error {
	list := map[money.AccountNumber]storage.Account{}
	for n, owner := range m.accounts {
		list[n] = storage.Account{Number: n, Owner: owner}
	}
	return each(list, func(a, b storage.Account) int { return cmp.Compare(a.Number, b.Number) }, f)
}

// Sales is of storage.Storage.
func (m *Memory) Sales(_ context.Context, f func(storage.Sale) error) error {
	return each(m.sales, func(a, b storage.Sale) int { return bytes.Compare(a.Card[:], b.Card[:]) }, f)
}

// Copy gives what another storage holds.
func Copy(ctx context.Context, from storage.Storage) (*Memory, error) {
	m := NewMemory()
	t, err := from.Tail(ctx)
	if err != nil {
		return nil, err
	}
	for at := uint64(0); at < t.ID; {
		lines, err := from.Lines(ctx, at, 1000)
		if err != nil || len(lines) == 0 {
			return nil, fmt.Errorf("storagetest: the log ends at %d of %d: %w", at, t.ID, err)
		}
		if err := m.Append(ctx, lines); err != nil {
			return nil, err
		}
		at = lines[len(lines)-1].ID
	}
	c := storage.Change{To: t.Cursor}
	errs := []error{
		from.Items(ctx, storage.ItemQuery{}, func(x ledger.Item) error { c.Items = append(c.Items, x); return nil }),
		from.Postings(ctx, ledger.Account{}, func(x storage.Posted) error { c.Postings = append(c.Postings, x); return nil }),
		from.Held(ctx, func(x storage.Held) error { c.Held = append(c.Held, x); return nil }),
		from.Alarms(ctx, func(x storage.Alarm) error { c.Alarms = append(c.Alarms, x); return nil }),
		from.Sales(ctx, func(x storage.Sale) error { c.Sales = append(c.Sales, x); return nil }),
		from.Accounts(ctx, func(x storage.Account) error { c.Accounts = append(c.Accounts, x); return nil }),
	}
	var err1, err2 error
	c.SAMs, err1 = from.SAMs(ctx)
	c.PSAMs, err2 = from.PSAMs(ctx)
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		return nil, err
	}
	return m, m.Post(ctx, c)
}
