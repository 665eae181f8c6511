package terminals_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// The tests of this file are whoever reaches the utility's port: a stranger,
// a terminal that wants to be another, and one that wants to take all.

// listenTLS serves a service over TLS, with shorter waits as change sets them.
func listenTLS(t *testing.T, svc terminals.Service, ca *pki.Authority, opt terminals.Options, change ...func(*http.Server)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := terminals.NewServer(svc, ca, opt)
	for _, f := range change {
		f(s)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln.Addr().String()
}

// certificate issues one to a terminal.
func certificate(t *testing.T, ca *pki.Authority, id money.TerminalID, epoch uint32, now time.Time) tls.Certificate {
	t.Helper()
	k, csr := request(t)
	der, err := ca.IssueTerminal(csr, id, epoch, now)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// ask posts a message and gives status and body, 0 when the connection or its
// handshake was refused.
func ask(t *testing.T, addr, path string, body []byte, certs ...tls.Certificate) (int, []byte) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "https://"+addr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", wire.ContentType)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, b
}

// TestCertificates: over a real handshake, only a certificate of the utility's
// own authority, made for a terminal and valid now, opens a question.
func TestCertificates(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	ca, err := pki.Create(time.Now().AddDate(-3, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.Create(time.Now().AddDate(-3, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	own := certificate(t, ca, terminalA, 2, time.Now())
	selfSigned := func() tls.Certificate {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		x := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: terminalA.String(), SerialNumber: "2"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, x, x, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
	}()
	server, err := ca.Server(time.Now)(nil)
	if err != nil {
		t.Fatal(err)
	}
	// The certificate of A with the CA behind it and the key of a thief.
	thief, _ := request(t)
	stolen := tls.Certificate{Certificate: own.Certificate, PrivateKey: thief}
	// One that the other authority signed, sent with ours as if it were its issuer.
	mixed := certificate(t, other, terminalA, 2, time.Now())
	mixed.Certificate = append(mixed.Certificate, ca.Certificate())

	hello := wire.Marshal(&wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}})
	addr := listenTLS(t, d.canned, ca, terminals.Options{})
	for name, c := range map[string]struct {
		certs []tls.Certificate
		want  int // 0: the handshake fails
	}{
		"its own":                    {[]tls.Certificate{own}, 200},
		"none":                       {nil, 401},
		"self-signed":                {[]tls.Certificate{selfSigned}, 0},
		"of another authority":       {[]tls.Certificate{certificate(t, other, terminalA, 2, time.Now())}, 0},
		"of another, with our CA":    {[]tls.Certificate{mixed}, 0},
		"the server's own":           {[]tls.Certificate{*server}, 0},
		"stolen without its key":     {[]tls.Certificate{stolen}, 0},
		"run out":                    {[]tls.Certificate{certificate(t, ca, terminalA, 2, time.Now().Add(-401*24*time.Hour))}, 401},
		"not yet valid":              {[]tls.Certificate{certificate(t, ca, terminalA, 2, time.Now().Add(2*time.Hour))}, 401},
		"another terminal's":         {[]tls.Certificate{certificate(t, ca, terminalB, 2, time.Now())}, 403},
		"of an earlier epoch":        {[]tls.Certificate{certificate(t, ca, terminalA, 1, time.Now())}, 403},
		"of a later epoch, which is": {[]tls.Certificate{certificate(t, ca, terminalA, 3, time.Now())}, 200},
	} {
		before := d.total()
		got, _ := ask(t, addr, wire.PathHello, hello, c.certs...)
		if got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if (d.total() != before) != (c.want == 200) {
			t.Errorf("%s: the service was asked %d times", name, d.total()-before)
		}
	}
	// One that ran out opens renewal for a while and nothing else.
	d.canned.hello = wire.HelloAnswer{Standing: wire.StandingGood}
	_, csr := request(t)
	renew := wire.Marshal(&wire.RenewRequest{Hello: wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalA, Epoch: 2}}, CSR: csr})
	for age, want := range map[time.Duration]int{401 * 24 * time.Hour: 200, 801 * 24 * time.Hour: 401} {
		if got, _ := ask(t, addr, wire.PathRenew, renew, certificate(t, ca, terminalA, 2, time.Now().Add(-age))); got != want {
			t.Errorf("renewal %s after it was issued: %d, want %d", age, got, want)
		}
	}
}

// TestAnothersData: under its own certificate a terminal asks for what is
// another's, on every path, of the real service: it is refused, and the
// utility's log has not a line more.
func TestAnothersData(t *testing.T) {
	w := utilitytest.NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	topUp := w.TopUp(x, utilitytest.NewCard(10001), 50_00)
	w.Sync(x)
	w.Service.SetAllowancePolicy(context.Background(), x.ID, 100_00, 10)
	ca, err := pki.Create(w.Time)
	if err != nil {
		t.Fatal(err)
	}
	addr := listenTLS(t, w.Service, ca, terminals.Options{Clock: func() time.Time { return w.Time }})
	mine := certificate(t, ca, y.ID, y.Epoch, w.Time)

	x.Redeem(utilitytest.NewCard(10002), utilitytest.Account, 1_00)
	batch := x.Batch(x.Sent, len(x.Entries))
	forged := batch
	forged.Signature = forged.End().Sign(y.Key)
	renamed := batch
	renamed.Terminal = y.ID
	renamed.Signature = renamed.End().Sign(y.Key) // its chain begins elsewhere
	init := utilitytest.NewCard(10003).InitLoad(x.ID, 10_00)
	later := journal.Name{Terminal: y.ID, Epoch: y.Epoch + 1, Seq: 1}
	_, csr := request(t)
	line := func() uint64 {
		l, err := w.Store.Tail(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return l.ID
	}
	before := line()
	for name, c := range map[string]struct {
		path string
		m    canon.Record
		want int
	}{
		"hello":                            {wire.PathHello, &wire.Hello{Version: wire.Version, Head: x.Head()}, 403},
		"hello of a later epoch":           {wire.PathHello, &wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: y.ID, Epoch: 2}}, 403},
		"its batch":                        {wire.PathBatches, &batch, 403},
		"its batch, signed by us":          {wire.PathBatches, &forged, 403},
		"its batch as ours":                {wire.PathBatches, &renamed, 200},
		"its entry":                        {wire.PathQuestions, &wire.Question{Name: topUp}, 403},
		"a load in its name":               {wire.PathLoads, &wire.LoadRequest{Name: x.Next(), Intent: init}, 403},
		"a load of a later epoch":          {wire.PathLoads, &wire.LoadRequest{Name: later, Intent: init}, 403},
		"its card's MAC1 under our name":   {wire.PathLoads, &wire.LoadRequest{Name: y.Next(), Intent: init}, 200},
		"a void of its top-up":             {wire.PathVoids, &wire.VoidQuestion{Name: y.Next(), TopUp: topUp, Request: journal.VoidRequest{Amount: 50_00}}, 403},
		"a void in its name":               {wire.PathVoids, &wire.VoidQuestion{Name: x.Next(), TopUp: topUp}, 403},
		"a bill in its name":               {wire.PathBills, &wire.BillQuestion{Name: x.Next(), Intent: journal.BillIntent{Account: 1, Amount: 1}}, 403},
		"a bill of a later epoch":          {wire.PathBills, &wire.BillQuestion{Name: later, Intent: journal.BillIntent{Account: 1, Amount: 1}}, 403},
		"a claim collected in its name":    {wire.PathCollects, &wire.CollectQuestion{Name: x.Next(), Intent: journal.ClaimIntent{Claim: topUp, Amount: 50_00}}, 403},
		"a card blocked in its name":       {wire.PathCards, &wire.CardQuestion{Name: x.Next()}, 403},
		"an allowance of its SAM":          {wire.PathAllowances, &wire.AllowanceRequest{SAM: x.LoadSAM, Challenge: [8]byte{1}}, 200},
		"a certificate in its name":        {wire.PathRenew, &wire.RenewRequest{Hello: wire.Hello{Version: wire.Version, Head: x.Head()}, CSR: csr}, 403},
		"a certificate of a later epoch":   {wire.PathRenew, &wire.RenewRequest{Hello: wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: y.ID, Epoch: 2}}, CSR: csr}, 403},
		"an enrolment with a made-up code": {wire.PathEnrol, enrolment(y.ID, x.Key), 403},
	} {
		got, body := ask(t, addr, c.path, wire.Marshal(c.m), mine)
		if got != c.want {
			t.Errorf("%s: %d %q, want %d", name, got, body, c.want)
		}
		// What is answered says no, under the utility's seal.
		switch name {
		case "its batch as ours":
			var a wire.Ack
			if err := wire.Unseal(body, "ack", w.Service.PublicKey(), &a); err != nil || a.Through != 0 {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		case "its card's MAC1 under our name":
			var a wire.LoadAnswer
			if err := wire.Unseal(body, "load", w.Service.PublicKey(), &a); err != nil || a.Refused != wire.CodeBadMAC {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		case "an allowance of its SAM":
			var a wire.AllowanceAnswer
			if err := wire.Unseal(body, "allowance", w.Service.PublicKey(), &a); err != nil || a.Refused != wire.CodeSAM {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
		if now := line(); now != before {
			t.Errorf("%s: %d lines were written", name, now-before)
			before = now
		}
	}
	w.Audit()
}

func enrolment(id money.TerminalID, key ed25519.PrivateKey) canon.Record {
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	csr, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	q := &wire.EnrolRequest{Secret: "AAAAAAAAAAAAAAAA", Terminal: id, CSR: csr}
	q.Sign(key)
	return q
}

// raw sends bytes over TLS as terminal A and gives the answers' statuses.
func (d *desk) raw(t *testing.T, addr, bytes string, n int) (out []int) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, bytes)
	r := bufio.NewReader(c)
	for len(out) < n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return out
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		out = append(out, resp.StatusCode)
	}
	return out
}

