// Package canon reads and writes the canonical bytes that are hashed and
// signed: fixed-width big-endian integers, fixed byte arrays, and byte strings
// with a two-byte length. One function describes a record for both
// directions, so that what is written and what is read cannot drift apart.
//
// It imports the standard library only. It never allocates on the word of a
// length that the input does not back.
package canon

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of decoding.
var (
	ErrShort    = errors.New("record is shorter than its fields")
	ErrTrailing = errors.New("record is longer than its fields")
	ErrLimit    = errors.New("a length is over its limit")
	ErrBool     = errors.New("a yes-or-no byte is neither 0 nor 1")
)

// Record is anything whose fields a Codec can walk, always in the same order.
type Record interface{ Fields(c *Codec) }

// Codec walks the fields of a record, appending them to bytes or taking them
// from bytes. After the first error it does nothing more.
type Codec struct {
	buf     []byte
	reading bool
	err     error
}

// Marshal gives the canonical bytes of r. It panics when a field is over its
// limit, since such a record can only be made by a program error.
func Marshal(r Record) []byte {
	c := &Codec{buf: make([]byte, 0, 256)}
	r.Fields(c)
	if c.err != nil {
		panic(fmt.Sprintf("canon: %T: %v", r, c.err))
	}
	return c.buf
}

// Unmarshal reads the canonical bytes of r, all of them.
func Unmarshal(b []byte, r Record) error {
	c := &Codec{buf: b, reading: true}
	r.Fields(c)
	if c.err != nil {
		return c.err
	}
	if len(c.buf) != 0 {
		return fmt.Errorf("%w: %d bytes left", ErrTrailing, len(c.buf))
	}
	return nil
}

// Reading reports whether fields are being taken from bytes.
func (c *Codec) Reading() bool { return c.reading }

// Fail makes the codec answer err.
func (c *Codec) Fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Rest gives the bytes not yet read, to guard counts before allocating.
func (c *Codec) Rest() int { return len(c.buf) }

func (c *Codec) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if len(c.buf) < n {
		c.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrShort, n, len(c.buf))
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

// U8 walks one byte.
func U8[T ~uint8](c *Codec, v *T) {
	if !c.reading {
		c.buf = append(c.buf, byte(*v))
	} else if b := c.take(1); b != nil {
		*v = T(b[0])
	}
}

// U16 walks two bytes.
func U16[T ~uint16](c *Codec, v *T) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(*v))
	} else if b := c.take(2); b != nil {
		*v = T(binary.BigEndian.Uint16(b))
	}
}

// U32 walks four bytes.
func U32[T ~uint32](c *Codec, v *T) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(*v))
	} else if b := c.take(4); b != nil {
		*v = T(binary.BigEndian.Uint32(b))
	}
}

// U64 walks eight bytes.
func U64[T ~uint64](c *Codec, v *T) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(*v))
	} else if b := c.take(8); b != nil {
		*v = T(binary.BigEndian.Uint64(b))
	}
}

// I64 walks eight bytes, two's complement.
func I64[T ~int64](c *Codec, v *T) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(*v))
	} else if b := c.take(8); b != nil {
		*v = T(binary.BigEndian.Uint64(b))
	}
}

// Bool walks one byte, 0 or 1.
func Bool(c *Codec, v *bool) {
	var b uint8
	if *v {
		b = 1
	}
	U8(c, &b)
	if c.reading && c.err == nil {
		if b > 1 {
			c.err = ErrBool
			return
		}
		*v = b == 1
	}
}

// Fixed walks len(v) bytes.
func Fixed(c *Codec, v []byte) {
	if !c.reading {
		c.buf = append(c.buf, v...)
	} else if b := c.take(len(v)); b != nil {
		copy(v, b)
	}
}

// Bytes walks a two-byte length and that many bytes, at most limit.
func Bytes(c *Codec, v *[]byte, limit int) {
	n := uint16(len(*v))
	if !c.reading && (len(*v) > limit || len(*v) > 0xFFFF) {
		c.Fail(fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, len(*v), limit))
		return
	}
	U16(c, &n)
	if c.err != nil {
		return
	}
	if int(n) > limit {
		c.Fail(fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, n, limit))
		return
	}
	if !c.reading {
		c.buf = append(c.buf, *v...)
	} else if b := c.take(int(n)); b != nil {
		*v = append([]byte(nil), b...)
	}
}

// String walks a string as Bytes does.
func String(c *Codec, v *string, limit int) {
	b := []byte(*v)
	Bytes(c, &b, limit)
	if c.reading && c.err == nil {
		*v = string(b)
	}
}

// Long walks a four-byte length and that many bytes, at most limit.
func Long(c *Codec, v *[]byte, limit int) {
	n := uint32(len(*v))
	if len(*v) > limit {
		c.Fail(fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, len(*v), limit))
		return
	}
	U32(c, &n)
	if c.reading {
		if int64(n) > int64(limit) || int64(n) > int64(len(c.buf)) {
			c.Fail(fmt.Errorf("%w: %d bytes claimed", ErrShort, n))
			return
		}
		*v = nil
		if n > 0 {
			*v = make([]byte, n)
		}
	}
	Fixed(c, *v)
}

// List walks a four-byte count and that many items, at most limit. Each item
// takes at least min bytes, so that a count that the input does not back is
// refused before anything is allocated.
func List[T any](c *Codec, v *[]T, limit, min int, item func(*Codec, *T)) {
	n := uint32(len(*v))
	if len(*v) > limit {
		c.Fail(fmt.Errorf("%w: %d items, at most %d", ErrLimit, len(*v), limit))
		return
	}
	U32(c, &n)
	if c.err != nil {
		return
	}
	if c.reading {
		if int64(n) > int64(limit) {
			c.Fail(fmt.Errorf("%w: %d items, at most %d", ErrLimit, n, limit))
			return
		}
		if int64(n)*int64(min) > int64(len(c.buf)) {
			c.Fail(fmt.Errorf("%w: %d items claimed", ErrShort, n))
			return
		}
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		item(c, &(*v)[i])
		if c.err != nil {
			return
		}
	}
}
