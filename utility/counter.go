package utility

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/master"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// Decisions of the counter. No card proves them: what is decided here under
// the name of an intent is the proof. So a refusal is as durable as an
// agreement, or a question that arrives late could do what its terminal has
// written off. Refusals cost a terminal its questions, as guesses do.

// counterBillMax is the most of one bill paid in cash: as much as one purse
// could ever carry.
const counterBillMax = money.MaxPurse

// TakeBill takes a bill that was paid in cash, shop → customer, if the account
// exists and the shop has the room. A question with Withdraw ends what was not
// decided before.
func (s *Service) TakeBill(ctx context.Context, from money.TerminalID, q wire.BillQuestion) (wire.Agreement, error) {
	a := wire.Agreement{Name: q.Name}
	err := s.locked(ctx, func() (err error) {
		a.Refused, err = s.takeBill(ctx, from, q)
		return err
	})
	return a, err
}

func (s *Service) takeBill(ctx context.Context, from money.TerminalID, q wire.BillQuestion) (wire.Code, error) {
	ep, blocked, err := s.terminal(from, q.Name)
	if err != nil {
		return "", err
	}
	in := &q.Intent
	if in.Amount <= 0 || in.Amount > counterBillMax || in.Account == 0 || in.Account > 9_999_999_999 {
		return "", refused("a bill of %s to account %s", in.Amount, in.Account)
	}
	have, err := s.store.Fetch(ctx, storage.Want{Counter: []journal.Name{q.Name}, Items: []journal.Name{q.Name}, Accounts: []money.AccountNumber{in.Account}})
	if err != nil {
		return "", err
	}
	if before := have.Counter[q.Name]; len(before) > 0 {
		if r, ok := before[len(before)-1].(*record.BillPaid); ok && r.Question.Intent == *in {
			return r.Answer.Refused, nil
		}
		return wire.CodeMismatch, nil
	}
	it, known := have.Items[q.Name]
	if known && (it.Kind != ledger.CashBill || it.Account != in.Account || it.Amount != in.Amount) {
		return wire.CodeMismatch, nil
	}
	decide := func(c wire.Code) (wire.Code, error) {
		if c != wire.OK && !q.Withdraw {
			if err := s.charge(from); err != nil {
				return "", err
			}
		}
		return c, s.write(ctx, record.KindBillPaid, &record.BillPaid{Question: q, Answer: wire.Agreement{Name: q.Name, Refused: c}, Shop: ep.Shop})
	}
	switch _, exists := have.Accounts[in.Account]; {
	case q.Withdraw:
		return decide(wire.CodeWithdrawn)
	case known && it.State != ledger.Open && it.State != ledger.InHeld: // the terminal says that it was not done
		return decide(wire.CodeWithdrawn)
	case blocked != wire.OK:
		return decide(blocked)
	case in.Amount > s.master.LimitsOf(from, s.limits).RedeemMax:
		return decide(wire.CodeLimit)
	case !exists:
		return decide(wire.CodeUnknownAccount)
	}
	room, err := s.room(ctx, ep.Shop)
	if err != nil {
		return "", err
	}
	if it.State == ledger.InHeld {
		room += it.Amount // the float has paid already
	}
	if room < in.Amount {
		return decide(wire.CodeNoRoom)
	}
	return decide(wire.OK)
}

// charge takes one of a terminal's questions. Without any left nothing is
// decided: the terminal must ask again.
func (s *Service) charge(t money.TerminalID) error {
	if !s.lookups.limiter(t).AllowN(s.clock(), 1) {
		return &LaterError{time.Second}
	}
	return nil
}

// LookUpClaim tells what waits under the number of a slip, at a limited rate
// per terminal.
func (s *Service) LookUpClaim(ctx context.Context, from money.TerminalID, q wire.ClaimQuestion) (wire.ClaimAnswer, error) {
	a := wire.ClaimAnswer{Claim: q.Claim}
	s.masterMu.RLock()
	sells := s.master.MaySell(from)
	var shop money.ShopID
	if sells {
		shop = s.master.Terminals[from].Now().Shop
	}
	s.masterMu.RUnlock()
	if !sells {
		a.Refused = wire.CodeTerminal
		return a, nil
	}
	if s.charge(from) != nil {
		a.Refused = wire.CodeRate
		return a, nil
	}
	have, err := s.store.Fetch(ctx, storage.Want{Items: []journal.Name{q.Claim}})
	if err != nil {
		return a, err
	}
	it, ok := have.Items[q.Claim]
	if a.Refused = waiting(it, ok); a.Refused == wire.OK {
		err = s.locked(ctx, func() (err error) {
			a.Refused, err = s.covered(ctx, it, shop)
			return err
		})
		if err != nil {
			return a, err
		}
	}
	if a.Refused == wire.OK {
		a.Kind, a.Amount, a.Last4 = claimKinds[it.Kind], it.Amount, it.Card.Last4()
		if it.Kind == ledger.CashBill {
			n := it.Account.String()
			a.Last4 = n[len(n)-4:]
		}
	}
	return a, nil
}

