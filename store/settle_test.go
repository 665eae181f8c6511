package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/internal/canon/canontest"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// TestSettling: shifts, what is said about them, and stock are found by what a
// person asks for, and found again after everything was made anew.
func TestSettling(t *testing.T) {
	s := fresh(t)
	var closes []journal.Ref
	for n := range uint32(4) {
		open := put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: n + 1})
		e := put(t, s, Draft{Actor: clerk, Ref: open, Body: &journal.ShiftClose{Number: n + 1, Counted: 1}})
		closes = append(closes, e[0].Name.Ref())
		put1(t, s, closes[n], &journal.ShiftTally{Token: token(uint64(n) + 1)})
	}
	why := put1(t, s, closes[1], &journal.ShiftDifference{Token: token(90), Difference: 1, Cause: journal.CauseChange})
	pack := put1(t, s, journal.Ref{}, &journal.StockReceipt{Token: token(91), From: card(10), To: card(19), Cards: 10})
	put1(t, s, journal.Ref{}, &journal.StockReceipt{Token: token(92), From: card(30), To: card(39), Cards: 10})
	count := put1(t, s, pack, &journal.StockCount{Token: token(93), Found: 9, Expected: 10})
	for _, c := range []byte{9, 10, 12, 19, 20} {
		put1(t, s, journal.Ref{}, &journal.CardSale{Card: card(c)})
	}
	look := func() {
		t.Helper()
		list, err := s.Closes(3)
		if err != nil || len(list) != 3 || list[0].Name.Ref() != closes[3] || list[2].Name.Ref() != closes[1] {
			t.Errorf("closes %v, %v", list, err)
		}
		about, err := s.About(closes[1])
		if err != nil || len(about) != 2 || about[0].Body.Type() != journal.TypeShiftTally || about[1].Name.Ref() != why {
			t.Errorf("about a close: %v, %v", about, err)
		}
		if about, err = s.About(pack); err != nil || len(about) != 1 || about[0].Name.Ref() != count {
			t.Errorf("about a pack: %v, %v", about, err)
		}
		for _, x := range []struct {
			from byte
			want []byte // first cards of the packs
		}{{0, []byte{10, 30}}, {10, []byte{10, 30}}, {15, []byte{10, 30}}, {19, []byte{10, 30}}, {20, []byte{30}}, {30, []byte{30}}, {39, []byte{30}}, {40, nil}} {
			var got []byte
			packs, err := s.Packs(card(x.from), 10)
			for _, e := range packs {
				got = append(got, e.Body.(*journal.StockReceipt).From[9])
			}
			if err != nil || !reflect.DeepEqual(got, x.want) {
				t.Errorf("packs that reach card %d: %v, %v; want %v", x.from, got, err, x.want)
			}
		}
		if sold, err := s.SoldIn(card(10), card(19)); err != nil || !reflect.DeepEqual(sold, []money.CardNumber{card(10), card(12), card(19)}) {
			t.Errorf("sold %v, %v", sold, err)
		}
		if e, ok, err := s.ByMark(token(91)); err != nil || !ok || e.Name.Ref() != pack {
			t.Errorf("by mark %v %v %v", e, ok, err)
		}
		if _, ok, err := s.ByMark(token(4711)); err != nil || ok {
			t.Errorf("a token of nothing is found, %v", err)
		}
	}
	look()
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	look()
}

// TestReplay: a shift made anew is the one that was kept, whatever happened in
// it, also when it goes on in a new epoch.
func TestReplay(t *testing.T) {
	for seed := range uint64(8) {
		s := fresh(t)
		r := rand.New(rand.NewPCG(seed, 1))
		history(t, s, r, 60)
		put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1, Cash: 5})
		history(t, s, r, 30)
		if seed%2 == 0 {
			id := identity
			id.Epoch = 2
			if err := s.Renew(id); err != nil {
				t.Fatal(err)
			}
			history(t, s, r, 60)
		}
		want, _, _ := s.Shift()
		end := s.now.Load().last()
		n := 0
		got, ok, err := s.Replay(want.Open, end, func(journal.Entry, *journal.Transaction, *journal.Transaction) { n++ })
		if err != nil || !ok || got != want || n == 0 {
			t.Fatalf("seed %d: %v %v after %d entries\n%+v, want\n%+v", seed, ok, err, n, got, want)
		}
		if _, ok, err := s.Replay(journal.Ref{Epoch: 9, Seq: 1}, end, nil); ok || err != nil {
			t.Fatalf("an opening that is not here: %v %v", ok, err)
		}
	}
}

// TestFirstMarkStands: an entry that repeats a token does not replace the one
// that had it.
func TestFirstMarkStands(t *testing.T) {
	s := fresh(t)
	first := put1(t, s, journal.Ref{}, &journal.StockReceipt{Token: token(1), From: card(1), To: card(2)})
	put1(t, s, journal.Ref{}, &journal.StockReceipt{Token: token(1), From: card(3), To: card(4)})
	if e, _, err := s.ByMark(token(1)); err != nil || e.Name.Ref() != first {
		t.Errorf("%v, %v", e, err)
	}
}

