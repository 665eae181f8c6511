// Package line is the one way in which devices on a cable are talked to: a
// serial line or a device file, opened so that no other program is on it, read
// by one goroutine, written with an end to every wait, and closed without
// hanging. The printer and the serial card readers stand on it.
//
// It may import github.com/tarm/serial and golang.org/x/sys. It must never
// know what is said on a line.
//
// What it guards against was measured (readers.md section 2.1): the library
// gives the same answer, no bytes and io.EOF, when its read timeout passed and
// when the cable was pulled; its Close can hang for ever under a Read without a
// timeout; two programs can open one port.
package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Errors of a line.
var (
	ErrInUse   = errors.New("another program holds the line")
	ErrGone    = errors.New("the line is gone")
	ErrSlow    = errors.New("the device takes nothing")
	ErrTime    = errors.New("nothing came in time")
	ErrStopped = errors.New("nobody waits for the line any more")
	ErrNoModem = errors.New("the line has no RTS and DTR")
)

// tick is the read timeout of a serial line; its unit is 0.1 s.
const tick = 100 * time.Millisecond

// Line is an open line to a device. Read and Write may block; after Unblock
// they must not much longer.
type Line struct {
	io.ReadWriteCloser
	Ticks   bool   // Read gives 0 bytes and io.EOF when its own timeout passed: a serial line
	Rate    int    // bytes a second on a serial line, 0: as good as at once
	Unblock func() // ends a Read or Write under way, and drops what was not sent yet where it can; nil: Close does
	Modem   Modem  // the control wires of a serial line; nil: it has none
}

// Modem is the control wires of a serial line. A pseudo-terminal has none:
// there, and on Windows, it fails with an error that wraps ErrNoModem.
type Modem interface {
	SetRTS(on bool) error
	SetDTR(on bool) error
}

// Serial says how a serial line is opened: 8 data bits always.
type Serial struct {
	Device string
	Baud   int    // 0: 9600
	Parity Parity // zero: none
	Stop2  bool   // two stop bits; else one
}

// Parity of a serial line.
type Parity byte

// Parities.
const (
	NoParity Parity = iota
	Even
	Odd
)

// OpenSerial opens a serial line for this program alone. It fails with
// ErrInUse when another program, or another part of this one, holds it.
func OpenSerial(s Serial) (Line, error) {
	if s.Baud == 0 {
		s.Baud = 9600
	}
	return openSerial(s)
}

// bitsPerByte is what a byte takes on the line: start, data, parity, stop.
func (s Serial) bitsPerByte() int {
	n := 10
	if s.Parity != NoParity {
		n++
	}
	if s.Stop2 {
		n++
	}
	return n
}

// guarded closes what keeps others off the line after the line itself.
type guarded struct {
	io.ReadWriteCloser
	guard *guard
}

func (g guarded) Close() error { return errors.Join(g.ReadWriteCloser.Close(), g.guard.Close()) }

