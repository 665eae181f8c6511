package utility

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/intake"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/master"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// terminal gives the asking terminal and the epoch of the name it asks under,
// which must be the current one. Refused when it never was enrolled so.
func (s *Service) terminal(from money.TerminalID, n journal.Name) (*master.Epoch, wire.Code, error) {
	if n.Terminal != from || n.Seq == 0 || n.Seq > maxSeq {
		return nil, "", refused("terminal %s asks under the name %s", from, n)
	}
	ep, ok := s.master.Epoch(from, n.Epoch)
	if !ok {
		return nil, "", refused("epoch %d was never issued", n.Epoch)
	}
	if !s.master.MaySell(from) || s.master.Terminals[from].Current != n.Epoch {
		return ep, wire.CodeTerminal, nil
	}
	return ep, wire.OK, nil
}

// AuthoriseLoad verifies MAC1, reserves the amount in the shop's room under
// the name, and answers with MAC2; all of it is durable before the answer.
// The same name with the same INITIALIZE gets the same answer again. A new
// INITIALIZE of the same card with an unmoved counter supersedes: the earlier
// random number is gone from the card, so the earlier MAC2 can't succeed.
//
// A first load is authorised when the card lies in the shop's range, even if
// the sale is still on its way: the sale's entry is before the load's in the
// chain, and cards in stock carry nothing.
func (s *Service) AuthoriseLoad(ctx context.Context, from money.TerminalID, r wire.LoadRequest) (wire.LoadAnswer, error) {
	var a wire.LoadAnswer
	err := s.locked(ctx, func() (err error) {
		a, err = s.authoriseLoad(ctx, from, r)
		return err
	})
	return a, err
}

func (s *Service) authoriseLoad(ctx context.Context, from money.TerminalID, r wire.LoadRequest) (wire.LoadAnswer, error) {
	now := s.clock()
	no := func(c wire.Code) (wire.LoadAnswer, error) {
		return wire.LoadAnswer{Name: r.Name, Refused: c, Server: now.UnixMilli()}, nil
	}
	in := &r.Intent
	ep, blocked, err := s.terminal(from, r.Name)
	if err != nil {
		return wire.LoadAnswer{}, err
	}
	asked := s.lookups.limiter(from)
	if asked.TokensAt(now) < 1 {
		return no(wire.CodeRate)
	}
	guess := func(c wire.Code) (wire.LoadAnswer, error) { // an answer that tells about cards
		asked.AllowN(now, 1)
		return no(c)
	}
	step := storage.Counter{Card: in.Card, Load: true, Value: in.Counter}
	have, err := s.store.Fetch(ctx, storage.Want{
		Loads: []journal.Name{r.Name}, Items: []journal.Name{r.Name}, Chain: []storage.Counter{step}, Sales: []money.CardNumber{in.Card},
	})
	if err != nil {
		return wire.LoadAnswer{}, err
	}
	for _, g := range have.Loads[r.Name] {
		if sameInit(&g.Request.Intent, in) {
			return g.Answer, nil
		}
	}
	it, again := have.Items[r.Name]
	if again {
		switch {
		case it.Kind != ledger.TopUp || !it.SAM.IsZero() || it.Card != in.Card || it.Amount != in.Amount || it.TxType != in.TxType:
			return no(wire.CodeMismatch)
		case it.Counter != in.Counter || it.State == ledger.Done:
			return no(wire.CodeMoved)
		case it.State != ledger.Open:
			return no(wire.CodeTwice)
		}
	}
	for _, x := range have.Items {
		if x.Name != r.Name && x.Card == in.Card && x.Load() && x.Counter == in.Counter && x.State == ledger.Done && x.Final {
			return no(wire.CodeMoved)
		}
	}
	if blocked != wire.OK {
		return no(blocked)
	}
	run, ok := s.master.Range(in.Card)
	if !ok {
		return guess(wire.CodeUnknownCard)
	}
	if s.master.Blocked[in.Card] {
		return guess(wire.CodeBlockedCard)
	}
	if _, sold := have.Sales[in.Card]; !sold && run.Shop != 0 {
		switch {
		case in.Purpose != journal.PurposeFirstLoad:
			return guess(wire.CodeNotActivated)
		case run.Shop != ep.Shop:
			return guess(wire.CodeNotInRange)
		}
	}
	p, ok := s.profiles.Card(run.Profile)
	if !ok || in.Authority != journal.AuthorityHost || in.TxType != loadType(p.ED) {
		return no(wire.CodeMismatch)
	}
	limits := s.master.LimitsOf(from, s.limits)
	most := min(limits.UnnamedMax, p.BalanceMax)
	if run.Named {
		most = min(limits.NamedMax, p.BalanceMax)
	}
	if in.Amount <= 0 || in.Amount < limits.TopUpMin || in.Amount > limits.TopUpMax || in.Before < 0 || in.Before > most-in.Amount {
		return no(wire.CodeLimit)
	}
	stamp := money.StampOf(now)
	mac2, err := s.vault.AuthoriseLoad(vault.Card{Number: in.Card, Profile: run.Profile}, vault.Load{
		Terminal: from, TxType: in.TxType, Before: in.Before, Amount: in.Amount, Counter: in.Counter, Random: in.Random, MAC1: in.MAC1,
	}, stamp)
	if errors.Is(err, vault.ErrMAC) {
		s.log.Warn("MAC1 is wrong", "terminal", from.String(), "name", r.Name.String())
		return guess(wire.CodeBadMAC)
	}
	if err != nil {
		return wire.LoadAnswer{}, err
	}
	if !again || !it.Gave { // superseding takes no more room
		room, err := s.room(ctx, ep.Shop)
		if err != nil {
			return wire.LoadAnswer{}, err
		}
		if room < in.Amount {
			return no(wire.CodeNoRoom)
		}
	}
	a := wire.LoadAnswer{Name: r.Name, Stamp: stamp, MAC2: mac2, Server: now.UnixMilli()}
	return a, s.write(ctx, record.KindLoad, &record.Load{Request: r, Answer: a, Shop: ep.Shop})
}

