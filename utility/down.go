package utility

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/master"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// versions are the lines that last may have changed what goes down and is
// made from the ledger. The versions of what is made from master data are
// there.
type versions struct {
	mu              sync.Mutex
	items, accounts uint64
}

func (v *versions) all(line uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.items, v.accounts = line, line
}

func (v *versions) touch(l record.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch l.Kind {
	case record.KindEntries:
		v.items, v.accounts = l.ID, l.ID
	case record.KindAccount, record.KindBill, record.KindSuspense, record.KindBillPaid:
		v.accounts = l.ID
	}
}

func (v *versions) at() (items, accounts uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.items, v.accounts
}

// bills keeps the section of accounts for a while: it is large and changes
// with every redemption.
type bills struct {
	every time.Duration
	mu    sync.Mutex
	made  time.Time
	line  uint64
	list  []wire.Bill
}

// Hello says where the terminal's journal stands by what is stored, and sends
// the sections that are newer than the terminal's.
func (s *Service) Hello(ctx context.Context, from money.TerminalID, h wire.Hello) (wire.HelloAnswer, error) {
	if h.Head.Terminal != from {
		return wire.HelloAnswer{}, refused("terminal %s says it is %s", from, h.Head.Terminal)
	}
	a := wire.HelloAnswer{Server: s.clock().UnixMilli()}
	have := map[wire.SectionKind]uint64{}
	for _, v := range h.Have {
		have[v.Kind] = v.Version
	}
	var float *wire.Section
	err := s.locked(ctx, func() (err error) {
		if a.Standing, a.Stored, err = s.standing(ctx, h.Head); err != nil {
			return err
		}
		// A program that does not name it can't read it.
		if held, named := have[wire.SectionFloat]; named && a.Standing == wire.StandingGood {
			float, err = s.float(ctx, from, held)
		}
		return err
	})
	if err != nil {
		return wire.HelloAnswer{}, err
	}
	if a.Standing == wire.StandingReenrol {
		return a, nil
	}
	a.Sections, err = s.sections(ctx, from, have, a.Standing == wire.StandingGood)
	if float != nil {
		a.Sections = append([][]byte{s.vault.Seal("section", float)}, a.Sections...)
	}
	return a, err
}

// floatEvery is how often an unchanged float is issued anew, so that its age on
// a screen is that of the link and not of the last sale.
const floatEvery = 10 * time.Minute

// told is what a terminal was told of its shop's float last.
type told struct {
	float   wire.Float
	at      time.Time
	version uint64
}

// float gives, under mu, what the asking terminal's shop may still give out, nil
// when the terminal holds that. The version grows with the log and, between
// lines, with time; a figure that did not change is not sent for every line of
// somebody else's.
func (s *Service) float(ctx context.Context, from money.TerminalID, held uint64) (*wire.Section, error) {
	t := s.master.Terminals[from]
	ep := t.Now()
	r, sams, err := s.roomOf(ctx, ep.Shop)
	if err != nil {
		return nil, err
	}
	f := wire.Float{Balance: r.Float, Ceiling: r.Ceiling, Reserved: r.Reserved, Allowed: r.Allowances, Epoch: t.Current, Seq: s.head(from, t.Current).Seq}
	if x := sams[ep.LoadSAM]; x.Shop == ep.Shop {
		f.Own = x.Outstanding()
	}
	now := s.clock()
	if was, ok := s.told[from]; !ok || was.float != f || now.Sub(was.at) >= floatEvery || now.Before(was.at) {
		const bits = 22 // periods until the year 2049
		period := uint64(max(now.UnixMilli()/floatEvery.Milliseconds(), 0)) % (1 << bits)
		s.told[from] = told{f, now, (s.tail.ID+1)<<bits | period}
	}
	is := s.told[from]
	if is.version <= held {
		return nil, nil
	}
	return &wire.Section{Kind: wire.SectionFloat, Version: is.version, Terminal: from, Issued: is.at.UnixMilli(), Float: f}, nil
}

