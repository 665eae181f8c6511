package twin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/t1"
)

// Times of the reader itself.
const (
	helloTime  = 2 * time.Second // for its firmware
	statusTime = time.Second     // for what needs no card
	cardTime   = 3 * time.Second // what libccid gives an exchange at least
	again      = 250 * time.Millisecond
	againMost  = 2 * time.Second
	attempts   = 3 // at a command that moves nothing in a card
)

// unit is one reader on its line.
type unit struct {
	o      Options
	device string
	model  Model
	jobs   chan *job
	wake   chan struct{} // capacity 1
	stop   chan struct{} // closed with the last slot

	mu    sync.Mutex
	slots []*slot // nil: not in use

	// Of the unit's goroutine only.
	port   *port
	busy   *job  // the one that is carried out
	fate   error // why its card will die when it is over
	firm   string
	broken error // why the session is over
}

func newUnit(o Options, a Address) *unit {
	return &unit{o: o, device: a.Device, model: a.Model, jobs: make(chan *job), wake: make(chan struct{}, 1), stop: make(chan struct{}), slots: make([]*slot, a.Model.Slots)}
}

func (u *unit) poke() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// used are the slots in use.
func (u *unit) used() []*slot {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []*slot
	for _, s := range u.slots {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (u *unit) run() {
	pause := again
	for {
		u.firm = ""
		err := u.session()
		select {
		case <-u.stop:
			return
		default:
		}
		if u.firm != "" { // it was there
			pause = again
		}
		u.lost(err)
		wait := time.NewTimer(pause)
		select {
		case <-u.stop:
			wait.Stop()
			return
		case <-wait.C:
		}
		pause = min(2*pause, againMost)
	}
}

// lost tells that the reader is gone.
func (u *unit) lost(cause error) {
	for _, s := range u.used() {
		u.kill(s, reader.ErrLost, cause)
		steps := uint32(0)
		if s.present {
			steps = 1
		}
		s.present, s.powered, s.fresh, s.voltage, s.heard = false, false, false, 0, time.Time{}
		if s.last.State != reader.StateLost {
			u.o.Log.Warn("the reader is lost", "slot", s.name, "err", cause)
			s.news(reader.StateLost, nil, cause, steps)
		}
	}
}

// kill ends the open card of a slot: at once, or when its exchange under way is
// over, which may still end well.
func (u *unit) kill(s *slot, kind, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open
	switch {
	case c == nil:
	case u.busy != nil && u.busy.card == c:
		u.fate = kind
	default:
		c.die(kind, cause)
		s.open = nil
	}
}

// session opens the line, starts the reader and serves until the line breaks.
func (u *unit) session() error {
	l, err := openLine(u.device, 115200)
	if u.model.Slow && err == nil {
		l.Close()
		l, err = u.wakeSlow()
	}
	if err != nil {
		return err
	}
	w := line.NewWire(l)
	defer w.Close()
	u.port = &port{wire: w, move: u.moved}
	u.broken = nil
	if l.Modem != nil {
		// High, it would have the reader send its plug-and-play string.
		if err := l.Modem.SetRTS(false); err != nil && !errors.Is(err, line.ErrNoModem) {
			return err
		}
	}
	if err := u.start(); err != nil {
		return err
	}
	var served []*slot
	defer func() {
		for _, s := range served { // closed: no card keeps its power
			if s.powered && u.broken == nil {
				u.port.command(nil, time.Now().Add(statusTime), statusTime, message{kind: iccPowerOff, slot: byte(s.n)})
			}
		}
	}()
	tick := time.NewTicker(u.o.Poll)
	defer tick.Stop()
	for {
		now := u.used()
		for _, s := range served {
			if !slices.Contains(now, s) && s.powered && len(now) > 0 { // closed, and others are not
				if err := u.powerOff(s); err != nil {
					return err
				}
			}
		}
		if len(now) > 0 {
			served = now
		}
		for _, s := range served {
			if err := u.look(s); err != nil {
				return err
			}
		}
		select {
		case j := <-u.jobs:
			u.do(j)
			if u.broken != nil {
				return u.broken
			}
		case <-tick.C:
		case <-u.wake:
		case <-w.Gone():
			return line.ErrGone
		case <-u.stop:
			return nil
		}
	}
}

// wakeSlow opens the line of a reader that starts at 9600 baud.
func (u *unit) wakeSlow() (line.Line, error) {
	l, err := openLine(u.device, 9600)
	if err != nil {
		return l, err
	}
	w := line.NewWire(l)
	p := &port{wire: w}
	_, err = p.command(u.stop, time.Now().Add(statusTime), statusTime, message{kind: getSlotStatus})
	if err == nil {
		_, err = p.command(u.stop, time.Now().Add(statusTime), statusTime, message{kind: escape, data: []byte{0x01, 0x10, 0x20}})
		timer := time.NewTimer(settle)
		select {
		case <-timer.C:
		case <-u.stop:
		}
	}
	w.Close()
	if err != nil && !errors.Is(err, ErrSilent) && !errors.Is(err, ErrDamaged) { // silent: it is fast already
		return line.Line{}, err
	}
	return openLine(u.device, 115200)
}

// start asks for the firmware, which shows that a reader is there, and makes it
// tell movements.
func (u *unit) start() error {
	m, err := u.tell(message{kind: escape, data: []byte{u.model.Hello}}, helloTime)
	if err != nil {
		if errors.Is(err, ErrSilent) || errors.Is(err, ErrDamaged) {
			return fmt.Errorf("%w (%s): %w", ErrNoReader, u.model.Name, err)
		}
		return err
	}
	u.firm = printable(m.data)
	u.o.Log.Info("a reader answers", "line", u.device, "firmware", u.firm, "echo", u.port.echoes)
	if u.model.Silent {
		return nil
	}
	var c Code
	if _, err := u.tell(message{kind: escape, data: []byte{0x01, 0x01, 0x01}}, statusTime); err != nil && !errors.As(err, &c) {
		return err
	}
	return nil
}

func printable(b []byte) string {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c >= ' ' && c <= '~' {
			out = append(out, c)
		}
	}
	return string(out)
}

// tell sends what may be sent again.
func (u *unit) tell(m message, wait time.Duration) (a message, err error) {
	for range attempts {
		a, err = u.port.command(u.stop, time.Now().Add(wait), wait, m)
		if !errors.Is(err, ErrNAK) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrSilent) {
			return a, err
		}
	}
	return a, err
}

