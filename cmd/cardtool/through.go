package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/money"
)

// stateEnv names the terminal's state folder where no flag does.
const stateEnv = "CARDTOOL_STATE"

func stateDir() string {
	if dir := os.Getenv(stateEnv); dir != "" {
		return dir
	}
	return local.StateDir
}

// throughFlags say how value is moved through the running terminal.
type throughFlags struct {
	on                     bool
	state, staff           string
	tendered, account, two string
}

func (f *throughFlags) flags(cmd *cobra.Command, load bool) {
	s := cmd.Flags()
	s.BoolVar(&f.on, "through", false, "through the terminal that runs here, with its limits, journal and slip")
	s.StringVar(&f.state, "state", stateDir(), "with --through: the terminal's state folder (default $"+stateEnv+")")
	s.StringVar(&f.staff, "staff", "", "with --through: your staff number; the PIN is asked for")
	if load {
		s.StringVar(&f.tendered, "tendered", "", "with --through: cash taken, in yuan; empty: the amount")
	} else {
		s.StringVar(&f.account, "account", "", "with --through: the account that is paid")
		s.StringVar(&f.two, "again", "", "with --through: the account a second time, when the utility could not verify it")
	}
}

// throughJSON is a movement of value through the terminal and what came of it.
type throughJSON struct {
	Number      string `json:"number"`
	What        string `json:"what"` // load or debit
	Amount      int64  `json:"amount_fen"`
	Before      int64  `json:"before_fen"`
	After       *int64 `json:"after_fen"` // null when the card was not read again
	Terminal    string `json:"terminal"`
	Transaction string `json:"transaction"`
	Actor       string `json:"actor"`
	Wish        string `json:"wish"`
	Slip        string `json:"slip,omitempty"`
	Says        string `json:"says"`
}

// receiptJSON is what of the screens' answer the tool needs (docs/api.md).
type receiptJSON struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"`
	Overall  string            `json:"overall"`
	Sentence map[string]string `json:"sentence"`
	Money    map[string]string `json:"money"`
	Next     map[string]string `json:"next"`
	Reason   *struct {
		Code     string            `json:"code"`
		Sentence map[string]string `json:"sentence"`
	} `json:"reason"`
	Actor struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
	} `json:"actor"`
	Card    string `json:"card"`
	Amount  int64  `json:"amount"`
	Balance *int64 `json:"balance"`
	Slip    *struct {
		State string `json:"state"`
	} `json:"slip"`
}

// noJSON is a refusal of the screens' server.
type noJSON struct {
	Code     string            `json:"code"`
	Sentence map[string]string `json:"sentence"`
	Money    map[string]string `json:"money"`
	Next     map[string]string `json:"next"`
	Why      map[string]string `json:"why"`
	Limit    int64             `json:"limit"`
}

const lang = "en"

// visit is one person at one terminal.
type visit struct {
	t          *tool
	cmd        *cobra.Command
	dir        string
	c          *local.Client
	staff, pin string
}

// dialTerminal finds the terminal that runs in a folder.
func dialTerminal(ctx context.Context, dir string) (*local.Client, error) {
	c, err := local.Dial(ctx, dir)
	if errors.Is(err, local.ErrNone) {
		return nil, &cli.Error{Err: err, Code: classHost.Exit, Next: "is kioskd running, and is --state its folder? systemctl status kioskd; kioskd doctor looks at what lies there"}
	}
	if err != nil {
		return nil, daemonError(err)
	}
	return c, nil
}

// login proves who the person is.
func (v *visit) login(ctx context.Context) error {
	status, b, err := v.c.Do(ctx, "/api/v1/login", map[string]string{"staff": v.staff, "pin": v.pin})
	if err != nil {
		return daemonError(err)
	}
	if status != http.StatusOK {
		return saysNo(b)
	}
	return nil
}

func (v *visit) logout(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	v.c.Do(ctx, "/api/v1/logout", struct{}{}) // a session that stays locks itself
}

// visit asks who the person is, and lets f work the terminal.
func (t *tool) visit(cmd *cobra.Command, dir, staff string, f func(*visit) error) error {
	if _, err := money.ParseStaffID(staff); err != nil {
		return fmt.Errorf("%w: --staff is your number at the terminal: %w", cli.ErrUsage, err)
	}
	c, err := dialTerminal(cmd.Context(), dir)
	if err != nil {
		return err
	}
	v := &visit{t: t, cmd: cmd, dir: dir, c: c, staff: staff}
	if v.pin, err = t.readSecret(cmd, "PIN of staff "+staff+": "); err != nil {
		return err
	}
	if err := v.login(cmd.Context()); err != nil {
		return err
	}
	defer v.logout(cmd.Context())
	return f(v)
}

