// Package station is a terminal as one running process: its file and its
// keys opened from one folder, the link to the utility and the business of
// the terminal on them. kioskd is a station on real readers; so is the
// terminal of a desk, on simulated ones.
//
// It may import everything of a terminal. It holds no rule of its own.
package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/wire"
)

// ErrNotEnrolled means that the folder holds no terminal yet.
var ErrNotEnrolled = errors.New("this terminal is not enrolled yet: get a code from the utility and run `kioskd enrol`")

// Config says what a station is made of.
type Config struct {
	Dir      string // folder of file and keys, mode 0700
	Copy     string // second copy of unsent entries; empty: beside the file
	Utility  string // https://host:port
	Card     reader.Slot
	PSAM     reader.Slot
	LoadSAM  reader.Slot // may be the PSAM's slot; nil: no top-up off line
	TestKeys bool
	Software string
	Clock    func() time.Time
	Log      *slog.Logger
	Poll     time.Duration    // between hellos; 0: as uplink has it
	Profiles *profiles.Folder // nil: those that are built in

	Check Check // of the file before it is opened; nil: Here

	Disk store.Disk                                                        // beneath the terminal's file; nil: this machine's
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: as uplink has it
	Host func(terminal.Host) terminal.Host                                 // puts something around the utility, in tests; nil: nothing
}

// Station is an open terminal.
type Station struct {
	Store    *store.Store
	Uplink   *uplink.Client
	Terminal *terminal.Terminal

	cfg Config
}

func (cfg Config) profiles() terminal.Profiles {
	if cfg.Profiles == nil {
		return profiles.Builtin()
	}
	return cfg.Profiles
}

func (cfg Config) storeOptions() store.Options {
	return store.Options{Clock: cfg.Clock, Disk: cfg.Disk, Copy: cfg.Copy}
}

func storePath(dir string) string { return filepath.Join(dir, "terminal.db") }
func keysPath(dir string) string  { return filepath.Join(dir, "terminal.keys") }

// StorePath is where the terminal's file lies in its folder.
func StorePath(dir string) string { return storePath(dir) }

// KeysPath is where the terminal's keys lie in its folder.
func KeysPath(dir string) string { return keysPath(dir) }

// Enrolled reports whether the folder holds a terminal.
func Enrolled(dir string) bool {
	_, err := os.Stat(keysPath(dir))
	return err == nil
}

// Enrol reads the SAMs in their slots, makes the terminal's keys, has the
// utility take them under a one-time code, and makes the terminal's file; a
// terminal that was enrolled before gets a new epoch in the file that it has.
func Enrol(ctx context.Context, cfg Config, code string) (err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	id, psam, load, err := readSAMs(ctx, cfg)
	if err != nil {
		return err
	}
	o := uplink.EnrolOptions{URL: cfg.Utility, Code: code, Terminal: id, PSAM: psam, LoadSAM: load, Dial: cfg.Dial}
	if Enrolled(cfg.Dir) {
		k, err := uplink.LoadKeys(keysPath(cfg.Dir))
		if err != nil {
			return err
		}
		o.Previous = &k
	}
	// The file comes first: a code that the utility took cannot be used again.
	st, err := openStore(ctx, cfg)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if st != nil {
		defer func() { err = errors.Join(err, st.Close()) }()
	} else if _, cerr := store.InspectCopy(storePath(cfg.Dir), cfg.storeOptions()); cerr == nil {
		return damaged(cfg, err)
	}
	keys, who, err := uplink.Enrol(ctx, o)
	if err != nil {
		return err
	}
	if err := uplink.SaveKeys(keysPath(cfg.Dir), keys); err != nil {
		return err
	}
	if st == nil {
		return store.Create(storePath(cfg.Dir), who, cfg.storeOptions())
	}
	return st.Renew(who)
}

// openStore checks and opens the terminal's file. It fails with ErrDamaged
// when it cannot be used, or with os.ErrNotExist.
func openStore(ctx context.Context, cfg Config) (*store.Store, error) {
	err := cfg.check(ctx, storePath(cfg.Dir))
	if err == nil {
		var st *store.Store
		if st, err = store.Open(storePath(cfg.Dir), cfg.storeOptions()); err == nil {
			return st, nil
		}
	}
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrBehind) {
		return nil, damaged(cfg, err)
	}
	return nil, err
}

