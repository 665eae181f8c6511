//go:build linux && cgo

package desk

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/reader/vpcd/private"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// serviceFault breaks what is between the terminal and its chips at one of
// the commands to card and SAM, counted while it is armed.
type serviceFault struct {
	mu     sync.Mutex
	at, n  int                     // of the command; 0: none
	before bool                    // at the command that moves value, before the chip has it
	do     func(virtual.Chip) bool // true: the chip leaves as well
	hit    string                  // which chip had the command
	moved  int                     // commands that move value which the card got
}

type brokenChip struct {
	virtual.Chip
	name string
	f    *serviceFault
}

func (c *brokenChip) Transmit(cmd []byte) ([]byte, error) {
	moves := c.name != "sam" && len(cmd) > 1 && cmd[0] == 0x80 && (cmd[1] == 0x52 || cmd[1] == 0x54)
	c.f.mu.Lock()
	armed := c.f.at > 0 && c.f.hit == ""
	if armed {
		c.f.n++
	}
	now := armed && (c.f.before && moves || !c.f.before && c.f.n == c.f.at)
	if now {
		c.f.hit = c.name
	}
	before, do := c.f.before, c.f.do
	if moves && !(now && before) {
		c.f.moved++
	}
	c.f.mu.Unlock()
	if now && before {
		do(c.Chip)
		return nil, virtual.ErrGone
	}
	r, err := c.Chip.Transmit(cmd)
	if now && do(c.Chip) {
		return nil, virtual.ErrGone
	}
	return r, err
}

