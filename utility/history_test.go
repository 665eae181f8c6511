package utility_test

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/ledger"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestMain runs fewer histories than rapid's hundred: each opens a database.
// -rapid.checks runs more.
func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "20")
	flag.Parse()
	os.Exit(m.Run())
}

// truth is what really happened on a card, which the utility must never
// contradict, whatever it was told in whichever order.
type truth struct {
	card       *Card
	load       bool
	amount     money.Fen
	happened   bool
	tac, mac2  suite.MAC
	typ        uint8
	counter    uint16
	terminal   int
	afterwards money.Fen
}

// TestHistories runs random histories of honest terminals with torn cards,
// partial syncs, repeated and cut batches, restarts, evidence from other
// terminals and evidence that never comes. At every step the ledger may lag
// behind the truth but not contradict it; at the end both equations of law 1
// hold and the audit is clean.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := NewWorld(t)
		w.Service.PayFloat(ctx, Shop, 100_000_00, "more")
		terms := []*Terminal{w.Terminal(1), w.Terminal(2)}
		cards := []*Card{NewCard(10001), NewCard(10002), NewCard(10003)}
		items := map[journal.Name]*truth{}
		open := map[*Card]map[int][]journal.Name{} // card, terminal: unknown there
		for _, c := range cards {
			open[c] = map[int][]journal.Name{}
		}

		settle := func(c *Card, k int) { // what a terminal does first when it sees a card again
			x := terms[k]
			for _, n := range open[c][k] {
				it := items[n]
				last := c.Offline == it.counter+1
				if it.load {
					last = c.Online == it.counter+1
				}
				switch {
				case it.happened && last && it.load:
					x.Add(n, &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceProof, HasTAC: true, TAC: it.tac, After: journal.NoBalance})
				case it.happened && last:
					x.Add(n, doneWith(it.tac, it.mac2, journal.EvidenceProof))
				case it.happened && it.load: // the proof is overwritten, the log remembers
					x.Add(n, &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceLog, After: journal.NoBalance})
				case it.happened:
					x.Add(n, &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceLog, After: journal.NoBalance})
				case it.load:
					x.Add(n, load(journal.NotDone))
				default:
					x.Add(n, pay(journal.NotDone))
				}
			}
			open[c][k] = nil
		}
		sync := func(k int) {
			x := terms[k]
			if x.Sent == len(x.Entries) {
				return
			}
			from := rapid.IntRange(max(0, x.Sent-5), x.Sent).Draw(r, "from")
			to := rapid.IntRange(x.Sent+1, len(x.Entries)).Draw(r, "to")
			a := send(t, w, x, from, to)
			if a.Through != uint64(to) || len(a.Verdicts) > 0 {
				r.Fatalf("sent %d to %d: %+v", from, to, a)
			}
			x.Sent = to
		}
		verify := func() {
			err := w.Store.Items(ctx, itemQuery, func(it ledger.Item) error {
				x := items[it.Name]
				switch it.State {
				case ledger.Done:
					if !x.happened {
						r.Fatalf("%s is done in the ledger and did not happen", it.Name)
					}
				case ledger.NotDone, ledger.InClaim, ledger.Returned:
					if x.happened {
						r.Fatalf("%s is not done in the ledger and happened", it.Name)
					}
				}
				return nil
			})
			if err != nil {
				r.Fatal(err)
			}
		}

		steps := rapid.IntRange(5, 30).Draw(r, "steps")
		for range steps {
			k := rapid.IntRange(0, 1).Draw(r, "terminal")
			x := terms[k]
			c := rapid.SampledFrom(cards).Draw(r, "card")
			torn := rapid.IntRange(0, 5).Draw(r, "torn") // 0: before, 1: after the card moved
			switch op := rapid.SampledFrom([]string{"top up", "top up by SAM", "redeem", "redeem", "sync", "sync", "observe", "restart"}).Draw(r, "op"); op {
			case "top up", "top up by SAM":
				settle(c, k)
				in := c.InitLoad(x.ID, 20_00)
				if op != "top up" {
					in = x.InitSAMLoad(c, 20_00)
				}
				n := x.Add(journal.Name{}, &in)
				it := &truth{card: c, load: true, amount: in.Amount, typ: in.TxType, counter: in.Counter, terminal: k}
				items[n] = it
				stamp, mac2 := in.Stamp, suite.MAC{}
				if op == "top up" {
					a := w.Authorise(x, n, in)
					if a.Refused != wire.OK {
						// the counter moved elsewhere, or the limits: never sent
						x.Add(n, load(journal.NotDone))
						x.Add(n, &journal.CashReturned{Amount: in.Amount})
						continue
					}
					stamp, mac2 = a.Stamp, a.MAC2
				} else {
					mac2 = x.SAMGive(c, in)
				}
				x.Add(n, &journal.LoadAuthorised{Stamp: stamp, MAC2: mac2})
				if torn != 0 {
					it.tac, it.happened = c.Credit(x.ID, in, stamp, mac2)
					if !it.happened {
						r.Fatal("the card refuses a good MAC2")
					}
				}
				if torn <= 1 {
					x.Add(n, load(journal.Unknown))
					open[c][k] = append(open[c][k], n)
				} else {
					x.Add(n, loaded(it.tac))
				}
			case "redeem":
				settle(c, k)
				if c.Balance < 7_00 {
					continue
				}
				in := c.InitPurchase(x, rapid.SampledFrom([]money.AccountNumber{Account, Account + 1, Unknown}).Draw(r, "account"), 7_00)
				n := x.Add(journal.Name{}, &in)
				it := &truth{card: c, amount: in.Amount, typ: in.TxType, counter: in.Counter, terminal: k}
				items[n] = it
				if torn != 0 {
					it.tac, it.mac2 = c.Debit(x.ID, in)
					it.happened = true
				}
				if torn <= 1 {
					x.Add(n, pay(journal.Unknown))
					open[c][k] = append(open[c][k], n)
				} else {
					x.Add(n, doneWith(it.tac, it.mac2, journal.EvidenceAnswer))
				}
			case "observe": // the utility told this terminal of open items
				list, err := w.Service.OpenItems(ctx)
				if err != nil {
					r.Fatal(err)
				}
				for _, o := range list {
					it := items[o.Name]
					if it.card != c {
						continue
					}
					now := c.Offline
					if it.load {
						now = c.Online
					}
					x.Add(journal.Name{}, &journal.Observation{Item: o.Name, Card: c.Number, TxType: it.typ, Counter: it.counter,
						HasTAC: it.happened && now == it.counter+1, TAC: it.tac, MAC2: it.mac2, Now: now, Balance: c.Balance})
				}
			case "sync":
				sync(k)
				verify()
			case "restart":
				w.Open()
			}
		}
		for k := range terms {
			if rapid.Bool().Draw(r, "cards return") {
				for _, c := range cards {
					settle(c, k)
				}
			}
		}
		for k := range terms {
			for terms[k].Sent < len(terms[k].Entries) {
				sync(k)
			}
		}
		verify()
		w.Audit()

		// The second equation: what the cards carry is the ledger's card
		// accounts plus what is unknown, by name.
		for _, c := range cards {
			want := w.Balance(cardAcc(c))
			list, _ := w.Service.CardItems(ctx, c.Number)
			for _, it := range list {
				if it.State == ledger.InHeld {
					switch x := items[it.Name]; {
					case it.Load() && x.happened:
						want += it.Amount
					case !it.Load() && !x.happened:
						want += it.Amount
					}
				}
			}
			if c.Balance != want {
				r.Fatalf("card %s carries %s, ledger and unknown items say %s", c.Number.Last4(), c.Balance, want)
			}
		}
		before, _ := w.Service.LedgerHash(ctx)
		for _, x := range terms {
			if len(x.Entries) > 0 {
				send(t, w, x, 0, len(x.Entries))
			}
		}
		if after, _ := w.Service.LedgerHash(ctx); after != before {
			r.Fatal("a resend changed the ledger")
		}
	})
}