var claimKinds = map[ledger.Kind]wire.ClaimKind{ledger.TopUp: wire.ClaimTopUp, ledger.CashBill: wire.ClaimBill, ledger.Carried: wire.ClaimReplace, ledger.Emptied: wire.ClaimReplace}

// waiting says why nothing waits under an item's name, or OK.
func waiting(it ledger.Item, ok bool) wire.Code {
	switch {
	case !ok || claimKinds[it.Kind] == 0 || !it.Intent:
		return wire.CodeUnknownItem
	case it.State == ledger.InClaim:
		return wire.OK
	case it.State == ledger.Returned || it.State == ledger.Collected:
		return wire.CodeTwice
	case it.State == ledger.Done:
		return wire.CodeMoved
	case it.State == ledger.NotDone:
		return wire.CodeUnknownItem // no cash was taken
	}
	return wire.CodeNotSettled
}

// Collect lets the asking terminal's shop pay a claim out: claim → shop. At
// most once ever, whichever terminals of whichever shops ask. With Withdraw
// the terminal says that no answer came and nothing was paid out.
func (s *Service) Collect(ctx context.Context, from money.TerminalID, q wire.CollectQuestion) (wire.Agreement, error) {
	a := wire.Agreement{Name: q.Name}
	err := s.locked(ctx, func() (err error) {
		a.Refused, err = s.collect(ctx, from, q)
		return err
	})
	return a, err
}

func (s *Service) collect(ctx context.Context, from money.TerminalID, q wire.CollectQuestion) (wire.Code, error) {
	ep, blocked, err := s.terminal(from, q.Name)
	if err != nil {
		return "", err
	}
	in := &q.Intent
	have, err := s.store.Fetch(ctx, storage.Want{Counter: []journal.Name{q.Name}, Items: []journal.Name{q.Name, in.Claim}})
	if err != nil {
		return "", err
	}
	decide := func(c wire.Code, undo bool) (wire.Code, error) {
		if c != wire.OK && !q.Withdraw {
			if err := s.charge(from); err != nil {
				return "", err
			}
		}
		return c, s.write(ctx, record.KindCollected, &record.Collected{Question: q, Answer: wire.Agreement{Name: q.Name, Refused: c}, Shop: ep.Shop, Undo: undo})
	}
	if before := have.Counter[q.Name]; len(before) > 0 {
		r, ok := before[len(before)-1].(*record.Collected)
		switch {
		case !ok || r.Question.Intent != *in:
			return wire.CodeMismatch, nil
		case q.Withdraw && r.Answer.Refused == wire.OK:
			if told, err := s.said(ctx, q.Name, paid); err != nil || told {
				return wire.OK, err
			}
			return decide(wire.CodeWithdrawn, true)
		}
		return r.Answer.Refused, nil
	}
	if _, taken := have.Items[q.Name]; taken {
		return wire.CodeMismatch, nil
	}
	it, ok := have.Items[in.Claim]
	switch c := waiting(it, ok); {
	case q.Withdraw:
		return decide(wire.CodeWithdrawn, false)
	case blocked != wire.OK:
		return decide(blocked, false)
	case c != wire.OK:
		return decide(c, false)
	case it.Amount != in.Amount:
		return decide(wire.CodeMismatch, false)
	}
	c, err := s.covered(ctx, it, ep.Shop)
	if err != nil {
		return "", err
	}
	return decide(c, false)
}

// covered refuses that a shop pays out what another one owes beyond its own
// money. A claim that nothing was reserved for, a bill or a top-up without MAC2,
// rests on the bare word of a terminal: without this a shop would borrow of the
// utility, past its ceiling, whatever its terminals say that they owe.
func (s *Service) covered(ctx context.Context, it ledger.Item, by money.ShopID) (wire.Code, error) {
	reserved := it.Gave && it.SAM.IsZero() || it.Vouched
	if it.Shop == by || reserved || it.Kind != ledger.CashBill && it.Kind != ledger.TopUp {
		return wire.OK, nil
	}
	if room, err := s.room(ctx, it.Shop); err != nil || room < 0 {
		return wire.CodeUncovered, err
	}
	return wire.OK, nil
}

// saidAfter is how many entries after an intent are looked at for its outcome,
// which follows it at once but for what others wrote meanwhile.
const saidAfter = 2000

