// Package cli is what the commands have in common: how they end, and how they
// log.
//
// It may import cobra, internal/config, internal/filelock and reader (whose
// errors have a hint for people). It knows nothing of what the commands do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/reader"
)

// Exit codes of every command; ExitCodes has them in words.
const (
	ExitOK         = 0
	ExitFailed     = 1
	ExitUsage      = 2
	ExitConfig     = 3
	ExitDifference = 4
	ExitInUse      = 5
	ExitDamaged    = 6
)

// ExitCodes documents the exit codes, for the help of a root command.
const ExitCodes = `Exit codes:
  0  done
  1  failed; the message says why
  2  the command line is not right
  3  the configuration or the environment is not right
  4  an audit found a difference, or records that do not verify
  5  another process uses the file or the folder
  6  the terminal's file cannot be used; starting again does not help`

// Errors that have an exit code of their own. Commands wrap them.
var (
	ErrUsage      = errors.New("the command line is not right")
	ErrDifference = errors.New("not clean")
	ErrInUse      = errors.New("in use by another process")
	ErrDamaged    = errors.New("starting again does not help")
)

// Error is an error with an exit code of its own, for a program that knows
// more classes of fault than those above, and with what to do next.
type Error struct {
	Err  error
	Code int    // 0 = as if Err stood alone
	Next string // one sentence, or empty
}

// Error gives the text of Err.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// Run executes a command tree and gives the exit code. An error is written to
// stderr once, behind the name of the command.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	began := false
	watch(root, &began)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetHelpCommand(help(root))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	own := (*Error)(nil)
	if errors.As(err, &own) && own.Next != "" {
		fmt.Fprintf(stderr, "%s\n", own.Next)
	} else if re := (*reader.Error)(nil); errors.As(err, &re) && re.Hint != "" {
		fmt.Fprintf(stderr, "%s\n", re.Hint)
	}
	switch {
	case own != nil && own.Code != 0:
		return own.Code
	case !began, errors.Is(err, ErrUsage):
		fmt.Fprintf(stderr, "see `%s --help`\n", root.Name())
		return ExitUsage
	case errors.Is(err, config.ErrFile), errors.Is(err, config.ErrEnv):
		return ExitConfig
	case errors.Is(err, ErrDamaged):
		return ExitDamaged
	case errors.Is(err, ErrDifference):
		return ExitDifference
	case errors.Is(err, ErrInUse), errors.Is(err, filelock.ErrHeld):
		return ExitInUse
	}
	return ExitFailed
}

// watch notes that a command began: what failed before is the command line.
func watch(c *cobra.Command, began *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*began = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		watch(sub, began)
	}
}

// help is cobra's own, but for a topic that does not exist, which is an error.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) (list []cobra.Completion, _ cobra.ShellCompDirective) {
			if of, _, err := root.Find(args); err == nil {
				for _, sub := range of.Commands() {
					if strings.HasPrefix(sub.Name(), begun) && !sub.Hidden {
						list = append(list, sub.Name())
					}
				}
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			of, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("%w: there is no help on %q", ErrUsage, strings.Join(args, " "))
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// Group is what a command does that only holds others.
func Group(cmd *cobra.Command, _ []string) error {
	return fmt.Errorf("%w: say which: `%s --help`", ErrUsage, cmd.CommandPath())
}

// Log is the part of a configuration that says how to log.
type Log struct {
	Level  string `yaml:"level" doc:"the least that is logged: debug, info, warn or error"`
	Format string `yaml:"format" doc:"text for people, json for machines"`
}

// New makes the logger.
func (l Log) New(w io.Writer) (*slog.Logger, error) {
	o := new(slog.HandlerOptions)
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return nil, fmt.Errorf("%w: log.level is debug, info, warn or error, not %q", config.ErrFile, l.Level)
	}
	o.Level = level
	switch l.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("%w: log.format is text or json, not %q", config.ErrFile, l.Format)
}
