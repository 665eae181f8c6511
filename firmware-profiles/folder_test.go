package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A folder adds profiles and takes the place of others; what breaks it later
// changes nothing, and is told until it is put right.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := Watch(dir)
	if f.Err() != nil || f.Current() != Builtin() && len(f.Current().Cards) != len(Builtin().Cards) {
		t.Fatalf("an empty folder: %v", f.Err())
	}
	write("readers/mine.yaml", "name: mine\ndescription: x\nmatch: {names: [mine]}\n")
	if r, by, _ := f.Current().MatchReader(ReaderID{Name: "mine 00 00"}); r.Name != "mine" || by != ByName {
		t.Errorf("%s %s, %v", r.Name, by, f.Err())
	}
	if got := f.Current().Origin(KindReader, "mine"); got != filepath.Join(dir, "readers", "mine.yaml") {
		t.Error(got)
	}
	if f.Current().Origin(KindCard, "dianka-ep") != BuiltIn || f.Current().Transcript(KindCard, "dianka-ep") == nil {
		t.Error("what is built in is gone")
	}
	old := string(f.Current().Text(KindCard, "dianka-ep"))
	write("cards/dianka-ep.yaml", strings.Replace(old, "balance_max_fen: 500000", "balance_max_fen: 7", 1))
	if c, _ := f.Current().Card("dianka-ep"); c.BalanceMax != 7 || f.Current().Transcript(KindCard, "dianka-ep") != nil {
		t.Errorf("%d: the file does not take the place of the built-in one with all that is beside it", c.BalanceMax)
	}
	before := f.Current()
	for name, text := range map[string]string{
		"cards/broken.yaml":  "name: broken\nspeed: 3\n",
		"readers/notes.txt":  "x",
		"sams/orphan.trace":  "# do psam\n",
		"cards/another.yaml": strings.Replace(old, "name: dianka-ep", "name: another", 1), // the AID of dianka-ep
	} {
		write(name, text)
		err := f.Err()
		var at *Error
		if f.Current() != before || !errors.As(err, &at) || !strings.Contains(err.Error(), filepath.Join(dir, filepath.FromSlash(name))) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := f.Err(); err != nil {
			t.Errorf("%s was taken away: %v", name, err)
		}
		before = f.Current()
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := f.Err(); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
			t.Errorf("a folder for everybody: %v", err)
		}
	}
	if f := Watch(filepath.Join(dir, "none")); f.Err() != nil || len(f.Current().Cards) == 0 {
		t.Errorf("no folder: %v", f.Err())
	}
}
