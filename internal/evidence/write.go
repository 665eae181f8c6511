package evidence

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Known says whose keys in a bundle the reader knew before.
type Known struct {
	Terminal bool `json:"terminal"`
	Utility  bool `json:"utility"`
}

// Write tells people what a bundle shows and what is proven. Cards and
// accounts show their last four digits; the bundle has them whole.
func Write(w io.Writer, b journal.Bundle, p journal.Proof, known Known) error {
	var out bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("evidence of terminal %s", b.Terminal)
	threads := map[journal.Name]*journal.Transaction{}
	var order []journal.Name
	for i, r := range p.Runs {
		run := b.Runs[i]
		line("\nepoch %d, entries %d to %d", run.Epoch, run.From, r.Head.Seq)
		for _, e := range r.Entries {
			line("  %s", rowOf(r, e))
			if t, err := journal.Begin(e); err == nil {
				threads[e.Name] = &t
				order = append(order, e.Name)
			} else if t := threads[e.Ref.Of(e.Name.Terminal)]; t != nil && e.Body.Type().Continues() {
				if err := t.Add(e); err != nil {
					line("  %-24s  contradicts what stands before: %v", "", err)
				}
			}
		}
	}
	if len(order) > 0 {
		line("\ntransactions that begin in these entries, as far as they show")
	}
	for _, n := range order {
		t := threads[n]
		line("  %-24s  %-10s %12s  card …%s%s  %s", t.Name, kinds[t.Kind], t.Amount, t.Card.Last4(), to(t.Account), result(t.Result))
	}
	line("\nproven")
	for i, r := range p.Runs {
		run := b.Runs[i]
		line("  epoch %d: who holds the terminal's record key %x", run.Epoch, run.Key)
		line("    signed exactly the entries %d to %d, in this order and with none between missing; the chain after them is %s", run.From, r.Head.Seq, r.Head.Hash)
		switch {
		case r.Through == 0:
			line("    there is no acknowledgement by the utility: that it ever got them is not proven")
		case r.Through < r.Head.Seq:
			line("    who holds the utility's key %x\n    acknowledged the same bytes up to entry %d on %s; the entries after it are not acknowledged", b.Utility, r.Through, clock(r.At))
		default:
			line("    who holds the utility's key %x\n    acknowledged the same bytes, all of them, on %s", b.Utility, clock(r.At))
		}
	}
	line("not proven")
	if !known.Terminal {
		line("  that the terminal's key above is the terminal's: compare it with one got otherwise, or give that with --terminal-key")
	}
	if !known.Utility && b.Utility != [32]byte{} {
		line("  that the utility's key above is the utility's: compare it with one got otherwise, or give that with --utility-key")
	}
	line("  that the terminal's clock was right: times are what it showed; the order is proven")
	line("  that a card moved value because an entry says so: the card's own cryptograms (TAC, MAC2) are in the entries, and the utility's vault can check them")
	line("  that nothing came before the first entry of an epoch shown here, or after the last")
	_, err := w.Write(out.Bytes())
	return err
}

// Row is an entry as people read it: cards and accounts by their last four
// digits, and nothing that is secret.
type Row struct {
	Entry string `json:"entry"`
	Time  string `json:"time"` // by the terminal's clock
	Who   string `json:"who"`
	Says  string `json:"says"`
	Held  string `json:"held,omitempty"` // why the utility had not posted it
	Acked bool   `json:"acknowledged"`   // the utility holds it
}

// String is the row on one line.
func (r Row) String() string {
	note := ""
	if r.Held != "" {
		note = "; the utility had not posted it: " + r.Held
	}
	return fmt.Sprintf("%-24s  %s  %-14s  %s%s", r.Entry, r.Time, r.Who, r.Says, note)
}

// Rows puts the proven entries that are wanted in words; nil wants all.
func Rows(p journal.Proof, wanted Selection) (out []Row) {
	for _, r := range p.Runs {
		for _, e := range r.Entries {
			if wanted == nil || wanted(e) {
				out = append(out, rowOf(r, e))
			}
		}
	}
	return out
}

func rowOf(r journal.Proven, e journal.Entry) Row {
	row := Row{Entry: e.Name.String(), Time: clock(e.Wall), Who: actor(e.Actor), Says: said(e), Acked: e.Name.Seq <= r.Through}
	if why, held := r.Held[e.Name.Seq]; held {
		row.Held = plain(why)
	}
	return row
}

func clock(ms int64) string { return time.UnixMilli(ms).In(money.CST).Format("2006-01-02 15:04:05") }

// plain keeps what was said elsewhere from writing on the terminal screen of
// who reads it.
func plain(s string) string { return strings.Trim(strconv.Quote(s), `"`) }

func actor(a journal.Actor) string {
	switch a.Kind {
	case journal.ActorSystem:
		return "the machine"
	case journal.ActorClerk:
		return "clerk " + a.ID.String()
	case journal.ActorCustomer:
		return "customer"
	case journal.ActorTechnician:
		return "technician " + a.ID.String()
	case journal.ActorHeadOffice:
		return "head office"
	}
	return fmt.Sprintf("actor %d", a.Kind)
}

