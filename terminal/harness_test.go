package terminal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/wire"
)

var (
	testTerminal = money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	testPSAM     = money.SAMID{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	clerk        = journal.Actor{Kind: journal.ActorClerk, ID: 7}
	customer     = journal.Actor{Kind: journal.ActorCustomer}
	account      = money.AccountNumber(3100200300)
)

// world is one terminal with simulated cards and a host that the test plays.
type world struct {
	*testing.T
	ctx  context.Context
	dir  string
	term *Terminal
	st   *store.Store
	host *testHost
	slot *virtual.Slot
	sam  *virtual.Slot
	now  time.Time
	samc *simcard.Card
	stop context.CancelFunc
	left func()        // the caller goes away
	card *simcard.Card // of a test that needs it later
	more func(*Config) // alters what the terminal is made of
	disk store.Disk    // beneath the file from the next open on; nil: the machine's
}

func mustCard(t testing.TB, n string) money.CardNumber {
	c, err := money.ParseCardNumber(n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newCard personalises a test card with a balance of zero.
func newCard(t testing.TB, n money.CardNumber) *simcard.Card {
	t.Helper()
	c := simcard.New(simcard.Options{})
	err := simcard.Personalise(c, simcard.CardRecipe{
		Number: n, Issuer: suite.TestIssuer, AppType: 2, AppVersion: 1,
		From: [4]byte{0x20, 0x20, 0x01, 0x01}, To: [4]byte{0x20, 0x49, 0x12, 0x31},
		Keys: suite.TestMasters(), Levels: 1, KeyIndex: 1, KeyVersion: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// otherMake personalises a card of the second profile: two levels of keys, the
// counter after the transaction in its log, TAC before MAC2 in its one proof.
func otherMake(t testing.TB, n money.CardNumber) *simcard.Card {
	t.Helper()
	p, ok := profiles.Builtin().Card("dianka-ep2")
	if !ok {
		t.Fatal("no second profile")
	}
	c := simcard.New(simcard.Options{
		LogPost: p.LogCounterPost, ProofTACFirst: p.ProofTACFirst, SingleProof: p.ProofSingleSlot, BalanceSW: 0x9301,
	})
	r := simcard.TestCard(n)
	r.AID, r.Levels, r.Region = string(p.AID), p.LoadLevels, p.Region
	r.KeyIndex, r.KeyVersion = p.LoadKeyIndex, byte(p.LoadLevels) // the SAM keeps the keys of level n as version n
	if err := simcard.Personalise(c, r); err != nil {
		t.Fatal(err)
	}
	return c
}

func newSAM(t testing.TB) *simcard.Card {
	t.Helper()
	c := simcard.New(simcard.Options{})
	err := simcard.Personalise(c, simcard.SAMRecipe{
		ID: testPSAM, Terminal: testTerminal, Issuer: suite.TestIssuer,
		From: [4]byte{0x20, 0x20, 0x01, 0x01}, To: [4]byte{0x20, 0x49, 0x12, 0x31},
		Purchase: true, Load: true, Keys: suite.TestMasters(), Levels: []int{1, 2}, KeyIndex: 1, KeyVersion: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.section(wire.Section{Kind: wire.SectionLimits, Limits: wire.DefaultLimits()})
	w.section(wire.Section{Kind: wire.SectionHotlist})
	w.section(wire.Section{Kind: wire.SectionRanges, Ranges: []wire.Range{{From: mustCard(t, "5000"), To: mustCard(t, "5999")}}})
	w.section(wire.Section{Kind: wire.SectionAccounts, Accounts: []wire.Bill{{Account: account, Owner: "张*三", Balance: -12345}}})
	return w
}

// bareWorld is a terminal that the utility has not spoken to.
func bareWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), now: time.Date(2026, 3, 2, 9, 0, 0, 0, money.CST), slot: virtual.New("sim:card"), sam: virtual.New("sim:sam")}
	w.ctx, w.stop = context.WithCancel(t.Context())
	w.host = &testHost{w: w, online: true, answers: map[journal.Name]wire.LoadAnswer{}, decisions: map[journal.Name]wire.Code{}, claims: map[journal.Name]money.Fen{}}
	w.samc = newSAM(t)
	w.sam.Insert(w.samc)
	path := filepath.Join(w.dir, "terminal.db")
	o := store.Options{Clock: w.clock}
	if err := store.Create(path, store.Identity{Terminal: testTerminal, Shop: 10000001, Epoch: 1}, o); err != nil {
		t.Fatal(err)
	}
	w.open()
	t.Cleanup(func() {
		if _, err := w.st.Check(context.Background()); err != nil {
			t.Errorf("the terminal's file does not check: %v", err)
		}
		w.st.Close()
	})
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) open() { w.Helper(); w.openOn(store.Options{Clock: w.clock, Disk: w.disk}) }

func (w *world) openOn(o store.Options) {
	w.Helper()
	st, err := store.Open(filepath.Join(w.dir, "terminal.db"), o)
	if err != nil {
		w.Fatal(err)
	}
	w.st = st
	cfg := Config{
		Store: st, Card: w.slot, PSAM: w.sam, LoadSAM: w.sam, Profiles: profiles.Builtin(), Host: w.host,
		Software: "test", TestKeys: true, Clock: w.clock, Log: testLog(w.T),
	}
	if w.more != nil {
		w.more(&cfg)
	}
	w.term, err = New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.term.Start(w.ctx); err != nil {
		w.Fatal(err)
	}
}

// restart is a new start of the daemon on the same file.
func (w *world) restart() {
	w.Helper()
	w.term.closeAll()
	if err := w.st.Close(); err != nil {
		w.Fatal(err)
	}
	w.open()
}

func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ testing.TB }

func (w testWriter) Write(b []byte) (int, error) { w.Log(string(b)); return len(b), nil }

var _ io.Writer = testWriter{}

var (
	sectionVersion uint64
	sealKey        = ed25519.NewKeyFromSeed(make([]byte, 32))
)

func (w *world) section(s wire.Section) {
	w.Helper()
	sectionVersion++
	s.Version, s.Issued = sectionVersion, w.now.UnixMilli()
	if err := w.st.PutSection(wire.Seal("section", &s, sealKey), s); err != nil {
		w.Fatal(err)
	}
}

// shift opens a shift of the clerk.
func (w *world) shift() {
	w.Helper()
	if _, err := w.term.OpenShift(w.ctx, clerk, 100_00); err != nil {
		w.Fatal(err)
	}
}

var tokens atomic.Int64

func token() journal.Token {
	return journal.TokenOf(strconv.FormatInt(tokens.Add(1), 10))
}

func (w *world) topUp(card money.CardNumber, amount money.Fen) (Receipt, error) {
	return w.term.TopUp(w.ctx, TopUpRequest{Token: token(), Who: clerk, Card: card, Amount: amount, Tendered: amount})
}

func (w *world) redeem(card money.CardNumber, amount money.Fen) (Receipt, error) {
	return w.term.Redeem(w.ctx, RedeemRequest{Token: token(), Who: customer, Card: card, Account: account, Amount: amount})
}

// loaded inserts a new card that holds an amount.
func (w *world) loaded(n money.CardNumber, amount money.Fen) *simcard.Card {
	w.Helper()
	return w.fill(newCard(w, n), n, amount)
}

// fill inserts a card and loads it.
func (w *world) fill(c *simcard.Card, n money.CardNumber, amount money.Fen) *simcard.Card {
	w.Helper()
	w.slot.Insert(c)
	for amount > 0 {
		a := min(amount, 500_00)
		rc, err := w.topUp(n, a)
		if err != nil || rc.Result != journal.Done {
			w.Fatalf("top up: %v %+v", err, rc.Transaction)
		}
		amount -= a
	}
	return c
}

// value reads the balance of a card by its own command, past the terminal.
func value(t testing.TB, c virtual.Chip) money.Fen {
	t.Helper()
	if _, err := c.PowerOn(); err != nil {
		t.Fatal(err)
	}
	defer c.PowerOff()
	for _, h := range [][]byte{
		{0x00, 0xA4, 0x04, 0x00, 0x09, 0xA0, 0, 0, 0, 0x03, 0x86, 0x98, 0x07, 0x01},
		{0x80, 0x5C, 0x00, 0x02, 0x04},
	} {
		b, err := c.Transmit(h)
		if err != nil {
			t.Fatal(err)
		}
		r, err := apdu.ParseResponse(b)
		if err != nil || !r.SW.OK() {
			t.Fatalf("%X: %v %v", h, r.SW, err)
		}
		if len(r.Data) == 4 {
			return money.FromPurse([4]byte(r.Data))
		}
	}
	t.Fatal("no balance")
	return 0
}

func wantRefusal(t testing.TB, err error, c Code) {
	t.Helper()
	if !errors.Is(err, &Refusal{Code: c}) {
		t.Fatalf("got %v, want the refusal %s", err, c)
	}
}

// meddler is a chip that a test stands in front of.
type meddler struct {
	virtual.Chip
	meddle func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error)
}

func (m *meddler) Transmit(cmd []byte) ([]byte, error) { return m.meddle(cmd, m.Chip.Transmit) }

// at lets the test act on the commands with an instruction byte; others pass.
func at(c virtual.Chip, ins byte, do func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error)) *meddler {
	return &meddler{c, func(cmd []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if cmd[0]&0x80 == 0 || cmd[1] != ins {
			return next(cmd)
		}
		return do(cmd, next)
	}}
}

// entries are all bodies of the journal with who wrote them.
func (w *world) entries() []journal.Entry {
	w.Helper()
	var out []journal.Entry
	for seq := uint64(1); seq <= w.st.Head().Seq; seq++ {
		e, err := w.st.Entry(journal.Ref{Epoch: 1, Seq: seq})
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// wrote counts the entries of a type.
func (w *world) wrote(typ journal.Type) int {
	n := 0
	for _, e := range w.entries() {
		if e.Body.Type() == typ {
			n++
		}
	}
	return n
}

// offline gives the load SAM its allowance and cuts the link.
func (w *world) offline() {
	w.Helper()
	if err := w.term.Maintain(w.ctx); err != nil {
		w.Fatal(err)
	}
	w.host.online = false
}

// testHost is a vault made of the suite alone: it verifies MAC1 and gives
// MAC2, and forgets everything else.
type testHost struct {
	w       *world
	mu      sync.Mutex
	online  bool
	fail    error // every question fails with it
	refuse  wire.Code
	answers map[journal.Name]wire.LoadAnswer
	asked   int
	flushed int
	onFlush func() error // instead of fail

	ends     wire.QuestionAnswer // to every question how something ended
	standing wire.Standing
	account  wire.Code                       // refuses to look accounts up
	issued   int                             // allowances asked for
	allow    wire.Code                       // refuses allowances
	onAsk    func(ctx context.Context) error // called when a load, a void or a decision of the counter is asked for

	decisions map[journal.Name]wire.Code
	claims    map[journal.Name]money.Fen // that wait
	lose      int                        // so many answers of the counter are lost on the way back
	asks      []string                   // questions of the counter that came in
}

func (h *testHost) Online() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.online }

func (h *testHost) Standing() wire.Standing { return h.standing }

func (h *testHost) Flush(context.Context) error {
	h.flushed++
	if h.onFlush != nil {
		return h.onFlush()
	}
	return h.fail
}

// factors are those of the profile whose key version the card names.
func (h *testHost) factors(in journal.LoadIntent) [][8]byte {
	p, _ := profiles.Builtin().Card("dianka-ep")
	if in.KeyVersion == 0 { // keys that are not diversified
		return nil
	}
	if in.KeyVersion == 2 {
		p, _ = profiles.Builtin().Card("dianka-ep2")
	}
	return p.Factors(p.LoadLevels, in.Card.Factor())
}

func (h *testHost) AuthoriseLoad(ctx context.Context, r wire.LoadRequest) (wire.LoadAnswer, error) {
	h.asked++
	if h.onAsk != nil {
		if err := h.onAsk(ctx); err != nil {
			return wire.LoadAnswer{}, err
		}
	}
	if h.fail != nil {
		return wire.LoadAnswer{}, h.fail
	}
	if h.refuse != "" {
		return wire.LoadAnswer{Name: r.Name, Refused: h.refuse}, nil
	}
	if a, ok := h.answers[r.Name]; ok {
		return a, nil
	}
	in := r.Intent
	var s suite.DES3
	key := suite.TestMasters().Load
	for _, f := range h.factors(in) {
		key, _ = s.Diversify(key, f)
	}
	ses, _ := s.SessionKey(key, suite.LoadSession(in.Random, in.Counter))
	f1, _ := suite.LoadMAC1(in.Before, in.Amount, in.TxType, r.Name.Terminal)
	if mac, _ := s.TransactionMAC(ses, f1); mac != in.MAC1 {
		return wire.LoadAnswer{Name: r.Name, Refused: wire.CodeBadMAC}, nil
	}
	at := money.StampOf(h.w.now)
	f2, _ := suite.LoadMAC2(in.Amount, in.TxType, r.Name.Terminal, at)
	mac2, _ := s.TransactionMAC(ses, f2)
	a := wire.LoadAnswer{Name: r.Name, Stamp: at, MAC2: mac2}
	h.answers[r.Name] = a
	return a, nil
}

func (h *testHost) AgreeVoid(ctx context.Context, q wire.VoidQuestion) (wire.Agreement, error) {
	if h.onAsk != nil {
		if err := h.onAsk(ctx); err != nil {
			return wire.Agreement{}, err
		}
	}
	return wire.Agreement{Name: q.Name, Refused: h.refuse}, h.fail
}

// decide answers under a name once and for all, as the utility does.
func (h *testHost) decide(ctx context.Context, what string, n journal.Name, withdraw bool, judge func() wire.Code) (wire.Agreement, error) {
	if h.onAsk != nil {
		if err := h.onAsk(ctx); err != nil {
			return wire.Agreement{}, err
		}
	}
	if h.fail != nil {
		return wire.Agreement{}, h.fail
	}
	if withdraw {
		what += " settled"
	}
	h.asks = append(h.asks, what)
	c, known := h.decisions[n]
	if !known {
		if c = h.refuse; withdraw {
			c = wire.CodeWithdrawn
		} else if c == wire.OK {
			c = judge()
		}
		h.decisions[n] = c
	}
	if h.lose > 0 {
		h.lose--
		return wire.Agreement{}, io.ErrUnexpectedEOF
	}
	return wire.Agreement{Name: n, Refused: c}, nil
}

func (h *testHost) TakeBill(ctx context.Context, q wire.BillQuestion) (wire.Agreement, error) {
	return h.decide(ctx, "bill", q.Name, q.Withdraw, func() wire.Code { return wire.OK })
}

func (h *testHost) Collect(ctx context.Context, q wire.CollectQuestion) (wire.Agreement, error) {
	in := q.Intent
	if c, known := h.decisions[q.Name]; known && c == wire.OK && q.Withdraw {
		h.decisions[q.Name], h.claims[in.Claim] = wire.CodeWithdrawn, in.Amount
	}
	return h.decide(ctx, "collect", q.Name, q.Withdraw, func() wire.Code {
		if h.claims[in.Claim] != in.Amount {
			return wire.CodeTwice
		}
		delete(h.claims, in.Claim)
		return wire.OK
	})
}

func (h *testHost) AskCard(ctx context.Context, q wire.CardQuestion) (wire.Agreement, error) {
	return h.decide(ctx, "card", q.Name, false, func() wire.Code { return wire.OK })
}

func (h *testHost) LookUpClaim(_ context.Context, n journal.Name) (wire.ClaimAnswer, error) {
	a := wire.ClaimAnswer{Claim: n, Kind: wire.ClaimTopUp, Amount: h.claims[n], Last4: "4821"}
	if a.Amount == 0 {
		a = wire.ClaimAnswer{Claim: n, Refused: wire.CodeTwice}
	}
	return a, h.fail
}

func (h *testHost) Ask(_ context.Context, n journal.Name) (wire.QuestionAnswer, error) {
	a := h.ends
	a.Name, a.Stored = n, true
	return a, h.fail
}

func (h *testHost) IssueAllowance(_ context.Context, r wire.AllowanceRequest) (wire.AllowanceAnswer, error) {
	h.issued++
	if h.fail != nil || h.allow != "" {
		return wire.AllowanceAnswer{Refused: h.allow}, h.fail
	}
	var s suite.DES3
	key, _ := suite.AllowanceKey(s, suite.TestMasters().Allowance, r.SAM)
	st, mac, err := suite.DecodeLoadSAMState(r.State[8:])
	if err != nil {
		return wire.AllowanceAnswer{}, err
	}
	if want, _ := st.MAC(s, key, [8]byte(r.State)); want != mac {
		return wire.AllowanceAnswer{Refused: wire.CodeBadMAC}, nil
	}
	a := suite.Allowance{Sequence: st.Sequence + 1, CeilingAmount: st.Total + 500_00, CeilingCount: st.Count + 5}
	am, _ := a.MAC(s, key, r.Challenge, r.SAM)
	return wire.AllowanceAnswer{SAM: r.SAM, Sequence: a.Sequence, CeilingAmount: a.CeilingAmount, CeilingCount: a.CeilingCount, MAC: am}, nil
}

func (h *testHost) Account(_ context.Context, a money.AccountNumber) (wire.AccountAnswer, error) {
	if h.fail != nil {
		return wire.AccountAnswer{}, h.fail
	}
	if h.account != "" {
		return wire.AccountAnswer{Refused: h.account}, nil
	}
	if a != account {
		return wire.AccountAnswer{Refused: wire.CodeUnknownAccount}, nil
	}
	return wire.AccountAnswer{Bill: wire.Bill{Account: a, Owner: "张*三", Balance: -12345, AsOf: h.w.now.UnixMilli()}}, nil
}
