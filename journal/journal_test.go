package journal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/canon/canontest"
	"github.com/dianka/dianka/money"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

var types = []Type{
	TypeStart, TypeShiftOpen, TypeShiftClose, TypePurchaseIntent, TypePurchaseOutcome,
	TypeLoadIntent, TypeLoadAuthorised, TypeLoadOutcome, TypeCashReturned, TypeCardSale,
	TypeVoidRequest, TypeVoidAnswer, TypeSAMReport, TypeObservation, TypePSAMSequence, TypeStaff,
	TypeShiftTally, TypeShiftDifference, TypeStockReceipt, TypeStockCount,
	TypeBillIntent, TypeBillOutcome, TypeClaimIntent, TypeClaimOutcome, TypeCardRequest, TypeCardAnswer,
}

func TestTypesListed(t *testing.T) {
	n := 0
	for i := 0; i <= 0xFFFF; i++ {
		if b := newBody(Type(i)); b != nil {
			n++
			if b.Type() != Type(i) {
				t.Errorf("type %d makes a body of type %d", i, b.Type())
			}
		}
	}
	if n != len(types) {
		t.Fatalf("%d types exist, the tests know %d", n, len(types))
	}
}

func TestRoundTrip(t *testing.T) {
	for _, typ := range types {
		t.Run(fmt.Sprintf("%T", newBody(typ))[9:], rapid.MakeCheck(func(t *rapid.T) {
			body := newBody(typ)
			canontest.Random(t, body)
			canontest.RoundTrip(t, body, newBody(typ))
			e := Entry{Body: body}
			canontest.Random(t, &e)
			canontest.RoundTrip(t, &e, &Entry{})
			if got, err := Parse(e.Bytes()); err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("%+v, %v", got, err)
			}
		}))
	}
}

// The bytes of an entry are signed and kept for years: a change of layout
// must show here, and needs a new format version.
func TestGolden(t *testing.T) {
	var lines []string
	for _, typ := range types {
		body := newBody(typ)
		canontest.Counted(body)
		e := Entry{Body: body}
		canontest.Counted(&e)
		h := Link(Genesis(e.Name.Terminal, e.Name.Epoch), e.Bytes())
		lines = append(lines, fmt.Sprintf("%d %T %x %s\n", typ, body, e.Bytes(), h))
	}
	got := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile("testdata/golden.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range strings.SplitAfter(string(want), "\n") {
		if i < len(lines) && lines[i] != w {
			t.Errorf("got  %swant %s", lines[i], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d bytes of golden entries, want %d", len(got), len(want))
	}
}

func TestUnknownTypeIsKept(t *testing.T) {
	e := Entry{Name: name(1), Body: &Unrecognised{Kind: 999, Bytes: []byte{1, 2, 3}}}
	b := e.Bytes()
	got, err := Parse(b)
	if err != nil || got.Body.Type() != 999 || !bytes.Equal(got.Bytes(), b) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := Entry{Name: name(1), Body: &ShiftOpen{Number: 1}}.Bytes()
	if len(good) != headerLen+12 {
		t.Fatalf("the header takes %d bytes", len(good)-12)
	}
	at := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	for what, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":          {nil, ErrEntry},
		"version":          {at(0, 2), ErrVersion},
		"suite":            {at(1, 2), ErrVersion},
		"other type":       {at(3, byte(TypeShiftClose)), ErrEntry},
		"body length":      {at(headerLen-1, 11), ErrEntry},
		"body over 4096":   {at(headerLen-2, 0xFF), ErrEntry},
		"trailing":         {append(bytes.Clone(good), 0), ErrEntry},
		"body has trailer": {Entry{Name: name(1), Body: &Unrecognised{Kind: TypeShiftOpen, Bytes: make([]byte, 13)}}.Bytes(), ErrEntry},
	} {
		if _, err := Parse(c.b); !errors.Is(err, c.want) || !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

var terminal = money.TerminalID{0x31, 1, 0, 0, 0x12, 0x34}

func name(seq uint64) Name { return Name{terminal, 1, seq} }

func TestName(t *testing.T) {
	if s := name(42).String(); s != "310100001234-1-42" {
		t.Fatal(s)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := Name{Epoch: rapid.Uint32Min(1).Draw(t, "epoch"), Seq: rapid.Uint64Range(1, 1<<63-1).Draw(t, "seq")}
		copy(n.Terminal[:], rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "terminal"))
		if n.Terminal.IsZero() {
			return
		}
		var back Name
		b, _ := n.MarshalText()
		if err := back.UnmarshalText(b); err != nil || back != n {
			t.Fatalf("%s: %v, %v", n, back, err)
		}
	})
	for _, s := range []string{"", "310100001234-1", "310100001234-0-1", "310100001234-1-0", "310100001234-1-x", "31010000123-1-1", "000000000000-1-1", "310100001234-1-1-1", "310100001234--1", "310100001234-4294967296-1", "310100001234-1-9223372036854775808"} {
		if _, err := ParseName(s); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// One bit altered anywhere in any entry alters every hash after it.
func TestChain(t *testing.T) {
	if Genesis(terminal, 1) == Genesis(terminal, 2) || Genesis(terminal, 1) == Genesis(money.TerminalID{1}, 1) {
		t.Fatal("two chains begin alike")
	}
	h := func(es ...[]byte) Hash {
		h := Genesis(terminal, 1)
		for _, e := range es {
			h = Link(h, e)
		}
		return h
	}
	a, b := Entry{Name: name(1), Body: &ShiftOpen{Number: 1}}.Bytes(), Entry{Name: name(2), Body: &ShiftOpen{Number: 2}}.Bytes()
	want := h(a, b)
	for i := range len(a) * 8 {
		x := bytes.Clone(a)
		x[i/8] ^= 1 << (i % 8)
		if h(x, b) == want {
			t.Fatalf("bit %d", i)
		}
	}
	if h(b, a) == want || h(a) == want || h(a, b, b) == want {
		t.Fatal("order or number of entries does not count")
	}
}

func TestHeadSignature(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := key.Public().(ed25519.PublicKey)
	head := Head{terminal, 1, 7, Hash{1}}
	sig := head.Sign(key)
	if err := head.Verify(pub, sig); err != nil {
		t.Fatal(err)
	}
	bad := sig
	bad[0] ^= 1
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public().(ed25519.PublicKey)
	for what, err := range map[string]error{
		"terminal":  Head{money.TerminalID{9}, 1, 7, Hash{1}}.Verify(pub, sig),
		"epoch":     Head{terminal, 2, 7, Hash{1}}.Verify(pub, sig),
		"sequence":  Head{terminal, 1, 8, Hash{1}}.Verify(pub, sig),
		"hash":      Head{terminal, 1, 7, Hash{2}}.Verify(pub, sig),
		"signature": head.Verify(pub, bad),
		"key":       head.Verify(other, sig),
		"no key":    head.Verify(nil, sig),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

func TestToken(t *testing.T) {
	if TokenOf("a") == TokenOf("b") || TokenOf("") == (Token{}) || TokenOf("a") != TokenOf("a") {
		t.Fatal("tokens")
	}
}

func FuzzParse(f *testing.F) {
	for _, typ := range types {
		body := newBody(typ)
		canontest.Counted(body)
		f.Add(Entry{Name: name(1), Body: body}.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(e.Bytes(), b) {
			t.Fatalf("%s reads and is written as %s", hex.EncodeToString(b), hex.EncodeToString(e.Bytes()))
		}
	})
}
