// Command cardtool is the technician's tool. It is wiring and nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/dianka/dianka/internal/cli"
)

var version = "unknown" // set by the linker

// memory is what a run may use before garbage is collected, in bytes: most
// runs end before, and to collect costs more than all else that is done
// between two commands.
const memory = 128 << 20

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(memory)
	}
	// A reader of our output that goes away must not kill us in the middle of
	// an exchange; the write fails instead.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &sink{w: stdout}
	code := cli.Run(ctx, newRootCommand(), args, out, stderr)
	if out.err != nil && code == cli.ExitOK { // what went worse has said so
		fmt.Fprintf(stderr, "cardtool: the answer could not be written: %v\n", out.err)
		return cli.ExitFailed
	}
	return code
}

// sink remembers that standard output was lost: an answer that nobody got is
// no success.
type sink struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if s.err == nil {
		s.err = err
	}
	return n, err
}
