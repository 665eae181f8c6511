package world

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/terminalaudit"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/audit"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

func (w *world) stationOf(id money.TerminalID) *station {
	for _, s := range w.stations {
		if s.id == id {
			return s
		}
	}
	return &station{w: w, id: id, shop: shops[1]} // not in a small world
}

// moved holds law 3 at the moment when a chip moved value: the intent is
// durable already.
func (w *world) moved(m *move) {
	w.figures.Assertions++
	s := w.stationOf(m.terminal)
	tx, ok := s.intent(m)
	if !ok {
		w.fail("the chip of %s moved %s at terminal %d, and no intent is on the disk", m.chip.name, m.amount, s.no+1)
	}
	m.tx = tx
	w.usedBlocked(m)
}

// did gives the movement that a transaction of a name really made. After a
// disk was restored or copied, a name may stand for two.
func (w *world) did(n journal.Name, card money.CardNumber, load bool, counter uint16, amount money.Fen) *move {
	for _, m := range w.moves {
		if m.tx.Name == n && m.chip.number == card && m.load == load && m.counter == counter && m.amount == amount {
			return m
		}
	}
	return nil
}

func (w *world) items() []ledger.Item {
	var list []ledger.Item
	w.must(w.utility.db.Items(w.ctx, storage.ItemQuery{}, func(it ledger.Item) error { list = append(list, it); return nil }), "read the items")
	return list
}

func (w *world) balances() map[ledger.Account]money.Fen {
	out := map[ledger.Account]money.Fen{}
	w.must(w.utility.db.Balances(w.ctx, 0, func(a ledger.Account, v money.Fen) error { out[a] = v; return nil }), "read the balances")
	return out
}

// check holds both equations of law 1, after every step: the accounts add up
// to nothing, and what each real chip holds is what the ledger has on its
// card and the movements, each with a name, that the ledger does not know or
// is not sure of.
func (w *world) check() {
	tail, err := w.utility.db.Tail(w.ctx)
	w.must(err, "read the tail")
	mark := tail.ID<<20 | uint64(len(w.moves))
	for _, s := range w.stations {
		if s.tm != nil {
			mark ^= 1 << (60 + s.no)
		}
	}
	if mark == w.checked {
		return
	}
	w.checked = mark

	balances := w.balances()
	sum := money.Fen(0)
	for _, v := range balances {
		sum += v
	}
	w.figures.Assertions++
	if sum != 0 {
		w.fail("the accounts add up to %s", sum)
	}

	items := w.items()
	onCard := map[money.CardNumber]money.Fen{} // what the items say that the ledger has on a card
	known := map[*move]ledger.Item{}
	for _, it := range items {
		if !it.OfCard() {
			if it.Kind == ledger.Carried {
				onCard[it.Card] -= it.Amount
			}
			continue
		}
		m := w.did(it.Name, it.Card, it.Load(), it.Counter, it.Amount)
		if m != nil {
			known[m] = it
		}
		switch {
		case it.Load() && it.State == ledger.Done:
			onCard[it.Card] += it.Amount
		case !it.Load() && (it.State == ledger.Done || it.State == ledger.InHeld):
			onCard[it.Card] -= it.Amount
		}
		if w.stationOf(it.Name.Terminal).crooked || w.cloned(it.Card) {
			continue
		}
		w.figures.Assertions++
		gone := it.State == ledger.NotDone || it.State == ledger.InClaim || it.State == ledger.Returned
		switch {
		case it.State == ledger.Done && m == nil:
			w.fail("the ledger has %s of %s as done, and no chip did it", it.Name, it.Amount)
		case gone && m != nil:
			w.fail("the ledger has %s of %s as not done, and the chip did it", it.Name, it.Amount)
		case it.Final && it.State == ledger.Open && m != nil:
			w.fail("the ledger has %s of %s as disproved, and the chip did it", it.Name, it.Amount)
		}
	}
	for _, c := range w.chips {
		w.figures.Assertions++
		if got := balances[ledger.Card(c.number)]; c.clone == nil && got != onCard[c.number] {
			w.fail("the ledger has %s on %s, its items say %s", got, c.name, onCard[c.number])
		}
	}
	for _, m := range w.moves {
		if it, ok := known[m]; ok && it.State == ledger.Done {
			continue
		}
		w.named(m, known)
	}
}

