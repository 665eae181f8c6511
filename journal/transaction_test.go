package journal

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/money"
)

var card = money.CardNumber{9: 7}

// entry makes the entry seq that continues the entry ref.
func entry(seq, ref uint64, b Body) Entry {
	e := Entry{Name: name(seq), Wall: int64(seq) * 1000, Actor: Actor{ActorClerk, 3}, Body: b}
	if ref != 0 {
		e.Ref = name(ref).Ref()
	}
	return e
}

func purchase() Body {
	return &PurchaseIntent{Token: Token{1}, Purpose: PurposeRedeem, Card: card, Account: 5, Amount: 50_00}
}
func load() Body {
	return &LoadIntent{Token: Token{1}, Purpose: PurposeTopUp, Card: card, Amount: 50_00}
}
func bill() Body { return &BillIntent{Token: Token{1}, Account: 5, Amount: 50_00, Tendered: 60_00} }
func bought(r Result) Body {
	return &PurchaseOutcome{Result: r, Evidence: EvidenceAnswer, After: 1}
}
func loaded(r Result) Body { return &LoadOutcome{Result: r, Reason: ReasonCardRemoved, After: 2} }

func TestBegin(t *testing.T) {
	for _, c := range []struct {
		body Body
		kind Kind
		open bool
	}{
		{purchase(), KindRedemption, true},
		{&PurchaseIntent{Token: Token{1}, Purpose: PurposeVoidTopUp, Card: card, Amount: 50_00}, KindVoidDebit, true},
		{load(), KindTopUp, true},
		{&CardSale{Token: Token{1}, Card: card, Deposit: 50_00}, KindSale, false},
		{&VoidRequest{Token: Token{1}, Card: card, Amount: 50_00}, KindVoid, true},
		{&ClaimIntent{Token: Token{1}, Card: card, Amount: 50_00, How: PayoutLoad}, KindClaim, true},
	} {
		if !c.body.Type().Begins() || c.body.Type().Continues() {
			t.Errorf("%T does not begin", c.body)
		}
		tr, err := Begin(entry(4, 2, c.body))
		if err != nil || tr.Kind != c.kind || tr.Open() != c.open || tr.Token != (Token{1}) || tr.Card != card || tr.Amount != 50_00 ||
			tr.Name != name(4) || tr.Parent != name(2).Ref() || tr.Actor.ID != 3 || tr.Began != 4000 || tr.After != NoBalance {
			t.Errorf("%T: %+v, %v", c.body, tr, err)
		}
	}
	for _, b := range []Body{&Start{}, &ShiftOpen{}, bought(Done), loaded(Done), &LoadAuthorised{}, &CashReturned{}, &VoidAnswer{}, &Unrecognised{Kind: 999}} {
		if _, err := Begin(entry(1, 0, b)); !errors.Is(err, ErrThread) || b.Type().Begins() {
			t.Errorf("%T: %v", b, err)
		}
	}
}

