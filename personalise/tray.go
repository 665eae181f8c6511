package personalise

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Errors of a tray.
var (
	ErrNoMore = errors.New("all numbers are given")
	ErrGiven  = errors.New("the number was given to another card")
)

// maxTray bounds what one list or range may hold.
const maxTray = 100_000

// Tray is cards to be made one after another. Each number goes to one card
// only, whatever is pulled out or crashes meanwhile: the journal has it on disk
// before the first command that carries it.
type Tray struct {
	Description *Description
	Keys        *suite.Ring
	Profiles    *profiles.Set
	Orders      []Order
	Journal     *Journal
}

// plan is that of one order.
func (t *Tray) plan(o Order) (*Plan, error) {
	return NewPlan(t.Description, o, t.Keys, t.Profiles)
}

// Check makes the plan of every order, so that nothing is wrong with the last
// one when the first card is done.
func (t *Tray) Check() error {
	seen := map[Number]bool{}
	for _, o := range t.Orders {
		if seen[o.Number] {
			return fmt.Errorf("%w: %s stands twice in the list", ErrOrder, o.Number)
		}
		seen[o.Number] = true
		if _, err := t.plan(o); err != nil {
			return err
		}
	}
	return nil
}

// Free counts the numbers that no card has.
func (t *Tray) Free() (n int) {
	for _, o := range t.Orders {
		if t.Journal.state[o.Number] == "" {
			n++
		}
	}
	return n
}

// Next makes the card that is in the reader: the one that it began to be, or
// of a blank one the next. It fails as Plan.Make, with ErrNoMore, and with the
// journal's error, after which it must not be called again.
func (t *Tray) Next(ctx context.Context, c Card, o Options) (Result, error) {
	none := Result{Outcome: Refused}
	o.Erase = false // a tray has no card to spare
	if err := c.Reset(ctx); err != nil {
		return none, err
	}
	seen, err := t.Description.Look(ctx, c)
	if err != nil {
		return none, err
	}
	if seen.Named {
		i := slices.IndexFunc(t.Orders, func(o Order) bool { return o.Number == seen.Number })
		if i < 0 {
			return Result{Order: Order{Number: seen.Number}, Outcome: Refused}, fmt.Errorf("%w: %s, which is not in the list", ErrOther, seen.Number)
		}
		return t.make(ctx, c, t.Orders[i], o)
	}
	if !seen.Blank {
		mine, left, err := t.owner(ctx, c)
		switch {
		case err != nil:
			return none, err
		case mine != nil:
			return t.make(ctx, c, *mine, o)
		case left >= 0 && t.Description.Transport == "":
			return none, &ForeignError{"the master file", left}
		}
	}
	for _, next := range t.Orders {
		if t.Journal.state[next.Number] == "" {
			return t.make(ctx, c, next, o)
		}
	}
	return none, ErrNoMore
}

// owner finds the open number that a card without a readable one was begun
// for. Each question costs a try, so the last but one is not spent.
func (t *Tray) owner(ctx context.Context, c Card) (*Order, int, error) {
	open := t.Journal.Open()
	slices.Reverse(open)
	left := -1
	for _, n := range open {
		i := slices.IndexFunc(t.Orders, func(o Order) bool { return o.Number == n })
		if i < 0 {
			continue
		}
		p, err := t.plan(t.Orders[i])
		if err != nil {
			return nil, 0, err
		}
		var yes bool
		yes, left, err = p.Owner(ctx, c)
		switch {
		case err != nil:
			return nil, 0, err
		case yes:
			return &t.Orders[i], 0, nil
		case left < 2 || t.Description.Transport != "":
			return nil, left, nil
		}
	}
	return nil, left, nil
}

// make makes a card with its number in the journal: begun before anything of
// it is on the card, made when the card was read back.
func (t *Tray) make(ctx context.Context, c Card, order Order, o Options) (Result, error) {
	p, err := t.plan(order)
	if err != nil {
		return Result{Order: order, Outcome: Refused}, err
	}
	begin := func() error {
		if t.Journal.state[order.Number] != "" {
			return nil
		}
		return t.Journal.note(order, eventBegun)
	}
	o.Bind = begin
	res, err := p.Make(ctx, c, o)
	if res.Outcome == Waste && t.Journal.state[order.Number] == eventBegun && res.Bound {
		return res, errors.Join(err, t.Journal.note(order, eventWaste))
	}
	if err != nil {
		return res, err
	}
	if err := begin(); err != nil { // it was made before there was a journal
		return res, err
	}
	if t.Journal.state[order.Number] != eventMade {
		err = t.Journal.note(order, eventMade)
	}
	return res, err
}

// One makes the card of one order. It fails with ErrGiven when the journal
// knows the number and the card in the reader is not the one that has it.
func (t *Tray) One(ctx context.Context, c Card, order Order, o Options) (Result, error) {
	none := Result{Order: order, Outcome: Refused}
	if err := c.Reset(ctx); err != nil {
		return none, err
	}
	seen, err := t.Description.Look(ctx, c)
	if err != nil {
		return none, err
	}
	if t.Journal.state[order.Number] != "" && !(seen.Named && seen.Number == order.Number) {
		p, err := t.plan(order)
		if err != nil {
			return none, err
		}
		yes := false
		if !seen.Blank && !seen.Named {
			if yes, _, err = p.Owner(ctx, c); err != nil {
				return none, err
			}
		}
		if !yes {
			return none, fmt.Errorf("%w: %s", ErrGiven, order.Number)
		}
	}
	return t.make(ctx, c, order, o)
}

// ParseRange reads FROM-TO, both included, of decimal numbers of one length.
func ParseRange(k Kind, s string, terminal money.TerminalID) ([]Order, error) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return nil, fmt.Errorf("%w: a range is FROM-TO", ErrOrder)
	}
	a, err := ParseNumber(k, from)
	if err != nil {
		return nil, err
	}
	b, err := ParseNumber(k, to)
	if err != nil {
		return nil, err
	}
	// The last 18 digits count; those before are the same in a range.
	low, err1 := strconv.ParseUint(a.String()[2:], 10, 64)
	high, err2 := strconv.ParseUint(b.String()[2:], 10, 64)
	if err1 != nil || err2 != nil || a[0] != b[0] || high < low || high-low >= maxTray {
		return nil, fmt.Errorf("%w: a range goes upwards by decimal numbers, %d at most", ErrOrder, maxTray)
	}
	var list []Order
	for n := low; n <= high; n++ {
		number, err := ParseNumber(k, fmt.Sprintf("%s%018d", a.String()[:2], n))
		if err != nil {
			return nil, err
		}
		list = append(list, Order{number, terminal})
	}
	return list, nil
}

// ParseList reads a list of numbers, one a line, of SAMs with the terminal's
// number behind; # begins a remark. It fails with config.ErrFile and the line.
func ParseList(k Kind, b []byte) ([]Order, error) {
	var list []Order
	s := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF"))))
	for n := 1; s.Scan(); n++ {
		text, _, _ := strings.Cut(s.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		var o Order
		var err error
		if o.Number, err = ParseNumber(k, words[0]); err == nil && len(words) == 2 {
			o.Terminal, err = money.ParseTerminalID(words[1])
		}
		if err == nil && len(words) > 2 {
			err = errors.New("a line is a number, and of a SAM its terminal's")
		}
		if err == nil && len(list) >= maxTray {
			err = fmt.Errorf("more than %d", maxTray)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", config.ErrFile, n, err)
		}
		list = append(list, o)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrFile, err)
	}
	return list, nil
}
