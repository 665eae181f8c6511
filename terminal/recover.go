package terminal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// recoverStart classifies what has no outcome after the last run, before any
// card is seen. A load without a durable MAC2 was never sent to its card: it
// is not done, but in a file that was made anew from a second copy, which may
// have lacked the authorisation. Anything else may have been sent: it becomes unknown, which
// the utility learns with the next sync and the card settles when it is back.
func (t *Terminal) recoverStart(ctx context.Context) error {
	remade, _ := t.cfg.Store.Remade()
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return err
	}
	for _, tx := range open {
		if tx.Result != journal.Pending {
			continue
		}
		var body journal.Body
		switch {
		case tx.Load != nil && tx.Authorised == nil && tx.Name.Epoch > remade:
			body = &journal.LoadOutcome{
				Result: journal.NotDone, Reason: journal.ReasonPower, Evidence: journal.EvidenceNotSent,
				After: tx.Load.Before, SAMGave: t.samMayHaveGiven(tx.Load), SAMCount: t.sams.count,
			}
		case tx.Load != nil:
			body = &journal.LoadOutcome{Result: journal.Unknown, Reason: journal.ReasonPower, After: journal.NoBalance, SAMCount: t.sams.count}
		case tx.Purchase != nil:
			body = &journal.PurchaseOutcome{Result: journal.Unknown, Reason: journal.ReasonPower, After: journal.NoBalance}
		case tx.Void != nil:
			body = &journal.VoidAnswer{Reason: journal.ReasonPower}
		case intentOf(tx) != nil:
			body = outcome(intentOf(tx), journal.Decided{Result: journal.Unknown, Reason: journal.ReasonPower})
		default:
			continue
		}
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: tx.Name.Ref(), Body: body}); err != nil {
			return err
		}
		t.log.Info("classified what the last run left open", "name", tx.Name)
	}
	return nil
}

// samMayHaveGiven tells whether the load SAM may have given MAC2 for a load
// that has no durable authorisation: its own counter says so, and where it
// cannot be read the answer is yes, since a spent allowance is released by
// the utility and an unspent one must not be given twice.
func (t *Terminal) samMayHaveGiven(in *journal.LoadIntent) bool {
	if in.Authority != journal.AuthoritySAM {
		return false
	}
	if t.sams.load == nil || t.sams.load.Serial() != in.SAM || !t.sams.known {
		return true
	}
	return t.sams.count != in.SAMCount
}

// settleCard settles what is unknown about the card that has just been
// selected: this terminal's own open transactions by the recovery table, and
// open items of any terminal that came down from the utility. It gives the
// names of its own that were settled. An error means that the card stopped
// answering; nothing that it did not answer was concluded.
func (t *Terminal) settleCard(ctx context.Context, app *purse.Application) ([]journal.Name, error) {
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return nil, err
	}
	number := app.Info().Number
	var settled []journal.Name
	for _, tx := range open {
		if tx.Card != number || (tx.Purchase == nil && tx.Load == nil) {
			continue
		}
		done, err := t.settle(ctx, app, tx)
		if err != nil {
			return settled, err
		}
		if done {
			settled = append(settled, tx.Name)
		}
	}
	if err := t.doubtToldNotDone(ctx, app); err != nil {
		return settled, err
	}
	return settled, t.observe(ctx, app)
}

// doubtToldNotDone asks the card once more about what the utility called not
// done: of two chips of one number either may have acted, and the card's own
// word stands above everybody's. What it proves is for the utility to judge.
func (t *Terminal) doubtToldNotDone(ctx context.Context, app *purse.Application) error {
	list, err := t.cfg.Store.ByCard(app.Info().Number, recentOfCard)
	if err != nil {
		return err
	}
	for _, tx := range list {
		if tx.Purchase == nil && tx.Load == nil {
			continue // nothing that a card could know
		}
		if tx.Result != journal.NotDone || tx.Evidence != journal.EvidenceUtility || t.doubted[tx.Name] {
			continue
		}
		p := pending(tx)
		j, err := app.Judge(ctx, p)
		if err != nil {
			return err
		}
		t.doubted[tx.Name] = true
		if !j.HasTAC {
			continue
		}
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Body: &journal.Observation{
			Item: tx.Name, Card: tx.Card, TxType: p.TxType, Counter: p.Counter,
			HasTAC: true, TAC: j.TAC, MAC2: j.MAC2, Now: j.Counter, Balance: j.Balance,
		}}); err != nil {
			return err
		}
	}
	return nil
}

// recentOfCard is how many of a card's newest transactions are looked at: a
// card's log has ten records.
const recentOfCard = 10

