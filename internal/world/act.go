package world

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/wire"
)

// wish is what a person asked of a terminal.
type wish struct {
	st     *station
	what   Verb
	do     func() (terminal.Receipt, error)
	token  journal.Token
	of     journal.Transaction // card, account and amount that were asked for
	said   *terminal.Receipt   // what the person was told, nil when nobody answered
	cash   drawer
	unsure bool // it was told as unknown
	begun  time.Time
}

func (w *world) act(a Action) {
	s := w.stations[a.T%len(w.stations)]
	c := w.twin(w.chips[a.C], a.R)
	switch a.Do {
	case TopUp, Redeem, Sell, Void, ReturnCash, PayBill, Collect, Block, Replace, Again, Sync, Maintain, Shift:
		// People start a terminal that is down, but not always.
		if s.tm == nil && a.R%4 != 0 && !s.boot() {
			return
		}
		if s.sam.chip == nil && a.R>>2%2 == 0 { // nor always a terminal without its SAM
			w.putSAM(s)
			w.settleEvents()
		}
	}
	switch a.Do {
	case Pull:
		s.card.pull()
	case TopUp:
		w.topUp(s, c, a)
	case Redeem:
		w.redeem(s, c, a)
	case Sell:
		w.sell(s, a)
	case Void:
		w.void(s, a)
	case ReturnCash:
		w.returnCash(s, a)
	case PayBill:
		w.payBill(s, a)
	case Collect:
		w.collect(s, a)
	case Block, Replace:
		w.askCard(s, c, a)
	case Again:
		w.again(a)
	case Sync:
		s.turn(true)
	case Maintain:
		s.maintain()
	case Wait:
		time.Sleep([]time.Duration{time.Minute, 20 * time.Minute, 5 * time.Hour, 26 * time.Hour, 4 * 24 * time.Hour}[a.R%5])
	case Shift:
		s.inside(func() {
			if a.R%2 == 0 {
				_, _ = s.tm.CloseShift(w.ctx, terminal.CloseRequest{Who: s.clerk, Counted: a.Amount})
			}
			_, _ = s.tm.OpenShift(w.ctx, s.clerk, 0)
		})
	case Line:
		s.link.up = a.R%3 != 0
		if !s.link.up {
			w.fault("line cut")
			for range 4 { // until the terminal believes it
				s.turn(true)
			}
		} else {
			s.turn(true)
		}
	case LineFault:
		for range 1 + a.R>>8%3 {
			s.link.plan = append(s.link.plan, linkFaults[a.R%uint64(len(linkFaults))])
		}
	case Kill, PowerCut:
		s.arm(bomb{in: 1 + int(a.R%30), power: a.Do == PowerCut, how: a.R})
	case Tear:
		s.card.tear = tear{in: 1 + int(a.R%8), how: int(a.R >> 8 % tears), page: 1 + int(a.R>>16%4), then: -1}
		if at := []byte{0, insProof, insRecord}[a.R>>28%3]; at != 0 { // while it is asked what happened
			s.card.tear.in, s.card.tear.at = 1+int(a.R%2), at
		}
		if a.R>>24%4 == 0 {
			s.card.tear.then = a.C
		}
	case DiskFault:
		switch s.disk.lame = a.R>>8%3 == 0; {
		case s.disk.lame:
			s.disk.lamed = true
			w.fault(failCopy)
		default:
			s.disk.fail = []string{failData, failMeta, failFull}[a.R%3]
		}
	case DiskFull:
		if s.disk.full = a.R%2 == 0; s.disk.full {
			w.fault("disk nearly full")
		}
	case Clock:
		s.jump(a.R)
		s.jumped = true
		w.fault("clock jumps")
	case Restart:
		s.stop()
		s.boot()
	case MoveSAM:
		w.moveSAM(s, a)
	case KillUtility:
		w.utility.store.in, w.utility.store.after = 1+int(a.R%8), a.R>>8%2 == 0
	case Office:
		w.office(s, c, a)
	case CopyDisk:
		s.images = append(s.images, s.disk.copy())
	case RestoreDisk:
		w.restore(s, a)
	case Cheat:
		w.dishonest(s, a)
	case CloneCard:
		w.cloneCard(w.chips[a.C])
	case CloneTerminal:
		w.cloneTerminal(s)
	}
	if s.stopped() { // by its disk: somebody starts it again
		s.bury()
		s.disk.hurt = false
		s.boot()
	}
}

// insert puts a card into a terminal's reader if it is not there.
func (w *world) insert(s *station, c *chip) {
	if s.card.chip == c {
		return
	}
	if c.in != nil {
		c.in.pull()
	}
	s.card.put(c)
	w.settleEvents()
}

