package readertest

import (
	"sync"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader/virtual"
)

// Instructions of Chip, class 80. Any other instruction answers 6D00.
const (
	InsEcho byte = 0xE0 // gives back the command's data
	InsLong byte = 0xB0 // gives P1P2 bytes, 00 01 02 ... FF 00 ...
	InsHold byte = 0xD0 // answers 9000 after Release
	InsWho  byte = 0xA0 // gives the chip's serial byte
)

// Answers to reset of the test chips: T=1 and T=0, with one historical byte
// that is the serial.
func atr(t0 bool, serial byte) []byte {
	if t0 {
		return []byte{0x3B, 0x01, serial}
	}
	b := []byte{0x3B, 0x81, 0x01, serial}
	tck := byte(0)
	for _, x := range b[1:] {
		tck ^= x
	}
	return append(b, tck) // TCK: exclusive or of all after TS (ISO/IEC 7816-3 clause 8.2.5)
}

// Chip is the card of the conformance suite: it echoes, counts what it
// executed, and can be made to hold an answer back.
type Chip struct {
	Serial byte // told by InsWho and in the answer to reset
	T0     bool // speaks T=0: 61xx and 6Cxx, never data without Le

	mu       sync.Mutex
	on       bool
	powered  int // times power came
	executed int
	waiting  []byte // T=0: data for GET RESPONSE
	holding  chan struct{}
	release  chan struct{}
}

var _ virtual.Chip = (*Chip)(nil)

// NewChip gives a chip with that serial.
func NewChip(serial byte, t0 bool) *Chip {
	return &Chip{Serial: serial, T0: t0, holding: make(chan struct{}, 16), release: make(chan struct{})}
}

// Holding receives once for each InsHold that has begun.
func (c *Chip) Holding() <-chan struct{} { return c.holding }

// Release lets every InsHold answer, now and later.
func (c *Chip) Release() { close(c.release) }

// Executed is the number of commands carried out, GET RESPONSE and wrong
// lengths not counted.
func (c *Chip) Executed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executed
}

// Powered is the number of times that power came, and whether it is on.
func (c *Chip) Powered() (times int, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.powered, c.on
}

// PowerOn implements virtual.Chip.
func (c *Chip) PowerOn() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.waiting = true, nil
	c.powered++
	return atr(c.T0, c.Serial), nil
}

// PowerOff implements virtual.Chip.
func (c *Chip) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
}

// Transmit implements virtual.Chip.
func (c *Chip) Transmit(command []byte) ([]byte, error) {
	cmd, err := apdu.ParseCommand(command)
	if err != nil {
		return apdu.Response{SW: apdu.SWWrongLength}.Bytes(), nil
	}
	if cmd.INS == InsHold {
		c.holding <- struct{}{}
		<-c.release
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return nil, virtual.ErrNoAnswer
	}
	if c.T0 {
		if len(command) < 5 || cmd.Case() == 4 || cmd.Extended() { // no T=0 header, P3 in two places
			return apdu.Response{SW: apdu.SWWrongLength}.Bytes(), nil
		}
		return c.tpdu(cmd).Bytes(), nil
	}
	c.executed++
	r := c.run(cmd)
	return r.Bytes(), nil
}

func (c *Chip) run(cmd apdu.Command) apdu.Response {
	r := apdu.Response{SW: apdu.SWOK}
	if cmd.CLA&0xF0 != 0x80 {
		r.SW = apdu.SWCLANotSupported
		return r
	}
	switch cmd.INS {
	case InsEcho:
		r.Data = cmd.Data
	case InsLong:
		r.Data = Pattern(int(cmd.P1)<<8 | int(cmd.P2))
	case InsWho:
		r.Data = []byte{c.Serial}
	case InsHold:
	default:
		r.SW = apdu.SWINSNotSupported
	}
	return r
}

// tpdu is a command as a T=0 card sees it: 6Cxx when a command without data
// asks for the wrong length, 61xx and GET RESPONSE when one with data has an
// answer or when there is more than fits.
func (c *Chip) tpdu(cmd apdu.Command) apdu.Response {
	const getResponse = 0xC0
	if cmd.INS == getResponse {
		if cmd.CLA&0xF0 != 0x80 { // the class must be kept
			return apdu.Response{SW: apdu.SWCLANotSupported}
		}
		return c.hand(cmd.Ne)
	}
	c.waiting = nil
	r := c.run(cmd)
	if n := len(r.Data); len(cmd.Data) == 0 && n > 0 && n <= apdu.MaxShortNe {
		if cmd.Ne != n {
			return apdu.Response{SW: 0x6C00 | apdu.SW(byte(n))}
		}
		c.executed++
		return r
	}
	c.executed++
	if len(r.Data) == 0 {
		return r
	}
	c.waiting = r.Data
	return apdu.Response{SW: c.more()}
}

func (c *Chip) hand(ne int) apdu.Response {
	if len(c.waiting) == 0 || ne == 0 {
		return apdu.Response{SW: apdu.SWConditionsNotMet}
	}
	n := min(ne, len(c.waiting))
	r := apdu.Response{Data: c.waiting[:n], SW: apdu.SWOK}
	c.waiting = c.waiting[n:]
	if len(c.waiting) > 0 {
		r.SW = c.more()
	}
	return r
}

func (c *Chip) more() apdu.SW { return 0x6100 | apdu.SW(byte(min(len(c.waiting), 256))) }

// Pattern is n bytes 00 01 02 ... FF 00 ...
func Pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
