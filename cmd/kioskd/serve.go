package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
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
	screens, err := kiosk.New(kiosk.Config{
		Terminal: st.Terminal, Link: st, Staff: c.staff(), Shop: c.Shop, Hosts: c.Screens.Hosts, Log: log,
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, config.ErrFile, err)
	}
	log.Info("the terminal serves", "terminal", st.Store.Identity().Terminal, "screens", "http://"+line.Addr().String()+"/", "version", version)
	return runScreens(cmd.Context(), screens, line, st.Run)
}

// runScreens serves until ctx ends or the terminal does. Screens end before
// the terminal, so that what is under way is finished and told.
func runScreens(ctx context.Context, screens *kiosk.Server, line net.Listener, terminal func(context.Context) error) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	serve, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- terminal(life); stop() }()
	err := screens.Serve(serve, line)
	end()
	return errors.Join(err, <-done)
}

// station opens the readers. The function gives them back.
func (c Config) station(log *slog.Logger) (station.Config, func(), error) {
	service, err := pcsc.New(pcsc.Options{Wait: true})
	if err != nil {
		return station.Config{}, nil, err
	}
	free := func() { service.Close() }
	slots := reader.Backends{"pcsc": service.Slot}
	sc := station.Config{
		Dir: c.State, Copy: c.Copy, Utility: c.Utility, TestKeys: c.TestKeys, Software: "kioskd " + version, Log: log, Check: checkInChild(),
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
