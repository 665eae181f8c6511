package desk

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/printer/printertest"
	"github.com/dianka/dianka/receipt"
)

// paper is the desk's printer: a simulated one, and the driver that a shop has
// at the other end of a line within this program.
type paper struct {
	sim       *printertest.Printer
	driver    *printer.Printer
	unplugged atomic.Bool
}

func newPaper(o Options) *paper {
	p := &paper{sim: printertest.New()}
	p.driver = printer.New(printer.Options{Log: o.Log.With("side", "printer"), Open: func(context.Context) (line.Line, error) {
		if p.unplugged.Load() {
			return line.Line{}, errors.New("the printer is unplugged")
		}
		c := p.sim.Pipe()
		return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
	}})
	return p
}

// Printer is the driver of the desk's printer.
func (d *Desk) Printer() *printer.Printer { return d.paper.driver }

// Paper shows the last slips as they came out.
func (d *Desk) Paper() []byte { return d.paper.sim.SVG(5, receipt.Columns58) }

// PrinterCondition is what the printer was set to.
func (d *Desk) PrinterCondition() string {
	switch c := d.paper.sim.Condition(); {
	case d.paper.unplugged.Load():
		return "unplugged"
	case c.PaperOut:
		return string(printer.StatePaperOut)
	case c.CoverOpen:
		return string(printer.StateCoverOpen)
	case c.Offline:
		return string(printer.StateOffline)
	}
	return string(printer.StateOK)
}

// SetPrinter takes the paper out, opens the cover, switches the printer off
// line or unplugs it; "ok" undoes all.
func (d *Desk) SetPrinter(to string) error {
	switch to {
	case string(printer.StateOK), string(printer.StatePaperOut), string(printer.StateCoverOpen), string(printer.StateOffline), "unplugged":
	default:
		return fmt.Errorf("the printer is ok, paper_out, cover_open, offline or unplugged, not %q", to)
	}
	d.paper.unplugged.Store(to == "unplugged")
	d.paper.sim.Set(func(c *printertest.Condition) {
		c.PaperOut, c.CoverOpen, c.Offline = to == string(printer.StatePaperOut), to == string(printer.StateCoverOpen), to == string(printer.StateOffline)
	})
	if to == "unplugged" {
		d.paper.sim.Unplug()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	d.paper.driver.Check(ctx) // so that the screens show it at once
	return nil
}

var _ kiosk.PaperDesk = (*Desk)(nil)
