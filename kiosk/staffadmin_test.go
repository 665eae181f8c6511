package kiosk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
)

// managed is a server where 7, in the configuration, may do everything, with
// 20 (a manager without the right to void) and 21 (who sells) on the terminal's
// own list.
func managed(t *testing.T) (*fake, *Server, *browser) {
	t.Helper()
	f := newFake()
	h := pins()
	f.people = []store.Person{
		{ID: 20, Name: "店长", PINHash: h[1], Rights: []string{RightSell, RightTopUp, RightSettle, RightConfigure}},
		{ID: 21, Name: "小周", PINHash: h[2], Rights: []string{RightSell}},
	}
	s := newServer(t, f)
	b := open(t, s)
	if code, v := b.login("7", "2468"); code != 200 {
		t.Fatalf("%d %v", code, v)
	}
	f.acts = nil
	return f, s, b
}

// TestAddAndChoose: a person who was added logs in, may do nothing before
// choosing a PIN, and then may do what was given and nothing else.
func TestAddAndChoose(t *testing.T) {
	f, s, m := managed(t)
	code, v := m.do("POST", "/api/v1/staff", `{"staff":"22","name":"新人","rights":["settle","sell","sell"],"pin":"7391","again":"7391"}`)
	if code != 200 || v["change_pin"] != true || fmt.Sprint(v["rights"]) != "[sell settle]" {
		t.Fatalf("%d %v", code, v)
	}
	b := open(t, s)
	code, v = b.login("22", "7391")
	if code != 200 || v["change_pin"] != true || len(v["rights"].([]any)) != 0 {
		t.Fatalf("%d %v", code, v)
	}
	for _, path := range []string{"/api/v1/sales", "/api/v1/shift/open", "/api/v1/touch"} {
		code, v := b.do("POST", path, `{}`, key()...)
		wantRefusal(t, code, v, 403, CodePINChange)
	}
	if _, v := b.do("GET", "/api/v1/status", ""); v["till"] != nil {
		t.Errorf("who has not chosen a PIN sees %v", v["till"])
	}
	for _, x := range []struct {
		body string
		want terminal.Code
	}{
		{`{"old":"7391","pin":"8024","again":"8025"}`, CodePINAgain},
		{`{"old":"7391","pin":"7391","again":"7391"}`, CodePINSame},
		{`{"old":"7391","pin":"1234","again":"1234"}`, CodePINWeak},
		{`{"old":"7390","pin":"8024","again":"8024"}`, CodeLoginFailed},
	} {
		_, v := b.do("POST", "/api/v1/pin", x.body)
		if v["code"] != string(x.want) {
			t.Errorf("%s: %v", x.body, v["code"])
		}
	}
	if code, v := b.do("POST", "/api/v1/pin", `{"old":"7391","pin":"8024","again":"8024"}`); code != 200 || v["change_pin"] != false || fmt.Sprint(v["rights"]) != "[sell settle]" {
		t.Fatalf("%d %v", code, v)
	}
	if code, v := b.do("POST", "/api/v1/shift/open", `{"cash":0}`); code != 200 {
		t.Errorf("%d %v", code, v)
	}
	code, v = b.do("GET", "/api/v1/staff", "")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	wantDid(t, f, "7 staff_add 22×1 sell,settle", "22 login 22×1", "system login_failed 22×1 pin", "22 pin_change 22×1", "22 refused 22×1 configure")
	for _, e := range f.acts {
		for _, pin := range []string{"7391", "8024"} {
			if strings.Contains(string(e.Bytes()), pin) {
				t.Errorf("a PIN is in %q", e.Bytes())
			}
		}
	}
	// Another start of the program has it too.
	if code, v := open(t, newServer(t, f)).login("22", "8024"); code != 200 || v["change_pin"] != false {
		t.Errorf("%d %v", code, v)
	}
}