// said reports whether a terminal has sent its own signed word of how what an
// entry of it began ended.
func (s *Service) said(ctx context.Context, n journal.Name, how func(journal.Body) bool) (bool, error) {
	last := min(s.head(n.Terminal, n.Epoch).Seq, n.Seq+saidAfter)
	for at := n.Seq + 1; at <= last; {
		var names []journal.Name
		for ; at <= last && len(names) < 250; at++ {
			names = append(names, journal.Name{Terminal: n.Terminal, Epoch: n.Epoch, Seq: at})
		}
		have, err := s.store.Fetch(ctx, storage.Want{Raw: names})
		if err != nil {
			return false, err
		}
		for _, raw := range have.Raw {
			if e, err := journal.Parse(raw); err == nil && e.Ref == n.Ref() && how(e.Body) { // what can't be read is in quarantine
				return true, nil
			}
		}
	}
	return false, nil
}

// paid is the word that a claim was paid out. A disk that has lost that entry
// knows of the intent only.
func paid(b journal.Body) bool {
	o, ok := b.(*journal.ClaimOutcome)
	return ok && o.Result == journal.Done
}

// notAgreed is the word that no agreement to a void arrived: its debit never
// begins.
func notAgreed(b journal.Body) bool {
	a, ok := b.(*journal.VoidAnswer)
	return ok && !a.Agreed
}

// AskCard blocks a card at the word of a counter: a named one that is lost,
// or one to be replaced because it can't be read. Who asks again for a card
// that is blocked gets the same answer.
func (s *Service) AskCard(ctx context.Context, from money.TerminalID, q wire.CardQuestion) (wire.Agreement, error) {
	a := wire.Agreement{Name: q.Name}
	err := s.locked(ctx, func() (err error) {
		a.Refused, err = s.askCard(ctx, from, q)
		return err
	})
	return a, err
}

func (s *Service) askCard(ctx context.Context, from money.TerminalID, q wire.CardQuestion) (wire.Code, error) {
	ep, blocked, err := s.terminal(from, q.Name)
	if err != nil {
		return "", err
	}
	in := &q.Request
	have, err := s.store.Fetch(ctx, storage.Want{Counter: []journal.Name{q.Name}, Sales: []money.CardNumber{in.Card}})
	if err != nil {
		return "", err
	}
	if before := have.Counter[q.Name]; len(before) > 0 {
		if r, ok := before[len(before)-1].(*record.CardAsked); ok && r.Question.Request == *in {
			return r.Answer.Refused, nil
		}
		return wire.CodeMismatch, nil
	}
	run, known := s.master.Range(in.Card)
	_, sold := have.Sales[in.Card]
	c := wire.OK
	switch {
	case blocked != wire.OK:
		c = blocked
	case !known:
		c = wire.CodeUnknownCard
	case run.Shop != 0 && !sold:
		c = wire.CodeNotActivated
	case in.Wish == journal.WishBlock && !run.Named:
		c = wire.CodeUnnamed
	case in.Wish != journal.WishBlock && in.Wish != journal.WishReplace:
		c = wire.CodeMismatch
	}
	if in.Wish == journal.WishReplace && c == wire.OK {
		switch to, err := s.carried(ctx, in.Card); {
		case err != nil:
			return "", err
		case !to.IsZero():
			c = wire.CodeTwice
		}
		for _, r := range s.master.Replacements {
			if r.Card == in.Card {
				c = wire.CodeTwice // its value waits under the first number
			}
		}
	}
	// To block cards one after another is as good as to guess them.
	if err := s.charge(from); err != nil {
		return "", err
	}
	return c, s.write(ctx, record.KindCardAsked, &record.CardAsked{Question: q, Answer: wire.Agreement{Name: q.Name, Refused: c}, Shop: ep.Shop})
}

// carried gives the claim that the value of a card which can't be read was
// carried over to, zero when none was.
func (s *Service) carried(ctx context.Context, n money.CardNumber) (to journal.Name, err error) {
	err = s.store.Items(ctx, storage.ItemQuery{Card: &n}, func(it ledger.Item) error {
		if it.Kind == ledger.Carried {
			to = it.Name
		}
		return nil
	})
	return to, err
}

// ReplaceRequest is a request to replace a card that can't be read, with the
// evidence of the card's chain.
type ReplaceRequest struct {
	master.Replacement
	Named   bool
	Balance money.Fen          // of the card in the ledger: what the customer will get
	Unknown int                // movements whose value is held: it is not in Balance
	Doubted int                // movements that a terminal says did not happen, without proof: their value is in Balance
	Silent  []money.TerminalID // terminals that have sent nothing since the card was blocked
	Due     time.Time          // from when on every terminal must have reported what it did with the card
}

