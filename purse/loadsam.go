package purse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Authorisation is an authority's permission to load a card: the data of
// CREDIT FOR LOAD.
type Authorisation struct {
	Stamp    money.Stamp // date and time under MAC2 and TAC
	MAC2     suite.MAC
	SAMCount uint32 // the load SAM's lifetime count after this load, 0 for the host
}

// LoadAuthority gives MAC2 for a load: the utility's key vault on line, or a
// load SAM under a signed allowance (purse.md section 10).
type LoadAuthority interface {
	// Authorise verifies the card's MAC1 and gives MAC2. The authority has
	// set the amount aside before it answers; what an error says by
	// apdu.MayHaveExecuted is whether it may have, never that the card moved.
	// The stamp is the terminal's; the host may answer with its own.
	Authorise(ctx context.Context, card profiles.Card, number money.CardNumber, in LoadInit, stamp money.Stamp) (Authorisation, error)
	// Confirm shows the authority the card's TAC of the load that it last
	// authorised.
	Confirm(ctx context.Context, tac suite.MAC) error
}

var _ LoadAuthority = (*LoadSAM)(nil)

// LoadSAM is the load SAM application, whose commands are ours
// (suite/loadsam.go).
type LoadSAM struct{ *SAM }

// OpenLoadSAM finds the load SAM application of a card. It fails with
// ErrNotLoadSAM.
func OpenLoadSAM(ctx context.Context, c Card, candidates []profiles.SAM) (*LoadSAM, error) {
	s, err := openSAM(ctx, c, candidates, ErrNotLoadSAM, func(p profiles.SAM) *profiles.SAMApplication { return p.LoadSAM })
	if err != nil {
		return nil, err
	}
	return &LoadSAM{SAM: s}, nil
}

// State asks for the SAM's report of its limits and totals under a challenge
// of the asker. Only the utility can check the MAC; its bytes are
// LoadSAMState.Signed(mac).
func (l *LoadSAM) State(ctx context.Context, challenge [8]byte) (suite.LoadSAMState, suite.MAC, error) {
	const what, want = "load SAM state", suite.LoadSAMStateLen + len(suite.MAC{})
	var st suite.LoadSAMState
	var mac suite.MAC
	err := l.enter(ctx)
	if err != nil {
		return st, mac, err
	}
	b, err := ask(ctx, l.card, nil, what, apdu.Command{CLA: 0x80, INS: 0x74, Data: challenge[:], Ne: want}, want)
	if err != nil {
		return st, mac, err
	}
	if st, mac, err = suite.DecodeLoadSAMState(b); err != nil {
		return st, mac, fmt.Errorf("%s: %w: %w", what, ErrAnswer, err)
	}
	if st.SAM != l.serial {
		return st, mac, fmt.Errorf("%s: %w: it names another SAM", what, ErrAnswer)
	}
	return st, mac, nil
}

// Challenge asks the SAM for the challenge that the next allowance must be
// signed over (GET CHALLENGE). Any other command to the card, also for its
// PSAM, ends it.
func (l *LoadSAM) Challenge(ctx context.Context) ([8]byte, error) {
	if err := l.enter(ctx); err != nil {
		return [8]byte{}, err
	}
	b, err := ask(ctx, l.card, nil, "load SAM challenge", apdu.Command{INS: 0x84, Ne: 8}, 8)
	if err != nil {
		return [8]byte{}, err
	}
	l.session = sessionChallenge
	return [8]byte(b), nil
}

// Install gives the SAM an allowance with the utility's MAC over the last
// Challenge. It fails with ErrSAMSession when that challenge is over: ask
// for a new one and have it signed again; with apdu.SWMACInvalid on a wrong
// MAC; with apdu.SWConditionsNotMet when the SAM has this allowance, or a
// later one, already.
func (l *LoadSAM) Install(ctx context.Context, a suite.Allowance, mac suite.MAC) error {
	err := l.finish(ctx, sessionChallenge, "load SAM allowance", apdu.Command{CLA: 0x80, INS: 0x76, Data: a.Signed(mac)})
	l.session = sessionNone // a challenge serves once
	return err
}

// Authorise has the SAM verify MAC1 and give MAC2 within its allowance. It
// fails with ErrTerminal before anything is sent, else with an *ExecuteError
// whose Executed tells whether the SAM may have counted the load: errors.Is
// finds apdu.SWBalanceLow (amount used up), apdu.SWCounterExhausted (count
// used up) and apdu.SWMACInvalid (MAC1 wrong, a security event).
func (l *LoadSAM) Authorise(ctx context.Context, card profiles.Card, number money.CardNumber, in LoadInit, stamp money.Stamp) (Authorisation, error) {
	const what = "load SAM authorise"
	if in.Terminal != l.terminal {
		return Authorisation{}, fmt.Errorf("%s: %w", what, ErrTerminal)
	}
	var factors [][8]byte
	for f := range slices.Chunk(card.SAMFactors(card.LoadLevels, number.Factor()), 8) {
		factors = append(factors, [8]byte(f))
	}
	data, err := suite.SAMLoad{
		Rnd: in.Random, Counter: in.Counter, Before: in.Before, Amount: in.Amount, Type: in.TxType,
		KeyVersion: in.KeyVersion, Algorithm: in.Algorithm, MAC1: in.MAC1, At: stamp, Factors: factors,
	}.Encode()
	if err != nil {
		return Authorisation{}, fmt.Errorf("%s: %w: %w", what, ErrAmount, err)
	}
	if err := l.enter(ctx); err != nil {
		return Authorisation{}, &ExecuteError{Cause: fmt.Errorf("%s: %w", what, err)}
	}
	b, err := execute(ctx, l.card, nil, what, apdu.Command{CLA: 0x80, INS: 0x70, P1: 0x01, Data: data, Ne: 8}, 8)
	if err != nil {
		return Authorisation{}, err
	}
	l.session = sessionLoad
	return Authorisation{Stamp: stamp, MAC2: suite.MAC(b[4:]), SAMCount: binary.BigEndian.Uint32(b)}, nil
}

// Confirm has the SAM check the card's TAC of the load that it last
// authorised. It fails with ErrTAC, a security event, and with ErrSAMSession
// when the SAM lost that session: the TAC is unchecked then.
func (l *LoadSAM) Confirm(ctx context.Context, tac suite.MAC) error {
	err := l.finish(ctx, sessionLoad, "load SAM confirm", apdu.Command{CLA: 0x80, INS: 0x72, P1: 0x01, Data: tac[:]})
	if errors.Is(err, apdu.SWMACInvalid) {
		err = fmt.Errorf("%w: %w", ErrTAC, err)
	}
	return err
}
