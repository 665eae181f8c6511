package kiosk

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"golang.org/x/crypto/argon2"
)

// quick stands in for argon2id in the tests of this package: they log in some
// thousand times.
func quick(pin, salt []byte, _, _ uint32, _ uint8, _ uint32) []byte {
	sum := sha256.Sum256(append(salt[:len(salt):len(salt)], pin...))
	return sum[:]
}

var real = stretch

func init() { stretch = quick }

// TestPINIsStretched: what is kept of a PIN is argon2id of it, of the cost
// that stands in the hash, and a right PIN is told from a wrong one by it.
func TestPINIsStretched(t *testing.T) {
	stretch = real
	defer func() { stretch = quick }()
	salt := []byte("0123456789abcdef")
	key := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("2468"), salt, 2, 19456, 1, 32))
	if got, want := hashPIN("2468", salt), "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"+key; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	h := must(HashPIN("2468"))
	s := newServer(t, newFake(), func(c *Config) { c.Staff = []Staff{{ID: 7, Name: "a", PINHash: h}} })
	b := open(t, s)
	if code, _ := b.login("7", "2469"); code == 200 {
		t.Error("a wrong PIN opens the screen")
	}
	if code, v := b.login("7", "2468"); code != 200 {
		t.Errorf("the right one: %d %v", code, v)
	}
}
