package journal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/canon/canontest"
	"github.com/dianka/dianka/money"
)

var updateBundle = flag.Bool("update-bundle", false, "write testdata/bundle.txt anew")

var recordKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

// errForged is what the test's witness says of an acknowledgement that the
// utility did not make.
var errForged = errors.New("forged")

// witness reads acknowledgements of 18 bytes of terminal, epoch and sequence,
// then the hash.
func witness(b []byte) (Statement, error) {
	if len(b) != 18+len(Hash{}) {
		return Statement{}, errForged
	}
	s := Statement{Head: Head{Terminal: money.TerminalID(b[:6]), Epoch: binary.BigEndian.Uint32(b[6:]), Seq: binary.BigEndian.Uint64(b[10:]), Hash: Hash(b[18:])},
		At: 1_800_000_000_000, Held: map[uint64]string{2: "bad_tac", 99: "elsewhere"}}
	return s, nil
}

func ack(h Head) []byte {
	b := binary.BigEndian.AppendUint32(h.Terminal[:], h.Epoch)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	return append(b, h.Hash[:]...)
}

// run makes n signed entries of an epoch from sequence from on.
func run(epoch uint32, from uint64, before Hash, n int) Run {
	r := Run{Epoch: epoch, From: from, Before: before}
	copy(r.Key[:], recordKey.Public().(ed25519.PublicKey))
	for i := range uint64(n) {
		e := Entry{Name: Name{terminal, epoch, from + i}, Wall: 1_700_000_000_000, Actor: System, Body: &ShiftOpen{Number: uint32(i) + 1}}
		r.Entries = append(r.Entries, e.Bytes())
	}
	r.Signature = r.Head(terminal).Sign(recordKey)
	return r
}

// sample is a bundle of two epochs, the first from its beginning and
// acknowledged up to its last entry but one.
func sample() Bundle {
	b := Bundle{Terminal: terminal, Utility: [32]byte{9}, Runs: []Run{run(1, 1, Genesis(terminal, 1), 4), run(3, 7, Hash{5}, 2)}}
	part := b.Runs[0]
	part.Entries = part.Entries[:3]
	b.Runs[0].Acks = [][]byte{ack(part.Head(terminal))}
	return b
}

func TestBundleProves(t *testing.T) {
	b := sample()
	p, err := b.Verify(witness)
	if err != nil {
		t.Fatal(err)
	}
	first, second := p.Runs[0], p.Runs[1]
	if first.Head != b.Runs[0].Head(terminal) || first.Through != 3 || first.At != 1_800_000_000_000 || !reflect.DeepEqual(first.Held, map[uint64]string{2: "bad_tac"}) {
		t.Errorf("%+v", first)
	}
	if second.Head.Seq != 8 || second.Through != 0 || second.At != 0 || len(second.Entries) != 2 || second.Entries[1].Body.(*ShiftOpen).Number != 2 {
		t.Errorf("%+v", second)
	}
	back, err := ParseBundle(b.Bytes())
	if err != nil || !reflect.DeepEqual(back, b) {
		t.Errorf("%+v, %v", back, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var b Bundle
		canontest.Random(t, &b)
		canontest.RoundTrip(t, &b, &Bundle{})
	})
}