func (s *Service) standing(ctx context.Context, h journal.Head) (wire.Standing, journal.Head, error) {
	stored := s.head(h.Terminal, h.Epoch)
	t := s.master.Terminals[h.Terminal]
	if t == nil || t.Epochs[h.Epoch] == nil {
		return wire.StandingReenrol, stored, nil
	}
	if h.Seq <= stored.Seq {
		at, err := s.hashAt(ctx, journal.Name{Terminal: h.Terminal, Epoch: h.Epoch, Seq: h.Seq})
		if err != nil {
			return 0, stored, err
		}
		if at != h.Hash {
			return wire.StandingForked, stored, nil
		}
		if h.Seq < stored.Seq {
			return wire.StandingBehind, stored, nil
		}
	}
	switch {
	case h.Epoch != t.Current:
		return wire.StandingOldEpoch, stored, nil
	case !s.master.MaySell(h.Terminal):
		return wire.StandingBlocked, stored, nil
	}
	return wire.StandingGood, stored, nil
}

// maxItemsOf is how many open items of one terminal go down, so that one that
// claims unknown outcomes without end does not push out those of others. A
// shop has a few.
const maxItemsOf = 1000

// hotlistEvery is how often an unchanged hotlist is issued anew: terminals
// stop redeeming when theirs is old (wire.Limits.HotlistStop), and only a new
// version tells them that it still stands.
const hotlistEvery = 6 * time.Hour

// hotlistVersion grows with every change and, between changes, with time.
func hotlistVersion(m *master.Data, now time.Time) uint64 {
	n := (now.UnixMilli() - m.HotlistTime) / hotlistEvery.Milliseconds()
	return (m.HotlistAt+1)<<20 | uint64(min(max(n, 0), 1<<20-1))
}

// sections makes the sealed sections that are newer than what the terminal
// has. A version is the line of the log that last touched the section, plus
// one so that even an empty section is sent once. A terminal that may not sell
// now, or whose disk is a copy, gets no bills: it has no customers to show
// them to, and may be in a thief's hands.
func (s *Service) sections(ctx context.Context, from money.TerminalID, have map[wire.SectionKind]uint64, good bool) ([][]byte, error) {
	now := s.clock()
	var out [][]byte
	send := func(x wire.Section) {
		x.Issued = now.UnixMilli()
		out = append(out, s.vault.Seal("section", &x))
	}
	newer := func(k wire.SectionKind, line uint64) (uint64, bool) { return line + 1, line+1 > have[k] }
	itemsAt, accountsAt := s.down.at()

	s.masterMu.RLock()
	m := s.master
	t := m.Terminals[from]
	if v := hotlistVersion(m, now); v > have[wire.SectionHotlist] {
		x := wire.Section{Kind: wire.SectionHotlist, Version: v}
		for n := range m.Blocked {
			x.Hotlist = append(x.Hotlist, n)
		}
		sort.Slice(x.Hotlist, func(i, j int) bool { return string(x.Hotlist[i][:]) < string(x.Hotlist[j][:]) })
		send(x)
	}
	if v, ok := newer(wire.SectionLimits, m.LimitsAt); ok {
		send(wire.Section{Kind: wire.SectionLimits, Version: v, Terminal: from, Limits: m.LimitsOf(from, s.limits)})
	}
	if v, ok := newer(wire.SectionRanges, m.RangesAt); ok {
		x := wire.Section{Kind: wire.SectionRanges, Version: v, Terminal: from}
		for _, r := range m.Ranges {
			if t != nil && r.Shop == t.Now().Shop && len(x.Ranges) < wire.MaxRanges {
				x.Ranges = append(x.Ranges, wire.Range{From: r.From, To: r.To, Named: r.Named})
			}
		}
		send(x)
	}
	s.masterMu.RUnlock()

	if v, ok := newer(wire.SectionItems, itemsAt); ok {
		x := wire.Section{Kind: wire.SectionItems, Version: v}
		of := map[money.TerminalID]int{}
		add := func(doubted bool) func(ledger.Item) error {
			return func(it ledger.Item) error {
				if !it.OfCard() {
					return nil // no card can tell
				}
				if of[it.Name.Terminal]++; len(x.Items) < wire.MaxOpenItems && of[it.Name.Terminal] <= maxItemsOf {
					x.Items = append(x.Items, wire.Item{Name: it.Name, Card: it.Card, TxType: it.TxType, Counter: it.Counter, Amount: it.Amount, Doubted: doubted})
				}
				return nil
			}
		}
		state := ledger.InHeld
		if err := s.store.Items(ctx, storage.ItemQuery{State: &state}, add(false)); err != nil {
			return nil, err
		}
		// A terminal that denies what its card did is found out by the next one
		// that sees the card.
		if err := s.store.Items(ctx, storage.ItemQuery{Doubted: true}, add(true)); err != nil {
			return nil, err
		}
		send(x)
	}
	if !good {
		return out, nil
	}
	list, line, made, err := s.billsAt(ctx, now, accountsAt)
	if err != nil {
		return nil, err
	}
	if v, ok := newer(wire.SectionAccounts, line); ok {
		x := wire.Section{Kind: wire.SectionAccounts, Version: v, Issued: made.UnixMilli(), Accounts: list}
		out = append(out, s.vault.Seal("section", &x))
	}
	return out, nil
}

