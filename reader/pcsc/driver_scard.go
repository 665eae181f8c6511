//go:build cgo || windows

package pcsc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/ebfe/scard"
)

// scardDriver is PC/SC through ebfe/scard. Every call is guarded: the library
// panics on an undefined protocol, on empty commands and on empty lists, and a
// panic in a goroutine would end the terminal.
type scardDriver struct{}

func realDriver() (driver, error) { return scardDriver{}, nil }

func (scardDriver) establish() (s session, err error) {
	defer guard(&err)
	ctx, err := scard.EstablishContext()
	if err != nil {
		return nil, translate(err)
	}
	return scardSession{ctx}, nil
}

type scardSession struct{ ctx *scard.Context }

func (s scardSession) list() (names []string, err error) {
	defer guard(&err)
	names, err = s.ctx.ListReaders()
	if errors.Is(err, scard.ErrNoReadersAvailable) {
		return nil, nil
	}
	return names, translate(err)
}

// watching keeps every goroutine but one out of GetStatusChange: the library
// holds the C string of a reader's name in one global map, and a second call
// for the same name lets the collector free the string that the first is
// still reading.
var watching sync.Mutex

func (s scardSession) wait(states []state, timeout time.Duration) (err error) {
	defer guard(&err)
	if len(states) == 0 {
		return fmt.Errorf("pcsc: nothing to wait for")
	}
	if !watching.TryLock() {
		return fmt.Errorf("pcsc: a second watcher")
	}
	defer watching.Unlock()
	rs := make([]scard.ReaderState, len(states))
	for i, st := range states {
		rs[i] = scard.ReaderState{Reader: st.name, CurrentState: scard.StateFlag(st.current)}
	}
	if err := s.ctx.GetStatusChange(rs, timeout); err != nil {
		return translate(err)
	}
	for i := range rs {
		states[i].event, states[i].atr = uint32(rs[i].EventState), rs[i].Atr
	}
	return nil
}

func (s scardSession) cancel() {
	var err error
	defer guard(&err)
	s.ctx.Cancel()
}

func (s scardSession) release() {
	var err error
	defer guard(&err)
	s.ctx.Release()
}

func (s scardSession) connect(name string, exclusive bool) (h handle, err error) {
	defer guard(&err)
	mode := scard.ShareMode(scard.ShareShared)
	if exclusive {
		mode = scard.ShareExclusive
	}
	card, err := s.ctx.Connect(name, mode, scard.ProtocolAny)
	if err != nil {
		return nil, translate(err)
	}
	p := card.ActiveProtocol()
	if p != scard.ProtocolT0 && p != scard.ProtocolT1 {
		card.Disconnect(scard.LeaveCard)
		return nil, codeProtoMismatch
	}
	status, err := card.Status()
	if err != nil {
		card.Disconnect(scard.LeaveCard)
		return nil, translate(err)
	}
	return &scardHandle{card, status.Atr}, nil
}

// featureRequest is CM_IOCTL_GET_FEATURE_REQUEST (PC/SC part 10 section 2.2),
// coded as pcsc-lite and macOS do, and as Windows does.
var featureRequest = map[bool]uint32{false: 0x42000000 + 3400, true: 0x31<<16 | 3400<<2}[runtime.GOOS == "windows"]

func (s scardSession) inspect(name string, ids []uint32) (values map[uint32][]byte, features []byte, err error) {
	defer guard(&err)
	card, err := s.ctx.Connect(name, scard.ShareDirect, scard.ProtocolUndefined)
	if err != nil {
		return nil, nil, translate(err)
	}
	defer card.Disconnect(scard.LeaveCard)
	values = make(map[uint32][]byte)
	for _, id := range ids {
		if b, err := attribute(card, scard.Attrib(id)); err == nil {
			values[id] = append([]byte(nil), b...)
		}
	}
	features, err = card.Control(featureRequest, nil)
	if err != nil { // most drivers of plain readers do not know the request
		features = nil
	}
	return values, append([]byte(nil), features...), nil
}

func attribute(card *scard.Card, id scard.Attrib) (b []byte, err error) {
	defer guard(&err) // the library takes the address of an empty buffer
	return card.GetAttrib(id)
}

type scardHandle struct {
	card   *scard.Card
	answer []byte
}

func (h *scardHandle) atr() []byte { return h.answer }

func (h *scardHandle) t0() bool { return h.card.ActiveProtocol() == scard.ProtocolT0 }

func (h *scardHandle) transmit(command []byte) (response []byte, err error) {
	defer guard(&err)
	response, err = h.card.Transmit(command)
	if err != nil {
		return nil, translate(err)
	}
	return append([]byte(nil), response...), nil // the library's buffer has 64 KiB
}

func (h *scardHandle) disconnect(unpower bool) {
	var err error
	defer guard(&err)
	d := scard.Disposition(scard.LeaveCard)
	if unpower {
		d = scard.UnpowerCard
	}
	h.card.Disconnect(d)
}

func translate(err error) error {
	if e, ok := err.(scard.Error); ok {
		return Code(e)
	}
	return err
}

func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("pcsc: the library panicked: %v", p)
	}
}
