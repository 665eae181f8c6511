package terminal

import (
	"context"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
)

// The PSAM's purchase sequence only goes up and cannot be restored from a
// copy. Compared with what this journal bears before any value moves, it tells
// a restored or copied disk without any network: what the disk has forgotten,
// the PSAM has not.

// sequence is what the journal of this epoch explains of the PSAM's sequence.
type sequence struct {
	last uint32 // the newest that it bears; 0: none, and any is right
	most uint32 // the largest that may come next without an entry missing
	// again tells that last may come once more: some PSAMs go on only when
	// CREDIT SAM succeeds (purse.md section 9.2), which it is not known to have.
	again bool
}

// journalled reads back to the newest entry that bears a sequence of the PSAM.
// One more may have been given unseen at each start since, when the daemon
// stopped between the PSAM's answer and the intent, and at each lost answer.
// It reads the epoch once when this terminal never redeemed in it, and a few
// entries otherwise.
func (t *Terminal) journalled(psam money.SAMID) (q sequence, err error) {
	slack := uint32(1)
	var intent journal.Ref
	err = t.cfg.Store.Backwards(func(e journal.Entry) bool {
		switch b := e.Body.(type) {
		case *journal.Start:
			slack++
		case *journal.PSAMSequence:
			switch {
			case b.PSAM != psam:
			case b.Why == journal.SequenceLost:
				slack++
			case b.Why == journal.SequenceUnused:
				q.last, q.again = b.Seq, true
			}
		case *journal.PurchaseIntent:
			if b.PSAM == psam {
				q.last, intent = b.PSAMSeq, e.Name.Ref()
			}
		}
		return q.last == 0
	}, journal.TypeStart, journal.TypePSAMSequence, journal.TypePurchaseIntent)
	if err != nil || q.last == 0 {
		return q, err
	}
	q.most = q.last + min(slack, ^uint32(0)-q.last)
	if !intent.IsZero() {
		tx, err := t.cfg.Store.Transaction(intent)
		if err != nil {
			return q, err
		}
		o := tx.PurchaseOutcome
		q.again = o == nil || o.Result != journal.Done || o.MAC2Said != journal.MAC2Good
	}
	return q, nil
}

// judge says what a sequence that the PSAM gave means; 0 for a right one.
func (q sequence) judge(seq uint32) (journal.Sequence, Code) {
	switch {
	case q.last == 0:
	case seq < q.last, seq == q.last && !q.again:
		return journal.SequenceBehind, CodePSAMTwin
	case seq > q.most:
		return journal.SequenceAhead, CodeJournalOld
	}
	return 0, ""
}

// grant asks the PSAM for MAC1 and refuses one whose sequence this journal
// does not explain. What was seen is written, and stands until head office
// enrols the terminal again: a new epoch begins a new comparison.
func (t *Terminal) grant(ctx context.Context, s *session, in purse.PurchaseInit, at money.Stamp) (purse.Grant, sequence, error) {
	psam := t.sams.psam.Serial()
	q, err := t.journalled(psam)
	if err != nil {
		return purse.Grant{}, q, err
	}
	g, err := t.sams.psam.InitPurchase(ctx, s.app.Profile(), s.app.Info().Number, in, at)
	if err != nil {
		if apdu.MayHaveExecuted(err) {
			t.noteSequence(ctx, &journal.PSAMSequence{PSAM: psam, Why: journal.SequenceLost, Last: q.last, Most: q.most})
		}
		t.samFailed(ctx, err)
		return g, q, refuseCause(CodeNoPSAM, err)
	}
	why, code := q.judge(g.Seq)
	if code == "" {
		return g, q, nil
	}
	t.log.Error("the PSAM's sequence is not this journal's", "psam", psam, "sequence", g.Seq, "journal", q.last, "most", q.most)
	t.mistrust(code)
	if err := t.noteSequence(ctx, &journal.PSAMSequence{PSAM: psam, Why: why, Seq: g.Seq, Last: q.last, Most: q.most}); err != nil {
		return g, q, err
	}
	return g, q, refuse(code)
}

// noteSequence writes a PSAMSequence whoever went away meanwhile: what is not
// written would be missing at the next comparison.
func (t *Terminal) noteSequence(ctx context.Context, b *journal.PSAMSequence) error {
	_, err := t.append(context.WithoutCancel(ctx), store.Draft{Actor: journal.System, Body: b})
	return err
}

// mistrust refuses all new value from now on and shows why.
func (t *Terminal) mistrust(c Code) {
	t.mu.Lock()
	t.mistrusted, t.psam.Problem = c, c
	t.mu.Unlock()
	t.changed()
}

// recallMistrust finds at a start what an earlier run of this epoch saw. Since
// no new value begins after it, the search ends at whatever began last.
func (t *Terminal) recallMistrust() error {
	return t.cfg.Store.Backwards(func(e journal.Entry) bool {
		b, ok := e.Body.(*journal.PSAMSequence)
		switch {
		case !ok:
			return false
		case b.Why == journal.SequenceAhead:
			t.mistrust(CodeJournalOld)
		case b.Why == journal.SequenceBehind:
			t.mistrust(CodePSAMTwin)
		default:
			return true
		}
		return false
	}, journal.TypePSAMSequence, journal.TypePurchaseIntent, journal.TypeLoadIntent, journal.TypeCardSale)
}