// ask sends a command for a slot, and takes notice of what the answer says is
// in it.
func (u *unit) ask(s *slot, stop <-chan struct{}, deadline time.Time, wait time.Duration, m message) (message, error) {
	m.slot = byte(s.n)
	a, err := u.port.command(stop, deadline, wait, m)
	switch err.(type) {
	case nil, Code:
		u.saw(s, a.status())
	}
	if errors.Is(err, line.ErrGone) || errors.Is(err, line.ErrSlow) {
		u.broken = err
	}
	return a, err
}

// moved takes the reader's word that a card moved. One that has several slots
// does not say in which: all are asked.
func (u *unit) moved(in bool) {
	for _, s := range u.used() {
		if u.model.Slots > 1 {
			s.heard = time.Time{}
			continue
		}
		if in == s.present {
			u.change(s) // the other half was not heard of
		}
		u.change(s)
	}
}

// saw takes the status byte of an answer.
func (u *unit) saw(s *slot, st status) {
	s.heard = time.Now()
	switch {
	case st == absent && s.present, st != absent && !s.present:
		u.change(s)
	case st != active && s.powered: // swapped: power does not go by itself
		u.change(s)
		u.change(s)
	}
	if st == absent && s.last.State != reader.StateEmpty {
		s.news(reader.StateEmpty, nil, nil, 0)
	}
}

