package world

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Uint64("sim.seeds", 120, "how many seeds TestSeeds runs")
	from  = flag.Uint64("sim.from", 0, "the first of them")
	hours = flag.Float64("sim.hours", 0, "end TestSeeds after so many hours; 0: when the seeds are done")
	one   = flag.String("sim.seed", "", "the seed that TestSeed runs")
	keep  = flag.String("sim.keep", "", "the steps of its plan that are taken, as a failure prints them; empty: all")
)

// folder gives an empty folder in memory where the machine has one: what is
// lost with power is the world's business, not the disk's.
func folder(t testing.TB) string {
	base := "/dev/shm"
	if st, err := os.Stat(base); err != nil || !st.IsDir() {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "dianka-world-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// run runs one seed in a bubble of its own: all time and all chance in it are
// the world's.
func run(t *testing.T, seed uint64, keep []int) (f Figures, failure *Failure) {
	cryptotest.SetGlobalRandom(t, seed)
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		f, failure = Run(dir, seed, Plan(seed), keep)
	})
	return f, failure
}

func warm(t *testing.T) {
	t.Run("template", func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 0)
		dir := folder(t)
		synctest.Test(t, func(t *testing.T) {
			if err := Furnish(dir); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestSeeds runs worlds.
func TestSeeds(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // a world is small and short
	warm(t)
	var sum Figures
	start := time.Now()
	for seed := *from; seed < *from+*seeds; seed++ {
		if *hours > 0 && time.Since(start).Hours() > *hours {
			break
		}
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			f, failure := run(t, seed, nil)
			sum.Add(f)
			if failure != nil {
				t.Errorf("%v", failure)
			}
		})
	}
	t.Logf("%+v in %s", sum, time.Since(start))
}

// TestSeed runs one seed that is asked for, or a part of its plan.
func TestSeed(t *testing.T) {
	if *one == "" {
		t.Skip("no -sim.seed")
	}
	warm(t)
	seed, err := strconv.ParseUint(*one, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var only []int
	for _, s := range strings.FieldsFunc(*keep, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		only = append(only, n)
	}
	t.Run("run", func(t *testing.T) {
		f, failure := run(t, seed, only)
		if failure != nil {
			t.Fatalf("%v", failure)
		}
		t.Logf("%+v", f)
	})
}
