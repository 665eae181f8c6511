package desk

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/wire"
)

// Every flow of counter and kiosk, in a real browser on a whole desk, and what
// goes wrong in the middle of it. One that moves value on a card meets it all
// with a card in process and again with one behind a real pcscd; where no card
// has a part in it there is no reader to differ.
//
//	                          held  pulled  pulled  printer  killed
//	                                before  after   out
//	counter                   (1)   (2)     (2)     (3)      (4)
//	  sell, with first load    x     x       x       x
//	  top up, with change      x     x       x       x        x
//	  pay with the card        x     x       x       x
//	  void, two persons        x     x       x       x
//	  claim onto the card      x     x       x       x
//	kiosk
//	  pay own account          x     x       x       x
//	  pay another's account    x     x       x       x        x
//
//	no card                   held  link lost       printer
//	                          (1)   (5)             (3)
//	  bill in cash             x     x               x
//	  claim in cash            x     x               x
//	  block a lost card        x     x               x
//	  replace a dead card      x     x               x
//
// (1) The button is pressed twice; the card, or the utility, thinks; a second
// tab of the same screen, and the other screen, say that it is under way; the
// link is cut, where the card is what thinks; the page is loaded anew. Then all
// goes on: one transaction, and everyone who looks is told its end.
// (2) Not certain, on screen and paper; the card comes back and settles it, and
// a second slip names the first.
// (3) Nothing moves before it was said that there is no paper; then the kiosk
// shows the slip, and the counter prints it later.
// (4) Chromium is killed, and another page finds the end.
// (5) The question is lost: not certain, on screen and paper, until the link is
// back.
//
// What moves no value is in shop: history, reprint, X, stock, staff, the kiosk's
// timeouts and elder mode, and closing the shift, each off line, without paper,
// in two tabs, pressed twice or loaded anew, as far as it can matter there.
// Opening the shift is how the test begins.
type flow struct {
	name   string
	kiosk  bool
	kind   journal.Kind
	change money.Fen // of the card, when it is done
	card   string    // "": one from stock
	begin  func(s *stage)
	enter  func(s *stage, b *kiosktest.Tab) // all but the last press
	commit string                           // the last press
}

// sum is what every flow moves, as it types it.
const sum = 20_00

var cardFlows = []flow{
	{name: "top up", kind: journal.KindTopUp, change: sum, card: "zhang", commit: "commit", enter: func(s *stage, b *kiosktest.Tab) {
		s.press(b, kb.F2, "do-topup")
		b.TypeIn("amount", "20\r")
		b.Until("the cash is asked for", `document.activeElement.name === "tendered"`)
		b.Press("50")
		b.Says("change", "¥30.00")
	}},
	{name: "pay with the card", kind: journal.KindRedemption, change: -sum, card: "zhang", commit: "redeem-commit", enter: func(s *stage, b *kiosktest.Tab) {
		s.press(b, kb.F3, "do-redeem")
		b.TypeIn("account", accounts[0].Number.String()+"\r")
		b.Says("bill", accounts[0].Owner)
		b.Until("the amount is asked for", `document.activeElement.name === "amount"`)
		b.Press("20")
		b.Says("redeem-commit", "¥20.00")
	}},
	{name: "void", kind: journal.KindVoid, change: -sum, card: "zhang", commit: "confirm-commit", begin: func(s *stage) {
		rc, err := s.Station.Terminal.TopUp(s.ctx, terminal.TopUpRequest{Token: token(), Who: first, Card: s.Number("zhang"), Amount: sum, Tendered: sum})
		if err != nil || rc.Result != journal.Done {
			s.Fatalf("a top-up to be voided: %v %d", err, rc.Result)
		}
		s.about = rc.Name
	}, enter: func(s *stage, b *kiosktest.Tab) {
		row := `document.querySelector('[data-id="` + s.about.String() + `"]')?.parentElement.querySelector('[data-testid="void"]')`
		b.Until("the top-up can be voided", row)
		b.Run(chromedp.Evaluate[chromedp.Void](row + `.click()`))
		b.TypeIn("second-pin", "2468")
	}},
	{name: "sell", kind: journal.KindSale, change: sum, commit: "commit", enter: func(s *stage, b *kiosktest.Tab) {
		s.press(b, kb.F4, "do-sell")
		b.TypeIn("amount", "20\r")
		b.Until("the cash is asked for", `document.activeElement.name === "tendered"`)
		b.Press("20")
		b.Says("change", "¥0.00")
	}},
	{name: "claim onto the card", kind: journal.KindClaim, change: sum, card: "zhang", commit: "claim-load", begin: owe, enter: enterClaim},
	{name: "pay own account", kiosk: true, kind: journal.KindRedemption, change: -sum, card: "zhang", commit: "confirm-pay", enter: func(s *stage, b *kiosktest.Tab) {
		own := `[...document.querySelectorAll('[data-testid^="pay-known"]')].find((e) => e.textContent.includes("01****0017"))`
		b.Until("the card's own account is offered", own)
		b.Run(chromedp.Evaluate[chromedp.Void](own + `.click()`))
		s.kioskAmount(b)
	}},
	{name: "pay another's account", kiosk: true, kind: journal.KindRedemption, change: -sum, card: "zhang", commit: "confirm-pay", enter: func(s *stage, b *kiosktest.Tab) {
		b.Click("pay-other")
		b.See("account-next")
		b.Press(accounts[1].Number.String())
		b.Click("account-next")
		b.Says("bill", accounts[1].Owner)
		s.kioskAmount(b)
	}},
}