// named requires that a movement that the ledger has not posted has a name:
// the terminal's journal knows it, and either has not sent it or both know
// that they are not sure.
func (w *world) named(m *move, known map[*move]ledger.Item) {
	s := w.stationOf(m.terminal)
	if s.st == nil || s.disk.hurt || s.crooked || s.rolledBack(m.tx.Name) || w.cloned(m.chip.number) {
		return // asked again when the terminal is back; a rolled back name may stand for two
	}
	w.figures.Assertions++
	tx, err := s.st.Transaction(m.tx.Name.Ref())
	if err != nil || tx.Card != m.chip.number || tx.Amount != m.amount {
		w.fail("the chip of %s moved %s as %s, and the terminal has forgotten it: %v", m.chip.name, m.amount, m.tx.Name, err)
	}
	if tx.Result == journal.NotDone {
		w.fail("the chip of %s moved %s as %s, and the terminal says that it did not", m.chip.name, m.amount, m.tx.Name)
	}
	it, ok := known[m]
	if !ok {
		return // not yet sent, by name in the outbox; the heads are compared at the end
	}
	switch it.State {
	case ledger.Open, ledger.InHeld:
	default:
		w.fail("%s moved on the chip and is in state %d at the utility", m.tx.Name, it.State)
	}
}

// cloned reports whether a second chip of a card's number is about.
func (w *world) cloned(n money.CardNumber) bool {
	for _, c := range w.chips {
		if c.number == n && c.clone != nil {
			return true
		}
	}
	return false
}

// sawClone reports whether a cloned card was used at a terminal, whose journal
// then tells of two chips as if they were one.
func (s *station) sawClone() bool {
	for _, c := range s.w.chips {
		if c.clone == nil {
			continue
		}
		list, err := s.st.ByCard(c.number, 1)
		s.w.must(err, "read the journal")
		if len(list) > 0 {
			return true
		}
	}
	return false
}

// putBack makes an older copy of a disk the terminal's disk. The second copy
// of what is unsent lies elsewhere, unless whole says that it went back too.
func (w *world) putBack(s *station, e image, whole bool) {
	s.loses = s.loses || whole || s.disk.lamed
	if whole {
		w.fault("second copy restored with it")
		w.write(s, e)
	} else {
		w.must(os.WriteFile(s.path(), e.file, 0o600), "restore a disk")
	}
	s.told = slices.Clone(e.told)
	s.behind, s.forgot, s.rolled = true, true, max(s.rolled, s.epoch)
	s.heard = time.Time{}
	s.topUps = nil
	s.wishesLost()
}

// write makes both files of a terminal what they were in a copy.
func (w *world) write(s *station, e image) {
	w.must(os.WriteFile(s.path(), e.file, 0o600), "restore a disk")
	if e.copy == nil {
		_ = os.Remove(s.copyPath())
	} else {
		w.must(os.WriteFile(s.copyPath(), e.copy, 0o600), "restore a second copy")
	}
}

// wishesLost drops the wishes whose answers a terminal has forgotten.
func (s *station) wishesLost() {
	var keep []*wish
	for _, x := range s.w.wishes {
		if x.st != s {
			keep = append(keep, x)
		}
	}
	s.w.wishes = keep
}

