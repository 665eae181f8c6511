package terminal

import (
	"context"
	"errors"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// BillRequest asks to pay an account with cash.
type BillRequest struct {
	Token    journal.Token
	Who      Who
	Account  money.AccountNumber
	Again    money.AccountNumber // typed a second time when the account could not be looked up
	Amount   money.Fen
	Tendered money.Fen // cash taken, at least Amount
}

// ClaimRequest asks to pay out what waits under the number of a slip.
type ClaimRequest struct {
	Token  journal.Token
	Who    Who
	Claim  journal.Name
	Amount money.Fen        // that the screen showed
	Load   bool             // as value on the card in the reader, not in cash
	Card   money.CardNumber // with Load: the card that the person saw on the screen
	PIN    string           // with Load, only when the card's profile wants one; never stored
}

// CardRequest asks to block a card that is not here, or one that can't be
// read.
type CardRequest struct {
	Token journal.Token
	Who   Who
	Card  money.CardNumber
	Why   journal.CardWhy
}

// ClaimView is what waits under the number of a slip.
type ClaimView struct {
	Claim  journal.Name
	Kind   wire.ClaimKind
	Amount money.Fen
	Last4  string // of the card, or of the account for a bill
}

// PayBill pays an account with the customer's cash, on line only. It answers a
// Refusal when nothing was begun; otherwise the receipt says done, not done or
// unknown. Not done, the cash is owed to the customer until ReturnCash books
// that it went back. A repeated token answers the first result.
func (t *Terminal) PayBill(ctx context.Context, r BillRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == journal.KindBill && tx.Account == r.Account && tx.Amount == r.Amount
	}); ok || err != nil {
		return rc, err
	}
	if err := t.atCounter(r.Who); err != nil {
		return Receipt{}, err
	}
	l, _, ok := t.limits()
	switch {
	case !ok:
		return Receipt{}, refuse(CodeNoLimits)
	case r.Amount <= 0 || r.Amount > money.MaxPurse:
		return Receipt{}, refuse(CodeAmount)
	case r.Amount > l.RedeemMax:
		return Receipt{}, refuseLimit(CodeRedeemMax, l.RedeemMax)
	case r.Tendered < r.Amount || r.Tendered > money.MaxFen:
		return Receipt{}, refuse(CodeTendered)
	}
	acct, err := t.account(ctx, r.Account)
	if err != nil {
		return Receipt{}, err
	}
	if acct.Seen != journal.AccountOnline {
		switch r.Again {
		case 0:
			return Receipt{}, refuse(CodeAccountAgain)
		case r.Account:
		default:
			return Receipt{}, refuse(CodeAccountMismatch)
		}
	}
	ref, _, err := t.decide(ctx, store.Draft{Actor: r.Who, Body: &journal.BillIntent{
		Token: r.Token, Account: r.Account, Seen: acct.Seen, Amount: r.Amount, Tendered: r.Tendered,
	}})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}

// Claim looks up what waits under the number of a slip, of whatever terminal,
// on line. It answers a Refusal of CodeNoClaim when nothing does.
func (t *Terminal) Claim(ctx context.Context, n journal.Name) (ClaimView, error) {
	if !t.cfg.Host.Online() {
		return ClaimView{}, refuse(CodeNoLink)
	}
	if _, err := t.cashWaits(n); err != nil {
		return ClaimView{}, err
	}
	ask, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	var err error
	if n.Terminal == t.id() { // the utility knows of our own only what was sent
		err = t.cfg.Host.Flush(ask)
	}
	var a wire.ClaimAnswer
	if err == nil {
		a, err = t.cfg.Host.LookUpClaim(ask, n)
	}
	switch {
	case err != nil:
		return ClaimView{}, refuseCause(CodeNoLink, err)
	case a.Refused == wire.CodeRate || a.Refused == wire.CodeTerminal:
		return ClaimView{}, &Refusal{Code: CodeHostRefused, Detail: string(a.Refused)}
	case a.Refused != wire.OK:
		return ClaimView{}, &Refusal{Code: CodeNoClaim, Detail: string(a.Refused)}
	}
	return ClaimView{Claim: n, Kind: a.Kind, Amount: a.Amount, Last4: a.Last4}, nil
}

