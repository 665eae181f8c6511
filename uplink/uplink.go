// Package uplink is the terminal's side of the line to the utility. It sends
// the journal, exactly the bytes that were hashed, in order and under one
// signature per batch; brings back acknowledgements and sections; asks the
// questions of the moment; and holds the belief whether the link is up.
//
// It may import floors 0 and 1. It must never name, alter or drop an entry,
// decide about money, or let the terminal wait for a line that is down.
package uplink

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// Errors of use.
var (
	ErrStopped = errors.New("uplink: Run has ended; nothing was sent")
	ErrNoKey   = errors.New("uplink: the key file has no key for this epoch of the journal: enrol again")
)

// StandingError means that the utility and this terminal do not agree about
// the journal. Nothing is lost and nothing is sent: the terminal must be
// enrolled again for a new epoch.
type StandingError struct{ Standing wire.Standing }

func (e *StandingError) Error() string {
	switch e.Standing {
	case wire.StandingBehind:
		return "uplink: the utility holds more of this journal than the terminal: restored from an old disk; enrol again"
	case wire.StandingForked:
		return "uplink: the utility holds another journal of the same number: a copied or altered disk; enrol again"
	case wire.StandingReenrol:
		return "uplink: the utility wants this terminal to enrol again"
	}
	return fmt.Sprintf("uplink: standing %d", e.Standing)
}

// Journal is what uplink needs of the terminal's file; *store.Store is one.
type Journal interface {
	Epochs() []store.Epoch
	EntriesOf(epoch uint32, from uint64, max, maxBytes int) (prev journal.Hash, entries [][]byte, err error)
	PutAck(sealed []byte, a wire.Ack) error
	PutHeld(sealed []byte, epoch uint32, from, through uint64) error
	PutSection(sealed []byte, sec wire.Section) error
	Section(k wire.SectionKind) (wire.Section, bool, error)
}

var _ Journal = (*store.Store)(nil)

