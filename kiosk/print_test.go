package kiosk

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/printer/printertest"
	"github.com/dianka/dianka/terminal"
)

// plug gives a driver with a simulated printer, and a function that ends it.
func plug() (sim *printertest.Printer, p *printer.Printer, end func()) {
	sim = printertest.New()
	p = printer.New(printer.Options{Open: func(context.Context) (line.Line, error) {
		c := sim.Pipe()
		return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	return sim, p, func() { cancel(); <-done; sim.Unplug() }
}

// paperDesk is a desk with a printer.
type paperDesk struct {
	fakeDesk
	sim *printertest.Printer
	p   *printer.Printer
}

func (d paperDesk) Paper() []byte { return d.sim.SVG(5, 32) }

func (d paperDesk) PrinterCondition() string {
	if d.sim.Condition().PaperOut {
		return "paper_out"
	}
	return "ok"
}

func (d paperDesk) SetPrinter(to string) error {
	if to != "ok" && to != "paper_out" {
		return fmt.Errorf("not %q", to)
	}
	d.sim.Set(func(c *printertest.Condition) { c.PaperOut = to == "paper_out" })
	d.p.Check(context.Background())
	return nil
}

type printRig struct {
	f   *fake
	s   *Server
	b   *browser
	sim *printertest.Printer
}

func newPrintRig(t *testing.T, change ...func(*Config)) printRig {
	f := newFake()
	sim, p, end := plug()
	t.Cleanup(end)
	s := newServer(t, f, append([]func(*Config){func(c *Config) { c.Printer = p }}, change...)...)
	b := clerk(t, s)
	f.insert(cardA)
	return printRig{f, s, b, sim}
}

// papers waits until so many slips are cut, and gives them.
func (r printRig) papers(t *testing.T, n int) []printertest.Slip {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		changed := r.sim.Changed()
		s := r.sim.Slips()
		if len(s) > n {
			t.Fatalf("%d slips, want %d", len(s), n)
		}
		if len(s) == n && (n == 0 || s[n-1].Cut) {
			return s
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d slips, want %d", len(s), n)
		}
	}
}

func body(amount int, more string) string {
	return fmt.Sprintf(`{"card": %q, "amount": %d, "tendered": %d%s}`, cardA, amount, amount, more)
}

func slipState(v map[string]any) string { return v["slip"].(map[string]any)["state"].(string) }

// printed waits until the slip of a transaction is not being printed any more.
func (r printRig) settled(t *testing.T, id string) map[string]any {
	t.Helper()
	return r.out(t, "/api/v1/transactions/"+id)
}

// out waits until the slip of what a path shows is not being printed any more.
func (r printRig) out(t *testing.T, path string) map[string]any {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		changed := r.s.spool.changes()
		_, v := r.b.do("GET", path, "")
		if slipState(v) != "printing" {
			return v["slip"].(map[string]any)
		}
		select {
		case <-changed:
		case <-late:
			t.Fatal("the slip is printed for ever")
		}
	}
}

func TestSlipIsPrinted(t *testing.T) {
	r := newPrintRig(t)
	k := key()
	code, v := r.b.do("POST", "/api/v1/topups", body(5000, ""), k...)
	if code != 200 {
		t.Fatal(code, v)
	}
	id := v["id"].(string)
	s := r.papers(t, 1)[0].Text()
	for _, want := range []string{"和平路便利店", "充值凭条", "已完成", "￥50.00", "人民币伍拾元整", id, "****4821"} {
		if !strings.Contains(s, want) {
			t.Errorf("the slip lacks %q:\n%s", want, s)
		}
	}
	if got := r.settled(t, id); got["state"] != "printed" {
		t.Errorf("%v", got)
	}
	// Asked again under its key, it is neither refused nor printed again, also
	// when there is no paper now.
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	if code, v := r.b.do("POST", "/api/v1/topups", body(5000, ""), k...); code != 200 || v["id"] != id {
		t.Fatal(code, v)
	}
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
	r.papers(t, 1)
}

// TestPaperIsLookedAtFirst holds that without paper no money moves, unless the
// person goes on without a slip; and that what was not printed is a first print
// later.
func TestPaperIsLookedAtFirst(t *testing.T) {
	r := newPrintRig(t)
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	code, v := r.b.do("POST", "/api/v1/topups", body(5000, ""), key()...)
	wantRefusal(t, code, v, 503, CodePrinter)
	if v["detail"] != "paper_out" || v["why"].(map[string]any)["en"] != "The printer has no paper." || len(r.f.list) != 0 {
		t.Fatal(v)
	}
	code, v = r.b.do("POST", "/api/v1/topups", body(5000, `, "no_slip": true`), key()...)
	if code != 200 || slipState(v) != "none" {
		t.Fatal(code, v)
	}
	id := v["id"].(string)
	code, v = r.b.do("POST", "/api/v1/transactions/"+id+"/print", "{}")
	wantRefusal(t, code, v, 503, CodePrinter)
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
	code, v = r.b.do("POST", "/api/v1/transactions/"+id+"/print", "{}")
	if code != 200 || v["state"] != "printed" || v["copy"] != 0.0 || len(r.f.acts) != 1 { // the login
		t.Fatal(code, v, r.f.acts)
	}
	if s := r.papers(t, 1)[0].Text(); strings.Contains(s, "REPRINT") {
		t.Error("a first print is marked as a reprint")
	}
}

// TestReprint holds that a second print takes a right, is marked, and is in
// the journal with its count.
func TestReprint(t *testing.T) {
	r := newPrintRig(t)
	_, v := r.b.do("POST", "/api/v1/topups", body(5000, ""), key()...)
	id := v["id"].(string)
	r.papers(t, 1)
	r.settled(t, id)

	other := open(t, r.s)
	other.login("8", "1357")
	code, v := other.do("POST", "/api/v1/transactions/"+id+"/print", "{}")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)

	for n := 1; n <= 2; n++ {
		code, v = r.b.do("POST", "/api/v1/transactions/"+id+"/print", `{"lang": "en"}`)
		if code != 200 || v["state"] != "printed" || v["copy"] != float64(n) {
			t.Fatal(code, v)
		}
		if s := r.papers(t, n+1)[n].Text(); !strings.Contains(s, fmt.Sprintf("补打 / REPRINT %d", n)) || !strings.Contains(s, "Top-up") {
			t.Errorf("reprint %d:\n%s", n, s)
		}
	}
	e := r.f.acts[len(r.f.acts)-1]
	b := e.Body.(*journal.Staff)
	if b.Act != journal.ActReprint || b.Detail != "2" || b.Staff != 7 || e.Ref.Of(termID).String() != id || e.Actor.ID != 7 {
		t.Errorf("%+v of %v", b, e)
	}
}

