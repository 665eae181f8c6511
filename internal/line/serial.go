//go:build linux || windows || cgo

package line

import (
	"fmt"

	"github.com/tarm/serial"
)

var parities = map[Parity]serial.Parity{NoParity: serial.ParityNone, Even: serial.ParityEven, Odd: serial.ParityOdd}

func openSerial(s Serial) (Line, error) {
	g, err := guardSerial(s.Device)
	if err != nil {
		return Line{}, err
	}
	c := serial.Config{Name: s.Device, Baud: s.Baud, ReadTimeout: tick, Parity: parities[s.Parity], StopBits: serial.Stop1}
	if s.Stop2 {
		c.StopBits = serial.Stop2
	}
	p, err := serial.OpenPort(&c)
	if err != nil {
		g.Close()
		return Line{}, fmt.Errorf("%s: %w", s.Device, busy(err))
	}
	g.seal()
	p.Flush()
	return Line{ReadWriteCloser: guarded{p, g}, Ticks: true, Rate: s.Baud / s.bitsPerByte(), Unblock: func() { p.Flush() }, Modem: g}, nil
}
