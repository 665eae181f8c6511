package terminal

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// TestClaimOfNoTransaction: a slip's number is typed by a person or sent by
// whoever calls the API. One that is this terminal's and yet names nothing, or
// something on which no cash was taken, is no claim; above all it is not what
// stops the terminal.
func TestClaimOfNoTransaction(t *testing.T) {
	for name, of := range map[string]func(w *world) journal.Name{
		"beyond the journal": func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 999_999}.Of(w.term.id()) },
		"the next entry": func(w *world) journal.Name {
			h := w.st.Head()
			return journal.Ref{Epoch: 1, Seq: h.Seq + 1}.Of(w.term.id())
		},
		"an epoch to come":     func(w *world) journal.Name { return journal.Ref{Epoch: 9, Seq: 1}.Of(w.term.id()) },
		"the start":            func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 1}.Of(w.term.id()) },
		"the largest sequence": func(w *world) journal.Name { return journal.Ref{Epoch: 1, Seq: 1<<64 - 1}.Of(w.term.id()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := of(w)
			r := ClaimRequest{Token: token(), Who: clerk, Claim: n, Amount: 50_00}
			if rc, err := w.term.CollectClaim(w.ctx, r); err == nil && rc.Result != journal.NotDone {
				t.Errorf("%+v", rc.Transaction)
			} else if err != nil {
				wantRefusal(t, err, CodeNoClaim)
			}
			if _, err := w.term.Claim(w.ctx, n); err == nil {
				t.Error("something waits")
			} else {
				wantRefusal(t, err, CodeNoClaim)
			}
			if w.term.Status().Stopped {
				t.Fatal("the terminal stopped")
			}
			w.slot.Insert(newCard(t, mustCard(t, "4821")))
			if _, err := w.topUp(money.CardNumber{}, 100_00); err != nil {
				t.Error(err)
			}
			w.clean()
		})
	}
}

// ack has the utility acknowledge all that was written.
func (w *world) ack() {
	w.Helper()
	h := w.st.Head()
	a := wire.Ack{Terminal: h.Terminal, Epoch: h.Epoch, Through: h.Seq, Hash: h.Hash, Server: w.now.UnixMilli()}
	if err := w.st.PutAck(wire.Seal("ack", &a, sealKey), a); err != nil {
		w.Fatal(err)
	}
}

// TestCashOwedIsPaidOnceOfAllTerminals: what the utility has heard of waits at
// every terminal under its number. Whoever was paid at another one and then
// comes back with the slip to where it began gets nothing.
func TestCashOwedIsPaidOnceOfAllTerminals(t *testing.T) {
	owing := func(w *world) journal.Name {
		w.host.refuse = wire.CodeNoRoom
		rc, err := w.term.PayBill(w.ctx, bill())
		if err != nil || rc.Owed != rc.Name {
			t.Fatal(err)
		}
		w.host.refuse = ""
		return rc.Name
	}
	for name, c := range map[string]struct {
		prepare func(w *world, n journal.Name)
		want    journal.Result // of the answer; 0: refused
		code    Code
		left    money.Fen // of the customer's cash in the drawer, at once
		last    money.Fen // and once the utility has answered
	}{
		"only this terminal knows": {func(w *world, n journal.Name) { w.host.online = false }, journal.NotDone, "", 0, 0},
		"not heard of yet":         {func(w *world, n journal.Name) {}, journal.NotDone, "", 0, 0},
		"waits":                    {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00 }, journal.Done, "", 0, 0},
		"waits, one answer lost":   {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00; w.host.lose = 1 }, journal.Done, "", 0, 0},
		"waits, no answer":         {func(w *world, n journal.Name) { w.ack(); w.host.claims[n] = 80_00; w.host.lose = 2 }, journal.Unknown, "", 80_00, 0},
		"paid elsewhere":           {func(w *world, n journal.Name) { w.ack() }, journal.NotDone, "", 80_00, 80_00},
		"paid elsewhere, off line": {func(w *world, n journal.Name) { w.ack(); w.host.online = false }, 0, CodeNoLink, 80_00, 80_00},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			n := owing(w)
			c.prepare(w, n)
			r := ReturnCashRequest{Token: token(), Who: clerk, TopUp: n}
			rc, err := w.term.ReturnCash(w.ctx, r)
			if c.want == 0 {
				wantRefusal(t, err, c.code)
			} else if err != nil || rc.Result != c.want {
				t.Fatalf("%+v, %v", rc.Transaction, err)
			}
			drawer := func() money.Fen { in, out := w.till(); return in - out }
			if got := drawer(); got != c.left {
				t.Errorf("%s of the customer is in the drawer", got)
			}
			if c.want != 0 {
				if again, err := w.term.ReturnCash(w.ctx, r); err != nil || again.Name != rc.Name {
					t.Errorf("pressed twice: %+v, %v", again.Transaction, err)
				}
			}
			w.host.online = true
			w.maintain()
			// Another wish, whenever it comes, pays only what was not paid.
			_, err = w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: n})
			if c.last == 0 && c.left == 0 {
				wantRefusal(t, err, CodeCashNotOwed)
			} else if err != nil {
				t.Error(err)
			}
			x, err := w.term.Report()
			if want := map[money.Fen]uint32{0: 1}[c.last]; err != nil || len(x.Clerks) != 1 || x.Clerks[0].CashReturned != want {
				t.Errorf("what the owner sees of the clerk: %+v, %v", x.Clerks, err)
			}
			if got := drawer(); got != c.last {
				t.Errorf("afterwards %s of the customer is in the drawer", got)
			}
			w.clean()
		})
	}
}

