package desk

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/wire"
)

// puller pulls the card at one of its commands, counted while it is armed.
type puller struct {
	at  atomic.Int64 // 0: never
	n   atomic.Int64
	how atomic.Pointer[string]
}

type pulledChip struct {
	virtual.Chip
	p *puller
}

func (c *pulledChip) Transmit(cmd []byte) ([]byte, error) {
	at := c.p.at.Load()
	if at == 0 || c.p.n.Add(1) != at {
		return c.Chip.Transmit(cmd)
	}
	switch how := *c.p.how.Load(); how {
	case "before":
		return nil, virtual.ErrGone
	case "after":
		if _, err := c.Chip.Transmit(cmd); err != nil {
			return nil, err
		}
		return nil, virtual.ErrGone
	default: // torn in the middle, at the first or the second durable write
		inner := c.Chip.(*hand).Chip
		if shaped, ok := inner.(*t0); ok {
			inner = shaped.c
		}
		t := inner.(*chip)
		var writes int
		fmt.Sscanf(how, "write %d", &writes)
		t.TearAfter(writes)
		b, err := c.Chip.Transmit(cmd)
		t.TearAfter(0)
		if err != nil {
			return nil, virtual.ErrGone
		}
		return b, nil
	}
}

// roomy are limits under which one card can be loaded again and again.
func roomy() wire.Limits {
	l := wire.DefaultLimits()
	l.CardDayMax, l.UnnamedMax, l.UnsentMax, l.CardOfflineHard = 100_000_00, 4_000_00, 100_000_00, 1000
	return l
}

func (r *running) limits(l wire.Limits) {
	r.Helper()
	if err := r.Utility.Service.SetLimits(r.ctx, TerminalID, l); err != nil {
		r.Fatal(err)
	}
	r.Station.Uplink.Probe()
	r.until("the new limits", func(s terminal.Status) bool { return s.Limits == l })
}

// withoutCard requires that, while the card is away, what is unknown stands
// in the ledger by name and amount, and that the value on the chip, which it
// gives, is what the ledger has on the card, with or without what it holds.
func (r *running) withoutCard(where string) money.Fen {
	r.Helper()
	open, err := r.Station.Store.OpenTransactions()
	if err != nil {
		r.Fatal(err)
	}
	var held money.Fen
	for _, tx := range open {
		got := r.balance(ledger.Held(tx.Name))
		if got != tx.Amount {
			r.Fatalf("%s: %s is unknown, its held account stands at %s", where, tx.Name, got)
		}
		held += got
	}
	if items, err := r.Utility.Service.OpenItems(r.ctx); err != nil || len(items) != len(open) {
		r.Fatalf("%s: the terminal has %d unknown, the utility %d (%v)", where, len(open), len(items), err)
	}
	chip, aid := r.Desk.Chip("zhang")
	holds, err := Balance(chip, aid)
	if err != nil {
		r.Fatal(err)
	}
	if on := r.balance(ledger.Card(r.Number("zhang"))); holds != on && holds != on+held {
		r.Fatalf("%s: the chip holds %s, the ledger %s and %s held", where, holds, on, held)
	}
	return holds
}

// TestPulledEverywhere pulls the card before, in the middle of and after
// every command of every exchange. First the card stays away: what is unknown
// stands in the ledger by name and amount. Then it comes back: nothing is
// unknown any more, chip and ledger agree, and the slip was not contradicted.
func TestPulledEverywhere(t *testing.T) { pulledEverywhere(t, Options{}) }

// TestPulledEverywhereOnSerialLines is the same on simulated serial readers
// under our own driver.
func TestPulledEverywhereOnSerialLines(t *testing.T) {
	for name, o := range map[string]Options{"T=1": {Serial: true}, "T=0": {Serial: true, T0: true}} {
		t.Run(name, func(t *testing.T) { pulledEverywhere(t, o) })
	}
}

