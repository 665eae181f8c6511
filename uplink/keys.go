package uplink

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// Errors of the key file.
var (
	ErrKeys        = errors.New("uplink: not a key file, or damaged")
	ErrPermissions = errors.New("uplink: the key file may be read by others: allow its owner only (chmod 600)")
)

// maxEpochs is how many enrolments of one terminal a key file holds.
const maxEpochs = 1000

// RecordKey signs the chain heads of one epoch. Keys of earlier epochs stay
// as long as entries of theirs may be unsent.
type RecordKey struct {
	Epoch uint32
	Seed  [ed25519.SeedSize]byte
}

// Keys is what a terminal owns and knows after its enrolment. Treat it as a
// secret; it has no String that shows one.
type Keys struct {
	Terminal    money.TerminalID
	Shop        money.ShopID
	PSAM        money.SAMID // the SAMs it was enrolled with, zero for none
	LoadSAM     money.SAMID
	Record      []RecordKey                 // by epoch, the present one last
	TLSKey      []byte                      // PKCS #8 of the key that opens connections
	Certificate []byte                      // its X.509 certificate
	CA          []byte                      // the utility's CA
	Utility     [ed25519.PublicKeySize]byte // the key that signs answers and sections
}

// String says whose keys they are.
func (k Keys) String() string { return fmt.Sprintf("keys of terminal %s", k.Terminal) }

// GoString is String, so that %#v shows no key either.
func (k Keys) GoString() string { return k.String() }

// Epoch is the present epoch.
func (k Keys) Epoch() uint32 {
	if len(k.Record) == 0 {
		return 0
	}
	return k.Record[len(k.Record)-1].Epoch
}

// Signer gives the record key of an epoch, which also signs slips and
// evidence bundles. It gives nil when there is none.
func (k Keys) Signer(epoch uint32) ed25519.PrivateKey {
	for _, r := range k.Record {
		if r.Epoch == epoch {
			return ed25519.NewKeyFromSeed(r.Seed[:])
		}
	}
	return nil
}

var keysMagic = [8]byte{'D', 'K', 'K', 'E', 'Y', 'S', 0, 1}

// Fields walks the canonical layout.
func (k *Keys) Fields(c *canon.Codec) {
	magic := keysMagic
	canon.Fixed(c, magic[:])
	if magic != keysMagic {
		c.Fail(ErrKeys)
		return
	}
	canon.Fixed(c, k.Terminal[:])
	canon.U32(c, &k.Shop)
	canon.Fixed(c, k.PSAM[:])
	canon.Fixed(c, k.LoadSAM[:])
	canon.List(c, &k.Record, maxEpochs, 4+ed25519.SeedSize, func(c *canon.Codec, r *RecordKey) {
		canon.U32(c, &r.Epoch)
		canon.Fixed(c, r.Seed[:])
	})
	canon.Bytes(c, &k.TLSKey, 1024)
	canon.Bytes(c, &k.Certificate, wire.MaxCert)
	canon.Bytes(c, &k.CA, wire.MaxCert)
	canon.Fixed(c, k.Utility[:])
}

// MarshalKeys gives the bytes of a key file: the canonical fields and their
// SHA-256, since a flipped bit in a seed would otherwise be another key.
func MarshalKeys(k Keys) []byte {
	b := canon.Marshal(&k)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// ParseKeys reads what MarshalKeys writes. It fails with ErrKeys.
func ParseKeys(b []byte) (Keys, error) {
	n := len(b) - sha256.Size
	if n < 0 || sha256.Sum256(b[:n]) != [sha256.Size]byte(b[n:]) {
		return Keys{}, ErrKeys
	}
	var k Keys
	if err := canon.Unmarshal(b[:n], &k); err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if err := k.check(); err != nil {
		return Keys{}, err
	}
	return k, nil
}

// check makes sure that what the file holds belongs together.
func (k Keys) check() error {
	last := uint32(0)
	for _, r := range k.Record {
		if r.Epoch <= last {
			return fmt.Errorf("%w: its epochs do not grow", ErrKeys)
		}
		last = r.Epoch
	}
	if last == 0 || k.Terminal.IsZero() {
		return fmt.Errorf("%w: it names no terminal or epoch", ErrKeys)
	}
	pair, err := k.pair()
	if err != nil {
		return err
	}
	if pair.Leaf.Subject.CommonName != k.Terminal.String() {
		return fmt.Errorf("%w: the certificate is another terminal's", ErrKeys)
	}
	ca, err := x509.ParseCertificate(k.CA)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if err := pair.Leaf.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return nil
}

// pair is what the terminal shows when it opens a connection.
func (k Keys) pair() (*tls.Certificate, error) {
	key, err := x509.ParsePKCS8PrivateKey(k.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	leaf, err := x509.ParseCertificate(k.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if pub, is := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !is || !pub.Equal(signer.Public()) {
		return nil, fmt.Errorf("%w: the certificate is of another key", ErrKeys)
	}
	return &tls.Certificate{Certificate: [][]byte{k.Certificate}, PrivateKey: signer, Leaf: leaf}, nil
}

// Validity is from when until when the certificate opens connections.
func (k Keys) Validity() (from, until time.Time, err error) {
	pair, err := k.pair()
	if err != nil {
		return from, until, err
	}
	return pair.Leaf.NotBefore, pair.Leaf.NotAfter, nil
}

// LoadKeys reads a key file. It fails with os.ErrNotExist, ErrKeys, or
// ErrPermissions when others may read it.
func LoadKeys(path string) (Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return Keys{}, fmt.Errorf("uplink: key file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Keys{}, fmt.Errorf("uplink: key file: %w", err)
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return Keys{}, fmt.Errorf("%s: %w", path, ErrPermissions)
	}
	b := make([]byte, min(st.Size(), 1<<20))
	if _, err := f.ReadAt(b, 0); err != nil {
		return Keys{}, fmt.Errorf("uplink: key file: %w", err)
	}
	k, err := ParseKeys(b)
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// SaveKeys writes a key file, readable by its owner only: whole and on disk,
// or the file that was there is untouched.
func SaveKeys(path string, k Keys) error {
	if err := k.check(); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("uplink: write the key file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(MarshalKeys(k))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("uplink: write the key file: %w", err)
	}
	if runtime.GOOS != "windows" { // which cannot sync a directory
		d, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("uplink: write the key file: %w", err)
		}
		defer d.Close()
		if err := d.Sync(); err != nil {
			return fmt.Errorf("uplink: write the key file: %w", err)
		}
	}
	return nil
}

// newTLSKey makes a key that opens connections and a request to certify it.
func newTLSKey(t money.TerminalID) (key, csr []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("uplink: make a key: %w", err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
		return nil, nil, fmt.Errorf("uplink: make a key: %w", err)
	}
	req := &x509.CertificateRequest{Subject: pkix.Name{CommonName: t.String()}}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, req, crypto.Signer(k)); err != nil {
		return nil, nil, fmt.Errorf("uplink: make a request: %w", err)
	}
	return key, csr, nil
}
