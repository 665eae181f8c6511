package simcard

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/dianka/dianka/suite"
)

// state is everything that a chip keeps without power (purse.md section 8.2).
// Its size does not change once the files are there, so a transaction
// rewrites few pages.
type state struct {
	blocked bool   // CARD BLOCK
	dirs    []*dir // dirs[0] is the MF
}

// Block states of an application.
const (
	unblocked byte = iota
	blockedTemp
	blockedPerm
)

type dir struct {
	id            uint16
	name          []byte
	create, erase byte // access rights
	appFile       byte // low 5 bits: SFI of the file that the FCI quotes, or of DIR in the MF
	hasKeys       bool // the key file exists
	addKey        byte // access right
	blocked       byte
	strikes       byte // wrong line MACs in a row
	keys          []*key
	samKeys       []*samKey
	files         []*file
	proofs        [10]proof // by transaction type; entry 0 when only one is kept
	samFails      byte      // wrong MAC2 in a row
	allowance     suite.Allowance
	total         uint64 // fen given by the load SAM in its life
	count         uint32 // loads given
}

// key is a key or PIN of WRITE KEY (purse.md section 11.3).
type key struct {
	typ, id     byte
	secure      byte // protection bits of the type, C0 = MAC and encryption
	use, change byte // access rights
	b3, b4      byte // version and algorithm; or follow-on state and error counter
	value       []byte
}

// Key types of FMCOS (purse.md section 4.3).
const (
	keyTAC        = 0x34
	keyLine       = 0x36
	keyPINUnblock = 0x37
	keyPINReload  = 0x38
	keyExternal   = 0x39
	keyPIN        = 0x3A
	keyPurchase   = 0x3E
	keyLoad       = 0x3F
)

// samKey is a master key of a SAM (purse.md section 9.4): usage = levels in
// the high 3 bits, type in the low 5.
type samKey struct {
	usage, version, algorithm byte
	value                     []byte // 16 bytes
}

// Usage types of SAM keys (purse.md section 9.4).
const (
	usagePurchase  = 0x02
	usageTAC       = 0x04
	usageAllowance = 0x06 // MAC, level 0: the SAM's own allowance key
	usageLoad      = 0x09
)

// Kinds of file (purse.md section 11.1).
const (
	kindBinary = 0x28
	kindFixed  = 0x2A
	kindCyclic = 0x2E
	kindPurse  = 0x2F
)

type file struct {
	id          uint16
	kind        byte
	secure      byte // 80 line MAC, 40 line encryption
	read, write byte // access rights; of a purse: use and unused
	keyByte     byte
	count       byte // records
	reclen      byte
	used        byte // records written
	newest      byte // index of the newest record of a cyclic file
	data        []byte
	purse       purse
}

// purse is the content of EF 0001 or 0002.
type purse struct {
	tacKey, logSFI  byte
	balance         uint32 // fen
	overdraft       suite.Limit
	online, offline uint16
}

type proof struct {
	typ       byte // 0 = none
	counter   uint16
	mac2, tac suite.MAC
}

const stateVersion = 1

// encode gives the length 4 and the state.
func (s *state) encode() []byte {
	c := &coder{b: make([]byte, 4, 4096)}
	s.code(c)
	binary.BigEndian.PutUint32(c.b, uint32(len(c.b)-4))
	return c.b
}

// decodeState reads what encode gave; bytes after it are ignored, as a memory
// has them. It fails with ErrImage and never gives a state on which a command
// could fail for a wrong length.
func decodeState(b []byte) (*state, error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, ErrImage
	}
	c := &coder{b: b[4 : 4+binary.BigEndian.Uint32(b)], reading: true}
	s := &state{}
	s.code(c)
	if c.bad || len(c.b) != 0 || !s.valid() {
		return nil, ErrImage
	}
	return s, nil
}

// coder reads or writes: one walk over the state serves both, so they cannot
// differ.
type coder struct {
	b            []byte
	reading, bad bool
}

func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int64](c *coder, p *T, n int) {
	if !c.reading {
		for i := n - 1; i >= 0; i-- {
			c.b = append(c.b, byte(uint64(*p)>>(8*i)))
		}
		return
	}
	if len(c.b) < n {
		c.bad = true
		return
	}
	var v uint64
	for _, x := range c.b[:n] {
		v = v<<8 | uint64(x)
	}
	*p, c.b = T(v), c.b[n:]
}

func (c *coder) u8(ps ...*byte) {
	for _, p := range ps {
		number(c, p, 1)
	}
}

func (c *coder) bool(p *bool) {
	var v byte
	if *p {
		v = 1
	}
	c.u8(&v)
	c.bad = c.bad || v > 1
	*p = v == 1
}

func (c *coder) fixed(b []byte) {
	for i := range b {
		number(c, &b[i], 1)
	}
}

func (c *coder) bytes(p *[]byte) {
	n := uint16(len(*p))
	number(c, &n, 2)
	if c.reading {
		if len(c.b) < int(n) {
			c.bad = true
			return
		}
		*p = bytes.Clone(c.b[:n])
		if *p == nil {
			*p = []byte{}
		}
		c.b = c.b[n:]
		return
	}
	c.b = append(c.b, *p...)
}

