package kiosk

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/receipt"
	"github.com/dianka/dianka/terminal"
)

// Printer prints slips. No method but Check may block, and Check only as long
// as its ctx.
type Printer interface {
	Status() printer.Status                   // what it last said
	Check(ctx context.Context) printer.Status // what it says now
	Changes() <-chan struct{}                 // closed at the next change
	Print(printer.Job, func(printer.Result))  // the function is called once
}

// When slips of what is certain are printed. What is not certain always is.
const (
	SlipAlways = "always"
	SlipAsk    = "ask" // when the person asks for it
)

// Slips says what slips look like and when they are printed.
type Slips struct {
	Shop    string        // the printed name; empty: Config.Shop
	Issuer  string        // who issued the cards, may be empty
	Hotline string        // empty: 95598
	Lang    string        // of words.Languages, where the person did not choose; empty: the first
	Paper   receipt.Paper // of the printer and the pictures
	Counter string        // SlipAlways or SlipAsk; empty: always
	Kiosk   string        // empty: ask
}

const (
	checkWait = 1500 * time.Millisecond // a money call waits for the printer to say how it is
	printWait = 8 * time.Second         // a person waits to hear that the paper came out
	ownSlip   = 3 * time.Minute         // a kiosk may show and print what was done at it
	keptSlips = 1024                    // whose fate is remembered
)

// slipBody is what every money call may say of its slip.
type slipBody struct {
	Slip   bool   `json:"slip,omitempty"`    // print it although it is printed when asked for only
	NoSlip bool   `json:"no_slip,omitempty"` // go on without one, as when the printer has no paper
	Lang   string `json:"lang,omitempty"`
}

func (b slipBody) slips() slipBody { return b }

type hasSlip interface{ slips() slipBody }

// slipKey names a slip: a transaction has one, and another when it was not
// certain and is settled later; an X or a Z has one.
type slipKey struct {
	name    journal.Name // of a report the entry that it reaches to
	settles bool
	report  bool

	settlement bool // of the shift that the entry closed
}

// slipRecord is what became of a slip since the start.
type slipRecord struct {
	state   string // "none", "printing", or a printer.Fate
	why     string // a printer.State or printer.Why, when it did not come out
	copy    uint32 // which reprint, 0: the first print
	settled bool   // the outcome was certain when the slip was made
	session *session
	at      time.Time
	done    chan struct{} // closed when state is not "printing" any more
}

// came reports whether the slip may be on paper.
func (r *slipRecord) came() bool { return r.state != "none" && r.state != string(printer.NotPrinted) }

// spool remembers slips. It lives in memory only: after a restart a slip of
// which nothing is known counts as one that came out.
type spool struct {
	mu      sync.Mutex
	records map[slipKey]*slipRecord
	order   []slipKey
	last    slipKey // newest that was sent to the printer
	flight  map[journal.Token]int
	changed chan struct{}
	one     sync.Mutex // one print call at a time
}

func newSpool() *spool {
	return &spool{records: map[slipKey]*slipRecord{}, flight: map[journal.Token]int{}, changed: make(chan struct{})}
}

// changes gives a channel that is closed at the next change.
func (s *spool) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *spool) bump() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *spool) get(k slipKey) (slipRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[k]
	if r == nil {
		return slipRecord{}, false
	}
	return *r, true
}

// put begins or renews a record.
func (s *spool) put(k slipKey, r slipRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[k] == nil {
		s.order = append(s.order, k)
		if len(s.order) > keptSlips {
			delete(s.records, s.order[0])
			s.order = s.order[1:]
		}
	}
	s.records[k] = &r
	if r.state != "none" {
		s.last = k
	}
	s.bump()
}

// begin says that a money call with a token is under way, and whether another
// one is already.
func (s *spool) begin(tok journal.Token) (other bool, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight[tok]++
	return s.flight[tok] > 1, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.flight[tok]--; s.flight[tok] == 0 {
			delete(s.flight, tok)
		}
	}
}

// checkPrinter asks the printer how it is.
func (s *Server) checkPrinter(ctx context.Context) printer.Status {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	return s.cfg.Printer.Check(ctx)
}

