package world

import (
	"context"
	"errors"
	"net/http"

	profiles "github.com/dianka/dianka/firmware-profiles"
	service "github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/utility/vault"
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
}

func newUtility(w *world, t *template) *utility {
	u := &utility{w: w, vault: t.vault, ca: t.ca}
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
