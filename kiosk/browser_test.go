package kiosk

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// tab is one page of a real browser. It fails the test when the page logs an
// error that was not foreseen.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu     sync.Mutex
	errors []string
}

// chromium finds a browser, or skips; DIANKA_REQUIRE_BROWSER=1 forbids that.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	if os.Getenv("DIANKA_REQUIRE_BROWSER") == "1" {
		t.Fatal("no chromium, and DIANKA_REQUIRE_BROWSER=1")
	}
	t.Skip("no chromium")
	return ""
}

func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path := chromium(t)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", true), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.Flag("mute-audio", true),
	)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func newTab(t *testing.T, browser context.Context, url string, width, height int64) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: url}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			switch m.Type {
			case "error", "warning", "assert", chromedp.ConsoleException:
				b.mu.Lock()
				b.errors = append(b.errors, m.Text+" "+m.URL)
				b.mu.Unlock()
			}
		}
	}()
	b.run(chromedp.EmulateViewport(width, height))
	return b
}

func (b *tab) run(a ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, a...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("%v; the page logged %q", err, b.errors)
	}
}

func id(testid string) string { return `[data-testid="` + testid + `"]` }

func (b *tab) open(path string) { b.t.Helper(); b.run(chromedp.Navigate(b.url + path)) }
func (b *tab) see(testid string) {
	b.t.Helper()
	b.until(testid+" is seen", `(() => { const e = document.querySelector('`+id(testid)+`'); return Boolean(e && e.getClientRects().length); })()`)
}
func (b *tab) click(testid string) {
	b.t.Helper()
	b.until(testid+" can be pressed", `(() => { const e = document.querySelector('`+id(testid)+`'); return Boolean(e && e.getClientRects().length && !e.disabled); })()`)
	b.run(chromedp.Click(chromedp.CSS(id(testid))))
}
func (b *tab) press(keys string) { b.t.Helper(); b.run(chromedp.KeyEvent(keys)) }
func (b *tab) typeIn(testid, text string) {
	b.t.Helper()
	b.see(testid)
	b.run(chromedp.SendKeys(chromedp.CSS(id(testid)), text))
}
func (b *tab) text(testid string) string {
	b.t.Helper()
	return eval[string](b, `document.querySelector('`+id(testid)+`').textContent`)
}

// settled waits until a result stands and can be left by a key.
func (b *tab) settled(verdict string) {
	b.t.Helper()
	b.says("result-verdict", verdict)
	b.until("the result is settled", `["finish", "cash-returned"].includes(document.activeElement?.dataset.testid)`)
}

// until waits for an expression to hold.
func (b *tab) until(what, js string) {
	b.t.Helper()
	// Asked again and again from here, so that it survives a change of page.
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; {
		var ok bool
		if ok, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+js+")")); ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.shot("failed-" + filepath.Base(b.t.Name()))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Fatalf("never: %s (%v); the page logged %q", what, err, b.errors)
}
func (b *tab) says(testid, text string) {
	b.t.Helper()
	b.until(testid+" says "+text, fmt.Sprintf(`document.querySelector('%s')?.textContent.includes(%q)`, id(testid), text))
}

// shot keeps a picture in the folder that DIANKA_SHOTS names, if any.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("DIANKA_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Log(err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// quiet asserts that the page logged no error. Refusals are answered with
// HTTP errors, which browsers log; allowed are those that are named.
func (b *tab) quiet(allowed ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, e := range b.errors {
		for _, a := range allowed {
			if strings.Contains(e, a) {
				continue next
			}
		}
		b.t.Errorf("the page logged: %s", e)
	}
	b.errors = nil
}

