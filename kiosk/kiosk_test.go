package kiosk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// PIN hashes are slow on purpose: the tests share these.
var pins = sync.OnceValue(func() [3]string {
	return [3]string{must(HashPIN("2468")), must(HashPIN("1357")), must(HashPIN("9999"))}
})

func staff() []Staff {
	h := pins()
	return []Staff{
		{ID: 7, Name: "陈晓", PINHash: h[0], Rights: Rights},
		{ID: 8, Name: "赵敏", PINHash: h[1], Rights: []string{RightRedeem, RightTopUp}},
	}
}

// browser is a client that keeps its cookies.
type browser struct {
	t       *testing.T
	h       http.Handler
	cookies map[string]string
	header  map[string]string
}

func newServer(t *testing.T, f *fake, change ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{Terminal: f, Link: f, Staff: staff(), Shop: "和平路便利店", Clock: func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now }}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, h http.Handler) *browser {
	return &browser{t: t, h: h, cookies: map[string]string{}, header: map[string]string{"Sec-Fetch-Site": "same-origin"}}
}

func (b *browser) do(method, path, body string, header ...string) (int, map[string]any) {
	b.t.Helper()
	w := b.raw(method, path, body, header...)
	v := map[string]any{}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
		}
	}
	return w.Code, v
}

func (b *browser) raw(method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	var r *http.Request
	if method == "GET" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Host = "127.0.0.1:8080"
	for k, v := range b.header {
		r.Header.Set(k, v)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (b *browser) login(staff, pin string) (int, map[string]any) {
	b.t.Helper()
	return b.do("POST", "/api/v1/login", fmt.Sprintf(`{"staff":%q,"pin":%q}`, staff, pin))
}

// clerk is a browser at which staff 7 works, with a shift open.
func clerk(t *testing.T, s *Server) *browser {
	t.Helper()
	b := open(t, s)
	if code, v := b.login("7", "2468"); code != 200 {
		t.Fatalf("login: %d %v", code, v)
	}
	if code, v := b.do("POST", "/api/v1/shift/open", `{"cash":20000}`); code != 200 {
		t.Fatalf("open the shift: %d %v", code, v)
	}
	return b
}

func wantRefusal(t *testing.T, status int, v map[string]any, wantStatus int, code terminal.Code) {
	t.Helper()
	if status != wantStatus || v["code"] != string(code) {
		t.Errorf("got %d %v, want %d %s", status, v["code"], wantStatus, code)
	}
	for _, part := range []string{"sentence", "money", "next"} {
		w, _ := v[part].(map[string]any)
		for _, l := range words.Languages {
			if s, _ := w[l].(string); s == "" || strings.Contains(s, "refusal.") || strings.Contains(s, "{") {
				t.Errorf("%s: %s in %s is %q", code, part, l, s)
			}
		}
	}
}

var keys int

func key() []string {
	keys++
	return []string{"Idempotency-Key", fmt.Sprintf("wish-number-%04d", keys)}
}

func topUpBodyOf(amount, tendered int) string {
	return fmt.Sprintf(`{"card":"%s","amount":%d,"tendered":%d}`, cardA, amount, tendered)
}

func TestYuan(t *testing.T) {
	for f, want := range map[money.Fen]string{0: "¥0.00", 5: "¥0.05", 100_00: "¥100.00", 1234_56: "¥1,234.56", 1234567_89: "¥1,234,567.89", -12345_00: "-¥12,345.00", 999_99: "¥999.99"} {
		if got := f.Yuan(); got != want {
			t.Errorf("(%d).Yuan() = %q, want %q", f, got, want)
		}
	}
}

func TestThreeOutcomes(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	f.insert(cardA)

	code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 10000), key()...)
	if code != 200 || v["result"] != "done" || v["balance"] != 17000.0 || v["actor"].(map[string]any)["id"] != "7" {
		t.Errorf("done: %d %v", code, v)
	}
	f.result = journal.NotDone
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 10000), key()...)
	if code != 200 || v["result"] != "not_done" || v["cash_owed"] != true || v["reason"].(map[string]any)["code"] != "card_removed" {
		t.Errorf("not done: %d %v", code, v)
	}
	if s := v["money"].(map[string]any)["en"].(string); !strings.Contains(s, "¥100.00") {
		t.Errorf("a top-up that is not done must name all the cash that was taken: %q", s)
	}
	id := v["id"].(string)
	code, v = b.do("POST", "/api/v1/transactions/"+id+"/cash-returned", `{}`, key()...)
	if code != 200 || v["cash_returned"] != true || v["cash_owed"] != false {
		t.Errorf("cash returned: %d %v", code, v)
	}
	f.result = journal.Unknown
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	if code != 200 || v["result"] != "unknown" || v["id"] == "" || v["balance"] != nil {
		t.Errorf("unknown: %d %v", code, v)
	}
	// The next refusal says that nothing was done, and why.
	f.insert(money.CardNumber{})
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	wantRefusal(t, code, v, 409, terminal.CodeNoCard)
}

