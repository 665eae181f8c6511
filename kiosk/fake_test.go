package kiosk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/wire"
)

// fake is a small terminal in memory: one shop, a few cards, a few bills. It
// books nothing twice for one token, as the real one.
type fake struct {
	mu      sync.Mutex
	now     time.Time
	status  terminal.Status
	cards   map[money.CardNumber]*terminal.CardView
	bills   map[money.AccountNumber]wire.Bill
	list    []terminal.Receipt // oldest first
	tokens  map[journal.Token]int
	subs    map[chan struct{}]bool
	tear    string
	skew    time.Duration
	next    error           // what the next money call fails with
	result  journal.Result  // how the next card command ends; 0: done
	gate    chan struct{}   // when set, money calls wait for it
	entered chan struct{}   // and say here that they wait
	acts    []journal.Entry // noted, oldest first
	second  money.StaffID   // of the last void
	closes  map[journal.Token]terminal.ShiftReport
	past    []terminal.ShiftReport
	packs   []terminal.Pack
	people  []store.Person
	unread  error                               // why the list of people can't be read
	claims  map[journal.Name]terminal.ClaimView // that wait
	blocked map[money.CardNumber]bool
	ends    journal.Result // what the utility answers when it is asked again; 0: it does not know either
	asked   int            // so often
}

// slipA and slipB are slips of another terminal.
var (
	slipA = journal.Name{Terminal: must(money.ParseTerminalID("310100009999")), Epoch: 1, Seq: 8}
	slipB = journal.Name{Terminal: slipA.Terminal, Epoch: 1, Seq: 9}
)

var (
	cardA  = must(money.ParseCardNumber("31010000000000004821"))
	cardB  = must(money.ParseCardNumber("31010000000000007730"))
	stock  = must(money.ParseCardNumber("31010000000000009012"))
	acct   = must(money.ParseAccountNumber("0100000017"))
	ahead  = must(money.ParseAccountNumber("0100000025"))
	nobody = must(money.ParseAccountNumber("0999999999"))
	termID = must(money.ParseTerminalID("310100001234"))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newFake() *fake {
	f := &fake{
		now:    time.Date(2026, 11, 23, 14, 5, 0, 0, money.CST),
		tokens: make(map[journal.Token]int), closes: make(map[journal.Token]terminal.ShiftReport), subs: make(map[chan struct{}]bool),
	}
	from, to := f.now.AddDate(-1, 0, 0), f.now.AddDate(4, 0, 0)
	f.cards = map[money.CardNumber]*terminal.CardView{
		cardA: {State: terminal.CardReady, Number: cardA, Balance: 120_00, ValidFrom: from, ValidTo: to},
		cardB: {State: terminal.CardReady, Number: cardB, Balance: 1234_56, Named: true, ValidFrom: from, ValidTo: to},
		stock: {State: terminal.CardReady, Number: stock, Stock: true, ValidFrom: from, ValidTo: to},
	}
	f.bills = map[money.AccountNumber]wire.Bill{
		acct:  {Account: acct, Owner: "*建国", Balance: -86_40, AsOf: f.now.Add(-time.Minute).UnixMilli()},
		ahead: {Account: ahead, Owner: "*秀英", Balance: 23_10, AsOf: f.now.Add(-time.Minute).UnixMilli()},
	}
	f.blocked = map[money.CardNumber]bool{}
	f.claims = map[journal.Name]terminal.ClaimView{
		slipA: {Claim: slipA, Kind: wire.ClaimTopUp, Amount: 50_00, Last4: "4821"},
		slipB: {Claim: slipB, Kind: wire.ClaimBill, Amount: 20_00, Last4: "0017"},
	}
	f.status = terminal.Status{
		Terminal: termID, Shop: 31010001, Epoch: 1, Card: terminal.CardView{State: terminal.CardNone},
		PSAM: terminal.SAMView{Present: true}, LoadSAM: terminal.SAMView{Present: true},
		Allowance: terminal.AllowanceView{Known: true, Amount: 2000_00, Count: 40},
		Float:     terminal.FloatView{Known: true, Left: 3600_00, Ceiling: 600_00, At: f.now.Add(-2 * time.Minute)},
		Online:    true, Limits: wire.DefaultLimits(), LimitsAt: f.now.Add(-time.Hour), HotlistAt: f.now.Add(-time.Hour),
	}
	return f
}

func (f *fake) changed() {
	for c := range f.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// with changes the fake under its lock and announces it.
func (f *fake) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.changed()
}

func (f *fake) insert(n money.CardNumber) {
	f.with(func() {
		if n.IsZero() {
			f.status.Card = terminal.CardView{State: terminal.CardNone}
			return
		}
		c := f.cards[n]
		for i := range f.list { // as the real one: a card that comes back settles what was unknown
			if t := &f.list[i]; t.Card == n && t.Result == journal.Unknown {
				t.Result, t.Reason, t.Evidence, t.WasUnknown = journal.Done, 0, journal.EvidenceProof, true
				t.After = c.Balance
				c.Settled = append(c.Settled, t.Name)
			}
		}
		f.status.Card = *c
	})
}

func (f *fake) Status() terminal.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Open = 0
	for _, t := range f.list {
		if t.Open() {
			s.Open++
		}
	}
	s.Head.Seq = uint64(len(f.list) * 2)
	return s
}