// heal ends everything bad and lets the world settle: terminals start, the
// lines are up, the clocks right, and every card visits every terminal.
func (w *world) heal() {
	w.utility.store.in = 0
	for _, s := range w.stations {
		if s.stopped() || (w.seed+uint64(s.no))%3 == 0 {
			s.bury()
		}
		s.bomb = bomb{}
		s.disk.full, s.disk.fail, s.disk.hurt, s.disk.lame = false, "", false, false
		s.card.tear, s.sam.tear, s.link.up, s.link.plan, s.skew = tear{}, tear{}, true, nil, 0
		s.link.late = slices.DeleteFunc(s.link.late, func(r *http.Request) bool { return !atCounter(r) })
		s.card.pull()
	}
	for _, s := range w.stations {
		w.putSAM(s)
	}
	time.Sleep(time.Minute)
	for _, s := range w.stations {
		if !s.boot() {
			w.fail("terminal %d does not start after everything was mended", s.no+1)
		}
	}
	for round := range 4 {
		for _, s := range w.stations {
			s.turn(true)
			w.figures.Assertions++
			if round == 0 && !s.agrees() && !mustEnrol(s.up.Standing()) {
				w.fail("the utility holds another journal of terminal %d, which it lets go on", s.no+1)
			}
			if mustEnrol(s.up.Standing()) || s.crooked && round == 0 {
				w.figures.Found["terminal that must be enrolled again"]++
				s.enrol()
				s.turn(true)
			}
			if round == 0 && (w.seed/3+uint64(s.no))%2 == 0 {
				s.maintain()
				s.turn(false)
			}
		}
		look := w.unsettled()
		for _, s := range w.stations {
			if len(look) == 0 {
				break
			}
			s.turn(true) // what is open now
			for _, c := range w.chips {
				if c.clone == nil && look[c.number] {
					w.insert(s, c)
				}
			}
			s.card.pull()
			w.settleEvents()
			s.turn(false)
			time.Sleep(time.Minute)
		}
		for _, s := range w.stations { // what another terminal's card told, they learn of the utility
			if n, err := s.st.CountOpen(); err == nil && n > 0 {
				s.maintain()
				s.turn(false)
			}
		}
		w.check()
		if w.quiet() {
			return
		}
	}
}

// unsettled are the cards about which something is open or doubted.
func (w *world) unsettled() map[money.CardNumber]bool {
	out := map[money.CardNumber]bool{}
	for _, s := range w.stations {
		list, err := s.st.OpenTransactions()
		w.must(err, "read what is open")
		for _, t := range list {
			out[t.Card] = true
		}
	}
	state := ledger.InHeld
	for _, q := range []storage.ItemQuery{{State: &state}, {Doubted: true}} {
		w.must(w.utility.db.Items(w.ctx, q, func(it ledger.Item) error { out[it.Card] = true; return nil }), "read what is open")
	}
	return out
}

// quiet reports whether nothing is open any more.
func (w *world) quiet() bool {
	for _, s := range w.stations {
		if n, err := s.st.CountOpen(); err != nil || n > 0 || s.st.Unsent().Count > 0 {
			return false
		}
	}
	list, err := w.utility.svc.OpenItems(w.ctx)
	return err == nil && len(list) == 0
}

// final holds the end against what really happened.
func (w *world) final() {
	for _, s := range w.stations {
		w.figures.Entries += s.st.Head().Seq
		if n := s.st.Unsent().Count; n > 0 {
			w.fail("terminal %d has %d entries that the utility does not take: %s", s.no+1, n, s.up.Status().LastError)
		}
		if _, err := s.st.Check(w.ctx); err != nil {
			w.fail("the file of terminal %d: %v", s.no+1, err)
		}
		if _, err := terminalaudit.Run(w.ctx, s.st); err != nil && !s.crooked && !s.sawClone() {
			w.fail("the audit of terminal %d: %v", s.no+1, err)
		}
		s.recall()
	}
	w.synced()
	w.settled()
	if r, err := audit.Run(w.ctx, w.utility.db, w.utility.vault, profiles.Builtin()); err != nil {
		var b strings.Builder
		if r != nil {
			_ = r.Write(&b)
		}
		w.fail("the utility's audit: %v\n%s", err, b.String())
	}
	w.figures.Assertions += 3 * len(w.stations)
	w.books()
	w.alarms()
	w.caught()
	h, err := w.utility.svc.LedgerHash(w.ctx)
	w.must(err, "hash the ledger")
	w.figures.Hash = h.String()
	for _, s := range w.stations {
		w.figures.Hash += " " + s.st.Head().Hash.String()[:8]
	}
}

