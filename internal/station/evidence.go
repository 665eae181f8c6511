package station

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
)

// Hold marks the folder as one that a daemon works on, for those who must not
// even open the terminal's file meanwhile. Closing gives it back.
func Hold(dir string) (interface{ Close() error }, error) {
	held, err := filelock.Acquire(dir)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%w: %w", store.ErrInUse, err)
	}
	return held, err
}

// Evidence makes an evidence bundle of the entries that are wanted of the
// terminal in a folder. Whoever asks gets store.ErrInUse at once while the
// daemon runs, whose file is then not opened and whose lock not waited for;
// and evidence.ErrWish, fs.ErrNotExist, or what checking and opening the file
// and making the bundle say.
func Evidence(ctx context.Context, cfg Config, want evidence.Wish) (b journal.Bundle, proof journal.Proof, err error) {
	no := func(err error) (journal.Bundle, journal.Proof, error) { return journal.Bundle{}, journal.Proof{}, err }
	if err := filelock.Held(cfg.Dir); errors.Is(err, filelock.ErrHeld) {
		return no(fmt.Errorf("%w: %w", store.ErrInUse, err))
	} else if err != nil {
		return no(err)
	}
	if err := cfg.check(ctx, storePath(cfg.Dir)); err != nil {
		return no(err)
	}
	o := cfg.storeOptions()
	o.Timeout = time.Millisecond // bbolt tries once
	st, err := store.Open(storePath(cfg.Dir), o)
	if err != nil {
		return no(err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return bundle(st, cfg.Dir, want)
}

// bundle makes a bundle of an open file.
func bundle(st *store.Store, dir string, want evidence.Wish) (journal.Bundle, journal.Proof, error) {
	keys, err := uplink.LoadKeys(keysPath(dir))
	if err != nil {
		return journal.Bundle{}, journal.Proof{}, err
	}
	selected, err := want.Selection(st.Identity().Terminal)
	if err != nil {
		return journal.Bundle{}, journal.Proof{}, err
	}
	return evidence.Export(st, evidence.Keys{Signer: keys.Signer, Utility: keys.Utility[:]}, selected)
}
