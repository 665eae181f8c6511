package uplink_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/uplink/linktest"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/wire"
)

// bubble runs a test on a network within the process, where time costs
// nothing. The line has both a gate and a silence.
func bubble(t *testing.T, f func(t *testing.T, h *host, gate *uplink.Gate, line *linktest.Line)) {
	synctest.Test(t, func(t *testing.T) {
		p := linktest.NewNet()
		h := serve(t, p, terminals.Options{})
		line := &linktest.Line{Dial: p.DialContext}
		gate := &uplink.Gate{Dial: line.DialContext}
		h.dial = gate.DialContext
		f(t, h, gate, line)
	})
}

func production(c *uplink.Config) { c.MaxBackoff = 0 }

var load1 = wire.LoadRequest{Name: journal.Name{Terminal: terminalA, Epoch: 1, Seq: 1}}

func TestCutLineShowsAtOnceAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, gate *uplink.Gate, _ *linktest.Line) {
		n := h.start(t, terminalA, production)
		time.Sleep(time.Second)
		if !n.Online() {
			t.Fatalf("not online: %+v", n.Status())
		}
		gate.Set(false)
		time.Sleep(5 * time.Second) // nobody asked anything
		if n.Online() {
			t.Error("a cut line went unnoticed for five seconds")
		}
		begin := time.Now()
		if _, err := n.AuthoriseLoad(t.Context(), load1); !errors.Is(err, uplink.ErrOffline) {
			t.Errorf("asked a dead line: %v", err)
		}
		if time.Since(begin) != 0 {
			t.Errorf("a dead line cost the customer %s", time.Since(begin))
		}
		write(t, n.store, 3)
		n.Wake()
		if err := n.Flush(t.Context()); !errors.Is(err, uplink.ErrGate) {
			t.Errorf("flush on a dead line: %v", err)
		}
		gate.Set(true)
		n.Probe()
		synctest.Wait()
		if !n.Online() {
			t.Errorf("a probe did not bring the line back: %+v", n.Status())
		}
		n.same(t, h)
	})
}

func TestSilentLine(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, _ *uplink.Gate, line *linktest.Line) {
		n := h.start(t, terminalA, production)
		time.Sleep(time.Second)
		line.Silence()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if _, err := n.AuthoriseLoad(ctx, load1); err == nil || errors.Is(err, uplink.ErrOffline) {
			t.Fatalf("a silent line answered: %v", err)
		}
		if n.Online() {
			t.Error("the next customer would wait as well")
		}
		begin := time.Now()
		n.AuthoriseLoad(t.Context(), load1)
		if time.Since(begin) != 0 {
			t.Error("the next customer waited as well")
		}
		time.Sleep(time.Hour)
		line.Restore()
		time.Sleep(70 * time.Second) // the longest backoff and a try
		if !n.Online() {
			t.Errorf("not online again: %+v", n.Status())
		}
	})
}

func TestSilentLineWithoutCustomers(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, _ *uplink.Gate, line *linktest.Line) {
		n := h.start(t, terminalA, production)
		time.Sleep(time.Second)
		line.Silence()
		time.Sleep(25 * time.Second) // a poll and the time a hello may stand still
		if n.Online() {
			t.Error("a silent line is believed to be up")
		}
		if n.Status().LastError == "" {
			t.Error("nobody is told why")
		}
	})
}

func TestThirtyDaysOffLine(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, gate *uplink.Gate, _ *linktest.Line) {
		keys, ident := h.enrol(t, terminalA)
		s := newStore(t, ident)
		gate.Set(false) // from before the start
		// A try a minute for thirty days takes half a minute of ours.
		n := h.run(t, keys, s, func(c *uplink.Config) { c.MaxBackoff = 15 * time.Minute })
		for range 30 {
			write(t, s, 10)
			n.Wake()
			time.Sleep(24 * time.Hour)
			if n.Online() {
				t.Fatal("online without a line")
			}
		}
		gate.Set(true)
		time.Sleep(15*time.Minute + 5*time.Second)
		if !n.Online() {
			t.Errorf("%+v", n.Status())
		}
		n.same(t, h)
	})
}

