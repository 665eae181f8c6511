package apdu

import (
	"errors"
	"fmt"
)

// MaxTLVDepth is how many constructed objects may be nested. Cards of this
// family nest three (FCI, proprietary template, issuer data); the bound
// keeps a hostile card from exhausting the stack.
const MaxTLVDepth = 8

// Errors of BER-TLV. None of them says anything about a card command: the
// bytes have been received by then.
var (
	ErrTLVTruncated  = errors.New("apdu: TLV ends before its length")
	ErrTLVTag        = errors.New("apdu: TLV tag not valid or longer than 3 bytes")
	ErrTLVIndefinite = errors.New("apdu: TLV length is indefinite or longer than 5 bytes")
	ErrTLVDepth      = errors.New("apdu: TLV nested too deep")
)

// TLV is one BER-TLV data object (ISO/IEC 7816-4 clause 5.2.2).
type TLV struct {
	// Tag holds the tag bytes as they stand, big-endian: 0x6F, 0x9F0C,
	// 0x9F8101. One to three bytes.
	Tag uint32
	// Value is the content, also of a constructed object.
	Value []byte
	// Children are the objects in a constructed one, nil in a primitive
	// one. For encoding they count before Value.
	Children []TLV
}

// Constructed reports whether the tag says that the value is a sequence of
// data objects (bit 6 of the first tag byte).
func (t TLV) Constructed() bool { return firstTagByte(t.Tag)&0x20 != 0 }

func firstTagByte(tag uint32) byte {
	for tag > 0xFF {
		tag >>= 8
	}
	return byte(tag)
}

// ParseTLV reads a sequence of data objects. It is strict: every length must
// fit, indefinite lengths and tags of more than three bytes are refused, and
// nothing is allocated on a claimed length. Lengths longer than necessary
// (81 05) are accepted, since BER allows them and cards send them; bytes 00
// and FF before, between and after objects are padding of erased files and
// are skipped (ISO/IEC 7816-4 clause 5.2.2.1). The result shares no memory
// with b. It fails with one of the ErrTLV errors.
func ParseTLV(b []byte) ([]TLV, error) {
	return parseTLV(append([]byte(nil), b...), 0)
}

func parseTLV(b []byte, depth int) ([]TLV, error) {
	if depth > MaxTLVDepth {
		return nil, ErrTLVDepth
	}
	list := []TLV{}
	for i := 0; i < len(b); {
		if b[i] == 0x00 || b[i] == 0xFF {
			i++
			continue
		}
		tag, n, err := parseTag(b[i:])
		if err != nil {
			return nil, fmt.Errorf("%w (offset %d)", err, i)
		}
		i += n
		length, n, err := parseLength(b[i:])
		if err != nil {
			return nil, fmt.Errorf("%w (tag %X)", err, tag)
		}
		i += n
		if length > uint64(len(b)-i) {
			return nil, fmt.Errorf("%w: tag %X claims %d bytes, %d are left", ErrTLVTruncated, tag, length, len(b)-i)
		}
		end := i + int(length)
		t := TLV{Tag: tag, Value: b[i:end:end]}
		if t.Constructed() {
			if t.Children, err = parseTLV(t.Value, depth+1); err != nil {
				return nil, err
			}
		}
		list = append(list, t)
		i = end
	}
	return list, nil
}

// parseTag reads the tag at the start of b, which is not empty.
func parseTag(b []byte) (tag uint32, n int, err error) {
	tag = uint32(b[0])
	if b[0]&0x1F != 0x1F {
		return tag, 1, nil
	}
	for n = 1; n < 3; n++ {
		if n == len(b) {
			return 0, 0, ErrTLVTruncated
		}
		tag = tag<<8 | uint32(b[n])
		if b[n]&0x80 == 0 {
			if !validTag(tag) {
				return 0, 0, ErrTLVTag
			}
			return tag, n + 1, nil
		}
	}
	return 0, 0, ErrTLVTag
}

// validTag holds the tag fields of ISO/IEC 7816-4 clause 5.2.2.1: one byte
// whose low five bits are not all ones; two bytes, the second up to 7F; three
// bytes, the second 81..FF and the third 00..7F. That clause wants 1F at
// least in the second byte, but the tags 9F08 and 9F0C of every purse are
// below it. 00 and FF never start a tag here, because they are padding.
func validTag(tag uint32) bool {
	if f := firstTagByte(tag); f == 0x00 || f == 0xFF {
		return false
	}
	switch {
	case tag <= 0xFF:
		return tag&0x1F != 0x1F
	case tag <= 0xFFFF:
		return tag>>8&0x1F == 0x1F && tag&0xFF <= 0x7F
	case tag <= 0xFFFFFF:
		return tag>>16&0x1F == 0x1F && tag>>8&0xFF >= 0x81 && tag&0xFF <= 0x7F
	}
	return false
}

func parseLength(b []byte) (length uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrTLVTruncated
	}
	if b[0] < 0x80 {
		return uint64(b[0]), 1, nil
	}
	more := int(b[0] & 0x7F)
	if more == 0 || more > 4 {
		return 0, 0, ErrTLVIndefinite
	}
	if more > len(b)-1 {
		return 0, 0, ErrTLVTruncated
	}
	for _, c := range b[1 : 1+more] {
		length = length<<8 | uint64(c)
	}
	return length, 1 + more, nil
}

// EncodeTLV writes the objects one after another with the shortest lengths.
// It fails with ErrTLVTag or ErrTLVDepth.
func EncodeTLV(list ...TLV) ([]byte, error) {
	return appendTLV(nil, list, 0)
}

func appendTLV(b []byte, list []TLV, depth int) ([]byte, error) {
	if depth > MaxTLVDepth {
		return nil, ErrTLVDepth
	}
	for _, t := range list {
		if !validTag(t.Tag) {
			return nil, fmt.Errorf("%w: %X", ErrTLVTag, t.Tag)
		}
		value := t.Value
		if t.Children != nil {
			if !t.Constructed() {
				return nil, fmt.Errorf("%w: %X is primitive and has children", ErrTLVTag, t.Tag)
			}
			var err error
			if value, err = appendTLV(nil, t.Children, depth+1); err != nil {
				return nil, err
			}
		}
		for shift := 16; shift >= 0; shift -= 8 {
			if shift == 0 || t.Tag>>shift != 0 {
				b = append(b, byte(t.Tag>>shift))
			}
		}
		b = appendLength(b, len(value))
		b = append(b, value...)
	}
	return b, nil
}

func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n <= 0xFF:
		return append(b, 0x81, byte(n))
	case n <= 0xFFFF:
		return append(b, 0x82, byte(n>>8), byte(n))
	case n <= 0xFFFFFF:
		return append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// FindTLV gives the first object at the path of tags, outermost first:
// FindTLV(fci, 0x6F, 0xA5, 0x9F0C) is the issuer's data of a SELECT answer.
// Where a tag is repeated, each of its branches is tried in order.
func FindTLV(list []TLV, path ...uint32) (TLV, bool) {
	if len(path) == 0 {
		return TLV{}, false
	}
	for _, t := range list {
		if t.Tag != path[0] {
			continue
		}
		if len(path) == 1 {
			return t, true
		}
		if found, ok := FindTLV(t.Children, path[1:]...); ok {
			return found, true
		}
	}
	return TLV{}, false
}