var askFlows = []flow{
	{name: "bill in cash", kind: journal.KindBill, commit: "bill-commit", enter: func(s *stage, b *kiosktest.Tab) {
		s.press(b, kb.F6, "do-bill")
		b.TypeIn("bill-account", accounts[2].Number.String()+"\r")
		b.Says("bill-shown", accounts[2].Owner)
		b.Until("the amount is asked for", `document.activeElement.name === "amount"`)
		b.Press("20\r")
		b.Until("the cash is asked for", `document.activeElement.name === "tendered"`)
		b.Press("50")
		b.Says("bill-change", "¥30.00")
	}},
	{name: "claim in cash", kind: journal.KindClaim, commit: "claim-cash", begin: owe, enter: enterClaim},
	{name: "block", kind: journal.KindBlock, commit: "confirm-commit", enter: func(s *stage, b *kiosktest.Tab) {
		s.lost(b, "menu-block", s.Number("li"))
	}},
	{name: "replace", kind: journal.KindReplace, commit: "confirm-commit", begin: func(s *stage) { s.sold = s.sold[1:] }, enter: func(s *stage, b *kiosktest.Tab) {
		s.lost(b, "menu-replace", s.sold[0])
	}},
}

// lost is a card that is not here, by its number.
func (s *stage) lost(b *kiosktest.Tab, line string, n money.CardNumber) {
	s.out()
	s.menu(b, line)
	b.Until("the number is asked for", `(() => {
		const dead = document.querySelector('[data-testid="renew-dead"]'); // a card that still reads goes another way
		if (dead?.checkVisibility()) dead.click();
		return document.querySelector('[data-testid="lost-number"]').checkVisibility();
	})()`)
	b.TypeIn("lost-number", n.String()+"\r")
	b.Says("confirm-text", n.String()[16:])
}

// owe leaves cash of a top-up that was not done with the shop: its slip can be
// turned into cash or value.
func owe(s *stage) {
	if err := s.Tear(kiosk.TearBefore); err != nil {
		s.Fatal(err)
	}
	s.put("zhang")
	rc, err := s.Station.Terminal.TopUp(s.ctx, terminal.TopUpRequest{Token: token(), Who: first, Card: s.Number("zhang"), Amount: sum, Tendered: sum})
	if err != nil || rc.Result != journal.Unknown {
		s.Fatalf("a top-up that is torn: %v %d", err, rc.Result)
	}
	s.in = ""
	s.put("zhang")
	s.synced()
	s.about = rc.Name
}

func enterClaim(s *stage, b *kiosktest.Tab) {
	s.press(b, kb.F9, "do-more")
	b.See("menu")
	b.Press("1")
	b.TypeIn("claim-slip", s.about.String()+"\r")
	b.Says("claim-shown", "¥20.00")
}

