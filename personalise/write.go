package personalise

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/suite"
)

// Card is all that this package asks of a card: one command, one response,
// 61xx and 6Cxx already handled, and a cold reset. What an error says about
// execution is read by apdu.MayHaveExecuted.
type Card interface {
	apdu.Transmitter
	Reset(ctx context.Context) error
}

// Errors of a card that is to be made. None is raised after a command of that
// call wrote to the card, but ErrDeadEnd and ErrDiffers.
var (
	ErrOther   = errors.New("the card has another number")
	ErrInUse   = errors.New("the card is in use: it has counted transactions")
	ErrBlocked = errors.New("the card is blocked")
	ErrForeign = errors.New("the card's control key is not the one that is named: it is another issuer's, or was made for another number")
	ErrDeadEnd = errors.New("the card lost power between a key file and its control key: nobody can write there any more")
	ErrDiffers = errors.New("the card does not hold what was written")
	ErrErase   = errors.New("only a test card, or one that was never finished, may be erased")
)

// ForeignError is ErrForeign with the tries that the card has left for that
// key.
type ForeignError struct {
	Dir  string
	Left int
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: %v; tries left for it: %d", e.Dir, ErrForeign, e.Left)
}

// Unwrap gives ErrForeign.
func (e *ForeignError) Unwrap() error { return ErrForeign }

// Chunk is how much one command writes, in bytes: purse.md section 6 rule 11.
const chunk = 96

const (
	mf   = -1
	none = -2
)

// writer sends the issuing commands of a plan. What it finds on the card it
// leaves, so that it can be called again after a card was pulled out.
type writer struct {
	*Plan
	ctx    context.Context
	card   apdu.Transmitter
	note   func(what string, l apdu.Line) // before a command is sent, secrets taken out; may be nil
	bind   func() error                   // before the first command that makes the card this number's; may be nil
	bound  bool
	resume bool // the card holds something: look before writing

	cur     int          // directory that is selected
	there   map[int]bool // directories that were there before
	empty   map[int]bool // created, and not yet entered
	fresh   map[int]bool // entered empty: everything is allowed until it is left (purse.md section 11.1)
	authed  map[int]bool // its control key was presented, since it was entered
	control map[int]bool // it has its control key
	found   int          // steps that the card had done before
}

func (p *Plan) writer(ctx context.Context, c apdu.Transmitter) *writer {
	return &writer{Plan: p, ctx: ctx, card: c, cur: none,
		there: map[int]bool{}, empty: map[int]bool{}, fresh: map[int]bool{}, authed: map[int]bool{}, control: map[int]bool{}}
}