// An error that is no refusal must never read as "nothing happened".
func TestUncertainNeverReadsAsRefused(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	f.insert(cardA)
	f.next = errors.New("disk on fire")
	code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	wantRefusal(t, code, v, 500, CodeUncertain)

	// With the number of an intent on disk, the answer is its slip.
	_, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	name := must(journal.ParseName(v["id"].(string)))
	f.list[0].Result = journal.Pending
	f.next = &terminal.UncertainError{Name: name, Cause: errors.New("disk on fire")}
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(6000, 6000), key()...)
	if code != 200 || v["result"] != "unknown" || v["id"] != name.String() {
		t.Errorf("got %d %v, want unknown under %s", code, v, name)
	}
	// A panic inside is not certain either.
	s := newServer(t, f, func(c *Config) { c.Terminal = panicky{f} })
	p := open(t, s)
	p.login("7", "2468")
	code, v = p.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	wantRefusal(t, code, v, 500, CodeUncertain)
}

type panicky struct{ *fake }

func (panicky) TopUp(_ context.Context, _ terminal.TopUpRequest) (terminal.Receipt, error) {
	panic("oops")
}

func TestIdempotencyKey(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	f.insert(cardA)
	code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000))
	wantRefusal(t, code, v, 400, CodeNoKey)
	for _, k := range []string{"short", strings.Repeat("x", 129), "with blank in it", "键键键键键键键键"} {
		code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), "Idempotency-Key", k)
		wantRefusal(t, code, v, 400, CodeNoKey)
	}
	k := key()
	_, first := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), k...)
	_, again := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), k...)
	if first["id"] == nil || first["id"] != again["id"] || len(f.list) != 1 {
		t.Errorf("a repeated key made %d transactions: %v, %v", len(f.list), first["id"], again["id"])
	}
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(6000, 6000), k...)
	wantRefusal(t, code, v, 409, terminal.CodeTokenReused)
	for _, path := range []string{"/api/v1/redemptions", "/api/v1/sales", "/api/v1/transactions/" + first["id"].(string) + "/void", "/api/v1/transactions/" + first["id"].(string) + "/cash-returned"} {
		code, v = b.do("POST", path, `{}`)
		wantRefusal(t, code, v, 400, CodeNoKey)
	}
}

