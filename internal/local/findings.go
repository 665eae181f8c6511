package local

import (
	"fmt"
	"time"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/money"
)

// Bounds of what is worth a word.
const (
	skewMost       = 5 * time.Minute     // between the utility's clock and this one
	syncLate       = 24 * time.Hour      // since the last sync
	unsentLate     = 24 * time.Hour      // since the oldest entry that waits
	certificateLow = 14 * 24 * time.Hour // it is renewed by itself long before
)

// findings are what a doctor says.
type findings []checkup.Finding

func (f *findings) say(check, state, next, format string, args ...any) {
	*f = append(*f, checkup.Finding{Check: check, State: state, Says: fmt.Sprintf(format, args...), Next: next})
}

// Findings is what a doctor says of a terminal that stands so.
func (s State) Findings(now time.Time) []checkup.Finding {
	e := &findings{}
	if s.Stopped {
		e.say("daemon", checkup.Problem, "journalctl -u kioskd tells why; look at the disk, then systemctl restart kioskd", "it has stopped taking transactions")
	} else {
		e.say("daemon", checkup.OK, "", "serves terminal %s, epoch %d, %d entries", s.Terminal, s.Epoch, s.Entries)
	}
	at := func(t time.Time) string { return t.In(money.CST).Format(time.DateTime) }
	const network = "look at the network and at `utility` in the configuration"
	why := ""
	if s.LinkError != "" {
		why = ": " + s.LinkError
	}
	switch {
	case s.LastSync.IsZero():
		e.say("last sync", checkup.Warning, network, "none since the daemon began%s", why)
	case now.Sub(s.LastSync) > syncLate:
		e.say("last sync", checkup.Warning, network, "%s%s", at(s.LastSync), why)
	case !s.Online:
		e.say("last sync", checkup.Warning, "look at the network; the terminal goes on without it within its limits", "%s, off line now%s", at(s.LastSync), why)
	default:
		e.say("last sync", checkup.OK, "", "%s, on line", at(s.LastSync))
	}
	if s.Standing != "" && s.Standing != "good" {
		e.say("standing", checkup.Problem, "call head office: the terminal may have to be enrolled again", "the utility says of its journal: %s", s.Standing)
	}
	if skew := time.Duration(s.Skew) * time.Millisecond; !s.LastSync.IsZero() {
		if skew.Abs() > skewMost {
			e.say("clock skew", checkup.Problem, "set the clock right; records go by number and are not affected", "the utility's clock and this one are %s apart", skew.Abs().Round(time.Second))
		} else {
			e.say("clock skew", checkup.OK, "", "%s between the utility's clock and this one", skew.Abs().Round(time.Millisecond))
		}
	}
	switch oldest := time.UnixMilli(s.Oldest); {
	case s.Unsent == 0:
		e.say("journal", checkup.OK, "", "the utility has all of it")
	case now.Sub(oldest) > unsentLate:
		e.say("journal", checkup.Warning, "bring the terminal on line; leave it switched on and its file in place until all is sent", "%d entries not sent, the oldest of %s", s.Unsent, at(oldest))
	default:
		e.say("journal", checkup.OK, "", "%d entries not sent, the oldest of %s", s.Unsent, at(oldest))
	}
	if s.Unknown > 0 {
		e.say("unknown", checkup.Warning, "let the terminal see the cards again: it settles by itself what they prove", "%d transactions are not certain", s.Unknown)
	}
	if s.Copy {
		e.say("second copy", checkup.Problem, "kioskd doctor tells what is wrong with it", "the second copy of what is not sent is not whole")
	}
	if end := s.Certificate; !end.IsZero() {
		switch left := end.Sub(now); {
		case left <= 0:
			e.say("certificate", checkup.Problem, "connect; if the utility does not take it any more, enrol again", "it ended on %s", end.Format(time.DateOnly))
		case left < certificateLow:
			e.say("certificate", checkup.Warning, "connect: it is renewed by itself", "it ends on %s", end.Format(time.DateOnly))
		default:
			e.say("certificate", checkup.OK, "", "until %s", end.Format(time.DateOnly))
		}
	}
	e.module("psam", "nothing can be paid", s.PSAM)
	if s.HasLoadSAM {
		e.module("load sam", "no top-up off line", s.LoadSAM)
		switch a := s.Allowance; {
		case !a.Known:
		case a.Count == 0 || a.Amount == 0:
			e.say("allowance", checkup.Warning, "bring the terminal on line: it asks for more by itself", "it is used up: no top-up off line")
		default:
			e.say("allowance", checkup.OK, "", "%s yuan in %d loads off line", money.Fen(a.Amount), a.Count)
		}
	}
	if s.Profiles != "" {
		e.say("profiles", checkup.Problem, "correct the file: cardtool profile check tells its lines; it is read again by itself", "those of before are in force, since the folder of profiles is broken: %s", s.Profiles)
	}
	if s.Card == "no_reader" {
		e.say("card reader", checkup.Problem, "cardtool doctor tells what is wrong with it", "the daemon has no reader for the customer's card")
	}
	return *e
}

func (e *findings) module(check, without string, m SAM) {
	switch {
	case !m.Present:
		e.say(check, checkup.Problem, "cardtool psam info tells what is in the slot", "the daemon has none: %s", without)
	case m.Problem != "":
		e.say(check, checkup.Problem, "tell head office; docs/reliability.md says what the word means", "%s: %s", m.Serial, m.Problem)
	default:
		e.say(check, checkup.OK, "", "%s", m.Serial)
	}
}
