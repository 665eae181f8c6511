package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/utility"
	"github.com/dianka/dianka/utility/node"
)

// office is what the commands share: the configuration they were given.
type office struct{ path string }

func (o *office) config() (Config, error) {
	if o.path == "" {
		return Config{}, fmt.Errorf("%w: --config is missing", cli.ErrUsage)
	}
	return loadConfig(o.path)
}

// node reads what a node needs.
func (o *office) node(cmd *cobra.Command) (Config, node.Config, error) {
	c, err := o.config()
	if err != nil {
		return c, node.Config{}, err
	}
	log, err := c.Log.New(cmd.ErrOrStderr())
	if err != nil {
		return c, node.Config{}, err
	}
	p, err := c.passphrase()
	return c, node.Config{Dir: c.Dir, Passphrase: p, TestKeys: c.TestKeys, Log: log}, err
}

// change opens the node alone, lets f change something, and closes it.
func (o *office) change(cmd *cobra.Command, f func(context.Context, *node.Node) error) (err error) {
	_, nc, err := o.node(cmd)
	if err != nil {
		return err
	}
	lock, err := hold(nc.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	n, err := node.Open(cmd.Context(), nc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return f(cmd.Context(), n)
}

type closer interface{ Close() error }

func hold(dir string) (closer, error) {
	lock, err := filelock.Acquire(dir)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%s is %w: utilityd runs on it; stop it for this", dir, cli.ErrInUse)
	}
	return lock, err
}

// read opens the service on a copy of the database and lets f read.
func (o *office) read(cmd *cobra.Command, f func(context.Context, *utility.Service) error) (err error) {
	_, nc, err := o.node(cmd)
	if err != nil {
		return err
	}
	c, err := node.OpenCopy(cmd.Context(), nc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	s, err := c.Service()
	if err != nil {
		return err
	}
	return f(cmd.Context(), s)
}
