package vault

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/wire"
)

// maxCached bounds the derived keys kept in memory, about 200 bytes each.
const maxCached = 1 << 17

// Software is a vault in this process. An HSM takes its place in production.
type Software struct {
	masters  suite.Masters
	sign     ed25519.PrivateKey
	profiles *profiles.Set

	mu    sync.RWMutex
	cards map[Card]*cardKeys
}

var _ Vault = (*Software)(nil)

type cardKeys struct {
	suite               suite.Suite
	purchase, load, tac []byte
}

// New makes a vault of keys in memory. It fails with ErrKeys.
func New(masters suite.Masters, sign ed25519.PrivateKey, set *profiles.Set) (*Software, error) {
	for _, k := range [][]byte{masters.Purchase, masters.Load, masters.TAC, masters.Allowance} {
		if len(k) != 16 {
			return nil, ErrKeys
		}
	}
	if len(sign) != ed25519.PrivateKeySize || set == nil {
		return nil, ErrKeys
	}
	return &Software{masters: masters, sign: sign, profiles: set, cards: map[Card]*cardKeys{}}, nil
}

// IsTest reports whether the vault holds the well-known test keys.
func (v *Software) IsTest() bool { return v.masters.IsTest() }

// String shows nothing.
func (v *Software) String() string { return "[vault]" }

// GoString shows nothing.
func (v *Software) GoString() string { return "[vault]" }

// LogValue shows nothing.
func (v *Software) LogValue() slog.Value { return slog.StringValue("[vault]") }

func (v *Software) profile(name string) (profiles.Card, suite.Suite, error) {
	p, ok := v.profiles.Card(name)
	if !ok {
		return p, nil, fmt.Errorf("%q: %w", name, ErrProfile)
	}
	// A master used as a card's own key is in every card: never a real one.
	if min(p.LoadLevels, p.PurchaseLevels, p.TACLevels) == 0 && !(p.TestOnly && v.masters.IsTest()) {
		return p, nil, fmt.Errorf("%q: keys without diversification: %w", name, ErrProfile)
	}
	s, err := suite.ByName(p.Suite)
	if err != nil {
		return p, nil, fmt.Errorf("%q: %w: %w", name, ErrProfile, err)
	}
	return p, s, nil
}

// CheckProfile is of Vault.
func (v *Software) CheckProfile(name string) error {
	_, _, err := v.profile(name)
	return err
}

func (v *Software) keys(c Card) (*cardKeys, error) {
	v.mu.RLock()
	k := v.cards[c]
	v.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	p, s, err := v.profile(c.Profile)
	if err != nil {
		return nil, err
	}
	k = &cardKeys{suite: s}
	for _, d := range []struct {
		to     *[]byte
		master []byte
		levels int
	}{
		{&k.purchase, v.masters.Purchase, p.PurchaseLevels},
		{&k.load, v.masters.Load, p.LoadLevels},
		{&k.tac, v.masters.TAC, p.TACLevels},
	} {
		*d.to = d.master
		for _, f := range p.Factors(d.levels, c.Number.Factor()) {
			if *d.to, err = s.Diversify(*d.to, f); err != nil {
				return nil, err
			}
		}
	}
	v.mu.Lock()
	if len(v.cards) >= maxCached {
		clear(v.cards)
	}
	v.cards[c] = k
	v.mu.Unlock()
	return k, nil
}

// AuthoriseLoad is of Vault.
func (v *Software) AuthoriseLoad(c Card, l Load, at money.Stamp) (suite.MAC, error) {
	k, err := v.keys(c)
	if err != nil {
		return suite.MAC{}, err
	}
	session, err := k.suite.SessionKey(k.load, suite.LoadSession(l.Random, l.Counter))
	if err != nil {
		return suite.MAC{}, err
	}
	f, err := suite.LoadMAC1(l.Before, l.Amount, l.TxType, l.Terminal)
	if err != nil {
		return suite.MAC{}, fmt.Errorf("%w: %w", ErrMAC, err)
	}
	mac1, err := k.suite.TransactionMAC(session, f)
	if err != nil {
		return suite.MAC{}, err
	}
	if !mac1.Equal(l.MAC1) {
		return suite.MAC{}, ErrMAC
	}
	if f, err = suite.LoadMAC2(l.Amount, l.TxType, l.Terminal, at); err != nil {
		return suite.MAC{}, err
	}
	return k.suite.TransactionMAC(session, f)
}

// VerifyLoad is of Vault.
func (v *Software) VerifyLoad(c Card, p LoadProof) (bool, error) {
	k, err := v.keys(c)
	if err != nil {
		return false, err
	}
	f, err := suite.LoadTAC(p.After, p.Counter, p.Amount, p.TxType, p.Terminal, p.Stamp)
	if err != nil {
		return false, nil // amounts that no purse holds: no card made this
	}
	tac, err := k.suite.TAC(k.tac, f)
	return err == nil && tac.Equal(p.TAC), err
}

// VerifyPurchase is of Vault.
func (v *Software) VerifyPurchase(c Card, p Purchase) (bool, bool, error) {
	k, err := v.keys(c)
	if err != nil {
		return false, false, err
	}
	f, err := suite.PurchaseTAC(p.Amount, p.TxType, p.Terminal, p.PSAMSeq, p.Stamp)
	if err != nil {
		return false, false, nil
	}
	tac, err := k.suite.TAC(k.tac, f)
	if err != nil {
		return false, false, err
	}
	session, err := k.suite.SessionKey(k.purchase, suite.PurchaseSession(p.Random, p.Counter, p.PSAMSeq))
	if err != nil {
		return false, false, err
	}
	if f, err = suite.PurchaseMAC2(p.Amount); err != nil {
		return false, false, nil
	}
	mac2, err := k.suite.TransactionMAC(session, f)
	return tac.Equal(p.TAC), mac2.Equal(p.MAC2), err
}

func (v *Software) samKey(sam money.SAMID) ([]byte, error) {
	return suite.AllowanceKey(suite.DES3{}, v.masters.Allowance, sam)
}

// VerifySAMState is of Vault.
func (v *Software) VerifySAMState(challenge [8]byte, state []byte) (suite.LoadSAMState, error) {
	st, mac, err := suite.DecodeLoadSAMState(state)
	if err != nil {
		return st, fmt.Errorf("%w: %w", ErrMAC, err)
	}
	k, err := v.samKey(st.SAM)
	if err != nil {
		return st, err
	}
	want, err := st.MAC(suite.DES3{}, k, challenge)
	if err != nil {
		return st, err
	}
	if !want.Equal(mac) {
		return suite.LoadSAMState{}, ErrMAC
	}
	return st, nil
}

// SignAllowance is of Vault.
func (v *Software) SignAllowance(sam money.SAMID, challenge [8]byte, a suite.Allowance) (suite.MAC, error) {
	k, err := v.samKey(sam)
	if err != nil {
		return suite.MAC{}, err
	}
	return a.MAC(suite.DES3{}, k, challenge, sam)
}

// Seal is of Vault.
func (v *Software) Seal(what string, r canon.Record) []byte { return wire.Seal(what, r, v.sign) }

// PublicKey is of Vault.
func (v *Software) PublicKey() ed25519.PublicKey { return v.sign.Public().(ed25519.PublicKey) }

// Ring lets those who make cards use the vault's keys by their names
// (suite.Ring): they reach a card enciphered only, unless they are test keys.
func (v *Software) Ring() *suite.Ring { return v.masters.Ring() }
