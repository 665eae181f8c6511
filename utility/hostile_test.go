package utility_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// tail is how much the utility has written: a refused batch leaves it.
func tail(t testing.TB, w *World) uint64 {
	t.Helper()
	x, err := w.Store.Tail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return x.ID
}

// sum adds up all accounts, which must give zero.
func sum(t testing.TB, w *World) (s money.Fen) {
	t.Helper()
	list, err := w.Service.Balances(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		s += b.Amount
	}
	return s
}

// TestHostileBatches: batches that no honest terminal sends are refused whole
// and leave not a line.
func TestHostileBatches(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	busy(w, x, 10000, 3)
	busy(w, y, 20000, 3)
	old := *x
	w.Enrol(x)
	x.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
	resign := func(b *wire.Batch, key ed25519.PrivateKey) {
		b.Head = b.Prev
		for _, e := range b.Entries {
			b.Head = journal.Link(b.Head, e)
		}
		b.Signature = b.End().Sign(key)
	}
	for name, alter := range map[string]func(b *wire.Batch){
		"empty":                        func(b *wire.Batch) { b.Entries = nil; resign(b, y.Key) },
		"the head of an empty batch":   func(b *wire.Batch) { b.Entries = nil; b.From = uint64(len(y.Entries)) + 1; resign(b, y.Key) },
		"from 0":                       func(b *wire.Batch) { b.From = 0; resign(b, y.Key) },
		"from 2^63-1":                  func(b *wire.Batch) { b.From = 1<<63 - 1; resign(b, y.Key) },
		"from 2^64-1, which wraps":     func(b *wire.Batch) { b.From = 1<<64 - 1; resign(b, y.Key) },
		"right chain, wrong signature": func(b *wire.Batch) { b.Signature[3] ^= 1 },
		"right signature, wrong chain": func(b *wire.Batch) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] },
		"signed by another":            func(b *wire.Batch) { resign(b, x.Key) },
		"signed by an earlier epoch":   func(b *wire.Batch) { *b = x.Batch(0, 1); resign(b, old.Key); b.Terminal = y.ID },
		"in another's name":            func(b *wire.Batch) { b.Terminal = x.ID; resign(b, y.Key) },
		"of an epoch never issued":     func(b *wire.Batch) { b.Epoch = 7; resign(b, y.Key) },
		"of epoch 0":                   func(b *wire.Batch) { b.Epoch = 0; resign(b, y.Key) },
		"one more than fits": func(b *wire.Batch) {
			for len(b.Entries) <= wire.MaxBatch {
				b.Entries = append(b.Entries, y.Entries[0])
			}
			resign(b, y.Key)
		},
	} {
		before := tail(t, w)
		b := y.Batch(0, len(y.Entries))
		b.Entries = append([][]byte(nil), b.Entries...)
		alter(&b)
		if _, err := w.Service.Intake(ctx, y.ID, b); !errors.Is(err, utility.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if got := tail(t, w); got != before {
			t.Errorf("%s: a line was written", name)
		}
	}
	w.Sync(y) // nothing of it stood in the way
	w.Audit()
}

