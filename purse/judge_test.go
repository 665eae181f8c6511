package purse

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// The pending purchase of these tests: 5.00 of 30.00 yuan at counter 0012;
// the pending load: 100.00 on 30.00 at counter 0004.
var (
	pendingPurchase = Pending{TxType: suite.TypeEPPurchase, Amount: 500, Before: 3000, Counter: 0x0012, Terminal: terminalID, Stamp: stampA, Sent: true}
	pendingLoad     = Pending{TxType: suite.TypeEPLoad, Amount: 10000, Before: 3000, Counter: 0x0004, Terminal: terminalID, Stamp: stampA, Sent: true}
)

const (
	askProof = "805A0006 02 0013 08 = "
	mac2tac  = "580CAD42 1A567AF6 9000"
	lost     = "9406"

	foreignTerminal = "310100009999"
	foreignStamp    = "20250901120000"
)

// zero is the zero-amount INITIALIZE FOR PURCHASE and an answer.
func zero(balance money.Fen, counter uint16) string {
	return fmt.Sprintf("80500102 0B 01 00000000 310100001234 0F = %08X %04X 000000 01 00 9B2E4471 9000", int64(balance), counter)
}

func zeroLoad(balance money.Fen, counter uint16) string {
	return fmt.Sprintf("80500002 0B 01 00000000 310100001234 10 = %08X %04X 01 00 5A17C3E9 8B1F5FA7 9000", int64(balance), counter)
}

// logs answers READ RECORD from the first on; "end" is 6A83.
func logs(records ...string) string {
	var b strings.Builder
	for i, r := range records {
		if r == "end" {
			r = "6A83"
		} else if len(r) > 6 {
			r += "9000"
		}
		fmt.Fprintf(&b, "00B2%02X C4 17 = %s\n", i+1, r)
	}
	return b.String()
}

// rec is a log record; its counter is deliberately nonsense, since the
// judgement must not use it.
func rec(amount money.Fen, typ byte, terminal, stamp string) string {
	return fmt.Sprintf("BEEF 000000 %08X %02X %s %s", int64(amount), typ, terminal, stamp)
}

func unknownBefore(p Pending) Pending {
	p.Before = journal.NoBalance
	return p
}

