package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/money"
)

func TestByName(t *testing.T) {
	if c, err := ByName("3des"); err != nil || c.Name() != "3des" {
		t.Errorf("3des: %v, %v", c, err)
	}
	if _, err := ByName("sm4"); !errors.Is(err, ErrUnknownID) {
		t.Errorf("sm4: %v", err)
	}
}

func TestWrongLengths(t *testing.T) {
	k15, k16 := make([]byte, 15), make([]byte, 16)
	one := func(_ any, err error) error { return err }
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"diversify", one(s.Diversify(k15, [8]byte{})), ErrKeyLength},
		{"session", one(s.SessionKey(nil, [8]byte{})), ErrKeyLength},
		{"transaction key of 16", one(s.TransactionMAC(k16, nil)), ErrKeyLength},
		{"tac", one(s.TAC(k15, nil)), ErrKeyLength},
		{"line key", one(s.LineMAC(k15, make([]byte, 4), nil)), ErrKeyLength},
		{"line challenge", one(s.LineMAC(k16, make([]byte, 5), nil)), ErrChallenge},
		{"line data", one(s.LineEncrypt(k16, make([]byte, 256))), ErrLineData},
		{"cipher text", one(s.LineDecrypt(k16, make([]byte, 9))), ErrBlock},
		{"no cipher text", one(s.LineDecrypt(k16, nil)), ErrBlock},
		{"authenticate", one(s.Authenticate(k16, nil)), ErrChallenge},
		{"kcv", one(KCV(k15)), ErrKeyLength},
		{"amount", one(PurchaseMAC2(-1)), money.ErrAmountRange},
		{"balance", one(LoadMAC1(money.MaxPurse+1, 0, 2, money.TerminalID{})), money.ErrAmountRange},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}

func TestFieldLengths(t *testing.T) {
	var term money.TerminalID
	var at money.Stamp
	get := func(b []byte, err error) int { return len(b) }
	for name, n := range map[string][2]int{
		"load MAC1":      {get(LoadMAC1(0, 0, 0, term)), 15},
		"load MAC2":      {get(LoadMAC2(0, 0, term, at)), 18},
		"load TAC":       {get(LoadTAC(0, 0, 0, 0, term, at)), 24},
		"purchase MAC1":  {get(PurchaseMAC1(0, 0, term, at)), 18},
		"purchase MAC2":  {get(PurchaseMAC2(0)), 4},
		"purchase TAC":   {get(PurchaseTAC(0, 0, term, 0, at)), 22},
		"overdraft MAC1": {get(OverdraftMAC1(0, Limit{}, term)), 14},
		"overdraft MAC2": {len(OverdraftMAC2(Limit{}, term, at)), 17},
		"overdraft TAC":  {get(OverdraftTAC(0, 0, Limit{}, term, at)), 23},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d bytes, purse.md 4.6 says %d", name, n[0], n[1])
		}
	}
}

func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "key")
		if rapid.Bool().Draw(t, "16") {
			key = append(key, key...)
			key[9]++
		}
		data := rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "data")
		c, err := s.LineEncrypt(key, data)
		if err != nil {
			t.Fatal(err)
		}
		back, err := s.LineDecrypt(key, c)
		if err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%x, %v", back, err)
		}
	})
}

func TestLineDecryptRefusesBadPadding(t *testing.T) {
	key := make([]byte, 8)
	c, _ := desCipher(key)
	for _, plain := range []string{
		"0102000000000000",                      // 80 missing
		"0102800000000001",                      // not zero after it
		"0811223344556677",                      // longer than the text
		"0011223344556677" + "8000000000000000", // a whole block too many
	} {
		b := unhex(t, plain)
		for i := 0; i < len(b); i += 8 {
			c.Encrypt(b[i:], b[i:])
		}
		if got, err := s.LineDecrypt(key, b); !errors.Is(err, ErrLineData) {
			t.Errorf("%s: %x, %v", plain, got, err)
		}
	}
}

func TestMastersShowNothing(t *testing.T) {
	m := TestMasters()
	j, _ := json.Marshal(m)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "m", m)
	all := fmt.Sprintf("%v %+v %#v %s %x", m, m, m, m, m) + string(j) + log.String()
	for _, k := range m.all() {
		if strings.Contains(strings.ToUpper(all), fmt.Sprintf("%X", k)) || strings.Contains(all, fmt.Sprint(k)) {
			t.Fatalf("a key is shown: %s", all)
		}
	}
	if !m.IsTest() || (Masters{}).IsTest() || (Masters{Load: make([]byte, 16)}).IsTest() {
		t.Error("IsTest")
	}
	if !(Masters{Line: m.Purchase}).IsTest() {
		t.Error("a test key in another place is not seen")
	}
}

