package simcard

import (
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
)

func TestT0(t *testing.T) {
	c := New(Options{})
	chip := T0(c)
	if err := Personalise(chip, testCard()); err != nil {
		t.Fatal(err)
	}
	atr, err := chip.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	a, err := apdu.ParseATR(atr)
	if err != nil || !a.Offers(0) || a.Offers(1) {
		t.Errorf("ATR %X: %v", atr, err)
	}
	b := bench{t, chip}
	b.want(0x6F00, "00C0000010") // nothing waits
	_, sw := b.send("00A4040009", []byte(PurseAID))
	n, ok := sw.MoreData()
	if !ok {
		t.Fatalf("SELECT: %04X", uint16(sw))
	}
	b.want(0x6C00|apdu.SW(n), "00C00000FF")
	head, sw := b.send("00C0000004")
	if left, ok := sw.MoreData(); !ok || left != n-4 || head[0] != 0x6F {
		t.Errorf("%X %04X", head, uint16(sw))
	}
	b.ok("00C00000", []byte{byte(n - 4)})
	b.want(0x6C1E, "00B0950000")
	b.ok("00B095001E")
	b.want(0x6C04, "805C000200")

	// A whole load with Le (which T=0 drops) and GET RESPONSE between.
	b.want(0x6110, "805000020B01", money.Fen(250), terminal[:], "10")
	plain := bench{t, c}
	b.ok("00C0000010")
	_, credit := plain.initLoad(250) // straight to the chip: the same card underneath
	b.want(0x6104, "805200000B", credit)
	b.ok("00C0000004")
	if plain.balance() != 250 {
		t.Error("balance")
	}
	// Another command drops what waited.
	b.want(0x6110, "805000020B01", money.Fen(250), terminal[:])
	b.want(0x9000, "805C000204")
	b.want(0x6F00, "00C0000010")
}