func TestWeakPINs(t *testing.T) {
	for _, pin := range []string{
		"", "123", "1234567890123", "12a4", "０１２３", "0000", "9999999", "1234", "123456", "7890", "0123", "4321", "9876", "3210", "1212", "123123", "7474", "4711", "004711",
	} {
		if err := checkPIN(4711, pin, pin); !errors.Is(err, refusal(CodePINWeak)) {
			t.Errorf("%q: %v", pin, err)
		}
	}
	for _, pin := range []string{"2468", "1357", "7391", "112233", "12345678902", "1235"} {
		if err := checkPIN(4711, pin, pin); err != nil {
			t.Errorf("%q: %v", pin, err)
		}
	}
}

// TestLockedAtOnce: whoever is locked or removed is out at every screen with
// the next call, and does not come in again.
func TestLockedAtOnce(t *testing.T) {
	for _, how := range []string{"lock", "remove"} {
		f, s, m := managed(t)
		b, c := open(t, s), open(t, s)
		b.login("21", "9999")
		c.login("21", "9999")
		if code, v := b.do("POST", "/api/v1/touch", `{}`); code != 200 {
			t.Fatalf("%d %v", code, v)
		}
		for range 2 { // the second is a double click
			if code, v := m.do("POST", "/api/v1/staff/21/"+how, `{}`); code != 200 && !(how == "remove" && code == 404) {
				t.Fatalf("%s: %d %v", how, code, v)
			}
		}
		for _, x := range []*browser{b, c} {
			code, v := x.do("POST", "/api/v1/touch", `{}`)
			wantRefusal(t, code, v, 401, CodeLoginNeeded)
		}
		code, v := b.login("21", "9999")
		if how == "remove" {
			wantRefusal(t, code, v, 401, CodeLoginFailed)
			continue
		}
		wantRefusal(t, code, v, 403, CodeStaffLocked)
		code, v = b.login("21", "9998") // the wrong PIN tells nothing
		wantRefusal(t, code, v, 401, CodeLoginFailed)
		if code, v := m.do("POST", "/api/v1/staff/21/unlock", `{}`); code != 200 || v["locked"] != false {
			t.Errorf("%d %v", code, v)
		}
		if code, _ := b.login("21", "9999"); code != 200 {
			t.Errorf("let in again: %d", code)
		}
		if n := len(slices.DeleteFunc(f.did(), func(l string) bool { return !strings.Contains(l, "staff_lock") })); n != 1 {
			t.Errorf("%d entries of one lock", n)
		}
	}
}

// TestLockBetweenPINAndSession: a person who is locked while the PIN is being
// checked gets no session.
func TestLockBetweenPINAndSession(t *testing.T) {
	_, s, m := managed(t)
	p, _, err := s.door.check(21, "9999")
	if err != nil {
		t.Fatal(err)
	}
	m.do("POST", "/api/v1/staff/21/lock", `{}`)
	if _, ok := s.door.open(p, false); ok {
		t.Error("came in")
	}
	m.do("POST", "/api/v1/staff/21/unlock", `{}`)
	m.do("POST", "/api/v1/staff/21/pin", `{"pin":"7391","again":"7391"}`)
	if _, ok := s.door.open(p, false); ok {
		t.Error("came in with a PIN that was reset")
	}
}

