package simcard

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// torn runs a command on a fresh copy of the chip for every page write that
// it makes and every way that the page can be left, and then for every write
// of the recovery at the next reset. Afterwards the memory must hold what it
// held before or what it holds when nothing is torn; both must be seen.
// prepare brings the chip to the point before the command.
func torn(t *testing.T, image []byte, opts Options, prepare func(b bench) (command []byte)) {
	t.Helper()
	start := func() (*Card, bench, []byte) {
		opts := opts
		opts.Rand = bytes.NewReader(make([]byte, 4096)) // every copy draws the same
		c, err := FromImage(image, opts)
		if err != nil {
			t.Fatal(err)
		}
		b := bench{t, c}.on()
		return c, b, prepare(b)
	}
	c, b, command := start()
	before, writes := c.nv.encode(), c.Writes()
	if _, sw := b.send(command); sw != apdu.SWOK {
		t.Fatalf("the command itself fails: %04X", uint16(sw))
	}
	after, n := c.nv.encode(), c.Writes()-writes
	if n < 3 || bytes.Equal(before, after) {
		t.Fatalf("%d writes: the command changes nothing", n)
	}
	seen := map[bool]int{}
	for how := range tornKinds {
		for at := 1; at <= n; at++ {
			for again := 0; again <= n; again++ { // a second tear, during recovery; 0 = none
				c, b, command := start()
				c.tear(at, how)
				if _, _, err := b.try(command); !errors.Is(err, ErrTorn) {
					t.Fatalf("write %d of %d: %v", at, n, err)
				}
				if _, err := b.Transmit(command); !errors.Is(err, ErrOff) {
					t.Fatalf("the chip works on without power: %v", err)
				}
				c.tear(again, how)
				_, err := c.PowerOn()
				completed := err == nil
				if !completed {
					if !errors.Is(err, ErrTorn) {
						t.Fatal(err)
					}
					if _, err := c.PowerOn(); err != nil {
						t.Fatal(err)
					}
				}
				c.tear(0, how)
				now := c.nv.encode()
				if !bytes.Equal(now, before) && !bytes.Equal(now, after) {
					t.Fatalf("write %d of %d, left %d, recovery torn at %d: neither before nor after", at, n, how, again)
				}
				seen[bytes.Equal(now, after)]++
				if again > 0 && completed { // the recovery has fewer writes than that
					break
				}
			}
		}
	}
	if seen[false] == 0 || seen[true] == 0 {
		t.Errorf("before seen %d times, after %d times", seen[false], seen[true])
	}
	t.Logf("%d page writes; ended before %d times, after %d times", n, seen[false], seen[true])
}

func TestTearing(t *testing.T) {
	card, b := issue(t, testCard(), Options{}, PurseAID)
	for range 12 { // a full log, so that a record is replaced
		b.load(1000)
	}
	sam, s := issue(t, testSAM(), Options{}, suite.LoadSAMName)
	if sw := s.allow(suite.Allowance{Sequence: 1, CeilingAmount: 1_000_000, CeilingCount: 100}); sw != apdu.SWOK {
		t.Fatal(sw)
	}
	// Cards draw the same randoms in every copy, so one answer of INITIALIZE
	// serves them all.
	zero, err := FromImage(card.Image(), Options{Rand: bytes.NewReader(make([]byte, 64))})
	if err != nil {
		t.Fatal(err)
	}
	zb := bench{t, zero}.on()
	zb.selectApp(PurseAID)
	init, _ := zb.initLoad(500)

	t.Run("load", func(t *testing.T) {
		torn(t, card.Image(), Options{}, func(b bench) []byte {
			b.selectApp(PurseAID)
			_, credit := b.initLoad(500)
			return append(unhex("805200000B"), credit...)
		})
	})
	t.Run("purchase", func(t *testing.T) {
		torn(t, card.Image(), Options{}, func(b bench) []byte {
			b.selectApp(PurseAID)
			_, debit := b.initPurchase(500)
			return append(unhex("805401000F"), debit...)
		})
	})
	t.Run("PSAM", func(t *testing.T) {
		torn(t, sam.Image(), Options{}, func(b bench) []byte {
			b.selectApp(PSAMName)
			return append(unhex("807000001C"), samData(unhex("00001000 0012 000000 01 00 9B2E4471"), 500, cardNo.Factor())...)
		})
	})
	t.Run("load SAM", func(t *testing.T) {
		torn(t, sam.Image(), Options{}, func(b bench) []byte {
			b.selectApp(suite.LoadSAMName)
			return append(unhex("8070010024"), samLoad(t, init, 500, cardNo.Factor())...)
		})
	})
	t.Run("allowance", func(t *testing.T) {
		torn(t, sam.Image(), Options{}, func(b bench) []byte {
			b.selectApp(suite.LoadSAMName)
			a := suite.Allowance{Sequence: 2, CeilingAmount: 2_000_000, CeilingCount: 200}
			ch := b.ok("0084000008")
			return append(unhex("8076000014"), a.Signed(must(a.MAC(alg, allowanceKey(t), [8]byte(ch), samID)))...)
		})
	})
	t.Run("public file", func(t *testing.T) {
		torn(t, card.Image(), Options{}, func(b bench) []byte {
			b.selectApp(PurseAID)
			ch := b.ok("0084000004")
			f := suite.LineFields(0x04, 0xD6, 0x96, 0, bytes.Repeat([]byte{0x5A}, 39))
			mac := must(alg.LineMAC(div(TestKeys().Line, cardNo.Factor()), ch, f))
			return append(f, mac[:]...)
		})
	})
}

