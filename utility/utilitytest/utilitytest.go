// Package utilitytest makes what the utility is tested with: terminals that
// sign chains of entries, and cards that compute MACs and TACs with package
// suite as a real card would. It shares no code with the card simulator or
// the vault, so that neither is tested against itself.
//
// It is imported by tests only.
package utilitytest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/audit"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// Profile is the firmware profile of the cards made here.
const Profile = "dianka-ep"

// Card is an EP purse with test keys, one level of diversification.
type Card struct {
	Number          money.CardNumber
	Balance         money.Fen
	Online, Offline uint16
	rnd             uint32
	purchase, load  []byte
	tac             []byte
}

// CardNumber gives the n-th test card's number.
func CardNumber(n int) money.CardNumber {
	c, err := money.ParseCardNumber(fmt.Sprintf("9%015d", n))
	if err != nil {
		panic(err)
	}
	return c
}

// NewCard makes the n-th test card, empty.
func NewCard(n int) *Card {
	s, m := suite.DES3{}, suite.TestMasters()
	c := &Card{Number: CardNumber(n), Online: 1, Offline: 1, rnd: uint32(n) << 8}
	c.purchase = must(s.Diversify(m.Purchase, c.Number.Factor()))
	c.load = must(s.Diversify(m.Load, c.Number.Factor()))
	c.tac = must(s.Diversify(m.TAC, c.Number.Factor()))
	return c
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (c *Card) random() [4]byte {
	c.rnd++
	return [4]byte(binary.BigEndian.AppendUint32(nil, c.rnd*2654435761))
}

// Clone is a second chip with the same number, keys, value and counters.
func (c *Card) Clone() *Card {
	d := *c
	d.rnd += 0x80000000
	return &d
}

// InitLoad is INITIALIZE FOR LOAD: an intent with the card's MAC1.
func (c *Card) InitLoad(t money.TerminalID, a money.Fen) journal.LoadIntent {
	in := journal.LoadIntent{Purpose: journal.PurposeTopUp, Card: c.Number, Amount: a, Tendered: a, Before: c.Balance,
		Counter: c.Online, TxType: suite.TypeEPLoad, KeyIndex: 1, Random: c.random(), Authority: journal.AuthorityHost}
	in.MAC1 = must(suite.DES3{}.TransactionMAC(c.loadSession(in), must(suite.LoadMAC1(in.Before, a, in.TxType, t))))
	return in
}

func (c *Card) loadSession(in journal.LoadIntent) []byte {
	return must(suite.DES3{}.SessionKey(c.load, suite.LoadSession(in.Random, in.Counter)))
}

// MAC2 is what a load SAM with the test keys gives.
func (c *Card) MAC2(t money.TerminalID, in journal.LoadIntent, at money.Stamp) suite.MAC {
	return must(suite.DES3{}.TransactionMAC(c.loadSession(in), must(suite.LoadMAC2(in.Amount, in.TxType, t, at))))
}

// Credit is CREDIT FOR LOAD: false when MAC2 is wrong.
func (c *Card) Credit(t money.TerminalID, in journal.LoadIntent, at money.Stamp, mac2 suite.MAC) (suite.MAC, bool) {
	if c.MAC2(t, in, at) != mac2 || in.Counter != c.Online || in.Before != c.Balance {
		return suite.MAC{}, false
	}
	c.Balance += in.Amount
	tac := must(suite.DES3{}.TAC(c.tac, must(suite.LoadTAC(c.Balance, c.Online, in.Amount, in.TxType, t, at))))
	c.Online++
	return tac, true
}

// InitPurchase is INITIALIZE FOR PURCHASE with the PSAM's answer.
func (c *Card) InitPurchase(t *Terminal, account money.AccountNumber, a money.Fen) journal.PurchaseIntent {
	t.psamSeq++
	return journal.PurchaseIntent{Purpose: journal.PurposeRedeem, Card: c.Number, Account: account, Seen: journal.AccountTyped, Amount: a,
		Before: c.Balance, Counter: c.Offline, TxType: suite.TypeEPPurchase, KeyIndex: 1, Random: c.random(), PSAM: t.PSAM,
		PSAMSeq: t.psamSeq, Stamp: money.StampOf(t.Now())}
}

// Proof computes TAC and MAC2 of a purchase without executing it.
func (c *Card) Proof(t money.TerminalID, in journal.PurchaseIntent) (tac, mac2 suite.MAC) {
	s := suite.DES3{}
	session := must(s.SessionKey(c.purchase, suite.PurchaseSession(in.Random, in.Counter, in.PSAMSeq)))
	return must(s.TAC(c.tac, must(suite.PurchaseTAC(in.Amount, in.TxType, t, in.PSAMSeq, in.Stamp)))),
		must(s.TransactionMAC(session, must(suite.PurchaseMAC2(in.Amount))))
}

// Debit is DEBIT FOR PURCHASE.
func (c *Card) Debit(t money.TerminalID, in journal.PurchaseIntent) (tac, mac2 suite.MAC) {
	tac, mac2 = c.Proof(t, in)
	c.Balance -= in.Amount
	c.Offline++
	return tac, mac2
}

// Terminal makes a signed journal.
type Terminal struct {
	ID            money.TerminalID
	Shop          money.ShopID
	PSAM, LoadSAM money.SAMID
	Epoch         uint32
	Key           ed25519.PrivateKey
	Entries       [][]byte       // of the epoch
	Hashes        []journal.Hash // Hashes[i] is before entry i
	Now           func() time.Time
	Sent          int       // entries known to be stored
	Total         money.Fen // given by the load SAM
	Count         uint32
	psamSeq       uint32
}

// Add appends an entry and gives its name.
func (t *Terminal) Add(ref journal.Name, b journal.Body) journal.Name {
	n := journal.Name{Terminal: t.ID, Epoch: t.Epoch, Seq: uint64(len(t.Entries)) + 1}
	e := journal.Entry{Name: n, Wall: t.Now().UnixMilli(), Actor: journal.System, Ref: ref.Ref(), Body: b}.Bytes()
	t.AddBytes(e)
	return n
}

// AddBytes appends whatever bytes.
func (t *Terminal) AddBytes(e []byte) {
	t.Hashes = append(t.Hashes, journal.Link(t.Hashes[len(t.Hashes)-1], e))
	t.Entries = append(t.Entries, e)
}

// Next is the name of the next entry.
func (t *Terminal) Next() journal.Name {
	return journal.Name{Terminal: t.ID, Epoch: t.Epoch, Seq: uint64(len(t.Entries)) + 1}
}

// Head is the end of the journal.
func (t *Terminal) Head() journal.Head {
	return journal.Head{Terminal: t.ID, Epoch: t.Epoch, Seq: uint64(len(t.Entries)), Hash: t.Hashes[len(t.Entries)]}
}

// Batch gives entries [from, to), counted from 0, signed.
func (t *Terminal) Batch(from, to int) wire.Batch {
	b := wire.Batch{Terminal: t.ID, Epoch: t.Epoch, From: uint64(from) + 1, Prev: t.Hashes[from], Entries: t.Entries[from:to], Head: t.Hashes[to]}
	b.Signature = b.End().Sign(t.Key)
	return b
}

// Redeem does a whole redemption, intent and outcome.
func (t *Terminal) Redeem(c *Card, account money.AccountNumber, a money.Fen) journal.Name {
	in := c.InitPurchase(t, account, a)
	n := t.Add(journal.Name{}, &in)
	tac, mac2 := c.Debit(t.ID, in)
	t.Add(n, &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, SW: 0x9000, HasTAC: true, TAC: tac, MAC2: mac2, MAC2Said: journal.MAC2Good, After: c.Balance})
	return n
}