func loadSAMState(t *rapid.T) LoadSAMState {
	fen := rapid.Int64Range(0, int64(money.MaxFen))
	return LoadSAMState{
		SAM:       money.SAMID(rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(t, "sam")),
		Allowance: Allowance{rapid.Uint32().Draw(t, "seq"), money.Fen(fen.Draw(t, "ceiling")), rapid.Uint32().Draw(t, "count")},
		Total:     money.Fen(fen.Draw(t, "total")),
		Count:     rapid.Uint32().Draw(t, "loads"),
	}
}

// TestLoadSAMSigned: what is signed decodes to itself, and the MAC of one
// message, SAM or challenge is worth nothing for another.
func TestLoadSAMSigned(t *testing.T) {
	key := TestMasters().Allowance
	rapid.Check(t, func(t *rapid.T) {
		st := loadSAMState(t)
		ch := [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "challenge"))
		mac, err := st.MAC(s, key, ch)
		if err != nil {
			t.Fatal(err)
		}
		back, m, err := DecodeLoadSAMState(st.Signed(mac))
		if err != nil || back != st || !m.Equal(mac) {
			t.Fatalf("%+v %v", back, err)
		}
		amac, err := st.Allowance.MAC(s, key, ch, st.SAM)
		if err != nil {
			t.Fatal(err)
		}
		a, m, err := DecodeAllowance(st.Allowance.Signed(amac))
		if err != nil || a != st.Allowance || !m.Equal(amac) {
			t.Fatalf("%+v %v", a, err)
		}
		other := st.SAM
		other[9]++
		if x, _ := a.MAC(s, key, ch, other); x.Equal(amac) {
			t.Fatal("allowance of one SAM fits another")
		}
		ch[0]++
		if x, _ := a.MAC(s, key, ch, st.SAM); x.Equal(amac) {
			t.Fatal("allowance fits another challenge")
		}
		if x, _ := st.MAC(s, key, ch); x.Equal(mac) {
			t.Fatal("state fits another challenge")
		}
	})
}

func FuzzLoadSAM(f *testing.F) {
	st := LoadSAMState{Allowance: Allowance{1, 100_00, 5}, Total: 50_00, Count: 2}
	f.Add(st.Signed(MAC{1, 2, 3, 4}))
	f.Add(st.Allowance.Signed(MAC{1, 2, 3, 4}))
	l, _ := SAMLoad{Amount: 100, Type: TypeEPLoad, Factors: make([][8]byte, 2)}.Encode()
	f.Add(l)
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, m, err := DecodeLoadSAMState(b); err == nil && !bytes.Equal(st.Signed(m), b) {
			t.Error("state")
		}
		if a, m, err := DecodeAllowance(b); err == nil && !bytes.Equal(a.Signed(m), b) {
			t.Error("allowance")
		}
		if l, err := DecodeSAMLoad(b); err == nil {
			if back, err := l.Encode(); err != nil || !bytes.Equal(back, b) {
				t.Error("load", err)
			}
		}
	})
}

// BenchmarkTAC is what an intake does per purchase entry: the goal is far
// above 25,000 a second.
func BenchmarkTAC(b *testing.B) {
	m := TestMasters()
	card := money.CardNumber{9: 0x30, 5: 0x17}
	term := money.TerminalID{1, 2, 3, 4, 5, 6}
	at := money.Stamp{0x20, 0x25, 0x09, 0x01, 0x09, 0x45, 0x01}
	dtk, _ := s.Diversify(m.TAC, card.Factor())
	tac := func(key []byte) MAC {
		f, _ := PurchaseTAC(500, TypeEPPurchase, term, 7, at)
		mac, _ := s.TAC(key, f)
		return mac
	}
	b.Run("card key known", func(b *testing.B) {
		for b.Loop() {
			tac(dtk)
		}
	})
	b.Run("from master", func(b *testing.B) {
		for b.Loop() {
			k, _ := s.Diversify(m.TAC, card.Factor())
			tac(k)
		}
	})
	b.Run("TAC and MAC2 from masters", func(b *testing.B) {
		for b.Loop() {
			k, _ := s.Diversify(m.TAC, card.Factor())
			tac(k)
			dpk, _ := s.Diversify(m.Purchase, card.Factor())
			ses, _ := s.SessionKey(dpk, PurchaseSession([4]byte{1}, 3, 7))
			f, _ := PurchaseMAC2(500)
			s.TransactionMAC(ses, f)
		}
	})
}