func TestStrictJSON(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	f.insert(cardA)
	card := fmt.Sprintf(`"card":"%s"`, cardA)
	for name, body := range map[string]string{
		"unknown member":   `{` + card + `,"amount":5000,"tendered":5000,"tip":1}`,
		"member twice":     `{` + card + `,"amount":5000,"tendered":5000,"amount":5000}`,
		"other case":       `{` + card + `,"Amount":5000,"tendered":5000}`,
		"fraction":         `{` + card + `,"amount":5000.0,"tendered":5000}`,
		"exponent":         `{` + card + `,"amount":5e3,"tendered":5000}`,
		"amount as text":   `{` + card + `,"amount":"5000","tendered":5000}`,
		"null":             `{` + card + `,"amount":null,"tendered":5000}`,
		"missing":          `{` + card + `,"amount":5000}`,
		"no card":          `{"amount":5000,"tendered":5000}`,
		"bad card":         `{"card":"12x","amount":5000,"tendered":5000}`,
		"beyond int64":     `{` + card + `,"amount":92233720368547758080,"tendered":5000}`,
		"two objects":      `{` + card + `,"amount":5000,"tendered":5000}{}`,
		"array":            `[]`,
		"empty":            ``,
		"cut":              `{` + card + `,"amount":5000`,
		"not UTF-8":        "{" + card + ",\"amount\":5000,\"tendered\":5000,\"pin\":\"\xff\"}",
		"a list of amount": `{` + card + `,"amount":[5000],"tendered":5000}`,
	} {
		t.Run(name, func(t *testing.T) {
			code, v := b.do("POST", "/api/v1/topups", body, key()...)
			wantRefusal(t, code, v, 400, CodeBadRequest)
		})
	}
	code, v := b.do("POST", "/api/v1/topups", `{`+card+`,"amount":5000,"tendered":5000,"pin":"`+strings.Repeat("1", maxBody)+`"}`, key()...)
	wantRefusal(t, code, v, 413, CodeTooLarge)
	code, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), append(key(), "Content-Type", "text/plain")...)
	wantRefusal(t, code, v, 400, CodeBadRequest)
	if len(f.list) != 0 {
		t.Errorf("%d malformed calls reached the terminal", len(f.list))
	}
}

func TestWhoMay(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	f.insert(cardA)
	nobody := open(t, s)
	for _, path := range []string{"/api/v1/topups", "/api/v1/redemptions", "/api/v1/sales", "/api/v1/shift/open", "/api/v1/shift/close", "/api/v1/touch", "/api/v1/transactions/310100001234-1-10/void"} {
		code, v := nobody.do("POST", path, `{}`, key()...)
		wantRefusal(t, code, v, 401, CodeLoginNeeded)
	}
	for _, path := range []string{"/api/v1/transactions", "/api/v1/transactions/310100001234-1-10", "/api/v1/accounts/0100000017", "/api/v1/card/history"} {
		code, v := nobody.do("GET", path, "")
		wantRefusal(t, code, v, 401, CodeLoginNeeded)
	}
	// Without a session the status shows no card number, balance or takings.
	_, v := nobody.do("GET", "/api/v1/status", "")
	card := v["card"].(map[string]any)
	if card["number"] != "" || card["balance"] != nil || v["till"] != nil || card["last4"] != "4821" {
		t.Errorf("a stranger sees %v", v)
	}

	// The customer's own screen may redeem and nothing else.
	k := open(t, s)
	k.raw("GET", "/kiosk", "")
	redeem := fmt.Sprintf(`{"card":"%s","account":"%s","amount":1000}`, cardA, acct)
	code, v := k.do("POST", "/api/v1/redemptions", redeem, key()...)
	if code != 200 || v["actor"].(map[string]any)["kind"] != "customer" {
		t.Errorf("redemption at the kiosk: %d %v", code, v)
	}
	for _, path := range []string{"/api/v1/topups", "/api/v1/sales", "/api/v1/shift/open", "/api/v1/transactions/310100001234-1-10/void", "/api/v1/transactions/310100001234-1-10/cash-returned"} {
		code, v := k.do("POST", path, `{}`, key()...)
		wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	}
	code, v = k.do("GET", "/api/v1/transactions", "")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	_, v = k.do("GET", "/api/v1/status", "")
	if v["till"] != nil {
		t.Error("the customer's screen sees the shop's till")
	}

	// Rights bind the clerk.
	b := open(t, s)
	b.login("8", "1357")
	code, v = b.do("POST", "/api/v1/sales", `{}`, key()...)
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	code, v = b.do("POST", "/api/v1/shift/open", `{"cash":0}`)
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)

	// One browser with both pages: what the customer does is the customer's.
	b.raw("GET", "/kiosk", "")
	_, v = b.do("POST", "/api/v1/redemptions", redeem, append(key(), "Dianka-Screen", "kiosk")...)
	if v["actor"].(map[string]any)["kind"] != "customer" {
		t.Errorf("booked on %v", v["actor"])
	}
	_, v = b.do("POST", "/api/v1/redemptions", redeem, append(key(), "Dianka-Screen", "clerk")...)
	if v["actor"].(map[string]any)["id"] != "8" {
		t.Errorf("booked on %v", v["actor"])
	}
	_, v = b.do("POST", "/api/v1/logout", `{}`)
	code, v = b.do("POST", "/api/v1/redemptions", redeem, append(key(), "Dianka-Screen", "clerk")...)
	wantRefusal(t, code, v, 401, CodeLoginNeeded)
}