func (s *stage) kioskAmount(b *kiosktest.Tab) {
	b.Click("other-amount")
	b.See("amount-next")
	b.Press("20")
	b.Click("amount-next")
	b.Says("confirm-amount", "¥20.00")
}

// first is who logs in.
var first = journal.Actor{Kind: journal.ActorClerk, ID: 1}

// hold stops who passes it, once, until it is let go.
type hold struct {
	mu      sync.Mutex
	armed   bool
	entered chan struct{}
	release chan struct{}
}

func (h *hold) arm() (letGo func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed, h.entered, h.release = true, make(chan struct{}), make(chan struct{})
	release := h.release
	return sync.OnceFunc(func() {
		h.mu.Lock()
		h.armed = false
		h.mu.Unlock()
		close(release)
	})
}

func (h *hold) pass() {
	h.mu.Lock()
	armed, release := h.armed, h.release
	h.armed = false
	if armed {
		close(h.entered)
	}
	h.mu.Unlock()
	if armed {
		<-release
	}
}

// heldChip thinks before a command that moves value.
type heldChip struct {
	virtual.Chip
	h *hold
}

func (c heldChip) Transmit(cmd []byte) ([]byte, error) {
	if len(cmd) > 1 && cmd[0] == 0x80 && (cmd[1] == 0x52 || cmd[1] == 0x54) {
		c.h.pass()
	}
	return c.Chip.Transmit(cmd)
}

// heldHost thinks before it decides. However long that was, it is then asked:
// how long a terminal waits is not what is tried here.
type heldHost struct {
	terminal.Host
	h *hold
}

func held[Q, A any](ctx context.Context, h *hold, q Q, ask func(context.Context, Q) (A, error)) (A, error) {
	h.pass()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return ask(ctx, q)
}

func (h heldHost) TakeBill(ctx context.Context, q wire.BillQuestion) (wire.Agreement, error) {
	return held(ctx, h.h, q, h.Host.TakeBill)
}

func (h heldHost) Collect(ctx context.Context, q wire.CollectQuestion) (wire.Agreement, error) {
	return held(ctx, h.h, q, h.Host.Collect)
}

func (h heldHost) AskCard(ctx context.Context, q wire.CardQuestion) (wire.Agreement, error) {
	return held(ctx, h.h, q, h.Host.AskCard)
}

// stage is a desk with its screens, each in two tabs.
type stage struct {
	*running
	url         string
	browser     context.Context
	tabs        []*kiosktest.Tab
	clerk       *kiosktest.Tab
	clerk2      *kiosktest.Tab
	customer    *kiosktest.Tab
	customer2   *kiosktest.Tab
	card, asked hold
	in          string             // the card in the reader
	stock       []string           // not sold yet
	sold        []money.CardNumber // of the flow "sell"
	about       journal.Name       // what the flow is about
	newest      journal.Name       // before the flow
	before      money.Fen          // on the card
	slips       int                // on paper before the flow
}

// newStage opens a desk whose pages have the host's name, so that two desks do
// not share the cookies of one browser.
func newStage(t *testing.T, o Options, host string) *stage {
	s := &stage{browser: kiosktest.NewBrowser(t), stock: []string{"stock1", "stock2", "stock3", "stock4"}}
	for _, id := range s.stock[2:] {
		o.Cards = append(o.Cards, Sample{ID: id, Label: kiosk.Words{"zh-CN": id, "en": id}, Number: "331008885000000" + id[5:], Profile: "dianka-ep", Stock: true})
	}
	o.Patience = time.Minute // a held card thinks for long
	o.Chip = func(name string, c virtual.Chip) virtual.Chip {
		if name == "sam" {
			return c
		}
		return heldChip{c, &s.card}
	}
	o.Host = func(h terminal.Host) terminal.Host { return heldHost{h, &s.asked} }
	s.running = start(t, o)
	n, err := money.ParseCardNumber("3310088850000101")
	if err != nil {
		t.Fatal(err)
	}
	last, err := money.ParseCardNumber("3310088850000120")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Utility.Service.AddCards(s.ctx, n, last, "dianka-ep", false, Shop); err != nil { // a pack that is not here yet
		t.Fatal(err)
	}
	s.until("the link", func(st terminal.Status) bool { return st.Online && st.Allowance.Amount > 0 })
	s.limits(roomy())
	port := s.serve("1234", "2468")
	s.url = "http://" + net.JoinHostPort(host, port)
	s.clerk = s.tab("/clerk")
	s.login(s.clerk, "1", "1234")
	s.clerk2, s.customer, s.customer2 = s.tab("/clerk"), s.tab("/kiosk"), s.tab("/kiosk")
	s.clerk2.Until("one session for both tabs", `document.querySelector('[data-testid="login"]').hidden`)
	return s
}

