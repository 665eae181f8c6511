package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/uplink"
)

// deadCommand is `dead STATE`: a desk whose terminal died with two payments
// that the utility never got. It leaves the utility's configuration u.yaml,
// what was rescued as unsent.evidence, and as piece-1 and piece-2.evidence
// one entry each of the middle.
func deadCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: dead state")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := ts.MkAbs(args[0])
	d, err := desk.Open(ctx, desk.Options{Dir: dir, Software: "test"})
	ts.Check(err)
	life, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(life) }()
	term, clerk := d.Station.Terminal, journal.Actor{Kind: journal.ActorClerk, ID: 1}
	until := func(what string, ok func() bool) {
		for !ok() {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				ts.Fatalf("waited in vain for %s", what)
			}
		}
	}
	until("the link", func() bool { s := term.Status(); return s.Online && !s.LimitsAt.IsZero() })
	_, err = term.OpenShift(ctx, clerk, 100_00)
	ts.Check(err)
	ts.Check(d.Put("zhang"))
	until("the card", func() bool { return term.Status().Card.State == terminal.CardReady })
	card := d.Number("zhang")
	_, err = term.TopUp(ctx, terminal.TopUpRequest{Token: journal.TokenOf("1"), Who: clerk, Card: card, Amount: 50_00, Tendered: 50_00})
	ts.Check(err)
	until("the utility", func() bool { return d.Station.Store.Unsent().Count == 0 })
	d.LinkUp(false)
	until("the cut", func() bool { return !term.Status().Online })
	for _, token := range []string{"2", "3"} {
		_, err = term.Redeem(ctx, terminal.RedeemRequest{Token: journal.TokenOf(token), Who: clerk, Card: card, Account: 100000017, Amount: 12_00})
		ts.Check(err)
	}
	end()
	ts.Check(<-done)
	ts.Check(d.Close())

	folder := filepath.Join(dir, "terminal")
	keys, err := uplink.LoadKeys(station.KeysPath(folder))
	ts.Check(err)
	var media []io.ReaderAt
	for _, name := range []string{"terminal.db", "terminal.copy"} {
		f, err := os.Open(filepath.Join(folder, name))
		ts.Check(err)
		defer f.Close()
		media = append(media, f)
	}
	found := store.Salvage(keys.Terminal, keys.Utility[:], media...)
	write := func(name string, s store.Salvaged) {
		b, _, err := evidence.Rescue(keys.Terminal, keys.Signer, s)
		ts.Check(err)
		ts.Check(evidence.WriteFile(ts.MkAbs(name), b))
	}
	write("unsent.evidence", found)
	run := found.Runs[0]
	first, last := run, run
	first.Entries, last.Entries = run.Entries[:1], run.Entries[1:]
	last.From, last.Before = run.From+1, journal.Link(run.Before, run.Entries[0])
	write("piece-1.evidence", store.Salvaged{Runs: []store.SalvagedRun{first}})
	write("piece-2.evidence", store.Salvaged{Runs: []store.SalvagedRun{last}})
	ts.Check(os.WriteFile(ts.MkAbs("u.yaml"), fmt.Appendf(nil, "dir: %s\ntest_keys: true\npassphrase_file: %s\n", filepath.Join(dir, "utility"), ts.MkAbs("desk.pass")), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("desk.pass"), []byte("desk"), 0o600))
}
