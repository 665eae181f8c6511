//go:build cgo && linux

package serialreader_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/pcsc/pcscdtest"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/vpcd/private"
	"github.com/dianka/dianka/simcard/serialreader"
)

func TestMain(m *testing.M) { pcscdtest.Main(m) }

// TestLibccid: the driver that the world uses for readers of this family takes
// the simulated one for real: it starts it, powers cards, negotiates, speaks
// T=0 and T=1 with them, and sees them come and go.
func TestLibccid(t *testing.T) {
	twin := serialreader.NewTwin(serialreader.GemPCTwin)
	device, err := twin.PTY()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(twin.Unplug)
	dir, err := os.MkdirTemp("", "twin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := private.StartSerial(t.Context(), dir, device+":GemPCTwin")
	if errors.Is(err, private.ErrMissing) && os.Getenv(pcscdtest.RequireEnv) != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(p.Log)
			t.Logf("pcscd said:\n%s", log)
		}
	})
	v, err := pcsc.New(pcsc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	s, err := v.Slot(private.TwinReader)
	if err != nil {
		t.Fatal(err)
	}
	events := s.Events(t.Context())
	until := func(want reader.State) reader.Event {
		t.Helper()
		for late := time.After(20 * time.Second); ; {
			select {
			case e := <-events:
				if e.State == want {
					return e
				}
			case <-late:
				t.Fatalf("no event with state %d", want)
			}
		}
	}
	until(reader.StateEmpty)
	for i, c := range cards {
		chip := c.chip(byte(i + 1))
		twin.Insert(0, chip)
		e := until(reader.StateCard)
		want, _ := chip.PowerOn()
		if !bytes.Equal(e.ATR, want) {
			t.Errorf("%s: answer to reset %X, want %X", c.name, e.ATR, want)
		}
		card, err := s.Open(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, n := range []int{1, 20, 250} {
			data := readertest.Pattern(n)
			r, err := apdu.Send(t.Context(), card, apdu.Command{CLA: 0x80, INS: readertest.InsEcho, Data: data, Ne: 256})
			if err != nil || !bytes.Equal(r.Data, data) || !r.SW.OK() {
				t.Fatalf("%s: echo of %d: %X, %v", c.name, n, r.Bytes(), err)
			}
			if r, err = apdu.Send(t.Context(), card, apdu.Command{CLA: 0x80, INS: readertest.InsLong, P2: byte(n), Ne: 256}); err != nil || len(r.Data) != n {
				t.Fatalf("%s: %d bytes: %X, %v", c.name, n, r.Bytes(), err)
			}
		}
		card.Close()
		twin.Remove(0)
		until(reader.StateEmpty)
	}
}
