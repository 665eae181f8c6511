package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/script"
)

type exchangeJSON struct {
	Command  string  `json:"command"`
	Response string  `json:"response"`
	Data     string  `json:"data"`
	SW       string  `json:"sw"`
	Meaning  string  `json:"meaning"`
	Ms       float64 `json:"ms"`
	Auto     bool    `json:"auto"` // sent by --auto, not asked for
}

type apduJSON struct {
	Reader    string         `json:"reader"`
	ATR       string         `json:"atr"`
	Exchanges []exchangeJSON `json:"exchanges"`
	Error     *fault         `json:"error,omitempty"`
}

func newAPDUCommand(t *tool) *cobra.Command {
	var auto bool
	var g guard
	cmd := &cobra.Command{
		Use:   "apdu COMMAND...",
		Short: "Send commands to the card, bit for bit",
		Long: "Sends commands exactly as they are given, and shows the answers exactly as the\n" +
			"card gave them. Nothing is added, repeated or hidden. A command is plain hex, or\n\n" +
			"  [CLA]INS[P1P2][:DATA][/LE][=SW]\n\n" +
			"in which CLA, P1 and P2 are 00 when left out; LE has two hex digits, or four for\n" +
			"the extended form, and is 00 when nothing follows the stroke; SW is the status\n" +
			"word that must come, 9000 when nothing follows the sign, X for any digit. An\n" +
			"answer that must not come ends the call with exit code 4; a refusal of which\n" +
			"nothing was expected, with 12 after the last command.\n\n" +
			"--auto fetches 61xx and repeats 6Cxx, as a card with T=0 needs it, and shows each\n" +
			"further exchange.",
		Example: "  cardtool apdu 00A40000023F00\n" +
			"  cardtool apdu A40400:A00000000386980701/= 805C0002/04=9000\n" +
			"  cardtool apdu --auto A40400:A00000000386980701 --json\n" +
			"  cardtool apdu --dry-run 0020:123456",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list := make([]script.APDU, len(args))
			for i, a := range args {
				var err error
				if list[i], err = script.ParseAPDU(a); err != nil {
					return fmt.Errorf("command %d: %w", i+1, err)
				}
				if _, err := apdu.ParseCommand(list[i].Bytes); err != nil {
					t.remark(cmd, "command %d has not the form of one; it is sent as it is: %v", i+1, err)
				}
			}
			commands := make([][]byte, len(list))
			for i, a := range list {
				commands[i] = a.Bytes
			}
			if done, err := g.check(t, cmd, commands); done || err != nil {
				return err
			}
			return t.withCard(cmd, func(ctx context.Context, l *line) error {
				out := apduJSON{Reader: l.slot.Name(), ATR: fmt.Sprintf("%X", l.ATR()), Exchanges: []exchangeJSON{}}
				err := t.send(ctx, cmd, l, list, auto, &out)
				if t.json { // what was exchanged counts also when it ended badly
					out.Error = faultOf(err)
					return errors.Join(t.emit(cmd, out), t.silent(err))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&auto, "auto", false, "fetch 61xx and repeat 6Cxx, each exchange shown")
	g.flags(cmd)
	return cmd
}

func (t *tool) send(ctx context.Context, cmd *cobra.Command, l *line, list []script.APDU, auto bool, out *apduJSON) error {
	var refused error
	for i, a := range list {
		first := true
		one := shown(l, func(command, response []byte, took time.Duration) {
			t.showExchange(cmd, command, response, took, !first, out)
			first = false
		})
		var way apdu.Transmitter = one
		if auto {
			way = apdu.GetResponse(one)
		}
		b, err := way.Transmit(ctx, a.Bytes)
		if err != nil {
			return sent(a.Bytes, err)
		}
		r, err := apdu.ParseResponse(b)
		if err != nil {
			return sent(a.Bytes, err)
		}
		switch {
		case a.Want != nil && !a.Want.Match(r.SW):
			return &cli.Error{Err: fmt.Errorf("command %d: expected %s, the card answered %w", i+1, a.Want, r.SW), Code: classDifference.Exit}
		case a.Want == nil && script.Refuses(r.SW):
			refused = fmt.Errorf("command %d: the card answered %w", i+1, r.SW)
		}
	}
	return refused
}

// sent says of a failed exchange what it may have done.
func sent(command []byte, err error) error {
	if explain.RiskOf(command) >= explain.RiskWrite && apdu.MayHaveExecuted(err) {
		return &unknownOutcome{err, command}
	}
	return err
}

// shown tells of each exchange of a transmitter.
func shown(t apdu.Transmitter, tell func(command, response []byte, took time.Duration)) apdu.Transmitter {
	return transmitFunc(func(ctx context.Context, command []byte) ([]byte, error) {
		start := time.Now()
		response, err := t.Transmit(ctx, command)
		if err == nil {
			tell(command, response, time.Since(start))
		}
		return response, err
	})
}

type transmitFunc func(ctx context.Context, command []byte) ([]byte, error)

func (f transmitFunc) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return f(ctx, command)
}

// showExchange writes an exchange as a trace has it. PINs and keys are not
// shown, also not those that were just typed.
func (t *tool) showExchange(cmd *cobra.Command, command, response []byte, took time.Duration, auto bool, out *apduJSON) {
	c := apdu.RedactSecrets.Redact(apdu.Line{Kind: apdu.LineCommand, Data: command}, nil)
	r, err := apdu.ParseResponse(response)
	if t.json {
		x := exchangeJSON{Command: plainHex(c), Response: fmt.Sprintf("%X", response), Ms: float64(took.Microseconds()) / 1000, Auto: auto}
		if err == nil {
			x.Data, x.SW, x.Meaning = fmt.Sprintf("%X", r.Data), fmt.Sprintf("%04X", uint16(r.SW)), r.SW.Meaning()
		}
		out.Exchanges = append(out.Exchanges, x)
		return
	}
	if auto {
		c.Remark = "by --auto"
	}
	meaning := "no status word"
	if err == nil {
		meaning = r.SW.Meaning()
	}
	a := apdu.Line{Kind: apdu.LineResponse, Data: response, Remark: fmt.Sprintf("%s, %s", took.Round(100*time.Microsecond), meaning)}
	fmt.Fprintf(cmd.OutOrStdout(), "%v\n%v\n", c, a)
}

// plainHex is a line's bytes without blanks.
func plainHex(l apdu.Line) string {
	s := ""
	for i, b := range l.Data {
		if i < len(l.Redacted) && l.Redacted[i] {
			s += "**"
		} else {
			s += fmt.Sprintf("%02X", b)
		}
	}
	return s
}
