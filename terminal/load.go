package terminal

import (
	"context"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// TopUp turns cash into value on the card in the reader, on line when the
// link is up and else by the load SAM. It answers a Refusal when nothing was
// begun; otherwise the receipt says done, not done or unknown. A repeated
// token answers the first result.
func (t *Terminal) TopUp(ctx context.Context, r TopUpRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == journal.KindTopUp && asked(r.Card, tx) && tx.Amount == r.Amount
	}); ok || err != nil {
		return rc, err
	}
	if err := t.clerkInShift(r.Who); err != nil {
		return Receipt{}, err
	}
	if r.Tendered < r.Amount {
		return Receipt{}, refuse(CodeTendered)
	}
	s, balance, err := t.ready(ctx, r.Card)
	if err != nil {
		return Receipt{}, err
	}
	if t.stock(s.app.Info().Number) {
		return Receipt{}, refuse(CodeCardNotActive)
	}
	ref, err := t.load(ctx, s, load{
		Token: r.Token, Who: r.Who, Purpose: journal.PurposeTopUp,
		Amount: r.Amount, Tendered: r.Tendered, Before: balance, PIN: r.PIN, Online: t.cfg.Host.Online(),
	})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}

// load is one wish to load the card of the session.
type load struct {
	Token    journal.Token
	Who      Who
	Purpose  journal.Purpose
	Parent   journal.Ref // the CardSale of a first load
	Amount   money.Fen
	Tendered money.Fen
	Before   money.Fen // balance just read
	PIN      string
	Online   bool
}

// load runs one load from INITIALIZE to outcome and gives the intent's
// reference. Three commits: intent before the authority is asked, MAC2 before
// CREDIT is sent, outcome before anyone is told.
func (t *Terminal) load(ctx context.Context, s *session, w load) (journal.Ref, error) {
	none := journal.Ref{}
	if err := t.checkLoad(s, w.Amount, w.Before, w.Online); err != nil {
		return none, err
	}
	if !w.Online {
		if err := t.checkAllowance(ctx, w.Amount); err != nil {
			return none, err
		}
	}
	if s.app.Profile().PINForLoad {
		if w.PIN == "" {
			return none, refuse(CodePINNeeded)
		}
		if err := s.app.VerifyPIN(ctx, w.PIN); err != nil {
			return none, t.cardFailed(ctx, err)
		}
	}
	t.setBusy(true)
	defer t.setBusy(false)
	in, err := s.app.InitLoad(ctx, w.Amount, t.id())
	if err != nil {
		return none, t.cardFailed(ctx, err)
	}
	if in.Before != w.Before {
		t.lost(ctx) // the card contradicts itself: start over with a fresh reading
		return none, refuse(CodeUnreadable)
	}
	info := s.app.Info()
	if !w.Online && in.Counter == 0 && in.Before == 0 {
		// Never loaded before: unless it was sold here, perhaps stolen stock.
		// Only the utility knows.
		if _, sold, err := t.cfg.Store.Sold(info.Number); err != nil || !sold {
			return none, refuseCause(CodeCardNotActive, err)
		}
	}
	intent := &journal.LoadIntent{
		Token: w.Token, Purpose: w.Purpose, Card: info.Number, Amount: w.Amount, Tendered: w.Tendered,
		Before: in.Before, Counter: in.Counter, TxType: in.TxType,
		KeyIndex: in.KeyIndex, KeyVersion: in.KeyVersion, Algorithm: in.Algorithm,
		Random: in.Random, MAC1: in.MAC1, Authority: journal.AuthorityHost,
	}
	if !w.Online {
		intent.Authority, intent.SAM, intent.SAMCount = journal.AuthoritySAM, t.sams.load.Serial(), t.sams.count
		intent.Stamp = money.StampOf(t.now())
	}
	e, err := t.append(ctx, store.Draft{Actor: w.Who, Ref: w.Parent, Body: intent})
	if err != nil {
		return none, err
	}
	name := e[0].Name

	// From here on the transaction is the terminal's, whatever becomes of
	// whoever asked for it.
	ctx = context.WithoutCancel(ctx)
	auth, out := t.authorise(ctx, s, name, intent, in)
	if out == nil {
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: auth}); err != nil {
			return none, err // CREDIT was not sent; the start after the repair finds that out from the card
		}
		out = t.credit(ctx, s, auth)
	}
	out.SAMCount = t.sams.count
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: out}); err != nil {
		return none, &UncertainError{Name: name, Cause: err}
	}
	t.after(ctx, s, out.Result, out.After)
	return name.Ref(), nil
}

// after brings screen and session up to date once an outcome is durable. A
// session that ended without a certain answer is dead: the card, if it is
// still in the slot, is read again and settled at once.
func (t *Terminal) after(ctx context.Context, s *session, r journal.Result, balance money.Fen) {
	if r == journal.Unknown || (r == journal.NotDone && balance == journal.NoBalance) {
		t.lost(ctx)
		return
	}
	t.shown(s, balance)
}

