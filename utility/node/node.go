// Package node is the utility's side as one running process: database, key
// vault and certificate authority opened from one folder, the service on
// them, and the door that terminals knock at. utilityd is a node; so is the
// utility of a desk.
//
// It may import the packages of the utility. It holds no rule of its own.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/pki"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/terminals"
	"github.com/dianka/dianka/utility/vault"
	"github.com/dianka/dianka/wire"
)

// ErrNoVault means that the folder holds no vault yet.
var ErrNoVault = errors.New("there is no key vault yet: make one with `utilityd vault create`")

// Config says where a node lives.
type Config struct {
	Dir        string // folder of database, vault and authority, mode 0700
	Passphrase []byte // of the vault
	TestKeys   bool   // the vault must hold test keys; otherwise it must not
	Clock      func() time.Time
	Log        *slog.Logger
}

// Node is an open utility.
type Node struct {
	Service *utility.Service
	Storage storage.Storage
	Vault   *vault.Software

	cfg Config
	ca  *pki.Authority
}

// Paths of the files in a node's folder.
func dbPath(dir string) string    { return filepath.Join(dir, "utility.db") }
func vaultPath(dir string) string { return filepath.Join(dir, "vault") }
func caPath(dir string) string    { return filepath.Join(dir, "authority.pem") }

// CreateVault makes the vault of a new node. It never overwrites one.
func CreateVault(dir string, passphrase []byte, masters suite.Masters) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return vault.Create(vaultPath(dir), passphrase, masters)
}

// Open opens what is in the folder. The database and the authority are made
// when they are not there; a vault never is.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	set := profiles.Builtin()
	v, err := vault.Open(vaultPath(cfg.Dir), cfg.Passphrase, cfg.TestKeys, set)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrNoVault)
	}
	if err != nil {
		return nil, err
	}
	ca, err := pki.Open(caPath(cfg.Dir), cfg.Clock())
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, dbPath(cfg.Dir))
	if err != nil {
		return nil, err
	}
	svc, err := utility.New(utility.Config{Storage: db, Vault: v, Profiles: set, Clock: cfg.Clock, Log: cfg.Log})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Node{Service: svc, Storage: db, Vault: v, cfg: cfg, ca: ca}, nil
}

// Close closes the database.
func (n *Node) Close() error { return n.Storage.Close() }

// EnrolmentCode makes a one-use code for a terminal and its SAMs, with the
// authority's pin in it, so that the terminal knows whom it talks to.
func (n *Node) EnrolmentCode(ctx context.Context, t money.TerminalID, shop money.ShopID, psam, loadSAM money.SAMID) (string, error) {
	secret, err := n.Service.NewEnrolmentCode(ctx, t, shop, psam, loadSAM)
	if err != nil {
		return "", err
	}
	return wire.EnrolmentCode(secret, n.ca.Certificate()), nil
}

// Serve lets terminals in on l until ctx ends.
func (n *Node) Serve(ctx context.Context, l net.Listener) error {
	s := terminals.NewServer(n.Service, n.ca, terminals.Options{Clock: n.cfg.Clock, Log: n.cfg.Log})
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(last); err != nil {
		s.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
