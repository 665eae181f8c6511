package personalise

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Number is what is written on a card that no other has: the card number of a
// purse card, the number of a SAM.
type Number [10]byte

// String gives 20 digits.
func (n Number) String() string { return fmt.Sprintf("%X", n[:]) }

func (n Number) factor() [8]byte { return [8]byte(n[2:]) }

// ParseNumber reads the number of a card of a kind: 1 to 20 decimal digits of
// a purse card, 20 hexadecimal digits of a SAM.
func ParseNumber(k Kind, s string) (Number, error) {
	if k == KindPurse {
		n, err := money.ParseCardNumber(s)
		if err == nil && n.IsZero() {
			err = money.ErrCardNumber
		}
		return Number(n), err
	}
	n, err := money.ParseSAMID(s)
	if err == nil && n.IsZero() {
		err = money.ErrSAMID
	}
	return Number(n), err
}

// Order is one card to be made.
type Order struct {
	Number   Number
	Terminal money.TerminalID // of a SAM
}

// Errors before anything is sent.
var (
	ErrMixed  = errors.New("test keys go with the test issuer, and only with it")
	ErrKeys   = errors.New("the keys are not those that the description names")
	ErrDerive = errors.New("terminals and vault would derive other keys for this card")
	ErrOrder  = errors.New("the description does not fit what is to be made")
)

// Plan is a description with the number of one card and the keys at hand. It
// shows no key.
type Plan struct {
	d    *Description
	o    Order
	keys *suite.Ring
	// secured: keys go to the card enciphered and under a MAC only.
	secured bool
}

// String shows what is made, and no key.
func (p *Plan) String() string { return fmt.Sprintf("%s %s", p.d.Kind, p.o.Number) }

// NewPlan fits a description, a card's number and keys together. It fails
// with ErrKeys, ErrMixed, ErrDerive and ErrOrder.
func NewPlan(d *Description, o Order, keys *suite.Ring, set *profiles.Set) (*Plan, error) {
	p := &Plan{d: d, o: o, keys: keys}
	switch {
	case d.Terminal() && o.Terminal.IsZero():
		return nil, fmt.Errorf("%w: it has a place for a terminal number, and none is given", ErrOrder)
	case !d.Terminal() && !o.Terminal.IsZero():
		return nil, fmt.Errorf("%w: it has no place for a terminal number", ErrOrder)
	}
	if test := [4]byte(d.Issuer[:4]) == [4]byte(suite.TestIssuer[:4]); test != keys.Test() {
		return nil, ErrMixed
	}
	if t := d.Transport; t != "" {
		if n := keys.Len(t); n != 8 && n != 16 {
			return nil, fmt.Errorf("%w: %q is missing", ErrKeys, t)
		}
		p.secured = !keys.Factory(t)
	}
	var errs []error
	for i := -1; i < len(d.Applications); i++ {
		m := d.dirAt(i)
		for _, k := range m.Keys {
			switch n := keys.Len(k.Key); {
			case n == 0:
				errs = append(errs, fmt.Errorf("%w: %q is missing", ErrKeys, k.Key))
			case k.Type == "pin" && (n < 2 || n > 6):
				errs = append(errs, fmt.Errorf("%w: %q is no PIN", ErrKeys, k.Key))
			case k.Type != "pin" && n != 8 && n != 16, k.Type != "pin" && n == 8 && len(p.factors(k.Diversify)) > 0:
				errs = append(errs, fmt.Errorf("%w: %q has %d bytes", ErrKeys, k.Key, n))
			}
		}
		for _, k := range m.Masters {
			if keys.Len(k.Key) != 16 {
				errs = append(errs, fmt.Errorf("%w: %q of 16 bytes is missing", ErrKeys, k.Key))
			}
		}
	}
	if !keys.Test() && !p.secured {
		errs = append(errs, fmt.Errorf("%w: name the transport key of the cards in the description", suite.ErrKeyClear))
	}
	if d.Kind == KindPurse {
		errs = append(errs, p.fitsProfile(set))
	}
	return p, errors.Join(errs...)
}

