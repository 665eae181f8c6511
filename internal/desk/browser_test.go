package desk

import (
	"context"
	"net"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
)

// TestBrowserTour is the five-minute tour of the README as a person takes it:
// in a real browser, on the pages of a real server, with the whole desk
// behind it. It ends at the utility's ledger.
func TestBrowserTour(t *testing.T) {
	t.Parallel()
	browser := kiosktest.NewBrowser(t)
	r := start(t, Options{})
	url := r.screens()
	account := accounts[0].Number
	row := func(sum money.Fen) string { // the account as the desk's page shows it
		return `document.querySelector('[data-account="` + ledger.Customer(account).String() + `"] header .sum')?.textContent === "` + sum.Yuan() + `"`
	}
	slips := `[...document.querySelectorAll('[data-account="` + ledger.Customer(account).String() + `"] tbody tr')].map((e) => e.textContent).join()`

	const slipShown = `document.querySelector('[data-testid="result-facts"] dd').textContent`

	// The pages, each as somebody opens it.
	home := kiosktest.NewTab(t, browser, url, 1024, 768)
	home.Open("/")
	home.Click("to-desk")
	desk := home
	desk.See("put-zhang")
	clerk := kiosktest.NewTab(t, browser, url, 1024, 768)
	clerk.Open("/clerk")
	customer := kiosktest.NewTab(t, browser, url, 1024, 768)
	customer.Open("/kiosk?lang=en")
	customer.See("attract")

	// press presses a key once the clerk may: no call and no card under way.
	press := func(key, button string) {
		t.Helper()
		clerk.Until(button+" can be pressed", `(() => { const e = document.querySelector('`+kiosktest.ID(button)+`'); return e?.getClientRects().length && !e.disabled && document.querySelector('[data-testid="working"]').hidden; })()`)
		clerk.Press(key)
	}

	// Insert: both screens show the card.
	clerk.TypeIn("login-pin", "1234\r")
	clerk.Until("logged in", `document.querySelector('[data-testid="login"]').hidden`)
	clerk.Says("link", "在线")
	press(kb.F8, "do-shift")
	clerk.TypeIn("shift-cash", "200\r")
	clerk.Says("takings", "¥0.00")
	desk.Click("put-zhang")
	clerk.Says("card-number", "0017")
	customer.Says("card-balance", "¥0.00")

	// Top up 100; a double click is one top-up.
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "0.001\r")
	clerk.Says("commit", "12.30") // how an amount is written
	clerk.Until("no amount, no commit", `document.querySelector('[data-testid="commit"]').disabled`)
	clerk.Press(kb.Escape)
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "100\r")
	twice(clerk, "commit")
	clerk.Settled("成功")
	clerk.Says("card-balance", "¥100.00")
	clerk.Press(kb.Enter)

	// Pay 30 of the bill on line.
	pay := func(amount string) string {
		t.Helper()
		customer.Click("pay-other")
		for _, d := range account.String() {
			customer.Click("account-" + string(d))
		}
		customer.Click("account-next")
		customer.Click("other-amount")
		for _, d := range amount {
			customer.Click("amount-" + string(d))
		}
		customer.Click("amount-next")
		customer.Says("confirm-amount", "¥"+amount+".00")
		twice(customer, "confirm-pay")
		customer.Says("result-verdict", "Bill paid")
		slip := kiosktest.Eval[string](customer, slipShown)
		customer.Click("result-finish")
		customer.Click("go-on")
		return slip
	}
	first := pay("30")
	desk.Until("the first payment at the utility", row(-accounts[0].Owes+30_00))

	// Cut the link: pay and top up all the same.
	desk.Click("link-toggle")
	clerk.Says("link", "离线")
	customer.See("banner")
	second := pay("20")
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "50\r\r")
	clerk.Settled("成功")
	clerk.Says("card-balance", "¥100.00")
	clerk.Press(kb.Enter)
	clerk.Until("records wait", `!document.querySelector('[data-testid="unsent"]').textContent.includes("全部")`)
	if got := r.balance(ledger.Customer(account)); got != -accounts[0].Owes+30_00 {
		t.Errorf("the utility knows of the second payment while the link is down: %s", got)
	}

	// Restore: both payments stand on the account, by the numbers on the slips.
	desk.Click("link-toggle")
	clerk.Says("unsent", "全部已上传")
	desk.Until("both payments at the utility", row(-accounts[0].Owes+50_00))
	for _, slip := range []string{first, second} {
		desk.Until("slip "+slip+" in the ledger", slips+`.includes("`+slip+`+")`)
	}

	// Be unkind: a payment is torn after the card executed it. The screen does
	// not guess, and the card itself settles it.
	desk.Click("tear-after")
	desk.Says("tear", "执行后")
	customer.Click("pay-known-0") // the card paid it before
	customer.Click("other-amount")
	customer.Click("amount-5")
	customer.Click("amount-next")
	customer.Click("confirm-pay")
	customer.Says("result-verdict", "Not certain yet")
	torn := kiosktest.Eval[string](customer, slipShown)
	clerk.Says("unknown", "1")
	customer.Click("result-finish")
	customer.See("attract")
	desk.Click("put-zhang")
	clerk.Says("unknown", "没有")
	clerk.Says("card-balance", "¥95.00")
	clerk.Says("settled", "已查清")
	customer.Says("settled", torn+" is settled")
	customer.Says("settled", "¥5.00 went from card")
	clerk.Says("recent", "¥5.00")
	desk.Until("the third payment at the utility", row(-accounts[0].Owes+55_00))

	// A top-up torn before the card executed it: the screen that said "not
	// certain" is settled where it stands, and the cash goes back.
	desk.Click("tear-before")
	desk.Says("tear", "执行前")
	press(kb.F2, "do-topup")
	clerk.TypeIn("amount", "20\r\r")
	clerk.Settled("结果待查")
	desk.Click("put-zhang")
	clerk.Settled("没有成功")
	clerk.Press(kb.Enter)
	clerk.Says("result-sentence", "可以付给顾客") // asked of the utility, which knows that it waits
	clerk.Until("the screen can be left", `document.activeElement?.dataset.testid === "finish"`)
	clerk.Press(kb.Escape)

	// Close the shift with a wrong count.
	press(kb.F8, "do-shift")
	clerk.TypeIn("shift-cash", "345\r")
	clerk.Says("difference-sum", "¥5.00") // which wants a reason
	clerk.TypeIn("difference-note", "?\r")
	clerk.Says("shift-sums", "¥350.00")
	clerk.Says("shift-sums", "-¥5.00")

	r.synced()
	if got, want := r.balance(ledger.Customer(account)), -accounts[0].Owes+55_00; got != want {
		t.Errorf("the account stands at %s, want %s", got, want)
	}
	lines, err := r.Utility.Service.Statement(r.ctx, ledger.Customer(account))
	if err != nil {
		t.Fatal(err)
	}
	paid := map[string]money.Fen{}
	for _, l := range lines {
		_, slip := r.posting(ledger.Customer(account), l.Name)
		paid[slip] += l.Amount
	}
	if paid[first] != 30_00 || paid[second] != 20_00 {
		t.Errorf("slip %s stands for %s, slip %s for %s", first, paid[first], second, paid[second])
	}
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != 95_00 {
		t.Errorf("the card's account stands at %s", got)
	}
	for _, tab := range []*kiosktest.Tab{desk, clerk, customer} {
		tab.Quiet()
	}
}

