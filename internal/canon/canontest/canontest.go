// Package canontest fills records for tests of canonical bytes: with random
// values for properties, with counted ones for golden bytes. Tests only.
package canontest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/canon"
)

// Random fills every exported field that v points to. Byte strings stay
// within 30 bytes and lists within 4 items, so that no limit is met.
func Random(t *rapid.T, v any) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	fill(reflect.ValueOf(v).Elem(), func(bits int) uint64 {
		switch r.IntN(8) {
		case 0:
			return 0
		case 1:
			return math.MaxUint64
		}
		return r.Uint64()
	}, func(max int) int { return r.IntN(max + 1) })
}

// Counted fills every exported field that v points to with bytes 1, 2, 3, …
// so that each byte of the encoding tells where it came from.
func Counted(v any) {
	n := uint64(0)
	fill(reflect.ValueOf(v).Elem(), func(bits int) (u uint64) {
		for i := 0; i < bits; i += 8 {
			n++
			u = u<<8 | n&0x7F
		}
		return u
	}, func(max int) int { return min(max, 2) })
}

func fill(v reflect.Value, next func(bits int) uint64, length func(max int) int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(next(8)&1 == 1)
	case reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8, reflect.Int:
		v.SetInt(int64(next(v.Type().Bits())))
	case reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8, reflect.Uint:
		v.SetUint(next(v.Type().Bits()) & (1<<(v.Type().Bits()-1)<<1 - 1))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), next, length)
		}
	case reflect.String:
		b := make([]byte, length(30))
		for i := range b {
			b[i] = 'a' + byte(next(8))%26
		}
		v.SetString(string(b))
	case reflect.Slice:
		max := 4
		if v.Type().Elem().Kind() == reflect.Uint8 {
			max = 30
		}
		n := length(max)
		v.SetZero() // an empty list is nil, as a decoder makes it
		if n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range n {
			fill(v.Index(i), next, length)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), next, length)
			}
		}
	case reflect.Interface, reflect.Pointer:
		// the caller's own
	default:
		panic(fmt.Sprintf("canontest: no way to fill a %s", v.Kind()))
	}
}

// RoundTrip fails unless the bytes of r give r back, and no shorter or longer
// bytes are taken. fresh makes an empty record of the same type.
func RoundTrip(t rapid.TB, r, fresh canon.Record) {
	t.Helper()
	b := canon.Marshal(r)
	if err := canon.Unmarshal(b, fresh); err != nil {
		t.Fatalf("%T: its own bytes are refused: %v", r, err)
	}
	if !reflect.DeepEqual(r, fresh) {
		t.Fatalf("%T: got %+v, want %+v", r, fresh, r)
	}
	again := reflect.New(reflect.TypeOf(r).Elem()).Interface().(canon.Record)
	if err := canon.Unmarshal(append(b, 0), again); err == nil {
		t.Fatalf("%T: a byte too many is taken", r)
	}
	if len(b) > 0 {
		again = reflect.New(reflect.TypeOf(r).Elem()).Interface().(canon.Record)
		if err := canon.Unmarshal(b[:len(b)-1], again); err == nil {
			t.Fatalf("%T: a byte too few is taken", r)
		}
	}
}
