package world

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/journal"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// utility is the utility as a process on its database, which dies and is
// started again.
type utility struct {
	w     *world
	db    storage.Storage
	store *ledgerDisk
	vault *vault.Software
	ca    *pki.Authority
	svc   *service.Service
	door  http.Handler
	acks  map[journal.Name]journal.Hash // what it ever acknowledged: the last entry and the chain through it
}

func newUtility(w *world, t *template) *utility {
	u := &utility{w: w, vault: t.vault, ca: t.ca, acks: map[journal.Name]journal.Hash{}}
	var err error
	u.db, err = t.database(w.ctx, w.dir, w.seed)
	w.must(err, "open the utility's database")
	u.store = &ledgerDisk{Storage: u.db, w: w}
	u.restart()
	return u
}

// restart starts the utility's process on what its database holds.
func (u *utility) restart() {
	u.store.dead, u.store.in = false, 0
	svc, err := service.New(service.Config{Storage: u.store, Vault: u.vault, Profiles: profiles.Builtin(), Clock: u.w.now, Log: u.w.log})
	u.w.must(err, "start the utility")
	u.svc = svc
	u.door = terminals.NewHandler(svc, u.ca, terminals.Options{Clock: u.w.now, Log: u.w.log})
}

// serve hands a request to the utility's door. When the utility dies
// meanwhile there is no answer.
func (u *utility) serve(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	u.door.ServeHTTP(rec, r)
	if u.store.dead {
		u.restart()
		return nil, errLine
	}
	if r.URL.Path == wire.PathBatches && rec.Code == http.StatusOK {
		u.acknowledged(rec.Body.Bytes())
	}
	return rec.Result(), nil
}

// acknowledged holds an acknowledgement, when it leaves the door, against what
// is stored. Whether it arrives or not, it is remembered to the end.
func (u *utility) acknowledged(sealed []byte) {
	var a wire.Ack
	u.w.must(wire.Unseal(sealed, "ack", u.svc.PublicKey(), &a), "read an acknowledgement")
	if a.Through == 0 {
		return
	}
	n := journal.Name{Terminal: a.Terminal, Epoch: a.Epoch, Seq: a.Through}
	if h, ok := u.acks[n]; ok && h != a.Hash {
		u.w.fail("the utility acknowledged %s with two hashes", n)
	}
	u.acks[n] = a.Hash
	u.keeps(n)
}

// keeps requires that what was acknowledged through an entry is stored.
func (u *utility) keeps(n journal.Name) {
	u.w.figures.Assertions++
	if h, ok := u.hashAt(n); !ok || h != u.acks[n] {
		u.w.fail("the utility acknowledged everything through %s and does not hold it", n)
	}
}

// hashAt is the hash of the stored chain after an entry, false when the entry
// is not stored.
func (u *utility) hashAt(n journal.Name) (journal.Hash, bool) {
	l, ok, err := u.db.EntryLine(u.w.ctx, n)
	u.w.must(err, "look an entry up")
	if !ok {
		return journal.Hash{}, false
	}
	rec, err := record.Decode(l)
	u.w.must(err, "decode a line")
	b := rec.(*wire.Batch)
	h := b.Prev
	for _, e := range b.Entries[:n.Seq-b.From+1] {
		h = journal.Link(h, e)
	}
	return h, true
}

// office lets head office do something. When the utility dies of it, head
// office sees an error and looks again.
func (u *utility) office(f func(*service.Service) error) {
	err := f(u.svc)
	if u.store.dead {
		u.restart()
		return
	}
	if err != nil && !errors.Is(err, service.ErrInput) {
		u.w.fail("head office: %v", err)
	}
}

// ledgerDisk is the utility's storage, at whose writes the process may die.
type ledgerDisk struct {
	storage.Storage
	w     *world
	in    int  // dies at the in-th write from now
	after bool // after it is durable, else before
	dead  bool
}

func (d *ledgerDisk) write(f func() error) error {
	if d.dead {
		return errDead
	}
	if d.in > 0 {
		if d.in--; d.in == 0 {
			d.dead = true
			if !d.after {
				d.w.fault("utility killed before a write")
				return errDead
			}
			d.w.fault("utility killed after a write")
			if err := f(); err != nil {
				return err
			}
			return errDead
		}
	}
	return f()
}

// Append implements storage.Storage.
func (d *ledgerDisk) Append(ctx context.Context, lines []recordLine) error {
	return d.write(func() error { return d.Storage.Append(ctx, lines) })
}

// Post implements storage.Storage.
func (d *ledgerDisk) Post(ctx context.Context, c storage.Change) error {
	return d.write(func() error { return d.Storage.Post(ctx, c) })
}