// TestUnknownAlwaysPrints holds that what is not certain gets its slip even
// when none was wanted, and that its settlement gets one of its own, once.
func TestUnknownAlwaysPrints(t *testing.T) {
	r := newPrintRig(t)
	r.f.with(func() { r.f.result = journal.Unknown })
	code, v := r.b.do("POST", "/api/v1/topups", body(5000, `, "no_slip": true`), key()...)
	if code != 200 || v["overall"] != "unknown" {
		t.Fatal(code, v)
	}
	id := v["id"].(string)
	if s := r.papers(t, 1)[0].Text(); !strings.Contains(s, "未确定") || !strings.Contains(s, "请保存本凭条") {
		t.Errorf("%s", s)
	}
	r.settled(t, id)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go r.s.printSettled(ctx)
	r.f.insert(money.CardNumber{})
	r.f.insert(cardA)
	s := r.papers(t, 2)[1].Text()
	if !strings.Contains(s, "核实凭条") || !strings.Contains(s, "原凭条号") || !strings.Contains(s, id) || !strings.Contains(s, "已完成") {
		t.Errorf("%s", s)
	}
	if got := r.settled(t, id); got["settles"] != true || got["state"] != "printed" {
		t.Errorf("%v", got)
	}
	r.f.insert(cardA) // the card is still there
	r.f.insert(cardA)
	r.papers(t, 2)
}

// TestKioskSlips holds that the customer gets a slip when asking for it, sees
// and prints that of the own transaction only, and never a second one.
func TestKioskSlips(t *testing.T) {
	r := newPrintRig(t)
	k := open(t, r.s)
	k.raw("GET", "/kiosk", "")
	pay := fmt.Sprintf(`{"card": %q, "account": %q, "amount": 100`, cardA, acct)
	code, v := k.do("POST", "/api/v1/redemptions", pay+"}", key()...)
	if code != 200 || slipState(v) != "none" {
		t.Fatal(code, v)
	}
	id := v["id"].(string)
	if w := k.raw("GET", "/api/v1/transactions/"+id+"/slip.svg?lang=en", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "Bill payment") || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Error(w.Code, w.Body)
	}
	if code, v := k.do("POST", "/api/v1/transactions/"+id+"/print", "{}"); code != 200 || v["state"] != "printed" {
		t.Error(code, v)
	}
	code, v = k.do("POST", "/api/v1/transactions/"+id+"/print", "{}")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	r.papers(t, 1)
	_, v = r.b.do("POST", "/api/v1/topups", body(5000, ""), key()...)
	r.papers(t, 2)
	for _, call := range []string{"GET /api/v1/transactions/%s/slip.svg", "POST /api/v1/transactions/%s/print"} {
		method, path, _ := strings.Cut(fmt.Sprintf(call, v["id"]), " ")
		if w := k.raw(method, path, "{}"); w.Code != 403 {
			t.Errorf("a customer sees another's slip: %s %d", call, w.Code)
		}
	}
	code, v = k.do("POST", "/api/v1/redemptions", pay+`, "slip": true, "lang": "en"}`, key()...)
	if code != 200 {
		t.Fatal(code, v)
	}
	if s := r.papers(t, 3)[2].Text(); !strings.Contains(s, "Bill payment") {
		t.Errorf("%s", s)
	}
}

