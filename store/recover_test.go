package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/dianka/dianka/journal"
)

// A file made anew from its second copy has what is unsent, byte for byte and
// under the old names; it takes acknowledgements and nothing else until it is
// renewed, and is sound all along.
func TestRecover(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := fresh(t)
		history(t, s, r, 30)
		if seed%3 > 0 {
			if err := s.PutAck([]byte("a"), ackOf(t, s, 1, 1+r.Uint64N(s.Head().Seq))); err != nil {
				t.Fatal(err)
			}
		}
		if seed%2 == 0 { // two epochs
			if err := s.Renew(Identity{Terminal: terminal, Shop: 3, Epoch: 2}); err != nil {
				t.Fatal(err)
			}
		} else { // the copy begins where the acknowledgement ends
			s.Close()
			os.Remove(s.Copy().Path)
			s = reopen(t, s.path)
		}
		history(t, s, r, 10)
		id, epochs, unsent := s.Identity(), s.Epochs(), map[journal.Ref]string{}
		for _, e := range epochs {
			for seq := e.Acked + 1; seq <= e.Head.Seq; seq++ {
				_, raw, err := s.EntriesOf(e.Head.Epoch, seq, 1, 1)
				if err != nil {
					t.Fatal(err)
				}
				unsent[journal.Ref{Epoch: e.Head.Epoch, Seq: seq}] = string(raw[0])
			}
		}
		s.Close()
		place(t, s.path, []byte("damaged"))
		got, err := Recover(s.path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if b := bytesOf(t, got.Damaged); string(b) != "damaged" || got.Identity != id || got.Cut {
			t.Errorf("%+v, kept %q", got, b)
		}
		if err := Verify(ctx, s.path, Options{}, true); err != nil {
			t.Error(err)
		}
		n := reopen(t, s.path)
		sound(t, n)
		if err := n.Backwards(func(journal.Entry) bool { return true }, journal.TypeStart); err != nil {
			t.Errorf("read back to where the chain begins: %v", err)
		}
		if n.Identity() != id || n.Head() != epochs[len(epochs)-1].Head {
			t.Fatalf("%+v %+v", n.Identity(), n.Head())
		}
		for ref, want := range unsent {
			_, raw, err := n.EntriesOf(ref.Epoch, ref.Seq, 1, 1)
			if err != nil || string(raw[0]) != want {
				t.Fatalf("entry %v is not there as it was: %v", ref, err)
			}
		}
		if _, err := n.Append(ctx, Draft{clerk, journal.Ref{}, &journal.Start{}}); !errors.Is(err, ErrRemade) || n.Head() != epochs[len(epochs)-1].Head {
			t.Fatalf("the old epoch goes on: %v", err)
		}
		for _, e := range n.Epochs() {
			if e.Base > 0 {
				if _, _, err := n.EntriesOf(e.Head.Epoch, e.Base, 1, 1); !errors.Is(err, ErrNotFound) {
					t.Errorf("what is before the base: %v", err)
				}
			}
			if e.Acked < e.Head.Seq {
				if err := n.PutAck([]byte("b"), ackOf(t, n, e.Head.Epoch, e.Acked+1+r.Uint64N(e.Head.Seq-e.Acked))); err != nil {
					t.Fatal(err)
				}
			}
		}
		sound(t, n)
		n.Close()
		n = reopen(t, n.path)
		if err := n.Rebuild(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n.Renew(Identity{Terminal: terminal, Shop: 3, Epoch: 9}); err != nil {
			t.Fatal(err)
		}
		if id := n.Identity(); id.PrevEpoch != epochs[len(epochs)-1].Head.Epoch || id.PrevSeq != epochs[len(epochs)-1].Head.Seq {
			t.Errorf("%+v", id)
		}
		history(t, n, r, 20)
		if n.Head().Seq == 0 {
			t.Fatal("nothing can be written after the renewal")
		}
		sound(t, n)
		n.Close()
		n = reopen(t, n.path)
		sound(t, n)
		if c := n.Copy(); c.Problem != nil || c.Taken != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// Without a copy whose chain verifies nothing is made and nothing is touched.
func TestRecoverNeedsCopy(t *testing.T) {
	s := fresh(t)
	put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	copyPath := s.Copy().Path
	s.Close()
	good := bytesOf(t, copyPath)
	place(t, s.path, []byte("damaged"))
	forged := appendFrame(bytes.Clone(good[:copyHeaderLen+frameHeadLen]), frame{journal.Ref{Epoch: 1, Seq: 1}, journal.Hash{1}, []byte("forged")})
	for what, b := range map[string][]byte{"lost": nil, "no header": good[:10], "no chain": good[:copyHeaderLen], "another chain": forged} {
		os.Remove(copyPath)
		if b != nil {
			place(t, copyPath, b)
		}
		if _, err := Recover(s.path, Options{}); !errors.Is(err, ErrCopy) {
			t.Errorf("%s: %v", what, err)
		}
		if string(bytesOf(t, s.path)) != "damaged" {
			t.Fatalf("%s: the damaged file was touched", what)
		}
	}
	place(t, copyPath, good)
}
