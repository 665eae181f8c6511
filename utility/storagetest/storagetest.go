// Package storagetest is the conformance suite that every storage of the
// utility passes.
//
// It is imported by the tests of storages only.
package storagetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// Open opens the storage at a place that lasts as long as the test; called
// again, it opens the same one again.
type Open func(t *testing.T) storage.Storage

// Pinned is the canonical hash of the ledger that fill makes: every engine
// must give it, bit for bit.
const Pinned = "235183989fbb413f8a551f96e88d0b096739083f31a248aa8334e1acf16f3803"

var (
	ctx  = context.Background()
	term = money.TerminalID{0x31, 1, 0, 0, 0, 1}
	card = money.CardNumber{2: 9, 9: 1}
	sam  = money.SAMID{0x0B, 9: 1}
	psam = money.SAMID{0x0A, 9: 1}
)

func name(seq uint64) journal.Name { return journal.Name{Terminal: term, Epoch: 1, Seq: seq} }

// follow makes the line after the tail.
func follow(tail storage.Tail, kind record.Kind, r canon.Record) record.Line {
	l := record.Line{ID: tail.ID + 1, At: 1_770_000_000_000 + int64(tail.ID), Kind: kind, Body: canon.Marshal(r)}
	l.Hash = record.Link(tail.Hash, l)
	return l
}

func entries(from uint64, prev journal.Hash, list ...string) *wire.Batch {
	b := &wire.Batch{Terminal: term, Epoch: 1, From: from, Prev: prev, Head: prev}
	for _, e := range list {
		b.Entries = append(b.Entries, []byte(e))
		b.Head = journal.Link(b.Head, []byte(e))
	}
	return b
}

// Run runs the suite; fresh gives an Open of an empty storage.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	t.Run("log", func(t *testing.T) { testLog(t, fresh(t)) })
	t.Run("post", func(t *testing.T) { testPost(t, fresh(t)) })
	t.Run("conflict", func(t *testing.T) { testConflict(t, fresh(t)) })
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tailOf(t *testing.T, s storage.Storage) storage.Tail {
	t.Helper()
	tail, err := s.Tail(ctx)
	ok(t, err)
	return tail
}

func testLog(t *testing.T, open Open) {
	s := open(t)
	if tail := tailOf(t, s); tail != (storage.Tail{Hash: record.Genesis}) {
		t.Fatalf("empty: %+v", tail)
	}
	b1 := entries(1, journal.Genesis(term, 1), "one", "two", "three")
	l1 := follow(tailOf(t, s), record.KindEntries, b1)
	ok(t, s.Append(ctx, []record.Line{l1}))
	l2 := follow(tailOf(t, s), record.KindShop, &record.Shop{Shop: 1})
	b3 := entries(4, b1.Head, "four", "five")
	l3 := follow(storage.Tail{ID: l2.ID, Hash: l2.Hash}, record.KindEntries, b3)
	ok(t, s.Append(ctx, []record.Line{l2, l3}))
	ok(t, s.Close())

	s = open(t)
	defer s.Close()
	if tail := tailOf(t, s); tail != (storage.Tail{ID: 3, Hash: l3.Hash}) {
		t.Errorf("opened again: %+v", tail)
	}
	lines, err := s.Lines(ctx, 1, 10)
	if ok(t, err); !reflect.DeepEqual(lines, []record.Line{l2, l3}) {
		t.Errorf("lines after 1: %v", lines)
	}
	lines, err = s.Lines(ctx, 0, 10, record.KindShop)
	if ok(t, err); !reflect.DeepEqual(lines, []record.Line{l2}) {
		t.Errorf("lines of shops: %v", lines)
	}
	if lines, err = s.Lines(ctx, 0, 1, record.KindEntries); err != nil || len(lines) != 1 || lines[0].ID != 1 {
		t.Errorf("first batch: %v, %v", lines, err)
	}
	heads, err := s.Heads(ctx)
	if ok(t, err); len(heads) != 1 || heads[0] != b3.End() {
		t.Errorf("heads %v", heads)
	}
	for seq, want := range map[uint64]uint64{1: 1, 3: 1, 4: 3, 5: 3, 6: 0, 1 << 63: 0} {
		l, found, err := s.EntryLine(ctx, name(seq))
		if ok(t, err); found != (want != 0) || found && l.ID != want {
			t.Errorf("entry %d: line %d %v", seq, l.ID, found)
		}
	}
	have, err := s.Fetch(ctx, storage.Want{Raw: []journal.Name{name(2), name(5), name(9)}})
	if ok(t, err); string(have.Raw[name(2)]) != "two" || string(have.Raw[name(5)]) != "five" || have.Raw[name(9)] != nil {
		t.Errorf("raw %q", have.Raw)
	}
}

