package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
)

// The second copy is an append-only file of its own, so that a bbolt file that
// cannot be read is not the loss of what the utility does not hold yet
// (storage-sync.md section 1.6). All integers are big-endian.
//
//	header: magic and version (8), identity (copyIDLen), CRC-32C of both (4)
//	frame:  length of the entry (4), CRC-32C of the length and what follows the sum (4),
//	        epoch (4), sequence (8), hash of the chain after (32), entry
//
// A frame without an entry is a base: the chain of that epoch stands there,
// and what is before is not in this file since the utility holds it. The
// chains of all epochs follow one another, the present one last.
const (
	copyIDLen     = 6 + 4 + 4 + 4 + 8 + 32
	copyHeaderLen = 8 + copyIDLen + 4
	frameHeadLen  = 4 + 4 + 4 + 8 + 32
	trimAbove     = 4 << 20 // bytes from which acknowledged entries are worth removing
	tailSearched  = 64 << 20
)

var (
	copyMagic  = [8]byte{'D', 'K', 'C', 'O', 'P', 'Y', 0, 1}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// ErrCopy says what is wrong with the second copy. It never says anything
// about the file itself, which holds all that the copy holds, or more.
var ErrCopy = errors.New("store: the second copy of unsent entries is not whole")

// CopyStatus tells how the second copy stands.
type CopyStatus struct {
	Path    string
	Problem error  // an ErrCopy; nil: all that is unsent is in it
	Aside   string // where a copy was put at Open that is not of this journal or is damaged; empty: none was
	Taken   uint64 // entries that the file lacked and Open took out of the copy
}

// frame is an entry in the second copy, or a base when entry is empty.
type frame struct {
	ref   journal.Ref
	hash  journal.Hash // of the chain after the entry
	entry []byte
}

func appendFrame(b []byte, f frame) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.entry)))
	b = append(b, 0, 0, 0, 0)
	b = append(putRef(b, f.ref), f.hash[:]...)
	b = append(b, f.entry...)
	binary.BigEndian.PutUint32(b[at+4:], frameSum(b[at:at+4], b[at+8:]))
	return b
}

func frameSum(length, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, rest)
}

func copyHeader(id Identity) []byte {
	b := append(copyMagic[:], canon.Marshal(&id)...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// part is the chain of one epoch in the second copy.
type part struct {
	base chain // where it begins; seq 0: at the beginning of the epoch
	last chain // its end
}

// copied is what a second copy holds.
type copied struct {
	id    Identity
	parts []part // by epoch
	held  uint64 // entries
	good  int64  // bytes up to the end of the last whole frame
	torn  bool   // something follows that is no frame
}

// scanCopy reads a second copy up to its end or to what is no frame of it, and
// hands over each entry, whose bytes are valid during the call. It fails with
// ErrCopy when the header is damaged. It checks that sequences are contiguous
// and leaves the hashes to fn, since a long copy is read at every start.
func scanCopy(r io.Reader, fn func(f frame, prev journal.Hash) error) (c copied, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	head := make([]byte, copyHeaderLen)
	if _, err := io.ReadFull(in, head); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return c, err
		}
		return c, fmt.Errorf("%w: it has no header", ErrCopy)
	}
	body, sum := head[:copyHeaderLen-4], binary.BigEndian.Uint32(head[copyHeaderLen-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return c, fmt.Errorf("%w: its header is damaged", ErrCopy)
	}
	if [8]byte(body) != copyMagic {
		return c, fmt.Errorf("%w: it is of another version", ErrCopy)
	}
	if err := canon.Unmarshal(body[8:], &c.id); err != nil {
		return c, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	c.good = copyHeaderLen
	buf := make([]byte, frameHeadLen+journal.MaxEntry)
	for {
		n, err := io.ReadFull(in, buf[:frameHeadLen])
		switch {
		case errors.Is(err, io.EOF):
			return c, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			c.torn = n > 0
			return c, nil
		case err != nil:
			return c, err
		}
		length := binary.BigEndian.Uint32(buf)
		if length > journal.MaxEntry {
			c.torn = true
			return c, nil
		}
		if _, err := io.ReadFull(in, buf[frameHeadLen:frameHeadLen+length]); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return c, err
			}
			c.torn = true
			return c, nil
		}
		f, ok := parseFrame(buf[:frameHeadLen+length])
		if !ok || !c.follows(f) {
			c.torn = true
			return c, nil
		}
		if len(f.entry) == 0 {
			at := chain{epoch: f.ref.Epoch, seq: f.ref.Seq, hash: f.hash}
			c.parts = append(c.parts, part{at, at})
		} else {
			p := &c.parts[len(c.parts)-1]
			if err := fn(f, p.last.hash); err != nil {
				return c, err
			}
			p.last.seq, p.last.hash = f.ref.Seq, f.hash
			c.held++
		}
		c.good += frameHeadLen + int64(length)
	}
}

// parseFrame reads the frame that b is, whole.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < frameHeadLen || uint64(binary.BigEndian.Uint32(b)) != uint64(len(b)-frameHeadLen) ||
		frameSum(b[:4], b[8:]) != binary.BigEndian.Uint32(b[4:]) {
		return f, false
	}
	f.ref = journal.Ref{Epoch: binary.BigEndian.Uint32(b[8:]), Seq: binary.BigEndian.Uint64(b[12:])}
	f.hash, f.entry = journal.Hash(b[20:]), b[frameHeadLen:]
	return f, true
}

