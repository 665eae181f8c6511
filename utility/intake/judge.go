package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// Judge gives the change that a line makes. prepared may be nil. An error is
// of the storage or the vault, never of what a terminal sent: that is held in
// quarantine.
func (j *Judge) Judge(ctx context.Context, l record.Line, prepared *Prepared) (storage.Change, error) {
	v := newView(ctx, j.Store, l)
	rec, err := record.Decode(l)
	if err != nil {
		return storage.Change{}, err
	}
	switch r := rec.(type) {
	case *wire.Batch:
		if l.Kind == record.KindFork {
			v.alarm(record.AlarmEquivocation, journal.Name{Terminal: r.Terminal, Epoch: r.Epoch, Seq: r.From}, "")
			break
		}
		if prepared == nil {
			prepared = j.Prepare(r)
		}
		err = j.entries(v, prepared)
	case *record.Load:
		err = j.authorised(v, r)
	case *record.Void:
		err = j.voidAgreed(v, r)
	case *record.Allowance:
		err = j.allowance(v, r)
	case *record.Account:
		v.change.Accounts = append(v.change.Accounts, storage.Account{Number: r.Account, Owner: r.Owner})
	case *record.Float:
		if l.Kind == record.KindCommission {
			v.post(record.MasterName(r.No), ledger.PayCommission(r.Shop, r.Amount))
		} else {
			v.post(record.MasterName(r.No), ledger.PayFloat(r.Shop, r.Amount))
		}
	case *record.Bill:
		v.post(record.MasterName(r.No), ledger.Bill(r.Account, r.Amount))
	case *record.Suspense:
		err = j.named(v, r)
	case *record.BillPaid:
		err = j.billPaid(v, r)
	case *record.Collected:
		err = j.collected(v, r)
	case *record.Replaced:
		it := &ledger.Item{Name: r.Request, Kind: ledger.Carried, Shop: r.Shop, Card: r.Card, Amount: r.Amount, Intent: true}
		v.add(it)
		v.post(record.MasterName(r.No), it.Carry())
	}
	return v.done(), err
}

// authorised notes that MAC2 was given under a name; its intent may come
// later or be there already.
func (j *Judge) authorised(v *view, r *record.Load) error {
	n, in := r.Request.Name, &r.Request.Intent
	it, err := v.item(n)
	if err != nil {
		return err
	}
	if it == nil {
		it = &ledger.Item{Name: n, Kind: ledger.TopUp, Shop: r.Shop, Card: in.Card, Amount: in.Amount, TxType: in.TxType, Counter: in.Counter}
		if err := v.begin(it); err != nil {
			return err
		}
	}
	return v.apply(n, it, ledger.MAC2Given)
}

func (j *Judge) voidAgreed(v *view, r *record.Void) error {
	it, err := v.item(r.Question.TopUp)
	if err != nil || it == nil {
		return err
	}
	it.Void = r.Question.Name.Ref()
	v.dirty[it] = true
	return nil
}

func (j *Judge) allowance(v *view, r *record.Allowance) error {
	s, err := v.sam(r.Answer.SAM)
	if err != nil {
		return err
	}
	if e := j.epochOf(r.Terminal); e != 0 {
		s.Shop = e
	}
	s.Sequence, s.Challenge, s.Answer = r.Answer.Sequence, r.Challenge, canon.Marshal(&r.Answer)
	s.Ceiling, s.MaxCount = max(s.Ceiling, r.Answer.CeilingAmount), max(s.MaxCount, r.Answer.CeilingCount)
	return nil
}

func (j *Judge) epochOf(t money.TerminalID) money.ShopID {
	if x := j.Master.Terminals[t]; x != nil {
		return x.Now().Shop
	}
	return 0
}

// named moves a redemption from suspense to the account that head office
// found.
func (j *Judge) named(v *view, r *record.Suspense) error {
	it, err := v.item(r.Item)
	if err != nil || it == nil || it.State != ledger.Done || !it.Nameless {
		return err
	}
	it.Nameless, it.Account = false, r.Account
	v.dirty[it] = true
	v.post(record.MasterName(r.No), ledger.Resolve(r.Account, it.Amount))
	return nil
}

// verdict is why an entry goes to quarantine.
type verdict string

func (r verdict) Error() string { return string(r) }

// held makes a quarantine of what the ledger refuses.
func held(err error) error {
	switch {
	case errors.Is(err, ledger.ErrContradiction):
		return verdict(record.HeldContradiction)
	case errors.Is(err, ledger.ErrNotOwed):
		return verdict(record.HeldNotOwed)
	}
	return err
}

