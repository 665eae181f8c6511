package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/wire"
)

func TestEnrolmentCode(t *testing.T) {
	ca := []byte("a certificate")
	code := wire.EnrolmentCode("AB-CD-EF", ca)
	if !strings.HasPrefix(code, "DK1-AB-CD-EF-") || len(code) != len("DK1-AB-CD-EF-")+26 {
		t.Fatal(code)
	}
	for _, s := range []string{code, "  " + code + "\n", code[:20] + " " + code[20:], strings.ToLower(code)} {
		secret, pin, err := wire.ParseEnrolmentCode(s)
		if err != nil || secret != "AB-CD-EF" || pin != wire.PinOf(ca) {
			t.Errorf("%q: %q %v", s, secret, err)
		}
	}
	for _, s := range []string{
		"", "DK1-", "DK2" + code[3:], code[:len(code)-1], code + "A", "DK1-" + code[13:], "DK1--" + code[13:],
		code[:len(code)-1] + "B", // digits that do not belong to 16 bytes
		code[:len(code)-1] + "1", "DK1-" + strings.Repeat("x", 129) + code[12:],
	} {
		if _, _, err := wire.ParseEnrolmentCode(s); !errors.Is(err, wire.ErrEnrolmentCode) {
			t.Errorf("%q taken: %v", s, err)
		}
	}
}

func enrolRequest() (*wire.EnrolRequest, ed25519.PrivateKey) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	m := &wire.EnrolRequest{Secret: "S", Terminal: money.TerminalID{1}, PSAM: money.SAMID{2}, CSR: []byte{3}}
	m.Sign(key)
	return m, key
}

func TestEnrolRequestIsBoundToItsKey(t *testing.T) {
	m, _ := enrolRequest()
	b := wire.Marshal(m)
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		var got wire.EnrolRequest
		if err := wire.Unmarshal(c, &got); err == nil && got.Verify() == nil {
			t.Errorf("byte %d altered and nobody saw it", i)
		}
	}
	if err := m.Verify(); err != nil {
		t.Error(err)
	}
}

func TestUnsealEnrolAnswer(t *testing.T) {
	_, key := enrolRequest()
	a := wire.EnrolAnswer{Terminal: money.TerminalID{1}, Epoch: 1, Certificate: []byte{1}, CA: []byte{2}}
	a.Utility = [32]byte(key.Public().(ed25519.PublicKey))
	b := wire.Seal("enrolled", &a, key)
	got, err := wire.UnsealEnrolAnswer(b)
	if err != nil || got.Epoch != 1 {
		t.Fatal(err)
	}
	if _, err := wire.UnsealEnrolAnswer(wire.Seal("ack", &a, key)); !errors.Is(err, wire.ErrMessage) {
		t.Errorf("another message: %v", err)
	}
	a.Utility[0] ^= 1
	if _, err := wire.UnsealEnrolAnswer(wire.Seal("enrolled", &a, key)); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a key that its sender does not hold: %v", err)
	}
}

func FuzzEnrolmentCode(f *testing.F) {
	f.Add("")
	f.Add(wire.EnrolmentCode("AB-CD-EF", []byte("ca")))
	f.Add("DK1-----------")
	f.Fuzz(func(t *testing.T, s string) {
		secret, _, err := wire.ParseEnrolmentCode(s)
		if err == nil && (secret == "" || len(secret) > 128) {
			t.Errorf("secret %q", secret)
		}
	})
}

func FuzzUnsealEnrolAnswer(f *testing.F) {
	_, key := enrolRequest()
	a := wire.EnrolAnswer{Terminal: money.TerminalID{1}, Epoch: 1, Certificate: []byte{1}, CA: []byte{2}}
	a.Utility = [32]byte(key.Public().(ed25519.PublicKey))
	f.Add(wire.Seal("enrolled", &a, key))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := wire.UnsealEnrolAnswer(b); err != nil && !errors.Is(err, wire.ErrMessage) && !errors.Is(err, wire.ErrSignature) {
			t.Error(err)
		}
	})
}
