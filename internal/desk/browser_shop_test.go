package desk

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/terminal"
)

// shop runs the flows that move no value, with what goes wrong in them.
func (s *stage) shop() {
	s.run("history", s.history)
	s.run("reprint", s.reprint)
	s.run("X", s.reportX)
	s.run("stock", s.stocktaking)
	s.run("staff", s.people)
	s.run("elder mode and timeouts", s.patience)
	s.run("close the shift", s.closeShift)
}

// offLine runs f with the line cut.
func (s *stage) offLine(f func()) {
	s.Helper()
	s.LinkUp(false)
	defer s.LinkUp(true)
	s.clerk.Says("link", "离线")
	f()
}

// noPaper runs f while the printer has no paper.
func (s *stage) noPaper(f func()) {
	s.Helper()
	if err := s.SetPrinter("paper_out"); err != nil {
		s.Fatal(err)
	}
	defer s.SetPrinter("ok")
	s.clerk.Says("printer", "没有纸")
	f()
}

func (s *stage) menu(b *kiosktest.Tab, line string) {
	s.Helper()
	s.press(b, kb.F9, "do-more")
	b.Click(line)
}

func rows(b *kiosktest.Tab, testid string) {
	b.Until("rows of "+testid, `document.querySelector('[data-testid="`+testid+`"] tr')?.checkVisibility()`)
}

// The card's own log, at the counter and at the kiosk, off line; and it is
// gone with the card, and with the page.
func (s *stage) history() {
	s.put("zhang")
	s.offLine(func() {
		s.press(s.clerk, kb.F7, "do-history")
		rows(s.clerk, "history")
		s.customer.Click("see-history")
		rows(s.customer, "history")
		s.customer2.Click("see-history")
		rows(s.customer2, "history")
	})
	s.customer2.Reload()
	s.customer2.See("choose-view")
	s.clerk.Reload()
	s.clerk.See("do-history")
	s.out()
	s.customer.See("attract")
	s.clerk.Until("no history without a card", `document.querySelector('[data-testid="do-history"]').disabled`)
	if left := kiosktest.Eval[string](s.customer, `document.querySelector('main').innerText`); strings.Contains(left, "0017") || strings.Contains(left, "¥") {
		s.Errorf("the next customer reads %q", left)
	}
}

// A reprint is marked and counted, and the count is the terminal's.
func (s *stage) reprint() {
	f := cardFlows[0]
	b := s.ready(f)
	b.Click(f.commit)
	b.Says("result-verdict", "成功")
	rc := s.ended(f, journal.Done)
	s.onPaper(rc.Name, 1)
	b.Says("print-label", "第 1 次")
	twice(b, "print")
	b.Says("print-label", "第 2 次")
	s.onPaper(rc.Name, 2)
	marked := 0
	for _, slip := range s.paper.sim.Slips() {
		if strings.Contains(slip.Text(), rc.Name.String()) && strings.Contains(slip.Text(), "REPRINT") {
			marked++
		}
	}
	if marked != 1 {
		s.Errorf("%d marked slips after a double click", marked)
	}
	s.noPaper(func() {
		s.press(b, kb.F1, "print")
		b.Says("refusal", "打印不了凭条")
	})
	b.Reload()
	for _, b := range []*kiosktest.Tab{b, s.clerk2} {
		row := `document.querySelector('[data-id="` + rc.Name.String() + `"]')`
		b.Until("the list", row)
		b.Run(chromedp.Evaluate[chromedp.Void](row + `.click()`))
		b.Says("print-label", "第 2 次") // what the printer could not do is not counted
	}
}

// The sums so far, at any time: off line, without paper, twice.
func (s *stage) reportX() {
	s.menu(s.clerk, "menu-x")
	s.clerk.Says("report-title", "（X）")
	s.clerk.Says("shift-sums", "补打")
	s.noPaper(func() {
		s.clerk.Press(kb.F1)
		s.clerk.Says("refusal", "打印不了凭条")
	})
	s.offLine(func() {
		twice(s.clerk, "report-print")
		s.clerk.Says("report-paper", "凭条已打印")
		s.menu(s.clerk2, "menu-x")
		s.clerk2.Says("report-title", "（X）")
	})
	s.clerk.Reload()
	s.menu(s.clerk, "menu-x")
	s.clerk.Says("report-title", "（X）")
}

