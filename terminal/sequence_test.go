package terminal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
)

// down stops the daemon and up starts it again.
func (w *world) down() {
	w.Helper()
	w.term.closeAll()
	if err := w.st.Close(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) path() string { return filepath.Join(w.dir, "terminal.db") }

// lastSequence is the newest PSAMSequence of the journal's current epoch.
func (w *world) lastSequence() (b journal.PSAMSequence) {
	w.Helper()
	err := w.st.Backwards(func(e journal.Entry) bool { b = *e.Body.(*journal.PSAMSequence); return false }, journal.TypePSAMSequence)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// fullDisk has no room while *full is not 0.
type fullDisk struct {
	store.Machine
	full *int
}

func (d fullDisk) Free(string) (uint64, error) {
	if *d.full != 0 {
		return 0, nil
	}
	return 1 << 40, nil
}

// pays pays 1.00 of card 1001, which then holds amount.
func (w *world) pays(amount money.Fen) {
	w.Helper()
	rc, err := w.redeem(mustCard(w, "1001"), 1_00)
	if err != nil || rc.Result != journal.Done {
		w.Fatalf("redeem: %v %+v", err, rc.Transaction)
	}
	if rc.After != amount {
		w.Fatalf("the card holds %s, want %s", rc.After, amount)
	}
}

// TestRestoredDisk: a disk of yesterday is put back while the link is down,
// and the second copy, which would tell, is gone. The PSAM remembers what the
// disk forgot.
func TestRestoredDisk(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	w.offline()
	w.pays(99_00)
	w.down()
	yesterday, err := os.ReadFile(w.path())
	if err != nil {
		t.Fatal(err)
	}
	w.open()
	for i := range 3 {
		w.pays(98_00 - money.Fen(i)*1_00)
	}
	w.down()
	if err := os.WriteFile(w.path(), yesterday, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dir, "terminal.copy")); err != nil {
		t.Fatal(err)
	}
	w.open()

	refused := func(want Code) {
		t.Helper()
		before := w.wrote(journal.TypePurchaseIntent) + w.wrote(journal.TypeLoadIntent)
		_, err := w.redeem(n, 1_00)
		wantRefusal(t, err, want)
		_, err = w.topUp(n, 20_00)
		wantRefusal(t, err, want)
		_, err = w.term.Sell(w.ctx, SellRequest{Token: token(), Who: clerk, Card: n})
		wantRefusal(t, err, want)
		if b := w.term.Status().Card.Balance; b != 96_00 {
			t.Fatalf("the card holds %s", b)
		}
		if after := w.wrote(journal.TypePurchaseIntent) + w.wrote(journal.TypeLoadIntent); after != before {
			t.Fatal("a refusal began a transaction")
		}
		if st := w.term.Status(); st.PSAM.Problem != want {
			t.Fatalf("the status shows %+v", st.PSAM)
		}
	}
	refused(CodeJournalOld)
	if b := w.lastSequence(); b != (journal.PSAMSequence{PSAM: testPSAM, Why: journal.SequenceAhead, Seq: 5, Last: 1, Most: 3}) {
		t.Fatalf("the journal says %+v", b)
	}
	w.restart()
	refused(CodeJournalOld)
	if n := w.wrote(journal.TypePSAMSequence); n != 1 {
		t.Fatalf("%d findings: what stands is not asked for again", n)
	}

	// Head office enrols the terminal again.
	id := w.st.Identity()
	id.Epoch++
	if err := w.st.Renew(id); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if st := w.term.Status(); st.PSAM.Problem != "" {
		t.Fatalf("a new epoch shows %+v", st.PSAM)
	}
	w.pays(95_00)
	w.pays(94_00)
}

// TestSequenceGaps: how many grants a journal may not bear.
func TestSequenceGaps(t *testing.T) {
	for _, c := range []struct {
		name         string
		starts, skip int
		lost         int // answers of the PSAM that were lost
		want         Code
		misses       int // lost answers in the journal
	}{
		{name: "none"},
		{name: "one without a start", skip: 1, want: CodeJournalOld},
		{name: "one at a start", starts: 1, skip: 1},
		{name: "two at one start", starts: 1, skip: 2, want: CodeJournalOld},
		{name: "two at two starts", starts: 2, skip: 2},
		{name: "three at two starts", starts: 2, skip: 3, want: CodeJournalOld},
		{name: "an answer that was lost", lost: 1, misses: 1},
		{name: "three lost, then a start", lost: 3, starts: 1, skip: 1, misses: 3},
		{name: "a lost one explains one", lost: 1, skip: 1, misses: 1, want: CodeJournalOld},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			// A PSAM that gives more numbers than it is asked for: what another
			// terminal, or a run that was killed, asked it for.
			skip, lose := 0, 0
			psam := at(w.samc, 0x70, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				b, err := next(cmd)
				if cmd[2] != 0 || err != nil || len(b) != 10 {
					return b, err // not a grant
				}
				if lose > 0 {
					lose--
					return nil, virtual.ErrGone
				}
				for ; skip > 0; skip-- {
					if b, err = next(cmd); err != nil || len(b) != 10 {
						t.Fatalf("%X %v", b, err)
					}
				}
				return b, err
			})
			w.sam.Remove()
			w.sam.Insert(psam)
			w.restart()
			n := mustCard(t, "1001")
			card := w.loaded(n, 100_00)
			w.pays(99_00)
			for range c.lost {
				lose = 1
				if _, err := w.redeem(n, 1_00); err == nil {
					t.Fatal("a lost answer paid")
				}
				w.sam.Remove()
				w.sam.Insert(psam)
			}
			for range c.starts {
				w.restart()
			}
			skip = c.skip
			if c.want == "" {
				w.pays(98_00)
				w.pays(97_00)
			} else {
				_, err := w.redeem(n, 1_00)
				wantRefusal(t, err, c.want)
				if got := value(t, card); got != 99_00 {
					t.Fatalf("the card holds %s", got)
				}
			}
			misses := 0
			for _, e := range w.entries() {
				if b, ok := e.Body.(*journal.PSAMSequence); ok && b.Why == journal.SequenceLost {
					misses++
				}
			}
			if misses != c.misses {
				t.Fatalf("%d lost answers in the journal, want %d", misses, c.misses)
			}
		})
	}
}