// fill appends and posts one of everything.
func fill(t *testing.T, s storage.Storage) {
	t.Helper()
	top := ledger.Item{Name: name(1), Kind: ledger.TopUp, State: ledger.Open, Shop: 1, Card: card, Amount: 500, Cash: true, TxType: 2, Counter: 7, SAM: sam,
		Stamp: money.Stamp{0x20, 0x26}, Intent: true, Gave: true, Void: journal.Ref{Epoch: 1, Seq: 9}, VoidDebit: journal.Ref{Epoch: 1, Seq: 8}}
	online := ledger.Item{Name: name(2), Kind: ledger.TopUp, Shop: 1, Card: card, Amount: 300, TxType: 2, Counter: 8, Gave: true}
	redeem := ledger.Item{Name: name(3), Kind: ledger.Redemption, State: ledger.InHeld, Shop: 1, Card: card, Account: 1000000001, Amount: 50, TxType: 6, Counter: 7, Intent: true}
	posted := func(line uint64, by uint64, n uint32, a ledger.Account, v money.Fen) storage.Posted {
		return storage.Posted{Posting: ledger.Posting{Account: a, Amount: v}, Line: line, N: n, Name: name(by)}
	}
	l := follow(tailOf(t, s), record.KindEntries, entries(1, journal.Genesis(term, 1), "one", "two", "three"))
	ok(t, s.Append(ctx, []record.Line{l}))
	ok(t, s.Post(ctx, storage.Change{From: 0, To: 1, Items: []ledger.Item{top, online, redeem},
		Postings: []storage.Posted{posted(1, 3, 0, ledger.Card(card), -50), posted(1, 3, 1, ledger.Held(name(3)), 50)},
		Held:     []storage.Held{{Name: name(4), Reason: "bad_tac", Line: 1}},
		Alarms:   []storage.Alarm{{Kind: "bad_mac", Name: name(4), Detail: "bad_tac", Line: 1}},
		Sales:    []storage.Sale{{Card: card, Shop: 1, Name: name(5)}},
		SAMs:     []storage.SAM{{SAM: sam, Shop: 1, Sequence: 1, Ceiling: 1000, MaxCount: 5, Gave: 500, GaveCount: 1, Doubt: 500, DoubtCount: 1, Challenge: [8]byte{1}, Answer: []byte{2}}},
		PSAMs: []storage.PSAM{{Terminal: term, Epoch: 1, PSAM: psam, Seq: 7, Proven: 6, Slack: 2}, {Terminal: money.TerminalID{1}, Epoch: 1, PSAM: psam, Seq: 1},
			{Terminal: term, Epoch: 1, PSAM: money.SAMID{9: 9}, Slack: 1}},
		Accounts: []storage.Account{{Number: 1000000001, Owner: "Z**"}},
	}))
	// The second change comes with its line, and changes what is there.
	req := record.Load{Request: wire.LoadRequest{Name: name(2)}, Answer: wire.LoadAnswer{Name: name(2), Server: 77}, Shop: 1}
	l2 := follow(tailOf(t, s), record.KindLoad, &req)
	top.State, top.Final = ledger.Done, true
	ok(t, s.Post(ctx, storage.Change{Lines: []record.Line{l2}, From: 1, To: 2, Items: []ledger.Item{top},
		Postings: []storage.Posted{posted(2, 1, 0, ledger.Shop(1), -500), posted(2, 1, 1, ledger.Card(card), 500)},
		Alarms:   []storage.Alarm{{Kind: "bad_mac", Name: name(4), Detail: "again", Line: 2}},
		SAMs:     []storage.SAM{{SAM: sam, Shop: 1, Sequence: 1, Ceiling: 1000, MaxCount: 5, Gave: 500, GaveCount: 1, Covered: 500, Challenge: [8]byte{1}, Answer: []byte{2}}},
		PSAMs:    []storage.PSAM{{Terminal: term, Epoch: 2, PSAM: psam, Seq: 9}, {Terminal: term, Epoch: 1, PSAM: psam, Seq: 1 << 31, Proven: 8, Slack: 3}},
		Accounts: []storage.Account{{Number: 1000000001, Owner: "L**"}},
	}))
	void := record.Void{Question: wire.VoidQuestion{Name: name(9), TopUp: name(1)}, Answer: wire.Agreement{Name: name(9)}}
	l3 := follow(tailOf(t, s), record.KindVoid, &void)
	ok(t, s.Post(ctx, storage.Change{Lines: []record.Line{l3}, From: 2, To: 3}))
}

