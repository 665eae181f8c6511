package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

const testPage = 4096 // bytes, by which the small files of these tests are made

// layout says where things lie in a small file.
type layout struct {
	root    int // page of the tree that names the buckets, a branch
	journal int // root of the journal's tree, a branch
	list    int // of free pages
}

func layoutOf(t *testing.T, file []byte) (l layout) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layout.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		l.root, l.journal = int(tx.Cursor().Bucket().Root()), int(tx.Bucket(bucketJournal).Root())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	live := file[pageHeader:]
	if other := file[testPage+pageHeader:]; binary.NativeEndian.Uint64(other[48:]) > binary.NativeEndian.Uint64(live[48:]) {
		live = other
	}
	l.list = int(binary.NativeEndian.Uint64(live[32:]))
	if flags(file, l.root) != pageIsBranch || flags(file, l.journal) != pageIsBranch || flags(file, l.list) != 0x10 {
		t.Fatalf("the file is not made as these tests think: %+v", l)
	}
	return l
}

func flags(file []byte, page int) uint16 { return binary.NativeEndian.Uint16(file[page*testPage+8:]) }

// child is where a branch names the page of its element i.
func child(file []byte, page, i int) []byte {
	return file[page*testPage+pageHeader+i*pageElement+8:][:8]
}

// TestTree: pages that are not a tree are refused as damage before bbolt
// follows them. Without the check most of these end the process.
func TestTree(t *testing.T) {
	file, _ := backupOf(t)
	at := layoutOf(t, file)
	e := binary.NativeEndian
	const twice, none, nowhere, bucket, inner, beyond = "own ancestor", "is no branch or leaf", "names page", "a bucket that is none", "a bucket in a bucket", "a row that goes on beyond it"
	for name, c := range map[string]struct {
		says  string
		spoil func(b []byte)
	}{
		"a page is its own child": {twice, func(b []byte) { e.PutUint64(child(b, at.journal, 0), uint64(at.journal)) }},
		"its last child, too": {twice, func(b []byte) {
			e.PutUint64(child(b, at.journal, int(e.Uint16(b[at.journal*testPage+10:]))-1), uint64(at.journal))
		}},
		"the root is its own child": {twice, func(b []byte) { e.PutUint64(child(b, at.root, 0), uint64(at.root)) }},
		"two pages name each other": {twice, func(b []byte) {
			below := b[e.Uint64(child(b, at.journal, 0))*testPage:]
			e.PutUint16(below[8:], pageIsBranch)
			e.PutUint16(below[10:], 1)
			e.PutUint64(below[pageHeader+8:], uint64(at.journal))
		}},
		"a child of two":                 {twice, func(b []byte) { copy(child(b, at.journal, 1), child(b, at.journal, 0)) }},
		"a child is the root of buckets": {twice, func(b []byte) { e.PutUint64(child(b, at.journal, 0), uint64(at.root)) }},
		"a child is a meta page":         {nowhere, func(b []byte) { e.PutUint64(child(b, at.journal, 0), 1) }},
		"a child beyond the file":        {nowhere, func(b []byte) { e.PutUint64(child(b, at.journal, 0), uint64(len(b)/testPage)) }},
		"a child is the list of free pages": {none, func(b []byte) {
			e.PutUint64(child(b, at.journal, 0), uint64(at.list))
		}},
		"a branch of more children than it holds": {none, func(b []byte) { e.PutUint16(b[at.journal*testPage+10:], testPage/pageElement) }},
		"a branch that goes on beyond the file":   {none, func(b []byte) { e.PutUint32(b[at.journal*testPage+12:], 1<<31) }},
		"a row of the journal is a bucket, whose root is the journal's": {inner, func(b []byte) {
			leaf := b[e.Uint64(child(b, at.journal, 0))*testPage:]
			x := leaf[pageHeader:]
			e.PutUint32(x, elementIsBucket)
			e.PutUint64(x[e.Uint32(x[4:])+e.Uint32(x[8:]):], uint64(at.journal))
		}},
		"a bucket's root is the tree that names it": {twice, func(b []byte) {
			e.PutUint64(bucketOf(t, b, at.root, bucketJournal), uint64(at.root))
		}},
		"a bucket within its value is its own child": {bucket, func(b []byte) {
			v := bucketOf(t, b, at.root, bucketSections)
			if e.Uint64(v) != 0 {
				t.Fatal("the sections are not within the value")
			}
			page := v[bucketHeader:]
			e.PutUint16(page[8:], pageIsBranch)
			e.PutUint64(page[pageHeader+8:], 0)
		}},
		"a bucket within a bucket's value": {bucket, func(b []byte) {
			e.PutUint32(bucketOf(t, b, at.root, bucketSections)[bucketHeader+pageHeader:], elementIsBucket)
		}},
		"a row of the journal goes on beyond its page": {beyond, func(b []byte) {
			e.PutUint32(b[e.Uint64(child(b, at.journal, 0))*testPage+pageHeader+12:], 1<<30)
		}},
		"a key of a branch goes on beyond its page": {beyond, func(b []byte) { e.PutUint32(b[at.journal*testPage+pageHeader+4:], 1<<30) }},
		"a row of a bucket within a value goes on beyond it": {bucket, func(b []byte) {
			e.PutUint32(bucketOf(t, b, at.root, bucketSections)[bucketHeader+pageHeader+12:], 1<<30)
		}},
		"a bucket of no length": {bucket, func(b []byte) {
			e.PutUint32(elementOf(t, b, at.root, bucketJournal)[12:], 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(file)
			c.spoil(b)
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := treeOf(path); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the walk gives %v", err)
			}
			if err := Verify(ctx, path, Options{InitialMmap: 1 << 20}, false); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("verified with %v", err)
			}
		})
	}
}

