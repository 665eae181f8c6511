package desk

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
)

// What lies on a desk: numbers of the sample terminal, shop, SAM and cards.
var (
	TerminalID = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	SAM        = money.SAMID{0, 0, 0, 0, 0x31, 0x01, 0, 0, 0, 1} // PSAM and load SAM are two applications of one card
)

// Shop is the sample shop.
const Shop money.ShopID = 10000001

// Sample is a card of the desk.
type Sample struct {
	ID      string // as in sim:<card>
	Label   kiosk.Words
	Number  string
	Profile string
	Named   bool
	Stock   bool // in the shop's stock; otherwise in a customer's hand, active and empty
}

// Samples are the cards of a new desk: two customers whose cards are of two
// profiles, and two cards from stock.
func Samples() []Sample {
	return []Sample{
		{"zhang", kiosk.Words{"zh-CN": "张先生的卡", "en": "Mr Zhang's card"}, "3310088800000017", "dianka-ep", false, false},
		{"li", kiosk.Words{"zh-CN": "李女士的记名卡（另一厂家）", "en": "Ms Li's named card (another make)"}, "3310099900000025", "dianka-ep2", true, false},
		{"stock1", kiosk.Words{"zh-CN": "库存卡 1", "en": "Card from stock 1"}, "3310088850000001", "dianka-ep", false, true},
		{"stock2", kiosk.Words{"zh-CN": "库存卡 2", "en": "Card from stock 2"}, "3310088850000002", "dianka-ep", false, true},
	}
}

// options gives the simulated operating system that a profile describes.
func options(p profiles.Card, rnd io.Reader) simcard.Options {
	o := simcard.Options{
		PINForLoad: p.PINForLoad, LogPost: p.LogCounterPost, UnifiedCounter: p.UnifiedCounters,
		ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot, Rand: rnd,
	}
	for word, m := range p.StatusWords {
		if m.Means == 0x9401 {
			o.BalanceSW = word
		}
	}
	return o
}

// recipe gives the issuing of a sample with the test keys.
func recipe(s Sample, p profiles.Card) (simcard.CardRecipe, error) {
	n, err := money.ParseCardNumber(s.Number)
	if err != nil {
		return simcard.CardRecipe{}, err
	}
	r := simcard.TestCard(n)
	r.AID, r.Levels, r.Region = string(p.AID), p.LoadLevels, p.Region
	r.KeyIndex, r.KeyVersion = p.LoadKeyIndex, byte(p.LoadLevels) // the SAM keeps the keys of level n as version n
	if s.Named {
		r.FCI[0] = 1
	}
	return r, nil
}

// chip is a simulated card with its image in a file, so that it is a thing of
// its own: what happens to the program does not happen to it.
type chip struct {
	*simcard.Card
	t0 bool
}

// TearAfterWrites makes a chip a fault.Tearer.
func (c *chip) TearAfterWrites(n int) { c.TearAfter(n + 1) }

// seat gives what goes into the reader.
func (c *chip) seat() virtual.Chip {
	if c.t0 {
		return &t0{Chip: simcard.T0(c.Card), c: c}
	}
	return c
}

type t0 struct {
	simcard.Chip
	c *chip
}

func (t *t0) TearAfterWrites(n int) { t.c.TearAfterWrites(n) }

// openChip opens the card's image, or makes the card.
func openChip(dir, name string, o simcard.Options, r simcard.Recipe, t0 bool) (*chip, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c, err := simcard.Open(filepath.Join(dir, name+".card"), o)
	if err != nil {
		return nil, fmt.Errorf("card %s: %w", name, err)
	}
	if c.Blank() {
		if err := simcard.Personalise(c, r); err != nil {
			return nil, fmt.Errorf("make card %s: %w", name, err)
		}
	}
	return &chip{Card: c, t0: t0}, nil
}

// Balance reads the EP of a chip by its own commands, past every reader. It
// must not be in use meanwhile.
func Balance(c virtual.Chip, aid []byte) (money.Fen, error) {
	if _, err := c.PowerOn(); err != nil {
		return 0, err
	}
	defer c.PowerOff()
	sel := append([]byte{0x00, 0xA4, 0x04, 0x00, byte(len(aid))}, aid...)
	if _, err := c.Transmit(sel); err != nil {
		return 0, err
	}
	b, err := c.Transmit([]byte{0x80, 0x5C, 0x00, 0x02, 0x04})
	if err != nil {
		return 0, err
	}
	if len(b) != 6 || b[4] != 0x90 {
		return 0, fmt.Errorf("GET BALANCE answered %X", b)
	}
	return money.FromPurse([4]byte(b)), nil
}

func samOptions(rnd io.Reader) simcard.Options { return simcard.Options{Rand: rnd} }

func samRecipe() simcard.SAMRecipe {
	r := simcard.TestSAM(SAM, TerminalID)
	r.Levels = []int{1, 2}
	r.Keys = suite.TestMasters()
	return r
}
