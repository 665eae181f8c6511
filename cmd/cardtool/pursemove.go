package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
)

// moveJSON is a movement of value on a card and what came of it.
type moveJSON struct {
	Number   string `json:"number"`
	What     string `json:"what"` // load or debit
	Amount   int64  `json:"amount_fen"`
	Before   int64  `json:"before_fen"`
	After    int64  `json:"after_fen"`
	Counter  uint16 `json:"counter_after"`
	Terminal string `json:"terminal"`
	TAC      string `json:"tac,omitempty"`
	Says     string `json:"says"`
}

// mover moves value between a card and whoever holds keys: the terminal that
// runs on this machine, a SAM in another slot, or a file of test keys.
type mover struct {
	t          *tool
	load       bool
	keys, sam  string
	terminalID string
	way        throughFlags
	guard
}

func newPurseLoadCommand(t *tool) *cobra.Command {
	m := &mover{t: t, load: true, guard: guard{reads: true}}
	return m.command("load YUAN", "Load value onto the card: through the terminal, or on the bench with a load SAM or test keys",
		"With --through the terminal that runs here loads the card in its reader, as it does\n"+
			"at the counter: its limits and its shift, cash into the drawer, an entry in its\n"+
			"journal under your name, a slip. You need the right to service and that to top up.\n\n"+
			"On the bench: MAC2 comes from the load SAM in the reader of --sam, which counts it\n"+
			"against its allowance, or is made with the test keys in the file of --keys; these\n"+
			"serve test cards only. Nothing of it reaches a terminal's journal or the utility's\n"+
			"ledger: it is for the bench, and no customer's card belongs there.\n\n",
		"  cardtool purse load 5.00 --keys test.keys --dry-run\n  cardtool purse load 5.00 --keys test.keys --yes\n"+
			"  cardtool purse load 50.00 --through --state live --staff 2 --dry-run")
}

func newPurseDebitCommand(t *tool) *cobra.Command {
	m := &mover{t: t, guard: guard{reads: true}}
	return m.command("debit YUAN", "Debit the card: through the terminal, or on the bench with a PSAM or test keys",
		"With --through the terminal that runs here pays --account with the card in its\n"+
			"reader, as it does at the counter: its limits, an entry in its journal under your\n"+
			"name, a slip. You need the right to service and that to redeem.\n\n"+
			"On the bench: MAC1 comes from the PSAM in the reader of --sam, or is made with\n"+
			"the test keys in the file of --keys; these serve test cards only. Nothing of it\n"+
			"reaches a terminal's journal or the utility's ledger: it is for the bench.\n\n",
		"  cardtool purse debit 1.00 --keys test.keys --dry-run\n  cardtool purse debit 1.00 --keys test.keys --yes\n"+
			"  cardtool purse debit 1.00 --through --account 0100000017 --state live --staff 2 --dry-run")
}

const moveHelp = `When no answer comes, the card or the terminal is asked what happened, and the exit
code says it: 0 it happened, 11, 12, 13 or 15 it did not, 14 it is not known yet
(cardtool help exit-codes). A wish has a name of its own, under which the terminal
is asked again and never does it twice: cardtool terminal --wish NAME.

A file of test keys has the master keys, and only its owner may read it:

  purchase: 32 hexadecimal digits
  load: 32 hexadecimal digits
  tac: 32 hexadecimal digits`

func (m *mover) command(use, short, long, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + moveHelp, Example: example,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&m.keys, "keys", "", "file of test keys")
	f.StringVar(&m.sam, "sam", "", "reader with the SAM: number, alias or part of the name, as of --reader")
	f.StringVar(&m.terminalID, "terminal", "000000000001", "terminal number under the MACs, with --keys; a SAM has its own")
	m.way.flags(cmd, m.load)
	cmd.MarkFlagsOneRequired("keys", "sam", "through")
	cmd.MarkFlagsMutuallyExclusive("keys", "sam", "through")
	cmd.MarkFlagsMutuallyExclusive("through", "terminal")
	cmd.MarkFlagsMutuallyExclusive("sam", "terminal")
	m.guard.flags(cmd)
	return cmd
}

