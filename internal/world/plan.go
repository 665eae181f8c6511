package world

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dianka/dianka/money"
)

// Action is one step of a plan. It holds everything that chance decides about
// it, so that steps can be left out of a plan without changing the others.
type Action struct {
	Do     Verb
	T, C   int // terminal and card that it is about
	Amount money.Fen
	R      uint64 // whatever else is left to chance
}

// Verb is what a step does.
type Verb uint8

// Verbs.
const (
	Pull Verb = iota
	TopUp
	Redeem
	Sell
	Void
	ReturnCash
	PayBill
	Collect
	Block
	Replace
	Again // the last wish once more, as a double click
	Sync
	Maintain
	Wait
	Shift
	Line
	LineFault
	Kill
	PowerCut
	Tear
	DiskFault
	DiskFull
	Clock
	Restart
	MoveSAM
	KillUtility
	Office
	CopyDisk
	RestoreDisk
	Cheat
	CloneCard
	CloneTerminal
	verbs
)

var verbNames = [verbs]string{
	"pull", "top up", "redeem", "sell", "void", "return cash", "pay bill", "collect", "block", "replace", "again", "sync", "maintain", "wait", "shift", "line",
	"line fault", "kill", "power cut", "tear", "disk fault", "disk full", "clock", "restart", "move SAM", "kill utility",
	"office", "copy disk", "restore disk", "cheat", "clone card", "clone terminal",
}

func (a Action) String() string {
	return fmt.Sprintf("%s T%d C%d %s r=%x", verbNames[a.Do], a.T+1, a.C+1, a.Amount, a.R)
}

// weights say how often a step is of a kind: in every world, and what is added
// where a disk is restored and where somebody cheats.
var weights = [verbs]int{
	Pull: 3, TopUp: 14, Redeem: 18, Sell: 2, Void: 4, ReturnCash: 3, PayBill: 5, Collect: 6, Block: 1, Replace: 2, Again: 4, Sync: 7, Maintain: 2, Wait: 3, Shift: 1,
	Line: 5, LineFault: 5, Kill: 2, PowerCut: 2, Tear: 3, DiskFault: 1, DiskFull: 1, Clock: 2, Restart: 2, MoveSAM: 1, KillUtility: 4, Office: 3,
}

// Flavours of a world.
const (
	Honest = iota
	Lossy  // disks are copied, restored and cloned
	Crooked
)

// FlavourOf says what kind of world a seed makes.
func FlavourOf(seed uint64) int {
	switch seed % 10 {
	case 7, 8:
		return Lossy
	case 9:
		return Crooked
	}
	return Honest
}

// Plan makes the plan of a seed.
func Plan(seed uint64) []Action {
	r := rand.New(rand.NewPCG(seed, 0xD1A2CA))
	w := weights
	switch FlavourOf(seed) {
	case Lossy:
		w[CopyDisk], w[RestoreDisk], w[CloneTerminal] = 4, 3, 3
	case Crooked:
		w[Cheat], w[CloneCard] = 7, 1
	}
	sum := 0
	for _, n := range w {
		sum += n
	}
	plan := make([]Action, 20+r.IntN(30))
	for i := range plan {
		n := r.IntN(sum)
		a := Action{T: r.IntN(3), C: r.IntN(5), R: r.Uint64()}
		for n >= w[a.Do] {
			n -= w[a.Do]
			a.Do++
		}
		a.Amount = money.Fen(10_00 + 5_00*r.IntN(15))
		if r.IntN(12) == 0 {
			a.Amount = money.Fen(1 + r.IntN(900_00)) // also what no limit allows
		}
		plan[i] = a
	}
	return plan
}

// times are where clocks jump to or by.
func (s *station) jump(r uint64) {
	now := s.w.now()
	to := func(t time.Time) { s.skew = t.Sub(now) }
	switch r % 10 {
	case 0:
		s.skew = 0
	case 1:
		to(time.Unix(0, 0))
	case 2:
		to(time.Unix(1<<31-1, 0))
	case 3:
		s.skew = -24 * time.Hour
	case 4:
		s.skew = time.Hour // a daylight saving that China has not
	case 5:
		s.skew = 40 * 24 * time.Hour
	case 6:
		s.skew = -400 * 24 * time.Hour
	case 7:
		to(time.Date(2026, 12, 31, 23, 59, 60, 0, time.UTC)) // a leap second
	case 8:
		s.skew = -7 * time.Minute
	case 9:
		to(time.Date(2028, 2, 29, 12, 0, 0, 0, money.CST))
	}
}