func (f *fake) Changes(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	f.subs[c] = true
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, c)
		close(c)
	})
	return c
}

// begin answers for a repeated token, a planned failure, a missing card.
func (f *fake) begin(tok journal.Token, kind journal.Kind, card money.CardNumber, amount money.Fen) (terminal.Receipt, bool, error) {
	refused := f.other(card) // a card may leave while the call waits
	if gate := f.gate; gate != nil {
		f.entered <- struct{}{}
		f.mu.Unlock()
		<-gate
		f.mu.Lock()
	}
	if i, ok := f.tokens[tok]; ok {
		if f.list[i].Kind != kind || f.list[i].Amount != amount {
			return terminal.Receipt{}, true, &terminal.Refusal{Code: terminal.CodeTokenReused}
		}
		return f.list[i], true, nil
	}
	if err := f.next; err != nil {
		f.next = nil
		return terminal.Receipt{}, true, err
	}
	return terminal.Receipt{}, refused != nil, refused
}

// other refuses a card that is not in the reader.
func (f *fake) other(card money.CardNumber) error {
	switch {
	case card.IsZero(): // none has a part in it
	case f.status.Card.State == terminal.CardNone:
		return &terminal.Refusal{Code: terminal.CodeNoCard}
	case f.status.Card.Number != card:
		return &terminal.Refusal{Code: terminal.CodeOtherCard}
	}
	return nil
}

func (f *fake) book(tok journal.Token, who terminal.Who, t journal.Transaction) terminal.Receipt {
	t.Name = journal.Name{Terminal: termID, Epoch: 1, Seq: uint64(2*len(f.list) + 10)}
	t.Token, t.Actor, t.Began, t.Ended = tok, who, f.now.UnixMilli(), f.now.UnixMilli()
	if t.Result == journal.Pending {
		t.Result = journal.Done
		if f.result != 0 {
			t.Result = f.result
			t.Reason = journal.ReasonCardRemoved
		}
		f.result = 0
	}
	t.After = journal.NoBalance
	c := f.cards[t.Card]
	if c == nil || t.Bill != nil || t.Claim != nil || t.Request != nil {
		d := journal.Decided{Result: t.Result}
		switch t.Result {
		case journal.NotDone:
			d.Reason, d.Code = journal.ReasonHostRefused, "no_room"
		case journal.Unknown:
			d.Reason = journal.ReasonHostUnreachable
		}
		t.Reason, t.Decided = d.Reason, &d
		r := terminal.Receipt{Transaction: t, Owed: owed(t), Hash: journal.Hash{byte(len(f.list)), 0xA5}}
		f.tokens[tok] = len(f.list)
		f.list = append(f.list, r)
		f.changed()
		return r
	}
	if t.Result == journal.Done {
		switch t.Kind {
		case journal.KindTopUp:
			c.Balance += t.Amount
		case journal.KindRedemption, journal.KindVoidDebit, journal.KindEmptied:
			c.Balance -= t.Amount
		}
		t.After = c.Balance
	}
	f.status.Card = *c
	r := terminal.Receipt{Transaction: t, Owed: owed(t), Hash: journal.Hash{byte(len(f.list)), 0xA5}}
	f.tokens[tok] = len(f.list)
	f.list = append(f.list, r)
	if !f.status.Online {
		f.status.Unsent.Count += 2
		f.status.Unsent.Oldest = f.now.Add(-12 * time.Minute).UnixMilli()
		if t.Kind == journal.KindTopUp && t.Result != journal.NotDone {
			f.status.Unsent.Value += t.Amount
			f.status.Allowance.Amount -= t.Amount
			f.status.Allowance.Count--
		}
	}
	f.changed()
	return r
}

