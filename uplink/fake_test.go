package uplink_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/wire"
)

var (
	terminalA = money.TerminalID{0x31, 0x01, 0, 0, 0x12, 0x34}
	terminalB = money.TerminalID{0x31, 0x01, 0, 0, 0x12, 0x35}
)

const shop money.ShopID = 10000001

type chainKey struct {
	terminal money.TerminalID
	epoch    uint32
}

type chain struct {
	key     ed25519.PublicKey
	entries [][]byte
	hashes  []journal.Hash
}

// fake is a utility that keeps chains in memory and judges nothing else.
type fake struct {
	key ed25519.PrivateKey

	mu       sync.Mutex
	codes    map[string]money.TerminalID
	chains   map[chainKey]*chain
	sections map[wire.SectionKind]wire.Section
	standing wire.Standing                                // overrides when not 0
	before   func(ctx context.Context, what string) error // called first by every method
	calls    map[string]int
	batches  []wire.Batch
	loads    map[journal.Name]wire.LoadAnswer
	held     map[uint64]string
}

func newFake() *fake {
	return &fake{
		key:      ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)),
		codes:    map[string]money.TerminalID{},
		chains:   map[chainKey]*chain{},
		sections: map[wire.SectionKind]wire.Section{},
		calls:    map[string]int{},
		loads:    map[journal.Name]wire.LoadAnswer{},
		held:     map[uint64]string{},
	}
}

func (f *fake) enter(ctx context.Context, what string) (func(), error) {
	f.mu.Lock()
	f.calls[what]++
	before := f.before
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, what); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	return f.mu.Unlock, nil
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) called(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[what]
}

func (f *fake) held1(seq uint64, why string) { f.set(func() { f.held[seq] = why }) }

// stored gives what the utility holds of a chain.
func (f *fake) stored(t money.TerminalID, epoch uint32) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.chains[chainKey{t, epoch}]; c != nil {
		return slices.Clone(c.entries)
	}
	return nil
}

func (c *chain) head(k chainKey) journal.Head {
	h := journal.Head{Terminal: k.terminal, Epoch: k.epoch, Seq: uint64(len(c.entries)), Hash: journal.Genesis(k.terminal, k.epoch)}
	if h.Seq > 0 {
		h.Hash = c.hashes[h.Seq-1]
	}
	return h
}

func (f *fake) Hello(ctx context.Context, from money.TerminalID, h wire.Hello) (wire.HelloAnswer, error) {
	leave, err := f.enter(ctx, "hello")
	if err != nil {
		return wire.HelloAnswer{}, err
	}
	defer leave()
	k := chainKey{from, h.Head.Epoch}
	c := f.chains[k]
	if c == nil {
		return wire.HelloAnswer{}, utility.ErrRefused
	}
	a := wire.HelloAnswer{Standing: wire.StandingGood, Stored: c.head(k), Server: time.Now().UnixMilli()}
	switch {
	case f.standing != 0:
		a.Standing = f.standing
	case a.Stored.Seq > h.Head.Seq:
		a.Standing = wire.StandingBehind
	case a.Stored.Seq == h.Head.Seq && a.Stored.Hash != h.Head.Hash:
		a.Standing = wire.StandingForked
	case f.chains[chainKey{from, h.Head.Epoch + 1}] != nil:
		a.Standing = wire.StandingOldEpoch
	}
	for _, kind := range slices.Sorted(maps.Keys(f.sections)) {
		s := f.sections[kind]
		if !slices.ContainsFunc(h.Have, func(v wire.SectionVersion) bool { return v.Kind == kind && v.Version >= s.Version }) {
			a.Sections = append(a.Sections, wire.Seal("section", &s, f.key))
		}
	}
	return a, nil
}

func (f *fake) Intake(ctx context.Context, from money.TerminalID, b wire.Batch) (wire.Ack, error) {
	leave, err := f.enter(ctx, "intake")
	if err != nil {
		return wire.Ack{}, err
	}
	defer leave()
	k := chainKey{from, b.Epoch}
	c := f.chains[k]
	if c == nil {
		return wire.Ack{}, utility.ErrRefused
	}
	if err := b.Verify(c.key); err != nil {
		return wire.Ack{}, fmt.Errorf("%w: %w", utility.ErrRefused, err)
	}
	f.batches = append(f.batches, b)
	if stored := uint64(len(c.entries)); b.From <= stored+1 {
		prev := journal.Genesis(from, b.Epoch)
		if b.From > 1 {
			prev = c.hashes[b.From-2]
		}
		if b.Prev != prev {
			return wire.Ack{}, fmt.Errorf("%w: another chain", utility.ErrRefused)
		}
		for i, e := range b.Entries {
			if at := b.From - 1 + uint64(i); at < stored {
				if !bytes.Equal(c.entries[at], e) {
					return wire.Ack{}, fmt.Errorf("%w: fork", utility.ErrRefused)
				}
				continue
			}
			c.hashes = append(c.hashes, journal.Link(c.head(k).Hash, e))
			c.entries = append(c.entries, e)
		}
	}
	h := c.head(k)
	a := wire.Ack{Terminal: from, Epoch: b.Epoch, Through: h.Seq, Hash: h.Hash, Server: time.Now().UnixMilli()}
	for seq, why := range f.held {
		if seq >= b.From && seq <= b.End().Seq {
			a.Verdicts = append(a.Verdicts, wire.Verdict{Seq: seq, Code: wire.VerdictHeld, Reason: why})
		}
	}
	return a, nil
}

