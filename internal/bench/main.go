//go:build linux

// Command bench measures the figures that the product promises and prints
// each beside its goal and beside what it is compared to, measured in the
// same run on the same disk: a redemption's time split into exchanges,
// commits and ours; commits per transaction; intake on SQLite; memory and
// start of a terminal with a million entries. See docs/performance.md.
//
// It may import everything and is imported by nothing. It talks to loopback
// only and leaves nothing behind. A missed goal is printed, and is no error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dianka/dianka/reader/vpcd/private"
)

func main() {
	private.Inside()
	dir := flag.String("dir", "", "folder on the disk to measure; empty: that of temporary files")
	only := flag.String("only", "redemption,pcsc,serial,commits,intake,start,screen,cardtool", "what to measure")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	idle := flag.String("idle", "", "be a terminal at rest on this folder (the program starts itself so)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *idle != "" {
		err = rest(ctx, *idle)
	} else {
		err = profiled(*profile, func() error { return run(ctx, *dir, *only) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, w.Close())
}

func run(ctx context.Context, parent, only string) error {
	dir, err := os.MkdirTemp(parent, "dianka-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s, %s, %d processors, load before %.14s, files in %s\n", runtime.Version(), runtime.GOARCH, runtime.NumCPU(), load, filepath.Dir(dir))
	for _, part := range []struct {
		name string
		do   func(context.Context, string) error
	}{
		{"redemption", redemption}, {"pcsc", redemptionPCSC}, {"serial", redemptionSerial}, {"commits", commits}, {"intake", intake}, {"start", start}, {"screen", screen}, {"cardtool", cardtoolSpeed},
	} {
		if !slices.Contains(strings.Split(only, ","), part.name) {
			continue
		}
		sub := filepath.Join(dir, part.name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			return err
		}
		if err := part.do(ctx, sub); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := os.RemoveAll(sub); err != nil {
			return err
		}
	}
	return nil
}

func title(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

// line prints a figure, with what stands beside it.
func line(name, value, beside string) {
	fmt.Println(strings.TrimRight(fmt.Sprintf("  %-36s %-22s %s", name, value, beside), " "))
}

// goal says whether a figure keeps what was promised.
func goal(met bool, what string) string {
	if met {
		return "goal " + what + ": met"
	}
	return "goal " + what + ": MISSED"
}

// times are the durations of one thing done many times.
type times []time.Duration

// at gives the value below which the fraction p lies.
func (t times) at(p float64) time.Duration {
	s := slices.Sorted(slices.Values(t))
	return s[min(len(s)-1, int(p*float64(len(s))))]
}

func (t times) sum() (d time.Duration) {
	for _, x := range t {
		d += x
	}
	return d
}

func (t times) String() string { return fmt.Sprintf("%9s %9s", ms(t.at(0.5)), ms(t.at(0.99))) }

func ms(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }
