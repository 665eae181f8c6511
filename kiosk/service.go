package kiosk

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

// A technician's tool works the terminal by the same calls as the clerk's
// page: the same PINs and waits, rights, idempotency keys, slips and words. It
// comes another way, has sessions of its own, and what it does is booked on a
// technician.

type toolKey struct{}

// byTool reports whether a request came by Service.
func byTool(r *http.Request) bool { return r.Context().Value(toolKey{}) != nil }

// Service serves the technician's tool. Whoever hands requests to it answers
// for it that they come from this machine and from a user who may ask; who
// the person is, number and PIN say, and the right to service.
func (s *Server) Service() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.service.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), toolKey{}, true)))
		s.noteLocks(r.Context())
	})
}

// serviceAPI is what of the API the tool needs, and the question what became
// of a wish.
func (s *Server) serviceAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/login", s.login)
	mux.HandleFunc("POST /api/v1/logout", s.logout)
	mux.HandleFunc("POST /api/v1/topups", moneyCall(s, RightTopUp, s.topUp))
	mux.HandleFunc("POST /api/v1/redemptions", moneyCall(s, RightRedeem, s.redeem))
	mux.HandleFunc("POST /api/v1/wishes", s.askWish)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, refusal(CodeNoPage), "") })
	return mux
}

type wishBody struct {
	Key string `json:"key"`
}

// askWish tells what became of a wish whose answer was lost. When it began
// nothing it will begin nothing: a call with that key that is still on its way
// is refused. So the answer is true for ever.
func (s *Server) askWish(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, RightService)
	var b wishBody
	if err == nil {
		err = readBody(w, r, &b)
	}
	if err == nil && !goodKey(b.Key) {
		err = refusal(CodeNoKey)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	defer s.door.hold(c.s)()
	rc, known, err := s.wishes.ask(r.Context(), journal.TokenOf(b.Key), s.cfg.Terminal.ByToken)
	switch {
	case err != nil:
		s.log.Error("what became of a wish can't be told", "err", err)
		s.refuse(w, r, refusal(CodeUncertain), CodeUncertain)
	case !known:
		s.refuse(w, r, refusal(CodeNotBegun), CodeUncertain)
	default:
		writeJSON(w, http.StatusOK, s.receiptView(rc, 0))
	}
}

// keptWishes is how many wishes are remembered as withdrawn. One that comes
// after so many others is refused no more, but it is then as late.
const keptWishes = 1024

// wishes are the money calls under way, and those that were asked about before
// they came. In memory only: a call does not outlive its connection, nor that
// the process.
type wishes struct {
	mu        sync.Mutex
	running   map[journal.Token]*running
	withdrawn []journal.Token
}

type running struct {
	calls int
	over  chan struct{}
}

// begin says that a call with a token is under way until the function is
// called. It refuses one that was asked about and had not begun.
func (w *wishes) begin(tok journal.Token) (end func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.withdrawn, tok) {
		return nil, refusal(CodeNotBegun)
	}
	if w.running == nil {
		w.running = map[journal.Token]*running{}
	}
	r := w.running[tok]
	if r == nil {
		r = &running{over: make(chan struct{})}
		w.running[tok] = r
	}
	r.calls++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r.calls--; r.calls == 0 {
			delete(w.running, tok)
			close(r.over)
		}
	}, nil
}

// ask waits until no call with a token is under way, and says what it began.
// One that began nothing is withdrawn.
func (w *wishes) ask(ctx context.Context, tok journal.Token, look func(journal.Token) (terminal.Receipt, bool, error)) (terminal.Receipt, bool, error) {
	for {
		w.mu.Lock()
		r := w.running[tok]
		if r == nil {
			defer w.mu.Unlock() // none may begin while it is looked up
			rc, known, err := look(tok)
			if err == nil && !known && !slices.Contains(w.withdrawn, tok) {
				if w.withdrawn = append(w.withdrawn, tok); len(w.withdrawn) > keptWishes {
					w.withdrawn = w.withdrawn[1:]
				}
			}
			return rc, known, err
		}
		w.mu.Unlock()
		select {
		case <-r.over:
		case <-ctx.Done():
			return terminal.Receipt{}, false, ctx.Err()
		}
	}
}
