package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/serial"
	"github.com/dianka/dianka/store"
)

// sim is the desk of --sim.
type sim struct {
	on     bool
	reader string
	state  string
	listen string
	level  slog.Level
}

func (s *sim) flags(f *pflag.FlagSet) {
	f.BoolVar(&s.on, "sim", false, "the whole system on one desk, with simulated cards and test keys")
	f.StringVar(&s.reader, "reader", "sim", "of --sim: sim; pcsc for the real reader, or a virtual one when there is none; pcsc:<name> for one of several; serial:<device> for one on a serial line")
	f.StringVar(&s.state, "state", ".state", "of --sim: folder of all state; the next start goes on from it")
	f.StringVar(&s.listen, "listen", "127.0.0.1:8095", "of --sim: loopback address of the screens")
	f.TextVar(&s.level, "log-level", slog.LevelError, "of --sim: DEBUG, INFO, WARN or ERROR")
}

// person is somebody of the sample shop, whose PIN everybody may know. Its
// hash is made beforehand, since a hash is slow by intent.
type person struct {
	kiosk.Staff
	pin string
}

func people() []person {
	return []person{
		{kiosk.Staff{ID: 1, Name: "小陈 Chen", PINHash: "$argon2id$v=19$m=19456,t=2,p=1$cV9E68XjjzaGyrM1D4/ezw$ZcpzhXNKnCDWxoux5bsq3kTpN9Nk4ksvNzk+OnWKiqc", Rights: []string{kiosk.RightSell, kiosk.RightTopUp, kiosk.RightRedeem, kiosk.RightVoid, kiosk.RightReprint, kiosk.RightReplace, kiosk.RightSettle}}, "1234"},
		{kiosk.Staff{ID: 2, Name: "店长王 Wang", PINHash: "$argon2id$v=19$m=19456,t=2,p=1$bdkVkkSS4tSRoceBrRf0eQ$tp2gvRTzX3BMowirqVVzHWqhN4gBvpBIzGitq1IAF+E", Rights: kiosk.Rights}, "2468"},
	}
}

func (s *sim) run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if s.reader != "sim" && s.reader != "pcsc" && !strings.HasPrefix(s.reader, "pcsc:") && !strings.HasPrefix(s.reader, "serial:") {
		return fmt.Errorf("%w: --reader is sim, pcsc, pcsc:<name> or serial:<device>, not %q", cli.ErrUsage, s.reader)
	}
	lock, err := filelock.Acquire(filepath.Join(s.state, "utility")) // as utilityd does, whose tools may look at a desk's utility
	if err != nil {
		return s.explain(err)
	}
	defer lock.Close()
	held, err := station.Hold(filepath.Join(s.state, "terminal"))
	if err != nil {
		return s.explain(err)
	}
	defer held.Close()
	line, err := kiosk.Listen(s.listen, false)
	if err != nil {
		return fmt.Errorf("%w; give another address with --listen", err)
	}
	defer line.Close()

	o := desk.Options{
		Dir: s.state, Check: station.Self(), Software: "kioskd " + version,
		Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: s.level})),
	}
	readers, free, err := s.chooseReaders(ctx, &o)
	if err != nil {
		return err
	}
	defer free()
	d, err := desk.Open(context.WithoutCancel(ctx), o) // it outlives the signal, so that what is under way ends in order
	if err != nil {
		return s.explain(err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()

	crew := people()
	var staff []kiosk.Staff
	for _, p := range crew {
		staff = append(staff, p.Staff)
	}
	screens, err := kiosk.New(kiosk.Config{
		Terminal: d.Station.Terminal, Link: d.Station, Desk: d, Printer: d.Printer(), Slips: kiosk.Slips{Issuer: "申城供电公司"}, Staff: staff, Shop: "幸福路便利店", Clock: d.Clock, Log: o.Log,
	})
	if err != nil {
		return err
	}

	tools := answerTools(filepath.Join(s.state, "terminal"), d.Station, screens.Service(), o.Log)
	s.welcome(cmd, line.Addr(), readers, crew)
	defer fmt.Fprintln(cmd.OutOrStdout(), "stopped")
	return runScreens(ctx, screens, line, tools, d.Run)
}

func (s *sim) welcome(cmd *cobra.Command, at net.Addr, readers string, crew []person) {
	p := func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) }
	p("Dianka (电卡) on one desk. Open this page:\n")
	p("    http://%s/\n", at)
	for _, w := range crew {
		p("log in   staff number %s, PIN %s  (%s)", w.ID, w.pin, w.Name)
	}
	p("readers  %s", readers)
	p("state    %s; the next start goes on from it, delete the folder to start anew", s.state)
	p("stop     Ctrl-C")
}

