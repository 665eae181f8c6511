package kiosk

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/terminal"
)

// Staff is a person who may work this terminal.
type Staff struct {
	ID      money.StaffID
	Name    string
	PINHash string           // of HashPIN
	Rights  []string         // of the Right constants
	Card    money.CardNumber // names the person at the login screen; zero for none

	// What the terminal's own list says of the person; not in the configuration.
	locked bool
	change bool // somebody else chose the PIN
	config bool // is in the configuration
}

// Rights that a person may hold (field.md section 5.2).
const (
	RightSell      = "sell"
	RightTopUp     = "topup" // with giving cash back
	RightRedeem    = "redeem"
	RightVoid      = "void"
	RightReprint   = "reprint"
	RightReplace   = "replace"   // a lost or damaged card
	RightSettle    = "settle"    // shifts, their reports, and stock
	RightConfigure = "configure" // the staff list and the terminal's settings
	RightService   = "service"   // to work the terminal by cardtool, as its technician
)

// Rights lists every right.
var Rights = []string{RightSell, RightTopUp, RightRedeem, RightVoid, RightReprint, RightReplace, RightSettle, RightConfigure, RightService}

// ErrRight means that a word names no right.
var ErrRight = errors.New("kiosk: no such right")

// CheckRight fails with ErrRight for a word that is no right. One that was
// renamed is told its new name, since a person who could close shifts
// yesterday must not be left without by a configuration that still loads.
func CheckRight(word string) error {
	switch {
	case slices.Contains(Rights, word):
		return nil
	case word == "shift":
		return fmt.Errorf("%w: %q is now %q", ErrRight, word, RightSettle)
	}
	return fmt.Errorf("%w: %q", ErrRight, word)
}

// Errors of the staff list.
var (
	ErrPIN     = errors.New("kiosk: a staff PIN is 4 to 12 digits")
	ErrPINHash = errors.New("kiosk: not a PIN hash")
	ErrStaff   = errors.New("kiosk: staff list")
)

// Argon2id parameters: 19 MiB, 2 passes, 1 lane, the least that OWASP's
// password storage guide recommends; a PIN's real defence is the wait after
// wrong ones.
const (
	argonMemory = 19 * 1024 // KiB
	argonPasses = 2
	argonPrefix = "$argon2id$v=19$m=19456,t=2,p=1$"
)

// HashPIN makes the hash of a PIN for the configuration. It fails with
// ErrPIN.
func HashPIN(pin string) (string, error) {
	if len(pin) < 4 || len(pin) > 12 || strings.Trim(pin, "0123456789") != "" {
		return "", ErrPIN
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	return hashPIN(pin, salt), nil
}

// stretch is a variable for the tests that log in hundreds of times.
var stretch = argon2.IDKey

func hashPIN(pin string, salt []byte) string {
	key := stretch([]byte(pin), salt, argonPasses, argonMemory, 1, 32)
	return argonPrefix + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key)
}

func pinSalt(hash string) ([]byte, error) {
	rest, ok := strings.CutPrefix(hash, argonPrefix)
	salt, key, ok2 := strings.Cut(rest, "$")
	if !ok || !ok2 || len(key) != 43 {
		return nil, ErrPINHash
	}
	b, err := base64.RawStdEncoding.DecodeString(salt)
	if err != nil || len(b) != 16 {
		return nil, ErrPINHash
	}
	return b, nil
}

// CheckPINHash fails with ErrPINHash for a text that HashPIN does not make.
func CheckPINHash(hash string) error {
	_, err := pinSalt(hash)
	return err
}

// Waits after wrong PINs: free tries, then a wait that doubles. A person is
// never locked out for good, since the shop must be able to open; a thief has
// some 100 tries a day.
const (
	freeTries = 3
	firstWait = 30 * time.Second
	longWait  = 15 * time.Minute
)

// Sessions kept at a time; the longest unused goes first.
const (
	maxClerks = 8
	maxKiosks = 32
)

const (
	clerkCookie = "dianka_clerk"
	kioskCookie = "dianka_kiosk"
)

// session is a screen that may act. A kiosk's has no staff.
type session struct {
	staff  *Staff
	tool   bool // of a technician's tool, see Service; then staff is set
	used   time.Time
	calls  int // money calls in flight; a session never locks under one
	locked bool
	denied map[string]count // wishes without the right, by right
}

type tries struct {
	wrong  int
	until  time.Time
	failed count // with those that the wait refused
}

// count counts what may be repeated without end, so that the journal, which
// holds every one, does not grow with it: the first few are written, then every
// doubling with how many it stands for.
type count struct{ all, told uint32 }

// more counts one, and gives for how many an entry is to be written now, 0 for
// none.
func (c *count) more() uint32 {
	if c.all < 1<<31 {
		c.all++
	}
	if c.all > 3 && c.all&(c.all-1) != 0 {
		return 0
	}
	return c.rest()
}

