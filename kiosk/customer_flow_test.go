package kiosk

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/printer/printertest"
)

// leftBehind is everything that a page still holds for the next person: what
// is shown, what is hidden, what the browser keeps.
const leftBehind = `document.body.innerText + [...document.querySelectorAll("output, dl, .huge, .who, td, .note, .refusal, img")].filter((e) => e.getClientRects().length).map((e) => e.textContent + (e.src ?? "")).join() + sessionStorage.getItem("elder") + sessionStorage.getItem("contrast")`

func nothingLeft(t *testing.T, b *kiosktest.Tab, when string) {
	t.Helper()
	left := kiosktest.Eval[string](b, leftBehind)
	for _, secret := range []string{"4821", "0100", "0017", "86.40", "120.00", "100.00", "建国", "310100001234-", "1null", "null1"} {
		if strings.Contains(left, secret) {
			t.Errorf("%s: the next person sees %q", when, secret)
		}
	}
}

// A customer types an account and pays a part: in five steps, with the
// language, elder mode and contrast changed on the way and nothing lost by it.
func TestBrowserKioskPays(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Ears()
	b.Open("/kiosk")
	b.See("attract")
	b.Click("elder") // wanted before the card is in
	f.insert(cardA)
	b.Says("card-balance", "¥120.00")
	b.Says("card-kind", "不记名卡")
	b.Says("card-until", "2030年11月23日")
	b.Says("step", "第 2 步，共 5 步")
	b.Click("pay-other")
	for _, d := range "010000001" {
		b.Click("account-" + string(d))
	}
	b.Click("lang")
	b.Says("account-title", "Type the 10-digit account")
	b.Says("account-typed", "0100 0000 1")
	b.Click("contrast")
	b.Says("account-typed", "0100 0000 1")
	b.Press("7")
	b.Click("account-next")
	b.Says("bill", "¥86.40")
	b.Says("bill", "*建国") // masked by the utility, before anything is committed
	b.Says("bill", "As of 14:04")
	b.Click("other-amount")
	b.Click("amount-2")
	b.Click("amount-0")
	b.Click("amount-next")
	b.Says("confirm-amount", "¥20.00")
	b.Says("confirm-facts", "¥100.00")
	b.Says("step", "Step 4 of 5")
	b.Click("confirm-pay")
	b.Says("result-verdict", "Bill paid")
	b.Says("step", "Step 5 of 5")
	if got := b.Heard(); !slices.Equal(got, []float64{660, 880}) {
		t.Errorf("a payment that is done sounds like %v", got)
	}
	if l := f.booked(); len(l) != 1 || l[0].Actor.Kind != journal.ActorCustomer || l[0].Amount != 20_00 || l[0].Account != acct {
		t.Fatalf("booked %+v", l)
	}
	f.insert(money.CardNumber{})
	b.See("bye")
	b.See("attract")
	nothingLeft(t, b, "after a payment")
	if got := kiosktest.Eval[string](b, `document.documentElement.lang + document.documentElement.className`); got != "zh-CN" {
		t.Errorf("the next person finds the screen as %q", got)
	}

	// The browser's back and forward bring nothing up again.
	f.insert(cardA)
	b.Click("pay-known-0")
	b.Says("bill", "01****0017") // a number that nobody typed is not read out
	b.Open("/")
	f.insert(money.CardNumber{})
	b.Run(chromedp.Evaluate[chromedp.Void](`history.back()`))
	b.See("attract")
	nothingLeft(t, b, "after going back")

	// An account that this card paid before: card, account, all that is owed,
	// check, done.
	f.insert(cardA)
	b.Click("pay-known-0")
	b.Click("pay-owed")
	b.Click("confirm-back")
	b.See("bill-view")
	b.Click("pay-owed")
	b.Click("confirm-pay")
	b.Says("result-verdict", "缴费成功")
	if l := f.booked(); len(l) != 2 || l[1].Amount != 86_40 {
		t.Fatalf("booked %+v", l)
	}
	b.Quiet("409") // a card that left while the page asked about it
}