// rules measures what is shown: text size, target size, contrast, nothing
// cut off at the sides, nothing covered.
const rules = `((minText, minTarget) => {
  const bad = [];
  const rgb = (s) => (s.match(/[\d.]+/g) ?? []).map(Number);
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > .95) return c.slice(0, 3); } return [255, 255, 255]; };
  const name = (e) => (e.dataset.testid ?? e.className ?? e.tagName) + ' "' + (e.textContent ?? "").trim().slice(0, 30) + '"';
  const veil = [...document.querySelectorAll(".veil")].find((v) => v.getClientRects().length);
  const root = veil ?? document.body;
  if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is wider than the screen: " + document.documentElement.scrollWidth);
  for (const e of root.querySelectorAll("*")) {
    if (!e.getClientRects().length || e.closest("svg, script")) continue;
    const s = getComputedStyle(e), r = e.getBoundingClientRect();
    if (e.matches("button, a, select, input")) {
      if (r.height < minTarget - .5 || r.width < minTarget - .5) bad.push("small target " + name(e) + " " + Math.round(r.width) + "x" + Math.round(r.height));
      if (!e.closest("ol, table") && (r.left < -1 || r.right > innerWidth + 1 || r.top < -1 || (document.body.classList.contains("public") && r.bottom > innerHeight + 1))) bad.push("off the screen: " + name(e) + " " + [r.left, r.top, r.right, r.bottom].map(Math.round));
      const x = r.left + r.width / 2, y = r.top + r.height / 2;
      if (y > 0 && y < innerHeight && !e.closest("ol, .stage")) { const top = document.elementFromPoint(x, y); if (top && !e.contains(top) && !top.contains(e)) bad.push("covered: " + name(e) + " by " + name(top)); }
    }
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || s.visibility === "hidden") continue;
    const size = parseFloat(s.fontSize);
    if (size < minText) bad.push("small text " + name(e) + " " + size);
    if (e.matches(":disabled, :disabled *")) continue;
    const fg = lum(rgb(s.color).slice(0, 3)), bg = lum(ground(e));
    const ratio = (Math.max(fg, bg) + .05) / (Math.min(fg, bg) + .05);
    if (ratio < 4.5) bad.push("contrast " + ratio.toFixed(2) + " " + name(e));
    if (!e.closest("ol, dl.strip, .where, .tray") && e.scrollWidth > e.clientWidth + 2 && s.overflow !== "visible" && e.clientWidth) bad.push("cut off: " + name(e));
  }
  return bad;
})(%d, %d)`

// obeys checks the rules of field.md section 5 on what is shown now.
func (b *tab) obeys(what string, minText, minTarget int) {
	b.t.Helper()
	for _, s := range eval[[]string](b, fmt.Sprintf(rules, minText, minTarget)) {
		b.t.Errorf("%s: %s", what, s)
	}
}

// sizes are the screens that a shop has.
var sizes = []struct {
	name string
	w, h int64
}{{"1024x768", 1024, 768}, {"1920x1080", 1920, 1080}, {"portrait", 800, 1280}}