// rest gives how many no entry stands for yet.
func (c *count) rest() uint32 {
	n := c.all - c.told
	c.told = c.all
	return n
}

// door lets people in: PINs, waits, sessions. Sessions live in memory only;
// after a restart everybody logs in again.
type door struct {
	mode   Mode
	config []Staff // those of the configuration
	dummy  string  // hashed for numbers that nobody has, so that both take the same time

	hashing sync.Mutex // one hash at a time: it takes 19 MiB

	admin sync.Mutex // one change of the list at a time

	mu     sync.Mutex
	staff  []*Staff // never changed in place: admit puts a new list here
	clerks map[string]*session
	kiosks map[string]*session
	lapsed []money.StaffID // whose sessions locked themselves and nobody wrote it yet
	tries  map[money.StaffID]*tries
	other  tries // for all numbers that nobody has
}

func newDoor(staff []Staff) (*door, error) {
	for i, p := range staff {
		if p.ID == 0 || p.Name == "" {
			return nil, fmt.Errorf("%w: entry %d has no number or no name", ErrStaff, i+1)
		}
		if slices.ContainsFunc(staff[:i], func(q Staff) bool { return q.ID == p.ID }) {
			return nil, fmt.Errorf("%w: number %s comes twice", ErrStaff, p.ID)
		}
		if !p.Card.IsZero() && slices.ContainsFunc(staff[:i], func(q Staff) bool { return q.Card == p.Card }) {
			return nil, fmt.Errorf("%w: card %s names two", ErrStaff, p.Card)
		}
		for _, r := range p.Rights {
			if err := CheckRight(r); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrStaff, p.ID, err)
			}
		}
		if err := CheckPINHash(p.PINHash); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrStaff, p.ID, err)
		}
	}
	d := &door{
		config: staff, dummy: argonPrefix + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43),
		clerks: make(map[string]*session), kiosks: make(map[string]*session),
		tries: make(map[money.StaffID]*tries),
	}
	d.admit(nil)
	return d, nil
}

