package kiosk

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/printer/printertest"
)

func serve(t *testing.T, f *fake, sim bool) string {
	t.Helper()
	s := newServer(t, f, func(c *Config) {
		if sim {
			c.Desk = fakeDesk{f}
		}
		c.Staff = append(c.Staff, Staff{ID: 9, Name: "周店主", PINHash: pins()[2], Rights: Rights})
	})
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	return h.URL
}

// The clerk's day with keys alone: log in, open the shift, top up, pay a
// bill, a top-up that is not done, one that is not certain, close the shift.
func TestBrowserClerk(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Open("/clerk")
	b.See("login")
	b.Look("clerk-login", 14, 44, "1024x768")
	b.TypeIn("login-pin", "0000\r")
	b.See("login-refusal")
	b.Quiet("401")
	b.TypeIn("login-pin", "2468\r")
	b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	b.Says("shift-label", "开班")
	b.Look("clerk-noshift", 14, 44, "1024x768")
	b.Press(kb.F8)
	b.See("shift-cash")
	b.Look("clerk-open", 14, 44, "1024x768")
	b.TypeIn("shift-cash", "200\r")
	b.Says("takings", "¥0.00")
	f.with(func() { f.status.Limits.CardDeposit = 10_00 })
	f.insert(stock)
	b.Says("card-number", "9012")
	b.Press(kb.F4)
	b.TypeIn("amount", "30\r")
	b.See("deposit")
	b.Look("clerk-sell", 14, 44, "1024x768", "1920x1080")
	b.Press(kb.Escape)
	f.with(func() { f.status.Limits.CardDeposit = 0 })
	f.insert(cardA)
	b.Says("card-number", "4821")
	b.Says("card-balance", "¥120.00")
	b.Look("clerk-card", 14, 44, "1024x768", "1920x1080")

	// Top up 50, 100 in cash, with keys only.
	b.Press(kb.F2)
	b.TypeIn("amount", "50\r")
	b.See("tendered")
	b.Press("100")
	b.Says("change", "¥50.00")
	b.Says("commit", "充值 ¥50.00 → 卡 …4821")
	b.Look("clerk-topup", 14, 44, "1024x768", "1920x1080")
	// The language was changed and nothing that was typed is lost.
	b.Says("change", "¥50.00")
	b.Run(chromedp.Focus(chromedp.CSS(kiosktest.ID("tendered"))))
	b.Press(kb.Enter)
	b.Settled("成功")
	b.Says("card-balance", "¥170.00")
	b.Says("result-facts", "¥50.00")
	b.Look("clerk-done", 14, 44, "1024x768", "1920x1080")
	b.Press(kb.Enter)
	b.See("do-topup")

	// A refusal says why and keeps what was typed.
	b.Press(kb.F2)
	b.TypeIn("amount", "5\r\r")
	b.Says("refusal", "至少 ¥10.00")
	b.Look("clerk-refused", 14, 44, "1024x768")
	b.Press(kb.Escape)
	// One that no field takes says the limit as well.
	b.Press(kb.F2)
	b.TypeIn("amount", "99999999")
	b.Says("commit", "一次最多 ¥")
	b.Press("\r")
	b.Says("refusal", f.Status().Limits.TopUpMax.Yuan())
	b.Says("refusal", "改小金额")
	b.Press(kb.Escape)

	// Above 200 the commit key is not the default.
	b.Press(kb.F2)
	b.TypeIn("amount", "300\r\r")
	b.See("confirm-text")
	b.Look("clerk-confirm", 14, 44, "1024x768")
	b.Press(kb.Enter)
	b.See("commit")
	b.Until("what was typed is kept", `document.querySelector('[data-testid="amount"]').value === "300"`)
	b.Press(kb.Escape)
	b.See("do-topup")
	if n := len(f.list); n != 1 {
		t.Fatalf("%d transactions after a large amount was only entered", n)
	}

	// Pay the bill.
	b.Press(kb.F3)
	b.TypeIn("account", "0100000017\r")
	b.Says("bill", "欠费 ¥86.40")
	b.Until("the amount owed is there", `document.querySelector('[data-testid="redeem-amount"]').value === "86.40"`)
	b.Look("clerk-redeem", 14, 44, "1024x768", "1920x1080")
	b.Run(chromedp.Focus(chromedp.CSS(kiosktest.ID("redeem-amount"))))
	b.Press(kb.Enter)
	b.Settled("成功")
	b.Says("card-balance", "¥83.60")
	b.Press(kb.Enter)

	// Not done: the cash goes back, F9 books it.
	f.with(func() { f.result = journal.NotDone })
	b.Press(kb.F2)
	b.TypeIn("amount", "20\r\r")
	b.Settled("没有成功")
	b.Look("clerk-notdone", 14, 44, "1024x768", "1920x1080")
	b.Press(kb.F9)
	b.Says("result-sentence", "现金已退")
	b.Press(kb.Escape)

	// Not certain: a number and no second try.
	f.with(func() { f.result = journal.Unknown })
	b.Press(kb.F2)
	b.TypeIn("amount", "20\r\r")
	b.Settled("结果待查")
	b.Says("result-facts", "310100001234-1-")
	b.Look("clerk-unknown", 14, 44, "1024x768", "1920x1080")
	b.Press(kb.Escape)

	// Off line is calm, with what is left; a void wants a second person.
	f.with(func() { f.status.Online = false })
	b.Says("banner", "14 分钟")
	b.Look("clerk-offline-home", 14, 44, "1024x768")
	b.Press(kb.F3)
	b.TypeIn("account", nobody.String()+"\r")
	b.Until("once more", `document.activeElement.name === "again"`)
	b.TypeIn("again", nobody.String()+"\r")
	b.TypeIn("redeem-amount", "5")
	b.Look("clerk-redeem-typed", 14, 44, "1024x768")
	b.Press(kb.Escape)
	b.Press(kb.F6)
	b.TypeIn("bill-account", acct.String()+"\r")
	b.Says("bill-shown", "86.40")
	b.Look("clerk-bill-offline", 14, 44, "1024x768")
	b.Press(kb.Escape)
	b.Press(kb.F7)
	b.See("history")
	b.Look("clerk-offline", 14, 44, "1024x768", "1920x1080")
	f.with(func() { f.status.Online = true; f.skew = 3 * time.Minute })
	b.Press(kb.Escape)
	b.Says("clock", "+180")
	b.Click("void")
	b.See("second-pin")
	b.Look("clerk-void", 14, 44, "1024x768")
	b.Run(chromedp.SetValue(chromedp.CSS(kiosktest.ID("second")), "9"))
	b.TypeIn("second-pin", "9999\r")
	b.Settled("成功")
	b.Press(kb.Enter)

	// Close, counted blind.
	b.Press(kb.F8)
	b.Look("clerk-shift", 14, 44, "1024x768")
	b.TypeIn("shift-cash", "215\r")
	b.Says("difference-sum", "少 ¥5.00")
	b.Look("clerk-difference", 14, 44, "1024x768")
	b.TypeIn("difference-note", "no change\r")
	b.Says("shift-sums", "¥220.00")
	b.Says("shift-sums", "-¥5.00")
	b.Says("shift-sums", "no change")
	b.Look("clerk-closed", 14, 44, "1024x768", "1920x1080")
	b.Press(kb.Enter)
	b.See("do-shift")
	b.Quiet("422", "401")
}

