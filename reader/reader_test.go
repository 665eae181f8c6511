package reader_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

// debtor is a purse that has paid when it answers, whatever it answers, and
// knows of no payment when it is asked a second time.
type debtor struct {
	answer []byte
	paid   int
}

func (d *debtor) Transmit(context.Context, []byte) ([]byte, error) {
	if d.paid++; d.paid > 1 {
		return []byte{0x69, 0x85}, nil
	}
	return d.answer, nil
}

// A command with data is sent once, whatever length the card says it wanted:
// the refusal of a second one would hide that the first was done.
func TestCompleteSendsDataOnce(t *testing.T) {
	for _, p := range []reader.Protocol{reader.T0, reader.T1} {
		for _, c := range []apdu.Command{
			{CLA: 0x80, INS: 0x54, P1: 1, Data: make([]byte, 15), Ne: 8}, // DEBIT FOR PURCHASE
			{CLA: 0x80, INS: 0x52, Data: make([]byte, 11), Ne: 4},        // CREDIT FOR LOAD
			{CLA: 0x80, INS: 0x70, P1: 1, Data: make([]byte, 40), Ne: 8}, // INIT FOR LOAD of a load SAM
			{CLA: 0x80, INS: 0x72, Data: make([]byte, 4)},                // CREDIT SAM FOR PURCHASE
		} {
			for _, sw := range [][]byte{{0x6C, 0x00}, {0x6C, 0x04}, {0x6C, 0x08}, {0x6C, 0xFF}} {
				d := &debtor{answer: sw}
				r, err := apdu.Send(t.Context(), reader.Complete(d, p), c)
				if err != nil || d.paid != 1 || !bytes.Equal(r.Bytes(), sw) {
					t.Errorf("T=%d, %02X to %02X %02X: %X, %v, sent %d times", p, sw, c.CLA, c.INS, r.Bytes(), err, d.paid)
				}
			}
		}
	}
}

func TestMatch(t *testing.T) {
	two := []string{"Gemalto PC Twin Reader 00 00", "Virtual PCD 00 00", "Virtual PCD 00 01"}
	for _, c := range []struct {
		fragment string
		names    []string
		want     string
		err      error
		says     []string // what the error lists
	}{
		{"twin", two, two[0], nil, nil},
		{"Virtual PCD 00 00", two, two[1], nil, nil},
		{"00 01", two, two[2], nil, nil},
		{"Virtual PCD", two, "", reader.ErrAmbiguous, two[1:]},
		{"", two, "", reader.ErrAmbiguous, two},
		{"", two[:1], two[0], nil, nil},
		{"Omnikey", two, "", reader.ErrSlotName, two},
		{"Omnikey", nil, "", reader.ErrSlotName, []string{"no reader is there"}},
		{"A", []string{"A", "AA"}, "A", nil, nil}, // the equal one wins over those that contain it
	} {
		got, err := reader.Match(c.fragment, c.names)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: got %q, %v; want %q, %v", c.fragment, got, err, c.want, c.err)
		}
		for _, s := range c.says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%q: error %v does not list %q", c.fragment, err, s)
			}
		}
	}
}

func TestBackends(t *testing.T) {
	var asked string
	b := reader.Backends{
		"pcsc": func(rest string) (reader.Slot, error) { asked = rest; return nil, reader.ErrSlotName },
		"sim":  nil,
	}
	if _, err := b.Open("pcsc:Twin: left"); !errors.Is(err, reader.ErrSlotName) || asked != "Twin: left" {
		t.Errorf("asked for %q, %v", asked, err)
	}
	for _, name := range []string{"", "pcsc", "usb:1", ":", "sim:x"} {
		_, err := b.Open(name)
		var e *reader.Error
		if !errors.Is(err, reader.ErrKind) || !errors.As(err, &e) || !strings.Contains(e.Hint, "pcsc:") || e.Executed {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOfferedProtocol(t *testing.T) {
	for _, c := range []struct {
		atr  []byte
		want reader.Protocol
	}{
		{nil, reader.T0},
		{[]byte{0x3B, 0x00}, reader.T0},
		{[]byte{0x3B, 0x80, 0x01, 0x81}, reader.T1},
		{[]byte{0x3B, 0x80, 0x80, 0x01, 0x01}, reader.T0},             // T=0 first, T=1 offered too
		{[]byte{0x3B, 0x90, 0x11, 0x10, 0x01}, reader.T1},             // TD1 names T=0, TA2 forces T=1
		{[]byte{0x3B, 0x90, 0x11, 0x11, 0x00, 0x90}, reader.T0},       // and the other way round
		{[]byte{0x3B, 0xF0, 0x11, 0x00, 0x00, 0x01, 0x11}, reader.T1}, // TA1 TB1 TC1 before TD1
		{[]byte{0x3B, 0x80}, reader.T0},                               // cut short
	} {
		if got := reader.OfferedProtocol(c.atr); got != c.want {
			t.Errorf("%x: T=%d, want T=%d", c.atr, got, c.want)
		}
	}
}
