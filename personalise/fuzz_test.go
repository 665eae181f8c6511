package personalise

import (
	"bytes"
	"errors"
	"os"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/suite"
)

// FuzzDescription: what is taken can be planned or is refused for a reason, and
// a plan can be shown to its end; what is not taken is refused with
// config.ErrFile.
func FuzzDescription(f *testing.F) {
	for _, k := range Kinds() {
		f.Add(Example(k))
	}
	b, err := os.ReadFile("testdata/t05.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("kind: purse\nmf: {keys: [{type: line}]}\n"))
	f.Add([]byte("kind: &a purse\nissuer: *a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			if !errors.Is(err, config.ErrFile) {
				t.Errorf("%v", err)
			}
			return
		}
		// A key of every name, so that nothing but the description decides.
		keys := map[string][]byte{}
		for i := mf; i < len(d.Applications); i++ {
			for _, k := range d.dirAt(i).Keys {
				if keys[k.Key] = bytes.Repeat([]byte{0x42}, 16); k.Type == "pin" {
					keys[k.Key] = []byte{0x12, 0x34}
				}
			}
			for _, k := range d.dirAt(i).Masters {
				keys[k.Key] = bytes.Repeat([]byte{0x42}, 16)
			}
		}
		if d.Transport != "" && keys[d.Transport] == nil {
			keys[d.Transport] = bytes.Repeat([]byte{0x24}, 16)
		}
		o := Order{Number: cardNo}
		if d.Terminal() {
			o.Terminal = terminal
		}
		p, err := NewPlan(d, o, suite.TestRing(keys), profiles.Builtin())
		if err != nil {
			if !errors.Is(err, ErrKeys) && !errors.Is(err, ErrMixed) && !errors.Is(err, ErrDerive) && !errors.Is(err, ErrOrder) {
				t.Errorf("%v", err)
			}
			return
		}
		steps, err := p.Preview(true)
		if err != nil && !errors.Is(err, ErrOrder) {
			t.Errorf("%v", err)
		}
		for _, s := range steps {
			if bytes.Contains(s.Line.Data, bytes.Repeat([]byte{0x42}, 16)) {
				t.Errorf("%s shows a key", s.What)
			}
		}
	})
}

// FuzzKeys: a file of keys is taken whole or refused with config.ErrFile.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("load: 6A0D3C5F7E9182B4C6D8EAFC0E203142\npin: 12345\n"))
	f.Add([]byte("{a: 1234, b: '5678'}"))
	f.Add([]byte("? [a]\n: 1234\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseKeys(b)
		if err != nil {
			if !errors.Is(err, config.ErrFile) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, n := range r.Names() {
			if l := r.Len(n); l != 16 && l != 8 && (l < 2 || l > 6) {
				t.Errorf("%q has %d bytes", n, l)
			}
		}
	})
}

// FuzzJournal: a journal that is taken can be gone on with, and read again it
// says the same.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"number":"1","event":"begun","at":"2026-01-02T00:00:00Z"}` + "\n" + `{"number":"1","event":"made","at":"2026-01-02T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"number":"1","event":"begun","at":"2026-01-02T00:00:00Z"}` + "\n" + `{"numb`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &Journal{state: map[Number]string{}}
		for _, line := range bytes.Split(b, []byte("\n")) {
			if err := j.read(KindPurse, line); err != nil {
				return
			}
		}
		waste := 0
		for _, s := range j.state {
			if s == eventWaste {
				waste++
			}
		}
		if j.Made()+len(j.Open())+waste != len(j.state) || len(j.order) != len(j.state) {
			t.Errorf("%d made, %d open, %d numbers", j.Made(), len(j.Open()), len(j.state))
		}
	})
}

// FuzzList: a list of numbers is taken whole or refused.
func FuzzList(f *testing.F) {
	f.Add([]byte("1\n2 # spare\n"))
	f.Add([]byte("00000000310100000001 310100001234\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []Kind{KindPurse, KindSAM} {
			list, err := ParseList(k, b)
			if err != nil && !errors.Is(err, config.ErrFile) {
				t.Errorf("%v", err)
			}
			for _, o := range list {
				if o.Number == (Number{}) {
					t.Error("a number of zeros")
				}
			}
		}
	})
}
