package serialreader_test

import (
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/virtual"
)

// answering is a chip with an answer to reset of its own.
type answering struct {
	*readertest.Chip
	atr []byte
}

func (a *answering) PowerOn() ([]byte, error) {
	if _, err := a.Chip.PowerOn(); err != nil {
		return nil, err
	}
	return a.atr, nil
}

// checked adds TCK.
func checked(atr ...byte) []byte {
	x := byte(0)
	for _, v := range atr[1:] {
		x ^= v
	}
	return append(atr, x)
}

// cards are what is put into a reader, one after the other.
var cards = []struct {
	name string
	chip func(serial byte) virtual.Chip
}{
	{"T=0", func(n byte) virtual.Chip { return readertest.NewChip(n, true) }},
	{"T=1", func(n byte) virtual.Chip { return readertest.NewChip(n, false) }},
	{"T=0, fast", func(n byte) virtual.Chip {
		return &answering{readertest.NewChip(n, true), []byte{0x3B, 0x11, 0x18, n}}
	}},
	{"T=1, fast, long blocks", func(n byte) virtual.Chip {
		return &answering{readertest.NewChip(n, false), checked(0x3B, 0x91, 0x18, 0x81, 0x31, 0xFE, 0x45, n)}
	}},
	{"T=1 with CRC", func(n byte) virtual.Chip {
		return &answering{readertest.NewChip(n, false), checked(0x3B, 0x81, 0x81, 0x41, 0x01, n)}
	}},
	{"inverse convention", func(n byte) virtual.Chip {
		return &answering{readertest.NewChip(n, true), []byte{0x3F, 0x01, n}}
	}},
}