// mayPrint finds out before money is taken that no slip could be printed:
// even a customer who wants none gets one when the outcome is not certain. A
// call that only asks again for what was begun is never refused here, since
// that refusal would say that nothing happened. known is true for such.
func (s *Server) mayPrint(ctx context.Context, tok journal.Token, want slipBody) (known bool, end func(), err error) {
	if s.cfg.Printer == nil {
		return false, func() {}, nil
	}
	other, end := s.spool.begin(tok)
	known, err = s.cfg.Terminal.Known(tok)
	if err != nil {
		return other, end, nil // a file that can't be read: the call itself says that nothing is done
	}
	if known || other || want.NoSlip {
		return known || other, end, nil
	}
	if st := s.checkPrinter(ctx); !st.Good() {
		return false, end, &terminal.Refusal{Code: CodePrinter, Detail: string(st.State())}
	}
	return false, end, nil
}

// printAfter prints the slip of a money call when it is due.
func (s *Server) printAfter(m *wish, rc terminal.Receipt, overall string, want slipBody, known bool) {
	if s.cfg.Printer == nil || known {
		return
	}
	mode := s.cfg.Slips.Counter
	if m.staff == nil {
		mode = s.cfg.Slips.Kiosk
	}
	k := slipKey{name: rc.Name}
	if r, ok := s.spool.get(k); ok && r.came() && m.name.IsZero() {
		return
	}
	rec := slipRecord{state: "none", session: m.s, at: time.Now(), settled: overall != "unknown"}
	if overall == "unknown" || !want.NoSlip && (want.Slip || mode == SlipAlways) {
		s.printSlip(k, rec, receipt.Slip{Transaction: rc.Transaction, Child: rc.Child, Hash: rc.Hash, Wanted: m.wanted, Lang: want.Lang})
		return
	}
	s.spool.put(k, rec)
}

// printSlip prints the slip of a transaction.
func (s *Server) printSlip(k slipKey, rec slipRecord, sl receipt.Slip) (done <-chan struct{}) {
	sl.Settles, sl.Copy = k.settles, int(rec.copy)
	return s.print(k, rec, s.slip(sl))
}

// print sends a slip to the printer and remembers what becomes of it.
func (s *Server) print(k slipKey, rec slipRecord, doc receipt.Doc) (done <-chan struct{}) {
	rec.state, rec.done = "printing", make(chan struct{})
	s.spool.put(k, rec)
	s.cfg.Printer.Print(printer.Job{Bytes: doc.ESCPOS(s.cfg.Slips.Paper), Lines: len(doc.Lines)}, func(r printer.Result) {
		end := rec
		end.state = string(r.Fate)
		if r.Fate != printer.Printed {
			end.why = string(r.State)
			if r.Why != printer.WhyState {
				end.why = string(r.Why)
			}
			s.log.Warn("a slip did not come out well", "slip", k.name, "fate", r.Fate, "why", end.why)
		}
		s.spool.put(k, end)
		close(rec.done)
	})
	return rec.done
}

// slip makes the document of a slip, with what is known here and now.
func (s *Server) slip(sl receipt.Slip) receipt.Doc {
	st := s.cfg.Terminal.Status()
	sl.Head, sl.Lang = s.head(st), s.slipLang(sl.Lang)
	sl.Offline = !st.Online
	if st.Card.Number == sl.Transaction.Card && !st.Card.Number.IsZero() {
		sl.Card = receipt.CardFacts{Known: true, Named: st.Card.Named, ValidTo: st.Card.ValidTo}
	}
	last := sl.Transaction
	if sl.Child != nil {
		last = *sl.Child
	}
	switch {
	case sl.Transaction.VoidAnswer != nil && s.words.has("utility."+sl.Transaction.VoidAnswer.Code):
		sl.Why = s.words.in(sl.Lang, "utility."+sl.Transaction.VoidAnswer.Code)
	case last.Reason != journal.ReasonNone:
		sl.Why = s.words.in(sl.Lang, "reason."+reasons[last.Reason]+".sentence")
	}
	return receipt.Of(sl)
}

func (s *Server) head(st terminal.Status) receipt.Head {
	c := s.cfg.Slips
	return receipt.Head{Shop: c.Shop, ShopID: st.Shop, Terminal: st.Terminal, Issuer: c.Issuer, Hotline: c.Hotline, Logo: c.Paper.Logo != nil}
}

// slipLang is the language that a person chose, or that of the slips here.
func (s *Server) slipLang(want string) string {
	if want == "" {
		want = s.cfg.Slips.Lang
	}
	return words.Language(want)
}

// keyOf tells which slip of a transaction is meant now: that of its end when
// it was not certain and its end was not on the first one.
func (s *Server) keyOf(rc terminal.Receipt) slipKey {
	k := slipKey{name: rc.Name}
	was, open := rc.WasUnknown, rc.Open()
	if rc.Child != nil {
		was, open = was || rc.Child.WasUnknown, open || rc.Child.Open()
	}
	if r, ok := s.spool.get(k); ok && r.settled {
		return k
	}
	k.settles = was && !open
	return k
}

