//go:build cgo || windows

package pcsc

import (
	"strings"
	"testing"
	"time"
)

// The library panics on some input; nothing of it may come out.
func TestPanicsAreGuarded(t *testing.T) {
	s := scardSession{nil} // every call on it panics
	if _, err := s.list(); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Error(err)
	}
	if err := s.wait([]state{{name: "x"}}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Error(err)
	}
	if err := s.wait(nil, time.Millisecond); err == nil {
		t.Error("waited for nothing")
	}
	if _, err := s.connect("x", false); err == nil {
		t.Error("connected through nothing")
	}
	s.cancel()
	s.release()
	h := &scardHandle{}
	if _, err := h.transmit(nil); err == nil {
		t.Error("sent nothing through nothing")
	}
	h.disconnect(true)
}

func TestSecondWatcherIsRefused(t *testing.T) {
	watching.Lock()
	defer watching.Unlock()
	if err := (scardSession{nil}).wait([]state{{name: "x"}}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "second") {
		t.Error(err)
	}
}
