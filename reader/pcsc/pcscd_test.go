//go:build cgo && linux

package pcsc_test

import (
	"testing"
	"time"

	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/pcsc/pcscdtest"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/virtual"
)

func TestMain(m *testing.M) { pcscdtest.Main(m) }

func TestConformance(t *testing.T) {
	d := pcscdtest.Start(t)
	const deadline = 1500 * time.Millisecond
	readertest.Run(t, func(t *testing.T) readertest.Bench {
		v, err := pcsc.New(pcsc.Options{Deadline: deadline})
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.Slot(pcscdtest.Readers[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Remove(0); v.Close() })
		return readertest.Bench{
			Slot:     s,
			Insert:   func(c virtual.Chip) { d.Insert(0, c) },
			Remove:   func() { d.Remove(0) },
			Swap:     func(c virtual.Chip) { d.Insert(0, c) },
			Lose:     d.Stop,
			Restore:  d.Run,
			Deadline: deadline,
		}
	})
}
