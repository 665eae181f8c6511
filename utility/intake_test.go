package utility_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// busy fills a terminal's journal with what happens in a shop: all kinds of
// entries, good and bad.
func busy(w *World, x *Terminal, first, n int) {
	for i := range n {
		c := NewCard(first + i)
		c.Balance = 100_00
		switch i % 6 {
		case 0, 1:
			x.Redeem(c, Account+money.AccountNumber(i%10), money.Fen(100+i))
		case 2:
			in := c.InitPurchase(x, Account, 5_00)
			n := x.Add(journal.Name{}, &in)
			x.Add(n, pay(journal.Unknown))
			if i%12 == 2 {
				x.Add(n, pay(journal.NotDone))
			}
		case 3:
			in := x.InitSAMLoad(c, 10_00)
			n := x.Add(journal.Name{}, &in)
			mac2 := x.SAMGive(c, in)
			x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: mac2})
			tac, _ := c.Credit(x.ID, in, in.Stamp, mac2)
			x.Add(n, loaded(tac))
		case 4:
			in := c.InitLoad(x.ID, 10_00)
			n := x.Add(journal.Name{}, &in)
			x.Add(n, load(journal.NotDone))
			if i%12 == 4 {
				x.Add(n, &journal.CashReturned{Amount: 10_00})
			}
		case 5:
			x.Add(journal.Name{}, &journal.Unrecognised{Kind: 777})
			x.Redeem(NewCard(700000+i), Account, 1_00)
		}
	}
}

func send(t testing.TB, w *World, x *Terminal, from, to int) wire.Ack {
	t.Helper()
	a, err := w.Service.Intake(ctx, x.ID, x.Batch(from, to))
	if err != nil {
		t.Error(err)
	}
	return a
}

// until sends from where the utility says it stands until it has everything.
func until(t testing.TB, w *World, x *Terminal, cut func(left int) int) {
	t.Helper()
	at := 0
	for at < len(x.Entries) {
		at = int(send(t, w, x, at, at+cut(len(x.Entries)-at)).Through)
	}
}

// TestOrderOfBatches: sent twice, reversed, cut in half, interleaved on two
// connections, the ledger is the same to the bit.
func TestOrderOfBatches(t *testing.T) {
	const size = 16
	whole := func(left int) int { return min(left, size) }
	ways := map[string]func(w *World, x, y *Terminal){
		"once": func(w *World, x, y *Terminal) { until(t, w, x, whole); until(t, w, y, whole) },
		"the other terminal first": func(w *World, x, y *Terminal) {
			until(t, w, y, whole)
			until(t, w, x, whole)
		},
		"everything in one": func(w *World, x, y *Terminal) {
			until(t, w, x, func(left int) int { return left })
			until(t, w, y, func(left int) int { return left })
		},
		"one by one": func(w *World, x, y *Terminal) {
			until(t, w, x, func(int) int { return 1 })
			until(t, w, y, func(int) int { return 1 })
		},
		"every batch twice": func(w *World, x, y *Terminal) {
			for _, z := range []*Terminal{x, y} {
				for at := 0; at < len(z.Entries); at += size {
					to := min(len(z.Entries), at+size)
					if a, b := send(t, w, z, at, to), send(t, w, z, at, to); fmt.Sprint(a.Verdicts) != fmt.Sprint(b.Verdicts) || a.Through != b.Through {
						t.Errorf("the second acknowledgement differs: %v and %v", a, b)
					}
				}
			}
		},
		"reversed, then again": func(w *World, x, y *Terminal) {
			for range 12 {
				for _, z := range []*Terminal{x, y} {
					for at := (len(z.Entries) - 1) / size * size; at >= 0; at -= size {
						send(t, w, z, at, min(len(z.Entries), at+size))
					}
				}
			}
		},
		"cut in half and overlapping": func(w *World, x, y *Terminal) {
			for _, z := range []*Terminal{x, y} {
				for at := 0; at < len(z.Entries); at += size / 2 {
					send(t, w, z, at, min(len(z.Entries), at+size))
				}
			}
		},
		"interleaved with itself on two connections": func(w *World, x, y *Terminal) {
			var wg sync.WaitGroup
			for i := range 4 {
				z := []*Terminal{x, y}[i%2]
				wg.Go(func() { until(t, w, z, func(left int) int { return min(left, size-i) }) })
			}
			wg.Wait()
		},
	}
	hashes := map[record.Hash][]string{}
	for name, way := range ways {
		w := NewWorld(t)
		x, y := w.Terminal(1), w.Terminal(2)
		busy(w, x, 10000, 24)
		busy(w, y, 20000, 24)
		way(w, x, y)
		h, err := w.Service.LedgerHash(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hashes[h] = append(hashes[h], name)
		w.Audit()
	}
	if len(hashes) != 1 {
		t.Errorf("the ledger's hash depends on the way: %v", hashes)
	}
}

// TestAlteredBatch: one byte altered on the way, anywhere, and the batch is
// refused whole; the true one is accepted afterwards.
func TestAlteredBatch(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 4)
	good := wire.Marshal(ptr(x.Batch(0, len(x.Entries))))
	before, _ := w.Service.LedgerHash(ctx)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		bad := append([]byte(nil), good...)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		var b wire.Batch
		if wire.Unmarshal(bad, &b) != nil {
			continue
		}
		if _, err := w.Service.Intake(ctx, x.ID, b); !errors.Is(err, utility.ErrRefused) {
			t.Fatalf("altered batch: %v", err)
		}
	}
	if after, _ := w.Service.LedgerHash(ctx); after != before {
		t.Error("a refused batch changed the ledger")
	}
	w.Sync(x)
	w.Audit()
}