func (j *Judge) entries(v *view, p *Prepared) error {
	ep, ok := j.Master.Epoch(p.batch.Terminal, p.batch.Epoch)
	if !ok {
		return fmt.Errorf("intake: line %d is of an epoch that was never issued", v.line)
	}
	if err := v.fetch(j.wants(p)); err != nil {
		return err
	}
	// Items of earlier batches that this one settles: their counters too.
	var chain []storage.Counter
	for _, it := range v.items {
		if it != nil && it.OfCard() {
			if _, asked := v.chain[counterOf(it)]; !asked {
				chain = append(chain, counterOf(it))
			}
		}
	}
	if len(chain) > 0 {
		if err := v.fetch(storage.Want{Chain: chain}); err != nil {
			return err
		}
	}
	for i := range p.entries {
		e := &p.entries[i]
		n := journal.Name{Terminal: p.batch.Terminal, Epoch: p.batch.Epoch, Seq: p.batch.From + uint64(i)}
		if p.reasons[i] != "" {
			v.hold(n, p.reasons[i])
			continue
		}
		v.raw[n] = e.Body
		err := held((&entry{Judge: j, view: v, epoch: &terms{ep.Shop, ep.PSAM, ep.LoadSAM}, Entry: e, proofs: &p.proofs[i]}).judge())
		var why verdict
		switch {
		case errors.As(err, &why):
			v.hold(n, string(why))
			switch string(why) {
			case record.HeldBadTAC, record.HeldBadMAC2, record.HeldBadState:
				v.alarm(record.AlarmBadMAC, n, string(why))
			case record.HeldMismatch:
				if _, observed := e.Body.(*journal.Observation); !observed {
					v.alarm(record.AlarmName, n, "a load was authorised under this name, and the terminal signed something else")
				}
			}
		case err != nil:
			return fmt.Errorf("entry %s: %w", n, err)
		}
	}
	return nil
}

// wants gathers what a batch will ask for, so that few statements fetch it.
func (j *Judge) wants(p *Prepared) (w storage.Want) {
	accounts := map[money.AccountNumber]bool{}
	for i := range p.entries {
		if p.reasons[i] != "" {
			continue
		}
		e := &p.entries[i]
		if e.Name.Seq == 0 {
			continue
		}
		outside := func(r journal.Ref) {
			if _, inside := p.at(r); !inside {
				n := r.Of(p.batch.Terminal)
				w.Items, w.Raw, w.Held = append(w.Items, n), append(w.Raw, n), append(w.Held, n)
			}
		}
		switch b := e.Body.(type) {
		case *journal.PurchaseIntent:
			if len(w.PSAMs) == 0 {
				w.PSAMs = append(w.PSAMs, storage.PSAMOf{Terminal: p.batch.Terminal, PSAM: b.PSAM})
			}
			w.Chain, w.Items = append(w.Chain, storage.Counter{Card: b.Card, Value: b.Counter}), append(w.Items, e.Name)
			if b.Purpose == journal.PurposeVoidTopUp {
				w.Voids = append(w.Voids, e.Ref.Of(p.batch.Terminal))
			} else if b.Purpose == journal.PurposeRedeem && !accounts[b.Account] {
				accounts[b.Account] = true
				w.Accounts = append(w.Accounts, b.Account)
			}
		case *journal.LoadIntent:
			w.Chain, w.Items = append(w.Chain, storage.Counter{Card: b.Card, Load: true, Value: b.Counter}), append(w.Items, e.Name)
			if b.Authority == journal.AuthorityHost {
				w.Loads = append(w.Loads, e.Name)
			} else if len(w.SAMs) == 0 {
				w.SAMs = append(w.SAMs, b.SAM)
			}
		case *journal.CardSale:
			w.Sales = append(w.Sales, b.Card)
		case *journal.PurchaseOutcome, *journal.LoadOutcome, *journal.LoadAuthorised, *journal.CashReturned, *journal.BillOutcome, *journal.ClaimOutcome:
			outside(e.Ref)
		case *journal.BillIntent:
			w.Items = append(w.Items, e.Name)
		case *journal.ClaimIntent:
			w.Items, w.Counter = append(w.Items, e.Name), append(w.Counter, e.Name)
		case *journal.Observation:
			w.Items, w.Raw = append(w.Items, b.Item), append(w.Raw, b.Item)
		}
	}
	return w
}

