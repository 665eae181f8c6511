package desk

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
)

// TestGuides takes the pictures of docs/clerk.md and docs/customer.md:
// `make guides`. The flows are the guides' own, step by step, so that a guide
// that no longer fits the screens fails here.
func TestGuides(t *testing.T) {
	dir := os.Getenv("DIANKA_GUIDES")
	if dir == "" {
		t.Skip("make guides")
	}
	t.Setenv("DIANKA_SHOTS", dir)
	// A fixed day, so that a picture changes only when its screen does.
	day, from := time.Date(2026, 11, 23, 14, 5, 0, 0, money.CST), time.Now()
	r := start(t, Options{Clock: func() time.Time { return day.Add(time.Since(from)) }})
	url, browser := r.screens(), kiosktest.NewBrowser(t)
	desk := kiosktest.NewTab(t, browser, url, 1024, 768)
	desk.Open("/desk")
	desk.See("put-zhang")
	clerk := kiosktest.NewTab(t, browser, url, 1024, 768)
	clerk.Open("/clerk")
	customer := kiosktest.NewTab(t, browser, url, 1024, 768)
	customer.Open("/kiosk")
	press := func(key, button string) {
		t.Helper()
		clerk.Until(button+" can be pressed", `(() => { const e = document.querySelector('`+kiosktest.ID(button)+`'); return e?.getClientRects().length && !e.disabled && document.querySelector('[data-testid="working"]').hidden; })()`)
		clerk.Press(key)
	}

	clerk.See("login-pin")
	clerk.Shot("clerk-1-login")
	clerk.TypeIn("login-pin", "1234\r")
	press(kb.F8, "do-shift")
	clerk.TypeIn("shift-cash", "200")
	clerk.Shot("clerk-2-open")
	clerk.Press("\r")
	desk.Click("put-zhang")
	clerk.Says("card-number", "0017")
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "100\r")
	clerk.TypeIn("tendered", "200")
	clerk.Says("change", "¥100.00")
	clerk.Shot("clerk-3-topup")
	clerk.Press("\r")
	clerk.Settled("成功")
	clerk.Says("card-balance", "¥100.00")
	clerk.Shot("clerk")
	clerk.Press(kb.Enter)
	desk.Click("take")

	customer.See("attract")
	customer.Shot("customer-1-insert")
	desk.Click("put-zhang")
	customer.Says("card-balance", "¥100.00")
	customer.Click("pay-other")
	for _, d := range accounts[0].Number.String() {
		customer.Click("account-" + string(d))
	}
	customer.Shot("customer-2-account")
	customer.Click("account-next")
	customer.See("bill-view")
	customer.Shot("customer-3-bill")
	customer.Click("other-amount")
	for _, d := range "30" {
		customer.Click("amount-" + string(d))
	}
	customer.Click("amount-next")
	customer.Says("confirm-amount", "¥30.00")
	customer.Shot("customer-4-check")
	customer.Click("confirm-pay")
	customer.Says("result-verdict", "缴费成功")
	customer.Shot("customer-5-done")
	customer.Click("result-finish")
	customer.Click("go-on")

	desk.Click("tear-after")
	desk.Says("tear", "执行后")
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "50\r\r")
	clerk.Settled("结果待查")
	clerk.Shot("clerk-4-unknown")
	desk.Click("put-zhang")
	clerk.Settled("成功")
	clerk.Press(kb.Enter)
	press(kb.F8, "do-shift")
	clerk.TypeIn("shift-cash", "350")
	clerk.Shot("clerk-5-close")
	clerk.Press("\r")
	clerk.Says("report-title", "（Z）")
	clerk.Shot("clerk-6-z")

	pictures, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pictures {
		if err := shrink(p); err != nil {
			t.Error(err)
		}
	}
}

// shrink gives a picture the 256 colours that it has most of: of a screen
// nobody sees the difference, and it is a third of the bytes.
func shrink(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if _, done := img.(*image.Paletted); done {
		return nil
	}
	box, count := img.Bounds(), map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	rgb := func(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(rgb(a), rgb(b)))
	})
	var pal color.Palette
	for _, c := range most[:min(len(most), 256)] {
		pal = append(pal, c)
	}
	index := map[color.RGBA]uint8{}
	for c := range count {
		index[c] = uint8(pal.Index(c))
	}
	out := image.NewPaletted(box, pal)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			out.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	var w bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&w, out); err != nil {
		return err
	}
	return os.WriteFile(path, w.Bytes(), 0o644)
}
