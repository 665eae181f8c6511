package terminal

import (
	"context"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/wire"
)

func (t *Terminal) section(k wire.SectionKind) (wire.Section, bool) {
	s, ok, err := t.cfg.Store.Section(k)
	if err != nil {
		t.log.Error("read a section", "kind", k, "err", err)
		return wire.Section{}, false
	}
	return s, ok
}

// limits gives what the utility signed; ok is false when it never did, and
// then nothing may be sold.
func (t *Terminal) limits() (wire.Limits, time.Time, bool) {
	s, ok := t.section(wire.SectionLimits)
	if !ok {
		return wire.Limits{}, time.Time{}, false
	}
	return s.Limits, time.UnixMilli(s.Issued), true
}

// latest is the time by which ages are reckoned: the clock, but never before
// what the utility signed last nor before an entry that it has not seen. Who
// sets the clock back makes nothing younger. Off line that is no more than a
// floor, so every age is bounded by a count as well: entries that wait, loads
// of a card in a row. A clock that ran ahead for a while makes things old until
// the utility has taken the entries that bear the wrong time.
func (t *Terminal) latest() time.Time {
	now := t.now()
	heard, err := t.cfg.Store.Heard()
	if err != nil {
		t.log.Error("read the time of what the utility signed last", "err", err)
	}
	if heard.After(now) {
		now = heard
	}
	t.mu.Lock()
	n := t.newest
	t.mu.Unlock()
	if n.at.After(now) && t.unsent(n.ref) {
		now = n.at
	}
	return now
}

// newest is the latest time on an entry.
type newest struct {
	at  time.Time
	ref journal.Ref
}

// unsent reports whether an entry of this epoch waits to be acknowledged.
func (t *Terminal) unsent(r journal.Ref) bool {
	return r.Epoch == t.cfg.Store.Identity().Epoch && r.Seq > t.cfg.Store.Acked()
}

func (t *Terminal) seenWall(e journal.Entry) {
	at, ref := time.UnixMilli(e.Wall), e.Name.Ref()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.Before(t.newest.at) || !t.unsent(t.newest.ref) {
		t.newest = newest{at, ref}
	}
}

// recallNewest finds the latest time on what waits to be sent, so that a
// restart does not forget that the clock was set back.
func (t *Terminal) recallNewest() error {
	id := t.cfg.Store.Identity()
	for seq := t.cfg.Store.Acked() + 1; seq <= t.cfg.Store.Head().Seq; seq++ {
		e, err := t.cfg.Store.Entry(journal.Ref{Epoch: id.Epoch, Seq: seq})
		if err != nil {
			return err
		}
		t.seenWall(e)
	}
	return nil
}

// older reports whether at lies more than limit seconds before now, which is
// of latest. A zero time is older than anything.
func older(now, at time.Time, limit uint32) bool {
	return at.IsZero() || now.Sub(at) > time.Duration(limit)*time.Second
}

// named reports whether a card is a named one: by the shop's signed range,
// else by the lowest bit of the issuer's own data in the card.
func (t *Terminal) named(info purse.PublicInfo) bool {
	if r, ok := t.rangeOf(info.Number); ok {
		return r.Named
	}
	return info.IssuerData[0]&1 == 1
}

func (t *Terminal) rangeOf(n money.CardNumber) (wire.Range, bool) {
	s, _ := t.section(wire.SectionRanges)
	for _, r := range s.Ranges {
		if r.Has(n) {
			return r, true
		}
	}
	return wire.Range{}, false
}

// stock reports whether n is a card of this shop that was not activated.
func (t *Terminal) stock(n money.CardNumber) bool {
	if _, ok := t.rangeOf(n); !ok {
		return false
	}
	_, sold, err := t.cfg.Store.Sold(n)
	return err == nil && !sold
}

func (t *Terminal) purseMax(info purse.PublicInfo, l wire.Limits) money.Fen {
	if t.named(info) {
		return l.NamedMax
	}
	return l.UnnamedMax
}

// checkStanding refuses new value at a terminal that the utility has blocked
// or whose journal it does not recognise: a restored or copied disk. What is
// written already is still sent or kept. A blocked terminal gets limits of
// nothing, signed, so that a restart without a link does not unblock it.
func (t *Terminal) checkStanding() error {
	if err := t.trusted(); err != nil {
		return err
	}
	if l, _, ok := t.limits(); ok && l == (wire.Limits{}) {
		return refuse(CodeStanding)
	}
	switch t.cfg.Host.Standing() {
	case wire.StandingBlocked, wire.StandingBehind, wire.StandingForked, wire.StandingReenrol:
		return refuse(CodeStanding)
	}
	return nil
}

// trusted refuses when the journal and the PSAM were found not to belong
// together.
func (t *Terminal) trusted() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mistrusted != "" {
		return refuse(t.mistrusted)
	}
	return nil
}

