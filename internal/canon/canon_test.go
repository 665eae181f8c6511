package canon

import (
	"bytes"
	"errors"
	"testing"
)

type sample struct {
	a uint8
	b uint16
	c uint32
	d uint64
	e int64
	f bool
	g [3]byte
	h []byte
	i string
	j []uint16
}

func (s *sample) Fields(c *Codec) {
	U8(c, &s.a)
	U16(c, &s.b)
	U32(c, &s.c)
	U64(c, &s.d)
	I64(c, &s.e)
	Bool(c, &s.f)
	Fixed(c, s.g[:])
	Bytes(c, &s.h, 4)
	String(c, &s.i, 4)
	List(c, &s.j, 3, 2, func(c *Codec, v *uint16) { U16(c, v) })
}

var (
	full      = sample{1, 0x0203, 0x04050607, 0x08090A0B0C0D0E0F, -2, true, [3]byte{1, 2, 3}, []byte{9}, "hi", []uint16{0x1112, 0x1314}}
	fullBytes = []byte{
		1, 2, 3, 4, 5, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xD, 0xE, 0xF,
		0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 1, 1, 2, 3,
		0, 1, 9, 0, 2, 'h', 'i', 0, 0, 0, 2, 0x11, 0x12, 0x13, 0x14,
	}
)

func TestLayout(t *testing.T) {
	if b := Marshal(&full); !bytes.Equal(b, fullBytes) {
		t.Fatalf("got %x, want %x", b, fullBytes)
	}
	var s sample
	if err := Unmarshal(fullBytes, &s); err != nil || !bytes.Equal(Marshal(&s), fullBytes) {
		t.Fatalf("%+v, %v", s, err)
	}
	s.h[0] = 77
	if fullBytes[29] != 9 {
		t.Fatal("a decoded field shares memory with the input")
	}
}

func TestRefused(t *testing.T) {
	at := func(i int, v ...byte) []byte {
		return append(append(bytes.Clone(fullBytes[:i]), v...), fullBytes[i+len(v):]...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"empty":             {nil, ErrShort},
		"cut":               {fullBytes[:len(fullBytes)-1], ErrShort},
		"longer":            {append(bytes.Clone(fullBytes), 0), ErrTrailing},
		"bool of 2":         {at(23, 2), ErrBool},
		"byte string long":  {at(27, 0, 5), ErrLimit},
		"list over limit":   {at(34, 0, 0, 0, 4), ErrLimit},
		"list of 4 billion": {at(34, 0xFF, 0xFF, 0xFF, 0xFF), ErrLimit},
		"list not backed":   {at(34, 0, 0, 0, 3), ErrShort},
	} {
		if err := Unmarshal(c.in, &sample{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A count that the input does not back costs no memory, whatever the limit.
func TestHostileCount(t *testing.T) {
	in := []byte{0x7F, 0xFF, 0xFF, 0xFF}
	n := testing.AllocsPerRun(10, func() {
		c := &Codec{buf: in, reading: true}
		var v []uint64
		List(c, &v, 1<<31-1, 8, func(c *Codec, v *uint64) { U64(c, v) })
		if c.err == nil || cap(v) != 0 {
			t.Fatal("taken")
		}
	})
	if n > 10 {
		t.Fatalf("%v allocations", n)
	}
}

func TestMarshalOverLimit(t *testing.T) {
	for _, s := range []sample{{h: make([]byte, 5)}, {i: "12345"}, {j: make([]uint16, 4)}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was written", s)
				}
			}()
			Marshal(&s)
		}()
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(fullBytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sample
		if Unmarshal(b, &s) == nil && !bytes.Equal(Marshal(&s), b) {
			t.Fatalf("%x reads and is written otherwise", b)
		}
	})
}
