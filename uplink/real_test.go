package uplink_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/uplink/linktest"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// paper is a journal in memory, made by the utility's own test terminal.
type paper struct {
	mu       sync.Mutex
	t        *utilitytest.Terminal
	acked    uint64
	sections map[wire.SectionKind]wire.Section
}

func (p *paper) Epochs() []store.Epoch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []store.Epoch{{Head: p.t.Head(), Acked: p.acked}}
}

func (p *paper) EntriesOf(epoch uint32, from uint64, max, maxBytes int) (journal.Hash, [][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch != p.t.Epoch || from == 0 || from > uint64(len(p.t.Entries))+1 {
		return journal.Hash{}, nil, store.ErrNotFound
	}
	to := min(len(p.t.Entries), int(from)-1+max)
	return p.t.Hashes[from-1], p.t.Entries[from-1 : to], nil
}

func (p *paper) PutAck(_ []byte, a wire.Ack) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Through > uint64(len(p.t.Entries)) || p.t.Hashes[a.Through] != a.Hash {
		return store.ErrAck
	}
	p.acked = max(p.acked, a.Through)
	return nil
}

func (p *paper) PutHeld([]byte, uint32, uint64, uint64) error { return store.ErrAck }

func (p *paper) PutSection(_ []byte, s wire.Section) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Version < p.sections[s.Kind].Version {
		return store.ErrSection
	}
	p.sections[s.Kind] = s
	return nil
}

func (p *paper) Section(k wire.SectionKind) (wire.Section, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.sections[k]
	return s, ok, nil
}

func (p *paper) write(f func(t *utilitytest.Terminal)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.t)
}

// TestRealUtility runs money over a bad line to the utility itself: what is
// lost, doubled, late or altered on the way changes nothing in the ledger.
func TestRealUtility(t *testing.T) {
	w := utilitytest.NewWorld(t)
	ca, err := pki.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln := loopback(t)
	s := terminals.NewServer(w.Service, ca, terminals.Options{})
	done := make(chan struct{})
	go func() { defer close(done); s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	url := "https://" + ln.Addr().String()
	ctx := t.Context()

	// Enrolment: the SAMs must be those that the code is bound to, and a code
	// is good once.
	psam, lsam := money.SAMID{0x0A, 9: 1}, money.SAMID{0x0B, 9: 1}
	secret, err := w.Service.NewEnrolmentCode(ctx, terminalA, utilitytest.Shop, psam, lsam)
	if err != nil {
		t.Fatal(err)
	}
	opt := uplink.EnrolOptions{URL: url, Code: wire.EnrolmentCode(secret, ca.Certificate()), Terminal: terminalA, PSAM: psam}
	_, _, err = uplink.Enrol(ctx, opt)
	refused(t, err, http.StatusForbidden, terminals.WordCode)
	opt.LoadSAM = lsam
	keys, ident, err := uplink.Enrol(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = uplink.Enrol(ctx, opt)
	refused(t, err, http.StatusForbidden, terminals.WordCode)

	p := &paper{sections: map[wire.SectionKind]wire.Section{}, t: &utilitytest.Terminal{
		ID: ident.Terminal, Shop: ident.Shop, PSAM: psam, LoadSAM: lsam, Epoch: ident.Epoch, Key: keys.Signer(ident.Epoch),
		Hashes: []journal.Hash{journal.Genesis(ident.Terminal, ident.Epoch)}, Now: func() time.Time { return w.Time },
	}}
	bad := []linktest.Plan{{LoseAnswer: true}, {Copies: 1}, {Late: true}, {AlterRequest: 300}, {}, {LoseRequest: true}, {AlterAnswer: -3}, {Late: true, Copies: 1}}
	n := &node{keys: keys, changed: make(chan struct{}, 1)}
	// Only entries run over the bad line, so that questions are asked once.
	cfg := uplink.Config{URL: url, Keys: keys, Journal: p, MaxBackoff: 5 * time.Millisecond}
	var batches int
	faulty(func(_ int, r *http.Request) linktest.Plan {
		if r.URL.Path != wire.PathBatches {
			return linktest.Plan{}
		}
		batches++ // one sender
		return bad[batches%len(bad)]
	})(&cfg)
	if n.Client, err = uplink.New(cfg); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); n.Run(ctx) }()
	t.Cleanup(func() { <-ended })

	card := utilitytest.NewCard(10001)
	for i := range 12 {
		var in journal.LoadIntent
		var name journal.Name
		p.write(func(x *utilitytest.Terminal) {
			in = card.InitLoad(x.ID, 20_00)
			name = x.Add(journal.Name{}, &in)
		})
		n.flush(t)
		q := wire.LoadRequest{Name: name, Intent: in}
		a, err := n.AuthoriseLoad(ctx, q)
		if err != nil || a.Refused != wire.OK {
			t.Fatalf("%d: %+v %v", i, a, err)
		}
		if b, err := n.AuthoriseLoad(ctx, q); err != nil || b.MAC2 != a.MAC2 || b.Stamp != a.Stamp {
			t.Fatalf("the repeated question was answered otherwise: %v", err)
		}
		p.write(func(x *utilitytest.Terminal) {
			x.Add(name, &journal.LoadAuthorised{Stamp: a.Stamp, MAC2: a.MAC2})
			tac, ok := card.Credit(x.ID, in, a.Stamp, a.MAC2)
			if !ok {
				t.Error("the card refuses MAC2")
			}
			x.Add(name, &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true, TAC: tac, After: card.Balance})
			x.Redeem(card, utilitytest.Account, 5_00)
		})
		n.flush(t)
	}
	if got := w.Balance("customer/1000000001"); got != 12*5_00 {
		t.Errorf("the account holds %s", got)
	}
	if got := w.Balance("card/" + card.Number.String()); got != card.Balance {
		t.Errorf("the ledger says %s, the card %s", got, card.Balance)
	}
	w.Audit()
	if b, err := n.Account(ctx, utilitytest.Account); err != nil || b.Bill.Balance != 60_00 {
		t.Errorf("%+v %v", b, err)
	}
	if l, ok, _ := p.Section(wire.SectionLimits); !ok || l.Limits.TopUpMax == 0 {
		t.Error("limits did not come down")
	}

	// Everything again from the start, on a second connection: nothing moves.
	before, err := w.Service.LedgerHash(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.write(func(*utilitytest.Terminal) { p.acked = 0 })
	cfg.Wrap = nil
	again, err := uplink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended2 := make(chan struct{})
	go func() { defer close(ended2); again.Run(ctx) }()
	t.Cleanup(func() { <-ended2 })
	if err := again.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := w.Service.LedgerHash(ctx); err != nil || after != before {
		t.Errorf("the ledger changed: %v", err)
	}
}
