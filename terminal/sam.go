package terminal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/wire"
)

// sams are the SAMs of the terminal. Their handles stay open for the life of
// the daemon: a SAM that loses power loses its session. Only the holder of
// Terminal.op touches them.
type sams struct {
	cards []reader.Card // one for each of samSlots, nil for one that did not open
	psam  *purse.PSAM
	load  *purse.LoadSAM

	known    bool // state and count below were read from the load SAM
	state    suite.LoadSAMState
	count    uint32    // its lifetime count, kept up to date by gave
	reported uint32    // the count in the last SAMReport entry plus one; 0 before the first
	asked    time.Time // when an allowance was last asked for; monotonic
}

func (s *sams) close() {
	for _, c := range s.cards {
		if c != nil {
			c.Close()
		}
	}
	*s = sams{count: s.count, reported: s.reported, asked: s.asked}
}

// gave books one load that the SAM authorised.
func (s *sams) gave(count uint32, amount money.Fen) {
	s.count = count
	s.state.Count = count
	s.state.Total += amount
}

// left is what the SAM may still give.
func (s *sams) left() AllowanceView {
	if !s.known {
		return AllowanceView{}
	}
	v := AllowanceView{Known: true, Amount: max(0, s.state.CeilingAmount-s.state.Total)}
	if s.state.CeilingCount > s.state.Count {
		v.Count = s.state.CeilingCount - s.state.Count
	}
	return v
}

func (t *Terminal) samEvent(ctx context.Context, ev reader.Event) {
	if err := t.acquire(ctx); err != nil {
		return
	}
	defer t.release()
	if ev.State == reader.StateCard && t.sams.psam != nil && (t.cfg.LoadSAM == nil || t.sams.load != nil) && t.samCounts(ev.Slot, ev.Count) {
		return // these are the SAMs that are open already
	}
	t.reopenSAMs(ctx)
}

// samCounts reports whether the SAM in the slot is still the one that was
// opened.
func (t *Terminal) samCounts(slot string, count uint32) bool {
	for i, s := range t.samSlots() {
		if s.Name() == slot {
			return i < len(t.sams.cards) && t.sams.cards[i] != nil && t.sams.cards[i].Count() == count
		}
	}
	return false
}

func (t *Terminal) samSlots() []reader.Slot {
	s := []reader.Slot{t.cfg.PSAM}
	if t.cfg.LoadSAM != nil && t.cfg.LoadSAM != t.cfg.PSAM {
		s = append(s, t.cfg.LoadSAM)
	}
	return s
}

// openSAMs opens what is in the SAM slots and shows what it found. A SAM is
// known by what it contains; one that this terminal was not enrolled with is
// refused until head office says so.
func (t *Terminal) openSAMs(ctx context.Context) {
	var psam, load SAMView
	var handles []reader.Card
	for _, slot := range t.samSlots() {
		c, err := slot.Open(ctx)
		if err != nil {
			t.log.Info("open a SAM", "slot", slot.Name(), "err", err)
			c = nil
		}
		handles = append(handles, c)
	}
	t.sams.cards = handles
	id := t.id()
	if c := handles[0]; c != nil {
		p, err := purse.OpenPSAM(ctx, c, t.cfg.Profiles.Current().SAMs)
		switch {
		case err != nil:
			t.log.Info("open the PSAM", "err", err)
			psam.Problem = CodeNoPSAM
		case p.Terminal() != id || (!t.cfg.SAMs.PSAM.IsZero() && p.Serial() != t.cfg.SAMs.PSAM):
			t.log.Warn("the PSAM is not the one enrolled", "serial", p.Serial(), "terminal", p.Terminal())
			psam = SAMView{Present: true, Serial: p.Serial(), Problem: CodeSAMSwapped}
		case p.Test() != t.cfg.TestKeys:
			psam = SAMView{Present: true, Serial: p.Serial(), Problem: t.otherKeys()}
		default:
			psam = SAMView{Present: true, Serial: p.Serial(), Problem: t.mistrusted}
			t.sams.psam = p
		}
	} else {
		psam.Problem = CodeNoPSAM
	}
	if c := handles[len(handles)-1]; c != nil && t.cfg.LoadSAM != nil {
		l, err := purse.OpenLoadSAM(ctx, c, t.cfg.Profiles.Current().SAMs)
		switch {
		case err != nil:
			t.log.Info("open the load SAM", "err", err)
			load.Problem = CodeNoLoadSAM
		case l.Terminal() != id || (!t.cfg.SAMs.LoadSAM.IsZero() && l.Serial() != t.cfg.SAMs.LoadSAM):
			t.log.Warn("the load SAM is not the one enrolled", "serial", l.Serial(), "terminal", l.Terminal())
			load = SAMView{Present: true, Serial: l.Serial(), Problem: CodeSAMSwapped}
		case l.Test() != t.cfg.TestKeys:
			load = SAMView{Present: true, Serial: l.Serial(), Problem: t.otherKeys()}
		default:
			load = SAMView{Present: true, Serial: l.Serial()}
			t.sams.load = l
			if _, err := t.readSAMState(ctx); err != nil {
				t.log.Info("read the load SAM's state", "err", err)
			}
		}
	} else {
		load.Problem = CodeNoLoadSAM
	}
	t.mu.Lock()
	t.psam, t.loadSAM = psam, load
	t.mu.Unlock()
	t.showAllowance()
}

