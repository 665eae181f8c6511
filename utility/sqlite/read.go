package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// each runs a query and calls f for every row. The statement is kept: to
// parse one costs more than to run it.
func (d *DB) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	s, err := d.statement(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d *DB) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	if s := d.reads[query]; s != nil {
		return s, nil
	}
	s, err := d.read.PrepareContext(ctx, query)
	if err == nil {
		d.reads[query] = s
	}
	return s, err
}

// Columns of the table w of among.
const (
	byNumber = "value->>0"
	byBytes  = "unhex(value->>0)"
	byName   = "value->>0, value->>1, value->>2"
	byStep   = "unhex(value->>0), value->>1, value->>2"
	byPair   = "unhex(value->>0), value->>1"
)

// among runs a query with a table w of keys, int64 or []byte. They come as
// one JSON parameter, so that the statement is the same for any number.
func (d *DB) among(ctx context.Context, columns, as string, keys [][]any, query string, f func(*sql.Rows) error) error {
	if len(keys) == 0 {
		return nil
	}
	j := []byte{'['}
	for i, k := range keys {
		if i > 0 {
			j = append(j, ',')
		}
		j = append(j, '[')
		for c, v := range k {
			if c > 0 {
				j = append(j, ',')
			}
			switch v := v.(type) {
			case int64:
				j = strconv.AppendInt(j, v, 10)
			case []byte:
				j = append(j, '"')
				j = hex.AppendEncode(j, v)
				j = append(j, '"')
			}
		}
		j = append(j, ']')
	}
	q := "WITH w(" + as + ") AS MATERIALIZED (SELECT " + columns + " FROM json_each(?)) " + query
	return d.each(ctx, f, q, string(append(j, ']')))
}

const lineColumns = "log.id, log.at, log.kind, log.body, log.hash"

func scanLine(rows *sql.Rows) (l record.Line, err error) {
	var h sql.RawBytes
	err = rows.Scan(&l.ID, &l.At, &l.Kind, &l.Body, &h)
	copy(l.Hash[:], h)
	return l, err
}

// Lines is of storage.Storage.
func (d *DB) Lines(ctx context.Context, after uint64, limit int, kinds ...record.Kind) (lines []record.Line, err error) {
	q := "SELECT " + lineColumns + " FROM log WHERE id > ?"
	args := []any{int64(after)}
	if len(kinds) > 0 {
		q += " AND kind IN (" + strings.TrimSuffix(strings.Repeat("?,", len(kinds)), ",") + ")"
		entries := false
		for _, k := range kinds {
			args = append(args, int64(k))
			entries = entries || k == record.KindEntries
		}
		if !entries {
			q += " AND kind <> 1" // by the index of the others
		}
	}
	args = append(args, limit)
	err = d.each(ctx, func(r *sql.Rows) error {
		l, err := scanLine(r)
		lines = append(lines, l)
		return err
	}, q+" ORDER BY id LIMIT ?", args...)
	return lines, err
}

// Heads is of storage.Storage.
func (d *DB) Heads(ctx context.Context) (heads []journal.Head, err error) {
	err = d.each(ctx, func(r *sql.Rows) error {
		var t, e, last int64
		var first int64
		var h sql.RawBytes
		if err := r.Scan(&t, &e, &first, &last, &h); err != nil {
			return err
		}
		head := journal.Head{Terminal: terminalID(t), Epoch: uint32(e), Seq: uint64(last)}
		copy(head.Hash[:], h)
		heads = append(heads, head)
		return nil
	}, "SELECT terminal, epoch, max(first), last, head FROM log WHERE kind = 1 GROUP BY terminal, epoch ORDER BY terminal, epoch")
	return heads, err
}

// EntryLine is of storage.Storage.
func (d *DB) EntryLine(ctx context.Context, n journal.Name) (l record.Line, ok bool, err error) {
	if n.Seq > math.MaxInt64 {
		return l, false, nil
	}
	err = d.each(ctx, func(r *sql.Rows) error {
		var last int64
		var h sql.RawBytes
		if err := r.Scan(&l.ID, &l.At, &l.Kind, &l.Body, &h, &last); err != nil {
			return err
		}
		copy(l.Hash[:], h)
		ok = uint64(last) >= n.Seq
		return nil
	}, "SELECT "+lineColumns+", last FROM log WHERE kind = 1 AND terminal = ? AND epoch = ? AND first <= ? ORDER BY first DESC LIMIT 1",
		terminal(n.Terminal), int64(n.Epoch), int64(n.Seq))
	return l, ok, err
}