// A pack is received once, whoever else types it, and counted, with no link.
func (s *stage) stocktaking() {
	from, to := "00003310088850000101", "00003310088850000120"
	typed := func(b *kiosktest.Tab) {
		s.menu(b, "menu-receive")
		b.TypeIn("stock-from", from+"\r")
		b.Until("the last card is asked for", `document.activeElement.name === "to"`)
		b.Press(to)
		b.Says("stock-commit", "入库 20 张")
	}
	s.offLine(func() {
		typed(s.clerk)
		typed(s.clerk2)
		twice(s.clerk, "stock-commit")
		s.clerk.Says("stock-packs", "应有 20 张")
		s.clerk2.Click("stock-commit")
		s.clerk2.See("refusal")
		s.clerk.Reload()
		s.menu(s.clerk, "menu-count")
		found := `[data-testid="stock-packs"] input`
		s.clerk.Until("a field for the count", `document.querySelector('`+found+`')?.checkVisibility()`)
		s.clerk.Run(chromedp.Focus(chromedp.CSS(found)))
		s.clerk.Press("19\r")
		s.clerk.See("do-topup")
		atRest(s.clerk2)
		s.menu(s.clerk2, "menu-count")
		s.clerk2.Says("stock-packs", "上次盘点 19 张")
	})
	packs, err := s.Station.Terminal.Stock()
	if err != nil || len(packs) != 1 || packs[0].Count == nil || packs[0].Count.Body.(*journal.StockCount).Found != 19 {
		s.Errorf("in stock: %v %+v", err, packs)
	}
}

// A manager adds a person, who is asked for a PIN of one's own, also after the
// page was loaded anew, and who is out at once when locked.
func (s *stage) people() {
	u, err := url.Parse(s.url)
	if err != nil {
		s.Fatal(err)
	}
	mine := s.url
	s.url = "http://" + net.JoinHostPort("localhost", u.Port()) // other cookies: another browser
	other := s.tab("/clerk")
	s.url = mine
	s.tabs = s.tabs[:4]
	defer other.Open("/") // no page of theirs stays at work

	b := s.clerk
	s.menu(b, "menu-people")
	b.Click("people-add")
	b.TypeIn("person-number", "21")
	b.TypeIn("person-name", "小周")
	b.Click("right-topup")
	b.TypeIn("person-pin", "8061")
	b.TypeIn("person-again", "8061")
	twice(b, "person-commit")
	b.Says("people", "小周")
	if all, err := s.Station.Terminal.Staff(); err != nil || len(all) != 1 {
		s.Fatalf("%d persons were added: %v", len(all), err)
	}
	s.menu(s.clerk2, "menu-people")
	s.clerk2.Says("people", "小周")

	other.Until("the new person is there", `document.querySelector('[data-testid="login-staff"] option[value="21"]')`)
	other.Run(chromedp.SetValue(chromedp.CSS(kiosktest.ID("login-staff")), "21"))
	other.TypeIn("login-pin", "8061\r")
	other.Says("login-title", "请先改密码")
	other.Reload()
	other.Says("login-title", "请先改密码")
	s.offLine(func() {
		other.TypeIn("login-pin", "8061")
		other.TypeIn("login-next", "2907")
		other.TypeIn("login-again", "2907\r")
		inside(other)
	})
	s.menu(other, "menu-claim")
	other.See("claim-slip") // topup
	other.Press(kb.Escape)
	s.press(other, kb.F9, "do-more")
	other.Until("no more rights than were given", `document.querySelector('[data-testid="menu-people"]').disabled && document.querySelector('[data-testid="menu-x"]').disabled`)
	b.Click("person-21")
	twice(b, "person-lock")
	b.Says("people", "已停用")
	other.See("login-pin")
	other.Until("and is named no more", `!document.querySelector('[data-testid="login-staff"] option[value="21"]')`)
	other.Quiet("401", "403")
}