// otherKeys is the problem of a SAM with real keys at a test terminal, or the
// other way round.
func (t *Terminal) otherKeys() Code {
	if t.cfg.TestKeys {
		return CodeRealCard
	}
	return CodeTestCard
}

// readSAMState reads the load SAM's counters under a fresh challenge and
// gives the statement for the utility: challenge 8 ‖ state 38 ‖ MAC 4.
func (t *Terminal) readSAMState(ctx context.Context) ([]byte, error) {
	var challenge [8]byte
	rand.Read(challenge[:])
	st, mac, err := t.sams.load.State(ctx, challenge)
	if err != nil {
		t.sams.known = false
		return nil, err
	}
	t.sams.known, t.sams.state, t.sams.count = true, st, st.Count
	return append(challenge[:], st.Signed(mac)...), nil
}

func (t *Terminal) showAllowance() {
	v := t.sams.left()
	t.mu.Lock()
	t.allow = v
	t.mu.Unlock()
	t.changed()
}

// samFailed looks at the SAMs again after one failed: it may have been
// pulled, and its session is gone in any case.
func (t *Terminal) samFailed(ctx context.Context, err error) {
	t.log.Warn("a SAM failed; opening the SAMs again", "err", err)
	t.reopenSAMs(ctx)
}

func (t *Terminal) reopenSAMs(ctx context.Context) {
	t.sams.close()
	t.openSAMs(ctx)
}

// needPSAM refuses when there is no PSAM of ours.
func (t *Terminal) needPSAM(ctx context.Context) error {
	if t.sams.psam == nil {
		t.reopenSAMs(ctx)
	}
	if t.sams.psam == nil {
		return refuse(t.psam.Problem)
	}
	return nil
}

// checkAllowance refuses a load that the load SAM would refuse.
func (t *Terminal) checkAllowance(ctx context.Context, amount money.Fen) error {
	if t.cfg.LoadSAM == nil {
		return refuse(CodeNoLink) // a terminal without a load SAM loads on line only
	}
	if t.sams.load == nil {
		t.reopenSAMs(ctx)
	}
	if t.sams.load == nil {
		return refuse(t.loadSAM.Problem)
	}
	if v := t.sams.left(); !v.Known || v.Count == 0 || v.Amount < amount {
		return refuseLimit(CodeAllowance, v.Amount)
	}
	return nil
}

// Maintain journals the load SAM's own counters when they moved since the
// last report and, while the link is up, asks for a new allowance when less
// than half of what the utility grants is left, and how what is unknown here
// ended. It waits for a transaction that is running.
func (t *Terminal) Maintain(ctx context.Context) error {
	return errors.Join(t.keepAllowance(ctx), t.inquire(ctx))
}

func (t *Terminal) keepAllowance(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.release()
	if t.sams.load == nil {
		return nil
	}
	if t.sams.known && t.sams.reported == t.sams.count+1 && !t.wantsAllowance() {
		return nil
	}
	statement, err := t.readSAMState(ctx)
	if err != nil {
		t.samFailed(ctx, err)
		return fmt.Errorf("read the load SAM: %w", err)
	}
	if t.sams.reported != t.sams.count+1 {
		if _, err := t.append(ctx, store.Draft{Actor: journal.System, Body: &journal.SAMReport{SAM: t.sams.load.Serial(), State: statement}}); err != nil {
			return err
		}
		t.sams.reported = t.sams.count + 1
	}
	if t.wantsAllowance() {
		err = t.renewAllowance(ctx, statement)
	}
	t.showAllowance()
	return err
}

func (t *Terminal) wantsAllowance() bool {
	if !t.cfg.Host.Online() || (!t.sams.asked.IsZero() && time.Since(t.sams.asked) < MaintainEvery) {
		return false // one question a while, whatever its answer
	}
	l, _, ok := t.limits()
	if !ok || l.OfflineTopUpMax == 0 {
		return false
	}
	v := t.sams.left()
	return !v.Known || v.Amount < l.UnsentMax/2 || v.Count < 2
}

func (t *Terminal) renewAllowance(ctx context.Context, statement []byte) error {
	t.sams.asked = time.Now()
	// The utility counts against what it holds: send it first.
	flush, cancel := context.WithTimeout(ctx, t.cfg.HostWait)
	defer cancel()
	if err := t.cfg.Host.Flush(flush); err != nil {
		return fmt.Errorf("send before asking for an allowance: %w", err)
	}
	challenge, err := t.sams.load.Challenge(ctx)
	if err != nil {
		return fmt.Errorf("challenge of the load SAM: %w", err)
	}
	a, err := t.cfg.Host.IssueAllowance(flush, wire.AllowanceRequest{SAM: t.sams.load.Serial(), Challenge: challenge, State: statement})
	if err != nil {
		return fmt.Errorf("ask for an allowance: %w", err)
	}
	if a.Refused != wire.OK {
		t.log.Info("no allowance", "code", a.Refused)
		return nil
	}
	if a.SAM != t.sams.load.Serial() {
		return errors.New("the allowance is for another SAM")
	}
	al := suite.Allowance{Sequence: a.Sequence, CeilingAmount: a.CeilingAmount, CeilingCount: a.CeilingCount}
	if err := t.sams.load.Install(ctx, al, a.MAC); err != nil {
		return fmt.Errorf("install the allowance: %w", err)
	}
	_, err = t.readSAMState(ctx)
	return err
}
