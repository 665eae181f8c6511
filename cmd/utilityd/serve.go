package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/utility/node"
)

func newServeCommand(o *office) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Let terminals in",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd, o) },
	}
}

func serve(cmd *cobra.Command, o *office) (err error) {
	c, nc, err := o.node(cmd)
	if err != nil {
		return err
	}
	lock, err := hold(c.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	n, err := node.Open(cmd.Context(), nc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	line, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("%w: listen: %w", config.ErrFile, err)
	}
	if c.TestKeys {
		nc.Log.Warn("test_keys is set: the keys are public and protect nothing")
	}
	nc.Log.Info("the utility serves", "terminals", line.Addr().String(), "version", version)
	return n.Serve(cmd.Context(), line)
}