func ptr[T any](v T) *T { return &v }

func TestBatchOfAnother(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	x.Redeem(NewCard(10001), Account, 1_00)
	if _, err := w.Service.Intake(ctx, y.ID, x.Batch(0, 2)); !errors.Is(err, utility.ErrRefused) {
		t.Errorf("another terminal's batch: %v", err)
	}
	b := x.Batch(0, 2)
	b.Signature = b.End().Sign(y.Key)
	if _, err := w.Service.Intake(ctx, x.ID, b); !errors.Is(err, utility.ErrRefused) {
		t.Errorf("signed by another: %v", err)
	}
	if _, err := w.Service.Intake(ctx, y.ID, b); !errors.Is(err, utility.ErrRefused) {
		t.Errorf("entries in another's name under the sender's own key: %v", err)
	}
	if a, err := w.Service.Ask(ctx, x.ID, wire.Question{Name: journal.Name{Terminal: x.ID, Epoch: 1, Seq: 1}}); err != nil || a.Stored {
		t.Errorf("asked: %+v, %v", a, err)
	}
	w.Sync(x)
	if a, err := w.Service.Ask(ctx, x.ID, wire.Question{Name: journal.Name{Terminal: x.ID, Epoch: 1, Seq: 1}}); err != nil || !a.Stored || a.Held {
		t.Errorf("asked: %+v, %v", a, err)
	}
	if _, err := w.Service.Ask(ctx, y.ID, wire.Question{Name: journal.Name{Terminal: x.ID, Epoch: 1, Seq: 1}}); !errors.Is(err, utility.ErrRefused) {
		t.Errorf("asked about another's: %v", err)
	}
}

// TestGap: what leaves a gap is not stored; the answer says from where.
func TestGap(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 6)
	send(t, w, x, 0, 2)
	if a := send(t, w, x, 4, 6); a.Through != 2 || a.Hash != x.Hashes[2] {
		t.Errorf("through %d", a.Through)
	}
	until(t, w, x, func(left int) int { return left })
	w.Audit()
}

// TestEquivocation: two entries of one name, both signed. The terminal loses
// its selling right; its data is still taken.
func TestEquivocation(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 3)
	fork := *x
	fork.Entries, fork.Hashes = append([][]byte(nil), x.Entries[:2]...), append([]journal.Hash(nil), x.Hashes[:3]...)
	fork.Redeem(NewCard(10050), Account, 99_00)
	w.Sync(x)
	stored := x.Head()
	for range 2 { // kept once
		a := send(t, w, &fork, 0, len(fork.Entries))
		if a.Through != stored.Seq || a.Hash != stored.Hash || len(a.Verdicts) != len(fork.Entries) || a.Verdicts[2].Reason != wire.ReasonEquivocation {
			t.Errorf("acknowledged %+v", a)
		}
	}
	alarms, _ := w.Service.Alarms(ctx)
	if len(alarms) != 1 || alarms[0].Kind != record.AlarmEquivocation {
		t.Errorf("alarms %v", alarms)
	}
	for h, want := range map[journal.Head]wire.Standing{fork.Head(): wire.StandingForked, x.Head(): wire.StandingBlocked} {
		if a, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: h}); err != nil || a.Standing != want {
			t.Errorf("standing %d, want %d (%v)", a.Standing, want, err)
		}
	}
	if a := w.Authorise(x, x.Add(journal.Name{}, &journal.ShiftOpen{}), NewCard(10060).InitLoad(x.ID, 10_00)); a.Refused != wire.CodeTerminal {
		t.Errorf("it may still sell: %q", a.Refused)
	}
	x.Redeem(NewCard(10051), Account, 1_00)
	w.Sync(x)
	w.Enrol(x)
	if a, _ := w.Service.Hello(ctx, x.ID, wire.Hello{Head: x.Head()}); a.Standing != wire.StandingGood {
		t.Errorf("after it was enrolled again: %d", a.Standing)
	}
	w.Audit()
}