func list[T any](c *coder, p *[]*T, each func(*T)) {
	n := byte(len(*p))
	c.u8(&n)
	for i := range int(n) {
		if c.bad {
			return
		}
		if c.reading {
			*p = append(*p, new(T))
		}
		each((*p)[i])
	}
}

func (s *state) code(c *coder) {
	v := byte(stateVersion)
	c.u8(&v)
	if v != stateVersion {
		c.bad = true
		return
	}
	c.bool(&s.blocked)
	list(c, &s.dirs, func(d *dir) {
		number(c, &d.id, 2)
		c.bytes(&d.name)
		c.u8(&d.create, &d.erase, &d.appFile)
		c.bool(&d.hasKeys)
		c.u8(&d.addKey, &d.blocked, &d.strikes, &d.samFails)
		list(c, &d.keys, func(k *key) {
			c.u8(&k.typ, &k.id, &k.secure, &k.use, &k.change, &k.b3, &k.b4)
			c.bytes(&k.value)
		})
		list(c, &d.samKeys, func(k *samKey) {
			c.u8(&k.usage, &k.version, &k.algorithm)
			c.bytes(&k.value)
		})
		for i := range d.proofs {
			p := &d.proofs[i]
			c.u8(&p.typ)
			number(c, &p.counter, 2)
			c.fixed(p.mac2[:])
			c.fixed(p.tac[:])
		}
		number(c, &d.allowance.Sequence, 4)
		number(c, &d.allowance.CeilingAmount, 8)
		number(c, &d.allowance.CeilingCount, 4)
		number(c, &d.total, 8)
		number(c, &d.count, 4)
		list(c, &d.files, func(f *file) {
			number(c, &f.id, 2)
			c.u8(&f.kind, &f.secure, &f.read, &f.write, &f.keyByte, &f.count, &f.reclen, &f.used, &f.newest)
			c.bytes(&f.data)
			c.u8(&f.purse.tacKey, &f.purse.logSFI)
			number(c, &f.purse.balance, 4)
			c.fixed(f.purse.overdraft[:])
			number(c, &f.purse.online, 2)
			number(c, &f.purse.offline, 2)
		})
	})
}

// valid holds what the commands rely on.
func (s *state) valid() bool {
	for i, d := range s.dirs {
		if (i == 0) != (d.id == mfID) || d.blocked > blockedPerm || len(d.name) > 16 ||
			d.allowance.CeilingAmount < 0 || d.total > maxTotal {
			return false
		}
		for _, k := range d.keys {
			if k.typ == keyPIN {
				if len(k.value) > 8 {
					return false
				}
			} else if len(k.value) != 8 && len(k.value) != 16 {
				return false
			}
		}
		for _, k := range d.samKeys {
			if len(k.value) != 16 {
				return false
			}
		}
		for _, f := range d.files {
			switch f.kind {
			case kindBinary, kindPurse:
			case kindFixed, kindCyclic:
				if f.count == 0 || f.reclen == 0 || len(f.data) != int(f.count)*int(f.reclen) || f.used > f.count || f.newest >= f.count {
					return false
				}
			default:
				return false
			}
		}
	}
	return true
}

func (d *dir) key(typ, id byte) *key {
	for _, k := range d.keys {
		if k.typ == typ && k.id == id {
			return k
		}
	}
	return nil
}

// only gives the single key of a type whatever its number (purse.md section
// 11.3: one line key and one PIN reload key per directory).
func (d *dir) only(typ byte) *key {
	i := slices.IndexFunc(d.keys, func(k *key) bool { return k.typ == typ })
	if i < 0 {
		return nil
	}
	return d.keys[i]
}

func (d *dir) file(id uint16) *file {
	for _, f := range d.files {
		if f.id == id {
			return f
		}
	}
	return nil
}

// sfi finds a file by its short identifier, the low 5 bits (purse.md section
// 3.1).
func (d *dir) sfi(n byte) *file {
	if n == 0 || n > 0x1E {
		return nil
	}
	return d.file(uint16(n))
}

// record gives record number n, 1 = first; of a cyclic file 1 = newest.
func (f *file) record(n int) []byte {
	if n < 1 || n > int(f.used) {
		return nil
	}
	i := n - 1
	if f.kind == kindCyclic {
		i = (int(f.newest) - i + int(f.count)) % int(f.count)
	}
	return f.data[i*int(f.reclen):][:f.reclen]
}

// add appends a record of reclen bytes; a full cyclic file loses its oldest.
func (f *file) add(rec []byte) bool {
	i := int(f.used)
	if f.kind == kindCyclic {
		if f.used > 0 {
			i = (int(f.newest) + 1) % int(f.count)
		}
		f.newest = byte(i)
	} else if i >= int(f.count) {
		return false
	}
	if f.used < f.count {
		f.used++
	}
	copy(f.data[i*int(f.reclen):][:f.reclen], rec)
	return true
}

// Error counter of keys and PINs: high nibble maximum, low nibble tries left
// (purse.md section 11.3).
func (k *key) triesLeft() int { return int(k.b4 & 0x0F) }
func (k *key) fail()          { k.b4-- }
func (k *key) restore()       { k.b4 = k.b4&0xF0 | k.b4>>4 }
