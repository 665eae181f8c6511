package purse

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// LoadInit is the card's answer to INITIALIZE FOR LOAD and what it was asked
// for (purse.md section 7.1).
type LoadInit struct {
	Before     money.Fen // balance, 0..money.MaxPurse
	Counter    uint16    // online counter, before its increment
	KeyVersion byte
	Algorithm  byte
	Random     [4]byte
	MAC1       suite.MAC // the card's proof to the authority
	Amount     money.Fen
	Terminal   money.TerminalID
	TxType     byte
	KeyIndex   byte
}

// PurchaseInit is the card's answer to INITIALIZE FOR PURCHASE and what it
// was asked for (purse.md section 7.3). The card proves nothing here.
type PurchaseInit struct {
	Before     money.Fen
	Counter    uint16      // offline counter, before its increment
	Overdraft  suite.Limit // zero for EP
	KeyVersion byte
	Algorithm  byte
	Random     [4]byte
	Amount     money.Fen
	Terminal   money.TerminalID
	TxType     byte
	KeyIndex   byte
}

// InitLoad sends INITIALIZE FOR LOAD. It moves nothing, and CreditLoad must
// follow in the same power session with no other command between. It fails
// with ErrAmount when the amount does not fit, also on top of the balance,
// and with a status word: apdu.SWSecurityNotSatisfied when a PIN is wanted
// first, apdu.SWCounterExhausted at the end of the card's life.
func (a *Application) InitLoad(ctx context.Context, amount money.Fen, t money.TerminalID) (LoadInit, error) {
	in, err := a.initLoad(ctx, amount, t)
	if err != nil {
		return LoadInit{}, err
	}
	if err := usable(in.Counter); err != nil {
		return LoadInit{}, err
	}
	if in.Before+amount > money.MaxPurse {
		return LoadInit{}, fmt.Errorf("%w: %s on top of %s", ErrAmount, amount, in.Before)
	}
	a.pending = in.TxType
	return in, nil
}

func (a *Application) initLoad(ctx context.Context, amount money.Fen, t money.TerminalID) (LoadInit, error) {
	in := LoadInit{Amount: amount, Terminal: t, TxType: a.LoadType(), KeyIndex: a.profile.LoadKeyIndex}
	b, err := a.initialize(ctx, "initialize for load", 0x00, in.KeyIndex, amount, t, 16)
	if err != nil {
		return LoadInit{}, err
	}
	in.Before = money.FromPurse([4]byte(b))
	in.Counter = binary.BigEndian.Uint16(b[4:])
	in.KeyVersion, in.Algorithm = b[6], b[7]
	in.Random = [4]byte(b[8:])
	in.MAC1 = suite.MAC(b[12:])
	return in, nil
}

// InitPurchase sends INITIALIZE FOR PURCHASE. It moves nothing, and
// DebitPurchase must follow in the same power session with no other command
// between. It fails with ErrAmount, and with a status word:
// apdu.SWBalanceLow when the balance is too small.
func (a *Application) InitPurchase(ctx context.Context, amount money.Fen, t money.TerminalID) (PurchaseInit, error) {
	in, err := a.initPurchase(ctx, amount, t)
	if err != nil {
		return PurchaseInit{}, err
	}
	if err := usable(in.Counter); err != nil {
		return PurchaseInit{}, err
	}
	if amount > in.Before { // a card may say so only when it is debited
		return PurchaseInit{}, fmt.Errorf("initialize for purchase: the card shows %s: %w", in.Before, apdu.SWBalanceLow)
	}
	a.pending = in.TxType
	return in, nil
}

func (a *Application) initPurchase(ctx context.Context, amount money.Fen, t money.TerminalID) (PurchaseInit, error) {
	in := PurchaseInit{Amount: amount, Terminal: t, TxType: a.PurchaseType(), KeyIndex: a.profile.PurchaseKeyIndex}
	b, err := a.initialize(ctx, "initialize for purchase", 0x01, in.KeyIndex, amount, t, 15)
	if err != nil {
		return PurchaseInit{}, err
	}
	in.Before = money.FromPurse([4]byte(b))
	in.Counter = binary.BigEndian.Uint16(b[4:])
	in.Overdraft = suite.Limit(b[6:])
	in.KeyVersion, in.Algorithm = b[9], b[10]
	in.Random = [4]byte(b[11:])
	return in, nil
}

