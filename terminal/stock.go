package terminal

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// Stock is what the shop says it has; what it may sell is what the utility
// signed (wire.SectionRanges). So a card that nobody received may be sold,
// with a warning where the shop keeps its stock here at all: a pack that was
// opened before it was typed in must not send a customer away, and a stolen
// card is worth nothing before its sale.

// Pack is a sealed pack of cards that was received.
type Pack struct {
	Receipt journal.Entry // its StockReceipt
	From    money.CardNumber
	To      money.CardNumber
	Cards   uint32
	Sold    uint32         // by this terminal, also before the receipt
	Count   *journal.Entry // the newest StockCount; nil: never counted
}

// Left is how many cards there should be.
func (p Pack) Left() uint32 { return p.Cards - p.Sold }

// ReceiveRequest says that a pack came into stock.
type ReceiveRequest struct {
	Token    journal.Token
	Who      Who
	From, To money.CardNumber
}

// maxPacks bounds a list of stock.
const maxPacks = 500

// Receive writes that a pack came into stock. All of it must lie in one range
// that the utility signed for this shop, and none of it was received before.
func (t *Terminal) Receive(ctx context.Context, r ReceiveRequest) (Pack, error) {
	if err := t.begin(ctx); err != nil {
		return Pack{}, err
	}
	defer t.release()
	if err := byClerk(r.Who); err != nil {
		return Pack{}, err
	}
	if r.Token == (journal.Token{}) {
		return Pack{}, errNoToken
	}
	if e, ok, err := t.marked(r.Token); err != nil {
		return Pack{}, err
	} else if ok {
		if b, ok := e.Body.(*journal.StockReceipt); !ok || b.From != r.From || b.To != r.To {
			return Pack{}, refuse(CodeTokenReused)
		}
		return t.pack(e)
	}
	n, ok := cardsOf(r.From, r.To)
	if !ok {
		return Pack{}, refuse(CodeStockRange)
	}
	if rng, ok := t.rangeOf(r.From); !ok || !rng.Has(r.To) {
		return Pack{}, refuse(CodeCardNotOurs)
	}
	packs, err := t.cfg.Store.Packs(r.From, 1)
	if err != nil {
		return Pack{}, err
	}
	if len(packs) > 0 {
		if b := packs[0].Body.(*journal.StockReceipt); string(b.From[:]) <= string(r.To[:]) {
			return Pack{}, &Refusal{Code: CodeStockOverlap, Detail: packs[0].Name.String()}
		}
	}
	e, err := t.append(ctx, store.Draft{Actor: r.Who, Body: &journal.StockReceipt{Token: r.Token, From: r.From, To: r.To, Cards: n}})
	if err != nil {
		return Pack{}, err
	}
	return t.pack(e[0])
}

// CountRequest says what a person found of a pack: how many cards, or which.
type CountRequest struct {
	Token journal.Token
	Who   Who
	Pack  journal.Name       // its StockReceipt
	Found uint32             // how many; not used when Cards are given
	Cards []money.CardNumber // which; in any order, one of them twice is one
	Read  bool               // Cards says it all, also when it is empty
}

// asks reports whether b may be what this request wrote before.
func (r *CountRequest) asks(b *journal.StockCount) bool {
	if !r.Read {
		return b.Found == r.Found && len(b.Missing) == 0
	}
	found := map[money.CardNumber]bool{}
	for _, n := range r.Cards {
		found[n] = true
	}
	return b.Found == uint32(len(found)) && !slices.ContainsFunc(b.Missing, func(n money.CardNumber) bool { return found[n] })
}