// terms are what an epoch of a terminal was enrolled with.
type terms struct {
	shop          money.ShopID
	psam, loadSAM money.SAMID
}

// entry is one entry being judged.
type entry struct {
	*Judge
	*view
	*journal.Entry
	epoch  *terms
	proofs *proofs
}

func (e *entry) judge() error {
	switch b := e.Body.(type) {
	case *journal.PurchaseIntent:
		return e.purchaseIntent(b)
	case *journal.PurchaseOutcome:
		return e.purchaseOutcome(b)
	case *journal.LoadIntent:
		return e.loadIntent(b)
	case *journal.LoadAuthorised:
		return e.loadAuthorised(b)
	case *journal.LoadOutcome:
		return e.loadOutcome(b)
	case *journal.CashReturned:
		return e.cashReturned(b)
	case *journal.BillIntent:
		return e.billIntent(b)
	case *journal.BillOutcome:
		return e.billOutcome(b)
	case *journal.ClaimIntent:
		return e.claimIntent(b)
	case *journal.ClaimOutcome:
		return e.claimOutcome(b)
	case *journal.CardSale:
		return e.cardSale(b)
	case *journal.SAMReport:
		return e.samReport(b)
	case *journal.Observation:
		return e.observation(b)
	case *journal.PSAMSequence:
		return e.psamSequence(b)
	case *journal.Start:
		return e.start(b)
	}
	return nil // shifts, void and card requests, answers and acts of staff move no value
}

// purse checks what every movement of a purse has.
func (e *entry) purse(n money.CardNumber, typ uint8, a money.Fen, load bool) error {
	c, ok := e.card(n)
	switch {
	case !ok:
		return verdict(record.HeldUnknownCard)
	case typ != e.txType(c, load):
		return verdict(record.HeldTxType)
	case a <= 0 || a > money.MaxPurse:
		return verdict(record.HeldAmount)
	}
	return nil
}

// free checks that no load was authorised under the entry's name. What that
// reserved must not be erased by another movement.
func (e *entry) free() error {
	it, err := e.item(e.Name)
	if err == nil && it != nil {
		return verdict(record.HeldMismatch)
	}
	return err
}

func (e *entry) purchaseIntent(b *journal.PurchaseIntent) error {
	ours, fallen := e.ourPSAM(b.PSAM), false
	if ours { // whatever else is wrong with the entry, the PSAM gave this
		var err error
		if fallen, err = e.sequence(b.PSAM, b.PSAMSeq); err != nil {
			return err
		}
	}
	if err := e.purse(b.Card, b.TxType, b.Amount, false); err != nil {
		return err
	}
	if err := e.free(); err != nil {
		return err
	}
	if !ours {
		return verdict(record.HeldPSAM)
	}
	if fallen {
		return verdict(record.HeldPSAMSeq)
	}
	it := &ledger.Item{Name: e.Name, Kind: ledger.Redemption, Shop: e.epoch.shop, Card: b.Card, Account: b.Account,
		Amount: b.Amount, TxType: b.TxType, Counter: b.Counter, Intent: true}
	switch b.Purpose {
	case journal.PurposeRedeem:
		if b.Account > 9_999_999_999 {
			return verdict(record.HeldMalformed)
		}
	case journal.PurposeEmpty:
		if b.Account != 0 {
			return verdict(record.HeldMalformed)
		}
		it.Kind = ledger.Emptied
	case journal.PurposeVoidTopUp:
		it.Kind, it.Account = ledger.VoidDebit, 0
		d, err := e.void(e.Ref.Of(e.Name.Terminal))
		if err != nil {
			return err
		}
		if d == nil || d.Question.Request.Card != b.Card || d.Question.Request.Amount != b.Amount {
			return verdict(record.HeldNotAgreed)
		}
		topUp, err := e.item(d.Question.TopUp)
		if err != nil {
			return err
		}
		if topUp == nil {
			return verdict(record.HeldNotAgreed)
		}
		if !topUp.VoidDebit.IsZero() { // one void of one top-up, unless the one before did not happen
			before, err := e.item(topUp.VoidDebit.Of(topUp.Name.Terminal))
			if err != nil {
				return err
			}
			if before == nil || before.State != ledger.NotDone {
				return verdict(record.HeldNotAgreed)
			}
		}
		topUp.VoidDebit = e.Name.Ref()
		e.dirty[topUp] = true
	default:
		return verdict(record.HeldMalformed)
	}
	return e.begin(it)
}

