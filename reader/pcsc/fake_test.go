package pcsc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

// fake is a PC/SC service that hangs, fails and swaps cards on demand. It
// runs in a synctest bubble, so its time is not ours.
type fake struct {
	mu       sync.Mutex
	down     error             // every call fails with it
	readers  map[string]uint32 // event state
	atrs     map[string][]byte
	changed  chan struct{}
	hangWait chan struct{} // wait blocks on it, deaf to cancel
	hangConn chan struct{}
	connErr  error
	script   func(cmd []byte) ([]byte, error)

	waiting, maxWaiting int
	establishes         int
	sessions            int // not released
	handles             int // not disconnected
	connects            int
	unpowered           int
	sent                [][]byte
}

func newFake() *fake {
	return &fake{readers: map[string]uint32{}, atrs: map[string][]byte{}, changed: make(chan struct{})}
}

func (f *fake) set(name string, event uint32) {
	f.do(func() { f.readers[name] = event; f.atrs[name] = []byte{0x3B, 0x00} })
}

func (f *fake) do(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	close(f.changed)
	f.changed = make(chan struct{})
}

// num and commands read what the fake counts.
func (f *fake) num(n *int) int { f.mu.Lock(); defer f.mu.Unlock(); return *n }
func (f *fake) commands() int  { f.mu.Lock(); defer f.mu.Unlock(); return len(f.sent) }

func (f *fake) establish() (session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.establishes++
	if f.down != nil {
		return nil, f.down
	}
	f.sessions++
	return &fakeSession{fake: f, cancelled: make(chan struct{}, 1)}, nil
}

type fakeSession struct {
	*fake
	cancelled chan struct{}
	stale     bool // the service was restarted since
}

func (s *fakeSession) list() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	var n []string
	for name := range s.readers {
		n = append(n, name)
	}
	return n, nil
}

func (s *fakeSession) wait(states []state, timeout time.Duration) error {
	s.mu.Lock()
	s.waiting++
	s.maxWaiting = max(s.maxWaiting, s.waiting)
	hang := s.hangWait
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.waiting--; s.mu.Unlock() }()
	if hang != nil {
		<-hang
	}
	end := time.After(timeout)
	for {
		s.mu.Lock()
		changed, differ := s.changed, false
		if s.down != nil {
			defer s.mu.Unlock()
			return codeCommError
		}
		for i := range states {
			e, ok := s.readers[states[i].name]
			if !ok {
				e = flagUnknown
			}
			states[i].event, states[i].atr = e, s.atrs[states[i].name]
			if states[i].current != e {
				differ = true
				states[i].event |= flagChanged
			}
		}
		s.mu.Unlock()
		if differ {
			return nil
		}
		select {
		case <-changed:
		case <-s.cancelled:
			return codeCancelled
		case <-end:
			return codeTimeout
		}
	}
}

func (s *fakeSession) cancel() {
	select {
	case s.cancelled <- struct{}{}:
	default:
	}
}

func (s *fakeSession) inspect(name string, ids []uint32) (map[uint32][]byte, []byte, error) {
	s.mu.Lock()
	hang, err := s.hangConn, s.connErr
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return map[uint32][]byte{0x00010100: []byte("Maker\x00"), 0x00010102: {1, 0, 2, 3}}, []byte{0x06, 4, 0x42, 0, 0x0D, 0x48}, err
}

func (s *fakeSession) release() { s.mu.Lock(); defer s.mu.Unlock(); s.sessions-- }

func (s *fakeSession) connect(name string, exclusive bool) (handle, error) {
	s.mu.Lock()
	s.connects++
	hang, err := s.hangConn, s.connErr
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles++
	return &fakeHandle{s.fake}, nil
}

type fakeHandle struct{ *fake }

func (h *fakeHandle) atr() []byte { return []byte{0x3B, 0x80, 0x01, 0x81} }
func (h *fakeHandle) t0() bool    { return false }