// TestBrowserCounter: what a counter does beside selling and paying, with keys
// alone: a bill in cash, a claim, a lost card, a pack of cards and its count,
// and the shift's sums.
func TestBrowserCounter(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Open("/clerk")
	b.Until("the list of staff is there", `document.querySelector('[data-testid="login-staff"] option[value="9"]')`)
	b.Run(chromedp.SetValue(chromedp.CSS(kiosktest.ID("login-staff")), "9"))
	b.TypeIn("login-pin", "9999\r")
	b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	b.Press(kb.F9)
	b.See("menu")
	b.Until("nothing is paid out without a shift", `document.querySelector('[data-testid="menu-claim"]').disabled`)
	b.Press(kb.F8)
	b.TypeIn("shift-cash", "200\r")
	b.Says("takings", "¥0.00")
	b.See("do-bill")

	b.Press(kb.F6)
	b.TypeIn("bill-account", "0100000017\r")
	b.Says("bill-shown", "欠费 ¥86.40")
	b.Until("the amount owed is there", `document.querySelector('[data-testid="bill-amount"]').value === "86.40" && document.activeElement.name === "amount"`)
	b.Press("\r")
	b.Until("the cash is asked for", `document.activeElement.name === "tendered"`)
	b.Press("100")
	b.Says("bill-change", "¥13.60")
	b.Says("bill-commit", "收现金缴费 ¥86.40")
	b.Look("counter-bill", 14, 44, "1024x768", "1920x1080")
	b.Run(chromedp.Focus(chromedp.CSS(kiosktest.ID("bill-tendered"))))
	b.Press("\r")
	b.Settled("成功")
	b.Says("result-sentence", "86.40")
	b.Look("counter-bill-done", 14, 44, "1024x768")
	b.Press(kb.Enter)
	b.See("do-topup")

	b.Press(kb.F9)
	b.See("menu")
	b.Look("counter-more", 14, 44, "1024x768", "1920x1080")
	b.Press("1")
	b.TypeIn("claim-slip", slipB.String()+"x\r")
	b.Says("refusal", "这不是凭条号")
	b.Press(kb.Backspace)
	b.Press("\r")
	b.Says("claim-shown", "待领")
	b.Look("counter-claim", 14, 44, "1024x768")
	b.Run(chromedp.Focus(chromedp.CSS(kiosktest.ID("claim-cash"))))
	b.Press("\r")
	b.Settled("成功")
	b.Press(kb.Enter)
	b.See("do-topup")

	// A card is stopped only after a second look, and Enter is not that.
	lost := cardA.String()
	b.Press(kb.F9)
	b.See("menu")
	b.Press("2")
	b.TypeIn("lost-number", lost)
	b.Says("lost-commit", "挂失卡 …4821")
	b.Look("counter-lost", 14, 44, "1024x768")
	b.Run(chromedp.Focus(chromedp.CSS(kiosktest.ID("lost-number"))))
	b.Press("\r")
	b.Says("confirm-text", "…4821")
	b.Says("confirm-text", lost[:4]+"\u00a0"+lost[4:8]+"\u00a0"+lost[8:12]+"\u00a0"+lost[12:16]+"\u00a0"+lost[16:])
	b.Look("counter-lost-sure", 14, 44, "1024x768")
	if f.blocked[cardA] {
		t.Fatal("stopped before anybody looked twice")
	}
	b.Press("\t\r")
	b.Says("result-facts", "310100001234-1-")
	b.Look("counter-blocked", 14, 44, "1024x768")
	b.Press(kb.Escape)
	b.Press(kb.F9)
	b.See("menu")
	b.Press("3")
	b.Until("what Enter does is for a dead card", `document.activeElement?.dataset.testid === "renew-dead"`)
	b.Look("counter-renew-dead", 14, 44, "1024x768")
	f.insert(cardB)
	b.Says("renew-commit", "转出全部") // this one still reads
	b.Look("counter-renew", 14, 44, "1024x768")
	f.insert(money.CardNumber{})
	b.Until("what Enter does is for a dead card", `document.activeElement?.dataset.testid === "renew-dead"`)
	b.Press("\r")
	b.TypeIn("lost-number", lost)
	b.Look("counter-replace", 14, 44, "1024x768")
	b.Press(kb.Escape)

	b.Press(kb.F9)
	b.See("menu")
	b.Press("4")
	b.TypeIn("stock-from", stock.String()+"\r")
	b.Until("the last card is asked for", `document.activeElement.name === "to"`)
	b.Press(stock.String())
	b.Says("stock-commit", "入库 1 张")
	b.Press("\r")
	b.Says("stock-packs", "应有 9 张")
	b.Look("counter-stock", 14, 44, "1024x768")
	b.Press(kb.Escape)
	b.Press(kb.F9)
	b.See("menu")
	b.Press("5")
	b.See("stock-packs")
	b.Until("a field for the count", `document.querySelector('[data-testid="stock-packs"] input')`)
	b.Look("counter-count", 14, 44, "1024x768")
	b.Run(chromedp.Focus(chromedp.CSS(`[data-testid="stock-packs"] input`)))
	b.Press("1\r")
	b.See("do-topup")

	b.Press(kb.F9)
	b.See("menu")
	b.Press("6")
	b.Says("report-title", "（X）")
	b.Until("what should be in the drawer is not told", `!document.querySelector('[data-testid="shift-sums"]').textContent.includes("应有现金")`)
	b.Look("counter-x", 14, 44, "1024x768")
	b.Press(kb.Escape)
	b.Press(kb.F8)
	b.TypeIn("shift-cash", "200\r")
	b.See("difference-sum")
	b.Press("\r")
	b.Says("report-title", "（Z）")
	b.Press(kb.Enter)
	b.Press(kb.F9)
	b.See("menu")
	b.Press("7")
	b.Says("closings", "第 1 班")
	b.Look("counter-closings", 14, 44, "1024x768")
	b.Quiet("400", "422", "404", "409")
}

