package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// place is where the value of a movement is.
type place uint8

const (
	withGiver    place = iota // never left, or came back
	withHeld                  // nobody knows
	withReceiver              // it happened
	withClaim                 // it did not, and the customer is owed the cash
	withShop                  // the claim was paid out, and a shop has its value
)

// move is one movement of card value with what is known of it.
type move struct {
	name      journal.Name
	load      bool         // shop → card
	void      bool         // card → shop, else card → account
	bill      bool         // shop → account, for cash: no card moves
	carried   bool         // card → claim: the card can't be read
	emptied   bool         // card → claim, by a debit of a damaged card
	payer     money.ShopID // of withShop: which one
	shop      money.ShopID
	card      money.CardNumber
	account   money.AccountNumber
	nameless  bool
	amount    money.Fen
	cash      bool
	typ       uint8
	counter   uint16
	intent    bool
	sam       money.SAMID
	loadBody  *journal.LoadIntent
	payBody   *journal.PurchaseIntent
	samStamp  money.Stamp
	at        place
	given     bool // MAC2 was given
	proven    bool
	disproven bool
	settled   bool // an outcome other than unknown was taken
	cashBack  bool
	voidedBy  *move // of a load: the debit that carried its void out
}

func (m *move) giver() string {
	if m.load || m.bill {
		return "shop/" + m.shop.String()
	}
	return "card/" + m.card.String()
}

func (m *move) now() string {
	switch {
	case m.at == withGiver:
		return m.giver()
	case m.at == withHeld:
		return "held/" + m.name.String()
	case m.at == withClaim:
		return "claim/" + m.name.String()
	case m.at == withShop:
		return "shop/" + m.payer.String()
	case m.load:
		return "card/" + m.card.String()
	case m.void:
		return "shop/" + m.shop.String()
	case m.nameless:
		return "suspense"
	}
	return "customer/" + m.account.String()
}

// undone puts the value where it belongs when it is said that nothing
// happened.
func (m *move) undone() {
	m.settled = true
	m.at = withGiver
	if (m.load || m.bill) && m.cash {
		m.at = withClaim
	}
}

type era struct {
	terminal money.TerminalID
	epoch    uint32
}

type terms struct {
	key           ed25519.PublicKey
	shop          money.ShopID
	psam, loadSAM money.SAMID
	seq           uint64
	hash          journal.Hash
}

// psamOf is a PSAM in an era; row is the numbers that it gave.
type psamOf struct {
	era
	psam money.SAMID
}

type row struct {
	said   uint32 // the last that the terminal told
	proven uint32 // the largest that a card proved
	unseen uint32 // how many may have been given since without an entry
}

type step struct {
	card    money.CardNumber
	load    bool
	counter uint16
}

type auditor struct {
	Report
	keys     Keys
	profiles *profiles.Set

	terms    map[era]*terms
	runs     []record.Cards
	accounts map[money.AccountNumber]bool
	sold     map[money.CardNumber]bool
	given    map[journal.Name][]record.Load
	agreed   map[journal.Name]wire.VoidQuestion
	counter  map[journal.Name]wire.Code           // what was decided last of a bill or a claim
	payouts  map[journal.Name]journal.ClaimIntent // as they were asked for
	claims   map[journal.Name]bool                // ClaimIntents that were taken
	office   map[uint64]bool
	moves    map[journal.Name]*move
	order    []*move
	steps    map[step][]*move
	book     map[string]money.Fen
	held     map[journal.Name]string
	psams    map[psamOf]*row
}

func newAuditor(keys Keys, set *profiles.Set) *auditor {
	return &auditor{
		keys: keys, profiles: set,
		terms: map[era]*terms{}, accounts: map[money.AccountNumber]bool{}, sold: map[money.CardNumber]bool{},
		given: map[journal.Name][]record.Load{}, agreed: map[journal.Name]wire.VoidQuestion{}, office: map[uint64]bool{},
		moves: map[journal.Name]*move{}, steps: map[step][]*move{}, book: map[string]money.Fen{}, held: map[journal.Name]string{},
		psams: map[psamOf]*row{}, counter: map[journal.Name]wire.Code{}, payouts: map[journal.Name]journal.ClaimIntent{}, claims: map[journal.Name]bool{},
	}
}

