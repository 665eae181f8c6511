package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/utility/ledger"
)

var clerk = journal.Actor{Kind: journal.ActorClerk, ID: 7}

// running is a desk whose Run is going on.
type running struct {
	*testing.T
	*Desk
	ctx  context.Context
	halt func() // ends Run; files stay open
	stop func() // halt, and close
}

// start opens a desk and runs it until the test ends or stop is called.
func start(t *testing.T, o Options) *running {
	t.Helper()
	if o.Dir == "" {
		o.Dir = tempDir(t)
	}
	o.Software = "test"
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(logTo{t}, nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	d, err := Open(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r := &running{T: t, Desk: d, ctx: ctx}
	r.halt = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the desk ended with %v", err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		r.halt()
		if err := d.Close(); err != nil {
			t.Errorf("close the desk: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

type logTo struct{ testing.TB }

func (l logTo) Write(b []byte) (int, error) { l.Log(string(b)); return len(b), nil }

// until waits for a state of the terminal, told by its changes.
func (r *running) until(what string, ok func(terminal.Status) bool) terminal.Status {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	changes := r.Station.Terminal.Changes(ctx)
	for {
		if s := r.Station.Terminal.Status(); ok(s) {
			return s
		}
		select {
		case <-changes:
		case <-time.After(200 * time.Millisecond): // some of Status is the link's, which announces less
		case <-ctx.Done():
			r.Fatalf("waited in vain for: %s; the terminal shows %+v", what, r.Station.Terminal.Status())
		}
	}
}

func (r *running) insert(id string) {
	r.Helper()
	if err := r.Put(id); err != nil {
		r.Fatal(err)
	}
	n := r.Number(id)
	r.until("card "+id+" to be read", func(s terminal.Status) bool {
		return s.Card.State == terminal.CardReady && s.Card.Number == n
	})
}

func (r *running) pull() {
	r.Helper()
	if err := r.Take(); err != nil {
		r.Fatal(err)
	}
	r.until("the empty reader", func(s terminal.Status) bool { return s.Card.State == terminal.CardNone })
}

func (r *running) synced() {
	r.Helper()
	r.until("everything to be sent", func(s terminal.Status) bool { return s.Online && s.Unsent.Count == 0 })
}

func (r *running) balance(a ledger.Account) money.Fen {
	r.Helper()
	b, err := r.Utility.Service.Balance(r.ctx, a)
	if err != nil {
		r.Fatal(err)
	}
	return b
}

var tokens atomic.Int64

func token() journal.Token { return journal.TokenOf(fmt.Sprint("token ", tokens.Add(1))) }

func (r *running) topUp(id string, amount money.Fen) terminal.Receipt {
	r.Helper()
	rc, err := r.Station.Terminal.TopUp(r.ctx, terminal.TopUpRequest{Token: token(), Who: clerk, Card: r.Number(id), Amount: amount, Tendered: amount})
	if err != nil {
		r.Fatalf("top up: %v", err)
	}
	return rc
}

func (r *running) redeem(id string, a money.AccountNumber, amount money.Fen) terminal.Receipt {
	r.Helper()
	rc, err := r.Station.Terminal.Redeem(r.ctx, terminal.RedeemRequest{Token: token(), Who: journal.Actor{Kind: journal.ActorCustomer}, Card: r.Number(id), Account: a, Amount: amount})
	if err != nil {
		r.Fatalf("redeem: %v", err)
	}
	return rc
}

func (r *running) want(what string, rc terminal.Receipt, want journal.Result) {
	r.Helper()
	if rc.Result != want {
		r.Fatalf("%s: result %d reason %d, want %d", what, rc.Result, rc.Reason, want)
	}
}

func asRefusal(err error, r **terminal.Refusal) bool { return errors.As(err, r) }

// memory is a folder whose syncs cost nothing, where there is one: these tests
// kill and cut, and what a killed process wrote is in the kernel either way.
// That a sync reaches a disk is the store's own tests' to show.
func memory() string {
	const shm = "/dev/shm"
	if st, err := os.Stat(shm); err == nil && st.IsDir() {
		return shm
	}
	return ""
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory(), "desk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
