package sqlite

import (
	"bytes"
	"context"
	"sort"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/storage"
)

// Post is of storage.Storage.
func (d *DB) Post(ctx context.Context, c storage.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.change(ctx, func(t *storage.Tail) error {
		if t.Cursor != c.From {
			return storage.ErrConflict
		}
		if err := d.append(t, c.Lines); err != nil {
			return err
		}
		if c.To > t.ID || c.To < c.From {
			return storage.ErrConflict
		}
		t.Cursor = c.To
		return d.post(c)
	})
}

func (d *DB) post(c storage.Change) error {
	if _, err := d.conn.ExecContext(context.Background(), "UPDATE cursor SET line = ?", int64(c.To)); err != nil {
		return err
	}
	postings := make([][]any, len(c.Postings))
	sums := map[ledger.Account]money.Fen{}
	for i, p := range c.Postings {
		postings[i] = []any{p.Account.Bytes(), int64(p.Line), int64(p.N), terminal(p.Name.Terminal), int64(p.Name.Epoch), int64(p.Name.Seq), int64(p.Amount)}
		sums[p.Account] += p.Amount
	}
	balances := make([][]any, 0, len(sums))
	for a, v := range sums {
		balances = append(balances, []any{a.Bytes(), int64(v)})
	}
	byAccount := func(rows [][]any) {
		sort.SliceStable(rows, func(i, j int) bool { return bytes.Compare(rows[i][0].([]byte), rows[j][0].([]byte)) < 0 })
	}
	byAccount(postings) // pages are touched in order
	byAccount(balances)
	items := make([][]any, len(c.Items))
	for i := range c.Items {
		items[i] = itemRow(&c.Items[i])
	}
	var held, alarms, sales, sams, psams, accounts [][]any
	for _, h := range c.Held {
		held = append(held, []any{terminal(h.Name.Terminal), int64(h.Name.Epoch), int64(h.Name.Seq), h.Reason, int64(h.Line)})
	}
	for _, a := range c.Alarms {
		alarms = append(alarms, []any{terminal(a.Name.Terminal), int64(a.Name.Epoch), int64(a.Name.Seq), a.Kind, a.Detail, int64(a.Line)})
	}
	for _, s := range c.Sales {
		sales = append(sales, []any{s.Card[:], int64(s.Shop), terminal(s.Name.Terminal), int64(s.Name.Epoch), int64(s.Name.Seq)})
	}
	for _, s := range c.SAMs {
		sams = append(sams, []any{s.SAM[:], int64(s.Shop), int64(s.Sequence), int64(s.Ceiling), int64(s.MaxCount),
			int64(s.Gave), int64(s.GaveCount), int64(s.Doubt), int64(s.DoubtCount), int64(s.Covered), int64(s.Released), s.Challenge[:], append([]byte{}, s.Answer...)})
	}
	for _, p := range c.PSAMs {
		psams = append(psams, []any{terminal(p.Terminal), int64(p.Epoch), p.PSAM[:], int64(p.Seq), int64(p.Proven), int64(p.Slack)})
	}
	for _, a := range c.Accounts {
		accounts = append(accounts, []any{int64(a.Number), a.Owner})
	}
	for _, t := range []struct {
		prefix, suffix string
		rows           [][]any
	}{
		{"INSERT INTO item (" + itemColumns + ") VALUES",
			`ON CONFLICT DO UPDATE SET kind=excluded.kind, state=excluded.state, shop=excluded.shop, card=excluded.card, account=excluded.account,
			amount=excluded.amount, tx_type=excluded.tx_type, load=excluded.load, counter=excluded.counter, flags=excluded.flags, exposed=excluded.exposed,
			sam=excluded.sam, stamp=excluded.stamp, void_epoch=excluded.void_epoch, void_seq=excluded.void_seq,
			debit_epoch=excluded.debit_epoch, debit_seq=excluded.debit_seq`, items},
		{"INSERT INTO posting (account, line, n, terminal, epoch, seq, amount) VALUES", "", postings},
		{"INSERT INTO balance (account, amount) VALUES", "ON CONFLICT DO UPDATE SET amount = amount + excluded.amount", balances},
		{"INSERT INTO held (terminal, epoch, seq, reason, line) VALUES", "", held},
		{"INSERT INTO alarm (terminal, epoch, seq, kind, detail, line) VALUES", "ON CONFLICT DO NOTHING", alarms},
		{"INSERT INTO sale (card, shop, terminal, epoch, seq) VALUES", "", sales},
		{"INSERT INTO account (number, owner) VALUES", "ON CONFLICT DO UPDATE SET owner = excluded.owner", accounts},
		{"INSERT INTO sam (sam, shop, sequence, ceiling, max_count, gave, gave_count, doubt, doubt_count, covered, released, challenge, answer) VALUES",
			`ON CONFLICT DO UPDATE SET shop=excluded.shop, sequence=excluded.sequence, ceiling=excluded.ceiling, max_count=excluded.max_count,
			gave=excluded.gave, gave_count=excluded.gave_count, doubt=excluded.doubt, doubt_count=excluded.doubt_count, covered=excluded.covered, released=excluded.released,
			challenge=excluded.challenge, answer=excluded.answer`, sams},
		{"INSERT INTO psam (" + psamColumns + ") VALUES", "ON CONFLICT DO UPDATE SET seq=excluded.seq, proven=excluded.proven, slack=excluded.slack", psams},
	} {
		if err := d.insert(t.prefix, t.suffix, t.rows); err != nil {
			return err
		}
	}
	return nil
}