// change is a card that goes or comes.
func (u *unit) change(s *slot) {
	s.powered, s.voltage = false, 0
	if s.present {
		s.present, s.fresh = false, false
		u.kill(s, reader.ErrRemoved, nil)
		s.news(reader.StateEmpty, nil, nil, 1)
		return
	}
	s.present, s.fresh = true, true
	s.mu.Lock()
	s.last.Count++ // told with the answer to reset
	s.mu.Unlock()
}

// look asks for the state of a slot when it was not heard of for a while, takes
// power from a card that nobody uses, and meets a new one.
func (u *unit) look(s *slot) error {
	if time.Since(s.heard) >= u.o.Poll {
		if err := u.status(s); err != nil {
			return err
		}
	}
	s.mu.Lock()
	off := s.off
	s.off = false
	s.mu.Unlock()
	if off && s.powered {
		if err := u.powerOff(s); err != nil {
			return err
		}
	}
	if !s.fresh {
		return nil
	}
	s.fresh = false
	atr, err := u.powerUp(s, u.stop, time.Now().Add(u.o.Deadline))
	switch {
	case u.broken != nil:
		return u.broken
	case !s.present || s.fresh: // gone meanwhile, or another
	case err != nil:
		s.news(reader.StateMute, nil, err, 0)
	default:
		if err := u.powerOff(s); err != nil {
			return err
		}
		if s.present && !s.fresh {
			s.news(reader.StateCard, atr, nil, 0)
		}
	}
	return nil
}

// status asks what is in a slot. An error ends the session.
func (u *unit) status(s *slot) (err error) {
	for range attempts {
		_, err = u.ask(s, u.stop, time.Now().Add(statusTime), statusTime, message{kind: getSlotStatus})
		var c Code
		if err == nil || errors.As(err, &c) {
			return nil
		}
		if u.broken != nil || errors.Is(err, line.ErrStopped) {
			return err
		}
	}
	u.broken = err
	return err
}

func (u *unit) powerOff(s *slot) (err error) {
	s.powered = false
	for range attempts {
		_, err = u.ask(s, u.stop, time.Now().Add(statusTime), statusTime, message{kind: iccPowerOff})
		var c Code
		if err == nil || errors.As(err, &c) {
			return nil
		}
		if u.broken != nil || errors.Is(err, line.ErrStopped) {
			return err
		}
	}
	u.broken = err
	return err
}

// ladder is the order in which voltages are tried: 5, 1.8 and 3 V.
var ladder = [...]byte{1, 3, 2}

// powerUp gives power to a card, at the voltage that it is known to like or at
// one after the other, and gives its answer to reset.
func (u *unit) powerUp(s *slot, stop <-chan struct{}, deadline time.Time) (atr []byte, err error) {
	steps := ladder[:]
	if s.voltage != 0 {
		steps = []byte{s.voltage}
	}
	for i, v := range steps {
		if i > 0 {
			if err := u.powerOff(s); err != nil {
				return nil, err
			}
		}
		var m message
		for range attempts { // power on is a reset, which may be done again
			m, err = u.ask(s, stop, deadline, time.Until(deadline), message{kind: iccPowerOn, p: [3]byte{v}})
			if !errors.Is(err, ErrNAK) && !errors.Is(err, ErrDamaged) {
				break
			}
		}
		var c Code
		switch {
		case err == nil && len(m.data) >= 2:
			s.powered, s.voltage = true, v
			return append([]byte(nil), m.data...), nil
		case err == nil:
			err = Code(0xF8)
		case !errors.As(err, &c) || !s.present:
			return nil, err
		}
	}
	return nil, err
}