// settleEvents tells every living terminal what happened at its readers.
func (w *world) settleEvents() {
	for _, s := range w.stations {
		for _, x := range []*slot{s.card, s.sam} {
			if s.tm != nil && x.told != x.count {
				x.told = x.count
				s.inside(func() { s.tm.Handle(w.ctx, x.event()) })
			}
		}
	}
}

// moves are the commands with which a wish moves value.
var moves = map[Verb]byte{TopUp: insCredit, Sell: insCredit, Collect: insCredit, Redeem: insDebit, Void: insDebit}

// ask lets a person ask. What they are told is remembered. Often something
// happens just then: the card is torn, the process dies, the disk fails.
func (w *world) ask(x *wish, a Action) {
	s := x.st
	x.begun = w.now()
	w.wishes = append(w.wishes, x)
	r := a.R >> 20
	switch r % 8 {
	case 0, 1:
		t := tear{in: 1 + int(r>>3%5), how: int(r >> 6 % tears), page: 1 + int(r>>10%4), then: -1}
		if r>>30%3 == 0 {
			t.in = 1 + int(r>>3%3)
			s.sam.tear = t
			break
		}
		if r>>33%2 == 0 { // where it matters most
			t.in, t.at = 1, moves[x.what]
		}
		if r>>13%4 == 0 {
			t.then = int(r >> 15 % uint64(len(w.chips)))
		}
		s.card.tear = t
	case 2:
		s.arm(bomb{in: 1 + int(r>>3%26), power: r>>9%2 == 0, how: r})
	case 3:
		if r>>3%4 == 0 {
			s.disk.fail = []string{failData, failMeta, failFull}[r>>5%3]
		}
	case 4, 5, 6:
		if x.what >= ReturnCash && x.what <= Replace {
			for i := range 1 + r>>3%3 {
				s.link.plan = append(s.link.plan, linkFaults[r>>(5+4*i)%uint64(len(linkFaults))])
			}
		}
	}
	w.repeat(x)
}

func (w *world) repeat(x *wish) {
	s := x.st
	kind := verbNames[x.what]
	if s.tm == nil {
		w.figures.Outcomes[kind+": nobody there"]++
		return
	}
	var rc terminal.Receipt
	var err error
	if !s.inside(func() { rc, err = x.do() }) {
		w.figures.Outcomes[kind+": terminal died"]++
		w.say("      died")
		w.look(x)
		return
	}
	var r *terminal.Refusal
	switch {
	case errors.As(err, &r):
		w.figures.Outcomes[kind+": refused"]++
		w.say("      refused: %s", r)
		w.look(x)
		if x.said != nil && r.Code != terminal.CodeStopped && !s.crooked {
			w.fail("the same wish was answered with %s and is now refused: %s", x.said.Name, r)
		}
		return
	case err != nil:
		w.figures.Outcomes[kind+": error"]++
		w.say("      error: %v", err)
		var uncertain *terminal.UncertainError
		if !errors.As(err, &uncertain) {
			w.fail("%s was answered neither with a refusal nor with a slip: %v", kind, err)
		}
		return
	}
	w.figures.Outcomes[kind+": "+results[rc.Result]]++
	w.say("      %s %s", rc.Name, results[rc.Result])
	if x.said != nil {
		w.figures.Assertions++
		if x.said.Name != rc.Name {
			w.fail("the same wish made %s and %s", x.said.Name, rc.Name)
		}
	}
	w.believe(x, rc)
	x.said = &rc
	w.look(x)
	w.answered(x, rc)
	s.told = append(s.told, told{rc.Transaction, rc.Hash})
	if rc.Child != nil {
		s.told = append(s.told, told{*rc.Child, rc.Hash})
	}
	if rc.Kind == journal.KindTopUp || rc.Kind == journal.KindBill {
		s.topUps = append(s.topUps, rc.Name)
	}
}

// answered notes what a person was told of a block, and that they left with an
// unknown claim.
func (w *world) answered(x *wish, rc terminal.Receipt) {
	switch {
	case rc.Kind == journal.KindClaim && rc.Result == journal.Unknown:
		x.unsure = true
	case (x.what == Block || x.what == Replace) && rc.Result == journal.Done && w.freed[x.of.Card].Before(x.begun): // else head office took it back before
		w.blockedNow(x.of.Card)
	}
}