func pulledEverywhere(t *testing.T, o Options) {
	for _, x := range exchanges {
		if o.Serial && x.name != "redemption" { // what differs is the reader, not the business
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := &puller{}
			o := o
			o.Chip = func(name string, c virtual.Chip) virtual.Chip {
				if name != "zhang" {
					return c
				}
				return &pulledChip{c, p}
			}
			r := start(t, o)
			r.until("the link", func(s terminal.Status) bool { return s.Online && s.Allowance.Amount > 0 })
			r.limits(roomy())
			if err := r.Utility.Service.PayFloat(r.ctx, Shop, 50_000_00, "for the test"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Station.Terminal.OpenShift(r.ctx, clerk, 0); err != nil {
				t.Fatal(err)
			}
			r.insert("zhang")
			r.want("first top-up", r.topUp("zhang", 900_00), journal.Done)
			commands := int64(4) // balance, INITIALIZE, execute, balance
			if o.T0 {
				commands = 6 // and two that fetch an answer
			}
			outcomes := map[string]int{}
			for at := int64(1); at <= commands+1; at++ {
				for _, how := range []string{"before", "write 1", "write 2", "after"} {
					outcomes[r.pulledOnce(p, x.link, x.delta, at, how, func() (terminal.Receipt, error) {
						// The same wish again is another one: its token is new.
						tx := journal.TokenOf(fmt.Sprint(x.name, at, how))
						if x.delta < 0 {
							return r.Station.Terminal.Redeem(r.ctx, terminal.RedeemRequest{Token: tx, Who: clerk, Card: r.Number("zhang"), Account: accounts[0].Number, Amount: -x.delta})
						}
						return r.Station.Terminal.TopUp(r.ctx, terminal.TopUpRequest{Token: tx, Who: clerk, Card: r.Number("zhang"), Amount: x.delta, Tendered: x.delta})
					})]++
				}
			}
			t.Log(outcomes)
			if outcomes["unknown, then done"] == 0 || outcomes["unknown, then not done"] == 0 {
				t.Error("no pull made an unknown outcome of both kinds: nothing was proved")
			}
			r.pull()
			r.audited()
		})
	}
}

func (r *running) pulledOnce(p *puller, link bool, delta money.Fen, at int64, how string, do func() (terminal.Receipt, error)) string {
	r.Helper()
	where := fmt.Sprintf("command %d %s", at, how)
	before := r.until("the card", func(s terminal.Status) bool { return s.Card.State == terminal.CardReady }).Card.Balance
	if !link {
		r.LinkUp(false)
		r.until("the link to be down", func(s terminal.Status) bool { return !s.Online })
	}
	p.how.Store(&how)
	p.n.Store(0)
	p.at.Store(at)
	rc, err := do()
	p.at.Store(0)
	if !link {
		r.LinkUp(true)
	}
	var refused *terminal.Refusal
	if err != nil && !asRefusal(err, &refused) {
		r.Fatalf("%s: %v", where, err)
	}

	// The card stays away.
	if err := r.Take(); err != nil {
		r.Fatal(err)
	}
	r.until("the empty reader", func(s terminal.Status) bool { return s.Card.State == terminal.CardNone })
	r.synced()
	holds := r.withoutCard(where)

	// The card comes back.
	r.insert("zhang")
	r.synced()
	if s := r.Station.Terminal.Status(); s.Open != 0 || s.Card.Balance != holds {
		r.Fatalf("%s: %d unknown, balance %s of %s", where, s.Open, s.Card.Balance, holds)
	}
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != holds {
		r.Fatalf("%s: the ledger has %s on the card, the chip %s", where, got, holds)
	}
	if refused != nil {
		if holds != before {
			r.Fatalf("%s: refused with %s, yet the card went from %s to %s", where, refused.Code, before, holds)
		}
		return "refused"
	}
	final, err := r.Station.Terminal.Transaction(rc.Name)
	if err != nil {
		r.Fatal(err)
	}
	want := before
	if final.Result == journal.Done {
		want += delta
	}
	if holds != want || (rc.Result != journal.Unknown && rc.Result != final.Result) {
		r.Fatalf("%s: slip %d, record %d, the card holds %s instead of %s", where, rc.Result, final.Result, holds, want)
	}
	word := map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done"}[final.Result]
	if rc.Result == journal.Unknown {
		return "unknown, then " + word
	}
	return word
}

