package uplink

import (
	"context"
	"errors"
	"net"
	"sync"
)

// ErrGate means that the gate is closed.
var ErrGate = errors.New("uplink: the link is switched off")

// Gate is a switch in the line: open, it dials as usual; closed, every
// connection made through it is cut and no new one is made. The desk's "link
// up/down" is one. The zero value is open.
type Gate struct {
	// Dial makes the connections; nil: a net.Dialer. It may be changed until
	// the first use.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	closed bool
	conns  map[*gated]struct{}
}

// Set opens the gate or closes it.
func (g *Gate) Set(open bool) {
	g.mu.Lock()
	g.closed = !open
	var cut []*gated
	if g.closed {
		for c := range g.conns {
			cut = append(cut, c)
		}
		clear(g.conns)
	}
	g.mu.Unlock()
	for _, c := range cut {
		c.Conn.Close()
	}
}

// Open reports whether the gate is open.
func (g *Gate) Open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

// DialContext dials through the gate. It fails with ErrGate while closed.
func (g *Gate) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if !g.Open() {
		return nil, ErrGate
	}
	dial := g.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
		return nil, ErrGate
	}
	if g.conns == nil {
		g.conns = make(map[*gated]struct{})
	}
	w := &gated{Conn: c, gate: g}
	g.conns[w] = struct{}{}
	return w, nil
}

type gated struct {
	net.Conn
	gate *Gate
}

func (c *gated) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
