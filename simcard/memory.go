package simcard

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// A chip's memory is written in pages, and only a page at a time; when the
// power fails, the page in hand is left as it was, half written or erased.
// A change of several pages is made whole by a journal: first the new pages
// go to the journal, then one write of the journal's head makes them count,
// then they are copied to their places, then the head is cleared. At reset a
// head that counts is worked off again (purse.md section 8.3).

const (
	pageSize = 32  // bytes
	pages    = 512 // 16 KiB
	headSize = 10  // mark 4, count 2, CRC-32 4
)

var (
	errPower = errors.New("simcard: power failed at a page write")
	errFull  = errors.New("simcard: memory is full")
	headMark = [4]byte{'J', 'R', 'N', 'L'}
)

// tearKind is what a failing page write leaves.
type tearKind uint8

const (
	tornHalf   tearKind = iota // half new, half erased
	tornBefore                 // untouched
	tornErased                 // erased, all FF
	tornAfter                  // complete, but nobody was told
	tornKinds
)

type memory struct {
	data    [pages][pageSize]byte
	head    [headSize]byte
	journal [][2 + pageSize]byte // page number, page
	writes  int
	tearIn  int // page writes until the power fails, 0 = never
	tearHow tearKind
}

func newMemory() *memory { return &memory{} }

func (m *memory) clone() *memory {
	n := *m
	n.journal = slices.Clone(m.journal)
	n.tearIn = 0
	return &n
}

// write is the one place where memory changes.
func (m *memory) write(page, with []byte) error {
	m.writes++
	if m.tearIn > 0 {
		m.tearIn--
		if m.tearIn == 0 {
			m.tornWrite(page, with)
			return errPower
		}
	}
	copy(page, with)
	return nil
}

func (m *memory) tornWrite(page, with []byte) {
	switch m.tearHow {
	case tornHalf:
		n := copy(page, with[:len(with)/2])
		for i := n; i < len(page); i++ {
			page[i] = 0xFF
		}
	case tornErased:
		for i := range page {
			page[i] = 0xFF
		}
	case tornAfter:
		copy(page, with)
	}
}

func (m *memory) read() []byte {
	b := make([]byte, 0, pages*pageSize)
	for i := range m.data {
		b = append(b, m.data[i][:]...)
	}
	return b
}

// commit makes b the content from address 0, whole or not at all. It fails
// with errFull before anything was written, and with errPower.
func (m *memory) commit(b []byte) error {
	if len(b) > pages*pageSize {
		return errFull
	}
	var changed [][2 + pageSize]byte
	for i := 0; i*pageSize < len(b); i++ {
		page := m.data[i]
		copy(page[:], b[i*pageSize:])
		if page != m.data[i] {
			var e [2 + pageSize]byte
			binary.BigEndian.PutUint16(e[:], uint16(i))
			copy(e[2:], page[:])
			changed = append(changed, e)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if n := len(changed) - len(m.journal); n > 0 {
		m.journal = append(m.journal, make([][2 + pageSize]byte, n)...)
	}
	for i := range changed {
		if err := m.write(m.journal[i][:], changed[i][:]); err != nil {
			return err
		}
	}
	head := m.headFor(len(changed))
	if err := m.write(m.head[:], head[:]); err != nil {
		return err
	}
	return m.apply(len(changed))
}

// recover works off a journal that counts. It answers false when the power
// failed again.
func (m *memory) recover() bool {
	n := int(binary.BigEndian.Uint16(m.head[4:]))
	if n == 0 || n > len(m.journal) || m.head != m.headFor(n) {
		return true
	}
	return m.apply(n) == nil
}

func (m *memory) apply(n int) error {
	for _, e := range m.journal[:n] {
		if err := m.write(m.data[binary.BigEndian.Uint16(e[:])%pages][:], e[2:]); err != nil {
			return err
		}
	}
	var cleared [headSize]byte
	return m.write(m.head[:], cleared[:])
}

func (m *memory) headFor(n int) (h [headSize]byte) {
	copy(h[:], headMark[:])
	binary.BigEndian.PutUint16(h[4:], uint16(n))
	crc := crc32.ChecksumIEEE(h[:6])
	for _, e := range m.journal[:n] {
		crc = crc32.Update(crc, crc32.IEEETable, e[:])
	}
	binary.BigEndian.PutUint32(h[6:], crc)
	return h
}

// The image: mark 4 "DKSC", version 1, pages in use 2, journal entries 2,
// head 10, pages, journal entries, CRC-32 4. Numbers are big-endian.
const (
	imageMark    = "DKSC"
	imageVersion = 1
	imageFixed   = 4 + 1 + 2 + 2 + headSize
)

func (m *memory) image() []byte {
	used := pages
	for used > 0 && m.data[used-1] == ([pageSize]byte{}) {
		used--
	}
	journal := m.journal
	if m.head == ([headSize]byte{}) {
		journal = nil
	}
	b := append(make([]byte, 0, imageFixed+used*pageSize+len(journal)*(2+pageSize)+4), imageMark...)
	b = append(b, imageVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(used))
	b = binary.BigEndian.AppendUint16(b, uint16(len(journal)))
	b = append(b, m.head[:]...)
	for i := range used {
		b = append(b, m.data[i][:]...)
	}
	for i := range journal {
		b = append(b, journal[i][:]...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func decodeImage(b []byte) (*memory, error) {
	if len(b) < imageFixed+4 || string(b[:4]) != imageMark || b[4] != imageVersion {
		return nil, ErrImage
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	used, entries := int(binary.BigEndian.Uint16(b[5:])), int(binary.BigEndian.Uint16(b[7:]))
	if crc32.ChecksumIEEE(body) != sum || used > pages || entries > pages ||
		len(body) != imageFixed+used*pageSize+entries*(2+pageSize) {
		return nil, ErrImage
	}
	m := newMemory()
	copy(m.head[:], b[9:])
	rest := body[imageFixed:]
	for i := range used {
		rest = rest[copy(m.data[i][:], rest):]
	}
	m.journal = make([][2 + pageSize]byte, entries)
	for i := range entries {
		rest = rest[copy(m.journal[i][:], rest):]
	}
	return m, nil
}
