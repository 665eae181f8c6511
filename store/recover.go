package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
)

// CopyReport says what a second copy holds.
type CopyReport struct {
	Path     string
	Identity Identity
	Heads    []journal.Head // where its chains end, oldest first
	Entries  uint64         // that the utility may not have
	First    int64          // Wall of the first of them, ms since 1970; 0 when there is none
	Last     int64          // Wall of the last of them, ms since 1970; 0 when there is none
	Cut      bool           // it ends in what is no entry: one that was being written, or damage
}

// InspectCopy reads the second copy of the file at path and verifies it,
// without changing it and without looking at the file. It fails with ErrCopy.
func InspectCopy(path string, o Options) (CopyReport, error) {
	if o.Disk == nil {
		o.Disk = Machine{}
	}
	r, _, err := inspect(path, o)
	return r, err
}

func inspect(path string, o Options) (r CopyReport, got copied, err error) {
	r.Path = o.copyPath(path)
	f, err := openCopy(o.Disk, r.Path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return r, got, fmt.Errorf("%w: there is none at %s", ErrCopy, r.Path)
	}
	if err != nil {
		return r, got, err
	}
	defer f.Close()
	var last []byte
	got, err = scanCopy(reader(f), func(f frame, prev journal.Hash) error {
		if journal.Link(prev, f.entry) != f.hash {
			return fmt.Errorf("%w: its entry %d-%d is not what was written", ErrCopy, f.ref.Epoch, f.ref.Seq)
		}
		if len(last) == 0 {
			if e, err := journal.Parse(f.entry); err == nil {
				r.First = e.Wall
			}
		}
		last = append(last[:0], f.entry...)
		return nil
	})
	if err != nil {
		return r, got, err
	}
	if got.part(got.id.Epoch) == nil {
		return r, got, fmt.Errorf("%w: it has no chain of epoch %d", ErrCopy, got.id.Epoch)
	}
	r.Identity, r.Entries, r.Cut = got.id, got.held, got.torn
	for _, p := range got.parts {
		r.Heads = append(r.Heads, p.last.head(got.id.Terminal))
	}
	if e, err := journal.Parse(last); err == nil {
		r.Last = e.Wall
	}
	return r, got, nil
}

// Recovered says what Recover made.
type Recovered struct {
	CopyReport
	Damaged string // name under which the bytes of the old file are kept; empty when there was no file
}

// Recover makes a file anew from the second copy: its entries are the end of
// the old chains, whose beginning the utility holds. The new file takes
// nothing new until the terminal is enrolled again. The damaged file is kept
// under another name, and the copy stays as it is until the next Open. Nobody
// may have the file open. It fails with ErrCopy, with nothing changed, when
// the copy is not there or its chains do not verify.
func Recover(path string, o Options) (r Recovered, err error) {
	if o.Disk == nil {
		o.Disk = Machine{}
	}
	var got copied
	if r.CopyReport, got, err = inspect(path, o); err != nil {
		return r, err
	}
	f, err := openCopy(o.Disk, r.Path, os.O_RDONLY)
	if err != nil {
		return r, err
	}
	defer f.Close()
	tmp, err := build(path, got.id, func(tx *bbolt.Tx) error {
		appending(tx)
		if err := putRow(tx, bucketMeta, keyRemade, binary.BigEndian.AppendUint32(nil, got.id.Epoch)); err != nil {
			return err
		}
		for _, p := range got.parts {
			if err := putBase(tx, p.base); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketMeta).Put(keyRebuild, []byte{1}); err != nil { // Open makes the projections
			return err
		}
		_, err := scanCopy(reader(f), func(f frame, _ journal.Hash) error {
			return tx.Bucket(bucketJournal).Put(refKey(f.ref), join(f.hash[:], f.entry))
		})
		return err
	})
	if err != nil {
		return r, err
	}
	if r.Damaged, err = keepAside(path); err != nil {
		os.Remove(tmp)
		return r, err
	}
	return r, publish(tmp, path)
}

// keepAside gives a file a name that says that it is damaged.
func keepAside(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.damaged-%d", path, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, os.Rename(path, name)
		} else if err != nil {
			return "", err
		}
	}
}
