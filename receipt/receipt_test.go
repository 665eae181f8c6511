package receipt

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	terminal = must(money.ParseTerminalID("310100001234"))
	card     = must(money.ParseCardNumber("31010000000000004821"))
	account  = must(money.ParseAccountNumber("0100000017"))
	noon     = time.Date(2026, 11, 23, 14, 5, 9, 0, money.CST).UnixMilli()
	clerk    = journal.Actor{Kind: journal.ActorClerk, ID: 7}
	customer = journal.Actor{Kind: journal.ActorCustomer}
	facts    = CardFacts{Known: true, ValidTo: time.Date(2030, 11, 23, 0, 0, 0, 0, money.CST)}
	head     = Head{Shop: "和平路便利店", ShopID: 31010001, Terminal: terminal, Issuer: "申城供电公司", Hotline: "95598"}
)

func hash() (h journal.Hash) {
	for i := range h {
		h[i] = byte(i * 7)
	}
	return h
}

func name(seq uint64) journal.Name { return journal.Name{Terminal: terminal, Epoch: 1, Seq: seq} }

func topUp(r journal.Result) journal.Transaction {
	t := journal.Transaction{Name: name(10), Kind: journal.KindTopUp, Began: noon, Ended: noon + 900, Actor: clerk, Card: card, Amount: 50_00,
		Result: r, After: journal.NoBalance, Load: &journal.LoadIntent{Amount: 50_00, Tendered: 100_00, Authority: journal.AuthorityHost}}
	if r == journal.Done {
		t.After = 170_00
	}
	return t
}

func redemption(r journal.Result) journal.Transaction {
	t := journal.Transaction{Name: name(12), Kind: journal.KindRedemption, Began: noon, Ended: noon + 700, Actor: customer, Card: card, Account: account,
		Amount: 123_45, Result: r, After: journal.NoBalance, Purchase: &journal.PurchaseIntent{Seen: journal.AccountOnline, Online: true}}
	if r == journal.Done {
		t.After = 46_55
	}
	return t
}

func slip(t journal.Transaction, change ...func(*Slip)) Slip {
	s := Slip{Head: head, Transaction: t, Hash: hash(), Card: facts}
	for _, c := range change {
		c(&s)
	}
	return s
}

