package powerloss

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/diskcalls"
)

const folder = "/f"

func write(name string, at int64, data string) diskcalls.Call {
	return diskcalls.Call{Name: "pwrite64", Path: folder + "/" + name, Offset: at, Data: []byte(data)}
}

func sync(name string) diskcalls.Call {
	return diskcalls.Call{Name: "fdatasync", Path: filepath.Join(folder, name)}
}

// began fills in what the calls of a program with one thread have.
func began(calls ...diskcalls.Call) []diskcalls.Call {
	for i := range calls {
		calls[i].Began = i
	}
	return calls
}

// images gives, for each position, the different folders that there may be:
// each as "name=content" lines, with runs of one byte shortened.
func images(t *testing.T, base map[string]string, calls []diskcalls.Call) []map[string]int {
	t.Helper()
	o := Options{Folder: folder, Base: t.TempDir(), Target: t.TempDir(), Seed: 1, Random: 60}
	for n, c := range base {
		if err := os.WriteFile(filepath.Join(o.Base, n), []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]map[string]int, len(calls)+1)
	if _, err := Enumerate(calls, o, func(im Image) error {
		if out[im.Done] == nil {
			out[im.Done] = map[string]int{}
		}
		out[im.Done][list(t, im.Dir)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func list(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		c, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s := strings.ReplaceAll(string(c), "\x00", "0")
		for _, unit := range []string{"a", "b", "0"} { // a sector of one letter becomes one capital letter
			s = strings.ReplaceAll(s, strings.Repeat(unit, Sector), strings.ToUpper(strings.ReplaceAll(unit, "0", "_")))
		}
		fmt.Fprintf(&b, "%s=%s;", e.Name(), s)
	}
	return b.String()
}

func sector(c string) string { return strings.Repeat(c, Sector) }

// keys requires exactly the given images at a position.
func want(t *testing.T, at map[string]int, all ...string) {
	t.Helper()
	for _, w := range all {
		if at[w] == 0 {
			t.Errorf("no image %q", w)
		}
	}
	if len(at) != len(all) {
		t.Errorf("images %v, want %q", at, all)
	}
}

// What a finished sync covers is in every image; what is later may be there
// by sectors; a sync covers nothing that ended after it began.
func TestSync(t *testing.T) {
	calls := began(write("x", 0, sector("b")+sector("b")), sync("x"), write("x", 0, sector("a")))
	got := images(t, map[string]string{"x": sector("a") + sector("a")}, calls)
	want(t, got[0], "x=AA;")
	want(t, got[1], "x=AA;", "x=AB;", "x=BA;", "x=BB;")
	want(t, got[2], "x=BB;")
	want(t, got[3], "x=BB;", "x=AB;")

	calls[1].Began = 0 // the write ended while the sync was on its way
	got = images(t, map[string]string{"x": sector("a") + sector("a")}, calls[:2])
	want(t, got[2], "x=AA;", "x=AB;", "x=BA;", "x=BB;")

	calls[1].Began, calls[1].Errno = 1, 5 // a failed sync promises nothing
	got = images(t, map[string]string{"x": sector("a") + sector("a")}, calls[:2])
	want(t, got[2], "x=AA;", "x=AB;", "x=BA;", "x=BB;")
}

// A file grows by sectors that are zeros until they are written; a cut one may
// be its old length.
func TestLength(t *testing.T) {
	got := images(t, map[string]string{"x": ""}, began(write("x", 0, sector("a")+sector("b"))))
	want(t, got[1], "x=;", "x=A;", "x=_B;", "x=AB;")
	got = images(t, map[string]string{"x": sector("a")}, began(diskcalls.Call{Name: "ftruncate", Path: folder + "/x", Size: 0}, sync("x")))
	want(t, got[1], "x=A;", "x=;")
	want(t, got[2], "x=;")
}

// A name is durable with the sync of its folder, not with that of its file,
// and names change in order.
func TestNames(t *testing.T) {
	got := images(t, map[string]string{"x": sector("a")}, began(
		diskcalls.Call{Name: "open", Path: folder + "/new"},
		write("new", 0, sector("b")),
		sync("new"),
		diskcalls.Call{Name: "rename", Path: folder + "/new", To: folder + "/x"},
		sync(""),
	))
	want(t, got[1], "x=A;", "new=;x=A;")
	want(t, got[3], "x=A;", "new=B;x=A;")
	want(t, got[4], "x=A;", "new=B;x=A;", "x=B;")
	want(t, got[5], "x=B;")

	// Nor does the sync of a folder cover a name that came while it was on its
	// way.
	calls := began(diskcalls.Call{Name: "open", Path: folder + "/new"}, sync(""))
	calls[1].Began = 0
	got = images(t, map[string]string{}, calls)
	want(t, got[2], "", "new=;")

	// Without the sync of the file its new content may be missing.
	got = images(t, map[string]string{"x": sector("a")}, began(
		diskcalls.Call{Name: "open", Path: folder + "/new"},
		write("new", 0, sector("b")),
		diskcalls.Call{Name: "rename", Path: folder + "/new", To: folder + "/x"},
		sync(""),
	))
	want(t, got[4], "x=;", "x=B;")
}

// A check may write to its image: the next one does not inherit it.
func TestChecksAreApart(t *testing.T) {
	o := Options{Folder: folder, Base: t.TempDir(), Target: t.TempDir(), Random: 4}
	if err := os.WriteFile(filepath.Join(o.Base, "x"), []byte(sector("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Enumerate(began(write("x", 0, sector("b"))), o, func(im Image) error {
		if l := list(t, im.Dir); l != "x=A;" && l != "x=B;" {
			return errors.New(l)
		}
		return errors.Join(os.WriteFile(filepath.Join(im.Dir, "x"), []byte("rubbish"), 0o600), os.WriteFile(filepath.Join(im.Dir, "y"), nil, 0o600))
	})
	if err != nil || n < 6 {
		t.Errorf("%d images: %v", n, err)
	}
}
