package filelock

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	a, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(dir); !errors.Is(err, ErrHeld) {
		t.Fatalf("a second holder got %v", err)
	}
	if err := Held(dir); !errors.Is(err, ErrHeld) {
		t.Fatalf("while it is held: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, dir, filepath.Join(dir, "none")} {
		if err := Held(d); err != nil {
			t.Fatalf("nobody holds %s: %v", d, err)
		}
	}
	b, err := Acquire(dir)
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	b.Close()
}

// A file that another one has locked, as a database is, is told of, and is
// free again afterwards.
func TestFileHeld(t *testing.T) {
	dir := t.TempDir()
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lock")
	if err := FileHeld(path); !errors.Is(err, ErrHeld) {
		t.Errorf("while it is locked: %v", err)
	}
	lock.Close()
	for _, p := range []string{path, path, filepath.Join(dir, "none")} {
		if err := FileHeld(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}
