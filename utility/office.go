package utility

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base32"
	"fmt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/wire"
)

// Enrolment is what a terminal shows to become one of ours.
type Enrolment struct {
	Code          string // one-use, from NewEnrolmentCode
	RecordKey     ed25519.PublicKey
	PSAM, LoadSAM money.SAMID // that it found in its readers; zero for none
	Terminal      money.TerminalID
}

// Enrolled is what it becomes. After the first epoch, Prev* is the head of
// the epoch before, as the utility holds it, for the first entry (Start).
type Enrolled struct {
	Terminal  money.TerminalID
	Shop      money.ShopID
	Epoch     uint32
	PrevEpoch uint32
	PrevSeq   uint64
	PrevHash  journal.Hash
}

// Enrol uses a code up and begins an epoch of the terminal, whose entries are
// then signed with RecordKey. Entries of earlier epochs are still taken under
// their own keys. It fails with ErrCode.
func (s *Service) Enrol(ctx context.Context, e Enrolment) (Enrolled, error) {
	var out Enrolled
	if len(e.RecordKey) != ed25519.PublicKeySize {
		return out, fmt.Errorf("%w: not an Ed25519 key", ErrInput)
	}
	err := s.locked(ctx, func() error {
		h := record.HashCode(e.Code)
		c, ok := s.master.Codes[h]
		fits := func(bound, found money.SAMID) bool { return bound.IsZero() || bound == found }
		if !ok || c.Terminal != e.Terminal || !fits(c.PSAM, e.PSAM) || !fits(c.LoadSAM, e.LoadSAM) {
			return ErrCode
		}
		r := record.Enrolled{Terminal: c.Terminal, Shop: c.Shop, Epoch: 1, Key: e.RecordKey, PSAM: e.PSAM, LoadSAM: e.LoadSAM, CodeHash: h}
		if t := s.master.Terminals[c.Terminal]; t != nil {
			head := s.head(c.Terminal, t.Current)
			r.Epoch, r.PrevEpoch, r.PrevSeq, r.PrevHash = t.Current+1, t.Current, head.Seq, head.Hash
		}
		if err := s.write(ctx, record.KindEnrolled, &r); err != nil {
			return err
		}
		out = Enrolled{r.Terminal, r.Shop, r.Epoch, r.PrevEpoch, r.PrevSeq, r.PrevHash}
		return nil
	})
	return out, err
}

// NewEnrolmentCode makes a one-use code for a terminal of a shop with its
// SAMs; a zero SAM number accepts any. The code is not stored, only its hash.
func (s *Service) NewEnrolmentCode(ctx context.Context, terminal money.TerminalID, shop money.ShopID, psam, loadSAM money.SAMID) (string, error) {
	b := make([]byte, 15) // 120 bits: not to be guessed at any rate
	rand.Read(b)          // crypto/rand never fails
	code := base32.StdEncoding.EncodeToString(b)
	return code, s.locked(ctx, func() error {
		if _, ok := s.master.Shops[shop]; !ok || terminal.IsZero() {
			return fmt.Errorf("%w: shop %s is unknown, or no terminal", ErrInput, shop)
		}
		return s.write(ctx, record.KindCode, &record.Code{Hash: record.HashCode(code), Terminal: terminal, Shop: shop, PSAM: psam, LoadSAM: loadSAM})
	})
}

// AddShop adds a shop, or changes its name and the ceiling: how far its float
// may go below zero.
func (s *Service) AddShop(ctx context.Context, id money.ShopID, name string, ceiling money.Fen) error {
	if id == 0 || id > 99_999_999 || ceiling < 0 || ceiling > money.MaxFen || len(name) > 128 {
		return fmt.Errorf("%w: shop number, name or ceiling", ErrInput)
	}
	return s.locked(ctx, func() error {
		return s.write(ctx, record.KindShop, &record.Shop{Shop: id, Name: name, Ceiling: ceiling})
	})
}

func goodAmount(a money.Fen, reference string) error {
	if a == 0 || a > money.MaxFen || a < -money.MaxFen || len(reference) > 128 {
		return fmt.Errorf("%w: amount or reference", ErrInput)
	}
	return nil
}

// PayFloat books float that a shop paid in at the bank (+) or took out (−).
func (s *Service) PayFloat(ctx context.Context, shop money.ShopID, a money.Fen, reference string) error {
	return s.payShop(ctx, record.KindFloat, shop, a, reference)
}

// PayCommission books a shop's commission into its float.
func (s *Service) PayCommission(ctx context.Context, shop money.ShopID, a money.Fen, reference string) error {
	return s.payShop(ctx, record.KindCommission, shop, a, reference)
}

func (s *Service) payShop(ctx context.Context, kind record.Kind, shop money.ShopID, a money.Fen, reference string) error {
	if err := goodAmount(a, reference); err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		if _, ok := s.master.Shops[shop]; !ok {
			return fmt.Errorf("%w: shop %s is unknown", ErrInput, shop)
		}
		return s.write(ctx, kind, &record.Float{No: s.master.Number + 1, Shop: shop, Amount: a, Reference: reference})
	})
}

// AddAccount opens an electricity account or changes its owner's masked name.
func (s *Service) AddAccount(ctx context.Context, n money.AccountNumber, owner string) error {
	if n == 0 || n > 9_999_999_999 || len(owner) > 64 {
		return fmt.Errorf("%w: account number or owner", ErrInput)
	}
	return s.locked(ctx, func() error {
		return s.write(ctx, record.KindAccount, &record.Account{Account: n, Owner: owner})
	})
}