// Config is what a Client is made of. URL, Keys and Journal must be set.
type Config struct {
	URL      string // of the utility: https://host:port
	Keys     Keys
	Journal  Journal
	Software string // at most 64 bytes

	SaveKeys   func(Keys) error // writes renewed keys durably before they are used; nil: certificates are not renewed
	OnChange   func()           // called after Status changed or entries were acknowledged, from any goroutine; must not block
	Clock      func() time.Time // the terminal's wall clock, which may be wrong; nil: time.Now
	Log        *slog.Logger     // nil: discard
	Poll       time.Duration    // between hellos when nothing else happens; 0: 15 s
	MaxBackoff time.Duration    // between tries on a dead link; 0: 60 s

	// Dial makes connections, as Gate.DialContext; nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Wrap puts something around the transport, as linktest does; nil: nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Status is what the link looks like. Skew and the certificate's end are for
// screens and reports; nothing is ordered or refused by them.
type Status struct {
	Online   bool
	Standing wire.Standing // of the present epoch; 0 until the first hello was answered
	LastSync time.Time     // by the terminal's clock, when everything was last acknowledged and answered; zero: never
	// LastError is why the last try failed; "" when it worked.
	LastError      string
	Skew           time.Duration // the utility's clock minus ours, measured at the last hello
	Held           uint64        // entries the utility put into quarantine, since the start
	CertificateEnd time.Time
}

// Client is the link of one terminal. Its methods may be called from any
// goroutine; Run must be running for entries to be sent.
type Client struct {
	cfg     Config
	log     *slog.Logger
	base    *url.URL
	utility ed25519.PublicKey
	breaker breaker

	wake    chan struct{}   // something new to send
	probe   chan struct{}   // the line may have changed: try at once
	flushes chan chan error // who waits for everything to be sent
	ended   chan struct{}   // closed when Run returns

	link atomic.Pointer[line]

	mu     sync.Mutex
	keys   Keys
	status Status

	sync syncState // Run's own
}

// New makes a client. It sends nothing until Run.
func New(cfg Config) (*Client, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := cfg.Keys.check(); err != nil {
		return nil, err
	}
	if cfg.Journal == nil {
		return nil, errors.New("uplink: Journal must be set")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Poll == 0 {
		cfg.Poll = 15 * time.Second
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = time.Minute
	}
	c := &Client{
		cfg: cfg, log: cfg.Log, base: base, keys: cfg.Keys,
		utility: append(ed25519.PublicKey(nil), cfg.Keys.Utility[:]...),
		wake:    make(chan struct{}, 1),
		probe:   make(chan struct{}, 1),
		flushes: make(chan chan error),
		ended:   make(chan struct{}),
		sync:    newSyncState(),
	}
	if err := c.connect(cfg.Keys); err != nil {
		return nil, err
	}
	return c, nil
}

// connect makes a line under the certificate of k and drops the present one.
func (c *Client) connect(k Keys) error {
	pair, err := k.pair()
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(k.CA)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	conf := tlsConfig(func([]*x509.Certificate) (*x509.Certificate, error) { return ca, nil })
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	l := newLine(c.base, conf, func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watched{Conn: conn, lost: c.suspect}, nil
	})
	if c.cfg.Wrap != nil {
		l.client.Transport = c.cfg.Wrap(l.client.Transport)
	}
	if old := c.link.Swap(l); old != nil {
		old.client.CloseIdleConnections()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.CertificateEnd = pair.Leaf.NotAfter
	return nil
}

// watched tells when a connection ends by itself, so that a cut line shows at
// once and not at the next sale.
type watched struct {
	net.Conn
	lost   func()
	closed atomic.Bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	var ne net.Error
	if err != nil && !(errors.As(err, &ne) && ne.Timeout()) && !w.closed.Swap(true) {
		w.lost()
	}
	return n, err
}

func (w *watched) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

// Online tells whether the link is believed to be up. It never blocks.
func (c *Client) Online() bool { return c.breaker.up() }

// Standing is what the utility last said of this terminal's present epoch,
// 0 before it said anything.
func (c *Client) Standing() wire.Standing { return c.Status().Standing }

// Status tells what the link looks like. It never blocks on the network.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Online = c.breaker.up()
	return s
}

// Wake says that there are new entries. It never blocks. Call it after every
// append; without it they go up with the next poll.
func (c *Client) Wake() { poke(c.wake) }

// Probe says that the line may be up again: the client tries at once instead
// of waiting its turn. It never blocks.
func (c *Client) Probe() { poke(c.probe) }

// suspect has the line probed at once when it is believed to be up. It is
// what the client does of itself: on a line known to be down it would undo
// the backoff.
func (c *Client) suspect() {
	if c.breaker.up() {
		c.Probe()
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// update changes the status and tells when a person would see a difference.
func (c *Client) update(change func(*Status)) {
	c.mu.Lock()
	before := c.status
	change(&c.status)
	c.status.Online = c.breaker.up()
	after := c.status
	c.mu.Unlock()
	after.LastSync, after.Skew = before.LastSync, before.Skew
	if after != before {
		c.changed()
	}
}

func (c *Client) changed() {
	if c.cfg.OnChange != nil {
		c.cfg.OnChange()
	}
}

// ask sends a question of the moment, once.
func (c *Client) ask(ctx context.Context, path, what string, q, a canon.Record) error {
	if !c.breaker.up() {
		return ErrOffline
	}
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	start := time.Now()
	b, err := c.link.Load().post(ctx, path, q, maxSmall, questionWait)
	if err == nil {
		err = wire.Unseal(b, what, c.utility, a)
	}
	c.judge(start, err)
	if dead(err) {
		c.suspect()
	}
	return err
}

// judge lets the breaker know how a try ended.
func (c *Client) judge(start time.Time, err error) {
	switch {
	case err == nil:
		c.breaker.worked()
	case dead(err):
		c.breaker.failed(start)
	}
	c.update(func(*Status) {})
}

// AuthoriseLoad asks the vault for MAC2. An error means that no answer came;
// the same question may be asked again.
func (c *Client) AuthoriseLoad(ctx context.Context, r wire.LoadRequest) (wire.LoadAnswer, error) {
	var a wire.LoadAnswer
	if err := c.ask(ctx, wire.PathLoads, "load", &r, &a); err != nil {
		return wire.LoadAnswer{}, err
	}
	if a.Name != r.Name {
		return wire.LoadAnswer{}, ErrAnswer
	}
	return a, nil
}

// AgreeVoid asks whether a top-up may be voided.
func (c *Client) AgreeVoid(ctx context.Context, q wire.VoidQuestion) (wire.Agreement, error) {
	var a wire.Agreement
	if err := c.ask(ctx, wire.PathVoids, "void", &q, &a); err != nil {
		return wire.Agreement{}, err
	}
	if a.Name != q.Name {
		return wire.Agreement{}, ErrAnswer
	}
	return a, nil
}

// IssueAllowance asks for a larger allowance for the load SAM.
func (c *Client) IssueAllowance(ctx context.Context, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	var a wire.AllowanceAnswer
	if err := c.ask(ctx, wire.PathAllowances, "allowance", &r, &a); err != nil {
		return wire.AllowanceAnswer{}, err
	}
	if a.SAM != r.SAM {
		return wire.AllowanceAnswer{}, ErrAnswer
	}
	return a, nil
}

// Account looks an account up.
func (c *Client) Account(ctx context.Context, n money.AccountNumber) (wire.AccountAnswer, error) {
	var a wire.AccountAnswer
	if err := c.ask(ctx, wire.PathAccounts, "account", &wire.AccountQuestion{Account: n}, &a); err != nil {
		return wire.AccountAnswer{}, err
	}
	if a.Refused == wire.OK && a.Bill.Account != n {
		return wire.AccountAnswer{}, ErrAnswer
	}
	return a, nil
}

// TakeBill asks the utility to take a bill that was paid in cash.
func (c *Client) TakeBill(ctx context.Context, q wire.BillQuestion) (wire.Agreement, error) {
	return c.agree(ctx, wire.PathBills, "bill", q.Name, &q)
}

// Collect asks whether a claim may be paid out here.
func (c *Client) Collect(ctx context.Context, q wire.CollectQuestion) (wire.Agreement, error) {
	return c.agree(ctx, wire.PathCollects, "collect", q.Name, &q)
}

// AskCard asks the utility to block or replace a card.
func (c *Client) AskCard(ctx context.Context, q wire.CardQuestion) (wire.Agreement, error) {
	return c.agree(ctx, wire.PathCards, "card", q.Name, &q)
}

func (c *Client) agree(ctx context.Context, path, what string, n journal.Name, q canon.Record) (wire.Agreement, error) {
	var a wire.Agreement
	if err := c.ask(ctx, path, what, q, &a); err != nil {
		return wire.Agreement{}, err
	}
	if a.Name != n {
		return wire.Agreement{}, ErrAnswer
	}
	return a, nil
}

// LookUpClaim asks what waits under the number of a slip.
func (c *Client) LookUpClaim(ctx context.Context, n journal.Name) (wire.ClaimAnswer, error) {
	var a wire.ClaimAnswer
	if err := c.ask(ctx, wire.PathClaims, "claim", &wire.ClaimQuestion{Claim: n}, &a); err != nil {
		return wire.ClaimAnswer{}, err
	}
	if a.Claim != n {
		return wire.ClaimAnswer{}, ErrAnswer
	}
	return a, nil
}

// Ask asks what the utility knows of an entry: whether it holds it, and how
// the movement that it begins ended.
func (c *Client) Ask(ctx context.Context, n journal.Name) (wire.QuestionAnswer, error) {
	var a wire.QuestionAnswer
	if err := c.ask(ctx, wire.PathQuestions, "question", &wire.Question{Name: n}, &a); err != nil {
		return wire.QuestionAnswer{}, err
	}
	if a.Name != n {
		return wire.QuestionAnswer{}, ErrAnswer
	}
	return a, nil
}

// Flush sends everything of the present epoch that is unsent now and waits
// until the utility holds it. With nothing unsent it asks nobody. It tries
// even when the link is believed to be down.
func (c *Client) Flush(ctx context.Context) error {
	if !c.unsent() {
		return nil
	}
	done := make(chan error, 1)
	select {
	case c.flushes <- done:
	case <-ctx.Done():
		return fmt.Errorf("uplink: flush: %w", ctx.Err())
	case <-c.ended:
		return ErrStopped
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("uplink: flush: %w", ctx.Err())
	}
}

func (c *Client) unsent() bool {
	es := c.cfg.Journal.Epochs()
	now := es[len(es)-1]
	return now.Acked < now.Head.Seq
}
