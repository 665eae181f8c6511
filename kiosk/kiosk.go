// Package kiosk is what people see of a terminal: the local HTTP API, the
// clerk's page, the customer's page, their live events and, on a simulated
// desk, the desk's control panel. It turns wishes into calls of the terminal
// and outcomes into words and slips; it decides nothing about money.
//
// It may import terminal and what lies below it. It must never talk to a card
// or to the utility, write a file, repeat a money call by itself, or say that
// nothing happened when that is not certain. No PIN is logged or answered.
package kiosk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
)

// Terminal is the business behind the screens. A *terminal.Refusal means
// that nothing was done; a Receipt without error says done, not done or
// unknown; any other error of a money call leaves open what happened.
type Terminal interface {
	Status() terminal.Status
	Changes(ctx context.Context) <-chan struct{}
	TopUp(ctx context.Context, r terminal.TopUpRequest) (terminal.Receipt, error)
	Redeem(ctx context.Context, r terminal.RedeemRequest) (terminal.Receipt, error)
	Sell(ctx context.Context, r terminal.SellRequest) (terminal.Receipt, error)
	Void(ctx context.Context, r terminal.VoidRequest) (terminal.Receipt, error)
	ReturnCash(ctx context.Context, r terminal.ReturnCashRequest) (terminal.Receipt, error)
	PayBill(ctx context.Context, r terminal.BillRequest) (terminal.Receipt, error)
	Claim(ctx context.Context, name journal.Name) (terminal.ClaimView, error)
	CollectClaim(ctx context.Context, r terminal.ClaimRequest) (terminal.Receipt, error)
	BlockCard(ctx context.Context, r terminal.CardRequest) (terminal.Receipt, error)
	ReplaceCard(ctx context.Context, r terminal.CardRequest) (terminal.Receipt, error)
	EmptyCard(ctx context.Context, r terminal.EmptyRequest) (terminal.Receipt, error)
	AskAgain(ctx context.Context, name journal.Name) (terminal.Receipt, error)
	Transaction(name journal.Name) (terminal.Receipt, error)
	Transactions(max int, before journal.Ref) ([]terminal.Receipt, error)
	History(ctx context.Context) ([]purse.LogRecord, error)
	Account(ctx context.Context, n money.AccountNumber) (terminal.AccountView, error)
	OpenShift(ctx context.Context, who terminal.Who, cash money.Fen) (store.Shift, error)
	CloseShift(ctx context.Context, r terminal.CloseRequest) (terminal.ShiftReport, error)
	Report() (terminal.ShiftReport, error)
	Reports(max int) ([]terminal.ShiftReport, error)
	ReportOf(number uint32) (terminal.ShiftReport, error)
	Attention() (terminal.Attention, error)
	Explain(ctx context.Context, r terminal.ExplainRequest) (terminal.ShiftReport, error)
	Receive(ctx context.Context, r terminal.ReceiveRequest) (terminal.Pack, error)
	CountStock(ctx context.Context, r terminal.CountRequest) (terminal.Pack, error)
	Stock() ([]terminal.Pack, error)
	Staff() ([]store.Person, error)
	ChangeStaff(ctx context.Context, who terminal.Who, s journal.Staff, p store.Person, gone bool) error
	Note(ctx context.Context, who terminal.Who, s journal.Staff) error
	StaffActs(max int) ([]journal.Entry, error)
	Known(tok journal.Token) (bool, error)
	ByToken(tok journal.Token) (terminal.Receipt, bool, error)
	Reprint(ctx context.Context, who terminal.Who, name journal.Name) (uint32, error)
	Settle(ctx context.Context, who terminal.Who, closing journal.Name) (uint32, error)
	Settled(closing journal.Name) (uint32, error)
}

// Link tells what the screens show of the link to the utility.
type Link interface{ Link() LinkView }

// LinkView is the link at this moment.
type LinkView struct {
	Online   bool
	LastSync time.Time     // zero: never
	Standing string        // "good", "behind", "forked", "blocked", "reenrol", "old_epoch", or "" when not known
	Skew     time.Duration // the utility's clock minus ours
	Error    string        // why the last try failed, for the technician; no keys, no addresses of people
}

// Desk is the simulated world around a terminal; it exists in --sim only.
type Desk interface {
	Cards() []DeskCard
	Put(card string) error  // into the empty reader
	Take() error            // out of the reader
	Swap(card string) error // take and put without a pause
	// Tear cuts the power of the card at the next command that moves value:
	// TearBefore, TearDuring, TearAfter, or "" to call it off.
	Tear(when string) error
	LinkUp(up bool)
	ClockJump(d time.Duration) // added to the terminal's clock
	Clock() time.Time          // the terminal's clock
	State() DeskState
	Ledger() []LedgerAccount // what the utility knows, read from the utility itself
}

// When to tear.
const (
	TearBefore = "before"
	TearDuring = "during"
	TearAfter  = "after"
)

// DeskCard is a card lying on the desk.
type DeskCard struct {
	ID      string // as in sim:<card>
	Label   Words  // what it is, for people
	Number  money.CardNumber
	Balance money.Fen // as the chip holds it
	In      bool      // in the reader
}

// DeskState is what the panel's switches stand at.
type DeskState struct {
	LinkUp bool
	Tear   string // armed, or ""
}

