package store

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

const million = 1_000_000

// Goals of the product for a start with a million entries.
const (
	goalOpen = 500 * time.Millisecond
	goalHeap = 40 << 20 // bytes, without the mapped file
)

// long makes, once, a file of a million entries: redemptions and top-ups of
// ten thousand cards, none of it acknowledged.
var long = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dianka-store-")
	if err != nil {
		return "", err
	}
	longDir = dir
	path := filepath.Join(dir, "journal.db")
	if err := Create(path, identity, Options{}); err != nil {
		return "", err
	}
	s, err := Open(path, Options{Clock: tick()})
	if err != nil {
		return "", err
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for seq := uint64(0); seq < million; {
		var ds []Draft
		for len(ds) < 2000 {
			c := money.CardNumber{6: 1, 8: byte(r.IntN(40)), 9: byte(r.IntN(256))}
			ref := journal.Ref{Epoch: 1, Seq: seq + 1}
			var tok journal.Token
			for i := range tok {
				tok[i] = byte(r.Uint32())
			}
			if r.IntN(3) > 0 {
				ds = append(ds,
					Draft{clerk, journal.Ref{}, &journal.PurchaseIntent{Token: tok, Purpose: journal.PurposeRedeem, Card: c, Account: 7, Amount: 50_00}},
					Draft{clerk, ref, bought(journal.Done)})
				seq += 2
			} else {
				ds = append(ds,
					Draft{clerk, journal.Ref{}, &journal.LoadIntent{Token: tok, Purpose: journal.PurposeTopUp, Card: c, Amount: 50_00, Tendered: 50_00}},
					Draft{clerk, ref, &journal.LoadAuthorised{}},
					Draft{clerk, ref, loaded(journal.Done)})
				seq += 3
			}
		}
		if _, err := s.Append(ctx, ds...); err != nil {
			return "", err
		}
	}
	return path, nil
})

var longDir string

func longFile(b *testing.B) string {
	b.Helper()
	path, err := long()
	if err != nil {
		b.Fatal(err)
	}
	return path
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOpenMillion is the start of a terminal with a million entries:
// goals 0.5 s and 40 MiB of heap.
func BenchmarkOpenMillion(b *testing.B) {
	path := longFile(b)
	var worst uint64
	for b.Loop() {
		s, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		worst = max(worst, heap())
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(worst)/(1<<10), "heap-KiB")
	if i, err := os.Stat(path); err == nil {
		b.ReportMetric(float64(i.Size())/million, "file-B/entry")
	}
	if worst > goalHeap {
		b.Errorf("%d bytes of heap, goal %d", worst, goalHeap)
	}
	if d := b.Elapsed() / time.Duration(b.N); d > goalOpen {
		b.Errorf("%s to open, goal %s", d, goalOpen)
	}
}

// BenchmarkCheckMillion is the full check.
func BenchmarkCheckMillion(b *testing.B) {
	s, err := Open(longFile(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if _, err := s.Check(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkVerifyMillion is the check of a start, in a process of its own.
func BenchmarkVerifyMillion(b *testing.B) {
	path := longFile(b)
	for name, full := range map[string]bool{"structure": false, "full": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := Verify(ctx, path, Options{}, full); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTreeMillion is the walk of the pages, which is a part of Verify and
// of Check.
func BenchmarkTreeMillion(b *testing.B) {
	s, err := Open(longFile(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if err := s.view(func(tx *bbolt.Tx) error { return checkTree(s.path, tx) }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedemption is intent and outcome, two commits, in a file of a
// million entries; the disk's flushes are nearly all of it.
func BenchmarkRedemption(b *testing.B) {
	s, err := Open(longFile(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	tok, commits := rand.Uint64(), s.Commits()
	for b.Loop() {
		tok++
		es, err := s.Append(ctx, Draft{clerk, journal.Ref{}, redeem(tok, byte(tok), 100)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Append(ctx, Draft{clerk, es[0].Name.Ref(), bought(journal.Done)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Commits()-commits)/float64(b.N), "commits/op")
}

// BenchmarkGroup is one entry each from 64 callers at a time.
func BenchmarkGroup(b *testing.B) {
	s := fresh(b)
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Append(ctx, Draft{clerk, journal.Ref{}, &journal.Start{}}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(s.Commits())/float64(b.N), "commits/op")
}

// BenchmarkTransaction reads one transaction of a million entries, verified.
func BenchmarkTransaction(b *testing.B) {
	s, err := Open(longFile(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ts, err := s.Recent(100, journal.Ref{Epoch: 1, Seq: million / 2})
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		if _, err := s.Transaction(ts[i%len(ts)].Name.Ref()); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