// Ready says why a request may not be approved yet, "" when it may.
func (r *ReplaceRequest) Ready(now time.Time) string {
	switch {
	case now.Before(r.Due):
		return "terminals may still hold transactions of the card: not before " + r.Due.In(money.CST).Format(time.DateTime)
	case r.Balance <= 0:
		return "the card holds nothing"
	}
	return ""
}

// Replacements lists what was asked for and not yet approved, oldest first.
func (s *Service) Replacements(ctx context.Context) (list []ReplaceRequest, err error) {
	err = s.locked(ctx, func() error {
		for _, r := range s.master.Replacements {
			x, err := s.replacement(ctx, r)
			if err != nil {
				return err
			}
			list = append(list, x)
		}
		return nil
	})
	sort.Slice(list, func(i, j int) bool {
		if list[i].At != list[j].At {
			return list[i].At < list[j].At
		}
		return list[i].Name.String() < list[j].Name.String()
	})
	return list, err
}

func (s *Service) replacement(ctx context.Context, r master.Replacement) (ReplaceRequest, error) {
	run, _ := s.master.Range(r.Card)
	x := ReplaceRequest{Replacement: r, Named: run.Named}
	var err error
	if x.Balance, err = s.store.Balance(ctx, ledger.Card(r.Card)); err != nil {
		return x, err
	}
	err = s.store.Items(ctx, storage.ItemQuery{Card: &r.Card}, func(it ledger.Item) error {
		switch {
		case !it.OfCard():
		case it.State == ledger.InHeld:
			x.Unknown++
		case !it.Load() && it.State == ledger.NotDone && !it.Final:
			x.Doubted++
		}
		return nil
	})
	if err != nil {
		return x, err
	}
	// A terminal may serve a blocked card until its hotlist is too old, and has
	// to send what it did before its queue is too old to go on. Which ones have
	// sent something since then is for head office to look at: an idle one has
	// nothing to send.
	var wait uint32
	heard, err := s.heardSince(ctx)
	if err != nil {
		return x, err
	}
	for id, t := range s.master.Terminals {
		l := s.master.LimitsOf(id, s.limits)
		wait = max(wait, l.HotlistStop+l.UnsentAgeStop, s.limits.HotlistStop+s.limits.UnsentAgeStop)
		if heard[id] < r.At && s.head(id, t.Current).Seq > 0 {
			x.Silent = append(x.Silent, id)
		}
	}
	sort.Slice(x.Silent, func(i, j int) bool { return string(x.Silent[i][:]) < string(x.Silent[j][:]) })
	x.Due = time.UnixMilli(r.At).Add(time.Duration(wait) * time.Second)
	return x, nil
}

// heardSince is when each terminal's last entries were stored.
func (s *Service) heardSince(ctx context.Context) (map[money.TerminalID]int64, error) {
	at := map[money.TerminalID]int64{}
	for e, h := range s.heads {
		l, ok, err := s.store.EntryLine(ctx, journal.Name{Terminal: e.terminal, Epoch: e.number, Seq: h.Seq})
		if err != nil {
			return nil, err
		}
		if ok {
			at[e.terminal] = max(at[e.terminal], l.At)
		}
	}
	return at, nil
}

// Replace makes the value that a card's chain proves a claim under the number
// of the request, once every terminal must have reported what it did with the
// card. The claim is collected at any counter, in cash or onto a new card. It
// fails with ErrInput, with the reason, when that may not be yet.
func (s *Service) Replace(ctx context.Context, request journal.Name) (money.Fen, error) {
	var amount money.Fen
	err := s.locked(ctx, func() error {
		r, ok := s.master.Replacements[request]
		if !ok {
			return fmt.Errorf("%w: no replacement was asked for under %s, or it was carried out", ErrInput, request)
		}
		x, err := s.replacement(ctx, r)
		if err != nil {
			return err
		}
		if why := x.Ready(s.clock()); why != "" {
			return fmt.Errorf("%w: %s", ErrInput, why)
		}
		if !s.master.Blocked[r.Card] {
			return fmt.Errorf("%w: card %s is not blocked any more", ErrInput, r.Card)
		}
		have, err := s.store.Fetch(ctx, storage.Want{Items: []journal.Name{request}})
		if err != nil {
			return err
		}
		if _, taken := have.Items[request]; taken {
			return fmt.Errorf("%w: %s is the name of something else, a terminal's disk was restored or copied", ErrInput, request)
		}
		amount = x.Balance
		return s.write(ctx, record.KindReplaced, &record.Replaced{No: s.master.Number + 1, Request: request, Card: r.Card, Shop: r.Shop, Amount: amount})
	})
	return amount, err
}