func nameKeys(names []journal.Name) [][]any {
	keys := make([][]any, 0, len(names))
	for _, n := range names {
		if n.Seq <= math.MaxInt64 {
			keys = append(keys, []any{terminal(n.Terminal), int64(n.Epoch), int64(n.Seq)})
		}
	}
	return keys
}

// Fetch is of storage.Storage.
func (d *DB) Fetch(ctx context.Context, w storage.Want) (storage.Have, error) {
	h := storage.Have{
		Raw: map[journal.Name][]byte{}, Items: map[journal.Name]ledger.Item{}, Accounts: map[money.AccountNumber]string{},
		Sales: map[money.CardNumber]storage.Sale{}, Loads: map[journal.Name][]record.Load{}, Voids: map[journal.Name]record.Void{},
		Counter: map[journal.Name][]canon.Record{}, SAMs: map[money.SAMID]storage.SAM{}, Held: map[journal.Name]string{},
	}
	const named = " CROSS JOIN %s x ON x.terminal = w.t AND x.epoch = w.e AND x.seq = w.s"
	item := func(r *sql.Rows) error {
		it, err := scanItem(r)
		h.Items[it.Name] = it
		return err
	}
	itemCols := "x." + strings.ReplaceAll(itemColumns, ", ", ", x.")
	var chain, accounts, sales, sams, psams [][]any
	for i := range w.Chain {
		k := &w.Chain[i]
		chain = append(chain, []any{k.Card[:], flag(k.Load), int64(k.Value)})
	}
	for _, a := range w.Accounts {
		if a <= math.MaxInt64 {
			accounts = append(accounts, []any{int64(a)})
		}
	}
	for i := range w.Sales {
		sales = append(sales, []any{w.Sales[i][:]})
	}
	for i := range w.SAMs {
		sams = append(sams, []any{w.SAMs[i][:]})
	}
	for i := range w.PSAMs {
		p := &w.PSAMs[i]
		psams = append(psams, []any{p.PSAM[:], terminal(p.Terminal)})
	}
	decision := func(kind record.Kind) string {
		return fmt.Sprintf("SELECT "+lineColumns+" FROM w CROSS JOIN log ON log.terminal = w.t AND log.epoch = w.e AND log.first = w.s WHERE log.kind IN (3, 4) AND log.kind = %d ORDER BY log.id", kind)
	}
	err := errors.Join(
		d.raw(ctx, w.Raw, h.Raw),
		d.among(ctx, byName, "t, e, s", nameKeys(w.Items), "SELECT "+itemCols+" FROM w"+fmt.Sprintf(named, "item"), item),
		d.among(ctx, byStep, "c, l, n", chain, "SELECT "+itemCols+" FROM w CROSS JOIN item x ON x.card = w.c AND x.load = w.l AND x.counter = w.n WHERE x.kind NOT IN (4, 5)", item),
		d.among(ctx, byNumber, "n", accounts, "SELECT number, owner FROM w CROSS JOIN account ON number = n", func(r *sql.Rows) error {
			var a storage.Account
			err := r.Scan(&a.Number, &a.Owner)
			h.Accounts[a.Number] = a.Owner
			return err
		}),
		d.among(ctx, byBytes, "c", sales, "SELECT "+saleColumns+" FROM w CROSS JOIN sale ON card = c", func(r *sql.Rows) error {
			s, err := scanSale(r)
			h.Sales[s.Card] = s
			return err
		}),
		d.among(ctx, byBytes, "c", sams, "SELECT "+samColumns+" FROM w CROSS JOIN sam ON sam = c", func(r *sql.Rows) error {
			s, err := scanSAM(r)
			h.SAMs[s.SAM] = s
			return err
		}),
		d.among(ctx, byPair, "c, t", psams, "SELECT "+psamColumns+" FROM w CROSS JOIN psam ON terminal = t AND psam = c", func(r *sql.Rows) error {
			p, err := scanPSAM(r)
			h.PSAMs = append(h.PSAMs, p)
			return err
		}),
		d.among(ctx, byName, "t, e, s", nameKeys(w.Held), "SELECT x.terminal, x.epoch, x.seq, x.reason, x.line FROM w"+fmt.Sprintf(named, "held"), func(r *sql.Rows) error {
			x, err := scanHeld(r)
			h.Held[x.Name] = x.Reason
			return err
		}),
		d.among(ctx, byName, "t, e, s", nameKeys(w.Loads), decision(record.KindLoad), func(r *sql.Rows) error {
			l, err := scanLine(r)
			if err != nil {
				return err
			}
			rec, err := record.Decode(l)
			if err == nil {
				x := rec.(*record.Load)
				h.Loads[x.Request.Name] = append(h.Loads[x.Request.Name], *x)
			}
			return err
		}),
		d.among(ctx, byName, "t, e, s", nameKeys(w.Voids), decision(record.KindVoid), func(r *sql.Rows) error {
			l, err := scanLine(r)
			if err != nil {
				return err
			}
			rec, err := record.Decode(l)
			if err == nil {
				x := rec.(*record.Void)
				h.Voids[x.Question.Name] = *x
			}
			return err
		}),
		d.among(ctx, byName, "t, e, s", nameKeys(w.Counter), "SELECT "+lineColumns+" FROM w CROSS JOIN log ON log.terminal = w.t AND log.epoch = w.e AND log.first = w.s WHERE log.kind IN (7, 8, 9) ORDER BY log.id", func(r *sql.Rows) error {
			l, err := scanLine(r)
			if err != nil {
				return err
			}
			rec, err := record.Decode(l)
			if err == nil {
				n := record.DecidedName(rec)
				h.Counter[n] = append(h.Counter[n], rec)
			}
			return err
		}),
	)
	return h, err
}

