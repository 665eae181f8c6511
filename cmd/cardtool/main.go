// Command cardtool is the technician's tool. It is wiring and nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

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
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		out.live = true
	}
	code := cli.Run(ctx, newRootCommand(), args, out, after{out, stderr})
	out.flush()
	if out.err != nil && code == cli.ExitOK { // what went worse has said so
		fmt.Fprintf(stderr, "cardtool: the answer could not be written: %v\n", out.err)
		return cli.ExitFailed
	}
	return code
}

// Bounds of what a program that reads our output waits for.
const (
	holdFor  = 20 * time.Millisecond
	holdMost = 32 << 10
)

// sink is standard output. It remembers that it was lost: an answer that
// nobody got is no success. What goes to another program is held back a moment,
// since to wake that program for every line takes as long as the card.
type sink struct {
	w    io.Writer
	live bool // to a terminal: at once

	mu    sync.Mutex
	held  []byte
	armed bool
	err   error
}

// Write implements io.Writer. It fails with the first error there was.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.held = append(s.held, b...)
	if s.live || len(s.held) > holdMost {
		s.send()
		return len(b), s.err
	}
	if !s.armed {
		s.armed = true
		time.AfterFunc(holdFor, s.flush)
	}
	return len(b), nil
}

func (s *sink) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.send()
}

// send is called with mu held.
func (s *sink) send() {
	if len(s.held) == 0 || s.err != nil {
		return
	}
	_, s.err = s.w.Write(s.held)
	s.held = s.held[:0]
}

// after is standard error: what was said before stands before it.
type after struct {
	out *sink
	w   io.Writer
}

// Write implements io.Writer.
func (a after) Write(b []byte) (int, error) {
	a.out.flush()
	return a.w.Write(b)
}
