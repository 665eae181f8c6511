package terminal

import (
	"errors"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// badDisk fails every commit while it is bad.
type badDisk struct {
	store.Machine
	bad bool
}

func (d *badDisk) Commit(tx *bbolt.Tx) error {
	if d.bad {
		return errors.Join(errors.New("the disk is bad"), tx.Rollback())
	}
	return tx.Commit()
}

// The disk fails under something that is no sale, as when the link stores an
// acknowledgement: the next sale is refused as stopped, not as uncertain, and
// the screens know before anyone asks.
func TestStoppedOutsideASale(t *testing.T) {
	w := newWorld(t)
	d := &badDisk{}
	w.disk = d
	w.restart()
	d.bad = true
	sec := wire.Section{Kind: wire.SectionHotlist, Version: 1 << 40, Issued: w.now.UnixMilli()}
	if err := w.st.PutSection(wire.Seal("section", &sec, sealKey), sec); !errors.Is(err, store.ErrStopped) {
		t.Fatal(err)
	}
	if !w.term.Status().Stopped {
		t.Error("the status does not say that the terminal has stopped")
	}
	_, err := w.term.Redeem(w.ctx, RedeemRequest{Token: journal.TokenOf("stopped"), Who: journal.System, Account: account, Amount: 1_00})
	wantRefusal(t, err, CodeStopped)
	d.bad = false
	w.restart()
	if w.term.Status().Stopped {
		t.Error("a new start did not help")
	}
}