// believe holds a receipt against what was asked and what the chips did.
func (w *world) believe(x *wish, rc terminal.Receipt) {
	moving := &rc.Transaction // what moved value, or should have
	if rc.Child != nil {
		moving = rc.Child
	}
	w.figures.Assertions++
	if moving.Card != x.of.Card || moving.Account != x.of.Account || moving.Amount != x.of.Amount {
		if moving.Load != nil || moving.Purchase != nil {
			w.fail("asked to move %s of %s for %s, %s moved %s of %s for %s", x.of.Amount, x.of.Card, x.of.Account, moving.Name, moving.Amount, moving.Card, moving.Account)
		}
	}
	if x.st.crooked || x.st.rolledBack(moving.Name) || w.cloned(x.of.Card) {
		return // its names may stand for two transactions
	}
	w.figures.Assertions++
	switch m := w.byName(moving.Name); {
	case moving.Load == nil && moving.Purchase == nil:
	case moving.Result == journal.Done && m == nil:
		w.fail("%s was told as done, and no chip did it", moving.Name)
	case moving.Result == journal.NotDone && m != nil:
		w.fail("%s was told as not done, and the chip did it", moving.Name)
	}
}

var results = map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done", journal.Unknown: "unknown", journal.Pending: "pending"}

func (w *world) token() journal.Token {
	return journal.TokenOf(fmt.Sprint(w.seed, "/", w.at, "/", len(w.wishes)))
}

func (w *world) topUp(s *station, c *chip, a Action) {
	w.insert(s, c)
	req := terminal.TopUpRequest{Token: w.token(), Who: s.clerk, Card: c.number, Amount: a.Amount, Tendered: a.Amount}
	w.ask(&wish{st: s, what: TopUp, token: req.Token, of: journal.Transaction{Card: c.number, Amount: a.Amount}, do: func() (terminal.Receipt, error) { return s.tm.TopUp(w.ctx, req) }}, a)
}

func (w *world) redeem(s *station, c *chip, a Action) {
	for i := 0; c.holds == 0 && i < len(w.chips); i++ {
		c = w.chips[i] // people pay with cards that hold something
	}
	w.insert(s, c)
	req := terminal.RedeemRequest{Token: w.token(), Who: s.clerk, Card: c.number, Account: accounts[a.R%uint64(len(accounts))], Amount: a.Amount}
	req.Again = req.Account
	if a.R>>8%2 == 0 {
		req.Who = journal.Actor{Kind: journal.ActorCustomer}
	}
	if c.holds < a.Amount && c.holds > 0 {
		req.Amount = c.holds
	}
	w.ask(&wish{st: s, what: Redeem, token: req.Token, of: journal.Transaction{Card: c.number, Account: req.Account, Amount: req.Amount}, do: func() (terminal.Receipt, error) { return s.tm.Redeem(w.ctx, req) }}, a)
}

func (w *world) sell(s *station, a Action) {
	c := w.chips[3+a.R%2]
	w.insert(s, c)
	req := terminal.SellRequest{Token: w.token(), Who: s.clerk, Card: c.number, Amount: a.Amount, Tendered: a.Amount}
	w.ask(&wish{st: s, what: Sell, token: req.Token, of: journal.Transaction{Card: c.number, Amount: a.Amount}, do: func() (terminal.Receipt, error) { return s.tm.Sell(w.ctx, req) }}, a)
}

// pick gives one of the terminal's top-ups, lately made ones rather.
func (s *station) pick(r uint64) (journal.Transaction, bool) {
	if s.st == nil || len(s.topUps) == 0 {
		return journal.Transaction{}, false
	}
	n := min(len(s.topUps), 3)
	t, err := s.st.Transaction(s.topUps[len(s.topUps)-1-int(r%uint64(n))].Ref())
	return t, err == nil
}

func (w *world) void(s *station, a Action) {
	t, ok := s.pick(a.R)
	if !ok {
		return
	}
	for _, c := range w.chips {
		if c.number == t.Card && c.clone == nil {
			w.insert(s, c)
		}
	}
	if a.R>>3%4 == 0 { // the customer has left with it
		w.fault("void after the card was handed over")
		s.card.pull()
		if c := w.chips[a.C]; a.R>>5%2 == 0 && c.number != t.Card {
			w.insert(s, c)
		}
		w.settleEvents()
	}
	req := terminal.VoidRequest{Token: w.token(), Who: s.clerk, TopUp: t.Name}
	w.ask(&wish{st: s, what: Void, token: req.Token, of: journal.Transaction{Card: t.Card, Amount: t.Amount}, do: func() (terminal.Receipt, error) { return s.tm.Void(w.ctx, req) }}, a)
}

