package dump

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/simcard/odd"
)

// chip is a card without a reader.
type chip struct {
	c interface {
		PowerOn() ([]byte, error)
		PowerOff()
		Transmit([]byte) ([]byte, error)
	}
	atr    []byte
	sent   []apdu.Command
	resets int
	fail   func(n int) error // of the n-th exchange
	t0     bool
}

func newChip(t *testing.T, c interface {
	PowerOn() ([]byte, error)
	PowerOff()
	Transmit([]byte) ([]byte, error)
}) *chip {
	t.Helper()
	atr, err := c.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	a, _ := apdu.ParseATR(atr)
	return &chip{c: c, atr: atr, t0: len(a.Protocols) == 0 || a.Protocols[0] == 0}
}

func (c *chip) ATR() []byte { return c.atr }

func (c *chip) Reset(context.Context) error {
	c.resets++
	_, err := c.c.PowerOn()
	return err
}

func (c *chip) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	cmd, err := apdu.ParseCommand(command)
	if err != nil {
		return nil, err
	}
	c.sent = append(c.sent, cmd)
	if c.fail != nil {
		if err := c.fail(len(c.sent)); err != nil {
			return nil, err
		}
	}
	var t apdu.Transmitter = bare{c}
	if c.t0 {
		t = apdu.ShapeT0(t)
	}
	return apdu.GetResponse(t).Transmit(ctx, command)
}

type bare struct{ *chip }

func (b bare) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return b.c.Transmit(command)
}

// harmless fails when a command was sent that could cost a try, write or move.
func harmless(t *testing.T, c *chip) {
	t.Helper()
	for _, s := range c.sent {
		switch {
		case s.CLA == 0 && (s.INS == 0xA4 || s.INS == 0xB0 || s.INS == 0xB2):
		case s.CLA == 0x80 && s.INS == 0x5C:
		case s.CLA == 0x80 && s.INS == 0x50 && len(s.Data) == 11 && bytes.Equal(s.Data[1:5], make([]byte, 4)): // INITIALIZE of zero
		default:
			t.Fatalf("%02X %02X %02X %02X was sent", s.CLA, s.INS, s.P1, s.P2)
		}
	}
}

func TestTree(t *testing.T) {
	for _, t0 := range []bool{false, true} {
		tree := odd.NewTree()
		c := newChip(t, tree)
		if t0 {
			c = newChip(t, simcard.T0(tree))
		}
		d, err := Take(t.Context(), c, Options{T0: t0})
		if err != nil || !d.Whole {
			t.Fatal(err, d.Notes)
		}
		harmless(t, c)
		if tree.Tries() != 3 {
			t.Errorf("%d tries left", tree.Tries())
		}
		text := strings.Join(d.Lines(), "\n")
		for _, want := range []string{"\n  2F01  transparent  600 bytes", "\n    0002  linear fixed records  3 records", "\n    0003  cyclic records  4 records", "\n      0005  transparent  2 bytes  DEE9", "0004  transparent  refused: 6982"} {
			if strings.Count(text, want) != 1 {
				t.Errorf("T0 %t: %q is not there once:\n%s", t0, want, text)
			}
		}
		long := d.Tree[0].Children[1].Data
		if len(long) != 1200 || !strings.HasPrefix(long, "000102") || !strings.HasSuffix(long, "555657") {
			t.Errorf("the long file: %d digits, %s", len(long), long)
		}
	}
}

// Cards that no dump can be made of: it ends, soon, and says why.
func TestStubbornCards(t *testing.T) {
	for name, c := range map[string]struct {
		chip *chip
		says string
	}{
		"refuses": {newChip(t, &odd.Refuser{SW: 0x6985}), "the card refuses every file"},
		"unknown": {newChip(t, &odd.Refuser{SW: 0x6D00}), "the card refuses every file"},
		"endless": {newChip(t, &odd.Refuser{SW: 0x6100}), "the card stopped answering"},
		"lengths": {newChip(t, &odd.Refuser{SW: 0x6C10}), "refuses every file"},
		"agrees":  {newChip(t, &odd.Refuser{SW: 0x9000}), "files that cannot be there"},
	} {
		d, err := Take(t.Context(), c.chip, Options{})
		harmless(t, c.chip)
		if text := strings.Join(d.Lines(), "\n"); !strings.Contains(text, c.says) || (err != nil) != (name == "endless") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if len(c.chip.sent) > 400 {
			t.Errorf("%s: %d commands", name, len(c.chip.sent))
		}
	}
	for seed := range uint64(50) {
		c := newChip(t, odd.NewGarbage(seed))
		d, _ := Take(t.Context(), c, Options{MaxAsked: 2000})
		harmless(t, c)
		if d == nil || len(c.sent) > 2000 {
			t.Errorf("garbage %d: %d commands", seed, len(c.sent))
		}
	}
}