// owed names a transaction whose cash lies in the drawer for nothing.
func owed(t journal.Transaction) (n journal.Name) {
	if t.Result == journal.NotDone && (t.Load != nil && t.Load.Tendered > 0 || t.Bill != nil) {
		n = t.Name
	}
	return n
}

func (f *fake) TopUp(_ context.Context, r terminal.TopUpRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindTopUp, r.Card, r.Amount); end {
		return rc, err
	}
	switch l := f.status.Limits; {
	case !f.status.ShiftOpen:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNoShift}
	case r.Amount < l.TopUpMin:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeTopUpMin, Limit: l.TopUpMin}
	case r.Amount > l.TopUpMax:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeTopUpMax, Limit: l.TopUpMax}
	case r.Tendered < r.Amount:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeTendered}
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{
		Kind: journal.KindTopUp, Card: r.Card, Amount: r.Amount,
		Load: &journal.LoadIntent{Amount: r.Amount, Tendered: r.Tendered, Authority: journal.AuthorityHost},
	})
	f.status.Shift.CashIn += r.Amount
	f.status.Shift.Count++
	return rc, nil
}

func (f *fake) Redeem(_ context.Context, r terminal.RedeemRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindRedemption, r.Card, r.Amount); end {
		return rc, err
	}
	seen := journal.AccountOnline
	if _, ok := f.bills[r.Account]; !ok {
		switch seen = journal.AccountTyped; r.Again {
		case 0:
			return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeAccountAgain}
		case r.Account:
		default:
			return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeAccountMismatch}
		}
	}
	if r.Amount > f.status.Card.Balance {
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeBalanceLow}
	}
	return f.book(r.Token, r.Who, journal.Transaction{
		Kind: journal.KindRedemption, Card: r.Card, Account: r.Account, Amount: r.Amount,
		Purchase: &journal.PurchaseIntent{Seen: seen, Amount: r.Amount},
	}), nil
}

func (f *fake) Sell(_ context.Context, r terminal.SellRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindSale, r.Card, 0); end {
		return rc, err
	}
	c := f.cards[r.Card]
	if !c.Stock {
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeCardActive}
	}
	c.Stock = false
	rc := f.book(r.Token, r.Who, journal.Transaction{Kind: journal.KindSale, Card: r.Card, Result: journal.Done, Sale: &journal.CardSale{}})
	if r.Amount > 0 {
		child := f.book(journal.TokenOf(rc.Name.String()), r.Who, journal.Transaction{
			Kind: journal.KindTopUp, Card: r.Card, Amount: r.Amount, Parent: rc.Name.Ref(),
			Load: &journal.LoadIntent{Purpose: journal.PurposeFirstLoad, Amount: r.Amount, Tendered: r.Tendered},
		})
		i := f.tokens[r.Token]
		f.list[i].Child, f.list[i].Owed = &child.Transaction, child.Owed
		rc = f.list[i]
	}
	return rc, nil
}

