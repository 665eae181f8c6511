package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

const (
	backoffBase = time.Second
	renewEvery  = time.Hour // between tries to renew a certificate
	// Room in a batch for what is not entries: fixed fields and two bytes of
	// length for each entry.
	batchFrame = 256 + 2*wire.MaxBatch
	// A batch begins small and grows while the line is quick, so that a slow
	// line is never filled for minutes while a customer waits, and a bad one
	// gets something through.
	batchFirst = 64 << 10
	batchLeast = 8 << 10
	batchMost  = wire.MaxBatchBytes - batchFrame
	batchQuick = time.Second
	batchSlow  = 4 * time.Second
)

// syncState belongs to the goroutine of Run.
type syncState struct {
	greeted  bool              // the last hello was answered and nothing failed since
	standing wire.Standing     // of the present epoch
	next     map[uint32]uint64 // by epoch: the next sequence to send
	batch    int               // bytes of entries in a batch
	renewed  time.Time         // last try, by the monotonic clock
	stuck    error             // what the utility did not take of an earlier epoch, at the last poll
}

func newSyncState() syncState {
	return syncState{next: make(map[uint32]uint64), batch: batchFirst}
}

// Run keeps journal and utility in step until ctx ends. It is the only
// sender: one batch at a time, in order. It must be called once.
func (c *Client) Run(ctx context.Context) error {
	defer close(c.ended)
	defer func() { c.link.Load().client.CloseIdleConnections() }()
	var waiting []chan error
	failures, greet := 0, true
	for {
		err := c.Turn(ctx, greet)
		var stuck *stuckError
		var standing *StandingError
		for _, w := range waiting {
			if errors.As(err, &stuck) {
				w <- nil // what is sold now was sent
			} else {
				w <- err
			}
		}
		waiting = nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wake, wait := c.wake, c.cfg.Poll
		switch {
		case err == nil, errors.As(err, &stuck):
			failures = 0
		case errors.As(err, &standing):
			failures, wake = 0, nil
		default:
			failures, wake = failures+1, nil
			wait = c.backoff(failures, err)
			c.log.Warn("sync failed", "err", err, "again_in", wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case w := <-c.flushes:
			waiting, greet = append(waiting, w), err != nil
		case <-wake:
			greet = false
		case <-c.probe:
			greet = true
		case <-timer.C:
			greet = true
		}
		timer.Stop()
	}
}

// Turn is one turn of Run: a hello when greet is set or one is due, then
// everything that is unsent. It is for a caller that keeps its own time, as a
// simulation does, and must not be called beside Run.
func (c *Client) Turn(ctx context.Context, greet bool) error {
	err := c.pass(ctx, greet)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.update(func(s *Status) {
		if err != nil {
			s.LastError = err.Error()
		} else {
			s.LastError, s.LastSync = "", c.cfg.Clock()
		}
	})
	return err
}

// backoff is full jitter; what the utility asked for comes on top of it.
func (c *Client) backoff(failures int, err error) time.Duration {
	limit := min(backoffBase<<min(failures-1, 20), c.cfg.MaxBackoff)
	wait := rand.N(limit) + time.Millisecond
	var r *Refusal
	if errors.As(err, &r) {
		wait += min(r.RetryAfter, time.Hour)
	}
	return wait
}

// pass says hello when asked to or when something failed since, and sends
// what is unsent, oldest epoch first.
func (c *Client) pass(ctx context.Context, greet bool) error {
	epochs := c.cfg.Journal.Epochs()
	now := epochs[len(epochs)-1]
	if greet || !c.sync.greeted || c.sync.standing == 0 {
		c.renewIfDue(ctx, false)
		if err := c.greet(ctx, now); err != nil {
			var r *Refusal
			if errors.As(err, &r) && r.Status == http.StatusUnauthorized {
				c.renewIfDue(ctx, true)
			}
			return err
		}
	}
	if greet {
		c.sync.stuck = nil
		for _, e := range epochs[:len(epochs)-1] {
			if e.Acked == e.Head.Seq {
				continue
			}
			if err := c.sendOld(ctx, e); err != nil {
				if !final(err) {
					return err
				}
				c.sync.stuck = &stuckError{epoch: e.Head.Epoch, cause: err}
				c.log.Error("entries of an earlier epoch are not taken", "epoch", e.Head.Epoch, "err", err)
			}
		}
	}
	switch c.sync.standing {
	case wire.StandingGood, wire.StandingBlocked, wire.StandingOldEpoch:
	default:
		return &StandingError{c.sync.standing}
	}
	if err := c.drain(ctx, now); err != nil {
		return err
	}
	c.sync.greeted = true // what is stuck does not concern the present epoch
	return c.sync.stuck
}

// stuckError says that everything was sent but what the utility does not take
// of an earlier epoch. That waits for a person, and is offered again with
// every poll; it must not hold up what is sold today.
type stuckError struct {
	epoch uint32
	cause error
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("uplink: entries of epoch %d are not taken: %v", e.epoch, e.cause)
}

func (e *stuckError) Unwrap() error { return e.cause }

// final reports whether repeating will not help.
func final(err error) bool {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status == http.StatusConflict || r.Status == http.StatusForbidden || r.Status == http.StatusBadRequest
	}
	return errors.Is(err, store.ErrAck) || errors.Is(err, ErrNoKey)
}

