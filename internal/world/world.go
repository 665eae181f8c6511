// Package world runs a whole country of Dianka in one goroutine from one
// seed: terminals with their clerks and customers, cards and SAMs whose
// memory loses power in mid-write, links that lose, repeat, alter and delay
// what they carry, clocks that jump, disks that fail, fill up and are
// restored from yesterday, the utility with its ledger, and people who cheat.
// What runs is the product's own code, purse, terminal, journal, store,
// uplink and utility, driven through its interfaces; what surrounds it is
// made here. After every step the world holds both equations of law 1 against
// what the chips really did, which it saw and nobody told it.
//
// It must run inside a testing/synctest bubble, so that time is the world's
// own. It may import everything. It is imported by its own tests only.
package world

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/storagetest"
)

// Begin is when every world begins, by the clock of China.
var Begin = time.Date(2026, 3, 2, 8, 0, 0, 0, money.CST)

// Figures count what a world did and what was held against it.
type Figures struct {
	Worlds     int
	Steps      int
	Hours      float64 // of terminals: a terminal that lived a day counts a day
	Faults     map[string]int
	Torn       map[string]int // which of them struck at a command of a card or SAM, by the command
	Outcomes   map[string]int // of what was asked for at terminals
	Found      map[string]int // cheating and damage that was found, by what found it
	Assertions int
	Entries    uint64
	Unsettled  int    // unknown to the end: shown by name, with the value held
	Hash       string // of the last world's ledger and journals
}

// Add adds up.
func (f *Figures) Add(g Figures) {
	f.Worlds += g.Worlds
	f.Steps += g.Steps
	f.Hours += g.Hours
	f.Assertions += g.Assertions
	f.Entries += g.Entries
	f.Unsettled += g.Unsettled
	f.Hash = g.Hash
	for _, m := range []struct{ to, from *map[string]int }{{&f.Faults, &g.Faults}, {&f.Torn, &g.Torn}, {&f.Outcomes, &g.Outcomes}, {&f.Found, &g.Found}} {
		if *m.to == nil {
			*m.to = map[string]int{}
		}
		for k, n := range *m.from {
			(*m.to)[k] += n
		}
	}
}

// Failure is a broken promise: what was broken, after which step, and how it
// came to that.
type Failure struct {
	Seed   uint64
	Keep   []int  // indices of the steps that were taken; nil: all
	Rule   string // that was broken: What without its values
	What   string
	Action int // index of the step, -1: while healing
	Trace  []string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d, step %d: %s\n%s", f.Seed, f.Action, f.What, strings.Join(f.Trace, "\n"))
}

// world is one run.
type world struct {
	seed  uint64
	dir   string
	ctx   context.Context
	start time.Time
	log   *slog.Logger

	utility  *utility
	stations []*station
	chips    []*chip
	sams     []*chip
	wishes   []*wish
	moves    []*move
	slips    []*slip
	blocks   map[money.CardNumber]*block
	freed    map[money.CardNumber]time.Time // when a block was last taken back

	at      int // index of the step under way
	trace   []string
	figures Figures
	checked uint64 // what check saw last
	cheats  []cheat
}

// broken ends a run.
type broken struct{ rule, what string }

func (w *world) fail(format string, args ...any) {
	panic(broken{format, fmt.Sprintf(format, args...)})
}

func (w *world) must(err error, what string) {
	if err != nil {
		panic(broken{what, fmt.Sprintf("%s: %v", what, err)})
	}
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%3d  ", w.at)+fmt.Sprintf(format, args...))
}

func (w *world) fault(kind string) { w.figures.Faults[kind]++ }

// now is the true time.
func (w *world) now() time.Time { return Begin.Add(time.Since(w.start)) }

func newWorld(dir string, seed uint64) *world {
	return &world{
		seed: seed, dir: dir, ctx: context.Background(), start: time.Now(), blocks: map[money.CardNumber]*block{}, freed: map[money.CardNumber]time.Time{}, log: slog.New(slog.DiscardHandler), at: -1,
		figures: Figures{Worlds: 1, Faults: map[string]int{}, Torn: map[string]int{}, Outcomes: map[string]int{}, Found: map[string]int{}},
	}
}

// Furnish makes the world that all others begin with. It is called once,
// before the first Run, in a bubble of its own.
func Furnish(dir string) error {
	t, err := theTemplate()
	if err != nil {
		return err
	}
	if t.moves != nil {
		return nil
	}
	w := newWorld(dir, 0)
	w.open(t)
	w.furnish()
	for i, st := range w.stations {
		w.must(st.st.Close(), "close a file")
		e := st.disk.copy()
		t.stations[i].file, t.stations[i].copy = e.file, e.copy
		t.stations[i].sam.image = w.sams[i].Image()
	}
	for i, c := range w.chips {
		t.cards[i].image = c.Image()
	}
	if t.memory, err = storagetest.Copy(w.ctx, w.utility.db); err != nil {
		return err
	}
	if err := w.utility.db.Close(); err != nil {
		return err
	}
	t.moves = w.moves
	t.db, err = os.ReadFile(filepath.Join(dir, "utility.db"))
	return err
}

