package kiosk

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// What staff do goes into the terminal's journal: who came and went, who was
// refused what, who agreed. What moves money and shifts are there anyway, with
// their actor. Looking at a page is not: it changes nothing and would hide what
// does.

func clerkOf(p *Staff) terminal.Who { return actorOf(p, false) }

// actorOf is who a person is at a screen, or at the technician's tool.
func actorOf(p *Staff, tool bool) terminal.Who {
	if tool {
		return journal.Actor{Kind: journal.ActorTechnician, ID: p.ID}
	}
	return journal.Actor{Kind: journal.ActorClerk, ID: p.ID}
}

// note writes an act. A person is let in all the same when it can't be
// written: a terminal whose file can't be written moves no money, and somebody
// must be able to see why.
func (s *Server) note(ctx context.Context, who terminal.Who, a journal.Staff) {
	if err := s.cfg.Terminal.Note(ctx, who, a); err != nil {
		s.log.Error("an act of staff could not be written", "act", a.Act, "staff", a.Staff, "err", err)
	}
}

func (s *Server) noteLogout(ctx context.Context, p *Staff, tool bool) {
	s.note(ctx, actorOf(p, tool), journal.Staff{Act: journal.ActLogout, Staff: p.ID})
}

// noteLocks writes which screens locked themselves: the machine's deed.
func (s *Server) noteLocks(ctx context.Context) {
	for _, id := range s.door.locks() {
		s.note(ctx, journal.System, journal.Staff{Act: journal.ActLock, Staff: id})
	}
}

// denied writes that a person, at the screen of a session, wanted what they
// have no right to.
func (s *Server) denied(ctx context.Context, ses *session, p *Staff, right string) {
	if n := s.door.deny(ses, right); n > 0 {
		s.note(ctx, actorOf(p, ses.tool && p == ses.staff), journal.Staff{Act: journal.ActRefused, Staff: p.ID, Count: n, Detail: right})
	}
}

// check lets a person in by number and PIN, and writes failures; what says
// what for, "" for a login.
func (s *Server) check(ctx context.Context, id money.StaffID, pin, what string) (*Staff, error) {
	p, failed, err := s.door.check(id, pin)
	if failed > 0 {
		s.note(ctx, journal.System, journal.Staff{Act: journal.ActLoginFailed, Staff: id, Count: failed, Detail: what})
	}
	return p, err
}

// actView is one act of staff.
type actView struct {
	ID     string    `json:"id"` // the journal entry
	At     time.Time `json:"at"`
	By     string    `json:"by"`               // who did it
	Staff  string    `json:"staff"`            // whom it concerns; of a failed login the number that was typed
	Act    string    `json:"act"`              // a stable word, see journal.Deed
	Count  uint32    `json:"count"`            // how often since the entry before
	Detail string    `json:"detail,omitempty"` // the right refused, "unlock", …
	About  string    `json:"about,omitempty"`  // the entry it continues
}

func viewAct(e journal.Entry) actView {
	v := actView{ID: e.Name.String(), At: time.UnixMilli(e.Wall).In(money.CST), By: e.Actor.ID.String(), Staff: e.Actor.ID.String(), Act: journal.Deed(e), Count: 1}
	if b, ok := e.Body.(*journal.Staff); ok {
		v.Staff, v.Count, v.Detail = b.Staff.String(), b.Count, b.Detail
	}
	if !e.Ref.IsZero() {
		v.About = e.Ref.Of(e.Name.Terminal).String()
	}
	return v
}

// getActs lists what staff did, for whoever may open and close shifts.
func (s *Server) getActs(w http.ResponseWriter, r *http.Request) {
	if _, err := s.allowed(r, RightSettle); err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	limit := 50
	if v := r.URL.Query().Get("limit"); v != "" {
		var err error
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 500 {
			s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: "limit is 1 to 500"}, CodeInternal)
			return
		}
	}
	list, err := s.cfg.Terminal.StaffActs(limit)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	v := struct {
		Acts []actView `json:"acts"` // newest first
	}{make([]actView, 0, len(list))}
	for _, e := range list {
		v.Acts = append(v.Acts, viewAct(e))
	}
	writeJSON(w, http.StatusOK, v)
}