// begun finds the item that the entry continues.
func (e *entry) begun(kinds ...ledger.Kind) (*ledger.Item, error) {
	n := e.Ref.Of(e.Name.Terminal)
	it, err := e.item(n)
	if err != nil {
		return nil, err
	}
	if it != nil && it.Intent {
		for _, k := range kinds {
			if it.Kind == k {
				return it, nil
			}
		}
	}
	why, err := e.heldReason(n)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, verdict(record.HeldIntent)
	}
	return nil, verdict(record.HeldNoIntent)
}

// said takes an outcome that no cryptogram proves.
func (e *entry) said(it *ledger.Item, r journal.Result) error {
	switch r {
	case journal.Done:
		return e.apply(e.Name, it, ledger.SaidDone)
	case journal.NotDone:
		return e.apply(e.Name, it, ledger.SaidNotDone)
	case journal.Unknown, journal.Pending:
		return e.apply(e.Name, it, ledger.SaidUnknown)
	}
	return verdict(record.HeldMalformed)
}

func (e *entry) purchaseOutcome(b *journal.PurchaseOutcome) error {
	it, err := e.begun(ledger.Redemption, ledger.VoidDebit, ledger.Emptied)
	if err != nil {
		return err
	}
	if b.Result != journal.Done || !b.HasTAC {
		return e.said(it, b.Result)
	}
	p := *e.proofs
	if !p.checked {
		in, err := e.body(it.Name)
		if err != nil {
			return err
		}
		body, ok := in.(*journal.PurchaseIntent)
		if !ok {
			return verdict(record.HeldNoIntent)
		}
		p = e.purchase(e.Name.Terminal, body, b.TAC, b.MAC2, b.Evidence == journal.EvidenceProof)
	}
	if err := e.purchaseProved(it, p); err != nil {
		return err
	}
	return e.provenSequence(it)
}

func (e *entry) purchaseProved(it *ledger.Item, p proofs) error {
	switch {
	case p.err != nil:
		return p.err
	case !p.tac:
		return verdict(record.HeldBadTAC)
	case p.missing:
		// A TAC does not cover the card's counter: alone it may be the TAC of
		// another debit, told once more.
		return e.apply(e.Name, it, ledger.SaidDone)
	case !p.mac2:
		return verdict(record.HeldBadMAC2)
	}
	before := it.Nameless
	if it.Kind == ledger.Redemption && it.State != ledger.Done {
		ok, err := e.known(it.Account)
		if err != nil {
			return err
		}
		it.Nameless = !ok
	}
	err := e.proved(it)
	if err != nil {
		it.Nameless = before
	}
	return err
}

// proved takes the cryptograms for an item and its counter: no other item of
// that counter can have happened.
func (e *entry) proved(it *ledger.Item) error {
	list, err := e.siblings(it)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.Happened() {
			e.alarm(record.AlarmClone, e.Name, fmt.Sprintf("card %s, counter %d: proven by %s and again by %s", it.Card, it.Counter, x.Name, it.Name))
			return verdict(record.HeldTwice)
		}
	}
	if err := e.apply(e.Name, it, ledger.Proved); err != nil {
		return err
	}
	for _, x := range list {
		if err := e.apply(e.Name, x, ledger.Disproved); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) loadIntent(b *journal.LoadIntent) error {
	if err := e.purse(b.Card, b.TxType, b.Amount, true); err != nil {
		return err
	}
	if b.Purpose != journal.PurposeTopUp && b.Purpose != journal.PurposeFirstLoad {
		return verdict(record.HeldMalformed)
	}
	switch b.Authority {
	case journal.AuthorityHost:
		it, err := e.item(e.Name)
		if err != nil {
			return err
		}
		if it == nil {
			break
		}
		// The question for MAC2 came first and named the item.
		if it.Card != b.Card || it.Amount != b.Amount || it.TxType != b.TxType || it.Counter != b.Counter {
			return verdict(record.HeldMismatch)
		}
		it.Intent, it.Cash = true, b.Tendered > 0
		e.dirty[it] = true
		return nil
	case journal.AuthoritySAM:
		if b.SAM.IsZero() || b.SAM != e.epoch.loadSAM {
			return verdict(record.HeldSAM)
		}
		if err := e.free(); err != nil {
			return err
		}
	default:
		return verdict(record.HeldMalformed)
	}
	it := &ledger.Item{Name: e.Name, Kind: ledger.TopUp, Shop: e.epoch.shop, Card: b.Card, Amount: b.Amount,
		TxType: b.TxType, Counter: b.Counter, Intent: true, Cash: b.Tendered > 0}
	if b.Authority == journal.AuthoritySAM {
		it.SAM, it.Stamp = b.SAM, b.Stamp
	}
	return e.begin(it)
}

