package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/dianka/dianka/internal/local"
)

// daemonStatus is what the doctor wants of GET /api/v1/status. What is unsent
// is told to clerks only; the second copy tells the doctor.
type daemonStatus struct {
	Terminal string `json:"terminal"`
	Epoch    uint32 `json:"epoch"`
	Head     uint64 `json:"head"`
	Stopped  bool   `json:"stopped"`
	PSAM     struct {
		Present bool `json:"present"`
	} `json:"psam"`
	Reader bool `json:"reader"`
	Link   struct {
		Online   bool      `json:"online"`
		LastSync time.Time `json:"last_sync"`
		SkewMS   int64     `json:"skew_ms"`
	} `json:"link"`
}

// Bounds of what the doctor takes for granted.
const (
	askFor   = 3 * time.Second
	skewMax  = 5 * time.Minute
	syncLate = 24 * time.Hour
)

// daemon asks the running daemon what its file would tell: by its socket, or
// where this user may not, or it has none, by what its screens tell everybody.
// It reports whether it told what is unsent.
func (d *doctor) daemon(ctx context.Context) (unsent bool) {
	if s, err := askSocket(ctx, d.c.socket()); err == nil {
		for _, f := range s.Findings(d.now) {
			if f.Check != "certificate" { // of the key file, said before
				d.findings = append(d.findings, f)
			}
		}
		return true
	}
	d.screens(ctx)
	return false
}

func askSocket(ctx context.Context, dir string) (local.State, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := local.Dial(ctx, dir)
	if err != nil {
		return local.State{}, err
	}
	return c.State(ctx)
}

// screens asks what the daemon's screens show.
func (d *doctor) screens(ctx context.Context) {
	st, err := askDaemon(ctx, d.c.Screens.Listen)
	if err != nil {
		d.say("daemon", problem, "journalctl -u kioskd tells what it does; systemctl restart kioskd", "it has the terminal's file but does not answer at %s: %v", d.c.Screens.Listen, err)
		return
	}
	if st.Stopped {
		d.say("daemon", problem, "journalctl -u kioskd tells why; look at the disk, then systemctl restart kioskd", "it has stopped taking transactions")
	} else {
		d.say("daemon", fine, "", "serves terminal %s, epoch %d, %d entries", st.Terminal, st.Epoch, st.Head)
	}
	switch l := st.Link; {
	case l.LastSync.IsZero():
		d.say("last sync", warning, "look at the network and at `utility` in the configuration", "none since the daemon began")
	case d.now.Sub(l.LastSync) > syncLate:
		d.say("last sync", warning, "look at the network and at `utility` in the configuration", "%s", l.LastSync.Local().Format(time.DateTime))
	case !l.Online:
		d.say("last sync", warning, "look at the network; the terminal goes on without it within its limits", "%s, off line now", l.LastSync.Local().Format(time.DateTime))
	default:
		d.say("last sync", fine, "", "%s, on line", l.LastSync.Local().Format(time.DateTime))
	}
	if skew := time.Duration(st.Link.SkewMS) * time.Millisecond; !st.Link.LastSync.IsZero() {
		if skew.Abs() > skewMax {
			d.say("clock skew", problem, "set the clock right; records go by number and are not affected", "the utility's clock and this one are %s apart", skew.Abs().Round(time.Second))
		} else {
			d.say("clock skew", fine, "", "%s between the utility's clock and this one", skew.Abs().Round(time.Millisecond))
		}
	}
	if !st.Reader {
		d.say("card reader", problem, "cardtool doctor tells what is wrong with it", "the daemon has no reader for the customer's card")
	}
	if !st.PSAM.Present {
		d.say("psam", problem, "cardtool psam info tells what is in the slot", "the daemon has no PSAM: nothing can be paid")
	}
}

// askDaemon gets the status of the daemon at an address.
func askDaemon(ctx context.Context, listen string) (st daemonStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/api/v1/status", nil)
	if err != nil {
		return st, err
	}
	r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req) // no proxy of the environment: it is this machine
	if err != nil {
		return st, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return st, fmt.Errorf("it answers %s", r.Status)
	}
	return st, json.NewDecoder(r.Body).Decode(&st)
}
