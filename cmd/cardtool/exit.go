package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/script"
)

// class is a class of fault: an exit code, its name in JSON, and words.
type class struct {
	Exit  int    `json:"exit"`
	Name  string `json:"class"`
	Means string `json:"-"`
}

// The classes. Those below 10 are common to all our programs.
var (
	classFailed     = class{cli.ExitFailed, "failed", "failed; the message says why"}
	classUsage      = class{cli.ExitUsage, "usage", "the command line, a script or a file given is not right; nothing was sent"}
	classConfig     = class{cli.ExitConfig, "config", "the file of aliases or the environment is not right"}
	classDifference = class{cli.ExitDifference, "difference", "something is not as expected: an answer, a replay, a comparison"}
	classInUse      = class{cli.ExitInUse, "in-use", "another program holds the reader or the card"}
	classNoReader   = class{10, "no-reader", "no such reader, no reader at all, or no PC/SC service"}
	classNoCard     = class{11, "no-card", "no card in the reader"}
	classRefused    = class{12, "card-refused", "the card said no; its status word is in the message"}
	classLost       = class{13, "card-lost", "the card or the reader was removed or reset, or does not answer; nothing that moves value was under way"}
	classUnknown    = class{14, "outcome-unknown", "a command that moves value or writes was sent and no answer came: it may have happened"}
	classHost       = class{15, "host-refused", "the daemon or the utility said no"}
	classInterrupt  = class{130, "interrupted", "ended by Ctrl-C or a signal; nothing that moves value was under way"}

	classes = []class{classFailed, classUsage, classConfig, classDifference, classInUse, classNoReader, classNoCard, classRefused, classLost, classUnknown, classHost, classInterrupt}

	// gravest first: of several faults the first of these is the one to tell.
	gravity = []class{classUnknown, classLost, classRefused, classDifference, classHost, classInUse, classNoCard, classNoReader, classConfig, classInterrupt, classFailed, classUsage}
)

// exitCodes is the help topic.
func exitCodes() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Exit codes, and the class that --json names in an error:\n\n  %3d  %-16s %s\n", 0, "", "done")
	for _, c := range classes {
		fmt.Fprintf(&b, "  %3d  %-16s %s\n", c.Exit, c.Name, c.Means)
	}
	return b.String()
}

// unknownOutcome wraps the failure of a command that may have changed
// something.
type unknownOutcome struct {
	err     error
	command []byte
}

func (e *unknownOutcome) Error() string {
	return fmt.Sprintf("outcome unknown: sent was %s (%s, which %s), and then: %v", plainHex(redacted(e.command)), explain.Name(e.command), explain.RiskOf(e.command), e.err)
}

func (e *unknownOutcome) Unwrap() error { return e.err }

var joined = reflect.TypeOf(errors.Join(io.EOF))

