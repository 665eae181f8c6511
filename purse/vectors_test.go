package purse

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

type vector struct {
	ID, Op  string
	Inputs  map[string]string
	Outputs map[string]string
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	b, err := os.ReadFile("testdata/purse-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	m := map[string]vector{}
	for _, v := range file.Vectors {
		m[v.ID] = v
	}
	return m
}

func be32(t *testing.T, s string) uint32 { return binary.BigEndian.Uint32(unhex(t, s)) }

// TestLoadVectors runs every published or computed load of an ED or EP as an
// exchange whose command bytes are purse.md sections 7.1 and 7.2 with the
// vector's numbers.
func TestLoadVectors(t *testing.T) {
	ran := 0
	for id, v := range vectors(t) {
		if v.Op != "load" {
			continue
		}
		ran++
		t.Run(id, func(t *testing.T) {
			p, in, out := ep(), v.Inputs, v.Outputs
			p.ED = in["type"] == "01"
			purse := in["type"] // 01 and 02 as P2 too
			lines := []string{fmt.Sprintf("805000%s 0B 01 %s %s 10 = %s 9000", purse, in["amount"], in["terminal_id"], out["init_response"])}
			if in["datetime"] != "" {
				tac := out["tac"]
				if tac == "" {
					tac = "01020304"
				}
				lines = append(lines, fmt.Sprintf("80520000 0B %s %s 04 = %s 9000", in["datetime"], out["mac2"], tac))
			}
			a := selected(t, p, lines...)
			init, err := a.InitLoad(background, money.Fen(be32(t, in["amount"])), money.TerminalID(unhex(t, in["terminal_id"])))
			if err != nil {
				t.Fatal(err)
			}
			want := LoadInit{
				Before: money.Fen(be32(t, in["old_balance"])), Counter: uint16(be32(t, "0000"+in["online_counter"])),
				KeyVersion: unhex(t, in["key_version"])[0], Algorithm: unhex(t, in["algorithm_id"])[0],
				Random: [4]byte(unhex(t, in["card_random"])), MAC1: suite.MAC(unhex(t, out["mac1"])),
				Amount: money.Fen(be32(t, in["amount"])), Terminal: money.TerminalID(unhex(t, in["terminal_id"])),
				TxType: unhex(t, in["type"])[0], KeyIndex: 1,
			}
			if init != want {
				t.Errorf("got %+v\nwant %+v", init, want)
			}
			if in["datetime"] == "" {
				return
			}
			tac, err := a.CreditLoad(background, money.Stamp(unhex(t, in["datetime"])), suite.MAC(unhex(t, out["mac2"])))
			if err != nil {
				t.Fatal(err)
			}
			if out["tac"] != "" && tac != suite.MAC(unhex(t, out["tac"])) {
				t.Errorf("TAC %X", tac)
			}
		})
	}
	if ran != 5 {
		t.Errorf("%d loads in the file, 5 expected", ran)
	}
}

// TestPurchaseVectors does the same for purchases (sections 7.3 and 7.4). CAPP
// is not spoken.
func TestPurchaseVectors(t *testing.T) {
	ran := 0
	for id, v := range vectors(t) {
		if v.Op != "purchase" || v.Inputs["type"] == "09" {
			continue
		}
		ran++
		t.Run(id, func(t *testing.T) {
			p, in, out := ep(), v.Inputs, v.Outputs
			purse := "02"
			if p.ED = in["type"] == "05"; p.ED {
				purse = "01"
			}
			answer := in["init_response"]
			if answer == "" {
				answer = "00100000" + in["offline_counter"] + "000000" + "0100" + in["card_random"]
			}
			tac := out["tac"]
			if tac == "" {
				tac = "01020304"
			}
			a := selected(t, p,
				fmt.Sprintf("805001%s 0B 01 %s %s 0F = %s 9000", purse, in["amount"], in["terminal_id"], answer),
				fmt.Sprintf("80540100 0F %s %s %s 08 = %s %s 9000", in["terminal_seq"], in["datetime"], out["mac1"], tac, out["mac2"]))
			init, err := a.InitPurchase(background, money.Fen(be32(t, in["amount"])), money.TerminalID(unhex(t, in["terminal_id"])))
			if err != nil {
				t.Fatal(err)
			}
			if init.Counter != uint16(be32(t, "0000"+in["offline_counter"])) || init.Random != [4]byte(unhex(t, in["card_random"])) ||
				init.TxType != unhex(t, in["type"])[0] || init.Overdraft != (suite.Limit{}) {
				t.Errorf("got %+v", init)
			}
			gotTAC, mac2, err := a.DebitPurchase(background, Grant{be32(t, in["terminal_seq"]), suite.MAC(unhex(t, out["mac1"]))}, money.Stamp(unhex(t, in["datetime"])))
			if err != nil || gotTAC != suite.MAC(unhex(t, tac)) || mac2 != suite.MAC(unhex(t, out["mac2"])) {
				t.Errorf("TAC %X MAC2 %X, %v", gotTAC, mac2, err)
			}
		})
	}
	if ran != 4 {
		t.Errorf("%d purchases in the file, 4 expected", ran)
	}
}

// psamOpen is what opening a SAM with a PSAM sends.
const psamOpen = `
	00A40000 02 3F00 00 = 6F15840E315041592E5359532E4444463031A503880101 9000
	00B0960006 = 310100001234 9000
	00B095000E = 11223344556677889900 01 00 0000 9000
	00A40000 02 3F01 00 = 6F00 9000
	00B0970019 = 01 FFFFFFFF00000001 0000000000000000 20240101 20301231 9000
`

func psamProfile() []profiles.SAM {
	return []profiles.SAM{
		{Name: "load", Serial: profiles.File{SFI: 0x15, Len: 14}, Terminal: profiles.File{SFI: 0x16, Len: 6}, LoadSAM: &profiles.SAMApplication{AID: []byte(suite.LoadSAMName), Info: profiles.File{SFI: 0x17, Len: 25}}},
		{Name: "psam", Serial: profiles.File{SFI: 0x15, Len: 14}, Terminal: profiles.File{SFI: 0x16, Len: 6}, PSAM: &profiles.SAMApplication{FID: 0x3F01, Info: profiles.File{SFI: 0x17, Len: 25}}},
	}
}

// TestPSAMVector sends the published 80 70 and 80 72 byte for byte.
func TestPSAMVector(t *testing.T) {
	v := vectors(t)["c-psam-1level"]
	in, out := v.Inputs, v.Outputs
	c := scripted(t, psamOpen, out["init_sam_apdu"]+"="+out["response"]+"9000", out["credit_sam_apdu"]+"= 9000")
	p, err := OpenPSAM(background, c, psamProfile())
	if err != nil {
		t.Fatal(err)
	}
	if p.Serial().String() != "11223344556677889900" || p.Terminal() != terminalID || p.KeyIndex() != 1 || !p.Test() || p.ValidTo().String() != "20301231" {
		t.Errorf("%+v", p.SAM)
	}
	number, err := money.CardNumberFromBCD(append([]byte{0, 0}, unhex(t, in["factors"])...))
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.InitPurchase(background, ep(), number, PurchaseInit{
		Counter: 0x0012, Random: [4]byte(unhex(t, in["card_random"])), Amount: money.Fen(be32(t, in["amount"])),
		KeyVersion: 1, Algorithm: 0, TxType: 6, Terminal: p.Terminal(),
	}, money.Stamp(unhex(t, in["datetime"])))
	if err != nil || g.Seq != be32(t, in["psam_seq"]) || g.MAC1 != suite.MAC(unhex(t, out["mac1"])) {
		t.Errorf("%+v, %v", g, err)
	}
	if err := p.Credit(background, suite.MAC(unhex(t, out["credit_sam_apdu"][10:]))); err != nil {
		t.Error(err)
	}
}

// TestFactorOrder sends two-level keys in both orders (purse.md section 1,
// setting 9).
func TestFactorOrder(t *testing.T) {
	const card, region = "3310088812345678", "B1B1BEA9B1B1BEA9"
	for name, c := range map[string]struct {
		first  bool
		order  string
		levels int
	}{"serial first": {false, card + region, 2}, "region first": {true, region + card, 2}, "none": {false, "", 0}} {
		t.Run(name, func(t *testing.T) {
			lc := 20 + len(c.order)/2
			sam := scripted(t, psamOpen, fmt.Sprintf("80700000 %02X 00000000 0000 00000001 06 20250901094501 01 00 %s 08 = 00000001 01020304 9000", lc, c.order))
			p, err := OpenPSAM(background, sam, psamProfile())
			if err != nil {
				t.Fatal(err)
			}
			prof := ep()
			prof.RegionFirst, prof.PurchaseLevels = c.first, c.levels
			number, _ := money.ParseCardNumber(card)
			if _, err := p.InitPurchase(background, prof, number, PurchaseInit{Amount: 1, KeyVersion: 1, TxType: 6, Terminal: terminalID}, stampA); err != nil {
				t.Error(err)
			}
		})
	}
}