// screens serves the pages on a loopback address, as kioskd --sim does.
func (r *running) screens() (url string) {
	r.Helper()
	hash, err := kiosk.HashPIN("1234")
	if err != nil {
		r.Fatal(err)
	}
	return r.pages(kiosk.Config{
		Terminal: r.Station.Terminal, Link: r.Station, Desk: r.Desk, Shop: "幸福路便利店", Clock: r.Clock,
		Staff: []kiosk.Staff{{ID: 1, Name: "小陈", PINHash: hash, Rights: kiosk.Rights}},
	})
}

// pages serves the pages as they are configured.
func (r *running) pages(c kiosk.Config) (url string) {
	r.Helper()
	s, err := kiosk.New(c)
	if err != nil {
		r.Fatal(err)
	}
	l, err := kiosk.Listen("127.0.0.1:0", false)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("the screens ended with %v", err)
		}
	})
	return "http://" + l.Addr().(*net.TCPAddr).String()
}

// twice presses a button twice before the page can answer, as a double click
// on a slow machine does.
func twice(b *kiosktest.Tab, testid string) {
	e := `document.querySelector('` + kiosktest.ID(testid) + `')`
	b.Until(testid+" can be pressed", `(() => { const e = `+e+`; return e?.getClientRects().length && !e.disabled; })()`)
	b.Run(chromedp.Evaluate[chromedp.Void](`{ const e = ` + e + `; e.click(); e.click(); }`))
}
