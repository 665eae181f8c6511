package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/wire"
)

// station is one terminal: a machine with readers, a disk, a clock and a
// link, and the process that runs on it, which dies and is started again.
type station struct {
	w     *world
	no    int
	id    money.TerminalID
	shop  money.ShopID
	clerk journal.Actor
	dir   string
	keys  uplink.Keys // the key file
	rnd   *rand.Rand  // of its line

	card, sam *slot
	disk      disk
	link      link
	skew      time.Duration // of its clock

	st   *store.Store // nil while the process is down
	up   *uplink.Client
	tm   *terminal.Terminal
	dead bool
	bomb bomb

	told   []told // what people were told
	images []image
	other  *twin          // the machine of a cloned terminal that is switched off
	topUps []journal.Name // done or not, for voids and cash

	till   money.Fen // cash in its drawer when the world began
	heard  time.Time // when it last got what the utility sends down
	jumped bool      // its clock was wrong at some time

	crooked bool   // somebody cheated with it
	forgot  bool   // its file was restored from an older copy at some time
	epoch   uint32 // the newest it was ever in
	rolled  uint32 // the newest epoch in which it forgot, so that names up to there may stand for two transactions
	loses   bool   // and so was the second copy, or it was not whole
	behind  bool   // its disk was restored or its records suppressed, and it has not been enrolled again
}

// twin is a machine with the identity of another.
type twin struct {
	disk   image
	keys   uplink.Keys
	told   []told
	topUps []journal.Name
}

// bomb ends the process at the in-th effect from now.
type bomb struct {
	in    int
	power bool // the power fails, not only the process
	how   uint64
}

func (s *station) arm(b bomb) {
	s.bomb = b
	s.disk.mu.Lock()
	s.disk.armed = true
	s.disk.mu.Unlock()
}

// killed unwinds a process that is dead.
type killed struct{}

var errDead = errors.New("world: the process is dead")

func (s *station) path() string { return filepath.Join(s.dir, "terminal.db") }

func (s *station) clock() time.Time { return s.w.now().Add(s.skew) }

// strike counts an effect, and reports whether the process dies at it.
func (s *station) strike() bool {
	if s.dead || s.bomb.in == 0 {
		return s.dead
	}
	if s.bomb.in--; s.bomb.in == 0 {
		s.dead = true
		if s.bomb.power {
			s.w.fault("power of a terminal fails")
		} else {
			s.w.fault("process of a terminal killed")
		}
	}
	return s.dead
}

// effect is a point at which the process may die: before and after whatever
// it does to the world.
func (s *station) effect() {
	if s.strike() {
		panic(killed{})
	}
}

// inside runs what the process does. It reports whether the process lives.
func (s *station) inside(f func()) (alive bool) {
	if s.tm == nil {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
		}
		if s.dead {
			alive = false
			s.bury()
		}
	}()
	f()
	return true
}

// bury clears away a dead process.
func (s *station) bury() {
	if s.st != nil {
		s.st.Close()
	}
	s.disk.bury(s.bomb.power)
	if s.disk.crash != nil {
		s.w.must(os.WriteFile(s.path(), s.disk.crash, 0o600), "cut the power of a disk")
	}
	s.disk.crash = nil
	for _, x := range []*slot{s.card, s.sam} {
		if x == nil {
			continue
		}
		if x.open != nil {
			x.open.dead = errDead
			x.open = nil
		}
		if x.chip != nil {
			x.chip.PowerOff()
		}
	}
	s.st, s.up, s.tm, s.dead, s.bomb = nil, nil, nil, false, bomb{}
}

// stop ends the process in order.
func (s *station) stop() { s.bury() }

// boot starts the process. It gives false when it died meanwhile or would not
// start.
func (s *station) boot() bool {
	if s.tm != nil {
		return true
	}
	st, err := store.Open(s.path(), store.Options{Clock: s.clock, Disk: &s.disk, InitialMmap: 256 << 10})
	if err != nil && (s.dead || s.disk.hurt) { // died of taking what only the second copy had
		s.disk.hurt = false
		s.bury()
		return false
	}
	s.w.must(err, fmt.Sprintf("terminal %d does not open its file", s.no+1))
	s.st = st
	s.epoch = max(s.epoch, st.Head().Epoch)
	s.up, err = uplink.New(uplink.Config{
		URL: "https://utility:1", Keys: s.keys, Journal: st, Software: "world",
		SaveKeys: func(k uplink.Keys) error { s.keys = k; return nil },
		Clock:    s.clock, Log: s.w.log,
		Wrap: func(base http.RoundTripper) http.RoundTripper { return &line{s: s, base: base.(*http.Transport)} },
	})
	s.w.must(err, "open the link")
	s.tm, err = terminal.New(terminal.Config{
		Store: st, Card: s.card, PSAM: s.sam, LoadSAM: s.sam, Profiles: profiles.Builtin(), Host: host{s.up, s},
		Software: "world", TestKeys: true, SAMs: terminal.SAMPair{PSAM: s.keys.PSAM, LoadSAM: s.keys.LoadSAM},
		Clock: s.clock, Log: s.w.log,
	})
	s.w.must(err, "make a terminal")
	ok := s.inside(func() {
		if err := s.tm.Start(s.w.ctx); err != nil && !s.dead {
			s.disk.excuse(s.w, err, "start")
		}
	})
	if ok && s.stopped() {
		s.bury()
		return false
	}
	if ok {
		s.card.told = s.card.count - 1
		s.recall()
		s.w.lookAround(s)
	}
	return ok
}

