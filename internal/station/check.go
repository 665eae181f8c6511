package station

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/dianka/dianka/store"
)

// Check looks at a terminal's file before the process that serves opens it.
// It fails with store.ErrCorrupt when the file is damaged, and with nothing
// when the file is sound, not there, in use or of another version: what opens
// it says that best.
type Check func(ctx context.Context, path string) error

const (
	checkDeadline = 2 * time.Minute
	// Up to this size a start verifies the chain from its beginning: about
	// 300,000 entries, some tenths of a second. Beyond it verifies bbolt's
	// structure and the end of the chain, and leaves the rest to the doctor.
	checkWhole = 100 << 20 // bytes
)

// Here checks in this process, which a damaged file may kill.
func Here(ctx context.Context, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	err = store.Verify(ctx, path, store.Options{}, st.Size() <= checkWhole)
	if errors.Is(err, store.ErrCorrupt) || ctx.Err() != nil {
		return err
	}
	return nil
}

// InChild checks in a process of its own, which is given the path as its last
// argument, runs Here and exits with 0 when that gives nothing. A child that
// ends in any other way, or not in time, has met a damaged file.
func InChild(name string, args ...string) Check {
	return inChild(checkDeadline, name, args...)
}

func inChild(deadline time.Duration, name string, args ...string) Check {
	return func(ctx context.Context, path string) error {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		timed, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		cmd := exec.CommandContext(timed, name, append(append([]string(nil), args...), path)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		cmd.WaitDelay = time.Second
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("the terminal's file could not be checked before it is opened: %w", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var err error
		select {
		case err = <-ended:
		case <-timed.Done():
			select { // a child that a dying disk holds cannot be killed, nor waited for
			case err = <-ended:
			case <-time.After(2 * time.Second):
			}
			err = errors.Join(timed.Err(), err)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%w: the check of it ended with: %w (%s)", store.ErrCorrupt, err, first)
	}
}

// ErrDamaged means that the terminal's file cannot be used. Its message says
// what of the money is safe and what to do.
var ErrDamaged = errors.New("the terminal's file cannot be used, and nothing is sold")

// damaged says what a person must know about a file that cannot be used.
func damaged(cfg Config, why error) error {
	c, err := store.InspectCopy(storePath(cfg.Dir), cfg.storeOptions())
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w. No money was moved by this. The second copy of what the utility may not have can't be read either (%w), so keep every file in %s as it is and call the utility: what it holds and the cards' own logs tell the rest", ErrDamaged, why, err, cfg.Dir)
	case c.Entries == 0:
		return fmt.Errorf("%w: %w. No money was moved by this, and nothing is lost: by the second copy %s the utility holds every entry. Delete nothing; have a technician run `kioskd recover`, then enrol the terminal again", ErrDamaged, why, c.Path)
	}
	return fmt.Errorf("%w: %w. No money was moved by this, and nothing is lost that the second copy %s holds: %d entries that the utility may not have, the last of %s. Delete nothing; have a technician run `kioskd recover`, then enrol the terminal again",
		ErrDamaged, why, c.Path, c.Entries, time.UnixMilli(c.Last).Format(time.DateTime))
}

// Recover makes the terminal's file anew from its second copy. It refuses
// while another process has the file open, and when the file is sound.
func Recover(ctx context.Context, cfg Config) (store.Recovered, error) {
	path := storePath(cfg.Dir)
	if !Enrolled(cfg.Dir) {
		return store.Recovered{}, ErrNotEnrolled
	}
	if err := cfg.check(ctx, path); err == nil {
		st, err := store.Open(path, cfg.storeOptions())
		switch {
		case err == nil:
			return store.Recovered{}, errors.Join(ErrSound, st.Close())
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrBehind):
		default:
			return store.Recovered{}, err
		}
	} else if !errors.Is(err, store.ErrCorrupt) {
		return store.Recovered{}, err
	}
	return store.Recover(path, cfg.storeOptions())
}

// ErrSound means that there is nothing to recover.
var ErrSound = errors.New("the terminal's file is sound; nothing was changed")

func (cfg Config) check(ctx context.Context, path string) error {
	if cfg.Check == nil {
		return Here(ctx, path)
	}
	return cfg.Check(ctx, path)
}
