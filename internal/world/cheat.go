package world

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// cheat is something dishonest that was done, and must be found.
type cheat struct {
	what string
	st   *station
	name journal.Name // of the entry or transaction concerned
	card money.CardNumber
	step uint16 // of the card's counter
	load bool
	slip *told // what the customer holds
}

// Ways of cheating.
const (
	editedFile    = "edited file"        // a value in the file altered, its hash not
	alteredAmount = "altered amount"     // a record rewritten and the chain made anew
	alteredOwner  = "altered account"    // so, with another account
	deniedLoad    = "denied load"        // the card was loaded, the record says not
	deniedDebit   = "denied debit"       // the card was debited, the record says not
	inventedDebit = "invented debit"     // a record of what never was, with made-up cryptograms
	saidDebit     = "said debit"         // so, without any
	deniedBill    = "denied bill"        // a bill was taken, the record says not
	deniedPayout  = "denied payout"      // a claim was paid out, the record says not
	saidPayout    = "said payout"        // no claim was paid out, the record says so
	twoHeads      = "two heads"          // another entry signed under a name that was used
	replayed      = "allowance replayed" // an old allowance put into SAMs again
)

var cheatKinds = []string{editedFile, alteredAmount, alteredOwner, deniedLoad, deniedDebit, inventedDebit, saidDebit, deniedBill, deniedPayout, saidPayout, twoHeads, replayed}

// dishonest lets the people of the third terminal, the only one of its shop,
// do something that they should not. They have its disk and its keys; they do
// not have the keys in cards and SAMs.
func (w *world) dishonest(_ *station, a Action) {
	s := w.stations[2]
	what := cheatKinds[a.R%uint64(len(cheatKinds))]
	if quiet := (Action{T: a.T, C: a.C, Amount: a.Amount, R: a.R>>4&^(7<<20) | 7<<20}); s.tm != nil { // there must be something to lie about
		switch what {
		case deniedBill:
			w.payBill(s, quiet)
		case deniedPayout, saidPayout:
			w.collect(s, quiet)
		}
	}
	if w.commit(s, what, a) {
		w.fault("cheat: " + what)
		w.say("      %s", what)
	}
}

func (w *world) commit(s *station, what string, a Action) bool {
	switch what {
	case replayed:
		return w.replayAllowance()
	case editedFile:
		return w.edit(s, a)
	case twoHeads:
		return w.fork(s)
	case inventedDebit, saidDebit:
		return w.invent(s, what, a)
	}
	var c *cheat
	if !s.rewrite(func(e *journal.Entry) bool {
		if c != nil {
			return false
		}
		c = w.falsify(s, what, e)
		return c != nil
	}) || c == nil {
		return false
	}
	s.crooked = true
	w.cheats = append(w.cheats, *c)
	s.boot()
	if what == deniedLoad {
		s.inside(func() {
			_, _ = s.tm.ReturnCash(w.ctx, terminal.ReturnCashRequest{Token: w.token(), Who: s.clerk, TopUp: c.name})
		})
	}
	return true
}