func (e *entry) loadAuthorised(b *journal.LoadAuthorised) error {
	it, err := e.begun(ledger.TopUp)
	if err != nil || it.SAM.IsZero() {
		return err // the host's own record says what the host gave
	}
	vouched := false
	if !it.Gave { // a second word is a guess: the SAM answers once, and MAC2 has 32 bits
		if vouched, err = e.vouched(it, b); err != nil {
			return err
		}
	}
	it.Stamp = b.Stamp
	if vouched {
		return e.apply(e.Name, it, ledger.MAC2Seen)
	}
	return e.apply(e.Name, it, ledger.MAC2Given)
}

// vouched reports whether the load SAM really gave MAC2 for an item, and so
// counted it: MAC2 is right, and not the one that was given for another item,
// by the SAM or by us.
func (e *entry) vouched(it *ledger.Item, b *journal.LoadAuthorised) (bool, error) {
	in, err := e.loadBody(it.Name)
	c, ok := e.card(it.Card)
	if err != nil || in == nil || !ok {
		return false, err
	}
	mac2, err := e.Vault.AuthoriseLoad(c, vault.Load{Terminal: it.Name.Terminal, TxType: in.TxType, Before: in.Before,
		Amount: in.Amount, Counter: in.Counter, Random: in.Random, MAC1: in.MAC1}, b.Stamp)
	switch {
	case errors.Is(err, vault.ErrMAC):
		return false, nil
	case err != nil:
		return false, err
	case !mac2.Equal(b.MAC2):
		return false, nil
	}
	list, err := e.siblings(it)
	if err != nil {
		return false, err
	}
	for _, x := range list {
		other, err := e.loadBody(x.Name)
		if err != nil {
			return false, err
		}
		given, err := e.authorisations(x.Name)
		if err != nil {
			return false, err
		}
		if other != nil && other.Random == in.Random {
			return false, nil
		}
		for _, g := range given {
			if g.Request.Intent.Random == in.Random {
				return false, nil
			}
		}
	}
	return true, nil
}

// loadBody is the body of a LoadIntent, nil when there is none of that name.
func (e *entry) loadBody(n journal.Name) (*journal.LoadIntent, error) {
	b, err := e.body(n)
	in, _ := b.(*journal.LoadIntent)
	return in, err
}

func (e *entry) loadOutcome(b *journal.LoadOutcome) error {
	it, err := e.begun(ledger.TopUp)
	if err != nil {
		return err
	}
	if b.SAMGave && !it.SAM.IsZero() {
		if err := e.apply(e.Name, it, ledger.MAC2Given); err != nil {
			return err
		}
	}
	if b.Result != journal.Done || !b.HasTAC {
		return e.said(it, b.Result)
	}
	return e.loadProved(it, b.TAC, b.After)
}

// loadProved checks the TAC of a load. It covers the balance after and the
// authority's stamp; under one name the authority may have answered more than
// once, and only the last answer can have been used, but which one reached
// the card last is the card's word.
func (e *entry) loadProved(it *ledger.Item, tac suite.MAC, after money.Fen) error {
	c, ok := e.card(it.Card)
	if !ok {
		return verdict(record.HeldUnknownCard)
	}
	var stamps []money.Stamp
	var afters []money.Fen
	unauthorised := false
	if it.SAM.IsZero() {
		given, err := e.authorisations(it.Name)
		if err != nil {
			return err
		}
		for _, g := range given {
			stamps, afters = append(stamps, g.Answer.Stamp), append(afters, g.Request.Intent.Before+it.Amount)
		}
		unauthorised = len(given) == 0
	} else {
		stamps = append(stamps, it.Stamp)
	}
	in, err := e.body(it.Name)
	if err != nil {
		return err
	}
	if b, ok := in.(*journal.LoadIntent); ok {
		stamps, afters = append(stamps, b.Stamp), append(afters, b.Before+it.Amount, after)
	}
	for i, stamp := range stamps {
		for k, after := range afters {
			if stamp == (money.Stamp{}) || after < it.Amount || contains(stamps[:i], stamp) || contains(afters[:k], after) {
				continue
			}
			ok, err := e.Vault.VerifyLoad(c, vault.LoadProof{Terminal: it.Name.Terminal, TxType: it.TxType, After: after,
				Amount: it.Amount, Counter: it.Counter, Stamp: stamp, TAC: tac})
			if err != nil {
				return err
			}
			if ok {
				if unauthorised {
					e.alarm(record.AlarmUnauthorised, it.Name, "the card was loaded without our MAC2")
				}
				return e.proved(it)
			}
		}
	}
	return verdict(record.HeldBadTAC)
}

