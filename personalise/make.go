package personalise

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
)

// Outcome is what became of one card.
type Outcome string

// Outcomes of a card.
const (
	Made    Outcome = "made"
	Resumed Outcome = "resumed" // made, having been half-written
	Already Outcome = "already" // it was made before, and nothing was written
	Left    Outcome = "left"    // it went away half-written: put it in again
	Waste   Outcome = "waste"   // nobody can finish it
	Refused Outcome = "refused" // not touched, or the card said no
)

// Result is a card, what became of it and what was found on it.
type Result struct {
	Order    Order
	Outcome  Outcome
	Found    int  // steps that an earlier call had done
	Bound    bool // the card bears the number, or keys that are made of it
	Findings Findings
}

// Options is how a card is made.
type Options struct {
	// Erase takes away first what is on the card: only of test cards, and of
	// those that were never finished.
	Erase bool
	// Bind is called before the first command that carries the number; when
	// it fails nothing of the number is on the card.
	Bind func() error
	// Note gets every command that writes, without keys and cryptograms,
	// before it is sent.
	Note func(Step)
}

// Make makes the card, goes on with one that was left half-written, or finds
// that it is done; then it resets the card and reads it back. Result.Outcome
// is right also when it fails: then with ErrOther, ErrInUse, ErrBlocked,
// ErrForeign, ErrErase, ErrDeadEnd, ErrDiffers, a status word of the card, or
// what the reader said.
func (p *Plan) Make(ctx context.Context, c Card, o Options) (Result, error) {
	res := Result{Order: p.o, Outcome: Refused}
	if err := c.Reset(ctx); err != nil {
		return res, err
	}
	seen, err := p.d.Look(ctx, c)
	if err != nil {
		return res, err
	}
	if o.Erase && !seen.Blank {
		if err := p.erase(ctx, c, seen, o); err != nil {
			return res, err
		}
		if err := c.Reset(ctx); err != nil {
			return res, err
		}
		seen = Seen{Blank: true}
	}
	switch {
	case seen.Named && seen.Number != p.o.Number:
		return res, fmt.Errorf("%w: %s", ErrOther, seen.Number)
	case seen.Named:
		f, err := p.Verify(ctx, c, false)
		res.Findings = f
		switch {
		case err != nil:
			return res, err
		case f.has(Wrong) != nil:
			w := f.has(Wrong)
			return res, fmt.Errorf("%w: %s: %s", ErrDiffers, w.What, w.Says)
		case f.Whole():
			res.Outcome = Already
			return res, nil
		case f.Used:
			return res, fmt.Errorf("%w, and it lacks %s", ErrInUse, f.has(Missing).What)
		}
		if err := c.Reset(ctx); err != nil {
			return res, err
		}
	}
	w := p.writer(ctx, c)
	w.bind = o.Bind
	if o.Note != nil {
		w.note = func(what string, l apdu.Line) { o.Note(Step{what, l}) }
	}
	if p.d.Transport == "" {
		w.there[mf], w.resume = !seen.Blank, !seen.Blank
	} else {
		if seen.Blank {
			return res, fmt.Errorf("%w: the card has no master file, and so no transport key", ErrOrder)
		}
		w.there[mf], w.resume = true, seen.Named
	}
	err = w.run()
	res.Found, res.Bound = w.found, w.bound || seen.Named
	if err != nil {
		res.Outcome = outcomeOf(err, w.bound)
		return res, err
	}
	if err := c.Reset(ctx); err != nil {
		res.Outcome = Left
		return res, fmt.Errorf("all was written and not yet read back: %w", err)
	}
	if res.Findings, err = p.Verify(ctx, c, true); err != nil {
		res.Outcome = outcomeOf(err, true)
		return res, fmt.Errorf("all was written and not yet read back: %w", err)
	}
	for _, v := range []Verdict{Wrong, Missing} {
		if bad := res.Findings.has(v); bad != nil {
			return res, fmt.Errorf("%w: %s is %s: %s", ErrDiffers, bad.What, v, bad.Says)
		}
	}
	res.Outcome = Made
	if w.resume && res.Found > 0 {
		res.Outcome = Resumed
	}
	return res, nil
}

// outcomeOf tells a card that went away from one that said no.
func outcomeOf(err error, bound bool) Outcome {
	switch {
	case errors.Is(err, ErrDeadEnd):
		return Waste
	case errors.Is(err, ErrForeign), refused(err) && !bound:
		return Refused
	case refused(err), errors.Is(err, ErrDiffers):
		return Refused
	}
	return Left
}

// erase empties a card (purse.md section 11.4): one that says that it is a
// test card, or says nothing of an issuer and so was never finished; and in
// either case one that takes our test control key, or has none.
func (p *Plan) erase(ctx context.Context, c Card, seen Seen, o Options) error {
	switch {
	case !p.keys.Test():
		return fmt.Errorf("%w: the keys are no test keys", ErrErase)
	case p.d.Transport != "":
		return fmt.Errorf("%w: the maker's transport key would go with it", ErrErase)
	case seen.Issued && !seen.Test():
		return fmt.Errorf("%w: its issuer is %X", ErrErase, seen.Issuer)
	case !seen.Issued && p.d.MF.control() == nil:
		return fmt.Errorf("%w: it does not say whose it is", ErrErase)
	}
	q := *p
	if seen.Named {
		q.o.Number = seen.Number
	}
	w := q.writer(ctx, c)
	if o.Note != nil {
		w.note = func(what string, l apdu.Line) { o.Note(Step{what, l}) }
	}
	if err := w.enter(mf); err != nil {
		return err
	}
	if k := p.d.MF.control(); k != nil {
		left, err := w.authenticate(mf, w.key(k), k.ID)
		switch {
		case err != nil && !absent(err):
			return err
		case err == nil && left >= 0:
			return &ForeignError{w.dirName(mf), left}
		}
	}
	err := w.do("erase the card", eraseCommand, shown)
	if errors.Is(err, apdu.SWSecurityNotSatisfied) {
		return fmt.Errorf("%w: %w", ErrDeadEnd, err)
	}
	return err
}

// Owner finds out whether a card without a number was begun for the plan's:
// whether its master file takes the control key that is derived from it. It
// costs a try of that key when it does not; left tells how many remain, -1
// when the card has no control key, and so nothing of any number.
func (p *Plan) Owner(ctx context.Context, c Card) (yes bool, left int, err error) {
	k := p.d.MF.control()
	if k == nil {
		return false, -1, nil
	}
	if err := c.Reset(ctx); err != nil {
		return false, 0, err
	}
	w := p.writer(ctx, c)
	if err := w.enter(mf); err != nil {
		return false, 0, err
	}
	left, err = w.authenticate(mf, w.key(k), k.ID)
	switch {
	case err != nil && absent(err):
		return false, -1, nil
	case err != nil:
		return false, 0, err
	}
	return left < 0, left, nil
}
