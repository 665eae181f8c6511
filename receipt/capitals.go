package receipt

import (
	"strings"

	"github.com/dianka/dianka/money"
)

const (
	digits = "零壹贰叁肆伍陆柒捌玖"
)

func digit(d int64) string { return string([]rune(digits)[d]) }

// Capitals writes an amount in Chinese capitals as vouchers want it:
// 人民币壹佰贰拾叁元肆角伍分. It follows the rules for filling in bills
// (支付结算办法, annex 正确填写票据和结算凭证的基本规定): one 零 for any run
// of zeros inside, 零 after 元 when there are fen but no jiao, 整 after a whole
// yuan or jiao and never after fen. No 零 is written between 元 and a jiao
// where the rules leave it free. A negative amount begins with 负.
func Capitals(f money.Fen) string {
	var b strings.Builder
	b.WriteString("人民币")
	u := uint64(f)
	if f < 0 {
		b.WriteString("负")
		u = -u
	}
	yuan, jiao, fen := int64(u/100), int64(u/10%10), int64(u%10)
	if yuan > 0 {
		b.WriteString(whole(yuan) + "元")
	}
	switch {
	case jiao == 0 && fen == 0 && yuan == 0:
		b.WriteString("零元整")
	case jiao == 0 && fen == 0:
		b.WriteString("整")
	case fen == 0:
		b.WriteString(digit(jiao) + "角整")
	case jiao == 0 && yuan > 0:
		b.WriteString("零" + digit(fen) + "分")
	case jiao == 0:
		b.WriteString(digit(fen) + "分")
	default:
		b.WriteString(digit(jiao) + "角" + digit(fen) + "分")
	}
	return b.String()
}

// whole writes a whole number above 0.
func whole(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1_0000_0000, "亿"}, {1_0000, "万"}} {
		if n >= unit.size {
			s, rest := whole(n/unit.size)+unit.name, n%unit.size
			switch {
			case rest == 0:
				return s
			case rest < unit.size/10: // its highest place is empty
				return s + "零" + whole(rest)
			}
			return s + whole(rest)
		}
	}
	s, zero := "", false
	for _, place := range []struct {
		size int64
		name string
	}{{1000, "仟"}, {100, "佰"}, {10, "拾"}, {1, ""}} {
		d := n / place.size % 10
		if d == 0 {
			zero = s != ""
			continue
		}
		if zero {
			s += "零"
		}
		s, zero = s+digit(d)+place.name, false
	}
	return s
}