// follows reports whether f may stand after what was read.
func (c *copied) follows(f frame) bool {
	if len(f.entry) == 0 {
		return f.ref.Epoch <= c.id.Epoch && f.ref.Seq < math.MaxUint64 &&
			(len(c.parts) == 0 && f.ref.Epoch > 0 || len(c.parts) > 0 && f.ref.Epoch > c.parts[len(c.parts)-1].base.epoch)
	}
	if len(c.parts) == 0 {
		return false
	}
	last := c.parts[len(c.parts)-1].last
	return f.ref.Epoch == last.epoch && f.ref.Seq == last.seq+1
}

func (c *copied) part(epoch uint32) *part {
	for i := range c.parts {
		if c.parts[i].base.epoch == epoch {
			return &c.parts[i]
		}
	}
	return nil
}

// copyFile is the second copy, open. It belongs to whoever opens the store, then
// to the writer.
type copyFile struct {
	disk Disk
	path string
	file File   // nil: broken
	size int64  // bytes of whole frames
	held uint64 // entries
}

// copyPath is where the second copy lies.
func (o Options) copyPath(path string) string {
	if o.Copy != "" {
		return o.Copy
	}
	return beside(path, ".copy")
}

// beside is the name of a file that belongs to path.
func beside(path, ext string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ext }

func openCopy(d Disk, path string, flag int) (File, error) {
	return d.OpenFile(path, flag, 0o600)
}

func reader(f File) io.Reader { return io.NewSectionReader(f, 0, math.MaxInt64) }

// aside gives the copy another name, so that it is neither used nor lost.
func (c *copyFile) aside() (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.aside-%d", c.path, n)
		f, err := openCopy(c.disk, name, os.O_RDONLY)
		if err == nil {
			f.Close()
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := c.disk.Rename(c.path, name); err != nil {
			return "", err
		}
		return name, c.disk.SyncDir(filepath.Dir(c.path))
	}
}

// rewrite makes the copy anew out of the file: what is unsent of every epoch,
// and where the present one stands. The one that is there stays whole until
// the new one is on disk.
func (c *copyFile) rewrite(tx *bbolt.Tx, m *memory) (err error) {
	tmp := c.path + ".new"
	f, err := openCopy(c.disk, tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.disk.Remove(tmp)
		}
	}()
	buf, size, held := copyHeader(m.id), int64(0), uint64(0)
	flush := func(least int) error {
		if len(buf) < least {
			return nil
		}
		_, err := f.WriteAt(buf, size)
		size, buf = size+int64(len(buf)), buf[:0]
		return err
	}
	err = func() error {
		for i, ch := range m.chains {
			if ch.acked == ch.seq && i < len(m.chains)-1 {
				continue
			}
			from := journal.Ref{Epoch: ch.epoch, Seq: ch.acked}
			hash, err := hashBefore(tx, m.id.Terminal, journal.Ref{Epoch: ch.epoch, Seq: ch.acked + 1})
			if err != nil {
				return err
			}
			buf = appendFrame(buf, frame{ref: from, hash: hash})
			if err := frames(tx, ch, ch.acked+1, hash, func(fr frame) error {
				buf, held = appendFrame(buf, fr), held+1
				return flush(1 << 20)
			}); err != nil {
				return err
			}
		}
		return errors.Join(flush(0), f.Sync())
	}()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	c.close()
	if err := c.disk.Rename(tmp, c.path); err != nil {
		return err
	}
	if err := c.disk.SyncDir(filepath.Dir(c.path)); err != nil {
		return err
	}
	c.file, err = openCopy(c.disk, c.path, os.O_RDWR)
	c.size, c.held = size, held
	return err
}

// frames gives the entries of a chain from seq on, verified.
func frames(tx *bbolt.Tx, ch chain, seq uint64, hash journal.Hash, fn func(frame) error) error {
	cur := tx.Bucket(bucketJournal).Cursor()
	k, v := cur.Seek(refKey(journal.Ref{Epoch: ch.epoch, Seq: seq}))
	for ; seq <= ch.seq; seq++ {
		ref := journal.Ref{Epoch: ch.epoch, Seq: seq}
		if string(k) != string(refKey(ref)) {
			return fmt.Errorf("%w: entry %d-%d is missing", ErrCorrupt, ref.Epoch, ref.Seq)
		}
		h, b, err := stored(v, ref)
		if err != nil {
			return err
		}
		if hash = journal.Link(hash, b); hash != h {
			return fmt.Errorf("%w: entry %d-%d is not what was written", ErrCorrupt, ref.Epoch, ref.Seq)
		}
		if err := fn(frame{ref, h, b}); err != nil {
			return err
		}
		k, v = cur.Next()
	}
	return nil
}

// append writes frames behind the last whole one and syncs them. They count
// only after advance.
func (c *copyFile) append(frames []byte) error {
	if _, err := c.file.WriteAt(frames, c.size); err != nil {
		return err
	}
	return c.file.Sync()
}

func (c *copyFile) advance(frames []byte, n uint64) {
	c.size += int64(len(frames))
	c.held += n
}

func (c *copyFile) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// due reports whether so much of the copy is acknowledged that it is worth
// making anew.
func (c *copyFile) due(m *memory) bool {
	return c.file != nil && c.size > trimAbove && 2*m.backlog() <= c.held
}