// TestStaff: the list and its entries are one: what an entry says is on the
// list, also after a restart, and a PIN's hash is on the list alone.
func TestStaff(t *testing.T) {
	s := fresh(t)
	const hash = "$argon2id$v=19$a-hash"
	manager := journal.Actor{Kind: journal.ActorClerk, ID: 1}
	act := func(a journal.Act, id money.StaffID) Draft {
		return Draft{Actor: manager, Body: &journal.Staff{Act: a, Staff: id, Count: 1}}
	}
	a := Person{ID: 20, Name: "赵敏", PINHash: hash, Rights: []string{"sell", "topup"}, Change: true}
	b := Person{ID: 3, Name: "李四", PINHash: hash, Card: card(7), Rights: []string{}}
	b.Rights = nil
	for _, p := range []Person{a, b} {
		if _, err := s.PutStaff(ctx, act(journal.ActAdd, p.ID), p, false); err != nil {
			t.Fatal(err)
		}
	}
	head := s.Head().Seq
	for what, bad := range map[string]Person{
		"no number":  {Name: "x"},
		"long name":  {ID: 9, Name: string(make([]byte, MaxName+1))},
		"long right": {ID: 9, Rights: []string{string(make([]byte, maxRight+1))}},
		"many":       {ID: 9, Rights: make([]string, maxRights+1)},
		"long hash":  {ID: 9, PINHash: string(make([]byte, maxHash+1))},
	} {
		if _, err := s.PutStaff(ctx, act(journal.ActAdd, 9), bad, false); !errors.Is(err, ErrPerson) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.PutStaff(ctx, Draft{Actor: manager, Body: topUp(1, 1, 1)}, a, false); !errors.Is(err, ErrDraft) {
		t.Errorf("a transaction: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.PutStaff(ended, act(journal.ActAdd, 9), Person{ID: 9}, false); err == nil {
		t.Error("who went away changed the list")
	}
	if s.Head().Seq != head {
		t.Errorf("refusals wrote %d entries", s.Head().Seq-head)
	}
	want := []Person{b, a}
	if got, err := s.Staff(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s.path)
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Staff(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("after a restart: %+v, %v", got, err)
	}
	if _, err := s.PutStaff(ctx, act(journal.ActRemove, 3), Person{ID: 3}, true); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Staff(); err != nil || !reflect.DeepEqual(got, want[1:]) {
		t.Fatalf("after a removal: %+v, %v", got, err)
	}
	_, entries, err := s.Entries(1, 100, 1<<20)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if containsBytes(e, hash) {
			t.Errorf("the journal, which goes to the utility, has the hash of a PIN: %x", e)
		}
	}
}

func containsBytes(b []byte, s string) bool {
	for i := 0; i+len(s) <= len(b); i++ {
		if string(b[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}

// TestStaffDamaged: a row that is not what was written is damage, never
// another right.
func TestStaffDamaged(t *testing.T) {
	s := fresh(t)
	put := Draft{Actor: clerk, Body: &journal.Staff{Act: journal.ActAdd, Staff: 3, Count: 1}}
	if _, err := s.PutStaff(ctx, put, Person{ID: 3, Name: "a", Rights: []string{"sell"}}, false); err != nil {
		t.Fatal(err)
	}
	good := canon.Marshal(&Person{ID: 3, Name: "a", Rights: []string{"configure"}})
	for what, row := range map[string][]byte{
		"unsealed":       good,
		"another's seal": sealRow(bucketStaff, staffKey(4), good),
		"another person": sealRow(bucketStaff, staffKey(3), canon.Marshal(&Person{ID: 4})),
		"short":          sealRow(bucketStaff, staffKey(3), good[:len(good)-1]),
	} {
		if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStaff).Put(staffKey(3), row) }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Staff(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStaff).Delete(staffKey(3)) }); err != nil {
		t.Fatal(err)
	}
}

// TestEarlierFile: a file of a program that knew neither staff nor stock opens
// and has them from then on; one that lacks a part of it is damaged.
func TestEarlierFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{Clock: tick(), Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	open := put1(t, s, journal.Ref{}, &journal.ShiftOpen{Number: 1})
	put1(t, s, open, &journal.ShiftClose{Number: 1})
	without := func(names ...[]byte) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error {
			for _, b := range names {
				if err := tx.DeleteBucket(b); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	without(laterBuckets...)
	if err := Verify(ctx, path, Options{}, true); err != nil {
		t.Errorf("verify: %v", err)
	}
	if s, err = Open(path, Options{Clock: tick(), Reserve: 1}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Closes(9); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := s.PutStaff(ctx, Draft{Actor: clerk, Body: &journal.Staff{Act: journal.ActAdd, Staff: 3, Count: 1}}, Person{ID: 3}, false); err != nil {
		t.Error(err)
	}
	sound(t, s)
	without(bucketStaff)
	if _, err := Open(path, Options{Reserve: 1}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file that lost its staff: %v", err)
	}
}

// FuzzPerson: what is read of a row is what it says.
func FuzzPerson(f *testing.F) {
	var p Person
	canontest.Counted(&p)
	f.Add(canon.Marshal(&p))
	f.Add(canon.Marshal(&Person{ID: 7, Name: "赵敏", PINHash: "$argon2id$", Rights: []string{"sell", "settle"}, Locked: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Person
		if canon.Unmarshal(b, &p) == nil && string(canon.Marshal(&p)) != string(b) {
			t.Errorf("%x reads as %+v and is written as %x", b, p, canon.Marshal(&p))
		}
	})
}
