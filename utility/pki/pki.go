// Package pki is the utility's certificate authority: one CA that certifies
// the utility's servers and the terminals, and nothing else.
//
// It may import floor 0. It must never decide who becomes a terminal (package
// utility does), nor let the CA's private key out except through PEM.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// Lifetimes. A terminal's certificate outlives the longest outage that a shop
// may have, and is renewed at half of its life.
const (
	caLife       = 30 * 365 * 24 * time.Hour
	TerminalLife = 400 * 24 * time.Hour
	serverLife   = 90 * 24 * time.Hour
	backdate     = time.Hour // for servers whose clocks differ a little
)

// Errors of the authority.
var (
	ErrFile        = errors.New("pki: not the file of a certificate authority")
	ErrPermissions = errors.New("pki: the file with the authority's key may be read by others")
	ErrRequest     = errors.New("pki: not a request for a P-256 key signed by that key")
	ErrCertificate = errors.New("pki: not a certificate of one of our terminals")
	ErrExpired     = errors.New("pki: the certificate has run out")
)

// Authority is the CA. It may be used from any goroutine.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// Create makes a new authority that is nowhere stored yet.
func Create(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make a key: %w", err)
	}
	t, err := template("Dianka CA", now, caLife)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("pki: sign the authority: %w", err)
	}
	return of(der, key)
}

func of(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) || !cert.IsCA {
		return nil, fmt.Errorf("%w: key and certificate do not belong together", ErrFile)
	}
	a := &Authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a, nil
}

// PEM gives certificate and private key, for whoever keeps the authority.
func (a *Authority) PEM() ([]byte, error) {
	k, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("pki: write the key: %w", err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})...), nil
}

// Parse reads what PEM writes. It fails with ErrFile.
func Parse(b []byte) (*Authority, error) {
	c, rest := pem.Decode(b)
	if c == nil || c.Type != "CERTIFICATE" {
		return nil, ErrFile
	}
	k, _ := pem.Decode(rest)
	if k == nil || k.Type != "PRIVATE KEY" {
		return nil, ErrFile
	}
	any, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: not an ECDSA key", ErrFile)
	}
	return of(c.Bytes, key)
}

// Open reads the authority from a file, or makes one and writes the file,
// readable by its owner only, when there is none. It fails with ErrFile, or
// with ErrPermissions when others may read the file.
func Open(path string, now time.Time) (*Authority, error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if st, err := os.Stat(path); err != nil || (runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0) {
			return nil, fmt.Errorf("%s: %w", path, ErrPermissions)
		}
		a, err := Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return a, nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("pki: %w", err)
	}
	a, err := Create(now)
	if err != nil {
		return nil, err
	}
	if b, err = a.PEM(); err != nil {
		return nil, err
	}
	if err := writeNew(path, b); err != nil {
		return nil, fmt.Errorf("pki: write the authority: %w", err)
	}
	return a, nil
}

// writeNew creates path whole or not at all, and never replaces a file.
func writeNew(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ca-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, os.ErrExist) {
			return err
		}
		if err := os.Rename(f.Name(), path); err != nil { // a file system without links
			return err
		}
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		d.Sync() // not every system can; the file itself is synced
		d.Close()
	}
	return nil
}

// Certificate is the CA's own, in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// IssueTerminal certifies the key of a request for one terminal and epoch,
// and takes nothing else from the request. It fails with ErrRequest.
func (a *Authority) IssueTerminal(csr []byte, id money.TerminalID, epoch uint32, now time.Time) ([]byte, error) {
	key, err := RequestKey(csr)
	if err != nil {
		return nil, err
	}
	t, err := template(id.String(), now, TerminalLife)
	if err != nil {
		return nil, err
	}
	t.Subject.SerialNumber = strconv.FormatUint(uint64(epoch), 10)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("pki: sign for terminal %s: %w", id, err)
	}
	return der, nil
}

// RequestKey gives the key that a PKCS #10 request asks to certify. It fails
// with ErrRequest.
func RequestKey(csr []byte) (crypto.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if k, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, ErrRequest
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return r.PublicKey, nil
}

// Terminal is what a terminal's certificate says.
type Terminal struct {
	ID       money.TerminalID
	Epoch    uint32
	NotAfter time.Time
}

// Identify reads a certificate that a peer proved to hold. It fails with
// ErrCertificate unless this authority issued it to a terminal, and with
// ErrExpired, besides what the certificate says, when it is not valid now.
func (a *Authority) Identify(peer []*x509.Certificate, now time.Time) (Terminal, error) {
	if len(peer) == 0 {
		return Terminal{}, fmt.Errorf("%w: none was shown", ErrCertificate)
	}
	cert := peer[0]
	// The chain is judged at a time when the certificate was valid; its own
	// dates are judged below, by our clock.
	if _, err := cert.Verify(x509.VerifyOptions{
		Roots: a.pool, CurrentTime: cert.NotBefore.Add(backdate),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return Terminal{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	id, err := money.ParseTerminalID(cert.Subject.CommonName)
	if err != nil {
		return Terminal{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	epoch, err := strconv.ParseUint(cert.Subject.SerialNumber, 10, 32)
	if err != nil || epoch == 0 {
		return Terminal{}, fmt.Errorf("%w: it names no epoch", ErrCertificate)
	}
	t := Terminal{ID: id, Epoch: uint32(epoch), NotAfter: cert.NotAfter}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return t, fmt.Errorf("%w on %s", ErrExpired, cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return t, nil
}

// Server gives certificates for a TLS server: the key lives in memory only,
// and a new one is made at half of the certificate's life. The CA travels
// with it, so that an enrolling terminal can compare it with its pin.
func (a *Authority) Server(clock func() time.Time) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	var mu sync.Mutex
	var have *tls.Certificate
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		now := clock()
		if have != nil && !now.Before(have.Leaf.NotBefore) && now.Before(have.Leaf.NotAfter.Add(-serverLife/2)) {
			return have, nil
		}
		fresh, err := a.server(now)
		if err != nil {
			return nil, err
		}
		have = fresh
		return have, nil
	}
}

func (a *Authority) server(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make a key: %w", err)
	}
	t, err := template(wire.ServerName, now, serverLife)
	if err != nil {
		return nil, err
	}
	t.DNSNames = []string{wire.ServerName}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("pki: sign for the server: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("pki: make a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}, nil
}
