package terminal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dianka/dianka/internal/terminalaudit"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/wire"
)

// tearing pulls the card at its n-th command.
type tearing struct {
	virtual.Chip
	card *simcard.Card
	at   int // the command at which it leaves; 0 never
	how  string
	n    int
}

func (c *tearing) Transmit(cmd []byte) ([]byte, error) {
	c.n++
	if c.n != c.at {
		return c.Chip.Transmit(cmd)
	}
	switch c.how {
	case "before":
		return nil, virtual.ErrGone
	case "after":
		if _, err := c.Chip.Transmit(cmd); err != nil {
			return nil, err
		}
		return nil, virtual.ErrGone
	}
	var writes int
	if _, err := fmt.Sscanf(c.how, "write %d", &writes); err != nil {
		return nil, err
	}
	c.card.TearAfter(writes)
	b, err := c.Chip.Transmit(cmd)
	c.card.TearAfter(0)
	if errors.Is(err, simcard.ErrTorn) {
		return nil, virtual.ErrGone
	}
	return b, err
}

// operations are the value-moving exchanges that are torn everywhere. Each
// gives its receipt, or a refusal when it never began.
var operations = []struct {
	name  string
	ready func(*world)
	do    func(*world, money.CardNumber) (Receipt, error)
	delta money.Fen
}{
	{"redemption", func(*world) {}, func(w *world, n money.CardNumber) (Receipt, error) { return w.redeem(n, 20_00) }, -20_00},
	{"top-up on line", func(*world) {}, func(w *world, n money.CardNumber) (Receipt, error) { return w.topUp(n, 30_00) }, 30_00},
	{"top-up off line", func(w *world) {
		if err := w.term.Maintain(w.ctx); err != nil {
			w.Fatal(err)
		}
		w.host.online = false
	}, func(w *world, n money.CardNumber) (Receipt, error) { return w.topUp(n, 30_00) }, 30_00},
}

// TestCardPulledEverywhere pulls the card before, in the middle of and after
// every command of every operation, shows it again, and requires that
// nothing is left unknown, that the card holds what the record says, and that
// the slip which the customer got was not contradicted.
func TestCardPulledEverywhere(t *testing.T) {
	all := []string{"before", "write 1", "write 2", "write 3", "write 5", "after"}
	for _, m := range []struct {
		name  string
		card  func(testing.TB, money.CardNumber) *simcard.Card
		hows  []string
		backs []string
	}{
		{"", newCard, all, []string{"same", "restart"}},
		{", another make", otherMake, []string{"before", "write 1", "write 2", "after"}, []string{"same"}},
	} {
		pulledEverywhere(t, m.name, m.card, m.hows, m.backs)
	}
}

func pulledEverywhere(t *testing.T, name string, issue func(testing.TB, money.CardNumber) *simcard.Card, hows, backs []string) {
	for _, op := range operations {
		t.Run(op.name+name, func(t *testing.T) {
			commands := 0
			{
				w := newWorld(t)
				w.shift()
				n := mustCard(t, "1001")
				card := w.fill(issue(t, n), n, 100_00)
				op.ready(w)
				c := &tearing{Chip: card, card: card}
				w.slot.Insert(c)
				w.term.openCard(w.ctx)
				c.n = 0
				if rc, err := op.do(w, n); err != nil || rc.Result != journal.Done {
					t.Fatalf("untorn: %v %v", err, rc.Result)
				}
				commands = c.n
			}
			if commands < 3 {
				t.Fatalf("only %d commands were counted", commands)
			}
			outcomes := map[string]int{}
			for at := 1; at <= commands; at++ {
				for _, how := range hows {
					for _, back := range backs {
						o := tearOnce(t, issue, op.do, op.ready, op.delta, at, how, back)
						outcomes[o]++
					}
				}
			}
			t.Logf("%d commands; %v", commands, outcomes)
			if outcomes["unknown, then done"] == 0 || outcomes["unknown, then not done"] == 0 {
				t.Error("no tear made an unknown outcome of both kinds: nothing was proved")
			}
		})
	}
}

