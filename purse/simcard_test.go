package purse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
)

// These tests let the terminal side meet the simulator, which was written
// from the same reference by other hands. What either must do on its own is
// tested against vectors and recordings elsewhere.

var (
	ctx      = context.Background()
	terminal = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	samID    = money.SAMID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	number   = money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0x12, 0x34, 0x56, 0x78}
	stamp    = money.Stamp{0x20, 0x25, 0x09, 0x01, 0x09, 0x45, 0x01}
	from, to = [4]byte{0x20, 0x24, 0x01, 0x01}, [4]byte{0x20, 0x30, 0x12, 0x31}
)

var errLost = errors.New("the answer was lost")

// line is a card in a slot: the chip, the protocol's shaping, and faults.
type line struct {
	chip  simcard.Chip
	t     apdu.Transmitter
	lose  bool // lose the answer to the next command
	pull  bool // pull the card before the next command
	sends int
}

type chipSender struct{ l *line }

func (s chipSender) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.l.sends++
	if s.l.pull {
		s.l.pull = false
		s.l.chip.PowerOff()
		return nil, errLost
	}
	r, err := s.l.chip.Transmit(command)
	if s.l.lose && err == nil {
		s.l.lose = false
		s.l.chip.PowerOff()
		return nil, errLost
	}
	return r, err
}

func newLine(t *testing.T, chip simcard.Chip, t0 bool) *line {
	t.Helper()
	l := &line{chip: chip}
	l.t = chipSender{l}
	if t0 {
		l.chip = simcard.T0(chip)
		l.t = apdu.GetResponse(apdu.ShapeT0(l.t))
	}
	l.power(t)
	return l
}

func (l *line) power(t *testing.T) {
	t.Helper()
	if _, err := l.chip.PowerOn(); err != nil {
		t.Fatal(err)
	}
}

func (l *line) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return l.t.Transmit(ctx, command)
}

// desk is one card and one SAM card with both applications, for a profile.
type desk struct {
	profile profiles.Card
	options simcard.Options
	chip    *simcard.Card
	card    *line
	sam     *line
	psam    *purse.PSAM
	load    *purse.LoadSAM
}

