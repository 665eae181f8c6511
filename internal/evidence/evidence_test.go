package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

var (
	terminal   = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}
	clerk      = journal.Actor{Kind: journal.ActorClerk, ID: 7}
	card       = money.CardNumber{0x31, 1, 0, 0, 0, 0, 0, 0, 0x48, 0x21}
	recordKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	utilityKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	noon       = time.Date(2026, 11, 25, 12, 0, 0, 0, money.CST)
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var keys = Keys{
	Signer: func(epoch uint32) ed25519.PrivateKey {
		if epoch > 2 {
			return nil
		}
		return recordKey
	},
	Utility: public(utilityKey),
}

// shop is a real store whose clock moves an hour with every entry.
type shop struct {
	*store.Store
	t *testing.T
}

func newShop(t *testing.T) shop {
	path := filepath.Join(t.TempDir(), "terminal.db")
	if err := store.Create(path, store.Identity{Terminal: terminal, Shop: 1, Epoch: 1}, store.Options{}); err != nil {
		t.Fatal(err)
	}
	now := noon
	st, err := store.Open(path, store.Options{Reserve: 1, Clock: func() time.Time { now = now.Add(time.Hour); return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return shop{st, t}
}

func (s shop) put(ref journal.Name, b journal.Body) journal.Name {
	s.t.Helper()
	e, err := s.Append(context.Background(), store.Draft{Actor: clerk, Ref: ref.Ref(), Body: b})
	if err != nil {
		s.t.Fatal(err)
	}
	return e[0].Name
}

func (s shop) ack(through uint64, key ed25519.PrivateKey, verdicts ...wire.Verdict) {
	s.t.Helper()
	h, _, err := s.EntriesOf(1, through+1, 1, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	a := wire.Ack{Terminal: terminal, Epoch: 1, Through: through, Hash: h, Server: noon.UnixMilli(), Verdicts: verdicts}
	if err := s.PutAck(wire.Seal("ack", &a, key), a); err != nil {
		s.t.Fatal(err)
	}
}

// day writes a top-up that is not done (2, 3), a sale with its first load
// (4, 5, 6), a redemption (7, 8) and the cash of the top-up given back (9).
func (s shop) day() (topUp, sale, redemption journal.Name) {
	s.put(journal.Name{}, &journal.ShiftOpen{Number: 1, Cash: 200_00})
	topUp = s.put(journal.Name{}, &journal.LoadIntent{Token: journal.Token{1}, Purpose: journal.PurposeTopUp, Card: card, Amount: 50_00, Tendered: 50_00})
	s.put(topUp, &journal.LoadOutcome{Result: journal.NotDone, After: journal.NoBalance})
	sale = s.put(journal.Name{}, &journal.CardSale{Token: journal.Token{2}, Card: card})
	first := s.put(sale, &journal.LoadIntent{Token: journal.Token{3}, Purpose: journal.PurposeFirstLoad, Card: card, Amount: 20_00, Tendered: 20_00})
	s.put(first, &journal.LoadOutcome{Result: journal.Done, HasTAC: true, After: 20_00})
	redemption = s.put(journal.Name{}, &journal.PurchaseIntent{Token: journal.Token{4}, Purpose: journal.PurposeRedeem, Card: card, Account: 100000017, Amount: 5_00, Before: 20_00})
	s.put(redemption, &journal.PurchaseOutcome{Result: journal.Done, HasTAC: true, After: 15_00})
	s.put(topUp, &journal.CashReturned{Token: journal.Token{5}, Amount: 50_00})
	return topUp, sale, redemption
}

func (s shop) export(want Selection) (journal.Bundle, journal.Proof) {
	s.t.Helper()
	b, p, err := Export(s, keys, want)
	if err != nil {
		s.t.Fatal(err)
	}
	if again, err := journal.ParseBundle(b.Bytes()); err != nil {
		s.t.Fatal(err)
	} else if _, err := again.Verify(wire.Witness(public(utilityKey))); err != nil {
		s.t.Fatal(err)
	}
	return b, p
}

func TestExport(t *testing.T) {
	s := newShop(t)
	topUp, sale, redemption := s.day()
	name := func(seq uint64) journal.Name { return journal.Name{Terminal: terminal, Epoch: 1, Seq: seq} }
	s.ack(5, utilityKey, wire.Verdict{Seq: 4, Code: wire.VerdictHeld, Reason: "not_in_range"})
	s.ack(7, utilityKey)
	for what, c := range map[string]struct {
		want              Selection
		from, to, through uint64
		acks              int
	}{
		"all":                             {Between(name(1).Ref(), journal.Ref{}), 1, 9, 7, 2},
		"one entry and to where acked":    {Between(name(1).Ref(), name(1).Ref()), 1, 5, 5, 1},
		"over two acknowledgements":       {Between(name(5).Ref(), name(6).Ref()), 5, 7, 7, 2},
		"not acknowledged":                {Between(name(8).Ref(), name(9).Ref()), 8, 9, 0, 0},
		"a transaction and what ends it":  {Transaction(topUp), 2, 9, 7, 2},
		"a sale and its first load":       {Transaction(sale), 4, 7, 7, 2},
		"a transaction partly acked":      {Transaction(redemption), 7, 8, 7, 1},
		"from three o'clock, before five": {Within(noon.Add(3*time.Hour), noon.Add(5*time.Hour)), 3, 5, 5, 1},
	} {
		b, p := s.export(c.want)
		r := b.Runs[0]
		if len(b.Runs) != 1 || r.From != c.from || p.Runs[0].Head.Seq != c.to || p.Runs[0].Through != c.through || len(r.Acks) != c.acks {
			t.Errorf("%s: from %d to %d, acknowledged through %d by %d", what, r.From, p.Runs[0].Head.Seq, p.Runs[0].Through, len(r.Acks))
		}
		if h, raw, err := s.EntriesOf(1, r.From, len(r.Entries), 1<<20); err != nil || h != r.Before || !bytes.Equal(bytes.Join(raw, nil), bytes.Join(r.Entries, nil)) {
			t.Errorf("%s: not the bytes of the journal", what)
		}
	}
	if _, _, err := Export(s, keys, Transaction(name(77))); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing there: %v", err)
	}
	if _, _, err := Export(s, Keys{Signer: func(uint32) ed25519.PrivateKey { return nil }}, Transaction(topUp)); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
}

// TestAckOfAnotherKey: an acknowledgement that does not verify is left out,
// never carried along as if it proved something.
func TestAckOfAnotherKey(t *testing.T) {
	s := newShop(t)
	s.day()
	s.ack(5, recordKey)
	b, p := s.export(Between(journal.Ref{Epoch: 1, Seq: 1}, journal.Ref{Epoch: 1, Seq: 2}))
	if len(b.Runs[0].Acks) != 0 || p.Runs[0].Through != 0 || p.Runs[0].Head.Seq != 2 || b.Utility != [32]byte{} {
		t.Errorf("%+v", p.Runs[0])
	}
}

// TestEpochs: what a transaction left open in one epoch and settled in the
// next comes as two runs.
func TestEpochs(t *testing.T) {
	s := newShop(t)
	topUp, _, _ := s.day()
	open := s.put(journal.Name{}, &journal.PurchaseIntent{Token: journal.Token{6}, Purpose: journal.PurposeRedeem, Card: card, Account: 100000017, Amount: 1_00})
	h := s.Head()
	if err := s.Renew(store.Identity{Terminal: terminal, Shop: 1, Epoch: 2, PrevEpoch: 1, PrevSeq: h.Seq, PrevHash: h.Hash}); err != nil {
		t.Fatal(err)
	}
	s.put(journal.Name{}, &journal.ShiftOpen{Number: 2})
	s.put(open, &journal.PurchaseOutcome{Result: journal.NotDone, After: journal.NoBalance})
	b, p := s.export(Transaction(open))
	if len(b.Runs) != 2 || b.Runs[0].From != 10 || p.Runs[1].Head != s.Head() || b.Runs[1].From != 2 {
		t.Errorf("%+v", p)
	}
	if b, _ := s.export(Transaction(topUp)); len(b.Runs) != 1 {
		t.Errorf("%d runs", len(b.Runs))
	}
}

func TestWrite(t *testing.T) {
	s := newShop(t)
	s.day()
	s.put(journal.Name{}, &journal.Unrecognised{Kind: 777, Bytes: []byte{1}})
	s.ack(9, utilityKey, wire.Verdict{Seq: 8, Code: wire.VerdictHeld, Reason: "bad_tac\x1b[31m"})
	b, p := s.export(Between(journal.Ref{Epoch: 1, Seq: 1}, journal.Ref{}))
	var out bytes.Buffer
	if err := Write(&out, b, p, Known{Terminal: true}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"evidence of terminal 310100001234",
		"310100001234-1-2          2026-11-25 14:00:00  clerk 7         about to load 50.00 onto card …4821 holding 0.00, cash taken 50.00",
		"load of 310100001234-1-5: done, with the card's TAC, card holds 20.00",
		"about to debit 5.00 from card …4821 holding 20.00 to account …0017",
		"cash 50.00 returned for the load or bill of 310100001234-1-2",
		`debit of 310100001234-1-7: done, with the card's TAC, card holds 15.00; the utility had not posted it: bad_tac\x1b[31m`,
		"an entry of type 777",
		"310100001234-1-2          top-up            50.00  card …4821  not done",
		"310100001234-1-7          redemption         5.00  card …4821 to account …0017  done",
		"signed exactly the entries 1 to 10, in this order",
		"acknowledged the same bytes up to entry 9 on 2026-11-25 12:00:00; the entries after it are not acknowledged",
		"not proven\n  that the utility's key above is the utility's",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	for _, whole := range []string{card.String(), "0100000017", "\x1b"} {
		if strings.Contains(text, whole) {
			t.Errorf("shown to people: %q", whole)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	// The private keys are not in the bundle.
	for _, k := range []ed25519.PrivateKey{recordKey, utilityKey} {
		if bytes.Contains(b.Bytes(), k.Seed()) {
			t.Error("a private key is in the bundle")
		}
	}
}