func (m *mover) run(cmd *cobra.Command, yuan string) error {
	amount, err := money.ParseYuan(yuan)
	if err == nil && amount == 0 {
		err = purse.ErrAmount
	}
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	terminal, err := money.ParseTerminalID(m.terminalID)
	if err != nil {
		return fmt.Errorf("%w: --terminal: %w", cli.ErrUsage, err)
	}
	fen, err := amount.Purse()
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	if m.way.on {
		return m.through(cmd, amount, fen)
	}
	var keys *testKeys
	if m.keys != "" {
		if keys, err = readTestKeys(m.keys, m.t.profiles()); err != nil {
			return err
		}
	}
	return m.t.withCard(cmd, func(ctx context.Context, l *line) error {
		app, err := m.t.selectPurse(ctx, l) // reads only, also for --dry-run: the make of the card decides the bytes
		if err != nil {
			return err
		}
		if keys != nil && !app.Info().Test() {
			return &cli.Error{Err: fmt.Errorf("%w: card %s is no test card: its keys are in SAMs and in the vault", cli.ErrUsage, app.Info().Number), Code: classUsage.Exit,
				Next: "nothing of it was sent; use a SAM: --sam READER"}
		}
		if done, err := m.check(m.t, cmd, m.commands(app.Profile(), fen, terminal)); done || err != nil {
			return err
		}
		auth := m.byKeys(keys, terminal)
		if keys != nil {
			m.t.remark(cmd, "wrong keys may cost one of the card's tries for them; how many are left it does not tell")
		} else {
			if auth, err = m.bySAM(cmd); err != nil {
				return err
			}
		}
		if m.load && app.Profile().PINForLoad {
			m.t.remark(cmd, triesUnknown)
			pin, err := m.t.readPIN(cmd)
			if err != nil {
				return err
			}
			if err := app.VerifyPIN(ctx, pin); err != nil {
				return err
			}
		}
		return m.move(ctx, cmd, l, app, amount, auth)
	})
}

// commands are what is going to be sent that can change something, and the
// INITIALIZE before it. What only the card's random number decides is zero.
func (m *mover) commands(p profiles.Card, fen [4]byte, t money.TerminalID) [][]byte {
	kind := byte(0x02)
	if p.ED {
		kind = 0x01
	}
	init := func(p1, key byte, ne byte) []byte {
		return append(append(append([]byte{0x80, 0x50, p1, kind, 0x0B, key}, fen[:]...), t[:]...), ne)
	}
	now := money.StampOf(time.Now())
	if m.load {
		credit := append(append([]byte{0x80, 0x52, 0x00, 0x00, 0x0B}, now[:]...), 0, 0, 0, 0, 0x04)
		return [][]byte{init(0x00, p.LoadKeyIndex, 0x10), credit}
	}
	debit := append(append([]byte{0x80, 0x54, 0x01, 0x00, 0x0F, 0, 0, 0, 0}, now[:]...), 0, 0, 0, 0, 0x08)
	return [][]byte{init(0x01, p.PurchaseKeyIndex, 0x0F), debit}
}

// authority is who holds keys.
type authority struct {
	terminal money.TerminalID
	load     func(context.Context, *purse.Application, purse.LoadInit, money.Stamp) (suite.MAC, money.Stamp, error)
	loaded   func(context.Context, *purse.Application, purse.LoadInit, money.Stamp, suite.MAC) error
	debit    func(context.Context, *purse.Application, purse.PurchaseInit, money.Stamp) (purse.Grant, error)
	debited  func(context.Context, *purse.Application, purse.PurchaseInit, purse.Grant, money.Stamp, suite.MAC, suite.MAC) error
}