// synced requires at the end that whatever the utility ever acknowledged is
// still stored, and that it and the terminals have the same journals.
func (w *world) synced() {
	for n := range w.utility.acks {
		w.utility.keeps(n)
	}
	for _, s := range w.stations {
		epochs := s.st.Epochs()
		for i, ep := range epochs {
			if i < len(epochs)-1 && (s.crooked || s.forgot) {
				continue // an epoch in which the two told different stories
			}
			if ep.Head.Seq == 0 {
				continue
			}
			w.figures.Assertions++
			n := journal.Name{Terminal: s.id, Epoch: ep.Head.Epoch, Seq: ep.Head.Seq}
			if h, ok := w.utility.hashAt(n); !ok || h != ep.Head.Hash {
				w.fail("terminal %d and the utility differ about %s", s.no+1, n)
			}
		}
	}
}

// settled requires that at the end nothing is open that a card could have
// told: after every card visited every terminal only a movement whose proof
// the card has overwritten with a later one is.
func (w *world) settled() {
	if w.lossy() || w.cheated() {
		return // somebody forgot or denies what he should tell
	}
	told := func(n journal.Name, card money.CardNumber, load bool, counter uint16, amount money.Fen) {
		w.figures.Assertions++
		if m := w.did(n, card, load, counter, amount); m == nil || !w.overwritten(m) {
			w.fail("%s of %s is open after every card was everywhere", n, amount)
		}
	}
	for _, s := range w.stations {
		list, err := s.st.OpenTransactions()
		w.must(err, "read what is open")
		for _, t := range list {
			switch {
			case t.Load != nil:
				told(t.Name, t.Card, true, t.Load.Counter, t.Amount)
			case t.Purchase != nil:
				told(t.Name, t.Card, false, t.Purchase.Counter, t.Amount)
			default:
				w.fail("%s is open at the end", t.Name)
			}
		}
	}
	for _, it := range w.items() {
		if it.State == ledger.InHeld && it.OfCard() {
			told(it.Name, it.Card, it.Load(), it.Counter, it.Amount)
		}
	}
}

// overwritten reports whether the chip has a later proof in the place of a
// movement's.
func (w *world) overwritten(m *move) bool {
	later := w.moves[slices.Index(w.moves, m)+1:]
	return slices.ContainsFunc(later, func(x *move) bool {
		return x.chip == m.chip && (x.load == m.load || m.chip.options.SingleProof)
	})
}

