package pcsc

import (
	"context"
	"errors"
	"testing"

	"github.com/dianka/dianka/reader"
)

func TestInfo(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		f.set(twin, in(3)|flagInUse|flagExclusive)
		mustSlot(t, v, "twin")
		s := mustSlot(t, v, "twin")
		for e := range s.Events(t.Context()) {
			if e.State == reader.StateCard {
				break
			}
		}
		i, err := v.Info(context.Background(), "twin")
		if err != nil || i.Name != twin || !i.InUse || !i.Exclusive || i.State != reader.StateCard {
			t.Fatalf("%+v, %v", i, err)
		}
		if len(i.Attributes) != 2 || i.Attributes[0].Text() != "Maker" {
			t.Errorf("%+v", i.Attributes)
		}
		if len(i.Features) != 1 || i.Features[0].Name != "verify PIN on the pad" || i.Features[0].Control != 0x42000D48 {
			t.Errorf("%+v", i.Features)
		}
		if _, err := v.Info(context.Background(), "no such"); !errors.Is(err, reader.ErrSlotName) {
			t.Errorf("%v", err)
		}
		// A driver that hangs does not hang the technician.
		hang := make(chan struct{})
		f.do(func() { f.hangConn = hang })
		if _, err := v.Info(context.Background(), "twin"); !errors.Is(err, reader.ErrBusy) {
			t.Errorf("%v", err)
		}
		close(hang)
		f.do(func() { f.hangConn, f.connErr = nil, codeSecurity })
		if _, err := v.Info(context.Background(), "twin"); !errors.Is(err, reader.ErrLost) || !errors.Is(err, codeSecurity) {
			t.Errorf("%v", err)
		}
	})
}

func TestAttributeText(t *testing.T) {
	for _, c := range []struct {
		id    uint32
		value []byte
		want  string
	}{
		{0x00010100, []byte("Gemalto\x00"), "Gemalto"},
		{0x00010102, []byte{0x02, 0x00, 0x05, 0x01}, "1.5.2"},
		{0x00020110, []byte{0x07, 0x03, 0x20, 0x00}, "USB bus 3 device 7"},
		{0x00030126, []byte{3, 0, 0, 0}, "T=0 T=1"},
		{0x00030121, []byte{0xA0, 0x0F, 0, 0}, "4000"},
		{0x00090300, []byte{2}, "yes"},
		{0x00090300, []byte{1, 2}, "0102"},
		{0x00010103, nil, ""},
	} {
		if got := (Attribute{ID: c.id, Value: c.value}).Text(); got != c.want {
			t.Errorf("%08X %X: %q, not %q", c.id, c.value, got, c.want)
		}
	}
}

func FuzzFeatures(f *testing.F) {
	f.Add([]byte{6, 4, 0x42, 0, 0x0D, 0x48})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseFeatures(b)
		if err == nil && len(list)*6 != len(b) {
			t.Errorf("%d bytes gave %d features", len(b), len(list))
		}
	})
}