// fitsProfile holds the keys that move value against the profile: a card whose
// keys nobody else derives is good for nothing.
func (p *Plan) fitsProfile(set *profiles.Set) error {
	c, ok := set.Card(p.d.Profile)
	if !ok {
		return fmt.Errorf("%w: no card profile %q", ErrDerive, p.d.Profile)
	}
	i := slices.IndexFunc(p.d.Applications, func(a Dir) bool { return string(a.Name) == string(c.AID) })
	if i < 0 {
		return fmt.Errorf("%w: the profile's application is %X", ErrDerive, c.AID)
	}
	want := []struct {
		typ    string
		index  int // -1 any
		levels int
	}{{"load", int(c.LoadKeyIndex), c.LoadLevels}, {"purchase", int(c.PurchaseKeyIndex), c.PurchaseLevels}, {"tac", -1, c.TACLevels}}
	for _, w := range want {
		found := false
		for _, k := range p.d.Applications[i].Keys {
			if k.Type != w.typ || w.index >= 0 && int(k.ID) != w.index {
				continue
			}
			found = true
			if !slices.Equal(p.factors(k.Diversify), c.Factors(w.levels, p.o.Number.factor())) {
				return fmt.Errorf("%w: the %s key has other factors than by profile %s", ErrDerive, w.typ, c.Name)
			}
			if k.Key != w.typ {
				return fmt.Errorf("%w: the %s key is made of %q", ErrDerive, w.typ, k.Key)
			}
		}
		if !found {
			return fmt.Errorf("%w: profile %s wants a %s key of index %d", ErrDerive, c.Name, w.typ, max(w.index, 0))
		}
	}
	return nil
}

// Order is the card that the plan makes.
func (p *Plan) Order() Order { return p.o }

// factors gives those of a key, the description's unless it has its own.
func (p *Plan) factors(own *[]Factor) [][8]byte {
	list := p.d.Diversify
	if own != nil {
		list = *own
	}
	var out [][8]byte
	for _, f := range list {
		if f.Number {
			f.Fixed = p.o.Number.factor()
		}
		out = append(out, f.Fixed)
	}
	return out
}

func (p *Plan) key(k *Key) suite.Derived {
	if k.Type == "pin" {
		return suite.Derived{Name: k.Key}
	}
	return suite.Derived{Name: k.Key, Factors: p.factors(k.Diversify)}
}

func (p *Plan) master(m *Master) suite.Derived {
	own := m.Diversify
	if own == nil {
		own = &[]Factor{}
	}
	return suite.Derived{Name: m.Key, Factors: p.factors(own)}
}

// bytes fills a content.
func (p *Plan) bytes(c Content) []byte {
	var b []byte
	for _, part := range c {
		switch part.name {
		case "number":
			b = append(b, p.o.Number[:]...)
		case "terminal":
			b = append(b, p.o.Terminal[:]...)
		case "issuer":
			b = append(b, p.d.Issuer...)
		default:
			b = append(b, part.bytes...)
		}
	}
	return b
}

// Data of the issuing commands (purse.md section 11).

func dirData(m *Dir) []byte {
	return slices.Concat([]byte{0x38}, m.Space, []byte{m.Create.Byte, m.Erase.Byte, m.Quotes[0], 0xFF, 0xFF}, m.Name)
}

func keyFileData(m *Dir) []byte {
	return slices.Concat([]byte{0x3F}, m.KeyFile.Space, []byte{m.KeyFile.SFI[0], m.KeyFile.Add.Byte, 0xFF, 0xFF})
}

func fileData(f *File) []byte {
	if f.Type == "purse" {
		return []byte{0x2F, 0x02, 0x08, f.Read.Byte, f.TACKey, 0xFF, f.Log}
	}
	t := fileTypes[f.Type]
	switch f.Protect {
	case "mac":
		t |= 0x80
	case "both":
		t |= 0xC0
	}
	hi, lo := byte(f.Size>>8), byte(f.Size)
	if f.Count != 0 {
		hi, lo = f.Count, f.Length
	}
	key := byte(0xFF)
	if f.KeyByte != nil {
		key = f.KeyByte[0]
	}
	return []byte{t, hi, lo, f.Read.Byte, f.Write.Byte, 0xFF, key}
}

// keyHead is what stands before the key in WRITE KEY, and keyTail what behind.
func (p *Plan) keyHead(k *Key) (head, tail []byte) {
	t := keyTypes[k.Type]
	change := k.Change.Byte
	if k.Type == "pin" {
		change = 0xEF // purse.md section 11.3
		tail = slices.Repeat([]byte{0xFF}, 8-p.keys.Len(k.Key))
	}
	head = []byte{t.code, k.Use.Byte, change}
	switch {
	case t.counted && t.state:
		head = append(head, k.State[0], k.Tries<<4|k.Tries)
	case t.counted:
		head = append(head, 0xFF, k.Tries<<4|k.Tries)
	default:
		head = append(head, k.Version[0], k.Algorithm[0])
	}
	return head, tail
}

func masterHead(m *Master) []byte {
	return []byte{m.Levels<<5 | masterUses[m.Use], m.Version[0], m.Algorithm[0]}
}

// name of a directory, for people.
func (p *Plan) dirName(i int) string {
	if i < 0 {
		return "the master file"
	}
	return "application " + hex.EncodeToString(p.d.Applications[i].ID)
}