// admit makes the list of who is let in: everybody in the configuration, with
// the lock that the terminal's own list adds, and everybody on
// that list who is not in the configuration. Sessions of those who are locked or
// gone end at once; the others go on with what the person may do from now on.
func (d *door) admit(list []store.Person) {
	own := make(map[money.StaffID]store.Person, len(list))
	var staff []*Staff
	for _, p := range list {
		own[p.ID] = p
	}
	for _, p := range d.config {
		p.config, p.locked = true, own[p.ID].Locked
		staff = append(staff, &p)
		delete(own, p.ID)
	}
	for _, p := range list {
		if _, ok := own[p.ID]; ok && !p.Config {
			staff = append(staff, &Staff{ID: p.ID, Name: p.Name, PINHash: p.PINHash, Rights: p.Rights, locked: p.Locked, change: p.Change, Card: p.Card})
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.staff = staff
	for id, s := range d.clerks {
		if p := d.find(s.staff.ID); p == nil || p.locked {
			delete(d.clerks, id)
		} else {
			s.staff = p
		}
	}
}

// find gives a person, nil when nobody has the number. d.mu is held.
func (d *door) find(id money.StaffID) *Staff {
	if i := slices.IndexFunc(d.staff, func(p *Staff) bool { return p.ID == id }); i >= 0 {
		return d.staff[i]
	}
	return nil
}

// people lists everybody, those in the configuration first.
func (d *door) people() []*Staff {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.staff
}

// check tells whose number and PIN these are. It fails with CodeLoginFailed
// or CodeLoginWait, and with CodeStaffLocked for the right PIN of somebody who
// is let in no more. failed is for how many failures an entry is to be written.
func (d *door) check(id money.StaffID, pin string) (p *Staff, failed uint32, err error) {
	d.hashing.Lock()
	defer d.hashing.Unlock()

	d.mu.Lock()
	p, hash := d.find(id), d.dummy
	t := &d.other
	if p != nil {
		hash = p.PINHash
		if d.tries[id] == nil {
			d.tries[id] = new(tries)
		}
		t = d.tries[id]
	}
	wait := time.Until(t.until)
	if wait > 0 {
		failed = t.failed.more()
	}
	d.mu.Unlock()
	if wait > 0 {
		return nil, failed, &terminal.Refusal{Code: CodeLoginWait, Left: int((wait + time.Second - 1) / time.Second)}
	}

	salt, err := pinSalt(hash)
	right := err == nil && len(pin) <= 12 && subtle.ConstantTimeCompare([]byte(hashPIN(pin, salt)), []byte(hash)) == 1

	d.mu.Lock()
	defer d.mu.Unlock()
	if p == nil || !right {
		t.wrong++
		if n := t.wrong - freeTries; n >= 0 {
			t.until = time.Now().Add(min(longWait, firstWait<<min(n, 10)))
		}
		return nil, t.failed.more(), refusal(CodeLoginFailed)
	}
	if p.locked {
		return nil, t.failed.more(), refusal(CodeStaffLocked)
	}
	failed = t.failed.rest()
	*t = tries{}
	return p, failed, nil
}

// open makes a session and gives the value of its cookie. It says false for
// somebody who was locked or given another PIN since the PIN was checked.
func (d *door) open(p *Staff, tool bool) (string, bool) {
	id := rand.Text() // 26 letters and digits, at least 128 bit
	d.mu.Lock()
	defer d.mu.Unlock()
	m, most := d.kiosks, maxKiosks
	if p != nil {
		now := d.find(p.ID)
		if now == nil || now.locked || now.PINHash != p.PINHash {
			return "", false
		}
		p = now
		m, most = d.clerks, maxClerks
	}
	for len(m) >= most {
		oldest := ""
		for k, s := range m {
			if oldest == "" || s.used.Before(m[oldest].used) {
				oldest = k
			}
		}
		delete(m, oldest)
	}
	m[id] = &session{staff: p, tool: tool, used: time.Now()}
	return id, true
}

// close ends a clerk's session; p is whose it was, nil when there was none.
func (d *door) close(id string, tool bool) (p *Staff, locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.clerks[id]
	if s == nil || s.tool != tool {
		return nil, false
	}
	d.lock(s, time.Now())
	delete(d.clerks, id)
	return s.staff, s.locked
}

// lock locks a session that nobody used for too long.
func (d *door) lock(s *session, now time.Time) {
	if s.locked || s.staff == nil || s.calls > 0 || now.Sub(s.used) < IdleLock {
		return
	}
	s.locked = true
	d.lapsed = append(d.lapsed, s.staff.ID)
}

// locks gives whose sessions locked themselves since it was last asked.
func (d *door) locks() []money.StaffID {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lapsed
	d.lapsed = nil
	return l
}

// deny counts a wish of a session without the right to it, and gives for how
// many an entry is to be written.
func (d *door) deny(s *session, right string) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.denied == nil {
		s.denied = make(map[string]count)
	}
	c := s.denied[right]
	defer func() { s.denied[right] = c }()
	return c.more()
}

// caller is who calls.
type caller struct {
	staff  *Staff // nil for a kiosk and for nobody
	kiosk  bool
	locked bool
	left   time.Duration // until the clerk's session locks
	s      *session
}

func (c caller) who() terminal.Who {
	if c.staff != nil {
		return actorOf(c.staff, c.s.tool)
	}
	return journal.Actor{Kind: journal.ActorCustomer}
}

// clerk reports whether a person works here: not at a locked screen, and not
// before choosing a PIN that nobody else knows.
func (c caller) clerk() bool { return c.staff != nil && !c.locked && !c.staff.change }

// screenOf tells which page calls: a browser that shows both pages sends
// both cookies, and what the customer does must not be booked on the clerk.
func screenOf(r *http.Request) string {
	if v := r.Header.Get("Dianka-Screen"); v != "" {
		return v
	}
	return r.URL.Query().Get("screen") // event streams can't set headers
}

// caller finds the session of a request. act says that a person did
// something, which keeps a clerk's session open.
func (d *door) caller(r *http.Request, act bool) caller {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	tool := byTool(r)
	if c, err := r.Cookie(clerkCookie); err == nil && (tool || screenOf(r) != "kiosk" && d.mode.offers("clerk")) {
		if s := d.clerks[c.Value]; s != nil && s.tool == tool {
			d.lock(s, now)
			if act && !s.locked {
				s.used = now
			}
			return caller{staff: s.staff, locked: s.locked, left: IdleLock - now.Sub(s.used), s: s}
		}
	}
	if c, err := r.Cookie(kioskCookie); err == nil && !tool && screenOf(r) != "clerk" && d.mode.offers("kiosk") {
		if s := d.kiosks[c.Value]; s != nil {
			s.used = now
			return caller{kiosk: true, s: s}
		}
	}
	return caller{}
}

// hold keeps a session from locking until the returned function is called.
func (d *door) hold(s *session) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.calls++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		s.calls--
		s.used = time.Now()
	}
}

// seconds lists who may be the second person of a void begun by p.
func (d *door) seconds(p *Staff) []*Staff {
	var l []*Staff
	for _, q := range d.people() {
		if q.ID != p.ID && !q.locked && !q.change && slices.Contains(q.Rights, RightVoid) {
			l = append(l, q)
		}
	}
	return l
}

func cookie(name, value string) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}
