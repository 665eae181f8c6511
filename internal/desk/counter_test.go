package desk

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// counter is the clerk's page of a desk, logged in and with a shift open.
func (r *running) counter(width, height int64) *kiosktest.Tab {
	r.Helper()
	b := kiosktest.NewTab(r.T, kiosktest.NewBrowser(r.T), r.screens(), width, height)
	b.Open("/clerk")
	b.TypeIn("login-pin", "1234\r")
	b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	b.Says("link", "在线")
	b.Press(kb.F8)
	b.TypeIn("shift-cash", "200\r")
	b.Says("takings", "¥0.00")
	return b
}

// TestBrowserReplace: a damaged card that still reads is replaced by keys alone:
// its balance is taken off it, and what waits is put on a new card from stock.
// Torn on the way, it is settled by the card itself; and the old card moves
// nothing a second time.
func TestBrowserReplace(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	b := r.counter(1024, 768)
	r.insert("zhang")
	r.want("top up", r.topUp("zhang", 80_00), 1)
	b.Says("card-balance", "¥80.00")

	more(b, "3")
	b.Says("renew-shown", "¥80.00")
	b.Says("renew-commit", "转出全部 ¥80.00")
	b.Shot("renew-ready")
	if err := r.Tear("before"); err != nil {
		t.Fatal(err)
	}
	b.Press("\r")
	b.Settled("结果待查")
	b.Says("result-money", "不会丢")
	b.Shot("renew-unknown")
	b.Press(kb.F9) // nobody but the card knows
	b.Says("refusal", "供电公司也还不知道")
	b.Shot("inquire-still")
	r.insertAgain("zhang")
	b.Settled("没有成功")
	b.Press(kb.Escape)

	more(b, "3")
	b.Says("renew-shown", "¥80.00")
	b.Press("\r")
	b.Settled("成功")
	b.Says("card-balance", "¥0.00")
	b.Says("renew-next", "充到新卡")
	b.Shot("renew-done")
	slip := kiosktest.Eval[string](b, `document.querySelector('[data-testid="result-facts"] dd').textContent`)
	r.synced()
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != 0 {
		t.Errorf("the old card's account stands at %s", got)
	}

	r.insertAgain("stock1")
	b.Press(kb.F9)
	b.Says("claim-shown", "¥80.00")
	b.Says("claim-new", "启用新卡")
	b.Shot("renew-claim")
	b.Click("claim-new")
	b.Settled("成功")
	b.Says("result-sentence", slip)
	b.Says("card-balance", "¥80.00")
	b.Shot("renew-loaded")
	b.Press(kb.Escape)

	// The old card is back: there is nothing on it, and its slip is used up.
	r.insertAgain("zhang")
	more(b, "3")
	b.Says("renew-hint", "没有钱")
	b.Press(kb.Escape)
	more(b, "1")
	b.TypeIn("claim-slip", slip+"\r")
	b.Says("refusal", "没有待领的钱")
	r.synced()
	for id, want := range map[string]money.Fen{"zhang": 0, "stock1": 80_00} {
		if got := r.balance(ledger.Card(r.Number(id))); got != want {
			t.Errorf("%s stands at %s", id, got)
		}
	}
	b.Quiet("404") // before the desk is closed
	r.audited()
	if !strings.Contains(slip, "-") {
		t.Errorf("slip %q", slip)
	}
}

// more chooses a line of the list behind F9, once a clerk may.
func more(b *kiosktest.Tab, line string) {
	b.Until("the list can be asked for", `document.querySelector('[data-testid="do-more"]').getClientRects().length && document.querySelector('[data-testid="working"]').hidden`)
	b.Press(kb.F9)
	b.See("menu")
	b.Press(line)
}

// insertAgain takes whatever card is in and puts another one, or the same, in.
func (r *running) insertAgain(id string) {
	r.Helper()
	if r.Station.Terminal.Status().Card.State != terminal.CardNone {
		r.pull()
	}
	r.insert(id)
}

// TestBrowserFloat: what the shop may still give out is in sight with its
// ceiling and its age, and off line it binds.
func TestBrowserFloat(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	b := r.counter(1024, 768)
	left := func(want money.Fen) {
		t.Helper()
		r.until("the float to be "+want.Yuan(), func(s terminal.Status) bool {
			return s.Float.Known && s.Float.Left == want && s.Float.Ceiling == 1000_00
		})
	}
	left(6000_00)
	b.Says("float", "¥6,000.00")
	b.Says("float", "授信 ¥1,000")
	b.Says("float-age", "分钟")
	b.Shot("float")
	r.insert("zhang")
	r.want("top up", r.topUp("zhang", 50_00), 1)
	left(5950_00)
	if err := r.Utility.Service.PayFloat(r.ctx, Shop, -5890_00, "test"); err != nil {
		t.Fatal(err)
	}
	r.LinkUp(false)
	r.LinkUp(true)
	left(60_00)
	r.LinkUp(false)
	b.Says("link", "离线")
	b.Says("float", "¥60.00")
	b.Press(kb.F2)
	b.TypeIn("amount", "70\r\r")
	b.Says("refusal", "还剩 ¥60.00")
	b.Shot("float-refused")
	b.Press(kb.Escape)
	r.want("top up off line", r.topUp("zhang", 55_00), 1)
	b.Says("float", "¥5.00")
	b.Says("banner", "不够充一笔")
	b.Shot("float-low")
	b.Click("lang")
	b.Says("link", "Off line")
	b.Shot("float-low-en")
	b.Click("lang")
	r.LinkUp(true)
	r.synced()
	left(5_00)
	b.Quiet("422", "409") // before the desk is closed
	r.audited()
}

// TestBrowserSettlement: the settlement of a shift is a key away from its Z, and
// adds up to what the utility's ledger took out of the float.
func TestBrowserSettlement(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	b := r.counter(1024, 768)
	float := r.balance(ledger.Shop(Shop))
	r.insert("zhang")
	r.want("top up", r.topUp("zhang", 80_00), 1)
	r.want("top up", r.topUp("zhang", 20_00), 1)
	r.want("pay", r.redeem("zhang", accounts[0].Number, 30_00), 1)
	b.Says("takings", "¥100.00")
	b.Says("card-balance", "¥70.00")
	b.Says("recent", "¥30.00")
	r.synced()
	b.Until("the shift can be closed", `!document.querySelector('[data-testid="do-shift"]').disabled && document.querySelector('[data-testid="working"]').hidden`)
	b.Press(kb.F8)
	b.TypeIn("shift-cash", "300\r")
	b.Says("report-title", "（Z）")
	b.See("report-settle")
	b.Press(kb.F9)
	b.Says("settlement-net", "¥100.00")
	b.Says("settlement-sums", "S-310100001234-1-1")
	b.Look("settlement", 14, 44, "1024x768")
	b.Press(kb.Escape)
	more(b, "7")
	b.Says("closings", "第 1 班")
	b.Press("\r") // the shift stands first
	b.Says("report-title", "第 1 班")
	b.Press(kb.F9)
	b.Says("settlement-sums", "S-310100001234-1-1")
	if took := float - r.balance(ledger.Shop(Shop)); took != 100_00 {
		t.Errorf("the float paid %s", took)
	}
	b.Quiet()
}
