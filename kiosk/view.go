package kiosk

import (
	"encoding/json"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/terminal"
)

// when is a time in JSON: RFC 3339 to the second in China Standard Time, or
// null when there is none.
type when time.Time

func (t when) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(time.Time(t).In(money.CST).Format(time.RFC3339))
}

func whenMS(ms int64) when {
	if ms == 0 {
		return when{}
	}
	return when(time.UnixMilli(ms))
}

// problem is a code with its sentence.
type problem struct {
	Code terminal.Code `json:"code"`
	advice
}

func (s *Server) problem(c terminal.Code) *problem {
	if c == "" {
		return nil
	}
	return &problem{c, s.words.advice("refusal."+string(c), "{limit}", "", "{left}", "")}
}

type cardView struct {
	State     terminal.CardState `json:"state"`
	Problem   *problem           `json:"problem"`
	Number    string             `json:"number"` // full only for a session
	Last4     string             `json:"last4"`
	Balance   *money.Fen         `json:"balance"`
	Named     bool               `json:"named"`
	Stock     bool               `json:"stock"`
	ValidFrom when               `json:"valid_from"`
	ValidTo   when               `json:"valid_to"`
	Settled   []string           `json:"settled"`
}

func (s *Server) cardView(c terminal.CardView, full bool) cardView {
	v := cardView{State: c.State, Problem: s.problem(c.Problem), Settled: []string{}}
	if !c.Number.IsZero() {
		v.Last4 = c.Number.Last4()
		v.Named, v.Stock = c.Named, c.Stock
		v.ValidFrom, v.ValidTo = when(c.ValidFrom), when(c.ValidTo)
	}
	if full && !c.Number.IsZero() {
		v.Number = c.Number.String()
		if c.State == terminal.CardReady {
			v.Balance = &c.Balance
		}
		for _, n := range s.settled(c) {
			v.Settled = append(v.Settled, n.String())
		}
	}
	return v
}

type samView struct {
	Present bool     `json:"present"`
	Problem *problem `json:"problem"`
}

type linkView struct {
	Online   bool   `json:"online"`
	LastSync when   `json:"last_sync"`
	Standing string `json:"standing"`
	SkewMS   int64  `json:"skew_ms"` // the utility's clock minus ours
	Error    string `json:"error"`
}

type limitsView struct {
	At              when      `json:"at"`
	TopUpMin        money.Fen `json:"topup_min"`
	TopUpMax        money.Fen `json:"topup_max"`
	OfflineTopUpMax money.Fen `json:"offline_topup_max"`
	RedeemMax       money.Fen `json:"redeem_max"`
	CardDeposit     money.Fen `json:"card_deposit"`
	UnsentMax       money.Fen `json:"unsent_max"`
	UnsentWarn      uint32    `json:"unsent_warn"`
	UnsentStop      uint32    `json:"unsent_stop"`
}

type shiftView struct {
	Open        bool       `json:"open"`
	Number      uint32     `json:"number"`
	Clerk       uint32     `json:"clerk"`
	Opened      when       `json:"opened"`
	OpeningCash money.Fen  `json:"opening_cash"`
	CashIn      money.Fen  `json:"cash_in"`
	CashOut     money.Fen  `json:"cash_out"`
	TopUps      money.Fen  `json:"topups"`
	Redemptions money.Fen  `json:"redemptions"`
	Deposits    money.Fen  `json:"deposits"`
	Voids       money.Fen  `json:"voids"`
	Bills       money.Fen  `json:"bills"`  // paid in cash
	Claims      money.Fen  `json:"claims"` // paid out
	Count       uint32     `json:"count"`
	Unknown     uint32     `json:"unknown"`
	Closed      when       `json:"closed"`
	Counted     *money.Fen `json:"counted"`  // null until the close
	Expected    *money.Fen `json:"expected"` // null until the close: the count is blind
}