func (h *fakeHandle) transmit(cmd []byte) ([]byte, error) {
	h.mu.Lock()
	h.sent = append(h.sent, append([]byte(nil), cmd...))
	script := h.script
	h.mu.Unlock()
	if script != nil {
		return script(cmd)
	}
	return []byte{0x90, 0x00}, nil
}

func (h *fakeHandle) disconnect(unpower bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handles--
	if unpower {
		h.unpowered++
	}
}

const (
	empty = 0x0010
	twin  = "Gemalto PC Twin Reader 00 00"
)

func in(counter uint32) uint32 { return counter<<16 | flagPresent }

// bubble runs a test on a fake in a bubble, and checks at its end that every
// context and handle was given back.
func bubble(t *testing.T, o Options, test func(t *testing.T, f *fake, v *Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(twin, in(1))
		v := newService(newHub(f), o)
		test(t, f, v)
		v.Close()
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.sessions != 0 || f.handles != 0 {
			t.Errorf("%d contexts and %d handles never given back", f.sessions, f.handles)
		}
		if f.maxWaiting > 1 {
			t.Errorf("%d goroutines in GetStatusChange at a time", f.maxWaiting)
		}
	})
}

func mustSlot(t *testing.T, v *Service, fragment string) *slot {
	t.Helper()
	s, err := v.Slot(fragment)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*slot)
}

func mustOpen(t *testing.T, s *slot) reader.Card {
	t.Helper()
	c, err := s.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var command = []byte{0x80, 0x50, 0x00, 0x02}

func TestUnseenSwapKillsTheCard(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		events := s.Events(context.Background())
		first := <-events
		c := mustOpen(t, s)
		f.set(twin, in(3)) // same flags, counter two higher
		e := <-events
		if e.State != reader.StateCard || e.Count != first.Count+2 {
			t.Errorf("before %+v, after %+v", first, e)
		}
		synctest.Wait()
		_, err := c.Transmit(context.Background(), command)
		if !errors.Is(err, reader.ErrRemoved) || apdu.MayHaveExecuted(err) {
			t.Errorf("%v", err)
		}
		if f.commands() != 0 {
			t.Error("a command went to a handle of a card that was swapped")
		}
	})
}

func TestCounterWraps(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		f.set(twin, in(0xFFFF))
		s := mustSlot(t, v, "")
		time.Sleep(2 * time.Second)
		before := s.feed.Last()
		f.set(twin, in(1))
		time.Sleep(2 * time.Second)
		if after := s.feed.Last(); after.Count != before.Count+2 {
			t.Errorf("count %d, then %d", before.Count, after.Count)
		}
	})
}

func TestLateAnswerIsDiscarded(t *testing.T) {
	bubble(t, Options{Deadline: 3 * time.Second}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		c := mustOpen(t, s)
		stuck := make(chan struct{})
		f.do(func() { f.script = func([]byte) ([]byte, error) { <-stuck; return []byte{0x90, 0x00}, nil } })
		start := time.Now()
		_, err := c.Transmit(context.Background(), command)
		if !errors.Is(err, reader.ErrDeadline) || !apdu.MayHaveExecuted(err) || time.Since(start) != 3*time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if err := c.Close(); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("close took until %v, %v", time.Since(start), err)
		}
		// The same card is still in: a new handle is not made before the old
		// one is given back, or its power-down would hit the new one.
		if _, err := s.Open(context.Background()); !errors.Is(err, reader.ErrBusy) || apdu.MayHaveExecuted(err) {
			t.Errorf("open while stuck: %v", err)
		}
		if f.num(&f.connects) != 1 {
			t.Errorf("%d connects", f.num(&f.connects))
		}
		close(stuck)
		synctest.Wait()
		if f.num(&f.unpowered) != 1 {
			t.Error("the stuck card kept its power")
		}
		if _, err := c.Transmit(context.Background(), command); !errors.Is(err, reader.ErrDeadline) || apdu.MayHaveExecuted(err) {
			t.Errorf("the handle came back to life: %v", err)
		}
		f.do(func() { f.script = nil })
		if _, err := mustOpen(t, s).Transmit(context.Background(), command); err != nil {
			t.Error(err)
		}
		if f.commands() != 2 {
			t.Errorf("%d commands sent, 2 asked for", f.commands())
		}
	})
}

