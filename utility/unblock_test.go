package utility_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/utility"
	. "github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

func due() time.Duration {
	l := wire.DefaultLimits()
	return time.Duration(l.HotlistStop+l.UnsentAgeStop) * time.Second
}

// TestReplacedCardStaysBlocked: the chip that could not be read holds its value
// still. Once that value is a claim, nobody may make the chip pay again.
func TestReplacedCardStaysBlocked(t *testing.T) {
	w := NewWorld(t)
	x := w.Terminal(1)
	card := NewCard(10001)
	w.TopUp(x, card, 100_00)
	w.Sync(x)
	replace := journal.CardRequest{Wish: journal.WishReplace, Card: card.Number, Why: journal.WhyDamaged}
	n, code := askCard(t, w, x, replace)
	if code != wire.OK {
		t.Fatal(code)
	}
	w.Time = w.Time.Add(due())
	if a, err := w.Service.Replace(ctx, n); err != nil || a != 100_00 {
		t.Fatal(a, err)
	}
	for range 2 {
		if err := w.Service.UnblockCard(ctx, card.Number); !errors.Is(err, utility.ErrInput) {
			t.Errorf("unblocked: %v", err)
		}
		if _, code := askCard(t, w, x, replace); code != wire.CodeTwice {
			t.Errorf("replaced again: %q", code)
		}
		w.Open()
	}
	if list, err := w.Service.Replacements(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	w.Audit()
}

// TestUnblockedCardIsNotReplaced: a stranger asked for a replacement, the holder
// came with the card and it was unblocked. When it is blocked again later, for
// whatever reason, the old request is no short cut past the wait for what
// terminals may hold of the card, and its number is worth nothing.
func TestUnblockedCardIsNotReplaced(t *testing.T) {
	w := NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	card := NewCard(10001)
	w.TopUp(x, card, 100_00)
	w.Sync(x)
	replace := journal.CardRequest{Wish: journal.WishReplace, Card: card.Number, Why: journal.WhyDamaged}
	old, code := askCard(t, w, x, replace)
	if code != wire.OK {
		t.Fatal(code)
	}
	if err := w.Service.UnblockCard(ctx, card.Number); err != nil {
		t.Fatal(err)
	}
	w.Time = w.Time.Add(due())
	y.Redeem(card, Account, 30_00) // off line, not yet sent
	if _, code := askCard(t, w, y, journal.CardRequest{Wish: journal.WishBlock, Card: card.Number, Why: journal.WhyLost}); code != wire.OK {
		t.Fatal(code)
	}
	w.Open()
	if a, err := w.Service.Replace(ctx, old); !errors.Is(err, utility.ErrInput) {
		t.Errorf("%s under the old request: %v", a, err)
	}
	n, code := askCard(t, w, x, replace)
	if code != wire.OK {
		t.Errorf("a new request: %q", code)
	}
	if _, err := w.Service.Replace(ctx, n); !errors.Is(err, utility.ErrInput) {
		t.Errorf("the new one without a wait: %v", err)
	}
	w.Sync(y)
	w.Time = w.Time.Add(due())
	if a, err := w.Service.Replace(ctx, n); err != nil || a != 70_00 {
		t.Errorf("%s, %v", a, err)
	}
	w.Audit()
}