func (f *fake) Void(_ context.Context, r terminal.VoidRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(t terminal.Receipt) bool { return t.Name == r.TopUp })
	if i < 0 {
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNotFound}
	}
	f.second = r.Second
	top := f.list[i]
	if rc, end, err := f.begin(r.Token, journal.KindVoid, top.Card, top.Amount); end {
		return rc, err
	}
	if !f.status.Online {
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNoLink}
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{
		Kind: journal.KindVoid, Card: top.Card, Amount: top.Amount, Parent: r.TopUp.Ref(), Result: journal.Done,
		VoidAnswer: &journal.VoidAnswer{Agreed: true},
	})
	child := f.book(journal.TokenOf(rc.Name.String()), r.Who, journal.Transaction{
		Kind: journal.KindVoidDebit, Card: top.Card, Amount: top.Amount, Parent: rc.Name.Ref(), Purchase: &journal.PurchaseIntent{},
	})
	i = f.tokens[r.Token]
	f.list[i].Child, f.list[i].Owed = &child.Transaction, child.Owed
	f.status.Shift.CashOut += top.Amount
	return f.list[i], nil
}

// counter answers what every call of the counter is refused for.
func (f *fake) counter() error {
	switch {
	case !f.status.ShiftOpen:
		return &terminal.Refusal{Code: terminal.CodeNoShift}
	case !f.status.Online:
		return &terminal.Refusal{Code: terminal.CodeNoLink}
	}
	return nil
}

func (f *fake) PayBill(_ context.Context, r terminal.BillRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindBill, money.CardNumber{}, r.Amount); end {
		return rc, err
	}
	if err := f.counter(); err != nil {
		return terminal.Receipt{}, err
	}
	b, ok := f.bills[r.Account]
	switch {
	case !ok:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeAccountUnknown}
	case r.Amount <= 0:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeAmount}
	case r.Amount > f.status.Limits.RedeemMax:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeRedeemMax, Limit: f.status.Limits.RedeemMax}
	case r.Tendered < r.Amount:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeTendered}
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{
		Kind: journal.KindBill, Account: r.Account, Amount: r.Amount,
		Bill: &journal.BillIntent{Account: r.Account, Seen: journal.AccountOnline, Amount: r.Amount, Tendered: r.Tendered},
	})
	if rc.Result == journal.Done {
		b.Balance += r.Amount
		f.bills[r.Account] = b
		f.status.Shift.Bills += r.Amount
	}
	f.status.Shift.CashIn += r.Amount
	f.status.Shift.Count++
	return rc, nil
}

func (f *fake) Claim(_ context.Context, n journal.Name) (terminal.ClaimView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.status.Online {
		return terminal.ClaimView{}, &terminal.Refusal{Code: terminal.CodeNoLink}
	}
	v, ok := f.claims[n]
	if !ok {
		return v, &terminal.Refusal{Code: terminal.CodeNoClaim, Detail: string(wire.CodeTwice)}
	}
	return v, nil
}

func (f *fake) CollectClaim(_ context.Context, r terminal.ClaimRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindClaim, r.Card, r.Amount); end {
		return rc, err
	}
	if err := f.counter(); err != nil {
		return terminal.Receipt{}, err
	}
	in := &journal.ClaimIntent{Claim: r.Claim, Amount: r.Amount, How: journal.PayoutCash, Card: r.Card}
	if r.Load {
		in.How = journal.PayoutLoad
	}
	if v, ok := f.claims[r.Claim]; !ok || v.Amount != r.Amount {
		f.result = journal.NotDone
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{Kind: journal.KindClaim, Card: r.Card, Amount: r.Amount, Claim: in})
	if rc.Result != journal.Done {
		return rc, nil
	}
	delete(f.claims, r.Claim)
	f.status.Shift.CashOut += r.Amount
	f.status.Shift.Claims += r.Amount
	if r.Load {
		child := f.book(journal.TokenOf(rc.Name.String()), r.Who, journal.Transaction{
			Kind: journal.KindTopUp, Card: r.Card, Amount: r.Amount, Parent: rc.Name.Ref(),
			Load: &journal.LoadIntent{Amount: r.Amount, Tendered: r.Amount},
		})
		f.status.Shift.CashIn += r.Amount
		i := f.tokens[r.Token]
		f.list[i].Child, f.list[i].Owed = &child.Transaction, child.Owed
		rc = f.list[i]
	}
	return rc, nil
}

