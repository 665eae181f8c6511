package purse

import (
	"context"
	"fmt"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
)

// Errors of SAMs.
const (
	ErrNotPSAM    = notice("not a PSAM: it has not the files of one")
	ErrNotLoadSAM = notice("not a load SAM: it has not the files of one")
	ErrSAMSession = notice("the SAM's session is over")
	ErrTerminal   = notice("the card was initialised for another terminal number than the SAM's")
	ErrMAC2       = notice("the PSAM says that the card's MAC2 is wrong: the card may be forged")
	ErrTAC        = notice("the load SAM says that the card's TAC is wrong: the card may be forged")
)

// SAM is what PSAM and LoadSAM have in common: one application of a SAM card
// in one power session. Both may be on one card and be opened on the same
// Card value; each selects itself when it finds that it is not selected.
// Neither is safe for concurrent use, nor both at once when they share a
// card. When the card was removed or reset, open again and compare serials.
type SAM struct {
	card     Card
	app      profiles.SAMApplication
	serial   money.SAMID
	terminal money.TerminalID
	keyIndex byte
	issuer   [8]byte
	from, to Date
	session  session // what the last answer left open
}

// session is what a SAM keeps from one command to the next. Any other
// command to the card may end it, and so does the end of power (purse.md
// sections 4.8 and 9.3).
type session byte

const (
	sessionNone      session = iota
	sessionPurchase          // 80 70 00 done, 80 72 00 may follow
	sessionLoad              // 80 70 01 done, 80 72 01 may follow
	sessionChallenge         // a challenge is outstanding
)

// Serial is the SAM's number (EF 15 of the MF, purse.md section 9.1).
func (s *SAM) Serial() money.SAMID { return s.serial }

// Terminal is the terminal number that the SAM puts into every MAC (EF 16 of
// the MF).
func (s *SAM) Terminal() money.TerminalID { return s.terminal }

// KeyIndex is the index of the card key that fits this SAM (EF 17 of the
// application).
func (s *SAM) KeyIndex() byte { return s.keyIndex }

// ValidFrom is the first day of the SAM's validity (EF 17).
func (s *SAM) ValidFrom() Date { return s.from }

// ValidTo is the last day of the SAM's validity (EF 17).
func (s *SAM) ValidTo() Date { return s.to }

// Covers reports whether t is within the SAM's validity, both days included.
func (s *SAM) Covers(t time.Time) bool { return s.from.Before(t) && s.to.Covers(t) }

// Test reports whether this is a test SAM: it carries the issuer of
// suite.TestIssuer.
func (s *SAM) Test() bool { return testIssuer(s.issuer) }

// openSAM finds the application that one of the candidates describes, and
// fails with none when the card has none of them: a SAM is known by what it
// contains, not by where it sits.
func openSAM(ctx context.Context, c Card, candidates []profiles.SAM, none notice, application func(profiles.SAM) *profiles.SAMApplication) (*SAM, error) {
	var why error = none
	for _, p := range candidates {
		app := application(p)
		if app == nil {
			continue
		}
		s := &SAM{card: c, app: *app}
		err := s.identify(ctx, p)
		if err == nil {
			return s, nil
		}
		if !answered(err) {
			return nil, err
		}
		why = fmt.Errorf("%w: %s: %w", none, p.Name, err)
	}
	return nil, why
}

// identify reads the files of purse.md section 9.1 and leaves the
// application selected.
func (s *SAM) identify(ctx context.Context, p profiles.SAM) error {
	read := func(what string, f profiles.File, least int) ([]byte, error) {
		b, err := ask(ctx, s.card, nil, "read "+what, apdu.Command{INS: 0xB0, P1: 0x80 | f.SFI, Ne: f.Len}, f.Len)
		if err == nil && len(b) < least {
			err = fmt.Errorf("read %s: %w: %d bytes", what, ErrAnswer, len(b))
		}
		return b, err
	}
	if err := s.choose(ctx, masterFile); err != nil {
		return err
	}
	b, err := read("terminal number", p.Terminal, 6)
	if err != nil {
		return err
	}
	s.terminal = money.TerminalID(b)
	if b, err = read("SAM number", p.Serial, 10); err != nil {
		return err
	}
	s.serial = money.SAMID(b)
	if s.terminal.IsZero() || s.serial.IsZero() {
		return fmt.Errorf("%w: terminal number or SAM number is all zeros", ErrAnswer)
	}
	if err := s.choose(ctx, s.app.Select()); err != nil {
		return err
	}
	if b, err = read("SAM information", s.app.Info, 25); err != nil {
		return err
	}
	s.keyIndex, s.issuer, s.from, s.to = b[0], [8]byte(b[1:]), Date(b[17:]), Date(b[21:])
	return nil
}

// masterFile selects the MF (purse.md section 6).
var masterFile = apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}, Ne: apdu.MaxShortNe}

func (s *SAM) choose(ctx context.Context, cmd apdu.Command) error {
	r, err := apdu.Send(ctx, s.card, cmd)
	if err == nil {
		err = status(nil, r.SW)
	}
	if err != nil {
		return fmt.Errorf("select: %w", err)
	}
	return nil
}

// enter selects the application. A file identifier is looked for under the
// MF, a name everywhere.
func (s *SAM) enter(ctx context.Context) error {
	s.session = sessionNone
	if s.app.AID == nil {
		if err := s.choose(ctx, masterFile); err != nil {
			return err
		}
	}
	return s.choose(ctx, s.app.Select())
}

// finish sends a command that needs the session of the one before it, and
// keeps the session when the card says that the MAC is wrong. It fails with
// ErrSAMSession when the session is over.
func (s *SAM) finish(ctx context.Context, needs session, what string, cmd apdu.Command) error {
	if s.session != needs {
		return fmt.Errorf("%s: %w", what, ErrSAMSession)
	}
	s.session = sessionNone
	_, err := ask(ctx, s.card, nil, what, cmd, 0)
	switch sw, _ := word(err); sw {
	case apdu.SWMACInvalid:
		s.session = needs
	case apdu.SWNotInThisState, apdu.SWReferenceInvalid, apdu.SWINSNotSupported:
		err = fmt.Errorf("%w: %w", ErrSAMSession, err)
	}
	return err
}