// A card that is pulled or swapped in the middle takes everything with it.
func TestBrowserKioskCardPulled(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Ears()
	b.Open("/kiosk")
	to := map[string]func(){
		"choose": func() { b.See("choose-view") },
		"account": func() {
			b.Click("pay-other")
			b.Click("account-3")
			b.Says("account-typed", "3")
		},
		"bill":    func() { b.Click("pay-other"); typeAccount(b, acct); b.Click("account-next"); b.See("bill-view") },
		"confirm": func() { b.Click("pay-owed"); b.See("confirm-view") },
		"history": func() { b.Click("see-history"); b.See("history-view") },
	}
	for _, path := range [][]string{{"choose"}, {"account"}, {"bill"}, {"bill", "confirm"}, {"history"}} {
		f.insert(cardA)
		for _, view := range path {
			to[view]()
		}
		f.insert(money.CardNumber{})
		b.See("attract")
		nothingLeft(t, b, fmt.Sprint("pulled at ", path))
	}
	f.insert(cardA)
	to["account"]()
	f.insert(cardB)
	b.Says("card-balance", "¥1,234.56")
	b.Click("pay-other")
	b.Until("the account is empty", `document.querySelector('[data-testid="account-typed"]').firstChild.textContent === ""`)
	if n := len(f.booked()); n != 0 {
		t.Errorf("%d payments", n)
	}

	// Pulled while it pays: not done, or not certain, differ in every way.
	for i, result := range []journal.Result{journal.NotDone, journal.Unknown} {
		f.insert(cardA)
		to["bill"]()
		to["confirm"]()
		b.Heard()
		f.with(func() { f.result, f.gate, f.entered = result, make(chan struct{}), make(chan struct{}, 1) })
		b.Click("confirm-pay")
		<-f.entered
		b.See("working")
		f.with(func() { f.status.Card.State, f.status.Card.Number = "none", money.CardNumber{} })
		b.See("working") // nobody knows yet
		close(f.gate)
		b.Says("result-verdict", []string{"没有扣钱", "不能确定"}[i])
		f.with(func() { f.gate = nil })
		f.insert(money.CardNumber{})
		b.Says("result-facts", "310100001234-1-")
		want := [][]float64{{220}, {440, 440, 440}}[i]
		if got := b.Heard(); !slices.Equal(got, want) {
			t.Errorf("%v sounds like %v", result, got)
		}
		if got := kiosktest.Eval[string](b, `document.querySelector('[data-testid="result-glyph"]').getAttribute("href")`); got != []string{"#g-not_done", "#g-unknown"}[i] {
			t.Errorf("%v looks like %s", result, got)
		}
		b.Click("result-finish")
		b.See("attract")
		nothingLeft(t, b, fmt.Sprint("after result ", result))
	}
	b.Quiet("409") // a card that left while the page asked about it
}

