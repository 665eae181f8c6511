package wire

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/dianka/dianka/journal"
)

func TestWitness(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	other := ed25519.NewKeyFromSeed([]byte("another key of thirty-two bytes!"))
	ack := &Ack{Terminal: terminal, Epoch: 2, Through: 7, Hash: journal.Hash{1}, Server: 5, Verdicts: []Verdict{{Seq: 6, Code: VerdictHeld, Reason: "bad_tac"}}}
	read := Witness(key.Public().(ed25519.PublicKey))
	s, err := read(Seal("ack", ack, key))
	if err != nil || s.Head != (journal.Head{Terminal: terminal, Epoch: 2, Seq: 7, Hash: journal.Hash{1}}) || s.At != 5 || s.Held[6] != "bad_tac" || len(s.Held) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for what, c := range map[string]struct {
		sealed []byte
		want   error
	}{
		"another's seal":      {Seal("ack", ack, other), ErrSignature},
		"another statement":   {Seal("question", ack, key), ErrMessage},
		"nothing":             {nil, ErrMessage},
		"an ack that is none": {Seal("ack", &Question{}, key), ErrMessage},
	} {
		if _, err := read(c.sealed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Witness(nil)(Seal("ack", ack, key)); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: %v", err)
	}
}
