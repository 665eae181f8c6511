package main

import (
	"context"
	"strings"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/utilitytest"
)

// What a person reads of staff, of what is missing and of a clone.
func TestReports(t *testing.T) {
	w := utilitytest.NewWorld(t)
	x, y := w.Terminal(1), w.Terminal(2)
	card := utilitytest.NewCard(10001)
	top := w.TopUp(x, card, 100_00)
	x.Add(top, &journal.Staff{Act: journal.ActAgree, Staff: 8, Count: 1})
	x.Add(journal.Name{}, &journal.Staff{Act: journal.ActLoginFailed, Staff: 4711, Count: 8, Detail: "\x1b[2J"})
	x.Redeem(card, utilitytest.Account, 1_00)
	card.Offline++
	x.Redeem(card, utilitytest.Account, 1_00)
	y.Add(journal.Name{}, &journal.Staff{Act: journal.ActLogout, Staff: 9, Count: 1})
	w.Sync(x)
	w.Sync(y)
	var b strings.Builder
	if err := reportStaff(context.Background(), w.Service, x.ID, &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], x.ID.String()+"-1-4\t2026-03-01 09:00:00\t8\tagree\t1\t\t"+top.String()) ||
		!strings.Contains(lines[2], "\t4711\tlogin_failed\t8\t\"\\x1b[2J\"") {
		t.Errorf("%q", lines)
	}
	b.Reset()
	if err := reportStaff(context.Background(), w.Service, money.TerminalID{}, &b); err != nil || !strings.Contains(b.String(), "\t9\tlogout\t1") {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := reportMissing(context.Background(), w.Service, &b); err != nil || !strings.HasSuffix(b.String(), card.Number.String()+"\tpayments\t2\t2\n") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