// send sends a command whose data from secret to end are not shown, and gives
// the answer whatever it is.
func (w *writer) send(what string, cmd apdu.Command, secret int) (apdu.Response, error) {
	b, err := cmd.Bytes()
	if err != nil {
		return apdu.Response{}, fmt.Errorf("%s: %w", what, err)
	}
	if w.note != nil {
		l := apdu.Line{Kind: apdu.LineCommand, Data: bytes.Clone(b)}
		if secret < len(cmd.Data) {
			l.Redacted = make([]bool, len(b))
			for i := 5 + secret; i < 5+len(cmd.Data); i++ {
				l.Data[i], l.Redacted[i] = 0, true
			}
		}
		w.note(what, l)
	}
	raw, err := w.card.Transmit(w.ctx, b)
	if err != nil {
		return apdu.Response{}, fmt.Errorf("%s: %w", what, err)
	}
	r, err := apdu.ParseResponse(raw)
	if err != nil {
		return r, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
}

const shown = 1 << 10 // nothing is secret

// do is send for a command that must be answered by 9000.
func (w *writer) do(what string, cmd apdu.Command, secret int) error {
	r, err := w.send(what, cmd, secret)
	if err == nil && !r.SW.OK() {
		err = fmt.Errorf("%s: the card answered %w", what, r.SW)
	}
	return err
}

// run makes the card, or what is missing of it.
func (w *writer) run() error {
	if err := w.masterFile(); err != nil {
		return err
	}
	if err := w.inside(mf); err != nil {
		return err
	}
	for i := range w.d.Applications {
		if err := w.application(i); err != nil {
			return err
		}
	}
	for i := range w.d.Applications {
		if err := w.enter(i); err != nil {
			return err
		}
		if w.there[i] {
			if err := w.settle(i); err != nil {
				return err
			}
		} else if err := w.keyFile(i); err != nil {
			return err
		}
		if err := w.inside(i); err != nil {
			return err
		}
	}
	for i := mf; i < len(w.d.Applications); i++ {
		if err := w.contents(i, true); err != nil {
			return err
		}
	}
	return nil
}

// masterFile creates the MF, or enters the one that is there.
func (w *writer) masterFile() error {
	if w.d.Transport != "" {
		if err := w.enter(mf); err != nil {
			return err
		}
		return w.transport()
	}
	if w.there[mf] {
		if err := w.enter(mf); err != nil {
			return err
		}
		return w.settle(mf)
	}
	if err := w.do("create the master file", apdu.Command{CLA: 0x80, INS: 0xE0, P1: 0x3F, Data: dirData(&w.d.MF)}, shown); err != nil {
		return err
	}
	w.cur, w.fresh[mf] = mf, true
	return w.keyFile(mf)
}

// transport presents the maker's key and puts our control key in its place
// (purse.md section 11.7), or finds that this was done.
func (w *writer) transport() error {
	own := w.d.MF.control()
	ask := func(d suite.Derived) (left int, err error) { return w.authenticate(mf, d, own.ID) }
	first, second := suite.Derived{Name: w.d.Transport}, w.key(own)
	if w.resume {
		first, second = second, first
	}
	left, err := ask(first)
	replaced := w.resume
	if err == nil && left >= 0 {
		if left < 2 { // the last try is not for guessing
			return &ForeignError{w.dirName(mf), left}
		}
		replaced = !replaced
		left, err = ask(second)
	}
	switch {
	case err != nil:
		return err
	case left >= 0:
		return &ForeignError{w.dirName(mf), left}
	}
	w.authed[mf] = true
	if replaced {
		w.control[mf], w.resume = true, true
		w.found++
		return nil
	}
	if err := w.writeKey(mf, own, 0x39, suite.Derived{Name: w.d.Transport}); err != nil {
		return err
	}
	w.control[mf] = true
	return nil
}

// settle finds out how far a directory that was there before has come, by its
// control key and its key file.
func (w *writer) settle(i int) error {
	m := w.d.dirAt(i)
	if k := m.control(); k != nil {
		left, err := w.authenticate(i, w.key(k), k.ID)
		switch {
		case err == nil && left < 0:
			w.authed[i], w.control[i] = true, true
			w.found++
			return nil
		case err == nil:
			return &ForeignError{w.dirName(i), left}
		case !absent(err):
			return err
		}
	}
	r, err := w.send("create the key file of "+w.dirName(i), apdu.Command{CLA: 0x80, INS: 0xE0, Data: keyFileData(m)}, shown)
	switch {
	case err != nil:
		return err
	case r.SW.OK(): // it was empty, and so everything is allowed until it is left
		w.fresh[i] = true
		return nil
	case r.SW == apdu.SWWrongP1P2, r.SW == apdu.SWSecurityNotSatisfied:
		// It is there (purse.md section 11.1); in an empty directory nothing
		// would be refused.
		if m.control() != nil && !m.KeyFile.Add.open() {
			return fmt.Errorf("%s: %w", w.dirName(i), ErrDeadEnd)
		}
		w.found++
		return nil
	}
	return fmt.Errorf("create the key file of %s: the card answered %w", w.dirName(i), r.SW)
}

// absent reports a refusal that means that there is no such key or file.
func absent(err error) bool {
	for _, sw := range []apdu.SW{apdu.SWReferenceNotFound, apdu.SWFileNotFound, apdu.SWRecordNotFound, apdu.SWKeyIndexNotSupported} {
		if errors.Is(err, sw) {
			return true
		}
	}
	return false
}

// keyFile creates the key file of a directory that was just created.
func (w *writer) keyFile(i int) error {
	return w.do("create the key file of "+w.dirName(i), apdu.Command{CLA: 0x80, INS: 0xE0, Data: keyFileData(w.d.dirAt(i))}, shown)
}

// enter selects a directory; the security state of the one that is left is
// gone.
func (w *writer) enter(i int) error {
	if w.cur == i {
		return nil
	}
	r, err := w.choose(i)
	if err == nil && !r.SW.OK() {
		err = fmt.Errorf("select %s: the card answered %w", w.dirName(i), r.SW)
	}
	if err != nil {
		return err
	}
	w.entered(i)
	if w.empty[i] {
		w.fresh[i] = true
		delete(w.empty, i)
	}
	return nil
}

func (w *writer) entered(i int) {
	delete(w.fresh, w.cur)
	delete(w.authed, w.cur)
	delete(w.authed, i)
	w.cur = i
}

func (w *writer) choose(i int) (apdu.Response, error) {
	cmd := apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}}
	if i != mf {
		cmd = apdu.Command{INS: 0xA4, P1: 0x04, Data: w.d.Applications[i].Name}
	}
	return w.send("select "+w.dirName(i), cmd, shown)
}

