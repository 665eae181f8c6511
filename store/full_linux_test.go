package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dianka/dianka/journal"
)

// On a filesystem that something else has filled to the last byte, nothing
// new begins and everything that was begun is ended. Without the ballast it
// could not be.
func TestReallyFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		t.Skipf("a filesystem of its own needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	for _, ballast := range []int64{8 << 20, -1} {
		path := filepath.Join(dir, "journal.db")
		if err := Create(path, identity, Options{}); err != nil {
			t.Fatal(err)
		}
		o := Options{Clock: tick(), Reserve: 8 << 20, Ballast: ballast}
		s, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		var begun []journal.Ref
		for i := range uint64(300) {
			begun = append(begun, put1(t, s, journal.Ref{}, redeem(i, byte(i), 1)))
		}
		filler := filepath.Join(dir, "filler")
		fill(t, filler)
		if _, err := s.Append(ctx, Draft{clerk, journal.Ref{}, redeem(999, 1, 1)}); !errors.Is(err, ErrFull) {
			t.Errorf("something new begins on a full disk: %v", err)
		}
		ended := 0
		for _, ref := range begun {
			if _, err = s.Append(ctx, Draft{clerk, ref, bought(journal.Done)}); err != nil {
				break
			}
			ended++
		}
		if ballast > 0 {
			if err != nil {
				t.Fatalf("%d of %d could be ended: %v", ended, len(begun), err)
			}
			if s.Ballast() {
				t.Error("the disk was not full: the ballast is still there")
			}
			if c := s.Copy(); c.Problem != nil {
				t.Error(c.Problem)
			}
			os.Remove(filler)
			put1(t, s, journal.Ref{}, &journal.ShiftClose{})
			if !s.Ballast() {
				t.Error("the ballast did not come back")
			}
			sound(t, s)
		} else if err == nil && s.Copy().Problem == nil {
			t.Error("there is no difference without the ballast: the test shows nothing")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, ext := range []string{".db", ".copy", ".ballast"} {
			os.Remove(beside(path, ext))
		}
		os.Remove(filler)
	}
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := 1 << 20; n >= 1; n /= 16 {
		for {
			if _, err := f.Write(make([]byte, n)); err != nil {
				break
			}
		}
	}
}
