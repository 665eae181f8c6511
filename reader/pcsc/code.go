package pcsc

import (
	"fmt"

	"github.com/dianka/dianka/reader"
)

// Code is a PC/SC return code (PC/SC part 5; the values are those of
// winscard.h and of pcsclite.h).
type Code uint32

// The codes that mean something to us.
const (
	codeInternal         Code = 0x80100001
	codeCancelled        Code = 0x80100002
	codeInvalidHandle    Code = 0x80100003
	codeUnknownReader    Code = 0x80100009
	codeTimeout          Code = 0x8010000A
	codeSharingViolation Code = 0x8010000B
	codeNoSmartcard      Code = 0x8010000C
	codeProtoMismatch    Code = 0x8010000F
	codeCommError        Code = 0x80100013
	codeNotTransacted    Code = 0x80100016
	codeUnavailable      Code = 0x80100017
	codeNoService        Code = 0x8010001D
	codeServiceStopped   Code = 0x8010001E
	codeNoReaders        Code = 0x8010002E
	codeCommDataLost     Code = 0x8010002F
	codeUnsupportedCard  Code = 0x80100065
	codeUnresponsive     Code = 0x80100066
	codeUnpowered        Code = 0x80100067
	codeReset            Code = 0x80100068
	codeRemoved          Code = 0x80100069
	codeSecurity         Code = 0x8010006A
)

// meaning is what a code says of the slot and to a person. The measured
// table is readers.md section 2.2.
type meaning struct {
	text string
	kind error
	hint string
}

var meanings = map[Code]meaning{
	codeInternal:         {"internal error", reader.ErrLost, "restart the PC/SC service (systemctl restart pcscd)"},
	codeCancelled:        {"cancelled", reader.ErrLost, ""},
	codeInvalidHandle:    {"invalid handle", reader.ErrLost, "the PC/SC service was restarted; open the card again"},
	codeUnknownReader:    {"unknown reader", reader.ErrLost, "check the cable of the reader"},
	codeTimeout:          {"timeout", reader.ErrDeadline, "take the card out and put it in again"},
	codeSharingViolation: {"sharing violation", reader.ErrBusy, "another program holds the card; find it with: lsof /run/pcscd/pcscd.comm"},
	codeNoSmartcard:      {"no smart card", reader.ErrNoCard, "put the card in, chip first"},
	codeProtoMismatch:    {"protocol mismatch", reader.ErrMute, "another program uses the card with another protocol, or the card offers none that we speak"},
	codeCommError:        {"communication error", reader.ErrGarbled, "clean the contacts; take the card out and put it in again"},
	codeNotTransacted:    {"not transacted", reader.ErrGarbled, "clean the contacts; take the card out and put it in again"},
	codeUnavailable:      {"reader unavailable", reader.ErrLost, "check the cable of the reader"},
	codeNoService:        {"PC/SC service not running", reader.ErrLost, "start the PC/SC service (systemctl start pcscd.socket)"},
	codeServiceStopped:   {"PC/SC service stopped", reader.ErrLost, "start the PC/SC service; if it runs, its version and that of libpcsclite differ"},
	codeNoReaders:        {"no readers", reader.ErrLost, "plug the reader in; lsusb shows whether the computer sees it"},
	codeCommDataLost:     {"communication data lost", reader.ErrGarbled, "clean the contacts; take the card out and put it in again"},
	codeUnsupportedCard:  {"unsupported card", reader.ErrMute, "this is not a card that the reader can talk to"},
	codeUnresponsive:     {"unresponsive card", reader.ErrMute, "check that the chip faces the reader's contacts; clean them"},
	codeUnpowered:        {"unpowered card", reader.ErrMute, "take the card out and put it in again"},
	codeReset:            {"card was reset", reader.ErrReset, "another program uses this reader; open the card again"},
	codeRemoved:          {"card was removed", reader.ErrRemoved, "put the card in again"},
	codeSecurity:         {"access denied", reader.ErrLost, "the PC/SC service refuses this user; install the polkit rule that allows org.debian.pcsc-lite.access_pcsc and access_card"},
}

// Error gives the meaning and the number, which is what people search for.
func (c Code) Error() string {
	if m, ok := meanings[c]; ok {
		return fmt.Sprintf("%s, PC/SC %08X", m.text, uint32(c))
	}
	return fmt.Sprintf("PC/SC %08X", uint32(c))
}

// explain gives kind and hint of what a driver said. What is not in the table
// counts as other.
func explain(err error, other error) (kind error, hint string) {
	if err == errStalled {
		return reader.ErrLost, meanings[codeInternal].hint
	}
	c, ok := err.(Code)
	m, known := meanings[c]
	if !ok || !known {
		return other, ""
	}
	return m.kind, m.hint
}