// hello says hello for one epoch and keeps the sections that came; more is
// false when none of them was new.
func (c *Client) hello(ctx context.Context, e store.Epoch) (a wire.HelloAnswer, more bool, err error) {
	q, err := c.helloOf(e)
	if err != nil {
		return a, false, err
	}
	start, wall := time.Now(), c.cfg.Clock()
	b, err := c.link.Load().post(ctx, wire.PathHello, q, maxHelloBytes, helloStall)
	if err == nil {
		err = wire.Unseal(b, "hello", c.utility, &a)
	}
	if err == nil && (a.Stored.Terminal != e.Head.Terminal || a.Stored.Epoch != e.Head.Epoch) && a.Stored.Seq != 0 {
		err = fmt.Errorf("%w: the head of terminal %s epoch %d", ErrAnswer, a.Stored.Terminal, a.Stored.Epoch)
	}
	if err != nil {
		c.judge(start, err)
		return a, false, err
	}
	c.breaker.probed()
	middle := wall.Add(time.Since(start) / 2)
	skew := time.UnixMilli(a.Server).Sub(middle)
	c.update(func(s *Status) { s.Skew = skew })
	for _, sealed := range a.Sections {
		var sec wire.Section
		if err := wire.Unseal(sealed, "section", c.utility, &sec); err != nil {
			return a, false, fmt.Errorf("section: %w", err)
		}
		switch err := c.cfg.Journal.PutSection(sealed, sec); {
		case errors.Is(err, store.ErrSection): // older than ours: a server that lags behind
			c.log.Warn("section refused", "kind", sec.Kind, "version", sec.Version, "err", err)
		case errors.Is(err, store.ErrFull): // entries still go up
			c.log.Error("no room for a section", "kind", sec.Kind, "version", sec.Version, "err", err)
		case err != nil:
			return a, false, err
		default:
			more = more || !has(q.Have, sec)
		}
	}
	return a, more, nil
}

func has(have []wire.SectionVersion, s wire.Section) bool {
	for _, v := range have {
		if v.Kind == s.Kind {
			return v.Version >= s.Version
		}
	}
	return false
}

func (c *Client) helloOf(e store.Epoch) (*wire.Hello, error) {
	q := &wire.Hello{Version: wire.Version, Head: e.Head, Software: c.cfg.Software, Wall: c.cfg.Clock().UnixMilli()}
	for k := wire.SectionHotlist; k <= wire.LastSection; k++ {
		// A section that cannot be read is asked for anew.
		if s, ok, err := c.cfg.Journal.Section(k); err == nil && (ok || k == wire.SectionFloat) {
			q.Have = append(q.Have, wire.SectionVersion{Kind: k, Version: s.Version})
		} else if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return nil, err
		}
	}
	return q, nil
}

// greet learns where the present epoch stands.
func (c *Client) greet(ctx context.Context, e store.Epoch) error {
	c.sync.greeted = false
	// What does not fit into one answer comes with the next; on a busy day
	// there is always something newer, so not for ever.
	for round := wire.SectionHotlist; ; round++ {
		a, more, err := c.hello(ctx, e)
		if err != nil {
			return err
		}
		if more && round < wire.LastSection {
			continue
		}
		standing, err := c.place(e, a)
		if err != nil {
			return err
		}
		if standing != c.sync.standing {
			c.log.Info("standing", "standing", standing, "stored", a.Stored.Seq, "head", e.Head.Seq)
		}
		c.sync.greeted, c.sync.standing = true, standing
		c.update(func(s *Status) { s.Standing = standing })
		return nil
	}
}