// saysNo makes an error of a refusal: nothing was done.
func saysNo(b []byte) error {
	var no noJSON
	if json.Unmarshal(b, &no) != nil || no.Code == "" {
		return &cli.Error{Err: fmt.Errorf("%w: it answered %.80q", local.ErrRefused, b), Code: classHost.Exit}
	}
	text := no.Sentence[lang]
	if no.Why[lang] != "" {
		text += " " + no.Why[lang]
	}
	text += " " + no.Money[lang]
	code, next := classHost.Exit, no.Next[lang]
	switch no.Code {
	case "no_card":
		code = classNoCard.Exit
	case "card_unreadable":
		code = classLost.Exit
	case "pin_wrong", "pin_blocked", "card_blocked", "card_expired":
		code = classRefused.Exit
	case "not_allowed":
		next = "the terminal's manager gives the rights, under Staff: service, and topup or redeem; or the configuration"
	}
	return &cli.Error{Err: fmt.Errorf("the terminal says no (%s): %s", no.Code, strings.TrimSpace(text)), Code: code, Next: next}
}

// through moves value by the terminal's own flows, once.
func (m *mover) through(cmd *cobra.Command, amount money.Fen, fen [4]byte) error {
	ctx, f := cmd.Context(), &m.way
	tendered := amount
	if f.tendered != "" {
		var err error
		if tendered, err = money.ParseYuan(f.tendered); err != nil {
			return fmt.Errorf("%w: --tendered: %w", cli.ErrUsage, err)
		}
	}
	if !m.load {
		for _, a := range []string{f.account, f.two} {
			if _, err := money.ParseAccountNumber(a); err != nil && (a != "" || a == f.account) {
				return fmt.Errorf("%w: --account: %w", cli.ErrUsage, err)
			}
		}
	}
	c, err := dialTerminal(ctx, f.state)
	if err != nil {
		return err
	}
	card, err := c.Card(ctx)
	if err != nil {
		return daemonError(err)
	}
	state, err := c.State(ctx)
	if err != nil {
		return daemonError(err)
	}
	terminal, err := money.ParseTerminalID(state.Terminal)
	if err != nil {
		return err
	}
	p, known := m.t.profiles().Card(card.Profile)
	if !known {
		return fmt.Errorf("the terminal knows the card by profile %s, which this tool does not have", card.Profile)
	}
	m.t.remark(cmd, "card %s in %s holds %s", card.Number, card.Reader, money.Fen(card.Balance))
	m.guard.reads = true
	if done, err := m.check(m.t, cmd, m.commands(p, fen, terminal)); done || err != nil {
		return err
	}
	what := map[bool]string{true: "load", false: "debit"}[m.load]
	return m.t.visit(cmd, f.state, f.staff, func(v *visit) error {
		body := map[string]any{"card": card.Number, "amount": amount}
		path := "/api/v1/redemptions"
		if m.load {
			path = "/api/v1/topups"
			body["tendered"] = tendered
			if p.PINForLoad {
				m.t.remark(cmd, triesUnknown)
				pin, err := m.t.readSecret(cmd, "PIN of the card: ")
				if err != nil {
					return err
				}
				body["pin"] = pin
			}
		} else {
			body["account"] = f.account
			if f.two != "" {
				body["again"] = f.two
			}
		}
		wish := rand.Text() // born with the wish: asked for under this name for ever
		m.t.remark(cmd, "wish %s; if this ends without an answer: cardtool terminal --wish %s --staff %s", wish, wish, f.staff)
		rc, err := v.wish(ctx, path, body, wish)
		if err != nil {
			return err
		}
		out := throughJSON{Number: card.Number, What: what, Amount: int64(amount), Before: card.Balance, Terminal: state.Terminal, Wish: wish}
		return v.tell(out, rc)
	})
}

const (
	moveWait = 3 * time.Minute // for the terminal, the utility behind it and the card
	askPause = 500 * time.Millisecond
)

// askWait is how long a daemon that is started again is waited for.
var askWait = 20 * time.Second // a test waits less

// wish sends a wish once. When its answer is lost, the terminal is asked what
// became of it; a wish is never sent again.
func (v *visit) wish(ctx context.Context, path string, body any, key string) (receiptJSON, error) {
	// It is the terminal's now: to go away would only lose the answer.
	ctx = context.WithoutCancel(ctx)
	timed, cancel := context.WithTimeout(ctx, moveWait)
	defer cancel()
	status, b, err := v.c.Do(timed, path, body, "Idempotency-Key", key)
	var rc receiptJSON
	switch {
	case errors.Is(err, local.ErrLost):
		v.t.remark(v.cmd, "no answer came (%v): the terminal is asked what became of it", err)
		return v.ask(ctx, key, err)
	case err != nil:
		return rc, daemonError(err)
	case status == http.StatusOK:
		if err := json.Unmarshal(b, &rc); err != nil || rc.ID == "" {
			return v.ask(ctx, key, fmt.Errorf("the answer was not understood: %w", err))
		}
		return rc, nil
	}
	var no noJSON
	if json.Unmarshal(b, &no) != nil || no.Code == "" || no.Code == "uncertain" {
		return v.ask(ctx, key, fmt.Errorf("the terminal answered %d %s", status, no.Code))
	}
	return rc, saysNo(b)
}

