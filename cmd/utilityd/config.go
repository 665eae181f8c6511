package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
)

// envPrefix begins the names of environment variables that override keys.
const envPrefix = "UTILITYD"

// Config is the configuration of a utility.
type Config struct {
	Dir            string  `yaml:"dir" doc:"folder of database, key vault and certificate authority, mode 0700"`
	Listen         string  `yaml:"listen" doc:"address and port for terminals; mutual TLS is always on"`
	PassphraseFile string  `yaml:"passphrase_file" doc:"file with the passphrase of the key vault; empty: the systemd credential vault-passphrase"`
	TestKeys       bool    `yaml:"test_keys" doc:"true for a bench: the vault must then hold the well-known test keys, otherwise it must not"`
	Log            cli.Log `yaml:"log" doc:"what is logged, to standard error"`
}

func defaults() Config {
	return Config{Dir: "/var/lib/dianka-utility", Listen: ":8443", Log: cli.Log{Level: "info", Format: "text"}}
}

func loadConfig(path string) (Config, error) {
	c := defaults()
	if err := config.Load(path, envPrefix, &c); err != nil {
		return c, err
	}
	if c.Dir == "" {
		return c, fmt.Errorf("%s: %w: dir is missing: the folder of database and keys", path, config.ErrFile)
	}
	return c, nil
}

// passphrase reads the passphrase of the vault. It never comes from the
// command line or from a variable, where others could see it.
func (c Config) passphrase() ([]byte, error) {
	file := c.PassphraseFile
	if file == "" {
		dir := os.Getenv("CREDENTIALS_DIRECTORY") // systemd.exec(5)
		if dir == "" {
			return nil, fmt.Errorf("%w: passphrase_file is missing, and there is no systemd credential", config.ErrFile)
		}
		file = filepath.Join(dir, "vault-passphrase")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: passphrase_file: %w", config.ErrFile, err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: passphrase_file: %s is empty", config.ErrFile, file)
	}
	return b, nil
}

func newConfigCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print a configuration with every key, its default and what it is for",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown {
				reference(cmd.OutOrStdout())
				return nil
			}
			c := defaults()
			config.Reference(cmd.OutOrStdout(), envPrefix, &c)
			return nil
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as docs/utilityd.md has it")
	return cmd
}

// reference writes docs/utilityd.md.
func reference(w io.Writer) {
	c := defaults()
	fmt.Fprint(w, "# Configuration of utilityd\n\nThis page is made by `utilityd config --markdown`; a test keeps it current.\n\n"+
		"Every command reads one YAML file (`--config`), strictly: an unknown or doubled key is an error with its line. An environment variable overrides the key beside which it stands. The values below are the defaults.\n\n```yaml\n")
	config.Reference(w, envPrefix, &c)
	fmt.Fprint(w, "```\n\n## Exit codes\n\n```text\n"+cli.ExitCodes+"\n```\n")
}