// Twice pressed, in two tabs, loaded anew in the middle, in a browser that was
// killed: one payment, and everyone who looks is told its end.
func TestBrowserKioskOnePayment(t *testing.T) {
	t.Parallel()
	f := newFake()
	browser, url := kiosktest.NewBrowser(t), serve(t, f, false)
	open := func() *kiosktest.Tab {
		b := kiosktest.NewTab(t, browser, url, 1024, 768)
		b.Open("/kiosk")
		return b
	}
	confirm := func(b *kiosktest.Tab) {
		t.Helper()
		b.Click("pay-other")
		typeAccount(b, acct)
		b.Click("account-next")
		b.Click("other-amount")
		b.Click("amount-1")
		b.Click("amount-next")
		b.See("confirm-view")
	}
	pay := `{ const e = document.querySelector('[data-testid="confirm-pay"]'); e.click(); e.click(); }`
	gate := func() {
		f.with(func() { f.gate, f.entered = make(chan struct{}), make(chan struct{}, 2) })
	}
	settle := func() {
		close(f.gate)
		f.with(func() { f.status.Busy, f.gate = false, nil })
	}
	count := func(want int, when string) {
		t.Helper()
		if n := len(f.booked()); n != want {
			t.Fatalf("%s: %d payments, want %d", when, n, want)
		}
	}

	one, two := open(), open()
	f.insert(cardA)
	confirm(one)
	confirm(two)
	gate()
	one.Run(chromedp.Evaluate[chromedp.Void](pay))
	<-f.entered
	f.with(func() { f.status.Busy = true })
	two.See("working") // it says so, and can't be pressed
	settle()
	one.Says("result-verdict", "缴费成功")
	two.Says("result-verdict", "缴费成功") // the same one: the state is the terminal's
	count(1, "double click and two tabs")
	one.Click("result-finish")
	two.Click("result-finish")
	two.Open("/")

	// Loaded anew while the card is being written.
	one.Click("go-on")
	confirm(one)
	gate()
	one.Run(chromedp.Evaluate[chromedp.Void](pay))
	<-f.entered
	f.with(func() { f.status.Busy = true })
	one.Open("/kiosk")
	one.See("working")
	settle()
	one.Says("result-verdict", "缴费成功")
	count(2, "loaded anew")
	one.Click("result-finish")

	// Killed: another browser finds the card in the reader.
	one.Click("go-on")
	confirm(one)
	gate()
	one.Run(chromedp.Evaluate[chromedp.Void](pay))
	<-f.entered
	f.with(func() { f.result = journal.Unknown })
	one.Open("/")
	settle()
	f.with(func() { f.status.Card.Settled = nil })
	other := kiosktest.NewTab(t, kiosktest.NewBrowser(t), url, 1024, 768)
	other.Open("/kiosk")
	other.Says("result-verdict", "不能确定")
	count(3, "killed")
	other.Quiet()
}

// The counter's transaction has the card: the customer's screen says so, and
// what was begun there starts again from what the card holds now.
func TestBrowserKioskCounterHasTheCard(t *testing.T) {
	t.Parallel()
	f := newFake()
	s := newServer(t, f)
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), h.URL, 1024, 768)
	c := clerk(t, s)
	b.Open("/kiosk")
	f.insert(cardA)
	b.Click("pay-other")
	b.Click("account-3")
	f.with(func() { f.gate, f.entered = make(chan struct{}), make(chan struct{}, 1) })
	done := make(chan int, 1)
	go func() {
		status, _ := c.do("POST", "/api/v1/topups", topUpBodyOf(50_00, 50_00), key()...)
		done <- status
	}()
	<-f.entered
	f.with(func() { f.status.Busy = true })
	b.Says("held", "柜台正在用这张卡")
	b.Survey("kiosk-19-held")
	close(f.gate)
	if status := <-done; status != http.StatusOK {
		t.Fatalf("the top-up answers %d", status)
	}
	f.with(func() { f.status.Busy, f.gate = false, nil })
	b.Says("card-balance", "¥170.00")
	b.Says("choose-refusal", "刚才动过")

	// A card from stock is no use to a customer, until the counter sells it.
	f.insert(cardB)
	f.with(func() { f.status.Card.Stock = true })
	b.See("trouble-sentence")
	f.with(func() { f.status.Card.Stock, f.status.Busy = false, true })
	b.See("working")
	b.Quiet()
}

