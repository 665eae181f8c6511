package printer

import "time"

// State is what a printer is like in one word.
type State string

// States. All but StateOK keep a slip from being printed.
const (
	StateOK        State = "ok"
	StateNoAnswer  State = "no_answer"  // switched off, unplugged, or no ESC/POS printer
	StateCoverOpen State = "cover_open" // the cover of the paper roll
	StatePaperOut  State = "paper_out"
	StateCutter    State = "cutter_error"
	StateFault     State = "fault"   // mechanical, or hot: the printer's own lamp says more
	StateOffline   State = "offline" // by its own switch, or for a reason that it does not tell
)

// States lists every state.
var States = []State{StateOK, StateNoAnswer, StateCoverOpen, StatePaperOut, StateCutter, StateFault, StateOffline}

// Status is what a printer said of itself in one round of DLE EOT 1 to 4. The
// zero value is no answer, which is never taken for a good one.
type Status struct {
	Answered      bool // all four questions were
	Offline       bool
	CoverOpen     bool
	PaperOut      bool
	PaperLow      bool // near its end: still prints
	Cutter        bool
	Unrecoverable bool
	Recoverable   bool // an error that ends by itself, as a hot head
	InUse         bool // another program holds the line
	At            time.Time
	Detail        string // why there was no answer, for the technician
}

// State gives the word that matters most to who stands before it.
func (s Status) State() State {
	switch {
	case !s.Answered:
		return StateNoAnswer
	case s.CoverOpen:
		return StateCoverOpen
	case s.PaperOut:
		return StatePaperOut
	case s.Cutter:
		return StateCutter
	case s.Unrecoverable, s.Recoverable:
		return StateFault
	case s.Offline:
		return StateOffline
	}
	return StateOK
}

// Good reports whether a slip can be printed.
func (s Status) Good() bool { return s.State() == StateOK }

// isStatus reports whether a byte can be an answer to DLE EOT: bits 0 and 7
// are 0, bits 1 and 4 are 1. XON (11), XOFF (13), the automatic status and an
// echo of the question can't.
func isStatus(b byte) bool { return b&0x93 == 0x12 }

// isOrdered reports whether a byte can be an answer to GS r: bits 4 and 7 are
// 0. It comes in its turn, after everything sent before was carried out.
func isOrdered(b byte) bool { return b&0x90 == 0 }

// isOurs reports whether a byte can come from a printer that we talk to: a
// status, flow control, an answer to GS r 1, or what it says after it cleared
// its memory (37 25 00). Anything else comes from another kind of device, and
// bytes of such may look like a status by chance.
func isOurs(b byte) bool {
	return isStatus(b) || b&0xF0 == 0 || b == 0x11 || b == 0x13 || b == 0x37 || b == 0x25
}

// questions is how many kinds of DLE EOT there are.
const questions = 4

// take adds the answer to DLE EOT n, n from 1 to 4, and reports whether the
// byte can be one.
func (s *Status) take(n int, b byte) bool {
	if !isStatus(b) {
		return false
	}
	switch n {
	case 1: // the printer
		s.Offline = s.Offline || b&0x08 != 0
	case 2: // why it is off line
		s.CoverOpen = s.CoverOpen || b&0x04 != 0
		s.PaperOut = s.PaperOut || b&0x20 != 0
		s.Recoverable = s.Recoverable || b&0x40 != 0 // which one follows
	case 3: // errors
		s.Recoverable = b&0x44 != 0 || s.Recoverable && b&0x28 == 0
		s.Cutter = s.Cutter || b&0x08 != 0
		s.Unrecoverable = s.Unrecoverable || b&0x20 != 0
	case 4: // the paper roll
		s.PaperLow = s.PaperLow || b&0x0C != 0
		s.PaperOut = s.PaperOut || b&0x60 != 0
	}
	return true
}