// look checks a screen in every size and both languages, and keeps pictures.
func (b *tab) look(name string, minText, minTarget int, only ...string) {
	b.t.Helper()
	for _, size := range sizes {
		if len(only) > 0 && !strings.Contains(strings.Join(only, " "), size.name) {
			continue
		}
		b.run(chromedp.EmulateViewport(size.w, size.h))
		for range Languages {
			what := name + "-" + size.name + "-" + eval[string](b, `document.documentElement.lang`)
			b.obeys(what, minText, minTarget)
			b.shot(what)
			b.run(chromedp.Evaluate[chromedp.Void](`document.querySelector('` + id("lang") + `').click()`))
		}
	}
	b.run(chromedp.EmulateViewport(sizes[0].w, sizes[0].h))
}

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
	b := newTab(t, newBrowser(t), serve(t, f, false), 1024, 768)
	b.open("/clerk")
	b.see("login")
	b.look("clerk-login", 14, 44, "1024x768")
	b.typeIn("login-pin", "0000\r")
	b.see("login-refusal")
	b.quiet("401")
	b.typeIn("login-pin", "2468\r")
	b.until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	b.says("shift-label", "开班")
	b.look("clerk-noshift", 14, 44, "1024x768")
	b.press(kb.F8)
	b.typeIn("shift-cash", "200\r")
	b.says("takings", "¥0.00")
	f.insert(cardA)
	b.says("card-number", "4821")
	b.says("card-balance", "¥120.00")
	b.look("clerk-card", 14, 44, "1024x768", "1920x1080")

	// Top up 50, 100 in cash, with keys only.
	b.press(kb.F2)
	b.typeIn("amount", "50\r")
	b.see("tendered")
	b.press("100")
	b.says("change", "¥50.00")
	b.says("commit", "充值 ¥50.00 → 卡 …4821")
	b.look("clerk-topup", 14, 44, "1024x768", "1920x1080")
	// The language was changed and nothing that was typed is lost.
	b.says("change", "¥50.00")
	b.run(chromedp.Focus(chromedp.CSS(id("tendered"))))
	b.press(kb.Enter)
	b.settled("成功")
	b.says("card-balance", "¥170.00")
	b.says("result-facts", "¥50.00")
	b.look("clerk-done", 14, 44, "1024x768", "1920x1080")
	b.press(kb.Enter)
	b.see("do-topup")

	// A refusal says why and keeps what was typed.
	b.press(kb.F2)
	b.typeIn("amount", "5\r\r")
	b.says("refusal", "至少 ¥10.00")
	b.look("clerk-refused", 14, 44, "1024x768")
	b.press(kb.Escape)

	// Above 200 the commit key is not the default.
	b.press(kb.F2)
	b.typeIn("amount", "300\r\r")
	b.see("confirm-text")
	b.look("clerk-confirm", 14, 44, "1024x768")
	b.press(kb.Enter)
	b.see("do-topup")
	if n := len(f.list); n != 1 {
		t.Fatalf("%d transactions after a large amount was only entered", n)
	}

	// Pay the bill.
	b.press(kb.F3)
	b.typeIn("account", "0100000017\r")
	b.says("bill", "欠费 ¥86.40")
	b.until("the amount owed is there", `document.querySelector('[data-testid="redeem-amount"]').value === "86.40"`)
	b.look("clerk-redeem", 14, 44, "1024x768")
	b.run(chromedp.Focus(chromedp.CSS(id("redeem-amount"))))
	b.press(kb.Enter)
	b.settled("成功")
	b.says("card-balance", "¥83.60")
	b.press(kb.Enter)

	// Not done: the cash goes back, F9 books it.
	f.with(func() { f.result = journal.NotDone })
	b.press(kb.F2)
	b.typeIn("amount", "20\r\r")
	b.settled("没有成功")
	b.look("clerk-notdone", 14, 44, "1024x768", "1920x1080")
	b.press(kb.F9)
	b.says("result-sentence", "现金已退")
	b.press(kb.Escape)

	// Not certain: a number and no second try.
	f.with(func() { f.result = journal.Unknown })
	b.press(kb.F2)
	b.typeIn("amount", "20\r\r")
	b.settled("结果待查")
	b.says("result-facts", "310100001234-1-")
	b.look("clerk-unknown", 14, 44, "1024x768", "1920x1080")
	b.press(kb.Escape)

	// Off line is calm, with what is left; a void wants a second person.
	f.with(func() { f.status.Online = false })
	b.says("banner", "14 分钟")
	b.press(kb.F7)
	b.see("history")
	b.look("clerk-offline", 14, 44, "1024x768", "1920x1080")
	f.with(func() { f.status.Online = true; f.skew = 3 * time.Minute })
	b.press(kb.Escape)
	b.says("clock", "+180")
	b.click("void")
	b.see("second-pin")
	b.look("clerk-void", 14, 44, "1024x768")
	b.run(chromedp.SetValue(chromedp.CSS(id("second")), "9"))
	b.typeIn("second-pin", "9999\r")
	b.settled("成功")
	b.press(kb.Enter)

	// Close, counted blind.
	b.press(kb.F8)
	b.look("clerk-shift", 14, 44, "1024x768")
	b.typeIn("shift-cash", "215\r")
	b.says("shift-sums", "¥220.00")
	b.says("shift-sums", "-¥5.00")
	b.look("clerk-closed", 14, 44, "1024x768")
	b.press(kb.Enter)
	b.see("do-shift")
	b.quiet("422", "401")
}