func head(path string, lines ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: utility\r\nContent-Type: " + wire.ContentType + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// TestFraming: what two readers could frame in two ways, is too long, or is
// not what the door takes, is refused with the service not asked.
func TestFraming(t *testing.T) {
	body := string(wire.Marshal(&wire.Question{Name: name(terminalA, 2)}))
	whole := head(wire.PathQuestions, fmt.Sprintf("Content-Length: %d", len(body))) + body
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 8<<20))
	z.Close()
	d := newDesk(t, terminals.Options{})
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{})
	for name, c := range map[string]struct {
		raw  string
		want []int
	}{
		"two lengths":                 {head(wire.PathQuestions, "Content-Length: 18", "Content-Length: 19") + body, []int{400}},
		"after an error, another":     {head(wire.PathQuestions, "Content-Length: 1", "Content-Length: 2") + "x" + whole, []int{400}},
		"a length that is none":       {head(wire.PathQuestions, "Content-Length: 0x12") + body, []int{400}},
		"an encoding of identity":     {head(wire.PathQuestions, "Transfer-Encoding: identity") + body, []int{501}},
		"chunked, then something":     {head(wire.PathQuestions, "Transfer-Encoding: chunked, gzip") + body, []int{501}},
		"a chunk that is none":        {head(wire.PathQuestions, "Transfer-Encoding: chunked") + "g\r\n" + body, []int{408}},
		"gzip":                        {head(wire.PathBatches, "Content-Encoding: gzip", fmt.Sprintf("Content-Length: %d", bomb.Len()), "Connection: close") + bomb.String(), []int{415}},
		"zstd":                        {head(wire.PathBatches, "Content-Encoding: zstd", "Content-Length: 4", "Connection: close") + "\x28\xb5\x2f\xfd", []int{415}},
		"a bare carriage return":      {head(wire.PathQuestions, "X: a\rb"), []int{400}},
		"HTTP/0.9":                    {"POST " + wire.PathQuestions + "\r\n", []int{400}},
		"HTTP/1.2":                    {"POST " + wire.PathQuestions + " HTTP/3.1\r\n\r\n", []int{505}},
		"more headers than fit":       {head(wire.PathQuestions, "X: "+strings.Repeat("a", 64<<10)), []int{431}},
		"many headers":                {head(wire.PathQuestions, strings.Repeat("X: a\r\n", 10_000)+"Y: b"), []int{431}},
		"a path longer than fits":     {head("/v1/" + strings.Repeat("a", 64<<10)), []int{431}},
		"a length of 10 TB":           {head(wire.PathBatches, "Content-Length: 10000000000000") + body, []int{413}},
		"another method":              {strings.Replace(head(wire.PathQuestions, "Connection: close", "Content-Length: 0"), "POST", "GET", 1), []int{405}},
		"a method nobody knows":       {strings.Replace(head(wire.PathQuestions, "Connection: close", "Content-Length: 0"), "POST", "POSTX", 1), []int{405}},
		"another path":                {head("/v1/questions/", "Connection: close", "Content-Length: 0"), []int{404}},
		"a path with a way around":    {head("/v1/x/../questions", "Connection: close", "Content-Length: 0"), []int{307}},
		"a certificate as a header":   {strings.Replace(head(wire.PathQuestions, "X-Client-Cert: "+terminalB.String(), "Connection: close", "Content-Length: 0"), wire.ContentType, "text/plain", 1), []int{415}},
		"a type with something after": {strings.Replace(head(wire.PathQuestions, "Connection: close", "Content-Length: 0"), wire.ContentType, wire.ContentType+"; charset=utf-8", 1), []int{415}},
	} {
		if got := d.raw(t, addr, c.raw, 5); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if n := d.total(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	if got := d.raw(t, addr, whole, 1); fmt.Sprint(got) != "[200]" || d.total() != 1 {
		t.Errorf("the honest one: %v", got)
	}
}

// TestSlowConnections: whoever is slow in the handshake, in headers or
// between requests is ended by the server's own clock.
func TestSlowConnections(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{}, func(s *http.Server) {
		if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > 30*time.Second || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
			t.Errorf("a slow connection stays: %v %v %d", s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes)
		}
		s.ReadHeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond
	})
	closed := func(name string, c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() {
				t.Errorf("%s: still open", name)
			}
		}
		c.Close()
	}
	dial := func(proto string) *tls.Conn {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{proto}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte{22, 3, 1})
	closed("a handshake", c)
	for name, sent := range map[string]string{"nothing": "", "half a line": "POST /v1/hel", "headers without end": "POST /v1/hello HTTP/1.1\r\nHost: a\r\nX: "} {
		c := dial("http/1.1")
		io.WriteString(c, sent)
		closed(name, c)
	}
	h := &h2{t: t, c: dial("h2")}
	h.preface()
	closed("HTTP/2, nothing", h.c)
	h = &h2{t: t, c: dial("h2")}
	h.preface()
	h.frame(1, 0, 1, block(wire.PathHello)) // HEADERS that go on in frames that never come
	closed("HTTP/2, headers without end", h.c)
	if d.total() != 0 {
		t.Errorf("the service was asked %d times", d.total())
	}
}