func TestOtherSites(t *testing.T) {
	f := newFake()
	s := newServer(t, f, func(c *Config) { c.Hosts = []string{"kiosk.shop.lan"} })
	b := clerk(t, s)
	f.insert(cardA)
	for name, h := range map[string][]string{
		"cross-site":             {"Sec-Fetch-Site", "cross-site"},
		"same site, other port":  {"Sec-Fetch-Site", "same-site"},
		"old browser":            {"Sec-Fetch-Site", "", "Origin", "http://evil.example"},
		"old browser, port":      {"Sec-Fetch-Site", "", "Origin", "http://127.0.0.1:9999"},
		"sandboxed or file page": {"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		t.Run(name, func(t *testing.T) {
			code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), append(key(), h...)...)
			wantRefusal(t, code, v, 403, CodeCrossSite)
		})
	}
	for _, site := range []string{"cross-site", "same-site"} {
		code, v := b.do("GET", "/api/v1/transactions", "", "Sec-Fetch-Site", site)
		wantRefusal(t, code, v, 403, CodeCrossSite)
	}
	for _, host := range []string{"evil.example", "evil.example:8080", "10.0.0.7:8080", "localhost.evil.example", "", "127.0.0.1.evil.example"} {
		code, v := b.do("GET", "/api/v1/status", "", "Host", host)
		wantRefusal(t, code, v, 421, CodeWrongHost)
	}
	for _, host := range []string{"localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "KIOSK.shop.lan:8080"} {
		if code, v := b.do("GET", "/api/v1/status", "", "Host", host); code != 200 {
			t.Errorf("%s: %d %v", host, code, v)
		}
	}
	if len(f.list) != 0 {
		t.Error("a foreign call moved money")
	}
	c := open(t, s).raw("POST", "/api/v1/login", `{"staff":"7","pin":"2468"}`).Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || len(c.Value) < 26 {
		t.Errorf("cookie %v", c)
	}
	w := b.raw("GET", "/clerk", "")
	if p := w.Header().Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "default-src 'none'") {
		t.Errorf("policy %q", p)
	}
	for _, banned := range []string{" style=", " onclick", "<style", "http://", "https://"} {
		if body := w.Body.String(); strings.Contains(body, banned) {
			t.Errorf("the page has %q", banned)
		}
	}
}

