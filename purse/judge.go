package purse

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Pending is a transaction of a card whose end is not known, as the terminal
// journalled it before it sent CREDIT or DEBIT (purse.md section 12.2).
type Pending struct {
	TxType   byte
	Amount   money.Fen
	Before   money.Fen // balance that INITIALIZE showed, journal.NoBalance when not known
	Counter  uint16    // counter that INITIALIZE showed, before its increment
	Terminal money.TerminalID
	Stamp    money.Stamp // date and time under TAC
	Sent     bool        // CREDIT or DEBIT may have been sent
}

// Judgement is how a pending transaction ended, by what the card shows.
type Judgement struct {
	Result   journal.Result   // Done, NotDone or Unknown
	Evidence journal.Evidence // what Done or NotDone rests on
	HasTAC   bool             // TAC (and MAC2 of a purchase) are the card's proof
	TAC      suite.MAC
	MAC2     suite.MAC
	Balance  money.Fen // the card's now, journal.NoBalance when not read
	Counter  uint16    // the card's now, as INITIALIZE shows it
	Counted  bool      // Counter was read
	Note     string    // why, for technicians, in English
}

// Judge finds out how a pending transaction of this card ended (purse.md
// section 12.3). The caller must have compared Info().Number with the
// journal's: on another card every answer would be wrong. It moves nothing
// and may be repeated.
//
// The order of evidence is the card's proof, then its log, then counter and
// balance. A proof names only type and counter, so when the counter was used
// at another terminal instead, the proof is of that transaction; the log
// tells the two apart. What cannot be told is Unknown, with the proof if
// there is one, so that the holder of the TAC key can decide.
//
// An error means that the card stopped answering, or ErrType; the result is
// Unknown then.
func (a *Application) Judge(ctx context.Context, p Pending) (Judgement, error) {
	j := Judgement{Result: journal.Unknown, Balance: journal.NoBalance}
	if p.TxType != a.LoadType() && p.TxType != a.PurchaseType() {
		return j, fmt.Errorf("judge: %w: %02X", ErrType, p.TxType)
	}
	if !p.Sent {
		j.decide(journal.NotDone, journal.EvidenceNotSent, "the command that moves value was not sent")
		return j, nil
	}
	proof, err := a.Prove(ctx, p.TxType, p.Counter+1)
	denied := errors.Is(err, ErrNoProof)
	switch {
	case err == nil:
		j.HasTAC, j.TAC = true, proof.TAC
		if p.TxType == a.PurchaseType() {
			j.MAC2 = proof.MAC2
		}
	case !denied && !answered(err):
		return j, err
	}
	if err := a.look(ctx, p, &j); err != nil {
		return j, err
	}
	moved := int(j.Counter - p.Counter) // modulo 2^16
	if !j.Counted {
		moved = -1
	}
	if moved == 0 && !j.HasTAC && (j.Balance == p.Before || p.Before == journal.NoBalance) {
		j.decide(journal.NotDone, journal.EvidenceCounter, "counter and balance have not moved")
		return j, nil
	}
	h, err := a.history(ctx, p, moved, j.Balance-p.Before)
	if err != nil {
		return j, err
	}
	expected := moved == 1 && p.Before != journal.NoBalance && j.Balance == p.after()
	switch {
	case (moved == 0 || moved >= 1<<15) && (j.HasTAC || h.ours):
		j.Note = "the card contradicts itself: evidence of the transaction, but its counter has not moved on"
	case h.ours && j.HasTAC:
		j.decide(journal.Done, journal.EvidenceProof, "proof and log record")
	case h.ours:
		j.decide(journal.Done, journal.EvidenceLog, "log record; the proof is lost")
	case h.accounts:
		j.HasTAC, j.TAC, j.MAC2 = false, suite.MAC{}, suite.MAC{} // of another terminal's transaction
		j.decide(journal.NotDone, journal.EvidenceLog, "the log accounts for all that moved since, without this transaction")
	case h.doubt:
		j.Note = "a log record may be this transaction or another terminal's, or was not read"
	case j.HasTAC && (expected || moved > 1 || !j.Counted && !h.read):
		j.decide(journal.Done, journal.EvidenceProof, "proof")
	case expected && !h.read:
		j.decide(journal.Done, journal.EvidenceCounter, "counter and balance moved as this transaction moves them; the proof is lost")
	case denied && !j.Counted && h.read && j.Balance == p.Before:
		j.decide(journal.NotDone, journal.EvidenceLog, "no proof, no log record, and the balance has not moved")
	default:
		j.Note = "proof, log, counter and balance do not tell: the card was used elsewhere, or does not keep its own rules"
	}
	return j, nil
}

