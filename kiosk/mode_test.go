package kiosk

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

// customer opens the customer's page.
func customer(t *testing.T, s *Server) *browser {
	t.Helper()
	b := open(t, s)
	b.header["Dianka-Screen"] = "kiosk"
	b.raw("GET", "/kiosk", "")
	return b
}

// A page that the terminal does not offer says so in a plain sentence, and
// nobody gets a right by it.
func TestModes(t *testing.T) {
	f := newFake()
	f.insert(cardA)
	redeem := fmt.Sprintf(`{"card":"%s","account":"%s","amount":100}`, cardA, acct)
	for _, c := range []struct {
		mode         Mode
		clerk, kiosk bool
	}{{"", true, true}, {ModeBoth, true, true}, {ModeCounter, true, false}, {ModeKiosk, false, true}} {
		t.Run(string(c.mode), func(t *testing.T) {
			s := newServer(t, f, func(cfg *Config) { cfg.Mode = c.mode })
			b := open(t, s)
			home := b.raw("GET", "/", "").Body.String()
			for screen, offered := range map[string]bool{"clerk": c.clerk, "kiosk": c.kiosk} {
				w := b.raw("GET", "/"+screen, "")
				says := strings.Contains(w.Body.String(), s.words.in("zh-CN", "refusal.not_offered.sentence")+"</h1>")
				if offered && (w.Code != http.StatusOK || says) || !offered && (w.Code != http.StatusNotFound || !says) {
					t.Errorf("%s answers %d", screen, w.Code)
				}
				if strings.Contains(home, `href="/`+screen) != offered {
					t.Errorf("the first page leads to %s: %t", screen, !offered)
				}
			}
			if got := b.cookies[kioskCookie] != ""; got != c.kiosk {
				t.Errorf("a customer's session: %t", got)
			}
			// A cookie of before the terminal was configured anew is worth nothing.
			k := customer(t, s)
			k.cookies[kioskCookie], _ = s.door.open(nil, false)
			if status, v := k.do("POST", "/api/v1/redemptions", redeem, key()...); (status == http.StatusOK) != c.kiosk {
				t.Errorf("a customer's payment answers %d %v", status, v)
			}
			k = open(t, s)
			k.cookies[clerkCookie], _ = s.door.open(s.door.staff[0], false)
			if status, _ := k.do("GET", "/api/v1/transactions", ""); (status == http.StatusOK) != c.clerk {
				t.Errorf("a clerk's question answers %d", status)
			}
			status, v := open(t, s).login("7", "2468")
			if c.clerk && status != http.StatusOK {
				t.Errorf("a login answers %d %v", status, v)
			} else if !c.clerk {
				wantRefusal(t, status, v, http.StatusNotFound, CodeNotOffered)
			}
		})
	}
	if _, err := New(Config{Terminal: f, Mode: "shop"}); err == nil {
		t.Error("a mode that does not exist is taken")
	}
}

// The screens know whose transaction has the card.
func TestWhoHasTheCard(t *testing.T) {
	f := newFake()
	f.insert(cardA)
	s := newServer(t, f)
	k, c := customer(t, s), clerk(t, s)
	busyBy := func() any {
		_, v := k.do("GET", "/api/v1/status", "")
		return v["busy_by"]
	}
	for _, x := range []struct {
		b                *browser
		path, body, want string
	}{
		{c, "/api/v1/topups", topUpBodyOf(50_00, 50_00), "counter"},
		{k, "/api/v1/redemptions", fmt.Sprintf(`{"card":"%s","account":"%s","amount":100}`, cardA, acct), "kiosk"},
	} {
		f.with(func() { f.gate, f.entered = make(chan struct{}), make(chan struct{}, 1) })
		done := make(chan int, 1)
		go func() { status, _ := x.b.do("POST", x.path, x.body, key()...); done <- status }()
		<-f.entered
		f.with(func() { f.status.Busy = true })
		if got := busyBy(); got != x.want {
			t.Errorf("while the %s pays, the card is had by %q", x.want, got)
		}
		close(f.gate)
		if status := <-done; status != http.StatusOK {
			t.Fatalf("the call answers %d", status)
		}
		if got := busyBy(); got != "" {
			t.Errorf("afterwards the terminal is busy for %q", got)
		}
		f.with(func() { f.status.Busy, f.gate = false, nil })
	}
}

