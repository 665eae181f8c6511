package simcard

import (
	"slices"
	"sync"

	"github.com/dianka/dianka/apdu"
)

// t0 gives a chip the manners of T=0 (ISO/IEC 7816-3 section 10): the answer
// to reset says so, data of a command that carried data wait for GET
// RESPONSE, a wrong Le is told by 6Cxx.
type t0 struct {
	Chip
	mu   sync.Mutex
	rest []byte  // waiting for GET RESPONSE
	sw   apdu.SW // after the rest
}

// T0 wraps a chip.
func T0(chip Chip) Chip { return &t0{Chip: chip} }

// atrT0 has no interface bytes, which means T=0, and the historical bytes
// "DIANKA".
var atrT0 = []byte{0x3B, 0x06, 'D', 'I', 'A', 'N', 'K', 'A'}

func (t *t0) PowerOn() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = nil
	if _, err := t.Chip.PowerOn(); err != nil {
		return nil, err
	}
	return slices.Clone(atrT0), nil
}

func (t *t0) Transmit(command []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cmd, err := apdu.ParseCommand(command)
	if err != nil || extended(command) {
		t.rest = nil
		return t.Chip.Transmit(command) // the chip has its own word for it
	}
	if cmd.INS == 0xC0 && cmd.CLA&^0x84 == 0 {
		return t.getResponse(cmd), nil
	}
	t.rest = nil
	carriesData := len(cmd.Data) > 0
	if carriesData {
		cmd.Ne = 0 // T=0 has no Le behind data
	}
	b, err := cmd.Bytes()
	if err != nil {
		return nil, err
	}
	answer, err := t.Chip.Transmit(b)
	if err != nil {
		return nil, err
	}
	r, err := apdu.ParseResponse(answer)
	if err != nil || len(r.Data) == 0 {
		return answer, nil
	}
	switch {
	case carriesData:
		t.rest, t.sw = r.Data, r.SW
		return more(len(r.Data)), nil
	case len(r.Data) != cmd.Ne:
		return apdu.Response{SW: 0x6C00 | apdu.SW(byte(len(r.Data)))}.Bytes(), nil
	}
	return answer, nil
}

func (t *t0) getResponse(cmd apdu.Command) []byte {
	sw := func(s apdu.SW) []byte { return apdu.Response{SW: s}.Bytes() }
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return sw(apdu.SWWrongP1P2)
	case len(cmd.Data) > 0:
		return sw(apdu.SWWrongLength)
	case len(t.rest) == 0:
		return sw(apdu.SWUnspecified) // purse.md section 6: 6F00
	case cmd.Ne > len(t.rest):
		return sw(0x6C00 | apdu.SW(byte(len(t.rest))))
	}
	out := t.rest[:cmd.Ne]
	if t.rest = t.rest[cmd.Ne:]; len(t.rest) > 0 {
		return append(slices.Clone(out), more(len(t.rest))...)
	}
	return apdu.Response{Data: out, SW: t.sw}.Bytes()
}

func more(n int) []byte { return apdu.Response{SW: 0x6100 | apdu.SW(byte(n))}.Bytes() }