// TestOddEntries: entries that no honest terminal writes, in a batch that it
// signed, are stored and held, each with its reason, and the one after them
// is posted.
func TestOddEntries(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(x *Terminal)
		held []string
	}{
		"a duplicate inside": {func(x *Terminal) { x.AddBytes(x.Entries[0]) }, []string{record.HeldName}},
		"reversed": {func(x *Terminal) {
			n := x.Next()
			for _, seq := range []uint64{n.Seq + 1, n.Seq} {
				n.Seq = seq
				x.AddBytes(journal.Entry{Name: n, Body: &journal.ShiftOpen{Number: 1}}.Bytes())
			}
		}, []string{record.HeldName, record.HeldName}},
		"sequence 0":               {func(x *Terminal) { named(x, func(n *journal.Name) { n.Seq = 0 }) }, []string{record.HeldName}},
		"sequence 2^63-1":          {func(x *Terminal) { named(x, func(n *journal.Name) { n.Seq = 1<<63 - 1 }) }, []string{record.HeldName}},
		"another terminal's":       {func(x *Terminal) { named(x, func(n *journal.Name) { n.Terminal[5]++ }) }, []string{record.HeldName}},
		"another epoch's":          {func(x *Terminal) { named(x, func(n *journal.Name) { n.Epoch++ }) }, []string{record.HeldName}},
		"a type nobody knows":      {func(x *Terminal) { x.Add(journal.Name{}, &journal.Unrecognised{Kind: 777, Bytes: []byte{1}}) }, []string{record.HeldUnknownType}},
		"a version nobody knows":   {func(x *Terminal) { e := x.Next(); x.AddBytes(append([]byte{99}, bytesOf(e)[1:]...)) }, []string{record.HeldUnknownType}},
		"no bytes at all":          {func(x *Terminal) { x.AddBytes(nil) }, []string{record.HeldMalformed}},
		"the time 0":               {func(x *Terminal) { at(x, 0) }, nil},
		"the time before all time": {func(x *Terminal) { at(x, -1<<63) }, nil},
		"the time of 2038":         {func(x *Terminal) { at(x, (1<<31)*1000) }, nil},
		"the time of 9999":         {func(x *Terminal) { at(x, 253402300799999) }, nil},
		"the time after all time":  {func(x *Terminal) { at(x, 1<<63-1) }, nil},
	} {
		w := NewWorld(t)
		x := w.Terminal(1)
		x.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
		c.add(x)
		x.Redeem(NewCard(10001), Account, 7_00)
		verdicts := w.Sync(x)
		var held []string
		for _, v := range verdicts {
			held = append(held, v.Reason)
		}
		if !reflect.DeepEqual(held, c.held) {
			t.Errorf("%s: held %v, want %v", name, held, c.held)
		}
		if got := w.Balance(custAcc); got != 7_00 {
			t.Errorf("%s: the redemption after it: %s", name, got)
		}
		// Stored to the byte, whatever they are.
		if l, ok, err := w.Store.EntryLine(ctx, journal.Name{Terminal: x.ID, Epoch: 1, Seq: 2}); err != nil || !ok {
			t.Errorf("%s: not stored: %v", name, err)
		} else if r, err := record.Decode(l); err != nil || string(r.(*wire.Batch).Entries[1]) != string(x.Entries[1]) {
			t.Errorf("%s: not the bytes that were sent", name)
		}
		w.Audit()
	}
}

func bytesOf(n journal.Name) []byte {
	return journal.Entry{Name: n, Body: &journal.ShiftOpen{Number: 1}}.Bytes()
}

func named(x *Terminal, change func(n *journal.Name)) {
	n := x.Next()
	change(&n)
	x.AddBytes(bytesOf(n))
}

func at(x *Terminal, wall int64) {
	x.AddBytes(journal.Entry{Name: x.Next(), Wall: wall, Body: &journal.ShiftOpen{Number: 1}}.Bytes())
}

// TestPoisonInAThousand: one bad entry in a full batch, and 999 are posted.
func TestPoisonInAThousand(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	x.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
	c := NewCard(10001)
	for i := range (wire.MaxBatch - 2) / 2 {
		if i == 250 {
			x.AddBytes([]byte{1, 1})
		}
		x.Redeem(c, Account, 1)
	}
	if len(x.Entries) != wire.MaxBatch {
		t.Fatalf("%d entries", len(x.Entries))
	}
	if v := w.Sync(x); len(v) != 1 || v[0].Reason != record.HeldMalformed || v[0].Seq != 502 {
		t.Errorf("held %v", v)
	}
	if got := w.Balance(custAcc); got != 499 {
		t.Errorf("499 redemptions of a fen gave %s", got)
	}
	w.Audit()
}

// TestForkAfterAck: entries that were acknowledged stand, whatever the
// terminal signs afterwards in their place.
func TestForkAfterAck(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	x.Redeem(NewCard(10001), Account, 7_00)
	w.Sync(x)
	fork := *x
	fork.Entries, fork.Hashes = nil, x.Hashes[:1:1]
	fork.Redeem(NewCard(10002), Account+1, 9_00)
	fork.Redeem(NewCard(10002), Account+1, 9_00)
	a := send(t, w, &fork, 0, len(fork.Entries))
	if a.Through != 2 || a.Hash != x.Hashes[2] || len(a.Verdicts) != 4 {
		t.Errorf("%+v", a)
	}
	for i, v := range a.Verdicts {
		if v.Seq != uint64(i)+1 || v.Code != wire.VerdictHeld || v.Reason != wire.ReasonEquivocation {
			t.Errorf("%+v", v)
		}
	}
	if w.Balance(custAcc) != 7_00 || w.Balance("customer/1000000002") != 0 {
		t.Errorf("%s and %s", w.Balance(custAcc), w.Balance("customer/1000000002"))
	}
	w.Audit()
}

