package t1

import "errors"

// Sizes in bytes (ISO/IEC 7816-3 clause 11.3).
const (
	MaxINF   = 254            // information field; 255 is reserved
	MaxBlock = 3 + MaxINF + 2 // prologue, information field, CRC
	prologue = 3              // NAD, PCB, LEN

	defaultIFS = 32 // information field size of either side before it is negotiated
)

// Kind of a block, by bits 8 and 7 of its PCB.
type Kind byte

// Kinds of blocks (clause 11.3.2).
const (
	I Kind = iota // information
	R             // receive ready: an acknowledgement, or the wish for a repetition
	S             // supervisory
)

// Supervisory functions, bits 5 to 1 of an S-block's PCB.
const (
	Resynch byte = 0
	IFS     byte = 1
	Abort   byte = 2
	WTX     byte = 3
)

// Causes in an R-block.
const (
	NoError    byte = 0
	CheckError byte = 1 // parity or redundancy
	OtherError byte = 2
)

// Errors of Parse. Each means that the other side is asked to repeat.
var (
	ErrCheck = errors.New("t1: the block's check is wrong")
	ErrShape = errors.New("t1: not a block")
)

// Block is one block without its check. INF is a part of the bytes that it
// was parsed from.
type Block struct {
	Kind     Kind
	Seq      byte // N(S) of I, N(R) of R: 0 or 1
	More     bool // of I: the message goes on in the next one
	Cause    byte // of R
	Function byte // of S
	Response bool // of S
	INF      []byte
}

// Append appends the bytes of b, which has at most MaxINF bytes of INF, with
// node address 00 and its check, a CRC or an LRC.
func Append(dst []byte, b Block, crc bool) []byte {
	from := len(dst)
	dst = append(dst, 0, b.pcb(), byte(len(b.INF)))
	dst = append(dst, b.INF...)
	if crc {
		c := checkCRC(dst[from:])
		return append(dst, byte(c>>8), byte(c))
	}
	return append(dst, checkLRC(dst[from:]))
}

func (b Block) pcb() byte {
	switch b.Kind {
	case I:
		p := b.Seq << 6
		if b.More {
			p |= 0x20
		}
		return p
	case R:
		return 0x80 | b.Seq<<4 | b.Cause
	}
	p := 0xC0 | b.Function
	if b.Response {
		p |= 0x20
	}
	return p
}

// Parse reads one block. It fails with ErrCheck or, when the bytes are no
// block that a card may send to node 00, with ErrShape.
func Parse(raw []byte, crc bool) (Block, error) {
	check := 1
	if crc {
		check = 2
	}
	if len(raw) < prologue+check {
		return Block{}, ErrShape
	}
	body := raw[:len(raw)-check]
	if crc && checkCRC(body) != uint16(raw[len(body)])<<8|uint16(raw[len(body)+1]) || !crc && checkLRC(body) != raw[len(body)] {
		return Block{}, ErrCheck
	}
	b := Block{INF: body[prologue:]}
	if raw[0] != 0 || int(raw[2]) != len(b.INF) || len(b.INF) > MaxINF {
		return Block{}, ErrShape
	}
	p := raw[1]
	switch {
	case p&0x80 == 0:
		b.Kind, b.Seq, b.More = I, p>>6&1, p&0x20 != 0
		if p&0x1F != 0 {
			return Block{}, ErrShape
		}
	case p&0x40 == 0:
		b.Kind, b.Seq, b.Cause = R, p>>4&1, p&0x0F
		if p&0x20 != 0 || b.Cause > OtherError || len(b.INF) != 0 {
			return Block{}, ErrShape
		}
	default:
		b.Kind, b.Function, b.Response = S, p&0x1F, p&0x20 != 0
		if !b.supervises() {
			return Block{}, ErrShape
		}
	}
	return b, nil
}

// supervises reports whether an S-block is one of the standard's: its
// function, and one byte of INF exactly where it has a value (clause 11.4).
func (b Block) supervises() bool {
	switch b.Function {
	case Resynch, Abort:
		return len(b.INF) == 0
	case IFS:
		return len(b.INF) == 1 && b.INF[0] >= 1 && b.INF[0] <= MaxINF
	case WTX:
		return len(b.INF) == 1 && b.INF[0] != 0
	}
	return false
}

func checkLRC(b []byte) byte {
	var x byte
	for _, c := range b {
		x ^= c
	}
	return x
}

// checkCRC is the CRC of ISO/IEC 13239, polynomial x^16+x^12+x^5+1, preset to
// ones, low bit first. Whether its complement is sent, and which byte first,
// the standard leaves to that reference, and cards with CRC are so rare that
// none could be asked: this is what the common driver of PC/SC does (no
// complement, high byte first). Unconfirmed.
func checkCRC(b []byte) uint16 {
	v := uint16(0xFFFF)
	for _, c := range b {
		v = v>>8 ^ crcTable[byte(v)^c]
	}
	return v
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		v := uint16(i)
		for range 8 {
			if v&1 != 0 {
				v = v>>1 ^ 0x8408
			} else {
				v >>= 1
			}
		}
		t[i] = v
	}
	return t
}()