func (f *fake) BlockCard(_ context.Context, r terminal.CardRequest) (terminal.Receipt, error) {
	return f.askCard(journal.KindBlock, r)
}

func (f *fake) ReplaceCard(_ context.Context, r terminal.CardRequest) (terminal.Receipt, error) {
	return f.askCard(journal.KindReplace, r)
}

// EmptyCard leaves what it takes off a card as a claim.
func (f *fake) EmptyCard(_ context.Context, r terminal.EmptyRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, journal.KindEmptied, r.Card, r.Amount); end {
		return rc, err
	}
	if err := f.counter(); err != nil {
		return terminal.Receipt{}, err
	}
	c := f.cards[r.Card]
	switch {
	case f.status.Card.Number != r.Card:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeOtherCard}
	case c.Balance == 0:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeCardEmpty}
	case c.Balance != r.Amount:
		return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeBalanceMoved, Limit: c.Balance}
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{Kind: journal.KindEmptied, Card: r.Card, Amount: r.Amount, Purchase: &journal.PurchaseIntent{Purpose: journal.PurposeEmpty, Online: true}})
	if rc.Result == journal.Done {
		f.claims[rc.Name] = terminal.ClaimView{Claim: rc.Name, Kind: wire.ClaimReplace, Amount: r.Amount, Last4: r.Card.Last4()}
	}
	return rc, nil
}

// AskAgain settles what is unknown as ends says, or leaves it so.
func (f *fake) AskAgain(_ context.Context, n journal.Name) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		t := &f.list[i]
		if t.Name != n {
			continue
		}
		f.asked++
		if t.Result != journal.Unknown {
			return *t, nil
		}
		if !f.status.Online {
			return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNoLink}
		}
		if f.ends != 0 {
			t.Result, t.WasUnknown, t.Reason = f.ends, true, 0
			f.changed()
		}
		return *t, nil
	}
	return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) askCard(kind journal.Kind, r terminal.CardRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc, end, err := f.begin(r.Token, kind, money.CardNumber{}, 0); end {
		return rc, err
	}
	if err := f.counter(); err != nil {
		return terminal.Receipt{}, err
	}
	c := f.cards[r.Card]
	refused := c == nil || kind == journal.KindBlock && !c.Named
	if refused {
		f.result = journal.NotDone
	}
	rc := f.book(r.Token, r.Who, journal.Transaction{Kind: kind, Card: r.Card, Request: &journal.CardRequest{Card: r.Card, Why: r.Why}})
	if refused {
		rc.Decided.Code = string(wire.CodeUnnamed)
	}
	f.blocked[r.Card] = f.blocked[r.Card] || rc.Result == journal.Done
	return rc, nil
}

func (f *fake) ReturnCash(_ context.Context, r terminal.ReturnCashRequest) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		t := &f.list[i]
		if t.Name != r.TopUp {
			continue
		}
		if t.Kind != journal.KindTopUp && t.Kind != journal.KindBill || t.Result != journal.NotDone || t.CashReturned {
			return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeCashNotOwed}
		}
		t.CashReturned, t.Owed = true, journal.Name{}
		f.status.Shift.CashIn -= t.Amount
		f.changed()
		return *t, nil
	}
	return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) Note(_ context.Context, who terminal.Who, s journal.Staff) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Count = max(1, s.Count)
	n := journal.Name{Terminal: termID, Epoch: 1, Seq: uint64(1000 + len(f.acts))}
	f.acts = append(f.acts, journal.Entry{Name: n, Wall: f.now.UnixMilli(), Actor: who, Body: &s})
	return nil
}