func (w *world) returnCash(s *station, a Action) {
	t, ok := s.pick(a.R)
	if !ok {
		return
	}
	req := terminal.ReturnCashRequest{Token: w.token(), Who: s.clerk, TopUp: t.Name}
	w.ask(&wish{st: s, what: ReturnCash, token: req.Token, of: journal.Transaction{Card: t.Card, Account: t.Account, Amount: t.Amount}, do: func() (terminal.Receipt, error) { return s.tm.ReturnCash(w.ctx, req) }}, a)
}

// again is a double click, or a screen that lost its answer: the same wish
// with the same token.
func (w *world) again(a Action) {
	if len(w.wishes) == 0 {
		return
	}
	x := w.wishes[len(w.wishes)-1-int(a.R%uint64(min(3, len(w.wishes))))]
	if x.st.behind {
		return // its answer may have been forgotten with the disk
	}
	w.fault("same wish twice")
	w.repeat(x)
}

func (w *world) moveSAM(s *station, a Action) {
	other := w.stations[a.R%uint64(len(w.stations))]
	switch {
	case s.sam.chip != nil && a.R>>8%2 == 0:
		w.fault("SAM pulled")
		s.sam.pull()
	case s.sam.chip != nil && other != s:
		w.fault("SAMs of two terminals exchanged")
		mine := s.sam.chip
		s.sam.pull()
		if its := other.sam.chip; its != nil {
			other.sam.pull()
			s.sam.put(its)
		}
		other.sam.put(mine)
	default:
		w.putSAM(s)
	}
}

// putSAM puts a terminal's own SAM back.
func (w *world) putSAM(s *station) {
	mine := w.sams[s.no]
	if mine.in == s.sam || s.sam.chip == mine {
		return
	}
	if mine.in != nil {
		mine.in.pull()
	}
	s.sam.put(mine)
}

func (w *world) office(s *station, c *chip, a Action) {
	u := w.utility
	if a.R%8 == 6 {
		w.replace(a.R>>8%2 == 0, a.R>>9%2 == 0)
		return
	}
	u.office(func(svc *service.Service) error {
		switch a.R % 8 {
		case 0:
			return svc.Bill(w.ctx, accounts[a.R>>8%3], a.Amount, fmt.Sprint("bill ", w.at))
		case 1:
			return svc.PayFloat(w.ctx, s.shop, a.Amount*4, fmt.Sprint("float ", w.at))
		case 2:
			err := svc.BlockCard(w.ctx, c.number)
			if err == nil {
				w.blockedNow(c.number)
			}
			return err
		case 3:
			err := svc.UnblockCard(w.ctx, c.number)
			if err == nil {
				w.unblocked(c.number)
			} else if w.carriedOf(c.number) == 0 { // it may have died after it wrote
				w.freed[c.number] = w.now()
				delete(w.blocks, c.number)
			}
			return err
		case 4:
			list, err := svc.Suspense(w.ctx)
			if err != nil || len(list) == 0 {
				return err
			}
			return svc.ResolveSuspense(w.ctx, list[0].Name, accounts[0])
		default:
			l := wire.DefaultLimits()
			if a.R>>8%2 == 0 {
				l.CardDayMax, l.CardOfflineHard, l.OfflineTopUpMax = 2000_00, 20, 500_00
			}
			return svc.SetLimits(w.ctx, money.TerminalID{}, l)
		}
	})
}

// cloneTerminal makes a second machine of a terminal's disk and keys. From
// then on each such step lets the other one work, with the readers and SAMs of
// both: one identity lives on as two, and neither knows what the other does.
func (w *world) cloneTerminal(s *station) {
	s.bury()
	mine := twin{disk: s.disk.copy(), keys: s.keys, told: slices.Clone(s.told), topUps: slices.Clone(s.topUps)}
	if s.other == nil {
		w.fault("terminal cloned")
	} else {
		w.fault("the other of two cloned terminals works")
		w.write(s, s.other.disk)
		s.keys, s.told, s.topUps = s.other.keys, s.other.told, s.other.topUps
		s.behind, s.forgot, s.loses, s.rolled = true, true, true, max(s.rolled, s.epoch)
		s.heard = time.Time{}
		s.wishesLost()
	}
	s.other = &mine
	s.boot()
}

// restore puts an older copy of a terminal's disk back. The cards and SAMs do
// not go back with it.
func (w *world) restore(s *station, a Action) {
	if len(s.images) == 0 {
		return
	}
	w.fault("disk restored from an older copy")
	e := s.images[a.R%uint64(len(s.images))]
	s.bury()
	w.putBack(s, e, a.R>>8%2 == 0)
}
