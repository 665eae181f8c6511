//go:build linux

package private

import (
	"strings"
	"testing"
)

// TestNotInside: a program that cannot be the inside starts nothing. It would
// start itself again and again.
func TestNotInside(t *testing.T) {
	_, err := Start(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "Inside") {
		t.Fatalf("started, or stopped for another reason: %v", err)
	}
}
