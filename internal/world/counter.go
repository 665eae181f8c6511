package world

import (
	"fmt"
	"slices"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/wire"
)

// What is done at the counter without a card's word: bills paid in cash,
// claims paid out, cards blocked and replaced. The world's people have cash in
// their hands; what lies in a drawer is what they put in and took out, and
// nobody asks the terminal for it.

// drawer is what a wish has put into the drawer of its terminal (+) or taken
// out (−), and what the customer holds for it.
type drawer struct {
	in, out money.Fen
}

// slip is a paper that a customer has: cash may wait under its number.
type slip struct {
	name    journal.Name
	amount  money.Fen
	from    *wish // that it came of
	paidBy  *wish // at whose answer a claim was paid out
	backBy  *wish // at whose answer its own terminal gave the cash back
	carried bool  // the value of a replaced card
}

func (w *world) slipOf(n journal.Name) *slip {
	for _, x := range w.slips {
		if x.name == n {
			return x
		}
	}
	return nil
}

// hold gives the customer the paper.
func (w *world) hold(x *wish, n journal.Name, a money.Fen) *slip {
	s := w.slipOf(n)
	if s == nil {
		s = &slip{name: n, amount: a, from: x}
		w.slips = append(w.slips, s)
	}
	return s
}

// look lets the clerk look at what became of a wish: at the answer, or after
// the terminal stopped without one. The cash goes where the screen says, once.
func (w *world) look(x *wish) {
	s := x.st
	if s.st == nil || s.disk.hurt || x.token == (journal.Token{}) {
		return
	}
	t, ok, err := s.st.ByToken(x.token)
	w.must(err, "look a wish up")
	var want drawer
	var child *journal.Transaction
	if ok {
		kids, err := s.st.Children(t.Name.Ref())
		w.must(err, "look a wish up")
		if len(kids) > 0 {
			child = &kids[len(kids)-1]
		}
	}
	switch {
	case !ok: // nothing was begun: the customer has the cash again
	case x.what == TopUp, x.what == PayBill:
		want.in = t.Amount
	case x.what == Sell && child != nil:
		want.in = child.Amount
	case x.what == Void && child != nil && child.Result == journal.Done:
		want.out = child.Amount
	case x.what == Collect && t.Result == journal.Done:
		want.out = t.Amount
		if child != nil && child.Load != nil {
			want.in = child.Amount
		}
	case x.what == ReturnCash && t.Kind == journal.KindClaim:
		if t.Result == journal.Done {
			want.out = t.Amount
		}
	case x.what == ReturnCash && t.CashReturned:
		if p := w.hold(x, t.Name, t.Amount); p.backBy == nil || p.backBy == x {
			p.backBy, want.out = x, t.Amount
			if p.paidBy != nil && !s.crooked && !s.forgot {
				w.fail("terminal %d gave back the cash of %s, which terminal %d had paid out as a claim", s.no+1, p.name, p.paidBy.st.no+1)
			}
		}
	}
	w.figures.Assertions++
	if want.in < x.cash.in || want.out < x.cash.out {
		if !s.crooked && !s.forgot {
			w.fail("%s at terminal %d moved %s in and %s out of the drawer, and the terminal says now %s and %s", verbNames[x.what], s.no+1, x.cash.in, x.cash.out, want.in, want.out)
		}
		return
	}
	if t.Kind == journal.KindClaim && want.out > 0 && x.cash.out == 0 {
		w.paidOut(x, t)
	}
	x.cash = want
	switch m := child; {
	case !ok:
	case x.what == Sell && m != nil, x.what == Collect && m != nil:
		w.owes(x, *m)
	default:
		w.owes(x, t)
	}
}

// owes lets the customer keep the slip of what was not done, or is not known.
func (w *world) owes(x *wish, t journal.Transaction) {
	if (t.Load != nil || t.Bill != nil) && t.Result != journal.Done && t.Result != journal.Pending {
		w.hold(x, t.Name, t.Amount)
	}
}

// paidOut holds that of one slip cash, or the value in its place, is handed
// out once, by whichever terminal of whichever shop.
func (w *world) paidOut(x *wish, t journal.Transaction) {
	p := w.hold(x, t.Claim.Claim, t.Amount)
	w.figures.Assertions += 2
	switch {
	case p.paidBy != nil:
		w.fail("the claim %s was paid out at terminal %d and again at terminal %d", p.name, p.paidBy.st.no+1, x.st.no+1)
	case t.Amount != p.amount && !w.stationOf(p.name.Terminal).rolledBack(p.name):
		w.fail("of the claim %s of %s were paid out %s", p.name, p.amount, t.Amount)
	case x.unsure && !x.st.crooked:
		w.fail("the claim %s was told as unknown at terminal %d, the customer left, and now it is paid out", p.name, x.st.no+1)
	case p.backBy != nil:
		w.fail("the claim %s was paid out at terminal %d although its own had given the cash back", p.name, x.st.no+1)
	}
	p.paidBy = x
}