// books holds every account of the ledger against what the chips did, what
// the terminals remember of cash, and what head office did.
func (w *world) books() {
	want := map[ledger.Account]money.Fen{}
	shift := func(a money.Fen, from, to ledger.Account) { want[from] -= a; want[to] += a }
	w.must(w.utility.officeLines(func(l officeLine) {
		switch {
		case l.float != 0:
			shift(l.amount, ledger.Bank, ledger.Shop(l.float))
		case l.resolved:
			shift(l.amount, ledger.Suspense, ledger.Customer(l.account))
		default:
			shift(l.amount, ledger.Customer(l.account), ledger.Revenue)
		}
	}), "read what head office did")
	items := w.items()
	held := map[journal.Name]bool{}
	unsure := 0
	for _, it := range items {
		if it.State != ledger.InHeld {
			continue
		}
		// Unknown to the end, and shown: the value waits under its name.
		unsure++
		held[it.Name] = true
		from := ledger.Shop(it.Shop)
		if !it.Load() && it.OfCard() {
			from = ledger.Card(it.Card)
		}
		shift(it.Amount, from, ledger.Held(it.Name))
	}
	open, err := w.utility.svc.OpenItems(w.ctx)
	w.must(err, "read what is open")
	if len(open) != unsure {
		w.fail("%d items are held, %d are shown", unsure, len(open))
	}
	w.figures.Unsettled += unsure
	posted := map[journal.Name]ledger.Item{}
	for _, it := range items {
		posted[it.Name] = it
	}
	for _, m := range w.moves {
		s := w.stationOf(m.terminal)
		it, ok := posted[m.tx.Name]
		ok = ok && it.Card == m.chip.number && it.Counter == m.counter && it.Load() == m.load && it.Amount == m.amount
		switch {
		case ok && held[m.tx.Name]:
		case ok && it.State == ledger.Done:
			switch {
			case m.load:
				shift(m.amount, ledger.Shop(s.shop), ledger.Card(m.chip.number))
			case m.tx.Kind == journal.KindVoidDebit:
				shift(m.amount, ledger.Card(m.chip.number), ledger.Shop(s.shop))
			case m.tx.Account == accounts[len(accounts)-1]: // head office may have named it since
				shift(m.amount, ledger.Card(m.chip.number), ledger.Suspense)
			default:
				to := m.tx.Account // what the card paid for when it paid
				if s.crooked {
					to = it.Account // what was said afterwards: the slip tells
				}
				shift(m.amount, ledger.Card(m.chip.number), ledger.Customer(to))
			}
		case s.loses || s.crooked || w.cloned(m.chip.number):
			w.lost(m)
		default:
			w.fail("the chip of %s moved %s as %s, which the utility does not know", m.chip.name, m.amount, m.tx.Name)
		}
	}
	for _, it := range items {
		// The utility remembers it; of a cloned card it may have learned at
		// another terminal, from the other chip, what this one leaves unknown.
		if it.Kind != ledger.Carried && (it.State == ledger.InClaim || it.State == ledger.Collected) && (w.stationOf(it.Name.Terminal).forgot || w.cloned(it.Card)) {
			shift(it.Amount, ledger.Shop(it.Shop), ledger.Claim(it.Name))
		}
	}
	for _, s := range w.stations {
		if s.forgot {
			continue
		}
		list, err := s.st.Recent(10_000, journal.Ref{})
		w.must(err, "read the journal")
		for _, t := range list {
			taken := t.Load != nil && t.Load.Tendered > 0 || t.Bill != nil
			if p := w.slipOf(t.Name); taken && t.Result == journal.NotDone && (!t.CashReturned || p != nil && p.paidBy != nil) && !w.cloned(t.Card) {
				shift(t.Amount, ledger.Shop(s.shop), ledger.Claim(t.Name))
			}
		}
	}
	w.counterBooks(shift)
	got := w.balances()
	for _, a := range union(want, got) {
		w.figures.Assertions++
		if want[a] != got[a] && !w.touched(a) {
			w.fail("%s stands at %s, what happened makes it %s", a, got[a], want[a])
		}
	}
	w.credit()
	w.drawers(got)
	if !w.lossy() && !w.cheated() {
		for _, c := range w.chips {
			w.figures.Assertions++
			if on := got[ledger.Card(c.number)] + w.unsureOn(c, items) + w.carriedOf(c.number); on != c.holds {
				w.fail("the chip of %s holds %s, the ledger has %s", c.name, c.holds, on)
			}
		}
	}
}

// unsureOn is what the ledger would have to move for a card if what is held
// to the end were known.
func (w *world) unsureOn(c *chip, items []ledger.Item) (sum money.Fen) {
	for _, it := range items {
		if it.State != ledger.InHeld || it.Card != c.number {
			continue
		}
		m := w.did(it.Name, it.Card, it.Load(), it.Counter, it.Amount)
		switch {
		case it.Load() && m != nil:
			sum += it.Amount
		case !it.Load() && m == nil:
			sum += it.Amount
		}
	}
	return sum
}

func union(a, b map[ledger.Account]money.Fen) (list []ledger.Account) {
	seen := map[ledger.Account]bool{}
	for _, m := range []map[ledger.Account]money.Fen{a, b} {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				list = append(list, k)
			}
		}
	}
	slices.SortFunc(list, func(a, b ledger.Account) int { return strings.Compare(a.String(), b.String()) })
	return list
}