// samples are one slip of every kind.
func samples() map[string]func(lang string) Doc {
	of := func(t journal.Transaction, change ...func(*Slip)) func(string) Doc {
		return func(lang string) Doc {
			return Of(slip(t, append(change, func(s *Slip) { s.Lang = lang })...))
		}
	}
	with := func(t journal.Transaction, c func(*journal.Transaction)) journal.Transaction { c(&t); return t }
	sale := journal.Transaction{Name: name(14), Kind: journal.KindSale, Began: noon, Ended: noon, Actor: clerk, Card: card, Amount: 20_00, Result: journal.Done,
		After: journal.NoBalance, Sale: &journal.CardSale{Deposit: 20_00}}
	first := func(r journal.Result) func(*Slip) {
		return func(s *Slip) { c := topUp(r); c.Name, c.Parent = name(16), name(14).Ref(); s.Child = &c }
	}
	void := journal.Transaction{Name: name(18), Kind: journal.KindVoid, Began: noon, Ended: noon, Actor: clerk, Card: card, Amount: 50_00, Parent: name(10).Ref(),
		Result: journal.Done, After: journal.NoBalance, VoidAnswer: &journal.VoidAnswer{Agreed: true}}
	debit := func(s *Slip) {
		c := journal.Transaction{Name: name(20), Kind: journal.KindVoidDebit, Card: card, Amount: 50_00, Result: journal.Done, After: 120_00, Purchase: &journal.PurchaseIntent{Online: true}}
		s.Child = &c
	}
	emptied := func(r journal.Result) journal.Transaction {
		t := journal.Transaction{Name: name(28), Kind: journal.KindEmptied, Began: noon, Ended: noon + 800, Actor: clerk, Card: card, Amount: 50_00, Result: r,
			After: journal.NoBalance, Purchase: &journal.PurchaseIntent{Purpose: journal.PurposeEmpty, Online: true}}
		if r == journal.Done {
			t.After = 0
		}
		return t
	}
	bill := func(r journal.Result) journal.Transaction {
		return journal.Transaction{Name: name(22), Kind: journal.KindBill, Began: noon, Ended: noon + 800, Actor: clerk, Account: account, Amount: 80_00, Result: r,
			After: journal.NoBalance, Bill: &journal.BillIntent{Amount: 80_00, Tendered: 100_00, Seen: journal.AccountOnline}}
	}
	claim := journal.Transaction{Name: name(24), Kind: journal.KindClaim, Began: noon, Ended: noon + 800, Actor: clerk, Card: card, Amount: 50_00, Result: journal.Done,
		After: journal.NoBalance, Claim: &journal.ClaimIntent{Claim: name(10), Amount: 50_00}}
	request := func(k journal.Kind) journal.Transaction {
		return journal.Transaction{Name: name(26), Kind: k, Began: noon, Ended: noon + 800, Actor: clerk, Card: card, Result: journal.Done, After: journal.NoBalance}
	}
	report := Report{Head: head, Number: 12, Clerk: "7 陈晓", Opened: time.UnixMilli(noon).Add(-8 * time.Hour), At: time.UnixMilli(noon),
		OpeningCash: 200_00, CashIn: 1350_00, CashOut: 50_00, TopUps: 1300_00, Redemptions: 824_65, Deposits: 50_00, Voids: 50_00, Bills: 0,
		Count: 31, Unknown: 1, Unsent: 4, Claims: 20_00, Hash: hash(), Slip: name(400)}
	z := report
	counted, expected := money.Fen(1499_00), money.Fen(1500_00)
	z.Final, z.Counted, z.Expected, z.Reason = true, &counted, &expected, "找错零钱"
	z.UnsentSlips, z.AttentionSlips = []journal.Name{name(396), name(398)}, []journal.Name{name(310)}
	settlement := Settlement{Head: head, Number: "S-310100001234-1-12", Shift: 12, Clerk: "7 陈晓", Opened: time.UnixMilli(noon).Add(-8 * time.Hour), Closed: time.UnixMilli(noon),
		TopUps: 1350_00, Bills: 80_00, Deposits: 50_00, Voids: 50_00, Claims: 20_00, Returned: 10_00, Net: 1400_00,
		Unknown: 50_00, UnknownCount: 1, Owed: 30_00, OwedCount: 1, Unsent: 4, Hash: hash(), Slip: name(400)}
	return map[string]func(string) Doc{
		"topup-done":          of(topUp(journal.Done)),
		"topup-not-done":      of(topUp(journal.NotDone), func(s *Slip) { s.Why = "卡被拿走了。" }),
		"topup-unknown":       of(topUp(journal.Unknown)),
		"topup-returned":      of(with(topUp(journal.NotDone), func(t *journal.Transaction) { t.CashReturned = true })),
		"redemption-done":     of(redemption(journal.Done)),
		"redemption-not-done": of(redemption(journal.NotDone)),
		"redemption-unknown":  of(redemption(journal.Pending)),
		"redemption-offline-typed": of(with(redemption(journal.Done), func(t *journal.Transaction) {
			t.Purchase = &journal.PurchaseIntent{Seen: journal.AccountTyped}
		})),
		"sale":             of(sale),
		"sale-load":        of(sale, first(journal.Done)),
		"sale-unknown":     of(sale, first(journal.Unknown)),
		"sale-not-begun":   of(sale, func(s *Slip) { s.Wanted = 100_00 }),
		"void":             of(void, debit),
		"void-refused":     of(with(void, func(t *journal.Transaction) { t.Result = journal.NotDone })),
		"settled-done":     of(with(topUp(journal.Done), func(t *journal.Transaction) { t.WasUnknown, t.Ended = true, noon+3_600_000 }), func(s *Slip) { s.Settles = true }),
		"settled-not-done": of(with(topUp(journal.NotDone), func(t *journal.Transaction) { t.WasUnknown, t.Ended = true, noon+3_600_000 }), func(s *Slip) { s.Settles = true }),
		"bill-done":        of(bill(journal.Done)),
		"bill-not-done":    of(bill(journal.NotDone)),
		"bill-unknown":     of(bill(journal.Unknown)),
		"claim":            of(claim),
		"claim-load":       of(claim, first(journal.Done)),
		"block":            of(request(journal.KindBlock)),
		"replace":          of(request(journal.KindReplace)),
		"emptied-done":     of(emptied(journal.Done)),
		"emptied-unknown":  of(emptied(journal.Unknown)),
		"reprint":          of(topUp(journal.Done), func(s *Slip) { s.Copy = 2 }),
		"settlement":       func(lang string) Doc { s := settlement; s.Lang = lang; return OfSettlement(s) },
		"settlement-copy":  func(lang string) Doc { s := settlement; s.Lang, s.Copy = lang, 2; return OfSettlement(s) },
		"x":                func(lang string) Doc { r := report; r.Lang = lang; return OfShift(r) },
		"z":                func(lang string) Doc { r := z; r.Lang = lang; return OfShift(r) },
	}
}