func TestAdd(t *testing.T) {
	agreed, refused := &VoidAnswer{Agreed: true}, &VoidAnswer{Reason: ReasonHostRefused}
	for what, c := range map[string]struct {
		begin Body
		then  []Body
		want  Result // after them
		fails bool   // the last of them does not fit
	}{
		"debit done":                  {purchase(), []Body{bought(Done)}, Done, false},
		"debit unknown, done":         {purchase(), []Body{bought(Unknown), bought(Done)}, Done, false},
		"debit unknown, not done":     {purchase(), []Body{bought(Unknown), bought(NotDone)}, NotDone, false},
		"debit done twice":            {purchase(), []Body{bought(Done), bought(Done)}, Done, false},
		"done, not done":              {purchase(), []Body{bought(Done), bought(NotDone)}, Done, true},
		"done, unknown":               {purchase(), []Body{bought(Done), bought(Unknown)}, Done, true},
		"not done, done":              {purchase(), []Body{bought(NotDone), bought(Done)}, NotDone, true},
		"outcome that says nothing":   {purchase(), []Body{bought(Pending)}, Pending, true},
		"unknown, then nothing":       {purchase(), []Body{bought(Unknown), bought(Pending)}, Unknown, true},
		"outcome of no kind":          {purchase(), []Body{bought(9)}, Pending, true},
		"debit with outcome of load":  {purchase(), []Body{loaded(Done)}, Pending, true},
		"load":                        {load(), []Body{&LoadAuthorised{}, loaded(Done)}, Done, false},
		"load not authorised":         {load(), []Body{loaded(NotDone)}, NotDone, false},
		"authorised twice":            {load(), []Body{&LoadAuthorised{}, &LoadAuthorised{}}, Pending, true},
		"authorised after outcome":    {load(), []Body{loaded(Unknown), &LoadAuthorised{}}, Unknown, true},
		"load done, not done":         {load(), []Body{loaded(Done), loaded(NotDone)}, Done, true},
		"load with outcome of debit":  {load(), []Body{bought(Done)}, Pending, true},
		"cash back":                   {load(), []Body{loaded(NotDone), &CashReturned{}}, NotDone, false},
		"cash back twice":             {load(), []Body{loaded(NotDone), &CashReturned{}, &CashReturned{}}, NotDone, true},
		"cash back while unknown":     {load(), []Body{loaded(Unknown), &CashReturned{}}, Unknown, true},
		"cash back of a done load":    {load(), []Body{loaded(Done), &CashReturned{}}, Done, true},
		"cash back before outcome":    {load(), []Body{&CashReturned{}}, Pending, true},
		"void agreed":                 {&VoidRequest{}, []Body{agreed}, Done, false},
		"void refused":                {&VoidRequest{}, []Body{refused}, NotDone, false},
		"void answered twice":         {&VoidRequest{}, []Body{refused, agreed}, NotDone, true},
		"bill unknown, done":          {bill(), []Body{&BillOutcome{Decided{Result: Unknown}}, &BillOutcome{Decided{Result: Done}}}, Done, false},
		"bill done, not done":         {bill(), []Body{&BillOutcome{Decided{Result: Done}}, &BillOutcome{Decided{Result: NotDone}}}, Done, true},
		"bill that says nothing":      {bill(), []Body{&BillOutcome{}}, Pending, true},
		"bill, cash back":             {bill(), []Body{&BillOutcome{Decided{Result: NotDone}}, &CashReturned{}}, NotDone, false},
		"bill unknown, cash back":     {bill(), []Body{&BillOutcome{Decided{Result: Unknown}}, &CashReturned{}}, Unknown, true},
		"bill with outcome of claim":  {bill(), []Body{&ClaimOutcome{Decided{Result: Done}}}, Pending, true},
		"claim":                       {&ClaimIntent{Amount: 1}, []Body{&ClaimOutcome{Decided{Result: Done}}}, Done, false},
		"claim, cash back":            {&ClaimIntent{Amount: 1}, []Body{&ClaimOutcome{Decided{Result: NotDone}}, &CashReturned{}}, NotDone, true},
		"claim with outcome of bill":  {&ClaimIntent{Amount: 1}, []Body{&BillOutcome{Decided{Result: Done}}}, Pending, true},
		"card blocked":                {&CardRequest{Wish: WishBlock}, []Body{&CardAnswer{Decided{Result: Done}}}, Done, false},
		"block with outcome of bill":  {&CardRequest{Wish: WishBlock}, []Body{&BillOutcome{Decided{Result: Done}}}, Pending, true},
		"sale with an outcome":        {&CardSale{}, []Body{loaded(Done)}, Done, true},
		"an intent continues nothing": {load(), []Body{load()}, Pending, true},
	} {
		t.Run(what, func(t *testing.T) {
			tr, err := Begin(entry(1, 0, c.begin))
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range c.then {
				before := tr
				err := tr.Add(entry(uint64(i+2), 1, b))
				if last := i == len(c.then)-1; (err != nil) != (last && c.fails) {
					t.Fatalf("%T: %v", b, err)
				}
				if err != nil && (!errors.Is(err, ErrThread) || !reflect.DeepEqual(tr, before)) {
					t.Fatalf("%v; %+v was %+v", err, tr, before)
				}
				if err == nil && tr.Ended != int64(i+2)*1000 {
					t.Fatal("Ended")
				}
			}
			if tr.Result != c.want {
				t.Fatalf("result %d, want %d", tr.Result, c.want)
			}
		})
	}
}

func TestAddOfAnother(t *testing.T) {
	tr, _ := Begin(entry(1, 0, purchase()))
	other := entry(2, 1, bought(Done))
	other.Name.Terminal[0]++
	for _, e := range []Entry{entry(3, 2, bought(Done)), entry(3, 0, bought(Done)), other} {
		if err := tr.Add(e); !errors.Is(err, ErrThread) {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

func TestWasUnknown(t *testing.T) {
	later := entry(2, 1, bought(Done))
	later.Boot[0] = 1
	for what, c := range map[string]struct {
		then []Entry
		want bool
	}{
		"settled at once":       {[]Entry{entry(2, 1, bought(Done))}, false},
		"after an unknown":      {[]Entry{entry(2, 1, bought(Unknown)), entry(3, 1, bought(Done))}, true},
		"after a stop":          {[]Entry{later}, true},
		"proof after the event": {[]Entry{entry(2, 1, bought(Done)), later}, false},
	} {
		tr, _ := Begin(entry(1, 0, purchase()))
		for _, e := range c.then {
			if err := tr.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if tr.WasUnknown != c.want {
			t.Errorf("%s: %v", what, tr.WasUnknown)
		}
	}
}

// Whatever entries come, in whatever order, what was once definitive stays.
func TestDefinitiveStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr, _ := Begin(entry(1, 0, rapid.SampledFrom([]Body{purchase(), load(), &VoidRequest{}, &CardSale{}}).Draw(t, "begin")))
		var stands Result
		for i := range 12 {
			r := Result(rapid.IntRange(0, 4).Draw(t, "r"))
			b := rapid.SampledFrom([]Body{bought(r), loaded(r), &LoadAuthorised{}, &CashReturned{}, &VoidAnswer{Agreed: r == Done}}).Draw(t, "b")
			_ = tr.Add(entry(uint64(i+2), 1, b))
			if stands != 0 && tr.Result != stands {
				t.Fatalf("%d became %d", stands, tr.Result)
			}
			if !tr.Open() {
				stands = tr.Result
			}
		}
	})
}