// falsify alters one entry that has not been sent, if it is of the kind.
func (w *world) falsify(s *station, what string, e *journal.Entry) *cheat {
	switch b := e.Body.(type) {
	case *journal.PurchaseIntent:
		if b.Purpose != journal.PurposeRedeem || b.Account == accounts[len(accounts)-1] {
			return nil
		}
		m := w.did(e.Name, b.Card, false, b.Counter, b.Amount)
		if m == nil || w.cloned(b.Card) {
			return nil
		}
		c := &cheat{what: what, st: s, name: e.Name, card: b.Card, step: b.Counter}
		switch what {
		case alteredAmount:
			b.Amount += 10_00
			return c
		case alteredOwner:
			for i := range s.told {
				if t := &s.told[i]; t.tx.Name == e.Name && t.tx.Result == journal.Done {
					c.slip = t
				}
			}
			if c.slip == nil {
				return nil
			}
			for _, x := range accounts[:3] {
				if x != b.Account {
					b.Account = x
					return c
				}
			}
		}
	case *journal.PurchaseOutcome:
		if what == deniedDebit && b.Result == journal.Done && b.HasTAC {
			if m := w.byName(e.Ref.Of(s.id)); m != nil && m.tx.Kind == journal.KindRedemption && !w.cloned(m.chip.number) {
				*b = journal.PurchaseOutcome{Result: journal.NotDone, Reason: journal.ReasonCardRemoved, Evidence: journal.EvidenceCounter, After: m.tx.Purchase.Before, Counter: m.counter}
				return &cheat{what: what, st: s, name: m.tx.Name, card: m.chip.number, step: m.counter}
			}
		}
	case *journal.BillOutcome:
		return w.turnRound(s, e, &b.Decided, what == deniedBill && b.Result == journal.Done, what)
	case *journal.ClaimOutcome:
		return w.turnRound(s, e, &b.Decided, what == deniedPayout && b.Result == journal.Done || what == saidPayout && b.Result == journal.NotDone, what)
	case *journal.LoadOutcome:
		if what == deniedLoad && b.Result == journal.Done && b.HasTAC {
			if m := w.byName(e.Ref.Of(s.id)); m != nil && !w.cloned(m.chip.number) {
				*b = journal.LoadOutcome{Result: journal.NotDone, Reason: journal.ReasonCardRemoved, Evidence: journal.EvidenceCounter, After: m.tx.Load.Before, Counter: m.counter, SAMCount: b.SAMCount}
				return &cheat{what: what, st: s, name: m.tx.Name, card: m.chip.number, step: m.counter, load: true}
			}
		}
	}
	return nil
}

// turnRound makes the opposite of what the utility decided, if it is wanted and
// was not done to the entry before.
func (w *world) turnRound(s *station, e *journal.Entry, d *journal.Decided, wanted bool, what string) *cheat {
	for _, c := range w.cheats {
		wanted = wanted && c.name != e.Name
	}
	if !wanted {
		return nil
	}
	if d.Result == journal.Done {
		*d = journal.Decided{Result: journal.NotDone, Reason: journal.ReasonHostRefused, Code: string(wire.CodeNoRoom)}
	} else {
		*d = journal.Decided{Result: journal.Done}
	}
	return &cheat{what: what, st: s, name: e.Name}
}

func (w *world) byName(n journal.Name) *move {
	for _, m := range w.moves {
		if m.tx.Name == n {
			return m
		}
	}
	return nil
}

// head is how much of the terminal's present epoch the utility holds.
func (s *station) head() journal.Head {
	list, err := s.w.utility.db.Heads(s.w.ctx)
	s.w.must(err, "read the heads")
	for _, h := range list {
		if h.Terminal == s.id && h.Epoch == s.keys.Epoch() {
			return h
		}
	}
	return journal.Head{Terminal: s.id, Epoch: s.keys.Epoch(), Hash: journal.Genesis(s.id, s.keys.Epoch())}
}

var journalBucket = []byte("journal")

func key(r journal.Ref) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, r.Epoch), r.Seq)
}

// rewrite alters what the utility does not hold yet and makes the chain anew
// behind it. Whoever has the disk can do so. It reports whether anything was
// altered; the process is down then.
func (s *station) rewrite(f func(*journal.Entry) bool) bool {
	if s.disk.full {
		return false
	}
	s.bury()
	before := s.disk.copy()
	from := s.head()
	altered := false
	err := s.raw(func(b *bbolt.Bucket) error {
		hash := from.Hash
		for seq := from.Seq + 1; ; seq++ {
			k := key(journal.Ref{Epoch: from.Epoch, Seq: seq})
			v := b.Get(k)
			if v == nil {
				return nil
			}
			e, err := journal.Parse(bytes.Clone(v[len(hash):]))
			if err != nil {
				return err
			}
			if f(&e) {
				altered = true
			}
			raw := e.Bytes()
			hash = journal.Link(hash, raw)
			if err := b.Put(k, append(hash[:], raw...)); err != nil {
				return err
			}
		}
	})
	s.w.must(err, "rewrite a journal")
	_ = os.Remove(s.copyPath()) // it would tell
	if altered {
		st, err := store.Open(s.path(), store.Options{Clock: s.clock, InitialMmap: 256 << 10, Rebuild: true})
		if err == nil {
			s.w.must(st.Close(), "close a forged file")
			return true
		}
	}
	s.w.write(s, before)
	s.boot()
	return false
}