// sendOld offers the entries of an earlier epoch, whatever its standing is.
func (c *Client) sendOld(ctx context.Context, e store.Epoch) error {
	a, _, err := c.hello(ctx, e)
	if err != nil {
		return err
	}
	if _, err := c.place(e, a); err != nil {
		return err
	}
	return c.drain(ctx, e)
}

// place compares what the utility holds with what is here and says where to
// go on: after what both hold and is acknowledged.
func (c *Client) place(e store.Epoch, a wire.HelloAnswer) (wire.Standing, error) {
	stored := a.Stored.Seq
	if stored > e.Head.Seq {
		c.sync.next[e.Head.Epoch] = e.Acked + 1
		if a.Standing == wire.StandingGood || a.Standing == wire.StandingBlocked {
			return wire.StandingBehind, nil
		}
		return a.Standing, nil
	}
	c.sync.next[e.Head.Epoch] = min(stored, e.Acked) + 1
	if stored > 0 {
		hash, _, err := c.cfg.Journal.EntriesOf(e.Head.Epoch, stored+1, 1, 1)
		if err != nil {
			return 0, err
		}
		if hash != a.Stored.Hash {
			return wire.StandingForked, nil
		}
	}
	return a.Standing, nil
}

// drain sends the entries of one epoch up to its head and whatever is
// appended meanwhile.
func (c *Client) drain(ctx context.Context, e store.Epoch) error {
	epoch := e.Head.Epoch
	back := false
	for {
		from := c.sync.next[epoch]
		prev, entries, err := c.cfg.Journal.EntriesOf(epoch, from, wire.MaxBatch, c.sync.batch)
		if err != nil {
			return c.failed(time.Time{}, err)
		}
		if len(entries) == 0 {
			return nil
		}
		b, err := c.batch(e, from, prev, entries)
		if err != nil {
			return c.failed(time.Time{}, err)
		}
		start := time.Now()
		ack, err := c.send(ctx, b)
		if errors.Is(err, errHeld) {
			c.breaker.worked()
			c.sync.next[epoch] = b.End().Seq + 1
			continue
		}
		if err != nil {
			return c.failed(start, fmt.Errorf("batch %d-%d..%d: %w", epoch, from, b.End().Seq, err))
		}
		c.breaker.worked()
		switch took := time.Since(start); {
		case took < batchQuick:
			c.sync.batch = min(2*c.sync.batch, batchMost)
		case took > batchSlow:
			c.sync.batch = max(c.sync.batch/2, batchLeast)
		}
		if ack.Through < from {
			// It does not hold what it held: go back there, once.
			if back {
				return c.failed(time.Time{}, fmt.Errorf("%w: batch from %d, held through %d", ErrAnswer, from, ack.Through))
			}
			back = true
		}
		c.sync.next[epoch] = ack.Through + 1
	}
}

// failed makes the next pass ask first where things stand.
func (c *Client) failed(start time.Time, err error) error {
	c.sync.greeted = false
	c.sync.batch = max(c.sync.batch/2, batchLeast)
	if !start.IsZero() {
		c.judge(start, err)
	}
	return err
}

func (c *Client) batch(e store.Epoch, from uint64, prev journal.Hash, entries [][]byte) (*wire.Batch, error) {
	c.mu.Lock()
	key := c.keys.Signer(e.Head.Epoch)
	c.mu.Unlock()
	if key == nil {
		return nil, fmt.Errorf("epoch %d: %w", e.Head.Epoch, ErrNoKey)
	}
	b := &wire.Batch{Terminal: e.Head.Terminal, Epoch: e.Head.Epoch, From: from, Prev: prev, Entries: entries, Head: prev}
	for _, x := range entries {
		b.Head = journal.Link(b.Head, x)
	}
	b.Signature = b.End().Sign(key)
	return b, nil
}

