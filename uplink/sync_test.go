package uplink_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/uplink/linktest"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/wire"
)

// faulty puts plans into the line of a client.
func faulty(plan func(n int, r *http.Request) linktest.Plan) func(*uplink.Config) {
	return func(c *uplink.Config) {
		c.Wrap = func(b http.RoundTripper) http.RoundTripper { return &linktest.Transport{Base: b, Plan: plan} }
	}
}

// onBatch lets plan decide over the n-th batch only.
func onBatch(plan func(n int) linktest.Plan) func(*uplink.Config) {
	var n atomic.Int64
	return faulty(func(_ int, r *http.Request) linktest.Plan {
		if r.URL.Path != wire.PathBatches {
			return linktest.Plan{}
		}
		return plan(int(n.Add(1) - 1))
	})
}

func TestSyncSendsWhatWasHashed(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	write(t, n.store, 2500)
	n.flush(t)
	n.same(t, h)
	if s := n.Status(); !s.Online || s.Standing != wire.StandingGood || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
	if d := n.Status().Skew; d < -5*time.Second || d > 5*time.Second {
		t.Errorf("skew %s", d)
	}
	hellos := h.called("hello")
	write(t, n.store, 1)
	n.Wake()
	n.until(t, "sent", func(uplink.Status) bool { return n.store.Acked() == 2501 || h.called("intake") > 100 })
	n.flush(t)
	n.same(t, h)
	if h.called("hello") != hellos {
		t.Errorf("a new entry cost another hello")
	}
	for _, b := range h.batches {
		if len(b.Entries) > wire.MaxBatch || len(wire.Marshal(&b)) > wire.MaxBatchBytes {
			t.Errorf("batch of %d entries, %d bytes", len(b.Entries), len(wire.Marshal(&b)))
		}
	}
}

func TestOneByteAlteredOnTheWay(t *testing.T) {
	// 1 is in the terminal's number, 60 in an entry's header, -1 in the
	// signature, -70 in the hash of the head.
	for _, at := range []int{1, 60, 200, -1, -70} {
		h := serve(t, loopback(t), terminals.Options{})
		n := h.start(t, terminalA, onBatch(func(i int) linktest.Plan {
			if i == 0 {
				return linktest.Plan{AlterRequest: at}
			}
			return linktest.Plan{}
		}))
		write(t, n.store, 3)
		n.Wake()
		n.flush(t)
		n.same(t, h)
		if len(h.batches) != 1 {
			t.Errorf("byte %d: %d batches counted, want only the true one", at, len(h.batches))
		}
	}
}

func TestAnswerAlteredOnTheWay(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	var n *node
	n = h.start(t, terminalA, onBatch(func(i int) linktest.Plan {
		if i < 3 {
			return linktest.Plan{AlterAnswer: []int{1, 30, -1}[i]}
		}
		if n.store.Acked() != 0 {
			t.Error("an altered acknowledgement was kept")
		}
		return linktest.Plan{}
	}))
	write(t, n.store, 3)
	n.flush(t)
	n.same(t, h)
}

// forger signs acknowledgements with a key of its own.
type forger struct{ *fake }

func (f *forger) Seal(what string, r canon.Record) []byte {
	if what == "ack" {
		return wire.Seal(what, r, journalKey)
	}
	return f.fake.Seal(what, r)
}

func TestForgedAck(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, ident := h.enrol(t, terminalA)
	n := serveOther(t, h, &forger{h.fake}).run(t, keys, newStore(t, ident), nil)
	write(t, n.store, 3)
	if err := n.Flush(t.Context()); !errors.Is(err, wire.ErrSignature) || n.store.Acked() != 0 {
		t.Errorf("%v, acknowledged through %d", err, n.store.Acked())
	}
}

func TestBadLine(t *testing.T) {
	plans := []linktest.Plan{
		{LoseAnswer: true}, {}, {LoseRequest: true}, {Copies: 2}, {Late: true}, {LoseAnswer: true, Late: true},
		{}, {Copies: 1, LoseAnswer: true}, {AlterRequest: 100}, {Late: true}, {},
	}
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, onBatch(func(i int) linktest.Plan { return plans[i%len(plans)] }))
	for range 30 {
		write(t, n.store, 7)
		n.Wake()
		n.flush(t)
	}
	n.same(t, h)
}