// line takes one line of the log.
func (a *auditor) line(l record.Line) error {
	a.Lines++
	rec, err := record.Decode(l)
	if err != nil {
		a.problem("line %d: %v", l.ID, err)
		return nil
	}
	number := func(n uint64) {
		if a.office[n] {
			a.problem("line %d: head office used the number %d twice", l.ID, n)
		}
		a.office[n] = true
	}
	transfer := func(v money.Fen, from, to string) { a.book[from] -= v; a.book[to] += v }
	switch r := rec.(type) {
	case *wire.Batch:
		if l.Kind == record.KindEntries {
			return a.batch(l.ID, r)
		}
	case *record.Enrolled:
		a.terms[era{r.Terminal, r.Epoch}] = &terms{key: r.Key, shop: r.Shop, psam: r.PSAM, loadSAM: r.LoadSAM, hash: journal.Genesis(r.Terminal, r.Epoch)}
	case *record.Cards:
		a.runs = append(a.runs, *r)
	case *record.Account:
		a.accounts[r.Account] = true
	case *record.Float:
		number(r.No)
		from := "bank"
		if l.Kind == record.KindCommission {
			from = "commission"
		}
		transfer(r.Amount, from, "shop/"+r.Shop.String())
	case *record.Bill:
		number(r.No)
		transfer(r.Amount, "customer/"+r.Account.String(), "revenue")
	case *record.Suspense:
		number(r.No)
		if m := a.moves[r.Item]; m != nil && m.at == withReceiver && m.nameless {
			m.nameless, m.account = false, r.Account
		}
	case *record.Load:
		n, in := r.Request.Name, r.Request.Intent
		a.given[n] = append(a.given[n], *r)
		m := a.moves[n]
		if m == nil {
			m = a.begin(&move{name: n, load: true, shop: r.Shop, card: in.Card, amount: in.Amount, typ: in.TxType, counter: in.Counter})
		}
		m.given = true
	case *record.BillPaid:
		n, in := r.Question.Name, r.Question.Intent
		if _, twice := a.counter[n]; twice {
			a.problem("line %d: the bill %s was decided twice", l.ID, n)
		}
		a.counter[n] = r.Answer.Refused
		m := a.moves[n]
		if m == nil {
			m = a.put(&move{name: n, bill: true, shop: r.Shop, account: in.Account, amount: in.Amount})
		}
		switch {
		case r.Answer.Refused == wire.OK && m.settled:
			a.problem("line %d: the bill %s was taken after it was not done", l.ID, n)
		case r.Answer.Refused == wire.OK:
			m.at, m.proven, m.settled = withReceiver, true, true
		default:
			m.disproven = true
			if m.at == withHeld {
				m.undone()
			}
		}
	case *record.Collected:
		a.collected(l.ID, r)
	case *record.Replaced:
		number(r.No)
		if a.moves[r.Request] != nil {
			a.problem("line %d: %s is the name of something else than a replaced card", l.ID, r.Request)
			break
		}
		if held := a.onCard(r.Card); held != r.Amount {
			a.problem("line %d: card %s was replaced with %s, it held %s", l.ID, r.Card, r.Amount, held)
		}
		a.put(&move{name: r.Request, carried: true, shop: r.Shop, card: r.Card, amount: r.Amount, intent: true, settled: true, at: withClaim})
	case *record.Void:
		a.agreed[r.Question.Name] = r.Question
	}
	return nil
}

// put takes a movement that is no step of a card's counter.
func (a *auditor) put(m *move) *move {
	a.moves[m.name] = m
	a.order = append(a.order, m)
	return m
}

