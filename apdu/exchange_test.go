package apdu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// scriptCard answers from a list; the last answer is repeated. An answer
// "error" is a lost card.
type scriptCard struct {
	answers []string
	got     []string
}

var errLost = errors.New("card lost")

// notSent is a transport error that says that nothing was sent.
type notSent struct{}

func (notSent) Error() string         { return "not sent" }
func (notSent) MayHaveExecuted() bool { return false }

func (s *scriptCard) Transmit(_ context.Context, c []byte) ([]byte, error) {
	s.got = append(s.got, fmt.Sprintf("%X", c))
	a := s.answers[min(len(s.got), len(s.answers))-1]
	switch a {
	case "error":
		return nil, errLost
	case "not sent":
		return nil, notSent{}
	}
	var b []byte
	if _, err := fmt.Sscanf(a, "%x", &b); err != nil {
		return nil, err
	}
	return b, nil
}

func TestGetResponse(t *testing.T) {
	fifteen := strings.Repeat("00", 15)
	for _, c := range []struct {
		name    string
		command string
		answers []string
		want    string // response
		sent    string // commands, separated by blanks
	}{
		{"plain", "805C000204", []string{"000000019000"}, "000000019000", "805C000204"},
		{"refusal is the answer", "805C000204", []string{"6A82"}, "6A82", "805C000204"},
		{"one piece", "00A40000023F0000", []string{"6102", "AABB9000"}, "AABB9000", "00A40000023F0000 00C0000002"},
		{"data comes along and is kept", "00B0950000", []string{"01026102", "03046101", "059000"}, "01020304059000", "00B0950000 00C0000002 00C0000001"},
		{"6100 is 256", "00B0950000", []string{"6100", "AA9000"}, "AA9000", "00B0950000 00C0000000"},
		{"class kept", "805C000204", []string{"6104", "000000019000"}, "000000019000", "805C000204 80C0000004"},
		{"channel kept, secure messaging dropped", "0DB0950004", []string{"6101", "AA9000"}, "AA9000", "0DB0950004 01C0000001"},
		{"proprietary secure messaging dropped", "84B0950004", []string{"6101", "AA9000"}, "AA9000", "84B0950004 80C0000001"},
		{"further interindustry channel", "65B0950004", []string{"6101", "AA9000"}, "AA9000", "65B0950004 45C0000001"},
		{"falls back to class 00", "805C000204", []string{"6104", "6E00", "000000019000"}, "000000019000", "805C000204 80C0000004 00C0000004"},
		{"wrong Le", "00B0950010", []string{"6C04", "010203049000"}, "010203049000", "00B0950010 00B0950004"},
		{"6C00 is 256", "00B0950010", []string{"6C00", "AA9000"}, "AA9000", "00B0950010 00B0950000"},
		{"6C then 61", "00B0950010", []string{"6C04", "6104", "010203049000"}, "010203049000", "00B0950010 00B0950004 00C0000004"},
		{"6C once only", "00B0950010", []string{"6CFF"}, "6CFF", "00B0950010 00B09500FF"},
		{"6C with the length that was sent", "00B0950010", []string{"6C10"}, "6C10", "00B0950010"},
		{"6C to a command without Le", "00D695000101", []string{"6C04"}, "6C04", "00D695000101"},
		{"6C to a debit", "805401000F" + fifteen + "08", []string{"6CFF", "6985"}, "6CFF", "805401000F" + fifteen + "08"},
		{"6C to a credit", "805200000B" + fifteen[8:] + "04", []string{"6C08", "6985"}, "6C08", "805200000B" + fifteen[8:] + "04"},
		{"6C to a SAM that counts a load", "807001000F" + fifteen + "00", []string{"6C08", "9401"}, "6C08", "807001000F" + fifteen + "00"},
		{"6C to a command with data, extended", "00D6950000000101" + "0100", []string{"6C04"}, "6C04", "00D6950000000101" + "0100"},
		{"6C to GET RESPONSE", "00B0950010", []string{"6110", "6C04", "010203049000"}, "010203049000", "00B0950010 00C0000010 00C0000004"},
		{"warning ends it", "00B0950010", []string{"6102", "01026282"}, "01026282", "00B0950010 00C0000002"},
		{"data although none expected", "00A40000023F00", []string{"6101", "AA9000"}, "AA9000", "00A40000023F00 00C0000001"},
	} {
		card := &scriptCard{answers: c.answers}
		r, err := GetResponse(card).Transmit(t.Context(), unhex(t, c.command))
		if err != nil || !bytes.Equal(r, unhex(t, c.want)) {
			t.Errorf("%s: %X %v", c.name, r, err)
		}
		if sent := strings.Join(card.got, " "); sent != c.sent {
			t.Errorf("%s: sent %s", c.name, sent)
		}
	}
}

