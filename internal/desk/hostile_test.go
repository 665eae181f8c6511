package desk

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/wire"
)

// caller calls the local API past every page.
type caller struct {
	*testing.T
	url string
	c   http.Client
}

func (r *running) caller() *caller {
	r.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.Fatal(err)
	}
	c := &caller{T: r.T, url: r.screens(), c: http.Client{Jar: jar}}
	if code, v := c.post("/api/v1/login", "", `{"staff":"1","pin":"1234"}`); code != 200 {
		r.Fatal(code, v)
	}
	return c
}

func (c *caller) post(path, key, body string) (int, map[string]any) {
	c.Helper()
	q, err := http.NewRequest("POST", c.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		c.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Dianka-Screen", "clerk")
	if key != "" {
		q.Header.Set("Idempotency-Key", key)
	}
	return c.send(q)
}

func (c *caller) get(path string) (int, map[string]any) {
	c.Helper()
	q, err := http.NewRequest("GET", c.url+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	return c.send(q)
}

func (c *caller) send(q *http.Request) (int, map[string]any) {
	a, err := c.c.Do(q)
	if err != nil {
		c.Error(err)
		return 0, nil
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	v := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		c.Errorf("%s: %v in %s", q.URL.Path, err, b)
	}
	return a.StatusCode, v
}

// another enrols a terminal of another shop, of which the test is the program.
func (r *running) another() (ask func(seq uint64, in journal.ClaimIntent) wire.Code) {
	r.Helper()
	s := r.Utility.Service
	id, shop := money.TerminalID{0x31, 0x01, 0, 0, 0x77, 0x77}, money.ShopID(99000001)
	if err := s.AddShop(r.ctx, shop, "the other corner", 0); err != nil {
		r.Fatal(err)
	}
	code, err := s.NewEnrolmentCode(r.ctx, id, shop, money.SAMID{}, money.SAMID{})
	if err != nil {
		r.Fatal(err)
	}
	key, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		r.Fatal(err)
	}
	e, err := s.Enrol(r.ctx, utility.Enrolment{Code: code, RecordKey: key, Terminal: id})
	if err != nil {
		r.Fatal(err)
	}
	return func(seq uint64, in journal.ClaimIntent) wire.Code {
		a, err := s.Collect(r.ctx, id, wire.CollectQuestion{Name: journal.Name{Terminal: id, Epoch: e.Epoch, Seq: seq}, Intent: in})
		if err != nil {
			r.Error(err)
		}
		return a.Refused
	}
}

// room gives the shop room to sell, or takes all of it.
func (r *running) room(some bool) {
	r.Helper()
	float := r.balance(ledger.Shop(Shop))
	want, ceiling := money.Fen(0), money.Fen(0)
	if some {
		want, ceiling = 5000_00, 1000_00
	}
	s := r.Utility.Service
	if err := s.AddShop(r.ctx, Shop, "幸福路便利店", ceiling); err != nil {
		r.Fatal(err)
	}
	if want != float {
		if err := s.PayFloat(r.ctx, Shop, want-float, "desk/room"); err != nil {
			r.Fatal(err)
		}
	}
}

// TestHostileCounter sends the calls of the counter as whoever has the shop's
// network would, to the whole desk with the utility behind it: again, at once,
// in another order, with other numbers, and from two terminals. Then cash,
// journal and ledger must agree to the fen.
func TestHostileCounter(t *testing.T) {
	r := start(t, Options{})
	r.until("the link and the limits", func(s terminal.Status) bool { return s.Online && !s.LimitsAt.IsZero() && s.Allowance.Known })
	if err := r.Utility.Service.SetAllowancePolicy(r.ctx, TerminalID, 0, 0); err != nil {
		t.Fatal(err)
	}
	c, other := r.caller(), r.another()
	if code, v := c.post("/api/v1/shift/open", "", `{"cash":10000}`); code != 200 {
		t.Fatal(code, v)
	}
	account := accounts[0]
	bill := func(amount money.Fen) string {
		return fmt.Sprintf(`{"account":"%s","amount":%d,"tendered":%d,"again":"%s"}`, account.Number, amount, amount, account.Number)
	}
	drawer, paid := money.Fen(100_00), money.Fen(0)
	atOnce := func(n int, do func(i int)) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { do(i) })
		}
		wg.Wait()
	}

	// One key is one bill, however often and at once it is sent.
	var mu sync.Mutex
	ids := map[any]int{}
	atOnce(12, func(int) {
		code, v := c.post("/api/v1/bills", "the-first-bill", bill(40_00))
		mu.Lock()
		defer mu.Unlock()
		if ids[v["id"]]++; code != 200 || v["overall"] != "done" {
			t.Errorf("%d %v", code, v)
		}
	})
	if len(ids) != 1 {
		t.Errorf("one key became %v", ids)
	}
	drawer, paid = drawer+40_00, paid+40_00
	for what, x := range map[string]struct {
		key, body string
		code      int
		word      string
	}{
		"the key of another":        {"the-first-bill", bill(40_01), 409, "token_reused"},
		"another account":           {"the-first-bill", fmt.Sprintf(`{"account":"%s","amount":4000,"tendered":4000}`, accounts[1].Number), 409, "token_reused"},
		"no key":                    {"", bill(1_00), 400, "no_key"},
		"over the limit":            {"over-the-limit", bill(r.Station.Terminal.Status().Limits.RedeemMax + 1), 422, "redeem_max"},
		"over every limit":          {"over-all-limits", bill(1 << 40), 400, "bad_request"},
		"over an int64":             {"over-an-int64", `{"account":"0100000017","amount":9223372036854775808,"tendered":9223372036854775808}`, 400, "bad_request"},
		"less than nothing":         {"less-than-nothing", bill(-1), 422, "amount"},
		"a fraction":                {"a-fraction", `{"account":"0100000017","amount":1.5,"tendered":2}`, 400, "bad_request"},
		"an exponent":               {"an-exponent", `{"account":"0100000017","amount":1e3,"tendered":1000}`, 400, "bad_request"},
		"the amount twice":          {"amount-twice", `{"account":"0100000017","amount":100,"amount":1,"tendered":100}`, 400, "bad_request"},
		"less cash than the bill":   {"less-cash", `{"account":"0100000017","amount":100,"tendered":99}`, 422, "tendered"},
		"an account of nobody":      {"of-nobody", `{"account":"0999999999","amount":100,"tendered":100,"again":"0999999999"}`, 404, "account_unknown"},
		"as somebody else":          {"somebody-else", `{"account":"0100000017","amount":100,"tendered":100,"staff":"9"}`, 400, "bad_request"},
		"under another shop's name": {"other-shop", `{"account":"0100000017","amount":100,"tendered":100,"shop":"99000001"}`, 400, "bad_request"},
	} {
		if code, v := c.post("/api/v1/bills", x.key, x.body); code != x.code || v["code"] != x.word {
			t.Errorf("%s: %d %v", what, code, v["code"])
		}
	}

	// What was refused for want of room is owed. Two screens give it back, two
	// pay it out as a claim, and another shop's terminal does, all at once.
	const rounds = 4
	elsewhere := money.Fen(0)
	for i := range rounds {
		amount := money.Fen(30_00 + i)
		r.room(false)
		code, v := c.post("/api/v1/bills", fmt.Sprintf("without-room-%d", i), bill(amount))
		if code != 200 || v["overall"] != "not_done" || v["cash_owed"] != true {
			t.Fatalf("without room: %d %v", code, v)
		}
		r.room(true)
		r.synced()
		drawer += amount
		id := v["id"].(string)
		name, err := journal.ParseName(id)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		told := func(where string, done bool) {
			mu.Lock()
			defer mu.Unlock()
			if done {
				got[where]++
			}
		}
		atOnce(6, func(k int) {
			switch k % 3 {
			case 0:
				code, v := c.post("/api/v1/transactions/"+id+"/cash-returned", fmt.Sprintf("returned-%d-%d", i, k), `{}`)
				told("here", code == 200 && (v["overall"] == "done" || v["cash_returned"] == true))
			case 1:
				code, v := c.post("/api/v1/claims/"+id+"/payout", fmt.Sprintf("claimed-%d-%d", i, k), fmt.Sprintf(`{"amount":%d}`, amount))
				told("here", code == 200 && v["overall"] == "done")
			case 2:
				told("elsewhere", other(uint64(100*i+k), journal.ClaimIntent{Claim: name, Amount: amount, How: journal.PayoutCash}) == wire.OK)
			}
		})
		if got["here"]+got["elsewhere"] != 1 {
			t.Errorf("round %d: paid out %v", i, got)
		}
		if got["here"] == 1 {
			drawer -= amount
		} else {
			elsewhere += amount
		}
		// Afterwards nobody gets it again, with whatever key.
		for k, path := range []string{"/api/v1/transactions/" + id + "/cash-returned", "/api/v1/claims/" + id + "/payout"} {
			body := []string{`{}`, fmt.Sprintf(`{"amount":%d}`, amount)}[k]
			if code, v := c.post(path, fmt.Sprintf("afterwards-%d-%d", i, k), body); code == 200 && (v["overall"] == "done" || v["cash_returned"] == true) {
				t.Errorf("%s pays it again: %v", path, v)
			}
		}
	}

	// Slips that were never given, of this terminal and of others.
	for i, id := range []string{
		journal.Name{Terminal: TerminalID, Epoch: 1, Seq: 999_999}.String(), journal.Name{Terminal: TerminalID, Epoch: 7, Seq: 1}.String(),
		journal.Name{Terminal: TerminalID, Epoch: 1, Seq: 1}.String(), journal.Name{Terminal: money.TerminalID{0x31, 9}, Epoch: 1, Seq: 5}.String(),
	} {
		if code, v := c.post("/api/v1/claims/"+id+"/payout", fmt.Sprintf("never-given-%d", i), `{"amount":100}`); code == 200 && v["overall"] != "not_done" || code == 500 || code == 503 {
			t.Errorf("%s: %d %v", id, code, v)
		}
		if code, v := c.get("/api/v1/claims/" + id); code == 200 {
			t.Errorf("%s: %v", id, v)
		}
	}

	// A block asked for by many at once is one for each key, and moves nothing.
	atOnce(6, func(k int) {
		code, v := c.post("/api/v1/blocks", fmt.Sprintf("block-it-%d", k%2), fmt.Sprintf(`{"card":"%s","reason":"lost"}`, r.Number("li")))
		if code != 200 {
			t.Errorf("block: %d %v", code, v)
		}
	})

	// The drawer is counted blind and holds what was told, to the fen.
	r.synced()
	code, v := c.post("/api/v1/shift/close", "the-close-of-it", fmt.Sprintf(`{"counted":%d}`, drawer))
	if code != 200 || v["difference"] != 0.0 {
		t.Errorf("%d: counted %d, expected %v", code, drawer, v["expected"])
	}
	if owed, _ := v["owed"].(map[string]any); elsewhere == 0 && owed["cash"] != 0.0 {
		t.Errorf("still owed: %v", owed)
	}
	for i, body := range []string{`{"counted":1}`, `{"counted":0}`} {
		if code, v := c.post("/api/v1/shift/close", "the-close-of-it", body); code != 409 {
			t.Errorf("%d: another count after the expected was seen: %d %v", i, code, v["counted"])
		}
		if code, v := c.post("/api/v1/shift/close", fmt.Sprintf("another-close-%d", i), body); code != 409 {
			t.Errorf("%d: closed again: %d %v", i, code, v["counted"])
		}
	}
	r.synced()
	if got := r.balance(ledger.Customer(account.Number)); got != paid-account.Owes {
		t.Errorf("the account stands at %s, paid was %s", got, paid)
	}
	claims, err := r.Utility.Service.Claims(r.ctx)
	if err != nil || len(claims) != 0 {
		t.Errorf("still waiting: %v %v", claims, err)
	}
	if got := r.balance(ledger.Shop(99000001)); got != elsewhere {
		t.Errorf("the other shop has %s for %s of cash", got, elsewhere)
	}
	if held, err := r.Utility.Service.Quarantine(r.ctx); err != nil || len(held) != 0 {
		t.Errorf("in quarantine: %v %v", held, err)
	}
	r.audited()
}
