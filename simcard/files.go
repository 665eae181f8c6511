package simcard

import (
	"bytes"

	"github.com/dianka/dianka/apdu"
)

const (
	mfID      = 0x3F00
	pseName   = "1PAY.SYS.DDF01" // purse.md section 3.1
	memoryCap = pages * pageSize
)

// may checks an access right XY: the security register s of the current
// directory must satisfy Y ≤ s ≤ X (purse.md section 11.2).
func (c *Card) may(right byte) bool {
	s := *c.register()
	return c.fresh || (right&0x0F <= s && s <= right>>4)
}

func (c *Card) register() *byte {
	if c.inMF() {
		return &c.mfReg
	}
	return &c.dfReg
}

func (c *Card) inMF() bool { return c.dir == nil || c.dir.id == mfID }

// enter makes d current with an empty security status (purse.md section 6
// rule 1).
func (c *Card) enter(d *dir) {
	c.dir, c.ef = d, nil
	c.fresh = !d.hasKeys && len(d.files) == 0
	c.dfReg, c.pinOK, c.sam = 0, false, nil
}

func (c *Card) selectFile(cmd apdu.Command) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 == 0x00 && cmd.P2 == 0x00:
		if len(cmd.Data) != 2 {
			return nil, apdu.SWWrongLength
		}
		id := uint16(cmd.Data[0])<<8 | uint16(cmd.Data[1])
		for _, d := range c.nv.dirs {
			if d.id == id {
				return c.selected(d)
			}
		}
		if f := c.dir.file(id); f != nil && c.dir.blocked == unblocked {
			c.ef = f
			return nil, apdu.SWOK
		}
	case cmd.P1 == 0x04 && (cmd.P2 == 0x00 || cmd.P2 == 0x02):
		if len(cmd.Data) == 0 || len(cmd.Data) > 16 {
			return nil, apdu.SWWrongLength
		}
		next := cmd.P2 == 0x00
		for _, d := range c.nv.dirs {
			if next && bytes.HasPrefix(d.name, cmd.Data) {
				return c.selected(d)
			}
			next = next || d == c.dir
		}
	default:
		return nil, apdu.SWWrongP1P2
	}
	return nil, apdu.SWFileNotFound
}

func (c *Card) selected(d *dir) ([]byte, apdu.SW) {
	c.enter(d) // a blocked one too: it can only be unblocked from inside
	switch {
	case d.blocked == unblocked:
		return c.fci(), apdu.SWOK
	case c.opts.BlockedSW == apdu.SWSelectedInvalidated:
		return c.fci(), c.opts.BlockedSW
	}
	return nil, c.opts.BlockedSW
}

// fci is the answer of SELECT with the live content of the public file
// (purse.md section 3.2).
func (c *Card) fci() []byte {
	d := c.dir
	body := tlv(0x84, d.name)
	if d.id == mfID {
		if sfi := d.appFile & 0x1F; sfi != 0 {
			body = append(body, tlv(0xA5, tlv(0x88, []byte{sfi}))...)
		}
		return tlv(0x6F, body)
	}
	f := d.sfi(d.appFile & 0x1F)
	if f != nil && f.kind == kindBinary && len(f.data) <= 64 {
		var a5 []byte
		if v := c.opts.FCIVersion; v != 0 {
			a5 = append(a5, 0x9F, 0x08, 1, v)
		}
		a5 = append(append(a5, 0x9F, 0x0C, byte(len(f.data))), f.data...)
		body = append(body, tlv(0xA5, a5)...)
	}
	return tlv(0x6F, body)
}

// tlv is for values below 128 bytes.
func tlv(tag byte, value []byte) []byte {
	return append([]byte{tag, byte(len(value))}, value...)
}

// binary finds the transparent file that P1 P2 address and the offset.
func (c *Card) binary(cmd apdu.Command) (f *file, offset int, sw apdu.SW) {
	if cmd.P1&0x80 != 0 {
		if cmd.P1&0x60 != 0 {
			return nil, 0, apdu.SWWrongP1P2
		}
		if f = c.dir.sfi(cmd.P1 & 0x1F); f == nil {
			return nil, 0, apdu.SWFileNotFound
		}
		c.ef, offset = f, int(cmd.P2)
	} else {
		if f = c.ef; f == nil {
			return nil, 0, apdu.SWNoCurrentEF
		}
		offset = int(cmd.P1)<<8 | int(cmd.P2)
	}
	if f.kind != kindBinary {
		return nil, 0, apdu.SWIncompatibleFile
	}
	return f, offset, apdu.SWOK
}