func viewShift(sh store.Shift, open bool) *shiftView {
	v := &shiftView{
		Open: open, Number: sh.Number, Clerk: uint32(sh.Clerk), Opened: whenMS(sh.Opened),
		OpeningCash: sh.OpeningCash, CashIn: sh.CashIn, CashOut: sh.CashOut,
		TopUps: sh.TopUps, Redemptions: sh.Redemptions, Deposits: sh.Deposits, Voids: sh.Voids, Bills: sh.Bills, Claims: sh.Claims,
		Count: sh.Count, Unknown: sh.Unknown, Closed: whenMS(sh.ClosedAt),
	}
	if sh.Closed {
		v.Counted, v.Expected = &sh.Counted, &sh.Expected
	}
	return v
}

type sessionView struct {
	Role    string       `json:"role"` // "clerk", "kiosk", or "" for none
	Staff   string       `json:"staff"`
	Name    string       `json:"name"`
	Rights  []string     `json:"rights"`
	Locked  bool         `json:"locked"`
	LocksMS int64        `json:"locks_ms"`   // until the session locks itself
	Change  bool         `json:"change_pin"` // nothing else may be done before the person chose a PIN
	Seconds []personView `json:"seconds"`    // who may be the second person of a void; empty: none is needed
}

type personView struct {
	Staff string `json:"staff"`
	Name  string `json:"name"`
}

func (s *Server) sessionView(c caller) sessionView {
	v := sessionView{Rights: []string{}, Seconds: []personView{}}
	switch {
	case c.kiosk:
		v.Role, v.Rights = "kiosk", []string{RightRedeem}
	case c.staff != nil:
		v.Role, v.Staff, v.Name = "clerk", c.staff.ID.String(), c.staff.Name
		v.Change = c.staff.change
		v.Locked, v.LocksMS = c.locked, max(0, c.left.Milliseconds())
		if c.clerk() {
			v.Rights = append(v.Rights, c.staff.Rights...)
			for _, p := range s.door.seconds(c.staff) {
				v.Seconds = append(v.Seconds, personView{p.ID.String(), p.Name})
			}
		}
	}
	return v
}

type statusView struct {
	Now       when         `json:"now"`
	Terminal  string       `json:"terminal"`
	Shop      string       `json:"shop"`
	ShopName  string       `json:"shop_name"`
	Epoch     uint32       `json:"epoch"`
	Head      uint64       `json:"head"`
	Session   sessionView  `json:"session"`
	Card      cardView     `json:"card"`
	Reader    bool         `json:"reader"`
	PSAM      samView      `json:"psam"`
	LoadSAM   samView      `json:"load_sam"`
	Link      linkView     `json:"link"`
	Busy      bool         `json:"busy"`
	BusyBy    string       `json:"busy_by"` // whose transaction has the card: "counter", "kiosk", or "" when nobody's
	Stopped   bool         `json:"stopped"`
	Warnings  []problem    `json:"warnings"`
	HotlistAt when         `json:"hotlist_at"`
	Limits    limitsView   `json:"limits"`
	Simulated bool         `json:"simulated"`
	Printer   *printerView `json:"printer"` // null: none
	// At a login screen: whom the card in the reader names, else null.
	CardStaff *personView `json:"card_staff"`
	// At a login screen: who may log in, else empty.
	People []personView `json:"people"`
	// Only for a clerk, else null.
	Till *tillView `json:"till"`
}

// tillView is what only the shop's people see.
type tillView struct {
	Shift     *shiftView    `json:"shift"` // null before the first shift
	Float     floatView     `json:"float"`
	Allowance allowanceView `json:"allowance"`
	Unsent    unsentView    `json:"unsent"`
	Unknown   int           `json:"unknown"` // transactions that are not settled
}

// floatView is what the shop may still give out, as the utility said last, less
// what was sold here since.
type floatView struct {
	Known   bool      `json:"known"`
	Left    money.Fen `json:"left"`
	Ceiling money.Fen `json:"ceiling"`
	AsOf    when      `json:"as_of"`
}

