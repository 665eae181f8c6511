// Package desk is the whole system on one desk: a utility and a terminal,
// joined by a real line over loopback that can be cut, with simulated cards
// and SAMs in a simulated reader or behind a real pcscd. kioskd --sim shows
// it; the tour, the kills and the benchmarks run on it. Nothing of the
// product runs differently here than in a shop, but for what is in the slots.
//
// It may import everything. It is imported by kioskd --sim and by tests.
package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/fault"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/terminal"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/node"
)

// Options say what kind of desk.
type Options struct {
	Dir      string        // state; a desk opened again on it goes on
	PCSC     bool          // behind a real pcscd of its own, else in process
	PCSCDir  string        // where that pcscd lives; the same for every desk of a process, whose client library knows one; empty: in Dir
	Serial   bool          // simulated readers on serial lines, under our own driver
	Baud     int           // with Serial: bytes take their time on the lines; 0: none
	Card     reader.Slot   // a real reader for the customer's card, which the caller closes; then PCSC does not count and the SAM is simulated
	Cut      bool          // the line is cut from the beginning; only an enrolled terminal can start so
	Reenrol  bool          // the terminal is enrolled again, as after its file was made anew
	T0       bool          // cards and SAM speak T=0 (61xx, 6Cxx), else T=1
	Check    station.Check // of the terminal's file before it is opened; nil: in this process
	Software string
	Log      *slog.Logger
	Clock    func() time.Time                               // of everybody; the terminal's can jump from it; nil: time.Now
	Rand     io.Reader                                      // of the chips; nil: crypto/rand
	Poll     time.Duration                                  // of the link
	Chip     func(name string, c virtual.Chip) virtual.Chip // puts something around what goes into a reader, in tests
	Host     func(terminal.Host) terminal.Host              // puts something around the utility, in tests
	Slot     func(reader.Slot) reader.Slot                  // puts something around each reader, in measurements
	Cards    []Sample                                       // on the desk beside Samples, in tests
	Patience time.Duration                                  // with a card behind pcscd, of each exchange; 0: as a terminal has
}

// Accounts of a new desk with what they owe.
var accounts = []struct {
	Number money.AccountNumber
	Owner  string
	Owes   money.Fen
}{
	{100000017, "张*", 123_45},
	{100000025, "李*娜", 86_20},
	{100000033, "东风小学", 1_532_00},
}

// Desk is an open desk. Its methods may be called from any goroutine.
type Desk struct {
	Utility *node.Node
	Station *station.Station
	Gate    *uplink.Gate

	o     Options
	rig   rig
	paper *paper
	jump  atomic.Int64 // nanoseconds that the terminal's clock is off
	line  net.Listener

	mu    sync.Mutex
	cards map[string]*card
	sam   *chip
	in    string // ID of the card in the reader
	tear  string
}

// card is a sample with its chip.
type card struct {
	Sample
	number money.CardNumber
	aid    []byte
	chip   *chip
}

var _ kiosk.Desk = (*Desk)(nil)

// Open opens a desk, or makes a new one in an empty folder: shop with float,
// accounts with bills, cards, and an enrolled terminal.
func Open(ctx context.Context, o Options) (d *Desk, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	d = &Desk{o: o, Gate: &uplink.Gate{}, cards: map[string]*card{}, paper: newPaper(o)}
	d.Gate.Set(!o.Cut)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			d = nil
		}
	}()
	if err := d.openUtility(ctx); err != nil {
		return d, fmt.Errorf("the utility: %w", err)
	}
	if err := d.openCards(ctx); err != nil {
		return d, fmt.Errorf("the cards: %w", err)
	}
	if err := d.openTerminal(ctx); err != nil {
		return d, fmt.Errorf("the terminal: %w", err)
	}
	return d, nil
}

var passphrase = []byte("desk") // protects test keys, which are public

func (d *Desk) openUtility(ctx context.Context) error {
	dir := filepath.Join(d.o.Dir, "utility")
	cfg := node.Config{Dir: dir, Passphrase: passphrase, TestKeys: true, Clock: d.o.Clock, Log: d.o.Log.With("side", "utility")}
	n, err := node.Open(ctx, cfg)
	if errors.Is(err, node.ErrNoVault) {
		if err = node.CreateVault(dir, passphrase, suite.TestMasters()); err == nil {
			n, err = node.Open(ctx, cfg)
		}
	}
	if err != nil {
		return err
	}
	d.Utility = n
	if len(n.Service.Shops()) == 0 {
		if err := d.seed(ctx); err != nil {
			return err
		}
	}
	d.line, err = net.Listen("tcp", "127.0.0.1:0")
	return err
}

