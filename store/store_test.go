package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	if err := Create(path, Identity{Terminal: terminal}, Options{}); !errors.Is(err, ErrIdentity) {
		t.Fatal(err)
	}
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	if err := Create(path, identity, Options{}); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Fatal("a refused Create changed the file")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Fatalf("left behind: %v", names)
	}
	s := reopen(t, path)
	if s.Identity() != identity || s.Head() != (journal.Head{Terminal: terminal, Epoch: 1, Hash: journal.Genesis(terminal, 1)}) {
		t.Fatalf("%+v %+v", s.Identity(), s.Head())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("Open made a file")
	}
	if _, err := Open(file("empty", nil), Options{}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if _, err := Open(file("text", bytes.Repeat([]byte("hello "), 9999)), Options{}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	other := filepath.Join(dir, "other")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(other, Options{}); !errors.Is(err, ErrSchema) {
		t.Error(err)
	}
	newer := filepath.Join(dir, "newer")
	if err := Create(newer, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	edit(t, newer, func(tx *bbolt.Tx) error { return putRow(tx, bucketMeta, keySchema, []byte("dianka store 2")) })
	if _, err := Open(newer, Options{}); !errors.Is(err, ErrSchema) {
		t.Error(err)
	}
}

// edit changes a closed file behind the store's back.
func edit(t testing.TB, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	s := fresh(t)
	if _, err := Open(s.path, Options{Timeout: 1}); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	s := fresh(t)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, Draft{Body: &journal.Start{}}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Recent(1, journal.Ref{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := s.Rebuild(ctx); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestAppend(t *testing.T) {
	s := fresh(t)
	es := put(t, s, Draft{journal.System, journal.Ref{}, &journal.Start{Shop: 1}}, Draft{clerk, journal.Ref{}, topUp(1, 1, 50_00)})
	if s.Commits() != 1 {
		t.Fatalf("%d commits", s.Commits())
	}
	if es[0].Name != (journal.Name{Terminal: terminal, Epoch: 1, Seq: 1}) || es[1].Name.Seq != 2 || es[1].Wall < 1_700_000_000_000 || es[1].Actor != clerk || es[0].Boot != es[1].Boot {
		t.Fatalf("%+v", es)
	}
	for _, e := range es {
		got, err := s.Entry(e.Name.Ref())
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	prev, raw, err := s.Entries(1, 10, 1<<20)
	if err != nil || prev != journal.Genesis(terminal, 1) || len(raw) != 2 || !bytes.Equal(raw[1], es[1].Bytes()) {
		t.Fatal(prev, raw, err)
	}
	h := s.Head()
	if h.Seq != 2 || h.Hash != journal.Link(journal.Link(prev, raw[0]), raw[1]) {
		t.Fatalf("%+v", h)
	}
	s.Close()
	if s = reopen(t, s.path); s.Head() != h {
		t.Fatalf("%+v after reopening", s.Head())
	}
	if e := put(t, s, Draft{journal.System, journal.Ref{}, &journal.Start{}}); e[0].Boot == es[0].Boot || e[0].Name.Seq != 3 {
		t.Fatalf("%+v", e)
	}
}

// A refusal writes nothing, costs no commit and takes no number.
func TestAppendRefuses(t *testing.T) {
	s := fresh(t)
	top := put1(t, s, journal.Ref{}, topUp(1, 1, 50_00))
	put1(t, s, top, loaded(journal.Done))
	open := put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1})
	head, commits := s.Head(), s.Commits()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for what, c := range map[string]struct {
		ctx  context.Context
		d    []Draft
		want error
	}{
		"no body":                    {ctx, []Draft{{}}, ErrDraft},
		"refers ahead":               {ctx, []Draft{{Ref: journal.Ref{Epoch: 1, Seq: 9}, Body: redeem(2, 1, 1)}}, ErrDraft},
		"refers to another epoch":    {ctx, []Draft{{Ref: journal.Ref{Epoch: 2, Seq: 1}, Body: redeem(2, 1, 1)}}, ErrDraft},
		"outcome of nothing":         {ctx, []Draft{{Body: loaded(journal.Done)}}, ErrDraft},
		"outcome of a shift":         {ctx, []Draft{{Ref: open, Body: loaded(journal.Done)}}, ErrDraft},
		"outcome changed":            {ctx, []Draft{{Ref: top, Body: loaded(journal.NotDone)}}, journal.ErrThread},
		"wrong outcome":              {ctx, []Draft{{Ref: top, Body: bought(journal.Done)}}, journal.ErrThread},
		"good one, then a bad one":   {ctx, []Draft{{Body: redeem(2, 1, 1)}, {Ref: top, Body: loaded(journal.NotDone)}}, journal.ErrThread},
		"contradiction in one write": {ctx, []Draft{{Body: redeem(2, 1, 1)}, {Ref: journal.Ref{Epoch: 1, Seq: 4}, Body: bought(journal.Done)}, {Ref: journal.Ref{Epoch: 1, Seq: 4}, Body: bought(journal.NotDone)}}, journal.ErrThread},
		"too late":                   {cancelled, []Draft{{Body: redeem(2, 1, 1)}}, context.Canceled},
	} {
		if es, err := s.Append(c.ctx, c.d...); !errors.Is(err, c.want) || es != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.Head() != head || s.Commits() != commits {
		t.Fatalf("%+v, %d commits", s.Head(), s.Commits()-commits)
	}
	// In one write an outcome may follow its own intent.
	put(t, s, Draft{Body: redeem(2, 1, 1)}, Draft{Ref: journal.Ref{Epoch: 1, Seq: 4}, Body: bought(journal.Done)})
}

func names(ts []journal.Transaction) (out []uint64) {
	for _, t := range ts {
		out = append(out, t.Name.Seq)
	}
	return out
}

func TestQueries(t *testing.T) {
	s := fresh(t)
	sale := put1(t, s, journal.Ref{}, &journal.CardSale{Token: token(1), Card: card(1), Deposit: 10_00}) // 1
	first := put1(t, s, sale, topUp(2, 1, 50_00))                                                        // 2
	put1(t, s, first, loaded(journal.Done))                                                              // 3
	red := put1(t, s, journal.Ref{}, redeem(3, 2, 20_00))                                                // 4
	lost := put1(t, s, journal.Ref{}, topUp(4, 1, 30_00))                                                // 5
	put1(t, s, red, bought(journal.Unknown))                                                             // 6
	put1(t, s, lost, loaded(journal.NotDone))                                                            // 7
	put1(t, s, lost, &journal.CashReturned{Token: token(5), Amount: 30_00})                              // 8
	void := put1(t, s, first, &journal.VoidRequest{Token: token(6), Card: card(1), Amount: 50_00})       // 9
	again := put1(t, s, journal.Ref{}, redeem(3, 3, 1))                                                  // 10, the token of 4

	check := func(what string, got []journal.Transaction, err error, want ...uint64) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(names(got), want) {
			t.Errorf("%s: %v, %v; want %v", what, names(got), err, want)
		}
	}
	got, err := s.OpenTransactions()
	check("open", got, err, red.Seq, void.Seq, again.Seq)
	if n, err := s.CountOpen(); err != nil || n != len(got) {
		t.Errorf("%d open, %v, want %d", n, err, len(got))
	}
	got, err = s.ByCard(card(1), 10)
	check("card", got, err, 9, 5, 2, 1)
	got, err = s.ByCard(card(1), 2)
	check("last two of the card", got, err, 9, 5)
	got, err = s.ByCard(card(9), 2)
	check("another card", got, err)
	got, err = s.Recent(3, journal.Ref{})
	check("recent", got, err, 10, 9, 5)
	got, err = s.Recent(9, got[2].Name.Ref())
	check("before", got, err, 4, 2, 1)
	got, err = s.Recent(9, journal.Ref{Epoch: 1, Seq: 1})
	check("before the first", got, err)
	got, err = s.Children(sale)
	check("children of the sale", got, err, first.Seq)
	got, err = s.Children(first)
	check("children of the load", got, err, void.Seq)
	got, err = s.Children(void)
	check("no children", got, err)

	for tok, want := range map[uint64]uint64{1: 1, 2: 2, 3: 4, 5: lost.Seq, 6: 9} {
		if tr, ok, err := s.ByToken(token(tok)); !ok || err != nil || tr.Name.Seq != want {
			t.Errorf("token %d: %d, %v, %v", tok, tr.Name.Seq, ok, err)
		}
	}
	for _, tok := range []journal.Token{{}, token(99)} {
		if _, ok, err := s.ByToken(tok); ok || err != nil {
			t.Error(ok, err)
		}
	}
	if ref, ok, err := s.Sold(card(1)); !ok || err != nil || ref != sale {
		t.Error(ref, ok, err)
	}
	if _, ok, err := s.Sold(card(2)); ok || err != nil {
		t.Error(ok, err)
	}
	tr, err := s.Transaction(lost)
	if err != nil || tr.Result != journal.NotDone || !tr.CashReturned || tr.Open() {
		t.Errorf("%+v, %v", tr, err)
	}
	for _, r := range []journal.Ref{{}, {Epoch: 1, Seq: 3}, {Epoch: 1, Seq: 99}, {Epoch: 7, Seq: 1}} {
		if _, err := s.Transaction(r); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := s.Entry(journal.Ref{Epoch: 1, Seq: 99}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if r := sound(t, s); r.Entries != 10 || r.Transactions != 6 || r.Open != 3 || len(r.Heads) != 1 || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
}

func TestShift(t *testing.T) {
	s := fresh(t)
	if _, ok, err := s.Shift(); ok || err != nil {
		t.Fatal(ok, err)
	}
	early := put1(t, s, journal.Ref{}, topUp(1, 1, 1_00)) // before any shift
	put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1, Cash: 100_00})
	put1(t, s, early, loaded(journal.NotDone))
	put1(t, s, early, &journal.CashReturned{Amount: 1_00})                                                 // out 1
	put1(t, s, put1(t, s, journal.Ref{}, topUp(2, 1, 50_00)), loaded(journal.Done))                        // in 50
	put1(t, s, put1(t, s, journal.Ref{}, topUp(3, 1, 20_00)), loaded(journal.Unknown))                     // in 20, kept
	back := put1(t, s, journal.Ref{}, topUp(4, 1, 30_00))                                                  // in 30
	put1(t, s, back, loaded(journal.NotDone))                                                              // kept
	put1(t, s, back, &journal.CashReturned{Amount: 30_00})                                                 // and given back
	put1(t, s, put1(t, s, journal.Ref{}, topUp(5, 1, 7_00)), loaded(journal.NotDone))                      // in 7, a claim
	put1(t, s, journal.Ref{}, &journal.CardSale{Token: token(6), Card: card(1), Deposit: 10_00})           // in 10
	put1(t, s, put1(t, s, journal.Ref{}, redeem(7, 1, 40_00)), bought(journal.Done))                       // no cash
	put1(t, s, journal.Ref{}, redeem(8, 1, 40_00))                                                         // open
	notYet := topUp(10, 1, 9_00)                                                                           // cash not taken
	notYet.Tendered = 0                                                                                    //
	put1(t, s, put1(t, s, journal.Ref{}, notYet), loaded(journal.NotDone))                                 // nor later
	later := put1(t, s, journal.Ref{}, &journal.LoadIntent{Token: token(11), Card: card(1), Amount: 3_00}) // in 3 once
	put1(t, s, later, loaded(journal.Unknown))                                                             //
	put1(t, s, later, loaded(journal.Done))                                                                //
	void := &journal.PurchaseIntent{Token: token(9), Purpose: journal.PurposeVoidTopUp, Card: card(1), Amount: 5_00}
	put1(t, s, put1(t, s, journal.Ref{}, void), bought(journal.Done)) // out 5

	sh, ok, err := s.Shift()
	want := Shift{
		Number: 1, Open: journal.Ref{Epoch: 1, Seq: 2}, Clerk: clerk.ID, Opened: sh.Opened, OpeningCash: 100_00,
		CashIn: (50 + 20 + 7 + 10 + 3) * 100, CashOut: (1 + 5) * 100, TopUps: 53_00, Redemptions: 40_00, Deposits: 10_00, Voids: 5_00,
		Count: 10, Unknown: 2, Expected: 184_00,
	}
	if !ok || err != nil || sh != want || sh.Opened == 0 {
		t.Fatalf("%+v, %v\nwant %+v", sh, err, want)
	}
	put1(t, s, sh.Open, &journal.ShiftClose{Number: 1, Counted: 183_00, Expected: 184_00})
	put1(t, s, journal.Ref{}, topUp(12, 1, 1_00)) // between shifts
	closed, _, _ := s.Shift()
	want.Closed, want.Counted, want.Close, want.ClosedAt = true, 183_00, closed.Close, closed.ClosedAt
	if closed != want || closed.ClosedAt == 0 || closed.Close.IsZero() {
		t.Fatalf("%+v\nwant %+v", closed, want)
	}
	s.Close()
	s = reopen(t, s.path)
	if again, _, _ := s.Shift(); again != closed {
		t.Fatalf("%+v after reopening", again)
	}
	put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 2, Cash: 5_00})
	if sh, _, _ := s.Shift(); sh.Number != 2 || sh.Closed || sh.CashIn != 0 || sh.Count != 0 || sh.Expected != 5_00 {
		t.Fatalf("%+v", sh)
	}
}

func ackOf(t testing.TB, s *Store, epoch uint32, through uint64) wire.Ack {
	t.Helper()
	prev, _, err := s.EntriesOf(epoch, through+1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Ack{Terminal: terminal, Epoch: epoch, Through: through, Hash: prev}
}

func TestAck(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, &journal.Start{})
	top := put1(t, s, journal.Ref{}, topUp(1, 1, 50_00)) // 2
	put1(t, s, journal.Ref{}, topUp(2, 1, 20_00))        // 3
	fail := put1(t, s, journal.Ref{}, topUp(3, 1, 5_00)) // 4
	if u := s.Unsent(); u.Count != 4 || u.Value != 75_00 || u.Oldest == 0 {
		t.Fatalf("%+v", u)
	}
	put1(t, s, fail, loaded(journal.NotDone)) // 5
	if u := s.Unsent(); u.Count != 5 || u.Value != 70_00 {
		t.Fatalf("%+v", u)
	}
	if err := s.PutAck([]byte("two"), ackOf(t, s, 1, 2)); err != nil || s.Acked() != 2 {
		t.Fatal(s.Acked(), err)
	}
	e3, _ := s.Entry(journal.Ref{Epoch: 1, Seq: 3})
	if u := s.Unsent(); u != (Unsent{3, 20_00, e3.Wall}) {
		t.Fatalf("%+v", u)
	}
	put1(t, s, top, loaded(journal.NotDone)) // 6, its intent is sent
	if u := s.Unsent(); u != (Unsent{4, 20_00, e3.Wall}) {
		t.Fatalf("%+v", u)
	}
	commits := s.Commits()
	for what, c := range map[string]struct {
		alter func(a *wire.Ack)
		want  error
	}{
		"other terminal": {func(a *wire.Ack) { a.Terminal[0]++ }, ErrAck},
		"other epoch":    {func(a *wire.Ack) { a.Epoch = 2 }, ErrAck},
		"other hash":     {func(a *wire.Ack) { a.Hash[0]++ }, ErrAck},
		"shifted":        {func(a *wire.Ack) { a.Through++ }, ErrAck},
		"never written":  {func(a *wire.Ack) { a.Through = 7 }, ErrAck},
		"never, wraps":   {func(a *wire.Ack) { a.Through = 1<<64 - 1 }, ErrAck},
	} {
		a := ackOf(t, s, 1, 4)
		c.alter(&a)
		if err := s.PutAck([]byte("x"), a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []uint64{0, 1, 2} { // late and repeated ones
		if err := s.PutAck([]byte("x"), ackOf(t, s, 1, n)); err != nil {
			t.Error(n, err)
		}
	}
	if s.Acked() != 2 || s.Commits() != commits {
		t.Fatal(s.Acked(), s.Commits()-commits)
	}
	if err := s.PutAck([]byte("six"), ackOf(t, s, 1, 6)); err != nil || s.Unsent() != (Unsent{}) {
		t.Fatalf("%+v, %v", s.Unsent(), err)
	}
	s.Close()
	s = reopen(t, s.path)
	if s.Acked() != 6 || s.Unsent() != (Unsent{}) {
		t.Fatalf("%d %+v after reopening", s.Acked(), s.Unsent())
	}
	put1(t, s, journal.Ref{}, redeem(9, 1, 1))
	if e, _ := s.Entry(journal.Ref{Epoch: 1, Seq: 7}); s.Unsent() != (Unsent{1, 0, e.Wall}) {
		t.Fatalf("%+v", s.Unsent())
	}
}

func TestEntriesBounds(t *testing.T) {
	s := fresh(t)
	for i := range uint64(5) {
		put1(t, s, journal.Ref{}, redeem(i, 1, 1))
	}
	size := len(put(t, s, Draft{clerk, journal.Ref{}, redeem(9, 1, 1)})[0].Bytes())
	for what, c := range map[string]struct {
		from            uint64
		max, bytes, got int
		err             error
	}{
		"all":           {1, 100, 1 << 20, 6, nil},
		"from the last": {6, 100, 1 << 20, 1, nil},
		"nothing new":   {7, 100, 1 << 20, 0, nil},
		"at most two":   {2, 2, 1 << 20, 2, nil},
		"three fit":     {2, 100, 3*size + 1, 3, nil},
		"one at least":  {2, 100, 1, 1, nil},
		"from 0":        {0, 1, 1, 0, ErrNotFound},
		"beyond":        {8, 1, 1, 0, ErrNotFound},
		"wraps":         {1<<64 - 1, 1, 1, 0, ErrNotFound},
	} {
		_, es, err := s.Entries(c.from, c.max, c.bytes)
		if len(es) != c.got || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", what, len(es), err)
		}
	}
}

// What the utility holds as evidence against an earlier epoch is no longer
// unsent; of the present epoch nothing is ever given up.
func TestPutHeld(t *testing.T) {
	s := fresh(t)
	for i := range 3 {
		put1(t, s, journal.Ref{}, topUp(uint64(i+1), 1, 50_00))
	}
	if err := s.PutHeld([]byte("held"), 1, 1, 3); !errors.Is(err, ErrAck) {
		t.Fatal(err)
	}
	if err := s.Renew(Identity{Terminal: terminal, Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	put1(t, s, journal.Ref{}, topUp(9, 1, 10_00))
	for what, err := range map[string]error{
		"a gap":         s.PutHeld([]byte("held"), 1, 2, 3),
		"what is not":   s.PutHeld([]byte("held"), 1, 1, 4),
		"another epoch": s.PutHeld([]byte("held"), 3, 1, 1),
	} {
		if !errors.Is(err, ErrAck) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.PutHeld([]byte("held"), 1, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.PutHeld([]byte("held"), 1, 3, 3); err != nil {
		t.Fatal(err)
	}
	if u := s.Unsent(); u.Count != 1 || u.Value != 10_00 {
		t.Fatalf("%+v", u)
	}
	s.Close()
	s = reopen(t, s.path)
	if u := s.Unsent(); u.Count != 1 || u.Value != 10_00 {
		t.Fatalf("%+v", u)
	}
	if _, err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRenew(t *testing.T) {
	s := fresh(t)
	open := put1(t, s, journal.Ref{}, topUp(1, 1, 50_00))
	put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1})
	old := s.Head()
	next := Identity{Terminal: terminal, Shop: 2, Epoch: 3}
	for _, id := range []Identity{{Terminal: terminal, Epoch: 1}, {Terminal: money.TerminalID{1}, Epoch: 2}} {
		if err := s.Renew(id); !errors.Is(err, ErrIdentity) {
			t.Errorf("%+v: %v", id, err)
		}
	}
	if err := s.Renew(next); err != nil {
		t.Fatal(err)
	}
	next.PrevEpoch, next.PrevSeq, next.PrevHash = 1, 2, old.Hash
	genesis := journal.Head{Terminal: terminal, Epoch: 3, Hash: journal.Genesis(terminal, 3)}
	if s.Identity() != next || s.Head() != genesis || s.Acked() != 0 {
		t.Fatalf("%+v %+v", s.Identity(), s.Head())
	}
	s.Close()
	s = reopen(t, s.path) // with an empty epoch at the end
	if s.Identity() != next || s.Head() != genesis {
		t.Fatalf("%+v %+v after reopening", s.Identity(), s.Head())
	}
	// What was open is settled in the new epoch; both chains are to be sent.
	if ref := put1(t, s, open, loaded(journal.Done)); ref != (journal.Ref{Epoch: 3, Seq: 1}) {
		t.Fatal(ref)
	}
	if ts, err := s.OpenTransactions(); err != nil || len(ts) != 0 {
		t.Fatal(names(ts), err)
	}
	if n, err := s.CountOpen(); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	if u := s.Unsent(); u.Count != 3 || u.Value != 50_00 {
		t.Fatalf("%+v", u)
	}
	if es := s.Epochs(); len(es) != 2 || es[0] != (Epoch{Head: old}) || es[1].Head != s.Head() {
		t.Fatalf("%+v", es)
	}
	if err := s.PutAck([]byte("old"), ackOf(t, s, 1, 2)); err != nil || s.Acked() != 0 || s.Unsent().Count != 1 || s.Unsent().Value != 0 {
		t.Fatalf("%+v, %v", s.Unsent(), err)
	}
	s.Close()
	s = reopen(t, s.path)
	if es := s.Epochs(); len(es) != 2 || es[0].Acked != 2 || es[1].Acked != 0 || es[1].Head.Seq != 1 {
		t.Fatalf("%+v", es)
	}
	if r := sound(t, s); len(r.Heads) != 2 || r.Entries != 3 {
		t.Fatalf("%+v", r)
	}
}

func TestSections(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	s := fresh(t)
	if _, ok, err := s.Section(wire.SectionHotlist); ok || err != nil {
		t.Fatal(ok, err)
	}
	put := func(version uint64, cards ...money.CardNumber) error {
		sec := wire.Section{Kind: wire.SectionHotlist, Version: version, Hotlist: cards}
		return s.PutSection(wire.Seal("section", &sec, key), sec)
	}
	if err := errors.Join(put(5, card(1)), put(5, card(1))); err != nil {
		t.Fatal(err)
	}
	if sec, ok, err := s.Section(wire.SectionHotlist); !ok || err != nil || !sec.Hotlist.Has(card(1)) {
		t.Fatal(sec, ok, err)
	}
	if err := put(5, card(3)); err != nil {
		t.Fatal(err)
	}
	if sec, _, _ := s.Section(wire.SectionHotlist); sec.Hotlist.Has(card(3)) {
		t.Fatal("what was not kept is shown")
	}
	if err := put(4); !errors.Is(err, ErrSection) {
		t.Fatal(err)
	}
	foreign := wire.Section{Kind: wire.SectionHotlist, Version: 9, Terminal: money.TerminalID{1}}
	if err := s.PutSection(nil, foreign); !errors.Is(err, ErrSection) {
		t.Fatal(err)
	}
	long := wire.Section{Kind: wire.SectionHotlist, Version: 6, Hotlist: wire.Hotlist{card(1), card(2)}}
	if err := s.PutSection(wire.Seal("section", &long, key), long); err != nil {
		t.Fatal(err)
	}
	if sec, _, _ := s.Section(wire.SectionHotlist); &sec.Hotlist[0] != &long.Hotlist[0] {
		t.Error("a new section is decoded again, which takes long while a customer waits")
	}
	for range 2 {
		sec, ok, err := s.Section(wire.SectionHotlist)
		if !ok || err != nil || sec.Version != 6 || !sec.Hotlist.Has(card(2)) {
			t.Fatal(sec, ok, err)
		}
		s.Close()
		s = reopen(t, s.path)
	}
	n := testing.AllocsPerRun(10, func() { s.Section(wire.SectionHotlist) })
	if n > 1 {
		t.Errorf("%v allocations for a section that is in memory", n)
	}
}

// Any history, refusals included: the projections made entry by entry are the
// ones made from the journal afterwards, byte for byte.
func TestRebuildMatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := Create(path, identity, Options{}); err != nil {
			rt.Fatal(err)
		}
		s, err := Open(path, Options{Clock: tick(), Reserve: 1})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		for epoch := range uint32(2) {
			history(t, s, r, 20)
			if h := s.Head(); h.Seq > 0 {
				if err := s.PutAck(nil, ackOf(t, s, h.Epoch, r.Uint64N(h.Seq+1))); err != nil {
					rt.Fatal(err)
				}
			}
			history(t, s, r, 10)
			if epoch == 0 && r.IntN(2) == 0 {
				if err := s.Renew(Identity{Terminal: terminal, Epoch: 2}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if _, err := s.Check(ctx); err != nil {
			rt.Fatal(err)
		}
		before, mem := dump(t, s), *s.now.Load()
		if err := s.Rebuild(ctx); err != nil {
			rt.Fatal(err)
		}
		if after := dump(t, s); !reflect.DeepEqual(before, after) {
			rt.Fatalf("rebuilt:\n%v\nwas:\n%v", after, before)
		}
		if !reflect.DeepEqual(mem, *s.now.Load()) {
			rt.Fatalf("rebuilt %+v, was %+v", *s.now.Load(), mem)
		}
		if _, err := s.Check(ctx); err != nil {
			rt.Fatal(err)
		}
	})
}

func dump(t testing.TB, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := s.view(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				out[fmt.Sprintf("%s %x", name, k)] = fmt.Sprintf("%x", v)
				return nil
			})
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever projection row is lost, added or altered, Check says so, and
// Rebuild repairs it.
func TestCheckFindsWrongProjections(t *testing.T) {
	for what, damage := range map[string]func(tx *bbolt.Tx) error{
		"thread lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketThread).Cursor().Last()
			return tx.Bucket(bucketThread).Delete(k)
		},
		"thread begins": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketThread).Cursor().First()
			return tx.Bucket(bucketThread).Delete(k)
		},
		"card lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketCard).Cursor().First()
			return tx.Bucket(bucketCard).Delete(k)
		},
		"card added": func(tx *bbolt.Tx) error { return tx.Bucket(bucketCard).Put(make([]byte, 22), nil) },
		"token lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketToken).Cursor().First()
			return tx.Bucket(bucketToken).Delete(k)
		},
		"token astray": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketToken).Cursor().Last()
			return tx.Bucket(bucketToken).Put(k, refKey(journal.Ref{Epoch: 1, Seq: 99}))
		},
		"child lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketChild).Cursor().First()
			return tx.Bucket(bucketChild).Delete(k)
		},
		"sold lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketSold).Cursor().First()
			return tx.Bucket(bucketSold).Delete(k)
		},
		"open lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketOpen).Cursor().First()
			return tx.Bucket(bucketOpen).Delete(k)
		},
		"open added":     func(tx *bbolt.Tx) error { return tx.Bucket(bucketOpen).Put(refKey(journal.Ref{Epoch: 1, Seq: 2}), nil) },
		"totals altered": func(tx *bbolt.Tx) error { return alterTotals(tx, func(t *totals) { t.Shift.CashIn++ }) },
		"unsent altered": func(tx *bbolt.Tx) error { return alterTotals(tx, func(t *totals) { t.Unsent-- }) },
	} {
		t.Run(what, func(t *testing.T) {
			s := fresh(t)
			put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1})
			sale := put1(t, s, journal.Ref{}, &journal.CardSale{Token: token(1), Card: card(1), Deposit: 1})
			first := put1(t, s, sale, topUp(2, 1, 50_00))
			put1(t, s, first, loaded(journal.Done))
			put1(t, s, journal.Ref{}, redeem(3, 1, 1))
			want := dump(t, s)
			s.Close()
			edit(t, s.path, damage)
			s = reopen(t, s.path)
			if _, err := s.Check(ctx); !errors.Is(err, ErrCorrupt) {
				t.Errorf("check: %v", err)
			}
			if err := s.Rebuild(ctx); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(dump(t, s), want) {
				t.Error("the rebuilt file is another")
			}
		})
	}
}

