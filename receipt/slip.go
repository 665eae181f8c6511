package receipt

import (
	"strconv"
	"strings"
	"time"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

var kinds = map[journal.Kind]string{
	journal.KindRedemption: "redemption", journal.KindTopUp: "topup", journal.KindSale: "sale",
	journal.KindVoid: "void", journal.KindVoidDebit: "void_debit", journal.KindBill: "cash_bill",
	journal.KindClaim: "claim", journal.KindBlock: "block", journal.KindReplace: "replace", journal.KindEmptied: "emptied",
}

var results = map[journal.Result]string{
	journal.Done: "done", journal.NotDone: "not_done", journal.Pending: "unknown", journal.Unknown: "unknown",
}

// story is what a transaction and its child mean together to a person.
type story struct {
	key      string // of the words
	result   journal.Result
	amount   money.Fen
	tendered money.Fen // cash for the amount, 0: none
	deposit  money.Fen
	returned bool // the cash was given back
	owed     bool // cash was taken and is to be given back
	last     journal.Transaction
}

func tell(s Slip) story {
	t := s.Transaction
	v := story{key: kinds[t.Kind], result: t.Result, amount: t.Amount, last: t, returned: t.CashReturned}
	if s.Child != nil {
		v.last = *s.Child
	}
	switch {
	case t.Kind == journal.KindSale && s.Child != nil:
		v.key, v.result, v.amount, v.deposit, v.returned = "sale_load", s.Child.Result, s.Child.Amount, t.Amount, s.Child.CashReturned
	case t.Kind == journal.KindSale && s.Wanted > 0:
		v.key, v.result, v.amount, v.deposit = "sale_load", journal.NotDone, s.Wanted, t.Amount
		v.tendered = s.Wanted
	case t.Kind == journal.KindSale:
		v.deposit = t.Amount
	case t.Kind == journal.KindClaim && s.Child != nil && t.Result == journal.Done:
		v.key, v.result, v.returned = "claim_load", s.Child.Result, s.Child.CashReturned
	case t.Kind == journal.KindVoid && t.Result == journal.Done:
		v.key, v.result = "void_debit", journal.NotDone
		if s.Child != nil {
			v.result = s.Child.Result
		}
	}
	if v.result == journal.Pending {
		v.result = journal.Unknown
	}
	if t.Bill != nil {
		v.tendered = max(t.Bill.Tendered, v.amount)
		v.owed = v.result == journal.NotDone && !v.returned
	}
	if v.last.Load != nil {
		v.tendered = max(v.last.Load.Tendered, v.amount)
		v.owed = v.result == journal.NotDone && v.last.Load.Tendered > 0 && !v.returned
	}
	return v
}

// offline tells whether it was done without the link, by the entries where
// they say so.
func (s Slip) offline(v story) bool {
	switch {
	case v.last.Purchase != nil:
		return !v.last.Purchase.Online
	case v.last.Load != nil:
		return v.last.Load.Authority == journal.AuthoritySAM
	}
	return s.Offline
}

func (h Head) hotline() string {
	if h.Hotline == "" {
		return "95598"
	}
	return h.Hotline
}

// Of makes the slip of a transaction. An outcome that is not written yet is
// told as unknown.
func Of(s Slip) Doc {
	v := tell(s)
	t, name := s.Transaction, s.Transaction.Name.String()
	staff := ""
	if t.Actor.ID != 0 {
		staff = t.Actor.ID.String()
	}
	w := &writer{Doc: Doc{Lang: words.Language(s.Lang)}, fill: strings.NewReplacer(
		"{amount}", v.amount.Yuan(), "{tendered}", max(v.tendered, v.amount).Yuan(), "{hotline}", clean(s.hotline()), "{slip}", name, "{staff}", staff)}
	title := "title." + v.key
	switch {
	case s.Settles:
		title = "title.settled"
	case v.returned:
		title = "title.returned"
	}
	w.head(s.Head, title, s.Copy)
	if s.offline(v) {
		w.add(RoleMark, w.t("offline"))
	}
	typed := t.Purchase != nil && t.Purchase.Seen == journal.AccountTyped || t.Bill != nil && t.Bill.Seen == journal.AccountTyped
	if typed {
		w.add(RoleMark, w.t("not_verified"))
	}
	if s.Settles {
		w.add(RoleNotice, w.t("settled"))
	}
	w.verdict(v.result)
	if v.amount > 0 {
		w.add(RoleAmount, v.amount.Yuan())
		if w.Lang == words.Languages[0] {
			w.fact("fact.capitals", Capitals(v.amount))
		}
	}
	says := "says." + v.key + "." + results[v.result]
	switch {
	case v.key == "sale_load" && s.Child == nil:
		says = "says.sale_load.not_begun"
	case v.returned:
		says += "_returned"
	}
	w.add(RoleText, w.t(says))
	if v.result != journal.Done {
		w.fact("fact.why", s.Why)
	}
	if v.result == journal.Unknown {
		w.add(RoleNotice, w.t("keep"))
		if v.last.Purchase == nil && v.last.Load == nil { // no card knows it
			w.add(RoleText, w.t("settle_utility"))
		} else {
			w.add(RoleText, w.t("settle"))
		}
		w.add(RoleText, w.t("ask"))
		w.add(RoleNotice, name)
	}
	w.rule()

	w.fact("fact.account", MaskAccount(t.Account))
	if typed {
		w.add(RoleText, w.t("not_verified_note"))
	}
	if !t.Card.IsZero() {
		w.fact("fact.card", "****"+t.Card.Last4())
	}
	if s.Card.Known && !t.Card.IsZero() {
		if s.Card.Named {
			w.fact("fact.class", w.t("fact.named"))
		} else {
			w.fact("fact.class", w.t("fact.unnamed"))
		}
		if !s.Card.ValidTo.IsZero() {
			w.fact("fact.valid", s.Card.ValidTo.In(money.CST).Format(time.DateOnly))
		}
	}
	if v.deposit > 0 {
		w.fact("fact.deposit", v.deposit.Yuan())
	}
	if v.tendered > 0 && (t.Bill != nil || v.last.Load != nil && v.last.Load.Tendered > 0) {
		w.fact("fact.tendered", (v.tendered + v.deposit).Yuan())
		switch {
		case v.returned:
			w.fact("fact.returned", v.tendered.Yuan())
		case v.owed:
			w.fact("fact.to_return", v.tendered.Yuan())
		default:
			w.fact("fact.change", (v.tendered - v.amount).Yuan())
		}
	}
	if v.result != journal.Unknown && v.last.After != journal.NoBalance {
		w.fact("fact.balance", v.last.After.Yuan())
	}
	if s.offline(v) {
		w.add(RoleText, w.t("offline_note"))
	}
	w.rule()

	if s.Settles {
		w.fact("fact.first_slip", name)
		w.fact("fact.first_time", clock(t.Began))
		w.fact("fact.first_by", s.by(w))
		w.fact("fact.settled_time", clock(v.last.Ended))
		w.fact("fact.settled_by", w.t("actor.system")) // never booked on a person
	} else {
		w.fact("fact.slip", name)
		if t.Claim != nil {
			w.fact("fact.claim_slip", t.Claim.Claim.String())
		}
		if t.Kind == journal.KindVoid && !t.Parent.IsZero() {
			w.fact("fact.topup_slip", t.Parent.Of(t.Name.Terminal).String())
		}
		w.fact("fact.began", clock(t.Began))
		w.fact("fact.by", s.by(w))
	}
	w.foot(s.Head, s.Hash)
	w.Lines = append(w.Lines, Line{Role: RoleQR, Value: "dianka:slip:" + name + ":" + results[v.result] + ":" + s.Hash.String()})
	w.add(RoleNotice, w.t("not_invoice"))
	switch t.Kind {
	case journal.KindRedemption, journal.KindBill:
		w.add(RoleText, w.t("invoice.bill"))
	case journal.KindTopUp, journal.KindSale:
		if v.result != journal.Done || v.amount == 0 {
			break
		}
		w.add(RoleText, w.t("invoice.value"))
	}
	w.fact("hotline", s.hotline())
	w.copy(s.Copy)
	return w.Doc
}

func (s Slip) by(w *writer) string {
	switch s.Transaction.Actor.Kind {
	case journal.ActorClerk:
		return w.t("actor.clerk")
	case journal.ActorCustomer:
		return w.t("actor.customer")
	case journal.ActorTechnician:
		return w.t("actor.technician")
	case journal.ActorHeadOffice:
		return w.t("actor.head_office")
	}
	return w.t("actor.system")
}

func clock(ms int64) string { return at(time.UnixMilli(ms)) }

func at(t time.Time) string { return t.In(money.CST).Format(time.DateTime) }

func (w *writer) head(h Head, title string, copy int) {
	if h.Logo {
		w.Lines = append(w.Lines, Line{Role: RoleLogo})
	}
	if h.Shop != "" {
		w.add(RoleShop, h.Shop)
	}
	w.add(RoleTitle, w.t(title))
	w.copy(copy)
}

// copy marks a reprint in both languages, whatever the slip's own is.
func (w *writer) copy(n int) {
	if n > 0 {
		w.add(RoleMark, w.t("reprint")+" / REPRINT "+strconv.Itoa(n))
	}
}

// verdict tells an outcome in both languages; the shape is the renderings'.
func (w *writer) verdict(r journal.Result) {
	key := "verdict." + results[r]
	w.Lines = append(w.Lines, Line{Role: RoleVerdict, Text: texts()["zh-CN"][key], Value: texts()["en"][key], Result: r})
}

func (w *writer) foot(h Head, hash journal.Hash) {
	if !h.Terminal.IsZero() {
		w.fact("fact.terminal", h.Terminal.String())
	}
	if h.ShopID != 0 {
		w.fact("fact.shop", h.ShopID.String())
	}
	w.fact("fact.issuer", h.Issuer)
	w.Lines = append(w.Lines, Line{Role: RoleHash, Text: w.t("fact.hash"), Value: hash.String()})
}