// onCard is what a card holds by what is known so far.
func (a *auditor) onCard(n money.CardNumber) (v money.Fen) {
	for _, m := range a.order {
		if m.card != n || m.bill {
			continue
		}
		if m.load && m.at == withReceiver {
			v += m.amount
		} else if !m.load && m.at != withGiver {
			v -= m.amount
		}
	}
	return v
}

// collected takes a decision about the payment of a claim. What the claim was
// of may prove to have happened all the same: then its giver has paid twice,
// and what the paying shop got is not where the movement's value is.
func (a *auditor) collected(line uint64, r *record.Collected) {
	n, m := r.Question.Name, a.moves[r.Question.Intent.Claim]
	before, again := a.counter[n]
	if again != r.Undo || r.Undo && (before != wire.OK || r.Answer.Refused == wire.OK) {
		a.problem("line %d: the payment %s was decided in a way that can't follow", line, n)
	}
	a.counter[n], a.payouts[n] = r.Answer.Refused, r.Question.Intent
	switch {
	case r.Answer.Refused != wire.OK && !r.Undo:
	case m == nil || m.amount != r.Question.Intent.Amount:
		a.problem("line %d: %s pays out what is no claim", line, n)
	case !r.Undo && m.at != withClaim:
		a.problem("line %d: %s pays out a claim that does not wait", line, n)
	case !r.Undo:
		m.at, m.payer = withShop, r.Shop
	case m.at == withShop && m.payer == r.Shop:
		m.at = withClaim
	default:
		a.book["shop/"+r.Shop.String()] -= m.amount
		a.book[m.giver()] += m.amount
	}
}

func (a *auditor) begin(m *move) *move {
	a.put(m)
	k := step{m.card, m.load, m.counter}
	for _, o := range a.steps[k] {
		m.disproven = m.disproven || o.proven // before this one came in
	}
	a.steps[k] = append(a.steps[k], m)
	return m
}

// batch verifies the chain and the signature once more and takes the entries.
func (a *auditor) batch(line uint64, b *wire.Batch) error {
	t := a.terms[era{b.Terminal, b.Epoch}]
	if t == nil {
		a.problem("line %d: epoch %d of terminal %s was never issued", line, b.Epoch, b.Terminal)
		return nil
	}
	if b.From != t.seq+1 || b.Prev != t.hash {
		a.problem("line %d: entries from %d of terminal %s do not follow entry %d", line, b.From, b.Terminal, t.seq)
	}
	if err := b.Verify(t.key); err != nil {
		a.problem("line %d: %v", line, err)
	}
	t.seq, t.hash = b.End().Seq, b.Head
	for i, raw := range b.Entries {
		a.Entries++
		n := journal.Name{Terminal: b.Terminal, Epoch: b.Epoch, Seq: b.From + uint64(i)}
		why, err := a.entry(n, t, raw)
		if err != nil {
			return fmt.Errorf("entry %s: %w", n, err)
		}
		if why != "" {
			a.held[n] = why
		}
	}
	return nil
}

