package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/internal/desk/desktest"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/kiosk"
	"github.com/dianka/dianka/store"
)

// As a program of its own looks at a terminal's file, so does this one.
func init() {
	if len(os.Args) > 1 && os.Args[1] == station.CheckName {
		main()
	}
}

// makeShop makes a terminal's folder and a bundle of all that it did.
func makeShop(t *testing.T, bundle, folder string) {
	t.Helper()
	state := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, stop, err := desktest.CutOff(ctx, state)
	if err == nil {
		err = stop()
	}
	if err == nil {
		err = os.CopyFS(folder, os.DirFS(filepath.Join(state, "terminal")))
	}
	if err == nil {
		err = os.Chmod(filepath.Join(folder, "terminal.keys"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := station.Evidence(ctx, station.Config{Dir: folder}, evidence.Wish{})
	if err == nil {
		err = evidence.WriteFile(bundle, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// makeLive gives the folder of a terminal that runs as long as the test.
func makeLive(t *testing.T, folder string) {
	t.Helper()
	state := t.TempDir()
	stop, err := live(state)
	if err == nil {
		err = os.Symlink(filepath.Join(state, "terminal"), folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestShop runs the scripts of testdata/shop on the folders of real terminals.
func TestShop(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/shop", RequireExplicitExec: true, RequireUniqueNames: true, Setup: bare,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"shop": shopCommand, "live": liveCommand, "link": linkCommand, "serving": servingCommand, "opened": openedCommand, "alter": alterCommand, "damage": damageCommand},
	})
}

// shopCommand is `shop STATE`: a desk that was cut off, closed again.
func shopCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shop state")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, stop, err := desktest.CutOff(ctx, ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(stop())
}

// liveCommand is `live STATE`: a desk that was cut off, running until the script ends.
func liveCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: live state")
	}
	stop, err := live(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() {
		desks.Delete(ts.MkAbs(args[0]))
		if err := stop(); err != nil {
			panic(err)
		}
	})
}

var desks sync.Map // that run, by folder

// linkCommand is `link STATE`: the line of a desk that runs is back, and what
// waited for it is done.
func linkCommand(ts *testscript.TestScript, neg bool, args []string) {
	d, ok := desks.Load(ts.MkAbs(args[0]))
	if neg || !ok {
		ts.Fatalf("usage: link state")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	term := d.(*desk.Desk).Station.Terminal
	changes := term.Changes(ctx)
	d.(*desk.Desk).LinkUp(true)
	for {
		if s := term.Status(); s.Online && s.Unsent.Count == 0 {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("the line stays down")
		case <-changes:
		case <-time.After(100 * time.Millisecond): // some of it announces less
		}
	}
}

// pinHash is that of 2468, made beforehand, since a hash is slow by intent.
const pinHash = "$argon2id$v=19$m=19456,t=2,p=1$bdkVkkSS4tSRoceBrRf0eQ$tp2gvRTzX3BMowirqVVzHWqhN4gBvpBIzGitq1IAF+E"

// live runs a desk as kioskd does, with its socket.
func live(state string) (stop func() error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	d, end, err := desktest.CutOff(ctx, state)
	if err != nil {
		cancel()
		return nil, err
	}
	dir := filepath.Join(state, "terminal")
	held, err := station.Hold(dir)
	if err != nil {
		cancel()
		return nil, errors.Join(err, end())
	}
	l, err := local.Listen(dir)
	if err != nil {
		cancel()
		return nil, errors.Join(err, held.Close(), end())
	}
	screens, err := kiosk.New(kiosk.Config{Terminal: d.Station.Terminal, Link: d.Station, Staff: []kiosk.Staff{
		{ID: 1, Name: "Chen", PINHash: pinHash, Rights: []string{kiosk.RightTopUp, kiosk.RightRedeem}},
		{ID: 2, Name: "Wang", PINHash: pinHash, Rights: []string{kiosk.RightTopUp, kiosk.RightRedeem, kiosk.RightService}},
	}})
	if err != nil {
		cancel()
		return nil, errors.Join(err, l.Close(), held.Close(), end())
	}
	desks.Store(state, d)
	life, close := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- local.Serve(life, l, station.Local{Station: d.Station}, screens.Service()) }()
	return func() error {
		close()
		err := errors.Join(<-done, held.Close(), end())
		cancel()
		return err
	}, nil
}

// servingCommand is `serving FOLDER`: until the script ends a daemon works there.
func servingCommand(ts *testscript.TestScript, neg bool, args []string) {
	held, err := filelock.Acquire(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { held.Close() })
}

// openedCommand is `opened FOLDER`: until the script ends a daemon has the
// terminal's file open, and knows nothing of the lock of the folder.
func openedCommand(ts *testscript.TestScript, neg bool, args []string) {
	f, err := store.Open(station.StorePath(ts.MkAbs(args[0])), store.Options{})
	ts.Check(err)
	ts.Defer(func() { f.Close() })
}

// alterCommand is `alter FILE OLD NEW`, of one length.
func alterCommand(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(args[1]) != len(args[2]) || !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.ReplaceAll(b, []byte(args[1]), []byte(args[2])), 0o600))
}

// damageCommand is `damage FILE HOW`: what disks do to files.
func damageCommand(ts *testscript.TestScript, neg bool, args []string) {
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	switch args[1] {
	case "cut": // its last part is missing
		b = b[:len(b)*2/3]
	case "meta": // both pages that say where everything is
		clear(b[:8192])
	case "end":
		b = b[:len(b)-40]
	default:
		ts.Fatalf("damage %s?", args[1])
	}
	ts.Check(os.WriteFile(file, b, 0o600))
}
