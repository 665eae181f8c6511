package pcsc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dianka/dianka/reader"
)

// Info is what the service and the driver say of a reader. What a driver does
// not say is empty.
type Info struct {
	Name       string
	State      reader.State
	InUse      bool // another program, or we, have its card open
	Exclusive  bool // and share it with nobody
	Attributes []Attribute
	Features   []Feature
}

// Attribute is one answer of SCardGetAttrib.
type Attribute struct {
	ID    uint32 // PC/SC part 3 section 3.1.2
	Name  string
	Value []byte
}

// Feature is a feature by which a reader offers more than cards (PC/SC part
// 10 section 2.3), for example a PIN pad.
type Feature struct {
	Tag     byte
	Name    string
	Control uint32 // code for SCardControl
}

// The attributes that are asked for (PC/SC part 3 section 3.1.2).
var attributes = []Attribute{
	{ID: 0x00010100, Name: "vendor"},
	{ID: 0x00010101, Name: "model"},
	{ID: 0x00010102, Name: "driver version"},
	{ID: 0x00010103, Name: "serial number"},
	{ID: 0x00020110, Name: "channel"},
	{ID: 0x00030126, Name: "protocols"},
	{ID: 0x00030121, Name: "default clock kHz"},
	{ID: 0x00030122, Name: "highest clock kHz"},
	{ID: 0x00030123, Name: "default data rate"},
	{ID: 0x00030124, Name: "highest data rate"},
	{ID: 0x00080201, Name: "protocol in use"},
	{ID: 0x00090300, Name: "card present"},
	{ID: 0x7FFF0003, Name: "friendly name"},
	{ID: 0x7FFF0004, Name: "system name"},
}

// features by tag, PC/SC part 10 section 2.3.
var features = map[byte]string{
	0x01: "verify PIN, start", 0x02: "verify PIN, finish", 0x03: "modify PIN, start", 0x04: "modify PIN, finish",
	0x05: "get key pressed", 0x06: "verify PIN on the pad", 0x07: "modify PIN on the pad", 0x08: "MCT reader",
	0x09: "MCT universal", 0x0A: "pad and display properties", 0x0B: "abort", 0x0C: "set SPE message",
	0x0D: "verify PIN, application id", 0x0E: "modify PIN, application id", 0x0F: "write display",
	0x10: "get key", 0x11: "display properties", 0x12: "reader properties", 0x13: "CCID escape",
}

// Text gives an attribute for people: text as such, numbers as such, the rest
// in hex.
func (a Attribute) Text() string {
	switch {
	case a.ID == 0x00010102 && len(a.Value) == 4: // MMmmbbbb
		v := binary.NativeEndian.Uint32(a.Value)
		return fmt.Sprintf("%d.%d.%d", v>>24, v>>16&0xFF, v&0xFFFF)
	case a.ID == 0x00020110 && len(a.Value) == 4: // kind in the high half, address in the low one
		v := binary.NativeEndian.Uint32(a.Value)
		kinds := map[uint32]string{0x01: "serial", 0x02: "parallel", 0x04: "PS/2", 0x08: "SCSI", 0x10: "IDE", 0x20: "USB"}
		if k, ok := kinds[v>>16]; ok && v>>16 == 0x20 {
			return fmt.Sprintf("%s bus %d device %d", k, v>>8&0xFF, v&0xFF)
		} else if ok {
			return fmt.Sprintf("%s %d", k, v&0xFFFF)
		}
	case (a.ID == 0x00030126 || a.ID == 0x00080201) && len(a.Value) == 4: // one bit for each protocol
		s := ""
		v := binary.NativeEndian.Uint32(a.Value)
		for t := range 2 {
			if v>>t&1 != 0 {
				s += fmt.Sprintf("T=%d ", t)
			}
		}
		if s != "" {
			return s[:len(s)-1]
		}
	case a.ID>>16 == 0x0003 && len(a.Value) == 4:
		return fmt.Sprint(binary.NativeEndian.Uint32(a.Value))
	case a.ID == 0x00090300 && len(a.Value) == 1:
		return map[byte]string{0: "no", 1: "yes, not pushed in", 2: "yes"}[a.Value[0]]
	}
	text := a.Value
	for len(text) > 0 && text[len(text)-1] == 0 {
		text = text[:len(text)-1]
	}
	for _, c := range text {
		if c < ' ' || c == 0x7F {
			return fmt.Sprintf("%X", a.Value)
		}
	}
	return string(text)
}

// Info asks the service and the driver about the reader of that name or
// fragment, without its card. It fails with reader.ErrSlotName,
// reader.ErrAmbiguous, reader.ErrLost, or, when the driver does not come back
// in time, reader.ErrBusy.
func (v *Service) Info(ctx context.Context, fragment string) (Info, error) {
	full := "pcsc:" + fragment
	names, err := v.hub.list(ctx)
	if err != nil {
		return Info{}, v.unreachable(full, err)
	}
	name, err := reader.Match(fragment, names)
	if err != nil {
		return Info{}, &reader.Error{Slot: full, Op: "open", Kind: err, Hint: "cardtool readers lists the readers that are there"}
	}
	i := Info{Name: name}
	v.hub.mu.Lock()
	if k := v.hub.known[name]; k != nil {
		i.State, i.InUse, i.Exclusive = k.status.state, k.flags&flagInUse != 0, k.flags&flagExclusive != 0
	}
	v.hub.mu.Unlock()

	type answer struct {
		values   map[uint32][]byte
		features []byte
		err      error
	}
	got := make(chan answer, 1)
	go func() {
		s, err := v.hub.drv.establish()
		if err != nil {
			got <- answer{err: err}
			return
		}
		defer s.release()
		ids := make([]uint32, len(attributes))
		for n, a := range attributes {
			ids[n] = a.ID
		}
		values, f, err := s.inspect(name, ids)
		got <- answer{values, f, err}
	}()
	timer := time.NewTimer(v.opt.Deadline)
	defer timer.Stop()
	var a answer
	select {
	case a = <-got:
	case <-timer.C:
		return i, &reader.Error{Slot: "pcsc:" + name, Op: "inspect", Kind: reader.ErrBusy, Cause: errSlow}
	case <-ctx.Done():
		return i, &reader.Error{Slot: "pcsc:" + name, Op: "inspect", Kind: ctx.Err()}
	}
	if a.err != nil {
		kind, hint := explain(a.err, reader.ErrLost)
		return i, &reader.Error{Slot: "pcsc:" + name, Op: "inspect", Kind: kind, Cause: a.err, Hint: hint}
	}
	for _, w := range attributes {
		if b, ok := a.values[w.ID]; ok && len(b) > 0 {
			i.Attributes = append(i.Attributes, Attribute{ID: w.ID, Name: w.Name, Value: b})
		}
	}
	i.Features, err = parseFeatures(a.features)
	if err != nil {
		return i, &reader.Error{Slot: "pcsc:" + name, Op: "inspect", Kind: reader.ErrGarbled, Cause: err}
	}
	return i, nil
}

var errFeatures = errors.New("the driver's list of features is not one")

// parseFeatures reads a sequence of tag, length 4 and control code, big-endian
// (PC/SC part 10 section 2.2).
func parseFeatures(b []byte) ([]Feature, error) {
	var list []Feature
	for len(b) > 0 {
		if len(b) < 6 || b[1] != 4 {
			return list, errFeatures
		}
		name, ok := features[b[0]]
		if !ok {
			name = "not known"
		}
		list = append(list, Feature{Tag: b[0], Name: name, Control: binary.BigEndian.Uint32(b[2:])})
		b = b[6:]
	}
	return list, nil
}