func alterTotals(tx *bbolt.Tx, fn func(*totals)) error {
	t, err := loadTotals(tx)
	if err != nil {
		return err
	}
	fn(&t)
	return putRow(tx, bucketMeta, keyTotals, canon.Marshal(&t))
}

func TestRebuildWhileOpening(t *testing.T) {
	s := fresh(t)
	history(t, s, rand.New(rand.NewPCG(1, 1)), 50)
	want, head := dump(t, s), s.Head()
	s.Close()
	for what, damage := range map[string]func(tx *bbolt.Tx) error{
		"totals damaged": func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyTotals, []byte{1}) },
		"totals behind": func(tx *bbolt.Tx) error {
			return alterTotals(tx, func(t *totals) { t.Through.Seq-- })
		},
		"index missing": func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketThread) },
	} {
		edit(t, s.path, damage)
		if _, err := Open(s.path, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		r, err := Open(s.path, Options{Rebuild: true})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !reflect.DeepEqual(dump(t, r), want) || r.Head() != head {
			t.Errorf("%s: the rebuilt file is another", what)
		}
		r.Close()
	}
	// A rebuild that was interrupted is done again without being asked for.
	edit(t, s.path, func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketThread); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketThread); err != nil {
			return err
		}
		return errors.Join(tx.Bucket(bucketMeta).Put(keyRebuild, []byte{1}), putRow(tx, bucketMeta, keyTotals, canon.Marshal(&totals{})))
	})
	if s = reopen(t, s.path); !reflect.DeepEqual(dump(t, s), want) {
		t.Error("the file rebuilt after an interruption is another")
	}
}

