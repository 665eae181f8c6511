package utility_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/audit"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	. "github.com/dianka/dianka/utility/utilitytest"
)

func alarms(t *testing.T, w *World, kind string) (out []storage.Alarm) {
	t.Helper()
	list, err := w.Service.Alarms(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

// TestRecordsMissing: payments that the PSAM made and its terminal never sent.
// The journal verifies: whoever put yesterday's disk back before the link came
// up has a chain that the utility has never seen another of.
func TestRecordsMissing(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *World, x *Terminal)
		want string // "" for no alarm
	}{
		{"none", func(w *World, x *Terminal) {}, ""},
		{"one", func(w *World, x *Terminal) { x.Skip(1) }, "1 payments between sequence 1 and 3"},
		{"one that a start explains", func(w *World, x *Terminal) { x.Skip(1); x.Starts(1) }, ""},
		{"forty, and two starts", func(w *World, x *Terminal) { x.Skip(40); x.Starts(2) }, "38 payments between sequence 1 and 42"},
		{"in the next batch", func(w *World, x *Terminal) { w.Sync(x); x.Skip(5); x.Starts(1); w.Sync(x) }, "4 payments"},
		{"over a restart of the utility", func(w *World, x *Terminal) { x.Starts(1); w.Sync(x); w.Open(); x.Skip(3) }, "2 payments"},
		{"in a new epoch", func(w *World, x *Terminal) { w.Sync(x); x.Skip(7); w.Enrol(x); x.Starts(1) }, "6 payments"},
		{"starts of both epochs explain two", func(w *World, x *Terminal) { x.Starts(1); w.Sync(x); x.Skip(2); w.Enrol(x); x.Starts(1) }, ""},
		{"lost answers that were told", func(w *World, x *Terminal) {
			x.Skip(2)
			for range 2 {
				x.Add(journal.Name{}, &journal.PSAMSequence{PSAM: x.PSAM, Why: journal.SequenceLost})
			}
		}, ""},
		{"an unused one that was told", func(w *World, x *Terminal) {
			x.Skip(1)
			x.Add(journal.Name{}, &journal.PSAMSequence{PSAM: x.PSAM, Why: journal.SequenceUnused, Seq: 2})
		}, ""},
		{"told by the terminal itself", func(w *World, x *Terminal) {
			x.Skip(10)
			x.Add(journal.Name{}, &journal.PSAMSequence{PSAM: x.PSAM, Why: journal.SequenceAhead, Seq: 11, Last: 1, Most: 2})
			w.Sync(x)
			w.Enrol(x)
		}, "9 payments between sequence 1 and 11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := NewWorld(t)
			x := w.Terminal(1)
			card := NewCard(10001)
			x.Redeem(card, Account, 1_00)
			c.do(w, x)
			last := x.Redeem(card, Account, 1_00)
			w.Sync(x)
			got := alarms(t, w, record.AlarmMissing)
			if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].Detail, c.want) || !strings.Contains(got[0].Detail, x.PSAM.String())) {
				t.Errorf("alarms %+v, want %q", got, c.want)
			}
			if c.name != "told by the terminal itself" && c.want != "" && got[0].Name != last {
				t.Errorf("the alarm is of %s, the payment is %s", got[0].Name, last)
			}
			// What was sent counts all the same.
			if v := w.Balance("customer/" + Account.String()); v != 2_00 {
				t.Errorf("the customer paid 2.00, credited are %s", v)
			}
			checkHeld(t, w, nil)
			w.Audit()
		})
	}
}

// TestSequenceRepeats: a number that a card has proven, or one before it, is
// another's and goes to quarantine.
func TestSequenceRepeats(t *testing.T) {
	for _, c := range []struct {
		name    string
		seq     uint32 // of the last payment, after three
		between func(w *World, x *Terminal)
		held    bool
	}{
		{"the next", 4, nil, false},
		{"the last again", 3, nil, true},
		{"the first again", 1, nil, true},
		{"in another batch", 3, func(w *World, x *Terminal) { w.Sync(x) }, true},
		{"over a restart of the utility", 2, func(w *World, x *Terminal) { w.Sync(x); w.Open() }, true},
		{"in another epoch", 3, func(w *World, x *Terminal) { w.Sync(x); w.Enrol(x) }, true},
		{"the next in another epoch", 4, func(w *World, x *Terminal) { w.Sync(x); w.Enrol(x) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := NewWorld(t)
			x := w.Terminal(1)
			card := NewCard(10001)
			for range 3 {
				x.Redeem(card, Account, 1_00)
			}
			if c.between != nil {
				c.between(w, x)
			}
			in := card.InitPurchase(x, Account, 1_00)
			in.PSAMSeq = c.seq
			tac, mac2 := card.Debit(x.ID, in)
			n := x.Add(journal.Name{}, &in)
			x.Add(n, doneWith(tac, mac2, journal.EvidenceAnswer))
			w.Sync(x)
			got := alarms(t, w, record.AlarmPSAM)
			if c.held {
				checkHeld(t, w, []string{record.HeldPSAMSeq, record.HeldIntent})
				if len(got) != 1 || got[0].Name != n || !strings.Contains(got[0].Detail, fmt.Sprintf("sequence %d after 3", c.seq)) {
					t.Errorf("alarms %+v", got)
				}
			} else {
				checkHeld(t, w, nil)
				if len(got) != 0 {
					t.Errorf("alarms %+v", got)
				}
			}
			w.Audit()
		})
	}
}

