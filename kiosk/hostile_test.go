package kiosk

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
)

// The tests of this file are whoever reaches the port of the screens: another
// program of this machine, a web page of another site in the shop's browser,
// and, where the screens are served to a network, anybody on it.

// counted counts the calls that may move money or write to the journal.
type counted struct {
	*fake
	moved atomic.Int64
}

func (c *counted) TopUp(ctx context.Context, r terminal.TopUpRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.TopUp(ctx, r)
}

func (c *counted) Redeem(ctx context.Context, r terminal.RedeemRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.Redeem(ctx, r)
}

func (c *counted) Sell(ctx context.Context, r terminal.SellRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.Sell(ctx, r)
}

func (c *counted) Void(ctx context.Context, r terminal.VoidRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.Void(ctx, r)
}

func (c *counted) PayBill(ctx context.Context, r terminal.BillRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.PayBill(ctx, r)
}

func (c *counted) CollectClaim(ctx context.Context, r terminal.ClaimRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.CollectClaim(ctx, r)
}

func (c *counted) BlockCard(ctx context.Context, r terminal.CardRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.BlockCard(ctx, r)
}

func (c *counted) ReplaceCard(ctx context.Context, r terminal.CardRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.ReplaceCard(ctx, r)
}

func (c *counted) EmptyCard(ctx context.Context, r terminal.EmptyRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.EmptyCard(ctx, r)
}

func (c *counted) AskAgain(ctx context.Context, n journal.Name) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.AskAgain(ctx, n)
}

func (c *counted) ReturnCash(ctx context.Context, r terminal.ReturnCashRequest) (terminal.Receipt, error) {
	c.moved.Add(1)
	return c.fake.ReturnCash(ctx, r)
}

func (c *counted) OpenShift(ctx context.Context, who terminal.Who, cash money.Fen) (store.Shift, error) {
	c.moved.Add(1)
	return c.fake.OpenShift(ctx, who, cash)
}

func (c *counted) CloseShift(ctx context.Context, r terminal.CloseRequest) (terminal.ShiftReport, error) {
	c.moved.Add(1)
	return c.fake.CloseShift(ctx, r)
}

func (c *counted) Explain(ctx context.Context, r terminal.ExplainRequest) (terminal.ShiftReport, error) {
	c.moved.Add(1)
	return c.fake.Explain(ctx, r)
}

func (c *counted) Receive(ctx context.Context, r terminal.ReceiveRequest) (terminal.Pack, error) {
	c.moved.Add(1)
	return c.fake.Receive(ctx, r)
}

func (c *counted) CountStock(ctx context.Context, r terminal.CountRequest) (terminal.Pack, error) {
	c.moved.Add(1)
	return c.fake.CountStock(ctx, r)
}

func (c *counted) ChangeStaff(ctx context.Context, who terminal.Who, s journal.Staff, p store.Person, gone bool) error {
	c.moved.Add(1)
	return c.fake.ChangeStaff(ctx, who, s, p, gone)
}

// shop is a server on a real port, with a clerk logged in, a shift open and a
// card in the reader. moved is 0 when its test begins.
type shop struct {
	*counted
	addr   string
	cookie string // the clerk's
	s      *Server
}

func newShop(t *testing.T, change ...func(*http.Server)) *shop {
	t.Helper()
	x := &shop{counted: &counted{fake: newFake()}}
	x.s = newServer(t, x.fake, func(c *Config) { c.Terminal = x.counted })
	b := clerk(t, x.s)
	x.cookie = clerkCookie + "=" + b.cookies[clerkCookie]
	x.insert(cardA)
	x.moved.Store(0)
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	h := x.s.http()
	for _, f := range change {
		f(h)
	}
	done := make(chan struct{})
	go func() { defer close(done); h.Serve(l) }()
	t.Cleanup(func() { h.Close(); <-done })
	x.addr = l.Addr().String()
	return x
}

// wire sends bytes as they are and gives the status lines of what comes back
// until the server closes, or until it said n things.
func (x *shop) wire(t *testing.T, raw string, n int) (statuses []int) {
	t.Helper()
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, raw) // the server may close before it has read all
	r := bufio.NewReader(c)
	for len(statuses) < n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
	return statuses
}

// head is a top-up by the clerk without its body and the lines that frame it.
func (x *shop) head(extra ...string) string {
	return "POST /api/v1/topups HTTP/1.1\r\nHost: " + x.addr + "\r\nContent-Type: application/json\r\nCookie: " + x.cookie +
		"\r\nIdempotency-Key: smuggled-1\r\nSec-Fetch-Site: same-origin\r\n" + strings.Join(extra, "")
}