// seed makes what a utility has before its first terminal.
func (d *Desk) seed(ctx context.Context) error {
	s := d.Utility.Service
	steps := []func() error{
		func() error { return s.AddShop(ctx, Shop, "幸福路便利店", 1000_00) },
		func() error { return s.PayFloat(ctx, Shop, 5000_00, "desk/float") },
		func() error { return s.SetAllowancePolicy(ctx, TerminalID, 1000_00, 20) },
	}
	for _, a := range accounts {
		steps = append(steps,
			func() error { return s.AddAccount(ctx, a.Number, a.Owner) },
			func() error { return s.Bill(ctx, a.Number, a.Owes, "desk/"+a.Number.String()) })
	}
	for _, c := range d.samples() {
		n, err := money.ParseCardNumber(c.Number)
		if err != nil {
			return err
		}
		shop := money.ShopID(0)
		if c.Stock {
			shop = Shop
		}
		steps = append(steps, func() error { return s.AddCards(ctx, n, n, c.Profile, c.Named, shop) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("set up the sample shop: %w", err)
		}
	}
	return nil
}

func (d *Desk) samples() []Sample { return append(Samples(), d.o.Cards...) }

func (d *Desk) openCards(ctx context.Context) error {
	dir := filepath.Join(d.o.Dir, "cards")
	set := profiles.Builtin()
	for _, s := range d.samples() {
		p, ok := set.Card(s.Profile)
		if !ok {
			return fmt.Errorf("no profile %q", s.Profile)
		}
		r, err := recipe(s, p)
		if err != nil {
			return err
		}
		c, err := openChip(dir, s.ID, options(p, d.o.Rand), r, d.o.T0)
		if err != nil {
			return err
		}
		d.cards[s.ID] = &card{Sample: s, number: r.Number, aid: p.AID, chip: c}
	}
	var err error
	if d.sam, err = openChip(dir, "sam", samOptions(d.o.Rand), samRecipe(), d.o.T0); err != nil {
		return err
	}
	switch {
	case d.o.Card != nil:
		d.rig = newByHand(d.o.Card)
	case d.o.PCSC:
		if d.o.PCSCDir == "" {
			d.o.PCSCDir = filepath.Join(d.o.Dir, "pcscd")
		}
		d.rig, err = newPCSC(ctx, d.o.PCSCDir, d.o.Patience)
	case d.o.Serial:
		d.rig, err = newSerial(d.o.Baud)
	default:
		d.rig = newInProcess()
	}
	if err != nil {
		return err
	}
	return d.rig.putSAM(ctx, d.around("sam", d.sam.seat()))
}

func (d *Desk) around(name string, c virtual.Chip) virtual.Chip {
	if d.o.Chip == nil {
		return c
	}
	return d.o.Chip(name, c)
}

func (d *Desk) openTerminal(ctx context.Context) error {
	cardSlot, samSlot := d.rig.slots()
	if d.o.Slot != nil {
		cardSlot, samSlot = d.o.Slot(cardSlot), d.o.Slot(samSlot)
	}
	cfg := station.Config{
		Dir: filepath.Join(d.o.Dir, "terminal"), Utility: "https://" + d.line.Addr().String(),
		Card: cardSlot, PSAM: samSlot, LoadSAM: samSlot, TestKeys: true, Software: d.o.Software,
		Clock: d.Clock, Log: d.o.Log.With("side", "terminal"), Poll: d.o.Poll, Dial: d.Gate.DialContext, Host: d.o.Host, Check: d.o.Check,
	}
	if d.o.Reenrol || !station.Enrolled(cfg.Dir) {
		serve, cancel := context.WithCancel(ctx)
		line, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			cancel()
			return err
		}
		done := make(chan error, 1)
		go func() { done <- d.Utility.Serve(serve, line) }()
		code, err := d.Utility.EnrolmentCode(ctx, TerminalID, Shop, SAM, SAM)
		if err == nil {
			first := cfg
			first.Utility = "https://" + line.Addr().String()
			err = station.Enrol(ctx, first, code)
		}
		cancel()
		if err := errors.Join(err, <-done); err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
	}
	st, err := station.Open(cfg)
	d.Station = st
	return err
}