func (s *Service) knownAccount(ctx context.Context, n money.AccountNumber) error {
	have, err := s.store.Fetch(ctx, storage.Want{Accounts: []money.AccountNumber{n}})
	if err != nil {
		return err
	}
	if _, ok := have.Accounts[n]; !ok {
		return fmt.Errorf("%w: account %s is unknown", ErrInput, n)
	}
	return nil
}

// Bill books what a customer owes; a negative amount takes it back.
func (s *Service) Bill(ctx context.Context, n money.AccountNumber, a money.Fen, reference string) error {
	if err := goodAmount(a, reference); err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		if err := s.knownAccount(ctx, n); err != nil {
			return err
		}
		return s.write(ctx, record.KindBill, &record.Bill{No: s.master.Number + 1, Account: n, Amount: a, Reference: reference})
	})
}

// AddCards makes a run of cards known, both ends included. The shop may sell
// them; with shop 0 they are in customers' hands already, active and empty.
func (s *Service) AddCards(ctx context.Context, from, to money.CardNumber, profile string, named bool, shop money.ShopID) error {
	if from.IsZero() || string(from[:]) > string(to[:]) {
		return fmt.Errorf("%w: cards from %s to %s", ErrInput, from, to)
	}
	if err := s.vault.CheckProfile(profile); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	return s.locked(ctx, func() error {
		if _, ok := s.master.Shops[shop]; !ok && shop != 0 {
			return fmt.Errorf("%w: shop %s is unknown", ErrInput, shop)
		}
		if s.master.Overlaps(from, to) {
			return fmt.Errorf("%w: some of the cards from %s to %s are known already", ErrInput, from, to)
		}
		return s.write(ctx, record.KindCards, &record.Cards{From: from, To: to, Profile: profile, Named: named, Shop: shop})
	})
}

// BlockCard puts a card on the hotlist. Redemptions that terminals accepted
// before the block reached them stand.
func (s *Service) BlockCard(ctx context.Context, n money.CardNumber) error {
	return s.blockCard(ctx, n, true)
}

// UnblockCard takes a card from the hotlist. A request to replace it that was
// not carried out ends with that: the card is in use again, and what its chain
// shows from then on is not what that request was made on. One whose value was
// carried over stays blocked for ever, since its chip holds that value still.
func (s *Service) UnblockCard(ctx context.Context, n money.CardNumber) error {
	return s.blockCard(ctx, n, false)
}

func (s *Service) blockCard(ctx context.Context, n money.CardNumber, blocked bool) error {
	return s.locked(ctx, func() error {
		if _, ok := s.master.Range(n); !ok {
			return fmt.Errorf("%w: card %s is unknown", ErrInput, n)
		}
		if s.master.Blocked[n] == blocked {
			return nil
		}
		if !blocked {
			switch to, err := s.carried(ctx, n); {
			case err != nil:
				return err
			case !to.IsZero():
				return fmt.Errorf("%w: the value of card %s was carried over to claim %s", ErrInput, n, to)
			}
		}
		return s.write(ctx, record.KindBlockCard, &record.BlockCard{Card: n, Blocked: blocked})
	})
}

// SetAllowancePolicy says how much unspent allowance, in fen and in loads,
// the load SAM of a terminal may hold.
func (s *Service) SetAllowancePolicy(ctx context.Context, t money.TerminalID, a money.Fen, count uint32) error {
	if t.IsZero() || a < 0 || a > money.MaxFen {
		return fmt.Errorf("%w: terminal or amount", ErrInput)
	}
	return s.locked(ctx, func() error {
		return s.write(ctx, record.KindPolicy, &record.Policy{Terminal: t, Amount: a, Count: count})
	})
}

// SetLimits sets the limits of one terminal, or with the zero terminal those
// of all that have none of their own.
func (s *Service) SetLimits(ctx context.Context, t money.TerminalID, l wire.Limits) error {
	return s.locked(ctx, func() error {
		return s.write(ctx, record.KindLimits, &record.Limits{Terminal: t, Limits: l})
	})
}

// BlockTerminal withdraws a terminal's selling right or gives it back. Its
// entries are taken either way.
func (s *Service) BlockTerminal(ctx context.Context, t money.TerminalID, blocked bool) error {
	return s.locked(ctx, func() error {
		if s.master.Terminals[t] == nil {
			return fmt.Errorf("%w: terminal %s is unknown", ErrInput, t)
		}
		return s.write(ctx, record.KindBlockTerminal, &record.BlockTerminal{Terminal: t, Blocked: blocked})
	})
}

// ResolveSuspense names the account of a redemption that suspense holds.
func (s *Service) ResolveSuspense(ctx context.Context, item journal.Name, n money.AccountNumber) error {
	return s.locked(ctx, func() error {
		if err := s.knownAccount(ctx, n); err != nil {
			return err
		}
		have, err := s.store.Fetch(ctx, storage.Want{Items: []journal.Name{item}})
		if err != nil {
			return err
		}
		if it, ok := have.Items[item]; !ok || it.State != ledger.Done || !it.Nameless {
			return fmt.Errorf("%w: suspense does not hold %s", ErrInput, item)
		}
		return s.write(ctx, record.KindSuspense, &record.Suspense{No: s.master.Number + 1, Item: item, Account: n})
	})
}