// application creates a directory under the MF unless it is there.
func (w *writer) application(i int) error {
	m := &w.d.Applications[i]
	if w.resume {
		r, err := w.choose(i)
		if err != nil {
			return err
		}
		if r.SW.OK() {
			w.entered(i)
			w.there[i] = true
			w.found++
			return nil
		}
	}
	if err := w.enter(mf); err != nil {
		return err
	}
	if err := w.need(mf, w.d.MF.Create); err != nil {
		return err
	}
	w.empty[i] = true
	return w.do("create "+w.dirName(i), apdu.Command{CLA: 0x80, INS: 0xE0, P1: m.ID[0], P2: m.ID[1], Data: dirData(m)}, shown)
}

// need presents the control key of the current directory when a right wants
// it.
func (w *writer) need(i int, r Right) error {
	k := w.d.dirAt(i).control()
	if w.fresh[i] || w.authed[i] || r.Given && r.open() || k == nil || !w.control[i] {
		return nil
	}
	left, err := w.authenticate(i, w.key(k), k.ID)
	switch {
	case err != nil:
		return err
	case left >= 0:
		return &ForeignError{w.dirName(i), left}
	}
	w.authed[i] = true
	return nil
}

// authenticate presents a key by EXTERNAL AUTHENTICATE. left is -1 when the
// card took it, else the tries that are left.
func (w *writer) authenticate(i int, d suite.Derived, id byte) (left int, err error) {
	what := "authenticate with the control key of " + w.dirName(i)
	challenge, err := w.challenge(what, 8)
	if err != nil {
		return 0, err
	}
	block, err := w.keys.Authenticate(d, challenge)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	r, err := w.send(what, apdu.Command{INS: 0x82, P2: id, Data: block}, 0)
	if err != nil {
		return 0, err
	}
	if left, ok := r.SW.TriesLeft(); ok {
		return left, nil
	}
	switch {
	case r.SW.OK():
		return -1, nil
	case r.SW == apdu.SWAuthenticationFailed, r.SW == apdu.SWMethodBlocked:
		return 0, nil
	}
	return 0, fmt.Errorf("%s: the card answered %w", what, r.SW)
}

func (w *writer) challenge(what string, n int) ([]byte, error) {
	what += ": get challenge"
	r, err := w.send(what, apdu.Command{INS: 0x84, Ne: n}, shown)
	switch {
	case err != nil:
		return nil, err
	case !r.SW.OK():
		return nil, fmt.Errorf("%s: the card answered %w", what, r.SW)
	case len(r.Data) != n:
		return nil, fmt.Errorf("%s: %d bytes, not %d", what, len(r.Data), n)
	}
	return r.Data, nil
}

// inside writes keys, files, contents and master keys of the directory that is
// selected.
func (w *writer) inside(i int) error {
	m := w.d.dirAt(i)
	for j := range m.Keys {
		if err := w.putKey(i, &m.Keys[j]); err != nil {
			return err
		}
	}
	for j := range m.Files {
		f := &m.Files[j]
		if err := w.need(i, m.Create); err != nil {
			return err
		}
		what := fmt.Sprintf("create %s %X of %s", fileWord(f), []byte(f.ID), w.dirName(i))
		r, err := w.send(what, apdu.Command{CLA: 0x80, INS: 0xE0, P1: f.ID[0], P2: f.ID[1], Data: fileData(f)}, shown)
		switch {
		case err != nil:
			return err
		case r.SW == apdu.SWWrongP1P2 && w.resume: // it is there
			w.found++
		case !r.SW.OK():
			return fmt.Errorf("%s: the card answered %w", what, r.SW)
		}
	}
	if err := w.contents(i, false); err != nil {
		return err
	}
	for j := range m.Masters {
		k := &m.Masters[j]
		if err := w.claim(); err != nil {
			return err
		}
		what := fmt.Sprintf("write the %s master key %X of %s", k.Use, []byte(k.Version), w.dirName(i))
		text, err := w.keys.Enclose(w.master(k), masterHead(k), nil, w.key(m.control()))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := w.maced(what, apdu.Command{CLA: 0x84, INS: 0xD4, Data: text}, w.key(m.control()), 0); err != nil {
			return err
		}
	}
	return nil
}