// An exchange that fails once costs nothing but a reset; a card that is gone
// leaves what was found.
func TestFailures(t *testing.T) {
	c := newChip(t, odd.NewTree())
	c.fail = func(n int) error {
		if n == 30 {
			return errors.New("stutter")
		}
		return nil
	}
	d, err := Take(t.Context(), c, Options{})
	if err != nil || c.resets != 1 || !d.Whole || !strings.Contains(fmt.Sprint(d.Notes), "stutter") {
		t.Errorf("%v, %d resets, %v", err, c.resets, d.Notes)
	}
	c = newChip(t, odd.NewTree())
	c.fail = func(n int) error {
		if n > 200 {
			return errors.New("gone")
		}
		return nil
	}
	d, err = Take(t.Context(), c, Options{})
	if err == nil || d.Whole || len(d.Tree) == 0 || len(d.Tree[0].Children) == 0 {
		t.Errorf("%v %+v", err, d)
	}
	d, err = Take(t.Context(), newChip(t, odd.NewTree()), Options{MaxAsked: 50})
	if err != nil || d.Whole || !strings.Contains(fmt.Sprint(d.Notes), "stopped after 50 exchanges") {
		t.Errorf("%v %v", err, d.Notes)
	}
	d, err = Take(t.Context(), newChip(t, odd.NewTree()), Options{Limit: time.Nanosecond})
	if err != nil || d.Whole {
		t.Errorf("%v %v", err, d.Notes)
	}
}

func purseCard(t *testing.T) *simcard.Card {
	t.Helper()
	c := simcard.New(simcard.Options{})
	if err := simcard.Personalise(c, simcard.TestCard(money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17})); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPurse(t *testing.T) {
	c := newChip(t, purseCard(t))
	d, err := Take(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, c)
	if d.Purse == nil || d.Purse.Number != "00003310088800000017" || d.Purse.Balance == nil || *d.Purse.Balance != 0 || d.Purse.LoadCounter == nil || d.Purse.PurchaseCounter == nil {
		t.Errorf("%+v", d.Purse)
	}
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&b)
	if err != nil || len(Diff(d, back)) != 0 {
		t.Errorf("%v %v", err, Diff(d, back))
	}
}

func TestDiff(t *testing.T) {
	balance := func(v int64) *int64 { return &v }
	count := func(v uint16) *uint16 { return &v }
	a := &Dump{Whole: true, Purse: &Purse{Number: "1", Balance: balance(3000), LoadCounter: count(17), PurchaseCounter: count(3), Log: []Record{{Type: "06"}}},
		Tree: []*Node{{ID: "3F00", Kind: "directory", Children: []*Node{{ID: "0015", Kind: "transparent", Data: "0011223344"}, {ID: "0016", Kind: "transparent"}, {ID: "0017", Kind: "unknown", Refused: "6982"}}}}}
	b := &Dump{Whole: true, Purse: &Purse{Number: "1", Balance: balance(8000), LoadCounter: count(18), PurchaseCounter: count(3), Log: []Record{{Type: "02", Amount: 5000, Terminal: "310100001234", Stamp: "20260101120000"}, {Type: "06"}}},
		Tree: []*Node{{ID: "3F00", Kind: "directory", Children: []*Node{{ID: "0015", Kind: "transparent", Data: "0011FF3344"}, {ID: "0017", Kind: "unknown"}, {ID: "0018", Kind: "records"}}}}}
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.String())
	}
	want := []string{
		"balance 30.00 → 80.00 yuan",
		"on-line counter 17 → 18",
		"log record new: load of the purse (EP) of 50.00 yuan at terminal 310100001234, 20260101120000",
		"3F00/0015 from byte 2 22 33 44 → FF 33 44",
		"file 3F00/0016 gone: transparent",
		"reading of 3F00/0017 6982 → free",
		"file 3F00/0018 new: records",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.Purse.Number = "2"
	if d := Diff(a, b); !strings.HasPrefix(d[0].String(), "these are two cards") {
		t.Error(d[0])
	}
	b.Purse = nil
	if d := Diff(a, b); d[0].String() != "purse gone: 1" {
		t.Error(d[0])
	}
}

func TestRead(t *testing.T) {
	for _, s := range []string{"", "{", "[]", `{"format":0}`, `{"format":2}`, `{"format":1,"tree":[null]}`, `{"format":1,"tree":[` + strings.Repeat(`{"children":[`, 20) + strings.Repeat(`]}`, 20) + `]}`} {
		if _, err := Read(strings.NewReader(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzDump(f *testing.F) {
	f.Add(`{"format":1}`)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Read(strings.NewReader(s))
		if err != nil {
			return
		}
		d.Lines()
		if c := Diff(d, d); len(c) != 0 && !repeated(d.Tree) {
			t.Errorf("different from itself: %v", c)
		}
		Diff(d, &Dump{})
		if _, err := json.Marshal(d); err != nil {
			t.Error(err)
		}
	})
}

// repeated reports siblings of one name, which a card cannot have.
func repeated(list []*Node) bool {
	seen := map[string]bool{}
	for _, n := range list {
		if seen[n.Label()] || repeated(n.Children) {
			return true
		}
		seen[n.Label()] = true
	}
	return false
}