// tries counts the tries and answers each with the same word.
type tries struct {
	mu    sync.Mutex
	at    []time.Time
	after string // Retry-After
}

func (r *tries) RoundTrip(*http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Now())
	h := http.Header{}
	h.Set("Retry-After", r.after)
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: h, Body: io.NopCloser(strings.NewReader("busy\n\x1b[31m"))}, nil
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, _ *uplink.Gate, _ *linktest.Line) {
		r := &tries{after: "30"}
		n := h.start(t, terminalA, func(c *uplink.Config) {
			c.MaxBackoff = 0
			c.Wrap = func(http.RoundTripper) http.RoundTripper { return r }
		})
		time.Sleep(10 * time.Minute)
		n.stop()
		for i := 1; i < len(r.at); i++ {
			if d := r.at[i].Sub(r.at[i-1]); d < 30*time.Second || d > 91*time.Second {
				t.Errorf("try %d after %s", i, d)
			}
		}
		if len(r.at) < 5 || n.Online() {
			t.Errorf("%d tries", len(r.at))
		}
		if e := n.Status().LastError; !strings.Contains(e, "503 busy") || strings.ContainsRune(e, '\x1b') {
			t.Errorf("last error %q", e)
		}
	})
}

func TestBackoffIsBoundedAndSpread(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, _ *uplink.Gate, _ *linktest.Line) {
		r := &tries{}
		n := h.start(t, terminalA, func(c *uplink.Config) {
			c.MaxBackoff = 0
			c.Wrap = func(http.RoundTripper) http.RoundTripper { return r }
		})
		time.Sleep(24 * time.Hour)
		n.stop()
		short, long := 0, 0
		for i := 8; i < len(r.at); i++ {
			switch d := r.at[i].Sub(r.at[i-1]); {
			case d > time.Minute+time.Second:
				t.Fatalf("waited %s", d)
			case d < 20*time.Second:
				short++
			case d > 40*time.Second:
				long++
			}
		}
		if total := len(r.at); total < 2000 || total > 4000 || short < total/5 || long < total/5 {
			t.Errorf("%d tries in a day, %d short and %d long waits: not full jitter", total, short, long)
		}
	})
}

func TestWakeDoesNotUndoTheBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, h *host, _ *uplink.Gate, _ *linktest.Line) {
		r := &tries{after: "50"}
		n := h.start(t, terminalA, func(c *uplink.Config) {
			c.MaxBackoff = 0
			c.Wrap = func(http.RoundTripper) http.RoundTripper { return r }
		})
		for range 40 {
			time.Sleep(time.Second)
			write(t, n.store, 1)
			n.Wake()
		}
		n.stop()
		if len(r.at) != 1 {
			t.Errorf("%d tries in 40 s although the utility said 50", len(r.at))
		}
	})
}

func TestServerThatHangsUp(t *testing.T) {
	// A listener that accepts and closes must not be hammered.
	synctest.Test(t, func(t *testing.T) {
		p := linktest.NewNet()
		h := serve(t, p, terminals.Options{})
		h.dial = p.DialContext
		keys, ident := h.enrol(t, terminalA)
		bad := linktest.NewNet()
		count := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := bad.Accept()
				if err != nil {
					return
				}
				count++
				c.Close()
			}
		}()
		h.dial = bad.DialContext
		n := h.run(t, keys, newStore(t, ident), production)
		time.Sleep(time.Hour)
		n.stop()
		bad.Close()
		<-done
		if count > 300 {
			t.Errorf("%d connections in an hour", count)
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := linktest.NewNet()
		go func() {
			for {
				c, err := p.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(io.Discard, c); c.Close() }()
			}
		}()
		defer p.Close()
		g := &uplink.Gate{Dial: p.DialContext}
		a, err := g.DialContext(t.Context(), "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.DialContext(t.Context(), "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		g.Set(false)
		if _, err := a.Write([]byte{1}); err == nil {
			t.Error("an open connection survived")
		}
		if _, err := g.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, uplink.ErrGate) || g.Open() {
			t.Errorf("dialled through a closed gate: %v", err)
		}
		g.Set(true)
		c, err := g.DialContext(t.Context(), "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}
