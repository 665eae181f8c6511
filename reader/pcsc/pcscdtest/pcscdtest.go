//go:build linux

// Package pcscdtest gives tests a PC/SC service of their own, by
// reader/vpcd/private: tests that run side by side, and the machine's own
// pcscd, never meet.
//
// A test binary calls Main from its TestMain. It may import reader/vpcd and
// is imported by tests only.
package pcscdtest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/reader/vpcd"
	"github.com/dianka/dianka/reader/vpcd/private"
)

// RequireEnv, set to 1, turns "skipped because something is not installed"
// into a failure.
const RequireEnv = "DIANKA_REQUIRE_PCSCD"

// Readers are the names of the two virtual readers.
var Readers = private.Readers

// dir is where the service lives. There is one in a process, since the client
// library reads the socket's name once.
var dir string

// Main runs the tests of a binary that uses Start, and exits.
func Main(m *testing.M) {
	private.Inside()
	os.Exit(Run(m))
}

// Run is Main for a binary that calls private.Inside and os.Exit itself,
// because its TestMain has more to do.
func Run(m interface{ Run() int }) int {
	var err error
	if dir, err = os.MkdirTemp("", "pcscd"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// Service is a private pcscd with two virtual readers.
type Service struct {
	t testing.TB

	mu       sync.Mutex
	pcscd    *private.Service // nil when stopped
	sessions [2]*vpcd.Session
}

// Start starts the service, and stops it at the end of the test. One at a time
// fits into a test binary. Where it is not possible the test is skipped, or
// fails under RequireEnv.
func Start(t testing.TB) *Service {
	t.Helper()
	if dir == "" {
		t.Fatal("TestMain does not call pcscdtest.Main")
	}
	s := &Service{t: t}
	t.Cleanup(s.Stop)
	s.Run()
	return s
}

// Run starts pcscd, at first or after Stop, and returns when both readers are
// there.
func (s *Service) Run() {
	s.t.Helper()
	p, err := private.Start(context.Background(), dir)
	if err != nil && os.Getenv(RequireEnv) != "1" && errors.Is(err, private.ErrMissing) {
		s.t.Skip(err)
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.end())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pcscd = p
}

// Stop kills pcscd as a crash would, and removes the cards.
func (s *Service) Stop() {
	for slot := range s.sessions {
		s.Remove(slot)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pcscd == nil {
		return
	}
	s.pcscd.Stop()
	s.pcscd = nil
	if s.t.Failed() {
		s.t.Logf("pcscd said at the end:\n%s", s.end())
	}
}

// Freeze stops pcscd in its tracks, as a hanging USB stack would.
func (s *Service) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for end := time.Now().Add(10 * time.Second); !s.pcscd.Stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("pcscd does not stop")
		}
	}
}

// Thaw is the end of Freeze.
func (s *Service) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Service) signal(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pcscd.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Log is what pcscd said since Run.
func (s *Service) Log() string {
	b, _ := os.ReadFile(dir + "/pcscd.log")
	return string(b)
}

func (s *Service) end() string {
	l := s.Log()
	return l[max(0, len(l)-6000):]
}

// Insert puts a chip into slot 0 or 1, after the one that is in. pcscd sees it
// up to 400 ms later.
func (s *Service) Insert(slot int, chip virtual.Chip) {
	s.t.Helper()
	s.Remove(slot)
	s.noticed(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	session, err := vpcd.Dial(context.Background(), s.pcscd.Slots[slot], chip)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sessions[slot] = session
}

// noticed waits until pcscd has said that every card it saw come has gone. It
// could otherwise take a new card for the old one, see vpcd.Dial.
func (s *Service) noticed(slot int) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		log := s.Log()
		if strings.Count(log, "Card inserted into "+Readers[slot]) == strings.Count(log, "Card Removed From "+Readers[slot]) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("pcscd does not notice that the card left:\n%s", s.end())
		}
		time.Sleep(5 * time.Millisecond) // another program, which announces nothing
	}
}

// Clear takes the chips out of all slots, and returns when pcscd has seen it.
func (s *Service) Clear() {
	s.t.Helper()
	for slot := range s.sessions {
		s.Remove(slot)
	}
	s.mu.Lock()
	runs := s.pcscd != nil
	s.mu.Unlock()
	for slot := range s.sessions {
		if runs {
			s.noticed(slot)
		}
	}
}

// Remove takes the chip out of a slot.
func (s *Service) Remove(slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[slot] != nil {
		s.sessions[slot].Close()
		s.sessions[slot] = nil
	}
}
