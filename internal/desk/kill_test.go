//go:build linux

package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/wire"
)

// killEnv makes a run of this test binary the process that is killed:
// "<operation> <boundary> <folder>".
const killEnv = "DIANKA_DESK_KILL"

// exitDone is how the process ends when the boundary was never reached.
const exitDone = 42

// exchanges are the value-moving exchanges that are killed at every boundary.
// Each runs on a card that holds 100.00 yuan.
var exchanges = []struct {
	name  string
	link  bool
	delta money.Fen
	do    func(context.Context, *Desk) (terminal.Receipt, error)
}{
	{"redemption", true, -20_00, func(ctx context.Context, d *Desk) (terminal.Receipt, error) {
		return d.Station.Terminal.Redeem(ctx, terminal.RedeemRequest{Token: journal.TokenOf("kill"), Who: clerk, Card: d.Number("zhang"), Account: accounts[0].Number, Amount: 20_00})
	}},
	{"redemption-offline", false, -20_00, func(ctx context.Context, d *Desk) (terminal.Receipt, error) {
		return d.Station.Terminal.Redeem(ctx, terminal.RedeemRequest{Token: journal.TokenOf("kill"), Who: clerk, Card: d.Number("zhang"), Account: accounts[0].Number, Amount: 20_00})
	}},
	{"topup", true, 30_00, topUp30},
	{"topup-offline", false, 30_00, topUp30},
}

func topUp30(ctx context.Context, d *Desk) (terminal.Receipt, error) {
	return d.Station.Terminal.TopUp(ctx, terminal.TopUpRequest{Token: journal.TokenOf("kill"), Who: clerk, Card: d.Number("zhang"), Amount: 30_00, Tendered: 30_00})
}

// boundary counts what may be the last thing that the process does: before
// and after every APDU to card and SAM, before and after every question to
// the utility, and after the result is known.
type boundary struct {
	armed atomic.Bool
	n     atomic.Int64
	at    int64
}

func (b *boundary) pass() {
	if b.armed.Load() && b.n.Add(1) == b.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal ends every thread
	}
}

type killChip struct {
	virtual.Chip
	b *boundary
}

func (c *killChip) Transmit(cmd []byte) ([]byte, error) {
	c.b.pass()
	r, err := c.Chip.Transmit(cmd)
	c.b.pass()
	return r, err
}

type killHost struct {
	terminal.Host
	b *boundary
}

func (h *killHost) AuthoriseLoad(ctx context.Context, r wire.LoadRequest) (wire.LoadAnswer, error) {
	h.b.pass()
	a, err := h.Host.AuthoriseLoad(ctx, r)
	h.b.pass()
	return a, err
}

func (h *killHost) Account(ctx context.Context, n money.AccountNumber) (wire.AccountAnswer, error) {
	h.b.pass()
	a, err := h.Host.Account(ctx, n)
	h.b.pass()
	return a, err
}

// killedProcess is the life of the process that is killed.
func killedProcess(spec string) {
	f := strings.SplitN(spec, " ", 3)
	at, err := strconv.ParseInt(f[1], 10, 64)
	die := func(err error) {
		fmt.Fprintln(os.Stderr, "before the exchange:", err)
		os.Exit(1)
	}
	if err != nil {
		die(err)
	}
	b := &boundary{at: at}
	ctx := context.Background()
	d, err := Open(ctx, Options{
		Dir: f[2], Software: "kill",
		Chip: func(_ string, c virtual.Chip) virtual.Chip { return &killChip{c, b} },
		Host: func(h terminal.Host) terminal.Host { return &killHost{h, b} },
	})
	if err != nil {
		die(err)
	}
	for _, x := range exchanges {
		if x.name != f[0] {
			continue
		}
		d.Gate.Set(x.link)
		go d.Run(ctx)
		if err := d.Put("zhang"); err != nil {
			die(err)
		}
		if err := d.await(ctx, func(s terminal.Status) bool {
			return s.Card.State == terminal.CardReady && s.Online == x.link && s.Allowance.Known
		}); err != nil {
			die(err)
		}
		b.armed.Store(true)
		rc, err := x.do(ctx, d)
		if err != nil {
			die(err)
		}
		// The slip is in the customer's hand.
		fmt.Printf("slip %d\n", rc.Result)
		b.pass()
		b.armed.Store(false)
		os.Exit(exitDone)
	}
	die(errors.New("no such exchange"))
}

func (d *Desk) await(ctx context.Context, ok func(terminal.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	changes := d.Station.Terminal.Changes(ctx)
	for !ok(d.Station.Terminal.Status()) {
		select {
		case <-changes:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the desk never got ready: %+v", d.Station.Terminal.Status())
		}
	}
	return nil
}

func TestKillHelper(t *testing.T) {
	if spec := os.Getenv(killEnv); spec != "" {
		killedProcess(spec)
	}
}

// prepared is a desk on which the killed process starts: a shift is open, a
// card holds 100.00 yuan, everything is sent, the load SAM has an allowance.
var prepared = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(memory(), "desk-kill")
	if err != nil {
		return "", err
	}
	preparedDir = dir
	ctx, cancel := context.WithCancel(context.Background())
	d, err := Open(ctx, Options{Dir: dir, Software: "prepare"})
	if err != nil {
		cancel()
		return "", err
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	err = func() error {
		if err := d.Put("zhang"); err != nil {
			return err
		}
		if err := d.await(ctx, func(s terminal.Status) bool {
			return s.Card.State == terminal.CardReady && s.Online && s.Allowance.Amount > 0
		}); err != nil {
			return err
		}
		if _, err := d.Station.Terminal.OpenShift(ctx, clerk, 0); err != nil {
			return err
		}
		rc, err := d.Station.Terminal.TopUp(ctx, terminal.TopUpRequest{Token: token(), Who: clerk, Card: d.Number("zhang"), Amount: 100_00, Tendered: 100_00})
		if err != nil || rc.Result != journal.Done {
			return fmt.Errorf("first top-up: %v %v", rc.Result, err)
		}
		return d.await(ctx, func(s terminal.Status) bool { return s.Unsent.Count == 0 })
	}()
	cancel()
	return dir, errors.Join(err, <-done, d.Close())
})

