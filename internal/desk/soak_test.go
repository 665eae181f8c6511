//go:build linux

package desk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// soakEnv is how long the soak takes, as time.ParseDuration reads it.
const soakEnv = "DIANKA_SOAK"

const (
	soakSeed   = 20261125
	soakStarts = 8 // on the same files
)

// TestSoak runs a day of a shop's traffic through a desk in a short while,
// with torn cards, cut lines and restarts. At the end everything agrees, and
// what the process needs is no more in the last quarter than in the first:
// memory, goroutines and files.
func TestSoak(t *testing.T) {
	length := 10 * time.Second
	if s := os.Getenv(soakEnv); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, money.CST)
	s := &soak{
		dir: tempDir(t), rng: rand.New(rand.NewPCG(soakSeed, 0)), counts: map[string]int{},
		clock: func() time.Time {
			return day.Add(time.Duration(float64(time.Since(begin)) / float64(length) * float64(24*time.Hour)))
		},
	}
	for n := range soakStarts {
		s.end = begin.Add(length * time.Duration(n+1) / soakStarts)
		if !t.Run(fmt.Sprint("start ", n), s.segment) {
			return
		}
	}
	t.Logf("seed %d: %v, %d starts, %d samples", soakSeed, s.counts, soakStarts, len(s.samples))
	for _, what := range []string{"done", "unknown", "refused", "off line", "torn"} {
		if s.counts[what] == 0 {
			t.Errorf("nothing was %s: not everything was tried", what)
		}
	}
	t.Run("the end", func(t *testing.T) {
		r := start(t, Options{Dir: s.dir, Clock: s.clock})
		for _, id := range []string{"zhang", "li"} {
			r.insert(id)
			r.synced()
			if st := r.Station.Terminal.Status(); st.Card.Balance != r.balance(ledger.Card(r.Number(id))) {
				t.Errorf("%s holds %s, the ledger has %s", id, st.Card.Balance, r.balance(ledger.Card(r.Number(id))))
			}
			r.pull()
		}
		if st := r.Station.Terminal.Status(); st.Open != 0 {
			t.Errorf("%d are still unknown", st.Open)
		}
		r.synced()
		r.audited()
	})
	s.flat(t)
}

type soak struct {
	dir     string
	rng     *rand.Rand
	clock   func() time.Time
	counts  map[string]int
	samples []sample
	opened  bool // a shift is open
	end     time.Time
	wishes  int
}

// sample is what the process needs while it runs and rests.
type sample struct {
	heap, resident    uint64 // bytes
	goroutines, files int
}

