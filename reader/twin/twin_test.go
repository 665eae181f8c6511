//go:build linux

package twin_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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
