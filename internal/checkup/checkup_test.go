package checkup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/simcard/odd"
)

// good is a machine on which nothing is wrong, with these chips in its readers.
func good(t *testing.T, chips ...virtual.Chip) Machine {
	t.Helper()
	slots := map[string]*virtual.Slot{}
	var names []string
	for i, c := range chips {
		n := fmt.Sprintf("sim:%d", i+1)
		s := virtual.New(n)
		t.Cleanup(func() { s.Close() })
		if c != nil {
			s.Insert(c)
		}
		slots[n], names = s, append(names, n)
	}
	return Machine{
		USB: func() []string { return []string{"Gemalto PC Twin Reader"} },
		Daemon: func(context.Context) Daemon {
			return Daemon{Known: true, Installed: true, Version: "1.9.9", Process: 77}
		},
		Socket:   func() (string, error) { return "/run/pcscd/pcscd.comm", nil },
		Programs: func() []string { return nil },
		Readers:  func(context.Context) ([]string, error) { return names, nil },
		State: func(ctx context.Context, n string) reader.Event {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return <-slots[n].Events(ctx)
		},
		Open: func(ctx context.Context, n string) (Card, error) { return slots[n].Open(ctx) },
		Now:  func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
	}
}

func personalised(t *testing.T, r simcard.Recipe) *simcard.Card {
	t.Helper()
	c := simcard.New(simcard.Options{})
	if err := simcard.Personalise(c, r); err != nil {
		t.Fatal(err)
	}
	return c
}

var number = money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17}

func purseChip(t *testing.T) virtual.Chip { return personalised(t, simcard.TestCard(number)) }

func samRecipe() simcard.SAMRecipe {
	return simcard.TestSAM(money.SAMID{0, 0, 0, 0, 0x31, 1, 0, 0, 0, 1}, money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34})
}

// blocked answers 6A81 to SELECT by name, as a card with a blocked purse does.
type blocked struct{ odd.Refuser }

// mute does not answer to reset.
type mute struct{ odd.Refuser }

func (mute) PowerOn() ([]byte, error) { return nil, errors.New("mute") }

// pulled leaves in the middle of the first command.
type pulled struct{ odd.Refuser }

func (*pulled) Transmit([]byte) ([]byte, error) { return nil, virtual.ErrGone }