func (s *stage) tab(path string) *kiosktest.Tab {
	b := kiosktest.NewTab(s.T, s.browser, s.url, 1024, 768)
	s.tabs = append(s.tabs, b)
	b.Open(path)
	return b
}

// serve serves the pages with a printer and two persons.
func (s *stage) serve(pins ...string) (port string) {
	c := kiosk.Config{
		Terminal: s.Station.Terminal, Link: s.Station, Desk: s.Desk, Shop: "幸福路便利店", Clock: s.Clock,
		Printer: s.Printer(), Slips: kiosk.Slips{Issuer: "申城供电公司"},
	}
	for i, name := range []string{"小陈", "店长王"} {
		hash, err := kiosk.HashPIN(pins[i])
		if err != nil {
			s.Fatal(err)
		}
		c.Staff = append(c.Staff, kiosk.Staff{ID: money.StaffID(i + 1), Name: name, PINHash: hash, Rights: kiosk.Rights})
	}
	url := s.pages(c)
	return url[strings.LastIndex(url, ":")+1:]
}

func (s *stage) login(b *kiosktest.Tab, id, pin string) {
	s.Helper()
	b.Until("the list of staff is there", `document.querySelector('[data-testid="login-staff"] option[value="`+id+`"]')`)
	b.Run(chromedp.SetValue(chromedp.CSS(kiosktest.ID("login-staff")), id))
	b.TypeIn("login-pin", pin+"\r")
	inside(b)
}

// inside waits until a person who logged in may work: the first view has the
// focus, and keys are heard.
func inside(b *kiosktest.Tab) {
	b.Until("logged in", `document.querySelector('[data-testid="login"]').hidden && document.activeElement?.closest('[data-view="home"]')`)
}

// press presses a key once the clerk may.
func (s *stage) press(b *kiosktest.Tab, key, button string) {
	s.Helper()
	b.Until(button+" can be pressed", `(() => { const e = document.querySelector('`+kiosktest.ID(button)+`'); return e?.getClientRects().length && !e.disabled && document.querySelector('[data-testid="working"]').hidden; })()`)
	b.Press(key)
}

// run runs a part of the test; after one that failed no other is tried, since
// they share the desk.
func (s *stage) run(name string, f func()) {
	if s.Failed() {
		return
	}
	whole := s.T
	whole.Run(name, func(t *testing.T) {
		use := func(t *testing.T) {
			s.T = t
			for _, b := range s.tabs {
				b.Under(t)
			}
		}
		use(t)
		defer use(whole)
		f()
		s.rest()
	})
}

// put has a card in the reader.
func (s *stage) put(id string) {
	s.Helper()
	if s.in != id {
		s.out()
	}
	if s.in == "" {
		s.insert(id)
	}
	s.in = id
}

// out has no card in the reader.
func (s *stage) out() {
	s.Helper()
	if s.in != "" {
		s.pull()
		s.in = ""
	}
}

// rest leads all screens back to where a flow begins.
func (s *stage) rest() {
	s.Helper()
	for _, b := range s.tabs[:4] {
		atRest(b)
		b.Quiet("503", "422", "409", "403", "401")
	}
}

func atRest(b *kiosktest.Tab) {
	b.Until("rest", `(() => {
		if (!document.querySelector('[data-testid="working"]').checkVisibility()) for (const e of document.querySelectorAll('[data-back], [data-testid="result-finish"], [data-testid="go-on"]')) if (e.checkVisibility() && !e.disabled) { e.click(); break; }
		return document.body.classList.contains("public") ? ["choose", "attract"].includes(document.body.dataset.at) : document.querySelector('[data-view="home"]').checkVisibility();
	})()`)
}

