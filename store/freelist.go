package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// checkFreelist refuses a file whose list of free pages says that it is
// longer than the pages it lies in: bbolt takes memory on the word of that
// length, which no checksum covers, before anything can be asked of the file.
// Whatever else is wrong is bbolt's to find.
func checkFreelist(f io.ReaderAt, size int64) error {
	const header, body = 16, 56 // of a page; of a meta page before its checksum
	e := binary.NativeEndian    // bbolt writes as the machine has it
	var live [body + 8]byte
	txid, pageSize := uint64(0), int64(0)
	for _, at := range []int64{0, 4096, 8192, 16384, 32768, 65536} { // the second lies at the page size
		var m [header + body + 8]byte
		if n, _ := f.ReadAt(m[:], at); n < len(m) {
			continue
		}
		b := m[header:]
		h := fnv.New64a()
		h.Write(b[:body])
		if e.Uint32(b) != 0xED0CDAED || h.Sum64() != e.Uint64(b[body:]) {
			continue
		}
		if id := e.Uint64(b[48:]); id >= txid {
			txid, pageSize, live = id, int64(e.Uint32(b[8:])), [body + 8]byte(b)
		}
	}
	list := e.Uint64(live[32:])
	if pageSize == 0 || list == 1<<64-1 || list > uint64(size/pageSize) {
		return nil
	}
	var p [header + 8]byte
	if _, err := f.ReadAt(p[:], int64(list)*pageSize); err != nil {
		return nil
	}
	count, used := uint64(e.Uint16(p[10:])), uint64(header)
	if count == 0xFFFF {
		count, used = e.Uint64(p[header:]), header+8
	}
	room := (uint64(e.Uint32(p[12:])) + 1) * uint64(pageSize)
	if room > uint64(size) || count > (room-used)/8 {
		return fmt.Errorf("%w: a list of %d free pages", ErrCorrupt, count)
	}
	return nil
}
