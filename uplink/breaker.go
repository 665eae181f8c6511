package uplink

import (
	"sync"
	"time"
)

// The link counts as dead after so many failed tries, or after failing for so
// long (field.md section 2.1).
const (
	breakAfterTries = 3
	breakAfterTime  = 5 * time.Second
)

// breaker holds the belief whether the link is up. Any failed exchange may
// break it; only a probe, a Hello that was answered, mends it.
type breaker struct {
	mu     sync.Mutex
	online bool
	tries  int
	since  time.Time // begin of the first failed try
}

// up reports the belief.
func (b *breaker) up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.online
}

// failed counts a try that began at start.
func (b *breaker) failed(start time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries == 0 {
		b.since = start
	}
	b.tries++
	if b.tries >= breakAfterTries || time.Since(b.since) >= breakAfterTime {
		b.online = false
	}
}

// worked forgets failures; it does not mend a broken link.
func (b *breaker) worked() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries = 0
}

// probed mends the link.
func (b *breaker) probed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries, b.online = 0, true
}
