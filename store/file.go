package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/wire"
)

// schema is the version of the file's layout. A file of another version is
// refused.
const schema = "dianka store 1"

const (
	defaultTimeout = time.Second
	defaultReserve = 64 << 20 // bytes
	tailChecked    = 64       // entries whose chain Open verifies
)

func (o Options) clock() time.Time {
	if o.Clock == nil {
		return time.Now()
	}
	return o.Clock()
}

// bolt gives the options of bbolt, by what was measured in storage-sync.md
// section 1.5. A large first mapping keeps a growing file from waiting for
// readers; it costs address space only, except on Windows, where it would
// make the file that large.
func (o Options) bolt() *bbolt.Options {
	b := &bbolt.Options{
		Timeout:         o.Timeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: o.InitialMmap,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE, perm)
			if err != nil {
				return nil, err
			}
			if i, err := f.Stat(); err != nil || i.Size() < 2*4096 {
				// bbolt would make a new database of an empty file.
				f.Close()
				return nil, fmt.Errorf("%w: the file is too short", ErrCorrupt)
			} else if err := checkFreelist(f, i.Size()); err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		},
	}
	if b.Timeout == 0 {
		b.Timeout = defaultTimeout
	}
	if b.InitialMmapSize == 0 && runtime.GOOS != "windows" {
		b.InitialMmapSize = 64 << 20
		if strconv.IntSize == 64 {
			b.InitialMmapSize = 1 << 30
		}
	}
	return b
}

// Fields walks the row of the identity.
func (id *Identity) Fields(c *canon.Codec) {
	canon.Fixed(c, id.Terminal[:])
	canon.U32(c, &id.Shop)
	canon.U32(c, &id.Epoch)
	canon.U32(c, &id.PrevEpoch)
	canon.U64(c, &id.PrevSeq)
	canon.Fixed(c, id.PrevHash[:])
}

// Create makes the file of a newly enrolled terminal: beside its place, then
// synced, then moved there, since a power cut while bbolt makes a file can
// leave one that opens and is damaged (storage-sync.md section 1.4). It fails
// with ErrExists when there is a file already.
//
// It refuses, with ErrCopy, while a second copy of an earlier file is there,
// whose entries the utility may not hold.
func Create(path string, id Identity, o Options) (err error) {
	if id.Terminal.IsZero() || id.Epoch == 0 {
		return fmt.Errorf("%w: no terminal or no epoch", ErrIdentity)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	if o.Disk == nil {
		o.Disk = Machine{}
	}
	if f, err := openCopy(o.Disk, o.copyPath(path), os.O_RDONLY); err == nil {
		f.Close()
		return fmt.Errorf("%s: %w: it is of a file that is no longer there, and holds entries that the utility may not have: make the file anew from it; nothing was changed", o.copyPath(path), ErrCopy)
	}
	tmp, err := build(path, id, func(*bbolt.Tx) error { return nil })
	if err != nil {
		return err
	}
	return publish(tmp, path)
}

// build makes a file beside path, synced, and gives its name.
func build(path string, id Identity, fill func(*bbolt.Tx) error) (tmp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return "", err
	}
	tmp = f.Name()
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if err := f.Close(); err != nil {
		return "", err
	}
	db, err := bbolt.Open(tmp, 0o600, &bbolt.Options{Timeout: defaultTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return "", err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range append(projectionBuckets(), keptBuckets...) {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		if err := putRow(tx, bucketMeta, keySchema, []byte(schema)); err != nil {
			return err
		}
		if err := putRow(tx, bucketMeta, keyIdentity, canon.Marshal(&id)); err != nil {
			return err
		}
		if err := putRow(tx, bucketMeta, keyTotals, canon.Marshal(&totals{})); err != nil {
			return err
		}
		return fill(tx)
	})
	return tmp, errors.Join(err, db.Close(), syncFile(tmp))
}

// publish gives what build made its name.
func publish(tmp, path string) error {
	defer os.Remove(tmp)
	// A link, unlike a rename, never replaces a file that came up meanwhile.
	if err := os.Link(tmp, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", path, ErrExists)
		}
		return err
	}
	if err := os.Remove(tmp); err != nil {
		return err
	}
	return Machine{}.SyncDir(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// guard turns a panic of bbolt over damaged pages, and a fault in the mapped
// file (a cut file, a dying disk), into ErrCorrupt.
//
//	defer guard(&err)()
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
		debug.SetPanicOnFault(old)
	}
}

