package vault_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

func real() suite.Masters {
	k := func(b byte) []byte { return []byte(strings.Repeat(string(rune(b)), 16)) }
	return suite.Masters{Purchase: k('1'), Load: k('2'), TAC: k('3'), Line: k('4'), PINUnblock: k('5'), PINReload: k('6'), Control: k('7'), Allowance: k('8')}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault")
	if err := vault.Create(path, []byte("open sesame"), real()); err != nil {
		t.Fatal(err)
	}
	if err := vault.Create(path, []byte("open sesame"), real()); !errors.Is(err, os.ErrExist) {
		t.Errorf("a vault was overwritten: %v", err)
	}
	if i, _ := os.Stat(path); i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", i.Mode())
	}
	if _, err := vault.Open(path, []byte("open sesame!"), false, profiles.Builtin()); !errors.Is(err, vault.ErrFile) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := vault.Open(path, []byte("open sesame"), true, profiles.Builtin()); !errors.Is(err, vault.ErrTest) {
		t.Errorf("real keys where test keys are asked: %v", err)
	}
	v, err := vault.Open(path, []byte("open sesame"), false, profiles.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	again, err := vault.Open(path, []byte("open sesame"), false, profiles.Builtin())
	if err != nil || !v.PublicKey().Equal(again.PublicKey()) {
		t.Errorf("the signing key changed: %v", err)
	}
	sealed := v.Seal("ack", &wire.Ack{Through: 7})
	var a wire.Ack
	if err := wire.Unseal(sealed, "ack", again.PublicKey(), &a); err != nil || a.Through != 7 {
		t.Errorf("%+v, %v", a, err)
	}
	b, _ := os.ReadFile(path)
	for _, i := range []int{0, 23, 24, 40, 64, 100, len(b) - 1} { // lanes, salt, nonce, keys, tag: each try costs an Argon2
		c := append([]byte(nil), b...)
		c[i] ^= 1
		p := filepath.Join(t.TempDir(), "v")
		os.WriteFile(p, c, 0o600)
		if _, err := vault.Open(p, []byte("open sesame"), false, profiles.Builtin()); !errors.Is(err, vault.ErrFile) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, v); strings.Contains(s, "1111") || strings.Contains(s, "49, 49") || strings.Contains(s, "31 31") {
			t.Errorf("%s shows a key: %s", verb, s)
		}
	}
}

// TestProfiles: keys without diversification only for test cards under test
// keys; two levels with the region first.
func TestProfiles(t *testing.T) {
	sign := ed25519.NewKeyFromSeed(make([]byte, 32))
	for _, row := range []struct {
		masters suite.Masters
		profile string
		ok      bool
	}{
		{real(), "dianka-ep", true}, {real(), "dianka-ep2", true}, {real(), "fmcos-bench", false}, {real(), "nonsense", false},
		{suite.TestMasters(), "dianka-ep", true}, {suite.TestMasters(), "fmcos-bench", true},
	} {
		v, err := vault.New(row.masters, sign, profiles.Builtin())
		if err != nil {
			t.Fatal(err)
		}
		if err := v.CheckProfile(row.profile); (err == nil) != row.ok || err != nil && !errors.Is(err, vault.ErrProfile) {
			t.Errorf("%s, test keys %v: %v", row.profile, row.masters.IsTest(), err)
		}
	}
	if _, err := vault.New(suite.Masters{}, sign, profiles.Builtin()); !errors.Is(err, vault.ErrKeys) {
		t.Errorf("no keys: %v", err)
	}
}

// TestTwoLevels computes a TAC as a card of the second supplier would.
func TestTwoLevels(t *testing.T) {
	v, err := vault.New(suite.TestMasters(), ed25519.NewKeyFromSeed(make([]byte, 32)), profiles.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := money.ParseCardNumber("31000000000000012345")
	s := suite.DES3{}
	key, _ := s.Diversify(suite.TestMasters().TAC, [8]byte{0xD1, 0xA2, 0xCA, 0x01, 0xD1, 0xA2, 0xCA, 0x01})
	key, _ = s.Diversify(key, n.Factor())
	p := vault.LoadProof{Terminal: money.TerminalID{1}, TxType: 2, After: 500, Amount: 100, Counter: 9, Stamp: money.Stamp{0x20, 0x26, 3, 1, 9}}
	f, _ := suite.LoadTAC(p.After, p.Counter, p.Amount, p.TxType, p.Terminal, p.Stamp)
	p.TAC, _ = s.TAC(key, f)
	for profile, want := range map[string]bool{"dianka-ep2": true, "dianka-ep": false} {
		if ok, err := v.VerifyLoad(vault.Card{Number: n, Profile: profile}, p); err != nil || ok != want {
			t.Errorf("%s: %v, %v", profile, ok, err)
		}
	}
}
