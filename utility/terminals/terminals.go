// Package terminals is the door through which terminals reach the utility:
// HTTP over mutual TLS, canonical bytes in, sealed canonical bytes out. Who
// asks is what the certificate says and nothing else; a terminal opens only
// what is its own.
//
// It may import floor 0, package utility and utility/pki. It must never judge
// an entry or decide about money: package utility does.
package terminals

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/wire"
)

// Service is what stands behind the door; *utility.Service satisfies it.
type Service interface {
	Hello(ctx context.Context, from money.TerminalID, h wire.Hello) (wire.HelloAnswer, error)
	Intake(ctx context.Context, from money.TerminalID, b wire.Batch) (wire.Ack, error)
	Ask(ctx context.Context, from money.TerminalID, q wire.Question) (wire.QuestionAnswer, error)
	AuthoriseLoad(ctx context.Context, from money.TerminalID, r wire.LoadRequest) (wire.LoadAnswer, error)
	AgreeVoid(ctx context.Context, from money.TerminalID, q wire.VoidQuestion) (wire.Agreement, error)
	IssueAllowance(ctx context.Context, from money.TerminalID, r wire.AllowanceRequest) (wire.AllowanceAnswer, error)
	Account(ctx context.Context, from money.TerminalID, q wire.AccountQuestion) (wire.AccountAnswer, error)
	TakeBill(ctx context.Context, from money.TerminalID, q wire.BillQuestion) (wire.Agreement, error)
	LookUpClaim(ctx context.Context, from money.TerminalID, q wire.ClaimQuestion) (wire.ClaimAnswer, error)
	Collect(ctx context.Context, from money.TerminalID, q wire.CollectQuestion) (wire.Agreement, error)
	AskCard(ctx context.Context, from money.TerminalID, q wire.CardQuestion) (wire.Agreement, error)
	Enrol(ctx context.Context, e utility.Enrolment) (utility.Enrolled, error)
	Seal(what string, r canon.Record) []byte
	PublicKey() ed25519.PublicKey
}

var _ Service = (*utility.Service)(nil)

// Words that a refusal carries as its body, for logs and for a terminal that
// wants to know whether to ask again. They are not signed and move nothing.
const (
	WordCertificate = "certificate" // 401: none, another authority's, or run out
	WordForeign     = "foreign"     // 403: names something of another terminal or of an epoch the certificate does not open
	WordCode        = "code"        // 403: the enrolment code does not fit
	WordStanding    = "standing"    // 403: no new certificate for a terminal in this standing
	WordMessage     = "message"     // 400: not that message
	WordRefused     = "refused"     // 409: not what the terminal signed; ask where we stand, send again
	WordType        = "type"        // 415: not canonical bytes
	WordSize        = "size"        // 413: longer than the message may be
	WordSlow        = "slow"        // 408: the body did not come in time
	WordBusy        = "busy"        // 429, 503: later, see Retry-After
	WordInternal    = "internal"    // 500
)

// Options tune the door. The zero value is right.
type Options struct {
	Clock       func() time.Time // nil: time.Now
	Log         *slog.Logger     // nil: discard
	PerTerminal int              // requests of one terminal at a time; 0: 8
	Batches     int              // batches of all terminals at a time, 1 MiB of memory each at most; 0: 128
	BodyWait    time.Duration    // for a whole body to arrive; 0: 60 s
}

// renewGrace is how long after its end a certificate still opens renewal,
// and renewal only.
const renewGrace = 400 * 24 * time.Hour

// Limits of bodies in bytes, before anything is decoded.
const (
	maxQuestion = 8 << 10
	maxEnrol    = 8 << 10
	// maxAnswer leaves room for the fields around the sections of a hello.
	maxAnswer = wire.MaxSection - 4096
)

type door struct {
	svc Service
	ca  *pki.Authority
	opt Options

	batches chan struct{}
	enrols  chan struct{}

	mu       sync.Mutex
	inFlight map[money.TerminalID]*load
}

// load is what one terminal has in flight.
type load struct{ requests, batches int }

