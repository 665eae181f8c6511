package kiosk

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/terminal"
)

// stream is an event stream read over a real HTTP connection in memory.
type stream struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
	code int
}

// memory is a listener whose connections are pipes, so that time in a
// synctest bubble is the bubble's.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
}

func (m memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}
func (m memory) Close() error   { close(m.done); return nil }
func (m memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (m memory) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		a, b := net.Pipe()
		m.conns <- b
		return a, nil
	}}}
}

func listenEvents(t *testing.T, c *http.Client) *stream {
	t.Helper()
	r, err := c.Get("http://127.0.0.1/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return &stream{t, r.Body, bufio.NewReader(r.Body), r.StatusCode}
}

func (s *stream) next() (statusView map[string]any) {
	s.t.Helper()
	for {
		l, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		if data, ok := strings.CutPrefix(l, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &statusView); err != nil {
				s.t.Fatal(err)
			}
			return statusView
		}
	}
}

func TestEvents(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := newServer(t, f)
		m := memory{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, m) }()
		c := m.client()
		t.Cleanup(c.CloseIdleConnections)

		e := listenEvents(t, c)
		if v := e.next(); v["card"].(map[string]any)["state"] != "none" {
			t.Errorf("first event %v", v)
		}
		f.insert(cardA)
		if v := e.next(); v["card"].(map[string]any)["last4"] != "4821" {
			t.Errorf("after a card came in: %v", v)
		}
		// Silence never lasts longer than a heartbeat, long past the
		// server's own time-outs for ordinary calls.
		began := time.Now()
		for range 20 {
			e.next()
		}
		if got := time.Since(began); got != 20*HeartbeatEvery {
			t.Errorf("20 heartbeats in %v", got)
		}

		// Many screens are refused, few are not, and a closed one frees its place.
		var all []*stream
		for range MaxScreens - 1 {
			all = append(all, listenEvents(t, c))
		}
		if e := listenEvents(t, c); e.code != 503 {
			t.Errorf("screen %d: %d", MaxScreens+1, e.code)
		}
		all[0].body.Close()
		synctest.Wait()
		time.Sleep(HeartbeatEvery)
		synctest.Wait()
		if e := listenEvents(t, c); e.code != 200 {
			t.Errorf("after one was closed: %d", e.code)
		}

		// A stop ends the streams at once and the server with them.
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, e.r); err != nil && err != io.ErrUnexpectedEOF {
			t.Errorf("the stream ended with %v", err)
		}
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.subs) != 0 {
			t.Errorf("%d subscriptions are left", len(f.subs))
		}
	})
}

// A call in flight is answered before the server ends.
func TestServeFinishesCalls(t *testing.T) {
	pins()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := newServer(t, f)
		b := clerk(t, s)
		f.insert(cardA)
		f.gate, f.entered = make(chan struct{}), make(chan struct{}, 1)
		m := memory{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, m) }()
		c := m.client()
		t.Cleanup(c.CloseIdleConnections)
		answered := make(chan int, 1)
		go func() {
			r, _ := http.NewRequest("POST", "http://127.0.0.1/api/v1/topups", strings.NewReader(topUpBodyOf(5000, 5000)))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "in-flight-at-the-stop")
			r.AddCookie(&http.Cookie{Name: clerkCookie, Value: b.cookies[clerkCookie]})
			resp, err := c.Do(r)
			if err != nil {
				answered <- -1
				return
			}
			resp.Body.Close()
			answered <- resp.StatusCode
		}()
		<-f.entered
		stop()
		synctest.Wait()
		close(f.gate)
		if code := <-answered; code != 200 {
			t.Errorf("answered %d", code)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// What was begun is finished although the browser went away.
func TestBrowserGoesAway(t *testing.T) {
	f := newFake()
	s := newServer(t, f, func(c *Config) {})
	saw := make(chan error, 1)
	s.cfg.Terminal = watching{f, saw}
	b := clerk(t, s)
	f.insert(cardA)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("POST", "/api/v1/topups", strings.NewReader(topUpBodyOf(5000, 5000))).WithContext(ctx)
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "gone-before-the-answer")
	r.AddCookie(&http.Cookie{Name: clerkCookie, Value: b.cookies[clerkCookie]})
	s.ServeHTTP(httptest.NewRecorder(), r)
	if err := <-saw; err != nil {
		t.Errorf("the terminal's context ended with the browser: %v", err)
	}
}

// watching tells whether the context of a money call still lives.
type watching struct {
	*fake
	saw chan error
}

func (w watching) TopUp(ctx context.Context, r terminal.TopUpRequest) (terminal.Receipt, error) {
	w.saw <- ctx.Err()
	return w.fake.TopUp(ctx, r)
}
