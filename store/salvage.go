package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// Salvaged is what was found of a terminal's journal. Every entry in Runs
// follows by its hash from the one before it.
type Salvaged struct {
	Sent       []journal.Head // by epoch: how far the utility has it, by its own signed word or by the second copy
	Runs       []SalvagedRun  // what it may not have, by epoch and place
	Lost       []Gap          // what is known to have been there and is not proven
	Unreadable int64          // bytes that a disk did not give
}

// SalvagedRun is an unbroken run of entries of one epoch.
type SalvagedRun struct {
	Epoch   uint32
	From    uint64       // sequence of the first entry
	Before  journal.Hash // the chain's hash before it
	Entries [][]byte
}

// Gap is entries of which something was found behind them. A fork is two
// entries of one name, of which nothing says which one was written last.
type Gap struct {
	Epoch         uint32
	From, Through uint64
	Fork          bool
}

func (g Gap) String() string {
	what := "missing"
	if g.Fork {
		what = "there in two versions"
	}
	if g.From == g.Through {
		return fmt.Sprintf("entry %d-%d is %s", g.Epoch, g.From, what)
	}
	return fmt.Sprintf("entries %d-%d to %d-%d are %s", g.Epoch, g.From, g.Epoch, g.Through, what)
}

// Salvage looks for the unsent entries of a terminal in what is left of its
// file and of its second copy, or in the image of a disk that has both on it.
// It reads pages and frames wherever they lie, since what says where they lie
// may be what is damaged; it writes nothing and locks nothing, and must not be
// given the file of a daemon that runs. What it finds counts when it follows
// by its hash, and was acknowledged when the utility's key says so.
func Salvage(t money.TerminalID, utility ed25519.PublicKey, media ...io.ReaderAt) Salvaged {
	s := salvage{terminal: t, witness: wire.Witness(utility), entries: map[journal.Ref][]found{}, anchors: map[uint32]map[uint64][]journal.Hash{}, sent: map[uint32]uint64{}}
	for _, m := range media {
		s.read(m)
	}
	return s.chains()
}

type salvage struct {
	terminal money.TerminalID
	witness  journal.Witness
	entries  map[journal.Ref][]found
	anchors  map[uint32]map[uint64][]journal.Hash // places of which the hash is known without an entry
	sent     map[uint32]uint64
	lost     int64
}

type found struct {
	hash  journal.Hash // of the chain after
	entry []byte
}

const (
	salvageBlock = 4096    // least size of bbolt's pages, and where files lie on a disk
	salvagePiece = 4 << 20 // read at a time
	salvageAhead = 1 << 20 // no page of entries and no frame is longer
)

// read looks through a medium piece by piece, each with the beginning of the
// next. Blocks that can't be read are passed over.
func (s *salvage) read(m io.ReaderAt) {
	buf := make([]byte, salvagePiece+salvageAhead)
	for at := int64(0); ; at += salvagePiece {
		n, err := m.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			n = s.blocks(m, buf, at)
		}
		for i := 0; i < min(n, salvagePiece); i++ {
			if i%salvageBlock == 0 {
				s.page(buf[i:n:n], true)
			}
			s.frame(buf[i:n])
		}
		if n <= salvagePiece {
			return
		}
	}
}

// blocks reads what a dying disk still gives, zeros for the rest.
func (s *salvage) blocks(m io.ReaderAt, buf []byte, at int64) (n int) {
	clear(buf)
	for i := 0; i < len(buf); i += salvageBlock {
		k, err := m.ReadAt(buf[i:i+salvageBlock], at+int64(i))
		if err == io.EOF {
			return i + k
		}
		if err != nil {
			clear(buf[i : i+salvageBlock])
			if i < salvagePiece {
				s.lost += salvageBlock
			}
		}
	}
	return len(buf)
}

// page takes the entries and acknowledgements out of a leaf page of bbolt: 16
// bytes of id, flags, count and overflow, then 16 bytes of flags, place and
// sizes for each element. A small bucket is a page inside an element.
func (s *salvage) page(b []byte, outer bool) {
	const head, element, leaf, bucket = 16, 16, 2, 1
	if len(b) < head || binary.NativeEndian.Uint16(b[8:]) != leaf {
		return
	}
	count := int(binary.NativeEndian.Uint16(b[10:]))
	for i := range count {
		e := head + i*element
		if e+element > len(b) {
			return
		}
		u := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(b[e+at:])) }
		from, k, v := uint64(e)+u(4), u(8), u(12)
		if from+k+v > uint64(len(b)) {
			continue
		}
		key, value := b[from:from+k], b[from+k:from+k+v]
		switch {
		case u(0)&bucket != 0 && outer && len(value) > 16:
			s.page(value[16:], false)
		case len(key) == refLen:
			s.row(key, value)
		}
	}
}

// row takes a row whose key is a place in the journal, when it is an entry or
// an acknowledgement.
func (s *salvage) row(key, value []byte) {
	r, err := getRef(key)
	if err != nil || len(value) <= len(journal.Hash{}) { // both kinds begin with 32 bytes of a hash
		return
	}
	h, b := journal.Hash(value), value[len(journal.Hash{}):]
	if s.take(r, h, b) {
		return
	}
	if a, err := s.witness(b); err == nil && a.Head.Terminal == s.terminal && a.Head.Epoch == r.Epoch && a.Head.Seq == r.Seq {
		s.anchor(r, a.Head.Hash)
	}
}

