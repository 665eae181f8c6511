package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/reader"
)

// terminalReader is the name by which --reader means the one that the running
// terminal has for the customer's card; its state folder may stand behind a
// colon.
const terminalReader = "terminal"

// ofTerminal tells whether --reader means the terminal's, and its state folder.
func (t *tool) ofTerminal() (dir string, ok bool) {
	name := t.name
	if name == "" {
		name = envReader()
	}
	name, dir, _ = strings.Cut(name, ":")
	if dir == "" {
		dir = stateDir()
	}
	return dir, name == terminalReader
}

// errTerminalReader is for what can't be asked of the terminal.
var errTerminalReader = &cli.Error{Err: fmt.Errorf("the terminal's reader is %w", cli.ErrInUse), Code: classInUse.Exit,
	Next: "the terminal can be asked for purse info, balance and log; for all else stop it first: systemctl stop kioskd"}

// orAsk reads the card in a reader, or asks the terminal that runs here to do
// it: when --reader says so, and when the reader is one that the terminal keeps
// to itself.
func (t *tool) orAsk(cmd *cobra.Command, direct func() error, ask func(context.Context, *local.Client) error) error {
	ctx := cmd.Context()
	if dir, ok := t.ofTerminal(); ok {
		c, err := dialTerminal(ctx, dir)
		if err != nil {
			return err
		}
		return askedErr(ask(ctx, c))
	}
	err := direct()
	if err == nil {
		return nil
	}
	if k, _ := classify(err); k != classInUse && (k != classNoReader || t.name != "" || envReader() != "") {
		return err
	}
	c, derr := local.Dial(ctx, stateDir())
	if derr != nil {
		return err
	}
	s, derr := c.State(ctx)
	if derr != nil {
		return err
	}
	var re *reader.Error
	if errors.Is(err, reader.ErrBusy) && errors.As(err, &re) && !slices.ContainsFunc(s.Readers, func(r local.Reader) bool { return r.Role == "card" && sameReader(r.Name, re.Slot) }) {
		return err // held, but not by the terminal for this card
	}
	t.remark(cmd, "asked of the terminal that runs here, which has the reader: %v", err)
	return askedErr(ask(ctx, c))
}

func askedErr(err error) error {
	var own *cli.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return daemonError(err)
}

// sameReader compares names with or without their kind.
func sameReader(a, b string) bool {
	return strings.TrimPrefix(a, "pcsc:") == strings.TrimPrefix(b, "pcsc:")
}

// heldReaders are those of the terminal that runs here, none when none runs.
func heldReaders(ctx context.Context) []local.Reader {
	c, err := local.Dial(ctx, stateDir())
	if err != nil {
		return nil
	}
	s, err := c.State(ctx)
	if err != nil {
		return nil
	}
	return s.Readers
}
