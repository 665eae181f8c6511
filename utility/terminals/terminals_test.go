package terminals_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/wire"
)

var (
	terminalA = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}
	terminalB = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x35}
	key       = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
)

// canned answers every question with nothing in particular.
type canned struct {
	mu    sync.Mutex
	calls map[string][]money.TerminalID // by method: on whose word
	do    func(ctx context.Context, what string) error
	hello wire.HelloAnswer
}

func (c *canned) call(ctx context.Context, what string, from money.TerminalID) error {
	c.mu.Lock()
	if c.calls == nil {
		c.calls = map[string][]money.TerminalID{}
	}
	c.calls[what] = append(c.calls[what], from)
	do := c.do
	c.mu.Unlock()
	if do != nil {
		return do(ctx, what)
	}
	return nil
}

func (c *canned) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.calls {
		n += len(x)
	}
	return n
}

func (c *canned) Hello(ctx context.Context, from money.TerminalID, h wire.Hello) (wire.HelloAnswer, error) {
	return c.hello, c.call(ctx, "hello", from)
}
func (c *canned) Intake(ctx context.Context, from money.TerminalID, b wire.Batch) (wire.Ack, error) {
	return wire.Ack{}, c.call(ctx, "intake", from)
}
func (c *canned) Ask(ctx context.Context, from money.TerminalID, q wire.Question) (wire.QuestionAnswer, error) {
	return wire.QuestionAnswer{}, c.call(ctx, "ask", from)
}
func (c *canned) AuthoriseLoad(ctx context.Context, from money.TerminalID, r wire.LoadRequest) (wire.LoadAnswer, error) {
	return wire.LoadAnswer{}, c.call(ctx, "load", from)
}
func (c *canned) AgreeVoid(ctx context.Context, from money.TerminalID, q wire.VoidQuestion) (wire.Agreement, error) {
	return wire.Agreement{}, c.call(ctx, "void", from)
}
func (c *canned) IssueAllowance(ctx context.Context, from money.TerminalID, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	return wire.AllowanceAnswer{}, c.call(ctx, "allowance", from)
}
func (c *canned) Account(ctx context.Context, from money.TerminalID, q wire.AccountQuestion) (wire.AccountAnswer, error) {
	return wire.AccountAnswer{}, c.call(ctx, "account", from)
}
func (c *canned) TakeBill(ctx context.Context, from money.TerminalID, q wire.BillQuestion) (wire.Agreement, error) {
	return wire.Agreement{}, c.call(ctx, "bill", from)
}
func (c *canned) LookUpClaim(ctx context.Context, from money.TerminalID, q wire.ClaimQuestion) (wire.ClaimAnswer, error) {
	return wire.ClaimAnswer{}, c.call(ctx, "claim", from)
}
func (c *canned) Collect(ctx context.Context, from money.TerminalID, q wire.CollectQuestion) (wire.Agreement, error) {
	return wire.Agreement{}, c.call(ctx, "collect", from)
}
func (c *canned) AskCard(ctx context.Context, from money.TerminalID, q wire.CardQuestion) (wire.Agreement, error) {
	return wire.Agreement{}, c.call(ctx, "card", from)
}
func (c *canned) Enrol(ctx context.Context, e utility.Enrolment) (utility.Enrolled, error) {
	return utility.Enrolled{Terminal: e.Terminal, Epoch: 1}, c.call(ctx, "enrol", e.Terminal)
}
func (c *canned) Seal(what string, r canon.Record) []byte { return wire.Seal(what, r, key) }
func (c *canned) PublicKey() ed25519.PublicKey            { return key.Public().(ed25519.PublicKey) }

type desk struct {
	*canned
	ca      *pki.Authority
	handler http.Handler
	tlsA    *tls.ConnectionState // terminal A, epoch 2
	certA   tls.Certificate
}

func newDesk(t testing.TB, opt terminals.Options) *desk {
	t.Helper()
	ca, err := pki.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{canned: &canned{}, ca: ca}
	d.handler = terminals.NewHandler(d.canned, ca, opt)
	k, csr := request(t)
	der, err := ca.IssueTerminal(csr, terminalA, 2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	d.tlsA = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	d.certA = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k, Leaf: leaf}
	return d
}

func request(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		t.Fatal(err)
	}
	return k, csr
}