// TestServiceBroken breaks PC/SC at every command of a redemption and of an
// on-line top-up, to the card and to the SAM: pcscd is killed before the
// answer, or before the command, and comes back; or the virtual card's own
// process goes. The terminal recovers by itself, what was not certain is
// settled, no command that moves value is sent twice, and everything agrees.
func TestServiceBroken(t *testing.T) {
	probe, err := private.Start(t.Context(), pcscDir)
	if errors.Is(err, private.ErrMissing) && os.Getenv("DIANKA_REQUIRE_PCSCD") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	probe.Stop()
	f := &serviceFault{}
	r := start(t, Options{PCSC: true, PCSCDir: pcscDir, Chip: func(name string, c virtual.Chip) virtual.Chip { return &brokenChip{c, name, f} }})
	r.until("the link", func(s terminal.Status) bool { return s.Online && s.Allowance.Amount > 0 })
	r.limits(roomy())
	if err := r.Utility.Service.PayFloat(r.ctx, Shop, 10_000_00, "for the test"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Station.Terminal.OpenShift(r.ctx, clerk, 0); err != nil {
		t.Fatal(err)
	}
	r.insert("zhang")
	r.want("first top-up", r.topUp("zhang", 900_00), journal.Done)

	rig := r.rig.(*realPCSC)
	kill := func(virtual.Chip) bool {
		rig.pcscd.Signal(syscall.SIGKILL)
		return false
	}
	leave := func(virtual.Chip) bool { return true }
	outcomes := map[string]int{}
	for _, x := range []int{0, 2} { // of exchanges: a redemption and a top-up, on line
		x := exchanges[x]
		for _, how := range []struct {
			name   string
			before bool
			do     func(virtual.Chip) bool
		}{{"pcscd killed before the answer", false, kill}, {"pcscd killed before the command", true, kill}, {"card gone before the answer", false, leave}} {
			for at := 1; ; at++ {
				f.mu.Lock()
				f.at, f.n, f.before, f.do, f.hit, f.moved = at, 0, how.before, how.do, "", 0
				f.mu.Unlock()
				where := fmt.Sprintf("%s: command %d, %s", x.name, at, how.name)
				word := r.brokenOnce(f, where, x.delta, how.name == "card gone before the answer", func() (terminal.Receipt, error) {
					token := journal.TokenOf(where)
					if x.delta < 0 {
						return r.Station.Terminal.Redeem(r.ctx, terminal.RedeemRequest{Token: token, Who: clerk, Card: r.Number("zhang"), Account: accounts[0].Number, Amount: -x.delta})
					}
					return r.Station.Terminal.TopUp(r.ctx, terminal.TopUpRequest{Token: token, Who: clerk, Card: r.Number("zhang"), Amount: x.delta, Tendered: x.delta})
				})
				outcomes[word]++
				if word == "undisturbed" {
					if at < 5 {
						t.Errorf("%s: only %d commands: not everything was counted", where, at-1)
					}
					break
				}
				if how.before {
					break
				}
			}
		}
	}
	t.Log(outcomes)
	if outcomes["unknown, then done"] == 0 || outcomes["unknown, then not done"] == 0 {
		t.Error("nothing made an unknown outcome of both kinds: nothing was proved")
	}
	r.pull()
	r.audited()
}

// brokenOnce does an exchange with the fault that is armed, repairs, and
// requires that all is well.
func (r *running) brokenOnce(f *serviceFault, where string, delta money.Fen, cardOnly bool, do func() (terminal.Receipt, error)) string {
	r.Helper()
	before := r.until("card and SAM", func(s terminal.Status) bool {
		return s.Card.State == terminal.CardReady && s.PSAM.Present && s.LoadSAM.Present && s.Allowance.Known
	}).Card.Balance
	rc, err := do()
	f.mu.Lock()
	hit := f.hit
	f.at = 0
	f.mu.Unlock()
	var refused *terminal.Refusal
	if err != nil && !asRefusal(err, &refused) {
		r.Fatalf("%s: %v", where, err)
	}
	rig := r.rig.(*realPCSC)
	seats := map[string]virtual.Chip{"zhang": r.seat(r.cards["zhang"]), "sam": r.around("sam", r.sam.seat())}
	again := func(name string) {
		put := rig.put
		if name == "sam" {
			put = rig.putSAM
		}
		if err := put(r.ctx, seats[name]); err != nil {
			r.Fatalf("%s: %v", where, err)
		}
	}
	switch {
	case hit == "":
	case cardOnly:
		again(hit)
	default:
		// The reader is gone with its service, and the terminal says so.
		<-rig.inCard.Done()
		<-rig.inSAM.Done()
		rig.pcscd.Stop()
		r.until("no reader", func(s terminal.Status) bool { return s.Card.State == terminal.CardNoReader })
		r.synced()
		r.withoutCard(where)
		if rig.pcscd, err = private.Start(r.ctx, pcscDir); err != nil {
			r.Fatal(err)
		}
		again("zhang")
		again("sam")
	}
	s := r.until("the terminal to recover: "+where, func(s terminal.Status) bool {
		return s.Card.State == terminal.CardReady && s.PSAM.Present && s.LoadSAM.Present && s.Open == 0 && s.Unsent.Count == 0 && s.Online
	})
	f.mu.Lock()
	moved := f.moved
	f.mu.Unlock()
	if moved > 1 {
		r.Fatalf("%s: %d commands that move value were sent", where, moved)
	}
	want, word := before, "refused"
	if refused == nil {
		final, err := r.Station.Terminal.Transaction(rc.Name)
		if err != nil {
			r.Fatal(err)
		}
		word = map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done"}[final.Result]
		if final.Result == journal.Done {
			want += delta
		}
		if rc.Result == journal.Unknown {
			word = "unknown, then " + word
		} else if rc.Result != final.Result {
			r.Fatalf("%s: the slip said %d, the record says %d", where, rc.Result, final.Result)
		}
	}
	if s.Card.Balance != want {
		r.Fatalf("%s: %s, but the card holds %s instead of %s", where, word, s.Card.Balance, want)
	}
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != want {
		r.Fatalf("%s: %s, the ledger has %s on the card instead of %s", where, word, got, want)
	}
	if hit == "" {
		return "undisturbed"
	}
	return word
}
