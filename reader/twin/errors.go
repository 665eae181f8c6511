package twin

import (
	"errors"
	"fmt"
)

// Errors of the line to a reader.
var (
	ErrNAK      = errors.New("the reader got the command damaged")
	ErrDamaged  = errors.New("the reader's answer came damaged")
	ErrSilent   = errors.New("the reader does not answer")
	ErrNoReader = errors.New("no reader of this kind answers on the line")
)

// Code is the error byte of an answer that says "failed" (readers.md section
// 5.3; CCID 1.1 table 6.2-2).
type Code byte

var codes = map[Code]string{
	0x00: "the reader does not know the command", 0x05: "there is no such slot", 0xA2: "the card is short-circuited",
	0xA3: "the answer to reset is too long", 0xAB: "no data", 0xBB: "protocol error in EMV mode", 0xBD: "error of the protocol T=1",
	0xBE: "wrong length of the command", 0xE0: "the slot is busy", 0xEF: "the entry of the PIN was cancelled",
	0xF0: "nobody entered a PIN in time", 0xF2: "the reader is busy with a sequence of its own", 0xF3: "the protocol was switched off",
	0xF4: "the card sent a procedure byte that does not fit", 0xF5: "the card refuses the class", 0xF6: "the reader does not know the protocol",
	0xF7: "the check byte of the answer to reset is wrong", 0xF8: "the first byte of the answer to reset is wrong", 0xFB: "the reader is broken",
	0xFC: "the reader could not follow", 0xFD: "parity error between card and reader", 0xFE: "the card is silent", 0xFF: "the reader broke the command off",
}

const (
	codeParity Code = 0xFD
	codeMute   Code = 0xFE
)

// Error says in words what the reader said.
func (c Code) Error() string {
	if s, ok := codes[c]; ok {
		return s
	}
	if c >= 0x01 && c <= 0x7F {
		return fmt.Sprintf("the reader refuses byte %d of the command", byte(c))
	}
	return fmt.Sprintf("the reader failed with error %02X", byte(c))
}

// before reports whether the reader refused the command before the card saw
// anything of it.
func (c Code) before() bool { return c <= 0x7F || c == 0xBE || c == 0xE0 || c == 0xF2 }
