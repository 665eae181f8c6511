package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/cobra"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/receipt"
)

// envPrefix begins the names of environment variables that override keys.
const envPrefix = "KIOSKD"

// Config is the configuration of a terminal in a shop.
type Config struct {
	State            string        `yaml:"state" doc:"folder of the terminal's file and keys, mode 0700"`
	Copy             string        `yaml:"copy" doc:"file that holds a second copy of what the utility does not have yet, best on another disk than state; empty for terminal.copy in state"`
	Socket           string        `yaml:"socket" doc:"folder of the socket by which cardtool asks, which the daemon's group may enter; empty for state, which only the daemon's user and root may. The package's unit makes /run/dianka and sets KIOSKD_SOCKET to it"`
	UnsafeFilesystem string        `yaml:"unsafe_filesystem" doc:"the reason why state may lie on a filesystem that loses what it was told to keep; empty: then kioskd does not serve there"`
	Utility          string        `yaml:"utility" doc:"address of the utility, https://host:port"`
	Shop             string        `yaml:"shop" doc:"name of the shop on the screens; may be empty"`
	Screens          ScreensConfig `yaml:"screens" doc:"who may see the screens"`
	Readers          ReadersConfig `yaml:"readers" doc:"card readers: pcsc:<name> or any part of the name that fits one reader only, which kioskd readers lists; or serial:<device>[:<model>[:<slot>]] for one on a serial line without PC/SC, which cardtool reader test finds out"`
	Profiles         string        `yaml:"profiles" doc:"folder with profiles of cards, SAMs and readers beside those built in or in their place (cards/, sams/, readers/); read again by itself when it changes. It may be missing; empty for none"`
	Printer          PrinterConfig `yaml:"printer" doc:"the receipt printer, see docs/printer.md"`
	Slips            SlipsConfig   `yaml:"slips" doc:"what slips look like and when they are printed"`
	Staff            []StaffConfig `yaml:"staff" doc:"who may log in at the clerk's screen"`
	TestKeys         bool          `yaml:"test_keys" doc:"true for a bench with test SAMs and test cards: then only those are served, otherwise they are refused"`
	Log              cli.Log       `yaml:"log" doc:"what is logged, to standard error"`
}

// ScreensConfig says where the screens are.
type ScreensConfig struct {
	Listen  string      `yaml:"listen" doc:"address and port of screens and API"`
	Remote  bool        `yaml:"remote" doc:"true lets listen be an address that other machines reach; there is no TLS, so put something in front that has"`
	Mode    screensMode `yaml:"mode" doc:"which screens this terminal offers: counter, kiosk or both"`
	Prompts string      `yaml:"prompts" doc:"folder of spoken prompts for the customer's screen, recordings by language and message key as in zh-CN/kiosk.insert.mp3; empty: the browser's own voice, if it has one"`
	Hosts   []string    `yaml:"hosts" doc:"names by which browsers may call, beside localhost and loopback addresses"`
}

// ReadersConfig says which slot has which role. Which SAM it is is read from
// the SAM.
type ReadersConfig struct {
	Card    string `yaml:"card" doc:"the customer's card"`
	PSAM    string `yaml:"psam" doc:"the PSAM"`
	LoadSAM string `yaml:"load_sam" doc:"the load SAM, which may be in the PSAM's slot; empty for none: then no top-up off line"`
}

// PrinterConfig says which printer.
type PrinterConfig struct {
	Address      printerAddress `yaml:"address" doc:"serial:<device>, usb:<device file> as usb:/dev/usb/lp0, or tcp:<host>:<port> as tcp:192.0.2.7:9100; empty for no printer"`
	Baud         int            `yaml:"baud" doc:"speed of a serial line; the printer's own self-test slip tells it"`
	Width        int            `yaml:"width" doc:"width of the paper in mm, 58 or 80"`
	Cutter       bool           `yaml:"cutter" doc:"false for a printer that can't cut: then slips are fed to where they are torn off"`
	RealTimeOnly bool           `yaml:"realtime_only" doc:"true for a printer that does not answer GS r, so that every slip ends as not certain: then the end of a slip is guessed from its length"`
}

