package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sort"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
)

// LedgerHash is the canonical hash of everything that was posted: heads,
// balances, postings, items, quarantine, alarms, sales, the books of SAMs
// and PSAMs, and accounts. It depends on no engine, no clock, and not on how entries were
// cut into batches or in which order the batches of different terminals came,
// but where two of them claim the same step of a card: what was held and given
// back in one order was never posted in the other.
func LedgerHash(ctx context.Context, s Storage) (record.Hash, error) {
	h := sha256.New()
	u64 := func(v ...uint64) {
		for _, x := range v {
			h.Write(binary.BigEndian.AppendUint64(nil, x))
		}
	}
	text := func(s string) { u64(uint64(len(s))); h.Write([]byte(s)) }
	section := func(s string) { text("section " + s) }
	name := func(n journal.Name) { h.Write(n.Terminal[:]); u64(uint64(n.Epoch), n.Seq) }
	flag := func(b ...bool) {
		for _, x := range b {
			if x {
				h.Write([]byte{1})
			} else {
				h.Write([]byte{0})
			}
		}
	}

	section("heads")
	heads, err := s.Heads(ctx)
	if err != nil {
		return record.Hash{}, err
	}
	for _, x := range heads {
		name(journal.Name{Terminal: x.Terminal, Epoch: x.Epoch, Seq: x.Seq})
		h.Write(x.Hash[:])
	}
	section("balances")
	err = s.Balances(ctx, 0, func(a ledger.Account, v money.Fen) error {
		if v != 0 {
			text(string(a.Bytes()))
			u64(uint64(v))
		}
		return nil
	})
	if err != nil {
		return record.Hash{}, err
	}
	section("postings")
	var same []Posted // of one account
	flush := func() {
		sort.Slice(same, func(i, j int) bool {
			a, b := same[i], same[j]
			if a.Name != b.Name {
				return nameLess(a.Name, b.Name)
			}
			return a.Amount < b.Amount
		})
		for _, p := range same {
			text(string(p.Account.Bytes()))
			name(p.Name)
			u64(uint64(p.Amount))
		}
		same = same[:0]
	}
	err = s.Postings(ctx, ledger.Account{}, func(p Posted) error {
		if len(same) > 0 && same[0].Account != p.Account {
			flush()
		}
		same = append(same, p)
		return nil
	})
	flush()
	if err != nil {
		return record.Hash{}, err
	}
	section("items")
	err = s.Items(ctx, ItemQuery{}, func(it ledger.Item) error {
		name(it.Name)
		u64(uint64(it.Kind), uint64(it.State), uint64(it.Shop), uint64(it.Account), uint64(it.Amount), uint64(it.TxType), uint64(it.Counter))
		h.Write(it.Card[:])
		h.Write(it.SAM[:])
		h.Write(it.Stamp[:])
		flag(it.Cash, it.Intent, it.Gave, it.Final, it.Nameless, it.Vouched)
		u64(uint64(it.Void.Epoch), it.Void.Seq, uint64(it.VoidDebit.Epoch), it.VoidDebit.Seq)
		return nil
	})
	if err != nil {
		return record.Hash{}, err
	}
	section("held")
	if err := s.Held(ctx, func(x Held) error { name(x.Name); text(x.Reason); return nil }); err != nil {
		return record.Hash{}, err
	}
	section("alarms")
	if err := s.Alarms(ctx, func(x Alarm) error { name(x.Name); text(x.Kind); return nil }); err != nil {
		return record.Hash{}, err
	}
	section("sales")
	if err := s.Sales(ctx, func(x Sale) error { h.Write(x.Card[:]); u64(uint64(x.Shop)); name(x.Name); return nil }); err != nil {
		return record.Hash{}, err
	}
	section("accounts")
	if err := s.Accounts(ctx, func(x Account) error { u64(uint64(x.Number)); text(x.Owner); return nil }); err != nil {
		return record.Hash{}, err
	}
	section("sams")
	sams, err := s.SAMs(ctx)
	if err != nil {
		return record.Hash{}, err
	}
	for _, x := range sams {
		h.Write(x.SAM[:])
		u64(uint64(x.Shop), uint64(x.Sequence), uint64(x.Ceiling), uint64(x.MaxCount), uint64(x.Gave), uint64(x.GaveCount), uint64(x.Doubt), uint64(x.DoubtCount), uint64(x.Covered), uint64(x.Released))
	}
	section("psams")
	psams, err := s.PSAMs(ctx)
	if err != nil {
		return record.Hash{}, err
	}
	for _, x := range psams {
		name(journal.Name{Terminal: x.Terminal, Epoch: x.Epoch})
		h.Write(x.PSAM[:])
		u64(uint64(x.Seq), uint64(x.Proven), uint64(x.Slack))
	}
	return record.Hash(h.Sum(nil)), nil
}

func nameLess(a, b journal.Name) bool {
	if a.Terminal != b.Terminal {
		return string(a.Terminal[:]) < string(b.Terminal[:])
	}
	if a.Epoch != b.Epoch {
		return a.Epoch < b.Epoch
	}
	return a.Seq < b.Seq
}