// Off line is a banner with the age of what is known and the limit that
// holds; the link may go in the middle and the payment goes on.
func TestBrowserKioskLinkLost(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Open("/kiosk")
	f.insert(cardA)
	b.Click("pay-other")
	typeAccount(b, acct)
	f.with(func() { f.status.Online = false })
	b.Says("banner", "截至 13:51")
	b.Says("banner", (f.Status().Limits.RedeemMax).Yuan())
	b.Click("account-next")
	b.Says("bill", "离线数据，截至 14:04")
	b.Click("pay-owed")
	b.Click("confirm-pay")
	b.Says("result-verdict", "缴费成功")
	b.Click("result-finish")
	b.Click("go-on")

	// An account that nobody can look up is typed twice, and one slip of a
	// finger pays nothing.
	b.Click("pay-other")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Says("account-title", "再输一遍")
	typeAccount(b, ahead)
	b.Click("account-next")
	b.Says("account-refusal", "两次输入的户号不一样")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Says("account-title", "再输一遍")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Click("other-amount")
	b.Click("amount-5")
	b.Click("amount-next")
	b.Says("confirm-facts", "未核实")
	b.Click("confirm-pay")
	b.Says("result-facts", "未核实")
	b.Quiet()
}

// printing serves a Server whose status also tells of a printer, and which
// draws slips.
func printing(t *testing.T, s *Server) string {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slip.svg") && r.URL.Query().Get("screen") == "kiosk" {
			w.Header().Set("Content-Type", "image/svg+xml")
			fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 260"><rect width="200" height="260" fill="#fff"/><path d="M20 20h160v160H20z"/></svg>`)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	return h.URL
}

// printerSays lets a page believe of the printer what window.printer says, and
// the server that a slip was wanted.
const printerSays = `{ window.printer = "ok"; const parse = JSON.parse; JSON.parse = (s) => { const v = parse(s); if (v?.psam) v.printer = { state: window.printer }; return v; };
		const real = window.fetch; window.fetch = (u, o) => { if (o?.body && u.endsWith("/redemptions")) { const { no_slip, ...rest } = parse(o.body); window.noSlip = no_slip; o.body = JSON.stringify(rest); } return real(u, o); }; }`

// Without paper the customer knows before paying, no slip is asked for, and
// the picture stays on the screen when the card is gone.
func TestBrowserKioskNoPaper(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), printing(t, newServer(t, f)), 1024, 768)
	b.Inject(printerSays)
	b.Open("/kiosk")
	pay := func() {
		t.Helper()
		f.insert(cardA)
		b.Click("pay-other")
		typeAccount(b, acct)
		b.Click("account-next")
		b.Click("other-amount")
		b.Click("amount-1")
		b.Click("amount-next")
		b.See("confirm-view")
	}
	shown := func(testid string) bool {
		return kiosktest.Eval[bool](b, `document.querySelector('`+kiosktest.ID(testid)+`').getClientRects().length > 0`)
	}
	pay()
	if shown("no-paper") {
		t.Error("there is paper and the screen says there is none")
	}
	b.Click("confirm-pay")
	b.Says("result-verdict", "缴费成功")
	if shown("slip-shown") || kiosktest.Eval[bool](b, `Boolean(window.noSlip)`) {
		t.Error("there is paper and the slip is on the screen")
	}
	f.insert(money.CardNumber{})
	b.See("attract")
	for _, state := range []string{"paper_out", "cover", "offline", "none", "no_answer"} {
		b.Run(chromedp.Evaluate[chromedp.Void](`window.printer = "` + state + `"`))
		pay()
		b.Says("no-paper", "打不出凭条")
		if state == "paper_out" {
			b.Survey("kiosk-20-nopaper")
		}
		b.Click("confirm-pay")
		b.Says("result-verdict", "缴费成功")
		b.See("slip-shown")
		if !kiosktest.Eval[bool](b, `window.noSlip === true`) {
			t.Errorf("%s: a slip is asked of the printer", state)
		}
		if state == "paper_out" {
			b.Until("the picture is there", `document.querySelector('[data-testid="slip"]').naturalWidth > 0`)
			b.Survey("kiosk-21-slip")
		}
		f.insert(money.CardNumber{})
		b.Until("the card is gone", `true`)
		b.See("slip-shown") // there to be photographed
		b.Click("result-finish")
		b.See("attract")
		nothingLeft(t, b, "after a slip on the screen")
	}
	b.Quiet()
}

