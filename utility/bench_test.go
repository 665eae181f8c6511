package utility_test

import (
	"context"
	"testing"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// BenchmarkIntake measures records per second: redemptions, each an intent
// and an outcome, with chain, signature, TAC and MAC2 verified, posted to the
// ledger on SQLite (WAL, FULL) in batches of 1000. The goal is 25,000.
func BenchmarkIntake(b *testing.B) {
	w := utilitytest.NewWorld(b)
	t := w.Terminal(1)
	const cards = 5000
	deck := make([]*utilitytest.Card, cards)
	for i := range deck {
		deck[i] = utilitytest.NewCard(10000 + i)
		deck[i].Balance = money.MaxPurse / 2
	}
	batches := make([]wire.Batch, b.N)
	for i := range batches {
		for j := range wire.MaxBatch / 2 {
			t.Redeem(deck[(i*wire.MaxBatch/2+j)%cards], utilitytest.Account+money.AccountNumber(j%10), 1_23)
		}
		batches[i] = t.Batch(i*wire.MaxBatch, (i+1)*wire.MaxBatch)
	}
	b.ResetTimer()
	start := time.Now()
	for i := range batches {
		a, err := w.Service.Intake(context.Background(), t.ID, batches[i])
		if err != nil || len(a.Verdicts) > 0 {
			b.Fatal(err, a.Verdicts)
		}
	}
	b.ReportMetric(float64(b.N*wire.MaxBatch)/time.Since(start).Seconds(), "records/s")
}