// CountStock writes what was found of a pack, with which numbers are missing
// when the cards were read. A card that was sold and is there is refused: it
// is not of the stock any more.
func (t *Terminal) CountStock(ctx context.Context, r CountRequest) (Pack, error) {
	if err := t.begin(ctx); err != nil {
		return Pack{}, err
	}
	defer t.release()
	if err := byClerk(r.Who); err != nil {
		return Pack{}, err
	}
	if r.Token == (journal.Token{}) {
		return Pack{}, errNoToken
	}
	if r.Pack.Terminal != t.id() {
		return Pack{}, refuse(CodeNotFound)
	}
	receipt, err := t.cfg.Store.Entry(r.Pack.Ref())
	if err != nil {
		return Pack{}, refuseCause(CodeNotFound, err)
	}
	b, ok := receipt.Body.(*journal.StockReceipt)
	if !ok {
		return Pack{}, refuse(CodeNotFound)
	}
	if e, ok, err := t.marked(r.Token); err != nil {
		return Pack{}, err
	} else if ok {
		if b, ok := e.Body.(*journal.StockCount); !ok || e.Ref != receipt.Name.Ref() || !r.asks(b) {
			return Pack{}, refuse(CodeTokenReused)
		}
		return t.pack(receipt)
	}
	sold, err := t.cfg.Store.SoldIn(b.From, b.To)
	if err != nil {
		return Pack{}, err
	}
	count := &journal.StockCount{Token: r.Token, Found: r.Found, Expected: b.Cards - uint32(len(sold))}
	if r.Read {
		found := map[money.CardNumber]bool{}
		for _, n := range r.Cards {
			if slices.Contains(sold, n) || string(n[:]) < string(b.From[:]) || string(n[:]) > string(b.To[:]) {
				return Pack{}, &Refusal{Code: CodeStockCount, Detail: n.String()}
			}
			found[n] = true
		}
		count.Found = uint32(len(found))
		for n := b.From; ; n = after(n) {
			if !found[n] && !slices.Contains(sold, n) && len(count.Missing) < journal.MaxMissing {
				count.Missing = append(count.Missing, n)
			}
			if n == b.To {
				break
			}
		}
	}
	if count.Found > b.Cards {
		return Pack{}, refuse(CodeStockCount)
	}
	if _, err := t.append(ctx, store.Draft{Actor: r.Who, Ref: receipt.Name.Ref(), Body: count}); err != nil {
		return Pack{}, err
	}
	return t.pack(receipt)
}

// Stock lists the packs that were received, by card number, at most 500.
func (t *Terminal) Stock() ([]Pack, error) {
	list, err := t.cfg.Store.Packs(money.CardNumber{}, maxPacks)
	if err != nil {
		return nil, err
	}
	out := make([]Pack, 0, len(list))
	for _, e := range list {
		p, err := t.pack(e)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (t *Terminal) pack(e journal.Entry) (Pack, error) {
	b := e.Body.(*journal.StockReceipt)
	p := Pack{Receipt: e, From: b.From, To: b.To, Cards: b.Cards}
	sold, err := t.cfg.Store.SoldIn(b.From, b.To)
	if err != nil {
		return p, err
	}
	p.Sold = uint32(len(sold))
	about, err := t.cfg.Store.About(e.Name.Ref())
	if n := len(about); n > 0 {
		p.Count = &about[n-1]
	}
	return p, err
}

// notReceived reports whether the shop keeps its stock here and yet nobody
// received this card.
func (t *Terminal) notReceived(n money.CardNumber) bool {
	some, err := t.cfg.Store.Packs(money.CardNumber{}, 1)
	if err != nil || len(some) == 0 {
		return false
	}
	packs, err := t.cfg.Store.Packs(n, 1)
	if err != nil {
		return false
	}
	if len(packs) == 0 {
		return true
	}
	b := packs[0].Body.(*journal.StockReceipt)
	return string(n[:]) < string(b.From[:])
}

// cardsOf counts the numbers of a pack.
func cardsOf(from, to money.CardNumber) (uint32, bool) {
	if from.IsZero() || string(from[:]) > string(to[:]) {
		return 0, false
	}
	n := new(big.Int).Sub(number(to), number(from))
	if !n.IsInt64() || n.Int64() >= journal.MaxPack {
		return 0, false
	}
	return uint32(n.Int64()) + 1, true
}

func number(n money.CardNumber) *big.Int {
	b, _ := new(big.Int).SetString(n.String(), 10) // 20 digits
	return b
}

// after is the number that follows, which must not be the last there is.
func after(n money.CardNumber) money.CardNumber {
	next, err := money.ParseCardNumber(fmt.Sprintf("%020d", new(big.Int).Add(number(n), big.NewInt(1))))
	if err != nil {
		return n
	}
	return next
}