func logo() *Logo {
	img := image.NewGray(image.Rect(0, 0, 96, 32))
	for y := range 32 {
		for x := range 96 {
			c := color.Gray{255}
			if (x/8+y/8)%2 == 0 {
				c = color.Gray{0}
			}
			img.SetGray(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return must(ReadLogo(&b, Columns58))
}

// TestGolden holds every kind of slip, in both languages and widths, to what
// a person looked at.
func TestGolden(t *testing.T) {
	for n, make := range samples() {
		for _, lang := range words.Languages {
			for w, cols := range map[string]int{"58": Columns58, "80": Columns80} {
				d := make(lang)
				if cols == Columns80 && (lang != "zh-CN" || (n != "redemption-done" && n != "z")) {
					continue // the wide paper differs in the layout only
				}
				p := Paper{Columns: cols}
				if n == "redemption-done" && cols == Columns58 {
					p.Logo, d.Lines = logo(), append([]Line{{Role: RoleLogo}}, d.Lines...)
				}
				golden(t, n+"."+lang+"."+w+".escpos", d.ESCPOS(p))
				golden(t, n+"."+lang+"."+w+".svg", d.SVG(p))
			}
		}
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", file)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not as it was (%v); look at it and run with -update", path, err)
	}
}

// TestWordsSayTheSameThings keeps both files whole, and no word without use.
func TestWordsSayTheSameThings(t *testing.T) {
	zh, en := texts()["zh-CN"], texts()["en"]
	mark := regexp.MustCompile(`\{\w+\}`)
	for k, v := range zh {
		if strings.TrimSpace(v) == "" || strings.TrimSpace(en[k]) == "" {
			t.Errorf("%s has no words in one language", k)
		}
		a, b := mark.FindAllString(v, -1), mark.FindAllString(en[k], -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
			t.Errorf("%s has the marks %v and %v", k, a, b)
		}
	}
	if len(zh) != len(en) {
		t.Errorf("%v and %v", slices.Sorted(maps.Keys(zh)), slices.Sorted(maps.Keys(en)))
	}
	for n, make := range samples() {
		for _, lang := range words.Languages {
			for _, l := range make(lang).Lines {
				for _, s := range []string{l.Text, l.Value} {
					if mark.MatchString(s) || zh[s] != "" {
						t.Errorf("%s in %s says %q", n, lang, s)
					}
				}
			}
		}
	}
}

func has(d Doc, r Role, text string) bool {
	return slices.ContainsFunc(d.Lines, func(l Line) bool {
		return l.Role == r && (strings.Contains(l.Text, text) || strings.Contains(l.Value, text))
	})
}

func value(d Doc, label string) string {
	for _, l := range d.Lines {
		if l.Role == RoleFact && l.Text == label {
			return l.Value
		}
	}
	return ""
}

// TestEverySlip holds what no slip may lack: its number, the hash, that it is
// no invoice; and that none shows a whole card or account number.
func TestEverySlip(t *testing.T) {
	for n, make := range samples() {
		for _, lang := range words.Languages {
			d := make(lang)
			all := ""
			for _, l := range d.Lines {
				all += l.Text + "|" + l.Value + "\n"
			}
			for _, want := range []string{"310100001234-1-", hash().String(), "310100001234"} {
				if !strings.Contains(all, want) {
					t.Errorf("%s in %s lacks %s", n, lang, want)
				}
			}
			for _, secret := range []string{card.String(), card.String()[4:], account.String()} {
				if strings.Contains(all, secret) {
					t.Errorf("%s in %s shows %s", n, lang, secret)
				}
			}
			if n != "x" && n != "z" && !has(d, RoleNotice, texts()[lang]["not_invoice"]) {
				t.Errorf("%s in %s could pass for an invoice", n, lang)
			}
		}
	}
}

// TestContents holds what makes one slip differ from another.
func TestContents(t *testing.T) {
	all := samples()
	zh := func(n string) Doc { return all[n]("") }
	for n, want := range map[string]map[string]string{
		"topup-done":       {"实收现金": "￥100.00", "找零": "￥50.00", "卡内余额": "￥170.00", "卡号": "****4821", "大写": "人民币伍拾元整", "经办": "营业员 7", "有效期至": "2030-11-23"},
		"topup-not-done":   {"应退现金": "￥100.00", "找零": "", "原因": "卡被拿走了。"},
		"topup-returned":   {"已退现金": "￥100.00", "应退现金": ""},
		"topup-unknown":    {"卡内余额": "", "应退现金": ""},
		"redemption-done":  {"户号": "01****0017", "大写": "人民币壹佰贰拾叁元肆角伍分", "经办": "顾客自助"},
		"sale-load":        {"押金": "￥20.00", "实收现金": "￥120.00", "找零": "￥50.00"},
		"void":             {"原充值凭条": "310100001234-1-10"},
		"settled-done":     {"原凭条号": "310100001234-1-10", "核实": "系统", "原经办": "营业员 7", "核实时间": "2026-11-23 15:05:09", "经办": ""},
		"settled-not-done": {"应退现金": "￥100.00"},
		"z":                {"差额": "-￥1.00", "差额原因": "找错零钱", "应有现金": "￥1,500.00"},
		"x":                {"应有现金": "", "清点现金": ""},
	} {
		d := zh(n)
		for label, v := range want {
			if got := value(d, label); got != v {
				t.Errorf("%s: %s is %q, want %q", n, label, got, v)
			}
		}
	}
	if d := zh("redemption-offline-typed"); !has(d, RoleMark, "脱机办理") || !has(d, RoleMark, "户号未经核对") {
		t.Error("a slip done off line to a typed account does not say so")
	}
	if d := zh("redemption-done"); has(d, RoleMark, "") {
		t.Error("an ordinary slip bears a mark")
	}
	if d := all["reprint"]("en"); !has(d, RoleMark, "补打 / REPRINT 2") {
		t.Error("a reprint is not marked")
	}
	for n := range all {
		if d := zh(n); has(d, RoleNotice, "请保存本凭条") != strings.HasSuffix(n, "-unknown") {
			t.Errorf("%s: whether the slip is to be kept is wrong", n)
		}
	}
	if d := Of(slip(redemption(journal.Unknown))); !has(d, RoleNotice, "310100001234-1-12") {
		t.Error("an unknown slip does not show its number by itself")
	}
	bare := Of(Slip{Transaction: topUp(journal.Done)})
	if value(bare, "服务热线") != "95598" || value(bare, "卡类别") != "" {
		t.Error("a slip without settings")
	}
}

// TestVerdictsLookDifferent holds that the three outcomes differ in shape, not
// by a word alone.
func TestVerdictsLookDifferent(t *testing.T) {
	seen := map[string]journal.Result{}
	for _, r := range []journal.Result{journal.Done, journal.NotDone, journal.Unknown} {
		rows := verdict(Line{Result: r}, Columns58)
		shape := rows[0].text
		if rows[1].inverse != (r == journal.Unknown) {
			t.Errorf("%d: only what is not certain is white on black", r)
		}
		if old, twice := seen[shape]; twice {
			t.Errorf("%d and %d look alike", old, r)
		}
		seen[shape] = r
	}
}

// TestLayoutFits holds that nothing is wider than the paper, whatever the
// names, and that every character of a text comes out.
func TestLayoutFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.SampledFrom([]int{Columns58, Columns80}).Draw(t, "columns")
		text := rapid.String().Draw(t, "text")
		role := rapid.SampledFrom([]Role{RoleShop, RoleTitle, RoleMark, RoleAmount, RoleFact, RoleNotice, RoleText, RoleHash}).Draw(t, "role")
		value := rapid.String().Draw(t, "value")
		var all strings.Builder
		for _, r := range layout(Doc{Lines: []Line{{Role: role, Text: text, Value: value}}}, cols) {
			w := width(r.text)
			if r.double {
				w *= 2
			}
			if w > cols && role != RoleHash {
				t.Fatalf("%q takes %d columns", r.text, w)
			}
			all.WriteString(r.text)
		}
		letters := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		want := text
		if role == RoleFact || role == RoleHash {
			want += value
		}
		if got := letters(all.String()); got != letters(clean(want)) {
			t.Fatalf("%q comes out as %q", want, got)
		}
	})
}

