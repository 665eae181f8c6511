package virtual_test

import (
	"testing"
	"time"

	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/virtual"
)

func TestConformance(t *testing.T) {
	readertest.Run(t, func(t *testing.T) readertest.Bench {
		s := virtual.New("sim:test")
		s.Deadline = 500 * time.Millisecond
		return readertest.Bench{
			Slot:     s,
			Insert:   s.Insert,
			Remove:   s.Remove,
			Swap:     s.Swap,
			Lose:     func() { s.Lose(nil) },
			Restore:  func() { s.Remove(); s.Restore() },
			Deadline: s.Deadline,
		}
	})
}