// entry takes one entry; a reason means that it can't be accepted.
func (a *auditor) entry(n journal.Name, t *terms, raw []byte) (why string, err error) {
	e, err := journal.Parse(raw)
	switch {
	case errors.Is(err, journal.ErrVersion):
		return record.HeldUnknownType, nil
	case err != nil:
		return record.HeldMalformed, nil
	}
	if _, ok := e.Body.(*journal.Unrecognised); ok {
		return record.HeldUnknownType, nil
	}
	if e.Name != n {
		return record.HeldName, nil
	}
	ref := e.Ref.Of(n.Terminal)
	switch b := e.Body.(type) {
	case *journal.Start:
		switch {
		case !t.psam.IsZero():
			a.psam(n, t.psam).unseen++
		case !b.PSAM.IsZero():
			a.psam(n, b.PSAM).unseen++
		}
		return "", nil
	case *journal.PSAMSequence:
		return a.spoken(n, t, b), nil
	case *journal.PurchaseIntent:
		inRow := t.psam.IsZero() || t.psam == b.PSAM
		inRow = inRow && a.follows(n, b.PSAM, b.PSAMSeq)
		return a.payIntent(n, ref, t, b, inRow), nil
	case *journal.LoadIntent:
		return a.loadIntent(n, t, b), nil
	case *journal.PurchaseOutcome:
		m, why := a.of(ref, false)
		if why != "" {
			return why, nil
		}
		if b.Result == journal.Done && b.HasTAC {
			why, err := a.payProof(m, b.TAC, b.MAC2, b.Evidence == journal.EvidenceProof)
			if in := m.payBody; err == nil && why == "" && m.proven && (t.psam.IsZero() || t.psam == in.PSAM) {
				r := a.psam(m.name, in.PSAM)
				r.proven = max(r.proven, in.PSAMSeq)
			}
			return why, err
		}
		return a.word(m, b.Result), nil
	case *journal.LoadOutcome:
		m, why := a.of(ref, true)
		if why != "" {
			return why, nil
		}
		if b.SAMGave && !m.sam.IsZero() {
			m.given = true
		}
		if b.Result == journal.Done && b.HasTAC {
			return a.loadProof(m, b.TAC, b.After)
		}
		return a.word(m, b.Result), nil
	case *journal.LoadAuthorised:
		m, why := a.of(ref, true)
		if why == "" && !m.sam.IsZero() {
			m.given, m.samStamp = true, b.Stamp
		}
		return why, nil
	case *journal.BillIntent:
		switch {
		case b.Amount < 1 || b.Amount > money.MaxPurse:
			return record.HeldAmount, nil
		case b.Account < 1 || b.Account > 9_999_999_999:
			return record.HeldMalformed, nil
		}
		m := a.moves[n]
		if m == nil {
			m = a.put(&move{name: n, bill: true, shop: t.shop, account: b.Account, amount: b.Amount})
		}
		if !m.bill || m.account != b.Account || m.amount != b.Amount {
			return record.HeldMismatch, nil
		}
		m.intent, m.cash = true, b.Tendered > 0
		return "", nil
	case *journal.BillOutcome:
		m, why := a.find(ref, func(m *move) bool { return m.bill })
		switch {
		case why != "":
			return why, nil
		case m.at == withReceiver && (b.Result == journal.Unknown || b.Result == journal.Pending):
			return "", nil // the answer was lost
		case m.at != withReceiver && b.Result == journal.Done:
			return record.HeldNotAgreed, nil
		}
		return a.word(m, b.Result), nil
	case *journal.ClaimIntent:
		asked, decided := a.payouts[n]
		_, other := a.counter[n]
		switch {
		case b.Amount < 1 || b.Amount > money.MaxPurse:
			return record.HeldAmount, nil
		case b.How != journal.PayoutCash && b.How != journal.PayoutLoad:
			return record.HeldMalformed, nil
		case a.moves[n] != nil, decided && asked != *b, other && !decided:
			return record.HeldMismatch, nil
		}
		a.claims[n] = true
		return "", nil
	case *journal.ClaimOutcome:
		code, decided := a.counter[ref]
		agreed := decided && code == wire.OK
		switch {
		case !a.claims[ref] && a.held[ref] != "":
			return record.HeldIntent, nil
		case !a.claims[ref]:
			return record.HeldNoIntent, nil
		case b.Result > journal.Unknown:
			return record.HeldMalformed, nil
		case b.Result == journal.Done && !agreed:
			return record.HeldNotAgreed, nil
		case b.Result == journal.NotDone && agreed:
			return record.HeldContradiction, nil
		}
		return "", nil
	case *journal.CashReturned:
		m, why := a.find(ref, func(m *move) bool { return m.load || m.bill })
		if why != "" {
			return why, nil
		}
		if b.Amount != m.amount {
			return record.HeldAmount, nil
		}
		if m.at != withClaim {
			return record.HeldNotOwed, nil
		}
		m.at, m.cashBack = withGiver, true
		return "", nil
	case *journal.CardSale:
		run, ok := a.run(b.Card)
		switch {
		case !ok:
			return record.HeldUnknownCard, nil
		case run.Shop == 0 || run.Shop != t.shop:
			return record.HeldNotInRange, nil
		case b.Deposit < 0 || b.Deposit > money.MaxFen:
			return record.HeldAmount, nil
		case a.sold[b.Card]:
			return record.HeldSold, nil
		}
		a.sold[b.Card] = true
		a.book["shop/"+t.shop.String()] -= b.Deposit
		a.book["deposit"] += b.Deposit
		return "", nil
	case *journal.SAMReport:
		return a.report(t, b)
	case *journal.Observation:
		return a.observed(b)
	}
	return "", nil
}