type allowanceView struct {
	Known  bool      `json:"known"`
	Amount money.Fen `json:"amount"`
	Count  uint32    `json:"count"`
}

type unsentView struct {
	Count  uint64    `json:"count"`
	Value  money.Fen `json:"value"`
	Oldest when      `json:"oldest"`
}

func (s *Server) statusView(c caller) statusView {
	st := s.cfg.Terminal.Status()
	v := statusView{
		Now: when(s.cfg.Clock()), Terminal: st.Terminal.String(), Shop: st.Shop.String(), ShopName: s.cfg.Shop,
		Epoch: st.Epoch, Head: st.Head.Seq, Session: s.sessionView(c),
		Card: s.cardView(st.Card, c.kiosk || c.clerk()), Reader: st.Card.State != terminal.CardNoReader,
		PSAM:    samView{st.PSAM.Present, s.problem(st.PSAM.Problem)},
		LoadSAM: samView{st.LoadSAM.Present, s.problem(st.LoadSAM.Problem)},
		Link:    linkView{Online: st.Online},
		Busy:    st.Busy, Stopped: st.Stopped, Warnings: []problem{}, People: []personView{}, HotlistAt: when(st.HotlistAt),
		Limits: limitsView{
			At: when(st.LimitsAt), TopUpMin: st.Limits.TopUpMin, TopUpMax: st.Limits.TopUpMax,
			OfflineTopUpMax: st.Limits.OfflineTopUpMax, RedeemMax: st.Limits.RedeemMax, CardDeposit: st.Limits.CardDeposit,
			UnsentMax: st.Limits.UnsentMax, UnsentWarn: st.Limits.UnsentWarn, UnsentStop: st.Limits.UnsentStop,
		},
		Simulated: s.cfg.Desk != nil, Printer: s.printerView(c.clerk()),
	}
	if s.cfg.Link != nil {
		l := s.cfg.Link.Link()
		v.Link = linkView{st.Online, when(l.LastSync), l.Standing, l.Skew.Milliseconds(), l.Error}
		if !c.clerk() {
			v.Link.Error = ""
		}
	}
	if st.Busy {
		v.BusyBy = s.holders.first()
	}
	for _, w := range st.Warnings {
		v.Warnings = append(v.Warnings, *s.problem(w))
	}
	if !c.kiosk && !c.clerk() {
		v.CardStaff = s.cardStaff(st.Card.Number)
		for _, p := range s.door.people() {
			if !p.locked {
				v.People = append(v.People, personView{p.ID.String(), p.Name})
			}
		}
	}
	if c.clerk() {
		v.Till = &tillView{
			Float:     floatView{st.Float.Known, st.Float.Left, st.Float.Ceiling, when(st.Float.At)},
			Allowance: allowanceView{st.Allowance.Known, st.Allowance.Amount, st.Allowance.Count},
			Unsent:    unsentView{st.Unsent.Count, st.Unsent.Value, whenMS(st.Unsent.Oldest)},
			Unknown:   st.Open,
		}
		if st.Shift.Number != 0 {
			v.Till.Shift = viewShift(st.Shift, st.ShiftOpen)
		}
	}
	return v
}

type reasonView struct {
	Code string `json:"code"`
	advice
}

type actorView struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