// lookAround lets the clerks look at all that they have not seen the end of.
func (w *world) lookAround(s *station) {
	if s.crooked {
		return // its screen says what its people want
	}
	for _, x := range w.wishes {
		if x.st == s {
			w.look(x)
		}
	}
}

// reach brings a terminal on line first, as people wait for it, but not always.
func (w *world) reach(s *station, r uint64) {
	if s.link.up && r%4 != 0 {
		s.turn(true)
	}
}

func (w *world) payBill(s *station, a Action) {
	w.reach(s, a.R>>9)
	n := accounts[a.R%uint64(len(accounts))]
	req := terminal.BillRequest{Token: w.token(), Who: s.clerk, Account: n, Again: n, Amount: a.Amount, Tendered: a.Amount}
	if a.R>>12%4 == 0 { // head office changes the bill while it is paid
		s.link.at, s.link.meanwhile = wire.PathBills, func() {
			w.fault("bill changed while it was paid")
			w.utility.office(func(svc *service.Service) error {
				return svc.Bill(w.ctx, accounts[0], []money.Fen{-req.Amount, req.Amount / 2, 7}[a.R>>14%3]|1, "changed")
			})
		}
	}
	w.ask(&wish{st: s, what: PayBill, token: req.Token, of: journal.Transaction{Account: n, Amount: a.Amount}, do: func() (terminal.Receipt, error) { return s.tm.PayBill(w.ctx, req) }}, a)
	s.link.meanwhile = nil
}

// collect brings a slip to a counter: mostly one under which something may
// wait, now and then one that was paid out already or never was owed.
func (w *world) collect(s *station, a Action) {
	var list []*slip
	for _, p := range w.slips {
		if p.paidBy == nil && p.backBy == nil || a.R>>11%3 == 0 {
			list = append(list, p)
		}
	}
	var p *slip
	switch {
	case len(list) > 0:
		p = list[len(list)-1-int(a.R%uint64(min(3, len(list))))]
	case len(s.told) > 0 && a.R>>14%2 == 0: // a slip of something that is done
		t := s.told[int(a.R%uint64(len(s.told)))].tx
		p = &slip{name: t.Name, amount: t.Amount}
	default:
		return
	}
	if p.paidBy != nil || p.backBy != nil {
		w.fault("slip shown again")
	}
	w.reach(s, a.R>>9)
	if src := w.stationOf(p.name.Terminal); src != s && src.link.up && a.R>>16%2 == 0 {
		src.turn(true) // its own terminal has told the utility by now
	}
	x := w.collection(s, p, a.R>>18%3 == 0, a)
	if x == nil {
		return
	}
	if other := w.stations[a.R>>24%uint64(len(w.stations))]; other != s && a.R>>27%2 == 0 && other.tm != nil {
		if other.link.up {
			other.turn(true)
		}
		if y := w.collection(other, p, false, Action{R: a.R >> 3}); y != nil {
			s.link.at, s.link.meanwhile = wire.PathCollects, func() {
				w.fault("claim asked for at two terminals at once")
				w.wishes = append(w.wishes, y)
				w.repeat(y)
			}
		}
	}
	w.ask(x, a)
	s.link.meanwhile = nil
}

// collection is the wish of a customer with a slip at a counter, nil when the
// clerk who looked it up sees nothing waiting and leaves it.
func (w *world) collection(s *station, p *slip, load bool, a Action) *wish {
	amount := p.amount
	found := false
	alive := s.inside(func() {
		if v, err := s.tm.Claim(w.ctx, p.name); err == nil {
			amount, found = v.Amount, true
		}
	})
	if !alive || !found && a.R>>31%3 != 0 || amount <= 0 {
		return nil
	}
	req := terminal.ClaimRequest{Token: journal.TokenOf(fmt.Sprint("collect/", w.seed, "/", w.at, "/", s.no, "/", len(w.wishes))), Who: s.clerk, Claim: p.name, Amount: amount, Load: load}
	of := journal.Transaction{Amount: amount}
	if load {
		c := w.twin(w.chips[a.C], a.R)
		w.insert(s, c)
		req.Card, of.Card = c.number, c.number
	}
	return &wish{st: s, what: Collect, token: req.Token, of: of, do: func() (terminal.Receipt, error) { return s.tm.CollectClaim(w.ctx, req) }}
}

