package pcsc

import "time"

// driver is PC/SC as this package needs it. The real one is in
// driver_scard.go; tests have one that hangs, lies and panics. Every error is
// a Code where PC/SC gave one. Calls may block for any time unless they say
// otherwise.
type driver interface {
	establish() (session, error)
}

// session is one PC/SC context. A context is one lock, so no two calls on the
// same one are made at a time, but for cancel.
type session interface {
	list() ([]string, error)
	// wait is SCardGetStatusChange: it blocks until a state differs from its
	// current one, or for timeout, and updates event and atr of all. In a
	// whole process only one goroutine at a time may be in it.
	wait(states []state, timeout time.Duration) error
	cancel()
	connect(name string, exclusive bool) (handle, error)
	// inspect asks the driver of a reader, with or without a card in it, for
	// attributes and for the list of its features; what it does not have is
	// not in the answer.
	inspect(name string, ids []uint32) (values map[uint32][]byte, features []byte, err error)
	release() // its error would tell nothing
}

// state is one reader in wait.
type state struct {
	name    string
	current uint32 // what wait compares with; 0 = unaware
	event   uint32 // flags in the low, event counter in the high 16 bits
	atr     []byte
}

// Flags of state.event (PC/SC part 5, SCARD_STATE_...).
const (
	flagChanged     = 0x0002
	flagUnknown     = 0x0004
	flagUnavailable = 0x0008
	flagPresent     = 0x0020
	flagExclusive   = 0x0080
	flagInUse       = 0x0100
	flagMute        = 0x0200
)

// handle is one connection to one card.
type handle interface {
	// atr and t0 describe the card that connect found.
	atr() []byte
	t0() bool
	transmit(command []byte) ([]byte, error)
	disconnect(unpower bool) // its error would tell nothing
}
