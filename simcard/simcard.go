// Package simcard simulates the cards of the system: the purse card, the
// PSAM and the load SAM. All three are one chip with one card operating
// system (purse.md sections 6 to 11): what a chip is follows from the files
// and keys that the issuing commands put on it, so a PSAM and a load SAM can
// share one chip as two applications. The chip is strict by default, keeps
// its state in a memory that can lose power at every page write, and never
// lets a key out.
//
// It may import apdu, money and suite. It must not be imported by anything
// but tests, kioskd --sim and cardtool sim, must not know what a reader or a
// terminal is, and must share no code with the terminal's side of the purse
// protocol except what suite defines for both.
package simcard

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

// Errors of a chip. ErrTorn is the only one after which a command may have
// taken effect.
var (
	ErrOff   = errors.New("simcard: the chip has no power")
	ErrTorn  = errors.New("simcard: the power failed during the command")
	ErrImage = errors.New("simcard: not a memory image of this version")
)

// Chip is a contact card: power, and one command at a time. It is what a
// virtual reader drives.
type Chip interface {
	// PowerOn is a cold reset: volatile state is gone, an interrupted write
	// is completed or dropped. It gives the answer to reset.
	PowerOn() (atr []byte, err error)
	PowerOff()
	// Transmit answers one command. It fails with ErrTorn when the power
	// failed meanwhile, and with ErrOff before PowerOn.
	Transmit(command []byte) (response []byte, err error)
}

// Options is what differs between card operating systems (purse.md section 1)
// and what a test needs to hold. The zero value is the strict chip with the
// recommended defaults. Options belong to the operating system, not to the
// memory: an image carries none.
type Options struct {
	// Tolerant keeps a pending INITIALIZE through other commands than SELECT,
	// INITIALIZE and execute. A strict chip drops it (section 8.1).
	Tolerant bool
	// PINForLoad asks for the PIN before INITIALIZE FOR LOAD of the EP too;
	// the ED always does (section 1 setting 1).
	PINForLoad bool
	// LogPost stores the incremented counter in the log (setting 2).
	LogPost bool
	// UnifiedCounter counts loads and purchases together (setting 3).
	UnifiedCounter bool
	// ProofTACFirst answers GET TRANSACTION PROVE TAC ‖ MAC2 (setting 4).
	ProofTACFirst bool
	// SingleProof keeps one proof for all types instead of one per type
	// (section 7.10).
	SingleProof bool
	// NoProof answers 6D00 to GET TRANSACTION PROVE (section 12.3).
	NoProof bool
	// LateBalance refuses a too large amount in DEBIT, not in INITIALIZE
	// (section 7.3).
	LateBalance bool
	// BlockedSW answers for a blocked application; 0 means 6A81. With 6283
	// SELECT gives the FCI as well (setting 5).
	BlockedSW apdu.SW
	// CounterSW answers for an exhausted counter; 0 means 9402 (setting 6).
	CounterSW apdu.SW
	// BalanceSW answers for a balance too small; 0 means 9401 (setting 7).
	BalanceSW apdu.SW
	// StateSW answers an execute without its INITIALIZE; 0 means 6901
	// (section 8.5: older texts 6985).
	StateSW apdu.SW
	// FCIVersion puts 9F08 with this value into the FCI; 0 means none
	// (section 3.2).
	FCIVersion byte
	// RegionFirst makes SAMs take the factors region first (setting 9).
	RegionFirst bool
	// SAMTries is how many wrong MAC2 a PSAM takes before it locks; 0 means
	// 15 (setting 10). Customers with forged cards must not lock a terminal
	// in an afternoon.
	SAMTries byte
	// LateSequence advances the PSAM's sequence at 80 72, not at 80 70
	// (section 9.2).
	LateSequence bool
	// MACStrikes is how many wrong line MACs in a row lock an application for
	// ever; 0 means 3 (setting 15).
	MACStrikes byte
	// Rand gives challenges and transaction randoms; nil means crypto/rand.
	Rand io.Reader
	// Save is called with an image after every change of memory, also one
	// that was torn, before the answer leaves the chip; when it fails the
	// answer is held back and the chip loses power. Nil means that memory
	// dies with the process.
	Save func(image []byte) error
}