func (w *world) askCard(s *station, c *chip, a Action) {
	w.reach(s, a.R>>9)
	req := terminal.CardRequest{Token: w.token(), Who: s.clerk, Card: c.number, Why: journal.WhyLost}
	what, do := Block, func(s *station, r terminal.CardRequest) (terminal.Receipt, error) { return s.tm.BlockCard(w.ctx, r) }
	if a.Do == Replace {
		req.Why = journal.WhyDamaged
		what, do = Replace, func(s *station, r terminal.CardRequest) (terminal.Receipt, error) { return s.tm.ReplaceCard(w.ctx, r) }
	}
	of := journal.Transaction{Card: c.number}
	if other := w.stations[a.R>>24%uint64(len(w.stations))]; other != s && a.R>>27%2 == 0 && other.tm != nil {
		if other.link.up {
			other.turn(true)
		}
		again := req
		again.Token, again.Who = journal.TokenOf(fmt.Sprint("at once/", w.seed, "/", w.at)), other.clerk
		s.link.at, s.link.meanwhile = wire.PathCards, func() {
			w.fault("card asked about at two terminals at once")
			y := &wish{st: other, what: what, begun: w.now(), token: again.Token, of: of, do: func() (terminal.Receipt, error) { return do(other, again) }}
			w.wishes = append(w.wishes, y)
			w.repeat(y)
		}
	}
	w.ask(&wish{st: s, what: what, token: req.Token, of: of, do: func() (terminal.Receipt, error) { return do(s, req) }}, a)
	s.link.meanwhile = nil
}

// block is a card that somebody was told is blocked.
type block struct {
	since   time.Time
	carried money.Fen // of its value, to claims
}

// blockedNow notes that a card is blocked: somebody was told so.
func (w *world) blockedNow(n money.CardNumber) {
	if w.blocks[n] == nil {
		w.blocks[n] = &block{since: w.now()}
	}
}

// unblocked notes that head office took a block back. The value of a card can
// only be in one place: on the card, or with who had it replaced.
func (w *world) unblocked(n money.CardNumber) {
	if b := w.blocks[n]; b != nil && b.carried > 0 {
		w.fail("the block of %s was taken back although %s of its value were carried over", n, b.carried)
	}
	w.freed[n] = w.now()
	delete(w.blocks, n)
}

// evidence is how long a card must have been blocked before its value is
// carried over: what a terminal may serve it with an old hotlist, and keep
// what it did.
func evidence() time.Duration {
	l := wire.DefaultLimits()
	return time.Duration(l.HotlistStop+l.UnsentAgeStop) * time.Second
}

// usedBlocked holds, when the chip of a blocked card moves, that the terminal
// could not know of the block.
func (w *world) usedBlocked(m *move) {
	b := w.blocks[m.chip.number]
	s := w.stationOf(m.terminal)
	if b == nil || s.crooked {
		return
	}
	w.figures.Assertions++
	stop := time.Duration(wire.DefaultLimits().HotlistStop) * time.Second
	switch {
	case s.heard.After(b.since):
		w.fail("%s moved at terminal %d, which had heard of its block", m.chip.name, s.no+1)
	case m.load && m.tx.Load != nil && m.tx.Load.Authority == journal.AuthorityHost:
		w.fail("the utility let %s be loaded, which it had blocked", m.chip.name)
	case !m.load && !s.jumped && !s.forgot && w.now().Sub(b.since) > stop:
		w.fail("%s was debited at terminal %d, whose hotlist is older than it may be", m.chip.name, s.no+1)
	}
	w.figures.Found["blocked card used where the block was not known yet"]++
	if b.carried > 0 {
		w.figures.Found["replaced card used where the block was not known yet"]++
	}
}

// replace is head office looking through the requests for replacements. It
// waits until every terminal must have reported, or tries too early. With
// careful it leaves alone what its list warns of.
func (w *world) replace(wait, careful bool) {
	list, err := w.utility.svc.Replacements(w.ctx)
	w.must(err, "look through the replacements")
	if len(list) == 0 {
		return
	}
	if wait {
		time.Sleep(evidence() + time.Hour)
	}
	if list, err = w.utility.svc.Replacements(w.ctx); err != nil {
		w.must(err, "look through the replacements")
	}
	for _, r := range list {
		if careful && (r.Unknown > 0 || r.Doubted > 0 || len(r.Silent) > 0) {
			w.figures.Found["replacement: head office was warned"]++
			continue
		}
		before := w.carriedTo()
		w.utility.office(func(svc *service.Service) error {
			_, err := svc.Replace(w.ctx, r.Name)
			return err
		})
		for n, x := range w.carriedTo() {
			if _, ok := before[n]; !ok {
				w.carried(n, x)
			}
		}
	}
}

