package kiosk

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

func billBodyOf(amount, tendered int) string {
	return fmt.Sprintf(`{"account":"%s","amount":%d,"tendered":%d}`, acct, amount, tendered)
}

// The calls of the counter as whoever has the shop's network would send them:
// again, at once, in another order, by another person, with other numbers.
func TestCounterIsPaidOnce(t *testing.T) {
	for name, c := range map[string]struct{ path, body string }{
		"bill":    {"/api/v1/bills", billBodyOf(5000, 5000)},
		"claim":   {"/api/v1/claims/" + slipA.String() + "/payout", `{"amount":5000}`},
		"as load": {"/api/v1/claims/" + slipA.String() + "/payout", fmt.Sprintf(`{"amount":5000,"load":true,"card":"%s"}`, cardA)},
		"block":   {"/api/v1/blocks", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardB)},
		"replace": {"/api/v1/replacements", fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardA)},
		"empty":   {"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			s := newServer(t, f)
			b := clerk(t, s)
			f.insert(cardA)
			k := key()
			var wg sync.WaitGroup
			var mu sync.Mutex
			ids := map[string]bool{}
			for range 20 {
				wg.Go(func() {
					mine := open(t, s)
					mine.cookies[clerkCookie] = b.cookies[clerkCookie]
					code, v := mine.do("POST", c.path, c.body, k...)
					mu.Lock()
					defer mu.Unlock()
					if code != 200 || v["overall"] != "done" {
						t.Errorf("%d %v", code, v)
						return
					}
					ids[v["id"].(string)] = true
				})
			}
			wg.Wait()
			if len(ids) != 1 {
				t.Errorf("one wish became %v", ids)
			}
			if in, out := f.status.Shift.CashIn, f.status.Shift.CashOut; in > 5000 || out > 5000 {
				t.Errorf("in %s, out %s", in, out)
			}
		})
	}
}

// Two slips in hand, one claim: the second key gets nothing.
func TestClaimTwoKeys(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	b := clerk(t, s)
	path := "/api/v1/claims/" + slipA.String() + "/payout"
	for i, want := range []string{"done", "not_done", "not_done"} {
		if code, v := b.do("POST", path, `{"amount":5000}`, key()...); code != 200 || v["overall"] != want || v["claim"] != slipA.String() {
			t.Errorf("%d: %d %v", i, code, v)
		}
	}
	if code, v := b.do("POST", "/api/v1/claims/"+slipB.String()+"/payout", `{"amount":2001}`, key()...); code != 200 || v["overall"] != "not_done" {
		t.Errorf("more than waits: %d %v", code, v["overall"])
	}
	if f.status.Shift.CashOut != 5000 {
		t.Errorf("out %s", f.status.Shift.CashOut)
	}
	code, v := b.do("GET", "/api/v1/claims/"+slipA.String(), "")
	wantRefusal(t, code, v, 404, terminal.CodeNoClaim)
	if v["why"] == nil {
		t.Errorf("no reason: %v", v)
	}
}

