// Package apdu holds the values that travel between a terminal and an
// integrated circuit card: commands, responses, status words, BER-TLV,
// answers to reset and the trace format. It follows ISO/IEC 7816-3 and -4.
//
// It may import the standard library only, and must never do I/O: whatever
// moves bytes implements Transmitter somewhere else, and a trace is read from
// and written to what the caller gives.
package apdu

import (
	"context"
	"errors"
	"fmt"
)

// Limits of ISO/IEC 7816-4 clause 5.1.
const (
	MaxShortData    = 255   // bytes of command data in a short APDU
	MaxShortNe      = 256   // bytes of expected response data in a short APDU
	MaxExtendedData = 65535 // bytes of command data in an extended APDU
	MaxExtendedNe   = 65536 // bytes of expected response data in an extended APDU
)

// Errors of building and parsing. None of them is raised after a byte has
// been sent, so none means that a command may have executed.
var (
	ErrCommandTooLong   = errors.New("apdu: command data longer than 65535 bytes")
	ErrNeRange          = errors.New("apdu: expected length outside 0..65536")
	ErrCommandMalformed = errors.New("apdu: bytes are not a command APDU")
	ErrResponseShort    = errors.New("apdu: response shorter than a status word")
	ErrResponseLong     = errors.New("apdu: response longer than 65538 bytes")
)

// Command is a command APDU. It keeps the expected length as Ne, a number of
// bytes, and never as a raw Le, because Le = 00 means 256 (or 65536) and
// "no Le" means none.
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte // 0..65535 bytes
	Ne               int    // 0 = no response data expected, 1..65536
}

// Extended reports whether the command needs the extended length form.
func (c Command) Extended() bool {
	return len(c.Data) > MaxShortData || c.Ne > MaxShortNe
}

// Case is the command case of ISO/IEC 7816-4 clause 5.1: 1 nothing, 2 Le
// only, 3 data only, 4 data and Le.
func (c Command) Case() int {
	switch {
	case len(c.Data) == 0 && c.Ne == 0:
		return 1
	case len(c.Data) == 0:
		return 2
	case c.Ne == 0:
		return 3
	}
	return 4
}

// Bytes gives the command as it is sent under T=1 and to PC/SC: short form
// when it fits, extended form otherwise. It fails with ErrCommandTooLong or
// ErrNeRange.
func (c Command) Bytes() ([]byte, error) {
	if len(c.Data) > MaxExtendedData {
		return nil, ErrCommandTooLong
	}
	if c.Ne < 0 || c.Ne > MaxExtendedNe {
		return nil, ErrNeRange
	}
	b := make([]byte, 0, 4+3+len(c.Data)+2)
	b = append(b, c.CLA, c.INS, c.P1, c.P2)
	if !c.Extended() {
		if n := len(c.Data); n > 0 {
			b = append(b, byte(n))
			b = append(b, c.Data...)
		}
		if c.Ne > 0 {
			b = append(b, byte(c.Ne)) // 256 wraps to 00, its coding
		}
		return b, nil
	}
	b = append(b, 0)
	if n := len(c.Data); n > 0 {
		b = append(b, byte(n>>8), byte(n))
		b = append(b, c.Data...)
	}
	if c.Ne > 0 {
		b = append(b, byte(c.Ne>>8), byte(c.Ne)) // 65536 wraps to 0000
	}
	return b, nil
}

// ParseCommand reads one command APDU, short or extended. A header alone is
// case 1; five bytes are case 2 short. It fails with ErrCommandMalformed.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < 4 {
		return Command{}, fmt.Errorf("%w: %d bytes, a header has 4", ErrCommandMalformed, len(b))
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[4:]
	ne := func(v, max int) int {
		if v == 0 {
			return max
		}
		return v
	}
	switch {
	case len(body) == 0: // case 1
		return c, nil
	case len(body) == 1: // case 2 short
		c.Ne = ne(int(body[0]), MaxShortNe)
		return c, nil
	case body[0] != 0: // case 3 or 4 short
		lc := int(body[0])
		rest := body[1:]
		if len(rest) == lc || len(rest) == lc+1 {
			c.Data = append([]byte(nil), rest[:lc]...)
			if len(rest) == lc+1 {
				c.Ne = ne(int(rest[lc]), MaxShortNe)
			}
			return c, nil
		}
		return Command{}, fmt.Errorf("%w: Lc is %d, %d bytes follow", ErrCommandMalformed, lc, len(rest))
	case len(body) == 3: // case 2 extended
		c.Ne = ne(int(body[1])<<8|int(body[2]), MaxExtendedNe)
		return c, nil
	case len(body) > 3: // case 3 or 4 extended
		lc := int(body[1])<<8 | int(body[2])
		rest := body[3:]
		if lc > 0 && (len(rest) == lc || len(rest) == lc+2) {
			c.Data = append([]byte(nil), rest[:lc]...)
			if len(rest) == lc+2 {
				c.Ne = ne(int(rest[lc])<<8|int(rest[lc+1]), MaxExtendedNe)
			}
			return c, nil
		}
		return Command{}, fmt.Errorf("%w: extended Lc is %d, %d bytes follow", ErrCommandMalformed, lc, len(rest))
	}
	return Command{}, fmt.Errorf("%w: Lc of 00 with %d bytes", ErrCommandMalformed, len(body))
}

// Response is a response APDU: data and the status word.
type Response struct {
	Data []byte // 0..65536 bytes
	SW   SW
}

// ParseResponse splits what a card answered. It fails with ErrResponseShort
// or ErrResponseLong; the command has been sent by then and may have
// executed.
func ParseResponse(b []byte) (Response, error) {
	if len(b) < 2 {
		return Response{}, fmt.Errorf("%w: %d bytes", ErrResponseShort, len(b))
	}
	if len(b) > MaxExtendedNe+2 {
		return Response{}, ErrResponseLong
	}
	n := len(b) - 2
	return Response{Data: append([]byte(nil), b[:n]...), SW: SW(b[n])<<8 | SW(b[n+1])}, nil
}

// Bytes gives the response as the card sends it.
func (r Response) Bytes() []byte {
	return append(append(make([]byte, 0, len(r.Data)+2), r.Data...), byte(r.SW>>8), byte(r.SW))
}

// Transmitter exchanges one command APDU for one response APDU, bytes as
// they are. An error means that no complete response came back; whether the
// card may have acted is told by MayHaveExecuted.
type Transmitter interface {
	Transmit(ctx context.Context, command []byte) (response []byte, err error)
}

// MayHaveExecuted reports whether the card may have acted on the command
// whose transmission failed with err. An error says so itself by a method
// MayHaveExecuted() bool; one that says nothing counts as "may have", since
// that is the answer that cannot lose money. It is false for nil.
func MayHaveExecuted(err error) bool {
	if err == nil {
		return false
	}
	var e interface{ MayHaveExecuted() bool }
	if errors.As(err, &e) {
		return e.MayHaveExecuted()
	}
	for _, own := range []error{ErrCommandTooLong, ErrNeRange, ErrCommandMalformed, ErrExtendedT0} {
		if errors.Is(err, own) {
			return false
		}
	}
	return true
}

// Send builds c, transmits it and parses the response. A status word other
// than 9000 is not an error here: the caller decides which ones it accepts.
func Send(ctx context.Context, t Transmitter, c Command) (Response, error) {
	b, err := c.Bytes()
	if err != nil {
		return Response{}, err
	}
	r, err := t.Transmit(ctx, b)
	if err != nil {
		return Response{}, err
	}
	return ParseResponse(r)
}