// frame takes a frame of the second copy.
func (s *salvage) frame(b []byte) {
	if len(b) < frameHeadLen {
		return
	}
	n := binary.BigEndian.Uint32(b)
	if n > journal.MaxEntry || int(n) > len(b)-frameHeadLen || n == 0 && binary.BigEndian.Uint32(b[8:]) == 0 {
		return
	}
	f, ok := parseFrame(b[:frameHeadLen+int(n)])
	switch {
	case !ok || f.ref.Epoch == 0:
	case n == 0:
		s.anchor(f.ref, f.hash)
	default:
		s.take(f.ref, f.hash, f.entry)
	}
}

func (s *salvage) take(r journal.Ref, h journal.Hash, b []byte) bool {
	e, err := journal.Parse(b)
	if err != nil || e.Name != r.Of(s.terminal) {
		return false
	}
	for _, f := range s.entries[r] {
		if f.hash == h && bytes.Equal(f.entry, b) {
			return true
		}
	}
	s.entries[r] = append(s.entries[r], found{h, bytes.Clone(b)})
	return true
}

func (s *salvage) anchor(r journal.Ref, h journal.Hash) {
	if s.anchors[r.Epoch] == nil {
		s.anchors[r.Epoch] = map[uint64][]journal.Hash{}
	}
	if at := s.anchors[r.Epoch]; !slices.Contains(at[r.Seq], h) {
		at[r.Seq] = append(at[r.Seq], h)
	}
	s.sent[r.Epoch] = max(s.sent[r.Epoch], r.Seq)
}

// chains puts what was found in order.
func (s *salvage) chains() Salvaged {
	out := Salvaged{Unreadable: s.lost}
	places := map[uint32][]uint64{}
	for r := range s.entries {
		places[r.Epoch] = append(places[r.Epoch], r.Seq)
	}
	for e := range s.sent {
		places[e] = append(places[e], s.sent[e])
	}
	epochs := make([]uint32, 0, len(places))
	for e := range places {
		epochs = append(epochs, e)
	}
	slices.Sort(epochs)
	for _, e := range epochs {
		if len(s.anchors[e]) == 0 {
			s.anchor(journal.Ref{Epoch: e}, journal.Genesis(s.terminal, e))
		}
		for _, h := range s.anchors[e][s.sent[e]] {
			out.Sent = append(out.Sent, journal.Head{Terminal: s.terminal, Epoch: e, Seq: s.sent[e], Hash: h})
		}
		slices.Sort(places[e])
		s.chain(e, slices.Compact(places[e]), &out)
	}
	return out
}

// chain follows one epoch from where the utility has it.
func (s *salvage) chain(epoch uint32, places []uint64, out *Salvaged) {
	end := places[len(places)-1]
	for seq := s.sent[epoch] + 1; seq <= end; {
		before, next, forked := s.next(epoch, seq)
		if next == nil { // look for where it goes on
			from := seq
			for seq++; seq <= end; {
				i, _ := slices.BinarySearch(places, seq)
				if seq = places[i]; s.follows(epoch, seq) {
					break
				}
				seq++
			}
			out.Lost = append(out.Lost, Gap{epoch, from, min(seq-1, end), forked})
			continue
		}
		run := SalvagedRun{Epoch: epoch, From: seq, Before: before}
		for next != nil {
			run.Entries = append(run.Entries, next.entry)
			seq++
			next = s.after(epoch, seq, next.hash)
		}
		out.Runs = append(out.Runs, run)
	}
}

// before are the hashes that are known of the chain before an entry.
func (s *salvage) before(epoch uint32, seq uint64) (out []journal.Hash) {
	out = append(out, s.anchors[epoch][seq-1]...)
	for _, f := range s.entries[journal.Ref{Epoch: epoch, Seq: seq - 1}] {
		out = append(out, f.hash)
	}
	return out
}

func (s *salvage) follows(epoch uint32, seq uint64) bool {
	_, f, _ := s.next(epoch, seq)
	return f != nil
}

// next finds the entry that follows from any hash known before it.
func (s *salvage) next(epoch uint32, seq uint64) (before journal.Hash, f *found, forked bool) {
	for _, h := range s.before(epoch, seq) {
		x := s.after(epoch, seq, h)
		switch {
		case x == nil:
			forked = forked || s.options(epoch, seq, h) > 1
		case f == nil:
			before, f = h, x
		case before != h && s.length(epoch, seq, x) > s.length(epoch, seq, f):
			before, f = h, x
		}
	}
	return before, f, forked
}

// after finds the entry that follows from a hash. Where there are two, as an
// interrupted commit can leave them, it is the one that more follows from;
// none when that does not decide.
func (s *salvage) after(epoch uint32, seq uint64, before journal.Hash) (best *found) {
	longest, tie := -1, false
	list := s.entries[journal.Ref{Epoch: epoch, Seq: seq}]
	for i := range list {
		if journal.Link(before, list[i].entry) != list[i].hash {
			continue
		}
		n := 0
		if len(list) > 1 {
			n = s.length(epoch, seq, &list[i])
		}
		if n > longest {
			best, longest, tie = &list[i], n, false
		} else if n == longest {
			tie = true
		}
	}
	if tie {
		return nil
	}
	return best
}

func (s *salvage) options(epoch uint32, seq uint64, before journal.Hash) (n int) {
	for _, f := range s.entries[journal.Ref{Epoch: epoch, Seq: seq}] {
		if journal.Link(before, f.entry) == f.hash {
			n++
		}
	}
	return n
}

// length is how many entries follow from one, at most 64.
func (s *salvage) length(epoch uint32, seq uint64, f *found) (n int) {
	for hash := f.hash; n < 64; n++ {
		seq++
		i := slices.IndexFunc(s.entries[journal.Ref{Epoch: epoch, Seq: seq}], func(x found) bool { return journal.Link(hash, x.entry) == x.hash })
		if i < 0 {
			return n
		}
		hash = s.entries[journal.Ref{Epoch: epoch, Seq: seq}][i].hash
	}
	return n
}
