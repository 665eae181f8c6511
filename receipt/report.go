package receipt

import (
	"strconv"
	"strings"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
)

// OfShift makes the slip of an X or a Z report.
func OfShift(r Report) Doc {
	w := &writer{Doc: Doc{Lang: words.Language(r.Lang)}, fill: strings.NewReplacer("{hotline}", clean(r.hotline()))}
	title := "title.x"
	if r.Final {
		title = "title.z"
	}
	w.head(r.Head, title, r.Copy)
	w.rule()
	w.fact("shift.number", count(r.Number))
	w.fact("shift.clerk", r.Clerk)
	w.fact("shift.opened", at(r.Opened))
	if r.Final {
		w.fact("shift.closed", at(r.At))
	} else {
		w.fact("shift.at", at(r.At))
	}
	w.rule()
	w.fact("shift.topups", r.TopUps.Yuan())
	w.fact("shift.deposits", r.Deposits.Yuan())
	w.fact("shift.voids", r.Voids.Yuan())
	w.fact("shift.redemptions", r.Redemptions.Yuan())
	w.fact("shift.bills", r.Bills.Yuan())
	w.fact("shift.claims", r.Claims.Yuan())
	w.fact("shift.count", count(r.Count))
	w.fact("shift.unknown", count(r.Unknown))
	w.rule()
	w.fact("shift.opening_cash", r.OpeningCash.Yuan())
	w.fact("shift.cash_in", r.CashIn.Yuan())
	w.fact("shift.cash_out", r.CashOut.Yuan())
	if r.Expected != nil {
		w.fact("shift.expected", r.Expected.Yuan())
	}
	if r.Counted != nil {
		w.fact("shift.counted", r.Counted.Yuan())
	}
	if r.Counted != nil && r.Expected != nil {
		w.fact("shift.difference", (*r.Counted - *r.Expected).Yuan())
		w.fact("shift.reason", r.Reason)
	}
	w.rule()
	w.fact("shift.unsent", count(r.Unsent))
	w.list("shift.unsent_list", r.UnsentSlips)
	w.list("shift.attention_list", r.AttentionSlips)
	w.rule()
	w.fact("fact.slip", r.Slip.String())
	w.foot(r.Head, r.Hash)
	if r.Final {
		w.add(RoleText, w.t("shift.sign"))
		w.add(RoleText, "")
		w.add(RoleText, w.t("shift.sign_manager"))
		w.add(RoleText, "")
	} else {
		w.add(RoleText, w.t("shift.x_note"))
	}
	w.copy(r.Copy)
	return w.Doc
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func (w *writer) list(key string, names []journal.Name) {
	if names == nil {
		return
	}
	w.add(RoleText, w.t(key))
	if len(names) == 0 {
		w.add(RoleText, w.t("shift.none"))
	}
	for _, n := range names {
		w.add(RoleText, n.String())
	}
}
