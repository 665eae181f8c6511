package store

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// TestBackwards: newest first, of the wanted types, of this epoch only, over
// more entries than one step looks at, and no further than asked.
func TestBackwards(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, &journal.Staff{Act: journal.ActLogin, Count: 99}) // of the epoch before
	if err := s.Renew(Identity{Terminal: terminal, Shop: 1, Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	const n = backwardsStep*2 + 7
	var d []Draft
	for i := 1; i <= n; i++ {
		body := journal.Body(&journal.Start{})
		if i%1000 == 1 {
			body = &journal.Staff{Act: journal.ActLogin, Count: uint32(i)}
		}
		d = append(d, Draft{Actor: journal.System, Body: body})
	}
	put(t, s, d...)
	var got []uint64
	all := func(types ...journal.Type) []uint64 {
		t.Helper()
		got = nil
		if err := s.Backwards(func(e journal.Entry) bool { got = append(got, e.Name.Seq); return true }, types...); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if all(journal.TypeStaff); len(got) != 9 || got[0] != 8001 || got[8] != 1 {
		t.Fatalf("%v", got)
	}
	if all(journal.TypeStaff, journal.TypeStart); len(got) != n || got[0] != n || got[n-1] != 1 {
		t.Fatalf("%d entries", len(got))
	}
	if all(journal.TypeShiftOpen); len(got) != 0 {
		t.Fatalf("%v", got)
	}
	got = nil
	s.Backwards(func(e journal.Entry) bool { got = append(got, e.Name.Seq); return len(got) < 2 }, journal.TypeStaff)
	if len(got) != 2 || got[1] != 7001 {
		t.Fatalf("%v", got)
	}

	// What was altered is not told.
	alter := func() {
		t.Helper()
		s.Close()
		edit(t, s.path, func(tx *bbolt.Tx) error {
			b, k := tx.Bucket(bucketJournal), refKey(journal.Ref{Epoch: 2, Seq: 7001})
			v := append([]byte(nil), b.Get(k)...)
			v[len(v)-6] ^= 1 // its count
			return b.Put(k, v)
		})
		s = reopen(t, s.path)
	}
	alter()
	err := s.Backwards(func(e journal.Entry) bool { return e.Name.Seq > 7001 }, journal.TypeStaff)
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("an altered entry: %v", err)
	}
	alter() // back again
}

// TestHeard: the utility's time is the latest of what it signed.
func TestHeard(t *testing.T) {
	s := fresh(t)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	heard := func(want int64) {
		t.Helper()
		at, err := s.Heard()
		if err != nil || (want == 0) != at.IsZero() || want != 0 && at != time.UnixMilli(want) {
			t.Fatalf("%v, %v; want %d", at, err, want)
		}
	}
	heard(0)
	put1(t, s, journal.Ref{}, &journal.Start{})
	put1(t, s, journal.Ref{}, &journal.Start{})
	section := func(k wire.SectionKind, version uint64, issued int64) {
		t.Helper()
		sec := wire.Section{Kind: k, Version: version, Issued: issued}
		if err := s.PutSection(wire.Seal("section", &sec, key), sec); err != nil {
			t.Fatal(err)
		}
	}
	ack := func(through uint64, server int64) {
		t.Helper()
		a := ackOf(t, s, 1, through)
		a.Server = server
		if err := s.PutAck(wire.Seal("ack", &a, key), a); err != nil {
			t.Fatal(err)
		}
	}
	section(wire.SectionItems, 1, 5000)
	heard(5000)
	ack(1, 4000)
	heard(5000)
	section(wire.SectionHotlist, 1, 6000)
	heard(6000)
	ack(2, 7000)
	heard(7000)
	s.Close()
	s = reopen(t, s.path)
	heard(7000)
}