func TestTopUpOverTheWire(t *testing.T) {
	x := newShop(t)
	body := topUpBodyOf(5000, 5000)
	if got := x.wire(t, x.head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)))+body, 1); got[0] != 200 || x.moved.Load() != 1 {
		t.Fatalf("the honest one: %v, %d calls", got, x.moved.Load())
	}
}

// TestSmuggling: whatever two readers could frame in two ways is refused or
// ends the connection, and what follows it on the connection is not read as a
// request.
func TestSmuggling(t *testing.T) {
	body := topUpBodyOf(5000, 5000)
	for name, c := range map[string]struct {
		raw  func(x *shop) string
		want []int // all that comes back; the server closes after it
	}{
		"two lengths":             {func(x *shop) string { return x.head("Content-Length: 5\r\nContent-Length: 6\r\n\r\n") + body }, []int{400}},
		"two lengths in one line": {func(x *shop) string { return x.head("Content-Length: 5, 6\r\n\r\n") + body }, []int{400}},
		"a length of +60":         {func(x *shop) string { return x.head("Content-Length: +60\r\n\r\n") + body }, []int{400}},
		"a length of -1":          {func(x *shop) string { return x.head("Content-Length: -1\r\n\r\n") + body }, []int{400}},
		"a length beyond 64 bits": {func(x *shop) string { return x.head("Content-Length: 99999999999999999999\r\n\r\n") + body }, []int{400}},
		"an encoding of identity": {func(x *shop) string { return x.head("Transfer-Encoding: identity\r\n\r\n") + body }, []int{501}},
		"chunked twice":           {func(x *shop) string { return x.head("Transfer-Encoding: chunked, chunked\r\n\r\n") + "0\r\n\r\n" }, []int{501}},
		"two encodings": {func(x *shop) string {
			return x.head("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n") + body
		}, []int{501}},
		"encoding with a blank before it": {func(x *shop) string { return x.head("Transfer-Encoding : chunked\r\n\r\n") + "0\r\n\r\n" }, []int{400}},
		"a folded header":                 {func(x *shop) string { return x.head("X: a\r\n Content-Length: 60\r\n\r\n") + body + "\r\n\r\n" }, []int{400, 400}},
		"a bare carriage return":          {func(x *shop) string { return x.head("X: a\rb\r\n\r\n") + body }, []int{400}},
		"a NUL in a header":               {func(x *shop) string { return x.head("X: a\x00b\r\n\r\n") + body }, []int{400}},
		"no host":                         {func(x *shop) string { return "GET /api/v1/status HTTP/1.1\r\n\r\n" }, []int{400}},
		"two hosts": {func(x *shop) string {
			return "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
		}, []int{400}},
		"HTTP/0.9":           {func(x *shop) string { return "GET /api/v1/status\r\n" }, []int{400}},
		"HTTP/3.0":           {func(x *shop) string { return "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n" }, []int{505}},
		"HTTP/2 without TLS": {func(x *shop) string { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }, []int{421}},
		"absolute form, another host": {func(x *shop) string {
			return "GET http://evil.example/api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
		}, []int{421}},
		"a proxy's CONNECT": {func(x *shop) string {
			return "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n"
		}, []int{421}},
		"a chunk of no hexadecimal length": {func(x *shop) string {
			return x.head("Transfer-Encoding: chunked\r\n\r\n") + "zz\r\n" + body + "\r\n0\r\n\r\n"
		}, []int{400}},
		"a chunk length beyond 64 bits": {func(x *shop) string {
			return x.head("Transfer-Encoding: chunked\r\n\r\n") + "fffffffffffffffff\r\n" + body
		}, []int{400}},
		"after an error, another request": {func(x *shop) string {
			return x.head("Content-Length: 5\r\nContent-Length: 6\r\n\r\n") + "xxxxx" + x.head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))) + body
		}, []int{400}},
		"too long, another request within": {func(x *shop) string {
			inner := x.head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))) + body
			return x.head("Content-Length: 1000000\r\n\r\n") + strings.Repeat(inner, 1000000/len(inner))
		}, []int{413}},
		"a length beside chunks": {func(x *shop) string {
			inner := x.head(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))) + body
			return x.head(fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n", 5+len(inner))) + "0\r\n\r\n" + inner
		}, []int{400}},
		"chunks": {func(x *shop) string {
			return x.head("Transfer-Encoding: chunked\r\n\r\n") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}, []int{400}},
		"chunks without end": {func(x *shop) string {
			return x.head("Transfer-Encoding: chunked\r\n\r\n") + strings.Repeat("1\r\n \r\n", 300_000)
		}, []int{400}},
		"more headers than fit": {func(x *shop) string { return x.head("X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n") }, []int{431}},
		"a path longer than fits": {func(x *shop) string {
			return "GET /api/v1/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
		}, []int{431}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newShop(t)
			got := x.wire(t, c.raw(x), 5)
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
			if n := x.moved.Load(); n != 0 {
				t.Errorf("%d calls reached the terminal", n)
			}
		})
	}
}