func TestJudge(t *testing.T) {
	ours := rec(500, 6, "310100001234", "20250901094501")
	older := rec(700, 6, "310100001234", "20250831080000")
	foreign := rec(500, 6, foreignTerminal, foreignStamp)
	const U, D, N = journal.Unknown, journal.Done, journal.NotDone
	ten := func(first ...string) []string {
		for len(first) < 10 {
			first = append(first, rec(1, 2, foreignTerminal, foreignStamp))
		}
		return first
	}
	for _, c := range []struct {
		name     string
		p        Pending
		profile  func(*profiles.Card)
		script   []string
		result   journal.Result
		evidence journal.Evidence
		tac      bool
	}{
		// The rows of purse.md section 12.3, in order.
		{"proof", pendingPurchase, nil, []string{askProof + mac2tac, zero(2500, 0x13), logs(ours)}, D, journal.EvidenceProof, true},
		{"no proof, nothing moved", pendingPurchase, nil, []string{askProof + lost, zero(3000, 0x12)}, N, journal.EvidenceCounter, false},
		{"proof lost, log has it", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs(ours)}, D, journal.EvidenceLog, false},
		{"proof lost, log closed, counter and balance moved", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs("6982")}, D, journal.EvidenceCounter, false},
		{"used elsewhere since, log has it", pendingPurchase, nil, []string{askProof + lost, zero(2000, 0x14), logs(foreign, ours)}, D, journal.EvidenceLog, false},
		{"used elsewhere since, log too short", pendingPurchase, nil, append([]string{askProof + lost, zero(2000, 0x1F)}, logs(ten()...)), U, 0, false},
		{"balance of neither", pendingPurchase, nil, []string{askProof + lost, zero(1234, 0x13), logs(older, "end")}, U, 0, false},
		{"no proofs on this card, nothing moved", pendingPurchase, nil, []string{askProof + "6D00", zero(3000, 0x12)}, N, journal.EvidenceCounter, false},
		{"no proofs on this card, log has it", pendingPurchase, nil, []string{askProof + "6D00", zero(2500, 0x13), logs(ours)}, D, journal.EvidenceLog, false},

		// The counter was used at another terminal: its proof is not ours.
		{"proof of another terminal's purchase", pendingPurchase, nil, []string{askProof + mac2tac, zero(2500, 0x13), logs(foreign)}, N, journal.EvidenceLog, false},
		{"no proof, another terminal's purchase of the same amount", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs(foreign)}, N, journal.EvidenceLog, false},
		{"two at other terminals, one load between", pendingPurchase, nil, []string{askProof + lost, zero(2300, 0x14), logs(rec(700, 6, foreignTerminal, foreignStamp), rec(500, 2, foreignTerminal, foreignStamp), foreign)}, N, journal.EvidenceLog, false},
		{"same terminal and amount, another time: may be ours", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs(rec(500, 6, "310100001234", foreignStamp), "end")}, U, 0, false},
		{"proof of a purchase of the same amount in the same second elsewhere", pendingPurchase, nil, []string{askProof + mac2tac, zero(2500, 0x13), logs(rec(500, 6, foreignTerminal, "20250901094501"), "end")}, U, 0, true},
		{"proof, done, loaded elsewhere since", pendingPurchase, nil, []string{askProof + mac2tac, zero(12500, 0x13), logs(rec(10000, 2, foreignTerminal, foreignStamp), ours)}, D, journal.EvidenceProof, true},
		{"not done, loaded elsewhere since", pendingPurchase, nil, []string{askProof + lost, zero(13000, 0x12), logs(rec(10000, 2, foreignTerminal, foreignStamp))}, N, journal.EvidenceLog, false},
		{"not done, balance moved without a reason", pendingPurchase, nil, []string{askProof + lost, zero(13000, 0x12), logs(older)}, U, 0, false},
		{"an unknown type in the log spoils the account", pendingPurchase, nil, []string{askProof + lost, zero(13000, 0x12), logs(rec(1, 0x91, foreignTerminal, foreignStamp), rec(10000, 2, foreignTerminal, foreignStamp), "end")}, U, 0, false},
		{"records of the card's other purse do not count", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs(rec(500, 5, foreignTerminal, foreignStamp), ours)}, D, journal.EvidenceLog, false},

		// A card that contradicts itself.
		{"proof, but the counter has not moved", pendingPurchase, nil, []string{askProof + mac2tac, zero(3000, 0x12)}, U, 0, true},
		{"proof, but the balance is of neither and the log closed", pendingPurchase, nil, []string{askProof + mac2tac, zero(1234, 0x13), logs("6982")}, U, 0, true},
		{"counter ran backwards", pendingPurchase, nil, append([]string{askProof + lost, zero(2500, 0x11)}, logs(ten()...)), U, 0, false},
		{"proof, but the counter ran backwards", pendingPurchase, nil, append([]string{askProof + mac2tac, zero(2500, 0x11)}, logs(ten()...)), U, 0, true},
		{"counter wrapped", func() Pending { p := pendingPurchase; p.Counter = 0xFFFF; return p }(), nil,
			[]string{"805A0006 02 0000 08 = 9406", zero(2500, 0), logs("6982")}, D, journal.EvidenceCounter, false},
		{"proof of zeros is none", pendingPurchase, nil, []string{askProof + "0000000000000000 9000", zero(3000, 0x12)}, N, journal.EvidenceCounter, false},

		{"proof, log closed, balance as expected", pendingPurchase, nil, []string{askProof + mac2tac, zero(2500, 0x13), logs("6982")}, D, journal.EvidenceProof, true},
		{"proof that may be another terminal's, log unreadable just now", pendingPurchase, nil, []string{askProof + mac2tac, zero(2500, 0x13), logs("6581")}, U, 0, true},
		{"no proof, log unreadable just now", pendingPurchase, nil, []string{askProof + lost, zero(2500, 0x13), logs("6F00")}, U, 0, false},
		{"proof, log unreadable from the second record on", pendingPurchase, nil, []string{askProof + mac2tac, zero(2000, 0x14), logs(foreign, "6581")}, U, 0, true},
		{"proof in the other order", pendingPurchase, func(p *profiles.Card) { p.ProofTACFirst = true }, []string{askProof + "1A567AF6 580CAD42 9000", zero(2500, 0x13), logs(ours)}, D, journal.EvidenceProof, true},
		{"unified counter, a load since", pendingPurchase, func(p *profiles.Card) { p.UnifiedCounters = true }, []string{askProof + lost, zero(12500, 0x14), logs(rec(10000, 2, foreignTerminal, foreignStamp), ours)}, D, journal.EvidenceLog, false},
		{"unified counter, a load and a purchase elsewhere", pendingPurchase, func(p *profiles.Card) { p.UnifiedCounters = true }, []string{askProof + lost, zero(12500, 0x14), logs(rec(10000, 2, foreignTerminal, foreignStamp), foreign)}, N, journal.EvidenceLog, false},
		{"counter at its end", func() Pending { p := pendingPurchase; p.Counter = 0xFFFE; return p }(), nil,
			[]string{"805A0006 02 FFFF 08 = " + mac2tac, "80500102 0B 01 00000000 310100001234 0F = 9402", "805C0002 04 = 000009C4 9000", logs(ours)}, D, journal.EvidenceProof, true},

		{"not sent", func() Pending { p := pendingPurchase; p.Sent = false; return p }(), nil, nil, N, journal.EvidenceNotSent, false},
		{"balance before not known, nothing moved", unknownBefore(pendingPurchase), nil,
			[]string{askProof + lost, zero(3000, 0x12)}, N, journal.EvidenceCounter, false},
		{"balance before not known, moved", func() Pending { p := pendingPurchase; p.Before = journal.NoBalance; p.Stamp = money.Stamp{}; return p }(), nil,
			[]string{askProof + mac2tac, zero(2500, 0x13), logs(ours, "end")}, U, 0, true},

		{"balance before not known, as if expected", unknownBefore(pendingLoad), nil, []string{"805A0002 02 0005 08 = 9406", zeroLoad(9999, 5), logs("6982")}, U, 0, false},
		{"balance before not known, as if accounted for", unknownBefore(pendingLoad), nil, []string{"805A0002 02 0005 08 = 9406", zeroLoad(9999, 5), logs(rec(10000, 2, foreignTerminal, foreignStamp), "end")}, U, 0, false},
		{"load done", pendingLoad, nil, []string{"805A0002 02 0005 08 = 00000000 B038A41C 9000", zeroLoad(13000, 5), logs(rec(10000, 2, "310100001234", "20250901094501"))}, D, journal.EvidenceProof, true},
		{"load not done", pendingLoad, nil, []string{"805A0002 02 0005 08 = 9406", zeroLoad(3000, 4)}, N, journal.EvidenceCounter, false},
		{"load not done, spent elsewhere since", pendingLoad, nil, []string{"805A0002 02 0005 08 = 9406", zeroLoad(2500, 4), logs(foreign)}, N, journal.EvidenceLog, false},
		{"load, PIN wanted for the counter, nothing moved", pendingLoad, nil,
			[]string{"805A0002 02 0005 08 = 9406", "80500002 0B 01 00000000 310100001234 10 = 6982", "805C0002 04 = 00000BB8 9000", logs(older, "end")}, N, journal.EvidenceLog, false},
		{"load, PIN wanted, proofs unsupported", pendingLoad, nil,
			[]string{"805A0002 02 0005 08 = 6D00", "80500002 0B 01 00000000 310100001234 10 = 6982", "805C0002 04 = 00000BB8 9000", logs(older, "end")}, U, 0, false},
		{"load, PIN wanted, balance moved", pendingLoad, nil,
			[]string{"805A0002 02 0005 08 = 9406", "80500002 0B 01 00000000 310100001234 10 = 6982", "805C0002 04 = 00000BB9 9000", logs(older, "end")}, U, 0, false},
		{"load, PIN wanted, log has it", pendingLoad, nil,
			[]string{"805A0002 02 0005 08 = 9406", "80500002 0B 01 00000000 310100001234 10 = 6982", "805C0002 04 = 000032C8 9000", logs(rec(10000, 2, "310100001234", "20250901094501"))}, D, journal.EvidenceLog, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ep()
			if c.profile != nil {
				c.profile(&p)
			}
			a := selected(t, p, c.script...)
			j, err := a.Judge(background, c.p)
			if err != nil {
				t.Fatal(err)
			}
			if j.Result != c.result || j.Evidence != c.evidence || j.HasTAC != c.tac || j.Note == "" {
				t.Errorf("got %+v", j)
			}
			if c.tac && c.p.TxType == suite.TypeEPPurchase && (j.TAC != suite.MAC(unhex(t, "1A567AF6")) || j.MAC2 != suite.MAC(unhex(t, "580CAD42"))) {
				t.Errorf("TAC %X MAC2 %X", j.TAC, j.MAC2)
			}
			if !c.tac && (j.TAC != suite.MAC{} || j.MAC2 != suite.MAC{}) {
				t.Error("a proof that is not ours came along")
			}
		})
	}
}

// TestJudgeCardGone: nothing is concluded from a card that stops answering,
// wherever it stops.
func TestJudgeCardGone(t *testing.T) {
	full := []string{askProof + lost, zero(2000, 0x14), strings.TrimSpace(logs(rec(500, 6, foreignTerminal, foreignStamp))), "00B202C417 = 6A83"}
	for i := range full {
		lines := append([]string(nil), full[:i+1]...)
		cmd, _, _ := strings.Cut(lines[i], "=")
		lines[i] = cmd + "= -"
		j, err := selected(t, ep(), lines...).Judge(background, pendingPurchase)
		if !errors.As(err, new(transportError)) || j.Result != journal.Unknown {
			t.Errorf("gone at %d: %+v, %v", i, j, err)
		}
	}
}

func TestJudgeType(t *testing.T) {
	for _, typ := range []byte{0, suite.TypeEDLoad, suite.TypeEDPurchase, suite.TypeEPCompound} {
		p := pendingPurchase
		p.TxType = typ
		if j, err := selected(t, ep()).Judge(background, p); !errors.Is(err, ErrType) || j.Result != journal.Unknown {
			t.Errorf("%02X: %+v, %v", typ, j, err)
		}
	}
}