// classify tells the class of an error and what to do next; of several errors
// that were joined, those of the gravest.
func classify(err error) (class, string) {
	if reflect.TypeOf(err) == joined {
		worst, next, rank := classFailed, "", len(gravity)
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			if c, n := classify(e); slices.Index(gravity, c) < rank {
				worst, next, rank = c, n, slices.Index(gravity, c)
			}
		}
		return worst, next
	}
	var (
		own     *cli.Error
		unknown *unknownOutcome
		execute *purse.ExecuteError
		re      *reader.Error
		sw      apdu.SW
		tries   *purse.TriesError
		failure *script.Failure
	)
	hint := ""
	if errors.As(err, &re) {
		hint = re.Hint
	}
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	switch {
	case errors.As(err, &own):
		for _, c := range classes {
			if c.Exit == own.Code {
				return c, own.Next
			}
		}
		return classFailed, own.Next
	case errors.As(err, &unknown), errors.As(err, &execute) && execute.Executed:
		return classUnknown, "put the same card in again and look before anything else is sent: cardtool purse log, cardtool purse prove"
	case is(context.Canceled):
		return classInterrupt, hint
	case is(config.ErrFile, config.ErrEnv):
		return classConfig, "correct the file, or name another by " + aliasesEnv
	case errors.As(err, &failure):
		return classDifference, hint
	case is(cli.ErrDifference):
		return classDifference, hint
	case is(cli.ErrUsage, script.ErrAPDU, script.ErrScript, explain.ErrInput, purse.ErrPIN), re == nil && is(fs.ErrNotExist):
		return classUsage, hint
	case is(reader.ErrBusy):
		if hint == "" {
			hint = "cardtool reader info tells who has PC/SC open"
		}
		return classInUse, hint
	case is(reader.ErrNoCard):
		if hint == "" {
			hint = "put the card in, chip first"
		}
		return classNoCard, hint
	case re != nil && (is(reader.ErrKind, reader.ErrSlotName, reader.ErrAmbiguous) || is(reader.ErrLost) && re.Op != "transmit"):
		return classNoReader, hint
	case is(reader.ErrRemoved, reader.ErrReset, reader.ErrDeadline, reader.ErrLost, reader.ErrGarbled, reader.ErrMute):
		if hint == "" {
			hint = "take the card out, look at its contacts, and put it in again"
		}
		return classLost, hint
	case errors.As(err, &tries):
		if tries.Left == 0 {
			return classRefused, "the PIN can be unblocked by its issuer only"
		}
		return classRefused, "ask the holder; a blocked PIN can be unblocked by its issuer only"
	case is(purse.ErrNoPurse):
		return classRefused, "cardtool card dump shows what is on the card"
	case is(purse.ErrNotPSAM, purse.ErrNotLoadSAM):
		return classRefused, "perhaps the SAM is in another slot: cardtool readers"
	case is(purse.ErrBlocked):
		return classRefused, "the utility can say why it is blocked; do not try to unblock it in the shop"
	case errors.As(err, &sw):
		return classRefused, swHint(sw)
	}
	for _, e := range []error{purse.ErrPublicInfo, purse.ErrNoProof, purse.ErrProofUnsupported, purse.ErrAnswer, purse.ErrAmount, purse.ErrType} {
		if is(e) {
			return classRefused, hint
		}
	}
	return classFailed, hint
}

// swHint is the next step for the commonest refusals.
func swHint(sw apdu.SW) string {
	switch sw {
	case apdu.SWSecurityNotSatisfied:
		return "the card wants a PIN or an authentication first: cardtool purse verify-pin"
	case apdu.SWMethodBlocked:
		return "the PIN can be unblocked by its issuer only"
	case apdu.SWFunctionNotSupported:
		return "if nothing else works either, card or application are blocked: ask the utility"
	case apdu.SWCounterExhausted, apdu.SWApplicationLocked:
		return "the card is at its end; have it replaced"
	case apdu.SWINSNotSupported, apdu.SWCLANotSupported:
		return "the card does not know this command; is the right application selected?"
	}
	return ""
}

// fault is what --json says of an error.
type fault struct {
	class
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
	SW      string `json:"sw,omitempty"`
	Means   string `json:"sw_means,omitempty"`
}

// faultOf gives nil for nil.
func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Message: err.Error()}
	f.class, f.Next = classify(err)
	var sw apdu.SW
	if errors.As(err, &sw) {
		f.SW, f.Means = fmt.Sprintf("%04X", uint16(sw)), sw.Meaning()
	}
	return f
}

// finishing makes every command below c end in its class of fault.
func (t *tool) finishing(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := forwards(c.Flags()); err != nil {
				return t.ended(c, err)
			}
			return t.ended(c, errors.Join(run(c, args), t.finish()))
		}
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return t.ended(c, fmt.Errorf("%w: %w", cli.ErrUsage, err))
			}
			return nil
		}
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return t.ended(c, fmt.Errorf("%w: %w", cli.ErrUsage, err)) })
	for _, sub := range c.Commands() {
		t.finishing(sub)
	}
}

// forwards refuses times that run backwards.
func forwards(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "duration" && strings.HasPrefix(f.Value.String(), "-") {
			err = fmt.Errorf("%w: --%s cannot be negative", cli.ErrUsage, f.Name)
		}
	})
	return err
}

func (t *tool) ended(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	k, next := classify(err)
	var sw apdu.SW
	if k == classRefused && errors.As(err, &sw) && !strings.Contains(err.Error(), sw.Error()) {
		err = fmt.Errorf("%w: the card answered %v", err, sw)
	}
	if k == classUsage && next == "" {
		next = fmt.Sprintf("see `%s --help`", c.CommandPath())
	}
	if t.json {
		f := faultOf(err)
		f.Next = next
		b, _ := json.Marshal(map[string]*fault{"error": f})
		fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
	}
	return &cli.Error{Err: err, Code: k.Exit, Next: next}
}