// TestBrokenSetups holds the diagnosis of each broken set-up: exactly one
// problem or warning, at the right place, with a next step.
func TestBrokenSetups(t *testing.T) {
	lost := func(kind, cause error, hint string) error {
		return &reader.Error{Slot: "pcsc:", Op: "open", Kind: kind, Cause: cause, Hint: hint}
	}
	for _, c := range []struct {
		name  string
		chips []virtual.Chip
		spoil func(*Machine)
		check string
		state string
		says  string
		next  string
	}{
		{"pcscd not installed", nil, func(m *Machine) { m.Daemon = func(context.Context) Daemon { return Daemon{Known: true} } }, "pcscd", Problem, "not installed", "apt install pcscd"},
		{"pcscd does not run", nil, func(m *Machine) {
			m.Daemon = func(context.Context) Daemon { return Daemon{Known: true, Installed: true} }
			m.Socket = func() (string, error) { return "/run/pcscd/pcscd.comm", fs.ErrNotExist }
		}, "pcscd", Problem, "does not run", "pcscd.socket"},
		{"socket lost", nil, func(m *Machine) { m.Socket = func() (string, error) { return "/x", fs.ErrNotExist } }, "pcscd", Problem, "without its socket", "restart"},
		{"socket forbidden", nil, func(m *Machine) { m.Socket = func() (string, error) { return "/x", syscall.EACCES } }, "pcscd", Problem, "no permission", "user of the terminal"},
		{"socket left behind", nil, func(m *Machine) {
			m.Daemon = func(context.Context) Daemon { return Daemon{Known: true, Installed: true} }
			m.Socket = func() (string, error) { return "/x", syscall.ECONNREFUSED }
		}, "pcscd", Problem, "left its socket /x behind", "restart"},
		{"polkit refuses", nil, func(m *Machine) {
			m.Readers = func(context.Context) ([]string, error) {
				return nil, lost(reader.ErrLost, errors.New("access denied"), "install the polkit rule")
			}
		}, "service", Problem, "access denied", "polkit"},
		{"hangs", nil, func(m *Machine) {
			m.Readers = func(context.Context) ([]string, error) { return nil, errors.New("does not answer") }
		}, "service", Problem, "does not answer", "restart pcscd"},
		{"built without PC/SC", nil, func(m *Machine) {
			m.Readers = func(context.Context) ([]string, error) { return nil, lost(reader.ErrKind, nil, "") }
		}, "service", Problem, "unknown kind", "cgo"},
		{"serial port missing", []virtual.Chip{nil}, func(m *Machine) {
			m.Serial = func() []SerialPort { return []SerialPort{{Path: "/dev/ttyS9", Reader: "Twin", Missing: true}} }
		}, "serial port", Problem, "/dev/ttyS9 of the reader Twin is not there", "by-id"},
		{"serial port held", []virtual.Chip{nil}, func(m *Machine) {
			m.Serial = func() []SerialPort {
				return []SerialPort{{Path: "/dev/ttyS0", Reader: "Twin", Holders: []string{"minicom", "pcscd"}}}
			}
		}, "serial port", Problem, "is held by minicom", "stop that program"},
		{"serial port free", []virtual.Chip{nil}, func(m *Machine) {
			m.Serial = func() []SerialPort { return []SerialPort{{Path: "/dev/ttyS0", Reader: "Twin"}} }
		}, "serial port", Warning, "pcscd has not opened it", "journalctl"},
		{"terminal with a problem", []virtual.Chip{nil}, func(m *Machine) {
			m.Terminal = func(context.Context) ([]Finding, error) {
				return []Finding{{"keys", Problem, "lost", "call"}, {"room", OK, "much", ""}}, nil
			}
		}, "keys", Problem, "lost", "call"},
		{"terminal that cannot be looked at", []virtual.Chip{nil}, func(m *Machine) {
			m.Terminal = func(context.Context) ([]Finding, error) { return nil, errors.New("no program kioskd") }
		}, "terminal", Problem, "no program kioskd", "kioskd doctor"},
		{"service down and terminal with a problem", nil, func(m *Machine) {
			m.Socket = func() (string, error) { return "/x", fs.ErrNotExist }
			m.Daemon = nil
			m.Terminal = func(context.Context) ([]Finding, error) { return []Finding{{"keys", OK, "", ""}}, nil }
		}, "pcscd", Problem, "does not run", "pcscd.socket"},
		{"reader not plugged in", nil, func(m *Machine) { m.USB = func() []string { return nil } }, "readers", Problem, "neither the USB bus", "plug the reader in"},
		{"no driver", nil, nil, "readers", Problem, "no driver takes it", "libccid"},
		{"scdaemon", []virtual.Chip{nil}, func(m *Machine) { m.Programs = func() []string { return []string{"kioskd", "scdaemon"} } }, "programs", Warning, "scdaemon", "gpgconf"},
		{"mute card", []virtual.Chip{&mute{}}, nil, "reader 1", Problem, "does not answer", "clean"},
		{"reader lost", []virtual.Chip{nil}, func(m *Machine) {
			m.State = func(context.Context, string) reader.Event {
				return reader.Event{State: reader.StateLost, Cause: errors.New("unplugged")}
			}
		}, "reader 1", Problem, "is gone: unplugged", "cable"},
		{"card held", []virtual.Chip{purseChip(t)}, func(m *Machine) {
			m.Open = func(context.Context, string) (Card, error) { return nil, lost(reader.ErrBusy, nil, "") }
		}, "reader 1", Warning, "held by another program", "cardtool reader info"},
		{"card pulled", []virtual.Chip{&pulled{}}, nil, "card 1", Problem, "stopped answering", "clean"},
		{"purse blocked", []virtual.Chip{&blocked{odd.Refuser{SW: 0x6A81}}}, nil, "card 1", Problem, "blocked", "ask the utility"},
		{"no card of ours", []virtual.Chip{odd.NewTree()}, nil, "card 1", Warning, "neither a purse card nor a SAM", "card dump"},
		{"public file empty", []virtual.Chip{&odd.Refuser{SW: 0x9000}}, nil, "card 1", Problem, "cannot be read", "card dump"},
		{"card expired", []virtual.Chip{purseChip(t)}, func(m *Machine) { m.Now = func() time.Time { return time.Date(2061, 1, 1, 0, 0, 0, 0, time.UTC) } }, "card 1", Problem, "not today", "date"},
		{"SAM expired", []virtual.Chip{personalised(t, samRecipe())}, func(m *Machine) { m.Now = func() time.Time { return time.Date(2061, 1, 1, 0, 0, 0, 0, time.UTC) } }, "card 1", Problem, "not today", "head office"},
	} {
		m := good(t, c.chips...)
		if c.spoil != nil {
			c.spoil(&m)
		}
		var bad []Finding
		for _, f := range Examine(t.Context(), m) {
			if f.State != OK && f.Check != "usb" {
				bad = append(bad, f)
			}
		}
		if len(bad) != 1 || bad[0].Check != c.check || bad[0].State != c.state || !strings.Contains(bad[0].Says, c.says) || !strings.Contains(bad[0].Next, c.next) {
			t.Errorf("%s: %+v", c.name, bad)
		}
	}
}