type receiptView struct {
	ID      string `json:"id"` // the number on the slip
	Kind    string `json:"kind"`
	Result  string `json:"result"`  // of this transaction itself
	Overall string `json:"overall"` // with its child: what a person is told
	advice
	Reason       *reasonView  `json:"reason"`  // null when there is nothing to explain
	Utility      Words        `json:"utility"` // the utility's reason for not agreeing, else null
	Began        when         `json:"began"`
	Ended        when         `json:"ended"`
	Actor        actorView    `json:"actor"`
	Card         string       `json:"card"`
	Last4        string       `json:"last4"`
	Account      string       `json:"account"` // of a redemption or a bill, else ""
	AccountSeen  string       `json:"account_seen"`
	Amount       money.Fen    `json:"amount"`
	Tendered     money.Fen    `json:"tendered"`      // cash taken
	Balance      *money.Fen   `json:"balance"`       // of the card afterwards; null when not read
	WasUnknown   bool         `json:"was_unknown"`   // it was not certain for a while
	CashReturned bool         `json:"cash_returned"` // of a top-up or a bill that was not done
	CashOwed     bool         `json:"cash_owed"`     // cash was taken, nothing was loaded, and it was neither given back nor collected here
	Parent       string       `json:"parent"`        // a void names its top-up here, a first load its sale
	Child        *receiptView `json:"child"`         // first load of a sale, debit of a void, load of a claim
	Claim        string       `json:"claim"`         // the number under which what was paid out had waited, else ""
	Hash         string       `json:"hash"`          // of the journal after the last entry
	Slip         *slipView    `json:"slip"`          // what became of the paper; null without a printer, and of a child
}

// receiptView tells a transaction. wanted is the first load that a sale was
// asked for, 0 when that is not known any more.
func (s *Server) receiptView(r terminal.Receipt, wanted money.Fen) receiptView {
	v := s.transactionView(r.Transaction)
	v.Hash = r.Hash.String()
	v.Slip = s.slipView(r)
	v.CashOwed = r.Owed == r.Name
	if r.Child != nil {
		c := s.transactionView(*r.Child)
		c.Hash = v.Hash
		c.CashOwed = r.Owed == r.Child.Name
		v.Child = &c
	}
	key := v.Kind + "." + v.Result
	switch {
	case r.Kind == journal.KindSale && r.Child != nil:
		v.Overall = v.Child.Result
		key = "sale_load." + v.Overall
	case r.Kind == journal.KindSale && wanted > 0:
		v.Overall = "not_done"
		key = "sale_load.not_begun"
	case r.Kind == journal.KindClaim && r.Claim.How == journal.PayoutLoad && r.Result == journal.Done:
		v.Overall, key = "not_done", "claim_load.not_begun"
		if r.Child != nil {
			v.Overall = v.Child.Result
			key = "claim_load." + v.Overall
		}
	case r.Kind == journal.KindVoid && r.Result == journal.Done:
		// Agreed; the card's part decides.
		v.Overall = "not_done"
		if r.Child != nil {
			v.Overall = v.Child.Result
		}
		key = "void_debit." + v.Overall
	}
	amount, tendered := v.Amount, v.Tendered
	if v.Child != nil && r.Kind == journal.KindSale {
		amount, tendered = v.Child.Amount, v.Child.Tendered
	} else if wanted > 0 {
		amount, tendered = wanted, wanted
	}
	if v.CashReturned || (v.Child != nil && v.Child.CashReturned) {
		key += "_returned"
	}
	slip := v.ID
	if r.Kind == journal.KindClaim && r.Child != nil {
		slip = v.Child.ID // what the load left open waits under its number
	}
	v.advice = s.words.advice("outcome."+key,
		"{amount}", amount.Yuan(), "{tendered}", max(tendered, amount).Yuan(), "{last4}", v.Last4, "{slip}", slip, "{account}", v.Account, "{claim}", v.Claim)
	return v
}