// One flipped bit in any value of the journal, anywhere but in the tail that
// Open verifies anyway: the entry is not given out, nor is a transaction made
// of it, and Check sees it.
func TestEveryBitOfTheJournal(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, &journal.Start{})
	a := put1(t, s, journal.Ref{}, topUp(1, 1, 50_00))
	put1(t, s, a, loaded(journal.Done))
	put1(t, s, journal.Ref{}, &journal.Start{})
	put(t, s, slices.Repeat([]Draft{{clerk, journal.Ref{}, &journal.Start{}}}, tailChecked+1)...)
	if err := s.PutAck(nil, ackOf(t, s, 1, 10)); err != nil { // Open looks at the oldest unsent entry too
		t.Fatal(err)
	}
	s.Close()
	raw, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(raw))
	raw = bytes.TrimRight(raw, "\x00") // the file grows ahead of its use
	for seq := uint64(1); seq <= 4; seq++ {
		ref := journal.Ref{Epoch: 1, Seq: seq}
		var value []byte
		db, err := bbolt.Open(s.path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		db.View(func(tx *bbolt.Tx) error {
			value = bytes.Clone(tx.Bucket(bucketJournal).Get(refKey(ref)))
			return nil
		})
		db.Close()
		// Old copies of a page may lie about: alter all of them.
		var places []int
		for i := 0; ; {
			j := bytes.Index(raw[i:], value)
			if j < 0 {
				break
			}
			places, i = append(places, i+j), i+j+1
		}
		for bit := 0; bit < len(value)*8; bit += 1 + len(value)/16 {
			bad := bytes.Clone(raw)
			for _, p := range places {
				bad[p+bit/8] ^= 1 << (bit % 8)
			}
			path := filepath.Join(t.TempDir(), "bad.db")
			if err := errors.Join(os.WriteFile(path, bad, 0o600), os.Truncate(path, size)); err != nil {
				t.Fatal(err)
			}
			x, err := Open(path, Options{})
			if err != nil {
				t.Fatalf("entry %d bit %d: %v", seq, bit, err)
			}
			if _, err := x.Entry(ref); !errors.Is(err, ErrCorrupt) {
				t.Errorf("entry %d bit %d: read, %v", seq, bit, err)
			}
			if _, _, err := x.Entries(1, 9, 1<<20); !errors.Is(err, ErrCorrupt) {
				t.Errorf("entry %d bit %d: sent, %v", seq, bit, err)
			}
			if _, err := x.Transaction(a); (seq == 2 || seq == 3) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("entry %d bit %d: transaction, %v", seq, bit, err)
			}
			if _, err := x.Check(ctx); !errors.Is(err, ErrCorrupt) {
				t.Errorf("entry %d bit %d: checked, %v", seq, bit, err)
			}
			x.Close()
			os.Remove(path)
		}
	}
}