func (o *Options) setDefaults() {
	def := func(p *apdu.SW, v apdu.SW) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.BlockedSW, apdu.SWFunctionNotSupported)
	def(&o.CounterSW, apdu.SWCounterExhausted)
	def(&o.BalanceSW, apdu.SWBalanceLow)
	def(&o.StateSW, apdu.SWNotInThisState)
	if o.SAMTries == 0 {
		o.SAMTries = 15
	}
	if o.MACStrikes == 0 {
		o.MACStrikes = 3
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
}

// Card is one simulated chip. Its methods may be called from any goroutine.
type Card struct {
	mu   sync.Mutex
	opts Options
	des  suite.DES3
	mem  *memory
	nv   *state // what mem holds, decoded; nil without power
	kept int    // mem.writes when Save last succeeded
	volatile
}

var _ Chip = (*Card)(nil)

// volatile is what a cold reset clears (purse.md section 8.1).
type volatile struct {
	on        bool
	dir       *dir // current, nil without MF
	ef        *file
	fresh     bool // the current directory was empty when it was entered: all is allowed until it is left (section 11.1)
	mfReg     byte // security registers, 0..15
	dfReg     byte
	pinOK     bool
	challenge []byte
	pending   *pending
	sam       *samSession
}

// New gives a blank chip, without power and without files.
func New(opts Options) *Card {
	opts.setDefaults()
	mem := newMemory()
	if err := mem.commit((&state{}).encode()); err != nil {
		panic("simcard: an empty state does not fit: " + err.Error())
	}
	return &Card{opts: opts, mem: mem}
}

// FromImage gives a chip with the memory that Image gave. It fails with
// ErrImage.
func FromImage(image []byte, opts Options) (*Card, error) {
	opts.setDefaults()
	mem, err := decodeImage(image)
	if err != nil {
		return nil, err
	}
	probe := mem.clone()
	probe.recover()
	if _, err := decodeState(probe.read()); err != nil {
		return nil, err
	}
	return &Card{opts: opts, mem: mem}, nil
}

// Open gives the chip whose memory is the file at path, kept up to date from
// then on; without the file a blank chip. The file is replaced whole, so a
// killed process leaves the last complete memory.
func Open(path string, opts Options) (*Card, error) {
	opts.Save = func(image []byte) error {
		tmp := path + ".new"
		if err := os.WriteFile(tmp, image, 0o600); err != nil {
			return err
		}
		return os.Rename(tmp, path)
	}
	image, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		return New(opts), nil
	}
	if err != nil {
		return nil, err
	}
	c, err := FromImage(image, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Image gives the memory as it is, with a write that was interrupted. It
// holds the keys: keep it as a card is kept.
func (c *Card) Image() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mem.image()
}

// TearAfter lets the power fail at the n-th page write from now, counted from
// 1; 0 takes it back. It happens once.
func (c *Card) TearAfter(n int) { c.tear(n, tornHalf) }

func (c *Card) tear(n int, how tearKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mem.tearIn, c.mem.tearHow = n, how
}

// Writes counts the page writes of the chip since it was made or loaded.
func (c *Card) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mem.writes
}

// Blank reports that no file was ever created on the chip, or that all were
// erased.
func (c *Card) Blank() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	probe := c.mem.clone()
	probe.recover()
	nv, err := decodeState(probe.read())
	return err == nil && len(nv.dirs) == 0
}

// atrT1 announces T=1 and the historical bytes "DIANKA"; its last byte is the
// check byte (ISO/IEC 7816-3 section 8.2).
var atrT1 = []byte{0x3B, 0x86, 0x01, 'D', 'I', 'A', 'N', 'K', 'A', 0x86 ^ 0x01 ^ 'D' ^ 'I' ^ 'A' ^ 'N' ^ 'K' ^ 'A'}