// SlipsConfig says what slips look like.
type SlipsConfig struct {
	Shop    string       `yaml:"shop" doc:"name of the shop on slips; empty for that of shop"`
	Issuer  string       `yaml:"issuer" doc:"who issued the cards and answers for their value"`
	Hotline string       `yaml:"hotline" doc:"telephone number for questions and invoices"`
	Lang    string       `yaml:"lang" doc:"language of slips where nobody chose: zh-CN or en"`
	Logo    string       `yaml:"logo" doc:"PNG file, at most 384 dots wide on 58 mm paper, 576 on 80 mm, and 160 high; empty for none"`
	Counter slipsPrinted `yaml:"counter" doc:"always or ask: when the clerk's screen prints a slip; one that is not certain is always printed"`
	Kiosk   slipsPrinted `yaml:"kiosk" doc:"always or ask: the same for the customer's screen"`
}

// StaffConfig is a person.
type StaffConfig struct {
	ID      staffID    `yaml:"id" doc:"number, 1 to 6 digits"`
	Name    string     `yaml:"name" doc:"as the screens show it"`
	PINHash pinHash    `yaml:"pin_hash" doc:"what kioskd hash-pin prints"`
	Card    cardNumber `yaml:"card" doc:"number of a card that names the person at the login, where the PIN is wanted all the same, since a card's number is no secret; empty for none"`
	Rights  []right    `yaml:"rights" doc:"any of sell, topup (with giving cash back), redeem, void, reprint, replace (a damaged card), settle (shifts, reports, stock), configure (staff and settings), service (work the terminal by cardtool, as its technician)"`
}

// Types that say in which line they are wrong.
type (
	staffID money.StaffID
	pinHash string
	right   string

	screensMode    kiosk.Mode
	cardNumber     money.CardNumber
	printerAddress string
	slipsPrinted   string
)

func (a *printerAddress) UnmarshalText(b []byte) error {
	*a = printerAddress(b)
	if len(b) == 0 {
		return nil
	}
	_, err := printer.ParseAddress(string(b), 0)
	return err
}

func (p *slipsPrinted) UnmarshalText(b []byte) error {
	if *p = slipsPrinted(b); *p != kiosk.SlipAlways && *p != kiosk.SlipAsk {
		return fmt.Errorf("slips are printed %s or when they %s, not %q", kiosk.SlipAlways, kiosk.SlipAsk, b)
	}
	return nil
}

func (a *printerAddress) UnmarshalYAML(v ast.Node) error { return config.Text(v, a) }
func (p *slipsPrinted) UnmarshalYAML(v ast.Node) error   { return config.Text(v, p) }

func (n *staffID) UnmarshalText(b []byte) error {
	id, err := money.ParseStaffID(string(b))
	*n = staffID(id)
	return err
}

func (h *pinHash) UnmarshalText(b []byte) error {
	*h = pinHash(b)
	return kiosk.CheckPINHash(string(b))
}

func (n *cardNumber) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return (*money.CardNumber)(n).UnmarshalText(b)
}

func (m *screensMode) UnmarshalText(b []byte) error {
	mode, err := kiosk.ParseMode(string(b))
	*m = screensMode(mode)
	return err
}

func (m *screensMode) UnmarshalYAML(v ast.Node) error { return config.Text(v, m) }

func (n *staffID) UnmarshalYAML(v ast.Node) error { return config.Text(v, n) }
func (h *pinHash) UnmarshalYAML(v ast.Node) error { return config.Text(v, h) }
func (r *right) UnmarshalYAML(v ast.Node) error   { return config.Text(v, r) }

func (r *right) UnmarshalText(b []byte) error {
	*r = right(b)
	return kiosk.CheckRight(string(b))
}

func (n *cardNumber) UnmarshalYAML(v ast.Node) error { return config.Text(v, n) }

func defaults() Config {
	return Config{
		State: "/var/lib/dianka", Profiles: profiles.DefaultDir,
		Screens: ScreensConfig{Listen: "127.0.0.1:8095", Mode: screensMode(kiosk.ModeBoth)},
		Printer: PrinterConfig{Baud: 9600, Width: 58, Cutter: true},
		Slips:   SlipsConfig{Hotline: "95598", Lang: words.Languages[0], Counter: kiosk.SlipAlways, Kiosk: kiosk.SlipAsk},
		Log:     cli.Log{Level: "info", Format: "text"},
	}
}

