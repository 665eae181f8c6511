package t1

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are what real cards and readers say; their checks were computed
// by hand.
func TestBlockBytes(t *testing.T) {
	for _, c := range []struct {
		hex string
		crc bool
		b   Block
	}{
		{"00 C1 01 FE 3E", false, Block{Kind: S, Function: IFS, INF: []byte{0xFE}}},
		{"00 E1 01 FE 1E", false, Block{Kind: S, Function: IFS, Response: true, INF: []byte{0xFE}}},
		{"00 C0 00 C0", false, Block{Kind: S, Function: Resynch}},
		{"00 E0 00 E0", false, Block{Kind: S, Function: Resynch, Response: true}},
		{"00 C2 00 C2", false, Block{Kind: S, Function: Abort}},
		{"00 C3 01 05 C7", false, Block{Kind: S, Function: WTX, INF: []byte{5}}},
		{"00 E3 01 05 E7", false, Block{Kind: S, Function: WTX, Response: true, INF: []byte{5}}},
		{"00 80 00 80", false, Block{Kind: R}},
		{"00 90 00 90", false, Block{Kind: R, Seq: 1}},
		{"00 81 00 81", false, Block{Kind: R, Cause: CheckError}},
		{"00 92 00 92", false, Block{Kind: R, Seq: 1, Cause: OtherError}},
		{"00 00 05 00 84 00 00 08 89", false, Block{Kind: I, INF: []byte{0, 0x84, 0, 0, 8}}},
		{"00 40 02 90 00 D2", false, Block{Kind: I, Seq: 1, INF: []byte{0x90, 0}}},
		{"00 60 00 60", false, Block{Kind: I, Seq: 1, More: true}},
	} {
		raw := unhex(t, c.hex)
		if got := Append(nil, c.b, c.crc); !bytes.Equal(got, raw) {
			t.Errorf("%+v: %X, want %X", c.b, got, raw)
		}
		if got, err := Parse(raw, c.crc); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", Block{c.b.Kind, c.b.Seq, c.b.More, c.b.Cause, c.b.Function, c.b.Response, append([]byte{}, c.b.INF...)}) {
			t.Errorf("%X: %+v, %v; want %+v", raw, got, err, c.b)
		}
		with := Append(nil, c.b, true)
		if _, err := Parse(with, true); err != nil {
			t.Errorf("%X with CRC: %v", with, err)
		}
		for i := range with {
			with[i] ^= 0x10
			if _, err := Parse(with, true); err == nil {
				t.Errorf("%X passes", with)
			}
			with[i] ^= 0x10
		}
	}
	// The check value of this CRC that its catalogues give.
	if got := checkCRC([]byte("123456789")); got != 0x6F91 {
		t.Errorf("CRC %04X", got)
	}
	for s, want := range map[string]error{
		"":                  ErrShape,
		"00 80 00":          ErrShape,
		"00 80 00 81":       ErrCheck,
		"01 80 00 81":       ErrShape, // another node
		"00 80 01 00 81":    ErrShape, // R with information
		"00 83 00 83":       ErrShape, // reserved cause
		"00 A0 00 A0":       ErrShape,
		"00 01 00 01":       ErrShape, // reserved bits of I
		"00 00 02 00 02":    ErrShape, // LEN does not fit
		"00 C1 01 FF 3F":    ErrShape, // reserved size
		"00 C1 01 00 C0":    ErrShape,
		"00 C3 00 C3":       ErrShape, // no multiplier
		"00 C3 01 00 C2":    ErrShape,
		"00 C0 01 00 C1":    ErrShape,
		"00 C4 00 C4":       ErrShape, // error of VPP, obsolete
		"00 40 02 90 00 D3": ErrCheck,
	} {
		if _, err := Parse(unhex(t, s), false); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", s, err, want)
		}
	}
}