// Skip lets the PSAM give n numbers that no entry will bear.
func (t *Terminal) Skip(n int) { t.psamSeq += uint32(n) }

// Starts appends n starts of the daemon.
func (t *Terminal) Starts(n int) {
	for range n {
		t.Add(journal.Name{}, &journal.Start{Shop: t.Shop, PSAM: t.PSAM, LoadSAM: t.LoadSAM})
	}
}

// InitSAMLoad is the intent of a load by the load SAM.
func (t *Terminal) InitSAMLoad(c *Card, a money.Fen) journal.LoadIntent {
	in := c.InitLoad(t.ID, a)
	in.Authority, in.SAM, in.SAMCount, in.Stamp = journal.AuthoritySAM, t.LoadSAM, t.Count, money.StampOf(t.Now())
	return in
}

// SAMGive is the load SAM's MAC2 of it.
func (t *Terminal) SAMGive(c *Card, in journal.LoadIntent) suite.MAC {
	t.Total += in.Amount
	t.Count++
	return c.MAC2(t.ID, in, in.Stamp)
}

// State is the load SAM's report under a challenge, which stands before it.
func (t *Terminal) State(challenge [8]byte, installed suite.Allowance) []byte {
	st := suite.LoadSAMState{SAM: t.LoadSAM, Allowance: installed, Total: t.Total, Count: t.Count}
	key := must(suite.AllowanceKey(suite.DES3{}, suite.TestMasters().Allowance, t.LoadSAM))
	return append(challenge[:], st.Signed(must(st.MAC(suite.DES3{}, key, challenge)))...)
}

