//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
	"github.com/dianka/dianka/wire"
)

const million = 1_000_000

// start measures a terminal on a journal of a million entries: how soon it
// serves its first page, and what memory it holds at rest.
func start(ctx context.Context, dir string) error {
	title("Start and memory of a terminal with %d entries, its screens served, no link", million)
	d, err := desk.Open(ctx, desk.Options{Dir: dir}) // enrols a terminal
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	path := station.StorePath(filepath.Join(dir, "terminal"))
	began := time.Now()
	if err := fill(ctx, path); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	line("the file", fmt.Sprintf("%d MiB", st.Size()>>20), fmt.Sprintf("%d bytes an entry, made in %.0f s", st.Size()/million, time.Since(began).Seconds()))
	for _, x := range []struct {
		name string
		full bool
		prep func() error
	}{
		{"in the page cache", false, func() error { return nil }},
		{"file not in the page cache", false, func() error { return evict(path) }},
		{"full hotlist and accounts", true, func() error { return fullSections(path) }},
	} {
		if err := x.prep(); err != nil {
			return err
		}
		r, err := startOnce(ctx, dir)
		if err != nil {
			return err
		}
		line(x.name+": open", ms(r.open), "store.Open and station.Open")
		line("  first page served", ms(r.served), goal(r.served < 500*time.Millisecond, "0.5 s")+", from exec")
		verdict := goal(r.rest < 40<<20, "40 MiB")
		if x.full {
			verdict = "no goal: 2,000,000 cards and 200,000 accounts in memory"
		}
		line("  memory at rest", fmt.Sprintf("%.1f MiB", mib(r.rest)), fmt.Sprintf("%s; of it anonymous %.1f", verdict, mib(r.anon)))
	}
	took, err := bareOpen(path)
	if err != nil {
		return err
	}
	line("compared to: bare bbolt", ms(took), "opening the same file and reading its last key")
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// fill writes a million entries, redemptions and top-ups of ten thousand
// cards, and acknowledges all but the last hundred.
func fill(ctx context.Context, path string) (err error) {
	s, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := rand.New(rand.NewPCG(1, 2))
	epoch := s.Head().Epoch
	for seq := uint64(0); seq < million; {
		var ds []store.Draft
		for len(ds) < 20_000 {
			var c money.CardNumber
			c[0], c[8], c[9] = 0x31, byte(r.IntN(40)), byte(r.IntN(256))
			var tok journal.Token
			for i := range tok {
				tok[i] = byte(r.Uint32())
			}
			ref := journal.Ref{Epoch: epoch, Seq: seq + 1}
			if r.IntN(3) > 0 {
				ds = append(ds,
					store.Draft{Actor: clerk, Body: &journal.PurchaseIntent{Token: tok, Purpose: journal.PurposeRedeem, Card: c, Account: account, Amount: 50_00}},
					store.Draft{Actor: journal.System, Ref: ref, Body: &journal.PurchaseOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true}})
				seq += 2
			} else {
				ds = append(ds,
					store.Draft{Actor: clerk, Body: &journal.LoadIntent{Token: tok, Purpose: journal.PurposeTopUp, Card: c, Amount: 50_00, Tendered: 50_00}},
					store.Draft{Actor: journal.System, Ref: ref, Body: &journal.LoadAuthorised{}},
					store.Draft{Actor: journal.System, Ref: ref, Body: &journal.LoadOutcome{Result: journal.Done, Evidence: journal.EvidenceAnswer, HasTAC: true}})
				seq += 3
			}
		}
		if _, err := s.Append(ctx, ds...); err != nil {
			return err
		}
	}
	through := s.Head().Seq - 100
	hash, _, err := s.Entries(through+1, 1, 1)
	if err != nil {
		return err
	}
	ack := wire.Ack{Terminal: s.Identity().Terminal, Epoch: epoch, Through: through, Hash: hash}
	return s.PutAck(canon.Marshal(&wire.Sealed{What: "ack", Body: canon.Marshal(&ack)}), ack)
}