// TestCollectClaimRefuses: whatever refuses the payment or its load refuses it
// before the claim is touched.
func TestCollectClaimRefuses(t *testing.T) {
	stock, mine := mustCard(t, "5001"), mustCard(t, "4821")
	pin := func(w *world) {
		set := *profiles.Builtin()
		set.Cards = slices.Clone(set.Cards)
		for i := range set.Cards {
			set.Cards[i].PINForLoad = true
		}
		w.more = func(c *Config) { c.Profiles = &set }
		w.restart()
	}
	onto := func(w *world, r *ClaimRequest, n money.CardNumber) {
		w.slot.Insert(newCard(w, n))
		r.Load, r.Card = true, n
	}
	for name, c := range map[string]struct {
		change func(w *world, r *ClaimRequest)
		want   Code
	}{
		"nothing":               {func(_ *world, r *ClaimRequest) { r.Amount = 0 }, CodeAmount},
		"less than nothing":     {func(_ *world, r *ClaimRequest) { r.Amount = -50_00 }, CodeAmount},
		"more than any":         {func(_ *world, r *ClaimRequest) { r.Amount = money.MaxPurse + 1 }, CodeAmount},
		"off line":              {func(w *world, _ *ClaimRequest) { w.host.online = false }, CodeNoLink},
		"by a customer":         {func(_ *world, r *ClaimRequest) { r.Who = customer }, CodeNotAllowed},
		"by nobody":             {func(_ *world, r *ClaimRequest) { r.Who = Who{} }, CodeNotAllowed},
		"by the machine":        {func(_ *world, r *ClaimRequest) { r.Who = journal.System }, CodeNotAllowed},
		"at a blocked terminal": {func(w *world, _ *ClaimRequest) { w.host.standing = wire.StandingBlocked }, CodeStanding},
		"at a copied disk":      {func(w *world, _ *ClaimRequest) { w.host.standing = wire.StandingForked }, CodeStanding},
		"shift closed":          {func(w *world, _ *ClaimRequest) { w.term.CloseShift(w.ctx, CloseRequest{Who: clerk}) }, CodeNoShift},
		"onto a card of stock":  {func(w *world, r *ClaimRequest) { onto(w, r, stock) }, CodeCardNotActive},
		"onto a blocked card": {func(w *world, r *ClaimRequest) {
			w.section(wire.Section{Kind: wire.SectionHotlist, Hotlist: wire.Hotlist{mine}})
			onto(w, r, mine)
		}, CodeCardBlocked},
		"without the card's PIN": {func(w *world, r *ClaimRequest) { pin(w); onto(w, r, mine) }, CodePINNeeded},
		"with less than a load":  {func(w *world, r *ClaimRequest) { w.host.claims[slip] = 1; r.Amount = 1; onto(w, r, mine) }, CodeTopUpMin},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.host.claims[slip] = 50_00
			r := claim(false)
			c.change(w, &r)
			_, err := w.term.CollectClaim(w.ctx, r)
			wantRefusal(t, err, c.want)
			if n := w.wrote(journal.TypeClaimIntent); n != 0 || len(w.host.asks) != 0 || w.host.claims[slip] == 0 {
				t.Errorf("%d intents, asked %q, %s waits", n, w.host.asks, w.host.claims[slip])
			}
			w.clean()
		})
	}
}

