package world

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/uplink"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/storagetest"
	"github.com/dianka/dianka/utility/vault"
)

type recordLine = record.Line

// template is what every world begins with: made once, then copied.
type template struct {
	vault    *vault.Software
	ca       *pki.Authority
	db       []byte // the utility's database
	memory   *storagetest.Memory
	cards    []cardTemplate
	stations []stationTemplate
	moves    []*move // that the chips have made
}

type cardTemplate struct {
	name    string
	number  money.CardNumber
	profile string
	aid     []byte
	options simcard.Options
	image   []byte
	named   bool
	stock   money.ShopID
}

type stationTemplate struct {
	id   money.TerminalID
	shop money.ShopID
	sam  cardTemplate
	samN money.SAMID
	keys uplink.Keys
	file []byte
	copy []byte // the second copy
}

// Accounts of a world; the last is one that nobody knows.
var accounts = []money.AccountNumber{100000017, 100000025, 100000033, 999999999}

// Float and bill with which a world begins.
const (
	firstFloat = money.Fen(2000_00)
	ceiling    = money.Fen(500_00)
	firstBill  = money.Fen(300_00)
	firstLoad  = money.Fen(150_00) // of each of the first cards
)

var shops = []money.ShopID{10000001, 10000002}

func (c cardTemplate) chip(w *world, r *mrand.Rand) *chip {
	o := c.options
	o.Rand = random{r}
	card, err := simcard.FromImage(c.image, o)
	w.must(err, "copy a card")
	x := &chip{Card: card, w: w, options: o, name: c.name, number: c.number, profile: c.profile, aid: c.aid}
	if !c.number.IsZero() {
		x.holds = x.balance()
		x.initial = x.holds
	}
	return x
}

// database gives a world its copy of the utility's database: SQLite in some
// worlds, and in the others the storage that all engines must agree with,
// which takes no time.
func (t *template) database(ctx context.Context, dir string, seed uint64) (storage.Storage, error) {
	if t.memory != nil && seed%8 != 0 {
		return t.memory.Clone(), nil
	}
	path := filepath.Join(dir, "utility.db")
	if err := os.WriteFile(path, t.db, 0o600); err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, path)
}

var theTemplate = sync.OnceValues(makeTemplate)

func makeTemplate() (*template, error) {
	t := &template{}
	dir, err := os.MkdirTemp("", "dianka-world-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	_, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if t.vault, err = vault.New(suite.TestMasters(), sign, profiles.Builtin()); err != nil {
		return nil, err
	}
	if t.ca, err = pki.Create(Begin); err != nil {
		return nil, err
	}
	for _, c := range []cardTemplate{
		{name: "C1", profile: "dianka-ep"},
		{name: "C2", profile: "dianka-ep"},
		{name: "C3", profile: "dianka-ep2", named: true},
		{name: "C4", profile: "dianka-ep", stock: shops[0]},
		{name: "C5", profile: "dianka-ep", stock: shops[1]},
	} {
		if err := c.make(len(t.cards) + 1); err != nil {
			return nil, fmt.Errorf("make card %s: %w", c.name, err)
		}
		t.cards = append(t.cards, c)
	}
	for i := range 3 {
		s := stationTemplate{id: money.TerminalID{0x31, 0x01, 0, 0, 0, byte(i + 1)}, shop: shops[i/2], samN: money.SAMID{0, 0, 0, 0, 0x31, 0, 0, 0, 0, byte(i + 1)}}
		if err := s.makeSAM(); err != nil {
			return nil, fmt.Errorf("make SAM %d: %w", i, err)
		}
		t.stations = append(t.stations, s)
	}
	return t, t.found(dir)
}