// carriedTo is what was carried over, by the number of the request, from the
// utility's log: it may die before it says so.
func (w *world) carriedTo() map[journal.Name]*record.Replaced {
	out := map[journal.Name]*record.Replaced{}
	w.must(w.utility.lines(func(_ recordLine, r any) { x := r.(*record.Replaced); out[x.Request] = x }, record.KindReplaced), "read what was carried over")
	return out
}

// carried holds the value of a card that was carried over against the chip,
// into which nobody but the world can look.
func (w *world) carried(n journal.Name, r *record.Replaced) {
	b := w.blocks[r.Card]
	if since, blocked := w.blockedSince(r.Card); !blocked {
		w.fail("the value of %s was carried over, and it is not blocked", r.Card)
	} else if b == nil { // nobody got the answer
		b = &block{since: since}
		w.blocks[r.Card] = b
	} else if since.After(b.since) { // taken back and blocked anew since somebody was told
		b.since = since
	}
	w.figures.Assertions += 3
	switch {
	case w.now().Sub(b.since) < evidence():
		w.fail("the value of %s was carried over after %s, before every terminal must have reported", r.Card, w.now().Sub(b.since))
	}
	b.carried += r.Amount
	w.hold(nil, n, r.Amount).carried = true
	w.figures.Found["replacement: carried over"]++
	if w.cloned(r.Card) {
		return
	}
	var held money.Fen
	for _, c := range w.chips {
		if c.number == r.Card {
			held = c.holds
		}
	}
	if b.carried != held {
		// Somewhere lies what a terminal has not told, or nobody knows: the
		// card's account shows it when it comes.
		open := 0
		known := map[journal.Name]ledger.Item{}
		for _, it := range w.items() {
			known[it.Name] = it
			if it.Card == r.Card && it.State == ledger.InHeld {
				open++
			}
		}
		for _, m := range w.moves {
			if it, ok := known[m.tx.Name]; m.chip.number == r.Card && (!ok || it.State != ledger.Done) {
				open++
			}
		}
		if open == 0 {
			w.fail("of %s, which holds %s, %s were carried over", r.Card, held, b.carried)
		}
		w.figures.Found["replacement: a terminal kept something back, and the card's account shows it"]++
	}
}

// blockedSince is since when a card has been blocked without a break, by the
// utility's log: whoever asked may never have got the answer.
func (w *world) blockedSince(n money.CardNumber) (at time.Time, blocked bool) {
	w.must(w.utility.lines(func(l recordLine, r any) {
		on, is := false, false
		switch r := r.(type) {
		case *record.BlockCard:
			on, is = r.Blocked, r.Card == n
		case *record.CardAsked:
			on, is = true, r.Question.Request.Card == n && r.Answer.Refused == wire.OK
		}
		if is && on != blocked {
			blocked, at = on, time.UnixMilli(l.At)
		}
	}, record.KindBlockCard, record.KindCardAsked), "read who was blocked")
	return at, blocked
}

// carriedOf is what was carried from a card.
func (w *world) carriedOf(n money.CardNumber) money.Fen {
	if b := w.blocks[n]; b != nil {
		return b.carried
	}
	return 0
}

// atCounter ends what the counter left open: the terminals ask how it ended,
// head office carries out the replacements, and of the slips that people still
// have some are brought to a counter.
func (w *world) atCounter() {
	for range 40 {
		open := false
		for _, s := range w.stations {
			list, err := s.st.OpenTransactions()
			w.must(err, "read what is open")
			if slices.ContainsFunc(list, func(t journal.Transaction) bool { return t.Decided != nil }) {
				open = true
				s.maintain()
				s.turn(true)
			}
		}
		if !open {
			break
		}
		time.Sleep(terminal.MaintainEvery)
	}
	if list, err := w.utility.svc.Replacements(w.ctx); err == nil && len(list) > 0 {
		w.replace(false, true) // too early for most
		time.Sleep(evidence())
		for _, s := range w.stations {
			s.turn(true)
		}
		w.replace(false, true)
	}
	for _, s := range w.stations {
		w.lookAround(s)
	}
	for i, p := range w.slips {
		if (w.seed>>2+uint64(i))%3 == 0 && p.paidBy == nil && p.backBy == nil {
			s := w.stations[(w.seed+uint64(i))%uint64(len(w.stations))]
			s.turn(true)
			s.inside(func() { _, _ = s.tm.OpenShift(w.ctx, s.clerk, 0) })
			if x := w.collection(s, p, false, Action{}); x != nil {
				w.ask(x, Action{R: 7 << 20})
			}
		}
	}
	for _, s := range w.stations {
		s.turn(true)
		w.lookAround(s)
	}
}

