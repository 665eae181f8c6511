package utility_test

import (
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/suite"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestFloatSection: a terminal that names the section is told what its shop may
// still give out, under a version that grows, and not again while it holds.
func TestFloatSection(t *testing.T) {
	w := NewWorld(t)
	x, y, c := w.Terminal(1), w.Terminal(2), NewCard(10001)
	hello := func(x *Terminal, have ...wire.SectionVersion) *wire.Section {
		t.Helper()
		a, err := w.Service.Hello(ctx, x.ID, wire.Hello{Head: x.Head(), Have: have})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range a.Sections {
			var s wire.Section
			if err := wire.Unseal(b, "section", w.Service.PublicKey(), &s); err != nil {
				t.Fatal(err)
			}
			if s.Kind == wire.SectionFloat {
				if s.Terminal != x.ID || s.Issued > w.Time.UnixMilli() {
					t.Errorf("%+v", s)
				}
				return &s
			}
		}
		return nil
	}
	asks := wire.SectionVersion{Kind: wire.SectionFloat}
	if s := hello(x); s != nil {
		t.Errorf("sent to a program that can't read it: %+v", s)
	}
	s := hello(x, asks)
	if s == nil || s.Float != (wire.Float{Balance: 1000_00, Epoch: 1}) || s.Float.Left() != 1000_00 {
		t.Fatalf("%+v", s)
	}
	asks.Version = s.Version
	if s := hello(x, asks); s != nil {
		t.Errorf("sent again: %+v", s)
	}
	changed := func(what string, want wire.Float) {
		t.Helper()
		s := hello(x, asks)
		if s == nil || s.Float != want || s.Version <= asks.Version {
			t.Fatalf("%s: %+v, want %+v", what, s, want)
		}
		if r, err := w.Service.ShopRoom(ctx, Shop); err != nil || s.Float.Left() != r.Room+s.Float.Own {
			t.Errorf("%s: left %s, the room is %s and %s of its own", what, s.Float.Left(), r.Room, s.Float.Own)
		}
		asks.Version = s.Version
	}
	if err := w.Service.AddShop(ctx, Shop, "Corner shop", 300_00); err != nil {
		t.Fatal(err)
	}
	changed("a ceiling", wire.Float{Balance: 1000_00, Ceiling: 300_00, Epoch: 1})
	// MAC2 is given: reserved before the terminal says what came of it.
	in := c.InitLoad(x.ID, 40_00)
	w.Authorise(x, x.Next(), in)
	changed("a reservation", wire.Float{Balance: 1000_00, Ceiling: 300_00, Reserved: 40_00, Epoch: 1})
	x.Add(journal.Name{}, &in)
	w.Sync(x)
	changed("its entry", wire.Float{Balance: 1000_00, Ceiling: 300_00, Reserved: 40_00, Epoch: 1, Seq: 1})
	// An allowance is taken out of the room of the shop, and is this terminal's.
	if err := w.Service.SetAllowancePolicy(ctx, x.ID, 100_00, 10); err != nil {
		t.Fatal(err)
	}
	a, err := w.Service.IssueAllowance(ctx, x.ID, wire.AllowanceRequest{SAM: x.LoadSAM, Challenge: [8]byte{1}, State: x.State([8]byte{1}, suite.Allowance{})})
	if err != nil || a.Refused != wire.OK {
		t.Fatal(a.Refused, err)
	}
	changed("an allowance", wire.Float{Balance: 1000_00, Ceiling: 300_00, Reserved: 40_00, Allowed: 100_00, Own: 100_00, Epoch: 1, Seq: 1})
	if s := hello(y, wire.SectionVersion{Kind: wire.SectionFloat}); s == nil || s.Float.Own != 0 || s.Float.Allowed != 100_00 || s.Float.Left() != 1160_00 {
		t.Errorf("another terminal of the shop: %+v", s)
	}
	// What goes on elsewhere is no reason to send it; time is, after a while.
	w.Service.BlockCard(ctx, CardNumber(7))
	if s := hello(x, asks); s != nil {
		t.Errorf("sent for nothing: %+v", s)
	}
	at := w.Time
	w.Time = w.Time.Add(10 * time.Minute)
	s = hello(x, asks)
	if s == nil || s.Version <= asks.Version || s.Issued != at.Add(10*time.Minute).UnixMilli() {
		t.Fatalf("after ten minutes: %+v", s)
	}
	asks.Version = s.Version
	w.Open() // it remembers nothing of what it told
	w.Service.BlockCard(ctx, CardNumber(8))
	if s := hello(x, asks); s == nil || s.Version <= asks.Version {
		t.Errorf("after a restart: %+v", s)
	}
	// Who may not sell is told nothing of the shop.
	if err := w.Service.BlockTerminal(ctx, x.ID, true); err != nil {
		t.Fatal(err)
	}
	if s := hello(x, wire.SectionVersion{Kind: wire.SectionFloat}); s != nil {
		t.Errorf("told to a blocked terminal: %+v", s)
	}
}