func (s *station) raw(f func(*bbolt.Bucket) error) error {
	db, err := bbolt.Open(s.path(), 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket(journalBucket)) }), db.Close())
}

// edit alters one byte of one entry, without its hash. The terminal must not
// start on it, and is started on the file as it was.
func (w *world) edit(s *station, a Action) bool {
	s.bury()
	before := s.disk.copy()
	done := false
	w.must(s.raw(func(b *bbolt.Bucket) error {
		k, v := b.Cursor().Last()
		if len(v) <= 33 {
			return nil
		}
		v = bytes.Clone(v)
		v[32+int(a.R>>8%uint64(len(v)-32))] ^= 1 << (a.R >> 40 % 8)
		done = true
		return b.Put(bytes.Clone(k), v)
	}), "edit a file")
	if done {
		w.figures.Assertions++
		st, err := store.Open(s.path(), store.Options{Clock: s.clock, InitialMmap: 256 << 10})
		switch {
		case err == nil:
			st.Close()
			w.fail("terminal %d starts on a file in which an entry was altered", s.no+1)
		case !errors.Is(err, store.ErrCorrupt):
			w.fail("an altered file is refused with %v", err)
		}
		w.figures.Found[editedFile+": refused at the start"]++
	}
	w.write(s, before)
	s.boot()
	return done
}

// fork signs another entry under the name of the last one that the utility
// holds, and sends it.
func (w *world) fork(s *station) bool {
	h := s.head()
	if h.Seq == 0 || s.st == nil || s.st.Err() != nil || s.st.Head().Epoch != h.Epoch {
		return false
	}
	prev, list, err := s.st.EntriesOf(h.Epoch, h.Seq, 1, 1<<20)
	if err != nil || len(list) == 0 {
		return false
	}
	e, err := journal.Parse(list[0])
	w.must(err, "parse an entry")
	e.Wall++
	b := wire.Batch{Terminal: s.id, Epoch: h.Epoch, From: h.Seq, Prev: prev, Entries: [][]byte{e.Bytes()}}
	b.Head = journal.Link(prev, b.Entries[0])
	b.Signature = b.End().Sign(s.keys.Signer(h.Epoch))
	s.crooked = true
	_, err = w.utility.svc.Intake(w.ctx, s.id, b)
	if w.utility.store.dead { // sent again
		w.utility.restart()
		_, err = w.utility.svc.Intake(w.ctx, s.id, b)
	}
	w.must(err, "send a second head")
	w.cheats = append(w.cheats, cheat{what: twoHeads, st: s, name: e.Name})
	return true
}

