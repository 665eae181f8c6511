// Package checkup finds out what is wrong between a card and the programs of
// this machine: from the USB device up through the PC/SC service to the card
// and what is on it. cardtool doctor shows it; kioskd's doctor speaks of the
// terminal in the same form.
//
// It may import apdu, reader, purse and firmware-profiles. What it wants to
// know of the machine it asks a Machine, so that a test can have one with
// anything broken. It presents no PIN, moves nothing and stops no program.
package checkup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
)

// States of a finding.
const (
	OK      = "ok"
	Warning = "warning"
	Problem = "problem"
)

// Finding is what is said of one thing.
type Finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning or problem
	Says  string `json:"says"`
	Next  string `json:"next,omitempty"` // what to do
}

// Write shows findings to people, a line each and the next step below it.
func Write(w io.Writer, list []Finding) {
	for _, f := range list {
		fmt.Fprintf(w, "%-8s %-12s %s\n", f.State, f.Check, f.Says)
		if f.Next != "" {
			fmt.Fprintf(w, "%-8s %-12s → %s\n", "", "", f.Next)
		}
	}
}

// Problems counts those that are problems.
func Problems(list []Finding) (n int) {
	for _, f := range list {
		if f.State == Problem {
			n++
		}
	}
	return n
}

// Daemon is the PC/SC service as a program of this machine.
type Daemon struct {
	Known     bool // false where the system has its own, or it can't be told
	Installed bool
	Version   string // empty when it does not say
	Process   int    // 0 when it does not run
}

// SerialPort is a serial device that a reader is configured on.
type SerialPort struct {
	Path    string
	Reader  string   // as the configuration calls it
	Missing bool     // there is no such device
	Holders []string // programs that have it open
}

// Card is a card that was opened.
type Card interface {
	purse.Card
	ATR() []byte
	Protocol() reader.Protocol
	Close() error
}

// Machine is what is asked of this machine. A nil function means that the
// machine cannot be asked that.
type Machine struct {
	USB      func() []string // card readers that the USB bus shows
	Daemon   func(ctx context.Context) Daemon
	Socket   func() (where string, err error) // tries the way to the service: nil, fs.ErrNotExist, fs.ErrPermission, syscall.ECONNREFUSED
	Serial   func() []SerialPort
	Terminal func(ctx context.Context) ([]Finding, error) // what the terminal's own doctor says; nothing where there is no terminal
	Programs func() []string                              // other programs that have PC/SC open
	Readers  func(ctx context.Context) ([]string, error)
	State    func(ctx context.Context, name string) reader.Event
	Open     func(ctx context.Context, name string) (Card, error)
	Identity func(ctx context.Context, name string) (id profiles.ReaderID, version string) // what a reader's driver says of it
	Now      func() time.Time
	Profiles *profiles.Set
}

// troublemakers are programs that are known to keep readers to themselves
// (readers.md section 2, item 8).
var troublemakers = map[string]string{
	"scdaemon":      "it belongs to GnuPG: gpgconf --kill scdaemon; on a terminal, remove the package scdaemon",
	"gsd-smartcard": "it belongs to GNOME: on a terminal, disable org.gnome.SettingsDaemon.Smartcard",
	"gpg-agent":     "it belongs to GnuPG: gpgconf --kill gpg-agent",
	"opensc-notify": "stop it; a terminal needs none",
	"yubikey-agent": "stop it; a terminal needs none",
}

type examination struct {
	Machine
	list []Finding
}

func (e *examination) say(check, state, next, format string, args ...any) {
	e.list = append(e.list, Finding{check, state, fmt.Sprintf(format, args...), next})
}

// Examine looks from the bottom up. One fault is one problem: what cannot work
// because of it is not reported again.
func Examine(ctx context.Context, m Machine) []Finding {
	e := &examination{Machine: m}
	e.cards(ctx)
	e.terminal(ctx)
	return e.list
}

