package purse

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
)

// script is a card that expects exactly these commands and gives these
// answers, each line "command = answer" in hex with blanks anywhere; an
// answer "-" is a transport error.
type script struct {
	t    *testing.T
	next []string
	errs []error // of the "-" answers in turn; errTransport when used up
}

type transportError struct{ executed bool }

func (e transportError) Error() string         { return "the card was pulled" }
func (e transportError) MayHaveExecuted() bool { return e.executed }

var errTransport = transportError{true}

func scripted(t *testing.T, lines ...string) *script {
	t.Helper()
	s := &script{t: t}
	for _, l := range lines {
		for _, l := range strings.Split(l, "\n") {
			if l = strings.TrimSpace(l); l != "" {
				s.next = append(s.next, l)
			}
		}
	}
	t.Cleanup(func() {
		if len(s.next) > 0 && !t.Failed() {
			t.Errorf("not asked for: %q", s.next)
		}
	})
	return s
}

func (s *script) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.t.Helper()
	got := strings.ToUpper(hex.EncodeToString(command))
	if len(s.next) == 0 {
		s.t.Fatalf("unexpected command %s", got)
	}
	want, answer, _ := strings.Cut(s.next[0], "=")
	s.next = s.next[1:]
	if want = strings.ToUpper(strings.ReplaceAll(want, " ", "")); got != want {
		s.t.Fatalf("sent %s, want %s", got, want)
	}
	if answer = strings.ReplaceAll(answer, " ", ""); answer == "-" {
		err := error(errTransport)
		if len(s.errs) > 0 {
			err, s.errs = s.errs[0], s.errs[1:]
		}
		return nil, err
	}
	return unhex(s.t, answer), nil
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ep is the recommended profile of purse.md section 1.
func ep() profiles.Card {
	return profiles.Card{
		Name: "test", AID: []byte{0xA0, 0, 0, 0, 3, 0x86, 0x98, 7, 1}, InfoSFI: 0x15, LogSFI: 0x18,
		InfoLayout: profiles.LayoutPBOC30, LoadKeyIndex: 1, PurchaseKeyIndex: 1, LoadLevels: 1, PurchaseLevels: 1,
		Region:      [8]byte{0xB1, 0xB1, 0xBE, 0xA9, 0xB1, 0xB1, 0xBE, 0xA9},
		StatusWords: apdu.Dialect{},
	}
}

// Bytes that many scripts share.
const (
	selectEP = "00A40400 09 A00000000386980701 00"
	infoHex  = "FFFFFFFF00000001 03 01 00003310088812345678 20240101 20301231 0000"
	fciHex   = "6F2E 8409A00000000386980701 A521 9F0C1E" + infoHex
)

var (
	terminalID = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	stampA     = money.Stamp{0x20, 0x25, 0x09, 0x01, 0x09, 0x45, 0x01}
	background = context.Background()
)

// selected gives the application on a scripted card, past SELECT.
func selected(t *testing.T, p profiles.Card, lines ...string) *Application {
	t.Helper()
	c := scripted(t, append([]string{fmt.Sprintf("00A40400 %02X %X 00 = %s 9000", len(p.AID), p.AID, fciHex)}, lines...)...)
	a, err := Select(background, c, []profiles.Card{p})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
