package receipt

import (
	"strings"
	"time"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Settlement is what the slip is made from on which a shop hands the takings of
// a closed shift over. The sums are the journal's; nothing is added up here.
type Settlement struct {
	Head
	Lang   string
	Number string // of the settlement; it follows from the shift, so that it is the same every time
	Shift  uint32
	Clerk  string
	Opened time.Time
	Closed time.Time

	TopUps, Bills, Deposits money.Fen // cash taken
	Voids, Claims, Returned money.Fen // cash given out
	Net                     money.Fen // taken less given out: what is owed; negative: the utility's float owes the drawer
	Unknown, Owed           money.Fen // of what was taken: not certain at the close, and owed to customers
	UnknownCount, OwedCount uint32
	Unsent                  uint32 // entries that the utility did not have at the close
	Hash                    journal.Hash
	Slip                    journal.Name // the entry that closed the shift
	Copy                    int          // 0: the slip itself; n: its n-th copy
}

// OfSettlement makes the settlement slip of a shift.
func OfSettlement(s Settlement) Doc {
	w := &writer{Doc: Doc{Lang: words.Language(s.Lang)}, fill: strings.NewReplacer("{hotline}", clean(s.hotline()))}
	w.head(s.Head, "title.settlement", s.Copy)
	w.rule()
	w.fact("payin.number", s.Number)
	w.fact("shift.number", count(s.Shift))
	w.fact("shift.clerk", s.Clerk)
	w.fact("shift.opened", at(s.Opened))
	w.fact("shift.closed", at(s.Closed))
	w.rule()
	w.fact("payin.topups", s.TopUps.Yuan())
	w.fact("payin.bills", s.Bills.Yuan())
	w.fact("payin.deposits", s.Deposits.Yuan())
	w.fact("payin.voids", (-s.Voids).Yuan())
	w.fact("payin.claims", (-s.Claims).Yuan())
	w.fact("payin.returned", (-s.Returned).Yuan())
	w.rule()
	w.add(RoleNotice, w.t("payin.net"))
	w.add(RoleAmount, s.Net.Yuan())
	if w.Lang == words.Languages[0] && s.Net > 0 {
		w.fact("fact.capitals", Capitals(s.Net))
	}
	if s.UnknownCount > 0 {
		w.fact("payin.unknown", s.Unknown.Yuan())
	}
	if s.OwedCount > 0 {
		w.fact("payin.owed", s.Owed.Yuan())
	}
	w.add(RoleText, w.t("payin.note"))
	w.rule()
	w.fact("shift.unsent", count(s.Unsent))
	w.fact("payin.close", s.Slip.String())
	w.foot(s.Head, s.Hash)
	for _, sign := range []string{"shift.sign", "shift.sign_manager", "payin.sign_receiver"} {
		w.add(RoleText, w.t(sign))
		w.add(RoleText, "")
	}
	w.add(RoleNotice, w.t("not_invoice"))
	w.fact("hotline", s.hotline())
	w.copy(s.Copy)
	return w.Doc
}