func TestCounterRefuses(t *testing.T) {
	f := &counted{fake: newFake()}
	s := newServer(t, f.fake, func(c *Config) { c.Terminal = f })
	b := clerk(t, s)
	f.insert(cardA)
	f.moved.Store(0)
	for name, c := range map[string]struct{ path, body string }{
		"load without a card":          {"/api/v1/claims/" + slipA.String() + "/payout", `{"amount":5000,"load":true}`},
		"a card without load":          {"/api/v1/claims/" + slipA.String() + "/payout", fmt.Sprintf(`{"amount":5000,"card":"%s"}`, cardA)},
		"a member twice":               {"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":5000,"amount":1,"tendered":5000}`, acct)},
		"a member too many":            {"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":5000,"tendered":5000,"token":"x"}`, acct)},
		"the actor of another":         {"/api/v1/bills", fmt.Sprintf(`{"account":"%s","amount":5000,"tendered":5000,"who":"9"}`, acct)},
		"a block for no reason":        {"/api/v1/blocks", fmt.Sprintf(`{"card":"%s"}`, cardB)},
		"a block for another reason":   {"/api/v1/blocks", fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardB)},
		"a block of nothing":           {"/api/v1/blocks", `{"reason":"lost"}`},
		"an emptying of no card":       {"/api/v1/card/empty", `{"amount":12000}`},
		"an emptying to an account":    {"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000,"account":"%s"}`, cardA, acct)},
		"a replacement of a lost card": {"/api/v1/replacements", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardA)},
	} {
		code, v := b.do("POST", c.path, c.body, key()...)
		if code != 400 || v["code"] != string(CodeBadRequest) {
			t.Errorf("%s: %d %v", name, code, v["code"])
		}
	}
	for _, path := range []string{"/api/v1/claims/x", "/api/v1/claims/310100009999-0-8", "/api/v1/claims/310100009999-1"} {
		if code, _ := b.do("POST", path+"/payout", `{"amount":5000}`, key()...); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
		if code, _ := b.do("GET", path, ""); code != 400 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	// The customer's screen takes no cash, looks no claim up and blocks nothing.
	k := open(t, s)
	k.raw("GET", "/kiosk", "")
	for _, c := range moneyCalls {
		if !slices.Contains([]string{"/api/v1/bills", "/api/v1/claims/" + slipA.String() + "/payout", "/api/v1/blocks", "/api/v1/replacements", "/api/v1/card/empty"}, c.path) {
			continue
		}
		x := open(t, s)
		x.cookies[kioskCookie] = k.cookies[kioskCookie]
		if code, _ := x.do("POST", c.path, c.body, append(key(), "Dianka-Screen", "kiosk")...); code != 403 {
			t.Errorf("the kiosk at %s: %d", c.path, code)
		}
	}
	if code, _ := k.do("GET", "/api/v1/claims/"+slipA.String(), "", "Dianka-Screen", "kiosk"); code != 403 {
		t.Errorf("the kiosk looks a claim up: %d", code)
	}
	if n := f.moved.Load(); n != 0 {
		t.Errorf("%d calls reached the terminal", n)
	}
}

// Each right opens its own calls and no other.
func TestCounterRights(t *testing.T) {
	for path, c := range map[string]struct{ body, right string }{
		"/api/v1/bills": {billBodyOf(5000, 5000), RightRedeem},
		"/api/v1/claims/" + slipA.String() + "/payout": {`{"amount":5000}`, RightTopUp},
		"/api/v1/blocks":       {fmt.Sprintf(`{"card":"%s","reason":"stolen"}`, cardB), RightReplace},
		"/api/v1/replacements": {fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardB), RightReplace},
		"/api/v1/card/empty":   {fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), RightReplace},
	} {
		f := newFake()
		var rights []string
		for _, r := range Rights {
			if r != c.right {
				rights = append(rights, r)
			}
		}
		s := newServer(t, f, func(c *Config) { c.Staff = slices.Clone(c.Staff); c.Staff[0].Rights = rights })
		b := open(t, s)
		b.login("7", "2468")
		f.with(func() { f.status.ShiftOpen = true })
		code, v := b.do("POST", path, c.body, key()...)
		wantRefusal(t, code, v, http.StatusForbidden, terminal.CodeNotAllowed)
		if len(f.list) != 0 {
			t.Errorf("%s without %s", path, c.right)
		}
	}
}

// What a clerk is told of every end.
func TestCounterEnds(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		result     journal.Result
		want       string
		owed       bool
		reason     string
	}{
		"bill done":        {"/api/v1/bills", billBodyOf(5000, 10000), journal.Done, "done", false, ""},
		"bill not done":    {"/api/v1/bills", billBodyOf(5000, 10000), journal.NotDone, "not_done", true, "host_refused"},
		"bill unknown":     {"/api/v1/bills", billBodyOf(5000, 10000), journal.Unknown, "unknown", false, "host_unreachable"},
		"claim unknown":    {"/api/v1/claims/" + slipA.String() + "/payout", `{"amount":5000}`, journal.Unknown, "unknown", false, "host_unreachable"},
		"block unknown":    {"/api/v1/blocks", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardB), journal.Unknown, "unknown", false, "host_unreachable"},
		"block unnamed":    {"/api/v1/blocks", fmt.Sprintf(`{"card":"%s","reason":"lost"}`, cardA), journal.Done, "not_done", false, "host_refused"},
		"emptied done":     {"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), journal.Done, "done", false, ""},
		"emptied not done": {"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), journal.NotDone, "not_done", false, "card_removed"},
		"emptied unknown":  {"/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), journal.Unknown, "unknown", false, "card_removed"},
		"replace done":     {"/api/v1/replacements", fmt.Sprintf(`{"card":"%s","reason":"damaged"}`, cardA), journal.Done, "done", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			s := newServer(t, f)
			b := clerk(t, s)
			f.insert(cardA)
			f.with(func() { f.result = c.result })
			code, v := b.do("POST", c.path, c.body, key()...)
			if code != 200 || v["overall"] != c.want || v["cash_owed"] != c.owed {
				t.Fatalf("%d %v", code, v)
			}
			for _, lang := range words.Languages {
				if text := fmt.Sprint(v["sentence"], v["money"], v["next"]); v["sentence"].(map[string]any)[lang] == "" || slices.Contains([]byte(text), '{') {
					t.Errorf("%s: %s", lang, text)
				}
			}
			if r, _ := v["reason"].(map[string]any); c.reason != "" && (r == nil || r["code"] != c.reason) {
				t.Errorf("reason %v", v["reason"])
			}
			if (c.reason == "host_refused") != (v["utility"] != nil) {
				t.Errorf("the utility's reason: %v", v["utility"])
			}
		})
	}
}

