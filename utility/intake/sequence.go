package intake

import (
	"fmt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
)

// A PSAM's purchase sequence only goes up and belongs to the PSAM, not to the
// disk of the terminal. A terminal that was put back to an older disk and
// forgot payments has a journal that verifies and a sequence that jumps; a copy
// has one that repeats.

// ourPSAM reports whether an entry may speak of a PSAM: the one that the epoch
// was enrolled with, or any when it was enrolled with none.
func (e *entry) ourPSAM(n money.SAMID) bool {
	return e.epoch.psam.IsZero() || n == e.epoch.psam
}

// sequence takes a sequence that an entry bears into the PSAM's book. fallen
// says that the entry belongs into quarantine: a card has proven this number or
// a larger one before. One that falls behind what was only said is an alarm, so
// that a single wrong number does not shut out the right ones after it; the
// same once more is honest, since some PSAMs go on only when a payment was done
// (purse.md section 9.2).
func (e *entry) sequence(psam money.SAMID, seq uint32) (fallen bool, err error) {
	book, before, floor, err := e.psam(storage.PSAMOf{Terminal: e.Name.Terminal, PSAM: psam}, e.Name.Epoch)
	if err != nil {
		return false, err
	}
	last, slack := book.Seq, book.Slack
	if last == 0 && before != nil { // the first of an epoch follows the one before it
		last = before.Seq
		slack += before.Slack
	}
	switch {
	case seq <= floor, seq < last:
		e.alarm(record.AlarmPSAM, e.Name, fmt.Sprintf("PSAM %s gave sequence %d after %d", psam, seq, max(last, floor)))
	case last != 0 && seq > last && seq-last-1 > slack:
		e.alarm(record.AlarmMissing, e.Name, fmt.Sprintf("%d payments between sequence %d and %d of PSAM %s were never sent", seq-last-1-slack, last, seq, psam))
	}
	if seq <= floor {
		return true, nil
	}
	book.Seq, book.Slack = seq, 0
	return false, nil
}

// provenSequence notes that a card has proven the sequence of a payment.
func (e *entry) provenSequence(it *ledger.Item) error {
	if !it.Happened() {
		return nil
	}
	b, err := e.body(it.Name)
	if err != nil {
		return err
	}
	in, ok := b.(*journal.PurchaseIntent)
	if !ok || !e.ourPSAM(in.PSAM) {
		return nil
	}
	book, _, _, err := e.psam(storage.PSAMOf{Terminal: it.Name.Terminal, PSAM: in.PSAM}, it.Name.Epoch)
	if err == nil {
		book.Proven = max(book.Proven, in.PSAMSeq)
	}
	return err
}

// unseen notes that the PSAM may have gone on by one without an entry.
func (e *entry) unseen(psam money.SAMID) error {
	book, _, _, err := e.psam(storage.PSAMOf{Terminal: e.Name.Terminal, PSAM: psam}, e.Name.Epoch)
	if err == nil && book.Slack < 1<<31 {
		book.Slack++
	}
	return err
}

// start: the daemon may have stopped between a PSAM's answer and the entry.
func (e *entry) start(b *journal.Start) error {
	psam := e.epoch.psam
	if psam.IsZero() {
		psam = b.PSAM
	}
	if psam.IsZero() {
		return nil
	}
	return e.unseen(psam)
}

func (e *entry) psamSequence(b *journal.PSAMSequence) error {
	if !e.ourPSAM(b.PSAM) || b.PSAM.IsZero() {
		return verdict(record.HeldPSAM)
	}
	switch b.Why {
	case journal.SequenceLost:
		return e.unseen(b.PSAM)
	case journal.SequenceUnused, journal.SequenceAhead:
		if b.Seq == 0 {
			return verdict(record.HeldMalformed)
		}
		if b.Why == journal.SequenceAhead {
			e.alarm(record.AlarmPSAM, e.Name, fmt.Sprintf("PSAM %s gave %d, the terminal's journal ends at %d: a restored or copied disk", b.PSAM, b.Seq, b.Last))
		}
		fallen, err := e.sequence(b.PSAM, b.Seq)
		if err == nil && fallen {
			return verdict(record.HeldPSAMSeq)
		}
		return err
	case journal.SequenceBehind:
		e.alarm(record.AlarmPSAM, e.Name, fmt.Sprintf("PSAM %s gave %d, the terminal's journal bears %d: another PSAM under its number", b.PSAM, b.Seq, b.Last))
		return nil
	}
	return verdict(record.HeldMalformed)
}
