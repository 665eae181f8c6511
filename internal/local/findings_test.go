package local

import (
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/checkup"
)

func TestFindings(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	good := State{
		Terminal: "310100001234", Epoch: 2, Entries: 7, Online: true, Standing: "good", LastSync: now.Add(-time.Minute), Certificate: now.AddDate(0, 3, 0),
		PSAM: SAM{Present: true, Serial: "0a"}, LoadSAM: SAM{Present: true, Serial: "0b"}, HasLoadSAM: true,
		Allowance: Allowance{Known: true, Amount: 100_00, Count: 3}, Card: "ready",
	}
	for _, f := range good.Findings(now) {
		if f.State != checkup.OK {
			t.Errorf("of a terminal that is well: %+v", f)
		}
	}
	for _, c := range []struct {
		set                func(*State)
		check, state, says string
	}{
		{func(s *State) { s.Stopped = true }, "daemon", checkup.Problem, "stopped"},
		{func(s *State) { s.LastSync = time.Time{} }, "last sync", checkup.Warning, "none"},
		{func(s *State) { s.LastSync = now.Add(-25 * time.Hour) }, "last sync", checkup.Warning, "2026-11-25"},
		{func(s *State) { s.Online, s.LinkError = false, "no route" }, "last sync", checkup.Warning, "off line now: no route"},
		{func(s *State) { s.Standing = "forked" }, "standing", checkup.Problem, "forked"},
		{func(s *State) { s.Skew = -600_000 }, "clock skew", checkup.Problem, "10m0s"},
		{func(s *State) { s.Unsent, s.Oldest = 4, now.Add(-time.Hour).UnixMilli() }, "journal", checkup.OK, "4 entries not sent"},
		{func(s *State) { s.Unsent, s.Oldest = 4, now.Add(-50*time.Hour).UnixMilli() }, "journal", checkup.Warning, "4 entries not sent"},
		{func(s *State) { s.Unknown = 2 }, "unknown", checkup.Warning, "2 transactions"},
		{func(s *State) { s.Copy = true }, "second copy", checkup.Problem, "not whole"},
		{func(s *State) { s.Certificate = now.Add(-time.Hour) }, "certificate", checkup.Problem, "ended"},
		{func(s *State) { s.Certificate = now.AddDate(0, 0, 5) }, "certificate", checkup.Warning, "ends on"},
		{func(s *State) { s.PSAM = SAM{} }, "psam", checkup.Problem, "nothing can be paid"},
		{func(s *State) { s.PSAM.Problem = "sam_swapped" }, "psam", checkup.Problem, "sam_swapped"},
		{func(s *State) { s.LoadSAM = SAM{} }, "load sam", checkup.Problem, "no top-up off line"},
		{func(s *State) { s.Allowance.Count = 0 }, "allowance", checkup.Warning, "used up"},
		{func(s *State) { s.Profiles = "cards/x.yaml:3: no" }, "profiles", checkup.Problem, "cards/x.yaml:3: no"},
		{func(s *State) { s.Card = "no_reader" }, "card reader", checkup.Problem, "no reader"},
	} {
		s := good
		c.set(&s)
		found := false
		for _, f := range s.Findings(now) {
			if f.Check == c.check {
				found = true
				if f.State != c.state || !strings.Contains(f.Says, c.says) || f.State != checkup.OK && f.Next == "" {
					t.Errorf("%+v", f)
				}
			}
		}
		if !found {
			t.Errorf("nothing about the %s", c.check)
		}
	}
}
