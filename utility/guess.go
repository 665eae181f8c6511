package utility

import (
	"fmt"
	"sync"
	"time"

	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
)

// LaterError means that nothing of a message was stored, and that the
// terminal may send it again after a while.
type LaterError struct{ After time.Duration }

func (e *LaterError) Error() string {
	return fmt.Sprintf("utility: too much was wrong or refused before: not stored; again in %s", e.After)
}

// A TAC, a MAC2 and the MAC of a load SAM's report have 32 bits each, and the
// acknowledgement tells whether one is right: a dishonest terminal that may
// ask a thousand times in a batch finds one within a day, and with it takes
// value from a card that it never saw. At one wrong one a second that takes
// a century. An honest terminal has hardly ever a wrong one.
const (
	guessEvery = time.Second
	guessBurst = 60 // wrong ones that cost no wait
	guessMost  = time.Hour
)

// guesses makes terminals wait for their wrong cryptograms. Each epoch waits for
// its own: whoever copied the key of an earlier one can't keep out a terminal
// that was enrolled again.
type guesses struct {
	mu   sync.Mutex
	paid map[epoch]time.Time // when the wrong ones so far are paid for
}

// wait tells how long a terminal must wait now, 0 for not at all.
func (g *guesses) wait(t epoch, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	paid, ok := g.paid[t]
	if !ok {
		return 0
	}
	return min(max(paid.Sub(now)-guessBurst*guessEvery, 0), guessMost)
}

// charge counts the wrong cryptograms among what was held.
func (g *guesses) charge(t epoch, now time.Time, held []storage.Held) {
	n := 0
	for _, h := range held {
		switch h.Reason {
		case record.HeldBadTAC, record.HeldBadMAC2, record.HeldBadState, record.HeldOtherProof:
			n++ // what an observation brought may be the proof of another transaction, or a guess
		}
	}
	if n == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paid == nil {
		g.paid = map[epoch]time.Time{}
	}
	begin := g.paid[t]
	if begin.Before(now) {
		begin = now
	}
	g.paid[t] = begin.Add(time.Duration(n) * guessEvery)
}
