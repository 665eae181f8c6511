//go:build linux || windows || cgo

package printer

import (
	"fmt"

	"github.com/tarm/serial"
)

func openSerial(device string, baud int) (Line, error) {
	g, err := guardSerial(device)
	if err != nil {
		return Line{}, err
	}
	p, err := serial.OpenPort(&serial.Config{Name: device, Baud: baud, ReadTimeout: tick})
	if err != nil {
		g.Close()
		return Line{}, fmt.Errorf("%s: %w", device, busy(err))
	}
	g.seal()
	p.Flush()
	return Line{guarded{p, g}, true, baud / 10, func() { p.Flush() }}, nil
}
