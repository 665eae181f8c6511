package printer

import "testing"

// TestStatusBits holds each bit to its meaning.
func TestStatusBits(t *testing.T) {
	const ok = 0x12
	for _, c := range []struct {
		answers [questions]byte
		want    State
		low     bool
	}{
		{[4]byte{ok, ok, ok, ok}, StateOK, false},
		{[4]byte{ok | 4, ok, ok, ok}, StateOK, false}, // the cash drawer
		{[4]byte{ok, ok | 8, ok, ok}, StateOK, false}, // the feed button
		{[4]byte{ok, ok, ok, ok | 0x0C}, StateOK, true},
		{[4]byte{ok | 8, ok, ok, ok}, StateOffline, false},
		{[4]byte{ok | 8, ok | 4, ok, ok}, StateCoverOpen, false},
		{[4]byte{ok | 8, ok | 0x20, ok, ok}, StatePaperOut, false},
		{[4]byte{ok, ok, ok, ok | 0x60}, StatePaperOut, false},
		{[4]byte{ok, ok, ok, ok | 0x6C}, StatePaperOut, true},
		{[4]byte{ok | 8, ok | 0x40, ok | 8, ok}, StateCutter, false},
		{[4]byte{ok | 8, ok | 0x40, ok | 0x20, ok}, StateFault, false},
		{[4]byte{ok | 8, ok | 0x40, ok | 0x40, ok}, StateFault, false}, // a hot head
		{[4]byte{ok | 8, ok | 0x40, ok | 4, ok}, StateFault, false},
		{[4]byte{ok | 8, ok | 0x40, ok, ok}, StateFault, false},
	} {
		s := Status{Answered: true}
		for i, b := range c.answers {
			if !s.take(i+1, b) {
				t.Errorf("% x: answer %d is not taken", c.answers, i+1)
			}
		}
		if s.State() != c.want || s.PaperLow != c.low || s.Good() != (c.want == StateOK) {
			t.Errorf("% x: %+v is %s", c.answers, s, s.State())
		}
	}
	if (Status{}).Good() {
		t.Error("no answer is good")
	}
}

// FuzzStatus holds that no byte is taken for both kinds of answer, that none
// but a status byte changes anything, and that an answer never makes a bad
// printer good.
func FuzzStatus(f *testing.F) {
	for _, s := range []string{"\x12\x12\x12\x12", "\x1a\x16\x12\x12", "\x1a\x32\x12\x7e", "\xff\x00\x11\x13", "\x12", "ERROR\r\n", "\x10\x04\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, n := Status{}, 1
		for _, b := range in {
			if isStatus(b) && isOrdered(b) {
				t.Fatalf("%02x is both", b)
			}
			before := s
			taken := s.take(n, b)
			if taken != isStatus(b) || !taken && s != before {
				t.Fatalf("%02x: taken %v, %+v", b, taken, s)
			}
			full := before
			full.Answered = true
			now := s
			now.Answered = true
			if !full.Good() && now.Good() && n != 3 {
				t.Fatalf("%02x as answer %d made %+v good", b, n, before)
			}
			if taken {
				if n++; n > questions {
					break
				}
			}
		}
		if s.Good() {
			t.Fatal("good without having answered")
		}
	})
}
