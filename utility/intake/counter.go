package intake

import (
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/wire"
)

// billPaid posts a bill that was taken, or notes that it never will be. Its
// intent may come later or be there already.
func (j *Judge) billPaid(v *view, r *record.BillPaid) error {
	n, in := r.Question.Name, &r.Question.Intent
	it, err := v.item(n)
	if err != nil {
		return err
	}
	if it == nil {
		it = &ledger.Item{Name: n, Kind: ledger.CashBill, Shop: r.Shop, Account: in.Account, Amount: in.Amount}
		v.add(it)
	}
	if r.Answer.Refused != wire.OK {
		return v.apply(n, it, ledger.Disproved)
	}
	return v.apply(n, it, ledger.Proved)
}

// collected moves a claim to the shop that pays it out, or back.
func (j *Judge) collected(v *view, r *record.Collected) error {
	if r.Answer.Refused != wire.OK && !r.Undo {
		return nil
	}
	it, err := v.item(r.Question.Intent.Claim)
	if err != nil || it == nil {
		return err
	}
	before := *it
	var set []ledger.Posting
	if r.Undo {
		set = it.Uncollect(r.Shop)
	} else if set, err = it.Collect(r.Shop); err != nil {
		return err // it was decided by the same item
	}
	v.dirty[it] = true
	v.post(r.Question.Name, set)
	return v.rebook(&before, it)
}

func (e *entry) billIntent(b *journal.BillIntent) error {
	switch {
	case b.Amount <= 0 || b.Amount > money.MaxPurse:
		return verdict(record.HeldAmount)
	case b.Account == 0 || b.Account > 9_999_999_999:
		return verdict(record.HeldMalformed)
	}
	it, err := e.item(e.Name)
	if err != nil {
		return err
	}
	if it == nil {
		it = &ledger.Item{Name: e.Name, Kind: ledger.CashBill, Shop: e.epoch.shop, Account: b.Account, Amount: b.Amount}
		e.add(it)
	} else if it.Kind != ledger.CashBill || it.Account != b.Account || it.Amount != b.Amount {
		return verdict(record.HeldMismatch)
	}
	it.Intent, it.Cash = true, b.Tendered > 0
	e.dirty[it] = true
	return nil
}

func (e *entry) billOutcome(b *journal.BillOutcome) error {
	it, err := e.begun(ledger.CashBill)
	if err != nil {
		return err
	}
	switch {
	case it.State == ledger.Done && (b.Result == journal.Unknown || b.Result == journal.Pending):
		return nil // our answer was lost
	case it.State != ledger.Done && b.Result == journal.Done:
		return verdict(record.HeldNotAgreed)
	}
	return e.said(it, b.Result)
}

func (e *entry) claimIntent(b *journal.ClaimIntent) error {
	switch {
	case b.Amount <= 0 || b.Amount > money.MaxPurse:
		return verdict(record.HeldAmount)
	case b.How != journal.PayoutCash && b.How != journal.PayoutLoad:
		return verdict(record.HeldMalformed)
	}
	if err := e.free(); err != nil {
		return err
	}
	d, err := e.decided(e.Name)
	if err != nil || d == nil {
		return err
	}
	if r, ok := d.(*record.Collected); !ok || r.Question.Intent != *b {
		return verdict(record.HeldMismatch)
	}
	return nil
}

// claimOutcome holds what the terminal says against what was decided: nothing
// moves by it.
func (e *entry) claimOutcome(b *journal.ClaimOutcome) error {
	n := e.Ref.Of(e.Name.Terminal)
	in, err := e.body(n)
	if err != nil {
		return err
	}
	why, err := e.heldReason(n)
	if err != nil {
		return err
	}
	if why != "" {
		return verdict(record.HeldIntent)
	}
	if _, ok := in.(*journal.ClaimIntent); !ok {
		return verdict(record.HeldNoIntent)
	}
	d, err := e.decided(n)
	if err != nil {
		return err
	}
	r, _ := d.(*record.Collected)
	agreed := r != nil && r.Answer.Refused == wire.OK
	switch b.Result {
	case journal.Done:
		if !agreed {
			return verdict(record.HeldNotAgreed)
		}
	case journal.NotDone:
		if agreed {
			return verdict(record.HeldContradiction)
		}
	case journal.Unknown, journal.Pending:
	default:
		return verdict(record.HeldMalformed)
	}
	return nil
}
