package terminal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// MaintainEvery is how often Run looks after the load SAM's allowance, and asks
// about one thing that is unknown, when
// nothing else makes it.
const MaintainEvery = 15 * time.Second

// Terminal runs the transactions of one terminal. All methods may be called
// from any goroutine; one transaction has the card at a time.
type Terminal struct {
	cfg Config
	log *slog.Logger

	started chan struct{} // closed when the start entry is written, or never will be

	// op is the right to use the card and the SAMs. Whoever holds it may
	// touch session and sams.
	op         chan struct{}
	session    *session // nil when no usable card is in
	sams       sams
	seen       map[observation]bool  // items already observed on this insertion, so that a card is asked once
	doubted    map[journal.Name]bool // ends that the utility told and the card was asked about
	inquired   int                   // questions how something ended that were asked
	inquiredAt time.Time             // of the last one
	unanswered atomic.Bool           // a decision was asked for and not answered since

	reprints sync.Mutex // one at a time counts and writes a reprint

	linkUp chan struct{} // the link is back: look after the load SAM now

	mu      sync.Mutex // guards what Status shows
	view    CardView
	psam    SAMView
	loadSAM SAMView
	allow   AllowanceView
	busy    bool
	stopped bool
	// mistrusted says why the journal and the PSAM do not belong together; no
	// new value moves in this epoch.
	mistrusted Code
	// newest is the latest time on an entry that the utility has not seen, and
	// which entry that is.
	newest     newest
	floatKnown floatKnown // what float added up last
	subs       map[chan struct{}]struct{}
}

// New makes a terminal of its parts. It touches no card and writes nothing;
// Start does.
func New(cfg Config) (*Terminal, error) {
	if cfg.Store == nil || cfg.Card == nil || cfg.PSAM == nil || cfg.Profiles == nil || cfg.Host == nil {
		return nil, errors.New("terminal: Store, Card, PSAM, Profiles and Host must be set")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HostWait == 0 {
		cfg.HostWait = 8 * time.Second
	}
	t := &Terminal{
		cfg:     cfg,
		log:     cfg.Log,
		op:      make(chan struct{}, 1),
		linkUp:  make(chan struct{}, 1),
		seen:    make(map[observation]bool),
		doubted: make(map[journal.Name]bool),
		started: make(chan struct{}),
		view:    CardView{State: CardNone},
		subs:    make(map[chan struct{}]struct{}),
	}
	t.op <- struct{}{} // nobody is served before the start entry is written
	return t, nil
}

// Start opens the SAMs that are in, writes the start entry and classifies
// what the last run left open: a load whose CREDIT was never sent is not
// done, everything else that has no outcome becomes unknown until the card
// is seen. It must be called once, before Run; whoever asks for something
// meanwhile waits for it.
func (t *Terminal) Start(ctx context.Context) error {
	defer t.release()
	defer close(t.started)
	if err := t.recallMistrust(); err != nil {
		return fmt.Errorf("read the journal back: %w", err)
	}
	if err := t.recallNewest(); err != nil {
		return fmt.Errorf("read the journal back: %w", err)
	}
	t.openSAMs(ctx)
	id := t.cfg.Store.Identity()
	start := &journal.Start{Shop: id.Shop, Software: t.cfg.Software, PSAM: t.psam.Serial, LoadSAM: t.loadSAM.Serial}
	if t.cfg.Store.Head().Seq == 0 {
		start.PrevEpoch, start.PrevSeq, start.PrevHash = id.PrevEpoch, id.PrevSeq, id.PrevHash
	}
	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Body: start}); errors.Is(err, store.ErrRemade) {
		t.log.Error("nothing is sold until the terminal is enrolled again; what is unsent is sent", "err", err)
		return nil // what is unknown stays so until the new epoch's start
	} else if err != nil {
		return fmt.Errorf("write the start entry: %w", err)
	}
	return t.recoverStart(ctx)
}

// Run serves the slots until ctx ends: it reads each card that comes in,
// settles what was unknown about it, and keeps the load SAM's allowance.
func (t *Terminal) Run(ctx context.Context) error {
	cards := t.cfg.Card.Events(ctx)
	psams := t.cfg.PSAM.Events(ctx)
	var loads <-chan reader.Event
	if t.cfg.LoadSAM != nil && t.cfg.LoadSAM != t.cfg.PSAM {
		loads = t.cfg.LoadSAM.Events(ctx)
	}
	tick := time.NewTicker(MaintainEvery)
	defer tick.Stop()
	defer t.closeAll()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-cards:
			if !ok {
				return ctx.Err()
			}
			t.Handle(ctx, ev)
		case ev, ok := <-psams:
			if !ok {
				return ctx.Err()
			}
			t.Handle(ctx, ev)
		case ev, ok := <-loads:
			if !ok {
				return ctx.Err()
			}
			t.Handle(ctx, ev)
		case <-t.linkUp:
			t.maintain(ctx)
		case <-tick.C:
			t.maintain(ctx)
		}
	}
}