// TestCounterTokens: a token is one wish. Another wish under it is refused, and
// what it did stands.
func TestCounterTokens(t *testing.T) {
	w := newWorld(t)
	w.shift()
	w.host.claims[slip] = 50_00
	other := slip
	other.Seq++
	w.host.claims[other] = 50_00
	mine := mustCard(t, "4821")
	w.slot.Insert(newCard(t, mine))
	cash, load := claim(false), claim(true)
	load.Claim, load.Card = other, mine
	block := CardRequest{Token: token(), Who: clerk, Card: mustCard(t, "7001"), Why: journal.WhyLost}
	replace := CardRequest{Token: token(), Who: clerk, Card: mustCard(t, "7002"), Why: journal.WhyDamaged}
	pay := bill()
	for _, do := range []func() (Receipt, error){
		func() (Receipt, error) { return w.term.CollectClaim(w.ctx, cash) },
		func() (Receipt, error) { return w.term.CollectClaim(w.ctx, load) },
		func() (Receipt, error) { return w.term.BlockCard(w.ctx, block) },
		func() (Receipt, error) { return w.term.ReplaceCard(w.ctx, replace) },
		func() (Receipt, error) { return w.term.PayBill(w.ctx, pay) },
	} {
		first, err := do()
		if err != nil || first.Result != journal.Done {
			t.Fatalf("%+v, %v", first.Transaction, err)
		}
		if again, err := do(); err != nil || again.Name != first.Name {
			t.Errorf("again: %+v, %v", again.Transaction, err)
		}
	}
	head, asks := w.st.Head(), len(w.host.asks)
	collect := func(r ClaimRequest, change func(*ClaimRequest)) func() (Receipt, error) {
		change(&r)
		return func() (Receipt, error) { return w.term.CollectClaim(w.ctx, r) }
	}
	about := func(do func(context.Context, CardRequest) (Receipt, error), r CardRequest, tok journal.Token) func() (Receipt, error) {
		r.Token = tok
		return func() (Receipt, error) { return do(w.ctx, r) }
	}
	elsewhere := block
	elsewhere.Card = mustCard(t, "7003")
	for name, do := range map[string]func() (Receipt, error){
		"another claim":                   collect(cash, func(r *ClaimRequest) { r.Claim = other }),
		"another amount":                  collect(cash, func(r *ClaimRequest) { r.Amount++ }),
		"onto a card":                     collect(cash, func(r *ClaimRequest) { r.Load, r.Card = true, mine }),
		"in cash what was loaded":         collect(load, func(r *ClaimRequest) { r.Load, r.Card = false, money.CardNumber{} }),
		"onto another card":               collect(load, func(r *ClaimRequest) { r.Card = mustCard(t, "4822") }),
		"the token of a bill":             collect(cash, func(r *ClaimRequest) { r.Token = pay.Token }),
		"another card":                    about(w.term.BlockCard, elsewhere, block.Token),
		"a replacement for a block":       about(w.term.ReplaceCard, block, block.Token),
		"a block for a replacement":       about(w.term.BlockCard, replace, replace.Token),
		"a block under a claim's":         about(w.term.BlockCard, block, cash.Token),
		"cash back under a claim's token": func() (Receipt, error) { return w.term.ReturnCash(w.ctx, ReturnCashRequest{cash.Token, clerk, other}) },
		"a close under a claim's token": func() (Receipt, error) {
			_, err := w.term.CloseShift(w.ctx, CloseRequest{Token: cash.Token, Who: clerk})
			return Receipt{}, err
		},
	} {
		if _, err := do(); !errors.Is(err, &Refusal{Code: CodeTokenReused}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.st.Head() != head || len(w.host.asks) != asks {
		t.Error("a token of another wish did something")
	}
	if in, out := w.till(); in != 130_00 || out != 100_00 { // bill and load; both claims
		t.Errorf("in %s, out %s", in, out)
	}
	w.clean()
}

// TestCallerLeavesTheCounter: what was begun is finished and written although
// whoever asked went away.
func TestCallerLeavesTheCounter(t *testing.T) {
	mine := mustCard(t, "4821")
	for name, c := range map[string]struct {
		leave int // at which question
		do    func(w *world, ctx context.Context) (Receipt, error)
	}{
		"bill":  {1, func(w *world, ctx context.Context) (Receipt, error) { return w.term.PayBill(ctx, bill()) }},
		"claim": {1, func(w *world, ctx context.Context) (Receipt, error) { return w.term.CollectClaim(ctx, claim(false)) }},
		"block": {1, func(w *world, ctx context.Context) (Receipt, error) {
			return w.term.BlockCard(ctx, CardRequest{Token: token(), Who: clerk, Card: mine, Why: journal.WhyLost})
		}},
		"claim onto a card": {1, func(w *world, ctx context.Context) (Receipt, error) {
			r := claim(true)
			r.Card = mine
			return w.term.CollectClaim(ctx, r)
		}},
		"claim onto a card, later": {2, func(w *world, ctx context.Context) (Receipt, error) {
			r := claim(true)
			r.Card = mine
			return w.term.CollectClaim(ctx, r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.host.claims[slip] = 50_00
			chip := newCard(t, mine)
			w.slot.Insert(chip)
			ctx, leave := context.WithCancel(w.ctx)
			defer leave()
			asked := 0
			w.host.onAsk = func(ask context.Context) error {
				if d, ok := ask.Deadline(); !ok || time.Until(d) > 8*time.Second {
					t.Errorf("the utility was given until %v", d)
				}
				if asked++; asked == c.leave {
					leave()
				}
				return ask.Err()
			}
			rc, err := c.do(w, ctx)
			if err != nil || rc.Result != journal.Done || ctx.Err() == nil {
				t.Fatalf("%+v, %v", rc.Transaction, err)
			}
			if load := rc.Claim != nil && rc.Claim.How == journal.PayoutLoad; load && (rc.Child == nil || rc.Child.Result != journal.Done || value(t, chip) != 50_00) {
				t.Errorf("the load: %+v", rc.Child)
			}
			w.clean()
		})
	}
}

// TestClaimNotAgreedLoadsNothing: no cash came out of the claim, so none goes
// onto the card.
func TestClaimNotAgreedLoadsNothing(t *testing.T) {
	mine := mustCard(t, "4821")
	for name, c := range map[string]struct {
		before func(w *world)
		want   journal.Result
	}{
		"refused":   {func(w *world) { delete(w.host.claims, slip) }, journal.NotDone},
		"no answer": {func(w *world) { w.host.lose = 2 }, journal.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.host.claims[slip] = 50_00
			chip := newCard(t, mine)
			w.slot.Insert(chip)
			c.before(w)
			r := claim(true)
			r.Card = mine
			rc, err := w.term.CollectClaim(w.ctx, r)
			if err != nil || rc.Result != c.want || rc.Child != nil || w.wrote(journal.TypeLoadIntent) != 0 || value(t, chip) != 0 {
				t.Errorf("%+v %+v, %v", rc.Transaction, rc.Child, err)
			}
			if in, out := w.till(); in != 0 || out != 0 {
				t.Errorf("in %s, out %s", in, out)
			}
			w.clean()
		})
	}
}

// TestSettledMeanwhile: two who ask how one ended write one end.
func TestSettledMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.shift()
	w.host.lose = 2
	rc, err := w.term.PayBill(w.ctx, bill())
	if err != nil || rc.Result != journal.Unknown {
		t.Fatal(err)
	}
	w.host.onAsk = func(context.Context) error {
		w.host.onAsk = nil
		w.maintain() // the other
		return nil
	}
	w.maintain()
	if rc := w.transaction(rc.Name); rc.Result != journal.Done {
		t.Errorf("%+v", rc.Transaction)
	}
	if n := w.wrote(journal.TypeBillOutcome); n != 2 { // unknown, done
		t.Errorf("%d outcomes", n)
	}
	w.clean()
}

// TestSaleUnderAnotherAmount: the token of a sale with a first load is not that
// of a sale with another, which would pass for done.
func TestSaleUnderAnotherAmount(t *testing.T) {
	w := newWorld(t)
	w.shift()
	n := mustCard(t, "5001")
	chip := newCard(t, n)
	w.slot.Insert(chip)
	r := SellRequest{Token: token(), Who: clerk, Card: n, Amount: 50_00, Tendered: 100_00}
	first, err := w.term.Sell(w.ctx, r)
	if err != nil || first.Child == nil || first.Child.Result != journal.Done {
		t.Fatalf("%+v, %v", first.Child, err)
	}
	if again, err := w.term.Sell(w.ctx, r); err != nil || again.Name != first.Name {
		t.Errorf("again: %v", err)
	}
	for _, amount := range []money.Fen{0, 49_99, 60_00} {
		other := r
		other.Amount = amount
		_, err := w.term.Sell(w.ctx, other)
		wantRefusal(t, err, CodeTokenReused)
	}
	if got := value(t, chip); got != 50_00 {
		t.Errorf("the card holds %s", got)
	}
}

// TestUtilityHearsFirst: what this terminal has not sent yet the utility cannot
// judge. It is sent before anybody decides on it, and where that fails nothing
// is decided.
func TestUtilityHearsFirst(t *testing.T) {
	gone := errors.New("the line is cut")
	owing := func(t *testing.T) (*world, journal.Name) {
		w := newWorld(t)
		w.shift()
		w.host.refuse = wire.CodeNoRoom
		rc, err := w.term.PayBill(w.ctx, bill())
		if err != nil || rc.Owed != rc.Name {
			t.Fatal(err)
		}
		w.host.refuse, w.host.asks = "", nil
		return w, rc.Name
	}
	back := func(w *world, n journal.Name) (Receipt, error) {
		return w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: n})
	}
	t.Run("cash back, paid elsewhere", func(t *testing.T) {
		w, n := owing(t)
		w.host.onFlush = func() error { w.ack(); return nil }
		if rc, err := back(w, n); err != nil || rc.Kind != journal.KindClaim || rc.Result != journal.NotDone {
			t.Errorf("%+v, %v", rc.Transaction, err)
		}
		if in, out := w.till(); in-out != 80_00 {
			t.Errorf("in %s, out %s", in, out)
		}
	})
	t.Run("cash back, the end is not sent", func(t *testing.T) {
		w, n := owing(t)
		w.ack()
		w.host.claims[n] = 80_00
		w.host.onFlush = func() error { return gone }
		_, err := back(w, n)
		wantRefusal(t, err, CodeNoLink)
		if len(w.host.asks) != 0 || w.wrote(journal.TypeClaimIntent) != 0 {
			t.Errorf("asked %q", w.host.asks)
		}
	})
	t.Run("a claim of this terminal is looked up", func(t *testing.T) {
		w, n := owing(t)
		w.host.onFlush = func() error { w.host.claims[n] = 80_00; return nil }
		if v, err := w.term.Claim(w.ctx, n); err != nil || v.Amount != 80_00 {
			t.Errorf("%+v, %v", v, err)
		}
		w.host.onFlush = func() error { return gone }
		_, err := w.term.Claim(w.ctx, n)
		wantRefusal(t, err, CodeNoLink)
		if _, err := w.term.Claim(w.ctx, slip); errors.Is(err, &Refusal{Code: CodeNoLink}) {
			t.Error("another terminal's slip waits for what this one has not sent")
		}
	})
}