// CollectClaim pays out what waits under the number of a slip, on line only:
// in cash, or with that cash as an ordinary top-up of the card in the reader,
// which is the receipt's Child. A payment that is done whose top-up was not
// begun is owed in cash.
func (t *Terminal) CollectClaim(ctx context.Context, r ClaimRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	how := journal.PayoutCash
	if r.Load {
		how = journal.PayoutLoad
	}
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == journal.KindClaim && tx.Claim.Claim == r.Claim && tx.Amount == r.Amount && tx.Claim.How == how && (!r.Load || asked(r.Card, tx))
	}); ok || err != nil {
		return rc, err
	}
	if err := t.atCounter(r.Who); err != nil {
		return Receipt{}, err
	}
	if r.Amount <= 0 || r.Amount > money.MaxPurse {
		return Receipt{}, refuse(CodeAmount)
	}
	here, err := t.cashWaits(r.Claim)
	if err != nil {
		return Receipt{}, err
	}
	in := &journal.ClaimIntent{Token: r.Token, Claim: r.Claim, Amount: r.Amount, How: how}
	var s *session
	var balance money.Fen
	if r.Load { // all that would refuse the top-up, before the claim is touched
		if s, balance, err = t.ready(ctx, r.Card); err != nil {
			return Receipt{}, err
		}
		in.Card = s.app.Info().Number
		if t.stock(in.Card) {
			return Receipt{}, refuse(CodeCardNotActive)
		}
		if err := t.checkLoad(s, r.Amount, balance, true); err != nil {
			return Receipt{}, err
		}
		if s.app.Profile().PINForLoad && r.PIN == "" {
			return Receipt{}, refuse(CodePINNeeded)
		}
	}
	d := store.Draft{Actor: r.Who, Body: in}
	if here {
		d.Ref = r.Claim.Ref() // so that its cash is not given back as well
	}
	ref, done, err := t.decide(ctx, d)
	if err != nil {
		return Receipt{}, err
	}
	if done && r.Load {
		name := ref.Of(t.id())
		if _, err := t.load(context.WithoutCancel(ctx), s, load{
			Token: journal.TokenOf("claim/" + name.String()), Who: r.Who, Purpose: journal.PurposeTopUp, Parent: ref,
			Amount: r.Amount, Tendered: r.Amount, Before: balance, PIN: r.PIN, Online: t.cfg.Host.Online(),
		}); err != nil {
			t.log.Warn("top up with a claim", "claim", name, "err", err) // the cash is the customer's
		}
	}
	return t.numbered(ref)
}

// collectOwn pays out in cash what a transaction of this terminal left owed and
// the utility knows of.
func (t *Terminal) collectOwn(ctx context.Context, r ReturnCashRequest, amount money.Fen) (Receipt, error) {
	if err := t.atCounter(r.Who); err != nil {
		return Receipt{}, err
	}
	if err := t.flush(ctx); err != nil { // it must have heard that it was not done
		return Receipt{}, refuseCause(CodeNoLink, err)
	}
	ref, _, err := t.decide(ctx, store.Draft{Actor: r.Who, Ref: r.TopUp.Ref(), Body: &journal.ClaimIntent{
		Token: r.Token, Claim: r.TopUp, Amount: amount, How: journal.PayoutCash,
	}})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}

func (t *Terminal) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	return t.cfg.Host.Flush(ctx)
}

// cashWaits refuses the claim of a transaction of this terminal whose cash was
// given back here: the utility may not know it yet. here tells that the journal
// has the transaction. What it has not is a slip of before the file was made
// anew, of which the utility alone knows, or a number that was never given.
func (t *Terminal) cashWaits(n journal.Name) (here bool, err error) {
	if n.Terminal != t.id() {
		return false, nil
	}
	tx, err := t.cfg.Store.Transaction(n.Ref())
	switch {
	case err == nil && tx.CashReturned:
		return true, &Refusal{Code: CodeNoClaim, Detail: string(wire.CodeTwice)}
	case errors.Is(err, store.ErrNotFound) && n.Epoch >= t.cfg.Store.Identity().Epoch:
		return false, &Refusal{Code: CodeNoClaim, Detail: string(wire.CodeUnknownItem)}
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	}
	return err == nil, err
}

// collected reports whether what a transaction of this terminal left owed was
// paid out here as a claim, or may have been.
func (t *Terminal) collected(n journal.Name) (bool, error) {
	kids, err := t.cfg.Store.Children(n.Ref())
	for _, k := range kids {
		if k.Kind == journal.KindClaim && k.Result != journal.NotDone {
			return true, err
		}
	}
	return false, err
}

// BlockCard blocks a named card that is lost, on line only. Head office alone
// takes a block back.
func (t *Terminal) BlockCard(ctx context.Context, r CardRequest) (Receipt, error) {
	return t.askAboutCard(ctx, r, journal.KindBlock, journal.WishBlock)
}

// ReplaceCard blocks a card that can't be read and asks for its replacement, on
// line only. Its value waits under the number of the receipt when the utility
// knows from every terminal what is left on it.
func (t *Terminal) ReplaceCard(ctx context.Context, r CardRequest) (Receipt, error) {
	return t.askAboutCard(ctx, r, journal.KindReplace, journal.WishReplace)
}

