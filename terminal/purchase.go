package terminal

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// Redeem pays an account with value of the card in the reader, on line or
// off line. It answers a Refusal when nothing was begun; otherwise the
// receipt says done, not done or unknown. A repeated token answers the first
// result.
func (t *Terminal) Redeem(ctx context.Context, r RedeemRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == journal.KindRedemption && asked(r.Card, tx) && tx.Amount == r.Amount && tx.Account == r.Account
	}); ok || err != nil {
		return rc, err
	}
	if r.Who.Kind == journal.ActorClerk || r.Who.Kind == journal.ActorTechnician {
		if err := t.staffInShift(r.Who); err != nil {
			return Receipt{}, err
		}
	}
	s, balance, err := t.ready(ctx, r.Card)
	if err != nil {
		return Receipt{}, err
	}
	if err := t.checkRedeem(r.Amount); err != nil {
		return Receipt{}, err
	}
	if balance < r.Amount {
		return Receipt{}, refuseLimit(CodeBalanceLow, balance)
	}
	acct, err := t.account(ctx, r.Account)
	if err != nil {
		return Receipt{}, err
	}
	if acct.Seen == journal.AccountTyped {
		switch r.Again {
		case 0:
			return Receipt{}, refuse(CodeAccountAgain)
		case r.Account:
		default:
			return Receipt{}, refuse(CodeAccountMismatch)
		}
	}
	ref, err := t.debit(ctx, s, debit{
		Token: r.Token, Who: r.Who, Purpose: journal.PurposeRedeem,
		Account: r.Account, Seen: acct.Seen, Amount: r.Amount,
	})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}

// checkRedeem refuses by limits. Without a hotlist of known age a stolen
// card cannot be told, so redemption stops. The age alone would rest on the
// clock, which whoever holds the terminal can set: a link that brings
// acknowledgements and no hotlist brings the utility's own time (see latest),
// and without a link the count of entries that wait bounds how many
// redemptions one hotlist serves.
func (t *Terminal) checkRedeem(amount money.Fen) error {
	if err := t.checkStanding(); err != nil {
		return err
	}
	l, _, ok := t.limits()
	if !ok {
		return refuse(CodeNoLimits)
	}
	if amount <= 0 || amount > money.MaxPurse {
		return refuse(CodeAmount)
	}
	if amount > l.RedeemMax {
		return refuseLimit(CodeRedeemMax, l.RedeemMax)
	}
	return t.checkDebit(l)
}

// checkDebit refuses a debit of whatever amount by what is known of stolen
// cards, and by what waits to be sent.
func (t *Terminal) checkDebit(l wire.Limits) error {
	var hotlistAt time.Time // zero: never received, older than any limit
	if h, ok := t.section(wire.SectionHotlist); ok {
		hotlistAt = time.UnixMilli(h.Issued)
	}
	if older(t.latest(), hotlistAt, l.HotlistStop) {
		return refuse(CodeHotlistOld)
	}
	if u := t.cfg.Store.Unsent(); u.Count >= uint64(l.UnsentStop) {
		return refuse(CodeUnsentCount)
	}
	return nil
}

// debit is one wish to debit the card of the session.
type debit struct {
	Token   journal.Token
	Who     Who
	Purpose journal.Purpose
	Parent  journal.Ref         // the VoidRequest of a void
	Account money.AccountNumber // of a redemption
	Seen    journal.AccountSeen
	Amount  money.Fen
}

