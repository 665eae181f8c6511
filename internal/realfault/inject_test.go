//go:build linux && amd64

package realfault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dianka/dianka/internal/diskcalls"
)

// faults are what happens at a call to the disk.
var faults = []struct {
	name  string
	errno syscall.Errno
}{
	{"SIGKILL", 0},
	{"EIO", syscall.EIO},
	{"ENOSPC", syscall.ENOSPC},
}

// TestEveryCall lets kioskd do a redemption off line and a top-up on line, in
// the long form also the other way round, with each fault at the first,
// the second and so on of its calls that change a file of the terminal, until
// one run has fewer. After each the terminal is started again and shown the
// card: slip, journal, chip and ledger agree, both audits are clean. A file
// that fails ends the selling at once, and the terminal says so.
func TestEveryCall(t *testing.T) {
	for _, x := range exchanges {
		if os.Getenv(randomEnv) == "" && (x.name == "redemption" || x.name == "topup-offline") {
			continue // the long form does these as well
		}
		for _, f := range faults {
			t.Run(x.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				words := map[string]int{}
				kinds := map[string]int{}
				for n := 1; ; n++ {
					dir := filepath.Join(tempDir(t), "desk")
					word, call, err := disturbed(dir, x, diskcalls.Fault{At: n, Errno: f.errno}, "")
					if err != nil {
						t.Fatalf("call %d, %s: %v", n, call, err)
					}
					if call == "" {
						t.Logf("%d calls %v: %v", n-1, kinds, words)
						if n-1 < 12 {
							t.Errorf("only %d calls: not everything was counted", n-1)
						}
						return
					}
					words[word]++
					kinds[call]++
					os.RemoveAll(dir)
				}
			})
		}
	}
}

// disturbed does an exchange with a fault on a copy of the prepared desk. It
// says which call failed, "" for none, and how the exchange ended.
func disturbed(dir string, x exchange, f diskcalls.Fault, control string) (word, call string, err error) {
	base, err := prepared()
	if err != nil {
		return "", "", err
	}
	if err := copyOf(base, dir); err != nil {
		return "", "", err
	}
	bin, err := binaries()
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(bin, "kioskd")
	c, p, err := openWatched(path, dir, control)
	if err != nil {
		return "", "", err
	}
	defer p.Kill()
	if err := c.insert(x.link); err != nil {
		return "", "", err
	}
	if err := p.Watch(f, filepath.Join(dir, "terminal")); err != nil {
		return "", "", err
	}
	said, err := c.move(x, p)
	p.Sync()
	hit := false
	select {
	case <-p.Hit():
		hit = true
	default:
	}
	if err != nil && !(hit && f.Errno == 0) {
		return "", "", err
	}
	// A full disk costs the ballast, and a second copy that fails is given up:
	// the shop goes on. Only the file itself, failing, ends the selling.
	if hit && f.Errno == syscall.EIO && strings.HasSuffix(last(p), " of terminal.db") {
		if err := c.stopped(); err != nil {
			return "", last(p), err
		}
	}
	if err := p.Kill(); err != nil {
		return "", "", err
	}
	<-p.Gone()
	if hit {
		call = last(p)
	} else if said.HTTP != 200 || said.Result != "done" {
		return "", "", fmt.Errorf("without a fault it was answered with %d %s %s", said.HTTP, said.Result, said.Code)
	}
	word, err = afterwards(path, dir, x, said)
	return word, call, err
}

// move does the exchange and waits until nothing more is to be done for it.
// It gives what was told even when the process is gone.
func (c *till) move(x exchange, p *diskcalls.Process) (said told, err error) {
	if said.answer, err = c.call("POST", x.path, x.body, key); err != nil {
		return said, err
	}
	said.answered = true
	if !x.link {
		return said, nil
	}
	return said, c.until("everything to be sent", p.Hit(), func(a answer) bool { return a.Till.Unsent.Count == 0 || a.Stopped })
}

// last names the call that failed.
func last(p *diskcalls.Process) string {
	for _, k := range p.Calls() {
		if k.Injected {
			return k.Name + " of " + filepath.Base(k.Path)
		}
	}
	return "?"
}

// stopped requires that the terminal refuses to sell, and says why.
func (c *till) stopped() error {
	a, err := c.call("POST", "/api/v1/redemptions", map[string]any{"card": zhang, "account": account, "amount": 100}, "another-sale")
	if err != nil {
		return err
	}
	if a.Code != "stopped" {
		return fmt.Errorf("after the disk failed another sale was answered with %d %s %s", a.HTTP, a.Result, a.Code)
	}
	a, err = c.want(200, "GET", "/api/v1/status", nil, "")
	if err == nil && !a.Stopped {
		err = fmt.Errorf("after the disk failed the status does not say that the terminal has stopped")
	}
	return err
}