// play is a card that follows a script and holds the terminal's side to it.
// A step is "block > block": what must be sent, and what comes back.
// Blocks: I(N(S),M) with the information behind it in hex, R(N(R)) or
// R(N(R),cause), S(name request|response value). What comes back may be "!"
// before a block, which damages it, "-" for silence, or "x" for the end of
// the card.
type play struct {
	*testing.T
	steps []string
	waits []int
}

var errGone = errors.New("gone")

func (p *play) Block(_ context.Context, block, answer []byte, wait int) (int, error) {
	p.waits = append(p.waits, wait)
	if len(p.steps) == 0 {
		p.Errorf("sent %s after the end", show(block))
		return 0, errGone
	}
	want, back, _ := strings.Cut(p.steps[0], ">")
	p.steps = p.steps[1:]
	want, back = strings.TrimSpace(want), strings.TrimSpace(back)
	if raw := Append(nil, parse(p, want), false); !bytes.Equal(raw, block) {
		p.Errorf("sent %s, want %s", show(block), want)
		return 0, errGone
	}
	switch back {
	case "-":
		return 0, ErrSilence
	case "x":
		return 0, errGone
	case "c":
		return 0, ErrCorrupt
	}
	clean := strings.TrimPrefix(back, "!")
	n := copy(answer, Append(nil, parse(p, clean), false))
	if clean != back {
		answer[n-1] ^= 0x55
	}
	return n, nil
}

var functions = map[string]byte{"RESYNCH": Resynch, "IFS": IFS, "ABORT": Abort, "WTX": WTX}

func parse(t testing.TB, s string) (b Block) {
	t.Helper()
	head, inf, _ := strings.Cut(s, ")")
	kind, args, _ := strings.Cut(head, "(")
	b.INF = unhex(t, inf)
	switch kind {
	case "I":
		n, m, _ := strings.Cut(args, ",")
		b.Kind, b.Seq, b.More = I, n[0]-'0', m == "1"
	case "R":
		n, cause, _ := strings.Cut(args, ",")
		b.Kind, b.Seq = R, n[0]-'0'
		if cause != "" {
			b.Cause = cause[0] - '0'
		}
	case "S":
		f := strings.Fields(args)
		b.Kind, b.Function, b.Response = S, functions[f[0]], f[1] == "response"
		if len(f) > 2 {
			v, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatal(err)
			}
			b.INF = []byte{byte(v)}
		}
	default:
		t.Fatalf("no block: %q", s)
	}
	return b
}

func show(raw []byte) string {
	b, err := Parse(raw, false)
	if err != nil {
		return fmt.Sprintf("%X (%v)", raw, err)
	}
	return fmt.Sprintf("%X %+v", raw, b)
}

const (
	ifs = "S(IFS request 254) > S(IFS response 254)"
	six = "010203040506" // with a card of IFSC 4: two blocks
)