// TestBrowserTypedAhead: a clerk who knows the keys does not wait for the page.
// What is pressed while it waits for an answer is done after that, but never
// where meanwhile something else came up.
func TestBrowserTypedAhead(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Inject(`{ const real = window.fetch; window.held = []; window.fetch = async (u, o) => { const r = await real(u, o); if (/login|history/.test(u)) await new Promise((go) => window.held.push(go)); return r; }; }`)
	waits := func() {
		b.Until("the answer is held back", `window.held.length === 1`)
	}
	answer := func() { kiosktest.Eval[int](b, `(window.held.pop()(), 0)`) }
	b.Open("/clerk")
	b.TypeIn("login-pin", "2468\r")
	waits()
	b.Press(kb.F8)
	answer()
	b.TypeIn("shift-cash", "200\r")
	b.Says("takings", "¥0.00")

	f.insert(cardA)
	b.Says("card-number", "4821")
	b.Until("the card's log can be asked for", `!document.querySelector('[data-testid="do-history"]').disabled`)
	b.Press(kb.F7)
	waits()
	b.Press(kb.F2) // at the first view, which is not there any more
	answer()
	b.See("history")
	b.Until("nothing was begun", `!document.querySelector('[data-testid="amount"]').getClientRects().length`)
}

// TestBrowserKeysAlone: a clerk who has never seen it, with keys and no mouse, and with what the
// screen says: sells a card, tops up, pays for a customer, takes a bill in
// cash, takes a top-up back and closes the shift.
func TestBrowserKeysAlone(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	// at waits until the keys go where a person is told to type or to press.
	at := func(testid string) {
		t.Helper()
		b.Until("the keys go to "+testid, `document.activeElement?.dataset.testid === "`+testid+`"`)
	}
	b.Open("/clerk")
	at("login-pin")
	b.Press("2468\r")
	b.Says("home-hint", "开班")
	at("do-shift") // what is to be done first is where Enter goes
	b.Press("\r")
	at("shift-cash")
	b.Press("200\r")
	b.Says("takings", "¥0.00")

	f.insert(stock)
	b.Says("home-hint", "F4")
	b.Shot("keys-1-stock")
	b.Press(kb.F4)
	at("amount")
	b.Press("30\r")
	at("tendered")
	b.Press("50")
	b.Says("change", "¥20.00")
	b.Says("commit", "…9012")
	b.Shot("keys-2-sell")
	b.Press("\r")
	b.Settled("成功")
	b.Press("\r")
	b.See("home-hint")

	f.insert(cardA)
	b.Says("card-number", "4821")
	at("do-topup")
	b.Press("\r") // as F2
	at("amount")
	b.Press("50\r")
	at("tendered")
	b.Press("100\r")
	b.Settled("成功")
	b.Says("result-facts", "¥50.00") // the change
	b.Press("\r")

	at("do-topup")
	b.Press(kb.ArrowRight)
	at("do-redeem")
	b.Press("\r") // as F3
	at("account")
	b.Press(acct.String() + "\r")
	at("redeem-amount")
	b.Says("bill", "*建国")
	b.Shot("keys-3-redeem")
	b.Press("\r")
	b.Settled("成功")
	b.Press("\r")

	at("do-topup")
	b.Press(kb.ArrowDown)
	at("do-bill")
	b.Press("\r") // as F6
	at("bill-account")
	b.Press(acct.String() + "\r")
	b.Until("the amount is asked for", `["bill-amount", "bill-commit"].includes(document.activeElement?.dataset.testid)`)
	b.Press("20\r")
	at("bill-tendered")
	b.Press("20\r")
	b.Settled("成功")
	b.Press("\r")

	// The list's sign says where it is; what can be taken back says so.
	at("do-topup")
	for range 2 {
		b.Press(kb.ArrowRight)
	}
	b.Until("the list of what was done", `document.activeElement.closest(".recent")`)
	f.with(func() { f.status.Online = false }) // what is drawn anew meanwhile takes no key away
	b.Says("link", "离线")
	f.with(func() { f.status.Online = true })
	b.Says("link", "在线")
	for range 6 {
		if kiosktest.Eval[bool](b, `document.activeElement.textContent.includes("充值")`) {
			break
		}
		b.Press(kb.ArrowDown)
	}
	b.Press(kb.ArrowRight)
	at("void")
	b.Shot("keys-4-void")
	b.Press("\r")
	at("second-pin")
	b.Says("confirm-text", "¥50.00")
	b.Press("9999\r")
	b.Settled("成功")
	b.Press("\r")

	// The list behind F9, with arrows as well as with its digits.
	at("do-topup")
	b.Press(kb.F9)
	at("menu-claim")
	b.Press(kb.ArrowRight)
	b.Press(kb.ArrowDown)
	if got := kiosktest.Eval[string](b, `document.activeElement.dataset.testid`); !strings.HasPrefix(got, "menu-") || got == "menu-claim" {
		t.Errorf("the arrows lead to %q", got)
	}
	b.Press(kb.Escape)

	b.See("do-shift")
	b.Press(kb.F8)
	at("shift-cash")
	if kiosktest.Eval[bool](b, `document.querySelector('[data-view="shift"]').textContent.includes("220")`) {
		t.Error("the count is not blind")
	}
	b.Shot("keys-5-count")
	b.Press("220\r")
	b.Says("report-title", "（Z）")
	b.Says("shift-sums", "相符")
	b.Shot("keys-6-z")
	b.Press("\r")
	b.Says("home-hint", "开班")
	b.Quiet()
}

