//go:build linux && cgo

package desk

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/reader/vpcd"
	"github.com/dianka/dianka/reader/vpcd/private"
)

// realPCSC is a rig behind a real pcscd of the desk's own, whose two virtual
// readers hold our simulated chips.
type realPCSC struct {
	pcscd   *private.Service
	service *pcsc.Service
	card    reader.Slot
	sam     reader.Slot
	inCard  *vpcd.Session
	inSAM   *vpcd.Session
}

func newPCSC(ctx context.Context, dir string, patience time.Duration) (rig, error) {
	p, err := private.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	// The client library reads it once, when it is first used.
	if err := os.Setenv("PCSCLITE_CSOCK_NAME", p.Socket); err != nil {
		return nil, err
	}
	r := &realPCSC{pcscd: p}
	if r.service, err = pcsc.New(pcsc.Options{Wait: true, Deadline: patience}); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.card, err = r.service.Slot(private.Readers[0]); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.sam, err = r.service.Slot(private.Readers[1]); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *realPCSC) slots() (reader.Slot, reader.Slot) { return r.card, r.sam }

func (r *realPCSC) put(ctx context.Context, c virtual.Chip) (err error) {
	r.inCard, err = vpcd.Dial(context.WithoutCancel(ctx), r.pcscd.Slots[0], c)
	return err
}

func (r *realPCSC) take() error {
	if r.inCard == nil {
		return nil
	}
	err := r.inCard.Close()
	r.inCard = nil
	return err
}

func (r *realPCSC) swap(ctx context.Context, c virtual.Chip) error {
	if err := r.take(); err != nil {
		return err
	}
	return r.put(ctx, c)
}

func (r *realPCSC) putSAM(ctx context.Context, c virtual.Chip) (err error) {
	r.inSAM, err = vpcd.Dial(context.WithoutCancel(ctx), r.pcscd.Slots[1], c)
	return err
}

func (r *realPCSC) close() error {
	err := r.take()
	if r.inSAM != nil {
		err = errors.Join(err, r.inSAM.Close())
	}
	if r.service != nil {
		err = errors.Join(err, r.service.Close())
	}
	r.pcscd.Stop()
	return err
}