// TestNoCommandFromOutside holds that no text from outside reaches the printer
// as a command: the bytes with it are those without it but for text bytes.
func TestNoCommandFromOutside(t *testing.T) {
	evil := []string{"\x1b@\x1dV\x00", "\x10\x04\x01", "\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08", "a\nb\r\x00", "\x9b1m", "\u202e倒", "\xff\xfe\x1b", "\u0085\u2028"}
	control := func(b []byte) int {
		return bytes.Count(b, []byte{0x1b}) + bytes.Count(b, []byte{0x1d}) + bytes.Count(b, []byte{0x10}) + bytes.Count(b, []byte{0x1c})
	}
	plain := Of(slip(redemption(journal.NotDone), func(s *Slip) { s.Shop, s.Issuer, s.Why, s.Hotline = "x", "x", "x", "x" }))
	want := control(plain.ESCPOS(Paper{}))
	check := func(t interface{ Fatalf(string, ...any) }, text string) {
		d := Of(slip(redemption(journal.NotDone), func(s *Slip) {
			s.Shop, s.Issuer, s.Why, s.Hotline = text+"x", text+"x", text+"x", text+"x"
		}))
		b := d.ESCPOS(Paper{})
		if got := control(b); got != want {
			t.Fatalf("%q adds commands: %d, %d without it", text, got, want)
		}
		dec := xml.NewDecoder(bytes.NewReader(d.SVG(Paper{})))
		for {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q breaks the picture: %v", text, err)
			}
			if e, ok := tok.(xml.StartElement); ok && !slices.Contains([]string{"svg", "title", "g", "rect", "text", "path"}, e.Name.Local) {
				t.Fatalf("%q brings <%s> into the picture", text, e.Name.Local)
			}
		}
	}
	for _, e := range append(evil, "<script>alert(1)</script>", `" onload="x`, "]]>") {
		check(t, e)
	}
	rapid.Check(t, func(r *rapid.T) {
		check(r, rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(r, "text"))
	})
}

