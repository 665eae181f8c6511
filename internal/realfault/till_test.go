//go:build linux && amd64

package realfault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/dianka/dianka/internal/diskcalls"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

// till drives a running kioskd --sim as a clerk does, by its local API.
type till struct {
	base string
	http http.Client
	kill func() error
}

// zhang is the sample card of the desk that is used, account one that it pays.
const (
	zhang   = "3310088800000017"
	account = "0100000017"
	held    = 100_00 // on the card at the start
)

var address = regexp.MustCompile(`http://[0-9.:]+/`)

// findAddress reads kioskd's first words.
func findAddress(out io.Reader) (string, error) {
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a := address.FindString(lines.Text()); a != "" {
			go io.Copy(io.Discard, out)
			return strings.TrimSuffix(a, "/"), nil
		}
		fmt.Fprintln(&said, lines.Text())
	}
	return "", fmt.Errorf("kioskd did not say where its screens are: %s", said.String())
}

// open starts kioskd on a folder.
func open(path, dir string) (*till, error) {
	cmd := exec.Command(path, "--sim", "--state", dir, "--listen", "127.0.0.1:0")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &till{kill: func() error { cmd.Process.Kill(); cmd.Wait(); return nil }}
	if err := c.connect(out); err != nil {
		c.kill()
		return nil, fmt.Errorf("%w; %s", err, errs.String())
	}
	return c, nil
}

// openWatched starts kioskd so that its calls can be watched. control puts a
// bug in.
func openWatched(path, dir, control string) (*till, *diskcalls.Process, error) {
	from, to := io.Pipe()
	args := []string{"--sim", "--state", dir, "--listen", "127.0.0.1:0"}
	if control != "" {
		bin, err := controls()
		if err != nil {
			return nil, nil, err
		}
		path, args = "/usr/bin/env", append([]string{controlEnv + "=" + control, bin}, args...) // env(1) becomes the program
	}
	p, err := diskcalls.Start(to, io.Discard, path, args...)
	if err != nil {
		return nil, nil, err
	}
	c := &till{kill: p.Kill}
	if err := errors.Join(c.connect(from), c.login()); err != nil {
		return nil, nil, errors.Join(err, p.Kill())
	}
	return c, p, nil
}

func (c *till) connect(out io.Reader) (err error) {
	c.http.Timeout = 30 * time.Second
	if c.http.Jar, err = cookiejar.New(nil); err != nil {
		return err
	}
	// Its own connections: those of a killed one are no use to the next.
	c.http.Transport = &http.Transport{}
	c.base, err = findAddress(out)
	return err
}

func (c *till) login() error {
	_, err := c.want(200, "POST", "/api/v1/login", map[string]any{"staff": "2", "pin": "2468"}, "")
	return err
}

// answer is what the API says, as far as it matters here.
type answer struct {
	HTTP    int
	Code    string // of a refusal
	ID      string
	Result  string
	Head    uint64
	Stopped bool
	Card    struct{ State string }
	Link    json.RawMessage // of status an object, of the desk a bool
	Till    struct {
		Unsent    struct{ Count uint64 }
		Allowance struct {
			Known  bool
			Amount money.Fen
		}
		Unknown int
	}
	Cards []struct {
		Card    string
		Balance money.Fen
	}
	Ledger []struct {
		Name    string
		Balance money.Fen
	}
}

func (c *till) call(method, path string, body any, key string) (a answer, err error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return a, err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, c.base+path, in)
	if err != nil {
		return a, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	raw := struct {
		*answer
		Card json.RawMessage // of status an object, of a receipt a number
	}{answer: &a}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return a, fmt.Errorf("%s %s answered %s: %w", method, path, b, err)
	}
	if bytes.HasPrefix(raw.Card, []byte("{")) {
		if err := json.Unmarshal(raw.Card, &a.Card); err != nil {
			return a, err
		}
	}
	a.HTTP = resp.StatusCode
	return a, nil
}

