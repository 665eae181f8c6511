// Package kiosktest holds pages of a real browser for tests of the screens:
// it presses, types and reads as a person does, and measures what is shown by
// the rules of field.md section 5.
//
// It may import chromedp and nothing of this module. It is for tests only,
// and must never wait by sleeping for a while: every wait is for something
// that a person could see.
package kiosktest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Tab is one page of a real browser. It fails the test when the page logs an
// error that was not foreseen.
type Tab struct {
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

// shared is one process of the browser for all tests that run at a time: its
// start costs more than most of them do.
var shared struct {
	mu    sync.Mutex
	users int
	ctx   context.Context
	stop  func()
}

// process gives the running browser, which ends with the last test that uses it.
func process(t *testing.T) context.Context {
	t.Helper()
	path := chromium(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users == 0 {
		shared.ctx, shared.stop = launch(t, path)
	}
	shared.users++
	t.Cleanup(func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if shared.users--; shared.users == 0 {
			shared.stop()
		}
	})
	return shared.ctx
}

// launch starts a process of the browser.
func launch(t *testing.T, path string) (context.Context, func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kiosktest")
	if err != nil {
		t.Fatal(err)
	}
	alloc, end := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(dir),
		chromedp.Flag("headless", true), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true), // every tab is somebody's screen
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.Flag("mute-audio", true),
	)
	ctx, _ := chromedp.NewContext(alloc)
	stop := func() { chromedp.Cancel(ctx); end(); os.RemoveAll(dir) }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		t.Fatal(err)
	}
	return ctx, stop
}

// NewVictim gives a browser in a process of its own, which the test may Kill.
func NewVictim(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := launch(t, chromium(t))
	t.Cleanup(stop)
	return ctx
}

// NewBrowser gives a browser that shares no cookie and no store with another,
// and ends with the test. It skips the test when there is none, or fails it
// when DIANKA_REQUIRE_BROWSER=1.
func NewBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(process(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// NewTab opens an empty page for the server at url, so many pixels large.
func NewTab(t *testing.T, browser context.Context, url string, width, height int64) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	b := &Tab{t: t, ctx: ctx, url: url}
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
	b.Run(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		// The keys go to this tab, whichever is in front.
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	return b
}

// Run does what a method here does not, within a minute: what chromedp waits
// for may have gone.
func (b *Tab) Run(a ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, a...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("%v; the page logged %q", err, b.errors)
	}
}

// ID selects the element with a data-testid.
func ID(testid string) string { return `[data-testid="` + testid + `"]` }

// Under lets a part of a test use the page: what goes wrong from now on is
// that part's.
func (b *Tab) Under(t *testing.T) { b.t = t }

// Kill ends a browser of NewVictim as a power cut does: no page of it is told.
func Kill(t *testing.T, browser context.Context) {
	t.Helper()
	if err := chromedp.FromContext(browser).Browser.Process().Kill(); err != nil {
		t.Fatal(err)
	}
}

// Reload loads the page anew, and leaves it when it asks whether to.
func (b *Tab) Reload() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	asked := chromedp.Events(ctx, cdppage.JavascriptDialogOpening)
	go func() {
		for _, err := range asked {
			if err != nil {
				return
			}
			chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
				_, err := cdp.Call(ctx, t, cdppage.HandleJavaScriptDialog, cdppage.HandleJavaScriptDialogParams{Accept: true})
				return err
			}))
		}
	}()
	b.Run(chromedp.Reload())
}

// Open goes to a path of the server.
func (b *Tab) Open(path string) { b.t.Helper(); b.Run(chromedp.Navigate(b.url + path)) }

// See waits until an element is shown.
func (b *Tab) See(testid string) {
	b.t.Helper()
	b.Until(testid+" is seen", `(() => { const e = document.querySelector('`+ID(testid)+`'); return Boolean(e && e.getClientRects().length); })()`)
}

// Click waits until an element can be pressed, and presses it.
func (b *Tab) Click(testid string) {
	b.t.Helper()
	b.Until(testid+" can be pressed", `(() => { const e = document.querySelector('`+ID(testid)+`'); return Boolean(e && e.getClientRects().length && !e.disabled); })()`)
	b.Run(chromedp.Click(chromedp.CSS(ID(testid))))
}

// Press types keys wherever the focus is.
func (b *Tab) Press(keys string) { b.t.Helper(); b.Run(chromedp.KeyEvent(keys)) }

// TypeIn waits for a field and types into it.
func (b *Tab) TypeIn(testid, text string) {
	b.t.Helper()
	b.See(testid)
	b.Run(chromedp.SendKeys(chromedp.CSS(ID(testid)), text))
}

// Text gives the text of an element.
func (b *Tab) Text(testid string) string {
	b.t.Helper()
	return Eval[string](b, `document.querySelector('`+ID(testid)+`').textContent`)
}

// Settled waits until a result stands and can be left by a key.
func (b *Tab) Settled(verdict string) {
	b.t.Helper()
	b.Says("result-verdict", verdict)
	b.Until("the result is settled", `["finish", "cash-returned", "renew-next"].includes(document.activeElement?.dataset.testid)`)
}

// Until waits for an expression to hold.
func (b *Tab) Until(what, js string) {
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
	b.Shot("failed-" + filepath.Base(b.t.Name()))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Fatalf("never: %s (%v); the page logged %q", what, err, b.errors)
}

// Says waits until an element is shown and contains a text.
func (b *Tab) Says(testid, text string) {
	b.t.Helper()
	b.Until(testid+" says "+text, fmt.Sprintf(`(() => { const e = document.querySelector('%s'); return Boolean(e && e.getClientRects().length && e.textContent.includes(%q)); })()`, ID(testid), text))
}

