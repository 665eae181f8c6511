package kiosk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

// did is what the fake terminal's journal holds of staff, oldest first, as
// "actor act staff×count detail".
func (f *fake) did() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.acts {
		b := e.Body.(*journal.Staff)
		who := "system"
		if e.Actor.Kind == journal.ActorClerk {
			who = e.Actor.ID.String()
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s×%d %s", who, b.Act, b.Staff, b.Count, b.Detail)))
	}
	return out
}

func wantDid(t *testing.T, f *fake, want ...string) {
	t.Helper()
	if got := f.did(); !slices.Equal(got, want) {
		t.Errorf("the journal holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestComingAndGoing: login, lock, unlock, another person at the same screen,
// logout.
func TestComingAndGoing(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := open(t, newServer(t, f))
		b.login("7", "2468")
		time.Sleep(IdleLock)
		b.do("GET", "/api/v1/status", "")
		b.do("GET", "/api/v1/status", "")
		b.login("7", "2468")
		b.login("8", "1357")
		b.do("POST", "/api/v1/logout", `{}`)
		b.do("POST", "/api/v1/logout", `{}`)
		wantDid(t, f, "7 login 7×1", "system lock 7×1", "7 login 7×1 unlock", "7 logout 7×1", "8 login 8×1", "8 logout 8×1")

		// A lock that nobody looked at until the next person came.
		f.acts = nil
		b.login("7", "2468")
		time.Sleep(IdleLock)
		b.login("8", "1357")
		wantDid(t, f, "7 login 7×1", "system lock 7×1", "7 logout 7×1", "8 login 8×1")
	})
}

// TestWrongPINsAreWritten: with the number that was typed, as nobody's deed,
// and without filling the disk however long it goes on.
func TestWrongPINsAreWritten(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := open(t, newServer(t, f))
		const tries = 5000
		for range tries {
			b.login("7", "0000") // most of them are refused without a look at the PIN
		}
		got, sum := f.did(), uint32(0)
		for _, e := range f.acts {
			sum += e.Body.(*journal.Staff).Count
		}
		if len(got) > 20 || got[0] != "system login_failed 7×1" || got[3] != "system login_failed 7×1" || got[4] != "system login_failed 7×4" || sum < tries/2 || sum > tries {
			t.Errorf("%d entries for %d of %d tries: %v", len(got), sum, tries, got)
		}
		for _, e := range f.acts {
			if strings.Contains(string(e.Bytes()), "0000") {
				t.Errorf("a PIN is in %q", e.Bytes())
			}
		}
		// The right PIN tells the rest.
		time.Sleep(longWait)
		b.login("7", "2468")
		sum = 0
		for _, e := range f.acts {
			if b := e.Body.(*journal.Staff); b.Act == journal.ActLoginFailed {
				sum += b.Count
			}
		}
		if last := f.did()[len(f.acts)-1]; sum != tries || last != "7 login 7×1" {
			t.Errorf("%d of %d tries written before %q", sum, tries, last)
		}
		// Numbers that nobody has share one count.
		f.acts = nil
		for i := range 1000 {
			b.login(fmt.Sprint(1000+i), "1234")
		}
		if n := len(f.acts); n > 15 || f.did()[0] != "system login_failed 1000×1" {
			t.Errorf("%d entries: %v", n, f.did())
		}
	})
}

// TestLoginsAreBounded: a program that has a right PIN does not fill the
// journal either.
func TestLoginsAreBounded(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := open(t, newServer(t, f))
		for range 100 {
			b.login("7", "2468")
			b.do("POST", "/api/v1/logout", `{}`)
		}
		if n := len(f.acts); n > 2*30 {
			t.Errorf("%d entries", n)
		}
		code, v := b.login("7", "2468")
		wantRefusal(t, code, v, 429, CodeTooMany)
		time.Sleep(time.Minute)
		if code, _ := b.login("7", "2468"); code != 200 {
			t.Errorf("a minute later: %d", code)
		}
	})
}

// TestRefusedByRight: who wanted what, and not without end.
func TestRefusedByRight(t *testing.T) {
	f := newFake()
	b := open(t, newServer(t, f))
	b.login("8", "1357")
	for range 20 {
		code, v := b.do("POST", "/api/v1/sales", `{}`, key()...)
		wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	}
	code, v := b.do("GET", "/api/v1/acts", "")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	wantDid(t, f, "8 login 8×1", "8 refused 8×1 sell", "8 refused 8×1 sell", "8 refused 8×1 sell", "8 refused 8×1 sell", "8 refused 8×4 sell", "8 refused 8×8 sell", "8 refused 8×1 settle")
}

// TestSecondPersonIsTold: the terminal learns who agreed, and what a wrong
// second person did is written.
func TestSecondPersonIsTold(t *testing.T) {
	f := newFake()
	hash, err := HashPIN("9999")
	if err != nil {
		t.Fatal(err)
	}
	b := clerk(t, newServer(t, f, func(c *Config) {
		c.Staff = append(c.Staff, Staff{ID: 9, Name: "孙", PINHash: hash, Rights: []string{RightVoid}})
	}))
	f.insert(cardA)
	_, v := b.do("POST", "/api/v1/topups", topUpBodyOf(5000, 5000), key()...)
	path := fmt.Sprintf("/api/v1/transactions/%s/void", v["id"])
	f.acts = nil
	b.do("POST", path, `{"second":"8","second_pin":"1357"}`, key()...)
	b.do("POST", path, `{"second":"9","second_pin":"0000"}`, key()...)
	if f.second != 0 {
		t.Fatal("the terminal was asked")
	}
	if code, v := b.do("POST", path, `{"second":"9","second_pin":"9999"}`, key()...); code != 200 {
		t.Fatalf("%d %v", code, v)
	}
	if f.second != 9 {
		t.Errorf("the terminal was told of %s", f.second)
	}
	wantDid(t, f, "8 refused 8×1 second_person", "system login_failed 9×1 void")
}

// TestActs: the list that the shop's owner reads.
func TestActs(t *testing.T) {
	f := newFake()
	b := clerk(t, newServer(t, f))
	b.login("7", "0000")
	code, v := b.do("GET", "/api/v1/acts?limit=1", "")
	list, _ := v["acts"].([]any)
	if code != 200 || len(list) != 1 || list[0].(map[string]any)["act"] != "login_failed" || list[0].(map[string]any)["staff"] != "7" {
		t.Errorf("%d %v", code, v)
	}
	for _, q := range []string{"0", "501", "x"} {
		code, v := b.do("GET", "/api/v1/acts?limit="+q, "")
		wantRefusal(t, code, v, 400, CodeBadRequest)
	}
	k := open(t, newServer(t, f))
	code, v = k.do("GET", "/api/v1/acts", "")
	wantRefusal(t, code, v, 401, CodeLoginNeeded)
}
