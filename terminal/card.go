package terminal

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/wire"
)

// session is one card between its insertion and its removal.
type session struct {
	card reader.Card
	app  *purse.Application
}

func (t *Terminal) cardEvent(ctx context.Context, ev reader.Event) {
	if err := t.acquire(ctx); err != nil {
		return
	}
	defer t.release()
	switch ev.State {
	case reader.StateCard:
		if t.session != nil && t.session.card.Count() == ev.Count {
			return // this card is open already: a transaction was quicker
		}
		t.openCard(ctx)
	case reader.StateEmpty:
		t.dropSession(CardView{State: CardNone})
	case reader.StateMute:
		t.dropSession(CardView{State: CardUnreadable, Problem: CodeUnreadable})
	default:
		t.dropSession(CardView{State: CardNoReader})
	}
}

func (t *Terminal) dropSession(v CardView) {
	if t.session != nil {
		t.session.card.Close()
		t.session = nil
	}
	clear(t.seen)
	t.show(v)
}

func (t *Terminal) show(v CardView) {
	t.mu.Lock()
	t.view = v
	t.mu.Unlock()
	t.changed()
}

// openCard powers the card in the slot, reads its purse and settles what is
// unknown about it. What it finds is shown; there is no session afterwards
// unless the purse can be used.
func (t *Terminal) openCard(ctx context.Context) {
	t.dropSession(CardView{State: CardReading})
	c, err := t.cfg.Card.Open(ctx)
	if err != nil {
		v := CardView{State: CardUnreadable, Problem: CodeUnreadable}
		switch {
		case errors.Is(err, reader.ErrNoCard):
			v = CardView{State: CardNone}
		case errors.Is(err, reader.ErrLost):
			v = CardView{State: CardNoReader}
		}
		t.log.Info("open the card", "err", err)
		t.show(v)
		return
	}
	s := &session{card: c}
	v, err := t.readCard(ctx, s)
	if err != nil {
		t.log.Info("read the card", "err", err)
		c.Close()
		t.show(v)
		return
	}
	t.session = s
	t.show(v)
}

// readCard selects the purse, settles and reads. An error comes with the
// view to show.
func (t *Terminal) readCard(ctx context.Context, s *session) (CardView, error) {
	unreadable := CardView{State: CardUnreadable, Problem: CodeUnreadable}
	app, err := purse.Select(ctx, s.card, t.cfg.Profiles.Current().MatchCards(s.card.ATR()))
	if errors.Is(err, purse.ErrBlocked) {
		return CardView{State: CardRefused, Problem: CodeCardBlocked}, err
	}
	if err != nil {
		return unreadable, err
	}
	s.app = app
	info := app.Info()
	if p := t.keysProblem(info); p != "" {
		return CardView{State: CardRefused, Problem: p, Number: info.Number, Profile: app.Profile().Name}, refuse(p)
	}
	settled, err := t.settleCard(ctx, app)
	if err != nil {
		return unreadable, err
	}
	balance, err := app.Balance(ctx)
	if err != nil {
		return unreadable, err
	}
	v := CardView{State: CardReady, Settled: settled, Balance: balance}
	t.describe(&v, app)
	if p := t.usable(app); p != "" {
		v.State, v.Problem = CardRefused, p
	}
	return v, nil
}

func (t *Terminal) describe(v *CardView, app *purse.Application) {
	info := app.Info()
	v.Number, v.Profile = info.Number, app.Profile().Name
	v.ValidFrom, v.ValidTo = info.ValidFrom.Time(), info.ValidTo.Time()
	v.Named = t.named(info)
	v.Stock = t.stock(info.Number)
}

// keysProblem keeps test keys and real cards apart, both ways.
func (t *Terminal) keysProblem(info purse.PublicInfo) Code {
	switch {
	case t.cfg.TestKeys && !info.Test():
		return CodeRealCard
	case !t.cfg.TestKeys && info.Test():
		return CodeTestCard
	}
	return ""
}

// usable tells why a card may not be used at all; it is asked again at each
// transaction, since hotlist and clock move.
func (t *Terminal) usable(app *purse.Application) Code {
	info := app.Info()
	if h, ok := t.section(wire.SectionHotlist); ok && h.Hotlist.Has(info.Number) {
		return CodeCardBlocked
	}
	if !info.ValidFrom.Before(t.now()) || !info.ValidTo.Covers(t.latest()) {
		return CodeCardExpired
	}
	return ""
}

// ready gives the session of the card that a request names, and its balance,
// read just now: a card that was taken out and put back meanwhile is found
// out before anything begins, and is opened again.
func (t *Terminal) ready(ctx context.Context, want money.CardNumber) (*session, money.Fen, error) {
	var balance money.Fen
	if t.session != nil {
		b, err := t.session.app.Balance(ctx)
		var sw apdu.SW
		switch {
		case err == nil:
			balance = b
		case errors.As(err, &sw):
			return nil, 0, t.cardFailed(ctx, err)
		default:
			t.dropSession(CardView{State: CardReading})
		}
	}
	if t.session == nil {
		t.openCard(ctx)
		v := t.shownCard()
		if t.session == nil {
			switch v.State {
			case CardNone, CardNoReader:
				return nil, 0, refuse(CodeNoCard)
			}
			return nil, 0, refuse(v.Problem)
		}
		balance = v.Balance
	}
	if n := t.session.app.Info().Number; !want.IsZero() && n != want {
		return nil, 0, refuse(CodeOtherCard)
	}
	if p := t.usable(t.session.app); p != "" {
		return nil, 0, refuse(p)
	}
	return t.session, balance, nil
}