// Once the card has said 61xx the command is executed, and no failure after
// that may say otherwise.
func TestGetResponseThatFailsMidway(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string
		cause   error
	}{
		{"card lost", []string{"6104", "error"}, errLost},
		{"card lost later", []string{"6104", "01026102", "error"}, errLost},
		{"not sent", []string{"6104", "not sent"}, notSent{}},
		{"refused", []string{"6104", "6F00"}, nil},
		{"refused twice", []string{"6104", "6E00"}, nil},
		{"6CFF without end", []string{"6104", "6CFF"}, nil},
		{"no status word", []string{"6104", "90"}, ErrResponseShort},
		{"61 without end", []string{"6101", "6101"}, ErrEndlessResponse},
		{"61 without end, with data", []string{"6100", strings.Repeat("AA", 256) + "6100"}, ErrEndlessResponse},
		{"more than fits", []string{"6100", strings.Repeat("AA", 40000) + "6100"}, ErrEndlessResponse},
	} {
		card := &scriptCard{answers: c.answers}
		_, err := GetResponse(card).Transmit(t.Context(), unhex(t, "805401000F"+strings.Repeat("00", 15)+"08"))
		var incomplete *IncompleteError
		if !errors.As(err, &incomplete) || !MayHaveExecuted(err) {
			t.Errorf("%s: %v, may have executed %v", c.name, err, MayHaveExecuted(err))
		}
		if c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("%s: %v is not %v", c.name, err, c.cause)
		}
		var sw SW
		if errors.As(err, &sw) {
			t.Errorf("%s: %v passes for the answer to the command", c.name, sw)
		}
		if len(card.got) > MaxGetResponseRounds+1 {
			t.Errorf("%s: %d exchanges", c.name, len(card.got))
		}
	}
	// Bounded by what is kept, not only by rounds.
	card := &scriptCard{answers: []string{"6100", strings.Repeat("AA", 40000) + "6100"}}
	if _, err := GetResponse(card).Transmit(t.Context(), unhex(t, "0084000004")); !errors.Is(err, ErrEndlessResponse) || len(card.got) != 3 {
		t.Errorf("%v after %d exchanges", err, len(card.got))
	}
	// A length may be corrected once, not argued about.
	card = &scriptCard{answers: []string{"6104", "6C05", "6C06", "6C05", "9000"}}
	if _, err := GetResponse(card).Transmit(t.Context(), unhex(t, "0084000004")); !MayHaveExecuted(err) || len(card.got) != 3 {
		t.Errorf("%v after %d exchanges", err, len(card.got))
	}
	card = &scriptCard{answers: []string{"not sent"}}
	if _, err := GetResponse(card).Transmit(t.Context(), unhex(t, "0084000004")); MayHaveExecuted(err) {
		t.Error("nothing was sent")
	}
	card = &scriptCard{answers: []string{"6C04", "not sent"}}
	if _, err := GetResponse(card).Transmit(t.Context(), unhex(t, "0084000008")); MayHaveExecuted(err) {
		t.Error("6C04 means not executed, and then nothing was sent")
	}
	if _, err := GetResponse(card).Transmit(t.Context(), []byte{0, 0x84}); !errors.Is(err, ErrCommandMalformed) || len(card.got) != 2 {
		t.Error(err)
	}
}

