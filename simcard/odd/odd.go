// Package odd has the cards that a technician meets and nobody planned for: a
// plain ISO 7816 tree that no profile knows, one that refuses everything, one
// that agrees to everything, one that answers garbage. cardtool must read the
// first and survive the others; tests and training use them.
//
// It may import apdu and the standard library. Like simcard it must never be
// part of a real terminal.
package odd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/dianka/dianka/apdu"
)

var errOff = errors.New("odd: the chip has no power")

// file is a node of the tree.
type file struct {
	id       uint16
	name     []byte // of a directory
	kind     byte   // descriptor byte of ISO/IEC 7816-4 table 14: 38 DF, 01 transparent, 02 linear fixed, 06 cyclic
	data     []byte
	records  [][]byte // of a cyclic file the first is the newest
	secret   bool     // reading wants the PIN
	children []*file
	parent   *file
}

// Descriptor bytes, ISO/IEC 7816-4 table 14.
const (
	directory   = 0x38
	transparent = 0x01
	linear      = 0x02
	cyclic      = 0x06
)

// Tree is a card with an ISO/IEC 7816-4 file system: transparent, linear and
// cyclic files in nested directories, one of them behind a PIN. Its PIN has
// three tries; Tries tells how many are left, so that a test can hold that
// nobody spent one. Wrap it in simcard.T0 for a card that knows 61xx and 6Cxx
// only.
type Tree struct {
	mu    sync.Mutex
	on    bool
	root  *file
	dir   *file
	ef    *file
	tries int
}

// NewTree gives the card.
func NewTree() *Tree {
	long := make([]byte, 600) // more than one READ BINARY can fetch
	for i := range long {
		long[i] = byte(i)
	}
	root := &file{id: 0x3F00, kind: directory, children: []*file{
		{id: 0x2F00, kind: linear, records: [][]byte{
			{0x61, 0x0C, 0x4F, 0x05, 0xF0, 'T', 'R', 'E', 'E', 0x50, 0x03, 'O', 'n', 'e'},
		}},
		{id: 0x2F01, kind: transparent, data: long},
		{id: 0x5F00, kind: directory, name: []byte{0xF0, 'T', 'R', 'E', 'E'}, children: []*file{
			{id: 0x0001, kind: transparent, data: []byte("plain text")},
			{id: 0x0002, kind: linear, records: [][]byte{{1, 1}, {2, 2}, {3, 3}}},
			{id: 0x0003, kind: cyclic, records: [][]byte{{9, 0}, {8, 0}, {7, 0}, {6, 0}}},
			{id: 0x0004, kind: transparent, data: []byte("secret"), secret: true},
			{id: 0x5F10, kind: directory, children: []*file{
				{id: 0x0005, kind: transparent, data: []byte{0xDE, 0xE9}},
			}},
		}},
	}}
	var adopt func(*file)
	adopt = func(f *file) {
		for _, c := range f.children {
			c.parent = f
			adopt(c)
		}
	}
	adopt(root)
	return &Tree{root: root, tries: 3}
}

// Tries is how many tries the PIN has left.
func (t *Tree) Tries() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tries
}

// PowerOn implements virtual.Chip.
func (t *Tree) PowerOn() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.dir, t.ef = true, t.root, nil
	atr := []byte{0x3B, 0x85, 0x01, 'P', 'L', 'A', 'I', 'N', 0}
	for _, b := range atr[1:8] {
		atr[8] ^= b
	}
	return atr, nil
}

// PowerOff implements virtual.Chip.
func (t *Tree) PowerOff() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on = false
}

// Transmit implements virtual.Chip.
func (t *Tree) Transmit(command []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on {
		return nil, errOff
	}
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return apdu.Response{SW: apdu.SWWrongLength}.Bytes(), nil
	}
	data, sw := t.answer(c)
	return apdu.Response{Data: data, SW: sw}.Bytes(), nil
}

func (t *Tree) answer(c apdu.Command) ([]byte, apdu.SW) {
	if c.CLA != 0 {
		return nil, apdu.SWCLANotSupported
	}
	switch c.INS {
	case 0xA4:
		return t.choose(c)
	case 0xB0:
		return t.readBinary(c)
	case 0xB2:
		return t.readRecord(c)
	case 0x20:
		if t.tries == 0 {
			return nil, apdu.SWMethodBlocked
		}
		if t.tries--; t.tries == 0 {
			return nil, apdu.SWMethodBlocked
		}
		return nil, 0x63C0 | apdu.SW(t.tries)
	}
	return nil, apdu.SWINSNotSupported
}

