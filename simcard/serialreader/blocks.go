package serialreader

import "bytes"

// blocks is the card's side of T=1 (ISO/IEC 7816-3 clause 11), which shares
// nothing with the terminal's.
type blocks struct {
	crc      bool
	size     int  // what the terminal can take at once
	mine     byte // number of our next I-block
	yours    byte // number of the terminal's next one
	command  []byte
	answer   []byte // not sent yet
	sent     []byte // the last block, without check
	chaining bool   // the last one sent has M
}

func newBlocks(crc bool) *blocks { return &blocks{crc: crc, size: 32} }

func (b *blocks) check(raw []byte) []byte {
	if !b.crc {
		x := byte(0)
		for _, v := range raw {
			x ^= v
		}
		return []byte{x}
	}
	crc := uint16(0xFFFF)
	for _, v := range raw {
		for bit := range 8 {
			low := crc&1 != uint16(v>>bit&1)
			crc >>= 1
			if low {
				crc ^= 0x8408
			}
		}
	}
	return []byte{byte(crc >> 8), byte(crc)}
}

func (b *blocks) say(pcb byte, inf ...byte) []byte {
	b.sent = append([]byte{0, pcb, byte(len(inf))}, inf...)
	return b.again()
}

func (b *blocks) again() []byte { return append(bytes.Clone(b.sent), b.check(b.sent)...) }

// take answers one block. nil: the card is silent.
func (b *blocks) take(raw []byte, run func([]byte) []byte) []byte {
	n := len(raw) - len(b.check(nil))
	if n < 3 || !bytes.Equal(b.check(raw[:n]), raw[n:]) || int(raw[2]) != n-3 {
		return b.refuse()
	}
	pcb, inf := raw[1], raw[3:n]
	switch {
	case pcb&0x80 == 0: // I
		if pcb>>6&1 != b.yours {
			return b.refuse()
		}
		b.yours ^= 1
		b.command = append(b.command, inf...)
		if pcb&0x20 != 0 {
			return b.say(0x80 | b.yours<<4)
		}
		b.answer = run(b.command)
		b.command = nil
		if b.answer == nil {
			return nil
		}
		return b.piece()
	case pcb&0xC0 == 0x80: // R
		if b.sent != nil && b.chaining && pcb>>4&1 == b.mine {
			return b.piece()
		}
		if b.sent == nil {
			return b.refuse()
		}
		return b.again()
	case pcb == 0xC0: // S(RESYNCH)
		*b = *newBlocks(b.crc)
		return b.say(0xE0)
	case pcb == 0xC1 && len(inf) == 1: // S(IFS)
		b.size = int(inf[0])
		return b.say(0xE1, inf[0])
	}
	return b.refuse()
}

// refuse asks for the block that is due.
func (b *blocks) refuse() []byte {
	r := []byte{0, 0x81 | b.yours<<4, 0}
	return append(r, b.check(r)...)
}

func (b *blocks) piece() []byte {
	n := min(b.size, len(b.answer))
	pcb := b.mine << 6
	if b.chaining = n < len(b.answer); b.chaining {
		pcb |= 0x20
	}
	inf := b.answer[:n]
	b.answer = b.answer[n:]
	b.mine ^= 1
	return b.say(pcb, inf...)
}