func (f *fake) ByToken(tok journal.Token) (terminal.Receipt, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := f.tokens[tok]
	if !ok {
		return terminal.Receipt{}, false, nil
	}
	return f.list[i], true, nil
}

func (f *fake) Known(tok journal.Token) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.tokens[tok]
	return ok, nil
}

func (f *fake) Settled(n journal.Name) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.printed(n, journal.ActSettle), nil
}

func (f *fake) printed(n journal.Name, act journal.Act) (count uint32) {
	for _, e := range f.acts {
		if b, ok := e.Body.(*journal.Staff); ok && b.Act == act && e.Ref == n.Ref() {
			count++
		}
	}
	return count
}

func (f *fake) Settle(_ context.Context, who terminal.Who, n journal.Name) (uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := f.printed(n, journal.ActSettle) + 1
	at := journal.Name{Terminal: termID, Epoch: 1, Seq: uint64(1000 + len(f.acts))}
	f.acts = append(f.acts, journal.Entry{Name: at, Ref: n.Ref(), Wall: f.now.UnixMilli(), Actor: who, Body: &journal.Staff{Act: journal.ActSettle, Staff: who.ID, Count: 1, Detail: fmt.Sprint(count)}})
	return count, nil
}

func (f *fake) Reprint(ctx context.Context, who terminal.Who, n journal.Name) (uint32, error) {
	f.mu.Lock()
	k := uint32(1)
	for _, e := range f.acts {
		if b, ok := e.Body.(*journal.Staff); ok && b.Act == journal.ActReprint && e.Ref == n.Ref() {
			k++
		}
	}
	f.mu.Unlock()
	if err := f.Note(ctx, who, journal.Staff{Act: journal.ActReprint, Staff: who.ID, Detail: fmt.Sprint(k)}); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts[len(f.acts)-1].Ref = n.Ref()
	return k, nil
}