func TestLostAckIsAskedAgain(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, onBatch(func(i int) linktest.Plan { return linktest.Plan{LoseAnswer: i == 0} }))
	write(t, n.store, 5)
	n.flush(t)
	n.same(t, h)
	if len(h.batches) != 2 || h.batches[0].From != 1 || h.batches[1].From != 1 {
		t.Errorf("%d batches", len(h.batches))
	}
}

func TestTwoConnectionsInterleaved(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, ident := h.enrol(t, terminalA)
	s := newStore(t, ident)
	// Two senders of one journal, as after a hung process was replaced.
	a := h.run(t, keys, s, nil)
	b := h.run(t, keys, s, nil)
	for range 20 {
		write(t, s, 11)
		a.Wake()
		b.Wake()
		a.flush(t)
		b.flush(t)
	}
	a.same(t, h)
}

func TestWritingWhileSending(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	var n *node
	h.before = func(_ context.Context, what string) error {
		if what == "intake" && n.store.Head().Seq < 50 {
			write(t, n.store, 3)
		}
		return nil
	}
	keys, ident := h.enrol(t, terminalA)
	s := newStore(t, ident)
	write(t, s, 1)
	n = &node{store: s}
	m := h.run(t, keys, s, nil)
	n.Client = m.Client
	m.flush(t)
	m.flush(t)
	m.same(t, h)
	if m.store.Head().Seq < 50 {
		t.Error("a sale during the drain waited")
	}
}

func TestSections(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	limits := func(v uint64) wire.Section {
		return wire.Section{Kind: wire.SectionLimits, Version: v, Limits: wire.Limits{TopUpMax: money.Fen(v)}}
	}
	h.sections[wire.SectionLimits] = limits(5)
	h.sections[wire.SectionHotlist] = wire.Section{Kind: wire.SectionHotlist, Version: 2, Hotlist: wire.Hotlist{{1}}}
	n := h.start(t, terminalA, nil)
	n.until(t, "good", func(s uplink.Status) bool { return s.Standing == wire.StandingGood })
	held := func() wire.Section {
		s, _, err := n.store.Section(wire.SectionLimits)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if held().Limits.TopUpMax != 5 {
		t.Fatalf("limits %+v", held())
	}
	if s, ok, _ := n.store.Section(wire.SectionHotlist); !ok || !s.Hotlist.Has(money.CardNumber{1}) {
		t.Error("hotlist did not come down")
	}
	n.stop()

	// A server that lags behind offers an older one again and again: refused,
	// and the sync goes on.
	lag := &lagging{fake: h.fake, old: wire.Seal("section", ptr(limits(4)), h.fake.key)}
	l2 := serveOther(t, h, lag)
	m := l2.run(t, n.keys, n.store, nil)
	write(t, m.store, 1)
	m.flush(t)
	if held().Version != 5 {
		t.Error("an older section replaced a newer one")
	}
	m.stop()

	// A section signed by somebody else is refused, and shows.
	lag.old = wire.Seal("section", ptr(limits(9)), journalKey)
	k := l2.run(t, n.keys, n.store, nil)
	k.until(t, "complaining", func(s uplink.Status) bool { return s.LastError != "" })
	if held().Version != 5 {
		t.Error("a foreign section was kept")
	}
}

func ptr[T any](v T) *T { return &v }

func TestBehindAndForked(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, ident := h.enrol(t, terminalA)
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	if err := store.Create(path, ident, store.Options{}); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	write(t, s, 4)
	f, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	n := h.run(t, keys, s, nil)
	write(t, s, 4)
	n.flush(t)
	n.same(t, h)
	n.stop()
	before := len(h.stored(terminalA, 1))

	// The copy, put back: the utility holds more.
	old := openStore(t, copied)
	m := h.run(t, keys, old, nil)
	m.until(t, "behind", func(s uplink.Status) bool { return s.Standing == wire.StandingBehind && s.LastError != "" })
	write(t, old, 1)
	var standing *uplink.StandingError
	if err := m.Flush(t.Context()); !errors.As(err, &standing) || standing.Standing != wire.StandingBehind {
		t.Errorf("flush of a restored disk: %v", err)
	}
	m.stop()

	// It goes on selling and overtakes: another hash at the same place.
	write(t, old, 20)
	k := h.run(t, keys, old, nil)
	k.until(t, "forked", func(s uplink.Status) bool { return s.Standing == wire.StandingForked && s.LastError != "" })
	if got := len(h.stored(terminalA, 1)); got != before {
		t.Errorf("a forked journal was sent: %d entries", got)
	}
	if old.Head().Seq != 25 {
		t.Error("entries were lost")
	}
	k.stop()

	// Enrolled again: a new epoch is taken, the forked rest stays and shows.
	keys2, ident2, err := uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: h.url, Code: h.code(terminalA, "AGAIN"), Terminal: terminalA, Previous: &keys})
	if err != nil {
		t.Fatal(err)
	}
	if ident2.Epoch != 2 || ident2.PrevSeq != uint64(before) || len(keys2.Record) != 2 {
		t.Fatalf("second enrolment %+v", ident2)
	}
	if err := old.Renew(ident2); err != nil {
		t.Fatal(err)
	}
	write(t, old, 3)
	r := h.run(t, keys2, old, nil)
	r.flush(t)
	if got := len(h.stored(terminalA, 2)); got != 3 {
		t.Errorf("%d entries of the new epoch arrived", got)
	}
	r.until(t, "showing the rest", func(s uplink.Status) bool { return s.LastError != "" && s.Online })
}