func TestNothingWrong(t *testing.T) {
	list := Examine(t.Context(), good(t, personalised(t, samRecipe()), nil, purseChip(t)))
	for i, want := range []string{"usb", "pcscd", "service", "reader 1", "card 1", "profile 1", "reader 2", "profile 2", "reader 3", "card 3", "profile 3"} {
		if i >= len(list) || list[i].Check != want || list[i].State == Problem {
			t.Fatalf("%+v", list)
		}
	}
	if !strings.Contains(list[4].Says, "of terminal 310100001234, key index 01") || !strings.Contains(list[9].Says, "00003310088800000017, profile dianka-ep") {
		t.Errorf("%+v", list)
	}
}

// Each reader is known by a profile, most surely by its firmware; one that is
// lost is not asked.
func TestReaderProfiles(t *testing.T) {
	m := good(t, nil, nil)
	m.Identity = func(_ context.Context, name string) (profiles.ReaderID, string) {
		if name == "sim:1" {
			return profiles.ReaderID{Name: "GemPC Twin 00 00", Firmware: "GemTwRC2-V2.10"}, "1.2.3"
		}
		return profiles.ReaderID{Name: name, USB: "08e6:3478"}, "1.2.3"
	}
	got := ""
	for _, f := range Examine(t.Context(), m) {
		if strings.HasPrefix(f.Check, "profile") {
			got += f.State + " " + f.Says + "\n"
		}
	}
	if got != "ok of reader 1: gempc-twin, by its firmware; firmware GemTwRC2-V2.10\nok of reader 2: gempc-pinpad, by its usb; version 1.2.3\n" {
		t.Error(got)
	}
	m.Profiles = &profiles.Set{}
	for _, f := range Examine(t.Context(), m) {
		if strings.HasPrefix(f.Check, "profile") && (f.State != Warning || f.Next == "") {
			t.Errorf("without a profile: %+v", f)
		}
	}
	m.State = func(context.Context, string) reader.Event { return reader.Event{State: reader.StateLost} }
	m.Identity = func(context.Context, string) (profiles.ReaderID, string) {
		t.Error("a reader that is lost was asked")
		return profiles.ReaderID{}, ""
	}
	Examine(t.Context(), m)
}