// TestCashBackInALaterShift: what an earlier shift took and closed with is paid
// by the drawer of the shift that gives it back, once.
func TestCashBackInALaterShift(t *testing.T) {
	for name, known := range map[string]bool{"only this terminal knows": false, "the utility knows": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.shift()
			w.host.refuse = wire.CodeNoRoom
			rc, err := w.term.PayBill(w.ctx, bill())
			if err != nil || rc.Owed != rc.Name {
				t.Fatal(err)
			}
			w.host.refuse = ""
			if rep, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 180_00}); err != nil || rep.Difference() != 0 || rep.Owed != 1 {
				t.Fatalf("%+v, %v", rep, err)
			}
			if _, err := w.term.OpenShift(w.ctx, clerk, 180_00); err != nil {
				t.Fatal(err)
			}
			if known {
				w.ack()
				w.host.claims[rc.Name] = 80_00
			}
			if _, err := w.term.ReturnCash(w.ctx, ReturnCashRequest{Token: token(), Who: clerk, TopUp: rc.Name}); err != nil {
				t.Fatal(err)
			}
			if in, out := w.till(); in != 0 || out != 80_00 {
				t.Errorf("in %s, out %s", in, out)
			}
			if rep, err := w.term.CloseShift(w.ctx, CloseRequest{Token: token(), Who: clerk, Counted: 100_00}); err != nil || rep.Difference() != 0 {
				t.Errorf("%+v, %v", rep, err)
			}
			w.clean()
		})
	}
}