func (w *world) lossy() bool {
	for _, s := range w.stations {
		if s.forgot {
			return true
		}
	}
	return false
}

func (w *world) cheated() bool {
	for _, s := range w.stations {
		if s.crooked {
			return true
		}
	}
	for _, c := range w.chips {
		if c.clone != nil {
			return true
		}
	}
	return false
}

// touched reports whether an account is a cheat's own, on which the ledger
// has what the cheat said: it is held against the chips otherwise.
func (w *world) touched(a ledger.Account) bool {
	for _, s := range w.stations {
		if s.crooked && (a == ledger.Shop(s.shop) || bytes.HasPrefix(a.Bytes(), ledger.Claim(journal.Name{Terminal: s.id}).Bytes()[:1+len(s.id)])) {
			return true
		}
	}
	return false
}

// credit holds what the utility gives shops on credit, whatever they do: a
// shop's room never exceeds its float and its ceiling less every load that a
// chip made at its terminals and every cash that it owes, recorded or not.
func (w *world) credit() {
	for _, shop := range shops {
		w.figures.Assertions++
		r, err := w.utility.svc.ShopRoom(w.ctx, shop)
		w.must(err, "ask for a shop's room")
		left := r.Ceiling
		w.must(w.utility.officeLines(func(l officeLine) {
			if l.float == shop {
				left += l.amount
			}
		}), "read what head office did")
		w.must(w.utility.lines(func(_ recordLine, r any) {
			switch r := r.(type) {
			case *record.BillPaid:
				if r.Shop == shop && r.Answer.Refused == wire.OK {
					left -= r.Question.Intent.Amount
				}
			case *record.Collected:
				switch {
				case r.Shop != shop:
				case r.Undo:
					left -= r.Question.Intent.Amount
				case r.Answer.Refused == wire.OK:
					left += r.Question.Intent.Amount
				}
			}
		}, record.KindBillPaid, record.KindCollected), "read what was decided for the counters")
		for _, m := range w.moves {
			switch {
			case w.stationOf(m.terminal).shop != shop:
			case m.load:
				left -= m.amount
			case m.tx.Kind == journal.KindVoidDebit:
				left += m.amount
			}
		}
		if r.Room > left {
			w.fail("shop %s may give out %s, and what its chips did leaves it %s", shop, r.Room, left)
		}
	}
}

// lost is a movement that no record tells of: it must be seen all the same,
// by what the utility reserved, by the SAM's own total, or by the gap in the
// card's counters.
func (w *world) lost(m *move) {
	w.figures.Assertions++
	if w.carriedOf(m.chip.number) > 0 {
		w.figures.Found["lost movement of a card that was replaced"]++
		return
	}
	if w.cloned(m.chip.number) {
		w.figures.Found["movement of a cloned card that was not posted"]++
		return
	}
	if m.load && m.tx.Load != nil && m.tx.Load.Authority == journal.AuthorityHost {
		guards, err := w.utility.svc.Guards(w.ctx)
		w.must(err, "read the guards")
		for _, g := range guards {
			if g.Name == m.tx.Name && g.Amount == m.amount && g.Card == m.chip.number {
				w.figures.Found["lost load: reserved under its name"]++
				return
			}
		}
		for _, it := range w.items() {
			if it.Name == m.tx.Name && it.State == ledger.InClaim && it.Amount == m.amount {
				w.figures.Found["lost load: the shop paid for it, into the claim"]++
				return
			}
		}
		w.fail("the load %s of %s is lost, and nothing is reserved for it", m.tx.Name, m.amount)
	}
	if m.load {
		w.figures.Found["lost load: within the load SAM's allowance"]++ // credit holds it
		return
	}
	gaps, err := w.utility.svc.MissingRecords(w.ctx)
	w.must(err, "look for missing records")
	for _, g := range gaps {
		if g.Card == m.chip.number && !g.Load && g.From <= m.counter && m.counter <= g.Through {
			w.figures.Found["lost debit: gap in the card's counters"]++
			return
		}
	}
	for _, x := range w.moves {
		if x.chip == m.chip && !x.load && x.counter < m.counter {
			w.fail("the debit %s of %s at counter %d of %s is lost, and no gap shows it: %v", m.tx.Name, m.amount, m.counter, m.chip.name, gaps)
		}
	}
	// The card's first debit of all: nothing before it was ever proven.
	w.figures.Found["lost debit: a new card's first"]++
}

