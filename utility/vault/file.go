package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/suite"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// The file: magic, Argon2id cost (time 4, memory KiB 4, lanes 1), salt 16,
// nonce 24, then the keys under XChaCha20-Poly1305 with all before as
// additional data.
const magic = "dianka-vault-1\n"

const (
	argonTime   = 3
	argonMemory = 64 << 10 // KiB
	argonLanes  = 2
	maxMemory   = 1 << 20 // KiB: a forged file must not exhaust the host
	maxTime     = 64
)

type contents struct {
	masters suite.Masters
	seed    []byte
}

func (r *contents) Fields(c *canon.Codec) {
	m := &r.masters
	for _, k := range []*[]byte{&m.Purchase, &m.Load, &m.TAC, &m.Line, &m.PINUnblock, &m.PINReload, &m.Control, &m.Allowance, &r.seed} {
		canon.Bytes(c, k, 64)
	}
}

// Create writes a new vault file with a new signing key, readable by its
// owner only. It never overwrites a file.
func Create(path string, passphrase []byte, masters suite.Masters) error {
	_, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	head := []byte(magic)
	head = binary.BigEndian.AppendUint32(head, argonTime)
	head = binary.BigEndian.AppendUint32(head, argonMemory)
	head = append(head, argonLanes)
	random := make([]byte, 16+chacha20poly1305.NonceSizeX)
	rand.Read(random) // crypto/rand never fails
	head = append(head, random...)
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, random[:16], argonTime, argonMemory, argonLanes, chacha20poly1305.KeySize))
	if err != nil {
		return err
	}
	sealed := aead.Seal(head, random[16:], canon.Marshal(&contents{masters, sign.Seed()}), head)

	f, err := os.CreateTemp(filepath.Dir(path), ".vault-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(sealed)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path) // fails when path exists
}

// Open reads a vault file. test says whether well-known test keys are
// expected; the other kind is refused with ErrTest. It fails with ErrFile on
// a wrong passphrase or an altered file.
func Open(path string, passphrase []byte, test bool, set *profiles.Set) (*Software, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := decode(b, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.masters.IsTest() != test {
		return nil, fmt.Errorf("%s: %w", path, ErrTest)
	}
	return New(c.masters, ed25519.NewKeyFromSeed(c.seed), set)
}

func decode(b, passphrase []byte) (contents, error) {
	const headLen = len(magic) + 9 + 16 + chacha20poly1305.NonceSizeX
	if len(b) < headLen || string(b[:len(magic)]) != magic {
		return contents{}, ErrFile
	}
	p := b[len(magic):headLen]
	time, memory, lanes := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), p[8]
	if time == 0 || time > maxTime || memory == 0 || memory > maxMemory || lanes == 0 {
		return contents{}, ErrFile
	}
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, p[9:25], time, memory, lanes, chacha20poly1305.KeySize))
	if err != nil {
		return contents{}, err
	}
	plain, err := aead.Open(nil, p[25:], b[headLen:], b[:headLen])
	if err != nil {
		return contents{}, ErrFile
	}
	var c contents
	if err := canon.Unmarshal(plain, &c); err != nil || len(c.seed) != ed25519.SeedSize {
		return contents{}, ErrFile
	}
	return c, nil
}