func testPost(t *testing.T, open Open) {
	s := open(t)
	fill(t, s)
	ok(t, s.Close())
	s = open(t)
	defer s.Close()

	balances := map[string]money.Fen{}
	ok(t, s.Balances(ctx, 0, func(a ledger.Account, v money.Fen) error { balances[a.String()] = v; return nil }))
	if want := map[string]money.Fen{"card/" + card.String(): 450, "held/" + name(3).String(): 50, "shop/00000001": -500}; !reflect.DeepEqual(balances, want) {
		t.Errorf("balances %v", balances)
	}
	count := 0
	ok(t, s.Balances(ctx, ledger.ClassShop, func(ledger.Account, money.Fen) error { count++; return nil }))
	if v, err := s.Balance(ctx, ledger.Card(card)); err != nil || v != 450 || count != 1 {
		t.Errorf("card %d, %d shops, %v", v, count, err)
	}
	if v, err := s.Balance(ctx, ledger.Bank); err != nil || v != 0 {
		t.Errorf("bank %d, %v", v, err)
	}
	var got []money.Fen
	ok(t, s.Postings(ctx, ledger.Card(card), func(p storage.Posted) error { got = append(got, p.Amount); return nil }))
	if !reflect.DeepEqual(got, []money.Fen{-50, 500}) {
		t.Errorf("postings of the card %v", got)
	}
	have, err := s.Fetch(ctx, storage.Want{
		Items: []journal.Name{name(1), name(77)}, Chain: []storage.Counter{{Card: card, Value: 7}, {Card: card, Load: true, Value: 8}, {Card: card, Value: 99}},
		Accounts: []money.AccountNumber{1000000001, 5}, Sales: []money.CardNumber{card, {1}}, Loads: []journal.Name{name(2), name(3)},
		Voids: []journal.Name{name(9), name(2)}, SAMs: []money.SAMID{sam, {9}}, PSAMs: []storage.PSAMOf{{Terminal: term, PSAM: psam}, {Terminal: term, PSAM: sam}}, Held: []journal.Name{name(4), name(1)},
	})
	ok(t, err)
	if it := have.Items[name(1)]; len(have.Items) != 3 || it.State != ledger.Done || !it.Final || !it.Cash || !it.Intent || !it.Gave || it.Nameless ||
		it.SAM != sam || it.Stamp != (money.Stamp{0x20, 0x26}) || it.Void.Seq != 9 || it.VoidDebit.Seq != 8 || it.Counter != 7 || it.TxType != 2 || it.Amount != 500 {
		t.Errorf("items %+v", have.Items)
	}
	if len(have.Accounts) != 1 || have.Accounts[1000000001] != "L**" {
		t.Errorf("accounts %v", have.Accounts)
	}
	if len(have.Sales) != 1 || have.Sales[card].Name != name(5) {
		t.Errorf("sales %v", have.Sales)
	}
	if len(have.Loads) != 1 || len(have.Loads[name(2)]) != 1 || have.Loads[name(2)][0].Answer.Server != 77 {
		t.Errorf("loads %v", have.Loads)
	}
	if len(have.Voids) != 1 || have.Voids[name(9)].Question.TopUp != name(1) {
		t.Errorf("voids %v", have.Voids)
	}
	if x := have.SAMs[sam]; len(have.SAMs) != 1 || x.Covered != 500 || x.Outstanding() != 500 || x.Challenge != [8]byte{1} || string(x.Answer) != "\x02" {
		t.Errorf("SAMs %+v", have.SAMs)
	}
	books := []storage.PSAM{{Terminal: term, Epoch: 1, PSAM: psam, Seq: 1 << 31, Proven: 8, Slack: 3}, {Terminal: term, Epoch: 2, PSAM: psam, Seq: 9}}
	slices.SortFunc(have.PSAMs, func(a, b storage.PSAM) int { return int(a.Epoch) - int(b.Epoch) })
	if !slices.Equal(have.PSAMs, books) {
		t.Errorf("PSAMs wanted: %+v", have.PSAMs)
	}
	all, err := s.PSAMs(ctx)
	if want := []storage.PSAM{{Terminal: money.TerminalID{1}, Epoch: 1, PSAM: psam, Seq: 1}, {Terminal: term, Epoch: 1, PSAM: money.SAMID{9: 9}, Slack: 1}, books[0], books[1]}; err != nil || !slices.Equal(all, want) {
		t.Errorf("PSAMs %+v, %v", all, err)
	}
	if len(have.Held) != 1 || have.Held[name(4)] != "bad_tac" {
		t.Errorf("held %v", have.Held)
	}
	if v, err := s.Exposed(ctx, 1); err != nil || v != 300 {
		t.Errorf("exposed %d, %v", v, err)
	}
	state := ledger.InHeld
	for _, q := range []struct {
		query storage.ItemQuery
		want  int
	}{{storage.ItemQuery{}, 3}, {storage.ItemQuery{State: &state}, 1}, {storage.ItemQuery{Card: &card}, 3}, {storage.ItemQuery{Exposed: true}, 1}, {storage.ItemQuery{Nameless: true}, 0}, {storage.ItemQuery{Doubted: true}, 0}} {
		n := 0
		ok(t, s.Items(ctx, q.query, func(ledger.Item) error { n++; return nil }))
		if n != q.want {
			t.Errorf("%+v: %d items, want %d", q.query, n, q.want)
		}
	}
	alarms := 0
	ok(t, s.Alarms(ctx, func(storage.Alarm) error { alarms++; return nil }))
	if alarms != 1 {
		t.Errorf("%d alarms: the same alarm twice is one", alarms)
	}
	h, err := storage.LedgerHash(ctx, s)
	if ok(t, err); h.String() != Pinned {
		t.Errorf("the ledger's hash is %s, every engine gives %s", h, Pinned)
	}
}

