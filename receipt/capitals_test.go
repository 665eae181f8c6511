package receipt

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dianka/dianka/money"
)

func TestCapitals(t *testing.T) {
	for f, want := range map[money.Fen]string{
		123_45: "壹佰贰拾叁元肆角伍分",
		0:      "零元整", 1: "壹分", 10: "壹角整", 11: "壹角壹分", 50: "伍角整",
		100: "壹元整", 101: "壹元零壹分", 110: "壹元壹角整",
		10_00: "壹拾元整", 10_50: "壹拾元伍角整", 100_00: "壹佰元整", 105_00: "壹佰零伍元整", 110_00: "壹佰壹拾元整",
		// The examples of the rules themselves.
		1409_50: "壹仟肆佰零玖元伍角整", 6007_14: "陆仟零柒元壹角肆分", 1680_32: "壹仟陆佰捌拾元叁角贰分",
		107000_53: "壹拾万柒仟元伍角叁分", 16409_02: "壹万陆仟肆佰零玖元零贰分", 325_04: "叁佰贰拾伍元零肆分",
		10_0000_00: "壹拾万元整", 10_5000_00: "壹拾万伍仟元整", 10_0500_00: "壹拾万零伍佰元整", 1000_0001_00: "壹仟万零壹元整",
		1_0000_0001_00: "壹亿零壹元整", 1_0001_0000_00: "壹亿零壹万元整", 1_2000_0000_00: "壹亿贰仟万元整", 1_0000_0000_00: "壹亿元整",
		money.MaxFen: "壹佰亿元整", money.MaxPurse: "肆仟贰佰玖拾肆万玖仟陆佰柒拾贰元玖角伍分",
		-5_05: "负伍元零伍分",
	} {
		if got := Capitals(f); got != "人民币"+want {
			t.Errorf("%d: %s, want %s", f, got, want)
		}
	}
	if got := Capitals(math.MinInt64); !strings.HasPrefix(got, "人民币负玖亿") || !strings.HasSuffix(got, "捌分") {
		t.Error(got)
	}
}

// parseCapitals reads an amount as a bank clerk does: by values of digits and
// units, without knowing how it was written.
func parseCapitals(t *rapid.T, s string) money.Fen {
	s, ok := strings.CutPrefix(s, "人民币")
	if !ok {
		t.Fatal(s)
	}
	values := map[rune]int64{'零': 0, '壹': 1, '贰': 2, '叁': 3, '肆': 4, '伍': 5, '陆': 6, '柒': 7, '捌': 8, '玖': 9}
	var total, section, d int64 // fen; whole yuan below the last 亿 or 万; digit
	var high int64
	for _, r := range strings.TrimSuffix(s, "整") {
		switch r {
		case '仟':
			section, d = section+d*1000, 0
		case '佰':
			section, d = section+d*100, 0
		case '拾':
			section, d = section+d*10, 0
		case '万':
			high, section, d = high+(section+d)*1_0000, 0, 0
		case '亿':
			high, section, d = (high+section+d)*1_0000_0000, 0, 0
		case '元':
			total, high, section, d = (high+section+d)*100, 0, 0, 0
		case '角':
			total, d = total+d*10, 0
		case '分':
			total, d = total+d, 0
		default:
			v, ok := values[r]
			if !ok {
				t.Fatalf("%q in %s", r, s)
			}
			d = v
		}
	}
	return money.Fen(total)
}

func TestCapitalsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := money.Fen(rapid.OneOf(
			rapid.Int64Range(0, 100_000_00),
			rapid.Int64Range(0, int64(money.MaxFen)),
			rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]int64{0, 0, 0, 1, 9}), 1, 12), func(d []int64) (n int64) {
				for _, v := range d {
					n = n*10 + v
				}
				return n
			}), // many zeros
		).Draw(t, "fen"))
		s := Capitals(f)
		if back := parseCapitals(t, s); back != f {
			t.Fatalf("%d is written %s and read %d", f, s, back)
		}
		switch {
		case strings.Contains(s, "零零"), strings.Contains(s, "零万"), strings.Contains(s, "零亿"), strings.Contains(s, "零元") && f != 0,
			strings.HasSuffix(s, "分整"), !strings.HasSuffix(s, "分") && !strings.HasSuffix(s, "整"), strings.Contains(s, "零整"):
			t.Fatalf("%d is written %s", f, s)
		}
	})
}