// perTerminalBatches leaves room for a batch whose terminal gave up waiting
// and sent it again.
const perTerminalBatches = 2

// NewHandler serves the protocol. It takes the terminal's certificate from
// r.TLS, so it must stand behind a TLS listener that asks for one; NewServer
// makes it.
func NewHandler(svc Service, ca *pki.Authority, opt Options) http.Handler {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.PerTerminal == 0 {
		opt.PerTerminal = 8
	}
	if opt.Batches == 0 {
		opt.Batches = 128
	}
	if opt.BodyWait == 0 {
		opt.BodyWait = time.Minute
	}
	d := &door{
		svc: svc, ca: ca, opt: opt,
		batches:  make(chan struct{}, opt.Batches),
		enrols:   make(chan struct{}, 4),
		inFlight: make(map[money.TerminalID]*load),
	}
	mux := http.NewServeMux()
	handle(d, mux, wire.PathHello, "hello", maxQuestion, d.hello)
	handle(d, mux, wire.PathBatches, "ack", wire.MaxBatchBytes, d.intake)
	handle(d, mux, wire.PathQuestions, "question", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.Question) (wire.QuestionAnswer, error) {
		if q.Name.Terminal != t.ID { // any epoch: it may ask about what is its own
			return wire.QuestionAnswer{}, errForeign
		}
		return svc.Ask(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathLoads, "load", maxQuestion, func(ctx context.Context, t pki.Terminal, r wire.LoadRequest) (wire.LoadAnswer, error) {
		if err := own(t, r.Name.Terminal, r.Name.Epoch); err != nil {
			return wire.LoadAnswer{}, err
		}
		return svc.AuthoriseLoad(ctx, t.ID, r)
	})
	handle(d, mux, wire.PathVoids, "void", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.VoidQuestion) (wire.Agreement, error) {
		if err := errors.Join(own(t, q.Name.Terminal, q.Name.Epoch), own(t, q.TopUp.Terminal, q.TopUp.Epoch)); err != nil {
			return wire.Agreement{}, err
		}
		return svc.AgreeVoid(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathAllowances, "allowance", maxQuestion, func(ctx context.Context, t pki.Terminal, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
		return svc.IssueAllowance(ctx, t.ID, r)
	})
	handle(d, mux, wire.PathAccounts, "account", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.AccountQuestion) (wire.AccountAnswer, error) {
		return svc.Account(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathBills, "bill", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.BillQuestion) (wire.Agreement, error) {
		if err := own(t, q.Name.Terminal, q.Name.Epoch); err != nil {
			return wire.Agreement{}, err
		}
		return svc.TakeBill(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathClaims, "claim", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.ClaimQuestion) (wire.ClaimAnswer, error) {
		return svc.LookUpClaim(ctx, t.ID, q) // of any terminal: whoever has the number has the slip
	})
	handle(d, mux, wire.PathCollects, "collect", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.CollectQuestion) (wire.Agreement, error) {
		if err := own(t, q.Name.Terminal, q.Name.Epoch); err != nil {
			return wire.Agreement{}, err
		}
		return svc.Collect(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathCards, "card", maxQuestion, func(ctx context.Context, t pki.Terminal, q wire.CardQuestion) (wire.Agreement, error) {
		if err := own(t, q.Name.Terminal, q.Name.Epoch); err != nil {
			return wire.Agreement{}, err
		}
		return svc.AskCard(ctx, t.ID, q)
	})
	handle(d, mux, wire.PathRenew, "renewed", maxQuestion, d.renew)
	mux.HandleFunc("POST "+wire.PathEnrol, d.enrol)
	return mux
}

// NewServer is an HTTP server for ServeTLS(listener, "", ""). TLS 1.3 only.
// A client certificate of another authority ends the handshake; whether one
// is needed, and still valid, is decided for each request.
func NewServer(svc Service, ca *pki.Authority, opt Options) *http.Server {
	h := NewHandler(svc, ca, opt)
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler: h,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: ca.Server(opt.Clock),
			ClientAuth:     tls.RequestClientCert,
			Time:           opt.Clock,
			VerifyConnection: func(c tls.ConnectionState) error {
				if len(c.PeerCertificates) == 0 {
					return nil // enrolment; every other path refuses it
				}
				_, err := ca.Identify(c.PeerCertificates, opt.Clock())
				if errors.Is(err, pki.ErrExpired) {
					return nil // renewal; every other path refuses it
				}
				return err
			},
		},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 16},
		ErrorLog:          slog.NewLogLogger(opt.Log.Handler(), slog.LevelDebug),
	}
}

// refusal is an answer other than 200. Cause is for the log only.
type refusal struct {
	status int
	word   string
	after  time.Duration // Retry-After
	cause  error
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %v", r.status, r.word, r.cause) }
func (r *refusal) Unwrap() error { return r.cause }

var errForeign error = &refusal{status: http.StatusForbidden, word: WordForeign, cause: errors.New("names what is not this terminal's")}

func busy(status int, cause string) error {
	// Spread, so that those sent away together do not come back together.
	after := time.Second + time.Duration(mrand.Int64N(int64(4*time.Second)))
	return &refusal{status: status, word: WordBusy, after: after, cause: errors.New(cause)}
}

// own refuses a name that the certificate does not open: another terminal's,
// or one of a later epoch, as the certificate left on a cloned disk would ask.
func own(t pki.Terminal, id money.TerminalID, epoch uint32) error {
	if id != t.ID || epoch > t.Epoch {
		return errForeign
	}
	return nil
}

func (d *door) hello(ctx context.Context, t pki.Terminal, h wire.Hello) (wire.HelloAnswer, error) {
	if h.Version != wire.Version {
		return wire.HelloAnswer{}, fmt.Errorf("%w: protocol version %d", wire.ErrMessage, h.Version)
	}
	if err := own(t, h.Head.Terminal, h.Head.Epoch); err != nil {
		return wire.HelloAnswer{}, err
	}
	a, err := d.svc.Hello(ctx, t.ID, h)
	if err != nil {
		return wire.HelloAnswer{}, err
	}
	// What does not fit into one answer comes with the next hello.
	room, fits := maxAnswer, a.Sections[:0:0]
	for _, s := range a.Sections {
		if len(s) > maxAnswer {
			d.opt.Log.Error("a section is too long for an answer", "bytes", len(s), "terminal", t.ID)
			continue
		}
		if room -= len(s) + 4; room < 0 {
			break
		}
		fits = append(fits, s)
	}
	a.Sections = fits
	return a, nil
}

func (d *door) intake(ctx context.Context, t pki.Terminal, b wire.Batch) (wire.Ack, error) {
	if err := own(t, b.Terminal, b.Epoch); err != nil {
		return wire.Ack{}, err
	}
	return d.svc.Intake(ctx, t.ID, b)
}

func (d *door) renew(ctx context.Context, t pki.Terminal, r wire.RenewRequest) (wire.RenewAnswer, error) {
	if _, err := pki.RequestKey(r.CSR); err != nil {
		return wire.RenewAnswer{}, fmt.Errorf("%w: %w", wire.ErrMessage, err)
	}
	r.Hello.Have = nil
	a, err := d.hello(ctx, t, r.Hello)
	if err != nil {
		return wire.RenewAnswer{}, err
	}
	if r.Hello.Head.Epoch != t.Epoch || (a.Standing != wire.StandingGood && a.Standing != wire.StandingBlocked) {
		return wire.RenewAnswer{}, &refusal{status: http.StatusForbidden, word: WordStanding, cause: fmt.Errorf("standing %d", a.Standing)}
	}
	der, err := d.ca.IssueTerminal(r.CSR, t.ID, t.Epoch, d.opt.Clock())
	if err != nil {
		return wire.RenewAnswer{}, err
	}
	d.opt.Log.Info("certificate renewed", "terminal", t.ID, "epoch", t.Epoch)
	return wire.RenewAnswer{Terminal: t.ID, Certificate: der}, nil
}

// enrol is the one path without a certificate.
func (d *door) enrol(w http.ResponseWriter, r *http.Request) {
	begin, id := d.opt.Clock(), requestID()
	answer, err := func() ([]byte, error) {
		var q wire.EnrolRequest
		if err := d.read(w, r, maxEnrol, &q); err != nil {
			return nil, err
		}
		// A place is taken when the small body is there: anybody may come
		// here, and four that send slowly would keep everybody out.
		select {
		case d.enrols <- struct{}{}:
			defer func() { <-d.enrols }()
		default:
			return nil, busy(http.StatusServiceUnavailable, "too many enrolments at a time")
		}
		if err := q.Verify(); err != nil {
			return nil, err
		}
		// The code is used up by Enrol: whatever can be refused before is.
		if _, err := pki.RequestKey(q.CSR); err != nil {
			return nil, fmt.Errorf("%w: %w", wire.ErrMessage, err)
		}
		e, err := d.svc.Enrol(r.Context(), utility.Enrolment{
			Code: q.Secret, RecordKey: q.RecordKey[:], PSAM: q.PSAM, LoadSAM: q.LoadSAM, Terminal: q.Terminal,
		})
		if err != nil {
			return nil, err
		}
		if e.Terminal != q.Terminal {
			return nil, fmt.Errorf("terminals: enrolled %s where %s asked", e.Terminal, q.Terminal)
		}
		cert, err := d.ca.IssueTerminal(q.CSR, e.Terminal, e.Epoch, d.opt.Clock())
		if err != nil {
			return nil, err
		}
		d.opt.Log.Info("terminal enrolled", "terminal", e.Terminal, "shop", e.Shop, "epoch", e.Epoch)
		return d.svc.Seal("enrolled", &wire.EnrolAnswer{
			Terminal: e.Terminal, Shop: e.Shop, Epoch: e.Epoch,
			PrevEpoch: e.PrevEpoch, PrevSeq: e.PrevSeq, PrevHash: e.PrevHash,
			Utility:     [ed25519.PublicKeySize]byte(d.svc.PublicKey()),
			Certificate: cert, CA: d.ca.Certificate(),
		}), nil
	}()
	d.answer(w, r, id, begin, money.TerminalID{}, answer, err)
}

// record is a pointer to T that has fields.
type record[T any] interface {
	*T
	canon.Record
}

// handle serves one question: from the certificate who asks, from the body
// what, and what call says sealed as what.
func handle[Q, A any, PQ record[Q], PA record[A]](d *door, mux *http.ServeMux, path, what string, limit int, call func(context.Context, pki.Terminal, Q) (A, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		begin, id := d.opt.Clock(), requestID()
		t, err := d.identify(r, path == wire.PathRenew)
		if err != nil {
			d.answer(w, r, id, begin, t.ID, nil, err)
			return
		}
		leave, err := d.enter(t.ID, path == wire.PathBatches)
		if err != nil {
			d.answer(w, r, id, begin, t.ID, nil, err)
			return
		}
		defer leave()
		var q Q
		if err := d.read(w, r, limit, PQ(&q)); err != nil {
			d.answer(w, r, id, begin, t.ID, nil, err)
			return
		}
		a, err := call(r.Context(), t, q)
		if err != nil {
			d.answer(w, r, id, begin, t.ID, nil, err)
			return
		}
		d.answer(w, r, id, begin, t.ID, d.svc.Seal(what, PA(&a)), nil)
	})
}

func (d *door) identify(r *http.Request, renewing bool) (pki.Terminal, error) {
	if r.TLS == nil {
		return pki.Terminal{}, &refusal{status: http.StatusUnauthorized, word: WordCertificate, cause: errors.New("no TLS")}
	}
	now := d.opt.Clock()
	t, err := d.ca.Identify(r.TLS.PeerCertificates, now)
	if err == nil || (renewing && errors.Is(err, pki.ErrExpired) && now.Before(t.NotAfter.Add(renewGrace))) {
		return t, nil
	}
	return pki.Terminal{}, &refusal{status: http.StatusUnauthorized, word: WordCertificate, cause: err}
}

// enter takes a place for a request before its body is read, so that neither
// one terminal nor all of them at once can fill the memory.
func (d *door) enter(id money.TerminalID, batch bool) (leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.inFlight[id]
	if l == nil {
		l = &load{}
	}
	if l.requests >= d.opt.PerTerminal || (batch && l.batches >= perTerminalBatches) {
		return nil, busy(http.StatusTooManyRequests, "too many requests of this terminal at a time")
	}
	if batch {
		select {
		case d.batches <- struct{}{}:
		default:
			return nil, busy(http.StatusServiceUnavailable, "too many batches at a time")
		}
		l.batches++
	}
	l.requests++
	d.inFlight[id] = l
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if batch {
			l.batches--
			<-d.batches
		}
		if l.requests--; l.requests == 0 {
			delete(d.inFlight, id)
		}
	}, nil
}