func newDesk(t *testing.T, name string, t0 bool) *desk {
	t.Helper()
	p, ok := profiles.Builtin().Card(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	d := &desk{profile: p, options: simcard.Options{
		LogPost: p.LogCounterPost, ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot, UnifiedCounter: p.UnifiedCounters, PINForLoad: p.PINForLoad,
	}}
	for word, m := range p.StatusWords {
		if m.Means == apdu.SWBalanceLow {
			d.options.BalanceSW = word
		}
	}
	d.chip = simcard.New(d.options)
	must(t, simcard.Personalise(d.chip, simcard.CardRecipe{
		Number: number, Issuer: suite.TestIssuer, AppType: 2, From: from, To: to, Keys: simcard.TestKeys(),
		Levels: p.PurchaseLevels, Region: p.Region, KeyIndex: p.PurchaseKeyIndex, KeyVersion: byte(p.PurchaseLevels), // one version of the SAM for each number of levels
		AID: string(p.AID),
	}))
	sam := simcard.New(simcard.Options{RegionFirst: p.RegionFirst})
	must(t, simcard.Personalise(sam, simcard.SAMRecipe{
		ID: samID, Terminal: terminal, Issuer: suite.TestIssuer, From: from, To: to, Purchase: true, Load: true,
		Keys: simcard.TestKeys(), Levels: []int{1, 2}, KeyIndex: p.PurchaseKeyIndex, KeyVersion: 1, Sequence: 0xA1B6,
	}))
	d.card, d.sam = newLine(t, d.chip, t0), newLine(t, sam, t0)
	var err error
	if d.psam, err = purse.OpenPSAM(ctx, d.sam, profiles.Builtin().SAMs); err != nil {
		t.Fatal(err)
	}
	if d.load, err = purse.OpenLoadSAM(ctx, d.sam, profiles.Builtin().SAMs); err != nil {
		t.Fatal(err)
	}
	d.allow(t, suite.Allowance{Sequence: 1, CeilingAmount: 1_000_000, CeilingCount: 1000})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *desk) allow(t *testing.T, a suite.Allowance) {
	t.Helper()
	challenge, err := d.load.Challenge(ctx)
	must(t, err)
	key, err := suite.AllowanceKey(suite.DES3{}, suite.TestMasters().Allowance, d.load.Serial())
	must(t, err)
	mac, err := a.MAC(suite.DES3{}, key, challenge, d.load.Serial())
	must(t, err)
	must(t, d.load.Install(ctx, a, mac))
}

func (d *desk) app(t *testing.T) *purse.Application {
	t.Helper()
	a, err := purse.Select(ctx, d.card, profiles.Builtin().MatchCards(nil))
	must(t, err)
	if a.Profile().Name != d.profile.Name || a.Info().Number != number || !a.Info().Test() {
		t.Fatalf("%s %+v", a.Profile().Name, a.Info())
	}
	return a
}

// topUp and buy run up to the execute command and give what was journalled
// before it, and the rest.
func (d *desk) topUp(t *testing.T, a *purse.Application, amount money.Fen) (purse.Pending, func() (suite.MAC, error)) {
	t.Helper()
	in, err := a.InitLoad(ctx, amount, terminal)
	must(t, err)
	auth, err := d.load.Authorise(ctx, a.Profile(), number, in, stamp)
	must(t, err)
	return purse.Pending{TxType: in.TxType, Amount: amount, Before: in.Before, Counter: in.Counter, Terminal: terminal, Stamp: auth.Stamp, Sent: true},
		func() (suite.MAC, error) { return a.CreditLoad(ctx, auth.Stamp, auth.MAC2) }
}

func (d *desk) buy(t *testing.T, a *purse.Application, amount money.Fen) (purse.Pending, func() (tac, mac2 suite.MAC, err error)) {
	t.Helper()
	in, err := a.InitPurchase(ctx, amount, terminal)
	must(t, err)
	g, err := d.psam.InitPurchase(ctx, a.Profile(), number, in, stamp)
	must(t, err)
	return purse.Pending{TxType: in.TxType, Amount: amount, Before: in.Before, Counter: in.Counter, Terminal: terminal, Stamp: stamp, Sent: true},
		func() (suite.MAC, suite.MAC, error) { return a.DebitPurchase(ctx, g, stamp) }
}

// each runs a test on both shipped profiles and both protocols.
func each(t *testing.T, f func(t *testing.T, d *desk)) {
	for _, name := range []string{"dianka-ep", "dianka-ep2"} {
		for _, t0 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/T=%d", name, map[bool]int{false: 1, true: 0}[t0]), func(t *testing.T) { f(t, newDesk(t, name, t0)) })
		}
	}
}

func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		a := d.app(t)
		_, credit := d.topUp(t, a, 10000)
		loadTAC, err := credit()
		must(t, err)
		must(t, d.load.Confirm(ctx, loadTAC))
		_, debit := d.buy(t, a, 500)
		tac, mac2, err := debit()
		must(t, err)
		if err := d.psam.Credit(ctx, suite.MAC{^mac2[0]}); !errors.Is(err, purse.ErrMAC2) {
			t.Errorf("a false MAC2: %v", err)
		}
		must(t, d.psam.Credit(ctx, mac2))
		if b, err := a.Balance(ctx); b != 9500 || err != nil {
			t.Error(b, err)
		}
		l, err := a.Log(ctx)
		if err != nil || len(l) != 2 || l[0].Amount != 500 || l[0].TxType != suite.TypeEPPurchase || l[0].Counter != 0 || l[1].Amount != 10000 || l[1].Terminal != terminal || l[1].Stamp != stamp {
			t.Errorf("%+v, %v", l, err)
		}
		if p, err := a.Prove(ctx, suite.TypeEPPurchase, 1); err != nil || p.TAC != tac || p.MAC2 != mac2 {
			t.Errorf("%+v, %v", p, err)
		}
		p, err := a.Prove(ctx, suite.TypeEPLoad, 1)
		if d.profile.ProofSingleSlot {
			if !errors.Is(err, purse.ErrNoProof) {
				t.Errorf("%+v, %v", p, err)
			}
		} else if err != nil || p.TAC != loadTAC {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := a.InitPurchase(ctx, 9501, terminal); !errors.Is(err, apdu.SWBalanceLow) {
			t.Error(err)
		}
		st, _, err := d.load.State(ctx, [8]byte{1})
		if err != nil || st.Total != 10000 || st.Count != 1 || st.CeilingAmount != 1_000_000 {
			t.Errorf("%+v, %v", st, err)
		}
		must(t, a.VerifyPIN(ctx, "12345"))
		var tries *purse.TriesError
		if err := a.VerifyPIN(ctx, "54321"); !errors.As(err, &tries) || tries.Left != 2 {
			t.Error(err)
		}
	})
}

