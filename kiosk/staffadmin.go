package kiosk

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
)

// The shop's manager keeps the list of who works here. Who is in the
// configuration is on it too, but may only be locked: whoever lost every PIN
// and whoever looks at a file that was made anew gets in through the
// configuration. Every change is a signed entry, written in one commit with the
// list.

// maxStaff is how many people the terminal's own list takes.
const maxStaff = 200

// staffAPI registers the calls about people.
func (s *Server) staffAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/staff", s.getStaff)
	mux.HandleFunc("POST /api/v1/staff", managerCall(s, s.addStaff))
	mux.HandleFunc("POST /api/v1/staff/{id}/pin", staffCall(s, s.resetPIN))
	mux.HandleFunc("POST /api/v1/staff/{id}/lock", staffCall(s, s.lockOut))
	mux.HandleFunc("POST /api/v1/staff/{id}/unlock", staffCall(s, letIn))
	mux.HandleFunc("POST /api/v1/staff/{id}/remove", staffCall(s, s.remove))
	mux.HandleFunc("POST /api/v1/staff/{id}/card", staffCall(s, s.tieCard))
	mux.HandleFunc("POST /api/v1/pin", s.changePIN)
}

// readStaff takes the terminal's own list into the door.
func (s *Server) readStaff() error {
	list, err := s.cfg.Terminal.Staff()
	if err != nil {
		return err
	}
	s.door.admit(list)
	return nil
}

// checkPIN refuses a new PIN that is no PIN, that was not typed the same twice,
// or that whoever guesses tries first: one digit, digits in a row, a short
// piece again and again, the person's own number.
func checkPIN(id money.StaffID, pin, again string) error {
	if len(pin) < 4 || len(pin) > 12 || strings.Trim(pin, "0123456789") != "" {
		return refusal(CodePINWeak)
	}
	if pin != again {
		return refusal(CodePINAgain)
	}
	for step := byte(0); step < 10; step++ { // 0: one digit; 1 and 9: in a row, up and down
		if step > 1 && step < 9 {
			continue
		}
		row := true
		for i := 1; i < len(pin); i++ {
			row = row && (pin[i]-pin[i-1]+10)%10 == step
		}
		if row {
			return refusal(CodePINWeak)
		}
	}
	for n := 1; n <= len(pin)/2; n++ {
		if len(pin)%n == 0 && strings.Repeat(pin[:n], len(pin)/n) == pin {
			return refusal(CodePINWeak)
		}
	}
	if strings.TrimLeft(pin, "0") == id.String() {
		return refusal(CodePINWeak)
	}
	return nil
}

// hash makes the hash of a PIN, one at a time as a login does.
func (d *door) hash(pin string) (string, error) {
	d.hashing.Lock()
	defer d.hashing.Unlock()
	return HashPIN(pin)
}

// current gives a person as the list has it now.
func (d *door) current(id money.StaffID) *Staff {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.find(id)
}

// person is what the store keeps of somebody.
func (p *Staff) person() store.Person {
	if p.config {
		return store.Person{ID: p.ID, Locked: p.locked, Config: true}
	}
	return store.Person{ID: p.ID, Name: p.Name, PINHash: p.PINHash, Rights: p.Rights, Locked: p.locked, Change: p.change, Card: p.Card}
}

// within reports whether all rights are among those of a manager.
func within(rights, most []string) bool {
	return !slices.ContainsFunc(rights, func(r string) bool { return !slices.Contains(most, r) })
}

// change is what a call makes of a person; Act 0 changes nothing.
type change struct {
	act    journal.Act
	detail string
	next   store.Person
	gone   bool
}

// write writes a change and lets the door know. d.admin is held.
func (s *Server) write(ctx context.Context, who terminal.Who, c change) error {
	if !s.changes.Allow() {
		return refusal(CodeTooMany)
	}
	err := s.cfg.Terminal.ChangeStaff(ctx, who, journal.Staff{Act: c.act, Staff: c.next.ID, Detail: c.detail}, c.next, c.gone)
	if errors.Is(err, store.ErrPerson) {
		return &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}
	}
	if err != nil {
		return err
	}
	return s.readStaff()
}

// manager finds who calls, again with the list held: two managers who lock each
// other at the same moment are one after the other.
func (s *Server) manager(c caller) (*Staff, error) {
	m := s.door.current(c.staff.ID)
	if m == nil || m.locked || m.change || !slices.Contains(m.Rights, RightConfigure) {
		return nil, refusal(terminal.CodeNotAllowed)
	}
	return m, nil
}

// managerCall wraps a call of a manager, with the list held.
func managerCall[T any](s *Server, do func(r *http.Request, m *Staff, b T) (memberView, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.allowed(r, RightConfigure)
		if err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		var b T
		if err := readBody(w, r, &b); err != nil {
			s.refuse(w, r, err, CodeInternal)
			return
		}
		defer s.door.hold(c.s)()
		v, err := func() (v memberView, err error) {
			s.door.admin.Lock()
			defer s.door.admin.Unlock()
			m, err := s.manager(c)
			if err != nil {
				return v, err
			}
			return do(r, m, b)
		}()
		if err != nil {
			s.refuse(w, r, err, CodeUncertain)
			return
		}
		writeJSON(w, http.StatusOK, v)
	}
}

