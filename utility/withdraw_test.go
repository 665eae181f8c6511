package utility_test

import (
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// TestPaidOutIsNotWithdrawn: a terminal whose disk lost its last entries finds
// the intent of a claim without an outcome and takes its question back. What it
// has told us that it paid out stays paid out: else the customer would find the
// claim waiting again.
func TestPaidOutIsNotWithdrawn(t *testing.T) {
	for name, c := range map[string]struct {
		between int // other entries before the outcome
		said    journal.Result
		want    wire.Code
		claim   money.Fen
	}{
		"paid out":               {0, journal.Done, wire.OK, 0},
		"paid out, notes before": {700, journal.Done, wire.OK, 0},
		"not known":              {0, journal.Unknown, wire.CodeWithdrawn, 100_00},
		"nothing said":           {1, journal.Pending, wire.CodeWithdrawn, 100_00},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t)
			x, y := w.Terminal(1), otherShop(t, w)
			claim, _, _ := owed(t, w, x, NewCard(10001))
			in := journal.ClaimIntent{Claim: claim, Amount: 100_00, How: journal.PayoutCash}
			n := y.Add(journal.Name{}, &in)
			if c := collect(t, w, y, n, in, false); c != wire.OK {
				t.Fatal(c)
			}
			for range c.between {
				y.Add(journal.Name{}, &journal.Staff{Act: journal.ActLogin, Staff: 7, Count: 1})
			}
			if c.said != journal.Pending {
				y.Add(n, &journal.ClaimOutcome{Decided: decided(c.said)})
			}
			if v := w.Sync(y); len(v) > 0 {
				t.Fatal(v)
			}
			for range 2 {
				if got := collect(t, w, y, n, in, true); got != c.want {
					t.Errorf("withdrawn: %q", got)
				}
				w.Audit()
			}
			if got := w.Balance("claim/" + claim.String()); got != c.claim {
				t.Errorf("%s waits", got)
			}
		})
	}
}