// TestManagersLimits: what a manager can't do: give or touch more than they
// have, change the configuration, lock everybody out, reset their own PIN.
func TestManagersLimits(t *testing.T) {
	f, s, _ := managed(t)
	m := open(t, s)
	m.login("20", "1357")
	f.acts = nil
	before := len(f.people)
	for _, x := range []struct {
		path, body string
		want       terminal.Code
	}{
		{"", `{"staff":"30","name":"a","rights":["void"],"pin":"7391","again":"7391"}`, CodeStaffRights},
		{"", `{"staff":"7","name":"a","rights":[],"pin":"7391","again":"7391"}`, CodeStaffExists},
		{"", `{"staff":"21","name":"a","rights":[],"pin":"7391","again":"7391"}`, CodeStaffExists},
		{"", `{"staff":"30","name":"a","rights":["shift"],"pin":"7391","again":"7391"}`, CodeBadRequest},
		{"", `{"staff":"0","name":"a","rights":[],"pin":"7391","again":"7391"}`, CodeBadRequest},
		{"", `{"staff":"30","name":"","rights":[],"pin":"7391","again":"7391"}`, CodeBadRequest},
		{"", `{"staff":"30","name":"a\u202eb","rights":[],"pin":"7391","again":"7391"}`, CodeBadRequest},
		{"", `{"staff":"30","name":"` + strings.Repeat("长", 22) + `","rights":[],"pin":"7391","again":"7391"}`, CodeBadRequest},
		{"", `{"staff":"30","name":"a","rights":[],"pin":"7391","again":"7392"}`, CodePINAgain},
		{"", `{"staff":"30","name":"a","rights":[],"pin":"0000","again":"0000"}`, CodePINWeak},
		{"/7/lock", `{}`, CodeStaffRights},
		{"/7/pin", `{"pin":"7391","again":"7391"}`, CodeStaffRights},
		{"/8/lock", `{}`, CodeStaffRights}, // redeems, which the manager may not
		{"/20/pin", `{"pin":"7391","again":"7391"}`, terminal.CodeNotAllowed},
		{"/99/lock", `{}`, terminal.CodeNotFound},
		{"/x/lock", `{}`, terminal.CodeNotFound},
		{"/21/card", `{"card":"12x"}`, CodeBadRequest},
	} {
		_, v := m.do("POST", "/api/v1/staff"+x.path, x.body)
		if v["code"] != string(x.want) {
			t.Errorf("%s %s: %v, want %s", x.path, x.body, v["code"], x.want)
		}
	}
	c := open(t, s)
	c.login("7", "2468")
	for _, path := range []string{"/8/pin", "/8/remove", "/8/card"} {
		body := map[string]string{"/8/pin": `{"pin":"7391","again":"7391"}`, "/8/card": `{"card":""}`, "/8/remove": `{}`}[path]
		_, v := c.do("POST", "/api/v1/staff"+path, body)
		if v["code"] != string(CodeStaffConfig) {
			t.Errorf("%s: %v", path, v["code"])
		}
	}
	_, v := c.do("POST", "/api/v1/pin", `{"old":"2468","pin":"7391","again":"7391"}`)
	if v["code"] != string(CodeStaffConfig) {
		t.Errorf("own PIN in the configuration: %v", v["code"])
	}
	if len(f.people) != before || len(f.acts) != 1 { // the login of 7
		t.Errorf("refusals changed something: %v", f.did())
	}

	// In the configuration: locked here, and nothing kept when that is over.
	if code, v := c.do("POST", "/api/v1/staff/8/lock", `{}`); code != 200 || v["locked"] != true || v["configured"] != true {
		t.Fatalf("%d %v", code, v)
	}
	if p := f.people[len(f.people)-1]; p.ID != 8 || !p.Config || p.PINHash != "" || !p.Locked {
		t.Errorf("%+v", p)
	}
	code, v := open(t, newServer(t, f)).login("8", "1357")
	wantRefusal(t, code, v, 403, CodeStaffLocked)
	if code, _ := c.do("POST", "/api/v1/staff/8/unlock", `{}`); code != 200 || len(f.people) != before {
		t.Errorf("%d %+v", code, f.people)
	}

	// The last one.
	if code, _ := c.do("POST", "/api/v1/staff/20/lock", `{}`); code != 200 {
		t.Fatal(code)
	}
	code, v = c.do("POST", "/api/v1/staff/7/lock", `{}`)
	wantRefusal(t, code, v, 409, CodeStaffLast)
	c.do("POST", "/api/v1/staff/20/unlock", `{}`)
	if code, _ := c.do("POST", "/api/v1/staff/7/lock", `{}`); code != 200 {
		t.Errorf("not the last any more: %d", code)
	}
	code, v = c.do("POST", "/api/v1/touch", `{}`)
	wantRefusal(t, code, v, 401, CodeLoginNeeded)
	// 20 is alone now.
	m.login("20", "1357")
	for _, how := range []string{"lock", "remove"} {
		code, v = m.do("POST", "/api/v1/staff/20/"+how, `{}`)
		wantRefusal(t, code, v, 409, CodeStaffLast)
	}
}

