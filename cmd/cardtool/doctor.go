package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/reader"
)

func newDoctorCommand(t *tool) *cobra.Command {
	var bundle, config string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say in a minute what is wrong between card and computer, and what to do",
		Long: "Looks from the bottom up: the USB bus, the serial ports of readers, the PC/SC\n" +
			"service and the way to it, the programs that use it, each reader, the card in it\n" +
			"and what that is: purse, SAM, blocked, expired, unknown; and then, where a terminal\n" +
			"is set up, what `kioskd doctor` says: disk, file, keys and certificate, journal and\n" +
			"its oldest unsent entry, last sync, clock, printer. One line for each, ok, warning\n" +
			"or problem, and the next step. It presents no PIN, moves nothing and changes\n" +
			"nothing. Exits with 1 when there is a problem.\n\n" +
			"--bundle writes it all, with what the machine and the logs of the services say, to\n" +
			"a zip file for support. PINs, keys and the numbers of cards and accounts are taken\n" +
			"out.",
		Example: "  cardtool doctor --reader sim:card\n" +
			"  cardtool doctor --reader sim:card --bundle support.zip",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := t.machine()
			if full, err := t.choose(cmd.Context()); err == nil && isSim(full) {
				m = t.simMachine(full)
			} else {
				m.Terminal = func(ctx context.Context) ([]checkup.Finding, error) { return terminalFindings(ctx, config) }
			}
			list := checkup.Examine(cmd.Context(), m)
			if t.json {
				if err := t.emit(cmd, list); err != nil {
					return err
				}
			} else {
				checkup.Write(cmd.OutOrStdout(), list)
			}
			if bundle != "" {
				if err := t.writeBundle(cmd.Context(), bundle, list); err != nil {
					return err
				}
				t.remark(cmd, "written to %s; look into it before you send it", bundle)
			}
			if n := checkup.Problems(list); n > 0 {
				return t.silent(fmt.Errorf("problems: %d", n))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&bundle, "bundle", "", "write a redacted archive for support to this file, which must not be there yet")
	cmd.Flags().StringVar(&config, "config", kioskdConfig, "the configuration of the terminal's daemon")
	return cmd
}

// kioskdConfig is where the package's unit has the daemon's configuration.
const kioskdConfig = "/etc/dianka/kioskd.yaml"

// terminalFindings are what is to be said of the terminal: by kioskd's doctor,
// or by the terminal that runs where that doctor can't be had or this user may
// not read its configuration.
func terminalFindings(ctx context.Context, config string) ([]checkup.Finding, error) {
	list, err := terminalDoctor(ctx, config)
	if len(list) > 0 {
		return list, err
	}
	c, derr := local.Dial(ctx, stateDir())
	if derr != nil {
		return nil, err
	}
	s, derr := c.State(ctx)
	if derr != nil {
		return nil, err
	}
	return s.Findings(time.Now()), nil
}

// terminalDoctor has kioskd look at the terminal: it knows its file and its
// daemon, and a second program that opens the file would be one too many. It
// gives nothing where no terminal is set up.
func terminalDoctor(ctx context.Context, config string) ([]checkup.Finding, error) {
	if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) && config == kioskdConfig {
		return nil, nil
	}
	path, err := exec.LookPath("kioskd")
	if err != nil {
		self, _ := os.Executable()
		if path, err = exec.LookPath(filepath.Join(filepath.Dir(self), "kioskd")); err != nil {
			return nil, fmt.Errorf("%s is there, but no program kioskd", config)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a large file is read whole
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, path, "doctor", "--json", "--config", config)
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	var list []checkup.Finding
	if json.Unmarshal(out.Bytes(), &list) == nil && len(list) > 0 { // with problems it exits with 1, and has said them
		return list, nil
	}
	if text := strings.TrimSpace(errs.String()); text != "" {
		return nil, errors.New(text)
	}
	return nil, err
}

// machine is this one.
func (t *tool) machine() checkup.Machine {
	m := hostMachine()
	m.Readers, m.Profiles = t.names, t.profiles()
	m.State = t.state
	m.Open = func(ctx context.Context, name string) (checkup.Card, error) {
		slot, err := t.pcscSlot(strings.TrimPrefix(name, "pcsc:"))
		if err != nil {
			return nil, err
		}
		return t.openIn(ctx, slot)
	}
	m.Identity = func(ctx context.Context, name string) (profiles.ReaderID, string) {
		id, version := profiles.ReaderID{Name: name}, ""
		s, err := t.pcscService()
		if err != nil {
			return id, version
		}
		i, err := s.Info(ctx, strings.TrimPrefix(name, "pcsc:"))
		if err != nil {
			return id, version
		}
		for _, a := range i.Attributes {
			switch a.Name {
			case "driver version":
				version = a.Text()
			case "channel":
				id.USB = usbID("/sys/bus/usb/devices", a.Text())
			}
		}
		return id, version
	}
	m.Programs = func() []string {
		var names []string
		for _, p := range pcscPrograms() {
			names = append(names, p.Name)
		}
		return names
	}
	return m
}

// simMachine is one with a simulated reader only.
func (t *tool) simMachine(full string) checkup.Machine {
	var slot reader.Slot
	return checkup.Machine{
		Profiles: t.profiles(),
		Readers: func(ctx context.Context) (_ []string, err error) {
			slot, err = t.slot(ctx)
			return []string{full}, err
		},
		State: func(ctx context.Context, _ string) reader.Event {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return <-slot.Events(ctx)
		},
		Open: func(ctx context.Context, _ string) (checkup.Card, error) { return t.openIn(ctx, slot) },
	}
}

// openIn opens the card in a slot, 61xx and 6Cxx dealt with.
func (t *tool) openIn(ctx context.Context, slot reader.Slot) (checkup.Card, error) {
	l := &line{slot: slot}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	return whole{l}, nil
}

// whole is a line that hides T=0.
type whole struct{ *line }

// Transmit sends a command in the form of T=1.
func (w whole) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return w.whole().Transmit(ctx, command)
}

// Protocol is the protocol in use.
func (w whole) Protocol() reader.Protocol { return w.card.Protocol() }

// Close gives the card back.
func (w whole) Close() error { return w.card.Close() }