// staffCall wraps a call of a manager about the person in the path.
func staffCall[T any](s *Server, do func(m, p *Staff, b T) (change, error)) http.HandlerFunc {
	return managerCall(s, func(r *http.Request, m *Staff, b T) (memberView, error) {
		id, err := money.ParseStaffID(r.PathValue("id"))
		p := s.door.current(id)
		if err != nil || p == nil {
			return memberView{}, refusal(terminal.CodeNotFound)
		}
		// Who may do more than the manager is not the manager's to change: a PIN
		// that is reset is a way in.
		if !within(p.Rights, m.Rights) {
			return memberView{}, refusal(CodeStaffRights)
		}
		x, err := do(m, p, b)
		if err != nil || x.act == 0 {
			return s.memberView(p, m), err
		}
		if err := s.write(context.WithoutCancel(r.Context()), clerkOf(m), x); err != nil {
			return memberView{}, err
		}
		if now := s.door.current(id); now != nil {
			p = now
		}
		return s.memberView(p, m), nil
	})
}

type memberView struct {
	Staff   string   `json:"staff"`
	Name    string   `json:"name"`
	Rights  []string `json:"rights"`
	Locked  bool     `json:"locked"`
	Change  bool     `json:"change_pin"` // the PIN was set by somebody else
	Card    string   `json:"card"`       // that names the person at the login, "" for none
	Config  bool     `json:"configured"` // in the configuration: may only be locked here
	Here    bool     `json:"here"`       // has a screen open
	You     bool     `json:"you"`
	Allowed bool     `json:"allowed"` // has no right that you have not
}

func (s *Server) memberView(p, m *Staff) memberView {
	v := memberView{
		Staff: p.ID.String(), Name: p.Name, Rights: append([]string{}, p.Rights...), Locked: p.locked, Change: p.change, Config: p.config,
		Here: s.door.here(p.ID), You: p.ID == m.ID, Allowed: within(p.Rights, m.Rights),
	}
	if !p.Card.IsZero() {
		v.Card = p.Card.String()
	}
	return v
}

// here reports whether somebody has a session.
func (d *door) here(id money.StaffID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.clerks {
		if s.staff.ID == id {
			return true
		}
	}
	return false
}

func (s *Server) getStaff(w http.ResponseWriter, r *http.Request) {
	c, err := s.allowed(r, RightConfigure)
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	v := struct {
		Staff  []memberView `json:"staff"`
		Rights []string     `json:"rights"` // that you may give
	}{[]memberView{}, c.staff.Rights}
	for _, p := range s.door.people() {
		v.Staff = append(v.Staff, s.memberView(p, c.staff))
	}
	writeJSON(w, http.StatusOK, v)
}

type addBody struct {
	Staff  string   `json:"staff"`
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
	PIN    string   `json:"pin"`
	Again  string   `json:"again"`
}

// addStaff puts a person on the list, with a PIN to be changed at the first
// login.
func (s *Server) addStaff(r *http.Request, m *Staff, b addBody) (memberView, error) {
	id, err := money.ParseStaffID(b.Staff)
	if err != nil {
		return memberView{}, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}
	}
	if name := strings.TrimSpace(b.Name); name == "" || name != b.Name || len(name) > store.MaxName || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return memberView{}, &terminal.Refusal{Code: CodeBadRequest, Detail: "a name is 1 to 64 bytes that can be printed"}
	}
	var rights []string
	for _, word := range b.Rights {
		if err := CheckRight(word); err != nil {
			return memberView{}, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}
		}
	}
	for _, word := range Rights { // in one order, each once
		if slices.Contains(b.Rights, word) {
			rights = append(rights, word)
		}
	}
	switch {
	case !within(rights, m.Rights):
		return memberView{}, refusal(CodeStaffRights)
	case s.door.current(id) != nil:
		return memberView{}, refusal(CodeStaffExists)
	case len(s.door.people()) >= len(s.door.config)+maxStaff:
		return memberView{}, refusal(CodeStaffFull)
	}
	if err := checkPIN(id, b.PIN, b.Again); err != nil {
		return memberView{}, err
	}
	hash, err := s.door.hash(b.PIN)
	if err != nil {
		return memberView{}, err
	}
	if err := s.write(context.WithoutCancel(r.Context()), clerkOf(m), change{
		act: journal.ActAdd, detail: strings.Join(rights, ","),
		next: store.Person{ID: id, Name: b.Name, PINHash: hash, Rights: rights, Change: true},
	}); err != nil {
		return memberView{}, err
	}
	return s.memberView(s.door.current(id), m), nil
}

type resetBody struct {
	PIN   string `json:"pin"`
	Again string `json:"again"`
}

