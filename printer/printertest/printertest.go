// Package printertest is a receipt printer without paper: it carries out
// ESC/POS as a printer does, answers its status questions at once, and can run
// out of paper, have its cover opened, be switched off line, stop in the middle
// of a slip and be unplugged. What came out can be read as text and seen as a
// picture. Tests of the driver and the simulated desk use it.
//
// It may import libraries. It must not import the driver or what makes slips:
// who tests them reads what was printed with eyes of its own.
package printertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Condition is what the printer is like.
type Condition struct {
	PaperOut, NearEnd, CoverOpen, Offline bool
	Cutter, Broken                        bool
	Mute                                  bool // answers nothing, prints nothing
	Unordered                             bool // does not know GS r
}

// Line is a printed line.
type Line struct {
	Text                          string // of a QR code its content
	Double, Bold, Inverse, Centre bool
	QR                            bool
	Image                         bool // a raster picture, whose dots are not kept
}

// Slip is what lies between two cuts.
type Slip struct {
	Lines []Line
	Cut   bool // false: it still hangs in the printer
}

// Text gives the slip's lines.
func (s Slip) Text() string {
	var b strings.Builder
	for _, l := range s.Lines {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

// MaxSlips is how many slips are kept; the oldest go first.
const MaxSlips = 50

// Printer is a simulated printer. Its methods may be called from any
// goroutine.
type Printer struct {
	mu     sync.Mutex
	c      Condition
	paper  int // lines until the roll ends, -1: a long one
	memory []byte
	slips  []Slip
	format Line   // how the next line is printed
	text   []byte // of the line so far
	qr     []byte
	lines  map[io.Closer]bool
	asked  int // status questions
	bad    []string
	notify chan struct{}
}

// New makes a printer with paper.
func New() *Printer {
	return &Printer{paper: -1, lines: map[io.Closer]bool{}, notify: make(chan struct{})}
}

// Set changes what the printer is like; what waits in its memory is printed as
// soon as it can be.
func (p *Printer) Set(change func(*Condition)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.c
	change(&p.c)
	if was.PaperOut && !p.c.PaperOut {
		p.paper = -1
	}
	p.work(nil)
}

// Condition tells what the printer is like.
func (p *Printer) Condition() Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.c
}

// PaperFor makes the roll end after so many lines.
func (p *Printer) PaperFor(lines int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paper = lines
}

// Slips gives what came out, oldest first.
func (p *Printer) Slips() []Slip {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Slip, len(p.slips))
	for i, s := range p.slips {
		out[i] = Slip{append([]Line(nil), s.Lines...), s.Cut}
	}
	return out
}

// Waiting is how many bytes wait in the printer's memory.
func (p *Printer) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.memory)
}

// Asked is how many status questions came.
func (p *Printer) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Bad lists what the printer did not understand.
func (p *Printer) Bad() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.bad...)
}

// Changed gives a channel that is closed when something was printed or asked
// next.
func (p *Printer) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notify
}

func (p *Printer) touched() {
	close(p.notify)
	p.notify = make(chan struct{})
}

// Unplug cuts every line to the printer.
func (p *Printer) Unplug() {
	p.mu.Lock()
	lines := p.lines
	p.lines = map[io.Closer]bool{}
	p.mu.Unlock()
	for l := range lines {
		l.Close()
	}
}

// Serve is the printer at one end of a line, until that ends.
func (p *Printer) Serve(line io.ReadWriteCloser) {
	p.mu.Lock()
	p.lines[line] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.lines, line)
		p.mu.Unlock()
		line.Close()
	}()
	buf := make([]byte, 512)
	var pending []byte // the beginning of a command that is carried out as it comes
	for {
		n, err := line.Read(buf)
		if n > 0 {
			p.mu.Lock()
			var answer []byte
			pending, answer = p.receive(append(pending, buf[:n]...), line)
			p.touched()
			p.mu.Unlock()
			if len(answer) > 0 {
				line.Write(answer)
			}
		}
		if err != nil {
			return
		}
	}
}

// receive takes out what is carried out at once, wherever it stands, and puts
// the rest into memory.
func (p *Printer) receive(b []byte, line io.Writer) (rest, answer []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, 0x10)
		if i != 0 {
			if i < 0 {
				i = len(b)
			}
			p.memory = append(p.memory, b[:i]...)
			b = b[i:]
			continue
		}
		switch {
		case len(b) < 2, b[1] == 0x04 && len(b) < 3, b[1] == 0x14 && len(b) < 3, b[1] == 0x14 && b[2] == 8 && len(b) < 10:
			return append([]byte(nil), b...), append(answer, p.work(line)...)
		case b[1] == 0x04:
			p.asked++
			if a, ok := p.status(b[2]); ok && !p.c.Mute {
				answer = append(answer, a)
			}
			b = b[3:]
		case b[1] == 0x14 && b[2] == 8 && bytes.Equal(b[3:10], []byte{1, 3, 20, 1, 6, 2, 8}):
			p.memory, p.text = nil, nil
			if !p.c.Mute {
				answer = append(answer, 0x37, 0x25, 0x00)
			}
			b = b[10:]
		default:
			p.memory = append(p.memory, b[0])
			b = b[1:]
		}
	}
	return nil, append(answer, p.work(line)...)
}

// status answers one of the four questions.
func (p *Printer) status(n byte) (byte, bool) {
	a := byte(0b0001_0010)
	bit := func(on bool, mask byte) {
		if on {
			a |= mask
		}
	}
	switch n {
	case 1:
		bit(p.c.Offline || p.c.PaperOut || p.c.CoverOpen || p.c.Cutter || p.c.Broken, 1<<3)
	case 2:
		bit(p.c.CoverOpen, 1<<2)
		bit(p.c.PaperOut, 1<<5)
		bit(p.c.Cutter || p.c.Broken, 1<<6)
	case 3:
		bit(p.c.Cutter, 1<<3)
		bit(p.c.Broken, 1<<5)
	case 4:
		bit(p.c.NearEnd || p.c.PaperOut, 0b11<<2)
		bit(p.c.PaperOut, 0b11<<5)
	default:
		return 0, false
	}
	return a, true
}

