package linktest

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// Net is a network of one listener within the process, for tests in which
// time costs nothing (testing/synctest). Its connections hold what is written
// until it is read, as real ones do.
type Net struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewNet makes a network.
func NewNet() *Net {
	return &Net{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next connection.
func (n *Net) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

// Close ends the network; connections live on.
func (n *Net) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

// Addr is an address of the range for documentation (RFC 5737).
func (n *Net) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// DialContext connects to the listener, whatever the address.
func (n *Net) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case n.conns <- newBuffered(b):
		return newBuffered(a), nil
	case <-n.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// buffered is an end of a pipe that does not wait for the reader.
type buffered struct {
	net.Conn
	queue chan []byte
	done  chan struct{}
	once  sync.Once
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, queue: make(chan []byte, 1024), done: make(chan struct{})}
	go b.pump()
	return b
}

func (b *buffered) pump() {
	for {
		select {
		case p := <-b.queue:
			if _, err := b.Conn.Write(p); err != nil {
				b.Close()
				return
			}
		case <-b.done:
			return
		}
	}
}

func (b *buffered) Write(p []byte) (int, error) {
	select {
	case <-b.done:
		return 0, net.ErrClosed
	default:
	}
	select {
	case b.queue <- bytes.Clone(p):
		return len(p), nil
	case <-b.done:
		return 0, net.ErrClosed
	}
}

func (b *buffered) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Conn.Close()
}