// The journal tells which accounts a card paid, and how its customer's last
// payment ended; of other cards nothing.
func TestPaidAccounts(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	k := customer(t, s)
	status, v := k.do("GET", "/api/v1/card/accounts", "")
	wantRefusal(t, status, v, http.StatusConflict, terminal.CodeNoCard)
	f.paid(cardB, nobody, 10_00)
	f.paid(cardA, acct, 10_00)
	f.paid(cardA, ahead, 20_00)
	f.with(func() { f.result = journal.NotDone })
	f.paid(cardA, nobody, 30_00)
	f.insert(cardA)
	ask := func() (accounts []string, last any) {
		t.Helper()
		status, v := k.do("GET", "/api/v1/card/accounts", "")
		if status != http.StatusOK {
			t.Fatalf("answers %d %v", status, v)
		}
		for _, a := range v["accounts"].([]any) {
			accounts = append(accounts, a.(map[string]any)["account"].(string))
		}
		return accounts, v["last"]
	}
	accounts, last := ask()
	if want := []string{ahead.String(), acct.String()}; strings.Join(accounts, " ") != strings.Join(want, " ") || last != nil {
		t.Errorf("accounts %v, want %v; last %v", accounts, want, last)
	}
	if status, v := k.do("POST", "/api/v1/redemptions", fmt.Sprintf(`{"card":"%s","account":"%s","amount":100}`, cardA, acct), key()...); status != http.StatusOK {
		t.Fatalf("answers %d %v", status, v)
	}
	if accounts, last = ask(); accounts[0] != acct.String() || last == nil || last.(map[string]any)["overall"] != "done" {
		t.Errorf("accounts %v, last %v", accounts, last)
	}
	f.with(func() { f.now = f.now.Add(lastFor) })
	if _, last = ask(); last != nil {
		t.Errorf("the last payment is told for ever: %v", last)
	}
	status, v = open(t, s).do("GET", "/api/v1/card/accounts", "")
	wantRefusal(t, status, v, http.StatusUnauthorized, CodeLoginNeeded)
}

// Two tabs that show the same balance are one payment, however close they
// come; the same wish repeated is the same payment.
func TestTwoTabsPayOnce(t *testing.T) {
	pins()
	synctest.Test(t, twoTabs)
}

func twoTabs(t *testing.T) {
	f := newFake()
	f.gate, f.entered = make(chan struct{}), make(chan struct{}, 2)
	f.insert(cardA)
	s := newServer(t, f)
	tabs := []*browser{customer(t, s), customer(t, s)}
	body := fmt.Sprintf(`{"card":"%s","account":"%s","amount":2000,"balance":12000}`, cardA, acct)
	keys := [][]string{key(), key()}
	var wait sync.WaitGroup
	var mu sync.Mutex
	paid := -1
	for i, b := range tabs {
		wait.Go(func() {
			status, v := b.do("POST", "/api/v1/redemptions", body, keys[i]...)
			mu.Lock()
			defer mu.Unlock()
			if status == http.StatusOK {
				paid = i
			} else {
				wantRefusal(t, status, v, http.StatusConflict, CodeCardChanged)
			}
		})
	}
	synctest.Wait() // both are as far as they come
	if n := len(f.entered); n != 1 {
		t.Errorf("%d payments are with the terminal", n)
	}
	close(f.gate)
	wait.Wait()
	f.gate = nil
	if n := len(f.booked()); n != 1 || paid < 0 {
		t.Fatalf("%d payments of two tabs", n)
	}
	if status, _ := tabs[paid].do("POST", "/api/v1/redemptions", body, keys[paid]...); status != http.StatusOK || len(f.booked()) != 1 {
		t.Errorf("asked again, the payment answers %d; %d payments", status, len(f.booked()))
	}
}

// Recordings are served by the names that were found, and by no other.
func TestPrompts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"zh-CN/kiosk.insert.mp3": "recording", "secret.mp3": "secret"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, newFake(), func(c *Config) { c.Prompts = dir })
	b := open(t, s)
	if w := b.raw("GET", "/prompts/zh-CN/kiosk.insert.mp3", ""); w.Code != http.StatusOK || w.Body.String() != "recording" {
		t.Errorf("answers %d", w.Code)
	}
	if w := b.raw("GET", "/kiosk", ""); !strings.Contains(w.Body.String(), `data-prompts="zh-CN/kiosk.insert.mp3"`) {
		t.Error("the page does not know of the recording")
	}
	for _, path := range []string{"/prompts/zh-CN/..%2Fsecret.mp3", "/prompts/%2e%2e/secret.mp3", "/prompts/en/kiosk.insert.mp3", "/prompts/zh-CN/kiosk.insert.ogg"} {
		if w := b.raw("GET", path, ""); w.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "zh-CN", "no.such.text.mp3"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Terminal: newFake(), Prompts: dir}); err == nil {
		t.Error("a recording that nobody will hear is taken")
	}
}