// What a damaged card held waits under the number of its emptying, is looked up
// by it, and is put on another card once.
func TestEmptiedCardIsCarriedOver(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	b := clerk(t, s)
	f.insert(cardA)
	code, v := b.do("POST", "/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":11999}`, cardA), key()...)
	wantRefusal(t, code, v, http.StatusConflict, terminal.CodeBalanceMoved)
	code, v = b.do("POST", "/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), key()...)
	if code != 200 || v["overall"] != "done" || v["kind"] != "emptied" || v["balance"] != 0.0 || v["account"] != "" {
		t.Fatalf("%d %v", code, v)
	}
	id := v["id"].(string)
	code, v = b.do("POST", "/api/v1/card/empty", fmt.Sprintf(`{"card":"%s","amount":12000}`, cardA), key()...)
	wantRefusal(t, code, v, http.StatusConflict, terminal.CodeCardEmpty)
	if code, v := b.do("GET", "/api/v1/claims/"+id, ""); code != 200 || v["kind"] != "replace" || v["amount"] != 12000.0 {
		t.Errorf("%d %v", code, v)
	}
	f.insert(cardB)
	pay := fmt.Sprintf(`{"amount":12000,"load":true,"card":"%s"}`, cardB)
	if code, v := b.do("POST", "/api/v1/claims/"+id+"/payout", pay, key()...); code != 200 || v["overall"] != "done" {
		t.Errorf("%d %v", code, v)
	}
	if code, v := b.do("POST", "/api/v1/claims/"+id+"/payout", pay, key()...); code != 200 || v["overall"] != "not_done" {
		t.Errorf("a second time: %d %v", code, v)
	}
}

// TestAskAgainCall: any clerk may ask how something ended; what is answered is
// the transaction as it stands then, and nothing new.
func TestAskAgainCall(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	b := clerk(t, s)
	f.with(func() { f.result = journal.Unknown })
	_, v := b.do("POST", "/api/v1/bills", billBodyOf(5000, 5000), key()...)
	path := "/api/v1/transactions/" + v["id"].(string) + "/ask"
	if code, a := b.do("POST", path, `{}`); code != 200 || a["overall"] != "unknown" || a["id"] != v["id"] {
		t.Errorf("%d %v", code, a)
	}
	f.with(func() { f.status.Online = false })
	code, a := b.do("POST", path, `{}`)
	wantRefusal(t, code, a, http.StatusServiceUnavailable, terminal.CodeNoLink)
	f.with(func() { f.status.Online, f.ends = true, journal.Done })
	for range 2 {
		if code, a := b.do("POST", path, `{}`); code != 200 || a["overall"] != "done" || a["id"] != v["id"] || a["was_unknown"] != true {
			t.Errorf("%d %v", code, a)
		}
	}
	if len(f.list) != 1 {
		t.Errorf("%d transactions", len(f.list))
	}
	code, a = b.do("POST", "/api/v1/transactions/310100001234-1-999/ask", `{}`)
	wantRefusal(t, code, a, http.StatusNotFound, terminal.CodeNotFound)
	if code, _ := b.do("POST", path, `{"amount":1}`); code != 400 {
		t.Errorf("with a member too many: %d", code)
	}
}
