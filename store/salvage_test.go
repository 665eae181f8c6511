package store

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

var (
	utilityKey    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	utilityPublic = utilityKey.Public().(ed25519.PublicKey)
)

// dead is what a terminal left on its disk: 400 entries of epoch 1, of which
// the utility acknowledged 120, and some of epoch 2.
type dead struct {
	file, copy []byte
	entries    map[uint32][][]byte
}

const deadAcked = 120

func deadTerminal(t testing.TB) (d dead) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "terminal.db")
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{Clock: tick(), Reserve: 1, InitialMmap: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	history(t, s, rand.New(rand.NewPCG(1, 2)), 300)
	for _, through := range []uint64{40, deadAcked} {
		a := wire.Ack{Terminal: terminal, Epoch: 1, Through: through}
		if a.Hash, _, err = s.EntriesOf(1, through+1, 1, 1); err != nil {
			t.Fatal(err)
		}
		if err := s.PutAck(wire.Seal("ack", &a, utilityKey), a); err != nil {
			t.Fatal(err)
		}
	}
	h := s.Head()
	if err := s.Renew(Identity{Terminal: terminal, Shop: 1, Epoch: 2, PrevEpoch: 1, PrevSeq: h.Seq, PrevHash: h.Hash}); err != nil {
		t.Fatal(err)
	}
	history(t, s, rand.New(rand.NewPCG(3, 4)), 60)
	d.entries = map[uint32][][]byte{}
	for _, e := range s.Epochs() {
		if _, d.entries[e.Head.Epoch], err = s.EntriesOf(e.Head.Epoch, 1, 10_000, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	if d.file, err = os.ReadFile(path); err == nil {
		d.copy, err = os.ReadFile(Options{}.copyPath(path))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dead) unsent() []SalvagedRun {
	before := func(epoch uint32, n int) journal.Hash {
		h := journal.Genesis(terminal, epoch)
		for _, e := range d.entries[epoch][:n] {
			h = journal.Link(h, e)
		}
		return h
	}
	return []SalvagedRun{{1, deadAcked + 1, before(1, deadAcked), d.entries[1][deadAcked:]}, {2, 1, before(2, 0), d.entries[2]}}
}

// where finds the page of the file on which an entry lies.
func (d dead) where(t *testing.T, epoch uint32, seq int) int {
	t.Helper()
	i := bytes.LastIndex(d.file, d.entries[epoch][seq-1])
	if i < 0 {
		t.Fatalf("entry %d-%d is not in the file", epoch, seq)
	}
	return i / salvageBlock * salvageBlock
}

func whole(b []byte) io.ReaderAt { return bytes.NewReader(b) }

func TestSalvage(t *testing.T) {
	d := deadTerminal(t)
	want := d.unsent()
	noMeta := bytes.Clone(d.file)
	clear(noMeta[:2*salvageBlock])
	// Every copy of the page with the middle of epoch 1 is gone.
	torn := bytes.Clone(d.file)
	middle := d.entries[1][199]
	for i := bytes.Index(torn, middle); i >= 0; i = bytes.Index(torn, middle) {
		at := i / salvageBlock * salvageBlock
		for k := range torn[at : at+salvageBlock] {
			torn[at+k] = byte(k * 7)
		}
	}
	image := append(bytes.Repeat([]byte("a file of something else........"), 1000*128), make([]byte, 3*salvageBlock)...)
	image = append(append(append(image, d.copy...), make([]byte, salvageBlock-len(d.copy)%salvageBlock)...), noMeta...)
	for what, media := range map[string][][]byte{
		"the file":                      {d.file},
		"the copy":                      {d.copy},
		"both":                          {d.file, d.copy},
		"the pages of meta are zeros":   {noMeta},
		"a torn page and the copy":      {torn, d.copy},
		"the file cut, and the copy":    {d.file[:len(d.file)/3], d.copy},
		"the copy cut, and the file":    {d.file, d.copy[:len(d.copy)/2]},
		"the copy scribbled, and torn":  {torn, append(bytes.Repeat([]byte{0xAA}, 333), d.copy...)},
		"an image of a disk, no metas":  {image},
		"the file twice, and something": {d.file, d.file, []byte("something")},
	} {
		got := Salvage(terminal, utilityPublic, readers(media)...)
		if !reflect.DeepEqual(got.Runs, want) || len(got.Lost) > 0 || len(got.Sent) != 2 || got.Sent[0].Seq != deadAcked {
			t.Errorf("%s: %s", what, tell(got))
		}
	}

	// Without the copy the torn page is a gap, and what is behind it is kept.
	got := Salvage(terminal, utilityPublic, whole(torn))
	if len(got.Lost) != 1 || len(got.Runs) != 3 || got.Lost[0].Epoch != 1 || got.Lost[0].From > 200 || got.Lost[0].Through < 200 ||
		got.Runs[0].From != deadAcked+1 || got.Lost[0].From != deadAcked+1+uint64(len(got.Runs[0].Entries)) || got.Runs[1].From != got.Lost[0].Through+1 {
		t.Errorf("a torn page: %s", tell(got))
	}
	if n := len(got.Runs[0].Entries); !reflect.DeepEqual(got.Runs[0].Entries, want[0].Entries[:n]) || !reflect.DeepEqual(got.Runs[1].Entries, d.entries[1][got.Runs[1].From-1:]) {
		t.Error("a torn page: other entries")
	}

	// An entry that was altered, and still reads as one, is none.
	altered := bytes.Clone(middle)
	for k := len(altered) - 1; ; k-- {
		altered[k]++
		if e, err := journal.Parse(altered); err == nil && e.Name.Seq == 200 {
			break
		}
		altered[k]--
	}
	got = Salvage(terminal, utilityPublic, whole(bytes.ReplaceAll(d.file, middle, altered)))
	if !reflect.DeepEqual(got.Lost, []Gap{{1, 200, 200, false}}) || len(got.Runs) != 3 || got.Runs[1].From != 201 {
		t.Errorf("an altered entry: %s", tell(got))
	}

	// A word of the utility's that is not signed by it is no word.
	if got := Salvage(terminal, make([]byte, 32), whole(d.file)); len(got.Runs) == 0 || got.Runs[0].From != 1 {
		t.Errorf("another utility: %s", tell(got))
	}
	if got := Salvage([6]byte{9}, utilityPublic, whole(d.file)); len(got.Runs) != 0 {
		t.Errorf("another terminal: %s", tell(got))
	}
}

func readers(media [][]byte) (out []io.ReaderAt) {
	for _, m := range media {
		out = append(out, whole(m))
	}
	return out
}

func tell(s Salvaged) string {
	var b strings.Builder
	for _, h := range s.Sent {
		b.WriteString(" sent " + journal.Ref{Epoch: h.Epoch, Seq: h.Seq}.Of(h.Terminal).String())
	}
	for _, r := range s.Runs {
		b.WriteString(" run of " + journal.Ref{Epoch: r.Epoch, Seq: r.From}.Of(terminal).String())
		b.WriteString(" to " + journal.Ref{Epoch: r.Epoch, Seq: r.From + uint64(len(r.Entries)) - 1}.Of(terminal).String())
	}
	for _, g := range s.Lost {
		b.WriteString(" " + g.String())
	}
	return b.String()
}

// dying is a disk that does not give some blocks.
type dying struct {
	io.ReaderAt
	bad map[int64]bool
}

func (d dying) ReadAt(p []byte, off int64) (int, error) {
	for i := off; i < off+int64(len(p)); i += salvageBlock {
		if d.bad[i/salvageBlock] {
			return 0, errors.New("input/output error")
		}
	}
	return d.ReaderAt.ReadAt(p, off)
}

func TestSalvageDyingDisk(t *testing.T) {
	d := deadTerminal(t)
	bad := map[int64]bool{int64(d.where(t, 1, 200) / salvageBlock): true}
	got := Salvage(terminal, utilityPublic, dying{whole(d.file), bad}, whole(d.copy))
	if !reflect.DeepEqual(got.Runs, d.unsent()) || got.Unreadable != salvageBlock {
		t.Errorf("%s, %d bytes unreadable", tell(got), got.Unreadable)
	}
}

// Two entries of one name are told apart by what follows; when nothing does,
// neither is taken.
func TestSalvageFork(t *testing.T) {
	entry := func(seq uint64, n uint32) []byte {
		e := journal.Entry{Name: journal.Name{Terminal: terminal, Epoch: 1, Seq: seq}, Actor: journal.System, Body: &journal.ShiftOpen{Number: n}}
		return e.Bytes()
	}
	start := journal.Genesis(terminal, 1)
	a, b, c := entry(1, 1), entry(1, 2), entry(2, 3)
	put := func(seq uint64, before journal.Hash, e []byte) []byte {
		return appendFrame(nil, frame{ref: journal.Ref{Epoch: 1, Seq: seq}, hash: journal.Link(before, e), entry: e})
	}
	two := append(put(1, start, a), put(1, start, b)...)
	if got := Salvage(terminal, utilityPublic, whole(two)); len(got.Runs) != 0 || len(got.Lost) != 1 || !got.Lost[0].Fork {
		t.Errorf("two of one name: %s", tell(got))
	}
	two = append(two, put(2, journal.Link(start, b), c)...)
	if got := Salvage(terminal, utilityPublic, whole(two)); len(got.Runs) != 1 || !reflect.DeepEqual(got.Runs[0].Entries, [][]byte{b, c}) {
		t.Errorf("one of them goes on: %s", tell(got))
	}
}

// FuzzSalvage: whatever is on the disk, reading it ends without a panic, and
// what is found is chained.
func FuzzSalvage(f *testing.F) {
	// The corpus has pages and frames of a real file.
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, r := range Salvage(terminal, utilityPublic, whole(in)).Runs {
			for i, b := range r.Entries {
				e, err := journal.Parse(b)
				if want := (journal.Ref{Epoch: r.Epoch, Seq: r.From + uint64(i)}).Of(terminal); err != nil || e.Name != want {
					t.Fatalf("%v %v where %v belongs", err, e.Name, want)
				}
			}
		}
	})
}