// explain says what to do about an error of opening.
func (s *sim) explain(err error) error {
	if errors.Is(err, filelock.ErrHeld) || errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("the state folder %s is %w: stop the kioskd that runs on it with Ctrl-C, or give this one a folder of its own with --state and an address of its own with --listen", s.state, cli.ErrInUse)
	}
	if errors.Is(err, station.ErrDamaged) {
		return fmt.Errorf("%w; %w. Of a desk, `kioskd recover --state %s` shows the way; deleting the folder starts anew", err, cli.ErrDamaged, s.state)
	}
	return err
}

// chooseReaders says which readers the desk gets and why, and gives a
// function that cleans up after them.
func (s *sim) chooseReaders(ctx context.Context, o *desk.Options) (what string, free func(), err error) {
	if s.reader == "sim" {
		return "simulated, in this program; cards are put in on the page", func() {}, nil
	}
	if rest, ok := strings.CutPrefix(s.reader, "serial:"); ok {
		lines := serial.New(serial.Options{Log: o.Log})
		if o.Card, err = lines.Slot(rest); err != nil {
			return "", nil, errors.Join(err, lines.Close())
		}
		return o.Card.Name() + ", as --reader says; put test cards in by hand. The SAM is simulated", func() { lines.Close() }, nil
	}
	name, why, err := s.realReader(ctx)
	if err != nil {
		return "", nil, err
	}
	if name == "" {
		o.PCSC = true
		o.PCSCDir, err = os.MkdirTemp("", "dianka-") // short, since a socket's path may not be long
		return "virtual, behind a PC/SC service of our own, since " + why + "; cards are put in on the page", func() { os.RemoveAll(o.PCSCDir) }, err
	}
	service, err := pcsc.New(pcsc.Options{})
	if err != nil {
		return "", nil, err
	}
	if o.Card, err = service.Slot(name); err != nil {
		return "", nil, errors.Join(err, service.Close())
	}
	return o.Card.Name() + ", " + why + "; put test cards in by hand. The SAM is simulated", func() { service.Close() }, nil
}

// realReader finds the reader for the customer's card, "" when there is none,
// and says why. It asks another run of this program, since the client library
// of PC/SC can be told only once per process which service is meant.
func (s *sim) realReader(ctx context.Context) (name, why string, err error) {
	if rest, named := strings.CutPrefix(s.reader, "pcsc:"); named {
		return rest, "as --reader says", nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	out, err := exec.CommandContext(ctx, self, "readers").Output()
	if err != nil {
		return "", "no PC/SC service with a reader runs", nil
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		// vsmartcard's readers are there wherever it is installed.
		if n := strings.TrimPrefix(strings.TrimSpace(line), "pcsc:"); n != "" && !strings.HasPrefix(n, "Virtual PCD") {
			list = append(list, n)
		}
	}
	switch len(list) {
	case 0:
		return "", "there is no real reader", nil
	case 1:
		return list[0], "the only real reader", nil
	}
	return "", "", fmt.Errorf("there are several readers; say which with --reader \"pcsc:%s\": %q", list[0], list)
}
