package simcard

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/dianka/dianka/suite"
)

// FuzzAPDUs feeds a card and a SAM commands from outside: length-prefixed,
// with byte 0 of length 0 meaning a reset. Whoever has no key must not move
// value, count backwards, see a key, or leave a memory that cannot be read.
func FuzzAPDUs(f *testing.F) {
	card, b := issue(f, testCard(), Options{}, PurseAID)
	b.load(5000)
	sam, s := issue(f, testSAM(), Options{}, suite.LoadSAMName)
	s.allow(suite.Allowance{Sequence: 1, CeilingAmount: 1000, CeilingCount: 10})
	images := [2][]byte{card.Image(), sam.Image()}

	seq := func(cmds ...string) (out []byte) {
		for _, c := range cmds {
			out = append(append(out, byte(len(unhex(c)))), unhex(c)...)
		}
		return out
	}
	sel, selPSAM := "00A4040009A00000000386980701", "00A40000023F01"
	f.Add(false, false, seq(sel, "805000020B010000000131010000123410", "805200000B202509010945010000000004"))
	f.Add(false, true, seq(sel, "805001020B01000000013101000012340F", "805C000204", "805401000F00000007202509010945010000000008"))
	f.Add(false, false, seq(sel, "002000000312345F", "0084000004", "04D695000500AABBCCDD", "00B0950000", "00B201C417", "805A000202000108"))
	f.Add(true, false, seq(selPSAM, "807000001C9B2E44710012000001F406202509010945010100331008881234567808", "8072000004580CAD42"))
	f.Add(true, false, seq("00A404000B4449414E4B412E4C53414D", "80740000080102030405060708", "0084000008", "8076000014"+string(bytes.Repeat([]byte("00"), 20))))
	f.Add(false, false, seq("800E000000", "80E03F000D38FFFFF0F001FFFFFFFFFFFFFF", "80E00000073F005001F0FFFF", "80D401000D36F0F0FF33FFFFFFFFFFFFFFFF"))

	f.Fuzz(func(t *testing.T, isSAM, tolerant bool, script []byte) {
		image := images[0]
		if isSAM {
			image = images[1]
		}
		c, err := FromImage(image, Options{Tolerant: tolerant, Rand: bytes.NewReader(bytes.Repeat([]byte{0x42, 7, 9}, 1000))})
		if err != nil {
			t.Fatal(err)
		}
		chip := T0(c)
		if !tolerant {
			chip = c
		}
		if _, err := chip.PowerOn(); err != nil {
			t.Fatal(err)
		}
		was := secretsAndValue(c.nv)
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			cmd := script[1 : 1+n]
			script = script[1+n:]
			if n == 0 {
				if _, err := chip.PowerOn(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			r, err := chip.Transmit(cmd)
			if err != nil || len(r) < 2 || len(r) > 258 {
				t.Fatalf("%X: %X, %v", cmd, r, err)
			}
			for _, k := range was.keys {
				if bytes.Contains(r, k) && !bytes.Contains(cmd, k) {
					t.Fatalf("%X: the answer holds a key", cmd)
				}
			}
		}
		back, err := FromImage(c.Image(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := back.PowerOn(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.nv.encode(), c.nv.encode()) {
			t.Error("the memory is not what the chip believes")
		}
		now := secretsAndValue(c.nv)
		if now.value != was.value || now.given != was.given || now.seq < was.seq || len(now.keys) != len(was.keys) {
			t.Errorf("without a key: %+v became %+v", was, now)
		}
	})
}

type inside struct {
	keys  [][]byte
	value [4]uint32 // balance, counters, blocks of the purse
	given uint64
	seq   uint32
}

func secretsAndValue(s *state) (in inside) {
	for _, d := range s.dirs {
		for _, k := range d.keys {
			if k.typ != keyPIN {
				in.keys = append(in.keys, k.value[:8])
			}
		}
		for _, k := range d.samKeys {
			in.keys = append(in.keys, k.value[:8])
		}
		if f := d.file(2); f != nil && f.kind == kindPurse {
			in.value = [4]uint32{f.purse.balance, uint32(f.purse.online), uint32(f.purse.offline)}
		}
		if f := d.file(0x18); f != nil && f.kind == kindBinary {
			in.seq = binary.BigEndian.Uint32(f.data)
		}
		in.given += d.total + uint64(d.allowance.CeilingAmount)
	}
	return in
}

// FuzzImage: a memory image from outside is refused or gives a chip that
// works. The checksum is put right, so that the inside is reached.
func FuzzImage(f *testing.F) {
	c, _ := issue(f, testCard(), Options{}, PurseAID)
	f.Add(c.Image())
	f.Add(New(Options{}).Image())
	c.TearAfter(4)
	c.Transmit(unhex("002000000311111F"))
	f.Add(c.Image())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 {
			b = binary.BigEndian.AppendUint32(bytes.Clone(b[:len(b)-4]), crc32.ChecksumIEEE(b[:len(b)-4]))
		}
		c, err := FromImage(b, Options{})
		if err != nil {
			return
		}
		if _, err := c.PowerOn(); err != nil {
			t.Fatalf("accepted but does not start: %v", err)
		}
		for _, cmd := range []string{"00A40000023F01", "00B0950000", "00B201C400", "002000000312345F", "805C000204",
			"805000020B010000000131010000123410", "807000001C9B2E44710012000001F406202509010945010100331008881234567808", "80740000080102030405060708"} {
			if _, err := c.Transmit(unhex(cmd)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