func (t *Terminal) askAboutCard(ctx context.Context, r CardRequest, kind journal.Kind, wish journal.CardWish) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		return tx.Kind == kind && tx.Card == r.Card
	}); ok || err != nil {
		return rc, err
	}
	if err := t.atCounter(r.Who); err != nil {
		return Receipt{}, err
	}
	ref, _, err := t.decide(ctx, store.Draft{Actor: r.Who, Body: &journal.CardRequest{Token: r.Token, Wish: wish, Card: r.Card, Why: r.Why}})
	if err != nil {
		return Receipt{}, err
	}
	return t.receiptOf(ref)
}

// atCounter lets through a clerk in a shift while the utility can be asked.
func (t *Terminal) atCounter(who Who) error {
	if err := t.clerkInShift(who); err != nil {
		return err
	}
	if err := t.checkStanding(); err != nil {
		return err
	}
	if !t.cfg.Host.Online() {
		return refuse(CodeNoLink)
	}
	return nil
}

// decide runs one intent on which the utility decides: the intent is durable
// before the question, what was decided before anyone is told. Without an
// answer it is unknown, until the question whether it was decided has one.
func (t *Terminal) decide(ctx context.Context, d store.Draft) (ref journal.Ref, done bool, err error) {
	t.setBusy(true)
	defer t.setBusy(false)
	e, err := t.append(ctx, d)
	if err != nil {
		return ref, false, err
	}
	name := e[0].Name
	ctx = context.WithoutCancel(ctx)
	wait, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	a, err := t.question(wait, name, d.Body, false)
	if err != nil && wait.Err() == nil {
		a, err = t.question(wait, name, d.Body, false) // the same name answers the same
	}
	out := journal.Decided{Result: journal.Unknown, Reason: journal.ReasonHostUnreachable}
	if err != nil {
		t.log.Info("no answer", "name", name, "err", err)
		t.unanswered.Store(true) // whoever stands at the counter is not made to wait for questions about others
	} else {
		out = decided(a)
	}
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: outcome(d.Body, out)}); err != nil {
		return ref, false, &UncertainError{Name: name, Cause: err}
	}
	return name.Ref(), out.Result == journal.Done, nil
}

// question asks the utility about an intent. settle asks how it ended: what it
// has not decided until then it never will, and a claim waits again.
func (t *Terminal) question(ctx context.Context, n journal.Name, b journal.Body, settle bool) (wire.Agreement, error) {
	switch b := b.(type) {
	case *journal.BillIntent:
		return t.cfg.Host.TakeBill(ctx, wire.BillQuestion{Name: n, Intent: *b, Withdraw: settle})
	case *journal.ClaimIntent:
		return t.cfg.Host.Collect(ctx, wire.CollectQuestion{Name: n, Intent: *b, Withdraw: settle})
	}
	return t.cfg.Host.AskCard(ctx, wire.CardQuestion{Name: n, Request: *b.(*journal.CardRequest)})
}

func decided(a wire.Agreement) journal.Decided {
	if a.Refused != wire.OK {
		return journal.Decided{Result: journal.NotDone, Reason: journal.ReasonHostRefused, Code: string(a.Refused)}
	}
	return journal.Decided{Result: journal.Done}
}

// outcome is the body that says what was decided of an intent.
func outcome(b journal.Body, d journal.Decided) journal.Body {
	switch b.(type) {
	case *journal.BillIntent:
		return &journal.BillOutcome{Decided: d}
	case *journal.ClaimIntent:
		return &journal.ClaimOutcome{Decided: d}
	}
	return &journal.CardAnswer{Decided: d}
}

// intentOf is the intent of a transaction on which the utility decides, nil of
// any other.
func intentOf(tx journal.Transaction) journal.Body {
	switch {
	case tx.Bill != nil:
		return tx.Bill
	case tx.Claim != nil:
		return tx.Claim
	case tx.Request != nil:
		return tx.Request
	}
	return nil
}

// inquireDecision settles one unknown decision; wait bounds the question.
func (t *Terminal) inquireDecision(ctx, wait context.Context, tx journal.Transaction) error {
	a, err := t.question(wait, tx.Name, intentOf(tx), true)
	if err != nil {
		return err
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.release()
	if tx, err = t.cfg.Store.Transaction(tx.Name.Ref()); err != nil || tx.Result != journal.Unknown {
		return err
	}
	d := decided(a)
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: tx.Name.Ref(), Body: outcome(intentOf(tx), d)}); err != nil {
		return err
	}
	t.log.Info("the utility says how it ended", "name", tx.Name, "result", d.Result, "code", d.Code)
	return nil
}