// Run serves the terminal and the utility until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	printer := make(chan struct{})
	go func() { d.paper.driver.Run(ctx); close(printer) }()
	utility := make(chan error, 1)
	go func() { utility <- d.Utility.Serve(ctx, d.line) }()
	err := d.Station.Run(ctx)
	cancel()
	<-printer
	return errors.Join(err, <-utility)
}

// Close puts everything away. The state stays.
func (d *Desk) Close() error {
	var errs []error
	if d.Station != nil {
		errs = append(errs, d.Station.Close())
	}
	if d.rig != nil {
		errs = append(errs, d.rig.close())
	}
	if d.line != nil {
		d.line.Close() // Serve closed it already when it ran
	}
	if d.Utility != nil {
		errs = append(errs, d.Utility.Close())
	}
	return errors.Join(errs...)
}

// Cards lists what lies on the desk.
func (d *Desk) Cards() []kiosk.DeskCard {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []kiosk.DeskCard
	for _, s := range d.samples() {
		c := d.cards[s.ID]
		v := kiosk.DeskCard{ID: s.ID, Label: s.Label, Number: c.number, In: d.in == s.ID}
		if v.In {
			v.Balance = d.Station.Terminal.Status().Card.Balance
		} else if b, err := Balance(c.chip.Card, c.aid); err == nil {
			v.Balance = b
		}
		out = append(out, v)
	}
	return out
}

// Chip gives the chip of a card, for tests that read it past the reader. It
// must not be in the reader meanwhile.
func (d *Desk) Chip(id string) (virtual.Chip, []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.cards[id]
	return c.chip.Card, c.aid
}

// Number gives the number of a card.
func (d *Desk) Number(id string) money.CardNumber { return d.cards[id].number }

func (d *Desk) find(id string) (*card, error) {
	c := d.cards[id]
	if c == nil {
		return nil, fmt.Errorf("no card %q lies on the desk", id)
	}
	return c, nil
}

// Put puts a card into the empty reader.
func (d *Desk) Put(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.find(id)
	if err != nil {
		return err
	}
	if d.in != "" {
		return seatError("a card is in; take it out first")
	}
	if err := d.rig.put(context.Background(), d.seat(c)); err != nil {
		return err
	}
	d.in = id
	return nil
}

// Take takes the card out of the reader.
func (d *Desk) Take() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in == "" {
		return seatError("no card is in")
	}
	if err := d.rig.take(); err != nil {
		return err
	}
	d.in = ""
	return nil
}

// Swap takes the card out and puts another in without a pause.
func (d *Desk) Swap(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.find(id)
	if err != nil {
		return err
	}
	if err := d.rig.swap(context.Background(), d.seat(c)); err != nil {
		return err
	}
	d.in = id
	return nil
}

// Tear arms a power cut at the next command that moves value.
func (d *Desk) Tear(when string) error {
	switch when {
	case "", kiosk.TearBefore, kiosk.TearDuring, kiosk.TearAfter:
	default:
		return fmt.Errorf("a card is torn before, during or after, not %q", when)
	}
	d.mu.Lock()
	d.tear = when
	d.mu.Unlock()
	return nil
}

// seat gives what goes into the reader for a card: its chip, which the hand
// of the desk may pull at the next command that moves value.
func (d *Desk) seat(c *card) virtual.Chip {
	return d.around(c.ID, &hand{Chip: c.chip.seat(), d: d})
}

// hand pulls a card when the desk's tear is armed. CREDIT FOR LOAD and DEBIT
// FOR PURCHASE are the commands that move value (purse.md sections 7.2, 7.4).
type hand struct {
	virtual.Chip
	d *Desk
}

