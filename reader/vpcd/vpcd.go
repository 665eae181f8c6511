// Package vpcd puts a chip into the virtual reader of a running pcscd: it is
// a client of the protocol of vsmartcard's vpcd driver (virtualsmartcard
// doc/api.txt). To connect is to insert the card, to close is to remove it.
// With it our simulated cards are used through a real PC/SC service.
//
// It may import reader/virtual, for what a chip is, and must never be part of
// a real terminal: tests, kioskd --sim and cardtool sim use it.
package vpcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/dianka/dianka/reader/virtual"
)

// Ports of the two slots in the Debian package of vpcd. The driver listens on
// all addresses, so keep it behind a firewall or in a network namespace.
const (
	Port0 = 0x8C7B
	Port1 = 0x8C7C
)

// Messages of one byte are for the reader, longer ones for the card.
const (
	controlOff   = 0
	controlOn    = 1
	controlReset = 2
	controlATR   = 4
)

// pause is kept between two cards in one reader, as a hand does. pcscd looks
// every 400 ms; when a card leaves during an exchange, the driver drops it by
// itself, and without the pause the next look would find the new card without
// ever having found the slot empty: pcscd would not notice any change.
const pause = 700 * time.Millisecond

var (
	leftMu sync.Mutex
	left   = map[string]time.Time{} // when the last card left the reader at an address
)

// Session is one chip in a virtual reader.
type Session struct {
	addr   string
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	conn net.Conn
	err  error
}

// Dial inserts the chip into the virtual reader at addr, for example
// "127.0.0.1:35963", or "unix:/path" for a bridge to it, until Close, the end of ctx, or until the chip says that
// it left. It waits until the slot has been empty for a moment; pcscd looks at
// its readers every 400 ms, so the card is seen a little later still.
func Dial(ctx context.Context, addr string, chip virtual.Chip) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	conn, err := dial(ctx, addr)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Session{addr: addr, cancel: cancel, done: make(chan struct{}), conn: conn}
	stop := context.AfterFunc(ctx, s.hangUp)
	go func() {
		defer close(s.done)
		defer cancel()
		defer stop()
		s.run(ctx, conn, chip)
	}()
	return s, nil
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	leftMu.Lock()
	rest := pause - time.Since(left[addr])
	leftMu.Unlock()
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("vpcd: no virtual reader at %s (is pcscd running, with the vpcd driver?): %w", addr, err)
	}
	return conn, nil
}

// Done is closed when the card has left the reader, for whatever reason.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says, after Done, why the card left: nil after Close or the end of the
// context, virtual.ErrGone when the chip said so, io.EOF when the reader did.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close removes the card. It doesn't wait for a chip that is busy.
func (s *Session) Close() error {
	s.cancel()
	s.hangUp()
	return nil
}

func (s *Session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(s.conn)
}

// close ends a connection and remembers when; once it is closed, closing it
// again tells nothing new.
func (s *Session) close(conn net.Conn) {
	if conn.Close() == nil {
		leftMu.Lock()
		defer leftMu.Unlock()
		left[s.addr] = time.Now()
	}
}

func (s *Session) run(ctx context.Context, conn net.Conn, chip virtual.Chip) {
	for {
		err := Serve(conn, chip)
		s.close(conn)
		var swapped *virtual.Swapped
		if errors.As(err, &swapped) && ctx.Err() == nil {
			chip = swapped.To
			if conn, err = dial(ctx, s.addr); err == nil {
				s.mu.Lock()
				s.conn = conn
				s.mu.Unlock()
				if ctx.Err() == nil {
					continue
				}
				s.close(conn)
			}
		}
		if ctx.Err() != nil {
			err = nil
		}
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		return
	}
}

// Serve answers the reader at the other end of conn with the chip, until the
// connection ends or the chip leaves, and takes the chip's power then. It
// does not close conn.
func Serve(conn net.Conn, chip virtual.Chip) error {
	// The reader asks for the answer to reset before it gives power.
	atr, err := chip.PowerOn()
	chip.PowerOff()
	if err != nil {
		return fmt.Errorf("vpcd: %w", err)
	}
	defer chip.PowerOff()
	powered := false
	message := make([]byte, 2+65535)
	for {
		// The driver sends length and data in two writes; unless the first is
		// acknowledged at once, the second waits 40 ms for the delayed
		// acknowledgement. The option does not last, so it is set every time.
		quickAck(conn)
		if _, err := io.ReadFull(conn, message[:2]); err != nil {
			return err
		}
		quickAck(conn)
		n := int(binary.BigEndian.Uint16(message))
		if _, err := io.ReadFull(conn, message[2:2+n]); err != nil {
			return err
		}
		var answer []byte
		switch m := message[2 : 2+n]; {
		case n == 1:
			switch m[0] {
			case controlOff:
				chip.PowerOff()
				powered = false
			case controlOn, controlReset:
				if atr, err = chip.PowerOn(); err != nil {
					return fmt.Errorf("vpcd: %w", err)
				}
				powered = true
			case controlATR:
				answer = atr
			}
			if m[0] != controlATR {
				continue
			}
		case !powered:
			// It happens: pcscd lets one program connect while it takes the
			// power for another. The protocol has no "failed", and an empty
			// answer means that the card is gone; one byte is no response.
			answer = []byte{0}
		default:
			answer, err = chip.Transmit(append([]byte(nil), m...))
			clear(m)
			var swapped *virtual.Swapped
			if errors.Is(err, virtual.ErrGone) || errors.As(err, &swapped) {
				return err
			}
			if err != nil { // silence: the reader waits until the card is pulled
				continue
			}
		}
		if len(answer) > 65535 {
			return fmt.Errorf("vpcd: an answer of %d bytes does not fit", len(answer))
		}
		// One write, for the same reason.
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return err
		}
	}
}

// CopyFromReader carries what the virtual reader at inner says to outer, for a
// bridge between the two, without the delay that Serve avoids.
func CopyFromReader(outer io.Writer, inner net.Conn) error {
	b := make([]byte, 2+65535)
	for {
		quickAck(inner)
		n, err := inner.Read(b)
		if err != nil {
			return err
		}
		if _, err := outer.Write(b[:n]); err != nil {
			return err
		}
	}
}