// World is a utility with a shop, accounts, cards and terminals.
type World struct {
	T       testing.TB
	Path    string
	Store   storage.Storage
	Vault   *vault.Software
	Service *utility.Service
	Time    time.Time
}

// Numbers of the world.
const (
	Shop    money.ShopID        = 10000001
	Account money.AccountNumber = 1000000001 // the first of ten
	Unknown money.AccountNumber = 4000000000
)

// NewWorld makes a utility on SQLite with shop 10000001 (float 1000.00,
// ceiling 0), accounts 1000000001 to …10, and cards 1..9999 of the shop and
// 10000..99999 in customers' hands.
func NewWorld(t testing.TB) *World {
	t.Helper()
	template.once.Do(func() { template.bytes = newTemplate(t) })
	w := newWorld(t)
	w.ok(os.WriteFile(w.Path, template.bytes, 0o600))
	w.Open()
	return w
}

// template is the file of a new world: made once, it saves every test a score
// of commits.
var template struct {
	once  sync.Once
	bytes []byte
}

func newTemplate(t testing.TB) []byte {
	w := newWorld(t)
	w.Open()
	ctx := context.Background()
	w.ok(w.Service.AddShop(ctx, Shop, "corner shop", 0))
	w.ok(w.Service.PayFloat(ctx, Shop, 1000_00, "first float"))
	for i := range money.AccountNumber(10) {
		w.ok(w.Service.AddAccount(ctx, Account+i, "Z**"))
	}
	w.ok(w.Service.AddCards(ctx, CardNumber(1), CardNumber(9999), Profile, false, Shop))
	w.ok(w.Service.AddCards(ctx, CardNumber(10000), CardNumber(99999), Profile, true, 0))
	w.ok(w.Store.Close())
	b, err := os.ReadFile(w.Path)
	w.ok(err)
	return b
}

func newWorld(t testing.TB) *World {
	w := &World{T: t, Path: filepath.Join(t.TempDir(), "utility.db"), Time: time.Date(2026, 3, 1, 9, 0, 0, 0, money.CST)}
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	w.Vault = must(vault.New(suite.TestMasters(), key, profiles.Builtin()))
	t.Cleanup(func() {
		if w.Store != nil {
			w.Store.Close()
		}
	})
	return w
}

// Open opens, or opens again, the service on its file.
func (w *World) Open() {
	w.T.Helper()
	if w.Store != nil {
		w.ok(w.Store.Close())
	}
	db, err := sqlite.Open(context.Background(), w.Path)
	w.ok(err)
	w.Store = db
	w.Service, err = utility.New(utility.Config{Storage: db, Vault: w.Vault, Profiles: profiles.Builtin(), Clock: func() time.Time { return w.Time }})
	w.ok(err)
}