func TestStanding(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 3)
	w.Sync(x)
	behind := x.Head()
	behind.Seq, behind.Hash = 2, x.Hashes[2]
	ahead := *x
	ahead.Redeem(NewCard(10050), Account, 1_00)
	for h, want := range map[journal.Head]wire.Standing{
		x.Head(): wire.StandingGood, behind: wire.StandingBehind, ahead.Head(): wire.StandingGood,
		{Terminal: x.ID, Epoch: 9, Hash: journal.Genesis(x.ID, 9)}: wire.StandingReenrol,
		{Terminal: x.ID, Epoch: 1, Seq: 2}:                         wire.StandingForked,
	} {
		if a, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: h}); err != nil || a.Standing != want {
			t.Errorf("head %d of epoch %d: standing %d, want %d (%v)", h.Seq, h.Epoch, a.Standing, want, err)
		}
	}
}

func TestSections(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	have := map[wire.SectionKind]uint64{}
	hello := func() map[wire.SectionKind]wire.Section {
		t.Helper()
		h := wire.Hello{Head: x.Head()}
		for k, v := range have {
			h.Have = append(h.Have, wire.SectionVersion{Kind: k, Version: v})
		}
		a, err := w.Service.Hello(ctx, x.ID, h)
		if err != nil {
			t.Fatal(err)
		}
		out := map[wire.SectionKind]wire.Section{}
		for _, b := range a.Sections {
			var s wire.Section
			if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
				t.Fatal(err)
			}
			if s.Version <= have[s.Kind] {
				t.Errorf("section %d: version %d after %d", s.Kind, s.Version, have[s.Kind])
			}
			out[s.Kind], have[s.Kind] = s, s.Version
		}
		return out
	}
	first := hello()
	if len(first) != 5 || first[wire.SectionLimits].Limits != wire.DefaultLimits() || len(first[wire.SectionRanges].Ranges) != 1 || len(first[wire.SectionAccounts].Accounts) != 10 {
		t.Fatalf("first: %+v", first)
	}
	if again := hello(); len(again) != 0 {
		t.Errorf("nothing changed, yet %d sections came", len(again))
	}
	w.Service.BlockCard(ctx, CardNumber(7))
	limits := wire.DefaultLimits()
	limits.TopUpMin = 1
	w.Service.SetLimits(ctx, x.ID, limits)
	w.Service.Bill(ctx, Account, 88_00, "March")
	c := NewCard(10001)
	in := c.InitPurchase(x, Account, 10_00)
	n := x.Add(journal.Name{}, &in)
	x.Add(n, pay(journal.Unknown))
	w.Sync(x)
	w.Time = w.Time.Add(2 * 60e9)
	s := hello()
	if !s[wire.SectionHotlist].Hotlist.Has(CardNumber(7)) || s[wire.SectionLimits].Limits.TopUpMin != 1 || s[wire.SectionAccounts].Accounts[0].Balance != -88_00 {
		t.Errorf("changed: %+v", s)
	}
	if items := s[wire.SectionItems].Items; len(items) != 1 || items[0] != (wire.Item{Name: n, Card: c.Number, TxType: in.TxType, Counter: in.Counter, Amount: 10_00}) {
		t.Errorf("open items %+v", items)
	}
	a, err := w.Service.Account(ctx, x.ID, wire.AccountQuestion{Account: Account})
	if err != nil || a.Bill.Balance != -88_00 || a.Bill.Owner != "Z**" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, _ := w.Service.Account(ctx, x.ID, wire.AccountQuestion{Account: Unknown}); a.Refused != wire.CodeUnknownAccount {
		t.Errorf("%+v", a)
	}
	for range 100 {
		a, _ = w.Service.Account(ctx, x.ID, wire.AccountQuestion{Account: Unknown})
	}
	if a.Refused != wire.CodeRate {
		t.Errorf("after a hundred questions: %+v", a)
	}
}

