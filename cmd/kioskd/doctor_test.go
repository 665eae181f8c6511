package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/fscheck"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
)

func on(s fscheck.State) func(string) (fscheck.Verdict, error) {
	return func(string) (fscheck.Verdict, error) {
		return fscheck.Verdict{State: s, Type: "afs", Mount: "/m", Says: "because"}, nil
	}
}

// hold has the file open, as a daemon that answers nobody.
func hold(t *testing.T, d *doctor) {
	st, err := store.Open(station.StorePath(d.c.State), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
}

// daemon has the file open and answers with a status.
func daemon(status string) func(t *testing.T, d *doctor) {
	return func(t *testing.T, d *doctor) {
		hold(t, d)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/status" {
				http.NotFound(w, r)
				return
			}
			io.WriteString(w, status)
		}))
		t.Cleanup(s.Close)
		d.c.Screens.Listen = s.Listener.Addr().String()
	}
}

// answering has the file open and answers tools at a socket elsewhere.
func answering(s local.State) func(t *testing.T, d *doctor) {
	return func(t *testing.T, d *doctor) {
		hold(t, d)
		dir, err := os.MkdirTemp("", "socket") // a socket's path is short
		if err != nil {
			t.Fatal(err)
		}
		l, err := local.Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- local.Serve(ctx, l, told{local.Source(nil), s}, nil) }()
		t.Cleanup(func() { stop(); <-done; os.RemoveAll(dir) })
		d.c.Socket = dir
	}
}

type told struct {
	local.Source
	s local.State
}

func (t told) State() local.State { return t.s }