// cards looks at everything between USB bus and card.
func (e *examination) cards(ctx context.Context) {
	m := e.Machine
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Profiles == nil {
		e.Profiles = profiles.Builtin()
	}
	usb := e.usb()
	e.serial()
	daemon, reachable := e.service(ctx)
	if !reachable {
		return
	}
	names, err := m.Readers(ctx)
	if err != nil {
		e.unreachable(err, daemon)
		return
	}
	e.say("service", OK, "", "it answers")
	e.programs()
	if len(names) == 0 {
		switch {
		case len(usb) > 0:
			e.say("readers", Problem, "install the driver (Debian: libccid), unplug the reader and plug it in again; journalctl -u pcscd tells what the driver said",
				"the USB bus shows %s, but the PC/SC service no reader: no driver takes it", strings.Join(usb, ", "))
		case m.USB != nil:
			e.say("readers", Problem, "plug the reader in, in another socket if need be; lsusb must show it. A serial reader wants an entry in /etc/reader.conf.d",
				"neither the USB bus nor the PC/SC service shows a reader")
		default:
			e.say("readers", Problem, "plug the reader in", "the PC/SC service has no reader")
		}
		return
	}
	for i, n := range names {
		e.reader(ctx, i+1, n)
	}
}

// terminal repeats what the terminal's own doctor says.
func (e *examination) terminal(ctx context.Context) {
	if e.Terminal == nil {
		return
	}
	list, err := e.Terminal(ctx)
	if err != nil {
		e.say("terminal", Problem, "kioskd doctor tells more; kioskd config tells what the configuration wants", "it cannot be examined: %v", err)
	}
	e.list = append(e.list, list...)
}

// serial looks whether the ports of serial readers are there and theirs.
func (e *examination) serial() {
	if e.Serial == nil {
		return
	}
	for _, p := range e.Serial() {
		var others []string
		for _, h := range p.Holders {
			if h != "pcscd" {
				others = append(others, h)
			}
		}
		switch {
		case p.Missing:
			e.say("serial port", Problem, "plug the adapter in; set DEVICENAME in /etc/reader.conf.d right, best to a path below /dev/serial/by-id, then systemctl restart pcscd",
				"%s of the reader %s is not there", p.Path, p.Reader)
		case len(others) > 0:
			e.say("serial port", Problem, "stop that program; a port has one owner, which is pcscd when /etc/reader.conf.d names it",
				"%s of the reader %s is held by %s", p.Path, p.Reader, strings.Join(others, ", "))
		case len(p.Holders) > 0:
			e.say("serial port", OK, "", "%s of the reader %s is held by pcscd", p.Path, p.Reader)
		default:
			e.say("serial port", Warning, "systemctl restart pcscd; journalctl -u pcscd tells what the driver said", "%s of the reader %s is free: pcscd has not opened it", p.Path, p.Reader)
		}
	}
}

func (e *examination) usb() []string {
	if e.USB == nil {
		return nil
	}
	list := e.USB()
	if len(list) > 0 {
		e.say("usb", OK, "", "%s", strings.Join(list, ", "))
	} else {
		e.say("usb", Warning, "unless the reader is a serial one, plug it in; lsusb must show it", "no card reader on the USB bus")
	}
	return list
}