// invent writes a debit that never was.
func (w *world) invent(s *station, what string, a Action) bool {
	if s.tm == nil || s.st.Err() != nil {
		return false
	}
	r := rand.New(rand.NewPCG(a.R, 3))
	c := w.chips[a.C%3]
	if w.cloned(c.number) {
		return false
	}
	in := &journal.PurchaseIntent{
		Token: w.token(), Purpose: journal.PurposeRedeem, Card: c.number, Account: accounts[0], Seen: journal.AccountTyped, Amount: 20_00,
		Before: c.holds, Counter: uint16(r.IntN(6)), TxType: suite.TypeEPPurchase, KeyIndex: 1, KeyVersion: 1, PSAM: s.keys.PSAM, PSAMSeq: w.psam(s) + 1, Stamp: money.StampOf(s.clock()),
	}
	out := &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, After: c.holds - 20_00}
	if what == inventedDebit {
		out.HasTAC, out.MAC2Said = true, journal.MAC2Good
		binary.BigEndian.PutUint32(out.TAC[:], r.Uint32())
		binary.BigEndian.PutUint32(out.MAC2[:], r.Uint32())
	}
	s.crooked = true
	done := s.inside(func() {
		e, err := s.st.Append(w.ctx, store.Draft{Actor: s.clerk, Body: in})
		if err != nil {
			return
		}
		if _, err := s.st.Append(w.ctx, store.Draft{Actor: journal.System, Ref: e[0].Name.Ref(), Body: out}); err != nil {
			return
		}
		w.cheats = append(w.cheats, cheat{what: what, st: s, name: e[0].Name, card: c.number, step: in.Counter})
	})
	return done
}

// psam is the last sequence of the PSAM in the journal, so that an invented
// record does not give itself away by it.
func (w *world) psam(s *station) uint32 {
	list, err := s.st.Recent(50, journal.Ref{})
	w.must(err, "read the journal")
	for _, t := range list {
		if t.Purchase != nil {
			return t.Purchase.PSAMSeq
		}
	}
	return 0
}

// replayAllowance puts every allowance that was ever installed into every
// load SAM again: none may take it.
func (w *world) replayAllowance() bool {
	done := false
	for _, from := range w.sams {
		for _, cmd := range from.allowances {
			for _, to := range w.sams {
				probe, err := simcard.FromImage(to.Image(), to.options)
				w.must(err, "copy a SAM")
				_, err = probe.PowerOn()
				w.must(err, "start a SAM")
				w.figures.Assertions++
				sel := append([]byte{0x00, 0xA4, 0x04, 0x00, byte(len(suite.LoadSAMName))}, suite.LoadSAMName...)
				_, _ = probe.Transmit(sel)
				_, _ = probe.Transmit([]byte{0x00, 0x84, 0x00, 0x00, 0x08})
				if r, err := probe.Transmit(cmd); err != nil || bytes.HasSuffix(r, []byte{0x90, 0x00}) {
					w.fail("%s takes an allowance that was used before: %X %v", to.name, r, err)
				}
				done = true
			}
		}
	}
	return done
}

// cloneCard makes a second chip with the same number and keys.
func (w *world) cloneCard(c *chip) {
	if c.clone != nil || w.cloned(c.number) || w.cheatedWith(c.number) {
		return
	}
	card, err := simcard.FromImage(c.Image(), c.options)
	w.must(err, "clone a card")
	x := &chip{Card: card, w: w, options: c.options, name: c.name + "'", number: c.number, profile: c.profile, aid: c.aid, clone: c}
	x.holds = x.balance()
	x.initial = x.holds
	w.chips = append(w.chips, x)
	w.fault("card cloned")
}

func (w *world) cheatedWith(n money.CardNumber) bool {
	for _, c := range w.cheats {
		if c.card == n {
			return true
		}
	}
	return false
}

// twin gives the clone of a card instead, every other time.
func (w *world) twin(c *chip, r uint64) *chip {
	for _, x := range w.chips {
		if x.clone == c && r>>50%2 == 0 {
			return x
		}
	}
	return c
}

// found reports whether an alarm of a kind names an entry of a station.
func (w *world) alarmed(kind string, n journal.Name) bool {
	list, err := w.utility.svc.Alarms(w.ctx)
	w.must(err, "read the alarms")
	for _, a := range list {
		if a.Kind == kind && a.Name == n {
			return true
		}
	}
	return false
}