// counterBooks adds to what the accounts must be what was done at the counters,
// by what people were told and did. Of a terminal that forgot, the utility's
// own log has to do.
func (w *world) counterBooks(shift func(money.Fen, ledger.Account, ledger.Account)) {
	paid := map[journal.Name]bool{}
	for _, x := range w.wishes {
		if x.what != PayBill || x.st.forgot || x.st.st == nil {
			continue
		}
		if t, ok, _ := x.st.st.ByToken(x.token); ok && t.Result == journal.Done {
			paid[t.Name] = true
			shift(t.Amount, ledger.Shop(x.st.shop), ledger.Customer(x.of.Account))
		}
	}
	tokens := map[journal.Token]journal.Name{}
	w.must(w.utility.lines(func(_ recordLine, r any) {
		b := r.(*record.BillPaid)
		if b.Answer.Refused != wire.OK {
			return
		}
		n, in := b.Question.Name, &b.Question.Intent
		w.figures.Assertions += 2
		s := w.stationOf(n.Terminal)
		if !s.crooked && !s.forgot {
			if old, twice := tokens[in.Token]; twice {
				w.fail("one bill was posted as %s and as %s", old, n)
			}
			if !paid[n] {
				w.fail("the bill %s of %s was posted, and the terminal says that it was not paid", n, in.Amount)
			}
		}
		tokens[in.Token] = n
		if !paid[n] {
			shift(in.Amount, ledger.Shop(b.Shop), ledger.Customer(in.Account))
		}
	}, record.KindBillPaid), "read the bills")

	for n, r := range w.carriedTo() {
		shift(r.Amount, ledger.Card(r.Card), ledger.Claim(n))
	}
	by := map[journal.Name]money.ShopID{}
	w.must(w.utility.lines(func(_ recordLine, r any) {
		c := r.(*record.Collected)
		switch {
		case c.Undo:
			delete(by, c.Question.Intent.Claim)
		case c.Answer.Refused == wire.OK:
			by[c.Question.Intent.Claim] = c.Shop
		}
	}, record.KindCollected), "read the claims")
	for _, p := range w.slips {
		w.figures.Assertions++
		shop, said := by[p.name]
		switch {
		case p.paidBy == nil && said:
			if !w.lossy() && !w.cheated() {
				w.fail("the utility has the claim %s as paid out, and nobody got it", p.name)
			}
		case p.paidBy != nil && (!said || shop != p.paidBy.st.shop):
			if !p.paidBy.st.forgot && !p.paidBy.st.crooked {
				w.fail("the claim %s was paid out at terminal %d, and the utility does not know", p.name, p.paidBy.st.no+1)
			}
		}
	}
	for n, shop := range by {
		for _, it := range w.items() {
			if it.Name == n {
				shift(it.Amount, ledger.Claim(n), ledger.Shop(shop))
			}
		}
	}
}

// drawers holds the cash that people put into and took out of the drawers of a
// shop against its float: for each fen in the drawer it owes one, and none
// beyond.
func (w *world) drawers(got map[ledger.Account]money.Fen) {
	for _, shop := range shops {
		sum, whole := money.Fen(0), true
		for _, s := range w.stations {
			if s.shop != shop {
				continue
			}
			n, err := s.st.CountOpen()
			w.must(err, "count what is open")
			whole = whole && !s.crooked && !s.forgot && n == 0
			sum += s.till
			for _, x := range w.wishes {
				if x.st == s {
					sum += x.cash.in - x.cash.out
				}
			}
		}
		if !whole || w.stationOf(money.TerminalID{0x31, 0x01, 0, 0, 0, 3}).shop == shop && len(w.stations) < 3 {
			continue
		}
		for _, c := range w.chips {
			whole = whole && c.clone == nil
		}
		w.figures.Assertions++
		floats := money.Fen(0)
		w.must(w.utility.officeLines(func(l officeLine) {
			if l.float == shop {
				floats += l.amount
			}
		}), "read what head office did")
		if whole && sum+got[ledger.Shop(shop)] != floats {
			w.fail("shop %s has %s in its drawers and %s with the utility, and paid in %s", shop, sum, got[ledger.Shop(shop)], floats)
		}
	}
}
