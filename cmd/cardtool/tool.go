package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/serial"
)

// tool is what all commands share: the flags of the root, and what was opened.
type tool struct {
	json  bool
	name  string // --reader
	trace string // --trace
	own   string // --profiles
	wait  time.Duration

	sam     bool            // the command is for a SAM
	note    string          // what is to be said of the choice of the reader
	in      *bufio.Reader   // standard input, once a PIN was read from it
	known   *profiles.Set   // once they were wanted
	service *pcsc.Service   // nil until somebody needs it
	serial  *serial.Service // the same
	close   []func() error
}

// flags adds those that every command takes.
func (t *tool) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.BoolVar(&t.json, "json", false, "for machines: one JSON value on standard output; see `cardtool help json`")
	f.StringVar(&t.name, "reader", "", "the reader: its number, an alias, or any part of its name that fits one only, or serial:PORT without PC/SC (default $"+readerEnv+", else the only one, or the only one with a card)")
	f.StringVar(&t.trace, "trace", "", "append every exchange to this file; PINs and keys are taken out")
	f.StringVar(&t.own, "profiles", profilesDir(), "folder with profiles beside those built in or in their place (default $"+profilesEnv+", else "+profiles.DefaultDir+" where it is)")
	f.DurationVar(&t.wait, "wait", time.Second, "how long to wait for a card")
	root.RegisterFlagCompletionFunc("reader", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		names, _ := t.names(cmd.Context())
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// remark tells people something that is not the answer. With --json it goes
// to standard error, so that standard output stays one value.
func (t *tool) remark(cmd *cobra.Command, format string, args ...any) {
	w := cmd.OutOrStdout()
	if t.json {
		w = cmd.ErrOrStderr()
	}
	fmt.Fprintf(w, "# "+format+"\n", args...)
}

// emit writes a value for machines.
func (t *tool) emit(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// finish gives back what was opened.
func (t *tool) finish() error {
	var err error
	for i := len(t.close) - 1; i >= 0; i-- {
		err = errors.Join(err, t.close[i]())
	}
	t.close = nil
	return err
}

// line is an open card: bare as the bytes are, whole with T=0 shaping, 61xx
// and 6Cxx dealt with. Both are traced where the bytes go over the line.
type line struct {
	slot reader.Slot
	card reader.Card
	log  *apdu.Writer // nil without --trace
	bare apdu.Transmitter
}

// open opens the card in the chosen reader, for which it waits a moment.
func (t *tool) open(ctx context.Context) (*line, error) {
	slot, err := t.slot(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{slot: slot}
	if t.trace != "" {
		f, err := os.OpenFile(t.trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", cli.ErrUsage, err)
		}
		l.log = apdu.NewWriter(f)
		t.close = append(t.close, func() error { return errors.Join(l.log.Err(), f.Close()) })
	}
	if err := awaitCard(ctx, slot, t.wait); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	t.close = append(t.close, func() error { return l.card.Close() })
	return l, nil
}

// awaitCard returns when something is in the slot, or after the time; what
// that means is then for Open to say.
func awaitCard(ctx context.Context, slot reader.Slot, d time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ev := range slot.Events(wait) {
		if ev.State == reader.StateCard || ev.State == reader.StateMute {
			return nil
		}
	}
	return ctx.Err()
}

func (l *line) open(ctx context.Context) error {
	card, err := l.slot.Open(ctx)
	if err != nil {
		return err
	}
	l.card, l.bare = card, card
	if l.log != nil {
		l.log.Remark(fmt.Sprintf("%s %s, answer to reset %X, T=%d", time.Now().Format(time.RFC3339), l.slot.Name(), card.ATR(), card.Protocol()))
		l.bare = apdu.Traced(card, l.log)
	}
	return nil
}

// whole is the card as packages want it that know no T=0.
func (l *line) whole() apdu.Transmitter { return reader.Complete(l.bare, l.card.Protocol()) }

// Transmit sends bytes as they are.
func (l *line) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return l.bare.Transmit(ctx, command)
}

// ATR is the answer to reset.
func (l *line) ATR() []byte { return l.card.ATR() }

// Reset takes power away and gives it back.
func (l *line) Reset(ctx context.Context) error {
	l.card.Close()
	if l.log != nil {
		l.log.Remark("reset") // so that a script made of the trace does it too
	}
	return l.open(ctx)
}

// withCard opens the card in a reader and lets f speak to it.
func (t *tool) withCard(cmd *cobra.Command, f func(context.Context, *line) error) error {
	l, err := t.open(cmd.Context())
	if t.note != "" {
		t.remark(cmd, "%s", t.note)
	}
	if err != nil {
		return err
	}
	return f(cmd.Context(), l)
}

// lines writes text.
func lines(w io.Writer, list []string) {
	for _, l := range list {
		fmt.Fprintln(w, l)
	}
}