func (c *Card) readBinary(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	f, offset, sw := c.binary(cmd)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if !c.may(f.read) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	if offset >= len(f.data) {
		return nil, apdu.SWWrongOffset
	}
	rest := f.data[offset:]
	if n := cmd.Ne; n > 0 && n < apdu.MaxShortNe {
		if n > len(rest) {
			return nil, 0x6C00 | apdu.SW(byte(len(rest)))
		}
		rest = rest[:n]
	}
	if len(rest) > apdu.MaxShortNe-4 && cmd.CLA == 0x04 {
		rest = rest[:apdu.MaxShortNe-4]
	} else if len(rest) > apdu.MaxShortNe {
		rest = rest[:apdu.MaxShortNe]
	}
	return c.protectRead(cmd, f, rest, challenge)
}

// protectRead puts the MAC of the answer behind it when the command asks for
// one by its class (purse.md section 4.8).
func (c *Card) protectRead(cmd apdu.Command, f *file, data, challenge []byte) ([]byte, apdu.SW) {
	if cmd.CLA == 0x00 {
		if len(cmd.Data) != 0 {
			return nil, apdu.SWWrongLength
		}
		if f.secure&0x80 != 0 && f.keyByte&0x80 == 0 {
			return nil, apdu.SWSMMissing
		}
		return bytes.Clone(data), apdu.SWOK
	}
	if len(cmd.Data) != 4 {
		return nil, apdu.SWWrongLength
	}
	k := c.dir.only(keyLine)
	if _, sw := c.unwrap(cmd, k, challenge); sw != apdu.SWOK {
		return nil, sw
	}
	mac, err := c.des.LineMAC(k.value, challenge, data)
	if err != nil {
		return nil, apdu.SWReferenceInvalid
	}
	return append(bytes.Clone(data), mac[:]...), apdu.SWOK
}

// writeData checks the right and the protection of a write and gives the
// plain data.
func (c *Card) writeData(cmd apdu.Command, f *file, challenge []byte) ([]byte, apdu.SW) {
	if !c.may(f.write) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	if cmd.CLA == 0x00 {
		if f.secure != 0 {
			return nil, apdu.SWSMMissing
		}
		if len(cmd.Data) == 0 {
			return nil, apdu.SWWrongLength
		}
		return cmd.Data, apdu.SWOK
	}
	k := c.dir.only(keyLine)
	data, sw := c.unwrap(cmd, k, challenge)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if f.secure&0x40 != 0 {
		plain, err := c.des.LineDecrypt(k.value, data)
		if err != nil {
			return nil, apdu.SWWrongData
		}
		data = plain
	}
	if len(data) == 0 {
		return nil, apdu.SWWrongLength
	}
	return data, apdu.SWOK
}

func (c *Card) updateBinary(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	f, offset, sw := c.binary(cmd)
	if sw != apdu.SWOK {
		return nil, sw
	}
	data, sw := c.writeData(cmd, f, challenge)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if offset >= len(f.data) {
		return nil, apdu.SWWrongOffset
	}
	if offset+len(data) > len(f.data) {
		return nil, apdu.SWWrongLength
	}
	copy(f.data[offset:], data)
	sw, _ = c.commit()
	return nil, sw
}

// recordFile finds the record file that P2 addresses; its low three bits are
// among modes.
func (c *Card) recordFile(p2 byte, modes ...byte) (*file, apdu.SW) {
	if !contains(modes, p2&0x07) {
		return nil, apdu.SWWrongP1P2
	}
	f := c.ef
	if p2>>3 != 0 {
		if f = c.dir.sfi(p2 >> 3); f == nil {
			return nil, apdu.SWFileNotFound
		}
		c.ef = f
	}
	if f == nil {
		return nil, apdu.SWNoCurrentEF
	}
	if f.kind != kindFixed && f.kind != kindCyclic {
		return nil, apdu.SWIncompatibleFile
	}
	return f, apdu.SWOK
}

// findRecord finds by number (mode 4), or by tag, the record's first byte
// (mode 0).
func findRecord(f *file, cmd apdu.Command) []byte {
	if cmd.P2&0x07 == 4 {
		return f.record(int(cmd.P1))
	}
	for n := 1; n <= int(f.used); n++ {
		if r := f.record(n); r[0] == cmd.P1 {
			return r
		}
	}
	return nil
}

func (c *Card) readRecord(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	f, sw := c.recordFile(cmd.P2, 0, 4)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if !c.may(f.read) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	r := findRecord(f, cmd)
	if r == nil {
		return nil, apdu.SWRecordNotFound
	}
	want := len(r)
	if cmd.CLA == 0x04 {
		want += 4
	}
	if !fits(cmd, want) {
		return nil, 0x6C00 | apdu.SW(byte(want))
	}
	return c.protectRead(cmd, f, r, challenge)
}

func (c *Card) updateRecord(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	f, sw := c.recordFile(cmd.P2, 0, 4)
	if sw != apdu.SWOK {
		return nil, sw
	}
	data, sw := c.writeData(cmd, f, challenge)
	if sw != apdu.SWOK {
		return nil, sw
	}
	r := findRecord(f, cmd)
	if r == nil {
		return nil, apdu.SWRecordNotFound
	}
	if len(data) != len(r) {
		return nil, apdu.SWWrongLength
	}
	copy(r, data)
	sw, _ = c.commit()
	return nil, sw
}