// picture is every file of a folder with its bytes and its time.
func picture(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, i.Mode(), i.Size(), i.ModTime())
		if e.Type().IsRegular() && i.Size() < 1<<22 { // the ballast is zeros
			bytes, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x\n", sha256.Sum256(bytes))
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDoctor finds each thing that can be wrong, and calls nothing wrong that
// is not.
func TestDoctor(t *testing.T) {
	now := time.Now()
	id := store.Identity{Terminal: money.TerminalID{1}, Shop: 1, Epoch: 1}
	for _, c := range []struct {
		name         string
		set          func(t *testing.T, d *doctor)
		check, state string
		says         string
	}{
		{"filesystem", func(t *testing.T, d *doctor) {}, "filesystem", fine, "afs"},
		{"unsafe filesystem", func(t *testing.T, d *doctor) { d.filesystem = on(fscheck.Unsafe) }, "filesystem", problem, "because"},
		{"unsafe filesystem, accepted", func(t *testing.T, d *doctor) {
			d.filesystem, d.c.UnsafeFilesystem = on(fscheck.Unsafe), "the reason"
		}, "filesystem", warning, "the reason"},
		{"unknown filesystem", func(t *testing.T, d *doctor) { d.filesystem = on(fscheck.Warning) }, "filesystem", warning, "because"},
		{"folder", func(t *testing.T, d *doctor) {}, "folder", fine, ""},
		{"open folder", func(t *testing.T, d *doctor) { os.Chmod(d.c.State, 0o750) }, "folder", problem, "0750"},
		{"no folder", func(t *testing.T, d *doctor) { os.RemoveAll(d.c.State) }, "folder", problem, ""},
		{"not enrolled", func(t *testing.T, d *doctor) { os.Remove(station.StorePath(d.c.State)) }, "keys", problem, "not enrolled"},
		{"keys lost", func(t *testing.T, d *doctor) {}, "keys", problem, "is lost: nothing can be signed"},
		{"keys that others may read", func(t *testing.T, d *doctor) {
			os.WriteFile(station.KeysPath(d.c.State), []byte("x"), 0o644)
		}, "keys", problem, "owner"},
		{"file", func(t *testing.T, d *doctor) {}, "file", fine, "1 entries"},
		{"damaged file", func(t *testing.T, d *doctor) {
			os.WriteFile(station.StorePath(d.c.State), make([]byte, 1<<16), 0o600)
		}, "file", problem, "damaged"},
		{"lost file", func(t *testing.T, d *doctor) { os.Remove(station.StorePath(d.c.State)) }, "file", problem, "not there"},
		{"file in use", hold, "file", fine, "daemon"},
		{"daemon that hangs", hold, "daemon", problem, "does not answer"},
		{"unsent beside the daemon", hold, "journal", fine, "at most 1 entries not sent"},
		{"daemon", daemon(`{"terminal":"310100001234","epoch":2,"head":7}`), "daemon", fine, "310100001234, epoch 2, 7 entries"},
		{"daemon that stopped", daemon(`{"stopped":true}`), "daemon", problem, "stopped"},
		{"never synced", daemon(`{"link":{"last_sync":null}}`), "last sync", warning, "none"},
		{"synced long ago", daemon(`{"link":{"online":true,"last_sync":"2020-01-01T00:00:00Z"}}`), "last sync", warning, "2020"},
		{"clock skew", daemon(`{"link":{"last_sync":"2020-01-01T00:00:00Z","skew_ms":-600000}}`), "clock skew", problem, "10m0s"},
		{"no PSAM", daemon(`{"reader":true,"psam":{"present":false}}`), "psam", problem, "no PSAM"},
		{"no reader", daemon(`{"psam":{"present":true}}`), "card reader", problem, "no reader"},
		{"journal by the socket", answering(local.State{Unsent: 3, Oldest: now.Add(-50 * time.Hour).UnixMilli()}), "journal", warning, "3 entries not sent"},
		{"allowance by the socket", answering(local.State{HasLoadSAM: true, Allowance: local.Allowance{Known: true}}), "allowance", warning, "used up"},
		{"unsent", func(t *testing.T, d *doctor) {}, "journal", fine, "1 entries not sent"},
		{"unsent for days", func(t *testing.T, d *doctor) { d.now = now.Add(50 * time.Hour) }, "journal", warning, "1 entries not sent"},
		{"remade file", func(t *testing.T, d *doctor) {
			if _, err := store.Recover(station.StorePath(d.c.State), store.Options{}); err != nil {
				t.Fatal(err)
			}
		}, "file", problem, "made anew"},
		{"room", func(t *testing.T, d *doctor) {}, "room", fine, "MiB"},
		{"copy", func(t *testing.T, d *doctor) {}, "second copy", fine, "agrees"},
		{"copy on the same disk", func(t *testing.T, d *doctor) {}, "copy's disk", warning, "disk"},
		{"copy that cannot be written", func(t *testing.T, d *doctor) { d.c.Copy = filepath.Join(d.c.State, "none", "x.copy") }, "second copy", problem, "no such file"},
		{"copy that is not there yet", func(t *testing.T, d *doctor) { d.c.Copy = filepath.Join(d.c.State, "x.copy") }, "second copy", warning, "do not end at the same"},
		{"copy of a damaged file", func(t *testing.T, d *doctor) {
			os.WriteFile(station.StorePath(d.c.State), make([]byte, 1<<16), 0o600)
		}, "second copy", fine, "1 entries"},
		{"copy put aside", func(t *testing.T, d *doctor) {
			os.WriteFile(filepath.Join(d.c.State, "terminal.copy"), []byte("not a copy"), 0o600)
		}, "second copy", problem, "terminal.copy"},
		{"kept file", func(t *testing.T, d *doctor) {
			os.WriteFile(station.StorePath(d.c.State)+".damaged-1", nil, 0o600)
		}, "kept file", warning, "damaged-1"},
		{"clock", func(t *testing.T, d *doctor) {}, "clock", fine, ""},
		{"clock before the last entry", func(t *testing.T, d *doctor) { d.now = now.Add(-10 * time.Minute) }, "clock", problem, "last entry"},
		{"clock before the program", func(t *testing.T, d *doctor) { d.now = time.Unix(0, 0) }, "clock", problem, "program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := station.StorePath(dir)
			if err := store.Create(path, id, store.Options{}); err != nil {
				t.Fatal(err)
			}
			st, err := store.Open(path, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Append(t.Context(), store.Draft{Actor: journal.System, Body: &journal.Start{Shop: 1}}); err != nil {
				t.Fatal(err)
			}
			st.Close()
			d := doctor{c: Config{State: dir}, now: now, check: station.Here, filesystem: on(fscheck.OK)}
			c.set(t, &d)
			before := ""
			if _, err := os.Stat(dir); err == nil {
				before = picture(t, dir)
			}
			d.examine(t.Context())
			if before != "" && picture(t, dir) != before {
				t.Errorf("the doctor changed the folder:\n%s\n%s", before, picture(t, dir))
			}
			for _, f := range d.findings {
				if f.Check == c.check {
					if f.State != c.state || !strings.Contains(f.Says, c.says) || f.State == problem && f.Next == "" {
						t.Errorf("%+v", f)
					}
					return
				}
			}
			t.Errorf("nothing about the %s: %+v", c.check, d.findings)
		})
	}
}

// serve does not serve where records may be lost, but for a bench or a reason.
func TestServeChecksFilesystem(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		state  fscheck.State
		reason string
		bench  bool
		ok     bool
	}{
		{fscheck.OK, "", false, true}, {fscheck.Warning, "", false, true}, {fscheck.Unsafe, "", false, false},
		{fscheck.Unsafe, "a reason", false, true}, {fscheck.Unsafe, "", true, true},
	} {
		err := Config{State: t.TempDir(), UnsafeFilesystem: c.reason, TestKeys: c.bench}.checkFilesystem(log, on(c.state))
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, config.ErrFile) || !strings.Contains(err.Error(), "unsafe_filesystem")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
