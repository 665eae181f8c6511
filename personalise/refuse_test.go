package personalise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/suite"
)

// made gives a card of a kind that is done.
func made(t testing.TB, k Kind, n Number) *chip {
	t.Helper()
	c := newChip()
	if res, err := planOf(t, k, n).Make(t.Context(), c, Options{}); err != nil || res.Outcome != Made {
		t.Fatalf("%s, %v", res.Outcome, err)
	}
	c.trace = nil
	return c
}

// wrote reports whether anything was sent that writes or costs a try.
func (c *chip) wrote() bool {
	for _, b := range c.trace {
		switch b[1] {
		case 0xD4, 0xE0, 0xD6, 0xE2, 0x0E, 0x82, 0x20:
			return true
		}
	}
	return false
}

// TestTerminalsTakeTheCards: card, PSAM and load SAM of the examples load and
// debit by the terminal's own code.
func TestTerminalsTakeTheCards(t *testing.T) {
	for _, kinds := range [][2]Kind{{KindPSAM, KindLoadSAM}, {KindSAM, KindSAM}} {
		ctx, set := t.Context(), profiles.Builtin()
		card, psamCard, lsamCard := made(t, KindPurse, cardNo), made(t, kinds[0], samNo), made(t, kinds[1], samNo)
		for _, c := range []*chip{card, psamCard, lsamCard} {
			c.Reset(ctx)
		}
		app, err := purse.Select(ctx, card, set.Cards)
		if err != nil {
			t.Fatal(err)
		}
		if !app.Info().Test() || app.Info().Number != money.CardNumber(cardNo) || app.Profile().Name != "dianka-ep" {
			t.Errorf("%+v, %s", app.Info(), app.Profile().Name)
		}
		lsam, err := purse.OpenLoadSAM(ctx, lsamCard, set.SAMs)
		if err != nil {
			t.Fatal(err)
		}
		psam, err := purse.OpenPSAM(ctx, psamCard, set.SAMs)
		if err != nil {
			t.Fatal(err)
		}
		key, err := suite.AllowanceKey(suite.DES3{}, suite.TestMasters().Allowance, money.SAMID(samNo))
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := lsam.Challenge(ctx)
		if err != nil {
			t.Fatal(err)
		}
		a := suite.Allowance{Sequence: 1, CeilingAmount: 10000, CeilingCount: 3}
		mac, err := a.MAC(suite.DES3{}, key, challenge, money.SAMID(samNo))
		if err == nil {
			err = lsam.Install(ctx, a, mac)
		}
		if err != nil {
			t.Fatal(err)
		}
		stamp := money.Stamp{0x20, 0x26, 0x01, 0x02, 0x12, 0x00, 0x00}
		in, err := app.InitLoad(ctx, 5000, lsam.Terminal())
		if err != nil {
			t.Fatal(err)
		}
		auth, err := lsam.Authorise(ctx, app.Profile(), app.Info().Number, in, stamp)
		if err != nil {
			t.Fatal(err)
		}
		tac, err := app.CreditLoad(ctx, auth.Stamp, auth.MAC2)
		if err == nil {
			err = lsam.Confirm(ctx, tac)
		}
		if err != nil {
			t.Fatal(err)
		}
		pin, err := app.InitPurchase(ctx, 1250, psam.Terminal())
		if err != nil {
			t.Fatal(err)
		}
		grant, err := psam.InitPurchase(ctx, app.Profile(), app.Info().Number, pin, stamp)
		if err != nil {
			t.Fatal(err)
		}
		_, mac2, err := app.DebitPurchase(ctx, grant, stamp)
		if err == nil {
			err = psam.Credit(ctx, mac2)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := app.Balance(ctx); err != nil || b != 3750 {
			t.Errorf("balance %v, %v", b, err)
		}
		log, err := app.Log(ctx)
		if err != nil || len(log) != 2 {
			t.Errorf("log %v, %v", log, err)
		}
		// In use now, and whole: it is said to be done, and nothing is written.
		card.trace = nil
		res, err := planOf(t, KindPurse, cardNo).Make(ctx, card, Options{})
		if err != nil || res.Outcome != Already || !res.Findings.Used {
			t.Errorf("%s, used %t, %v", res.Outcome, res.Findings.Used, err)
		}
	}
}

// TestRefuses: what is another's or in use is left alone.
func TestRefuses(t *testing.T) {
	other := Number{0, 0, 0x33, 0x10, 0x08, 0x88, 0x99, 0x99, 0x99, 0x99}
	t.Run("another number", func(t *testing.T) {
		c := made(t, KindPurse, other)
		res, err := planOf(t, KindPurse, cardNo).Make(t.Context(), c, Options{})
		if !errors.Is(err, ErrOther) || res.Outcome != Refused || c.wrote() {
			t.Errorf("%s, %v, wrote %t", res.Outcome, err, c.wrote())
		}
	})
	t.Run("another's keys", func(t *testing.T) {
		// A half-written card of another number, which cannot be read yet.
		c := newChip()
		c.at, c.how = 8, "after"
		if _, err := planOf(t, KindPurse, other).Make(t.Context(), c, Options{}); !errors.Is(err, errPulled) {
			t.Fatal(err)
		}
		c.putBack()
		for left := 2; left >= 1; left-- {
			var f *ForeignError
			res, err := planOf(t, KindPurse, cardNo).Make(t.Context(), c, Options{})
			if !errors.As(err, &f) || f.Left != left || res.Outcome != Refused {
				t.Fatalf("%s, %v", res.Outcome, err)
			}
		}
		if res, err := planOf(t, KindPurse, other).Make(t.Context(), c, Options{}); err != nil || res.Outcome != Resumed {
			t.Errorf("its own number: %s, %v", res.Outcome, err)
		}
	})
	t.Run("keys that do not fit", func(t *testing.T) {
		d, err := Parse(Example(KindPurse))
		if err != nil {
			t.Fatal(err)
		}
		c := made(t, KindPurse, cardNo)
		m := suite.TestMasters()
		m.Load = bytes.Repeat([]byte{0x55}, 16)
		p, err := NewPlan(d, Order{Number: cardNo}, m.Ring().With(testRing()), profiles.Builtin())
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.Make(t.Context(), c, Options{})
		if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "load key 01") || res.Outcome != Refused {
			t.Errorf("%s, %v", res.Outcome, err)
		}
		for _, b := range c.trace {
			if b[1] == 0xD4 {
				t.Error("a key was written")
			}
		}
	})
	t.Run("blocked", func(t *testing.T) {
		c := made(t, KindPurse, cardNo)
		p := planOf(t, KindPurse, cardNo)
		c.Reset(t.Context())
		w := p.writer(t.Context(), c)
		w.enter(0)
		if err := w.maced("block", apdu.Command{CLA: 0x84, INS: 0x16}, w.key(p.d.Applications[0].line()), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Make(t.Context(), c, Options{}); !errors.Is(err, ErrBlocked) {
			t.Error(err)
		}
	})
	t.Run("a card that forgets", func(t *testing.T) {
		for _, file := range []byte{0x95, 0x96} {
			c := &forgetful{chip: newChip(), p1: file}
			res, err := planOf(t, KindPurse, cardNo).Make(t.Context(), c, Options{})
			if file == 0x95 && (!errors.Is(err, ErrDiffers) || res.Outcome != Refused) {
				t.Errorf("%s, %v", res.Outcome, err)
			}
		}
		c := &forgetful{chip: newChip(), ins: 0xD4, p1: 0x01, p2: 0x01}
		res, err := planOf(t, KindPurse, cardNo).Make(t.Context(), c, Options{})
		if !errors.Is(err, ErrDiffers) || res.Outcome != Refused || !strings.Contains(err.Error(), "key 01") {
			t.Errorf("%s, %v", res.Outcome, err)
		}
	})
}

// forgetful says 9000 to some writes and carries none of them out.
type forgetful struct {
	*chip
	ins, p1, p2 byte
}

func (f *forgetful) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	ins := f.ins
	if ins == 0 {
		ins = 0xD6
	}
	if command[1] == ins && command[2] == f.p1 && command[3] == f.p2 {
		return []byte{0x90, 0x00}, nil
	}
	return f.chip.Transmit(ctx, command)
}

