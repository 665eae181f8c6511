package kiosk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// getEvents streams the status: once at the beginning, after every change,
// and at each heartbeat, so that a screen that hears nothing for two
// heartbeats knows that it is cut off. Changes that come while one is being
// sent are folded into the next.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	select {
	case s.screens <- struct{}{}:
		defer func() { <-s.screens }()
	default:
		s.refuse(w, r, refusal(CodeScreens), "")
		return
	}
	ctx := r.Context()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	send := func() error {
		b, err := json.Marshal(s.statusView(s.door.caller(r, false)))
		if err != nil {
			return err
		}
		s.noteLocks(ctx)
		rc.SetWriteDeadline(time.Now().Add(HeartbeatEvery)) // a screen that takes nothing loses its place
		if _, err := fmt.Fprintf(w, "event: status\ndata: %s\n\n", b); err != nil {
			return err
		}
		return rc.Flush()
	}
	changes := s.cfg.Terminal.Changes(ctx)
	beat := time.NewTicker(HeartbeatEvery)
	defer beat.Stop()
	for {
		printer, slips := s.printerChanges(), s.spool.changes() // before the status, so that none is missed
		if send() != nil {
			return
		}
		select {
		case <-printer:
		case <-slips:
		case <-ctx.Done():
			return
		case <-s.shutdown.Done():
			return
		case _, ok := <-changes:
			if !ok {
				return
			}
		case <-beat.C:
		}
	}
}