// probe makes every card show its counters: whoever looks for what is missing
// sees it at the card's next transaction at a terminal that keeps its records.
func (w *world) probe() {
	if !w.lossy() && !w.cheated() {
		return
	}
	var s *station
	for _, x := range w.stations {
		if !x.crooked && (s == nil || s.forgot) {
			s = x
		}
	}
	if s == nil {
		w.fail("every terminal is dishonest")
	}
	if s.forgot { // it may have found out by its PSAM that its disk is old
		s.enrol()
		s.turn(true)
	}
	w.utility.office(func(svc *service.Service) error { return svc.PayFloat(w.ctx, s.shop, 1000_00, "to probe") })
	w.utility.office(func(svc *service.Service) error {
		return svc.SetLimits(w.ctx, money.TerminalID{}, wire.DefaultLimits())
	})
	s.turn(true)
	for _, c := range w.chips {
		if c.clone != nil || w.cloned(c.number) {
			continue
		}
		if w.carriedOf(c.number) > 0 {
			continue // it never comes back
		}
		w.utility.office(func(svc *service.Service) error { return svc.UnblockCard(w.ctx, c.number) })
		w.unblocked(c.number)
		s.turn(true)
		time.Sleep(26 * time.Hour) // a day limit is not what is looked at
		s.turn(true)
		w.insert(s, c)
		if c.holds == 0 {
			req := terminal.TopUpRequest{Token: w.token(), Who: s.clerk, Card: c.number, Amount: 10_00, Tendered: 10_00}
			w.insist(&wish{st: s, what: TopUp, token: req.Token, of: journal.Transaction{Card: c.number, Amount: req.Amount}, do: func() (terminal.Receipt, error) { return s.tm.TopUp(w.ctx, req) }})
		}
		if c.holds > 0 {
			req := terminal.RedeemRequest{Token: w.token(), Who: s.clerk, Card: c.number, Account: accounts[0], Amount: 1}
			w.insist(&wish{st: s, what: Redeem, token: req.Token, of: journal.Transaction{Card: c.number, Account: req.Account, Amount: req.Amount}, do: func() (terminal.Receipt, error) { return s.tm.Redeem(w.ctx, req) }})
		}
		w.at--
		s.card.pull()
		w.settleEvents()
	}
	s.turn(true)
	w.at = -1
}

// insist asks with nothing going wrong just then, and once more when it is
// refused: a SAM that was hurt before the world was mended shows it only now.
func (w *world) insist(x *wish) {
	if w.ask(x, Action{R: 7 << 20}); x.said == nil {
		w.repeat(x)
	}
}

// alarms requires that honest people and broken machines raise no alarm that
// accuses them of what they did not do, and nothing that is not understood.
func (w *world) alarms() {
	list, err := w.utility.svc.Alarms(w.ctx)
	w.must(err, "read the alarms")
	for _, a := range list {
		w.figures.Found["alarm: "+a.Kind]++
	}
	held, err := w.utility.svc.Quarantine(w.ctx)
	w.must(err, "read the quarantine")
	for _, h := range held {
		w.figures.Found["quarantine: "+h.Reason]++
	}
	if !w.cheated() && !w.lossy() {
		for _, h := range held {
			// A card that two terminals sold off line is a person's to look at.
			if h.Reason != record.HeldOtherProof && h.Reason != record.HeldSold {
				w.fail("%s of an honest terminal is in quarantine: %s", h.Name, h.Reason)
			}
		}
		for _, a := range list {
			w.fail("alarm %s about %s, where nobody did wrong: %s", a.Kind, a.Name, a.Detail)
		}
	}
}
