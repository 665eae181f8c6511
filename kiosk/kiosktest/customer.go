package kiosktest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"
)

// Panel is a touch screen as it hangs in a shop: its pixels and how large one
// is, which decides what a finger hits and an eye reads.
type Panel struct {
	Name          string
	Width, Height int64
	PerInch       float64 // pixels per inch
}

// Panels are the screens that customers stand before. Of each number of
// pixels it is the smallest usual one, on which everything is smallest.
var Panels = []Panel{
	{"1024x768", 1024, 768, 105.8},   // 12.1 inch
	{"1920x1080", 1920, 1080, 102.5}, // 21.5 inch
	{"portrait", 800, 1280, 149.4},   // 10.1 inch, upright
}

// measure holds what is shown against field.md section 5.1, in millimetres on
// the panel: targets of 15 mm (elder mode 20 mm, which is more than MIIT's
// 60 dp) and 2.5 mm between them; capitals of 4.8 mm where a person reads in
// order to act; other text 18 dp, in elder mode 30 dp, with lines 1.3 apart;
// contrast 4.5:1 and with high contrast 7:1. And nothing may be cut off,
// covered or outside the screen, and no sign may be missing. A capital of the CJK fonts is 0.733 of the
// font's size.
const measure = `((perInch, elder, contrast) => {
  const bad = [], mm = (n) => n * perInch / 25.4, dp = (n) => n * perInch / 160;
  const rgb = (s) => (s.match(/[\d.]+/g) ?? []).map(Number);
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > .95) return c.slice(0, 3); } return [255, 255, 255]; };
  const name = (e) => (e.dataset.testid ?? e.className ?? e.tagName) + ' "' + (e.textContent ?? "").trim().slice(0, 30) + '"';
  const veil = [...document.querySelectorAll(".veil")].find((v) => v.getClientRects().length);
  const shown = [...document.body.querySelectorAll("*")].filter((e) => e.getClientRects().length && !e.closest("svg, script") && (!veil || veil.contains(e) || e.closest(".bar")));
  if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is wider than the screen: " + document.documentElement.scrollWidth);
  if (document.body.scrollHeight > innerHeight + 1) bad.push("the page is higher than the screen: " + document.body.scrollHeight);
  for (const m of document.querySelectorAll("main, main > section")) if (m.getClientRects().length && m.scrollHeight > m.clientHeight + 1) bad.push("too much for the screen: " + name(m).slice(0, 20) + " " + m.scrollHeight + " in " + m.clientHeight);
  for (const u of document.querySelectorAll("use")) if (u.getAttribute("href") && !document.querySelector(u.getAttribute("href"))) bad.push("no such sign: " + u.getAttribute("href"));
  const targets = shown.filter((e) => e.matches("button, a, select, input"));
  const least = mm(elder ? 20 : 15), between = mm(2.5);
  targets.forEach((e, i) => {
    const r = e.getBoundingClientRect();
    if (r.height < least - .5 || r.width < least - .5) bad.push("small target " + name(e) + " " + Math.round(r.width) + "x" + Math.round(r.height) + " of " + Math.round(least));
    const x = r.left + r.width / 2, y = r.top + r.height / 2, top = document.elementFromPoint(x, y);
    if (top && !e.contains(top) && !top.contains(e)) bad.push("covered: " + name(e) + " by " + name(top));
    for (const f of targets.slice(i + 1)) {
      if (veil && veil.contains(e) !== veil.contains(f)) continue;
      const q = f.getBoundingClientRect(), dx = Math.max(0, q.left - r.right, r.left - q.right), dy = Math.max(0, q.top - r.bottom, r.top - q.bottom);
      if (Math.hypot(dx, dy) < between - .5) bad.push("only " + Math.hypot(dx, dy).toFixed(1) + " of " + between.toFixed(1) + " between " + name(e) + " and " + name(f));
    }
  });
  for (const g of document.querySelectorAll(".glyph, .spin, figure img")) { const r = g.getBoundingClientRect(); if (r.width && (r.left < -1 || r.right > innerWidth + 1 || r.top < -1 || r.bottom > innerHeight + 1)) bad.push("off the screen: a picture " + [r.left, r.top, r.right, r.bottom].map(Math.round)); }
  for (const e of shown) {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim()), s = getComputedStyle(e);
    if (!own.length || s.visibility === "hidden" || s.clipPath !== "none") continue;
    const size = parseFloat(s.fontSize);
    const acts = !e.closest("small, figcaption, .hint, .label, .bar, .steps, .foot, .banner, .note, .reason") && e.closest("h1, button, dd, dt, output, .huge, .lead, .refusal, .who");
    if (acts && size * .733 < mm(4.8) - .3) bad.push("capitals of " + (size * .733 * 25.4 / perInch).toFixed(1) + " mm: " + name(e));
    if (size < Math.max(18, dp(elder ? 30 : 18))) bad.push("small text " + name(e) + " " + size);
    const r = document.createRange();
    r.selectNodeContents(e);
    const box = r.getBoundingClientRect(), lines = parseFloat(s.lineHeight) / size;
    if (elder && box.height > 1.6 * size && lines < 1.29) bad.push("lines " + lines.toFixed(2) + " apart: " + name(e));
    if (box.left < -1 || box.right > innerWidth + 1 || box.top < -1 || box.bottom > innerHeight + 1) bad.push("off the screen: " + name(e) + " " + [box.left, box.top, box.right, box.bottom].map(Math.round));
    const frame = e.closest("button")?.getBoundingClientRect();
    if (frame && (box.right > frame.right + 1 || box.left < frame.left - 1 || box.bottom > frame.bottom + 1 || box.top < frame.top - 1)) bad.push("runs out of its button: " + name(e));
    if (e.matches(":disabled, :disabled *")) continue;
    const fg = lum(rgb(s.color).slice(0, 3)), bg = lum(ground(e));
    const ratio = (Math.max(fg, bg) + .05) / (Math.min(fg, bg) + .05);
    if (ratio < (contrast ? 7 : 4.5)) bad.push("contrast " + ratio.toFixed(2) + " " + name(e));
  }
  return bad;
})(%f, %t, %t)`

