package pki_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/wire"
)

var (
	now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	id  = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}
)

func request(t *testing.T, key any) []byte {
	t.Helper()
	b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func p256(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t *testing.T, der []byte) []*x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{c}
}

func TestOpenMakesOneAuthorityForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	a, err := pki.Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.Open(path, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Certificate()) != string(b.Certificate()) {
		t.Error("another authority after a restart")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files", len(left))
	}
	if runtime.GOOS != "windows" {
		os.Chmod(path, 0o640)
		if _, err := pki.Open(path, now); !errors.Is(err, pki.ErrPermissions) {
			t.Errorf("%v", err)
		}
		os.Chmod(path, 0o600)
	}
	pem, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := other.PEM()
	if err != nil {
		t.Fatal(err)
	}
	n := len(pem) / 2
	for name, bad := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "half": pem[:n],
		"another's key": append(certOnly(pem), keyOnly(mixed)...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.Open(path, now); !errors.Is(err, pki.ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != string(bad) {
			t.Errorf("%s: the file was replaced", name)
		}
	}
}

const end = "-----END CERTIFICATE-----\n"

func certOnly(b []byte) []byte { i := index(b); return append([]byte(nil), b[:i]...) }
func keyOnly(b []byte) []byte  { return b[index(b):] }
func index(b []byte) int {
	for i := range b {
		if i+len(end) <= len(b) && string(b[i:i+len(end)]) == end {
			return i + len(end)
		}
	}
	return 0
}

func TestIdentify(t *testing.T) {
	a, err := pki.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	csr := request(t, p256(t, elliptic.P256()))
	der, err := a.IssueTerminal(csr, id, 3, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, der)
	got, err := a.Identify(cert, now)
	if err != nil || got.ID != id || got.Epoch != 3 || !got.NotAfter.Equal(now.Add(pki.TerminalLife)) {
		t.Fatalf("%+v %v", got, err)
	}
	foreign, err := other.IssueTerminal(csr, id, 3, now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Server(func() time.Time { return now })(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		peer []*x509.Certificate
		at   time.Time
		want error
	}{
		{"none", nil, now, pki.ErrCertificate},
		{"another authority's", parse(t, foreign), now, pki.ErrCertificate},
		{"a server's", []*x509.Certificate{server.Leaf}, now, pki.ErrCertificate},
		{"the authority's own", parse(t, a.Certificate()), now, pki.ErrCertificate},
		{"run out", cert, now.Add(pki.TerminalLife + time.Second), pki.ErrExpired},
		{"not yet", cert, now.Add(-2 * time.Hour), pki.ErrExpired},
	} {
		if _, err := a.Identify(x.peer, x.at); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func TestIssueTakesOnlyTheKey(t *testing.T) {
	a, err := pki.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	good := request(t, p256(t, elliptic.P256()))
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	for name, csr := range map[string][]byte{
		"empty": nil, "P-384": request(t, p256(t, elliptic.P384())), "Ed25519": request(t, ed), "signature": forged,
	} {
		if _, err := a.IssueTerminal(csr, id, 1, now); !errors.Is(err, pki.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A request for another name, with the rights of an authority.
	k := p256(t, elliptic.P256())
	tmpl := &x509.CertificateRequest{DNSNames: []string{wire.ServerName}}
	tmpl.Subject.CommonName = "310100001235"
	csr, err := x509.CreateCertificateRequest(rand.Reader, tmpl, k)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.IssueTerminal(csr, id, 1, now)
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, der)[0]
	if c.Subject.CommonName != id.String() || len(c.DNSNames) != 0 || c.IsCA || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("%+v", c.Subject)
	}
}

func TestServerCertificateIsRenewed(t *testing.T) {
	a, err := pki.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	at := now
	get := a.Server(func() time.Time { return at })
	first, err := get(nil)
	if err != nil {
		t.Fatal(err)
	}
	at = now.Add(24 * time.Hour)
	if c, _ := get(nil); c != first {
		t.Error("a new one every day")
	}
	at = now.Add(60 * 24 * time.Hour)
	second, err := get(nil)
	if err != nil || second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not renewed: %v", err)
	}
}