// pending is a transaction as the card is asked about it.
func pending(tx journal.Transaction) purse.Pending {
	p := purse.Pending{Amount: tx.Amount, Terminal: tx.Name.Terminal, Sent: true}
	switch {
	case tx.Purchase != nil:
		p.TxType, p.Before, p.Counter, p.Stamp = tx.Purchase.TxType, tx.Purchase.Before, tx.Purchase.Counter, tx.Purchase.Stamp
	case tx.Load != nil:
		p.TxType, p.Before, p.Counter = tx.Load.TxType, tx.Load.Before, tx.Load.Counter
		if tx.Authorised != nil {
			p.Stamp = tx.Authorised.Stamp
		}
	}
	return p
}

// settle judges one open transaction by what the card says and writes the
// outcome; done is false when the card cannot tell.
func (t *Terminal) settle(ctx context.Context, app *purse.Application, tx journal.Transaction) (done bool, err error) {
	p := pending(tx)
	var body journal.Body
	if tx.Purchase != nil {
		if out := tx.PurchaseOutcome; out != nil && out.MAC2Said == journal.MAC2Bad {
			return false, nil // its own word is what is in doubt: only the holder of the TAC key can tell
		}
		j, err := app.Judge(ctx, p)
		if err != nil {
			return false, err
		}
		out := &journal.PurchaseOutcome{
			Result: j.Result, Reason: tx.Reason, Evidence: j.Evidence,
			HasTAC: j.HasTAC, TAC: j.TAC, MAC2: j.MAC2, After: j.Balance, Counter: j.Counter,
		}
		if out.Result == journal.Done {
			out.Reason = journal.ReasonNone
		}
		body = out
		done = j.Result == journal.Done || j.Result == journal.NotDone
	} else {
		in := tx.Load
		j, err := app.Judge(ctx, p)
		if err != nil {
			return false, err
		}
		out := &journal.LoadOutcome{
			Result: j.Result, Reason: tx.Reason, Evidence: j.Evidence,
			HasTAC: j.HasTAC, TAC: j.TAC, After: j.Balance, Counter: j.Counter,
			SAMGave: j.Result == journal.NotDone && in.Authority == journal.AuthoritySAM, SAMCount: t.sams.count,
		}
		if out.Result == journal.Done {
			out.Reason = journal.ReasonNone
		}
		body = out
		done = j.Result == journal.Done || j.Result == journal.NotDone
	}
	if !done {
		return false, nil // still unknown: nothing new to write
	}
	_, err = t.append(ctx, store.Draft{Actor: journal.System, Ref: tx.Name.Ref(), Body: body})
	return err == nil, err
}

// inquireWait bounds a question about an end: cards that come in meanwhile
// wait for it.
const inquireWait = 2 * time.Second

// inquire asks the utility how one transaction ended that is unknown here:
// its card may have told another terminal, or be one that only the holder of
// its TAC key can judge. What the utility alone decides is asked again under
// its own name. One at a time, those after the last one first.
func (t *Terminal) inquire(ctx context.Context) error {
	if !t.cfg.Host.Online() {
		return nil
	}
	if !t.unanswered.Swap(false) && !t.inquiredAt.IsZero() && time.Since(t.inquiredAt) < MaintainEvery {
		return nil // one question a while, whatever its answer
	}
	if n, err := t.cfg.Store.CountOpen(); err != nil || n == 0 {
		return err
	}
	tx, hash, err := t.nextInquiry(ctx)
	if err != nil || tx.Result != journal.Unknown {
		return err
	}
	t.inquiredAt = time.Now()
	return t.inquireEnd(ctx, tx, hash, inquireWait)
}

// inquireEnd asks how one unknown transaction ended, and writes what the
// utility says. An answer that tells nothing leaves it unknown.
func (t *Terminal) inquireEnd(ctx context.Context, tx journal.Transaction, hash journal.Hash, patience time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if intentOf(tx) != nil {
		if err := t.inquireDecision(ctx, wait, tx); err != nil {
			return fmt.Errorf("ask how %s ended: %w", tx.Name, err)
		}
		return nil
	}
	a, err := t.cfg.Host.Ask(wait, tx.Name)
	if err != nil {
		return fmt.Errorf("ask how %s ended: %w", tx.Name, err)
	}
	if a.Ended != journal.Done && a.Ended != journal.NotDone || a.Hash != hash || a.Held {
		return nil
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.release()
	if tx, err = t.cfg.Store.Transaction(tx.Name.Ref()); err != nil || tx.Result != journal.Unknown {
		return err // the card was quicker
	}
	reason := tx.Reason
	if a.Ended == journal.Done {
		reason = journal.ReasonNone
	}
	var body journal.Body = &journal.PurchaseOutcome{Result: a.Ended, Reason: reason, Evidence: journal.EvidenceUtility, After: journal.NoBalance}
	if in := tx.Load; in != nil {
		body = &journal.LoadOutcome{Result: a.Ended, Reason: reason, Evidence: journal.EvidenceUtility, After: journal.NoBalance,
			SAMGave: a.Ended == journal.NotDone && in.Authority == journal.AuthoritySAM, SAMCount: t.sams.count}
	}
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: tx.Name.Ref(), Body: body}); err != nil {
		return err
	}
	t.log.Info("the utility knows how it ended", "name", tx.Name, "result", a.Ended)
	return nil
}