// TestUnusedGrant: the PSAM gave a number and the intent could not be written.
// However often that happens, the next comparison knows.
func TestUnusedGrant(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	w.loaded(n, 100_00)
	w.pays(99_00)
	full := 0
	w.down()
	w.openOn(store.Options{Clock: w.clock, Disk: fullDisk{full: &full}})
	for range 4 {
		full = 1
		_, err := w.redeem(n, 1_00)
		wantRefusal(t, err, CodeFull)
	}
	full = 0
	if b := w.lastSequence(); b.Why != journal.SequenceUnused || b.Seq != 5 || b.Last != 4 {
		t.Fatalf("the journal says %+v", b)
	}
	w.restart()
	w.pays(98_00)
}

// TestPSAMTwin: another PSAM under the same number, and it stays refused when
// its sequence has caught up.
func TestPSAMTwin(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "1001")
	card := w.loaded(n, 100_00)
	w.pays(99_00)
	w.pays(98_00)
	w.sam.Remove()
	w.sam.Insert(newSAM(t))
	w.restart()
	for range 4 {
		_, err := w.redeem(n, 1_00)
		wantRefusal(t, err, CodePSAMTwin)
	}
	if b := w.lastSequence(); b.Why != journal.SequenceBehind || b.Seq != 1 || b.Last != 2 || w.wrote(journal.TypePSAMSequence) != 1 {
		t.Fatalf("the journal says %+v", b)
	}
	if got := value(t, card); got != 98_00 {
		t.Fatalf("the card holds %s", got)
	}
}

// TestPSAMGoesOnLate: a PSAM that goes on when CREDIT SAM succeeds gives the
// same number again after a payment that was not done. That is honest.
func TestPSAMGoesOnLate(t *testing.T) {
	w := newWorld(t)
	c := simcard.New(simcard.Options{LateSequence: true})
	if err := simcard.Personalise(c, simcard.SAMRecipe{
		ID: testPSAM, Terminal: testTerminal, Issuer: suite.TestIssuer,
		From: [4]byte{0x20, 0x20, 0x01, 0x01}, To: [4]byte{0x20, 0x49, 0x12, 0x31},
		Purchase: true, Load: true, Keys: suite.TestMasters(), Levels: []int{1, 2}, KeyIndex: 1, KeyVersion: 1,
	}); err != nil {
		t.Fatal(err)
	}
	w.sam.Remove()
	w.sam.Insert(c)
	w.restart()
	w.shift()
	n := mustCard(t, "1001")
	card := newCard(t, n)
	refuse := false
	w.slot.Insert(at(card, 0x54, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if refuse {
			return []byte{0x69, 0x01}, nil
		}
		return next(cmd)
	}))
	if rc, err := w.topUp(n, 100_00); err != nil || rc.Result != journal.Done {
		t.Fatal(err)
	}
	w.pays(99_00)
	refuse = true
	if rc, err := w.redeem(n, 1_00); err != nil || rc.Result != journal.NotDone {
		t.Fatalf("%v %+v", err, rc.Transaction)
	}
	refuse = false
	w.pays(98_00) // the number of the one before
	w.pays(97_00)
	seqs := []uint32{}
	for _, e := range w.entries() {
		if b, ok := e.Body.(*journal.PurchaseIntent); ok {
			seqs = append(seqs, b.PSAMSeq)
		}
	}
	if len(seqs) != 4 || seqs[1] != seqs[2] {
		t.Fatalf("the sequences were %v: this PSAM tests nothing", seqs)
	}
	// Once the PSAM went on, the same number is another PSAM's.
	q, err := w.term.journalled(testPSAM)
	if err != nil {
		t.Fatal(err)
	}
	if _, code := q.judge(seqs[3]); code != CodePSAMTwin {
		t.Fatalf("a number given twice after a payment: %q", code)
	}
}