// TestOneWrongNumber: a number that no card proved shuts out nothing after it,
// and the same number once more after a payment that was not done is honest.
func TestOneWrongNumber(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	x.Redeem(card, Account, 1_00)
	in := card.InitPurchase(x, Account, 1_00)
	in.PSAMSeq = 1 << 31
	x.Add(x.Add(journal.Name{}, &in), pay(journal.NotDone))
	x.Redeem(card, Account, 1_00) // 3
	late := card.InitPurchase(x, Account, 1_00)
	x.Add(x.Add(journal.Name{}, &late), pay(journal.NotDone)) // 4
	again := card.InitPurchase(x, Account, 1_00)
	again.PSAMSeq = late.PSAMSeq
	tac, mac2 := card.Debit(x.ID, again)
	x.Add(x.Add(journal.Name{}, &again), doneWith(tac, mac2, journal.EvidenceAnswer))
	w.Sync(x)
	checkHeld(t, w, nil)
	if got := w.Balance("customer/" + Account.String()); got != 3_00 {
		t.Errorf("credited %s", got)
	}
	if m, p := alarms(t, w, record.AlarmMissing), alarms(t, w, record.AlarmPSAM); len(m) != 1 || len(p) != 1 {
		t.Errorf("alarms %+v %+v", m, p)
	}
	w.Audit()
}

// TestAnothersPSAM: a terminal that names another's PSAM does not touch that
// one's book.
func TestAnothersPSAM(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	card := NewCard(10001)
	y.PSAM = x.PSAM
	y.Skip(1 << 20)
	y.Redeem(card, Account, 1_00)
	y.Add(journal.Name{}, &journal.PSAMSequence{PSAM: x.PSAM, Why: journal.SequenceUnused, Seq: 1 << 21})
	w.Sync(y)
	x.Redeem(NewCard(10002), Account, 1_00)
	w.Sync(x)
	checkHeld(t, w, []string{record.HeldPSAM, record.HeldIntent, record.HeldPSAM})
	if got := w.Balance("customer/" + Account.String()); got != 1_00 {
		t.Errorf("credited %s", got)
	}
	w.Audit()
}

// TestBooksAreAudited: a PSAM's book that is not what the records say is found.
func TestBooksAreAudited(t *testing.T) {
	for _, change := range []string{
		"UPDATE psam SET seq = seq + 1", "UPDATE psam SET proven = proven - 1", "UPDATE psam SET slack = 7", "DELETE FROM psam",
		"INSERT INTO psam SELECT terminal, epoch + 1, psam, seq, proven, slack FROM psam",
	} {
		w := NewWorld(t)
		x := w.Terminal(1)
		x.Redeem(NewCard(10001), Account, 1_00)
		x.Starts(1)
		w.Sync(x)
		w.Audit()
		alter(t, w, change)
		if _, err := audit.Run(ctx, w.Store, w.Vault, profiles.Builtin()); err == nil {
			t.Errorf("%s: the audit is clean", change)
		}
	}
}

