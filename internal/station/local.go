package station

import (
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/reader"
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
	for _, r := range []struct {
		role string
		slot reader.Slot
	}{{"card", s.cfg.Card}, {"psam", s.cfg.PSAM}, {"load_sam", s.cfg.LoadSAM}} {
		if r.slot != nil {
			out.Readers = append(out.Readers, local.Reader{Role: r.role, Name: r.slot.Name()})
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