// do carries a job out.
func (u *unit) do(j *job) {
	u.busy, u.fate = j, nil
	s := j.card.slot
	if j.opening {
		j.err = u.open(j)
	} else {
		j.err = u.exchange(j)
		clear(j.command) // it may have held a PIN
	}
	fate := u.fate
	u.busy, u.fate = nil, nil
	if j.err != nil && fate == nil {
		switch j.err.Kind {
		case reader.ErrRemoved, reader.ErrDeadline, reader.ErrLost:
			fate = j.err.Kind
		}
	}
	j.done <- struct{}{} // before the card may end, so that a good answer is not lost
	if fate != nil {
		s.mu.Lock()
		j.card.die(fate, u.broken)
		if s.open == j.card {
			s.open = nil
			s.off = true
		}
		s.mu.Unlock()
	}
}

// open powers a card and makes it ready: PPS, parameters, block size.
func (u *unit) open(j *job) *reader.Error {
	c, s := j.card, j.card.slot
	s.mu.Lock()
	s.off = false
	same := s.last.Count == c.count
	s.mu.Unlock()
	if !same || !s.present {
		return s.errorf("open", reader.ErrNoCard, errors.New("the card was moved while it was opened"))
	}
	err := u.ready(j, true)
	if err != nil && u.fate == nil && u.broken == nil && s.present && time.Now().Before(j.deadline) && !errors.Is(err, line.ErrStopped) {
		// It may not like the speed that it offered itself.
		err = u.ready(j, false)
	}
	var m *t1.Error
	var code Code
	switch {
	case u.fate != nil || !s.present:
		return s.errorf("open", reader.ErrNoCard, err)
	case err == nil:
		return nil
	case u.broken != nil:
		return s.errorf("open", reader.ErrLost, u.broken)
	case errors.As(err, &code), errors.As(err, &m):
		return s.errorf("open", reader.ErrMute, err)
	}
	if u.status(s) != nil {
		return s.errorf("open", reader.ErrLost, u.broken)
	}
	if !s.present || u.fate != nil {
		return s.errorf("open", reader.ErrNoCard, err)
	}
	return s.errorf("open", reader.ErrMute, err)
}

// maxTPDU is a header and the most data that T=0 takes to a card.
const maxTPDU = 5 + apdu.MaxShortData

// defaultFiDi is F=372, D=1.
const defaultFiDi = 0x11

func (u *unit) ready(j *job, fast bool) error {
	c, s := j.card, j.card.slot
	if s.powered {
		if err := u.powerOff(s); err != nil {
			return err
		}
	}
	atr, err := u.powerUp(s, c.dead, j.deadline)
	if err != nil {
		return err
	}
	a, _ := apdu.ParseATR(atr) // what can be read of a bad one must do
	c.atr, c.protocol = atr, reader.OfferedProtocol(atr)
	t := byte(0)
	if c.protocol == reader.T1 {
		t = 1
	}
	fidi := byte(defaultFiDi)
	if g := a.Groups; len(g) > 0 && g[0].TA != nil && a.F > 0 && a.D > 0 && u.model.Clock*1000*a.D <= u.model.MaxRate*a.F && (fast || a.Specific) {
		fidi = *g[0].TA
	}
	if a.Specific && a.Implicit {
		fidi = defaultFiDi
	}
	if fidi != defaultFiDi && !a.Specific {
		pps := []byte{0xFF, 0x10 | t, fidi, 0}
		pps[3] = lrc(pps[:3])
		m, err := u.ask(s, c.dead, j.deadline, cardTime, message{kind: xfrBlock, data: pps})
		if err != nil {
			return err
		}
		if string(m.data) != string(pps) {
			return fmt.Errorf("the card answers % X to the choice of its speed", m.data)
		}
	}
	inverse := byte(0)
	if a.Convention == apdu.Inverse {
		inverse = 2
	}
	p := []byte{fidi, inverse, a.N, a.WI, 0}
	if t == 1 {
		tcc := 0x10 | inverse
		if a.CRC {
			tcc |= 1
		}
		p = []byte{fidi, tcc, a.N, a.BWI<<4 | a.CWI, 0, a.IFSC, 0}
	}
	var code Code
	if _, err := u.ask(s, c.dead, j.deadline, statusTime, message{kind: setParameters, p: [3]byte{t}, data: p}); errors.As(err, &code) {
		if code < 0x01 || code > 0x7F { // that one can't be changed, which libccid accepts as well
			return err
		}
	} else if err != nil {
		return err
	}
	c.wait, c.link = max(cardTime, u.o.Deadline), nil
	if t == 1 {
		f, d := 372, 1
		if fidi != defaultFiDi {
			f, d = a.F, a.D
		}
		// ISO/IEC 7816-3 clause 11.4.3, and a second for what travels.
		etu := time.Duration(f) * time.Second / time.Duration(d*u.model.Clock*1000)
		c.wait = 11*etu + time.Duration(1<<min(a.BWI, 9))*960*372*time.Second/time.Duration(u.model.Clock*1000)
		c.link = t1.New(&blocks{u, c}, t1.Params{IFSC: int(a.IFSC), CRC: a.CRC})
		return c.link.Start(context.Background())
	}
	return nil
}

