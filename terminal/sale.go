package terminal

import (
	"context"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// Sell activates a card from stock and loads it when an amount is asked. The
// activation is durable before any value is: a first load that fails leaves
// an activated card worth nothing. The receipt is the sale's; its Child is
// the first load.
func (t *Terminal) Sell(ctx context.Context, r SellRequest) (Receipt, error) {
	if err := t.begin(ctx); err != nil {
		return Receipt{}, err
	}
	defer t.release()
	if rc, ok, err := t.repeated(r.Token, func(tx journal.Transaction) bool {
		if tx.Kind != journal.KindSale || !asked(r.Card, tx) {
			return false
		}
		loads, err := t.cfg.Store.Children(tx.Name.Ref())
		return err == nil && (len(loads) == 0 || loads[0].Amount == r.Amount) // without one nothing tells what was asked
	}); ok || err != nil {
		return rc, err
	}
	if err := t.clerkInShift(r.Who); err != nil {
		return Receipt{}, err
	}
	s, balance, err := t.ready(ctx, r.Card)
	if err != nil {
		return Receipt{}, err
	}
	online := t.cfg.Host.Online()
	deposit, err := t.checkSale(ctx, s, balance, r, online)
	if err != nil {
		return Receipt{}, err
	}
	number := s.app.Info().Number
	e, err := t.append(ctx, store.Draft{Actor: r.Who, Body: &journal.CardSale{Token: r.Token, Card: number, Deposit: deposit}})
	if err != nil {
		return Receipt{}, err
	}
	ref := e[0].Name.Ref()
	t.shown(s, 0)
	if r.Amount == 0 {
		return t.receiptOf(ref)
	}
	ctx = context.WithoutCancel(ctx)
	if online {
		// The vault loads only a card that it knows to be sold.
		flush, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
		if err := t.cfg.Host.Flush(flush); err != nil {
			t.log.Info("send a sale before its first load", "err", err)
			online = false
		}
		cancel()
	}
	if _, err := t.load(ctx, s, load{
		Token: journal.TokenOf("first/" + e[0].Name.String()), Who: r.Who, Purpose: journal.PurposeFirstLoad, Parent: ref,
		Amount: r.Amount, Tendered: r.Tendered - deposit, Before: balance, PIN: r.PIN, Online: online,
	}); err != nil {
		// The sale stands. The slip shows an activated card without a load;
		// the cash of the load never came under any entry.
		t.log.Warn("first load", "sale", e[0].Name, "err", err)
	}
	return t.numbered(ref)
}

// checkSale refuses what must not be sold, and all that would refuse the
// first load, so that a sale is not left half done for a foreseeable reason.
func (t *Terminal) checkSale(ctx context.Context, s *session, balance money.Fen, r SellRequest, online bool) (deposit money.Fen, err error) {
	if err := t.checkStanding(); err != nil {
		return 0, err
	}
	l, _, ok := t.limits()
	if !ok {
		return 0, refuse(CodeNoLimits)
	}
	number := s.app.Info().Number
	rng, ok := t.rangeOf(number)
	if !ok || (rng.Until != 0 && t.latest().UnixMilli() > rng.Until) {
		return 0, refuse(CodeCardNotOurs)
	}
	if _, sold, err := t.cfg.Store.Sold(number); err != nil {
		return 0, err
	} else if sold {
		return 0, refuse(CodeCardActive)
	}
	if balance != 0 {
		return 0, refuse(CodeCardNotEmpty)
	}
	if r.Amount < 0 || r.Tendered < l.CardDeposit+r.Amount {
		return 0, refuse(CodeTendered)
	}
	if !online {
		if err := t.checkQueue(l); err != nil {
			return 0, err
		}
	}
	// The utility is not asked about a deposit, on line either.
	if l.CardDeposit > 0 {
		if err := t.checkFloat(l.CardDeposit + r.Amount); err != nil {
			return 0, err
		}
	}
	if r.Amount == 0 {
		return l.CardDeposit, nil
	}
	if err := t.checkLoad(s, r.Amount, balance, online); err != nil {
		return 0, err
	}
	if !online {
		if err := t.checkAllowance(ctx, r.Amount); err != nil {
			return 0, err
		}
	}
	if s.app.Profile().PINForLoad && r.PIN == "" {
		return 0, refuse(CodePINNeeded)
	}
	return l.CardDeposit, nil
}