func fileWord(f *File) string {
	switch f.Type {
	case "purse":
		return "purse"
	case "cyclic":
		return "cyclic file"
	}
	return f.Type + " file"
}

// claim binds the number to the card before the first command that carries
// it.
func (w *writer) claim() error {
	if w.bound || w.bind == nil {
		return nil
	}
	if err := w.bind(); err != nil {
		return err
	}
	w.bound = true
	return nil
}

// putKey adds a key; where it may be already, it is replaced by itself, which
// makes sure of its value without a try.
func (w *writer) putKey(i int, k *Key) error {
	m := w.d.dirAt(i)
	own := k == m.control()
	if own && w.control[i] {
		return nil
	}
	under := suite.Derived{}
	if w.secured {
		switch {
		case w.control[i]:
			under = w.key(m.control())
		case i != mf:
			under = w.key(w.d.MF.control())
		default:
			return fmt.Errorf("%w: the control key of the master file must come first", ErrOrder)
		}
	}
	if err := w.need(i, m.KeyFile.Add); err != nil {
		return err
	}
	if !w.fresh[i] && w.resume {
		p1 := keyTypes[k.Type].code
		if w.secured {
			p1 |= 0xC0
		}
		replaced := w.writeKey(i, k, p1, under)
		var sw apdu.SW
		if replaced == nil || !errors.As(replaced, &sw) {
			if replaced == nil {
				w.found++
				w.control[i] = w.control[i] || own
			}
			return replaced
		}
		added := w.writeKey(i, k, 0x01, under)
		if added != nil && errors.As(added, &sw) && !absent(replaced) {
			w.found++ // it is there and lets nobody replace it; what it is, the reading back tells
			return nil
		}
		w.control[i] = w.control[i] || own && added == nil
		return added
	}
	err := w.writeKey(i, k, 0x01, under)
	w.control[i] = w.control[i] || own && err == nil
	return err
}

// writeKey is WRITE KEY (purse.md section 11.3), in the clear, or under a key
// with the protection bits set, which keeps it so for ever.
func (w *writer) writeKey(i int, k *Key, p1 byte, under suite.Derived) error {
	if err := w.claim(); err != nil {
		return err
	}
	what := fmt.Sprintf("write the %s key %02X of %s", k.Type, k.ID, w.dirName(i))
	head, tail := w.keyHead(k)
	cmd := apdu.Command{CLA: 0x80, INS: 0xD4, P1: p1, P2: k.ID}
	if under.Name == "" {
		v, err := w.keys.Plain(w.key(k))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		secret := len(head)
		cmd.Data = append(append(head, v...), tail...)
		return w.do(what, cmd, secret)
	}
	head[0] |= 0xC0
	var err error
	if cmd.Data, err = w.keys.Enclose(w.key(k), head, tail, under); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	cmd.CLA = 0x84
	return w.maced(what, cmd, under, 0)
}

// maced sends a command with its line MAC over a new challenge (purse.md
// section 4.8).
func (w *writer) maced(what string, cmd apdu.Command, d suite.Derived, secret int) error {
	challenge, err := w.challenge(what, 4)
	if err != nil {
		return err
	}
	mac, err := w.keys.LineMAC(d, challenge, suite.LineFields(cmd.CLA, cmd.INS, cmd.P1, cmd.P2, cmd.Data))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	cmd.Data = append(bytes.Clone(cmd.Data), mac[:]...)
	return w.do(what, cmd, secret)
}

