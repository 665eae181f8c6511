// Package store keeps what a terminal did in one bbolt file: the journal,
// entry by entry with its chain hash, and small projections made from it,
// written in the same commit and rebuilt from the journal at will. Beside
// them, replaceable, lie the utility's acknowledgements and sections.
//
// It may import money, journal, wire, internal/canon and bbolt. It must never
// judge business, speak to a card or a network, use Batch or NoSync, repeat a
// commit that failed, or hold a read transaction while it waits for anything
// (storage-sync.md sections 1 and 8).
package store

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

// Errors of opening.
var (
	ErrExists = errors.New("store: the file exists already; nothing was changed")
	ErrInUse  = errors.New("store: another process has the file open; nothing was changed")
	ErrSchema = errors.New("store: the file is of another schema version or no store; nothing was changed")
	ErrBehind = errors.New("store: the file is older than its second copy and lacks what lies between; nothing was changed")
)

// Errors of use. After ErrStopped it is unknown whether the entries of the
// Append that saw it first are on disk; after every other error of Append
// they are not.
var (
	ErrClosed   = errors.New("store: closed; nothing was written")
	ErrNotFound = errors.New("store: no such entry")
	ErrCorrupt  = errors.New("store: the file is damaged")
	ErrFull     = errors.New("store: the disk is nearly full; nothing was written, and nothing new may begin until there is room")
	ErrStopped  = errors.New("store: stopped by a failed commit; what was being written may or may not be on disk: close, open again and read back")
	ErrRemade   = errors.New("store: the file was made anew from its second copy and takes nothing new until the terminal is enrolled again; nothing was written, and what is unsent still goes to the utility")
	ErrDraft    = errors.New("store: the entry refers to nothing here or has no body; nothing was written")
	ErrAck      = errors.New("store: the acknowledgement is not of this journal; nothing was changed")
	ErrSection  = errors.New("store: the section is older than the one held, or another terminal's; nothing was changed")
	ErrIdentity = errors.New("store: not a next identity of this terminal; nothing was changed")
)

// Identity is whose journal this is.
type Identity struct {
	Terminal  money.TerminalID
	Shop      money.ShopID
	Epoch     uint32       // issued by the utility at each enrolment, from 1
	PrevEpoch uint32       // the epoch before, 0 when there is none
	PrevSeq   uint64       // its last sequence
	PrevHash  journal.Hash // the hash after it
}

// Options tune a store. The zero value is right for a terminal.
type Options struct {
	Clock       func() time.Time // wall clock of entries, read by the writer's goroutine; nil = time.Now
	Timeout     time.Duration    // wait for another process to let go of the file; 0 = 1 s
	InitialMmap int              // bytes of address space to map at once; 0 = by platform
	Rebuild     bool             // make the projections anew while opening, as Store.Rebuild does
	Reserve     int64            // bytes of free disk below which nothing new may begin; 0 = 64 MiB
	Ballast     int64            // bytes held back for outcomes on a full disk, in a file with the ending .ballast; 0 = 8 MiB, less than 0 = none
	Disk        Disk             // what the file lies on; nil = this machine's
	Copy        string           // path of the second copy, better on other media; empty = beside the file, with the ending .copy
}

// Disk is what a store needs of the machine beneath bbolt. Simulations and
// fault tests put their own in, to fail it, to cut its power and to fill it.
type Disk interface {
	// Free is the space in dir that this process may still use, in bytes.
	Free(dir string) (uint64, error)
	// Commit is tx.Commit. After an error it is unknown whether the
	// transaction is on disk.
	Commit(tx *bbolt.Tx) error

	// OpenFile, Rename and Remove are the functions of os of these names. The
	// files that lie beside bbolt's are reached through them and SyncDir only.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes durable which names dir has.
	SyncDir(dir string) error
	// Allocate makes name a file of size bytes, mode 0600, whose room on the
	// disk is really taken. After an error there may be a shorter one.
	Allocate(name string, size int64) error
}

// File is an open file beside bbolt's. An *os.File is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// Draft is an entry to be: the store gives it its name, times and place in
// the chain.
type Draft struct {
	Actor journal.Actor
	Ref   journal.Ref
	Body  journal.Body
}

// Shift is a shift of the drawer. Amounts are what the entries between its
// opening and its close changed; what happens between shifts belongs to none,
// since the next opening count already holds it.
type Shift struct {
	Number      uint32
	Open        journal.Ref // the ShiftOpen
	Clerk       money.StaffID
	Opened      int64     // ms since 1970, by the terminal's clock
	OpeningCash money.Fen // counted at opening
	CashIn      money.Fen // cash taken for loads, bills and deposits and not returned within the shift
	CashOut     money.Fen // cash paid for voids done and claims, and returned for loads and bills of earlier shifts
	TopUps      money.Fen // value of loads done
	Redemptions money.Fen // value of redemptions done; no cash moves
	Deposits    money.Fen // of cards sold
	Voids       money.Fen // value of void debits done
	Bills       money.Fen // bills paid in cash
	Claims      money.Fen // claims paid out
	Count       uint32    // transactions begun
	Unknown     uint32    // of them, card may have moved and nobody knows
	Closed      bool
	Close       journal.Ref // the ShiftClose, when Closed
	ClosedAt    int64
	Counted     money.Fen // cash counted at the close
	Expected    money.Fen // while open: OpeningCash + CashIn - CashOut; after the close what ShiftClose says
}

// Unsent is what the utility has not acknowledged.
type Unsent struct {
	Count  uint64    // entries
	Value  money.Fen // top-ups begun in those entries and not known to be not done
	Oldest int64     // Wall of the oldest such entry, ms since 1970; 0 when none
}

