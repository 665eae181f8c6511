package desk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

// damages are what can happen to a file's bytes.
var damages = map[string]func([]byte) []byte{
	"bits flipped in every data page": func(b []byte) []byte {
		for at := 2 * 4096; at < len(b); at += 512 {
			b[at+100] ^= 0x40
			b[at+8] ^= 1
		}
		return b
	},
	"cut":               func(b []byte) []byte { return b[:3*4096] }, // the file ends in room that is not used yet
	"cut to nothing":    func([]byte) []byte { return nil },
	"both metas zeroed": func(b []byte) []byte { clear(b[:2*4096]); return b },
	"garbage": func(b []byte) []byte {
		for i := range b {
			b[i] = byte(i*7 + i>>8)
		}
		return b
	},
	"lost": nil,
}

// A damaged file is not used, and says what is safe; it is made anew from the
// second copy, what was unsent reaches the utility, the terminal is enrolled
// again and sells, and nothing of the money is lost or doubled.
func TestRecover(t *testing.T) {
	prepared := tempDir(t)
	r := start(t, Options{Dir: prepared})
	r.shift()
	r.insert("zhang")
	r.until("limits", func(s terminal.Status) bool { return s.Online && !s.LimitsAt.IsZero() })
	r.topUp("zhang", 50_00)
	r.redeem("zhang", accounts[0].Number, 20_00)
	r.synced()
	r.pull()
	r.stop()
	// The copy is made anew, so that it begins where the utility's knowledge
	// ends, in the middle of a shift.
	if err := os.Remove(filepath.Join(prepared, "terminal", "terminal.copy")); err != nil {
		t.Fatal(err)
	}
	r = start(t, Options{Dir: prepared})
	r.insert("zhang")
	r.until("an allowance", func(s terminal.Status) bool { return s.Allowance.Known && s.Allowance.Count > 0 })
	r.LinkUp(false)
	r.until("no link", func(s terminal.Status) bool { return !s.Online })
	unsent := []journal.Name{
		r.topUp("zhang", 30_00).Name,
		r.redeem("zhang", accounts[0].Number, 15_00).Name,
	}
	r.pull()
	r.stop()
	file := station.StorePath(filepath.Join(prepared, "terminal"))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	for what, damage := range damages {
		for _, serveFirst := range []bool{true, false} {
			if serveFirst && what != "garbage" {
				continue // what follows does not depend on how the file was damaged
			}
			name := what + ", enrolled at once"
			if serveFirst {
				name = what + ", served before it is enrolled again"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := tempDir(t)
				if err := os.CopyFS(dir, os.DirFS(prepared)); err != nil {
					t.Fatal(err)
				}
				modes(t, dir)
				path := station.StorePath(filepath.Join(dir, "terminal"))
				var bad []byte
				if damage == nil {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				} else {
					bad = damage(bytes.Clone(whole))
					if err := os.WriteFile(path, bad, 0o600); err != nil {
						t.Fatal(err)
					}
				}

				d, err := Open(t.Context(), Options{Dir: dir})
				if d != nil || !errors.Is(err, station.ErrDamaged) {
					t.Fatalf("a damaged file is used: %v", err)
				}
				for _, say := range []string{"No money was moved", "nothing is lost", "kioskd recover"} {
					if !strings.Contains(err.Error(), say) {
						t.Errorf("the error does not say %q: %v", say, err)
					}
				}
				cfg := station.Config{Dir: filepath.Join(dir, "terminal")}
				got, err := station.Recover(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if damage == nil {
					if got.Damaged != "" {
						t.Errorf("kept %s of nothing", got.Damaged)
					}
				} else if kept, err := os.ReadFile(got.Damaged); err != nil || !bytes.Equal(kept, bad) {
					t.Errorf("the damaged bytes are not kept: %v", err)
				}
				if _, err := station.Recover(t.Context(), cfg); !errors.Is(err, station.ErrSound) {
					t.Errorf("a second time: %v", err)
				}

				if serveFirst {
					r := start(t, Options{Dir: dir})
					r.insert("zhang")
					_, err := r.Station.Terminal.TopUp(r.ctx, terminal.TopUpRequest{Token: token(), Who: clerk, Card: r.Number("zhang"), Amount: 10_00, Tendered: 10_00})
					var refusal *terminal.Refusal
					if !asRefusal(err, &refusal) || refusal.Code != terminal.CodeRemade {
						t.Fatalf("sold before it was enrolled again: %v", err)
					}
					r.synced()
					r.audited()
					r.stop()
				}

				r := start(t, Options{Dir: dir, Reenrol: true})
				if id := r.Station.Store.Identity(); id.Epoch != 2 || id.PrevEpoch != 1 || id.PrevSeq != got.Heads[len(got.Heads)-1].Seq {
					t.Errorf("%+v", id)
				}
				r.shift()
				r.insert("zhang")
				r.until("limits", func(s terminal.Status) bool { return s.Online && !s.LimitsAt.IsZero() })
				r.want("a top-up in the new epoch", r.topUp("zhang", 10_00), journal.Done)
				r.want("a redemption in the new epoch", r.redeem("zhang", accounts[0].Number, 5_00), journal.Done)
				r.synced()
				for _, n := range unsent {
					a, err := r.Station.Uplink.Ask(r.ctx, n)
					if err != nil || !a.Stored || a.Held {
						t.Errorf("the utility does not know %s: %+v %v", n, a, err)
					}
				}
				r.pull()
				chip, aid := r.Chip("zhang")
				balance, err := Balance(chip, aid)
				if err != nil || balance != r.balance(ledger.Card(r.Number("zhang"))) {
					t.Errorf("the chip holds %s, the ledger %s: %v", balance, r.balance(ledger.Card(r.Number("zhang"))), err)
				}
				r.audited()
				if _, err := r.Station.Store.Check(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// shift opens a shift, once the terminal has started.
func (r *running) shift() {
	r.Helper()
	r.until("the start entry", func(s terminal.Status) bool {
		return s.Head.Seq > 0 && s.Head.Epoch == r.Station.Store.Identity().Epoch
	})
	if _, err := r.Station.Terminal.OpenShift(r.ctx, clerk, 100_00); err != nil {
		r.Fatal(err)
	}
}

// modes gives a copied folder the modes that it must have.
func modes(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return os.Chmod(p, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}
