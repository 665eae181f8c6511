package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/transcript"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/suite"
)

// learned is what was found out of a card, in sentences for the draft.
type learned struct {
	card            profiles.Card
	known, notKnown []string
	test            bool
}

func (l *learned) knows(format string, args ...any) {
	l.known = append(l.known, fmt.Sprintf(format, args...))
}
func (l *learned) lacks(format string, args ...any) {
	l.notKnown = append(l.notKnown, fmt.Sprintf(format, args...))
}

// nobody is the terminal under an INITIALIZE that nothing follows.
var nobody = money.TerminalID{0, 0, 0, 0, 0, 1}

// learnCard drafts a card profile and records a transcript. It sends only
// what reads, and INITIALIZE, which moves nothing by itself.
func learnCard(ctx context.Context, c whole, set *profiles.Set, name string, aid []byte) (text, trace []byte, err error) {
	l := &learned{card: profiles.Card{
		Name: name, Suite: "3des", InfoSFI: 21, HolderSFI: 22, LogSFI: 24, InfoLayout: profiles.LayoutPBOC30,
		LoadKeyIndex: 1, PurchaseKeyIndex: 1, LoadLevels: 1, PurchaseLevels: 1, TACLevels: 1, BalanceMax: 500_000,
	}}
	names, err := applications(ctx, c, set, aid)
	if err != nil {
		return nil, nil, err
	}
	var app *purse.Application
	for _, n := range names {
		l.card.AID = n
		if app, err = purse.Select(ctx, c, []profiles.Card{l.card}); err == nil {
			break
		}
		if gone(err) || errors.Is(err, purse.ErrBlocked) {
			return nil, nil, err
		}
	}
	if app == nil {
		return nil, nil, &cli.Error{Err: fmt.Errorf("%w: of %d applications that were tried none is a purse with public information in file 15", purse.ErrNoPurse, len(names)), Code: classRefused.Exit,
			Next: "cardtool card dump shows what is on the card; give the name of its purse by --aid"}
	}
	if p, ok := set.CardByAID(l.card.AID); ok {
		l.lacks("the profile %s has the same application name: a folder with both is refused", p.Name)
	}
	l.test = app.Info().Test()
	l.knows("answer to reset %X, T=%d", c.ATR(), c.Protocol())
	l.knows("the application answers to its name, and its public information is in file 15, %d bytes", len(app.Info().Raw))
	if err := l.purse(ctx, c); err != nil {
		return nil, nil, err
	}
	if err := l.keys(ctx, c); err != nil {
		return nil, nil, err
	}
	l.lacks("how keys are diversified: one level by the card's serial is assumed; only a MAC that verifies shows it")
	l.lacks("whether a load wants a PIN first, and how the PIN is written: assumed are no and BCD")
	l.lacks("the order and the number of proofs (GET TRANSACTION PROVE): assumed are MAC2 before TAC and one for each type")
	l.lacks("status words of its own for a low balance, a wrong MAC, a counter at its end; the most that it may hold")

	if _, err := purse.Select(ctx, c, []profiles.Card{l.card}); err != nil {
		return nil, nil, err
	}
	trace, err = transcript.Record(ctx, c, "recorded by cardtool profile learn", func(ctx context.Context, c purse.Card, note func(string, ...any)) error {
		app, err := purse.Select(ctx, c, []profiles.Card{l.card})
		if err != nil {
			return err
		}
		note("select %s", app.Info().Number)
		b, err := app.Balance(ctx)
		if err != nil {
			return err
		}
		note("balance %s", b)
		if list, err := app.Log(ctx); err == nil {
			note("log %d", len(list))
		}
		return nil
	})
	return []byte(l.yaml()), trace, err
}

// gone reports an error that is no answer of the card.
func gone(err error) bool {
	k, _ := classify(err)
	return k == classLost || k == classNoCard || k == classInterrupt
}

