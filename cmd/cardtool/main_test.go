package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/personalise"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/simcard/serialreader"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/vault"
)

// commands are the programs that scripts may call: the tool, and one that
// makes a card with a history.
var commands = map[string]func(){"cardtool": main, "mkcard": mkcard, "hold": hold, "zipcat": zipcat, "testkeys": testkeys, "mkvault": mkvault}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true, Setup: bare})
}

// bare keeps the machine's own readers and aliases out.
func bare(env *testscript.Env) error {
	env.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(env.WorkDir, "none"))
	env.Setenv(aliasesEnv, filepath.Join(env.WorkDir, "aliases"))
	return nil
}

// hold READER FILE keeps a PC/SC reader to itself until the file, which it
// makes, is removed.
func hold() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := pcsc.New(pcsc.Options{Exclusive: true})
	fail(err)
	slot, err := s.Slot(os.Args[1])
	fail(err)
	_, err = slot.Open(context.Background())
	fail(err)
	fail(os.WriteFile(os.Args[2], nil, 0o600))
	for {
		if _, err := os.Stat(os.Args[2]); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // the test is another program, which announces nothing
	}
}

// testkeys FILE writes a file of test keys.
func testkeys() {
	if err := os.WriteFile(os.Args[1], []byte(testKeyFile()), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// mkvault FILE PASSPHRASE-FILE makes a vault with keys that are no test keys.
func mkvault() {
	k := func(b byte) []byte { return bytes.Repeat([]byte{b, ^b}, 8) }
	m := suite.Masters{Purchase: k(1), Load: k(2), TAC: k(3), Line: k(4), PINUnblock: k(5), PINReload: k(6), Control: k(7), Allowance: k(8)}
	err := vault.Create(os.Args[1], []byte("a long passphrase"), m)
	if err == nil {
		err = os.WriteFile(os.Args[2], []byte("a long passphrase\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// zipcat FILE writes what is in a zip file, each file behind its name.
func zipcat() {
	z, err := zip.OpenReader(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, f := range z.File {
		fmt.Println("==", f.Name)
		r, err := f.Open()
		if err == nil {
			_, err = io.Copy(os.Stdout, r)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// mkcard FILE FEN... makes the simulated card of sim:card=FILE and loads the
// amounts, or debits the negative ones.
func mkcard() {
	if err := makeCard(os.Args[1], os.Args[2:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func makeCard(file string, amounts ...string) error {
	c, err := simPurse("dianka-ep", file)
	if err != nil {
		return err
	}
	if _, err := c.PowerOn(); err != nil {
		return err
	}
	defer c.PowerOff()
	k := keeper{c: c}
	k.do("00A40400", "09A00000000386980701")
	for i, a := range amounts {
		n, err := strconv.ParseInt(a, 10, 64)
		if err != nil {
			return err
		}
		k.move(money.Fen(n), uint32(i+1), money.Stamp{0x20, 0x26, 0x01, byte(i + 1), 0x12, 0x00, 0x00})
	}
	return k.err
}

// keeper holds the keys of test cards, and so can be PSAM and authority.
type keeper struct {
	c   *simcard.Card
	s   suite.DES3
	err error
}

func (k *keeper) do(header, body string) []byte {
	var b []byte
	fmt.Sscanf(header+body, "%X", &b)
	if k.err != nil {
		return make([]byte, 16)
	}
	r, err := k.c.Transmit(b)
	if err == nil {
		var parsed apdu.Response
		if parsed, err = apdu.ParseResponse(r); err == nil && !parsed.SW.OK() {
			err = parsed.SW
		}
		r = parsed.Data
	}
	if k.err = err; err != nil {
		return make([]byte, 16)
	}
	return r
}

func (k *keeper) move(v money.Fen, seq uint32, at money.Stamp) {
	terminal := money.TerminalID{0x31, 0x01, 0x00, 0x00, 0x12, 0x34}
	factor := money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17}.Factor()
	m := suite.TestMasters()
	load := v > 0
	master, header := m.Load, "805000020B"
	if !load {
		master, header, v = m.Purchase, "805001020B", -v
	}
	key, err := k.s.Diversify(master, factor)
	if err != nil {
		k.err = err
		return
	}
	init := k.do(header, fmt.Sprintf("01%08X%X", int64(v), terminal[:]))
	counter := binary.BigEndian.Uint16(init[4:])
	if load {
		session, _ := k.s.SessionKey(key, suite.LoadSession([4]byte(init[8:]), counter))
		fields, _ := suite.LoadMAC2(v, suite.TypeEPLoad, terminal, at)
		mac, _ := k.s.TransactionMAC(session, fields)
		k.do("805200000B", fmt.Sprintf("%X%X04", at[:], mac[:]))
		return
	}
	session, _ := k.s.SessionKey(key, suite.PurchaseSession([4]byte(init[11:]), counter, seq))
	fields, _ := suite.PurchaseMAC1(v, suite.TypeEPPurchase, terminal, at)
	mac, _ := k.s.TransactionMAC(session, fields)
	k.do("805401000F", fmt.Sprintf("%08X%X%X08", seq, at[:], mac[:]))
}

// testKeyFile is a file of the well-known test keys and the PIN of test cards.
func testKeyFile() string {
	m := suite.TestMasters()
	return fmt.Sprintf("purchase: %X\nload: %X\ntac: %X\nline: %X\npin-unblock: %X\npin-reload: %X\ncontrol: %X\nallowance: %X\npin: 12345\n",
		m.Purchase, m.Load, m.TAC, m.Line, m.PINUnblock, m.PINReload, m.Control, m.Allowance)
}

// TestExamples runs every example of every help page, on simulated cards.
func TestExamples(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"test.keys":     testKeyFile(),
		"purse.yaml":    string(personalise.Example(personalise.KindPurse)),
		"select.apdu":   "# the environment of payment systems\n00A40000023F00 = 9000\nexpect data 6F??84*\n",
		"balance.apdu":  "A40400:$aid = 9000\n805C0002/04 = 9000\nlet b = data\nprint balance $b fen\n",
		"session.trace": "> 00A40000023F00\n< 6F15840E315041592E5359532E4444463031A5038801019000\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	sim := serialreader.NewTwin(serialreader.GemPCTwin)
	defer sim.Unplug()
	line, err := sim.PTY()
	if err != nil {
		t.Fatal(err)
	}
	// The line that an example names is another one on every machine.
	lines := strings.NewReplacer("/dev/serial/by-id/usb-Prolific_USB-Serial-if00-port0", line)
	t.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(dir, "none"))
	t.Setenv(aliasesEnv, filepath.Join(dir, "aliases"))
	t.Setenv(readerEnv, "sim:card="+filepath.Join(dir, "zhang.card"))
	if err := makeCard("zhang.card", "3000"); err != nil {
		t.Fatal(err)
	}
	call := func(line string) {
		t.Helper()
		args := strings.Fields(strings.TrimPrefix(line, "cardtool "))
		var out, errs strings.Builder
		if code := run(t.Context(), args, &out, &errs); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", line, code, &out, &errs)
		} else if out.Len() == 0 {
			t.Errorf("%s: says nothing", line)
		}
	}
	makeShop(t, "shop.evidence", "terminal")
	makeLive(t, "live")
	call("cardtool card dump --out before.json")
	if err := makeCard("zhang.card", "5000"); err != nil {
		t.Fatal(err)
	}
	call("cardtool card dump --out after.json")
	seen := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.RunE == nil || c.HasSubCommands() || c.Hidden {
			return
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for text := range strings.Lines(c.Example) {
			call(lines.Replace(strings.TrimSpace(text)))
			seen++
		}
	}
	visit(newRootCommand())
	if seen < 20 {
		t.Fatalf("only %d examples", seen)
	}
}

// TestEveryCommandHasAScript holds that none is left without one.
func TestEveryCommandHasAScript(t *testing.T) {
	var text strings.Builder
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := filepath.Glob("testdata/shop/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, shop...)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.RunE != nil && !c.Hidden && !c.HasSubCommands() && !strings.Contains(text.String(), c.CommandPath()+" ") && !strings.Contains(text.String(), c.CommandPath()+"\n") {
			t.Errorf("%s is in no script of testdata", c.CommandPath())
		}
	}
	visit(newRootCommand())
}
