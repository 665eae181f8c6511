package utility_test

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/utility/record"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestVoidAnswerLost: the utility agreed to a void and the terminal never heard
// of it. Once it has said so, the customer may have the void after all; as long
// as it may go on with the first agreement it gets no second one, and whatever
// it signs the top-up is voided once.
func TestVoidAnswerLost(t *testing.T) {
	for name, c := range map[string]struct {
		answer *journal.VoidAnswer // that the terminal wrote; nil: none was sent yet
		want   wire.Code
	}{
		"the answer was lost":  {&journal.VoidAnswer{Reason: journal.ReasonHostUnreachable}, wire.OK},
		"the terminal stopped": {&journal.VoidAnswer{Reason: journal.ReasonPower}, wire.OK},
		"it was heard":         {&journal.VoidAnswer{Agreed: true}, wire.CodeTwice},
		"nobody knows":         {nil, wire.CodeTwice},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t)
			x, c2 := w.Terminal(1), NewCard(10001)
			top := w.TopUp(x, c2, 50_00)
			ask := func() (journal.Name, wire.Code) {
				t.Helper()
				n := x.Add(top, &journal.VoidRequest{Card: c2.Number, Amount: 50_00})
				w.Sync(x)
				a, err := w.Service.AgreeVoid(ctx, x.ID, wire.VoidQuestion{Name: n, TopUp: top, Request: journal.VoidRequest{Card: c2.Number, Amount: 50_00}})
				if err != nil {
					t.Fatal(err)
				}
				return n, a.Refused
			}
			r1, code := ask()
			if code != wire.OK {
				t.Fatal(code)
			}
			if c.answer != nil {
				x.Add(r1, c.answer)
			}
			r2, code := ask()
			if code != c.want {
				t.Fatalf("asked again: %q, want %q", code, c.want)
			}
			going, other := r1, r2
			if code == wire.OK {
				going, other = r2, r1
			}
			debit := func(request journal.Name) {
				in := c2.InitPurchase(x, 0, 50_00)
				in.Purpose = journal.PurposeVoidTopUp
				d := x.Add(request, &in)
				tac, mac2 := c2.Debit(x.ID, in)
				x.Add(d, doneWith(tac, mac2, journal.EvidenceAnswer))
				w.Sync(x)
			}
			debit(going)
			check(t, w, balances{"shop": 0, "card": 0}, c2, top)
			w.Audit()
			c2.Balance = 50_00 // a dishonest terminal, another time
			debit(other)
			checkHeld(t, w, []string{record.HeldNotAgreed, record.HeldIntent})
			check(t, w, balances{"shop": 0, "card": 0}, c2, top)
		})
	}
}
