//go:build linux && amd64

package realfault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/utility/ledger"
	"github.com/dianka/dianka/utility/node"
	"github.com/dianka/dianka/utility/record"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/utilitytest"
	"github.com/dianka/dianka/wire"
)

// What is drained: each of the cards pays a yuan so many times, an intent and
// an outcome each.
const (
	drainCards = 100
	drainEach  = 500
	drainKills = 12
	drainSeed  = 1
)

// TestDrainKilled drains 100,000 entries of one terminal into utilityd, which
// is killed with SIGKILL at random moments and started again. What it has
// acknowledged it holds after every start, the totals are exact, the audit is
// clean, and the ledger is the one of a drain that nobody disturbed.
func TestDrainKilled(t *testing.T) {
	t.Parallel()
	base := filepath.Join(tempDir(t), "utility")
	d := prepareDrain(t, base)
	other := filepath.Join(filepath.Dir(base), "other")
	if err := copyOf(base, other); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d.run(t, base, nil)
	quiet := time.Since(start)
	start = time.Now()
	killed := d.run(t, other, mathrand.New(mathrand.NewPCG(drainSeed, 0)))
	t.Logf("%d entries: undisturbed %v, killed %d times %v", len(d.terminal.Entries), quiet, killed, time.Since(start))
	if killed != drainKills {
		t.Errorf("killed %d times, not %d: the drain was over before", killed, drainKills)
	}
	if a, b := d.ledger(t, base), d.ledger(t, other); a != b {
		t.Errorf("the ledger is another than without the kills: %x %x", a, b)
	}
}

// drain is a terminal with a long journal, and a way to its utility.
type drain struct {
	keys     uplink.Keys
	terminal *utilitytest.Terminal
	client   tls.Certificate
}

func prepareDrain(t *testing.T, dir string) *drain {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(quickVault(filepath.Join(dir, "vault"), "drain"))
	ok(os.WriteFile(filepath.Join(dir, "passphrase"), []byte("drain\n"), 0o600))
	n, err := node.Open(ctx, node.Config{Dir: dir, Passphrase: []byte("drain"), TestKeys: true})
	ok(err)
	defer n.Close()
	d := &drain{terminal: &utilitytest.Terminal{
		ID: money.TerminalID{0x31, 1, 0, 0, 0, 1}, Shop: utilitytest.Shop, PSAM: money.SAMID{0x0A, 9: 1}, LoadSAM: money.SAMID{0x0B, 9: 1}, Now: time.Now,
	}}
	x := d.terminal
	ok(n.Service.AddShop(ctx, x.Shop, "corner shop", 0))
	ok(n.Service.PayFloat(ctx, x.Shop, drainCards*drainEach*1_00, "float"))
	ok(n.Service.AddAccount(ctx, utilitytest.Account, "Z**"))
	ok(n.Service.AddCards(ctx, utilitytest.CardNumber(10000), utilitytest.CardNumber(10000+drainCards), utilitytest.Profile, true, 0))
	code, err := n.EnrolmentCode(ctx, x.ID, x.Shop, x.PSAM, x.LoadSAM)
	ok(err)
	line, err := net.Listen("tcp", "127.0.0.1:0")
	ok(err)
	serve, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- n.Serve(serve, line) }()
	d.keys, _, err = uplink.Enrol(ctx, uplink.EnrolOptions{URL: "https://" + line.Addr().String(), Code: code, Terminal: x.ID, PSAM: x.PSAM, LoadSAM: x.LoadSAM})
	stop()
	ok(errors.Join(err, <-served))
	x.Epoch = d.keys.Epoch()
	x.Key = d.keys.Signer(x.Epoch)
	x.Hashes = []journal.Hash{journal.Genesis(x.ID, x.Epoch)}
	key, err := x509.ParsePKCS8PrivateKey(d.keys.TLSKey)
	ok(err)
	d.client = tls.Certificate{Certificate: [][]byte{d.keys.Certificate}, PrivateKey: key}

	for i := range drainCards {
		c := utilitytest.NewCard(10000 + i)
		in := c.InitLoad(x.ID, drainEach*1_00)
		name := x.Add(journal.Name{}, &in)
		a, err := n.Service.AuthoriseLoad(ctx, x.ID, wire.LoadRequest{Name: name, Intent: in})
		ok(err)
		x.Add(name, &journal.LoadAuthorised{Stamp: a.Stamp, MAC2: a.MAC2})
		tac, good := c.Credit(x.ID, in, a.Stamp, a.MAC2)
		if !good {
			t.Fatalf("the load is refused: %s", a.Refused)
		}
		x.Add(name, &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true, TAC: tac, After: c.Balance})
		for range drainEach {
			x.Redeem(c, utilitytest.Account, 1_00)
		}
	}
	return d
}