// Report counts what Check saw.
type Report struct {
	Heads        []journal.Head // of every epoch, oldest first
	Entries      uint64
	Transactions uint64
	Open         uint64
	Bytes        int64 // size of the file
}

// Store is one terminal's file, open. Its methods may be called from any
// goroutine. Every read and write gives ErrClosed after Close, and ErrStopped
// after a commit failed.
type Store struct {
	db   *bbolt.DB
	path string
	opts Options
	boot [8]byte
	up   time.Time // monotonic base of Mono

	queue chan *request // to the writer
	quit  chan struct{} // closed by Close
	gone  chan struct{} // closed when the writer has ended

	now     atomic.Pointer[memory] // what is durable
	stopped atomic.Pointer[error]  // set once, by a failed commit
	commits atomic.Uint64
	writing atomic.Int64 // nanoseconds that commits took, whole
	disk    atomic.Int64 // nanoseconds of it waiting for the disk
	second  *copyFile    // the writer's
	copy    atomic.Pointer[CopyStatus]
	ballast atomic.Bool  // the ballast is in its place
	gate    sync.RWMutex // held for writing while projections are rebuilt
	once    sync.Once
	closing error

	cacheLock sync.Mutex
	cache     map[wire.SectionKind]wire.Section
}

// memory is what the store keeps of the file in memory: a few hundred bytes,
// replaced whole after each commit and never changed in place.
type memory struct {
	id     Identity
	chains []chain // by epoch, the current one last
	totals totals
	oldest int64  // Wall of the oldest unsent entry
	remade uint32 // epoch in which the file was made anew from the second copy; 0: never
	frames []byte // of the entries that this commit writes, for the second copy
	framed uint64 // how many
}

// chain is how far one epoch goes.
type chain struct {
	epoch uint32
	seq   uint64
	hash  journal.Hash
	acked uint64
	base  uint64 // the last sequence that is not here; 0 but for a file made anew from the second copy
}

func (m *memory) clone() *memory {
	c := *m
	c.frames, c.framed = nil, 0
	c.chains = append([]chain(nil), m.chains...)
	return &c
}

func (m *memory) current() *chain { return &m.chains[len(m.chains)-1] }

func (m *memory) chain(epoch uint32) *chain {
	for i := range m.chains {
		if m.chains[i].epoch == epoch {
			return &m.chains[i]
		}
	}
	return nil
}

func (m *memory) has(r journal.Ref) bool {
	c := m.chain(r.Epoch)
	return c != nil && r.Seq > 0 && r.Seq <= c.seq
}

// absent reports whether r lies before what a file that was made anew from the
// second copy has.
func (m *memory) absent(r journal.Ref) bool {
	c := m.chain(r.Epoch)
	return m.remade != 0 && r.Epoch <= m.remade && (c == nil || r.Seq <= c.base)
}

func (m *memory) unsent(r journal.Ref) bool {
	c := m.chain(r.Epoch)
	return c != nil && r.Seq > c.acked
}

func (m *memory) backlog() (n uint64) {
	for _, c := range m.chains {
		n += c.seq - c.acked
	}
	return n
}

func (c chain) head(t money.TerminalID) journal.Head {
	return journal.Head{Terminal: t, Epoch: c.epoch, Seq: c.seq, Hash: c.hash}
}

// Err is nil while the store can be used; then it is ErrStopped with what
// failed, or ErrClosed.
func (s *Store) Err() error { return s.usable() }

// Identity is whose journal this is.
func (s *Store) Identity() Identity { return s.now.Load().id }

// Head is the end of the current epoch's chain, durable.
func (s *Store) Head() journal.Head {
	m := s.now.Load()
	return m.current().head(m.id.Terminal)
}

// Acked is the last sequence of the current epoch that the utility holds.
func (s *Store) Acked() uint64 { return s.now.Load().current().acked }

// Unsent is what the utility has not acknowledged, over all epochs.
func (s *Store) Unsent() Unsent {
	m := s.now.Load()
	return Unsent{Count: m.backlog(), Value: m.totals.Unsent, Oldest: m.oldest}
}

// Epoch is how far the chain of one epoch goes and how much of it the utility
// holds.
type Epoch struct {
	Head  journal.Head
	Acked uint64
	Base  uint64 // the last sequence that is not here; 0 but for a file made anew from the second copy
}

// Epochs lists the chains of the file, the current one last. Entries of an
// earlier epoch that are not acknowledged are still to be sent.
func (s *Store) Epochs() []Epoch {
	m := s.now.Load()
	var out []Epoch
	for _, c := range m.chains {
		out = append(out, Epoch{c.head(m.id.Terminal), c.acked, c.base})
	}
	return out
}

// Commits counts the commits since Open: each is two flushes of the disk.
func (s *Store) Commits() uint64 { return s.commits.Load() }

// CommitTime is how long those commits of entries, acknowledgements and
// sections took: whole, from the beginning of bbolt's transaction, and in its
// Commit and the second copy alone, which write and wait for the disk.
func (s *Store) CommitTime() (whole, disk time.Duration) {
	return time.Duration(s.writing.Load()), time.Duration(s.disk.Load())
}

// Remade gives the epoch in which the file was made anew from the second copy,
// 0 when it never was, and whether it takes nothing new until the terminal is
// enrolled again.
func (s *Store) Remade() (epoch uint32, waiting bool) {
	m := s.now.Load()
	return m.remade, m.remade == m.id.Epoch
}

// Copy tells how the second copy of unsent entries stands.
func (s *Store) Copy() CopyStatus { return *s.copy.Load() }

func (s *Store) usable() error {
	if err := s.stopped.Load(); err != nil {
		return *err
	}
	select {
	case <-s.quit:
		return ErrClosed
	default:
		return nil
	}
}
