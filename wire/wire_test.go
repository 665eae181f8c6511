package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/internal/canon/canontest"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// messages makes an empty one of every message that is no section.
var messages = []func() canon.Record{
	func() canon.Record { return &Hello{} },
	func() canon.Record { return &HelloAnswer{} },
	func() canon.Record { return &Batch{} },
	func() canon.Record { return &Ack{} },
	func() canon.Record { return &Question{} },
	func() canon.Record { return &QuestionAnswer{} },
	func() canon.Record { return &LoadRequest{} },
	func() canon.Record { return &LoadAnswer{} },
	func() canon.Record { return &VoidQuestion{} },
	func() canon.Record { return &Agreement{} },
	func() canon.Record { return &AllowanceRequest{} },
	func() canon.Record { return &AllowanceAnswer{} },
	func() canon.Record { return &AccountQuestion{} },
	func() canon.Record { return &AccountAnswer{} },
	func() canon.Record { return &Sealed{} },
	func() canon.Record { return &BillQuestion{} },
	func() canon.Record { return &ClaimQuestion{} },
	func() canon.Record { return &ClaimAnswer{} },
	func() canon.Record { return &CollectQuestion{} },
	func() canon.Record { return &CardQuestion{} },
}

var kinds = []SectionKind{SectionHotlist, SectionLimits, SectionRanges, SectionAccounts, SectionItems, SectionFloat}