func (c *Card) appendRecord(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	if cmd.P1 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	f, sw := c.recordFile(cmd.P2, 0, 4)
	if sw != apdu.SWOK {
		return nil, sw
	}
	data, sw := c.writeData(cmd, f, challenge)
	if sw != apdu.SWOK {
		return nil, sw
	}
	if len(data) != int(f.reclen) {
		return nil, apdu.SWWrongLength
	}
	if !f.add(data) {
		return nil, apdu.SWNoSpace
	}
	sw, _ = c.commit()
	return nil, sw
}

// createFile is purse.md section 11.1. Directories stand under the MF only.
func (c *Card) createFile(cmd apdu.Command) ([]byte, apdu.SW) {
	id, d := uint16(cmd.P1)<<8|uint16(cmd.P2), cmd.Data
	if len(d) == 0 {
		return nil, apdu.SWWrongLength
	}
	if d[0] == 0x38 {
		return c.createDir(id, d)
	}
	if c.dir == nil {
		return nil, apdu.SWFunctionNotSupported
	}
	if !c.may(c.dir.create) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	if len(d) != 7 {
		return nil, apdu.SWWrongLength
	}
	if d[0] == 0x3F {
		switch {
		case id != 0:
			return nil, apdu.SWWrongData
		case c.dir.hasKeys:
			return nil, apdu.SWWrongP1P2
		case len(c.dir.files) > 0: // must be the first file (section 11.1)
			return nil, apdu.SWConditionsNotMet
		}
		c.dir.hasKeys, c.dir.addKey = true, d[4]
		sw, _ := c.commit()
		return nil, sw
	}
	if id == 0 || c.dir.file(id) != nil {
		return nil, apdu.SWWrongP1P2 // of an existing file (section 5)
	}
	f := &file{id: id, kind: d[0] & 0x3F, secure: d[0] & 0xC0, read: d[3], write: d[4], keyByte: d[6]}
	size := int(d[1])<<8 | int(d[2])
	switch f.kind {
	case kindBinary:
	case kindFixed, kindCyclic:
		if f.count, f.reclen = d[1], d[2]; f.count == 0 || f.reclen == 0 {
			return nil, apdu.SWWrongData
		}
		size = int(f.count) * int(f.reclen)
	case kindPurse:
		if size != 0x0208 || f.secure != 0 || (id != 1 && id != 2) || c.inMF() {
			return nil, apdu.SWWrongData
		}
		f.purse.tacKey, f.purse.logSFI, size = d[4], d[6]&0x1F, 0
	default:
		return nil, apdu.SWWrongData
	}
	if size > memoryCap || len(c.dir.files) >= 32 {
		return nil, apdu.SWNoSpace
	}
	f.data = make([]byte, size)
	c.dir.files = append(c.dir.files, f)
	sw, _ := c.commit()
	return nil, sw
}

func (c *Card) createDir(id uint16, d []byte) ([]byte, apdu.SW) {
	if len(d) < 8+5 || len(d) > 8+16 {
		return nil, apdu.SWWrongLength
	}
	n := &dir{id: id, name: bytes.Clone(d[8:]), create: d[3], erase: d[4], appFile: d[5]}
	mf := id == mfID
	if mf && bytes.Count(n.name, []byte{0xFF}) == len(n.name) {
		n.name = []byte(pseName)
	}
	switch {
	case mf != (c.dir == nil):
		if mf {
			return nil, apdu.SWWrongP1P2
		}
		return nil, apdu.SWFunctionNotSupported
	case !mf && !c.inMF():
		return nil, apdu.SWConditionsNotMet
	case !mf && !c.may(c.dir.create):
		return nil, apdu.SWSecurityNotSatisfied
	case len(c.nv.dirs) >= 8:
		return nil, apdu.SWNoSpace
	}
	for _, x := range c.nv.dirs {
		if x.id == id || bytes.Equal(x.name, n.name) {
			return nil, apdu.SWWrongP1P2
		}
	}
	c.nv.dirs = append(c.nv.dirs, n)
	if mf {
		c.enter(n)
	}
	sw, _ := c.commit()
	return nil, sw
}

// erase empties the current directory; the MF takes everything with it
// (purse.md section 11.4).
func (c *Card) erase(cmd apdu.Command) ([]byte, apdu.SW) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	if len(cmd.Data) != 0 {
		return nil, apdu.SWWrongLength
	}
	if c.dir == nil {
		return nil, apdu.SWOK
	}
	if !c.may(c.dir.erase) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	if c.inMF() {
		c.nv.dirs = nil
		c.volatile = volatile{on: true}
	} else {
		d := c.dir
		*d = dir{id: d.id, name: d.name, create: d.create, erase: d.erase, appFile: d.appFile}
		c.enter(d)
	}
	sw, _ := c.commit()
	return nil, sw
}