// segment is the time from one start to the next.
func (s *soak) segment(t *testing.T) {
	r := start(t, Options{Dir: s.dir, Clock: s.clock})
	r.until("the link", func(st terminal.Status) bool { return st.Online && st.Allowance.Amount > 0 })
	if !s.opened {
		r.limits(roomy())
		if err := r.Utility.Service.PayFloat(r.ctx, Shop, 10_000_000_00, "soak"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Station.Terminal.OpenShift(r.ctx, clerk, 0); err != nil {
			t.Fatal(err)
		}
		s.opened = true
	}
	for ok := true; ok; ok = time.Now().Before(s.end) {
		for range 2 {
			s.customer(r)
		}
		r.LinkUp(true)
		r.synced()
		s.take()
	}
	r.stop()
}

// customer comes with a card, loads it, pays with it, and goes.
func (s *soak) customer(r *running) {
	if up := s.rng.IntN(4) > 0; up != r.State().LinkUp {
		r.LinkUp(up)
		r.until("the link to follow", func(st terminal.Status) bool { return st.Online == up })
	}
	id := []string{"zhang", "li"}[s.rng.IntN(2)]
	r.insert(id)
	for range 3 {
		balance := r.Station.Terminal.Status().Card.Balance
		when := ""
		if s.rng.IntN(5) == 0 {
			when = []string{kiosk.TearBefore, kiosk.TearDuring, kiosk.TearAfter}[s.rng.IntN(3)]
			s.counts["torn"]++
		}
		if err := r.Tear(when); err != nil {
			r.Fatal(err)
		}
		amount := money.Fen(1+s.rng.IntN(40)) * 1_00
		load := balance < 200_00 || (balance < 700_00 && s.rng.IntN(2) == 0)
		if load {
			amount = max(amount, 10_00)
		}
		s.wishes++
		wish := journal.TokenOf(fmt.Sprint("soak ", s.wishes))
		if !r.State().LinkUp {
			s.counts["off line"]++
		}
		var rc terminal.Receipt
		var err error
		if load {
			rc, err = r.Station.Terminal.TopUp(r.ctx, terminal.TopUpRequest{Token: wish, Who: clerk, Card: r.Number(id), Amount: amount, Tendered: amount})
		} else {
			rc, err = r.Station.Terminal.Redeem(r.ctx, terminal.RedeemRequest{Token: wish, Who: clerk, Card: r.Number(id), Account: accounts[s.rng.IntN(len(accounts))].Number, Amount: amount})
		}
		var refused *terminal.Refusal
		switch {
		case asRefusal(err, &refused):
			s.counts["refused"]++
		case err != nil:
			r.Fatalf("wish %d: %v", s.wishes, err)
		default:
			s.counts[map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done", journal.Unknown: "unknown"}[rc.Result]]++
		}
		if err := r.Tear(""); err != nil {
			r.Fatal(err)
		}
		if !r.in(id) { // torn out: the customer tries again
			r.until("the empty reader", func(st terminal.Status) bool { return st.Card.State == terminal.CardNone })
			r.insert(id)
		}
		if s.rng.IntN(4) == 0 { // a wish that must be refused
			if _, err := r.Station.Terminal.Redeem(r.ctx, terminal.RedeemRequest{Token: token(), Who: clerk, Card: r.Number(id), Account: accounts[0].Number, Amount: money.MaxPurse}); !asRefusal(err, &refused) {
				r.Fatalf("a payment of more than the card holds: %v", err)
			}
			s.counts["refused"]++
		}
	}
	r.pull()
}

func (r *running) in(id string) bool {
	return slices.ContainsFunc(r.Cards(), func(c kiosk.DeskCard) bool { return c.ID == id && c.In })
}

func (s *soak) take() {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	x := sample{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine()}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		fmt.Sscan(string(b), &size, &pages)
		x.resident = pages * uint64(os.Getpagesize())
	}
	if es, err := os.ReadDir("/proc/self/fd"); err == nil {
		x.files = len(es)
	}
	s.samples = append(s.samples, x)
}

// flat compares the middle of the last quarter with that of the first, of
// which the very first start, when everything is made, is left out.
func (s *soak) flat(t *testing.T) {
	rest := s.samples[1:]
	quarter := max(2, len(rest)/4)
	middle := func(of []sample, get func(sample) uint64) uint64 {
		var v []uint64
		for _, x := range of {
			v = append(v, get(x))
		}
		slices.Sort(v)
		return v[(len(v)-1)/2]
	}
	for _, c := range []struct {
		name  string
		get   func(sample) uint64
		slack uint64 // beside a tenth
	}{
		{"bytes of heap", func(x sample) uint64 { return x.heap }, 2 << 20},
		{"bytes resident", func(x sample) uint64 { return x.resident }, 16 << 20},
		{"goroutines", func(x sample) uint64 { return uint64(x.goroutines) }, 3},
		{"open files", func(x sample) uint64 { return uint64(x.files) }, 3},
	} {
		first, last := middle(rest[:quarter], c.get), middle(rest[len(rest)-quarter:], c.get)
		t.Logf("%s: %d in the first quarter, %d in the last", c.name, first, last)
		if last > first+first/10+c.slack {
			t.Errorf("%s grew from %d to %d", c.name, first, last)
		}
	}
}
