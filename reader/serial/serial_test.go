//go:build linux

package serial_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/internal/pty"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/serial"
	"github.com/dianka/dianka/reader/twin"
	"github.com/dianka/dianka/simcard/serialreader"
)

func plugged(t *testing.T, m serialreader.Model) (*serialreader.Twin, string) {
	t.Helper()
	sim := serialreader.NewTwin(m)
	device, err := sim.PTY()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Unplug)
	return sim, device
}

func TestProbe(t *testing.T) {
	v := serial.New(serial.Options{ReaderConf: t.TempDir()})
	defer v.Close()
	for _, c := range []struct {
		sim   serialreader.Model
		model string
		sure  bool
	}{
		{serialreader.GemPCTwin, "GemPCTwin", true},
		{serialreader.GemCorePOSPro, "GemCorePOSPro", true},
		{serialreader.GemCoreSIMPro, "GemCoreSIMPro", true},
		{serialreader.GemCoreSIMPro2, "GemCoreSIMPro2", true},
		{serialreader.Model{Firmware: "something new", Slots: 1, Echo: true}, "GemPCTwin", false},
	} {
		sim, device := plugged(t, c.sim)
		chip := readertest.NewChip(1, false)
		sim.Insert(0, chip)
		sim.Fail(serialreader.Fault{Kind: serialreader.BadLRC, Skip: 5}, serialreader.Fault{Kind: serialreader.NAK, Skip: 8})
		f, err := v.Probe(t.Context(), device)
		if err != nil {
			t.Fatalf("%s: %v", c.sim.Firmware, err)
		}
		if f.Models[0] != c.model || f.Sure != c.sure || f.Firmware != c.sim.Firmware || f.Echo != c.sim.Echo || f.Baud != map[bool]int{false: 115200, true: 9600}[c.sim.Slow] || f.Damaged != 2 {
			t.Errorf("%s: %+v", c.sim.Firmware, f)
		}
		if times, _ := chip.Powered(); times != 0 {
			t.Errorf("%s: the probe gave power to the card", c.sim.Firmware)
		}
		// The line is free again, and what was found opens.
		s, err := v.Slot(f.Address())
		if err != nil {
			t.Fatal(err)
		}
		if e := <-s.Events(t.Context()); e.State != reader.StateCard {
			t.Errorf("%s: %+v", c.sim.Firmware, e)
		}
		s.Close()
	}
}

func TestProbeNothing(t *testing.T) {
	v := serial.New(serial.Options{ReaderConf: t.TempDir()})
	defer v.Close()
	d, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var e *reader.Error
	if _, err := v.Probe(t.Context(), d.Path); !errors.Is(err, twin.ErrNoReader) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("a line on which nothing is: %v", err)
	}
	if _, err := v.Probe(t.Context(), "/dev/does-not-exist"); !errors.Is(err, os.ErrNotExist) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("no line: %v", err)
	}
	l, err := line.OpenSerial(line.Serial{Device: d.Path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := v.Probe(t.Context(), d.Path); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("a line in use: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	other, _ := pty.Open()
	defer other.Close()
	began := time.Now()
	if _, err := v.Probe(ctx, other.Path); err == nil || time.Since(began) > 2*time.Second {
		t.Errorf("cancelled: %v after %v", err, time.Since(began))
	}
}

// TestOwnedByPcscd: a line that pcscd is configured to own is refused with the
// way out, by whatever path it is named, and nothing is sent on it.
func TestOwnedByPcscd(t *testing.T) {
	sim, device := plugged(t, serialreader.GemPCTwin)
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "by-id")
	if err := os.Symlink(device, link); err != nil {
		t.Fatal(err)
	}
	v := serial.New(serial.Options{ReaderConf: dir})
	defer v.Close()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "libccidtwin"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, "folder"), 0o755)
	for name, stanza := range map[string]string{
		"with a model":         "FRIENDLYNAME \"Twin at the till\"\nDEVICENAME " + device + ":GemPCTwin\nLIBPATH x\n",
		"without":              "FRIENDLYNAME \"Twin at the till\"\nDEVICENAME\t" + device + "\n",
		"by another path":      "FRIENDLYNAME \"Twin at the till\"\n  DEVICENAME " + link + ":GemPCTwin\n",
		"after another reader": "FRIENDLYNAME other\nDEVICENAME /dev/ttyS9\n\nFRIENDLYNAME \"Twin at the till\"\nDEVICENAME " + device + "\n",
	} {
		write(stanza)
		_, err := v.Slot(device)
		var e *reader.Error
		if !errors.Is(err, reader.ErrBusy) || !errors.As(err, &e) || !strings.Contains(e.Hint, "pcsc:Twin at the till") || e.Executed {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := v.Probe(t.Context(), device); !errors.Is(err, reader.ErrBusy) {
			t.Errorf("%s: probe: %v", name, err)
		}
	}
	if n := sim.Commands(); n != 0 {
		t.Errorf("%d commands were sent on another's line", n)
	}
	write("# FRIENDLYNAME \"Twin\"\n#DEVICENAME " + device + "\nFRIENDLYNAME other\nDEVICENAME /dev/null:0x8C7B\n")
	s, err := v.Slot(device)
	if err != nil {
		t.Fatalf("a line that is nobody's: %v", err)
	}
	s.Close()
	if _, err := v.Slot("/dev/ttyS0:GemPCTwin:7"); !errors.Is(err, reader.ErrSlotName) {
		t.Errorf("no such slot: %v", err)
	}
}
