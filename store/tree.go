package store

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// The layout of a page, in bytes (bbolt's internal/common).
const (
	pageHeader   = 16 // number, flags, count of elements, how many pages follow
	pageElement  = 16 // of a branch: place, key size, page; of a leaf: flags, place, key size, value size
	bucketHeader = 16 // of the value of a bucket: root page, or 0 when its one page follows in the value; sequence

	pageIsBranch, pageIsLeaf, elementIsBucket = 1, 2, 1
)

// checkTree refuses a file whose pages are not a tree: one that two others
// name, or that is its own ancestor. bbolt follows such pages until stack or
// memory is full, which ends the process and cannot be caught in it, so this
// reads the bytes beside bbolt, from the root that tx sees, and each page
// once. It refuses a row that goes on beyond its page for the same reason:
// bbolt would read beyond the file, in a goroutine of its own.
//
// It reads every page, which takes longer than Open may: who opens a file that
// nobody has looked at calls Verify first.
func checkTree(path string, tx *bbolt.Tx) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(tx.DB().Info().PageSize)
	w := treeWalk{f: f, size: size, end: uint64(tx.Size() / size)}
	w.seen = make([]uint64, w.end/64+1)
	if err := w.reach(uint64(tx.Cursor().Bucket().Root()), true); err != nil {
		return err
	}
	for len(w.todo) > 0 {
		last := len(w.todo) - 1
		next := w.todo[last]
		w.todo = w.todo[:last]
		if err := w.page(next); err != nil {
			return err
		}
	}
	return nil
}

type treeWalk struct {
	f    io.ReaderAt
	size int64    // of a page, bytes
	end  uint64   // pages of the file
	seen []uint64 // a bit for each page
	todo []reached
	buf  []byte // the file from at on
	at   int64
}

type reached struct {
	id  uint64
	top bool // of the tree whose leaves name the buckets; in the others there are none
}

// reach puts a page that another names on the list.
func (w *treeWalk) reach(id uint64, top bool) error {
	if id < 2 || id >= w.end {
		return fmt.Errorf("%w: a page names page %d, the file has %d", ErrCorrupt, id, w.end)
	}
	if w.seen[id/64]>>(id%64)&1 != 0 {
		return fmt.Errorf("%w: page %d is its own ancestor, or two others name it", ErrCorrupt, id)
	}
	w.seen[id/64] |= 1 << (id % 64)
	w.todo = append(w.todo, reached{id, top})
	return nil
}

// page reaches the pages that a page names.
func (w *treeWalk) page(r reached) error {
	e := binary.NativeEndian // bbolt writes as the machine has it
	p, err := w.read(r.id, pageHeader)
	if err != nil {
		return err
	}
	flags, more := e.Uint16(p[8:]), uint64(e.Uint32(p[12:]))
	need, room := pageHeader+int64(e.Uint16(p[10:]))*pageElement, int64(more+1)*w.size
	if flags != pageIsBranch && flags != pageIsLeaf || more >= w.end-r.id || need > room {
		return fmt.Errorf("%w: page %d is no branch or leaf", ErrCorrupt, r.id)
	}
	n := need
	if r.top {
		n = room // with the values
	}
	if p, err = w.read(r.id, n); err != nil {
		return err
	}
	for at := need - pageElement; at >= pageHeader; at -= pageElement { // the first one is looked at next
		x := p[at : at+pageElement]
		end := at + int64(e.Uint32(x)) + int64(e.Uint32(x[4:])) // of the key
		if flags == pageIsLeaf {
			end = at + int64(e.Uint32(x[4:])) + int64(e.Uint32(x[8:])) + int64(e.Uint32(x[12:])) // of the value
		}
		switch {
		case end > room:
			err = fmt.Errorf("%w: page %d has a row that goes on beyond it", ErrCorrupt, r.id)
		case flags == pageIsBranch:
			err = w.reach(e.Uint64(x[8:]), r.top)
		case e.Uint32(x)&elementIsBucket == 0:
		case !r.top:
			err = fmt.Errorf("%w: page %d has a bucket in a bucket", ErrCorrupt, r.id)
		default:
			err = w.bucket(r.id, p[end-int64(e.Uint32(x[12:])):end])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket reaches the root of the bucket that a value of a page is. A page in
// the value itself must be a leaf without buckets.
func (w *treeWalk) bucket(page uint64, v []byte) error {
	e := binary.NativeEndian
	bad := fmt.Errorf("%w: page %d has a bucket that is none", ErrCorrupt, page)
	if len(v) < bucketHeader {
		return bad
	}
	if root := e.Uint64(v); root != 0 {
		return w.reach(root, false)
	}
	if v = v[bucketHeader:]; len(v) < pageHeader {
		return bad
	}
	need := pageHeader + int(e.Uint16(v[10:]))*pageElement
	if e.Uint16(v[8:]) != pageIsLeaf || need > len(v) {
		return bad
	}
	for at := pageHeader; at < need; at += pageElement {
		x := v[at : at+pageElement]
		end := int64(at) + int64(e.Uint32(x[4:])) + int64(e.Uint32(x[8:])) + int64(e.Uint32(x[12:]))
		if e.Uint32(x)&elementIsBucket != 0 || end > int64(len(v)) {
			return bad
		}
	}
	return nil
}

// read gives n bytes of the file from the beginning of a page on, good until
// the next read. It reads ahead while pages lie one behind another, as those
// of a journal do.
func (w *treeWalk) read(id uint64, n int64) ([]byte, error) {
	from := int64(id) * w.size
	if from < w.at || from+n > w.at+int64(len(w.buf)) {
		want := max(n, w.size)
		if from == w.at+int64(len(w.buf)) {
			want = max(n, 64*w.size)
		}
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		got, err := w.f.ReadAt(w.buf[:want], from)
		if w.at, w.buf = from, w.buf[:got]; int64(got) < n {
			if err == io.EOF {
				err = fmt.Errorf("%w: page %d is not all there", ErrCorrupt, id)
			}
			return nil, err
		}
	}
	return w.buf[from-w.at:][:n], nil
}