func (p *Printer) stands() bool {
	return p.c.PaperOut || p.c.CoverOpen || p.c.Offline || p.c.Cutter || p.c.Broken || p.c.Mute
}

// work carries out what is in memory, in turn, as far as it can.
func (p *Printer) work(io.Writer) (answer []byte) {
	for len(p.memory) > 0 && !p.stands() {
		n, a := p.step(p.memory)
		if n == 0 {
			break // the rest of the command is not there yet
		}
		p.memory = p.memory[n:]
		answer = append(answer, a...)
	}
	return answer
}

// step carries out one command or takes one character, and gives how many
// bytes it took.
func (p *Printer) step(b []byte) (n int, answer []byte) {
	on := func(v byte) bool { return v&1 == 1 }
	need := func(k int) bool { return len(b) >= k }
	switch c := b[0]; c {
	case '\n':
		p.line()
		return 1, nil
	case 0x1B:
		if !need(2) {
			return 0, nil
		}
		switch b[1] {
		case '@':
			p.format, p.text = Line{}, nil
			return 2, nil
		case 'a', 'E', 'd':
			if !need(3) {
				return 0, nil
			}
			switch b[1] {
			case 'a':
				p.format.Centre = b[2] == 1
			case 'E':
				p.format.Bold = on(b[2])
			}
			return 3, nil
		}
	case 0x1C:
		if !need(2) {
			return 0, nil
		}
		if b[1] == '&' {
			return 2, nil
		}
	case 0x1D:
		if !need(3) {
			return 0, nil
		}
		switch b[1] {
		case '!':
			p.format.Double = b[2] == 0x11
			return 3, nil
		case 'B':
			p.format.Inverse = on(b[2])
			return 3, nil
		case 'r':
			if p.c.Unordered {
				return 3, nil
			}
			a := byte(0)
			if p.c.NearEnd {
				a |= 0b11
			}
			return 3, []byte{a}
		case 'V':
			if b[2] == 65 || b[2] == 66 {
				if !need(4) {
					return 0, nil
				}
				p.cut()
				return 4, nil
			}
			p.cut()
			return 3, nil
		case 'v':
			if !need(8) {
				return 0, nil
			}
			size := (int(b[4]) | int(b[5])<<8) * (int(b[6]) | int(b[7])<<8)
			if !need(8 + size) {
				return 0, nil
			}
			p.out(Line{Image: true, Centre: p.format.Centre, Text: fmt.Sprintf("[%d×%d]", (int(b[4])|int(b[5])<<8)*8, int(b[6])|int(b[7])<<8)})
			return 8 + size, nil
		case '(':
			if !need(5) {
				return 0, nil
			}
			size := int(b[3]) | int(b[4])<<8
			if !need(5 + size) {
				return 0, nil
			}
			if b[2] == 'k' && size >= 3 && b[5] == 49 {
				switch b[6] {
				case 80:
					p.qr = append([]byte(nil), b[8:5+size]...)
				case 81:
					p.out(Line{QR: true, Centre: p.format.Centre, Text: string(p.qr)})
				}
			}
			return 5 + size, nil
		}
	default:
		if c < 0x20 {
			break
		}
		k := 1
		if c >= 0x81 && c <= 0xFE { // GB 18030
			if !need(2) {
				return 0, nil
			}
			k = 2
			if b[1] >= '0' && b[1] <= '9' {
				k = 4
			}
			if !need(k) {
				return 0, nil
			}
		}
		p.text = append(p.text, b[:k]...)
		return k, nil
	}
	p.bad = append(p.bad, fmt.Sprintf("% x", b[:min(len(b), 4)]))
	return 1, nil
}

// line prints the line so far. A line feed right after a code only feeds.
func (p *Printer) line() {
	l := p.format
	t, err := simplifiedchinese.GB18030.NewDecoder().Bytes(p.text)
	if err != nil {
		p.bad = append(p.bad, err.Error())
	}
	l.Text, p.text = string(t), nil
	if k := len(p.slips); l.Text == "" && k > 0 && !p.slips[k-1].Cut {
		if m := len(p.slips[k-1].Lines); m > 0 && p.slips[k-1].Lines[m-1].QR {
			return
		}
	}
	p.out(l)
}

func (p *Printer) out(l Line) {
	if k := len(p.slips); k == 0 || p.slips[k-1].Cut {
		p.slips = append(p.slips, Slip{})
	}
	k := len(p.slips) - 1
	p.slips[k].Lines = append(p.slips[k].Lines, l)
	if len(p.slips) > MaxSlips {
		p.slips = p.slips[1:]
	}
	if p.paper > 0 {
		if p.paper--; p.paper == 0 {
			p.c.PaperOut = true
		}
	}
}

func (p *Printer) cut() {
	if k := len(p.slips); k > 0 {
		p.slips[k-1].Cut = true
	}
}

// Pipe gives a line to the printer within the program, as often as it is
// called.
func (p *Printer) Pipe() net.Conn {
	a, b := net.Pipe()
	go p.Serve(b)
	return a
}

// TCP listens on a loopback port until stop is called.
func (p *Printer) TCP() (address string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) || err != nil {
				return
			}
			go p.Serve(c)
		}
	}()
	return l.Addr().String(), func() error { p.Unplug(); return l.Close() }, nil
}
