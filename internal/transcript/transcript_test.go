package transcript

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
)

var update = flag.Bool("update", false, "record the transcripts of simulated cards anew")

const home = "../../firmware-profiles"

// TestBuiltin plays the transcript of every profile that is built in against
// the code.
func TestBuiltin(t *testing.T) {
	if *update {
		record(t)
	}
	set, err := profiles.Load(os.DirFS(home))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range profiles.Kinds {
		for _, name := range set.Names(k) {
			if err := Play(t.Context(), set, k, name); err != nil {
				t.Errorf("%s/%s: %v", k, name, err)
			}
		}
	}
}

var (
	terminal = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	number   = money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17}
	from, to = [4]byte{0x20, 0x20, 0x01, 0x01}, [4]byte{0x20, 0x49, 0x12, 0x31}
	loadAt   = money.Stamp{0x20, 0x26, 0x11, 0x23, 0x14, 0x05, 0x00}
	debitAt  = money.Stamp{0x20, 0x26, 0x11, 0x23, 0x14, 0x06, 0x00}
)

// chip is a simulated card under power.
type chip struct{ c *simcard.Card }

func (c chip) Transmit(_ context.Context, b []byte) ([]byte, error) { return c.c.Transmit(b) }

func power(t *testing.T, c *simcard.Card, r simcard.Recipe) purse.Card {
	t.Helper()
	if err := simcard.Personalise(c, r); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PowerOn(); err != nil {
		t.Fatal(err)
	}
	return reader.Complete(chip{c}, reader.T1)
}

func sam(purchase, load bool) simcard.SAMRecipe {
	return simcard.SAMRecipe{
		ID: money.SAMID{0x31, 0x01, 9}, Terminal: terminal, Issuer: suite.TestIssuer, From: from, To: to,
		Purchase: purchase, Load: load, Keys: suite.TestMasters(), Levels: []int{0, 1, 2}, KeyIndex: 1, KeyVersion: 0, Sequence: 7,
	}
}