func (c *till) want(status int, method, path string, body any, key string) (answer, error) {
	a, err := c.call(method, path, body, key)
	if err == nil && a.HTTP != status {
		err = fmt.Errorf("%s %s answered %d %s", method, path, a.HTTP, a.Code)
	}
	return a, err
}

func (a answer) online() bool {
	var l struct{ Online bool }
	json.Unmarshal(a.Link, &l)
	return l.Online
}

func (a answer) standing() string {
	var l struct{ Standing string }
	json.Unmarshal(a.Link, &l)
	return l.Standing
}

// until asks for the status until it is as it should be. It ends early when
// gone is closed.
func (c *till) until(what string, gone <-chan struct{}, ok func(answer) bool) error {
	end := time.Now().Add(20 * time.Second)
	for {
		a, err := c.want(200, "GET", "/api/v1/status", nil, "")
		if err != nil {
			return err
		}
		if ok(a) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %s: %+v", what, a)
		}
		select {
		case <-gone:
			return nil
		case <-time.After(5 * time.Millisecond): // another program, which is asked again
		}
	}
}

// insert puts the card in and waits until it is read, with the link as said.
func (c *till) insert(link bool) error {
	if _, err := c.want(200, "POST", "/sim/put", map[string]any{"card": "zhang"}, ""); err != nil {
		return err
	}
	ready := func(a answer) bool {
		return a.Card.State == "ready" && a.online() && a.Till.Allowance.Amount > 0 && a.Till.Unsent.Count == 0
	}
	if err := c.until("card and link", nil, ready); err != nil || link {
		return err
	}
	if _, err := c.want(200, "POST", "/sim/link", map[string]any{"up": false}, ""); err != nil {
		return err
	}
	return c.until("the link to be down", nil, func(a answer) bool { return !a.online() })
}

// exchange is a movement of value that is disturbed.
type exchange struct {
	name  string
	link  bool
	path  string
	body  map[string]any
	delta money.Fen
}

var exchanges = []exchange{
	{"redemption", true, "/api/v1/redemptions", map[string]any{"card": zhang, "account": account, "amount": 2000}, -20_00},
	{"redemption-offline", false, "/api/v1/redemptions", map[string]any{"card": zhang, "account": account, "amount": 2000}, -20_00},
	{"topup", true, "/api/v1/topups", map[string]any{"card": zhang, "amount": 3000, "tendered": 3000}, 30_00},
	{"topup-offline", false, "/api/v1/topups", map[string]any{"card": zhang, "amount": 3000, "tendered": 3000}, 30_00},
}

// key is the Idempotency-Key of the disturbed movement.
const key = "the-disturbed-one"

// prepared is a desk at which every case begins: a shift is open, the card
// holds 100.00 yuan, everything is sent, the load SAM has an allowance.
var prepared = sync.OnceValues(func() (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, "prepared")
	if err := quickVault(filepath.Join(dir, "utility", "vault"), "desk"); err != nil {
		return "", err
	}
	c, err := open(filepath.Join(bin, "kioskd"), dir)
	if err != nil {
		return "", err
	}
	defer c.kill()
	if err := c.login(); err != nil {
		return "", err
	}
	if _, err := c.want(200, "POST", "/api/v1/shift/open", map[string]any{"cash": 0}, ""); err != nil {
		return "", err
	}
	if err := c.insert(true); err != nil {
		return "", err
	}
	a, err := c.want(200, "POST", "/api/v1/topups", map[string]any{"card": zhang, "amount": held, "tendered": held}, "the-first-load")
	if err != nil || a.Result != "done" {
		return "", fmt.Errorf("the first load: %s %w", a.Result, err)
	}
	return dir, c.until("everything to be sent", nil, func(a answer) bool { return a.Till.Unsent.Count == 0 })
})

// copyOf copies a folder with its modes, and holes as holes.
func copyOf(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}