func TestHangingConnectIsNotDoubled(t *testing.T) {
	bubble(t, Options{Deadline: 2 * time.Second}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		hang := make(chan struct{})
		f.do(func() { f.hangConn = hang })
		for range 5 {
			start := time.Now()
			_, err := s.Open(context.Background())
			var e *reader.Error
			if !errors.Is(err, reader.ErrBusy) || !errors.As(err, &e) || e.Hint == "" || time.Since(start) != 2*time.Second {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
		if f.num(&f.connects) != 1 {
			t.Errorf("%d connects hang", f.num(&f.connects))
		}
		f.do(func() { f.hangConn = nil })
		close(hang) // the late handle must be given back
		synctest.Wait()
		if f.num(&f.handles) != 0 {
			t.Errorf("%d handles kept", f.num(&f.handles))
		}
		mustOpen(t, s)
	})
}

func TestOpenCancelledWhileConnecting(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		hang := make(chan struct{})
		f.do(func() { f.hangConn = hang })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.Open(ctx); !errors.Is(err, context.DeadlineExceeded) || apdu.MayHaveExecuted(err) {
			t.Errorf("%v", err)
		}
		close(hang)
	})
}

// A service that hangs is lost, and nobody else enters GetStatusChange until
// it has let go; then all is well again.
func TestServiceHangs(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		events := s.Events(context.Background())
		<-events
		c := mustOpen(t, s)
		hang := make(chan struct{})
		f.do(func() { f.hangWait = hang })
		e := <-events
		if e.State != reader.StateLost || e.Cause == nil {
			t.Fatalf("%+v", e)
		}
		if _, err := s.Open(context.Background()); !errors.Is(err, reader.ErrLost) {
			t.Errorf("open: %v", err)
		}
		synctest.Wait()
		if _, err := c.Transmit(context.Background(), command); !errors.Is(err, reader.ErrLost) {
			t.Errorf("transmit: %v", err)
		}
		if _, err := v.List(context.Background()); !errors.Is(err, reader.ErrLost) {
			t.Errorf("list: %v", err)
		}
		time.Sleep(time.Minute)
		if f.num(&f.waiting) != 1 || f.num(&f.establishes) != 2 { // the watcher's and the card's
			t.Errorf("%d waiting, %d contexts made", f.num(&f.waiting), f.num(&f.establishes))
		}
		f.do(func() { f.hangWait = nil })
		close(hang)
		if e := <-events; e.State != reader.StateCard {
			t.Errorf("%+v", e)
		}
		mustOpen(t, s)
	})
}

func TestServiceRestarts(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		events := s.Events(context.Background())
		first := <-events
		f.do(func() { f.down = codeNoService })
		lost := <-events
		if lost.State != reader.StateLost {
			t.Fatalf("%+v", lost)
		}
		time.Sleep(time.Second)
		_, err := s.Open(context.Background())
		var e *reader.Error
		if !errors.As(err, &e) || !errors.Is(err, reader.ErrLost) || !strings.Contains(e.Hint, "pcscd") {
			t.Errorf("open without a service: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if f.num(&f.establishes) > 10*60+10 {
			t.Errorf("%d attempts in ten minutes", f.num(&f.establishes))
		}
		f.do(func() { f.down = nil; f.readers[twin] = in(0) }) // its counter starts anew
		back := <-events
		if back.State != reader.StateCard || back.Count <= first.Count {
			t.Errorf("before %+v, back %+v", first, back)
		}
		mustOpen(t, s)
	})
}