// TestTwoManagersLockEachOther: one of them stays, however close together.
func TestTwoManagersLockEachOther(t *testing.T) {
	for range 10 {
		f, s, a := managed(t)
		f.people[0].Rights = Rights
		if err := s.readStaff(); err != nil {
			t.Fatal(err)
		}
		b := open(t, s)
		b.login("20", "1357")
		var wg sync.WaitGroup
		wg.Go(func() { a.do("POST", "/api/v1/staff/20/lock", `{}`) })
		wg.Go(func() { b.do("POST", "/api/v1/staff/7/lock", `{}`) })
		wg.Wait()
		left := 0
		for _, p := range s.door.people() {
			if !p.locked && slices.Contains(p.Rights, RightConfigure) {
				left++
			}
		}
		if left != 1 {
			t.Fatalf("%d managers are left", left)
		}
	}
}

// TestUnwrittenChange: a change that could not be written did not happen.
func TestUnwrittenChange(t *testing.T) {
	f, s, m := managed(t)
	b := open(t, s)
	b.login("21", "9999")
	f.next = &terminal.Refusal{Code: terminal.CodeStopped}
	code, v := m.do("POST", "/api/v1/staff/21/lock", `{}`)
	wantRefusal(t, code, v, 503, terminal.CodeStopped)
	if code, _ := b.do("POST", "/api/v1/touch", `{}`); code != 200 {
		t.Errorf("locked all the same: %d", code)
	}
}

// TestDamagedList: who is in the configuration gets in when the terminal's own
// list can't be read, and nobody else.
func TestDamagedList(t *testing.T) {
	f, _, _ := managed(t)
	f.unread = store.ErrCorrupt
	s := newServer(t, f)
	if code, _ := open(t, s).login("7", "2468"); code != 200 {
		t.Errorf("configured: %d", code)
	}
	if code, _ := open(t, s).login("20", "1357"); code != 401 {
		t.Errorf("on the list: %d", code)
	}
}

// TestStaffCard: a card names a person at the login screen, and opens nothing.
func TestStaffCard(t *testing.T) {
	f, s, m := managed(t)
	if code, v := m.do("POST", "/api/v1/staff/21/card", fmt.Sprintf(`{"card":"%s"}`, cardB)); code != 200 || v["card"] != cardB.String() {
		t.Fatalf("%d %v", code, v)
	}
	_, v := m.do("POST", "/api/v1/staff/20/card", fmt.Sprintf(`{"card":"%s"}`, cardB))
	if v["code"] != string(CodeCardTaken) {
		t.Errorf("%v", v["code"])
	}
	f.insert(cardB)
	b := open(t, s)
	_, v = b.do("GET", "/api/v1/status", "")
	if p, _ := v["card_staff"].(map[string]any); p["staff"] != "21" || p["name"] != "小周" || v["till"] != nil {
		t.Errorf("%v", v["card_staff"])
	}
	code, v := b.do("POST", "/api/v1/touch", `{}`)
	wantRefusal(t, code, v, 401, CodeLoginNeeded)
	code, v = b.login("21", "0000")
	wantRefusal(t, code, v, 401, CodeLoginFailed)
	k := open(t, s)
	k.raw("GET", "/kiosk", "")
	if _, v := k.do("GET", "/api/v1/status", "", "Dianka-Screen", "kiosk"); v["card_staff"] != nil {
		t.Error("the customer's page is told")
	}
	f.insert(cardA)
	if _, v := b.do("GET", "/api/v1/status", ""); v["card_staff"] != nil {
		t.Errorf("another card names %v", v["card_staff"])
	}
	wantDid(t, f, "7 staff_card 21×1 "+cardB.String(), "system login_failed 21×1")
}