// TestBrowserPaper: without paper no cash is booked until the clerk goes on
// without a slip; the slip comes later, and the result stays what it was.
func TestBrowserPaper(t *testing.T) {
	t.Parallel()
	r := newPrintRig(t)
	h := httptest.NewServer(r.s)
	t.Cleanup(func() { r.s.stop(); h.CloseClientConnections(); h.Close() })
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), h.URL, 1024, 768)
	b.Open("/clerk")
	b.See("login")
	b.TypeIn("login-pin", "2468\r")
	b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	b.Says("card-balance", "¥120.00")
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	b.Press(kb.F2)
	b.TypeIn("amount", "50\r")
	b.Until("the cash is proposed", `document.activeElement.name === "tendered" && document.activeElement.value === "50.00"`)
	kiosktest.Eval[bool](b, `(() => { const e = document.querySelector('[data-testid="amount"]'); e.focus(); e.select(); return true; })()`)
	b.Press("60")
	b.Until("and goes with its amount", `document.querySelector('[data-testid="tendered"]').value === ""`)
	b.Press("\r\r")
	b.See("no-slip")
	b.Look("paper-refusal", 14, 44, "1024x768")
	b.Press(kb.F1)
	b.Settled("成功")
	r.sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
	b.Press(kb.F1)
	b.Says("result-facts", "已打印")
	b.Says("result-verdict", "成功")
	b.Look("paper-later", 14, 44, "1024x768")
	r.papers(t, 1)
	b.Quiet("503")
}