// contents writes what files hold: the protected ones last, as their directory
// is entered anew for them.
func (w *writer) contents(i int, protected bool) error {
	m := w.d.dirAt(i)
	for j := range m.Files {
		f := &m.Files[j]
		if (f.Protect != "") != protected {
			continue
		}
		if f.Content != nil {
			if err := w.content(i, f); err != nil {
				return err
			}
		}
		for n, c := range f.Records {
			if err := w.record(i, f, n+1, w.bytes(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) content(i int, f *File) error {
	b := w.bytes(f.Content)
	if err := w.enter(i); err != nil {
		return err
	}
	what := fmt.Sprintf("write file %X of %s", []byte(f.ID), w.dirName(i))
	if w.resume && !w.fresh[i] && f.Read.open() {
		same, err := w.holds(what, f, b)
		if err != nil || same {
			w.found++
			return err
		}
		if f.Write.never() {
			return fmt.Errorf("%s: %w", what, ErrDeadEnd)
		}
	}
	for at := 0; at < len(b); at += chunk {
		if err := w.need(i, f.Write); err != nil {
			return err
		}
		part := b[at:min(at+chunk, len(b))]
		if err := w.update(what, i, f, apdu.Command{INS: 0xD6, P1: 0x80 | f.ID[1], P2: byte(at), Data: part}); err != nil {
			return err
		}
	}
	return nil
}

// update sends a write with the protection that the file wants.
func (w *writer) update(what string, i int, f *File, cmd apdu.Command) error {
	if err := w.claim(); err != nil {
		return err
	}
	if f.Protect == "" {
		return w.do(what, cmd, shown)
	}
	line := w.d.dirAt(i).line()
	cmd.CLA |= 0x04
	secret := len(cmd.Data)
	if f.Protect == "both" {
		text, err := w.keys.LineEncrypt(w.key(line), cmd.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		cmd.Data, secret = text, 0
	}
	return w.maced(what, cmd, w.key(line), secret)
}

// holds reads a file and compares.
func (w *writer) holds(what string, f *File, want []byte) (bool, error) {
	for at := 0; at < len(want); at += chunk {
		n := min(chunk, len(want)-at)
		r, err := w.send(what+": read", apdu.Command{INS: 0xB0, P1: 0x80 | f.ID[1], P2: byte(at), Ne: n}, shown)
		if err != nil {
			return false, err
		}
		if !r.SW.OK() || !same(f, r.Data, want[at:at+n]) {
			return false, nil
		}
	}
	return true, nil
}

// same compares what a file holds with what is wanted; a counter may have
// gone on.
func same(f *File, got, want []byte) bool {
	return bytes.Equal(got, want) || f.Counter && len(got) == len(want) && bytes.Compare(got, want) > 0
}

// record appends a record, the n-th (purse.md section 6).
func (w *writer) record(i int, f *File, n int, b []byte) error {
	if err := w.enter(i); err != nil {
		return err
	}
	what := fmt.Sprintf("append record %d to file %X of %s", n, []byte(f.ID), w.dirName(i))
	if w.resume && !w.fresh[i] && f.Read.open() {
		r, err := w.send(what+": read", apdu.Command{INS: 0xB2, P1: byte(n), P2: f.ID[1]<<3 | 4, Ne: len(b)}, shown)
		switch {
		case err != nil:
			return err
		case r.SW.OK() && bytes.Equal(r.Data, b):
			w.found++
			return nil
		case r.SW.OK():
			return fmt.Errorf("%s: %w", what, ErrDiffers)
		}
	}
	if err := w.need(i, f.Write); err != nil {
		return err
	}
	return w.update(what, i, f, apdu.Command{INS: 0xE2, P2: f.ID[1] << 3, Data: b})
}

// Step is one command of a plan, as a blank card would get it.
type Step struct {
	What string
	Line apdu.Line // keys, cryptograms and MACs taken out
}

// Preview gives the commands that make a blank card, or with a transport key
// one as its maker delivers it. What only the card's challenge decides is
// taken out, and so is every key.
func (p *Plan) Preview(erase bool) ([]Step, error) {
	var steps []Step
	w := p.writer(context.Background(), agreeing{})
	w.note = func(what string, l apdu.Line) { steps = append(steps, Step{what, l}) }
	if erase {
		if err := w.do("erase the card", eraseCommand, shown); err != nil {
			return nil, err
		}
	}
	err := w.run()
	return steps, err
}

// eraseCommand is purse.md section 11.4.
var eraseCommand = apdu.Command{CLA: 0x80, INS: 0x0E, Ne: apdu.MaxShortNe}

// agreeing is a blank card to which all commands are right.
type agreeing struct{}

func (agreeing) Transmit(_ context.Context, command []byte) ([]byte, error) {
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return nil, err
	}
	if c.INS == 0x84 {
		return append(make([]byte, c.Ne), 0x90, 0x00), nil
	}
	return []byte{0x90, 0x00}, nil
}