// run drains into a utilityd on dir, and kills it at moments of rng.
func (d *drain) run(t *testing.T, dir string, rng *mathrand.Rand) (killed int) {
	t.Helper()
	config := filepath.Join(dir, "utilityd.yaml")
	text := fmt.Sprintf("dir: %s\nlisten: 127.0.0.1:0\npassphrase_file: %s\ntest_keys: true\n", dir, filepath.Join(dir, "passphrase"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	acked := uint64(0)
	for {
		u := serveUtility(t, config)
		var kill *time.Timer
		if rng != nil && killed < drainKills {
			// Some kills come in the first batch, some between two.
			wait := time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
			kill = time.AfterFunc(wait, func() { u.cmd.Process.Kill() })
		}
		err := d.send(t, u.address, &acked)
		if kill != nil && !kill.Stop() {
			killed++
			u.wait()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		u.cmd.Process.Signal(syscall.SIGTERM)
		if err := u.wait(); err != nil {
			t.Errorf("utilityd ended with %v", err)
		}
		break
	}
	out, err := exec.Command(program(t, "utilityd"), "audit", "--config", config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "verdict: clean") {
		t.Errorf("utilityd audit: %v\n%s", err, out)
	}
	return killed
}

// send asks what the utility holds, and sends what is missing. What was
// acknowledged must be among it.
func (d *drain) send(t *testing.T, address string, acked *uint64) error {
	x := d.terminal
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{d.client}, ServerName: wire.ServerName,
		InsecureSkipVerify: true, // what counts is signed, and verified below
	}, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	post := func(path, what string, q, a canon.Record) error {
		resp, err := c.Post("https://"+address+path, wire.ContentType, bytes.NewReader(wire.Marshal(q)))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %d %s", path, resp.StatusCode, b)
		}
		return wire.Unseal(b, what, ed25519.PublicKey(d.keys.Utility[:]), a)
	}
	var hello wire.HelloAnswer
	if err := post(wire.PathHello, "hello", &wire.Hello{Version: wire.Version, Head: x.Head(), Software: "drain", Wall: time.Now().UnixMilli()}, &hello); err != nil {
		return err
	}
	if hello.Standing != wire.StandingGood || hello.Stored.Seq < *acked || hello.Stored.Hash != x.Hashes[hello.Stored.Seq] {
		t.Fatalf("lost: %d were acknowledged, the utility holds %d (standing %d)", *acked, hello.Stored.Seq, hello.Standing)
	}
	for from := int(hello.Stored.Seq); from < len(x.Entries); from = int(*acked) {
		b := x.Batch(from, min(from+wire.MaxBatch, len(x.Entries)))
		var ack wire.Ack
		if err := post(wire.PathBatches, "ack", &b, &ack); err != nil {
			return err
		}
		if ack.Hash != x.Hashes[ack.Through] || ack.Through <= *acked || len(ack.Verdicts) != 0 {
			t.Fatalf("acknowledged through %d after %d, %d verdicts", ack.Through, *acked, len(ack.Verdicts))
		}
		*acked = ack.Through
	}
	return nil
}

// serving is a running utilityd.
type serving struct {
	cmd     *exec.Cmd
	address string
	wait    func() error
}

var serves = regexp.MustCompile(`terminals=(\S+)`)

func serveUtility(t *testing.T, config string) *serving {
	t.Helper()
	s := &serving{cmd: exec.Command(program(t, "utilityd"), "serve", "--config", config)}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	read := make(chan struct{})
	s.wait = func() error { <-read; return s.cmd.Wait() }
	var said strings.Builder
	lines := bufio.NewScanner(log)
	for s.address == "" && lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		if m := serves.FindStringSubmatch(lines.Text()); m != nil {
			s.address = m[1]
		}
	}
	go func() { io.Copy(io.Discard, log); close(read) }()
	if s.address == "" {
		s.cmd.Process.Kill()
		t.Fatalf("utilityd did not start: %v %s", s.wait(), said.String())
	}
	return s
}

// ledger requires the exact totals, and gives the hash of the ledger.
func (d *drain) ledger(t *testing.T, dir string) record.Hash {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "utility.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	total := map[string]money.Fen{}
	if err := db.Balances(t.Context(), 0, func(a ledger.Account, v money.Fen) error {
		kind, _, _ := strings.Cut(a.String(), "/")
		total[kind] += v
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const all = drainCards * drainEach * 1_00
	if total["customer"] != all || total["card"] != 0 || total["shop"] != 0 || total["bank"] != -all {
		t.Errorf("the totals are %v", total)
	}
	h, err := storage.LedgerHash(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
