// Package audit recomputes the utility's ledger from its log and compares. It
// asks of every movement of card value one question, where is it now and by
// which evidence, and adds up; it knows no state machine and no postings. It
// shares the formats of the records with the posting side and none of its
// code, so that one mistake does not hide in both.
//
// It may import floor 0 and, of the utility, record, storage (to read) and
// vault (to verify). It must never import ledger's rules, intake or master,
// and it writes nothing.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
)

// ErrDifference means that the books are not what the records say.
var ErrDifference = errors.New("audit: the books are not clean")

// Keys verifies cryptograms. A vault does.
type Keys interface {
	VerifyLoad(c vault.Card, p vault.LoadProof) (bool, error)
	VerifyPurchase(c vault.Card, p vault.Purchase) (tac, mac2 bool, err error)
	VerifySAMState(challenge [8]byte, state []byte) (suite.LoadSAMState, error)
}

// Reader is what the audit reads of a storage.
type Reader interface {
	Tail(ctx context.Context) (storage.Tail, error)
	Lines(ctx context.Context, after uint64, limit int, kinds ...record.Kind) ([]record.Line, error)
	Balances(ctx context.Context, class ledger.Class, f func(ledger.Account, money.Fen) error) error
	Postings(ctx context.Context, a ledger.Account, f func(storage.Posted) error) error
	Items(ctx context.Context, q storage.ItemQuery, f func(ledger.Item) error) error
	Held(ctx context.Context, f func(storage.Held) error) error
	PSAMs(ctx context.Context) ([]storage.PSAM, error)
}

// Account is one account as the ledger has it and as the records say.
type Account struct {
	Name       string
	Ledger     money.Fen
	Recomputed money.Fen
}

// Named is an amount with the name of the entry that it is of.
type Named struct {
	Name   journal.Name
	Card   money.CardNumber
	Amount money.Fen
	What   string
}

// Report is what an audit found.
type Report struct {
	Lines, Entries uint64
	Pending        uint64    // lines stored and not yet posted: the utility was stopped in between, and posts them when it next runs
	Accounts       []Account // every one that the ledger or the records know
	Sum            money.Fen // of all accounts, must be 0
	Unknown        []Named   // value whose fate is unknown
	Claims         []Named   // what customers are owed: for top-ups and bills that did not happen, and for cards that are replaced
	Guards         []Named   // MAC2 given, value neither paid for nor proven not loaded
	Suspense       []Named   // redemptions to accounts that nobody knows
	Quarantine     []Named   // signed entries that could not be accepted
	Problems       []string  // differences; empty means clean
}

// Clean is the verdict.
func (r *Report) Clean() bool { return len(r.Problems) == 0 }

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("%d lines of the log, %d entries of terminals", r.Lines, r.Entries)
	if r.Pending > 0 {
		p("%d more lines are stored and not yet posted: the utility was stopped in between, and posts them when it next runs", r.Pending)
	}
	p("\n%-36s %18s %18s", "account", "ledger", "recomputed")
	for _, a := range r.Accounts {
		mark := ""
		if a.Ledger != a.Recomputed {
			mark = "  DIFFERS"
		}
		p("%-36s %18s %18s%s", a.Name, a.Ledger, a.Recomputed, mark)
	}
	p("%-36s %18s", "sum", r.Sum)
	for _, s := range []struct {
		title string
		list  []Named
	}{{"unknown", r.Unknown}, {"claims", r.Claims}, {"guards", r.Guards}, {"suspense", r.Suspense}, {"quarantine", r.Quarantine}} {
		if len(s.list) > 0 {
			p("\n%s:", s.title)
		}
		for _, n := range s.list {
			card := ""
			if !n.Card.IsZero() {
				card = "card …" + n.Card.Last4()
			}
			p("  %-28s %12s  %s %s", n.Name, n.Amount, card, n.What)
		}
	}
	if r.Clean() {
		_, err := fmt.Fprintln(w, "\nverdict: clean")
		return err
	}
	p("\nverdict: NOT CLEAN")
	for _, s := range r.Problems {
		p("  %s", s)
	}
	return nil
}

// Run audits. It gives the report and ErrDifference when anything is not as
// the records say; another error means that the audit could not be made.
func Run(ctx context.Context, s Reader, keys Keys, set *profiles.Set) (*Report, error) {
	a := newAuditor(keys, set)
	tail, err := s.Tail(ctx)
	if err != nil {
		return nil, err
	}
	if tail.Cursor > tail.ID {
		a.problem("the log ends at line %d, posted is line %d", tail.ID, tail.Cursor)
	}
	prev := record.Genesis
	for at := uint64(0); ; {
		lines, err := s.Lines(ctx, at, 64)
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if l.ID != at+1 {
				a.problem("line %d follows line %d", l.ID, at)
			}
			if record.Link(prev, l) != l.Hash {
				a.problem("line %d: the log's hash chain is broken", l.ID)
			}
			at, prev = l.ID, l.Hash
			if l.ID > tail.Cursor {
				a.Pending++
				continue
			}
			if err := a.line(l); err != nil {
				return nil, err
			}
		}
		if len(lines) == 0 {
			break
		}
	}
	if prev != tail.Hash {
		a.problem("the log ends otherwise than its tail says")
	}
	a.addUp()
	if err := a.compare(ctx, s); err != nil {
		return nil, err
	}
	if !a.Clean() {
		return &a.Report, fmt.Errorf("%w: %s", ErrDifference, a.Problems[0])
	}
	return &a.Report, nil
}

func (a *auditor) problem(format string, args ...any) {
	const most = 1000
	if len(a.Problems) < most {
		a.Problems = append(a.Problems, fmt.Sprintf(format, args...))
	}
}