func (a *auditor) run(n money.CardNumber) (record.Cards, bool) {
	for _, r := range a.runs {
		if string(r.From[:]) <= string(n[:]) && string(n[:]) <= string(r.To[:]) {
			return r, true
		}
	}
	return record.Cards{}, false
}

// purse checks card, type and amount of an intent.
func (a *auditor) purse(n money.CardNumber, typ uint8, v money.Fen, load bool) string {
	run, ok := a.run(n)
	if !ok {
		return record.HeldUnknownCard
	}
	p, _ := a.profiles.Card(run.Profile)
	want := map[[2]bool]uint8{{false, false}: 0x06, {false, true}: 0x02, {true, false}: 0x05, {true, true}: 0x01}[[2]bool{p.ED, load}]
	if typ != want {
		return record.HeldTxType
	}
	if v < 1 || v > money.MaxPurse {
		return record.HeldAmount
	}
	return ""
}

func (a *auditor) psam(n journal.Name, id money.SAMID) *row {
	k := psamOf{era{n.Terminal, n.Epoch}, id}
	if a.psams[k] == nil {
		a.psams[k] = &row{}
	}
	return a.psams[k]
}

// follows takes a number that a terminal tells, and reports whether it is larger
// than every one of that PSAM that a card proved in this epoch or before.
func (a *auditor) follows(n journal.Name, id money.SAMID, seq uint32) bool {
	here := a.psam(n, id)
	for e := n.Epoch; e > 0; e-- {
		if r := a.psams[psamOf{era{n.Terminal, e}, id}]; r != nil && r.proven >= seq {
			return false
		}
	}
	here.said, here.unseen = seq, 0
	return true
}

// spoken takes what a terminal says of its PSAM beside payments.
func (a *auditor) spoken(n journal.Name, t *terms, b *journal.PSAMSequence) string {
	if b.PSAM.IsZero() || !t.psam.IsZero() && t.psam != b.PSAM {
		return record.HeldPSAM
	}
	switch b.Why {
	case journal.SequenceLost:
		a.psam(n, b.PSAM).unseen++
	case journal.SequenceUnused, journal.SequenceAhead:
		if b.Seq == 0 {
			return record.HeldMalformed
		}
		if !a.follows(n, b.PSAM, b.Seq) {
			return record.HeldPSAMSeq
		}
	case journal.SequenceBehind:
	default:
		return record.HeldMalformed
	}
	return ""
}

func (a *auditor) payIntent(n, ref journal.Name, t *terms, b *journal.PurchaseIntent, inRow bool) string {
	if why := a.purse(b.Card, b.TxType, b.Amount, false); why != "" {
		return why
	}
	if a.moves[n] != nil { // MAC2 was given under this name
		return record.HeldMismatch
	}
	if !t.psam.IsZero() && t.psam != b.PSAM {
		return record.HeldPSAM
	}
	if !inRow {
		return record.HeldPSAMSeq
	}
	m := &move{name: n, shop: t.shop, card: b.Card, account: b.Account, amount: b.Amount, typ: b.TxType, counter: b.Counter, intent: true, payBody: b}
	switch b.Purpose {
	case journal.PurposeRedeem:
		if b.Account > 9_999_999_999 {
			return record.HeldMalformed
		}
	case journal.PurposeEmpty:
		if b.Account != 0 {
			return record.HeldMalformed
		}
		m.emptied = true
	case journal.PurposeVoidTopUp:
		q, ok := a.agreed[ref]
		load := a.moves[q.TopUp]
		if !ok || load == nil || q.Request.Card != b.Card || q.Request.Amount != b.Amount {
			return record.HeldNotAgreed
		}
		// The debit before must be known not to have happened.
		if d := load.voidedBy; d != nil && !(d.settled && d.at == withGiver) {
			return record.HeldNotAgreed
		}
		m.void, m.account = true, 0
		load.voidedBy = m
	default:
		return record.HeldMalformed
	}
	a.begin(m)
	return ""
}