// TestCheckTree: what an open store is checked for is looked at first, too:
// bbolt's check reads such a key in a goroutine of its own, to name it, and
// ends the process.
func TestCheckTree(t *testing.T) {
	file, _ := backupOf(t)
	at := layoutOf(t, file)
	binary.NativeEndian.PutUint32(file[at.journal*testPage+pageHeader+4:], 1<<30)
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{Reserve: 1, InitialMmap: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Check(ctx); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "a row that goes on beyond it") {
		t.Errorf("checked with %v", err)
	}
}

// bucketOf is the value of a bucket, from the tree that names all of them.
func bucketOf(t *testing.T, file []byte, root int, name []byte) []byte {
	t.Helper()
	e, x := binary.NativeEndian, elementOf(t, file, root, name)
	return x[e.Uint32(x[4:])+e.Uint32(x[8:]):][:e.Uint32(x[12:])]
}

func elementOf(t *testing.T, file []byte, root int, name []byte) []byte {
	t.Helper()
	e := binary.NativeEndian
	for i := range int(e.Uint16(file[root*testPage+10:])) {
		p := file[e.Uint64(child(file, root, i))*testPage:]
		for j := range int(e.Uint16(p[10:])) {
			x := p[pageHeader+j*pageElement:]
			if bytes.Equal(x[e.Uint32(x[4:]):][:e.Uint32(x[8:])], name) {
				return x
			}
		}
	}
	t.Fatalf("no bucket %s", name)
	return nil
}

// TestFreelist: a list of free pages that says that it is longer than its
// pages is refused before bbolt takes memory for it (which no recover catches
// when there is not as much) or takes what lies behind it for free pages.
func TestFreelist(t *testing.T) {
	file, _ := backupOf(t)
	at := layoutOf(t, file)
	e := binary.NativeEndian
	count := func(n uint16, long uint64) func([]byte) {
		return func(b []byte) {
			e.PutUint16(b[at.list*testPage+10:], n)
			if n == 0xFFFF {
				e.PutUint64(b[at.list*testPage+pageHeader:], long)
			}
		}
	}
	const room = (testPage - pageHeader) / 8
	for name, c := range map[string]struct {
		spoil func([]byte)
		says  string // empty: it is bbolt's to judge
	}{
		"as long as its page":          {count(room, 0), ""},
		"one more":                     {count(room+1, 0), "a list of 511 free pages"},
		"the most of 16 bits":          {count(0xFFFE, 0), "a list of 65534 free pages"},
		"64 bits, as long as its page": {count(0xFFFF, room-1), ""},
		"64 bits, one more":            {count(0xFFFF, room), "a list of 510 free pages"},
		"more than there is memory":    {count(0xFFFF, 1<<40), "a list of 1099511627776 free pages"},
		"the most of 64 bits":          {count(0xFFFF, 1<<64-1), "a list of 18446744073709551615 free pages"},
		"pages beyond the file":        {func(b []byte) { e.PutUint32(b[at.list*testPage+12:], 1<<31) }, "free pages"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(file)
			c.spoil(b)
			if err := checkFreelist(bytes.NewReader(b), int64(len(b))); c.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, Options{InitialMmap: 1 << 20})
			if err == nil {
				s.Close()
			}
			verr := Verify(ctx, path, Options{InitialMmap: 1 << 20}, false)
			for _, err := range []error{err, verr} {
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}