func tearOnce(t *testing.T, issue func(testing.TB, money.CardNumber) *simcard.Card, do func(*world, money.CardNumber) (Receipt, error), ready func(*world), delta money.Fen, at int, how, back string) string {
	t.Helper()
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.fill(issue(t, n), n, 100_00)
	ready(w)
	c := &tearing{Chip: card, card: card}
	w.slot.Insert(c)
	w.term.openCard(w.ctx)
	c.n, c.at, c.how = 0, at, how
	rc, err := do(w, n)
	slip := rc.Result
	c.at = 0

	w.slot.Remove()
	if back == "restart" {
		w.restart()
	}
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if v := w.term.Status().Card; v.State != CardReady {
		t.Fatalf("%d %s %s: the card came back and is %+v", at, how, back, v)
	}
	open, oerr := w.st.OpenTransactions()
	if oerr != nil || len(open) != 0 {
		t.Fatalf("%d %s %s: %d transactions are still unknown (%v)", at, how, back, len(open), oerr)
	}
	holds := w.term.Status().Card.Balance
	var refusal *Refusal
	if errors.As(err, &refusal) {
		if holds != 100_00 {
			t.Fatalf("%d %s %s: refused with %s, but the card holds %s", at, how, back, refusal.Code, holds)
		}
		return "refused"
	}
	if err != nil {
		t.Fatalf("%d %s %s: %v", at, how, back, err)
	}
	final, err := w.term.Transaction(rc.Name)
	if err != nil {
		t.Fatal(err)
	}
	want := money.Fen(100_00)
	if final.Result == journal.Done {
		want += delta
	}
	if holds != want {
		t.Fatalf("%d %s %s: the record says %v, the card holds %s", at, how, back, final.Result, holds)
	}
	if slip != journal.Unknown && slip != final.Result {
		t.Fatalf("%d %s %s: the slip said %v, the record says %v", at, how, back, slip, final.Result)
	}
	word := map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done"}[final.Result]
	if slip == journal.Unknown {
		return "unknown, then " + word
	}
	return word
}

// TestOtherCardComesBack keeps a torn transaction unknown, by name, while
// another card is served.
func TestOtherCardComesBack(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	c := &tearing{Chip: card, card: card}
	w.slot.Insert(c)
	w.term.openCard(w.ctx)
	c.how, c.at = "after", c.n+3 // balance, INITIALIZE, DEBIT
	rc, err := w.redeem(n, 20_00)
	if err != nil || rc.Result != journal.Unknown {
		t.Fatalf("%v %v", err, rc.Result)
	}
	other := mustCard(t, "1002")
	w.loaded(other, 50_00)
	if _, err := w.redeem(other, 10_00); err != nil {
		t.Fatal(err)
	}
	if s := w.term.Status(); s.Open != 1 {
		t.Fatalf("%d unknown", s.Open)
	}
	w.slot.Insert(card)
	w.term.openCard(w.ctx)
	if v := w.term.Status().Card; len(v.Settled) != 1 || v.Settled[0] != rc.Name {
		t.Fatalf("settled %v", v.Settled)
	}
	if got, _ := w.term.Transaction(rc.Name); got.Result != journal.Done || got.Evidence != journal.EvidenceProof {
		t.Fatalf("%v by %v", got.Result, got.Evidence)
	}
}