// A slip of what is done is printed for who asks, once; what the printer can't
// give then is shown; and nobody is sent away while a slip comes out.
func TestBrowserKioskSlip(t *testing.T) {
	t.Parallel()
	r := newPrintRig(t)
	h := httptest.NewServer(r.s)
	t.Cleanup(func() { r.s.stop(); h.CloseClientConnections(); h.Close() })
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), h.URL, 1024, 768)
	b.Inject(`{ const real = window.fetch; window.fetch = async (u, o) => { if (window.hold && u.endsWith("/print")) await new Promise((go) => { window.held = go; }); return real(u, o); };
		const parse = JSON.parse; JSON.parse = (s) => { const v = parse(s); if (window.printer && v?.psam) v.printer.state = window.printer; return v; };
		const json = Response.prototype.json; Response.prototype.json = async function () { const v = await json.call(this); if (window.coming && v.slip) v.slip.state = "printing"; return v; }; }`)
	b.Open("/kiosk")
	pay := func() string {
		t.Helper()
		r.f.insert(cardA)
		b.Click("pay-other")
		typeAccount(b, acct)
		b.Click("account-next")
		b.Click("other-amount")
		b.Click("amount-1")
		b.Click("amount-next")
		b.Click("confirm-pay")
		b.See("result-verdict")
		l := r.f.booked()
		return l[len(l)-1].Name.String()
	}
	end := func(when string) {
		t.Helper()
		b.See("attract")
		nothingLeft(t, b, when)
	}

	id := pay()
	b.Says("result-next", "需要凭条请先打印")
	r.papers(t, 0) // nobody asked
	b.Survey("kiosk-25-print")
	b.Click("print")
	b.Says("result-next", "请取走凭条和您的卡")
	b.Until("there is one slip, and no more to ask for", `!document.querySelector('[data-testid="print"]').getClientRects().length`)
	b.Survey("kiosk-26-printed")
	if s := r.papers(t, 1)[0].Text(); !strings.Contains(s, id) || strings.Contains(s, "REPRINT") {
		t.Errorf("the first slip:\n%s", s)
	}
	r.f.insert(money.CardNumber{})
	end("after a slip on paper")
	// Another one is a copy, which is the counter's.
	if code, v := r.b.do("POST", "/api/v1/transactions/"+id+"/print", "{}"); code != 200 || v["copy"] != 1.0 || !strings.Contains(r.papers(t, 2)[1].Text(), "REPRINT 1") {
		t.Errorf("the copy: %d %v", code, v)
	}

	// The card is taken while the slip comes out: one is not sent away before.
	pay()
	b.Run(chromedp.Evaluate[chromedp.Void](`window.hold = true`))
	b.Click("print")
	b.Says("print", "正在打印")
	r.f.insert(money.CardNumber{})
	b.Until("it is asked", `window.held`)
	b.Says("result-verdict", "缴费成功")
	b.Run(chromedp.Evaluate[chromedp.Void](`window.hold = false; window.held()`))
	r.papers(t, 3)
	end("after a card that left first")

	// No paper: the picture, as calmly, and it stays when the card is gone.
	pay()
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	b.Click("print")
	b.Says("slip-caption", "现在打不出纸凭条")
	b.Until("the picture is there", `document.querySelector('[data-testid="slip"]').naturalWidth > 0`)
	b.Survey("kiosk-27-instead")
	r.f.insert(money.CardNumber{})
	b.See("slip-shown")
	b.Click("result-finish")
	end("after a slip on the screen")
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
	r.papers(t, 3)

	// The paper ends while the slip that nobody needs to ask for comes out.
	r.f.with(func() { r.f.result = journal.Unknown })
	b.Run(chromedp.Evaluate[chromedp.Void](`window.coming = true`))
	pay()
	b.Says("result-verdict", "不能确定")
	if kiosktest.Eval[bool](b, `document.querySelector('[data-testid="slip-shown"], [data-testid="print"]').getClientRects().length > 0`) {
		t.Error("a slip that prints by itself is offered or shown as well")
	}
	b.Run(chromedp.Evaluate[chromedp.Void](`window.printer = "paper_out"`))
	r.f.with(func() {})
	b.See("slip-shown")
	b.Quiet("503")
}