// TestStoredNotPosted: a crash between storing and posting is made good at
// the next start.
func TestStoredNotPosted(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 12)
	tail, _ := w.Store.Tail(ctx)
	b := x.Batch(0, len(x.Entries))
	l := record.Line{ID: tail.ID + 1, At: w.Time.UnixMilli(), Kind: record.KindEntries, Body: wire.Marshal(&b)}
	l.Hash = record.Link(tail.Hash, l)
	if err := w.Store.Append(ctx, []record.Line{l}); err != nil {
		t.Fatal(err)
	}
	if r := w.Audit(); r.Pending != 1 { // the books are right as far as they are made
		t.Errorf("%d lines wait to be posted", r.Pending)
	}
	w.Open()
	got, _ := w.Service.LedgerHash(ctx)
	w.Sync(x) // sent again: nothing changes
	again, _ := w.Service.LedgerHash(ctx)
	if r := w.Audit(); r.Pending != 0 {
		t.Errorf("%d lines still wait", r.Pending)
	}

	v := NewWorld(t)
	y := v.Terminal(1)
	busy(v, y, 10000, 12)
	v.Sync(y)
	want, _ := v.Service.LedgerHash(ctx)
	if got != want || again != want {
		t.Error("the ledger differs after a crash between storing and posting")
	}
}