func TestShapeT0(t *testing.T) {
	for _, c := range []struct{ name, command, sent string }{
		{"case 1", "84160000", "8416000000"},
		{"case 2", "0084000004", "0084000004"},
		{"case 2 of 256", "00B0950000", "00B0950000"},
		{"case 3", "00D695000101", "00D695000101"},
		{"case 4", "00A40000023F0000", "00A40000023F00"},
		{"extended form that fits", "00A400000000023F000100", "00A40000023F00"},
	} {
		card := &scriptCard{answers: []string{"9000"}}
		if _, err := ShapeT0(card).Transmit(t.Context(), unhex(t, c.command)); err != nil || card.got[0] != c.sent {
			t.Errorf("%s: %v %v", c.name, card.got, err)
		}
	}
	for _, c := range []Command{{Data: make([]byte, 256)}, {Ne: 257}, {Ne: MaxExtendedNe}} {
		card := &scriptCard{answers: []string{"9000"}}
		_, err := Send(t.Context(), ShapeT0(card), c)
		if !errors.Is(err, ErrExtendedT0) || MayHaveExecuted(err) || len(card.got) != 0 {
			t.Errorf("%v, sent %v", err, card.got)
		}
	}
}

func TestT0Stack(t *testing.T) {
	var out bytes.Buffer
	card := &scriptCard{answers: []string{"6108", "1A567AF6580CAD429000"}}
	stack := GetResponse(ShapeT0(Traced(card, NewWriter(&out))))
	r, err := Send(t.Context(), stack, Command{CLA: 0x80, INS: 0x54, P1: 1, Data: make([]byte, 15), Ne: 8})
	if err != nil || !r.SW.OK() || len(r.Data) != 8 {
		t.Fatalf("%+v %v", r, err)
	}
	if got := strings.Join(card.got, " "); got != "805401000F"+strings.Repeat("00", 15)+" 80C0000008" {
		t.Error(got)
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func TestDialect(t *testing.T) {
	d := Dialect{
		0x9301: {Means: SWBalanceLow},
		0x9840: {Means: SWMethodBlocked, Text: "secret code blocked"},
		0x6985: {Text: "conditions not met, or the counter is exhausted"},
		0x6F01: {Means: SWOK, Text: "a profile can't make this a success"},
	}
	for _, c := range []struct {
		sw   SW
		is   []SW
		not  []SW
		text string
	}{
		{0x9301, []SW{SWBalanceLow, SWBalanceLowAlternative}, []SW{SWMACInvalid}, "9301 balance insufficient (as 9401)"},
		{0x9840, []SW{SWMethodBlocked, 0x9840}, nil, "9840 secret code blocked (as 6983)"},
		{0x6985, []SW{SWConditionsNotMet}, []SW{SWCounterExhausted}, "6985 conditions not met, or the counter is exhausted"},
		{0x6A82, []SW{SWFileNotFound}, nil, "6A82 file or application not found"},
		{0x6F01, []SW{0x6F01}, []SW{SWOK}, "6F01 a profile can't make this a success"},
	} {
		err := fmt.Errorf("debit: %w", d.Err(c.sw))
		for _, sw := range c.is {
			if !errors.Is(err, sw) {
				t.Errorf("%04X is not %04X", uint16(c.sw), uint16(sw))
			}
		}
		for _, sw := range c.not {
			if errors.Is(err, sw) {
				t.Errorf("%04X is %04X", uint16(c.sw), uint16(sw))
			}
		}
		if !strings.HasSuffix(err.Error(), c.text) {
			t.Error(err)
		}
		if MayHaveExecuted(err) {
			t.Errorf("%v: the card answered", err)
		}
	}
	if err := d.Err(SWOK); err != nil {
		t.Error(err)
	}
	if err := Dialect(nil).Err(SWBalanceLow); !errors.Is(err, SWBalanceLow) {
		t.Error(err)
	}
	var sw SW
	if !errors.As(d.Err(0x9301), &sw) || sw != SWBalanceLow {
		t.Error("errors.As gives the standard word", sw)
	}
}

func TestEveryStatusWordHasAMeaning(t *testing.T) {
	for i := range 0x10000 {
		if m := SW(i).Meaning(); m == "" || strings.HasSuffix(m, ".") {
			t.Fatalf("%04X: %q", i, m)
		}
	}
	for sw, want := range map[SW]string{0x63C2: "verification failed, 2 tries left", 0x6100: "256 bytes of response waiting", 0x6C04: "wrong expected length, the right one is 4"} {
		if got := sw.Meaning(); got != want {
			t.Errorf("%04X: %s", uint16(sw), got)
		}
	}
}