func TestNames(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		f.set("Virtual PCD 00 00", empty)
		f.set("Virtual PCD 00 01", empty)
		time.Sleep(2 * time.Second)
		names, err := v.List(context.Background())
		if err != nil || fmt.Sprint(names) != "[Gemalto PC Twin Reader 00 00 Virtual PCD 00 00 Virtual PCD 00 01]" {
			t.Errorf("%q, %v", names, err)
		}
		if s := mustSlot(t, v, "twin"); s.Name() != "pcsc:"+twin {
			t.Error(s.Name())
		}
		_, err = v.Slot("Virtual")
		if !errors.Is(err, reader.ErrAmbiguous) || !strings.Contains(err.Error(), "PCD 00 01") {
			t.Error(err)
		}
		_, err = v.Slot("Omnikey")
		if !errors.Is(err, reader.ErrSlotName) || !strings.Contains(err.Error(), twin) {
			t.Error(err)
		}
	})
}

func TestSlotWaitsForItsReader(t *testing.T) {
	bubble(t, Options{Wait: true}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "Omnikey")
		events := s.Events(context.Background())
		if e := <-events; e.State != reader.StateLost || !errors.Is(e.Cause, reader.ErrSlotName) {
			t.Fatalf("%+v", e)
		}
		f.set("Omnikey 3121 00 00", in(1))
		e := <-events
		if e.State != reader.StateCard || e.Slot != "pcsc:Omnikey" {
			t.Errorf("%+v", e)
		}
		// Plugged in again elsewhere, with another number, and a new card.
		f.do(func() { delete(f.readers, "Omnikey 3121 00 00") })
		if e := <-events; e.State != reader.StateLost {
			t.Errorf("%+v", e)
		}
		f.set("Omnikey 3121 01 00", in(0))
		if again := <-events; again.State != reader.StateCard || again.Count <= e.Count {
			t.Errorf("before %+v, after %+v", e, again)
		}
	})
}

func TestSlotWithoutAReader(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		f.do(func() { clear(f.readers) })
		time.Sleep(2 * time.Second)
		names, err := v.List(context.Background())
		if len(names) != 0 || err != nil {
			t.Errorf("%q, %v", names, err)
		}
		if _, err = v.Slot("twin"); !errors.Is(err, reader.ErrSlotName) {
			t.Error(err)
		}
	})
}

// Each code of the measured table, while opening and while transmitting.
func TestErrorMap(t *testing.T) {
	for _, c := range []struct {
		code     error
		open     error
		transmit error
		executed bool
	}{
		{codeNoSmartcard, reader.ErrNoCard, reader.ErrRemoved, true},
		{codeUnknownReader, reader.ErrLost, reader.ErrLost, true},
		{codeProtoMismatch, reader.ErrMute, reader.ErrMute, true},
		{codeSharingViolation, reader.ErrBusy, reader.ErrBusy, true},
		{codeReset, reader.ErrMute, reader.ErrReset, false},
		{codeRemoved, reader.ErrNoCard, reader.ErrRemoved, true},
		{codeCommError, reader.ErrMute, reader.ErrGarbled, true},
		{codeNotTransacted, reader.ErrMute, reader.ErrGarbled, true},
		{codeUnresponsive, reader.ErrMute, reader.ErrMute, true},
		{codeUnpowered, reader.ErrMute, reader.ErrMute, true},
		{codeUnavailable, reader.ErrLost, reader.ErrLost, true},
		{codeNoService, reader.ErrLost, reader.ErrLost, true},
		{codeServiceStopped, reader.ErrLost, reader.ErrLost, true},
		{codeInvalidHandle, reader.ErrLost, reader.ErrLost, true},
		{codeSecurity, reader.ErrLost, reader.ErrLost, true},
		{Code(0x80100099), reader.ErrLost, reader.ErrGarbled, true},
		{errors.New("the library panicked"), reader.ErrLost, reader.ErrGarbled, true},
	} {
		t.Run(c.code.Error(), func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
				s := mustSlot(t, v, "twin")
				f.do(func() { f.connErr = c.code })
				_, err := s.Open(context.Background())
				if !errors.Is(err, c.open) || !errors.Is(err, c.code) || apdu.MayHaveExecuted(err) {
					t.Errorf("open: %v", err)
				}
				f.do(func() { f.connErr = nil })
				card := mustOpen(t, s)
				f.do(func() { f.script = func([]byte) ([]byte, error) { return nil, c.code } })
				_, err = card.Transmit(context.Background(), command)
				if !errors.Is(err, c.transmit) || !errors.Is(err, c.code) || apdu.MayHaveExecuted(err) != c.executed {
					t.Errorf("transmit: %v, executed %v", err, apdu.MayHaveExecuted(err))
				}
				f.do(func() { f.script = nil })
				if _, err = card.Transmit(context.Background(), command); !errors.Is(err, c.transmit) || apdu.MayHaveExecuted(err) {
					t.Errorf("afterwards: %v", err)
				}
				if f.commands() != 1 {
					t.Errorf("%d commands sent: a failed one was sent again, or a dead handle used", f.commands())
				}
			})
		})
	}
	for c, m := range meanings {
		if m.hint == "" && c != codeCancelled {
			t.Errorf("%v has no hint", c)
		}
	}
}