// addUp puts every movement's value where it is.
func (a *auditor) addUp() {
	for _, m := range a.order {
		if to := m.now(); to != m.giver() {
			a.book[m.giver()] -= m.amount
			a.book[to] += m.amount
		}
		n := Named{Name: m.name, Card: m.card, Amount: m.amount}
		switch {
		case m.at == withHeld:
			a.Unknown = append(a.Unknown, n)
		case m.at == withClaim:
			a.Claims = append(a.Claims, n)
		case m.at == withReceiver && m.nameless:
			n.What = "to " + m.account.String()
			a.Suspense = append(a.Suspense, n)
		case m.load && (m.at == withGiver || m.at == withShop) && m.given && !m.proven && !m.disproven:
			a.Guards = append(a.Guards, n)
		}
	}
	for n, why := range a.held {
		a.Quarantine = append(a.Quarantine, Named{Name: n, What: why})
	}
	sort.Slice(a.Quarantine, func(i, j int) bool { return before(a.Quarantine[i].Name, a.Quarantine[j].Name) })
}

func before(x, y journal.Name) bool {
	if x.Terminal != y.Terminal {
		return string(x.Terminal[:]) < string(y.Terminal[:])
	}
	if x.Epoch != y.Epoch {
		return x.Epoch < y.Epoch
	}
	return x.Seq < y.Seq
}

// compare holds the ledger's tables against what the records say.
func (a *auditor) compare(ctx context.Context, s Reader) error {
	sums := map[string]money.Fen{}
	sets := map[journal.Name]money.Fen{}
	var ends []journal.Name // of postings, checked below
	err := s.Postings(ctx, ledger.Account{}, func(p storage.Posted) error {
		sums[p.Account.String()] += p.Amount
		if _, seen := sets[p.Name]; !seen {
			ends = append(ends, p.Name)
		}
		sets[p.Name] += p.Amount
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range ends {
		if v := sets[n]; v != 0 {
			a.problem("the postings of %s do not balance: %s", n, v)
		}
		if !a.exists(n) {
			a.problem("postings of %s, which is not in the log", n)
		}
	}
	balances := map[string]money.Fen{}
	if err := s.Balances(ctx, 0, func(x ledger.Account, v money.Fen) error { balances[x.String()] = v; return nil }); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, m := range []map[string]money.Fen{sums, balances, a.book} {
		for n := range m {
			names[n] = true
		}
	}
	for n := range names {
		a.Accounts = append(a.Accounts, Account{n, balances[n], a.book[n]})
		a.Sum += balances[n]
		if sums[n] != balances[n] {
			a.problem("%s: postings add up to %s, the balance is %s", n, sums[n], balances[n])
		}
		if balances[n] != a.book[n] {
			a.problem("%s: the ledger has %s, the records say %s", n, balances[n], a.book[n])
		}
	}
	sort.Slice(a.Accounts, func(i, j int) bool { return a.Accounts[i].Name < a.Accounts[j].Name })
	if a.Sum != 0 {
		a.problem("the accounts add up to %s", a.Sum)
	}

	held := map[journal.Name]bool{}
	err = s.Held(ctx, func(h storage.Held) error {
		held[h.Name] = true
		if a.held[h.Name] != h.Reason {
			a.problem("%s is in quarantine as %q, the records say %q", h.Name, h.Reason, a.held[h.Name])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for n, why := range a.held {
		if !held[n] {
			a.problem("%s belongs into quarantine: %s", n, why)
		}
	}

	psams, err := s.PSAMs(ctx)
	if err != nil {
		return err
	}
	for _, x := range psams {
		k := psamOf{era{x.Terminal, x.Epoch}, x.PSAM}
		if b := a.psams[k]; b == nil || *b != (row{x.Seq, x.Proven, x.Slack}) {
			a.problem("PSAM %s in epoch %d of terminal %s: the book has sequence %d, proven %d, unseen %d; the records say otherwise", x.PSAM, x.Epoch, x.Terminal, x.Seq, x.Proven, x.Slack)
		}
		delete(a.psams, k)
	}
	for k := range a.psams {
		a.problem("PSAM %s in epoch %d of terminal %s has no book", k.psam, k.epoch, k.terminal)
	}

	states := map[place]ledger.State{withHeld: ledger.InHeld, withReceiver: ledger.Done, withClaim: ledger.InClaim, withShop: ledger.Collected}
	seen := 0
	err = s.Items(ctx, storage.ItemQuery{}, func(it ledger.Item) error {
		seen++
		m := a.moves[it.Name]
		switch want, moved := states[placeOf(m)]; {
		case m == nil:
			a.problem("item %s is not in the records", it.Name)
		case it.Amount != m.amount || it.Card != m.card || it.Shop != m.shop || it.Counter != m.counter:
			a.problem("item %s is not what its intent says", it.Name)
		case moved && it.State != want, !moved && (it.State == ledger.InHeld || it.State == ledger.Done || it.State == ledger.InClaim || it.State == ledger.Collected):
			a.problem("item %s is in state %d, its value is with the %s", it.Name, it.State, m.now())
		}
		return nil
	})
	if seen != len(a.moves) {
		a.problem("%d items, the records make %d", seen, len(a.moves))
	}
	return err
}

func placeOf(m *move) place {
	if m == nil {
		return withGiver
	}
	return m.at
}

// exists reports whether an entry, or a record of head office, is in the log.
func (a *auditor) exists(n journal.Name) bool {
	if n.Terminal.IsZero() {
		return n.Epoch == 0 && a.office[n.Seq]
	}
	if _, decided := a.counter[n]; decided { // on line, before the entry comes
		return true
	}
	t := a.terms[era{n.Terminal, n.Epoch}]
	return t != nil && n.Seq >= 1 && n.Seq <= t.seq
}