// Run runs the plan of a seed, or only the steps in keep. dir must be an
// empty folder; it is left as the run leaves it.
func Run(dir string, seed uint64, plan []Action, keep []int) (f Figures, failure *Failure) {
	w := newWorld(dir, seed)
	if os.Getenv("DIANKA_WORLD_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	defer func() {
		p := recover()
		defer w.end()
		f = w.figures
		if p != nil {
			b, ok := p.(broken)
			if !ok { // the program's own
				b = broken{"panic", fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
			}
			w.dump()
			failure = &Failure{Seed: seed, Keep: keep, Rule: b.rule, What: b.what, Action: w.at, Trace: w.trace}
		}
	}()
	t, err := theTemplate()
	w.must(err, "make the template")
	w.open(t)
	if keep == nil {
		for i := range plan {
			keep = append(keep, i)
		}
	}
	for _, i := range keep {
		w.at = i
		w.say("%s", plan[i])
		w.figures.Steps++
		time.Sleep([]time.Duration{0, time.Second, 20 * time.Second, 3 * time.Minute}[plan[i].R>>60%4])
		w.act(plan[i])
		w.settleEvents()
		w.check()
	}
	w.at = -1
	w.heal()
	w.atCounter()
	w.probe()
	w.final()
	w.figures.Hours += time.Since(w.start).Hours() * float64(len(w.stations))
	return w.figures, nil
}

// open puts the world together from the template.
func (w *world) open(t *template) {
	w.utility = newUtility(w, t)
	for i, c := range t.cards {
		w.chips = append(w.chips, c.chip(w, rand.New(rand.NewPCG(w.seed, uint64(100+i)))))
	}
	w.moves = append(w.moves, t.moves...)
	for i, m := range w.moves {
		x := *m
		for _, c := range w.chips {
			if c.number == m.chip.number {
				x.chip = c
			}
		}
		w.moves[i] = &x
	}
	for i, s := range t.stations {
		if i == 2 && FlavourOf(w.seed) == Honest && w.seed%4 == 0 && t.moves != nil {
			continue // a small world; the third terminal's entries wait where they are
		}
		sam := s.sam.chip(w, rand.New(rand.NewPCG(w.seed, uint64(200+i))))
		w.sams = append(w.sams, sam)
		st := &station{w: w, no: i, id: s.id, shop: s.shop, clerk: journal.Actor{Kind: journal.ActorClerk, ID: money.StaffID(i + 1)}, keys: s.keys, dir: filepath.Join(w.dir, fmt.Sprint("t", i+1)), rnd: rand.New(rand.NewPCG(w.seed, uint64(300+i)))}
		w.must(os.Mkdir(st.dir, 0o700), "make a folder")
		w.must(os.WriteFile(st.path(), s.file, 0o600), "write a terminal's file")
		if s.copy != nil {
			w.must(os.WriteFile(st.copyPath(), s.copy, 0o600), "write a second copy")
		}
		st.link.st, st.disk.st = st, st
		st.link.up = true
		if t.moves != nil { // furnished: the first top-up was paid in cash
			st.till = firstLoad
		}
		st.card = &slot{st: st, name: "world:card"}
		st.sam = &slot{st: st, name: "world:sam", chip: sam, count: 1}
		w.stations = append(w.stations, st)
	}
	for _, st := range w.stations {
		st.boot()
		if (w.seed+uint64(st.no))%3 != 0 { // the others find the line later
			st.turn(true)
		}
	}
	w.check()
}

// furnish lets the terminals of a new world open their shifts, get their
// allowances, and serve each customer once.
func (w *world) furnish() {
	for i, st := range w.stations {
		st.turn(true)
		st.maintain()
		st.inside(func() { _, _ = st.tm.OpenShift(w.ctx, st.clerk, 0) })
		c := w.chips[i] // cards in people's hands hold something
		w.insert(st, c)
		st.inside(func() {
			_, err := st.tm.TopUp(w.ctx, terminal.TopUpRequest{Token: journal.TokenOf(fmt.Sprint("load", i)), Who: st.clerk, Card: c.number, Amount: firstLoad, Tendered: firstLoad})
			w.must(err, "a first top-up")
			_, err = st.tm.Redeem(w.ctx, terminal.RedeemRequest{Token: journal.TokenOf(fmt.Sprint("first", i)), Who: st.clerk, Card: c.number, Account: accounts[i], Amount: 1})
			w.must(err, "a first payment")
		})
		st.card.pull()
		w.settleEvents()
		st.maintain()
		st.turn(true)
	}
	w.check()
}

// end lets go of everything.
func (w *world) end() {
	for _, st := range w.stations {
		st.bury()
	}
	if w.utility != nil {
		w.utility.db.Close()
	}
}