// TestErase: a test card, or one that was never finished, and no other.
func TestErase(t *testing.T) {
	other := Number{0, 0, 0x33, 0x10, 0x08, 0x88, 0x99, 0x99, 0x99, 0x99}
	p := planOf(t, KindPurse, cardNo)
	c := made(t, KindPurse, other)
	if res, err := p.Make(t.Context(), c, Options{Erase: true}); err != nil || res.Outcome != Made {
		t.Errorf("a test card: %s, %v", res.Outcome, err)
	}
	// A card of a real issuer, with the same keys for want of others.
	q := planOf(t, KindPurse, other)
	q.d.Issuer = Hex{0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x00, 0x06}
	c = newChip()
	if _, err := q.Make(t.Context(), c, Options{}); err != nil {
		t.Fatal(err)
	}
	c.trace = nil
	if _, err := p.Make(t.Context(), c, Options{Erase: true}); !errors.Is(err, ErrErase) || c.wrote() {
		t.Errorf("a real card: %v, wrote %t", err, c.wrote())
	}
	// Real keys erase nothing.
	r := *p
	r.keys = realMasters().Ring().With(testRing())
	c = made(t, KindPurse, cardNo)
	if err := r.erase(t.Context(), c, Seen{}, Options{}); !errors.Is(err, ErrErase) || c.wrote() {
		t.Errorf("real keys: %v", err)
	}
}

