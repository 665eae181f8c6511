package printertest

import "github.com/dianka/dianka/internal/pty"

// PTY plugs the printer into a pseudo-terminal and gives the path of the
// device that the driver opens. Unplug ends it; what Read gives the driver then
// is what a serial adapter pulled out of its socket gives.
func (p *Printer) PTY() (device string, err error) {
	d, err := pty.Open()
	if err != nil {
		return "", err
	}
	go p.Serve(d)
	return d.Path, nil
}
