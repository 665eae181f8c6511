package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/purse"
)

func newPurseVerifyCommand(t *tool) *cobra.Command {
	var g guard
	var askTries bool
	cmd := &cobra.Command{
		Use:   "verify-pin",
		Short: "Present the holder's PIN, read from the keyboard or standard input",
		Long: "Presents the PIN once. A wrong one costs a try, of which most cards have three, so\n" +
			"--yes is needed. How many are left the card tells only in the answer to a wrong\n" +
			"one; --ask-tries asks before by an empty VERIFY, which is harmless on cards that\n" +
			"follow ISO 7816-4 and may cost a try on others. The PIN is never an argument and is never\n" +
			"shown; typed at a terminal it is not echoed.",
		Example: "  cardtool purse verify-pin --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The PIN's bytes are not shown, so that any stand for it.
			if done, err := g.check(t, cmd, [][]byte{{0x00, 0x20, 0x00, 0x00, 0x03, 0, 0, 0}}); done || err != nil {
				return err
			}
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				app, err := t.selectPurse(ctx, l)
				if err != nil {
					return err
				}
				if askTries {
					r, err := apdu.Send(ctx, l.whole(), apdu.Command{INS: 0x20})
					if err != nil {
						return err
					}
					if left, ok := r.SW.TriesLeft(); ok {
						t.remark(cmd, "tries left: %d", left)
					} else {
						t.remark(cmd, "the card does not tell how many tries are left: %v", r.SW)
					}
				} else {
					t.remark(cmd, triesUnknown)
				}
				pin, err := t.readPIN(cmd)
				if err != nil {
					return err
				}
				if err := app.VerifyPIN(ctx, pin); err != nil {
					return err
				}
				if t.json {
					return t.emit(cmd, struct {
						Number   string `json:"number"`
						Verified bool   `json:"verified"`
					}{app.Info().Number.String(), true})
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the PIN is right")
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&askTries, "ask-tries", false, "ask for the tries left by an empty VERIFY first")
	g.flags(cmd)
	return cmd
}

// readPIN takes the card's PIN.
func (t *tool) readPIN(cmd *cobra.Command) (string, error) { return t.readSecret(cmd, "PIN: ") }

// readSecret takes a PIN from the keyboard without echo, or the next line of
// standard input.
func (t *tool) readSecret(cmd *cobra.Command, prompt string) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		// Echo goes off before the question is asked, for those who type fast.
		old, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return "", err
		}
		defer term.Restore(int(f.Fd()), old)
		return term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{f, cmd.ErrOrStderr()}, "").ReadPassword(prompt)
	}
	if t.in == nil {
		t.in = bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 128))
	}
	s, err := t.in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if s = strings.TrimRight(s, "\r\n"); s == "" {
		return "", purse.ErrPIN
	}
	return s, nil
}