func (t *Terminal) shownCard() CardView {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view
}

// lost ends a session whose card stopped answering, and reads whatever card
// is in the slot now: often the same one, which is then settled at once.
func (t *Terminal) lost(ctx context.Context) {
	t.openCard(ctx)
}

// cardFailed turns an error before anything was written into a refusal.
func (t *Terminal) cardFailed(ctx context.Context, err error) error {
	var tries *purse.TriesError
	var sw apdu.SW
	switch {
	case errors.As(err, &tries):
		if tries.Left == 0 {
			return refuseCause(CodePINBlocked, err)
		}
		return &Refusal{Code: CodePINWrong, Left: tries.Left, Cause: err}
	case errors.Is(err, apdu.SWMethodBlocked):
		return refuseCause(CodePINBlocked, err)
	case errors.Is(err, apdu.SWBalanceLow):
		return refuseCause(CodeBalanceLow, err)
	case errors.Is(err, apdu.SWSecurityNotSatisfied):
		return refuseCause(CodePINNeeded, err)
	case errors.Is(err, purse.ErrBlocked):
		return refuseCause(CodeCardBlocked, err)
	case errors.As(err, &sw):
		return refuseCause(CodeUnreadable, err)
	}
	t.lost(ctx)
	if t.session == nil && t.shownCard().State == CardNone {
		return refuseCause(CodeNoCard, err)
	}
	return refuseCause(CodeUnreadable, err)
}

// refreshBalance re-reads the balance for the screen after a transaction; it
// reports NoBalance when the card does not give it.
func (t *Terminal) refreshBalance(ctx context.Context, s *session) money.Fen {
	b, err := s.app.Balance(ctx)
	if err != nil {
		t.log.Info("read the balance", "err", err)
		return journal.NoBalance
	}
	return b
}

// shown updates the view after a transaction of the card in the slot.
func (t *Terminal) shown(s *session, balance money.Fen) {
	if t.session != s || balance == journal.NoBalance {
		return
	}
	v := t.shownCard()
	v.Balance = balance
	t.describe(&v, s.app)
	t.show(v)
}

// Reading is what a purse card says of itself.
type Reading struct {
	Info    purse.PublicInfo
	Profile string
	Balance money.Fen
	ATR     []byte
}

// ReadCard reads the card in the reader, for a tool that may not use the
// reader beside the terminal.
func (t *Terminal) ReadCard(ctx context.Context) (Reading, error) {
	if err := t.acquire(ctx); err != nil {
		return Reading{}, err
	}
	defer t.release()
	s, balance, err := t.ready(ctx, money.CardNumber{})
	if err != nil {
		return Reading{}, err
	}
	return Reading{Info: s.app.Info(), Profile: s.app.Profile().Name, Balance: balance, ATR: s.card.ATR()}, nil
}

// History reads the log of the card in the reader, newest first.
func (t *Terminal) History(ctx context.Context) ([]purse.LogRecord, error) {
	if err := t.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.release()
	s, _, err := t.ready(ctx, money.CardNumber{})
	if err != nil {
		return nil, err
	}
	l, err := s.app.Log(ctx)
	if err != nil {
		return nil, t.cardFailed(ctx, err)
	}
	return l, nil
}

// dropped turns a transport error of an executing command into the reason on
// the slip.
func dropped(err error) journal.Reason {
	switch {
	case errors.Is(err, apdu.SWMemoryFailure):
		return journal.ReasonCardMemory
	case errors.Is(err, apdu.SWMACInvalid):
		return journal.ReasonBadMAC
	case errors.Is(err, reader.ErrRemoved), errors.Is(err, reader.ErrReset):
		return journal.ReasonCardRemoved
	}
	var sw apdu.SW
	if errors.As(err, &sw) {
		return journal.ReasonCardRefused
	}
	return journal.ReasonCardMute
}

// failure sorts the error of an executing command: refused for certain, or
// unknown.
func failure(err error) (r journal.Result, why journal.Reason, ev journal.Evidence, word uint16) {
	var sw apdu.SW
	if errors.As(err, &sw) {
		word = uint16(sw)
	}
	why = dropped(err)
	if apdu.MayHaveExecuted(err) {
		return journal.Unknown, why, journal.EvidenceNone, word
	}
	if word != 0 {
		return journal.NotDone, why, journal.EvidenceRefusal, word
	}
	return journal.NotDone, why, journal.EvidenceNotSent, 0
}

// sameDay reports whether two times fall on one day in China.
func sameDay(a, b time.Time) bool {
	y1, m1, d1 := a.In(money.CST).Date()
	y2, m2, d2 := b.In(money.CST).Date()
	return y1 == y2 && m1 == m2 && d1 == d2
}
