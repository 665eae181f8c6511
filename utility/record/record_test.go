package record

import (
	"bytes"
	"testing"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

func samples() map[Kind]canon.Record {
	n := journal.Name{Terminal: money.TerminalID{1}, Epoch: 1, Seq: 2}
	return map[Kind]canon.Record{
		KindEntries:       &wire.Batch{Terminal: n.Terminal, Epoch: 1, From: 1, Entries: [][]byte{{1, 2, 3}}},
		KindFork:          &wire.Batch{Terminal: n.Terminal, Epoch: 1, From: 9},
		KindLoad:          &Load{Request: wire.LoadRequest{Name: n}, Answer: wire.LoadAnswer{Name: n}, Shop: 3},
		KindVoid:          &Void{Question: wire.VoidQuestion{Name: n}},
		KindAllowance:     &Allowance{Terminal: n.Terminal, State: []byte{1}},
		KindEnrolled:      &Enrolled{Terminal: n.Terminal, Epoch: 1, Key: make([]byte, 32)},
		KindBillPaid:      &BillPaid{Question: wire.BillQuestion{Name: n}, Shop: 3},
		KindCollected:     &Collected{Question: wire.CollectQuestion{Name: n, Withdraw: true}, Shop: 3, Undo: true},
		KindCardAsked:     &CardAsked{Question: wire.CardQuestion{Name: n}, Shop: 3},
		KindReplaced:      &Replaced{No: 5, Request: n, Shop: 3, Amount: 88},
		KindShop:          &Shop{Shop: 1, Name: "杂货店", Ceiling: 5},
		KindFloat:         &Float{No: 1, Shop: 1, Amount: -5},
		KindCommission:    &Float{No: 2, Shop: 1, Amount: 5},
		KindAccount:       &Account{Account: 1000000001, Owner: "Z**"},
		KindBill:          &Bill{No: 3, Account: 1000000001, Amount: 88},
		KindCards:         &Cards{From: money.CardNumber{9: 1}, To: money.CardNumber{9: 9}, Profile: "dianka-ep", Shop: 1},
		KindBlockCard:     &BlockCard{Card: money.CardNumber{9: 1}, Blocked: true},
		KindCode:          &Code{Hash: HashCode("X"), Terminal: n.Terminal},
		KindPolicy:        &Policy{Terminal: n.Terminal, Amount: 5, Count: 1},
		KindLimits:        &Limits{Terminal: n.Terminal, Limits: wire.DefaultLimits()},
		KindBlockTerminal: &BlockTerminal{Terminal: n.Terminal, Blocked: true},
		KindSuspense:      &Suspense{No: 4, Item: n, Account: 1000000001},
	}
}

func TestDecode(t *testing.T) {
	for k, r := range samples() {
		b := canon.Marshal(r)
		got, err := Decode(Line{Kind: k, Body: b})
		if err != nil {
			t.Errorf("kind %d: %v", k, err)
			continue
		}
		if again := canon.Marshal(got); !bytes.Equal(again, b) {
			t.Errorf("kind %d: %x became %x", k, b, again)
		}
		if _, err := Decode(Line{Kind: k, Body: append(b, 0)}); err == nil {
			t.Errorf("kind %d: a byte too many was taken", k)
		}
	}
	if _, err := Decode(Line{Kind: 99}); err == nil {
		t.Error("an unknown kind was read")
	}
}

func FuzzDecode(f *testing.F) {
	for k, r := range samples() {
		f.Add(byte(k), canon.Marshal(r))
	}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		r, err := Decode(Line{Kind: Kind(k), Body: b})
		if err == nil && !bytes.Equal(canon.Marshal(r), b) {
			t.Errorf("kind %d: other bytes came back", k)
		}
	})
}
