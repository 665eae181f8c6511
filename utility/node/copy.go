package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // driver "sqlite"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/vault"
)

// Copy is a node's database as it was at one moment, to be read while the
// node runs. What is written to it is lost.
type Copy struct {
	Storage *sqlite.DB
	Vault   *vault.Software

	cfg Config
	dir string
}

// OpenCopy copies the database of the node in the folder, whether the node
// runs or not, and opens the copy. It takes as much disk as the database.
func OpenCopy(ctx context.Context, cfg Config) (c *Copy, err error) {
	v, err := vault.Open(vaultPath(cfg.Dir), cfg.Passphrase, cfg.TestKeys, profiles.Builtin())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrNoVault)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dbPath(cfg.Dir)); err != nil {
		return nil, err // SQLite would make one
	}
	c = &Copy{Vault: v, cfg: cfg}
	if c.dir, err = os.MkdirTemp(cfg.Dir, "copy-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	to := filepath.Join(c.dir, "utility.db")
	from, err := sql.Open("sqlite", "file:"+(&url.URL{Path: dbPath(cfg.Dir)}).EscapedPath()+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return c, err
	}
	// One statement, so one moment; it reads and takes no lock that a
	// running node would wait for.
	_, err = from.ExecContext(ctx, "VACUUM INTO ?", to)
	if err = errors.Join(err, from.Close()); err != nil {
		return c, fmt.Errorf("copy %s: %w", dbPath(cfg.Dir), err)
	}
	c.Storage, err = sqlite.Open(ctx, to)
	return c, err
}

// Service opens the service on the copy, for what it reports.
func (c *Copy) Service() (*utility.Service, error) {
	return utility.New(utility.Config{Storage: c.Storage, Vault: c.Vault, Profiles: profiles.Builtin(), Clock: c.cfg.Clock, Log: c.cfg.Log})
}

// Close removes the copy.
func (c *Copy) Close() error {
	var err error
	if c.Storage != nil {
		err = c.Storage.Close()
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