// found sets the utility up and enrols the terminals.
func (t *template) found(dir string) error {
	ctx := context.Background()
	path := filepath.Join(dir, "utility.db")
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	svc, err := service.New(service.Config{Storage: db, Vault: t.vault, Profiles: profiles.Builtin(), Clock: func() time.Time { return Begin }})
	if err != nil {
		return err
	}
	for i, s := range shops {
		if err := svc.AddShop(ctx, s, fmt.Sprint("shop ", i+1), ceiling); err != nil {
			return err
		}
		if err := svc.PayFloat(ctx, s, firstFloat, "first"); err != nil {
			return err
		}
	}
	for _, a := range accounts[:len(accounts)-1] {
		if err := svc.AddAccount(ctx, a, "张*"); err != nil {
			return err
		}
		if err := svc.Bill(ctx, a, firstBill, "first"); err != nil {
			return err
		}
	}
	for _, c := range t.cards {
		if err := svc.AddCards(ctx, c.number, c.number, c.profile, c.named, c.stock); err != nil {
			return err
		}
	}
	for i := range t.stations {
		s := &t.stations[i]
		if err := svc.SetAllowancePolicy(ctx, s.id, 300_00, 6); err != nil {
			return err
		}
		code, err := svc.NewEnrolmentCode(ctx, s.id, s.shop, s.samN, s.samN)
		if err != nil {
			return err
		}
		var id store.Identity
		if s.keys, id, err = enrol(ctx, svc, t.ca, code, s.id, uplink.Keys{PSAM: s.samN, LoadSAM: s.samN}, Begin); err != nil {
			return err
		}
		file := filepath.Join(dir, fmt.Sprint(i, ".db"))
		if err := store.Create(file, id, store.Options{}); err != nil {
			return err
		}
		if s.file, err = os.ReadFile(file); err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	t.db, err = os.ReadFile(path)
	return err
}

// enrol makes a terminal one of the utility's. The door for it needs a real
// handshake and is tested elsewhere; here the service behind it is asked.
func enrol(ctx context.Context, svc *service.Service, ca *pki.Authority, code string, id money.TerminalID, old uplink.Keys, now time.Time) (uplink.Keys, store.Identity, error) {
	_, record, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return old, store.Identity{}, err
	}
	e, err := svc.Enrol(ctx, service.Enrolment{Code: code, RecordKey: record.Public().(ed25519.PublicKey), PSAM: old.PSAM, LoadSAM: old.LoadSAM, Terminal: id})
	if err != nil {
		return old, store.Identity{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return old, store.Identity{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return old, store.Identity{}, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: id.String()}}, crypto.Signer(key))
	if err != nil {
		return old, store.Identity{}, err
	}
	cert, err := ca.IssueTerminal(csr, id, e.Epoch, now)
	if err != nil {
		return old, store.Identity{}, err
	}
	k := uplink.Keys{
		Terminal: id, Shop: e.Shop, PSAM: old.PSAM, LoadSAM: old.LoadSAM,
		Record: append(append([]uplink.RecordKey(nil), old.Record...), uplink.RecordKey{Epoch: e.Epoch, Seed: [ed25519.SeedSize]byte(record.Seed())}),
		TLSKey: der, Certificate: cert, CA: ca.Certificate(), Utility: [ed25519.PublicKeySize]byte(svc.PublicKey()),
	}
	return k, store.Identity{Terminal: id, Shop: e.Shop, Epoch: e.Epoch, PrevEpoch: e.PrevEpoch, PrevSeq: e.PrevSeq, PrevHash: e.PrevHash}, nil
}

func (c *cardTemplate) make(n int) error {
	p, ok := profiles.Builtin().Card(c.profile)
	if !ok {
		return fmt.Errorf("no profile %q", c.profile)
	}
	var err error
	if c.number, err = money.ParseCardNumber(fmt.Sprintf("33100888%08d", n)); err != nil {
		return err
	}
	r := simcard.TestCard(c.number)
	r.AID, r.Levels, r.Region = string(p.AID), p.LoadLevels, p.Region
	r.KeyIndex, r.KeyVersion = p.LoadKeyIndex, byte(p.LoadLevels) // the SAM keeps the keys of level n as version n
	if c.named {
		r.FCI[0] = 1
	}
	c.options, c.aid = options(p), p.AID
	card := simcard.New(c.options)
	if err := simcard.Personalise(card, r); err != nil {
		return err
	}
	c.image = card.Image()
	return nil
}

func (s *stationTemplate) makeSAM() error {
	r := simcard.TestSAM(s.samN, s.id)
	r.Levels = []int{1, 2}
	card := simcard.New(simcard.Options{})
	if err := simcard.Personalise(card, r); err != nil {
		return err
	}
	s.sam = cardTemplate{name: fmt.Sprint("SAM of ", s.id), image: card.Image()}
	return nil
}