func sameInit(a, b *journal.LoadIntent) bool {
	return a.Card == b.Card && a.Amount == b.Amount && a.Counter == b.Counter && a.Random == b.Random && a.MAC1 == b.MAC1 && a.Before == b.Before && a.TxType == b.TxType
}

func loadType(ed bool) uint8 {
	if ed {
		return suite.TypeEDLoad
	}
	return suite.TypeEPLoad
}

// room is what a shop may still give out: float + ceiling − reserved −
// allowances outstanding (DESIGN section 4).
func (s *Service) room(ctx context.Context, shop money.ShopID) (money.Fen, error) {
	r, _, err := s.roomOf(ctx, shop)
	return r.Room, err
}

// roomOf gives what the room is made of, and the books of the shop's load SAMs:
// a SAM is a shop's only after a terminal of the shop was enrolled with it.
func (s *Service) roomOf(ctx context.Context, shop money.ShopID) (r Room, sams map[money.SAMID]storage.SAM, err error) {
	r.Ceiling = s.master.Shops[shop].Ceiling
	if r.Float, err = s.store.Balance(ctx, ledger.Shop(shop)); err != nil {
		return r, nil, err
	}
	if r.Reserved, err = s.store.Exposed(ctx, shop); err != nil {
		return r, nil, err
	}
	if list := s.master.SAMs[shop]; len(list) > 0 {
		have, err := s.store.Fetch(ctx, storage.Want{SAMs: list})
		if err != nil {
			return r, nil, err
		}
		sams = have.SAMs
	}
	for _, x := range sams {
		if x.Shop == shop {
			r.Allowances += x.Outstanding()
		}
	}
	r.Room = r.Float + r.Ceiling - r.Reserved - r.Allowances
	return r, sams, nil
}

// AgreeVoid says whether a top-up may be voided. An agreement is durable
// before it is given, and the same name gets the same answer again.
func (s *Service) AgreeVoid(ctx context.Context, from money.TerminalID, q wire.VoidQuestion) (wire.Agreement, error) {
	a := wire.Agreement{Name: q.Name}
	err := s.locked(ctx, func() (err error) {
		a.Refused, err = s.agreeVoid(ctx, from, q)
		return err
	})
	return a, err
}

func (s *Service) agreeVoid(ctx context.Context, from money.TerminalID, q wire.VoidQuestion) (wire.Code, error) {
	_, blocked, err := s.terminal(from, q.Name)
	if err != nil {
		return "", err
	}
	if q.TopUp.Terminal != from {
		return wire.CodeUnknownItem, nil
	}
	have, err := s.store.Fetch(ctx, storage.Want{Voids: []journal.Name{q.Name}, Items: []journal.Name{q.TopUp}, Loads: []journal.Name{q.TopUp}})
	if err != nil {
		return "", err
	}
	same := func(o wire.VoidQuestion) bool {
		return o.TopUp == q.TopUp && o.Request.Card == q.Request.Card && o.Request.Amount == q.Request.Amount
	}
	if v, ok := have.Voids[q.Name]; ok {
		if !same(v.Question) {
			return wire.CodeMismatch, nil
		}
		return wire.OK, nil
	}
	it, ok := have.Items[q.TopUp]
	switch {
	case blocked != wire.OK:
		return blocked, nil
	case !ok || it.Kind != ledger.TopUp || it.State != ledger.Done:
		return wire.CodeUnknownItem, nil
	case it.Card != q.Request.Card || it.Amount != q.Request.Amount:
		return wire.CodeMismatch, nil
	case s.master.Blocked[it.Card]:
		return wire.CodeBlockedCard, nil
	}
	if !it.Void.IsZero() {
		// Agreed before under another name: again only when its debit is
		// known not to have happened, or not to have begun since our answer
		// was lost.
		debit := it.VoidDebit.Of(from)
		have, err := s.store.Fetch(ctx, storage.Want{Items: []journal.Name{debit}})
		if err != nil {
			return "", err
		}
		d, begun := have.Items[debit]
		lost := false
		if !begun {
			if lost, err = s.said(ctx, it.Void.Of(from), notAgreed); err != nil {
				return "", err
			}
		}
		if !lost && (!begun || d.State != ledger.NotDone) {
			return wire.CodeTwice, nil
		}
	}
	since, err := s.since(ctx, it, have.Loads[q.TopUp])
	if err != nil {
		return "", err
	}
	window := time.Duration(s.master.LimitsOf(from, s.limits).VoidWindow) * time.Second
	if s.clock().Sub(since) > window {
		return wire.CodeWindow, nil
	}
	return wire.OK, s.write(ctx, record.KindVoid, &record.Void{Question: q, Answer: wire.Agreement{Name: q.Name}})
}