func TestIdleLock(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := clerk(t, newServer(t, f))
		f.insert(cardA)
		time.Sleep(IdleLock - time.Second)
		if code, _ := b.do("POST", "/api/v1/touch", `{}`); code != 200 {
			t.Fatalf("touched before the time was up: %d", code)
		}
		time.Sleep(IdleLock - time.Second)
		b.do("GET", "/api/v1/status", "") // looking is no doing
		time.Sleep(2 * time.Second)
		code, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
		wantRefusal(t, code, v, 401, CodeLocked)
		_, v = b.do("GET", "/api/v1/status", "")
		if ses := v["session"].(map[string]any); ses["locked"] != true || v["till"] != nil || v["card"].(map[string]any)["number"] != "" {
			t.Errorf("a locked screen shows %v", v)
		}
		if code, _ := b.login("7", "2468"); code != 200 {
			t.Errorf("unlock: %d", code)
		}
		if code, _ := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...); code != 200 {
			t.Errorf("after the unlock: %d", code)
		}

		// A call in flight keeps the session open, however long it takes.
		f.gate, f.entered = make(chan struct{}), make(chan struct{})
		done := make(chan int)
		k := key()
		go func() { c, _ := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), k...); done <- c }()
		<-f.entered
		time.Sleep(2 * IdleLock)
		if _, v := b.do("GET", "/api/v1/status", ""); v["session"].(map[string]any)["locked"] != false {
			t.Error("locked under a call that moves money")
		}
		close(f.gate)
		if c := <-done; c != 200 {
			t.Errorf("the call answered %d", c)
		}
	})
}

func TestWrongPINs(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newServer(t, newFake()))
		for range freeTries {
			code, v := b.login("7", "0000")
			wantRefusal(t, code, v, 401, CodeLoginFailed)
		}
		code, v := b.login("7", "2468")
		wantRefusal(t, code, v, 429, CodeLoginWait)
		if v["left"] != 30.0 {
			t.Errorf("wait %v s", v["left"])
		}
		if code, _ := b.login("8", "1357"); code != 200 {
			t.Error("another person has to wait too")
		}
		time.Sleep(firstWait)
		b.login("7", "0000")
		time.Sleep(firstWait)
		code, v = b.login("7", "2468")
		wantRefusal(t, code, v, 429, CodeLoginWait)
		time.Sleep(firstWait)
		if code, _ := b.login("7", "2468"); code != 200 {
			t.Errorf("right PIN after the wait: %d", code)
		}
		if code, _ := b.login("7", "0000"); code != 401 {
			t.Error("a wrong PIN after a right one")
		}
		if code, _ := b.login("7", "2468"); code != 200 {
			t.Error("a right PIN does not clear the wrong ones")
		}
		// A number that nobody has is told no differently.
		code, v = b.login("55", "2468")
		wantRefusal(t, code, v, 401, CodeLoginFailed)
		for i := range 8 { // the wait is bounded
			time.Sleep(longWait)
			if code, v := b.login("7", "0000"); code != 401 {
				t.Fatalf("try %d: %d %v", i, code, v["code"])
			}
		}
	})
}