func realMasters() suite.Masters {
	k := func(b byte) []byte { return bytes.Repeat([]byte{b, ^b}, 8) }
	return suite.Masters{Purchase: k(1), Load: k(2), TAC: k(3), Line: k(4), PINUnblock: k(5), PINReload: k(6), Control: k(7), Allowance: k(8)}
}

// transported is the example of a purse card that comes with a transport key.
func transported(t testing.TB, test bool) *Description {
	t.Helper()
	s := string(Example(KindPurse))
	at, to := strings.Index(s, "  name: FFFFFFFFFF\n"), strings.Index(s, "  keys:")
	s = "transport: transport\n" + s[:at] + s[to:]
	if !test {
		s = strings.ReplaceAll(s, "issuer: FFFFFFFF00000001", "issuer: 1111222233330006")
	}
	d, err := Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// delivered is a chip as its maker delivers it: a master file with a transport
// key.
func delivered(t testing.TB, key []byte) *chip {
	t.Helper()
	c := newChip()
	c.Reset(t.Context())
	for _, h := range []string{"80E03F000D38FFFFFAFA01FFFFFFFFFFFFFF", "80E00000073F018F01FAFFFF", fmt.Sprintf("80D401001539F0FA0A33%X", key)} {
		if r, err := c.Transmit(t.Context(), unhex(t, h)); err != nil || !bytes.Equal(r, []byte{0x90, 0x00}) {
			t.Fatalf("%s: %X, %v", h, r, err)
		}
	}
	c.n, c.trace = 0, nil
	return c
}

// TestTransportKey: with a transport key that is not the factory's no key goes
// to the card in the clear, and a card that was pulled out is gone on with.
func TestTransportKey(t *testing.T) {
	transport := unhex(t, "A0B1C2D3E4F5061728394A5B6C7D8E9F")
	masters := realMasters()
	keys := masters.Ring().With(suite.TestRing(map[string][]byte{"transport": transport, "pin": {0x12, 0x34, 0x5F}}))
	p, err := NewPlan(transported(t, false), Order{Number: cardNo}, keys, profiles.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	c := delivered(t, transport)
	res, err := p.Make(t.Context(), c, Options{})
	if err != nil || res.Outcome != Made {
		t.Fatalf("%s, %v", res.Outcome, err)
	}
	whole := c.trace
	var secrets [][]byte
	for _, m := range [][]byte{masters.Purchase, masters.Load, masters.TAC, masters.Line, masters.PINUnblock, masters.PINReload, masters.Control, transport} {
		k, err := suite.DES3{}.Diversify(m, cardNo.factor())
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, m, k)
	}
	written := 0
	for _, b := range whole {
		if b[1] == 0xD4 {
			written++
			if b[0] != 0x84 {
				t.Errorf("%X is not secured", b[:4])
			}
		}
		for _, s := range secrets {
			if bytes.Contains(b, s) {
				t.Errorf("a key is in %X", b[:4])
			}
		}
	}
	if written != 10 {
		t.Errorf("%d keys were written", written)
	}
	if res, err = p.Make(t.Context(), c, Options{}); err != nil || res.Outcome != Already {
		t.Errorf("once more: %s, %v", res.Outcome, err)
	}
	for at := 1; at <= len(whole); at++ {
		for _, how := range []string{"before", "after"} {
			c := delivered(t, transport)
			c.at, c.how = at, how
			if _, err := p.Make(t.Context(), c, Options{}); !errors.Is(err, errPulled) {
				t.Fatalf("pulled at %d: %v", at, err)
			}
			c.putBack()
			res, err := p.Make(t.Context(), c, Options{})
			if errors.Is(err, ErrDeadEnd) && res.Outcome == Waste && bytes.HasPrefix(whole[at-1], []byte{0x80, 0xE0, 0, 0}) && how == "after" ||
				errors.Is(err, ErrDeadEnd) && (whole[at-1][1] == 0x84 || bytes.HasPrefix(whole[at-1], []byte{0x84, 0xD4, 0x01, 0x00})) {
				continue // the key file of the application, and no key in it
			}
			if err != nil {
				t.Fatalf("pulled at %d %s (%X): %s, %v", at, how, whole[at-1][:4], res.Outcome, err)
			}
		}
	}
	// Another transport key costs tries, and no more than two of them.
	c = delivered(t, bytes.Repeat([]byte{0x77}, 16))
	var f *ForeignError
	if res, err = p.Make(t.Context(), c, Options{}); !errors.As(err, &f) || f.Left != 1 || res.Outcome != Refused {
		t.Errorf("another transport key: %s, %v", res.Outcome, err)
	}
	// The last try is not spent on a guess.
	c = delivered(t, bytes.Repeat([]byte{0x77}, 16))
	if yes, left, err := p.Owner(t.Context(), c); yes || left != 2 || err != nil {
		t.Errorf("%t, %d left, %v", yes, left, err)
	}
	if res, err = p.Make(t.Context(), c, Options{}); !errors.As(err, &f) || f.Left != 1 || res.Outcome != Refused {
		t.Errorf("another transport key: %s, %v", res.Outcome, err)
	}
}

// TestKeysThatMayNotBeUsed: test keys and real ones are kept apart, and real
// ones never travel in the clear.
func TestKeysThatMayNotBeUsed(t *testing.T) {
	d, err := Parse(Example(KindPurse))
	if err != nil {
		t.Fatal(err)
	}
	real := realMasters().Ring().With(suite.TestRing(map[string][]byte{"pin": {0x12, 0x34}, "transport": bytes.Repeat([]byte{0xFF}, 16)}))
	o := Order{Number: cardNo}
	if _, err := NewPlan(d, o, real, profiles.Builtin()); !errors.Is(err, ErrMixed) {
		t.Errorf("real keys for a test card: %v", err)
	}
	d.Issuer = Hex{0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x00, 0x06}
	if _, err := NewPlan(d, o, testRing(), profiles.Builtin()); !errors.Is(err, ErrMixed) {
		t.Errorf("test keys for a real card: %v", err)
	}
	if _, err := NewPlan(d, o, real, profiles.Builtin()); !errors.Is(err, suite.ErrKeyClear) {
		t.Errorf("real keys in the clear: %v", err)
	}
	if _, err := NewPlan(transported(t, false), o, real, profiles.Builtin()); !errors.Is(err, suite.ErrKeyClear) {
		t.Errorf("real keys under the factory's transport key: %v", err)
	}
	if _, err := NewPlan(d, o, realMasters().Ring(), profiles.Builtin()); !errors.Is(err, ErrKeys) {
		t.Errorf("without a PIN: %v", err)
	}
	d.Issuer = suite.TestIssuer[:]
	d.Diversify = nil
	if _, err := NewPlan(d, o, testRing(), profiles.Builtin()); !errors.Is(err, ErrDerive) {
		t.Errorf("keys that no terminal derives: %v", err)
	}
	if _, err := NewPlan(d, Order{Number: cardNo, Terminal: terminal}, testRing(), profiles.Builtin()); !errors.Is(err, ErrOrder) {
		t.Errorf("a terminal number without a place: %v", err)
	}
	for _, v := range []any{real, *real, planOf(t, KindPurse, cardNo)} {
		for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(f, v); strings.Contains(s, "2A4C6E80") || strings.Contains(strings.ToLower(s), "0x2a, 0x4c") || strings.Contains(s, "[42 76 110") || strings.Contains(s, "1 254 1 254") {
				t.Errorf("%s shows a key: %s", f, s)
			}
		}
	}
}