// ready has all there that a flow needs and does it but for the last press.
func (s *stage) ready(f flow) *kiosktest.Tab {
	s.Helper()
	id := f.card
	if f.kind == journal.KindSale {
		id, s.stock = s.stock[0], s.stock[1:]
		s.sold = append(s.sold, s.Number(id))
	}
	if id != "" {
		s.put(id)
	}
	if f.begin != nil {
		f.begin(s)
	}
	s.synced()
	list, err := s.Station.Terminal.Transactions(1, journal.Ref{})
	if err != nil {
		s.Fatal(err)
	}
	s.newest = journal.Name{}
	if len(list) > 0 {
		s.newest = list[0].Name
	}
	s.before, s.slips = s.Station.Terminal.Status().Card.Balance, len(s.paper.sim.Slips())
	b := s.clerk
	if f.kiosk {
		b = s.customer
	}
	f.enter(s, b)
	return b
}

// since lists the transactions of a kind since ready.
func (s *stage) since(k journal.Kind) (out []terminal.Receipt) {
	s.Helper()
	list, err := s.Station.Terminal.Transactions(50, journal.Ref{})
	if err != nil {
		s.Fatal(err)
	}
	for _, rc := range list {
		if rc.Name == s.newest {
			break
		}
		if rc.Kind == k {
			out = append(out, rc)
		}
	}
	return out
}

// ended requires one transaction of the flow's kind that ended as it should,
// and card, ledger and screens that agree.
func (s *stage) ended(f flow, want journal.Result) terminal.Receipt {
	s.Helper()
	if len(s.since(f.kind)) != 1 {
		s.Fatalf("%d transactions instead of one", len(s.since(f.kind)))
	}
	s.synced()
	rc := s.since(f.kind)[0]
	last := rc.Transaction
	if rc.Child != nil {
		last = *rc.Child
	}
	if last.Result != want {
		s.Fatalf("%s ended with %d, reason %d, want %d", rc.Name, last.Result, last.Reason, want)
	}
	if s.in == "" || f.change == 0 {
		return rc
	}
	holds := s.before
	if want == journal.Done {
		holds += f.change
	}
	s.until("the card's balance", func(st terminal.Status) bool { return st.Card.State == terminal.CardReady && st.Card.Balance == holds })
	if got := s.balance(ledger.Card(s.Number(s.in))); got != holds {
		s.Fatalf("the ledger has %s on the card, the card %s", got, holds)
	}
	s.clerk.Says("card-balance", holds.Yuan())
	return rc
}

// onPaper waits until so many slips since ready bear the number.
func (s *stage) onPaper(n journal.Name, want int) {
	s.Helper()
	end := time.After(20 * time.Second)
	for {
		changed, got := s.paper.sim.Changed(), 0
		for _, slip := range s.paper.sim.Slips() {
			if slip.Cut && strings.Contains(slip.Text(), n.String()) {
				got++
			}
		}
		if got >= want {
			return
		}
		select {
		case <-changed:
		case <-end:
			var all strings.Builder
			for _, slip := range s.paper.sim.Slips()[s.slips:] {
				all.WriteString(slip.Text() + "----\n")
			}
			s.Fatalf("%d of %d slips bear %s:\n%s", got, want, n, all.String())
		}
	}
}

// top is what the newest line of the counter's list says.
func top(b *kiosktest.Tab, want string) {
	b.Until("the newest line says "+want, fmt.Sprintf(`document.querySelector('[data-testid="recent"] li')?.textContent.includes(%q)`, want))
}

func (s *stage) pressedTwice(f flow, h *hold) (b *kiosktest.Tab, letGo func()) {
	s.Helper()
	b = s.ready(f)
	letGo = h.arm()
	twice(b, f.commit)
	select {
	case <-h.entered:
	case <-time.After(30 * time.Second):
		letGo()
		s.Fatal("nothing began")
	}
	return b, letGo
}

