package suite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestRing holds what a ring gives and what it never does.
func TestRingOfKeys(t *testing.T) {
	k := func(b byte) []byte { return bytes.Repeat([]byte{b, ^b}, 8) }
	real := Masters{Purchase: k(1), Load: k(2), TAC: k(3), Line: k(4), PINUnblock: k(5), PINReload: k(6), Control: k(7), Allowance: k(8)}.Ring().
		With(TestRing(map[string][]byte{"transport": k(9), "factory": bytes.Repeat([]byte{0xFF}, 16), "short": {1, 2, 3, 4, 5, 6, 7, 8}, "load": k(10)}))
	test := TestMasters().Ring()
	if real.Test() || !test.Test() || len(real.Names()) != 11 || real.Len("load") != 16 || real.Len("none") != 0 || !real.Factory("factory") || real.Factory("transport") {
		t.Errorf("%t %t %v", real.Test(), test.Test(), real.Names())
	}
	load := Derived{Name: KeyLoad, Factors: [][8]byte{{1, 2, 3}}}
	if _, err := real.Plain(load); !errors.Is(err, ErrKeyClear) {
		t.Errorf("a real key in the clear: %v", err)
	}
	for _, under := range []string{"factory", "short"} {
		if _, err := real.Enclose(load, nil, nil, Derived{Name: under}); !errors.Is(err, ErrKeyClear) {
			t.Errorf("a real key under %s: %v", under, err)
		}
	}
	text, err := real.Enclose(load, []byte{0xAA}, []byte{0xBB}, Derived{Name: "transport"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := DES3{}.LineDecrypt(k(9), text)
	want, _ := DES3{}.Diversify(k(2), [8]byte{1, 2, 3}) // of the vault's load key, not of the other ring's
	if err != nil || !bytes.Equal(plain, append(append([]byte{0xAA}, want...), 0xBB)) {
		t.Errorf("%X, %v", plain, err)
	}
	for _, name := range []string{KeyPurchase, KeyLoad, KeyTAC, KeyAllowance} {
		d := Derived{Name: name}
		_, err1 := real.LineMAC(d, make([]byte, 4), []byte{1})
		_, err2 := real.Authenticate(d, make([]byte, 8))
		_, err3 := real.LineEncrypt(d, []byte{1})
		if !errors.Is(err1, ErrKeyUse) || !errors.Is(err2, ErrKeyUse) || !errors.Is(err3, ErrKeyUse) {
			t.Errorf("%s: %v, %v, %v", name, err1, err2, err3)
		}
	}
	if _, err := real.LineMAC(Derived{Name: "none"}, make([]byte, 4), nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("%v", err)
	}
	mac, err := DES3{}.LineMAC(k(8), make([]byte, 8), []byte{1, 2})
	if ok, verr := real.VerifyLine(Derived{Name: KeyAllowance}, make([]byte, 8), []byte{1, 2}, mac); err != nil || verr != nil || !ok {
		t.Errorf("%t, %v", ok, verr)
	}
	mac[0]++
	if ok, _ := real.VerifyLine(Derived{Name: KeyAllowance}, make([]byte, 8), []byte{1, 2}, mac); ok {
		t.Error("a wrong MAC is taken")
	}
	holder := struct{ r *Ring }{real}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "r", real, "v", *real)
	said := log.String()
	for _, v := range []any{real, *real, holder, &holder} {
		for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			said += fmt.Sprintf(f, v)
		}
	}
	for _, leak := range []string{"254 1 254", "01fe01fe", "0x1, 0xfe"} {
		if strings.Contains(said, leak) {
			t.Errorf("a key is shown: %s", said)
		}
	}
}
