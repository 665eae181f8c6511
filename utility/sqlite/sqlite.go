// Package sqlite keeps the utility's log and ledger in one SQLite file
// (modernc.org/sqlite), so that one machine needs nothing else. WAL,
// synchronous FULL, one connection that writes, STRICT tables, integers for
// every amount.
//
// It may import the storage interface and its values. It judges nothing.
// Never open the file of a running utility with another program's SQLite: older
// libraries can damage it (storage-sync.md section 6).
package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// schemaVersion is in PRAGMA user_version. Version 1 had no books of PSAMs,
// version 2 no decisions of the counter, version 3 no debits that empty a card.
const schemaVersion = 4

//go:embed log.sql
var logSchema string

//go:embed counter.sql
var counterSchema string // of the log, since version 3

//go:embed doubted.sql
var doubtedSchema string // which items can be doubted, since version 4

//go:embed schema.sql
var schema string

// derived1 and derived2 are the tables of those versions that are made from
// the log.
var (
	derived1 = []string{"cursor", "item", "posting", "balance", "held", "alarm", "sale", "account", "sam"}
	derived2 = append(derived1[:len(derived1):len(derived1)], "psam")
)

// DB is a storage in one file. It may be used from any goroutine.
type DB struct {
	read   *sql.DB
	readMu sync.Mutex
	reads  map[string]*sql.Stmt

	mu    sync.Mutex // guards everything below: one writer
	write *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	tail  storage.Tail
	lost  bool // an error left the tail unknown: read it before the next write
}

var _ storage.Storage = (*DB)(nil)

// Open opens or creates the file.
func Open(ctx context.Context, path string) (*DB, error) {
	dsn := func(mode string) string {
		q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "cache_size(-65536)"}, "_txlock": {mode}}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	write, err := sql.Open("sqlite", dsn("immediate"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	d := &DB{write: write, stmts: map[string]*sql.Stmt{}, reads: map[string]*sql.Stmt{}, lost: true}
	if err := d.open(ctx); err != nil {
		d.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.read, err = sql.Open("sqlite", dsn("deferred")+"&_pragma=query_only(1)"); err != nil {
		d.Close()
		return nil, err
	}
	d.read.SetMaxOpenConns(max(2, runtime.NumCPU()))
	return d, nil
}

func (d *DB) open(ctx context.Context) (err error) {
	if d.conn, err = d.write.Conn(ctx); err != nil {
		return err
	}
	var version int
	if err := d.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch version {
	case schemaVersion:
		return nil
	case 0:
		return d.make(ctx, logSchema)
	case 3:
		return d.upgrade(ctx, "DROP INDEX item_doubted;\n"+doubtedSchema)
	case 1, 2:
		// The log is the record. What is made from it is made anew, line by
		// line, when the service next runs.
		derived := derived2
		if version == 1 {
			derived = derived1
		}
		return d.make(ctx, "DROP TABLE "+strings.Join(derived, "; DROP TABLE ")+";")
	}
	return fmt.Errorf("version %d: %w", version, storage.ErrSchema)
}

// make runs what comes before the tables that are made from the log, and makes
// those, all in one commit.
func (d *DB) make(ctx context.Context, first string) error {
	return d.upgrade(ctx, first+"\n"+counterSchema+"\n"+schema+"\n"+doubtedSchema)
}

// upgrade brings the file to the present version, in one commit.
func (d *DB) upgrade(ctx context.Context, statements string) error {
	_, err := d.conn.ExecContext(ctx, fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA user_version = %d;\nCOMMIT;", statements, schemaVersion))
	return err
}

// Close ends the storage.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, s := range d.stmts {
		errs = append(errs, s.Close())
	}
	d.stmts = map[string]*sql.Stmt{}
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	d.readMu.Lock()
	defer d.readMu.Unlock()
	for _, s := range d.reads {
		errs = append(errs, s.Close())
	}
	d.reads = map[string]*sql.Stmt{}
	if d.read != nil {
		errs = append(errs, d.read.Close())
	}
	return errors.Join(append(errs, d.write.Close())...)
}

// Tail is of storage.Storage.
func (d *DB) Tail(ctx context.Context) (storage.Tail, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.where(ctx)
}

func (d *DB) where(ctx context.Context) (storage.Tail, error) {
	if !d.lost {
		return d.tail, nil
	}
	t := storage.Tail{Hash: record.Genesis}
	var h []byte
	err := d.conn.QueryRowContext(ctx, "SELECT id, hash FROM log ORDER BY id DESC LIMIT 1").Scan(&t.ID, &h)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return t, err
	}
	copy(t.Hash[:], h)
	if err := d.conn.QueryRowContext(ctx, "SELECT line FROM cursor").Scan(&t.Cursor); err != nil {
		return t, err
	}
	d.tail, d.lost = t, false
	return t, nil
}

