// Package serialreader simulates card readers of the GemPC Twin family on a
// serial line, each at the far end of a pseudo-terminal. They can be told to
// fail in every way that readers do.
//
// It may import apdu and reader/virtual, for what a chip is. It shares no
// frame, block or parser with the drivers that are tested against it, and is
// imported by tests, kioskd --sim and cardtool sim only. That it behaves as a
// real Twin is shown by libccid's own driver, which works with it.
package serialreader

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dianka/dianka/reader/virtual"
)

// Model is a reader of the family.
type Model struct {
	Firmware string // what the escape 02 answers
	Slots    int    // 1, 2 or 5
	Echo     bool   // sends each command back before its answer
	Slow     bool   // wakes up at 9600 baud, until it is told otherwise
}

// Models of the family (readers.md section 5). The firmware strings' forms are
// those of the makers, their versions made up.
var (
	GemPCTwin      = Model{"GemTwRC2-V2.10-GR02", 1, true, false}
	GemPCPinPad    = Model{"GemPPC2-V1.00-GP01", 1, true, false}
	GemCorePOSPro  = Model{"GemCorePOS Pro V1.00", 5, false, false}
	GemCoreSIMPro  = Model{"GemCoreSIM Pro V1.00", 2, false, false}
	GemCoreSIMPro2 = Model{"GemCoreSIM Pro2 V1.00", 2, false, true}
)

// FaultKind is a way to fail.
type FaultKind int

// Ways to fail, in the answer to one command.
const (
	NAK         FaultKind = iota + 1 // the reader says that the frame came damaged; the command is not carried out
	BadLRC                           // the answer's check is wrong
	LostAnswer                       // the command is carried out, nothing comes back
	Garbage                          // bytes that are nothing come before the answer
	TimeRequest                      // the reader asks N times for more time
	Movement                         // it tells a removal and an insertion before the answer
	EchoOnly                         // the card moved: the echo comes, the answer does not
	HangUp                           // the plug is pulled after N bytes of what comes back
	HangUpIn                         // the plug is pulled after N bytes of the command
	Failure                          // the command is refused with error byte N; it is not carried out
	CardError                        // the command is carried out, and error byte N comes instead of the answer
	Extension                        // N frames come first that ask for more time, as T=1 cards make the reader send
)

// Fault is one failure to come.
type Fault struct {
	Kind FaultKind
	On   byte // message type of the command: 0x6F is an exchange; 0: any
	Skip int  // so many such commands pass before
	N    int
}

// Twin is a simulated reader of the GemPC Twin family.
type Twin struct {
	Model Model
	// Baud makes what comes and goes take its time, at 11 bits for a byte; 0:
	// none. It is set before the reader is plugged in.
	Baud int
	// OnlyAt is the one voltage, by its code, at which cards answer; 0: any.
	OnlyAt byte
	// DeafToPPS are cards that do not answer when their speed is chosen.
	DeafToPPS bool

	bench bench
	mu    sync.Mutex
	line  io.ReadWriteCloser
	slots []slot
	fail  []Fault
	told  bool // movements are told
	heard int  // commands
	bytes int
	speed func() int // of the terminal's end of the line; nil: not known
	own   int        // our speed
	took  time.Duration
	wait  chan struct{}
}

type slot struct {
	card  *card
	moved []byte // movements not told yet: 2 out, 3 in

	parameters []byte // set since reset; nil: those of reset
	protocol   byte
}

// Message types of CCID.
const (
	setParameters = 0x61
	powerOn       = 0x62
	powerOff      = 0x63
	slotStatus    = 0x65
	xfrBlock      = 0x6F
	escape        = 0x6B
)

// NewTwin makes a reader that is plugged into nothing yet.
func NewTwin(m Model) *Twin {
	return &Twin{Model: m, bench: bench{queues: map[virtual.Chip][]func(){}}, slots: make([]slot, m.Slots)}
}

// Insert puts a chip into a slot, after the one that is in. The channel is
// closed when it has left, for whatever reason.
func (t *Twin) Insert(n int, c virtual.Chip) (left <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out(n)
	in := &card{chip: c, left: make(chan struct{})}
	t.slots[n].card = in
	t.slots[n].moved = append(t.slots[n].moved, 3)
	return in.left
}