// What happens to the card beside this page shows on it by itself: the end of
// what was not certain, and a balance that the counter changed.
func TestBrowserKioskTurns(t *testing.T) {
	t.Parallel()
	f := newFake()
	s := newServer(t, f)
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), h.URL, 1024, 768)
	c := clerk(t, s)
	b.Ears()
	b.Open("/kiosk")
	f.insert(cardA)
	b.Says("card-balance", "¥120.00")
	if status, v := c.do("POST", "/api/v1/topups", topUpBodyOf(50_00, 50_00), key()...); status != http.StatusOK {
		t.Fatal(status, v)
	}
	b.Says("card-balance", "¥170.00")
	if kiosktest.Eval[bool](b, `document.querySelector('[data-testid="choose-refusal"]').getClientRects().length > 0`) {
		t.Error("a customer who typed nothing is told that something was lost")
	}

	b.Click("pay-other")
	typeAccount(b, acct)
	b.Click("account-next")
	b.Click("other-amount")
	b.Click("amount-5")
	b.Click("amount-next")
	f.with(func() { f.result = journal.Unknown })
	b.Click("confirm-pay")
	b.Says("result-verdict", "不能确定")
	b.Heard()
	f.insert(money.CardNumber{})
	b.Says("result-verdict", "不能确定") // its number stays
	f.insert(cardA)
	b.Says("result-verdict", "缴费成功")
	b.Says("result-amount", "¥5.00")
	if got := kiosktest.Eval[string](b, `document.querySelector('[data-testid="result-glyph"]').getAttribute("href")`); got != "#g-done" {
		t.Errorf("it looks like %s", got)
	}
	if got := b.Heard(); !slices.Equal(got, []float64{660, 880}) {
		t.Errorf("it sounds like %v", got)
	}
	b.Click("result-finish")
	b.See("take")
	b.Quiet("409")
}

// Off line and without paper is the most that stands on one screen.
func TestBrowserKioskOfflineNoPaper(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), printing(t, newServer(t, f)), 1024, 768)
	b.Inject(printerSays)
	b.Open("/kiosk")
	b.Run(chromedp.Evaluate[chromedp.Void](`window.printer = "paper_out"`))
	f.with(func() { f.status.Online = false })
	b.Says("banner", "没有联网")
	f.insert(cardA)
	b.Click("pay-other")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Says("account-title", "再输一遍")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Click("other-amount")
	b.Click("amount-1")
	b.Click("amount-next")
	b.Says("no-paper", "打不出凭条")
	b.Survey("kiosk-23-offline-nopaper")
	b.Click("confirm-pay")
	b.Says("result-verdict", "缴费成功")
	b.Until("the picture is there", `document.querySelector('[data-testid="slip"]').naturalWidth > 0`)
	b.Survey("kiosk-24-offline-slip")
	b.Quiet()
}

