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
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
)

var (
	cardNo   = Number{0, 0, 0x33, 0x10, 0x08, 0x88, 0x12, 0x34, 0x56, 0x78}
	samNo    = Number{0, 0, 0, 0, 0x31, 0x01, 0, 0, 0, 7}
	terminal = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
)

func testRing() *suite.Ring {
	return suite.TestMasters().Ring().With(suite.TestRing(map[string][]byte{"pin": {0x12, 0x34, 0x5F}}))
}

func planOf(t testing.TB, k Kind, n Number) *Plan {
	t.Helper()
	d, err := Parse(Example(k))
	if err != nil {
		t.Fatal(err)
	}
	o := Order{Number: n}
	if k != KindPurse {
		o.Terminal = terminal
	}
	p, err := NewPlan(d, o, testRing(), profiles.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var errPulled = errors.New("pulled out")

// chip is a simulated card in a hand that may pull it out.
type chip struct {
	*simcard.Card
	n     int    // commands since it was made
	at    int    // the command at which it is pulled, 0 = never
	how   string // before, after, or the number of page writes after which power fails
	out   bool
	trace [][]byte
}

func newChip() *chip { return &chip{Card: simcard.New(simcard.Options{})} }

func (c *chip) Reset(context.Context) error {
	if c.out {
		return errPulled
	}
	c.PowerOff()
	_, err := c.PowerOn()
	return err
}

func (c *chip) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if c.out {
		return nil, errPulled
	}
	c.n++
	c.trace = append(c.trace, bytes.Clone(command))
	if c.n != c.at {
		return c.Card.Transmit(command)
	}
	c.out = true
	switch c.how {
	case "before":
	case "after":
		c.Card.Transmit(command)
	default:
		var writes int
		fmt.Sscan(c.how, &writes)
		c.TearAfter(writes)
		c.Card.Transmit(command)
		c.TearAfter(0)
	}
	c.PowerOff()
	return nil, errPulled
}

func (c *chip) putBack() { c.out, c.at = false, 0 }

func numberOf(k Kind) Number {
	if k == KindPurse {
		return cardNo
	}
	return samNo
}

// TestMake makes a card of each kind, finds that it is done, and writes
// nothing to it then.
func TestMake(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(string(k), func(t *testing.T) {
			p := planOf(t, k, numberOf(k))
			c := newChip()
			res, err := p.Make(t.Context(), c, Options{})
			if err != nil || res.Outcome != Made {
				t.Fatalf("%s, %v\n%v", res.Outcome, err, res.Findings.Checks)
			}
			for _, ch := range res.Findings.Checks {
				t.Logf("%s: %s (%s)", ch.Verdict, ch.What, ch.Says)
			}
			if res.Findings.Used {
				t.Error("a new card is said to be in use")
			}
			// What was said beforehand is what was sent.
			steps, err := p.Preview(false)
			if err != nil {
				t.Fatal(err)
			}
			sent := c.trace[2:] // after Look: SELECT and GET CHALLENGE
			for i, s := range steps {
				if len(sent) <= i || !matches(s.Line, sent[i]) {
					t.Fatalf("command %d (%s) was shown as %s and sent as %X", i, s.What, s.Line, sent[i])
				}
			}
			c.trace = nil
			res, err = p.Make(t.Context(), c, Options{Bind: func() error { t.Error("the number was bound anew"); return nil }})
			if err != nil || res.Outcome != Already {
				t.Errorf("%s, %v", res.Outcome, err)
			}
			for _, b := range c.trace {
				if b[1] == 0xD4 || b[1] == 0xE0 || b[1] == 0xD6 || b[1] == 0xE2 || b[1] == 0x0E || b[1] == 0x20 {
					t.Errorf("%X was sent to a card that is done", b[:4])
				}
			}
		})
	}
}