// PowerOn implements Chip.
func (c *Card) PowerOn() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off()
	if !c.mem.recover() {
		return nil, errors.Join(ErrTorn, c.save())
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	nv, err := decodeState(c.mem.read())
	if err != nil {
		return nil, err
	}
	c.nv = nv
	c.on = true
	if len(nv.dirs) > 0 {
		c.dir = nv.dirs[0]
	}
	return append([]byte(nil), atrT1...), nil
}

// PowerOff implements Chip.
func (c *Card) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off()
}

// save keeps a changed memory outside, torn or whole, before anything of it
// can be seen.
func (c *Card) save() error {
	if c.opts.Save == nil || c.kept == c.mem.writes {
		return nil
	}
	if err := c.opts.Save(c.mem.image()); err != nil {
		return err
	}
	c.kept = c.mem.writes
	return nil
}

func (c *Card) off() {
	c.volatile = volatile{}
	c.nv = nil
}

// classes says which classes each instruction takes (purse.md sections 6, 7,
// 9, 10.2, 11), and by its keys which instructions exist.
var classes = map[byte][]byte{
	0xA4: {0x00}, 0xB0: {0x00, 0x04}, 0xD6: {0x00, 0x04}, 0xD0: {0x00, 0x04}, 0xB2: {0x00, 0x04},
	0xDC: {0x00, 0x04}, 0xD2: {0x00, 0x04}, 0xE2: {0x00, 0x04},
	0x84: {0x00}, 0x82: {0x00}, 0x88: {0x00}, 0x20: {0x00}, 0x5E: {0x80}, 0x24: {0x84},
	0x1E: {0x84}, 0x18: {0x84}, 0x16: {0x84},
	0x50: {0x80}, 0x52: {0x80}, 0x54: {0x80}, 0x5C: {0x80}, 0x5A: {0x80},
	0xE0: {0x80}, 0x0E: {0x80}, 0xD4: {0x80, 0x84},
	0x70: {0x80}, 0x72: {0x80}, 0x74: {0x80}, 0x76: {0x80},
}

// Transmit implements Chip.
func (c *Card) Transmit(command []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return nil, ErrOff
	}
	cmd, err := apdu.ParseCommand(command)
	if err != nil || extended(command) {
		c.pending, c.challenge = nil, nil
		return apdu.Response{SW: apdu.SWWrongLength}.Bytes(), nil
	}
	nv := c.nv
	pending, challenge := c.pending, c.challenge
	c.pending, c.challenge = nil, nil // both are good for the next command only
	data, sw := c.dispatch(cmd, pending, challenge)
	if !c.on {
		return nil, errors.Join(ErrTorn, c.save())
	}
	if c.opts.Tolerant && !endsPending(cmd.INS) && c.nv == nv {
		c.pending = pending
	}
	if err := c.save(); err != nil {
		c.off()
		return nil, fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return apdu.Response{Data: data, SW: sw}.Bytes(), nil
}

// extended reports the extended length form, which these chips do not have.
func extended(command []byte) bool { return len(command) > 5 && command[4] == 0 }

// endsPending names SELECT, INITIALIZE, both executes, and erase, which takes
// the purse away.
func endsPending(ins byte) bool {
	return contains([]byte{0xA4, 0x50, 0x52, 0x54, 0x0E}, ins)
}