func contains[T comparable](list []T, x T) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

func (e *entry) cashReturned(b *journal.CashReturned) error {
	it, err := e.begun(ledger.TopUp, ledger.CashBill)
	if err != nil {
		return err
	}
	if b.Amount != it.Amount {
		return verdict(record.HeldAmount)
	}
	return e.apply(e.Name, it, ledger.CashReturned)
}

func (e *entry) cardSale(b *journal.CardSale) error {
	r, ok := e.Master.Range(b.Card)
	switch {
	case !ok:
		return verdict(record.HeldUnknownCard)
	case r.Shop == 0 || r.Shop != e.epoch.shop:
		return verdict(record.HeldNotInRange)
	case b.Deposit < 0 || b.Deposit > money.MaxFen:
		return verdict(record.HeldAmount)
	}
	s, err := e.sale(b.Card)
	if err != nil {
		return err
	}
	if s != nil {
		return verdict(record.HeldSold)
	}
	s = &storage.Sale{Card: b.Card, Shop: e.epoch.shop, Name: e.Name}
	e.sales[b.Card] = s
	e.change.Sales = append(e.change.Sales, *s)
	e.post(e.Name, ledger.Sale(e.epoch.shop, b.Deposit))
	return nil
}

// ReadState splits a report into challenge and answer: 8 bytes of challenge
// before the 42 bytes of the SAM, or the 42 bytes alone when the challenge is
// known otherwise.
func ReadState(b []byte, otherwise [8]byte) ([8]byte, []byte) {
	if len(b) == 8+suite.LoadSAMStateLen+4 {
		return [8]byte(b), b[8:]
	}
	return otherwise, b
}

func (e *entry) samReport(b *journal.SAMReport) error {
	if b.SAM != e.epoch.loadSAM {
		return verdict(record.HeldSAM)
	}
	st, err := e.Vault.VerifySAMState(ReadState(b.State, [8]byte{}))
	if errors.Is(err, vault.ErrMAC) || err == nil && st.SAM != b.SAM {
		return verdict(record.HeldBadState)
	}
	if err != nil {
		return err
	}
	s, err := e.sam(b.SAM)
	if err != nil {
		return err
	}
	// A terminal whose load SAM did not answer after a power failure says that
	// the SAM may have given: the SAM itself may know better.
	if st.Total > s.Gave || st.Total < s.Gave-s.Doubt || st.Count > s.GaveCount || st.Count < s.GaveCount-s.DoubtCount {
		e.alarm(record.AlarmSAMTotal, e.Name, fmt.Sprintf("SAM says %d in %d, journal says %d in %d", st.Total, st.Count, s.Gave, s.GaveCount))
	}
	return nil
}

func (e *entry) observation(b *journal.Observation) error {
	it, err := e.item(b.Item)
	if err != nil {
		return err
	}
	if it == nil || !it.Intent || !it.OfCard() {
		return verdict(record.HeldUnknownItem)
	}
	if it.Card != b.Card || it.Counter != b.Counter || it.TxType != b.TxType {
		return verdict(record.HeldMismatch)
	}
	if !b.HasTAC {
		// The reading of another terminal counts as the terminal's own would:
		// provisionally, until a cryptogram bears this counter.
		if it.State == ledger.InHeld && b.Now == b.Counter {
			return e.apply(e.Name, it, ledger.SaidNotDone)
		}
		return nil
	}
	if err := e.observedProof(it, b); err != verdict(record.HeldBadTAC) {
		return err
	}
	// A card's proof names only type and counter. Whoever used that counter
	// instead left this one; the terminal that read it could not tell.
	return verdict(record.HeldOtherProof)
}

func (e *entry) observedProof(it *ledger.Item, b *journal.Observation) error {
	if it.Load() {
		return e.loadProved(it, b.TAC, -1)
	}
	in, err := e.body(it.Name)
	if err != nil {
		return err
	}
	body, ok := in.(*journal.PurchaseIntent)
	if !ok {
		return verdict(record.HeldUnknownItem)
	}
	return e.purchaseProved(it, e.purchase(it.Name.Terminal, body, b.TAC, b.MAC2, true))
}
