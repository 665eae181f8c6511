package printer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Errors of the line to a printer.
var (
	ErrAddress = errors.New("printer: not an address: serial:<device>, usb:<device file> or tcp:<host>:<port>")
	ErrInUse   = errors.New("printer: another program holds the line")
	ErrGone    = errors.New("printer: the line is gone")
	ErrSlow    = errors.New("printer: it takes nothing")
)

// tick is the read timeout of a serial line; its unit is 0.1 s.
const tick = 100 * time.Millisecond

// Line is an open line to a printer. Read and Write may block; after Unblock
// they must not much longer.
type Line struct {
	io.ReadWriteCloser
	Ticks   bool   // Read gives 0 bytes and io.EOF when its own timeout passed: a serial line
	Rate    int    // bytes a second on a serial line, 0: as good as at once
	Unblock func() // ends a Read or Write under way, and drops what was not sent yet where it can; nil: Close does
}

// Opener opens the line, anew after each time that it broke.
type Opener func(ctx context.Context) (Line, error)

// ParseAddress gives an Opener for "serial:/dev/ttyS0", "usb:/dev/usb/lp0" or
// "tcp:192.0.2.7:9100". baud is of a serial line; 0: 9600. It opens nothing
// yet and fails with ErrAddress.
func ParseAddress(address string, baud int) (Opener, error) {
	kind, rest, ok := strings.Cut(address, ":")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q: %w", address, ErrAddress)
	}
	switch kind {
	case "serial":
		if baud == 0 {
			baud = 9600
		}
		return func(context.Context) (Line, error) { return openSerial(rest, baud) }, nil
	case "usb":
		return func(context.Context) (Line, error) { return openFile(rest) }, nil
	case "tcp":
		if _, port, err := net.SplitHostPort(rest); err != nil || port == "" {
			return nil, fmt.Errorf("%q: %w", address, ErrAddress)
		}
		return func(ctx context.Context) (Line, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", rest)
			if err != nil {
				return Line{}, err
			}
			return Line{c, false, 0, func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
		}, nil
	}
	return nil, fmt.Errorf("%q: %w", address, ErrAddress)
}

// guarded closes what keeps others off the line after the line itself.
type guarded struct {
	io.ReadWriteCloser
	guard *guard
}

func (g guarded) Close() error { return errors.Join(g.ReadWriteCloser.Close(), g.guard.Close()) }

// openFile opens a device file once: the driver of USB printers allows no
// second descriptor.
func openFile(device string) (Line, error) {
	f, err := os.OpenFile(device, os.O_RDWR|noTerminal, 0)
	if err != nil {
		return Line{}, busy(err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return Line{}, fmt.Errorf("%s: %w", device, err)
	}
	return Line{f, false, 0, func() { f.SetDeadline(time.Unix(1, 0)) }}, nil
}

// wire is an open line with its one reading goroutine.
type wire struct {
	Line
	in   chan byte
	gone chan struct{} // closed when the line ended
	stop chan struct{}
	once sync.Once
}

// quick is a read of a serial line that ended at once without a byte: the
// other end hung up, since a read timeout takes a tick.
const quick = tick / 2

func newWire(l Line) *wire {
	w := &wire{Line: l, in: make(chan byte, 256), gone: make(chan struct{}), stop: make(chan struct{})}
	go w.read()
	return w
}

func (w *wire) read() {
	defer close(w.gone)
	buf := make([]byte, 64)
	for ended := 0; ; {
		began := time.Now()
		n, err := w.Read(buf)
		for _, b := range buf[:n] {
			select {
			case w.in <- b:
			default: // a line full of noise: nobody waits for so much
			}
		}
		select {
		case <-w.stop:
			return
		default:
		}
		switch {
		case n > 0:
			ended = 0
		case w.Ticks && errors.Is(err, io.EOF) && time.Since(began) >= quick:
			ended = 0
		case w.Ticks && errors.Is(err, io.EOF) && ended < 3:
			ended++
		case err != nil:
			return
		}
	}
}

// writeChunk is what is handed to the system at a time, so that it is known
// within so many bytes how much went out.
const writeChunk = 256

// write sends b until ctx ends and gives how much may have gone out: 0 only
// when certainly nothing did.
func (w *wire) write(ctx context.Context, b []byte) (sent int, err error) {
	type result struct {
		n   int
		err error
	}
	for len(b) > 0 {
		select {
		case <-w.gone:
			return sent, ErrGone
		case <-ctx.Done():
			return sent, ErrSlow
		default:
		}
		chunk := b[:min(len(b), writeChunk)]
		done := make(chan result, 1)
		go func() {
			n, err := w.Write(chunk)
			done <- result{n, err}
		}()
		var r result
		select {
		case r = <-done:
		case <-ctx.Done():
			if w.Unblock != nil {
				w.Unblock()
			}
			return sent + len(chunk), ErrSlow
		case <-w.gone:
			return sent + len(chunk), ErrGone
		}
		sent += r.n
		if r.err != nil {
			return sent, fmt.Errorf("%w: %w", ErrGone, r.err)
		}
		b = b[len(chunk):]
	}
	return sent, nil
}

// transmission is how long so many bytes are under way after the system took
// them.
func (w *wire) transmission(n int) time.Duration {
	if w.Rate <= 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(w.Rate)
}

// next gives the next byte that comes in.
func (w *wire) next(ctx context.Context) (byte, error) {
	select {
	case b := <-w.in:
		return b, nil
	default:
	}
	select {
	case b := <-w.in:
		return b, nil
	case <-w.gone:
		return 0, ErrGone
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// close ends the line and never hangs: what does not end within a few ticks is
// left to the system.
func (w *wire) close() {
	w.once.Do(func() {
		close(w.stop)
		if w.Unblock != nil && !w.Ticks { // a serial line ends its read by itself, and keeps what was sent last
			w.Unblock()
		}
		wait := time.NewTimer(3 * tick)
		defer wait.Stop()
		if w.Ticks { // never close a serial line under its reader
			select {
			case <-w.gone:
			case <-wait.C:
			}
		}
		done := make(chan struct{})
		go func() { w.Close(); close(done) }()
		select {
		case <-done:
		case <-wait.C:
		}
	})
}