// TestVersion1: a database without the books, or without the decisions of the
// counter, is made anew from its log.
func TestVersion1(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	x.Starts(2)
	w.TopUp(x, card, 50_00)
	x.Redeem(card, Account, 1_00)
	x.Redeem(card, Unknown, 1_00)
	w.Sync(x)
	before, err := w.Service.LedgerHash(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{
		"DROP TABLE psam; DROP INDEX log_counter; PRAGMA user_version = 1",
		"DROP INDEX log_counter; PRAGMA user_version = 2",
	} {
		alter(t, w, old)
		if _, err := w.Service.Terminals(ctx); err != nil { // whatever is asked of it
			t.Fatal(err)
		}
		after, err := w.Service.LedgerHash(ctx)
		if err != nil || after != before {
			t.Errorf("made anew it is another ledger: %s was %s, %v", after, before, err)
		}
		w.Audit()
	}
}

// TestClone: two chips of one number and one set of keys, each at a terminal of
// its own without a link. When both have sent what they have, a person is told
// which card, which entries and which terminals, and nobody else's money moved.
func TestClone(t *testing.T) {
	for _, first := range []int{0, 1} {
		w := NewWorld(t)
		x, y := w.Terminal(1), w.Terminal(2)
		card := NewCard(10001)
		w.TopUp(x, card, 100_00)
		w.Sync(x)
		room := roomOf(t, w)
		twin := card.Clone()
		entries := []journal.Name{x.Redeem(card, Account, 10_00), y.Redeem(twin, Account+1, 30_00)}
		order := []*Terminal{x, y}
		w.Sync(order[first])
		if got := alarms(t, w, record.AlarmClone); len(got) != 0 {
			t.Fatalf("one chip alone: %+v", got)
		}
		w.Sync(order[1-first])
		got := alarms(t, w, record.AlarmClone)
		if len(got) != 1 {
			t.Fatalf("alarms %+v", got)
		}
		for what, part := range map[string]string{
			"card": card.Number.String(), "one entry": entries[0].String(), "the other": entries[1].String(),
			"one terminal": x.ID.String(), "the other terminal": y.ID.String(),
		} {
			if !strings.Contains(got[0].Detail, part) {
				t.Errorf("the alarm does not name the %s: %q", what, got[0].Detail)
			}
		}
		checkHeld(t, w, []string{record.HeldTwice})
		// The one that came first stands, the other waits for a person: nobody
		// was debited for it, neither the shop nor a customer nor the card.
		paid := []money.Fen{10_00, 30_00}
		for i := range 2 {
			want := money.Fen(0)
			if i == first {
				want = paid[i]
			}
			if v := w.Balance("customer/" + (Account + money.AccountNumber(i)).String()); v != want {
				t.Errorf("customer %d has %s, want %s", i, v, want)
			}
		}
		if v := w.Balance(cardAcc(card)); v != 100_00-paid[first] {
			t.Errorf("the card's account is %s", v)
		}
		if now := roomOf(t, w); now != room {
			t.Errorf("the shop's room was %s, is %s", room, now)
		}
		// An honest card and an honest counter go on at both.
		other := NewCard(10002)
		x.Redeem(other, Account+2, 1_00)
		y.Redeem(other, Account+2, 1_00)
		w.Sync(x)
		w.Sync(y)
		if v := w.Balance("customer/" + (Account + 2).String()); v != 2_00 {
			t.Errorf("another card paid 2.00, credited %s", v)
		}
		w.Audit()
	}
}

// TestMissingRecords: gaps of every card, and none where there is none.
func TestMissingRecords(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	a, b := NewCard(10001), NewCard(10002)
	w.TopUp(x, a, 100_00) // load 1
	x.Redeem(a, Account, 1_00)
	a.Offline += 3 // 2 to 4 were never sent
	x.Redeem(a, Account, 1_00)
	a.Online += 2 // loads 2 and 3
	w.TopUp(x, a, 100_00)
	a.Offline++ // 6
	x.Redeem(a, Account, 1_00)
	for range 3 {
		x.Redeem(b, Account, 1_00)
	}
	// A terminal saw this one at step 4 and says that nothing came of it.
	denied := NewCard(10003)
	denied.Offline = 4
	in := denied.InitPurchase(x, Account, 1_00)
	x.Add(x.Add(journal.Name{}, &in), pay(journal.NotDone))
	denied.Offline += 3
	x.Redeem(denied, Account, 1_00)
	// This one really was only looked at; and that one came with its counter.
	seen, old := NewCard(10004), NewCard(10005)
	in = seen.InitPurchase(x, Account, 1_00)
	x.Add(x.Add(journal.Name{}, &in), pay(journal.NotDone))
	x.Redeem(seen, Account, 1_00)
	old.Offline = 77
	x.Redeem(old, Account, 1_00)
	w.Sync(x)
	got, err := w.Service.MissingRecords(ctx)
	want := []utility.Missing{{Card: a.Number, From: 2, Through: 4}, {Card: a.Number, From: 6, Through: 6}, {Card: a.Number, Load: true, From: 2, Through: 3}, {Card: denied.Number, From: 4, Through: 6}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// TestStaffActs: what terminals signed of their staff, and nothing else of
// what they signed.
func TestStaffActs(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	x.Starts(1)
	n := x.Add(journal.Name{}, &journal.Staff{Act: journal.ActLoginFailed, Staff: 4711, Count: 8})
	x.Redeem(NewCard(10001), Account, 1_00)
	y.Add(journal.Name{}, &journal.Staff{Act: journal.ActAgree, Staff: 8, Count: 1})
	w.Sync(x)
	w.Sync(y)
	checkHeld(t, w, nil)
	list := func(id money.TerminalID) (out []journal.Entry) {
		t.Helper()
		if err := w.Service.StaffActs(context.Background(), id, func(e journal.Entry) error { out = append(out, e); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := list(x.ID); len(got) != 1 || got[0].Name != n || got[0].Body.(*journal.Staff).Staff != 4711 {
		t.Errorf("%+v", got)
	}
	if got := list(money.TerminalID{}); len(got) != 2 || got[1].Name.Terminal != y.ID {
		t.Errorf("%+v", got)
	}
	w.Audit()
}

// alter changes the closed database as an intruder does, and opens it again.
func alter(t *testing.T, w *World, statements string) {
	t.Helper()
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	w.Store = nil
	db, err := sql.Open("sqlite", "file:"+w.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.Open()
}
