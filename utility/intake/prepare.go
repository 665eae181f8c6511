// Package intake judges the lines of the log one after another: it verifies
// what the entries of a terminal claim, asks the ledger which postings follow,
// and gives the change that the storage then makes in one piece. What it can't
// accept it puts in quarantine with a reason and goes on.
//
// It may import floor 0 and the utility's ledger, record, master, vault and
// storage. It never writes to the storage itself, and the audit shares none
// of it.
package intake

import (
	"errors"
	"runtime"
	"sync"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/master"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// Judge judges. Its fields must be set; Master must not change during a call.
type Judge struct {
	Store    storage.Storage
	Vault    vault.Vault
	Profiles *profiles.Set
	Master   *master.Data
}

// proofs are what the vault said of a purchase's cryptograms.
type proofs struct {
	checked   bool
	tac, mac2 bool
	missing   bool // no MAC2 came with the transaction's proof
	err       error
}

// Prepared is a batch whose entries are read and whose cryptograms, as far as
// the batch itself allows, are verified. It is a pure function of the bytes
// and the cards' profiles, so batches of different terminals can be prepared
// at once.
type Prepared struct {
	batch   *wire.Batch
	entries []journal.Entry
	reasons []string // why an entry can't be read; "" when it can
	proofs  []proofs
}

// Prepare reads and verifies a batch, on all processors.
func (j *Judge) Prepare(b *wire.Batch) *Prepared {
	n := len(b.Entries)
	p := &Prepared{batch: b, entries: make([]journal.Entry, n), reasons: make([]string, n), proofs: make([]proofs, n)}
	parallel(n, func(i int) {
		e, err := journal.Parse(b.Entries[i])
		_, unknown := e.Body.(*journal.Unrecognised)
		switch {
		case errors.Is(err, journal.ErrVersion), err == nil && unknown:
			p.reasons[i] = record.HeldUnknownType
		case err != nil:
			p.reasons[i] = record.HeldMalformed
		case e.Name != journal.Name{Terminal: b.Terminal, Epoch: b.Epoch, Seq: b.From + uint64(i)}:
			p.reasons[i] = record.HeldName
		}
		p.entries[i] = e
	})
	parallel(n, func(i int) {
		out, ok := p.entries[i].Body.(*journal.PurchaseOutcome)
		if !ok || p.reasons[i] != "" || !out.HasTAC {
			return
		}
		if k, ok := p.at(p.entries[i].Ref); ok {
			if in, ok := p.entries[k].Body.(*journal.PurchaseIntent); ok && p.reasons[k] == "" {
				p.proofs[i] = j.purchase(b.Terminal, in, out.TAC, out.MAC2, out.Evidence == journal.EvidenceProof)
			}
		}
	})
	return p
}

// at finds an entry of the batch.
func (p *Prepared) at(r journal.Ref) (int, bool) {
	if r.Epoch != p.batch.Epoch || r.Seq < p.batch.From || r.Seq >= p.batch.From+uint64(len(p.entries)) {
		return 0, false
	}
	return int(r.Seq - p.batch.From), true
}

func parallel(n int, f func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n/64+1)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}

// card gives a card as the vault knows it; false when none was issued.
func (j *Judge) card(n money.CardNumber) (vault.Card, bool) {
	r, ok := j.Master.Range(n)
	return vault.Card{Number: n, Profile: r.Profile}, ok
}

// purchase checks TAC and MAC2 of a purchase. With proved they come from GET
// TRANSACTION PROVE, whose order differs between cards (purse.md section
// 7.10): both are tried.
func (j *Judge) purchase(at money.TerminalID, in *journal.PurchaseIntent, tac, mac2 suite.MAC, proved bool) proofs {
	c, ok := j.card(in.Card)
	if !ok {
		return proofs{}
	}
	q := vault.Purchase{
		Terminal: at, TxType: in.TxType, Amount: in.Amount, Counter: in.Counter, Random: in.Random,
		PSAMSeq: in.PSAMSeq, Stamp: in.Stamp, TAC: tac, MAC2: mac2,
	}
	p := proofs{checked: true}
	p.tac, p.mac2, p.err = j.Vault.VerifyPurchase(c, q)
	if proved && !p.tac && p.err == nil {
		q.TAC, q.MAC2 = mac2, tac
		p.tac, p.mac2, p.err = j.Vault.VerifyPurchase(c, q)
	}
	p.missing = proved && q.MAC2 == suite.MAC{}
	return p
}

// txType is the transaction type that a card's profile allows (purse.md
// section 2).
func (j *Judge) txType(c vault.Card, load bool) uint8 {
	p, _ := j.Profiles.Card(c.Profile)
	switch {
	case p.ED && load:
		return suite.TypeEDLoad
	case p.ED:
		return suite.TypeEDPurchase
	case load:
		return suite.TypeEPLoad
	}
	return suite.TypeEPPurchase
}