// Idle: after 60 s a question, after 20 s more everything is forgotten; in
// elder mode after 120 s and 30 s; never while money is in flight.
func TestBrowserKioskIdle(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Ears()
	b.HoldSeconds()
	b.Open("/kiosk")
	f.insert(cardA)
	shown := func(testid string) string {
		return `document.querySelector('` + kiosktest.ID(testid) + `').getClientRects().length`
	}
	for _, c := range []struct {
		elder      bool
		idle, more int
	}{{false, 60, 20}, {true, 120, 30}} {
		b.See("choose-view")
		if c.elder {
			b.Click("elder")
		}
		b.Click("pay-other")
		b.Click("account-4")
		if n := b.Seconds(500, shown("still")); n != c.idle {
			t.Errorf("elder %t: asked after %d s", c.elder, n)
		}
		b.Says("still-left", fmt.Sprint(c.more, " 秒"))
		b.Click("more-time")
		b.Says("account-typed", "4")
		if n := b.Seconds(500, shown("still")); n != c.idle {
			t.Errorf("elder %t: asked again after %d s", c.elder, n)
		}
		if n := b.Seconds(500, shown("take")); n != c.more {
			t.Errorf("elder %t: forgotten after %d s more", c.elder, n)
		}
		b.Click("go-on")
		b.Click("pay-other")
		b.Until("forgotten", `document.querySelector('[data-testid="account-typed"]').firstChild.textContent === ""`)
		b.Click("account-back")
	}

	// A card that nobody takes calls, softly and after 30 s not softly.
	b.Heard()
	b.Click("end")
	b.See("take")
	if n := b.Seconds(500, `document.querySelector('[data-testid="take"]').classList.contains("alarm")`); n != 30 {
		t.Errorf("the alarm comes after %d s", n)
	}
	if got := b.Heard(); len(got) < 3 || got[0] != 784 || !slices.Contains(got, 988) {
		t.Errorf("the card calls with %v", got)
	}
	f.insert(money.CardNumber{})
	b.See("attract")
	nothingLeft(t, b, "after the alarm")

	f.insert(cardA)
	b.See("choose-view")
	f.with(func() { f.status.Busy = true })
	b.See("working")
	if n := b.Seconds(500, `!`+shown("working")); n != 500 {
		t.Errorf("sent away after %d s, with money in flight", n)
	}
	f.with(func() { f.status.Busy = false })
	b.See("choose-view") // nobody was sent away meanwhile
	b.Quiet()
}

// The question of more time, in every form.
func TestBrowserKioskStill(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.HoldSeconds()
	b.Open("/kiosk")
	f.insert(cardA)
	b.See("choose-view")
	// 121 seconds: past both patiences, within neither's end, by the page's own clock.
	b.Click("elder")
	b.Seconds(121, `false`)
	b.See("still")
	for _, p := range kiosktest.Panels {
		b.Measure("kiosk-22-still-elder", p, true, false)
	}
	b.Axe("kiosk-22-still-elder")
	b.Shot("kiosk-22-still-elder")
	b.Click("more-time")
	b.Click("elder")
	b.Seconds(61, `false`)
	b.See("still")
	for _, p := range kiosktest.Panels {
		b.Measure("kiosk-22-still", p, false, false)
	}
	b.Axe("kiosk-22-still")
	b.Shot("kiosk-22-still")
	b.Quiet()
}

// Elder mode speaks: the shop's recording when there is one.
func TestBrowserKioskSpeaks(t *testing.T) {
	t.Parallel()
	f := newFake()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "zh-CN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "zh-CN", "a11y.say_choose.mp3"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, f, func(c *Config) { c.Prompts = dir })
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), h.URL, 1024, 768)
	b.Inject(`window.played = []; window.Audio = class { constructor(u) { window.played.push(u); } play() { return Promise.resolve(); } pause() {} };
		window.SpeechSynthesisUtterance = class { constructor(s) { this.text = s; } };
		Object.defineProperty(window, "speechSynthesis", { value: { getVoices: () => [{ lang: "zh-CN" }], speak: (u) => window.played.push(u.text), cancel() {} } });`)
	b.Open("/kiosk")
	b.See("attract")
	f.insert(cardA)
	b.See("choose-view")
	if got := kiosktest.Eval[int](b, `window.played.length`); got != 0 {
		t.Errorf("it speaks unasked: %d", got)
	}
	b.Click("elder")
	b.Until("the recording", `window.played.includes("/prompts/zh-CN/a11y.say_choose.mp3")`)
	b.Click("pay-other")
	b.Until("the browser's voice", `window.played.includes("请输入 10 位户号")`)
	f.insert(money.CardNumber{})
	b.See("attract")
	b.Until("silence for the next", `!document.documentElement.classList.contains("elder")`)
	b.Quiet()
}