// held: mishap (1).
func (s *stage) held(f flow, h *hold) {
	b, letGo := s.pressedTwice(f, h)
	defer letGo()
	other := s.clerk2
	switch {
	case f.kiosk:
		other = s.customer2
		s.clerk.See("working")
	case s.in != "":
		s.customer.See("held")
	}
	other.See("working")
	if h == &s.card {
		s.LinkUp(false)
		defer s.LinkUp(true)
		s.clerk2.Says("link", "离线")
	}
	b.Reload()
	b.See("working")
	letGo()
	if f.kiosk {
		b.Says("result-verdict", "缴费成功")
		other.Says("result-verdict", "缴费成功")
	} else {
		top(b, "成功")
		top(other, "成功")
	}
	s.LinkUp(true)
	rc := s.ended(f, journal.Done)
	if !f.kiosk {
		s.onPaper(rc.Name, 1)
	}
}

// killed: mishap (4).
func (s *stage) killed(f flow) {
	poor := kiosktest.NewVictim(s.T)
	b := kiosktest.NewTab(s.T, poor, s.url, 1024, 768)
	mine, yours := s.clerk, s.customer
	s.clerk, s.customer = b, b
	defer func() { s.clerk, s.customer = mine, yours }()
	if f.kiosk {
		b.Open("/kiosk")
		b.Says("result-verdict", "缴费成功") // a page opened anew tells the last payment of the card
		atRest(b)
	} else {
		b.Open("/clerk")
		s.login(b, "1", "1234")
	}
	_, letGo := s.pressedTwice(f, &s.card)
	defer letGo()
	kiosktest.Kill(s.T, poor)
	s.clerk, s.customer = mine, yours
	if f.kiosk {
		yours.Reload() // whoever comes next opens the page in the middle
		yours.See("working")
	}
	letGo()
	if f.kiosk {
		yours.Says("result-verdict", "缴费成功")
	} else {
		top(mine, "成功")
	}
	rc := s.ended(f, journal.Done)
	if f.kiosk {
		yours.Says("result-facts", rc.Name.String())
	} else {
		s.onPaper(rc.Name, 1)
	}
}

// pulled: mishap (2).
func (s *stage) pulled(f flow, when string) {
	b := s.ready(f)
	if err := s.Tear(when); err != nil {
		s.Fatal(err)
	}
	id := s.in
	b.Click(f.commit)
	unknown, done, notDone := "结果待查", "成功", "没有成功"
	if f.kiosk {
		unknown, done, notDone = "不能确定", "缴费成功", "没有缴成"
	}
	b.Says("result-verdict", unknown)
	s.in = ""
	list := s.since(f.kind)
	if len(list) != 1 || !list[0].Open() && (list[0].Child == nil || !list[0].Child.Open()) {
		s.Fatalf("not certain, and there are %d transactions: %+v", len(list), list)
	}
	rc := list[0]
	b.Says("result-facts", rc.Name.String())
	s.onPaper(rc.Name, 1)
	s.put(id)
	if when == kiosk.TearAfter {
		b.Says("result-verdict", done)
		s.ended(f, journal.Done)
		s.onPaper(rc.Name, 2)
		return
	}
	b.Says("result-verdict", notDone)
	rc = s.ended(f, journal.NotDone)
	s.onPaper(rc.Name, 2)
	if rc.Owed.IsZero() {
		return
	}
	s.cashBack(b, rc)
}

// cashBack gives the cash of what was not done back. The utility knows of it by
// now: it is asked as for a claim, so that no other shop pays it as well.
func (s *stage) cashBack(b *kiosktest.Tab, rc terminal.Receipt) {
	s.press(b, kb.F9, "cash-returned")
	b.Says("result-sentence", "可以付给顾客")
	if now, err := s.Station.Terminal.Transaction(rc.Owed); err != nil || !now.Owed.IsZero() {
		s.Fatalf("the cash that went back is not booked: %+v, %v", now, err)
	}
}

