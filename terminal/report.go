package terminal

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// MaxReports is how many closed shifts can be looked at.
const MaxReports = 50

// maxList bounds the lists of what is unsent and what needs attention.
const maxList = 100

// ShiftReport is a shift as its entries tell it: of an open one the X report,
// of a closed one the Z, which never changes. Sums of the Shift are of what
// happened in the shift; Kinds and Clerks are of what was begun in it, as it
// stood at the end.
type ShiftReport struct {
	store.Shift
	Closing   journal.Name // the ShiftClose; zero while the shift is open
	ClosedBy  money.StaffID
	Takings   Takings                  // by kind
	Kinds     []KindSum                // by kind
	Clerks    []ClerkSum               // by number
	Acts      map[journal.Act]uint32   // what staff did that moves no value
	Owed      uint32                   // top-ups begun here, not done, whose cash was not given back
	OwedCash  money.Fen                // cash of those
	Unsent    uint64                   // entries; at the close, or now
	Partial   bool                     // the file was made anew since and holds no more of it than its close
	Explained *journal.ShiftDifference // nil: there is no difference, or nobody said why yet
}

// Difference is what was counted less what should have been there; 0 while the
// shift is open.
func (r ShiftReport) Difference() money.Fen {
	if !r.Closed {
		return 0
	}
	return r.Counted - r.Expected
}

// Takings are the cash of a shift by what it was taken and given out for. Each
// fen of them went out of the shop's float, or into it: the sum is what the
// drawer owes it, and with it the utility.
type Takings struct {
	TopUps   money.Fen // taken for top-ups and first loads, also not certain or still owed to the customer
	Bills    money.Fen // and for bills
	Deposits money.Fen // of cards that were sold
	Voids    money.Fen // given out for voids
	Claims   money.Fen // and for claims
	Returned money.Fen // and back for what an earlier shift had taken
}

// Net is what was taken less what was given out: CashIn − CashOut.
func (t Takings) Net() money.Fen {
	return t.TopUps + t.Bills + t.Deposits - t.Voids - t.Claims - t.Returned
}

// add takes one entry of the shift that open begins. The rules are those of
// the shift's CashIn and CashOut.
func (t *Takings) add(e journal.Entry, before, after *journal.Transaction, open journal.Ref) {
	taken := func(tx *journal.Transaction) bool {
		return tx != nil && (tx.Bill != nil || tx.Load.Tendered > 0 || tx.Result == journal.Done || tx.Result == journal.Unknown)
	}
	here := after.Name.Epoch > open.Epoch || after.Name.Epoch == open.Epoch && after.Name.Seq >= open.Seq
	done := after.Result == journal.Done && (before == nil || before.Result != journal.Done)
	switch {
	case after.Load != nil || after.Bill != nil:
		sum := &t.TopUps
		if after.Bill != nil {
			sum = &t.Bills
		}
		if taken(after) && !taken(before) {
			*sum += after.Amount
		}
		if b, ok := e.Body.(*journal.CashReturned); ok {
			if !here || after.Load != nil && after.Load.Tendered == 0 {
				t.Returned += b.Amount
			} else {
				*sum -= b.Amount
			}
		}
	case after.Claim != nil && done:
		t.Claims += after.Amount
	case after.Sale != nil:
		t.Deposits += after.Amount
	case after.Kind == journal.KindVoidDebit && done:
		t.Voids += after.Amount
	}
}

// KindSum adds up the transactions of one kind.
type KindSum struct {
	Kind                   journal.Kind
	Done, NotDone, Unknown uint32
	Amount                 money.Fen // of those done
	UnknownAmount          money.Fen
}

// ClerkSum adds up what one clerk began. Voids beside top-ups is what a shop's
// owner looks at.
type ClerkSum struct {
	Clerk        money.StaffID
	Count        uint32 // transactions
	TopUps       uint32 // done
	TopUpAmount  money.Fen
	Voids        uint32 // done
	VoidAmount   money.Fen
	CashReturned uint32
	Refused      uint32                 // wishes without the right to them
	Acts         map[journal.Act]uint32 // of this clerk
}