// TestSlowEnrolments: whoever begins enrolments and never ends them keeps
// nobody else from enrolling.
func TestSlowEnrolments(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{})
	for range 20 {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The server asks for the body when its handler reads it: then it is inside.
		io.WriteString(c, head(wire.PathEnrol, "Content-Length: 1000", "Expect: 100-continue"))
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if got, body := ask(t, addr, wire.PathEnrol, wire.Marshal(enrolment(terminalB, key))); got != 200 {
		t.Errorf("an honest enrolment: %d %s", got, body)
	}
}

// h2 speaks HTTP/2 frame by frame.
type h2 struct {
	t *testing.T
	c *tls.Conn
}

func (h *h2) preface() {
	io.WriteString(h.c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	h.frame(4, 0, 0, nil)
}

// frame writes one; the server may have closed already.
func (h *h2) frame(typ, flags byte, stream uint32, payload []byte) error {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), typ, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	_, err := h.c.Write(append(b, payload...))
	return err
}

// read gives the next frame.
func (h *h2) read() (typ byte, stream uint32, payload []byte, err error) {
	var b [9]byte
	if _, err = io.ReadFull(h.c, b[:]); err != nil {
		return
	}
	payload = make([]byte, int(b[0])<<16|int(b[1])<<8|int(b[2]))
	_, err = io.ReadFull(h.c, payload)
	return b[3], binary.BigEndian.Uint32(b[5:]) &^ (1 << 31), payload, err
}

