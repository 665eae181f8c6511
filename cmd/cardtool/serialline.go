package main

import (
	"context"
	"fmt"
	"os"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard/serialreader"
)

// serialLine is a simulated reader on a serial line that is found under a path.
type serialLine struct {
	path, model string
	reader      *serialreader.Twin
}

func newSerialLine(path string, cards int) *serialLine {
	if cards > 1 {
		return &serialLine{path, "GemCoreSIMPro", serialreader.NewTwin(serialreader.GemCoreSIMPro)}
	}
	return &serialLine{path, "GemPCTwin", serialreader.NewTwin(serialreader.GemPCTwin)}
}

// address is how --reader names a slot.
func (l *serialLine) address(slot int) string {
	if l.model == "GemPCTwin" {
		return "serial:" + l.path
	}
	return fmt.Sprintf("serial:%s:%s:%d", l.path, l.model, slot+1)
}

func (l *serialLine) plug() error {
	device, err := l.reader.PTY()
	if err != nil {
		return err
	}
	if err := os.Symlink(device, l.path); err != nil {
		l.reader.Unplug()
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	return nil
}

func (l *serialLine) unplug() {
	os.Remove(l.path)
	l.reader.Unplug()
}

// insert puts a card in until it leaves, or ctx ends.
func (l *serialLine) insert(ctx context.Context, slot int, chip virtual.Chip) stay {
	s := &serialStay{line: l, slot: slot, left: l.reader.Insert(slot, chip)}
	context.AfterFunc(ctx, func() { s.Close() })
	return s
}

type serialStay struct {
	line *serialLine
	slot int
	left <-chan struct{}
}

// Close takes the card out, if it is this one that is in.
func (s *serialStay) Close() error {
	select {
	case <-s.left:
	default:
		s.line.reader.Remove(s.slot)
	}
	return nil
}

func (s *serialStay) Done() <-chan struct{} { return s.left }
func (s *serialStay) Err() error            { return nil }