// authorise asks for MAC2. It gives either the authorisation or the outcome
// of a load that ends here, before anything was sent to the card.
func (t *Terminal) authorise(ctx context.Context, s *session, name journal.Name, in *journal.LoadIntent, init purse.LoadInit) (*journal.LoadAuthorised, *journal.LoadOutcome) {
	ended := func(why journal.Reason) *journal.LoadOutcome {
		return &journal.LoadOutcome{Result: journal.NotDone, Reason: why, Evidence: journal.EvidenceNotSent, After: in.Before}
	}
	if in.Authority == journal.AuthoritySAM {
		a, err := t.sams.load.Authorise(ctx, s.app.Profile(), in.Card, init, in.Stamp)
		if err != nil {
			t.log.Warn("load SAM refused or failed", "name", name, "err", err)
			out := ended(journal.ReasonSAMRefused)
			out.SAMGave = apdu.MayHaveExecuted(err)
			t.samFailed(ctx, err)
			return nil, out
		}
		t.sams.gave(a.SAMCount, in.Amount)
		t.showAllowance()
		return &journal.LoadAuthorised{Stamp: a.Stamp, MAC2: a.MAC2, SAMCount: a.SAMCount}, nil
	}
	ask, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	req := wire.LoadRequest{Name: name, Intent: *in}
	ans, err := t.cfg.Host.AuthoriseLoad(ask, req)
	if err != nil && ask.Err() == nil {
		// The same name answers the same, so a lost answer may be asked for
		// again.
		ans, err = t.cfg.Host.AuthoriseLoad(ask, req)
	}
	switch {
	case err != nil:
		t.log.Info("no answer to a load request", "name", name, "err", err)
		return nil, ended(journal.ReasonHostUnreachable)
	case ans.Refused != wire.OK:
		t.log.Info("load refused", "name", name, "code", ans.Refused)
		return nil, ended(journal.ReasonHostRefused)
	}
	return &journal.LoadAuthorised{Stamp: ans.Stamp, MAC2: ans.MAC2}, nil
}

// credit sends CREDIT FOR LOAD once and says what came of it.
func (t *Terminal) credit(ctx context.Context, s *session, auth *journal.LoadAuthorised) *journal.LoadOutcome {
	tac, err := s.app.CreditLoad(ctx, auth.Stamp, auth.MAC2)
	if err != nil {
		t.log.Warn("credit for load", "err", err)
		out := &journal.LoadOutcome{After: journal.NoBalance}
		out.Result, out.Reason, out.Evidence, out.SW = failure(err)
		if out.Result == journal.NotDone {
			out.SAMGave = auth.SAMCount != 0
			if out.Evidence == journal.EvidenceRefusal {
				out.After = t.refreshBalance(ctx, s)
			}
		}
		return out
	}
	if auth.SAMCount != 0 {
		if err := t.sams.load.Confirm(ctx, tac); err != nil {
			// The card answered 9000: the ledger judges the TAC. A clerk
			// cannot do anything about it here.
			t.log.Error("the load SAM does not accept the card's TAC", "err", err)
		}
	}
	return &journal.LoadOutcome{
		Result: journal.Done, Evidence: journal.EvidenceAnswer, SW: uint16(apdu.SWOK),
		HasTAC: true, TAC: tac, After: t.refreshBalance(ctx, s),
	}
}

// ReturnCash books that the cash of a top-up or a bill that was not done goes
// back to the customer. As long as the utility has not heard of the transaction
// the terminal alone can owe it. From then on it waits under its number at every
// terminal, and only one of them may pay it: the utility is asked as for any
// claim, on line, and the receipt is the claim's.
func (t *Terminal) ReturnCash(ctx context.Context, r ReturnCashRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		if tx.Kind == journal.KindClaim {
			return tx.Claim.Claim == r.TopUp && tx.Claim.How == journal.PayoutCash
		}
		return tx.Name == r.TopUp && tx.Token != r.Token // else the token began the top-up itself
	}); ok || err != nil {
		return rc, err
	}
	if err := t.clerkInShift(r.Who); err != nil {
		return Receipt{}, err
	}
	rc, err := t.Transaction(r.TopUp)
	if err != nil {
		return Receipt{}, err
	}
	if rc.Owed != r.TopUp {
		return Receipt{}, refuse(CodeCashNotOwed)
	}
	if t.cfg.Host.Online() {
		if err := t.flush(ctx); err != nil {
			t.log.Info("send what is unsent before cash is given back", "name", r.TopUp, "err", err)
		}
	}
	if !t.unsent(r.TopUp.Ref()) {
		return t.collectOwn(ctx, r, rc.Amount)
	}
	_, err = t.append(ctx, store.Draft{Actor: r.Who, Ref: r.TopUp.Ref(), Body: &journal.CashReturned{Token: r.Token, Amount: rc.Amount}})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(r.TopUp.Ref())
}

// UncertainError says that a card may have moved value and that the terminal
// could not write what came of it. The intent is on disk: after a restart the
// card settles it. Until then the transaction is unknown to everyone.
type UncertainError struct {
	Name  journal.Name
	Cause error
}

func (e *UncertainError) Error() string {
	return fmt.Sprintf("the outcome of %s is not certain and could not be written: %v", e.Name, e.Cause)
}

func (e *UncertainError) Unwrap() error { return e.Cause }

// MayHaveExecuted is true.
func (e *UncertainError) MayHaveExecuted() bool { return true }
