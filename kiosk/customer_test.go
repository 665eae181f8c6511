package kiosk

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk/kiosktest"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// paid puts a payment of a card into the fake's journal.
func (f *fake) paid(card money.CardNumber, account money.AccountNumber, amount money.Fen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shown := f.status.Card
	f.cards[card].Balance += amount // as it was before
	f.book(journal.TokenOf(account.String()+"paid"), journal.Actor{Kind: journal.ActorClerk, ID: 1}, journal.Transaction{
		Kind: journal.KindRedemption, Card: card, Account: account, Amount: amount, Purchase: &journal.PurchaseIntent{Seen: journal.AccountOnline, Amount: amount},
	})
	f.status.Card = shown
}

func (f *fake) booked() []terminal.Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]terminal.Receipt(nil), f.list...)
}

func typeAccount(b *kiosktest.Tab, n money.AccountNumber) {
	for _, d := range n.String() {
		b.Click("account-" + string(d))
	}
}

// Every screen that a customer can come to: on three panels, in both
// languages, as it comes, in elder mode and in high contrast.
func TestBrowserKioskLooks(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Open("/kiosk")
	b.See("attract")
	b.Survey("kiosk-01-attract")
	f.insert(cardA)
	b.Says("card-balance", "¥120.00")
	b.Survey("kiosk-02-choose-new")
	f.insert(money.CardNumber{})
	b.See("attract")
	f.paid(cardA, acct, 86_40)
	f.paid(cardA, ahead, 50_00)
	f.insert(cardA)
	b.See("pay-known-1")
	b.Survey("kiosk-03-choose")
	b.Click("see-history")
	b.See("history-view")
	b.Survey("kiosk-04-history")
	b.Click("history-back")
	b.Click("pay-other")
	for _, d := range "010000001" {
		b.Click("account-" + string(d))
	}
	b.Survey("kiosk-05-account")
	b.Click("account-7")
	b.Click("account-next")
	b.Says("bill", "¥86.40")
	b.Survey("kiosk-06-bill")
	b.Click("other-amount")
	for _, k := range []string{"2", "0", "0"} {
		b.Click("amount-" + k)
	}
	b.Click("amount-next")
	b.Says("amount-refusal", "余额不够")
	b.Survey("kiosk-07-amount")
	b.Click("amount-delete")
	b.Click("amount-next")
	b.Says("confirm-amount", "¥20.00")
	b.Survey("kiosk-08-confirm")
	b.Click("confirm-pay")
	b.Says("result-verdict", "缴费成功")
	b.Survey("kiosk-09-done")
	b.Click("result-finish")
	b.See("take")
	b.Survey("kiosk-10-take")
	f.insert(money.CardNumber{})
	b.See("attract")

	b.Quiet("409") // a card that left while the page asked about it
}

// And how it looks when something is not as it should be.
func TestBrowserKioskTroubles(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, false), 1024, 768)
	b.Open("/kiosk")
	b.See("attract")
	f.paid(cardA, acct, 86_40)

	// A payment that is not done, one that is not certain.
	for i, result := range []journal.Result{journal.NotDone, journal.Unknown} {
		f.insert(cardA)
		b.Click("pay-known-0")
		b.Click("other-amount")
		b.Click("amount-5")
		b.Click("amount-next")
		f.with(func() { f.result = result })
		b.Click("confirm-pay")
		b.Says("result-verdict", []string{"没有扣钱", "不能确定"}[i])
		b.Survey([]string{"kiosk-11-notdone", "kiosk-12-unknown"}[i])
		f.insert(money.CardNumber{}) // the number stays until it is noted
		b.Says("result-facts", "310100001234-1-")
		b.Click("result-finish")
		b.See("attract")
	}
	// It is settled by the card's coming back.
	f.insert(cardA)
	b.Says("settled", "已查清")
	b.Survey("kiosk-13-settled")
	f.insert(money.CardNumber{})
	b.See("attract")

	// Off line; an account that nobody can look up is typed twice.
	f.with(func() { f.status.Online = false })
	b.Says("banner", "没有联网")
	f.insert(cardB)
	b.Click("pay-other")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.Says("account-title", "再输一遍")
	b.Survey("kiosk-14-again")
	typeAccount(b, nobody)
	b.Click("account-next")
	b.See("bill-view")
	b.Survey("kiosk-15-typed")
	f.insert(money.CardNumber{})
	b.See("attract")
	f.with(func() { f.status.Online = true })

	// The counter has the card; a card that is no use; a terminal that is none.
	f.insert(cardB)
	b.See("choose-view")
	f.with(func() { f.status.Busy = true })
	b.See("working")
	b.Survey("kiosk-16-working")
	f.with(func() { f.status.Busy = false })
	b.See("choose-view")
	f.with(func() {
		f.status.Card = *f.cards[cardA]
		f.status.Card.State, f.status.Card.Problem = "refused", "card_blocked"
	})
	b.Says("trouble-sentence", "挂失")
	b.Survey("kiosk-17-blocked")
	f.with(func() { f.status.PSAM.Present = false })
	b.See("out-of-service")
	b.Survey("kiosk-18-closed")
	b.Quiet("409")
}

// On a simulated desk the screen says so, and has room for it.
func TestBrowserKioskSimulated(t *testing.T) {
	t.Parallel()
	f := newFake()
	b := kiosktest.NewTab(t, kiosktest.NewBrowser(t), serve(t, f, true), 1024, 768)
	b.Open("/kiosk")
	b.See("attract")
	b.Says("simulated", "非真钱")
	b.Survey("kiosk-00-simulated")
	b.Quiet()
}
