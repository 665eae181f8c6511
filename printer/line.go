package printer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/dianka/dianka/internal/line"
)

// ErrAddress refuses what names no line to a printer.
var ErrAddress = errors.New("printer: not an address: serial:<device>, usb:<device file> or tcp:<host>:<port>")

// Opener opens the line, anew after each time that it broke.
type Opener func(ctx context.Context) (line.Line, error)

// ParseAddress gives an Opener for "serial:/dev/ttyS0", "usb:/dev/usb/lp0" or
// "tcp:192.0.2.7:9100". baud is of a serial line; 0: 9600. It opens nothing
// yet and fails with ErrAddress.
func ParseAddress(address string, baud int) (Opener, error) {
	kind, rest, ok := strings.Cut(address, ":")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q: %w", address, ErrAddress)
	}
	switch kind {
	case "serial":
		return func(context.Context) (line.Line, error) {
			return line.OpenSerial(line.Serial{Device: rest, Baud: baud})
		}, nil
	case "usb":
		return func(context.Context) (line.Line, error) { return line.OpenFile(rest) }, nil
	case "tcp":
		if _, port, err := net.SplitHostPort(rest); err != nil || port == "" {
			return nil, fmt.Errorf("%q: %w", address, ErrAddress)
		}
		return func(ctx context.Context) (line.Line, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", rest)
			if err != nil {
				return line.Line{}, err
			}
			return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
		}, nil
	}
	return nil, fmt.Errorf("%q: %w", address, ErrAddress)
}