// A customer pays: every step measured in three sizes and both languages,
// one language change in the middle, and nothing left behind.
func TestBrowserKiosk(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := newTab(t, newBrowser(t), serve(t, f, false), 1024, 768)
	b.open("/kiosk")
	b.see("attract")
	b.look("kiosk-1-attract", 18, 60)
	f.insert(cardA)
	b.says("card-balance", "¥120.00")
	for _, d := range "010000001" {
		b.click("account-" + string(d))
	}
	b.look("kiosk-2-account", 18, 60)
	b.says("account-typed", "0100 0000 1")
	b.click("account-7")
	b.click("account-next")
	b.says("bill", "¥86.40")
	b.click("amount-2")
	b.click("amount-0")
	b.look("kiosk-3-amount", 18, 60)
	b.click("amount-next")
	b.says("confirm-facts", "¥20.00")
	b.look("kiosk-4-confirm", 18, 60)
	b.click("confirm-pay")
	b.says("result-verdict", "缴费成功")
	b.look("kiosk-5-done", 18, 60)
	if len(f.list) != 1 || f.list[0].Actor.Kind != journal.ActorCustomer || f.list[0].Amount != 2000 {
		t.Fatalf("booked %+v", f.list)
	}
	f.insert(money.CardNumber{})
	b.see("bye")
	b.see("attract")
	left := eval[string](b, `document.body.innerText + [...document.querySelectorAll("output, dl, .huge")].filter((e) => e.getClientRects().length).map((e) => e.textContent).join()`)
	for _, secret := range []string{"4821", "0100", "86.40", "100.00", "建国"} {
		if strings.Contains(left, secret) {
			t.Errorf("the next person sees %q", secret)
		}
	}

	// The card leaves in the middle: everything is forgotten.
	f.insert(cardA)
	b.click("account-3")
	b.says("account-typed", "3")
	f.insert(money.CardNumber{})
	b.see("attract")
	f.insert(cardB)
	b.says("card-balance", "¥1,234.56")
	b.until("the account is empty", `document.querySelector('[data-testid="account-typed"]').firstChild.textContent === ""`)

	// Off line, an account that nobody can look up is typed twice.
	f.with(func() { f.status.Online = false })
	b.says("banner", "没有联网")
	for range 2 {
		for _, d := range nobody.String() {
			b.click("account-" + string(d))
		}
		b.look("kiosk-offline", 18, 60, "1024x768", "portrait")
		b.click("account-next")
		b.until("the card's server answered", `!document.querySelector('[data-testid="account-next"]').getClientRects().length || document.querySelector('[data-testid="account-typed"]').firstChild.textContent === ""`)
	}
	b.click("amount-5")
	b.click("amount-next")
	b.says("confirm-facts", "未核实")
	f.with(func() { f.result = journal.Unknown })
	b.click("confirm-pay")
	b.says("result-verdict", "结果还不能确定")
	b.look("kiosk-unknown", 18, 60, "1024x768", "portrait")
	f.insert(money.CardNumber{}) // the number stays until it is noted
	b.says("result-facts", "310100001234-1-")
	b.click("result-finish")
	b.see("attract")

	// A top-up is never to be had here; a blocked card is told calmly.
	f.with(func() {
		f.status.Card = *f.cards[cardA]
		f.status.Card.State, f.status.Card.Problem = "refused", "card_blocked"
	})
	b.says("trouble-sentence", "挂失")
	b.look("kiosk-blocked", 18, 60, "1024x768", "portrait")
	f.with(func() { f.status.PSAM.Present = false })
	b.see("out-of-service")
	b.quiet()
}

// Idle: after 60 s a question, after 20 s more everything is forgotten; but
// never while the card is being written.
func TestBrowserKioskIdle(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := newTab(t, newBrowser(t), serve(t, f, false), 1024, 768)
	b.open("/")
	b.fastSeconds()
	b.open("/kiosk")
	f.insert(cardA)
	b.click("account-4")
	b.see("still")
	b.click("more-time")
	b.says("account-typed", "4")
	b.see("still")
	b.look("kiosk-still", 18, 60, "1024x768")
	b.see("take")
	b.look("kiosk-take", 18, 60, "1024x768")
	b.click("go-on")
	b.until("forgotten", `document.querySelector('[data-testid="account-typed"]').firstChild.textContent === ""`)
	f.with(func() { f.status.Busy = true })
	b.see("working")
	b.run(chromedp.Sleep(5 * time.Second)) // 100 of the page's seconds
	b.see("working")
	b.quiet()
}

func TestBrowserDesk(t *testing.T) {
	t.Parallel()
	f := newFake()
	browser := newBrowser(t)
	b := newTab(t, browser, serve(t, f, true), 1024, 768)
	b.open("/")
	b.see("to-desk")
	b.look("home", 14, 44, "1024x768")
	b.click("to-desk")
	b.click("put-wang")
	b.says("in-reader", "4821")
	b.click("link-toggle")
	b.says("link", "离线")
	b.click("tear-during")
	b.says("tear", "执行中断")
	b.click("clock-day")
	b.says("clock", "11月24日")
	b.click("link-toggle")
	b.click("tear-none")
	b.open("/kiosk?lang=en")
	b.says("card-balance", "¥120.00")
	for _, d := range acct.String() {
		b.click("account-" + string(d))
	}
	b.click("account-next")
	b.click("pay-owed")
	b.says("confirm-pay", "Pay ¥86.40")
	b.click("confirm-pay")
	b.says("result-verdict", "Bill paid")
	b.open("/desk")
	b.says("ledger", "+¥86.40")
	b.look("desk", 14, 44, "1024x768", "1920x1080")
	b.quiet()
}

// fastSeconds makes the page's seconds pass twenty times as fast in what is
// opened from now on.
func (b *tab) fastSeconds() {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{
			Source: `{ const real = window.setInterval; window.setInterval = (fn, ms, ...a) => real(fn, ms === 1000 ? 50 : ms, ...a); }`,
		})
		return err
	}))
}

func eval[T any](b *tab, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%v in %s", err, js)
	}
	return v
}