// applications are the names to try: the given one, or those of the card's
// directory, and those that profiles know.
func applications(ctx context.Context, c whole, set *profiles.Set, aid []byte) ([][]byte, error) {
	if len(aid) > 0 {
		return [][]byte{aid}, nil
	}
	var names [][]byte
	dir := apdu.Command{INS: 0xA4, P1: 0x04, Data: []byte("1PAY.SYS.DDF01"), Ne: apdu.MaxShortNe}
	r, err := apdu.Send(ctx, c, dir)
	for i := 1; err == nil && r.SW.OK() && i <= 10; i++ {
		if r, err = apdu.Send(ctx, c, apdu.Command{INS: 0xB2, P1: byte(i), P2: 1<<3 | 4, Ne: apdu.MaxShortNe}); err == nil && r.SW.OK() {
			for j := 0; j+2 <= len(r.Data); j++ { // 4F, an application's name, wherever it stands
				if n := int(r.Data[j+1]); r.Data[j] == 0x4F && n >= 5 && n <= 16 && j+2+n <= len(r.Data) {
					names = append(names, r.Data[j+2:j+2+n])
					break
				}
			}
		}
	}
	if err != nil && gone(err) {
		return nil, err
	}
	for _, p := range set.Cards {
		names = append(names, p.AID)
	}
	return names, nil
}

// purse finds out which purse there is, and about the log.
func (l *learned) purse(ctx context.Context, c whole) error {
	for _, ed := range []bool{false, true} {
		l.card.ED = ed
		app, err := purse.Select(ctx, c, []profiles.Card{l.card})
		if err != nil {
			return err
		}
		if _, err := app.Balance(ctx); err == nil {
			l.knows("GET BALANCE answers for the %s", map[bool]string{false: "electronic purse", true: "electronic deposit"}[ed])
			return nil
		} else if gone(err) {
			return err
		}
	}
	l.card.ED = false
	l.lacks("which purse it has: GET BALANCE answers for neither")
	return nil
}

// keys finds out which key indexes there are, and by a load in the log whether
// that holds the counter before or after the increment.
func (l *learned) keys(ctx context.Context, c whole) error {
	var load, buy []string
	var first purse.LoadInit
	for i := range byte(16) {
		try := l.card
		try.LoadKeyIndex, try.PurchaseKeyIndex = i, i
		app, err := purse.Select(ctx, c, []profiles.Card{try})
		if err != nil {
			return err
		}
		if in, err := app.InitLoad(ctx, 1, nobody); err == nil {
			if load == nil {
				l.card.LoadKeyIndex, first = i, in
				l.knows("load key %d: version %02X, algorithm %02X", i, in.KeyVersion, in.Algorithm)
			}
			load = append(load, fmt.Sprint(i))
		} else if gone(err) {
			return err
		}
		if in, err := app.InitPurchase(ctx, 1, nobody); err == nil || errors.Is(err, apdu.SWBalanceLow) {
			if buy == nil {
				l.card.PurchaseKeyIndex = i
				if err == nil {
					l.knows("purchase key %d: version %02X, algorithm %02X", i, in.KeyVersion, in.Algorithm)
				}
			}
			buy = append(buy, fmt.Sprint(i))
		} else if gone(err) {
			return err
		}
	}
	for _, k := range []struct {
		what string
		have []string
	}{{"load", load}, {"purchase", buy}} {
		switch len(k.have) {
		case 0:
			l.lacks("the key index of a %s: INITIALIZE answers for none of 0 to 15", k.what)
		case 1:
		default:
			l.lacks("which key index of a %s is meant: INITIALIZE answers for %s", k.what, strings.Join(k.have, ", "))
		}
	}
	app, err := purse.Select(ctx, c, []profiles.Card{l.card})
	if err != nil {
		return err
	}
	list, err := app.Log(ctx)
	if err != nil && gone(err) {
		return err
	}
	i := slices.IndexFunc(list, func(r purse.LogRecord) bool { return r.TxType == suite.TypeEPLoad || r.TxType == suite.TypeEDLoad })
	switch {
	case err != nil:
		l.lacks("the log: file 18 can't be read as such (%v)", err)
	case load == nil || i < 0:
		l.lacks("whether the log holds the counter before or after the increment: there is no load in it")
	case list[i].Counter == first.Counter:
		l.card.LogCounterPost = true
		l.knows("the log holds the counter after the increment, as its last load shows")
	case list[i].Counter+1 == first.Counter:
		l.knows("the log holds the counter before the increment, as its last load shows")
	default:
		l.lacks("whether the log holds the counter before or after the increment: its last load has %d, the next one %d", list[i].Counter, first.Counter)
	}
	return nil
}

