package utility

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sort"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// Balance is one account of the ledger.
type Balance struct {
	Account ledger.Account
	Amount  money.Fen // + is owed to the owner
}

// Balances gives every account that ever had a posting.
func (s *Service) Balances(ctx context.Context) (list []Balance, err error) {
	err = s.store.Balances(ctx, 0, func(a ledger.Account, v money.Fen) error {
		list = append(list, Balance{a, v})
		return nil
	})
	return list, err
}

// Balance gives one account's balance.
func (s *Service) Balance(ctx context.Context, a ledger.Account) (money.Fen, error) {
	return s.store.Balance(ctx, a)
}

// StatementLine is one posting of an account with the balance after it.
type StatementLine struct {
	Name    journal.Name // the entry that made it; terminal zero: a record of head office
	At      time.Time    // when it was stored
	Amount  money.Fen
	Balance money.Fen
}

// Statement gives every posting of an account, oldest first.
func (s *Service) Statement(ctx context.Context, a ledger.Account) ([]StatementLine, error) {
	var out []StatementLine
	var lines []uint64
	var sum money.Fen
	err := s.store.Postings(ctx, a, func(p storage.Posted) error {
		sum += p.Amount
		out = append(out, StatementLine{Name: p.Name, Amount: p.Amount, Balance: sum})
		lines = append(lines, p.Line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	at := map[uint64]time.Time{}
	for i, id := range lines {
		if _, ok := at[id]; !ok {
			l, err := s.store.Lines(ctx, id-1, 1)
			if err != nil {
				return nil, err
			}
			if len(l) == 1 {
				at[id] = time.UnixMilli(l[0].At)
			}
		}
		out[i].At = at[id]
	}
	return out, nil
}

// Room is what a shop may still give out.
type Room struct {
	Float      money.Fen
	Ceiling    money.Fen
	Reserved   money.Fen // on line: MAC2 given, not yet paid, and guards
	Allowances money.Fen // off line: outstanding of its load SAMs
	Room       money.Fen
}

// ShopRoom gives the room of a shop and what it is made of.
func (s *Service) ShopRoom(ctx context.Context, shop money.ShopID) (r Room, err error) {
	err = s.locked(ctx, func() (err error) {
		r, _, err = s.roomOf(ctx, shop)
		return err
	})
	return r, err
}

// TerminalStatus is a terminal as the utility sees it.
type TerminalStatus struct {
	Terminal      money.TerminalID
	Shop          money.ShopID
	PSAM, LoadSAM money.SAMID
	Blocked       bool // by head office
	Frozen        bool // it signed two entries of one name
	Head          journal.Head
}

// Terminals gives all enrolled terminals in order of number.
func (s *Service) Terminals(ctx context.Context) (list []TerminalStatus, err error) {
	err = s.locked(ctx, func() error {
		for id, t := range s.master.Terminals {
			e := t.Now()
			list = append(list, TerminalStatus{id, e.Shop, e.PSAM, e.LoadSAM, t.Blocked, s.master.Frozen[id], s.head(id, t.Current)})
		}
		return nil
	})
	sort.Slice(list, func(i, j int) bool { return list[i].Terminal.String() < list[j].Terminal.String() })
	return list, err
}

// Shops gives all shops in order of number.
func (s *Service) Shops() []record.Shop {
	s.masterMu.RLock()
	defer s.masterMu.RUnlock()
	var list []record.Shop
	for _, x := range s.master.Shops {
		list = append(list, x)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Shop < list[j].Shop })
	return list
}

// Quarantine gives the entries that could not be accepted, with the reason.
func (s *Service) Quarantine(ctx context.Context) (list []storage.Held, err error) {
	err = s.store.Held(ctx, func(h storage.Held) error { list = append(list, h); return nil })
	return list, err
}

// Alarms gives what a person must look at.
func (s *Service) Alarms(ctx context.Context) (list []storage.Alarm, err error) {
	err = s.store.Alarms(ctx, func(a storage.Alarm) error { list = append(list, a); return nil })
	return list, err
}

// OpenItems gives the movements whose fate is unknown: their value is in
// held/<name>.
func (s *Service) OpenItems(ctx context.Context) ([]ledger.Item, error) {
	state := ledger.InHeld
	return s.items(ctx, storage.ItemQuery{State: &state})
}

// Claims gives what customers are owed: for top-ups and bills that were not
// done, and for cards that were replaced.
func (s *Service) Claims(ctx context.Context) ([]ledger.Item, error) {
	state := ledger.InClaim
	return s.items(ctx, storage.ItemQuery{State: &state})
}

// Guards gives the on-line top-ups that count against a shop's room: under
// way, or not proven not to have happened.
func (s *Service) Guards(ctx context.Context) ([]ledger.Item, error) {
	return s.items(ctx, storage.ItemQuery{Exposed: true})
}

// Suspense gives the redemptions to accounts that nobody knows.
func (s *Service) Suspense(ctx context.Context) ([]ledger.Item, error) {
	return s.items(ctx, storage.ItemQuery{Nameless: true})
}

// CardItems gives every movement of a card.
func (s *Service) CardItems(ctx context.Context, n money.CardNumber) ([]ledger.Item, error) {
	return s.items(ctx, storage.ItemQuery{Card: &n})
}

func (s *Service) items(ctx context.Context, q storage.ItemQuery) (list []ledger.Item, err error) {
	err = s.store.Items(ctx, q, func(it ledger.Item) error { list = append(list, it); return nil })
	return list, err
}

// Missing is a step of a card's counter that no proven record accounts for.
type Missing struct {
	Card    money.CardNumber
	Load    bool // the online counter
	From    uint16
	Through uint16
}

// MissingRecords gives the gaps between the proven steps of every card's
// counters: transactions that some terminal has not sent, or never will. A step
// before the first proven one is missing when a terminal saw the card at it:
// nobody knows with which counters a card came to us otherwise. It reads all
// items once.
func (s *Service) MissingRecords(ctx context.Context) ([]Missing, error) {
	type counter struct {
		card money.CardNumber
		load bool
	}
	steps, named := map[counter][]uint16{}, map[counter][]uint16{}
	err := s.store.Items(ctx, storage.ItemQuery{}, func(it ledger.Item) error {
		if !it.OfCard() {
			return nil
		}
		k := counter{it.Card, it.Load()}
		if it.Happened() {
			steps[k] = append(steps[k], it.Counter)
		} else if !it.Final {
			named[k] = append(named[k], it.Counter)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []Missing
	for k, list := range steps {
		slices.Sort(list)
		if n := named[k]; len(n) > 0 && slices.Min(n) < list[0] { // the card was there once, and is not any more
			out = append(out, Missing{k.card, k.load, slices.Min(n), list[0] - 1})
		}
		for i := 1; i < len(list); i++ {
			if list[i] > list[i-1]+1 {
				out = append(out, Missing{k.card, k.load, list[i-1] + 1, list[i] - 1})
			}
		}
	}
	slices.SortFunc(out, func(a, b Missing) int {
		return cmp.Or(bytes.Compare(a.Card[:], b.Card[:]), cmp.Compare(b2i(a.Load), b2i(b.Load)), cmp.Compare(a.From, b.From))
	})
	return out, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// StaffActs calls f for every entry by which a person of some terminal's staff
// can be held to account (journal.OfStaff), in the order in which they were
// stored: of one terminal, or of all when t is zero. It reads every batch once.
func (s *Service) StaffActs(ctx context.Context, t money.TerminalID, f func(journal.Entry) error) error {
	for at := uint64(0); ; {
		lines, err := s.store.Lines(ctx, at, 64, record.KindEntries)
		if err != nil || len(lines) == 0 {
			return err
		}
		for _, l := range lines {
			at = l.ID
			rec, err := record.Decode(l)
			if err != nil {
				return err
			}
			b := rec.(*wire.Batch)
			if !t.IsZero() && b.Terminal != t {
				continue
			}
			for _, raw := range b.Entries {
				e, err := journal.Parse(raw)
				if err != nil || !journal.OfStaff(e) || journal.Deed(e) == "" {
					continue // what can't be read is in quarantine
				}
				if err := f(e); err != nil {
					return err
				}
			}
		}
	}
}

// LedgerHash is the canonical hash of all that was posted (storage.LedgerHash).
func (s *Service) LedgerHash(ctx context.Context) (record.Hash, error) {
	return storage.LedgerHash(ctx, s.store)
}

// Storage is what the service runs on, for the audit.
func (s *Service) Storage() storage.Storage { return s.store }
