package store

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"go.etcd.io/bbolt"
)

// Machine is the disk of this machine.
type Machine struct{}

var _ Disk = Machine{}

func (Machine) Free(dir string) (uint64, error) { return freeSpace(dir) }
func (Machine) Commit(tx *bbolt.Tx) error       { return tx.Commit() }
func (Machine) Rename(from, to string) error    { return os.Rename(from, to) }
func (Machine) Remove(name string) error        { return os.Remove(name) }
func (Machine) Allocate(name string, n int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(allocate(f, n), f.Sync(), f.Close())
}

func (Machine) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

func (Machine) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call; NTFS journals names by itself
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeOut takes the room of a file by writing all of it. What it writes is
// not zeros, which a disk may keep as a hole.
func writeOut(f File, n int64) error {
	block := make([]byte, 1<<16)
	for i := range block {
		block[i] = byte(i) | 1
	}
	for at := int64(0); at < n; at += int64(len(block)) {
		if _, err := f.WriteAt(block[:min(n-at, int64(len(block)))], at); err != nil {
			return err
		}
	}
	return nil
}
