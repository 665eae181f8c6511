package terminal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
)

// unknownCard is a profile of a card that nobody had foreseen: keys that are
// not diversified, other key indexes, another name, the log after the increment.
const unknownCard = `name: newcomer
description: a card of a third supplier
test_only: true
aid: "F04E4557434F4D4552"
suite: 3des
purse: ep
files: {public_info: 21, holder: 22, log: 24, public_info_layout: pboc30}
key_index: {load: 5, purchase: 5}
diversification: {load: 0, purchase: 0, tac: 0, factor_order: serial-first}
pin_for_load: false
pin_encoding: bcd
log_counter: post
counters: unified
proof_order: tac-mac2
proof_slots: single
balance_max_fen: 500000
`

// A profile that is put into the folder while the terminal runs makes the next
// card of its kind work; a broken one changes nothing and is told.
func TestProfileDroppedIn(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	folder := profiles.Watch(dir)
	w.samc = simcard.New(simcard.Options{})
	if err := simcard.Personalise(w.samc, simcard.SAMRecipe{
		ID: testPSAM, Terminal: testTerminal, Issuer: suite.TestIssuer, From: [4]byte{0x20, 0x20, 0x01, 0x01}, To: [4]byte{0x20, 0x49, 0x12, 0x31},
		Purchase: true, Load: true, Keys: suite.TestMasters(), Levels: []int{0, 1, 2}, KeyIndex: 5, KeyVersion: 0,
	}); err != nil {
		t.Fatal(err)
	}
	w.sam.Insert(w.samc)
	w.more = func(c *Config) { c.Profiles = folder }
	w.restart()
	w.shift()

	n := mustCard(t, "0023")
	c := simcard.New(simcard.Options{LogPost: true, ProofTACFirst: true, SingleProof: true, UnifiedCounter: true})
	if err := simcard.Personalise(c, simcard.CardRecipe{
		Number: n, Issuer: suite.TestIssuer, AppType: 2, From: [4]byte{0x20, 0x20, 0x01, 0x01}, To: [4]byte{0x20, 0x49, 0x12, 0x31},
		Keys: suite.TestMasters(), Levels: 0, KeyIndex: 5, KeyVersion: 0, AID: "\xF0NEWCOMER",
	}); err != nil {
		t.Fatal(err)
	}
	event := func(s reader.State) { w.term.Handle(w.ctx, reader.Event{Slot: w.slot.Name(), State: s, Count: 99}) }
	put := func() {
		w.slot.Remove()
		event(reader.StateEmpty)
		w.slot.Insert(c)
		event(reader.StateCard)
	}
	put()
	if s := w.term.Status().Card; s.State != CardUnreadable {
		t.Fatalf("before there is a profile: %+v", s)
	}

	file := filepath.Join(dir, "cards", "newcomer.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(unknownCard, "counters: unified", "counters: many", 1))
	put()
	if s := w.term.Status().Card; s.State != CardUnreadable {
		t.Errorf("by a broken profile: %+v", s)
	}
	if err := folder.Err(); err == nil || !strings.Contains(err.Error(), file+":13: counters:") {
		t.Errorf("the broken profile is told as %v", err)
	}

	write(unknownCard)
	put()
	if s := w.term.Status().Card; s.State != CardReady || s.Profile != "newcomer" || s.Number != n {
		t.Fatalf("with its profile: %+v", s)
	}
	if err := folder.Err(); err != nil {
		t.Error(err)
	}
	if rc, err := w.topUp(n, 50_00); err != nil || rc.Result != journal.Done || rc.After != 50_00 {
		t.Fatalf("%+v, %v", rc, err)
	}
	if rc, err := w.redeem(n, 12_00); err != nil || rc.Result != journal.Done || rc.After != 38_00 {
		t.Fatalf("%+v, %v", rc, err)
	}
	if list, err := w.term.History(w.ctx); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}

	// A file that breaks now leaves the card at work.
	write("name: [")
	put()
	if s := w.term.Status().Card; s.State != CardReady || s.Profile != "newcomer" {
		t.Errorf("after its profile broke: %+v", s)
	}
}
