//go:build linux && cgo

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/reader/vpcd"
	"github.com/dianka/dianka/reader/vpcd/private"
	"github.com/dianka/dianka/simcard"
	"github.com/dianka/dianka/suite"
	"github.com/dianka/dianka/utility/node"
)

// TestServe enrols and runs a terminal as a shop does: from a configuration,
// on readers of a real PC/SC service, at a utility behind TLS.
func TestServe(t *testing.T) {
	dir, err := os.MkdirTemp("", "kioskd") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()

	pcscd, err := private.Start(ctx, filepath.Join(dir, "p"))
	if errors.Is(err, private.ErrMissing) && os.Getenv("DIANKA_REQUIRE_PCSCD") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer pcscd.Stop()
	sam := simcard.New(simcard.Options{})
	r := simcard.TestSAM(desk.SAM, desk.TerminalID)
	r.Levels, r.Keys = []int{1, 2}, suite.TestMasters()
	if err := simcard.Personalise(sam, r); err != nil {
		t.Fatal(err)
	}
	session, err := vpcd.Dial(ctx, pcscd.Slots[1], sam)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()

	nc := node.Config{Dir: filepath.Join(dir, "u"), Passphrase: []byte("test"), TestKeys: true}
	if err := node.CreateVault(nc.Dir, nc.Passphrase, suite.TestMasters()); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(ctx, nc)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Service.AddShop(ctx, desk.Shop, "Corner", 100_00); err != nil {
		t.Fatal(err)
	}
	code, err := n.EnrolmentCode(ctx, desk.TerminalID, desk.Shop, desk.SAM, desk.SAM)
	if err != nil {
		t.Fatal(err)
	}
	line, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	serve, end := context.WithCancel(ctx)
	go func() { gone <- n.Serve(serve, line) }()
	defer func() {
		end()
		if err := <-gone; err != nil {
			t.Error(err)
		}
	}()

	hash, err := kiosk.HashPIN("2468")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, test bool) string {
		path := filepath.Join(dir, name)
		text := fmt.Sprintf("state: %s\nutility: https://%s\nreaders:\n  card: \"pcsc:%s\"\n  psam: \"pcsc:%s\"\n  load_sam: \"pcsc:%s\"\nscreens:\n  listen: 127.0.0.1:0\nstaff:\n  - {id: 7, name: A, pin_hash: %q, rights: [topup, settle]}\ntest_keys: %t\nunsafe_filesystem: a test\n",
			filepath.Join(dir, "s"), line.Addr(), private.Readers[0], private.Readers[1], private.Readers[1], hash, test)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bench, shop := write("bench.yaml", true), write("shop.yaml", false)

	var out, problem strings.Builder
	if c := run(ctx, []string{"serve", "--config", bench}, &out, &problem); c != 1 || !strings.Contains(problem.String(), "kioskd enrol") {
		t.Fatalf("before enrolment: %d %s", c, problem.String())
	}
	if c := run(ctx, []string{"readers"}, &out, &problem); c != 0 || !strings.Contains(out.String(), "pcsc:"+private.Readers[0]) {
		t.Fatalf("readers: %d %s", c, out.String())
	}
	problem.Reset()
	if c := run(ctx, []string{"enrol", "--config", bench, "--code", code}, &out, &problem); c != 0 {
		t.Fatalf("enrol: %d %s", c, problem.String())
	}

	status := runServe(t, ctx, bench, func(s serveStatus) bool { return s.Link.Online && s.PSAM.Present && s.LoadSAM.Present })
	if status.Terminal != desk.TerminalID.String() || status.PSAM.Problem != nil || status.Simulated {
		t.Errorf("%+v", status)
	}
	// A real configuration refuses the same SAM: its keys are known to all.
	status = runServe(t, ctx, shop, func(s serveStatus) bool { return s.PSAM.Problem != nil })
	if status.PSAM.Problem.Code != "test_card" {
		t.Errorf("a test SAM at a real terminal: %+v", status.PSAM)
	}
	out.Reset()
	if c := run(ctx, []string{"audit", "--config", bench}, &out, &problem); c != 0 || !strings.Contains(out.String(), "verdict: clean") {
		t.Errorf("audit: %d %s %s", c, out.String(), problem.String())
	}
}

type serveStatus struct {
	Terminal  string
	Simulated bool
	Link      struct{ Online bool }
	PSAM      serveSAM
	LoadSAM   serveSAM `json:"load_sam"`
}

type serveSAM struct {
	Present bool
	Problem *struct{ Code string }
}

// runServe runs the daemon until its status is as wanted.
func runServe(t *testing.T, ctx context.Context, config string, ok func(serveStatus) bool) (s serveStatus) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	logs, in := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"serve", "--config", config}, io.Discard, in); in.Close() }()
	defer func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("kioskd serve ended with %d", c)
		}
	}()
	address := regexp.MustCompile(`screens=(http://\S+/)`)
	url := ""
	for lines := bufio.NewScanner(logs); url == "" && lines.Scan(); {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			url = m[1]
		}
	}
	go io.Copy(io.Discard, logs)
	if url == "" {
		t.Fatal("kioskd serve did not say where it serves")
	}
	for ctx.Err() == nil {
		resp, err := http.Get(url + "api/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		s = serveStatus{}
		err = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		time.Sleep(50 * time.Millisecond) // the API has no other way to ask without a session
	}
	t.Fatalf("never as wanted: %+v", s)
	return s
}