// resetPIN gives a person a PIN that must be changed at the next login. One's
// own is changed with the old one, so that a screen left open is not enough.
func (s *Server) resetPIN(m, p *Staff, b resetBody) (change, error) {
	switch {
	case p.config:
		return change{}, refusal(CodeStaffConfig)
	case p.ID == m.ID:
		return change{}, refusal(terminal.CodeNotAllowed)
	}
	if err := checkPIN(p.ID, b.PIN, b.Again); err != nil {
		return change{}, err
	}
	next := p.person()
	var err error
	next.PINHash, err = s.door.hash(b.PIN)
	next.Change = true
	return change{act: journal.ActResetPIN, next: next}, err
}

// last refuses what a manager does to itself when nobody else could undo it.
func last(people []*Staff, p *Staff) error {
	for _, q := range people {
		if q.ID != p.ID && !q.locked && slices.Contains(q.Rights, RightConfigure) {
			return nil
		}
	}
	return refusal(CodeStaffLast)
}

func (s *Server) lockOut(m, p *Staff, _ struct{}) (change, error) {
	if p.locked {
		return change{}, nil
	}
	if p.ID == m.ID {
		if err := last(s.door.people(), p); err != nil {
			return change{}, err
		}
	}
	next := p.person()
	next.Locked = true
	return change{act: journal.ActLockOut, next: next}, nil
}

func letIn(_, p *Staff, _ struct{}) (change, error) {
	if !p.locked {
		return change{}, nil
	}
	next := p.person()
	next.Locked = false
	// Nothing of one in the configuration is kept but the lock.
	return change{act: journal.ActLetIn, next: next, gone: p.config}, nil
}

func (s *Server) remove(m, p *Staff, _ struct{}) (change, error) {
	if p.config {
		return change{}, refusal(CodeStaffConfig)
	}
	if p.ID == m.ID {
		if err := last(s.door.people(), p); err != nil {
			return change{}, err
		}
	}
	return change{act: journal.ActRemove, next: p.person(), gone: true}, nil
}

type tieBody struct {
	Card string `json:"card"` // "" for none
}

// tieCard lets a card name a person at the login. A card's number is no
// secret, so the PIN is wanted all the same.
func (s *Server) tieCard(_, p *Staff, b tieBody) (change, error) {
	if p.config {
		return change{}, refusal(CodeStaffConfig)
	}
	next := p.person()
	next.Card = money.CardNumber{}
	if b.Card != "" {
		var err error
		if next.Card, err = money.ParseCardNumber(b.Card); err != nil {
			return change{}, &terminal.Refusal{Code: CodeBadRequest, Detail: err.Error()}
		}
		if q := s.door.named(next.Card); q != nil && q.ID != p.ID {
			return change{}, refusal(CodeCardTaken)
		}
	}
	if next.Card == p.Card {
		return change{}, nil
	}
	return change{act: journal.ActTieCard, detail: b.Card, next: next}, nil
}

// named gives whom a card names, nil for nobody.
func (d *door) named(n money.CardNumber) *Staff {
	if n.IsZero() {
		return nil
	}
	people := d.people()
	if i := slices.IndexFunc(people, func(p *Staff) bool { return p.Card == n }); i >= 0 {
		return people[i]
	}
	return nil
}

// cardStaff is who the card in the reader names, for a login screen.
func (s *Server) cardStaff(n money.CardNumber) *personView {
	p := s.door.named(n)
	if p == nil || p.locked {
		return nil
	}
	return &personView{p.ID.String(), p.Name}
}

type changeBody struct {
	Old   string `json:"old"`
	PIN   string `json:"pin"`
	Again string `json:"again"`
}

// changePIN lets a person choose a new PIN.
func (s *Server) changePIN(w http.ResponseWriter, r *http.Request) {
	c := s.door.caller(r, true)
	var b changeBody
	err := readBody(w, r, &b)
	switch {
	case c.s == nil:
		err = refusal(CodeLoginNeeded)
	case c.staff == nil:
		err = refusal(terminal.CodeNotAllowed)
	case c.locked:
		err = refusal(CodeLocked)
	case err != nil:
	case c.staff.config:
		err = refusal(CodeStaffConfig)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	defer s.door.hold(c.s)()
	p, err := s.check(r.Context(), c.staff.ID, b.Old, "pin")
	if err == nil {
		err = checkPIN(p.ID, b.PIN, b.Again)
	}
	if err == nil && b.PIN == b.Old {
		err = refusal(CodePINSame)
	}
	if err != nil {
		s.refuse(w, r, err, CodeInternal)
		return
	}
	if err := func() error {
		s.door.admin.Lock()
		defer s.door.admin.Unlock()
		now := s.door.current(p.ID)
		if now == nil || now.locked || now.PINHash != p.PINHash {
			return refusal(CodeLoginFailed) // the manager was quicker
		}
		next := now.person()
		next.Change = false
		if next.PINHash, err = s.door.hash(b.PIN); err != nil {
			return err
		}
		return s.write(context.WithoutCancel(r.Context()), clerkOf(now), change{act: journal.ActChangePIN, next: next})
	}(); err != nil {
		s.refuse(w, r, err, CodeUncertain)
		return
	}
	writeJSON(w, http.StatusOK, s.sessionView(s.door.caller(r, true)))
}