// record makes the transcripts of those profiles of which a simulated card
// exists.
func record(t *testing.T) {
	set, err := profiles.Load(os.DirFS(home))
	if err != nil {
		t.Fatal(err)
	}
	keep := func(k profiles.Kind, name string, b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(home, string(k), name+".trace"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := vault.New(suite.TestMasters(), ed25519.NewKeyFromSeed(make([]byte, 32)), set)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Cards {
		c := simcard.New(simcard.Options{LogPost: p.LogCounterPost, ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot, UnifiedCounter: p.UnifiedCounters})
		live := power(t, c, simcard.CardRecipe{
			Number: number, Issuer: suite.TestIssuer, AppType: 2, From: from, To: to, Keys: suite.TestMasters(),
			Levels: p.PurchaseLevels, Region: p.Region, KeyIndex: p.PurchaseKeyIndex, KeyVersion: byte(p.PurchaseLevels), AID: string(p.AID),
		})
		s := power(t, simcard.New(simcard.Options{RegionFirst: p.RegionFirst}), sam(true, false))
		psam, err := purse.OpenPSAM(t.Context(), s, set.SAMs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Record(t.Context(), live, "recorded from the simulated card with test keys", func(ctx context.Context, c purse.Card, note func(string, ...any)) error {
			app, err := purse.Select(ctx, c, []profiles.Card{p})
			if err != nil {
				return err
			}
			note("select %s", app.Info().Number)
			in, err := app.InitLoad(ctx, 50_00, terminal)
			if err != nil {
				return err
			}
			who := vault.Card{Number: number, Profile: p.Name}
			mac2, err := v.AuthoriseLoad(who, vault.Load{Terminal: terminal, TxType: in.TxType, Before: in.Before, Amount: in.Amount, Counter: in.Counter, Random: in.Random, MAC1: in.MAC1}, loadAt)
			if err != nil {
				return err
			}
			if _, err := app.CreditLoad(ctx, loadAt, mac2); err != nil {
				return err
			}
			note("load 50.00 %s", terminal)
			buy, err := app.InitPurchase(ctx, 4_00, terminal)
			if err != nil {
				return err
			}
			g, err := psam.InitPurchase(ctx, p, number, buy, debitAt)
			if err != nil {
				return err
			}
			if _, _, err := app.DebitPurchase(ctx, g, debitAt); err != nil {
				return err
			}
			note("debit 4.00 %s", terminal)
			balance, err := app.Balance(ctx)
			if err != nil {
				return err
			}
			note("balance %s", balance)
			list, err := app.Log(ctx)
			note("log %d", len(list))
			return err
		})
		keep(profiles.KindCard, p.Name, b, err)
	}
	for _, p := range set.SAMs {
		live := power(t, simcard.New(simcard.Options{}), sam(p.PSAM != nil, p.LoadSAM != nil))
		b, err := Record(t.Context(), live, "recorded from the simulated module with test keys", func(ctx context.Context, c purse.Card, note func(string, ...any)) error {
			if p.PSAM != nil {
				if _, err := purse.OpenPSAM(ctx, c, []profiles.SAM{p}); err != nil {
					return err
				}
				note("psam %s", terminal)
			}
			if p.LoadSAM != nil {
				if _, err := purse.OpenLoadSAM(ctx, c, []profiles.SAM{p}); err != nil {
					return err
				}
				note("load-sam %s", terminal)
			}
			return nil
		})
		keep(profiles.KindSAM, p.Name, b, err)
	}
}

// What the code does otherwise than recorded is found, with its line.
func TestDifferences(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(home, "cards", "dianka-ep.trace"))
	if err != nil {
		t.Fatal(err)
	}
	yaml, err := os.ReadFile(filepath.Join(home, "cards", "dianka-ep.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	play := func(profile, trace string) error {
		t.Helper()
		fs := fstest.MapFS{"cards/dianka-ep.yaml": {Data: []byte(profile)}}
		if trace != "" {
			fs["cards/dianka-ep.trace"] = &fstest.MapFile{Data: []byte(trace)}
		}
		set, err := profiles.Load(fs)
		if err != nil {
			t.Fatal(err)
		}
		return Play(t.Context(), set, profiles.KindCard, "dianka-ep")
	}
	if err := play(string(yaml), string(good)); err != nil {
		t.Fatal(err)
	}
	if err := play(string(yaml), ""); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
	for name, c := range map[string]struct{ profile, trace, says string }{
		"another key index":  {strings.Replace(string(yaml), "purchase: 1\ndiv", "purchase: 2\ndiv", 1), string(good), "the code sends 805001020B02"},
		"another balance":    {string(yaml), strings.Replace(string(good), "do balance 46.00", "do balance 47.00", 1), "the balance is 46.00, recorded is 47.00"},
		"more was recorded":  {string(yaml), string(good) + "> 805C000204\n< 000000009000\n", "which the code does not send"},
		"less was recorded":  {string(yaml), string(good) + "# do balance 46.00\n", "more than was recorded"},
		"an unknown deed":    {string(yaml), string(good) + "# do fly\n", `"fly" is nothing`},
		"nothing is done":    {string(yaml), "# about\n", "nothing is done"},
		"nothing selected":   {string(yaml), "# do balance 1.00\n", "nothing was selected"},
		"an answer alone":    {string(yaml), "# do select x\n< 9000\n", "an answer to no command"},
		"a command alone":    {string(yaml), "# do select x\n> 00A40000\n", "without its answer"},
		"no trace":           {string(yaml), "# do select x\nhello\n", "line 2"},
		"a truncated debit":  {string(yaml), strings.Replace(string(good), "do debit 4.00", "do debit", 1), ""},
		"the amount is none": {string(yaml), strings.Replace(string(good), "do load 50.00", "do load much", 1), ""},
	} {
		if err := play(c.profile, c.trace); !errors.Is(err, ErrTranscript) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPlay: whatever lies beside a profile is played without harm.
func FuzzPlay(f *testing.F) {
	for _, name := range []string{"dianka-ep", "transit"} {
		b, err := os.ReadFile(filepath.Join(home, "cards", name+".trace"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("# do load 1.00 310100001234\n> 00\n< 9000\n> 00\n< 9000\n"))
	set := profiles.Builtin()
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind, name := range map[profiles.Kind]string{profiles.KindCard: "dianka-ep", profiles.KindSAM: "psam", profiles.KindReader: "vpcd"} {
			if err := play(context.Background(), set, kind, name, b); err != nil && !errors.Is(err, ErrTranscript) {
				t.Errorf("%v", err)
			}
		}
	})
}