// Measure holds what is shown now on a panel against the rules.
func (b *Tab) Measure(what string, p Panel, elder, contrast bool) {
	b.t.Helper()
	b.Run(chromedp.EmulateViewport(p.Width, p.Height))
	for _, s := range Eval[[]string](b, fmt.Sprintf(measure, p.PerInch, elder, contrast)) {
		b.t.Errorf("%s: %s", what, s)
	}
}

// Survey looks at the customer's screen as it stands: on every panel, in both
// languages, as it comes, in elder mode, in high contrast and in both at once;
// with the rules of field.md section 5.1 and with axe-core, and keeps
// pictures. It leaves the screen as it found it.
func (b *Tab) Survey(name string) {
	b.t.Helper()
	click := func(testid string) {
		b.Run(chromedp.Evaluate[chromedp.Void](`document.querySelector('` + ID(testid) + `').click()`))
	}
	for _, mode := range [][]string{{}, {"elder"}, {"elder", "contrast"}, {"contrast"}} {
		for _, m := range mode {
			click(m)
		}
		elder, contrast := slices.Contains(mode, "elder"), slices.Contains(mode, "contrast")
		for i, p := range Panels {
			if contrast && !elder && i > 0 {
				break // it changes colours only, which are the same everywhere
			}
			for range 2 { // there and back
				what := strings.Join(append([]string{name, p.Name, Eval[string](b, `document.documentElement.lang`)}, mode...), "-")
				b.Measure(what, p, elder, contrast)
				if i == 0 {
					b.Axe(what)
				}
				b.Shot(what)
				click("lang")
			}
		}
		for _, m := range mode {
			click(m)
		}
	}
	b.Run(chromedp.EmulateViewport(Panels[0].Width, Panels[0].Height))
}

// Ears notes every tone that the page plays, from what is opened from now on;
// Heard gives them.
func (b *Tab) Ears() {
	b.t.Helper()
	b.Inject(`{ const make = AudioContext.prototype.createOscillator; window.heard = []; AudioContext.prototype.createOscillator = function () { const o = make.call(this), start = o.start; o.start = function (...a) { window.heard.push(o.frequency.value); return start.apply(o, a); }; return o; }; }`)
}

// Heard gives the tones that were played since the last call, in hertz.
func (b *Tab) Heard() []float64 {
	b.t.Helper()
	return Eval[[]float64](b, `window.heard.splice(0)`)
}
