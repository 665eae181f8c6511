//go:build linux && amd64

package realfault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/diskcalls"
	"github.com/dianka/dianka/internal/powerloss"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
)

// randomEnv is how many images of random parts are made at each position.
const randomEnv = "DIANKA_POWERCUT_RANDOM"

// TestPowerCut records the calls of kioskd during each exchange and looks at
// every folder that a power cut could leave of the terminal's, at every
// moment: it opens, checks, and holds what anybody was told and what was asked
// of the card.
func TestPowerCut(t *testing.T) {
	for _, x := range exchanges {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			r := observe(t, x, "")
			said, err := r.check(t, random())
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			t.Log(said)
		})
	}
}

func random() int {
	if n, err := strconv.Atoi(os.Getenv(randomEnv)); err == nil {
		return n
	}
	return 200
}

// recording is an undisturbed exchange.
type recording struct {
	Calls  []diskcalls.Call
	Folder string // of the terminal, then
	Cards  string
	Base   string // the terminal's folder before
	Held   uint64 // entries in it that were acknowledged before
}

// observe lets kioskd, with a bug when control says so, do an exchange.
func observe(t *testing.T, x exchange, control string) recording {
	t.Helper()
	base, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tempDir(t), "desk")
	if err := copyOf(base, dir); err != nil {
		t.Fatal(err)
	}
	c, p, err := openWatched(program(t, "kioskd"), dir, control)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if err := c.insert(x.link); err != nil {
		t.Fatal(err)
	}
	r := recording{Folder: filepath.Join(dir, "terminal"), Cards: filepath.Join(dir, "cards"), Base: filepath.Join(filepath.Dir(dir), "before")}
	// Everything is sent and the desk is at rest: what is read is on disk.
	if err := copyOf(r.Folder, r.Base); err != nil {
		t.Fatal(err)
	}
	a, err := c.want(200, "GET", "/api/v1/status", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	r.Held = a.Head
	if err := p.Watch(diskcalls.Fault{}, r.Folder, r.Cards); err != nil {
		t.Fatal(err)
	}
	said, err := c.move(x, p)
	if err != nil || said.Result != "done" {
		t.Fatalf("%s %s %v", said.Result, said.Code, err)
	}
	p.Sync()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Gone()
	r.Calls = p.Calls()
	return r
}

// checkEnv makes a run of this test binary the process that opens the images:
// a damaged file can end a process by a fault in the mapped memory.
const checkEnv = "DIANKA_POWERCUT_CHECK"

// check looks at every image in a process of its own, and gives its words.
func (r recording) check(t *testing.T, random int) (string, error) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := tempDir(t)
	file := filepath.Join(dir, "recording")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", checkEnv, random, file))
	out, err := cmd.CombinedOutput()
	return string(bytes.TrimSpace(out[max(0, len(out)-4000):])), err
}

// checkInside is the life of that process.
func checkInside() {
	spec := os.Getenv(checkEnv)
	if spec == "" {
		return
	}
	n, file, _ := strings.Cut(spec, " ")
	random, err := strconv.Atoi(n)
	if err == nil {
		err = checkImages(file, random)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// slip finds what an answer told. The first part of an answer is enough.
var slip = regexp.MustCompile(`\{"id":"([^"]+)","kind":"[^"]+","result":"([^"]+)"`)

func checkImages(file string, random int) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	target := filepath.Join(filepath.Dir(file), "image")
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	// What must be there once so many calls have ended.
	type need struct {
		from       int
		id, result string // told to the clerk
		asked      bool   // the card was asked to move value
	}
	var needs []need
	for i, c := range r.Calls {
		if m := slip.FindSubmatch(c.Data); c.Name == diskcalls.Answer && m != nil {
			needs = append(needs, need{from: i + 1, id: string(m[1]), result: string(m[2])})
		}
		// The chip writes its memory when its value moves, before it answers.
		if c.Name == "rename" && c.To == filepath.Join(r.Cards, "zhang.card") {
			needs = append(needs, need{from: i + 1, asked: true})
		}
	}
	if len(needs) < 2 {
		return fmt.Errorf("%d answers and movements were seen: nothing would be proved", len(needs))
	}
	ahead := 0
	seen, err := powerloss.Enumerate(r.Calls, powerloss.Options{
		Folder: r.Folder, Base: r.Base, Target: target, Seed: 20261125, Random: random,
	}, func(im powerloss.Image) (err error) {
		st, err := store.Open(station.StorePath(im.Dir), store.Options{InitialMmap: 64 << 20})
		if err != nil {
			return fmt.Errorf("it does not open: %w", err)
		}
		defer func() { err = errors.Join(err, st.Close()) }()
		if _, err := st.Check(context.Background()); err != nil {
			return fmt.Errorf("it does not check: %w", err)
		}
		if st.Head().Seq < r.Held {
			return fmt.Errorf("lost: it ends at entry %d, %d were acknowledged", st.Head().Seq, r.Held)
		}
		tx, found, err := st.ByToken(journal.TokenOf(key))
		if err != nil {
			return err
		}
		told := false
		for _, n := range needs {
			if n.from > im.Done {
				break
			}
			told = true
			switch {
			case !found && n.asked:
				return errors.New("lost: the card was asked to move value, and there is no intent")
			case !found || n.id != "" && tx.Name.String() != n.id:
				return fmt.Errorf("lost: slip %s", n.id)
			case n.result == "done" && tx.Result != journal.Done:
				return fmt.Errorf("lost: slip %s said done, the journal says %d", n.id, tx.Result)
			}
		}
		if found && !told {
			ahead++
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d calls, %d images; in %d of them the intent was there before anyone was told\n", len(r.Calls), seen, ahead)
	return nil
}