// TestKilledEverywhere kills the process with SIGKILL at every boundary of
// every exchange, enumerated until one run gets through, and then shows the
// card again, or never, on the same files.
func TestKilledEverywhere(t *testing.T) {
	base, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			results := map[string]int{}
			for at := 1; ; at++ {
				dir := tempDir(t)
				if err := os.CopyFS(filepath.Join(dir, "desk"), os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				dir = filepath.Join(dir, "desk")
				restrict(t, dir)
				cmd := exec.Command(os.Args[0], "-test.run=^TestKillHelper$")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", killEnv, x.name, at, dir))
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				err := cmd.Run()
				var exit *exec.ExitError
				if !errors.As(err, &exit) {
					t.Fatalf("boundary %d: the process ended with %v", at, err)
				}
				killed := exit.Sys().(syscall.WaitStatus).Signaled()
				if !killed && exit.ExitCode() != exitDone {
					t.Fatalf("boundary %d: %v\n%s", at, err, errs.String())
				}
				slip := journal.Pending
				fmt.Sscanf(out.String(), "slip %d", &slip)
				if at%2 == 0 { // the card never returns, at first
					afterwardsWithoutCard(t, dir, at)
				}
				results[afterwards(t, dir, at, x.delta, slip)]++
				os.RemoveAll(dir)
				if !killed {
					t.Logf("%d boundaries: %v", at-1, results)
					if at < 12 {
						t.Errorf("only %d boundaries: not everything was counted", at-1)
					}
					return
				}
			}
		})
	}
}

// restrict gives files back the rights that a copy loses.
func restrict(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if i.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return os.Chmod(p, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// afterwards shows the card on the killed process's files, with the link
// restored: nothing is unknown, chip, record, ledger and slip agree, and the
// audit is clean.
func afterwards(t *testing.T, dir string, at int, delta money.Fen, slip journal.Result) string {
	t.Helper()
	r := start(t, Options{Dir: dir})
	defer r.stop()
	term := r.Station.Terminal
	r.insert("zhang")
	r.synced()
	r.pull()
	if s := term.Status(); s.Open != 0 {
		t.Fatalf("boundary %d: %d transactions are still unknown", at, s.Open)
	}
	if items, err := r.Utility.Service.OpenItems(r.ctx); err != nil || len(items) != 0 {
		t.Fatalf("boundary %d: unknown at the utility: %v %v", at, items, err)
	}
	chip, aid := r.Chip("zhang")
	holds, err := Balance(chip, aid)
	if err != nil {
		t.Fatal(err)
	}
	tx, found, err := r.Station.Store.ByToken(journal.TokenOf("kill"))
	if err != nil {
		t.Fatal(err)
	}
	want, word := money.Fen(100_00), "never began"
	if found {
		word = map[journal.Result]string{journal.Done: "done", journal.NotDone: "not done"}[tx.Result]
		if tx.Result == journal.Done {
			want += delta
		}
	}
	if holds != want {
		t.Fatalf("boundary %d: %s, but the card holds %s", at, word, holds)
	}
	if slip != journal.Pending && slip != tx.Result {
		t.Fatalf("boundary %d: the slip said %d, the record says %d", at, slip, tx.Result)
	}
	if got := r.balance(ledger.Card(r.Number("zhang"))); got != holds {
		t.Fatalf("boundary %d: %s: the ledger has %s on the card, the chip %s", at, word, got, holds)
	}
	if found && tx.Kind == journal.KindTopUp && tx.Result == journal.NotDone {
		// The cash is in the drawer: the customer has a claim until it is back.
		if got := r.balance(ledger.Claim(tx.Name)); got != tx.Amount {
			t.Fatalf("boundary %d: the claim stands at %s", at, got)
		}
		if _, err := term.ReturnCash(r.ctx, terminal.ReturnCashRequest{Token: token(), Who: clerk, TopUp: tx.Name}); err != nil {
			t.Fatalf("boundary %d: return the cash: %v", at, err)
		}
		r.synced()
		if got := r.balance(ledger.Claim(tx.Name)); got != 0 {
			t.Fatalf("boundary %d: after the cash went back the claim stands at %s", at, got)
		}
	}
	r.audited()
	return word
}

// afterwardsWithoutCard restarts on the files with the link up and the card
// gone for good.
func afterwardsWithoutCard(t *testing.T, dir string, at int) {
	t.Helper()
	r := start(t, Options{Dir: dir})
	defer r.stop()
	r.synced()
	r.withoutCard(fmt.Sprintf("boundary %d", at))
	r.audited()
}