// post calls the handler as terminal A.
func (d *desk) post(path string, body []byte, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://utility"+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", wire.ContentType)
	r.TLS = d.tlsA
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func name(t money.TerminalID, epoch uint32) journal.Name {
	return journal.Name{Terminal: t, Epoch: epoch, Seq: 1}
}

func TestCertificateOpensOnlyItsOwn(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	a1, a2, a3, b := name(terminalA, 1), name(terminalA, 2), name(terminalA, 3), name(terminalB, 2)
	hello := func(n journal.Name) canon.Record {
		return &wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: n.Terminal, Epoch: n.Epoch}}
	}
	batch := func(n journal.Name) canon.Record {
		return &wire.Batch{Terminal: n.Terminal, Epoch: n.Epoch, From: 1, Entries: [][]byte{{1}}}
	}
	void := func(n, topUp journal.Name) canon.Record { return &wire.VoidQuestion{Name: n, TopUp: topUp} }
	for _, x := range []struct {
		what, path string
		body       canon.Record
		want       int
	}{
		{"hello", wire.PathHello, hello(a2), 200},
		{"hello of an earlier epoch", wire.PathHello, hello(a1), 200},
		{"hello of a later epoch", wire.PathHello, hello(a3), 403},
		{"hello of another", wire.PathHello, hello(b), 403},
		{"batch", wire.PathBatches, batch(a2), 200},
		{"batch of an earlier epoch", wire.PathBatches, batch(a1), 200},
		{"batch of a later epoch", wire.PathBatches, batch(a3), 403},
		{"batch of another", wire.PathBatches, batch(b), 403},
		{"question", wire.PathQuestions, &wire.Question{Name: a2}, 200},
		{"question of another", wire.PathQuestions, &wire.Question{Name: b}, 403},
		{"load", wire.PathLoads, &wire.LoadRequest{Name: a2}, 200},
		{"load of a later epoch", wire.PathLoads, &wire.LoadRequest{Name: a3}, 403},
		{"load of another", wire.PathLoads, &wire.LoadRequest{Name: b}, 403},
		{"void", wire.PathVoids, void(a2, a1), 200},
		{"void of another's top-up", wire.PathVoids, void(a2, b), 403},
		{"void in another's name", wire.PathVoids, void(b, a2), 403},
		{"allowance", wire.PathAllowances, &wire.AllowanceRequest{}, 200},
		{"account", wire.PathAccounts, &wire.AccountQuestion{Account: 1}, 200},
	} {
		before := d.total()
		w := d.post(x.path, wire.Marshal(x.body), nil)
		if w.Code != x.want || (d.total() == before) != (x.want != 200) {
			t.Errorf("%s: %d %s, %d calls", x.what, w.Code, w.Body, d.total()-before)
		}
		if x.want == 403 && w.Body.String() != terminals.WordForeign {
			t.Errorf("%s: %s", x.what, w.Body)
		}
	}
	for what, from := range d.calls {
		for _, f := range from {
			if f != terminalA {
				t.Errorf("%s was asked in the name of %s", what, f)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	good := wire.Marshal(&wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}})
	enrol := func() []byte {
		_, csr := request(t)
		q := &wire.EnrolRequest{Secret: "S", Terminal: terminalA, CSR: csr}
		q.Sign(key)
		return wire.Marshal(q)
	}
	unsigned := enrol()
	unsigned[len(unsigned)-1] ^= 1
	badCSR := &wire.EnrolRequest{Secret: "S", Terminal: terminalA, CSR: []byte{1}}
	badCSR.Sign(key)
	for _, x := range []struct {
		name, path string
		body       []byte
		change     func(*http.Request)
		want       int
		word       string
	}{
		{"no TLS", wire.PathHello, good, func(r *http.Request) { r.TLS = nil }, 401, terminals.WordCertificate},
		{"no certificate", wire.PathHello, good, func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, 401, terminals.WordCertificate},
		{"JSON", wire.PathHello, good, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 415, terminals.WordType},
		{"gzip", wire.PathHello, good, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415, terminals.WordType},
		{"empty", wire.PathHello, nil, nil, 400, terminals.WordMessage},
		{"short", wire.PathHello, good[:len(good)-1], nil, 400, terminals.WordMessage},
		{"long", wire.PathHello, append(bytes.Clone(good), 0), nil, 400, terminals.WordMessage},
		{"version", wire.PathHello, append([]byte{0, 99}, good[2:]...), nil, 400, terminals.WordMessage},
		{"oversized", wire.PathHello, make([]byte, 10<<10), nil, 413, terminals.WordSize},
		{"oversized batch", wire.PathBatches, make([]byte, wire.MaxBatchBytes+1), nil, 413, terminals.WordSize},
		{"oversized, not announced", wire.PathBatches, make([]byte, wire.MaxBatchBytes+1), func(r *http.Request) { r.ContentLength = -1 }, 413, terminals.WordSize},
		{"count that nothing backs", wire.PathBatches, append(make([]byte, 6+4+8+32), 0, 0, 3, 0xE8), nil, 400, terminals.WordMessage},
		{"GET", wire.PathHello, good, func(r *http.Request) { r.Method = http.MethodGet }, 405, ""},
		{"nowhere", "/v1/else", good, nil, 404, ""},
		{"enrolment not signed", wire.PathEnrol, unsigned, nil, 400, terminals.WordMessage},
		{"enrolment without a request", wire.PathEnrol, wire.Marshal(badCSR), nil, 400, terminals.WordMessage},
		{"enrolment oversized", wire.PathEnrol, make([]byte, 10<<10), nil, 413, terminals.WordSize},
		{"renewal without a request", wire.PathRenew, wire.Marshal(&wire.RenewRequest{Hello: wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}}}), nil, 400, terminals.WordMessage},
	} {
		w := d.post(x.path, x.body, x.change)
		if w.Code != x.want || (x.word != "" && w.Body.String() != x.word) {
			t.Errorf("%s: %d %s", x.name, w.Code, w.Body)
		}
	}
	if n := d.total(); n != 0 {
		t.Errorf("the service was asked %d times: %v", n, d.calls)
	}
	for err, want := range map[error]int{
		utility.ErrRefused: 409, journal.ErrChain: 409, journal.ErrSignature: 409, wire.ErrMessage: 400, utility.ErrCode: 403,
		context.Canceled: 503, errors.New("secret detail"): 500,
	} {
		d.do = func(context.Context, string) error { return err }
		w := d.post(wire.PathHello, good, nil)
		if w.Code != want || strings.Contains(w.Body.String(), "secret") || w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

func TestEnrolmentNeedsNoCertificate(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	_, csr := request(t)
	q := &wire.EnrolRequest{Secret: "S", Terminal: terminalB, CSR: csr}
	q.Sign(key)
	w := d.post(wire.PathEnrol, wire.Marshal(q), func(r *http.Request) { r.TLS = &tls.ConnectionState{} })
	a, err := wire.UnsealEnrolAnswer(w.Body.Bytes())
	if w.Code != 200 || err != nil {
		t.Fatalf("%d %v", w.Code, err)
	}
	leaf, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.ca.Identify([]*x509.Certificate{leaf}, time.Now()); err != nil || got.ID != terminalB || got.Epoch != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestOneTerminalCannotTakeAllPlaces(t *testing.T) {
	d := newDesk(t, terminals.Options{PerTerminal: 3})
	release, inside := make(chan struct{}), make(chan struct{}, 10)
	d.do = func(ctx context.Context, what string) error {
		inside <- struct{}{}
		<-release
		return nil
	}
	batch := wire.Marshal(&wire.Batch{Terminal: terminalA, Epoch: 2, From: 1, Entries: [][]byte{{1}}})
	ask := wire.Marshal(&wire.Question{Name: name(terminalA, 2)})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if w := d.post(wire.PathBatches, batch, nil); w.Code != 200 {
				t.Errorf("%d", w.Code)
			}
		})
		<-inside
	}
	// Two batches are in: no third, but a customer's question still passes.
	busy := func(path string, body []byte) {
		t.Helper()
		w := d.post(path, body, nil)
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != http.StatusTooManyRequests || err != nil || after < 1 || after > 6 {
			t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
	}
	busy(wire.PathBatches, batch)
	wg.Go(func() {
		if w := d.post(wire.PathQuestions, ask, nil); w.Code != 200 {
			t.Errorf("a question beside two batches: %d", w.Code)
		}
	})
	<-inside
	busy(wire.PathQuestions, ask)
	close(release)
	wg.Wait()
	if w := d.post(wire.PathBatches, batch, nil); w.Code != 200 {
		t.Errorf("places were not given back: %d", w.Code)
	}
}

