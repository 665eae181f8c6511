package desk

import (
	"context"
	"errors"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/twin"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard/serialreader"
)

// overSerial is a rig of two simulated readers on serial lines, under the
// driver that a shop has for real ones.
type overSerial struct {
	readers [2]*serialreader.Twin
	service *twin.Service
	card    reader.Slot
	sam     reader.Slot
}

func newSerial(baud int) (rig, error) {
	o := twin.Options{Poll: 50 * time.Millisecond}
	if baud > 0 {
		o.Poll = 0 // as in a shop, to be measured
	}
	r := &overSerial{service: twin.New(o)}
	for i, at := range []*reader.Slot{&r.card, &r.sam} {
		r.readers[i] = serialreader.NewTwin(serialreader.GemPCTwin)
		r.readers[i].Baud = baud
		device, err := r.readers[i].PTY()
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		if *at, err = r.service.Slot("serial:"+device, device); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

// Traffic is how many bytes went over the lines of a desk with Serial, and how
// long that took.
func (d *Desk) Traffic() (bytes int, took time.Duration) {
	if r, ok := d.rig.(*overSerial); ok {
		for _, t := range r.readers {
			n, d := t.Traffic()
			bytes, took = bytes+n, took+d
		}
	}
	return bytes, took
}

func (r *overSerial) slots() (reader.Slot, reader.Slot) { return r.card, r.sam }

func (r *overSerial) put(_ context.Context, c virtual.Chip) error {
	r.readers[0].Insert(0, c)
	return nil
}

func (r *overSerial) take() error {
	r.readers[0].Remove(0)
	return nil
}

func (r *overSerial) swap(_ context.Context, c virtual.Chip) error {
	r.readers[0].Insert(0, c)
	return nil
}

func (r *overSerial) putSAM(_ context.Context, c virtual.Chip) error {
	r.readers[1].Insert(0, c)
	return nil
}

func (r *overSerial) close() error {
	err := r.service.Close()
	for _, t := range r.readers {
		if t != nil {
			t.Unplug()
		}
	}
	return err
}
