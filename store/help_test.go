package store

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

var (
	terminal = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}
	identity = Identity{Terminal: terminal, Shop: 1, Epoch: 1}
	clerk    = journal.Actor{Kind: journal.ActorClerk, ID: 7}
	ctx      = context.Background()
)

// tick is a clock that moves one second per reading.
func tick() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.UnixMilli(1_700_000_000_000 + 1000*n.Add(1)) }
}

// fresh makes and opens a store in a new directory. When the test ends it is
// opened once more if need be, and checked whole.
func fresh(t testing.TB) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path)
}

func reopen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{Clock: tick(), Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.usable() == nil {
			sound(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sound(t testing.TB, s *Store) Report {
	t.Helper()
	r, err := s.Check(ctx)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	if s.Copy().Problem == nil {
		copyHolds(t, s)
	}
	return r
}

func put(t testing.TB, s *Store, d ...Draft) []journal.Entry {
	t.Helper()
	e, err := s.Append(ctx, d...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func put1(t testing.TB, s *Store, ref journal.Ref, b journal.Body) journal.Ref {
	t.Helper()
	return put(t, s, Draft{Actor: clerk, Ref: ref, Body: b})[0].Name.Ref()
}

func card(n byte) money.CardNumber { return money.CardNumber{8: 1, 9: n} }
func token(n uint64) journal.Token {
	return journal.Token{0xEE, 8: byte(n >> 56), 9: byte(n >> 48), 10: byte(n >> 40), 11: byte(n >> 32), 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
}

func topUp(tok uint64, c byte, amount money.Fen) *journal.LoadIntent {
	return &journal.LoadIntent{Token: token(tok), Purpose: journal.PurposeTopUp, Card: card(c), Amount: amount, Tendered: amount}
}

func redeem(tok uint64, c byte, amount money.Fen) *journal.PurchaseIntent {
	return &journal.PurchaseIntent{Token: token(tok), Purpose: journal.PurposeRedeem, Card: card(c), Account: 5, Amount: amount}
}

func loaded(r journal.Result) *journal.LoadOutcome     { return &journal.LoadOutcome{Result: r} }
func bought(r journal.Result) *journal.PurchaseOutcome { return &journal.PurchaseOutcome{Result: r} }

// history appends n random requests of what a terminal may write, and some
// that it may not, so that refusals are part of it.
func history(t testing.TB, s *Store, r *rand.Rand, n int) {
	t.Helper()
	some := func() journal.Ref {
		h := s.Head()
		if h.Seq == 0 {
			return journal.Ref{}
		}
		return journal.Ref{Epoch: h.Epoch, Seq: h.Seq - uint64(r.IntN(int(min(h.Seq, 40))))}
	}
	result := func() journal.Result { return journal.Result(1 + r.IntN(3)) }
	draft := func() Draft {
		c, amount, tok := byte(r.IntN(5)), money.Fen(r.IntN(10000)), uint64(r.IntN(200))
		d := Draft{Actor: clerk}
		switch r.IntN(18) {
		case 0:
			d.Body = &journal.ShiftOpen{Number: uint32(1 + r.IntN(9)), Cash: amount}
		case 1:
			sh, _, _ := s.Shift()
			d.Ref, d.Body = sh.Open, &journal.ShiftClose{Number: sh.Number, Counted: amount, Expected: sh.Expected}
		case 2, 3:
			l := topUp(tok, c, amount)
			l.Tendered *= money.Fen(r.IntN(2))
			d.Ref, d.Body = some(), l
		case 4, 5:
			p := redeem(tok, c, amount)
			p.Purpose = journal.Purpose(1 + r.IntN(2))
			d.Ref, d.Body = some(), p
		case 6:
			d.Body = &journal.CardSale{Token: token(tok), Card: card(c), Deposit: amount}
		case 7:
			d.Ref, d.Body = some(), &journal.VoidRequest{Token: token(tok), Card: card(c), Amount: amount}
		case 8:
			d.Ref, d.Body = some(), &journal.VoidAnswer{Agreed: r.IntN(2) == 0}
		case 9, 10:
			d.Ref, d.Body = some(), loaded(result())
		case 11:
			d.Ref, d.Body = some(), bought(result())
		case 12:
			d.Ref, d.Body = some(), &journal.CashReturned{Token: token(tok), Amount: amount}
		case 13:
			d.Ref, d.Body = some(), &journal.ShiftTally{Token: token(tok)}
		case 14:
			d.Ref, d.Body = some(), &journal.ShiftDifference{Token: token(tok), Difference: amount}
		case 15:
			d.Body = &journal.StockReceipt{Token: token(tok), From: card(c), To: card(c + 3)}
		case 16:
			d.Ref, d.Body = some(), &journal.StockCount{Token: token(tok), Missing: []money.CardNumber{card(c)}}
		default:
			d.Ref, d.Body = some(), &journal.LoadAuthorised{}
		}
		return d
	}
	for range n {
		ds := []Draft{draft()}
		for r.IntN(4) == 0 {
			ds = append(ds, draft())
		}
		_, _ = s.Append(ctx, ds...)
	}
}
