package apdu

import (
	"context"
	"fmt"
)

// Replay is a Transmitter that plays a trace back. It answers each command
// with the recorded response and fails at the first command that differs
// with a *MismatchError; after a failure every further exchange fails the
// same way, since what a real card would do is no longer known.
//
// Two commands are the same when class, instruction, parameters and data are
// equal. Le counts only when both have one: recordings of T=0 cards leave it
// out and others write it, and 805001020B… is the same command with and
// without. Redacted bytes of the trace match any byte; their number counts.
// A command for which the trace holds no response, or only "(text)", fails
// with ErrReplayUnknown, which counts as "may have executed": that is how a
// recorded tear is played back.
//
// It is not safe for concurrent use.
type Replay struct {
	lines []Line
	next  int
	err   error
}

// NewReplay gives a Replay of t from its beginning.
func NewReplay(t Trace) *Replay { return &Replay{lines: t.Lines} }

// MismatchError tells where a replayed session leaves the trace. No card has
// been touched.
type MismatchError struct {
	Line   int    // line of the trace, from 1
	Offset int    // index of the first byte that differs, from 0
	Want   string // the trace's byte there: two hex digits or "nothing"
	Got    string // the byte that was sent; "**" when it may be secret
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("apdu: command differs from line %d of the trace at byte %d: trace has %s, sent %s", e.Line, e.Offset+1, e.Want, e.Got)
}

// MayHaveExecuted is always false.
func (e *MismatchError) MayHaveExecuted() bool { return false }

type replayError struct {
	err      error
	line     int
	executed bool
}

func (e *replayError) Error() string         { return fmt.Sprintf("%v (line %d)", e.err, e.line) }
func (e *replayError) Unwrap() error         { return e.err }
func (e *replayError) MayHaveExecuted() bool { return e.executed }

// Transmit gives the recorded response to command. It fails with
// *MismatchError, ErrReplayEnd or ErrReplayUnknown, or the error of ctx.
func (r *Replay) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	response, err := r.step(command)
	r.err = err
	return response, err
}

func (r *Replay) step(command []byte) ([]byte, error) {
	at, ok := r.find()
	if !ok {
		return nil, &replayError{err: ErrReplayEnd, line: len(r.lines)}
	}
	recorded := r.lines[at]
	if recorded.Kind != LineCommand || recorded.Unknown != "" {
		return nil, &replayError{err: ErrReplayUnknown, line: at + 1}
	}
	if m := compare(recorded, command); m != nil {
		m.Line = at + 1
		return nil, m
	}
	r.next = at + 1
	answer, ok := r.find()
	if !ok || r.lines[answer].Kind != LineResponse || r.lines[answer].Unknown != "" || r.lines[answer].Redacted != nil {
		return nil, &replayError{err: ErrReplayUnknown, line: at + 1, executed: true}
	}
	r.next = answer + 1
	return append([]byte(nil), r.lines[answer].Data...), nil
}

// find gives the next line that is a command or a response.
func (r *Replay) find() (int, bool) {
	for i := r.next; i < len(r.lines); i++ {
		if k := r.lines[i].Kind; k == LineCommand || k == LineResponse {
			return i, true
		}
	}
	return 0, false
}

// Remaining is the number of recorded commands that have not been asked for.
func (r *Replay) Remaining() int {
	n := 0
	for _, l := range r.lines[r.next:] {
		if l.Kind == LineCommand {
			n++
		}
	}
	return n
}

// compare gives nil when both are the same command.
func compare(recorded Line, sent []byte) *MismatchError {
	want := recorded.Data
	a, errA := ParseCommand(want)
	b, errB := ParseCommand(sent)
	if errA == nil && errB == nil && (a.Ne == 0 || b.Ne == 0) {
		want, sent = withoutLe(want), withoutLe(sent)
	}
	secret := RedactSecrets.hidesData(sent)
	start, end := commandData(sent)
	for i := range max(len(want), len(sent)) {
		if i < len(want) && i < len(sent) && (want[i] == sent[i] || recorded.isRedacted(i)) {
			continue
		}
		m := &MismatchError{Offset: i, Want: "nothing", Got: "nothing"}
		if i < len(want) {
			m.Want = fmt.Sprintf("%02X", want[i])
		}
		if i < len(sent) {
			m.Got = fmt.Sprintf("%02X", sent[i])
		}
		if secret && i >= start && i < end {
			if i < len(want) {
				m.Want = "**"
			}
			m.Got = "**"
		}
		return m
	}
	return nil
}

// withoutLe cuts Le off a well-formed command; the short and the extended
// form of the lengths stay different.
func withoutLe(b []byte) []byte {
	if start, end := commandData(b); start < end {
		return b[:end]
	}
	return b[:4]
}
