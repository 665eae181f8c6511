package uplink_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/wire"
)

var journalKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))

// lagging adds a section to every hello.
type lagging struct {
	*fake
	old []byte
}

func (l *lagging) Hello(ctx context.Context, from money.TerminalID, h wire.Hello) (wire.HelloAnswer, error) {
	a, err := l.fake.Hello(ctx, from, h)
	a.Sections = append(a.Sections, l.old)
	return a, err
}

// serveOther puts another service behind a door of the same authority.
func serveOther(t *testing.T, h *host, svc terminals.Service) *host {
	t.Helper()
	ln := loopback(t)
	s := terminals.NewServer(svc, h.ca, terminals.Options{})
	done := make(chan struct{})
	go func() { defer close(done); s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	return &host{fake: h.fake, ca: h.ca, url: "https://" + ln.Addr().String()}
}

func refused(t *testing.T, err error, status int, word string) {
	t.Helper()
	var r *uplink.Refusal
	if !errors.As(err, &r) || r.Status != status || r.Word != word {
		t.Errorf("got %v, want %d %s", err, status, word)
	}
}

func TestEnrolmentCodeIsUsedOnce(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	opt := uplink.EnrolOptions{URL: h.url, Code: h.code(terminalA, "ONCE"), Terminal: terminalA, PSAM: money.SAMID{1}, LoadSAM: money.SAMID{2}}
	wrong := opt
	wrong.Terminal = terminalB
	_, _, err := uplink.Enrol(t.Context(), wrong)
	refused(t, err, http.StatusForbidden, terminals.WordCode)

	k, id, err := uplink.Enrol(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if id.Terminal != terminalA || id.Shop != shop || id.Epoch != 1 || k.PSAM != opt.PSAM || k.LoadSAM != opt.LoadSAM || k.Epoch() != 1 {
		t.Errorf("%+v", id)
	}
	_, _, err = uplink.Enrol(t.Context(), opt)
	refused(t, err, http.StatusForbidden, terminals.WordCode)
}

func TestCodeGoesOnlyToThePinnedUtility(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	stranger := serve(t, loopback(t), terminals.Options{})
	code := h.code(terminalA, "ONCE")
	_, _, err := uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: stranger.url, Code: code, Terminal: terminalA})
	if !errors.Is(err, uplink.ErrPin) {
		t.Errorf("enrolled at a stranger: %v", err)
	}
	if stranger.called("enrol") != 0 {
		t.Error("the stranger saw the code")
	}
	if _, _, err := uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: h.url, Code: code, Terminal: terminalA}); err != nil {
		t.Errorf("the code is no longer good: %v", err)
	}
}

// impostor answers TLS with a certificate of choice.
func impostor(t *testing.T, cert *tls.Certificate) (url string, asked *int) {
	t.Helper()
	ln := tls.NewListener(loopback(t), &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert})
	n := 0
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n++ }), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return "https://" + ln.Addr().String(), &n
}

func TestTerminalCertificateIsNoServer(t *testing.T) {
	// A terminal of the same utility must not be able to play the utility.
	h := serve(t, loopback(t), terminals.Options{})
	keys, _ := h.enrol(t, terminalB)
	pair, err := tls.X509KeyPair(pemOf("CERTIFICATE", keys.Certificate), pemOf("PRIVATE KEY", keys.TLSKey))
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = append(pair.Certificate, keys.CA)
	url, asked := impostor(t, &pair)
	_, _, err = uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: url, Code: h.code(terminalA, "ONCE"), Terminal: terminalA})
	if !errors.Is(err, uplink.ErrServer) || *asked != 0 {
		t.Errorf("%v, asked %d times", err, *asked)
	}
	keysA, ident := h.enrol(t, terminalA)
	n := h.run(t, keysA, newStore(t, ident), func(c *uplink.Config) { c.URL = url })
	n.until(t, "failing", func(s uplink.Status) bool { return s.LastError != "" })
	if n.Online() || *asked != 0 {
		t.Error("a terminal talked to another terminal as if it were the utility")
	}
}