func (s *Server) transactionView(t journal.Transaction) receiptView {
	v := receiptView{
		ID: t.Name.String(), Kind: kinds[t.Kind], Result: results[t.Result],
		Began: whenMS(t.Began), Ended: whenMS(t.Ended), Actor: actorView{Kind: actors[t.Actor.Kind]},
		Card: t.Card.String(), Last4: t.Card.Last4(), Amount: t.Amount,
		WasUnknown: t.WasUnknown, CashReturned: t.CashReturned,
	}
	v.Overall = v.Result
	if t.Actor.ID != 0 {
		v.Actor.ID = t.Actor.ID.String()
	}
	if t.Account != 0 {
		v.Account = t.Account.String()
	}
	if t.Purchase != nil {
		v.AccountSeen = seens[t.Purchase.Seen]
	}
	if t.Load != nil {
		v.Tendered = t.Load.Tendered
	}
	if t.Bill != nil {
		v.AccountSeen, v.Tendered = seens[t.Bill.Seen], t.Bill.Tendered
	}
	if t.Claim != nil {
		v.Claim = t.Claim.Claim.String()
	}
	if t.Card.IsZero() { // no card has a part in it
		v.Card, v.Last4 = "", ""
	}
	if t.After != journal.NoBalance && t.Result != journal.Pending {
		v.Balance = &t.After
	}
	if !t.Parent.IsZero() {
		v.Parent = t.Parent.Of(t.Name.Terminal).String()
	}
	if t.Reason != journal.ReasonNone {
		code, key := reasons[t.Reason], reasons[t.Reason]
		if decidedByUtility(t) && s.words.has("reason.counter."+code+".sentence") {
			key = "counter." + code
		}
		v.Reason = &reasonView{code, s.words.advice("reason." + key)}
	}
	if t.Decided != nil && s.words.has("utility."+t.Decided.Code) {
		v.Utility = s.words.words("utility." + t.Decided.Code)
	}
	if t.VoidAnswer != nil && s.words.has("utility."+t.VoidAnswer.Code) {
		v.Utility = s.words.words("utility." + t.VoidAnswer.Code)
	}
	key := v.Kind + "." + v.Result
	if v.CashReturned {
		key += "_returned"
	}
	v.advice = s.words.advice("outcome."+key,
		"{amount}", v.Amount.Yuan(), "{tendered}", max(v.Tendered, v.Amount).Yuan(), "{last4}", v.Last4, "{slip}", v.ID, "{account}", v.Account, "{claim}", v.Claim)
	return v
}

// decidedByUtility reports whether no card has a part in how it ended.
func decidedByUtility(t journal.Transaction) bool {
	return t.Bill != nil || t.Claim != nil || t.Request != nil
}

type accountView struct {
	Account string     `json:"account"`
	Owner   string     `json:"owner"`   // masked by the utility, "" when not known
	Balance *money.Fen `json:"balance"` // positive: paid ahead; null when not known
	Owed    money.Fen  `json:"owed"`
	AsOf    when       `json:"as_of"`
	Seen    string     `json:"seen"` // "online", "cached", "typed": not verified
}

func viewAccount(a terminal.AccountView) accountView {
	v := accountView{Account: a.Account.String(), Owner: a.Owner, AsOf: whenMS(a.AsOf), Seen: seens[a.Seen]}
	if a.Seen == journal.AccountTyped {
		v.Owner, v.AsOf = "", when{}
		return v
	}
	v.Balance, v.Owed = &a.Balance, max(0, -a.Balance)
	return v
}

type logView struct {
	Kind     string    `json:"kind"` // "load", "purchase" or "other"
	Amount   money.Fen `json:"amount"`
	At       when      `json:"at"` // null when the card's date does not exist
	Terminal string    `json:"terminal"`
	Here     bool      `json:"here"` // at this terminal
	Counter  uint16    `json:"counter"`
}

func viewLog(r purse.LogRecord, here money.TerminalID) logView {
	v := logView{Kind: "other", Amount: r.Amount, Terminal: r.Terminal.String(), Here: r.Terminal == here, Counter: r.Counter}
	switch r.TxType {
	case suite.TypeEDLoad, suite.TypeEPLoad:
		v.Kind = "load"
	case suite.TypeEDPurchase, suite.TypeEPPurchase, suite.TypeEPCompound:
		v.Kind = "purchase"
	}
	if at, err := r.Stamp.Time(); err == nil {
		v.At = when(at)
	}
	return v
}