// dispatch makes the checks that all commands share, in the order of purse.md
// section 8.4.
func (c *Card) dispatch(cmd apdu.Command, p *pending, challenge []byte) ([]byte, apdu.SW) {
	if cmd.CLA&^0x84 != 0 {
		return nil, apdu.SWCLANotSupported
	}
	cla, ok := classes[cmd.INS]
	if !ok || (cmd.INS == 0x5A && c.opts.NoProof) {
		return nil, apdu.SWINSNotSupported
	}
	if !contains(cla, cmd.CLA) {
		return nil, apdu.SWCLANotSupported
	}
	if c.nv.blocked {
		return nil, apdu.SWFunctionNotSupported
	}
	if c.dir == nil && cmd.INS != 0xE0 && cmd.INS != 0x0E && cmd.INS != 0x84 {
		return nil, apdu.SWFunctionNotSupported
	}
	if c.dir != nil && c.dir.blocked != unblocked && cmd.INS != 0xA4 && cmd.INS != 0x84 && cmd.INS != 0x18 {
		return nil, c.opts.BlockedSW
	}
	switch cmd.INS {
	case 0xA4:
		return c.selectFile(cmd)
	case 0xB0:
		return c.readBinary(cmd, challenge)
	case 0xD6, 0xD0:
		return c.updateBinary(cmd, challenge)
	case 0xB2:
		return c.readRecord(cmd, challenge)
	case 0xDC, 0xD2:
		return c.updateRecord(cmd, challenge)
	case 0xE2:
		return c.appendRecord(cmd, challenge)
	case 0x84:
		return c.getChallenge(cmd)
	case 0x82:
		return c.externalAuthenticate(cmd, challenge)
	case 0x88:
		return c.internalAuthenticate(cmd)
	case 0x20:
		return c.verify(cmd)
	case 0x5E:
		if cmd.P1 == 0x01 {
			return c.changePIN(cmd)
		}
		return c.reloadPIN(cmd)
	case 0x24:
		return c.unblockPIN(cmd, challenge)
	case 0x1E:
		return c.blockApplication(cmd, challenge)
	case 0x18:
		return c.unblockApplication(cmd, challenge)
	case 0x16:
		return c.blockCard(cmd, challenge)
	case 0xE0:
		return c.createFile(cmd)
	case 0x0E:
		return c.erase(cmd)
	case 0xD4:
		return c.writeKey(cmd, challenge)
	case 0x50:
		return c.initialize(cmd)
	case 0x52:
		return c.credit(cmd, p)
	case 0x54:
		return c.debit(cmd, p)
	case 0x5C:
		return c.getBalance(cmd)
	case 0x5A:
		return c.getProof(cmd)
	case 0x70:
		if cmd.P1 == 0x01 {
			return c.samLoad(cmd)
		}
		return c.samPurchase(cmd)
	case 0x72:
		return c.samCredit(cmd)
	case 0x74:
		return c.samState(cmd)
	case 0x76:
		return c.samAllowance(cmd, challenge)
	}
	return nil, apdu.SWINSNotSupported
}

// commit writes the state to memory. When it answers false the handler must
// stop with the status word; the state is then what memory holds.
func (c *Card) commit() (apdu.SW, bool) {
	err := c.mem.commit(c.nv.encode())
	switch {
	case err == nil:
		return apdu.SWOK, true
	case errors.Is(err, errFull):
		// The handlers hold pointers into the state, so a refused change
		// costs the chip its session: it falls back to the MF.
		nv, derr := decodeState(c.mem.read())
		if derr != nil {
			c.off()
			return apdu.SWMemoryFailure, false
		}
		c.volatile = volatile{on: true}
		c.nv = nv
		if len(nv.dirs) > 0 {
			c.dir = nv.dirs[0]
		}
		return apdu.SWNoSpace, false
	}
	c.off()
	return apdu.SWMemoryFailure, false
}

// random fills b from the injected source. A source that fails must not let
// a transaction go on with a known number.
func (c *Card) random(b []byte) bool {
	_, err := io.ReadFull(c.opts.Rand, b)
	return err == nil
}

// answer gives data as a case 2 command asks for it: a wrong Le is told.
func answer(cmd apdu.Command, data []byte) ([]byte, apdu.SW) {
	if !fits(cmd, len(data)) {
		return nil, 0x6C00 | apdu.SW(byte(len(data)))
	}
	return data, apdu.SWOK
}

// fits reports that Le, when there is one, asks for all or exactly n bytes.
func fits(cmd apdu.Command, n int) bool {
	return cmd.Ne == 0 || cmd.Ne == apdu.MaxShortNe || cmd.Ne == n
}

func contains(s []byte, b byte) bool {
	for _, v := range s {
		if v == b {
			return true
		}
	}
	return false
}
