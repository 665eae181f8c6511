package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// TestLook holds that Look tells what Open would, of a good file and of each
// that is not, and leaves every file as it was.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "terminal.db")
	if _, err := Look(path, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := Create(path, Identity{Terminal: money.TerminalID{1}, Shop: 1, Epoch: 1}, Options{}); err != nil {
		t.Fatal(err)
	}
	if v, err := Look(path, Options{}); err != nil || v.Head.Seq != 0 || v.Last != 0 || v.Copy.Problem != nil || v.Ballast {
		t.Errorf("a new file: %+v %v", v, err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Append(t.Context(), Draft{Actor: journal.System, Body: &journal.Start{Shop: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Look(path, Options{Timeout: 1e6}); !errors.Is(err, ErrInUse) {
		t.Errorf("a file in use: %v", err)
	}
	head, unsent := s.Head(), s.Unsent()
	last, err := s.Entry(journal.Ref{Epoch: 1, Seq: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	names := func() (list []string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			i, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, f.Name()+i.ModTime().String())
		}
		return list
	}
	look := func() Sight {
		t.Helper()
		before := names()
		v, err := Look(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if after := names(); len(after) != len(before) || after[0] != before[0] || after[len(after)-1] != before[len(before)-1] {
			t.Errorf("%v became %v", before, after)
		}
		return v
	}
	v := look()
	if v.Head != head || v.Unsent != unsent || v.Last != last.Wall || v.Remade || !v.Ballast || v.FreeErr != nil || v.Free == 0 || v.Copy.Problem != nil {
		t.Errorf("%+v, not %+v %+v %d", v, head, unsent, last.Wall)
	}

	// What Open would mend is told, and stays.
	second := v.Copy.Path
	whole, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"cut":          {whole[:len(whole)-3], ErrCopyBehind},
		"of something": {[]byte("something else"), ErrCopy},
		"not there":    {nil, ErrCopyBehind},
		"whole":        {whole, nil},
	} {
		os.Remove(second)
		if c.bytes != nil {
			if err := os.WriteFile(second, c.bytes, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if v := look(); !errors.Is(v.Copy.Problem, c.want) || (v.Copy.Problem == nil) != (c.want == nil) {
			t.Errorf("a copy %s: %v", name, v.Copy.Problem)
		}
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(path, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a cut file: %v", err)
	}
}