func TestAllTerminalsTogether(t *testing.T) {
	d := newDesk(t, terminals.Options{Batches: 1})
	release, inside := make(chan struct{}), make(chan struct{}, 1)
	d.do = func(ctx context.Context, what string) error {
		if what == "intake" {
			inside <- struct{}{}
			<-release
		}
		return nil
	}
	batch := wire.Marshal(&wire.Batch{Terminal: terminalA, Epoch: 2, From: 1, Entries: [][]byte{{1}}})
	var wg sync.WaitGroup
	wg.Go(func() { d.post(wire.PathBatches, batch, nil) })
	<-inside
	if w := d.post(wire.PathBatches, batch, nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
	if w := d.post(wire.PathLoads, wire.Marshal(&wire.LoadRequest{Name: name(terminalA, 2)}), nil); w.Code != 200 {
		t.Errorf("a load waited for batches: %d", w.Code)
	}
	close(release)
	wg.Wait()
}

func TestSectionsComeInParts(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	part := make([]byte, wire.MaxSection/2-1000)
	d.hello = wire.HelloAnswer{Sections: [][]byte{make([]byte, wire.MaxSection), part, part, part}}
	w := d.post(wire.PathHello, wire.Marshal(&wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}}), nil)
	var a wire.HelloAnswer
	if err := wire.Unseal(w.Body.Bytes(), "hello", d.PublicKey(), &a); err != nil || len(a.Sections) != 1 {
		t.Errorf("%d sections: %v", len(a.Sections), err)
	}
}