// TestAckLost: whoever sends again because the acknowledgement was lost gets
// the same one, on one connection or on two at once, and nothing moves twice.
func TestAckLost(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 12)
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := send(t, w, x, 0, len(x.Entries))
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprintf("%d %s %v", a.Through, a.Hash, a.Verdicts)]++
		})
	}
	wg.Wait()
	line, _ := w.Service.LedgerHash(ctx)
	a := send(t, w, x, 0, len(x.Entries))
	answers[fmt.Sprintf("%d %s %v", a.Through, a.Hash, a.Verdicts)]++
	if again, _ := w.Service.LedgerHash(ctx); again != line {
		t.Error("sent again, and the ledger changed")
	}
	if len(answers) != 1 {
		t.Errorf("different acknowledgements of one batch: %v", answers)
	}
	w.Audit()
}

// TestGuessing: a terminal that tries cryptograms of a card that it never saw
// is slowed down to a pace at which it finds none in a lifetime. Nothing of
// what is refused meanwhile is stored, others are served, and its own honest
// entries are taken afterwards.
func TestGuessing(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	victim := NewCard(10001)
	victim.Balance = 500_00
	in := victim.InitPurchase(x, Account, 500_00)
	n := x.Add(journal.Name{}, &in)
	guess := uint32(0)
	guesses := func() {
		for (len(x.Entries)-x.Sent)%wire.MaxBatch != 0 || len(x.Entries) == x.Sent {
			guess++
			b := binary.BigEndian.AppendUint32(nil, guess)
			x.Add(n, &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true, TAC: suite.MAC(b), MAC2: suite.MAC(b), After: journal.NoBalance})
		}
	}
	guesses()
	w.Sync(x)
	guesses()
	before := tail(t, w)
	var later *utility.LaterError
	_, err := w.Service.Intake(ctx, x.ID, x.Batch(x.Sent, len(x.Entries)))
	if !errors.As(err, &later) || later.After < 10*time.Minute || later.After > time.Hour {
		t.Fatalf("after 999 guesses: %v", err)
	}
	if tail(t, w) != before {
		t.Error("what was refused is stored")
	}
	y.Redeem(NewCard(10002), Account, 1_00)
	w.Sync(y)
	// As fast as it may, for a day.
	end := w.Time.Add(24 * time.Hour)
	taken := guess
	for w.Time.Before(end) {
		_, err := w.Service.Intake(ctx, x.ID, x.Batch(x.Sent, len(x.Entries)))
		if errors.As(err, &later) {
			w.Time = w.Time.Add(later.After)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		x.Sent = len(x.Entries)
		taken = guess
		guesses()
	}
	if perDay := 24 * 60 * 60; int(taken) > perDay+2*wire.MaxBatch {
		t.Errorf("%d guesses in a day", taken)
	}
	if got := w.Balance(custAcc); got != 1_00 {
		t.Errorf("the customer has %s", got)
	}
	// A few wrong ones, as of a broken card, cost no wait.
	for range 20 {
		in := NewCard(10003).InitPurchase(y, Account, 1)
		m := y.Add(journal.Name{}, &in)
		y.Add(m, &journal.PurchaseOutcome{Result: journal.Done, HasTAC: true, TAC: suite.MAC{9}, After: journal.NoBalance})
	}
	w.Sync(y)
	y.Redeem(NewCard(10004), Account, 1_00)
	w.Sync(y)
}

// TestGuessingWithAnOldKey: whoever copied a terminal's keys guesses on in the
// epoch of that key; the terminal, enrolled again, is served.
func TestGuessingWithAnOldKey(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	thief := *x
	w.Enrol(x)
	in := NewCard(10001).InitPurchase(&thief, Account, 5_00)
	n := thief.Add(journal.Name{}, &in)
	for i := range 900 {
		thief.Add(n, &journal.PurchaseOutcome{Result: journal.Done, HasTAC: true, TAC: suite.MAC{1, byte(i), byte(i >> 8)}, After: journal.NoBalance})
	}
	if _, err := w.Service.Intake(ctx, thief.ID, thief.Batch(0, len(thief.Entries))); err != nil {
		t.Fatal(err)
	}
	thief.Add(journal.Name{}, &journal.ShiftOpen{Number: 1})
	var later *utility.LaterError
	if _, err := w.Service.Intake(ctx, thief.ID, thief.Batch(len(thief.Entries)-1, len(thief.Entries))); !errors.As(err, &later) {
		t.Errorf("after 900 guesses: %v", err)
	}
	x.Redeem(NewCard(10002), Account, 1_00)
	w.Sync(x)
	if got := w.Balance(custAcc); got != 1_00 {
		t.Errorf("the customer has %s", got)
	}
}

