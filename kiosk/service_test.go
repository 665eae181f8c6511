package kiosk

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/dianka/dianka/journal"
)

const toolTopUp = `{"card":"31010000000000004821","amount":5000,"tendered":5000}`

// A technician is a person with a number, a PIN and the right, and what is
// done by the tool is the technician's, not the clerk's at the screen.
func TestService(t *testing.T) {
	f := newFake()
	s := newServer(t, f, func(c *Config) {
		c.Staff = slices.Clone(c.Staff)
		c.Staff[0].Rights = []string{RightService, RightTopUp, RightSettle}
	})
	screen := clerk(t, s)
	f.insert(cardA)
	tool := open(t, s.Service())
	key := []string{"Idempotency-Key", "wish-0001"}

	if code, v := tool.do("POST", "/api/v1/topups", toolTopUp, key...); code != 401 || v["code"] != string(CodeLoginNeeded) {
		t.Errorf("nobody: %d %v", code, v)
	}
	if code, v := tool.login("8", "1357"); code != 403 || v["code"] != "not_allowed" {
		t.Errorf("without the right: %d %v", code, v)
	}
	if code, v := tool.login("7", "0000"); code != 401 {
		t.Errorf("wrong PIN: %d %v", code, v)
	}
	tool.cookies = map[string]string{clerkCookie: screen.cookies[clerkCookie]}
	if code, v := tool.do("POST", "/api/v1/topups", toolTopUp, key...); code != 401 {
		t.Errorf("the session of a screen: %d %v", code, v)
	}
	if code, v := tool.login("7", "2468"); code != 200 {
		t.Fatalf("%d %v", code, v)
	}
	if code, v := tool.do("POST", "/api/v1/redemptions", `{"card":"31010000000000004821","account":"0100000017","amount":100}`, "Idempotency-Key", "wish-0002"); code != 403 {
		t.Errorf("a redemption without the right: %d %v", code, v)
	}
	code, v := tool.do("POST", "/api/v1/topups", toolTopUp, key...)
	if code != 200 || fmt.Sprint(v["actor"]) != "map[id:7 kind:technician]" {
		t.Errorf("%d %v", code, v["actor"])
	}
	if code, v := tool.do("GET", "/api/v1/transactions", ""); code != 404 {
		t.Errorf("what the tool does not need: %d %v", code, v)
	}
	other := open(t, s)
	other.cookies[clerkCookie] = tool.cookies[clerkCookie]
	if code, v := other.do("POST", "/api/v1/topups", toolTopUp, "Idempotency-Key", "wish-0003"); code != 401 {
		t.Errorf("the tool's session at a screen: %d %v", code, v)
	}
	tool.do("POST", "/api/v1/logout", `{}`)

	var got []string
	for _, e := range f.acts {
		b := e.Body.(*journal.Staff)
		got = append(got, fmt.Sprintf("%d/%s %s %s", e.Actor.Kind, e.Actor.ID, b.Act, b.Detail))
	}
	for _, want := range []string{"4/8 refused service", "4/7 login ", "4/7 refused redeem", "4/7 logout "} {
		if !slices.Contains(got, want) {
			t.Errorf("the journal does not say %q: %q", want, got)
		}
	}
}

// A terminal without a clerk's screen has technicians all the same.
func TestServiceOfKiosk(t *testing.T) {
	s := newServer(t, newFake(), func(c *Config) { c.Mode = ModeKiosk })
	if code, v := open(t, s.Service()).login("7", "2468"); code != 200 {
		t.Errorf("%d %v", code, v)
	}
	if code, v := open(t, s).login("7", "2468"); code != 404 {
		t.Errorf("at the screen: %d %v", code, v)
	}
}

// A wish whose answer was lost is asked about, and what had not begun then
// never begins.
func TestAskWish(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	clerk(t, s)
	f.insert(cardA)
	tool := open(t, s.Service())
	ask := func(key string) (int, map[string]any) {
		t.Helper()
		return tool.do("POST", "/api/v1/wishes", fmt.Sprintf(`{"key":%q}`, key))
	}
	if code, _ := ask("wish-0001"); code != 401 {
		t.Errorf("nobody: %d", code)
	}
	tool.login("7", "2468")
	if code, v := ask("x"); code != 400 {
		t.Errorf("%d %v", code, v)
	}
	if code, v := ask("wish-0001"); code != 410 || v["code"] != "not_begun" {
		t.Errorf("unknown: %d %v", code, v)
	}
	// The call was on its way all the time.
	if code, v := tool.do("POST", "/api/v1/topups", toolTopUp, "Idempotency-Key", "wish-0001"); code != 410 || len(f.list) != 0 {
		t.Errorf("late: %d %v, %d booked", code, v, len(f.list))
	}
	_, first := tool.do("POST", "/api/v1/topups", toolTopUp, "Idempotency-Key", "wish-0002")
	for range 2 {
		if code, v := ask("wish-0002"); code != 200 || v["id"] != first["id"] {
			t.Errorf("known: %d %v, want %v", code, v["id"], first["id"])
		}
	}
	if code, v := tool.do("POST", "/api/v1/topups", toolTopUp, "Idempotency-Key", "wish-0002"); code != 200 || v["id"] != first["id"] || len(f.list) != 1 {
		t.Errorf("the same again: %d %v, %d booked", code, v["id"], len(f.list))
	}
}

// A call under way is waited for: to say meanwhile that it began nothing would
// be a lie.
func TestAskWishUnderWay(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	clerk(t, s)
	f.insert(cardA)
	tool, again := open(t, s.Service()), open(t, s.Service())
	tool.login("7", "2468")
	again.login("7", "2468")
	synctest.Test(t, func(t *testing.T) {
		f.with(func() { f.gate, f.entered = make(chan struct{}), make(chan struct{}, 1) })
		go tool.do("POST", "/api/v1/topups", toolTopUp, "Idempotency-Key", "wish-0001")
		<-f.entered
		asked := make(chan string, 1)
		go func() {
			code, v := again.do("POST", "/api/v1/wishes", `{"key":"wish-0001"}`)
			asked <- fmt.Sprint(code, v["result"])
		}()
		synctest.Wait()
		select {
		case got := <-asked:
			t.Errorf("answered while it was under way: %s", got)
		default:
		}
		close(f.gate)
		if got := <-asked; got != "200done" && got != "200 done" {
			t.Error(got)
		}
	})
}