// unprinted: mishap (3).
func (s *stage) unprinted(f flow) {
	b := s.ready(f)
	if err := s.SetPrinter("paper_out"); err != nil {
		s.Fatal(err)
	}
	defer s.SetPrinter("ok")
	s.clerk2.Says("printer", "没有纸")
	if f.kiosk {
		b.Says("no-paper", "打不出凭条")
		twice(b, f.commit)
		b.Says("result-verdict", "缴费成功")
		b.Until("the slip is on the screen", `document.querySelector('[data-testid="slip"]').checkVisibility() && document.querySelector('[data-testid="slip"]').naturalWidth > 0`)
		s.ended(f, journal.Done)
		return
	}
	b.Click(f.commit)
	b.See("no-slip")
	if n := len(s.since(f.kind)); n != 0 {
		s.Fatalf("%d transactions before it was said that there is no paper", n)
	}
	b.Press(kb.F1)
	b.Says("result-verdict", "成功")
	rc := s.ended(f, journal.Done)
	if err := s.SetPrinter("ok"); err != nil {
		s.Fatal(err)
	}
	s.press(b, kb.F1, "print")
	b.Says("result-facts", "凭条已打印")
	s.onPaper(rc.Name, 1)
}

// cutOff: mishap (5).
func (s *stage) cutOff(f flow) {
	b, letGo := s.pressedTwice(f, &s.asked)
	defer letGo()
	s.LinkUp(false)
	defer s.LinkUp(true)
	letGo()
	b.Says("result-verdict", "结果待查")
	b.Says("link", "离线")
	if n := len(s.since(f.kind)); n != 1 {
		s.Fatalf("%d transactions are not certain", n)
	}
	s.onPaper(s.since(f.kind)[0].Name, 1)
	s.LinkUp(true)
	if f.kind == journal.KindBlock || f.kind == journal.KindReplace {
		b.Says("result-verdict", "成功") // the same question is asked until it has an answer
		s.ended(f, journal.Done)
		return
	}
	b.Says("result-verdict", "没有成功")
	if rc := s.ended(f, journal.NotDone); !rc.Owed.IsZero() {
		s.cashBack(b, rc)
	}
}

// flows runs every flow that moves value on a card through every mishap.
func flows(t *testing.T, o Options, host string) *stage {
	s := newStage(t, o, host)
	s.run("open the shift", s.openShift)
	s.put("zhang")
	s.want("a first top-up", s.topUp("zhang", 900_00), journal.Done)
	s.want("a first payment", s.redeem("zhang", accounts[0].Number, 10_00), journal.Done)
	for _, f := range cardFlows {
		s.run(f.name+"/held", func() { s.held(f, &s.card) })
		s.run(f.name+"/pulled before", func() { s.pulled(f, kiosk.TearBefore) })
		s.run(f.name+"/pulled after", func() { s.pulled(f, kiosk.TearAfter) })
		s.run(f.name+"/printer out", func() { s.unprinted(f) })
		switch f.name {
		case "top up", "pay another's account":
			s.run(f.name+"/killed", func() { s.killed(f) })
		}
	}
	return s
}

// TestBrowserFlows: with cards in process.
func TestBrowserFlows(t *testing.T) {
	t.Parallel()
	s := flows(t, Options{}, "127.0.0.1")
	for _, f := range askFlows {
		s.run(f.name+"/held", func() { s.held(f, &s.asked) })
		s.run(f.name+"/link lost", func() { s.cutOff(f) })
		s.run(f.name+"/printer out", func() { s.unprinted(f) })
	}
	s.shop()
	s.audited()
}

func (s *stage) openShift() {
	s.press(s.clerk, kb.F8, "do-shift")
	s.press(s.clerk2, kb.F8, "do-shift")
	s.clerk2.TypeIn("shift-cash", "300")
	s.clerk.TypeIn("shift-cash", "200")
	twice(s.clerk, "shift-commit")
	s.clerk.Says("takings", "¥0.00")
	// What was typed in the second tab to open a shift must not close this one.
	s.clerk2.See("do-shift")
	s.clerk2.Press(kb.Enter)
	if sh := s.Station.Terminal.Status().Shift; sh.Number != 1 || sh.Closed || sh.OpeningCash != 200_00 {
		s.Fatalf("shift %d with %s", sh.Number, sh.OpeningCash)
	}
}