// block is the header block of a POST, without compression.
func block(path string, more ...string) (b []byte) {
	fields := append([]string{":method", "POST", ":scheme", "https", ":authority", "utility", ":path", path, "content-type", wire.ContentType}, more...)
	for i := 0; i < len(fields); i += 2 {
		b = append(b, 0, byte(len(fields[i])))
		b = append(b, fields[i]...)
		b = append(b, byte(len(fields[i+1])))
		b = append(b, fields[i+1]...)
	}
	return b
}

const (
	endStream, endHeaders = 1, 4
	frameHeaders          = 1
	frameReset            = 3
	frameGoAway           = 7
	frameContinuation     = 9
	frameData             = 0
	enhanceYourCalm       = 11
)

// TestTooManyStreams: over one connection no more than the server's number of
// requests is open, whatever the client says it understood.
func TestTooManyStreams(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{PerTerminal: 1000})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	h := &h2{t, c}
	h.preface()
	h.frame(4, 1, 0, nil) // we have read how many you allow, and do not care
	const streams = 64
	for i := range uint32(streams) {
		h.frame(frameHeaders, endHeaders, 2*i+1, block(wire.PathQuestions)) // bodies that do not come
	}
	refused := map[uint32]bool{}
	for len(refused) < streams-16 {
		typ, stream, _, err := h.read()
		if err != nil {
			t.Fatalf("%v after %d refused streams", err, len(refused))
		}
		if typ == frameGoAway {
			break
		}
		if typ == frameReset {
			refused[stream] = true
		}
	}
	if len(refused) != streams-16 || refused[1] || refused[31] || d.total() != 0 {
		t.Errorf("%d refused, the service was asked %d times", len(refused), d.total())
	}
}