// server runs the desk behind TLS.
func (d *desk) server(t *testing.T, opt terminals.Options) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := terminals.NewServer(d.canned, d.ca, opt)
	done := make(chan struct{})
	go func() { defer close(done); s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln.Addr().String()
}

func TestSlowBodyIsCut(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		d := newDesk(t, terminals.Options{})
		addr := d.server(t, terminals.Options{BodyWait: 50 * time.Millisecond})
		tr := &http.Transport{
			ForceAttemptHTTP2: proto == "h2",
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{proto}},
		}
		defer tr.CloseIdleConnections()
		r, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte{0}) // and no more
		req, err := http.NewRequest(http.MethodPost, "https://"+addr+wire.PathBatches, r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", wire.ContentType)
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("%s: %d", proto, resp.StatusCode)
			}
		}
		if d.total() != 0 {
			t.Errorf("%s: the service was asked", proto)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	addr := d.server(t, terminals.Options{})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{d.certA}})
	if err == nil {
		c.Close()
		t.Error("TLS 1.2 was accepted")
	}
	c, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{d.certA}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.ConnectionState()
	if s.NegotiatedProtocol != "h2" || wire.PinOf(s.PeerCertificates[len(s.PeerCertificates)-1].Raw) != wire.PinOf(d.ca.Certificate()) {
		t.Errorf("%s, %d certificates", s.NegotiatedProtocol, len(s.PeerCertificates))
	}
}

var paths = []string{
	wire.PathHello, wire.PathBatches, wire.PathQuestions, wire.PathLoads, wire.PathVoids,
	wire.PathAllowances, wire.PathAccounts, wire.PathEnrol, wire.PathRenew,
}

func FuzzBodies(f *testing.F) {
	d := newDesk(f, terminals.Options{})
	a := name(terminalA, 2)
	for i, m := range []canon.Record{
		&wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}, Have: []wire.SectionVersion{{Kind: 1, Version: 2}}},
		&wire.Batch{Terminal: terminalA, Epoch: 2, From: 1, Entries: [][]byte{{1}, {2, 3}}},
		&wire.Question{Name: a}, &wire.LoadRequest{Name: a}, &wire.VoidQuestion{Name: a, TopUp: a},
		&wire.AllowanceRequest{State: []byte{1}}, &wire.AccountQuestion{Account: 1},
		&wire.EnrolRequest{Secret: "S", Terminal: terminalA, CSR: []byte{1}},
		&wire.RenewRequest{Hello: wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}}, CSR: []byte{1}},
	} {
		f.Add(uint8(i), wire.Marshal(m))
		f.Add(uint8(i), []byte{})
	}
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		before := d.total()
		w := d.post(paths[int(path)%len(paths)], body, nil)
		switch w.Code {
		case 200:
			var s wire.Sealed
			if err := wire.Unmarshal(w.Body.Bytes(), &s); err != nil || d.total() == before {
				t.Errorf("answered %v", err)
			}
		case 400, 403, 413:
			if d.total() != before && paths[int(path)%len(paths)] != wire.PathRenew {
				t.Errorf("%d after the service was asked", w.Code)
			}
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
