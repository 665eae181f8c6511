package station

import (
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/terminal"
)

// Local answers the tools of this machine.
type Local struct{ *Station }

// State is of local.Source.
func (s Local) State() local.State {
	st := s.Terminal.Status()
	out := local.State{
		Program: s.cfg.Software, Terminal: st.Terminal.String(), Shop: st.Shop.String(), Epoch: st.Epoch, Entries: st.Head.Seq,
		Online: st.Online, Standing: s.Link().Standing, Unsent: st.Unsent.Count, Oldest: st.Unsent.Oldest, Unknown: st.Open,
		Busy: st.Busy, Stopped: st.Stopped, Copy: st.CopyBroken, Card: string(st.Card.State), Readers: []local.Reader{}, Warnings: []string{},
	}
	if st.ShiftOpen {
		out.Shift = st.Shift.Number
	}
	there := map[bool]string{true: "present", false: "none"}
	for _, r := range []struct {
		role, holds string
		slot        reader.Slot
	}{{"card", string(st.Card.State), s.cfg.Card}, {"psam", there[st.PSAM.Present], s.cfg.PSAM}, {"load_sam", there[st.LoadSAM.Present], s.cfg.LoadSAM}} {
		if r.slot != nil {
			out.Readers = append(out.Readers, local.Reader{Role: r.role, Name: r.slot.Name(), Holds: r.holds})
		}
	}
	link := s.Uplink.Status()
	out.LastSync, out.Skew, out.LinkError, out.Certificate = link.LastSync, link.Skew.Milliseconds(), link.LastError, link.CertificateEnd
	out.PSAM, out.LoadSAM, out.HasLoadSAM = module(st.PSAM), module(st.LoadSAM), s.cfg.LoadSAM != nil
	out.Allowance = local.Allowance{Known: st.Allowance.Known, Amount: int64(st.Allowance.Amount), Count: st.Allowance.Count}
	if s.cfg.Profiles != nil {
		if err := s.cfg.Profiles.Err(); err != nil {
			out.Profiles = err.Error()
		}
	}
	for _, w := range st.Warnings {
		out.Warnings = append(out.Warnings, string(w))
	}
	return out
}

// Evidence is of local.Source.
func (s Local) Evidence(want evidence.Wish) (journal.Bundle, error) {
	b, _, err := bundle(s.Store, s.cfg.Dir, want)
	return b, err
}

func module(v terminal.SAMView) local.SAM {
	out := local.SAM{Present: v.Present, Problem: string(v.Problem)}
	if v.Present {
		out.Serial = v.Serial.String()
	}
	return out
}

// Card is of local.Source.
func (s Local) Card(ctx context.Context) (local.Card, error) {
	r, err := s.Terminal.ReadCard(ctx)
	if err != nil {
		return local.Card{}, refused(err)
	}
	i := r.Info
	return local.Card{
		Reader: s.cfg.Card.Name(), ATR: fmt.Sprintf("%X", r.ATR), Number: i.Number.String(), Profile: r.Profile,
		Issuer: fmt.Sprintf("%X", i.Issuer), Test: i.Test(), AppType: i.AppType, AppVersion: i.AppVersion,
		ValidFrom: i.ValidFrom.String(), ValidTo: i.ValidTo.String(), Raw: fmt.Sprintf("%X", i.Raw), Balance: int64(r.Balance),
	}, nil
}

// Log is of local.Source.
func (s Local) Log(ctx context.Context) ([]local.Record, error) {
	list, err := s.Terminal.History(ctx)
	if err != nil {
		return nil, refused(err)
	}
	out := []local.Record{}
	for _, r := range list {
		out = append(out, local.Record{Stamp: fmt.Sprintf("%X", r.Stamp[:]), TxType: r.TxType, Counter: r.Counter, Amount: int64(r.Amount), Terminal: r.Terminal.String()})
	}
	return out, nil
}

func refused(err error) error {
	var r *terminal.Refusal
	if errors.As(err, &r) {
		return &local.Refusal{Code: string(r.Code), Detail: r.Detail}
	}
	return err
}
