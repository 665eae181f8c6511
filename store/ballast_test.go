package store

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
)

// An outcome for which the disk has no room is written with the room of the
// ballast, once, and the second copy has it; the ballast comes back with room.
func TestBallast(t *testing.T) {
	s := fresh(t)
	intent := put1(t, s, journal.Ref{}, redeem(1, 1, 1))
	if !s.Ballast() || len(bytesOf(t, s.ballastPath())) != defaultBallast {
		t.Fatal("no ballast")
	}
	full, tries := uint64(0), 0
	s.opts.Disk = disk{
		commit: func(tx *bbolt.Tx) error {
			if tries++; tries == 1 {
				tx.Rollback()
				return syscall.ENOSPC
			}
			return tx.Commit()
		},
		free: func(string) (uint64, error) { return full, nil },
	}
	put1(t, s, intent, bought(journal.Done))
	if tries != 2 || s.Ballast() {
		t.Fatalf("%d tries, ballast %t", tries, s.Ballast())
	}
	if names, _ := filepath.Glob(s.ballastPath()); len(names) != 0 {
		t.Error("its room is not given back")
	}
	copyHolds(t, s)
	full = uint64(s.opts.Reserve + s.opts.Ballast)
	put1(t, s, journal.Ref{}, &journal.ShiftClose{})
	if !s.Ballast() {
		t.Error("the ballast did not come back with the room")
	}
}

// What may be in the file is not written a second time, ballast or not, and a
// second failure stops the store.
func TestBallastIsNoRetry(t *testing.T) {
	for what, commit := range map[string]func(*bbolt.Tx) error{
		"written, and reported as not": func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.ENOSPC) },
		"full again":                   func(tx *bbolt.Tx) error { tx.Rollback(); return syscall.ENOSPC },
		"another error":                func(tx *bbolt.Tx) error { tx.Rollback(); return syscall.EIO },
	} {
		t.Run(what, func(t *testing.T) {
			s := fresh(t)
			intent := put1(t, s, journal.Ref{}, redeem(1, 1, 1))
			tries := 0
			s.opts.Disk = disk{commit: func(tx *bbolt.Tx) error { tries++; return commit(tx) }}
			want := 1
			if what == "full again" {
				want = 2
			}
			if _, err := s.Append(ctx, Draft{clerk, intent, bought(journal.Done)}); !errors.Is(err, ErrStopped) || tries != want {
				t.Errorf("%d tries: %v", tries, err)
			}
			s.Close()
			s = reopen(t, s.path)
			if n, err := s.CountOpen(); err != nil || n != 0 { // the second copy had it
				t.Error(n, err)
			}
		})
	}
}

// A second copy for which there is no room gets that of the ballast too.
func TestBallastServesCopy(t *testing.T) {
	s := fresh(t)
	f := &brokenFile{File: s.second.file, write: syscall.ENOSPC}
	s.second.file = f
	s.opts.Disk = disk{remove: func() { f.write = nil }, free: func(string) (uint64, error) { return 0, nil }}
	put1(t, s, journal.Ref{}, &journal.Start{})
	if c := s.Copy(); c.Problem != nil || s.Ballast() {
		t.Errorf("%+v, ballast %t", c, s.Ballast())
	}
}

func (d disk) Remove(name string) error {
	if d.remove != nil {
		d.remove()
	}
	return d.Machine.Remove(name)
}