// LedgerAccount is one account of value at the utility.
type LedgerAccount struct {
	Name    string // as in the ledger: "customer/0100000017", "card/…", "held/…"
	Owner   string // masked name, may be empty
	Balance money.Fen
	Lines   []LedgerLine // newest first, at most 10
}

// LedgerLine is one posting.
type LedgerLine struct {
	At     time.Time
	Amount money.Fen // positive: into the account
	What   string    // "redemption", "topup", …: shown as it is when there are no words for it
	Slip   string    // the transaction number on the slip
}

// Config is what a Server is made of. Terminal must be set.
type Config struct {
	Terminal Terminal
	Link     Link // nil: only what the terminal's status says
	Desk     Desk // nil except in --sim
	Staff    []Staff
	Shop     string           // the shop's name on the screens, may be empty
	Mode     Mode             // which screens are offered; "" is ModeBoth
	Prompts  string           // folder of spoken prompts, may be empty
	Printer  Printer          // nil: no printer
	Slips    Slips            // how and when slips are printed
	Hosts    []string         // names by which browsers may call, beside localhost and loopback addresses
	Clock    func() time.Time // for the ages on screens; nil: time.Now. Locks and waits never use it
	Log      *slog.Logger     // nil: discard
}

// Numbers of field.md section 5.
const (
	IdleLock       = 3 * time.Minute  // a clerk's screen locks itself
	MaxScreens     = 16               // event streams at a time
	HeartbeatEvery = 15 * time.Second // an event stream is never silent longer
	maxBody        = 4 << 10          // bytes of a request
)

// Server serves the API and the pages.
type Server struct {
	cfg      Config
	log      *slog.Logger
	words    *messages
	door     *door
	spool    *spool
	wishes   wishes
	screens  chan struct{} // one element for each event stream
	changes  *rate.Limiter // of the staff list: each is an entry of the journal
	lookups  *rate.Limiter // accounts that customers look up
	logins   *rate.Limiter // right PINs: each is an entry of the journal
	holders  holders
	paying   chan struct{}     // one element while a customer pays
	prompts  map[string]string // recordings, from address to file
	handler  http.Handler
	service  http.Handler // see Service
	shutdown context.Context
	stop     context.CancelFunc
}

// New makes a Server. It fails when messages, pages or staff are not usable.
func New(cfg Config) (*Server, error) {
	if cfg.Terminal == nil {
		return nil, errors.New("kiosk: no terminal")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.fillSlips(); err != nil {
		return nil, err
	}
	w, err := loadMessages()
	if err != nil {
		return nil, err
	}
	d, err := newDoor(cfg.Staff)
	if err != nil {
		return nil, err
	}
	if cfg.Mode, err = ParseMode(string(cfg.Mode)); err != nil {
		return nil, err
	}
	d.mode = cfg.Mode
	prompts, err := findPrompts(cfg.Prompts, w)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, words: w, door: d, spool: newSpool(), prompts: prompts,
		screens: make(chan struct{}, MaxScreens),
		paying:  make(chan struct{}, 1),
		changes: rate.NewLimiter(rate.Every(5*time.Second), 60),
		lookups: rate.NewLimiter(rate.Every(3*time.Second), 10),
		logins:  rate.NewLimiter(rate.Every(5*time.Second), 30),
	}
	s.shutdown, s.stop = context.WithCancel(context.Background())
	if err := s.readStaff(); err != nil {
		// Who is in the configuration can still open the shop and see why.
		s.log.Error("the terminal's list of staff can't be read; only who is in the configuration is let in", "err", err)
	}
	mux := http.NewServeMux()
	s.api(mux)
	if cfg.Desk != nil {
		s.sim(mux)
	}
	if err := s.pages(mux); err != nil {
		return nil, err
	}
	s.handler, s.service = s.guard(mux), s.guard(s.serviceAPI())
	return s, nil
}

// ServeHTTP serves one request behind every guard.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
	s.noteLocks(r.Context())
}

// http is the HTTP server around the handler: nobody may keep a connection by
// sending slowly, or fill the memory before a handler is asked.
func (s *Server) http() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // beyond any wait for utility and card
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// Serve serves l until ctx ends, then lets the calls in flight finish.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := s.http()
	defer context.AfterFunc(ctx, s.stop)()
	done := make(chan error, 1)
	go s.printSettled(s.shutdown)
	go func() { done <- h.Serve(l) }()
	select {
	case err := <-done:
		s.stop()
		return err
	case <-ctx.Done():
	}
	s.stop()
	// A call that moves money is short and ends by itself; what is cut here
	// is on disk and is settled at the next start.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		return fmt.Errorf("close the screens: %w", err)
	}
	<-done
	return nil
}

// ErrNotLoopback means that an address can be reached from outside.
var ErrNotLoopback = errors.New("kiosk: not a loopback address; other machines could reach the screens, which must be asked for")

// Listen opens a TCP address, "127.0.0.1:8080". Unless remote is set it
// fails with ErrNotLoopback for an address that is not a loopback one; an
// empty host is every address.
func Listen(addr string, remote bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("kiosk: listen: %w", err)
	}
	if ip := net.ParseIP(host); !remote && !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s: %w", addr, ErrNotLoopback)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("kiosk: %w", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); !remote && (!ok || !a.IP.IsLoopback()) {
		l.Close()
		return nil, fmt.Errorf("%s: %w", addr, ErrNotLoopback)
	}
	return l, nil
}