// Elder mode pays as any other; a minute without a touch asks, twenty seconds
// more forget; never while the card is being written.
func (s *stage) patience() {
	b := s.tab("/")
	s.tabs = s.tabs[:4]
	defer b.Open("/")
	b.Inject(`{ const real = window.setInterval; window.setInterval = (fn, ms, ...a) => { if (ms === 1000) { window.second = fn; return 0; } return real(fn, ms, ...a); }; }`)
	b.Open("/kiosk?lang=en")
	seconds := func(n int) {
		b.Run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`for (let i = 0; i < %d; i++) window.second()`, n)))
	}
	mine := s.customer
	s.customer = b
	defer func() { s.customer = mine }()

	s.put("zhang")
	f := cardFlows[6]                     // an elder is offered the last account only
	b.Says("result-verdict", "Bill paid") // a page opened anew tells the last payment of the card
	atRest(b)
	b.Click("elder")
	s.ready(f)
	seconds(100) // an elder's minute is two
	if kiosktest.Eval[bool](b, `document.querySelector('[data-testid="still"]').checkVisibility()`) {
		s.Error("an old person is hurried")
	}
	letGo := s.card.arm()
	defer letGo()
	twice(b, f.commit)
	<-s.card.entered
	b.See("working")
	seconds(300)
	b.See("working")
	letGo()
	b.Says("result-verdict", "Bill paid")
	s.ended(f, journal.Done)
	seconds(121)
	b.See("still")
	b.Click("more-time")
	b.Says("result-verdict", "Bill paid")
	seconds(151)
	b.See("take")
	seconds(31)
	b.Until("the card's alarm", `document.querySelector('[data-testid="take"]').classList.contains("alarm")`)
	s.out()
	b.See("bye")
	b.See("attract")
	if got := kiosktest.Eval[string](b, `document.documentElement.lang + document.documentElement.className`); got != "en" {
		s.Errorf("the next person finds the screen as %q", got)
	}
	s.put("zhang")
	b.See("choose-view")
	seconds(61)
	b.See("still")
	seconds(20)
	b.See("take")
	b.Quiet()
}

// The shift is closed once: off line, without paper, twice pressed, in two
// tabs, and by a page that was loaded anew before the difference was explained.
func (s *stage) closeShift() {
	x, err := s.Station.Terminal.Report()
	if err != nil {
		s.Fatal(err)
	}
	cash := x.Expected - 5_00
	counted := fmt.Sprintf("%d.%02d", cash/100, cash%100)
	b := s.clerk
	s.offLine(func() {
		s.noPaper(func() {
			for _, b := range []*kiosktest.Tab{b, s.clerk2} {
				s.press(b, kb.F8, "do-shift")
				b.TypeIn("shift-cash", counted)
			}
			twice(b, "shift-commit")
			b.Says("difference-sum", "少 ¥5.00")
			s.clerk2.See("do-shift") // what was counted there opens no shift
			b.Reload()
			s.menu(b, "menu-closings")
			b.Until("the closing", `document.querySelector('[data-testid="closings"] button')`)
			b.Run(chromedp.Evaluate[chromedp.Void](`document.querySelector('[data-testid="closings"] button').click()`))
			b.Says("difference-sum", "少 ¥5.00")
			b.TypeIn("difference-note", "?\r")
			b.Says("report-title", "（Z）")
			b.Says("shift-sums", "-¥5.00")
			s.menu(s.clerk2, "menu-closings")
			s.clerk2.Until("the closing", `document.querySelector('[data-testid="closings"] button')`)
			s.clerk2.Run(chromedp.Evaluate[chromedp.Void](`document.querySelector('[data-testid="closings"] button').click()`))
			s.clerk2.Says("shift-sums", "-¥5.00") // explained, and not asked again
		})
		twice(b, "report-print")
		b.Says("report-paper", "凭条已打印")
	})
	all, err := s.Station.Terminal.Reports(10)
	if err != nil || len(all) != 1 || all[0].Difference() != -5_00 {
		s.Errorf("closed: %v %+v", err, all)
	}
	s.until("no shift", func(st terminal.Status) bool { return !st.ShiftOpen })
}
