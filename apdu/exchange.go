package apdu

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The decorators of this file go around a Transmitter, innermost first:
//
//	t = Traced(t, w)   // what really goes over the line
//	t = ShapeT0(t)     // only on a T=0 card
//	t = GetResponse(t) // only where 61xx and 6Cxx are to be hidden
//
// None of them is safe for concurrent use unless the inner one is, and a
// purse never wants concurrent use: one exchange at a time.

// Bounds of GetResponse. A card that keeps saying 61xx beyond them is broken
// or hostile.
const (
	MaxGetResponseRounds = 256
	MaxGetResponseData   = MaxExtendedNe
)

// ErrExtendedT0 refuses a command that needs the extended form on a T=0
// card, which would need ENVELOPE (ISO/IEC 7816-3 clause 12.2). Nothing has
// been sent.
var ErrExtendedT0 = errors.New("apdu: extended length is not possible under T=0; send at most 255 bytes of data and expect at most 256")

// ErrEndlessResponse is what GetResponse gives up with, wrapped in an
// *IncompleteError.
var ErrEndlessResponse = errors.New("apdu: the card announces more response data without end")

// IncompleteError tells that the card executed a command, as its 61xx said,
// but that the response data could not be fetched whole. It does not unwrap
// to the status word that GET RESPONSE got, since that word is no answer to
// the command.
type IncompleteError struct {
	SW  SW    // what GET RESPONSE answered, 0 when Err is set
	Err error // why no answer came, or ErrEndlessResponse
}

func (e *IncompleteError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("apdu: command executed, response incomplete: %v", e.Err)
	}
	return fmt.Sprintf("apdu: command executed, response incomplete: GET RESPONSE answered %v", e.SW)
}

// Unwrap gives Err.
func (e *IncompleteError) Unwrap() error { return e.Err }

// MayHaveExecuted is always true, whatever the error of the GET RESPONSE
// says about itself: the command before it was executed.
func (e *IncompleteError) MayHaveExecuted() bool { return true }

type transmitFunc func(ctx context.Context, command []byte) ([]byte, error)

func (f transmitFunc) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return f(ctx, command)
}

// GetResponse hides 61xx and 6Cxx from the caller.
//
// On 6Cxx a command of case 2 is sent again, once, with the length that the
// card wants; this is the only case in which a command is resent. ISO/IEC
// 7816-3 clause 12.2 has 6Cxx for case 2 only, where a correct card has not
// executed and a wrong one has read twice. A command with data may have acted
// on them, and a card that did would refuse the second one as if it had done
// nothing: there 6Cxx is the answer, and the caller must not take it for a
// refusal. So it is when it names the length that was already sent.
//
// On 61xx the data is fetched with GET RESPONSE and accumulated, also when
// the command expected none, within MaxGetResponseRounds and
// MaxGetResponseData. From the first 61xx on every failure is an
// *IncompleteError, because the command has been executed; so is a status
// word other than 9000, 62xx and 63xx to GET RESPONSE.
//
// It fails with ErrCommandMalformed before anything is sent.
func GetResponse(t Transmitter) Transmitter {
	return transmitFunc(func(ctx context.Context, command []byte) ([]byte, error) {
		c, err := ParseCommand(command)
		if err != nil {
			return nil, err
		}
		raw, err := t.Transmit(ctx, command)
		if err != nil {
			return nil, err
		}
		r, err := ParseResponse(raw)
		if err != nil {
			return nil, err
		}
		if ne, ok := r.SW.RightLength(); ok && c.Case() == 2 && c.Ne != ne {
			c.Ne = ne
			if r, err = Send(ctx, t, c); err != nil {
				return nil, err
			}
		}
		if n, ok := r.SW.MoreData(); ok {
			if r, err = fetch(ctx, t, c.CLA, n, r.Data); err != nil {
				return nil, err
			}
		}
		return r.Bytes(), nil
	})
}

// fetch collects the rest of a response of which n bytes were announced. The
// card is allowed to correct each length once by 6Cxx, and to refuse the
// class once.
func fetch(ctx context.Context, t Transmitter, cla byte, n int, data []byte) (Response, error) {
	get := Command{CLA: getResponseClass(cla), INS: 0xC0, Ne: n}
	corrected := false
	for range MaxGetResponseRounds {
		r, err := Send(ctx, t, get)
		if err != nil {
			return Response{}, &IncompleteError{Err: err}
		}
		if len(data)+len(r.Data) > MaxGetResponseData {
			break
		}
		data = append(data, r.Data...)
		if more, ok := r.SW.MoreData(); ok {
			get.Ne, corrected = more, false
			continue
		}
		if ne, ok := r.SW.RightLength(); ok && !corrected && ne != get.Ne {
			get.Ne, corrected = ne, true
			continue
		}
		if r.SW == SWCLANotSupported && get.CLA >= 0x80 {
			get.CLA &= 0x03
			continue
		}
		if r.SW != SWOK && r.SW.SW1() != 0x62 && r.SW.SW1() != 0x63 {
			return Response{}, &IncompleteError{SW: r.SW}
		}
		return Response{Data: data, SW: r.SW}, nil
	}
	return Response{}, &IncompleteError{Err: ErrEndlessResponse}
}

// getResponseClass is the class of the GET RESPONSE that follows a command
// of class cla: the same, so that the logical channel stays, but without the
// bits of secure messaging and command chaining, because GET RESPONSE is
// transport and carries no MAC (ISO/IEC 7816-4 clause 5.4.1). Where bits 4
// and 3 of a proprietary class mean secure messaging, as in 84, it follows
// the first interindustry coding. FMCOS documents GET RESPONSE with class 00
// only (purse.md section 6); fetch falls back to that on 6E00.
func getResponseClass(cla byte) byte {
	switch {
	case cla < 0x40: // first interindustry: 000 chaining, SM SM, channel
		return cla & 0x03
	case cla < 0x80: // further interindustry: 01 SM, chaining, channel
		return cla &^ 0x30
	default:
		return cla &^ 0x0C
	}
}

// ShapeT0 turns commands into what T=0 can carry (ISO/IEC 7816-3 clause
// 12.2): case 1 gets P3 = 00, case 4 goes without Le and the card answers
// 61xx, for which GetResponse goes around it. A command in extended form
// that fits the short form is sent in the short form; one that doesn't is
// refused with ErrExtendedT0, and malformed ones with ErrCommandMalformed,
// before anything is sent.
func ShapeT0(t Transmitter) Transmitter {
	return transmitFunc(func(ctx context.Context, command []byte) ([]byte, error) {
		c, err := ParseCommand(command)
		if err != nil {
			return nil, err
		}
		if c.Extended() {
			return nil, ErrExtendedT0
		}
		if c.Case() == 4 {
			c.Ne = 0
		}
		b, err := c.Bytes()
		if err != nil {
			return nil, err
		}
		if c.Case() == 1 {
			b = append(b, 0)
		}
		return t.Transmit(ctx, b)
	})
}

// Traced writes every exchange to w, the command before it is sent, so that
// a trace that ends in a crash shows what was on the line. A failed exchange
// leaves a remark and no response line. Writing never disturbs the exchange;
// w.Err tells whether it failed.
func Traced(t Transmitter, w *Writer) Transmitter {
	return transmitFunc(func(ctx context.Context, command []byte) ([]byte, error) {
		w.Command(command)
		start := time.Now()
		response, err := t.Transmit(ctx, command)
		took := time.Since(start)
		if err != nil {
			w.Remark(fmt.Sprintf("%v: %v", roundDuration(took), err))
			return response, err
		}
		w.Response(command, response, took)
		return response, nil
	})
}