func (f *fake) StaffActs(most int) (out []journal.Entry, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Backward(f.acts) {
		if len(out) < most {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f *fake) Transaction(n journal.Name) (terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.list {
		if t.Name == n {
			return t, nil
		}
	}
	return terminal.Receipt{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) Transactions(most int, before journal.Ref) ([]terminal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var l []terminal.Receipt
	for _, t := range slices.Backward(f.list) {
		if (before.IsZero() || t.Name.Seq < before.Seq) && len(l) < most {
			l = append(l, t)
		}
	}
	return l, nil
}

func (f *fake) History(context.Context) ([]purse.LogRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Card.State == terminal.CardNone {
		return nil, &terminal.Refusal{Code: terminal.CodeNoCard}
	}
	return []purse.LogRecord{
		{Counter: 3, Amount: 86_40, TxType: suite.TypeEPPurchase, Terminal: termID, Stamp: money.StampOf(f.now)},
		{Counter: 2, Amount: 100_00, TxType: suite.TypeEPLoad, Terminal: must(money.ParseTerminalID("310100009999")), Stamp: money.Stamp{}},
	}, nil
}

func (f *fake) Account(_ context.Context, n money.AccountNumber) (terminal.AccountView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.bills[n]
	switch {
	case !ok && f.status.Online:
		return terminal.AccountView{}, &terminal.Refusal{Code: terminal.CodeAccountUnknown}
	case !ok:
		return terminal.AccountView{Bill: wire.Bill{Account: n}, Seen: journal.AccountTyped}, nil
	case f.status.Online:
		return terminal.AccountView{Bill: b, Seen: journal.AccountOnline}, nil
	}
	return terminal.AccountView{Bill: b, Seen: journal.AccountCached}, nil
}

func (f *fake) OpenShift(_ context.Context, who terminal.Who, cash money.Fen) (store.Shift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.ShiftOpen {
		return store.Shift{}, &terminal.Refusal{Code: terminal.CodeShiftOpen}
	}
	f.status.Shift = store.Shift{Number: f.status.Shift.Number + 1, Clerk: who.ID, Opened: f.now.UnixMilli(), OpeningCash: cash}
	f.status.ShiftOpen = true
	f.changed()
	return f.status.Shift, nil
}

func (f *fake) CloseShift(_ context.Context, r terminal.CloseRequest) (terminal.ShiftReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rep, ok := f.closes[r.Token]; ok {
		return rep, nil
	}
	if !f.status.ShiftOpen {
		return terminal.ShiftReport{}, &terminal.Refusal{Code: terminal.CodeShiftClosed}
	}
	s := &f.status.Shift
	s.Closed, s.ClosedAt, s.Counted, s.Expected = true, f.now.UnixMilli(), r.Counted, s.OpeningCash+s.CashIn-s.CashOut
	f.status.ShiftOpen = false
	f.changed()
	rep := f.report()
	f.closes[r.Token] = rep
	f.past = append(f.past, rep)
	return rep, nil
}

// report is a small report of the latest shift.
func (f *fake) report() terminal.ShiftReport {
	r := terminal.ShiftReport{Shift: f.status.Shift, Unsent: f.status.Unsent.Count, Acts: map[journal.Act]uint32{journal.ActLogin: 1}}
	r.Takings = terminal.Takings{TopUps: r.CashIn, Claims: r.CashOut} // nothing else is paid in cash here
	top := terminal.KindSum{Kind: journal.KindTopUp}
	for _, t := range f.list {
		if t.Kind == journal.KindTopUp && t.Result == journal.Done {
			top.Done++
			top.Amount += t.Amount
		}
	}
	r.Kinds = []terminal.KindSum{top}
	r.Clerks = []terminal.ClerkSum{{Clerk: r.Shift.Clerk, Count: r.Count, TopUps: top.Done, TopUpAmount: top.Amount, Acts: r.Acts}}
	if r.Closed {
		r.Closing, r.ClosedBy = journal.Name{Terminal: termID, Epoch: 1, Seq: uint64(500 + r.Number)}, r.Shift.Clerk
	}
	return r
}

func (f *fake) Report() (terminal.ShiftReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Shift.Number == 0 {
		return terminal.ShiftReport{}, &terminal.Refusal{Code: terminal.CodeNoShift}
	}
	return f.report(), nil
}

func (f *fake) Reports(int) ([]terminal.ShiftReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.past), nil
}

func (f *fake) ReportOf(n uint32) (terminal.ShiftReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.past {
		if r.Number == n {
			return r, nil
		}
	}
	return terminal.ShiftReport{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) Attention() (terminal.Attention, error) { return terminal.Attention{}, nil }

func (f *fake) Explain(_ context.Context, r terminal.ExplainRequest) (terminal.ShiftReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.past {
		if p := &f.past[i]; p.Number == r.Number {
			p.Explained = &journal.ShiftDifference{Difference: p.Difference(), Cause: r.Cause, Note: r.Note}
			return *p, nil
		}
	}
	return terminal.ShiftReport{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) Receive(_ context.Context, r terminal.ReceiveRequest) (terminal.Pack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := journal.Name{Terminal: termID, Epoch: 1, Seq: uint64(600 + len(f.packs))}
	p := terminal.Pack{Receipt: journal.Entry{Name: n, Wall: f.now.UnixMilli(), Actor: r.Who}, From: r.From, To: r.To, Cards: 10, Sold: 1}
	f.packs = append(f.packs, p)
	return p, nil
}

func (f *fake) CountStock(_ context.Context, r terminal.CountRequest) (terminal.Pack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.packs {
		if p := &f.packs[i]; p.Receipt.Name == r.Pack {
			b := &journal.StockCount{Found: r.Found, Expected: p.Left()}
			if r.Read {
				b.Found, b.Missing = uint32(len(r.Cards)), []money.CardNumber{p.To}
			}
			p.Count = &journal.Entry{Name: journal.Name{Terminal: termID, Epoch: 1, Seq: 700}, Wall: f.now.UnixMilli(), Actor: r.Who, Body: b}
			return *p, nil
		}
	}
	return terminal.Pack{}, &terminal.Refusal{Code: terminal.CodeNotFound}
}

func (f *fake) Stock() ([]terminal.Pack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.packs), nil
}

func (f *fake) Staff() ([]store.Person, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.people), f.unread
}

func (f *fake) ChangeStaff(ctx context.Context, who terminal.Who, s journal.Staff, p store.Person, gone bool) error {
	f.mu.Lock()
	if err := f.next; err != nil {
		f.next = nil
		f.mu.Unlock()
		return err
	}
	f.people = slices.DeleteFunc(slices.Clone(f.people), func(q store.Person) bool { return q.ID == p.ID })
	if !gone {
		f.people = append(f.people, p)
	}
	f.mu.Unlock()
	return f.Note(ctx, who, s)
}

// Link makes the fake its own link.
func (f *fake) Link() LinkView {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := LinkView{Online: f.status.Online, LastSync: f.now.Add(-30 * time.Second), Standing: "good", Skew: f.skew}
	if !v.Online {
		v.LastSync, v.Error = f.now.Add(-14*time.Minute), "connection refused"
	}
	return v
}

// fakeDesk is the desk around a fake.
type fakeDesk struct{ *fake }

func (d fakeDesk) Cards() []DeskCard {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []DeskCard
	for _, c := range []struct {
		id     string
		number money.CardNumber
		label  Words
	}{
		{"wang", cardA, Words{"zh-CN": "王建国的卡", "en": "Wang's card"}},
		{"li", cardB, Words{"zh-CN": "李秀英的记名卡", "en": "Li's named card"}},
		{"new", stock, Words{"zh-CN": "库存新卡", "en": "New card from stock"}},
	} {
		l = append(l, DeskCard{ID: c.id, Label: c.label, Number: c.number, Balance: d.cards[c.number].Balance, In: d.status.Card.Number == c.number})
	}
	return l
}

func (d fakeDesk) Put(id string) error {
	if d.Status().Card.State != terminal.CardNone {
		return errors.New("there is a card in the reader")
	}
	return d.Swap(id)
}

func (d fakeDesk) Take() error { d.insert(money.CardNumber{}); return nil }

func (d fakeDesk) Swap(id string) error {
	for _, c := range d.Cards() {
		if c.ID == id {
			d.insert(c.Number)
			return nil
		}
	}
	return errors.New("no such card")
}

func (d fakeDesk) Tear(when string) error {
	d.with(func() {
		d.tear = when
		d.result = map[string]journal.Result{TearBefore: journal.NotDone, TearDuring: journal.Unknown, TearAfter: journal.Unknown}[when]
	})
	return nil
}

func (d fakeDesk) LinkUp(up bool)            { d.with(func() { d.status.Online = up }) }
func (d fakeDesk) ClockJump(j time.Duration) { d.with(func() { d.now = d.now.Add(j) }) }
func (d fakeDesk) Clock() time.Time          { d.mu.Lock(); defer d.mu.Unlock(); return d.now }
func (d fakeDesk) State() DeskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DeskState{LinkUp: d.status.Online, Tear: d.tear}
}

func (d fakeDesk) Ledger() []LedgerAccount {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := LedgerAccount{Name: "customer/" + acct.String(), Owner: "*建国", Balance: d.bills[acct].Balance}
	for _, t := range slices.Backward(d.list) {
		if t.Kind == journal.KindRedemption && t.Account == acct && t.Result == journal.Done {
			a.Balance += t.Amount
			a.Lines = append(a.Lines, LedgerLine{At: time.UnixMilli(t.Began), Amount: t.Amount, What: "redemption", Slip: t.Name.String()})
		}
	}
	return []LedgerAccount{a}
}
