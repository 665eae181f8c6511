package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/fscheck"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/serial"
	"github.com/dianka/dianka/store"
)

func newServeCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Be the terminal of a shop",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd, path) },
	}
	configFlag(cmd, &path)
	return cmd
}

func serve(cmd *cobra.Command, path string) (err error) {
	c, err := loadConfig(path)
	if err != nil {
		return err
	}
	log, err := c.Log.New(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if c.TestKeys {
		log.Warn("test_keys is set: only test cards are served, which anybody can make")
	}
	if err := c.checkFilesystem(log, fscheck.Dir); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	line, err := kiosk.Listen(c.Screens.Listen, c.Screens.Remote)
	if err != nil {
		return fmt.Errorf("%w: screens.listen: %w", config.ErrFile, err)
	}
	defer line.Close()
	sc, free, err := c.station(log)
	if err != nil {
		return err
	}
	defer free()
	if station.Enrolled(c.State) {
		held, err := station.Hold(c.State)
		if errors.Is(err, store.ErrInUse) {
			return fmt.Errorf("%s is %w: stop the kioskd that runs on it", c.State, cli.ErrInUse)
		}
		if err != nil {
			return err
		}
		defer held.Close()
	}
	st, err := station.Open(sc)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("the terminal's file in %s is %w: stop the kioskd that runs on it", c.State, cli.ErrInUse)
	}
	if errors.Is(err, station.ErrDamaged) {
		log.Error("the terminal's file cannot be used", "err", err)
		return fmt.Errorf("%w; %w", err, cli.ErrDamaged)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	slips, err := c.slips()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, config.ErrFile, err)
	}
	kc := kiosk.Config{
		Terminal: st.Terminal, Link: st, Staff: c.staff(), Shop: c.Shop, Hosts: c.Screens.Hosts, Slips: slips, Log: log,
		Mode: kiosk.Mode(c.Screens.Mode), Prompts: c.Screens.Prompts,
	}
	p, err := c.printer(log)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if p != nil { // it outlives the screens, so that the last slip comes out
		kc.Printer = p
		life, end := context.WithCancel(context.WithoutCancel(cmd.Context()))
		ended := make(chan struct{})
		go func() { p.Run(life); close(ended) }()
		defer func() { end(); <-ended }()
	}
	screens, err := kiosk.New(kc)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, config.ErrFile, err)
	}
	tools := answerTools(c.socket(), st, screens.Service(), log)
	log.Info("the terminal serves", "terminal", st.Store.Identity().Terminal, "screens", "http://"+line.Addr().String()+"/", "version", version)
	return runScreens(cmd.Context(), screens, line, tools, st.Run)
}

// checkFilesystem refuses to serve where the terminal's file would not be
// safe, unless the configuration gives a reason, which is logged. A bench with
// test keys has no money and may lie anywhere.
func (c Config) checkFilesystem(log *slog.Logger, look func(string) (fscheck.Verdict, error)) error {
	if _, err := os.Stat(c.State); err != nil {
		return nil // not enrolled: what follows says so
	}
	v, err := look(c.State)
	switch {
	case err != nil:
		log.Warn("the filesystem of the state folder could not be looked at", "state", c.State, "err", err)
	case v.State == fscheck.OK:
	case v.State == fscheck.Unsafe && c.UnsafeFilesystem == "" && !c.TestKeys:
		return fmt.Errorf("%w: state: %s lies on %s (%s): %s. Nothing was opened or written. Move it to ext4 or xfs on a disk of this machine, or give a reason in unsafe_filesystem", config.ErrFile, c.State, v.Type, v.Mount, v.Says)
	default:
		log.Warn("the filesystem of the state folder may lose records", "type", v.Type, "mount", v.Mount, "says", v.Says, "accepted_because", c.UnsafeFilesystem)
	}
	return nil
}

// runScreens serves until ctx ends or the terminal does. Screens and tools end
// before the terminal, so that what is under way is finished and told.
func runScreens(ctx context.Context, screens *kiosk.Server, line net.Listener, tools func(), terminal func(context.Context) error) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	serve, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- terminal(life); stop() }()
	err := screens.Serve(serve, line)
	tools()
	end()
	return errors.Join(err, <-done)
}

// station opens the readers. The function gives them back.
func (c Config) station(log *slog.Logger) (station.Config, func(), error) {
	lines := serial.New(serial.Options{Log: log})
	free := func() { lines.Close() }
	slots := reader.Backends{"serial": lines.Slot}
	service, err := pcsc.New(pcsc.Options{Wait: true})
	if err != nil { // not built in, which a terminal with serial readers does without
		none := err
		slots["pcsc"] = func(string) (reader.Slot, error) { return nil, none }
	} else {
		slots["pcsc"] = service.Slot
		free = func() { lines.Close(); service.Close() }
	}
	sc := station.Config{
		Dir: c.State, Copy: c.Copy, Utility: c.Utility, TestKeys: c.TestKeys, Software: "kioskd " + version, Log: log, Check: station.Self(),
		Profiles: profiles.Watch(c.Profiles),
	}
	if err := sc.Profiles.Err(); err != nil {
		log.Error("the folder of profiles is broken; only those that are built in are in force", "err", err)
	}
	open := map[string]reader.Slot{} // by name: the load SAM may be in the PSAM's slot
	for _, r := range []struct {
		key, name string
		slot      *reader.Slot
	}{{"card", c.Readers.Card, &sc.Card}, {"psam", c.Readers.PSAM, &sc.PSAM}, {"load_sam", c.Readers.LoadSAM, &sc.LoadSAM}} {
		if r.name == "" {
			continue
		}
		if open[r.name] == nil {
			if open[r.name], err = slots.Open(r.name); err != nil {
				free()
				return sc, nil, fmt.Errorf("%w: readers.%s: %w", config.ErrFile, r.key, err)
			}
		}
		*r.slot = open[r.name]
	}
	return sc, free, nil
}