// Shot keeps a picture in the folder that DIANKA_SHOTS names, if any.
func (b *Tab) Shot(name string) {
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

// Quiet asserts that the page logged no error. Refusals are answered with
// HTTP errors, which browsers log; allowed are those that are named.
func (b *Tab) Quiet(allowed ...string) {
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

// rules measures what is shown: text size, target size, contrast, nothing cut
// off at the sides, nothing covered. A view of the clerk's page has room for
// all that is on it; only a list may be longer than its room, and then what
// ends the view stays in sight.
const rules = `((minText, minTarget) => {
  const bad = [];
  const rgb = (s) => (s.match(/[\d.]+/g) ?? []).map(Number);
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > .95) return c.slice(0, 3); } return [255, 255, 255]; };
  const name = (e) => (e.dataset.testid ?? e.className ?? e.tagName) + ' "' + (e.textContent ?? "").trim().slice(0, 30) + '"';
  const veil = [...document.querySelectorAll(".veil")].find((v) => v.getClientRects().length);
  const root = veil ?? document.body;
  if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is wider than the screen: " + document.documentElement.scrollWidth);
  const stage = veil ? null : document.querySelector(".stage"), list = stage && [...stage.querySelectorAll("ol, table")].some((e) => e.getClientRects().length);
  if (stage && !list && stage.scrollHeight > stage.clientHeight + 1) bad.push("too much for the stage: " + stage.scrollHeight + " in " + stage.clientHeight);
  for (const e of root.querySelectorAll("*")) {
    if (!e.getClientRects().length || e.closest("svg, script, .unseen")) continue; // .unseen is for screen readers
    const s = getComputedStyle(e), r = e.getBoundingClientRect();
    if (e.matches("button, a, select, input")) {
      if (r.height < minTarget - .5 || r.width < minTarget - .5) bad.push("small target " + name(e) + " " + Math.round(r.width) + "x" + Math.round(r.height));
      if (!e.closest("ol, table") && (r.left < -1 || r.right > innerWidth + 1 || r.top < -1 || (document.body.classList.contains("public") && r.bottom > innerHeight + 1))) bad.push("off the screen: " + name(e) + " " + [r.left, r.top, r.right, r.bottom].map(Math.round));
      const x = r.left + r.width / 2, y = r.top + r.height / 2;
      if (y > 0 && y < innerHeight && !e.closest("ol, table")) { const top = document.elementFromPoint(x, y); if (top && !e.contains(top) && !top.contains(e)) bad.push("covered: " + name(e) + " by " + name(top)); }
    }
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || s.visibility === "hidden") continue;
    const size = parseFloat(s.fontSize);
    if (size < minText) bad.push("small text " + name(e) + " " + size);
    if (e.matches(":disabled, :disabled *")) continue;
    const fg = lum(rgb(s.color).slice(0, 3)), bg = lum(ground(e));
    const ratio = (Math.max(fg, bg) + .05) / (Math.min(fg, bg) + .05);
    if (ratio < 4.5) bad.push("contrast " + ratio.toFixed(2) + " " + name(e));
    if (!e.closest(".where, .tray") && e.scrollWidth > e.clientWidth + 2 && s.overflow !== "visible" && e.clientWidth) bad.push("cut off: " + name(e));
  }
  return bad;
})(%d, %d)`

// Obeys checks the rules of field.md section 5 on what is shown now.
func (b *Tab) Obeys(what string, minText, minTarget int) {
	b.t.Helper()
	for _, s := range Eval[[]string](b, fmt.Sprintf(rules, minText, minTarget)) {
		b.t.Errorf("%s: %s", what, s)
	}
}

// sizes are the screens that a shop has.
var sizes = []struct {
	name string
	w, h int64
}{{"1024x768", 1024, 768}, {"1920x1080", 1920, 1080}, {"portrait", 800, 1280}}

// Look checks a screen in every size and both languages, with axe-core as
// well in the first, and keeps pictures.
func (b *Tab) Look(name string, minText, minTarget int, only ...string) {
	b.t.Helper()
	for _, size := range sizes {
		if len(only) > 0 && !strings.Contains(strings.Join(only, " "), size.name) {
			continue
		}
		b.Run(chromedp.EmulateViewport(size.w, size.h))
		for range 2 { // there and back
			what := name + "-" + size.name + "-" + Eval[string](b, `document.documentElement.lang`)
			b.Obeys(what, minText, minTarget)
			if size == sizes[0] {
				b.Axe(what)
			}
			b.Shot(what)
			b.Run(chromedp.Evaluate[chromedp.Void](`document.querySelector('` + ID("lang") + `').click()`))
		}
	}
	b.Run(chromedp.EmulateViewport(sizes[0].w, sizes[0].h))
}

// HoldSeconds keeps the page's clock in what is opened from now on; Seconds
// lets it go on.
func (b *Tab) HoldSeconds() {
	b.t.Helper()
	b.Inject(`{ const real = window.setInterval; window.setInterval = (fn, ms, ...a) => { if (ms === 1000) { window.second = fn; return 0; } return real(fn, ms, ...a); }; }`)
}

// Seconds lets seconds pass on the page's clock until an expression holds, at
// most that many, and says how many they were.
func (b *Tab) Seconds(most int, until string) int {
	b.t.Helper()
	return Eval[int](b, fmt.Sprintf(`(() => { let n = 0; while (n < %d && !(%s)) { window.second(); n++; } return n; })()`, most, until))
}

// Inject runs a script in every page that is opened from now on, before the
// page's own.
func (b *Tab) Inject(js string) {
	b.t.Helper()
	b.Run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: js})
		return err
	}))
}

// Eval gives the value of an expression in the page.
func Eval[T any](b *Tab, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%v in %s", err, js)
	}
	return v
}