func TestOtherAuthoritysCertificate(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	other := serve(t, loopback(t), terminals.Options{})
	keys, ident := other.enrol(t, terminalA)
	h.enrol(t, terminalA)
	own, _ := h.enrol(t, terminalB)
	keys.CA = own.CA // trusts the right utility, shows the wrong certificate
	if _, err := uplink.New(uplink.Config{URL: h.url, Keys: keys, Journal: newStore(t, ident)}); !errors.Is(err, uplink.ErrKeys) {
		t.Fatalf("keys that do not belong together: %v", err)
	}
	// Past the client's own check, the server refuses the handshake.
	pair, err := tls.X509KeyPair(pemOf("CERTIFICATE", keys.Certificate), pemOf("PRIVATE KEY", keys.TLSKey))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}}}
	resp, err := client.Post(h.url+wire.PathHello, wire.ContentType, bytes.NewReader(nil))
	if err == nil {
		resp.Body.Close()
		t.Errorf("status %d with another authority's certificate", resp.StatusCode)
	}
	// And without any certificate only enrolment is open.
	client = &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{wire.PathHello, wire.PathBatches, wire.PathQuestions, wire.PathLoads, wire.PathVoids, wire.PathAllowances, wire.PathAccounts, wire.PathRenew} {
		resp, err := client.Post(h.url+path, wire.ContentType, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a certificate: %d", path, resp.StatusCode)
		}
	}
	if len(h.calls) != 1 || h.called("enrol") != 2 {
		t.Errorf("the service was called: %v", h.calls)
	}
}

func TestExpiredCertificateOpensRenewalOnly(t *testing.T) {
	now := time.Now()
	clock := newClock(now)
	h := serve(t, loopback(t), terminals.Options{Clock: clock.Now})
	keys, ident := h.enrol(t, terminalA)
	s := newStore(t, ident)
	clock.Set(now.Add(pki.TerminalLife + 24*time.Hour))

	n := h.run(t, keys, s, nil) // cannot keep renewed keys
	n.until(t, "refused", func(s uplink.Status) bool { return s.LastError != "" })
	if !strings.Contains(n.Status().LastError, "401") || n.Online() || h.called("hello") != 0 {
		t.Errorf("an expired certificate: %+v", n.Status())
	}
	n.stop()

	path := filepath.Join(t.TempDir(), "keys")
	m := h.run(t, keys, s, func(c *uplink.Config) { c.SaveKeys = func(k uplink.Keys) error { return uplink.SaveKeys(path, k) } })
	m.until(t, "online", func(s uplink.Status) bool { return s.Online && s.CertificateEnd.After(clock.Now()) })
	write(t, s, 2)
	m.flush(t)
	m.same(t, h)
	if k, err := uplink.LoadKeys(path); err != nil || bytes.Equal(k.TLSKey, keys.TLSKey) || k.Epoch() != 1 {
		t.Errorf("renewed keys: %v", err)
	}
	m.stop()

	// Too long ago, or in a standing that wants a new enrolment: not renewed.
	clock.Set(now.Add(3 * pki.TerminalLife))
	k := h.run(t, keys, s, func(c *uplink.Config) {
		c.SaveKeys = func(uplink.Keys) error { t.Error("renewed for ever"); return nil }
	})
	k.until(t, "refused", func(s uplink.Status) bool { return s.LastError != "" })
	k.stop()
	clock.Set(now.Add(pki.TerminalLife + 24*time.Hour))
	h.set(func() { h.standing = wire.StandingForked })
	r := h.run(t, keys, s, func(c *uplink.Config) {
		c.SaveKeys = func(uplink.Keys) error { t.Error("a clone was renewed"); return nil }
	})
	r.until(t, "refused", func(s uplink.Status) bool { return s.LastError != "" })
}