func TestPINHash(t *testing.T) {
	h := must(HashPIN("2468"))
	if strings.Contains(h, "2468") || h == must(HashPIN("2468")) {
		t.Errorf("hash %q", h)
	}
	for _, p := range []string{"", "123", "1234567890123", "12a4", "１２３４"} {
		if _, err := HashPIN(p); !errors.Is(err, ErrPIN) {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, h := range []string{"", "2468", argonPrefix + "x$y", strings.Replace(h, "m=19456", "m=1", 1)} {
		if _, err := New(Config{Terminal: newFake(), Staff: []Staff{{ID: 1, Name: "x", PINHash: h}}}); !errors.Is(err, ErrPINHash) {
			t.Errorf("%q: %v", h, err)
		}
	}
	for name, l := range map[string][]Staff{
		"twice":    {{ID: 1, Name: "a", PINHash: h}, {ID: 1, Name: "b", PINHash: h}},
		"no name":  {{ID: 1, PINHash: h}},
		"no right": {{ID: 1, Name: "a", PINHash: h, Rights: []string{"fly"}}},
	} {
		if _, err := New(Config{Terminal: newFake(), Staff: l}); !errors.Is(err, ErrStaff) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVoidWantsSecondPerson(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f)) // only 7 may void here: nobody else to ask
	f.insert(cardA)
	_, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	path := "/api/v1/transactions/" + v["id"].(string) + "/void"
	code, v := b.do("POST", path, `{}`, key()...)
	if code != 200 || v["overall"] != "done" || v["child"].(map[string]any)["kind"] != "void_debit" {
		t.Errorf("void alone: %d %v", code, v)
	}

	f = newFake()
	b = clerk(t, newServer(t, f, func(c *Config) {
		c.Staff = append(c.Staff, Staff{ID: 9, Name: "店主", PINHash: pins()[2], Rights: Rights})
	}))
	f.insert(cardA)
	_, v = b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	path = "/api/v1/transactions/" + v["id"].(string) + "/void"
	for name, c := range map[string]struct {
		body   string
		status int
		code   terminal.Code
	}{
		"nobody":              {`{}`, 403, CodeSecond},
		"the same person":     {`{"second":"7","second_pin":"2468"}`, 403, CodeSecond},
		"one without a right": {`{"second":"8","second_pin":"1357"}`, 403, CodeSecond},
		"wrong PIN":           {`{"second":"9","second_pin":"0000"}`, 401, CodeLoginFailed},
	} {
		t.Run(name, func(t *testing.T) {
			code, v := b.do("POST", path, c.body, key()...)
			wantRefusal(t, code, v, c.status, c.code)
		})
	}
	if code, v := b.do("POST", path, `{"second":"9","second_pin":"9999"}`, key()...); code != 200 {
		t.Errorf("with a second person: %d %v", code, v)
	}
}

func TestSale(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	body := fmt.Sprintf(`{"card":"%s","amount":5000,"tendered":5000}`, stock)
	f.insert(stock)
	f.result = journal.NotDone
	code, v := b.do("POST", "/api/v1/sales", body, key()...)
	child, _ := v["child"].(map[string]any)
	if code != 200 || v["result"] != "done" || v["overall"] != "not_done" || child["cash_owed"] != true {
		t.Fatalf("sale whose first load is not done: %d %v", code, v)
	}
	if s := v["money"].(map[string]any)["en"].(string); !strings.Contains(s, "¥50.00") {
		t.Errorf("the cash of the load is not named: %q", s)
	}
	_, v = b.do("GET", "/api/v1/transactions?limit=1", "")
	if l := v["transactions"].([]any); len(l) != 1 || v["next"] == "" {
		t.Errorf("list %v", v)
	}
	_, v2 := b.do("GET", "/api/v1/transactions?limit=1&before="+v["next"].(string), "")
	if l := v2["transactions"].([]any); len(l) != 1 || l[0].(map[string]any)["kind"] != "sale" {
		t.Errorf("second page %v", v2)
	}
	for _, q := range []string{"limit=0", "limit=101", "limit=x", "before=x"} {
		code, v := b.do("GET", "/api/v1/transactions?"+q, "")
		wantRefusal(t, code, v, 400, CodeBadRequest)
	}
}

// The drawer is counted blind: what should be in it is told after the close.
func TestBlindCount(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	f.insert(cardA)
	b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 10000), key()...)
	_, v := b.do("GET", "/api/v1/status", "")
	shift := v["till"].(map[string]any)["shift"].(map[string]any)
	if shift["expected"] != nil || shift["open"] != true {
		t.Errorf("before the count: %v", shift)
	}
	code, v := b.do("POST", "/api/v1/shift/close", `{"counted":24900}`)
	wantRefusal(t, code, v, 400, CodeNoKey)
	k := key()
	code, v = b.do("POST", "/api/v1/shift/close", `{"counted":24900}`, k...)
	if code != 200 || v["expected"] != 25000.0 || v["counted"] != 24900.0 {
		t.Errorf("after the count: %d %v", code, v)
	}
	if code, again := b.do("POST", "/api/v1/shift/close", `{"counted":24900}`, k...); code != 200 || again["id"] != v["id"] {
		t.Errorf("the same close again: %d %v", code, again)
	}
	code, v = b.do("POST", "/api/v1/shift/close", `{"counted":24900}`, key()...)
	wantRefusal(t, code, v, 409, terminal.CodeShiftClosed)
}

