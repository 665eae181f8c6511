package purse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Grant is the PSAM's permission to debit a card (purse.md section 9.2).
type Grant struct {
	Seq  uint32 // terminal transaction sequence, the PSAM's own; gaps are normal
	MAC1 suite.MAC
}

// PSAM is the purchase SAM application (purse.md section 9).
type PSAM struct {
	*SAM
	current bool // this application was the selected one when we last spoke
}

// OpenPSAM finds the PSAM application of a card. It fails with ErrNotPSAM.
func OpenPSAM(ctx context.Context, c Card, candidates []profiles.SAM) (*PSAM, error) {
	s, err := openSAM(ctx, c, candidates, ErrNotPSAM, func(p profiles.SAM) *profiles.SAMApplication { return p.PSAM })
	if err != nil {
		return nil, err
	}
	return &PSAM{SAM: s, current: true}, nil
}

// InitPurchase asks for MAC1 (INIT SAM FOR PURCHASE, purse.md section 9.2).
// It uses up a sequence number and moves no value. It fails with ErrTerminal
// before anything is sent.
func (p *PSAM) InitPurchase(ctx context.Context, card profiles.Card, number money.CardNumber, in PurchaseInit, stamp money.Stamp) (Grant, error) {
	const what = "PSAM init for purchase"
	fen, err := in.Amount.Purse()
	if err != nil {
		return Grant{}, fmt.Errorf("%s: %w: %w", what, ErrAmount, err)
	}
	if in.Terminal != p.terminal {
		return Grant{}, fmt.Errorf("%s: %w", what, ErrTerminal)
	}
	data := append([]byte(nil), in.Random[:]...)
	data = binary.BigEndian.AppendUint16(data, in.Counter)
	data = append(data, fen[:]...)
	data = append(data, in.TxType)
	data = append(data, stamp[:]...)
	data = append(data, in.KeyVersion, in.Algorithm)
	data = append(data, card.SAMFactors(card.PurchaseLevels, number.Factor())...)
	cmd := apdu.Command{CLA: 0x80, INS: 0x70, Data: data, Ne: 8}

	p.session = sessionNone
	var b []byte
	if p.current {
		if b, err = ask(ctx, p.card, nil, what, cmd, 8); err != nil && !answered(err) {
			p.current = false
			return Grant{}, err
		}
	}
	if b == nil {
		// Not selected, or refused, perhaps by another application of this
		// card. Asking twice costs a sequence number at most.
		if p.current, err = false, p.enter(ctx); err == nil {
			b, err = ask(ctx, p.card, nil, what, cmd, 8)
		}
		if err != nil {
			return Grant{}, err
		}
		p.current = true
	}
	p.session = sessionPurchase
	return Grant{Seq: binary.BigEndian.Uint32(b), MAC1: suite.MAC(b[4:])}, nil
}

// Credit has the PSAM check the card's MAC2 of the debit that it last granted
// (CREDIT SAM FOR PURCHASE, purse.md section 9.3). Nil is good; ErrMAC2 is a
// security event, and each one brings the PSAM nearer to locking. It fails
// with ErrSAMSession when the PSAM lost that session: MAC2 is unchecked then.
func (p *PSAM) Credit(ctx context.Context, mac2 suite.MAC) error {
	err := p.finish(ctx, sessionPurchase, "PSAM credit", apdu.Command{CLA: 0x80, INS: 0x72, Data: mac2[:]})
	if errors.Is(err, apdu.SWMACInvalid) {
		err = fmt.Errorf("%w: %w", ErrMAC2, err)
	}
	return err
}