// readSAMs reads who the terminal is out of its SAMs.
func readSAMs(ctx context.Context, cfg Config) (id money.TerminalID, psam, load money.SAMID, err error) {
	none := func(err error) (money.TerminalID, money.SAMID, money.SAMID, error) {
		return money.TerminalID{}, money.SAMID{}, money.SAMID{}, err
	}
	set := cfg.profiles().Current().SAMs
	c, err := openWhenIn(ctx, cfg.PSAM)
	if err != nil {
		return none(fmt.Errorf("the PSAM: %w", err))
	}
	defer c.Close()
	p, err := purse.OpenPSAM(ctx, c, set)
	if err != nil {
		return none(fmt.Errorf("the PSAM: %w", err))
	}
	id, psam = p.Terminal(), p.Serial()
	if cfg.LoadSAM == nil {
		return id, psam, money.SAMID{}, nil
	}
	lc := c
	if cfg.LoadSAM != cfg.PSAM {
		if lc, err = openWhenIn(ctx, cfg.LoadSAM); err != nil {
			return none(fmt.Errorf("the load SAM: %w", err))
		}
		defer lc.Close()
	}
	l, err := purse.OpenLoadSAM(ctx, lc, set)
	if err != nil {
		return none(fmt.Errorf("the load SAM: %w", err))
	}
	if l.Terminal() != id {
		return none(fmt.Errorf("the load SAM is of terminal %s, the PSAM of %s", l.Terminal(), id))
	}
	return id, psam, l.Serial(), nil
}

// openWhenIn waits until the reader has told what it holds and opens it.
func openWhenIn(ctx context.Context, s reader.Slot) (reader.Card, error) {
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ev := range s.Events(wait) {
		if ev.State == reader.StateCard {
			return s.Open(ctx)
		}
	}
	return s.Open(ctx) // the slot says best what is wrong
}

// Open opens an enrolled terminal.
//
// It fails with ErrDamaged when the file cannot be used.
func Open(cfg Config) (*Station, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !Enrolled(cfg.Dir) {
		return nil, ErrNotEnrolled
	}
	keys, err := uplink.LoadKeys(keysPath(cfg.Dir))
	if err != nil {
		return nil, err
	}
	st, err := openStore(context.Background(), cfg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, damaged(cfg, err)
	}
	if err != nil {
		return nil, err
	}
	switch c := st.Copy(); {
	case c.Problem != nil:
		cfg.Log.Error("the second copy of unsent entries is not whole; the terminal's file itself is", "copy", c.Path, "err", c.Problem)
	case c.Taken > 0:
		cfg.Log.Warn("entries that the terminal's file lacked were taken out of its second copy", "entries", c.Taken, "copy", c.Path)
	}
	s := &Station{Store: st, cfg: cfg}
	fail := func(err error) (*Station, error) { return nil, errors.Join(err, st.Close()) }
	s.Uplink, err = uplink.New(uplink.Config{
		URL: cfg.Utility, Keys: keys, Journal: st, Software: cfg.Software,
		SaveKeys: func(k uplink.Keys) error { return uplink.SaveKeys(keysPath(cfg.Dir), k) },
		OnChange: s.linkChanged, Clock: cfg.Clock, Log: cfg.Log, Poll: cfg.Poll, Dial: cfg.Dial,
	})
	if err != nil {
		return fail(err)
	}
	host := terminal.Host(s.Uplink)
	if cfg.Host != nil {
		host = cfg.Host(host)
	}
	s.Terminal, err = terminal.New(terminal.Config{
		Store: st, Card: cfg.Card, PSAM: cfg.PSAM, LoadSAM: cfg.LoadSAM, Profiles: cfg.profiles(), Host: host,
		Software: cfg.Software, TestKeys: cfg.TestKeys, SAMs: terminal.SAMPair{PSAM: keys.PSAM, LoadSAM: keys.LoadSAM},
		Clock: cfg.Clock, Log: cfg.Log,
	})
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// linkChanged tells the screens, and the part that looks after the allowance.
func (s *Station) linkChanged() {
	if s.Terminal == nil {
		return
	}
	s.Terminal.Changed()
	if s.Uplink.Online() {
		s.Terminal.LinkUp()
	}
}

// Run serves until ctx ends. It fails when the start entry cannot be written.
func (s *Station) Run(ctx context.Context) error {
	if err := s.Terminal.Start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Uplink.Run(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("the link has ended", "err", err)
		}
	})
	wg.Go(func() {
		for range s.Terminal.Changes(ctx) {
			if s.Store.Unsent().Count > 0 {
				s.Uplink.Wake()
			}
		}
	})
	err := s.Terminal.Run(ctx)
	cancel()
	wg.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Close closes the file.
func (s *Station) Close() error { return s.Store.Close() }

// Link is what the screens show of the link.
func (s *Station) Link() kiosk.LinkView {
	st := s.Uplink.Status()
	return kiosk.LinkView{
		Online: st.Online, LastSync: st.LastSync, Standing: standings[st.Standing], Skew: st.Skew, Error: st.LastError,
	}
}

var standings = map[wire.Standing]string{
	wire.StandingGood: "good", wire.StandingBehind: "behind", wire.StandingForked: "forked",
	wire.StandingBlocked: "blocked", wire.StandingReenrol: "reenrol", wire.StandingOldEpoch: "old_epoch",
}
