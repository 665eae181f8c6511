// Package t1 is the terminal's side of the block protocol T=1 of ISO/IEC
// 7816-3 clause 11, for readers that leave it to the host.
//
// It may import apdu and the standard library. It must never send a command
// a second time: what was lost is repeated block by block, under the sequence
// number by which the card knows that it has it already, and where that does
// not help the exchange ends with an error that says whether the card may
// have acted.
package t1

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
)

// Errors that a Line gives for a block that did not come, or not whole. The
// block is then asked for again; any other error of a Line ends the Link.
var (
	ErrSilence = errors.New("t1: no block within the waiting time")
	ErrCorrupt = errors.New("t1: a block came damaged")
)

// Why an exchange failed, in *Error.
var (
	ErrMute    = errors.New("t1: the card has not given one good block")
	ErrLost    = errors.New("t1: the answer was lost; card and terminal count anew")
	ErrAborted = errors.New("t1: the card broke the message off")
	ErrBroken  = errors.New("t1: the card does not follow the protocol any more; only a reset helps")
	ErrTooLong = errors.New("t1: the answer is longer than any answer may be")
	ErrEmpty   = errors.New("t1: nothing to send")
)

// Error is why an exchange failed. After ErrLost and ErrAborted the next one
// may follow; after every other the card must be reset.
type Error struct {
	Kind     error // one of the above
	Cause    error // what the Line said, or nil
	Executed bool  // the whole command may have reached the card
}

// Error names the kind and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%v (%v)", e.Kind, e.Cause)
	}
	return e.Kind.Error()
}

// Unwrap makes errors.Is work for kind and cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// MayHaveExecuted is read by apdu.MayHaveExecuted.
func (e *Error) MayHaveExecuted() bool { return e.Executed }

// Line carries a block to the card and brings the next one.
type Line interface {
	// Block sends block and reads what answers it into answer, which has room
	// for MaxBlock bytes. wait, 1 to 255, is how many block waiting times the
	// card may take. It fails with ErrSilence or ErrCorrupt, or with an error
	// of its own when there is no card or no reader any more.
	Block(ctx context.Context, block, answer []byte, wait int) (n int, err error)
}

// Params are what the answer to reset says of T=1.
type Params struct {
	IFSC int  // information field size of the card, 1 to 254; 0: 32
	CRC  bool // check by CRC; else by LRC
}

// Stats counts what went wrong on a Link and was mended, for the quality of
// the contacts.
type Stats struct {
	Repeats   int // blocks that had to be sent again, by either side
	Resynchs  int
	Waits     int // requests of the card for more time
	Exchanges int
}

// tries is how often something is attempted before the next harder measure
// (clause 11.6.3.2 rule 7.4).
const tries = 3

// Link is a card that speaks T=1, from its reset on. It is not for concurrent
// use, and does not allocate once it is made.
type Link struct {
	line   Line
	params Params

	ns, nr     byte // N(S) of our next I-block, and of the card's
	ifsc, ifsd int
	told       bool // the card knows our ifsd
	heard      bool // the card has given a good block once
	broken     error
	stats      Stats

	out  [MaxBlock]byte
	n    int // bytes of out
	last Kind
	wait int // block waiting times for the next answer
	in   [MaxBlock]byte
}

// New gives a link to a card that has just answered reset.
func New(line Line, p Params) *Link {
	if p.IFSC < 1 || p.IFSC > MaxINF {
		p.IFSC = defaultIFS
	}
	return &Link{line: line, params: p, ifsc: p.IFSC, ifsd: defaultIFS}
}

// Stats gives what was counted so far.
func (l *Link) Stats() Stats { return l.stats }

// Start tells the card that its blocks may be MaxINF bytes long. A card that
// answers but does not agree keeps sending short ones. It fails with ErrMute,
// or with what the Line said.
func (l *Link) Start(ctx context.Context) error {
	if l.broken != nil {
		return l.fail(l.broken, nil, false)
	}
	size := [1]byte{MaxINF}
	ok, err := l.supervise(ctx, IFS, size[:])
	if err != nil {
		return err
	}
	if !ok && !l.heard {
		return l.fail(ErrMute, nil, false)
	}
	if ok {
		l.ifsd = MaxINF
	}
	l.told = true
	return nil
}