// OpenFile opens a device file once, for this program alone: the driver of USB
// printers allows no second descriptor. It fails with ErrInUse.
func OpenFile(device string) (Line, error) {
	f, err := os.OpenFile(device, os.O_RDWR|noTerminal, 0)
	if err != nil {
		return Line{}, busy(err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return Line{}, fmt.Errorf("%s: %w", device, err)
	}
	return Line{ReadWriteCloser: f, Unblock: func() { f.SetDeadline(time.Unix(1, 0)) }}, nil
}

// unread is how many bytes are kept for one who does not read: far more than
// any device sends unasked.
const unread = 4096

// Wire is an open line with its one reading and its one writing goroutine. One
// goroutine at a time may use it; Close may come from any.
type Wire struct {
	Line
	gone chan struct{} // closed when the line ended
	stop chan struct{}
	once sync.Once

	wake chan struct{} // capacity 1: bytes came in
	mu   sync.Mutex
	ring [unread]byte
	at   int // of the oldest byte
	n    int

	chunks  chan []byte
	written chan written // capacity 1
	stuck   bool         // a write is under way that nobody waited for
	timer   *time.Timer
}

type written struct {
	n   int
	err error
}

// quick is a read of a serial line that ended at once without a byte: the
// other end hung up, since a read timeout takes a tick.
const quick = tick / 2

// NewWire starts reading a line.
func NewWire(l Line) *Wire {
	w := &Wire{Line: l, gone: make(chan struct{}), stop: make(chan struct{}), wake: make(chan struct{}, 1),
		chunks: make(chan []byte), written: make(chan written, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	go w.read()
	go w.write()
	return w
}

func (w *Wire) read() {
	defer close(w.gone)
	buf := make([]byte, 512)
	for ended := 0; ; {
		began := time.Now()
		n, err := w.Line.Read(buf)
		w.keep(buf[:n])
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

// keep drops what nobody waits for: a line full of noise.
func (w *Wire) keep(b []byte) {
	if len(b) == 0 {
		return
	}
	w.mu.Lock()
	for _, c := range b[:min(len(b), unread-w.n)] {
		w.ring[(w.at+w.n)%unread] = c
		w.n++
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Wire) write() {
	for {
		select {
		case b := <-w.chunks:
			n, err := w.Line.Write(b)
			w.written <- written{n, err}
		case <-w.stop:
			return
		}
	}
}

// Take gives into p what has come in already, without waiting.
func (w *Wire) Take(p []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(p), w.n)
	for i := range n {
		p[i] = w.ring[w.at]
		w.at = (w.at + 1) % unread
	}
	w.n -= n
	return n
}

// Read gives into p what has come in, at least one byte, and waits for it at
// most so long, or until stop. It fails with ErrTime, with ErrStopped, or with
// ErrGone when the other end hung up and everything that it sent is read.
func (w *Wire) Read(stop <-chan struct{}, p []byte, patience time.Duration) (int, error) {
	if n := w.Take(p); n > 0 {
		return n, nil
	}
	w.timer.Reset(patience)
	defer w.timer.Stop()
	for {
		select {
		case <-w.wake:
			if n := w.Take(p); n > 0 {
				return n, nil
			}
		case <-w.gone:
			if n := w.Take(p); n > 0 {
				return n, nil
			}
			return 0, ErrGone
		case <-w.timer.C:
			return 0, ErrTime
		case <-stop:
			return 0, ErrStopped
		}
	}
}

// Next gives the next byte that comes in, and waits for it until ctx ends.
func (w *Wire) Next(ctx context.Context) (byte, error) {
	var b [1]byte
	for {
		switch _, err := w.Read(ctx.Done(), b[:], time.Hour); {
		case errors.Is(err, ErrStopped):
			return 0, ctx.Err()
		case !errors.Is(err, ErrTime):
			return b[0], err
		}
	}
}

// Gone is closed when the other end has hung up.
func (w *Wire) Gone() <-chan struct{} { return w.gone }

// writeChunk is what is handed to the system at a time, so that it is known
// within so many bytes how much went out.
const writeChunk = 256

// Send is SendWithin without a patience of its own.
func (w *Wire) Send(ctx context.Context, b []byte) (sent int, err error) {
	return w.SendWithin(ctx.Done(), b, time.Hour)
}

// SendWithin sends b until stop, at most so long, and gives how much may have
// gone out: 0 only when certainly nothing did. It fails with ErrGone or with
// ErrSlow; after that the system may still hold a part of b.
func (w *Wire) SendWithin(stop <-chan struct{}, b []byte, patience time.Duration) (sent int, err error) {
	w.timer.Reset(patience)
	defer w.timer.Stop()
	for len(b) > 0 {
		select {
		case <-w.gone:
			return sent, ErrGone
		case <-stop:
			return sent, ErrSlow
		case <-w.timer.C:
			return sent, ErrSlow
		default:
		}
		if w.stuck {
			select {
			case <-w.written:
				w.stuck = false
			case <-stop:
				return sent, ErrSlow
			case <-w.timer.C:
				return sent, ErrSlow
			case <-w.gone:
				return sent, ErrGone
			}
		}
		chunk := b[:min(len(b), writeChunk)]
		select {
		case w.chunks <- chunk:
		case <-w.stop:
			return sent, ErrGone
		}
		var r written
		select {
		case r = <-w.written:
		case <-stop:
			return sent + len(chunk), w.slow()
		case <-w.timer.C:
			return sent + len(chunk), w.slow()
		case <-w.gone:
			w.stuck = true
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

// slow gives up on a write that is under way.
func (w *Wire) slow() error {
	w.stuck = true
	if w.Unblock != nil {
		w.Unblock()
	}
	return ErrSlow
}

// Transmission is how long so many bytes are under way after the system took
// them.
func (w *Wire) Transmission(n int) time.Duration {
	if w.Rate <= 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(w.Rate)
}

// Close ends the line and never hangs: what does not end within a few ticks is
// left to the system.
func (w *Wire) Close() error {
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
		go func() { w.Line.Close(); close(done) }()
		select {
		case <-done:
		case <-wait.C:
		}
	})
	return nil
}