// TestGuessingByObservation: what a terminal says that it read from a card can
// be tried no faster than the outcome of its own transactions. A guess that
// fits would make another shop pay for a load that never happened.
func TestGuessingByObservation(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	in := NewCard(10001).InitLoad(x.ID, 500_00)
	n := x.Next()
	w.Authorise(x, n, in)
	x.Add(journal.Name{}, &in)
	x.Add(n, load(journal.NotDone))
	w.Sync(x)
	for i := range 2 * wire.MaxBatch {
		y.Add(journal.Name{}, &journal.Observation{Item: n, Card: in.Card, TxType: in.TxType, Counter: in.Counter,
			HasTAC: true, TAC: suite.MAC(binary.BigEndian.AppendUint32(nil, uint32(i))), Now: in.Counter + 1, Balance: journal.NoBalance})
	}
	if _, err := w.Service.Intake(ctx, y.ID, y.Batch(0, wire.MaxBatch)); err != nil {
		t.Fatal(err)
	}
	before := tail(t, w)
	var later *utility.LaterError
	if _, err := w.Service.Intake(ctx, y.ID, y.Batch(wire.MaxBatch, 2*wire.MaxBatch)); !errors.As(err, &later) || later.After < 10*time.Minute {
		t.Errorf("after 1000 guesses: %v", err)
	}
	if tail(t, w) != before {
		t.Error("what was refused is stored")
	}
}

// TestGuessingTheSAM: the MAC of a load SAM's report can't be tried without
// end either.
func TestGuessingTheSAM(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	w.Service.SetAllowancePolicy(ctx, x.ID, 300_00, 10)
	codes := map[wire.Code]int{}
	for i := range 200 {
		c := [8]byte{byte(i), 1}
		state := x.State(c, suite.Allowance{})
		state[len(state)-1] ^= 1
		a, err := w.Service.IssueAllowance(ctx, x.ID, wire.AllowanceRequest{SAM: x.LoadSAM, Challenge: c, State: state})
		if err != nil {
			t.Fatal(err)
		}
		codes[a.Refused]++
	}
	if codes[wire.CodeBadMAC] != 60 || codes[wire.CodeRate] != 140 {
		t.Errorf("%v", codes)
	}
}

// TestFloodOfOpenItems: one terminal that claims unknown outcomes without end
// does not push out of what goes down the open items of others.
func TestFloodOfOpenItems(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	c := NewCard(10001)
	for range 1100 {
		in := c.InitPurchase(x, Account, 1)
		c.Offline++
		x.Add(x.Add(journal.Name{}, &in), pay(journal.Unknown))
	}
	in := NewCard(10002).InitPurchase(y, Account, 5_00)
	honest := y.Add(journal.Name{}, &in)
	y.Add(honest, pay(journal.Unknown))
	w.Sync(x)
	w.Sync(y)
	a, err := w.Service.Hello(ctx, y.ID, wire.Hello{Head: y.Head()})
	if err != nil {
		t.Fatal(err)
	}
	of := map[money.TerminalID]int{}
	seen := false
	for _, b := range a.Sections {
		var s wire.Section
		if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
			t.Fatal(err)
		}
		for _, it := range s.Items {
			of[it.Name.Terminal]++
			seen = seen || it.Name == honest
		}
	}
	if of[x.ID] != 1000 || !seen {
		t.Errorf("%d items of the flood, the honest one %v", of[x.ID], seen)
	}
}

// TestNoBillsForTheBlocked: a terminal that may not sell, or whose disk is a
// copy, gets no names and balances of customers.
func TestNoBillsForTheBlocked(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	x.Redeem(NewCard(10001), Account, 1_00)
	w.Sync(x)
	bills := func(h journal.Head) bool {
		t.Helper()
		a, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: h})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range a.Sections {
			var s wire.Section
			if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
				t.Fatal(err)
			}
			if s.Kind == wire.SectionAccounts {
				return true
			}
		}
		return false
	}
	if !bills(x.Head()) {
		t.Error("a terminal in good standing got none")
	}
	behind := x.Head()
	behind.Seq, behind.Hash = 1, x.Hashes[1]
	forked := x.Head()
	forked.Hash[0]++
	if bills(behind) || bills(forked) {
		t.Error("a copy of a disk got the bills")
	}
	if err := w.Service.BlockTerminal(ctx, x.ID, true); err != nil {
		t.Fatal(err)
	}
	if bills(x.Head()) {
		t.Error("a blocked terminal got the bills")
	}
	if a, err := w.Service.Account(ctx, x.ID, wire.AccountQuestion{Account: Account}); err != nil || a.Refused != wire.CodeTerminal || a.Bill != (wire.Bill{}) {
		t.Errorf("a blocked terminal asked for one: %+v, %v", a, err)
	}
}

