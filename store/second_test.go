package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dianka/dianka/journal"
)

// brokenFile fails what it is told to.
type brokenFile struct {
	File
	write, sync, truncate error
}

func (f *brokenFile) WriteAt(b []byte, at int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.File.WriteAt(b, at)
}

func (f *brokenFile) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.File.Sync()
}

func (f *brokenFile) Truncate(n int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.File.Truncate(n)
}

// copyHolds requires that the second copy on disk has every unsent entry of
// the store, and nothing else of the chains.
func copyHolds(t testing.TB, s *Store) {
	t.Helper()
	got := map[journal.Ref]string{}
	c := scanned(t, s, func(f frame) { got[f.ref] = string(f.entry) })
	if c.torn || c.id != s.Identity() {
		t.Errorf("the second copy: %+v", c)
	}
	for _, e := range s.Epochs() {
		for seq := e.Acked + 1; seq <= e.Head.Seq; seq++ {
			ref := journal.Ref{Epoch: e.Head.Epoch, Seq: seq}
			_, raw, err := s.EntriesOf(ref.Epoch, seq, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got[ref] != string(raw[0]) {
				t.Fatalf("the second copy lacks entry %d-%d or has another", ref.Epoch, ref.Seq)
			}
		}
		if p := c.part(e.Head.Epoch); p != nil && (p.last.seq != e.Head.Seq || p.last.hash != e.Head.Hash) {
			t.Errorf("the second copy ends at %d-%d, the chain at %d", p.last.epoch, p.last.seq, e.Head.Seq)
		}
	}
}

// scanned reads the second copy and verifies its chains.
func scanned(t testing.TB, s *Store, fn func(frame)) copied {
	t.Helper()
	f, err := os.Open(s.Copy().Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := scanCopy(f, func(f frame, prev journal.Hash) error {
		if journal.Link(prev, f.entry) != f.hash {
			return fmt.Errorf("entry %d does not follow", f.ref.Seq)
		}
		fn(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bytesOf(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func place(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An entry is in the second copy, synced, before anybody is told.
func TestCopyBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t)
		gate := make(chan struct{})
		s.second.file = &gatedFile{File: s.second.file, gate: gate}
		done := make(chan struct{})
		go func() {
			defer close(done)
			put1(t, s, journal.Ref{}, redeem(1, 1, 1))
		}()
		synctest.Wait() // until everybody waits for the sync of the copy
		select {
		case <-done:
			t.Fatal("the entry counts as written before its second copy is on disk")
		default:
		}
		if s.Head().Seq != 0 {
			t.Fatal("the entry is visible before its second copy is on disk")
		}
		close(gate)
		<-done
		if n := scanned(t, s, func(frame) {}).held; n != 1 {
			t.Fatalf("%d entries in the second copy", n)
		}
	})
}

// gatedFile waits at its syncs until the gate is opened.
type gatedFile struct {
	File
	gate chan struct{}
}

func (f *gatedFile) Sync() error {
	<-f.gate
	return f.File.Sync()
}

// A file put back from an older disk takes what it lacks out of the copy, over
// an enrolment too.
func TestOldFileHeals(t *testing.T) {
	for _, renew := range []bool{false, true} {
		t.Run(fmt.Sprint("renewed ", renew), func(t *testing.T) {
			s := fresh(t)
			history(t, s, rand.New(rand.NewPCG(1, 1)), 50)
			at := s.Head()
			if err := s.PutAck([]byte("a"), ackOf(t, s, 1, at.Seq/2)); err != nil {
				t.Fatal(err)
			}
			s.Close()
			old := bytesOf(t, s.path)
			s = reopen(t, s.path)
			history(t, s, rand.New(rand.NewPCG(2, 1)), 50)
			if renew {
				if err := s.Renew(Identity{Terminal: terminal, Shop: 2, Epoch: 3}); err != nil {
					t.Fatal(err)
				}
				put1(t, s, journal.Ref{}, &journal.Start{})
			}
			want, id := s.Epochs(), s.Identity()
			s.Close()
			place(t, s.path, old)

			s = reopen(t, s.path)
			if got := s.Epochs(); fmt.Sprint(got) != fmt.Sprint(want) || s.Identity() != id {
				t.Fatalf("after the older file came back:\n%+v\nwant\n%+v", got, want)
			}
			total := uint64(0)
			for _, e := range want {
				total += e.Head.Seq
			}
			if c := s.Copy(); c.Taken != total-at.Seq || c.Problem != nil {
				t.Errorf("%+v", c)
			}
			sound(t, s)
		})
	}
}

// What an older, a lost or a foreign copy lacks goes into it at the next open.
func TestCopyIsCompleted(t *testing.T) {
	s := fresh(t)
	history(t, s, rand.New(rand.NewPCG(3, 1)), 20)
	old := bytesOf(t, s.Copy().Path)
	history(t, s, rand.New(rand.NewPCG(4, 1)), 20)
	for what, b := range map[string][]byte{"older": old, "lost": nil} {
		t.Run(what, func(t *testing.T) {
			s.Close()
			if b == nil {
				os.Remove(s.Copy().Path)
			} else {
				place(t, s.Copy().Path, b)
			}
			s = reopen(t, s.path)
			if c := s.Copy(); c.Problem != nil || c.Taken != 0 {
				t.Fatalf("%+v", c)
			}
			copyHolds(t, s)
		})
	}
}

// A copy torn at any byte of its last frames is cut there and completed. No
// other file is made of it.
func TestCopyTorn(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	put1(t, s, journal.Ref{}, redeem(2, 1, 1))
	path := s.Copy().Path
	whole := bytesOf(t, path)
	start := len(whole) - 2*((len(whole)-copyHeaderLen-frameHeadLen)/2)
	s.Close()
	for n := start; n <= len(whole); n += 7 {
		for what, torn := range map[string][]byte{
			"cut":     whole[:n],
			"zeros":   append(bytes.Clone(whole[:n]), make([]byte, len(whole)-n)...),
			"garbage": append(bytes.Clone(whole[:n]), bytes.Repeat([]byte{0xA5}, 100)...),
		} {
			place(t, path, torn)
			s, err := Open(s.path, Options{Reserve: 1})
			if err != nil {
				t.Fatal(n, what, err)
			}
			if c := s.Copy(); c.Problem != nil || c.Aside != "" {
				t.Fatalf("%d %s: %+v", n, what, c)
			}
			copyHolds(t, s)
			s.Close()
		}
	}
}

// A copy that is not of this journal, or is damaged in its middle while the
// file lacks what comes behind, is kept under another name and reported.
func TestCopyAside(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	s.Close()
	file, first := bytesOf(t, s.path), bytesOf(t, s.Copy().Path)
	s = reopen(t, s.path)
	for i := range uint64(3) {
		put1(t, s, journal.Ref{}, redeem(10+i, 2, 2))
	}
	s.Close()
	other := bytesOf(t, s.Copy().Path)
	gap := bytes.Clone(other)
	gap[len(first)+frameHeadLen+5] ^= 1
	stranger := bytes.Clone(first)
	stranger[9] ^= 1
	copy(stranger[copyHeaderLen-4:], copyHeaderSum(stranger))

	place(t, s.path, file)
	place(t, s.Copy().Path, first)
	s = reopen(t, s.path)
	put1(t, s, journal.Ref{}, redeem(2, 3, 3)) // a fork
	head := s.Head()
	s.Close()
	here := bytesOf(t, s.path)
	loose := appendFrame(bytesOf(t, s.Copy().Path), frame{journal.Ref{Epoch: 1, Seq: 3}, journal.Hash{9}, []byte("does not follow")})
	for what, b := range map[string][]byte{
		"fork": other, "fork as long as the file": other[:len(first)+(len(other)-len(first))/3],
		"an entry that does not follow": loose, "damaged in the middle": gap, "another terminal's": stranger, "no copy at all": []byte(strings.Repeat("x", 500)), "empty": {},
	} {
		t.Run(what, func(t *testing.T) {
			place(t, s.path, here)
			place(t, s.Copy().Path, b)
			o, err := Open(s.path, Options{Reserve: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			c := o.Copy()
			if !errors.Is(c.Problem, ErrCopy) || c.Aside == "" || !strings.Contains(c.Problem.Error(), c.Aside) || c.Taken != 0 {
				t.Fatalf("%+v", c)
			}
			if !bytes.Equal(bytesOf(t, c.Aside), b) {
				t.Error("what was put aside is not what was there")
			}
			if o.Head() != head {
				t.Errorf("the file took something: %+v", o.Head())
			}
			copyHolds(t, o)
		})
	}
}

func copyHeaderSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.Checksum(b[:copyHeaderLen-4], castagnoli))
}

// A copy that cannot be written does not keep the shop closed: it is reported,
// and made anew at the next open.
func TestCopyBreaks(t *testing.T) {
	for what, f := range map[string]brokenFile{"write": {write: errDisk}, "sync": {sync: errDisk}} {
		t.Run(what, func(t *testing.T) {
			s := fresh(t)
			put1(t, s, journal.Ref{}, redeem(1, 1, 1))
			b := f
			b.File = s.second.file
			s.second.file = &b
			put1(t, s, journal.Ref{}, redeem(2, 1, 1))
			put1(t, s, journal.Ref{}, redeem(3, 1, 1))
			if c := s.Copy(); !errors.Is(c.Problem, ErrCopy) || !errors.Is(c.Problem, errDisk) {
				t.Fatalf("%+v", c)
			}
			s.Close()
			s = reopen(t, s.path)
			if s.Copy().Problem != nil || s.Head().Seq != 3 {
				t.Fatalf("%+v", s.Copy())
			}
			copyHolds(t, s)
		})
	}
	t.Run("no such medium", func(t *testing.T) {
		s := fresh(t)
		s.Close()
		o, err := Open(s.path, Options{Reserve: 1, Copy: filepath.Join(t.TempDir(), "stick", "terminal.copy")})
		if err != nil {
			t.Fatal(err)
		}
		put1(t, o, journal.Ref{}, redeem(1, 1, 1))
		if c := o.Copy(); !errors.Is(c.Problem, fs.ErrNotExist) {
			t.Fatalf("%+v", c)
		}
		o.Close()
	})
}

// What the utility holds leaves the copy once it is worth the trouble.
func TestCopyTrim(t *testing.T) {
	s := fresh(t)
	for s.second.size <= trimAbove {
		var ds []Draft
		for range 2000 {
			ds = append(ds, Draft{clerk, journal.Ref{}, redeem(rand.Uint64(), 1, 1)})
		}
		put(t, s, ds...)
	}
	if err := s.PutAck([]byte("a"), ackOf(t, s, 1, s.Head().Seq/3)); err != nil {
		t.Fatal(err)
	}
	if scanned(t, s, func(frame) {}).held != s.Head().Seq {
		t.Fatal("the copy was made anew for little")
	}
	if err := s.PutAck([]byte("b"), ackOf(t, s, 1, s.Head().Seq-2)); err != nil {
		t.Fatal(err)
	}
	if c := scanned(t, s, func(frame) {}); c.held != 2 || s.second.size > 10<<10 {
		t.Fatalf("%+v", c)
	}
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	copyHolds(t, s)
	s.Close()
	s = reopen(t, s.path)
	copyHolds(t, s)
}

// A file that never reached the place where its copy goes on is not used:
// what lies between is at the utility only, and what follows in the copy.
func TestBehind(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	s.Close()
	old := bytesOf(t, s.path)
	s = reopen(t, s.path)
	put1(t, s, journal.Ref{}, redeem(2, 1, 1))
	if err := s.PutAck([]byte("a"), ackOf(t, s, 1, 2)); err != nil {
		t.Fatal(err)
	}
	put1(t, s, journal.Ref{}, redeem(3, 1, 1))
	s.Close()
	os.Remove(s.Copy().Path) // made anew, it begins behind entry 2
	s = reopen(t, s.path)
	s.Close()
	now, kept := bytesOf(t, s.path), bytesOf(t, s.Copy().Path)
	place(t, s.path, old)
	if _, err := Open(s.path, Options{Reserve: 1}); !errors.Is(err, ErrBehind) {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(t, s.Copy().Path), kept) {
		t.Error("the copy was touched")
	}
	place(t, s.path, now)
	reopen(t, s.path)
}

// A new file is not made over a copy of an earlier one.
func TestCreateSparesCopy(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	s.Close()
	kept := bytesOf(t, s.Copy().Path)
	os.Remove(s.path)
	if err := Create(s.path, identity, Options{}); !errors.Is(err, ErrCopy) {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path); !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(bytesOf(t, s.Copy().Path), kept) {
		t.Error("something was changed")
	}
}

// Any order of writing, acknowledging, enrolling and opening again leaves file
// and copy agreed.
func TestCopyFollows(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	s := fresh(t)
	for range 25 {
		history(t, s, r, 1+r.IntN(10))
		switch es := s.Epochs(); r.IntN(4) {
		case 0:
			e := es[r.IntN(len(es))]
			if e.Head.Seq > e.Acked {
				if err := s.PutAck([]byte("a"), ackOf(t, s, e.Head.Epoch, e.Acked+1+r.Uint64N(e.Head.Seq-e.Acked))); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			if err := s.Renew(Identity{Terminal: terminal, Epoch: s.Identity().Epoch + 1}); err != nil {
				t.Fatal(err)
			}
		case 2:
			s.Close()
			s = reopen(t, s.path)
			if c := s.Copy(); c.Problem != nil || c.Taken != 0 {
				t.Fatalf("%+v", c)
			}
		}
		copyHolds(t, s)
	}
}

// FuzzCopy reads any bytes as a second copy: what is good of them is exactly
// what the frames read would be written as.
func FuzzCopy(f *testing.F) {
	id := identity
	base := appendFrame(copyHeader(id), frame{ref: journal.Ref{Epoch: 1}, hash: journal.Genesis(terminal, 1)})
	one := appendFrame(bytes.Clone(base), frame{journal.Ref{Epoch: 1, Seq: 1}, journal.Hash{1}, []byte("entry")})
	two := appendFrame(bytes.Clone(one), frame{journal.Ref{Epoch: 1, Seq: 2}, journal.Hash{2}, []byte("another")})
	for _, b := range [][]byte{nil, base[:20], base, one, two, two[:len(two)-3], append(bytes.Clone(one), make([]byte, 200)...), append(bytes.Clone(one), base[copyHeaderLen:]...)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out []byte
		c, err := scanCopy(bytes.NewReader(b), func(f frame, _ journal.Hash) error {
			out = appendFrame(out, f)
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrCopy) {
				t.Fatal(err)
			}
			return
		}
		if c.good > int64(len(b)) || c.torn != (c.good < int64(len(b))) {
			t.Fatalf("%d of %d bytes, torn %t", c.good, len(b), c.torn)
		}
		again := copyHeader(c.id)
		for _, p := range c.parts {
			again = appendFrame(again, frame{ref: journal.Ref{Epoch: p.base.epoch, Seq: p.base.seq}, hash: p.base.hash})
		}
		if int64(len(again)+len(out)) != c.good {
			t.Fatalf("%d bytes were read as frames of %d", c.good, len(again)+len(out))
		}
		if _, err := scanCopy(io.LimitReader(bytes.NewReader(b), c.good), func(frame, journal.Hash) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
