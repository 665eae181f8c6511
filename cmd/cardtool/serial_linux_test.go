package main

import (
	"fmt"
	"os"
	"time"

	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/simcard/serialreader"
)

func init() { commands["twinsim"] = twinsim }

// twinsim LINE is a reader on a serial line, with a card in it, until the line
// is removed.
func twinsim() {
	sim := serialreader.NewTwin(serialreader.GemPCTwin)
	device, err := sim.PTY()
	if err == nil {
		sim.Insert(0, readertest.NewChip(1, true))
		err = os.Symlink(device, os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for err == nil {
		time.Sleep(20 * time.Millisecond) // the test is another program, which announces nothing
		_, err = os.Lstat(os.Args[1])
	}
}