// Remove takes the chip out of a slot.
func (t *Twin) Remove(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out(n)
}

// out is called with mu held.
func (t *Twin) out(n int) {
	c := t.slots[n].card
	if c == nil {
		return
	}
	t.slots[n].card = nil
	close(c.left)
	t.slots[n].moved = append(t.slots[n].moved, 2)
	t.bench.do(c.chip, c.chip.PowerOff)
	t.stir()
}

// stir wakes the exchange that waits for a card.
func (t *Twin) stir() {
	if t.wait != nil {
		close(t.wait)
		t.wait = nil
	}
}

// Fail makes something go wrong once. Several are kept.
func (t *Twin) Fail(f ...Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = append(t.fail, f...)
}

// Commands is how many commands have come in.
func (t *Twin) Commands() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heard
}

// Traffic is how many bytes came and went, and how long that took with Baud.
func (t *Twin) Traffic() (bytes int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes, t.took
}

// pace lets so many bytes take their time on the line.
func (t *Twin) pace(n int) {
	began := time.Now()
	if t.Baud > 0 {
		time.Sleep(time.Duration(n) * 11 * time.Second / time.Duration(t.Baud))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += n
	t.took += time.Since(began)
}

// Unplug pulls the reader's plug; the cards lose their power.
func (t *Twin) Unplug() {
	t.mu.Lock()
	l := t.line
	t.line = nil
	t.told = false
	for i := range t.slots {
		if c := t.slots[i].card; c != nil {
			t.bench.do(c.chip, c.chip.PowerOff)
			t.slots[i].card = &card{chip: c.chip, left: c.left}
		}
	}
	t.stir()
	t.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// Serve plugs the reader into a line, and returns when the line has ended.
func (t *Twin) Serve(l io.ReadWriteCloser) error {
	t.mu.Lock()
	t.line, t.own = l, 115200
	if t.Model.Slow {
		t.own = 9600
	}
	t.mu.Unlock()
	defer t.Unplug()
	in := make(chan []byte)
	stop := make(chan struct{})
	defer close(stop)
	ended := make(chan error, 1)
	go func() {
		defer close(in)
		for {
			b := make([]byte, 512)
			n, err := l.Read(b)
			if n > 0 {
				select {
				case in <- b[:n]:
				case <-stop:
					return
				}
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	var got []byte
	for {
		if t.pulledIn(got) {
			return errPulled
		}
		f, rest, state := frame(got)
		switch state {
		case short:
			b, ok := <-in
			if !ok {
				return <-ended
			}
			got = append(got, b...)
			continue
		case bad:
			got = rest
			if _, err := l.Write([]byte{0x03, 0x15, 0x16}); err != nil {
				return err
			}
			continue
		}
		got = rest
		if t.speed != nil && t.speed() != t.own { // bits that are nothing
			continue
		}
		if err := t.serve(l, f, in, &got); err != nil {
			return err
		}
	}
}

var errPulled = errors.New("serialreader: the plug was pulled")

// pulledIn: a fault that pulls the plug within a command.
func (t *Twin) pulledIn(got []byte) bool {
	if len(got) < 3 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.fail {
		if f.Kind == HangUpIn && f.Skip == 0 && (f.On == 0 || f.On == got[2]) && len(got) >= f.N {
			t.fail = append(t.fail[:i], t.fail[i+1:]...)
			return true
		}
	}
	return false
}

type state int

const (
	whole state = iota
	short
	bad
)

// frame cuts one command off: 03 06, header of 10, data, exclusive or of all.
func frame(b []byte) (f, rest []byte, s state) {
	for len(b) > 0 && b[0] != 0x03 { // nothing of ours
		b = b[1:]
	}
	if len(b) < 2 {
		return nil, b, short
	}
	if b[1] != 0x06 {
		return nil, b[1:], bad
	}
	if len(b) < 12 {
		return nil, b, short
	}
	n := int(b[3]) | int(b[4])<<8 | int(b[5])<<16 | int(b[6])<<24
	if n < 0 || n > 261 {
		return nil, b[1:], bad
	}
	if len(b) < 13+n {
		return nil, b, short
	}
	x := byte(0)
	for _, v := range b[:13+n] {
		x ^= v
	}
	if x != 0 {
		return nil, b[13+n:], bad
	}
	return b[:13+n], b[13+n:], whole
}

// due takes the fault that is due for a command.
func (t *Twin) due(message byte) Fault {
	for i := range t.fail {
		if f := &t.fail[i]; f.On == 0 || f.On == message {
			if f.Skip > 0 {
				f.Skip--
				continue
			}
			due := *f
			t.fail = append(t.fail[:i], t.fail[i+1:]...)
			return due
		}
	}
	return Fault{}
}

// serve carries out one command. While a card thinks, a new command from the
// line takes its place: what the card says later is lost.
func (t *Twin) serve(l io.Writer, f []byte, in <-chan []byte, got *[]byte) error {
	message, data, n := f[2], f[12:len(f)-1], int(f[7])
	t.pace(len(f))
	t.mu.Lock()
	t.heard++
	due := t.due(message)
	t.mu.Unlock()
	if due.Kind == NAK {
		_, err := l.Write([]byte{0x03, 0x15, 0x16})
		return err
	}
	var out []byte
	if t.Model.Echo {
		out = append(out, f...)
	}
	if due.Kind == TimeRequest || due.Kind == Extension || due.Kind == Garbage {
		if _, err := l.Write(out); err != nil {
			return err
		}
		out = nil
		for range due.N {
			b := []byte{0x80}
			if due.Kind == Extension {
				b = reply(f, 0x80, 0x80, 2, nil)
			}
			if due.Kind == Garbage {
				b = []byte{0x31}
			}
			if _, err := l.Write(b); err != nil {
				return err
			}
		}
	}
	answer := t.carryOut(f, message, n, data, due, in, got)
	t.mu.Lock()
	if t.told {
		for i := range t.slots {
			for _, m := range t.slots[i].moved {
				out = append(out, 0x50, m)
			}
			t.slots[i].moved = nil
		}
	}
	t.mu.Unlock()
	switch due.Kind {
	case BadLRC:
		if len(answer) > 0 {
			answer[len(answer)-1] ^= 0x5A
		}
	case LostAnswer:
		return nil
	case EchoOnly:
		answer = nil
	case Movement:
		out = append(out, 0x50, 2, 0x50, 3)
	}
	out = append(out, answer...)
	if due.Kind == HangUp && due.N <= len(out) {
		l.Write(out[:due.N])
		return errPulled
	}
	t.pace(len(out))
	_, err := l.Write(out)
	if message == escape && len(data) == 3 && data[0] == 1 && data[1] == 0x10 {
		t.own = 115200 // after the answer
	}
	return err
}

// Status byte: the card's state, and "failed".
const (
	active   = 0
	inactive = 1
	absent   = 2
	failed   = 0x40
)

// Error bytes.
const (
	badSlot     = 0x05
	unsupported = 0x00
	mute        = 0xFE
	badLength   = 0x01
)

// reply makes the answer to a command.
func reply(f []byte, kind, status, code byte, data []byte) []byte {
	b := append([]byte{0x03, 0x06, kind, byte(len(data)), byte(len(data) >> 8), 0, 0, f[7], f[8], status, code, 0}, data...)
	x := byte(0)
	for _, v := range b {
		x ^= v
	}
	return append(b, x)
}

// understand reports whether card and reader speak at one speed, and in the
// protocol that the card awaits.
func (t *Twin) understand(n int, c *card, tpdu []byte) bool {
	if !c.used && isPPS(tpdu) {
		return !t.DeafToPPS
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fidi, protocol := byte(slow), byte(0)
	if s := t.slots[n]; s.parameters != nil {
		fidi, protocol = s.parameters[0], s.protocol
	}
	return fidi == c.fidi && (protocol == 1) == c.isT1()
}

func (t *Twin) carryOut(f []byte, message byte, n int, data []byte, due Fault, in <-chan []byte, got *[]byte) []byte {
	kinds := map[byte]byte{setParameters: 0x82, powerOn: 0x80, powerOff: 0x81, slotStatus: 0x81, xfrBlock: 0x80, escape: 0x83}
	kind, known := kinds[message]
	if !known {
		return reply(f, 0x81, failed, unsupported, nil)
	}
	if n >= len(t.slots) {
		return reply(f, kind, failed|absent, badSlot, nil)
	}
	t.mu.Lock()
	c := t.slots[n].card
	t.mu.Unlock()
	at := func() byte {
		t.mu.Lock()
		defer t.mu.Unlock()
		switch c := t.slots[n].card; {
		case c == nil:
			return absent
		case c.on:
			return active
		}
		return inactive
	}
	if due.Kind == Failure {
		return reply(f, kind, failed|at(), byte(due.N), nil)
	}
	switch message {
	case slotStatus:
		return reply(f, kind, at(), 0, nil)
	case escape:
		switch {
		case len(data) == 1 && data[0] == 2:
			return reply(f, kind, at(), 0, []byte(t.Model.Firmware))
		case len(data) == 3 && data[0] == 1 && data[1] == 1:
			t.mu.Lock()
			t.told = data[2] == 1
			for i := range t.slots { // the state is asked for after this; only what comes now is news
				t.slots[i].moved = nil
			}
			t.mu.Unlock()
			return reply(f, kind, at(), 0, nil)
		}
		if len(data) == 3 && data[0] == 1 && data[1] == 0x10 && t.Model.Slow {
			return reply(f, kind, at(), 0, nil)
		}
		return reply(f, kind, failed|at(), unsupported, nil)
	case powerOff:
		if c != nil {
			t.mu.Lock()
			c.on = false
			t.mu.Unlock()
			t.bench.do(c.chip, c.chip.PowerOff)
		}
		return reply(f, kind, at(), 0, nil)
	}
	if c == nil {
		return reply(f, kind, failed|absent, mute, nil)
	}
	if message == setParameters {
		if l := map[byte]int{0: 5, 1: 7}[f[9]]; len(data) != l {
			return reply(f, kind, failed|at(), badLength, nil)
		}
		t.mu.Lock()
		t.slots[n].parameters, t.slots[n].protocol = append([]byte(nil), data...), f[9]
		t.mu.Unlock()
		b := reply(f, kind, at(), 0, data)
		b[11] = f[9]
		b[len(b)-1] ^= f[9]
		return b
	}
	if message == xfrBlock && at() != active {
		return reply(f, kind, failed|at(), mute, nil)
	}
	type answer struct {
		data []byte
		fate fate
	}
	done := make(chan answer, 1)
	data = append([]byte(nil), data...)
	t.mu.Lock()
	moved := make(chan struct{})
	t.wait = moved
	t.mu.Unlock()
	t.bench.do(c.chip, func() {
		if message == powerOn && t.OnlyAt != 0 && f[9] != t.OnlyAt {
			done <- answer{fate: fate{silent: true}}
			return
		}
		if message == powerOn {
			fresh := &card{chip: c.chip, left: c.left}
			atr := fresh.power()
			t.mu.Lock()
			if t.slots[n].card == c {
				*c = *fresh
				t.slots[n].parameters, t.slots[n].protocol = nil, 0
			}
			t.mu.Unlock()
			done <- answer{data: atr, fate: fate{silent: atr == nil}}
			return
		}
		if !t.understand(n, c, data) {
			done <- answer{fate: fate{mute: true}}
			return
		}
		r, end := c.exchange(data)
		done <- answer{r, end}
	})
	for {
		select {
		case a := <-done:
			if a.fate.gone {
				t.Remove(n)
				if a.fate.to != nil {
					t.Insert(n, a.fate.to)
				}
				return reply(f, kind, failed|at(), mute, nil)
			}
			if due.Kind == CardError {
				return reply(f, kind, failed|at(), byte(due.N), nil)
			}
			if a.fate.silent || a.data == nil {
				if message == xfrBlock && !a.fate.mute {
					done = nil // until the host's patience ends
					continue
				}
				return reply(f, kind, failed|at(), mute, nil)
			}
			return reply(f, kind, at(), 0, a.data)
		case <-moved:
			return reply(f, kind, failed|at(), mute, nil)
		case b, ok := <-in:
			if !ok {
				return nil
			}
			*got = append(*got, b...)
			return nil
		}
	}
}