func TestCustomersLookupsAreLimited(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	k := open(t, s)
	k.raw("GET", "/kiosk", "")
	refused := 0
	for range 20 {
		if code, _ := k.do("GET", "/api/v1/accounts/0100000017", ""); code == 429 {
			refused++
		}
	}
	if refused < 5 {
		t.Errorf("20 accounts at once, %d refused", refused)
	}
}

func TestListen(t *testing.T) {
	for _, a := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:80"} {
		if l, err := Listen(a, false); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", a, err)
			if l != nil {
				l.Close()
			}
		}
	}
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestDeskOnlyInSim(t *testing.T) {
	f := newFake()
	real := open(t, newServer(t, f))
	for _, p := range []string{"/sim", "/desk"} {
		code, v := real.do("GET", p, "")
		wantRefusal(t, code, v, 404, CodeNoPage)
	}
	code, v := real.do("POST", "/sim/put", `{"card":"wang"}`)
	wantRefusal(t, code, v, 404, CodeNoPage)

	b := open(t, newServer(t, f, func(c *Config) { c.Desk = fakeDesk{f} }))
	if code, v := b.do("POST", "/sim/put", `{"card":"wang"}`); code != 200 || f.status.Card.Number != cardA {
		t.Errorf("put: %d %v", code, v)
	}
	code, v = b.do("POST", "/sim/put", `{"card":"li"}`)
	wantRefusal(t, code, v, 409, CodeDesk)
	for _, c := range [][2]string{{"/sim/tear", `{"when":"later"}`}, {"/sim/clock", `{"seconds":99999999999}`}} {
		code, v = b.do("POST", c[0], c[1])
		wantRefusal(t, code, v, 409, CodeDesk)
	}
	code, v = b.do("POST", "/sim/put", `{"card":"li"}`, "Sec-Fetch-Site", "cross-site")
	wantRefusal(t, code, v, 403, CodeCrossSite)
	b.do("POST", "/sim/link", `{"up":false}`)
	b.do("POST", "/sim/tear", `{"when":"during"}`)
	_, v = b.do("POST", "/sim/clock", `{"seconds":86400}`)
	if v["link"] != false || v["tear"] != "during" || v["clock"] != "2026-11-24T14:05:00+08:00" {
		t.Errorf("desk %v", v)
	}
}

// The kiosk is told what became of the slip that its customer holds, and of
// nobody else's.
func TestKioskSeesOnlyWhatItsCardSettled(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	b := open(t, s)
	b.raw("GET", "/kiosk", "")
	f.insert(cardA)
	f.with(func() { f.result = journal.Unknown })
	body := fmt.Sprintf(`{"card":%q,"account":%q,"amount":1000}`, cardA, acct)
	_, v := b.do("POST", "/api/v1/redemptions", body, append(key(), "Dianka-Screen", "kiosk")...)
	path := "/api/v1/transactions/" + v["id"].(string)
	ask := func() (int, map[string]any) { return b.do("GET", path, "", "Dianka-Screen", "kiosk") }

	code, v := ask() // not settled: the screen that asked has its answer
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	f.insert(money.CardNumber{})
	f.insert(cardA)
	if code, v = ask(); code != 200 || v["overall"] != "done" {
		t.Errorf("the card settled it and the kiosk is told %d %v", code, v)
	}
	f.insert(cardB)
	code, v = ask()
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	if code, _ := open(t, s).do("GET", path, ""); code != 401 {
		t.Errorf("without a session: %d", code)
	}
}
