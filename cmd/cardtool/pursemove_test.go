package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
)

func init() {
	commands["mksam"] = mksam
	simulated = append(simulated, struct {
		name, what string
		chip       func(file string) (virtual.Chip, error)
	}{"real", "for tests", realCard})
	for _, s := range []struct {
		name   string
		before bool
	}{{"mumbles", false}, {"deaf", true}} {
		simulated = append(simulated, struct {
			name, what string
			chip       func(file string) (virtual.Chip, error)
		}{s.name, "for tests", func(f string) (virtual.Chip, error) {
			c, err := simPurse("dianka-ep", f)
			return &garbling{c, s.before}, err
		}})
	}
}

// realCard is one of a real issuer, as far as its public information says.
func realCard(string) (virtual.Chip, error) {
	p, _ := profiles.Builtin().Card("dianka-ep")
	r := simcard.TestCard(money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x18})
	r.AID, r.Levels, r.Region, r.KeyIndex, r.KeyVersion = string(p.AID), p.LoadLevels, p.Region, p.LoadKeyIndex, byte(p.LoadLevels)
	r.Issuer = [8]byte{0x31, 0x01, 0x55}
	for i, k := range []*[]byte{&r.Keys.Purchase, &r.Keys.Load, &r.Keys.TAC, &r.Keys.Line, &r.Keys.PINUnblock, &r.Keys.PINReload, &r.Keys.Control, &r.Keys.Allowance} {
		*k = bytes.Repeat([]byte{byte(i + 1), 0x5C}, 8)
	}
	return simMake(r, simcard.Options{}, "")
}

// garbling says half a status word when it moves money, before it is carried
// out or after.
type garbling struct {
	*simcard.Card
	before bool
}

func (g *garbling) Transmit(command []byte) ([]byte, error) {
	if explain.RiskOf(command) != explain.RiskMoney {
		return g.Card.Transmit(command)
	}
	if !g.before {
		if _, err := g.Card.Transmit(command); err != nil {
			return nil, err
		}
	}
	return []byte{0x90}, nil
}

// mksam FILE YUAN makes the SAM of sim:sam=FILE and installs an allowance.
func mksam() {
	if err := makeSAM(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func makeSAM(file, yuan string) error {
	chip, err := simSAM(file)
	if err != nil {
		return err
	}
	if _, err := chip.PowerOn(); err != nil {
		return err
	}
	defer chip.PowerOff()
	amount, err := money.ParseYuan(yuan)
	if err != nil {
		return err
	}
	v, err := vault.New(suite.TestMasters(), ed25519.NewKeyFromSeed(make([]byte, 32)), profiles.Builtin())
	if err != nil {
		return err
	}
	ctx := context.Background()
	sam, err := purse.OpenLoadSAM(ctx, apdu.Transmitter(straight{chip}), profiles.Builtin().SAMs)
	if err != nil {
		return err
	}
	challenge, err := sam.Challenge(ctx)
	if err != nil {
		return err
	}
	a := suite.Allowance{Sequence: 1, CeilingAmount: amount, CeilingCount: 10}
	mac, err := v.SignAllowance(sam.Serial(), challenge, a)
	if err != nil {
		return err
	}
	return sam.Install(ctx, a, mac)
}

// straight speaks to a chip with no reader between.
type straight struct{ virtual.Chip }

func (s straight) Transmit(_ context.Context, b []byte) ([]byte, error) { return s.Chip.Transmit(b) }
