//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/internal/desk"
)

// baud is the speed of readers of the GemPC Twin family.
const baud = 115200

// redemptionSerial compares what the terminal waits for at serial readers with
// what the bytes take on the line and the chips take themselves.
func redemptionSerial(ctx context.Context, dir string) error {
	const n = 100
	for _, t0 := range []bool{false, true} {
		title("Redemption on simulated serial readers at %d baud, T=%d, off line, %d times", baud, map[bool]int{false: 1, true: 0}[t0], n)
		m := &meter{}
		b, err := open(ctx, desk.Options{Dir: fmt.Sprintf("%s/%v", dir, t0), Serial: true, Baud: baud, T0: t0, Slot: m.slot, Chip: m.chip})
		if err != nil {
			return err
		}
		if err = b.cut(); err == nil {
			err = onTheLine(b, m, n)
		}
		if err = errors.Join(err, b.stop()); err != nil {
			return err
		}
	}
	return nil
}

func onTheLine(b *bench, m *meter, n int) error {
	var waited, chips, wire times
	var bytes, apdus int
	for i := range warm + n {
		spent, chip, count := m.spent.Load(), m.chips.Load(), m.count.Load()
		before, took := b.Traffic()
		if err := b.redeem(1); err != nil {
			return err
		}
		if i < warm {
			continue
		}
		after, total := b.Traffic()
		waited = append(waited, time.Duration(m.spent.Load()-spent))
		chips = append(chips, time.Duration(m.chips.Load()-chip))
		wire = append(wire, total-took)
		bytes += after - before
		apdus += int(m.count.Load() - count)
	}
	line("", "      p50       p99", "")
	line(fmt.Sprintf("exchanges, %.1f APDUs", float64(apdus)/float64(n)), waited.String(), "")
	line("  of which in the simulated chips", chips.String(), "")
	line("compared to: the line's own time", wire.String(), fmt.Sprintf("%.0f bytes, which take %s at %d baud", float64(bytes)/float64(n), ms(time.Duration(bytes/n)*11*time.Second/baud), baud))
	ratio := float64(waited.sum()) / float64(wire.sum()+chips.sum())
	line("exchanges against line and chips", fmt.Sprintf("%.3f times", ratio), goal(ratio <= 1.1, "at most 1.1 times"))
	return nil
}
