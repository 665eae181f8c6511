package wire

import (
	"crypto/ed25519"

	"github.com/dianka/dianka/journal"
)

// Witness reads the utility's acknowledgements in an evidence bundle. It
// fails with ErrMessage or ErrSignature.
func Witness(key ed25519.PublicKey) journal.Witness {
	return func(sealed []byte) (journal.Statement, error) {
		var a Ack
		if err := Unseal(sealed, "ack", key, &a); err != nil {
			return journal.Statement{}, err
		}
		s := journal.Statement{
			Head: journal.Head{Terminal: a.Terminal, Epoch: a.Epoch, Seq: a.Through, Hash: a.Hash},
			At:   a.Server, Held: map[uint64]string{},
		}
		for _, v := range a.Verdicts {
			s.Held[v.Seq] = v.Reason
		}
		return s, nil
	}
}