// only keeps of a section what its kind carries.
func only(k SectionKind, s Section) *Section {
	out := &Section{Kind: k, Version: s.Version, Terminal: s.Terminal, Issued: s.Issued}
	switch k {
	case SectionHotlist:
		for i, n := range s.Hotlist {
			n[0] = byte(i) // ascending
			out.Hotlist = append(out.Hotlist, n)
		}
	case SectionLimits:
		out.Limits = s.Limits
	case SectionRanges:
		out.Ranges = s.Ranges
	case SectionAccounts:
		out.Accounts = s.Accounts
	case SectionItems:
		out.Items = s.Items
	case SectionFloat:
		out.Float = s.Float
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, fresh := range messages {
		t.Run(fmt.Sprintf("%T", fresh())[6:], rapid.MakeCheck(func(t *rapid.T) {
			m := fresh()
			canontest.Random(t, m)
			canontest.RoundTrip(t, m, fresh())
		}))
	}
	for _, k := range kinds {
		t.Run(fmt.Sprintf("Section%d", k), rapid.MakeCheck(func(t *rapid.T) {
			var s Section
			canontest.Random(t, &s)
			canontest.RoundTrip(t, only(k, s), &Section{})
		}))
	}
}

// Terminals in shops are replaced slowly: a change of layout must show here.
func TestGolden(t *testing.T) {
	var lines []string
	line := func(m canon.Record) { lines = append(lines, fmt.Sprintf("%T %x\n", m, Marshal(m))) }
	for _, fresh := range messages {
		m := fresh()
		canontest.Counted(m)
		line(m)
	}
	for _, k := range kinds {
		var s Section
		canontest.Counted(&s)
		line(only(k, s))
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
		t.Errorf("%d bytes of golden messages, want %d", len(got), len(want))
	}
}

var terminal = money.TerminalID{5: 9}

func batch(key ed25519.PrivateKey) Batch {
	b := Batch{Terminal: terminal, Epoch: 1, From: 4, Prev: journal.Hash{1}}
	b.Head = b.Prev
	for i := range uint64(3) {
		e := journal.Entry{Name: journal.Name{Terminal: terminal, Epoch: 1, Seq: 4 + i}, Body: &journal.ShiftOpen{Number: 1}}.Bytes()
		b.Entries, b.Head = append(b.Entries, e), journal.Link(b.Head, e)
	}
	b.Signature = b.End().Sign(key)
	return b
}

func TestBatchVerify(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := key.Public().(ed25519.PublicKey)
	good := batch(key)
	if err := good.Verify(pub); err != nil {
		t.Fatal(err)
	}
	if h := good.End(); h.Seq != 6 || h.Hash != good.Head || h.Terminal != terminal {
		t.Fatalf("%+v", h)
	}
	for what, c := range map[string]struct {
		alter func(b *Batch)
		want  error
	}{
		"empty":        {func(b *Batch) { b.Entries = nil }, ErrMessage},
		"from 0":       {func(b *Batch) { b.From = 0 }, ErrMessage},
		"from wraps":   {func(b *Batch) { b.From = 1<<64 - 2 }, ErrMessage},
		"from shifted": {func(b *Batch) { b.From++ }, journal.ErrSignature},
		"terminal":     {func(b *Batch) { b.Terminal[0]++ }, journal.ErrSignature},
		"epoch":        {func(b *Batch) { b.Epoch++ }, journal.ErrSignature},
		"prev":         {func(b *Batch) { b.Prev[0]++ }, journal.ErrChain},
		"head":         {func(b *Batch) { b.Head[0]++ }, journal.ErrChain},
		"order":        {func(b *Batch) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, journal.ErrChain},
		"one left out": {func(b *Batch) { b.Entries = b.Entries[1:] }, journal.ErrChain},
		"signature":    {func(b *Batch) { b.Signature[0]++ }, journal.ErrSignature},
		"forged head": {func(b *Batch) {
			b.Entries = b.Entries[:2]
			b.Head = journal.Link(journal.Link(b.Prev, b.Entries[0]), b.Entries[1])
		}, journal.ErrSignature},
		"another's entire": {func(b *Batch) { *b = batch(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))) }, journal.ErrSignature},
	} {
		b := batch(key)
		c.alter(&b)
		if err := b.Verify(pub); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// One bit altered anywhere on the way is noticed: the batch is not the one
// signed, or is no batch.
func TestBatchEveryBit(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	good := batch(key)
	raw := Marshal(&good)
	for i := range len(raw) * 8 {
		b := bytes.Clone(raw)
		b[i/8] ^= 1 << (i % 8)
		var m Batch
		if Unmarshal(b, &m) == nil && m.Verify(key.Public().(ed25519.PublicKey)) == nil {
			t.Fatalf("bit %d of byte %d", i%8, i/8)
		}
	}
}

func TestSeal(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := key.Public().(ed25519.PublicKey)
	ack := Ack{Terminal: terminal, Epoch: 1, Through: 9, Verdicts: []Verdict{{7, VerdictHeld, "bad_tac"}}}
	raw := Seal("ack", &ack, key)
	var got Ack
	if err := Unseal(raw, "ack", pub, &got); err != nil || !reflect.DeepEqual(got, ack) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := Unseal(raw, "load", pub, &got); !errors.Is(err, ErrMessage) {
		t.Errorf("another kind of answer: %v", err)
	}
	if err := Unseal(raw, "ack", pub, &LoadAnswer{}); !errors.Is(err, ErrMessage) {
		t.Errorf("another message: %v", err)
	}
	if err := Unseal(raw, "ack", nil, &got); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: %v", err)
	}
	// The same bytes under another name are not what was signed.
	var s Sealed
	if err := Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	s.What = "load"
	if err := Unseal(Marshal(&s), "load", pub, &got); !errors.Is(err, ErrSignature) {
		t.Errorf("renamed: %v", err)
	}
	for i := range len(raw) * 8 {
		b := bytes.Clone(raw)
		b[i/8] ^= 1 << (i % 8)
		err := Unseal(b, "ack", pub, &Ack{})
		if !errors.Is(err, ErrSignature) && !errors.Is(err, ErrMessage) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
}

func TestHotlist(t *testing.T) {
	h := Hotlist{{9: 1}, {9: 5}, {0: 1}}
	for n, want := range map[money.CardNumber]bool{{9: 1}: true, {9: 5}: true, {0: 1}: true, {}: false, {9: 2}: false, {0: 2}: false} {
		if h.Has(n) != want {
			t.Errorf("%s: %v", n, !want)
		}
	}
	if (Hotlist)(nil).Has(money.CardNumber{9: 1}) {
		t.Error("an empty list has a card")
	}
	// Has would miss cards of a list in another order.
	for _, h := range []Hotlist{{{9: 5}, {9: 1}}, {{9: 1}, {9: 1}}} {
		b := Marshal(&Section{Kind: SectionHotlist, Hotlist: h})
		if err := Unmarshal(b, &Section{}); !errors.Is(err, ErrMessage) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

func TestRange(t *testing.T) {
	r := Range{From: money.CardNumber{9: 3}, To: money.CardNumber{9: 5}}
	for n, want := range map[byte]bool{2: false, 3: true, 4: true, 5: true, 6: false} {
		if r.Has(money.CardNumber{9: n}) != want {
			t.Errorf("%d: %v", n, !want)
		}
	}
}

func TestUnknownSection(t *testing.T) {
	b := make([]byte, 64)
	b[0] = 99
	if err := Unmarshal(b, &Section{}); !errors.Is(err, ErrMessage) {
		t.Fatal(err)
	}
}

// Counts and lengths of 4 billion, and the largest allowed ones, over a short
// message: refused, and no memory is taken on their word.
func TestHostileCounts(t *testing.T) {
	var inputs []func() (canon.Record, []byte)
	for _, fresh := range messages {
		m := fresh()
		canontest.Counted(m)
		raw := Marshal(m)
		for i := 0; i+4 <= len(raw); i++ {
			for _, n := range []uint32{0xFFFFFFFF, 0x7FFFFFFF, MaxSection, MaxHotlist, 1000} {
				b := bytes.Clone(raw)
				binary.BigEndian.PutUint32(b[i:], n)
				inputs = append(inputs, func() (canon.Record, []byte) { return fresh(), b })
			}
		}
	}
	for _, k := range kinds {
		for _, n := range []uint32{0xFFFFFFFF, MaxHotlist, MaxAccounts, MaxRanges} {
			b := binary.BigEndian.AppendUint32(Marshal(only(k, Section{}))[:23], n)
			inputs = append(inputs, func() (canon.Record, []byte) { return &Section{}, append(b, make([]byte, 100)...) })
		}
	}
	const together = 32 // reading the statistics stops the world
	for len(inputs) > 0 {
		n := min(together, len(inputs))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, in := range inputs[:n] {
			r, b := in()
			_ = Unmarshal(b, r)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > together*16<<10 {
			r, _ := inputs[0]()
			t.Fatalf("%d hostile messages about %T take %d bytes of memory", n, r, got)
		}
		inputs = inputs[n:]
	}
}

func TestDefaultLimitsFit(t *testing.T) {
	s := &Section{Kind: SectionLimits, Version: 1, Limits: DefaultLimits()}
	canontest.RoundTrip(t, s, &Section{})
}

func fuzz(f *testing.F, fresh func() canon.Record, seeds ...canon.Record) {
	for _, m := range seeds {
		f.Add(Marshal(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fresh()
		if err := Unmarshal(b, m); err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(Marshal(m), b) {
			t.Fatalf("%x reads and is written otherwise", b)
		}
	})
}

func seed(fresh func() canon.Record) canon.Record {
	m := fresh()
	canontest.Counted(m)
	return m
}

func FuzzHello(f *testing.F)            { fuzz(f, messages[0], seed(messages[0])) }
func FuzzHelloAnswer(f *testing.F)      { fuzz(f, messages[1], seed(messages[1])) }
func FuzzBatch(f *testing.F)            { fuzz(f, messages[2], seed(messages[2])) }
func FuzzAck(f *testing.F)              { fuzz(f, messages[3], seed(messages[3])) }
func FuzzQuestion(f *testing.F)         { fuzz(f, messages[4], seed(messages[4])) }
func FuzzQuestionAnswer(f *testing.F)   { fuzz(f, messages[5], seed(messages[5])) }
func FuzzLoadRequest(f *testing.F)      { fuzz(f, messages[6], seed(messages[6])) }
func FuzzLoadAnswer(f *testing.F)       { fuzz(f, messages[7], seed(messages[7])) }
func FuzzVoidQuestion(f *testing.F)     { fuzz(f, messages[8], seed(messages[8])) }
func FuzzAgreement(f *testing.F)        { fuzz(f, messages[9], seed(messages[9])) }
func FuzzAllowanceRequest(f *testing.F) { fuzz(f, messages[10], seed(messages[10])) }
func FuzzAllowanceAnswer(f *testing.F)  { fuzz(f, messages[11], seed(messages[11])) }
func FuzzAccountQuestion(f *testing.F)  { fuzz(f, messages[12], seed(messages[12])) }
func FuzzAccountAnswer(f *testing.F)    { fuzz(f, messages[13], seed(messages[13])) }
func FuzzSealed(f *testing.F)           { fuzz(f, messages[14], seed(messages[14])) }
func FuzzBillQuestion(f *testing.F)     { fuzz(f, messages[15], seed(messages[15])) }
func FuzzClaimQuestion(f *testing.F)    { fuzz(f, messages[16], seed(messages[16])) }
func FuzzClaimAnswer(f *testing.F)      { fuzz(f, messages[17], seed(messages[17])) }
func FuzzCollectQuestion(f *testing.F)  { fuzz(f, messages[18], seed(messages[18])) }
func FuzzCardQuestion(f *testing.F)     { fuzz(f, messages[19], seed(messages[19])) }

func FuzzSection(f *testing.F) {
	var seeds []canon.Record
	for _, k := range kinds {
		var s Section
		canontest.Counted(&s)
		seeds = append(seeds, only(k, s))
	}
	fuzz(f, func() canon.Record { return &Section{} }, seeds...)
}