// Handle does what is to be done about one event of a slot. Run calls it; so
// does a caller that keeps its own time instead of Run, as a simulation does.
func (t *Terminal) Handle(ctx context.Context, ev reader.Event) {
	if ev.Slot == t.cfg.Card.Name() {
		t.cardEvent(ctx, ev)
	} else {
		t.samEvent(ctx, ev)
	}
}

func (t *Terminal) maintain(ctx context.Context) {
	if err := t.Maintain(ctx); err != nil && ctx.Err() == nil {
		t.log.Warn("look after the load SAM and what is unknown", "err", err)
	}
}

// LinkUp says that the utility was heard, so that what waited for it is looked
// after at once. It does not block.
func (t *Terminal) LinkUp() {
	select {
	case t.linkUp <- struct{}{}:
	default:
	}
}

func (t *Terminal) closeAll() {
	t.op <- struct{}{}
	defer t.release()
	t.dropSession(CardView{State: CardNone})
	t.sams.close()
}

// acquire takes the right to use card and SAMs.
func (t *Terminal) acquire(ctx context.Context) error {
	select {
	case t.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuseCause(CodeBusy, ctx.Err())
	}
}

func (t *Terminal) release() { <-t.op }

// begin is acquire for a transaction: it also refuses when the file could
// not be written.
func (t *Terminal) begin(ctx context.Context) error {
	if err := t.acquire(ctx); err != nil {
		return err
	}
	if t.isStopped() {
		t.release()
		return refuse(CodeStopped)
	}
	if _, waiting := t.cfg.Store.Remade(); waiting {
		t.release()
		return refuse(CodeRemade)
	}
	return nil
}

// append writes entries durably. After an error that leaves the outcome of
// the write open, the terminal serves nothing more: the file must be reopened
// and read back first (storage-sync.md section 1.3).
func (t *Terminal) append(ctx context.Context, d ...store.Draft) ([]journal.Entry, error) {
	e, err := t.cfg.Store.Append(ctx, d...)
	if err := t.written(ctx, err); err != nil {
		return nil, err
	}
	t.seenWall(e[len(e)-1])
	t.changed()
	return e, nil
}

// written judges the error of a write.
func (t *Terminal) written(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull):
		return refuseCause(CodeFull, err)
	case errors.Is(err, store.ErrRemade):
		return refuseCause(CodeRemade, err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	}
	t.log.Error("the journal could not be written; the terminal stops", "err", err)
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.changed()
	return refuseCause(CodeStopped, err)
}

// isStopped reports whether the file could not be written, by a transaction
// or by whoever else writes to it, such as the link.
func (t *Terminal) isStopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped || errors.Is(t.cfg.Store.Err(), store.ErrStopped)
}

func (t *Terminal) setBusy(b bool) {
	t.mu.Lock()
	t.busy = b
	t.mu.Unlock()
	t.changed()
}

func (t *Terminal) now() time.Time { return t.cfg.Clock() }

func (t *Terminal) id() money.TerminalID { return t.cfg.Store.Identity().Terminal }

// Changes announces that something in Status changed. Announcements are
// folded: after each one, read Status. The channel is closed when ctx ends.
func (t *Terminal) Changes(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	t.mu.Lock()
	t.subs[c] = struct{}{}
	t.mu.Unlock()
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		delete(t.subs, c)
		close(c)
		t.mu.Unlock()
	})
	return c
}

// Changed lets the parts around the terminal, such as the link, announce a
// change.
func (t *Terminal) Changed() { t.changed() }

func (t *Terminal) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Status tells everything that a screen shows of the terminal.
func (t *Terminal) Status() Status {
	st := t.cfg.Store
	id := st.Identity()
	limits, limitsAt, _ := t.limits()
	s := Status{
		Terminal: id.Terminal, Shop: id.Shop, Epoch: id.Epoch, Head: st.Head(),
		Online: t.cfg.Host.Online(), Unsent: st.Unsent(),
		Limits: limits, LimitsAt: limitsAt,
	}
	if h, ok := t.section(wire.SectionHotlist); ok {
		s.HotlistAt = time.UnixMilli(h.Issued)
	}
	t.mu.Lock()
	s.Card, s.PSAM, s.LoadSAM, s.Allowance, s.Busy = t.view, t.psam, t.loadSAM, t.allow, t.busy
	t.mu.Unlock()
	if f, err := t.float(); err != nil {
		t.log.Error("add up what was taken out of the float", "err", err)
	} else {
		s.Float = f
	}
	s.Stopped = t.isStopped()
	s.CopyBroken = st.Copy().Problem != nil
	if open, err := st.CountOpen(); err == nil {
		s.Open = open
	}
	if sh, ok, err := st.Shift(); err == nil && ok {
		s.Shift, s.ShiftOpen = sh, !sh.Closed
	}
	s.Warnings = t.warnings(s)
	return s
}

