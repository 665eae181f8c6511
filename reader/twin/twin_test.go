//go:build linux

package twin_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/twin"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard/serialreader"
)

// cable is a simulated reader on a line whose path stays when it is plugged in
// again, as those of /dev/serial/by-id do.
type cable struct {
	t    testing.TB
	sim  *serialreader.Twin
	path string
}

func newCable(t testing.TB, m serialreader.Model) *cable {
	t.Helper()
	dir, err := os.MkdirTemp("", "twin") // a colon in the test's name would be one in the address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &cable{t, serialreader.NewTwin(m), filepath.Join(dir, "line")}
	c.plug()
	t.Cleanup(c.sim.Unplug)
	return c
}

func (c *cable) plug() {
	c.t.Helper()
	device, err := c.sim.PTY()
	if err != nil {
		c.t.Fatal(err)
	}
	os.Remove(c.path)
	if err := os.Symlink(device, c.path); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cable) slot(o twin.Options, rest string) reader.Slot {
	c.t.Helper()
	v := twin.New(o)
	s, err := v.Slot("serial:"+c.path+rest, c.path+rest)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { v.Close() })
	return s
}

func TestConformance(t *testing.T) {
	for name, m := range map[string]serialreader.Model{"": serialreader.GemPCTwin, ":GemCorePOSPro:3": serialreader.GemCorePOSPro} {
		n := 0
		if m.Slots > 1 {
			n = 2
		}
		t.Run(m.Firmware, func(t *testing.T) {
			readertest.Run(t, func(t *testing.T) readertest.Bench {
				c := newCable(t, m)
				const deadline = 1500 * time.Millisecond
				s := c.slot(twin.Options{Deadline: deadline, Poll: 50 * time.Millisecond}, name)
				return readertest.Bench{
					Slot:     s,
					Insert:   func(chip virtual.Chip) { c.sim.Insert(n, chip) },
					Remove:   func() { c.sim.Remove(n) },
					Swap:     func(chip virtual.Chip) { c.sim.Insert(n, chip) },
					Lose:     c.sim.Unplug,
					Restore:  func() { c.sim.Remove(n); c.plug() },
					Deadline: deadline,
				}
			})
		})
	}
}

// speaking is a chip with an answer to reset of its own.
type speaking struct {
	*readertest.Chip
	atr []byte
}

func (s *speaking) PowerOn() ([]byte, error) {
	if _, err := s.Chip.PowerOn(); err != nil {
		return nil, err
	}
	return s.atr, nil
}

// TestCards: cards of many kinds are made ready, and answer at the speed and
// in the protocol that was agreed with them; the simulated reader lets none
// answer that is spoken to otherwise.
func TestCards(t *testing.T) {
	checked := func(atr ...byte) []byte {
		x := byte(0)
		for _, v := range atr[1:] {
			x ^= v
		}
		return append(atr, x)
	}
	for _, c := range []struct {
		name string
		atr  []byte
		t    reader.Protocol
		set  func(*serialreader.Twin)
	}{
		{"T=0, as it wakes up", []byte{0x3B, 0x01, 1}, reader.T0, nil},
		{"T=0, four times as fast", []byte{0x3B, 0x11, 0x18, 1}, reader.T0, nil},
		{"T=0, faster than the reader", []byte{0x3B, 0x11, 0x97, 1}, reader.T0, nil},
		{"T=0, with a reserved speed", []byte{0x3B, 0x11, 0x1F, 1}, reader.T0, nil},
		{"T=0, but it does not answer to the choice of its speed", []byte{0x3B, 0x11, 0x18, 1}, reader.T0, func(s *serialreader.Twin) { s.DeafToPPS = true }},
		{"T=0, inverse convention", []byte{0x3F, 0x01, 1}, reader.T0, nil},
		{"T=0, specific mode, faster", []byte{0x3B, 0x91, 0x18, 0x10, 0x00, 1}, reader.T0, nil},
		{"T=1, long blocks, fast", checked(0x3B, 0x91, 0x18, 0x81, 0x31, 0xFE, 0x45, 1), reader.T1, nil},
		{"T=1 with CRC", checked(0x3B, 0x81, 0x81, 0x41, 0x01, 1), reader.T1, nil},
		{"T=1, specific mode", checked(0x3B, 0x91, 0x18, 0x91, 0x11, 0x31, 0xFE, 0x45, 1), reader.T1, nil},
		{"at 3 V only", []byte{0x3B, 0x01, 1}, reader.T0, func(s *serialreader.Twin) { s.OnlyAt = 2 }},
		{"at 1.8 V only", checked(0x3B, 0x81, 0x01, 1), reader.T1, func(s *serialreader.Twin) { s.OnlyAt = 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := newCable(t, serialreader.GemPCTwin)
			if c.set != nil {
				c.set(line.sim)
			}
			s := line.slot(twin.Options{Poll: 50 * time.Millisecond}, "")
			events := s.Events(t.Context())
			chip := &speaking{readertest.NewChip(1, c.t == reader.T0), c.atr}
			line.sim.Insert(0, chip)
			e := until(t, events, reader.StateCard)
			if !bytes.Equal(e.ATR, c.atr) {
				t.Errorf("answer to reset %X", e.ATR)
			}
			card, err := s.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if card.Protocol() != c.t {
				t.Errorf("protocol %d", card.Protocol())
			}
			for range 3 {
				if err := sends(t, card); err != nil {
					t.Fatal(err)
				}
			}
			r, err := apdu.Send(t.Context(), card, apdu.Command{CLA: 0x80, INS: readertest.InsLong, P2: 250, Ne: 256})
			if err != nil || len(r.Data) != 250 {
				t.Errorf("%d bytes, %v", len(r.Data), err)
			}
		})
	}
	t.Run("at no voltage", func(t *testing.T) {
		line := newCable(t, serialreader.GemPCTwin)
		line.sim.OnlyAt = 9
		s := line.slot(twin.Options{Poll: 50 * time.Millisecond}, "")
		events := s.Events(t.Context())
		line.sim.Insert(0, readertest.NewChip(1, true))
		if e := until(t, events, reader.StateMute); e.Cause == nil {
			t.Error("mute without a cause")
		}
		if _, err := s.Open(t.Context()); !errors.Is(err, reader.ErrMute) || apdu.MayHaveExecuted(err) {
			t.Errorf("%v", err)
		}
	})
}