func (a *auditor) loadIntent(n journal.Name, t *terms, b *journal.LoadIntent) string {
	if why := a.purse(b.Card, b.TxType, b.Amount, true); why != "" {
		return why
	}
	if b.Purpose != journal.PurposeTopUp && b.Purpose != journal.PurposeFirstLoad {
		return record.HeldMalformed
	}
	m := &move{name: n, load: true, shop: t.shop, card: b.Card, amount: b.Amount, typ: b.TxType, counter: b.Counter}
	switch b.Authority {
	case journal.AuthorityHost:
		if known := a.moves[n]; known != nil {
			if known.card != b.Card || known.amount != b.Amount || known.typ != b.TxType || known.counter != b.Counter {
				return record.HeldMismatch
			}
			m = known
		}
	case journal.AuthoritySAM:
		if b.SAM.IsZero() || t.loadSAM != b.SAM {
			return record.HeldSAM
		}
		if a.moves[n] != nil { // MAC2 was given under this name
			return record.HeldMismatch
		}
		m.sam, m.samStamp = b.SAM, b.Stamp
	default:
		return record.HeldMalformed
	}
	m.intent, m.cash, m.loadBody = true, b.Tendered > 0, b
	if a.moves[n] == nil {
		a.begin(m)
	}
	return ""
}

// of finds the movement that an entry continues.
func (a *auditor) of(n journal.Name, load bool) (*move, string) {
	return a.find(n, func(m *move) bool { return m.load == load && !m.bill && !m.carried })
}

func (a *auditor) find(n journal.Name, fits func(*move) bool) (*move, string) {
	if m := a.moves[n]; m != nil && m.intent && fits(m) {
		return m, ""
	}
	if a.held[n] != "" {
		return nil, record.HeldIntent
	}
	return nil, record.HeldNoIntent
}

// word takes an outcome for which only the terminal stands.
func (a *auditor) word(m *move, r journal.Result) string {
	if r > journal.Unknown {
		return record.HeldMalformed
	}
	if m.at == withReceiver || m.emptied && m.proven {
		if r == journal.Done {
			return ""
		}
		return record.HeldContradiction
	}
	switch r {
	case journal.NotDone:
		if !m.settled {
			m.undone()
		}
		return ""
	case journal.Done:
		if m.settled || m.disproven && m.at == withGiver {
			return record.HeldContradiction
		}
		m.at = withHeld
		return ""
	case journal.Unknown, journal.Pending:
		switch {
		case m.settled:
			return record.HeldContradiction
		case m.disproven:
			m.undone()
		default:
			m.at = withHeld
		}
	}
	return ""
}

// proof takes a cryptogram of the card.
func (a *auditor) proof(m *move) string {
	others := a.steps[step{m.card, m.load, m.counter}]
	for _, o := range others {
		if o != m && o.proven {
			return record.HeldTwice
		}
	}
	if m.emptied && m.proven { // the claim may have been paid out since
		return ""
	}
	if m.at != withReceiver && m.disproven {
		return record.HeldContradiction
	}
	if m.at == withShop { // the claim was paid out, and should not have been
		a.book[m.giver()] -= m.amount
		a.book["shop/"+m.payer.String()] += m.amount
	}
	m.at, m.proven, m.settled, m.given = withReceiver, true, true, true
	if m.emptied {
		m.at = withClaim
	}
	for _, o := range others {
		if o == m {
			continue
		}
		o.disproven = true
		if o.at == withHeld {
			o.undone()
		}
	}
	return ""
}