func (t *Terminal) warnings(s Status) []Code {
	var w []Code
	now := t.latest()
	if s.Limits.UnsentWarn > 0 && s.Unsent.Count >= uint64(s.Limits.UnsentWarn) {
		w = append(w, WarnUnsentCount)
	}
	if s.Unsent.Count > 0 && older(now, time.UnixMilli(s.Unsent.Oldest), s.Limits.UnsentAgeWarn) {
		w = append(w, WarnUnsentAge)
	}
	if older(now, s.HotlistAt, s.Limits.HotlistWarn) {
		w = append(w, WarnHotlistOld)
	}
	if s.Open > 0 {
		w = append(w, WarnOpen)
	}
	if s.Allowance.Known && (s.Allowance.Count == 0 || s.Allowance.Amount < s.Limits.TopUpMin) {
		w = append(w, WarnAllowance)
	}
	if s.Float.Known && s.Float.Left < s.Limits.TopUpMin {
		w = append(w, WarnFloat)
	}
	if s.CopyBroken {
		w = append(w, WarnCopy)
	}
	if s.Card.Stock && t.notReceived(s.Card.Number) {
		w = append(w, WarnNotReceived)
	}
	if t.now().Before(now.Add(-5 * time.Minute)) {
		w = append(w, WarnClock)
	}
	return w
}

// Transaction gives one transaction with what belongs to it. It fails with a
// Refusal of CodeNotFound.
func (t *Terminal) Transaction(n journal.Name) (Receipt, error) {
	if n.Terminal != t.id() {
		return Receipt{}, refuse(CodeNotFound)
	}
	tx, err := t.cfg.Store.Transaction(n.Ref())
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return Receipt{}, refuseCause(CodeNotFound, err)
		}
		return Receipt{}, err
	}
	return t.receipt(tx)
}

// Transactions lists the newest transactions, at most max, that began before
// the given one; the zero Ref means from the newest.
func (t *Terminal) Transactions(max int, before journal.Ref) ([]Receipt, error) {
	txs, err := t.cfg.Store.Recent(max, before)
	if err != nil {
		return nil, err
	}
	out := make([]Receipt, 0, len(txs))
	for _, tx := range txs {
		r, err := t.receipt(tx)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (t *Terminal) receipt(tx journal.Transaction) (Receipt, error) {
	r := Receipt{Transaction: tx, Hash: t.cfg.Store.Head().Hash}
	if tx.Kind == journal.KindSale || tx.Kind == journal.KindVoid || tx.Kind == journal.KindClaim {
		kids, err := t.cfg.Store.Children(tx.Name.Ref())
		if err != nil {
			return Receipt{}, err
		}
		if len(kids) > 0 {
			r.Child = &kids[len(kids)-1]
		}
	}
	for _, x := range []*journal.Transaction{r.Child, &r.Transaction} {
		if x == nil {
			continue
		}
		if owed, err := t.owed(*x); err != nil {
			return Receipt{}, err
		} else if owed {
			r.Owed = x.Name
		}
	}
	return r, nil
}

func (t *Terminal) receiptOf(ref journal.Ref) (Receipt, error) {
	tx, err := t.cfg.Store.Transaction(ref)
	if err != nil {
		return Receipt{}, err
	}
	return t.receipt(tx)
}

// numbered is receiptOf for what is durable already although what came after it
// may have stopped the file: the person is told its number all the same.
func (t *Terminal) numbered(ref journal.Ref) (Receipt, error) {
	rc, err := t.receiptOf(ref)
	if err != nil {
		return Receipt{}, &UncertainError{Name: ref.Of(t.id()), Cause: err}
	}
	return rc, nil
}

// asked reports whether a wish for a card, or for whatever card is in the
// reader, is one for the card of tx.
func asked(want money.CardNumber, tx journal.Transaction) bool {
	return want.IsZero() || tx.Card == want
}

// repeated finds the transaction that a token began. It refuses a token that
// was used for another wish.
func (t *Terminal) repeated(tok journal.Token, same func(journal.Transaction) bool) (Receipt, bool, error) {
	if tok == (journal.Token{}) {
		return Receipt{}, false, errors.New("terminal: a money request carries no token")
	}
	tx, ok, err := t.cfg.Store.ByToken(tok)
	if err != nil || !ok {
		return Receipt{}, false, err
	}
	if !same(tx) {
		return Receipt{}, false, refuse(CodeTokenReused)
	}
	r, err := t.receipt(tx)
	return r, err == nil, err
}