func (f *fake) Ask(ctx context.Context, from money.TerminalID, q wire.Question) (wire.QuestionAnswer, error) {
	leave, err := f.enter(ctx, "ask")
	if err != nil {
		return wire.QuestionAnswer{}, err
	}
	defer leave()
	c := f.chains[chainKey{from, q.Name.Epoch}]
	return wire.QuestionAnswer{Name: q.Name, Stored: c != nil && q.Name.Seq <= uint64(len(c.entries))}, nil
}

func (f *fake) AuthoriseLoad(ctx context.Context, from money.TerminalID, r wire.LoadRequest) (wire.LoadAnswer, error) {
	leave, err := f.enter(ctx, "load")
	if err != nil {
		return wire.LoadAnswer{}, err
	}
	defer leave()
	if a, ok := f.loads[r.Name]; ok {
		return a, nil
	}
	a := wire.LoadAnswer{Name: r.Name, Server: time.Now().UnixMilli()}
	a.MAC2[0] = byte(len(f.loads) + 1)
	f.loads[r.Name] = a
	return a, nil
}

func (f *fake) AgreeVoid(ctx context.Context, from money.TerminalID, q wire.VoidQuestion) (wire.Agreement, error) {
	leave, err := f.enter(ctx, "void")
	if err != nil {
		return wire.Agreement{}, err
	}
	defer leave()
	return wire.Agreement{Name: q.Name}, nil
}

func (f *fake) IssueAllowance(ctx context.Context, from money.TerminalID, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	leave, err := f.enter(ctx, "allowance")
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	defer leave()
	return wire.AllowanceAnswer{SAM: r.SAM, Sequence: 1}, nil
}

func (f *fake) Account(ctx context.Context, from money.TerminalID, q wire.AccountQuestion) (wire.AccountAnswer, error) {
	leave, err := f.enter(ctx, "account")
	if err != nil {
		return wire.AccountAnswer{}, err
	}
	defer leave()
	return wire.AccountAnswer{Bill: wire.Bill{Account: q.Account, Balance: -123}}, nil
}

func (f *fake) TakeBill(ctx context.Context, from money.TerminalID, q wire.BillQuestion) (wire.Agreement, error) {
	leave, err := f.enter(ctx, "bill")
	if err != nil {
		return wire.Agreement{}, err
	}
	defer leave()
	return wire.Agreement{Name: q.Name}, nil
}

func (f *fake) LookUpClaim(ctx context.Context, from money.TerminalID, q wire.ClaimQuestion) (wire.ClaimAnswer, error) {
	leave, err := f.enter(ctx, "claim")
	if err != nil {
		return wire.ClaimAnswer{}, err
	}
	defer leave()
	return wire.ClaimAnswer{Claim: q.Claim, Amount: 5}, nil
}

func (f *fake) Collect(ctx context.Context, from money.TerminalID, q wire.CollectQuestion) (wire.Agreement, error) {
	leave, err := f.enter(ctx, "collect")
	if err != nil {
		return wire.Agreement{}, err
	}
	defer leave()
	return wire.Agreement{Name: q.Name, Refused: wire.CodeTwice}, nil
}

func (f *fake) AskCard(ctx context.Context, from money.TerminalID, q wire.CardQuestion) (wire.Agreement, error) {
	leave, err := f.enter(ctx, "card")
	if err != nil {
		return wire.Agreement{}, err
	}
	defer leave()
	return wire.Agreement{Name: q.Name}, nil
}