func matches(l apdu.Line, sent []byte) bool {
	if len(l.Data) != len(sent) {
		return false
	}
	for i := range sent {
		if (l.Redacted == nil || !l.Redacted[i]) && l.Data[i] != sent[i] {
			return false
		}
	}
	return true
}

// TestPulledEverywhere pulls the card at every command, before it, after it
// and in the middle of its writes, and makes it again: it ends as a whole card,
// but where a master file or an application has a key file and no control key,
// which no one can write to any more. There it is said so.
func TestPulledEverywhere(t *testing.T) {
	for _, k := range []Kind{KindPurse, KindSAM} {
		t.Run(string(k), func(t *testing.T) {
			p := planOf(t, k, numberOf(k))
			whole := newChip()
			if _, err := p.Make(t.Context(), whole, Options{}); err != nil {
				t.Fatal(err)
			}
			total := whole.n
			waste, resumed := map[string]bool{}, 0
			for at := 1; at <= total; at++ {
				for _, how := range []string{"before", "after", "2"} {
					c := newChip()
					c.at, c.how = at, how
					bound := 0
					o := Options{Bind: func() error { bound++; return nil }}
					res, err := p.Make(t.Context(), c, o)
					if !errors.Is(err, errPulled) || res.Outcome == Made {
						t.Fatalf("pulled at %d %s: %s, %v", at, how, res.Outcome, err)
					}
					c.putBack()
					c.n = 0
					if res, err = p.Make(t.Context(), c, o); errors.Is(err, ErrDeadEnd) && res.Outcome == Waste {
						i := at - 1
						for whole.trace[i][1] == 0x84 { // a challenge between changes nothing
							i++
						}
						waste[fmt.Sprintf("%X", whole.trace[i][:4])+" "+how] = true
						if at > 6 { // of an application: the whole card can be erased
							if res, err = p.Make(t.Context(), c, Options{Erase: true}); err != nil || res.Outcome != Made {
								t.Fatalf("pulled at %d %s, erased: %s, %v", at, how, res.Outcome, err)
							}
						}
						continue
					}
					if err != nil || res.Outcome == Refused {
						t.Fatalf("pulled at %d %s (%X), and put in again: %s, %v", at, how, whole.trace[at-1][:4], res.Outcome, err)
					}
					if res.Outcome == Resumed {
						resumed++
					}
					if f, err := p.Verify(t.Context(), c, false); err != nil || !f.Whole() {
						t.Fatalf("pulled at %d %s: %v, %v", at, how, err, f)
					}
				}
			}
			if resumed < total {
				t.Errorf("only %d cards were gone on with", resumed)
			}
			for w := range waste {
				if w == "80E00000 before" || w == "80D40100 after" || !strings.HasPrefix(w, "80E00000 ") && !strings.HasPrefix(w, "80D40100 ") {
					t.Errorf("waste also when pulled at %s", w)
				}
			}
			t.Logf("%d commands; waste when pulled at %v", total, waste)
		})
	}
}

// byteByByte is a card that speaks T=0.
type byteByByte struct {
	apdu.Transmitter
	chip simcard.Chip
}

type whole struct{ simcard.Chip }

func (w whole) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return w.Chip.Transmit(command)
}

func (b byteByByte) Reset(context.Context) error {
	b.chip.PowerOff()
	_, err := b.chip.PowerOn()
	return err
}

// TestT0: a card that speaks T=0 is made and found to be done as well.
func TestT0(t *testing.T) {
	for _, k := range Kinds() {
		c := simcard.T0(simcard.New(simcard.Options{}))
		b := byteByByte{apdu.GetResponse(apdu.ShapeT0(whole{c})), c}
		p := planOf(t, k, numberOf(k))
		for _, want := range []Outcome{Made, Already} {
			if res, err := p.Make(t.Context(), b, Options{}); err != nil || res.Outcome != want {
				t.Errorf("%s: %s, %v", k, res.Outcome, err)
			}
		}
	}
}