// TestChangesAreBounded: a program with a manager's PIN does not fill the
// journal.
func TestChangesAreBounded(t *testing.T) {
	f, _, m := managed(t)
	for range 100 {
		m.do("POST", "/api/v1/staff/21/lock", `{}`)
		m.do("POST", "/api/v1/staff/21/unlock", `{}`)
	}
	if n := len(f.acts); n > 70 {
		t.Errorf("%d entries", n)
	}
}

// TestSettleCalls: what reports and stock answer, and whom.
func TestSettleCalls(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	b := clerk(t, s)
	if _, v := b.do("GET", "/api/v1/shift/report", ""); v["open"] != true || v["expected"] != nil || v["difference"] != nil || v["attention"] == nil {
		t.Errorf("X: %v", v)
	}
	_, v := b.do("POST", "/api/v1/shift/close", `{"counted":19900,"number":1}`, key()...)
	if v["difference"] != -100.0 || v["reason_needed"] != true || len(v["reasons"].([]any)) != len(causes) {
		t.Errorf("Z: %v", v)
	}
	_, v = b.do("POST", "/api/v1/shifts/1/difference", `{"reason":"nothing"}`, key()...)
	if v["code"] != string(CodeBadRequest) {
		t.Errorf("%v", v)
	}
	_, v = b.do("POST", "/api/v1/shifts/1/difference", `{"reason":"wrong_change","note":"一元"}`, key()...)
	if r, _ := v["reason"].(map[string]any); r["code"] != "wrong_change" || v["note"] != "一元" || v["reason_needed"] != false {
		t.Errorf("%v", v)
	}
	if _, v := b.do("GET", "/api/v1/shifts", ""); len(v["shifts"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
	for _, n := range []string{"0", "2", "x", "-1", "4294967297"} {
		code, v := b.do("GET", "/api/v1/shifts/"+n, "")
		wantRefusal(t, code, v, 404, terminal.CodeNotFound)
	}
	_, p := b.do("POST", "/api/v1/stock/receipts", fmt.Sprintf(`{"from":"%s","to":"%s"}`, stock, cardB), key()...)
	for body, want := range map[string]string{
		fmt.Sprintf(`{"pack":%q}`, p["id"]):                       string(CodeBadRequest),
		fmt.Sprintf(`{"pack":%q,"found":1,"cards":[]}`, p["id"]):  string(CodeBadRequest),
		fmt.Sprintf(`{"pack":%q,"found":-1}`, p["id"]):            string(CodeBadRequest),
		fmt.Sprintf(`{"pack":%q,"cards":["x"]}`, p["id"]):         string(CodeBadRequest),
		`{"pack":"x","found":1}`:                                  string(CodeBadRequest),
		`{"pack":"310100001234-1-9","found":1}`:                   string(terminal.CodeNotFound),
		fmt.Sprintf(`{"pack":%q,"cards":["%s"]}`, p["id"], stock): "<nil>",
		fmt.Sprintf(`{"pack":%q,"found":3}`, p["id"]):             "<nil>",
	} {
		if _, v := b.do("POST", "/api/v1/stock/counts", body, key()...); fmt.Sprint(v["code"]) != want {
			t.Errorf("%s: %v", body, v["code"])
		}
	}
	other := open(t, s)
	other.login("8", "1357")
	for _, path := range []string{"/api/v1/shift/report", "/api/v1/shifts", "/api/v1/shifts/1", "/api/v1/stock", "/api/v1/staff"} {
		code, v := other.do("GET", path, "")
		wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
		code, v = open(t, s).do("GET", path, "")
		wantRefusal(t, code, v, 401, CodeLoginNeeded)
	}
	f.acts = nil
	for _, c := range []string{"shift/close", "shifts/1/difference", "stock/receipts", "stock/counts", "staff", "staff/8/lock", "staff/7/pin", "staff/21/remove", "staff/21/unlock", "staff/8/card"} {
		code, v := other.do("POST", "/api/v1/"+c, `{}`, key()...)
		wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	}
	for _, e := range f.acts {
		if a := e.Body.(*journal.Staff).Act; a != journal.ActRefused {
			t.Errorf("wrote %s", a)
		}
	}
}