// TestToldHowItEnded: what is unknown here, because the card left and went to
// another terminal, the utility tells when the terminal asks, unless it speaks
// of another entry of that name.
func TestToldHowItEnded(t *testing.T) {
	for _, ended := range []journal.Result{journal.Done, journal.NotDone} {
		for _, op := range operations {
			t.Run(fmt.Sprint(op.name, ", ", ended), func(t *testing.T) {
				w := newWorld(t)
				w.shift()
				n := mustCard(t, "1001")
				card := w.loaded(n, 100_00)
				op.ready(w)
				w.slot.Insert(&lastWord{Chip: card})
				w.term.openCard(w.ctx)
				rc, err := op.do(w, n)
				if err != nil || rc.Result != journal.Unknown {
					t.Fatalf("%v, %v", rc.Result, err)
				}
				w.slot.Remove()
				hash, _, err := w.st.EntriesOf(rc.Name.Epoch, rc.Name.Seq+1, 1, 1)
				if err != nil {
					t.Fatal(err)
				}
				maintain := func(a wire.QuestionAnswer, online bool, want journal.Result) {
					t.Helper()
					w.host.ends, w.host.online = a, online
					w.term.inquiredAt = w.term.inquiredAt.Add(-MaintainEvery)
					if err := w.term.Maintain(w.ctx); err != nil {
						t.Fatal(err)
					}
					if tx, err := w.term.Transaction(rc.Name); err != nil || tx.Result != want {
						t.Fatalf("%v, %v; want %v", tx.Result, err, want)
					}
				}
				other := hash
				other[0]++
				maintain(wire.QuestionAnswer{Ended: ended, Hash: hash}, false, journal.Unknown)
				maintain(wire.QuestionAnswer{Hash: hash}, true, journal.Unknown)
				maintain(wire.QuestionAnswer{Ended: ended, Hash: other}, true, journal.Unknown)
				maintain(wire.QuestionAnswer{Ended: ended, Hash: hash, Held: true, Reason: "mismatch"}, true, journal.Unknown)
				w.host.ends = wire.QuestionAnswer{Ended: ended, Hash: hash}
				if err := w.term.Maintain(w.ctx); err != nil { // too soon after the question before
					t.Fatal(err)
				}
				if tx, err := w.term.Transaction(rc.Name); err != nil || tx.Result != journal.Unknown {
					t.Fatalf("asked at once again: %v, %v", tx.Result, err)
				}
				maintain(wire.QuestionAnswer{Ended: ended, Hash: hash}, true, ended)
				before := w.wrote(journal.TypeLoadOutcome) + w.wrote(journal.TypePurchaseOutcome)
				maintain(wire.QuestionAnswer{Ended: ended, Hash: hash}, true, ended)
				if got := w.wrote(journal.TypeLoadOutcome) + w.wrote(journal.TypePurchaseOutcome); got != before {
					t.Errorf("told once more: %d outcomes, then %d", before, got)
				}
				if tx, err := w.term.Transaction(rc.Name); err != nil || tx.Evidence != journal.EvidenceUtility {
					t.Errorf("%+v, %v", tx, err)
				}
				if open, err := w.st.OpenTransactions(); err != nil || len(open) != 0 {
					t.Errorf("still open: %v, %v", open, err)
				}
				if _, err := terminalaudit.Run(w.ctx, w.st); err != nil {
					t.Errorf("audit: %v", err)
				}
			})
		}
	}
}

// TestToldNotDoneIsLookedAt: of a cloned card the other chip was proven at the
// same step, so that the utility called this chip's movement not done. When
// this chip comes back its own proof goes up, once.
func TestToldNotDoneIsLookedAt(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := mustCard(t, "1001")
			card := w.loaded(n, 100_00)
			op.ready(w)
			w.slot.Insert(&lastWord{Chip: card, acts: true})
			w.term.openCard(w.ctx)
			rc, err := op.do(w, n)
			if err != nil || rc.Result != journal.Unknown {
				t.Fatalf("%v, %v", rc.Result, err)
			}
			w.slot.Remove()
			hash, _, err := w.st.EntriesOf(rc.Name.Epoch, rc.Name.Seq+1, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			w.host.ends, w.host.online = wire.QuestionAnswer{Ended: journal.NotDone, Hash: hash}, true
			if err := w.term.Maintain(w.ctx); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.slot.Insert(card)
				w.term.openCard(w.ctx)
				w.slot.Remove()
			}
			var seen []*journal.Observation
			for _, e := range w.entries() {
				if o, ok := e.Body.(*journal.Observation); ok {
					seen = append(seen, o)
				}
			}
			if len(seen) != 1 || seen[0].Item != rc.Name || !seen[0].HasTAC {
				t.Errorf("the card's word about %s went up as %+v", rc.Name, seen)
			}
		})
	}
}

// lastWord is mute from the command on that moves value, which it carries out
// or not.
type lastWord struct {
	virtual.Chip
	acts, mute bool
}

func (c *lastWord) Transmit(cmd []byte) ([]byte, error) {
	if !c.mute && len(cmd) > 1 && cmd[0] == 0x80 && (cmd[1] == 0x52 || cmd[1] == 0x54) {
		if c.mute = true; c.acts {
			if _, err := c.Chip.Transmit(cmd); err != nil {
				return nil, err
			}
		}
	}
	if c.mute {
		return nil, virtual.ErrGone
	}
	return c.Chip.Transmit(cmd)
}