// send sends one batch and keeps the acknowledgement.
func (c *Client) send(ctx context.Context, b *wire.Batch) (wire.Ack, error) {
	var ack wire.Ack
	sealed, err := c.link.Load().post(ctx, wire.PathBatches, b, wire.MaxBatchBytes, batchStall)
	if err != nil {
		return ack, err
	}
	if err := wire.Unseal(sealed, "ack", c.utility, &ack); err != nil {
		return ack, err
	}
	if ack.Terminal != b.Terminal || ack.Epoch != b.Epoch {
		return ack, ErrAnswer
	}
	if held(b, ack) && b.Epoch < c.cfg.Journal.Epochs()[len(c.cfg.Journal.Epochs())-1].Head.Epoch {
		// Nothing of an earlier epoch can be mended here any more: the utility
		// has the bytes and the signature, and a person decides.
		if err := c.cfg.Journal.PutHeld(sealed, b.Epoch, b.From, b.End().Seq); err != nil {
			return ack, err
		}
		c.log.Error("entries of an earlier epoch are held as evidence: the utility has others of their names", "epoch", b.Epoch, "from", b.From, "through", b.End().Seq)
		c.update(func(s *Status) { s.Held += uint64(len(b.Entries)) })
		c.changed()
		return ack, errHeld
	}
	if err := c.cfg.Journal.PutAck(sealed, ack); err != nil {
		return ack, err
	}
	held := uint64(0)
	for _, v := range ack.Verdicts {
		if v.Code == wire.VerdictHeld {
			held++
		}
		c.log.Warn("entry not posted", "epoch", ack.Epoch, "seq", v.Seq, "verdict", v.Code, "reason", v.Reason)
	}
	c.update(func(s *Status) { s.Held += held })
	c.changed() // what is unsent is less now
	return ack, nil
}

// errHeld says that the utility holds a batch as evidence against the journal.
var errHeld = errors.New("uplink: held as evidence")

// held reports whether an acknowledgement holds every entry of a batch as
// evidence, since other entries of their names were acknowledged before.
func held(b *wire.Batch, a wire.Ack) bool {
	for i, v := range a.Verdicts {
		if v.Code != wire.VerdictHeld || v.Reason != wire.ReasonEquivocation || v.Seq != b.From+uint64(i) {
			return false
		}
	}
	return len(b.Entries) > 0 && len(a.Verdicts) == len(b.Entries)
}

// renewIfDue renews the certificate at half of its life, by the utility's
// clock as far as it is known, or when the utility no longer takes it. It
// tries once in a while; a failure is reported and changes nothing.
func (c *Client) renewIfDue(ctx context.Context, refused bool) {
	c.mu.Lock()
	keys, skew := c.keys, c.status.Skew
	c.mu.Unlock()
	if c.cfg.SaveKeys == nil || (!c.sync.renewed.IsZero() && time.Since(c.sync.renewed) < renewEvery) {
		return
	}
	pair, err := keys.pair()
	if err != nil {
		return // checked by New
	}
	half := pair.Leaf.NotBefore.Add(pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore) / 2)
	if !refused && c.cfg.Clock().Add(skew).Before(half) {
		return
	}
	c.sync.renewed = time.Now()
	if err := c.renew(ctx, keys); err != nil {
		c.log.Warn("the certificate was not renewed", "ends", pair.Leaf.NotAfter, "err", err)
		return
	}
	c.log.Info("certificate renewed")
}

func (c *Client) renew(ctx context.Context, k Keys) error {
	epochs := c.cfg.Journal.Epochs()
	h, err := c.helloOf(epochs[len(epochs)-1])
	if err != nil {
		return err
	}
	h.Have = nil
	key, csr, err := newTLSKey(k.Terminal)
	if err != nil {
		return err
	}
	b, err := c.link.Load().post(ctx, wire.PathRenew, &wire.RenewRequest{Hello: *h, CSR: csr}, maxSmall, batchStall)
	if err != nil {
		return err
	}
	var a wire.RenewAnswer
	if err := wire.Unseal(b, "renewed", c.utility, &a); err != nil {
		return err
	}
	if a.Terminal != k.Terminal {
		return ErrAnswer
	}
	k.TLSKey, k.Certificate = key, a.Certificate
	if err := k.check(); err != nil {
		return err
	}
	if err := c.cfg.SaveKeys(k); err != nil {
		return fmt.Errorf("keep the new certificate: %w", err)
	}
	c.mu.Lock()
	c.keys = k
	c.mu.Unlock()
	return c.connect(k)
}
