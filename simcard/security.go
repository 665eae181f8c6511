package simcard

import (
	"bytes"
	"crypto/subtle"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

func (c *Card) getChallenge(cmd apdu.Command) ([]byte, apdu.SW) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	if len(cmd.Data) != 0 || (cmd.Ne != 4 && cmd.Ne != 8) {
		return nil, apdu.SWWrongLength
	}
	b := make([]byte, cmd.Ne)
	if !c.random(b) {
		return nil, apdu.SWUnspecified
	}
	c.challenge = b
	return bytes.Clone(b), apdu.SWOK
}

// unwrap checks the line MAC of a command and gives its data without it
// (purse.md section 4.8). A wrong MAC counts: in a row they lock the
// application for ever (line key, sections 3.3 and 6 rule 7) or the key (others);
// a right one ends the row.
func (c *Card) unwrap(cmd apdu.Command, k *key, challenge []byte) ([]byte, apdu.SW) {
	n := len(cmd.Data) - len(suite.MAC{})
	switch {
	case n < 0:
		return nil, apdu.SWSMMissing
	case k == nil:
		return nil, apdu.SWReferenceNotFound
	case c.dir.strikes >= c.opts.MACStrikes, k.typ != keyLine && k.triesLeft() == 0:
		return nil, apdu.SWMethodBlocked
	case challenge == nil:
		return nil, apdu.SWReferenceInvalid
	}
	want, err := c.des.LineMAC(k.value, challenge, suite.LineFields(cmd.CLA, cmd.INS, cmd.P1, cmd.P2, cmd.Data[:n]))
	if err == nil && want.Equal(suite.MAC(cmd.Data[n:])) {
		if k.typ == keyLine {
			c.dir.strikes = 0
		} else {
			k.restore()
		}
		if sw, ok := c.commit(); !ok { // writes nothing when there was no row
			return nil, sw
		}
		return cmd.Data[:n], apdu.SWOK
	}
	refusal := apdu.SWSMIncorrect
	if k.typ != keyLine {
		k.fail()
	} else if c.dir.strikes++; c.dir.strikes >= c.opts.MACStrikes && !c.inMF() {
		c.dir.blocked = blockedPerm
		refusal = apdu.SWApplicationLocked
	}
	if sw, ok := c.commit(); !ok {
		return nil, sw
	}
	return nil, refusal
}

// try spends a try of a key or PIN before it compares, so that cutting the
// power cannot win tries (purse.md section 6 rule 2).
func (c *Card) try(k *key, match func() bool) apdu.SW {
	if k.triesLeft() == 0 {
		return apdu.SWMethodBlocked
	}
	k.fail()
	if sw, ok := c.commit(); !ok {
		return sw
	}
	if !match() {
		return 0x63C0 | apdu.SW(k.triesLeft())
	}
	k.restore()
	sw, _ := c.commit()
	return sw
}

func (c *Card) externalAuthenticate(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	k := c.dir.key(keyExternal, cmd.P2)
	switch {
	case cmd.P1 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 8:
		return nil, apdu.SWWrongLength
	case k == nil:
		return nil, apdu.SWReferenceNotFound
	case !c.may(k.use):
		return nil, apdu.SWSecurityNotSatisfied
	case challenge == nil:
		return nil, apdu.SWReferenceInvalid
	}
	sw := c.try(k, func() bool {
		want, err := c.des.Authenticate(k.value, challenge)
		return err == nil && subtle.ConstantTimeCompare(want, cmd.Data) == 1
	})
	if sw == apdu.SWOK {
		*c.register() = k.b3 & 0x0F
	}
	return nil, sw
}

// internalAuthenticate enciphers (key type 30), deciphers (31) or MACs (32),
// as P1 says (purse.md section 6).
func (c *Card) internalAuthenticate(cmd apdu.Command) ([]byte, apdu.SW) {
	if cmd.P1 > 2 {
		return nil, apdu.SWWrongP1P2
	}
	if n := len(cmd.Data); n == 0 || (cmd.P1 != 2 && n != 8) {
		return nil, apdu.SWWrongLength
	}
	k := c.dir.key(0x30+cmd.P1, cmd.P2)
	if k == nil {
		return nil, apdu.SWReferenceNotFound
	}
	if !c.may(k.use) {
		return nil, apdu.SWSecurityNotSatisfied
	}
	var out []byte
	var err error
	switch cmd.P1 {
	case 0:
		out, err = c.des.Authenticate(k.value, cmd.Data)
	case 1:
		out, err = decipher(k.value, [8]byte(cmd.Data))
	case 2:
		var mac suite.MAC
		mac, err = c.des.LineMAC(k.value, make([]byte, 8), cmd.Data)
		out = mac[:]
	}
	if err != nil {
		return nil, apdu.SWConditionsNotMet
	}
	return out, apdu.SWOK
}