// TestRapidReset: requests that are begun and given up at once, thousands of
// them, do not pile up behind the server: it ends the connection, and at no
// time does more than its number of them run.
func TestRapidReset(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	release := make(chan struct{})
	var running, most atomic.Int64
	d.do = func(context.Context, string) error {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		return nil
	}
	defer close(release)
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{PerTerminal: 1 << 20})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	h := &h2{t, c}
	h.preface()
	body := wire.Marshal(&wire.Question{Name: name(terminalA, 2)})
	ended := make(chan uint32, 1) // the code with which the server ends it
	go func() {
		for {
			typ, _, payload, err := h.read()
			if err != nil {
				ended <- 1<<32 - 1
				return
			}
			if typ == frameGoAway && len(payload) >= 8 {
				ended <- binary.BigEndian.Uint32(payload[4:])
				return
			}
		}
	}()
	for i := range uint32(20_000) { // some may lie in buffers when the server has ended it
		s := 2*i + 1
		if h.frame(frameHeaders, endHeaders, s, block(wire.PathQuestions)) != nil ||
			h.frame(frameData, endStream, s, body) != nil || h.frame(frameReset, 0, s, []byte{0, 0, 0, 8}) != nil {
			break
		}
	}
	if code := <-ended; code != enhanceYourCalm {
		t.Errorf("ended with %d", code)
	}
	if n := most.Load(); n > 16 || d.total() > 16+4*16 {
		t.Errorf("%d at a time, %d in all", n, d.total())
	}
}

// TestEndlessHeaders: a header block that goes on in frame after frame is cut
// where headers may not be longer.
func TestEndlessHeaders(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{d.certA}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	h := &h2{t, c}
	h.preface()
	h.frame(frameHeaders, 0, 1, block(wire.PathHello))
	go io.Copy(io.Discard, c)
	field := append([]byte{0, 1, 'x', 100}, bytes.Repeat([]byte{'a'}, 100)...)
	sent := 0
	for range 10_000 {
		if h.frame(frameContinuation, 0, 1, bytes.Repeat(field, 10)) != nil {
			break
		}
		sent += 10 * len(field)
	}
	if sent > 8<<20 {
		t.Errorf("%d bytes of headers were taken", sent)
	}
	if d.total() != 0 {
		t.Error("the service was asked")
	}
}

// TestFloodOfOneTerminal: however many questions one terminal asks at once,
// few are answered at a time, the rest is sent away, and another terminal is
// served beside it.
func TestFloodOfOneTerminal(t *testing.T) {
	d := newDesk(t, terminals.Options{})
	inside, release := make(chan struct{}, 100), make(chan struct{})
	d.do = func(_ context.Context, what string) error {
		if what == "ask" {
			inside <- struct{}{}
			<-release
		}
		return nil
	}
	addr := listenTLS(t, d.canned, d.ca, terminals.Options{})
	question := wire.Marshal(&wire.Question{Name: name(terminalA, 2)})
	var away, answered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, _ := ask(t, addr, wire.PathQuestions, question, d.certA); got == 200 {
				answered.Add(1)
			}
		})
		<-inside
	}
	var more sync.WaitGroup
	for range 24 {
		more.Go(func() {
			if got, _ := ask(t, addr, wire.PathQuestions, question, d.certA); got == http.StatusTooManyRequests {
				away.Add(1)
			}
		})
	}
	more.Wait()
	hello := wire.Marshal(&wire.Hello{Version: wire.Version, Head: journal.Head{Terminal: terminalB, Epoch: 1}})
	if got, _ := ask(t, addr, wire.PathHello, hello, certificate(t, d.ca, terminalB, 1, time.Now())); got != 200 {
		t.Errorf("another terminal: %d", got)
	}
	close(release)
	wg.Wait()
	if away.Load() != 24 || answered.Load() != 8 {
		t.Errorf("%d answered, %d sent away", answered.Load(), away.Load())
	}
}