// Append is of storage.Storage.
func (d *DB) Append(ctx context.Context, lines []record.Line) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.change(ctx, func(t *storage.Tail) error { return d.append(t, lines) })
}

// change runs f in one transaction. Whatever fails rolls back; when even the
// commit's outcome is not known, the next call reads the tail again. A
// transaction that began is not interrupted by the end of ctx.
func (d *DB) change(ctx context.Context, f func(*storage.Tail) error) error {
	t, err := d.where(ctx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	bg := context.Background()
	if _, err := d.conn.ExecContext(bg, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = f(&t)
	if err == nil {
		_, err = d.conn.ExecContext(bg, "COMMIT")
	}
	if err != nil {
		d.lost = true
		if _, rerr := d.conn.ExecContext(bg, "ROLLBACK"); rerr != nil && !errors.Is(err, storage.ErrConflict) {
			err = fmt.Errorf("%w (and rollback: %w)", err, rerr)
		}
		return err
	}
	d.tail = t
	return nil
}

func (d *DB) append(t *storage.Tail, lines []record.Line) error {
	rows := make([][]any, len(lines))
	for i, l := range lines {
		if l.ID != t.ID+1 || record.Link(t.Hash, l) != l.Hash {
			return storage.ErrConflict
		}
		t.ID, t.Hash = l.ID, l.Hash
		name, last, head, err := about(l)
		if err != nil {
			return err
		}
		rows[i] = []any{int64(l.ID), l.At, int64(l.Kind), l.Body, l.Hash[:], terminal(name.Terminal), int64(name.Epoch), int64(name.Seq), int64(last), head}
	}
	return d.insert("INSERT INTO log (id, at, kind, body, hash, terminal, epoch, first, last, head) VALUES", "", rows)
}

// about gives what the log is searched by: the name of the first entry of a
// batch, or of what was decided.
func about(l record.Line) (n journal.Name, last uint64, head []byte, err error) {
	switch l.Kind {
	case record.KindEntries, record.KindFork, record.KindLoad, record.KindVoid, record.KindBillPaid, record.KindCollected, record.KindCardAsked:
	default:
		return n, 0, nil, nil
	}
	r, err := record.Decode(l)
	if err != nil {
		return n, 0, nil, err
	}
	switch r := r.(type) {
	case *wire.Batch:
		return journal.Name{Terminal: r.Terminal, Epoch: r.Epoch, Seq: r.From}, r.End().Seq, r.Head[:], nil
	case *record.Load:
		return r.Request.Name, r.Request.Name.Seq, nil, nil
	case *record.Void:
		return r.Question.Name, r.Question.Name.Seq, nil, nil
	}
	n = record.DecidedName(r)
	return n, n.Seq, nil, nil
}

// chunk is how many rows one statement inserts at most; what is left over goes
// in quarters of it, so that there are few different statements to parse.
const chunk = 64

// insert writes rows with few statements: prefix, (?,…),(?,…), suffix.
func (d *DB) insert(prefix, suffix string, rows [][]any) error {
	for len(rows) > 0 {
		n := chunk
		for n > len(rows) {
			n /= 4
		}
		row := "(" + strings.TrimSuffix(strings.Repeat("?,", len(rows[0])), ",") + "),"
		key := fmt.Sprint(n, prefix)
		s := d.stmts[key]
		if s == nil {
			var err error
			q := prefix + " " + strings.TrimSuffix(strings.Repeat(row, n), ",") + " " + suffix
			if s, err = d.conn.PrepareContext(context.Background(), q); err != nil {
				return err
			}
			d.stmts[key] = s
		}
		args := make([]any, 0, n*len(rows[0]))
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		if _, err := s.Exec(args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func terminal(t money.TerminalID) int64 {
	var v int64
	for _, b := range t {
		v = v<<8 | int64(b)
	}
	return v
}

func terminalID(v int64) (t money.TerminalID) {
	for i := len(t) - 1; i >= 0; i-- {
		t[i] = byte(v)
		v >>= 8
	}
	return t
}

func name(t, epoch, seq int64) journal.Name {
	return journal.Name{Terminal: terminalID(t), Epoch: uint32(epoch), Seq: uint64(seq)}
}

// Bits of item.flags.
const (
	flagCash = 1 << iota
	flagIntent
	flagGave
	flagFinal
	flagNameless
	flagVouched
)

const itemColumns = "terminal, epoch, seq, kind, state, shop, card, account, amount, tx_type, load, counter, flags, exposed, sam, stamp, void_epoch, void_seq, debit_epoch, debit_seq"

func itemRow(it *ledger.Item) []any {
	var flags int64
	for i, b := range []bool{it.Cash, it.Intent, it.Gave, it.Final, it.Nameless, it.Vouched} {
		if b {
			flags |= 1 << i
		}
	}
	var sam, stamp any
	if !it.SAM.IsZero() {
		sam, stamp = it.SAM[:], it.Stamp[:]
	}
	card := it.Card[:]
	if it.Kind == ledger.CashBill {
		card = []byte{} // at no step of no card
	}
	return []any{terminal(it.Name.Terminal), int64(it.Name.Epoch), int64(it.Name.Seq), int64(it.Kind), int64(it.State),
		int64(it.Shop), card, int64(it.Account), int64(it.Amount), int64(it.TxType), flag(it.Load()), int64(it.Counter),
		flags, int64(it.Exposed()), sam, stamp, int64(it.Void.Epoch), int64(it.Void.Seq), int64(it.VoidDebit.Epoch), int64(it.VoidDebit.Seq)}
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func scanItem(rows *sql.Rows) (it ledger.Item, err error) {
	var t, e, s, load, flags, exposed, ve, vs, de, ds int64
	var card, sam, stamp sql.RawBytes
	err = rows.Scan(&t, &e, &s, &it.Kind, &it.State, &it.Shop, &card, &it.Account, &it.Amount, &it.TxType, &load, &it.Counter,
		&flags, &exposed, &sam, &stamp, &ve, &vs, &de, &ds)
	it.Name = name(t, e, s)
	copy(it.Card[:], card)
	copy(it.SAM[:], sam)
	copy(it.Stamp[:], stamp)
	it.Cash, it.Intent, it.Gave = flags&flagCash != 0, flags&flagIntent != 0, flags&flagGave != 0
	it.Final, it.Nameless, it.Vouched = flags&flagFinal != 0, flags&flagNameless != 0, flags&flagVouched != 0
	it.Void = journal.Ref{Epoch: uint32(ve), Seq: uint64(vs)}
	it.VoidDebit = journal.Ref{Epoch: uint32(de), Seq: uint64(ds)}
	return it, err
}

// Modes gives the journal mode and the synchronous setting of the connection
// that writes; "wal" and 2 (FULL) unless something is wrong.
func (d *DB) Modes() (journal string, synchronous int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := context.Background()
	d.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal)
	d.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous)
	return journal, synchronous
}