// PIN.

func pinOf(b []byte) []byte { return bytes.TrimRight(b, "\xFF") }

func (c *Card) verify(cmd apdu.Command) ([]byte, apdu.SW) {
	k := c.dir.key(keyPIN, cmd.P2)
	switch {
	case cmd.P1 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) < 2 || len(cmd.Data) > 8:
		return nil, apdu.SWWrongLength
	case k == nil:
		return nil, apdu.SWReferenceNotFound
	case !c.may(k.use):
		return nil, apdu.SWSecurityNotSatisfied
	}
	sw := c.try(k, func() bool { return subtle.ConstantTimeCompare(pinOf(cmd.Data), k.value) == 1 })
	if !c.on {
		return nil, sw
	}
	c.pinOK = sw == apdu.SWOK
	*c.register() = 0
	if c.pinOK {
		*c.register() = k.b3 & 0x0F
	}
	return nil, sw
}

// changePIN takes old PIN ‖ FF ‖ new PIN (purse.md section 6).
func (c *Card) changePIN(cmd apdu.Command) ([]byte, apdu.SW) {
	k := c.dir.key(keyPIN, cmd.P2)
	old, pin, ok := bytes.Cut(cmd.Data, []byte{0xFF})
	pin = pinOf(pin)
	switch {
	case !ok || len(pin) < 2 || len(pin) > 6:
		return nil, apdu.SWWrongLength
	case k == nil:
		return nil, apdu.SWKeyIndexNotSupported
	}
	sw := c.try(k, func() bool {
		if subtle.ConstantTimeCompare(old, k.value) != 1 {
			return false
		}
		k.value = bytes.Clone(pin)
		return true
	})
	return nil, sw
}

// reloadPIN installs a PIN under the issuer's key: MAC over the PIN alone
// with the folded key (purse.md section 6 rule 5), which is the form of TAC.
func (c *Card) reloadPIN(cmd apdu.Command) ([]byte, apdu.SW) {
	n := len(cmd.Data) - len(suite.MAC{})
	k, pin := c.dir.only(keyPINReload), c.dir.key(keyPIN, cmd.P2)
	switch {
	case cmd.P1 != 0:
		return nil, apdu.SWWrongP1P2
	case n < 2 || n > 6:
		return nil, apdu.SWWrongLength
	case k == nil || pin == nil:
		return nil, apdu.SWKeyIndexNotSupported
	case !c.may(k.use):
		return nil, apdu.SWSecurityNotSatisfied
	}
	sw := c.try(k, func() bool {
		want, err := c.des.TAC(k.value, cmd.Data[:n])
		if err != nil || !want.Equal(suite.MAC(cmd.Data[n:])) {
			return false
		}
		pin.value = bytes.Clone(pinOf(cmd.Data[:n]))
		pin.restore()
		return true
	})
	if sw&0xFFF0 == 0x63C0 {
		sw = apdu.SWMACInvalid
	}
	return nil, sw
}

func (c *Card) unblockPIN(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	k, pin := c.dir.only(keyPINUnblock), c.dir.key(keyPIN, cmd.P2)
	if pin == nil && cmd.P2 == 0 { // the text says 00, its example the PIN's own number (section 6 rule 6)
		pin = c.dir.only(keyPIN)
	}
	switch {
	case cmd.P1 != 0:
		return nil, apdu.SWWrongP1P2
	case len(cmd.Data) != 0x0C && len(cmd.Data) != 0x14:
		return nil, apdu.SWWrongLength
	case k == nil || pin == nil:
		return nil, apdu.SWKeyIndexNotSupported
	case !c.may(k.use):
		return nil, apdu.SWSecurityNotSatisfied
	}
	data, sw := c.unwrap(cmd, k, challenge)
	if sw != apdu.SWOK {
		return nil, sw
	}
	plain, err := c.des.LineDecrypt(k.value, data)
	if plain = pinOf(plain); err != nil || len(plain) < 2 || len(plain) > 6 {
		return nil, apdu.SWWrongData
	}
	pin.value = bytes.Clone(plain)
	pin.restore()
	sw, _ = c.commit()
	return nil, sw
}

// Blocking.

func (c *Card) blockApplication(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	if cmd.P1 != 0 || cmd.P2 > 1 {
		return nil, apdu.SWWrongP1P2
	}
	if c.inMF() {
		return nil, apdu.SWConditionsNotMet
	}
	return nil, c.withLineMAC(cmd, challenge, func() { c.dir.blocked = blockedTemp + cmd.P2 })
}

