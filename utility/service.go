// Package utility is the utility's side of the conversation with terminals:
// it takes their entries in, decides loads, voids and allowances, sends down
// what terminals must know, and shows the ledger. Everything it is told or
// decides is first a durable line of its log (package record); the tables it
// answers from are made from that log and can be checked against it (package
// audit).
//
// It may import floor 0 and the packages below utility/. It must never hold a
// card key (package vault does), speak HTTP, or change a posting that exists.
package utility

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/intake"
	"github.com/dianka/dianka/utility/master"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// Errors of the service. After any other error it is not known whether the
// question took effect: ask again under the same name.
var (
	// ErrRefused means that a message is not what the terminal signed, or
	// not this terminal's: it is refused whole and nothing of it counts.
	ErrRefused = errors.New("utility: refused")
	// ErrCode means that an enrolment code is unknown, used, or bound to
	// another terminal or other SAMs. Nothing was used up.
	ErrCode = errors.New("utility: enrolment code does not fit")
	// ErrInput means that head office asked for something that can't be.
	ErrInput = errors.New("utility: not possible")
)

// Config is what a Service is made of. Storage, Vault and Profiles must be
// set.
type Config struct {
	Storage  storage.Storage
	Vault    vault.Vault
	Profiles *profiles.Set
	Clock    func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: discard
	Limits   wire.Limits      // of terminals without limits of their own; zero: wire.DefaultLimits

	// Lookups of accounts, and refused questions about cards, per terminal:
	// LookupRate a second after a burst of LookupBurst. 0: 1 a second, 60.
	LookupRate  float64
	LookupBurst int
	// AccountsEvery is how old the bills that go down may be while balances
	// change. 0: a minute.
	AccountsEvery time.Duration
}

// Service is the utility. It may be used from any goroutine.
type Service struct {
	store    storage.Storage
	vault    vault.Vault
	profiles *profiles.Set
	clock    func() time.Time
	log      *slog.Logger
	limits   wire.Limits

	// mu is held while a line is written and judged: one at a time, in order.
	mu    sync.Mutex
	judge *intake.Judge
	tail  storage.Tail
	heads map[epoch]journal.Head
	stale bool // an error left the tail unknown

	// masterMu guards master: written under mu as well, read alone.
	masterMu sync.RWMutex
	master   *master.Data

	told map[money.TerminalID]told // under mu

	lookups lookups
	guesses guesses
	bills   bills
	down    versions
}

type epoch struct {
	terminal money.TerminalID
	number   uint32
}

// New opens the service on a storage and posts whatever was stored and not
// yet posted.
func New(cfg Config) (*Service, error) {
	if cfg.Storage == nil || cfg.Vault == nil || cfg.Profiles == nil {
		return nil, fmt.Errorf("%w: storage, vault and profiles are needed", ErrInput)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limits == (wire.Limits{}) {
		cfg.Limits = wire.DefaultLimits()
	}
	if cfg.LookupRate == 0 {
		cfg.LookupRate = 1
	}
	if cfg.LookupBurst == 0 {
		cfg.LookupBurst = 60
	}
	if cfg.AccountsEvery == 0 {
		cfg.AccountsEvery = time.Minute
	}
	s := &Service{
		store: cfg.Storage, vault: cfg.Vault, profiles: cfg.Profiles, clock: cfg.Clock, log: cfg.Log, limits: cfg.Limits,
		heads: map[epoch]journal.Head{}, master: master.New(), stale: true, told: map[money.TerminalID]told{},
		lookups: lookups{rate: rate.Limit(cfg.LookupRate), burst: cfg.LookupBurst, of: map[money.TerminalID]*rate.Limiter{}},
		bills:   bills{every: cfg.AccountsEvery},
	}
	s.judge = &intake.Judge{Store: s.store, Vault: s.vault, Profiles: s.profiles, Master: s.master}
	ctx := context.Background()
	tail, err := s.store.Tail(ctx)
	if err != nil {
		return nil, err
	}
	for at := uint64(0); at < tail.Cursor; {
		lines, err := s.store.Lines(ctx, at, 1000, master.Kinds...)
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if l.ID > tail.Cursor {
				break
			}
			if err := s.master.Apply(l); err != nil {
				return nil, err
			}
		}
		if len(lines) == 0 {
			break
		}
		at = lines[len(lines)-1].ID
	}
	s.down.all(tail.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.current(ctx)
}

// current makes sure, under mu, that everything stored is posted and that
// tail and heads are the storage's.
func (s *Service) current(ctx context.Context) error {
	if !s.stale {
		return nil
	}
	tail, err := s.store.Tail(ctx)
	if err != nil {
		return err
	}
	for tail.Cursor < tail.ID {
		lines, err := s.store.Lines(ctx, tail.Cursor, 16)
		if err != nil {
			return err
		}
		if len(lines) == 0 || lines[0].ID != tail.Cursor+1 {
			return fmt.Errorf("utility: the log has no line %d", tail.Cursor+1)
		}
		for _, l := range lines {
			change, err := s.judge.Judge(ctx, l, nil)
			if err != nil {
				return err
			}
			if err := s.store.Post(ctx, change); err != nil {
				return err
			}
			if err := s.learn(l); err != nil {
				return err
			}
			tail.Cursor = l.ID
		}
		s.log.Info("posted what was stored before", "line", tail.Cursor)
	}
	heads, err := s.store.Heads(ctx)
	if err != nil {
		return err
	}
	clear(s.heads)
	for _, h := range heads {
		s.heads[epoch{h.Terminal, h.Epoch}] = h
	}
	s.tail, s.stale = tail, false
	return nil
}

// learn folds a line into the master data and the versions of what goes down.
func (s *Service) learn(l record.Line) error {
	s.down.touch(l)
	if l.Kind == record.KindEntries {
		return nil
	}
	s.masterMu.Lock()
	defer s.masterMu.Unlock()
	return s.master.Apply(l)
}

// next makes the line that follows, under mu.
func (s *Service) next(kind record.Kind, r canon.Record) record.Line {
	l := record.Line{ID: s.tail.ID + 1, At: s.clock().UnixMilli(), Kind: kind, Body: canon.Marshal(r)}
	l.Hash = record.Link(s.tail.Hash, l)
	return l
}

// write makes a decision or a word of head office durable together with what
// it changes, under mu, after current.
func (s *Service) write(ctx context.Context, kind record.Kind, r canon.Record) error {
	l := s.next(kind, r)
	change, err := s.judge.Judge(ctx, l, nil)
	if err != nil {
		return err
	}
	change.Lines = []record.Line{l}
	if err := s.store.Post(ctx, change); err != nil {
		s.stale = true
		return err
	}
	s.tail = storage.Tail{ID: l.ID, Hash: l.Hash, Cursor: l.ID}
	return s.learn(l)
}

// locked runs f alone, with everything stored being posted.
func (s *Service) locked(ctx context.Context, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.current(ctx); err != nil {
		return err
	}
	return f()
}

// Seal signs a message with the utility's key (wire.Sealed).
func (s *Service) Seal(what string, r canon.Record) []byte { return s.vault.Seal(what, r) }

// PublicKey verifies what Seal signs.
func (s *Service) PublicKey() ed25519.PublicKey { return s.vault.PublicKey() }

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// lookups limits the questions of each terminal.
type lookups struct {
	mu    sync.Mutex
	rate  rate.Limit
	burst int
	of    map[money.TerminalID]*rate.Limiter
}

func (l *lookups) limiter(t money.TerminalID) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.of[t]
	if x == nil {
		x = rate.NewLimiter(l.rate, l.burst)
		l.of[t] = x
	}
	return x
}
