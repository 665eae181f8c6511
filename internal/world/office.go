package world

import (
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
)

// officeLine is something that head office did about money.
type officeLine struct {
	amount   money.Fen
	float    money.ShopID
	account  money.AccountNumber
	resolved bool
}

// officeLines reads what head office did from the utility's log.
func (u *utility) officeLines(f func(officeLine)) error {
	for at := uint64(0); ; {
		lines, err := u.db.Lines(u.w.ctx, at, 1000, record.KindFloat, record.KindBill, record.KindSuspense)
		if err != nil || len(lines) == 0 {
			return err
		}
		for _, l := range lines {
			at = l.ID
			rec, err := record.Decode(l)
			if err != nil {
				return err
			}
			switch r := rec.(type) {
			case *record.Float:
				f(officeLine{amount: r.Amount, float: r.Shop})
			case *record.Bill:
				f(officeLine{amount: r.Amount, account: r.Account})
			case *record.Suspense:
				err := u.db.Items(u.w.ctx, storage.ItemQuery{}, func(it ledger.Item) error {
					if it.Name == r.Item {
						f(officeLine{amount: it.Amount, account: r.Account, resolved: true})
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
	}
}

// lines reads all records of some kinds from the utility's log.
func (u *utility) lines(f func(recordLine, any), kinds ...record.Kind) error {
	for at := uint64(0); ; {
		lines, err := u.db.Lines(u.w.ctx, at, 1000, kinds...)
		if err != nil || len(lines) == 0 {
			return err
		}
		for _, l := range lines {
			at = l.ID
			rec, err := record.Decode(l)
			if err != nil {
				return err
			}
			f(l, rec)
		}
	}
}
