package purse

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// hostile answers from a string of bytes: a length and that many bytes for
// each answer, FF for a broken line, and broken lines when it is used up.
type hostile struct {
	t     *testing.T
	in    []byte
	sent  [][]byte
	last  []byte // the last answer, nil when the line broke
	moves int    // CREDIT, DEBIT and INIT SAM FOR LOAD sent
	moved []byte // the answer to the last of them
}

func (h *hostile) Transmit(_ context.Context, command []byte) ([]byte, error) {
	if _, err := apdu.ParseCommand(command); err != nil {
		h.t.Fatalf("sent %X: %v", command, err)
	}
	if h.sent = append(h.sent, bytes.Clone(command)); len(h.sent) > 40 {
		h.t.Fatal("no end of commands")
	}
	if ins := command[1]; command[0] == 0x80 && (ins == 0x52 || ins == 0x54 || ins == 0x70 && command[2] == 1) {
		h.moves++
		defer func() { h.moved = h.last }()
	}
	h.last = nil
	if len(h.in) == 0 || h.in[0] == 0xFF || int(h.in[0]) > len(h.in)-1 {
		h.in = h.in[min(1, len(h.in)):]
		return nil, errTransport
	}
	n := int(h.in[0])
	h.last, h.in = bytes.Clone(h.in[1:1+n]), h.in[1+n:]
	return bytes.Clone(h.last), nil
}

// done9000 reports that the last answer was 9000 with n bytes.
func (h *hostile) done9000(n int) bool {
	return len(h.last) == n+2 && h.last[n] == 0x90 && h.last[n+1] == 0x00
}

// FuzzHostileCard lets a card answer anything at all to every function. None
// may panic, loop, send a moving command twice, believe a move that the card
// did not confirm in full, or deny one that it may have made.
func FuzzHostileCard(f *testing.F) {
	f.Fuzz(func(t *testing.T, which byte, flags byte, in []byte) {
		h := &hostile{t: t, in: in}
		p := ep()
		p.ED, p.UnifiedCounters, p.ProofTACFirst, p.LogCounterPost = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		if flags&16 != 0 {
			p.StatusWords = apdu.Dialect{0x9801: {Means: apdu.SWBalanceLow}}
		}
		var c Card = h
		if flags&32 != 0 {
			c = apdu.GetResponse(h)
		}
		a := on(c, p)
		moved := func(err error, n int) {
			t.Helper()
			if h.moves > 1 {
				t.Fatal("moved twice")
			}
			if err == nil {
				if flags&32 == 0 && !h.done9000(n) {
					t.Fatalf("believed %X", h.last)
				}
				return
			}
			var e *ExecuteError
			if !errors.As(err, &e) {
				t.Fatalf("%T %v", err, err)
			}
			if h.moves == 1 && len(h.moved) == 2 && h.moved[0] == 0x6C && !apdu.MayHaveExecuted(err) {
				t.Fatalf("took %X for a refusal: %v", h.moved, err)
			}
			if h.moves == 1 && (h.last == nil || h.done9000(n)) && !apdu.MayHaveExecuted(err) {
				t.Fatalf("denied %X: %v", h.last, err)
			}
		}
		inRange := func(list ...money.Fen) {
			t.Helper()
			for _, v := range list {
				if v < 0 || v > money.MaxPurse {
					t.Fatalf("balance %d", v)
				}
			}
		}
		switch which % 12 {
		case 0:
			if a, err := Select(background, c, []profiles.Card{p, p}); err == nil {
				i := a.Info()
				if i.Number.IsZero() || len(i.Raw) < publicInfoLen {
					t.Fatalf("%+v", i)
				}
				i.Covers(stampTime(t))
			}
		case 1:
			if b, err := a.Balance(background); err == nil {
				inRange(b)
			}
		case 2:
			if l, err := a.Log(background); err == nil {
				for _, r := range l {
					inRange(r.Amount)
				}
				if len(l) > maxLog {
					t.Fatal(len(l))
				}
			}
		case 3:
			_ = a.VerifyPIN(background, "123456")
		case 4:
			if in, err := a.InitLoad(background, 10000, terminalID); err == nil {
				inRange(in.Before, in.Before+in.Amount)
				if in.Counter == 0xFFFF {
					t.Fatal("the counter would wrap")
				}
				_, err := a.CreditLoad(background, stampA, suite.MAC{1})
				moved(err, 4)
				_, err = a.CreditLoad(background, stampA, suite.MAC{1})
				if !errors.Is(err, ErrNoInit) {
					t.Fatal(err)
				}
			}
		case 5:
			if in, err := a.InitPurchase(background, 500, terminalID); err == nil {
				inRange(in.Before, in.Before-in.Amount)
				_, _, err := a.DebitPurchase(background, grant, stampA)
				moved(err, 8)
			}
		case 6:
			_, _ = a.Prove(background, a.LoadType(), 5)
		case 7, 8:
			pend := pendingPurchase
			pend.TxType = a.PurchaseType()
			if which%12 == 8 {
				pend = pendingLoad
				pend.TxType = a.LoadType()
			}
			j, err := a.Judge(background, pend)
			switch j.Result {
			case journal.Done, journal.NotDone:
				if err != nil || j.Evidence == journal.EvidenceNone || h.moves != 0 {
					t.Fatalf("%+v, %v", j, err)
				}
			case journal.Unknown:
				if j.Evidence != journal.EvidenceNone {
					t.Fatalf("%+v", j)
				}
			default:
				t.Fatalf("%+v", j)
			}
			if j.HasTAC && j.TAC == (suite.MAC{}) {
				t.Fatal("a proof of zeros")
			}
			if j.Balance != journal.NoBalance {
				inRange(j.Balance)
			}
		case 9:
			s, err := OpenPSAM(background, c, combined())
			if err != nil {
				break
			}
			in := samPurchase
			in.Terminal = s.Terminal()
			if _, err := s.InitPurchase(background, p, samCard, in, stampA); err == nil {
				_ = s.Credit(background, cardMAC2)
			}
		case 10:
			l, err := OpenLoadSAM(background, c, combined())
			if err != nil {
				break
			}
			if a, err := l.Authorise(background, p, samCard, LoadInit{Amount: 1, Terminal: l.Terminal(), TxType: 2}, stampA); h.moves > 0 {
				moved(err, 8)
				if err == nil {
					_ = a
					_ = l.Confirm(background, suite.MAC{})
				}
			}
		case 11:
			l, err := OpenLoadSAM(background, c, combined())
			if err != nil {
				break
			}
			if st, _, err := l.State(background, [8]byte{}); err == nil && (st.Total < 0 || st.Total > money.MaxFen || st.CeilingAmount > money.MaxFen) {
				t.Fatalf("%+v", st)
			}
			if _, err := l.Challenge(background); err == nil {
				_ = l.Install(background, suite.Allowance{}, suite.MAC{})
			}
		}
	})
}

func stampTime(t *testing.T) time.Time {
	at, err := stampA.Time()
	if err != nil {
		t.Fatal(err)
	}
	return at
}