// raw finds entries' bytes in the batches that carry them; names of the same
// batch cost one read.
func (d *DB) raw(ctx context.Context, names []journal.Name, to map[journal.Name][]byte) error {
	for _, n := range names {
		if _, ok := to[n]; ok {
			continue
		}
		l, ok, err := d.EntryLine(ctx, n)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		rec, err := record.Decode(l)
		if err != nil {
			return err
		}
		b := rec.(*wire.Batch)
		for i, e := range b.Entries {
			to[journal.Name{Terminal: b.Terminal, Epoch: b.Epoch, Seq: b.From + uint64(i)}] = e
		}
	}
	return nil
}

// Balances is of storage.Storage.
func (d *DB) Balances(ctx context.Context, class ledger.Class, f func(ledger.Account, money.Fen) error) error {
	low, high := []byte{byte(class)}, []byte{byte(class) + 1}
	if class == 0 {
		low, high = []byte{0}, []byte{0xFF}
	}
	return d.each(ctx, func(r *sql.Rows) error {
		var b sql.RawBytes
		var v money.Fen
		if err := r.Scan(&b, &v); err != nil {
			return err
		}
		a, err := ledger.AccountFromBytes(b)
		if err != nil {
			return err
		}
		return f(a, v)
	}, "SELECT account, amount FROM balance WHERE account >= ? AND account < ? ORDER BY account", low, high)
}

// Balance is of storage.Storage.
func (d *DB) Balance(ctx context.Context, a ledger.Account) (v money.Fen, err error) {
	err = d.each(ctx, func(r *sql.Rows) error { return r.Scan(&v) }, "SELECT amount FROM balance WHERE account = ?", a.Bytes())
	return v, err
}

// Postings is of storage.Storage.
func (d *DB) Postings(ctx context.Context, a ledger.Account, f func(storage.Posted) error) error {
	q, args := "SELECT account, line, n, terminal, epoch, seq, amount FROM posting", []any{}
	if a != (ledger.Account{}) {
		q, args = q+" WHERE account = ?", append(args, a.Bytes())
	}
	return d.each(ctx, func(r *sql.Rows) error {
		var b sql.RawBytes
		var p storage.Posted
		var t, e, s int64
		if err := r.Scan(&b, &p.Line, &p.N, &t, &e, &s, &p.Amount); err != nil {
			return err
		}
		var err error
		if p.Account, err = ledger.AccountFromBytes(b); err != nil {
			return err
		}
		p.Name = name(t, e, s)
		return f(p)
	}, q+" ORDER BY account, line, n", args...)
}

// Items is of storage.Storage.
func (d *DB) Items(ctx context.Context, q storage.ItemQuery, f func(ledger.Item) error) error {
	where, args := []string{"1"}, []any{}
	if q.State != nil {
		where = append(where, fmt.Sprintf("state = %d", *q.State))
		if *q.State == ledger.InHeld || *q.State == ledger.InClaim {
			where = append(where, "state IN (1, 4)") // by its index
		}
	}
	if q.Card != nil {
		where, args = append(where, "card = ?"), append(args, q.Card[:])
	}
	if q.Exposed {
		where = append(where, "exposed > 0")
	}
	if q.Nameless {
		where = append(where, "flags & 16")
	}
	if q.Doubted { // intent accepted, not final; a load only when MAC2 may have been given
		where = append(where, "state IN (3, 4, 5, 6) AND flags & 10 = 2 AND kind NOT IN (4, 5) AND (load = 0 OR flags & 4 OR sam IS NOT NULL)")
	}
	return d.each(ctx, func(r *sql.Rows) error {
		it, err := scanItem(r)
		if err != nil {
			return err
		}
		return f(it)
	}, "SELECT "+itemColumns+" FROM item WHERE "+strings.Join(where, " AND ")+" ORDER BY terminal, epoch, seq", args...)
}