func TestLogo(t *testing.T) {
	if _, err := ReadLogo(strings.NewReader("GIF89a"), Columns58); !errors.Is(err, ErrLogo) {
		t.Error(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 385, 8))); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLogo(bytes.NewReader(b.Bytes()), Columns58); !errors.Is(err, ErrLogo) {
		t.Errorf("a logo wider than the paper: %v", err)
	}
	if l, err := ReadLogo(bytes.NewReader(b.Bytes()), Columns80); err != nil || !l.black(0, 0) {
		t.Errorf("a black picture: %v", err)
	}
	l := Logo{bits: []byte{0x10, 0x04, 0x10, 0x14, 0x10, 0x05, 0x10, 0x20}}
	if l.disarm(); !bytes.Equal(l.bits, []byte{0x18, 0x04, 0x18, 0x14, 0x18, 0x05, 0x10, 0x20}) {
		t.Errorf("% x", l.bits)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in   string
		w    int
		want []string
	}{
		{"", 8, []string{""}},
		{"one two three", 8, []string{"one two", "three"}},
		{"abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"一二三四五", 8, []string{"一二三四", "五"}},
		{"一二三四。五", 8, []string{"一二三", "四。五"}},
		{"abcd efgh", 4, []string{"abcd", "efgh"}},
	} {
		if got := wrap(c.in, c.w); !slices.Equal(got, c.want) {
			t.Errorf("%q in %d: %q, want %q", c.in, c.w, got, c.want)
		}
	}
}