var kinds = map[journal.Kind]string{
	journal.KindRedemption: "redemption", journal.KindTopUp: "top-up", journal.KindSale: "sale",
	journal.KindVoid: "void", journal.KindVoidDebit: "void debit",
	journal.KindBill: "cash bill", journal.KindClaim: "claim", journal.KindBlock: "block", journal.KindReplace: "replace", journal.KindEmptied: "damaged card emptied",
}

func result(r journal.Result) string {
	switch r {
	case journal.Done:
		return "done"
	case journal.NotDone:
		return "not done"
	case journal.Unknown:
		return "unknown"
	case journal.Pending:
		return "no outcome shown here"
	}
	return fmt.Sprintf("result %d", r)
}

// decided puts what the utility decided in words.
func decided(d journal.Decided) string {
	s := result(d.Result)
	if d.Code != "" {
		s += ", " + plain(d.Code)
	}
	return s
}

func to(a money.AccountNumber) string {
	if a == 0 {
		return ""
	}
	s := a.String()
	return " to account …" + s[len(s)-4:]
}

func after(a money.Fen) string {
	if a == journal.NoBalance {
		return ""
	}
	return fmt.Sprintf(", card holds %s", a)
}

func proof(has bool) string {
	if has {
		return ", with the card's TAC"
	}
	return ""
}

// said puts an entry in words.
func said(e journal.Entry) string {
	of := ""
	if !e.Ref.IsZero() {
		of = fmt.Sprintf(" of %s", e.Ref.Of(e.Name.Terminal))
	}
	switch b := e.Body.(type) {
	case *journal.Start:
		return "the daemon started, " + plain(b.Software)
	case *journal.ShiftOpen:
		return fmt.Sprintf("shift %d opened with %s in the drawer", b.Number, b.Cash)
	case *journal.ShiftClose:
		return fmt.Sprintf("shift %d closed: counted %s, expected %s, %d unknown", b.Number, b.Counted, b.Expected, b.Unknown)
	case *journal.PurchaseIntent:
		return fmt.Sprintf("about to debit %s from card …%s holding %s%s", b.Amount, b.Card.Last4(), b.Before, to(b.Account))
	case *journal.PurchaseOutcome:
		return "debit" + of + ": " + result(b.Result) + proof(b.HasTAC) + after(b.After)
	case *journal.LoadIntent:
		return fmt.Sprintf("about to load %s onto card …%s holding %s, cash taken %s", b.Amount, b.Card.Last4(), b.Before, b.Tendered)
	case *journal.LoadAuthorised:
		return "the authority gave MAC2 for the load" + of
	case *journal.LoadOutcome:
		return "load" + of + ": " + result(b.Result) + proof(b.HasTAC) + after(b.After)
	case *journal.CashReturned:
		return fmt.Sprintf("cash %s returned for the load or bill%s", b.Amount, of)
	case *journal.BillIntent:
		return fmt.Sprintf("about to ask for a bill of %s%s, cash taken %s", b.Amount, to(b.Account), b.Tendered)
	case *journal.BillOutcome:
		return "bill" + of + ": " + decided(b.Decided)
	case *journal.ClaimIntent:
		how := "in cash"
		if b.How == journal.PayoutLoad {
			how = "onto card …" + b.Card.Last4()
		}
		return fmt.Sprintf("about to ask for the claim %s, %s %s", b.Claim, b.Amount, how)
	case *journal.ClaimOutcome:
		return "claim paid out" + of + ": " + decided(b.Decided)
	case *journal.CardRequest:
		if b.Wish == journal.WishReplace {
			return fmt.Sprintf("card …%s can't be read, its replacement asked for", b.Card.Last4())
		}
		return fmt.Sprintf("card …%s is lost, its block asked for", b.Card.Last4())
	case *journal.CardAnswer:
		return "request about a card" + of + ": " + decided(b.Decided)
	case *journal.CardSale:
		return fmt.Sprintf("card …%s sold, deposit %s", b.Card.Last4(), b.Deposit)
	case *journal.VoidRequest:
		return fmt.Sprintf("void of the top-up%s asked for, %s on card …%s", of, b.Amount, b.Card.Last4())
	case *journal.VoidAnswer:
		if b.Agreed {
			return "void" + of + ": the utility agreed"
		}
		return "void" + of + ": not agreed, " + plain(b.Code)
	case *journal.SAMReport:
		return "the load SAM's report of its own counters"
	case *journal.Observation:
		return fmt.Sprintf("card …%s seen, about %s%s", b.Card.Last4(), b.Item, proof(b.HasTAC))
	case *journal.Staff:
		text := fmt.Sprintf("%s, staff %s", strings.ReplaceAll(b.Act.String(), "_", " "), b.Staff)
		if b.Count > 1 {
			text += fmt.Sprintf(", %d times", b.Count)
		}
		if b.Detail != "" {
			text += ": " + plain(b.Detail)
		}
		return text
	}
	return fmt.Sprintf("an entry of type %d", e.Body.Type())
}