// TestBrowserStaff: a manager adds a person, who must choose a PIN and can do no
// more than was given; a login card names its owner; who is locked out is out.
func TestBrowserStaff(t *testing.T) {
	t.Parallel()
	f := newFake()
	url := serve(t, f, false)
	browser := kiosktest.NewBrowser(t)
	in := func(b *kiosktest.Tab, staff, pin string) {
		t.Helper()
		b.Until("the list of staff is there", `document.querySelector('[data-testid="login-staff"] option[value="`+staff+`"]')`)
		b.Run(chromedp.SetValue(chromedp.CSS(kiosktest.ID("login-staff")), staff))
		b.TypeIn("login-pin", pin+"\r")
	}
	inside := func(b *kiosktest.Tab) {
		t.Helper()
		b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	}
	people := func(b *kiosktest.Tab) {
		t.Helper()
		b.See("do-more")
		b.Press(kb.F9)
		b.Click("menu-people")
		b.See("people-add")
	}
	boss := kiosktest.NewTab(t, browser, url, 1024, 768)
	boss.Open("/clerk")
	in(boss, "9", "9999")
	inside(boss)
	people(boss)
	boss.Look("staff-list", 14, 44, "1024x768")
	boss.Click("people-add")
	boss.TypeIn("person-number", "21")
	boss.TypeIn("person-name", "小周")
	boss.Click("right-topup")
	boss.TypeIn("person-pin", "1234")
	boss.TypeIn("person-again", "1234")
	boss.Look("staff-add", 14, 44, "1024x768", "1920x1080")
	boss.Click("person-commit")
	boss.See("refusal") // guessed first
	boss.TypeIn("person-pin", "8061")
	boss.TypeIn("person-again", "8061")
	boss.Click("person-commit")
	boss.Says("people", "小周")
	boss.Says("people", "下次登录要改密码")

	// A browser of one's own: two tabs of one would share the session.
	clerk := kiosktest.NewTab(t, kiosktest.NewBrowser(t), url, 1024, 768)
	clerk.Open("/clerk")
	in(clerk, "21", "8061")
	clerk.Says("login-title", "请先改密码")
	clerk.Look("staff-own-pin", 14, 44, "1024x768")
	clerk.TypeIn("login-pin", "8061")
	clerk.TypeIn("login-next", "2907")
	clerk.TypeIn("login-again", "2907\r")
	inside(clerk)
	clerk.See("do-more")
	clerk.Press(kb.F9)
	clerk.See("menu")
	clerk.Until("no more rights than were given", `document.querySelector('[data-testid="menu-people"]').disabled && document.querySelector('[data-testid="menu-x"]').disabled`)

	// The card that is in the reader names its owner at the login.
	f.insert(cardA)
	boss.Click("person-21")
	boss.Says("person-card", "4821")
	boss.Look("staff-person", 14, 44, "1024x768")
	boss.Click("person-card")
	boss.Says("people", "4821")
	clerk.Press(kb.F10)
	clerk.See("login-pin")
	clerk.Until("the card names its owner", `document.querySelector('[data-testid="login-staff"]').value === "21"`)
	clerk.TypeIn("login-pin", "2907\r")
	inside(clerk)

	boss.Click("person-21")
	boss.Click("person-lock")
	boss.Says("people", "已停用")
	clerk.See("login-pin")
	clerk.Until("and is named no more", `!document.querySelector('[data-testid="login-staff"] option[value="21"]')`)
	boss.Press(kb.Escape)
	boss.See("do-more")
	boss.Press(kb.F9)
	boss.Click("menu-acts")
	boss.Says("acts", "加人")
	boss.Look("staff-acts", 14, 44, "1024x768")
	boss.Quiet("422", "401", "403", "400")
}

