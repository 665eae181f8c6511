//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/terminal"
)

// watch runs in the page before its own scripts: it notes when a balance was
// painted, and for each press how long until its answer was.
const watch = `{
  window.seen = 0; window.presses = [];
  const painted = (then) => requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = () => then(performance.now()); c.port2.postMessage(0); });
  addEventListener("DOMContentLoaded", () => {
    const balance = document.querySelector('[data-testid="card-balance"]');
    new MutationObserver(() => { if (balance.getClientRects().length && !window.seen) { window.seen = 1; painted((t) => { window.seen = performance.timeOrigin + t; }); } })
      .observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  });
  addEventListener("click", (e) => { const from = e.timeStamp; painted((t) => window.presses.push(t - from)); }, true); // from the finger's leaving
  window.bare = (n) => new Promise((done) => { const took = []; const next = () => { const from = performance.now(); document.title = took.length; painted((t) => { took.push(t - from); took.length < n ? setTimeout(next, 30) : done(took); }); }; next(); });
}`

// shown tells a page's own slowness from the machine's: where a frame in which
// nothing happens takes longer than the 17 ms that a display gives it, a
// missed goal says nothing of the page.
func shown(t times, what string, most time.Duration, bare times) string {
	if t.at(0.99) >= most && bare.at(0.99) > 17*time.Millisecond {
		return "goal " + what + ": cannot be shown, the machine is busy: see the frame of nothing"
	}
	return goal(t.at(0.99) < most, what)
}

// screen measures the customer's screen in a real browser: a card's way onto
// it, the answer to a press, and what a page weighs.
func screen(ctx context.Context, dir string) error {
	const n = 60
	title("The customer's screen in a real browser, a card inserted %d times", n)
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		line("not measured", "no chromium", "")
		return nil
	}
	m := &meter{}
	b, err := open(ctx, desk.Options{Dir: dir, Slot: m.slot, Chip: m.chip})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	screens, err := kiosk.New(kiosk.Config{Terminal: b.Station.Terminal, Link: b.Station})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- screens.Serve(serving, l) }()
	defer func() { stop(); <-done }()

	alloc, end := chromedp.NewExecAllocator(ctx, chromedp.ExecPath(path), chromedp.Flag("headless", true), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Flag("disable-background-networking", true), chromedp.Flag("mute-audio", true))
	defer end()
	tab, end := chromedp.NewContext(alloc)
	defer end()
	tab, end = context.WithTimeout(tab, 5*time.Minute)
	defer end()
	url := "http://" + l.Addr().String() + "/kiosk"
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1024, 768), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	}), chromedp.Navigate(url)); err != nil {
		return err
	}
	until := func(what, js string) error {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if ok, err := chromedp.Run(tab, chromedp.Evaluate[bool]("Boolean("+js+")")); err != nil {
				return err
			} else if ok {
				return nil
			}
		}
		return fmt.Errorf("waited in vain for %s", what)
	}

	var whole, exchanges, ours times
	for i := range 5 + n {
		if err := b.Take(); err != nil {
			return err
		}
		if err := b.until("the reader to be empty", func(s terminal.Status) bool { return s.Card.State == terminal.CardNone }); err != nil {
			return err
		}
		if err := until("the screen to wait for a card", `document.body.dataset.at === "attract"`); err != nil {
			return err
		}
		if err := chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`window.seen = 0`)); err != nil {
			return err
		}
		spent, began := m.spent.Load(), time.Now()
		if err := b.Put(card); err != nil {
			return err
		}
		if err := until("the balance", `window.seen > 1`); err != nil {
			return err
		}
		at, err := chromedp.Run(tab, chromedp.Evaluate[float64](`window.seen`))
		if err != nil {
			return err
		}
		if i < 5 {
			continue
		}
		w := time.Duration(at*1e6) - time.Duration(began.UnixNano())
		x := time.Duration(m.spent.Load() - spent)
		whole, exchanges, ours = append(whole, w), append(exchanges, x), append(ours, w-x)
	}

	click := func(testid string) error {
		return chromedp.Do(tab, chromedp.Click(chromedp.CSS(`[data-testid="`+testid+`"]`)))
	}
	if err := click("pay-other"); err != nil {
		return err
	}
	for i := range 6 {
		for d := range 10 {
			if err := click(fmt.Sprintf("account-%d", d)); err != nil {
				return err
			}
		}
		if i == 0 { // the first are the browser's warming up
			if err := chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`window.presses = []`)); err != nil {
				return err
			}
		}
		if err := click("account-clear"); err != nil {
			return err
		}
	}
	if err := until("the presses' answers", `window.presses.length >= 55`); err != nil {
		return err
	}
	list, err := chromedp.Run(tab, chromedp.Evaluate[[]float64](`window.presses`))
	if err != nil {
		return err
	}
	frames, err := chromedp.Run(tab, chromedp.Evaluate[[]float64](`window.bare(60)`, chromedp.EvalAwaitPromise))
	if err != nil {
		return err
	}
	var presses, bare times
	for _, p := range list {
		presses = append(presses, time.Duration(p*1e6))
	}
	for _, f := range frames {
		bare = append(bare, time.Duration(f*1e6))
	}
	weight, err := chromedp.Run(tab, chromedp.Evaluate[int](`[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((e) => !e.name.includes("/api/")).reduce((sum, e) => sum + (e.encodedBodySize ?? 0), 0)`))
	if err != nil {
		return err
	}
	line("", "      p50       p99", "")
	line("card inserted to balance painted", whole.String(), "")
	line("exchanges with card and SAM", exchanges.String(), "")
	line("beyond them", ours.String(), shown(ours, "under 100 ms at p99", 100*time.Millisecond, bare))
	line("a press to its answer painted", presses.String(), shown(presses, "under 50 ms at p99", 50*time.Millisecond, bare))
	line("compared to: a frame of nothing", bare.String(), "by the same page: the browser's and the machine's share of each")
	line("the page with all it loads", fmt.Sprintf("%.0f KB", float64(weight)/1000), goal(weight < 200_000, "under 200 KB"))
	return err
}
