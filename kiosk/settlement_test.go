package kiosk

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/printer/printertest"
	"github.com/dianka/dianka/terminal"
)

// TestSettlement: a closed shift has one settlement under one number, whoever
// asks for it and however often; its first print is the slip, the others are
// copies, and one that did not come out is printed again as what it was.
func TestSettlement(t *testing.T) {
	r := newPrintRig(t, func(c *Config) { c.Slips.Counter = SlipAsk })
	if code, v := r.b.do("GET", "/api/v1/shifts/1/settlement", ""); code != 404 {
		t.Errorf("of an open shift: %d %v", code, v)
	}
	r.b.do("POST", "/api/v1/topups", body(5000, ""), key()...)
	_, z := r.b.do("POST", "/api/v1/shift/close", `{"counted":25000}`, key()...)
	get := func() map[string]any {
		t.Helper()
		code, v := r.b.do("GET", "/api/v1/shifts/1/settlement", "")
		if code != 200 || v["number"] != "S-310100001234-1-1" || v["id"] != z["id"] || v["net"] != 5000.0 || v["topups"] != 5000.0 {
			t.Fatalf("%d %v", code, v)
		}
		return v
	}
	if v := get(); v["prints"] != 0.0 || slipState(v) != "none" {
		t.Errorf("before the first print: %v", v)
	}
	print := func(state string, prints float64) {
		t.Helper()
		code, v := r.b.do("POST", "/api/v1/shifts/1/settlement/print", `{}`)
		if code != 200 || slipState(v) != state || v["prints"] != prints || v["number"] != "S-310100001234-1-1" {
			t.Errorf("%d %v, want %s, %v prints", code, v, state, prints)
		}
	}
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	code, v := r.b.do("POST", "/api/v1/shifts/1/settlement/print", `{}`)
	wantRefusal(t, code, v, http.StatusServiceUnavailable, CodePrinter)
	if v := get(); v["prints"] != 0.0 {
		t.Errorf("without paper it counts as a print: %v", v)
	}
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
	for i := range 3 {
		print("printed", float64(i+1))
		papers := r.papers(t, i+1)
		text := papers[i].Text()
		if !strings.Contains(text, "S-310100001234-1-1") || !strings.Contains(text, "不作报销凭证") || strings.Contains(text, "REPRINT") != (i > 0) {
			t.Errorf("print %d:\n%s", i+1, text)
		}
	}
	acts := 0
	for _, e := range r.f.acts {
		if b := e.Body.(*journal.Staff); b.Act == journal.ActSettle && e.Actor.ID == 7 {
			acts++
		}
	}
	if acts != 3 {
		t.Errorf("%d prints are in the journal", acts)
	}
	for _, lang := range words.Languages {
		if w := r.b.raw("GET", "/api/v1/shifts/1/settlement/slip.svg?lang="+lang, ""); w.Code != 200 || !strings.Contains(w.Body.String(), "<svg") {
			t.Errorf("the picture: %d", w.Code)
		}
	}
	if v := get(); v["prints"] != 3.0 {
		t.Errorf("a picture counts as a print: %v", v)
	}
}

// TestSettlementRight: only who may settle sees and prints it.
func TestSettlementRight(t *testing.T) {
	f := newFake()
	s := newServer(t, f, func(c *Config) {
		c.Staff = append([]Staff(nil), c.Staff...)
		c.Staff[0].Rights = []string{RightSell, RightTopUp, RightRedeem, RightVoid, RightReprint, RightReplace, RightConfigure}
	})
	b := open(t, s)
	b.login("7", "2468")
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/api/v1/shifts/1/settlement", ""}, {"GET", "/api/v1/shifts/1/settlement/slip.svg", ""}, {"POST", "/api/v1/shifts/1/settlement/print", `{}`},
	} {
		code, v := b.do(c.method, c.path, c.body)
		wantRefusal(t, code, v, http.StatusForbidden, terminal.CodeNotAllowed)
	}
	if len(f.acts) == 0 {
		t.Error("nobody noted that it was refused")
	}
}