// service looks at the PC/SC service from outside. reachable is false when
// there is no use in asking it.
func (e *examination) service(ctx context.Context) (d Daemon, reachable bool) {
	if e.Daemon != nil {
		d = e.Daemon(ctx)
	}
	var where string
	var socket error
	if e.Socket != nil {
		where, socket = e.Socket()
	}
	version := d.Version
	if version != "" {
		version = " " + version
	}
	switch {
	case d.Known && !d.Installed && d.Process == 0:
		e.say("pcscd", Problem, "apt install pcscd libccid", "the PC/SC service is not installed")
		return d, false
	case errors.Is(socket, fs.ErrPermission):
		e.say("pcscd", Problem, "run this as the user of the terminal, or as root; if that user is refused too: systemctl restart pcscd.socket makes the socket anew", "this user has no permission to use the PC/SC service's socket %s", where)
		return d, false
	case errors.Is(socket, syscall.ECONNREFUSED):
		e.say("pcscd", Problem, "systemctl restart pcscd.socket pcscd; journalctl -u pcscd tells why it ended", "the PC/SC service%s does not run and left its socket %s behind", version, where)
		return d, false
	case socket != nil:
		if d.Process != 0 {
			e.say("pcscd", Problem, "systemctl restart pcscd.socket pcscd", "pcscd%s runs (process %d) without its socket %s", version, d.Process, where)
		} else {
			e.say("pcscd", Problem, "systemctl enable --now pcscd.socket", "the PC/SC service%s does not run: no socket %s", version, where)
		}
		return d, false
	case d.Process != 0:
		e.say("pcscd", OK, "", "pcscd%s, process %d", version, d.Process)
	case d.Known:
		e.say("pcscd", OK, "", "pcscd%s is started on demand", version)
	}
	return d, true
}

func (e *examination) unreachable(err error, d Daemon) {
	next := "systemctl restart pcscd; journalctl -u pcscd tells why it stopped"
	var re *reader.Error
	if errors.As(err, &re) && re.Hint != "" {
		next = re.Hint
	}
	if errors.Is(err, reader.ErrKind) {
		next = "use the packaged cardtool, or build with cgo and libpcsclite-dev"
	}
	e.say("service", Problem, next, "the PC/SC service does not answer: %v", err)
}

func (e *examination) programs() {
	if e.Programs == nil {
		return
	}
	for _, p := range e.Programs() {
		if next, ok := troublemakers[p]; ok {
			e.say("programs", Warning, next, "%s has PC/SC open and may keep the reader to itself", p)
		} else {
			e.say("programs", OK, "", "%s has PC/SC open too", p)
		}
	}
}

func (e *examination) reader(ctx context.Context, number int, name string) {
	check := fmt.Sprintf("reader %d", number)
	ev := e.State(ctx, name)
	defer e.identify(ctx, number, name, ev.State)
	switch ev.State {
	case reader.StateEmpty:
		e.say(check, OK, "", "%s, empty", name)
		return
	case reader.StateMute:
		e.say(check, Problem, "check that the chip faces the contacts; clean card and reader; try a card that works elsewhere: if that is mute too, the reader is at fault",
			"%s: something is in, but it does not answer", name)
		return
	case reader.StateLost, reader.StateUnknown:
		e.say(check, Problem, "check the cable; unplug the reader and plug it in again", "%s is gone: %v", name, ev.Cause)
		return
	}
	c, err := e.Open(ctx, name)
	if err != nil {
		next := ""
		var re *reader.Error
		if errors.As(err, &re) {
			next = re.Hint
		}
		if errors.Is(err, reader.ErrBusy) {
			next = "stop the program that holds it; cardtool reader info lists those that have PC/SC open. When it is the terminal itself, that is right"
			e.say(check, Warning, next, "%s: the card is held by another program", name)
			return
		}
		e.say(check, Problem, next, "%s: the card cannot be opened: %v", name, err)
		return
	}
	defer c.Close()
	e.say(check, OK, "", "%s, card %X, T=%d", name, c.ATR(), c.Protocol())
	e.card(ctx, fmt.Sprintf("card %d", number), c)
}

// identify tells what kind of reader it is. The driver is asked after the card,
// since some take the reader for that.
func (e *examination) identify(ctx context.Context, number int, name string, s reader.State) {
	if s == reader.StateLost || s == reader.StateUnknown {
		return
	}
	id, version := profiles.ReaderID{Name: name}, ""
	if e.Identity != nil {
		id, version = e.Identity(ctx, name)
	}
	about := "its driver tells no version"
	switch {
	case id.Firmware != "":
		about = "firmware " + id.Firmware
	case version != "":
		about = "version " + version
	}
	check := fmt.Sprintf("profile %d", number)
	if r, by, ok := e.Profiles.MatchReader(id); ok {
		e.say(check, OK, "", "of reader %d: %s, by its %s; %s", number, r.Name, by, about)
	} else {
		e.say(check, Warning, "cardtool profile learn --of-reader drafts one", "of reader %d: none is for it; %s", number, about)
	}
}