func (c *Card) unblockApplication(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.SWWrongP1P2
	case c.dir.blocked == blockedPerm:
		return nil, apdu.SWApplicationLocked
	}
	return nil, c.withLineMAC(cmd, challenge, func() { c.dir.blocked, c.dir.samFails = unblocked, 0 })
}

func (c *Card) blockCard(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.SWWrongP1P2
	}
	return nil, c.withLineMAC(cmd, challenge, func() { c.nv.blocked = true })
}

// withLineMAC runs a command that is nothing but a line MAC.
func (c *Card) withLineMAC(cmd apdu.Command, challenge []byte, do func()) apdu.SW {
	if len(cmd.Data) != 4 {
		return apdu.SWWrongLength
	}
	if _, sw := c.unwrap(cmd, c.dir.only(keyLine), challenge); sw != apdu.SWOK {
		return sw
	}
	do()
	sw, _ := c.commit()
	return sw
}

// Keys.

// writeKey is purse.md section 11.3, and for master keys of a SAM section
// 9.4: 84 D4 00 00, usage ‖ version ‖ algorithm ‖ key under the control key.
func (c *Card) writeKey(cmd apdu.Command, challenge []byte) ([]byte, apdu.SW) {
	if !c.dir.hasKeys {
		return nil, apdu.SWFileNotFound
	}
	data := cmd.Data
	secured := cmd.CLA == 0x84
	if secured {
		control := c.dir.key(keyExternal, 0)
		if control == nil {
			// A directory's first key can only come under that of the MF.
			// The reference does not say so: it is an inference.
			control = c.nv.dirs[0].key(keyExternal, 0)
		}
		text, sw := c.unwrap(cmd, control, challenge)
		if sw != apdu.SWOK {
			return nil, sw
		}
		plain, err := c.des.LineDecrypt(control.value, text)
		if err != nil {
			return nil, apdu.SWWrongData
		}
		data = plain
	}
	if cmd.P1 == 0 {
		if !secured {
			return nil, apdu.SWSMMissing
		}
		return nil, c.writeSAMKey(data)
	}
	k := &key{id: cmd.P2}
	if len(data) < 5+2 {
		return nil, apdu.SWWrongLength
	}
	k.typ, k.secure = data[0]&0x3F, data[0]&0xC0
	k.use, k.change, k.b3, k.b4 = data[1], data[2], data[3], data[4]
	k.value = bytes.Clone(data[5:])
	switch {
	case k.typ == keyPIN:
		k.value = pinOf(k.value)
		if len(data) > 5+8 || len(k.value) < 2 {
			return nil, apdu.SWWrongLength
		}
	case k.typ < 0x30:
		return nil, apdu.SWWrongData
	case len(k.value) != 8 && len(k.value) != 16:
		return nil, apdu.SWWrongLength
	}
	if counted(k.typ) && k.b4>>4 < k.b4&0x0F {
		return nil, apdu.SWWrongData
	}
	if cmd.P1 == 0x01 { // add
		if !c.may(c.dir.addKey) {
			return nil, apdu.SWSecurityNotSatisfied
		}
		single := k.typ == keyLine || k.typ == keyPINReload
		if c.dir.key(k.typ, k.id) != nil || (single && c.dir.only(k.typ) != nil) {
			return nil, apdu.SWWrongData
		}
		if len(c.dir.keys) >= 64 {
			return nil, apdu.SWNoSpace
		}
		c.dir.keys = append(c.dir.keys, k)
		sw, _ := c.commit()
		return nil, sw
	}
	old := c.dir.key(cmd.P1&0x3F, cmd.P2)
	switch {
	case old == nil || k.typ != old.typ:
		return nil, apdu.SWReferenceNotFound
	case old.secure != 0 && !secured:
		return nil, apdu.SWClassMismatch
	case !c.may(old.change):
		return nil, apdu.SWSecurityNotSatisfied
	}
	*old = *k
	sw, _ := c.commit()
	return nil, sw
}

func (c *Card) writeSAMKey(data []byte) apdu.SW {
	if len(data) != 3+16 || c.inMF() {
		return apdu.SWWrongData
	}
	if len(c.dir.samKeys) >= 32 {
		return apdu.SWNoSpace
	}
	k := &samKey{data[0], data[1], data[2], bytes.Clone(data[3:])}
	if old := c.dir.samKey(k.usage&0x1F, k.version); old != nil {
		*old = *k
	} else {
		c.dir.samKeys = append(c.dir.samKeys, k)
	}
	sw, _ := c.commit()
	return sw
}

// counted says which types carry an error counter.
func counted(typ byte) bool {
	return typ >= keyLine && typ <= keyPIN
}