// read takes the body, all of it within limit and time, and decodes it.
func (d *door) read(w http.ResponseWriter, r *http.Request, limit int, into canon.Record) error {
	if r.Header.Get("Content-Type") != wire.ContentType || r.Header.Get("Content-Encoding") != "" {
		return &refusal{status: http.StatusUnsupportedMediaType, word: WordType, cause: errors.New("not canonical bytes")}
	}
	if r.ContentLength > int64(limit) {
		return tooLong(r.ContentLength)
	}
	c := http.NewResponseController(w)
	// A server without deadlines, as in a test, still has the limit. The real
	// clock counts here: it is the network's.
	_ = c.SetReadDeadline(time.Now().Add(d.opt.BodyWait))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLong(over.Limit + 1)
	case err != nil:
		return &refusal{status: http.StatusRequestTimeout, word: WordSlow, cause: err}
	}
	_ = c.SetReadDeadline(time.Time{})
	return wire.Unmarshal(b, into)
}

func tooLong(n int64) error {
	return &refusal{status: http.StatusRequestEntityTooLarge, word: WordSize, cause: fmt.Errorf("%d bytes or more", n)}
}

// judge turns what the service said into what the terminal is told.
func judge(err error) *refusal {
	var r *refusal
	var later *utility.LaterError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &later):
		return &refusal{status: http.StatusTooManyRequests, word: WordBusy, after: later.After, cause: err}
	case errors.Is(err, wire.ErrMessage), errors.Is(err, utility.ErrInput):
		return &refusal{status: http.StatusBadRequest, word: WordMessage, cause: err}
	case errors.Is(err, utility.ErrCode):
		return &refusal{status: http.StatusForbidden, word: WordCode, cause: err}
	case errors.Is(err, utility.ErrRefused), errors.Is(err, journal.ErrChain), errors.Is(err, journal.ErrSignature):
		return &refusal{status: http.StatusConflict, word: WordRefused, cause: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{status: http.StatusServiceUnavailable, word: WordBusy, after: time.Second, cause: err}
	default:
		return &refusal{status: http.StatusInternalServerError, word: WordInternal, cause: err}
	}
}

func (d *door) answer(w http.ResponseWriter, r *http.Request, id string, begin time.Time, t money.TerminalID, sealed []byte, err error) {
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("Cache-Control", "no-store")
	log := d.opt.Log.With("request", id, "path", r.URL.Path, "from", r.RemoteAddr)
	if !t.IsZero() {
		log = log.With("terminal", t)
	}
	// A section for a slow line may take long; everything else is small.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(30*time.Second + time.Duration(len(sealed)/4096)*time.Second))
	if err != nil {
		f := judge(err)
		level := slog.LevelWarn
		if f.status >= 500 && f.word == WordInternal {
			level = slog.LevelError
		}
		log.Log(r.Context(), level, "refused", "status", f.status, "word", f.word, "err", f.cause)
		if f.after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((f.after+time.Second-1)/time.Second)))
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(f.status)
		io.WriteString(w, f.word)
		return
	}
	log.Debug("answered", "bytes", len(sealed), "took", d.opt.Clock().Sub(begin))
	w.Header().Set("Content-Type", wire.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(sealed)))
	w.Write(sealed)
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