// card tells what the card is, and whether it can be used today.
func (e *examination) card(ctx context.Context, check string, c Card) {
	if _, err := apdu.ParseATR(c.ATR()); err != nil {
		e.say(check, Warning, "clean the contacts and try again; if it stays so, it is not one of our cards", "its answer to reset is wrong: %v", err)
	}
	app, err := purse.Select(ctx, c, e.Profiles.MatchCards(c.ATR()))
	switch {
	case err == nil:
		i := app.Info()
		what := fmt.Sprintf("purse card %s, profile %s", i.Number, app.Profile().Name)
		switch {
		case !i.Covers(e.Now()):
			e.say(check, Problem, "if this machine's date is right, have the card replaced", "%s is valid %s to %s, not today", what, i.ValidFrom, i.ValidTo)
		case i.Test():
			e.say(check, Warning, "it carries no money", "%s is a test card", what)
		default:
			e.say(check, OK, "", "%s", what)
		}
		return
	case errors.Is(err, purse.ErrBlocked):
		e.say(check, Problem, "ask the utility why; do not try to unblock it in the shop", "the purse on it is blocked: %v", err)
		return
	case gone(err):
		e.say(check, Problem, "clean the contacts; try a card that works elsewhere", "it stopped answering: %v", err)
		return
	case !errors.Is(err, purse.ErrNoPurse):
		e.say(check, Problem, "cardtool card dump shows what can be read of it", "the purse on it cannot be read: %v", err)
		return
	}
	s, err := sam(ctx, c, e.Profiles.SAMs)
	switch {
	case err != nil && gone(err):
		e.say(check, Problem, "clean the contacts; try a card that works elsewhere", "it stopped answering: %v", err)
	case err != nil:
		e.say(check, Warning, "cardtool card dump shows what is on it", "neither a purse card nor a SAM that a profile knows")
	case !s.Covers(e.Now()):
		e.say(check, Problem, "if this machine's date is right, ask head office for a new SAM", "SAM %s is valid %s to %s, not today", s.Serial(), s.ValidFrom(), s.ValidTo())
	default:
		e.say(check, OK, "", "SAM %s of terminal %s, key index %02X", s.Serial(), s.Terminal(), s.KeyIndex())
	}
}

func sam(ctx context.Context, c Card, known []profiles.SAM) (*purse.SAM, error) {
	p, err := purse.OpenPSAM(ctx, c, known)
	if err == nil {
		return p.SAM, nil
	}
	if gone(err) {
		return nil, err
	}
	l, err := purse.OpenLoadSAM(ctx, c, known)
	if err != nil {
		return nil, err
	}
	return l.SAM, nil
}

// Kind is what a card is for.
type Kind string

// Kinds of cards.
const (
	KindPurse Kind = "purse card"
	KindSAM   Kind = "SAM"
	KindOther Kind = "card of another kind"
)

// KindOf finds out what a card is by the applications on it.
func KindOf(ctx context.Context, c Card, known *profiles.Set) Kind {
	_, err := purse.Select(ctx, c, known.MatchCards(c.ATR()))
	switch {
	case err == nil, errors.Is(err, purse.ErrBlocked):
		return KindPurse
	case gone(err):
		return KindOther
	}
	if _, err := sam(ctx, c, known.SAMs); err == nil {
		return KindSAM
	}
	return KindOther
}

// gone reports an error that is no answer of the card.
func gone(err error) bool {
	var re *reader.Error
	return errors.As(err, &re)
}