func (h *hand) Transmit(cmd []byte) ([]byte, error) {
	if len(cmd) < 2 || cmd[0] != 0x80 || (cmd[1] != 0x52 && cmd[1] != 0x54) {
		return h.Chip.Transmit(cmd)
	}
	h.d.mu.Lock()
	when := h.d.tear
	h.d.tear = ""
	if when != "" {
		h.d.in = ""
	}
	h.d.mu.Unlock()
	kind := map[string]fault.Kind{kiosk.TearBefore: fault.TearBefore, kiosk.TearDuring: fault.TearDuring, kiosk.TearAfter: fault.TearAfter}[when]
	if kind == 0 {
		return h.Chip.Transmit(cmd)
	}
	return fault.Chip(h.Chip, fault.NewPlan(1, fault.Fault{Kind: kind, Writes: 1})).Transmit(cmd)
}

// LinkUp joins or cuts the line between terminal and utility.
func (d *Desk) LinkUp(up bool) {
	d.Gate.Set(up)
	d.Station.Uplink.Probe()
}

// ClockJump puts the terminal's clock forward or back.
func (d *Desk) ClockJump(by time.Duration) {
	d.jump.Add(int64(by))
	d.Station.Terminal.Changed()
}

// Clock is the terminal's clock.
func (d *Desk) Clock() time.Time { return d.o.Clock().Add(time.Duration(d.jump.Load())) }

// State is how the switches stand.
func (d *Desk) State() kiosk.DeskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return kiosk.DeskState{LinkUp: d.Gate.Open(), Tear: d.tear}
}

// Ledger is what the utility knows, read from the utility.
func (d *Desk) Ledger() []kiosk.LedgerAccount {
	ctx := context.Background()
	list, err := d.Utility.Service.Balances(ctx)
	if err != nil {
		d.o.Log.Error("read the ledger", "err", err)
		return nil
	}
	var out []kiosk.LedgerAccount
	for _, b := range list {
		a := kiosk.LedgerAccount{Name: b.Account.String(), Balance: b.Amount}
		for _, o := range accounts {
			if a.Name == ledger.Customer(o.Number).String() {
				a.Owner = o.Owner
			}
		}
		lines, err := d.Utility.Service.Statement(ctx, b.Account)
		if err != nil {
			d.o.Log.Error("read a statement", "err", err)
			return nil
		}
		slices.Reverse(lines)
		for _, l := range lines[:min(10, len(lines))] {
			what, slip := d.posting(b.Account, l.Name)
			a.Lines = append(a.Lines, kiosk.LedgerLine{At: l.At, Amount: l.Amount, What: what, Slip: slip})
		}
		out = append(out, a)
	}
	// What the tour looks at comes first: customers, then cards, then the rest.
	rank := func(a kiosk.LedgerAccount) int {
		switch kind, _, _ := strings.Cut(a.Name, "/"); kind {
		case "customer":
			return 0
		case "card":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b kiosk.LedgerAccount) int { return rank(a) - rank(b) })
	return out
}

// posting says in words what a line of a statement is, and the number on the
// slip that the person holds. The ledger names the entry that posted, which
// is the outcome of most transactions; a slip names the entry that began.
func (d *Desk) posting(a ledger.Account, n journal.Name) (what, slip string) {
	if n.Terminal.IsZero() { // a record of head office has no slip
		if strings.HasPrefix(a.String(), "customer/") {
			return "bill", ""
		}
		return "office", ""
	}
	for ref := n.Ref(); !ref.IsZero(); {
		tx, err := d.Station.Store.Transaction(ref)
		if err == nil {
			name := tx.Name
			if (tx.Kind == journal.KindTopUp || tx.Kind == journal.KindVoidDebit) && !tx.Parent.IsZero() {
				name = tx.Parent.Of(n.Terminal) // the sale of a first load, the void of a debit
			}
			return kinds[tx.Kind], name.String()
		}
		e, err := d.Station.Store.Entry(ref)
		if err != nil {
			break
		}
		ref = e.Ref
	}
	return "", n.String()
}

// kinds are the words that the screens have for a transaction.
var kinds = map[journal.Kind]string{
	journal.KindRedemption: "redemption", journal.KindTopUp: "topup", journal.KindSale: "sale",
	journal.KindVoid: "void", journal.KindVoidDebit: "void_debit",
	journal.KindBill: "cash_bill", journal.KindClaim: "claim", journal.KindBlock: "block", journal.KindReplace: "replace", journal.KindEmptied: "emptied",
}