func (j *Judgement) decide(r journal.Result, e journal.Evidence, note string) {
	j.Result, j.Evidence, j.Note = r, e, note
}

// after is the balance that p leaves.
func (p Pending) after() money.Fen {
	if p.load() {
		return p.Before + p.Amount
	}
	return p.Before - p.Amount
}

func (p Pending) load() bool { return p.TxType == suite.TypeEDLoad || p.TxType == suite.TypeEPLoad }

// look reads counter and balance by an INITIALIZE of zero fen, which cards
// accept (purse.md sections 7.1 and 12.3). When the card refuses that, as for
// a load that wants a PIN first, the balance alone must do.
func (a *Application) look(ctx context.Context, p Pending, j *Judgement) error {
	var err error
	if p.load() {
		var in LoadInit
		if in, err = a.initLoad(ctx, 0, p.Terminal); err == nil {
			j.Balance, j.Counter, j.Counted = in.Before, in.Counter, true
		}
	} else {
		var in PurchaseInit
		if in, err = a.initPurchase(ctx, 0, p.Terminal); err == nil {
			j.Balance, j.Counter, j.Counted = in.Before, in.Counter, true
		}
	}
	if err == nil {
		return nil
	}
	if answered(err) {
		var b money.Fen
		if b, err = a.Balance(ctx); err == nil {
			j.Balance = b
		}
	}
	if err != nil && !answered(err) {
		return err
	}
	return nil
}

// history is what the log says of a pending transaction.
type history struct {
	read     bool // the card gave at least one record
	ours     bool // one of them is the transaction
	doubt    bool // one of them has its type, its amount and either its terminal or its time, or could not be read
	accounts bool // the newest records explain every step of counter and balance since, and none is, or may be, the transaction
}

// history reads the log, newest first, as far as needed. moved is how far
// the transaction's counter moved, -1 when not known; delta is how the
// balance did. The counters in the records are not used: cards differ in
// what they write there (purse.md section 1, setting 2).
func (a *Application) history(ctx context.Context, p Pending, moved int, delta money.Fen) (history, error) {
	var h history
	var sum money.Fen
	steps, clear := 0, p.Before != journal.NoBalance // of the same counter; clear: nothing seen that would spoil an account
	for i := 1; ; i++ {
		if clear && steps == moved && sum == delta {
			h.accounts = true
			return h, nil
		}
		if i > maxLog {
			return h, nil
		}
		r, ok, err := a.record(ctx, i)
		if err != nil && !answered(err) {
			return h, err
		}
		if err != nil && !hidden(err) {
			h.doubt = true // what could not be read now may be another terminal's
			return h, nil
		}
		if err != nil || !ok {
			return h, nil
		}
		h.read = true
		sign, purse, online := effect(r.TxType)
		if purse != 0 && purse != a.purse() {
			continue // the card's other purse
		}
		if purse == 0 {
			clear = false
			continue
		}
		if a.profile.UnifiedCounters || online == p.load() {
			if steps++; moved >= 0 && steps > moved {
				return h, nil // older than the transaction
			}
		}
		if r.TxType == p.TxType && r.Amount == p.Amount {
			switch terminal, stamp := r.Terminal == p.Terminal, r.Stamp == p.Stamp; {
			case terminal && stamp:
				h.ours = true
				return h, nil
			case terminal || stamp:
				// The transaction, written otherwise than we know, or one of
				// another terminal in the same second.
				clear, h.doubt = false, true
			}
		}
		sum += money.Fen(sign) * r.Amount
	}
}

// hidden reports whether the card answered that it has no log, or shows it to
// nobody: it will say so again, unlike a card whose memory just failed.
func hidden(err error) bool {
	switch sw, _ := word(err); sw {
	case apdu.SWIncompatibleFile, apdu.SWSecurityNotSatisfied, apdu.SWConditionsNotMet,
		apdu.SWFunctionNotSupported, apdu.SWFileNotFound, apdu.SWINSNotSupported, apdu.SWCLANotSupported:
		return true
	}
	return false
}

// effect tells what a transaction type does to its purse's balance, which
// purse that is (P2 of the purse commands) and which of its counters moves
// (purse.md section 2). purse is 0 for types whose effect is not known.
func effect(typ byte) (sign int, purse byte, online bool) {
	switch typ {
	case suite.TypeEDLoad:
		return +1, 0x01, true
	case suite.TypeEPLoad:
		return +1, 0x02, true
	case suite.TypeEDUnload:
		return -1, 0x01, true
	case suite.TypeEDCash, suite.TypeEDPurchase:
		return -1, 0x01, false
	case suite.TypeEPPurchase, suite.TypeEPCompound:
		return -1, 0x02, false
	}
	return 0, 0, false
}