// debit runs one purchase from INITIALIZE to outcome and gives the intent's
// reference. Two commits: intent before DEBIT is sent, outcome before anyone
// is told.
func (t *Terminal) debit(ctx context.Context, s *session, w debit) (journal.Ref, error) {
	none := journal.Ref{}
	if err := t.needPSAM(ctx); err != nil {
		return none, err
	}
	t.setBusy(true)
	defer t.setBusy(false)
	in, err := s.app.InitPurchase(ctx, w.Amount, t.id())
	if err != nil {
		return none, t.cardFailed(ctx, err)
	}
	if in.Before < w.Amount {
		return none, refuseLimit(CodeBalanceLow, in.Before)
	}
	stamp := money.StampOf(t.now())
	number := s.app.Info().Number
	psam := t.sams.psam.Serial()
	grant, known, err := t.grant(ctx, s, in, stamp)
	if err != nil {
		return none, err
	}
	e, err := t.append(ctx, store.Draft{Actor: w.Who, Ref: w.Parent, Body: &journal.PurchaseIntent{
		Token: w.Token, Purpose: w.Purpose, Card: number, Account: w.Account, Seen: w.Seen,
		Amount: w.Amount, Before: in.Before, Counter: in.Counter, TxType: in.TxType,
		KeyIndex: in.KeyIndex, KeyVersion: in.KeyVersion, Algorithm: in.Algorithm, Random: in.Random,
		PSAM: psam, PSAMSeq: grant.Seq, Stamp: stamp, MAC1: grant.MAC1,
		Online: t.cfg.Host.Online(),
	}})
	if err != nil {
		if !t.isStopped() {
			t.noteSequence(ctx, &journal.PSAMSequence{PSAM: psam, Why: journal.SequenceUnused, Seq: grant.Seq, Last: known.last, Most: known.most})
		}
		return none, err
	}
	name := e[0].Name

	ctx = context.WithoutCancel(ctx)
	out := t.execute(ctx, s, grant, stamp)
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: out}); err != nil {
		return none, &UncertainError{Name: name, Cause: err}
	}
	t.after(ctx, s, out.Result, out.After)
	return name.Ref(), nil
}

// execute sends DEBIT FOR PURCHASE once, lets the PSAM judge the card's MAC2
// and says what came of it.
func (t *Terminal) execute(ctx context.Context, s *session, g purse.Grant, stamp money.Stamp) *journal.PurchaseOutcome {
	tac, mac2, err := s.app.DebitPurchase(ctx, g, stamp)
	if err != nil {
		t.log.Warn("debit for purchase", "err", err)
		out := &journal.PurchaseOutcome{After: journal.NoBalance}
		out.Result, out.Reason, out.Evidence, out.SW = failure(err)
		if out.Evidence == journal.EvidenceRefusal {
			out.After = t.refreshBalance(ctx, s)
		}
		return out
	}
	out := &journal.PurchaseOutcome{
		Result: journal.Done, Evidence: journal.EvidenceAnswer, SW: uint16(apdu.SWOK),
		HasTAC: true, TAC: tac, MAC2: mac2, MAC2Said: journal.MAC2Good,
	}
	switch err := t.sams.psam.Credit(ctx, mac2); {
	case errors.Is(err, purse.ErrMAC2):
		// The card may be forged: nothing is promised to anyone until the
		// utility has judged TAC and MAC2 (purse.md section 12.4 rule 5).
		t.log.Error("the PSAM does not accept the card's MAC2", "card", s.app.Info().Number.Last4())
		out.Result, out.Reason, out.MAC2Said = journal.Unknown, journal.ReasonBadMAC, journal.MAC2Bad
	case err != nil:
		t.log.Warn("credit SAM for purchase", "err", err)
		out.MAC2Said = journal.MAC2Unchecked
		t.samFailed(ctx, err)
	}
	out.After = t.refreshBalance(ctx, s)
	return out
}