// Exchange sends a command and appends the answer to dst. It fails with an
// *Error. An endless card is ended by ctx only.
func (l *Link) Exchange(ctx context.Context, dst, command []byte) ([]byte, error) {
	if l.broken != nil {
		return dst, l.fail(l.broken, nil, false)
	}
	if len(command) == 0 {
		return dst, &Error{Kind: ErrEmpty}
	}
	if err := ctx.Err(); err != nil { // nothing was sent, and the card waits on
		return dst, &Error{Kind: err}
	}
	if !l.told {
		if err := l.Start(ctx); err != nil {
			return dst, err
		}
	}
	l.stats.Exchanges++
	from := len(dst)
	piece := min(len(command), l.ifsc) // what the block under way carries
	sending := true                    // our last I-block is not answered yet
	failed, repeated := 0, 0           // in a row
	aborted := false
	whole := func() bool { return piece == len(command) }
	l.info(command[:piece], !whole())
	for {
		b, err := l.turn(ctx)
		if err != nil && !again(err) {
			return dst[:from], l.fail(ErrBroken, err, whole())
		}
		good := err == nil
		if good && b.Kind == S && !b.Response && b.Function != Resynch {
			failed = 0
			switch b.Function {
			case IFS:
				l.ifsc = int(b.INF[0])
			case WTX:
				l.stats.Waits++
				l.wait = int(b.INF[0])
			case Abort:
				if aborted { // it has had its answer
					return dst[:from], l.resynch(ctx, ErrAborted, nil, whole())
				}
				aborted = true
			}
			l.answer(b)
			continue
		}
		if aborted {
			return dst[:from], l.resynch(ctx, ErrAborted, nil, whole())
		}
		switch {
		case good && b.Kind == I && whole() && b.Seq == l.nr && len(b.INF) <= l.ifsd:
			failed, repeated = 0, 0
			if sending {
				sending = false
				l.ns ^= 1
			}
			l.nr ^= 1
			if len(dst)-from+len(b.INF) > apdu.MaxExtendedNe+2 {
				return dst[:from], l.resynch(ctx, ErrTooLong, nil, true)
			}
			dst = append(dst, b.INF...)
			if !b.More {
				return dst, nil
			}
			l.ready(NoError)
			continue
		case good && b.Kind == R && sending && b.Seq != l.ns && !whole():
			failed, repeated = 0, 0
			l.ns ^= 1
			command = command[piece:]
			piece = min(len(command), l.ifsc)
			l.info(command[:piece], !whole())
			continue
		case good && b.Kind == R && b.Seq == l.ns:
			// The card names the I-block that it waits for: it wants our last
			// block again, the same I-block, of the same length whatever the
			// size has become since; or, when it has that, our R.
			failed = 0
			if repeated++; repeated < tries {
				l.stats.Repeats++
				if sending {
					l.info(command[:piece], !whole())
				} else {
					l.ready(NoError)
				}
				continue
			}
		}
		if failed++; failed < tries && repeated < tries {
			l.stats.Repeats++
			switch {
			case l.last == R: // as it was
			case errors.Is(err, ErrCheck) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrSilence):
				l.ready(CheckError)
			default:
				l.ready(OtherError)
			}
			continue
		}
		if !l.heard {
			return dst[:from], l.fail(ErrMute, err, whole())
		}
		return dst[:from], l.resynch(ctx, ErrLost, err, whole())
	}
}

func again(err error) bool {
	return errors.Is(err, ErrSilence) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrCheck) || errors.Is(err, ErrShape)
}

// turn sends what is in out and reads the next block.
func (l *Link) turn(ctx context.Context) (Block, error) {
	if err := ctx.Err(); err != nil {
		return Block{}, err
	}
	wait := max(l.wait, 1)
	l.wait = 0
	n, err := l.line.Block(ctx, l.out[:l.n], l.in[:], wait)
	if err != nil {
		return Block{}, err
	}
	b, err := Parse(l.in[:n], l.params.CRC)
	l.heard = l.heard || err == nil
	return b, err
}

// resynch sets the numbers of both sides back (clause 11.6.3.2 rule 6) and
// gives the error of the exchange that made it necessary.
func (l *Link) resynch(ctx context.Context, kind, cause error, executed bool) error {
	l.stats.Resynchs++
	ok, err := l.supervise(ctx, Resynch, nil)
	if err != nil || !ok {
		return l.fail(ErrBroken, errors.Join(cause, err), executed)
	}
	l.ns, l.nr, l.ifsc, l.ifsd, l.told = 0, 0, l.params.IFSC, defaultIFS, false
	return &Error{Kind: kind, Cause: cause, Executed: executed}
}

// supervise sends an S request until its answer comes, and reports whether it
// did. It fails with an error of the Line that no repetition cures.
func (l *Link) supervise(ctx context.Context, function byte, inf []byte) (bool, error) {
	for i := range tries {
		if i > 0 {
			l.stats.Repeats++
		}
		l.put(Block{Kind: S, Function: function, INF: inf})
		b, err := l.turn(ctx)
		if err != nil && !again(err) {
			return false, l.fail(ErrBroken, err, false)
		}
		if err == nil && b.Kind == S && b.Response && b.Function == function && string(b.INF) == string(inf) {
			return true, nil
		}
	}
	return false, nil
}

func (l *Link) info(inf []byte, more bool) { l.put(Block{Kind: I, Seq: l.ns, More: more, INF: inf}) }
func (l *Link) ready(cause byte)           { l.put(Block{Kind: R, Seq: l.nr, Cause: cause}) }
func (l *Link) answer(b Block) {
	l.put(Block{Kind: S, Function: b.Function, Response: true, INF: b.INF})
}

func (l *Link) put(b Block) {
	l.n = len(Append(l.out[:0], b, l.params.CRC))
	l.last = b.Kind
}

func (l *Link) fail(kind, cause error, executed bool) error {
	l.broken = ErrBroken
	return &Error{Kind: kind, Cause: cause, Executed: executed}
}
