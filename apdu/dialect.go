package apdu

import "fmt"

// Dialect is what a card operating system means by its status words where
// that differs from the generic meaning: a dialect word and the standard one
// it stands for. A nil Dialect is the standard language. Card profiles carry
// one (purse.md section 1, settings 5 to 7).
type Dialect map[SW]Meaning

// Meaning is what a dialect says about one status word.
type Meaning struct {
	Means SW     // the standard word that says the same; 0 = the word itself
	Text  string // for technicians, in English; empty = the text of Means
}

// Normal gives the standard word for sw, or sw itself. A dialect can't turn
// a word into 9000, nor 9000 into another: what succeeded is not a matter of
// language.
func (d Dialect) Normal(sw SW) SW {
	if m := d[sw].Means; m != 0 && m != SWOK && sw != SWOK {
		return m
	}
	return sw
}

// Err gives the error that sw stands for: nil for 9000, else a *StatusError.
func (d Dialect) Err(sw SW) error {
	if sw == SWOK {
		return nil
	}
	return &StatusError{SW: sw, Means: d.Normal(sw), Text: d[sw].Text}
}

// StatusError is a status word with the meaning that a profile gives it.
// errors.Is holds for the word that the card sent and for the standard word
// that it means; errors.As into an SW gives the standard word.
type StatusError struct {
	SW    SW     // as the card sent it
	Means SW     // the standard word, equal to SW when the dialect is silent
	Text  string // the profile's own words, may be empty
}

// Error gives the card's word, the meaning, and the standard word if that is
// another one.
func (e *StatusError) Error() string {
	text := e.Text
	if text == "" {
		text = e.Means.Meaning()
	}
	if e.Means != e.SW {
		return fmt.Sprintf("%04X %s (as %04X)", uint16(e.SW), text, uint16(e.Means))
	}
	return fmt.Sprintf("%04X %s", uint16(e.SW), text)
}

// Is reports whether target is the word that the card sent.
func (e *StatusError) Is(target error) bool { return target == error(e.SW) }

// Unwrap gives the standard word.
func (e *StatusError) Unwrap() error { return e.Means }

// MayHaveExecuted is always false: the card answered, its answer is known.
func (e *StatusError) MayHaveExecuted() bool { return false }
