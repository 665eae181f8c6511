package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// What was rescued is cut into pieces that are batches as the utility takes
// them, one chain through all of an epoch; a gap stays one.
func TestRescuePieces(t *testing.T) {
	run := func(from uint64, before journal.Hash, n int) store.SalvagedRun {
		r := store.SalvagedRun{Epoch: 1, From: from, Before: before}
		for i := range uint64(n) {
			e := journal.Entry{Name: journal.Name{Terminal: terminal, Epoch: 1, Seq: from + i}, Actor: clerk, Body: &journal.ShiftOpen{Number: uint32(i)}}
			r.Entries = append(r.Entries, e.Bytes())
		}
		return r
	}
	found := store.Salvaged{Runs: []store.SalvagedRun{run(8, journal.Hash{1}, 2*wire.MaxBatch+3), run(5000, journal.Hash{2}, 1)}}
	b, p, err := Rescue(terminal, keys.Signer, found)
	if err != nil || len(p.Runs) != 4 {
		t.Fatalf("%d runs, %v", len(p.Runs), err)
	}
	var entries [][]byte
	for i := range b.Runs {
		r := &b.Runs[i]
		head := r.Head(terminal)
		batch := wire.Batch{Terminal: terminal, Epoch: 1, From: r.From, Prev: r.Before, Entries: r.Entries, Head: head.Hash, Signature: r.Signature}
		if err := batch.Verify(public(recordKey)); err != nil || len(r.Entries) > wire.MaxBatch || len(wire.Marshal(&batch)) > wire.MaxBatchBytes {
			t.Errorf("piece %d: %d entries, %d bytes, %v", i, len(r.Entries), len(wire.Marshal(&batch)), err)
		}
		entries = append(entries, r.Entries...)
	}
	if want := append(found.Runs[0].Entries, found.Runs[1].Entries...); !bytes.Equal(bytes.Join(entries, nil), bytes.Join(want, nil)) {
		t.Error("not the same entries")
	}

	if _, _, err := Rescue(terminal, keys.Signer, store.Salvaged{}); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing found: %v", err)
	}
	if _, _, err := Rescue(terminal, func(uint32) ed25519.PrivateKey { return nil }, found); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
}
