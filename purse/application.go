package purse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Application is the purse of one card in one power session. It is not safe
// for concurrent use. When the card was removed or reset, it is dead: Select
// again and compare Info().Number.
type Application struct {
	card    Card
	profile profiles.Card
	info    PublicInfo
	pending byte // transaction type of the INITIALIZE that the card waits to execute, 0 = none
}

// Select finds the purse application by trying the candidates' names in
// order, and reads its public information. It fails with ErrNoPurse when no
// candidate is there, ErrBlocked when one is there but blocked, and
// ErrPublicInfo.
func Select(ctx context.Context, c Card, candidates []profiles.Card) (*Application, error) {
	var missing error = ErrNoPurse
	for _, p := range candidates {
		r, err := apdu.Send(ctx, c, selectName(p.AID))
		if err != nil {
			return nil, fmt.Errorf("select: %w", err)
		}
		switch sw := p.StatusWords.Normal(r.SW); sw {
		case apdu.SWOK:
		case apdu.SWFunctionNotSupported, apdu.SWSelectedInvalidated, apdu.SWApplicationLocked: // purse.md section 1, setting 5
			missing = fmt.Errorf("%w: %w", ErrBlocked, status(p.StatusWords, r.SW))
			continue
		default:
			continue
		}
		a := &Application{card: c, profile: p}
		b := quotedInfo(r.Data)
		if b == nil {
			read := apdu.Command{CLA: 0x00, INS: 0xB0, P1: 0x80 | p.InfoSFI, Ne: p.InfoLayout.Size()}
			if b, err = ask(ctx, c, p.StatusWords, "read public information", read, read.Ne); err != nil {
				if answered(err) {
					err = fmt.Errorf("%w: %w", ErrPublicInfo, err)
				}
				return nil, err
			}
		}
		if a.info, err = parsePublicInfo(b); err != nil {
			return nil, err
		}
		return a, nil
	}
	return nil, missing
}

func selectName(name []byte) apdu.Command {
	return apdu.Command{CLA: 0x00, INS: 0xA4, P1: 0x04, Data: name, Ne: apdu.MaxShortNe}
}

// Profile is the card profile that Select found.
func (a *Application) Profile() profiles.Card { return a.profile }

// Info is the public information as read by Select.
func (a *Application) Info() PublicInfo { return a.info }

// LoadType and PurchaseType are the transaction types of this purse
// (purse.md section 2).
func (a *Application) LoadType() byte {
	if a.profile.ED {
		return suite.TypeEDLoad
	}
	return suite.TypeEPLoad
}

// PurchaseType is the type of a purchase from this purse.
func (a *Application) PurchaseType() byte {
	if a.profile.ED {
		return suite.TypeEDPurchase
	}
	return suite.TypeEPPurchase
}

// purse is P2 of the purse commands: 01 ED, 02 EP (purse.md section 7).
func (a *Application) purse() byte {
	if a.profile.ED {
		return 0x01
	}
	return 0x02
}

// ask sends a command that moves no value. Whatever the card waited to
// execute is gone afterwards on a strict card (purse.md section 8.1), so it
// is forgotten here too.
func (a *Application) ask(ctx context.Context, what string, cmd apdu.Command, want int) ([]byte, error) {
	a.pending = 0
	return ask(ctx, a.card, a.profile.StatusWords, what, cmd, want)
}

// Balance reads the balance (GET BALANCE, purse.md section 7.9).
func (a *Application) Balance(ctx context.Context) (money.Fen, error) {
	b, err := a.ask(ctx, "get balance", apdu.Command{CLA: 0x80, INS: 0x5C, P2: a.purse(), Ne: 4}, 4)
	if err != nil {
		return 0, err
	}
	return money.FromPurse([4]byte(b)), nil
}

// Log reads the card's own log, newest first, at most ten records; it ends at
// the first record that the card does not have or has never written.
func (a *Application) Log(ctx context.Context) ([]LogRecord, error) {
	var list []LogRecord
	for i := 1; i <= maxLog; i++ {
		r, ok, err := a.record(ctx, i)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		list = append(list, r)
	}
	return list, nil
}

// record reads the log record i, 1 the newest. ok is false past the end.
func (a *Application) record(ctx context.Context, i int) (r LogRecord, ok bool, err error) {
	cmd := apdu.Command{CLA: 0x00, INS: 0xB2, P1: byte(i), P2: a.profile.LogSFI<<3 | 4, Ne: logRecordLen}
	b, err := a.ask(ctx, "read log", cmd, logRecordLen)
	if errors.Is(err, apdu.SWRecordNotFound) {
		return LogRecord{}, false, nil
	}
	if err != nil {
		return LogRecord{}, false, err
	}
	r = parseLogRecord([logRecordLen]byte(b), a.profile.LogCounterPost)
	if r.TxType == 0x00 || r.TxType == 0xFF { // no transaction type: erased or never written
		return LogRecord{}, false, nil
	}
	return r, true, nil
}

// VerifyPIN presents the cardholder's PIN, 4 to 12 digits (VERIFY, purse.md
// section 6). It fails with ErrPIN before anything is sent, with *TriesError
// when the PIN is wrong or blocked. No error shows the PIN.
func (a *Application) VerifyPIN(ctx context.Context, pin string) error {
	if len(pin) < 4 || len(pin) > 12 || strings.Trim(pin, "0123456789") != "" {
		return ErrPIN
	}
	data := []byte(pin)
	if !a.profile.PINASCII {
		if len(pin)%2 != 0 {
			data = append(data, 'F')
		}
		n, _ := hex.Decode(data, data) // digits only: cannot fail
		data = data[:n]
	}
	defer clear(data)
	_, err := a.ask(ctx, "verify PIN", apdu.Command{CLA: 0x00, INS: 0x20, Data: data}, 0)
	if sw, ok := word(err); ok {
		if left, ok := sw.TriesLeft(); ok {
			return &TriesError{Left: left}
		}
		if sw == apdu.SWMethodBlocked {
			return &TriesError{}
		}
	}
	return err
}