func (s *station) stopped() bool { return s.tm != nil && s.tm.Status().Stopped }

// turn lets the link work once.
func (s *station) turn(greet bool) {
	s.inside(func() {
		if err := s.up.Turn(s.w.ctx, greet); err != nil {
			s.w.say("      T%d link: %v", s.no+1, err)
		} else if greet && s.up.Standing() == wire.StandingGood && s.st.Err() == nil {
			s.heard = s.w.now()
		}
	})
}

func (s *station) maintain() {
	s.inside(func() {
		if err := s.tm.Maintain(s.w.ctx); err != nil {
			s.w.say("      T%d look after the SAM: %v", s.no+1, err)
		}
	})
}

// host is the utility as the terminal's business sees it. Flush is a turn of
// the link, which otherwise a goroutine of its own would make.
type host struct {
	*uplink.Client
	s *station
}

func (h host) Flush(ctx context.Context) error { return h.s.up.Turn(ctx, false) }

var _ terminal.Host = host{}

// told is what a person was told of a transaction.
type told struct {
	tx   journal.Transaction
	hash journal.Hash // on the slip
}

// recall holds what people were told against what the terminal remembers
// after a start.
func (s *station) recall() {
	if s.crooked {
		return // it says what its people want
	}
	for _, t := range s.told {
		s.w.figures.Assertions++
		now, err := s.st.Transaction(t.tx.Name.Ref())
		switch {
		case err != nil:
			s.w.fail("terminal %d forgot %s, of which somebody was told: %v", s.no+1, t.tx.Name, err)
		case now.Card != t.tx.Card || now.Amount != t.tx.Amount || now.Kind != t.tx.Kind:
			s.w.fail("terminal %d: %s is another transaction than the one that somebody was told of", s.no+1, t.tx.Name)
		case t.tx.Result != journal.Unknown && now.Result != t.tx.Result:
			s.w.fail("terminal %d: %s was told as %d and is %d", s.no+1, t.tx.Name, t.tx.Result, now.Result)
		}
	}
}

// rolledBack reports whether a name is of an epoch that the terminal forgot
// some of.
func (s *station) rolledBack(n journal.Name) bool { return n.Epoch <= s.rolled }

// intent finds the open intent under which a chip was asked to move: it must
// be durable before the chip is asked (law 3).
func (s *station) intent(m *move) (journal.Transaction, bool) {
	if s.st == nil {
		return journal.Transaction{}, false
	}
	list, err := s.st.ByCard(m.chip.number, 5)
	s.w.must(err, "read the journal")
	for _, t := range list {
		if t.Result == journal.Pending && is(t, m) {
			return t, true
		}
	}
	return journal.Transaction{}, false
}

// is reports whether a transaction may be a movement.
func is(t journal.Transaction, m *move) bool {
	switch {
	case t.Load != nil:
		return m.load && t.Load.Counter == m.counter && t.Amount == m.amount
	case t.Purchase != nil:
		return !m.load && t.Purchase.Counter == m.counter && t.Amount == m.amount
	}
	return false
}

// enrol makes the terminal one of the utility's again, in a new epoch.
func (s *station) enrol() {
	u := s.w.utility
	code, err := u.svc.NewEnrolmentCode(s.w.ctx, s.id, s.shop, s.keys.PSAM, s.keys.LoadSAM)
	s.w.must(err, "a new enrolment code")
	keys, id, err := enrol(s.w.ctx, u.svc, u.ca, code, s.id, s.keys, s.w.now())
	s.w.must(err, "enrol again")
	s.stop()
	st, err := store.Open(s.path(), store.Options{Clock: s.clock, InitialMmap: 256 << 10})
	s.w.must(err, "open the file to renew it")
	s.w.must(errors.Join(st.Renew(id), st.Close()), "renew the file")
	s.keys = keys
	s.behind = false
	s.w.say("      T%d enrolled again, epoch %d", s.no+1, id.Epoch)
	s.boot()
}

// agrees reports whether the journal goes on where the utility's copy of it
// ends, or before in the same chain.
func (s *station) agrees() bool {
	h := s.head()
	if h.Seq > s.st.Head().Seq {
		return false
	}
	hash, _, err := s.st.EntriesOf(h.Epoch, h.Seq+1, 1, 1)
	s.w.must(err, "read the journal")
	return hash == h.Hash
}

// Standings in which a terminal must be enrolled again.
func mustEnrol(st wire.Standing) bool {
	return st == wire.StandingBehind || st == wire.StandingForked || st == wire.StandingReenrol
}
