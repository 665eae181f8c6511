package terminal

import (
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// FloatView is what the shop may still give out here, as the utility said last
// and as far as this terminal knows what was sold since.
type FloatView struct {
	Known   bool      // the utility said so once
	Left    money.Fen // what this terminal could still sell; below zero: it is overdrawn
	Ceiling money.Fen // how far below zero the prepaid float may go
	At      time.Time // when the utility said so
}

// floatKnown remembers what Left was made of.
type floatKnown struct {
	version uint64
	head    journal.Head
	taken   money.Fen
}

// float tells what the shop may still give out. On line the utility knows
// better, since other terminals of the shop sell too; off line it is the last
// word, less what this terminal took since: with the allowance of its load SAM
// that is never more than was reserved for it, and less when head office took
// float away or lowered the ceiling meanwhile.
func (t *Terminal) float() (FloatView, error) {
	s, ok := t.section(wire.SectionFloat)
	if !ok {
		return FloatView{}, nil
	}
	head := t.cfg.Store.Head()
	t.mu.Lock()
	known := t.floatKnown
	t.mu.Unlock()
	if known.version != s.Version || known.head != head {
		taken, err := t.takenSince(journal.Ref{Epoch: s.Float.Epoch, Seq: s.Float.Seq})
		if err != nil {
			return FloatView{}, err
		}
		known = floatKnown{s.Version, head, taken}
		t.mu.Lock()
		t.floatKnown = known
		t.mu.Unlock()
	}
	return FloatView{Known: true, Left: s.Float.Left() - known.taken, Ceiling: s.Float.Ceiling, At: time.UnixMilli(s.Issued)}, nil
}

// takenSince is what the transactions after an entry took out of the float, as
// far as they can have: what is not certain counts as taken, and what is owed
// to a customer is the shop's to pay.
func (t *Terminal) takenSince(since journal.Ref) (sum money.Fen, err error) {
	const page = 100
	for before := (journal.Ref{}); ; {
		txs, err := t.cfg.Store.Recent(page, before)
		if err != nil {
			return 0, err
		}
		for _, tx := range txs {
			if before = tx.Name.Ref(); before.Epoch < since.Epoch || before.Epoch == since.Epoch && before.Seq <= since.Seq {
				return sum, nil
			}
			switch {
			case tx.Load != nil || tx.Bill != nil:
				owes := tx.Bill != nil || tx.Load.Tendered > 0
				if tx.Result != journal.NotDone || owes && !tx.CashReturned {
					sum += tx.Amount
				}
			case tx.Sale != nil:
				sum += tx.Amount
			case (tx.Kind == journal.KindVoidDebit || tx.Claim != nil) && tx.Result == journal.Done:
				sum -= tx.Amount
			}
		}
		if len(txs) < page {
			return sum, nil
		}
	}
}

// checkFloat refuses what the shop has no float for, by all that is known here.
// A terminal that was never told is bound by its allowance alone.
func (t *Terminal) checkFloat(amount money.Fen) error {
	f, err := t.float()
	if err == nil && f.Known && amount > f.Left {
		return refuseLimit(CodeFloat, max(0, f.Left))
	}
	return err
}