// deskOf serves a Server with a simulated desk and its printer.
func deskOf(t *testing.T, f *fake) (string, *printertest.Printer) {
	t.Helper()
	sim, p, end := plug()
	t.Cleanup(end)
	s := newServer(t, f, func(c *Config) { c.Printer, c.Desk = p, paperDesk{fakeDesk{f}, sim, p} })
	h := httptest.NewServer(s)
	t.Cleanup(func() { s.stop(); h.CloseClientConnections(); h.Close() })
	return h.URL, sim
}

func TestBrowserDesk(t *testing.T) {
	t.Parallel()
	f := newFake()
	browser := kiosktest.NewBrowser(t)
	url, sim := deskOf(t, f)
	b := kiosktest.NewTab(t, browser, url, 1024, 768)
	b.Open("/")
	b.See("to-desk")
	b.Look("home", 14, 44, "1024x768")
	b.Click("to-desk")
	b.Click("put-wang")
	b.Says("in-reader", "4821")
	b.Click("link-toggle")
	b.Says("link", "离线")
	b.Click("tear-during")
	b.Says("tear", "执行中断")
	b.Click("printer-paper_out")
	b.Says("printer", "缺纸")
	if !sim.Condition().PaperOut {
		t.Error("the printer still has paper")
	}
	b.Click("printer-ok")
	b.Says("printer", "正常")
	b.Click("clock-day")
	b.Says("clock", "11月24日")
	b.Click("link-toggle")
	b.Click("tear-none")
	b.Open("/kiosk?lang=en")
	b.Says("card-balance", "¥120.00")
	b.Click("pay-other")
	for _, d := range acct.String() {
		b.Click("account-" + string(d))
	}
	b.Click("account-next")
	b.Click("pay-owed")
	b.Says("confirm-pay", "Pay ¥86.40")
	b.Click("confirm-pay")
	b.Says("result-verdict", "Bill paid")
	b.Open("/desk")
	b.Says("ledger", "+¥86.40")
	b.Look("desk", 14, 44, "1024x768", "1920x1080")
	b.Quiet()
}
