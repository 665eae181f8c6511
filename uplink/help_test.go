package uplink_test

import (
	"encoding/pem"
	"sync"
	"time"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// settable is a wall clock that jumps.
type settable struct {
	mu sync.Mutex
	at time.Time
}

func newClock(at time.Time) *settable { return &settable{at: at} }

func (c *settable) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *settable) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}
