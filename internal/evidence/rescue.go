package evidence

import (
	"crypto/ed25519"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// handed is how many bytes of entries one batch may carry, so that with its
// head and signature it is one that the utility takes.
const handed = wire.MaxBatchBytes - 4096

// Rescue makes a bundle of what was salvaged of a terminal's file, in pieces
// that the utility takes as it takes them from the terminal itself, each
// signed with the record key of its epoch. It fails with ErrNothing, ErrNoKey
// or ErrTooMuch.
func Rescue(t money.TerminalID, signer func(epoch uint32) ed25519.PrivateKey, s store.Salvaged) (journal.Bundle, journal.Proof, error) {
	b := journal.Bundle{Terminal: t}
	for _, run := range s.Runs {
		key := signer(run.Epoch)
		if key == nil {
			return journal.Bundle{}, journal.Proof{}, noKey(run.Epoch)
		}
		from, before := run.From, run.Before
		for rest := run.Entries; len(rest) > 0; {
			r := journal.Run{Epoch: run.Epoch, From: from, Before: before}
			copy(r.Key[:], key.Public().(ed25519.PublicKey))
			n, size := 0, 0
			for n < len(rest) && n < wire.MaxBatch && (n == 0 || size+len(rest[n])+2 <= handed) {
				size += len(rest[n]) + 2
				n++
			}
			r.Entries, rest = rest[:n], rest[n:]
			head := r.Head(t)
			r.Signature = head.Sign(key)
			from, before = head.Seq+1, head.Hash
			if b.Runs = append(b.Runs, r); len(b.Runs) > journal.MaxRuns {
				return journal.Bundle{}, journal.Proof{}, ErrTooMuch
			}
		}
	}
	if len(b.Runs) == 0 {
		return journal.Bundle{}, journal.Proof{}, ErrNothing
	}
	return proven(b, nil)
}