// TestAllowance: the load SAM holds its ceiling of amount and of count.
func TestAllowance(t *testing.T) {
	d := newDesk(t, "dianka-ep", false)
	d.allow(t, suite.Allowance{Sequence: 2, CeilingAmount: 1500, CeilingCount: 2})
	a := d.app(t)
	try := func(amount money.Fen) error {
		in, err := a.InitLoad(ctx, amount, terminal)
		must(t, err)
		_, err = d.load.Authorise(ctx, a.Profile(), number, in, stamp)
		return err
	}
	for _, c := range []struct {
		amount money.Fen
		is     error
	}{{1501, apdu.SWBalanceLow}, {1000, nil}, {501, apdu.SWBalanceLow}, {100, nil}, {1, apdu.SWCounterExhausted}} {
		if err := try(c.amount); !errors.Is(err, c.is) || apdu.MayHaveExecuted(err) {
			t.Errorf("%d: %v", c.amount, err)
		}
	}
}

// TestTornExecute lets the power fail at every page write of CREDIT and of
// DEBIT, before the command and after it, and requires that the card's own
// evidence then tells exactly what its balance says.
func TestTornExecute(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		for _, load := range []bool{true, false} {
			outcomes := map[journal.Result]int{}
			// n: -1 pulled before, 0 answer lost, else the page write.
			for n, whole := -1, false; !whole; n++ {
				a := d.app(t)
				if !load { // something to spend
					_, credit := d.topUp(t, a, 1000)
					_, err := credit()
					must(t, err)
				}
				var p purse.Pending
				var run func() error
				if load {
					pend, credit := d.topUp(t, a, 1000)
					p, run = pend, func() error { _, err := credit(); return err }
				} else {
					pend, debit := d.buy(t, a, 300)
					p, run = pend, func() error { _, _, err := debit(); return err }
				}
				switch {
				case n == -1:
					d.card.pull = true
				case n == 0:
					d.card.lose = true
				default:
					d.chip.TearAfter(n)
				}
				err := run()
				if err == nil && n > 0 {
					whole = true // fewer page writes than that
				} else if err == nil || !apdu.MayHaveExecuted(err) {
					t.Fatalf("write %d: %v", n, err)
				}
				d.chip.TearAfter(0)
				d.card.power(t)
				a = d.app(t)
				now, err := a.Balance(ctx)
				must(t, err)
				j, err := a.Judge(ctx, p)
				must(t, err)
				want := journal.NotDone
				if now != p.Before {
					want = journal.Done
				}
				if j.Result != want || j.Balance != now || j.HasTAC != (want == journal.Done) {
					t.Errorf("load %v, write %d: balance %s before, %s now: %+v", load, n, p.Before, now, j)
				}
				outcomes[j.Result]++
				if j.HasTAC && !load {
					// The PSAM kept its power: it can still tell the card's proof.
					must(t, d.psam.Credit(ctx, j.MAC2))
				}
			}
			if outcomes[journal.Done] < 2 || outcomes[journal.NotDone] < 2 {
				t.Errorf("load %v: %v", load, outcomes)
			}
			t.Logf("load %v: %v", load, outcomes)
		}
	})
}

// TestForeignUse: a debit that the card never saw, then the same amount at
// another terminal. The card now has a proof for that counter, and balance
// and counter are as if the first debit had happened.
func TestForeignUse(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		a := d.app(t)
		_, credit := d.topUp(t, a, 1000)
		_, err := credit()
		must(t, err)
		p, _ := d.buy(t, a, 300)

		elsewhere := stamp
		elsewhere[6]++
		in, err := a.InitPurchase(ctx, 300, terminal)
		must(t, err)
		g, err := d.psam.InitPurchase(ctx, a.Profile(), number, in, elsewhere)
		must(t, err)
		_, _, err = a.DebitPurchase(ctx, g, elsewhere)
		must(t, err)
		p.Terminal[0]++ // the first was at another terminal than this one
		j, err := a.Judge(ctx, p)
		if err != nil || j.Result != journal.NotDone || j.Evidence != journal.EvidenceLog || j.HasTAC {
			t.Errorf("%+v, %v", j, err)
		}
	})
}