// move runs the transaction, once.
func (m *mover) move(ctx context.Context, cmd *cobra.Command, l *line, app *purse.Application, amount money.Fen, a *authority) error {
	out := moveJSON{Number: app.Info().Number.String(), What: "debit", Amount: int64(amount), Terminal: a.terminal.String()}
	stamp := money.StampOf(time.Now())
	var pending purse.Pending
	var tac suite.MAC
	var verify func() error
	var err error
	if m.load {
		out.What = "load"
		in, ierr := app.InitLoad(ctx, amount, a.terminal)
		if ierr != nil {
			return notMoved(ierr)
		}
		mac2, at, aerr := a.load(ctx, app, in, stamp)
		if aerr != nil {
			return notMoved(aerr)
		}
		pending = purse.Pending{TxType: in.TxType, Amount: amount, Before: in.Before, Counter: in.Counter, Terminal: a.terminal, Stamp: at, Sent: true}
		tac, err = app.CreditLoad(ctx, at, mac2)
		verify = func() error { return a.loaded(ctx, app, in, at, tac) }
		out.Before, out.After = int64(in.Before), int64(in.Before+amount)
	} else {
		in, ierr := app.InitPurchase(ctx, amount, a.terminal)
		if ierr != nil {
			return notMoved(ierr)
		}
		grant, aerr := a.debit(ctx, app, in, stamp)
		if aerr != nil {
			return notMoved(aerr)
		}
		pending = purse.Pending{TxType: in.TxType, Amount: amount, Before: in.Before, Counter: in.Counter, Terminal: a.terminal, Stamp: stamp, Sent: true}
		var mac2 suite.MAC
		tac, mac2, err = app.DebitPurchase(ctx, grant, stamp)
		verify = func() error { return a.debited(ctx, app, in, grant, stamp, tac, mac2) }
		out.Before, out.After = int64(in.Before), int64(in.Before-amount)
	}
	out.Counter = pending.Counter + 1
	var ex *purse.ExecuteError
	switch {
	case errors.As(err, &ex) && ex.Executed:
		return m.settle(ctx, cmd, l, out, pending, err)
	case err != nil:
		return notMoved(err)
	}
	out.TAC = fmt.Sprintf("%X", tac)
	out.Says = "done"
	switch err := verify(); {
	case errors.Is(err, errTAC), errors.Is(err, purse.ErrTAC), errors.Is(err, purse.ErrMAC2):
		return fmt.Errorf("%w: the card says that it carried out the %s, and its cryptogram does not prove it: the card may be forged, or its keys others: %w", cli.ErrDifference, out.What, err)
	case err != nil:
		m.t.remark(cmd, "the card's cryptogram could not be checked: %v", err)
	}
	return m.tell(cmd, out)
}

// settle asks the card what became of a command that was not answered.
func (m *mover) settle(ctx context.Context, cmd *cobra.Command, l *line, out moveJSON, p purse.Pending, cause error) error {
	command := []byte{0x80, 0x54, 0x01, 0x00} // DEBIT FOR PURCHASE, without its cryptogram
	if m.load {
		command = []byte{0x80, 0x52, 0x00, 0x00} // CREDIT FOR LOAD
	}
	unknown := &unknownOutcome{command: command, err: fmt.Errorf("%w; the card held %s and holds %s or %s now. Its %s has type %02X and counter %d: cardtool purse prove --type %02X --counter %d",
		cause, p.Before, p.Before, money.Fen(out.After), out.What, p.TxType, out.Counter, p.TxType, out.Counter)}
	if err := l.Reset(ctx); err != nil {
		return unknown
	}
	app, err := m.t.selectPurse(ctx, l)
	if err != nil || app.Info().Number.String() != out.Number {
		return unknown
	}
	j, err := app.Judge(ctx, p)
	switch {
	case err != nil || j.Result == journal.Unknown:
		return unknown
	case j.Result == journal.NotDone:
		return &cli.Error{Err: notMoved(fmt.Errorf("no answer came, and the card was asked: %s (%v)", j.Note, cause)), Code: classLost.Exit, Next: "look at the card's contacts and try again"}
	}
	m.t.remark(cmd, "no answer came, and the card was asked: %s", j.Note)
	if j.HasTAC {
		out.TAC = fmt.Sprintf("%X", j.TAC)
	}
	out.Says = "done; no answer came, the card proved it afterwards"
	return m.tell(cmd, out)
}

