package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dianka/dianka/explain"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/simcard/odd"
)

// The simulated readers: sim:<name>, each with a card in it, made anew for each
// call with the well-known test keys; sim:card=FILE, sim:card2=FILE,
// sim:sam=FILE and sim:blank=FILE keep theirs in a file. They are for learning and for trying a
// script before it meets a real card, and are never chosen unless named.
var simulated = []struct {
	name, what string
	chip       func(file string) (virtual.Chip, error)
}{
	{"card", "a test purse card of profile dianka-ep", func(f string) (virtual.Chip, error) { return simPurse("dianka-ep", f) }},
	{"card2", "a test purse card of profile dianka-ep2", func(f string) (virtual.Chip, error) { return simPurse("dianka-ep2", f) }},
	{"t0", "the first one, speaking T=0", func(f string) (virtual.Chip, error) {
		c, err := simPurse("dianka-ep", f)
		if err != nil {
			return nil, err
		}
		return &t0{simcard.T0(c)}, nil
	}},
	{"sam", "a test SAM with PSAM and load SAM", simSAM},
	{"plain", "a plain ISO 7816 tree that no profile knows", func(string) (virtual.Chip, error) { return odd.NewTree(), nil }},
	{"plain-t0", "the same, answering with 61xx and 6Cxx only", func(string) (virtual.Chip, error) { return &t0{simcard.T0(odd.NewTree())}, nil }},
	{"refuses", "a card that refuses everything", func(string) (virtual.Chip, error) { return &odd.Refuser{SW: 0x6985}, nil }},
	{"agrees", "a card that says 9000 to everything", func(string) (virtual.Chip, error) { return &odd.Refuser{SW: 0x9000}, nil }},
	{"garbage", "a card that answers garbage", func(string) (virtual.Chip, error) { return odd.NewGarbage(7), nil }},
	{"leaves", "a test purse card that is pulled out when it is to write or to move money", func(f string) (virtual.Chip, error) {
		c, err := simPurse("dianka-ep", f)
		return &leaving{c}, err
	}},
	{"empty", "a reader without a card", nil},
	{"blank", "a chip that nothing was written to, for personalise", simBlank},
}

// t0 makes the wrapper comparable, as virtual wants it.
type t0 struct{ simcard.Chip }

// leaving is pulled out during a command that changes something, after the
// chip has carried it out.
type leaving struct{ *simcard.Card }

// Transmit implements virtual.Chip.
func (l *leaving) Transmit(command []byte) ([]byte, error) {
	r, err := l.Card.Transmit(command)
	if explain.RiskOf(command) >= explain.RiskWrite {
		return nil, virtual.ErrGone
	}
	return r, err
}

func simNames() []string {
	var names []string
	for _, s := range simulated {
		names = append(names, "sim:"+s.name)
	}
	return names
}

func simSlot(rest string) (reader.Slot, error) {
	name, file, _ := strings.Cut(rest, "=")
	for _, s := range simulated {
		if s.name != name {
			continue
		}
		slot := virtual.New("sim:" + name)
		slot.Raw = true
		if s.chip == nil {
			return slot, nil
		}
		chip, err := s.chip(file)
		if err != nil {
			return nil, err
		}
		slot.Insert(chip)
		return slot, nil
	}
	return nil, &reader.Error{Slot: "sim:" + rest, Op: "open", Kind: reader.ErrSlotName, Hint: "the simulated readers are " + strings.Join(simNames(), " ")}
}

func simPurse(profile, file string) (*simcard.Card, error) {
	p, ok := profiles.Builtin().Card(profile)
	if !ok {
		return nil, fmt.Errorf("no profile %s", profile)
	}
	r := simcard.TestCard(money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17})
	r.AID, r.Levels, r.Region = string(p.AID), p.LoadLevels, p.Region
	r.KeyIndex, r.KeyVersion = p.LoadKeyIndex, byte(p.LoadLevels)
	o := simcard.Options{PINForLoad: p.PINForLoad, LogPost: p.LogCounterPost, UnifiedCounter: p.UnifiedCounters, ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot}
	return simMake(r, o, file)
}

func simSAM(file string) (virtual.Chip, error) {
	r := simcard.TestSAM(money.SAMID{0, 0, 0, 0, 0x31, 0x01, 0, 0, 0, 1}, money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34})
	r.Levels = []int{1, 2}
	return simMake(r, simcard.Options{}, file)
}

func simBlank(file string) (virtual.Chip, error) {
	if file == "" {
		return simcard.New(simcard.Options{}), nil
	}
	return simcard.Open(file, simcard.Options{})
}

func simMake(r simcard.Recipe, o simcard.Options, file string) (*simcard.Card, error) {
	c := simcard.New(o)
	if file != "" {
		var err error
		if c, err = simcard.Open(file, o); err != nil {
			return nil, err
		}
	}
	if c.Blank() {
		if err := simcard.Personalise(c, r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// isSim reports a name that a simulated reader has.
func isSim(name string) bool {
	name, _, _ = strings.Cut(name, "=")
	return slices.Contains(simNames(), name)
}