// The scenarios of ISO/IEC 7816-3 annex A, and what the rules of clause
// 11.6.3.2 say beyond them.
func TestScenarios(t *testing.T) {
	type result struct {
		answer   string
		err      error
		executed bool
	}
	for _, c := range []struct {
		name  string
		steps []string
		want  result
		next  []string // a second exchange, which must give 9000; nil: it must fail
		stats Stats
	}{
		{"one block each way", []string{ifs, "I(0,0)01020304 > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{}},
		{"more time", []string{ifs, "I(0,0)01020304 > S(WTX request 5)", "S(WTX response 5) > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{Waits: 1}},
		{"the card's size changes", []string{ifs, "I(0,0)01020304 > S(IFS request 2)", "S(IFS response 2) > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,1)0102 > R(0)", "I(0,0)0304 > I(1,0)9000"}, Stats{}},
		{"the size changes within a chain", []string{ifs, "I(0,1)01020304 > S(IFS request 1)", "S(IFS response 1) > R(1)", "I(1,1)05 > R(0)", "I(0,0)06 > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{}},
		{"a chain to the card", []string{ifs, "I(0,1)01020304 > R(1)", "I(1,0)0506 > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(0,0)01020304 > I(1,0)9000"}, Stats{}},
		{"a chain from the card", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > I(1,1)BB", "R(0) > I(0,0)9000"}, result{answer: "AABB9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{}},
		{"chains both ways", []string{ifs, "I(0,1)01020304 > R(1)", "I(1,0)0506 > I(0,1)AA", "R(1) > I(1,0)9000"}, result{answer: "AA9000"},
			[]string{"I(0,0)01020304 > I(0,0)9000"}, Stats{}},
		{"more time within a chain from the card", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > S(WTX request 2)", "S(WTX response 2) > I(1,0)9000"}, result{answer: "AA9000"},
			nil, Stats{Waits: 1}},

		{"the card got it damaged", []string{ifs, "I(0,0)01020304 > R(0,1)", "I(0,0)01020304 > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{Repeats: 1}},
		{"the answer is damaged", []string{ifs, "I(0,0)01020304 > !I(0,0)9000", "R(0,1) > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{Repeats: 1}},
		{"the answer is lost", []string{ifs, "I(0,0)01020304 > -", "R(0,1) > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 1}},
		{"a parity error on the way", []string{ifs, "I(0,0)01020304 > c", "R(0,1) > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 1}},
		{"the command was lost, and the wish for the answer shows it", []string{ifs, "I(0,0)01020304 > -", "R(0,1) > R(0,1)", "I(0,0)01020304 > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(1,0)01020304 > I(1,0)9000"}, Stats{Repeats: 2}},
		{"an R-block is lost", []string{ifs, "I(0,0)01020304 > !I(0,0)9000", "R(0,1) > -", "R(0,1) > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 2}},
		{"our response is lost", []string{ifs, "I(0,0)01020304 > S(WTX request 2)", "S(WTX response 2) > -", "R(0,1) > S(WTX request 2)", "S(WTX response 2) > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 1, Waits: 2}},
		{"an acknowledgement is damaged", []string{ifs, "I(0,1)01020304 > !R(1)", "R(0,1) > R(1)", "I(1,0)0506 > I(0,0)9000"}, result{answer: "9000"},
			[]string{"I(0,0)01020304 > I(1,0)9000"}, Stats{Repeats: 1}},
		{"a piece is damaged", []string{ifs, "I(0,1)01020304 > R(1)", "I(1,0)0506 > R(1,1)", "I(1,0)0506 > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 1}},
		{"a piece is repeated as it was, whatever the size is now", []string{ifs, "I(0,1)01020304 > S(IFS request 1)", "S(IFS response 1) > R(0,1)", "I(0,1)01020304 > R(1)", "I(1,1)05 > R(0)", "I(0,0)06 > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 1}},
		{"our acknowledgement is damaged", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > R(1,1)", "R(1) > I(1,0)9000"}, result{answer: "AA9000"},
			[]string{"I(1,0)01020304 > I(0,0)9000"}, Stats{Repeats: 1}},
		{"a piece of the answer is damaged", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > !I(1,0)9000", "R(1) > I(1,0)9000"}, result{answer: "AA9000"},
			nil, Stats{Repeats: 1}},
		{"an old block comes again", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > I(0,1)AA", "R(1) > I(1,0)9000"}, result{answer: "AA9000"},
			nil, Stats{Repeats: 1}},
		{"an answer longer than agreed does not pass", []string{"S(IFS request 254) > R(0)", "S(IFS request 254) > R(0)", "S(IFS request 254) > R(0)",
			"I(0,0)01020304 > I(0,0)" + strings.Repeat("AA", 33), "R(0,2) > I(0,0)9000"}, result{answer: "9000"}, nil, Stats{Repeats: 3}},
		{"an answer before the whole command", []string{ifs, "I(0,1)01020304 > I(0,0)9000", "R(0,2) > R(1)", "I(1,0)0506 > I(0,0)9000"}, result{answer: "9000"}, nil, Stats{Repeats: 1}},

		{"nothing at all", []string{"S(IFS request 254) > -", "S(IFS request 254) > !S(IFS response 254)", "S(IFS request 254) > -"}, result{err: ErrMute},
			nil, Stats{Repeats: 2}},
		{"the size is agreed at the third attempt", []string{"S(IFS request 254) > -", "S(IFS request 254) > !S(IFS response 254)", ifs, "I(0,0)01020304 > I(0,0)9000"}, result{answer: "9000"},
			nil, Stats{Repeats: 2}},
		{"three losses, then the numbers anew", []string{ifs, "I(0,0)01020304 > -", "R(0,1) > -", "R(0,1) > -", "S(RESYNCH request) > S(RESYNCH response)"}, result{err: ErrLost, executed: true},
			[]string{ifs, "I(0,0)01020304 > I(0,0)9000"}, Stats{Repeats: 2, Resynchs: 1}},
		{"lost before the last piece", []string{ifs, "I(0,1)01020304 > -", "R(0,1) > -", "R(0,1) > -", "S(RESYNCH request) > S(RESYNCH response)"}, result{err: ErrLost},
			[]string{ifs, "I(0,0)01020304 > I(0,0)9000"}, Stats{Repeats: 2, Resynchs: 1}},
		{"a card that refuses for ever", []string{ifs, "I(0,0)01020304 > R(0,1)", "I(0,0)01020304 > R(0,1)", "I(0,0)01020304 > R(0,1)", "S(RESYNCH request) > S(RESYNCH response)"}, result{err: ErrLost, executed: true},
			[]string{ifs, "I(0,0)01020304 > I(0,0)9000"}, Stats{Repeats: 2, Resynchs: 1}},
		{"not even that", []string{ifs, "I(0,0)01020304 > -", "R(0,1) > -", "R(0,1) > -", "S(RESYNCH request) > -", "S(RESYNCH request) > R(0)", "S(RESYNCH request) > -"}, result{err: ErrBroken, executed: true},
			nil, Stats{Repeats: 4, Resynchs: 1}},
		{"the card breaks our chain off", []string{ifs, "I(0,1)01020304 > S(ABORT request)", "S(ABORT response) > R(1)", "S(RESYNCH request) > S(RESYNCH response)"}, result{err: ErrAborted},
			[]string{ifs, "I(0,0)01020304 > I(0,0)9000"}, Stats{Resynchs: 1}},
		{"the card breaks its chain off", []string{ifs, "I(0,0)01020304 > I(0,1)AA", "R(1) > S(ABORT request)", "S(ABORT response) > -", "S(RESYNCH request) > S(RESYNCH response)"}, result{err: ErrAborted, executed: true},
			[]string{ifs, "I(0,0)01020304 > I(0,0)9000"}, Stats{Resynchs: 1}},
		{"pulled", []string{ifs, "I(0,0)01020304 > x"}, result{err: errGone, executed: true}, nil, Stats{}},
		{"pulled within our chain", []string{ifs, "I(0,1)01020304 > x"}, result{err: errGone}, nil, Stats{}},
		{"pulled at the start", []string{"S(IFS request 254) > x"}, result{err: errGone}, nil, Stats{}},
		{"resynchronisation is the terminal's alone to ask for", []string{ifs, "I(0,0)01020304 > S(RESYNCH request)", "R(0,2) > I(0,0)9000"}, result{answer: "9000"}, nil, Stats{Repeats: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &play{T: t, steps: c.steps}
			l := New(p, Params{IFSC: 4})
			command := unhex(t, "01020304")
			if len(c.steps) > 1 && strings.Contains(strings.Join(c.steps, " "), "I(0,1)01020304") {
				command = unhex(t, six)
			}
			got, err := l.Exchange(t.Context(), []byte{0xEE}, command)
			if err == nil && c.want.err == nil {
				if want := unhex(t, "EE"+c.want.answer); !bytes.Equal(got, want) {
					t.Errorf("got %X, want %X", got, want)
				}
			} else if !errors.Is(err, c.want.err) || apdu.MayHaveExecuted(err) != c.want.executed {
				t.Errorf("got %X, %v, executed %v; want %v, %v", got, err, apdu.MayHaveExecuted(err), c.want.err, c.want.executed)
			}
			if len(p.steps) > 0 {
				t.Errorf("not played: %q", p.steps)
			}
			s := l.Stats()
			s.Exchanges = 0
			if s != c.stats {
				t.Errorf("counted %+v, want %+v", s, c.stats)
			}
			switch {
			case c.next != nil:
				p.steps = c.next
				if got, err := l.Exchange(t.Context(), nil, unhex(t, "01020304")); err != nil || !bytes.Equal(got, []byte{0x90, 0}) {
					t.Errorf("the next exchange: %X, %v", got, err)
				}
			case c.want.err != nil:
				_, err := l.Exchange(t.Context(), nil, []byte{1})
				if !errors.Is(err, ErrBroken) || apdu.MayHaveExecuted(err) {
					t.Errorf("the next exchange: %v", err)
				}
			}
		})
	}
}

// The card gets the time that it asked for, once.
func TestWaitingTime(t *testing.T) {
	p := &play{T: t, steps: []string{ifs, "I(0,0)01 > S(WTX request 7)", "S(WTX response 7) > I(0,0)9000", "I(1,0)01 > I(1,0)9000"}}
	l := New(p, Params{})
	for range 2 {
		if _, err := l.Exchange(t.Context(), nil, []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(p.waits) != "[1 1 7 1]" {
		t.Errorf("waited %v", p.waits)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &play{T: t, steps: []string{ifs, "I(0,0)01 > I(0,0)9000"}}
	l := New(p, Params{})
	cancel()
	if _, err := l.Exchange(ctx, nil, []byte{1}); !errors.Is(err, context.Canceled) || apdu.MayHaveExecuted(err) {
		t.Errorf("%v", err)
	}
	if _, err := l.Exchange(t.Context(), nil, []byte{1}); err != nil { // nothing was sent
		t.Errorf("%v", err)
	}
}

// chip is a card's side that answers each command with a pattern.
type chip struct {
	crc    bool
	ns, nr byte
	left   int // bytes of the answer still to be sent
	reply  int // length of each answer
	size   int
	data   [MaxINF]byte
}

func (c *chip) Block(_ context.Context, block, answer []byte, _ int) (int, error) {
	b, err := Parse(block, c.crc)
	if err != nil {
		return 0, err
	}
	out := Block{}
	switch {
	case b.Kind == S:
		if b.Function == IFS {
			c.size = int(b.INF[0])
		}
		out = Block{Kind: S, Function: b.Function, Response: true, INF: b.INF}
	case b.Kind == I && b.More:
		c.nr ^= 1
		out = Block{Kind: R, Seq: c.nr}
	default:
		if b.Kind == I {
			c.nr ^= 1
			c.left = c.reply
		}
		n := min(c.left, c.size)
		c.left -= n
		out = Block{Kind: I, Seq: c.ns, More: c.left > 0, INF: c.data[:n]}
		c.ns ^= 1
	}
	return len(Append(answer[:0], out, c.crc)), nil
}

func TestLongBothWays(t *testing.T) {
	for _, crc := range []bool{false, true} {
		for _, n := range []int{1, 31, 32, 33, 254, 255, 4000, 65538} {
			l := New(&chip{crc: crc, reply: n}, Params{CRC: crc})
			for range 3 { // odd and even chains
				got, err := l.Exchange(t.Context(), nil, make([]byte, n))
				if err != nil || len(got) != n {
					t.Fatalf("%d bytes, CRC %v: %d, %v", n, crc, len(got), err)
				}
			}
		}
	}
	if _, err := New(&chip{reply: 65539}, Params{}).Exchange(t.Context(), nil, []byte{1}); !errors.Is(err, ErrTooLong) {
		t.Errorf("an endless answer: %v", err)
	}
}

func TestNoAllocation(t *testing.T) {
	for _, crc := range []bool{false, true} {
		l := New(&chip{crc: crc, reply: 300}, Params{CRC: crc})
		command, buf, ctx := make([]byte, 300), make([]byte, 0, 400), t.Context()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := l.Exchange(ctx, buf, command); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations in an exchange", n)
		}
	}
}

// At 115200 baud a line carries 10,472 bytes a second.
func BenchmarkExchange(b *testing.B) {
	for _, crc := range []bool{false, true} {
		b.Run(map[bool]string{false: "LRC", true: "CRC"}[crc], func(b *testing.B) {
			l := New(&chip{crc: crc, reply: 250}, Params{CRC: crc, IFSC: 254})
			command, buf := make([]byte, 250), make([]byte, 0, 400)
			b.SetBytes(500)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Exchange(b.Context(), buf, command); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"00C101FE3E", "009000 90", "0000050084000008 89", "00E000E0", "004002 9000 D2"} {
		f.Add(unhex(f, s), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, crc bool) {
		b, err := Parse(raw, crc)
		if err != nil {
			return
		}
		if again := Append(nil, b, crc); !bytes.Equal(again, raw) {
			t.Errorf("%X becomes %X", raw, again)
		}
	})
}

// heard is a card that says what the fuzzer wants: a length, then so many
// bytes, with their check put right when the length is odd.
type heard struct {
	script []byte
	whole  bool // the last piece of a command was sent
}

func (h *heard) Block(_ context.Context, block, answer []byte, wait int) (int, error) {
	b, err := Parse(block, false)
	if err != nil || wait < 1 || wait > 255 {
		panic(fmt.Sprintf("sent %X with wait %d: %v", block, wait, err))
	}
	h.whole = h.whole || b.Kind == I && !b.More
	if len(h.script) == 0 {
		return 0, errGone
	}
	size := int(h.script[0])
	h.script = h.script[1:]
	n := copy(answer, h.script[:min(size/2, len(h.script))])
	h.script = h.script[n:]
	if size%2 != 0 && n < MaxBlock {
		answer[n] = checkLRC(answer[:n])
		n++
	}
	return n, nil
}

// FuzzLink: whatever a card says, an exchange ends, with an error that claims
// "not executed" only when the command cannot have reached the card whole.
func FuzzLink(f *testing.F) {
	f.Add([]byte{9, 0, 0xE1, 1, 0xFE, 11, 0, 0, 2, 0x90, 0}, []byte{1, 2, 3, 4, 5})
	f.Add([]byte{9, 0, 0xE1, 1, 0xFE, 7, 0, 0x90, 0, 11, 0, 0, 2, 0x90, 0}, []byte{1, 2, 3, 4, 5})
	f.Add([]byte{9, 0, 0xE1, 1, 0xFE, 9, 0, 0xC3, 1, 5, 7, 0, 0xC2, 0, 7, 0, 0x90, 0, 7, 0, 0xE0, 0}, []byte{1})
	f.Add([]byte{0, 0, 0}, []byte{1})
	f.Fuzz(func(t *testing.T, said, command []byte) {
		h := &heard{script: said}
		l := New(h, Params{IFSC: 4})
		for range 3 {
			h.whole = false
			_, err := l.Exchange(t.Context(), nil, command)
			if err == nil && !h.whole {
				t.Fatal("an answer to a command that was not sent")
			}
			if err != nil && h.whole && !apdu.MayHaveExecuted(err) {
				t.Fatalf("%v, but the command went out whole", err)
			}
		}
	})
}