func testConflict(t *testing.T, open Open) {
	s := open(t)
	defer s.Close()
	fill(t, s)
	before, err := storage.LedgerHash(ctx, s)
	ok(t, err)
	tail := tailOf(t, s)
	good := follow(tail, record.KindShop, &record.Shop{Shop: 1})
	skip, other := good, good
	skip.ID++
	other.Body = canon.Marshal(&record.Shop{Shop: 2})
	posting := []storage.Posted{{Posting: ledger.Posting{Account: ledger.Bank, Amount: 1}, Line: 4, Name: name(1)}}
	for what, err := range map[string]error{
		"a line that leaves a gap":         s.Append(ctx, []record.Line{skip}),
		"a line with another's hash":       s.Append(ctx, []record.Line{other}),
		"a cursor that is not there":       s.Post(ctx, storage.Change{From: 2, To: 3, Postings: posting}),
		"a cursor beyond the log":          s.Post(ctx, storage.Change{From: 3, To: 4, Postings: posting}),
		"a change with a line that is old": s.Post(ctx, storage.Change{Lines: []record.Line{other}, From: 3, To: 4, Postings: posting}),
	} {
		if !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A change that fails in the middle leaves nothing behind.
	twice := []storage.Held{{Name: name(4), Reason: "twice", Line: 4}}
	if err := s.Post(ctx, storage.Change{Lines: []record.Line{good}, From: 3, To: 4, Postings: posting, Held: twice}); err == nil {
		t.Error("an entry was put in quarantine twice")
	}
	if now := tailOf(t, s); now != tail {
		t.Errorf("the tail moved: %+v", now)
	}
	if after, err := storage.LedgerHash(ctx, s); err != nil || after != before {
		t.Errorf("a change that failed left something: %v", err)
	}
	ok(t, s.Append(ctx, []record.Line{good}))
	// The same postings a second time are refused by the storage itself.
	ok(t, s.Post(ctx, storage.Change{From: 3, To: 4, Postings: posting}))
	if err := s.Post(ctx, storage.Change{From: 3, To: 4, Postings: posting}); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("posted twice: %v", err)
	}
}