func (l *learned) yaml() string {
	c := l.card
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	choose := func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	}
	p("# Drafted by cardtool profile learn. What stands under not_known was assumed.")
	p("name: %s", c.Name)
	p("description: drafted from a card; say here whose it is")
	if l.test {
		p("test_only: true")
	}
	p("aid: %q", fmt.Sprintf("%X", c.AID))
	p("suite: %s", c.Suite)
	p("purse: %s", choose(c.ED, "ed", "ep"))
	p("files: {public_info: %d, holder: %d, log: %d, public_info_layout: %s}", c.InfoSFI, c.HolderSFI, c.LogSFI, c.InfoLayout)
	p("key_index: {load: %d, purchase: %d}", c.LoadKeyIndex, c.PurchaseKeyIndex)
	p("diversification: {load: %d, purchase: %d, tac: %d, factor_order: serial-first}", c.LoadLevels, c.PurchaseLevels, c.TACLevels)
	p("pin_for_load: false\npin_encoding: bcd")
	p("log_counter: %s", choose(c.LogCounterPost, "post", "pre"))
	p("counters: separate\nproof_order: mac2-tac\nproof_slots: per-type")
	p("balance_max_fen: %d", int64(c.BalanceMax))
	facts(p, l.known, l.notKnown)
	return b.String()
}

func facts(p func(string, ...any), known, notKnown []string) {
	for _, f := range []struct {
		key  string
		list []string
	}{{"known", known}, {"not_known", notKnown}} {
		if len(f.list) == 0 {
			continue
		}
		p("%s:", f.key)
		for _, s := range f.list {
			p("  - %q", s)
		}
	}
}

// slotNumbers are what PC/SC puts behind a reader's name.
var slotNumbers = regexp.MustCompile(`( \[[^\]]*\])?( \([^)]*\))?( \d\d){1,2}$`)

// learnReader drafts a reader profile.
func (t *tool) learnReader(cmd *cobra.Command, name string) (text, trace []byte, err error) {
	full, err := t.choose(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	bare := strings.TrimPrefix(full, "pcsc:")
	match := slotNumbers.ReplaceAllString(bare, "")
	var known, notKnown []string
	pad := false
	if isSim(full) {
		notKnown = append(notKnown, "a simulated reader has no driver to ask")
	} else {
		s, err := t.pcscService()
		if err != nil {
			return nil, nil, err
		}
		i, err := s.Info(cmd.Context(), bare)
		if err != nil {
			return nil, nil, err
		}
		bare = i.Name
		match = slotNumbers.ReplaceAllString(bare, "")
		for _, a := range i.Attributes {
			known = append(known, fmt.Sprintf("%s: %s", a.Name, apdu.CleanText(a.Text())))
		}
		for _, f := range i.Features {
			known = append(known, fmt.Sprintf("feature %02X, %s", f.Tag, f.Name))
			pad = pad || f.Tag == pinDirect
		}
	}
	notKnown = append(notKnown, "USB id (lsusb) and firmware string, by which it could be known more surely than by its name",
		"longest command, level, voltages, timings: nothing was measured")
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Drafted by cardtool profile learn --of-reader.")
	p("name: %s", name)
	p("description: drafted from a reader; say here what it is")
	p("match:\n  names: [%q]", match)
	if pad {
		p("pin_pad: true")
	}
	facts(p, known, notKnown)
	return []byte(b.String()), []byte("# recorded by cardtool profile learn --of-reader\n# do match name " + bare + "\n"), nil
}

// pinDirect is the feature of a reader with a keypad (PC/SC part 10 section
// 2.3: FEATURE_VERIFY_PIN_DIRECT).
const pinDirect = 0x06