func TestOldEpochIsSentFirst(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	keys, ident := h.enrol(t, terminalA)
	s := newStore(t, ident)
	write(t, s, 4)
	keys2, ident2, err := uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: h.url, Code: h.code(terminalA, "AGAIN"), Terminal: terminalA, Previous: &keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(ident2); err != nil {
		t.Fatal(err)
	}
	write(t, s, 4)
	n := h.run(t, keys2, s, nil)
	n.flush(t)
	n.same(t, h)
	if h.batches[0].Epoch != 1 || h.batches[len(h.batches)-1].Epoch != 2 {
		t.Error("order of epochs")
	}

	// The certificate left on the old disk opens nothing of the new epoch.
	keysOld := keys
	keysOld.Record = append(keysOld.Record, keys2.Record[1])
	m := h.run(t, keysOld, s, nil)
	m.until(t, "refused", func(s uplink.Status) bool { return s.LastError != "" })
	if m.Online() {
		t.Error("the certificate of an earlier epoch opened the new one")
	}
}

func TestUtilityRestoredFromBackup(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	write(t, n.store, 10)
	n.flush(t)
	h.set(func() {
		c := h.chains[chainKey{terminalA, 1}]
		c.entries, c.hashes = c.entries[:4], c.hashes[:4]
	})
	write(t, n.store, 1)
	n.flush(t) // through the gap
	n.same(t, h)
}

func TestBlockedTerminalStillSends(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	h.standing = wire.StandingBlocked
	n := h.start(t, terminalA, nil)
	write(t, n.store, 3)
	n.flush(t)
	n.same(t, h)
	n.until(t, "blocked", func(s uplink.Status) bool { return s.Standing == wire.StandingBlocked })
}

func TestQuarantineIsCounted(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	h.held1(2, "bad_tac")
	n := h.start(t, terminalA, nil)
	write(t, n.store, 3)
	n.flush(t)
	n.same(t, h)
	if n.Status().Held != 1 {
		t.Errorf("held %d", n.Status().Held)
	}
}