// TestAllowance: a load SAM's allowance counts against the room until loads
// are posted; ceilings are lifetime totals.
func TestAllowance(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	room := func(want money.Fen) {
		t.Helper()
		if r, err := w.Service.ShopRoom(ctx, Shop); err != nil || r.Room != want {
			t.Errorf("room %+v, want %s (%v)", r, want, err)
		}
	}
	installed := suite.Allowance{}
	issue := func(ch byte) wire.AllowanceAnswer {
		t.Helper()
		c := [8]byte{ch}
		a, err := w.Service.IssueAllowance(ctx, x.ID, wire.AllowanceRequest{SAM: x.LoadSAM, Challenge: c, State: x.State(c, installed)})
		if err != nil {
			t.Fatal(err)
		}
		if a.Refused == wire.OK {
			key, _ := suite.AllowanceKey(suite.DES3{}, suite.TestMasters().Allowance, x.LoadSAM)
			al := suite.Allowance{Sequence: a.Sequence, CeilingAmount: a.CeilingAmount, CeilingCount: a.CeilingCount}
			if mac, _ := al.MAC(suite.DES3{}, key, c, x.LoadSAM); mac != a.MAC {
				t.Error("the SAM would refuse the allowance")
			}
			installed = al
		}
		return a
	}
	if a := issue(1); a.Refused != wire.CodeLimit {
		t.Errorf("without a policy: %+v", a)
	}
	w.Service.SetAllowancePolicy(ctx, x.ID, 300_00, 10)
	first := issue(1)
	if first.CeilingAmount != 300_00 || first.CeilingCount != 10 || first.Sequence != 1 {
		t.Fatalf("%+v", first)
	}
	room(700_00)
	if again := issue(1); again != first {
		t.Errorf("the same challenge: %+v", again)
	}
	room(700_00)

	samLoad := func(c *Card, a money.Fen) (journal.Name, journal.LoadIntent, suite.MAC) {
		in := x.InitSAMLoad(c, a)
		n := x.Add(journal.Name{}, &in)
		return n, in, x.SAMGive(c, in)
	}
	// Done.
	c := NewCard(10001)
	n, in, mac2 := samLoad(c, 100_00)
	x.Add(n, &journal.LoadAuthorised{Stamp: in.Stamp, MAC2: mac2})
	tac, _ := c.Credit(x.ID, in, in.Stamp, mac2)
	x.Add(n, loaded(tac))
	// Not done though the SAM gave, cash returned: a guard within the allowance.
	d := NewCard(10002)
	n2, in2, mac := samLoad(d, 50_00)
	x.Add(n2, &journal.LoadAuthorised{Stamp: in2.Stamp, MAC2: mac})
	x.Add(n2, &journal.LoadOutcome{Result: journal.NotDone, SAMGave: true, After: journal.NoBalance})
	x.Add(n2, &journal.CashReturned{Amount: 50_00})
	x.Add(journal.Name{}, &journal.SAMReport{SAM: x.LoadSAM, State: x.State([8]byte{7}, installed)})
	w.Sync(x)
	checkHeld(t, w, nil)
	if al, _ := w.Service.Alarms(ctx); len(al) != 0 {
		t.Errorf("alarms %v", al)
	}
	check(t, w, balances{"shop": -100_00, cardAcc(c): 100_00, "claim": 0}, d, n2)
	room(700_00) // 1000 − 100 paid − 200 outstanding

	// The same counter proven by another load: the guard is released.
	n3, in3, mac3 := samLoad(d, 20_00)
	x.Add(n3, &journal.LoadAuthorised{Stamp: in3.Stamp, MAC2: mac3})
	tac, _ = d.Credit(x.ID, in3, in3.Stamp, mac3)
	x.Add(n3, loaded(tac))
	w.Sync(x)
	room(750_00) // 1000 − 120 − (300 − 120 − 50)

	// More: totals 170 reported, policy 300.
	second := issue(2)
	if second.Sequence != 2 || second.CeilingAmount != 470_00 || second.CeilingCount != 13 {
		t.Errorf("%+v", second)
	}
	room(580_00) // 1000 − 120 − (470 − 120 − 50)

	// A SAM that gave what the journal does not show.
	x.Total += 5_00
	x.Count++
	x.Add(journal.Name{}, &journal.SAMReport{SAM: x.LoadSAM, State: x.State([8]byte{8}, installed)})
	state := x.State([8]byte{9}, installed)
	state[20] ^= 1
	x.Add(journal.Name{}, &journal.SAMReport{SAM: x.LoadSAM, State: state})
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldBadState})
	al, _ := w.Service.Alarms(ctx)
	if len(al) != 2 || al[0].Kind != record.AlarmSAMTotal {
		t.Errorf("alarms %v", al)
	}

	// No more than the room.
	w.Service.PayFloat(ctx, Shop, -560_00, "out")
	room(20_00)
	w.Service.SetAllowancePolicy(ctx, x.ID, 1000_00, 100)
	if a := issue(3); a.CeilingAmount != 490_00 {
		t.Errorf("%+v", a)
	}
	room(0)
	// Another's SAM, another's state.
	y := w.Terminal(2)
	if a, _ := w.Service.IssueAllowance(ctx, y.ID, wire.AllowanceRequest{SAM: x.LoadSAM, State: x.State([8]byte{}, installed)}); a.Refused != wire.CodeSAM {
		t.Errorf("%+v", a)
	}
	if a, _ := w.Service.IssueAllowance(ctx, y.ID, wire.AllowanceRequest{SAM: y.LoadSAM, State: x.State([8]byte{}, installed)}); a.Refused != wire.CodeBadMAC {
		t.Errorf("%+v", a)
	}
	w.Audit()
}

// TestGarbledEntries: whatever bytes a terminal signs as entries, they are
// stored; what can't be read or accepted is in quarantine, what follows is
// posted, and posting side and audit judge alike. (The decoder itself is
// fuzzed where it lives; a fuzzer that instruments the database is too slow.)
func TestGarbledEntries(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	busy(w, x, 10000, 12)
	good := append([][]byte(nil), x.Entries...)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 600 {
		b := append([]byte(nil), good[r.IntN(len(good))]...)
		n := x.Next() // in its place in the chain, garbled only behind its name
		copy(b[4:], binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(n.Terminal[:], n.Epoch), n.Seq))
		for range r.IntN(3) {
			b[22+r.IntN(len(b)-22)] ^= 1 << r.IntN(8)
		}
		if i%20 == 0 {
			b = b[:r.IntN(len(b))]
		}
		x.AddBytes(b)
	}
	before := w.Balance(custAcc)
	c := NewCard(10500)
	x.Redeem(c, Account+9, 7_00)
	w.Sync(x)
	if got := w.Balance("customer/1000000010"); got < 7_00 || before != 0 {
		t.Errorf("the entries after them were not posted: %s", got)
	}
	w.Audit()
}
