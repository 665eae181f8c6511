package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dianka/dianka/internal/desk/desktest"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
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
	_, stop, err := desktest.CutOff(ctx, dir)
	ts.Check(err)
	ts.Check(stop())

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