func (f *fake) Enrol(ctx context.Context, e utility.Enrolment) (utility.Enrolled, error) {
	leave, err := f.enter(ctx, "enrol")
	if err != nil {
		return utility.Enrolled{}, err
	}
	defer leave()
	if t, ok := f.codes[e.Code]; !ok || t != e.Terminal {
		return utility.Enrolled{}, utility.ErrCode
	}
	delete(f.codes, e.Code)
	out := utility.Enrolled{Terminal: e.Terminal, Shop: shop, Epoch: 1}
	for c := f.chains[chainKey{e.Terminal, out.Epoch}]; c != nil; c = f.chains[chainKey{e.Terminal, out.Epoch}] {
		h := c.head(chainKey{e.Terminal, out.Epoch})
		out.PrevEpoch, out.PrevSeq, out.PrevHash = h.Epoch, h.Seq, h.Hash
		out.Epoch++
	}
	f.chains[chainKey{e.Terminal, out.Epoch}] = &chain{key: e.RecordKey}
	return out, nil
}

func (f *fake) Seal(what string, r canon.Record) []byte { return wire.Seal(what, r, f.key) }
func (f *fake) PublicKey() ed25519.PublicKey            { return f.key.Public().(ed25519.PublicKey) }

// host is a utility behind real TLS.
type host struct {
	*fake
	ca   *pki.Authority
	url  string
	dial func(context.Context, string, string) (net.Conn, error) // nil: TCP
}

// serve puts a fake behind a listener.
func serve(t *testing.T, ln net.Listener, opt terminals.Options) *host {
	t.Helper()
	ca, err := pki.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	s := terminals.NewServer(f, ca, opt)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return &host{fake: f, ca: ca, url: "https://" + ln.Addr().String()}
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// code makes an enrolment code good for one terminal.
func (h *host) code(t money.TerminalID, secret string) string {
	h.set(func() { h.codes[secret] = t })
	return wire.EnrolmentCode(secret, h.ca.Certificate())
}

func (h *host) enrol(t *testing.T, id money.TerminalID) (uplink.Keys, store.Identity) {
	t.Helper()
	keys, ident, err := uplink.Enrol(t.Context(), uplink.EnrolOptions{URL: h.url, Code: h.code(id, "S"+id.String()), Terminal: id, Dial: h.dial})
	if err != nil {
		t.Fatal(err)
	}
	return keys, ident
}

func newStore(t *testing.T, id store.Identity) *store.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := store.Create(path, id, store.Options{}); err != nil {
		t.Fatal(err)
	}
	return openStore(t, path)
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// write appends n entries.
func write(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var d []store.Draft
	for range n {
		d = append(d, store.Draft{Actor: journal.System, Body: &journal.Start{Shop: shop, Software: "test"}})
	}
	if _, err := s.Append(t.Context(), d...); err != nil {
		t.Fatal(err)
	}
}

// node is an enrolled terminal with its link.
type node struct {
	*uplink.Client
	keys    uplink.Keys
	store   *store.Store
	changed chan struct{}
	stop    func()
}

// start makes a client of cfg and runs it. Keys and Journal are set unless
// the caller did.
func (h *host) start(t *testing.T, id money.TerminalID, change func(*uplink.Config)) *node {
	t.Helper()
	keys, ident := h.enrol(t, id)
	return h.run(t, keys, newStore(t, ident), change)
}

func (h *host) run(t *testing.T, keys uplink.Keys, s *store.Store, change func(*uplink.Config)) *node {
	t.Helper()
	n := &node{keys: keys, store: s, changed: make(chan struct{}, 1)}
	cfg := uplink.Config{
		URL: h.url, Keys: keys, Journal: s, Software: "test", Dial: h.dial, MaxBackoff: 10 * time.Millisecond,
		OnChange: func() {
			select {
			case n.changed <- struct{}{}:
			default:
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := uplink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Client = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	n.stop = func() { cancel(); <-done }
	t.Cleanup(n.stop)
	return n
}

// until waits until the status is as wanted.
func (n *node) until(t *testing.T, what string, ok func(uplink.Status) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok(n.Status()) {
		select {
		case <-n.changed:
		case <-deadline:
			t.Fatalf("never %s: %+v", what, n.Status())
		}
	}
}

func (n *node) flush(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := n.Flush(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("never flushed: %v; %+v", err, n.Status())
		}
	}
}

// same checks that the utility holds exactly what the terminal wrote.
func (n *node) same(t *testing.T, h *host) {
	t.Helper()
	for _, e := range n.store.Epochs() {
		_, want, err := n.store.EntriesOf(e.Head.Epoch, 1, 1<<20, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		got := h.stored(e.Head.Terminal, e.Head.Epoch)
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("epoch %d: the utility holds %d entries, the terminal wrote %d, or they differ", e.Head.Epoch, len(got), len(want))
		}
		if e.Acked != e.Head.Seq {
			t.Fatalf("epoch %d: %d of %d acknowledged", e.Head.Epoch, e.Acked, e.Head.Seq)
		}
	}
}