// fullSections puts the largest hotlist and list of accounts there may be.
func fullSections(path string) (err error) {
	s, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	hot := wire.Section{Kind: wire.SectionHotlist, Version: 1, Hotlist: make(wire.Hotlist, wire.MaxHotlist)}
	for i := range hot.Hotlist {
		hot.Hotlist[i] = money.CardNumber{2: 0x31, 6: byte(i >> 24), 7: byte(i >> 16), 8: byte(i >> 8), 9: byte(i)}
	}
	bills := wire.Section{Kind: wire.SectionAccounts, Version: 1, Accounts: make([]wire.Bill, wire.MaxAccounts)}
	for i := range bills.Accounts {
		bills.Accounts[i] = wire.Bill{Account: money.AccountNumber(1_000_000_000 + i), Owner: "王*明", Balance: -86_20}
	}
	for _, sec := range []wire.Section{hot, bills} {
		if err := s.PutSection(canon.Marshal(&wire.Sealed{What: "section", Body: canon.Marshal(&sec)}), sec); err != nil {
			return err
		}
	}
	return nil
}

// evict drops the file from the page cache, as after a power cut.
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

func bareOpen(path string) (time.Duration, error) {
	begin := time.Now()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		tx.Bucket([]byte("journal")).Cursor().Last()
		return nil
	})
	took := time.Since(begin)
	return took, errors.Join(err, db.Close())
}

type figures struct {
	open, served time.Duration
	rest, anon   int64 // bytes
}

const settle = 5 * time.Second // at rest: what the start made has been collected or not, as it comes

// startOnce runs a terminal in a process of its own and looks at it from
// outside.
func startOnce(ctx context.Context, dir string) (f figures, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, self, "-idle", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // its end is the child's
	if err != nil {
		return f, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return f, err
	}
	defer func() { in.Close(); err = errors.Join(err, cmd.Wait()) }()
	var at string
	if _, err := fmt.Fscanln(out, &at, &f.open); err != nil {
		return f, fmt.Errorf("the terminal did not start: %w", err)
	}
	for ready := false; !ready; {
		if ready, err = serves("http://" + at + "/api/v1/status"); err != nil {
			return f, err
		}
		if f.served = time.Since(began); f.served > 30*time.Second {
			return f, errors.New("the terminal serves nothing")
		}
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return f, ctx.Err()
	}
	f.rest, f.anon, err = resident(cmd.Process.Pid)
	return f, err
}

// serves reports whether the terminal has its SAM and shows so.
func serves(url string) (bool, error) {
	r, err := http.Get(url)
	if err != nil {
		return false, err
	}
	defer r.Body.Close()
	var v struct {
		PSAM struct {
			Present bool `json:"present"`
		} `json:"psam"`
	}
	return v.PSAM.Present, json.NewDecoder(r.Body).Decode(&v)
}

// resident sums what a process holds in memory, without the terminal's file,
// which the kernel takes back at will.
func resident(pid int) (rest, anon int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return 0, 0, err
	}
	mapped := false
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if !strings.HasSuffix(f[0], ":") {
			mapped = strings.HasSuffix(sc.Text(), "/terminal.db")
			continue
		}
		var kib int64
		if len(f) < 2 || mapped {
			continue
		}
		fmt.Sscan(f[1], &kib)
		switch f[0] {
		case "Rss:":
			rest += kib << 10
		case "Anonymous:":
			anon += kib << 10
		}
	}
	return rest, anon, nil
}

// rest is the process that is looked at: what kioskd serves, with a simulated
// SAM in a reader and no link. It ends with its standard input.
func rest(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	sam, err := simcard.Open(filepath.Join(dir, "cards", "sam.card"), simcard.Options{})
	if err != nil {
		return err
	}
	cardSlot, samSlot := virtual.New("sim:card"), virtual.New("sim:sam")
	samSlot.Insert(sam)
	gate := &uplink.Gate{}
	gate.Set(false)
	began := time.Now()
	st, err := station.Open(station.Config{
		Dir: filepath.Join(dir, "terminal"), Utility: "https://127.0.0.1:1", Card: cardSlot, PSAM: samSlot, LoadSAM: samSlot,
		TestKeys: true, Software: "bench", Dial: gate.DialContext,
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	screens, err := kiosk.New(kiosk.Config{Terminal: st.Terminal, Link: st})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, st.Close())
	}
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	fmt.Println(l.Addr(), int64(took))
	err = screens.Serve(ctx, l)
	cancel()
	return errors.Join(err, <-done, st.Close())
}