// TestRaw: bytes as they are, but that a TPDU of T=0 has always a P3, and that
// what T=0 cannot carry is not sent.
func TestRaw(t *testing.T) {
	line := newCable(t, serialreader.GemPCTwin)
	s := line.slot(twin.Options{Raw: true, Poll: 50 * time.Millisecond}, "")
	events := s.Events(t.Context())
	chip := readertest.NewChip(9, true)
	line.sim.Insert(0, chip)
	until(t, events, reader.StateCard)
	card, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ command, want []byte }{
		{[]byte{0x80, readertest.InsEcho, 0, 0, 1, 0xAB}, []byte{0x61, 0x01}},
		{[]byte{0x80, 0xC0, 0, 0, 1}, []byte{0xAB, 0x90, 0x00}},
		{[]byte{0x80, readertest.InsWho, 0, 0, 0}, []byte{0x6C, 0x01}},
		{[]byte{0x80, 0x02, 0, 0}, []byte{0x6D, 0x00}},
	} {
		if r, err := card.Transmit(t.Context(), c.command); err != nil || !bytes.Equal(r, c.want) {
			t.Errorf("%X: got %X, %v; want %X", c.command, r, err, c.want)
		}
	}
	n := line.sim.Commands()
	if _, err := card.Transmit(t.Context(), make([]byte, 300)); !errors.Is(err, apdu.ErrExtendedT0) || apdu.MayHaveExecuted(err) {
		t.Errorf("longer than T=0 takes: %v", err)
	}
	if now := line.sim.Commands(); now > n+1 { // but for asking what is in
		t.Errorf("%d commands were sent", now-n)
	}
}

// TestSlotsOfOneReader: two cards in one reader do not hinder each other, and
// one slot's end takes its own card's power only.
func TestSlotsOfOneReader(t *testing.T) {
	line := newCable(t, serialreader.GemCoreSIMPro)
	v := twin.New(twin.Options{Poll: 50 * time.Millisecond})
	defer v.Close()
	var slots [2]reader.Slot
	var cards [2]reader.Card
	var chips [2]*readertest.Chip
	for i, rest := range []string{":GemCoreSIMPro", ":GemCoreSIMPro:2"} {
		var err error
		if slots[i], err = v.Slot("serial:"+rest, line.path+rest); err != nil {
			t.Fatal(err)
		}
		chips[i] = readertest.NewChip(byte(i), i == 0)
		events := slots[i].Events(t.Context())
		line.sim.Insert(i, chips[i])
		until(t, events, reader.StateCard)
		if cards[i], err = slots[i].Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		for i, c := range cards {
			r, err := apdu.Send(t.Context(), c, apdu.Command{CLA: 0x80, INS: readertest.InsWho, Ne: 256})
			if err != nil || len(r.Data) != 1 || r.Data[0] != byte(i) {
				t.Fatalf("slot %d: %X, %v", i, r.Bytes(), err)
			}
		}
	}
	if _, err := v.Slot("again", line.path+":GemCoreSIMPro:2"); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("a slot opened twice: %v", err)
	}
	if _, err := v.Slot("other", line.path); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("a line as another model: %v", err)
	}
	slots[1].Close()
	for late := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) { // a chip announces nothing
		if _, on := chips[1].Powered(); !on {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the card of a closed slot keeps its power")
		}
	}
	if err := sends(t, cards[0]); err != nil {
		t.Errorf("the other slot: %v", err)
	}
}