// TestSlow: a connection that sends slowly is ended by the server's own
// clock, whatever part it is slow with, and a screen beside it is served.
func TestSlow(t *testing.T) {
	var production http.Server
	x := newShop(t, func(h *http.Server) {
		production = http.Server{ReadHeaderTimeout: h.ReadHeaderTimeout, ReadTimeout: h.ReadTimeout, WriteTimeout: h.WriteTimeout, IdleTimeout: h.IdleTimeout}
		h.ReadHeaderTimeout, h.ReadTimeout, h.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	if p := &production; p.ReadHeaderTimeout <= 0 || p.ReadTimeout <= 0 || p.WriteTimeout <= 0 || p.IdleTimeout <= 0 ||
		p.ReadHeaderTimeout > 10*time.Second || p.ReadTimeout > 30*time.Second {
		t.Errorf("a slow connection stays: %v %v %v %v", p.ReadHeaderTimeout, p.ReadTimeout, p.WriteTimeout, p.IdleTimeout)
	}
	for name, sent := range map[string]string{
		"nothing":           "",
		"half a line":       "POST /api/v1/top",
		"headers, no end":   x.head(),
		"half a body":       x.head("Content-Length: 60\r\n\r\n") + `{"card":`,
		"nothing of a body": x.head("Content-Length: 60\r\n\r\n"),
		"idle after one":    "GET /api/v1/status HTTP/1.1\r\nHost: " + x.addr + "\r\n\r\n",
	} {
		c, err := net.Dial("tcp", x.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, sent)
		if code := x.wire(t, "GET /api/v1/status HTTP/1.1\r\nHost: "+x.addr+"\r\nConnection: close\r\n\r\n", 1); len(code) != 1 || code[0] != 200 {
			t.Errorf("%s: a screen beside it got %v", name, code)
		}
		answer, err := io.ReadAll(c) // ends because the server closes
		c.Close()
		if errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: still open", name)
		}
		if bytes.Contains(answer, []byte(" 200 ")) != (name == "idle after one") {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if n := x.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// TestBomb: a compressed body is no JSON, however small it is on the wire.
func TestBomb(t *testing.T) {
	x := newShop(t)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintf(z, `{"card":"%s","amount":5000,"tendered":5000,"pin":"%s"}`, cardA, strings.Repeat("1", 1<<22))
	z.Close()
	if got := x.wire(t, x.head(fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", b.Len()))+b.String(), 1); got[0] != 413 && got[0] != 400 || x.moved.Load() != 0 {
		t.Errorf("%v, %d calls", got, x.moved.Load())
	}
}

// moneyCalls are all calls that move money or write to the journal, with a
// body that an honest screen would send.
var moneyCalls = []struct{ path, body string }{
	{"/api/v1/topups", topUpBodyOf(5000, 5000)},
	{"/api/v1/redemptions", fmt.Sprintf(`{"card":"%s","account":"%s","amount":1000}`, cardA, acct)},
	{"/api/v1/sales", fmt.Sprintf(`{"card":"%s","amount":5000,"tendered":5000}`, stock)},
	{"/api/v1/transactions/310100001234-1-10/void", `{}`},
	{"/api/v1/transactions/310100001234-1-10/cash-returned", `{}`},
	{"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":5000,"tendered":5000}`, acct)},
	{"/api/v1/claims/" + slipA.String() + "/payout", `{"amount":5000}`},
	{"/api/v1/blocks", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardB)},
	{"/api/v1/replacements", fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardA)},
	{"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA)},
	{"/api/v1/transactions/310100001234-1-10/ask", `{}`},
	{"/api/v1/shift/open", `{"cash":0}`},
	{"/api/v1/shift/close", `{"counted":0}`},
	{"/api/v1/shifts/1/difference", `{"reason":"other","note":"x"}`},
	{"/api/v1/stock/receipts", fmt.Sprintf(`{"from":"%s","to":"%s"}`, stock, stock)},
	{"/api/v1/stock/counts", `{"pack":"310100001234-1-600","found":1}`},
	{"/api/v1/staff/8/lock", `{}`},
	{"/api/v1/pin", `{"old":"2468","pin":"7391","again":"7391"}`},
}

// TestSessions: no cookie but one that this run of the server gave to a
// person who logged in opens a money call.
func TestSessions(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	old := b.cookies[clerkCookie]
	b.do("POST", "/api/v1/logout", `{}`)
	other := loggedIn(t, newServer(t, f.fake)) // another run of the program, before a restart
	k := open(t, s)
	k.raw("GET", "/kiosk", "")
	kiosk := k.cookies[kioskCookie]
	f.moved.Store(0)
	for name, c := range map[string][]string{
		"none":                       {},
		"logged out":                 {clerkCookie, old},
		"of another run":             {clerkCookie, other},
		"empty":                      {clerkCookie, ""},
		"forged":                     {clerkCookie, strings.Repeat("A", 26)},
		"the kiosk's in its place":   {clerkCookie, kiosk},
		"a clerk's as the kiosk's":   {kioskCookie, other},
		"a staff number":             {clerkCookie, "7"},
		"with a quote and a newline": {clerkCookie, "\"" + old + "\n\""},
	} {
		for _, call := range moneyCalls {
			x := open(t, s)
			if len(c) > 0 {
				x.cookies[c[0]] = c[1]
			}
			code, v := x.do("POST", call.path, call.body, key()...)
			if code != 401 || v["code"] != string(CodeLoginNeeded) {
				t.Errorf("%s: %s: %d %v", name, call.path, code, v["code"])
			}
		}
	}
	// The kiosk's own opens a redemption and nothing else, not even when the
	// page says that it is the clerk's.
	for _, call := range moneyCalls {
		if call.path == "/api/v1/redemptions" {
			continue
		}
		for _, screen := range []string{"kiosk", "clerk", "desk", ""} {
			x := open(t, s)
			x.cookies[kioskCookie] = kiosk
			if code, _ := x.do("POST", call.path, call.body, append(key(), "Dianka-Screen", screen)...); code != 403 && code != 401 {
				t.Errorf("the kiosk's session as %q: %s: %d", screen, call.path, code)
			}
		}
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

func loggedIn(t *testing.T, s *Server) string {
	b := open(t, s)
	b.login("7", "2468")
	return b.cookies[clerkCookie]
}

// TestOtherPagesOfTheBrowser: a page of another site or of another port of
// this machine, in the browser in which the clerk is logged in, moves nothing
// whatever it can make the browser send.
func TestOtherPagesOfTheBrowser(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	f.moved.Store(0)
	for name, c := range map[string]struct {
		header []string
		want   int
		code   terminal.Code
	}{
		"another site":                    {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, CodeCrossSite},
		"another port":                    {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:9999"}, 403, CodeCrossSite},
		"another port, an old browser":    {[]string{"Sec-Fetch-Site", "", "Origin", "http://127.0.0.1:9999"}, 403, CodeCrossSite},
		"a form, which sends no JSON":     {[]string{"Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"}, 403, CodeCrossSite},
		"a form of an old browser":        {[]string{"Sec-Fetch-Site", "", "Origin", "null", "Content-Type", "application/x-www-form-urlencoded"}, 403, CodeCrossSite},
		"an older browser without either": {[]string{"Sec-Fetch-Site", "", "Content-Type", "text/plain"}, 400, CodeBadRequest},
		"a rebound name":                  {[]string{"Host", "evil.example:8080", "Origin", "http://evil.example:8080"}, 421, CodeWrongHost},
		"a rebound name ending as ours":   {[]string{"Host", "evil-localhost:8080"}, 421, CodeWrongHost},
		"our name with a dot":             {[]string{"Host", "localhost.:8080"}, 421, CodeWrongHost},
		"a number that is our address":    {[]string{"Host", "2130706433:8080"}, 421, CodeWrongHost},
		"an address of the shop's router": {[]string{"Host", "192.168.1.1"}, 421, CodeWrongHost},
	} {
		for _, call := range moneyCalls {
			code, v := b.do("POST", call.path, call.body, append(key(), c.header...)...)
			wantRefusal(t, code, v, c.want, c.code)
			if t.Failed() {
				t.Fatalf("%s: %s", name, call.path)
			}
		}
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// TestMethods: a money call has one method and no way to say another.
func TestMethods(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	f.moved.Store(0)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "POSTX"} {
		for _, call := range moneyCalls {
			w := b.raw(method, call.path, call.body, append(key(), "X-HTTP-Method-Override", "POST", "X-Method-Override", "POST")...)
			if w.Code != 404 && w.Code != 405 && w.Code != 403 {
				t.Errorf("%s %s: %d", method, call.path, w.Code)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s opens itself to other sites", method, call.path)
			}
		}
	}
	for _, path := range []string{"//api/v1/topups", "/api/v1/topups/", "/api/v1//topups", "/API/v1/topups", "/api/v1/./topups", "/kiosk/../api/v1/topups", "/api/v1/topups%2f", "/api/v1/%74opups/../topups"} {
		if w := b.raw("POST", path, topUpBodyOf(5000, 5000), key()...); w.Code != 404 && w.Code != 307 && w.Code != 301 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// TestFlood: many at once are one wish when they carry one key, and whoever
// is logged in is served while strangers knock.
func TestFlood(t *testing.T) {
	x := newShop(t)
	body := topUpBodyOf(5000, 5000)
	request := x.head(fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n", len(body))) + body
	stranger := "POST /api/v1/login HTTP/1.1\r\nHost: " + x.addr + "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 28\r\n\r\n" + `{"staff":"99","pin":"00000"}`
	var wg sync.WaitGroup
	var let atomic.Int64
	for range 50 {
		wg.Go(func() {
			if got := x.wire(t, request, 1); len(got) != 1 || got[0] != 200 {
				t.Errorf("the clerk got %v", got)
			}
		})
		wg.Go(func() {
			if got := x.wire(t, stranger, 1); len(got) == 1 && got[0] == 200 {
				let.Add(1)
			}
		})
	}
	wg.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.list) != 1 || let.Load() != 0 {
		t.Errorf("%d transactions of one wish, %d strangers let in", len(x.list), let.Load())
	}
	if x.s.door.other.wrong > freeTries {
		t.Errorf("%d PINs were tried without a wait", x.s.door.other.wrong)
	}
}

// TestPicturesOpenNoSession: a page elsewhere that loads ours as pictures or
// frames does not push out the session of the screen at which a customer
// stands.
func TestPicturesOpenNoSession(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	f.insert(cardA)
	k := open(t, s)
	k.raw("GET", "/kiosk", "", "Sec-Fetch-Dest", "document")
	for _, dest := range []string{"image", "iframe", "script", "empty"} {
		for range maxKiosks {
			w := open(t, s).raw("GET", "/kiosk", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", dest)
			if len(w.Result().Cookies()) != 0 {
				t.Fatalf("%s: a session was opened", dest)
			}
		}
	}
	code, v := k.do("POST", "/api/v1/redemptions", fmt.Sprintf(`{"card":"%s","account":"%s","amount":1000}`, cardA, acct), key()...)
	if code != 200 {
		t.Errorf("the customer's screen: %d %v", code, v["code"])
	}
}

// TestAmounts: what is no whole number of fen, or more money than there is, is
// no amount, in every member of every call.
func TestAmounts(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	f.moved.Store(0)
	bad := []string{"5000.0", "5e3", "1e9", "-0", "-0.0", "9007199254740993", "-9007199254740993", "9223372036854775807", "9223372036854775808",
		"-9223372036854775808", "18446744073709551616", "1000000000001", `"5000"`, "true", "null", "[]", "{}", "NaN", "Infinity", "0x10", "05", "+5", "5_000", "５", "5,0"}
	for _, call := range []struct{ path, body string }{
		{"/api/v1/topups", fmt.Sprintf(`{"card":"%s","amount":#,"tendered":5000}`, cardA)},
		{"/api/v1/topups", fmt.Sprintf(`{"card":"%s","amount":5000,"tendered":#}`, cardA)},
		{"/api/v1/redemptions", fmt.Sprintf(`{"card":"%s","account":"%s","amount":#}`, cardA, acct)},
		{"/api/v1/sales", fmt.Sprintf(`{"card":"%s","amount":#,"tendered":5000}`, stock)},
		{"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":#,"tendered":5000}`, acct)},
		{"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":5000,"tendered":#}`, acct)},
		{"/api/v1/claims/" + slipA.String() + "/payout", `{"amount":#}`},
		{"/api/v1/shift/open", `{"cash":#}`},
		{"/api/v1/shift/close", `{"counted":#}`},
	} {
		for _, amount := range bad {
			code, v := b.do("POST", call.path, strings.Replace(call.body, "#", amount, 1), key()...)
			if code != 400 || v["code"] != string(CodeBadRequest) {
				t.Errorf("%s with %s: %d %v", call.path, amount, code, v["code"])
			}
		}
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// TestText: text that could change what a person reads, or end what a program
// reads, is no number and no key.
func TestText(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	f.moved.Store(0)
	for _, x := range []string{`\u0000`, `\u202e4821`, "\u202e", `31010000000000004821\u0000`, `31010000000000004821\n`, `\ud800`, "\x00", "\x80"} {
		for _, body := range []string{
			`{"card":"` + x + `","amount":5000,"tendered":5000}`,
			`{"card":"` + cardA.String() + `","amount":5000,"tendered":5000,"` + x + `":1}`,
		} {
			if code, v := b.do("POST", "/api/v1/topups", body, key()...); code != 400 {
				t.Errorf("%q: %d %v", body, code, v["code"])
			}
		}
		if code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), "Idempotency-Key", "wish-\u202e-number"); code != 400 || v["code"] != string(CodeNoKey) {
			t.Errorf("a key that runs from right to left: %d", code)
		}
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// FuzzAPI sends any request at all to a server with a clerk and a kiosk
// logged in elsewhere: nothing panics, nothing answers 5xx, and without a
// session nothing reaches the terminal that moves money; with one, nothing
// but a POST of the right shape.
func FuzzAPI(f *testing.F) {
	for _, c := range moneyCalls {
		f.Add("POST", c.path, "Content-Type: application/json\nIdempotency-Key: wish-number-1", []byte(c.body), uint8(0))
		f.Add("POST", c.path, "Content-Type: application/json\nIdempotency-Key: wish-number-1", []byte(c.body), uint8(1))
		f.Add("POST", c.path, "Content-Type: application/json\nIdempotency-Key: wish-number-1", []byte(c.body), uint8(2))
	}
	for _, path := range []string{"/", "/clerk", "/kiosk", "/static/style.css", "/api/v1/status", "/api/v1/card", "/api/v1/card/history", "/api/v1/accounts/0100000017", "/api/v1/transactions?limit=3", "/api/v1/transactions/310100001234-1-10"} {
		f.Add("GET", path, "", []byte(nil), uint8(1))
	}
	fake := &counted{fake: newFake()}
	s, err := New(Config{Terminal: fake, Link: fake, Staff: []Staff{{ID: 7, Name: "陈晓", PINHash: s0(), Rights: Rights}}, Clock: func() time.Time { return fake.now }})
	if err != nil {
		f.Fatal(err)
	}
	fake.status.ShiftOpen = true
	fake.insert(cardA)
	cookies := []string{"", clerkCookie + "=" + opened(s.door, s.door.staff[0]), kioskCookie + "=" + opened(s.door, nil)}
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte, who uint8) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that a stream of events ends after its first
		r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:8080/", bytes.NewReader(body))
		if err != nil {
			return
		}
		u, err := r.URL.Parse(target)
		if err != nil {
			return
		}
		r.URL, r.RequestURI = u, target
		for _, line := range strings.Split(headers, "\n") {
			name, value, _ := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); strings.EqualFold(name, "Host") {
				r.Host = strings.TrimSpace(value)
			} else if name != "" && !strings.EqualFold(name, "Cookie") {
				r.Header.Add(name, strings.TrimSpace(value))
			}
		}
		c := cookies[int(who)%len(cookies)]
		if c != "" {
			r.Header.Set("Cookie", c)
		}
		before := fake.moved.Load()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
		if fake.moved.Load() != before {
			if c == "" || method != "POST" || !json.Valid(body) || r.Header.Get("Sec-Fetch-Site") == "cross-site" {
				t.Fatalf("%s %s as %d reached the terminal: %s", method, target, who, body)
			}
			if c == cookies[2] && u.Path != "/api/v1/redemptions" {
				t.Fatalf("a kiosk did %s", target)
			}
		}
		if w.Header().Get("Content-Type") == "application/json; charset=utf-8" && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s: no JSON: %s", method, target, w.Body)
		}
	})
}

func s0() string { return pins()[0] }

func opened(d *door, p *Staff) string {
	id, _ := d.open(p, false)
	return id
}