// ask asks what became of a wish, for a while when the terminal is not there.
func (v *visit) ask(ctx context.Context, key string, cause error) (receiptJSON, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	var rc receiptJSON
	for {
		status, b, err := v.c.Do(ctx, "/api/v1/wishes", map[string]string{"key": key})
		if err == nil && status == http.StatusUnauthorized { // it was started again and knows no session
			if err = v.login(ctx); err == nil {
				status, b, err = v.c.Do(ctx, "/api/v1/wishes", map[string]string{"key": key})
			}
		}
		switch {
		case err == nil && status == http.StatusOK && json.Unmarshal(b, &rc) == nil && rc.ID != "":
			return rc, nil
		case err == nil && status == http.StatusGone:
			return rc, saysNo(b)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = saysNo(b)
			}
			return rc, &cli.Error{Err: fmt.Errorf("outcome unknown: wish %s was sent and no answer came (%w); it can't be asked what became of it: %w", key, cause, err), Code: classUnknown.Exit,
				Next: fmt.Sprintf("do not repeat it; when the terminal runs again: cardtool terminal --wish %s --staff %s", key, v.staff)}
		case <-time.After(askPause):
			if c, err := local.Dial(ctx, v.dir); err == nil {
				v.c = c
			}
		}
	}
}

// tell says what the terminal did, and ends in the class of it.
func (v *visit) tell(out throughJSON, rc receiptJSON) error {
	next := rc.Next[lang]
	why := ""
	if rc.Reason != nil {
		why = " " + rc.Reason.Sentence[lang]
	}
	text := strings.TrimSpace(fmt.Sprintf("%s%s %s", rc.Sentence[lang], why, rc.Money[lang]))
	switch rc.Overall {
	case "done":
	case "not_done":
		return &cli.Error{Err: fmt.Errorf("transaction %s, not done: %s", rc.ID, text), Code: v.notDone(rc).Exit, Next: next}
	default:
		return &cli.Error{Err: fmt.Errorf("outcome unknown: transaction %s: %s", rc.ID, text), Code: classUnknown.Exit, Next: next}
	}
	out.Transaction, out.After, out.Says = rc.ID, rc.Balance, "done"
	out.Actor = strings.TrimSpace(rc.Actor.Kind + " " + rc.Actor.ID)
	if rc.Slip != nil {
		out.Slip = rc.Slip.State
	}
	if v.t.json {
		return v.t.emit(v.cmd, out)
	}
	fmt.Fprintf(v.cmd.OutOrStdout(), "%s of %s: done, transaction %s by %s", out.What, money.Fen(out.Amount), out.Transaction, out.Actor)
	if out.After != nil {
		fmt.Fprintf(v.cmd.OutOrStdout(), ", the card holds %s now", money.Fen(*out.After))
	}
	fmt.Fprintln(v.cmd.OutOrStdout())
	v.t.remark(v.cmd, "%s", next)
	return nil
}

// notDone is the class of a transaction that was begun and not done.
func (v *visit) notDone(rc receiptJSON) class {
	if rc.Reason == nil {
		return classFailed
	}
	switch c := rc.Reason.Code; {
	case slices.Contains([]string{"card_refused", "card_memory", "bad_mac"}, c):
		return classRefused
	case slices.Contains([]string{"card_removed", "card_mute", "power"}, c):
		return classLost
	case slices.Contains([]string{"host_refused", "host_unreachable", "sam_refused"}, c):
		return classHost
	}
	return classFailed
}

// tellWish says what became of a wish of before.
func (t *tool) tellWish(cmd *cobra.Command, dir, staff, key string) error {
	if _, err := local.Dial(cmd.Context(), dir); errors.Is(err, local.ErrNone) {
		return &cli.Error{Err: fmt.Errorf("what became of wish %s can't be asked: %w", key, err), Code: classUnknown.Exit,
			Next: "start the terminal (systemctl start kioskd) and ask again; do not repeat the wish meanwhile"}
	}
	return t.visit(cmd, dir, staff, func(v *visit) error {
		rc, err := v.ask(cmd.Context(), key, errors.New("of before"))
		if err != nil {
			return err
		}
		what := map[string]string{"topup": "load", "redemption": "debit"}[rc.Kind]
		out := throughJSON{Number: rc.Card, What: what, Amount: rc.Amount, Wish: key}
		if terminal, _, ok := strings.Cut(rc.ID, "-"); ok {
			out.Terminal = terminal
		}
		if rc.Balance != nil {
			out.Before = *rc.Balance - rc.Amount
			if what == "debit" {
				out.Before = *rc.Balance + rc.Amount
			}
		}
		return v.tell(out, rc)
	})
}