// Void undoes a top-up of this shift: agreed by the utility first, then
// carried out as a debit of the same purse, since a purse has no unload. The
// receipt is that of the request; its Child is the debit. A Refusal may come
// after the utility agreed, when the card left meanwhile: the card has its
// value still, and the next Void of the same top-up goes on with the debit.
func (t *Terminal) Void(ctx context.Context, r VoidRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		if tx.Kind == journal.KindVoidDebit { // of a wish that went on with an earlier request
			v, err := t.cfg.Store.Transaction(tx.Parent)
			return err == nil && v.Parent == r.TopUp.Ref()
		}
		return tx.Kind == journal.KindVoid && tx.Parent == r.TopUp.Ref()
	}); err != nil {
		return rc, err
	} else if ok && rc.Kind == journal.KindVoidDebit {
		return t.receiptOf(rc.Parent)
	} else if ok {
		return rc, nil
	}
	if err := t.clerkInShift(r.Who); err != nil {
		return Receipt{}, err
	}
	if r.Second == r.Who.ID {
		return Receipt{}, refuse(CodeNotAllowed)
	}
	top, name, err := t.voidable(r.TopUp)
	if err != nil {
		return Receipt{}, err
	}
	s, balance, err := t.ready(ctx, top.Card)
	if err != nil {
		return Receipt{}, err
	}
	if err := t.trusted(); err != nil {
		return Receipt{}, err
	}
	if err := t.needPSAM(ctx); err != nil {
		return Receipt{}, err
	}
	if balance < top.Amount {
		return Receipt{}, refuseLimit(CodeBalanceLow, balance)
	}
	if !t.cfg.Host.Online() {
		return Receipt{}, refuse(CodeNoLink)
	}
	var consent []store.Draft // in one commit with the request, right before it
	if r.Second != 0 {
		who := journal.Actor{Kind: journal.ActorClerk, ID: r.Second}
		consent = append(consent, store.Draft{Actor: who, Ref: r.TopUp.Ref(), Body: &journal.Staff{Act: journal.ActAgree, Staff: r.Second, Count: 1}})
	}
	agreed, token := !name.IsZero(), r.Token
	if agreed && len(consent) > 0 {
		if _, err := t.append(ctx, consent...); err != nil {
			return Receipt{}, err
		}
	}
	if !agreed {
		req := &journal.VoidRequest{Token: r.Token, Card: top.Card, Amount: top.Amount}
		e, err := t.append(ctx, append(consent, store.Draft{Actor: r.Who, Ref: r.TopUp.Ref(), Body: req})...)
		if err != nil {
			return Receipt{}, err
		}
		name = e[len(e)-1].Name
		// The debit is part of this wish, but a token finds one transaction
		// only: it gets one made from the request's.
		token = journal.TokenOf("void/" + name.String())
		ctx = context.WithoutCancel(ctx)
		answer := t.askVoid(ctx, name, r.TopUp, req)
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: answer}); err != nil {
			return Receipt{}, err
		}
		agreed = answer.Agreed
	}
	if agreed {
		if _, err := t.debit(ctx, s, debit{
			Token: token, Who: r.Who,
			Purpose: journal.PurposeVoidTopUp, Parent: name.Ref(), Amount: top.Amount,
		}); err != nil {
			return Receipt{}, err
		}
	}
	return t.receiptOf(name.Ref())
}

func (t *Terminal) askVoid(ctx context.Context, name, topUp journal.Name, req *journal.VoidRequest) *journal.VoidAnswer {
	ask, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	// The utility can only void what it has seen done.
	err := t.cfg.Host.Flush(ask)
	var a wire.Agreement
	if err == nil {
		a, err = t.cfg.Host.AgreeVoid(ask, wire.VoidQuestion{Name: name, TopUp: topUp, Request: *req})
	}
	switch {
	case err != nil:
		t.log.Info("no answer to a void request", "name", name, "err", err)
		return &journal.VoidAnswer{Reason: journal.ReasonHostUnreachable}
	case a.Refused != wire.OK:
		return &journal.VoidAnswer{Reason: journal.ReasonHostRefused, Code: string(a.Refused)}
	}
	return &journal.VoidAnswer{Agreed: true}
}

// voidable finds a done top-up of the open shift that was not voided, and the
// void of it that the utility agreed to when its debit never began: the card
// left before, and the utility agrees to no second one.
func (t *Terminal) voidable(n journal.Name) (top journal.Transaction, agreed journal.Name, err error) {
	rc, err := t.Transaction(n)
	if err != nil {
		return journal.Transaction{}, journal.Name{}, err
	}
	sh, ok, err := t.cfg.Store.Shift()
	if err != nil {
		return journal.Transaction{}, journal.Name{}, err
	}
	began := n.Ref()
	if rc.Kind != journal.KindTopUp || rc.Result != journal.Done || !ok || sh.Closed ||
		began.Epoch < sh.Open.Epoch || (began.Epoch == sh.Open.Epoch && began.Seq < sh.Open.Seq) {
		return journal.Transaction{}, journal.Name{}, refuse(CodeNotVoidable)
	}
	kids, err := t.cfg.Store.Children(n.Ref())
	if err != nil {
		return journal.Transaction{}, journal.Name{}, err
	}
	for _, k := range kids {
		if k.Kind != journal.KindVoid || k.VoidAnswer == nil || !k.VoidAnswer.Agreed {
			continue
		}
		debits, err := t.cfg.Store.Children(k.Name.Ref())
		if err != nil {
			return journal.Transaction{}, journal.Name{}, err
		}
		if len(debits) == 0 {
			agreed = k.Name
		}
		for _, d := range debits {
			if d.Result != journal.NotDone {
				return journal.Transaction{}, journal.Name{}, refuse(CodeVoided)
			}
		}
	}
	return rc.Transaction, agreed, nil
}
