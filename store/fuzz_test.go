package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// backupOf makes a small store of all kinds of entries, two epochs, an
// acknowledgement and a section, and gives its backup and its entries.
func backupOf(t testing.TB) (file []byte, entries map[uint32][][]byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{Clock: tick(), Reserve: 1, InitialMmap: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	history(t, s, rand.New(rand.NewPCG(1, 2)), 60)
	a := wire.Ack{Terminal: terminal, Epoch: 1, Through: 5}
	if a.Hash, _, err = s.EntriesOf(1, 6, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.PutAck([]byte("sealed acknowledgement"), a); err != nil {
		t.Fatal(err)
	}
	h := s.Head()
	if err := s.Renew(Identity{Terminal: terminal, Shop: 1, Epoch: 2, PrevEpoch: 1, PrevSeq: h.Seq, PrevHash: h.Hash}); err != nil {
		t.Fatal(err)
	}
	history(t, s, rand.New(rand.NewPCG(3, 4)), 20)
	if err := s.PutSection([]byte("sealed section"), wire.Section{Kind: wire.SectionLimits, Version: 1, Limits: wire.DefaultLimits()}); err != nil {
		t.Fatal(err)
	}
	d := Draft{Actor: clerk, Body: &journal.Staff{Act: journal.ActAdd, Staff: 3, Count: 1}}
	if _, err := s.PutStaff(ctx, d, Person{ID: 3, Name: "a", Rights: []string{"sell"}}, false); err != nil {
		t.Fatal(err)
	}
	entries = map[uint32][][]byte{}
	for _, e := range s.Epochs() {
		_, list, err := s.EntriesOf(e.Head.Epoch, 1, 10_000, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		entries[e.Head.Epoch] = list
	}
	var b bytes.Buffer
	if _, err := s.Backup(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), entries
}

// patched applies patches to a copy of a file: three bytes of place, one of
// length and that many bytes each; a length of 255 cuts the file there.
func patched(file, patches []byte) []byte {
	b := bytes.Clone(file)
	for len(patches) >= 4 && len(b) > 0 {
		at := int(uint32(patches[0])<<16|uint32(patches[1])<<8|uint32(patches[2])) % len(b)
		n := int(patches[3])
		patches = patches[4:]
		if n == 255 {
			b = b[:at]
			continue
		}
		n = min(n, len(patches))
		copy(b[at:], patches[:n])
		patches = patches[n:]
	}
	return b
}

// judgeFile opens a file that may be damaged in any way. It is refused as
// damaged or as no store, or Check refuses it, or it is clean; and then every
// entry in it is one that was written, in its place. Only where its pages are
// no tree it is not opened, but must be refused by Verify, which a terminal
// asks before.
func judgeFile(t testing.TB, path string, file []byte, entries map[uint32][][]byte) (clean bool) {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := treeOf(path); err != nil {
		if verr := Verify(ctx, path, Options{InitialMmap: 1 << 20}, false); !errors.Is(err, ErrCorrupt) || !errors.Is(verr, ErrCorrupt) {
			t.Fatalf("no tree, %v, and verified with %v", err, verr)
		}
		return false
	}
	s, err := Open(path, Options{Clock: tick(), Reserve: 1, InitialMmap: 1 << 20})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSchema) {
			t.Fatalf("opened with %v", err)
		}
		return false
	}
	defer s.Close()
	if _, err := s.Check(ctx); err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("checked with %v", err)
		}
		return false
	}
	for _, e := range s.Epochs() {
		if e.Head.Seq == 0 {
			continue
		}
		_, got, err := s.EntriesOf(e.Head.Epoch, 1, 10_000, 1<<30)
		if err != nil {
			t.Fatalf("clean, and then %v", err)
		}
		if want := entries[e.Head.Epoch]; len(got) > len(want) || !bytes.Equal(bytes.Join(got, nil), bytes.Join(want[:len(got)], nil)) {
			t.Fatalf("clean, with %d entries that were never written", len(got))
		}
	}
	return true
}

// treeOf checks the pages of a file, as far as bbolt opens it.
func treeOf(path string) (err error) {
	defer guard(&err)()
	o := Options{InitialMmap: 1 << 20}.bolt()
	o.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		return nil // Open says so too
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		if err := checkLength(path, tx); err != nil {
			return nil
		}
		return checkTree(path, tx)
	})
}

// places gives where in the file the value of a row of each bucket lies; old
// copies of it in free pages are among them.
func places(t testing.TB, path string, file []byte) map[string][]int {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := map[string][]int{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if row := append(bytes.Clone(k), v...); len(v) > 0 {
					out[string(name)] = nil
					for i := 0; ; i++ {
						n := bytes.Index(file[i:], row)
						if n < 0 {
							break
						}
						i += n
						out[string(name)] = append(out[string(name)], i+len(k)+len(v)/2)
					}
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDamagedRows: one bit in the value of a row of any bucket is seen by
// Open or by Check.
func TestDamagedRows(t *testing.T) {
	file, entries := backupOf(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	if !judgeFile(t, path, file, entries) {
		t.Fatal("a backup is not clean")
	}
	at := places(t, path, file)
	for _, bucket := range keptBuckets {
		if _, ok := at[string(bucket)]; !ok {
			t.Errorf("the file has no row of %s", bucket)
		}
	}
	for name, places := range at {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(file)
			for _, i := range places {
				b[i] ^= bit
			}
			if judgeFile(t, path, b, entries) {
				t.Errorf("an altered row of %s is clean", name)
			}
		}
	}
}

// FuzzFile lets a backup come back altered and cut in any way.
func FuzzFile(f *testing.F) {
	file, entries := backupOf(f)
	patch := func(at int, b ...byte) []byte {
		return append([]byte{byte(at >> 16), byte(at >> 8), byte(at), byte(len(b))}, b...)
	}
	f.Add([]byte{})
	for _, list := range places(f, filepath.Join(f.TempDir(), "places"), file) {
		for _, at := range list {
			f.Add(patch(at, file[at]^1))
		}
	}
	for page := 0; page*4096 < len(file) && page < 40; page++ {
		at := page * 4096
		f.Add(patch(at, 0xFF, 0xFF, 0xFF, 0xFF))                    // its number
		f.Add(patch(at+8, 0xFF, 0xFF))                              // its flags
		f.Add(patch(at+10, 0xFF, 0xFF))                             // how many elements
		f.Add(patch(at+12, 0xFF, 0xFF, 0xFF, 0x7F))                 // how many pages follow
		f.Add(patch(at+16, 0xFF, 0xFF, 0xFF, 0x7F))                 // its first element
		f.Add(append(patch(at), 0, 0, 0, 0))                        // nothing
		f.Add([]byte{byte(at >> 16), byte(at >> 8), byte(at), 255}) // cut before it
	}
	f.Add(patch(16+16, binary.LittleEndian.AppendUint64(nil, 0)...))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, patches []byte) {
		path := filepath.Join(dir, "journal.db")
		os.Remove(path) // a damaged one may still be mapped
		judgeFile(t, path, patched(file, patches), entries)
	})
}