// Open opens an existing file and never makes one. It verifies the identity,
// the end of the chain and that the projections end where the journal does;
// Check verifies all of it. It fails with fs.ErrNotExist, ErrInUse, ErrSchema
// or ErrCorrupt; after ErrCorrupt the process should end, since the damaged
// file may still be mapped.
func Open(path string, o Options) (*Store, error) {
	s := &Store{
		path: path, opts: o, up: time.Now(),
		queue: make(chan *request, maxGroup), quit: make(chan struct{}), gone: make(chan struct{}),
		cache: map[wire.SectionKind]wire.Section{},
	}
	if s.opts.Disk == nil {
		s.opts.Disk = Machine{}
	}
	if s.opts.Reserve == 0 {
		s.opts.Reserve = defaultReserve
	}
	if s.opts.Ballast == 0 {
		s.opts.Ballast = defaultBallast
	}
	rand.Read(s.boot[:])
	if err := s.open(); err != nil {
		if s.second != nil {
			s.second.close()
		}
		if s.db != nil {
			s.db.Close()
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.holdBallast()
	go s.write()
	return s, nil
}

func (s *Store) open() (err error) {
	defer guard(&err)()
	db, err := bbolt.Open(s.path, 0o600, s.opts.bolt())
	if err != nil {
		return opening(err)
	}
	s.db = db
	var m *memory
	unfinished := false
	if err := db.View(func(tx *bbolt.Tx) (err error) {
		if err := checkLength(s.path, tx); err != nil {
			return err
		}
		earlier := beforeLater(tx)
		if err := checkSchema(tx, s.opts.Rebuild, earlier); err != nil {
			return err
		}
		unfinished = s.opts.Rebuild || earlier || tx.Bucket(bucketMeta).Get(keyRebuild) != nil
		m, err = load(tx, unfinished)
		return err
	}); err != nil {
		return err
	}
	s.now.Store(m)
	if unfinished {
		if err := s.rebuild(context.Background()); err != nil {
			return err
		}
		m = s.now.Load()
	}
	if err := m.agrees(); err != nil {
		return err
	}
	return s.reconcile()
}

// checkLength refuses a file that was cut: what is missing reads as zeros up
// to the end of a page, and so might look like no store at all.
func checkLength(path string, tx *bbolt.Tx) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Size() < tx.Size() {
		return fmt.Errorf("%w: %d bytes of %d are there", ErrCorrupt, st.Size(), tx.Size())
	}
	return nil
}

// beforeLater reports whether the file was made by a program that did not know
// of laterBuckets: then it has none of them. One that lacks some is damaged.
func beforeLater(tx *bbolt.Tx) bool {
	return !slices.ContainsFunc(laterBuckets, func(b []byte) bool { return tx.Bucket(b) != nil })
}

func checkSchema(tx *bbolt.Tx, rebuild, earlier bool) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: no store", ErrSchema)
	}
	v, err := getRow(tx, bucketMeta, keySchema)
	if err != nil {
		return err
	}
	if string(v) != schema {
		return fmt.Errorf("%w: %q", ErrSchema, v)
	}
	need := append([][]byte{}, keptBuckets...)
	if !rebuild {
		need = append(need, projectionBuckets()...)
	}
	for _, b := range need {
		if earlier && slices.ContainsFunc(laterBuckets, func(l []byte) bool { return bytes.Equal(l, b) }) {
			continue
		}
		if tx.Bucket(b) == nil {
			return fmt.Errorf("%w: no bucket %s", ErrCorrupt, b)
		}
	}
	return nil
}

// last is the last entry of the journal, of whatever epoch; zero when there
// is none.
func (m *memory) last() journal.Ref {
	for i := len(m.chains) - 1; i >= 0; i-- {
		if c := m.chains[i]; c.seq > c.base {
			return journal.Ref{Epoch: c.epoch, Seq: c.seq}
		}
	}
	return journal.Ref{}
}