// told is what the clerk was told about the movement.
type told struct {
	answered bool
	answer
}

// afterwards starts kioskd on the folder, shows it the card with the link up,
// and requires that everything agrees: slip, journal, chip, ledger, and both
// audits. It says how the movement ended.
func afterwards(path, dir string, x exchange, said told) (word string, err error) {
	c, err := open(path, dir)
	if err != nil {
		return "", err
	}
	defer c.kill()
	// No clerk logs in: a PIN's hash is slow by intent, and all this is shown
	// to anyone.
	if _, err := c.want(200, "POST", "/sim/put", map[string]any{"card": "zhang"}, ""); err != nil {
		return "", err
	}
	if err := c.until("card and link", nil, func(a answer) bool {
		return a.Card.State == "ready" && a.online() && a.standing() == "good"
	}); err != nil {
		return "", err
	}
	var chip, ledger money.Fen
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // another program, which is asked again
		if chip, ledger, err = c.balances(); err != nil {
			return "", err
		}
		if chip == ledger || time.Now().After(end) {
			break // whether they agree is judged below
		}
	}
	if _, err := c.want(200, "POST", "/sim/take", map[string]any{}, ""); err != nil {
		return "", err
	}
	if chip, ledger, err = c.balances(); err != nil { // of the chip itself, now that it is out
		return "", err
	}
	c.kill()
	tx, found, err := audited(dir)
	if err != nil {
		return "", err
	}
	want := money.Fen(held)
	word = "never began"
	if found {
		word = map[journal.Result]string{journal.Done: "done", journal.NotDone: "not_done"}[tx.Result]
		if tx.Result == journal.Done {
			want += x.delta
		}
	}
	switch {
	case chip != want:
		return word, fmt.Errorf("the journal says %s, but the chip holds %s instead of %s", word, chip, want)
	case ledger != chip:
		return word, fmt.Errorf("the ledger has %s on the card, the chip %s", ledger, chip)
	case !said.answered:
	case said.HTTP == 200 && !found:
		return word, fmt.Errorf("the slip %s says %s, the journal has nothing", said.ID, said.Result)
	case said.HTTP == 200 && (said.ID != tx.Name.String() || (said.Result != "unknown" && said.Result != word)):
		return word, fmt.Errorf("the slip %s says %s, the journal %s %s", said.ID, said.Result, tx.Name, word)
	case said.HTTP != 200 && said.Code != "uncertain" && word == "done":
		return word, fmt.Errorf("refused with %s, but it was done", said.Code)
	}
	return word, nil
}

// balances are what the card holds and what the ledger has on it.
func (c *till) balances() (chip, ledger money.Fen, err error) {
	a, err := c.want(200, "GET", "/sim", nil, "")
	for _, k := range a.Cards {
		if k.Card == "zhang" {
			chip = k.Balance
		}
	}
	for _, l := range a.Ledger {
		if l.Name == "card/0000"+zhang {
			ledger = l.Balance
		}
	}
	return chip, ledger, err
}

// audited runs both audits as a person does, and finds the movement.
func audited(dir string) (tx journal.Transaction, found bool, err error) {
	for _, name := range []string{"kioskd", "utilityd"} {
		if err := audit(name, dir); err != nil {
			return tx, false, err
		}
	}
	st, err := store.Open(station.StorePath(filepath.Join(dir, "terminal")), store.Options{})
	if err != nil {
		return tx, false, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if n, err := st.CountOpen(); err != nil || n != 0 {
		return tx, false, fmt.Errorf("%d transactions are still unknown (%w)", n, err)
	}
	return st.ByToken(journal.TokenOf(key))
}

func audit(name, dir string) error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	out, err := exec.Command(filepath.Join(bin, name), "audit", "--state", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "verdict: clean") {
		return fmt.Errorf("%s audit: %w\n%s", name, err, out)
	}
	return nil
}