func TestRenewalAtHalfOfLife(t *testing.T) {
	now := time.Now()
	clock := newClock(now.Add(pki.TerminalLife/2 - 48*time.Hour))
	h := serve(t, loopback(t), terminals.Options{Clock: clock.Now})
	clock.Set(now)
	keys, ident := h.enrol(t, terminalA)
	var saved []uplink.Keys
	keep := func(c *uplink.Config) {
		c.Clock = clock.Now
		c.SaveKeys = func(k uplink.Keys) error { saved = append(saved, k); return nil }
	}
	n := h.run(t, keys, newStore(t, ident), keep)
	n.until(t, "online", func(s uplink.Status) bool { return s.Online })
	n.stop()
	if len(saved) != 0 {
		t.Fatal("renewed too early")
	}
	clock.Set(now.Add(pki.TerminalLife/2 + 48*time.Hour))
	m := h.run(t, keys, newStore(t, ident), keep)
	m.until(t, "online", func(s uplink.Status) bool { return s.Online })
	m.stop()
	if len(saved) != 1 {
		t.Fatalf("renewed %d times", len(saved))
	}
	// A certificate that could not be kept is not used.
	k := h.run(t, keys, newStore(t, ident), func(c *uplink.Config) {
		c.Clock = clock.Now
		c.SaveKeys = func(uplink.Keys) error { return errors.New("disk full") }
	})
	k.until(t, "online", func(s uplink.Status) bool { return s.Online })
	if !k.Status().CertificateEnd.Before(now.Add(pki.TerminalLife + time.Hour)) {
		t.Error("a certificate that was not kept is in use")
	}
}

func TestWrongClockDoesNotCutTheLine(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, ident := h.enrol(t, terminalA)
	for _, at := range []time.Time{time.Unix(0, 0), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
		n := h.run(t, keys, newStore(t, ident), func(c *uplink.Config) { c.Clock = func() time.Time { return at } })
		n.until(t, "online", func(s uplink.Status) bool { return s.Online })
		if d := n.Status().Skew - time.Until(at)*-1; d > time.Minute || d < -time.Minute {
			t.Errorf("clock at %s: skew %s", at, n.Status().Skew)
		}
		n.stop()
	}
}

func TestKeyFile(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, _ := h.enrol(t, terminalA)
	path := filepath.Join(t.TempDir(), "keys")
	if _, err := uplink.LoadKeys(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for range 2 { // the second replaces the first
		if err := uplink.SaveKeys(path, keys); err != nil {
			t.Fatal(err)
		}
	}
	back, err := uplink.LoadKeys(path)
	if err != nil || !bytes.Equal(uplink.MarshalKeys(back), uplink.MarshalKeys(keys)) {
		t.Fatalf("read back: %v", err)
	}
	for _, s := range []string{fmt.Sprint(keys), fmt.Sprintf("%v %+v %#v", keys, keys, &keys)} {
		if strings.Contains(s, fmt.Sprint(keys.Record[0].Seed[:4])[1:8]) || !strings.Contains(s, terminalA.String()) {
			t.Errorf("printed: %s", s)
		}
	}
	b := uplink.MarshalKeys(keys)
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x10
		if _, err := uplink.ParseKeys(c); !errors.Is(err, uplink.ErrKeys) {
			t.Fatalf("byte %d altered: %v", i, err)
		}
	}
	if runtime.GOOS != "windows" {
		if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", st.Mode())
		}
		os.Chmod(path, 0o644)
		if _, err := uplink.LoadKeys(path); !errors.Is(err, uplink.ErrPermissions) {
			t.Errorf("a file that others may read: %v", err)
		}
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("%d files left", len(entries))
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0}, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := uplink.ParseKeys(b)
		if err != nil {
			if !errors.Is(err, uplink.ErrKeys) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(uplink.MarshalKeys(k), b) {
			t.Error("not canonical")
		}
	})
}