func (a *Application) initialize(ctx context.Context, what string, p1, key byte, amount money.Fen, t money.TerminalID, want int) ([]byte, error) {
	fen, err := amount.Purse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAmount, err)
	}
	data := append([]byte{key}, fen[:]...)
	data = append(data, t[:]...)
	return a.ask(ctx, what, apdu.Command{CLA: 0x80, INS: 0x50, P1: p1, P2: a.purse(), Data: data, Ne: want}, want)
}

// usable refuses the last counter value: after it the counter would wrap and
// a proof could be mistaken for another (purse.md sections 7.1 and 12.3). A
// proper card refuses by itself.
func usable(counter uint16) error {
	if counter == 0xFFFF {
		return fmt.Errorf("the card's counter is at its end: %w", apdu.SWCounterExhausted)
	}
	return nil
}

// CreditLoad sends CREDIT FOR LOAD with the authority's date, time and MAC2,
// and gives the card's TAC (purse.md section 7.2). It sends it once; every
// failure is an *ExecuteError, ErrNoInit within it when InitLoad did not come
// right before.
func (a *Application) CreditLoad(ctx context.Context, stamp money.Stamp, mac2 suite.MAC) (tac suite.MAC, err error) {
	data := append(stamp[:], mac2[:]...)
	b, err := a.execute(ctx, "credit for load", a.LoadType(), apdu.Command{CLA: 0x80, INS: 0x52, Data: data, Ne: 4}, 4)
	if err != nil {
		return suite.MAC{}, err
	}
	return suite.MAC(b), nil
}

// DebitPurchase sends DEBIT FOR PURCHASE with the PSAM's grant and the stamp
// that the PSAM was given, and gives the card's TAC and MAC2 (purse.md
// section 7.4). It sends it once; every failure is an *ExecuteError.
func (a *Application) DebitPurchase(ctx context.Context, g Grant, stamp money.Stamp) (tac, mac2 suite.MAC, err error) {
	data := binary.BigEndian.AppendUint32(nil, g.Seq)
	data = append(data, stamp[:]...)
	data = append(data, g.MAC1[:]...)
	b, err := a.execute(ctx, "debit for purchase", a.PurchaseType(), apdu.Command{CLA: 0x80, INS: 0x54, P1: 0x01, Data: data, Ne: 8}, 8)
	if err != nil {
		return suite.MAC{}, suite.MAC{}, err
	}
	return suite.MAC(b), suite.MAC(b[4:]), nil
}

func (a *Application) execute(ctx context.Context, what string, typ byte, cmd apdu.Command, want int) ([]byte, error) {
	if a.pending != typ {
		return nil, &ExecuteError{Cause: fmt.Errorf("%s: %w", what, ErrNoInit)}
	}
	a.pending = 0 // whatever comes of it, this INITIALIZE is used up
	return execute(ctx, a.card, a.profile.StatusWords, what, cmd, want)
}

// Proof is the card's certificate of a committed transaction, its answer to
// GET TRANSACTION PROVE (purse.md section 7.10).
type Proof struct {
	TAC  suite.MAC
	MAC2 suite.MAC // of a purchase; means nothing for a load
}

// Prove asks for the proof of the last transaction of a type, if it left the
// counter at counterAfter: the counter that its INITIALIZE showed, plus one.
// It moves nothing and may be repeated. It fails with ErrNoProof when the
// card says that there is none, and with ErrProofUnsupported when it does not
// know the command.
func (a *Application) Prove(ctx context.Context, txType byte, counterAfter uint16) (Proof, error) {
	cmd := apdu.Command{CLA: 0x80, INS: 0x5A, P2: txType, Data: binary.BigEndian.AppendUint16(nil, counterAfter), Ne: 8}
	b, err := a.ask(ctx, "get transaction prove", cmd, 8)
	if err != nil {
		switch sw, _ := word(err); sw {
		case apdu.SWProofNotAvailable:
			err = fmt.Errorf("%w: %w", ErrNoProof, err)
		case apdu.SWINSNotSupported, apdu.SWCLANotSupported:
			err = fmt.Errorf("%w: %w", ErrProofUnsupported, err)
		}
		return Proof{}, err
	}
	p := Proof{MAC2: suite.MAC(b), TAC: suite.MAC(b[4:])}
	if a.profile.ProofTACFirst { // purse.md section 1, setting 4
		p.MAC2, p.TAC = p.TAC, p.MAC2
	}
	if p.TAC == (suite.MAC{}) { // an empty slot read out as if it were one
		return Proof{}, fmt.Errorf("get transaction prove: %w: all zeros", ErrNoProof)
	}
	return p, nil
}
