//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// intake measures records a second: redemptions, each an intent and an
// outcome, with chain, signature, TAC and MAC2 verified and posted.
func intake(ctx context.Context, dir string) error {
	const n, batch, cards, goalRate = 100, wire.MaxBatch, 5000, 25_000
	title("Intake, %d batches of %d entries, TAC verified and posted, SQLite (WAL, FULL)", n, batch)
	t := &world{dir: dir}
	defer t.end()
	w := utilitytest.NewWorld(t)
	term := w.Terminal(1)
	deck := make([]*utilitytest.Card, cards)
	for i := range deck {
		deck[i] = utilitytest.NewCard(10000 + i)
		deck[i].Balance = money.MaxPurse / 2
	}
	batches := make([]wire.Batch, n+1) // the first is to warm up
	for i := range batches {
		for j := range batch / 2 {
			term.Redeem(deck[(i*batch/2+j)%cards], utilitytest.Account+money.AccountNumber(j%10), 1_23)
		}
		batches[i] = term.Batch(i*batch, (i+1)*batch)
	}
	took, err := each(batches, func(b wire.Batch) error {
		a, err := w.Service.Intake(ctx, term.ID, b)
		if err == nil && len(a.Verdicts) > 0 {
			err = fmt.Errorf("not posted: %+v", a.Verdicts[0])
		}
		return err
	})
	if err != nil {
		return err
	}
	raw, err := rawSQLite(ctx, filepath.Join(dir, "raw.db"), batches)
	if err != nil {
		return err
	}
	rate := func(t times) float64 { return batch * float64(len(t)) / t.sum().Seconds() }
	per := func(t times) string {
		return fmt.Sprintf("%.0f records/s", rate(t))
	}
	line("intake", per(took), goal(rate(took) >= goalRate, fmt.Sprintf("%d", goalRate)))
	line("a batch", took.String(), "p50, p99")
	line("compared to: bare SQLite", per(raw), fmt.Sprintf("multi-row insert of the same bytes, same batches; %.1f times as fast", rate(raw)/rate(took)))
	line("a batch", raw.String(), "p50, p99")
	return nil
}

// each times f over all batches but the first.
func each(batches []wire.Batch, f func(wire.Batch) error) (times, error) {
	var out times
	for i, b := range batches {
		start := time.Now()
		if err := f(b); err != nil {
			return nil, fmt.Errorf("batch %d: %w", i, err)
		}
		if i > 0 {
			out = append(out, time.Since(start))
		}
	}
	return out, nil
}

// rawSQLite inserts the entries and nothing else: one row each, 50 rows a
// statement, one transaction a batch.
func rawSQLite(ctx context.Context, path string, batches []wire.Batch) (took times, err error) {
	const rows = 50
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE raw (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT"); err != nil {
		return nil, err
	}
	insert, err := db.PrepareContext(ctx, "INSERT INTO raw (body) VALUES "+strings.TrimSuffix(strings.Repeat("(?),", rows), ","))
	if err != nil {
		return nil, err
	}
	return each(batches, func(b wire.Batch) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		in := tx.StmtContext(ctx, insert)
		for i := 0; i < len(b.Entries); i += rows {
			args := make([]any, rows)
			for j := range args {
				args[j] = b.Entries[i+j]
			}
			if _, err := in.ExecContext(ctx, args...); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}

// world is as much of a test as the utility's test kit needs.
type world struct {
	testing.TB
	dir     string
	n       int
	cleanup []func()
}

func (w *world) Helper()          {}
func (w *world) Cleanup(f func()) { w.cleanup = append(w.cleanup, f) }
func (w *world) Fatal(a ...any)   { panic(fmt.Sprint(a...)) }

func (w *world) TempDir() string {
	w.n++
	dir := filepath.Join(w.dir, fmt.Sprint("world", w.n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err)
	}
	return dir
}

func (w *world) end() {
	for i := len(w.cleanup) - 1; i >= 0; i-- {
		w.cleanup[i]()
	}
}