func TestBundleRefuses(t *testing.T) {
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	resign := func(b *Bundle) {
		for i := range b.Runs {
			b.Runs[i].Signature = b.Runs[i].Head(b.Terminal).Sign(recordKey)
		}
	}
	for what, c := range map[string]struct {
		alter func(b *Bundle)
		want  error
	}{
		"no terminal":                   {func(b *Bundle) { b.Terminal = money.TerminalID{}; resign(b) }, ErrBundle},
		"no runs":                       {func(b *Bundle) { b.Runs = nil }, ErrBundle},
		"a run without entries":         {func(b *Bundle) { b.Runs[1].Entries = nil; resign(b) }, ErrBundle},
		"an epoch twice":                {func(b *Bundle) { b.Runs[1] = b.Runs[0] }, ErrBundle},
		"a run twice, apart":            {func(b *Bundle) { b.Runs = append(b.Runs, run(3, 8, Hash{6}, 3)) }, ErrBundle},
		"a run that does not follow":    {func(b *Bundle) { b.Runs = append(b.Runs, run(3, 9, Hash{6}, 3)) }, ErrChain},
		"epochs in another order":       {func(b *Bundle) { b.Runs[0], b.Runs[1] = b.Runs[1], b.Runs[0] }, ErrBundle},
		"epoch 0":                       {func(b *Bundle) { b.Runs[0].Epoch = 0; resign(b) }, ErrBundle},
		"from 0":                        {func(b *Bundle) { b.Runs[1].From = 0; resign(b) }, ErrBundle},
		"from 2^63-1":                   {func(b *Bundle) { b.Runs[1].From = 1<<63 - 1; resign(b) }, ErrBundle},
		"from wraps":                    {func(b *Bundle) { b.Runs[1].From = 1<<64 - 1; resign(b) }, ErrBundle},
		"another beginning":             {func(b *Bundle) { b.Runs[0].Before[0]++; resign(b) }, ErrChain},
		"another hash before":           {func(b *Bundle) { b.Runs[1].Before[0]++ }, ErrSignature},
		"an entry left out":             {func(b *Bundle) { b.Runs[0].Entries = append(b.Runs[0].Entries[:1:1], b.Runs[0].Entries[2:]...) }, ErrChain},
		"an entry left out, signed":     {func(b *Bundle) { b.Runs[0].Entries = b.Runs[0].Entries[1:]; resign(b) }, ErrChain},
		"entries in another order":      {func(b *Bundle) { e := b.Runs[0].Entries; e[0], e[1] = e[1], e[0]; resign(b) }, ErrChain},
		"the last left out":             {func(b *Bundle) { b.Runs[0].Entries = b.Runs[0].Entries[:3] }, ErrSignature},
		"another terminal":              {func(b *Bundle) { b.Terminal[0]++; resign(b) }, ErrChain},
		"an entry of another terminal":  {func(b *Bundle) { b.Runs[1].Entries[0][5]++; resign(b) }, ErrChain},
		"an entry of another version":   {func(b *Bundle) { b.Runs[1].Entries[0][0]++; resign(b) }, ErrEntry},
		"an amount altered":             {func(b *Bundle) { e := b.Runs[1].Entries[0]; e[len(e)-1]++ }, ErrSignature},
		"another key":                   {func(b *Bundle) { copy(b.Runs[0].Key[:], other.Public().(ed25519.PublicKey)) }, ErrSignature},
		"no key":                        {func(b *Bundle) { b.Runs[0].Key = [32]byte{} }, ErrSignature},
		"another signature":             {func(b *Bundle) { b.Runs[0].Signature[0]++ }, ErrSignature},
		"a forged acknowledgement":      {func(b *Bundle) { b.Runs[0].Acks[0] = []byte{1} }, ErrWitness},
		"acknowledged other bytes":      {func(b *Bundle) { b.Runs[0].Acks[0][18]++ }, ErrWitness},
		"acknowledged another terminal": {func(b *Bundle) { b.Runs[0].Acks[0][0]++ }, ErrWitness},
		"acknowledged another epoch":    {func(b *Bundle) { b.Runs[0].Acks[0][9]++ }, ErrWitness},
		"acknowledged what is not here": {func(b *Bundle) { b.Runs[0].Acks[0] = ack(Head{terminal, 1, 5, Hash{}}) }, ErrWitness},
		"acknowledged what is before":   {func(b *Bundle) { b.Runs[1].Acks = [][]byte{ack(Head{terminal, 3, 6, Hash{5}})} }, ErrWitness},
	} {
		b := sample()
		c.alter(&b)
		p, err := b.Verify(witness)
		if !errors.Is(err, c.want) || len(p.Runs) != 0 {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	b := sample()
	if _, err := b.Verify(nil); !errors.Is(err, ErrWitness) {
		t.Errorf("nobody to check an acknowledgement: %v", err)
	}
}

// Runs of one epoch may follow one another, and one may be missing between.
func TestBundleRuns(t *testing.T) {
	b := sample()
	end := b.Runs[1].Head(terminal)
	b.Runs = append(b.Runs, run(3, end.Seq+1, end.Hash, 3), run(3, end.Seq+9, Hash{7}, 1))
	p, err := b.Verify(witness)
	if err != nil || len(p.Runs) != 4 || p.Runs[2].Head.Seq != end.Seq+3 {
		t.Errorf("%+v, %v", p, err)
	}
}

// Who is told that a bundle is not whole is told where to look.
func TestBundleSays(t *testing.T) {
	whole := sample()
	whole.Runs = whole.Runs[:1]
	good := whole.Bytes()
	first := 14 + 32 + 4 + 4 + 32 + 8 + 32 + 4 // up to the first entry
	for what, c := range map[string]struct {
		cut   int
		alter func(*Bundle)
		says  string
	}{
		"cut in the second entry":      {cut: first + 2 + len(whole.Runs[0].Entries[0]) + 70, says: "310100001234-1-2"},
		"cut in the third entry":       {cut: first + 2*(2+len(whole.Runs[0].Entries[0])) + 20, says: "310100001234-1-3"},
		"cut in the signature":         {cut: len(good) - 100, says: "after entry 310100001234-1-4"},
		"before what was acknowledged": {alter: func(b *Bundle) { e := b.Runs[0].Entries[1]; e[len(e)-1]++ }, says: "310100001234-1-1 to 310100001234-1-3"},
		"after what was acknowledged":  {alter: func(b *Bundle) { e := b.Runs[0].Entries[3]; e[len(e)-1]++ }, says: "entry 310100001234-1-4 was altered"},
		"reordered":                    {alter: func(b *Bundle) { e := b.Runs[0].Entries; e[1], e[2] = e[2], e[1] }, says: "310100001234-1-3 stands where 310100001234-1-2 belongs"},
		"garbage for an entry":         {alter: func(b *Bundle) { b.Runs[1].Entries[1] = []byte("x") }, says: "entry 8"},
	} {
		in := good[:max(c.cut, 0)]
		if c.alter != nil {
			b := sample()
			c.alter(&b)
			in = b.Bytes()
		}
		b, err := ParseBundle(in)
		if err == nil {
			_, err = b.Verify(witness)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to name %s", what, err, c.says)
		}
	}
}

// One bit altered anywhere in a bundle is seen, but for the key of the
// utility, with which the witness is made, and what an acknowledgement says
// beside its head, which its own seal covers.
func TestBundleBits(t *testing.T) {
	b := sample()
	good := b.Bytes()
	for i := range len(good) * 8 {
		at := i / 8
		if at >= 14 && at < 46 {
			continue
		}
		x := bytes.Clone(good)
		x[at] ^= 1 << (i % 8)
		b, err := ParseBundle(x)
		if err == nil {
			_, err = b.Verify(witness)
		}
		if err == nil {
			t.Fatalf("bit %d of byte %d", i%8, at)
		}
	}
}

// The bytes of a bundle are kept for years by people who have no journal.
func TestGoldenBundle(t *testing.T) {
	b := sample()
	got := fmt.Sprintf("%x\n", b.Bytes())
	if *updateBundle {
		if err := os.WriteFile("testdata/bundle.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/bundle.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got  %swant %s", got, want)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(want)))
	if err != nil {
		t.Fatal(err)
	}
	old, err := ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := old.Verify(witness); err != nil || p.Runs[0].Through != 3 || len(p.Runs[1].Entries) != 2 {
		t.Errorf("a bundle of before no longer verifies: %+v, %v", p, err)
	}
}

// FuzzBundle: whatever the file says, reading and verifying ends without a
// panic, what is read is written back the same, and nothing is proven that
// the record key of the test did not sign.
func FuzzBundle(f *testing.F) {
	b := sample()
	good := b.Bytes()
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), 0))
	f.Add(good[:46])
	real := map[Head]bool{b.Runs[0].Head(terminal): true, b.Runs[1].Head(terminal): true}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBundle(in)
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(b.Bytes(), in) {
			t.Fatalf("%x reads and is written as %x", in, b.Bytes())
		}
		p, err := b.Verify(witness)
		if err != nil {
			return
		}
		for i, r := range p.Runs {
			if bytes.Equal(b.Runs[i].Key[:], recordKey.Public().(ed25519.PublicKey)) && !real[r.Head] {
				t.Fatalf("proven: %+v", r.Head)
			}
			if len(r.Entries) != len(b.Runs[i].Entries) || r.Through > r.Head.Seq {
				t.Fatalf("%+v", r)
			}
		}
	})
}