func (w *World) ok(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Terminal enrols the n-th terminal of the shop.
func (w *World) Terminal(n int) *Terminal {
	w.T.Helper()
	t := &Terminal{ID: money.TerminalID{0x31, 1, 0, 0, byte(n >> 8), byte(n)}, Shop: Shop, PSAM: money.SAMID{0x0A, 9: byte(n)}, LoadSAM: money.SAMID{0x0B, 9: byte(n)}}
	t.Now = func() time.Time { return w.Time }
	w.Enrol(t)
	return t
}

// Enrol begins an epoch of the terminal with a new key.
func (w *World) Enrol(t *Terminal) utility.Enrolled {
	w.T.Helper()
	ctx := context.Background()
	code, err := w.Service.NewEnrolmentCode(ctx, t.ID, t.Shop, t.PSAM, t.LoadSAM)
	w.ok(err)
	var pub ed25519.PublicKey
	pub, t.Key, err = ed25519.GenerateKey(rand.Reader)
	w.ok(err)
	e, err := w.Service.Enrol(ctx, utility.Enrolment{Code: code, RecordKey: pub, PSAM: t.PSAM, LoadSAM: t.LoadSAM, Terminal: t.ID})
	w.ok(err)
	t.Epoch, t.Entries, t.Hashes, t.Sent = e.Epoch, nil, []journal.Hash{journal.Genesis(t.ID, e.Epoch)}, 0
	return e
}

// Sync sends everything unsent, in one batch of at most 1000 after another,
// and gives the verdicts.
func (w *World) Sync(t *Terminal) []wire.Verdict {
	w.T.Helper()
	var out []wire.Verdict
	for t.Sent < len(t.Entries) {
		to := min(len(t.Entries), t.Sent+wire.MaxBatch)
		a, err := w.Service.Intake(context.Background(), t.ID, t.Batch(t.Sent, to))
		w.ok(err)
		if a.Through != uint64(to) || a.Hash != t.Hashes[to] {
			w.T.Fatalf("stored through %d, sent %d", a.Through, to)
		}
		t.Sent = to
		out = append(out, a.Verdicts...)
	}
	return out
}

// Balance gives an account's balance by name.
func (w *World) Balance(account string) money.Fen {
	w.T.Helper()
	list, err := w.Service.Balances(context.Background())
	w.ok(err)
	for _, b := range list {
		if b.Account.String() == account {
			return b.Amount
		}
	}
	return 0
}

// Audit runs the audit and fails the test when it is not clean.
func (w *World) Audit() *audit.Report {
	w.T.Helper()
	r, err := audit.Run(context.Background(), w.Store, w.Vault, profiles.Builtin())
	if err != nil {
		if r != nil {
			r.Write(w.T.Output())
		}
		w.T.Fatal(err)
	}
	return r
}

// Authorise asks for MAC2.
func (w *World) Authorise(t *Terminal, n journal.Name, in journal.LoadIntent) wire.LoadAnswer {
	w.T.Helper()
	a, err := w.Service.AuthoriseLoad(context.Background(), t.ID, wire.LoadRequest{Name: n, Intent: in})
	w.ok(err)
	return a
}

// TopUp does a whole top-up on line.
func (w *World) TopUp(t *Terminal, c *Card, a money.Fen) journal.Name {
	w.T.Helper()
	in := c.InitLoad(t.ID, a)
	n := t.Add(journal.Name{}, &in)
	ans := w.Authorise(t, n, in)
	if ans.Refused != wire.OK {
		w.T.Fatalf("refused: %s", ans.Refused)
	}
	t.Add(n, &journal.LoadAuthorised{Stamp: ans.Stamp, MAC2: ans.MAC2})
	tac, ok := c.Credit(t.ID, in, ans.Stamp, ans.MAC2)
	if !ok {
		w.T.Fatal("the card refuses MAC2")
	}
	t.Add(n, &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true, TAC: tac, After: c.Balance})
	return n
}
