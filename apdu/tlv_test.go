package apdu

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The answer to SELECT of an issued card and the DIR record, traces t05, t10.
func TestTLVOfRealCards(t *testing.T) {
	fci, err := ParseTLV(unhex(t, "6F328409A00000000386980701A5259F0801029F0C1E11112222333300060301000619980817000000301998081519981215 5566"+"0000"))
	if err != nil {
		t.Fatal(err)
	}
	if aid, ok := FindTLV(fci, 0x6F, 0x84); !ok || !bytes.Equal(aid.Value, unhex(t, "A00000000386980701")) {
		t.Errorf("AID %X %v", aid.Value, ok)
	}
	info, ok := FindTLV(fci, 0x6F, 0xA5, 0x9F0C)
	if !ok || len(info.Value) != 30 || info.Value[28] != 0x55 {
		t.Errorf("issuer data %X %v", info.Value, ok)
	}
	if _, ok := FindTLV(fci, 0x6F, 0x9F0C); ok {
		t.Error("found an object on a wrong path")
	}
	dir, err := ParseTLV(unhex(t, "61114F09A00000000386980701500450424F43"))
	if err != nil {
		t.Fatal(err)
	}
	if label, _ := FindTLV(dir, 0x61, 0x50); string(label.Value) != "PBOC" {
		t.Errorf("label %q", label.Value)
	}
}

func TestFindTLVTriesEveryBranch(t *testing.T) {
	list, err := ParseTLV(unhex(t, "6F03840101 6F05A5035F2000"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := FindTLV(list, 0x6F, 0xA5, 0x5F20); !ok {
		t.Error("second 6F not searched")
	}
}

func TestParseTLVRefuses(t *testing.T) {
	deep := bytes.Repeat([]byte{0x30, 0x80}, 10000)
	nested := []byte{}
	for range 60 {
		nested = append([]byte{0x30, byte(len(nested))}, nested...)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"length past the end", unhex(t, "840501"), ErrTLVTruncated},
		{"no length", unhex(t, "84"), ErrTLVTruncated},
		{"indefinite", unhex(t, "3080 0000"), ErrTLVIndefinite},
		{"four gigabytes", unhex(t, "0484FFFFFFFF"), ErrTLVTruncated},
		{"negative length", unhex(t, "048480000000"), ErrTLVTruncated},
		{"length of five bytes", unhex(t, "04850000000001 00"), ErrTLVIndefinite},
		{"length of 127 bytes", unhex(t, "04FF"), ErrTLVIndefinite},
		{"length byte missing", unhex(t, "3081"), ErrTLVTruncated},
		{"three length bytes missing", unhex(t, "308401"), ErrTLVTruncated},
		{"long tag of zero", unhex(t, "1F8000"), ErrTLVTag},
		{"tag of four bytes", unhex(t, "1F81818101 00"), ErrTLVTag},
		{"tag cut", unhex(t, "9F"), ErrTLVTruncated},
		{"asn1-ber 41", unhex(t, "09028530"), nil},
		{"asn1-ber 41b", unhex(t, "0901CF"), nil},
		{"deep, indefinite", deep, ErrTLVIndefinite},
		{"deep", nested, ErrTLVDepth},
		{"inner too long", unhex(t, "6F03840501"), ErrTLVTruncated},
	} {
		if _, err := ParseTLV(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// No memory is taken on the word of a length.
func TestFourGigabytes(t *testing.T) {
	in := unhex(t, "84 84 FFFFFFFF")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := ParseTLV(in); !errors.Is(err, ErrTLVTruncated) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("a hundred refusals took %d bytes", got)
	}
}

func TestParseTLVAccepts(t *testing.T) {
	for _, c := range []struct {
		name, in, canonical string
	}{
		{"empty", "", ""},
		{"padding around and inside", "00 84 01 05 FF 6F 05 00 84 01 07 FF 00", "840105 6F03840107"},
		{"long length", "84 82 00 01 09", "840109"},
		{"duplicates", "840101 840102", "840101 840102"},
		{"empty value", "8400", "8400"},
		{"empty constructed", "6F00", "6F00"},
		{"long tag for a small number", "9F0C00", "9F0C00"},
		{"tag of three bytes", "9F8101 01 05", "9F8101 01 05"},
	} {
		list, err := ParseTLV(unhex(t, c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		out, err := EncodeTLV(list...)
		if err != nil || !bytes.Equal(out, unhex(t, c.canonical)) {
			t.Errorf("%s: %X %v", c.name, out, err)
		}
	}
}

func TestEncodeTLVRefuses(t *testing.T) {
	for _, tag := range []uint32{0, 0xFF, 0x1F, 0x9F80, 0x9F8181, 0x01020304, 0x6F01} {
		if _, err := EncodeTLV(TLV{Tag: tag}); !errors.Is(err, ErrTLVTag) {
			t.Errorf("tag %X: %v", tag, err)
		}
	}
	if _, err := EncodeTLV(TLV{Tag: 0x84, Children: []TLV{}}); !errors.Is(err, ErrTLVTag) {
		t.Errorf("primitive with children: %v", err)
	}
}

func TestTLVRoundTrip(t *testing.T) {
	tags := rapid.SampledFrom([]uint32{0x84, 0x50, 0x9F0C, 0x9F08, 0x5F20, 0x9F8101})
	var object func(depth int) *rapid.Generator[TLV]
	object = func(depth int) *rapid.Generator[TLV] {
		return rapid.Custom(func(t *rapid.T) TLV {
			if depth < 4 && rapid.Bool().Draw(t, "constructed") {
				kids := rapid.SliceOfN(object(depth+1), 0, 3).Draw(t, "children")
				value, err := EncodeTLV(kids...)
				if err != nil {
					t.Fatal(err)
				}
				return TLV{Tag: 0x6F, Value: append([]byte{}, value...), Children: append([]TLV{}, kids...)}
			}
			n := rapid.SampledFrom([]int{0, 1, 5, 127, 128, 255, 256, 300}).Draw(t, "length")
			return TLV{Tag: tags.Draw(t, "tag"), Value: bytes.Repeat([]byte{0xAA}, n)}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(object(0), 1, 4).Draw(t, "objects")
		b, err := EncodeTLV(list...)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseTLV(b)
		if err != nil || !reflect.DeepEqual(back, list) {
			t.Fatalf("%X: %v\n%#v\n%#v", b, err, back, list)
		}
	})
}

func FuzzParseTLV(f *testing.F) {
	for _, s := range []string{"", "00", "FF", "80", "0484FFFFFFFF", "1F80", "1F05", "3081", "308401", "09028530", "0901CF", "30803080", "6F0A8408A000000003869807", "9F0C1E", "9F810100"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseTLV(b)
		if err != nil {
			return
		}
		out, err := EncodeTLV(list...)
		if err != nil || len(out) > len(b) {
			t.Fatalf("%X gives %X: %v", b, out, err)
		}
		again, err := ParseTLV(out)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := EncodeTLV(again...); err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%X and %X: %v", out, twice, err)
		}
	})
}