// checkQueue refuses new value when too much waits to be sent. It holds on
// line as well: when the link is up and yet nothing is taken, something is
// wrong.
func (t *Terminal) checkQueue(l wire.Limits) error {
	u := t.cfg.Store.Unsent()
	if u.Count >= uint64(l.UnsentStop) {
		return refuse(CodeUnsentCount)
	}
	if u.Count > 0 && older(t.latest(), time.UnixMilli(u.Oldest), l.UnsentAgeStop) {
		return refuse(CodeUnsentAge)
	}
	return nil
}

// checkLoad refuses what the limits refuse before the card is touched.
// Amounts per card and day, and loads in a row, bind off line only: on line
// the utility decides. A load off line that the utility has not acknowledged
// counts as of today whatever its date says: a day that the clock begins gives
// a card no new amount, word from the utility does.
func (t *Terminal) checkLoad(s *session, amount, before money.Fen, online bool) error {
	if err := t.checkStanding(); err != nil {
		return err
	}
	l, _, ok := t.limits()
	switch {
	case !ok:
		return refuse(CodeNoLimits)
	case amount <= 0 || amount > money.MaxPurse:
		return refuse(CodeAmount)
	case amount < l.TopUpMin:
		return refuseLimit(CodeTopUpMin, l.TopUpMin)
	case amount > l.TopUpMax:
		return refuseLimit(CodeTopUpMax, l.TopUpMax)
	}
	info := s.app.Info()
	if most := t.purseMax(info, l); before+amount > most {
		return refuseLimit(CodePurseMax, most)
	}
	if online {
		return nil
	}
	if err := t.checkQueue(l); err != nil {
		return err
	}
	if amount > l.OfflineTopUpMax {
		return refuseLimit(CodeOfflineMax, l.OfflineTopUpMax)
	}
	if err := t.checkFloat(amount); err != nil {
		return err
	}
	if t.cfg.Store.Unsent().Value+amount > l.UnsentMax {
		return refuseLimit(CodeUnsentValue, l.UnsentMax)
	}
	txs, err := t.cfg.Store.ByCard(info.Number, 200)
	if err != nil {
		return err
	}
	var today money.Fen
	inRow, counting := uint32(0), true
	for _, tx := range txs {
		if tx.Kind != journal.KindTopUp || tx.Result == journal.NotDone {
			continue
		}
		unseen := tx.Load.Authority == journal.AuthoritySAM && t.unsent(tx.Name.Ref())
		if unseen || sameDay(time.UnixMilli(tx.Began), t.latest()) {
			today += tx.Amount
		}
		if counting = counting && tx.Load.Authority == journal.AuthoritySAM; counting {
			inRow++
		}
	}
	if today+amount > l.CardDayMax {
		return refuseLimit(CodeCardDayMax, l.CardDayMax)
	}
	if inRow >= l.CardOfflineHard {
		return refuse(CodeCardOffline)
	}
	return nil
}

// paidSince sums what was paid here to an account and a bill of that
// age cannot know: entries that the utility has not acknowledged, and later
// ones. Otherwise a customer whose link is down would be asked to pay twice.
func (t *Terminal) paidSince(n money.AccountNumber, asOf int64) (sum money.Fen, err error) {
	txs, err := t.cfg.Store.Recent(recentForBill, journal.Ref{})
	if err != nil {
		return 0, err
	}
	epoch, acked := t.cfg.Store.Identity().Epoch, t.cfg.Store.Acked()
	for _, tx := range txs {
		unsent := tx.Name.Epoch == epoch && tx.Name.Seq > acked
		if (tx.Kind == journal.KindRedemption || tx.Kind == journal.KindBill) && tx.Account == n && tx.Result == journal.Done && (unsent || tx.Began > asOf) {
			sum += tx.Amount
		}
	}
	return sum, nil
}

// recentForBill is how many of the newest transactions are looked through for
// payments that a cached bill does not know: a shop's day.
const recentForBill = 500

// Account tells what is known of an account: from the utility when the link
// is up, else from the signed cache and what was paid here since, else nothing
// but the number.
func (t *Terminal) Account(ctx context.Context, n money.AccountNumber) (AccountView, error) {
	v, err := t.account(ctx, n)
	if err != nil || v.Seen != journal.AccountCached {
		return v, err
	}
	paid, err := t.paidSince(n, v.AsOf)
	v.Balance += paid
	return v, err
}

// account is Account without what was paid here.
func (t *Terminal) account(ctx context.Context, n money.AccountNumber) (AccountView, error) {
	if t.cfg.Host.Online() {
		ask, cancel := context.WithTimeout(ctx, t.cfg.HostWait/2)
		a, err := t.cfg.Host.Account(ask, n)
		cancel()
		switch {
		case err != nil:
			t.log.Info("look an account up", "err", err)
		case a.Refused == wire.CodeUnknownAccount:
			return AccountView{}, refuse(CodeAccountUnknown)
		case a.Refused == wire.OK:
			return AccountView{Bill: a.Bill, Seen: journal.AccountOnline}, nil
		}
	}
	s, _ := t.section(wire.SectionAccounts)
	for _, b := range s.Accounts {
		if b.Account == n {
			return AccountView{Bill: b, Seen: journal.AccountCached}, nil
		}
	}
	return AccountView{Bill: wire.Bill{Account: n}, Seen: journal.AccountTyped}, nil
}
