package twin

import "encoding/binary"

// Bytes that begin and end what travels (readers.md section 5.2).
const (
	syn    = 0x03
	ack    = 0x06
	nak    = 0x15
	nakLRC = syn ^ nak
	moved  = 0x50 // the card moved, with gone or come behind it
	gone   = 0x02
	come   = 0x03
	more   = 0x80 // this or above, alone: time is asked for

	header   = 12  // syn, ack and the 10 bytes of CCID
	maxData  = 261 // bytes in a message
	maxFrame = header + maxData + 1
)

// Message types of CCID.
const (
	setParameters byte = 0x61
	iccPowerOn    byte = 0x62
	iccPowerOff   byte = 0x63
	getSlotStatus byte = 0x65
	xfrBlock      byte = 0x6F
	escape        byte = 0x6B

	dataBlock  byte = 0x80
	slotStatus byte = 0x81
	parameters byte = 0x82
	escaped    byte = 0x83
)

// message is one message of CCID.
type message struct {
	kind, slot, seq byte
	p               [3]byte // of an answer: status, error, and one of the kind's own
	data            []byte  // at most maxData
}

// appendFrame appends a message in its frame.
func appendFrame(dst []byte, m message) []byte {
	from := len(dst)
	dst = append(dst, syn, ack, m.kind)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.data)))
	dst = append(dst, m.slot, m.seq, m.p[0], m.p[1], m.p[2])
	dst = append(dst, m.data...)
	return append(dst, lrc(dst[from:]))
}

func lrc(b []byte) byte {
	var x byte
	for _, c := range b {
		x ^= c
	}
	return x
}

// token is what stands at the beginning of what came in.
type token int

const (
	incomplete token = iota // wait for more
	frame                   // a message
	damaged                 // a frame with a wrong LRC, or no frame after a sync
	refused                 // the reader got our frame damaged
	movedOut                // the card left
	movedIn                 // a card came
	patience                // more time is asked for
	noise                   // a byte that is nothing
)

// scan reads one token and gives its length. The message's data are a part of
// b.
func scan(b []byte) (t token, n int, m message) {
	if len(b) == 0 {
		return incomplete, 0, m
	}
	switch c := b[0]; {
	case c >= more:
		return patience, 1, m
	case c == moved:
		switch {
		case len(b) < 2:
			return incomplete, 0, m
		case b[1] == gone:
			return movedOut, 2, m
		case b[1] == come:
			return movedIn, 2, m
		}
		return noise, 1, m
	case c != syn:
		return noise, 1, m
	case len(b) < 2:
		return incomplete, 0, m
	case b[1] == nak:
		if len(b) < 3 {
			return incomplete, 0, m
		}
		if b[2] != nakLRC {
			return damaged, 3, m
		}
		return refused, 3, m
	case b[1] != ack:
		return damaged, 1, m // what follows may be the beginning of another
	case len(b) < header:
		return incomplete, 0, m
	}
	size := binary.LittleEndian.Uint32(b[3:])
	if size > maxData {
		return damaged, 1, m
	}
	n = header + int(size) + 1
	if len(b) < n {
		return incomplete, 0, m
	}
	if lrc(b[:n]) != 0 {
		return damaged, n, m
	}
	return frame, n, message{kind: b[2], slot: b[7], seq: b[8], p: [3]byte{b[9], b[10], b[11]}, data: b[header : n-1]}
}
