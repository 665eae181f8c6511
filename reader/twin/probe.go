package twin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dianka/dianka/internal/line"
)

// Found is what answers at the end of a line.
type Found struct {
	Device   string
	Baud     int      // at which it answered
	Firmware string   // what it says of itself
	Models   []string // which models it can be, by libccid's names, the likeliest first
	Sure     bool     // the firmware names the one model
	Echo     bool     // it sends commands back
	Rounds   int      // commands that were tried to see how good the line is
	Damaged  int      // of these, frames that came damaged or were refused as damaged
	Took     time.Duration
}

// Address is what Service.Slot takes for the likeliest model.
func (f Found) Address() string { return f.Device + ":" + f.Models[0] }

// firmwares are parts of firmware strings by which a model is known; libccid
// and its reports show them. What is not here is one of the family all the
// same, but which is not known.
var firmwares = []struct{ part, model string }{
	{"GemTw", "GemPCTwin"}, {"GemCorePOS", "GemCorePOSPro"}, {"GemCoreSIM Pro2", "GemCoreSIMPro2"}, {"GemCoreSIM", "GemCoreSIMPro"},
	{"GemPP", "GemPCPinPad"}, {"SEC1210", "SEC1210UR2"},
}

// probeTime is how long a reader may take to say who it is: it needs no card
// for that, so it is quick.
const probeTime = time.Second

// rounds are enough to see a bad cable, and take half a second.
const rounds = 20

// Probe finds out whether a reader of the family is at the end of a line, and
// which. It powers no card. It fails with ErrNoReader when none answers, or
// with why the line can't be opened.
func Probe(ctx context.Context, device string) (Found, error) {
	for _, baud := range []int{115200, 9600} {
		f, err := probeAt(ctx, device, baud)
		if err == nil || !errors.Is(err, ErrNoReader) {
			return f, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Found{}, err
	}
	return Found{}, fmt.Errorf("%w: nothing of the GemPC Twin family at 115200 or 9600 baud", ErrNoReader)
}

func probeAt(ctx context.Context, device string, baud int) (Found, error) {
	l, err := openLine(device, baud)
	if err != nil {
		return Found{}, err
	}
	w := line.NewWire(l)
	defer w.Close()
	if l.Modem != nil {
		if err := l.Modem.SetRTS(false); err != nil && !errors.Is(err, line.ErrNoModem) {
			return Found{}, err
		}
	}
	p := &port{wire: w}
	ask := func(m message) (message, error) {
		return p.command(ctx.Done(), time.Now().Add(probeTime), probeTime, m)
	}
	f := Found{Device: device, Baud: baud}
	began := time.Now()
	// What a slot holds is asked of every model, so that silence is told by one
	// question.
	if _, err := ask(message{kind: getSlotStatus}); err != nil && !isCode(err) {
		if errors.Is(err, ErrSilent) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrNAK) {
			return Found{}, fmt.Errorf("%w: %w", ErrNoReader, err)
		}
		return Found{}, err
	}
	f.Took = time.Since(began)
	for _, hello := range []byte{0x02, 0x06} {
		m, err := ask(message{kind: escape, data: []byte{hello}})
		if err == nil {
			f.Firmware = printable(m.data)
			f.Models = candidates(hello, baud)
			break
		}
		if !isCode(err) && !errors.Is(err, ErrSilent) {
			return Found{}, err
		}
	}
	if f.Models == nil {
		f.Models = candidates(0, baud)
	}
	for _, known := range firmwares {
		if strings.Contains(f.Firmware, known.part) {
			f.Models, f.Sure = []string{known.model}, true
			break
		}
	}
	for range rounds {
		if _, err := ask(message{kind: getSlotStatus}); err != nil && !isCode(err) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNAK) {
			return Found{}, err
		}
		f.Rounds++
	}
	f.Echo, f.Damaged = p.echoes, p.damaged+p.naks
	return f, nil
}

func isCode(err error) bool {
	var c Code
	return errors.As(err, &c)
}

// candidates are the models that answer to an escape, at a speed.
func candidates(hello byte, baud int) (names []string) {
	for _, m := range Models {
		if (hello == 0 || m.Hello == hello) && m.Slow == (baud == 9600) {
			names = append(names, m.Name)
		}
	}
	if names == nil {
		names = []string{Models[0].Name}
	}
	return names
}