func TestQuestions(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	ctx := t.Context()
	name := journal.Name{Terminal: terminalA, Epoch: 1, Seq: 1}
	n.until(t, "online", func(s uplink.Status) bool { return s.Online })
	a, err := n.AuthoriseLoad(ctx, wire.LoadRequest{Name: name})
	if err != nil || a.MAC2[0] != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	if again, err := n.AuthoriseLoad(ctx, wire.LoadRequest{Name: name}); err != nil || again != a {
		t.Errorf("asked again: %+v %v", again, err)
	}
	if b, err := n.Account(ctx, 1234567890); err != nil || b.Bill.Balance != -123 {
		t.Errorf("%+v %v", b, err)
	}
	if v, err := n.AgreeVoid(ctx, wire.VoidQuestion{Name: name, TopUp: name}); err != nil || v.Name != name {
		t.Errorf("%+v %v", v, err)
	}
	if v, err := n.IssueAllowance(ctx, wire.AllowanceRequest{SAM: money.SAMID{9}}); err != nil || v.SAM != (money.SAMID{9}) {
		t.Errorf("%+v %v", v, err)
	}
	if q, err := n.Ask(ctx, name); err != nil || q.Stored {
		t.Errorf("%+v %v", q, err)
	}
	write(t, n.store, 1)
	n.flush(t)
	if q, err := n.Ask(ctx, name); err != nil || !q.Stored {
		t.Errorf("%+v %v", q, err)
	}

	// What is another terminal's is not asked about, whoever asks.
	other := journal.Name{Terminal: terminalB, Epoch: 1, Seq: 1}
	var r *uplink.Refusal
	calls := h.called("load") + h.called("void") + h.called("ask")
	for _, ask := range []func() error{
		func() error { _, err := n.AuthoriseLoad(ctx, wire.LoadRequest{Name: other}); return err },
		func() error { _, err := n.AgreeVoid(ctx, wire.VoidQuestion{Name: name, TopUp: other}); return err },
		func() error { _, err := n.AgreeVoid(ctx, wire.VoidQuestion{Name: other, TopUp: name}); return err },
		func() error { _, err := n.Ask(ctx, other); return err },
	} {
		if err := ask(); !errors.As(err, &r) || r.Status != http.StatusForbidden || r.Word != terminals.WordForeign {
			t.Errorf("foreign name: %v", err)
		}
	}
	if h.called("load")+h.called("void")+h.called("ask") != calls {
		t.Error("the service was asked about another terminal's entries")
	}
	if !n.Online() {
		t.Error("refusals broke the link")
	}
}

func TestAnswerToAnotherQuestion(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	n.until(t, "online", func(s uplink.Status) bool { return s.Online })
	name := journal.Name{Terminal: terminalA, Epoch: 1, Seq: 1}
	h.set(func() { h.loads[name] = wire.LoadAnswer{Name: journal.Name{Terminal: terminalA, Epoch: 1, Seq: 2}} })
	if _, err := n.AuthoriseLoad(t.Context(), wire.LoadRequest{Name: name}); !errors.Is(err, uplink.ErrAnswer) {
		t.Errorf("an answer to another load was taken: %v", err)
	}
}

func TestServiceFails(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	n.until(t, "online", func(s uplink.Status) bool { return s.Online })
	var fails atomic.Int64
	fails.Store(5)
	h.set(func() {
		h.before = func(_ context.Context, what string) error {
			if what == "intake" && fails.Add(-1) >= 0 {
				return errors.New("disk full")
			}
			return nil
		}
	})
	write(t, n.store, 2)
	n.flush(t)
	n.same(t, h)
	n.until(t, "well again", func(s uplink.Status) bool { return s.Online && s.LastError == "" })
}

func TestRefusedEverywhere(t *testing.T) {
	h := serve(t, loopback(t), terminals.Options{})
	n := h.start(t, terminalA, nil)
	h.set(func() {
		h.before = func(context.Context, string) error { return utility.ErrRefused }
	})
	write(t, n.store, 2)
	var r *uplink.Refusal
	if err := n.Flush(t.Context()); !errors.As(err, &r) || r.Status != http.StatusConflict || r.Word != terminals.WordRefused || r.RequestID == "" {
		t.Errorf("%v", err)
	}
	if n.store.Unsent().Count != 2 {
		t.Error("entries were lost")
	}
}
