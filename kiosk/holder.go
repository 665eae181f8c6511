package kiosk

import (
	"slices"
	"sync"
)

// holders are the money calls under way in the order in which they came: the
// first has the card, since the terminal does one at a time.
type holders struct {
	mu   sync.Mutex
	list []*string
}

// add puts a screen, "counter" or "kiosk", at the end until the returned
// function is called.
func (h *holders) add(screen string) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, &screen)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.list = slices.DeleteFunc(h.list, func(p *string) bool { return p == &screen })
	}
}

// first is the screen whose transaction has the card, "" when the terminal
// itself is at work.
func (h *holders) first() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) == 0 {
		return ""
	}
	return *h.list[0]
}

// screen is the one at which a caller stands, as statusView names it.
func (c caller) screen() string {
	if c.kiosk {
		return "kiosk"
	}
	return "counter"
}