// settled lists what the card in the reader just settled, by the numbers that
// people hold: the first load of a sale, the load of a claim and the debit of a
// void have no slip of their own.
func (s *Server) settled(c terminal.CardView) []journal.Name {
	list := make([]journal.Name, 0, len(c.Settled))
	for _, n := range c.Settled {
		rc, err := s.cfg.Terminal.Transaction(n)
		if err == nil && !rc.Parent.IsZero() && (rc.Kind == journal.KindTopUp || rc.Kind == journal.KindVoidDebit) {
			n = rc.Parent.Of(n.Terminal)
		}
		list = append(list, n)
	}
	return list
}

// printSettled prints the slip of what the card in the reader just settled,
// once for each, until ctx ends.
func (s *Server) printSettled(ctx context.Context) {
	if s.cfg.Printer == nil {
		return
	}
	changes := s.cfg.Terminal.Changes(ctx)
	for {
		for _, n := range s.settled(s.cfg.Terminal.Status().Card) {
			rc, err := s.cfg.Terminal.Transaction(n)
			if err != nil {
				s.log.Error("the slip of a settled transaction", "slip", n, "err", err)
				continue
			}
			k := s.keyOf(rc)
			if _, done := s.spool.get(k); done || !k.settles {
				continue
			}
			s.printSlip(k, slipRecord{at: time.Now(), settled: true}, receipt.Slip{Transaction: rc.Transaction, Child: rc.Child, Hash: rc.Hash})
		}
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				return
			}
		}
	}
}

// slipOf finds the transaction of the path for who may have its slip: the
// shop's people, the kiosk for what its card settled, and for a while for what
// was done at it.
func (s *Server) slipOf(r *http.Request, act bool) (caller, terminal.Receipt, error) {
	c := s.door.caller(r, act)
	n, err := journal.ParseName(r.PathValue("id"))
	mine := false
	if err == nil && c.kiosk {
		rec, ok := s.spool.get(slipKey{name: n})
		mine = ok && rec.session == c.s && time.Since(rec.at) < ownSlip || slices.Contains(s.settled(s.cfg.Terminal.Status().Card), n)
	}
	if !mine {
		if err := s.staffOnly(r); err != nil {
			return c, terminal.Receipt{}, err
		}
	}
	if err != nil {
		return c, terminal.Receipt{}, refusal(terminal.CodeNotFound)
	}
	rc, err := s.cfg.Terminal.Transaction(n)
	return c, rc, err
}

// getSlip shows a slip as a picture.
func (s *Server) getSlip(w http.ResponseWriter, r *http.Request) {
	_, rc, err := s.slipOf(r, false)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	doc := s.slip(receipt.Slip{
		Transaction: rc.Transaction, Child: rc.Child, Hash: rc.Hash, Lang: r.URL.Query().Get("lang"), Settles: s.keyOf(rc).settles,
	})
	writeSVG(w, doc.SVG(s.cfg.Slips.Paper))
}

func writeSVG(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Write(b)
}

type printBody struct {
	Lang string `json:"lang,omitempty"`
}

// slipView is what became of a slip.
type slipView struct {
	State   string `json:"state"`   // "none", "printing", "printed", "not_printed", "not_certain", or "unknown" before this start
	Why     string `json:"why"`     // a state of the printer, "stale", "full", "stopped", or ""
	Copy    uint32 `json:"copy"`    // which reprint; 0: the first print
	Settles bool   `json:"settles"` // it tells how an outcome that was not certain ended
	Words   Words  `json:"words"`
}

func (s *Server) slipView(rc terminal.Receipt) *slipView {
	return s.fate(s.keyOf(rc))
}

// fate is what became of a slip; nil without a printer.
func (s *Server) fate(k slipKey) *slipView {
	if s.cfg.Printer == nil {
		return nil
	}
	v := slipView{State: "unknown", Settles: k.settles}
	if r, ok := s.spool.get(k); ok {
		v.State, v.Why, v.Copy = r.state, r.why, r.copy
	}
	v.Words = s.words.words("slip_state." + v.State)
	return &v
}

