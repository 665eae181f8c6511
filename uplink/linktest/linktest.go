// Package linktest breaks the line between terminal and utility on purpose,
// for tests and simulations: at the level of messages (Transport) and of
// connections (Line).
//
// It imports the standard library only and knows nothing of what travels.
package linktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrLost is what a sender sees of a lost message.
var ErrLost = errors.New("linktest: lost on the way")

// Plan is what happens to one message. The zero value lets it pass.
type Plan struct {
	Delay        time.Duration // before it is sent
	LoseRequest  bool          // it never arrives
	LoseAnswer   bool          // it arrives, its answer does not
	Copies       int           // it arrives so many times more, before the one that is answered
	Late         bool          // a copy arrives once more, after the next message
	AlterRequest int           // one bit of this byte flips, counted from 1, from the end when negative; 0: none
	AlterAnswer  int
}

// Transport is an http.RoundTripper that follows plans.
type Transport struct {
	Base http.RoundTripper
	// Plan decides over the n-th message, from 0; nil: all pass. It may be
	// called from several goroutines.
	Plan func(n int, r *http.Request) Plan

	mu   sync.Mutex
	n    int
	late []*http.Request
}

// CloseIdleConnections reaches through to Base.
func (t *Transport) CloseIdleConnections() {
	if b, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		b.CloseIdleConnections()
	}
}

// RoundTrip sends one message as planned.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	n := t.n
	t.n++
	late := t.late
	t.late = nil
	t.mu.Unlock()
	var p Plan
	if t.Plan != nil {
		p = t.Plan(n, r)
	}
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if p.Delay > 0 {
		timer := time.NewTimer(p.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if p.LoseRequest {
		return nil, ErrLost
	}
	body = alter(body, p.AlterRequest)
	for range p.Copies {
		if resp, err := t.Base.RoundTrip(with(r.Context(), r, body)); err == nil {
			drop(resp)
		}
	}
	resp, err := t.Base.RoundTrip(with(r.Context(), r, body))
	for _, l := range late {
		if resp, err := t.Base.RoundTrip(l); err == nil {
			drop(resp)
		}
	}
	if p.Late {
		t.mu.Lock()
		t.late = append(t.late, with(context.WithoutCancel(r.Context()), r, body))
		t.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if p.LoseAnswer {
		drop(resp)
		return nil, ErrLost
	}
	if p.AlterAnswer != 0 {
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(alter(b, p.AlterAnswer)))
	}
	return resp, nil
}

func with(ctx context.Context, r *http.Request, body []byte) *http.Request {
	c := r.Clone(ctx)
	c.Body = io.NopCloser(bytes.NewReader(body))
	c.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return c
}

func drop(r *http.Response) {
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
}

func alter(b []byte, at int) []byte {
	i := at - 1
	if at < 0 {
		i = len(b) + at
	}
	if at == 0 || i < 0 || i >= len(b) {
		return b
	}
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// Line makes connections that can fall silent, as when a router between two
// ends lost its power: nothing arrives, and nobody is told. (A line that is
// cut so that both ends see it is uplink.Gate.)
type Line struct {
	// Dial makes the connections; nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	silent bool
	conns  []*conn
}

// Silence makes every connection that exists silent for ever, and lets new
// ones hang until Restore.
func (l *Line) Silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
	for _, c := range l.conns {
		c.hush()
	}
	l.conns = nil
}

// Restore lets new connections through.
func (l *Line) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = false
}

// DialContext dials, or hangs until ctx ends.
func (l *Line) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	silent := l.silent
	l.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	dial := l.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	nc, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	if l.silent {
		c.hush()
	}
	return c, nil
}

type conn struct {
	net.Conn
	mu    sync.Mutex
	quiet bool
}

func (c *conn) hush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = true
}

func (c *conn) isQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.isQuiet() {
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if c.isQuiet() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