// TestFalseObservation: a terminal that says of another's open redemption
// that the card shows it not done moves it back provisionally at most: the
// card's own cryptogram has the last word, and an alarm tells of it.
func TestFalseObservation(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	c := NewCard(10001)
	in := c.InitPurchase(x, Account, 5_00)
	n := x.Add(journal.Name{}, &in)
	x.Add(n, pay(journal.Unknown))
	w.Sync(x)
	tac, mac2 := c.Debit(x.ID, in)
	y.Add(journal.Name{}, &journal.Observation{Item: n, Card: c.Number, TxType: in.TxType, Counter: in.Counter, Now: in.Counter, Balance: journal.NoBalance})
	w.Sync(y)
	if w.Balance(custAcc) != 0 || w.Balance("held/"+n.String()) != 0 {
		t.Errorf("moved provisionally: customer %s, held %s", w.Balance(custAcc), w.Balance("held/"+n.String()))
	}
	w.Audit()
	x.Add(n, doneWith(tac, mac2, journal.EvidenceProof))
	w.Sync(x)
	if w.Balance(custAcc) != 5_00 {
		t.Errorf("proved by the card: the customer has %s", w.Balance(custAcc))
	}
	alarms, err := w.Service.Alarms(ctx)
	if err != nil || len(alarms) != 1 || alarms[0].Kind != record.AlarmLate || alarms[0].Name != n {
		t.Errorf("%v, %v", alarms, err)
	}
	w.Audit()
}

// FuzzIntake lets any batch come in. How says who signs: 0 the terminal
// itself, 1 nobody, 2 another terminal, 3 the bytes are a whole batch as it
// comes over the wire. Entries stand in the input behind their two-byte
// lengths; with bit 7 of how their names are set to their places, so that
// what lies behind the name is reached. Nothing panics; what is not signed by
// the terminal leaves no line; what is leaves sums of zero and an audit that
// is clean, and a second time changes nothing.
func FuzzIntake(f *testing.F) {
	w := NewWorld(f)
	x := w.Terminal(1)
	busy(w, x, 10000, 12)
	var whole []byte
	for i, e := range x.Entries {
		one := append(binary.BigEndian.AppendUint16(nil, uint16(len(e))), e...)
		if whole = append(whole, one...); i < 3 {
			f.Add(uint8(0x80), one)
		}
	}
	for _, how := range []uint8{0, 1, 2, 3, 0x80} {
		f.Add(how, whole)
	}
	b := x.Batch(0, 4)
	f.Add(uint8(3), wire.Marshal(&b))
	f.Fuzz(func(t *testing.T, how uint8, in []byte) {
		w := NewWorld(t)
		x, y := w.Terminal(1), w.Terminal(2)
		before, hash := tail(t, w), must(w.Service.LedgerHash(ctx))
		var b wire.Batch
		if how&3 == 3 {
			if wire.Unmarshal(in, &b) != nil {
				return
			}
		} else {
			for len(in) >= 2 && len(x.Entries) < 64 {
				n := int(binary.BigEndian.Uint16(in))
				in = in[2:]
				e := append([]byte(nil), in[:min(n, len(in), journal.MaxEntry)]...)
				in = in[min(n, len(in)):]
				if next := x.Next(); how&0x80 != 0 && len(e) >= 22 {
					copy(e[4:], binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(next.Terminal[:], next.Epoch), next.Seq))
				}
				x.AddBytes(e)
			}
			b = x.Batch(0, len(x.Entries))
			switch how & 3 {
			case 1:
				b.Signature = journal.Signature{}
			case 2:
				b.Signature = b.End().Sign(y.Key)
			}
		}
		a, err := w.Service.Intake(ctx, x.ID, b)
		if how&3 != 0 || len(b.Entries) == 0 {
			if !errors.Is(err, utility.ErrRefused) || tail(t, w) != before || must(w.Service.LedgerHash(ctx)) != hash {
				t.Fatalf("not signed by the terminal: %v", err)
			}
			return
		}
		if err != nil || a.Through != uint64(len(b.Entries)) || a.Hash != b.Head {
			t.Fatalf("%+v, %v", a, err)
		}
		if s := sum(t, w); s != 0 {
			t.Fatalf("all accounts together hold %s", s)
		}
		w.Audit()
		after := must(w.Service.LedgerHash(ctx))
		again, err := w.Service.Intake(ctx, x.ID, b)
		if err != nil || again.Through != a.Through || !reflect.DeepEqual(again.Verdicts, a.Verdicts) || must(w.Service.LedgerHash(ctx)) != after {
			t.Fatalf("a second time: %+v, %v", again, err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
