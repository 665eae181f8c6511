package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/node"
)

func newVaultCommand(o *office) *cobra.Command {
	cmd := &cobra.Command{Use: "vault", Short: "The key vault", Args: cobra.NoArgs, RunE: cli.Group}
	cmd.AddCommand(newVaultCreateCommand(o))
	return cmd
}

func newVaultCreateCommand(o *office) *cobra.Command {
	var test bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make the master keys of a new utility, once",
		Long: "Makes random master keys and a signing key in an encrypted file that only the\n" +
			"passphrase opens. Nobody sees a key. An existing vault is never overwritten.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.config()
			if err != nil {
				return err
			}
			if test != c.TestKeys {
				return fmt.Errorf("%w: --test goes with `test_keys: true` in the configuration, and only with it", cli.ErrUsage)
			}
			p, err := c.passphrase()
			if err != nil {
				return err
			}
			masters := suite.TestMasters()
			if !test {
				if len(p) < 12 {
					return errors.New("the passphrase is shorter than 12 characters: take a longer one")
				}
				masters = newMasters()
			}
			err = node.CreateVault(c.Dir, p, masters)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s holds a vault already, and cards may have its keys; it was not touched", c.Dir)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the vault is in %s; keep the folder and the passphrase apart, and a copy of both\n", c.Dir)
			return nil
		},
	}
	cmd.Flags().BoolVar(&test, "test", false, "the well-known test keys, which protect nothing")
	return cmd
}

func newMasters() suite.Masters {
	key := func() []byte {
		b := make([]byte, 16)
		rand.Read(b) // crypto/rand never fails
		return b
	}
	return suite.Masters{
		Purchase: key(), Load: key(), TAC: key(), Line: key(),
		PINUnblock: key(), PINReload: key(), Control: key(), Allowance: key(),
	}
}