func (t *Tree) choose(c apdu.Command) ([]byte, apdu.SW) {
	var found *file
	switch {
	case c.P1 == 0 && len(c.Data) == 0:
		found = t.root
	case c.P1 == 0 && len(c.Data) == 2:
		id := uint16(c.Data[0])<<8 | uint16(c.Data[1])
		switch {
		case id == 0x3F00:
			found = t.root
		case t.dir.parent != nil && t.dir.parent.id == id:
			found = t.dir.parent
		default:
			for _, f := range t.dir.children {
				if f.id == id {
					found = f
				}
			}
		}
	case c.P1 == 4:
		var look func(*file)
		look = func(f *file) {
			if len(f.name) > 0 && bytes.HasPrefix(f.name, c.Data) {
				found = f
			}
			for _, k := range f.children {
				look(k)
			}
		}
		look(t.root)
	default:
		return nil, apdu.SWWrongP1P2
	}
	if found == nil {
		return nil, apdu.SWFileNotFound
	}
	if found.kind == directory {
		t.dir, t.ef = found, nil
	} else {
		t.ef = found
	}
	inner := []byte{0x82, 1, found.kind, 0x83, 2, byte(found.id >> 8), byte(found.id)}
	if found.kind == transparent {
		inner = append(inner, 0x80, 2, byte(len(found.data)>>8), byte(len(found.data)))
	}
	if len(found.name) > 0 {
		inner = append(append(inner, 0x84, byte(len(found.name))), found.name...)
	}
	return append([]byte{0x6F, byte(len(inner))}, inner...), apdu.SWOK
}

// short finds a file by its short identifier, or gives the current one.
func (t *Tree) short(sfi byte) *file {
	if sfi == 0 {
		return t.ef
	}
	for _, f := range t.dir.children {
		if f.kind != directory && byte(f.id)&0x1F == sfi {
			return f
		}
	}
	return nil
}

func (t *Tree) readBinary(c apdu.Command) ([]byte, apdu.SW) {
	f, offset := t.ef, int(c.P1)<<8|int(c.P2)
	if c.P1&0x80 != 0 {
		if f = t.short(c.P1 & 0x1F); f == nil {
			return nil, apdu.SWFileNotFound
		}
		offset = int(c.P2)
		t.ef = f
	}
	switch {
	case f == nil:
		return nil, apdu.SWNoCurrentEF
	case f.kind != transparent:
		return nil, apdu.SWIncompatibleFile
	case f.secret:
		return nil, apdu.SWSecurityNotSatisfied
	case offset >= len(f.data):
		return nil, apdu.SWWrongOffset
	}
	b := f.data[offset:]
	if c.Ne > len(b) && c.Ne != apdu.MaxShortNe {
		return b, apdu.SWEndOfFile
	}
	return b[:min(c.Ne, len(b))], apdu.SWOK
}

func (t *Tree) readRecord(c apdu.Command) ([]byte, apdu.SW) {
	f := t.short(c.P2 >> 3)
	switch {
	case f == nil && c.P2>>3 != 0:
		return nil, apdu.SWFileNotFound
	case f == nil:
		return nil, apdu.SWNoCurrentEF
	case f.kind != linear && f.kind != cyclic:
		return nil, apdu.SWIncompatibleFile
	case c.P1 == 0 || int(c.P1) > len(f.records):
		return nil, apdu.SWRecordNotFound
	}
	return f.records[c.P1-1], apdu.SWOK
}

// Refuser is a card that refuses every command with one status word.
type Refuser struct{ SW apdu.SW }

// PowerOn implements virtual.Chip.
func (*Refuser) PowerOn() ([]byte, error) { return []byte{0x3B, 0x00}, nil }

// PowerOff implements virtual.Chip.
func (*Refuser) PowerOff() {}

// Transmit implements virtual.Chip.
func (r *Refuser) Transmit([]byte) ([]byte, error) { return apdu.Response{SW: r.SW}.Bytes(), nil }

// Garbage is a card whose answers are noise: of any length, with any status
// word, some without one. The noise is the same for the same seed.
type Garbage struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

// NewGarbage gives the card.
func NewGarbage(seed uint64) *Garbage { return &Garbage{rnd: rand.New(rand.NewPCG(seed, 1))} }

// PowerOn implements virtual.Chip.
func (*Garbage) PowerOn() ([]byte, error) { return []byte{0x3F, 0xFF, 0x55, 0xAA}, nil }

// PowerOff implements virtual.Chip.
func (*Garbage) PowerOff() {}

// Transmit implements virtual.Chip.
func (g *Garbage) Transmit([]byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := make([]byte, g.rnd.IntN(80))
	for i := range b {
		b[i] = byte(g.rnd.Uint32())
	}
	tails := []apdu.SW{0x9000, 0x6100, 0x61FF, 0x6C00, 0x6C10, 0x9000, 0x6282}
	if n := g.rnd.IntN(2 * len(tails)); n < len(tails) {
		b = append(b, byte(tails[n]>>8), byte(tails[n]))
	}
	return b, nil
}
