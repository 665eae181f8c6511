package terminalaudit

import (
	"math/big"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// pack is a pack of cards in stock, as its receipt tells it.
type pack struct {
	name     journal.Name
	from, to money.CardNumber
	cards    uint32
}

// settling says what is wrong with an entry by which shop and head office
// settle. It reports false for an entry of another kind.
func (a *auditor) settling(e journal.Entry) bool {
	switch b := e.Body.(type) {
	case *journal.ShiftTally:
		if s := a.Shift; !a.absent(e.Ref) && (s.Number == 0 || s.Closed || e.Ref != s.Open) {
			a.problem("%s tallies a shift that is not open", e.Name)
		}
	case *journal.ShiftDifference:
		if a.absent(e.Ref) {
			break
		}
		diff, ok := a.closes[e.Ref]
		if !ok || diff != b.Difference || diff == 0 {
			a.problem("%s explains a difference of %s, the close makes %s", e.Name, b.Difference, diff)
		}
		delete(a.closes, e.Ref) // a second explanation explains nothing
	case *journal.StockReceipt:
		if n := span(b.From, b.To); n == nil || n.Cmp(big.NewInt(int64(b.Cards))) != 0 {
			a.problem("%s receives %d cards from %s to %s", e.Name, b.Cards, b.From, b.To)
		}
		for _, p := range a.packs {
			if string(b.From[:]) <= string(p.to[:]) && string(p.from[:]) <= string(b.To[:]) {
				a.problem("%s receives cards of %s again", e.Name, p.name)
			}
		}
		a.packs = append(a.packs, pack{e.Name, b.From, b.To, b.Cards})
	case *journal.StockCount:
		if a.absent(e.Ref) {
			break
		}
		for _, p := range a.packs {
			if p.name.Ref() == e.Ref {
				if b.Found > p.cards || b.Expected > p.cards {
					a.problem("%s finds %d of %d cards where there are %d", e.Name, b.Found, b.Expected, p.cards)
				}
				return true
			}
		}
		a.problem("%s counts a pack that nobody received", e.Name)
	default:
		return false
	}
	return true
}

// span counts the numbers from one card to another, nil when they are the
// wrong way round.
func span(from, to money.CardNumber) *big.Int {
	f, ok := new(big.Int).SetString(from.String(), 10)
	t, ok2 := new(big.Int).SetString(to.String(), 10)
	if !ok || !ok2 || t.Cmp(f) < 0 {
		return nil
	}
	return t.Sub(t, f).Add(t, big.NewInt(1))
}