var (
	errMoved = errors.New("the card moved")
	errLate  = errors.New("the time for the exchange is over")
)

// blocks carries the blocks of T=1.
type blocks struct {
	u *unit
	c *card
}

// Block implements t1.Line.
func (b *blocks) Block(_ context.Context, block, answer []byte, wait int) (int, error) {
	u, c := b.u, b.c
	var m message
	var err error
	for range attempts { // what the reader got damaged the card has not seen; and it would know a block that it has
		m, err = u.ask(c.slot, c.dead, c.job.deadline, c.wait*time.Duration(wait)+time.Second, message{kind: xfrBlock, data: block})
		if err != ErrNAK {
			break
		}
	}
	if err == nil {
		return copy(answer, m.data), nil
	}
	switch {
	case u.fate != nil:
		return 0, errMoved
	case u.broken != nil || errors.Is(err, line.ErrStopped):
		return 0, err
	case !time.Now().Before(c.job.deadline):
		return 0, errLate
	}
	switch err {
	case ErrNAK, ErrDamaged, codeParity:
		return 0, t1.ErrCorrupt
	case codeMute:
		return 0, t1.ErrSilence
	case ErrSilent:
		if u.status(c.slot) != nil {
			return 0, u.broken
		}
		if u.fate != nil {
			return 0, errMoved
		}
		return 0, t1.ErrSilence
	}
	return 0, err
}

// exchange carries a command to the card.
func (u *unit) exchange(j *job) *reader.Error {
	c, s := j.card, j.card.slot
	var err error
	executed := true
	if c.link != nil {
		j.answer, err = c.link.Exchange(context.Background(), j.answer[:0], j.command)
		executed = apdu.MayHaveExecuted(err)
	} else {
		if len(j.command) == 4 { // a TPDU has P3
			j.command = append(j.command, 0)
		}
		if len(j.command) > maxTPDU {
			return s.errorf("transmit", reader.ErrGarbled, apdu.ErrExtendedT0)
		}
		var m message
		m, err = u.ask(s, c.dead, j.deadline, c.wait, message{kind: xfrBlock, data: j.command})
		j.answer = append(j.answer[:0], m.data...)
		var code Code
		if errors.Is(err, ErrNAK) || errors.As(err, &code) && code.before() {
			executed = false
		}
		if errors.Is(err, ErrSilent) && u.status(s) == nil && u.fate == nil {
			err = errLate
		}
	}
	if err == nil && len(j.answer) >= 2 {
		return nil
	}
	if err == nil {
		err = apdu.ErrResponseShort
	}
	kind := reader.ErrGarbled
	switch {
	case u.fate != nil:
		kind, err = u.fate, nil
	case u.broken != nil:
		kind, err = reader.ErrLost, u.broken
	case errors.Is(err, errLate), errors.Is(err, codeMute), errors.Is(err, t1.ErrSilence):
		kind = reader.ErrDeadline
	}
	e := s.errorf("transmit", kind, err)
	e.Executed = executed
	return e
}