// A pull that the service reports as a stutter, or as an empty answer, is told
// as a pull.
func TestPullDuringExchange(t *testing.T) {
	for _, answer := range []error{codeNotTransacted, codeCommError, nil} {
		bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
			s := mustSlot(t, v, "twin")
			c := mustOpen(t, s)
			f.script = func([]byte) ([]byte, error) {
				time.AfterFunc(400*time.Millisecond, func() { f.set(twin, 2<<16|empty) })
				return nil, answer
			}
			_, err := c.Transmit(context.Background(), command)
			if !errors.Is(err, reader.ErrRemoved) || !apdu.MayHaveExecuted(err) {
				t.Errorf("%v: %v", answer, err)
			}
		})
	}
}

// An answer that came is given, though the card left right after it.
func TestAnswerBeforePull(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		s := mustSlot(t, v, "twin")
		c := mustOpen(t, s)
		f.script = func([]byte) ([]byte, error) {
			f.set(twin, 2<<16|empty)
			time.Sleep(time.Second) // the watcher sees it first
			return []byte{0x90, 0x00}, nil
		}
		if r, err := c.Transmit(context.Background(), command); err != nil || len(r) != 2 {
			t.Errorf("%x, %v", r, err)
		}
		if _, err := c.Transmit(context.Background(), command); !errors.Is(err, reader.ErrRemoved) || apdu.MayHaveExecuted(err) {
			t.Errorf("%v", err)
		}
		if f.num(&f.unpowered) != 0 {
			t.Error("power taken from a slot whose card had left: another may be in")
		}
	})
}

func TestServicesShareOneWatcher(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *fake, v *Service) {
		for range 3 {
			w := newService(v.hub, Options{})
			mustSlot(t, w, "twin")
			defer w.Close()
		}
		time.Sleep(10 * time.Second)
		if f.num(&f.establishes) != 1 {
			t.Errorf("%d contexts for watching", f.num(&f.establishes))
		}
	})
}

// A watcher that starts anew does so after the old one ended, even when that
// one hangs.
func TestWatcherNeverTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(twin, in(1))
		h := newHub(f)
		v := newService(h, Options{})
		mustSlot(t, v, "twin")
		hang := make(chan struct{})
		f.do(func() { f.hangWait = hang })
		time.Sleep(3 * waitFor / 2) // now it hangs
		v.Close()                   // gives up on the hanging call
		w := newService(h, Options{})
		time.Sleep(time.Minute)
		if f.num(&f.maxWaiting) != 1 {
			t.Errorf("%d in GetStatusChange at a time", f.num(&f.maxWaiting))
		}
		f.do(func() { f.hangWait = nil })
		close(hang)
		mustSlot(t, w, "twin")
		w.Close()
	})
}