// loadConfig reads and checks a configuration.
func loadConfig(path string) (Config, error) {
	c := defaults()
	if err := config.Load(path, envPrefix, &c); err != nil {
		return c, err
	}
	missing := func(key, what string) error {
		return fmt.Errorf("%s: %w: %s is missing: %s", path, config.ErrFile, key, what)
	}
	switch {
	case c.State == "":
		return c, missing("state", "the folder of the terminal's file")
	case !strings.HasPrefix(c.Utility, "https://"):
		return c, missing("utility", "https://host:port")
	case c.Readers.Card == "":
		return c, missing("readers.card", "the reader of the customer's card")
	case c.Readers.PSAM == "":
		return c, missing("readers.psam", "the reader of the PSAM")
	}
	if _, err := c.slips(); err != nil {
		return c, fmt.Errorf("%s: %w: %w", path, config.ErrFile, err)
	}
	return c, nil
}

// socket is the folder of the socket for tools.
func (c Config) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return c.State
}

// slips gives the settings of slips, with the logo read.
func (c Config) slips() (kiosk.Slips, error) {
	s := kiosk.Slips{
		Shop: c.Slips.Shop, Issuer: c.Slips.Issuer, Hotline: c.Slips.Hotline, Lang: c.Slips.Lang,
		Counter: string(c.Slips.Counter), Kiosk: string(c.Slips.Kiosk), Paper: receipt.Paper{NoCut: !c.Printer.Cutter},
	}
	switch c.Printer.Width {
	case 58:
		s.Paper.Columns = receipt.Columns58
	case 80:
		s.Paper.Columns = receipt.Columns80
	default:
		return s, fmt.Errorf("printer.width: paper is 58 or 80 mm wide, not %d", c.Printer.Width)
	}
	if !slices.Contains(words.Languages, s.Lang) {
		return s, fmt.Errorf("slips.lang: not one of %v: %q", words.Languages, s.Lang)
	}
	if c.Slips.Logo == "" {
		return s, nil
	}
	f, err := os.Open(c.Slips.Logo)
	if err != nil {
		return s, fmt.Errorf("slips.logo: %w", err)
	}
	defer f.Close()
	if s.Paper.Logo, err = receipt.ReadLogo(f, s.Paper.Columns); err != nil {
		return s, fmt.Errorf("slips.logo: %s: %w", c.Slips.Logo, err)
	}
	return s, nil
}

// printer gives the printer, nil when there is none.
func (c Config) printer(log *slog.Logger) (*printer.Printer, error) {
	if c.Printer.Address == "" {
		return nil, nil
	}
	open, err := printer.ParseAddress(string(c.Printer.Address), c.Printer.Baud)
	if err != nil {
		return nil, fmt.Errorf("%w: printer.address: %w", config.ErrFile, err)
	}
	return printer.New(printer.Options{Open: open, RealTimeOnly: c.Printer.RealTimeOnly, Log: log}), nil
}

func (c Config) staff() []kiosk.Staff {
	var out []kiosk.Staff
	for _, p := range c.Staff {
		s := kiosk.Staff{ID: money.StaffID(p.ID), Name: p.Name, PINHash: string(p.PINHash), Card: money.CardNumber(p.Card)}
		for _, r := range p.Rights {
			s.Rights = append(s.Rights, string(r))
		}
		out = append(out, s)
	}
	return out
}

// configFlag adds --config to a command that needs one.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "configuration file")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is there
	}
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
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as docs/kioskd.md has it")
	return cmd
}

// reference writes docs/kioskd.md.
func reference(w io.Writer) {
	c := defaults()
	fmt.Fprint(w, "# Configuration of kioskd\n\nThis page is made by `kioskd config --markdown`; a test keeps it current.\n\n"+
		"`kioskd serve` reads one YAML file, strictly: an unknown or doubled key is an error with its line. An environment variable overrides the key beside which it stands. The values below are the defaults.\n\n```yaml\n")
	config.Reference(w, envPrefix, &c)
	fmt.Fprint(w, "```\n\n## Exit codes\n\n```text\n"+cli.ExitCodes+"\n```\n")
}
