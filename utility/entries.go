package utility

import (
	"context"
	"sort"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/intake"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

const (
	maxSeq   = 1 << 62 // far beyond any journal
	maxForks = 64      // contradicting batches kept as evidence, beside the first of each terminal
)

// Intake takes a batch. It stores the bytes before it judges them. The answer
// says how far the epoch is stored, not beyond the batch's end: a batch that leaves a gap stores nothing,
// one that was seen before stores nothing new. It fails with ErrRefused when
// the batch is not what this terminal signed, and with a LaterError when it
// sent too many wrong cryptograms before; then nothing of it counts.
func (s *Service) Intake(ctx context.Context, from money.TerminalID, b wire.Batch) (wire.Ack, error) {
	if b.Terminal != from {
		return wire.Ack{}, refused("a batch of terminal %s from %s", b.Terminal, from)
	}
	if len(b.Entries) > wire.MaxBatch || b.From > maxSeq {
		return wire.Ack{}, refused("%d entries from %d", len(b.Entries), b.From)
	}
	s.masterMu.RLock()
	ep, ok := s.master.Epoch(from, b.Epoch)
	s.masterMu.RUnlock()
	if !ok {
		return wire.Ack{}, refused("epoch %d was never issued", b.Epoch)
	}
	if err := b.Verify(ep.Key); err != nil {
		return wire.Ack{}, refused("%w", err)
	}
	if wait := s.guesses.wait(epoch{from, b.Epoch}, s.clock()); wait > 0 {
		return wire.Ack{}, &LaterError{wait}
	}

	// What is new is read and verified before the lock is taken, so that
	// terminals don't wait for each other's cryptograms.
	s.mu.Lock()
	head := s.head(from, b.Epoch)
	s.mu.Unlock()
	var prepared *intake.Prepared
	if fresh, ok := rest(&b, head); ok {
		s.masterMu.RLock()
		prepared = s.judge.Prepare(fresh)
		s.masterMu.RUnlock()
	}

	var ack wire.Ack
	err := s.locked(ctx, func() error {
		before, now := head, s.head(from, b.Epoch)
		if before != now {
			prepared = nil
		}
		match, err := s.matches(ctx, &b, now)
		if err != nil {
			return err
		}
		if !match {
			ack, err = s.fork(ctx, &b, now)
			return err
		}
		var held []storage.Held
		if fresh, ok := rest(&b, now); ok {
			if wait := s.guesses.wait(epoch{from, b.Epoch}, s.clock()); wait > 0 { // what another connection sent meanwhile
				return &LaterError{wait}
			}
			if held, err = s.take(ctx, fresh, prepared); err != nil {
				return err
			}
			s.guesses.charge(epoch{from, b.Epoch}, s.clock(), held)
		}
		ack, err = s.ack(ctx, &b, now.Seq, held)
		return err
	})
	return ack, err
}

// head is the end of an epoch as it is stored, under mu.
func (s *Service) head(t money.TerminalID, e uint32) journal.Head {
	if h, ok := s.heads[epoch{t, e}]; ok {
		return h
	}
	return journal.Head{Terminal: t, Epoch: e, Hash: journal.Genesis(t, e)}
}

// rest is the part of a batch after what is stored: the same signature covers
// it. False when there is none or when a gap is before it.
func rest(b *wire.Batch, stored journal.Head) (*wire.Batch, bool) {
	if b.From > stored.Seq+1 || b.End().Seq <= stored.Seq {
		return nil, false
	}
	if b.From == stored.Seq+1 {
		return b, true
	}
	r := *b
	r.From, r.Prev, r.Entries = stored.Seq+1, stored.Hash, b.Entries[stored.Seq+1-b.From:]
	return &r, true
}

// matches reports whether a batch and what is stored are of one chain, as far
// as they touch. Equal hashes at one place mean equal entries before it.
func (s *Service) matches(ctx context.Context, b *wire.Batch, stored journal.Head) (bool, error) {
	switch end := b.End().Seq; {
	case b.From > stored.Seq+1:
		return true, nil // a gap: they do not touch
	case end < stored.Seq:
		h, err := s.hashAt(ctx, journal.Name{Terminal: b.Terminal, Epoch: b.Epoch, Seq: end})
		return h == b.Head, err
	default:
		h := b.Prev
		for _, e := range b.Entries[:stored.Seq+1-b.From] {
			h = journal.Link(h, e)
		}
		return h == stored.Hash, nil
	}
}

// hashAt is the hash of a terminal's chain after a stored entry; sequence 0
// is the genesis.
func (s *Service) hashAt(ctx context.Context, n journal.Name) (journal.Hash, error) {
	if n.Seq == 0 {
		return journal.Genesis(n.Terminal, n.Epoch), nil
	}
	l, ok, err := s.store.EntryLine(ctx, n)
	if err != nil || !ok {
		return journal.Hash{}, err
	}
	rec, err := record.Decode(l)
	if err != nil {
		return journal.Hash{}, err
	}
	b := rec.(*wire.Batch)
	h := b.Prev
	for _, e := range b.Entries[:n.Seq-b.From+1] {
		h = journal.Link(h, e)
	}
	return h, nil
}

// take stores new entries and then posts them, under mu. Whatever happens
// between the two, the entries are posted when the service next runs.
func (s *Service) take(ctx context.Context, b *wire.Batch, prepared *intake.Prepared) ([]storage.Held, error) {
	l := s.next(record.KindEntries, b)
	if err := s.store.Append(ctx, []record.Line{l}); err != nil {
		s.stale = true
		return nil, err
	}
	// From here on the entries are stored, whoever waits for the answer.
	ctx = context.WithoutCancel(ctx)
	s.tail.ID, s.tail.Hash, s.stale = l.ID, l.Hash, true
	change, err := s.judge.Judge(ctx, l, prepared)
	if err != nil {
		return nil, err
	}
	if err := s.store.Post(ctx, change); err != nil {
		return nil, err
	}
	s.tail.Cursor, s.stale = l.ID, false
	s.heads[epoch{b.Terminal, b.Epoch}] = b.End()
	for _, a := range change.Alarms {
		s.log.Warn("alarm", "kind", a.Kind, "entry", a.Name.String(), "detail", a.Detail)
	}
	return change.Held, s.learn(l)
}

// fork keeps signed entries that contradict stored ones, once, and withdraws
// the terminal's selling right. Its data is still taken. What it says is held
// is stored.
func (s *Service) fork(ctx context.Context, b *wire.Batch, stored journal.Head) (wire.Ack, error) {
	if !s.master.Forks[b.Head] {
		if s.master.Frozen[b.Terminal] && len(s.master.Forks) >= maxForks {
			return wire.Ack{}, refused("terminal %s has contradicted itself too often", b.Terminal)
		}
		if err := s.write(ctx, record.KindFork, b); err != nil {
			return wire.Ack{}, err
		}
		s.log.Error("a terminal signed two entries of one name", "terminal", b.Terminal.String(), "epoch", b.Epoch, "from", b.From)
	}
	a := wire.Ack{Terminal: b.Terminal, Epoch: b.Epoch, Through: stored.Seq, Hash: stored.Hash, Server: s.clock().UnixMilli()}
	for i := range b.Entries {
		a.Verdicts = append(a.Verdicts, wire.Verdict{Seq: b.From + uint64(i), Code: wire.VerdictHeld, Reason: wire.ReasonEquivocation})
	}
	return a, nil
}

// ack tells how far the epoch is stored, and the verdicts of the batch's
// entries: of those after seq they are in held.
func (s *Service) ack(ctx context.Context, b *wire.Batch, seq uint64, held []storage.Held) (wire.Ack, error) {
	h := s.head(b.Terminal, b.Epoch)
	if end := b.End(); end.Seq < h.Seq {
		h = end // a terminal restored from an old disk does not know what came after
	}
	a := wire.Ack{Terminal: b.Terminal, Epoch: b.Epoch, Through: h.Seq, Hash: h.Hash, Server: s.clock().UnixMilli()}
	var old []journal.Name
	for n := b.From; n <= min(seq, b.End().Seq); n++ {
		old = append(old, journal.Name{Terminal: b.Terminal, Epoch: b.Epoch, Seq: n})
	}
	if len(old) > 0 {
		have, err := s.store.Fetch(ctx, storage.Want{Held: old})
		if err != nil {
			return a, err
		}
		for n, r := range have.Held {
			a.Verdicts = append(a.Verdicts, wire.Verdict{Seq: n.Seq, Code: wire.VerdictHeld, Reason: r})
		}
	}
	for _, x := range held {
		a.Verdicts = append(a.Verdicts, wire.Verdict{Seq: x.Name.Seq, Code: wire.VerdictHeld, Reason: x.Reason})
	}
	sort.Slice(a.Verdicts, func(i, j int) bool { return a.Verdicts[i].Seq < a.Verdicts[j].Seq })
	return a, nil
}

// Ask says whether an entry of the asking terminal is stored, and how the
// movement that it begins ended.
func (s *Service) Ask(ctx context.Context, from money.TerminalID, q wire.Question) (wire.QuestionAnswer, error) {
	if q.Name.Terminal != from {
		return wire.QuestionAnswer{}, refused("terminal %s asks about %s", from, q.Name)
	}
	a := wire.QuestionAnswer{Name: q.Name}
	_, ok, err := s.store.EntryLine(ctx, q.Name)
	if err != nil || !ok {
		return a, err
	}
	a.Stored = true
	if a.Hash, err = s.hashAt(ctx, q.Name); err != nil {
		return a, err
	}
	have, err := s.store.Fetch(ctx, storage.Want{Held: []journal.Name{q.Name}, Items: []journal.Name{q.Name}})
	a.Reason, a.Held = have.Held[q.Name]
	for _, it := range have.Items {
		// Without its intent the item is what was authorised under the name,
		// and the entry asked about is another one.
		if it.Name == q.Name && it.Intent && it.Final {
			a.Ended = journal.NotDone
			if it.Happened() {
				a.Ended = journal.Done
			}
		}
	}
	return a, err
}