// load reads what is kept in memory and verifies the end of every chain.
func load(tx *bbolt.Tx, unfinished bool) (*memory, error) {
	m := &memory{}
	b, err := getRow(tx, bucketMeta, keyIdentity)
	if err != nil {
		return nil, err
	}
	if err := canon.Unmarshal(b, &m.id); err != nil {
		return nil, fmt.Errorf("%w: identity: %w", ErrCorrupt, err)
	}
	if m.totals, err = loadTotals(tx); err != nil && !unfinished {
		return nil, err
	}
	if err := m.loadBases(tx); err != nil {
		return nil, err
	}
	c := tx.Bucket(bucketJournal).Cursor()
	for k, v := c.Last(); k != nil; {
		r, err := getRef(k)
		if err != nil {
			return nil, err
		}
		h, _, err := stored(v, r)
		if err != nil {
			return nil, err
		}
		if r.Epoch > m.id.Epoch || r.Seq == 0 {
			return nil, fmt.Errorf("%w: entry %d-%d is of no epoch of this terminal", ErrCorrupt, r.Epoch, r.Seq)
		}
		ch := m.chain(r.Epoch)
		if ch == nil {
			m.chains = append(m.chains, chain{epoch: r.Epoch})
			ch = m.current()
		}
		if r.Seq <= ch.base {
			return nil, fmt.Errorf("%w: entry %d-%d lies before the chain begins", ErrCorrupt, r.Epoch, r.Seq)
		}
		ch.seq, ch.hash = r.Seq, h
		for i := uint64(0); i < tailChecked && i < r.Seq-ch.base; i++ {
			if _, err := readEntry(tx, m.id.Terminal, journal.Ref{Epoch: r.Epoch, Seq: r.Seq - i}); err != nil {
				return nil, damaged(err)
			}
		}
		c.Seek(refKey(journal.Ref{Epoch: r.Epoch}))
		k, v = c.Prev()
	}
	slices.SortFunc(m.chains, func(a, b chain) int { return cmp.Compare(a.epoch, b.epoch) })
	for i := range m.chains {
		if m.chains[i].acked, err = loadAcked(tx, m.chains[i]); err != nil {
			return nil, err
		}
	}
	m.oldest, err = oldest(tx, m)
	return m, err
}

// loadBases begins the chains of which the file does not have the beginning,
// and the present one.
func (m *memory) loadBases(tx *bbolt.Tx) error {
	v, err := getRow(tx, bucketMeta, keyRemade)
	if err != nil {
		return err
	}
	if v != nil && len(v) != 4 {
		return fmt.Errorf("%w: row %s", ErrCorrupt, keyRemade)
	}
	epochs := []uint32{m.id.Epoch}
	if v != nil {
		m.remade = binary.BigEndian.Uint32(v)
		c := tx.Bucket(bucketMeta).Cursor()
		for k, _ := c.Seek(keyBase); bytes.HasPrefix(k, keyBase); k, _ = c.Next() {
			if len(k) != len(keyBase)+4 {
				return fmt.Errorf("%w: row %x", ErrCorrupt, k)
			}
			if e := binary.BigEndian.Uint32(k[len(keyBase):]); e < m.id.Epoch {
				epochs = append(epochs, e)
			}
		}
	}
	for _, e := range epochs {
		b, err := getBase(tx, m.id.Terminal, e)
		if err != nil {
			return err
		}
		b.base = b.seq
		m.chains = append(m.chains, b)
	}
	return nil
}

func ackKey(epoch uint32, through uint64) []byte {
	return refKey(journal.Ref{Epoch: epoch, Seq: through})
}

func loadAcked(tx *bbolt.Tx, ch chain) (uint64, error) {
	c := tx.Bucket(bucketAcks).Cursor()
	k, v := c.Seek(ackKey(ch.epoch+1, 0))
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if k == nil || !bytes.HasPrefix(k, ackKey(ch.epoch, 0)[:4]) {
		return ch.base, nil
	}
	if _, err := openRow(bucketAcks, k, v); err != nil {
		return 0, err
	}
	through := binary.BigEndian.Uint64(k[4:])
	if through > ch.seq {
		return 0, fmt.Errorf("%w: acknowledged through %d-%d, which is not here", ErrCorrupt, ch.epoch, through)
	}
	return through, nil
}

// oldest is the Wall of the oldest entry that is not acknowledged, 0 when
// there is none.
func oldest(tx *bbolt.Tx, m *memory) (int64, error) {
	for _, c := range m.chains {
		if c.acked < c.seq {
			e, err := readEntry(tx, m.id.Terminal, journal.Ref{Epoch: c.epoch, Seq: c.acked + 1})
			return e.Wall, damaged(err)
		}
	}
	return 0, nil
}

// Close waits for the writer to finish what it began and lets go of the file.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.quit)
		<-s.gone
		s.second.close()
		s.closing = s.db.Close()
	})
	return s.closing
}

// Backup writes a copy of the file as it is now to w and gives its length. It
// copies within the file's own directory first, so that a slow medium never
// holds the writer up.
func (s *Store) Backup(w io.Writer) (n int64, err error) {
	dir := filepath.Dir(s.path)
	f, err := os.CreateTemp(dir, filepath.Base(s.path)+".backup-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := s.view(func(tx *bbolt.Tx) error {
		if free, err := s.opts.Disk.Free(dir); err == nil && free < uint64(tx.Size()+s.opts.Reserve) {
			return fmt.Errorf("%w: %d bytes free, a copy takes %d", ErrFull, free, tx.Size())
		}
		_, err := tx.WriteTo(f)
		return err
	}); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(w, f)
}