// caught requires that every cheat is found, and by whom.
func (w *world) caught() {
	held, err := w.utility.svc.Quarantine(w.ctx)
	w.must(err, "read the quarantine")
	reasons := map[journal.Name]string{}
	for _, h := range held {
		reasons[h.Name] = h.Reason
	}
	items := map[journal.Name]ledger.Item{}
	for _, it := range w.items() {
		items[it.Name] = it
	}
	for _, c := range w.cheats {
		w.figures.Assertions++
		out := c.name
		out.Seq++
		by := ""
		switch c.what {
		case alteredAmount, inventedDebit:
			for n := out.Seq; n < out.Seq+4; n++ { // the outcome, or what followed it
				switch r := reasons[journal.Name{Terminal: out.Terminal, Epoch: out.Epoch, Seq: n}]; r {
				case record.HeldBadTAC, record.HeldBadMAC2, record.HeldTwice:
					by = r
				}
			}
			if it, ok := items[c.name]; by == "" && ok && it.State != ledger.Done {
				by = "never posted"
			}
			if _, ok := items[c.name]; by == "" && !ok && reasons[c.name] != "" {
				by = "refused: " + reasons[c.name]
			}
		case alteredOwner:
			if m := w.byName(c.name); w.slipTells(c) {
				by = "the customer's slip"
			} else if m != nil && items[c.name].Account == m.tx.Account {
				by = "undone by altering it once more"
			}
		case deniedLoad, deniedDebit:
			switch it := items[c.name]; {
			case w.alarmed(record.AlarmLate, c.name):
				by = "the card's proof at another terminal"
			case it.State == ledger.Done:
				by = "settled by the card's proof"
			case c.load && it.State == ledger.InClaim && w.balances()[ledger.Claim(it.Name)] == it.Amount:
				by = "the shop paid for it, into the claim"
			case c.load && it.Exposed() > 0:
				by = "reserved under its name"
			case c.load && w.outstanding(it):
				by = "outstanding in the load SAM's allowance"
			case !c.load && w.gap(c):
				by = "the gap in the card's counters"
			}
		case saidDebit:
			if it, ok := items[c.name]; !ok || it.State != ledger.Done {
				by = "nothing was posted"
			}
		case deniedBill, deniedPayout, saidPayout:
			switch r := reasons[c.name]; r {
			case record.HeldContradiction, record.HeldNotAgreed:
				by = "held against what was decided: " + r
			}
		case twoHeads:
			list, err := w.utility.svc.Alarms(w.ctx)
			w.must(err, "read the alarms")
			for _, a := range list {
				if a.Kind == record.AlarmEquivocation && a.Name.Terminal == c.st.id {
					by = a.Kind
				}
			}
		}
		if by == "" {
			w.fail("%s of %s was not found: item %+v, quarantine %q", c.what, c.name, items[c.name], reasons[out])
		}
		w.figures.Found[c.what+": "+by]++
	}
}

// outstanding reports whether the utility counts a load that a terminal denied
// as given by its load SAM and not paid for: the shop's room lacks it for ever.
func (w *world) outstanding(it ledger.Item) bool {
	if it.SAM.IsZero() {
		return false
	}
	have, err := w.utility.db.Fetch(w.ctx, storage.Want{SAMs: []money.SAMID{it.SAM}})
	w.must(err, "read a load SAM's book")
	b := have.SAMs[it.SAM]
	return it.Gave && !it.Paid() && b.Gave-b.Covered-b.Released >= it.Amount
}

func (w *world) gap(c cheat) bool {
	gaps, err := w.utility.svc.MissingRecords(w.ctx)
	w.must(err, "look for missing records")
	for _, g := range gaps {
		if g.Card == c.card && g.Load == c.load && g.From <= c.step && c.step <= g.Through {
			return true
		}
	}
	return false
}

// slipTells holds the customer's slip against the utility's records: the hash
// on the slip covers everything up to the payment.
func (w *world) slipTells(c cheat) bool {
	for seq := c.name.Seq; seq < c.name.Seq+6; seq++ {
		n := c.name
		n.Seq = seq
		h, ok := w.utility.hashAt(n)
		if !ok {
			return true // the utility does not even hold it
		}
		if h == c.slip.hash {
			return false
		}
	}
	return true
}
