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