// TestPrinterOnScreens holds what the status says.
func TestPrinterOnScreens(t *testing.T) {
	r := newPrintRig(t)
	_, v := r.b.do("POST", "/api/v1/topups", body(5000, ""), key()...)
	r.settled(t, v["id"].(string))
	_, st := r.b.do("GET", "/api/v1/status", "")
	p := st["printer"].(map[string]any)
	if p["state"] != "ok" || p["ready"] != true || p["last"].(map[string]any)["id"] != v["id"] {
		t.Errorf("%v", p)
	}
	_, st = open(t, r.s).do("GET", "/api/v1/status", "")
	if p := st["printer"].(map[string]any); p["last"] != nil {
		t.Errorf("anybody sees the newest slip: %v", p)
	}
	_, st = clerk(t, newServer(t, newFake())).do("GET", "/api/v1/status", "")
	if st["printer"] != nil {
		t.Errorf("no printer is %v", st["printer"])
	}
	m := must(loadMessages())
	for _, s := range printer.States {
		if !m.has("printer."+string(s)+".sentence") || !m.has("printer."+string(s)+".next") {
			t.Errorf("no words for the printer's state %s", s)
		}
	}
}

// TestShiftSlips holds that a close prints its Z once by itself, that an X is
// printed when somebody asks, and that a Z printed again is marked and counted.
func TestShiftSlips(t *testing.T) {
	r := newPrintRig(t)
	if code, v := r.b.do("POST", "/api/v1/shift/report/print", `{"lang": "en"}`); code != 200 || v["state"] != "printed" || v["copy"] != 0.0 {
		t.Fatal(code, v)
	}
	if x := r.papers(t, 1)[0].Text(); !strings.Contains(x, "X") || !strings.Contains(x, "the shift goes on") || strings.Contains(x, "Cash expected") {
		t.Errorf("X:\n%s", x)
	}
	k := key()
	for range 2 {
		code, v := r.b.do("POST", "/api/v1/shift/close", `{"counted":20000}`, k...)
		if code != 200 || v["difference"] != 0.0 {
			t.Fatal(code, v)
		}
	}
	if z := r.papers(t, 2)[1].Text(); !strings.Contains(z, "清点现金") || !strings.Contains(z, "待处理的凭条") || strings.Contains(z, "REPRINT") {
		t.Errorf("Z:\n%s", z)
	}
	r.out(t, "/api/v1/shifts/1")
	if code, v := r.b.do("POST", "/api/v1/shifts/1/print", `{"lang": "en"}`); code != 200 || v["state"] != "printed" || v["copy"] != 1.0 {
		t.Fatal(code, v)
	}
	if z := r.papers(t, 3)[2].Text(); !strings.Contains(z, "补打 / REPRINT 1") && !strings.Contains(z, "REPRINT 1") || strings.Contains(z, "attention") {
		t.Errorf("the copy of Z:\n%s", z)
	}
	if b := r.f.acts[len(r.f.acts)-1].Body.(*journal.Staff); b.Act != journal.ActReprint || b.Detail != "1" {
		t.Errorf("%+v", b)
	}
	if w := r.b.raw("GET", "/api/v1/shifts/1/slip.svg", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "<svg") {
		t.Error(w.Code, w.Body)
	}
	other := open(t, r.s)
	other.login("8", "1357")
	code, v := other.do("POST", "/api/v1/shifts/1/print", "{}")
	wantRefusal(t, code, v, 403, terminal.CodeNotAllowed)
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	code, v = r.b.do("POST", "/api/v1/shifts/1/print", "{}")
	wantRefusal(t, code, v, 503, CodePrinter)
}