// notMoved says what happened to the money: nothing.
func notMoved(err error) error { return fmt.Errorf("the card's value was not moved: %w", err) }

func (m *mover) tell(cmd *cobra.Command, out moveJSON) error {
	if m.t.json {
		return m.t.emit(cmd, out)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s of %s: %s, %s → %s, counter %d", out.What, money.Fen(out.Amount), out.Says, money.Fen(out.Before), money.Fen(out.After), out.Counter)
	if out.TAC != "" {
		fmt.Fprintf(cmd.OutOrStdout(), ", TAC %s", out.TAC)
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return nil
}

// testKeys make MACs with master keys in a file. They are never shown.
type testKeys struct {
	vault    *vault.Software
	purchase []byte
}

// String shows nothing.
func (testKeys) String() string { return "[test keys]" }

// readTestKeys reads a file of test keys. It fails with config.ErrFile.
func readTestKeys(path string, set *profiles.Set) (*testKeys, error) {
	no := func(err error) (*testKeys, error) { return nil, fmt.Errorf("%w: %s: %w", config.ErrFile, path, err) }
	ring, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	var m suite.Masters
	for name, k := range map[string]*[]byte{suite.KeyPurchase: &m.Purchase, suite.KeyLoad: &m.Load, suite.KeyTAC: &m.TAC} {
		if ring.Len(name) != 16 {
			return no(errors.New("it needs purchase, load and tac, 32 hexadecimal digits each"))
		}
		if *k, err = ring.Plain(suite.Derived{Name: name}); err != nil {
			return no(err)
		}
	}
	// The vault also signs and gives allowances, which nobody here asks for.
	nobody := make([]byte, 32)
	v, err := vault.New(suite.Masters{Purchase: m.Purchase, Load: m.Load, TAC: m.TAC, Allowance: nobody[:16]}, ed25519.NewKeyFromSeed(nobody), set)
	if err != nil {
		return no(err)
	}
	return &testKeys{v, m.Purchase}, nil
}

// errTAC means that the card did not make its cryptogram with these keys.
var errTAC = errors.New("the card's TAC or MAC2 is not made with these keys")

func (m *mover) byKeys(k *testKeys, t money.TerminalID) *authority {
	card := func(app *purse.Application) vault.Card {
		return vault.Card{Number: app.Info().Number, Profile: app.Profile().Name}
	}
	return &authority{
		terminal: t,
		load: func(_ context.Context, app *purse.Application, in purse.LoadInit, at money.Stamp) (suite.MAC, money.Stamp, error) {
			mac2, err := k.vault.AuthoriseLoad(card(app), vault.Load{Terminal: t, TxType: in.TxType, Before: in.Before, Amount: in.Amount, Counter: in.Counter, Random: in.Random, MAC1: in.MAC1}, at)
			if errors.Is(err, vault.ErrMAC) {
				err = fmt.Errorf("%w: the card's MAC1 is not made with these keys", cli.ErrDifference)
			}
			return mac2, at, err
		},
		loaded: func(_ context.Context, app *purse.Application, in purse.LoadInit, at money.Stamp, tac suite.MAC) error {
			good, err := k.vault.VerifyLoad(card(app), vault.LoadProof{Terminal: t, TxType: in.TxType, After: in.Before + in.Amount, Amount: in.Amount, Counter: in.Counter, Stamp: at, TAC: tac})
			if err == nil && !good {
				err = errTAC
			}
			return err
		},
		debit: func(_ context.Context, app *purse.Application, in purse.PurchaseInit, at money.Stamp) (purse.Grant, error) {
			return k.grant(app, in, uint32(time.Now().Unix()), at)
		},
		debited: func(_ context.Context, app *purse.Application, in purse.PurchaseInit, g purse.Grant, at money.Stamp, tac, mac2 suite.MAC) error {
			a, b, err := k.vault.VerifyPurchase(card(app), vault.Purchase{Terminal: t, TxType: in.TxType, Amount: in.Amount, Counter: in.Counter, Random: in.Random, PSAMSeq: g.Seq, Stamp: at, TAC: tac, MAC2: mac2})
			if err == nil && !(a && b) {
				err = errTAC
			}
			return err
		},
	}
}

// grant makes MAC1 as a PSAM does (purse.md section 4.6).
func (k *testKeys) grant(app *purse.Application, in purse.PurchaseInit, seq uint32, at money.Stamp) (purse.Grant, error) {
	p, g := app.Profile(), purse.Grant{Seq: seq}
	s, err := suite.ByName(p.Suite)
	if err != nil {
		return g, err
	}
	own := k.purchase
	for _, f := range p.Factors(p.PurchaseLevels, app.Info().Number.Factor()) {
		if own, err = s.Diversify(own, f); err != nil {
			return g, err
		}
	}
	session, err := s.SessionKey(own, suite.PurchaseSession(in.Random, in.Counter, seq))
	if err != nil {
		return g, err
	}
	fields, err := suite.PurchaseMAC1(in.Amount, in.TxType, in.Terminal, at)
	if err != nil {
		return g, err
	}
	g.MAC1, err = s.TransactionMAC(session, fields)
	return g, err
}

// bySAM opens the SAM in its reader.
func (m *mover) bySAM(cmd *cobra.Command) (*authority, error) {
	other := &tool{json: m.t.json, name: m.sam, trace: m.t.trace, wait: m.t.wait, service: m.t.service}
	m.t.close = append(m.t.close, other.finish)
	l, err := other.open(cmd.Context())
	if err != nil {
		return nil, fmt.Errorf("the SAM: %w", err)
	}
	a := &authority{}
	if m.load {
		sam, err := purse.OpenLoadSAM(cmd.Context(), l.whole(), m.t.profiles().SAMs)
		if err != nil {
			return nil, err
		}
		a.terminal = sam.Terminal()
		a.load = func(ctx context.Context, app *purse.Application, in purse.LoadInit, at money.Stamp) (suite.MAC, money.Stamp, error) {
			x, err := sam.Authorise(ctx, app.Profile(), app.Info().Number, in, at)
			var ex *purse.ExecuteError
			if errors.As(err, &ex) && ex.Executed {
				m.t.remark(cmd, "the load SAM may have counted this load against its allowance: cardtool psam info tells")
				err = fmt.Errorf("the load SAM did not answer: %w", ex.Cause) // what is unknown is its allowance, not the card's value
			}
			return x.MAC2, x.Stamp, err
		}
		a.loaded = func(ctx context.Context, _ *purse.Application, _ purse.LoadInit, _ money.Stamp, tac suite.MAC) error {
			return sam.Confirm(ctx, tac)
		}
		return a, nil
	}
	sam, err := purse.OpenPSAM(cmd.Context(), l.whole(), m.t.profiles().SAMs)
	if err != nil {
		return nil, err
	}
	a.terminal = sam.Terminal()
	a.debit = func(ctx context.Context, app *purse.Application, in purse.PurchaseInit, at money.Stamp) (purse.Grant, error) {
		return sam.InitPurchase(ctx, app.Profile(), app.Info().Number, in, at)
	}
	a.debited = func(ctx context.Context, _ *purse.Application, _ purse.PurchaseInit, _ purse.Grant, _ money.Stamp, _, mac2 suite.MAC) error {
		return sam.Credit(ctx, mac2)
	}
	return a, nil
}
