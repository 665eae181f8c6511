package suite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
)

// Errors of a ring. None says anything about a key.
var (
	ErrNoKey    = errors.New("suite: no key of that name")
	ErrKeyClear = errors.New("suite: a key that is no test key goes to a card only enciphered, under a 16-byte key that is not the factory's")
	ErrKeyUse   = errors.New("suite: the key is not for that use")
)

// Names of the master keys in a ring.
const (
	KeyPurchase   = "purchase"
	KeyLoad       = "load"
	KeyTAC        = "tac"
	KeyLine       = "line"
	KeyPINUnblock = "pin-unblock"
	KeyPINReload  = "pin-reload"
	KeyControl    = "control"
	KeyAllowance  = "allowance"
)

// Ring is keys with names, for those who make cards: it writes them into the
// commands of WRITE KEY, makes line MACs and authentications with them, and
// checks what a card made. It gives no key away but in a form that a card
// takes, and no MAC that moves value. It may be used from any goroutine.
type Ring struct {
	s    Suite
	test bool
	// keys is a function, so that nothing that prints a struct which holds a
	// ring can go on to the bytes.
	keys func() map[string][]byte
}

func newRing(test bool, keys map[string][]byte) *Ring {
	return &Ring{DES3{}, test, func() map[string][]byte { return keys }}
}

// Derived is a key of a ring: a master by its name, and the factors that
// diversify it, upper level first; without factors the master itself.
type Derived struct {
	Name    string
	Factors [][8]byte
}

// Ring gives the masters of the set by the names above.
func (m Masters) Ring() *Ring {
	keys := map[string][]byte{}
	for name, k := range map[string][]byte{
		KeyPurchase: m.Purchase, KeyLoad: m.Load, KeyTAC: m.TAC, KeyLine: m.Line,
		KeyPINUnblock: m.PINUnblock, KeyPINReload: m.PINReload, KeyControl: m.Control, KeyAllowance: m.Allowance,
	} {
		if k != nil {
			keys[name] = k
		}
	}
	return newRing(m.IsTest(), keys)
}

// TestRing is a ring of keys that protect nothing, by whatever names; also of
// PINs.
func TestRing(keys map[string][]byte) *Ring { return newRing(true, maps.Clone(keys)) }

// With gives a ring that has also those keys of others whose names it lacks:
// the transport key of the cards' maker, the first PIN.
func (r *Ring) With(others *Ring) *Ring {
	keys := maps.Clone(others.keys())
	maps.Copy(keys, r.keys())
	return newRing(r.test, keys)
}

// String shows nothing.
func (Ring) String() string { return "[keys]" }

// GoString shows nothing.
func (Ring) GoString() string { return "[keys]" }

// LogValue shows nothing.
func (Ring) LogValue() slog.Value { return slog.StringValue("[keys]") }

// MarshalText shows nothing.
func (Ring) MarshalText() ([]byte, error) { return []byte("[keys]"), nil }

// Test reports whether the keys protect nothing.
func (r *Ring) Test() bool { return r.test }

// Names are the names of the keys, in order.
func (r *Ring) Names() []string { return slices.Sorted(maps.Keys(r.keys())) }

// Len is the length of a key in bytes, 0 when the ring lacks it.
func (r *Ring) Len(name string) int { return len(r.keys()[name]) }

// Factory reports whether the key is the one that makers put into blank
// cards: all bytes FF (purse.md section 11.1).
func (r *Ring) Factory(name string) bool {
	k := r.keys()[name]
	return len(k) > 0 && bytes.Count(k, []byte{0xFF}) == len(k)
}

func (r *Ring) derive(d Derived) ([]byte, error) {
	k := r.keys()[d.Name]
	if k == nil {
		return nil, fmt.Errorf("%q: %w", d.Name, ErrNoKey)
	}
	for _, f := range d.Factors {
		var err error
		if k, err = r.s.Diversify(k, f); err != nil {
			return nil, fmt.Errorf("%q: %w", d.Name, err)
		}
	}
	return k, nil
}

// Plain gives a test key as it stands in WRITE KEY in the clear. It fails with
// ErrKeyClear for any other.
func (r *Ring) Plain(d Derived) ([]byte, error) {
	if !r.test {
		return nil, fmt.Errorf("%q: %w", d.Name, ErrKeyClear)
	}
	k, err := r.derive(d)
	return bytes.Clone(k), err
}

// Enclose gives head ‖ key ‖ tail enciphered under another key (purse.md
// sections 4.9 and 11.3). A key that is no test key it encloses only under a
// 16-byte key that is not the factory's; else it fails with ErrKeyClear.
func (r *Ring) Enclose(d Derived, head, tail []byte, under Derived) ([]byte, error) {
	k, err := r.derive(d)
	if err != nil {
		return nil, err
	}
	wrap, err := r.derive(under)
	if err != nil {
		return nil, err
	}
	if !r.test && (len(wrap) != 16 || r.Factory(under.Name)) {
		return nil, fmt.Errorf("%q: %w", d.Name, ErrKeyClear)
	}
	return r.s.LineEncrypt(wrap, slices.Concat(head, k, tail))
}

// LineMAC is the line MAC under a key for the issuing of cards. It fails with
// ErrKeyUse for a key that moves value or releases it.
func (r *Ring) LineMAC(d Derived, challenge, data []byte) (MAC, error) {
	k, err := r.issuing(d)
	if err != nil {
		return MAC{}, err
	}
	return r.s.LineMAC(k, challenge, data)
}

// Authenticate gives the block of EXTERNAL AUTHENTICATE. It fails as LineMAC.
func (r *Ring) Authenticate(d Derived, challenge []byte) ([]byte, error) {
	k, err := r.issuing(d)
	if err != nil {
		return nil, err
	}
	return r.s.Authenticate(k, challenge)
}

func (r *Ring) issuing(d Derived) ([]byte, error) {
	switch d.Name {
	case KeyPurchase, KeyLoad, KeyTAC, KeyAllowance:
		return nil, fmt.Errorf("%q: %w", d.Name, ErrKeyUse)
	}
	return r.derive(d)
}

// VerifyLine reports whether a line MAC was made with the key.
func (r *Ring) VerifyLine(d Derived, challenge, data []byte, mac MAC) (bool, error) {
	k, err := r.derive(d)
	if err != nil {
		return false, err
	}
	want, err := r.s.LineMAC(k, challenge, data)
	return err == nil && want.Equal(mac), err
}

// VerifyTransaction reports whether a transaction MAC was made with the
// session key of input (purse.md sections 4.5 and 4.6).
func (r *Ring) VerifyTransaction(d Derived, input [8]byte, fields []byte, mac MAC) (bool, error) {
	k, err := r.derive(d)
	if err != nil {
		return false, err
	}
	session, err := r.s.SessionKey(k, input)
	if err != nil {
		return false, err
	}
	want, err := r.s.TransactionMAC(session, fields)
	return err == nil && want.Equal(mac), err
}

// LineEncrypt enciphers data for a protected file (purse.md section 4.9). It
// fails as LineMAC.
func (r *Ring) LineEncrypt(d Derived, data []byte) ([]byte, error) {
	k, err := r.issuing(d)
	if err != nil {
		return nil, err
	}
	return r.s.LineEncrypt(k, data)
}