// since is when a top-up was made: when its MAC2 was given, or for one off
// line the earlier of the terminal's clock and its arrival.
func (s *Service) since(ctx context.Context, it ledger.Item, given []record.Load) (time.Time, error) {
	if len(given) > 0 {
		return time.UnixMilli(given[len(given)-1].Answer.Server), nil
	}
	l, ok, err := s.store.EntryLine(ctx, it.Name)
	if err != nil || !ok {
		return time.Time{}, err
	}
	at := l.At
	have, err := s.store.Fetch(ctx, storage.Want{Raw: []journal.Name{it.Name}})
	if err != nil {
		return time.Time{}, err
	}
	if e, err := journal.Parse(have.Raw[it.Name]); err == nil {
		at = min(at, e.Wall)
	}
	return time.UnixMilli(at), nil
}

// IssueAllowance signs a larger allowance for the terminal's load SAM. The
// ceilings are lifetime totals, up to the totals that the SAM reports plus
// what head office lets it hold, as far as the shop's room goes; they never
// sink, since the SAM may not take the new one. The same challenge gets the
// same answer again.
//
// State is the SAM's report (suite.LoadSAMState with its MAC, 42 bytes), made
// under the request's Challenge, or under a challenge of its own that stands
// before it (8 bytes).
func (s *Service) IssueAllowance(ctx context.Context, from money.TerminalID, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	var a wire.AllowanceAnswer
	err := s.locked(ctx, func() (err error) {
		a, err = s.issueAllowance(ctx, from, r)
		return err
	})
	return a, err
}

func (s *Service) issueAllowance(ctx context.Context, from money.TerminalID, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	no := func(c wire.Code) (wire.AllowanceAnswer, error) {
		return wire.AllowanceAnswer{SAM: r.SAM, Refused: c}, nil
	}
	t := s.master.Terminals[from]
	if t == nil {
		return wire.AllowanceAnswer{}, refused("terminal %s was never enrolled", from)
	}
	ep := t.Now()
	if ep.LoadSAM.IsZero() || ep.LoadSAM != r.SAM {
		return no(wire.CodeSAM)
	}
	have, err := s.store.Fetch(ctx, storage.Want{SAMs: []money.SAMID{r.SAM}})
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	book := have.SAMs[r.SAM]
	if book.Sequence > 0 && book.Challenge == r.Challenge {
		var a wire.AllowanceAnswer
		return a, canon.Unmarshal(book.Answer, &a)
	}
	if !s.master.MaySell(from) {
		return no(wire.CodeTerminal)
	}
	asked, now := s.lookups.limiter(from), s.clock()
	if asked.TokensAt(now) < 1 {
		return no(wire.CodeRate)
	}
	st, err := s.vault.VerifySAMState(intake.ReadState(r.State, r.Challenge))
	if errors.Is(err, vault.ErrMAC) || err == nil && st.SAM != r.SAM {
		asked.AllowN(now, 1) // a guess at the MAC
		return no(wire.CodeBadMAC)
	}
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	policy := s.master.Policies[from]
	room, err := s.room(ctx, ep.Shop)
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	if book.Shop != ep.Shop {
		room -= book.Outstanding() // this shop bears it from now on
	}
	want := st.Total + policy.Amount
	ceiling := max(book.Ceiling, min(want, book.Ceiling+room))
	if ceiling <= st.Total {
		if policy.Amount <= 0 {
			return no(wire.CodeLimit)
		}
		return no(wire.CodeNoRoom)
	}
	al := suite.Allowance{
		Sequence: max(book.Sequence, st.Sequence) + 1, CeilingAmount: ceiling,
		CeilingCount: max(book.MaxCount, st.Count+policy.Count),
	}
	mac, err := s.vault.SignAllowance(r.SAM, r.Challenge, al)
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	a := wire.AllowanceAnswer{SAM: r.SAM, Sequence: al.Sequence, CeilingAmount: al.CeilingAmount, CeilingCount: al.CeilingCount, MAC: mac}
	return a, s.write(ctx, record.KindAllowance, &record.Allowance{Terminal: from, Challenge: r.Challenge, State: r.State, Answer: a})
}