// TestThirtyDaysOffLine cuts the link before a shift opens and restores it
// after thirty days: the terminal serves and refuses as its limits say, goes
// on answering, closes its shift, and loses nothing.
func TestThirtyDaysOffLine(t *testing.T) {
	var now atomic.Pointer[time.Time]
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, money.CST)
	now.Store(&at)
	r := start(t, Options{Clock: func() time.Time { return *now.Load() }})
	term := r.Station.Terminal
	r.until("limits and allowance", func(s terminal.Status) bool { return !s.LimitsAt.IsZero() && s.Allowance.Amount > 0 })
	if _, err := term.OpenShift(r.ctx, clerk, 0); err != nil {
		t.Fatal(err)
	}
	r.insert("zhang")
	r.want("a top-up before the cut", r.topUp("zhang", 200_00), journal.Done)
	if _, err := term.CloseShift(r.ctx, terminal.CloseRequest{Who: clerk, Counted: 200_00}); err != nil {
		t.Fatal(err)
	}
	r.synced()
	r.LinkUp(false)
	r.until("the link to be down", func(s terminal.Status) bool { return !s.Online })

	refusals := map[terminal.Code]int{}
	count := map[string]int{}
	var paid, loaded money.Fen
	try := func(what string, amount money.Fen, rc terminal.Receipt, err error) {
		var ref *terminal.Refusal
		switch {
		case asRefusal(err, &ref):
			refusals[ref.Code]++
		case err != nil:
			t.Fatalf("%s: %v", what, err)
		case rc.Result != journal.Done:
			t.Fatalf("%s: result %d", what, rc.Result)
		default:
			count[what]++
			if what == "payment" {
				paid += amount
			} else {
				loaded += amount
			}
		}
	}
	for day := range 30 {
		d := at.AddDate(0, 0, day+1)
		now.Store(&d)
		if _, err := term.OpenShift(r.ctx, clerk, 0); err != nil {
			t.Fatalf("day %d: open: %v", day, err)
		}
		rc, err := term.Redeem(r.ctx, terminal.RedeemRequest{Token: token(), Who: clerk, Card: r.Number("zhang"), Account: accounts[0].Number, Amount: 5_00})
		try("payment", 5_00, rc, err)
		rc, err = term.TopUp(r.ctx, terminal.TopUpRequest{Token: token(), Who: clerk, Card: r.Number("zhang"), Amount: 20_00, Tendered: 20_00})
		try("top-up", 20_00, rc, err)
		// Questions are answered on every day.
		if a, err := term.Account(r.ctx, accounts[0].Number); err != nil || a.Seen != journal.AccountCached || a.AsOf == 0 {
			t.Fatalf("day %d: account: %v %+v", day, err, a)
		}
		if log, err := term.History(r.ctx); err != nil || len(log) == 0 {
			t.Fatalf("day %d: history: %v", day, err)
		}
		if _, err := term.Transactions(10, journal.Ref{}); err != nil {
			t.Fatal(err)
		}
		if _, err := term.CloseShift(r.ctx, terminal.CloseRequest{Who: clerk, Counted: 0}); err != nil {
			t.Fatalf("day %d: close: %v", day, err)
		}
	}
	t.Logf("served %v, refused %v", count, refusals)
	for _, c := range []terminal.Code{terminal.CodeHotlistOld, terminal.CodeUnsentAge} {
		if refusals[c] == 0 {
			t.Errorf("%s never refused", c)
		}
	}
	if count["payment"] == 0 || count["top-up"] == 0 || count["payment"] > 4 || count["top-up"] > 4 {
		t.Errorf("served %v: the limits allow about three days of it", count)
	}

	r.LinkUp(true)
	r.synced()
	r.pull()
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != 200_00+loaded-paid {
		t.Errorf("the ledger has %s on the card, want %s", got, 200_00+loaded-paid)
	}
	if got := r.balance(ledger.Customer(accounts[0].Number)); got != -accounts[0].Owes+paid {
		t.Errorf("the account stands at %s", got)
	}
	if held, err := r.Utility.Service.Quarantine(r.ctx); err != nil || len(held) != 0 {
		t.Errorf("in quarantine: %v %v", held, err)
	}
	r.audited()
}