// nextInquiry picks the unknown movement to ask about, and the hash of the
// chain after its intent, by which the utility must know it.
func (t *Terminal) nextInquiry(ctx context.Context) (journal.Transaction, journal.Hash, error) {
	var hash journal.Hash
	if err := t.begin(ctx); err != nil {
		return journal.Transaction{}, hash, err
	}
	defer t.release()
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return journal.Transaction{}, hash, err
	}
	var list []journal.Transaction
	for _, tx := range open {
		if tx.Result == journal.Unknown && (tx.Purchase != nil || tx.Load != nil || intentOf(tx) != nil) {
			list = append(list, tx)
		}
	}
	if len(list) == 0 {
		return journal.Transaction{}, hash, nil
	}
	tx := list[t.inquired%len(list)]
	t.inquired++
	hash, err = t.hashAfter(tx)
	return tx, hash, err
}

func (t *Terminal) hashAfter(tx journal.Transaction) (journal.Hash, error) {
	hash, _, err := t.cfg.Store.EntriesOf(tx.Name.Epoch, tx.Name.Seq+1, 1, 1)
	return hash, err
}

// AskAgain asks the utility at once about a transaction that is unknown, or
// whose child is, for a person who waits. It asks under the name that it has:
// what the utility decided stands, and what it did not decide until now it
// never will. It begins nothing. The receipt is as it stands then, perhaps
// still unknown; of one that is settled it asks nothing. It fails with
// CodeNotFound, CodeNoLink, or CodeNoAnswer.
func (t *Terminal) AskAgain(ctx context.Context, n journal.Name) (Receipt, error) {
	rc, err := t.Transaction(n)
	if err != nil {
		return Receipt{}, err
	}
	tx := rc.Transaction
	if rc.Child != nil && rc.Child.Result == journal.Unknown {
		tx = *rc.Child
	}
	if tx.Result != journal.Unknown {
		return rc, nil // one without an outcome is under way: its own question has no answer yet
	}
	if !t.cfg.Host.Online() {
		return Receipt{}, refuse(CodeNoLink)
	}
	hash, err := t.hashAfter(tx)
	if err != nil {
		return Receipt{}, err
	}
	if intentOf(tx) == nil { // of a card the utility knows only what was sent
		wait, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
		err := t.cfg.Host.Flush(wait)
		cancel()
		if err != nil {
			return Receipt{}, refuseCause(CodeNoAnswer, err)
		}
	}
	var r *Refusal
	if err := t.inquireEnd(ctx, tx, hash, t.cfg.HostWait); errors.As(err, &r) {
		return Receipt{}, err
	} else if err != nil {
		return Receipt{}, refuseCause(CodeNoAnswer, err)
	}
	return t.Transaction(n)
}

// observation marks an item that this card was asked about already.
type observation struct {
	item journal.Name
	card money.CardNumber
}

// observe asks the card for the proof of open items that came down from the
// utility, once per insertion, and journals what it says for the utility to
// judge. Of a transaction of this terminal that settleCard left unknown only
// the proof is worth a word.
func (t *Terminal) observe(ctx context.Context, app *purse.Application) error {
	sec, _ := t.section(wire.SectionItems)
	number := app.Info().Number
	for _, it := range sec.Items {
		o := observation{it.Name, it.Card}
		if it.Card != number || t.seen[o] {
			continue
		}
		own := false
		if it.Name.Terminal == t.id() {
			if tx, err := t.cfg.Store.Transaction(it.Name.Ref()); err == nil {
				if !tx.Open() {
					continue // settled here, the outcome is on its way
				}
				own = true
			}
		}
		j, err := app.Judge(ctx, purse.Pending{TxType: it.TxType, Amount: it.Amount, Before: journal.NoBalance, Counter: it.Counter, Terminal: it.Name.Terminal, Sent: true})
		if err != nil {
			return err
		}
		t.seen[o] = true
		if !j.HasTAC && (own || it.Doubted || !j.Counted) {
			continue // the card told nothing new about it
		}
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Body: &journal.Observation{
			Item: it.Name, Card: it.Card, TxType: it.TxType, Counter: it.Counter,
			HasTAC: j.HasTAC, TAC: j.TAC, MAC2: j.MAC2, Now: j.Counter, Balance: j.Balance,
		}}); err != nil {
			return err
		}
	}
	return nil
}