// disk is a machine's disk with parts of it replaced.
type disk struct {
	Machine
	commit func(*bbolt.Tx) error
	free   func(string) (uint64, error)
	remove func()
}

func (d disk) Commit(tx *bbolt.Tx) error {
	if d.commit == nil {
		return d.Machine.Commit(tx)
	}
	return d.commit(tx)
}

func (d disk) Free(dir string) (uint64, error) {
	if d.free == nil {
		return d.Machine.Free(dir)
	}
	return d.free(dir)
}

var errDisk = errors.New("input/output error")

// An error of the commit leaves the store unsure, whether the bytes are there
// or not: it refuses everything until it is opened again and read back.
func TestFailedCommit(t *testing.T) {
	for _, c := range []struct {
		what         string
		file, copied bool
	}{{"absent", false, false}, {"in the second copy only", false, true}, {"in the file only", true, false}, {"present", true, true}} {
		t.Run(c.what, func(t *testing.T) {
			s := fresh(t)
			present := c.file || c.copied
			put1(t, s, journal.Ref{}, redeem(1, 1, 1))
			if !c.copied {
				s.second.file = &brokenFile{File: s.second.file, write: errDisk}
			}
			s.opts.Disk = disk{commit: func(tx *bbolt.Tx) error {
				if !c.file {
					tx.Rollback()
				} else if err := tx.Commit(); err != nil {
					t.Error(err)
				}
				return errDisk
			}}
			es, err := s.Append(ctx, Draft{clerk, journal.Ref{}, redeem(2, 2, 2)})
			if es != nil || !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
				t.Fatal(es, err)
			}
			s.opts.Disk = Machine{} // the disk is well again: it must not matter
			for name, err := range map[string]error{
				"append":  second(s.Append(ctx, Draft{clerk, journal.Ref{}, redeem(2, 2, 2)})),
				"recent":  second(s.Recent(1, journal.Ref{})),
				"entry":   second(s.Entry(journal.Ref{Epoch: 1, Seq: 1})),
				"ack":     s.PutAck(nil, wire.Ack{Terminal: terminal, Epoch: 1}),
				"renew":   s.Renew(Identity{Terminal: terminal, Epoch: 2}),
				"check":   second(s.Check(ctx)),
				"rebuild": s.Rebuild(ctx),
				"backup":  second(s.Backup(&bytes.Buffer{})),
			} {
				if !errors.Is(err, ErrStopped) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if s.Head().Seq != 1 {
				t.Error("what is unsure counts as durable")
			}
			s.Close()
			s = reopen(t, s.path)
			tr, ok, err := s.ByToken(token(2))
			if err != nil || ok != present {
				t.Fatal(ok, err)
			}
			want := uint64(2)
			if present {
				if want = 3; tr.Name.Seq != 2 {
					t.Fatal(tr.Name)
				}
			}
			if ref := put1(t, s, journal.Ref{}, redeem(3, 1, 1)); ref.Seq != want {
				t.Fatal(ref)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestFull(t *testing.T) {
	s := fresh(t)
	s.opts.Reserve = 1000
	intent := put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	s.opts.Disk = disk{free: func(string) (uint64, error) { return 999, nil }}
	for _, b := range []journal.Body{redeem(2, 1, 1), topUp(2, 1, 1), &journal.CardSale{}, &journal.VoidRequest{}} {
		if _, err := s.Append(ctx, Draft{clerk, journal.Ref{}, b}); !errors.Is(err, ErrFull) {
			t.Errorf("%T: %v", b, err)
		}
	}
	put1(t, s, intent, bought(journal.Done)) // what was begun can be ended
	put1(t, s, journal.Ref{}, &journal.ShiftClose{})
	if _, err := s.Backup(&bytes.Buffer{}); !errors.Is(err, ErrFull) {
		t.Errorf("backup: %v", err)
	}
	if s.Head().Seq != 3 {
		t.Fatal(s.Head().Seq)
	}
}

func TestBackup(t *testing.T) {
	s := fresh(t)
	history(t, s, rand.New(rand.NewPCG(3, 3)), 50)
	var b bytes.Buffer
	n, err := s.Backup(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatal(n, b.Len(), err)
	}
	if names, _ := filepath.Glob(s.path + ".backup*"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := reopen(t, path)
	if c.Head() != s.Head() || !reflect.DeepEqual(dump(t, c), dump(t, s)) {
		t.Error("the copy is another")
	}
}

// Callers that come together share commits; each gets its own entries, and a
// refused one harms no other.
func TestGroupCommit(t *testing.T) {
	s := fresh(t)
	gate := make(chan struct{})
	s.opts.Disk = disk{commit: func(tx *bbolt.Tx) error { <-gate; return tx.Commit() }}
	const callers = 100
	var wg sync.WaitGroup
	refused := make([]bool, callers)
	for i := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d := Draft{clerk, journal.Ref{}, redeem(uint64(i+1), byte(i), money.Fen(i))}
			if i%10 == 0 {
				d = Draft{clerk, journal.Ref{}, bought(journal.Done)} // of nothing
			}
			es, err := s.Append(ctx, d)
			if refused[i] = err != nil; err == nil {
				got, err := s.Entry(es[0].Name.Ref())
				if err != nil || !reflect.DeepEqual(got.Body, d.Body) {
					t.Errorf("caller %d: %+v, %v", i, got, err)
				}
			}
		}()
	}
	for len(s.queue) < callers/2 { // the first commit is held at the gate
		select {
		case gate <- struct{}{}:
		default:
		}
	}
	close(gate)
	wg.Wait()
	for i, r := range refused {
		if r != (i%10 == 0) {
			t.Errorf("caller %d: refused %v", i, r)
		}
	}
	if n := s.Commits(); n >= callers/2 {
		t.Errorf("%d commits for %d callers", n, callers)
	}
	if s.Head().Seq != callers*9/10 {
		t.Error(s.Head().Seq)
	}
}

// Readers beside the writer never see half of anything.
func TestReadersBesideTheWriter(t *testing.T) {
	s := fresh(t)
	put(t, s, Draft{Body: redeem(0, 0, 1)}, Draft{Ref: journal.Ref{Epoch: 1, Seq: 1}, Body: bought(journal.Done)})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, es, err := s.Entries(1, 1000, 1<<20); err != nil || len(es)%2 != 0 {
					t.Errorf("%d entries, %v", len(es), err)
					return
				}
				if ts, err := s.OpenTransactions(); err != nil || len(ts) != 0 {
					t.Errorf("open: %v, %v", names(ts), err)
					return
				}
				if ts, err := s.Recent(1, journal.Ref{}); err != nil || len(ts) != 1 {
					t.Errorf("recent: %v, %v", names(ts), err)
					return
				}
			}
		}()
	}
	for i := uint64(1); i < 100; i++ {
		put(t, s, Draft{Body: redeem(i, byte(i), 1)}, Draft{Ref: journal.Ref{Epoch: 1, Seq: 2*i + 1}, Body: bought(journal.Done)})
		if i%10 == 0 {
			if err := s.Rebuild(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// A file cut short must not take the process down when its missing pages are
// touched.
func TestCutFile(t *testing.T) {
	s := fresh(t)
	history(t, s, rand.New(rand.NewPCG(5, 5)), 100)
	whole := sound(t, s)
	s.Close()
	raw, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.TrimRight(raw, "\x00") // the file grows ahead of its use
	path := filepath.Join(t.TempDir(), "cut.db")
	for n := 0; n < len(raw); n += 1 + len(raw)/40 {
		if err := os.WriteFile(path, raw[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := Open(path, Options{})
		var got Report
		if err == nil {
			got, err = x.Check(ctx)
			x.Close()
		}
		// The last pages may be free ones; then nothing is missing.
		if err == nil && got.Entries != whole.Entries || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes: %d entries of %d, %v", n, len(raw), got.Entries, whole.Entries, err)
		}
		os.Remove(path)
	}
}

// At the end of the journal a flipped bit keeps the file from opening.
func TestDamagedTail(t *testing.T) {
	s := fresh(t)
	put(t, s, slices.Repeat([]Draft{{clerk, journal.Ref{}, &journal.Start{}}}, 5)...)
	s.Close()
	for _, key := range [][]byte{refKey(journal.Ref{Epoch: 1, Seq: 2}), refKey(journal.Ref{Epoch: 1, Seq: 5})} {
		flip := func(tx *bbolt.Tx) error {
			v := bytes.Clone(tx.Bucket(bucketJournal).Get(key))
			v[50] ^= 4
			return tx.Bucket(bucketJournal).Put(key, v)
		}
		edit(t, s.path, flip)
		if x, err := Open(s.path, Options{}); !errors.Is(err, ErrCorrupt) {
			if err == nil {
				x.Close()
			}
			t.Errorf("%x: %v", key, err)
		}
		edit(t, s.path, flip)
	}
	reopen(t, s.path)
}