// TestTornLoadIsProved: after a load was torn the balance, the counter, the
// log and the proof tell one story (purse.md section 12.3).
func TestTornLoadIsProved(t *testing.T) {
	for at := 1; ; at++ {
		c, b := issue(t, testCard(), Options{}, PurseAID)
		b.load(1000)
		_, credit := b.initLoad(500)
		c.TearAfter(at)
		_, _, err := b.try("805200000B", credit)
		if err == nil {
			if at < 5 {
				t.Errorf("only %d writes", at-1)
			}
			return
		}
		c.TearAfter(0)
		b.on().selectApp(PurseAID)
		_, proof := b.send("805A000202 0002 08")
		_, log := b.send("00B202C417")
		init, _ := b.initLoad(0)
		got := [4]any{b.balance(), be16(init[4:]), proof, log}
		done := [4]any{money.Fen(1500), uint16(2), apdu.SWOK, apdu.SWOK}
		not := [4]any{money.Fen(1000), uint16(1), apdu.SWProofNotAvailable, apdu.SWRecordNotFound}
		if got != done && got != not {
			t.Errorf("write %d: %v", at, got)
		}
	}
}

// TestSAMCountsBeforeItSpeaks: however INIT SAM FOR LOAD is torn, no MAC2 is
// out that the totals do not hold.
func TestSAMCountsBeforeItSpeaks(t *testing.T) {
	_, b := issue(t, testCard(), Options{}, PurseAID)
	init, _ := b.initLoad(500)
	for _, how := range []tearKind{tornHalf, tornAfter} {
		for at := 1; ; at++ {
			sam, s := issue(t, testSAM(), Options{}, suite.LoadSAMName)
			s.allow(suite.Allowance{Sequence: 1, CeilingAmount: 500, CeilingCount: 1})
			sam.tear(at, how)
			out, _, err := s.try("8070010024", samLoad(t, init, 500, cardNo.Factor()))
			spoke := err == nil && len(out) == 8
			sam.tear(0, how)
			s.on().selectApp(suite.LoadSAMName)
			if st := s.samState(); spoke && st.Total != 500 {
				t.Fatalf("MAC2 is out, total is %v", st.Total)
			}
			if spoke {
				break
			}
		}
	}
}

// TestMemory: any row of commits, torn anywhere, holds one of its contents
// whole, never an older one than the last that was acknowledged.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		last := make([]byte, rapid.IntRange(1, 20*pageSize).Draw(t, "size"))
		if err := m.commit(last); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(t, "commits") {
			next := bytes.Clone(last)
			for range rapid.IntRange(1, 30).Draw(t, "bytes") {
				next[rapid.IntRange(0, len(next)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "value")
			}
			m.tearIn = rapid.IntRange(0, 50).Draw(t, "tear")
			m.tearHow = tearKind(rapid.IntRange(0, int(tornKinds)-1).Draw(t, "how"))
			err := m.commit(next)
			if err == nil {
				last = next
				continue
			}
			if rapid.Bool().Draw(t, "saved") { // the process dies too
				var derr error
				if m, derr = decodeImage(m.image()); derr != nil {
					t.Fatal(derr)
				}
			}
			for m.tearIn = rapid.IntRange(0, 20).Draw(t, "again"); !m.recover(); {
			}
			m.tearIn = 0
			switch now := m.read()[:len(last)]; {
			case bytes.Equal(now, next):
				last = next
			case !bytes.Equal(now, last):
				t.Fatal("neither before nor after")
			}
		}
	})
}

// TestJournalHeadMustFit: a head whose checksum does not fit its entries
// counts for nothing.
func TestJournalHeadMustFit(t *testing.T) {
	m := newMemory()
	if err := m.commit(bytes.Repeat([]byte{1}, 3*pageSize)); err != nil {
		t.Fatal(err)
	}
	m.tearIn, m.tearHow = 2+1, tornAfter // two pages, then the head
	if err := m.commit(bytes.Repeat([]byte{2}, 2*pageSize)); err == nil {
		t.Fatal("not torn")
	}
	fits := m.clone()
	if fits.recover(); fits.data[0][0] != 2 {
		t.Fatal("a right head must count")
	}
	m.journal[1][5] ^= 1
	if m.recover(); m.data[0][0] != 1 {
		t.Error("a wrong head counted")
	}
}
