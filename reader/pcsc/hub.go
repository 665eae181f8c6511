package pcsc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/dianka/dianka/reader"
)

// Timing of the watcher.
const (
	waitFor    = time.Second            // one wait; also how soon a new reader is seen
	pauseFor   = 50 * time.Millisecond  // between waits that fail at once
	stallAfter = 5 * time.Second        // beyond its own time, a call hangs
	backoffMin = 100 * time.Millisecond // between attempts to reach the service
	backoffMax = 2 * time.Second
	cancelTick = 20 * time.Millisecond // cancel is lossy, so it is repeated
)

var errStalled = errors.New("the PC/SC service does not answer")

// hub is the one watcher of a driver: it alone lists readers and waits for
// changes, and every slot gets its news from it. It runs while it has users.
type hub struct {
	drv driver

	mu     sync.Mutex
	users  int
	stop   context.CancelFunc
	done   chan struct{} // closed when the last run of the watcher has ended
	slots  map[*slot]struct{}
	known  map[string]*known // every reader ever seen
	scan   uint64            // completed scans of this run
	down   error             // why the service can't be reached, or nil
	update chan struct{}     // closed and made anew at each scan
}

// known is what the watcher knows of a reader.
type known struct {
	there   bool
	present bool // a card is in
	raw     uint16
	flags   uint32 // as the service gave them last
	status  status
}

// status is a reader as slots see it. count never runs back, whatever the
// service does to its own counter.
type status struct {
	state reader.State
	atr   []byte
	count uint32
	cause error
	at    time.Time
}

func newHub(d driver) *hub {
	done := make(chan struct{})
	close(done)
	return &hub{drv: d, done: done, slots: make(map[*slot]struct{}), known: make(map[string]*known), update: make(chan struct{})}
}

// processHub is the hub of the real driver. There is one in a process,
// because two watchers of one reader corrupt each other (readers.md section
// 0, finding 1).
var processHub = sync.OnceValues(func() (*hub, error) {
	d, err := realDriver()
	if err != nil {
		return nil, err
	}
	return newHub(d), nil
})

func (h *hub) acquire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users++
	if h.users > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	before, done := h.done, make(chan struct{})
	h.stop, h.done, h.scan, h.down = cancel, done, 0, nil
	go func() {
		defer close(done)
		<-before // never two at a time
		h.run(ctx)
	}()
}