// Report is the report of the latest shift: an X while it is open. It is
// CodeNoShift before the first.
func (t *Terminal) Report() (ShiftReport, error) {
	sh, ok, err := t.cfg.Store.Shift()
	switch {
	case err != nil:
		return ShiftReport{}, err
	case !ok:
		return ShiftReport{}, refuse(CodeNoShift)
	case sh.Closed:
		return t.reportOf(sh.Close)
	}
	return t.openReport(sh)
}

// Reports lists the closes of the last max shifts, newest first, without what
// happened in them; ReportOf has that.
func (t *Terminal) Reports(max int) ([]ShiftReport, error) {
	list, err := t.cfg.Store.Closes(min(max, MaxReports))
	if err != nil {
		return nil, err
	}
	out := make([]ShiftReport, 0, len(list))
	for _, e := range list {
		r, err := t.closed(e)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// ReportOf is the Z report of one of the last MaxReports shifts. It fails with
// CodeNotFound.
func (t *Terminal) ReportOf(number uint32) (ShiftReport, error) {
	list, err := t.cfg.Store.Closes(MaxReports)
	if err != nil {
		return ShiftReport{}, err
	}
	for _, e := range list {
		if e.Body.(*journal.ShiftClose).Number == number {
			return t.reportOf(e.Name.Ref())
		}
	}
	return ShiftReport{}, refuse(CodeNotFound)
}

// closed is what the entries of a close say themselves.
func (t *Terminal) closed(e journal.Entry) (ShiftReport, error) {
	b := e.Body.(*journal.ShiftClose)
	r := ShiftReport{Shift: store.Shift{
		Number: b.Number, Open: e.Ref, Unknown: b.Unknown, Closed: true, Close: e.Name.Ref(), ClosedAt: e.Wall, Counted: b.Counted, Expected: b.Expected,
	}, Closing: e.Name, ClosedBy: e.Actor.ID, Unsent: uint64(b.Unsent)}
	if open, err := t.cfg.Store.Entry(e.Ref); err == nil {
		if b, ok := open.Body.(*journal.ShiftOpen); ok {
			r.Clerk, r.Opened, r.OpeningCash = open.Actor.ID, open.Wall, b.Cash
		}
	} else if !errors.Is(err, store.ErrNotFound) { // before what the file has
		return r, err
	}
	about, err := t.cfg.Store.About(e.Name.Ref())
	for _, a := range about {
		if b, ok := a.Body.(*journal.ShiftDifference); ok && r.Explained == nil {
			r.Explained = b
		}
	}
	return r, err
}

func (t *Terminal) reportOf(ref journal.Ref) (ShiftReport, error) {
	e, err := t.cfg.Store.Entry(ref)
	if err != nil {
		return ShiftReport{}, err
	}
	if _, ok := e.Body.(*journal.ShiftClose); !ok {
		return ShiftReport{}, refuse(CodeNotFound)
	}
	r, err := t.closed(e)
	if err != nil {
		return r, err
	}
	unknown := r.Unknown
	if err := t.replay(&r, r.Open, ref); err != nil {
		return r, err
	}
	r.Unknown = unknown // all that were unknown, of whatever shift
	return r, nil
}

func (t *Terminal) openReport(sh store.Shift) (ShiftReport, error) {
	r := ShiftReport{Shift: sh, Unsent: t.cfg.Store.Unsent().Count}
	h := t.cfg.Store.Head()
	if err := t.replay(&r, sh.Open, journal.Ref{Epoch: h.Epoch, Seq: h.Seq}); err != nil {
		return r, err
	}
	n, err := t.cfg.Store.CountOpen()
	r.Unknown = uint32(n)
	return r, err
}

// replay fills a report from the entries of its shift.
func (t *Terminal) replay(r *ShiftReport, open, end journal.Ref) error {
	begun := map[journal.Ref]journal.Transaction{}
	clerks := map[money.StaffID]*ClerkSum{}
	by := func(a journal.Actor) *ClerkSum {
		if a.Kind != journal.ActorClerk && a.Kind != journal.ActorTechnician { // both have numbers of one list
			return &ClerkSum{Acts: map[journal.Act]uint32{}} // of nobody
		}
		if clerks[a.ID] == nil {
			clerks[a.ID] = &ClerkSum{Clerk: a.ID, Acts: map[journal.Act]uint32{}}
		}
		return clerks[a.ID]
	}
	r.Acts, r.Takings = map[journal.Act]uint32{}, Takings{}
	sh, ok, err := t.cfg.Store.Replay(open, end, func(e journal.Entry, before, after *journal.Transaction) {
		switch b := e.Body.(type) {
		case *journal.Staff:
			r.Acts[b.Act] += b.Count
			c := by(e.Actor)
			c.Acts[b.Act] += b.Count
			if b.Act == journal.ActRefused {
				c.Refused += b.Count
			}
		case *journal.CashReturned:
			by(e.Actor).CashReturned++
		case *journal.ClaimOutcome:
			if b.Result == journal.Done && after != nil && t.ownCash(after.Claim) {
				by(after.Actor).CashReturned++
			}
		}
		if after == nil {
			return
		}
		r.Takings.add(e, before, after, open)
		if ref := after.Name.Ref(); before == nil {
			by(e.Actor).Count++
			begun[ref] = *after
		} else if _, here := begun[ref]; here {
			begun[ref] = *after
		}
	})
	if err != nil {
		return err
	}
	r.Partial = !ok
	if ok {
		r.Shift = sh
	}
	kinds := map[journal.Kind]*KindSum{}
	for _, tx := range begun {
		k := kinds[tx.Kind]
		if k == nil {
			k = &KindSum{Kind: tx.Kind}
			kinds[tx.Kind] = k
		}
		switch {
		case tx.Result == journal.Done:
			k.Done++
			k.Amount += tx.Amount
			switch c := by(tx.Actor); tx.Kind {
			case journal.KindTopUp:
				c.TopUps++
				c.TopUpAmount += tx.Amount
			case journal.KindVoidDebit:
				c.Voids++
				c.VoidAmount += tx.Amount
			}
		case tx.Open():
			k.Unknown++
			k.UnknownAmount += tx.Amount
		default:
			k.NotDone++
		}
		if owed, err := t.owed(tx); err != nil {
			return err
		} else if owed {
			r.Owed++
			r.OwedCash += tx.Amount
		}
	}
	r.Kinds, r.Clerks = []KindSum{}, []ClerkSum{}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		r.Kinds = append(r.Kinds, *kinds[k])
	}
	for _, c := range clerks {
		r.Clerks = append(r.Clerks, *c)
	}
	slices.SortFunc(r.Clerks, func(a, b ClerkSum) int { return cmp.Compare(a.Clerk, b.Clerk) })
	return nil
}

// ownCash reports whether a claim gives back the cash that this terminal took
// itself, once the utility had heard of it.
func (t *Terminal) ownCash(c *journal.ClaimIntent) bool {
	return c != nil && c.Claim.Terminal == t.id() && c.How == journal.PayoutCash
}

// owed reports whether the customer's cash is in the drawer for nothing: it
// was neither given back nor paid out here as a claim.
func (t *Terminal) owed(tx journal.Transaction) (bool, error) {
	taken := tx.Load != nil && tx.Load.Tendered > 0 || tx.Bill != nil
	if !taken || tx.Result != journal.NotDone || tx.CashReturned {
		return false, nil
	}
	collected, err := t.collected(tx.Name)
	return !collected && err == nil, err
}

// Attention is what a person who closes a shift must know of now, at most 100
// of each, newest first.
type Attention struct {
	Unknown []Receipt // transactions that are not settled
	Owed    []Receipt // cash taken, nothing loaded, not given back; of the last 500 transactions
	Unsent  []Receipt // transactions that the utility has not acknowledged
}

// Attention looks for what needs a person.
func (t *Terminal) Attention() (a Attention, err error) {
	receipts := func(txs []journal.Transaction) (out []Receipt, err error) {
		for _, tx := range txs[:min(len(txs), maxList)] {
			r, err := t.receipt(tx)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		return out, nil
	}
	open, err := t.cfg.Store.OpenTransactions()
	if err != nil {
		return a, err
	}
	slices.Reverse(open)
	if a.Unknown, err = receipts(open); err != nil {
		return a, err
	}
	recent, err := t.cfg.Store.Recent(recentForBill, journal.Ref{})
	if err != nil {
		return a, err
	}
	acked := map[uint32]uint64{}
	for _, e := range t.cfg.Store.Epochs() {
		acked[e.Head.Epoch] = e.Acked
	}
	var owing, unsent []journal.Transaction
	for _, tx := range recent {
		if owed, err := t.owed(tx); err != nil {
			return a, err
		} else if owed {
			owing = append(owing, tx)
		}
		if tx.Name.Seq > acked[tx.Name.Epoch] {
			unsent = append(unsent, tx)
		}
	}
	if a.Owed, err = receipts(owing); err != nil {
		return a, err
	}
	a.Unsent, err = receipts(unsent)
	return a, err
}

// ExplainRequest says why the cash of a closed shift was not what it should
// be.
type ExplainRequest struct {
	Token  journal.Token
	Who    Who
	Number uint32 // of the shift
	Cause  journal.Cause
	Note   string // at most journal.MaxNote characters; CauseOther needs one
}

// Explain writes the reason of a difference. The count is not touched: it was
// made blind and stands. The same request again answers the same; another for
// the same shift is refused, since the first reason stands.
func (t *Terminal) Explain(ctx context.Context, r ExplainRequest) (ShiftReport, error) {
	if err := t.begin(ctx); err != nil {
		return ShiftReport{}, err
	}
	defer t.release()
	if err := byClerk(r.Who); err != nil {
		return ShiftReport{}, err
	}
	if r.Token == (journal.Token{}) {
		return ShiftReport{}, errNoToken
	}
	if e, ok, err := t.marked(r.Token); err != nil {
		return ShiftReport{}, err
	} else if ok {
		b, ok := e.Body.(*journal.ShiftDifference)
		if !ok || b.Cause != r.Cause || b.Note != r.Note {
			return ShiftReport{}, refuse(CodeTokenReused)
		}
		rep, err := t.reportOf(e.Ref)
		if err == nil && rep.Number != r.Number {
			err = refuse(CodeTokenReused)
		}
		return rep, err
	}
	rep, err := t.ReportOf(r.Number)
	switch {
	case err != nil:
		return ShiftReport{}, err
	case rep.Difference() == 0:
		return ShiftReport{}, refuse(CodeNoDifference)
	case rep.Explained != nil:
		return ShiftReport{}, refuse(CodeExplained)
	case r.Cause < journal.CauseUnknown || r.Cause > journal.CauseOther || r.Cause == journal.CauseOther && strings.TrimSpace(r.Note) == "" || !plain(r.Note):
		return ShiftReport{}, refuse(CodeNote)
	}
	if _, err := t.append(ctx, store.Draft{Actor: r.Who, Ref: rep.Closing.Ref(), Body: &journal.ShiftDifference{
		Token: r.Token, Difference: rep.Difference(), Cause: r.Cause, Note: r.Note,
	}}); err != nil {
		return ShiftReport{}, err
	}
	return t.reportOf(rep.Closing.Ref())
}

var errNoToken = errors.New("terminal: a request that is written carries no token")

// plain reports whether a note is text of one line that fits.
func plain(note string) bool {
	return utf8.ValidString(note) && utf8.RuneCountInString(note) <= journal.MaxNote &&
		!strings.ContainsFunc(note, func(r rune) bool { return !unicode.IsPrint(r) })
}

// marked finds the entry that a token made, and refuses a token under which
// value moved.
func (t *Terminal) marked(tok journal.Token) (e journal.Entry, ok bool, err error) {
	if tok == (journal.Token{}) {
		return e, false, nil
	}
	if _, used, err := t.cfg.Store.ByToken(tok); err != nil {
		return e, false, err
	} else if used {
		return e, false, refuse(CodeTokenReused)
	}
	return t.cfg.Store.ByMark(tok)
}