// Exposed is of storage.Storage.
func (d *DB) Exposed(ctx context.Context, shop money.ShopID) (v money.Fen, err error) {
	err = d.each(ctx, func(r *sql.Rows) error { return r.Scan(&v) },
		"SELECT coalesce(sum(exposed), 0) FROM item WHERE shop = ? AND exposed > 0", int64(shop))
	return v, err
}

const samColumns = "sam, shop, sequence, ceiling, max_count, gave, gave_count, doubt, doubt_count, covered, released, challenge, answer"

func scanSAM(r *sql.Rows) (s storage.SAM, err error) {
	var id, challenge sql.RawBytes
	var answer []byte
	err = r.Scan(&id, &s.Shop, &s.Sequence, &s.Ceiling, &s.MaxCount, &s.Gave, &s.GaveCount, &s.Doubt, &s.DoubtCount, &s.Covered, &s.Released, &challenge, &answer)
	copy(s.SAM[:], id)
	copy(s.Challenge[:], challenge)
	s.Answer = answer
	return s, err
}

// SAMs is of storage.Storage.
func (d *DB) SAMs(ctx context.Context) (sams []storage.SAM, err error) {
	err = d.each(ctx, func(r *sql.Rows) error {
		s, err := scanSAM(r)
		sams = append(sams, s)
		return err
	}, "SELECT "+samColumns+" FROM sam ORDER BY sam")
	return sams, err
}

const psamColumns = "terminal, epoch, psam, seq, proven, slack"

func scanPSAM(r *sql.Rows) (p storage.PSAM, err error) {
	var t int64
	var id sql.RawBytes
	err = r.Scan(&t, &p.Epoch, &id, &p.Seq, &p.Proven, &p.Slack)
	p.Terminal = terminalID(t)
	copy(p.PSAM[:], id)
	return p, err
}

// PSAMs is of storage.Storage.
func (d *DB) PSAMs(ctx context.Context) (list []storage.PSAM, err error) {
	err = d.each(ctx, func(r *sql.Rows) error {
		p, err := scanPSAM(r)
		list = append(list, p)
		return err
	}, "SELECT "+psamColumns+" FROM psam ORDER BY terminal, epoch, psam")
	return list, err
}

func scanHeld(r *sql.Rows) (h storage.Held, err error) {
	var t, e, s int64
	err = r.Scan(&t, &e, &s, &h.Reason, &h.Line)
	h.Name = name(t, e, s)
	return h, err
}

// Held is of storage.Storage.
func (d *DB) Held(ctx context.Context, f func(storage.Held) error) error {
	return d.each(ctx, func(r *sql.Rows) error {
		h, err := scanHeld(r)
		if err != nil {
			return err
		}
		return f(h)
	}, "SELECT terminal, epoch, seq, reason, line FROM held ORDER BY terminal, epoch, seq")
}

// Alarms is of storage.Storage.
func (d *DB) Alarms(ctx context.Context, f func(storage.Alarm) error) error {
	return d.each(ctx, func(r *sql.Rows) error {
		var a storage.Alarm
		var t, e, s int64
		if err := r.Scan(&t, &e, &s, &a.Kind, &a.Detail, &a.Line); err != nil {
			return err
		}
		a.Name = name(t, e, s)
		return f(a)
	}, "SELECT terminal, epoch, seq, kind, detail, line FROM alarm ORDER BY terminal, epoch, seq, kind")
}

// Accounts is of storage.Storage.
func (d *DB) Accounts(ctx context.Context, f func(storage.Account) error) error {
	return d.each(ctx, func(r *sql.Rows) error {
		var a storage.Account
		if err := r.Scan(&a.Number, &a.Owner); err != nil {
			return err
		}
		return f(a)
	}, "SELECT number, owner FROM account ORDER BY number")
}

const saleColumns = "card, shop, terminal, epoch, seq"

func scanSale(r *sql.Rows) (s storage.Sale, err error) {
	var card sql.RawBytes
	var t, e, q int64
	err = r.Scan(&card, &s.Shop, &t, &e, &q)
	copy(s.Card[:], card)
	s.Name = name(t, e, q)
	return s, err
}

// Sales is of storage.Storage.
func (d *DB) Sales(ctx context.Context, f func(storage.Sale) error) error {
	return d.each(ctx, func(r *sql.Rows) error {
		s, err := scanSale(r)
		if err != nil {
			return err
		}
		return f(s)
	}, "SELECT "+saleColumns+" FROM sale ORDER BY card")
}
