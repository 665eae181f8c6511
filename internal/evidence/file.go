package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// Errors of reading a bundle and of asking for one.
var (
	// ErrNotProven means that a file proves nothing, or not what it was
	// compared with. The journal that it was made of is where it was.
	ErrNotProven = errors.New("evidence: nothing in this file is proven")
	ErrWish      = errors.New("evidence: not entries that can be asked for")
)

// Wish is which entries an export is asked for, as a person writes it: From
// and To are transaction numbers as on slips, or days as 2026-11-25 by the
// terminal's clock, To included; or one Transaction with all that belongs to
// it. The zero Wish is for all of the journal.
type Wish struct{ From, To, Transaction string }

// Selection reads what is wanted of terminal t. It fails with ErrWish.
func (w Wish) Selection(t money.TerminalID) (Selection, error) {
	name := func(s string) (journal.Name, error) {
		n, err := journal.ParseName(s)
		if err == nil && n.Terminal != t {
			err = fmt.Errorf("%s is of another terminal; this is %s", s, t)
		}
		return n, err
	}
	no := func(err error) (Selection, error) { return nil, fmt.Errorf("%w: %w", ErrWish, err) }
	if w == (Wish{}) {
		return Between(journal.Ref{}, journal.Ref{}), nil
	}
	if w.Transaction != "" {
		n, err := name(w.Transaction)
		if err != nil {
			return no(err)
		}
		return Transaction(n), nil
	}
	if from, err := day(w.From); err == nil {
		to := time.UnixMilli(1<<62 - 1)
		if w.To != "" {
			if to, err = day(w.To); err != nil {
				return no(fmt.Errorf("--to is a day when --from is one, not %q", w.To))
			}
			to = to.AddDate(0, 0, 1)
		}
		return Within(from, to), nil
	}
	from, err := name(w.From)
	if err != nil {
		return no(fmt.Errorf("%w, nor a day", err))
	}
	var to journal.Ref
	if w.To != "" {
		n, err := name(w.To)
		if err != nil {
			return no(err)
		}
		to = n.Ref()
	}
	return Between(from.Ref(), to), nil
}

func day(s string) (time.Time, error) { return time.ParseInLocation(time.DateOnly, s, money.CST) }

// ReadFile reads a bundle. It fails with journal.ErrBundle, or as the disk
// does.
func ReadFile(path string) (journal.Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return journal.Bundle{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, journal.MaxBundle+1))
	if err != nil {
		return journal.Bundle{}, err
	}
	if len(raw) > journal.MaxBundle {
		return journal.Bundle{}, fmt.Errorf("%s: %w: longer than a bundle may be", path, journal.ErrBundle)
	}
	b, err := journal.ParseBundle(raw)
	if err != nil {
		return journal.Bundle{}, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// WriteFile makes a file whole and on disk, or none, and never replaces one.
func WriteFile(path string, b journal.Bundle) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Trusted are the keys by which terminal and utility are known, got
// otherwise than with the bundle: 64 hexadecimal digits each, of the terminal
// one for each epoch. Of whom none is given, none is compared.
type Trusted struct{ Terminal, Utility []string }

// Known says whose keys Check compares.
func (k Trusted) Known() Known {
	return Known{Terminal: len(k.Terminal) > 0, Utility: len(k.Utility) > 0}
}

// Check verifies a bundle, and that it names no other keys than those that
// are trusted. It needs nothing else. It fails with ErrNotProven, wrapped
// around what journal.Bundle.Verify says, or with ErrWish when a key is none.
func (k Trusted) Check(b journal.Bundle) (journal.Proof, error) {
	var terminal [][ed25519.PublicKeySize]byte
	for _, r := range b.Runs {
		terminal = append(terminal, r.Key)
	}
	proof, err := b.Verify(wire.Witness(b.Utility[:]))
	if err != nil {
		return journal.Proof{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	if err := compare("terminal", k.Terminal, terminal); err != nil {
		return journal.Proof{}, err
	}
	if err := compare("utility", k.Utility, [][ed25519.PublicKeySize]byte{b.Utility}); err != nil {
		return journal.Proof{}, err
	}
	return proof, nil
}

func compare(whose string, trusted []string, have [][ed25519.PublicKeySize]byte) error {
	var keys [][]byte
	for _, s := range trusted {
		key, err := hex.DecodeString(s)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: --%s-key is 64 hexadecimal digits", ErrWish, whose)
		}
		keys = append(keys, key)
	}
	for _, h := range have {
		if len(keys) > 0 && !slices.ContainsFunc(keys, func(x []byte) bool { return bytes.Equal(x, h[:]) }) {
			return fmt.Errorf("%w as the %s's: the file names the key %x, which is not --%s-key", ErrNotProven, whose, h, whose)
		}
	}
	return nil
}
