package world

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var few = uint64(400) // seeds in a plain run of the tests

var (
	seeds = flag.Uint64("sim.seeds", 0, "how many seeds TestSeeds runs; 0: a few")
	from  = flag.Uint64("sim.from", 0, "the first of them")
	hours = flag.Float64("sim.hours", 0, "end TestSeeds after so many hours; 0: when the seeds are done")
	one   = flag.String("sim.seed", "", "the seed that TestSeed runs")
	keep  = flag.String("sim.keep", "", "the steps of its plan that are taken, as a failure prints them; empty: all")
	most  = flag.Int("sim.most", 20, "end TestSeeds after so many failures; with 1 they are not made smaller")
	out   = flag.String("sim.figures", "", "file to which TestSeeds writes its figures")
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

// inWorld runs something in a bubble of its own, where all time and all chance
// are the world's.
func inWorld(t *testing.T, seed uint64, f func(dir string)) {
	cryptotest.SetGlobalRandom(t, seed)
	dir := folder(t)
	synctest.Test(t, func(*testing.T) { f(dir) })
}

func run(t *testing.T, name string, seed uint64, keep []int) (f Figures, failure *Failure) {
	t.Run(name, func(t *testing.T) {
		inWorld(t, seed, func(dir string) { f, failure = Run(dir, seed, Plan(seed), keep) })
	})
	return f, failure
}

func warm(t *testing.T) {
	t.Run("template", func(t *testing.T) {
		inWorld(t, 0, func(dir string) {
			if err := Furnish(dir); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// report prints a failure with the fewest steps that still show it, and how
// to see it again.
func report(t *testing.T, f *Failure) {
	t.Helper()
	all := f.Keep
	if all == nil {
		for i := range Plan(f.Seed) {
			all = append(all, i)
		}
	}
	small := f
	steps := Shrink(all, func(keep []int) bool {
		_, again := run(t, "shrink", f.Seed, keep)
		if again == nil || again.Rule != f.Rule {
			return false
		}
		small = again
		return true
	})
	var list []string
	for _, i := range steps {
		list = append(list, strconv.Itoa(i))
	}
	t.Errorf("%v\n\nagain: go test ./internal/world -run 'TestSeed$' -sim.seed=%d -sim.keep=%s\n(from: %s)", small, f.Seed, strings.Join(list, ","), f.What)
}

// TestSeeds runs worlds.
func TestSeeds(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // a world is small and short
	warm(t)
	n := *seeds
	if n == 0 {
		n = few
	}
	var sum Figures
	start := time.Now()
	var failures []*Failure
	for seed := *from; seed < *from+n && len(failures) < *most; seed++ {
		if *hours > 0 && time.Since(start).Hours() > *hours {
			break
		}
		f, failure := run(t, fmt.Sprint("seed=", seed), seed, nil)
		sum.Add(f)
		if failure != nil {
			failures = append(failures, failure)
			t.Logf("seed %d: %s", seed, failure.What)
		}
	}
	if *from == 0 && n >= 400 && len(failures) == 0 && (*hours == 0 || uint64(sum.Worlds) >= n) {
		everything(t, sum)
	}
	text := figures(sum, time.Since(start))
	t.Log(text)
	if *out != "" {
		if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	for i, f := range failures {
		if *most == 1 {
			t.Error(f)
			break
		}
		if i == 3 {
			t.Errorf("and %d more", len(failures)-3)
			break
		}
		report(t, f)
	}
}

// everything requires that each kind of fault happened, and each kind of tear
// at the commands that move value: what never happens proves nothing.
func everything(t *testing.T, f Figures) {
	faults := slices.Concat(linkFaults, tearNames[:], []string{
		failData, failMeta, failFull, failCopy, "disk nearly full", "disk restored from an older copy", "second copy restored with it",
		"terminal cloned", "the other of two cloned terminals works", "card cloned", "another card put in at once",
		"SAM pulled", "SAMs of two terminals exchanged", "clock jumps", "line cut", "same wish twice", "void after the card was handed over",
		"bill changed while it was paid", "slip shown again", "claim asked for at two terminals at once", "card asked about at two terminals at once",
		"power of a terminal fails", "process of a terminal killed", "utility killed after a write", "utility killed before a write",
	})
	for _, k := range faults {
		if f.Faults[k] == 0 {
			t.Errorf("in %d worlds there never was: %s", f.Worlds, k)
		}
	}
	for _, ins := range []byte{insCredit, insDebit} {
		for _, how := range tearNames {
			if f.Torn[instructions[ins]+": "+how] == 0 {
				t.Errorf("in %d worlds there never was: %s: %s", f.Worlds, instructions[ins], how)
			}
		}
	}
}

// figures writes what was done for people.
func figures(f Figures, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nworlds %d, steps %d, terminal-years %.1f, entries %d, assertions %d, unknown to the end and shown %d, in %s\n",
		f.Worlds, f.Steps, f.Hours/24/365, f.Entries, f.Assertions, f.Unsettled, took.Round(time.Second))
	for _, x := range []struct {
		title string
		of    map[string]int
	}{{"faults", f.Faults}, {"of them at a command", f.Torn}, {"outcomes", f.Outcomes}, {"found", f.Found}} {
		fmt.Fprintf(&b, "%s:\n", x.title)
		for _, k := range slices.Sorted(maps.Keys(x.of)) {
			fmt.Fprintf(&b, "%9d  %s\n", x.of[k], k)
		}
	}
	return b.String()
}

// TestReplay requires that a seed makes the same world twice, byte for byte.
func TestReplay(t *testing.T) {
	warm(t)
	for _, seed := range []uint64{2, 7, 9, 11} {
		a, fa := run(t, fmt.Sprint("first=", seed), seed, nil)
		b, fb := run(t, fmt.Sprint("again=", seed), seed, nil)
		if fa != nil || fb != nil {
			t.Errorf("seed %d: %v %v", seed, fa, fb)
		}
		if a.Hash != b.Hash || figures(a, 0) != figures(b, 0) {
			t.Errorf("seed %d made two worlds: %s and %s", seed, a.Hash, b.Hash)
		}
	}
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
	f, failure := run(t, "run", seed, only)
	if failure != nil {
		t.Fatalf("%v", failure)
	}
	t.Log(figures(f, 0))
}