// postPrint prints a slip. One that certainly did not come out yet is a first
// print; every other is a reprint, which takes a right, is marked, and is
// counted in the journal before it is sent.
func (s *Server) postPrint(w http.ResponseWriter, r *http.Request) {
	v, err := s.printCall(w, r)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) printCall(w http.ResponseWriter, r *http.Request) (*slipView, error) {
	if _, err := s.allowed(r, ""); err != nil {
		return nil, err
	}
	c, rc, err := s.slipOf(r, true)
	if err != nil {
		return nil, err
	}
	var b printBody
	if err := readBody(w, r, &b); err != nil {
		return nil, err
	}
	if s.cfg.Printer == nil {
		return nil, &terminal.Refusal{Code: CodePrinter, Detail: "none"}
	}
	ctx := context.WithoutCancel(r.Context())
	s.spool.one.Lock()
	done, err := s.printNow(ctx, r, c, rc, b.Lang)
	s.spool.one.Unlock()
	if err != nil {
		return nil, err
	}
	awaitPaper(done)
	return s.slipView(rc), nil
}

// awaitPaper waits until a slip is out or failed, as long as a person waits.
func awaitPaper(done <-chan struct{}) {
	wait := time.NewTimer(printWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
}

// printNow begins the print of a slip. One that is being printed is not begun
// again: a second click waits for the first.
func (s *Server) printNow(ctx context.Context, r *http.Request, c caller, rc terminal.Receipt, lang string) (<-chan struct{}, error) {
	k := s.keyOf(rc)
	rec, known := s.spool.get(k)
	if rec.state == "printing" {
		return rec.done, nil
	}
	again := !known || rec.came()
	if again {
		if _, err := s.allowed(r, RightReprint); err != nil {
			return nil, err
		}
	}
	if st := s.checkPrinter(ctx); !st.Good() {
		return nil, &terminal.Refusal{Code: CodePrinter, Detail: string(st.State())}
	}
	if again {
		n, err := s.cfg.Terminal.Reprint(ctx, c.who(), rc.Name)
		if err != nil {
			return nil, err
		}
		rec.copy = n
	}
	if !known {
		rec.at, rec.settled = time.Now(), !k.settles && !rc.Open()
	}
	rec.why = ""
	return s.printSlip(k, rec, receipt.Slip{Transaction: rc.Transaction, Child: rc.Child, Hash: rc.Hash, Lang: lang}), nil
}

// printerView is the printer on the screens.
type printerView struct {
	State    printer.State `json:"state"`
	Ready    bool          `json:"ready"`
	PaperLow bool          `json:"paper_low"`
	Sentence Words         `json:"sentence"`
	Next     Words         `json:"next"`
	Last     *lastSlip     `json:"last"` // for a clerk: the newest slip; null before one
}

type lastSlip struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Why   string `json:"why"`
	Copy  uint32 `json:"copy"`
	Words Words  `json:"words"`
}

func (s *Server) printerView(clerk bool) *printerView {
	if s.cfg.Printer == nil {
		return nil
	}
	st := s.cfg.Printer.Status()
	key := string(st.State())
	if st.Good() && st.PaperLow {
		key = "paper_low"
	}
	v := &printerView{State: st.State(), Ready: st.Good(), PaperLow: st.PaperLow,
		Sentence: s.words.words("printer." + key + ".sentence"), Next: s.words.words("printer." + key + ".next")}
	if clerk {
		s.spool.mu.Lock()
		defer s.spool.mu.Unlock()
		if r := s.spool.records[s.spool.last]; r != nil {
			v.Last = &lastSlip{s.spool.last.name.String(), r.state, r.why, r.copy, s.words.words("slip_state." + r.state)}
		}
	}
	return v
}

// printerChanges is closed when the printer's state changes; nil without one.
func (s *Server) printerChanges() <-chan struct{} {
	if s.cfg.Printer == nil {
		return nil
	}
	return s.cfg.Printer.Changes()
}

// ErrSlips means that the settings of slips are not usable.
var ErrSlips = errors.New("kiosk: slips: counter and kiosk are always or ask")

func (c *Config) fillSlips() error {
	l := &c.Slips
	if l.Shop == "" {
		l.Shop = c.Shop
	}
	if l.Counter == "" {
		l.Counter = SlipAlways
	}
	if l.Kiosk == "" {
		l.Kiosk = SlipAsk
	}
	for _, m := range []string{l.Counter, l.Kiosk} {
		if m != SlipAlways && m != SlipAsk {
			return ErrSlips
		}
	}
	return nil
}

var _ Printer = (*printer.Printer)(nil)

// PaperDesk is a Desk with a simulated printer.
type PaperDesk interface {
	Paper() []byte            // SVG of what came out last
	PrinterCondition() string // "ok", "paper_out", "cover_open", "offline" or "unplugged"
	SetPrinter(condition string) error
}

type deskPrinterBody struct {
	State string `json:"state"`
}