func (a *auditor) payProof(m *move, tac, mac2 suite.MAC, fromProof bool) (string, error) {
	run, _ := a.run(m.card)
	c := vault.Card{Number: m.card, Profile: run.Profile}
	b := m.payBody
	p := vault.Purchase{Terminal: m.name.Terminal, TxType: b.TxType, Amount: b.Amount, Counter: b.Counter, Random: b.Random,
		PSAMSeq: b.PSAMSeq, Stamp: b.Stamp, TAC: tac, MAC2: mac2}
	good, whole, err := a.keys.VerifyPurchase(c, p)
	if err == nil && !good && fromProof {
		p.TAC, p.MAC2 = mac2, tac
		good, whole, err = a.keys.VerifyPurchase(c, p)
	}
	none := fromProof && p.MAC2 == suite.MAC{}
	switch {
	case err != nil:
		return "", err
	case !good:
		return record.HeldBadTAC, nil
	case none: // the counter is not proven: the terminal's word
		return a.word(m, journal.Done), nil
	case !whole:
		return record.HeldBadMAC2, nil
	}
	was := m.at
	why := a.proof(m)
	if why == "" && was != withReceiver && !m.void && !m.emptied {
		m.nameless = !a.accounts[m.account]
	}
	return why, nil
}

func (a *auditor) loadProof(m *move, tac suite.MAC, after money.Fen) (string, error) {
	run, _ := a.run(m.card)
	var stamps []money.Stamp
	var afters []money.Fen
	if m.loadBody != nil {
		stamps, afters = append(stamps, m.loadBody.Stamp), append(afters, m.loadBody.Before+m.amount, after)
	}
	if m.sam.IsZero() {
		for _, g := range a.given[m.name] {
			stamps, afters = append(stamps, g.Answer.Stamp), append(afters, g.Request.Intent.Before+m.amount)
		}
	} else {
		stamps = append(stamps, m.samStamp)
	}
	for _, s := range stamps {
		for _, v := range afters {
			if s == (money.Stamp{}) || v < m.amount {
				continue
			}
			ok, err := a.keys.VerifyLoad(vault.Card{Number: m.card, Profile: run.Profile}, vault.LoadProof{
				Terminal: m.name.Terminal, TxType: m.typ, After: v, Amount: m.amount, Counter: m.counter, Stamp: s, TAC: tac})
			if err != nil {
				return "", err
			}
			if ok {
				return a.proof(m), nil
			}
		}
	}
	return record.HeldBadTAC, nil
}

func (a *auditor) report(t *terms, b *journal.SAMReport) (string, error) {
	if t.loadSAM != b.SAM {
		return record.HeldSAM, nil
	}
	var challenge [8]byte
	state := b.State
	if len(state) == 50 { // challenge, 38 bytes of state, MAC
		challenge, state = [8]byte(state), state[8:]
	}
	st, err := a.keys.VerifySAMState(challenge, state)
	if errors.Is(err, vault.ErrMAC) || err == nil && st.SAM != b.SAM {
		return record.HeldBadState, nil
	}
	return "", err
}

func (a *auditor) observed(b *journal.Observation) (string, error) {
	m := a.moves[b.Item]
	switch {
	case m == nil || !m.intent || m.bill || m.carried:
		return record.HeldUnknownItem, nil
	case m.card != b.Card || m.counter != b.Counter || m.typ != b.TxType:
		return record.HeldMismatch, nil
	case b.HasTAC:
		var why string
		var err error
		if m.load {
			why, err = a.loadProof(m, b.TAC, -1)
		} else {
			why, err = a.payProof(m, b.TAC, b.MAC2, true)
		}
		if why == record.HeldBadTAC {
			why = record.HeldOtherProof // of whatever used that counter
		}
		return why, err
	case m.at == withHeld && b.Now == b.Counter:
		m.undone()
	}
	return "", nil
}