// leave ends the watcher with its last user. It waits for the end, but not
// for a service that hangs.
func (h *hub) leave() {
	h.mu.Lock()
	h.users--
	if h.users > 0 {
		h.mu.Unlock()
		return
	}
	h.stop()
	done := h.done
	h.mu.Unlock()
	timer := time.NewTimer(2 * waitFor)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func (h *hub) run(ctx context.Context) {
	backoff := backoffMin
	for ctx.Err() == nil {
		scans, err := h.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		h.lose(err)
		if scans > 0 {
			backoff = backoffMin
		}
		sleep(ctx, backoff)
		backoff = min(2*backoff, backoffMax)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watch reaches the service and follows its readers until it fails.
func (h *hub) watch(ctx context.Context) (scans int, err error) {
	var s session
	if err := h.call(ctx, stallAfter, nil, func() (err error) {
		s, err = h.drv.establish()
		return err
	}); err != nil {
		if s != nil { // it came too late
			s.release()
		}
		return 0, err
	}
	defer s.release()
	current := map[string]uint32{}
	for ctx.Err() == nil {
		var names []string
		if err := h.call(ctx, stallAfter, s, func() (err error) {
			names, err = s.list()
			return err
		}); err != nil && err != codeNoReaders {
			return scans, err
		}
		h.only(names)
		states := make([]state, len(names))
		for i, n := range names {
			states[i] = state{name: n, current: current[n]}
		}
		if len(states) == 0 { // waiting for nothing is not allowed
			clear(current)
			h.scanned(nil)
			scans++
			sleep(ctx, waitFor)
			continue
		}
		switch err := h.call(ctx, waitFor+stallAfter, s, func() error { return s.wait(states, waitFor) }); err {
		case nil:
		case codeTimeout: // nothing changed, nothing updated
			continue
		case codeUnknownReader, codeCancelled: // the list was out of date
			clear(current)
			sleep(ctx, pauseFor)
			continue
		default:
			return scans, err
		}
		clear(current)
		gone := false
		for i, st := range states {
			if st.event&(flagUnknown|flagUnavailable) != 0 {
				gone = true
			} else {
				current[names[i]] = st.event &^ flagChanged // the counter goes back too
			}
		}
		h.scanned(states)
		scans++
		if gone {
			sleep(ctx, pauseFor)
		}
	}
	return scans, ctx.Err()
}

// call makes one call of the driver under a limit. One that hangs makes the
// service count as lost, but no other is made until it has returned.
func (h *hub) call(ctx context.Context, limit time.Duration, s session, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	stalled := false
	for {
		select {
		case err := <-done:
			if stalled {
				return errStalled
			}
			return err
		case <-timer.C:
			stalled = true
			h.lose(errStalled)
		case <-ctx.Done():
			for {
				if s != nil {
					s.cancel()
				}
				select {
				case <-done:
					return ctx.Err()
				case <-time.After(cancelTick):
				}
			}
		}
	}
}

// scanned takes in what wait reported of all readers.
func (h *hub) scanned(states []state) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scan++
	h.down = nil
	seen := map[string]bool{}
	for _, st := range states {
		if st.event&(flagUnknown|flagUnavailable) != 0 {
			continue
		}
		seen[st.name] = true
		k := h.known[st.name]
		if k == nil {
			k = &known{}
			h.known[st.name] = k
		}
		k.observe(st, now)
	}
	for name, k := range h.known {
		if !seen[name] {
			k.vanish(codeUnavailable, now)
		}
	}
	h.tell()
}

// only tells of readers that are no longer listed.
func (h *hub) only(names []string) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := false
	for name, k := range h.known {
		if k.there && !slices.Contains(names, name) {
			k.vanish(codeUnavailable, now)
			changed = true
		}
	}
	if changed {
		h.tell()
	}
}

// lose says that the service can't be reached.
func (h *hub) lose(cause error) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scan++
	h.down = cause
	for _, k := range h.known {
		k.vanish(cause, now)
	}
	h.tell()
}

func (k *known) observe(st state, now time.Time) {
	raw := uint16(st.event >> 16)
	present := st.event&flagPresent != 0
	switch {
	case k.status.at.IsZero(): // never seen before
		k.status.count = uint32(raw)
	case !k.there: // back
		if present {
			k.status.count++
		}
	case raw != k.raw:
		k.status.count += uint32(raw - k.raw) // modulo 65536, as the service counts
	case present != k.present:
		k.status.count++ // a service that doesn't count
	}
	k.there, k.present, k.raw, k.flags = true, present, raw, st.event&0xFFFF
	k.status.at, k.status.cause, k.status.atr = now, nil, nil
	switch {
	case !present:
		k.status.state = reader.StateEmpty
	case st.event&flagMute != 0:
		k.status.state, k.status.cause = reader.StateMute, codeUnresponsive
	default:
		k.status.state, k.status.atr = reader.StateCard, st.atr
	}
}

func (k *known) vanish(cause error, now time.Time) {
	if !k.there {
		return
	}
	if k.present {
		k.status.count++
	}
	k.there, k.present = false, false
	k.status = status{state: reader.StateLost, count: k.status.count, cause: cause, at: now}
}

// tell is called with mu held.
func (h *hub) tell() {
	for s := range h.slots {
		s.observe(h)
	}
	close(h.update)
	h.update = make(chan struct{})
}

// names are the readers that are there, sorted. mu is held.
func (h *hub) names() []string {
	var n []string
	for name, k := range h.known {
		if k.there {
			n = append(n, name)
		}
	}
	slices.Sort(n)
	return n
}

// list waits for the first scan of this run.
func (h *hub) list(ctx context.Context) ([]string, error) {
	for {
		h.mu.Lock()
		scan, down, names, update := h.scan, h.down, h.names(), h.update
		h.mu.Unlock()
		if down != nil {
			return nil, down
		}
		if scan > 0 {
			return names, nil
		}
		select {
		case <-update:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