// billsAt gives all bills as of a while ago at most.
func (s *Service) billsAt(ctx context.Context, now time.Time, changed uint64) ([]wire.Bill, uint64, time.Time, error) {
	b := &s.bills
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh := now.Sub(b.made) < b.every && !now.Before(b.made)
	if !b.made.IsZero() && (b.line == changed || fresh) {
		return b.list, b.line, b.made, nil
	}
	var list []wire.Bill
	index := map[money.AccountNumber]int{}
	err := s.store.Accounts(ctx, func(x storage.Account) error {
		if len(list) < wire.MaxAccounts {
			index[x.Number] = len(list)
			list = append(list, wire.Bill{Account: x.Number, Owner: x.Owner, AsOf: now.UnixMilli()})
		}
		return nil
	})
	if err != nil {
		return nil, 0, now, err
	}
	err = s.store.Balances(ctx, ledger.ClassCustomer, func(a ledger.Account, v money.Fen) error {
		if i, ok := index[a.Number()]; ok {
			list[i].Balance = v
		}
		return nil
	})
	if err != nil {
		return nil, 0, now, err
	}
	b.list, b.line, b.made = list, changed, now
	return list, changed, now, nil
}

// Account looks one account up, at a limited rate per terminal.
func (s *Service) Account(ctx context.Context, from money.TerminalID, q wire.AccountQuestion) (wire.AccountAnswer, error) {
	now := s.clock()
	s.masterMu.RLock()
	sells := s.master.MaySell(from)
	s.masterMu.RUnlock()
	if !sells {
		return wire.AccountAnswer{Refused: wire.CodeTerminal}, nil
	}
	if !s.lookups.limiter(from).AllowN(now, 1) {
		return wire.AccountAnswer{Refused: wire.CodeRate}, nil
	}
	have, err := s.store.Fetch(ctx, storage.Want{Accounts: []money.AccountNumber{q.Account}})
	if err != nil {
		return wire.AccountAnswer{}, err
	}
	owner, ok := have.Accounts[q.Account]
	if !ok {
		return wire.AccountAnswer{Refused: wire.CodeUnknownAccount}, nil
	}
	balance, err := s.store.Balance(ctx, ledger.Customer(q.Account))
	return wire.AccountAnswer{Bill: wire.Bill{Account: q.Account, Owner: owner, Balance: balance, AsOf: now.UnixMilli()}}, err
}
